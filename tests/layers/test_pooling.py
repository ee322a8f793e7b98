"""Pooling over windows and over everything."""
import itertools

import numpy as np
import pytest
from layers_harness import check_layer, data, gradients

from kfacade import backend as K
from kfacade import layers
from kfacade.layers import GlobalAveragePooling1D, Input, Masking, MaxPooling2D
from kfacade.models import Model


def first(x):
    """Channels-last data with the channels first."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def pooled(x, reduce, size, strides, padding):
    """Pooling by definition; windows are cut off at the edges, and padding is never part of them."""
    rank = x.ndim - 2
    if padding == 'same':
        sizes = [-(-n // s) for n, s in zip(x.shape[1:], strides)]
        before = [max((m - 1) * s + k - n, 0) // 2 for n, m, s, k in zip(x.shape[1:], sizes, strides, size)]
    else:
        sizes, before = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:], size, strides)], [0] * rank
    y = np.empty((len(x), *sizes, x.shape[-1]), 'f')
    for position in itertools.product(*map(range, sizes)):
        starts = [p * s - b for p, s, b in zip(position, strides, before)]
        window = x[(slice(None), *(slice(max(start, 0), start + k) for start, k in zip(starts, size)))]
        y[(slice(None), *position)] = reduce(window, axis=tuple(range(1, rank + 1)))
    return y


CASES = [
    (1, (2, 7, 3), (2,), None, 'valid'),
    (1, (2, 7, 3), (3,), (2,), 'same'),
    (1, (2, 8, 3), (2,), (1,), 'same'),
    (2, (2, 7, 6, 3), (2, 2), None, 'valid'),
    (2, (2, 7, 6, 3), (3, 2), (1, 2), 'valid'),
    (2, (2, 7, 6, 3), (2, 2), (2, 2), 'same'),
    (2, (2, 7, 6, 3), (3, 2), (2, 1), 'same'),
    (3, (2, 5, 4, 6, 2), (2, 2, 2), None, 'valid'),
    (3, (2, 5, 4, 6, 2), (2, 3, 2), (2, 1, 1), 'same'),
]


@pytest.mark.parametrize('kind,reduce', [('Max', np.max), ('Average', np.mean)])
@pytest.mark.parametrize('rank,shape,size,strides,padding', CASES)
def test_pooling(kind, reduce, rank, shape, size, strides, padding):
    x, layer = data(*shape), getattr(layers, f'{kind}Pooling{rank}D')
    expected = pooled(x, reduce, size, strides or size, padding)
    check_layer(layer(size, strides, padding), x, expected)
    check_layer(layer(size, strides, padding, data_format='channels_first'), first(x), first(expected))


def test_max_pooling_passes_gradients_to_the_maxima():
    x = data(2, 4, 4, 3)
    by_input, = gradients(MaxPooling2D(), x)
    maxima = np.kron(pooled(x, np.max, (2, 2), (2, 2), 'valid'), np.ones((1, 2, 2, 1)))
    np.testing.assert_allclose(by_input, np.where(x == maxima, 2 * x, 0), rtol=1e-6)


@pytest.mark.parametrize('rank', [1, 2, 3])
@pytest.mark.parametrize('kind,reduce', [('Max', np.max), ('Average', np.mean)])
def test_global_pooling(kind, reduce, rank):
    x, layer = data(2, 3, 4, 5, 6)[(0,) * (3 - rank)], getattr(layers, f'Global{kind}Pooling{rank}D')
    expected = reduce(x, axis=tuple(range(1, rank + 1)))
    check_layer(layer(), x, expected)
    check_layer(layer(data_format='channels_first'), first(x), expected)


def test_global_average_pooling_leaves_masked_steps_out():
    x = data(2, 4, 3)
    x[0, 1:3] = x[1, 0] = 0
    symbol = Input((4, 3))
    layer = GlobalAveragePooling1D()
    y = layer(Masking()(symbol))
    expected = [x[0, [0, 3]].mean(0), x[1, 1:].mean(0)]
    np.testing.assert_allclose(Model(symbol, y).predict(x), expected, rtol=1e-5)
    assert layer.output_mask is None


def test_pooling_errors_and_unknown_sizes():
    with pytest.raises(ValueError, match='Layer p cannot be applied.*Negative dimension size'):
        MaxPooling2D(3, name='p')(Input((2, 5, 1)))
    with pytest.raises(ValueError, match='`padding` argument must be one of'):
        MaxPooling2D(2, padding='full')
    with pytest.raises(ValueError, match='`pool_size` argument must be a tuple of 2 integers'):
        MaxPooling2D((2, 2, 2))
    with pytest.raises(TypeError, match='does not support masking'):
        layers.MaxPooling1D()(Masking()(Input((4, 3))))
    assert K.int_shape(MaxPooling2D()(Input((None, 7, 3)))) == (None, None, 3, 3)


def test_a_global_pooling_of_ones_own():
    """Scripts derive from Keras' private base classes."""
    from kfacade.layers.pooling import _GlobalPooling2D

    class GlobalSum(_GlobalPooling2D):
        def call(self, inputs):
            return K.sum(inputs, axis=[1, 2])

    x = data(2, 3, 4, 5)
    check_layer(GlobalSum(), x, x.sum((1, 2)))


def test_a_pooling_function_of_ones_own():
    """With the values of Keras 2.2.4."""
    class Largest(MaxPooling2D):
        def _pooling_function(self, inputs, pool_size, strides, padding, data_format):
            pooled = super()._pooling_function(inputs, pool_size, strides, padding, data_format)
            return K.cast(K.equal(layers.UpSampling2D(pool_size)(pooled), inputs), 'float32')

        def compute_output_shape(self, input_shape):
            return input_shape

    class Negative(layers.AveragePooling1D):
        def _pooling_function(self, inputs, pool_size, strides, padding, data_format):
            assert (K.int_shape(inputs), pool_size, strides) == ((None, 2, 4, 1), (2, 1), (2, 1))
            return -super()._pooling_function(inputs, pool_size, strides, padding, data_format)

    x = np.arange(16, dtype='float32')
    check_layer(Largest(), x.reshape(1, 4, 4, 1), np.isin(x, [5, 7, 13, 15]).astype('float32').reshape(1, 4, 4, 1))
    x = Input((2, 4))
    model = Model(x, Negative(data_format='channels_first')(x))
    np.testing.assert_array_equal(model.predict(np.arange(8.).reshape(1, 2, 4)), -np.array([[[.5, 2.5], [4.5, 6.5]]]))
