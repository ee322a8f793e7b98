"""Xception (Chollet 2016, arXiv:1610.02357)."""
from ..layers import Activation, BatchNormalization, Conv2D, MaxPooling2D, SeparableConv2D, add
from ._network import Network, application, channel_axis, classifier
from .imagenet_utils import _obtain_input_shape, decode_predictions  # noqa: F401
from .inception_v3 import preprocess_input

__all__ = ['Xception', 'decode_predictions', 'preprocess_input']


def _normalized(layer, x, activate=False):
    """`layer`, its normalization, which has its name, and perhaps a relu."""
    named = not layer.name.startswith('conv2d_')
    x = BatchNormalization(axis=channel_axis(-1), name=layer.name + '_bn' if named else None)(layer(x))
    return Activation('relu', name=layer.name + '_act')(x) if activate else x


def _separable(x, block, filters, activate_first=True):
    """Separable convolutions of so many `filters`, a relu before each (before the first only where it says so)."""
    for i, n in enumerate(filters, 1):
        name = f'block{block}_sepconv{i}'
        if i > 1 or activate_first:
            x = Activation('relu', name=name + '_act')(x)
        x = _normalized(SeparableConv2D(n, 3, padding='same', use_bias=False, name=name), x)
    return x


def _halving(x, block, *filters):
    """Two separable convolutions and a pooling, beside a strided convolution."""
    residual = _normalized(Conv2D(filters[-1], 1, strides=2, padding='same', use_bias=False), x)
    x = _separable(x, block, filters, activate_first=block > 2)
    x = MaxPooling2D(3, strides=2, padding='same', name=f'block{block}_pool')(x)
    return add([x, residual])


def _features(x):
    for i, (filters, strides) in enumerate(((32, 2), (64, 1)), 1):
        x = _normalized(Conv2D(filters, 3, strides=strides, use_bias=False, name=f'block1_conv{i}'), x, True)
    for block, filters in ((2, 128), (3, 256), (4, 728)):
        x = _halving(x, block, filters, filters)
    for block in range(5, 13):
        x = add([_separable(x, block, (728, 728, 728)), x])
    x = _halving(x, 13, 728, 1024)
    for i, filters in enumerate((1536, 2048), 1):
        last = SeparableConv2D(filters, 3, padding='same', use_bias=False, name=f'block14_sepconv{i}')
        x = _normalized(last, x, True)
    return x


Xception = application(Network('xception', 299, 71, _features, classifier('predictions')))
