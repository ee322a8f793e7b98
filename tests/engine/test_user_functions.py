"""Functions that a script hands over are called when the graph is built, on symbols; then only the graph counts.

The numbers are what Keras 2.2.4 gives for the same lines.
"""
import copy
import pickle
import threading

import numpy as np
import pytest
import torch

import kfacade
from kfacade import backend as K
from kfacade import layers, models
from kfacade.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    ConvLSTM2D,
    Dense,
    DepthwiseConv2D,
    Input,
    Lambda,
    LocallyConnected1D,
    SeparableConv1D,
    SimpleRNN,
    TimeDistributed,
)
from kfacade.models import Model, Sequential
from kfacade.utils import CustomObjectScope

C = np.array([1., 2., 3.])
ROWS = np.arange(6.).reshape(2, 3) - 2
STEPS = (np.arange(24.).reshape(2, 4, 3) - 8) / 8
IMAGES = (np.arange(64.).reshape(2, 4, 4, 2) - 20) / 16
ONES = {'kernel_initializer': 'ones'}
RECURRENT = {**ONES, 'recurrent_initializer': 'ones', 'bias_initializer': 'ones', 'return_sequences': True}


class Cell(layers.Layer):
    """A cell with numpy arrays in its step, on either side, around a function."""

    def __init__(self, function, **kwargs):
        self.function, self.state_size = function, 3
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.w = self.add_weight(name='w', shape=(3, 3), initializer='identity')
        self.built = True

    def call(self, inputs, states):
        h = self.function(C * inputs + K.dot(states[0], self.w) * C[::-1])
        return h, [h]

    def get_config(self):
        return {**super().get_config(), 'function': None}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, 'function': K.tanh})


def in_loop(make, mask=False):
    """Two layers whose function closes over the variable of the loop that makes them."""
    def build(t):
        t = layers.Masking()(t) if mask else t
        for a in (1., 10.):
            t = make(lambda v: v + a)(t)  # noqa: B023  (that is the point)
        a = np.nan  # noqa: F841  (what comes later must not count)
        return t
    return build


def mapped(f):
    return Lambda(lambda t: K.map_fn(lambda r: C * f(r) * C, t))


def folded(f):
    return Lambda(lambda t: K.expand_dims(
        K.foldl(lambda a, e: C * e + f(a), K.permute_dimensions(t, (1, 0, 2))), 1))


def folded_from_the_right(f):
    return Lambda(lambda t: K.expand_dims(K.foldr(
        lambda a, e: e * C - f(a), K.permute_dimensions(t, (1, 0, 2)), initializer=K.ones((2, 3))), 1))


def branches(condition):
    return lambda f: Lambda(lambda t: K.switch(condition(t), lambda: C * f(t), lambda: f(t) - C))


