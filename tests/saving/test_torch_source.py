"""Models as the source of plain PyTorch modules."""
import ast
import importlib.util
import pathlib
import re
import subprocess
import sys

import applications_harness
import goldens_harness
import numpy as np
import pytest
import torch
import torch_source_cases
import torch_source_harness as harness

from kfacade import applications, config
from kfacade import backend as K
from kfacade import layers as L
from kfacade.models import Model, Sequential
from kfacade.saving import to_torch_source
from kfacade.saving.commands import main

ROOT = pathlib.Path(__file__).parent.parent.parent
GOLDENS = {name: golden for name, golden in goldens_harness.goldens().items()
           if golden.category not in ('initializers', 'applications', 'losses', 'metrics', 'optimizers')}
SMALL = ['MobileNetV2', 'DenseNet121']


def of_golden(golden, folder):
    """The model of a case, and its inputs."""
    with goldens_harness._session(golden):
        if golden.category in ('fit', 'legacy_keras1_real'):
            model = goldens_harness.keras.models.load_model(golden.write('h5', folder))
        else:
            model = goldens_harness._build(golden)
        if golden.category.startswith('legacy') and golden.category != 'legacy_keras1_real':
            model.load_weights(golden.write('weights.h5', folder))
    samples = model._feed_inputs[0]._keras_shape[0]  # of stateful models
    return model, [x[:samples] for x in golden.numbered('x') or [golden.arrays['x']]]


@pytest.fixture(scope='module')
def goldens(tmp_path_factory):
    """All goldens converted and run: the folder, and what should have come out."""
    folder, wanted = tmp_path_factory.mktemp('goldens'), {}
    for name, golden in GOLDENS.items():
        model, arrays = of_golden(golden, folder)
        wanted[name] = (harness.write_case(model, name, folder, arrays), *counted(model))
    harness.run(folder)
    return folder, wanted


@pytest.mark.parametrize('category', sorted({golden.category for golden in GOLDENS.values()}))
def test_goldens(goldens, category):
    folder, wanted = goldens
    assert len(wanted) > 320
    for name, (numbers, *_) in wanted.items():
        if name.startswith(f'{category}__'):
            harness.check(name, folder, numbers)


# Keras' layers that are a module of torch's own -> how that begins.
OWN = {'Dense': 'nn.Linear(', 'Embedding': 'nn.Embedding(', 'BatchNormalization': 'nn.BatchNorm',
       **{f'Conv{rank}D': f'nn.Conv{rank}d(' for rank in (1, 2, 3)}, 'DepthwiseConv2D': 'nn.Conv2d(',
       **{f'Conv{rank}DTranspose': f'nn.ConvTranspose{rank}d(' for rank in (2, 3)},
       **{f'MaxPooling{rank}D': f'nn.MaxPool{rank}d(' for rank in (1, 2, 3)},
       **{f'AveragePooling{rank}D': f'nn.AvgPool{rank}d(' for rank in (1, 2, 3)},
       **{f'GlobalAveragePooling{rank}D': f'nn.AdaptiveAvgPool{rank}d(' for rank in (1, 2, 3)},
       **{f'GlobalMaxPooling{rank}D': f'nn.AdaptiveMaxPool{rank}d(' for rank in (1, 2, 3)}}


def counted(model):
    """How many of torch's modules its layers call for: by their text, and of recurrent ones in all."""
    found, recurrent = {}, 0
    for layer in {id(m): m for m in model.modules()}.values():
        kind = OWN.get(type(layer).__name__)
        if kind:
            found[kind] = found.get(kind, 0) + 1
        drops = getattr(layer, 'dropout', 0) or getattr(layer, 'recurrent_dropout', 0)
        functions = [getattr(f, '__name__', None) for f in (
            getattr(layer, 'activation', None), getattr(layer, 'recurrent_activation', None))]
        recurrent += type(layer).__name__ in ('SimpleRNNCell', 'LSTMCell', 'GRUCell') and not drops and (
            functions in (['tanh', 'sigmoid'], ['tanh', None])) and getattr(layer, 'reset_after', True)
    return found, recurrent


def test_layers_are_modules_of_torch(goldens):
    folder, wanted = goldens
    seen = {}
    for name, (_, found, recurrent) in wanted.items():
        text = (folder / f'{name}.py').read_text().rpartition('\nclass ')[0] + (
            folder / f'{name}.py').read_text().rpartition('\nclass ')[2]
        for kind, count in found.items():
            masked = 'masked_mean(' in text and 'Adaptive' in kind
            assert text.count(f'= {kind}') >= count or masked, (name, kind)
            seen[kind] = seen.get(kind, 0) + count
        both = text.count('bidirectional=True')
        assert len(re.findall(r'= nn\.(?:RNN|LSTM|GRU)\(', text)) + both >= recurrent, name
        seen['recurrent'] = seen.get('recurrent', 0) + recurrent
    assert set(seen) == {*OWN.values(), 'recurrent'} and seen['nn.Linear('] > 200 and seen['recurrent'] > 20


