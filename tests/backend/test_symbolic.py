"""Symbols: what records, what computes, and how shapes are found."""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.backend import state
from kfacade.backend.symbolic import SymbolicTensor, as_tensor, closure, op, record


def value(symbol, *fed):
    """The value of a symbol for (placeholder, array) pairs."""
    return K.function([x for x, _ in fed], [symbol])([v for _, v in fed])[0]


X = np.arange(24, dtype='float32').reshape(2, 3, 4) - 7


@pytest.mark.parametrize('expression', [
    lambda x: x + 1, lambda x: 1 + x, lambda x: x - 2., lambda x: 2. - x, lambda x: x * x, lambda x: x / 4,
    lambda x: 3 / (x + 100), lambda x: x // 2, lambda x: x % 3, lambda x: x ** 2, lambda x: -x, lambda x: abs(x),
    lambda x: x > 0, lambda x: x <= 1, lambda x: x[:, 0], lambda x: x[..., 1:3], lambda x: np.float32(2) * x,
    lambda x: np.arange(4, dtype='float32') * x, lambda x: x @ x.transpose((0, 2, 1)) if isinstance(x, np.ndarray)
    else x @ x.transpose(1, 2)])
def test_operators_record_what_numpy_computes(expression):
    x = K.placeholder((None, 3, 4))
    symbol = expression(x)
    assert isinstance(symbol, SymbolicTensor)
    np.testing.assert_allclose(value(symbol, (x, X)), expression(X), rtol=1e-6)


def test_torch_functions_record_on_symbols():
    x = K.placeholder((None, 3, 4))
    y = torch.cat([torch.relu(x), torch.sigmoid(x)], dim=-1).sum(dim=1)
    assert y.shape == (None, 8)
    expected = torch.cat([torch.relu(torch.tensor(X)), torch.sigmoid(torch.tensor(X))], -1).sum(1).numpy()
    np.testing.assert_allclose(value(y, (x, X)), expected, rtol=1e-6)


def test_shapes_keep_what_is_known_through_a_reshape_and_back():
    x = K.placeholder((None, 10, 64))
    flat = x.reshape(-1, 64)
    assert flat.shape == (None, 64)
    assert flat.reshape(-1, 10, 64).shape == (None, 10, 64)
    batch = K.shape(x)[0]
    assert record(lambda t, n: t.reshape(n, 16, -1), (flat, batch), {}).shape == (None, 16, None)  # as TensorFlow


def test_a_size_from_K_shape_makes_other_tensors():
    x = K.placeholder((None, 3))
    noise = K.random_normal((K.shape(x)[0], 5))
    assert noise.shape == (None, 5)
    assert value(noise, (x, np.zeros((7, 3)))).shape == (7, 5)
    np.testing.assert_array_equal(value(K.shape(x), (x, np.zeros((7, 3)))), [7, 3])
    np.testing.assert_array_equal(value(K.shape(x)[:1] * 2, (x, np.zeros((7, 3)))), [14])


def test_a_hard_coded_batch_size_is_found_by_trying_sizes():
    x = K.placeholder((None, 4))
    y = record(lambda t: t.reshape(32, 2, 2), (x,), {})
    assert y.shape == (None, 2, 2) or y.shape == (32, 2, 2)
    assert value(y, (x, np.zeros((32, 4)))).shape == (32, 2, 2)


def test_an_impossible_call_names_the_function_and_the_shapes():
    x, y = K.placeholder((None, 4), name='left'), K.placeholder((6, 5), name='right')
    with pytest.raises(ValueError, match=r'`matmul`.*left.*\(None, 4\).*right.*\(6, 5\)'):
        torch.matmul(x, y)


@pytest.mark.parametrize('use', [bool, len, iter, float, int, np.asarray, lambda x: [1, 2][x]])
def test_what_needs_a_value_raises(use):
    with pytest.raises(TypeError):
        use(K.placeholder((2,)))


def test_identity_decides_equality_and_hash():
    x, y = K.placeholder((2,)), K.placeholder((2,))
    assert x == x and x != y and len({x, y, x}) == 2


