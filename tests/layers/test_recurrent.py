"""Recurrent layers against loops in numpy, written from Keras' formulas."""
import copy
import pickle

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, models, optimizers, regularizers
from kfacade.layers import GRU, LSTM, RNN, GRUCell, Input, LSTMCell, Masking, SimpleRNN, SimpleRNNCell, StackedRNNCells
from kfacade.layers import _recurrent_kernels as kernels
from kfacade.utils.generic_utils import CustomObjectScope

BATCH, TIME, FEATURES, UNITS = 3, 5, 4, 2
FUNCTIONS = {
    'tanh': np.tanh, 'sigmoid': lambda x: 1 / (1 + np.exp(-x)), 'hard_sigmoid': lambda x: np.clip(.2 * x + .5, 0, 1),
    'relu': lambda x: np.maximum(x, 0), 'softsign': lambda x: x / (1 + np.abs(x)), 'linear': lambda x: x,
    'elu': lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))}
MASKS = {
    'none': None,
    'right padded': [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]],
    'holes': [[0, 1, 0, 1, 1], [1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]}


def reference_step(layer, weights, x, states):
    """One step of a layer, as Keras defines it. Gates: i, f, c, o and z, r, h."""
    act = FUNCTIONS[layer.activation.__name__]
    kernel, recurrent, bias = weights
    h = states[0]
    if isinstance(layer, SimpleRNN):
        return [act(x @ kernel + h @ recurrent + bias)]
    rec = FUNCTIONS[layer.recurrent_activation.__name__]
    if isinstance(layer, LSTM):
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, 1)
        c = rec(f) * states[1] + rec(i) * act(g)
        return [rec(o) * act(c), c]
    input_bias, recurrent_bias = bias if layer.reset_after else (bias, 0 * bias)
    (x_z, x_r, x_h), (w_z, w_r, w_h) = np.split(x @ kernel + input_bias, 3, 1), np.split(recurrent, 3, 1)
    b_z, b_r, b_h = np.split(recurrent_bias, 3)
    z, r = rec(x_z + h @ w_z + b_z), rec(x_r + h @ w_r + b_r)
    candidate = act(x_h + r * (h @ w_h + b_h)) if layer.reset_after else act(x_h + (r * h) @ w_h)
    return [z * h + (1 - z) * candidate]


def reference(layer, x, mask=None, states=None):
    """Outputs of all steps and the last states."""
    weights = [w.astype('float64') for w in layer.get_weights()]
    states = [np.zeros((len(x), layer.units))] * len(layer.states) if states is None else states
    mask = np.ones(x.shape[:2]) if mask is None else np.array(mask)
    outputs, output = [], np.zeros((len(x), layer.units)) if layer.unroll else states[0]
    for t in range(x.shape[1])[::-1 if layer.go_backwards else 1]:
        keep = mask[:, t, None] > 0
        new = reference_step(layer, weights, x[:, t].astype('float64'), states)
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
        x = x * np.array(mask)[:, :, None]
        outputs = layer(Masking()(inputs))
    model = models.Model(inputs, outputs)
    randomize(model)
    return model, x


KINDS = [(SimpleRNN, {}), (GRU, {}), (GRU, {'reset_after': True}), (LSTM, {})]
IDS = ['simple', 'gru', 'gru_reset_after', 'lstm']
ACTIVATIONS = [('tanh', 'hard_sigmoid'), ('tanh', 'sigmoid'), ('relu', 'sigmoid'), ('softsign', 'hard_sigmoid'),
               ('elu', 'linear')]


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

def _problem(kind, act, rec, bias=True, masks=None, keep=None, requires_grad=True):
    random = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_(requires_grad)
    width = kind.gates * UNITS
    states = [normal(BATCH, UNITS) for _ in range(kind.states)]
    weights = (normal(width, FEATURES), normal(width) if bias else None, normal(width, UNITS),
               normal(width) if bias and kind is kernels.GRUResetAfter else None)
    if masks:
        masks = (torch.rand(masks, BATCH, UNITS, generator=random) > .3).double() * 2
    return normal(TIME, BATCH, FEATURES), states, weights, masks or None if masks is None else masks


