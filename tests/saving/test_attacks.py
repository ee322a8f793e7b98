"""Known attacks on Keras' loaders, one a test: each is refused, and no code from a file runs.

CVE-2024-3660 and CVE-2025-9905 put marshalled code into a Lambda of an HDF5 file; CVE-2025-1550 and CVE-2025-9906 name
a function of any module in a configuration; CVE-2025-8747 names one of Keras' own helpers (get_file); CVE-2025-12058
lets a preprocessing layer read a path; CVE-2025-49655 unpickles a torch module. CVE-2025-12060 (archives that leave
their folder) is in tests/utils/test_data_utils.py, model archives are in test_keras_archive.py, HDF5 links and external
storage in test_hdf5.py.
"""
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from kfacade import layers
from kfacade.backend.state import WeightClaims
from kfacade.models import Sequential, load_model, model_from_json, model_from_yaml
from kfacade.saving import InvalidModelFile, torch_files
from kfacade.saving.text import parse_yaml
from kfacade.saving.torch_files import read_state
from kfacade.saving.trust import Reader, opened


def dense_with(**changes):
    """The configuration of a model of one Dense, with some of the layer's entries replaced."""
    config = layers.Dense(1, input_shape=(2,), name='d').get_config()
    return {'class_name': 'Sequential', 'config': {'name': 's', 'layers': [
        {'class_name': 'Dense', 'config': {**config, **changes}}]}}


def layer_of(class_name, config, **more):
    return {'class_name': 'Sequential', 'config': {'name': 's', 'layers': [
        {'class_name': class_name, 'config': {'name': 'x', 'batch_input_shape': [None, 2], **config}, **more}]}}


def dense():
    return Sequential([layers.Dense(1, input_shape=(2,))])


def saved_as(config, path):
    """Writes the file of a model that has another configuration than its weights are for."""
    dense().save(path)
    with h5py.File(path, 'r+') as f:
        f.attrs['model_config'] = json.dumps(config).encode()


def test_lambda_bytecode_in_hdf5_does_not_run(path):
    evil = layers.Lambda(lambda x: [x, __import__('os').system('touch MARKER')][0], input_shape=(2,), name='evil')
    saved_as(layer_of('Lambda', evil.get_config()), path)
    with pytest.raises(InvalidModelFile, match='evil.*safe_mode=False'):
        load_model(path)
    assert not os.path.exists('MARKER')


@pytest.mark.parametrize('activation', [
    'os.system', 'get_file', 'kfacade.utils.get_file', 'keras.utils.get_file', 'func_load', 'deserialize', '__import__',
    'builtins.eval', 'K', 'warnings', {'class_name': 'function', 'config': 'system', 'module': 'os'},
    {'class_name': 'get_file', 'config': {'fname': 'x', 'origin': 'file:///etc/passwd'}}])
def test_configurations_name_no_function_but_activations(activation):
    with pytest.raises(InvalidModelFile):
        model_from_json(json.dumps(dense_with(activation=activation)))


@pytest.mark.parametrize('part', ['kernel_initializer', 'kernel_regularizer', 'kernel_constraint'])
@pytest.mark.parametrize('value', ['os.system', 'get', 'deserialize', 'np', 'K', 'VarianceScaling.from_config',
                                   {'class_name': 'system', 'config': {'command': 'true'}, 'module': 'os'},
                                   {'class_name': 'deserialize_keras_object', 'config': {}}])
def test_configurations_name_nothing_but_the_kind_asked_for(part, value):
    with pytest.raises(InvalidModelFile):
        model_from_json(json.dumps(dense_with(**{part: value})))


@pytest.mark.parametrize('config', [
    layer_of('system', {}, module='os'), layer_of('TorchModuleWrapper', {'module': 'gASVAAAA'}),
    layer_of('StringLookup', {'vocabulary': '/etc/passwd'}), layer_of('enable_unsafe_deserialization', {}),
    layer_of('TorchModule', {'module': {'class_name': 'Linear'}}), layer_of('deserialize', {}),
    layer_of('Layer.build', {}), layer_of('unsafe_deserialization', {}),
    layer_of('Function', {'inputs': [], 'outputs': []}), layer_of('TFOpLambda', {'function': 'os.system'})])
