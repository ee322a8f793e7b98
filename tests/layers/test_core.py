"""Dense, dropout, reshaping, Lambda."""
import json

import numpy as np
import pytest
import torch
from layers_harness import check_layer, data, gradients, train_phase

from kfacade import activations, layers
from kfacade import backend as K
from kfacade.layers import (
    Activation,
    ActivityRegularization,
    Dense,
    Dropout,
    Flatten,
    Input,
    Lambda,
    Masking,
    Permute,
    RepeatVector,
    Reshape,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from kfacade.layers.core import unsafe_deserialization
from kfacade.models import Model, Sequential

# ---------------------------------------------------------------- Dense

def test_dense_is_a_matrix_product():
    x, kernel, bias = data(5, 3), data(3, 4, seed=1), data(4, seed=2)
    check_layer(Dense(4), x, x @ kernel + bias, [kernel, bias])
    check_layer(Dense(4, activation='relu'), x, np.maximum(x @ kernel + bias, 0), [kernel, bias])
    check_layer(Dense(4, use_bias=False, activation=K.tanh), x, np.tanh(x @ kernel), [kernel])


def test_dense_works_on_the_last_axis():
    x, kernel, bias = data(2, 3, 4, 5), data(5, 2, seed=1), data(2, seed=2)
    check_layer(Dense(2), x, x @ kernel + bias, [kernel, bias])


def test_dense_gradients_are_in_keras_layout():
    x, kernel, bias = data(4, 3), data(3, 2, seed=1), data(2, seed=2)
    layer = Dense(2)
    layer.build((None, 3))
    layer.set_weights([kernel, bias])
    error = 2 * (x @ kernel + bias)
    for got, wanted in zip(gradients(layer, x), (error @ kernel.T, x.T @ error, error.sum(0))):
        np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_dense_stores_its_kernel_as_torch_does():
    layer = Dense(4, input_dim=3)
    layer.build((None, 3))
    assert layer._params.kernel.shape == (4, 3)
    assert layer.kernel.shape == (3, 4) and layer.kernel.value.is_contiguous()
    assert dict(layer.named_parameters()).keys() == {'_params.kernel', '_params.bias'}
    assert layer.batch_input_shape == (None, 3)


def test_dense_says_what_is_wrong():
    with pytest.raises(ValueError, match='expected min_ndim=2, found ndim=1'):
        Dense(3)(Input(batch_shape=(4,)))
    with pytest.raises(ValueError, match='last dimension .* should be defined'):
        Dense(3, name='d')(Input((None,)))
    with pytest.raises(ValueError, match='Unknown activation function:nonsense'):
        Dense(3, activation='nonsense')
    layer = Dense(3)
    layer(Input((4,)))
    with pytest.raises(ValueError, match='dense_.*expected axis -1 of input shape to have value 4'):
        layer(Input((5,)))


def test_activation_assigned_before_the_call_counts():
    layer = Dense(2)
    layer.activation = activations.relu
    x, kernel, bias = data(5, 3), data(3, 2, seed=1), data(2, seed=2)
    check_layer(layer, x, np.maximum(x @ kernel + bias, 0), [kernel, bias])


def test_activation_assigned_after_the_call_counts_from_the_next_call():
    layer, symbol, x = Dense(3, kernel_initializer='identity'), Input((3,)), data(5, 3)
    found = []
    for activation in (activations.linear, activations.relu, activations.linear, lambda v: v + 1):
        layer.activation = activation
        found.append(Model(symbol, layer(symbol)))
    for model, expected in zip(found, [x, np.maximum(x, 0), x, x + 1]):
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-6)


def test_a_layer_as_activation_warns_and_works():
    with pytest.warns(UserWarning, match='Do not pass a layer instance'):
        layer = Dense(2, activation=layers.LeakyReLU(.5))
    symbol, x = Input((3,)), data(5, 3)
    y = layer(symbol)
    linear = x @ layer.get_weights()[0]
    np.testing.assert_allclose(K.function([symbol], [y])([x])[0], np.where(linear > 0, linear, linear / 2), rtol=1e-5)


