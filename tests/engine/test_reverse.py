"""Training graphs that compute gradients themselves: those of autograd, and by autograd where that is needed."""
import contextlib

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers
from kfacade.backend import private_ops
from kfacade.backend.random import set_stream_states, stream_states
from kfacade.backend.symbolic import to_feed
from kfacade.engine.reverse import reverse
from kfacade.models import Model, Sequential


def data(shape, random, whole=False):
    return random.randint(1, 5, shape) if whole else random.standard_normal(shape).astype('float32')


def both_ways(model, weighted=False):
    """A step's results and gradients by a `Reversed`, None where there is none, and by autograd."""
    random = np.random.RandomState(0)
    for variable in model.weights:  # biases of zero would hide what is wrong with them
        variable.assign(variable.value.detach() + torch.from_numpy(.1 * data(variable.shape, random)).abs())
    inputs = [random.randint(0, 5, (4, *x.shape[1:])) if 'embedding' in model.layers[0].name else
              data((4, *x.shape[1:]), random) for x in model.inputs]
    targets = []
    for output in model.outputs:
        y = np.abs(data((4, *output.shape[1:]), random))
        targets.append(y / y.sum(-1, keepdims=True))
    model._make_train_function()
    function = model.train_function
    graph = function.tensor_graph(weighted)
    arrays = inputs + targets + [np.array([.5, 2, 0, 1], 'float32') for _ in model.outputs] * weighted
    tensors = [to_feed(symbol, array, torch.device('cpu')) for symbol, array in zip(function.inputs, arrays)]
    found = reverse(graph, function.variables)
    graph(*tensors)  # which starts the streams of random numbers
    states = stream_states()
    results = found and found(*tensors)
    set_stream_states(states)
    with torch.enable_grad():
        expected = graph(*tensors)
    return results, (expected, torch.autograd.grad(expected[0], function._params, allow_unused=True))


def check(model, weighted=False):
    results, expected = both_ways(model, weighted)
    assert results is not None
    for result, value in zip(results[0], expected[0], strict=True):
        torch.testing.assert_close(result, value.detach())
    for gradient, value in zip(results[1], expected[1], strict=True):
        torch.testing.assert_close(gradient, value, rtol=1e-5, atol=1e-6)
        assert value is None or gradient.stride() == value.stride()


def sequential(*parts, loss='mse', **options):
    model = Sequential(list(parts))
    model.compile('sgd', loss, **options)
    return model


def arithmetic(y_true, y_pred):
    total = K.sum(y_pred, axis=-1, keepdims=True)  # which is broadcast, as is a mean of all
    distances = K.square(y_pred - y_true / total) + (-total) * K.exp(-y_pred) / (2. + K.square(y_pred))
    return .5 * (1. - K.mean(y_pred)) * distances + K.mean(distances) - 3 / K.exp(total) + total * total


