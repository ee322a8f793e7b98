"""fit_generator, evaluate_generator, predict_generator: the same numbers as from arrays, and Keras' contract."""
import random
import re
import threading

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, optimizers
from kfacade.callbacks import Callback, LambdaCallback
from kfacade.engine import Input, training_generator
from kfacade.models import Model, Sequential
from kfacade.utils import Sequence

N, BATCH = 50, 16
_rng = np.random.RandomState(0)
X, Y, Z = _rng.randn(N, 4), np.eye(3)[_rng.randint(3, size=N)], _rng.randn(N, 1)
KERNELS = [_rng.randn(4, 5) * .5, _rng.randn(5, 3) * .5, _rng.randn(5, 1)]
WEIGHTS = np.arange(N) % 4.
SLICES = [slice(i, i + BATCH) for i in range(0, N, BATCH)]


@pytest.fixture(autouse=True)
def no_threads_left():
    K.clear_session()
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10.)
        assert not thread.is_alive()


def classifier(**kwargs):
    model = Sequential([layers.Dense(5, activation='tanh', input_shape=(4,)), layers.Dense(3, activation='softmax')])
    model.set_weights([KERNELS[0], np.zeros(5), KERNELS[1], np.zeros(3)])
    model.compile(**{'optimizer': optimizers.SGD(.1, momentum=.9), 'loss': 'categorical_crossentropy',
                     'metrics': ['acc'], **kwargs})
    return model


def two_by_two():
    """Inputs a and b, outputs q (classes) and p (a number)."""
    a, b = Input((4,), name='a'), Input((4,), name='b')
    hidden = layers.Dense(5, activation='tanh')(layers.add([a, b]))
    model = Model([a, b], [layers.Dense(3, activation='softmax', name='q')(hidden), layers.Dense(1, name='p')(hidden)])
    model.set_weights([KERNELS[0], np.zeros(5), KERNELS[1], np.zeros(3), KERNELS[2], np.zeros(1)])
    model.compile(optimizers.SGD(.1), ['categorical_crossentropy', 'mse'], metrics={'q': 'acc'})
    return model