def test_other_tensors_in_the_place_of_weights_are_used():
    """Scripts tie weights, or drop connections, by assigning `layer.kernel`."""
    class HalfDense(Dense):
        def call(self, inputs):
            own, self.kernel = self.kernel, self.kernel * .5
            try:
                return super().call(inputs)
            finally:
                self.kernel = own

    class TransposedDense(Dense):
        def build(self, input_shape):
            self.kernel = K.transpose(half.kernel)
            self.bias = self.add_weight(name='bias', shape=(self.units,), initializer='zeros')

    half, tied, x = HalfDense(2), TransposedDense(3), data(5, 3)
    symbol = Input((3,))
    hidden = half(symbol)
    model = Model(symbol, [hidden, tied(hidden)])
    kernel = half.get_weights()[0]
    assert model.count_params() == 6 + 2 + 3
    for got, wanted in zip(model.predict(x), (x @ kernel / 2, x @ kernel @ kernel.T / 2)):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    by_kernel, = K.function([symbol], K.gradients(K.sum(hidden), [half.kernel]))([x])
    np.testing.assert_allclose(by_kernel, np.repeat(x.sum(0)[:, None], 2, 1) / 2, atol=1e-5)


def test_a_build_of_ones_own_gets_the_layout_that_call_reads():
    class MyDense(Dense):
        def build(self, input_shape):
            self.kernel = self.add_weight('kernel', (input_shape[-1], self.units), initializer='ones')
            self.bias = self.add_weight(shape=(self.units,), name='bias', initializer='ones')

    x = data(5, 3)
    symbol = Input((3,))
    np.testing.assert_allclose(Model(symbol, MyDense(2)(symbol)).predict(x), np.repeat(x.sum(1)[:, None] + 1, 2, 1),
                               rtol=1e-5)


# ---------------------------------------------------------------- elementwise

def test_activation():
    x = data(4, 5)
    check_layer(Activation('relu'), x, np.maximum(x, 0))
    check_layer(Activation('linear'), x, x)
    check_layer(Activation('softmax'), x, np.exp(x) / np.exp(x).sum(1, keepdims=True))
    check_layer(Activation('hard_sigmoid'), x, np.clip(.2 * x + .5, 0, 1))
    symbol = Input((5,))
    np.testing.assert_allclose(Model(symbol, Activation(lambda t: K.square(t) + 1)(symbol)).predict(x), x ** 2 + 1)


def test_activity_regularization_adds_to_the_loss():
    x = data(4, 3)
    check_layer(ActivityRegularization(l1=.1, l2=.2), x, x)
    model = Sequential([ActivityRegularization(l1=.1, l2=.2, input_shape=(3,))])
    model.compile('sgd', 'mse')
    np.testing.assert_allclose(model.test_on_batch(x, x), .1 * np.abs(x).sum() + .2 * (x ** 2).sum(), rtol=1e-5)


def test_masking_masks_and_zeroes_steps():
    x = data(2, 4, 3)
    x[0, 1], x[1, 3], x[1, 0, 0] = 7, 7, 7
    zeroed = x.copy()
    zeroed[0, 1], zeroed[1, 3] = 0, 0
    model = check_layer(Masking(7.), x, zeroed)
    mask, = K.function(model.inputs, [model.layers[-1].output_mask])([x])
    np.testing.assert_array_equal(mask, [[1, 0, 1, 1], [1, 1, 1, 0]])


# ---------------------------------------------------------------- dropout

class Steps(Dropout):
    """Drops whole steps, as scripts written for Keras do."""

    def _get_noise_shape(self, inputs):
        shape = K.shape(inputs)
        return shape[0], shape[1], 1


class InTest(SpatialDropout1D):
    """Drops in the test phase, too, with a copy of what Keras' own layer does."""

    def call(self, inputs, training=None):
        return K.dropout(inputs, self.rate, self._get_noise_shape(inputs), seed=self.seed)


