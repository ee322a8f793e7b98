"""Choices and loops (see conftest)."""
import numpy as np
import pytest
import torch

from kfacade import backend as K

RNG = np.random.RandomState(2)


def normal(*shape):
    return RNG.randn(*shape).astype('float32')


X, Y = normal(4, 5, 6), normal(4, 5, 6)
ROWS = X.sum((1, 2)) > 0
STEPS = X.sum(-1) > 0

SWITCHES = [
    ('one condition', lambda x, y: K.switch(K.sum(x) > 1e6, x, y), Y),
    ('one condition and functions', lambda x, y: K.switch(K.sum(x) < 1e6, lambda: x + 1, lambda: y), X + 1),
    ('a number for a condition', lambda x, y: K.switch(K.cast(K.sum(x) < 1e6, 'int32'), lambda: x, lambda: y), X),
    ('a Python condition', lambda x, y: K.switch(False, x, lambda: y), Y),
    ('rows', lambda x, y: K.switch(K.sum(x, [1, 2]) > 0, x, y), np.where(ROWS[:, None, None], X, Y)),
    ('rows, by functions', lambda x, y: K.switch(K.sum(x, [1, 2]) > 0, lambda: x, lambda: y),
     np.where(ROWS[:, None, None], X, Y)),
    ('steps', lambda x, y: K.switch(K.sum(x, -1) > 0, x, y), np.where(STEPS[..., None], X, Y)),
    ('elements', lambda x, y: K.switch(x > y, x, y), np.maximum(X, Y)),
]


@pytest.mark.parametrize('call, expected', [case[1:] for case in SWITCHES], ids=[case[0] for case in SWITCHES])
def test_switch(check, call, expected):
    check(call, [X, Y], expected)


def test_switch_calls_only_the_branch_that_it_chooses():
    called = []

    def branch(name):
        return lambda: called.append(name) or torch.zeros(2)
    K.switch(torch.tensor(True), branch('then'), branch('else'))
    assert called == ['then']


def test_switch_of_one_condition_picks_among_tensors_of_different_shapes():
    a, chosen = K.placeholder((None, 2)), K.placeholder(())
    loss = K.switch(chosen > 0, K.square(a), K.constant(0.))
    f = K.function([a, chosen], [loss, K.mean(loss), *K.gradients(K.mean(loss), [a])])
    for number, expected in ((0, [0, 0, [[0, 0], [0, 0]]]), (1, [[[1, 4], [9, 16]], 7.5, [[.5, 1], [1.5, 2]]])):
        for value, wanted in zip(f([np.array([[1, 2], [3, 4.]]), np.array(number)]), expected):
            assert np.shape(value) == np.shape(wanted)
            np.testing.assert_allclose(value, wanted)
    nothing = K.switch(torch.tensor(False), torch.zeros(0, 2), torch.tensor(0.))
    assert nothing.shape == () and nothing == 0


def test_switch_refuses_a_condition_of_higher_rank():
    with pytest.raises(ValueError, match=r'Rank of `condition` .* ndim\(condition\)=3, ndim\(then_expression\)=1'):
        K.switch(torch.tensor(X > 0), torch.zeros(4), torch.zeros(4))


LOOPS = [
    ('map_fn', lambda x, y: K.map_fn(lambda e: K.sum(e, axis=0) * 2, x), X.sum(1) * 2),
    ('map_fn over a tuple', lambda x, y: K.map_fn(lambda e: e[0] - e[1], (x, y)), X - Y),
    ('map_fn gives a list', lambda x, y: K.map_fn(lambda e: [e + 1, K.sum(e)], x), [X + 1, X.sum((1, 2))]),
    ('map_fn to a data type', lambda x, y: K.map_fn(lambda e: e > 0, x, dtype='int32'), (X > 0).astype('int32')),
    ('map_fn closing over a symbol', lambda x, y: K.map_fn(lambda e: e + K.sum(y), x), X + Y.sum()),
    ('foldl', lambda x, y: K.foldl(lambda a, e: a / 2 + e, x), ((X[0] / 2 + X[1]) / 2 + X[2]) / 2 + X[3]),
    ('foldr', lambda x, y: K.foldr(lambda a, e: a / 2 + e, x), ((X[3] / 2 + X[2]) / 2 + X[1]) / 2 + X[0]),
    ('foldl from an initializer', lambda x, y: K.foldl(lambda a, e: a + e, x, initializer=y[0]), Y[0] + X.sum(0)),
]


