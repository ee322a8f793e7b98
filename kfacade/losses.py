"""Loss functions: of targets and predictions of shape (batch, ..., units), one value per (batch, ...).

Only the last axis is reduced; the model takes weights, masks and the mean over the batch.
"""
import functools
import math

import torch
import torch.nn.functional as F

from . import backend as K
from .backend import pullbacks
from .backend.symbolic import as_tensor, op
from .utils.generic_utils import deserialize_keras_object, interpret, public_objects, serialize_keras_object


def _of_tensors(formula):
    """Makes a backend function of a formula of two tensors; numbers and arrays become tensors first."""
    @op
    @functools.wraps(formula)
    def function(y_true, y_pred):
        return formula(as_tensor(y_true), as_tensor(y_pred))
    return function


@_of_tensors
def mean_squared_error(y_true, y_pred):
    """Mean of ``(y_pred - y_true) ** 2``."""
    return pullbacks.mean_squared_error((), y_true, y_pred)[0]


mean_squared_error.body.with_pullback = pullbacks.mean_squared_error


@_of_tensors
def mean_absolute_error(y_true, y_pred):
    """Mean of ``abs(y_pred - y_true)``."""
    return (y_pred - y_true).abs().mean(-1)


@_of_tensors
def mean_absolute_percentage_error(y_true, y_pred):
    """Mean of ``abs(y_true - y_pred) / abs(y_true)``, in percent; divisors are at least ``epsilon()``."""
    return 100. * ((y_true - y_pred) / y_true.abs().clamp(min=K.epsilon())).abs().mean(-1)


@_of_tensors
def mean_squared_logarithmic_error(y_true, y_pred):
    """Mean of the squared difference of ``log(1 + y)``, where y is at least ``epsilon()``."""
    predicted = (y_pred.clamp(min=K.epsilon()) + 1.).log()
    return (predicted - (y_true.clamp(min=K.epsilon()) + 1.).log()).square().mean(-1)


@_of_tensors
def squared_hinge(y_true, y_pred):
    """Mean of ``max(1 - y_true * y_pred, 0) ** 2``, for targets -1 and 1."""
    return (1. - y_true * y_pred).clamp(min=0.).square().mean(-1)


@_of_tensors
def hinge(y_true, y_pred):
    """Mean of ``max(1 - y_true * y_pred, 0)``, for targets -1 and 1."""
    return (1. - y_true * y_pred).clamp(min=0.).mean(-1)


@_of_tensors
def categorical_hinge(y_true, y_pred):
    """How much the best wrong class scores above the right one less a margin of 1, for one-hot targets."""
    right = (y_true * y_pred).sum(-1)
    wrong = ((1. - y_true) * y_pred).amax(-1)
    return torch.relu(wrong - right + 1.)


@_of_tensors
def logcosh(y_true, y_pred):
    """Mean of ``log(cosh(error))``: about half the squared error if that is small, else the absolute one less log 2."""
    error = y_pred - y_true
    return (error + F.softplus(-2. * error) - math.log(2.)).mean(-1)


def categorical_crossentropy(y_true, y_pred):
    """Cross-entropy with one-hot (or probability) targets; predictions are scaled to sum 1 first."""
    return K.categorical_crossentropy(y_true, y_pred)


def sparse_categorical_crossentropy(y_true, y_pred):
    """Cross-entropy with integer classes, of shape (batch, ..., 1), as targets."""
    return K.sparse_categorical_crossentropy(y_true, y_pred)


def binary_crossentropy(y_true, y_pred):
    """Mean cross-entropy of independent probabilities with targets in [0, 1]."""
    return K.mean(K.binary_crossentropy(y_true, y_pred), axis=-1)


@_of_tensors
def kullback_leibler_divergence(y_true, y_pred):
    """Sum of ``y_true * log(y_true / y_pred)``, both clipped to [``epsilon()``, 1]."""
    y_true = y_true.clamp(K.epsilon(), 1.)
    return (y_true * (y_true / y_pred.clamp(K.epsilon(), 1.)).log()).sum(-1)


@_of_tensors
def poisson(y_true, y_pred):
    """Mean of ``y_pred - y_true * log(y_pred)``: Poisson likelihood of counts, up to a constant."""
    return (y_pred - y_true * (y_pred + K.epsilon()).log()).mean(-1)


@_of_tensors
def cosine_proximity(y_true, y_pred):
    """Minus the cosine of the angle between target and prediction."""
    return -(K.l2_normalize(y_true, axis=-1) * K.l2_normalize(y_pred, axis=-1)).sum(-1)


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence
cosine = cosine_proximity


def serialize(loss):
    """The name of a loss function (a config dict for an object with ``get_config``)."""
    return serialize_keras_object(loss)


def deserialize(name, custom_objects=None):
    """The loss function called `name`, looked for in `custom_objects` first. Raises ValueError if it is unknown."""
    return deserialize_keras_object(name, public_objects(globals()), custom_objects, 'loss function')


def get(identifier):
    """The loss function meant by a name, a config or a callable; None for None. Raises ValueError for anything else."""
    return None if identifier is None else interpret(identifier, deserialize, 'loss function')
