"""Kills processes in the middle of their saves, many of them, and says what they left.

``python tests/saving/kill_saves.py --count 100 --seed 1`` forks processes that save a model again and again, in every
format, and kills each at a random moment. The file must be whole then, the old or the new one, and after a second save
of any file the folder must hold nothing but files that were asked for; otherwise the status is 1. Prints how many kills
had left a temporary file before that.
"""
import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from kfacade import layers
from kfacade.models import Sequential, load_model

FILES = ['m.h5', 'w.h5', 'w.pt', 'w.safetensors']


def save(model, path):
    (model.save if path.name == 'm.h5' else model.save_weights)(str(path))


def killed_save(model, path, seconds):
    """Has a process save ``path`` again and again, and kills it after so long."""
    process = os.fork()
    if not process:
        try:
            while True:
                save(model, path)
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL, 'the save failed before it was killed'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=100)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has no others
    rng, failures, left = random.Random(options.seed), 0, 0
    model = Sequential([layers.Dense(300, input_shape=(300,)), layers.Dense(300)])
    model.compile('adam', 'mse')
    model._make_train_function()
    weights = model.get_weights()
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            save(model, Path(folder, name))
        for i in range(options.count):
            killed, again = Path(folder, rng.choice(FILES)), Path(folder, rng.choice(FILES))
            killed_save(model, killed, rng.uniform(0.002, 0.06))
            left += len(os.listdir(folder)) > len(FILES)
            try:
                fresh = Sequential([layers.Dense(300, input_shape=(300,)), layers.Dense(300)])
                fresh.load_weights(str(killed))
                found = load_model(str(killed)).get_weights() if killed.name == 'm.h5' else fresh.get_weights()
                assert all(map(np.array_equal, found, weights)), 'other weights'
                save(model, again)
                assert sorted(os.listdir(folder)) == FILES, os.listdir(folder)
            except Exception as error:
                failures += 1
                print(f'kill {i} ({killed.name}, then {again.name}): {error!r}', file=sys.stderr)
    print(f'kills {options.count}, of which {left} left a temporary file; failures after a second save: {failures}')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