def test_configurations_make_no_object_but_known_layers(config):
    for load in (lambda: model_from_json(json.dumps(config)), lambda: model_from_yaml(json.dumps(config))):
        with pytest.raises(InvalidModelFile):
            load()


@pytest.mark.parametrize('text', ['!!python/object/apply:os.system ["touch MARKER"]', '!!python/name:os.system',
                                  '!!python/module:os', '!!python/object/new:os.system ["true"]',
                                  'class_name: &a [*a, *a]', '[' * 5000, 'a: ' * 3000])
def test_yaml_makes_no_object_and_does_not_explode(text):
    with pytest.raises(InvalidModelFile):
        model_from_yaml(text)
    assert not os.path.exists('MARKER')


def test_deeply_nested_json():
    with pytest.raises(InvalidModelFile):
        model_from_json('{"class_name":' * 100000)
    with pytest.raises(InvalidModelFile):
        model_from_json('[' * 100000 + ']' * 100000)


@pytest.mark.parametrize('key, value', [
    ('loss', 'os.system'), ('loss', {'class_name': 'get_file', 'config': {}}), ('metrics', ['get', 'os.system']),
    ('optimizer_config', {'class_name': 'system', 'config': {'command': 'true'}})])
def test_training_configurations_are_data_too(path, key, value):
    model = dense()
    model.compile('sgd', 'mse')
    with h5py.File(path, 'w') as f:
        model.save(f)
        load_model(f)
        f.attrs['training_config'] = json.dumps({**json.loads(f.attrs['training_config']), key: value}).encode()
        with pytest.raises(InvalidModelFile):
            load_model(f)


@pytest.mark.parametrize('attribute', ['model_config', 'training_config'])
def test_a_list_in_the_place_of_a_configuration(path, attribute):
    model = dense()
    model.compile('sgd', 'mse')
    model.save(path)
    with h5py.File(path, 'a') as f:
        f.attrs[attribute] = b'[{}]'
    with pytest.raises(InvalidModelFile, match='expects a dictionary, not a list'):
        load_model(path)


@pytest.mark.parametrize('units', [10 ** 9, 10 ** 30])
def test_no_memory_for_what_only_the_configuration_claims(path, units):
    saved_as(dense_with(units=units), path)
    with pytest.raises(InvalidModelFile, match='far more than the size of its file allows'):
        load_model(path)


@pytest.mark.parametrize('read, write', [(model_from_json, json.dumps), (model_from_yaml, yaml.safe_dump)])
def test_no_memory_for_what_a_text_claims(read, write):
    with pytest.raises(InvalidModelFile, match='far more than a configuration without weights allows'):
        read(write(dense_with(units=10 ** 10)))


# ------------------------------------------------------------ what hides in other layers, and in names

BYTECODE = {'class_name': 'Lambda', 'config': {'name': 'evil', 'function': ['4wAAAA==', None, None],
                                               'function_type': 'lambda'}}


@pytest.mark.parametrize('class_name, config', [
    ('TimeDistributed', {'layer': BYTECODE}), ('Bidirectional', {'layer': BYTECODE}), ('Wrapper', {'layer': BYTECODE}),
    ('RNN', {'cell': BYTECODE}), ('RNN', {'cell': {'class_name': 'StackedRNNCells', 'config': {'cells': [BYTECODE]}}})])
def test_bytecode_inside_other_layers(class_name, config):
    with pytest.raises(InvalidModelFile, match='evil.*name of the layer.*its own name.*safe_mode=False'):
        model_from_json(json.dumps(layer_of(class_name, {'batch_input_shape': [None, 2, 3], **config})))


@pytest.mark.parametrize('config', [
    layer_of('__class__', {}), layer_of('kfacade.layers.Dense', {}), layer_of('os.system', {}),
    layer_of('Lambda', {'function': 'system', 'function_type': 'function', 'module': 'os'}),
    layer_of('Lambda', {'function': ['os', 'system'], 'function_type': 'function'}),
    layer_of('Lambda', {'function': 'set_value', 'function_type': 'function'}),
    layer_of('Lambda', {'function': '4wAAAA=='}),
    layer_of('Lambda', {'function': 'relu', 'function_type': 'function', 'output_shape': 'system',
                        'output_shape_type': 'function'}),
    layer_of('Dense', {'units': 1, 'activation': 'relu', 'custom_objects': {'relu': 'os.system'}})])
