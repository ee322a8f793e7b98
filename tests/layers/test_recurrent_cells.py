"""Cells: a user's own, those built in, and stacks of them."""
import numpy as np
import pytest
import torch
from test_recurrent import BATCH, FEATURES, MASKS, TIME, UNITS, data, masked_model, reference

from kfacade import backend as K
from kfacade import layers, models, optimizers, regularizers
from kfacade.layers import GRU, LSTM, RNN, GRUCell, Input, LSTMCell, SimpleRNN, SimpleRNNCell, StackedRNNCells
from kfacade.layers.recurrent import _generate_dropout_mask
from kfacade.utils.generic_utils import CustomObjectScope


class MinimalCell(layers.Layer):
    """The example of Keras' documentation, with slices of a weight that are taken in `build`."""

    def __init__(self, units, **kwargs):
        self.units = self.state_size = units
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 2 * self.units), initializer='uniform', name='kernel',
                                      regularizer=regularizers.l2(.5))
        self.recurrent_kernel = self.add_weight(shape=(self.units, self.units), initializer='uniform',
                                                name='recurrent_kernel')
        self.kernel_a, self.kernel_b = self.kernel[:, :self.units], self.kernel[:, self.units:]
        self.built = True

    def call(self, inputs, states):
        output = K.dot(inputs, self.kernel_a) * K.tanh(K.dot(inputs, self.kernel_b)) + K.dot(
            states[0], self.recurrent_kernel)
        return output, [output]

    def get_config(self):
        return {**super().get_config(), 'units': self.units}


def minimal_reference(x, kernel, recurrent, mask=None):
    h, outputs = np.zeros((len(x), len(recurrent))), []
    for t in range(x.shape[1]):
        new = x[:, t] @ kernel[:, :len(recurrent)] * np.tanh(x[:, t] @ kernel[:, len(recurrent):]) + h @ recurrent
        h = new if mask is None else np.where(np.array(mask)[:, t, None] > 0, new, h)
        outputs.append(h)
    return np.stack(outputs, 1)


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_custom_cell(mask):
    layer = RNN(MinimalCell(UNITS), return_sequences=True, name='own')
    model, x = masked_model(layer, mask)
    np.testing.assert_allclose(model.predict(x), minimal_reference(x, *model.get_weights(), mask), rtol=1e-5, atol=1e-6)
    assert [w.name.partition('/')[2] for w in layer.trainable_weights] == ['kernel:0', 'recurrent_kernel:0']
    assert len(model.losses) == 1 and len(list(model.parameters())) == 2
    with CustomObjectScope({'MinimalCell': MinimalCell}):
        again = models.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict(x), model.predict(x))


