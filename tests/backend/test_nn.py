"""Activations, losses, dropout and normalization of the backend (see conftest)."""
import numpy as np
import pytest
import torch

from kfacade import backend as K

RNG = np.random.RandomState(3)


def normal(*shape):
    return RNG.randn(*shape).astype('float32')


X = 3 * normal(4, 5)
EDGES = np.array([-1., -.5, 0, .5, 1, 2, 6, 7], 'float32')
EPSILON = 1e-7


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = [
    ('relu', K.relu, np.maximum(X, 0)),
    ('relu with a slope', lambda x: K.relu(x, .1), np.where(X > 0, X, .1 * X)),
    ('relu with a slope in an array', lambda x: K.relu(x, np.array(.1)), np.where(X > 0, X, .1 * X)),
    ('relu up to a maximum', lambda x: K.relu(x, max_value=2.), X.clip(0, 2)),
    ('relu from a threshold', lambda x: K.relu(x, threshold=1.), np.where(X > 1, X, 0)),
    ('relu from a negative threshold', lambda x: K.relu(x, threshold=-1.), np.where(X > -1, X, 0)),
    ('relu from a negative threshold to a maximum', lambda x: K.relu(x, max_value=2., threshold=-1.), X.clip(0, 2)),
    ('relu with everything', lambda x: K.relu(x, alpha=.2, max_value=3., threshold=.5),
     np.where(X >= 3, 3, np.where(X > .5, X, .2 * (X - .5)))),
    ('relu up to six', lambda x: K.relu(4 * x, max_value=6), (4 * X).clip(0, 6)),
    ('relu with a maximum in an array', lambda x: K.relu(x, max_value=np.array(2., 'float32')), X.clip(0, 2)),
    ('elu', K.elu, np.where(X > 0, X, np.exp(X) - 1)),
    ('elu with a slope', lambda x: K.elu(x, .5), np.where(X > 0, X, .5 * (np.exp(X) - 1))),
    ('softmax', K.softmax, softmax(X)),
    ('softmax over an axis', lambda x: K.softmax(x, axis=0), softmax(X, 0)),
    ('softplus', K.softplus, np.log1p(np.exp(X))),
    ('softsign', K.softsign, X / (1 + np.abs(X))),
    ('sigmoid', K.sigmoid, sigmoid(X)),
    ('hard_sigmoid', K.hard_sigmoid, (.2 * X + .5).clip(0, 1)),
    ('tanh', K.tanh, np.tanh(X)),
]


@pytest.mark.parametrize('call, expected', [case[1:] for case in ACTIVATIONS], ids=[case[0] for case in ACTIVATIONS])
def test_activations(check, call, expected):
    check(call, [X], expected)


GRADIENTS = [  # of EDGES, from Keras 2.2.4 on TensorFlow
    ('relu', K.relu, [0, 0, 0, 1, 1, 1, 1, 1]),
    ('relu with a slope', lambda x: K.relu(x, .1), [.1, .1, .1, 1, 1, 1, 1, 1]),
    ('relu from a threshold', lambda x: K.relu(x, threshold=.5), [0, 0, 0, 0, 1, 1, 1, 1]),
    ('relu up to six', lambda x: K.relu(3 * x, max_value=6.), [0, 0, 0, 3, 3, 0, 0, 0]),
    ('relu with a maximum', lambda x: K.relu(x, max_value=2.), [0, 0, 0, 1, 1, 1, 0, 0]),
    ('elu', lambda x: K.elu(x, .5), [.5 * np.exp(-1), .5 * np.exp(-.5), .5, 1, 1, 1, 1, 1]),
    ('hard_sigmoid', lambda x: K.hard_sigmoid(x * 2.5), [.5, .5, .5, .5, .5, 0, 0, 0]),
]


@pytest.mark.parametrize('call, expected', [case[1:] for case in GRADIENTS], ids=[case[0] for case in GRADIENTS])
def test_activation_gradients(check, call, expected):
    check(call, [EDGES], np.float32(expected), gradient=True)


def test_relu_with_a_slope_that_is_learned():
    x, slope = K.placeholder((None, 5)), K.variable(.25)
    y = K.relu(x, alpha=slope)
    f = K.function([x], [y, *K.gradients(K.sum(y), [slope])])
    value, gradient = f([X])
    np.testing.assert_allclose(value, np.where(X > 0, X, .25 * X), rtol=1e-6)
    np.testing.assert_allclose(gradient, np.minimum(X, 0).sum(), rtol=1e-5)