@pytest.mark.parametrize('layer,alike', [(Steps(.5), 2), (InTest(.5), 1)])
def test_dropout_of_ones_own_shape(layer, alike):
    y = train_phase(layer, np.ones((40, 5, 6), 'f'))
    assert set(np.unique(y)) == {0, 2} and .3 < (y == 0).mean() < .7
    np.testing.assert_array_equal(y, np.broadcast_to(y.take([0], alike), y.shape))
    assert (y.take([0], 3 - alike) != y).any()


def test_dropout_in_test_does_nothing():
    x = data(4, 5)
    check_layer(Dropout(.5), x, x)
    for rate in (0, 1, -3, 4):
        np.testing.assert_array_equal(train_phase(Dropout(rate), x), x)
        assert Dropout(rate).get_config()['rate'] == min(max(rate, 0), 1)


@pytest.mark.parametrize('rate', [.5, .2, .995])
def test_dropout_drops_its_rate_and_scales_the_rest(rate):
    x = np.ones((400, 500), 'f')
    y = train_phase(Dropout(rate, seed=3), x)
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)], rtol=1e-5)
    assert abs((y == 0).mean() - rate) < 4 * (rate * (1 - rate) / y.size) ** .5
    rows = (y == 0).mean(1)
    assert rows.std() < 1.2 * (rate * (1 - rate) / 500) ** .5  # independent from row to row


def test_dropout_passes_gradients_to_what_it_kept():
    symbol = Input((50,))
    y = Dropout(.5)(symbol)
    run = K.function([symbol, K.learning_phase()], [y, *K.gradients(K.sum(y), [symbol])])
    value, gradient = run([np.ones((20, 50)), 1])
    np.testing.assert_array_equal(value, gradient)


def test_dropout_follows_seeds():
    x = np.ones((20, 50), 'f')
    first = train_phase(Dropout(.5, seed=1), x, times=2)
    again = train_phase(Dropout(.5, seed=1), x, times=2)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != train_phase(Dropout(.5, seed=2), x)).any()
    np.random.seed(5)
    unseeded = train_phase(Dropout(.5), x)
    np.random.seed(5)
    np.testing.assert_array_equal(unseeded, train_phase(Dropout(.5), x))


@pytest.mark.parametrize('layer,shape,alike', [
    (Dropout(.5, noise_shape=(None, 1, None)), (4, 5, 60), 1),
    (Dropout(.5, noise_shape=(4, 5, 1)), (4, 5, 60), 2),
    (SpatialDropout1D(.5), (4, 5, 60), 1),
    (SpatialDropout2D(.5), (3, 4, 5, 60), (1, 2)),
    (SpatialDropout2D(.5, data_format='channels_first'), (3, 60, 4, 5), (2, 3)),
    (SpatialDropout3D(.5), (2, 3, 4, 5, 60), (1, 2, 3)),
    (SpatialDropout3D(.5, data_format='channels_first'), (2, 60, 3, 4, 5), (2, 3, 4)),
])
def test_dropout_of_whole_slices(layer, shape, alike):
    y = train_phase(layer, np.ones(shape, 'f'))
    assert (y.min(alike) == y.max(alike)).all() and set(np.unique(y)) == {0, 2}
    check_layer(type(layer).from_config(layer.get_config()), data(*shape), data(*shape))


# ---------------------------------------------------------------- shapes

@pytest.mark.parametrize('layer,shape,reshaped', [
    (Reshape((6, 2)), (2, 3, 4), (2, 6, 2)),
    (Reshape((-1, 2)), (2, 3, 4), (2, 6, 2)),
    (Reshape((12,)), (2, 3, 4), (2, 12)),
    (Flatten(), (2, 3, 4), (2, 12)),
    (Flatten(), (2, 3, 4, 5), (2, 60)),
])
def test_reshapes(layer, shape, reshaped):
    x = data(*shape)
    check_layer(layer, x, x.reshape(reshaped))


