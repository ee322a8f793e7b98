"""MobileNet (Howard et al. 2017, arXiv:1704.04861)."""
import warnings

from .. import backend as K
from .. import layers
from ._network import Network, assemble, channel_axis, check_arguments, input_shape_of
from .imagenet_utils import _obtain_input_shape, decode_predictions  # noqa: F401
from .inception_v3 import preprocess_input

__all__ = ['MobileNet', 'decode_predictions', 'preprocess_input']

_WIDTHS = {0.25: '2_5', 0.5: '5_0', 0.75: '7_5', 1.: '1_0'}  # as the names of the files have them
# filters of the blocks, and whether they halve the image
_BLOCKS = [(64, False), (128, True), (128, False), (256, True), (256, False), (512, True), *[(512, False)] * 5,
           (1024, True), (1024, False)]


def _activated(x, layer, halves=False, pad=None):
    """A convolution, its normalization and its ReLU; one that `halves` the image pads it at its end first."""
    if halves:
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=pad)(x)
    x = layers.BatchNormalization(axis=channel_axis(-1), name=layer.name + '_bn')(layer(x))
    return layers.ReLU(6., name=layer.name + '_relu')(x)


def _features(x, alpha, depth_multiplier):
    first = layers.Conv2D(int(32 * alpha), 3, strides=2, use_bias=False, name='conv1')
    x = _activated(x, first, True, 'conv1_pad')
    for i, (filters, halves) in enumerate(_BLOCKS, 1):
        depthwise = layers.DepthwiseConv2D(3, strides=2 if halves else 1, padding='valid' if halves else 'same',
                                           depth_multiplier=depth_multiplier, use_bias=False, name=f'conv_dw_{i}')
        pointwise = layers.Conv2D(int(filters * alpha), 1, padding='same', use_bias=False, name=f'conv_pw_{i}')
        x = _activated(_activated(x, depthwise, halves, f'conv_pad_{i}'), pointwise)
    return x


def _top(x, classes, dropout):
    n = K.int_shape(x)[channel_axis()]
    shape = (n, 1, 1) if K.image_data_format() == 'channels_first' else (1, 1, n)
    x = layers.Reshape(shape, name='reshape_1')(layers.GlobalAveragePooling2D()(x))
    x = layers.Dropout(dropout, name='dropout')(x)
    x = layers.Conv2D(classes, 1, padding='same', name='conv_preds')(x)
    return layers.Activation('softmax', name='act_softmax')(layers.Reshape((classes,), name='reshape_2')(x))


def MobileNet(input_shape=None, alpha=1.0, depth_multiplier=1, dropout=1e-3, include_top=True, weights='imagenet',
              input_tensor=None, pooling=None, classes=1000, **kwargs):
    """The network mobilenet, as a Model.

    Arguments: those of the other networks (see `VGG16`; at least 32 rows and columns), and
        alpha: factor to the number of filters of each layer.
        depth_multiplier: filters for each channel in the depthwise convolutions.
        dropout: share that is dropped before the last convolution of the top.

    Weights trained on ImageNet are there for alpha 0.25, 0.5, 0.75 and 1 and a depth multiplier of 1, and for square
    images of 128, 160, 192 and 224 rows; those of 224 are taken for others, with a warning.
    """
    check_arguments(weights, include_top, pooling, classes, kwargs)
    if weights == 'imagenet' and depth_multiplier != 1:
        raise ValueError('If imagenet weights are being loaded, depth multiplier must be 1')
    network = Network('mobilenet', 224, 32, lambda x: _features(x, alpha, depth_multiplier),
                      lambda x, classes: _top(x, classes, dropout))
    return assemble_scaled(network, include_top, weights, input_tensor, input_shape, pooling, classes, alpha, _WIDTHS,
                           (128, 160, 192, 224), known=input_shape)


def assemble_scaled(network, include_top, weights, input_tensor, input_shape, pooling, classes, alpha, widths, sizes,
                    known):
    """The Model of a `network` whose weights are there for some `widths` and some `sizes` of square images.

    `widths`: alpha -> its form in the name of the file. `known`: the shape of an image, or None, by which the default
    size is chosen.
    """
    def square(shape):
        rows, columns = shape[1:] if K.image_data_format() == 'channels_first' else shape[:2]
        return rows if rows == columns and rows in sizes else None

    shape = input_shape_of(network, include_top, weights, input_shape, known and square(known))
    rows = shape[1 if K.image_data_format() == 'channels_first' else 0]
    if weights == 'imagenet':
        if alpha not in widths:
            raise ValueError('If imagenet weights are being loaded, alpha can be one of '
                             f'{", ".join(map(str, widths))} only. Received: {alpha}')
        rows = square(shape)
        if rows is None:
            rows = 224
            warnings.warn(f'`input_shape` is undefined or non-square, or `rows` is not in {list(sizes)}. Weights for '
                          'input shape (224, 224) will be loaded as the default.', stacklevel=3)
    return assemble(network, include_top, weights, input_tensor, shape, pooling, classes,
                    f'{network.name}_{alpha:0.2f}_{rows}', (widths.get(alpha), rows))
