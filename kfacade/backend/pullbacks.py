"""Functions that give, with their result, how a gradient goes back through it: what training needs without autograd.

Each takes `wanted`, whether a gradient is wanted for each of its arguments, then the arguments, outside of autograd. It
gives the result and its pullback, a function from the gradient for the result to a list of those for the arguments
(None, or anything, where none is wanted). A gradient may be a number, or a tensor without axes, for all elements.
"""
import operator

import torch
import torch.nn.functional as F

from ..config import epsilon as fuzz
from .private_ops import gradients, linear, linear_gradients

_aten = torch.ops.aten
_MIN_OVER = 2 ** 12  # numbers from which memory that need not be new saves more than the longer call costs


def has_axes(gradient):
    """Whether a gradient has an element for each, and not one for all."""
    return isinstance(gradient, torch.Tensor) and gradient.dim() > 0


def full(gradient, like):
    """The gradient for a tensor, with an element for each of its own; None stays."""
    return gradient if gradient is None or has_axes(gradient) else torch.full_like(like, gradient)


def _fitted(gradient, x, y):
    """The gradient for `x`, from one for each element of `y`, to whose shape it was broadcast."""
    fits = x.shape == y.shape and x.dtype == y.dtype and (not has_axes(gradient) or gradient.shape == y.shape)
    return gradient if fits else full(gradient, y).expand(y.shape).sum_to_size(x.shape).to(x.dtype)


def as_leaf(x):
    """`x` as a tensor that a record of autograd's begins with."""
    return x.detach().requires_grad_(x.is_floating_point())


def by_autograd(targets, parameters, call, /, *args, **kwargs):
    """``call(*args, **kwargs)``, with the pullback of this one call that autograd finds.

    That gives the gradients for `targets`, which are among the arguments, each `as_leaf`, then for the parameters.
    """
    with torch.enable_grad():
        y = call(*args, **kwargs)

    def pullback(dy):
        reached = [x for x in targets + parameters if x.requires_grad and y.requires_grad]
        found = iter(gradients(y, reached, full(dy, y)) if reached else ())
        return [next(found) if x.requires_grad and y.requires_grad else None for x in targets + parameters]
    return y.detach(), pullback


# ---------------------------------------------------------------- activations

def softmax(x):
    return torch.softmax(x, -1)


def unchanged(x):
    return x


def _relu_back(dy, y, over):
    if over and y.numel() > _MIN_OVER and dy.stride() == y.stride():
        return _aten.threshold_backward.grad_input(dy, y, 0, grad_input=dy)
    return _aten.threshold_backward.default(dy, y, 0)


# By the function: one that may write over its argument, and its gradient from that for its result, this itself, and
# whether it may write over the former.
ACTIVATIONS = {
    torch.relu: (torch.relu_, _relu_back),
    torch.sigmoid: (torch.sigmoid_, lambda dy, y, over: _aten.sigmoid_backward.default(dy, y)),
    torch.tanh: (torch.tanh_, lambda dy, y, over: _aten.tanh_backward.default(dy, y)),
    softmax: (softmax, lambda dy, y, over: _aten._softmax_backward_data.default(dy, y, -1, y.dtype)),
}


def activation(wanted, x, activation, over=False):
    """One of the `ACTIVATIONS` of `x`, which with `over` may be written over, as may a gradient with that."""
    in_place, backward = ACTIVATIONS[activation]
    y = in_place(x) if over else activation(x)
    return y, lambda dy, over=False: [backward(full(dy, y), y, over)]


# ---------------------------------------------------------------- arithmetic

def _by_element(function, *backward):
    """The rule of a function of numbers and tensors, which are broadcast. Its gradients may share memory.

    `backward` gives, for each argument, its gradient from that for the result, the result, and the arguments.
    """
    def rule(wanted, *args):
        y = function(*args)

        def pullback(dy):
            return [_fitted(back(dy, y, *args), x, y) if flag and x.is_floating_point() else None
                    for flag, back, x in zip(wanted, backward, args)]
        return y, pullback
    return rule


