"""Ops of torch that have no public name, each with the public one that takes its place where it is missing."""
import functools
import itertools
import math
import re

import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

# What tells of torch.func's transforms; of autograd's `is_grads_batched`; of fake tensors, make_fx and FlopCounterMode.
_transforms_active = getattr(torch._C, '_are_functorch_transforms_active', None)
_key_included = getattr(torch._C, '_dispatch_tls_is_dispatch_key_included', None)
_dispatch_modes = getattr(torch._C, '_len_torch_dispatch_stack', None)
# oneDNN's `F.linear` and its convolution, each with a function of the result, and without their gradients.
_onednn_linear, _onednn_convolution = (
    torch.backends.mkldnn.is_available() and getattr(torch.ops.mkldnn, name, None)
    for name in ('_linear_pointwise', '_convolution_pointwise'))
_pack = getattr(torch.ops.mkldnn, '_reorder_linear_weight', None)
_BATCHED = _key_included and torch._C._parse_dispatch_key('VmapMode')
_run_backward = getattr(getattr(torch.autograd.Variable, '_execution_engine', None), 'run_backward', None)
_saved_tensors_hooks = getattr(torch._C._autograd, '_top_saved_tensors_default_hooks', None)
_can_tell = all((_transforms_active, _key_included, _dispatch_modes))

_PLAIN = torch.Tensor, torch.nn.Parameter

# Multiplications from which three products of oneDNN's save more than the Python of a Function costs, and the least
# size of each dimension: a product of few rows waits for memory, whoever multiplies. Measured on a Zen 5.
_MIN_WORK, _MIN_SIZE = 2 ** 21, 8
# Of one product without the Function; before Zen 5 the numbers of a weight, whose packing is what oneDNN then saves.
_MIN_STEP_WORK, _MIN_STEP_WEIGHT = 2 ** 20, 2 ** 18
_MIN_CACHED = 2 ** 22  # numbers that are written once rather than twice
_FEW = 4  # channels; of so few, oneDNN's convolutions compute 16
# Columns, before Zen 5 and from then on, up to which MKL computes a weight's gradient, and numbers in that for each row
# of the batch: oneDNN first copies its transposed operand. Measured on a Zen 4, reckoned for a Zen 5.
_MOST_COLUMNS, _MOST_A_ROW = (128, 64), 2 ** 14


@functools.cache
def amd_family():
    """The family of an AMD processor (25 is Zen 4, 26 Zen 5), 0 for another."""
    try:
        with open('/proc/cpuinfo') as info:
            found = re.search(r'AuthenticAMD\s+cpu family\s*: (\d+)', info.read(1000))
    except OSError:  # not Linux
        return 0
    return int(found[1]) if found else 0


@functools.cache
def prefers_onednn():
    """Whether oneDNN's products are to be used: on AMD's processors; from Zen 5 they need half the time of MKL's."""
    return bool(_onednn_linear) and _can_tell and amd_family() > 0


def linear(x, weight, bias=None, relu=False):
    """``F.linear``, over oneDNN where that is faster: ``x @ weight.T + bias`` of (..., k) and (n, k), to (..., n).

    With `relu`, where nothing is differentiated, the positive part of that.
    """
    if not _pays(x, weight, bias, _MIN_WORK):
        y = F.linear(x, weight, bias)
        return y.relu_() if relu else y
    rows = x.flatten(0, -2)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        y = _Linear.apply(rows, weight, bias)
    else:
        y = _onednn_linear(_dense(rows), _dense(weight), bias, 'relu' if relu else 'none', [], '')
    return y if x.dim() == 2 else y.view(*x.shape[:-1], -1)


def multiplier(x, weight):
    """A function that adds ``x @ weight.T`` to a matrix, for many like `x`, without gradients: packs weights once."""
    if amd_family() < 26 and weight.numel() < _MIN_STEP_WEIGHT or not _pays(x, weight, None, _MIN_STEP_WORK):
        by_column = weight.t()
        return lambda x, onto: onto.addmm_(x, by_column)
    # A weight in columns needs no packing.
    packed = weight if weight.stride(0) == 1 else _pack(weight, len(x)) if _pack else _dense(weight)
    return lambda x, onto: onto.add_(_onednn_linear(x, packed, None, 'none', [], ''))


