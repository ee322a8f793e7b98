"""Mathematics of the backend: reductions, elementwise functions, comparisons, products and shapes.

Every function is one torch expression on live tensors; `op` records it where an argument is symbolic. Some names shadow
Python's own (`sum`, `max`, `slice`, ...), as they do in Keras: here they are always the backend's.
"""
import builtins
import functools
import inspect
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

from . import pullbacks, state
from .dtypes import torch_dtype
from .shapes import empty, is_unknown
from .symbolic import SymbolicTensor, as_tensor, map_leaves, op, rank

__all__ = [
    'abs', 'all', 'any', 'arange', 'argmax', 'argmin', 'batch_dot', 'batch_flatten', 'cast', 'clip', 'concatenate',
    'cos', 'cumprod', 'cumsum', 'dot', 'equal', 'exp', 'expand_dims', 'flatten', 'gather', 'greater', 'greater_equal',
    'hard_sigmoid', 'identity', 'in_top_k', 'l2_normalize', 'less', 'less_equal', 'log', 'logsumexp', 'max', 'maximum',
    'mean', 'min', 'minimum', 'not_equal', 'one_hot', 'ones_like', 'permute_dimensions', 'pow', 'print_tensor', 'prod',
    'repeat', 'repeat_elements', 'reshape', 'reverse', 'round', 'sigmoid', 'sign', 'sin', 'slice', 'softplus',
    'softsign', 'sqrt', 'square', 'squeeze', 'stack', 'std', 'stop_gradient', 'sum', 'tanh', 'tile', 'transpose', 'var',
    'zeros_like']


def as_ints(values):
    """`values` as a list of ints: a tensor, an array, or a list that may hold tensors without dimensions."""
    if isinstance(values, torch.Tensor):
        return [int(v) for v in values] if values.is_meta else values.tolist()
    return [int(v) if isinstance(v, torch.Tensor) else v for v in values]


def _axes(axis, x):
    """Axes of `x` as a tuple without repetitions: of a number, several, or a tensor of such; None means all of them."""
    if axis is None:
        return tuple(range(x.dim()))
    axes = as_ints([axis] if isinstance(axis, int) else axis.reshape(-1) if isinstance(axis, torch.Tensor) else axis)
    return tuple({range(x.dim())[a]: None for a in axes})


def named(recorded):
    """Gives the symbol that `recorded` returns the name that its argument ``name`` asks for."""
    signature = inspect.signature(recorded)

    @functools.wraps(recorded)
    def call(*args, **kwargs):
        result = recorded(*args, **kwargs)
        if isinstance(result, SymbolicTensor):
            name = signature.bind(*args, **kwargs).arguments.get('name')
            result._name = f'{state.unique_scope(name)}:0' if name else None
        return result
    return call


def resolved(recorded, **resolvers):
    """`recorded`, with some arguments resolved when it is called: ``None`` must not be looked up anew at each run."""
    names = list(inspect.signature(recorded).parameters)
    resolvers = [(names.index(name), name, resolve) for name, resolve in resolvers.items()]

    @functools.wraps(recorded)
    def call(*args, **kwargs):
        for place, name, resolve in resolvers:
            if place < len(args):
                args = (*args[:place], resolve(args[place]), *args[place + 1:])
            else:
                kwargs[name] = resolve(kwargs.get(name))
        return recorded(*args, **kwargs)
    return call


def _whole(sizes):
    """An array of sizes or axes as ints, when it is given: TensorFlow takes whole floats there."""
    return sizes.astype(int).tolist() if isinstance(sizes, np.ndarray) else sizes


def _function(name, body, doc):
    """The op of a `body` that is known as the function `name` of this module."""
    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


# ---------------------------------------------------------------- reductions

def _reduction(name, fn, doc):
    """The backend function of a reduction `fn`, which gets a tensor, a non-empty tuple of axes, and `keepdims`.

    ``axis=None`` means all axes; an empty list means none, as in TensorFlow (torch would reduce them all).
    """
    def reduce(x, axis=None, keepdims=False):
        x = as_tensor(x)
        axes = _axes(axis, x)
        return fn(x, axes, keepdims) if axes else fn(x.unsqueeze(0), (0,), False)
    return _function(name, reduce, doc)


def _sum(x, axes, keepdims):
    return torch.sum(x, axes, keepdims, dtype=None if x.dtype == torch.bool else x.dtype)


