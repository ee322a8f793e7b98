"""Functions of TensorFlow 1 that `kfacade.backend` has no counterpart of: live torch code, which `torch_op` wraps."""
import functools
import inspect
import math
from collections import namedtuple

import torch
import torch.nn.functional as F

from .. import backend as K
from ..backend.dtypes import torch_dtype
from ..backend.math import as_ints
from ..backend.spatial import same_padding, to_channels_first
from ..backend.symbolic import as_tensor, is_symbolic, op


def torch_op(fn, tensors=1, **rules):
    """The op of a live `fn` whose first arguments, as many as `tensors` says, come as tensors."""
    @functools.wraps(fn)
    def body(*args, **kwargs):
        return fn(*map(as_tensor, args[:tensors]), *args[tensors:], **kwargs)
    if inspect.isbuiltin(fn):  # torch's own, which has no signature
        body.__signature__ = inspect.Signature([inspect.Parameter(x, 1) for x in ('x', 'y')[:tensors]])
    recorded = op(body, **rules)

    @functools.wraps(body)
    def call(*args, **kwargs):
        first = [_array(x) if isinstance(x, (list, tuple)) else x for x in args[:tensors]]
        return recorded(*first, *args[tensors:], **kwargs)
    return call


def _array(x):
    """A list as an array of TensorFlow's data type, unless it holds symbols."""
    return x if is_symbolic(x) else as_tensor(x).numpy()


# ---------------------------------------------------------------- parts and places

def gather(params, indices, *, axis=0):
    axis = axis % params.dim()
    found = torch.index_select(params, axis, indices.long().reshape(-1))
    return found.reshape(*params.shape[:axis], *indices.shape, *params.shape[axis + 1:])


def gather_nd(params, indices):
    return params[tuple(indices.long().unbind(-1))]


def scatter_nd(indices, updates, shape):
    places = tuple(indices.long().unbind(-1))
    return updates.new_zeros(as_ints(shape)).index_put(places, updates, accumulate=True)


def boolean_mask(tensor, mask, axis=None):
    return tensor[(slice(None),) * (axis or 0) + (mask.bool(),)]


def where(condition, x=None, y=None):
    """The elements of `x` or `y`; without them the indices of what is true. A vector decides on whole rows."""
    if x is None:
        return condition.nonzero()
    x, y = as_tensor(x), as_tensor(y)
    return torch.where(condition.bool().reshape(condition.shape + (1,) * (x.dim() - condition.dim())), x, y)


def unique(x, out_idx='int32'):
    """Values in the order of their first places, and the place of each element among them."""
    values, inverse = torch.unique(x, return_inverse=True)
    places = torch.arange(len(x), device=x.device)
    first = torch.full_like(values, len(x), dtype=torch.long).scatter_reduce(0, inverse, places, 'amin')
    order = first.argsort()
    return values[order], order.argsort()[inverse].to(torch_dtype(out_idx))


def split(value, num_or_size_splits, axis=0):
    """Parts of equal size, or of the sizes given, of which one may be -1."""
    size = value.shape[axis]
    if isinstance(num_or_size_splits, int):
        if size % num_or_size_splits and not value.is_meta:
            raise ValueError(f'Axis {axis} of shape {tuple(value.shape)} cannot be split into {num_or_size_splits}.')
        part = size // num_or_size_splits
        return [value.narrow(axis, i * part, part) for i in range(num_or_size_splits)]
    sizes = as_ints(num_or_size_splits)
    return list(value.split([size - sum(sizes) - 1 if n == -1 else n for n in sizes], axis))


def unstack(value, num=None, axis=0):
    return [value.select(axis, i) for i in range(value.shape[axis] if num is None else num)]


def meshgrid(*args, indexing='xy'):
    order = [1, 0, *range(2, len(args))] if indexing == 'xy' and len(args) > 1 else range(len(args))
    return list(torch.broadcast_tensors(*[as_tensor(x).reshape([-1 if i == place else 1 for i in range(len(args))])
                                          for x, place in zip(args, order)]))


def einsum(equation, *inputs):
    return torch.einsum(equation, *map(as_tensor, inputs))


def squeeze(input, axis=None):
    for i in sorted([axis] if isinstance(axis, int) else axis or (), key=lambda i: -(i % input.dim())):
        input = K.squeeze(input, i)
    return input.squeeze() if axis is None else input


def pad(tensor, paddings, mode='CONSTANT', constant_values=0):
    pairs = [as_ints(pair) for pair in (paddings.tolist() if hasattr(paddings, 'tolist') else paddings)]
    if mode.upper() == 'CONSTANT':
        return F.pad(tensor, [side for pair in reversed(pairs) for side in pair], value=constant_values)
    edge = {'REFLECT': 0, 'SYMMETRIC': 1}[mode.upper()]  # whether the edge itself is repeated
    for axis, (before, after) in enumerate(pairs):
        n = tensor.shape[axis]
        index = [-i - edge if i < 0 else i if i < n else 2 * n - 2 + edge - i for i in range(-before, n + after)]
        tensor = tensor.index_select(axis, torch.tensor(index, device=tensor.device))
    return tensor


