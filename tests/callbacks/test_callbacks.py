"""Callbacks one by one, on a stand-in for a model. Values and messages are those of Keras 2.2.4."""
import copy
import http.server
import io
import json
import pickle
import sys
import threading
import time
import types
import urllib.parse

import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import callbacks as cbks
from kfacade.callbacks import Logs
from kfacade.layers import Dense
from kfacade.models import Sequential

SERIES = [1., .9, .95, .89, .93, .99, .8]


class Model:
    """What callbacks ask of a model: an optimizer with a rate, weights, and where they would be saved."""

    metrics_names = ['loss', 'acc', 'm']
    stateful_metric_names = ['m']

    def __init__(self):
        self.optimizer = types.SimpleNamespace(lr=K.variable(.1))
        self.stop_training = False
        self.weights = 0
        self.saved = []

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights

    def save(self, path, overwrite):
        self.saved.append((path, overwrite))

    def save_weights(self, path, overwrite):
        self.saved.append((path, overwrite, 'weights'))


def epochs(callback, values, name='val_loss'):
    """Runs a callback over epochs whose only log is given, until it stops; returns the model and the epochs' logs."""
    callback.set_model(model := Model())
    callback.set_params({'metrics': [name]})
    callback.on_train_begin()
    history = []
    for epoch, value in enumerate(values):
        model.weights = epoch
        callback.on_epoch_begin(epoch, {})
        logs = {name: value}
        callback.on_epoch_end(epoch, logs)
        history.append(logs)
        if model.stop_training:
            break
    callback.on_train_end()
    return model, history


# ---------------------------------------------------------------- logs

def batch_logs(**values):
    return Logs(batch=0, size=2, **{name: torch.tensor(value) for name, value in values.items()})


@pytest.mark.parametrize('read', [
    dict, copy.copy, copy.deepcopy, Logs.copy, lambda x: {**x}, lambda x: dict(**x), lambda x: dict(x.items()),
    lambda x: dict(zip(x.keys(), x.values())), lambda x: {key: x[key] for key in x}, lambda x: {k: x.get(k) for k in x},
    lambda x: x | {}, lambda x: {} | x, lambda x: json.loads(json.dumps(x)), lambda x: pickle.loads(pickle.dumps(x)),
    lambda x: eval(repr(x)),
    lambda x: {'batch': x.pop('batch'), 'size': x.setdefault('size', 0), 'loss': x.pop('loss')},
], ids=range(16))
def test_logs_are_a_dict_of_numbers(read):
    logs = read(batch_logs(loss=.5))
    assert logs == {'batch': 0, 'size': 2, 'loss': .5}
    assert [type(v) for v in dict.values(logs)] == [int, int, float]


def test_logs_compare_and_format_as_numbers():
    assert batch_logs(loss=.5) == {'batch': 0, 'size': 2, 'loss': .5} != batch_logs(loss=.25)
    assert '{loss:.2f} {acc:d}'.format(**batch_logs(loss=.5, acc=1)) == '0.50 1'
    assert list(batch_logs(loss=.5)) == ['batch', 'size', 'loss']
    assert batch_logs().get('loss') is None and batch_logs().get('loss', 3) == 3
    with pytest.raises(KeyError):
        batch_logs()['loss']


def test_logs_give_tensors_of_a_device_as_they_are():
    on_device = torch.zeros((), device='meta')
    logs = Logs(size=2, loss=on_device, acc=torch.tensor(.5))
    assert logs.raw('loss') is on_device
    assert logs.raw_items() == [('size', 2), ('loss', on_device), ('acc', .5)]
    with pytest.raises(RuntimeError, match='meta'):
        logs['loss']


def test_logs_keep_what_was_read():
    logs = Logs(loss=torch.tensor(.5), vector=torch.tensor([1., 2.]))
    value = logs['loss']
    assert logs.raw('loss') is value is dict.__getitem__(logs, 'loss')
    np.testing.assert_array_equal(logs['vector'], [1., 2.])


# ---------------------------------------------------------------- a run

