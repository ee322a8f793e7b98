"""Custom RNN cells and wrappers as scripts for Keras 2.2.x write them, unchanged, against numpy."""
import numpy as np
import pytest
from custom_harness import check_layer, data, sigmoid
from numpy.testing import assert_allclose, assert_array_equal

import kfacade.backend as K
from kfacade import initializers, layers
from kfacade.engine.topology import InputSpec, Layer
from kfacade.layers import RNN, Dense, Input, TimeDistributed, Wrapper
from kfacade.models import Model, Sequential, load_model

# ---------------------------------------------------------------- recurrent cells

class MinimalRNNCell(Layer):  # the one of Keras' documentation

    def __init__(self, units, **kwargs):
        self.units = units
        self.state_size = units
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer='uniform', name='kernel')
        self.recurrent_kernel = self.add_weight(shape=(self.units, self.units), initializer='uniform',
                                                name='recurrent_kernel')
        self.built = True

    def call(self, inputs, states):
        prev_output = states[0]
        h = K.dot(inputs, self.kernel)
        output = h + K.dot(prev_output, self.recurrent_kernel)
        return output, [output]

    def get_config(self):
        return {**super().get_config(), 'units': self.units}


class ConstantsCell(MinimalRNNCell):
    """A cell that also sees constants: their sum with the input is what goes in."""

    def build(self, input_shape):
        if isinstance(input_shape, list):
            input_shape = input_shape[0]
        super().build(input_shape)

    def call(self, inputs, states, constants):
        return super().call(inputs + constants[0], states)


def recurrence(weights, x, h=None):
    h = np.zeros((len(x), weights[1].shape[0])) if h is None else h
    steps = []
    for t in range(x.shape[1]):
        h = x[:, t] @ weights[0] + h @ weights[1]
        steps.append(h)
    return np.stack(steps, 1)


def check_cells(model, x, formula, tmp_path, **objects):
    model.set_weights([0.5 * data(*w.shape, seed=i) for i, w in enumerate(model.get_weights())])
    arrays = x if isinstance(x, list) else [x]
    assert_allclose(model.predict(x), formula(model.get_weights(), *arrays), rtol=1e-4, atol=1e-5)
    model.compile('adam', 'mse')
    model.train_on_batch(x, np.zeros_like(model.predict(x)))
    assert_allclose(model.predict(x), formula(model.get_weights(), *arrays), rtol=1e-4, atol=1e-5)
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects=objects)
    assert_array_equal(loaded.predict(x), model.predict(x))
    assert len(list(model.parameters())) == len(model.get_weights())


def test_documented_cell(tmp_path):
    model = Sequential([RNN(MinimalRNNCell(4), input_shape=(3, 2))])
    assert model.count_params() == 24
    check_cells(model, data(5, 3, 2), lambda w, x: recurrence(w, x)[:, -1], tmp_path, MinimalRNNCell=MinimalRNNCell)


def test_stacked_cells(tmp_path):
    model = Sequential([RNN([MinimalRNNCell(4), MinimalRNNCell(3)], return_sequences=True, input_shape=(3, 2))])
    check_cells(model, data(5, 3, 2), lambda w, x: recurrence(w[2:], recurrence(w[:2], x)), tmp_path,
                MinimalRNNCell=MinimalRNNCell)


def test_cell_with_constants_and_initial_state(tmp_path):
    x, h, c = Input((3, 2)), Input((4,)), Input((2,))
    model = Model([x, h, c], RNN(ConstantsCell(4), unroll=False)(x, initial_state=h, constants=c))
    check_cells(model, [data(5, 3, 2), data(5, 4, seed=1), data(5, 2, seed=2)],
                lambda w, x, h, c: recurrence(w, x + c[:, None], h)[:, -1], tmp_path, ConstantsCell=ConstantsCell)


def test_bidirectional_cell(tmp_path):
    model = Sequential([layers.Bidirectional(RNN(MinimalRNNCell(4)), merge_mode='concat', input_shape=(3, 2))])
    check_cells(model, data(5, 3, 2), lambda w, x: np.concatenate(
        [recurrence(w[:2], x)[:, -1], recurrence(w[2:], x[:, ::-1])[:, -1]], 1), tmp_path,
        MinimalRNNCell=MinimalRNNCell)


def test_masked_steps_keep_the_state_of_a_custom_cell():
    model = Sequential([layers.Masking(input_shape=(4, 2)), RNN(MinimalRNNCell(3))])
    x = data(3, 4, 2)
    x[0, 2:] = x[1, 1] = 0
    expected = [recurrence(model.get_weights(), row[None, (row != 0).any(1)])[0, -1] for row in x]
    assert_allclose(model.predict(x), expected, rtol=1e-4, atol=1e-6)


def test_stateful_custom_cell():
    model = Sequential([RNN(MinimalRNNCell(3), stateful=True, batch_input_shape=(2, 2, 2))])
    x = data(2, 4, 2)
    whole = recurrence(model.get_weights(), x)
    assert_allclose(model.predict(x[:, :2]), whole[:, 1], rtol=1e-4, atol=1e-6)
    assert_allclose(model.predict(x[:, 2:]), whole[:, 3], rtol=1e-4, atol=1e-6)
    model.reset_states()
    assert_allclose(model.predict(x[:, :2]), whole[:, 1], rtol=1e-4, atol=1e-6)


