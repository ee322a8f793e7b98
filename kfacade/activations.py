"""Activation functions, by name or as they are."""
import warnings

import torch

from . import backend as K
from .backend.symbolic import op
from .utils.generic_utils import deserialize_keras_object, interpret, public_objects, serialize_keras_object


def softmax(x, axis=-1):
    """Softmax along `axis`; of a matrix always along its rows, as Keras has it. Raises ValueError for a vector."""
    ndim = K.ndim(x)
    if ndim < 2:
        raise ValueError(f'Cannot apply softmax to a tensor that is 1D. Received input: {x}')
    return K.softmax(x) if ndim == 2 else K.softmax(x, axis)


def elu(x, alpha=1.0):
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2015, arXiv:1511.07289)."""
    return K.elu(x, alpha)


@op
def selu(x):
    """``scale * elu(x, alpha)`` with the constants that keep mean 0 and variance 1 from layer to layer.

    To be used with the initializer `lecun_normal` and with `AlphaDropout` (Klambauer et al. 2017, arXiv:1706.02515).
    """
    return torch.selu(x)


def softplus(x):
    """``log(exp(x) + 1)``."""
    return K.softplus(x)


def softsign(x):
    """``x / (abs(x) + 1)``."""
    return K.softsign(x)


def relu(x, alpha=0., max_value=None, threshold=0.):
    """``alpha * (x - threshold)`` below `threshold`, else ``x``, but at most `max_value`; by default ``max(x, 0)``."""
    return K.relu(x, alpha=alpha, max_value=max_value, threshold=threshold)


def tanh(x):
    """Hyperbolic tangent."""
    return K.tanh(x)


def sigmoid(x):
    """``1 / (1 + exp(-x))``."""
    return K.sigmoid(x)


def hard_sigmoid(x):
    """``0.2 * x + 0.5``, clipped to [0, 1]: cheaper than `sigmoid`."""
    return K.hard_sigmoid(x)


def exponential(x):
    """``exp(x)``."""
    return K.exp(x)


def linear(x):
    """``x`` itself."""
    return x


def serialize(activation):
    """The name of an activation function (a config dict for an object with ``get_config``)."""
    return serialize_keras_object(activation)


def deserialize(name, custom_objects=None):
    """The activation function called `name`, looked for in `custom_objects` first. Raises ValueError if unknown."""
    return deserialize_keras_object(name, public_objects(globals()), custom_objects, 'activation function')


def get(identifier):
    """The activation function meant by a name or a callable; `linear` for None. Raises ValueError for anything else."""
    from .engine.base_layer import Layer
    if identifier is None:
        return linear
    if isinstance(identifier, Layer):
        warnings.warn(f'Do not pass a layer instance (such as {type(identifier).__name__}) as the activation argument '
                      'of another layer. Instead, advanced activation layers should be used just like any other layer '
                      'in a model.', stacklevel=2)
    return interpret(identifier, deserialize, 'activation function')
