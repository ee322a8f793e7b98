"""What `predict` and `evaluate` compute in fewer passes: the numbers of layer by layer, of the weights of now."""
import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from kfacade import backend as K
from kfacade import layers as L
from kfacade.callbacks import LambdaCallback
from kfacade.engine import functions
from kfacade.models import Model, Sequential

CONV = dict(padding='same', use_bias=True)


def ops(function):
    """How often each op of torch runs in a call."""
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
        function()
    return {event.key: event.count for event in found.key_averages()}


def with_odd_averages(model, spread=1.):
    """`model` with normalizations as training leaves them, or further from the usual."""
    random = np.random.RandomState(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            n = layer.get_weights()[0].size
            for variable, values in (('gamma', random.randn(n)), ('beta', random.randn(n)), (
                    'moving_mean', random.randn(n)), ('moving_variance', 10. ** random.uniform(-spread, spread, n))):
                if getattr(layer, variable) is not None:
                    K.set_value(getattr(layer, variable), values)
    return model


def layer_by_layer(model, x, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(functions, 'fuse', lambda graph: None)
        model.predict_function = None
        y = model.predict(x)
    model.predict_function = None
    return y


STACKS = {
    'Conv2D': ((40, 40, 3), [L.Conv2D(8, 3, **CONV), L.BatchNormalization(), L.Activation('relu')]),
    'no bias': ((40, 40, 3), [L.Conv2D(8, 3, use_bias=False, strides=2), L.BatchNormalization(), L.Activation('relu')]),
    '1x1': ((40, 40, 16), [L.Conv2D(8, 1, use_bias=False), L.BatchNormalization(scale=False), L.Activation('tanh')]),
    'channels first': ((3, 20, 20), [L.Conv2D(8, 3, data_format='channels_first'), L.BatchNormalization(axis=1)]),
    'Depthwise': ((40, 40, 3), [L.DepthwiseConv2D(3, depth_multiplier=2), L.BatchNormalization(center=False),
                                L.Activation('relu')]),
    'Separable': ((40, 40, 3), [L.SeparableConv2D(8, 3), L.BatchNormalization(), L.Activation('sigmoid')]),
    'Conv1D': ((200, 3), [L.Conv1D(8, 3, padding='causal'), L.BatchNormalization(), L.Activation('relu')]),
    'Conv3D': ((9, 9, 9, 2), [L.Conv3D(4, 3), L.BatchNormalization(), L.Activation('relu')]),
    'Dense': ((5,), [L.Dense(4), L.BatchNormalization(scale=False, center=False), L.Activation('relu')]),
}


@pytest.mark.parametrize('name', STACKS)
@pytest.mark.parametrize('samples', [1, 9])
def test_normalization_goes_into_the_weights(name, samples, monkeypatch):
    shape, stack = STACKS[name]
    model = with_odd_averages(Sequential([L.InputLayer(shape), *(type(x).from_config(x.get_config()) for x in stack)]))
    x = np.random.RandomState(1).randn(samples, *shape)
    expected = layer_by_layer(model, x, monkeypatch)
    np.testing.assert_allclose(model.predict(x, batch_size=4), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-5, atol=1e-5)
    x = np.tile(x, (5,) + (1,) * len(shape))
    assert 'aten::batch_norm' not in ops(lambda: model.predict(x, batch_size=len(x)))


@pytest.mark.parametrize('last', [L.BatchNormalization(axis=1), L.BatchNormalization(axis=2)])
def test_normalization_of_another_axis_stays(last, monkeypatch):
    model = with_odd_averages(Sequential([L.Conv2D(6, 3, input_shape=(9, 8, 3)), last]))
    x = np.random.RandomState(1).randn(4, 9, 8, 3)
    np.testing.assert_allclose(model.predict(x), layer_by_layer(model, x, monkeypatch), rtol=1e-6, atol=1e-6)
    assert ops(lambda: model.predict(x))['aten::batch_norm'] == 1


def test_layers_whose_outputs_are_used_twice_stay(monkeypatch):
    x = L.Input((12, 12, 3))
    conv = L.Conv2D(4, 3)(x)
    norm = L.BatchNormalization()(conv)
    total = L.Add()([norm, conv])
    model = with_odd_averages(Model(x, [conv, L.Activation('relu')(norm), L.Activation('relu')(total), total]))
    data = np.random.RandomState(1).randn(4, 12, 12, 3)
    for found, expected in zip(model.predict(data), layer_by_layer(model, data, monkeypatch)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_relu_works_in_place_only_on_what_is_nobody_elses(monkeypatch):
    x = L.Input((12, 12, 3))
    first = L.Activation('relu')(x)
    added = L.Activation('relu')(L.Add()([first, L.Conv2D(3, 3, padding='same')(first)]))
    kept = L.Activation('relu')(L.Dropout(.5)(x))
    model = with_odd_averages(Model(x, [added, L.Activation('relu')(L.BatchNormalization()(added)), kept]))
    data = np.random.RandomState(1).randn(4, 12, 12, 3).astype('float32')
    before = data.copy()
    for found, expected in zip(model.predict(data), layer_by_layer(model, data, monkeypatch)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(data, before)
    found = ops(lambda: model.predict(data))
    assert (found['aten::relu_'], found['aten::relu']) == (2, 2)


@pytest.mark.parametrize('make, op', [
    (L.ReLU, 'relu'), (lambda: L.ReLU(6.), 'hardtanh'), (lambda: L.LeakyReLU(.2), 'leaky_relu'), (L.ELU, 'elu')])
def test_layers_of_an_activation_work_in_place_only_on_what_is_nobody_elses(make, op, monkeypatch):
    x = L.Input((12, 12, 3))
    first = make()(x)
    conv = L.Conv2D(4, 3, padding='same', name='seen')(first)
    y = make()(L.BatchNormalization()(L.Conv2D(4, 3)(make()(L.Conv2D(4, 3)(conv)))))
    model = with_odd_averages(Model(x, [conv, make()(conv), y, L.ReLU(5.)(L.Conv2D(2, 3)(first))]))
    data = 9 * np.random.RandomState(1).randn(4, 12, 12, 3).astype('float32')
    before = data.copy()
    for found, expected in zip(model.predict(data), layer_by_layer(model, data, monkeypatch)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert np.array_equal(data, before)
    assert ops(lambda: model.predict(data))[f'aten::{op}_'] == 2


@pytest.mark.parametrize('after', [lambda: L.Activation('relu'), L.LeakyReLU])
def test_what_an_activation_of_the_users_gives_is_not_written_over(after):
    x, other = L.Input((3,)), L.Input((2,))
    model = Model([x, other], after()(L.Dense(2, activation=lambda y: other)(x)))
    data = -np.ones((4, 2), 'float32')
    first = model.predict([np.ones((4, 3)), data])
    np.testing.assert_array_equal(data, -1.)
    np.testing.assert_array_equal(model.predict([np.ones((4, 3)), data]), first)


def test_a_weight_may_be_the_output():
    class Held(L.Layer):
        def build(self, shape):
            self.row = self.add_weight(name='row', shape=(1, 2), initializer='ones')

        def call(self, inputs):
            return self.row
    x = L.Input(batch_shape=(1, 3))
    model = Model(x, Held()(x))
    y = model.predict(np.zeros((1, 3)))
    model.set_weights([[[3., 4.]]])
    np.testing.assert_array_equal(y, [[1., 1.]])
    np.testing.assert_array_equal(model.predict_on_batch(np.zeros((1, 3))), [[3., 4.]])


def test_batch_statistics_asked_for_in_test_stay():
    x = L.Input((6, 6, 3))
    model = Model(x, L.BatchNormalization()(L.Conv2D(2, 1)(x), training=True))
    y = model.predict(np.random.RandomState(0).randn(8, 6, 6, 3))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)


@pytest.mark.parametrize('spread', [1, 4, 12])
def test_as_exact_as_layer_by_layer_at_any_scale(spread, monkeypatch):
    """The errors of both ways, against float64, in units of the largest output of each channel."""
    model = with_odd_averages(Sequential([L.Conv2D(16, 3, input_shape=(24, 24, 8)), L.BatchNormalization()]), spread)
    conv, norm = model.layers
    K.set_value(norm.gamma, np.r_[0., 1e-30, 1e4, K.get_value(norm.gamma)[3:]])
    x = np.random.RandomState(1).randn(8, 24, 24, 8).astype('float32')
    apart = layer_by_layer(model, x, monkeypatch)
    together = model.predict(x)
    exact = model.double().predict(x)
    size = np.abs(exact).max((0, 1, 2)) + 1e-30
    errors = [np.abs((y - exact) / size).max() for y in (together, apart)]
    assert errors[0] < max(2 * errors[1], 1e-6) < 1e-4


def small_convnet():
    np.random.seed(0)
    model = with_odd_averages(Sequential([
        L.Conv2D(4, 3, input_shape=(10, 10, 3)), L.BatchNormalization(), L.Activation('relu'),
        L.GlobalAveragePooling2D(), L.Dense(1)]))
    model.compile('sgd', 'mse')
    return model


def _set_weights(model):
    model.set_weights([w + .1 for w in model.get_weights()])


def _train(model):
    model.fit(np.random.RandomState(2).randn(8, 10, 10, 3), np.ones(8), verbose=0)


def _write_data(model):
    model.layers[0]._params.kernel.data.mul_(1.5)


def _write_average(model):
    model.layers[1].moving_variance.param.data.add_(1.)
    model.layers[1].moving_mean.param.add_(1.)


def _other_parameter(model):
    params = model.layers[1]._params
    params.gamma = torch.nn.Parameter(params.gamma.detach() * 2)


CHANGES = [_set_weights, _train, _write_data, _write_average, _other_parameter]


@pytest.mark.parametrize('change', CHANGES)
def test_weights_are_those_of_now(change, monkeypatch):
    model = small_convnet()
    x = np.random.RandomState(1).randn(8, 10, 10, 3)
    calls = [lambda: model.predict(x, batch_size=3), lambda: model.predict_on_batch(x),
             lambda: model.predict_function([x])[0], lambda: model.predict_generator(iter([x]), 1)]
    before = [call() for call in calls]
    score = model.evaluate(x, np.ones(8), verbose=0)
    change(model)
    after = [call() for call in calls]
    expected = layer_by_layer(model, x, monkeypatch)
    assert all(np.abs(y - expected).max() > 1e-3 for y in before)
    for y in after:
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    now = model.evaluate(x, np.ones(8), verbose=0)
    assert abs(now - score) > 1e-3
    np.testing.assert_allclose(now, np.square(1 - expected).mean(), rtol=1e-5)


def test_validation_sees_the_weights_of_its_epoch():
    model = small_convnet()
    x, y = np.random.RandomState(1).randn(8, 10, 10, 3), np.ones(8)
    scores = []
    seen = LambdaCallback(on_epoch_end=lambda epoch, logs: scores.append(model.evaluate(x, y, verbose=0)))
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y), callbacks=[seen]).history
    np.testing.assert_allclose(history['val_loss'], scores, rtol=1e-6)
    assert len(set(scores)) == 3


def test_nothing_scaled_is_kept():
    model = small_convnet()
    model.predict(np.zeros((8, 10, 10, 3)))
    made = []
    scale = L.BatchNormalization._scaled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(L.BatchNormalization, '_scaled', lambda *args: made.append(1) or scale(*args))
        model.predict(np.zeros((64, 10, 10, 3)), batch_size=8)
        assert len(made) == 1
        model.predict(np.zeros((8, 10, 10, 3)))
        assert len(made) == 2


@pytest.mark.parametrize('index', [0, 1, 2])
def test_hooks_see_what_their_layer_gives(index, monkeypatch):
    model = small_convnet()
    x = np.random.RandomState(1).randn(8, 10, 10, 3)
    expected, inner = model.predict(x), Model(model.inputs, model.layers[index].output)
    wanted = layer_by_layer(inner, x, monkeypatch)
    seen = []
    handle = model.layers[index].register_forward_hook(lambda layer, given, y: seen.append(y))
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(seen[0].numpy(), wanted, rtol=1e-5, atol=1e-5)
    handle.remove()
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-5)
    assert len(seen) == 1
    assert 'aten::batch_norm' not in ops(lambda: model.predict(x))


def test_hooks_for_all_modules_see_every_layer():
    model, seen = small_convnet(), []
    x = np.random.RandomState(1).randn(8, 10, 10, 3)
    expected = model.predict(x)
    handle = torch.nn.modules.module.register_module_forward_hook(lambda layer, given, y: seen.append(layer))
    try:
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-5)
    finally:
        handle.remove()
    assert set(model.layers) <= set(seen)


