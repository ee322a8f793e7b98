"""Layers of Keras 1: values against numpy; the recurrent base class through a subclass as scripts then wrote them."""
import numpy as np
import pytest
import torch

import kfacade as keras
from kfacade import backend as K
from kfacade.layers import Input, InputSpec, Masking
from kfacade.legacy.layers import AtrousConvolution2D, ConvRecurrent2D, Highway, MaxoutDense, Recurrent

X = np.random.RandomState(0).rand(4, 5, 3).astype('float32')
X[0, 2:] = X[1, 0] = X[3, :] = 0
W = np.random.RandomState(1).randn(3, 2).astype('float32')
U = np.random.RandomState(2).randn(2, 2).astype('float32')


class OldRNN(Recurrent):
    """A recurrent layer as scripts wrote them for Keras 2.0: half of the input, and a constant added at every step."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        if isinstance(input_shape, list):
            input_shape = input_shape[0]
        self.input_spec[0] = InputSpec(shape=(input_shape[0] if self.stateful else None, None, input_shape[2]))
        self.state_spec = InputSpec(shape=(None, self.units))
        self.states = [None]
        if self.stateful:
            self.reset_states()
        self.W = self.add_weight((input_shape[2], self.units), initializer='ones', name='W')
        self.U = self.add_weight((self.units, self.units), initializer='ones', name='U')
        self.built = True

    def preprocess_input(self, inputs, training=None):
        return 0.5 * inputs

    def get_constants(self, inputs, training=None):
        return [0.1 * K.sum(inputs, axis=1)[:, :1]]

    def step(self, inputs, states):
        h, constant = states
        h = K.tanh(K.dot(inputs, self.W) + K.dot(h, self.U) + constant)
        return h, [h]

    def get_config(self):
        return {'units': self.units, **super().get_config()}


def reference(x, mask=None, backwards=False, h=None):
    """All outputs of `OldRNN` with the weights W and U."""
    constant = 0.1 * x.sum(1)[:, :1]
    h, outputs = np.zeros((len(x), 2)) if h is None else h, []
    for t in range(x.shape[1])[::-1 if backwards else 1]:
        new = np.tanh(0.5 * x[:, t] @ W + h @ U + constant)
        h = new if mask is None else np.where(mask[:, t, None], new, h)
        outputs.append(h)
    return np.stack(outputs, 1)


def model_of(layer, masked=False):
    inputs = Input((5, 3))
    model = keras.Model(inputs, layer(Masking()(inputs) if masked else inputs))
    layer.set_weights([W, U])
    return model


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('backwards', [False, True])
def test_recurrent_outputs_and_states(masked, backwards):
    outputs = reference(X, X.any(-1) if masked else None, backwards)
    model = model_of(OldRNN(2, return_sequences=True, go_backwards=backwards), masked)
    assert model.output_shape == (None, 5, 2)
    np.testing.assert_allclose(model.predict(X), outputs, rtol=1e-5, atol=1e-6)
    model = model_of(OldRNN(2, return_state=True, go_backwards=backwards), masked)
    assert model.output_shape == [(None, 2), (None, 2)]
    for value in model.predict(X):
        np.testing.assert_allclose(value, outputs[:, -1], rtol=1e-5, atol=1e-6)
    assert model.layers[-1].compute_mask(None, 'mask') == [None, None]


def test_recurrent_with_initial_state():
    inputs, start = Input((5, 3)), Input((2,))
    layer = OldRNN(2)
    model = keras.Model([inputs, start], layer(inputs, initial_state=start))
    layer.set_weights([W, U])
    expected = reference(X, h=np.ones((4, 2)))[:, -1]
    np.testing.assert_allclose(model.predict([X, np.ones((4, 2))]), expected, rtol=1e-5, atol=1e-6)
    again = keras.Model.from_config(model.get_config(), custom_objects={'OldRNN': OldRNN})
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict([X, np.ones((4, 2))]), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match='has 1 states but was passed 2 initial states'):
        OldRNN(2)(inputs, initial_state=[K.zeros((4, 2)), K.zeros((4, 2))])


def test_recurrent_keeps_states():
    model = keras.Sequential([OldRNN(2, stateful=True, batch_input_shape=(4, 5, 3))])
    layer = model.layers[0]
    layer.set_weights([W, U])
    first = reference(X)[:, -1]
    np.testing.assert_allclose(model.predict(X, batch_size=4), first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(X, batch_size=4), reference(X, h=first)[:, -1], rtol=1e-5, atol=1e-6)
    model.reset_states()
    np.testing.assert_allclose(model.predict(X, batch_size=4), first, rtol=1e-5, atol=1e-6)
    layer.reset_states(np.ones((4, 2)))
    np.testing.assert_allclose(layer(torch.tensor(X)).detach(), reference(X, h=np.ones((4, 2)))[:, -1], rtol=1e-5,
                               atol=1e-6)
    np.testing.assert_allclose(K.get_value(layer.states[0]), reference(X, h=np.ones((4, 2)))[:, -1], rtol=1e-5,
                               atol=1e-6)
    with pytest.raises(ValueError, match=r'State 0 is incompatible.*expected shape=\(4, 2\), found shape=\(4, 3\)'):
        layer.reset_states([np.ones((4, 3))])
    with pytest.raises(AttributeError, match='Layer must be stateful'):
        OldRNN(2).reset_states()
    with pytest.raises(ValueError, match='needs to know its batch size'):
        keras.Sequential([OldRNN(2, stateful=True, input_shape=(5, 3))])


def test_recurrent_learns():
    model = model_of(OldRNN(2))
    model.compile('sgd', 'mse')
    losses = [model.train_on_batch(X, np.full((4, 2), 0.5)) for _ in range(5)]
    assert losses[-1] < losses[0]
    h, w, u = torch.zeros(4, 2), torch.tensor(W, requires_grad=True), torch.tensor(U, requires_grad=True)
    x = torch.tensor(X)
    for t in range(5):
        h = torch.tanh(0.5 * x[:, t] @ w + h @ u + 0.1 * x.sum(1)[:, :1])
    loss = (h - 0.5).square().mean()
    loss.backward()
    model.layers[-1].set_weights([W, U])
    np.testing.assert_allclose(model.train_on_batch(X, np.full((4, 2), 0.5)), loss.item(), rtol=1e-5)
    for after, before in zip(model.get_weights(), (w, u)):
        np.testing.assert_allclose(after, (before - 0.01 * before.grad).detach(), rtol=1e-5)


def test_step_has_to_be_defined():
    layer = Recurrent()
    layer.units, layer.states = 2, [None]
    with pytest.raises(NotImplementedError, match='has to define `step'):
        layer.step(None, [])


def test_conv_recurrent_shapes_and_config():
    layer = ConvRecurrent2D(4, 3, strides=2, padding='same', return_sequences=True)
    layer.states = [None, None]
    assert layer.compute_output_shape((None, 5, 8, 9, 3)) == (None, 5, 4, 5, 4)
    layer.return_state = True
    assert layer.compute_output_shape((None, 5, 8, 9, 3)) == [(None, 5, 4, 5, 4), (None, 4, 5, 4), (None, 4, 5, 4)]
    assert ConvRecurrent2D(4, 3, data_format='channels_first').compute_output_shape((2, 5, 3, 8, 9)) == (2, 4, 6, 7)
    assert list(layer.get_config()) == [
        'name', 'trainable', 'return_sequences', 'return_state', 'go_backwards', 'stateful', 'unroll', 'implementation',
        'filters', 'kernel_size', 'strides', 'padding', 'data_format', 'dilation_rate']


# ---------------------------------------------------------------- dense layers

def test_highway():
    with pytest.warns(UserWarning, match='The `Highway` layer is deprecated'):
        layer = Highway(input_dim=3, activation='tanh', W_regularizer='l2')
    model = keras.Sequential([layer])
    assert [w.name.split('/')[-1] for w in layer.weights] == ['W:0', 'W_carry:0', 'b:0', 'b_carry:0']
    np.testing.assert_array_equal(layer.get_weights()[3], [1, 1, 1])
    w, w_carry, b, b_carry = weights = [np.linspace(-1, 1, 9).reshape(3, 3), np.linspace(0, 1, 9).reshape(3, 3),
                                        np.arange(3.), -np.arange(3.)]
    layer.set_weights(weights)
    x = X[:, 0]
    gate = 1 / (1 + np.exp(-(x @ w_carry + b_carry)))
    np.testing.assert_allclose(model.predict(x), gate * np.tanh(x @ w + b) + (1 - gate) * x, rtol=1e-5)
    np.testing.assert_allclose(K.eval(layer.losses[0]), 0.01 * (w ** 2).sum(), rtol=1e-5)


def test_maxout_dense():
    with pytest.warns(UserWarning, match='The `MaxoutDense` layer is deprecated'):
        layer = MaxoutDense(2, nb_feature=3, input_dim=3, weights=[np.ones((3, 3, 2)), np.ones((3, 2))])
    model = keras.Sequential([layer])
    np.testing.assert_array_equal(layer.get_weights()[1], np.ones((3, 2)))
    w, b = np.random.RandomState(0).randn(3, 3, 2), np.random.RandomState(1).randn(3, 2)
    layer.set_weights([w, b])
    np.testing.assert_allclose(model.predict(X[:, 0]), (np.einsum('bi,fio->bfo', X[:, 0], w) + b).max(1), rtol=1e-5)
    assert model.output_shape == (None, 2)


@pytest.mark.filterwarnings('ignore:The `(Highway|MaxoutDense)` layer is deprecated')
@pytest.mark.parametrize('make', [lambda: Highway(init='one', bias=False, b_constraint='nonneg'),
                                  lambda: MaxoutDense(2, bias=False, W_regularizer='l1')], ids=['highway', 'maxout'])
def test_dense_without_bias_from_config(make):
    layer = make()
    x = Input((3,))
    y = layer(x)
    assert all('b' not in w.name.split('/')[-1] for w in layer.weights) and layer.b is None
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    np.testing.assert_array_equal(again(torch.tensor(X[:, 0])).shape, (4, K.int_shape(y)[1]))


def test_arguments_of_earlier_versions():
    with pytest.warns(UserWarning) as caught:
        Highway(transform_bias=-2)
    assert [str(w.message) for w in caught] == ['`transform_bias` argument is deprecated and has been removed.',
                                                'The `Highway` layer is deprecated and will be removed after 06/2017.']
    assert {w.filename for w in caught} == {__file__}
    with pytest.warns(UserWarning, match='has been deprecated'):
        assert AtrousConvolution2D(4, (3, 3), atrous_rate=(2, 2)).dilation_rate == (2, 2)
