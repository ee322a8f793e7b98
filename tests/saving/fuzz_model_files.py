"""Loads damaged model files, many of them, and says what came of it.

``python tests/saving/fuzz_model_files.py --count 1000 --seed 1`` damages files of a small model: HDF5 (whole models and
weights), archives of Keras 3, torch's .pt (new and old form) and .safetensors, JSON and YAML. Bytes are flipped, cut
and repeated; attributes, data sets, links, members, headers, pickles and the entries of configurations are replaced by
others of the right form. With ``--crafted``, all are those of `crafted_files`,
each made against one place of a reader. Each file is then loaded as a model or into one, inspected or converted. That
may succeed or raise `InvalidModelFile`, or a ValueError of this package's own about weights that do not fit. Anything
else, over 5 seconds of CPU time, over 1 GB of memory, or a weight that changed in a load that failed, is reported and
gives status 1. Prints how many files of each kind were refused and loaded.
"""
import argparse
import collections
import faulthandler
import io
import json
import os
import pickle
import random
import re
import signal
import struct
import sys
import tempfile
import traceback
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import torch
from crafted_files import (
    Call,
    changed_hdf5,
    claimed_sizes,
    claimed_sizes_of_a_file,
    crafted_zip,
    much_json,
    much_pickle,
    much_yaml,
    shared_texts,
    tar_of_pickles,
    wide_numbers,
)

from kfacade import layers
from kfacade.models import Sequential, load_model, model_from_json, model_from_yaml
from kfacade.saving import InvalidModelFile
from kfacade.saving.commands import convert, described
from kfacade.saving.text import parse_yaml

SECONDS, MEMORY = 5, 1 << 30
ARCHIVES = Path(__file__).with_name('keras3')
# What stands in a file in place of a number or a name.
SCALARS = [None, -1, 0, 0.5, 10 ** 9, 10 ** 30, 1e400, '', '\0', '../..', 'os', 'os.system', '__class__', 'Lambda',
           'é', [], {}, [[[]]], True, {'class_name': 'Model'},
           {'class_name': 'Lambda', 'config': {'function': 'system'}}]


def model():
    """A small model that has most kinds of configuration in it."""
    made = Sequential([layers.Embedding(7, 3, input_length=4),
                       layers.Bidirectional(layers.LSTM(2, return_sequences=True, kernel_regularizer='l2')),
                       layers.TimeDistributed(layers.Dense(3, activation='relu', kernel_constraint='max_norm')),
                       layers.Conv1D(2, 3, padding='same'), layers.GlobalAveragePooling1D(),
                       layers.BatchNormalization(), layers.Dense(1)])
    made.compile('adam', 'mse', metrics=['acc'])
    made._make_train_function()
    return made


def stateful():
    """A small model whose layers keep states."""
    return Sequential([layers.ConvLSTM2D(2, 2, stateful=True, return_sequences=True, batch_input_shape=(2, 3, 4, 4, 1)),
                       layers.TimeDistributed(layers.Flatten()), layers.GRU(3, stateful=True, return_sequences=True),
                       layers.Bidirectional(layers.SimpleRNN(2, stateful=True))])


# ------------------------------------------------------------ damage: each takes the bytes of a file and gives others