def test_other_types_and_places():
    model = small_convnet()
    x = np.random.RandomState(1).randn(8, 10, 10, 3)
    expected = model.predict(x)
    found = model.double().predict(x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        np.testing.assert_allclose(model.float().predict(x), expected, rtol=1e-5, atol=1e-5)


def test_a_failing_layer_is_named():
    x = L.Input((None, None, 3))
    model = Model(x, L.BatchNormalization()(L.Conv2D(2, 5, name='wide')(x)))
    with pytest.raises(RuntimeError, match='Raised in layer .*batch_normalization.*shapes'):
        model.predict(np.zeros((2, 1, 1, 3)))


def test_layers_may_have_the_name_self():
    x = L.Input((3,), name='self')
    y = L.Dense(2, name='next')(L.Dense(2, name='self_')(x))
    model, other = Model(x, y), Sequential([L.Dense(2, name='self', input_shape=(3,)), L.Dense(2)])
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(other.predict(np.eye(3)), model.predict(np.eye(3)), rtol=1e-6)


# ---------------------------------------------------------------- small batches together

def sizes_of_batches(model, *data, **options):
    """How many samples each run of the graph of `predict` has."""
    found, step = [], functions.StepFunction.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functions.StepFunction, 'step', lambda self, tensors, *args, **kwargs: found.append(
            len(tensors[0])) or step(self, tensors, *args, **kwargs))
        y = model.predict(*data, **options)
    return found, y


