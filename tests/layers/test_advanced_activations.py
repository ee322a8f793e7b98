"""Activations with arguments or weights."""
import numpy as np
import pytest
from layers_harness import check_layer, data, gradients

from kfacade.layers import ELU, Input, LeakyReLU, PReLU, ReLU, Softmax, ThresholdedReLU

X = data(4, 5, 6)


def relu(x):
    return np.maximum(x, 0)


def softmax(x, axis):
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize('layer,expected', [
    (LeakyReLU(), np.where(X > 0, X, .3 * X)),
    (LeakyReLU(.1), np.where(X > 0, X, .1 * X)),
    (ELU(), np.where(X > 0, X, np.exp(X) - 1)),
    (ELU(alpha=.5), np.where(X > 0, X, .5 * (np.exp(X) - 1))),
    (ThresholdedReLU(), np.where(X > 1, X, 0)),
    (ThresholdedReLU(theta=-.5), np.where(X > -.5, X, 0)),
    (Softmax(), softmax(X, -1)),
    (Softmax(axis=1), softmax(X, 1)),
    (ReLU(), relu(X)),
    (ReLU(max_value=1), np.clip(X, 0, 1)),
    (ReLU(negative_slope=.2), np.where(X > 0, X, .2 * X)),
    (ReLU(threshold=.5), np.where(X > .5, X, 0)),
    (ReLU(1.5, .1, .5), np.where(X >= 1.5, 1.5, np.where(X > .5, X, .1 * (X - .5)))),
])
def test_values(layer, expected):
    check_layer(layer, X, expected)


@pytest.mark.parametrize('shared_axes,shape', [(None, (5, 6)), ([1], (1, 6)), (2, (5, 1)), ((1, 2), (1, 1))])
def test_prelu(shared_axes, shape):
    alpha = data(*shape, seed=1)
    layer = PReLU(shared_axes=shared_axes)
    check_layer(layer, X, np.where(X > 0, X, alpha * X), [alpha])
    by_input, by_alpha = gradients(layer, X)
    y = np.where(X > 0, X, alpha * X)
    np.testing.assert_allclose(by_input, 2 * y * np.where(X > 0, 1, alpha), rtol=1e-4, atol=1e-5)
    by_each = (2 * y * np.where(X > 0, 0, X)).sum(0)
    shared = tuple(i for i, n in enumerate(shape) if n == 1)
    np.testing.assert_allclose(by_alpha, by_each.sum(shared, keepdims=True), rtol=1e-4, atol=1e-4)


def test_prelu_needs_known_sizes_where_they_are_not_shared():
    PReLU(shared_axes=[1])(Input((None, 6)))
    with pytest.raises(ValueError, match='Layer p needs one weight for each element.*not fully defined'):
        PReLU(name='p')(Input((None, 6)))


def test_settings_are_rounded_to_float32_as_keras_rounds_them():
    assert LeakyReLU().get_config()['alpha'] == float(np.float32(.3))
    assert ReLU(max_value=.1).get_config()['max_value'] == float(np.float32(.1))


def test_wrong_settings():
    with pytest.raises(ValueError, match='max_value of ReLU layer cannot be negative value: -1'):
        ReLU(max_value=-1)
    with pytest.raises(ValueError, match='negative_slope of ReLU layer cannot be negative value: -1'):
        ReLU(negative_slope=-1)
