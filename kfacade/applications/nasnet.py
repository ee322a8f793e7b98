"""NASNetMobile and NASNetLarge, of NASNet-A cells (Zoph et al. 2017, arXiv:1707.07012)."""
import warnings
from contextlib import contextmanager

from .. import backend as K
from .. import layers
from ._network import Network, assemble, check_arguments, classifier, correct_pad, input_shape_of
from .imagenet_utils import _obtain_input_shape, decode_predictions  # noqa: F401
from .inception_v3 import preprocess_input

__all__ = ['NASNetLarge', 'NASNetMobile', 'decode_predictions', 'preprocess_input']


# The blocks of a cell: (name of the sum, left term, right term). A term is a source, or what an operation makes of it
# and the place in its name: separable convolutions of a size, poolings, with /2 of strides 2. Sources are h, the output
# of the last cell; q, that with padding; p, the output of the cell before it; x1, x2 ..., the sums so far.
_NORMAL = (('add_1', 'h sep5 left1', 'p sep3 right1'), ('add_2', 'p sep5 left2', 'p sep3 right2'),
           ('add_3', 'h avg left3', 'p'), ('add_4', 'p avg left4', 'p avg right4'), ('add_5', 'h sep3 left5', 'h'))
_REDUCTION = (('add_1', 'h sep5/2 left1', 'p sep7/2 right1'), ('add_2', 'q max/2 left2', 'p sep7/2 right2'),
              ('add3', 'q avg/2 left3', 'p sep5/2 right3'), (None, 'x2', 'x1 avg left4'),
              ('add4', 'x1 sep3 left4', 'q max/2 right5'))
_POOLINGS = {'avg': layers.AveragePooling2D, 'max': layers.MaxPooling2D}


def _norm(x, name):
    return layers.BatchNormalization(axis=-1, momentum=0.9997, epsilon=1e-3, name=name)(x)


def _convolution(x, filters, name):
    return layers.Conv2D(filters, 1, padding='same', name=name, use_bias=False, kernel_initializer='he_normal')(x)


def _separable(x, filters, size, strides, name):
    """Twice relu, separable convolution and normalization, the first with the strides."""
    with K.name_scope(f'separable_conv_block_{name}'):
        for i, stride in ((1, strides), (2, 1)):
            x, padding = layers.Activation('relu')(x), 'same'
            if stride == 2:
                x = layers.ZeroPadding2D(correct_pad(K, x, size), name=f'separable_conv_1_pad_{name}')(x)
                padding = 'valid'
            x = layers.SeparableConv2D(filters, size, strides=stride, padding=padding, use_bias=False,
                                       kernel_initializer='he_normal', name=f'separable_conv_{i}_{name}')(x)
            x = _norm(x, f'separable_conv_{i}_bn_{name}')
    return x


