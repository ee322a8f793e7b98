"""Archives of Keras 3 (keras3/, made by keras3/make.py) give its predictions, or are refused by name."""
import io
import json
import pathlib
import struct
import zipfile

import numpy as np
import pytest

from kfacade import backend as K
from kfacade.models import load_model
from kfacade.saving import InvalidModelFile, keras_archive

FOLDER = pathlib.Path(__file__).parent / 'keras3'
NAMES = ['dense', 'frames', 'images', 'masked', 'nested', 'sequences']


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
def archive(tmp_path):
    """Writes an archive of some (name, content) and gives its path."""
    def write(members):
        with zipfile.ZipFile(tmp_path / 'model.keras', 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return str(tmp_path / 'model.keras')
    return write


@pytest.fixture
def altered(archive):
    """Writes a fixture with its config changed by a function (and other members), and gives the path."""
    def write(name, change=lambda config: None, **more):
        contents = members(name)
        config = json.loads(contents['config.json'])
        change(config)
        return archive({**contents, 'config.json': json.dumps(config), **more}.items())
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

def changed(kind, *place, **entries):
    """The change that updates the first layer of a kind, or what is at a ``place`` in it."""
    def change(config):
        target = layer(config, kind)
        for key in place:
            target = target[key]
        target.update(entries)
    return change


def later_arguments(kind, index, value):
    """The change that puts a positional argument into the first call of a layer."""
    def change(config):
        layer(config, kind)['inbound_nodes'][0]['args'][index:] = [value]
    return change


@pytest.mark.parametrize('name, change, message', [
    ('sequences', changed('GRU', 'config', recurrent_activation='hard_sigmoid'),
     'GRU layer "gru" has recurrent_activation=\'hard_sigmoid\''),
    ('images', changed('Add', module='keras.src.ops.numpy'), 'The operation Add "add.*" is no layer'),
    ('dense', changed('Dropout', module='my.layers'), '"dropout" is a Dropout of my.layers, not of Keras'),
    ('masked', later_arguments('NotEqual', 1, 3), 'is called with a mask of its own'),
    ('sequences', changed('Bidirectional', 'config', 'backward_layer', 'config', activation='relu'),
     'has a backward layer of its own'),
    ('images', later_arguments('Dense', 1, 2), 'The layer "dense.*" is called with arguments .* no form for'),
    ('dense', changed('Dropout', class_name='LayerNormalization'), 'Unknown layer: LayerNormalization'),
    ('images', changed('Add', class_name='MultiHeadAttention'), r'Unknown layer: MultiHeadAttention \("add.*Keras 3'),
    ('dense', lambda config: config.update(class_name='VAE', config={}), 'holds the subclassed model VAE, whose'),
])
def test_what_is_refused_by_name(altered, name, change, message):
    with pytest.raises(InvalidModelFile, match=message):
        load_model(altered(name, change))


@pytest.mark.parametrize('optimizer', ['adam', {'class_name': 'Adam', 'config': {'learning_rate': .001}}])
@pytest.mark.filterwarnings('ignore:Error in loading the saved optimizer state')
def test_optimizers_by_name(altered, optimizer):
    def change(config):
        config['compile_config'].update(optimizer=optimizer, loss='kl_divergence')
    model = load_model(altered('dense', change))
    assert type(model.optimizer).__name__ == 'Adam' and model.loss == 'kullback_leibler_divergence'


def test_lambda(altered):
    code = {'class_name': '__lambda__', 'config': {'code': 'Zm9v', 'defaults': None, 'closure': None}}
    path = altered('dense', changed('LeakyReLU', class_name='Lambda',
                                    config={'name': 'own', 'function': code, 'arguments': {}}))
    with pytest.raises(InvalidModelFile, match='"own" is stored as Python bytecode'):
        load_model(path, compile=False)
    model = load_model(path, compile=False, custom_objects={'own': lambda x: K.relu(x, alpha=.1)})
    assert_predicts(model, 'dense')


# ------------------------------------------------------------ hostile and damaged archives

@pytest.mark.parametrize('name', ['../evil', '/tmp/evil', 'a/../../evil', '..\\evil', 'C:evil'])
def test_paths_out_of_the_archive(altered, name, tmp_path):
    with pytest.raises(InvalidModelFile, match='a path that leads out of it'):
        load_model(altered('dense', **{name: b''}))
    assert not any(pathlib.Path(folder, 'evil').exists() for folder in ('/tmp', tmp_path.parent))


def test_zip_bomb(altered):
    with pytest.raises(InvalidModelFile, match="'assets/zeros' .* would unpack [0-9]+ bytes to 68157440"):
        load_model(altered('dense', **{'assets/zeros': bytes(65 * 2 ** 20)}))


def test_what_comes_out_of_an_archive_counts_not_what_its_directory_says(tmp_path):
    path = tmp_path / 'model.keras'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for key, content in members('dense').items():
            archive.writestr(key, bytes(2 ** 26) if key == 'config.json' else content)
        archive.writestr('assets/long', np.random.RandomState(0).bytes(2 ** 20))
        size = archive.getinfo('config.json').compress_size
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack('<II', size, 2 ** 26), struct.pack('<II', 2 ** 20, 2 ** 26)))
    # some versions of Python see that the members would overlap
    with pytest.raises(InvalidModelFile, match='config.json .* is too big for what its archive holds|Overlapped'):
        load_model(path)


def test_a_full_disk_is_no_fault_of_the_archive(monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, 'No space left on device')

        def writelines(self, pieces):
            for piece in pieces:
                self.write(piece)
    monkeypatch.setattr(keras_archive, 'open', lambda *given: Full(), raising=False)
    with pytest.raises(OSError, match='No space left'):
        load('dense')


@pytest.mark.parametrize('name', ['config.json', 'metadata.json', 'model.weights.h5'])
def test_missing_member(archive, name):
    with pytest.raises(InvalidModelFile, match=f'has 0 members {name}'):
        load_model(archive((key, content) for key, content in members('dense').items() if key != name))


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_repeated_member(archive):
    with pytest.raises(InvalidModelFile, match='has 2 members config.json'):
        load_model(archive([*members('dense').items(), ('config.json', '{}')]))


@pytest.mark.parametrize('config', ['', '[]', '{}', '{"class_name": "Sequential", "config": {"layers": [1]}}',
                                    '{"class_name": "Sequential", "config": 3}', '[' * 100000,
                                    '{"module": "os", "class_name": "system", "config": {"command": "true"}}'])
def test_config_that_is_none(altered, config):
    with pytest.raises(InvalidModelFile):
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
