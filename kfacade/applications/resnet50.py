"""ResNet50 (He et al. 2015, arXiv:1512.03385), with the strides in the first convolution of a block."""
import warnings

from ..layers import Activation, BatchNormalization, Conv2D, MaxPooling2D, ZeroPadding2D, add
from ._network import Network, application, channel_axis, classifier
from .imagenet_utils import _obtain_input_shape, decode_predictions, preprocess_input  # noqa: F401

__all__ = ['ResNet50', 'decode_predictions', 'preprocess_input']

# stage: its blocks, filters of the two inner convolutions, filters of the output
_STAGES = {2: ('abc', 64, 256), 3: ('abcd', 128, 512), 4: ('abcdef', 256, 1024), 5: ('abc', 512, 2048)}


def _normalized(x, filters, size, name, **kwargs):
    """A convolution called ``res<name>`` and its normalization, ``bn<name>``."""
    x = Conv2D(filters, size, kernel_initializer='he_normal', name='res' + name, **kwargs)(x)
    return BatchNormalization(axis=channel_axis(), name='bn' + name)(x)


def _block(x, stage, block, inner, outer):
    """A bottleneck; the first of a stage has a convolution on its shortcut, and from stage 3 on halves the image."""
    branch, strides = f'{stage}{block}_branch', 2 if block == 'a' and stage > 2 else 1
    y = _normalized(x, inner, 1, branch + '2a', strides=strides)
    y = _normalized(Activation('relu')(y), inner, 3, branch + '2b', padding='same')
    y = _normalized(Activation('relu')(y), outer, 1, branch + '2c')
    if block == 'a':
        x = _normalized(x, outer, 1, branch + '1', strides=strides)
    return Activation('relu')(add([y, x]))


def _features(x):
    x = ZeroPadding2D(3, name='conv1_pad')(x)
    x = Conv2D(64, 7, strides=2, kernel_initializer='he_normal', name='conv1')(x)
    x = Activation('relu')(BatchNormalization(axis=channel_axis(), name='bn_conv1')(x))
    x = MaxPooling2D(3, strides=2)(ZeroPadding2D(1, name='pool1_pad')(x))
    for stage, (blocks, inner, outer) in _STAGES.items():
        for block in blocks:
            x = _block(x, stage, block, inner, outer)
    return x


_make = application(Network('resnet50', 224, 32, _features, classifier('fc1000')))


def ResNet50(include_top=True, weights='imagenet', input_tensor=None, input_shape=None, pooling=None, classes=1000,
             **kwargs):
    if not include_top and pooling is None:
        warnings.warn('The output shape of `ResNet50(include_top=False)` has been changed since Keras 2.2.0.',
                      stacklevel=2)
    return _make(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)


ResNet50.__doc__ = _make.__doc__
