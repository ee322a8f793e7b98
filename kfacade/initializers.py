"""First values of weights: callables of ``(shape, dtype=None)`` that give a tensor or an array."""
import dataclasses
import math

import numpy as np

from . import backend as K
from .backend import state
from .backend.dtypes import dtype_name
from .backend.session import evaluate
from .backend.symbolic import TensorFace
from .utils import generic_utils
from .utils.generic_utils import deserialize_keras_object, serialize_keras_object

# Standard deviation of a standard normal that is cut at -2 and 2.
_TRUNCATED_STD = .87962566103423978


class Initializer(generic_utils.Configured):
    """Base of initializers. `seed`, where there is one, makes every call give the same values."""

    def __call__(self, shape, dtype=None):
        raise NotImplementedError(f'{type(self).__name__} has to define `__call__(self, shape, dtype=None)`.')

    @classmethod
    def from_config(cls, config):
        return cls(**{key: value for key, value in config.items() if key != 'dtype'})  # tf.keras stores a dtype


@dataclasses.dataclass(eq=False)
class Constant(Initializer):
    """All `value`, or an array of the right size in the right shape."""

    value: object = 0

    def __call__(self, shape, dtype=None):
        return K.constant(self.value, shape=shape, dtype=dtype)


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape, dtype=None):
        return K.constant(0, shape=shape, dtype=dtype)


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape, dtype=None):
        return K.constant(1, shape=shape, dtype=dtype)


@dataclasses.dataclass(eq=False)
class RandomNormal(Initializer):
    """Normally distributed."""

    mean: float = 0.
    stddev: float = 0.05
    seed: int | None = None

    def __call__(self, shape, dtype=None):
        return K.random_normal(shape, self.mean, self.stddev, dtype=dtype, seed=self.seed)