def test_names_stand_for_what_the_caller_gave_or_for_layers(config):
    with pytest.raises(InvalidModelFile):
        model_from_json(json.dumps(config))


# ------------------------------------------------------------ files that would take all memory, or for ever

@pytest.mark.parametrize('count', [1, 500])
def test_weights_of_all_layers_count(path, count):
    saved_as({'class_name': 'Sequential', 'config': {'name': 's', 'layers': [
        {'class_name': 'Dense', 'config': {'units': 90, 'batch_input_shape': [None, 90], 'name': f'd{i}'}}
        for i in range(count)]}}, path)
    with pytest.raises(InvalidModelFile, match='size of its file allows' if count > 1 else 'weight'):
        load_model(path)


def _with_weight(path, make):
    """A file of weights whose only data set ``make`` makes; its path as text."""
    with h5py.File(path, 'w') as f:
        f.attrs['layer_names'] = [b'd']
        f.attrs['keras_version'] = b'2.2.4'
        f.create_group('d').attrs['weight_names'] = [b'w']
        make(f)
    return str(path)


def _bomb(f):
    dataset = f['d'].create_dataset('w', (2, 1), 'f4', chunks=(2, 1), compression='gzip')
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(10 ** 7)))


def _unknown_filter(f):
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((2, 1))
    made.set_filter(h5py.h5z.FILTER_SCALEOFFSET, 0, (2, 0))
    h5py.h5d.create(f['d'].id, b'w', h5py.h5t.STD_I32LE, h5py.h5s.create_simple((2, 1)), made)
    f['d/w'][...] = 1


def _committed(f):
    f['type'] = np.dtype('f4')
    f['d'].create_dataset('w', (2, 1), dtype=f['type'])[...] = 1


@pytest.mark.parametrize('make, message', [
    (_bomb, 'unpacks to more than its 8 bytes'), (_unknown_filter, 'HDF5 filters'), (_committed, 'user-defined'),
    (lambda f: f['d'].create_dataset('w', (10 ** 6, 1), 'f4', chunks=(1, 1))[:1000], 'claims'),
    (lambda f: f['d'].create_dataset('w', data=np.zeros((2, 1), 'i4'), dtype=h5py.enum_dtype({'a': 0}, 'i4')),
     'user-defined')])
def test_hdf5_data_that_are_no_plain_numbers(tmp_path, make, message):
    path = _with_weight(tmp_path / 'w.h5', make)
    with pytest.raises(InvalidModelFile, match=message):
        Sequential([layers.Dense(1, input_shape=(2,), use_bias=False)]).load_weights(path)


def test_what_packed_data_unpack_to_counts(path):
    """A megabyte of deflated zeros is a gigabyte."""
    with h5py.File(path, 'w') as f:
        for i in range(5):
            f.create_dataset(f'w{i}', data=np.zeros((1024, 2 ** 14), 'f4'), chunks=(1024, 2 ** 12), compression='gzip')
    assert path.stat().st_size < 10 ** 6
    with opened(path) as reader, pytest.raises(InvalidModelFile, match='would read more than belongs in a file'):
        for i in range(5):
            assert reader.array(f'w{i}').nbytes == 2 ** 26


@pytest.mark.parametrize('options', [{'compression': 'gzip', 'shuffle': True, 'fletcher32': True},
                                     {'compression': 'lzf'}, {'chunks': (3, 2)}])
def test_packed_data_are_read(tmp_path, options):
    kernel = np.arange(35, dtype='f4').reshape(7, 5)
    path = _with_weight(tmp_path / 'w.h5', lambda f: f['d'].create_dataset('w', data=kernel, **options))
    model = Sequential([layers.Dense(5, input_shape=(7,), use_bias=False)])
    model.load_weights(path)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


# ------------------------------------------------------------ texts of HDF5