BUILT = {
    'Dense': (in_loop(lambda f: Dense(3, activation=f, kernel_initializer='identity')), ROWS, [9, 10, 11, 12, 13, 14]),
    'Activation': (in_loop(Activation), ROWS, [9, 10, 11, 12, 13, 14]),
    'Conv1D': (in_loop(lambda f: Conv1D(3, 2, activation=f, padding='same', **ONES)), STEPS, np.repeat(
        [-2, 11.5, 19.375, 15.25, 52, 65.5, 59.875, 28.75], 3)),
    'Conv2D': (in_loop(lambda f: Conv2D(2, 2, activation=f, **ONES)), IMAGES, np.repeat(
        [-20., -12, 12, 20, 108, 116, 140, 148], 2)),
    'Conv2DTranspose': (in_loop(lambda f: Conv2DTranspose(1, 2, strides=2, activation=f, **ONES)), IMAGES[:1, :1, :1],
                        [8.5625] * 16),
    'SeparableConv1D': (in_loop(lambda f: SeparableConv1D(
        3, 2, activation=f, depthwise_initializer='ones', pointwise_initializer='ones')), STEPS, np.repeat(
        [-2, 11.5, 52, 65.5], 3)),
    'DepthwiseConv2D': (in_loop(lambda f: DepthwiseConv2D(2, activation=f, depthwise_initializer='ones')), IMAGES, [
        4, 5, 6, 7, 12, 13, 14, 15, 36, 37, 38, 39, 44, 45, 46, 47]),
    'LocallyConnected1D': (in_loop(lambda f: LocallyConnected1D(3, 2, activation=f, **ONES)), STEPS, np.repeat(
        [-2, 11.5, 52, 65.5], 3)),
    'SimpleRNN': (in_loop(lambda f: SimpleRNN(3, activation=f, **RECURRENT)), STEPS, np.repeat(
        [9.125, 34.25, 106.25, 315.5, 22.625, 128.75, 565.25, 2232.5], 3)),
    'GRU, gate by gate': (in_loop(lambda f: GRU(
        3, recurrent_activation=lambda v: K.softmax(v * C), **RECURRENT)), STEPS, [
        -.26185, -.50795, -.61306, -.32155, -.63717, -.65577, .11321, .19235, .33377, .99705, .97767, .35062, .99253,
        .94728, .05005, .99605, .99574, .05613, .99611, .99611, .06182, .99616, .99616, .06744]),
    'GRU with reset_after': (in_loop(lambda f: GRU(3, reset_after=True, recurrent_activation=lambda v: f(v) * .1,
                                                   **RECURRENT)), STEPS[:, :1], [-.04052] * 3 + [-.35308] * 3),
    'LSTM': (in_loop(lambda f: LSTM(3, activation=lambda v: K.tanh(f(v)), recurrent_activation=lambda v: C * f(v) * .1,
                                    **RECURRENT)), STEPS, [
        1.07025, 2.1405, 3.21075, 1.75147, 3.50294, 5.25442, 2.24143, 4.48286, 6.72429, 2.65626, 5.31252, 7.96879,
        1.32057, 2.64114, 3.96172, 2.32185, 4.64371, 6.96556, 3.11788, 6.23576, 9.35365, 3.78058, 7.56116, 11.34175]),
    'ConvLSTM2D': (in_loop(lambda f: ConvLSTM2D(2, 2, activation=lambda v: C[1:] * f(v), **RECURRENT)),
                   IMAGES[:, None, :3, :3], [63.38657, 128.35104, 2900, 6510]),
    'TimeDistributed': (in_loop(lambda f: TimeDistributed(Dense(
        3, activation=f, kernel_initializer='identity'))), STEPS, STEPS + 11),
    'map_fn': (in_loop(mapped), STEPS, [
        10, 42, 110.25, 10.375, 48, 140.625, 10.75, 54, 171, 11.125, 60, 201.375, 11.5, 66, 231.75, 11.875, 72, 262.125,
        12.25, 78, 292.5, 12.625, 84, 322.875]),
    'foldl': (in_loop(folded), STEPS, [1.25, 1.375, 2.25, 7.25, 11.875, 17.25]),
    'foldr': (in_loop(folded_from_the_right), STEPS, [-10.75, -12, -14.75] * 2),
    'switch': (in_loop(branches(lambda t: K.sum(t) > 3)), ROWS, [7, 6, 5, 10, 9, 8]),
    'switch of elements': (in_loop(branches(lambda t: t > 1)), ROWS, [7, 6, 5, 10, 32, 66]),
    'in_train_phase': (in_loop(lambda f: Lambda(lambda t: K.in_train_phase(lambda: C * t, lambda: f(t) - C))), ROWS,
                       [7, 6, 5, 10, 9, 8]),
}
CELL = [10, 8.5, 6.25, 40.375, 24, 12.125, 133, 53.5, 21, 415.75, 111, 36.25, 11.5, 14.5, 19.75, 50.875, 54, 52.625,
        184, 155.5, 102, 628.75, 405, 171.25]
