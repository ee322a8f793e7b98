"""InceptionV3 (Szegedy et al. 2015, arXiv:1512.00567)."""
from ..layers import concatenate
from ._inception import STEM, branch
from ._network import Network, application, channel_axis, classifier
from .imagenet_utils import _obtain_input_shape, decode_predictions  # noqa: F401
from .imagenet_utils import preprocess_input as _preprocess_input

__all__ = ['InceptionV3', 'decode_predictions', 'preprocess_input']


def _small(pooled):
    return '64', '48 64-5x5', '64 96-3x3 96-3x3', f'avg {pooled}'


def _wide(n):
    return ('192', f'{n} {n}-1x7 192-7x1', f'{n} {n}-7x1 {n}-1x7 {n}-7x1 192-1x7', 'avg 192')


# the branches of each block, by its number
_BLOCKS = [_small(32), _small(64), _small(64), ('384-3x3/2', '64 96-3x3 96-3x3/2', 'max'), _wide(128), _wide(160),
           _wide(160), _wide(192), ('192 320-3x3/2', '192 192-1x7 192-7x1 192-3x3/2', 'max')]


def _forked(x, steps, name=None):
    """The steps, and at their end a row and a column side by side."""
    x = branch(x, steps)
    return concatenate([branch(x, '384-1x3'), branch(x, '384-3x1')], axis=channel_axis(), name=name)


def _features(x):
    x = branch(x, STEM)
    for number, steps in enumerate(_BLOCKS):
        x = concatenate([branch(x, s) for s in steps], axis=channel_axis(), name=f'mixed{number}')
    for i in range(2):
        branches = [branch(x, '320'), _forked(x, '384', f'mixed9_{i}'), _forked(x, '448 384-3x3'), branch(x, 'avg 192')]
        x = concatenate(branches, axis=channel_axis(), name=f'mixed{9 + i}')
    return x


InceptionV3 = application(Network('inception_v3', 299, 75, _features, classifier('predictions')))


def preprocess_input(x, data_format=None, mode='tf', **kwargs):
    """Images as this network was trained on, from -1 to 1: `imagenet_utils.preprocess_input` with that mode."""
    return _preprocess_input(x, data_format, mode, **kwargs)