def _share(path, text, others):
    """Makes all the references to ``others``, short texts of variable length in a file, references to ``text``."""
    data, found = bytearray(path.read_bytes()), {}
    for length in {len(text), *map(len, others)}:
        at = -1
        while (at := data.find(struct.pack('<I', length), at + 1)) >= 0 and at + 16 <= len(data):
            address, number = struct.unpack_from('<QI', data, at + 4)
            if data[address:address + 4] == b'GCOL' and 0 < number < 10 ** 5:
                found.setdefault(length, []).append(at)
    (source,), target = found[len(text)], [at for length in set(map(len, others)) for at in found[length]]
    assert len(target) == len(others)
    for at in target:
        data[at:at + 16] = data[source:source + 16]
    path.write_bytes(data)


@pytest.mark.parametrize('attribute', ['layer_names', 'layer_names0', 'weight_names', 'keras_version', 'model_config'])
def test_a_text_counts_as_often_as_it_is_referred_to(path, attribute):
    dense().save(path)
    long, short = 'x' * 10 ** 6, ['yyy'] * 3000
    with h5py.File(path, 'r+') as f:
        group = f['model_weights/' + dense_name(f)] if attribute == 'weight_names' else f['model_weights']
        group = f if attribute in ('keras_version', 'model_config') else group
        group.attrs.pop(attribute.rstrip('0'), None)
        group.attrs[attribute] = [long, *short]
    _share(path, long, short)
    assert path.stat().st_size < 2 * 10 ** 6
    with pytest.raises(InvalidModelFile, match='claims 30010000+ bytes, more than its file holds'):
        load_model(path, compile=False)


def dense_name(f):
    name, = f['model_weights'].attrs['layer_names']
    return name.decode()


def test_a_text_counts_for_each_attribute_that_refers_to_it(path):
    with h5py.File(path, 'w') as f:
        names = [f'g{i}' for i in range(400)]
        f.attrs['layer_names'] = np.array(names, 'S')
        for name in names:
            f.create_group(name).attrs['weight_names'] = 'yyy'
        f['g0'].attrs['weight_names'] = 'x' * 10 ** 6
    _share(path, 'x' * 10 ** 6, ['yyy'] * 399)
    with pytest.raises(InvalidModelFile, match='would read more than belongs in a file of [0-9]+ bytes'):
        dense().load_weights(path)


@pytest.mark.parametrize('many', [False, True])
def test_texts_of_variable_length_are_read(path, many):
    """As others than Keras write lists of names: in the header of an object, also where that goes on elsewhere."""
    model = Sequential([layers.Dense(3, input_shape=(2,), name='\u00e9' * 20), layers.Dense(2, name='b')])
    model.save(path)
    with h5py.File(path, 'r+', track_order=True) as f:
        for group in (f['model_weights'], *f['model_weights'].values()):
            for i in range(30 * many):
                group.attrs[f'more{i}'] = 'x' * 100
            for name in ('layer_names', 'weight_names'):
                if name in group.attrs:
                    group.attrs[name] = [item.decode() for item in group.attrs[name]]
                    assert group.attrs.get_id(name).get_type().is_variable_str()
    for given, wanted in zip(load_model(path, compile=False).get_weights(), model.get_weights()):
        np.testing.assert_array_equal(given, wanted)


def test_an_attribute_is_read_once(path):
    dense().save(path)
    with opened(path) as reader:
        before = reader.names('layer_names'), reader.text('keras_version')
        left = dict(reader._unread)
        again = Reader(reader.group, reader)
        assert (again.names('layer_names'), again.text('keras_version')) == before and reader._unread == left


@pytest.mark.parametrize('dtype', ['longdouble', 'clongdouble', 'c8', 'S4'])
def test_numbers_that_torch_does_not_have(tmp_path, dtype):
    path = _with_weight(tmp_path / 'w.h5', lambda f: f['d'].create_dataset('w', data=np.zeros((2, 1)).astype(dtype)))
    with pytest.raises(InvalidModelFile, match='Expected numbers at "/d/w"'):
        Sequential([layers.Dense(1, input_shape=(2,), use_bias=False)]).load_weights(path)


