"""Checks for layers of one's own, and small data to train on."""
import functools
import types

import numpy as np
from numpy.testing import assert_allclose

from .. import backend as K
from ..engine.input_layer import Input
from ..engine.training import Model
from ..saving.trust import unsafe_deserialization
from .generic_utils import has_arg


def get_test_data(num_train=1000, num_test=500, input_shape=(10,), output_shape=(2,), classification=True,
                  num_classes=2):
    """Random data that a model can learn: ``(x_train, y_train), (x_test, y_test)``, from numpy's global generator.

    Each sample, of `input_shape`, is normally distributed around its class, an integer below `num_classes`; without
    `classification`, around a number in [0, 1), as are its targets, of `output_shape`.
    """
    samples, n = num_train + num_test, int(np.prod(input_shape))
    if classification:
        y = np.random.randint(0, num_classes, size=(samples,))
        x = np.random.normal(y[:, None], 0.7, (samples, n))
    else:
        centers = np.random.random((samples,))
        values = np.random.normal(centers[:, None], 0.7, (samples, n + int(np.prod(output_shape))))
        x, y = values[:, :n], values[:, n:].reshape(samples, *output_shape).astype('float32')
    x = x.reshape(samples, *input_shape).astype('float32')
    return (x[:num_train], y[:num_train]), (x[num_train:], y[num_train:])


def layer_test(layer_cls, kwargs=types.MappingProxyType({}), input_shape=None, input_dtype=None, input_data=None,
               expected_output=None, expected_output_dtype=None, fixed_batch_size=False):
    """Checks a layer with one input and one output, and returns its output on the data.

    Arguments:
        layer_cls, kwargs: the class, and what to make the layer with.
        input_shape: shape of the input with the batch; None stands for a random size. Or `input_data`, an array.
        input_dtype: of the input (default: that of the data, or of floats).
        expected_output: array to compare with (relative error up to 1e-3). expected_output_dtype: `input_dtype` if not
            given.
        fixed_batch_size: whether the model knows the batch size.

    Checked are the weights' and the configurations' way there and back, the reported shape and dtype, and a step of
    training where the layer then behaves differently. Raises AssertionError, or what the layer raises.
    """
    if input_data is None:
        assert input_shape, '`layer_test` needs an `input_shape` or `input_data`.'
        sizes = [np.random.randint(1, 4) if size is None else size for size in input_shape]
        input_data = (10 * np.random.random(sizes)).astype(input_dtype or K.floatx())
    input_shape = input_data.shape if input_shape is None else input_shape
    input_dtype = input_dtype or str(input_data.dtype)

    layer = layer_cls(**kwargs)
    weights = layer.get_weights()
    layer.set_weights(weights)
    if weights and has_arg(layer_cls.__init__, 'weights'):
        layer = layer_cls(**{**kwargs, 'weights': weights})
    expected_shape = layer.compute_output_shape(input_shape)
    x = Input(dtype=input_dtype, **{'batch_shape': input_shape} if fixed_batch_size else {'shape': input_shape[1:]})
    y = layer(x)
    dtype = expected_output_dtype or input_dtype
    assert K.dtype(y) == dtype, f'{layer.name} gives {K.dtype(y)}, where {dtype} was expected.'

    model = Model(x, y)
    output = model.predict(input_data)
    for expected, actual in zip(expected_shape, output.shape):
        assert expected in (None, actual), f'{layer.name} reports {expected_shape}, but gives {output.shape}.'
    if expected_output is not None:
        assert_allclose(output, expected_output, rtol=1e-3)
    with unsafe_deserialization():  # of a Lambda that the caller made
        again = Model.from_config(model.get_config())
    if model.weights:
        again.set_weights(model.get_weights())
        assert_allclose(again.predict(input_data), output, rtol=1e-3)
    if has_arg(layer.call, 'training'):
        model.compile('rmsprop', 'mse')
        model.train_on_batch(input_data, output)
    with unsafe_deserialization():
        layer_cls.from_config({**layer.get_config(), 'batch_input_shape': input_shape})
    return output


def keras_test(func):
    """Decorator of a test: names and symbols of the session are cleared after it."""
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        result = func(*args, **kwargs)
        K.clear_session()
        return result
    return wrapper