def damaged_bytes(data, rng):
    """`data` with some bytes changed, removed or repeated."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 2, 8, 64])):
        at = rng.randrange(len(data) or 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at + 1] = [rng.randrange(256)]
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
    kind = rng.randrange(4)
    if kind == 0:
        node[key] = rng.choice(SCALARS)
    elif kind == 1:
        other, where = rng.choice(places)
        node[key] = json.loads(json.dumps(other[where]))
    elif kind == 2 and isinstance(node, dict):
        node[rng.choice(['module', 'registered_name', 'function_type', 'custom_objects', 'name'])] = node.pop(key)
    else:
        del node[key]
    return tree


def damaged_json(data, rng):
    tree = parse_yaml(data, 'the seed')  # JSON is YAML
    return json.dumps(damaged_tree(tree, rng)).encode()


def _config(f, rng):
    name = rng.choice([key for key in ('model_config', 'training_config') if key in f.attrs])
    f.attrs[name] = json.dumps(damaged_tree(json.loads(f.attrs[name]), rng)).encode()


def _attribute(f, rng):
    groups = [f]
    f.visititems(lambda name, item: groups.append(item) if isinstance(item, h5py.Group) else None)
    group = rng.choice([group for group in groups if len(group.attrs)])
    key = rng.choice(list(group.attrs))
    old = np.asarray(group.attrs[key]).ravel().astype('S')
    group.attrs[key] = rng.choice([
        b'x', b'', 'é', b'\xff\xfe', 3, np.float32(1e30), np.zeros((0, 4)), np.zeros((3, 0, 2), 'S3'),
        h5py.Empty('S4'), np.array([b'a', b'a']), np.array([b'/', b'.', b'..']), np.zeros(3, [('a', 'f4')]), f.ref,
        np.array([[b'a'], [b'b']]), old[:-1], old[::-1], np.full(2000, b'z' * 20), b'1', b'theano'])


def _object(f, rng):
    """Replaces a data set or group by a thing that does not belong in its place."""
    names = []
    f.visit(names.append)
    name = rng.choice(names)
    old = f[name]
    shape, dtype = (old.shape, old.dtype) if isinstance(old, h5py.Dataset) else ((2, 2), np.dtype('f4'))
    del f[name]
    big = tuple(size * 10 ** 5 for size in shape)
    layout = h5py.VirtualLayout(shape, dtype)
    f['/named_type'] = np.dtype('f4')
    rng.choice([
        lambda: None, lambda: f.create_group(name), lambda: f.create_dataset(name, big, dtype),
        lambda: f.create_dataset(name, big or (10 ** 9,), dtype, chunks=True, compression='gzip'),
        lambda: f.create_dataset(name, shape, dtype, external=[('/etc/passwd', 0, h5py.h5f.UNLIMITED)]),
        lambda: f.create_virtual_dataset(name, layout), lambda: f.update({name: h5py.SoftLink('/')}),
        lambda: f.update({name: h5py.ExternalLink('/etc/passwd', '/')}), lambda: f.update({name: f['/']}),
        lambda: f.update({name: f['/named_type']}), lambda: f.create_dataset(name, data=h5py.Empty('f4')),
        lambda: f.create_dataset(name, shape, 'c16'), lambda: f.create_dataset(name, shape, 'f8'),
        lambda: f.create_dataset(name, shape, 'S4'), lambda: f.create_dataset(name, shape, [('a', 'f4'), ('b', 'i4')]),
        *(lambda kind=kind: f.create_dataset(name, shape, kind) for kind in (
            h5py.vlen_dtype('f4'), h5py.ref_dtype, h5py.string_dtype(), np.dtype('V7'))),
        lambda: f.create_dataset(name, shape, h5py.enum_dtype({'a': 1})), lambda: f.create_dataset(name, shape, '2f4'),
        lambda: f.create_dataset(name, (*shape, 0), dtype), lambda: f.create_dataset(name, shape[::-1], dtype),
    ])()


def _pickle(data, rng):
    nested = b'\x80\2})q\0' + b'h\0h\0\x86q\0' * 60 + b'K\1s.'  # a dict of ((..., ...), (..., ...)), 60 deep
    return rng.choice([
        lambda: damaged_bytes(data, rng),
        lambda: data.replace(b'torch FloatStorage', rng.choice([b'torch DoubleStorage', b'torch ByteStorage',
                                                                b'os system', b'builtins eval', b'torch Tensor'])),
        lambda: data.replace(b'K\x02', b'J' + struct.pack('<i', rng.choice([-1, 0, 2 ** 30]))),
        lambda: pickle.dumps(Call(os.system, 'true'), 2),
        lambda: pickle.dumps({'a': Call(eval, '1')}, 2),
        lambda: nested, lambda: pickle.dumps({'a': bytearray(9)}, 2),
        lambda: pickle.dumps({'a': Call(bytearray, 2 ** 40)}, 2), lambda: pickle.dumps([1, 2], 2),
    ])()


def _changed_zip(data, rng):
    """An archive with one member, or its entry in the directory, replaced."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = [(info, source.read(info)) for info in source.infolist()]
    chosen, what = rng.randrange(len(members)), rng.randrange(10)
    buffer, stored = io.BytesIO(), zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, 'w') as target:
        for i, (info, content) in enumerate(members):
            name, kind = info.filename, info.compress_type
            if i == chosen:
                damage = {'.json': damaged_json, '.pkl': _pickle, '.h5': rng.choice(DAMAGES['.h5'][:3])}
                if what < 4:
                    content = damage.get(Path(name).suffix, damaged_bytes)(content, rng)
                elif what == 4:
                    name = rng.choice(['../' + name, '/' + name, 'other', name + '/', '..\\' + name, name.upper()])
                elif what == 5:
                    content, kind = bytes(2 * 10 ** 8), zipfile.ZIP_DEFLATED
                elif what == 6:
                    kind = rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
                elif what == 7:
                    target.writestr(name, content)
                elif what == 8:
                    continue
            entry = zipfile.ZipInfo(name)
            if i == chosen and what == 9:
                entry.external_attr, content, kind = 0o120777 << 16, b'/etc/passwd', stored  # a symbolic link
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of repeated names
                target.writestr(entry, content, kind)
    made = bytearray(buffer.getvalue())
    if rng.random() < .3:  # flags (encryption), method, sizes or offset in the directory
        entry = made.find(b'PK\1\2')
        at, value = rng.choice([(8, b'\1\0'), (10, b'\x63\0'), (20, b'\xff' * 4), (24, b'\xff' * 3), (42, b'\1' * 4)])
        made[entry + at:entry + at + len(value)] = value
    return bytes(made)