@pytest.mark.parametrize('call, expected', [case[1:] for case in LOOPS], ids=[case[0] for case in LOOPS])
def test_loops(check, call, expected):
    check(call, [X, Y], expected)


W, U, H, C = normal(6, 3), normal(3, 3) / 2, normal(4, 3), normal(4, 3)
MASK = np.array([[0, 1, 1, 0, 1], [0, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)


def step(x, states):
    h = K.tanh(K.dot(x, K.constant(W)) + K.dot(states[0], K.constant(U)))
    return 2 * h + sum(states[2:]), [h, states[1] + 1]


def recurrence(order, mask=None, unroll=False, constants=()):
    """What `step` gives over time steps in `order`: outputs (in that order) and the last two states, by numpy."""
    h, count, outputs = H, C, []
    for t in order:
        new = np.tanh(X[:, t] @ W + h @ U)
        output = 2 * new + sum(constants)
        keep = np.ones((4, 1), bool) if mask is None else mask[:, t, None]
        masked = (outputs[-1] if outputs else 0) if unroll else h
        outputs.append(np.where(keep, output, masked))
        h, count = np.where(keep, new, h), np.where(keep, count + 1, count)
    return [outputs[-1], np.stack(outputs, 1), h, count]


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('unroll', [False, True])
@pytest.mark.parametrize('go_backwards', [False, True])
def test_rnn(check, masked, unroll, go_backwards):
    def call(x, h, c, mask):
        last, outputs, states = K.rnn(step, x, [h, c], go_backwards, mask if masked else None, [c], unroll)
        return [last, outputs, *states]
    order = range(4, -1, -1) if go_backwards else range(5)
    check(call, [X, H, C, MASK], recurrence(order, MASK if masked else None, unroll, [C]), atol=1e-5)


def test_rnn_over_an_unknown_number_of_steps_with_a_mask_of_three_dimensions():
    x, h, c, mask = (K.placeholder(shape) for shape in ((None, None, 6), (None, 3), (None, 3), (None, None, 1)))
    last, outputs, states = K.rnn(step, x, [h, c], mask=mask)
    assert K.int_shape(last) == (None, 3) and K.int_shape(outputs) == (None, None, 3)
    f = K.function([x, h, c, mask], [last, outputs, *states])
    for result, expected in zip(f([X, H, C, MASK[..., None]]), recurrence(range(5), MASK)):
        np.testing.assert_allclose(result, expected, atol=1e-5)
    assert f([X[:, :2], H, C, MASK[:, :2, None]])[1].shape == (4, 2, 3)


@pytest.mark.parametrize('make', [K.variable, K.constant])
def test_loops_may_add_what_they_close_over(make):
    x, b = K.placeholder((None, None, 6)), make(X[0, 0])
    loops = [K.rnn(lambda e, states: (e + b, []), x, [])[1], K.map_fn(lambda e: e + b, x)]
    for loop, value in zip(loops, K.function([x], loops)([X])):
        assert K.int_shape(loop) == (None, None, 6)
        np.testing.assert_allclose(value, X + X[0, 0], rtol=1e-6)


def test_rnn_runs_input_length_steps(check):
    check(lambda x, h, c: K.rnn(step, x, [h, c], input_length=3)[1], [X, H, C], recurrence(range(3))[1], atol=1e-5)


@pytest.mark.parametrize('unroll', [False, True])
@pytest.mark.parametrize('masked', [False, True])
def test_rnn_gives_the_last_output_alone(check, masked, unroll):
    def call(x, h, c, mask):
        last, outputs, states = K.rnn(step, x, [h, c], mask=mask if masked else None, constants=[c], unroll=unroll,
                                      return_all_outputs=False)
        return [last, outputs, *states]
    last, outputs, *states = recurrence(range(5), MASK if masked else None, unroll, [C])
    check(call, [X, H, C, MASK], [last, outputs[:, -1:], *states], atol=1e-5)


STEPS = {  # of an input x, a state h and what is outside: how many things are computed of all steps at once, and how
    'cell': (2, lambda x, h, o: K.tanh(K.dot(x, o['w']) + o['b'] + K.dot(h, o['u'])) * K.sigmoid(K.dot(x, o['w']))),
    'bias': (1, lambda x, h, o: h + K.relu(K.bias_add(K.dot(2 * x - 1, o['w']), o['b']), alpha=.1)),
    'row': (1, lambda x, h, o: h + K.dot(x * o['row'], o['w']) / 3),
    'two of x': (1, lambda x, h, o: h * K.dot(K.maximum(x, 1 - x) + K.pow(K.abs(x), 2), o['w'])),
    'of x alone': (1, lambda x, h, o: K.dot(K.clip(x, -1, 1), o['w'])),
    'samples outside': (0, lambda x, h, o: h + K.dot(x * o['samples'], o['w'])),
    'matrix outside': (0, lambda x, h, o: h + K.dot(x + o['matrix'], o['w'])),
    'sums': (0, lambda x, h, o: h + K.sum(x, axis=1, keepdims=True)),
    'other ranks': (0, lambda x, h, o: h + K.sum(K.expand_dims(x, 1) * K.ones((6, 1)), axis=[1])[:, :3]),
    'three axes': (1, lambda x, h, o: h + K.batch_flatten(K.reshape(x * 2, (-1, 2, 3)) + o['pair'])[:, :3]),
    'states': (0, lambda x, h, o: K.dot(x + K.tile(h, (1, 2)), o['w'])),
}


@pytest.mark.parametrize('name', STEPS)
def test_rnn_computes_of_all_inputs_at_once_what_needs_no_state(name):
    count, compute = STEPS[name]

    def step(e, states):
        y = compute(e, states[0], outside)
        return y, [y]
    random, shapes = np.random.RandomState(1), {
        'w': (6, 3), 'u': (3, 3), 'b': (3,), 'row': (1, 6), 'matrix': (4, 6), 'pair': (2, 3)}
    outside = {key: K.variable(random.uniform(-1, 1, shape)) for key, shape in shapes.items()}
    variables, values = [*outside.values()], random.uniform(-1, 1, (4, 6))
    x, h, outside['samples'] = fed = [K.placeholder(shape) for shape in ((4, 5, 6), (4, 3), (4, 6))]
    found = []
    for unroll in (False, True):  # unrolled, each step computes for itself
        last, outputs, _ = K.rnn(step, x, [h], unroll=unroll, go_backwards=True)
        gradients = [g for g in K.gradients(K.sum(K.square(outputs)), [x, *variables]) if g is not None]
        found.append(K.function(fed, [last, outputs, *gradients])([X, H, values]))
        if not unroll:
            assert len(last.args[0].args[1]) == 1 + count
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_rnn_gradients_reach_what_the_step_closes_over():
    x, h, w = K.placeholder((None, 5, 6)), K.placeholder((None, 3)), K.variable(W)
    last, _, _ = K.rnn(lambda i, s: (K.dot(i, w) + s[0], [s[0] + 1]), x, [h])
    gradient = K.function([x, h], K.gradients(K.sum(last), [w]))([X, H])[0]
    np.testing.assert_allclose(gradient, np.tile(X[:, -1].sum(0)[:, None], 3), rtol=1e-5)


@pytest.mark.parametrize('shape, options, message', [
    ((None, 6), {}, r'at least 3D. Got shape \(None, 6\)'),
    ((None, None, 6), {'unroll': True}, 'Unrolling requires a fixed number'),
    ((None, 5, 6), {'mask': True}, 'No initial states provided')])
def test_rnn_errors(shape, options, message):
    x = K.placeholder(shape)
    if 'mask' in options:
        options = {'mask': K.placeholder((None, 5))}
    with pytest.raises(ValueError, match=message):
        K.rnn(lambda i, s: (i, []), x, [], **options)