MASKED = [0, 0, 0, 11, 10, 9.625, 46.75, 31.5, 22.25, 162.625, 79, 41.25]
for _unroll in (False, True):
    BUILT[f'RNN, unroll={_unroll}'] = in_loop(
        lambda f, u=_unroll: RNN(Cell(f), return_sequences=True, unroll=u)), STEPS, CELL
    BUILT[f'RNN with masked steps, unroll={_unroll}'] = in_loop(
        lambda f, u=_unroll: RNN(Cell(f), return_sequences=True, unroll=u), mask=True), np.where(
        STEPS < -.5, 0, STEPS), MASKED + CELL[12:]


@pytest.mark.parametrize('build, x, expected', BUILT.values(), ids=BUILT)
def test_functions_mean_what_they_meant_when_the_layer_was_called(build, x, expected):
    i = Input(x.shape[1:])
    np.testing.assert_allclose(Model(i, build(i)).predict(x).ravel(), np.ravel(expected), rtol=1e-4, atol=1e-5)


MASK = np.array([[1., 0, 1]])
TRAINED = {
    'constraint': ({'kernel_constraint': lambda w: MASK * w}, [
        .97667, 0, 2.89, .96333, 0, 2.87, .95, 0, 2.85, -.01333, -.01667, -.02, 76.16666]),
    'constraint, from the right': ({'kernel_constraint': lambda w: w * MASK + C}, [
        1.97667, 2, 5.89, 1.96333, 2, 5.87, 1.95, 2, 5.85, -.01333, -.01667, -.02, 76.16666]),
    'regularizer': ({'kernel_regularizer': lambda w: K.sum(C * w * MASK)}, [
        .96667, 1.93333, 2.86, .95333, 1.91667, 2.84, .94, 1.9, 2.82, -.01333, -.01667, -.02, 106.16666]),
    'activity regularizer': ({'activity_regularizer': lambda y: K.sum(C * K.square(y) * MASK)}, [
        .73667, 1.93333, .73, .66333, 1.91667, .17, .59, 1.9, -.39, -.07333, -.01667, -.56, 1336.16663]),
    'initializer': ({'kernel_initializer': lambda shape: C * K.constant(np.ones(shape)) * C}, [
        .97667, 3.85333, 8.65, .96333, 3.81667, 8.57, .95, 3.78, 8.49, -.01333, -.03667, -.08, 660.16663]),
    'random initializer': ({'kernel_initializer': lambda s: K.truncated_normal(s, mean=np.ones(s), stddev=1e-9)}, [
        .97667, .97333, .97, .96333, .96667, .97, .95, .96, .97, -.01333, -.00667, 0, 10.66667]),
    'activation': ({'activation': lambda v: K.tanh(C * v / 9) * C}, [
        1.00122, 1.99947, 2.9998, 1.00076, 1.99973, 2.9999, 1.00031, 2, 3, -.00046, .00027, .0001, 2.07512]),
}


@pytest.mark.parametrize('settings, expected', TRAINED.values(), ids=TRAINED)
def test_arrays_beside_tensors_in_training(settings, expected):
    settings = {'kernel_initializer': lambda shape: C * np.ones(shape) + K.zeros(shape), **settings}
    model = Sequential([Dense(3, input_shape=(3,), **settings)])
    model.compile('sgd', 'mse')
    loss = model.train_on_batch(ROWS, ROWS)
    found = [*np.concatenate([w.ravel() for w in model.get_weights()]), loss]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