def test_attributes_that_third_party_code_reads():
    x = K.placeholder((None, 3), name='features')
    y = x * 2
    assert x.name == 'features:0' and y.name.startswith('mul')
    assert y.get_shape().as_list() == [None, 3] and y.shape.as_list() == [None, 3] and y.get_shape().ndims == 2
    assert y._keras_shape == (None, 3) and y.dtype == torch.float32 and y._uses_learning_phase is False
    assert not hasattr(y, '_keras_history') and not hasattr(y, '__deepcopy__')


def test_ops_compute_on_tensors_and_record_otherwise():
    tensor = torch.tensor([1., 4.])
    assert torch.equal(K.sqrt(tensor), torch.tensor([1., 2.]))
    assert isinstance(K.sqrt(K.variable([1., 4.])), SymbolicTensor)
    assert isinstance(K.random_uniform((3,)), SymbolicTensor)
    with state.running():
        assert isinstance(K.random_uniform((3,)), torch.Tensor)
        assert torch.equal(K.sqrt(K.variable([1., 4.])), torch.tensor([1., 2.]))


def test_a_symbol_inside_a_running_forward_is_an_error():
    x = K.placeholder((2,))
    with state.running(), pytest.raises(TypeError, match='running forward'):
        K.sqrt(x)


def test_a_shape_rule_replaces_the_meta_run():
    calls = []

    @op(shape=lambda x, n: (*x.shape, n))
    def repeated(x, n):
        calls.append(1)
        return x.unsqueeze(-1).expand(*x.shape, n)
    x = K.placeholder((None, 2))
    y = repeated(x, 3)
    assert y.shape == (None, 2, 3) and not calls
    np.testing.assert_array_equal(value(y, (x, [[1, 2]])), [[[1, 1, 1], [2, 2, 2]]])


def test_symbols_that_a_closure_closes_over_become_arguments():
    @op
    def apply(fn, x):
        return fn(x)
    x, scale = K.placeholder((None, 2)), K.placeholder((None, 2), name='scale')
    y = apply(closure(lambda t: K.square(t) * scale, x), x)
    assert y.shape == (None, 2)
    np.testing.assert_array_equal(value(y, (x, [[1, 2]]), (scale, [[10, 100]])), [[10, 400]])
    with pytest.raises(ValueError, match='feed a value for the placeholder scale'):
        value(y, (x, [[1, 2]]))


def test_arrays_are_copied_when_they_are_recorded():
    x, factor = K.placeholder((2,)), np.array([1., 2.])
    y = x * factor
    factor[:] = 0
    np.testing.assert_array_equal(value(y, (x, [3., 3.])), [3., 6.])


@pytest.mark.parametrize('x, dtype', [(1.5, torch.float32), (2, torch.int32), (np.zeros(2), torch.float32),
                                      (np.zeros(2, 'int64'), torch.int64), ([1., 2.], torch.float32),
                                      (np.zeros(3)[::-1], torch.float32)])
def test_as_tensor_takes_keras_dtypes(x, dtype):
    assert as_tensor(x).dtype == dtype


def test_functions_of_what_is_sure_to_be_a_tensor_are_compiled_to_those_of_torch():
    x, w, b = K.placeholder((None, 2), name='x'), K.variable(np.ones((2, 3))), K.variable(np.arange(3.))
    y = K.tanh(K.relu(K.bias_add(K.dot(x, w), b)))
    function = K.function([x], [y, K.abs(K.shape(x)[0] - 5), K.relu(K.dot(x, K.expand_dims(w, 0)), max_value=1.)])
    value, size, clipped = function([[[1., 2.]]])
    np.testing.assert_allclose(value, np.tanh([[3., 4, 5]]), rtol=1e-6)
    assert size == 4
    np.testing.assert_array_equal(clipped, np.ones((1, 1, 3)))
    code = function.graph(False).module.code
    assert 'torch.matmul(x, ' in code and 'torch.relu(bias_add)' in code and 'torch.tanh(relu)' in code
