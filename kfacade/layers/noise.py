"""Layers that disturb their input, in training only."""
import torch

from .. import backend as K
from ..backend.math import as_ints
from ..backend.random import keep_mask
from ..legacy import interfaces
from ..utils.ranks import of_batch
from ._base import NoiseLayer

__all__ = ['AlphaDropout', 'GaussianDropout', 'GaussianNoise']

# The negative saturation value of selu, -alpha * scale (Klambauer et al. 2017, arXiv:1706.02515).
_SELU_FLOOR = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946


@of_batch
def _normal(shape, mean, stddev, stream, like):
    return like.new_empty(shape).normal_(mean, stddev, generator=stream.generator(like.device))


class GaussianNoise(NoiseLayer):
    """In training, adds normally distributed noise of standard deviation `stddev`."""

    @interfaces.legacy_gaussiannoise_support
    def __init__(self, stddev, **kwargs):
        super().__init__(locals(), **kwargs)

    def _disturbed(self, inputs):
        return inputs + _normal(inputs.shape, 0., self.stddev, self._stream, inputs)


class GaussianDropout(NoiseLayer):
    """In training, multiplies by noise of mean 1 and standard deviation ``sqrt(rate / (1 - rate))``.

    `rate` is that of a `Dropout` of the same effect; outside (0, 1) nothing happens.
    """

    @interfaces.legacy_gaussiandropout_support
    def __init__(self, rate, **kwargs):
        super().__init__(locals(), **kwargs)

    def _disturbed(self, inputs):
        return inputs * _normal(inputs.shape, 1., (self.rate / (1. - self.rate)) ** .5, self._stream, inputs)


class AlphaDropout(NoiseLayer):
    """Dropout for `selu` networks: dropped elements get selu's lowest value, and mean and variance stay as they were.

    Arguments: `rate`, outside (0, 1) nothing happens; `noise_shape`, the shape of the mask; `seed`.
    """

    settings, own_settings = ('rate',), {'noise_shape': None, 'seed': None}

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(locals(), **kwargs)

    def _get_noise_shape(self, inputs):
        return self.noise_shape or K.shape(inputs)

    def _disturbed(self, inputs):
        keep = 1. - self.rate
        kept = keep_mask(as_ints(self._get_noise_shape(inputs)), keep, self._stream, inputs) > 0
        scale = (keep * (1. + self.rate * _SELU_FLOOR ** 2)) ** -.5
        return torch.where(kept, inputs, _SELU_FLOOR) * scale - scale * _SELU_FLOOR * self.rate
