"""What the networks trained on ImageNet have in common: the form of their images, and the names of the classes."""
import json
import warnings

import numpy as np
import torch

from .. import backend as K
from ..utils.data_utils import get_file

__all__ = ['decode_predictions', 'preprocess_input']

CLASS_INDEX = None
CLASS_INDEX_PATH = 'https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json'
CLASS_INDEX_HASH = 'c2c37ea517e94d9795004a39431a14cb'  # md5

# (mean, standard deviation) of each channel, in the order that the mode gives the channels; None: not divided
_STATISTICS = {'caffe': ((103.939, 116.779, 123.68), None),
               'torch': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
_MODULES = {'backend', 'layers', 'models', 'utils'}


def check_modules(modules):
    """Refuses keyword arguments that are not the modules of Keras, which `keras_applications` wants to be handed.

    Raises TypeError for any other argument, ValueError for modules of another Keras.
    """
    for name, module in modules.items():
        if name not in _MODULES:
            raise TypeError(f'Invalid keyword argument: {name!r}. Only the modules {sorted(_MODULES)} are taken, too.')
        if not getattr(module, '__name__', '').startswith('kfacade.'):
            raise ValueError(f'`{name}` is {module!r}. The networks are made of kfacade\'s own layers: leave it out.')


def preprocess_input(x, data_format=None, mode='caffe', **kwargs):
    """Images with values from 0 to 255, channels red, green, blue, in the form that a network was trained on.

    Arguments:
        x: array, symbol or torch tensor of one image or a batch of them, (rows, columns, 3) or (samples, rows, columns,
            3), with the channels before the rows where `data_format` says so. An array of floats is overwritten.
        data_format: 'channels_last' or 'channels_first'; None: the default of Keras.
        mode: 'caffe': channels in the order blue, green, red, less ImageNet's mean. 'tf': from -1 to 1. 'torch': from 0
            to 1, less ImageNet's mean, divided by its standard deviation.

    Raises ValueError for an unknown `data_format` or `mode`.
    """
    check_modules(kwargs)
    data_format = data_format or K.image_data_format()
    if data_format not in ('channels_first', 'channels_last'):
        raise ValueError(f'Unknown data_format {data_format}. Expected "channels_first" or "channels_last".')
    if mode != 'tf' and mode not in _STATISTICS:
        raise ValueError(f'Unknown mode {mode!r}. Expected "caffe", "tf" or "torch".')
    is_array = isinstance(x, np.ndarray)
    rank = x.ndim if is_array else K.ndim(x)
    if not (np.issubdtype(x.dtype, np.floating) if is_array else K.dtype(x).startswith(('float', 'bfloat'))):
        x = x.astype(K.floatx()) if is_array else K.cast(x, K.floatx())
    if mode == 'tf':
        x /= 127.5
        x -= 1.
        return x
    axis = rank - 3 if data_format == 'channels_first' else rank - 1
    mean, deviation = _STATISTICS[mode]
    if mode == 'torch':
        x /= 255.
    else:
        x = np.flip(x, axis) if is_array else K.reverse(x, axis)

    def of_channels(values):
        values = np.reshape(values, [3 if i == axis else 1 for i in range(rank)])
        if is_array:
            return values.astype(x.dtype)
        return x.new_tensor(values) if isinstance(x, torch.Tensor) else K.constant(values, K.dtype(x))

    x -= of_channels(mean)
    if deviation is not None:
        x /= of_channels(deviation)
    return x


def decode_predictions(preds, top=5, **kwargs):
    """The `top` likeliest of ImageNet's 1,000 classes for each sample: lists of (WordNet id, name, score), best first.

    `preds` is an array (samples, 1000). Raises ValueError for another shape, and what `get_file` raises where the names
    of the classes are not in the cache and cannot be fetched.
    """
    global CLASS_INDEX
    check_modules(kwargs)
    if len(preds.shape) != 2 or preds.shape[1] != 1000:
        raise ValueError('`decode_predictions` expects a batch of predictions (i.e. a 2D array of shape (samples, '
                         f'1000)). Found array with shape: {preds.shape}')
    if CLASS_INDEX is None:
        path = get_file('imagenet_class_index.json', CLASS_INDEX_PATH, cache_subdir='models',
                        file_hash=CLASS_INDEX_HASH)
        with open(path) as f:
            CLASS_INDEX = json.load(f)
    return [sorted([(*CLASS_INDEX[str(i)], scores[i]) for i in scores.argsort()[-top:][::-1]],
                   key=lambda row: row[2], reverse=True) for scores in preds]


def _obtain_input_shape(input_shape, default_size, min_size, data_format, require_flatten, weights=None):
    """The shape of the images of a network, from the one asked for (None: the network's own).

    Arguments:
        input_shape: (rows, columns, channels), or channels first, as `data_format` says; rows and columns may be None.
        default_size, min_size: rows and columns of the images that the network was made for, and the least it takes.
        require_flatten: the network has a top, so that the sizes must be known.
        weights: with 'imagenet' there must be three channels, and the default size under a top.

    Raises ValueError where these do not hold.
    """
    channels_first = data_format == 'channels_first'

    def image(size, channels):
        return (channels, size, size) if channels_first else (size, size, channels)

    shape, channels = input_shape and tuple(input_shape), 3
    if shape and len(shape) == 3 and weights != 'imagenet':
        channels = shape[0 if channels_first else -1]
        if channels not in (1, 3):
            warnings.warn('This model usually expects 1 or 3 input channels. However, it was passed an input_shape '
                          f'with {channels} input channels.', stacklevel=4)
    default = image(default_size, channels)
    if weights == 'imagenet' and require_flatten:
        if shape is not None and shape != default:
            raise ValueError('When setting `include_top=True` and loading `imagenet` weights, `input_shape` should be '
                             f'{default}. Received: {input_shape}')
        return default
    if not shape:
        return default if require_flatten else image(None, 3)
    if len(shape) != 3:
        raise ValueError(f'`input_shape` must be a tuple of three integers. Received: {input_shape}')
    if weights == 'imagenet' and shape[0 if channels_first else -1] != 3:
        raise ValueError(f'The input must have 3 channels; got `input_shape={input_shape}`')
    if any(size is not None and size < min_size for size in (shape[1:] if channels_first else shape[:2])):
        raise ValueError(f'Input size must be at least {min_size}x{min_size}; got `input_shape={input_shape}`')
    if require_flatten and None in shape:
        raise ValueError('If `include_top` is True, you should specify a static `input_shape`. Got '
                         f'`input_shape={input_shape}`')
    return shape