OUTPUT = np.abs(normal(4, 5, 6)) + .01
CLASSES = RNG.randint(0, 6, (4, 5))
TARGET = np.eye(6, dtype='float32')[CLASSES]
SOFT = softmax(normal(4, 5, 6))


def clipped(p):
    return p.clip(EPSILON, 1 - EPSILON)


def picked(values, classes, axis):
    return np.take_along_axis(values, np.expand_dims(classes, axis), axis).squeeze(axis)


SPARSE = np.log(clipped(OUTPUT).sum(-1)) - np.log(picked(clipped(OUTPUT), CLASSES, -1))
LOSSES = [
    ('categorical scales the output', K.categorical_crossentropy, [SOFT, OUTPUT],
     -(SOFT * np.log(clipped(OUTPUT / OUTPUT.sum(-1, keepdims=True)))).sum(-1)),
    ('categorical over an axis', lambda t, o: K.categorical_crossentropy(t, o, axis=1), [SOFT, OUTPUT],
     -(SOFT * np.log(clipped(OUTPUT / OUTPUT.sum(1, keepdims=True)))).sum(1)),
    ('categorical of logits', lambda t, o: K.categorical_crossentropy(t, o, from_logits=True), [SOFT, OUTPUT],
     -(SOFT * np.log(softmax(OUTPUT))).sum(-1)),
    ('categorical of certainties', K.categorical_crossentropy,
     [np.float32([[0, 1], [0, 1]]), np.float32([[0, 1], [1, 0]])], -np.log(np.float32([1 - EPSILON, EPSILON]))),
    ('sparse clips, then scales', K.sparse_categorical_crossentropy,
     [CLASSES[..., None].astype('float32'), OUTPUT], SPARSE),
    ('sparse of matrices', K.sparse_categorical_crossentropy, [CLASSES[0], OUTPUT[0]], SPARSE[0]),
    ('sparse over an axis', lambda t, o: K.sparse_categorical_crossentropy(t, o, axis=1),
     [CLASSES, np.swapaxes(OUTPUT, 1, 2)], SPARSE),
    ('sparse of logits', lambda t, o: K.sparse_categorical_crossentropy(t, o, from_logits=True), [CLASSES, OUTPUT],
     -np.log(picked(softmax(OUTPUT), CLASSES, -1))),
    ('binary', K.binary_crossentropy, [SOFT, sigmoid(X[0, 0]) * SOFT],
     -(SOFT * np.log(sigmoid(X[0, 0]) * SOFT) + (1 - SOFT) * np.log(1 - sigmoid(X[0, 0]) * SOFT))),
    ('binary of logits', lambda t, o: K.binary_crossentropy(t, o, from_logits=True), [SOFT, OUTPUT],
     -(SOFT * np.log(sigmoid(OUTPUT)) + (1 - SOFT) * np.log(1 - sigmoid(OUTPUT)))),
    ('binary of certainties', K.binary_crossentropy, [np.float32([0, 1, 1, 0]), np.float32([0, 1, 0, 1])],
     np.float32([1.19209e-7, 1.19209e-7, 16.118095, 15.942385])),  # Keras 2.2.4's
]


@pytest.mark.parametrize('call, arrays, expected', [case[1:] for case in LOSSES], ids=[case[0] for case in LOSSES])
def test_losses(check, call, arrays, expected):
    check(call, arrays, expected)


def test_clipped_probabilities_have_no_gradient(check):
    check(lambda o: K.binary_crossentropy(K.ones_like(o), o), [np.float32([0, .5, 1])], np.float32([0, -2, 0]),
          gradient=True)


@pytest.mark.parametrize('loss', [K.categorical_crossentropy, K.sparse_categorical_crossentropy])
def test_an_axis_that_is_none_is_refused(loss):
    for output in (torch.tensor(OUTPUT), K.placeholder((None, 5, 6))):
        with pytest.raises(ValueError, match='Unexpected channels axis 3. Expected to be -1 or one of the axes'):
            loss(torch.tensor(CLASSES), output, axis=3)


@pytest.mark.parametrize('target', [[-100], [3]])
@pytest.mark.parametrize('from_logits', [False, True])
def test_a_target_that_is_no_class_is_refused(target, from_logits):
    with pytest.raises(ValueError, match=rf'out of bounds: {target[0]}\. .* need integers from 0 to 2'):
        K.sparse_categorical_crossentropy(torch.tensor(target), torch.tensor([[.2, .3, .5]]), from_logits)


