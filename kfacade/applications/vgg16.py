"""VGG16 and VGG19 (Simonyan & Zisserman 2014, arXiv:1409.1556)."""
from ..layers import Conv2D, Dense, Flatten, MaxPooling2D
from ._network import Network, application
from .imagenet_utils import _obtain_input_shape, decode_predictions, preprocess_input  # noqa: F401

__all__ = ['VGG16', 'decode_predictions', 'preprocess_input']


def _features(*depths):
    def features(x):
        for block, (filters, depth) in enumerate(zip((64, 128, 256, 512, 512), depths), 1):
            for i in range(1, depth + 1):
                x = Conv2D(filters, 3, activation='relu', padding='same', name=f'block{block}_conv{i}')(x)
            x = MaxPooling2D(2, strides=2, name=f'block{block}_pool')(x)
        return x
    return features


def _top(x, classes):
    x = Flatten(name='flatten')(x)
    for name in ('fc1', 'fc2'):
        x = Dense(4096, activation='relu', name=name)(x)
    return Dense(classes, activation='softmax', name='predictions')(x)


VGG16 = application(Network('vgg16', 224, 32, _features(2, 2, 3, 3, 3), _top))
VGG19 = application(Network('vgg19', 224, 32, _features(2, 2, 4, 4, 4), _top))
