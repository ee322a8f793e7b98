"""Recurrent layers whose products are convolutions."""
from functools import partial

from .. import backend as K
from ..backend.spatial import conv_nd, refuse_dilated_strides
from ..engine.base_layer import InputSpec
from ..legacy import interfaces
from ..utils import conv_utils
from ..utils.generic_utils import transpose_shape
from . import _recurrent_kernels as kernels
from ._base import SpatialLayer, argument_names, checked_sizes, spatial_settings
from ._recurrent_cells import LSTMCell, state_sizes
from .convolutional import KERNEL_LAYOUT
from .recurrent import RNN, CellLayer

__all__ = ['ConvLSTM2D', 'ConvLSTM2DCell', 'ConvRNN2D', 'RNN']


def image_shapes(layer, convolution, input_shape, channels):
    """As `RNN._all_shapes`, where each step gives the image, and the states of these `channels`, of a `convolution`."""
    batch, time, *image = input_shape
    data_format = convolution.data_format
    sizes = [conv_utils.conv_output_length(*axis) for axis in zip(
        image[1:] if data_format == 'channels_first' else image, convolution.kernel_size, (convolution.padding,) * 2,
        convolution.strides, convolution.dilation_rate)]
    output, *states = (
        checked_sizes(layer, transpose_shape((batch, *sizes, count), data_format, (1, 2)), input_shape)
        for count in (convolution.filters, *channels))
    return [(batch, time, *output[1:]) if layer.return_sequences else output, *states]


class ConvRNN2D(RNN):
    """`RNN` over images: (batch, time, rows, columns, channels), or with the channels before the rows.

    The cell has, besides what `RNN` asks for, the attributes of a convolution from which shapes follow: `filters`,
    `kernel_size`, `strides`, `padding`, `dilation_rate`, `data_format`. States are images of the output's size.
    Raises TypeError for `unroll` and for a list of cells.
    """

    def __init__(self, cell, return_sequences=False, return_state=False, go_backwards=False, stateful=False,
                 unroll=False, **kwargs):
        if unroll:
            raise TypeError("Unrolling isn't possible with convolutional RNNs.")
        if isinstance(cell, (list, tuple)):
            raise TypeError('It is not possible at the moment to stack convolutional cells.')
        super().__init__(cell, return_sequences, return_state, go_backwards, stateful, unroll, **kwargs)
        self.input_spec = [InputSpec(ndim=5)]

    _feature_axis = property(lambda self: 1 if self.cell.data_format == 'channels_first' else -1)

    def _all_shapes(self, input_shape):
        return image_shapes(self, self.cell, input_shape, state_sizes(self.cell))


class ConvLSTM2DCell(LSTMCell):
    """The cell of `ConvLSTM2D`: one step; see there."""

    weight_layouts = {'kernel': KERNEL_LAYOUT, 'recurrent_kernel': KERNEL_LAYOUT, 'bias': None}
    gates, kind, _channel_axis = 4, property(lambda self: self), SpatialLayer._channel_axis

    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1),
                 activation='tanh', recurrent_activation='hard_sigmoid', use_bias=True,
                 kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.,
                 recurrent_dropout=0., **kwargs):
        super(LSTMCell, self).__init__({**locals(), **spatial_settings(2, locals())}, kwargs)
        self.state_size = (filters, filters)

    settings = argument_names(__init__)

    def build(self, input_shape):
        refuse_dilated_strides(f'Layer {self.name}', self.strides, self.dilation_rate)
        super().build(input_shape)
        self.kernel_shape = tuple(self.kernel.shape)

    def input_conv(self, x, w, b=None, padding='valid'):
        """The convolution of the input `x` with a kernel in Keras' layout, and a bias."""
        y = K.conv2d(x, w, strides=self.strides, padding=padding, data_format=self.data_format,
                     dilation_rate=self.dilation_rate)
        return y if b is None else K.bias_add(y, b, data_format=self.data_format)

    def recurrent_conv(self, x, w):
        """The convolution of the state `x` with a kernel in Keras' layout; it keeps the size."""
        return K.conv2d(x, w, strides=(1, 1), padding='same', data_format=self.data_format)

    def _convolved(self, x, weight, bias, masks, **kwargs):
        product = partial(conv_nd, data_format=self.data_format, **kwargs)
        return kernels.project(x, weight, bias, masks, product, self._channel_axis)

    def project(self, x, masks=None):
        time = x.shape[:-4]  # the steps of a whole sequence go through the convolution as one batch
        masks = masks if masks is None or not time else masks.repeat(1, *time, 1, 1, 1)
        y = self._convolved(x.flatten(0, -4), *self._weights()[:2], masks, strides=self.strides, padding=self.padding,
                            dilation=self.dilation_rate)
        return y.unflatten(0, (*time, -1))

    def step(self, *arguments):
        """That of `kernels.LSTM`, by convolution."""
        return kernels.LSTM.step(*arguments, partial(self._convolved, padding='same'), self._channel_axis)

    def over_sequence(self, x, states, training, keep=None, last_states=False, functions=None):
        projected = self.project(x, self._drop(x[0], 'dropout', training))
        masks = self._drop(states[0], 'recurrent_dropout', training)
        return kernels.run('scan', self, projected, states, (None, None, *self._weights()[2:]), masks,
                           *(functions or self._functions()), keep)


class ConvLSTM2D(CellLayer, ConvRNN2D):
    """`LSTM` with convolutions for products (Shi et al. 2015, arXiv:1506.04214).

    Input: (batch, time, rows, columns, channels), or (batch, time, channels, rows, columns). The convolution of the
    input is that of `Conv2D` (`filters`, `kernel_size`, `strides`, `padding`, `dilation_rate`); that of the state keeps
    its size. Other arguments as of `LSTM`.
    """

    cell_class = ConvLSTM2DCell

    @interfaces.legacy_convlstm2d_support
    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1),
                 activation='tanh', recurrent_activation='hard_sigmoid', use_bias=True,
                 kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 return_sequences=False, go_backwards=False, stateful=False, dropout=0., recurrent_dropout=0.,
                 **kwargs):
        super().__init__(locals(), kwargs)
