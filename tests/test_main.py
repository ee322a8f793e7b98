"""`python -m kfacade` runs scripts that say `import keras`, as `python` would run them."""
import os
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def run(tmp_path, request):
    """Writes `files` ({path: text}), runs `python -m kfacade ARGUMENTS` beside them and gives the finished process."""
    environment = {**os.environ, 'PYTHONPATH': str(request.config.rootpath)}

    def run(files, *arguments):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(textwrap.dedent(text))
        return subprocess.run([sys.executable, '-W', 'error', '-m', 'kfacade', *arguments], cwd=tmp_path, text=True,
                              env=environment, capture_output=True)
    return run


def output(process):
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_keras_is_kfacade_under_every_name(run):
    assert output(run({'script.py': """
        import sys
        import keras
        import keras.backend as K
        import keras.layers.core
        import kfacade
        from keras import layers, optimizers
        from keras.engine.topology import Layer
        from keras.layers import Dense
        from keras.models import Sequential

        assert keras.__name__ == 'keras' and keras.__version__ == '2.2.4'
        assert keras.layers is layers is sys.modules['keras.layers'] is kfacade.layers
        assert keras.layers.core.Dense is Dense is kfacade.layers.Dense
        assert issubclass(Dense, Layer) and Layer is kfacade.layers.Layer
        assert keras.optimizers.Adam is optimizers.Adam is kfacade.optimizers.Adam
        assert K is keras.backend is kfacade.backend and K.backend() == 'tensorflow'
        try:
            import keras.no_such_module
        except ImportError:
            print('fine')
        """}, 'script.py')) == 'fine\n'


def test_keras_applications_is_a_package_of_its_own_name(run):
    assert output(run({'script.py': """
        import keras
        import keras_applications
        from keras_applications import resnet50
        from keras_applications.imagenet_utils import _obtain_input_shape
        assert resnet50.ResNet50 is keras.applications.ResNet50
        assert _obtain_input_shape(None, 224, 32, 'channels_last', True) == (224, 224, 3)
        resnet50.ResNet50(weights=None, backend=keras.backend, layers=keras.layers, models=keras.models,
                          utils=keras.utils)
        print(keras_applications.__version__)
        """}, 'script.py')) == '1.0.8\n'


def test_keras_preprocessing_is_a_package_of_its_own_name(run):
    assert output(run({'script.py': """
        import keras_preprocessing.text
        from keras_preprocessing import image
        from keras_preprocessing.image.utils import load_img
        from keras_preprocessing.sequence import pad_sequences
        import keras
        assert image is keras.preprocessing.image and load_img is image.load_img
        assert keras_preprocessing.text.Tokenizer is keras.preprocessing.text.Tokenizer
        assert pad_sequences is keras.preprocessing.sequence.pad_sequences
        keras_preprocessing.set_keras_submodules(backend=keras.backend, utils=keras.utils)
        assert keras_preprocessing.get_keras_submodule('backend') is keras.backend
        try:
            import keras_preprocessing.no_such_module
        except ImportError:
            print(keras_preprocessing.__version__)
        """}, 'script.py')) == '1.1.0\n'


def test_script_runs_as_python_would_run_it(run):
    assert output(run({'scripts/helper.py': 'VALUE = 7', 'scripts/train.py': """
        import os, sys
        import helper
        from keras.models import Sequential
        assert __name__ == '__main__' and os.path.basename(__file__) == 'train.py'
        assert os.path.basename(sys.path[0]) == 'scripts'
        print(sys.argv[1:], helper.VALUE)
        """}, 'scripts/train.py', '--epochs', '5', '-m', 'x')) == "['--epochs', '5', '-m', 'x'] 7\n"


def test_module_runs_as_python_m_would_run_it(run):
    files = {'project/__init__.py': '', 'project/settings.py': 'UNITS = 3', 'project/train.py': """
        import sys
        import keras
        from . import settings
        assert __name__ == '__main__' and __package__ == 'project'
        print(sys.argv[1:], settings.UNITS)
        """}
    assert output(run(files, '-m', 'project.train', '--fast')) == "['--fast'] 3\n"


def test_backend_name(run):
    script = {'script.py': 'import keras.backend as K; print(K.backend())'}
    for arguments, name in (([], 'tensorflow'), (['--tensorflow', 'real'], 'torch'), (['--backend-name', 'x'], 'x')):
        assert output(run(script, *arguments, 'script.py')) == f'{name}\n'


