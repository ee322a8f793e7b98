"""Old paths, and what `import *` gives: the public names of each module of Keras 2.2.4 (`keras_names.json`).

Left out of that table are what Keras took from Python 2's remains (`__future__`, six), from TensorFlow, and from
packages that kfacade does not need (requests, pydot, scipy); and the class `Layer` in `keras.activations`, which would
be an activation's name.
"""
import collections
import csv
import importlib
import json
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest

import kfacade
from kfacade import backend as K
from kfacade import optimizers
from kfacade.engine import training_arrays as loops
from kfacade.layers import Dense, Dropout
from kfacade.legacy import paths
from kfacade.legacy.models import needs_legacy_support
from kfacade.models import Sequential

KERAS = json.loads(pathlib.Path(__file__).with_name('keras_names.json').read_text())


@pytest.mark.parametrize('module', KERAS)
def test_star_imports(module):
    given = {}
    exec(f'from {f"kfacade.{module}".rstrip(".")} import *', given)
    expected = set(KERAS[module].split())
    assert not expected - set(given)
    if module != 'utils.test_utils':
        assert not {'torch', 'F', 'functools', 'math', 'state'} & set(given) - expected  # nobody asked for these


def test_what_the_names_stand_for():
    given = {}
    for module in ('engine.training', 'backend', 'callbacks', 'layers'):
        exec(f'from kfacade.{module} import *', given)
    expected = {'K': K, 'np': np, 'warnings': warnings, 'csv': csv, 'deque': collections.deque, 'py_sum': sum,
                'Layer': kfacade.layers.Layer, 'initializers': kfacade.initializers,
                'InputSpec': kfacade.engine.InputSpec, 'interfaces': kfacade.legacy.interfaces,
                'collect_metrics': kfacade.engine.training_utils.collect_metrics}
    for name, value in expected.items():
        assert given[name] is value, name


@pytest.mark.parametrize('module', ['layers', 'layers.core', 'layers.recurrent', 'callbacks', 'models', 'optimizers'])
def test_names_that_modules_have_of_themselves_are_those_of_keras(module):
    namespace = vars(importlib.import_module(f'kfacade.{module}'))
    for name in ('K', 'np', 'initializers', 'interfaces', 'InputSpec', 'deque', 'namedtuple', 'warnings', 'to_list'):
        assert namespace.get(name, paths.meaning(name)) is paths.meaning(name), name


def test_old_paths():
    import kfacade.backend.tensorflow_backend as KTF

    from kfacade.backend import common, load_backend, tensorflow_backend
    from kfacade.engine.network import get_source_inputs
    from kfacade.layers.recurrent import Recurrent
    assert KTF is tensorflow_backend is load_backend is K and common.floatx is K.floatx
    assert get_source_inputs is kfacade.engine.get_source_inputs and Recurrent is kfacade.legacy.layers.Recurrent
    assert not needs_legacy_support(Sequential([Dense(1, input_shape=(2,))]))


def test_old_paths_under_the_launcher(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text('import keras.backend.tensorflow_backend as KTF\nimport keras.backend\n'
                      'from keras.backend.common import floatx\nfrom keras.layers import *\n'
                      'from keras.callbacks import *\nimport keras.engine.training_arrays\n'
                      'print(KTF is keras.backend, floatx(), K is KTF, np.__name__, deque.__name__)')
    run = subprocess.run([sys.executable, '-m', 'kfacade', str(script)], capture_output=True, text=True)
    assert run.stdout.strip() == 'True float32 True numpy deque', run.stderr


# ---------------------------------------------------------------- the loops of keras.engine.training_arrays

X, Y = np.arange(20.).reshape(10, 2) / 10, np.arange(10.)[:, None] / 10


def compiled(last):
    model = Sequential([Dense(3, kernel_initializer='ones', input_shape=(2,)), last])
    model.compile(optimizers.SGD(.01), 'mse', metrics=['mae'])
    model._make_train_function()
    model._make_test_function()
    model._make_predict_function()
    return model


def test_predict_and_test_loop():
    model = compiled(Dense(1, kernel_initializer='ones'))
    expected = 3 * X.sum(1, keepdims=True)
    np.testing.assert_allclose(loops.predict_loop(model, model.predict_function, [X], batch_size=4), expected,
                               rtol=1e-6)
    np.testing.assert_allclose(loops.predict_loop(model, model.predict_function, [X], batch_size=None, steps=2),
                               np.concatenate([expected] * 2), rtol=1e-6)
    for weights, loss in ((np.ones(10), 37.545), (np.arange(10.), 266.018)):  # Keras 2.2.4's
        assert loops.test_loop(model, model.test_function, [X, Y, weights], batch_size=4) == pytest.approx([loss, 5.25])


def test_loops_hand_the_learning_phase_on():
    model = compiled(Dropout(.5))
    own = K.function([*model.inputs, K.learning_phase()], model.outputs)
    for function in (model.predict_function, own):
        np.testing.assert_allclose(loops.predict_loop(model, function, [X, 0.], batch_size=4)[1], [.5] * 3, rtol=1e-6)
    dropped = loops.predict_loop(model, own, [np.ones((100, 2)), 1.], batch_size=50) == 0
    assert dropped.mean() == pytest.approx(.5, abs=.15)


def test_fit_loop():
    model = compiled(Dense(1, kernel_initializer='ones'))
    names = ['loss', 'mean_absolute_error', 'val_loss', 'val_mean_absolute_error']
    data = [X, Y, np.ones(10)]
    history = loops.fit_loop(model, model.train_function, data, out_labels=model.metrics_names, batch_size=4, epochs=2,
                             verbose=0, shuffle=False, val_f=model.test_function, val_ins=data,
                             callback_metrics=names).history
    expected = [20.8798, .9609], [4.0739, .8224], [1.1759, .3], [.8872, .4563]  # Keras 2.2.4's
    assert {k: pytest.approx(v, rel=1e-3) for k, v in zip(names, expected)} == history


def test_fit_loop_with_a_function_of_ones_own():
    seen = []

    def step(ins):
        seen.append([x.shape for x in ins])
        return [float(len(seen)), 2.]
    history = loops.fit_loop(compiled(Dense(1)), step, [X, Y], out_labels=['a', 'b'], epochs=2, verbose=0, batch_size=5,
                       callback_metrics=['a', 'b'])
    assert history.history == {'a': [1.5, 3.5], 'b': [2, 2]} and history.params['metrics'] == ['a', 'b']
    assert seen == [[(5, 2), (5, 1)]] * 4