def _of(*stack):
    return Sequential([L.InputLayer((6,)), *stack])


TOGETHER = {
    'dense': lambda: _of(L.Dense(4, activation='relu'), L.Dropout(.5), L.BatchNormalization(), L.Dense(2)),
    'recurrent': lambda: _of(L.Reshape((3, 2)), L.LSTM(4, dropout=.5, return_sequences=True), L.GRU(3)),
    'convolutions': lambda: _of(L.Reshape((3, 2, 1)), L.Conv2D(4, 2, padding='same'), L.MaxPooling2D(), L.Flatten()),
    'words': lambda: _of(L.Embedding(9, 3), L.SpatialDropout1D(.5), L.GlobalAveragePooling1D(), L.Softmax()),
    'concatenated': lambda: _two_inputs(L.Concatenate()),
}
APART = {
    'a Lambda': lambda: _of(L.Dense(3), L.Lambda(lambda x: x - K.mean(x, 0))),
    'own activation': lambda: _of(L.Dense(3, activation=lambda x: x - K.mean(x, 0))),
    'statistics of the batch': lambda: _with_statistics(),
    'along the batch': lambda: _two_inputs(L.Concatenate(axis=0)),
    'fixed batch': lambda: Sequential([L.Dense(3, batch_input_shape=(8, 6))]),
    'stateful': lambda: Sequential([L.LSTM(3, stateful=True, batch_input_shape=(8, 6, 1))]),
    'open length': lambda: Sequential([L.LSTM(3, input_shape=(None, 1))]),
    'large': lambda: _of(L.Dense(200000)),
}