def test_tensorflow_is_the_stand_in_in_started_processes_too(run):
    """And `tensorboard`, which looks for it, is content with its own."""
    assert output(run({'script.py': """
        import multiprocessing
        import numpy as np
        import tensorflow as tf
        from tensorflow.python.framework import ops
        from tensorflow.python.ops import array_ops, nn_ops
        import keras.backend as K

        def ask(queue):
            import tensorflow
            queue.put((tensorflow.__version__, K.backend()))

        if __name__ == '__main__':
            assert K.tf is tf and array_ops.where is tf.where and nn_ops.relu is tf.nn.relu
            ops.reset_default_graph()
            try:
                from tensorflow.contrib import layers
            except ImportError as error:
                assert 'There is no tensorflow.contrib (' in str(error) and 'script.py:17)' in str(error), error
            try:
                from tensorflow.keras.layers import Dense
            except ImportError as error:
                assert '--tensorflow-keras' in str(error)
            context = multiprocessing.get_context('spawn')
            queue = context.Queue()
            process = context.Process(target=ask, args=(queue,))
            process.start()
            print(*queue.get(timeout=100))
            process.join()
            from torch.utils.tensorboard import SummaryWriter
            with SummaryWriter('logs') as writer:
                writer.add_scalar('a', 1., 1)
                writer.add_embedding(np.eye(3))
        """}, 'script.py')) == '1.13.2 tensorflow\n'


def test_a_real_tensorflow_is_not_asked_but_left_alone_on_demand(run):
    files = {'tensorflow.py': 'raise SystemError', 'script.py': 'import tensorflow; print(tensorflow.__version__)'}
    assert output(run(files, 'script.py')) == '1.13.2\n'
    files = {'tensorflow.py': 'x = 7', 'script.py': 'import tensorflow; print(tensorflow.x)'}
    assert output(run(files, '--tensorflow', 'real', 'script.py')) == '7\n'


def test_tensorflow_keras_is_kfacade_on_demand(run):
    assert output(run({'script.py': """
        import warnings
        import keras
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            from tensorflow.keras.layers import Dense
            from tensorflow.python.keras.models import Sequential
            import tensorflow as tf
        assert Dense is keras.layers.Dense and Sequential is keras.models.Sequential
        assert tf.keras.layers is keras.layers
        assert 'BatchNormalization' in str(caught[0].message)
        print(len(caught))
        """}, '--tensorflow-keras', 'script.py')) == '1\n'



def test_traceback_points_at_the_line_of_the_script(run):
    process = run({'script.py': """\
        import numpy as np
        from keras.layers import Dense
        from keras.models import Sequential
        model = Sequential([Dense(3, input_shape=(2,))])
        model.predict(np.ones((1, 3)))
        """}, 'script.py')
    assert process.returncode == 1
    assert 'script.py", line 5, in <module>' in process.stderr
    assert 'model.predict(np.ones((1, 3)))' in process.stderr
    assert 'to have shape (2,) but got array with shape (3,)' in process.stderr


def test_exit_code_of_the_script(run):
    assert run({'script.py': 'import keras, sys; sys.exit(3)'}, 'script.py').returncode == 3


@pytest.mark.parametrize('arguments, message', [
    (['missing.py'], 'missing.py'),
    ([], 'script'),
    (['--no-such-option', 'script.py'], '--no-such-option'),
    (['-m', 'no_such_module_anywhere'], 'no_such_module_anywhere'),
])
def test_wrong_command_line_says_what_is_wrong(run, arguments, message):
    process = run({}, *arguments)
    assert process.returncode != 0
    assert message in process.stderr


def test_plain_import_leaves_the_name_keras_alone(run):
    code = 'import sys, kfacade as keras; from kfacade.layers import Dense; print("keras" in sys.modules)'
    assert subprocess.check_output([sys.executable, '-c', code], text=True).strip() == 'False'


CHILDREN = """
    import multiprocessing
    import sys
    import numpy as np
    import keras_preprocessing.image
    from keras import backend as K
    from keras.layers import Dense
    from keras.models import Sequential
    from keras.utils import Sequence

    class Batches(Sequence):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            import keras.layers
            assert keras.layers.Dense is Dense and K.floatx() == 'float64' and K.backend() == 'tensorflow'
            return np.full((4, 2), index), np.ones((4, 1))

    def job(k):
        import keras
        return [keras.__name__, keras.layers.Dense is Dense, K.backend()]

    if __name__ == '__main__':
        multiprocessing.set_start_method(sys.argv[1])
        K.set_floatx('float64')
        model = Sequential([Dense(1, input_shape=(2,))])
        model.compile('sgd', 'mse')
        history = model.fit_generator(Batches(), epochs=2, verbose=0, workers=1, use_multiprocessing=True)
        with multiprocessing.Pool(1) as pool:
            print(len(history.history['loss']), pool.map_async(job, [0]).get(120))
    """


@pytest.mark.parametrize('arguments', [
    ['script.py', 'forkserver'], ['-m', 'project.script', 'spawn'],
    pytest.param(['script.py', 'spawn'], marks=pytest.mark.slow)])
def test_started_processes_know_keras(run, arguments):
    files = {'script.py': CHILDREN, 'project/__init__.py': '', 'project/script.py': CHILDREN}
    assert output(run(files, '--backend-name', 'tensorflow', *arguments)) == "2 [['keras', True, 'tensorflow']]\n"
