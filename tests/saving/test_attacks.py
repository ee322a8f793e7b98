"""Known attacks on Keras' loaders, one a test: each is refused, and no code from a file runs.

CVE-2024-3660 and CVE-2025-9905 put marshalled code into a Lambda of an HDF5 file; CVE-2025-1550 and CVE-2025-9906 name
a function of any module in a configuration; CVE-2025-8747 names one of Keras' own helpers (get_file); CVE-2025-12058
lets a preprocessing layer read a path; CVE-2025-49655 unpickles a torch module. CVE-2025-12060 (archives that leave
their folder) is in tests/utils/test_data_utils.py, HDF5 links and external storage in test_hdf5.py.
"""
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import pytest

from kfacade import layers
from kfacade.models import Sequential, load_model, model_from_json, model_from_yaml
from kfacade.saving import InvalidModelFile


def dense_with(**changes):
    """The configuration of a model of one Dense, with some of the layer's entries replaced."""
    config = layers.Dense(1, input_shape=(2,), name='d').get_config()
    return {'class_name': 'Sequential', 'config': {'name': 's', 'layers': [
        {'class_name': 'Dense', 'config': {**config, **changes}}]}}


def layer_of(class_name, config, **more):
    return {'class_name': 'Sequential', 'config': {'name': 's', 'layers': [
        {'class_name': class_name, 'config': {'name': 'x', 'batch_input_shape': [None, 2], **config}, **more}]}}


def evil_lambda(marker):
    return layers.Lambda(lambda x: [x, __import__('os').system(f'touch {marker}')][0], input_shape=(2,), name='evil')


def test_lambda_bytecode_in_hdf5_does_not_run(tmp_path):
    marker, path = tmp_path / 'ran', tmp_path / 'm.h5'
    with h5py.File(path, 'w') as f:
        layer = evil_lambda('MARKER')
        code = layer.get_config()
        f.attrs['model_config'] = json.dumps({'class_name': 'Sequential', 'config': {'name': 's', 'layers': [
            {'class_name': 'Lambda', 'config': code}]}}).encode()
        f.create_group('model_weights').attrs['layer_names'] = [b'evil']
    with pytest.raises(InvalidModelFile, match='evil.*safe_mode=False'):
        load_model(str(path))
    assert not marker.exists() and not os.path.exists('MARKER')


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
    with pytest.raises((InvalidModelFile, TypeError)):
        model_from_yaml(text)
    assert not os.path.exists('MARKER')


def test_deeply_nested_json():
    with pytest.raises(InvalidModelFile):
        model_from_json('{"class_name":' * 100000)
    with pytest.raises((InvalidModelFile, TypeError)):
        model_from_json('[' * 100000 + ']' * 100000)


def test_training_configurations_are_data_too(tmp_path):
    path = tmp_path / 'm.h5'
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile('sgd', 'mse')
    model.save(str(path))
    for key, value in (('loss', 'os.system'), ('loss', {'class_name': 'get_file', 'config': {}}),
                       ('optimizer_config', {'class_name': 'system', 'config': {'command': 'true'}}),
                       ('metrics', ['get', 'os.system'])):
        with h5py.File(path, 'r+') as f:
            stored = f.attrs['training_config']
            config = json.loads(stored if isinstance(stored, str) else stored.decode())
            f.attrs['training_config'] = json.dumps({**config, key: value}).encode()
        with pytest.raises(InvalidModelFile):
            load_model(str(path))
        with h5py.File(path, 'r+') as f:
            f.attrs['training_config'] = json.dumps(config).encode()
    load_model(str(path))


@pytest.mark.parametrize('units', [10 ** 9, 10 ** 30])
def test_no_memory_for_what_only_the_configuration_claims(tmp_path, units):
    path = tmp_path / 'm.h5'
    Sequential([layers.Dense(1, input_shape=(2,))]).save(str(path))
    with h5py.File(path, 'r+') as f:
        f.attrs['model_config'] = json.dumps(dense_with(units=units)).encode()
    with pytest.raises(InvalidModelFile, match='far more than its file holds'):
        load_model(str(path))


@pytest.mark.parametrize('member', ['../outside.json', '/tmp/outside.json'])
def test_archives_with_paths_that_leave_them(tmp_path, member):
    path = tmp_path / 'm.keras'
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr(member, '{}')
        z.writestr('config.json', json.dumps({'module': 'os', 'class_name': 'system', 'config': {'command': 'true'}}))
        z.writestr('metadata.json', '{}')
    with pytest.raises(InvalidModelFile):
        load_model(str(path))
    assert not (tmp_path.parent / 'outside.json').exists()


def test_damaged_files_give_one_kind_of_error():
    script = Path(__file__).with_name('fuzz_model_files.py')
    command = [sys.executable, str(script), '--count', '300', '--seed', '7']
    done = subprocess.run(command, capture_output=True, text=True, cwd=script.parents[2], timeout=300,
                          env={**os.environ, 'PYTHONPATH': str(script.parents[2])})
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
