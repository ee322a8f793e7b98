"""The stand-in for TensorFlow 1: values of genuine TensorFlow 1.13.2, and what scripts do around them."""
import numpy as np
import pytest
import tensorflow_harness as harness

from kfacade import backend as K
from kfacade.legacy import tensorflow

tf = tensorflow.module('tensorflow')


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


ELSEWHERE = set('''
as_dtype name_scope variable_scope control_dependencies set_random_seed executing_eagerly get_default_graph
get_default_session reset_default_graph global_variables_initializer local_variables_initializer tables_initializer
initialize_all_variables no_op device device_scope Summary summary.FileWriter test.is_gpu_available
test.gpu_device_name list_local_devices placeholder assign_add assign_sub assign_moving_average random_normal
truncated_normal random_shuffle newaxis'''.split())


def test_rows_are_shuffled_whole():
    x = tf.placeholder('float32', (None, 2))
    tf.set_random_seed(3)
    shuffled = tf.random_shuffle(x)
    rows = np.arange(100.).reshape(50, 2)
    first, second = (tf.Session().run(shuffled, {x: rows}) for _ in range(2))
    for found in (first, second):
        np.testing.assert_array_equal(found[found[:, 0].argsort()], rows)
    assert (first != rows).any() and (first != second).any()
    assert tf.newaxis is None and x[:, tf.newaxis].shape.as_list() == [None, 1, 2]