# ---------------------------------------------------------------- dropout

def test_dropout_scales_what_it_keeps(compute):
    y, = compute(lambda x: K.dropout(x, .25), np.ones((200, 300), 'float32'))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / .75)}
    assert abs((y == 0).mean() - .25) < .01


def test_dropout_drops_together_what_the_noise_shape_joins(compute):
    y, = compute(lambda x: K.dropout(x, .5, noise_shape=(K.shape(x)[0], 1, 30)), np.ones((20, 40, 30), 'float32'))
    assert (y == y[:, :1]).all() and 0 < (y == 0).mean() < 1


def test_dropout_draws_anew_in_each_run_and_repeats_after_a_numpy_seed():
    def runs(seed=None):
        np.random.seed(5)
        f = K.function([x], [K.dropout(x, .5, seed=seed)])
        return [f([np.ones((30, 30))])[0] for _ in range(2)]
    x = K.placeholder((None, 30))
    first, second = runs()
    assert (first != second).any()
    np.testing.assert_array_equal(runs(), [first, second])
    assert (runs(seed=7)[0] != first).any()


def test_dropout_of_nothing_and_of_everything(check):
    check(lambda x: K.dropout(x, 0.), [X], X)
    with pytest.raises(ValueError, match='at least 0 and less than 1. Got: 1.5'):
        K.dropout(torch.tensor(X), 1.5)


# ---------------------------------------------------------------- batch normalization

def normalized(x, mean, var, beta, gamma, epsilon=1e-3):
    return (x - mean) / np.sqrt(var + epsilon) * gamma + beta


IMAGES = normal(4, 3, 5, 2) / 100
STATISTICS = normal(2) / 100, np.abs(normal(2)) / 1000, normal(2), normal(2)
SMALL = 1.001e-5  # the smallest epsilon of TensorFlow's kernel for images


@pytest.mark.parametrize('epsilon', [1e-3, 1e-6])
def test_batch_normalization(check, epsilon):
    check(lambda x, m, v, b, g: K.batch_normalization(x, m, v, b, g, epsilon=epsilon), [IMAGES, *STATISTICS],
          normalized(IMAGES, *STATISTICS, max(epsilon, SMALL)), rtol=1e-4)
    check(lambda x, m, v, b, g: K.batch_normalization(x, m, v, b, g, epsilon=epsilon), [IMAGES[0], *STATISTICS],
          normalized(IMAGES[0], *STATISTICS, epsilon), rtol=1e-4)


def test_batch_normalization_along_another_axis(check):
    x, along = np.moveaxis(IMAGES, -1, 1), [s[:, None, None] for s in STATISTICS]
    check(lambda x, m, v, b, g: K.batch_normalization(x, m, v, b, g, axis=1), [x, *STATISTICS],
          normalized(x, *along), rtol=1e-4)
    check(lambda x, m, v: K.batch_normalization(x, m, v, None, None, axis=1), [x, along[0][None], along[1][None]],
          normalized(x, *along[:2], 0, 1), rtol=1e-4)


@pytest.mark.parametrize('axes, x, fused', [
    ([0, 1, 2], IMAGES, True), ([0, 2, 3], np.moveaxis(IMAGES, -1, 1), False), ([0, 1], IMAGES[0], False)])
@pytest.mark.parametrize('epsilon', [1e-3, 1e-6])
def test_normalize_batch_in_training(check, axes, x, fused, epsilon):
    _, _, beta, gamma = STATISTICS
    shape = [1 if axis in axes else 2 for axis in range(x.ndim)]
    mean, var = x.mean(tuple(axes)), x.var(tuple(axes))
    along = [s.reshape(shape) for s in (mean, var, beta, gamma)]
    normed = normalized(x, *along, max(epsilon, SMALL) if fused else epsilon)
    count = x.size // 2
    check(lambda x, g, b: K.normalize_batch_in_training(x, g, b, axes, epsilon), [x, gamma, beta],
          [normed, mean, var * count / (count - 1) if fused else var], rtol=1e-3, atol=1e-5)


def test_normalize_batch_in_training_without_scale_and_offset(check):
    check(lambda x: K.normalize_batch_in_training(x, None, None, [0, 1])[0], [IMAGES[0]],
          normalized(IMAGES[0], IMAGES[0].mean((0, 1)), IMAGES[0].var((0, 1)), 0, 1), rtol=1e-3, atol=1e-5)
