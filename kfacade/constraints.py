"""Constraints: what is done to a weight after each update.

`axis` are the axes over which a norm is taken: 0 for the weights of each unit of a `Dense` layer (kernel of shape
(inputs, units)), ``[0, 1, 2]`` for each filter of a `Conv2D` (rows, columns, channels, filters).
"""
import dataclasses

from . import backend as K
from .utils.generic_utils import Configured, deserialize_keras_object, interpret, public_objects, serialize_keras_object


def _norms(w, axis):
    return K.sqrt(K.sum(K.square(w), axis=axis, keepdims=True))


class Constraint(Configured):
    """Base of constraints: called with a weight, gives the weight to store in its place."""

    def __call__(self, w):
        return w


@dataclasses.dataclass(eq=False)
class MaxNorm(Constraint):
    """Scales weights whose norm exceeds `max_value` down to it (Srivastava et al. 2014, with dropout)."""

    max_value: float = 2
    axis: int | list = 0

    def __call__(self, w):
        norms = _norms(w, self.axis)
        return w * (K.clip(norms, 0, self.max_value) / (K.epsilon() + norms))


class NonNeg(Constraint):
    """Sets negative weights to zero."""

    def __call__(self, w):
        return w * K.cast(K.greater_equal(w, 0.), K.floatx())


@dataclasses.dataclass(eq=False)
class UnitNorm(Constraint):
    """Scales weights to norm 1."""

    axis: int | list = 0

    def __call__(self, w):
        return w / (K.epsilon() + _norms(w, self.axis))


@dataclasses.dataclass(eq=False)
class MinMaxNorm(Constraint):
    """Moves norms outside of [`min_value`, `max_value`] into it, by the part `rate` of the way at each update."""

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: int | list = 0

    def __call__(self, w):
        norms = _norms(w, self.axis)
        desired = self.rate * K.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (desired / (K.epsilon() + norms))


max_norm = maxnorm = MaxNorm
non_neg = nonneg = NonNeg
unit_norm = unitnorm = UnitNorm
min_max_norm = MinMaxNorm


def serialize(constraint):
    """The config of a constraint."""
    return serialize_keras_object(constraint)


def deserialize(config, custom_objects=None):
    """The constraint of a config. Raises ValueError if it is unknown."""
    return deserialize_keras_object(config, public_objects(globals()), custom_objects, 'constraint')


def get(identifier):
    """The constraint meant by a name, a config or a callable; None for None. Raises ValueError for anything else."""
    return None if identifier is None else interpret(identifier, deserialize, 'constraint', instantiate=True)