@pytest.mark.parametrize('dtype', ['>f4', '>f8', 'f2', 'f8', 'u1', '>u2', 'u4', 'u8', 'i1', '>i2', 'i8', '?'])
def test_numbers_of_other_types_are_converted(tmp_path, dtype):
    kernel = np.array([[0], [1]]).astype(dtype)
    path = _with_weight(tmp_path / 'w.h5', lambda f: f['d'].create_dataset('w', data=kernel))
    model = Sequential([layers.Dense(1, input_shape=(2,), use_bias=False)])
    model.load_weights(path)
    np.testing.assert_array_equal(model.get_weights()[0], np.array([[0], [1]], 'f4'))


# ------------------------------------------------------------ sizes that only a configuration claims

STATEFUL = [('LSTM', {'units': 3, 'batch_input_shape': [10 ** 9, 2, 3]}),
            ('GRU', {'units': 3, 'batch_input_shape': [10 ** 9, 2, 3]}),
            ('CuDNNLSTM', {'units': 3, 'batch_input_shape': [10 ** 9, 2, 3]}),
            ('ConvLSTM2D', {'filters': 3, 'kernel_size': 1, 'batch_input_shape': [10 ** 3, 2, 10 ** 3, 10 ** 3, 3]}),
            ('Bidirectional', {'layer': {'class_name': 'SimpleRNN', 'config': {'units': 3, 'stateful': True}},
                               'batch_input_shape': [10 ** 9, 2, 3]}),
            ('RNN', {'cell': {'class_name': 'GRUCell', 'config': {'units': 3}}, 'batch_input_shape': [10 ** 9, 2, 3]})]


@pytest.mark.parametrize('kind, config', STATEFUL)
def test_states_count_with_the_weights(path, kind, config):
    config = layer_of(kind, {'stateful': True, **config} if kind != 'Bidirectional' else config)
    saved_as(config, path)
    for load in (lambda: load_model(path), lambda: model_from_json(json.dumps(config))):
        with pytest.raises(InvalidModelFile, match='claims a state .* far more than'):
            load()


def test_weights_and_states_count_by_their_type():
    claims = WeightClaims(1000, 'a test')
    with claims:
        model_from_json(json.dumps(layer_of('Embedding', {'input_dim': 3, 'output_dim': 2, 'dtype': 'float64'})))
        assert claims.left == 1000 - 8 * 3 * 2
        model_from_json(json.dumps(layer_of('GRU', {'units': 2, 'batch_input_shape': [3, 4, 1], 'stateful': True,
                                                    'use_bias': False})))
    assert claims.left == 1000 - 8 * 3 * 2 - 4 * (6 + 12) - 4 * 3 * 2


# ------------------------------------------------------------ texts that are small and hold much

def _array(shape, data=''):
    return ("{class_name: !!python/object/apply:numpy.core.multiarray._reconstruct {args: [!!python/name:numpy.ndarray "
            "'', !!python/tuple [0], !!binary ''], state: !!python/tuple [1, !!python/tuple [SHAPE], "
            "!!python/object/apply:numpy.dtype {args: [f8, 0, 1]}, false, !!binary 'DATA']}}"
            ).replace('SHAPE', shape).replace('DATA', data)


def _levels(start, level, count):
    return '- &a0 ' + '\n- '.join([start, *(f'&a{i} ' + level.replace('*', f'*a{i - 1}') for i in range(1, count))])


