"""Convolutions, pooling, padding and resizing over 1, 2 or 3 spatial dimensions, with Keras' layouts and padding.

Two levels. `conv_nd`, `conv_transpose_nd` and `pool_nd` are live functions for layers: data in Keras' layout, weights
in torch's. The backend functions below them take kernels in Keras' layout and record themselves.

Channels-last data is permuted, never copied: as a permuted view it is torch's ``channels_last`` memory format. One
spatial dimension runs as two, the first of size 1, because torch would make a contiguous copy for it.
"""
import functools
import math
import operator

import torch
import torch.nn.functional as F

from ..config import normalize_data_format
from .math import as_ints, resolved
from .private_ops import convolution
from .shapes import is_unknown
from .symbolic import as_tensor, op, rank

__all__ = ['bias_add', 'conv1d', 'conv2d', 'conv2d_transpose', 'conv3d', 'conv3d_transpose', 'depthwise_conv2d',
           'local_conv1d', 'local_conv2d', 'pool2d', 'pool3d', 'resize_images', 'resize_volumes', 'separable_conv1d',
           'separable_conv2d', 'spatial_2d_padding', 'spatial_3d_padding', 'temporal_padding']

# By the number of dimensions of the data, with batch and channels.
_CONV_TRANSPOSE = {4: F.conv_transpose2d, 5: F.conv_transpose3d}
_POOL = {'max': {4: F.max_pool2d, 5: F.max_pool3d}, 'avg': {4: F.avg_pool2d, 5: F.avg_pool3d}}


# ---------------------------------------------------------------- live helpers

def _sizes(value, rank):
    """An int, or one int a dimension, as a tuple for the dimensions that torch gets: two where `rank` is 1."""
    value = (value,) * rank if isinstance(value, int) else tuple(value)
    return (1, *value) if rank == 1 else value


def _widened(x):
    """Data, or a weight, in torch's order with two spatial dimensions for one."""
    return x.unsqueeze(2) if x.dim() == 3 else x


def to_channels_first(x, data_format='channels_last'):
    """A view of `x` in torch's order (batch, channels, spatial...)."""
    return x if data_format == 'channels_first' else x.permute(0, -1, *range(1, x.dim() - 1))


def from_channels_first(x, data_format='channels_last'):
    """The inverse of `to_channels_first`."""
    return x if data_format == 'channels_first' else x.permute(0, *range(2, x.dim()), 1)


def _restored(y, rank, data_format):
    """The result for data of `rank` spatial dimensions that was brought in torch's order and widened."""
    return from_channels_first(y.squeeze(2) if rank == 1 else y, data_format)


