"""Convolutions against plain loops, and the layers that pad, crop and enlarge."""
import itertools

import numpy as np
import pytest
import torch
from layers_harness import check_layer, data, gradients

from kfacade import backend as K
from kfacade import layers
from kfacade.layers import (
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Cropping1D,
    Cropping2D,
    Cropping3D,
    DepthwiseConv2D,
    Input,
    SeparableConv1D,
    SeparableConv2D,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from kfacade.models import Model


def convolved(x, kernel, strides, padding, dilation):
    """The convolution of channels-last `x` by definition: one output position at a time."""
    window = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation)]
    if padding == 'same':
        totals = [max((-(-n // s) - 1) * s + w - n, 0) for n, s, w in zip(x.shape[1:], strides, window)]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in totals), (0, 0)])
    elif padding == 'causal':
        x = np.pad(x, [(0, 0), (window[0] - 1, 0), (0, 0)])
    sizes = [(n - w) // s + 1 for n, s, w in zip(x.shape[1:], strides, window)]
    y = np.empty((len(x), *sizes, kernel.shape[-1]), 'f')
    axes = list(range(1, kernel.ndim)), list(range(kernel.ndim - 1))
    for position in itertools.product(*map(range, sizes)):
        index = tuple(slice(p * s, p * s + w, d) for p, s, w, d in zip(position, strides, window, dilation))
        y[(slice(None), *position)] = np.tensordot(x[(slice(None), *index)], kernel, axes)
    return y


def first(x):
    """Channels-last data with the channels first."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


CASES = [
    (Conv1D, (2, 9, 3), (3,), (1,), 'valid', (1,)),
    (Conv1D, (2, 9, 3), (4,), (2,), 'same', (1,)),
    (Conv1D, (2, 9, 3), (2,), (1,), 'causal', (3,)),
    (Conv1D, (2, 9, 3), (3,), (2,), 'causal', (1,)),
    (Conv2D, (2, 7, 6, 3), (3, 2), (1, 1), 'valid', (1, 1)),
    (Conv2D, (2, 7, 6, 3), (3, 3), (1, 1), 'same', (1, 1)),
    (Conv2D, (2, 7, 6, 3), (4, 3), (2, 2), 'same', (1, 1)),
    (Conv2D, (2, 7, 6, 3), (2, 3), (1, 1), 'same', (2, 1)),
    (Conv3D, (2, 5, 4, 6, 2), (2, 3, 2), (1, 2, 1), 'valid', (1, 1, 1)),
    (Conv3D, (2, 5, 4, 6, 2), (2, 2, 3), (2, 1, 1), 'same', (1, 1, 1)),
]


@pytest.mark.parametrize('layer,shape,size,strides,padding,dilation', CASES)
def test_convolutions(layer, shape, size, strides, padding, dilation):
    x, kernel, bias = data(*shape), data(*size, shape[-1], 4, seed=1), data(4, seed=2)
    expected = np.maximum(convolved(x, kernel, strides, padding, dilation) + bias, 0)
    options = {'strides': strides, 'padding': padding, 'dilation_rate': dilation, 'activation': 'relu'}
    check_layer(layer(4, size, **options), x, expected, [kernel, bias], atol=1e-4)
    if padding != 'causal':
        check_layer(layer(4, size, data_format='channels_first', **options), first(x), first(expected), [kernel, bias],
                    atol=1e-4)


def test_convolution_without_bias_and_with_one_number_for_all():
    x, kernel = data(2, 6, 6, 2), data(3, 3, 2, 4, seed=1)
    check_layer(Conv2D(4, 3, strides=2, use_bias=False), x, convolved(x, kernel, (2, 2), 'valid', (1, 1)), [kernel],
                atol=1e-4)


def test_gradients_are_in_keras_layout():
    x, kernel, bias = data(2, 5, 4, 3), data(2, 3, 3, 2, seed=1), data(2, seed=2)
    layer = Conv2D(2, (2, 3))
    layer.build((None, 5, 4, 3))
    layer.set_weights([kernel, bias])
    error = 2 * (convolved(x, kernel, (1, 1), 'valid', (1, 1)) + bias)
    by_input, by_kernel, by_bias = gradients(layer, x)
    np.testing.assert_allclose(by_bias, error.sum((0, 1, 2)), rtol=1e-4)
    for i, j in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(by_kernel[i, j], np.tensordot(x[:, i:i + 4, j:j + 2], error, 2 * [[0, 1, 2]]),
                                   rtol=1e-4, atol=1e-3)
    assert by_input.shape == x.shape


def test_one_filter_trains_in_double_precision():
    floatx = K.floatx()
    K.set_floatx('float64')
    try:
        layer = Conv2D(1, 3, use_bias=False)
        layer(torch.ones(1, 5, 5, 4, dtype=torch.float64)).sum().backward()
        assert layer.kernel.param.grad.eq(9).all()
    finally:
        K.set_floatx(floatx)


def test_a_stack_of_convolutions_copies_nothing():
    """Channels-last data and kernels are torch's channels_last format all the way."""
    layer = Conv2D(8, 3, padding='same')
    layer.build((None, 6, 6, 4))
    assert layer._params.kernel.is_contiguous(memory_format=torch.channels_last)
    assert layer(torch.zeros(2, 6, 6, 4)).is_contiguous()
    layer.set_weights([data(3, 3, 4, 8), data(8)])
    assert layer._params.kernel.is_contiguous(memory_format=torch.channels_last)


def test_convolution_errors():
    with pytest.raises(ValueError, match='channel dimension of the inputs should be defined. Found `None`. .*Layer c'):
        Conv2D(2, 3, name='c')(Input((8, 8, None)))
    with pytest.raises(ValueError, match='Layer c cannot be applied.*Negative dimension size'):
        Conv2D(2, 5, name='c')(Input((4, 8, 1)))
    with pytest.raises(ValueError, match='expected ndim=4, found ndim=3'):
        Conv2D(2, 5)(Input((4, 8)))
    with pytest.raises(ValueError, match='`kernel_size` argument must be a tuple of 2 integers. Received: '):
        Conv2D(2, (1, 2, 3))
    with pytest.raises(ValueError, match='`padding` argument must be one of'):
        Conv2D(2, 3, padding='full')
    with pytest.raises(ValueError, match='causal padding'):
        Conv1D(2, 3, padding='causal', data_format='channels_first')
    with pytest.raises(ValueError, match='causal padding'):
        Conv2D(2, 3, padding='causal')
    with pytest.raises(TypeError, match='can accept only 2 positional arguments'):
        Conv1D(2, 3, 2)


def test_unknown_spatial_sizes_stay_unknown():
    x = Input((None, None, 3))
    y = Conv2D(4, 3, strides=2, padding='same')(x)
    assert K.int_shape(y) == (None, None, None, 4)
    model = Model(x, y)
    assert model.predict(data(2, 7, 5, 3)).shape == (2, 4, 3, 4)
    assert model.predict(data(1, 4, 4, 3)).shape == (1, 2, 2, 4)


# ---------------------------------------------------------------- transposed

@pytest.mark.parametrize('layer,shape,size,strides,padding,output_padding', [
    (Conv2DTranspose, (2, 4, 3, 3), (3, 2), (2, 1), 'valid', None),
    (Conv2DTranspose, (2, 4, 3, 3), (3, 3), (2, 2), 'same', None),
    (Conv2DTranspose, (2, 4, 3, 3), (3, 2), (3, 2), 'valid', (2, 0)),
    (Conv2DTranspose, (2, 4, 3, 3), (3, 3), (2, 2), 'same', (1, 0)),
    (Conv2DTranspose, (2, 3, 3, 2), (2, 2), (3, 3), 'valid', None),
    (Conv3DTranspose, (2, 2, 3, 2, 2), (3, 2, 2), (2, 1, 2), 'same', None),
    (Conv3DTranspose, (2, 2, 3, 2, 2), (3, 2, 2), (2, 1, 2), 'valid', None),
])
def test_transposed_convolution_is_the_gradient_of_a_convolution(layer, shape, size, strides, padding, output_padding):
    x, kernel = data(*shape), data(*size, 4, shape[-1], seed=1)
    transposed = layer(4, size, strides=strides, padding=padding, output_padding=output_padding, use_bias=False)
    forward = {Conv2DTranspose: Conv2D, Conv3DTranspose: Conv3D}[layer](
        shape[-1], size, strides=strides, padding=padding, use_bias=False)
    big = Input(transposed.compute_output_shape((None, *shape[1:]))[1:])
    small, weight = forward(big), K.placeholder(shape)
    forward.set_weights([kernel])
    gradient, = K.gradients(K.sum(small * weight), [big])
    expected, = K.function([big, weight], [gradient])([np.zeros((len(x), *K.int_shape(big)[1:])), x])
    check_layer(transposed, x, expected, [kernel], atol=1e-4)


def test_transposed_convolution_channels_first_and_bias():
    x, kernel, bias = data(2, 4, 3, 3), data(3, 3, 4, 3, seed=1), data(4, seed=2)
    plain = Conv2DTranspose(4, 3, strides=2)
    expected = check_layer(plain, x, _of(plain, x, [kernel, bias]), [kernel, bias]).predict(x)
    check_layer(Conv2DTranspose(4, 3, strides=2, data_format='channels_first'), first(x), first(expected),
                [kernel, bias])
    with pytest.raises(ValueError, match=r'Stride \(2, 2\) must be greater than output padding \(2, 2\)'):
        Conv2DTranspose(4, 3, strides=2, output_padding=2)


def _of(layer, x, weights):
    symbol = Input(x.shape[1:])
    model = Model(symbol, layer(symbol))
    layer.set_weights(weights)
    return model.predict(x)


# ---------------------------------------------------------------- separable and depthwise

def depthwise(x, kernel, *args):
    """Each channel convolved by itself, the results in the order channel, multiplier."""
    return np.concatenate([convolved(x[..., i:i + 1], kernel[..., i:i + 1, :], *args) for i in range(x.shape[-1])], -1)


@pytest.mark.parametrize('layer,shape,size,strides,padding,dilation', [
    (SeparableConv1D, (2, 9, 3), (3,), (1,), 'valid', (1,)),
    (SeparableConv1D, (2, 9, 3), (2,), (1,), 'causal', (2,)),
    (SeparableConv2D, (2, 7, 6, 3), (3, 2), (1, 1), 'same', (1, 1)),
    (SeparableConv2D, (2, 7, 6, 3), (3, 3), (2, 2), 'same', (1, 1)),
    (SeparableConv2D, (2, 7, 6, 3), (2, 2), (1, 1), 'valid', (2, 2)),
])
def test_separable_convolutions(layer, shape, size, strides, padding, dilation):
    x, bias, rank = data(*shape), data(4, seed=2), len(size)
    deep, point = data(*size, shape[-1], 2, seed=1), data(*(1,) * rank, 2 * shape[-1], 4, seed=3)
    expected = depthwise(x, deep, strides, padding, dilation) @ point.reshape(-1, 4) + bias
    options = {'strides': strides, 'padding': padding, 'dilation_rate': dilation, 'depth_multiplier': 2}
    check_layer(layer(4, size, **options), x, expected, [deep, point, bias], atol=1e-4)
    if padding != 'causal':
        check_layer(layer(4, size, data_format='channels_first', **options), first(x), first(expected),
                    [deep, point, bias], atol=1e-4)


def test_depthwise_convolution():
    x, kernel, bias = data(2, 7, 6, 3), data(3, 2, 3, 2, seed=1), data(6, seed=2)
    expected = np.tanh(depthwise(x, kernel, (2, 2), 'same', (1, 1)) + bias)
    options = {'strides': 2, 'padding': 'same', 'depth_multiplier': 2, 'activation': 'tanh'}
    check_layer(DepthwiseConv2D((3, 2), **options), x, expected, [kernel, bias])
    check_layer(DepthwiseConv2D((3, 2), data_format='channels_first', **options), first(x), first(expected),
                [kernel, bias])
    assert isinstance(DepthwiseConv2D(3), Conv2D)


# ---------------------------------------------------------------- padding, cropping, enlarging

PADDINGS = [(ZeroPadding1D, Cropping1D, (2, 9, 3), [(2, 2), (1, 3), (0, 2)]),
            (ZeroPadding2D, Cropping2D, (2, 7, 9, 3), [1, (1, 2), ((1, 0), (2, 3))]),
            (ZeroPadding3D, Cropping3D, (2, 5, 6, 7, 2), [1, (1, 2, 0), ((1, 0), (0, 2), (1, 1))])]


@pytest.mark.parametrize('pad,crop,shape,settings', PADDINGS)
def test_padding_and_cropping(pad, crop, shape, settings):
    x, rank = data(*shape), len(shape) - 2
    for setting in settings:
        pairs = (setting,) if rank == 1 else np.broadcast_to(setting, (rank, 2)) if isinstance(setting, int) else [
            np.broadcast_to(entry, 2) for entry in setting]
        padded = np.pad(x, [(0, 0), *(tuple(pair) for pair in pairs), (0, 0)])
        check_layer(pad(setting), x, padded)
        check_layer(crop(setting), padded, x)
        if rank > 1:
            check_layer(pad(setting, data_format='channels_first'), first(x), first(padded))
            check_layer(crop(setting, data_format='channels_first'), first(padded), first(x))


def test_padding_of_unknown_sizes():
    assert K.int_shape(ZeroPadding2D(2)(Input((None, 4, 1)))) == (None, None, 8, 1)
    assert K.int_shape(Cropping2D(1)(Input((None, 4, 1)))) == (None, None, 2, 1)
    assert K.int_shape(UpSampling2D(3)(Input((None, 4, 1)))) == (None, None, 12, 1)


@pytest.mark.parametrize('layer,argument,message', [
    (ZeroPadding2D, (1, 2, 3), '`padding` should have two elements. Found: '),
    (Cropping3D, (1, 2), '`cropping` should have 3 elements. Found: '),
    (Cropping2D, 1.5, '`cropping` should be either an int, a tuple of 2 ints'),
    (ZeroPadding2D, ((1, 2, 3), 1), '`1st entry of padding` argument must be a tuple of 2 integers'),
])
def test_wrong_paddings(layer, argument, message):
    with pytest.raises(ValueError, match=message):
        layer(argument)


def test_cropping_more_than_there_is_is_an_error():
    with pytest.raises(ValueError, match='Layer gone cannot be applied'):
        Cropping1D(4, name='gone')(Input((6, 2)))


@pytest.mark.parametrize('layer,size,shape', [
    (UpSampling1D, 3, (2, 4, 3)), (UpSampling2D, (2, 3), (2, 4, 3, 3)), (UpSampling3D, (1, 2, 3), (2, 2, 3, 2, 3))])
def test_upsampling_repeats(layer, size, shape):
    x = data(*shape)
    expected = x
    for axis, n in enumerate(np.atleast_1d(size), start=1):
        expected = np.repeat(expected, n, axis)
    check_layer(layer(size), x, expected)
    if len(shape) > 3:
        check_layer(layer(size, data_format='channels_first'), first(x), first(expected))


def test_bilinear_upsampling_is_that_of_tensorflow_1():
    x = np.array([[0., 2], [4, 6]], 'f').reshape(1, 2, 2, 1)
    rows = [[0, 1, 2, 2], [2, 3, 4, 4], [4, 5, 6, 6], [4, 5, 6, 6]]
    check_layer(UpSampling2D(2, interpolation='bilinear'), x, np.array(rows, 'f').reshape(1, 4, 4, 1))
    with pytest.raises(ValueError, match='interpolation should be one of "nearest" or "bilinear"'):
        UpSampling2D(2, interpolation='cubic')


# ---------------------------------------------------------------- other names

def test_aliases():
    assert layers.Convolution2D is Conv2D and layers.Deconv2D is layers.Deconvolution2D is Conv2DTranspose
    assert layers.MaxPool2D is layers.MaxPooling2D and layers.GlobalAvgPool1D is layers.GlobalAveragePooling1D
    with pytest.warns(UserWarning, match='The `AtrousConvolution2D` layer has been deprecated'):
        layer = layers.AtrousConv2D(2, 3, atrous_rate=(2, 2))
    assert isinstance(layer, Conv2D) and layer.dilation_rate == (2, 2)


@pytest.mark.parametrize('layer, shape, left', [
    (Cropping1D(3), (6, 2), (0, 2)), (Cropping2D(((4, 2), (0, 1))), (6, 5, 1), (0, 4, 1)),
    (Cropping3D(2), (4, 4, 4, 2), (0, 0, 0, 2))])
def test_cropping_may_leave_nothing(layer, shape, left):
    x = Input(shape)
    y = layer(x)
    assert K.int_shape(y) == (None, *left) and Model(x, y).predict(np.ones((2, *shape))).shape == (2, *left)


# ---------------------------------------------------------------- inputs smaller than the window

@pytest.mark.parametrize('layer, size, expected', [
    (lambda: layers.Conv1D(1, 3), (2,), (0,)), (lambda: layers.Conv1D(1, 3, strides=2), (1,), (0,)),
    (lambda: layers.Conv1D(1, 3, dilation_rate=2), (4,), (0,)), (lambda: layers.Conv2D(1, 3), (2, 3), (0, 1)),
    (lambda: layers.Conv2D(1, 3, strides=2), (0, 3), (0, 1)), (lambda: layers.Conv2D(1, 3), (4, 2), (2, 0)),
    (lambda: layers.Conv3D(1, 3), (2, 3, 3), (0, 1, 1)), (lambda: layers.MaxPooling1D(3), (1,), (0,)),
    (lambda: layers.MaxPooling2D(3), (2, 3), (0, 1)), (lambda: layers.AveragePooling2D(3, strides=2), (2, 2), (0, 0)),
    (lambda: layers.SeparableConv2D(1, 3), (2, 2), (0, 0)), (lambda: layers.DepthwiseConv2D(3), (2, 2), (0, 0)),
    (lambda: layers.SeparableConv1D(1, 3), (2,), (0,)), (lambda: layers.Cropping2D(1), (2, 2), (0, 0))])
def test_an_input_smaller_than_the_window_gives_an_empty_output(layer, size, expected):
    """Where sizes are known only at run time; as in Keras 2.2.4, up to two strides below."""
    x = layers.Input((*[None] * len(size), 1))
    model = Model(x, layer()(x))
    assert model.predict(np.ones((1, *size, 1))).shape == (1, *expected, 1)
    assert model.predict(np.ones((1, *[9] * len(size), 1))).size


def test_an_input_much_smaller_than_the_window_is_refused():
    x = layers.Input((None, 1))
    with pytest.raises(RuntimeError, match='Kernel size'):
        Model(x, layers.Conv1D(1, 3)(x)).predict(np.ones((1, 1, 1)))
    with pytest.raises(ValueError, match='Negative dimension'):
        layers.Conv1D(1, 3)(layers.Input((2, 1)))