# By the function, which cannot have an attribute.
ARITHMETIC = {function: _by_element(function, *backward) for function, *backward in (
    (operator.add, lambda dy, y, a, b: dy, lambda dy, y, a, b: dy),
    (operator.sub, lambda dy, y, a, b: dy, lambda dy, y, a, b: -dy),
    (operator.mul, lambda dy, y, a, b: dy * b, lambda dy, y, a, b: dy * a),
    (operator.truediv, lambda dy, y, a, b: dy / b, lambda dy, y, a, b: dy * -y / b),
    (operator.neg, lambda dy, y, a: -dy),
    (torch.exp, lambda dy, y, a: dy * y),
    (torch.square, lambda dy, y, a: dy * (2. * a)),
)}


# ---------------------------------------------------------------- layers

def dense(wanted, x, weight, bias):
    """``x @ weight.T + bias``."""
    rows = x if x.dim() == 2 else x.flatten(0, -2)
    y = linear(rows, weight, bias)

    def pullback(dy):
        dy = full(dy, y)
        dx, *others = linear_gradients(wanted, dy if dy.dim() == 2 else dy.flatten(0, -2), rows, weight)
        return [dx if dx is None or x.dim() == 2 else dx.view(x.shape), *others]
    return y if x.dim() == 2 else y.view(*x.shape[:-1], -1), pullback


def batch_norm(wanted, x, gamma, beta, mean, variance, training, rate, epsilon, *_):
    """``torch.batch_norm``."""
    if not x.numel():
        return x, lambda dy: [dy, *(None if p is None else torch.zeros_like(p) for p in (gamma, beta))]
    y, *moments = torch.native_batch_norm(x, gamma, beta, mean, variance, training, rate, epsilon)
    moments = [*((None, None) if training else (mean, variance)), *moments]
    return y, lambda dy: _aten.native_batch_norm_backward.default(dy, x, gamma, *moments, training, epsilon, wanted[:3])


def times(wanted, x, mask):
    """``x * mask``, for a mask without gradient, which is broadcast."""
    return x * mask, lambda dy: [full(dy, x) * mask]


def reshaped(wanted, x, y):
    """`y`, which has the elements of `x` in their order."""
    return y, lambda dy: [dy.reshape(x.shape) if has_axes(dy) else dy]


# ---------------------------------------------------------------- reductions and losses, of targets and predictions

def mean(wanted, x, axis=None):
    """Over all axes, one, or several."""
    axes = range(x.dim()) if axis is None else [i % x.dim() for i in ([axis] if isinstance(axis, int) else axis)]
    y = x.mean(list(axes)) if axes else x

    def pullback(dy):
        if has_axes(dy):
            dy = dy.reshape([1 if i in axes else size for i, size in enumerate(x.shape)]).expand(x.shape)
        return [dy / max(x.numel() // max(y.numel(), 1), 1)]
    return y, pullback


def _by_sample(dy, axis=-1):
    """The gradient for what has lost an axis, as it goes to each element there."""
    return dy.unsqueeze(axis) if has_axes(dy) else dy


def mean_squared_error(wanted, target, output):
    """The mean over the last axis."""
    error = output - target

    def pullback(dy):
        gradient = error * (_by_sample(dy) * (2. / max(error.shape[-1], 1)))
        return [_fitted(-gradient, target, error) if wanted[0] else None,
                gradient if output.shape == error.shape else _fitted(gradient, output, error)]
    return (error * error).mean(-1), pullback  # autograd takes longer for a square


def clipped(output):
    """Probabilities kept from 0 and 1."""
    return output.clamp(fuzz(), 1. - fuzz())


def categorical_crossentropy(wanted, target, output, *, axis=-1):
    """Of probabilities along an axis, which are scaled to sum to 1 there."""
    total = output.sum(axis, True)
    scaled = output / total
    inner = clipped(scaled)
    logs = inner.log()
    products = target * logs

    def pullback(dy):
        dy = _by_sample(dy, axis)
        gradient = _fitted(target / inner * (inner == scaled) * -dy, output, products)
        gradient = (gradient - (gradient * scaled).sum(axis, True)) / total
        return [_fitted(logs * -dy, target, products) if wanted[0] else None, gradient]
    return -products.sum(axis), pullback


def binary_crossentropy(wanted, target, output):
    """Of each probability."""
    logits = torch.logit(output, fuzz())

    def pullback(dy):
        inner = clipped(output)
        gradient = (inner - target) / (inner * (1. - inner)) * (inner == output) * dy
        return [logits * -dy if wanted[0] else None, gradient]
    return F.binary_cross_entropy_with_logits(logits, target.to(output.dtype), reduction='none'), pullback
