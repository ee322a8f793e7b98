"""Models on a GPU: the kernels that are taken, numbers as on the CPU, files, moves, no waiting, memory given back."""
import gc
import os
import pickle
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import kfacade
from kfacade import backend as K
from kfacade import layers, models, optimizers
from kfacade.backend.devices import device_of
from kfacade.callbacks import Callback
from kfacade.layers import GRU, LSTM, BatchNormalization, Conv2D, Dense, Dropout, Embedding, Flatten, Input, Masking
from kfacade.layers import _recurrent_kernels as kernels
from kfacade.utils import multi_gpu_model

CPU = torch.device('cpu')


def numbers(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype('float32')


def filled(model, scale=.3):
    model.set_weights([scale * numbers(*w.shape, seed=i) for i, w in enumerate(model.get_weights())])
    return model


def on_cpu(build):
    """What `build()` gives with the CPU for the default device."""
    kfacade.set_device('cpu')
    try:
        return build()
    finally:
        kfacade.set_device('/gpu:0')


def network():
    return filled(models.Sequential([
        Conv2D(4, 3, activation='relu', input_shape=(8, 8, 3)), BatchNormalization(), layers.MaxPooling2D(),
        layers.SeparableConv2D(3, 2), Flatten(), Dense(5, activation='softmax')]))


X, Y = numbers(12, 8, 8, 3, seed=1), np.eye(5, dtype='float32')[np.arange(12) % 5]


@pytest.mark.gpu
def test_the_environment_chooses_until_the_first_weights_are_made(tmp_path, request):
    """Scripts set it after their imports, too."""
    script = 'import os, kfacade\nos.environ.update({})\nprint(kfacade.backend.variable(1.).param.device)'
    for chosen, found in (({}, 'cuda:0'), ({'CUDA_VISIBLE_DEVICES': ''}, 'cpu'), ({'KERAS_DEVICE': 'cpu'}, 'cpu')):
        environment = {name: value for name, value in os.environ.items() if name != 'KERAS_DEVICE'}
        process = subprocess.run([sys.executable, '-c', script.format(chosen)], capture_output=True, text=True,
                                 cwd=request.config.rootpath, env={**environment, 'KERAS_HOME': str(tmp_path)})
        assert process.stdout.strip() == found, process.stderr


# ---------------------------------------------------------------- kernels

class Ops(TorchDispatchMode):
    """Collects the names of the ops that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name().partition('::')[2].partition('.')[0])
        return func(*args, **kwargs or {})


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('layer', [
    lambda: LSTM(8, recurrent_activation='sigmoid'), lambda: GRU(8, recurrent_activation='sigmoid', reset_after=True),
    lambda: layers.CuDNNLSTM(8), lambda: layers.CuDNNGRU(8), lambda: layers.SimpleRNN(8),
    lambda: layers.Bidirectional(LSTM(8, recurrent_activation='sigmoid', return_sequences=True)), lambda: LSTM(8),
    lambda: GRU(8)], ids=['lstm', 'gru', 'cudnn lstm', 'cudnn gru', 'simple', 'bidirectional', 'hard lstm', 'hard gru'])
def test_recurrent_layers(layer, masked, device, monkeypatch, request):
    """The fused kernels of cuDNN are taken where they compute what Keras does: with a sigmoid, not a hard one."""
    if masked and 'cudnn' in request.node.name:
        return  # these take no mask

    def build():
        x = Input((7, 5))
        model = filled(models.Model(x, layer()(Masking()(x) if masked else x)))
        model.compile(optimizers.SGD(.1), 'mse')
        return model
    taken, fused = [], kernels.fused
    monkeypatch.setattr(kernels, 'fused', lambda kind, *args: taken.append(kind) or fused(kind, *args))
    model, other = build(), on_cpu(build)
    x = numbers(4, 7, 5, seed=1)
    x[1:, 4:] = 0
    y = numbers(*model.predict(x).shape, seed=2)
    del taken[:]
    with Ops() as ops:
        loss = model.train_on_batch(x, y)
    hard = 'hard' in request.node.name
    if device.type == 'cuda':
        assert bool(taken) == (not hard) and ('_cudnn_rnn' in ops.names) == (not hard)
    elif hard:
        assert not taken
    np.testing.assert_allclose(loss, other.train_on_batch(x, y), rtol=1e-4)
    np.testing.assert_allclose(model.predict(x), other.predict(x), rtol=1e-4, atol=1e-5)


def test_a_network_as_on_the_cpu(device):
    model, other = network(), on_cpu(network)
    assert {device_of(w.param) for w in model.weights} == {device}
    assert {device_of(w.param) for w in other.weights} == {CPU}
    for one in (model, other):
        one.compile('adam', 'categorical_crossentropy', metrics=['acc'])
    histories = []
    for one in (model, other):
        np.random.seed(0)
        histories.append(one.fit(X, Y, epochs=3, batch_size=5, validation_split=.25, verbose=0).history)
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(X), other.predict(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), other.evaluate(X, Y, verbose=0), rtol=1e-4)
    f, g = (K.function([one.input, K.learning_phase()], [one.layers[3].output]) for one in (model, other))
    np.testing.assert_allclose(f([X, 0])[0], g([X, 0])[0], rtol=1e-4, atol=1e-5)


def test_all_ways_to_feed(device):
    """Generators, data loaders (with pinned memory, too), and tensors here and there."""
    x, y = map(torch.from_numpy, (X, Y))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 4, pin_memory=device.type == 'cuda')
    there = x.to(device) if device.type == 'cuda' else x
    losses = []
    for feed in (lambda m: m.fit(X, Y, 4, verbose=0, shuffle=False), lambda m: m.fit(there, y, 4, 1, 0, shuffle=False),
                 lambda m: m.fit(loader, verbose=0), lambda m: m.fit_generator(
                     ((X[i:i + 4], Y[i:i + 4]) for i in (0, 4, 8)), 3, verbose=0)):
        model = network()
        model.compile('sgd', 'categorical_crossentropy')
        losses.append(feed(model).history['loss'][0])
    np.testing.assert_allclose(losses[1:], losses[:1] * 3, rtol=1e-6)


@pytest.mark.parametrize('shuffle', [True, False, 'batch'])
def test_shuffled_data_here_and_there(shuffle, device):
    """Numbers are those of arrays on the CPU; what is there is not waited for."""
    data, histories = [X, Y], []
    there = [torch.from_numpy(a).to(device) if device.type == 'cuda' else torch.from_numpy(a) for a in data]
    for x, y in (data, there, [data[0], there[1]], [X.astype('float64'), Y.astype('uint8')]):
        np.random.seed(0)
        model = network()
        model.compile('sgd', 'categorical_crossentropy')
        histories.append(model.fit(x, y, 5, 3, 0, shuffle=shuffle).history['loss'])
    np.testing.assert_allclose(histories[1:], histories[:1] * 3, rtol=1e-4)


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'uint8'])
def test_large_batches(dtype, shuffle, device):
    """Those that another stream copies while the steps before are still computed."""
    x = np.random.RandomState(0).randint(0, 9, (4096, 600)).astype(dtype)
    y, found = x[:, :10].astype('float32') / 9, []

    def build():
        return filled(models.Sequential([Dense(64, activation='tanh', input_shape=(600,)), Dense(10)]), .03)
    for model in (build(), on_cpu(build)):
        np.random.seed(0)
        model.compile(optimizers.SGD(.001), 'mse')
        history = model.fit(x, y, 512, 4, 0, shuffle=shuffle).history['loss']
        found.append([*history, model.evaluate(x, y, 512, 0), model.predict(x, 512)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- files and moves

@pytest.mark.parametrize('name', [
    'model.h5', 'weights.h5', 'weights.pt', 'weights.safetensors', 'pickle', 'state_dict'])
@pytest.mark.parametrize('back', [False, True])
def test_files_go_from_device_to_device(name, back, device, tmp_path):
    build = (lambda make: make(), on_cpu)
    saved, loaded = (build[::-1] if back else build)
    model, path = saved(network), str(tmp_path / name)
    model.compile('adam', 'mse')
    model.train_on_batch(X, Y)
    wanted = model.predict(X)
    if name == 'model.h5':
        model.save(path)
        other = loaded(lambda: models.load_model(path))
        for a, b in zip(other.optimizer.get_weights(), model.optimizer.get_weights()):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(other.train_on_batch(X, Y), model.train_on_batch(X, Y), rtol=1e-4)
        wanted = model.predict(X)
    elif name == 'pickle':
        other = loaded(lambda: pickle.loads(pickle.dumps(model)))
    elif name == 'state_dict':
        other = loaded(network)
        other.load_state_dict(model.state_dict())
    else:
        pytest.importorskip('safetensors')
        model.save_weights(path)
        other = loaded(network)
        other.load_weights(path)
    assert {device_of(w.param) for w in other.weights} == {device if back else CPU}
    np.testing.assert_allclose(other.predict(X), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('optimizer', [
    'adam', lambda: optimizers.SGD(momentum=.9, nesterov=True, clipnorm=1.), lambda: optimizers.Nadam(),
    lambda: Own(), lambda: lambda params: torch.optim.AdamW(params, lr=.01)],
    ids=['adam', 'sgd', 'nadam', 'own', 'torch'])
def test_a_move_in_mid_training(optimizer, device):
    alpha, model, other = K.variable(.5), network(), on_cpu(network)
    for one, factor in ((model, alpha), (other, .5)):
        one.compile(optimizer() if callable(optimizer) else optimizer,
                    lambda t, p, factor=factor: K.mean(K.square(t - p)) * factor)
    losses = [[], []]
    for place in (device, CPU, device):
        model.to(place)
        for one, found in zip((model, other), losses):
            found += [one.train_on_batch(X, Y) for _ in range(2)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


class Own(optimizers.Optimizer):
    """Momentum as optimizers of users are written: slots are variables like any other."""

    def get_updates(self, loss, params):
        self.weights = [K.zeros(K.int_shape(p)) for p in params]
        self.updates = []
        for p, g, m in zip(params, self.get_gradients(loss, params), self.weights):
            self.updates += [K.update(m, .9 * m + g), K.update(p, p - .1 * (.9 * m + g))]
        return self.updates


def test_scopes_on_the_gpu_and_the_cpu(device):
    def build(scope=kfacade.device_scope):
        a, b, shared = Input((6, 4)), Input((6, 4)), LSTM(3)
        with scope('/gpu:0'):
            left = shared(a)
        with scope('/cpu:0'):
            right = Dense(3, kernel_regularizer='l2')(shared(b))
            right = layers.Lambda(lambda x: x * np.array([1., 2., 3.]) + K.constant(1.))(right)
        model = filled(models.Model([a, b], Dense(2)(layers.concatenate([left, right]))))
        model.compile(optimizers.Adam(clipnorm=.5), 'mse')
        return model
    model, data, y = build(), [numbers(8, 6, 4, seed=i) for i in (1, 2)], numbers(8, 2, seed=3)
    assert [device_of(w.param) for w in model.weights] == [device] * 3 + [CPU] * 2 + [device] * 2
    found = [model.train_on_batch(data, y) for _ in range(3)]
    other = build(lambda name: kfacade.device_scope(None))
    np.testing.assert_allclose(found, [other.train_on_batch(data, y) for _ in range(3)], rtol=1e-4)


def test_data_parallelism_over_one_device(device):
    model, plain = network(), network()
    parallel = multi_gpu_model(model, gpus=[0, 0])
    np.testing.assert_allclose(parallel.predict(X), plain.predict(X), rtol=1e-4, atol=1e-5)
    parallel.compile('sgd', 'categorical_crossentropy')
    assert np.isfinite(parallel.fit(X, Y, epochs=2, verbose=0).history['loss']).all()
    if device.type == 'cuda':
        x = torch.from_numpy(X).to(device)
        np.testing.assert_allclose(K.eval(torch.nn.DataParallel(plain, [0])(x)), plain.predict(X), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- precision, random numbers

@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_mixed_precision(precision, device):
    model, full, seen = network(), network(), []
    model.layers[0].register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    losses = []
    for one, kind in ((model, precision), (full, None)):
        np.random.seed(0)
        one.compile('adam', 'categorical_crossentropy', mixed_precision=kind)
        losses.append(one.fit(X, Y, epochs=4, batch_size=6, verbose=0).history['loss'])
    assert set(seen) == {getattr(torch, precision)}
    assert {w.param.dtype for w in model.weights} == {torch.float32}
    np.testing.assert_allclose(*losses, rtol=.05)


def test_random_streams(device):
    def draw():
        np.random.seed(5)
        K.clear_session()
        x = Input((1000,))
        model = models.Model(x, Dropout(.25)(x))
        f = K.function([x], [K.in_train_phase(model.output, x, training=True), Dropout(.25, seed=1)(x)])
        normal = K.function([], [K.random_normal((1000,), 2., 3.)])
        g = K.function([x, K.learning_phase()], [model.output])
        ones = np.ones((20, 1000))
        return [g([ones, 1])[0], g([ones, 1])[0], normal([])[0], f([ones])[0]]
    first, again = draw(), draw()
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], first[1])
    assert abs(first[0].mean() - 1) < .02 and set(np.unique(first[0]).round(5)) == {0, np.float32(4 / 3).round(5)}
    assert abs(first[2].mean() - 2) < .4 and abs(first[2].std() - 3) < .3


# ---------------------------------------------------------------- waiting

class Steps(Callback):
    """Trains and tests in a context from the second step on (or a later one), for the first makes what lasts."""

    def __init__(self, context, first=2):
        super().__init__()
        self.context, self.first, self.count, self.open = context, first, 0, None

    def on_batch_begin(self, batch, logs=None):
        self.count += 1
        if self.count >= self.first:
            self.open = self.context()
            self.open.__enter__()

    def on_batch_end(self, batch, logs=None):
        if self.open is not None:
            self.open.__exit__(None, None, None)
            self.open = None


def text():
    return filled(models.Sequential([Embedding(20, 6, mask_zero=True, input_length=7), LSTM(5, return_sequences=True,
                                     dropout=.2, recurrent_dropout=.2), GRU(4), Dropout(.5),
                                     Dense(5, activation='softmax', kernel_regularizer='l2',
                                           kernel_constraint='maxnorm', activity_regularizer='l1')]))


@pytest.mark.parametrize('optimizer', [
    'sgd', 'adam', 'rmsprop', 'adagrad', 'adadelta', 'adamax', 'nadam',
    lambda: optimizers.SGD(momentum=.9, nesterov=True, clipnorm=.1, clipvalue=.05, decay=.01),
    lambda: optimizers.Adam(amsgrad=True), lambda: lambda params: torch.optim.SGD(params, .1)])
@pytest.mark.parametrize('build', [network, text])
def test_steps_wait_for_nothing(build, optimizer, device, without_waiting):
    model = build()
    model.compile(optimizer() if callable(optimizer) else optimizer, 'categorical_crossentropy', metrics=['acc'])
    x = X if build is network else np.random.RandomState(0).randint(0, 20, (12, 7))
    steps = Steps(without_waiting)
    history = model.fit(x, Y, 4, epochs=2, callbacks=[steps], verbose=0)
    assert steps.count == 6 and np.isfinite(history.history['loss']).all()


def test_steps_in_bfloat16_wait_for_nothing(device, without_waiting):
    model = network()
    model.compile('adam', 'categorical_crossentropy', mixed_precision='bfloat16')
    model.fit(X, Y, 4, epochs=2, callbacks=[Steps(without_waiting)], verbose=0)


def test_data_on_the_device_is_waited_for_by_nothing(device, without_waiting):
    model = network()
    model.compile('adam', 'categorical_crossentropy')
    x, y = (torch.from_numpy(a).to(device) if device.type == 'cuda' else torch.from_numpy(a) for a in (X, Y))
    model.fit(x, y, 4, epochs=2, verbose=0)
    feed = model._feed(model.train_function, [x], [y], [np.ones(12)], samples=12, batch_size=4, shuffle=True)
    feed.take(0)
    with without_waiting():
        assert [feed.run(feed.take(i)[1])[0].ndim for i in (0, 1, 2, 0, 1, 2)] == [0] * 6


# ---------------------------------------------------------------- torch.compile and CUDA graphs

@pytest.fixture
def compiling(device, monkeypatch):
    """Where there is no GPU, torch is not asked: tests/engine/test_ways.py has it compile for the CPU."""
    if device.type != 'cuda':
        monkeypatch.setattr(torch, 'compile', lambda module, mode: module)


def small():
    return filled(models.Sequential([Dense(6, activation='relu', input_shape=(8,)), BatchNormalization(), Dropout(.5),
                                     Dense(5, activation='softmax')]))


@pytest.mark.filterwarnings('ignore')  # what torch's compiler says of itself
@pytest.mark.parametrize('batch', [4, 5])
@pytest.mark.parametrize('build', [network, small])
def test_steps_of_cuda_graphs_give_the_same_numbers(build, batch, device, compiling):
    """A smaller last batch, too, and where graphs end at what torch does not compile."""
    x, found = X if build is network else X[:, 0, 0].repeat(3, 1)[:, :8], []
    for compiled in (False, True):
        np.random.seed(0)
        model = build()
        model.compile(optimizers.SGD(.1), 'categorical_crossentropy', metrics=['acc'], jit_compile=compiled)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            history = model.fit(x, Y, batch, epochs=4, verbose=0).history
        found.append([*history.values(), *model.get_weights()])
    assert not [str(w.message) for w in caught if 'goes on without' in str(w.message)]
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings('ignore')
def test_small_steps_are_cuda_graphs(device, compiling):
    if device.type == 'cuda':
        from torch._dynamo.utils import counters
        from torch._inductor import cudagraph_trees
        counters.clear()
    model = models.Sequential([Dense(6, activation='relu', input_shape=(8,)), Dense(5)])
    model.compile('adam', 'mse', jit_compile=True)
    model.fit(numbers(12, 8), Y, 4, epochs=3, verbose=0)
    if device.type == 'cuda':
        assert cudagraph_trees.get_container(device.index).tree_manager.roots
        assert not counters['inductor']['cudagraph_skips']


@pytest.mark.filterwarnings('ignore')
def test_steps_of_cuda_graphs_wait_for_nothing(device, compiling, without_waiting):
    model = models.Sequential([Dense(6, activation='relu', input_shape=(8,)), Dense(5)])
    model.compile('adam', 'mse', metrics=['mae'], jit_compile=True)
    steps = Steps(without_waiting, first=7)
    model.fit(numbers(12, 8), Y, 4, epochs=4, callbacks=[steps], verbose=0)
    assert steps.count == 12


# ---------------------------------------------------------------- memory

def test_memory_is_given_back(device):
    def run():
        model = network()
        model.compile('adam', 'categorical_crossentropy')
        model.fit(X, Y, verbose=0)
        model.predict(X)
        return weakref.ref(model), weakref.ref(model.layers[0]._params)

    def left():
        gc.collect()
        return torch.cuda.memory_allocated() if device.type == 'cuda' else 0
    run()
    before = left()
    refs = [ref for _ in range(3) for ref in run()]
    assert left() == before and all(ref() is None for ref in refs)