def _header(data, rng):
    """Another header of a .safetensors file, or another length of it."""
    length, = struct.unpack('<Q', data[:8])
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    kind = rng.randrange(3)
    if kind == 0:
        header = damaged_tree(header, rng)
    elif kind == 1:
        entry = header[rng.choice([key for key in header if key != '__metadata__'])]
        entry.update(rng.choice([{'data_offsets': [0, len(body)]}, {'data_offsets': [8, 4]}, {'shape': [2 ** 62, 4]},
                                 {'shape': [2 ** 33, 2 ** 33]}, {'dtype': 'F8_E4M3'}, {'dtype': 'C64'}, {'shape': []}]))
    text = json.dumps(header).encode()
    length = rng.choice([2 ** 63, 10 ** 8 + 1, len(text) * 2, 0]) if kind == 2 else len(text)
    return struct.pack('<Q', length) + text + body


CRAFTED = {'.h5': [shared_texts, claimed_sizes_of_a_file, wide_numbers], '.weights.h5': [shared_texts, wide_numbers],
           '.keras': [crafted_zip], '.pt': [crafted_zip], '.old.pt': [much_pickle, tar_of_pickles],
           '.json': [claimed_sizes, much_json], '.yaml': [claimed_sizes, much_yaml, much_yaml]}
DAMAGES = {'.h5': [changed_hdf5(_attribute), changed_hdf5(_object), damaged_bytes, changed_hdf5(_config)],
           '.weights.h5': [changed_hdf5(_attribute), changed_hdf5(_object), damaged_bytes],
           '.keras': [damaged_bytes, _changed_zip, _changed_zip], '.pt': [damaged_bytes, _changed_zip, _changed_zip],
           '.old.pt': [damaged_bytes, _pickle], '.safetensors': [damaged_bytes, _header],
           '.json': [damaged_bytes, damaged_json], '.yaml': [damaged_bytes, damaged_json]}


# ------------------------------------------------------------ what is done with the damaged files

def _text(load):
    return lambda path, made, rng: load(path.read_text('utf-8', 'replace'))


def _weights(path, made, rng):
    by_name = not rng.randrange(2)
    made.load_weights(str(path), by_name=by_name, skip_mismatch=by_name and not rng.randrange(2),
                      reshape='.h5' in path.name and not rng.randrange(3))


def _inspect(path, made, rng):
    list(described(str(path)))


def _convert(path, made, rng):
    out = path.with_name('out' + rng.choice(['.h5', '.safetensors', '.pt', '.json', '.yaml']))
    out.unlink(missing_ok=True)
    convert(str(path), str(out))