def _adjusted(p, x, filters, cell):
    """`p`, the output of the cell before the last, with the size of `x`, that of the last, and `filters` channels."""
    with K.name_scope('adjust_block'):
        if p is None:
            return x
        if K.int_shape(p)[-2] != K.int_shape(x)[-2]:
            with K.name_scope(f'adjust_reduction_block_{cell}'):
                p = layers.Activation('relu', name=f'adjust_relu_1_{cell}')(p)
                halves = []
                for i in (1, 2):
                    if i == 2:  # one row and one column further on
                        p = layers.Cropping2D(((1, 0), (1, 0)))(layers.ZeroPadding2D(((0, 1), (0, 1)))(p))
                    half = layers.AveragePooling2D(1, strides=2, name=f'adjust_avg_pool_{i}_{cell}')(p)
                    halves.append(_convolution(half, filters // 2, f'adjust_conv_{i}_{cell}'))
                return _norm(layers.concatenate(halves, axis=-1), f'adjust_bn_{cell}')
        if K.int_shape(p)[-1] != filters:
            with K.name_scope(f'adjust_projection_block_{cell}'):
                p = _convolution(layers.Activation('relu')(p), filters, f'adjust_conv_projection_{cell}')
                return _norm(p, f'adjust_bn_{cell}')
    return p


def _term(sources, text, filters, name):
    """One term of a sum, as the tables describe it."""
    source, *operation = text.split()
    if not operation:
        return sources[source]
    kind, _, strides = operation[0].partition('/')
    strides, name = int(strides or 1), name.format(operation[1])
    if kind in _POOLINGS:
        padding = 'same' if strides == 1 else 'valid'
        return _POOLINGS[kind](3, strides=strides, padding=padding, name=name)(sources[source])
    return _separable(sources[source], filters, int(kind.removeprefix('sep')), strides, name)


def _cell(x, p, filters, cell, kind='normal'):
    """A cell on the outputs of the last (`x`) and the one before; returns its own output and `x`."""
    name = f'{kind}_{{}}_{cell}'
    with K.name_scope(f'{kind}_A_block_{cell}'):
        p = _adjusted(p, x, filters, cell)
        h = _convolution(layers.Activation('relu')(x), filters, name.format('conv_1'))
        sources = {'h': _norm(h, name.format('bn_1')), 'p': p}
        if kind == 'reduction':
            sources['q'] = layers.ZeroPadding2D(correct_pad(K, h, 3), name=name.format('pad_1'))(sources['h'])
        for i, (label, *terms) in enumerate(_NORMAL if kind == 'normal' else _REDUCTION, 1):
            with K.name_scope(f'block_{i}'):
                terms = [_term(sources, text, filters, name) for text in terms]
                sources[f'x{i}'] = layers.add(terms, name=label and name.format(label))
        parts = ('p', 'x1', 'x2', 'x3', 'x4', 'x5') if kind == 'normal' else ('x2', 'x3', 'x4', 'x5')
        return layers.concatenate([sources[k] for k in parts], axis=-1, name=name.format('concat')), x


@contextmanager
def _channels_last():
    """Inside, the default layout of images is channels last; a warning says so where it was not."""
    before = K.image_data_format()
    if before != 'channels_last':
        warnings.warn('The NASNet family of models is only available for the input data format "channels_last" (width, '
                      'height, channels). However your settings specify the default data format "channels_first" '
                      '(channels, width, height). The model being returned right now will expect inputs to follow the '
                      '"channels_last" data format.', stacklevel=4)
    K.set_image_data_format('channels_last')
    try:
        yield
    finally:
        K.set_image_data_format(before)


def NASNet(input_shape=None, penultimate_filters=4032, num_blocks=6, stem_block_filters=96, skip_reduction=True,
           filter_multiplier=2, include_top=True, weights=None, input_tensor=None, pooling=None, classes=1000,
           default_size=None, **kwargs):
    """A network of NASNet-A cells, as a Model called NASNet.

    Arguments: those of the other networks (see `VGG16`; at least 32 rows and columns, known ones), and
        penultimate_filters: channels before the top, a multiple of 24 times the square of `filter_multiplier`.
        num_blocks: normal cells before, between and after the reductions.
        stem_block_filters: filters of the first convolution.
        skip_reduction: after a reduction, the cell before it is what the next one sees beside it.
        filter_multiplier: factor to the filters at each reduction.
        default_size: rows and columns of the images (default: 331); weights trained on ImageNet are there for 224
            (NASNetMobile) and 331 (NASNetLarge).
    """
    check_arguments(weights, include_top, pooling, classes, kwargs)
    if weights == 'imagenet' and isinstance(input_shape, tuple) and None in input_shape:
        raise ValueError('When specifying the input shape of a NASNet and loading `ImageNet` weights, the input_shape '
                         f'argument must be static (no None entries). Got: `input_shape={input_shape}`.')
    if penultimate_filters % (24 * filter_multiplier ** 2):
        raise ValueError('For NASNet-A models, the `penultimate_filters` must be a multiple of 24 * '
                         f'(`filter_multiplier` ** 2). Current value: {penultimate_filters}')
    size = default_size or 331
    if weights == 'imagenet' and size not in (224, 331):
        raise ValueError('ImageNet weights can only be loaded with NASNetLarge or NASNetMobile')

    def features(x):
        n = penultimate_filters // 24
        x = layers.Conv2D(stem_block_filters, 3, strides=2, use_bias=False, kernel_initializer='he_normal',
                          name='stem_conv1')(x)
        x, p = _cell(_norm(x, 'stem_bn1'), None, n // filter_multiplier ** 2, 'stem_1', 'reduction')
        x, p = _cell(x, p, n // filter_multiplier, 'stem_2', 'reduction')
        for stage in range(3):
            first = stage * num_blocks
            if stage:
                n *= filter_multiplier
                x, before = _cell(x, p, n, f'reduce_{first}', 'reduction')
                p = p if skip_reduction else before
            for i in range(num_blocks):
                x, p = _cell(x, p, n, first + i + (stage > 0))
        return layers.Activation('relu')(x)

    network = Network('nasnet_mobile' if size == 224 else 'nasnet_large', size, 32, features,
                      classifier('predictions', pool=None))
    with _channels_last():
        shape = input_shape_of(network, True, weights, input_shape)
        return assemble(network, include_top, weights, input_tensor, shape, pooling, classes, 'NASNet')


def NASNetLarge(input_shape=None, include_top=True, weights='imagenet', input_tensor=None, pooling=None, classes=1000,
                **kwargs):
    """The large network of NASNet-A cells; see `NASNet`."""
    return NASNet(input_shape, 4032, 6, 96, True, 2, include_top, weights, input_tensor, pooling, classes, 331,
                  **kwargs)


def NASNetMobile(input_shape=None, include_top=True, weights='imagenet', input_tensor=None, pooling=None, classes=1000,
                 **kwargs):
    """The small network of NASNet-A cells; see `NASNet`."""
    return NASNet(input_shape, 1056, 4, 32, False, 2, include_top, weights, input_tensor, pooling, classes, 224,
                  **kwargs)
