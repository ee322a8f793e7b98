"""Convolutions in one, two and three dimensions, and the layers that pad, crop and enlarge images.

Kernels are stored in torch's order, with the channels innermost in memory (``torch.channels_last``), so that nothing is
copied on the way through a stack of layers.
"""
import functools
import warnings

import torch

from ..backend import spatial
from ..backend.variable import Layout
from ..engine.base_layer import InputSpec, opaque
from ..legacy import interfaces
from ..utils import conv_utils
from ._base import SpatialLayer, handed_on, spatial_settings
from .pooling import AveragePooling1D, AveragePooling2D, AveragePooling3D, MaxPooling1D, MaxPooling2D, MaxPooling3D

__all__ = ['AtrousConv1D', 'AtrousConv2D', 'AtrousConvolution1D', 'AtrousConvolution2D', 'AveragePooling1D',
           'AveragePooling2D', 'AveragePooling3D', 'Conv1D', 'Conv2D', 'Conv2DTranspose', 'Conv3D', 'Conv3DTranspose',
           'Convolution1D', 'Convolution2D', 'Convolution2DTranspose', 'Convolution3D', 'Cropping1D', 'Cropping2D',
           'Cropping3D', 'Deconv2D', 'Deconv3D', 'Deconvolution2D', 'Deconvolution3D', 'DepthwiseConv2D',
           'MaxPooling1D', 'MaxPooling2D', 'MaxPooling3D', 'SeparableConv1D', 'SeparableConv2D',
           'SeparableConvolution1D', 'SeparableConvolution2D', 'UpSampling1D', 'UpSampling2D', 'UpSampling3D',
           'ZeroPadding1D', 'ZeroPadding2D', 'ZeroPadding3D', '_Cropping', '_UpSampling', '_ZeroPadding']

# ---------------------------------------------------------------- how torch stores kernels

def _kernel_to_keras(weight):
    """(a, b, spatial...) as (spatial..., b, a), a view."""
    return weight.permute(*range(2, weight.dim()), 1, 0)


def _kernel_from_keras(kernel):
    """(spatial..., b, a) as (a, b, spatial...), with b innermost in memory."""
    # As a matrix, which torch transposes fast; a clone, for `contiguous()` keeps the odd stride of a single filter, on
    # which torch's float64 gradient fails.
    rows = kernel.flatten(0, -2).t().clone(memory_format=torch.contiguous_format)
    return rows.view(-1, *kernel.shape[:-1]).movedim(-1, 1)


def _depthwise_to_keras(depth_multiplier, weight):
    """(channels * multiplier, 1, spatial...) as (spatial..., channels, multiplier), a view."""
    return weight.view(-1, depth_multiplier, *weight.shape[2:]).permute(*range(2, weight.dim()), 0, 1)


def _depthwise_from_keras(kernel):
    """(spatial..., channels, multiplier) as (channels * multiplier, 1, spatial...)."""
    return spatial.torch_depthwise(kernel).contiguous()


KERNEL_LAYOUT = Layout(_kernel_to_keras, _kernel_from_keras)


def depthwise_layout(depth_multiplier):
    """How torch stores a kernel that takes each channel to `depth_multiplier` channels of its own."""
    return Layout(functools.partial(_depthwise_to_keras, depth_multiplier), _depthwise_from_keras)


# ---------------------------------------------------------------- convolution

_COMMON = ('filters', 'kernel_size', 'strides', 'padding', 'data_format', 'dilation_rate', 'activation', 'use_bias')
# The arguments that only some convolutions have, with their defaults.
_FURTHER = {
    **dict.fromkeys(('kernel_initializer', 'depthwise_initializer', 'pointwise_initializer'), 'glorot_uniform'),
    'bias_initializer': 'zeros', 'depth_multiplier': 1, 'activity_regularizer': None,
    **{f'{weight}_{part}': None for weight in ('kernel', 'depthwise', 'pointwise', 'bias')
       for part in ('regularizer', 'constraint')}}