def _mean(x, axes, keepdims):
    if x.is_floating_point() or x.dtype == torch.bool:
        return torch.mean(_floating(x), axes, keepdims)
    total = torch.sum(x, axes, keepdims, dtype=x.dtype)
    return torch.div(total, x.numel() // builtins.max(total.numel(), 1), rounding_mode='trunc')


def _var(x, axes, keepdims):
    if x.is_floating_point() or x.dtype == torch.bool:
        return torch.var(_floating(x), axes, correction=0, keepdim=keepdims)
    return _mean(torch.square(x - _mean(x, axes, True)), axes, keepdims)


def _prod(x, axes, keepdims):
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdims, dtype=x.dtype)
    return x


def _extreme(fn, limit, sign):
    """The reduction `fn`, amax or amin; of no elements it is the least number there is, or the largest."""
    def reduce(x, axes, keepdims):
        if x.numel():
            return fn(x, axes, keepdims)
        none = math.inf * sign if x.is_floating_point() else getattr(torch.iinfo(x.dtype), limit)
        return torch.full_like(torch.sum(x, axes, keepdims, dtype=x.dtype), none)
    return reduce


def _floating(x):
    return x if x.is_floating_point() else x.to(torch_dtype())


sum = _reduction('sum', _sum, 'Sum over an axis, a list of axes, or all of them, in the data type of `x`.')
prod = _reduction('prod', _prod, 'Product over axes, in the data type of `x`.')
mean = _reduction('mean', _mean, 'Mean over axes; bools are averaged as ``floatx()``, that of integers is one.')
mean.body.with_pullback = pullbacks.mean
var = _reduction('var', _var, 'Population variance (divided by N) over axes; that of integers is one.')
std = _reduction('std', lambda x, *over: torch.sqrt(_var(_floating(x), *over)),
                 'Population standard deviation (divided by N) over axes.')
max = _reduction('max', _extreme(torch.amax, 'min', -1), 'Maximum over axes; elements that tie share the gradient.')
min = _reduction('min', _extreme(torch.amin, 'max', 1), 'Minimum over axes; elements that tie share the gradient.')
any = _reduction('any', lambda x, *over: torch.any(x.bool(), *over),
                 'Whether any element over axes is true (not zero), as bools.')
all = _reduction('all', lambda x, *over: torch.all(x.bool(), *over),
                 'Whether all elements over axes are true (not zero), as bools.')
logsumexp = _reduction('logsumexp', torch.logsumexp, '``log(sum(exp(x)))`` over axes, without overflow.')


def _along(name, fn, default_axis, doc):
    """The backend function of a `fn` that gets a tensor and one axis."""
    def along(x, axis=default_axis):
        return fn(as_tensor(x), axis)
    return _function(name, along, doc)


argmax = _along('argmax', torch.argmax, -1, 'Index (int64) of the maximum along an axis, the first where several tie.')
argmin = _along('argmin', torch.argmin, -1, 'Index (int64) of the minimum along an axis, the first where several tie.')
cumsum = _along('cumsum', lambda x, axis: torch.cumsum(x, axis, dtype=x.dtype), 0,
                'Sums of the elements up to each position of an axis.')
cumprod = _along('cumprod', lambda x, axis: torch.cumprod(x, axis, dtype=x.dtype), 0,
                 'Products of the elements up to each position of an axis.')


@op
def l2_normalize(x, axis=None):
    """`x` divided by its Euclidean norm over `axis`: ``x * rsqrt(max(sum(x**2), 1e-12))``, TensorFlow's formula."""
    x = as_tensor(x)
    return x * torch.rsqrt(torch.clamp(sum(torch.square(x), axis, True), min=1e-12))


@op
def in_top_k(predictions, targets, k):
    """Whether fewer than `k` classes have a larger prediction than the target has: (batch,) bools.

    `predictions` are (batch, classes), `targets` (batch,) class indices. False where the target's prediction is not
    finite, or the target is no class.
    """
    predictions, targets = as_tensor(predictions), as_tensor(targets).long()
    classes = predictions.shape[-1]
    valid = (targets >= 0) & (targets < classes)
    value = torch.gather(predictions, -1, targets.clamp(0, classes - 1).unsqueeze(-1))
    return (torch.sum(predictions > value, -1) < k) & torch.isfinite(value.squeeze(-1)) & valid