def _two_inputs(merge):
    x = L.Input((6,))
    return Model(x, merge([L.Dense(3)(x), L.Dense(3)(x)]))


def _with_statistics():
    x = L.Input((6,))
    return Model(x, L.BatchNormalization()(x, training=True))


@pytest.mark.parametrize('name', TOGETHER)
def test_small_batches_are_computed_together(name):
    model = with_odd_averages(TOGETHER[name]())
    x = np.random.RandomState(1).randint(0, 9, (600, 6))
    found, y = sizes_of_batches(model, x, batch_size=5)
    assert found == [255, 255, 90] and y.shape[0] == 600
    parts = [model.predict_on_batch(x[i:i + 5]) for i in range(0, 600, 5)]
    np.testing.assert_allclose(y, np.concatenate(parts), rtol=1e-5, atol=1e-5)
    assert sizes_of_batches(model, x, batch_size=200)[0] == [200] * 3
    assert sizes_of_batches(model, x[:10], batch_size=5, verbose=1)[0] == [5, 5]
    with_hook = model.layers[-1].register_forward_hook(lambda *args: None)
    assert sizes_of_batches(model, x[:10], batch_size=5)[0] == [5, 5]
    with_hook.remove()
    assert sizes_of_batches(model, x[:10], batch_size=5)[0] == [10]


