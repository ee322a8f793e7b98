"""Models on devices: where their parts lie, what follows a move, and numbers that are those of one device."""
import concurrent.futures
import copy
import warnings

import goldens_harness
import numpy as np
import pytest
import torch

import kfacade
from kfacade import backend as K
from kfacade import layers, models, optimizers
from kfacade.backend import devices
from kfacade.layers import GRU, LSTM, BatchNormalization, Dense, Dropout, Input, Lambda

CPU = torch.device('cpu')


@pytest.fixture
def four_devices(monkeypatch):
    monkeypatch.delenv('KERAS_DEVICE', raising=False)
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '4')


def where(*tensors):
    """The names of the devices on which tensors, or the values of Variables, lie."""
    names = {device: name for name, device in devices.available_devices().items()}
    return [names[devices.device_of(getattr(x, 'param', x))] for x in tensors]


def numbers(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype('float32')


def trained(build, data, targets, optimizer='adam', steps=3, scopes=True):
    """Losses, predictions and weights of a model, which `build(scope)` gives, trained with or without its scopes."""
    K.clear_session()
    np.random.seed(1)
    model = build(kfacade.device_scope if scopes else lambda name: kfacade.device_scope(None))
    model.set_weights([numbers(*w.shape, seed=i) / 3 for i, w in enumerate(model.get_weights())])
    model.compile(optimizer() if callable(optimizer) else optimizer, 'mse', metrics=['mae'])
    losses = [model.train_on_batch(data, targets) for _ in range(steps)]
    count = len(targets)
    return model, [losses, model.evaluate(data, targets, count, 0), model.predict(data, count), *model.get_weights()]


def assert_same(found, wanted, rtol=1e-5):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


# ---------------------------------------------------------------- scopes

def branches(scope):
    """Two branches of the FAQ's kind: one LSTM on two devices, and layers that were made on theirs."""
    a, b, shared = Input((5, 3)), Input((5, 3)), LSTM(4)
    with scope('/gpu:0'):
        left = shared(a)
    with scope('/device:GPU:1'):
        right = Dense(3, kernel_regularizer='l2', kernel_constraint='maxnorm')(shared(b))
    with scope('/gpu:3'):
        right = Lambda(lambda x: x * K.constant([1., 2., 3.]) + np.ones(3))(BatchNormalization()(right))
    with scope('/cpu:0'):
        merged = layers.concatenate([left, right], axis=-1)
    return models.Model([a, b], Dense(2)(merged))


class Own(optimizers.Adam):
    """Takes the symbolic way of training, as optimizers of users do."""

    def get_updates(self, loss, params):
        return super().get_updates(loss, params)


@pytest.mark.parametrize('optimizer', [
    'adam', lambda: Own(clipnorm=.5), lambda: optimizers.SGD(momentum=.9, clipnorm=.3),
    lambda: optimizers.TorchOptimizer(lambda params: torch.optim.AdamW(params, lr=.01))],
    ids=['adam', 'own', 'sgd', 'torch'])
def test_scopes_change_no_number(four_devices, optimizer):
    data, targets = [numbers(8, 5, 3, seed=i) for i in (1, 2)], numbers(8, 2, seed=3)
    model, found = trained(branches, data, targets, optimizer)
    _, wanted = trained(branches, data, targets, optimizer, scopes=False)
    assert_same(found, wanted)
    assert where(*model.weights) == [*['/gpu:0'] * 3, '/gpu:1', '/gpu:1', '/gpu:3', '/gpu:3', '/gpu:0', '/gpu:0',
                                     '/gpu:3', '/gpu:3']


def test_a_layer_keeps_its_weights_where_it_was_first_called(four_devices):
    dense, x = Dense(2), Input((3,))
    with kfacade.device_scope('/gpu:2'):
        dense(x)
    y = dense(x)
    with kfacade.device_scope('/gpu:1'):
        y = dense(layers.Dense(3)(y))
    assert where(*dense.weights) == ['/gpu:2'] * 2 and y._on == torch.device('cpu', 1)
    assert where(*models.Model(x, y).layers[2].weights) == ['/gpu:1'] * 2


def test_gradients_of_a_shared_layer_are_one(four_devices):
    a, b, shared = Input((2,)), Input((2,)), Dense(1, use_bias=False)
    with kfacade.device_scope('/gpu:2'):
        one = shared(a)
    with kfacade.device_scope('/gpu:3'):
        other = shared(b)
    gradient = K.gradients(K.sum(one) + 2 * K.sum(other), [shared.kernel, a])
    found = K.function([a, b], gradient)([[[1., 2.]], [[3., 4.]]])
    np.testing.assert_array_equal(found[0], [[7.], [10.]])
    np.testing.assert_array_equal(found[1], K.get_value(shared.kernel).T)
    assert where(shared.kernel) == ['/gpu:2']


def recurrent(scope):
    x = Input(batch_shape=(4, 5, 3))
    with scope('/gpu:1'):
        y = GRU(3, stateful=True, return_sequences=True)(layers.Masking()(x))
        y = layers.TimeDistributed(Dense(2, activation='relu'))(y)
    with scope('/gpu:2'):
        y = layers.Bidirectional(layers.SimpleRNN(2, recurrent_dropout=0., unroll=True))(y)
    return models.Model(x, y)


class Scaled(Dense):
    """Calls what it inherits: a function of the layer, not the layer itself, is recorded."""

    def call(self, inputs):
        return super().call(inputs) * K.sum(self.kernel)


def written_by_users(scope):
    x = Input((3,))
    with scope('/gpu:1'):
        y = Scaled(4, activation=lambda x: x * K.constant(2.) + K.mean(x))(x)
        y = layers.Reshape((2, 2))(y)
        y = Lambda(lambda x: K.map_fn(lambda row: row * K.constant([1., 2.]) + K.sum(row), x))(y)
    with scope('/gpu:3'):
        y = layers.Reshape((4,))(y)
        y = Lambda(lambda x: K.concatenate([x, K.ones_like(x) * K.cast(K.shape(x)[1], 'float32')]))(y)
    return models.Model(x, Scaled(2)(y))


@pytest.mark.parametrize('build, shape, units', [(recurrent, (4, 5, 3), 4), (written_by_users, (4, 3), 2)])
def test_other_layers_in_scopes(four_devices, build, shape, units):
    (_, found), (_, wanted) = (trained(build, numbers(*shape, seed=1), numbers(4, units, seed=2), scopes=scopes)
                               for scopes in (True, False))
    assert_same(found, wanted)


def test_states_and_random_streams_lie_with_their_layer(four_devices):
    with kfacade.device_scope('/gpu:2'):
        rnn = LSTM(3, stateful=True, batch_input_shape=(2, 4, 3))
        model = models.Sequential([rnn, Dropout(.5)])
    with kfacade.device_scope('/gpu:1'):
        model.add(Dropout(.5, seed=3))
    model.compile('sgd', 'mse')
    before = model.predict(numbers(2, 4, 3), batch_size=2)
    model.train_on_batch(numbers(2, 4, 3), numbers(2, 3))
    assert where(*rnn.states) == ['/gpu:2'] * 2 and not np.array_equal(K.get_value(rnn.states[0]), before * 0)


def test_slots_and_metrics_lie_with_the_weights(four_devices):
    with kfacade.device_scope('/gpu:2'):
        model = models.Sequential([Dense(2, input_shape=(3,))])
    model.add(Dense(1))
    model.compile(Own(), 'mse', metrics=[Hits()])
    model.train_on_batch(numbers(4, 3), numbers(4, 1))
    assert where(*model.optimizer.weights[1:5]) == ['/gpu:2', '/gpu:2', '/gpu:0', '/gpu:0']
    assert where(model.stateful_metric_functions[0].hits) == ['/gpu:0']


class Hits(layers.Layer):
    """Counts positive predictions, over the batches of an epoch."""

    def __init__(self):
        super().__init__(name='hits')
        self.stateful, self.hits = True, K.variable(0, 'int32')

    def reset_states(self):
        K.set_value(self.hits, 0)

    def __call__(self, y_true, y_pred):
        hits = K.sum(K.cast(y_pred > 0, 'int32'))
        self.add_update(K.update_add(self.hits, hits), inputs=[y_true, y_pred])
        return self.hits + hits


def test_a_model_on_the_cpu_by_scope_is_trained_there(four_devices):
    with kfacade.device_scope('/cpu:0'):
        model = models.Sequential([Dense(2, input_shape=(3,))])
        model.compile('sgd', 'mse')
    model.fit(numbers(8, 3), numbers(8, 2), verbose=0)
    assert where(*model.weights) == ['/cpu:0'] * 2 and where(model(torch.ones(1, 3))) == ['/cpu:0']


def test_files_and_copies_hold_no_devices(four_devices, tmp_path):
    data = [numbers(8, 5, 3, seed=i) for i in (1, 2)]
    model, _ = trained(branches, data, numbers(8, 2, seed=3))
    model.save(tmp_path / 'model.h5')
    model.save_weights(tmp_path / 'weights.pt')
    wanted, options = model.predict(data), {'custom_objects': {'lambda_1': lambda x: x * K.constant([1., 2., 3.]) + 1}}
    loaded = models.load_model(tmp_path / 'model.h5', **options)
    assert set(where(*loaded.weights)) == {'/gpu:0'}
    for one in (loaded, copy.deepcopy(model)):
        np.testing.assert_allclose(one.predict(data), wanted, rtol=1e-5)
    for w in model.weights:
        K.set_value(w, np.zeros(w.shape))
    model.load_weights(tmp_path / 'weights.pt')
    np.testing.assert_allclose(model.predict(data), wanted, rtol=1e-5)
    assert set(where(*model.weights)) == {'/gpu:0', '/gpu:1', '/gpu:3'}


# ---------------------------------------------------------------- data, modules and layers by themselves

def test_data_goes_to_the_weights(four_devices):
    model = models.Sequential([Dense(2, input_shape=(3,))])
    kfacade.set_device('/gpu:2')
    x = torch.ones(1, 3, requires_grad=True)
    y = model(x)
    y.sum().backward()
    assert where(y) == ['/gpu:0'] and x.grad is not None
    f = K.function([model.input], [model.output])
    np.testing.assert_allclose(f([np.ones((1, 3))])[0], model.predict(np.ones((1, 3))), rtol=1e-6)
    np.testing.assert_array_equal(K.function([model.input], [model.input + 1])([np.ones((1, 3))])[0], [[2, 2, 2]])


def test_a_plain_module_goes_where_the_layers_are(four_devices):
    with kfacade.device_scope('/gpu:1'):
        model = models.Sequential([Dense(4, input_shape=(3,)), torch.nn.Linear(4, 2)])
    model.add(torch.nn.BatchNorm1d(2))
    assert where(*model.weights) == [*['/gpu:1'] * 4, *['/gpu:0'] * 5]
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([1., 2.]))
    model.compile('sgd', loss)
    wanted = loss(model(torch.from_numpy(numbers(4, 3))), torch.tensor([0, 1, 1, 0]))
    assert where(loss.weight) == ['/gpu:0']
    found = model.test_on_batch(numbers(4, 3), np.array([0, 1, 1, 0]))
    np.testing.assert_allclose(found, wanted.item(), rtol=1e-6)