def test_ruff_finds_nothing(goldens):
    folder, _ = goldens
    ruff = [sys.executable, '-m', 'ruff', 'check', '--no-cache', '--ignore', 'E501', folder]  # some names are long
    subprocess.run([*ruff, '--isolated'], check=True)
    subprocess.run([*ruff, '--config', ROOT / 'pyproject.toml'], check=True)


@pytest.mark.parametrize('keep_layout', [False, True])
def test_architectures(tmp_path, keep_layout):
    wanted = {}
    for name, make in list(torch_source_cases.CASES.items())[::4 if keep_layout else 1]:
        K.clear_session()
        model = torch_source_cases.filled(make())
        wanted[name] = harness.write_case(model, name, tmp_path, keep_layout=keep_layout)
    harness.run(tmp_path)
    for name, numbers in wanted.items():
        harness.check(name, tmp_path, numbers)


@pytest.mark.filterwarnings('ignore:The output shape of `ResNet50')
@pytest.mark.parametrize('name', [*SMALL, *(pytest.param(name, marks=pytest.mark.slow)
                                            for name in applications_harness.SMALLEST if name not in SMALL)])
def test_applications(tmp_path, name, monkeypatch):
    monkeypatch.setitem(config.settings, 'floatx', 'float64')  # two samples in batch normalization are ill-conditioned
    size = applications_harness.SMALLEST[name]
    make = getattr(applications, name)
    model = applications_harness.fill(make(weights=None, include_top=False, input_shape=(size, size, 3)))
    wanted = harness.write_case(model, name, tmp_path, [applications_harness.images(size).astype('float64')])
    harness.run(tmp_path)
    harness.check(name, tmp_path, wanted)


def imported(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- what the files look like

@pytest.mark.parametrize('name', sorted(torch_source_cases.SNAPSHOTS))
def test_snapshots(tmp_path, name):
    to_torch_source(torch_source_cases.SNAPSHOTS[name](), tmp_path / f'{name}.py')
    stored = pathlib.Path(__file__).parent / 'torch_source' / f'{name}.py'
    assert (tmp_path / f'{name}.py').read_text() == stored.read_text()


def test_names_of_layers_bring_no_code(tmp_path):
    to_torch_source(torch_source_cases.same_name_reserved(), tmp_path / 'model.py')
    text = (tmp_path / 'model.py').read_text(encoding='utf-8')
    assert 'self.pad_same = nn.Linear(2, 2)' in text and 'def pad_same' not in text
    assert 'self.F = ' in text and 'import torch.nn.functional' not in text


def test_trains_as_the_docstring_says(tmp_path):
    model = torch_source_cases.SNAPSHOTS['digits']()
    to_torch_source(model, tmp_path / 'digits.py')
    module = imported(tmp_path / 'digits.py')
    code = [line[4:] for line in module.__doc__.split('To train on:')[1].splitlines() if line.startswith('    ')]
    x, y = torch.randn(8, 1, 12, 12), torch.randint(0, 10, (8,))
    space = {**vars(module), 'batches': [(x, y)] * 30}
    exec('\n'.join(code), space)
    first = module.F.nll_loss(module.load()(x).log(), y)
    assert space['loss'] < first * .8


def test_predicts_on_files(tmp_path):
    model = torch_source_cases.SNAPSHOTS['digits']()
    to_torch_source(model, tmp_path / 'digits.py')
    x = np.random.RandomState(0).rand(3, 12, 12, 1)
    np.save(tmp_path / 'x.npy', x.transpose(0, 3, 1, 2))
    command = [sys.executable, '-W', 'error', 'digits.py', 'x.npy']
    subprocess.run([*command, '--out', 'y.npy'], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / 'y.npy'), model.predict(x), atol=1e-5)
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert printed.startswith('tensor([[')


@pytest.mark.parametrize('dtype', ['float64', 'float16'])
def test_predicts_in_another_precision(tmp_path, monkeypatch, dtype):
    monkeypatch.setitem(config.settings, 'floatx', dtype)
    model = Sequential([L.Dense(2, input_shape=(3,))])
    to_torch_source(model, tmp_path / 'model.py')
    np.save(tmp_path / 'x.npy', np.eye(3, dtype='float32'))
    subprocess.run([sys.executable, 'model.py', 'x.npy', '--out', 'y.npy'], cwd=tmp_path, check=True)
    y = np.load(tmp_path / 'y.npy')
    assert y.dtype == dtype
    np.testing.assert_allclose(y, model.predict(np.eye(3)), rtol=1e-3)