def same_padding(size, kernel, stride=1, dilation=1):
    """Zeros (before, after) a dimension of `size` for 'same' padding as TensorFlow has it: the odd one comes after."""
    extent = (kernel - 1) * dilation
    total = extent if stride == 1 else max(((size - 1) // stride) * stride + extent + 1 - size, 0)
    return total // 2, total - total // 2


def _paddings(padding, rank, sizes, kernel, strides, dilation):
    if padding == 'valid':
        return [(0, 0)] * len(kernel)
    if padding == 'same':
        return [same_padding(*each) for each in zip(sizes, kernel, strides, dilation)]
    if padding == 'causal' and rank == 1:
        return [(0, 0), ((kernel[1] - 1) * dilation[1], 0)]
    raise ValueError(f'Invalid padding: {padding!r}. Expected "valid" or "same" (or "causal", in one dimension).')


def _is_open(pad):
    """Whether a padding depends on a size that an export leaves open, so that no `if` may ask for it."""
    return isinstance(sum(pad), torch.SymInt)


def _missing(sizes, extents, strides, pads, is_meta):
    """How many zeros the axes lack that are smaller than a window, and these axes: their output is to be empty.

    TensorFlow's kernels give an empty output there, up to two strides below; the rest is left for torch to refuse, and
    on the meta device so is what is known beforehand.
    """
    missing = [0 if is_meta or not isinstance(size, int) else extent - size - sum(pad)
               for size, extent, pad in zip(sizes, extents, pads)]
    missing = [short if 0 < short < 2 * stride else 0 for short, stride in zip(missing, strides)]
    return missing, [axis for axis, short in enumerate(missing, start=2) if short]


def _emptied(y, axes):
    for axis in axes:
        y = y.narrow(axis, 0, 0)
    return y


@functools.lru_cache(4096)
def _plan(sizes, kernel, strides, padding, dilation, rank, is_meta):
    """What a convolution pads: zeros at both ends of each dimension, what `F.pad` adds, and the axes to empty then."""
    pads = _paddings(padding, rank, sizes, kernel, strides, dilation)
    symmetric = tuple([0 if _is_open(pad) else min(pad) for pad in pads])
    extents = [(size - 1) * rate + 1 for size, rate in zip(kernel, dilation)]
    missing, empty = _missing(sizes, extents, strides, pads, is_meta)
    added = [side for pad, both, short in zip(reversed(pads), reversed(symmetric), reversed(missing))
             for side in (pad[0] - both, pad[1] - both + short)]
    pads_more = any(isinstance(side, torch.SymInt) or side for side in added)
    return symmetric, added if pads_more else None, empty


def conv_nd(x, weight, bias=None, strides=1, padding='valid', dilation=1, data_format='channels_last', groups=1,
            activate=None):
    """Convolution (cross-correlation, as everywhere in deep learning) of a live tensor.

    Arguments:
        x: data in the layout that `data_format` names; so is the result. Only asymmetric padding copies it.
        weight: (filters, channels / groups, spatial...), torch's layout; its rank decides on 1, 2 or 3 dimensions.
        bias: (filters,) or None.
        strides, dilation: int, or one int a dimension.
        padding: 'valid', 'same' or (one dimension) 'causal'.
        activate: what to call on the result; None for nothing.
    """
    rank, relu = weight.dim() - 2, activate is torch.relu
    x, weight = _widened(to_channels_first(x, data_format)), _widened(weight)
    strides, dilation = _sizes(strides, rank), _sizes(dilation, rank)
    sizes, kernel = x.shape[2:], weight.shape[2:]
    plan = _plan if isinstance(sum(sizes), int) else _plan.__wrapped__  # an export leaves sizes open
    padded, added, empty = plan(sizes, kernel, strides, padding, dilation, rank, x.is_meta)
    if added:
        x = F.pad(x, added)
    y = convolution(x, weight, bias, strides, padded, dilation, groups, relu)
    y = _restored(_emptied(y, empty) if empty else y, rank, data_format)
    return y if relu or activate is None else activate(y)


def conv_transpose_nd(x, weight, output_size, bias=None, strides=1, padding='valid', dilation=1,
                      data_format='channels_last'):
    """Transposed convolution of a live tensor: the gradient of `conv_nd` with respect to data of `output_size`.

    `weight` is (channels, filters, spatial...), torch's layout; `output_size` holds one int a spatial dimension.
    Raises ValueError for an output size that a convolution would not turn into the size of `x`.
    """
    rank = weight.dim() - 2
    x, weight = _widened(to_channels_first(x, data_format)), _widened(weight)
    strides, dilation, output_size = _sizes(strides, rank), _sizes(dilation, rank), _sizes(output_size, rank)
    cropped, missing = [], []
    for size, k, stride, rate, wanted in zip(x.shape[2:], weight.shape[2:], strides, dilation, output_size):
        extent = (k - 1) * rate + 1
        if size != (-(-wanted // stride) if padding == 'same' else (wanted - extent) // stride + 1) and not (
                x.is_meta and (is_unknown(size) or is_unknown(wanted))):
            raise ValueError(f'A transposed convolution with padding {padding!r}, kernel size {k}, stride {stride} and '
                             f'dilation {rate} cannot turn size {size} into {wanted}.')
        surplus = (size - 1) * stride + extent - wanted
        crop, lack = max(surplus, 0) // 2, max(-surplus, 0)
        # oneDNN takes twice as long to add a bias where the output's size is no multiple of the stride.
        over = (2 * crop - lack - extent) % stride if bias is not None and x.is_cpu else 0
        cropped.append(crop)
        missing.append(lack + over if lack + over < stride else lack)
    if x.is_meta:
        if x.shape[1] != weight.shape[0]:
            raise ValueError(f'A kernel for {weight.shape[0]} channels does not fit data of {x.shape[1]}.')
        return _restored(x.new_empty((x.shape[0], weight.shape[1], *output_size)), rank, data_format)
    if {*strides} == {1}:  # a convolution by the mirrored kernel, which is as fast or, of few channels, faster
        mirrored = weight.transpose(0, 1).flip(*range(2, weight.dim()))
        pads = [(k - 1) * rate - crop for k, rate, crop in zip(weight.shape[2:], dilation, cropped)]
        y = convolution(x, mirrored, bias, strides, pads, dilation, 1)
    else:
        y = _CONV_TRANSPOSE[x.dim()](x, weight, bias, strides, cropped, missing, 1, dilation)
    for axis, wanted in enumerate(output_size, start=2):  # what is too much at the end goes here
        if y.shape[axis] != wanted:
            y = y.narrow(axis, 0, wanted)
    return _restored(y, rank, data_format)


def pool_nd(x, pool_size, strides=None, padding='valid', data_format='channels_last', mode='max'):
    """Pooling of a live tensor of 3, 4 or 5 dimensions by 'max' or 'avg'; averages leave out the padding.

    `pool_size` and `strides` (None: the pool size) are ints, or one int a spatial dimension each; `padding` is 'valid'
    or 'same'. Nothing is copied before pooling: where TensorFlow pads one more at the end, either the last window hangs
    over (`ceil_mode`), or at stride 1 the window before the first is computed and dropped.
    """
    if mode not in _POOL:
        raise ValueError(f'Invalid pool_mode: {mode!r}. Expected "max" or "avg".')
    rank = x.dim() - 2
    pool_size, strides = _sizes(pool_size, rank), _sizes(pool_size if strides is None else strides, rank)
    x = _widened(to_channels_first(x, data_format))
    pads = _paddings(padding, None, x.shape[2:], pool_size, strides, (1,) * len(strides))
    # torch's avg_pool3d wants data that are no smaller than a window.
    short = padding == 'same' and mode == 'avg' and rank == 3 and any(
        isinstance(size, int) and size < window for size, window in zip(x.shape[2:], pool_size))
    if short or any(map(_is_open, pads)):
        return _restored(_padded_pool(x, pads, _POOL[mode][x.dim()], pool_size, strides, mode), rank, data_format)
    dropped = [stride == 1 and before != after for (before, after), stride in zip(pads, strides)]
    before = tuple([before + drop for (before, _), drop in zip(pads, dropped)])
    options = {'count_include_pad': False} if mode == 'avg' else {}
    missing, empty = _missing(x.shape[2:], pool_size, strides, pads, x.is_meta)
    if empty:
        x = F.pad(x, [side for short in reversed(missing) for side in (0, short)])
    y = _emptied(_POOL[mode][x.dim()](x, pool_size, strides, before, ceil_mode=padding == 'same', **options), empty)
    for axis, drop in enumerate(dropped, start=2):
        if drop:
            y = y.narrow(axis, 1, y.shape[axis] - 1)
    return _restored(y, rank, data_format)


def _padded_pool(x, pads, pool, pool_size, strides, mode):
    """`pool_nd` of data in torch's order with padding that depends on sizes which an export leaves open."""
    sides = [side for pad in reversed(pads) for side in pad]
    y = pool(F.pad(x, sides, value=0. if mode == 'avg' else -math.inf), pool_size, strides)
    return y / pool(F.pad(torch.ones_like(x), sides), pool_size, strides) if mode == 'avg' else y


def refuse_dilated_strides(name, strides, dilation_rate):
    """Raises ValueError for a convolution with both strides and a dilation.

    TensorFlow refuses most of these; where it does not (separable ones), it gives numbers that fit no definition.
    """
    if max(_sizes(strides, 1)) > 1 and max(_sizes(dilation_rate, 1)) > 1:
        raise ValueError(f'{name}: strides > 1 not supported in conjunction with dilation_rate > 1. '
                         f'Received: strides={strides}, dilation_rate={dilation_rate}')


def separable_conv_nd(x, depthwise, pointwise, bias=None, strides=1, padding='valid', dilation=1,
                      data_format='channels_last', activate=None):
    """`conv_nd` of each channel by itself, then across channels at each position.

    `depthwise` is (channels * multiplier, 1, spatial...), channel by channel; `pointwise` is (filters, channels *
    multiplier, 1...).
    """
    groups = x.shape[1 if data_format == 'channels_first' else -1]
    x = conv_nd(x, depthwise, None, strides, padding, dilation, data_format, groups)
    return conv_nd(x, pointwise, bias, data_format=data_format, activate=activate)


def local_conv_nd(x, kernel, kernel_size, strides, data_format='channels_last'):
    """Convolution with another kernel at each output position; `kernel_size` and `strides` hold one int a dimension.

    `kernel` is (output positions, window * channels, filters), a window's elements in the order of the data.
    """
    rank = len(kernel_size)
    windows = to_channels_first(x, data_format)
    for axis, (size, stride) in enumerate(zip(kernel_size, strides), start=2):
        windows = windows.unfold(axis, size, stride)
    outputs, inner = list(range(2, 2 + rank)), list(range(2 + rank, 2 + 2 * rank))
    windows = windows.permute(*outputs, 0, *([1, *inner] if data_format == 'channels_first' else [*inner, 1]))
    positions, batch = kernel.shape[:1] if rank == 1 else windows.shape[:rank], windows.shape[rank]
    y = torch.bmm(windows.reshape(kernel.shape[0], batch, kernel.shape[1]), kernel)
    y = y.reshape(*positions, batch, kernel.shape[2]).permute(rank, rank + 1, *range(rank))
    return from_channels_first(y, data_format)


def pad_nd(x, padding, data_format='channels_last'):
    """`x` with zeros around it: `padding` holds a pair (before, after) for each spatial dimension."""
    flat = [side for pair in reversed(padding) for side in pair]
    return F.pad(x, flat if data_format == 'channels_first' else [0, 0, *flat])


def upsample_nd(x, factors, data_format='channels_last', interpolation='nearest', half_pixel=False):
    """`x` with its spatial dimensions enlarged by integer factors.

    'bilinear' is TensorFlow 1's: output i lies at i / factor between the inputs, and past the last one it stays level.
    With `half_pixel` it is TensorFlow 2's: output i lies at (i + 1/2) / factor - 1/2, level past both ends.
    """
    if interpolation not in ('nearest', 'bilinear'):
        raise ValueError(f'interpolation should be one of "nearest" or "bilinear". Got: {interpolation!r}')
    if half_pixel or interpolation == 'nearest':
        x = to_channels_first(x, data_format)
        size = [n * factor for n, factor in zip(x.shape[2:], factors)]
        return from_channels_first(F.interpolate(x, size=size, mode=interpolation), data_format)
    for axis, factor in enumerate(factors, start=2 if data_format == 'channels_first' else 1):
        after = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, -1, 1)], axis)
        weight = torch.arange(factor, dtype=x.dtype, device=x.device) / factor
        weight = weight.reshape(factor, *[1] * (x.dim() - axis - 1))
        x = torch.lerp(x.unsqueeze(axis + 1), after.unsqueeze(axis + 1), weight).flatten(axis, axis + 1)
    return x