NETWORKS = {
    'mlp': lambda: sequential(
        layers.Dense(8, activation='relu', input_shape=(6,)), layers.Dropout(.25, seed=1),
        layers.Dense(5, activation='tanh'), layers.Dense(3, activation='softmax'), loss='categorical_crossentropy',
        metrics=['accuracy']),
    'large products': lambda: sequential(
        layers.Dense(600, activation='relu', input_shape=(40, 300)), layers.Dense(7, use_bias=False)),
    'crossentropy of two': lambda: sequential(
        layers.Dense(8, activation='sigmoid', input_shape=(6,)), layers.Dense(2, activation='sigmoid'),
        loss='binary_crossentropy'),
    'sparse crossentropy': lambda: sequential(
        layers.Dense(8, activation='elu', input_shape=(6,)), layers.Dense(8), layers.Activation('relu'),
        layers.Dense(3, activation='softmax'), loss='kullback_leibler_divergence'),
    'slopes': lambda: sequential(
        layers.Dense(8, input_shape=(6,)), layers.LeakyReLU(.2), layers.Dense(8), layers.ELU(.5), layers.Dense(8),
        layers.LeakyReLU(-.1), layers.Dense(3)),
    'steps': lambda: sequential(
        layers.Dense(8, activation='relu', input_shape=(5, 6)), layers.Reshape((8, 5)), layers.Dense(3),
        layers.Flatten(), layers.Dense(2), loss='mae'),
    'images': lambda: sequential(
        layers.Conv2D(4, 3, padding='same', input_shape=(8, 8, 3)), layers.BatchNormalization(),
        layers.Activation('relu'), layers.Conv2D(4, 3, activation='relu'), layers.MaxPooling2D(),
        layers.BatchNormalization(scale=False), layers.Activation('tanh'), layers.BatchNormalization(center=False),
        layers.Flatten(), layers.Dense(4, activation='relu'), layers.Dense(2, activation='softmax'),
        loss='categorical_crossentropy'),
    'maxima': lambda: sequential(
        layers.Dense(4, activation='relu', input_shape=(7, 6, 3)), layers.MaxPooling2D((2, 3), padding='same'),
        layers.BatchNormalization(), layers.Activation('relu'), layers.MaxPooling2D(2, strides=1, padding='same'),
        layers.Conv2D(3, 2, activation='tanh'), layers.MaxPooling2D((1, 1)), layers.Dense(3, activation='relu'),
        layers.AveragePooling2D((2, 1)), layers.Flatten(), layers.Dense(2)),
    'channels first': lambda: sequential(
        layers.BatchNormalization(axis=1, input_shape=(3, 4, 5)), layers.Activation('relu'),
        layers.Flatten('channels_first'), layers.Dense(3)),
    'average of all': lambda: sequential(
        layers.Dense(4, input_shape=(6, 6, 3)), layers.BatchNormalization(), layers.GlobalAveragePooling2D(),
        layers.Dense(2)),
    'own loss': lambda: sequential(
        layers.Dense(8, activation='relu', input_shape=(6,)), layers.Dense(3), layers.Dense(3),
        loss=lambda y_true, y_pred: K.mean(K.square(K.abs(y_pred) - y_true), axis=[-1])),
    'arithmetic': lambda: sequential(
        layers.Dense(8, activation='relu', input_shape=(6,)), layers.Dense(3), loss=arithmetic),
    'arguments by name': lambda: sequential(
        layers.Dense(8, activation='relu', input_shape=(6,)), layers.Dense(3), layers.Dense(3, activation='softmax'),
        loss=lambda y_true, y_pred: K.mean(x=K.square(y_pred)) + K.categorical_crossentropy(
            y_pred / 2., output=K.exp(y_pred))),
    'averages of what has no gradient': lambda: sequential(
        layers.Dense(8, activation='relu', input_shape=(6,)), layers.Dense(3, activation='sigmoid'),
        loss=lambda y_true, y_pred: K.mean(K.square(y_pred - y_true), axis=-1) + K.mean(
            K.equal(K.round(y_pred), y_true)) + K.cast(K.mean(K.cast(9. * y_pred, 'int32'), axis=-1), 'float32')),
    'an average of dropped channels': lambda: sequential(
        layers.Dense(3, input_shape=(5, 6)), layers.SpatialDropout1D(.5, seed=1),
        loss=lambda y_true, y_pred: K.mean(y_pred, axis=-1)),
    'penalties': lambda: sequential(
        layers.Dense(8, activation='relu', kernel_regularizer='l2', input_shape=(6,)), layers.Dense(4),
        layers.Dense(4, activation='relu'), layers.Dense(4, activation='sigmoid'), layers.Dense(2)),
    'noise': lambda: sequential(
        layers.Dense(8, activation='relu', input_shape=(6,)), layers.GaussianNoise(.5), layers.Dense(4),
        layers.Dropout(0.), layers.Dense(2)),
    'frozen': lambda: sequential(
        layers.Dense(8, activation='relu', trainable=False, input_shape=(6,)), layers.Dense(4),
        layers.BatchNormalization(trainable=False), layers.Dense(3)),
    'words': lambda: sequential(
        layers.Embedding(5, 4, mask_zero=True, input_length=6), layers.LSTM(3), layers.Dense(4, activation='relu'),
        layers.Dense(1, activation='sigmoid'), loss='binary_crossentropy'),
}


@pytest.mark.parametrize('name', NETWORKS)
def test_gradients_are_those_of_autograd(name):
    check(NETWORKS[name]())


def test_a_relu_before_maxima_is_of_the_maxima():
    model = NETWORKS['maxima']()
    model._make_train_function()
    found = reverse(model.train_function.tensor_graph(False), model.train_function.variables)
    with torch.profiler.profile(record_shapes=True) as profile:
        found(*(torch.ones(2, *shape) for shape in ((7, 6, 3), (2,))))
    shapes = [event.input_shapes[1] for event in profile.events() if event.name == 'aten::threshold_backward']
    assert sorted(shapes) == [[2, 3, 1, 3], [2, 4, 2, 4], [2, 4, 2, 4]]


