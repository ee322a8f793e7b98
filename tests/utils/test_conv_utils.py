"""Lengths and arguments of convolutions, the lengths against what a convolution gives."""
import numpy as np
import pytest
import torch

from kfacade.utils import conv_utils


def test_normalize_tuple():
    assert conv_utils.normalize_tuple(5, 2, 'strides') == (5, 5)
    assert conv_utils.normalize_tuple(np.int64(5), 1, 'strides') == (5,)
    assert conv_utils.normalize_tuple([7, 9], 2, 'strides') == (7, 9)
    for wrong in (None, (2, 1, 4), 2.5, ('a', 1), (None, 1)):
        with pytest.raises(ValueError, match='The `strides` argument must be a tuple of 2 integers. Received: '):
            conv_utils.normalize_tuple(wrong, 2, 'strides')


def test_normalize_padding():
    assert conv_utils.normalize_padding('SAME') == 'same'
    for wrong in ('diagonal', 'full', None, 1):
        with pytest.raises(ValueError, match='The `padding` argument must be one of "valid", "same"'):
            conv_utils.normalize_padding(wrong)


def test_convert_kernel_turns_the_spatial_axes():
    kernel = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    turned = conv_utils.convert_kernel(kernel)
    np.testing.assert_array_equal(turned[0, 0], kernel[1, 2])
    np.testing.assert_array_equal(conv_utils.convert_kernel(turned), kernel)
    with pytest.raises(ValueError, match='Invalid kernel shape'):
        conv_utils.convert_kernel(np.zeros((2, 2)))


@pytest.mark.parametrize('length', [7, 8])
@pytest.mark.parametrize('stride, dilation', [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_conv_output_length(length, stride, dilation):
    x, kernel = torch.zeros(1, 1, length), torch.zeros(1, 1, 3)
    reach = 2 * dilation
    for padding, padded in (('valid', 0), ('same', reach), ('causal', reach), ('full', 2 * reach)):
        given = torch.nn.functional.conv1d(torch.nn.functional.pad(x, (padded, 0)), kernel, stride=stride,
                                           dilation=dilation)
        assert conv_utils.conv_output_length(length, 3, padding, stride, dilation) == given.shape[-1]
    assert conv_utils.conv_output_length(None, 3, 'same', stride) is None


@pytest.mark.parametrize('padding, expected', [('same', 4), ('valid', 6), ('full', 2)])
def test_conv_input_length(padding, expected):
    assert conv_utils.conv_input_length(None, 3, padding, 1) is None
    assert conv_utils.conv_input_length(4, 3, padding, 1) == expected
    assert conv_utils.conv_output_length(expected, 3, padding, 1) == 4


@pytest.mark.parametrize('arguments, expected', [
    ((None, 1, 3, 'same', None), None),
    ((224, 2, 3, 'same', None), 448), ((224, 2, 3, 'valid', None), 449), ((224, 2, 3, 'full', None), 445),
    ((224, 1, 3, 'valid', None), 226), ((224, 1, 3, 'full', None), 222),
    ((224, 2, 5, 'same', 0), 447), ((224, 2, 5, 'valid', 1), 452), ((224, 2, 5, 'full', 1), 444),
    ((224, 2, 3, 'same', None, 2), 448), ((224, 1, 3, 'valid', None, 2), 228), ((224, 2, 3, 'same', 1, 2), 448),
])
def test_deconv_length_of_keras(arguments, expected):
    assert conv_utils.deconv_length(*arguments) == expected


def test_unknown_padding():
    for call in (lambda: conv_utils.conv_output_length(5, 3, 'some', 1),
                 lambda: conv_utils.conv_input_length(5, 3, 'causal', 1),
                 lambda: conv_utils.deconv_length(5, 1, 3, 'causal', None)):
        with pytest.raises(ValueError, match='Unknown padding'):
            call()
