"""CuDNNGRU and CuDNNLSTM: GRU and LSTM with weights in the order of cuDNN, on any device."""
from functools import partial

from ..backend.variable import Layout
from ._recurrent_cells import GRUCell, LSTMCell, swapped
from .recurrent import RNN, CellLayer

__all__ = ['CuDNNGRU', 'CuDNNLSTM', 'RNN']


def _to_keras(gates, weight):
    """torch's (gates * units, inputs) as (inputs, gates * units): what cuDNN lays out is only called so, not turned."""
    weight = swapped(weight, 0) if gates == 3 else weight
    return weight.reshape(gates, weight.shape[1], -1).transpose(0, 1).flatten(1)


def _from_keras(gates, kernel):
    """The inverse of `_to_keras`."""
    weight = kernel.unflatten(1, (gates, -1)).transpose(0, 1).reshape(-1, kernel.shape[0])
    return swapped(weight, 0) if gates == 3 else weight


def _gru_bias_to_keras(bias):
    return swapped(bias).flatten()


def _gru_bias_from_keras(bias):
    return swapped(bias.view(2, -1))


_GRU_LAYOUT, _LSTM_LAYOUT = (Layout(partial(_to_keras, gates), partial(_from_keras, gates)) for gates in (3, 4))


class _CuDNNCell:
    """The part of a cell's settings that cuDNN leaves no choice about."""

    use_bias, dropout, recurrent_dropout, reset_after = True, 0., 0., True

    def __init__(self, **settings):
        super().__init__(**settings)
        self.configure(activation='tanh', recurrent_activation='sigmoid')


def _with_choice(settings):
    return tuple(name for name in settings if not hasattr(_CuDNNCell, name) and name != 'implementation'
                 and not name.endswith('activation'))


class _CuDNNGRUCell(_CuDNNCell, GRUCell):
    settings = _with_choice(GRUCell.settings)
    weight_layouts = {'kernel': _GRU_LAYOUT, 'recurrent_kernel': _GRU_LAYOUT,
                      'bias': Layout(_gru_bias_to_keras, _gru_bias_from_keras)}

    def add_bias(self, shape):
        super(GRUCell, self).add_bias((2 * shape[0],))


class _CuDNNLSTMCell(_CuDNNCell, LSTMCell):
    settings = _with_choice(LSTMCell.settings)
    weight_layouts = {'kernel': _LSTM_LAYOUT, 'recurrent_kernel': _LSTM_LAYOUT, 'bias': None}
    bias_parts = (5, 1, 2)

    def add_bias(self, shape):
        super().add_bias((2 * shape[0],))

    def _weights(self):
        kernel, bias, recurrent_kernel, _ = super()._weights()
        return kernel, bias.view(2, -1).sum(0), recurrent_kernel, None


class _CuDNNRNN(CellLayer):
    """Base of the layers whose arithmetic is cuDNN's. They do not take masks: a ValueError says so."""

    flags, unroll = RNN.settings[:-1], False

    def __init__(self, settings, kwargs):
        super().__init__(settings, kwargs)
        self.supports_masking = False

    def call(self, inputs, mask=None, training=None, initial_state=None):
        if any(m is not None for m in (mask if isinstance(mask, list) else [mask])):
            raise ValueError(f'Masking is not supported for CuDNN RNNs (layer {self.name}).')
        return super().call(inputs, training=training, initial_state=initial_state)


class CuDNNGRU(_CuDNNRNN):
    """`GRU` with ``reset_after=True`` and sigmoid gates; arguments as there.

    The bias has the shape (6 * units,): input z, r, h, then recurrent z, r, h.
    """

    cell_class = _CuDNNGRUCell

    def __init__(self, units, kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal',
                 bias_initializer='zeros', kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 return_sequences=False, return_state=False, stateful=False, **kwargs):
        super().__init__(locals(), kwargs)


class CuDNNLSTM(_CuDNNRNN):
    """`LSTM` with sigmoid gates; arguments as there.

    The bias has the shape (8 * units,): input i, f, c, o, then recurrent i, f, c, o.
    """

    cell_class = _CuDNNLSTMCell

    def __init__(self, units, kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal',
                 bias_initializer='zeros', unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, return_sequences=False, return_state=False, stateful=False, **kwargs):
        super().__init__(locals(), kwargs)