def test_safetensors(tmp_path):
    pytest.importorskip('safetensors')
    model = Sequential([L.Dense(2, input_shape=(3,))])
    to_torch_source(model, tmp_path / 'model.py', safetensors=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['model.py', 'model.safetensors']
    x = torch.ones(1, 3)
    torch.testing.assert_close(imported(tmp_path / 'model.py').load()(x), model(x))


# ---------------------------------------------------------------- a script's own code

class Scale(L.Layer):
    """A layer that only a script knows."""

    def build(self, input_shape):
        self.scale = self.add_weight(name='scale', shape=(input_shape[-1],), initializer='ones')
        super().build(input_shape)

    def call(self, x):
        return x * self.scale


def test_source_of_custom_layers_and_lambdas_that_torch_lacks(tmp_path):
    model = Sequential([Scale(input_shape=(3,)), L.Lambda(lambda x: K.cumsum(x, axis=1), name='best')])
    to_torch_source(model, tmp_path / 'model.py')
    text = (tmp_path / 'model.py').read_text()
    assert 'TO BE PORTED' in text and '#             return x * self.scale' in text
    assert '#     lambda x: K.cumsum(x, axis=1)' in text and 'K.cumsum has to become torch code' in text
    module = imported(tmp_path / 'model.py')
    with pytest.raises(NotImplementedError, match='port the layer "scale_1"'):
        module.load()(torch.ones(2, 3))
    module.Scale.forward = lambda self, x: x * self.scale
    module.best = lambda x: x + 1
    torch.testing.assert_close(module.load()(torch.ones(2, 3)), torch.full((2, 3), 2.))


def test_no_source(tmp_path):
    function = eval('lambda x: x + 1')
    with pytest.raises(ValueError, match='Layer "odd" cannot be converted: its function has no source'):
        to_torch_source(Sequential([L.Lambda(function, name='odd', input_shape=(3,))]), tmp_path / 'model.py')
    kind = type('Made', (L.Layer,), {'__module__': 'nowhere'})
    with pytest.raises(ValueError, match='Layer "mine" cannot be converted: its class Made has no source'):
        to_torch_source(Sequential([kind(name='mine', input_shape=(3,))]), tmp_path / 'model.py')
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- what cannot be

def own_cell():
    class Own(L.SimpleRNNCell):
        def call(self, inputs, states, training=None):
            return super().call(inputs, states, training)
    return Sequential([L.RNN(Own(3), name='odd', input_shape=(4, 2))])


def subclassed():
    class Own(Model):
        def call(self, x):
            return x
    return Own()


def tied():
    model = Sequential([L.Dense(3, name='odd', input_shape=(3,))])
    model.layers[0].kernel = K.variable(np.eye(3))
    return model


def nested_subclass():
    x, model = L.Input((3,)), subclassed()
    model.name = 'odd'
    return Model(x, model(x))


class Unknown(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 2)


def phase(layer):
    x = L.Input((4, 3))
    return Model(x, layer(x, training=True))


def own_tensor():
    x, y = L.Input((3,)), L.Input(tensor=torch.ones(2, 3), name='odd')
    return Model([x, y], L.add([x, y]))


def times(x, w):
    return x * w


def stateful_with_and_without_a_mask():
    x = L.Input(batch_shape=(2, 4, 3))
    inner = Sequential([L.LSTM(2, stateful=True, batch_input_shape=(2, 4, 3))], name='odd')
    return Model(x, [inner(L.Masking()(x)), inner(x)])


@pytest.mark.parametrize('make, message', [
    (stateful_with_and_without_a_mask, '"odd" cannot be converted: it is stateful, and called with and without'),
    (own_cell, 'Layer "odd" cannot be converted: its cell, Own'),
    (subclassed, 'it is no graph of layers'), (lambda: Sequential([L.Dense(3)]), 'is not built yet'),
    (tied, 'Layer "odd" cannot be converted: its kernel was replaced'),
    (lambda: phase(L.LSTM(2, dropout=.5, name='odd')), 'Layer "odd" cannot be converted: it is called with training'),
    (lambda: phase(L.TimeDistributed(L.Dropout(.5), name='odd')), 'Layer "odd" .* called with training'),
    (own_tensor, 'Layer "odd" cannot be converted: its tensor is not an input'),
    (lambda: Sequential([L.Lambda(lambda x: x, mask=lambda x, mask: None, name='odd', input_shape=(3,))]),
     'Layer "odd" cannot be converted: it has a function for its mask'),
    (lambda: Sequential([L.Lambda(times, arguments={'w': np.ones(3)}, name='odd', input_shape=(3,))]),
     'Layer "odd" cannot be converted: its argument w is no plain value'),
    (nested_subclass, 'Layer "odd" cannot be converted: Own has no counterpart'),
    (lambda: Sequential([L.Dense(3, input_shape=(3,)), Unknown()]), 'how its Unknown is made cannot be told'),
])
def test_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        to_torch_source(make(), tmp_path / 'model.py')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('path', ['model.txt', 'my model.py', '1.py', 'class.py'])
def test_names_that_python_cannot_import(tmp_path, path):
    with pytest.raises(ValueError, match='that Python can import'):
        to_torch_source(Sequential([L.Dense(2, input_shape=(3,))]), tmp_path / path)


def test_failed_writing_keeps_what_was_there(tmp_path, monkeypatch):
    (tmp_path / 'model.py').write_text('old')
    (tmp_path / 'model.pt').write_text('old')

    def fail(*args, **kwargs):
        raise OSError('disk full')

    monkeypatch.setattr('kfacade.saving.torch_source.module.write_tensors', fail)
    with pytest.raises(OSError, match='disk full'):
        to_torch_source(Sequential([L.Dense(2, input_shape=(3,))]), tmp_path / 'model.py')
    assert {path.read_text() for path in tmp_path.iterdir()} == {'old'} and len(list(tmp_path.iterdir())) == 2


def test_names_from_a_file_do_not_become_code(tmp_path):
    evil = '''x"""\n' + boom() + "{y}\\'''
    x = L.Input((3,), name=evil)
    y = Scale(name=evil + '1')(L.Dense(3, name=evil + '2', kernel_regularizer='l2')(x))
    y = L.Lambda(lambda x: K.cumsum(x, 1), name=evil + '3')(y)
    to_torch_source(Model(x, y, name=evil), tmp_path / 'model.py')
    names = [node.id for node in ast.walk(ast.parse((tmp_path / 'model.py').read_text())) if isinstance(node, ast.Name)]
    assert 'boom' not in names
    for noise_shape in (['boom()', 1], [None, 'boom()']):
        model = Sequential([L.Dropout(.5, input_shape=(3,))])
        model.layers[0].noise_shape = noise_shape
        with pytest.raises(ValueError, match='boom'):
            to_torch_source(model, tmp_path / 'other.py')


@pytest.mark.parametrize('name', ['schicht', '层', 'x²', '１a', 'ｄｅｆ', '', 'a' * 500, '...'])
def test_odd_names(tmp_path, name):
    to_torch_source(Sequential([L.Dense(2, name=name or None, input_shape=(3,))], name=name), tmp_path / 'model.py')
    imported(tmp_path / 'model.py').load()(torch.ones(1, 3))


# ---------------------------------------------------------------- the command

def test_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Sequential([L.Conv2D(2, 3, input_shape=(5, 5, 3))])
    model.compile('adam', 'mse')
    model.save('model.h5')
    main('convert', ['model.h5', 'first.py'])
    main('convert', ['model.h5', 'last.py', '--keep-layout'])
    x = torch.rand(2, 5, 5, 3)
    torch.testing.assert_close(imported(tmp_path / 'first.py').load()(x.movedim(-1, 1)).movedim(1, -1), model(x))
    torch.testing.assert_close(imported(tmp_path / 'last.py').load()(x), model(x))
    for arguments, message in ((['model.h5', 'first.py'], 'FileExistsError'),
                               (['model.h5', 'a.json', '--keep-layout'], '--keep-layout is for a Python module')):
        with pytest.raises(SystemExit, match=message):
            main('convert', arguments)


# ---------------------------------------------------------------- what the README says of training without `fit`

def test_batch_normalization_in_a_loop_of_torch():
    model = Sequential([L.Dense(3, input_shape=(3,)), L.BatchNormalization(), L.BatchNormalization(trainable=False)])
    moved, kept = model.layers[1].moving_mean, model.layers[2].moving_mean
    assert not model.training and all(p.requires_grad for p in model.parameters())
    x = torch.randn(8, 3) + 5
    model(x)
    assert not moved.numpy().any()
    torch.testing.assert_close(model.train()(x).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert moved.numpy().all() and not kept.numpy().any()
    assert len(model.trainable_weights) == 4 < len(list(model.parameters()))


@pytest.mark.skipif(sys.version_info < (3, 11), reason='before Python 3.11 code does not know its columns')
def test_lambdas_on_one_line(tmp_path):
    k, x = 2, L.Input((5,))
    parts = [L.Lambda(f)(x) for f in (lambda x: x[:, :k], lambda x: x[:, k:], lambda x: (lambda y: y*k)(x))]
    to_torch_source(Model(x, parts), tmp_path / 'model.py')
    text = (tmp_path / 'model.py').read_text()
    assert '#     lambda x: x[:, k:]\n' in text and '#     lambda x: (lambda y: y*k)(x)\n' in text
    outputs = imported(tmp_path / 'model.py').load()(torch.arange(5.)[None])
    assert [y.tolist() for y in outputs] == [[[0, 1]], [[2, 3, 4]], [[0, 2, 4, 6, 8]]]