def test_the_gradient_of_a_relu_takes_the_place_of_one_that_nobody_else_holds():
    x = layers.Input((8, 8, 2))
    y = layers.Activation('relu')(layers.BatchNormalization()(x))
    z = layers.Activation('relu')(layers.BatchNormalization()(layers.Conv2D(4, 3, padding='same')(y)))
    y = layers.Activation('relu')(layers.BatchNormalization()(layers.Conv2D(4, 3, padding='same')(y)))
    y = layers.Flatten()(layers.AveragePooling2D()(layers.add([y, z])))
    model = Model(x, layers.Dense(2, activation='relu')(y))
    model.compile('sgd', 'mse')
    check(model)
    found, written = reverse(model.train_function.tensor_graph(False), model.train_function.variables), []
    with torch.profiler.profile(profile_memory=True) as profile:
        found(torch.randn(40, 8, 8, 2), torch.randn(40, 2))
    for event in profile.events():
        if event.name == 'aten::threshold_backward':
            written.append(event.cpu_memory_usage == 0)
    # y and z share what `add` sends back; what is small is not worth it. To the input of both convolutions comes a sum.
    assert sorted(written) == [False, False, False, True]


def test_of_a_layer_used_twice():
    x, shared = layers.Input((4,)), layers.Dense(4, activation='tanh')
    model = Model(x, layers.Dense(2)(shared(shared(x))))
    model.compile('sgd', 'mse')
    check(model)


def test_of_a_layer_that_a_model_inside_shares():
    x, shared = layers.Input((4,)), layers.Dense(4, activation='tanh')
    inner = Model(x, shared(x))
    model = Model(x, layers.Dense(2)(inner(shared(x))))
    model.compile('sgd', 'mse')
    assert len(model.trainable_weights) == 6
    check(model)


def test_of_branches():
    x = layers.Input((4,))
    y = layers.Dense(4, activation='relu')(x)
    z = layers.add([y, layers.Dense(4)(y), y])
    z = layers.Activation('relu')(layers.concatenate([z, layers.Dense(3)(z)]))
    model = Model(x, [layers.Dense(2, name='a')(z), layers.Dense(1, name='b')(y)])
    model.compile('sgd', {'a': 'mse', 'b': 'mse'}, loss_weights=[.3, 2.], metrics=['mae'])
    check(model, weighted=True)


@pytest.mark.parametrize('weighted', [False, True])
def test_of_arithmetic_between_layers(weighted):
    x, row = layers.Input((4,)), K.variable(np.arange(1., 5), 'float64')
    y, z = layers.Dense(4)(x), layers.Dense(4)(x)
    drawn = layers.Lambda(lambda ab: ab[0] + K.exp(.5 * ab[1]) * K.random_normal(K.shape(ab[0]), seed=1))([y, z])
    wider = layers.Lambda(lambda a: K.cast(a * row, 'float32'))(z)
    model = Model(x, [layers.Dense(2)(drawn), layers.Activation('relu')(y), wider])
    model.add_loss(K.mean(K.square(y) - z))
    model.compile('sgd', 'mse')
    check(model, weighted)


@pytest.mark.parametrize('loss', ['mse', 'mae'])
def test_an_empty_batch_has_gradients_of_zero(loss):
    model = sequential(layers.Dense(4, input_shape=(3,)), layers.BatchNormalization(), layers.Activation('relu'),
                       layers.Dense(2), layers.Dense(2), loss=loss)
    before = model.get_weights()
    model.train_on_batch(np.zeros((0, 3)), np.zeros((0, 2)))
    for now, then in zip(model.get_weights(), before):
        np.testing.assert_allclose(now, then, rtol=1e-6)


def test_of_weighted_samples():
    check(NETWORKS['mlp'](), weighted=True)


def test_an_activation_that_somebody_else_uses_the_input_of_leaves_it():
    x = layers.Input((4,))
    y = layers.Dense(4)(x)
    model = Model(x, layers.Dense(2)(layers.add([y, layers.Activation('relu')(y)])))
    model.compile('sgd', 'mse')
    check(model)


def own_cell():
    class Cell(layers.Layer):
        state_size = 4

        def call(self, inputs, states):
            return inputs + states[0], [inputs]
    return layers.RNN(Cell())


@pytest.mark.parametrize('make', [own_cell, lambda: torch.nn.Linear(4, 4)])
def test_what_may_hold_more_than_is_seen_is_left_to_autograd(make):
    model = sequential(layers.Dense(4, input_shape=(5, 6)), make(), layers.Dense(4), layers.Dense(3))
    assert both_ways(model)[0] is None


@contextlib.contextmanager
def removed(handle):
    yield
    handle.remove()


can_tell = pytest.mark.skipif(not private_ops._saved_tensors_hooks, reason=(
    'this torch does not tell whether saved tensors are looked at: autograd goes back'))