class Batches(Sequence):
    """The batches of some arrays; `log` takes down what is asked of it."""

    def __init__(self, *arrays, batch_size=BATCH, log=None):
        self.arrays, self.batch_size, self.log = arrays or (X, Y), batch_size, [] if log is None else log

    def __len__(self):
        return -(-N // self.batch_size)

    def __getitem__(self, index):
        self.log.append(index)
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return tuple(a[part] for a in self.arrays)

    def on_epoch_end(self):
        self.log.append('end')


def endless(source=None):
    """A generator over the batches of a `Sequence`."""
    source = source or Batches()
    while True:
        yield from source


def rows(x, part):
    """Rows of an array, or of all arrays in a list or dict."""
    if isinstance(x, dict):
        return {name: a[part] for name, a in x.items()}
    return [a[part] for a in x] if isinstance(x, list) else x[part]


def assert_same(model, expected):
    for got, wanted in zip(model.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def assert_same_history(got, wanted):
    assert list(got.history) == list(wanted.history)
    assert got.epoch == wanted.epoch
    for name, values in wanted.history.items():
        np.testing.assert_allclose(got.history[name], values, rtol=1e-6, err_msg=name)


# ---------------------------------------------------------------- the same as with arrays

SOURCES = {
    'generator': lambda: (endless(), 4),
    'iterator': lambda: (iter(list(Batches()) * 4), 4),
    'sequence': lambda: (Batches(), None),
    'sequence_with_steps': lambda: (Batches(), 4),
    'tensors': lambda: (endless(Batches(torch.from_numpy(X), torch.from_numpy(Y))), 4),
}


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('source', SOURCES)
def test_fit_generator_equals_fit(source, workers):
    model, expected = classifier(), classifier()
    generator, steps = SOURCES[source]()
    history = model.fit_generator(generator, steps, epochs=3, verbose=0, shuffle=False, workers=workers)
    assert_same_history(history, expected.fit(X, Y, batch_size=BATCH, epochs=3, verbose=0, shuffle=False))
    assert_same(model, expected)
    assert history is model.history


@pytest.mark.parametrize('use_multiprocessing', [False, True])
def test_several_workers_keep_the_order_of_a_sequence(use_multiprocessing):
    model, expected = classifier(), classifier()
    history = model.fit_generator(Batches(), epochs=2, verbose=0, shuffle=False, workers=3, validation_data=Batches(),
                                  use_multiprocessing=use_multiprocessing)
    assert_same_history(history, expected.fit(X, Y, BATCH, 2, verbose=0, shuffle=False, validation_data=(X, Y)))
    assert_same(model, expected)


def test_a_generator_in_another_process():
    model, expected = classifier(), classifier()
    model.fit_generator(endless(), 4, epochs=2, verbose=0, use_multiprocessing=True)
    expected.fit(X, Y, BATCH, 2, verbose=0, shuffle=False)
    assert_same(model, expected)
    np.testing.assert_allclose(model.predict_generator(endless(), 4, use_multiprocessing=True), expected.predict(X),
                               rtol=1e-6)
    np.testing.assert_allclose(model.evaluate_generator(endless(), 4, use_multiprocessing=True),
                               expected.evaluate(X, Y, BATCH, verbose=0), rtol=1e-6)


def test_epochs_need_not_meet_the_ends_of_a_sequence():
    model, expected = classifier(), classifier()
    history = model.fit_generator(Batches(), 3, epochs=4, verbose=0, shuffle=False)
    for part in SLICES * 3:
        expected.train_on_batch(X[part], Y[part])
    assert_same(model, expected)
    assert history.epoch == [0, 1, 2, 3]


def test_shuffle_is_a_new_order_of_batches_in_each_epoch():
    model, expected, log = classifier(), classifier(), []
    random.seed(3)
    model.fit_generator(Batches(log=log), epochs=2, verbose=0, max_queue_size=4)
    random.seed(3)
    order = list(range(4))
    for _ in range(2):
        random.shuffle(order)
        for i in order:
            expected.train_on_batch(X[SLICES[i]], Y[SLICES[i]])
        assert [log.pop(0) for _ in range(4)] == order
        if log:
            assert log.pop(0) == 'end'
    assert_same(model, expected)


def test_without_workers_a_sequence_is_neither_shuffled_nor_told_of_epochs():
    log = []
    classifier().fit_generator(Batches(log=log), epochs=2, verbose=0, workers=0)
    assert log == [0, 1, 2, 3] * 2


def test_sample_weights():
    model, expected = classifier(weighted_metrics=['acc']), classifier(weighted_metrics=['acc'])
    history = model.fit_generator(Batches(X, Y, WEIGHTS), epochs=2, verbose=0, shuffle=False)
    assert_same_history(history, expected.fit(X, Y, BATCH, 2, verbose=0, shuffle=False, sample_weight=WEIGHTS))
    assert_same(model, expected)


def test_class_weight():
    model, expected, class_weight = classifier(), classifier(), {0: 1., 1: 5., 2: .1}
    history = model.fit_generator(Batches(), epochs=2, verbose=0, shuffle=False, class_weight=class_weight)
    assert_same_history(history, expected.fit(X, Y, BATCH, 2, verbose=0, shuffle=False, class_weight=class_weight))
    assert_same(model, expected)


def test_sample_weights_hide_class_weights():
    with pytest.warns(UserWarning, match='Found both `sample_weight` and `class_weight`'):
        classifier().fit_generator(Batches(X, Y, WEIGHTS), 1, verbose=0, class_weight={0: 1., 1: 5., 2: .1})


AB, QP = {'a': X, 'b': X[::-1]}, {'q': Y, 'p': Z}


@pytest.mark.parametrize('x, y, weights', [
    (AB, QP, None), (list(AB.values()), list(QP.values()), None), (AB, QP, {'q': WEIGHTS, 'p': WEIGHTS[::-1]}),
    (list(AB.values()), list(QP.values()), [WEIGHTS, np.ones(N)])])
def test_several_inputs_and_outputs(x, y, weights):
    def batches():
        while True:
            for part in SLICES:
                yield (rows(x, part), rows(y, part), *([] if weights is None else [rows(weights, part)]))
    model, expected = two_by_two(), two_by_two()
    history = model.fit_generator(batches(), 4, epochs=2, verbose=0)
    assert_same_history(history, expected.fit(x, y, BATCH, 2, verbose=0, shuffle=False, sample_weight=weights))
    assert_same(model, expected)
    np.testing.assert_allclose(model.evaluate_generator(batches(), 4),
                               expected.evaluate(x, y, BATCH, 0, sample_weight=weights), rtol=1e-6)
    for got, wanted in zip(model.predict_generator(batches(), 4), expected.predict(x)):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_class_weight_of_one_output():
    model, expected, class_weight = two_by_two(), two_by_two(), {'q': {0: 1., 1: 2., 2: 3.}}
    x, y = list(AB.values()), list(QP.values())
    model.fit_generator(((rows(x, p), rows(y, p)) for p in SLICES), 4, verbose=0, class_weight=class_weight)
    expected.fit(x, y, BATCH, verbose=0, shuffle=False, class_weight=class_weight)
    assert_same(model, expected)


def test_a_model_without_input_shape_is_built_from_the_first_batch():
    for source in (endless(), Batches()):
        model = Sequential([layers.Dense(3, kernel_initializer='ones', activation='softmax')])
        model.compile(optimizers.SGD(.1), 'categorical_crossentropy', metrics=['acc'])
        expected = Sequential([layers.Dense(3, kernel_initializer='ones', activation='softmax', input_shape=(4,))])
        expected.compile(optimizers.SGD(.1), 'categorical_crossentropy', metrics=['acc'])
        history = model.fit_generator(source, 4, verbose=0, shuffle=False)
        assert_same_history(history, expected.fit(X, Y, BATCH, verbose=0, shuffle=False))
        assert_same(model, expected)


# ---------------------------------------------------------------- validation

@pytest.mark.parametrize('workers', [0, 1])
def test_validation_generators_go_on_where_they_stopped(workers):
    model = classifier(optimizer=optimizers.SGD(0.))
    history = model.fit_generator(endless(), 4, epochs=2, verbose=0, validation_data=endless(), validation_steps=3,
                                  workers=workers)
    for epoch, parts in enumerate(([0, 1, 2], [3, 0, 1])):
        index = np.concatenate([np.arange(N)[SLICES[i]] for i in parts])
        np.testing.assert_allclose([history.history['val_loss'][epoch], history.history['val_acc'][epoch]],
                                   model.evaluate(X[index], Y[index], verbose=0), rtol=1e-6)


def test_validation_arrays_take_the_size_of_the_last_batch():
    model = classifier()
    history = model.fit_generator(Batches(), verbose=0, shuffle=False, validation_data=(X, Y, WEIGHTS))
    assert N % BATCH == 2  # the weighted loss depends on the batch size, so it shows
    np.testing.assert_allclose([history.history['val_loss'][0], history.history['val_acc'][0]],
                               model.evaluate(X, Y, 2, 0, sample_weight=WEIGHTS), rtol=1e-6)


@pytest.mark.parametrize('validation_steps, seen', [(None, N), (2, 14)])
def test_validation_sequences_need_no_steps(validation_steps, seen):
    model = classifier()
    history = model.fit_generator(endless(), 4, verbose=0, validation_data=Batches(batch_size=7),
                                  validation_steps=validation_steps)
    np.testing.assert_allclose([history.history['val_loss'][0], history.history['val_acc'][0]],
                               model.evaluate(X[:seen], Y[:seen], verbose=0), rtol=1e-6)
    assert list(history.history) == ['val_loss', 'val_acc', 'loss', 'acc']


class Recorder(Callback):
    """Takes down the hooks that are called, and what they are given."""

    def on_train_begin(self, logs=None):
        self.events = [('train', self.validation_data)]

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(('epoch', epoch))

    def on_batch_begin(self, batch, logs=None):
        self.events.append(('begin', dict(logs)))

    def on_batch_end(self, batch, logs=None):
        self.events.append(('end', sorted(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(('done', sorted(logs)))


def test_what_callbacks_see():
    recorder, batch_logs = Recorder(), ['acc', 'batch', 'loss', 'size']
    classifier().fit_generator(iter(list(Batches())), 2, epochs=3, initial_epoch=1, verbose=0, callbacks=[recorder])
    assert recorder.params == {'epochs': 3, 'steps': 2, 'verbose': 0, 'do_validation': False,
                               'metrics': ['loss', 'acc', 'val_loss', 'val_acc']}
    assert recorder.validation_data is None
    assert recorder.events == [
        ('train', None),
        ('epoch', 1), ('begin', {'batch': 0, 'size': 16}), ('end', batch_logs),
        ('begin', {'batch': 1, 'size': 16}), ('end', batch_logs), ('done', ['acc', 'loss']),
        ('epoch', 2), ('begin', {'batch': 0, 'size': 16}), ('end', batch_logs),
        ('begin', {'batch': 1, 'size': 2}), ('end', batch_logs), ('done', ['acc', 'loss'])]


def test_validation_arrays_are_given_to_callbacks():
    x = Input((4,))
    model = Model(x, layers.Dense(3, activation='softmax')(layers.Dropout(.5)(x)))
    model.compile('sgd', 'categorical_crossentropy')
    recorder = Recorder()
    model.fit_generator(endless(), 1, verbose=0, callbacks=[recorder], validation_data=(X, Y))
    assert recorder.params['do_validation'] is True
    for got, wanted in zip(recorder.validation_data, [X, Y, np.ones(N), 0.]):
        np.testing.assert_array_equal(got, wanted)
    model.fit_generator(endless(), 1, verbose=0, callbacks=[recorder], validation_data=Batches())
    assert recorder.events[0][1] is not None  # nobody clears what an earlier run has set
    assert len(recorder.validation_data) == 4


def test_batch_logs_are_those_of_the_batch():
    model, expected, seen = classifier(), classifier(), []
    model.fit_generator(endless(), 4, verbose=0, callbacks=[LambdaCallback(
        on_batch_end=lambda batch, logs: seen.append([logs['loss'], logs['acc']]))])
    np.testing.assert_allclose(seen, [expected.train_on_batch(X[p], Y[p]) for p in SLICES], rtol=1e-6)


def test_epoch_logs_are_kept_over_epochs():
    added = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.setdefault('first', epoch))
    history = classifier().fit_generator(endless(), 2, 3, verbose=0, callbacks=[added], validation_data=(X, Y))
    assert history.history['first'] == [0, 0, 0]


@pytest.mark.parametrize('last, validated', [(0, False), (1, True)])
def test_stop_training(last, validated):
    model = classifier()

    def stop(batch, logs):
        model.stop_training = batch == last
    history = model.fit_generator(endless(), 2, epochs=3, verbose=0, validation_data=(X, Y),
                                  callbacks=[LambdaCallback(on_batch_end=stop)])
    assert history.epoch == [0]
    assert ('val_loss' in history.history) is validated  # a whole epoch is validated, even if it is the last


def test_callback_model():
    model, other = classifier(), classifier()
    model.callback_model = other

    def stop(batch, logs):
        other.stop_training = True
    recorder = Recorder()
    assert model.fit_generator(endless(), 2, 3, verbose=0, callbacks=[
        recorder, LambdaCallback(on_batch_end=stop)]).epoch == [0]
    assert recorder.model is other


def test_replaced_batch_methods_are_used():
    class Doubling(Sequential):
        def train_on_batch(self, x, y, sample_weight=None, class_weight=None):
            super().train_on_batch(x, y)
            return super().train_on_batch(x, y)

    model, expected = (kind([layers.Dense(3, kernel_initializer='ones', input_shape=(4,))])
                       for kind in (Doubling, Sequential))
    for m in (model, expected):
        m.compile(optimizers.SGD(.1), 'mse')
    history = model.fit_generator(endless(), 1, verbose=0)
    losses = [expected.train_on_batch(X[:BATCH], Y[:BATCH]) for _ in range(2)]
    np.testing.assert_allclose(history.history['loss'], losses[1:], rtol=1e-6)
    assert_same(model, expected)


def test_replaced_train_functions_are_used():
    model = classifier()
    model._make_train_function()
    fed = []

    def train_function(values):
        fed.append([np.shape(v) for v in values])
        return [np.float32(3.), np.float32(.5)]
    model.train_function = train_function
    assert model.fit_generator(endless(), 2, verbose=0).history == {'loss': [3.], 'acc': [.5]}
    assert fed == [[(16, 4), (16, 3), (16,)]] * 2


def test_the_bar(capsys):
    classifier().fit_generator(endless(), 2, epochs=2, validation_data=Batches())
    out = capsys.readouterr().out.replace('\b', '')
    assert out.startswith('Epoch 1/2\n\n1/2 [==============>...............] - ETA: ')
    assert out.count('2/2 [==============================] - ') == 2
    assert ' - val_loss: ' in out and out.index('Epoch 2/2\n') > 0
    classifier().fit_generator(endless(), 2, verbose=2)
    out = capsys.readouterr().out
    assert re.fullmatch(r'Epoch 1/1\n - \ds - loss: 1\.\d{4} - acc: 0\.\d{4}\n', out)


# ---------------------------------------------------------------- evaluate and predict

@pytest.mark.parametrize('workers', [0, 1, 2])
def test_evaluate_generator_weighs_batches_by_their_size(workers):
    model = classifier()
    result = model.evaluate_generator(Batches(X, Y, WEIGHTS), workers=workers)
    np.testing.assert_allclose(result, model.evaluate(X, Y, BATCH, 0, sample_weight=WEIGHTS), rtol=1e-6)
    assert [type(v) for v in result] == [np.float64] * 2
    assert type(classifier(metrics=None).evaluate_generator(endless(), 1)) is np.float64


class CountSamples(layers.Layer):
    """A stateful metric: the number of samples since the last reset."""

    def __init__(self, **kwargs):
        super().__init__(name='count', **kwargs)
        self.stateful = True
        self.seen = K.variable(0.)

    def reset_states(self):
        K.set_value(self.seen, 0.)

    def __call__(self, y_true, y_pred):
        new = K.sum(K.ones_like(y_pred[:, 0]))
        before = self.seen * 1
        self.add_update(K.update_add(self.seen, new), inputs=[y_true, y_pred])
        return before + new


def test_stateful_metrics_give_their_last_value():
    model = classifier(metrics=[CountSamples()])
    history = model.fit_generator(endless(), 3, epochs=2, verbose=0, validation_data=Batches(batch_size=7))
    assert history.history['count'] == [48., 34.]
    assert history.history['val_count'] == [50., 50.]
    assert model.evaluate_generator(Batches(), 2)[1] == 32.
    assert model.evaluate_generator(Batches(), 2)[1] == 32.


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_predict_generator(workers):
    model = classifier()
    inputs_alone = type('Inputs', (Batches,), {'__getitem__': lambda self, i: X[SLICES[i]]})
    for source in (Batches(), Batches(X, Y, WEIGHTS), inputs_alone()):
        np.testing.assert_allclose(model.predict_generator(source, workers=workers), model.predict(X), rtol=1e-6)
    if workers < 2:  # several threads take the batches of a plain generator in any order
        np.testing.assert_allclose(model.predict_generator(endless(), 1, workers=workers), model.predict(X[:BATCH]),
                                   rtol=1e-6)
    assert model.predict_generator(endless(), 0, workers=workers) == []


def test_predict_generator_needs_no_compile_and_takes_lists_as_several_inputs():
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], layers.add([a, b]))
    np.testing.assert_allclose(model.predict_generator(iter([[X, X], [Z * X, X]]), 2),
                               np.concatenate([2 * X, (Z + 1) * X]), rtol=1e-6)


@pytest.mark.parametrize('method', ['evaluate_generator', 'predict_generator'])
def test_only_verbose_1_shows_a_bar(capsys, method):
    getattr(classifier(), method)(Batches(), verbose=1)
    out = capsys.readouterr().out.replace('\b', '')
    assert out.startswith('\n1/4 [======>.......................] - ETA: ')
    assert '4/4 [==============================] - ' in out and 'loss' not in out
    getattr(classifier(), method)(Batches())
    getattr(classifier(), method)(Batches(), verbose=2)
    assert capsys.readouterr().out == ''


# ---------------------------------------------------------------- what is refused

@pytest.mark.parametrize('method, argument', [
    ('fit_generator', 'steps_per_epoch'), ('evaluate_generator', 'steps'), ('predict_generator', 'steps')])
def test_only_sequences_know_their_steps(method, argument):
    with pytest.raises(ValueError, match=f'^`{argument}=None` is only valid for a generator based on the '
                       f'`keras.utils.Sequence` class. Please specify `{argument}` or use the `keras.utils.Sequence` '
                       'class.$'):
        getattr(classifier(), method)(endless())


@pytest.mark.parametrize('value, whole', [(2., 2), (np.ceil(5 / 3.), 2), (np.float32(2), 2), (1.5, 2), (6 / 4, 2)])
@pytest.mark.parametrize('workers', [0, 1])
def test_counts_may_be_floats(value, whole, workers):
    for source in (endless, Batches):
        history = classifier().fit_generator(source(), value, value, verbose=0, validation_data=source(),
                                             validation_steps=value, workers=workers)
        assert history.epoch == list(range(whole)) and history.params['steps'] == whole
        assert len(classifier().predict_generator(source(), value, workers=workers)) == whole * BATCH
        assert np.isfinite(classifier().evaluate_generator(source(), value, workers=workers)).all()


@pytest.mark.parametrize('steps, log', [(None, [0, 1, 2, 3, 'end'] * 2), (2, [0, 1, 2, 3, 'end']),
                                        (3, [0, 1, 2, 3, 'end', 0, 1])])
def test_a_sequence_is_asked_for_no_more_than_is_used(steps, log):
    training, validation = Batches(), Batches()
    classifier().fit_generator(training, steps, epochs=2, verbose=0, shuffle=False, validation_data=validation,
                               validation_steps=steps)
    assert training.log == validation.log == log


def test_a_generator_goes_on_after_the_last_batch_that_was_used():
    numbers = iter(range(100))
    source = ((X, Y) for _ in numbers)
    classifier().fit_generator(source, 3, epochs=2, verbose=0)
    assert next(numbers) == 6


def test_validation_generators_need_steps():
    with pytest.raises(ValueError, match='^`validation_steps=None` is only valid for a generator'):
        classifier().fit_generator(endless(), 2, validation_data=endless())


def test_no_batches():
    empty = type('Empty', (Batches,), {'__len__': lambda self: 0})()
    with pytest.raises(ValueError, match='`steps_per_epoch` is None, and the Empty has no batches'):
        classifier().fit_generator(empty)
    with pytest.raises(ValueError, match='There is nothing to do: `steps` is 0.$'):
        classifier().evaluate_generator(endless(), 0)


def test_uncompiled_models():
    model = Sequential([layers.Dense(3, input_shape=(4,))])
    for method in (model.fit_generator, model.evaluate_generator):
        with pytest.raises(RuntimeError, match='You must compile'):
            method(endless(), 1)


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('batch, message', [
    (3, r'Output of generator should be a tuple `\(x, y, sample_weight\)` or `\(x, y\)`. Found: 3$'),
    ((X,), 'Output of generator should be a tuple'),
    ((X, Y, Y, Y), 'Output of generator should be a tuple'),
    ((X[:, :3], Y), r'expected dense_1_input to have shape \(4,\) but got array with shape \(3,\)'),
    ((X, Y[:2]), 'Found 50 input samples and 2 target samples'),
    ((X, Y, np.ones(3)), r'sample_weight array with shape \(3,\) for an input with shape \(50, 3\)'),
    (({'wrong': X}, Y), 'No data provided for "dense_1_input"'),
])
def test_a_bad_batch_changes_no_weights(batch, message, workers):
    model, expected = classifier(), classifier()
    expected.train_on_batch(X, Y)
    with pytest.raises(ValueError, match=message):
        model.fit_generator(iter([(X, Y), batch, (X, Y)]), 3, verbose=0, workers=workers)
    assert_same(model, expected)
    with pytest.raises(ValueError, match=message):
        model.evaluate_generator(iter([(X, Y), batch, (X, Y)]), 3, workers=workers)


def test_bad_batches_to_predict():
    with pytest.raises(ValueError, match='Output of generator should be a tuple'):
        classifier().predict_generator(iter([(X, Y, Y, Y)]), 1)


def test_empty_batches():
    with pytest.raises(ValueError, match='^Received an empty batch. Batches should contain at least one item.$'):
        classifier().evaluate_generator(iter([(X[:0], Y[:0])]), 1)


@pytest.mark.parametrize('validation_data', [(X,), (X, Y, Y, Y)])
def test_validation_tuples(validation_data):
    with pytest.raises(ValueError, match='`validation_data` should be a tuple `.val_x, val_y, val_sample_weight.`'):
        classifier().fit_generator(endless(), 1, verbose=0, validation_data=validation_data)


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('method', ['fit_generator', 'evaluate_generator', 'predict_generator'])
def test_generators_that_end_early(method, workers):
    model, finite = classifier(), [(X, Y)] * 2
    with pytest.raises(StopIteration, match='ended after 2 of 3 batches'):
        getattr(model, method)(iter(finite), 3, verbose=0, workers=workers)
    getattr(model, method)(iter(finite), 2, verbose=0, workers=workers)


def test_None_is_skipped_by_workers():
    model = classifier()
    np.testing.assert_allclose(model.evaluate_generator(iter([None, (X, Y), None, (X[:5], Y[:5])]), 2),
                               model.evaluate(np.append(X, X[:5], 0), np.append(Y, Y[:5], 0), verbose=0), rtol=1e-6)


# Python 3.12 and later warn of a fork while the threads of the last pool are ending
@pytest.mark.filterwarnings('ignore:.*use of fork:DeprecationWarning')
def test_a_generator_with_several_processes_may_repeat_itself():
    for method in ('fit_generator', 'evaluate_generator', 'predict_generator'):
        with pytest.warns(UserWarning, match='^Using a generator with `use_multiprocessing=True` and multiple workers '
                          'may duplicate your data. Please consider using the`keras.utils.Sequence class.$') as caught:
            getattr(classifier(), method)(endless(), 2, workers=2, use_multiprocessing=True, verbose=0)
        assert [w.filename for w in caught if w.category is UserWarning] == [__file__]


def test_errors_of_workers_and_callbacks_stop_the_enqueuers(monkeypatch):
    made = []
    for name in ('OrderedEnqueuer', 'GeneratorEnqueuer'):
        kind = getattr(training_generator, name)
        monkeypatch.setattr(training_generator, name, lambda *args, kind=kind: made.append(kind(*args)) or made[-1])

    def fail(*_):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError):
        classifier().fit_generator((1 // 0 for _ in range(3)), 2, verbose=0, validation_data=Batches())
    with pytest.raises(KeyboardInterrupt):
        classifier().fit_generator(Batches(), verbose=0, validation_data=endless(), validation_steps=1,
                                   callbacks=[LambdaCallback(on_batch_end=fail)])
    with pytest.raises(ValueError, match='empty batch'):
        classifier().evaluate_generator(Batches(X[:0], Y[:0]))
    classifier().predict_generator(Batches())
    assert len(made) == 6 and not any(enqueuer.is_running() for enqueuer in made)


def test_keras_1_arguments():
    model, expected = classifier(), classifier()
    with pytest.warns(UserWarning) as caught:
        model.fit_generator(endless(), samples_per_epoch=4, nb_epoch=2, nb_worker=1, max_q_size=3, pickle_safe=False,
                            verbose=0, validation_data=endless(), nb_val_samples=4)
    assert 'Update your `fit_generator` call to the Keras 2 API' in str(caught[-1].message)
    expected.fit(X, Y, BATCH, 2, verbose=0, shuffle=False)
    assert_same(model, expected)
    with pytest.warns(UserWarning) as caught:
        result = model.evaluate_generator(endless(), val_samples=4)
    assert 'Update your `evaluate_generator` call to the Keras 2 API' in str(caught[-1].message)
    np.testing.assert_allclose(result, expected.evaluate(X, Y, BATCH, 0), rtol=1e-6)
