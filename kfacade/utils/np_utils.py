"""One-hot coding and normalisation of numpy arrays."""
import numpy as np


def to_categorical(y, num_classes=None, dtype='float32'):
    """One-hot vectors of integer classes: shape ``(...)`` or ``(..., 1)`` becomes ``(..., num_classes)``.

    `num_classes` is one more than the largest class if it is not given. Raises IndexError for a class beyond it.
    """
    y = np.array(y, dtype='int')
    shape = y.shape[:-1] if y.ndim > 1 and y.shape[-1] == 1 else y.shape
    num_classes = num_classes or np.max(y) + 1
    one_hot = np.zeros((y.size, num_classes), dtype=dtype)
    one_hot[np.arange(y.size), y.ravel()] = 1
    return one_hot.reshape((*shape, num_classes))


def normalize(x, axis=-1, order=2):
    """`x` divided by its norm of the given order along `axis`; where the norm is zero, `x` stays as it is.

    An array of one axis, n numbers, gives (1, n), as in Keras.
    """
    norm = np.atleast_1d(np.linalg.norm(x, order, axis))
    return x / np.expand_dims(np.where(norm == 0, 1, norm), axis)