def test_a_layer_is_built_where_its_first_input_lies(four_devices):
    dense = Dense(2)
    dense(torch.ones(1, 3))
    there = Dense(2)
    there(devices.put(torch.ones(1, 3), devices.available_devices()['/gpu:3']))
    assert where(*dense.weights, *there.weights) == ['/cpu:0', '/cpu:0', '/gpu:3', '/gpu:3']


def test_sparse_data_and_threads(four_devices):
    scipy_sparse = pytest.importorskip('scipy.sparse')
    model = models.Sequential([Dense(3, input_shape=(4,))])
    x = Input((4,), sparse=True)
    sparse = models.Model(x, model(x))
    wanted = model.predict(np.eye(4))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: sparse.predict(scipy_sparse.eye(4, format='csr')), range(8)):
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


# ---------------------------------------------------------------- moving a model

def compiled(optimizer):
    """A trained model whose loss, metric and layers keep variables and constants of their own."""
    scale, model = K.variable(2.), models.Sequential([Dense(3, input_shape=(4,)), BatchNormalization(), Dropout(.2)])
    model.add(Lambda(lambda x: x * np.array([1., 2., 3.]) + K.constant([1., 1., 1.])))
    model.compile(optimizer(), lambda t, p: scale * K.mean(K.square(t - p) * np.array([1., 0., 1.])),
                  metrics=[Hits(), 'mae'])
    model.train_on_batch(numbers(4, 4), numbers(4, 3))
    return model, scale


