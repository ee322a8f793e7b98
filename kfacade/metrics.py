"""Metric functions: of targets and predictions of shape (batch, ..., units), one value per (batch, ...).

Every loss function is a metric too. The model takes the mean over the batch (and weights, for ``weighted_metrics``).
"""
import difflib

from . import backend as K
from .backend.dtypes import torch_dtype
from .losses import *  # noqa: F403 (every loss is a metric, under its short names too)
from .losses import _of_tensors
from .utils.generic_utils import deserialize_keras_object, interpret, public_objects, serialize_keras_object


@_of_tensors
def binary_accuracy(y_true, y_pred):
    """The part of the units whose prediction, rounded, is the target."""
    return (y_true == y_pred.round()).to(torch_dtype()).mean(-1)


@_of_tensors
def categorical_accuracy(y_true, y_pred):
    """1 where the largest prediction is at the largest target, else 0."""
    return (y_true.argmax(-1) == y_pred.argmax(-1)).to(torch_dtype())


@_of_tensors
def sparse_categorical_accuracy(y_true, y_pred):
    """1 where the largest prediction is that of the target class, else 0. `y_true` has shape (batch, ..., 1)."""
    predicted = y_pred.argmax(-1)
    return (y_true.reshape(predicted.shape) == predicted).to(torch_dtype())


def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """The part of the batch whose class is among the `k` largest predictions, a scalar. `y_pred`: (batch, classes)."""
    return K.mean(K.in_top_k(y_pred, K.argmax(y_true, axis=-1), k), axis=-1)


def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5):
    """As `top_k_categorical_accuracy`, for integer classes as targets."""
    return K.mean(K.in_top_k(y_pred, K.cast(K.flatten(y_true), 'int32'), k), axis=-1)


_FOR_COMPILE = 'accuracy', 'crossentropy'  # which function these mean depends on the output


def serialize(metric):
    """The name of a metric function (a config dict for an object with ``get_config``)."""
    return serialize_keras_object(metric)


def deserialize(config, custom_objects=None):
    """The metric of a name or a config. Raises ValueError if it is unknown."""
    known = public_objects(globals())
    try:
        return deserialize_keras_object(config, known, custom_objects, 'metric function')
    except ValueError:
        meant = isinstance(config, str) and difflib.get_close_matches(config, [*known, *_FOR_COMPILE], n=1)
        if not meant or meant[0] not in _FOR_COMPILE:
            raise
        raise ValueError(f'Unknown metric function:{config}. Did you mean {meant[0]!r}?') from None


def get(identifier):
    """The metric meant by a name, a config or a callable. Raises ValueError for anything else."""
    return interpret(identifier, deserialize, 'metric function')
