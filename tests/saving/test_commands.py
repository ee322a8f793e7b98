"""``python -m kfacade inspect`` and ``convert``."""
import json
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

from kfacade import backend as K
from kfacade import layers as L
from kfacade.models import Model, Sequential, load_model, model_from_json, model_from_yaml
from kfacade.saving.commands import main

ARCHIVE = str(pathlib.Path(__file__).parent / 'keras3' / 'dense.keras')
X = np.random.RandomState(0).randn(5, 4).astype('float32')


class Own(L.Dense):
    """A layer that only a caller knows."""


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs a command in a new folder and gives the lines that it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        main(arguments[0], list(arguments[1:]))
        return capsys.readouterr().out.splitlines()
    return run


@pytest.fixture
def model():
    inner = Sequential([L.Dense(2, name='b', input_shape=(3,))], name='inner')
    model = Sequential([L.Dense(3, name='a', input_shape=(4,)), inner])
    model.compile('adam', 'mse', metrics=['acc'])
    model.fit(X, X[:, :2], verbose=0)
    return model


def columns(lines, name):
    line = next(line for line in lines if line.strip().startswith(f'{name} '))
    return [field.strip() for field in line.strip().split('  ') if field]


def test_inspect_model(run, model):
    model.save('model.h5')
    lines = run('inspect', 'model.h5')
    assert lines[0].startswith('model.h5: model, ')
    assert lines[0].endswith(' bytes, by Keras 2.2.4 on tensorflow')
    assert columns(lines, 'a') == ['a', 'Dense', 'kernel (4, 3), bias (3,)', '60 bytes']
    assert columns(lines, 'inner') == ['inner', 'Sequential', 'kernel (3, 2), bias (2,)', '32 bytes']
    assert columns(lines, 'b') == ['b', 'Dense']
    assert "loss: mse" in lines
    assert "metrics: ['acc']" in lines
    assert any(line.startswith("optimizer_config: {'class_name': 'Adam'") for line in lines)
    assert lines[-1] == 'optimizer state: 13 arrays'
    assert not any('REFUSED' in line or 'UNKNOWN' in line for line in lines)


def test_inspect_says_what_is_refused(run):
    x = L.Input((4,))
    Model(x, Own(2, name='own')(L.Lambda(lambda x: x, name='code')(x))).save('model.h5')
    lines = run('inspect', 'model.h5')
    assert columns(lines, 'code')[2].startswith('REFUSED: bytecode; pass the function in custom_objects')
    assert columns(lines, 'own')[4] == 'REFUSED: unknown; pass Own in custom_objects'
    assert lines[-1] == 'Not compiled: there is no training configuration.'


def test_inspect_unknown_loss(run, model):
    def own(y_true, y_pred):
        return K.mean(y_true - y_pred)
    model.compile('sgd', own, metrics=[own, 'mae'])
    model.save('model.h5')
    lines = run('inspect', 'model.h5')
    assert "loss: own  UNKNOWN: pass ['own'] in custom_objects" in lines
    assert "metrics: ['own', 'mae']  UNKNOWN: pass ['own'] in custom_objects" in lines


def test_inspect_later_argument(run, model):
    text = model.to_json().replace('"class_name": "Dense"', '"class_name": "Conv2D"')
    pathlib.Path('model.json').write_text(text.replace('"units"', '"groups": 3, "units"'))
    assert 'asks for groups=3' in ' '.join(columns(run('inspect', 'model.json'), 'a'))


def test_inspect_arguments_that_are_refused(run, monkeypatch):
    monkeypatch.setattr(L.Dense, 'build', lambda layer, shape: pytest.fail('inspect makes no weights'))
    inner = {'class_name': 'Sequential', 'config': [
        {'class_name': 'Dense', 'config': {'name': 'inside', 'units': 2, 'batch_input_shape': [None, 2]}}]}
    layers = [('Dense', {'name': 'new', 'units': 2, 'activation': 'gelu'}),
              ('Dense', {'name': 'good', 'output_dim': 2}), (None, {'name': 'nameless'}),
              ('TimeDistributed', {'name': 'wraps', 'layer': {'class_name': 'Dense', 'config': {'units': 'many'}}}),
              ('TimeDistributed', {'name': 'deep', 'layer': inner})]
    pathlib.Path('model.json').write_text(json.dumps({'class_name': 'Sequential', 'config': [
        {'class_name': kind, 'config': config} for kind, config in layers]}))
    lines = run('inspect', 'model.json')
    assert 'REFUSED: `activation` of layer new: Unknown activation function:gelu' in columns(lines, 'new')[2]
    assert columns(lines, 'wraps')[2].startswith('REFUSED: ') and 'many' in columns(lines, 'wraps')[2]
    assert columns(lines, 'nameless')[2].startswith('REFUSED: ')
    assert columns(lines, 'good') == ['good', 'Dense'] and columns(lines, 'deep') == ['deep', 'TimeDistributed']


