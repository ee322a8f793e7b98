"""Seeds, and random states to go on from."""
import random

import numpy as np
import pytest
import torch

from kfacade.layers import Dense, Dropout
from kfacade.models import Sequential
from kfacade.utils import set_random_seed
from kfacade.utils.seeds import random_states, set_random_states


def drawn():
    model = Sequential([Dense(3, input_shape=(2,)), Dropout(.5)])
    model.compile('sgd', 'mse')
    loss = model.fit(np.ones((8, 2)), np.ones((8, 3)), verbose=0, epochs=2).history['loss']
    return [random.random(), np.random.random(), torch.rand(1).item(), *loss]


def test_one_seed_for_all():
    set_random_seed(7)
    first = drawn()
    assert first[0] == random.Random(7).random() and first[1] != drawn()[1]
    set_random_seed(np.int64(7))
    assert drawn() == first


@pytest.mark.parametrize('seed', [-1, 2 ** 32, None, 1.5, '7', True])
def test_no_seed(seed):
    with pytest.raises(ValueError, match='must be an integer'):
        set_random_seed(seed)


def test_states():
    np.random.normal()  # numpy keeps a second number for the next call
    random.gauss(0, 1)
    states = random_states()
    first = [random.gauss(0, 1), np.random.normal(), np.random.rand(700)[-1], torch.rand(1).item()]
    set_random_states(states)
    assert [random.gauss(0, 1), np.random.normal(), np.random.rand(700)[-1], torch.rand(1).item()] == first


def test_states_of_devices_that_are_not_here(monkeypatch):
    states = {**random_states(), 'devices': [torch.get_rng_state()]}
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    first = torch.rand(1)
    set_random_states(states)
    assert torch.equal(torch.rand(1), first)
