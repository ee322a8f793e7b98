"""What a session remembers: the mode of each thread, unique names, and the fixed learning phase."""
import math
import threading
from collections import defaultdict
from contextlib import contextmanager

import numpy as np
import torch

# Whether torch is exporting what runs; torch 2.6 cannot tell.
is_exporting = getattr(torch.compiler, 'is_exporting', bool)


class _Mode(threading.local):
    """Of one thread: how many running forwards it is in, the learning phase of the innermost, the open name scope, and
    the names that opened it.
    """

    depth = 0
    run = None  # what finds shapes, of `backend.shapes`
    claims = None  # the `WeightClaims` under which a model is being built
    origin = 'Keras'  # what saved the model that is being built: 'Keras' (1 or 2), 'tf.keras' or 'Keras 3'
    phase = False
    scope = path = ''
    device = None  # of the open device scope, or a function that gives it for each tensor; None: the default one
    home = None  # the default device; None: that of `devices.default_device`


mode = _Mode()


class _Session:
    def __init__(self):
        self.uids = defaultdict(int)
        self.scopes = defaultdict(int)
        self.learning_phase = None
        self.seed, self.op_seeds = 0, None
        self.told = set()


_session = _Session()


class _Inside:
    """A context in which the mode has other values."""

    def __init__(self, **values):
        self._values = values

    def __enter__(self):
        self._outer = {name: getattr(mode, name) for name in self._values}
        vars(mode).update(self._values)

    def __exit__(self, *_):
        vars(mode).update(self._outer)


def running(phase=None):
    """Inside, every op computes, Variables give their values, and the learning phase is ``phase`` (None: as it was)."""
    return _Inside(depth=mode.depth + 1, phase=mode.phase if phase is None else phase)


def finding_shapes(run):
    """Inside, ops compute for the `run` of a call that finds its shapes, in the learning phase of training."""
    return _Inside(depth=mode.depth + 1, phase=True, run=run)


def recording():
    """Inside, ops record again, though a forward may be running around it."""
    return _Inside(depth=0)


def building(origin):
    """Inside, models are built from a file of 'Keras', 'tf.keras' or 'Keras 3'."""
    return _Inside(origin=origin)


def on_device(device):
    """Inside, what is recorded will be computed on a `torch.device`, with what it needs moved there."""
    return _Inside(device=device)


def at_home(device):
    """Inside, that is the default device."""
    return _Inside(home=device)


def root_scope():
    """Inside, no name scope is open."""
    return _Inside(scope='', path='')


class WeightClaims(_Inside):
    """A context in which the weights and states of layers may not claim more than `limit` bytes together.

    Arguments:
        limit: bytes. source: words for who allows that much, as in "than ... allows".
        blank: the weights are going to be loaded, so that nothing needs to fill them.
    """

    def __init__(self, limit, source, blank=False):
        super().__init__(claims=self)
        self.left, self.source, self.blank = limit, source, blank

    def take(self, size, what):
        """Counts `size` bytes. Raises ValueError where that is too much."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f'{what}: with those before it, far more than {self.source} allows.')


def claim(shape, dtype, what):
    """Counts a tensor that is about to be made, where a configuration asks for it; `what` names it in the error."""
    if mode.claims is not None:
        mode.claims.take(math.prod(shape) * dtype.itemsize, f'{what} of shape {tuple(shape)}')


def is_first(event):
    """Whether this is asked for the first time in a session: what there is to say of it, need be said but once."""
    known = event in _session.told
    _session.told.add(event)
    return not known


def is_running():
    """Whether the calling thread is inside a running forward."""
    return mode.depth > 0


def get_uid(prefix=''):
    """The next number, from 1, of names that start with ``prefix``."""
    _session.uids[prefix] += 1
    return _session.uids[prefix]


def reset_uids():
    """Starts the numbering of automatic names anew."""
    _session.uids.clear()


def clear_session():
    """Forgets names, scopes and a fixed learning phase, as destroying the TensorFlow graph did."""
    _session.__init__()


def set_graph_seed(seed):
    """The seeds that are drawn from numpy's generator depend on this one as well, until the session is cleared."""
    _session.seed = int(seed) % 2 ** 32  # TensorFlow takes any integer
    _session.op_seeds = np.random.RandomState(_session.seed)


def drawn_seed(below):
    """A seed from numpy's generator, which Keras moves by as much, and from the graph's seed where there is one."""
    return int(np.random.randint(below)) + below * _session.seed


def op_seed():
    """A seed from that of the graph alone; None where there is none."""
    return _session.op_seeds and int(_session.op_seeds.randint(10 ** 7))


def unique_scope(name):
    """A full name below the open scope that no scope or weight has had: ``a``, then ``a_1``, ``a_2``…"""
    full = f'{mode.scope}/{name}' if mode.scope else name
    count = _session.scopes[full]
    _session.scopes[full] += 1
    return unique_scope(f'{name}_{count}') if count else full


@contextmanager
def name_scope(name, default_name=None, values=None):
    """Puts ``name/`` (made unique) before the names of the Variables that are made inside."""
    scope = unique_scope(name or default_name)
    with _Inside(scope=scope, path=f'{mode.path}/{name or default_name}'.lstrip('/')):
        yield scope


def fixed_learning_phase():
    """0 or 1 where ``set_learning_phase`` fixed it, else None."""
    return _session.learning_phase


def set_learning_phase(value):
    """Fixes the learning phase for what is built from now on: 0 for test, 1 for training."""
    if value not in (0, 1):
        raise ValueError(f'Expected learning phase to be 0 or 1. Received: {value!r}')
    _session.learning_phase = int(value)
