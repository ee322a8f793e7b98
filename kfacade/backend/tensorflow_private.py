"""Private functions of Keras' TensorFlow backend that libraries such as keras-contrib import, as on a CPU."""
from .math import cast, permute_dimensions
from .session import constant, is_tensor

__all__ = ['_preprocess_conv1d_input', '_preprocess_conv2d_input', '_preprocess_conv3d_input', '_preprocess_padding',
           '_to_tensor']


def _channels_last(name):
    def preprocess(x, data_format, force_transpose=False):  # it transposes anyhow
        """`x` with its channels last, and TensorFlow's name of that format."""
        return (permute_dimensions(x, [0, *range(2, len(name)), 1]) if data_format == 'channels_first' else x), name
    return preprocess


_preprocess_conv1d_input, _preprocess_conv2d_input, _preprocess_conv3d_input = map(
    _channels_last, ('NWC', 'NHWC', 'NDHWC'))


def _preprocess_padding(padding):
    """TensorFlow's name of `padding`. Raises ValueError for another than 'same' and 'valid'."""
    if padding not in ('same', 'valid'):
        raise ValueError(f'Invalid padding: {padding}. It is "same" or "valid".')
    return padding.upper()


def _to_tensor(x, dtype):
    """`x` as a tensor of `dtype`."""
    return cast(x, dtype) if is_tensor(x) else constant(x, dtype)
