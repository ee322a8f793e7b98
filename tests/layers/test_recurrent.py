"""Recurrent layers against loops in numpy, written from Keras' formulas."""
import copy
import pickle

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, models
from kfacade.layers import GRU, LSTM, RNN, GRUCell, Input, LSTMCell, Masking, SimpleRNN, SimpleRNNCell
from kfacade.layers import _recurrent_kernels as kernels

BATCH, TIME, FEATURES, UNITS = 3, 5, 4, 2
FUNCTIONS = {
    'tanh': np.tanh, 'sigmoid': lambda x: 1 / (1 + np.exp(-x)), 'hard_sigmoid': lambda x: np.clip(.2 * x + .5, 0, 1),
    'relu': lambda x: np.maximum(x, 0), 'softsign': lambda x: x / (1 + np.abs(x)), 'linear': lambda x: x,
    'elu': lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))}
MASKS = {
    'none': None,
    'right padded': [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]],
    'holes': [[0, 1, 0, 1, 1], [1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]}


class Dropped:
    """Products of each gate with a vector under dropout masks (n, batch, features): one for all gates, or one each."""

    def __init__(self, x, matrix, masks, gates, order):
        self.x, self.matrices = x, np.split(matrix, gates, 1)
        self.masks = np.ones((1, *x.shape)) if masks is None else masks
        self.order = order

    def __getitem__(self, gate):
        return self.x * self.masks[self.order[gate] if len(self.masks) > 1 else 0] @ self.matrices[gate]


def reference_step(layer, weights, x, states, x_masks=None, h_masks=None):
    """One step of a layer, as Keras defines it. Gates: i, f, c, o and z, r, h."""
    act = FUNCTIONS[layer.activation.__name__]
    kernel, recurrent, bias = weights
    h = states[0]
    gates = {SimpleRNN: 1, GRU: 3, LSTM: 4}[type(layer)]
    order = [1, 0, 2] if gates == 3 else [0, 1, 2, 3]  # the masks are drawn in torch's order of the gates
    if gates == 3 and h_masks is not None and len(h_masks) == 1:
        h, h_masks = h * h_masks[0], None
    from_x, from_h = Dropped(x, kernel, x_masks, gates, order), Dropped(h, recurrent, h_masks, gates, order)
    if gates == 1:
        return [act(from_x[0] + from_h[0] + bias)]
    rec = FUNCTIONS[layer.recurrent_activation.__name__]
    if gates == 4:
        i, f, g, o = (from_x[k] + from_h[k] + b for k, b in enumerate(np.split(bias, 4)))
        c = rec(f) * states[1] + rec(i) * act(g)
        return [rec(o) * act(c), c]
    input_bias, recurrent_bias = bias if layer.reset_after else (bias, 0 * bias)
    (a_z, a_r, a_h), (b_z, b_r, b_h) = np.split(input_bias, 3), np.split(recurrent_bias, 3)
    z, r = rec(from_x[0] + a_z + from_h[0] + b_z), rec(from_x[1] + a_r + from_h[1] + b_r)
    if layer.reset_after:
        candidate = act(from_x[2] + a_h + r * (from_h[2] + b_h))
    else:
        candidate = act(from_x[2] + a_h + Dropped(r * h, recurrent, h_masks, 3, order)[2])
    return [z * h + (1 - z) * candidate]


def reference(layer, x, mask=None, states=None, **dropout):
    """Outputs of all steps and the last states."""
    weights = [w.astype('float64') for w in layer.get_weights()]
    states = [np.zeros((len(x), layer.units))] * len(layer.states) if states is None else states
    mask = np.ones(x.shape[:2]) if mask is None else np.array(mask)
    outputs, output = [], np.zeros((len(x), layer.units)) if layer.unroll else states[0]
    for t in range(x.shape[1])[::-1 if layer.go_backwards else 1]:
        keep = mask[:, t, None] > 0
        new = reference_step(layer, weights, x[:, t].astype('float64'), states, **dropout)
        output = np.where(keep, new[0], output)
        states = [np.where(keep, *pair) for pair in zip(new, states)]
        outputs.append(output)
    return np.stack(outputs, 1), states