def test_custom_cell_trains():
    model = models.Sequential([RNN(MinimalCell(UNITS), input_shape=(TIME, FEATURES))])
    model.compile(optimizers.SGD(.1), 'mse')
    before, x, y = model.get_weights(), data(8, TIME, FEATURES), np.zeros((8, UNITS))
    losses = [model.train_on_batch(x, y) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert not any(np.array_equal(*pair) for pair in zip(before, model.get_weights()))
    assert all(g is not None for g in K.gradients(model.output, model.trainable_weights))


class DroppingCell(MinimalCell):
    """Keeps its dropout mask from the first step on, as the cells of Keras 2.2.4 do."""

    _dropout_mask = None

    def call(self, inputs, states, training=None):
        if self._dropout_mask is None:
            self._dropout_mask = _generate_dropout_mask(K.ones_like(inputs), .5, training=training, count=2)
        self.step = getattr(self, 'step', 0) + 1
        output = states[0] + self._dropout_mask[1][:, :self.units] * self.step
        if training is None:
            output._uses_learning_phase = True
        return output, [output]


@pytest.mark.parametrize('unroll, steps', [(False, [2, 4, 6, 8, 10]), (True, [1, 3, 6, 10, 15])])
def test_cell_that_keeps_its_dropout_mask(unroll, steps):
    """As in Keras the step is called twice, and the second call is what runs; unrolled, once for each step."""
    cell = DroppingCell(UNITS)
    model, x = masked_model(RNN(cell, return_sequences=True, unroll=unroll), None)
    np.testing.assert_array_equal(model.predict(x), np.ones((BATCH, 1, UNITS)) * np.reshape(steps, (5, 1)))
    run = K.function([model.input, K.learning_phase()], [model.output])
    runs = [run([np.ones((32, *x.shape[1:])), 1])[0] for _ in range(2)]
    for outputs in runs:
        assert set(np.unique(outputs[:, 0])) == {0., 2. * steps[0]}
        np.testing.assert_allclose(outputs[:, -1] * steps[0], steps[-1] * outputs[:, 0])
    assert not np.array_equal(*runs) and cell._dropout_mask is None and cell.step == (5 if unroll else 2)


class ConstantCell(MinimalCell):
    def call(self, inputs, states, constants, training=None):
        output, states = super().call(inputs[0] if isinstance(inputs, list) else inputs, states)
        output = output + constants[0] * K.in_train_phase(2., 1., training)
        return output, [output]

    def build(self, input_shape):
        assert input_shape[1] == (None, UNITS)
        super().build(input_shape[0])


def test_constants_and_training_reach_the_cell():
    inputs, constant = Input((TIME, FEATURES)), Input((UNITS,))
    layer = RNN(ConstantCell(UNITS))
    model = models.Model([inputs, constant], layer(inputs, constants=constant))
    model.set_weights([0 * w for w in model.get_weights()])
    x, c = data(BATCH, TIME, FEATURES), data(BATCH, UNITS)
    np.testing.assert_allclose(model.predict([x, c]), c, rtol=1e-6)
    np.testing.assert_allclose(K.function([*model.inputs, K.learning_phase()], [model.output])([x, c, 1])[0], 2 * c,
                               rtol=1e-6)
    assert layer.get_config()['num_constants'] == 1
    with CustomObjectScope({'ConstantCell': ConstantCell}):
        again = models.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict([x, c]), c, rtol=1e-6)


def test_subclassed_built_in_cell_uses_its_own_call():
    class Doubled(LSTMCell):
        def call(self, inputs, states, training=None):
            h, new = super().call(inputs, states, training=training)
            return 2 * h, new

    plain, doubled = LSTM(UNITS), RNN(Doubled(UNITS))
    model, x = masked_model(doubled, None)
    masked_model(plain, None)
    plain.set_weights(doubled.get_weights())
    np.testing.assert_allclose(model.predict(x), 2 * reference(plain, x)[0][:, -1], rtol=1e-5, atol=1e-6)