LONG = 400_000
YAML = {'tuples as a key': _levels('!!python/tuple [1]', '!!python/tuple [*, *]', 60) + '\n- {? *a59 : 1}',
        'merges': _levels('{k: 1}', '{<<: [*, *, *]}', 40), 'aliases': _levels('[1]', '[*, *, *, *, *, *]', 9),
        'rows': _array('10000000, 0'), 'other rows': _array('10000000, -1, 1'), 'inner rows': _array('1, 10000000, 0'),
        'sexagesimal': 'a: ' + '1:' * (LONG // 2) + '1', 'tagged': '!!int "' + '1:' * (LONG // 2) + '1"',
        'float': '!!float "' + '1:' * (LONG // 2) + '1.5"', 'digits': 'a: 0x' + 'f' * LONG,
        'deep': '[' * LONG, 'maps': '{' * LONG, 'keys': '? ' * (LONG // 2), 'items': '- ' * (LONG // 2),
        'lists': '[' + '[],' * (LONG // 3) + ']', 'dicts': '[' + '{},' * (LONG // 3) + ']',
        'odd keys': '{' + '? a,' * (LONG // 4) + '}', 'pairs': '!!pairs [' + 'a: b,' * (LONG // 6) + ']',
        'date': '!!timestamp x', 'tag': '!' * LONG, 'anchors': '[' + ','.join(f'&a{i} x' for i in range(40_000)) + ']'}


@pytest.mark.parametrize('text', YAML.values(), ids=YAML)
def test_yaml_is_refused_before_it_takes_time(text):
    before = time.process_time()
    with pytest.raises(InvalidModelFile):
        model_from_yaml(text)
    assert time.process_time() - before < 2


def test_arrays_and_numbers_of_keras_yaml_are_read():
    arrays = _array('2, 1', 'AAAAAAAA8D8AAAAAAAAAQA=='), _array('0')
    read = parse_yaml(f'a: {arrays[0]}\nb: {arrays[1]}\nc: 1e-3\nd: -12\ne: .inf\nf: [&x {{g: 1}}, *x]\nh: 0x1F\n'
                      'i: "1:30"', 'a test')
    assert read == {'a': {'class_name': [[1.], [2.]]}, 'b': {'class_name': []}, 'c': '1e-3', 'd': -12,
                    'e': float('inf'), 'f': [{'g': 1}, {'g': 1}], 'h': 31, 'i': '1:30'}
    assert parse_yaml('a: 1', 'a test') == parse_yaml(b'a: 1', 'a test') == {'a': 1}


@pytest.mark.parametrize('item', ['[],', '{},', '1,', '"",'])
def test_json_counts_by_what_it_holds(path, item):
    text = '{"class_name": "Model", "config": [%s1]}' % (item * 7_000_000)
    dense().save(path)
    with h5py.File(path, 'r+') as f:
        f.attrs['model_config'] = text
    for load in (lambda: model_from_json(text), lambda: load_model(path)):
        with pytest.raises(InvalidModelFile, match='too long for a model: it would take'):
            load()


# ------------------------------------------------------------ torch files

def _repacked(path):
    """A .pt file whose members are compressed."""
    torch.save({'a': torch.zeros(100_000)}, path)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)


def _endless(path):
    """Tuples of tuples, 60 deep, as the key of a dict: their hash would take 2 ** 60 steps."""
    with zipfile.ZipFile(path, 'w') as target:
        target.writestr('a/data.pkl', b'\x80\2})q\0' + b'h\0h\0\x86q\0' * 60 + b'K\1s.')
        target.writestr('a/version', '3\n')


@pytest.mark.parametrize('save, message', [
    (_repacked, 'unpack to more'), (_endless, 'one tuple in several places'),
    (lambda path: torch.save({'a': torch.zeros(2, device='meta')}, path), 'state dict'),
    (lambda path: torch.save({'a': torch.zeros(2).to_sparse()}, path), 'state dict'),
    (lambda path: torch.save({'a': torch.zeros(2, dtype=torch.complex64)}, path), 'state dict')])
def test_torch_files_hold_plain_tensors(tmp_path, save, message):
    path = tmp_path / 'w.pt'
    save(path)
    with pytest.raises(InvalidModelFile, match=message):
        dense().load_weights(str(path), by_name=True)


def _pickled(save):
    """Writes the pickle that ``save`` gives as the only one of a .pt file of the new form."""
    def write(path):
        with zipfile.ZipFile(path, 'w') as target:
            target.writestr('a/data.pkl', save())
            target.writestr('a/version', '3\n')
            target.writestr('a/data/0', bytes(8))
    return write


def _tensor(kind=b'FloatStorage', key=b'0', count=2, offset=0, shape=b'K\2\x85', stride=b'K\1\x85',
            function=b'torch._utils\n_rebuild_tensor_v2'):
    """The pickle of a state dict of one tensor, as torch writes it."""
    def number(n):
        return b'\x8a\x10' + n.to_bytes(16, 'little', signed=True)
    text = b'X\7\0\0\0storage' + b'ctorch\n' + kind + b'\nX\1\0\0\0' + key + b'X\3\0\0\0cpu' + number(count)
    return (b'\x80\2}X\1\0\0\0ac' + function + b'\n((' + text + b'tQ' + number(offset) + shape + stride
            + b'\x89ccollections\nOrderedDict\n)RtRs.')


def test_the_pickle_of_a_tensor_is_read(tmp_path):
    _pickled(_tensor)(tmp_path / 'w.pt')
    assert read_state(tmp_path / 'w.pt')['a'].tolist() == [0, 0]


def _call(name, *numbers):
    return b'\x80\2}X\1\0\0\0ac' + name.replace(b'.', b'\n') + b'\n(' + b''.join(
        b'J' + struct.pack('<i', n) for n in numbers) + b'tRs.'


@pytest.mark.parametrize('data, message', [
    (_call(b'builtins.bytearray', 2 ** 31 - 1), 'asks for builtins.bytearray'),
    (_call(b'torch.Tensor', 2 ** 17, 2 ** 17), 'asks for torch.Tensor'),
    (_call(b'torch.FloatStorage', 2 ** 31 - 1), 'not callable'), (_call(b'torch.zeros', 2 ** 31 - 1), 'torch.zeros'),
    (_call(b'torch.Size', 1), 'torch.Size'), (b'\x80\4\x95' + bytes(8) + b'N.', 'FRAME'),
    (b'\x80\2}r' + b'\xff' * 4 + b'.', 'LONG_BINPUT'), (b'\x80\5\x96' + b'\xff' * 7 + b'\0.', 'torch tensors'),
    (b'\x80\2' + b']' * 1100 + b'.', 'EMPTY_LIST'), (_tensor(count=10 ** 12), 'claims 4000000000000 bytes'),
    (_tensor(count=-1), 'as a storage'), (_tensor(count=1), 'claims 4 bytes'), (_tensor(key=b'1'), 'claims 8 bytes'),
    (_tensor(kind=b'DoubleStorage'), 'claims 16 bytes'), (_tensor(offset=1), 'not in its storage'),
    (_tensor(offset=-1), 'not in its storage'), (_tensor(shape=b'J\xff\xff\xff\x7f\x85'), 'not in its storage'),
    (_tensor(stride=b'J\xff\xff\xff\xff\x85'), 'not in its storage'), (_tensor(stride=b')'), 'torch tensors'),
    (_tensor(kind=b'QInt8Storage'), 'QInt8Storage'), (_tensor(kind=b'Tensor'), 'torch.Tensor'),
    (_tensor(function=b'torch._utils\n_rebuild_qtensor'), '_rebuild_qtensor')])
def test_pickles_hold_what_a_state_dict_needs(tmp_path, monkeypatch, data, message):
    monkeypatch.setattr(torch_files, '_MOST_STEPS', 1000)
    _pickled(lambda: data)(tmp_path / 'new.pt')
    (tmp_path / 'old.pt').write_bytes(data + bytes(100))
    for name in ('new.pt', 'old.pt'):
        with pytest.raises(InvalidModelFile, match=message if name == 'new.pt' else 'torch tensors'):
            dense().load_weights(str(tmp_path / name))


def test_storages_of_the_old_form_are_in_the_file(tmp_path):
    """Torch makes room for them when it meets their names, before it looks for them."""
    path = tmp_path / 'w.pt'
    torch.save({'a': torch.zeros(77)}, path, _use_new_zipfile_serialization=False)
    assert read_state(path)['a'].shape == (77,)
    path.write_bytes(path.read_bytes().replace(b'KMt', b'J' + struct.pack('<i', 2 ** 31 - 1) + b't', 1).replace(
        b'KMN', b'J' + struct.pack('<i', 2 ** 31 - 1) + b'N', 1))
    with pytest.raises(InvalidModelFile, match='claims 8589934588 bytes'):
        read_state(path)


def test_tar_files_of_torch_are_refused(tmp_path):
    with tarfile.open(tmp_path / 'w.pt', 'w') as archive:
        archive.addfile(tarfile.TarInfo('N.' * 5))
    with pytest.raises(InvalidModelFile, match='TAR archive'):
        read_state(tmp_path / 'w.pt')


def test_parameters_are_tensors_too(tmp_path):
    for old in (False, True):
        torch.save({'a': torch.nn.Parameter(torch.ones(2).half()), 'b': torch.ones(2, dtype=torch.bfloat16),
                    'c': torch.tensor(3), 'd': torch.ones(2, 3).t(), 'e': torch.ones(0, 5), 'f': torch.tensor([True])},
                   tmp_path / 'w.pt', _use_new_zipfile_serialization=not old)
        found = read_state(tmp_path / 'w.pt')
        assert [tuple(tensor.shape) for tensor in found.values()] == [(2,), (2,), (), (3, 2), (0, 5), (1,)]
        assert found['d'].tolist() == [[1, 1]] * 3 and found['a'].dtype == torch.float16


# ------------------------------------------------------------ saving loses nothing

SAVES = {'save': '.h5', 'save_weights': '.h5', 'safetensors': '.safetensors', 'pt': '.pt', 'convert': '.json'}


@pytest.mark.parametrize('kind', SAVES)
@pytest.mark.parametrize('how', ['limit', 'exit'])
def test_full_disk_and_crash_leave_the_old_file(tmp_path, kind, how):
    """In another process: files may only grow to 2 kB, or the process ends before the new file takes its place."""
    target, source = tmp_path / f'old{SAVES[kind]}', tmp_path / 'source.h5'
    script = f'''
import os, resource, signal, sys
from kfacade import layers
from kfacade.backend.state import WeightClaims
from kfacade.models import Sequential
from kfacade.saving import atomic, commands
model = Sequential([layers.Dense(40, input_shape=(40,), name='d' * 2000)])
if {kind!r} == 'convert':
    model.save({str(source)!r})
    commands.may_write = lambda *given, **more: True
if {how!r} == 'limit':
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
else:
    atomic.os.replace = lambda *names: os._exit(3)
try:
    if {kind!r} == 'convert':
        commands.convert({str(source)!r}, {str(target)!r})
    else:
        getattr(model, {kind!r} if {kind!r} == 'save' else 'save_weights')({str(target)!r})
except OSError:
    sys.exit(4)
'''
    target.write_bytes(b'old')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=120,
                          env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])})
    assert done.returncode == {'limit': 4, 'exit': 3}[how], done.stderr[-2000:]
    assert target.read_bytes() == b'old'
    if how == 'limit':
        assert sorted(os.listdir(tmp_path)) == sorted({target.name} | ({'source.h5'} if kind == 'convert' else set()))