def randomize(layer, seed=1):
    random = np.random.RandomState(seed)
    layer.set_weights([random.normal(scale=.7, size=w.shape) for w in layer.get_weights()])


def data(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype('float32')


def masked_model(layer, mask, shape=(TIME, FEATURES)):
    """A model of `layer` under a mask that is fed, and the data it is fed with."""
    inputs = Input(shape)
    x = data(BATCH, *shape)
    if mask is None:
        outputs = layer(inputs)
    else:
        x = x * np.array(mask, 'float32')[:, :, None]
        outputs = layer(Masking()(inputs))
    model = models.Model(inputs, outputs)
    randomize(model)
    return model, x


@pytest.fixture
def double_precision():
    K.set_floatx('float64')
    yield
    K.set_floatx('float32')


KINDS = [(SimpleRNN, {}), (GRU, {}), (GRU, {'reset_after': True}), (LSTM, {})]
IDS = ['simple', 'gru', 'gru_reset_after', 'lstm']
ACTIVATIONS = [('tanh', 'hard_sigmoid'), ('tanh', 'sigmoid'), ('relu', 'sigmoid'), ('softsign', 'hard_sigmoid'),
               ('elu', 'sigmoid')]


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
@pytest.mark.parametrize('cls, options', KINDS, ids=IDS)
@pytest.mark.parametrize('act, rec', ACTIVATIONS)
def test_values(cls, options, act, rec, mask):
    options = {**options, 'activation': act, **({} if cls is SimpleRNN else {'recurrent_activation': rec})}
    for more in ({}, {'go_backwards': True}, {'unroll': True}):
        layer = cls(UNITS, return_sequences=True, return_state=True, **options, **more)
        model, x = masked_model(layer, mask)
        outputs, states = reference(layer, x, mask)
        for got, wanted in zip(model.predict(x), [outputs, *states]):
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize('cls, options', KINDS, ids=IDS)
def test_last_output_without_states(cls, options):
    for mask in MASKS.values():
        layer = cls(UNITS, **options)
        model, x = masked_model(layer, mask)
        np.testing.assert_allclose(model.predict(x), reference(layer, x, mask)[0][:, -1], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- paths

PATHS = [
    (LSTM, {'recurrent_activation': 'sigmoid'}, 'none', 'fused'),
    (LSTM, {'recurrent_activation': 'sigmoid'}, 'right padded', 'fused'),
    (LSTM, {'recurrent_activation': 'sigmoid', 'return_state': True}, 'none', 'fused'),
    (LSTM, {'recurrent_activation': 'sigmoid', 'return_state': True}, 'holes', 'sequence'),
    (LSTM, {}, 'holes', 'sequence'),
    (LSTM, {'activation': 'relu'}, 'none', 'sequence'),
    (LSTM, {'activation': 'relu'}, 'holes', 'scan'),
    (LSTM, {'activation': 'elu'}, 'none', 'scan'),
    (GRU, {}, 'none', 'sequence'),
    (GRU, {'reset_after': True}, 'none', 'sequence'),
    (GRU, {'reset_after': True, 'recurrent_activation': 'sigmoid', 'return_state': True}, 'holes', 'fused'),
    (GRU, {'recurrent_activation': 'sigmoid'}, 'none', 'sequence'),
    (SimpleRNN, {}, 'none', 'fused'),
    (SimpleRNN, {'activation': 'relu'}, 'none', 'fused'),
    (SimpleRNN, {'activation': 'relu'}, 'holes', 'scan'),
]


@pytest.mark.parametrize('cls, options, mask, wanted', PATHS)
def test_path_taken(cls, options, mask, wanted, monkeypatch):
    taken = []
    run = kernels.run
    monkeypatch.setattr(kernels, 'run', lambda path, *args: (taken.append(path), run(path, *args))[1])
    model, x = masked_model(cls(UNITS, **options), MASKS[mask])
    model.predict(x)
    assert taken == [wanted]


@pytest.mark.parametrize('cls, options, units, steps, wanted', [
    (GRU, {'recurrent_activation': 'sigmoid', 'reset_after': True}, 2, 3, {'fit': 'sequence', 'predict': 'fused'}),
    (GRU, {'recurrent_activation': 'sigmoid', 'reset_after': True}, 256, 3, {'fit': 'sequence', 'predict': 'sequence'}),
    (SimpleRNN, {}, 2, 3, {'fit': 'fused', 'predict': 'fused'}),
    (SimpleRNN, {}, 2, 20, {'fit': 'sequence', 'predict': 'fused'}),
    (SimpleRNN, {}, 256, 3, {'fit': 'sequence', 'predict': 'sequence'}),
    (LSTM, {'recurrent_activation': 'sigmoid'}, 256, 20, {'fit': 'fused', 'predict': 'fused'})])
def test_torchs_loops_give_way_where_ours_is_faster(cls, options, units, steps, wanted, monkeypatch):
    """And never where somebody wants to see torch's own op, or in other precisions."""
    taken, run = [], kernels.run
    monkeypatch.setattr(kernels, 'run', lambda path, *args: (taken.append(path), run(path, *args))[1])
    model = models.Sequential([cls(units, input_shape=(steps, 2), **options)])
    model.compile('sgd', 'mse')
    x, y = np.ones((32, steps, 2)), np.ones((32, units))
    for name, args in (('fit', (x, y)), ('predict', (x,))):
        taken.clear()
        getattr(model, name)(*args, **({'verbose': 0} if name == 'fit' else {}))
        assert taken == [wanted[name]], name
    taken.clear()
    model.double()(torch.ones(32, steps, 2, dtype=torch.float64))
    model.float()
    torch.func.grad(lambda x: model(x).sum())(torch.ones(32, steps, 2))
    assert taken == ['fused', 'fused']


@pytest.mark.parametrize('options, wanted', [
    ({'dropout': .5}, 'sequence'), ({'dropout': .5, 'implementation': 2}, 'fused'),
    ({'recurrent_dropout': .5}, 'sequence'), ({'dropout': 1., 'recurrent_dropout': 1.}, 'fused')])
def test_path_taken_with_dropout(options, wanted, monkeypatch):
    taken = []
    run = kernels.run
    monkeypatch.setattr(kernels, 'run', lambda path, *args: (taken.append(path), run(path, *args))[1])
    model, x = masked_model(LSTM(UNITS, recurrent_activation='sigmoid', **options), None)
    K.function([model.input, K.learning_phase()], [model.output])([x, 1])
    model.predict(x)
    assert taken == [wanted, 'fused']


# ---------------------------------------------------------------- dropout

@pytest.mark.parametrize('implementation', [1, 2])
@pytest.mark.parametrize('cls, options', KINDS, ids=IDS)
def test_dropout_masks_hold_for_a_whole_sequence(cls, options, implementation, monkeypatch):
    """Layer-wide and step by step, with given masks: one a gate, or one for all gates."""
    if cls is not SimpleRNN:
        options = {**options, 'implementation': implementation}
    layer = cls(UNITS, dropout=.4, recurrent_dropout=.4, **options)
    model, x = masked_model(layer, None)
    drawn = []

    def dropout(ones, rate):
        torch.manual_seed(len(drawn))
        drawn.append(torch.bernoulli(ones * (1 - rate)) / (1 - rate))
        return drawn[-1]
    monkeypatch.setattr(K, 'dropout', dropout)
    got, = K.function([model.input, K.learning_phase()], [model.output])([x, 1])
    gates = 1 if implementation == 2 or cls is SimpleRNN else layer.cell.kind.gates
    assert [tuple(m.shape) for m in drawn] == [(gates, BATCH, FEATURES), (gates, BATCH, UNITS)]
    x_masks, h_masks = (m.numpy() for m in drawn)
    wanted = reference(layer, x, x_masks=x_masks, h_masks=h_masks)[0][:, -1]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_dropout_of_a_cell_in_a_loop_of_steps_holds_for_the_sequence():
    """Cells that K.rnn runs step by step (here: stacked, under a mask) draw their masks once, too."""
    cells = [LSTMCell(UNITS, dropout=.5, recurrent_dropout=.5), SimpleRNNCell(UNITS, 'linear', dropout=.5)]
    model, x = masked_model(RNN(cells, return_sequences=True), np.ones((BATCH, TIME)))
    x[:] = 1.
    run = K.function([model.input, K.learning_phase()], [model.output])
    np.random.seed(0)
    outputs = [run([x, 1])[0] for _ in range(3)]
    assert not np.allclose(outputs[0], outputs[1]) and not np.allclose(outputs[1], outputs[2])
    np.testing.assert_allclose(run([x, 0])[0], run([x, 0])[0])


def test_training_is_reproducible_from_a_numpy_seed():
    losses = []
    for _ in range(2):
        K.clear_session()
        np.random.seed(7)
        model = models.Sequential([LSTM(3, dropout=.3, recurrent_dropout=.3, input_shape=(TIME, FEATURES))])
        model.compile('sgd', 'mse')
        losses.append([model.train_on_batch(data(8, TIME, FEATURES), np.ones((8, 3))) for _ in range(3)])
    assert losses[0] == losses[1] and len(set(losses[0])) == 3


# ---------------------------------------------------------------- states

@pytest.mark.parametrize('cls, options', KINDS, ids=IDS)
def test_initial_state_from_inputs_and_from_variables(cls, options):
    layer = cls(UNITS, return_sequences=True, **options)
    inputs = Input((TIME, FEATURES))
    given = [Input((UNITS,)) for _ in layer.states]
    model = models.Model([inputs, *given], layer(inputs, initial_state=given))
    randomize(model)
    x, states = data(BATCH, TIME, FEATURES), [data(BATCH, UNITS, seed=i + 5) for i in range(len(given))]
    wanted = reference(layer, x, states=states)[0]
    np.testing.assert_allclose(model.predict([x, *states]), wanted, rtol=1e-5, atol=1e-6)
    again = models.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict([x, *states]), wanted, rtol=1e-5, atol=1e-6)
    fixed = models.Model(inputs, layer(inputs, initial_state=[K.variable(s) for s in states]))
    np.testing.assert_allclose(fixed.predict(x), wanted, rtol=1e-5, atol=1e-6)


def test_a_model_with_states_runs_on_new_inputs():
    inputs, h = Input((TIME, FEATURES)), Input((UNITS,))
    model = models.Model([inputs, h], GRU(UNITS)(inputs, initial_state=h))
    x, s = data(BATCH, TIME, FEATURES), data(BATCH, UNITS)
    others = [Input((TIME, FEATURES)), Input((UNITS,))]
    np.testing.assert_allclose(models.Model(others, model(others)).predict([x, s]), model.predict([x, s]))


def test_states_of_one_layer_start_another():
    inputs = Input((TIME, FEATURES))
    _, *states = LSTM(UNITS, return_state=True)(inputs)
    decoder = LSTM(UNITS, return_sequences=True)
    model = models.Model(inputs, decoder(inputs, initial_state=states))
    randomize(model)
    x = data(BATCH, TIME, FEATURES)
    _, encoded = reference(model.layers[1], x)
    np.testing.assert_allclose(model.predict(x), reference(decoder, x, states=encoded)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('cls, options', KINDS, ids=IDS)
def test_stateful(cls, options):
    model = models.Sequential([cls(UNITS, stateful=True, batch_input_shape=(BATCH, TIME, FEATURES), **options)])
    randomize(model)
    layer, x = model.layers[0], data(BATCH, TIME, FEATURES)
    first, states = reference(layer, x)
    second, last = reference(layer, x, states=states)
    for wanted in (first, second):
        np.testing.assert_allclose(model.predict(x, batch_size=BATCH), wanted[:, -1], rtol=1e-5, atol=1e-6)
    for got, wanted in zip(layer.states, last):
        np.testing.assert_allclose(K.get_value(got), wanted, rtol=1e-5, atol=1e-6)
    model.reset_states()
    np.testing.assert_allclose(model.predict(x, batch_size=BATCH), first[:, -1], rtol=1e-5, atol=1e-6)
    layer.reset_states([s.astype('float32') for s in states])
    np.testing.assert_allclose(model.predict(x, batch_size=BATCH), second[:, -1], rtol=1e-5, atol=1e-6)
    assert not any('state' in key for key in model.state_dict())
    assert len(model.weights) == 3 and len(model.updates) == len(model.state_updates) == len(last)


def test_stateful_layer_called_on_tensors_moves_on():
    layer = SimpleRNN(UNITS, stateful=True, batch_input_shape=(BATCH, TIME, FEATURES))
    models.Sequential([layer])
    x = data(BATCH, TIME, FEATURES)
    first, states = reference(layer, x)
    with torch.no_grad():
        for wanted in (first, reference(layer, x, states=states)[0]):
            np.testing.assert_allclose(layer(torch.tensor(x)), wanted[:, -1], rtol=1e-5, atol=1e-6)


def test_stateful_in_double_precision(double_precision):
    model = models.Sequential([GRU(UNITS, stateful=True, batch_input_shape=(BATCH, TIME, FEATURES))])
    x = data(BATCH, TIME, FEATURES).astype('float64')
    states = reference(model.layers[0], x)[1]
    model.predict(x, batch_size=BATCH)
    np.testing.assert_allclose(K.get_value(model.layers[0].states[0]), states[0], rtol=1e-12)


def test_reset_states_errors():
    layer = LSTM(UNITS, stateful=True)
    layer(Input(batch_shape=(2, TIME, FEATURES)))
    with pytest.raises(ValueError, match='expects 2 states, but it received 1'):
        layer.reset_states(np.zeros((2, UNITS)))
    with pytest.raises(ValueError, match=r'State 1 is incompatible.*expected shape=\(2, 2\), found shape=\(2, 3\)'):
        layer.reset_states([np.ones((2, UNITS)), np.ones((2, 3))])
    assert not K.get_value(layer.states[0]).any()
    with pytest.raises(AttributeError, match='Layer must be stateful'):
        LSTM(UNITS).reset_states()
    with pytest.raises(ValueError, match='needs to know its batch size'):
        LSTM(UNITS, stateful=True)(Input((TIME, FEATURES)))


# ---------------------------------------------------------------- as a torch module

@pytest.mark.parametrize('cls, options', KINDS, ids=IDS)
def test_model_survives_copies_and_state_dict(cls, options):
    model, x = masked_model(cls(UNITS, **options), MASKS['holes'])
    wanted = model.predict(x)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.predict(x), wanted)
    other = masked_model(cls(UNITS, **options), MASKS['holes'])[0]
    other.set_weights([0 * w for w in other.get_weights()])
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.predict(x), wanted)
    fired = []
    model.layers[-1].register_forward_hook(lambda *args: fired.append(args))
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.tensor(x)), wanted, rtol=1e-6)
    assert len(fired) == 1


