"""Activation functions, by name or as they are."""
import warnings

import torch

from . import backend as K
from .backend import elu, hard_sigmoid, relu, sigmoid, softplus, softsign, tanh
from .backend.symbolic import op
from .utils.generic_utils import deserialize_keras_object, interpret, public_objects, serialize_keras_object

_OF_THE_BACKEND = {function.__name__: function
                   for function in (elu, hard_sigmoid, relu, sigmoid, softplus, softsign, tanh)}


def softmax(x, axis=-1):
    """Softmax along `axis`; of a matrix always along its rows, as Keras has it. Raises ValueError for a vector."""
    ndim = K.ndim(x)
    if ndim < 2:
        raise ValueError(f'Cannot apply softmax to a tensor that is 1D. Received input: {x}')
    return K.softmax(x) if ndim == 2 else K.softmax(x, axis)


@op
def selu(x):
    """``scale * elu(x, alpha)`` with the constants that keep mean 0 and variance 1 from layer to layer.

    To be used with the initializer `lecun_normal` and with `AlphaDropout` (Klambauer et al. 2017, arXiv:1706.02515).
    """
    return torch.selu(x)


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
    known = {**_OF_THE_BACKEND, **public_objects(globals())}
    return deserialize_keras_object(name, known, custom_objects, 'activation function')


def get(identifier):
    """The activation function meant by a name or a callable; `linear` for None. Raises ValueError for anything else."""
    if identifier is None:
        return linear
    if hasattr(identifier, '_inbound_nodes'):
        warnings.warn(f'Do not pass a layer instance (such as {type(identifier).__name__}) as the activation argument '
                      'of another layer. Instead, advanced activation layers should be used just like any other layer '
                      'in a model.', stacklevel=2)
    return interpret(identifier, deserialize, 'activation function')