# ---------------------------------------------------------------- backend functions, with kernels in Keras' layout

def _formatted(fn):
    """The op of `fn`, with the data format that holds when it is made."""
    return resolved(op(fn), data_format=normalize_data_format)


def _torch_kernel(kernel):
    """(spatial..., a, b) as torch has it, (b, a, spatial...)."""
    kernel = as_tensor(kernel)
    return kernel.permute(-1, -2, *range(kernel.dim() - 2))


def torch_depthwise(kernel):
    """(spatial..., channels, multiplier) as torch has it, (channels * multiplier, 1, spatial...)."""
    kernel = as_tensor(kernel)
    return kernel.permute(-2, -1, *range(kernel.dim() - 2)).flatten(0, 1).unsqueeze(1)


@_formatted
def conv1d(x, kernel, strides=1, padding='valid', data_format=None, dilation_rate=1):
    """Convolution over time with a kernel (time, channels, filters); `padding` may be 'causal' with channels last."""
    if padding == 'causal' and data_format != 'channels_last':
        raise ValueError('When using causal padding in `conv1d`, `data_format` must be "channels_last" '
                         '(temporal data).')
    return conv_nd(as_tensor(x), _torch_kernel(kernel), None, strides, padding, dilation_rate, data_format)


@_formatted
def conv2d(x, kernel, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1)):
    """Convolution over images with a kernel (rows, columns, channels, filters)."""
    return conv_nd(as_tensor(x), _torch_kernel(kernel), None, strides, padding, dilation_rate, data_format)