# ---------------------------------------------------------------- elementwise

def _pair(x, y):
    """`x` as a tensor, and `y` too unless it is a number."""
    return as_tensor(x), y if isinstance(y, (int, float)) else as_tensor(y)


def _elementwise(name, fn, doc):
    recorded = _function(name, lambda x: fn(as_tensor(x)), doc)
    if inspect.isbuiltin(fn):
        recorded.body.simplified = lambda x: rank(x) is not None and (fn, (x,), {})
    return recorded


abs = _elementwise('abs', torch.abs, 'Absolute value.')
square = _elementwise('square', torch.square, 'Square.')
sqrt = _elementwise('sqrt', lambda x: torch.sqrt(torch.clamp(x, min=0)), 'Square root; negative numbers count as 0.')
exp = _elementwise('exp', torch.exp, 'Exponential.')
log = _elementwise('log', torch.log, 'Natural logarithm.')
sin = _elementwise('sin', torch.sin, 'Sine, of radians.')
cos = _elementwise('cos', torch.cos, 'Cosine, of radians.')
tanh = _elementwise('tanh', torch.tanh, 'Hyperbolic tangent.')
sigmoid = _elementwise('sigmoid', torch.sigmoid, '``1 / (1 + exp(-x))``.')
hard_sigmoid = _elementwise('hard_sigmoid', lambda x: torch.clamp(0.2 * x + 0.5, 0., 1.),
                            '``0.2 * x + 0.5``, kept within 0 and 1.')
softplus = _elementwise('softplus', F.softplus, '``log(exp(x) + 1)``.')
softsign = _elementwise('softsign', F.softsign, '``x / (abs(x) + 1)``.')
round = _elementwise('round', lambda x: torch.round(x.detach()),
                     'Nearest integer, the even one where two are as near; without a gradient.')
sign = _elementwise('sign', torch.sign, '-1, 0 or 1.')


def _comparison(name, fn, doc):
    return _function(name, lambda x, y: fn(*_pair(x, y)), doc)


equal = _comparison('equal', torch.eq, 'Whether elements are equal, as bools.')
not_equal = _comparison('not_equal', torch.ne, 'Whether elements differ, as bools.')
greater = _comparison('greater', torch.gt, '``x > y``, as bools.')
greater_equal = _comparison('greater_equal', torch.ge, '``x >= y``, as bools.')
less = _comparison('less', torch.lt, '``x < y``, as bools.')
less_equal = _comparison('less_equal', torch.le, '``x <= y``, as bools.')


@op
def pow(x, a):
    """`x` to the power of `a`."""
    return torch.pow(*_pair(x, a))


def _held(bound, x):
    """`bound`, infinite where it is beyond what the data type of `x` holds, which torch would refuse."""
    beyond = builtins.abs(bound) > 6e4 and x.is_floating_point() and builtins.abs(bound) > torch.finfo(x.dtype).max
    return math.copysign(math.inf, bound) if beyond else bound


@op
def maximum(x, y):
    """Larger element of each pair; where they tie the gradient goes to `x`, as in TensorFlow."""
    x, y = _pair(x, y)
    return torch.where(x < y, y, x) if isinstance(y, torch.Tensor) else torch.clamp(x, min=_held(y, x))


@op
def minimum(x, y):
    """Smaller element of each pair; where they tie the gradient goes to `x`, as in TensorFlow."""
    x, y = _pair(x, y)
    return torch.where(x > y, y, x) if isinstance(y, torch.Tensor) else torch.clamp(x, max=_held(y, x))


@op
def clip(x, min_value, max_value):
    """`x` kept within bounds, numbers or tensors (None: unbounded). A `max_value` below `min_value` counts as that."""
    x = as_tensor(x)
    if isinstance(min_value, (int, float)) and isinstance(max_value, (int, float)):
        return torch.clamp(x, _held(min_value, x), _held(min_value if max_value < min_value else max_value, x))
    x = x if max_value is None else minimum(x, max_value)
    return x if min_value is None else maximum(x, min_value)


@op
def cast(x, dtype):
    """`x` in another data type, given by name."""
    return as_tensor(x).to(torch_dtype(dtype))