@pytest.mark.parametrize('cls, options', KINDS, ids=IDS)
def test_gradients_with_respect_to_keras_weights(cls, options, double_precision):
    """Along a random direction in Keras' layout, against a difference of two values."""
    model, x = masked_model(cls(UNITS, **options), None)
    gradients = K.function([model.input], K.gradients(K.sum(model.output), model.trainable_weights))([x])
    weights = model.get_weights()
    directions = [data(*w.shape, seed=i) for i, w in enumerate(weights)]
    values = []
    for step in (-1e-6, 1e-6):
        model.set_weights([w + step * d for w, d in zip(weights, directions)])
        values.append(model.predict(x).sum())
    slope = sum((g * d).sum() for g, d in zip(gradients, directions))
    np.testing.assert_allclose((values[1] - values[0]) / 2e-6, slope, rtol=1e-6)


@pytest.mark.parametrize('cls, options', [*KINDS, (LSTM, {'recurrent_activation': 'sigmoid'})],
                         ids=[*IDS, 'fused_lstm'])
def test_export(cls, options):
    model, x = masked_model(cls(UNITS, **options), MASKS['right padded'])
    x = torch.tensor(x)
    expected = model.eval()(x)  # before, for torch 2.6 lets no module keep what its first call makes
    exported = torch.export.export(model, (x,), strict=False)
    torch.testing.assert_close(exported.module()(x), expected, rtol=1e-5, atol=1e-6)


