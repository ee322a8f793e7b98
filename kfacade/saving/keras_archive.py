"""Archives of Keras 3 (``.keras``), read as the HDF5 file that Keras 2 would have written for the same model.

An archive is a ZIP of config.json (every object with its module) and model.weights.h5 (a group for each object, called
after its class and number). Nothing is unpacked under a name that the archive chose. What Keras 2 has under the same
name but computes otherwise is refused.
"""
import itertools
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from contextlib import contextmanager

import h5py

from ..registry import known
from .hdf5 import save_attributes_to_hdf5_group, stamp, write_arrays
from .text import parse_json
from .trust import InvalidModelFile, Reader, opened, reading, refusing

_TEXTS, _WEIGHTS = ('config.json', 'metadata.json'), 'model.weights.h5'
_MAX_TEXT, _MAX_EXPANSION = 2 ** 26, 100  # bytes of JSON; how many times its size in the archive a member may be

_RENAMED = {'LeakyReLU': {'negative_slope': 'alpha'}, 'InputLayer': {'batch_shape': 'batch_input_shape'}}

# Where Keras 3 puts underscores: not, as Keras 2 does, before a capital and a digit (ConvLSTM2D is conv_lstm2d there).
_SECOND_WORD = re.compile('(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])')

# argument -> the value that Keras 3 computes otherwise
_OTHERWISE = {'activation': 'hard_sigmoid', 'recurrent_activation': 'hard_sigmoid', 'interpolation': 'bilinear'}


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
            f.attrs['keras_version'] = str(metadata.get('keras_version')).encode()
            _write(f, config, reader)
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
            if name in _TEXTS and archive.getinfo(name).file_size > _MAX_TEXT:
                raise InvalidModelFile(f'{name} of {path!r} is too long for a model.')
        with archive.open(_WEIGHTS) as source, open(weights, 'wb') as target:
            shutil.copyfileobj(source, target)
        return [archive.read(name).decode() for name in _TEXTS]


def _write(f, saved, reader):
    """Writes the model of the config ``saved``, with the weights behind ``reader``, as Keras 2 does."""
    translation = _Translation(saved)
    f.attrs['model_config'] = json.dumps(translation.object(saved, True)).encode()
    group = f.create_group('model_weights')
    stamp(group)
    layers = {name: trained + rest for name, trained, rest in _by_layer(saved['config'], reader)}
    save_attributes_to_hdf5_group(group, 'layer_names', [name.encode() for name in layers])
    for name, arrays in layers.items():
        write_arrays(group.require_group(name), [f'{name}/weight_{i}:0' for i in range(len(arrays))], arrays)
    compiled = translation.object(saved.get('compile_config') or {})
    if {'optimizer', 'loss'} <= compiled.keys():
        kept = {key: compiled.get(key) for key in ('loss', 'metrics', 'weighted_metrics', 'loss_weights')}
        f.attrs['training_config'] = json.dumps({'optimizer_config': compiled['optimizer'], **kept}).encode()
        if 'optimizer/vars/2' in reader:  # a state, which Keras 2 has no form for: an empty one gets the warning
            f.create_group('optimizer_weights')


# ---------------------------------------------------------------- weights

def _by_layer(config, group, container='layers'):
    """(name, trainable arrays, other arrays) of each layer of a model, or cell of stacked ones, in order."""
    counts = Counter()
    for entry in config[container]:
        place = f'{container}/{_SECOND_WORD.sub("_", entry["class_name"]).lower()}'
        counts[place] += 1
        place = f'{place}_{counts[place] - 1}' if counts[place] > 1 else place
        if entry['class_name'] != 'InputLayer' and place in group:
            yield entry['config']['name'], *_arrays(entry, group.child(place))


def _arrays(entry, group):
    """The trainable arrays and the other ones of a layer, with those of the layers in it."""
    kind, config = entry['class_name'], entry['config']
    containers = [key for key in ('layers', 'cells') if key in config]
    if containers:
        parts = [(trained, rest) for _, trained, rest in _by_layer(config, group, *containers)]
    elif 'layer' in config:
        places = ('forward_layer', 'backward_layer') if kind == 'Bidirectional' else ('layer',)
        parts = [_arrays(config['layer'], group.child(place)) for place in places]
    elif 'cell' in config:
        parts = [_arrays(config['cell'], group.child('cell'))]
    else:
        stored = group.child('cell/vars' if 'cell' in group else 'vars')
        arrays = [stored.array(str(i)) for i in itertools.takewhile(lambda i: str(i) in stored, itertools.count())]
        averages = 2 if kind == 'BatchNormalization' else 0
        parts = [(arrays[:len(arrays) - averages], arrays[len(arrays) - averages:])]
    trained, rest = ([array for part in parts for array in part[i]] for i in range(2))
    return (trained, rest) if config.get('trainable', True) or 'layers' in config else ([], trained + rest)


# ---------------------------------------------------------------- configuration

