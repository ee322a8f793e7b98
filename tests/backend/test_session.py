"""Functions, updates, gradients and the learning phase, as Keras has them."""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.backend.graph import compile_graph
from kfacade.backend.session import Session, weighted_gradients
from kfacade.layers import Input, Lambda
from kfacade.models import Model


def test_a_variable_expression_follows_set_value():
    v = K.variable([1., 2.])
    doubled = v * 2
    np.testing.assert_array_equal(K.eval(doubled), [2, 4])
    K.set_value(v, [5., 6.])
    np.testing.assert_array_equal(K.eval(doubled), [10, 12])


def test_a_random_op_draws_anew_and_repeats_after_the_same_numpy_seed():
    def draws():
        np.random.seed(3)
        f = K.function([], [K.random_uniform((4,))])
        return f([])[0], f([])[0]
    first, second = draws()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(draws(), [first, second])


def test_updates_run_only_in_a_function_that_has_them():
    v = K.variable(1.)
    add = K.update_add(v, 2.)
    assert K.eval(v) == 1
    x = K.placeholder(())
    assert K.function([x], [x * v])([3.]) == [3.]
    assert K.eval(v) == 1
    assert K.function([x], [x * v], updates=[add])([3.]) == [3.]  # outputs first
    assert K.eval(v) == 3


def test_all_new_values_come_from_the_old_ones():
    a, b = K.variable([1., 2.]), K.variable([3., 4.])
    K.function([], [], updates=[K.update(a, b), (b, a)])([])
    np.testing.assert_array_equal(K.eval(a), [3, 4])
    np.testing.assert_array_equal(K.eval(b), [1, 2])


def test_outputs_are_not_changed_by_later_updates():
    v = K.variable([1., 2.])
    f = K.function([], [v, v[:1]], updates=[K.update_add(v, 1.)])
    first = f([])
    f([])
    np.testing.assert_array_equal(first[0], [1, 2])
    np.testing.assert_array_equal(first[1], [1])


def test_moving_average_is_corrected_for_its_start():
    v = K.variable([100.])
    x = K.placeholder((1,))
    f = K.function([x], [], updates=[K.moving_average_update(v, x, 0.9)])
    f([[4.]])
    np.testing.assert_allclose(K.eval(v), [4.])
    f([[10.]])
    np.testing.assert_allclose(K.eval(v), [(0.09 * 4 + 0.1 * 10) / 0.19], rtol=1e-6)


def test_what_later_kerases_have_is_not_there():
    """Libraries ask for it, and take what they find for what it is there."""
    assert not any(hasattr(K, name) for name in ('symbolic', 'eager', 'learning_phase_scope', 'is_symbolic'))


def test_gradients_of_variables_symbols_and_gradients():
    x, w = K.placeholder((None, 2)), K.variable([[1.], [2.]])
    loss = K.sum(K.square(K.dot(x, w)))
    gx, gw, unused = K.gradients(loss, [x, w, K.variable(0.)])
    assert unused is None
    array = np.array([[1., 1.], [0., 3.]], 'float32')
    outputs = K.function([x], [gx, gw])([array])
    y = array @ [[1.], [2.]]
    np.testing.assert_allclose(outputs[0], 2 * y * [[1., 2.]])
    np.testing.assert_allclose(outputs[1], 2 * array.T @ y)
    second = K.gradients(K.sum(K.square(gx)), [w])[0]  # d/dw of sum (2 (x·w) w)² = 4 (x·w)² w·w
    s, ww = float((y ** 2).sum()), 5.
    expected = 8 * array.T @ y * ww + 8 * s * np.array([[1.], [2.]])
    np.testing.assert_allclose(K.function([x], [second])([array])[0], expected, rtol=1e-5)


