"""Exported models: torch.export and onnxruntime compute what Keras computed; what cannot be exported is refused."""
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from goldens_harness import _build, goldens

import kfacade as keras
from kfacade import backend as K
from kfacade import layers
from kfacade.models import Model, Sequential
from kfacade.saving import export as export_room

GOLDENS = goldens()
ARCHITECTURES = [
    'core__dense_batch_input_shape', 'conv__sepconv2d_same_stride2_dm2', 'merge__dot_3d_axes12',
    'embedding__functional_int32', 'masking__holes_simplernn_seq', 'multi_io__two_in_three_out',
    'nested__frozen_inner_model', 'shared__layer_applied_three_times', 'recurrent__gru_any_length',
    'recurrent__gru_impl1_reset_after_sigmoid', 'wrappers__bidir_merge_none', 'convlstm__strides']

_NEWER = 'recurrent__gru_any_length', 'nested__frozen_inner_model'
on_newer_torch = pytest.mark.skipif(not hasattr(torch.compiler, 'is_exporting'), reason=(
    'torch 2.6 cannot export loops of unknown length, random numbers, averages of a BatchNormalization to ONNX, and '
    'some symbolic sizes'))


def from_torch(path, inputs):
    """The outputs of an exported torch program, a list of arrays."""
    with torch.no_grad():
        outputs = torch.export.load(path).module()(*map(torch.as_tensor, inputs))
    return [y.numpy() for y in (outputs if isinstance(outputs, tuple) else [outputs])]


def from_onnx(path, inputs):
    """The same of an ONNX file; the inputs have the order of the model's."""
    runtime = pytest.importorskip('onnxruntime')
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return session.run(None, {x.name: array for x, array in zip(session.get_inputs(), inputs)})


def check(model, inputs, folder, formats=(from_torch, from_onnx), wanted=None, **options):
    """Exports in each format and compares with `wanted` (default: what the model predicts)."""
    if wanted is None:
        wanted = model.predict(inputs if len(inputs) > 1 else inputs[0])
        wanted = wanted if isinstance(wanted, list) else [wanted]
    for run in formats:
        path = str(folder / ('model.pt2' if run is from_torch else 'model.onnx'))
        if run is from_onnx:
            pytest.importorskip('onnxscript')
        keras.export(model, path, **options)
        found = run(path, inputs)
        assert [y.shape for y in found] == [y.shape for y in wanted]
        for got, expected in zip(found, wanted):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    return path


def numbers(*shape):
    return np.random.RandomState(0).rand(*shape).astype('float32')


@pytest.mark.parametrize('name', [pytest.param(name, marks=on_newer_torch if name in _NEWER else ())
                                  for name in ARCHITECTURES])
def test_architecture(name, tmp_path):
    """Both formats give the predictions of Keras."""
    golden = GOLDENS[name]
    model = _build(golden)
    arrays = [x.astype(K.dtype(symbol)) for x, symbol in zip(golden.numbered('x'), model.inputs)]
    batch = K.int_shape(model.inputs[0])[0]
    check(model, [x[:batch] for x in arrays], tmp_path, wanted=[y[:batch] for y in golden.numbered('pred_before')])


def image_model():
    x = layers.Input((None, None, 3))
    y = layers.Conv2D(4, 3, strides=2, padding='same')(x)
    y = layers.BatchNormalization()(layers.MaxPooling2D(3, 2, padding='same')(y))
    y = layers.AveragePooling2D(3, 2, padding='same')(y)
    return Model(x, [layers.UpSampling2D()(y), layers.GlobalAveragePooling2D()(y)])


@on_newer_torch
def test_images_of_any_size(tmp_path):
    """Padding follows sizes that the tracer has not seen, odd ones and even ones; so does the number of samples."""
    check(image_model(), [numbers(1, 9, 16, 3)], tmp_path)


@on_newer_torch
def test_masked_sequences_of_any_length(tmp_path):
    x = layers.Input((None,), dtype='int32')
    y = layers.Embedding(10, 4, mask_zero=True)(x)
    y = layers.LSTM(3, recurrent_activation='sigmoid', return_sequences=True)(y)
    model = Model(x, layers.Bidirectional(layers.LSTM(2))(y))
    check(model, [np.random.RandomState(0).randint(0, 3, (2, 7)).astype('int32')], tmp_path)


