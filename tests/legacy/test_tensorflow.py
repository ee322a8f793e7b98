"""The stand-in for TensorFlow 1: values of genuine TensorFlow 1.13.2, and what scripts do around them."""
import numpy as np
import pytest
import tensorflow_harness as harness

from kfacade.legacy import tensorflow

tf = tensorflow.module()


@pytest.fixture(scope='module')
def results():
    found = harness.evaluate(harness.EXPRESSIONS, tf, tf.Session(), import_module=tensorflow.module)
    return {expression: (symbols, values) for expression, symbols, values in found}


@pytest.fixture(scope='module')
def expected():
    with np.load(harness.FOLDER / 'values.npz') as stored:
        return dict(stored)


@pytest.mark.parametrize('expression', harness.EXPRESSIONS)
def test_value_is_tensorflow_s(expression, results, expected):
    symbols, values = results[expression]
    if isinstance(values, Exception):
        raise values
    wanted = [expected[key] for key in expected if key.rpartition(' [')[0] == expression]
    assert len(values) == len(wanted)
    for symbol, value, want in zip(symbols, values, wanted):
        np.testing.assert_allclose(value, want, rtol=2e-6, atol=2e-6)
        assert np.shape(value) == want.shape and (np.asarray(value).dtype == want.dtype or symbol == 3)
        if hasattr(symbol, 'shape'):
            assert len(symbol.shape) == want.ndim and all(
                size in (None, n) for size, n in zip(symbol.shape, want.shape))


def test_every_entry_has_a_value_test():
    """But for classes, settings and what the other tests of this file call."""
    text = '\n'.join(harness.EXPRESSIONS)
    called = {path for path in tensorflow.NAMES if f'tf.{path}(' in text}
    ours = {name for name in tensorflow.NAMES if not name.startswith(('math.', 'logging.', 'random.'))}
    assert {path for path in ours - called if callable(tensorflow.NAMES[path]) and not isinstance(
        tensorflow.NAMES[path], (type, tensorflow.DType))} - ELSEWHERE == set()


ELSEWHERE = set('''name_scope variable_scope control_dependencies set_random_seed executing_eagerly get_default_graph
get_default_session reset_default_graph global_variables_initializer local_variables_initializer tables_initializer
initialize_all_variables no_op device device_scope Summary summary.FileWriter test.is_gpu_available placeholder
assign_add assign_sub assign_moving_average random_normal truncated_normal'''.split())
