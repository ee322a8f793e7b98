"""Freed memory stays with the process, seen by the pages that it has to fault in again; training leaves none taken."""
import gc
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from kfacade.callbacks import LambdaCallback
from kfacade.layers import BatchNormalization, Dense, Dropout
from kfacade.models import Sequential

SCRIPT = """
import resource
import numpy as np
import torch
from kfacade.engine.memory import keep_freed_memory
from kfacade.layers import Dense
from kfacade.models import Sequential

model = Sequential([Dense(1, input_shape=(1,))])
model.compile('sgd', 'mse')
{call}

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [torch.ones(2_000_000) for _ in range(6)]  # six blocks of 8 MB, nearly 2,000 pages each, freed together
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults(), keep_freed_memory())
"""


def run(call='model.predict(np.ones((1, 1)))', **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
    result = subprocess.run([sys.executable, '-c', SCRIPT.format(call=call)], capture_output=True, text=True,
                            check=True, env={**inherited, 'OMP_NUM_THREADS': '1', **environment})
    faults, kept = result.stdout.split()
    return int(faults), kept


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has the setting')
@pytest.mark.parametrize('call', ['model.predict(np.ones((1, 1)))', 'model.evaluate(np.ones((1, 1)), [1.], verbose=0)',
                                  'model.fit(np.ones((1, 1)), [1.], verbose=0)'])
def test_freed_memory_is_kept_from_the_first_call_on(call):
    faults, kept = run(call)
    assert kept == 'True' and faults < 2000


@pytest.mark.parametrize('environment', [{'KFACADE_KEEP_MEMORY': '0'}, {'MALLOC_ARENA_MAX': '2'}])
def test_the_environment_decides(environment):
    assert run(**environment)[1] == 'False'


def objects():
    """How many tensors there are, and how many objects that the garbage collector sees."""
    gc.collect()
    found = gc.get_objects()
    return sum(issubclass(type(x), torch.Tensor) for x in found), len(found)


def small_model():
    model = Sequential([Dense(8, activation='relu', input_shape=(4,)), BatchNormalization(), Dropout(.2), Dense(1)])
    model.compile('adam', 'mse', metrics=['mae'])
    return model, np.random.rand(40, 4).astype('float32'), np.zeros((40, 1), 'float32')


def test_epochs_leave_nothing_behind():
    (model, x, y), counts = small_model(), []
    seen = LambdaCallback(on_epoch_end=lambda epoch, logs: counts.append(objects()) if epoch % 10 == 9 else None)
    model.fit(x, y, 8, 60, 0, callbacks=[seen], validation_split=.2)
    assert len(counts) == 6
    (tensors, known), (tensors_later, known_later) = counts[1], counts[-1]
    assert tensors_later == tensors and known_later <= known + 20


def test_calls_leave_nothing_behind():
    (model, x, y), counts = small_model(), []
    for _ in range(4):
        for _ in range(10):
            model.fit(x, y, 8, verbose=0)
            model.evaluate(x, y, 8, verbose=0)
            model.predict(x, 8)
            model.train_on_batch(x, y)
            model.predict_on_batch(x)
        counts.append(objects())
    (tensors, known), (tensors_later, known_later) = counts[1], counts[-1]
    assert tensors_later == tensors and known_later <= known + 20
