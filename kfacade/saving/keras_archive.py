"""Archives (``.keras``) of tf.keras and Keras 3, and their ``.weights.h5``, read as HDF5 files laid out by Keras 2.

An archive is a ZIP of config.json and model.weights.h5, which has a group for each object, called after its class and
number. Nothing is unpacked under a name that the archive chose. What a configuration means is for `later` to say.
"""
import itertools
import json
import os
import re
import tempfile
import zipfile
from collections import Counter
from contextlib import contextmanager

import h5py

from ..utils.generic_utils import to_snake_case
from .hdf5 import save_attributes_to_hdf5_group, stamp, write_arrays
from .report import some
from .text import model_config, parse_json
from .trust import InvalidModelFile, Reader, opened, reading, refusing

_TEXTS, _WEIGHTS = ('config.json', 'metadata.json'), 'model.weights.h5'
_CONTAINERS = 'layers', '_layer_checkpoint_dependencies'  # where layers lie in Keras 3, and in tf.keras 2.12
_MAX_TEXT, _MAX_EXPANSION = 2 ** 25, 100  # bytes of JSON; how many times the size of its archive a member may be

# Where Keras 3 puts underscores: not, as tf.keras does, before a capital and a digit (ConvLSTM2D is conv_lstm2d there).
_SECOND_WORD = re.compile('(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])')


@contextmanager
def translated(filepath):
    """A Reader of the archive at ``filepath`` as a Keras 2 model file (made in memory).

    Raises InvalidModelFile for a damaged or hostile archive, and for a model that Keras 2 could not have made.
    """
    path = os.fspath(filepath)
    with tempfile.TemporaryDirectory() as folder, h5py.File(path, 'w', driver='core', backing_store=False) as f:
        weights = os.path.join(folder, _WEIGHTS)
        config, metadata = (parse_json(text, f'the JSON of {path!r}') for text in _unpack(path, weights))
        with opened(weights) as reader, refusing(f'config.json of {path!r}'):
            _write(f, config, metadata.get('keras_version'), reader)
        yield Reader(f)


def _unpack(path, weights):
    """The ``_TEXTS``, after the HDF5 file was copied to the path ``weights``."""
    with reading(repr(path), 'is no readable archive'), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for member in archive.infolist():
            name, packed, size = member.filename, member.compress_size, member.file_size
            if re.search(r'^/|(^|/)\.\.(/|$)|[\\\0:]', name):
                raise InvalidModelFile(f'{path!r} holds {name!r}, a path that leads out of it.')
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InvalidModelFile(f'{name!r} in {path!r} is compressed as no archive of Keras is.')
            if size > max(_MAX_TEXT, _MAX_EXPANSION * packed):
                raise InvalidModelFile(f'{name!r} in {path!r} would unpack {packed} bytes to {size}.')
        for name in (*_TEXTS, _WEIGHTS):
            if names.count(name) != 1:
                raise InvalidModelFile(f'{path!r} is no archive of a Keras 3 model: it has {names.count(name)} members '
                                       f'{name}.')
        texts = [b''.join(_pieces(archive, name, _MAX_TEXT)) for name in _TEXTS]
    with zipfile.ZipFile(path) as archive, open(weights, 'wb') as target:  # whose errors are those of a disk
        target.writelines(_pieces(archive, _WEIGHTS, max(_MAX_TEXT, _MAX_EXPANSION * os.path.getsize(path))))
    return texts


def _pieces(archive, name, most):
    """The contents of a member piece by piece; not what the archive says, but what comes out of it counts."""
    with reading(repr(archive.filename), 'is no readable archive'), archive.open(name) as member:
        while piece := member.read(2 ** 20):
            most -= len(piece)
            if most < 0:
                raise InvalidModelFile(f'{name} of {archive.filename!r} is too big for what its archive holds.')
            yield piece