@pytest.mark.parametrize('name', APART)
def test_batches_stay_where_something_could_tell(name):
    model = APART[name]()
    x = np.random.RandomState(1).randn(32, *(size or 6 for size in model.input_shape[1:]))
    if name == 'along the batch':
        with pytest.raises(ValueError):  # twice as many rows as samples
            sizes_of_batches(model, x, batch_size=8)
        return
    assert sizes_of_batches(model, x, batch_size=8)[0] == [8] * 4


def test_the_users_own_layer_keeps_its_batches():
    class Mine(L.Dense):
        pass
    assert sizes_of_batches(_of(Mine(2)), np.zeros((32, 6)), batch_size=8)[0] == [8] * 4


def test_layers_that_act_in_training_alone_are_not_called():
    x = L.Input((4,))
    model = Model(x, L.Dropout(.5)(L.GaussianNoise(1.)(L.Dense(3)(x)), training=True))
    data, called = np.ones((32, 4)), []
    dropped, kept = (sum((model.predict(data) == 0).ravel()) for model in (model, Model(x, model.layers[2].output)))
    assert 25 < dropped < 75 and kept == 0
    assert called_directly(model) == [model.layers[1], model.layers[3]]
    handle = model.layers[2].register_forward_hook(lambda *args: called.append(1))
    model.predict(data)
    handle.remove()
    model.predict(data)
    assert called == [1]


# ---------------------------------------------------------------- what comes between the call and the computation

def called_directly(model):
    """The layers whose body the graph of `predict` calls, rather than the layer as a module."""
    return [node.target.__self__ for node in model.predict_function.tensor_graph(True).module.graph.nodes
            if hasattr(node.target, '__self__')]


def test_layers_are_called_without_a_modules_call(monkeypatch):
    class Mine(L.Dense):
        pass
    np.random.seed(1)  # or few of the units might be positive
    model = _of(L.Dense(4, activation='relu'), Mine(3), L.Dense(2), L.Dense(2, activation='softmax'))
    _, _, hooked, patched = model.layers
    handle = hooked.register_forward_pre_hook(lambda layer, given: (given[0] + 1,))
    x = np.random.RandomState(1).randn(4, 6).astype('float32')
    expected = layer_by_layer(model, x, monkeypatch)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5)
    assert called_directly(model) == [model.layers[0], patched]
    handle.remove()
    assert np.abs(model.predict(x) - expected).max() > 1e-3
    assert called_directly(model) == [model.layers[0], hooked, patched]
    with monkeypatch.context() as patch:
        patch.setattr(patched, 'forward', lambda x, activation: x * 0 + 7)  # as tools of torch wrap it
        assert (model.predict(x) == 7).all()
    assert (model.predict(x) != 7).all()