class _Conv(SpatialLayer):
    """Base of convolutions in `rank` dimensions.

    Arguments:
        filters: number of output channels. kernel_size, strides, dilation_rate: int, or one int a dimension.
        padding: 'valid', 'same' (as TensorFlow pads: the odd zero at the end) or, in one dimension, 'causal'.
        data_format: 'channels_last', (batch, spatial..., channels), or 'channels_first', (batch, channels, spatial...).
    The kernel has the shape (spatial..., input channels, filters) in Keras.
    """

    settings = _COMMON + ('kernel_initializer', 'bias_initializer', 'kernel_regularizer', 'bias_regularizer',
                          'activity_regularizer', 'kernel_constraint', 'bias_constraint')
    scaled_weight, weight_layouts = 'kernel', {'kernel': KERNEL_LAYOUT, 'bias': None}
    gradients_are_new = True

    def __init__(self, rank, filters, kernel_size, strides=1, padding='valid', data_format=None, dilation_rate=1,
                 activation=None, use_bias=True, **kwargs):
        further = {name: kwargs.pop(name, default) for name, default in _FURTHER.items()
                   if name in kwargs or name in self.settings}
        super().__init__(rank, data_format, **kwargs)
        self.configure(locals(), **spatial_settings(rank, locals()), **further)
        if self.padding == 'causal' and self.data_format != 'channels_last':
            raise ValueError(f'When using causal padding in `{type(self).__name__}`, `data_format` must be '
                             f'"channels_last" (temporal data). Received: {data_format}')

    def build(self, input_shape):
        spatial.refuse_dilated_strides(f'Layer {self.name}', self.strides, self.dilation_rate)
        if len(input_shape) != self.rank + 2:
            raise ValueError(f'Inputs to layer {self.name} should have rank {self.rank + 2}. Received input shape: '
                             f'{tuple(input_shape)}')
        channels = input_shape[self._channel_axis]
        if channels is None:
            raise ValueError('The channel dimension of the inputs should be defined. Found `None`. (Layer '
                             f'{self.name}, input shape {tuple(input_shape)})')
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self._channel_axis: channels})
        self._add_weights(channels)
        self.built = True

    def _add_weights(self, channels):
        self.kernel = self.add_setting_weight('kernel', (*self.kernel_size, channels, self.filters))
        self.add_bias((self.filters,))

    @opaque
    def call(self, inputs, activation=None):
        params = self._params
        return spatial.conv_nd(inputs, params.kernel, params.bias, self.strides, self.padding, self.dilation_rate,
                               self.data_format, activate=activation or self._activate)

    def _output_channels(self, channels):
        return self.filters


class Conv1D(_Conv):
    """Convolution over the steps of (batch, steps, channels). See `_Conv` for the arguments."""

    @interfaces.legacy_conv1d_support
    def __init__(self, filters, kernel_size, strides=1, padding='valid', data_format='channels_last', dilation_rate=1,
                 activation=None, use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros',
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(1, **handed_on(locals()))


class Conv2D(_Conv):
    """Convolution over images: (batch, rows, columns, channels), or channels first. See `_Conv` for the arguments."""

    @interfaces.legacy_conv2d_support
    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1),
                 activation=None, use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros',
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(2, **handed_on(locals()))