SPOILERS = {
    'a hook of a layer': lambda model: removed(model.layers[0].register_forward_hook(lambda *_: None)),
    'a hook before a layer': lambda model: removed(model.layers[1].register_forward_pre_hook(lambda *_: None)),
    'a backward hook': lambda model: removed(model.layers[2].register_full_backward_hook(lambda *_: None)),
    'a hook of all modules': lambda model: removed(
        torch.nn.modules.module.register_module_forward_hook(lambda *_: None)),
    'a hook of a weight': lambda model: removed(model.layers[0].kernel.param.register_hook(lambda g: None)),
    'anomalies looked for': lambda model: torch.autograd.detect_anomaly(check_nan=False),
    'saved tensors looked at': lambda model: torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x),
    'autocast': lambda model: torch.autocast('cpu', torch.bfloat16),
}


@can_tell
@pytest.mark.filterwarnings('ignore:Anomaly Detection')
@pytest.mark.parametrize('name', SPOILERS)
def test_autograd_goes_back_where_somebody_looks(name, monkeypatch):
    model, calls = NETWORKS['mlp'](), []
    x, y = np.ones((4, 6), 'float32'), np.eye(4, 3, dtype='float32')
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, 'grad', lambda *args, **kwargs: calls.append(1) or grad(*args, **kwargs))
    model.train_on_batch(x, y)
    assert not calls
    with SPOILERS[name](model):
        model.train_on_batch(x, y)
    assert calls.pop() and not calls
    model.train_on_batch(x, y)
    assert not calls


def test_a_hook_sees_the_gradient_of_a_weight():
    model, seen = NETWORKS['mlp'](), []
    model.layers[0].kernel.param.register_hook(lambda gradient: seen.append(gradient.shape))
    model.train_on_batch(np.ones((4, 6), 'float32'), np.eye(4, 3, dtype='float32'))
    assert seen == [(8, 6)]


def test_a_replaced_forward_is_what_runs():
    model, calls = NETWORKS['mlp'](), []
    x, y = np.ones((4, 6), 'float32'), np.eye(4, 3, dtype='float32')
    model.train_on_batch(x, y)
    forward = model.layers[0].forward
    model.layers[0].forward = lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs)
    model.train_on_batch(x, y)
    assert calls == [1]
    del model.layers[0].forward
    model.train_on_batch(x, y)
    assert calls == [1]


def test_replaced_parameters_are_the_ones_that_learn():
    model = sequential(layers.Dense(3, input_shape=(3,)))
    x = np.eye(3, dtype='float32')
    model.train_on_batch(x, x)
    replaced = torch.nn.Parameter(torch.zeros(3, 3))
    model.layers[0]._params.kernel = replaced
    model.train_on_batch(x, x)
    assert replaced.abs().sum() > 0


def test_models_of_double_precision_and_elsewhere_are_left_to_autograd(monkeypatch):
    model, calls = NETWORKS['mlp'](), []
    model.double()
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, 'grad', lambda *args, **kwargs: calls.append(1) or grad(*args, **kwargs))
    model.train_on_batch(np.ones((4, 6)), np.eye(4, 3))
    assert calls


def test_an_error_names_the_layer():
    model = sequential(layers.Dense(3, activation='relu', input_shape=(None, 3)), layers.Dense(2, name='second'))
    model.layers[1]._params.kernel = torch.nn.Parameter(torch.zeros(2, 5))
    with pytest.raises(RuntimeError, match='layer second'):
        model.train_on_batch(np.ones((2, 2, 3)), np.ones((2, 2, 2)))


@can_tell
@pytest.mark.parametrize('weights', [None, np.ones(4)])
def test_a_network_of_rules_alone_asks_autograd_for_nothing(weights):
    model = NETWORKS['mlp']()
    with torch.profiler.profile() as profile:
        model.train_on_batch(np.ones((4, 6), 'float32'), np.eye(4, 3, dtype='float32'), weights)
    assert not [event.name for event in profile.events() if 'autograd::engine' in event.name]


@pytest.mark.parametrize('weighted', [False, True])
def test_several_losses_are_weighted_only_by_weights_that_are_not_one(weighted):
    x = layers.Input((4,))
    model = Model(x, [layers.Dense(2, name='a')(x), layers.Dense(1, name='b')(x)])
    model.compile('sgd', 'mse', loss_weights=[.3, 2.], metrics=['mae'], weighted_metrics=['mse'] * weighted)
    data = np.ones((3, 4), 'float32'), [np.ones((3, 2), 'float32'), np.zeros((3, 1), 'float32')]
    with torch.profiler.profile() as profile:
        unit = model.test_on_batch(*data)
    assert any(event.name == 'aten::ne' for event in profile.events()) == weighted  # of the weights and zero
    np.testing.assert_allclose(unit, model.test_on_batch(*data, [np.ones(3), np.ones(3)]), rtol=1e-6)
    np.testing.assert_allclose(unit[0], .3 * unit[1] + 2. * unit[2], rtol=1e-6)