def test_layers_are_told_the_phase_and_their_states(monkeypatch):
    x = L.Input((3, 2))
    y, *states = L.GRU(2, return_state=True, return_sequences=True, dropout=.5)(L.BatchNormalization()(x))
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(L.GRU(2, return_sequences=True)(y, initial_state=states))
    model = with_odd_averages(Model(x, L.TimeDistributed(L.BatchNormalization())(y)))
    data = np.random.RandomState(1).randn(4, 3, 2)
    np.testing.assert_allclose(model.predict(data), layer_by_layer(model, data, monkeypatch), rtol=1e-5)


@pytest.fixture
def checked(monkeypatch):
    """The inputs that were standardized."""
    found, standardize = [], Model._standardize_user_data
    monkeypatch.setattr(Model, '_standardize_user_data',
                        lambda self, x, *args, **kwargs: found.append(x) or standardize(self, x, *args, **kwargs))
    return found


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


READY = np.random.RandomState(1).randn(5, 6).astype('float32')
OTHERWISE = {
    'float64': READY.astype('float64'), 'columns': np.asfortranarray(READY), 'backwards': READY[::-1].copy()[::-1],
    'read-only': _read_only(READY), 'big-endian': READY.astype('>f4'), 'in a list': [READY],
    'tensor': torch.from_numpy(READY), 'subclass': READY.view(np.matrix), 'by name': {'input_of_six': READY}}


def _of_six():
    return Sequential([L.InputLayer((6,), name='input_of_six'), L.Dense(4, activation='relu'), L.Dropout(.5),
                       L.BatchNormalization(), L.Dense(2)])


@pytest.mark.parametrize('name', OTHERWISE)
def test_arrays_like_those_before_are_not_checked_again(name, checked):
    model = with_odd_averages(_of_six())
    expected = model.predict([READY])
    for call in (model.predict, model.predict_on_batch):
        call(READY)
        checked.clear()
        np.testing.assert_array_equal(call(READY), expected)
        assert not checked
        np.testing.assert_array_equal(call(OTHERWISE[name]), expected)
        assert len(checked) == (type(OTHERWISE[name]) is not np.ndarray)


@pytest.mark.parametrize('call', ['predict', 'predict_on_batch'])
def test_the_shorter_way_is_that_of_the_model_as_it_is_now(call, checked):
    model = with_odd_averages(_of_six())
    call = getattr(model, call)
    before = call(READY)
    model.set_weights([w + .1 for w in model.get_weights()])
    assert np.abs(call(READY) - before).min() > 1e-3
    assert call(READY.astype('float64')).dtype == np.float32
    found = model.double()
    after, found = model.predict([READY.astype('float64')]), call(READY)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, after, rtol=1e-12)
    model.float()
    checked.clear()
    assert call(READY).dtype == np.float32 and not checked
    for wrong in (READY[:, :5].copy(), READY[None], READY[0]):
        with pytest.raises(ValueError, match='expected input_of_six to have'):
            call(wrong)
    with pytest.raises(ValueError, match='input_of_six:0 must be numbers'):
        call(READY.astype(str).astype(object) + 'x')
    model.predict_function = lambda inputs: [np.full((5, 2), 3.)]
    assert (call(READY) == 3).all()
    model.predict_function = None
    with K.device_scope(None):
        assert call(READY[:0]).shape == (0, 2)


def test_larger_arrays_are_cut_and_a_bar_is_shown(checked, capsys):
    model = _of_six()
    model.predict(READY)
    checked.clear()
    assert model.predict(np.zeros((33, 6), 'float32')).shape == (33, 2) and len(checked) == 1
    model.predict(READY, verbose=1)
    assert '5/5' in capsys.readouterr().out
    assert model.predict(READY, batch_size=2).shape == (5, 2) and len(checked) == 3


def test_what_predict_gives_is_not_the_input():
    x = L.Input((6,))
    model = Model(x, [L.Dropout(.5)(x), L.Reshape((2, 3))(x)])
    for predict in (model.predict, model.predict, model.predict_on_batch, lambda x: K.function(
            model.inputs, model.outputs + model.inputs)([x])):
        data = READY.copy()
        for y in predict(data):
            y[:] = 0
        np.testing.assert_array_equal(data, READY)