CLOSED = {
    'Dense': (lambda i, j: TimeDistributed(Dense(3, activation=lambda v: v * K.repeat_elements(
        j, 4, 0), kernel_initializer='identity'))(i), [
            2, .875, 0, 1.25, .5, 0, .5, .125, 0, -.25, -.25, 0, .5, 1.25, 2.25, .875, 2, 3.375, 1.25, 2.75, 4.5, 1.625,
            3.5, 5.625]),
    'SimpleRNN': (lambda i, j: SimpleRNN(3, activation=lambda v: v * j, **{**RECURRENT, 'return_sequences': False})(i),
                  [-78.5, -39.25, 0, 802, 1604, 2406]),
    'RNN': (lambda i, j: RNN(Cell(lambda v: v + j))(i), [-113.25, -33, -2.25, 66.75, 57, 27.75]),
    'map_fn': (lambda i, j: Lambda(lambda q: K.map_fn(lambda r: r * K.sum(j) + C, q))(i), [
        -2, -.625, .75, -.875, .5, 1.875, .25, 1.625, 3, 1.375, 2.75, 4.125, 2.5, 3.875, 5.25, 3.625, 5, 6.375, 4.75,
        6.125, 7.5, 5.875, 7.25, 8.625]),
    'switch': (lambda i, j: Lambda(lambda q: K.switch(K.sum(q) > 0, lambda: q * K.expand_dims(j, 1), lambda: q))(i), [
        2, .875, 0, 1.25, .5, 0, .5, .125, 0, -.25, -.25, 0, .5, 1.25, 2.25, .875, 2, 3.375, 1.25, 2.75, 4.5, 1.625,
        3.5, 5.625]),
}


@pytest.mark.parametrize('build, expected', CLOSED.values(), ids=CLOSED)
def test_other_inputs_that_functions_close_over(build, expected):
    i, j = Input((4, 3)), Input((3,))
    model = Model([i, j], build(i, j))
    np.testing.assert_allclose(model.predict([STEPS, ROWS]).ravel(), expected, rtol=1e-5)
    model.compile('sgd', 'mse')
    model.fit([STEPS, ROWS], model.predict([STEPS, ROWS]), verbose=0)
    assert all(g is not None for g in K.gradients(model.output, model.inputs))


def test_gradients_through_and_inside_of_loops():
    i, w = K.placeholder((None, 4, 3)), K.variable(np.ones(3))
    y = RNN(Cell(lambda v: K.tanh(C * v)), return_sequences=True)(Input(tensor=i))
    np.testing.assert_allclose(K.function([i], K.gradients(K.sum(y), [i]))([STEPS])[0][0], [
        [.43514, .01457, 5e-05], [.01203, .0001, .00012], [.00645, .00205, .31848], [.01289, .03954, 7.75977]],
        atol=2e-5)
    inside = K.map_fn(lambda r: K.gradients(K.sum(K.square(r) * C), [r])[0], i)
    np.testing.assert_allclose(K.function([i], [inside])([STEPS])[0], 2 * C * STEPS, rtol=1e-6)
    again = K.gradients(K.sum(K.square(inside)), [i])
    np.testing.assert_allclose(K.function([i], again)([STEPS])[0], 8 * C ** 2 * STEPS, rtol=1e-6)
    by_weight = K.map_fn(lambda r: K.gradients(K.sum(K.square(w) * r), [w])[0], i)
    np.testing.assert_allclose(K.function([i], [by_weight])([STEPS])[0], 2 * STEPS.sum(1), rtol=1e-6)
    total = K.sum(K.map_fn(lambda r: K.sum(C * r * w) + K.sum(K.stop_gradient(w)), i))
    np.testing.assert_allclose(K.function([i], K.gradients(total, [w]))([STEPS])[0], [2.5, 7, 13.5], rtol=1e-6)
    assert K.gradients(K.sum(K.map_fn(lambda r: K.sum(r * K.stop_gradient(w)), i)), [w]) == [None]


def test_the_learning_phase_inside_of_functions():
    i = Input((4, 3))
    y = RNN(Cell(lambda v: K.in_train_phase(lambda: v * C, lambda: v)))(i)
    assert y._uses_learning_phase and not RNN(Cell(K.tanh))(i)._uses_learning_phase
    run = K.function([i, K.learning_phase()], [y])
    np.testing.assert_allclose(run([STEPS, 0])[0], [[-33.25, -18, -2.25], [26.75, 27, 15.75]])
    np.testing.assert_allclose(run([STEPS, 1])[0], [[-33.25, -257, -209.25], [26.75, 253, 330.75]])
    z = Dense(3, activation=lambda v: K.dropout(v, .5) if K.learning_phase() is None else K.in_train_phase(v * 0, v))(i)
    run = K.function([i, K.learning_phase()], [z])
    assert run([STEPS, 0])[0].any() and not run([STEPS, 1])[0].any()