def convolution(x, weight, bias, strides, padding, dilation, groups, relu=False):
    """``F.conv2d`` or ``F.conv3d`` by the dimensions of `x`, and with `relu` the positive part of that.

    Where nothing is differentiated, images with the channels last in memory go to oneDNN's op where that is faster: for
    1x1 convolutions, which torch with one thread leaves to MKL's product, and for a ReLU of more than a cache holds.
    """
    grad = torch.is_grad_enabled()
    if grad and max(strides) > 1 and weight.numel() == len(weight) * weight.shape[1] and weight.shape[1] < 16 and (
            not any(padding)):
        # Only what 1x1 windows see, for oneDNN's gradient of strides writes past its few channels; as a copy, since
        # torch does not see the order in memory in a slice.
        x, strides = x[(..., *(slice(None, None, stride) for stride in strides))].clone(), [1] * len(strides)
    settings, work = (strides, padding, dilation, groups), x.numel() * len(weight)
    few = weight.shape[0] <= _FEW and _goes_to_few(x, weight, settings)
    if few and not grad:
        y = _convolved_to_few(x, weight, padding)
        y = y if bias is None else y + bias.view(-1, 1, 1)
        return y.relu_() if relu else y
    if not grad:
        pays = work > _MIN_WORK if weight.shape[2:] == (1, 1) else relu and work > _MIN_CACHED * x.shape[1]
        if pays and _onednn_convolution and torch.backends.mkldnn.enabled and all_plain(x, weight, bias) and (
                x.is_contiguous(memory_format=torch.channels_last)):
            return _onednn_convolution(x, weight, bias, padding, strides, dilation, groups, 'relu' if relu else 'none',
                                       [], '')
    elif (bias is not None or relu) and (few or work > _MIN_WORK) and all_plain(x, weight, bias) and any(
            t is not None and t.requires_grad for t in (x, weight, bias)):
        return _Convolution.apply(x, weight, bias, relu, settings, few)
    y = (F.conv2d if x.dim() == 4 else F.conv3d)(x, weight, bias, *settings)
    return y if not relu else y.relu() if grad else y.relu_()


class _Convolution(torch.autograd.Function):
    """Sums the gradient of the bias by itself: oneDNN, which torch asks for all three, takes five times as long."""

    @staticmethod
    def forward(ctx, x, weight, bias, relu, settings, few):
        ctx.settings, ctx.relu, ctx.few = settings, relu, few
        y = convolution(x, weight, bias, *settings, relu)
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    def backward(ctx, dy):
        (x, weight, y), need, (*settings, groups) = ctx.saved_tensors, ctx.needs_input_grad, ctx.settings
        if ctx.relu:
            dy = torch.ops.aten.threshold_backward(dy, y, 0)
        few = need[1] and ctx.few
        wanted = [need[0], need[1] and not few, False]
        dx, dweight, _ = torch.ops.aten.convolution_backward(
            dy, x, weight, None, *settings, False, [0] * len(settings[0]), groups, wanted)
        if few:
            dweight = _gradient_of_few(dy, x, weight, settings[1])
        return dx, dweight, dy.sum([0, *range(2, dy.dim())]) if need[2] else None, None, None, None


def _goes_to_few(x, weight, settings):
    """Whether a convolution to `_FEW` channels at most is one of images of which oneDNN wastes most of its work."""
    (strides, padding, dilation, groups), (filters, channels, *window) = settings, weight.shape
    return (len(window) == 2 and filters < math.prod(window) * filters <= channels and groups == 1
            and {*strides, *dilation} == {1} and all(pad < size for pad, size in zip(padding, window))
            and x.numel() * filters * math.prod(window) > _MIN_WORK and all_plain(x, weight)
            and x.is_contiguous(memory_format=torch.channels_last))


def _convolved_to_few(x, weight, padding):
    """``F.conv2d(x, weight, None, 1, padding)``: a product for each position in the window, of which sums are taken."""
    (n, channels, *sizes), (filters, _, height, width) = x.shape, weight.shape
    rows, kernel = x.permute(0, 2, 3, 1).reshape(-1, channels), weight.permute(2, 3, 0, 1).reshape(-1, channels)
    parts = torch.mm(kernel, rows.t()).view(height, width, filters, n, *sizes)
    y = x.new_zeros(filters, n, sizes[0] + height - 1, sizes[1] + width - 1)
    for i, j in itertools.product(range(height), range(width)):
        y[:, :, height - 1 - i:, width - 1 - j:][:, :, :sizes[0], :sizes[1]] += parts[i, j]
    for axis, (size, pad) in enumerate(zip((height, width), padding), start=2):
        y = y.narrow(axis, size - 1 - pad, y.shape[axis] - 2 * (size - 1 - pad))
    return y.movedim(0, 1).contiguous(memory_format=torch.channels_last)


