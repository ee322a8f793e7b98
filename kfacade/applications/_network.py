"""From a description of a network to the functions that scripts call: their arguments, inputs, tops and weights."""
import os
from collections.abc import Callable
from typing import NamedTuple

import torch

from .. import backend as K
from ..layers import Dense, GlobalAveragePooling2D, GlobalMaxPooling2D, Input
from ..models import Model
from ..saving import InvalidModelFile
from ..utils import get_source_inputs
from ._weights import imagenet_file, load_from_torchvision
from .imagenet_utils import _obtain_input_shape, check_modules

_POOLING = {'avg': GlobalAveragePooling2D, 'max': GlobalMaxPooling2D}


class Network(NamedTuple):
    """A network: its name in `FILES` and as a model, sizes of images, what it computes, and the last layer's name."""

    name: str
    size: int  # rows and columns of the images it was made for
    smallest: int  # the least rows and columns it takes
    features: Callable  # of the symbol of the images
    top: Callable  # of the symbol of the features and the number of classes
    pooled: dict = {}  # names of pooling layers in place of the top; automatic where absent


def channel_axis(last=3):
    """The axis of channels in a batch of images: 1, or `last` (3 or -1, as the network's configuration has it)."""
    return 1 if K.image_data_format() == 'channels_first' else last


def correct_pad(backend, inputs, kernel_size):
    """The padding, for ZeroPadding2D, that makes a strided convolution of this size end where 'same' would."""
    first = 2 if backend.image_data_format() == 'channels_first' else 1
    rows, columns = backend.int_shape(inputs)[first:first + 2]
    sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return tuple((size // 2 - (1 if n is None else 1 - n % 2), size // 2)
                 for size, n in zip(sizes, (rows, columns if rows else rows)))


def classifier(name, pool='avg_pool'):
    """A top of average pooling and one Dense layer called `name`."""
    def top(x, classes):
        return Dense(classes, activation='softmax', name=name)(GlobalAveragePooling2D(name=pool)(x))
    return top


def application(network):
    """The function that makes a Model of `network`."""
    def make(include_top=True, weights='imagenet', input_tensor=None, input_shape=None, pooling=None, classes=1000,
             **kwargs):
        """The network {name}, as a Model.

        Arguments:
            include_top: with the classifier at the top.
            weights: 'imagenet', the weights trained on ImageNet, which are fetched where they are not in the cache;
                None, random ones; the path of a weights file; for VGG and DenseNet also 'torchvision', or a network of
                it.
            input_tensor: the symbol to take as the images, in place of a new Input.
            input_shape: of one image, at least {smallest} rows and columns (default: {size}; without the top: open).
            pooling: without the top, None, 'avg' or 'max': what becomes of rows and columns.
            classes: how many the top tells apart.

        Raises ValueError for arguments that do not go together, and for a file that does not fit.
        """
        check_arguments(weights, include_top, pooling, classes, kwargs)
        shape = input_shape_of(network, include_top, weights, input_shape)
        return assemble(network, include_top, weights, input_tensor, shape, pooling, classes)
    make.__doc__ = make.__doc__ and make.__doc__.format_map(network._asdict())  # python -OO leaves it out
    return make


def check_arguments(weights, include_top, pooling, classes, kwargs):
    """Raises ValueError (TypeError for unknown keywords) for what no network takes."""
    check_modules(kwargs)
    if not (weights in ('imagenet', 'torchvision', None) or isinstance(weights, torch.nn.Module)
            or isinstance(weights, (str, os.PathLike)) and os.path.exists(weights)):
        raise ValueError('The `weights` argument should be either `None` (random initialization), `imagenet` '
                         '(pre-training on ImageNet), or the path to the weights file to be loaded. `torchvision`, or '
                         f'a network of torchvision, gives its weights. Received: {weights!r}')
    if weights == 'imagenet' and include_top and classes != 1000:
        raise ValueError('If using `weights` as `"imagenet"` with `include_top` as true, `classes` should be 1000')
    if pooling not in (None, *_POOLING):
        raise ValueError(f'`pooling` should be None, "avg" or "max". Received: {pooling!r}')


def input_shape_of(network, require_flatten, weights, input_shape, size=None):
    """The shape of the network's images (see `_obtain_input_shape`); `size` in place of the network's own."""
    return _obtain_input_shape(input_shape, size or network.size, network.smallest, K.image_data_format(),
                               require_flatten, weights)


def assemble(network, include_top, weights, input_tensor, input_shape, pooling, classes, name=None, variant=()):
    """The Model called `name` (default: the network's), with its weights; `variant` picks among the files."""
    is_made = input_tensor is not None and K.is_keras_tensor(input_tensor)
    images = input_tensor if is_made else Input(tensor=input_tensor, shape=input_shape)
    x = network.features(images)
    if include_top:
        x = network.top(x, classes)
    elif pooling:
        x = _POOLING[pooling](name=network.pooled.get(pooling))(x)
    model = Model(images if input_tensor is None else get_source_inputs(input_tensor), x, name=name or network.name)
    if isinstance(weights, torch.nn.Module) or weights == 'torchvision':
        load_from_torchvision(model, network.name, weights, include_top)
    elif weights is not None:
        path = imagenet_file(network.name, include_top, *variant) if weights == 'imagenet' else weights
        try:
            model.load_weights(path)
        except InvalidModelFile:
            raise
        except ValueError as error:
            top = f'with its top for {classes} classes' if include_top else 'without its top'
            raise ValueError(f'{path} does not hold the weights of {network.name} {top}: {error}') from error
    return model
