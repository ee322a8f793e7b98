"""Blocks of parallel branches, which InceptionV3 and InceptionResNetV2 have in common, from their description.

A branch is a text of steps: ``'64'`` is a 1x1 convolution of 64 filters, ``'96-3x3'`` one of 3x3, with a final ``/2``
one of stride 2 without padding; ``avg`` is average pooling of stride 1, ``max`` the pooling that halves the image.
"""
from ..layers import Activation, AveragePooling2D, BatchNormalization, Conv2D, MaxPooling2D
from ._network import channel_axis

STEM = '32-3x3/2', '32-3x3v', '64-3x3', 'max', '80v', '192-3x3v', 'max'


def convolution(x, filters, size=1, strides=1, padding='same', names=(None, None, None)):
    """A convolution, its normalization and relu, with these names."""
    x = Conv2D(filters, size, strides=strides, padding=padding, use_bias=False, name=names[0])(x)
    x = BatchNormalization(axis=channel_axis(), scale=False, name=names[1])(x)
    return Activation('relu', name=names[2])(x)


def branch(x, steps):
    """The steps of a branch, a text or a list of texts, applied to `x`. A final ``v`` is for no padding."""
    for step in steps.split() if isinstance(steps, str) else steps:
        if step == 'avg':
            x = AveragePooling2D(3, strides=1, padding='same')(x)
        elif step == 'max':
            x = MaxPooling2D(3, strides=2)(x)
        else:
            strides = 2 if step.endswith('/2') else 1
            padding = 'valid' if step.endswith(('/2', 'v')) else 'same'
            filters, _, size = step.removesuffix('/2').removesuffix('v').partition('-')
            size = tuple(map(int, size.split('x'))) if size else 1
            x = convolution(x, int(filters), size, strides, padding)
    return x