def _gradient_of_few(dy, x, weight, padding):
    """The gradient for the weight of `_convolved_to_few`."""
    (_, channels, *sizes), (filters, _, height, width) = x.shape, weight.shape
    top, left = height - 1 - padding[0], width - 1 - padding[1]
    windows = F.pad(dy.movedim(1, 0), (left, left, top, top)).unfold(2, sizes[0], 1).unfold(3, sizes[1], 1).flip(2, 3)
    rows = windows.permute(2, 3, 0, 1, 4, 5).reshape(height * width * filters, -1)
    gradient = torch.mm(rows, x.permute(0, 2, 3, 1).reshape(-1, channels)).view(height, width, filters, channels)
    return torch.empty_like(weight).copy_(gradient.permute(2, 3, 0, 1))


def _pays(x, weight, bias, min_work):
    """Whether to compute by oneDNN: matrices of some size, and nobody who wants to see torch's own op."""
    return (type(x) is torch.Tensor and not torch.compiler.is_compiling() and x.numel() * weight.shape[0] > min_work
            and prefers_onednn() and torch.backends.mkldnn.enabled and all_plain(x, weight, bias)
            and x.dim() > 1 and weight.dim() == 2 and x.shape[-1] == weight.shape[1]
            and min(*weight.shape, x.numel() // x.shape[-1]) >= _MIN_SIZE
            and (bias is None or bias.shape == weight.shape[:1]))


def all_plain(*tensors):
    """Whether all (or None) are float32 tensors on the CPU, and nobody wants to see torch's own ops run on them."""
    return not torch.compiler.is_compiling() and all(
        t is None or type(t) in _PLAIN and t.dtype is torch.float32 and t.is_cpu and t.layout is torch.strided
        for t in tensors) and not (
            torch.is_autocast_enabled('cpu') or torch.jit.is_tracing() or not _can_tell or _transforms_active()
            or _key_included(_BATCHED) or _dispatch_modes() or forward_ad._current_level >= 0)


def gradients(y, inputs, dy):
    """``torch.autograd.grad(y, inputs, dy, allow_unused=True)``, which would first import sympy for half a second."""
    if _run_backward is None:
        return torch.autograd.grad(y, inputs, dy, allow_unused=True)
    return _run_backward((y,), (dy,), False, False, tuple(inputs), allow_unreachable=True, accumulate_grad=False)


def autograd_is_watched():
    """Whether somebody wants to see what autograd does, by hooks on what it saves, or for anomalies.

    Where torch does not tell (2.6), somebody may.
    """
    return torch.is_anomaly_enabled() or _saved_tensors_hooks is None or _saved_tensors_hooks(True) is not None


def _dense(matrix):
    """`matrix`, or a copy where its rows or columns overlap, which oneDNN has only a slow reference kernel for."""
    (rows, columns), strides = matrix.shape, matrix.stride()
    fast = strides[1] == 1 and strides[0] >= columns or strides[0] == 1 and strides[1] >= rows
    return matrix if fast else matrix.contiguous()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx, dy):
        return linear_gradients(ctx.needs_input_grad, dy, *ctx.saved_tensors)


def linear_gradients(wanted, dy, x, weight):
    """The gradients of `linear` for rows `x`, `weight` and a bias, where they are wanted, from that for its result."""
    small, by_column, dweight, dx = x.numel() * weight.shape[0] <= _MIN_WORK, weight.stride(0) == 1, None, None
    if wanted[1]:  # in the weight's order in memory, or autograd copies it; first, as oneDNN copies an input to do so
        first, second = (x, dy) if by_column else (dy, x)
        dweight = torch.mm(first.t(), second) if small else product_over_rows(first, second)
        dweight = dweight.t() if by_column else dweight
    if wanted[0]:
        dx = torch.mm(dy, weight) if small else linear(dy, weight.t())
    return dx, dweight, dy.sum(0) if wanted[2] else None


def product_over_rows(x, y):
    """``x.T @ y`` of (n, k) and (n, m), to (k, m): a weight's gradient."""
    columns = y.shape[1]
    few = columns <= _MOST_COLUMNS[amd_family() >= 26] and x.shape[1] * columns <= _MOST_A_ROW * len(x)
    return torch.mm(x.t(), y) if few else linear(x.t(), y.t())