def test_functional_gradient():
    model, x = masked_model(LSTM(UNITS), None)
    parameters = dict(model.named_parameters())
    gradients = torch.func.grad(lambda p: torch.func.functional_call(model, p, torch.tensor(x)).sum())(parameters)
    model(torch.tensor(x)).sum().backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_call_on_tensors_follows_the_mode_of_the_module():
    layer = LSTM(UNITS, dropout=.9)
    masked_model(layer, None)
    x = torch.ones(BATCH, TIME, FEATURES)
    torch.testing.assert_close(layer.call(x), layer(x))
    layer.train()
    assert not torch.allclose(layer.call(x), layer.call(x))


def test_double_precision(double_precision):
    model, x = masked_model(LSTM(UNITS), None)
    np.testing.assert_allclose(model.predict(x.astype('float64')), reference(model.layers[-1], x)[0][:, -1], rtol=1e-12)


# ---------------------------------------------------------------- bad input and old spellings

@pytest.mark.parametrize('make, error, match', [
    (lambda: LSTM(0), ValueError, '`units` of layer lstm_cell_.* must be a positive integer. Received: 0'),
    (lambda: RNN(3), ValueError, 'must have a `call` method'),
    (lambda: RNN(layers.Dense(3)), ValueError, 'must have a `state_size` attribute'),
    (lambda: LSTM(3, unroll=True)(Input((None, 2))), ValueError, 'Cannot unroll a RNN'),
    (lambda: LSTM(3, unroll=True)(Input((1, 2))), ValueError, 'Cannot unroll a RNN'),
    (lambda: LSTM(3)(Input((2,))), ValueError, 'expected ndim=3, found ndim=2'),
    (lambda: LSTM(3)(Input((2, None))), ValueError, 'last dimension of the inputs should be defined'),
    (lambda: LSTM(3)(Input((2, 3)), initial_state=[Input((3,))]), ValueError, 'not compatible with `cell.state_size`'),
    (lambda: LSTM(3)(Input((2, 3)), initial_state=[Input((3,)), K.zeros((1, 3))]), ValueError, 'a mix of Keras'),
    (lambda: GRU(3)(Input((2, 3)), initial_state=Input((4,))), ValueError, 'not compatible with `cell.state_size`'),
    (lambda: RNN(GRUCell(3))(Input((2, 3)), constants=Input((3,))), ValueError, 'does not support constants'),
    (lambda: LSTM(3, 'tanh'), TypeError, 'can accept only 1 positional arguments'),
    (lambda: LSTM(3, recurent_dropout=.1), TypeError, 'recurent_dropout'),
])
def test_bad_input(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_old_spellings():
    with pytest.warns(UserWarning) as caught:
        layer = LSTM(output_dim=3, inner_init='zero', forget_bias_init='one', consume_less='gpu', dropout_W=.1)
    assert (layer.units, layer.implementation, layer.dropout) == (3, 2, .1) and len(caught) == 1
    with pytest.warns(UserWarning, match='The `implementation` argument in `SimpleRNN`'):
        SimpleRNN(3, implementation=1)
    with pytest.warns(UserWarning, match='`implementation=0` has been deprecated'):
        layer = GRU(3, implementation=0)
    assert layer.implementation == 0 and GRU.from_config(layer.get_config()).implementation == 1


def test_rates_are_clipped():
    layer = LSTM(3, dropout=1.5, recurrent_dropout=-1)
    assert (layer.dropout, layer.recurrent_dropout) == (1., 0.)
