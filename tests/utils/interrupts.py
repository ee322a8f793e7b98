"""Ctrl-C at random moments of `fit_generator` with processes: ``python interrupts.py METHOD COUNT``.

METHOD is how multiprocessing starts them (fork, spawn, forkserver). Each time the signal goes to the whole process
group, as from a terminal, and all that the call had started has to be gone within two seconds: processes, threads, open
files, semaphores. Prints a line a dirty end, and how many were clean; exits with 1 unless all are.
"""
import gc
import multiprocessing
import os
import random
import signal
import sys
import threading
import time

import numpy as np

from kfacade.layers import Dense
from kfacade.models import Sequential
from kfacade.utils import Sequence


class Batches(Sequence):
    """Epochs of 40 ms; what the end of one changes has to reach the processes."""

    def __init__(self):
        self.order = np.arange(4)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        time.sleep(.01)
        return np.full((2, 2), self.order[index]), np.ones((2, 1))

    def on_epoch_end(self):
        np.random.shuffle(self.order)


def in_session():
    """The processes of this session, but for this one."""
    found = set()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/stat') as file:
                state, _, _, session = file.read().rpartition(')')[2].split()[:4]
        except OSError:
            continue
        if int(session) == os.getsid(0) and int(pid) != os.getpid() and state not in 'ZX':
            found.add(int(pid))
    return found


def held():
    """What is there to be left: processes, threads, files, semaphores."""
    semaphores = {name for name in os.listdir('/dev/shm') if name.startswith(f'sem.mp-{os.getpid()}')}
    return in_session(), set(threading.enumerate()), set(os.listdir('/proc/self/fd')), semaphores


def dirt(before):
    """What is held beyond `before`, if anything still is after two seconds."""
    deadline = time.time() + 2.
    while any(left := [sorted(map(str, now - then)) for now, then in zip(held(), before)]):
        if time.time() > deadline:
            return left
        time.sleep(.02)
        gc.collect()
    return None


def main(method, count, longest):
    multiprocessing.set_start_method(method)
    model = Sequential([Dense(1, input_shape=(2,))])
    model.compile('sgd', 'mse')

    def fit(epochs):
        model.fit_generator(Batches(), epochs=epochs, verbose=0, workers=2, use_multiprocessing=True,
                            validation_data=Batches() if random.random() < .5 else None)
    start = time.time()
    fit(3)  # after which Python's own helpers are there, and stay
    longest, before, clean = longest or 2 * (time.time() - start), held(), 0
    for _ in range(count):
        delay = random.uniform(0., longest)
        timer = threading.Timer(delay, lambda: os.killpg(0, signal.SIGINT))
        timer.start()
        try:
            while True:
                fit(random.choice([1, 20, 1000]))
        except KeyboardInterrupt:
            pass
        timer.join()
        left = dirt(before)
        clean += left is None
        if left:
            print(f'after {delay:.3f} s:', left, flush=True)
    print(f'{method}: {clean} of {count} clean')
    return clean == count


if __name__ == '__main__':
    if os.getpid() != os.getpgid(0):
        os.setsid()
    sys.exit(not main(sys.argv[1], int(sys.argv[2]), float((sys.argv[3:] or [0.])[0])))