@pytest.mark.parametrize('context', [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_model_that_takes_gradients_gives_them_to_whoever_calls_it(context):
    x = Input((2,))
    model = Model(x, Lambda(lambda x: x + K.gradients(K.sum(K.square(x)), [x])[0])(x))
    with context():
        y = model(torch.tensor([[1., 2.]]))
    assert y.tolist() == model.predict(np.array([[1., 2.]])).tolist() == [[3., 6.]]
    assert not y.requires_grad or context is torch.enable_grad


def test_a_gradient_stops_where_tensorflow_stops_it():
    v = K.variable([1., 2.])
    assert K.gradients(K.sum(K.stop_gradient(v)), [v]) == [None]
    assert K.gradients(K.cast(K.argmax(v), 'float32'), [v]) == [None]
    places = K.placeholder((1,), dtype='int32')
    assert K.gradients(K.gather(v, places), places) == [None]


def test_learning_phase_is_fed():
    x = K.placeholder((None,))
    y = K.in_train_phase(x * 2, lambda: x * 3)
    assert y._uses_learning_phase and not x._uses_learning_phase
    f = K.function([x, K.learning_phase()], [y])
    np.testing.assert_array_equal(f([[1.], 1])[0], [2])
    np.testing.assert_array_equal(f([[1.], 0])[0], [3])
    np.testing.assert_array_equal(K.function([x], [y])([[1.]])[0], [3])
    np.testing.assert_array_equal(K.function([x], [K.in_test_phase(x * 2, x)])([[1.]])[0], [2])
    assert K.in_train_phase(x, y, training=True) is x


def test_a_fixed_learning_phase_decides_at_building_time():
    x = K.placeholder((None,))
    K.set_learning_phase(1)
    try:
        assert K.learning_phase() == 1 and K.in_train_phase(x, x * 2) is x
        with pytest.raises(ValueError, match='Expected learning phase to be 0 or 1'):
            K.set_learning_phase(2)
    finally:
        K.clear_session()
    assert K.learning_phase() not in (0, 1)


def test_only_the_phase_that_runs_is_compiled():
    x, unfed = K.placeholder((None,)), K.placeholder((None,))
    y = K.in_train_phase(unfed, x)
    np.testing.assert_array_equal(K.function([x], [y])([[1.]])[0], [1])


def test_a_missing_input_is_named():
    x = K.placeholder((None, 3), name='forgotten')
    with pytest.raises(ValueError, match=r'feed a value for the placeholder forgotten:0 of shape \(None, 3\)'):
        K.function([], [x * 2])([])


@pytest.mark.parametrize('arguments, message', [
    ((None, []), '`inputs` to a backend function'), (([], None), '`outputs` of a backend function'),
    (([], [], 3), '`updates` in a backend function')])
def test_function_refuses_what_is_no_list(arguments, message):
    with pytest.raises(TypeError, match=message):
        K.function(*arguments)


def test_function_takes_inner_tensors_as_inputs():
    x = K.placeholder((None, 2))
    hidden = K.square(x)
    y = hidden + 1
    np.testing.assert_array_equal(K.function([hidden], [y])([[[3., 4.]]])[0], [[4, 5]])


def test_set_value_refuses_another_shape_and_keeps_the_old_value():
    v = K.variable(np.ones((2, 2)), name='kernel')
    with pytest.raises(ValueError, match=r'kernel:0 of shape \(2, 2\)'):
        K.set_value(v, np.zeros(3))
    np.testing.assert_array_equal(K.get_value(v), np.ones((2, 2)))


def test_batch_get_and_set():
    a, b = K.variable(1.), K.variable([2.])
    K.batch_set_value([(a, 3.), (b, [4.])])
    assert K.batch_get_value([a, b]) == [3, [4]]


def test_asking_about_tensors():
    v = K.variable(np.zeros((2, 3)), dtype='float64', name='v')
    assert (K.ndim(v), K.dtype(v), K.int_shape(v), K.count_params(v)) == (2, 'float64', (2, 3), 6)
    x = K.placeholder(ndim=3)
    assert K.int_shape(x) == (None, None, None) and K.is_placeholder(x) and not K.is_placeholder(x + 1)
    assert K.is_tensor(v) and not K.is_tensor([1.]) and not K.is_keras_tensor(x)
    with pytest.raises(ValueError, match='Unexpectedly found an instance of type'):
        K.is_keras_tensor([1.])


def test_name_scopes_are_made_unique():
    K.clear_session()
    names = []
    for _ in range(2):
        with K.name_scope('block'):
            names += [K.variable(0., name='w').name, K.variable(0., name='w').name]
    assert names == ['block/w:0', 'block/w_1:0', 'block_1/w:0', 'block_1/w_1:0']


def test_constants_zeros_ones_eye():
    np.testing.assert_array_equal(K.eval(K.constant(2, shape=(2, 2))), np.full((2, 2), 2.))
    assert K.constant(1., name='one').name == 'one:0'
    np.testing.assert_array_equal(K.eval(K.zeros((2, 3))), np.zeros((2, 3)))
    np.testing.assert_array_equal(K.eval(K.ones((2,), dtype='int32')), [1, 1])
    np.testing.assert_array_equal(K.eval(K.eye(2)), np.eye(2))


def test_the_compiled_code_is_flat_python():
    x = K.placeholder((None, 2), name='x')
    code = compile_graph([x], [torch.relu(x) + 1]).module.code
    assert 'torch.relu(x)' in code and 'return (add,)' in code


def test_a_graph_of_thousands_of_nodes_compiles_without_recursion():
    x = y = K.placeholder((2,))
    for _ in range(3000):
        y = y + 1
    np.testing.assert_array_equal(K.function([x], [y])([[0., 1.]])[0], [3000, 3001])


def test_a_session_runs_trees_of_symbols_variables_and_updates():
    x, v, count = K.placeholder((None, 2)), K.variable([1., 2.]), K.variable(1)
    y, values = x * v, np.array([[3., 4.]])
    with K.get_session() as session:
        assert session.run(None) is None
        found = session.run({'y': y, 'rest': (v, [K.shape(x)[0], None])}, {x: values})
        np.testing.assert_array_equal(found['y'], [[3, 8]])
        np.testing.assert_array_equal(found['rest'][0], [1, 2])
        assert found['rest'][1] == [1, None] and found['rest'][1][0].dtype == 'int32'
        assert session.run(K.update_add(count, 2.)) == 3 == session.run(count)
        np.testing.assert_array_equal(session.run(y * 2, feed_dict={y: values}), [[6, 8]])
        phase = K.in_train_phase(x, -x)
        assert [session.run(phase, {x: values, K.learning_phase(): flag})[0, 0] for flag in (0, 1)] == [-3, 3]
        assert session.run(phase, {x: values})[0, 0] == -3
    for fetches, feeds in (('y:0', {}), (y, {'x:0': values}), (v, {v: values})):
        with pytest.raises(TypeError, match='A session runs symbols'):
            session.run(fetches, feeds)
    with pytest.raises(ValueError, match='feed a value'):
        session.run(y)


def test_the_session_that_is_set_is_the_one_that_is_there():
    session = Session()
    K.set_session(session)
    with session.as_default():
        assert K.get_session() is session
    K.clear_session()
    assert K.get_session() is not session


def test_weights_of_gradients_may_hold_gradients_themselves():
    x = K.placeholder((3,))
    first, = weighted_gradients([x ** 3, x], [K.square(x), None], [x])  # x**2 is a constant weight here
    second = K.gradients(first, x)[0]
    a = np.array([1., 2., 3.], 'float32')
    for symbol, expected in ((first, 3 * a ** 4 + 1), (second, 12 * a ** 3)):
        np.testing.assert_allclose(K.get_session().run(symbol, {x: a}), expected, rtol=1e-6)
    np.testing.assert_allclose(K.get_session().run(K.gradients([x ** 2, x], x)[0], {x: a}), 2 * a + 1)


def test_update_sub_and_get_variable_shape():
    v = K.variable([[5., 7.]])
    K.function([], [], updates=[K.update_sub(v, K.constant([[1., 2.]]))])([])
    np.testing.assert_array_equal(K.get_value(v), [[4, 5]])
    assert K.get_variable_shape(v) == (1, 2)


def test_uids_count_by_prefix_until_they_are_reset():
    K.reset_uids()
    assert [K.get_uid('a'), K.get_uid('a'), K.get_uid('b')] == [1, 2, 1]
    K.reset_uids()
    assert K.get_uid('a') == 1


def test_stand_ins_for_what_torch_has_no_use_for():
    K.manual_variable_initialization(False)
    with pytest.raises(ValueError, match='initialized when they are made'):
        K.manual_variable_initialization(True)


# ---------------------------------------------------------------- what Keras 2.2.4 takes and gives

def test_eval_of_an_update_applies_it():
    v = K.variable([1., 2.])
    np.testing.assert_array_equal(K.eval(K.update_add(v, [1., 1.])), [2, 3])
    np.testing.assert_array_equal(K.eval(K.update(v, v * 2)), [4, 6])
    np.testing.assert_array_equal(K.eval(v), [4, 6])
    x = K.placeholder((None, 2))
    np.testing.assert_array_equal(K.function([x], [K.update_add(v, x[0])])([np.ones((1, 2))]), [[5, 7]])
    np.testing.assert_array_equal(K.eval(v), [5, 7])
    np.testing.assert_array_equal(K.eval(K.moving_average_update(v, K.constant([0., 0.]), .9)), [0, 0])


def test_functions_take_fewer_and_more_values_than_inputs():
    x, y = K.placeholder((None, 2)), K.placeholder((None, 2))
    ones = np.ones((1, 2))
    doubled_in_training = K.in_train_phase(x * 2, x)
    np.testing.assert_array_equal(K.function([x, K.learning_phase()], [doubled_in_training])([ones]), [ones])
    np.testing.assert_array_equal(K.function([x], [doubled_in_training])([ones, 1]), [ones])
    np.testing.assert_array_equal(K.function([x, y], [x * 2])([ones]), [2 * ones])
    with pytest.raises(ValueError, match='must feed a value for the placeholder'):
        K.function([x, y], [x * y])([ones])
    with pytest.raises(ValueError, match='must feed a value for the placeholder.*None'):
        K.function([x], [x])([None])


@pytest.mark.parametrize('value', [np.array([['1', '2.5']]), np.array([[1, '2.5']], object),
                                   np.array([[1, 2.5]], np.longdouble), [[1, 2.5]]],
                         ids=['text', 'object', 'long', 'list'])
def test_values_are_fed_as_numpy_converts_them(value):
    x = K.placeholder((None, 2), name='fed')
    result, = K.function([x], [x * 2])([value])
    assert result.dtype == 'float32' and result.tolist() == [[2, 5]]


def test_what_is_no_number_is_named():
    x = K.placeholder((None, 2), name='fed')
    with pytest.raises(ValueError, match="fed.* must be numbers that make float32: could not convert string.*'a'"):
        K.function([x], [x])([np.array([['a', '2']])])


W = [1.5, 2.5]


@pytest.mark.parametrize('expression', [
    K.round, lambda w: K.round(w) * 2, K.zeros_like, lambda w: K.ones_like(w) * 3, lambda w: w // 1.,
    lambda w: K.categorical_crossentropy(w, K.constant([.3, .7]), from_logits=True),
    lambda w: K.sparse_categorical_crossentropy(w, K.constant([[.3, .7, 1.]] * 2)),
    lambda w: K.cast(K.argmax(w), 'float32')])
def test_gradients_that_are_none(expression):
    w = K.variable(W)
    assert K.gradients(K.sum(expression(w)), [w]) == [None]


def test_gradients_beside_those_that_are_none():
    w = K.variable(W)
    for expression, expected in ((w // 1. + 3 * w, [3, 3]), (K.round(w) * w, [2, 2]), (K.sign(w), [0, 0]),
                                 (K.categorical_crossentropy(w, K.constant([.3, .7])), [1.204, .3567])):
        np.testing.assert_allclose(K.eval(K.gradients(K.sum(expression), [w])[0]), expected, rtol=1e-3)
    target, output = K.placeholder((None, 3)), K.placeholder((None, 3))
    loss = K.categorical_crossentropy(target, output, from_logits=True)
    assert [g is None for g in K.gradients(K.sum(loss), [target, output])] == [True, False]
