"""What the tests of users' code share: data, numpy formulas, and the one harness that custom layers go through."""
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

import kfacade.backend as K
from kfacade import optimizers
from kfacade.layers import Input
from kfacade.models import Model, clone_model, load_model

RATE = 0.1


def data(*shape, seed=0):
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype('float32')


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def check_layer(layer, x, formula, tmp_path, names, trained=None):
    """Runs a custom layer through all that a model does with a layer.

    Its output must be ``formula(weights, *inputs)`` on random weights and again after training, its weights must be
    those `names`, of which the first `trained` (default: all) are trainable, and must be the same ones for
    `get_weights`, files, the optimizer, torch's `parameters` and `state_dict`, and a clone.
    """
    K.clear_session()  # names of weights count from the first
    arrays = x if isinstance(x, list) else [x]
    inputs = [Input(a.shape[1:]) for a in arrays]
    output = layer(inputs if isinstance(x, list) else inputs[0])
    model = Model(inputs, output)
    trained = len(names) if trained is None else trained
    assert [w.name for w in layer.weights] == [f'{layer.name}/{n}:0' for n in names]
    assert [w.name for w in layer.trainable_weights] == [w.name for w in layer.weights[:trained]]

    def computes(model):
        got, expected = model.predict(x), formula(model.get_weights(), *arrays)
        assert K.int_shape(output)[1:] == expected.shape[1:]
        assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        return got

    start = [w + 0.1 * data(*w.shape, seed=i) for i, w in enumerate(model.get_weights())]
    model.set_weights(start)
    first = computes(model)
    assert sorted(p.numel() for p in model.parameters()) == sorted(w.size for w in start[:trained])
    stored = [tensor.numpy() for tensor in model.state_dict().values()]
    for value in start:
        assert any(np.array_equal(a, value) or np.array_equal(a, value.T) for a in stored)

    model.compile(optimizers.SGD(RATE), 'mse')
    target = data(*first.shape, seed=9)
    model.train_on_batch(x, target)
    after = model.get_weights()
    for i, (before, now) in enumerate(zip(start, after)):
        if i < trained:
            assert_allclose(now, before - RATE * slope(formula, start, i, arrays, target), rtol=1e-2, atol=2e-4)
    second = computes(model)

    objects = {type(layer).__name__: type(layer)}
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects=objects)
    assert_array_equal(loaded.predict(x), second)

    copy = clone_model(model)
    copy.load_state_dict(model.state_dict())
    assert_array_equal(copy.predict(x), second)
    return model


def slope(formula, weights, i, arrays, target, step=1e-4):
    """The derivative of the mean squared error for the weight `i`, by central differences in float64."""
    weights = [np.asarray(w, 'float64') for w in weights]
    arrays = [np.asarray(a, 'float64') for a in arrays]
    gradient = np.zeros_like(weights[i])
    for index in np.ndindex(*gradient.shape):
        losses = []
        for shift in (step, -step):
            moved = list(weights)
            moved[i] = moved[i].copy()
            moved[i][index] += shift
            losses.append(np.mean((formula(moved, *arrays) - target) ** 2))
        gradient[index] = (losses[0] - losses[1]) / (2 * step)
    return gradient