def _load(path, made, rng):
    load_model(str(path))


ACTIONS = {'.h5': [_load, _load, _weights, _inspect, _convert], '.keras': [_load, _weights, _inspect, _convert],
           '.weights.h5': [_weights, _weights, _inspect], '.pt': [_weights, _inspect], '.old.pt': [_weights, _inspect],
           '.safetensors': [_weights, _inspect], '.json': [_text(model_from_json), _inspect, _convert],
           '.yaml': [_text(model_from_yaml), _inspect, _convert]}


def seeds(made, folder):
    """(suffix, bytes, model to load the weights into) of every undamaged file."""
    def saved(suffix, save):
        path = folder / f'seed{suffix}'
        save(str(path))
        return suffix, path.read_bytes(), made

    def old_form(path):
        torch.save(made.state_dict(), path, _use_new_zipfile_serialization=False)
    yield saved('.h5', made.save)
    yield saved('.h5', stateful().save)
    yield saved('.weights.h5', made.save_weights)
    yield saved('.pt', made.save_weights)
    yield saved('.old.pt', old_form)
    yield saved('.safetensors', made.save_weights)
    for text in (made, stateful()):
        yield '.json', text.to_json().encode(), made
        yield '.yaml', text.to_yaml().encode(), made
    for path in sorted(ARCHIVES.glob('*.keras')):
        yield '.keras', path.read_bytes(), load_model(str(path))


def attempt(act, path, made, rng):
    """'loaded', or the name of the error that is fit for a damaged file; raises any other."""
    before = {key: tensor.clone() for key, tensor in made.state_dict().items()}
    try:
        act(path, made, rng)
    except ValueError as error:
        ours = Path(traceback.extract_tb(error.__traceback__)[-1].filename).parent.name == 'saving'
        if not isinstance(error, InvalidModelFile) and not (ours and act in (_weights, _convert)):
            raise
        changed = [key for key, tensor in made.state_dict().items() if not tensor.equal(before[key])]
        if changed:
            raise AssertionError(f'the load failed, but changed {changed}') from error
        return 'refused' if isinstance(error, InvalidModelFile) else 'does not fit'
    made.load_state_dict(before)
    return 'loaded'


def too_slow(signum, frame):
    raise BaseException(f'more than {SECONDS} s')  # nothing may take it for an error of the file


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--crafted', action='store_true')
    parser.add_argument('--keep', help='a folder for the files that gave a failure')
    options = parser.parse_args()
    warnings.simplefilter('ignore')
    signal.signal(signal.SIGPROF, too_slow)
    rng, outcomes, failures = random.Random(options.seed), collections.Counter(), 0
    folder = Path(tempfile.mkdtemp())
    damages = CRAFTED if options.crafted else DAMAGES
    whole = [seed for seed in seeds(model(), folder) if seed[0] in damages]
    for i in range(options.count):
        suffix, data, made = whole[i % len(whole)]
        damage, act = rng.choice(damages[suffix]), rng.choice(ACTIONS[suffix])
        path = folder / f'damaged{suffix}'
        path.write_bytes(damage(data, rng))
        faulthandler.dump_traceback_later(12 * SECONDS, exit=True)  # where no signal gets through
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of CPU time: a busy machine is no fault of the file
        try:
            outcomes[suffix, attempt(act, path, made, rng)] += 1
        except BaseException:
            failures += 1
            print(f'case {i} ({suffix}, {damage.__name__}, {act.__name__}):', file=sys.stderr)
            traceback.print_exc()
            if options.keep:
                (Path(options.keep) / f'{options.seed}_{i}{suffix}').write_bytes(path.read_bytes())
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
    # of this program: ru_maxrss would count what the process that started it had
    peak = int(re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1]) * 1024
    for (suffix, outcome), number in sorted(outcomes.items()):
        print(f'{suffix}: {outcome} {number}')
    print(f'failures {failures}, peak memory {peak >> 20} MB')
    return 1 if failures or peak > MEMORY else 0


if __name__ == '__main__':
    sys.exit(main())
