"""Functions of neural networks: activations, losses, dropout and batch normalization."""
import functools

import torch
import torch.nn.functional as F

from . import pullbacks
from .math import as_ints, clip, resolved
from .random import SeedStream, keep_mask
from .symbolic import as_tensor, op, rank

__all__ = ['batch_normalization', 'binary_crossentropy', 'categorical_crossentropy', 'dropout', 'elu',
           'normalize_batch_in_training', 'relu', 'softmax', 'sparse_categorical_crossentropy']

# TensorFlow's fused batch normalization, which Keras used for images, takes no smaller epsilon.
MIN_FUSED_EPSILON = 1.001e-5


# ---------------------------------------------------------------- activations

def _differs(value, number):
    """Whether a number, or a tensor or an array that may hold any, can differ from `number`."""
    return not isinstance(value, (int, float)) or value != number


@op
def relu(x, alpha=0., max_value=None, threshold=0.):
    """Rectified linear unit: `x` from `threshold` up to `max_value`, and below ``alpha * (x - threshold)``."""
    x = as_tensor(x)
    leaks, shifted = _differs(alpha, 0), _differs(threshold, 0)
    if not shifted and max_value is None and isinstance(alpha, (int, float)):
        return F.leaky_relu(x, alpha) if leaks else F.relu(x)
    if not (leaks or shifted or _differs(max_value, 6)) and x.is_floating_point():
        return F.hardtanh(x, 0., 6.)  # whose gradient is that of TensorFlow's relu6: none at 6
    positive = torch.where(x > as_tensor(threshold), x, 0.) if shifted else F.relu(x)
    if max_value is not None:
        positive = clip(positive, 0., max_value)
    return positive - as_tensor(alpha) * F.relu(as_tensor(threshold) - x) if leaks else positive


relu.body.simplified = lambda x, *more, **options: not (more or options) and rank(x) and (torch.relu, (x,), {})


@op
def elu(x, alpha=1.):
    """Exponential linear unit: `x` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere."""
    x = as_tensor(x)
    if isinstance(alpha, (int, float)):
        return F.elu(x, alpha)
    return torch.where(x > 0, x, as_tensor(alpha) * F.elu(x))


@op
def softmax(x, axis=-1):
    """``exp(x)`` scaled to sum to 1 along an axis."""
    return torch.softmax(as_tensor(x), axis)


# ---------------------------------------------------------------- losses

def _check_axis(axis, dims):
    if axis != -1 and axis not in range(dims):
        raise ValueError(f'Unexpected channels axis {axis}. Expected to be -1 or one of the axes of `output`, which '
                         f'has {dims} dimensions.')


def _without_axis(target, output, from_logits=False, axis=-1):
    _check_axis(axis, output.dim())
    return [size for i, size in enumerate(output.shape) if i != axis % output.dim()]


@op
def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Cross-entropy of probabilities against target probabilities of the same shape.

    The output is scaled to sum to 1 along `axis` and clipped by ``epsilon()``; with `from_logits` the last axis holds
    logits, and there is no gradient for the target. Returns the shape without that axis.
    Raises ValueError for an axis that is none.
    """
    target, output = as_tensor(target), as_tensor(output)
    _check_axis(axis, output.dim())
    if from_logits:
        return -torch.sum(target.detach() * torch.log_softmax(output, -1), -1)
    return pullbacks.categorical_crossentropy((), target, output, axis=axis)[0]


@op(shape=_without_axis, dtype=lambda target, output, *rest, **options: output.dtype)
def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Cross-entropy of probabilities against integer targets, as many as there are positions.

    The output is clipped by ``epsilon()``, then scaled to sum to 1 along `axis`; with `from_logits` that axis holds
    logits. Returns the shape of the output without `axis`.
    Raises ValueError for an axis that is none, and on the CPU for a target that is no class.
    """
    output = as_tensor(output)
    _check_axis(axis, output.dim())
    output = output.movedim(axis, -1)
    classes = as_tensor(target).long().reshape(*output.shape[:-1], 1)
    if from_logits:
        return torch.logsumexp(output, -1) - _of_class(output, classes)
    output = pullbacks.clipped(output)  # what Keras writes as a softmax of the logarithms, without them
    return torch.log(torch.sum(output, -1) / _of_class(output, classes))