@_formatted
def conv3d(x, kernel, strides=(1, 1, 1), padding='valid', data_format=None, dilation_rate=(1, 1, 1)):
    """Convolution over volumes with a kernel (three spatial dimensions, channels, filters)."""
    return conv_nd(as_tensor(x), _torch_kernel(kernel), None, strides, padding, dilation_rate, data_format)


def _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate=1):
    sizes = as_ints(output_shape)
    sizes = sizes[2:] if data_format == 'channels_first' else sizes[1:-1]
    y = conv_transpose_nd(as_tensor(x), _torch_kernel(kernel), sizes, None, strides, padding, dilation_rate,
                          data_format)
    return y.new_empty(as_ints(output_shape)) if y.is_meta else y


@_formatted
def conv2d_transpose(x, kernel, output_shape, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1)):
    """Transposed convolution with a kernel (rows, columns, filters, channels) to `output_shape`.

    A `dilation_rate` other than 1 works at stride 1, whatever `strides` says, as in Keras.
    """
    strides = strides if tuple(dilation_rate) == (1, 1) else (1, 1)
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate)


@_formatted
def conv3d_transpose(x, kernel, output_shape, strides=(1, 1, 1), padding='valid', data_format=None):
    """Transposed convolution with a kernel (three spatial dimensions, filters, channels) to `output_shape`."""
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format)


