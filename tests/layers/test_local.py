"""Convolutions with a kernel of its own for each position."""
import numpy as np
import pytest
from layers_harness import check_layer, data

from kfacade.layers import Input, LocallyConnected1D, LocallyConnected2D


def test_locally_connected_1d():
    x, kernel, bias = data(2, 8, 3), data(3, 4 * 3, 5, seed=1), data(3, 5, seed=2)
    expected = np.stack([x[:, 2 * i:2 * i + 4].reshape(2, -1) @ kernel[i] for i in range(3)], 1) + bias
    check_layer(LocallyConnected1D(5, 4, strides=2), x, expected, [kernel, bias], atol=1e-4)
    check_layer(LocallyConnected1D(5, 4, strides=2, activation='relu', use_bias=False), x,
                np.maximum(expected - bias, 0), [kernel], atol=1e-4)


def test_locally_connected_2d():
    x, kernel, bias = data(2, 5, 6, 3), data(2 * 5, 2 * 2 * 3, 4, seed=1), data(2, 5, 4, seed=2)
    expected = np.empty((2, 2, 5, 4), 'f')
    for i in range(2):
        for j in range(5):
            expected[:, i, j] = x[:, 2 * i:2 * i + 2, j:j + 2].reshape(2, -1) @ kernel[5 * i + j]
    check_layer(LocallyConnected2D(4, 2, strides=(2, 1)), x, expected + bias, [kernel, bias], atol=1e-4)
    # Channels first, Keras flattens a window with its channels first, and reshapes the bias.
    by_channel = kernel.reshape(10, 2, 2, 3, 4).transpose(0, 3, 1, 2, 4).reshape(10, 12, 4)
    check_layer(LocallyConnected2D(4, 2, strides=(2, 1), data_format='channels_first'), x.transpose(0, 3, 1, 2).copy(),
                expected.transpose(0, 3, 1, 2) + bias.reshape(4, 2, 5), [by_channel, bias], atol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match=r'Invalid border mode for LocallyConnected1D \(only "valid" is .*\): same'):
        LocallyConnected1D(5, 4, padding='same')
    with pytest.raises(ValueError, match='should be fully-defined, but layer local received'):
        LocallyConnected2D(5, 4, name='local')(Input((None, 8, 3)))
    with pytest.raises(ValueError, match='Layer local cannot be applied'):
        LocallyConnected1D(5, 9, name='local')(Input((8, 3)))