@dataclasses.dataclass(eq=False)
class RandomUniform(Initializer):
    """Uniformly distributed between `minval` and `maxval`."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = None

    def __call__(self, shape, dtype=None):
        return K.random_uniform(shape, self.minval, self.maxval, dtype=dtype, seed=self.seed)


class TruncatedNormal(RandomNormal):
    """Normally distributed, but values more than two `stddev` from `mean` are drawn again."""

    def __call__(self, shape, dtype=None):
        return K.truncated_normal(shape, self.mean, self.stddev, dtype=dtype, seed=self.seed)


@dataclasses.dataclass(eq=False)
class VarianceScaling(Initializer):
    """Random with mean 0 and variance ``scale / n``. Raises ValueError for values other than these.

    Arguments:
        scale: positive number.
        mode: n is the number of inputs of a unit (``'fan_in'``), of outputs (``'fan_out'``) or their mean
            (``'fan_avg'``).
        distribution: ``'normal'`` (cut at two standard deviations) or ``'uniform'``.
        seed: integer or None.
    """

    scale: float = 1.0
    mode: str = 'fan_in'
    distribution: str = 'normal'
    seed: int | None = None

    def __post_init__(self):
        super().__post_init__()
        self.mode, self.distribution = self.mode.lower(), self.distribution.lower()
        if self.distribution == 'truncated_normal':  # what tf.keras calls 'normal'
            self.distribution = 'normal'
        if self.scale <= 0.:
            raise ValueError(f'`scale` must be a positive float. Got: {self.scale}')
        if self.mode not in ('fan_in', 'fan_out', 'fan_avg'):
            raise ValueError('Invalid `mode` argument: expected one of "fan_in", "fan_out", "fan_avg" '
                             f'but got {self.mode!r}')
        if self.distribution not in ('normal', 'uniform'):
            raise ValueError('Invalid `distribution` argument: expected one of "normal", "uniform" '
                             f'but got {self.distribution!r}')

    def __call__(self, shape, dtype=None):
        fan_in, fan_out = _compute_fans(shape)
        n = {'fan_in': fan_in, 'fan_out': fan_out, 'fan_avg': (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1., n)
        if self.distribution == 'normal':
            stddev = math.sqrt(variance) / _TRUNCATED_STD
            return K.truncated_normal(shape, 0., stddev, dtype=dtype, seed=self.seed)
        limit = math.sqrt(3. * variance)
        return K.random_uniform(shape, -limit, limit, dtype=dtype, seed=self.seed)


@dataclasses.dataclass(eq=False)
class Orthogonal(Initializer):
    """A random matrix with orthogonal rows or columns, times `gain` (Saxe et al. 2013, arXiv:1312.6120).

    Shapes of more than two axes are matrices of ``prod(shape[:-1])`` rows. Draws from numpy's global generator, which a
    `seed` sets, as in Keras: what is drawn later depends on it.
    """

    gain: float = 1.
    seed: int | None = None

    def __call__(self, shape, dtype=None):
        flat_shape = math.prod(shape[:-1]), shape[-1]
        if self.seed is not None:
            np.random.seed(self.seed)
        u, _, v = np.linalg.svd(np.random.normal(0., 1., flat_shape), full_matrices=False)
        q = u if u.shape == flat_shape else v
        return np.asarray(self.gain * q.reshape(shape), dtype=dtype_name(dtype))


@dataclasses.dataclass(eq=False)
class Identity(Initializer):
    """The identity matrix times `gain`, repeated along the longer side. Raises ValueError where it does not fit."""

    gain: float = 1.

    def __call__(self, shape, dtype=None):
        if len(shape) != 2:
            raise ValueError(f'Identity matrix initializer can only be used for 2D matrices. Got shape: {tuple(shape)}')
        rows, columns = shape
        side = min(shape)
        if max(shape) % side != 0:
            raise ValueError(f'Long side should be multiple of short side. Got shape: {tuple(shape)}')
        return np.tile(self.gain * np.identity(side, dtype=dtype_name(dtype)), (rows // side, columns // side))


def _scaling(name, scale, mode, distribution, source):
    """A function ``name(seed=None)`` that gives a `VarianceScaling`."""
    def make(seed=None):
        return VarianceScaling(scale, mode, distribution, seed)
    make.__name__ = make.__qualname__ = name
    make.__doc__ = f'``VarianceScaling({scale}, {mode!r}, {distribution!r})`` ({source}).'
    make.from_config = lambda config: make(config.get('seed'))  # tf.keras stores a dtype as well
    return make


lecun_uniform = _scaling('lecun_uniform', 1., 'fan_in', 'uniform', 'LeCun et al. 1998, Efficient Backprop')
lecun_normal = _scaling('lecun_normal', 1., 'fan_in', 'normal', 'Klambauer et al. 2017, arXiv:1706.02515')
glorot_uniform = _scaling('glorot_uniform', 1., 'fan_avg', 'uniform', 'Glorot & Bengio 2010; also named after Xavier')
glorot_normal = _scaling('glorot_normal', 1., 'fan_avg', 'normal', 'Glorot & Bengio 2010; also named after Xavier')
he_uniform = _scaling('he_uniform', 2., 'fan_in', 'uniform', 'He et al. 2015, arXiv:1502.01852')
he_normal = _scaling('he_normal', 2., 'fan_in', 'normal', 'He et al. 2015, arXiv:1502.01852')

zero = zeros = Zeros
one = ones = Ones
constant = Constant
uniform = random_uniform = RandomUniform
normal = random_normal = RandomNormal
truncated_normal = TruncatedNormal
identity = Identity
orthogonal = Orthogonal

# names in files of tf.keras
LecunUniform, LecunNormal = lecun_uniform, lecun_normal
GlorotUniform, GlorotNormal = glorot_uniform, glorot_normal
HeUniform, HeNormal = he_uniform, he_normal


def _compute_fans(shape, data_format='channels_last'):
    """Numbers of inputs and outputs of a unit whose weights have `shape`; a kernel's also count its receptive field."""
    if len(shape) == 2:
        return tuple(shape)
    if len(shape) not in (3, 4, 5):
        return (math.sqrt(math.prod(shape)),) * 2
    if data_format == 'channels_first':
        fan_out, fan_in, *field = shape
    elif data_format == 'channels_last':
        *field, fan_in, fan_out = shape
    else:
        raise ValueError(f'Invalid data_format: {data_format}')
    return fan_in * math.prod(field), fan_out * math.prod(field)


def first_value(initializer, shape):
    """The tensor or array that `initializer` gives. Those that are not this package's run on symbols, as in Keras."""
    with state.running() if generic_utils.is_own(initializer) else state.recording():
        value = initializer(shape)
    return evaluate(value) if isinstance(value, TensorFace) else value


def serialize(initializer):
    """The config of an initializer."""
    return serialize_keras_object(initializer)


def deserialize(config, custom_objects=None):
    """The initializer of a config. Raises ValueError if it is unknown."""
    known = generic_utils.public_objects(globals())
    return deserialize_keras_object(config, known, custom_objects, 'initializer')


def get(identifier):
    """The initializer meant by a name, a config or a callable. Raises ValueError for anything else."""
    return generic_utils.interpret(identifier, deserialize, 'initializer', instantiate=True)
