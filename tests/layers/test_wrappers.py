"""`TimeDistributed` and `Bidirectional`: what they make of the layers they hold."""
import copy

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, models, regularizers
from kfacade.layers import GRU, LSTM, RNN, Bidirectional, Dense, Input, LSTMCell, Masking, SimpleRNN, TimeDistributed
from kfacade.layers.wrappers import Wrapper


def data(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype('float32')


def step_by_step(layer, x):
    """What a model of `layer` alone predicts for each time step."""
    inputs = Input(x.shape[2:])
    model = models.Model(inputs, layer(inputs))
    return np.stack([model.predict(x[:, t]) for t in range(x.shape[1])], 1)


def scale(x):
    return x * 2. + K.mean(x, axis=-1, keepdims=True)


class Scaled(layers.Layer):
    """A layer written for Keras, which may rely on the batch size."""

    def build(self, input_shape):
        self.scale = self.add_weight(name='scale', shape=input_shape[1:], initializer='uniform')
        super().build(input_shape)

    def call(self, inputs):
        batch = K.int_shape(inputs)[0]
        return self.scale * (inputs if batch is None else inputs + K.cumsum(inputs, 0) / batch)


def convnet():
    return models.Sequential([layers.Conv2D(2, 2, input_shape=(4, 4, 1)), layers.Flatten(), Dense(3)])


INNER = {
    'dense': (lambda: Dense(3), (4,)), 'conv': (lambda: layers.Conv2D(2, 3, padding='same'), (4, 4, 2)),
    'lambda': (lambda: layers.Lambda(scale), (4,)), 'own': (Scaled, (4,)), 'model': (convnet, (4, 4, 1)),
    'lstm': (lambda: LSTM(3), (6, 2)), 'bidirectional': (lambda: Bidirectional(GRU(2)), (6, 2)),
    'embedding': (lambda: layers.Embedding(5, 3), (4,)), 'flatten': (layers.Flatten, (2, 3)),
    'time_distributed': (lambda: TimeDistributed(Dense(2)), (3, 4))}


@pytest.mark.parametrize('batch', [None, 2])
@pytest.mark.parametrize('time', [None, 5])
@pytest.mark.parametrize('make, shape', INNER.values(), ids=INNER)
def test_time_distributed_is_the_layer_at_each_step(make, shape, time, batch):
    layer = make()
    inputs = Input(batch_shape=(batch, time, *shape))
    output = TimeDistributed(layer)(inputs)
    model = models.Model(inputs, output)
    x = np.abs(data(2, 5, *shape)) if isinstance(layer, layers.Embedding) else data(2, 5, *shape)
    got = model.predict(x, batch_size=2)
    assert K.int_shape(output) == (batch, time, *got.shape[2:])
    if batch and isinstance(layer, Scaled):
        wanted = (x + np.cumsum(x, 0) / 2) * model.get_weights()[0]
    else:
        wanted = step_by_step(layer, x)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_time_distributed_counts_what_is_inside():
    layer = Dense(3, kernel_regularizer=regularizers.l2(1.))
    wrapper = TimeDistributed(layer, name='outer', input_shape=(5, 4))
    model = models.Sequential([wrapper])
    assert [w.name.rpartition('/')[2] for w in model.weights] == ['kernel:0', 'bias:0']
    assert all(w.name.startswith('outer') for w in model.weights)
    assert len(model.losses) == 1 and len(list(model.parameters())) == 2
    wrapper.trainable = False
    assert not layer.trainable and model.trainable_weights == [] and len(model.non_trainable_weights) == 2
    weights = [2 * w for w in wrapper.get_weights()]
    wrapper.set_weights(weights)
    np.testing.assert_array_equal(layer.get_weights()[0], weights[0])
    again = models.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()


@pytest.mark.parametrize('batch, times', [(None, 1), (2, 2)])
def test_activity_regularizer_inside(batch, times):
    """Keras adds it twice where the batch size is known."""
    inputs = Input(batch_shape=(batch, 5, 3))
    model = models.Model(inputs, TimeDistributed(Dense(2, activity_regularizer=regularizers.l2(1.)))(inputs))
    model.set_weights([np.ones((3, 2)), np.zeros(2)])
    model.compile('sgd', 'mse')
    loss = model.evaluate(np.ones((2, 5, 3)), np.zeros((2, 5, 2)), batch_size=2, verbose=0)
    np.testing.assert_allclose(loss, 9. + times * 9. * 20)


def test_batch_normalization_inside_is_updated():
    inner = layers.BatchNormalization(momentum=.9)
    model = models.Sequential([TimeDistributed(inner, input_shape=(5, 3))])
    model.compile('sgd', 'mse')
    x = data(8, 5, 3) * 2 + 1
    assert len(model.updates) == 2
    model.train_on_batch(x, x)
    np.testing.assert_allclose(inner.get_weights()[2], x.reshape(-1, 3).mean(0), rtol=1e-4)


def test_dropout_inside_follows_the_learning_phase():
    model = models.Sequential([TimeDistributed(layers.Dropout(.5), input_shape=(5, 30))])
    x = np.ones((8, 5, 30), 'float32')
    np.testing.assert_array_equal(model.predict(x), x)
    dropped, = K.function([model.input, K.learning_phase()], [model.output])([x, 1])
    assert set(np.unique(dropped)) == {0., 2.} and abs(dropped.mean() - 1) < .15


def test_masks_of_time_distributed():
    inputs = Input((5, 6, 2))
    masked = TimeDistributed(Masking())(inputs)
    steps = TimeDistributed(LSTM(3))(masked)
    pooled = SimpleRNN(2)(steps)
    model = models.Model(inputs, [steps, pooled, masked])
    x = data(3, 5, 6, 2)
    x[0, 3:], x[1, :, 4:], x[2, 0] = 0., 0., 0.
    each, last, _ = model.predict(x)
    words = Input((6, 2))
    plain = models.Model(words, model.layers[2].layer(Masking()(words)))
    np.testing.assert_allclose(each, np.stack([plain.predict(x[:, t]) for t in range(5)], 1), rtol=1e-5, atol=1e-6)
    mask, = K.function([inputs], [model.layers[2].output_mask])([x])
    np.testing.assert_array_equal(mask, (x != 0).any((-1, -2)))
    steps_in = Input((5, 3))
    rnn = models.Model(steps_in, model.layers[3](Masking()(steps_in)))
    np.testing.assert_allclose(last, rnn.predict(np.where(mask[..., None], each, 0)), rtol=1e-5, atol=1e-6)


def test_mask_passes_a_layer_that_makes_none():
    inputs = Input((5, 3))
    wrapper = TimeDistributed(Dense(2))
    wrapper(Masking()(inputs))
    x = data(2, 5, 3)
    x[:, 2] = 0
    np.testing.assert_array_equal(K.function([inputs], [wrapper.output_mask])([x])[0], (x != 0).any(-1))
    fixed = TimeDistributed(layers.Conv1D(2, 2))
    words = Input(batch_shape=(2, 5, 4, 3))
    fixed(TimeDistributed(Masking())(words))
    assert fixed.output_mask is None
    with pytest.raises(TypeError, match='does not support masking'):
        TimeDistributed(layers.Conv1D(2, 2))(TimeDistributed(Masking())(Input((5, 4, 3))))


def test_model_inside_shares_its_weights():
    inner = convnet()
    inputs, image = Input((5, 4, 4, 1)), Input((4, 4, 1))
    model = models.Model([inputs, image], [TimeDistributed(inner)(inputs), inner(image)])
    x = data(2, 5, 4, 4, 1)
    steps, one = model.predict([x, x[:, 3]])
    np.testing.assert_allclose(steps[:, 3], one, rtol=1e-5, atol=1e-6)
    model.compile('sgd', 'mse')
    before = inner.get_weights()
    model.train_on_batch([x, x[:, 0]], [np.zeros((2, 5, 3)), np.zeros((2, 3))])
    assert not any(np.array_equal(*pair) for pair in zip(before, inner.get_weights()))


def test_time_distributed_wants_a_time_axis():
    with pytest.raises(ValueError, match='at least 3 dimensions'):
        TimeDistributed(Dense(3))(Input((4,)))


def test_time_distributed_on_tensors():
    wrapper = TimeDistributed(Dense(3))
    x = torch.randn(2, 5, 4)
    y = wrapper(x)
    torch.testing.assert_close(y[:, 2], wrapper.layer(x[:, 2]))
    y.sum().backward()
    assert wrapper.layer.kernel.param.grad is not None and wrapper._input_map == {}


# ---------------------------------------------------------------- Bidirectional

MERGES = {'concat': lambda a, b: np.concatenate([a, b], -1), 'sum': np.add, 'mul': np.multiply,
          'ave': lambda a, b: (a + b) / 2, None: lambda a, b: [a, b]}


def both_directions(wrapper, x, **kwargs):
    """The outputs of the two layers inside, each by itself."""
    return [models.Model(i, layer.__class__.from_config(layer.get_config())(Masking()(i))) for layer in (
        wrapper.forward_layer, wrapper.backward_layer) for i in [Input(x.shape[1:])]]


@pytest.mark.parametrize('sequences', [False, True])
@pytest.mark.parametrize('mode', MERGES)
@pytest.mark.parametrize('cls', [SimpleRNN, GRU, LSTM])
def test_merge_modes(cls, mode, sequences):
    wrapper = Bidirectional(cls(3, return_sequences=sequences), merge_mode=mode)
    inputs = Input((5, 2))
    model = models.Model(inputs, wrapper(Masking()(inputs)))
    x = data(4, 5, 2)
    x[0, 3:] = 0
    x[1, 0] = 0
    forward, backward = both_directions(wrapper, x)
    weights = wrapper.get_weights()
    forward.set_weights(weights[:3])
    backward.set_weights(weights[3:])
    outputs = [forward.predict(x), backward.predict(x)]
    if sequences:
        outputs[1] = outputs[1][:, ::-1]
    for got, wanted in zip(np.atleast_1d(model.predict(x)) if mode else model.predict(x),
                           MERGES[mode](*outputs)):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    shapes = [K.int_shape(t) for t in model.outputs]
    assert shapes == [(None, *([5] if sequences else []), 6 if mode == 'concat' else 3)] * (1 if mode else 2)
    masks = wrapper.output_mask if mode is None else [wrapper.output_mask]
    assert all((m is not None) == sequences for m in masks)


def test_names_weights_and_config():
    layer = LSTM(3, name='cells')
    wrapper = Bidirectional(layer, name='both', input_shape=(5, 2))
    model = models.Sequential([wrapper])
    assert [w.name for w in model.weights] == [
        f'both/{side}_cells/{name}:0' for side in ('forward', 'backward') for name in
        ('kernel', 'recurrent_kernel', 'bias')]
    assert wrapper.get_config()['layer']['config']['name'] == 'cells'
    assert wrapper.backward_layer.go_backwards and not wrapper.forward_layer.go_backwards
    assert len(model.state_dict()) == len(list(model.parameters())) == 6
    again = models.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    again.set_weights(model.get_weights())
    x = data(2, 5, 2)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    np.testing.assert_array_equal(copy.deepcopy(model).predict(x), model.predict(x))
    wrapper.trainable = False
    assert not wrapper.forward_layer.trainable and model.trainable_weights == []
    weights = [w + 1 for w in wrapper.get_weights()]
    started = Bidirectional(LSTM(3), weights=weights)
    started(Input((5, 2)))
    for got, wanted in zip(started.get_weights(), weights):
        np.testing.assert_array_equal(got, wanted)


def test_states_of_bidirectional():
    inputs, given = Input((5, 2)), [Input((3,)) for _ in range(4)]
    wrapper = Bidirectional(LSTM(3, return_state=True, return_sequences=True))
    outputs = wrapper(inputs, initial_state=given)
    assert [K.int_shape(t) for t in outputs] == [(None, 5, 6)] + [(None, 3)] * 4
    model = models.Model([inputs, *given], outputs)
    x, states = data(2, 5, 2), [data(2, 3, seed=i) for i in range(4)]
    got = model.predict([x, *states])
    for layer, side, start, last, part in ((wrapper.forward_layer, 1, states[:2], got[1:3], got[0][..., :3]),
                                           (wrapper.backward_layer, -1, states[2:], got[3:], got[0][..., 3:])):
        fresh = [Input((5, 2)), Input((3,)), Input((3,))]
        plain = layer.__class__.from_config(layer.get_config())
        alone = models.Model(fresh, plain(fresh[0], initial_state=fresh[1:]))
        alone.set_weights(layer.get_weights())
        sequence, *wanted = alone.predict([x, *start])
        np.testing.assert_allclose(part, sequence[:, ::side], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(last, wanted, rtol=1e-5, atol=1e-6)
    again = models.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict([x, *states])[0], got[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match='the states of the underlying RNNs'):
        Bidirectional(GRU(3))(inputs, initial_state=given[:1])


def test_stateful_inside_bidirectional():
    """As in Keras 2.2.4: the updates are there for training, but prediction does not run them."""
    wrapper = Bidirectional(GRU(3, stateful=True), batch_input_shape=(2, 5, 2))
    model = models.Sequential([wrapper])
    model.compile('sgd', 'mse')
    x = data(2, 5, 2)
    np.testing.assert_array_equal(model.predict(x, batch_size=2), model.predict(x, batch_size=2))
    assert len(model.updates) == 2
    model.train_on_batch(x, np.zeros((2, 6)))
    assert K.get_value(wrapper.forward_layer.states[0]).any()
    wrapper.reset_states()
    assert not K.get_value(wrapper.backward_layer.states[0]).any()


def test_bidirectional_around_own_cells():
    class Cell(LSTMCell):
        def call(self, inputs, states, training=None):
            return super().call(inputs * 2., states, training=training)

    wrapper = Bidirectional(RNN(Cell(3)))
    inputs = Input((5, 2))
    model = models.Model(inputs, wrapper(inputs))
    plain = models.Sequential([Bidirectional(LSTM(3), input_shape=(5, 2))])
    plain.set_weights(model.get_weights())
    x = data(2, 5, 2)
    np.testing.assert_allclose(model.predict(x), plain.predict(2 * x), rtol=1e-5, atol=1e-6)


def test_bad_merge_mode():
    with pytest.raises(ValueError, match='Invalid merge mode'):
        Bidirectional(LSTM(3), merge_mode='stack')


def test_own_wrapper():
    class Twice(Wrapper):
        def build(self, input_shape):
            self.layer.build(input_shape)
            self.layer.built = True
            super().build(input_shape)

        def call(self, inputs):
            return 2 * self.layer.call(inputs)

        def compute_output_shape(self, input_shape):
            return self.layer.compute_output_shape(input_shape)

    inner = Dense(3, activity_regularizer=regularizers.l1(1.))
    model = models.Sequential([Twice(inner, input_shape=(4,))])
    x = data(2, 4)
    np.testing.assert_allclose(model.predict(x), 2 * (x @ inner.get_weights()[0]), rtol=1e-5)
    assert len(model.losses) == 1 and len(model.trainable_weights) == 2


def test_a_layer_that_tells_another_shape_than_it_gives():
    class Told(layers.Layer):
        def call(self, x):
            return K.expand_dims(K.reshape(x, (-1, 3)), 0)

        def compute_output_shape(self, input_shape):
            return (None, 4, 3)

    x = Input((4, 3))
    told = Told()(x)
    assert K.int_shape(layers.Lambda(lambda x: x * 2)(told)) == (None, 4, 3)
    y = TimeDistributed(Dense(2, kernel_initializer='ones'))(told)
    assert K.int_shape(y) == (None, 4, 2)
    expected = [[[3.] * 2, [12.] * 2, [21.] * 2, [30.] * 2], [[39.] * 2, [48.] * 2, [57.] * 2, [66.] * 2]]
    np.testing.assert_allclose(models.Model(x, y).predict(np.arange(24.).reshape(2, 4, 3)), expected)