def test_protected_files_and_folders_are_not_replaced(tmp_path, monkeypatch):
    model, path = dense(), tmp_path / 'old.h5'
    path.write_bytes(b'old')
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        model.save_weights(str(tmp_path))
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # as it is where we are not root and may not write
    with pytest.raises(PermissionError, match='old.h5'):
        model.save_weights(str(path))
    assert path.read_bytes() == b'old' and os.listdir(tmp_path) == ['old.h5']


@pytest.mark.parametrize('stdin', ['closed', 'empty', None])
def test_without_a_terminal_nobody_is_asked(path, monkeypatch, stdin):
    path.write_bytes(b'old')
    stream = None if stdin is None else io.StringIO()
    if stdin == 'closed':
        stream.close()
    monkeypatch.setattr(sys, 'stdin', stream)
    with pytest.raises(FileExistsError, match='overwrite=True'):
        dense().save_weights(path, overwrite=False)
    assert path.read_bytes() == b'old'


def test_new_files_have_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        dense().save_weights(str(tmp_path / 'new.h5'))
    finally:
        os.umask(before)
    assert (tmp_path / 'new.h5').stat().st_mode & 0o777 == 0o640


# ------------------------------------------------------------ all kinds of damage

def _fuzz(count, seed, timeout, *options):
    script = Path(__file__).with_name('fuzz_model_files.py')
    done = subprocess.run([sys.executable, str(script), '--count', str(count), '--seed', str(seed), *options],
                          capture_output=True, text=True, cwd=script.parents[2], timeout=timeout,
                          env={**os.environ, 'PYTHONPATH': str(script.parents[2])})
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_damaged_files_give_one_kind_of_error():
    _fuzz(360, 7, 300)


def test_crafted_files_give_it_too():
    _fuzz(100, 9, 300, '--crafted')


@pytest.mark.slow
@pytest.mark.parametrize('count, options', [(1000, []), (2000, ['--crafted'])])
def test_many_damaged_files(count, options):
    _fuzz(count, 11, 3000, *options)