def matrix_band_part(input, num_lower, num_upper):
    rows, columns = input.shape[-2:]
    return input.tril(columns if num_upper < 0 else int(num_upper)).triu(-rows if num_lower < 0 else -int(num_lower))


def one_hot(indices, depth, on_value=None, off_value=None, axis=-1, dtype='float32'):
    hot = (indices.unsqueeze(-1) == torch.arange(int(depth), device=indices.device)).movedim(-1, axis)
    return torch.where(hot, *[as_tensor(default if x is None else x).to(torch_dtype(dtype)) for x, default in (
        (on_value, 1), (off_value, 0))])


def top_k(input, k=1, sorted=True):
    """The `k` largest elements of each row, and where they are: of equal ones the first come first."""
    values, indices = input.sort(dim=-1, descending=True, stable=True)
    return values[..., :int(k)], indices[..., :int(k)].int()


def sort(values, axis=-1, direction='ASCENDING'):
    return values.sort(dim=axis, descending=direction == 'DESCENDING').values


def argsort(values, axis=-1, direction='ASCENDING', stable=False):
    return values.argsort(dim=axis, descending=direction == 'DESCENDING', stable=True).int()


TopK, Unique = namedtuple('TopKV2', 'values indices'), namedtuple('Unique', 'y idx')


# ---------------------------------------------------------------- numbers

def eye(num_rows, num_columns=None, batch_shape=None, dtype='float32'):
    matrix = torch.eye(num_rows, num_rows if num_columns is None else num_columns, dtype=torch_dtype(dtype))
    return matrix.expand(*as_ints(batch_shape or ()), *matrix.shape)


def arange(start, limit=None, delta=1, dtype=None):
    start, limit = (0, start) if limit is None else (start, limit)
    bounds = [x.item() if isinstance(x, torch.Tensor) else x for x in (start, limit, delta)]
    whole = all(isinstance(x, int) for x in bounds)
    return torch.arange(*bounds, dtype=torch_dtype(dtype or ('int32' if whole else None)))


def fill(dims, value, dtype=None):
    return as_tensor(value, dtype).expand(as_ints(dims)).clone()


def matmul(a, b, transpose_a=False, transpose_b=False):
    return torch.matmul(a.mT if transpose_a else a, b.mT if transpose_b else b)


def div(x, y):
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode='floor')


def truediv(x, y):
    return x / y if x.is_floating_point() else x.double() / y


def squared_difference(x, y):
    return torch.square(x - y)


def count_nonzero(input_tensor, axis=None, keepdims=False, dtype='int64'):
    return K.sum((input_tensor != 0).to(torch_dtype(dtype)), axis, keepdims)


def norm(tensor, ord='euclidean', axis=None, keepdims=False):
    return torch.linalg.vector_norm(tensor, 2 if ord in ('euclidean', 'fro') else ord, axis, keepdims)


def cumsum(x, axis=0, exclusive=False, reverse=False, fn=torch.cumsum):
    """Sums (or products) up to each position; `exclusive` ones leave its own element out."""
    x = x.flip(axis) if reverse else x
    if exclusive:
        first = torch.full_like(x.narrow(axis, 0, 1), 0 if fn is torch.cumsum else 1)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    y = fn(x, axis, dtype=x.dtype)
    return y.flip(axis) if reverse else y


def l2_normalize(x, axis=None, epsilon=1e-12):
    return x * torch.rsqrt(torch.clamp(K.sum(torch.square(x), axis, True), min=epsilon))


def moments(x, axes, shift=None, keepdims=False):
    """Mean and population variance over axes. TensorFlow 1.13 does not use `shift` either."""
    return torch.var_mean(x, axes, correction=0, keepdim=keepdims)[::-1]


def batch_normalization(x, mean, variance, offset, scale, variance_epsilon):
    factor = torch.rsqrt(variance + variance_epsilon) * (1 if scale is None else scale)
    return x * factor + ((0 if offset is None else offset) - mean * factor)


def sigmoid_cross_entropy_with_logits(labels, logits):
    return torch.clamp(logits, min=0) - logits * labels + torch.log1p(torch.exp(-logits.abs()))


def weighted_cross_entropy_with_logits(targets, logits, pos_weight):
    surplus = torch.log1p(torch.exp(-logits.abs())) + torch.clamp(-logits, min=0)
    return (1 - targets) * logits + (1 + (pos_weight - 1) * targets) * surplus


def softmax_cross_entropy_with_logits_v2(labels, logits, axis=-1):
    return -torch.sum(labels * torch.log_softmax(logits, axis), axis)