@pytest.mark.parametrize('optimizer', [optimizers.Nadam, Own], ids=['built in', 'own'])
def test_all_of_a_model_follows_a_move(optimizer):
    """To torch's 'meta' device, where nothing can be mixed with what lies on the CPU, nor be waited for."""
    model, scale = compiled(optimizer)
    model.to('meta')
    for kind, data in (('train', (numbers(4, 4), numbers(4, 3))), ('test', (numbers(4, 4), numbers(4, 3))),
                       ('predict', (numbers(4, 4),))):
        assert {x.device.type for x in model._on_batch(kind, *data)} == {'meta'}
    slots = [s.param for s in model.optimizer.weights if isinstance(s, K.Variable)]
    slots += [s for kept in model.optimizer.torch_optimizer.state.values() for s in kept.values()
              if torch.is_tensor(s)] if hasattr(model.optimizer, 'torch_optimizer') else []
    assert slots and {s.device.type for s in [*slots, scale.param]} == {'meta'}
    assert {w.param.device.type for w in model.weights} == {model.stateful_metric_functions[0].hits.param.device.type}


@pytest.mark.parametrize('optimizer', ['adam', Own], ids=['built in', 'own'])
def test_a_model_goes_to_any_device_by_any_name(optimizer, four_devices):
    found = []
    for places in (['/gpu:1', 'cuda:2', torch.device('cuda', 3), 'cpu', '/device:GPU:0'], [None] * 5):
        K.clear_session()
        np.random.seed(0)
        model, scale = compiled(Own if optimizer is Own else optimizers.Adam)
        for place in places:
            if place:
                model.to(place)
                name = devices.find_device(place)[0]
                slots = [slot for slot in model.optimizer.weights if isinstance(slot, K.Variable)]
                assert set(where(scale, *model.weights, *slots)) == {name}
            found.append(model.train_on_batch(numbers(4, 4), numbers(4, 3)))
        model.to('cpu', dtype=torch.float64)
        assert {(w.param.dtype, *where(w)) for w in model.weights} == {(torch.float64, '/cpu:0')}
    np.testing.assert_allclose(found[:5], found[5:], rtol=1e-6)
    with pytest.raises(ValueError, match="There is no device 'cuda:4'. There are: /cpu:0, /gpu:0, .*, /gpu:3"):
        model.to('cuda:4')


