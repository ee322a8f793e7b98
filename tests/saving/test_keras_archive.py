"""Archives of Keras 3 (keras3/, made by keras3/make.py) give its predictions, or are refused by name."""
import json
import pathlib
import struct
import zipfile

import numpy as np
import pytest

from kfacade import backend as K
from kfacade.models import load_model
from kfacade.saving import InvalidModelFile

FOLDER = pathlib.Path(__file__).parent / 'keras3'
NAMES = ['dense', 'images', 'masked', 'nested', 'sequences']


@pytest.fixture(autouse=True)
def fresh_session():
    K.clear_session()


def load(name, **arguments):
    return load_model(str(FOLDER / f'{name}.keras'), **{'compile': False, **arguments})


def stored(name):
    """Inputs and predictions, each a list of arrays."""
    arrays = np.load(FOLDER / f'{name}.npz')
    return [[arrays[key] for key in arrays.files if key.startswith(kind)] for kind in 'xy']


def assert_predicts(model, name):
    x, y = stored(name)
    predicted = model.predict(x)
    for ours, theirs in zip(predicted if isinstance(predicted, list) else [predicted], y):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def members(name):
    with zipfile.ZipFile(FOLDER / f'{name}.keras') as archive:
        return {key: archive.read(key) for key in archive.namelist()}


@pytest.fixture
def altered(tmp_path):
    """Writes a fixture with its config changed by a function (and other members), and gives the path."""
    def write(name, change=lambda config: None, **more):
        contents = members(name)
        config = json.loads(contents['config.json'])
        change(config)
        path = tmp_path / 'altered.keras'
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for key, content in {**contents, 'config.json': json.dumps(config), **more}.items():
                archive.writestr(key, content)
        return str(path)
    return write


def layer(config, kind):
    return next(entry for entry in config['config']['layers'] if entry['class_name'] == kind)


@pytest.mark.parametrize('name', NAMES)
def test_predictions_are_those_of_keras_3(name):
    assert_predicts(load(name), name)


@pytest.mark.parametrize('name', NAMES)
def test_saved_again_it_is_a_keras_2_file(name, tmp_path):
    load(name).save(tmp_path / 'model.h5')
    K.clear_session()
    assert_predicts(load_model(tmp_path / 'model.h5', compile=False), name)


@pytest.mark.parametrize('name', NAMES)
def test_weights_alone(name):
    model = load(name)
    model.set_weights([weight * 0 for weight in model.get_weights()])
    model.load_weights(FOLDER / f'{name}.keras')
    assert_predicts(model, name)


def test_weights_by_name():
    model = load('dense')
    model.set_weights([weight * 0 for weight in model.get_weights()])
    report = model.load_weights(FOLDER / 'dense.keras', by_name=True)
    assert report.loaded == ['dense', 'batch_normalization', 'dense_1']
    assert_predicts(model, 'dense')


def test_compiled_as_it_was_but_for_the_state_of_the_optimizer():
    with pytest.warns(UserWarning, match='Error in loading the saved optimizer state'):
        model = load('dense', compile=True)
    assert model.metrics_names == ['loss', 'mean_absolute_error', 'mean_squared_error']
    assert type(model.optimizer).__name__ == 'Adam'
    assert K.get_value(model.optimizer.lr) == pytest.approx(0.002)


def test_averages_go_on_as_those_of_keras_3():
    """Which does not correct them for a start from zero."""
    assert load('dense').get_layer('batch_normalization').zero_debias is False


# ------------------------------------------------------------ what Keras 2 computes otherwise, or not at all

def test_hard_sigmoid_is_another_function(altered):
    path = altered('sequences', lambda config: layer(config, 'GRU')['config'].update(
        recurrent_activation='hard_sigmoid'))
    with pytest.raises(InvalidModelFile, match='GRU layer "gru" has recurrent_activation=\'hard_sigmoid\''):
        load_model(path)


def test_operation(altered):
    path = altered('images', lambda config: layer(config, 'Add').update(module='keras.src.ops.numpy'))
    with pytest.raises(InvalidModelFile, match='The operation Add "add.*" is no layer'):
        load_model(path)


def test_class_of_the_same_name(altered):
    path = altered('dense', lambda config: layer(config, 'Dropout').update(module='my.layers'))
    with pytest.raises(InvalidModelFile, match='"dropout" is a Dropout of my.layers, not of Keras'):
        load_model(path)


def test_mask_of_ones_own(altered):
    def change(config):
        layer(config, 'NotEqual')['inbound_nodes'][0]['args'][1] = 3
    with pytest.raises(InvalidModelFile, match='The operation NotEqual "not_equal.*" is no layer'):
        load_model(altered('masked', change))