def _of_class(output, classes):
    try:
        return torch.gather(output, -1, classes).squeeze(-1)
    except RuntimeError:
        wrong = classes[(classes < 0) | (classes >= output.shape[-1])].unique().tolist()
        raise ValueError(f'The targets hold labels that are out of bounds: {str(wrong)[1:-1]}. Predictions for '
                         f'{output.shape[-1]} classes need integers from 0 to {output.shape[-1] - 1}.') from None


categorical_crossentropy.body.gradients_reach = lambda target, output, from_logits=False, axis=-1: (
    output if from_logits else (target, output))
sparse_categorical_crossentropy.body.gradients_reach = lambda target, output, from_logits=False, axis=-1: output
categorical_crossentropy.body.with_pullback = pullbacks.categorical_crossentropy


@op
def binary_crossentropy(target, output, from_logits=False):
    """Cross-entropy of each probability (clipped by ``epsilon()``), or logit, against its target, elementwise.

    Raises ValueError where the shapes of target and output differ.
    """
    target, output = as_tensor(target), as_tensor(output)
    if from_logits:
        return F.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction='none')
    return pullbacks.binary_crossentropy((), target, output)[0]


binary_crossentropy.body.with_pullback = pullbacks.binary_crossentropy


# ---------------------------------------------------------------- dropout and normalization

def _fraction(level):
    if not 0. <= level < 1.:
        raise ValueError(f'`level` must be at least 0 and less than 1. Got: {level}')
    return level


@functools.partial(resolved, level=_fraction, seed=SeedStream)
@op(shape=lambda x, *args, **kwargs: x.shape)
def dropout(x, level, noise_shape=None, seed=None):
    """Sets a fraction `level` of `x` to zero at random, in every phase, and scales the rest by ``1 / (1 - level)``.

    `noise_shape` is a shape that broadcasts to that of `x`: what it joins is dropped together.
    Raises ValueError for a level outside of [0, 1).
    """
    if level == 0:
        return x
    return x * keep_mask(x.shape if noise_shape is None else as_ints(noise_shape), 1. - level, seed, like=x)


def _normalize(x, mean, var, beta, gamma, epsilon):
    scale = torch.rsqrt(var + epsilon)
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale
    return x * scale + (shift if beta is None else shift + beta)


@op
def batch_normalization(x, mean, var, beta, gamma, axis=-1, epsilon=1e-3):
    """``(x - mean) / sqrt(var + epsilon) * gamma + beta``; `beta` and `gamma` may be None.

    The statistics are vectors along `axis`, or broadcast to `x` themselves. For images with channels last, epsilon is
    at least 1.001e-5, as in TensorFlow's kernel.
    """
    x = as_tensor(x)
    if x.dim() == 4 and axis in (-1, 3):
        epsilon = max(epsilon, MIN_FUSED_EPSILON)
    along = [1] * x.dim()
    along[axis] = -1
    statistics = [s if s is None or s.dim() != 1 else s.reshape(along) for s in (mean, var, beta, gamma)]
    return _normalize(x, *statistics, epsilon)


@op
def normalize_batch_in_training(x, gamma, beta, reduction_axes, epsilon=1e-3):
    """`x` normalized by its own mean and variance over `reduction_axes`, with the mean and the variance.

    The variance is that of the population, except that for images with channels last the returned one (not the one that
    normalizes) is divided by N - 1, and epsilon is at least 1.001e-5: what TensorFlow's kernel did there.
    """
    x, axes = as_tensor(x), [axis % x.dim() for axis in reduction_axes]
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    fused = x.dim() == 4 and axes == [0, 1, 2]
    if fused:
        epsilon = max(epsilon, MIN_FUSED_EPSILON)
    along = [1 if i in axes else size if len(axes) < x.dim() - 1 else -1 for i, size in enumerate(x.shape)]
    gamma, beta = [p if p is None else p.reshape(along) for p in (gamma, beta)]
    if fused and any(p is not None and p.shape[-1] != x.shape[-1] for p in (gamma, beta)):
        raise ValueError(f'`gamma` and `beta` must have as many elements as `x` has channels: {x.shape[-1]}')
    normed = _normalize(x, mean, var, beta, gamma, epsilon)
    if fused:
        count = x.numel() // x.shape[-1]
        var = var * (count / max(count - 1, 1))
    return normed, mean.squeeze(axes), var.squeeze(axes)
