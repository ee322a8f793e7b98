"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381)."""
from .. import backend as K
from .. import layers
from ._network import Network, channel_axis, check_arguments, classifier, correct_pad
from .imagenet_utils import _obtain_input_shape, decode_predictions  # noqa: F401
from .inception_v3 import preprocess_input
from .mobilenet import assemble_scaled

__all__ = ['MobileNetV2', 'decode_predictions', 'preprocess_input']

_WIDTHS = {alpha: str(alpha) for alpha in (0.35, 0.5, 0.75, 1., 1.3, 1.4)}
# filters of the blocks, how many of them, strides of the first
_STAGES = (16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)


def _multiple_of_8(n):
    """`n` rounded to a multiple of 8, at least 8, and no more than a tenth below `n`."""
    rounded = max(8, int(n + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * n else rounded


def _normalized(x, layer, norm, relu=None):
    norm = layers.BatchNormalization(axis=channel_axis(-1), epsilon=1e-3, momentum=0.999, name=norm)
    x = norm(layer(x))
    return layers.ReLU(6., name=relu)(x) if relu else x


def _block(x, number, filters, strides):
    """An inverted residual: widened sixfold (the first block not), filtered channel by channel, narrowed."""
    inputs, channels = x, K.int_shape(x)[channel_axis(-1)]
    prefix = f'block_{number}_' if number else 'expanded_conv_'
    if number:
        expand = layers.Conv2D(6 * channels, 1, padding='same', use_bias=False, name=prefix + 'expand')
        x = _normalized(x, expand, prefix + 'expand_BN', prefix + 'expand_relu')
    if strides == 2:
        x = layers.ZeroPadding2D(correct_pad(K, x, 3), name=prefix + 'pad')(x)
    depthwise = layers.DepthwiseConv2D(3, strides=strides, padding='same' if strides == 1 else 'valid', use_bias=False,
                                       name=prefix + 'depthwise')
    x = _normalized(x, depthwise, prefix + 'depthwise_BN', prefix + 'depthwise_relu')
    project = layers.Conv2D(filters, 1, padding='same', use_bias=False, name=prefix + 'project')
    x = _normalized(x, project, prefix + 'project_BN')
    return layers.Add(name=prefix + 'add')([inputs, x]) if channels == filters and strides == 1 else x


def _features(x, alpha):
    first = layers.Conv2D(_multiple_of_8(32 * alpha), 3, strides=2, use_bias=False, name='Conv1')
    x = layers.ZeroPadding2D(correct_pad(K, x, 3), name='Conv1_pad')(x)
    x = _normalized(x, first, 'bn_Conv1', 'Conv1_relu')
    strides = [(filters, 1 if i else strides) for filters, count, strides in _STAGES for i in range(count)]
    for number, (filters, stride) in enumerate(strides):
        x = _block(x, number, _multiple_of_8(int(filters * alpha)), stride)
    last = layers.Conv2D(_multiple_of_8(1280 * alpha) if alpha > 1. else 1280, 1, use_bias=False, name='Conv_1')
    return _normalized(x, last, 'Conv_1_bn', 'out_relu')


def MobileNetV2(input_shape=None, alpha=1.0, include_top=True, weights='imagenet', input_tensor=None, pooling=None,
                classes=1000, **kwargs):
    """The network mobilenetv2, as a Model.

    Arguments: those of the other networks (see `VGG16`; at least 32 rows and columns), and `alpha`, a factor to the
    number of filters of each layer but the last. Weights trained on ImageNet are there for alpha 0.35, 0.5, 0.75, 1,
    1.3 and 1.4, and for square images of 96, 128, 160, 192 and 224 rows; those of 224 are taken for others, with a
    warning. Raises ValueError where `input_shape` and `input_tensor` contradict each other.
    """
    check_arguments(weights, include_top, pooling, classes, kwargs)
    known = input_shape
    if input_tensor is not None and K.is_keras_tensor(input_tensor):
        known = K.int_shape(input_tensor)[1:]
        if input_shape is not None and tuple(input_shape) != known:
            raise ValueError(f'input_shape: {input_shape} and input_tensor: {input_tensor} do not meet the same shape '
                             'requirements')
    elif input_tensor is not None and input_shape is not None:
        raise ValueError(f'input_tensor specified: {input_tensor} is not a keras tensor')
    network = Network('mobilenetv2', 224, 32, lambda x: _features(x, alpha), classifier('Logits', pool=None))
    return assemble_scaled(network, include_top, weights, input_tensor, input_shape, pooling, classes, alpha, _WIDTHS,
                           (96, 128, 160, 192, 224), known)
