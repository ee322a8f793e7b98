"""Penalties on weights and activations, which are added to the loss."""
import dataclasses

from . import backend as K
from .utils.generic_utils import Configured, deserialize_keras_object, interpret, public_objects, serialize_keras_object


class Regularizer:
    """Base of regularizers: called with a tensor, gives the scalar penalty."""

    def __call__(self, x):
        return 0.

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@dataclasses.dataclass(eq=False)
class L1L2(Configured, Regularizer):
    """``l1 * sum(abs(x)) + l2 * sum(x ** 2)``."""

    l1: float = 0.
    l2: float = 0.

    def __post_init__(self):
        super().__post_init__()
        self.l1, self.l2 = (float(K.cast_to_floatx(factor)) for factor in (self.l1, self.l2))

    def __call__(self, x):
        penalty = 0.
        if self.l1:
            penalty += self.l1 * K.sum(K.abs(x))
        if self.l2:
            penalty += self.l2 * K.sum(K.square(x))
        return penalty


def l1(l=0.01):  # noqa: E741
    """``l * sum(abs(x))``."""
    return L1L2(l1=l)


def l2(l=0.01):  # noqa: E741
    """``l * sum(x ** 2)``."""
    return L1L2(l2=l)


def l1_l2(l1=0.01, l2=0.01):
    """``l1 * sum(abs(x)) + l2 * sum(x ** 2)``."""
    return L1L2(l1=l1, l2=l2)


def serialize(regularizer):
    """The config of a regularizer."""
    return serialize_keras_object(regularizer)


def deserialize(config, custom_objects=None):
    """The regularizer of a config. Raises ValueError if it is unknown."""
    return deserialize_keras_object(config, public_objects(globals()), custom_objects, 'regularizer')


def get(identifier):
    """The regularizer meant by a name, a config or a callable; None for None. Raises ValueError for anything else."""
    return None if identifier is None else interpret(identifier, deserialize, 'regularizer', instantiate=True)