def test_boilerplate_of_scripts():
    config = tf.ConfigProto(allow_soft_placement=True, intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    config.gpu_options.allow_growth = True
    with pytest.warns(UserWarning, match='per_process_gpu_memory_fraction has no meaning on torch'):
        tf.ConfigProto(gpu_options=tf.GPUOptions(per_process_gpu_memory_fraction=.5))
    with pytest.raises(AttributeError, match="no setting 'gpu_option' here"):
        config.gpu_option = 1
    K.set_session(tf.Session(graph=tf.get_default_graph(), config=config))
    tf.set_random_seed(1)
    tf.logging.set_verbosity(tf.logging.ERROR)
    with tf.Session() as session, session.as_default(), tf.Graph().as_default(), tf.device('/cpu:0'):
        with tf.name_scope('scope'):
            x = tf.placeholder(tf.float32, shape=(None, 2), name='x')
        assert x.name == 'scope/x:0' and x.dtype == tf.float32 and x.dtype.as_numpy_dtype is np.float32
        weight = tf.Variable(tf.ones((2,)), name='weight')
        assert session.run([tf.global_variables_initializer(), tf.no_op()]) == [None, None]
        step = tf.assign_sub(weight, .5 * tf.gradients(x * weight, weight)[0])
        np.testing.assert_array_equal(session.run([tf.add(x, weight, name='sum'), step], {x: [[1, 2], [3, 4]]})[1],
                                      [-1, -2])
    assert isinstance(weight, tf.Variable) and isinstance(x, tf.Tensor) and not isinstance(x, tf.Variable)
    tf.reset_default_graph()
    assert tf.get_default_session() is K.get_session() and tf.executing_eagerly() is False


def test_seeds_make_random_numbers_again():
    draws = []
    for _ in range(2):
        tf.set_random_seed(5)
        draws.append(tf.Session().run(tf.random_normal((3,))))
    np.testing.assert_array_equal(*draws)


def test_seeds_leave_numpy_s_numbers_and_go_with_them():
    draws = []
    for graph_seed, seed in [(5, 42), (5, 42), (6, 42), (5, 43), (-1, 42)]:
        np.random.seed(seed)
        tf.set_random_seed(graph_seed)
        if seed == 42:
            assert np.random.standard_normal() == 0.4967141530112327
        draws.append(K.eval(K.random_normal((3,))).tolist())
    assert draws[0] == draws[1] and len({tuple(draw) for draw in draws}) == 4


def test_numpy_functions_are_called_when_a_shape_is_wanted_or_at_run_time():
    calls = []

    def double(a):
        calls.append(a.shape)
        return a * 2
    x = tf.placeholder('float32', (None, 3))
    y = tf.py_func(double, [x], tf.float32)
    y.set_shape((None, 3))
    assert tf.Session().run(tf.reduce_sum(y), {x: np.ones((5, 3))}) == 30 and calls == [(5, 3)]
    assert tf.py_func(double, [x], tf.float32).shape.as_list() == [None, 3] and calls[1:] == [(2, 3), (3, 3)]
    assert tf.gradients(y, x) == [None]
    with pytest.raises(ValueError, match='Tell the shape with `set_shape` first'):
        tf.reduce_sum(tf.py_func(lambda a: a.no_such_attribute, [x], tf.float32))


def test_what_happens_when_a_value_is_computed(capsys):
    x = tf.placeholder('float32', (None,))
    with tf.control_dependencies([tf.Assert(tf.reduce_all(x > 0), [x]), tf.Print(x, [x], 'x: ', first_n=1)]):
        y = tf.identity(x)
    z = tf.identity(x)
    session = tf.Session()
    assert capsys.readouterr().err == ''
    for _ in range(2):
        np.testing.assert_array_equal(session.run(y, {x: [1, 2, 3, 4.5]}), [1, 2, 3, 4.5])
    assert capsys.readouterr().err == 'x: [1 2 3...]\n'
    with pytest.raises(ValueError, match=r'assertion failed: \[-1 2\]'):
        session.run(y, {x: [-1, 2]})
    np.testing.assert_array_equal(session.run(z, {x: [-1, 2]}), [-1, 2])
    with pytest.raises(TypeError, match='An update cannot be a control dependency'):
        with tf.control_dependencies([tf.assign(tf.Variable(1.), 2.)]):
            pass


def test_a_loop_may_change_no_size_that_is_not_left_open():
    x = tf.placeholder('float32', (2, 3))
    with pytest.raises(ValueError, match=r'from \(2, 3\) to \(4, 3\).*shape_invariants'):
        tf.while_loop(lambda a: True, lambda a: tf.concat([a, a], 0), [x])


def test_loops_without_a_gradient():
    x = tf.placeholder('float32', (None,))
    value = tf.map_fn(lambda e: e * e, x, back_prop=False)
    assert tf.gradients(value, x) == [None]


@pytest.mark.parametrize('path', ['foo', 'nn.ctc_loss', 'contrib', 'python.ops.array_ops.foo'])
def test_other_names_tell_what_to_do(path):
    *modules, name = path.split('.')
    module = tensorflow.module('.'.join(['tensorflow', *modules]))
    with pytest.raises(AttributeError, match=rf'no tensorflow.{path} \(.*test_tensorflow.py:\d+\): .*stand-in'):
        getattr(module, name)
    assert not hasattr(module, name)


def test_tensorflow_keras_is_refused_with_advice():
    with pytest.raises(AttributeError, match='--tensorflow-keras'):
        assert tf.keras


def test_what_keras_backend_imported_from_tensorflow():
    assert K.tf is tf and K.tf.nn is tf.nn
    assert K.control_flow_ops.while_loop is K.functional_ops.while_loop is tf.while_loop
    assert K.tensor_array_ops.TensorArray is tf.TensorArray and K.tf_ops.name_scope is tf.name_scope
    assert K.moving_averages.assign_moving_average is tf.assign_moving_average
    assert tf.compat.v1.reduce_sum is tf.reduce_sum is tf.math.reduce_sum


def test_event_files(tmp_path):
    events = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    writer = tf.summary.FileWriter(str(tmp_path))
    summary = tf.Summary()
    summary.value.add(tag='loss', simple_value=2.)
    writer.add_summary(summary, 3)
    writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag='loss', simple_value=1.)]), 4)
    writer.close()
    read = events.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in read.Scalars('loss')] == [(3, 2), (4, 1)]
    with pytest.warns(UserWarning, match='graph is not written'):
        tf.summary.FileWriter(str(tmp_path), tf.get_default_graph()).close()


def test_settings_of_graphs_and_devices_are_taken(recwarn):
    config = tf.ConfigProto(device_count={'CPU': 1}, inter_op_parallelism_threads=1)
    config.graph_options.optimizer_options.opt_level = -1
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    assert config.graph_options.optimizer_options.opt_level == -1 and not recwarn
    with pytest.raises(AttributeError, match="no setting 'device_counts'"):
        tf.ConfigProto(device_counts={})


def test_scripts_list_devices_from_the_inner_module():
    """``from tensorflow.python.client import device_lib``."""
    assert tensorflow.Finder().find_spec('tensorflow.python.client.device_lib')
    device_lib = tensorflow.module('tensorflow.python.client').device_lib
    assert device_lib.list_local_devices()[0].name == '/device:CPU:0'