def counted(function):
    def call(*args):
        call.times += 1
        return function(*args)
    call.times = 0
    return call


COUNTED = {
    'Dense': lambda f: Dense(3, activation=f), 'Activation': Activation, 'LSTM': lambda f: LSTM(3, activation=f),
    'constraint': lambda f: Dense(3, kernel_constraint=f),
    'initializer': lambda f: Dense(3, kernel_initializer=lambda s: f(K.ones(s))),
    'regularizer': lambda f: Dense(3, kernel_regularizer=lambda w: K.sum(f(w))),
    'activity regularizer': lambda f: Dense(3, activity_regularizer=lambda w: K.sum(f(w))), 'map_fn': mapped,
    'RNN': lambda f: RNN(Cell(f)), 'unrolled': lambda f: RNN(Cell(f), unroll=True), 'switch': branches(K.sum),
    'in_train_phase': lambda f: Lambda(lambda t: K.in_train_phase(lambda: f(t), t)),
}


@pytest.mark.parametrize('make', COUNTED.values(), ids=COUNTED)
def test_nothing_is_called_when_the_model_runs(make):
    f = counted(lambda v: C * v)
    model = Sequential([make(f)])
    model.build((None, 4, 3))
    model.add(Dense(1))
    model.compile('sgd', lambda t, p: K.mean(K.square(p - t)))
    model.train_on_batch(STEPS, model.predict(STEPS))
    before = f.times
    assert before
    model.fit(STEPS, model.predict(STEPS), batch_size=1, epochs=2, verbose=0)
    model.evaluate(STEPS[:1], model.predict(STEPS[:1]), verbose=0)
    assert f.times == before


def test_constants_of_a_function_are_those_of_the_call():
    array, i = np.array([1., 2., 3.]), Input((3,))
    model = Model(i, Dense(3, activation=lambda v: v * array, kernel_initializer='identity')(i))
    array[:] = np.nan
    np.testing.assert_allclose(model.predict(ROWS), C * ROWS)


def test_states_are_kept_by_a_recorded_step():
    i = Input(batch_shape=(2, 2, 3))
    model = Model(i, RNN(Cell(lambda v: v), return_sequences=True, stateful=True)(i))
    whole = Sequential([RNN(Cell(lambda v: v), return_sequences=True, input_shape=(4, 3))]).predict(STEPS)
    np.testing.assert_allclose(np.concatenate([model.predict(STEPS[:, :2]), model.predict(STEPS[:, 2:])], 1), whole)
    model.reset_states()
    np.testing.assert_allclose(model.predict(STEPS[:, :2]), whole[:, :2])


def test_dropout_masks_of_built_in_cells_in_a_recorded_step_hold_for_the_sequence():
    i = Input((4, 3))
    identity = {'kernel_initializer': 'identity', 'recurrent_initializer': 'zeros', 'activation': lambda v: v}
    y = RNN([layers.SimpleRNNCell(3, dropout=.5, **identity), Cell(lambda v: v)], return_sequences=True)(i)
    run = K.function([i, K.learning_phase()], [y])
    first, second = (run([np.ones((8, 4, 3)), 1])[0] for _ in range(2))
    kept = first[:, 0] / C
    assert set(np.unique(kept)) == {0., 2.} and not np.array_equal(first, second)
    np.testing.assert_allclose(first[:, 1:], first[:, :1] + first[:, :-1] * C[::-1], rtol=1e-6)
    np.testing.assert_allclose(run([np.ones((8, 4, 3)), 0])[0][:, 0], np.tile(C, (8, 1)))


def twice(v):
    return C * v


class Masked:
    def __call__(self, w):
        return MASK * w

    def get_config(self):
        return {}


def functional():
    i = Input((4, 3))
    t = LSTM(3, activation=twice, return_sequences=True)(Conv1D(3, 2, activation=twice)(i))
    return Model(i, RNN(Cell(K.tanh))(Dense(3, activation=twice, kernel_constraint=Masked())(t)))


