"""Keras' name for kfacade where there is no launcher: in notebooks, and in programs that ask for it."""
import re
import subprocess
import sys

import pytest
from screen import on_screen


def run(code, folder):
    return subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def home(request, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(request.config.rootpath))
    return request.config.rootpath


def test_install_as_keras(home, tmp_path):
    process = run("""if True:
        import kfacade
        kfacade.install_as_keras()
        import keras, keras.layers
        from keras.models import Sequential
        from keras_preprocessing.image import ImageDataGenerator
        assert keras.layers is kfacade.layers and Sequential is kfacade.Sequential and keras.__version__ == '2.2.4'
        kfacade.install_as_keras()
        import keras.backend as K, sys
        assert K is kfacade.backend and sum(type(f).__name__ == 'KerasAlias' for f in sys.meta_path) == 1
        """, tmp_path)
    assert process.returncode == 0, process.stderr


def test_script_under_the_launcher_may_ask_too(home, tmp_path):
    (tmp_path / 'script.py').write_text('import keras, kfacade\nkfacade.install_as_keras()\nimport keras as again\n'
                                        'print(again is keras)')
    assert subprocess.check_output([sys.executable, '-m', 'kfacade', 'script.py'], cwd=tmp_path, text=True) == 'True\n'


def test_another_keras_is_not_replaced(home, tmp_path):
    for name in ('keras', 'keras_preprocessing'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text("__version__ = '2.2.4'")
    process = run("""if True:
        import sys, keras_preprocessing, keras, kfacade
        for _ in range(2):
            try:
                kfacade.install_as_keras()
            except ImportError as error:
                print(error)
            del sys.modules['keras']
        """, tmp_path)
    first, second = process.stdout.splitlines()
    assert f'Another keras was imported before, from {tmp_path / "keras"}' in first and 'restart the kernel' in first
    assert 'Another keras_preprocessing was imported before' in second


@pytest.fixture
def notebook(home, tmp_path):
    """Runs a notebook with the given cells in a kernel of its own; gives the text of the outputs of each."""
    nbformat, nbclient = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')

    def run(*cells, **options):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = nbclient.NotebookClient(book, timeout=120, resources={'metadata': {'path': str(tmp_path)}}, **options)
        client.execute()
        return [cell.outputs for cell in book.cells]
    return run


TRAINING = """
import numpy as np, time
from keras.models import Sequential
from keras.layers import Dense
from keras.callbacks import LambdaCallback
model = Sequential([Dense(4, input_shape=(3,))])
model.compile('sgd', 'mse')
history = model.fit(np.ones((40, 3)), np.ones((40, 4)), batch_size=1, epochs=2,
                    callbacks=[LambdaCallback(on_batch_end=lambda batch, logs: time.sleep(.01))])
"""


def test_training_cell_shows_one_bar_an_epoch(notebook):
    pytest.importorskip('matplotlib')
    loaded, trained, shown, drawn = notebook('%load_ext kfacade', TRAINING, 'import keras; keras.__version__',
                                             'history.plot()')
    assert loaded == [] and shown[0].data['text/plain'] == "'2.2.4'"
    assert {output.output_type for output in trained} == {'stream'}
    text = ''.join(output.text for output in trained)
    assert [re.sub(r'\d+s \d+ms/step - loss: .*', 'TIME', line) for line in on_screen(text) if line] == [
        'Epoch 1/2', '40/40 [==============================] - TIME',
        'Epoch 2/2', '40/40 [==============================] - TIME']
    assert text.count('\n') == 4 and text.count('[') > 6  # drawn over, not line by line
    assert [output.output_type for output in drawn] == ['execute_result'] and drawn[0].data['image/png']  # one picture


def test_notebook_with_another_keras(notebook, tmp_path):
    (tmp_path / 'keras.py').write_text('')
    outputs = notebook('import keras', '%load_ext kfacade', allow_errors=True)
    assert outputs[1][0].ename == 'ImportError' and 'restart the kernel' in outputs[1][0].evalue