def sparse_softmax_cross_entropy_with_logits(labels, logits):
    return torch.logsumexp(logits, -1) - logits.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)


# ---------------------------------------------------------------- images (samples, rows, columns, channels)

def depth_to_space(input, block_size):
    return input.unflatten(-1, (block_size, block_size, -1)).permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2, 3)


def space_to_depth(input, block_size):
    n, rows, columns, depth = input.shape
    x = input.reshape(n, rows // block_size, block_size, columns // block_size, block_size, depth)
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3)


def extract_image_patches(images, ksizes, strides, rates, padding):
    """One row of patch elements, channels innermost, at each place of a window."""
    x, sizes, steps, rates = to_channels_first(images), ksizes[1:3], strides[1:3], rates[1:3]
    if padding.upper() == 'SAME':
        sides = [same_padding(*each) for each in zip(x.shape[2:], sizes, steps, rates)]
        x = F.pad(x, [side for pair in reversed(sides) for side in pair])
    for axis, (size, step, rate) in enumerate(zip(sizes, steps, rates), start=2):
        x = x.unfold(axis, (size - 1) * rate + 1, step)[..., ::rate]
    return x.permute(0, 2, 3, 4, 5, 1).flatten(3)


def resize_images(images, size, method=0, align_corners=False):
    """Images, or one, with other rows and columns: method 0 is bilinear, 1 takes the nearest element."""
    if method not in (0, 1):
        raise ValueError(f'method {method} is not supported: only ResizeMethod.BILINEAR and NEAREST_NEIGHBOR.')
    x = images if method else images.float()
    for axis, n in enumerate(as_ints(size), start=x.dim() - 3):
        last = x.shape[axis] - 1
        places = torch.arange(n, device=x.device) * (last / (n - 1) if align_corners and n > 1 else (last + 1) / n)
        first = (places + .5 * (method and align_corners)).floor().clamp(max=last).long()
        low, weight = x.index_select(axis, first), (places - first).reshape(-1, *[1] * (x.dim() - axis - 1))
        x = low if method else torch.lerp(low, x.index_select(axis, (first + 1).clamp(max=last)), weight)
    return x


def crop_and_resize(image, boxes, box_ind, crop_size, method='bilinear', extrapolation_value=0.):
    """Boxes (y1, x1, y2, x2), in parts of the image, cut out of the images that `box_ind` names.

    Raises ValueError for a method that is neither 'bilinear' nor 'nearest'.
    """
    if method not in ('bilinear', 'nearest'):
        raise ValueError(f'method {method!r} is not supported: only "bilinear" and "nearest".')
    ends, weights, outside = [], [], False
    for axis, n in enumerate(as_ints(crop_size)):
        last, start, end = image.shape[axis + 1] - 1, boxes[:, axis, None], boxes[:, axis + 2, None]
        steps = torch.arange(n, device=image.device) * ((end - start) * last / max(n - 1, 1))
        places = start * last + steps if n > 1 else .5 * (start + end) * last
        places = places.unsqueeze(1 if axis else 2)
        outside = outside | (places < 0) | (places > last)
        places = torch.floor(places + .5) if method == 'nearest' else places
        ends.append([edge(places).clamp(0, last).long() for edge in (torch.floor, torch.ceil)])
        weights.append((places - places.floor()).unsqueeze(-1))
    samples, (top, bottom), (left, right) = box_ind.long()[:, None, None], *ends
    above, below = [torch.lerp(image[samples, y, left].float(), image[samples, y, right].float(), weights[1])
                    for y in (top, bottom)]
    return torch.where(outside.unsqueeze(-1), extrapolation_value, torch.lerp(above, below, weights[0]))


def set_intersection(a, b):
    """Of each last dimension the values in both, sorted; dense, with zeros up to the longest."""
    rows = [x[torch.isin(x, y)].unique() for x, y in zip(a.flatten(0, -2), b.flatten(0, -2))]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).unflatten(0, a.shape[:-1])


def non_max_suppression(boxes, scores, max_output_size, iou_threshold=.5, score_threshold=-math.inf):
    """Indices of the boxes, best first, that overlap no better one by more than `iou_threshold`."""
    low, high = torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])
    areas, kept, left = (high - low).prod(1), [], torch.argsort(scores, descending=True, stable=True)
    left = left[scores[left] > score_threshold]
    while len(left) and len(kept) < int(max_output_size):
        best, left = left[0], left[1:]
        kept.append(best)
        shared = (torch.minimum(high[best], high[left]) - torch.maximum(low[best], low[left])).clamp(min=0).prod(1)
        left = left[~(shared / (areas[best] + areas[left] - shared) > iou_threshold)]
    return torch.tensor(kept, dtype=torch.int32, device=boxes.device)
