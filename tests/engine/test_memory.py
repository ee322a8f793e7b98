"""Freed memory stays with the process: seen by the pages that it has to fault in again."""
import os
import platform
import subprocess
import sys

import pytest

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