def test_copies_and_files(tmp_path):
    model = functional()
    model.compile('sgd', 'mse')
    model.fit(STEPS, np.zeros((2, 3)), verbose=0)
    expected = model.predict(STEPS)
    model.save(str(tmp_path / 'm.h5'))
    own = {'twice': twice, 'Cell': Cell, 'Masked': Masked}
    with CustomObjectScope(own):
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), models.load_model(str(tmp_path / 'm.h5'))]
        copies.append(models.clone_model(model))
        copies[-1].set_weights(model.get_weights())
    for other in copies:
        np.testing.assert_array_equal(other.predict(STEPS), expected)
    layer = copy.deepcopy(model.layers[-1])
    assert layer.cell.function is K.tanh and len(layer.get_weights()) == 1


def test_threads_share_a_recorded_step():
    model, found = functional(), {}
    expected = [model.predict(STEPS + n) for n in range(4)]

    def predict(n):
        found[n] = [model.predict(STEPS + n) for _ in range(5)]
    threads = [threading.Thread(target=predict, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, wanted in enumerate(expected):
        for result in found[n]:
            np.testing.assert_array_equal(result, wanted)


def test_an_exported_program_holds_what_was_recorded(tmp_path):
    model, path = functional(), str(tmp_path / 'm.pt2')
    kfacade.export(model, path)
    program = torch.export.load(path).module()
    x = torch.tensor(np.tile(STEPS, (2, 1, 1)), dtype=torch.float32)
    np.testing.assert_allclose(program(x).detach(), model.predict(x.numpy()), rtol=1e-5, atol=1e-6)


def test_hooks_and_tensors_see_the_activated_output():
    layer, i, seen = Dense(3, activation=lambda v: v + 1, kernel_initializer='identity'), Input((3,)), []
    model = Model(i, layer(i))
    layer.register_forward_hook(lambda module, args, output: seen.append(output))
    np.testing.assert_allclose(model.predict(ROWS), ROWS + 1)
    np.testing.assert_allclose(seen[0], ROWS + 1)
    np.testing.assert_allclose(layer(torch.tensor(ROWS).float()).detach(), ROWS + 1)


def test_errors_of_a_running_graph_name_the_layer():
    i = Input((None, 3))
    inner = Model(i, Lambda(lambda t: K.reshape(t, (-1, 6)), name='pairs')(i), name='inner')
    model = Model(i, layers.Activation('relu', name='last')(inner(i)))
    with pytest.raises(RuntimeError, match=r'of size 9\n\(Raised in layer inner/pairs, .*\(1, 3, 3\)'):
        model.predict(np.zeros((1, 3, 3)))
    cell = Model(i, RNN(Cell(lambda v: K.reshape(v, (2, 3))), name='steps')(i))
    with pytest.raises(RuntimeError, match='Raised in layer steps'):
        cell.predict(np.zeros((3, 4, 3)))
    x, y = K.placeholder((None, None)), K.placeholder((None, None))
    with pytest.raises(RuntimeError, match=r'Raised in `dot`, by tensors of shapes \(2, 3\), \(4, 5\)'):
        K.function([x, y], [K.dot(x, y)])([np.zeros((2, 3)), np.zeros((4, 5))])


def test_what_cannot_be_recorded_is_said():
    def mine(v):
        raise KeyError('mine')
    with pytest.raises(KeyError, match='mine'):
        Dense(3, activation=mine)(Input((3,)))
    with pytest.raises(TypeError, match='`<lambda>` must return tensors; it returned None'):
        Dense(3, activation=lambda v: None)(Input((3,)))
    kept, i = [], Input((4, 3))
    K.map_fn(lambda r: kept.append(r) or r, i)
    with pytest.raises(ValueError, match='not known outside of the loop, or other function, whose argument it is'):
        K.function([i], [kept[0] * 2])([STEPS])
    with pytest.raises(ValueError, match='among the inputs.$'):
        K.function([], [i])([])