def _write(f, saved, version, reader):
    """Writes the model of the config ``saved``, with the weights behind ``reader``, as Keras 2 does."""
    if saved.get('class_name') not in ('Functional', 'Model', 'Sequential') and 'layers' not in saved.get('config', ()):
        raise InvalidModelFile(f'{f.filename!r} holds the subclassed model {saved.get("class_name")}, whose '
                               'architecture is in its code: a file alone cannot be made into it.')
    f.attrs['keras_version'] = str(version).encode()
    f.attrs['model_config'] = json.dumps({key: saved[key] for key in ('class_name', 'config')}).encode()
    _write_weights(f.create_group('model_weights'), saved['config'], reader)
    compiled = saved.get('compile_config') or {}
    if {'optimizer', 'loss'} <= compiled.keys():
        kept = {key: compiled.get(key) for key in ('loss', 'metrics', 'weighted_metrics', 'loss_weights')}
        f.attrs['training_config'] = json.dumps({'optimizer_config': compiled['optimizer'], **kept}).encode()
        if 'optimizer/vars/2' in reader:  # a state, which Keras 2 has no form for: an empty one gets the warning
            f.create_group('optimizer_weights')


def _write_weights(group, config, reader):
    stamp(group)
    layers = {name: trained + rest for name, trained, rest in _by_layer(config, reader, {})}
    save_attributes_to_hdf5_group(group, 'layer_names', [name.encode() for name in layers])
    for name, arrays in layers.items():
        write_arrays(group.require_group(name), [key for key, _ in arrays], [array for _, array in arrays])
    return layers


def holds_paths(reader):
    """Whether this is a ``.weights.h5``, in which each weight has the path of its layer."""
    return any(container in reader for container in _CONTAINERS)


@contextmanager
def by_paths(model, reader):
    """A Reader of a ``.weights.h5`` as the file of weights that Keras 2 would have written for ``model``.

    Raises ValueError where it holds layers that are none of the model's.
    """
    with h5py.File(reader.group.file.filename, 'w', driver='core', backing_store=False) as f:
        read = [name for name, arrays in _write_weights(f, model_config(model)['config'], reader).items() if arrays]
        stored = [name for place in _CONTAINERS if place in reader for name in reader.child(place).group
                  if _has_weights(reader.child(f'{place}/{name}'))]
        if len(read) < len(stored):
            raise ValueError(f'{reader.where()} holds the weights of {len(stored)} layers, by class and number: '
                             f'{some(stored)}. The model has counterparts of {len(read)} of them: {some(read)}.')
        yield Reader(f)


def _has_weights(layer):
    return 'vars/0' in layer or bool({*layer.group} - {'vars', 'seed_generator'})


# ---------------------------------------------------------------- weights

def _by_layer(config, group, found, container='layers'):
    """(name, trainable and other (name, array) pairs) of each layer of a model, or cell of stacked ones, in order.

    A layer in several models is stored with the first; ``found`` holds the pairs of those before, by class and name.
    """
    counts = Counter()
    places = [place for place in (_CONTAINERS if container == 'layers' else [container]) if place in group]
    for entry in config[container]:
        kind = {'Model': 'Functional'}.get(entry['class_name'], entry['class_name'].rpartition('>')[2])
        counts[kind] += 1
        number = f'_{counts[kind] - 1}' if counts[kind] > 1 else ''
        words = dict.fromkeys((_SECOND_WORD.sub('_', kind).lower(), to_snake_case(kind)))
        paths = [path for path in (f'{place}/{word}{number}' for place in places for word in words) if path in group]
        name = entry['config']['name']
        if paths:
            found[kind, name] = _arrays(entry, group.child(paths[0]), found)
        if kind != 'InputLayer' and (kind, name) in found:
            yield name, *found[kind, name]


def _arrays(entry, group, found):
    """The trainable arrays and the other ones of a layer, with those of the layers in it."""
    kind, config = entry['class_name'], entry['config']
    inner = next((key for key in ('layers', 'cells', 'layer', 'cell') if key in config), None)
    if inner in ('layers', 'cells'):
        parts = [(trained, rest) for _, trained, rest in _by_layer(config, group, found, inner)]
    elif inner:
        places = ('forward_layer', 'backward_layer') if kind == 'Bidirectional' else (inner,)
        parts = [_arrays(config[inner], group.child(place), found) for place in places]
    else:
        stored = group.child('cell/vars' if 'cell' in group else 'vars')
        arrays = [(f'{config.get("name")}/weight_{i}', stored.array(str(i)))
                  for i in itertools.takewhile(lambda i: str(i) in stored, itertools.count())]
        averages = 2 if kind == 'BatchNormalization' else 0
        parts = [(arrays[:len(arrays) - averages], arrays[len(arrays) - averages:])]
    trained, rest = ([array for part in parts for array in part[i]] for i in range(2))
    return (trained, rest) if config.get('trainable', True) or 'layers' in config else ([], trained + rest)