@named
@op
def identity(x, name=None):
    """The value of `x`, as a tensor of its own."""
    return as_tensor(x)


@named
@op
def zeros_like(x, dtype=None, name=None):
    """Zeros in the shape and (unless another is given) data type of `x`."""
    return torch.zeros_like(as_tensor(x), dtype=dtype and torch_dtype(dtype))


@named
@op
def ones_like(x, dtype=None, name=None):
    """Ones in the shape and (unless another is given) data type of `x`."""
    return torch.ones_like(as_tensor(x), dtype=dtype and torch_dtype(dtype))


@op
def stop_gradient(variables):
    """A tensor, or each of a list, as a constant that no gradient flows through."""
    return map_leaves(lambda x: as_tensor(x).detach(), variables)


@op
def print_tensor(x, message=''):
    """`x` itself; whenever its value is computed, `message` and the value go to the standard error stream."""
    x = as_tensor(x)
    if not x.is_meta:
        print(message, x.detach().cpu().numpy(), sep='', file=sys.stderr)
    return x


# ---------------------------------------------------------------- products

@op
def dot(x, y):
    """Product over the last axis of `x` and the last but one of `y`: (2, 3) and (4, 3, 5) give (2, 4, 5)."""
    x, y = as_tensor(x), as_tensor(y)
    return torch.matmul(x, y) if y.dim() == 2 else torch.tensordot(x, y, ([-1], [-2]))


dot.body.simplified = lambda x, y: rank(x) and rank(y) == 2 and (torch.matmul, (x, y), {})


@op
def batch_dot(x, y, axes=None):
    """Product of each sample of `x` with that of `y`, over one axis of each.

    Arguments:
        x, y: (batch, ...), of at least two dimensions.
        axes: the axis of both, or a pair (axis of `x`, axis of `y`); None takes the last of `x` and the last but one of
            `y`. An axis of a tensor of three dimensions or more counts as its last axis or as its last but one: -1 is
            not the last.
    Returns (batch, remaining axes of `x`, remaining axes of `y`), at least two-dimensional.
    Raises ValueError for more than one axis of a tensor.
    """
    x, y = as_tensor(x), as_tensor(y)
    dims, y_dims = x.dim(), y.dim()
    axes = (axes, axes) if isinstance(axes, int) else (dims - 1, y_dims - 2) if axes is None else tuple(axes)
    if isinstance(axes[0], (list, tuple)) or isinstance(axes[1], (list, tuple)):
        raise ValueError('Multiple target dimensions are not supported. Expected: None, int, (int, int), '
                         f'Provided: {axes}')
    if dims == y_dims == 2:
        return torch.sum((x if axes[0] == axes[1] else x.t()) * y, axes[1]).unsqueeze(1)
    # the one of fewer dimensions gets some of size 1, which the product then loses
    first, added = (dims + y_dims - 3, dims - y_dims) if dims > y_dims else (dims - 1, y_dims - dims)
    x, y = x.reshape(x.shape + (1,) * (y_dims - dims)), y.reshape(y.shape + (1,) * (dims - y_dims))
    x = x if axes[0] == x.dim() - 1 else x.transpose(-1, -2)
    y = y.transpose(-1, -2) if axes[1] == y.dim() - 1 else y
    product = torch.matmul(x, y)
    if added:
        product = product.squeeze(tuple(range(first, first + added)))
    return product.unsqueeze(1) if product.dim() == 1 else product


@op
def transpose(x):
    """`x` with its axes in reverse order."""
    x = as_tensor(x)
    return x.permute(tuple(range(x.dim() - 1, -1, -1)))


@op
def gather(reference, indices):
    """The parts of `reference` (along its first axis) that an integer tensor names.

    Raises IndexError for an index out of range; negative ones are.
    """
    reference, indices = as_tensor(reference), as_tensor(indices).long()
    if reference.dim() == 2:
        return F.embedding(indices, reference)
    return torch.index_select(reference, 0, indices.flatten()).reshape(indices.shape + reference.shape[1:])


# ---------------------------------------------------------------- shapes

@functools.partial(resolved, shape=_whole)
@op
def reshape(x, shape):
    """`x` in another shape: ints, of which one may be -1, elements of ``K.shape``, or a tensor of ints."""
    return torch.reshape(as_tensor(x), as_ints(shape))