def _gradients(path, kind, act, rec, problem, keep=None, create_graph=False):
    x, states, weights, masks = problem
    outputs, last = kernels.run(path, kind, x, states, weights, masks, act, rec, keep)
    targets = [t for t in (x, *states, *weights) if t is not None]
    loss = sum((y * torch.arange(1., 1 + y.numel(), dtype=y.dtype).view_as(y).cos()).sum() for y in (outputs, *last))
    return [outputs, *last], targets, torch.autograd.grad(loss, targets, create_graph=create_graph)


KEEP = torch.tensor(MASKS['holes']).bool().t()
SEQUENCES = [(kind, act, rec) for kind in (kernels.Simple, kernels.GRU, kernels.GRUResetAfter, kernels.LSTM)
             for act, rec in ((kernels.activations.tanh, kernels.activations.sigmoid),
                              (kernels.activations.softsign, kernels.activations.hard_sigmoid),
                              (kernels.activations.relu, kernels.activations.tanh),
                              (kernels.activations.hard_sigmoid, kernels.activations.linear))]


@pytest.mark.parametrize('kind, act, rec', SEQUENCES, ids=lambda x: x.__name__)
def test_sequence_path_equals_scan(kind, act, rec):
    """Values and gradients; with and without biases, dropout masks a gate or one for all, and masked steps."""
    for bias in (True, False):
        for masks in {None, 1, kind.gates} - ({1} if kind in (kernels.GRU, kernels.GRUResetAfter) else set()):
            for keep in (None, KEEP):
                problem = _problem(kind, act, rec, bias, masks)
                wanted, _, wanted_gradients = _gradients('scan', kind, act, rec, problem, keep)
                got, _, gradients = _gradients('sequence', kind, act, rec, problem, keep)
                for a, b in zip([*got, *gradients], [*wanted, *wanted_gradients]):
                    torch.testing.assert_close(a, b)


@pytest.mark.parametrize('kind, act, rec', kernels.FUSED, ids=lambda x: getattr(x, '__name__', 'none'))
def test_fused_path_equals_scan(kind, act, rec):
    for bias in (True, False):
        problem = _problem(kind, act, rec, bias)
        wanted, _, wanted_gradients = _gradients('scan', kind, act, rec, problem)
        got, _, gradients = _gradients('fused', kind, act, rec, problem)
        for a, b in zip([*got, *gradients], [*wanted, *wanted_gradients]):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('kind, act, rec', kernels.FUSED, ids=lambda x: getattr(x, '__name__', 'none'))
def test_fused_path_under_a_mask_equals_scan(kind, act, rec):
    problem = _problem(kind, act, rec)
    outputs = [kernels.run(path, kind, *problem[:3], None, act, rec, KEEP)[0] for path in ('scan', 'fused')]
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize('kind, act, rec', SEQUENCES[::4], ids=lambda x: x.__name__)
def test_second_derivatives_of_the_sequence_path(kind, act, rec):
    found = {}
    for path in ('scan', 'sequence'):
        _, targets, first = _gradients(path, kind, act, rec, _problem(kind, act, rec), create_graph=True)
        found[path] = [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), targets)]
    for a, b in zip(*found.values()):
        torch.testing.assert_close(a, b)


def test_second_derivative_where_one_input_depends_on_another():
    x = torch.randn(TIME, BATCH, UNITS, dtype=torch.float64, requires_grad=True)
    _, _, weights, _ = _problem(kernels.Simple, None, None)
    weights = (torch.eye(UNITS, dtype=torch.float64), None, weights[2], None)
    found = []
    for path in ('scan', 'sequence'):
        outputs, _ = kernels.run(path, kernels.Simple, x, [x[0] * 2], weights, None, kernels.activations.tanh, None)
        first, = torch.autograd.grad(outputs.sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    torch.testing.assert_close(*found)


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
    steps = masked_model(RNN(layer.cell), None)[0]
    with torch.no_grad(), K.state.running(True) if hasattr(K, 'state') else _running(True):
        drawn.clear()
        wanted = steps.layers[-1]._run_steps(torch.tensor(x), [torch.zeros(BATCH, UNITS)] * len(layer.states), None,
                                             None, True) if False else None
    assert wanted is None and got.shape == (BATCH, UNITS)
