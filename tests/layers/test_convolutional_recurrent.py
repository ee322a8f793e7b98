"""ConvLSTM2D against its formula, with `K.conv2d` for products."""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, models
from kfacade.layers import ConvLSTM2D, ConvLSTM2DCell, ConvRNN2D, Input

BATCH, TIME, SHAPE = 2, 4, (5, 6, 3)


def data(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype('float32')


def conv(x, kernel, **kwargs):
    return K.conv2d(torch.tensor(x), torch.tensor(kernel), **kwargs).numpy()


def reference(layer, x, keep=None, states=None, x_masks=None, h_masks=None):
    """Outputs of all steps, and the last states."""
    kernel, recurrent, bias = layer.get_weights()
    x_masks, h_masks = ([1.] * 4 if masks is None else masks for masks in (x_masks, h_masks))
    hard_sigmoid, outputs = lambda v: np.clip(.2 * v + .5, 0, 1), []
    for t in range(x.shape[1])[::-1 if layer.go_backwards else 1]:
        inputs = [conv(x[:, t] * m, k, strides=layer.strides, padding=layer.padding, dilation_rate=layer.dilation_rate)
                  + b for m, k, b in zip(x_masks, np.split(kernel, 4, -1), np.split(bias, 4))]
        states = [np.zeros_like(inputs[0])] * 2 if states is None else states
        i, f, g, o = (a + conv((states[0] * m).astype('float32'), k, padding='same')
                      for a, m, k in zip(inputs, h_masks, np.split(recurrent, 4, -1)))
        c = hard_sigmoid(f) * states[1] + hard_sigmoid(i) * np.tanh(g)
        new = [hard_sigmoid(o) * np.tanh(c), c]
        if keep is not None:
            new = [np.where(keep[:, t, None, None, None], *pair) for pair in zip(new, states)]
        states = new
        outputs.append(states[0])
    return np.stack(outputs, 1), states


def built(layer, shape=SHAPE, **kwargs):
    inputs = Input((TIME, *shape))
    model = models.Model(inputs, layer(inputs, **kwargs))
    model.set_weights([.5 * data(*w.shape, seed=i) for i, w in enumerate(model.get_weights())])
    return model


@pytest.mark.parametrize('options', [
    {}, {'padding': 'same'}, {'strides': 2}, {'dilation_rate': 2}, {'go_backwards': True},
    {'kernel_size': (2, 3), 'padding': 'same', 'strides': (2, 1)}])
def test_values(options):
    layer = ConvLSTM2D(2, **{'kernel_size': 3, **options}, return_sequences=True, return_state=True)
    model, x = built(layer), data(BATCH, TIME, *SHAPE)
    outputs, states = reference(layer, x)
    for got, wanted, symbol in zip(model.predict(x), [outputs, *states], model.outputs):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
        assert K.int_shape(symbol) == (None, *got.shape[1:])


def test_channels_first():
    last, first = ConvLSTM2D(2, (2, 3)), ConvLSTM2D(2, (2, 3), data_format='channels_first', return_state=True)
    model, other = built(last), built(first, (3, 5, 6))
    x = data(BATCH, TIME, *SHAPE)
    for got, wanted in zip(other.predict(x.transpose(0, 1, 4, 2, 3)), [model.predict(x), *reference(last, x)[1]]):
        np.testing.assert_allclose(got.transpose(0, 2, 3, 1), wanted, rtol=1e-4, atol=1e-5)


class NonZero(layers.Layer):
    """Masks the images that are all zero."""

    def compute_mask(self, inputs, mask=None):
        return K.any(K.not_equal(inputs, 0), axis=[2, 3, 4])


def test_masks_states_and_dropout(monkeypatch):
    layer = ConvLSTM2D(2, 3, return_sequences=True, dropout=.4, recurrent_dropout=.4)
    inputs, *given = Input((TIME, *SHAPE)), Input((3, 4, 2)), Input((3, 4, 2))
    model = models.Model([inputs, *given], layer(NonZero()(inputs), initial_state=given))
    x, states = data(BATCH, TIME, *SHAPE), [data(BATCH, 3, 4, 2, seed=i) for i in (1, 2)]
    x[0, 1], x[1, 2:] = 0, 0
    keep = (x != 0).any((2, 3, 4))
    np.testing.assert_allclose(model.predict([x, *states]), reference(layer, x, keep, states)[0], rtol=1e-4, atol=1e-5)
    drawn = []

    def dropout(ones, rate):
        torch.manual_seed(len(drawn))
        drawn.append(torch.bernoulli(ones * (1 - rate)) / (1 - rate))
        return drawn[-1]
    monkeypatch.setattr(K, 'dropout', dropout)
    got, = K.function([*model.inputs, K.learning_phase()], [model.output])([x, *states, 1])
    assert [tuple(m.shape) for m in drawn] == [(4, BATCH, *SHAPE), (4, BATCH, 3, 4, 2)]
    wanted = reference(layer, x, keep, states, *(m.numpy() for m in drawn))[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_stateful():
    layer = ConvLSTM2D(2, 3, stateful=True, batch_input_shape=(BATCH, TIME, *SHAPE))
    model, x = models.Sequential([layer]), data(BATCH, TIME, *SHAPE)
    first, states = reference(layer, x)
    for wanted in (first, reference(layer, x, states=states)[0]):
        np.testing.assert_allclose(model.predict(x, batch_size=BATCH), wanted[:, -1], rtol=1e-4, atol=1e-5)
    layer.reset_states()
    np.testing.assert_allclose(model.predict(x, batch_size=BATCH), first[:, -1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='needs to know its batch size'):
        ConvLSTM2D(2, 3, stateful=True)(Input(batch_shape=(2, TIME, None, 6, 3)))


def test_own_cell():
    class Cell(ConvLSTM2DCell):
        def call(self, inputs, states, training=None):
            h = self.input_conv(inputs, self.kernel_i, self.bias_i, self.padding) + self.recurrent_conv(
                states[0], self.recurrent_kernel_i)
            return h, [h, states[1]]

    layer = ConvRNN2D(Cell(2, 3, unit_forget_bias=False), return_sequences=True)
    model, x = built(layer), data(BATCH, TIME, *SHAPE)
    kernel, recurrent, bias = (w[..., :2] for w in layer.get_weights())
    h, outputs = np.zeros((BATCH, 3, 4, 2), 'float32'), model.predict(x)
    for t in range(TIME):
        h = conv(x[:, t], kernel) + bias + conv(h, np.ascontiguousarray(recurrent), padding='same')
        np.testing.assert_allclose(outputs[:, t], h, rtol=1e-4, atol=1e-5)


def test_bad_input():
    with pytest.raises(TypeError, match="Unrolling isn't possible"):
        ConvRNN2D(ConvLSTM2DCell(2, 3), unroll=True)
    with pytest.raises(TypeError, match='stack convolutional cells'):
        ConvRNN2D([ConvLSTM2DCell(2, 3)])
    with pytest.raises(ValueError, match='channel dimension of the inputs should be defined'):
        ConvLSTM2D(2, 3)(Input((TIME, 5, 6, None)))
    with pytest.raises(ValueError, match='`filters` of layer'):
        ConvLSTM2D(-2, 3)
    with pytest.raises(ValueError, match='not compatible with `cell.state_size`'):
        ConvLSTM2D(2, 3)(Input((TIME, *SHAPE)), initial_state=[Input((3, 4, 3)), Input((3, 4, 2))])
