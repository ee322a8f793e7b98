"""Mixed precision and torch.compile: which numbers are computed how, and what is left as it was."""
import copy
import json

import h5py
import numpy as np
import pytest
import torch

import kfacade as keras
from kfacade import backend as K
from kfacade.backend.graph import CompiledGraph
from kfacade.layers import (
    GRU,
    LSTM,
    Activation,
    BatchNormalization,
    Bidirectional,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Lambda,
    RepeatVector,
    _recurrent_kernels,
)
from kfacade.models import Model, Sequential, load_model

data = np.random.RandomState(0)
x, y = data.rand(24, 6).astype('float32'), np.eye(3, dtype='float32')[data.randint(0, 3, 24)]


def net():
    np.random.seed(3)
    return Sequential([Dense(8, activation='relu', input_shape=(6,)), Dense(3, activation='softmax')])


@pytest.mark.parametrize('name', ['bfloat16', 'float16'])
def test_inner_layers_compute_in_few_bits_and_the_last_one_in_all(name):
    model, short = net(), getattr(torch, name)
    (w, b), (v, c) = ([torch.tensor(a) for a in layer.get_weights()] for layer in model.layers)
    hidden = torch.relu(torch.nn.functional.linear(torch.tensor(x).to(short), w.to(short).T, b.to(short)))
    expected = torch.softmax(hidden.float() @ v + c, -1).numpy()
    model.compile('sgd', 'categorical_crossentropy', metrics=['acc'], mixed_precision=name)
    found = model.predict(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    loss = model.evaluate(x, y, verbose=0)[0]
    np.testing.assert_allclose(loss, -np.log(expected[y > 0]).mean(), rtol=1e-6)
    assert loss != pytest.approx(_evaluated_in_full(model), rel=1e-7)


def _evaluated_in_full(model):
    model.compile('sgd', 'categorical_crossentropy')
    return model.evaluate(x, y, verbose=0)


@pytest.mark.parametrize('name', ['bfloat16', 'float16'])
@pytest.mark.parametrize('optimizer', ['adam', lambda params: torch.optim.AdamW(params, lr=1e-3)])
def test_training_follows_that_of_32_bits(name, optimizer):
    models = net(), net()
    for model, kind in zip(models, (None, name)):
        np.random.seed(0)
        model.compile(optimizer, 'categorical_crossentropy', mixed_precision=kind)
        model.fit(x, y, batch_size=8, epochs=5, verbose=0)
    assert all(p.dtype == torch.float32 and p.grad is None for p in models[1].parameters())
    for a, b in zip(*[model.get_weights() for model in models]):
        np.testing.assert_allclose(a, b, atol=5e-3)
    assert any((a != b).any() for a, b in zip(*[model.get_weights() for model in models]))


@pytest.mark.parametrize('name', ['bfloat16', 'float16'])
def test_several_outputs_and_layers_of_all_kinds(name):
    images, words = Input((6, 6, 2)), Input((4, 3))
    features = Flatten()(BatchNormalization()(Conv2D(4, 3, activation='relu')(images)))
    joined = keras.layers.concatenate([features, LSTM(4)(words)])
    model = Model([images, words], [Activation('sigmoid')(Dense(2)(Dropout(.1)(joined))),
                                    Lambda(lambda z: K.sum(z, axis=-1, keepdims=True))(joined), joined])
    model.compile('rmsprop', ['binary_crossentropy', 'mse', None], mixed_precision=name)
    inputs, targets = [data.rand(8, 6, 6, 2), data.rand(8, 4, 3)], [data.rand(8, 2) > .5, data.rand(8, 1)]
    losses = model.fit(inputs, targets, epochs=30, verbose=0).history['loss']
    assert losses[-1] < .8 * losses[0]
    assert [p.dtype for p in model.predict(inputs)] == [np.dtype('float32')] * 3


@pytest.mark.parametrize('name', ['bfloat16', 'float16'])
@pytest.mark.parametrize('gate', ['sigmoid', 'hard_sigmoid'])
def test_recurrent_layers_compute_in_full_on_the_cpu(name, gate):
    """oneDNN has no LSTM in float16, nor on all processors one in bfloat16."""
    words, targets, losses = data.rand(8, 4, 3), data.rand(8, 2), []
    for kind in (None, name):
        np.random.seed(1)
        model = Sequential([keras.layers.Bidirectional(LSTM(4, recurrent_activation=gate), input_shape=(4, 3)),
                            Dense(2)])
        model.compile(keras.optimizers.SGD(.1), 'mse', mixed_precision=kind)
        losses.append([model.train_on_batch(words, targets) for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_step_whose_gradients_overflow_changes_no_weights():
    model = Sequential([Dense(8, input_shape=(6,)), Dense(3)])
    model.compile(keras.optimizers.SGD(1e-3), 'mse', loss_weights=[30.], mixed_precision='float16')
    before, changed = model.get_weights(), []
    for _ in range(12):
        model.train_on_batch(x, y)
        changed.append(any((a != b).any() for a, b in zip(before, model.get_weights())))
        assert all(np.isfinite(w).all() for w in model.get_weights())
    assert not changed[0] and changed[-1]
    assert K.get_value(model.optimizer.iterations) == 12 - changed.index(True)


def test_custom_updates_go_with_bfloat16_alone():
    class Plain(keras.optimizers.Optimizer):
        def get_updates(self, loss, params):
            return [K.update(p, p - .1 * g) for p, g in zip(params, self.get_gradients(loss, params))]

    model, plain = net(), net()
    model.compile(Plain(), 'categorical_crossentropy', mixed_precision='bfloat16')
    plain.compile(keras.optimizers.SGD(.1), 'categorical_crossentropy', mixed_precision='bfloat16')
    for each in (model, plain):
        each.train_on_batch(x, y)
    np.testing.assert_allclose(model.get_weights()[0], plain.get_weights()[0], atol=1e-6)
    for argument in ({'mixed_precision': 'float16'}, {'jit_compile': True}):
        model.compile(Plain(), 'categorical_crossentropy', **argument)
        with pytest.raises(ValueError, match='Plain makes its updates itself'):
            model.train_on_batch(x, y)


@pytest.mark.parametrize('argument', [{'mixed_precision': 'float8'}, {'jit_compile': 'always'}, {'sync_batchnorm': 2}])
def test_unknown_values_are_refused(argument):
    with pytest.raises(ValueError, match=f'`{next(iter(argument))}` must be one of'):
        net().compile('sgd', 'mse', **argument)


def test_files_and_copies_keep_it_where_keras_does_not_look(tmp_path):
    model = net()
    model.compile('adam', 'mse', mixed_precision='bfloat16', sync_batchnorm=True)
    model.train_on_batch(x, y)
    model.save(tmp_path / 'model.h5')
    with h5py.File(tmp_path / 'model.h5') as file:
        config = json.loads(file.attrs['training_config'])
        assert [config.pop(f'kfacade_{name}') for name in ('mixed_precision', 'sync_batchnorm')] == ['bfloat16', True]
        kernels = []
        file['model_weights'].visititems(lambda name, item: kernels.append(item) if 'kernel' in name else None)
        assert [item.dtype for item in kernels] == [np.dtype('float32')] * 2
    for other in (load_model(tmp_path / 'model.h5'), copy.deepcopy(model)):
        assert other._ways == model._ways
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
    model.compile('adam', 'mse')
    model.save(tmp_path / 'plain.h5')
    with h5py.File(tmp_path / 'plain.h5') as file:
        assert config.keys() == json.loads(file.attrs['training_config']).keys()


def test_a_damaged_training_config_is_refused(tmp_path):
    model = net()
    model.compile('adam', 'mse', mixed_precision='bfloat16')
    model.save(tmp_path / 'model.h5')
    with h5py.File(tmp_path / 'model.h5', 'r+') as file:
        config = json.loads(file.attrs['training_config'])
        file.attrs['training_config'] = json.dumps({**config, 'kfacade_mixed_precision': ['x']})
    with pytest.raises(ValueError, match=r"must be one of .*Received: \['x'\]"):
        load_model(tmp_path / 'model.h5')


# ---------------------------------------------------------------- torch.compile

def _of_torch(test):
    for warning in ('.torch.jit.script_method. is deprecated', 'Skipping serialization of skipfiles',
                    'The .grad attribute of a Tensor that is not a leaf'):
        test = pytest.mark.filterwarnings(f'ignore:{warning}')(test)
    return test


def small():
    np.random.seed(3)
    return Sequential([Dense(4, activation='tanh', input_shape=(6,)), BatchNormalization(), Dense(3)])


@_of_torch
def test_the_step_is_compiled_and_gives_the_same_numbers():
    from torch._dynamo.utils import counters
    pytest.importorskip('torch._inductor')
    histories, models = [], (small(), small())
    counters.clear()
    for model, compiled in zip(models, (False, True)):
        np.random.seed(0)
        model.compile('adam', 'mse', metrics=['mae'], jit_compile=compiled)
        histories.append(model.fit(x, y, batch_size=12, epochs=3, verbose=0).history)
    if torch.__version__ < '2.7':  # it leaves the graph at context managers
        assert all('context manager' in why for why in counters['graph_break']) and counters['stats']['unique_graphs']
    else:
        assert counters['stats']['unique_graphs'] == 1  # and not one a step
        assert not counters['graph_break']
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5)
    for a, b in zip(*[model.get_weights() for model in models]):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert not np.array_equal(models[1].get_weights()[4], small().get_weights()[4])


@_of_torch
@pytest.mark.skipif(not hasattr(torch.compiler, 'is_exporting'), reason='this torch exports no random numbers')
def test_what_was_compiled_leaves_other_tracers_alone(tmp_path):
    pytest.importorskip('torch._inductor')
    model = small()
    model.compile('adam', 'mse', jit_compile=True)
    model.train_on_batch(x[:5], y[:5])
    noisy = Sequential([Lambda(lambda t: t + K.random_normal(K.shape(t)), input_shape=(6,))])
    keras.export(noisy, tmp_path / 'noisy.pt2')
    program = torch.export.load(tmp_path / 'noisy.pt2').module()
    assert not torch.equal(program(torch.zeros(4, 6)), program(torch.zeros(4, 6)))


@_of_torch
def test_on_a_cpu_recurrent_layers_run_as_they_are_amid_a_compiled_step(monkeypatch):
    """Compiled they take minutes, and are slower; of torch's LSTM there the way back cannot be compiled."""
    pytest.importorskip('torch._inductor')
    runs, scan, models = [], _recurrent_kernels.scan, []
    monkeypatch.setattr(_recurrent_kernels, 'scan', lambda *args: (runs.append(1), scan(*args))[1])
    for compiled in (False, True):
        np.random.seed(0)
        models.append(Sequential([Bidirectional(LSTM(3, recurrent_activation='sigmoid'), input_shape=(4, 6)),
                                  RepeatVector(3), GRU(2), Dense(3)]))
        models[-1].compile('adam', 'mse', jit_compile=compiled)
        for _ in range(2):
            models[-1].train_on_batch(np.stack([x[:5]] * 4, 1), y[:5])
    assert not runs
    for a, b in zip(*[model.get_weights() for model in models]):
        np.testing.assert_allclose(a, b, atol=1e-5)


@_of_torch
def test_where_torch_cannot_compile_the_step_runs_as_it_is(monkeypatch):
    import torch._inductor.config
    torch._dynamo.reset()
    monkeypatch.setattr(torch._inductor.config.cpp, 'cxx', ('/no/such/compiler',))
    models = small(), small()
    models[0].compile('adam', 'mse')
    models[1].compile('adam', 'mse', jit_compile=True)
    expected = [models[0].train_on_batch(x[:5], y[:5]) for _ in range(2)]
    with pytest.warns(UserWarning, match=r'(?s)goes on without `jit_compile`.*no/such/compiler'):
        first = models[1].train_on_batch(x[:5], y[:5])
    assert [first, models[1].train_on_batch(x[:5], y[:5])] == expected
    with pytest.raises(RuntimeError, match='shapes'):
        models[1].train_function([x[:5, :4], y[:5], np.ones(5)])


def test_where_only_the_way_back_cannot_be_compiled_the_step_runs_as_it_is(monkeypatch):
    def refuse(gradient):
        raise RuntimeError('no way back')

    def compiled(module, mode=None):
        def run(*inputs):
            results = module(*inputs)
            results[0].register_hook(refuse)
            return results
        return run
    monkeypatch.setattr(torch, 'compile', compiled)
    models = small(), small()
    models[0].compile('adam', 'mse')
    models[1].compile('adam', 'mse', jit_compile=True)
    expected = [models[0].train_on_batch(x[:5], y[:5]) for _ in range(3)]
    with pytest.warns(UserWarning, match='goes on without `jit_compile`.*RuntimeError: no way back'):
        first = models[1].train_on_batch(x[:5], y[:5])
    assert [first, *(models[1].train_on_batch(x[:5], y[:5]) for _ in range(2))] == expected
    for a, b in zip(*[model.get_weights() for model in models]):
        np.testing.assert_allclose(a, b, rtol=1e-5)


# What CUDA graphs do, on the CPU: at each step they write over what the step before gave.

@pytest.fixture
def cuda_graphs(monkeypatch):
    """A list of the modes in which torch was asked to compile."""
    modes, given = [], []

    def compiled(module, mode=None):
        modes.append(mode)

        def run(*inputs):
            results = module(*inputs)
            given.extend(r.detach() for r in results if isinstance(r, torch.Tensor))
            return results
        return run

    def begin():
        for tensor in given:
            tensor.fill_(float('nan'))
        given.clear()
    monkeypatch.setattr(torch, 'compile', compiled)
    monkeypatch.setattr(torch.compiler, 'cudagraph_mark_step_begin', begin)
    return modes


@pytest.mark.parametrize('metrics', [[], ['mae'], [lambda t, p: 3.]], ids=['none', 'mae', 'number'])
def test_what_outlives_a_step_of_cuda_graphs_is_copied(metrics, cuda_graphs, monkeypatch):
    """Numbers that are read when all steps are done, and the averages of BatchNormalization."""
    found = []
    for device in ('cpu', 'cuda'):
        model = small()
        model.compile('adam', 'mse', metrics=metrics, jit_compile=True)
        model._make_train_function()
        monkeypatch.setattr(CompiledGraph, 'home', torch.device(device))
        batches = [[torch.from_numpy(a[i:i + 8]) for a in (x, y)] for i in (0, 8, 16)]
        results = [model.train_function.step(batch, weighted=False) for batch in batches]
        found.append([*map(float, sum(results, [])), *model.get_weights()])
    assert cuda_graphs == [None, 'reduce-overhead']
    for a, b in zip(*found):
        np.testing.assert_equal(a, b)


def test_a_model_that_leaves_the_gpu_is_compiled_without_cuda_graphs(cuda_graphs, monkeypatch):
    model = small()
    model.compile('adam', 'mse', jit_compile=True)
    for device in ('cuda', 'cpu', 'cuda', 'cpu'):
        monkeypatch.setattr(CompiledGraph, 'home', torch.device(device))
        model.train_on_batch(x, y)
    assert cuda_graphs == ['reduce-overhead', None]