def test_flatten_is_in_channels_last_order():
    x = data(2, 3, 4, 5)
    check_layer(Flatten('channels_first'), x, x.transpose(0, 2, 3, 1).reshape(2, -1))


def test_permute_and_repeat():
    x = data(2, 3, 4, 5)
    check_layer(Permute((3, 1, 2)), x, x.transpose(0, 3, 1, 2))
    check_layer(RepeatVector(4), data(3, 5), np.repeat(data(3, 5)[:, None], 4, 1))


def test_unknown_sizes():
    assert Reshape((-1, 4)).compute_output_shape((None, None, 8)) == (None, None, 4)
    assert K.int_shape(Reshape((-1, 4))(Input((None, 8)))) == (None, None, 4)
    with pytest.raises(ValueError, match=r'The shape of the input to "Flatten" is not fully defined \(got \(None, 8\)'):
        Flatten()(Input((None, 8)))


@pytest.mark.parametrize('layer,shape,message', [
    (Reshape((5, 2), name='r'), (3, 4), 'Layer r: total size of new array must be unchanged'),
    (Reshape((5, -1), name='r'), (3, 4), 'Layer r: total size of new array must be unchanged'),
    (Flatten(), (3,), 'expected min_ndim=3, found ndim=2'),
    (RepeatVector(3), (3, 4), 'expected ndim=2, found ndim=3'),
    (Permute((2, 1)), (3,), 'expected ndim=3, found ndim=2'),
])
def test_impossible_shapes_fail_when_the_graph_is_built(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(Input(shape))


# ---------------------------------------------------------------- Lambda

def doubled(x):
    return 2 * x


def test_lambda_runs_its_function():
    x = data(4, 3)
    symbol = Input((3,))
    model = Model(symbol, Lambda(doubled)(symbol))
    np.testing.assert_array_equal(model.predict(x), 2 * x)
    scaled = Lambda(lambda t, by, plus=0: t * by + plus, arguments={'by': 3})(symbol)
    np.testing.assert_allclose(Model(symbol, scaled).predict(x), 3 * x)
    np.testing.assert_array_equal(Lambda(torch.relu)(torch.as_tensor(x)), np.maximum(x, 0))


def test_lambda_runs_once_and_may_close_over_symbols():
    calls = []
    a, b = Input((3,)), Input((3,))

    def plus_b(x):
        calls.append(x)
        return x + b

    y = Lambda(plus_b)(a)
    run = K.function([a, b], [y])
    np.testing.assert_array_equal(run([data(2, 3), data(2, 3)])[0], 2 * data(2, 3))
    assert len(calls) == 1


def test_lambda_output_shapes():
    x = Input((3, 4))
    assert K.int_shape(Lambda(lambda t: t[:, 0])(x)) == (None, 4)
    assert K.int_shape(Lambda(lambda t: t[:, 0], output_shape=(4,))(x)) == (None, 4)
    assert K.int_shape(Lambda(lambda t: t[:, 0], output_shape=lambda s: (s[0], s[2]))(x)) == (None, 4)
    first, second = Lambda(lambda t: [t[:, 0], t[:, :, 0]])(x)
    assert K.int_shape(first) == (None, 4) and K.int_shape(second) == (None, 3)
    assert Lambda(lambda t: K.sum(t, axis=1)).compute_output_shape((None, 3, 4)) == (None, 4)
    with pytest.raises(TypeError, match='must be a list, a tuple, or a function'):
        Lambda(doubled, output_shape=3)
    with pytest.raises(ValueError, match='must return a tuple or a list of tuples'):
        Lambda(doubled, output_shape=lambda shape: 3)(x)


def test_lambda_and_masks():
    masked = Masking()(Input((3, 4)))
    assert Lambda(doubled)(masked)._keras_history[0].output_mask is None
    passed = Lambda(doubled, mask=lambda inputs, mask: mask)(masked)
    assert passed._keras_history[0].output_mask is not None
    seen = Lambda(lambda t, mask=None: t * K.expand_dims(K.cast(mask, 'float32')), mask=lambda i, m: None)(masked)
    x = data(2, 3, 4)
    source = masked._keras_history[0].input
    np.testing.assert_allclose(K.function([source], [seen])([x])[0], x, rtol=1e-6)


def test_lambda_config_has_the_layout_of_keras():
    config = Lambda(doubled, name='twice', output_shape=(3,), arguments={}).get_config()
    assert list(config) == ['name', 'trainable', 'function', 'function_type', 'output_shape', 'output_shape_type',
                            'arguments']
    assert config['function_type'] == 'lambda' and len(config['function']) == 3
    assert config['output_shape'] == (3,) and config['output_shape_type'] == 'raw'
    json.dumps(config)


def test_lambda_code_of_a_config_is_refused_unless_asked_for():
    config = json.loads(json.dumps(Lambda(doubled, name='twice').get_config()))
    with pytest.raises(ValueError, match='"twice" is stored as Python bytecode(?s:.*)custom_objects.*safe_mode=False'):
        Lambda.from_config(config)
    x = torch.as_tensor(data(2, 3))
    with unsafe_deserialization():
        np.testing.assert_array_equal(Lambda.from_config(config)(x), 2 * x)
    for name in ('twice', 'doubled'):
        loaded = Lambda.from_config(config, custom_objects={name: lambda t: 3 * t})
        np.testing.assert_array_equal(loaded(x), 3 * x)
    with pytest.raises(ValueError, match='bytecode'):
        Lambda.from_config(config, custom_objects={'another': doubled})


def test_lambda_of_a_backend_function_is_saved_by_name():
    enlarged = Lambda(K.resize_images, arguments={'height_factor': 2, 'width_factor': 1,
                                                  'data_format': 'channels_last'}).get_config()
    assert Lambda.from_config(enlarged)(torch.zeros(1, 2, 2, 1)).shape == (1, 4, 2, 1)
    config = Lambda(K.square).get_config()
    assert (config['function'], config['function_type']) == ('square', 'function')
    x = torch.as_tensor(data(2, 3))
    np.testing.assert_array_equal(Lambda.from_config(config)(x), x ** 2)
    for name in ('function', 'clear_session', 'Variable'):
        with pytest.raises(ValueError, match='Unknown function in Lambda layer'):
            Lambda.from_config({**config, 'function': name})
    with pytest.raises(ValueError, match='Unknown function in Lambda layer:os'):
        Lambda.from_config({**config, 'function': 'os'})
    with pytest.raises(TypeError, match='Unknown function type: raw'):
        Lambda.from_config({**config, 'function_type': 'raw'})


def test_lambda_arrays_among_the_arguments_survive():
    config = Lambda(doubled, name='twice').get_config()
    config['arguments'] = {'by': {'type': 'ndarray', 'value': [1, 2]}}
    loaded = Lambda.from_config(config, custom_objects={'twice': lambda x, by: x * torch.as_tensor(by)})
    np.testing.assert_array_equal(loaded.arguments['by'], np.array([1, 2]))


# ---------------------------------------------------------------- layers of one's own

def test_what_a_subclass_sets_before_the_constructor_is_reset_by_it():
    class Early(layers.Layer):
        def __init__(self, **kwargs):
            self.supports_masking = self.stateful = True
            self.input_spec = layers.InputSpec(ndim=7)
            super().__init__(**kwargs)

    layer = Early()
    assert (layer.supports_masking, layer.stateful, layer.input_spec) == (False, False, None)
    with pytest.raises(TypeError, match='does not support masking'):
        layer(Masking()(Input((4, 3))))


# ---------------------------------------------------------------- serialization

def test_serialize_and_deserialize():
    layer = Dense(3, name='d')
    config = layers.serialize(layer)
    assert config['class_name'] == 'Dense'
    assert layers.deserialize(config).get_config() == layer.get_config()
    with pytest.raises(ValueError, match='Unknown layer: func_load'):
        layers.deserialize({'class_name': 'func_load', 'config': {}})
