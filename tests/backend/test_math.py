"""Mathematics of the backend against numpy, each line eagerly and symbolically (see conftest)."""
import numpy as np
import pytest
import torch

from kfacade import backend as K

RNG = np.random.RandomState(0)


def normal(*shape):
    return RNG.randn(*shape).astype('float32')


X, Y = normal(4, 5, 6), normal(4, 5, 6)
M, N = normal(5, 7), normal(4, 4)
POSITIVE = np.abs(X) + .1
INTS = np.array([[1, 2, 3], [4, 5, 7]], 'int32')
TRUTH = X > .5
LABELS = np.array([1, 0, 3, 2, 6], 'int32')

REDUCTIONS = {'sum': np.sum, 'mean': np.mean, 'var': np.var, 'std': np.std, 'max': np.max, 'min': np.min,
              'prod': np.prod, 'any': np.any, 'all': np.all,
              'logsumexp': lambda x, **over: np.log(np.sum(np.exp(x), **over))}


@pytest.mark.parametrize('name', REDUCTIONS)
@pytest.mark.parametrize('axis', [None, 0, -1, [0, 2], (1, -1)], ids=str)
@pytest.mark.parametrize('keepdims', [False, True])
def test_reductions(check, name, axis, keepdims):
    x = TRUTH if name in ('any', 'all') else X
    expected = REDUCTIONS[name](x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    check(lambda x: getattr(K, name)(x, axis=axis, keepdims=keepdims), [x], np.asarray(expected), rtol=1e-4)


@pytest.mark.parametrize('name, expected', [
    ('sum', X), ('mean', X), ('max', X), ('min', X), ('prod', X), ('logsumexp', X), ('var', 0 * X), ('std', 0 * X)])
def test_reducing_over_no_axes_reduces_nothing(check, name, expected):
    check(lambda x: getattr(K, name)(x, axis=[], keepdims=True), [X], expected)


def swapped(x, *axes):
    return np.transpose(x, axes)


def einsum(expression, *arrays):
    return np.einsum(expression, *arrays)


def l2(x, axis):
    return x / np.sqrt(np.maximum(np.sum(x ** 2, axis, keepdims=True), 1e-12))


CASES = [
    # data types of reductions
    ('mean of bools', lambda x: K.mean(x), [TRUTH], TRUTH.mean()),
    ('mean of integers', lambda x: K.mean(x, 0), [INTS], np.array([2, 3, 5], 'int32')),
    ('mean of negative integers', K.mean, [-INTS[0, :2]], np.array(-1, 'int32')),
    ('variance of integers', lambda x: K.var(x, 1), [INTS], np.array([0, 1], 'int32')),
    ('sum of integers', lambda x: K.sum(x, 1), [INTS], INTS.sum(1).astype('int32')),
    ('prod of integers', lambda x: K.prod(x), [INTS], INTS.prod().astype('int32')),
    ('argmax', lambda x: K.argmax(x), [X], X.argmax(-1)),
    ('argmin over an axis', lambda x: K.argmin(x, axis=1), [X], X.argmin(1)),
    ('cumsum', lambda x: K.cumsum(x, axis=1), [X], X.cumsum(1)),
    ('cumsum of integers', K.cumsum, [INTS], INTS.cumsum(0).astype('int32')),
    ('cumprod', lambda x: K.cumprod(x, axis=-1), [X], X.cumprod(-1)),
    ('l2_normalize', lambda x: K.l2_normalize(x, axis=-1), [X], l2(X, -1)),
    ('l2_normalize of everything', K.l2_normalize, [X], l2(X, None)),
    ('l2_normalize of zeros', lambda x: K.l2_normalize(x, 1), [np.zeros((2, 3), 'float32')], np.zeros((2, 3))),
    ('in_top_k', lambda x, t: K.in_top_k(x, t, 3), [M, LABELS],
     (M > M[np.arange(5), LABELS][:, None]).sum(1) < 3),
    ('in_top_k: ties count for the target, no class and no number do not', lambda x, t: K.in_top_k(x, t, 1),
     [np.array([[1, 1, 0], [1, 2, 0], [1, 2, 0], [1, np.nan, 0]], 'float32'), np.array([1, 1, 3, 1])],
     np.array([True, True, False, False])),
    # elementwise
    ('abs', K.abs, [X], abs(X)),
    ('square', K.square, [X], X ** 2),
    ('sqrt counts negative numbers as 0', K.sqrt, [X], np.sqrt(np.maximum(X, 0))),
    ('exp', K.exp, [X], np.exp(X)),
    ('log', K.log, [POSITIVE], np.log(POSITIVE)),
    ('sin', K.sin, [X], np.sin(X)),
    ('cos', K.cos, [X], np.cos(X)),
    ('round to even', K.round, [np.array([.5, 1.5, 2.5, -.5, 1.2], 'float32')], np.array([0., 2, 2, -0., 1])),
    ('sign', K.sign, [np.array([-3., 0, 2], 'float32')], np.array([-1., 0, 1])),
    ('pow', lambda x: K.pow(x, 3), [X], X ** 3),
    ('pow of two tensors', K.pow, [POSITIVE, Y], POSITIVE ** Y),
    ('maximum', K.maximum, [X, Y], np.maximum(X, Y)),
    ('maximum with a number', lambda x: K.maximum(x, .5), [X], np.maximum(X, .5)),
    ('maximum of a number', lambda x: K.maximum(.5, x), [X], np.maximum(X, .5)),
    ('minimum', K.minimum, [X, Y], np.minimum(X, Y)),
    ('minimum with an array', lambda x: K.minimum(x, Y), [X], np.minimum(X, Y)),
    ('clip', lambda x: K.clip(x, -.5, .3), [X], X.clip(-.5, .3)),
    ('clip with bounds the wrong way round', lambda x: K.clip(x, .5, -.3), [X], np.full_like(X, .5)),
    ('clip with bounds that no float32 holds', lambda x: K.clip(x, 0, 1e40), [X], X.clip(0)),
    ('maximum with such a number', lambda x: K.minimum(K.maximum(x, -1e40), 1e300), [X], X),
    ('clip with one bound', lambda x: K.clip(x, 0, None), [X], X.clip(0)),
    ('clip with tensors', lambda x, y: K.clip(x, y - .1, y + .1), [X, Y],
     X.clip(Y - np.float32(.1), Y + np.float32(.1))),
    ('equal', lambda x: K.equal(K.round(x), 0), [X], np.round(X) == 0),
    ('not_equal', lambda x, y: K.not_equal(K.round(x), K.round(y)), [X, Y], np.round(X) != np.round(Y)),
    ('greater', K.greater, [X, Y], X > Y),
    ('greater_equal', lambda x: K.greater_equal(x, x), [X], X >= X),
    ('less', lambda x: K.less(0., x), [X], X > 0),
    ('less_equal', K.less_equal, [X, Y], X <= Y),
    ('cast truncates', lambda x: K.cast(x, 'int32'), [X * 3], (X * 3).astype('int32')),
    ('cast of bools', lambda x: K.cast(x, 'float32'), [TRUTH], TRUTH.astype('float32')),
    ('cast to bool', lambda x: K.cast(x, 'bool'), [INTS - 1], INTS != 1),
    ('identity', K.identity, [X], X),
    ('zeros_like', K.zeros_like, [INTS], np.zeros_like(INTS)),
    ('ones_like of another type', lambda x: K.ones_like(x, dtype='int64'), [X], np.ones(X.shape, 'int64')),
    ('stop_gradient', K.stop_gradient, [X], X),
    ('stop_gradient of a list', lambda x, y: K.stop_gradient([x, y]), [X, Y], [X, Y]),
    # products
    ('dot of matrices', K.dot, [M, X[0, :, :3].repeat(2, 0)[:7]], M @ X[0, :, :3].repeat(2, 0)[:7]),
    ('dot of three dimensions and a matrix', K.dot, [X, normal(6, 3) * 0 + 1], X.sum(-1, keepdims=True).repeat(3, -1)),
    ('dot of (2, 3) and (4, 3, 5)', K.dot, [X[0, :2, :3], Y[:, :3, :5]],
     einsum('ab,cbd->acd', X[0, :2, :3], Y[:, :3, :5])),
    ('dot of two times three dimensions', K.dot, [X, swapped(Y, 0, 2, 1)], einsum('abc,dec->abde', X, Y)),
    ('batch_dot', K.batch_dot, [X, swapped(Y, 0, 2, 1)], X @ swapped(Y, 0, 2, 1)),
    ('batch_dot over an axis of both', lambda x, y: K.batch_dot(x, y, axes=1), [X, Y], einsum('bic,bid->bcd', X, Y)),
    ('batch_dot over the last axes', lambda x, y: K.batch_dot(x, y, axes=(2, 2)), [X, Y], einsum('bci,bdi->bcd', X, Y)),
    ('batch_dot takes -1 for the last but one, as Keras does', lambda x, y: K.batch_dot(x, y, axes=-1), [X, Y],
     einsum('bic,bid->bcd', X, Y)),
    ('batch_dot of matrices', lambda x, y: K.batch_dot(x, y, axes=1), [M, M + 1], (M * (M + 1)).sum(1, keepdims=True)),
    ('batch_dot of matrices over different axes', lambda x, y: K.batch_dot(x, y, axes=(0, 1)), [N, N + 1],
     (N.T * (N + 1)).sum(1, keepdims=True)),
    ('batch_dot of two and three dimensions', lambda x, y: K.batch_dot(x, y, axes=(1, 2)), [X[:, 0], Y],
     einsum('bi,bdi->bd', X[:, 0], Y)),
    ('batch_dot of three and two dimensions', lambda x, y: K.batch_dot(x, y, axes=(1, 1)), [X, Y[:, :, 0]],
     einsum('bic,bi->bc', X, Y[:, :, 0])),
    ('batch_dot of four dimensions', K.batch_dot, [X[None], swapped(Y, 0, 2, 1)[None]],
     (X @ swapped(Y, 0, 2, 1))[None]),
    ('transpose', K.transpose, [X], X.T),
    ('gather rows', lambda x: K.gather(x, [[1, 0], [2, 2]]), [M], M[[[1, 0], [2, 2]]]),
    ('gather by float indices', lambda i: K.gather(M, i), [LABELS[:3].astype('float32')], M[LABELS[:3]]),
    ('gather matrices', lambda x, i: K.gather(x, i), [X, np.array([3, 1])], X[[3, 1]]),
    # shapes
    ('reshape', lambda x: K.reshape(x, (-1, 3)), [X], X.reshape(-1, 3)),
    ('reshape to elements of a shape', lambda x: K.reshape(x, (K.shape(x)[0], K.shape(x)[2], -1)), [X],
     X.reshape(4, 6, 5)),
    ('reshape to a tensor', lambda x: K.reshape(x, K.stack([-1, K.prod(K.shape(x)[1:])])), [X], X.reshape(4, 30)),
    ('reshape to an array', lambda x: K.reshape(x, np.array([-1, 3])), [X], X.reshape(-1, 3)),
    ('reshape to a joined shape', lambda x: K.reshape(x, K.concatenate([K.shape(x)[:1], [10, 3]])), [X],
     X.reshape(4, 10, 3)),
    ('permute_dimensions', lambda x: K.permute_dimensions(x, (2, 0, 1)), [X], swapped(X, 2, 0, 1)),
    ('concatenate', lambda x, y: K.concatenate([x, y]), [X, Y], np.concatenate([X, Y], -1)),
    ('concatenate along an axis', lambda x, y: K.concatenate([x, y], axis=1), [X, Y], np.concatenate([X, Y], 1)),
    ('stack', lambda x, y: K.stack([x, y]), [X, Y], np.stack([X, Y])),
    ('stack along an axis', lambda x, y: K.stack([x, y], axis=-1), [X, Y], np.stack([X, Y], -1)),
    ('repeat', lambda x: K.repeat(x, 3), [M], np.stack([M] * 3, 1)),
    ('repeat_elements', lambda x: K.repeat_elements(x, 2, axis=1), [X], X.repeat(2, 1)),
    ('tile', lambda x: K.tile(x, (2, 1, 3)), [X], np.tile(X, (2, 1, 3))),
    ('tile by an array', lambda x: K.tile(x, np.array([1, 2])), [M], np.tile(M, (1, 2))),
    ('tile of a vector by an int', lambda x: K.tile(x, 3), [M[0]], np.tile(M[0], 3)),
    ('tile by a tensor', lambda x: K.tile(x, K.stack([1, K.shape(x)[1]])), [M], np.tile(M, (1, 7))),
    ('flatten', K.flatten, [X], X.ravel()),
    ('batch_flatten', K.batch_flatten, [X], X.reshape(4, 30)),
    ('batch_flatten of a vector', K.batch_flatten, [M[0]], M[0][:, None]),
    ('expand_dims', K.expand_dims, [X], X[..., None]),
    ('expand_dims at an axis', lambda x: K.expand_dims(x, 1), [X], X[:, None]),
    ('squeeze', lambda x: K.squeeze(x, 1), [X[:, :1]], X[:, 0]),
    ('squeeze from the end', lambda x: K.squeeze(x, -1), [X[..., :1]], X[..., 0]),
    ('slice', lambda x: K.slice(x, [1, 0, 2], [2, -1, 3]), [X], X[1:3, :, 2:5]),
    ('slice by elements of a shape', lambda x: K.slice(x, [0, K.shape(x)[1] - 2], [K.shape(x)[0], 2]), [M], M[:, -2:]),
    ('reverse', lambda x: K.reverse(x, 1), [X], X[:, ::-1]),
    ('reverse of two axes', lambda x: K.reverse(x, [0, 2]), [X], X[::-1, :, ::-1]),
    ('one_hot', lambda x: K.one_hot(x, 4), [np.array([[0, 1], [3, 5], [-1, 2]])],
     np.eye(7)[[[0, 1], [3, 5], [6, 2]]][..., :4]),
    ('arange up to a size', lambda x: K.arange(K.shape(x)[1]), [X], np.arange(5, dtype='int32')),
]


@pytest.mark.parametrize('call, arrays, expected', [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_values(check, call, arrays, expected):
    check(call, arrays, expected)


TIES = np.array([0., 1., 1.], 'float32')
GRADIENTS = [
    ('maximum: ties go to the first', lambda x: K.maximum(x, K.ones_like(x)), TIES, [0, 1, 1]),
    ('maximum of a number: ties go to the number', lambda x: K.maximum(1., x), TIES, [0, 0, 0]),
    ('maximum with a number: ties go to the tensor', lambda x: K.maximum(x, 1.), TIES, [0, 1, 1]),
    ('minimum: ties go to the first', lambda x: K.minimum(x, K.ones_like(x)), TIES, [1, 1, 1]),
    ('max: ties share', K.max, TIES, [0, .5, .5]),
    ('clip: bounds count as inside', lambda x: K.clip(x, 0., 1.), TIES - np.float32([1, 0, 0]), [0, 1, 1]),
    ('square', K.square, TIES, [0, 2, 2]),
    ('gather', lambda x: K.gather(x, [1, 1, 0]), TIES, [1, 2, 0]),
    ('a stopped factor is a constant', lambda x: x * K.stop_gradient(x), TIES, [0, 1, 1]),
]


@pytest.mark.parametrize('call, x, expected', [case[1:] for case in GRADIENTS], ids=[case[0] for case in GRADIENTS])
def test_gradients_are_tensorflows(check, call, x, expected):
    check(call, [x], np.float32(expected), gradient=True)


@pytest.mark.parametrize('args, expected', [
    ((5,), np.arange(5, dtype='int32')), ((2, 9, 3), np.array([2, 5, 8], 'int32')), ((-3,), np.array([], 'int32')),
    ((0, 1, .25), np.array([0, .25, .5, .75], 'float32')), ((3, None, 1, 'float32'), np.array([0, 1, 2], 'float32'))])
def test_arange_without_tensors_is_a_symbol(args, expected):
    symbol = K.arange(*args)
    assert K.int_shape(symbol) == expected.shape and K.dtype(symbol) == expected.dtype.name
    np.testing.assert_array_equal(K.eval(symbol), expected)


@pytest.mark.parametrize('call', [
    lambda x: x + K.constant([1, 2, 3]), lambda x: x * K.variable([1, 2, 3]), lambda x: x - np.ones(3, 'float32'),
    lambda x: x * K.cast(K.arange(3), 'float32'), lambda x: K.concatenate([x, K.constant(np.ones((2, 3)))], axis=0),
    lambda x: x + K.expand_dims(K.cast(K.arange(K.shape(x)[0]), 'float32'))])
def test_constants_beside_an_unknown_size_leave_it_unknown(call):
    assert K.int_shape(call(K.placeholder((None, 3)))) == (None, 3)


def test_an_unknown_size_is_the_one_that_another_argument_requires():
    assert K.int_shape(K.in_top_k(K.placeholder((None, 7)), K.placeholder((5,), dtype='int32'), 2)) == (5,)


def test_variables_are_read_when_the_expression_runs():
    v = K.variable(M)
    total = K.sum(K.dot(v, K.transpose(v)))
    np.testing.assert_allclose(K.eval(total), (M @ M.T).sum(), rtol=1e-4)
    K.set_value(v, 2 * M)
    np.testing.assert_allclose(K.eval(total), 4 * (M @ M.T).sum(), rtol=1e-4)


@pytest.mark.parametrize('make', [K.identity, K.zeros_like, K.ones_like])
def test_the_symbol_takes_the_name_that_is_asked_for(make):
    assert make(K.placeholder((2, 3)), name=f'my_{make.__name__}').name == f'my_{make.__name__}:0'


def test_print_tensor_prints_whenever_it_is_computed(capsys):
    x = K.placeholder((2,))
    f = K.function([x], [K.print_tensor(x * 2, message='x is: ')])
    assert capsys.readouterr().err == ''
    np.testing.assert_array_equal(f([[1, 2]])[0], [2, 4])
    assert capsys.readouterr().err == 'x is: [2. 4.]\n'


@pytest.mark.parametrize('call, message', [
    (lambda x: K.squeeze(x, 0), r'Cannot squeeze axis 0 of shape \(5, 7\)'),
    (lambda x: K.tile(x, [2]), r'one count for each of the 2 axes'),
    (lambda x: K.batch_dot(x, x, axes=[(1,), (1,)]), 'Multiple target dimensions are not supported')])
def test_errors_say_what_was_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.tensor(M))


@pytest.mark.parametrize('reference', [X, M, M[0]])
@pytest.mark.parametrize('index', [-1, 7])
def test_gather_refuses_an_index_out_of_range(reference, index):
    with pytest.raises((IndexError, RuntimeError), match='out of range'):
        K.gather(torch.tensor(reference), [index])
