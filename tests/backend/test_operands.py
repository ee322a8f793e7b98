"""Lists, arrays, indices, axes and sizes as Keras takes them beside a tensor; the values are those of Keras 2.2.4."""
import numpy as np
import pytest

from kfacade import backend as K
from kfacade.layers import Dense, Input, Lambda
from kfacade.models import Model, Sequential

X = np.arange(1., 13., dtype='float32').reshape(2, 2, 3)
THREE = [1., 2., 4.]


def floats(condition):
    return K.cast(condition, 'float32')


OPERANDS = {
    'means of the colours': (lambda q: q - [103.9, 116.8, 123.7], X - np.float32([103.9, 116.8, 123.7])),
    'a list before': (lambda q: THREE - q, THREE - X),
    'a tuple before': (lambda q: (1, 2, 4) * q, THREE * X),
    'integers in a list': (lambda q: q + [1, 2, 4], X + THREE),
    'comparison': (lambda q: floats(q > (2., 5., 6.)), X > (2., 5., 6.)),
    'comparison, list before': (lambda q: floats(THREE <= q), THREE <= X),
    'power': (lambda q: q ** [1, 2, 3], X ** [1, 2, 3]),
    'power of a list': (lambda q: THREE ** q, np.power(THREE, X)),
    'division': (lambda q: q / THREE, X / THREE),
    'floor of a division': (lambda q: q // THREE, X // THREE),
    'remainder': (lambda q: q % [2, 2, 4], X % [2, 2, 4]),
    'nested lists': (lambda q: q * [THREE, [4., 5., 6.]], X * [THREE, [4., 5., 6.]]),
    'matrix product': (lambda q: q[0] @ [[1., 2.], [3., 4.], [5., 6.]], [[22, 28], [49, 64]]),
    'an array of integers': (lambda q: q * np.array([1, 2, 4]), X * THREE),
    'an array before': (lambda q: np.array(THREE) * q, X * THREE),
    'tensors in a list': (lambda q: q * [q[0, 0, 0], 2., K.variable(4.)], X * THREE),
    'in functions': (lambda q: K.maximum(THREE, q) + K.pow(q, [1, 2, 0]), np.maximum(THREE, X) + X ** [1, 2, 0]),
    # slices with negative steps
    'RGB to BGR': (lambda q: q[..., ::-1], X[..., ::-1]),
    'every second, backwards': (lambda q: q[:, ::-2], X[:, ::-2]),
    'a part, backwards': (lambda q: q[:, :, 1:0:-1], X[:, :, 1:0:-1]),
    'two axes': (lambda q: q[:, ::-1, ::-1], X[:, ::-1, ::-1]),
    'samples': (lambda q: q[::-1], X[::-1]),
    'after an index': (lambda q: q[:, 0, ::-1], X[:, 0, ::-1]),
    'before an index': (lambda q: q[:, ::-1, 1], X[:, ::-1, 1]),
    'beside a new axis': (lambda q: q[:, None, ::-1, ..., None], X[:, None, ::-1, ..., None]),
    'from the end': (lambda q: q[..., :0:-1], X[..., :0:-1]),
    'nothing': (lambda q: q[..., 0:2:-1], X[..., 0:2:-1]),
    'from beyond the end': (lambda q: q[:, 5::-1], X[:, 5::-1]),
    # sizes and axes
    'whole floats as a shape': (lambda q: K.reshape(q, np.array([-1., 6.])), X.reshape(2, 6)),
    'counts as an array': (lambda q: K.tile(q, np.array([1., 2., 1.])), np.tile(X, (1, 2, 1))),
    'a pattern as an array': (lambda q: K.permute_dimensions(q, np.array([0, 2, 1])), X.transpose(0, 2, 1)),
    'a slice as arrays': (lambda q: K.slice(q, np.array([0, 1, 0]), np.array([2, 1, -1])), X[:, 1:]),
    'an axis twice': (lambda q: K.sum(q, axis=[2, -1]), X.sum(2)),
    'an axis twice, kept': (lambda q: K.max(q, axis=[-1, 2], keepdims=True), X.max(2, keepdims=True)),
    'an axis twice in a product': (lambda q: K.prod(q, [1, -2]), X.prod(1)),
    'an axis twice in other reductions': (lambda q: K.std(q, [2, -1]) + K.l2_normalize(q, [2, -1])[..., 0],
                                          X.std(2) + X[..., 0] / np.sqrt((X ** 2).sum(2))),
    'an axis as a tensor': (lambda q: K.sum(q, axis=K.constant(1, dtype='int32')), X.sum(1)),
    'axes as an array': (lambda q: K.mean(q, axis=np.array([1, 2])), X.mean((1, 2))),
}


@pytest.mark.parametrize('name', OPERANDS)
def test_operands_in_a_lambda(name):
    function, expected = OPERANDS[name]
    x = Input((2, 3))
    y = Lambda(function)(x)
    np.testing.assert_allclose(Model(x, y).predict(X), expected, rtol=1e-5)
    assert K.int_shape(y)[1:] == np.shape(expected)[1:]


def test_sizes_that_a_variable_holds():
    x = K.placeholder((None, 2, 3))
    for function, values, shape, expected in (
            (K.reshape, [-1, 6], (None, None), X.reshape(2, 6)),
            (K.tile, [1, 2, 1], (None,) * 3, np.tile(X, (1, 2, 1))),
            (K.permute_dimensions, [0, 2, 1], (None,) * 3, X.transpose(0, 2, 1))):
        y = function(x, K.variable(values, dtype='int32'))
        assert K.int_shape(y) == shape
        np.testing.assert_array_equal(K.function([x], [y])([X])[0], expected)


def test_operands_of_variables():
    v = K.variable(np.arange(6.).reshape(2, 3))
    np.testing.assert_array_equal(K.eval(v[::-1, ::-1] - [1, 2, 3]), [[4, 2, 0], [1, -1, -3]])
    np.testing.assert_array_equal(K.eval((1, 2, 3) - v), [[1, 1, 1], [-2, -2, -2]])
    for dtype in ('float16', 'float64', 'int32'):  # the list takes the data type of the tensor
        sums = K.eval(K.variable([0, 1, 2], dtype=dtype) + ([1, 2, 3] if dtype == 'int32' else [.1, .2, .3]))
        assert sums.dtype == dtype
        np.testing.assert_array_equal(sums, [1, 3, 5] if dtype == 'int32' else np.array([.1, 1.2, 2.3], dtype))
    with pytest.raises(TypeError, match='no int32.*`K.cast`'):
        K.variable([0, 1, 2], dtype='int32') * [1.5, 2, 3]


def test_operands_in_a_loss():
    model = Sequential([Dense(3, kernel_initializer='ones', input_shape=(2,))])
    model.compile('sgd', lambda t, p: K.mean(K.square(t - p) * [1., 2., 3.] / (2, 2, 2), -1))
    assert model.test_on_batch(np.ones((4, 2)), np.zeros((4, 3))) == pytest.approx(4.)


def test_later_changes_of_an_array_do_not_count():
    x, scale = Input((3,)), np.ones(3, 'float32')
    model = Model(x, Lambda(lambda q: q * scale)(x))
    scale[:] = 5
    np.testing.assert_array_equal(model.predict(X[0]), X[0])


def test_tensors_without_dimensions():
    one = K.variable(3.)
    assert K.eval(K.transpose(one)) == K.eval(K.permute_dimensions(one, [])) == 3
    np.testing.assert_array_equal(K.eval(K.batch_flatten(one)), [[3]])
    np.testing.assert_array_equal(K.eval(K.batch_flatten(K.variable([3., 4.]))), [[3], [4]])


@pytest.mark.parametrize('value, shape, expected', [
    ([1, 2, 3], (2, 2), [[1, 2], [3, 3]]), ([1, 2, 3], (5,), [1, 2, 3, 3, 3]), ([[1, 2], [3, 4]], (2, 3),
                                                                               [[1, 2, 3], [4, 4, 4]]),
    (7, (2, 3), [[7] * 3] * 2), (np.array([7, 8.]), [4], [7, 8, 8, 8]), ([], (2,), [0, 0]), (7, (), 7)])
def test_constant_repeats_the_last_value(value, shape, expected):
    np.testing.assert_array_equal(K.eval(K.constant(value, shape=shape)), expected)


def test_constant_of_too_many_values():
    with pytest.raises(ValueError, match='at most 2 for the shape \\(2,\\), but received 3'):
        K.constant([1, 2, 3], shape=(2,))
