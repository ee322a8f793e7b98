"""Convolutions that do not share their weights between positions."""
import math

from ..backend.spatial import local_conv_nd
from ..engine.base_layer import InputSpec, opaque
from ..legacy import interfaces
from ._base import SpatialLayer, spatial_settings
from .convolutional import Conv2D

__all__ = ['LocallyConnected1D', 'LocallyConnected2D']


class _LocallyConnected(SpatialLayer):
    """Base of convolutions in `rank` dimensions with a kernel of its own for each output position.

    Arguments as those of a convolution, but `padding` can only be 'valid', and the spatial sizes of the input must be
    known. The kernel has the shape (output positions, inputs of a position, filters), the bias (spatial..., filters).
    """

    settings = tuple(name for name in Conv2D.settings if name != 'dilation_rate')
    weight_layouts = {'kernel': None, 'bias': None}
    _output_channels = Conv2D._output_channels

    def __init__(self, rank, arguments, kwargs):
        super().__init__(rank, arguments['data_format'], **kwargs)
        self.configure(arguments, **spatial_settings(rank, arguments))
        if self.padding != 'valid':
            raise ValueError(f'Invalid border mode for {type(self).__name__} (only "valid" is supported): '
                             f'{self.padding}')

    def build(self, input_shape):
        sizes, channels = self._spatial(input_shape), input_shape[self._channel_axis]
        if None in (*sizes, channels):
            raise ValueError(f'The spatial dimensions and the channels of the inputs to a {type(self).__name__} layer '
                             f'should be fully-defined, but layer {self.name} received the inputs shape '
                             f'{tuple(input_shape)}')
        output_sizes = self._spatial(self.compute_output_shape(input_shape))
        self.input_sizes = tuple(input_shape[1:])
        self.kernel_shape = (math.prod(output_sizes), math.prod(self.kernel_size) * channels, self.filters)
        self.kernel = self.add_setting_weight('kernel', self.kernel_shape)
        self.add_bias((*output_sizes, self.filters))
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self._channel_axis: channels})
        self.built = True

    @opaque
    def call(self, inputs, activation=None):
        params = self._params
        y = local_conv_nd(inputs, params.kernel, self.kernel_size, self.strides, self.data_format)
        if params.bias is not None:
            y = y + params.bias.reshape(y.shape[1:])  # channels first too: Keras reshapes there, it does not transpose
        return self.activated(y, activation)


class LocallyConnected1D(_LocallyConnected):
    """Unshared convolution over the steps of (batch, steps, channels). See `_LocallyConnected` for the arguments."""

    settings = tuple(name for name in _LocallyConnected.settings if name != 'data_format')

    @interfaces.legacy_conv1d_support
    def __init__(self, filters, kernel_size, strides=1, padding='valid', data_format=None, activation=None,
                 use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(1, locals(), kwargs)
        self.data_format = 'channels_last'  # whatever was given: Keras checks the argument and uses it nowhere


class LocallyConnected2D(_LocallyConnected):
    """Unshared convolution over images. See `_LocallyConnected` for the arguments."""

    @interfaces.legacy_conv2d_support
    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, activation=None,
                 use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(2, locals(), kwargs)
