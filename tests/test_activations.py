"""Activation functions: values that Keras 2.2.4 gave."""
import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import activations
from kfacade.engine.base_layer import Layer

X = np.array([[-3., -2.5, -1.], [0., 0.5, 1.], [2.5, 3., 20.]], 'float32')

KERAS = {
    'softmax': [[0.099624, 0.164252, 0.736125], [0.186324, 0.307196, 0.50648], [0, 0, 1]],
    'elu': [[-0.950213, -0.917915, -0.632121], [0, 0.5, 1], [2.5, 3, 20]],
    'selu': [[-1.670569, -1.613786, -1.111331], [0, 0.525351, 1.050701], [2.626753, 3.152103, 21.014021]],
    'softplus': [[0.048587, 0.07889, 0.313262], [0.693147, 0.974077, 1.313262], [2.57889, 3.048587, 20]],
    'softsign': [[-0.75, -0.714286, -0.5], [0, 0.333333, 0.5], [0.714286, 0.75, 0.952381]],
    'relu': [[0, 0, 0], [0, 0.5, 1], [2.5, 3, 20]],
    'tanh': [[-0.995055, -0.986614, -0.761594], [0, 0.462117, 0.761594], [0.986614, 0.995055, 1]],
    'sigmoid': [[0.047426, 0.075858, 0.268941], [0.5, 0.622459, 0.731059], [0.924142, 0.952574, 1]],
    'hard_sigmoid': [[0, 0, 0.3], [0.5, 0.6, 0.7], [1, 1, 1]],
    'exponential': [[0.049787, 0.082085, 0.367879], [1, 1.648721, 2.718282], [12.182494, 20.085537, 485165184.]],
    'linear': X,
}


@pytest.mark.parametrize('name', KERAS)
def test_values_of_keras(name):
    function = activations.get(name)
    np.testing.assert_allclose(function(torch.tensor(X)), KERAS[name], rtol=1e-5, atol=1e-6)
    x = K.placeholder((None, 3))
    np.testing.assert_allclose(K.function([x], [function(x)])([X])[0], KERAS[name], rtol=1e-5, atol=1e-6)
    assert activations.serialize(function) == name


def test_relu_with_slope_ceiling_and_threshold():
    value = activations.relu(torch.tensor(X), alpha=0.1, max_value=2., threshold=0.7)
    np.testing.assert_allclose(value, [[-.37, -.32, -.17], [-.07, -.02, 1.], [2., 2., 2.]], rtol=1e-6)


def test_elu_slope():
    np.testing.assert_allclose(activations.elu(torch.tensor(X), 0.5), np.where(X > 0, X, 0.5 * np.expm1(X)), rtol=1e-5)


def test_softmax_axis():
    deep = activations.softmax(torch.tensor(X[:2].reshape(1, 2, 3)), axis=1)
    np.testing.assert_allclose(deep, [[[.047426, .047426, .119203], [.952574, .952574, .880797]]], rtol=1e-5)
    np.testing.assert_allclose(activations.softmax(torch.tensor(X), axis=0).sum(1), np.ones(3), rtol=1e-6)
    with pytest.raises(ValueError, match='Cannot apply softmax to a tensor that is 1D'):
        activations.softmax(torch.tensor(X[0]))


def test_get():
    assert activations.get(None) is activations.linear
    assert activations.get(torch.sin) is torch.sin
    assert activations.deserialize('mine', {'mine': torch.sin}) is torch.sin
    with pytest.raises(ValueError, match="Unknown activation function:rely. Did you mean 'relu'"):
        activations.get('rely')
    with pytest.raises(ValueError, match='Could not interpret activation function identifier: 3'):
        activations.get(3)
    with pytest.raises(ValueError, match='Unknown activation function:K'):
        activations.get('K')


def test_a_layer_as_activation_warns():
    layer = Layer()
    with pytest.warns(UserWarning, match=r'Do not pass a layer instance \(such as Layer\)'):
        assert activations.get(layer) is layer