@functools.partial(resolved, pattern=_whole)
@op
def permute_dimensions(x, pattern):
    """`x` with its axes in the order that `pattern` lists."""
    x, pattern = as_tensor(x), as_ints(pattern)
    return empty([None] * len(pattern), x.dtype) if builtins.any(map(is_unknown, pattern)) else x.permute(pattern)


@op
def concatenate(tensors, axis=-1):
    """Tensors joined along an axis."""
    return torch.cat([as_tensor(x) for x in tensors], axis)


@op
def stack(x, axis=0):
    """Tensors of one shape joined along a new axis."""
    return torch.stack([as_tensor(part) for part in x], axis)


@op
def repeat(x, n):
    """(samples, dim) repeated `n` times to (samples, n, dim)."""
    return as_tensor(x).unsqueeze(1).expand(-1, n, -1)


@op
def repeat_elements(x, rep, axis):
    """`x` with each element of an axis repeated `rep` times in place, as ``np.repeat`` does."""
    return torch.repeat_interleave(as_tensor(x), rep, axis)


@functools.partial(resolved, n=_whole)
@op
def tile(x, n):
    """`x` repeated as a whole, ``n[i]`` times along axis i."""
    x = as_tensor(x)
    counts = [n] if isinstance(n, int) else as_ints(n)
    if len(counts) != x.dim():
        raise ValueError(f'`tile` needs one count for each of the {x.dim()} axes of shape {tuple(x.shape)}. Got: {n}')
    return torch.tile(x, counts)


@op
def flatten(x):
    """All elements in one dimension."""
    return torch.reshape(as_tensor(x), (-1,))


def _flat(x):
    """The shape of `batch_flatten`, where TensorFlow knows none of the sizes unless it knows them all."""
    if not [size for size in x.shape if is_unknown(size)]:
        return x.shape[:1].numel(), x.shape[1:].numel()
    return x.shape[0] if is_unknown(x.shape[0]) else None, None


@op(shape=_flat)
def batch_flatten(x):
    """(batch, ...) as (batch, features)."""
    x = as_tensor(x)
    return torch.flatten(x, 1) if x.dim() > 1 else x.reshape(-1, 1)


@op
def expand_dims(x, axis=-1):
    """`x` with a dimension of size 1 put in before `axis` (of the result)."""
    return torch.unsqueeze(as_tensor(x), axis)


@op
def squeeze(x, axis):
    """`x` without a dimension of size 1. Raises ValueError where it has another size."""
    x = as_tensor(x)
    if x.shape[axis] != 1 and not (x.is_meta and is_unknown(x.shape[axis])):
        raise ValueError(f'Cannot squeeze axis {axis} of shape {tuple(x.shape)}: its size is not 1.')
    return x.select(axis, 0)


@functools.partial(resolved, start=_whole, size=_whole)
@op
def slice(x, start, size):
    """The part of `x` that begins at `start` and has `size` (-1: all that is left), one int an axis each."""
    x = as_tensor(x)
    for axis, (first, length) in enumerate(zip(as_ints(start), as_ints(size))):
        if length == -1 or not x.is_meta or not (is_unknown(x.shape[axis]) or is_unknown(first)):
            x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
        else:  # where there are too few at run time, it fails
            x = x.new_empty((*x.shape[:axis], length, *x.shape[axis + 1:]))
    return x


@op
def reverse(x, axes):
    """`x` with the order along one or several axes turned round."""
    return torch.flip(as_tensor(x), (axes,) if isinstance(axes, int) else tuple(axes))


@op
def one_hot(indices, num_classes):
    """Indices (...) as rows (..., num_classes) of zeros with a one; zeros only where the index is no class."""
    indices = as_tensor(indices)
    return (indices.unsqueeze(-1) == torch.arange(num_classes, device=indices.device)).to(torch_dtype())


@op
def arange(start, stop=None, step=1, dtype='int32'):
    """Numbers from `start` up to but not including `stop`; with one argument, from 0 up to it.

    Given floats, the default data type gives floats.
    """
    if stop is None:
        start, stop = 0, start if start > 0 else 0
    start, stop, step = (v.item() if isinstance(v, torch.Tensor) else v for v in (start, stop, step))
    numbers = torch.arange(start, stop, step)
    return numbers if dtype == 'int32' and numbers.is_floating_point() else numbers.to(torch_dtype(dtype))
