"""Convolutions that do not share their weights between positions."""
import math

import torch

from .. import backend as K
from ..engine.base_layer import InputSpec, Layer, opaque
from ..legacy import interfaces
from ..utils import conv_utils
from ._base import BuiltinLayer, checked_sizes

__all__ = ['InputSpec', 'Layer', 'LocallyConnected1D', 'LocallyConnected2D']


class _LocallyConnected(BuiltinLayer):
    """Base of convolutions in `rank` dimensions with a kernel of its own for each output position.

    Arguments as those of a convolution, but `padding` can only be 'valid', and the spatial sizes of the input must be
    known. The kernel has the shape (output positions, inputs of a position, filters), the bias (spatial..., filters).
    """

    settings = ('filters', 'kernel_size', 'strides', 'padding', 'data_format', 'activation', 'use_bias',
                'kernel_initializer', 'bias_initializer', 'kernel_regularizer', 'bias_regularizer',
                'activity_regularizer', 'kernel_constraint', 'bias_constraint')
    weight_layouts = {'kernel': None, 'bias': None}

    def __init__(self, rank, filters, kernel_size, strides, padding, data_format, **settings_and_kwargs):
        super().__init__(**{k: v for k, v in settings_and_kwargs.items() if k not in self.settings})
        self.rank = rank
        self.configure(
            filters=filters, kernel_size=conv_utils.normalize_tuple(kernel_size, rank, 'kernel_size'),
            strides=conv_utils.normalize_tuple(strides, rank, 'strides'),
            padding=conv_utils.normalize_padding(padding), data_format=K.normalize_data_format(data_format),
            **{k: v for k, v in settings_and_kwargs.items() if k in self.settings})
        if self.padding != 'valid':
            raise ValueError(f'Invalid border mode for {type(self).__name__} (only "valid" is supported): {padding}')
        self.input_spec = InputSpec(ndim=rank + 2)

    def _split(self, shape):
        """The spatial sizes and the number of channels."""
        first = self.data_format == 'channels_first'
        return (shape[2:], shape[1]) if first else (shape[1:-1], shape[-1])

    def build(self, input_shape):
        sizes, channels = self._split(input_shape)
        if None in (*sizes, channels):
            raise ValueError(f'The spatial dimensions and the channels of the inputs to a {type(self).__name__} layer '
                             f'should be fully-defined, but layer {self.name} received the inputs shape '
                             f'{tuple(input_shape)}')
        checked_sizes(self, self.compute_output_shape(input_shape), input_shape)
        output_sizes = self._output_sizes(sizes)
        self.kernel_shape = (math.prod(output_sizes), math.prod(self.kernel_size) * channels, self.filters)
        self.kernel = self.add_setting_weight('kernel', self.kernel_shape)
        self.add_bias((*output_sizes, self.filters))
        axis = 1 if self.data_format == 'channels_first' else -1
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        self.built = True

    @opaque
    def call(self, inputs):
        params, rank = self._params, self.rank
        first = self.data_format == 'channels_first'
        patches = inputs
        for axis, (size, stride) in enumerate(zip(self.kernel_size, self.strides), start=2 if first else 1):
            patches = patches.unfold(axis, size, stride)
        # Now (batch, positions and channels, window); wanted is (positions, batch, window and channels).
        positions = range(2, rank + 2) if first else range(1, rank + 1)
        window = range(rank + 2, 2 * rank + 2)
        content = (1, *window) if first else (*window, rank + 1)
        sizes = [patches.shape[axis] for axis in positions]
        patches = patches.permute(*positions, 0, *content).reshape(math.prod(sizes), inputs.shape[0], -1)
        y = torch.bmm(patches, params.kernel).view(*sizes, inputs.shape[0], self.filters)
        y = y.permute(rank, rank + 1, *range(rank)) if first else y.movedim(rank, 0)
        if params.bias is not None:
            y = y + params.bias.reshape(y.shape[1:])  # channels first too: Keras reshapes there, it does not transpose
        return self.activated(y)

    def _output_sizes(self, sizes):
        return [conv_utils.conv_output_length(size, kernel, self.padding, stride)
                for size, kernel, stride in zip(sizes, self.kernel_size, self.strides)]

    def compute_output_shape(self, input_shape):
        sizes = self._output_sizes(self._split(input_shape)[0])
        if self.data_format == 'channels_first':
            return (input_shape[0], self.filters, *sizes)
        return (input_shape[0], *sizes, self.filters)


class LocallyConnected1D(_LocallyConnected):
    """Unshared convolution over the steps of (batch, steps, channels). See `_LocallyConnected` for the arguments."""

    settings = tuple(name for name in _LocallyConnected.settings if name != 'data_format')

    @interfaces.legacy_conv1d_support
    def __init__(self, filters, kernel_size, strides=1, padding='valid', data_format=None, activation=None,
                 use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(
            1, filters, kernel_size, strides, padding, data_format, activation=activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint, **kwargs)
        self.data_format = 'channels_last'  # whatever was given: Keras checks the argument and uses it nowhere


class LocallyConnected2D(_LocallyConnected):
    """Unshared convolution over images. See `_LocallyConnected` for the arguments."""

    @interfaces.legacy_conv2d_support
    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, activation=None,
                 use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(
            2, filters, kernel_size, strides, padding, data_format, activation=activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint, **kwargs)
