"""Checks that hold for every layer: values, static shape, live calls, weights and configuration."""
import numpy as np
import torch

from kfacade import backend as K
from kfacade.layers import Input
from kfacade.models import Model


def data(*shape, seed=0):
    """Float32 data of both signs, without ties."""
    return np.random.RandomState(seed).permutation(np.linspace(-2, 2, int(np.prod(shape)))).reshape(shape).astype('f')


def check_layer(layer, x, expected, weights=None, rtol=1e-5, atol=1e-5):
    """Calls `layer` on `x` (an array, or a list of arrays) through a model and checks that

    - it predicts `expected`, with the sizes that were announced when the graph was built;
    - a live call on torch tensors gives the same;
    - a layer made from its configuration has the same configuration, and with its weights gives the same.
    `weights`: the arrays to set first. Returns the model.
    """
    model = _model(layer, x)
    if weights is not None:
        layer.set_weights(weights)
    predicted = model.predict(x)
    assert len(expected) == len(predicted)
    np.testing.assert_allclose(predicted, expected, rtol=rtol, atol=atol)
    assert K.int_shape(model.output)[1:] == predicted.shape[1:]
    tensors = [torch.as_tensor(a) for a in x] if isinstance(x, list) else torch.as_tensor(x)
    np.testing.assert_allclose(layer(tensors).detach().numpy(), predicted, rtol=rtol, atol=atol)
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    twin = _model(copy, x)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin.predict(x), predicted)
    return model


def _model(layer, x):
    arrays = x if isinstance(x, list) else [x]
    inputs = [Input(a.shape[1:], dtype=a.dtype.name) for a in arrays]
    return Model(inputs, layer(inputs if isinstance(x, list) else inputs[0]))


def gradients(layer, x):
    """The gradients of ``sum(output²)`` by the input and by the trainable weights (Keras' layout), as arrays."""
    symbol = Input(x.shape[1:])
    loss = K.sum(K.square(layer(symbol)))
    return K.function([symbol], K.gradients(loss, [symbol, *layer.trainable_weights]))([x])


def train_phase(layer, x, times=1):
    """What the layer gives in training: an array, or a list of those of several runs."""
    symbol = Input(x.shape[1:])
    run = K.function([symbol, K.learning_phase()], [layer(symbol)])
    results = [run([x, 1])[0] for _ in range(times)]
    return results[0] if times == 1 else results
