"""Batch normalization: what it normalizes with, and how its averages move."""
import copy

import numpy as np
import pytest
import torch
from layers_harness import check_layer, data, train_phase

from kfacade import backend as K
from kfacade.layers import BatchNormalization, Dense, Input, subtract
from kfacade.models import Model, Sequential

SHAPES = [((8, 5), -1), ((8, 3, 5), -1), ((8, 5, 3), 1), ((4, 3, 2, 5), -1), ((4, 3, 2, 5), 3), ((4, 5, 3, 2), 1),
          ((4, 3, 5, 2), 2), ((2, 3, 2, 2, 5), -1)]


def normalized(x, axis, mean, variance, gamma, beta):
    shape = [1] * x.ndim
    shape[axis] = -1
    mean, variance, gamma, beta = (np.reshape(a, shape) for a in (mean, variance, gamma, beta))
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def statistics(x, axis):
    """Mean and variance of a batch, and the variance as the moving average gets it."""
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    mean, variance, n = x.mean(axes), x.var(axes), x.size // x.shape[axis]
    corrected = variance * n / (n - 1.001)
    if x.ndim == 4 and axis in (-1, 3):
        corrected = corrected * n / (n - 1)
    return mean, variance, corrected


def trained(layer, batches, optimizer='sgd'):
    """The model of one layer after a step on each batch."""
    model = Sequential([layer])
    model.build((None, *batches[0].shape[1:]))
    model.compile(optimizer, 'mse')
    for x in batches:
        model.train_on_batch(x, np.zeros_like(x))
    return model


@pytest.mark.parametrize('shape,axis', SHAPES)
def test_test_phase_uses_the_averages(shape, axis):
    gamma, beta, mean, variance = (data(5, seed=i) for i in range(4))
    variance = np.abs(variance) + .1
    x = data(*shape)
    check_layer(BatchNormalization(axis=axis), x, normalized(x, axis, mean, variance, gamma, beta),
                [gamma, beta, mean, variance], rtol=1e-4)


@pytest.mark.parametrize('shape,axis', SHAPES)
def test_training_uses_the_batch(shape, axis):
    x = data(*shape)
    mean, variance, _ = statistics(x, axis)
    np.testing.assert_allclose(train_phase(BatchNormalization(axis=axis), x),
                               normalized(x, axis, mean, variance, 1, 0), atol=1e-4)


@pytest.mark.parametrize('shape,axis', SHAPES)
@pytest.mark.parametrize('options', [{}, {'zero_debias': False}])
def test_averages_move(shape, axis, options):
    batches = [data(*shape, seed=i) * (i + 1) + i for i in range(3)]
    layer = BatchNormalization(axis=axis, momentum=.9, **options)
    trained(layer, batches)
    mean, variance = np.zeros(5), np.ones(5)
    for t, x in enumerate(batches, start=1):
        rate = .1 if options else .1 / (1 - .9 ** t)
        batch_mean, _, corrected = statistics(x, axis)
        mean, variance = mean + rate * (batch_mean - mean), variance + rate * (corrected - variance)
    np.testing.assert_allclose(layer.get_weights()[2], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.get_weights()[3], variance, rtol=1e-4)


def test_the_first_step_after_loading_forgets_the_averages():
    x, layer = data(8, 5), BatchNormalization()
    model = Sequential([layer])
    model.build((None, 5))
    model.compile('sgd', 'mse')
    model.set_weights([np.ones(5), np.zeros(5), np.full(5, 9.), np.full(5, 9.)])
    model.train_on_batch(x, x)
    np.testing.assert_allclose(layer.get_weights()[2], x.mean(0), atol=1e-6)


def test_updates_of_a_function_equal_those_of_training():
    """The layer's own update in one kernel, and the recorded one, which runs where the layer is called twice."""
    x, results = data(6, 4), []
    for calls in (1, 2):
        layer, symbol = BatchNormalization(), Input((4,))
        outputs = [layer(symbol) for _ in range(calls)]
        updates = layer.get_updates_for(symbol)[:2]
        run = K.function([symbol, K.learning_phase()], outputs, updates)
        for scale in (1, 2):
            run([x * scale, 1])
        results.append(layer.get_weights()[2:])
        assert [u.variable.debias_steps for u in updates] == [2, 2]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
    np.testing.assert_allclose(results[0][0], x.mean(0) + .01 / (1 - .99 ** 2) * x.mean(0), rtol=1e-5)


def test_one_value_a_channel():
    x, layer = data(1, 4), BatchNormalization()
    trained(layer, [x])
    mean, variance = layer.get_weights()[2:]
    np.testing.assert_allclose(mean, x[0], rtol=1e-6)
    np.testing.assert_allclose(variance, 0, atol=1e-12)


def test_a_frozen_layer_normalizes_with_the_batch_and_keeps_its_averages():
    x, layer = data(8, 4), BatchNormalization(trainable=False)
    symbol = Input((4,))
    model = Model(symbol, Dense(2)(layer(symbol)))
    model.compile('sgd', 'mse')
    assert model.updates == []
    before = layer.get_weights()
    model.train_on_batch(x, np.zeros((8, 2)))
    np.testing.assert_array_equal(layer.get_weights(), before)
    normal = K.function([symbol, K.learning_phase()], [layer.output])([x, 1])[0]
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-6)