def test_subclass_of_a_built_in_cell(tmp_path):
    class Peephole(layers.LSTMCell):
        """Only what stays of an LSTM: its weights; the step is another one."""

        def call(self, inputs, states, training=None):
            h, c = states[:2]
            z = K.bias_add(K.dot(inputs, self.kernel) + K.dot(h, self.recurrent_kernel), self.bias)
            i, f = K.sigmoid(z[:, :self.units]), K.sigmoid(z[:, self.units:2 * self.units])
            c = f * c + i * K.tanh(z[:, 2 * self.units:3 * self.units])
            h = K.sigmoid(z[:, 3 * self.units:]) * K.tanh(c)
            return h, [h, c]

    def formula(weights, x):
        h = c = np.zeros((len(x), 3))
        for t in range(x.shape[1]):
            i, f, g, o = np.split(x[:, t] @ weights[0] + h @ weights[1] + weights[2], 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        return h

    check_cells(Sequential([RNN(Peephole(3), input_shape=(4, 2))]), data(5, 4, 2), formula, tmp_path,
                Peephole=Peephole)


# ---------------------------------------------------------------- wrappers

class WeightScale(Wrapper):
    """Weight normalisation: the wrapped layer computes with ``g * kernel / norm``."""

    def build(self, input_shape=None):
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        self.g = self.layer.add_weight(name='g', shape=(K.int_shape(self.layer.kernel)[-1],), initializer='ones')
        self.kernel = self.layer.kernel
        super().build()

    def call(self, inputs):
        norm = K.sqrt(K.sum(K.square(self.kernel), axis=0, keepdims=True))
        return self.layer.activation(K.bias_add(K.dot(inputs, self.g * self.kernel / norm), self.layer.bias))

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)


def test_wrapper_that_adds_a_weight(tmp_path):
    check_layer(WeightScale(Dense(3, activation='tanh', name='d'), name='wrap'), data(4, 2),
                lambda w, x: np.tanh(x @ (w[2] * w[0] / np.sqrt((w[0] ** 2).sum(0))) + w[1]), tmp_path,
                ['kernel', 'bias', 'g'])


class Residual(Wrapper):
    """Calls the wrapped layer, twice, on symbols."""

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        super().build(input_shape)

    def call(self, inputs):
        return inputs + self.layer.call(self.layer.call(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize('in_time', [False, True])
def test_wrapper_that_calls_its_layer(in_time, tmp_path):
    layer, inputs = Residual(Dense(2, activation='tanh')), Input((3, 2))
    model = Model(inputs, TimeDistributed(layer)(inputs) if in_time else layer(inputs))
    x = data(4, 3, 2)
    model.compile('sgd', 'mse')
    model.train_on_batch(x, x)
    w, b = model.get_weights()
    assert_allclose(model.predict(x), x + np.tanh(np.tanh(x @ w + b) @ w + b), rtol=1e-4, atol=1e-6)
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects={'Residual': Residual})
    assert_array_equal(loaded.predict(x), model.predict(x))


class ConcreteDropout(Wrapper):
    """Learns its dropout rate (Gal et al. 2017): weight, losses and noise of a wrapper."""

    def __init__(self, layer, weight_regularizer=1e-2, dropout_regularizer=1e-1, **kwargs):
        assert 'kernel_regularizer' not in kwargs
        super().__init__(layer, **kwargs)
        self.weight_regularizer = K.cast_to_floatx(weight_regularizer)
        self.dropout_regularizer = K.cast_to_floatx(dropout_regularizer)
        self.supports_masking = True
        self.p_logit = None
        self.p = None

    def build(self, input_shape=None):
        self.input_spec = InputSpec(shape=input_shape)
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        super().build()
        self.p_logit = self.layer.add_weight(name='p_logit', shape=(1,), initializer=initializers.Constant(-1.),
                                             trainable=True)
        self.p = K.sigmoid(self.p_logit[0])
        input_dim = np.prod(input_shape[1:])
        weight = self.layer.kernel
        kernel_regularizer = self.weight_regularizer * K.sum(K.square(weight)) / (1. - self.p)
        dropout_regularizer = self.p * K.log(self.p)
        dropout_regularizer += (1. - self.p) * K.log(1. - self.p)
        dropout_regularizer *= self.dropout_regularizer * input_dim
        self.layer.add_loss(K.sum(kernel_regularizer + dropout_regularizer))

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def concrete_dropout(self, x):
        eps = K.cast_to_floatx(K.epsilon())
        unif_noise = K.random_uniform(shape=K.shape(x))
        drop_prob = (K.log(self.p + eps) - K.log(1. - self.p + eps) + K.log(unif_noise + eps)
                     - K.log(1. - unif_noise + eps))
        drop_prob = K.sigmoid(drop_prob / 0.1)
        x *= 1. - drop_prob
        x /= 1. - self.p
        return x

    def call(self, inputs, training=None):
        def relaxed_dropped_inputs():
            return self.layer.call(self.concrete_dropout(inputs))
        return K.in_train_phase(relaxed_dropped_inputs, self.layer.call(inputs), training=training)


def test_concrete_dropout():
    layer = ConcreteDropout(Dense(2), input_shape=(3,))
    model = Sequential([layer])
    model.compile('adam', 'mse')
    x = data(2000, 3)
    kernel, bias, logit = model.get_weights()
    assert_allclose(model.predict(x), x @ kernel + bias, rtol=1e-4, atol=1e-6)
    p = sigmoid(logit[0])
    penalty = 1e-2 * (kernel ** 2).sum() / (1 - p) + 0.3 * (p * np.log(p) + (1 - p) * np.log(1 - p))
    assert_allclose(model.evaluate(x, model.predict(x), verbose=0), penalty, rtol=1e-4)
    noisy = K.function([model.input, K.learning_phase()], [model.output])([x, 1])[0]
    assert 0.05 < np.abs(noisy - x @ kernel).mean() and abs((noisy - x @ kernel).mean()) < 0.05
    model.train_on_batch(x, x[:, :2])
    assert model.get_weights()[2] != logit