@_formatted
def depthwise_conv2d(x, depthwise_kernel, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1)):
    """Convolution of each channel by itself, with a kernel (rows, columns, channels, multiplier)."""
    return conv_nd(as_tensor(x), torch_depthwise(depthwise_kernel), None, strides, padding, dilation_rate, data_format,
                   groups=depthwise_kernel.shape[-2])


def _separable_conv(x, depthwise, pointwise, strides, padding, dilation_rate, data_format):
    refuse_dilated_strides('Separable convolution', strides, dilation_rate)
    return separable_conv_nd(as_tensor(x), torch_depthwise(depthwise), _torch_kernel(pointwise), None, strides,
                             padding, dilation_rate, data_format)


@_formatted
def separable_conv1d(x, depthwise_kernel, pointwise_kernel, strides=1, padding='valid', data_format=None,
                     dilation_rate=1):
    """Depthwise convolution over time, then pointwise with a kernel (1, channels * multiplier, filters).

    Raises ValueError for both strides and a dilation.
    """
    return _separable_conv(x, depthwise_kernel, pointwise_kernel, strides, padding, dilation_rate, data_format)


@_formatted
def separable_conv2d(x, depthwise_kernel, pointwise_kernel, strides=(1, 1), padding='valid', data_format=None,
                     dilation_rate=(1, 1)):
    """Depthwise convolution over images, then pointwise with a kernel (1, 1, channels * multiplier, filters).

    Raises ValueError for both strides and a dilation.
    """
    return _separable_conv(x, depthwise_kernel, pointwise_kernel, strides, padding, dilation_rate, data_format)