def test_training_argument():
    x, symbol = data(8, 4), Input((4,))
    never, always = BatchNormalization(), BatchNormalization()
    y, z = never(symbol, training=False), always(symbol, training=True)
    assert never.updates == [] and len(always.updates) == 2
    for phase in (0, 1):
        as_test, as_train = K.function([symbol, K.learning_phase()], [y, z])([x, phase])
        np.testing.assert_allclose(as_test, x / np.sqrt(1.001), rtol=1e-5)
        np.testing.assert_allclose(as_train, normalized(x, -1, *statistics(x, -1)[:2], 1, 0), atol=1e-5)


def test_a_fixed_learning_phase_of_0_still_moves_the_averages():
    K.set_learning_phase(0)
    try:
        x, layer = data(8, 4), BatchNormalization()
        model = trained(layer, [x])
        np.testing.assert_allclose(layer.get_weights()[2], x.mean(0), atol=1e-6)
        mean, variance = layer.get_weights()[2:]
        np.testing.assert_allclose(model.predict(x), normalized(x, -1, mean, variance, *layer.get_weights()[:2]),
                                   atol=1e-5)
    finally:
        K.clear_session()


@pytest.mark.parametrize('options,names', [
    ({}, ['gamma', 'beta', 'moving_mean', 'moving_variance']),
    ({'scale': False}, ['beta', 'moving_mean', 'moving_variance']),
    ({'center': False}, ['gamma', 'moving_mean', 'moving_variance']),
    ({'center': False, 'scale': False}, ['moving_mean', 'moving_variance']),
])
def test_weights(options, names):
    layer = BatchNormalization(**options)
    x = data(6, 4)
    np.testing.assert_allclose(train_phase(layer, x), normalized(x, -1, *statistics(x, -1)[:2], 1, 0), atol=1e-5)
    assert [w.name.split('/')[-1] for w in layer.weights] == [f'{name}:0' for name in names]


def test_state_dict_carries_the_count_of_updates():
    batches = [data(6, 4, seed=i) for i in range(3)]
    whole, first = BatchNormalization(), BatchNormalization()
    trained(whole, batches)
    trained(first, batches[:2])
    second = BatchNormalization()
    model = trained(second, batches[:1])
    second.load_state_dict(first.state_dict())
    model.train_on_batch(batches[2], batches[2] * 0)
    for average in (2, 3):
        np.testing.assert_allclose(second.get_weights()[average], whole.get_weights()[average], rtol=1e-5)
    assert copy.deepcopy(model).layers[0].moving_mean.debias_steps == 3


def test_gradients_survive_the_update():
    """Torch keeps the averages for the backward pass, and the update changes them in between."""
    x, layer = torch.randn(8, 3, 3, 4, requires_grad=True), BatchNormalization()
    layer(x)
    with K.state.running():
        layer(layer(x, training=True, update=True), training=True, update=True).square().sum().backward()
    assert x.grad.abs().max() < 1e-2  # a normalized batch has a constant sum of squares, up to epsilon


def test_small_epsilon_of_images_is_raised_as_tensorflow_raised_it():
    x = np.zeros((2, 2, 2, 1), 'f')
    x[0, 0, 0] = 1e-3
    image, rows = (train_phase(BatchNormalization(epsilon=1e-9), a) for a in (x, x.reshape(-1, 1)))
    variance = x.var()
    np.testing.assert_allclose(image.max() / rows.max(), np.sqrt((variance + 1e-9) / (variance + 1.001e-5)), rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match='Axis -1 of input tensor should have a defined dimension but the layer bn '):
        BatchNormalization(name='bn')(Input((None,)))
    with pytest.raises(TypeError, match='does not accept positional arguments'):
        BatchNormalization(1)


def test_config_has_zero_debias_only_where_it_is_off():
    assert 'zero_debias' not in BatchNormalization().get_config()
    assert BatchNormalization.from_config(BatchNormalization(zero_debias=False).get_config()).zero_debias is False


def test_a_shared_layer_counts_a_step_once():
    """Each step stores what the call that came last gives: the debiased average of its batches' means."""
    shared, inputs = BatchNormalization(momentum=.8), [Input((2,)), Input((2,))]
    model = Model(inputs, subtract([shared(x) for x in inputs]))
    model.compile('sgd', 'mse')
    batches = np.random.RandomState(0).rand(4, 2, 5, 2)
    for first, last in batches:
        model.train_on_batch([first, last], np.zeros((5, 2)))
    factors = .2 * .8 ** np.arange(4)[::-1] / (1 - .8 ** 4)
    np.testing.assert_allclose(K.get_value(shared.moving_mean), factors @ batches[:, 1].mean(1), rtol=1e-5)


def test_a_step_that_breaks_off_leaves_the_averages():
    layer = BatchNormalization()
    layer.build((None, 3))
    layer.set_weights([np.full(3, value) for value in (1., 0., .5, 2.)])

    def interrupted(*arguments):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        BatchNormalization.call.body(layer, torch.randn(6, 3), True, True, interrupted)
    np.testing.assert_allclose(layer.get_weights()[3], 2., rtol=1e-6)
