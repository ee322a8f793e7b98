"""Where the weights trained on ImageNet come from: Keras' own files, and torchvision's networks."""
import torch

from ..saving import load_torch_weights
from ..utils.data_utils import get_file

_CHOLLET = 'https://github.com/fchollet/deep-learning-models/releases/download/'
_KERNELS = '{}/{}_weights_tf_dim_ordering_tf_kernels'


def _released(version, name, *hashes, source=_CHOLLET):
    stem = source + _KERNELS.format(version, name)
    return [(stem + suffix, md5) for suffix, md5 in zip(('.h5', '_notop.h5'), hashes)]


def _densenet(depth, *hashes):
    return _released('densenet', f'densenet{depth}', *hashes,
                     source='https://github.com/keras-team/keras-applications/releases/download/')


def _nasnet(size, *hashes):
    stem = 'https://github.com/titu1994/Keras-NASNet/releases/download/v1.2/NASNet-' + size
    return [(stem + suffix, md5) for suffix, md5 in zip(('.h5', '-no-top.h5'), hashes)]


_MOBILE_V2 = ('https://github.com/JonathanCMitchell/mobilenet_v2_keras/releases/download/v1.1/'
              'mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_{}')

# Network -> (address, md5) of its file with the top and of that without. MobileNets have a file a width and size, to
# whom nobody published hashes.
FILES = {
    'vgg16': _released('v0.1', 'vgg16', '64373286793e3c8b2b4e3219cbf3544b', '6d6bbae143d832006294945121d1f1fc'),
    'vgg19': _released('v0.1', 'vgg19', 'cbe5617147190e668d6c5d5026f83318', '253f8cb515780f3b799900260a226db6'),
    'resnet50': _released('v0.2', 'resnet50', 'a7b3fe01876f51b976af0dea6bc144eb', 'a268eb855778b3df3c7506639542a6af'),
    'inception_v3': _released('v0.5', 'inception_v3',
                              '9a0d58056eeedaa3f26cb7ebd46da564', 'bcbd6486424b2319ff4ef7d526e38f63'),
    'inception_resnet_v2': _released('v0.7', 'inception_resnet_v2',
                                     'e693bd0210a403b3192acc6073ad2e96', 'd19885ff4a710c122648d3b5c3b684e4'),
    'xception': _released('v0.4', 'xception', '0a58e3b7378bc2990ea3b43d5981f1f6', 'b0042744bf5b25fce3cb969f33bebb97'),
    'mobilenet': [(_CHOLLET + 'v0.6/mobilenet_{}_{}_tf' + suffix, None) for suffix in ('.h5', '_no_top.h5')],
    'mobilenetv2': [(_MOBILE_V2 + suffix, None) for suffix in ('.h5', '_no_top.h5')],
    'densenet121': _densenet(121, '9d60b8095a5708f2dcce2bca79d332c7', '30ee3e1110167f948a6b9946edeeb738'),
    'densenet169': _densenet(169, 'd699b8f76981ab1b30698df4c175e90b', 'b8c4d4c20dd625c148057b9ff1c1176b'),
    'densenet201': _densenet(201, '1ceb130c1ea1b78c3bf6114dbdfd8807', 'c13680b51ded0fb44dff2d8f86ac8bb1'),
    'nasnet_mobile': _nasnet('mobile', '020fb642bf7360b370c678b08e0adf61', '1ed92395b5b598bdda52abe5c0dbfd63'),
    'nasnet_large': _nasnet('large', '11577c9a518f0070763c2b964a382f17', 'd81d89dc07e6e56530c4e77faddd61b5'),
}

# What torchvision's network of the same name does otherwise.
_DIFFERS = {
    'resnet50': 'halves images in the 3x3 convolution of a block (v1.5), Keras in the 1x1 before it, has no biases in '
                'its convolutions and normalizes with epsilon 1e-5, Keras with 1e-3',
    'inception_v3': 'has scales in its normalizations, which Keras leaves out, and counts the padding in its average '
                    'pooling',
    'mobilenetv2': 'pads strided convolutions on both sides, Keras at the end, and normalizes with epsilon 1e-5, Keras '
                   'with 1e-3',
}
_CONVERTIBLE = ('vgg16', 'vgg19', 'densenet121', 'densenet169', 'densenet201')


def imagenet_file(name, include_top, *variant):
    """Path of the file of network `name` in the cache, fetched if need be. `variant` fills places in its address."""
    address, md5 = FILES[name][0 if include_top else 1]
    address = address.format(*variant)
    file_name = address.rpartition('/')[2].replace('NASNet-', 'nasnet_').replace('-', '_')
    return get_file(file_name, address, cache_subdir='models', file_hash=md5)


def load_from_torchvision(model, name, source, include_top):
    """Gives `model`, Keras' network `name`, the weights of torchvision's: of its own file, or of the module `source`.

    Images are then what torchvision's network wants: ``preprocess_input(x, mode='torch')``. Raises ValueError where
    torchvision has none by that name, or one that computes otherwise; ImportError where it is not installed.
    """
    if name not in _CONVERTIBLE:
        why = f'torchvision\'s {name} {_DIFFERS[name]}' if name in _DIFFERS else f'torchvision has no {name} like it'
        raise ValueError(f'The weights of {name} cannot come from torchvision: {why}. '
                         f'Its weights fit {", ".join(_CONVERTIBLE)}.')
    if not isinstance(source, torch.nn.Module):
        try:
            from torchvision import models
        except ImportError as error:
            raise ImportError(f'weights="torchvision" needs the package torchvision: {error}. '
                              'Install it with: pip install torchvision') from error
        source = getattr(models, name)(weights='IMAGENET1K_V1')
    state = {key: value for key, value in source.state_dict().items() if include_top or 'classifier' not in key}
    load_torch_weights(model, state)
    for layer in model.layers:  # torch's, where Keras has 1.001e-5
        if hasattr(layer, 'epsilon'):
            layer.epsilon = 1e-5
