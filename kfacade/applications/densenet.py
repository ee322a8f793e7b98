"""DenseNet121, DenseNet169 and DenseNet201 (Huang et al. 2016, arXiv:1608.06993)."""
import functools

from .. import backend as K
from ..layers import Activation, AveragePooling2D, BatchNormalization, Concatenate, Conv2D, MaxPooling2D, ZeroPadding2D
from ._network import Network, application, channel_axis, classifier
from .imagenet_utils import _obtain_input_shape, decode_predictions  # noqa: F401
from .imagenet_utils import preprocess_input as _preprocess_input

__all__ = ['DenseNet121', 'DenseNet169', 'DenseNet201', 'decode_predictions', 'preprocess_input']

_GROWTH = 32


def _activated(x, norm, relu):
    return Activation('relu', name=relu)(BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=norm)(x))


def _convolution(x, filters, size, name, **kwargs):
    return Conv2D(filters, size, use_bias=False, name=name, **kwargs)(x)


def _dense_block(x, count, name):
    for i in range(1, count + 1):
        inner = f'{name}_block{i}'
        y = _convolution(_activated(x, inner + '_0_bn', inner + '_0_relu'), 4 * _GROWTH, 1, inner + '_1_conv')
        y = _convolution(_activated(y, inner + '_1_bn', inner + '_1_relu'), _GROWTH, 3, inner + '_2_conv',
                         padding='same')
        x = Concatenate(axis=channel_axis(), name=inner + '_concat')([x, y])
    return x


def _transition(x, name):
    """Halves the channels and the image."""
    x = _activated(x, name + '_bn', name + '_relu')
    x = _convolution(x, K.int_shape(x)[channel_axis()] // 2, 1, name + '_conv')
    return AveragePooling2D(2, strides=2, name=name + '_pool')(x)


def _features(x, blocks):
    x = _convolution(ZeroPadding2D(3)(x), 64, 7, 'conv1/conv', strides=2)
    x = ZeroPadding2D(1)(_activated(x, 'conv1/bn', 'conv1/relu'))
    x = MaxPooling2D(3, strides=2, name='pool1')(x)
    for i, count in enumerate(blocks, 2):
        x = _dense_block(x if i == 2 else _transition(x, f'pool{i - 1}'), count, f'conv{i}')
    return _activated(x, 'bn', 'relu')


def _densenet(name, *blocks):
    return application(Network(name, 224, 32, functools.partial(_features, blocks=blocks), classifier('fc1000'),
                               {'avg': 'avg_pool', 'max': 'max_pool'}))


DenseNet121 = _densenet('densenet121', 6, 12, 24, 16)
DenseNet169 = _densenet('densenet169', 6, 12, 32, 32)
DenseNet201 = _densenet('densenet201', 6, 12, 48, 32)


def preprocess_input(x, data_format=None, mode='torch', **kwargs):
    """Images as these networks were trained on, as torch has them: `imagenet_utils.preprocess_input` with that mode."""
    return _preprocess_input(x, data_format, mode, **kwargs)
