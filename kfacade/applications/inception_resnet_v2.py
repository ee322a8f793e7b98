"""InceptionResNetV2 (Szegedy et al. 2016, arXiv:1602.07261)."""
from .. import backend as K
from ..layers import Activation, Concatenate, Conv2D, Lambda
from ._inception import STEM, branch, convolution
from ._network import Network, application, channel_axis, classifier
from .imagenet_utils import _obtain_input_shape, decode_predictions  # noqa: F401
from .inception_v3 import preprocess_input

__all__ = ['InceptionResNetV2', 'decode_predictions', 'preprocess_input']

# what mixes the branches between the residual blocks, and these: name, how many, weight of the residual, branches
_STAGES = [
    ('mixed_5b', ('96', '48 64-5x5', '64 96-3x3 96-3x3', 'avg 64'),
     'block35', 10, 0.17, ('32', '32 32-3x3', '32 48-3x3 64-3x3')),
    ('mixed_6a', ('384-3x3/2', '256 256-3x3 384-3x3/2', 'max'),
     'block17', 20, 0.1, ('192', '128 160-1x7 192-7x1')),
    ('mixed_7a', ('256 384-3x3/2', '256 288-3x3/2', '256 288-3x3 320-3x3/2', 'max'),
     'block8', 10, 0.2, ('192', '192 224-1x3 256-3x1')),
]


def _weighted_sum(inputs, scale):
    return inputs[0] + inputs[1] * scale


def _residual(x, name, scale, steps, activate):
    """`x` and `scale` times what the branches make of it, with a relu where `activate`."""
    shape = K.int_shape(x)
    mixed = Concatenate(axis=channel_axis(), name=name + '_mixed')([branch(x, s) for s in steps])
    up = Conv2D(shape[channel_axis()], 1, padding='same', name=name + '_conv')(mixed)
    x = Lambda(_weighted_sum, output_shape=shape[1:], arguments={'scale': scale}, name=name)([x, up])
    return Activation('relu', name=name + '_ac')(x) if activate else x


def _features(x):
    x = branch(x, STEM)
    for mixed, reduction, block, count, scale, steps in _STAGES:
        x = Concatenate(axis=channel_axis(), name=mixed)([branch(x, s) for s in reduction])
        for i in range(1, count + 1):
            last = (block, i) == ('block8', 10)
            x = _residual(x, f'{block}_{i}', 1. if last else scale, steps, activate=not last)
    return convolution(x, 1536, names=('conv_7b', 'conv_7b_bn', 'conv_7b_ac'))


InceptionResNetV2 = application(Network('inception_resnet_v2', 299, 75, _features, classifier('predictions')))
