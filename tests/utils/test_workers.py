"""Processes that make batches: what they see, how they start, and that they end."""
import contextlib
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.layers import Dense
from kfacade.models import Sequential
from kfacade.utils import Sequence, _workers
from kfacade.utils.data_utils import OrderedEnqueuer

HERE = pathlib.Path(__file__).parent
needs_proc = pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='needs /proc')


class Told(Sequence):
    """Batches of (index in the present order, number of epochs that ended, pid)."""

    def __init__(self):
        self.order, self.ends, self.asked = np.arange(4), 0, []

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.asked.append(index)
        return [self.order[index], self.ends, os.getpid()]

    def on_epoch_end(self):
        self.order, self.ends = np.roll(self.order, 1), self.ends + 1


class ToldWithLock(Told):
    """As iterators over images are: with what cannot be pickled, and is never another."""

    def __init__(self):
        super().__init__()
        self.lock, self.generator = threading.Lock(), (i for i in range(3))


class ToldUnsendable(Told):
    def __init__(self):
        super().__init__()
        self.function = lambda: self.ends


class ToldByState(Told):
    def __getstate__(self):
        return self.order, self.ends

    def __setstate__(self, state):
        self.order, self.ends = state
        self.asked = []


def take(sequence, count, processes=True, workers=2):
    enqueuer = OrderedEnqueuer(sequence, use_multiprocessing=processes)
    enqueuer.most = count
    try:
        enqueuer.start(workers, 3)
        return np.array(list(enqueuer.get()))
    finally:
        enqueuer.stop()


EXPECTED = [[(i - epoch) % 4, epoch] for epoch in range(3) for i in range(4)]


@pytest.mark.parametrize('kind, pools', [(Told, 1), (ToldWithLock, 1), (ToldByState, 1), (ToldUnsendable, 3)])
def test_processes_see_what_the_end_of_an_epoch_changed(kind, pools):
    """In one pool for all epochs, unless the sequence cannot be sent to it."""
    sequence = kind()
    batches = take(sequence, 12)
    assert batches[:, :2].tolist() == EXPECTED
    assert len(set(batches[:, 2])) <= 2 * pools and sequence.ends == 3


@pytest.mark.parametrize('processes', [False, True])
@pytest.mark.parametrize('count, ends', [(4, 1), (6, 1), (8, 2)])
def test_a_sequence_is_asked_for_as_much_as_is_used(processes, count, ends):
    sequence = Told()
    assert len(take(sequence, count, processes)) == count and sequence.ends == ends
    if not processes:  # those are asked in their own copies
        assert sorted(sequence.asked) == sorted(([0, 1, 2, 3] * 2)[:count])


class Draws(Sequence):
    """Random numbers, and the settings that a layer would go by."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.random.rand(), K.floatx(), K.epsilon()


@pytest.mark.parametrize('kind', [Draws, type('Local', (Draws,), {})])  # which is forked, since pickle finds it nowhere
def test_processes_take_over_random_states_and_settings(kind):
    np.random.seed(5)
    expected = np.random.rand(2).tolist()
    K.set_epsilon(1e-4)
    try:
        np.random.seed(5)
        enqueuer = OrderedEnqueuer(kind(), use_multiprocessing=True)
        enqueuer.most = 2
        enqueuer.start()
        assert list(enqueuer.get()) == [(x, 'float32', 1e-4) for x in expected]
    finally:
        K.set_epsilon(1e-7)
        enqueuer.stop()


# ---------------------------------------------------------------- how they start

SCRIPT = """
import sys
{top}
DATA = 1

def helper():
    return {used}

def main():
    {main}
    from kfacade.utils._workers import _script_is_importable
    print(_script_is_importable(), flush=True)