@on_newer_torch
def test_names(tmp_path):
    """ONNX has the names of Keras, also where torch gives them to values of its own; each stands for one value."""
    onnxruntime = pytest.importorskip('onnxruntime')
    x = layers.Input((3,), name='relu')
    y = layers.Dense(3, name='a/b')(x)
    shared = layers.Dense(3, name='linear')
    model = Model(x, [shared(y), shared(layers.Add(name='add')([x, y])), x])
    session = onnxruntime.InferenceSession(check(model, [numbers(2, 3)], tmp_path))
    assert [i.name for i in session.get_inputs()] == ['relu']
    assert [o.name for o in session.get_outputs()] == ['linear', 'linear_1', 'relu_1']


def test_compiled_trained_and_subclassed_models(tmp_path):
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(3), layers.Dense(2)

        def call(self, x):
            return self.second(self.first(x))

    model = Two()
    model.compile('sgd', 'mse')
    model.fit(numbers(8, 4), numbers(8, 2), verbose=0)
    check(model, [numbers(3, 4)], tmp_path)


def test_torch_modules_lambdas_and_other_float_types(tmp_path):
    model = Sequential([layers.Lambda(lambda x: K.reverse(x, 1) * K.max(x), input_shape=(3,)), torch.nn.LayerNorm(3),
                        layers.Dropout(.5), layers.Dense(2)]).double()
    check(model, [numbers(3, 3).astype('float64')], tmp_path)


@on_newer_torch
def test_random_numbers_are_drawn_anew_at_each_run(tmp_path):
    x = layers.Input((3,))
    model = Model(x, layers.Lambda(lambda t: t + K.random_normal((K.shape(t)[0], 3)))(x))
    keras.export(model, tmp_path / 'model.pt2')
    first, second = (from_torch(tmp_path / 'model.pt2', [numbers(4, 3)])[0] for _ in range(2))
    assert first.shape == (4, 3)
    if hasattr(torch.compiler, 'is_exporting'):
        assert (first != second).all()
        pytest.importorskip('onnxscript')
        keras.export(model, str(tmp_path / 'model.onnx'))
        assert (from_onnx(str(tmp_path / 'model.onnx'), [numbers(4, 3)])[0] != numbers(4, 3)).all()


def test_the_file_needs_no_kfacade(tmp_path):
    """A process in which importing kfacade fails runs the program."""
    model = Sequential([layers.Conv2D(2, 3, padding='same', input_shape=(4, 4, 3)), layers.Flatten(),
                        layers.Reshape((4, 8)), layers.LSTM(2)])
    keras.export(model, tmp_path / 'model.pt2')
    np.save(tmp_path / 'x.npy', numbers(3, 4, 4, 3))
    script = ('import sys; sys.modules["kfacade"] = None; import numpy, torch; x = numpy.load("x.npy")\n'
              'with torch.no_grad(): y = torch.export.load("model.pt2").module()(torch.as_tensor(x))\n'
              'numpy.save("y.npy", y.numpy())')
    subprocess.run([sys.executable, '-c', script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / 'y.npy'), model.predict(numbers(3, 4, 4, 3)), rtol=1e-5, atol=1e-6)


def test_the_model_stays_as_it_is(tmp_path):
    model = Sequential([layers.Dense(3, input_shape=(2,)), layers.BatchNormalization(), layers.Dropout(.5)])
    model.compile('sgd', 'mse')
    model.train()
    before, keys = model.get_weights(), list(model.state_dict())
    keras.export(model, tmp_path / 'model.pt2')
    assert all((a == b).all() for a, b in zip(before, model.get_weights()))
    assert list(model.state_dict()) == keys and all(p.requires_grad for p in model.layers[0].parameters())
    assert all(module.training for module in model.modules())
    model.fit(numbers(4, 2), numbers(4, 3), verbose=0)


class Accumulator(layers.Layer):
    """A recurrent cell that kfacade can only run step by step."""

    state_size = 3

    def call(self, inputs, states):
        return inputs + states[0], [inputs + states[0]]