def test_there_and_back_changes_no_number():
    found = []
    for device in ('cpu', torch.device('cpu', 1)):
        K.clear_session()
        np.random.seed(0)
        model, _ = compiled(Own)
        for _ in range(3):
            model.to(device)  # the second is a copy each time
            found.append(model.train_on_batch(numbers(4, 4), numbers(4, 3)))
    np.testing.assert_allclose(found[:3], found[3:], rtol=1e-6)


def test_the_state_of_a_torch_optimizer_follows_its_parameters():
    model, scale = compiled(lambda: optimizers.TorchOptimizer(lambda params: torch.optim.SGD(params, .1, momentum=.9)))
    model.double()
    assert np.isfinite(model.train_on_batch(numbers(4, 4), numbers(4, 3))[0])
    assert {s['momentum_buffer'].dtype for s in model.optimizer.torch_optimizer.state.values()} == {torch.float64}
    assert scale.param.dtype == torch.float64


# Where these find their shapes, on the meta device, they compute nothing.
SHAPES_ALONE = 'deconv'
TRAINED = {name: golden for name, golden in goldens_harness.goldens().items()
           if golden.spec.get('compile') and golden.spec.get('steps') and SHAPES_ALONE not in name}


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[] if i % 16 == 0 else pytest.mark.slow) for i, name in enumerate(TRAINED)])
def test_steps_mix_no_devices_and_look_at_no_value(name):
    """Of a golden on torch's meta device, where there are no values to look at: on CUDA, that would be to wait."""
    model, (x, y, *weights) = goldens_harness.compiled(TRAINED[name])
    model.to('meta')
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Found both')  # two kinds of weights, in some of them
        for kind, data in (('train', (x, y, *weights)), ('test', (x, y)), ('predict', (x,))):
            found = [t for t in model._on_batch(kind, *data) if isinstance(t, torch.Tensor)]
            assert found and all(t.is_meta for t in found)