class Conv3D(_Conv):
    """Convolution over volumes: (batch, depth, rows, columns, channels), or channels first. See `_Conv`."""

    @interfaces.legacy_conv3d_support
    def __init__(self, filters, kernel_size, strides=(1, 1, 1), padding='valid', data_format=None,
                 dilation_rate=(1, 1, 1), activation=None, use_bias=True, kernel_initializer='glorot_uniform',
                 bias_initializer='zeros', kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(3, **handed_on(locals()))


# ---------------------------------------------------------------- transposed convolution

class _Transposed(_Conv):
    """What makes a convolution go the other way: from its output's size to its input's.

    `output_padding` decides between the input sizes that give the same output size: None for the largest, else how many
    positions to add at the end of the smallest. It must be smaller than the strides.
    The kernel has the shape (spatial..., filters, input channels) in Keras.
    """

    scaled_weight = None

    def __init__(self, *args, output_padding=None, **kwargs):
        super().__init__(*args, **kwargs)
        if output_padding is not None:
            output_padding = conv_utils.normalize_tuple(output_padding, self.rank, 'output_padding')
            self.check_integers('output_padding', output_padding, 0)
            if any(pad >= stride for pad, stride in zip(output_padding, self.strides)):
                raise ValueError(f'Stride {self.strides} must be greater than output padding {output_padding}')
        self.output_padding = output_padding

    def _add_weights(self, channels):
        self.kernel = self.add_setting_weight('kernel', (*self.kernel_size, self.filters, channels))
        self.add_bias((self.filters,))

    @opaque
    def call(self, inputs, activation=None):
        params = self._params
        sizes = self._output_sizes(self._spatial(inputs.shape))
        y = spatial.conv_transpose_nd(inputs, params.kernel, sizes, params.bias, self.strides, self.padding,
                                      self.dilation_rate, self.data_format)
        return self.activated(y, activation)

    def _output_sizes(self, sizes):
        paddings = self.output_padding or (None,) * self.rank
        return [conv_utils.deconv_length(size, stride, kernel, self.padding, padding, dilation)
                for size, stride, kernel, padding, dilation in zip(sizes, self.strides, self.kernel_size, paddings,
                                                                   self.dilation_rate)]


class Conv2DTranspose(_Transposed, Conv2D):
    """Transposed convolution ("deconvolution") of images. See `_Conv` and `_Transposed` for the arguments."""

    settings = Conv2D.settings + ('output_padding',)

    @interfaces.legacy_deconv2d_support
    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', output_padding=None, data_format=None,
                 dilation_rate=(1, 1), activation=None, use_bias=True, kernel_initializer='glorot_uniform',
                 bias_initializer='zeros', kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(**handed_on(locals()))


class Conv3DTranspose(_Transposed, Conv3D):
    """Transposed convolution ("deconvolution") of volumes. See `_Conv` and `_Transposed` for the arguments."""

    settings = tuple(name for name in Conv3D.settings if name != 'dilation_rate') + ('output_padding',)

    def __init__(self, filters, kernel_size, strides=(1, 1, 1), padding='valid', output_padding=None, data_format=None,
                 activation=None, use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros',
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(**handed_on(locals()))


# ---------------------------------------------------------------- separable convolution

class _Depthwise:
    """What makes a convolution take each channel, by itself, to `depth_multiplier` channels."""

    def _add_weights(self, channels):
        """Returns how many channels there are then."""
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = self.add_setting_weight('depthwise_kernel', shape)
        return channels * self.depth_multiplier

    @property
    def weight_layouts(self):
        return {'depthwise_kernel': depthwise_layout(self.depth_multiplier), 'pointwise_kernel': KERNEL_LAYOUT,
                'bias': None}


class _SeparableConv(_Depthwise, _Conv):
    """Base of depthwise convolutions with a 1x1 convolution after them, which mixes the channels.

    The kernels have the shapes (spatial..., input channels, depth_multiplier) and (1..., input channels *
    depth_multiplier, filters) in Keras.
    """

    settings = _COMMON + (
        'bias_initializer', 'bias_regularizer', 'activity_regularizer', 'bias_constraint', 'depth_multiplier',
        'depthwise_initializer', 'pointwise_initializer', 'depthwise_regularizer', 'pointwise_regularizer',
        'depthwise_constraint', 'pointwise_constraint')
    scaled_weight = 'pointwise_kernel'

    def _add_weights(self, channels):
        shape = (*(1,) * self.rank, super()._add_weights(channels), self.filters)
        self.pointwise_kernel = self.add_setting_weight('pointwise_kernel', shape)
        self.add_bias((self.filters,))

    @opaque
    def call(self, inputs, activation=None):
        params = self._params
        return spatial.separable_conv_nd(
            inputs, params.depthwise_kernel, params.pointwise_kernel, params.bias, self.strides, self.padding,
            self.dilation_rate, self.data_format, activation or self._activate)


class SeparableConv1D(_SeparableConv):
    """Separable convolution over the steps of (batch, steps, channels). See `_SeparableConv` and `_Conv`."""

    def __init__(self, filters, kernel_size, strides=1, padding='valid', data_format='channels_last', dilation_rate=1,
                 depth_multiplier=1, activation=None, use_bias=True, depthwise_initializer='glorot_uniform',
                 pointwise_initializer='glorot_uniform', bias_initializer='zeros', depthwise_regularizer=None,
                 pointwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, pointwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(1, **handed_on(locals()))


class SeparableConv2D(_SeparableConv):
    """Separable convolution over images. See `_SeparableConv` and `_Conv` for the arguments."""

    @interfaces.legacy_separable_conv2d_support
    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1),
                 depth_multiplier=1, activation=None, use_bias=True, depthwise_initializer='glorot_uniform',
                 pointwise_initializer='glorot_uniform', bias_initializer='zeros', depthwise_regularizer=None,
                 pointwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, pointwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(2, **handed_on(locals()))


class DepthwiseConv2D(_Depthwise, Conv2D):
    """Convolution of each channel of images by itself, to `depth_multiplier` channels. See `_Conv`.

    The kernel has the shape (rows, columns, input channels, depth_multiplier) in Keras.
    """

    settings = tuple(name for name in SeparableConv2D.settings if name != 'filters' and 'pointwise' not in name)
    scaled_weight = 'depthwise_kernel'

    def __init__(self, kernel_size, strides=(1, 1), padding='valid', depth_multiplier=1, data_format=None,
                 activation=None, use_bias=True, depthwise_initializer='glorot_uniform', bias_initializer='zeros',
                 depthwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters=None, **handed_on(locals()))

    def _add_weights(self, channels):
        self.add_bias((super()._add_weights(channels),))

    @opaque
    def call(self, inputs, training=None, activation=None):
        kernel, bias = self._params.depthwise_kernel, self._params.bias
        return spatial.conv_nd(inputs, kernel, bias, self.strides, self.padding, self.dilation_rate, self.data_format,
                               kernel.shape[0] // self.depth_multiplier, activation or self._activate)

    _uses_phase = False

    def _output_channels(self, channels):
        return channels * self.depth_multiplier


# ---------------------------------------------------------------- padding, cropping, enlarging

def _pairs(value, rank, name):
    """One (before, after) for each spatial axis, from an int, an int an axis, or a pair an axis."""
    if isinstance(value, int):
        return ((value, value),) * rank
    if not hasattr(value, '__len__'):
        raise ValueError(f'`{name}` should be either an int, a tuple of {rank} ints (symmetric along each axis), or a '
                         f'tuple of {rank} tuples of 2 ints (before and after, along each axis). Found: {value}')
    if len(value) != rank:
        raise ValueError(f'`{name}` should have {"two" if rank == 2 else rank} elements. Found: {value}')
    ordinals = ('1st', '2nd', '3rd')
    return tuple(conv_utils.normalize_tuple(v, 2, f'{ordinals[i]} entry of {name}') for i, v in enumerate(value))


class _Resizing(SpatialLayer):
    """Base of layers that change the sizes of the spatial axes by the first of their settings, one entry an axis.

    ``_resized(size, entry)`` says what becomes of a known size by the entry for its axis.
    """

    least = 0

    def __init__(self, entries, data_format=None, **kwargs):
        super().__init__(len(entries), data_format, **kwargs)
        self.check_integers(self.settings[0], entries, self.least)
        setattr(self, self.settings[0], entries)

    def _output_sizes(self, sizes):
        return [None if size is None else self._resized(size, entry)
                for size, entry in zip(sizes, getattr(self, self.settings[0]))]

    def get_config(self):
        config = super().get_config()
        if self.rank == 1:  # Keras writes the entry by itself, and no data format
            config[self.settings[0]], = config[self.settings[0]]
            del config['data_format']
        return config


class _ZeroPadding(_Resizing):
    settings = ('padding', 'data_format')

    @opaque
    def call(self, inputs):
        return spatial.pad_nd(inputs, self.padding, self.data_format)

    def _resized(self, size, entry):
        return size + sum(entry)


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after the steps of (batch, steps, channels): `padding` at either end, or (before, after)."""

    def __init__(self, padding=1, **kwargs):
        super().__init__((conv_utils.normalize_tuple(padding, 2, 'padding'),), 'channels_last', **kwargs)


class ZeroPadding2D(_ZeroPadding):
    """Zeros around images. `padding`: an int, (rows, columns), or ((top, bottom), (left, right))."""

    @interfaces.legacy_zeropadding2d_support
    def __init__(self, padding=(1, 1), data_format=None, **kwargs):
        super().__init__(_pairs(padding, 2, 'padding'), data_format, **kwargs)


class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes. `padding`: an int, one int an axis, or one (before, after) an axis."""

    @interfaces.legacy_zeropadding3d_support
    def __init__(self, padding=(1, 1, 1), data_format=None, **kwargs):
        super().__init__(_pairs(padding, 3, 'padding'), data_format, **kwargs)


class _Cropping(_Resizing):
    settings = ('cropping', 'data_format')
    smallest_output = 0

    def __init__(self, cropping, data_format=None, **kwargs):
        super().__init__(cropping, data_format, **kwargs)
        window = [slice(start, -end or None) for start, end in cropping]
        self._index = (..., *window) if self.data_format == 'channels_first' else (..., *window, slice(None))

    @opaque
    def call(self, inputs):
        return inputs[self._index]

    def _resized(self, size, entry):
        return size - sum(entry)


class Cropping1D(_Cropping):
    """Cuts steps off (batch, steps, channels): `cropping` at either end, or (before, after)."""

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__((conv_utils.normalize_tuple(cropping, 2, 'cropping'),), 'channels_last', **kwargs)


class Cropping2D(_Cropping):
    """Cuts the edges off images. `cropping`: an int, (rows, columns), or ((top, bottom), (left, right))."""

    @interfaces.legacy_cropping2d_support
    def __init__(self, cropping=((0, 0), (0, 0)), data_format=None, **kwargs):
        super().__init__(_pairs(cropping, 2, 'cropping'), data_format, **kwargs)


class Cropping3D(_Cropping):
    """Cuts the edges off volumes. `cropping`: an int, one int an axis, or one (before, after) an axis."""

    @interfaces.legacy_cropping3d_support
    def __init__(self, cropping=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(_pairs(cropping, 3, 'cropping'), data_format, **kwargs)


class _UpSampling(_Resizing):
    settings = ('size', 'data_format')
    least, interpolation = 1, 'nearest'

    @opaque
    def call(self, inputs):
        return spatial.upsample_nd(inputs, self.size, self.data_format, self.interpolation, self.as_tf_keras)

    def _resized(self, size, entry):
        return size * entry


class UpSampling1D(_UpSampling):
    """Repeats each step of (batch, steps, channels) `size` times."""

    @interfaces.legacy_upsampling1d_support
    def __init__(self, size=2, **kwargs):
        size = int(size) if isinstance(size, float) else size  # as Keras does
        super().__init__(conv_utils.normalize_tuple(size, 1, 'size'), 'channels_last', **kwargs)


class UpSampling2D(_UpSampling):
    """Enlarges images `size` = (rows, columns) times, by repetition ('nearest') or by 'bilinear' interpolation.

    With `as_tf_keras`, 'bilinear' is that between the centres of pixels.
    """

    settings = ('size', 'data_format', 'interpolation')

    @interfaces.legacy_upsampling2d_support
    def __init__(self, size=(2, 2), data_format=None, interpolation='nearest', **kwargs):
        super().__init__(conv_utils.normalize_tuple(size, 2, 'size'), data_format, **kwargs)
        if interpolation not in ('nearest', 'bilinear'):
            raise ValueError(f'interpolation should be one of "nearest" or "bilinear". Received: {interpolation}')
        self.interpolation = interpolation
        if interpolation == 'bilinear':
            self.is_as_tf_keras()


class UpSampling3D(_UpSampling):
    """Enlarges volumes `size` times along each axis, by repetition."""

    @interfaces.legacy_upsampling3d_support
    def __init__(self, size=(2, 2, 2), data_format=None, **kwargs):
        super().__init__(conv_utils.normalize_tuple(size, 3, 'size'), data_format, **kwargs)


# ---------------------------------------------------------------- other names

def _atrous(layer, args, kwargs):
    name = layer.__name__
    warnings.warn(f'The `{name.replace("Conv", "AtrousConvolution")}` layer has been deprecated. Use instead the '
                  f'`{name}` layer with the `dilation_rate` argument.', stacklevel=3)
    return layer(*args, dilation_rate=kwargs.pop('atrous_rate', 1), **kwargs)


def AtrousConvolution1D(*args, **kwargs):
    """A `Conv1D` whose dilation rate is given as `atrous_rate`, as in Keras 1."""
    return _atrous(Conv1D, args, kwargs)


def AtrousConvolution2D(*args, **kwargs):
    """A `Conv2D` whose dilation rate is given as `atrous_rate`, as in Keras 1."""
    return _atrous(Conv2D, args, kwargs)


for _layer in (AtrousConvolution1D, AtrousConvolution2D):  # files name them as classes
    _layer.from_config = lambda config, _layer=_layer: _layer(**config)

Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
Convolution2DTranspose = Deconvolution2D = Deconv2D = Conv2DTranspose
Deconvolution3D = Deconv3D = Conv3DTranspose
AtrousConv1D, AtrousConv2D = AtrousConvolution1D, AtrousConvolution2D