def run_epochs(monkeypatch, verbose, count_mode='samples', stop=False, tensors=False):
    """Two epochs of three batches; what was printed, and the history."""
    now = [1000.]
    monkeypatch.setattr(time, 'time', lambda: now[0])
    monkeypatch.setattr(sys, 'stdout', io.StringIO())

    class Rate(cbks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs['lr'] = .5

    steps = 3 if count_mode == 'steps' else None
    model = Model()
    run = cbks.configure(model, [Rate()], 32, 2, steps, 72, verbose, do_validation=True)
    run.on_train_begin()
    for epoch in range(2):
        run.on_epoch_begin(epoch)
        logs = {}
        for batch, size in enumerate((32, 32, 8)):
            now[0] += .3 if batch else .02
            batch_logs = Logs(batch=batch, size=size)
            run.on_batch_begin(batch, batch_logs)
            values = {'loss': (batch + 1) / (epoch + 3), 'acc': .1 * batch, 'm': float(batch + epoch)}
            batch_logs.update((k, torch.tensor(v, dtype=torch.float64) if tensors else v) for k, v in values.items())
            run.on_batch_end(batch, batch_logs)
            if stop and batch == 1:
                break
        else:
            logs.update(val_loss=.25, val_acc=.75, val_m=2.)
        now[0] += .5
        run.on_epoch_end(epoch, logs)
    run.on_train_end()
    return sys.stdout.getvalue(), model.history.history


BAR = '''Epoch 1/2

32/72 [============>.................] - ETA: 0s - loss: 0.3333 - acc: 0.0000e+00 - m: 0.0000e+00
64/72 [=========================>....] - ETA: 0s - loss: 0.5000 - acc: 0.0500 - m: 1.0000        |
72/72 [==============================] - 1s 16ms/step - loss: 0.5556 - acc: 0.0667 - m: 2.0000 - val_loss: 0.2500 -\
 val_acc: 0.7500 - val_m: 2.0000
Epoch 2/2

32/72 [============>.................] - ETA: 0s - loss: 0.2500 - acc: 0.0000e+00 - m: 1.0000
64/72 [=========================>....] - ETA: 0s - loss: 0.3750 - acc: 0.0500 - m: 2.0000    |
72/72 [==============================] - 1s 16ms/step - loss: 0.4167 - acc: 0.0667 - m: 3.0000 - val_loss: 0.2500 -\
 val_acc: 0.7500 - val_m: 2.0000
'''.replace('|', '')  # the bars keep the spaces before them
STEPS = '''Epoch 1/2

1/3 [=========>....................] - ETA: 0s - loss: 0.3333 - acc: 0.0000e+00 - m: 0.0000e+00
2/3 [===================>..........] - ETA: 0s - loss: 0.5000 - acc: 0.0500 - m: 1.0000        |
3/3 [==============================] - 1s 373ms/step - loss: 0.6389 - acc: 0.0917 - m: 2.0000 - val_loss: 0.2500 -\
 val_acc: 0.7500 - val_m: 2.0000
Epoch 2/2

1/3 [=========>....................] - ETA: 0s - loss: 0.2500 - acc: 0.0000e+00 - m: 1.0000
2/3 [===================>..........] - ETA: 0s - loss: 0.3750 - acc: 0.0500 - m: 2.0000    |
3/3 [==============================] - 1s 373ms/step - loss: 0.4792 - acc: 0.0917 - m: 3.0000 - val_loss: 0.2500 -\
 val_acc: 0.7500 - val_m: 2.0000
'''.replace('|', '')  # the bars keep the spaces before them
LINES = '''Epoch 1/2
 - 1s - loss: 0.5556 - acc: 0.0667 - m: 2.0000 - val_loss: 0.2500 - val_acc: 0.7500 - val_m: 2.0000
Epoch 2/2
 - 1s - loss: 0.4167 - acc: 0.0667 - m: 3.0000 - val_loss: 0.2500 - val_acc: 0.7500 - val_m: 2.0000
'''
STOPPED = '''Epoch 1/2

32/72 [============>.................] - ETA: 0s - loss: 0.3333 - acc: 0.0000e+00 - m: 0.0000e+00
64/72 [=========================>....] - ETA: 0s - loss: 0.5000 - acc: 0.0500 - m: 1.0000        |
64/72 [=========================>....] - ETA: 0s - loss: 0.5000 - acc: 0.0500 - m: 1.0000Epoch 2/2
'''.replace('|', '')  # the bars keep the spaces before them


@pytest.mark.parametrize('tensors', [False, True])
@pytest.mark.parametrize('verbose, count_mode, expected', [
    (1, 'samples', BAR), (1, 'steps', STEPS), (2, 'samples', LINES), (0, 'samples', '')])
def test_what_a_run_prints_and_records(monkeypatch, verbose, count_mode, expected, tensors):
    printed, history = run_epochs(monkeypatch, verbose, count_mode, tensors=tensors)
    assert printed == expected
    assert list(history) == ['val_loss', 'val_acc', 'val_m', 'loss', 'acc', 'm', 'lr']
    assert history['loss'] == pytest.approx([5 / 9, 5 / 12]) and history['acc'] == pytest.approx([.4 / 6] * 2)
    assert history['m'] == [2., 3.] and history['lr'] == [.5, .5] and history['val_loss'] == [.25, .25]
    assert all(isinstance(value, float) for values in history.values() for value in values)


def test_a_run_that_is_stopped_within_an_epoch(monkeypatch):
    printed, history = run_epochs(monkeypatch, 1, stop=True)
    assert printed.startswith(STOPPED)
    assert history == {'loss': [.5, .375], 'acc': [.05, .05], 'm': [1., 2.], 'lr': [.5, .5]}


def test_configure():
    user, model = cbks.Callback(), Model()
    run = cbks.configure(model, [user], 32, 5, None, 100, 1, True)
    assert [type(c).__name__ for c in run] == ['BaseLogger', 'ProgbarLogger', 'Callback', 'History']
    assert list(run)[-1] is model.history and user.model is model
    metrics = ['loss', 'acc', 'm', 'val_loss', 'val_acc', 'val_m']
    assert user.params == {'batch_size': 32, 'epochs': 5, 'steps': None, 'samples': 100, 'verbose': 1,
                           'do_validation': True, 'metrics': metrics}
    model.callback_model = other = Model()
    run = cbks.configure(model, [user], epochs=5, steps_per_epoch=7, verbose=0, from_generator=True)
    assert [type(c).__name__ for c in run] == ['BaseLogger', 'Callback', 'History']
    assert user.model is other
    assert user.params == {'epochs': 5, 'steps': 7, 'verbose': 0, 'do_validation': False, 'metrics': metrics}
    run.set_validation_data([1, 2])
    assert user.validation_data == [1, 2]


def test_no_batch_waits_for_the_device():
    """With nobody to read them, values on a device (here one that cannot be read) pass through a whole epoch."""
    torch.zeros((), device='meta') * 2 + 1  # the first sum takes torch a second, which would count as a slow callback
    for verbose in (0, 2):
        run = cbks.configure(Model(), [cbks.Callback(), cbks.LambdaCallback()], 2, 1, None, 9, verbose)
        run.on_train_begin()
        run.on_epoch_begin(0)
        for batch in range(3):
            run.on_batch_begin(batch, Logs(batch=batch, size=2))
            run.on_batch_end(batch, Logs(batch=batch, size=2, loss=torch.zeros((), device='meta')))


def test_means_of_single_precision_are_summed_in_double():
    logger = cbks.BaseLogger()
    logger.set_params({'metrics': ['loss']})
    logger.on_epoch_begin(0)
    for batch in range(1000):
        logger.on_batch_end(batch, Logs(size=3, loss=torch.tensor(.1)))
    logger.on_epoch_end(0, logs := {})
    assert logs['loss'] == pytest.approx(float(np.float32(.1)), rel=1e-12)


def test_hooks_of_the_batch_are_found_anew_each_epoch():
    calls = []
    plain = cbks.Callback()
    run = cbks.CallbackList([plain])
    run.append(cbks.LambdaCallback(on_batch_end=lambda batch, logs: calls.append((batch, logs))))
    run.on_batch_end(0, {'loss': 1.})
    plain.on_batch_begin = lambda batch, logs: calls.append('begin')
    run.on_batch_begin(1)
    run.on_epoch_begin(1)
    run.on_batch_begin(1)
    assert calls == [(0, {'loss': 1.}), 'begin']


@pytest.mark.parametrize('hook', ['on_batch_begin', 'on_batch_end'])
def test_slow_hooks(monkeypatch, hook):
    now = [0.]
    monkeypatch.setattr(time, 'time', lambda: now[0])

    def sleep(*args):
        now[0] += .3
    run = cbks.CallbackList([cbks.LambdaCallback(**{hook: sleep})])
    run.on_epoch_begin(0)

    def batch(seconds):
        run.on_batch_begin(0)
        now[0] += seconds
        run.on_batch_end(0)
    batch(1.)
    batch(1.)
    with pytest.warns(UserWarning, match=rf'^Method {hook}\(\) is slow compared to the batch update \(0.300000\). '
                                         'Check your callbacks.$'):
        batch(.01)
        batch(.01)


def test_waiting_for_the_device_is_not_a_slow_hook(monkeypatch):
    """A hook that reads a value pays for the batch that computes it."""
    now = [0.]
    monkeypatch.setattr(time, 'time', lambda: now[0])

    class Busy(Logs):
        def __getitem__(self, key):
            now[0] += .3
            self.waited += .3
            return 1.
    run = cbks.CallbackList([cbks.LambdaCallback(on_batch_end=lambda batch, logs: logs['loss'])])
    run.on_epoch_begin(0)
    for batch in range(3):
        run.on_batch_begin(batch)
        now[0] += .001
        run.on_batch_end(batch, Busy(loss=1.))


def test_lambda_callback():
    calls = []
    hooks = {name: lambda *args, name=name: calls.append((name, *args)) for name in
             'on_epoch_begin on_epoch_end on_batch_begin on_batch_end on_train_begin on_train_end'.split()}
    callback = cbks.LambdaCallback(**hooks, color='red')
    assert callback.color == 'red'
    run = cbks.CallbackList([callback])
    run.on_train_begin()
    run.on_epoch_begin(0)
    run.on_batch_begin(0)
    run.on_batch_end(0, {'loss': 1.})
    run.on_epoch_end(0)
    run.on_train_end()
    assert calls == [('on_train_begin', {}), ('on_epoch_begin', 0, {}), ('on_batch_begin', 0, {}),
                     ('on_batch_end', 0, {'loss': 1.}), ('on_epoch_end', 0, {}), ('on_train_end', {})]


def test_unknown_count_mode():
    with pytest.raises(ValueError, match='^Unknown `count_mode`: x$'):
        cbks.ProgbarLogger('x')


# ---------------------------------------------------------------- control

@pytest.mark.parametrize('loss, stops', [
    (1., False), (np.float32(2), False), (float('inf'), True), (float('nan'), True)])
def test_terminate_on_nan(capsys, loss, stops):
    callback = cbks.TerminateOnNaN()
    callback.set_model(Model())
    callback.on_batch_end(3, {})
    callback.on_batch_end(4, {'loss': loss})
    assert callback.model.stop_training is stops
    assert capsys.readouterr().out == 'Batch 4: Invalid loss, terminating training\n' * stops


@pytest.mark.parametrize('options, name, stopped, best, weights', [
    ({'patience': 0}, 'val_loss', 2, .9, 2),
    ({'patience': 1}, 'val_loss', 2, .9, 2),
    ({'patience': 2}, 'val_loss', 5, .89, 5),
    ({'patience': 2, 'restore_best_weights': True}, 'val_loss', 5, .89, 3),
    ({'patience': 3, 'min_delta': .05, 'restore_best_weights': True}, 'val_loss', 4, .9, 1),
    ({'patience': 2, 'min_delta': .01, 'monitor': 'val_acc'}, 'val_acc', 2, 1., 2),
    ({'patience': 1, 'mode': 'max', 'monitor': 'q'}, 'q', 1, 1., 1),
    ({'patience': 3, 'baseline': .85, 'restore_best_weights': True}, 'val_loss', 2, .85, 2),
    ({'patience': 9, 'baseline': .85}, 'val_loss', 0, .8, 6),
])
def test_early_stopping(capsys, options, name, stopped, best, weights):
    callback = cbks.EarlyStopping(verbose=1, **options)
    model, _ = epochs(callback, SERIES, name)
    assert (callback.stopped_epoch, callback.best, model.weights) == (stopped, best, weights)
    restored = callback.best_weights is not None
    assert capsys.readouterr().out == (
        'Restoring model weights from the end of the best epoch\n' * restored
        + f'Epoch {stopped + 1:05d}: early stopping\n' * (stopped > 0))


def test_early_stopping_starts_anew():
    callback = cbks.EarlyStopping(patience=2)
    assert epochs(callback, SERIES)[1] == epochs(callback, SERIES)[1]


@pytest.mark.parametrize('make, message', [
    (lambda: cbks.EarlyStopping(mode='up'), 'EarlyStopping mode up is unknown, fallback to auto mode.'),
    (lambda: cbks.ModelCheckpoint('p', mode='up'), 'ModelCheckpoint mode up is unknown, fallback to auto mode.'),
    (lambda: cbks.ReduceLROnPlateau(mode='up'),
     'Learning Rate Plateau Reducing mode up is unknown, fallback to auto mode.'),
    (lambda: epochs(cbks.EarlyStopping(), [1.], 'loss'),
     'Early stopping conditioned on metric `val_loss` which is not available. Available metrics are: loss'),
    (lambda: epochs(cbks.ModelCheckpoint('p', save_best_only=True), [1.], 'loss'),
     'Can save best model only with val_loss available, skipping. Available metrics are: loss'),
    (lambda: epochs(cbks.ReduceLROnPlateau(), [1.], 'loss'),
     'Reduce LR on plateau conditioned on metric `val_loss` which is not available. Available metrics are: loss,lr'),
])
def test_warnings(make, message):
    with pytest.warns(RuntimeWarning) as caught:
        make()
    assert [str(warning.message) for warning in caught] == [message]


@pytest.mark.parametrize('options, name, printed, saved', [
    ({'filepath': 'w.{epoch:02d}-{val_loss:.2f}.h5', 'period': 3}, 'val_loss',
     '\nEpoch 00003: saving model to w.03-0.95.h5\n\nEpoch 00006: saving model to w.06-0.99.h5\n',
     [('w.03-0.95.h5', True), ('w.06-0.99.h5', True)]),
    ({'filepath': 'w', 'save_best_only': True, 'save_weights_only': True, 'period': 2}, 'val_loss',
     '\nEpoch 00002: val_loss improved from inf to 0.90000, saving model to w\n'
     '\nEpoch 00004: val_loss improved from 0.90000 to 0.89000, saving model to w\n'
     '\nEpoch 00006: val_loss did not improve from 0.89000\n', [('w', True, 'weights')] * 2),
    ({'filepath': 'w', 'monitor': 'fmeasure_x', 'save_best_only': True, 'period': 3}, 'fmeasure_x',
     '\nEpoch 00003: fmeasure_x improved from -inf to 0.95000, saving model to w\n'
     '\nEpoch 00006: fmeasure_x improved from 0.95000 to 0.99000, saving model to w\n', [('w', True)] * 2),
])
def test_model_checkpoint(capsys, options, name, printed, saved):
    model, _ = epochs(cbks.ModelCheckpoint(verbose=1, **options), SERIES, name)
    assert model.saved == saved
    assert capsys.readouterr().out == printed


REDUCING = '\nEpoch %05d: ReduceLROnPlateau reducing learning rate to %s.\n'


@pytest.mark.parametrize('options, name, rates, printed', [
    ({'patience': 1, 'factor': .5, 'cooldown': 2}, 'val_loss', [.1, .1, .1, .05, .05, .025, .025],
     [(3, .05000000074505806), (5, .02500000037252903)]),
    ({'patience': 1, 'factor': .1, 'min_lr': .004}, 'val_loss', [.1, .1, .1, .01, .01, .004, .004],
     [(3, .010000000149011612), (5, .004), (6, .004)]),
    ({'patience': 2, 'monitor': 'acc'}, 'acc', [.1, .1, .1, .01, .01, .001, .001],
     [(3, .010000000149011612), (5, .0009999999776482583), (7, 9.999999310821295e-05)]),
    ({'patience': 2, 'min_delta': .2}, 'val_loss', [.1, .1, .1, .01, .01, .001, .001],
     [(3, .010000000149011612), (5, .0009999999776482583), (7, 9.999999310821295e-05)]),
])
def test_reduce_lr_on_plateau(capsys, options, name, rates, printed):
    _, history = epochs(cbks.ReduceLROnPlateau(verbose=1, **options), SERIES, name)
    np.testing.assert_allclose([logs['lr'] for logs in history], rates, rtol=1e-6)
    assert capsys.readouterr().out == ''.join(REDUCING % line for line in printed)


def test_reduce_lr_arguments():
    with pytest.raises(ValueError, match='^ReduceLROnPlateau does not support a factor >= 1.0.$'):
        cbks.ReduceLROnPlateau(factor=1.)
    with pytest.warns(UserWarning, match='^`epsilon` argument is deprecated and will be removed, use `min_delta` '
                                         'instead.$'):
        assert cbks.ReduceLROnPlateau(epsilon=.2).min_delta == .2
    with pytest.warns(UserWarning, match='has no arguments'):
        cbks.ReduceLROnPlateau(min_Ir=.2)


@pytest.mark.parametrize('schedule, rates', [
    (lambda epoch, lr: lr * .5, [.05, .025, .0125]),
    (lambda epoch: .3 / (epoch + 1), [.3, .15, .1]),
])
def test_learning_rate_scheduler(capsys, schedule, rates):
    _, history = epochs(cbks.LearningRateScheduler(schedule, verbose=1), SERIES[:3])
    np.testing.assert_allclose([logs['lr'] for logs in history], rates, rtol=1e-6)
    printed = capsys.readouterr().out.split('\n\n')
    assert len(printed) == 3
    assert printed[2].startswith('Epoch 00003: LearningRateScheduler setting learning rate to 0.')


def test_learning_rate_scheduler_errors():
    with pytest.raises(ValueError, match='^The output of the "schedule" function should be float.'):
        epochs(cbks.LearningRateScheduler(lambda epoch: 1), SERIES)
    callback = cbks.LearningRateScheduler(lambda epoch: .1)
    callback.set_model(types.SimpleNamespace(optimizer=None))
    with pytest.raises(ValueError, match='^Optimizer must have a "lr" attribute.$'):
        callback.on_epoch_begin(0)


# ---------------------------------------------------------------- writers

def test_csv_logger(tmp_path):
    path = tmp_path / 'log.csv'
    rows = ('0,0.25,0.5,text,"""[1.5, 2.0]""",1e-05,3.0\r\n'
            '1,NA,0.25,NA,"""[1, 2]""",NA,NA\r\n')
    header = 'epoch,acc,loss,s,v,val_loss,z\r\n'

    def log(**options):
        callback = cbks.CSVLogger(str(path), **options)
        callback.set_model(Model())
        callback.on_train_begin()
        callback.on_epoch_end(0, {'loss': .5, 'acc': np.float32(.25), 'val_loss': 1e-5, 'v': np.array([1.5, 2]),
                                  'z': np.array(3.), 's': 'text'})
        callback.model.stop_training = True
        callback.on_epoch_end(1, {'loss': .25, 'v': [1, 2]})
        callback.on_train_end()
        return path.read_bytes().decode()
    assert log(append=True) == header + rows
    assert log(append=True) == header + 2 * rows
    assert log(separator=';').startswith('epoch;acc;loss')


class Requests(types.ModuleType):
    """A stand-in for the package: keeps what is posted."""

    class exceptions:
        class RequestException(Exception):
            """Base of what posting raises."""

    def __init__(self, fails=False):
        self.posted, self.fails = [], fails

    def post(self, url, **body):
        if self.fails:
            raise self.exceptions.RequestException
        self.posted.append((url, body))


def test_remote_monitor(monkeypatch):
    server = Requests()
    monkeypatch.setitem(sys.modules, 'requests', server)
    logs = {'loss': np.float32(.5), 'acc': .25}
    cbks.RemoteMonitor('http://a', '/b', 'field').on_epoch_end(1, logs)
    cbks.RemoteMonitor('http://a', '/b', headers={'x': 'y'}, send_as_json=True).on_epoch_end(1, logs)
    event = {'epoch': 1, 'loss': .5, 'acc': .25}
    assert server.posted == [('http://a/b', {'headers': None, 'data': {'field': json.dumps(event)}}),
                             ('http://a/b', {'headers': {'x': 'y'}, 'json': event})]


def test_history_is_drawn(tmp_path):
    pytest.importorskip('matplotlib').use('agg')
    history = cbks.History()
    history.epoch = [2, 3, 4]
    history.history = {'val_loss': [.5, .4, .3], 'val_acc': [.7, .8], 'loss': [3., 2., 1.], 'acc': [.4, .5, .6],
                       'lr': [.1, .1, .01], 'val_f1': [.2, .3, .4], 'confusion': [np.eye(2)] * 3}
    figure = history.plot()
    drawn = {axis.get_title(): [(line.get_label(), *line.get_data()) for line in axis.lines] for axis in figure.axes}
    np.testing.assert_equal(drawn, {
        'loss': [('training', [3, 4, 5], [3., 2., 1.]), ('validation', [3, 4, 5], [.5, .4, .3])],
        'acc': [('training', [3, 4, 5], [.4, .5, .6]), ('validation', [4, 5], [.7, .8])],
        'lr': [('training', [3, 4, 5], [.1, .1, .01])], 'val_f1': [('training', [3, 4, 5], [.2, .3, .4])]})
    assert [axis.get_legend() is not None for axis in figure.axes] == [True, True, False, False]
    figure.savefig(tmp_path / 'training.png')
    assert (tmp_path / 'training.png').stat().st_size > 10000


def test_history_that_cannot_be_drawn(monkeypatch):
    history = cbks.History()
    history.on_train_begin()
    pytest.importorskip('matplotlib')
    with pytest.raises(ValueError, match='no epochs. Call `fit` first'):
        history.plot()
    monkeypatch.setitem(sys.modules, 'matplotlib.pyplot', None)
    with pytest.raises(ImportError, match=r'kfacade\[plot\]'):
        history.plot()


@pytest.mark.parametrize('as_json', [False, True])
def test_remote_monitor_reaches_a_server(as_json):
    pytest.importorskip('requests')
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length'])).decode()
            received.append((self.path, self.headers['x-key'], self.headers['Content-Type'], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monitor = cbks.RemoteMonitor(f'http://127.0.0.1:{server.server_port}', headers={'x-key': 'k'},
                                     send_as_json=as_json)
        model = Sequential([Dense(1, input_shape=(2,), kernel_initializer='zeros')])
        model.compile('sgd', 'mse')
        losses = model.fit(np.ones((4, 2)), np.ones(4), epochs=2, verbose=0, callbacks=[monitor]).history['loss']
        server.shutdown()
        thread.join()
    for epoch, (path, key, kind, body) in enumerate(received):
        text = body if as_json else urllib.parse.parse_qs(body)['data'][0]
        assert (path, key) == ('/publish/epoch/end/', 'k')
        assert kind == ('application/json' if as_json else 'application/x-www-form-urlencoded')
        assert json.loads(text) == {'epoch': epoch, 'loss': losses[epoch]}
    assert len(received) == 2


def test_remote_monitor_without_server_or_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'requests', Requests(fails=True))
    with pytest.warns(UserWarning, match='^Warning: could not reach RemoteMonitor root server at http://a$'):
        cbks.RemoteMonitor('http://a').on_epoch_end(0, {})
    monkeypatch.setitem(sys.modules, 'requests', None)
    with pytest.raises(ImportError, match='^RemoteMonitor requires the `requests` library.'):
        cbks.RemoteMonitor().on_epoch_end(0, {})