@op
def local_conv1d(inputs, kernel, kernel_size, strides, data_format=None):
    """Convolution of (batch, time, channels) with another kernel at each output step: (steps, window, filters).

    `data_format` is checked, but the data are taken as channels-last in any case, as in Keras.
    """
    normalize_data_format(data_format)
    return local_conv_nd(as_tensor(inputs), as_tensor(kernel), kernel_size, strides)


@_formatted
def local_conv2d(inputs, kernel, kernel_size, strides, output_shape, data_format=None):
    """Convolution of images with another kernel at each output position: (positions, window, filters).

    Raises ValueError where the kernel is not for ``(output_shape[0] * output_shape[1])`` positions.
    """
    kernel = as_tensor(kernel)
    if kernel.shape[0] != output_shape[0] * output_shape[1]:
        raise ValueError(f'A kernel for {kernel.shape[0]} positions does not fit the output shape {output_shape}.')
    return local_conv_nd(as_tensor(inputs), kernel, kernel_size, strides, data_format)


@_formatted
def pool2d(x, pool_size, strides=(1, 1), padding='valid', data_format=None, pool_mode='max'):
    """Max or average pooling of images."""
    return pool_nd(as_tensor(x), pool_size, strides, padding, data_format, pool_mode)


@_formatted
def pool3d(x, pool_size, strides=(1, 1, 1), padding='valid', data_format=None, pool_mode='max'):
    """Max or average pooling of volumes."""
    return pool_nd(as_tensor(x), pool_size, strides, padding, data_format, pool_mode)


@op
def temporal_padding(x, padding=(1, 1)):
    """(batch, time, features) with zeros put before and after in time."""
    return pad_nd(as_tensor(x), (padding,))


@_formatted
def spatial_2d_padding(x, padding=((1, 1), (1, 1)), data_format=None):
    """Images with zeros put around them: ((above, below), (left, right))."""
    return pad_nd(as_tensor(x), padding, data_format)


@_formatted
def spatial_3d_padding(x, padding=((1, 1), (1, 1), (1, 1)), data_format=None):
    """Volumes with zeros put around them, a pair for each spatial dimension."""
    return pad_nd(as_tensor(x), padding, data_format)


@_formatted
def resize_images(x, height_factor, width_factor, data_format, interpolation='nearest'):
    """Images enlarged by integer factors, with 'nearest' or 'bilinear' interpolation."""
    return upsample_nd(as_tensor(x), (height_factor, width_factor), data_format, interpolation)


@_formatted
def resize_volumes(x, depth_factor, height_factor, width_factor, data_format):
    """Volumes enlarged by integer factors, each element repeated."""
    return upsample_nd(as_tensor(x), (depth_factor, height_factor, width_factor), data_format)


@_formatted
def bias_add(x, bias, data_format=None):
    """`x` plus a bias: (channels,), or of the shape of one sample, channels last.

    In channels-first data the latter is reshaped, not transposed, as in Keras.
    Raises ValueError for a bias of another rank.
    """
    x, bias = as_tensor(x), as_tensor(bias)
    if bias.dim() not in (1, x.dim() - 1):
        raise ValueError(f'Unexpected bias dimensions {bias.dim()}, expect to be 1 or {x.dim()} dimensions')
    channels = x.shape[1 if data_format == 'channels_first' else -1]
    if bias.dim() == 1 and x.dim() in (2, 4) and len(bias) != channels:
        raise ValueError(f'A bias of {len(bias)} elements does not fit {channels} channels.')
    if data_format == 'channels_first' and x.dim() > 2:
        spatial = bias.shape[:-1] if bias.dim() > 1 else (1,) * (x.dim() - 2)
        bias = bias.reshape(bias.shape[-1], *spatial)
    return x + bias


bias_add.body.simplified = lambda x, bias, data_format: (
    rank(x) and rank(bias) == 1 and data_format == 'channels_last' and (operator.add, (x, bias), {}))
