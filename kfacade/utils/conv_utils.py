"""Arguments and lengths of convolutions, and kernels in Theano's orientation."""
import numbers

import numpy as np


def normalize_tuple(value, n, name):
    """`value` as a tuple of `n` integers; one integer counts for all. Raises ValueError naming the argument `name`."""
    if isinstance(value, numbers.Integral):
        return (int(value),) * n
    problem = f'The `{name}` argument must be a tuple of {n} integers. Received: {value}'
    values = tuple(value) if np.iterable(value) else ()
    if len(values) != n:
        raise ValueError(problem)
    for single in values:
        if not isinstance(single, numbers.Real) or single % 1:
            raise ValueError(f'{problem} including element {single} of type {type(single)}')
    # A tuple of ints comes back as it is: YAML shows which of a model's tuples are the same.
    return values if all(isinstance(single, int) for single in values) else tuple(map(int, values))


def normalize_padding(value):
    """The padding mode `value` in lower case. Raises ValueError for an unknown one."""
    padding = value.lower() if isinstance(value, str) else value
    if padding not in ('valid', 'same', 'causal'):
        raise ValueError('The `padding` argument must be one of "valid", "same" (or "causal" for Conv1D). '
                         f'Received: {padding}')
    return padding


def convert_kernel(kernel):
    """A copy of a 3-D to 5-D kernel with its spatial axes reversed: Theano convolves where all others correlate.

    It is its own inverse. Raises ValueError for other ranks.
    """
    kernel = np.asarray(kernel)
    if not 3 <= kernel.ndim <= 5:
        raise ValueError(f'Invalid kernel shape: {kernel.shape}')
    return np.flip(kernel, axis=tuple(range(kernel.ndim - 2))).copy()


def _chosen(padding, lengths):
    if padding not in lengths:
        raise ValueError(f'Unknown padding: {padding!r}. Expected one of {sorted(lengths)}.')
    return lengths[padding]


def conv_output_length(input_length, filter_size, padding, stride, dilation=1):
    """Length of what a convolution gives (None for None); `padding` is 'same', 'valid', 'full' or 'causal'."""
    if input_length is None:
        return None
    reach = (filter_size - 1) * dilation
    added = _chosen(padding, {'same': 0, 'causal': 0, 'valid': -reach, 'full': reach})
    return (input_length + added + stride - 1) // stride


def conv_input_length(output_length, filter_size, padding, stride):
    """Length that a convolution needs to give `output_length` (None for None)."""
    if output_length is None:
        return None
    cut = _chosen(padding, {'same': filter_size // 2, 'valid': 0, 'full': filter_size - 1})
    return (output_length - 1) * stride - 2 * cut + filter_size


def deconv_length(dim_size, stride_size, kernel_size, padding, output_padding, dilation=1):
    """Length of what a transposed convolution gives for an input of length `dim_size` (None for None).

    With `output_padding` None it is TensorFlow's; otherwise that of the shortest input from which a convolution makes
    `dim_size`, and `output_padding` more.
    """
    if dim_size is None:
        return None
    kernel_size = (kernel_size - 1) * dilation + 1
    if output_padding is not None:
        return conv_input_length(dim_size, kernel_size, padding, stride_size) + output_padding
    added = {'same': 0, 'valid': max(kernel_size - stride_size, 0), 'full': 2 - stride_size - kernel_size}
    return dim_size * stride_size + _chosen(padding, added)