if __name__ == '__main__':
    import math
    made = 1
    main()
{end}
"""


@pytest.mark.parametrize('changes, importable', [
    ({}, True), ({'used': 'DATA'}, True),
    ({'used': 'made'}, False), ({'used': 'math.pi'}, False),  # a fork has them
    ({'main': 'global DATA; DATA = 2'}, False),
    ({'top': 'print("starts")'}, False), ({'end': 'sys.exit(0)'}, False), ({'end': 'history = main()'}, False),
])
def test_which_scripts_other_processes_may_import(tmp_path, capsys, changes, importable):
    (tmp_path / 'script.py').write_text(SCRIPT.format(**{'top': '', 'used': '0', 'main': '', 'end': '', **changes}))
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(tmp_path / 'script.py'), run_name='__main__')
    assert str(importable) in capsys.readouterr().out.split()


def test_the_best_start(monkeypatch):
    monkeypatch.setattr(multiprocessing, 'get_start_method', lambda allow_none: chosen)
    monkeypatch.setattr(_workers, '_script_is_importable', lambda: importable)

    def found(start):
        context, sent = _workers.start_method(start)
        return context.get_start_method(), type(sent)
    small, large, unsendable = [1], [np.zeros(_workers._MOST_SENT + 1, np.int8)], [lambda: 1]
    chosen, importable = None, True
    assert [found(x) for x in (small, large, unsendable)] == [('forkserver', bytes), ('fork', list), ('fork', list)]
    importable = False
    assert found(small) == ('fork', list)
    chosen = 'spawn'
    assert [found(x) for x in (small, large, unsendable)] == [('spawn', bytes), ('spawn', bytes), ('fork', list)]
    monkeypatch.setattr(multiprocessing, 'get_all_start_methods', lambda: ['spawn'])
    with pytest.raises(TypeError, match='cannot be pickled'):
        found(unsendable)


# ---------------------------------------------------------------- forks of one's own

def test_a_fork_computes_what_its_parent_did(tmp_path):
    """After the parent has computed on several threads, which the fork lacks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = Sequential([Dense(300, input_shape=(300,)), Dense(300)])
        model.compile('sgd', 'mse')
        x = np.random.RandomState(0).rand(256, 300)
        model.train_on_batch(x, x)
        expected = model.predict(x, 256)
        pid = os.fork()
        if not pid:
            try:
                np.save(tmp_path / 'got.npy', model.predict(x, 256))
            finally:
                os._exit(0)
        deadline = time.time() + 60.
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.time() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(.02)
        np.testing.assert_allclose(np.load(tmp_path / 'got.npy'), expected, rtol=1e-5, atol=1e-6)
    finally:
        torch.set_num_threads(threads)


# ---------------------------------------------------------------- how they end

@needs_proc
@pytest.mark.parametrize('method, count, longest', [
    ('fork', 10, .3), pytest.param('fork', 200, .6, marks=pytest.mark.slow),
    pytest.param('forkserver', 200, .6, marks=pytest.mark.slow),
    pytest.param('spawn', 50, 0., marks=pytest.mark.slow)])
def test_nothing_is_left_after_an_interrupt(method, count, longest):
    environment = {**os.environ, 'PYTHONPATH': str(HERE.parent.parent), 'OMP_NUM_THREADS': '1'}
    process = subprocess.run([sys.executable, '-W', 'error', str(HERE / 'interrupts.py'), method, str(count),
                              str(longest)], text=True, env=environment, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (process.returncode, process.stdout) == (0, f'{method}: {count} of {count} clean\n')


KILLED = """
import os, time
from kfacade.utils import Sequence
from kfacade.utils.data_utils import OrderedEnqueuer

class Stuck(Sequence):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index:
            time.sleep(600.)
        return os.getpid()

def main():
    enqueuer = OrderedEnqueuer(Stuck(), use_multiprocessing=True)
    enqueuer.start(2)
    print(next(enqueuer.get()), *(worker.process.pid for worker in enqueuer._pool.workers), flush=True)
    time.sleep(600.)

if __name__ == '__main__':
    main()
"""


@needs_proc
@pytest.mark.parametrize('sent, forks', [('SIGKILL', True), ('SIGKILL', False), ('SIGINT', True)])
def test_no_process_outlives_its_parent(tmp_path, sent, forks):
    (tmp_path / 'script.py').write_text(KILLED + forks * 'print("a call, so that nobody imports this script")')
    environment = {**os.environ, 'PYTHONPATH': str(HERE.parent.parent)}
    with subprocess.Popen([sys.executable, 'script.py'], cwd=tmp_path, text=True, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        one, *pids = map(int, process.stdout.readline().split())
        assert len(pids) == 2 and one in pids
        process.send_signal(getattr(signal, sent))
        process.wait(10.)
    deadline = time.time() + 5.
    while any(map(is_running, pids)):
        assert time.time() < deadline
        time.sleep(.02)


def is_running(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except OSError:
        return False


def test_a_fork_that_ends_leaves_its_parents_processes_alone():
    enqueuer = OrderedEnqueuer(Told(), use_multiprocessing=True)
    enqueuer.most = 8
    try:
        enqueuer.start(2, 1)
        batches = enqueuer.get()
        first = next(batches)
        pid = os.fork()
        if not pid:
            try:
                enqueuer.stop()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert [batch[:2] for batch in (first, *batches)] == [[(i - epoch) % 4, epoch] for epoch in range(2)
                                                              for i in range(4)]
    finally:
        enqueuer.stop()
