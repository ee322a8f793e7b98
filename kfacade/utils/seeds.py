"""The random states of a run: Python's, numpy's and torch's."""
import random

import numpy as np
import torch


def set_random_seed(seed):
    """Seeds Python's ``random``, numpy and torch (on all devices), so that a script draws the same numbers each time.

    Layers take their seeds from numpy, and so does what shuffles: call it before the model is made. Raises ValueError
    unless `seed` is an integer from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2 ** 32:
        raise ValueError(f'`seed` must be an integer from 0 to 2**32 - 1. Received: {seed!r}')
    random.seed(int(seed))
    np.random.seed(seed)
    torch.manual_seed(int(seed))


def random_states():
    """The states of the three, of plain containers and tensors; for `set_random_states`."""
    kind, keys, *rest = np.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {'python': random.getstate(), 'numpy': (kind, torch.from_numpy(keys.astype('int64')), *rest),
            'torch': torch.get_rng_state(), 'devices': devices}


def set_random_states(states):
    """Goes on from where `random_states` was called, in this process or another."""
    random.setstate(states['python'])
    kind, keys, *rest = states['numpy']
    np.random.set_state((kind, keys.numpy().astype('uint32'), *rest))
    torch.set_rng_state(states['torch'])
    for number, there in zip(range(torch.cuda.device_count()), states['devices']):
        torch.cuda.set_rng_state(there, number)