def test_zeros_for_masked_steps(altered):
    def change(config):
        for key in ('layer', 'backward_layer'):
            layer(config, 'Bidirectional')['config'][key]['config']['zero_output_for_mask'] = True
    with pytest.raises(InvalidModelFile, match='zero_output_for_mask=True'):
        load_model(altered('masked', change))


def test_backward_layer_of_its_own(altered):
    def change(config):
        layer(config, 'Bidirectional')['config']['backward_layer']['config']['activation'] = 'relu'
    with pytest.raises(InvalidModelFile, match='has a backward layer of its own'):
        load_model(altered('sequences', change))


def test_other_arguments_of_a_call(altered):
    def change(config):
        layer(config, 'Dense')['inbound_nodes'][0]['args'].append(2)
    with pytest.raises(InvalidModelFile, match='The layer "dense.*" is called with arguments .* no form for'):
        load_model(altered('images', change))


def test_layer_that_is_not_here(altered):
    path = altered('dense', lambda config: layer(config, 'Dropout').update(class_name='LayerNormalization'))
    with pytest.raises(InvalidModelFile, match='Unknown layer: LayerNormalization'):
        load_model(path)


def test_lambda(altered):
    def change(config):
        entry = layer(config, 'LeakyReLU')
        code = {'class_name': '__lambda__', 'config': {'code': 'Zm9v', 'defaults': None, 'closure': None}}
        entry.update(class_name='Lambda', config={'name': 'own', 'function': code, 'arguments': {}})
    path = altered('dense', change)
    with pytest.raises(InvalidModelFile, match='"own" is stored as Python bytecode'):
        load_model(path, compile=False)
    model = load_model(path, compile=False, custom_objects={'own': lambda x: K.relu(x, alpha=.1)})
    assert_predicts(model, 'dense')


# ------------------------------------------------------------ hostile and damaged archives

@pytest.mark.parametrize('name', ['../evil', '/etc/evil', 'a/../../evil', '..\\evil', 'C:evil'])
def test_paths_out_of_the_archive(altered, name):
    with pytest.raises(InvalidModelFile, match='a path that leads out of it'):
        load_model(altered('dense', **{name: b''}))


def test_zip_bomb(altered):
    with pytest.raises(InvalidModelFile, match="'assets/zeros' .* would unpack [0-9]+ bytes to 68157440"):
        load_model(altered('dense', **{'assets/zeros': bytes(65 * 2 ** 20)}))


@pytest.mark.parametrize('name', ['config.json', 'metadata.json', 'model.weights.h5'])
def test_missing_member(tmp_path, name):
    path = tmp_path / 'model.keras'
    with zipfile.ZipFile(path, 'w') as archive:
        for key, content in members('dense').items():
            if key != name:
                archive.writestr(key, content)
    with pytest.raises(InvalidModelFile, match=f'has 0 members {name}'):
        load_model(path)


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_repeated_member(tmp_path):
    path = tmp_path / 'model.keras'
    with zipfile.ZipFile(path, 'w') as archive:
        for key, content in [*members('dense').items(), ('config.json', '{}')]:
            archive.writestr(key, content)
    with pytest.raises(InvalidModelFile, match='has 2 members config.json'):
        load_model(path)


@pytest.mark.parametrize('config', ['', '[]', '{}', '{"class_name": "Sequential", "config": {"layers": [1]}}',
                                    '{"class_name": "Sequential", "config": 3}', '[' * 100000])
def test_config_that_is_none(altered, config):
    with pytest.raises((InvalidModelFile, TypeError)):
        load_model(altered('dense', **{'config.json': config}))


def test_weights_that_are_none(altered):
    with pytest.raises(InvalidModelFile, match='model.weights.h5.* is not a readable HDF5 file'):
        load_model(altered('dense', **{'model.weights.h5': b'nothing'}))


def test_weights_of_another_model(altered):
    with pytest.raises(InvalidModelFile, match='weight'):
        load_model(altered('dense', **{'model.weights.h5': members('images')['model.weights.h5']}))


@pytest.mark.parametrize('place', [30, 200, 2000, -30, -100])
def test_damage(tmp_path, place):
    content = bytearray((FOLDER / 'dense.keras').read_bytes())
    content[place:place + 20] = bytes(20) if place > 0 else struct.pack('20B', *range(20))
    path = tmp_path / 'model.keras'
    path.write_bytes(content)
    with pytest.raises(InvalidModelFile):
        load_model(path)
