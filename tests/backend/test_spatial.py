"""Convolutions, pooling, padding and resizing against loops in numpy (see conftest)."""
import itertools

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.backend import spatial
from kfacade.backend.spatial import conv_nd, conv_transpose_nd, pool_nd, same_padding

RNG = np.random.RandomState(1)


def normal(*shape):
    return RNG.randn(*shape).astype('float32')


BATCH = 5  # no kernel has this size anywhere
STEPS, IMAGES, VOLUMES = normal(BATCH, 9, 3), normal(BATCH, 7, 8, 3), normal(BATCH, 4, 5, 6, 3)


def channels_first(x):
    return np.moveaxis(x, -1, 1)


def positions(sizes, kernel, strides, padding, dilation):
    """For each dimension: the output size, and the first input position of each window."""
    starts = []
    for size, k, stride, rate in zip(sizes, kernel, strides, dilation):
        extent = (k - 1) * rate + 1
        count = -(-size // stride) if padding == 'same' else (size - extent) // stride + 1
        before = max((count - 1) * stride + extent - size, 0) // 2 if padding == 'same' else 0
        starts.append([i * stride - before for i in range(count)])
    return starts


def windows(x, kernel, strides, padding, dilation=(1, 1, 1)):
    """Output position -> list of (kernel index, values (batch, channels)) for what lies inside of `x`."""
    starts = positions(x.shape[1:-1], kernel, strides, padding, dilation)
    found = {}
    for output in itertools.product(*[range(len(s)) for s in starts]):
        inside = []
        for index in itertools.product(*map(range, kernel)):
            place = [starts[d][output[d]] + index[d] * dilation[d] for d in range(len(kernel))]
            if all(0 <= p < size for p, size in zip(place, x.shape[1:-1])):
                inside.append((index, x[(slice(None), *place)]))
        found[output] = inside
    return found, [len(s) for s in starts]


def convolved(x, kernel, strides, padding, dilation=(1, 1, 1)):
    found, sizes = windows(x, kernel.shape[:-2], strides, padding, dilation)
    y = np.zeros((len(x), *sizes, kernel.shape[-1]), 'float32')
    for output, inside in found.items():
        y[(slice(None), *output)] = sum(values @ kernel[index] for index, values in inside)
    return y


def transposed(x, kernel, sizes, strides, padding, dilation=(1, 1, 1)):
    """The gradient of a convolution, by adding up: `kernel` is (spatial..., filters, channels)."""
    target = np.zeros((len(x), *sizes, kernel.shape[-2]), 'float32')
    starts = positions(sizes, kernel.shape[:-2], strides, padding, dilation)
    for source in itertools.product(*[range(n) for n in x.shape[1:-1]]):
        for index in itertools.product(*map(range, kernel.shape[:-2])):
            place = [starts[d][source[d]] + index[d] * dilation[d] for d in range(len(sizes))]
            if all(0 <= p < size for p, size in zip(place, sizes)):
                target[(slice(None), *place)] += x[(slice(None), *source)] @ kernel[index].T
    return target


def pooled(x, pool_size, strides, padding, mode):
    found, sizes = windows(x, pool_size, strides, padding)
    y = np.zeros((len(x), *sizes, x.shape[-1]), 'float32')
    for output, inside in found.items():
        values = [v for _, v in inside]
        y[(slice(None), *output)] = np.max(values, 0) if mode == 'max' else np.mean(values, 0)
    return y


def per_channel(x, kernel, strides, padding, dilation=(1, 1, 1)):
    """Depthwise convolution: `kernel` is (spatial..., channels, multiplier)."""
    return np.concatenate([convolved(x[..., c:c + 1], kernel[..., c:c + 1, :], strides, padding, dilation)
                           for c in range(x.shape[-1])], -1)


@pytest.mark.parametrize('padding', ['valid', 'same'])
@pytest.mark.parametrize('size, stride, dilation', [
    (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1), (3, 1, 2), (2, 1, 3), (1, 2, 1), (2, 2, 1), (3, 2, 1), (4, 3, 1)])
class TestWindows:
    """Even and odd kernels, strides and dilations, over sizes that they do and do not divide."""

    def test_conv1d(self, check, size, stride, dilation, padding):
        kernel = normal(size, 3, 4)
        check(lambda x, w: K.conv1d(x, w, stride, padding, dilation_rate=dilation), [STEPS, kernel],
              convolved(STEPS, kernel, (stride,), padding, (dilation,)), atol=1e-5)

    def test_conv2d(self, check, size, stride, dilation, padding):
        kernel = normal(size, 3, 3, 4)
        check(lambda x, w: K.conv2d(x, w, (stride, 1), padding, dilation_rate=(dilation, 1)), [IMAGES, kernel],
              convolved(IMAGES, kernel, (stride, 1), padding, (dilation, 1)), atol=1e-5)

    def test_conv2d_of_channels_first(self, check, size, stride, dilation, padding):
        kernel = normal(3, size, 3, 4)
        check(lambda x, w: K.conv2d(x, w, (1, stride), padding, 'channels_first', (1, dilation)),
              [channels_first(IMAGES), kernel],
              channels_first(convolved(IMAGES, kernel, (1, stride), padding, (1, dilation))), atol=1e-5)

    def test_depthwise_conv2d(self, check, size, stride, dilation, padding):
        kernel = normal(size, 2, 3, 2)
        check(lambda x, w: K.depthwise_conv2d(x, w, (stride, stride), padding, dilation_rate=(dilation, dilation)),
              [IMAGES, kernel], per_channel(IMAGES, kernel, (stride,) * 2, padding, (dilation,) * 2), atol=1e-5)

    def test_conv2d_transpose(self, check, size, stride, dilation, padding):
        kernel, extents = normal(size, 3, 4, 3), [(size - 1) * dilation + 1, 2 * dilation + 1]
        sizes = [n * stride + (max(extent - stride, 0) if padding == 'valid' else 0)
                 for n, extent in zip((7, 8), extents)]
        check(lambda x, w: K.conv2d_transpose(x, w, (K.shape(x)[0], *sizes, 4), (stride, stride), padding,
                                              dilation_rate=(dilation, dilation)), [IMAGES, kernel],
              transposed(IMAGES, kernel, sizes, (stride, stride), padding, (dilation, dilation)), atol=1e-5)

    @pytest.mark.parametrize('mode', ['max', 'avg'])
    def test_pool2d(self, check, size, stride, dilation, padding, mode):
        check(lambda x: K.pool2d(x, (size, dilation), (stride, 1), padding, pool_mode=mode), [IMAGES],
              pooled(IMAGES, (size, dilation), (stride, 1), padding, mode))


@pytest.mark.parametrize('padding', ['valid', 'same'])
@pytest.mark.parametrize('strides', [(1, 1, 1), (2, 1, 3)])
class TestVolumes:
    def test_conv3d(self, check, strides, padding):
        kernel = normal(2, 3, 2, 3, 2)
        check(lambda x, w: K.conv3d(x, w, strides, padding), [VOLUMES, kernel],
              convolved(VOLUMES, kernel, strides, padding), atol=1e-5)

    def test_conv3d_transpose_of_channels_first(self, check, strides, padding):
        kernel = normal(2, 3, 2, 4, 3)
        sizes = [n * s + (max(k - s, 0) if padding == 'valid' else 0) for n, s, k in zip((4, 5, 6), strides, (2, 3, 2))]
        check(lambda x, w: K.conv3d_transpose(x, w, (BATCH, 4, *sizes), strides, padding, 'channels_first'),
              [channels_first(VOLUMES), kernel],
              channels_first(transposed(VOLUMES, kernel, sizes, strides, padding)), atol=1e-5)

    @pytest.mark.parametrize('mode', ['max', 'avg'])
    def test_pool3d(self, check, strides, padding, mode):
        check(lambda x: K.pool3d(x, (2, 2, 3), strides, padding, pool_mode=mode), [VOLUMES],
              pooled(VOLUMES, (2, 2, 3), strides, padding, mode))


def test_causal_padding_looks_only_back(check):
    kernel = normal(3, 3, 4)
    padded = np.pad(STEPS, ((0, 0), (4, 0), (0, 0)))
    check(lambda x, w: K.conv1d(x, w, padding='causal', dilation_rate=2), [STEPS, kernel],
          convolved(padded, kernel, (1,), 'valid', (2,)), atol=1e-5)


def test_separable_convolutions(check):
    depthwise, pointwise = normal(3, 2, 3, 2), normal(1, 1, 6, 5)
    check(lambda x, d, p: K.separable_conv2d(x, d, p, (2, 2), 'same'), [IMAGES, depthwise, pointwise],
          per_channel(IMAGES, depthwise, (2, 2), 'same') @ pointwise[0, 0], atol=1e-5)
    depthwise, pointwise = normal(3, 3, 2), normal(1, 6, 5)
    check(lambda x, d, p: K.separable_conv1d(x, d, p, 1, 'valid', 'channels_first', 2),
          [channels_first(STEPS), depthwise, pointwise],
          channels_first(per_channel(STEPS, depthwise, (1,), 'valid', (2,)) @ pointwise[0]), atol=1e-5)


@pytest.mark.parametrize('data, function', [(np.ones((1, 9, 2)), K.separable_conv1d),
                                            (np.ones((1, 9, 9, 2)), K.separable_conv2d)])
def test_separable_convolutions_refuse_strides_with_a_dilation(data, function):
    rank = data.ndim - 2
    kernels = np.ones((3,) * rank + (2, 1)), np.ones((1,) * rank + (2, 4))
    for x in (torch.tensor(data), K.placeholder((None, *data.shape[1:]), dtype='float64')):
        for size in (2, (2,) * rank):
            with pytest.raises(ValueError, match='strides > 1 not supported in conjunction with dilation_rate > 1'):
                function(x, *map(torch.tensor, kernels), strides=size, dilation_rate=size)



def test_local_convolutions_have_a_kernel_for_each_position(check):
    kernel = normal(4, 9, 5)
    expected = np.stack([STEPS[:, 2 * i:2 * i + 3].reshape(BATCH, 9) @ kernel[i] for i in range(4)], 1)
    check(lambda x, w: K.local_conv1d(x, w, (3,), (2,)), [STEPS, kernel], expected, atol=1e-5)
    kernel = normal(9, 18, 4)
    places = list(itertools.product(range(3), range(3)))
    for data_format in ('channels_last', 'channels_first'):
        last = data_format == 'channels_last'
        patches = [IMAGES[:, 2 * i:2 * i + 3, 3 * j:3 * j + 2] for i, j in places]
        patches = [(p if last else channels_first(p)).reshape(BATCH, 18) for p in patches]
        expected = np.stack([p @ k for p, k in zip(patches, kernel)], 1).reshape(BATCH, 3, 3, 4)
        x = IMAGES if last else channels_first(IMAGES)
        check(lambda x, w, f=data_format: K.local_conv2d(x, w, (3, 2), (2, 3), (3, 3), f), [x, kernel],
              expected if last else channels_first(expected), atol=1e-5)


BILINEAR = np.array([[0, 2], [4, 8]], 'float32')[None, :, :, None]
CASES = [
    ('temporal_padding', lambda x: K.temporal_padding(x, (2, 1)), STEPS, np.pad(STEPS, ((0, 0), (2, 1), (0, 0)))),
    ('spatial_2d_padding', lambda x: K.spatial_2d_padding(x, ((1, 2), (3, 0))), IMAGES,
     np.pad(IMAGES, ((0, 0), (1, 2), (3, 0), (0, 0)))),
    ('spatial_2d_padding of channels first', lambda x: K.spatial_2d_padding(x, ((1, 2), (3, 0)), 'channels_first'),
     IMAGES, np.pad(IMAGES, ((0, 0), (0, 0), (1, 2), (3, 0)))),
    ('spatial_3d_padding', lambda x: K.spatial_3d_padding(x, ((1, 2), (3, 0), (0, 1))), VOLUMES,
     np.pad(VOLUMES, ((0, 0), (1, 2), (3, 0), (0, 1), (0, 0)))),
    ('resize_images repeats', lambda x: K.resize_images(x, 2, 3, 'channels_last'), IMAGES,
     IMAGES.repeat(2, 1).repeat(3, 2)),
    ('resize_images of channels first', lambda x: K.resize_images(x, 2, 3, 'channels_first'), IMAGES,
     IMAGES.repeat(2, 2).repeat(3, 3)),
    ('bilinear: level past the last pixel', lambda x: K.resize_images(x, 2, 2, 'channels_last', 'bilinear'), BILINEAR,
     np.array([[0, 1, 2, 2], [2, 3.5, 5, 5], [4, 6, 8, 8], [4, 6, 8, 8]], 'float32')[None, :, :, None]),
    ('resize_volumes', lambda x: K.resize_volumes(x, 2, 1, 3, 'channels_last'), VOLUMES,
     VOLUMES.repeat(2, 1).repeat(3, 3)),
    ('bias_add', lambda x: K.bias_add(x, IMAGES[0, 0, 0]), IMAGES, IMAGES + IMAGES[0, 0, 0]),
    ('bias_add of two dimensions', lambda x: K.bias_add(x, STEPS[0, 0]), STEPS[0], STEPS[0] + STEPS[0, 0]),
    ('bias_add at each position', lambda x: K.bias_add(x, VOLUMES[0]), VOLUMES, VOLUMES + VOLUMES[0]),
    ('bias_add of channels first', lambda x: K.bias_add(x, IMAGES[0, :, 0, 0], 'channels_first'), IMAGES,
     IMAGES + IMAGES[0, :, 0, 0][:, None, None]),
    ('bias_add at each position of channels first: reshaped',
     lambda x: K.bias_add(x, IMAGES[0].reshape(8, 3, 7), 'channels_first'), IMAGES, IMAGES + IMAGES[0]),
]


@pytest.mark.parametrize('call, x, expected', [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_values(check, call, x, expected):
    check(call, [x], expected)


def test_the_data_format_is_the_one_that_held_when_the_op_was_made():
    x = K.placeholder((2, 3, 4, 5))
    K.set_image_data_format('channels_first')
    try:
        padded = K.spatial_2d_padding(x)
    finally:
        K.set_image_data_format('channels_last')
    assert K.function([x], [padded])([np.zeros((2, 3, 4, 5))])[0].shape == (2, 3, 6, 7)


@pytest.mark.parametrize('size, kernel, stride, dilation, expected', [
    (7, 3, 1, 1, (1, 1)), (7, 4, 1, 1, (1, 2)), (7, 3, 2, 1, (1, 1)), (8, 3, 2, 1, (0, 1)), (8, 2, 3, 1, (0, 0)),
    (5, 3, 1, 3, (3, 3))])
def test_same_padding_puts_the_odd_zero_at_the_end(size, kernel, stride, dilation, expected):
    assert same_padding(size, kernel, stride, dilation) == expected


@pytest.mark.parametrize('mode', ['max', 'avg'])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size, window', list(itertools.product(([1], [3], [1, 4], [1, 2, 5]), (2, 3, 4))))
def test_a_window_may_be_larger_than_what_it_pools(size, window, stride, mode):
    x = np.random.RandomState(0).randn(2, *size, 3).astype('float32')
    starts = [range(-same_padding(n, window, stride)[0], n - same_padding(n, window, stride)[0], stride) for n in size]
    reduce = {'max': np.max, 'avg': np.mean}[mode]
    expected = np.stack([
        reduce(x[(slice(None), *(slice(max(at, 0), at + window) for at in place))], tuple(range(1, len(size) + 1)))
        for place in itertools.product(*starts)], 1).reshape(2, *map(len, starts), 3)
    y = pool_nd(torch.from_numpy(x), window, stride, 'same', mode=mode)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('kernel', [1, 3, 5])
@pytest.mark.parametrize('stride', [1, 2])
def test_channels_last_images_are_never_copied_to_another_layout(kernel, stride):
    x = torch.randn(2, 9, 9, 4)
    weight = torch.randn(6, 4, kernel, kernel).contiguous(memory_format=torch.channels_last)
    assert conv_nd(x, weight, strides=stride, padding='same').is_contiguous()
    assert pool_nd(x, kernel, stride, 'same').is_contiguous()
    assert conv_nd(x[:, 0], weight[:, :, 0], strides=stride, padding='same').is_contiguous()


@pytest.mark.parametrize('call, message', [
    (lambda: K.conv2d(torch.zeros(1, 4, 4, 1), torch.zeros(2, 2, 1, 1), padding='causal'), "Invalid padding: 'causal'"),
    (lambda: K.conv1d(torch.zeros(1, 4, 4), torch.zeros(2, 4, 1), 1, 'causal', 'channels_first'),
     'causal padding .* must be "channels_last"'),
    (lambda: K.conv2d(torch.zeros(1, 4, 4, 1), torch.zeros(2, 2, 1, 1), data_format='last'), '`data_format`'),
    (lambda: K.pool2d(torch.zeros(1, 4, 4, 1), (2, 2), pool_mode='sum'), "Invalid pool_mode: 'sum'"),
    (lambda: K.resize_images(torch.zeros(1, 4, 4, 1), 2, 2, None, 'cubic'), 'one of "nearest" or "bilinear"'),
    (lambda: K.bias_add(torch.zeros(1, 4, 4, 1), torch.zeros(4, 1)), 'bias dimensions 2, expect to be 1 or 4'),
    (lambda: K.local_conv2d(torch.zeros(1, 4, 4, 1), torch.zeros(3, 4, 1), (2, 2), (2, 2), (2, 2)), '3 positions'),
    (lambda: conv_transpose_nd(torch.zeros(1, 3, 1), torch.zeros(1, 1, 3), [9], None, 2), 'cannot turn size 3 into 9')])
def test_errors_say_what_was_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize('kernel, stride, padding, size', [
    (3, 2, 'same', 10), (3, 2, 'same', 9), (3, 2, 'valid', 11), (5, 2, 'same', 10), (2, 3, 'valid', 15),
    (5, 3, 'valid', 17), (4, 4, 'same', 20), (3, 1, 'same', 5), (1, 3, 'same', 13)])
def test_a_transposed_convolution_adds_its_bias_where_strides_divide_the_size(monkeypatch, kernel, stride, padding,
                                                                              size):
    x, weight = torch.randn(2, 5, 5, 3), torch.randn(3, 4, kernel, kernel)
    bias, sizes, convolve = torch.randn(4), [], spatial._CONV_TRANSPOSE[4]

    def counted(*args):
        y = convolve(*args)
        sizes.extend(y.shape[2:])
        return y
    monkeypatch.setitem(spatial._CONV_TRANSPOSE, 4, counted)
    plain = conv_transpose_nd(x, weight, (size, size), None, stride, padding)
    sizes.clear()
    torch.testing.assert_close(conv_transpose_nd(x, weight, (size, size), bias, stride, padding), plain + bias)
    assert plain.shape == (2, size, size, 4) and not any(n % stride for n in sizes)
