"""Loads damaged model files, many of them, and says what came of it.

``python tests/saving/fuzz_model_files.py --count 1000 --seed 1`` damages HDF5, JSON and YAML files of a small model
(bytes flipped, cut, repeated, numbers and names replaced) and loads each. A load may succeed or raise
`InvalidModelFile`; anything else, a load over 5 seconds, or memory over 1 GB is reported and gives status 1. Prints how
many files of each kind were refused and loaded.
"""
import argparse
import collections
import io
import json
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import h5py

from kfacade import layers
from kfacade.models import Sequential, load_model, model_from_json, model_from_yaml
from kfacade.saving import InvalidModelFile

SECONDS, MEMORY = 5, 1 << 30
# What stands in a file in place of a number or a name.
SCALARS = [None, -1, 0, 10 ** 30, 1e400, '', '\0', '../..', 'os', 'system', [], {}, [[[]]], True,
           {'class_name': 'Model'}]


def model():
    """A small model that has most kinds of configuration in it."""
    made = Sequential([layers.Embedding(7, 3, input_length=4, mask_zero=True),
                       layers.Bidirectional(layers.LSTM(2, return_sequences=True, kernel_regularizer='l2')),
                       layers.TimeDistributed(layers.Dense(3, activation='relu', kernel_constraint='max_norm')),
                       layers.GlobalAveragePooling1D(), layers.BatchNormalization(), layers.Dense(1)])
    made.compile('adam', 'mse', metrics=['acc'])
    made._make_train_function()
    return made


def damaged_bytes(data, rng):
    """`data` with some bytes changed, removed or repeated."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 2, 8, 64])):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at:at + rng.choice([1, 8, 512])]
        elif kind == 2:
            data[at:at] = data[at:at + rng.choice([1, 8, 512])]
        else:
            data[at:at + 8] = rng.choice([b'\xff' * 8, b'\0' * 8, (1 << 40).to_bytes(8, 'little')])
    return bytes(data) or b'\0'


def damaged_tree(tree, rng):
    """A configuration with one value, somewhere in it, replaced, renamed or removed."""
    tree = json.loads(json.dumps(tree))
    places = []

    def visit(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                visit(node[key])
    visit(tree)
    node, key = rng.choice(places)
    kind = rng.randrange(3)
    if kind == 0:
        node[key] = rng.choice(SCALARS)
    elif kind == 1:
        other, where = rng.choice(places)
        node[key] = json.loads(json.dumps(other[where]))
    else:
        del node[key]
    return tree


def cases(rng, count):
    """(kind, function that loads a damaged file), without end of kinds and with `count` in all."""
    made = model()
    buffer = io.BytesIO()
    with h5py.File(buffer, 'w') as f:
        made.save(f)
    whole, text, yaml_text = buffer.getvalue(), made.to_json(), made.to_yaml()
    config = json.loads(text)
    folder = Path(tempfile.mkdtemp())
    for i in range(count):
        kind = ('hdf5 bytes', 'hdf5 config', 'json', 'yaml bytes', 'json bytes')[i % 5]
        if kind == 'hdf5 bytes':
            path = folder / 'damaged.h5'
            path.write_bytes(damaged_bytes(whole, rng))
            yield kind, lambda path=path: load_model(str(path))
        elif kind == 'hdf5 config':
            path = folder / 'config.h5'
            path.write_bytes(whole)
            with h5py.File(path, 'r+') as f:
                name = rng.choice(['model_config', 'training_config'])
                stored = f.attrs[name]
                tree = json.loads(stored if isinstance(stored, str) else stored.decode())
                f.attrs[name] = json.dumps(damaged_tree(tree, rng)).encode()
            yield kind, lambda path=path: load_model(str(path))
        elif kind == 'json':
            damaged = json.dumps(damaged_tree(config, rng))
            yield kind, lambda damaged=damaged: model_from_json(damaged)
        else:
            source, load = (yaml_text, model_from_yaml) if kind == 'yaml bytes' else (text, model_from_json)
            damaged = damaged_bytes(source.encode(), rng).decode('utf-8', 'replace')
            yield kind, lambda damaged=damaged, load=load: load(damaged)


def too_slow(signum, frame):
    raise TimeoutError(f'loading took more than {SECONDS} s')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter('ignore')
    signal.signal(signal.SIGPROF, too_slow)
    outcomes, failures = collections.Counter(), 0
    for i, (kind, load) in enumerate(cases(random.Random(options.seed), options.count)):
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of CPU time: a busy machine is no fault of the file
        try:
            load()
            outcomes[kind, 'loaded'] += 1
        except InvalidModelFile as error:
            outcomes[kind, type(error).__name__] += 1
        except Exception:
            failures += 1
            print(f'case {i} ({kind}):', file=sys.stderr)
            traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for (kind, outcome), number in sorted(outcomes.items()):
        print(f'{kind}: {outcome} {number}')
    print(f'failures {failures}, peak memory {peak >> 20} MB')
    return 1 if failures or peak > MEMORY else 0


if __name__ == '__main__':
    sys.exit(main())