class _Translation:
    """Turns configs of Keras 3 into those that Keras 2 would have written."""

    def __init__(self, saved):
        text = json.dumps(saved)
        # the zeros matter where there are masks only; Keras 3's Bidirectional always asks for them
        self.masked = '"mask_zero": true' in text or '"Masking"' in text or '"mask": {' in text

    def object(self, value, is_layer=False):
        """``value`` with its objects as ``{'class_name', 'config'}``, without Keras 3's additions."""
        if isinstance(value, list):
            return [self.object(item) for item in value]
        if not isinstance(value, dict) or not {'class_name', 'config'} <= value.keys():
            return {key: self.object(item) for key, item in value.items()} if isinstance(value, dict) else value
        kind = value['class_name']
        if kind == 'function':
            return value['config']
        config = {_RENAMED.get(kind, {}).get(key, key): item for key, item in value['config'].items()}
        if is_layer:
            _check_origin(kind, value.get('module') or 'keras', config.get('name'))
        for key, otherwise in _OTHERWISE.items():
            if config.get(key) == otherwise:
                raise InvalidModelFile(f'The {kind} layer "{config.get("name")}" has {key}={otherwise!r}, which is '
                                       'another function in Keras 3 than in Keras 2.')
        if not self.masked:
            config.pop('zero_output_for_mask', None)
        layers = self.layers(config.pop('layers'), kind == 'Sequential') if 'layers' in config else None
        config = {key: self.object(item, key in ('layer', 'cell')) for key, item in config.items()}
        if layers is not None:
            nested = _names_of_models(layers)
            config['layers'] = layers
            for end in {'input_layers', 'output_layers'} & config.keys():
                config[end] = [_shifted(key, nested) for key in _coordinates(config[end])]
        elif kind == 'BatchNormalization':
            config['zero_debias'] = False
        elif kind == 'Bidirectional':
            there, back = config['layer']['config'], config.pop('backward_layer', None)
            mirrored = {**there, 'name': None, 'go_backwards': not there['go_backwards']}
            if back and {**back['config'], 'name': None} != mirrored:
                raise InvalidModelFile(f'The Bidirectional layer "{config.get("name")}" has a backward layer of its '
                                       'own, which Keras 2 has no form for.')
        elif kind == 'Lambda':
            code = config['function']['config'] if isinstance(config['function'], dict) else None
            config['function_type'] = 'lambda' if code else 'function'
            if code:
                config['function'] = [code['code'], code['defaults'], code['closure']]
        return {'class_name': kind, 'config': config}

    def layers(self, entries, is_sequential):
        """The layers of a model, with their calls in Keras 2's form and without what only makes masks."""
        masks = _mask_operations(entries)
        nested, found = _names_of_models(entries), []
        for entry in entries:
            name = entry['config']['name']
            if name in masks:
                continue
            found.append({**self.object(entry, True), 'name': name, 'inbound_nodes': [
                _call(name, node, nested, masks) for node in entry.get('inbound_nodes', [])]})
        if is_sequential and len(found) > 1 and found[0]['class_name'] == 'InputLayer':
            first, *found = found  # Keras 2 has the shape with the first layer, and loses that of an InputLayer
            if 'layers' not in found[0]['config']:
                found[0]['config']['batch_input_shape'] = first['config']['batch_input_shape']
        return found


def _check_origin(kind, module, name):
    """Raises InvalidModelFile for an operation, and for a class that is not the one that its name means here."""
    if module.startswith(('keras.src.ops', 'keras.ops')):
        raise InvalidModelFile(f'The operation {kind} "{name}" is no layer of Keras 2.')
    if not module.startswith('keras') and kind in known():
        raise InvalidModelFile(f'The layer "{name}" is a {kind} of {module}, not of Keras.')


def _names_of_models(entries):
    return {entry['config']['name'] for entry in entries if 'layers' in entry['config']}


def _call(name, node, nested, masks):
    """A call as Keras 2 writes it: the tensors, each ``[layer, node, tensor, keyword arguments]``."""
    (first, *more), given = node['args'], {key: item for key, item in node['kwargs'].items() if item is not None}
    given.pop('training', None)  # Keras 3 runs with that of `fit` or `predict`, whatever was recorded
    mask = given.pop('mask', None)
    if mask is not None and not {key[0] for key in _tensors(mask)} <= masks:
        raise InvalidModelFile(f'The layer "{name}" is called with a mask of its own, which Keras 2 has no form for.')
    sources = _tensors([first, given.pop('initial_state', None)])
    if any(item is not None for item in more) or _tensors(given):
        raise InvalidModelFile(f'The layer "{name}" is called with arguments that Keras 2 has no form for: '
                               f'{sorted(given) or "tensors by position"}.')
    return [[*_shifted(key, nested), given] for key in sources]


def _tensors(value):
    """The ``[layer, node, tensor]`` of every Keras tensor in an argument."""
    if isinstance(value, dict):
        if value.get('class_name') == '__keras_tensor__':
            return [value['config']['keras_history']]
        value = list(value.values())
    return [key for item in value for key in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _coordinates(ends):
    """A list of ``[layer, node, tensor]`` from one of them, or from lists or dicts of them."""
    if isinstance(ends, dict):
        ends = list(ends.values())
    return [ends] if isinstance(ends[0], str) else [key for end in ends for key in _coordinates(end)]


def _shifted(key, nested):
    """Keras 2 counts the calls of a model from 1, for one comes with its making."""
    name, node, tensor = key
    return [name, node + (name in nested), tensor]


def _mask_operations(entries):
    """The names of the operations that only make the masks that Keras 2 makes by itself."""
    sources = [(_tensors(node['args'])[0], entry['config'].get('mask_value', 0)) for entry in entries
               for node in entry.get('inbound_nodes', [])
               if entry['class_name'] == 'Masking' or entry['config'].get('mask_zero')]
    operations = [entry for entry in entries if (entry.get('module') or '').startswith('keras.src.ops')]
    found = {entry['config']['name'] for entry in operations if entry['class_name'] == 'NotEqual'
             and all((*_tensors(node['args']), node['args'][1]) in sources for node in entry['inbound_nodes'])}
    for _ in operations:  # those that stand on others come later, but not always
        found |= {entry['config']['name'] for entry in operations if all(
            _tensors(node['args']) and {key[0] for key in _tensors(node['args'])} <= found
            for node in entry['inbound_nodes'])}
    return found