def test_sizes_can_be_settled(tmp_path):
    x = layers.Input((None, 3), name='series')
    model = Model(x, layers.RNN(Accumulator())(x))
    with pytest.raises(ValueError, match=r"cannot be exported: .*settle it: input_shapes=\{'series': \(...\)\}"):
        keras.export(model, tmp_path / 'model.pt2')
    assert not list(tmp_path.iterdir())
    check(model, [numbers(2, 5, 3)], tmp_path, (from_torch,), input_shapes={'series': (None, 5, 3)})
    for shape in [(None, 5), (None, 5, 4)]:
        with pytest.raises(ValueError, match='does not fit the input "series"'):
            keras.export(model, tmp_path / 'model.pt2', input_shapes={'series': shape})
    with pytest.raises(ValueError, match=r'`input_shapes` names "other", but the inputs .* \[\'series\'\]'):
        keras.export(model, tmp_path / 'model.pt2', input_shapes={'other': (None, 5, 3)})


class Parity(torch.nn.Module):
    """What it does depends on a size, in a way that a tracer does not see."""

    def forward(self, x):
        return x * (2. if int(x.shape[1]) % 2 == 0 else 3.)


def test_a_program_that_holds_for_some_sizes_only_is_refused(tmp_path):
    x = layers.Input((None,))
    with pytest.raises(ValueError, match='cannot be exported'):
        keras.export(Model(x, layers.TorchModule(Parity())(x)), tmp_path / 'model.pt2')


def test_the_check_of_other_sizes():
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    module = export_room._forward(model)
    with K.state.running(False):
        export_room._check(model, module, module, [(None, 3)])
        with pytest.raises(ValueError, match='with other sizes'):
            export_room._check(model, module, lambda x: module(x) + 1, [(None, 3)])


def recurrent(**kwargs):
    return Sequential([layers.GRU(2, stateful=True, name='memory', batch_input_shape=(2, 3, 4), **kwargs)])


def with_gradients():
    x = layers.Input((3,))
    y = layers.Dense(1)(x)
    return Model(x, layers.Lambda(lambda t: K.gradients(t[0], t[1])[0])([y, x]))


@pytest.mark.parametrize('make, message', [
    (recurrent, 'memory would have to keep states between calls. Make the model with stateful=False'),
    (with_gradients, 'takes gradients'),
    (lambda: Sequential([layers.Dense(2)]), 'does not know its inputs yet. Build it'),
    (lambda: torch.nn.Linear(2, 2), 'Only a model that is built can be exported')])
def test_models_that_are_refused(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        keras.export(make(), tmp_path / 'model.pt2')
    assert not list(tmp_path.iterdir())


def test_formats(tmp_path):
    """The suffix says the format unless the argument does; anything else is an error."""
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    keras.export(model, tmp_path / 'program', format='torch')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch expects the suffix .pt2
        assert from_torch(tmp_path / 'program', [numbers(1, 3)])[0].shape == (1, 2)
    for path, format in (('model.h5', None), ('model.onnx', 'ONNX')):
        with pytest.raises(ValueError, match="must be 'torch' or 'onnx'"):
            keras.export(model, tmp_path / path, format=format)
    assert [path.name for path in tmp_path.iterdir()] == ['program']


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ImportError, match=r'pip install "kfacade\[onnx\]"'):
        keras.export(Sequential([layers.Dense(2, input_shape=(3,))]), tmp_path / 'model.onnx')
    assert not list(tmp_path.iterdir())


def test_what_an_onnx_file_cannot_hold(tmp_path, monkeypatch):
    pytest.importorskip('onnxscript')
    monkeypatch.setattr(export_room, '_ONNX_LIMIT', 8)
    with pytest.raises(ValueError, match="its weights take .* GB, .* format='torch' has no such limit"):
        keras.export(Sequential([layers.Dense(2, input_shape=(3,))]), tmp_path / 'model.onnx')
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_where_that_is_asked_for_or_writing_fails(tmp_path, monkeypatch):
    model, path = Sequential([layers.Dense(2, input_shape=(3,))]), tmp_path / 'model.pt2'
    path.write_text('old')
    monkeypatch.setattr('kfacade.saving.atomic.ask_to_proceed_with_overwrite', lambda path: False)
    keras.export(model, path, overwrite=False)
    assert path.read_text() == 'old'

    def fail(program, file):
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'export', types.SimpleNamespace(**{**vars(torch.export), 'save': fail}))
    with pytest.raises(OSError, match='disk full'):
        keras.export(model, path)
    assert path.read_text() == 'old' and len(list(tmp_path.iterdir())) == 1