def test_subclassed_layer_adds_to_call():
    class Shifted(GRU):
        def call(self, inputs, mask=None, training=None, initial_state=None):
            return super().call(inputs + 1., mask=mask, training=training, initial_state=initial_state) * 2.

    layer = Shifted(UNITS)
    model, x = masked_model(layer, None)
    plain = GRU(UNITS)
    masked_model(plain, None)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(model.predict(x), 2 * reference(plain, x + 1)[0][:, -1], rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(layer(torch.tensor(x)), model.predict(x), rtol=1e-6)


@pytest.mark.parametrize('make', [lambda: LSTMCell(UNITS), lambda: GRUCell(UNITS), lambda: SimpleRNNCell(UNITS)],
                         ids=['lstm', 'gru', 'simple'])
def test_cell_called_on_symbols(make):
    """A cell unrolled by hand is what the layer over it computes."""
    cell = make()
    inputs = Input((TIME, FEATURES))
    whole = models.Model(inputs, RNN(cell)(inputs))
    states = [K.zeros_like(inputs[:, 0, :1]) * K.zeros((1, UNITS))] * (2 if isinstance(cell, LSTMCell) else 1)
    for t in range(TIME):
        output, states = cell.call(inputs[:, t], states)
    x = data(BATCH, TIME, FEATURES)
    np.testing.assert_allclose(K.function([inputs], [output])([x])[0], whole.predict(x), rtol=1e-5, atol=1e-6)


def test_gate_slices_of_cells():
    cell = LSTMCell(UNITS)
    RNN(cell)(Input((TIME, FEATURES)))
    kernel, recurrent, bias = cell.get_weights()
    np.testing.assert_array_equal(K.eval(cell.kernel_f), kernel[:, UNITS:2 * UNITS])
    np.testing.assert_array_equal(K.eval(cell.recurrent_kernel_o), recurrent[:, 3 * UNITS:])
    np.testing.assert_array_equal(K.eval(cell.bias_f), np.ones(UNITS))
    cell = GRUCell(UNITS, reset_after=True)
    RNN(cell)(Input((TIME, FEATURES)))
    cell.set_weights([data(*w.shape) for w in cell.weights])
    np.testing.assert_array_equal(K.eval(cell.kernel_z), cell.get_weights()[0][:, :UNITS])
    np.testing.assert_array_equal(K.eval(cell.recurrent_bias_h), cell.get_weights()[2][1, 2 * UNITS:])


def test_a_cell_may_set_the_gate_slices_of_its_own():
    """As Keras' cells do in `build`."""
    class Doubled(LSTMCell):
        def build(self, input_shape):
            super().build(input_shape)
            self.kernel_i = 2 * self.kernel[:, :self.units]

    cell = Doubled(UNITS)
    RNN(cell)(Input((TIME, FEATURES)))
    np.testing.assert_array_equal(K.eval(cell.kernel_i), 2 * cell.get_weights()[0][:, :UNITS])


# ---------------------------------------------------------------- stacks

def test_stacked_cells_equal_stacked_layers():
    cells = [LSTMCell(3), GRUCell(UNITS), SimpleRNNCell(4)]
    layer = RNN(cells, return_sequences=True, return_state=True)
    model, x = masked_model(layer, None)
    inputs = Input((TIME, FEATURES))
    tops = [LSTM(3, return_sequences=True, return_state=True), GRU(UNITS, return_sequences=True, return_state=True),
            SimpleRNN(4, return_sequences=True, return_state=True)]
    y, states = inputs, []
    for top, cell in zip(tops, cells):
        y, *last = top(y)
        top.set_weights(cell.get_weights())
        states += last
    for got, wanted in zip(model.predict(x), models.Model(inputs, [y, *states]).predict(x)):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert layer.cell.state_size == (3, 3, UNITS, 4) and layer.cell.output_size == 4
    assert [w.shape[-1] for w in layer.weights] == [12, 12, 12, 6, 6, 6, 4, 4, 4]


def test_stacked_cells_in_reverse_state_order():
    with pytest.warns(UserWarning, match='reverse_state_order'):
        cell = StackedRNNCells([LSTMCell(3), GRUCell(UNITS)], reverse_state_order=True)
    assert cell.state_size == (UNITS, 3, 3)
    model, x = masked_model(RNN(cell, return_state=True), None)
    output, gru_h, lstm_h, lstm_c = model.predict(x)
    np.testing.assert_array_equal(output, gru_h)
    assert lstm_h.shape == lstm_c.shape == (BATCH, 3)


def test_stacked_cells_under_a_mask():
    """As in Keras, a masked step gives the first state, here that of the first cell; with `unroll` the last output."""
    x = data(BATCH, TIME, FEATURES)
    outputs = {}
    for unroll in (False, True):
        cells = [GRUCell(UNITS), SimpleRNNCell(UNITS)]
        model, x = masked_model(RNN(cells, return_sequences=True, return_state=True, unroll=unroll),
                                MASKS['right padded'])
        outputs[unroll], first, second = model.predict(x)
        np.testing.assert_array_equal(outputs[unroll][1, 2:], [second[1] if unroll else first[1]] * 3)
    np.testing.assert_allclose(outputs[False][0], outputs[True][0], rtol=1e-6)
    with pytest.raises(ValueError, match='their sizes are 3 and 2'):
        masked_model(RNN([GRUCell(3), SimpleRNNCell(2)]), MASKS['holes'])


def test_cell_with_layers_of_its_own():
    class Nested(layers.Layer):
        def __init__(self, units, **kwargs):
            self.state_size = units
            self.dense = layers.Dense(units, activation='tanh')
            super().__init__(**kwargs)

        def build(self, input_shape):
            self.dense.build((None, input_shape[-1] + self.state_size))
            self.trainable_weights = self.dense.trainable_weights
            self.built = True

        def call(self, inputs, states):
            output = self.dense.call(K.concatenate([inputs, states[0]]))
            return output, [output]

    layer, plain = RNN(Nested(UNITS)), SimpleRNN(UNITS)
    model, x = masked_model(layer, None)
    masked_model(plain, None)
    kernel, bias = layer.get_weights()
    plain.set_weights([kernel[:FEATURES], kernel[FEATURES:], bias])
    np.testing.assert_allclose(model.predict(x), reference(plain, x)[0][:, -1], rtol=1e-5, atol=1e-6)