def test_inspect_weights(run, model):
    model.save_weights('weights.h5')
    with h5py.File('weights.h5', 'a') as f:
        f.attrs['backend'], f.attrs['keras_version'] = b'theano', b'1'
    lines = run('inspect', 'weights.h5')
    assert lines[0].startswith('weights.h5: weights without architecture, ')
    assert lines[1:3] == ['Loading converts the weights of Keras 1.', 'Loading flips the kernels of Theano.']
    assert columns(lines, 'a') == ['a', 'kernel (4, 3), bias (3,)', '60 bytes']


def test_inspect_archive(run):
    lines = run('inspect', ARCHIVE)
    assert lines[0].endswith('by Keras 3.15.1')
    assert columns(lines, 'dense') == ['dense', 'Dense', 'weight_0 (4, 5), weight_1 (5,)', '100 bytes']


def test_inspect_tensors(run, model):
    model.save_weights('weights.pt')
    assert columns(run('inspect', 'weights.pt'), 'a._params.kernel') == [
        'a._params.kernel', 'torch.float32', '(3, 4)', '48 bytes']


@pytest.mark.parametrize('suffix', ['.json', '.yaml', '.yml'])
def test_convert_architecture(run, model, suffix):
    model.save('model.h5')
    assert run('convert', 'model.h5', f'out{suffix}') == [f'model.h5 -> out{suffix}']
    text = pathlib.Path(f'out{suffix}').read_text()
    read = model_from_json if suffix == '.json' else model_from_yaml
    assert read(text).get_config() == model.get_config()
    assert columns(run('inspect', f'out{suffix}'), 'a') == ['a', 'Dense']


@pytest.mark.parametrize('suffix', ['.safetensors', '.pt'])
def test_convert_weights_and_back(run, model, suffix):
    if suffix == '.safetensors':
        pytest.importorskip('safetensors')
    model.save('model.h5')
    run('convert', 'model.h5', f'weights{suffix}')
    run('convert', 'model.h5', 'model.json')
    run('convert', f'weights{suffix}', 'again.h5', '--model', 'model.json')
    with pytest.warns(UserWarning, match='No training configuration'):
        again = load_model('again.h5')
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_convert_archive(run):
    with pytest.warns(UserWarning, match='saved optimizer state'):
        run('convert', ARCHIVE, 'model.h5')
    ours, theirs = load_model('model.h5'), load_model(ARCHIVE, compile=False)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.metrics_names == ['loss', 'mean_absolute_error', 'mean_squared_error']


@pytest.mark.parametrize('arguments, message', [
    (('inspect', 'none.h5'), 'FileNotFoundError'), (('inspect', 'list.json'), 'expects a dictionary, not a list'),
    (('inspect', 'broken.h5'), 'InvalidModelFile: .* not a readable HDF5 file'),
    (('inspect', 'broken.json'), 'InvalidModelFile: .* is no JSON'),
    (('inspect', 'odd.json'), 'InvalidModelFile: The configuration cannot be made'),
    (('convert', 'model.json', 'out.h5'), "'model.json' holds no weights"),
    (('convert', 'model.h5', 'out.txt'), 'written as .h5, .safetensors'),
    (('convert', 'weights.pt', 'out.h5'), 'name a file with the architecture with --model'),
    (('convert', 'model.h5', 'model.json'), 'FileExistsError'),
])
def test_what_cannot_be_done(run, model, arguments, message):
    model.save('model.h5')
    model.save_weights('weights.pt')
    for name, text in [('model.json', model.to_json()), ('broken.h5', 'no'), ('broken.json', 'no'), ('odd.json', '{}'),
                       ('list.json', '[]')]:
        pathlib.Path(name).write_text(text)
    with pytest.raises(SystemExit, match=message):
        run(*arguments)


def test_as_a_command(request):
    process = subprocess.run([sys.executable, '-W', 'error', '-m', 'kfacade', 'inspect', ARCHIVE], text=True,
                             cwd=request.config.rootpath, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert 'LeakyReLU' in process.stdout
