"""Random tensors and variables.

A random op owns a stream of random numbers that starts from its seed when the op is made and goes on from run to run,
as TensorFlow's do. An op without a seed draws one from numpy's global generator: ``np.random.seed`` makes a script
reproducible. What is drawn lies on torch's default device; `dropout` draws on the device of its input.
"""
import itertools
import math
import weakref

import torch

from ..utils.ranks import of_batch
from .devices import available_devices
from .dtypes import torch_dtype
from .math import as_ints, resolved
from .state import drawn_seed, is_exporting
from .symbolic import op
from .variable import Variable

__all__ = ['random_binomial', 'random_normal', 'random_normal_variable', 'random_uniform', 'random_uniform_variable',
           'truncated_normal']


_streams = weakref.WeakValueDictionary()  # all there are, numbered in the order in which a script makes them
_numbers = itertools.count()


class SeedStream:
    """A stream of random numbers that starts from `seed`, on each device that asks for it.

    Without a seed, one is drawn from numpy's global generator at once. Copies and pickles go on from where
    the original stands.
    """

    def __init__(self, seed=None):
        self.seed = drawn_seed(10 ** 7) if seed is None else int(seed)
        self._generators = {}
        _streams[next(_numbers)] = self

    def generator(self, device='cpu'):
        """The `torch.Generator` of a device; None on the meta device, where nothing is drawn, and in an export."""
        device = torch.device(device)
        if device.type == 'meta' or is_exporting():
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def __getstate__(self):
        return self.seed, {str(device): g.get_state() for device, g in self._generators.items()}

    def __setstate__(self, state):
        seed, states = state
        self.__init__(seed)
        self.go_on_from(states)

    def go_on_from(self, states):
        """Takes the states of generators, by the names of their devices, for those that are here."""
        for device, generator_state in states.items():
            if torch.device(device).type == 'cpu' or torch.device(device) in available_devices().values():
                self.generator(device).set_state(generator_state)


def stream_states():
    """Where all streams of random numbers stand, for `set_stream_states` in a process that runs the same script."""
    return {number: stream.__getstate__() for number, stream in _streams.items()}


def set_stream_states(states):
    """Lets streams go on from where those with the same numbers stood."""
    for number, (_, generator_states) in states.items():
        if number in _streams:
            _streams[number].go_on_from(generator_states)


@of_batch
def keep_mask(shape, keep, stream, like):
    """For dropout: a mask in the data type and on the device of `like`, ``1 / keep`` with probability `keep`, else 0.

    As few random bits an element decide as make the probability exact, or at least right to 1 in 1000 of either side:
    64 bits make 8 elements at best, several times as fast on a CPU as drawing floats or Bernoulli numbers.
    """
    count = math.prod(shape)
    generator = stream.generator(like.device)
    mask = like.new_empty(tuple(shape))
    if keep >= 1:
        return mask.fill_(1.)
    if count < 512:  # here the number of calls is all that counts
        return mask.bernoulli_(keep, generator=generator).mul_(1. / keep)
    width = 8 if (keep * 256).is_integer() else 16 if .01 < keep < .99 else 32
    bits = torch.empty(-(-count * width // 64), dtype=torch.int64, device=like.device)
    bits.random_(-2 ** 63, None, generator=generator)
    bits = bits.view(getattr(torch, f'int{width}'))[:count].view(mask.shape)
    return torch.lt(bits, int(keep * 2 ** width) - 2 ** (width - 1), out=mask).mul_(1. / keep)


def _seeded(fn):
    """The op of a `fn` whose arguments `dtype` and `seed` are to be a torch dtype and a `SeedStream`."""
    def dtype_among(*args, **kwargs):
        return next(x for x in (*args, *kwargs.values()) if isinstance(x, torch.dtype))
    recorded = op(of_batch(fn), shape=lambda shape, *args, **kwargs: as_ints(shape), dtype=dtype_among)
    return resolved(recorded, dtype=torch_dtype, seed=SeedStream)


def _draw(shape, dtype, stream):
    """An empty tensor to fill and the generator to fill it from."""
    sample = torch.empty(as_ints(shape), dtype=dtype)
    return sample, stream.generator(sample.device)


@_seeded
def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Numbers uniform in [minval, maxval); an integer `dtype` gives integers."""
    sample, generator = _draw(shape, dtype, seed)
    if not dtype.is_floating_point:
        return sample.random_(int(minval), int(maxval), generator=generator)
    return sample.uniform_(generator=generator).mul_(maxval - minval).add_(minval)


@_seeded
def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normally distributed numbers."""
    sample, generator = _draw(shape, dtype, seed)
    return sample.normal_(generator=generator).mul_(stddev).add_(mean)


@_seeded
def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normally distributed numbers, but none further than two standard deviations (of the parent) from the mean."""
    sample, generator = _draw(shape, torch.promote_types(dtype, torch.float32), seed)
    within = math.erf(math.sqrt(2))  # probability of the central two standard deviations
    sample.uniform_(-within, within, generator=generator).erfinv_().mul_(math.sqrt(2)).clamp_(-2, 2)
    return sample.mul_(stddev).add_(mean).to(dtype)


@_seeded
def random_binomial(shape, p=0.0, dtype=None, seed=None):
    """Ones with probability `p`, zeros otherwise."""
    sample, generator = _draw(shape, torch.float32, seed)
    return (sample.uniform_(generator=generator) < p).to(dtype)


def _random_variable(sampler, shape, first, second, dtype, name, seed):
    stream = SeedStream(drawn_seed(10 ** 9) if seed is None else seed)
    return Variable(sampler.body(shape, first, second, torch_dtype(dtype), stream), name=name)


def random_uniform_variable(shape, low, high, dtype=None, name=None, seed=None):
    """A Variable of numbers uniform in [low, high)."""
    return _random_variable(random_uniform, shape, low, high, dtype, name, seed)


def random_normal_variable(shape, mean, scale, dtype=None, name=None, seed=None):
    """A Variable of normally distributed numbers; `scale` is their standard deviation."""
    return _random_variable(random_normal, shape, mean, scale, dtype, name, seed)
