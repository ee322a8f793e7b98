"""A run that was saved, loaded and resumed gives the losses of one that never stopped; what cannot is named."""
import copy
import pickle

import h5py
import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import layers as L
from kfacade import optimizers
from kfacade.callbacks import LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from kfacade.models import Model, Sequential, load_model
from kfacade.saving import InvalidModelFile
from kfacade.saving.commands import described

RANDOM = np.random.RandomState(0)
X, Y = RANDOM.randn(24, 4).astype('float32'), RANDOM.randn(24, 2).astype('float32')
FIT = {'batch_size': 8, 'shuffle': False, 'verbose': 0}
VARIANTS = [('SGD', {}), ('SGD', {'momentum': .9}), ('SGD', {'momentum': .9, 'nesterov': True}), ('RMSprop', {}),
            ('Adagrad', {}), ('Adadelta', {}), ('Adam', {}), ('Adam', {'amsgrad': True}), ('Adamax', {}), ('Nadam', {})]
EXTRAS = [{}, {'decay': .1}, {'clipnorm': .5}, {'clipvalue': .1}]
CASES = [(name, {'lr': .02, **kwargs, **extra}) for name, kwargs in VARIANTS for extra in EXTRAS
         if name != 'Nadam' or 'decay' not in extra]
BEYOND_KERAS = [('Nadam', {}), ('RMSprop', {'decay': .1}), ('Adagrad', {'decay': .1}), ('Adadelta', {'decay': .1})]


def network(optimizer, **arguments):
    model = Sequential([L.Dense(5, activation='tanh', input_shape=(4,)), L.Dense(2)])
    start = np.random.RandomState(1)
    model.set_weights([start.randn(*w.shape) for w in model.get_weights()])
    model.compile(optimizer, 'mse', **arguments)
    return model


def symbolic(optimizer):
    """The same optimizer, held to `get_updates`."""
    optimizer.get_gradients = lambda loss, params: optimizers.Optimizer.get_gradients(optimizer, loss, params)
    return optimizer


def through_file(model, tmp_path):
    model.save(tmp_path / 'm.h5')
    return load_model(tmp_path / 'm.h5')


def through_group(model, tmp_path):
    with h5py.File(tmp_path / 'm.h5', 'w') as f:
        model.save(f.create_group('inner'))
        return load_model(f['inner'])


def same_run(resumed, stopped, whole):
    losses = [loss for history in (stopped, resumed) for loss in history.history['loss']]
    np.testing.assert_allclose(losses, whole.history['loss'], rtol=1e-6)
    for got, wanted in zip(resumed.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------ every optimizer

@pytest.mark.parametrize('path', [lambda optimizer: optimizer, symbolic], ids=['step', 'updates'])
@pytest.mark.parametrize('name, kwargs', CASES)
def test_resumed_run_equals_one_that_never_stopped(tmp_path, name, kwargs, path):
    make = getattr(optimizers, name)
    whole = network(path(make(**kwargs))).fit(X, Y, epochs=6, **FIT)
    model = network(path(make(**kwargs)))
    stopped = model.fit(X, Y, epochs=3, **FIT)
    loaded = through_file(model, tmp_path)
    assert K.get_value(loaded.optimizer.iterations) == 9
    path(loaded.optimizer)
    same_run(loaded.fit(X, Y, epochs=6, initial_epoch=3, **FIT), stopped, whole)


@pytest.mark.parametrize('again', [through_group, lambda model, _: copy.deepcopy(model),
                                   lambda model, _: pickle.loads(pickle.dumps(model))], ids=['group', 'copy', 'pickle'])
@pytest.mark.parametrize('name, kwargs', BEYOND_KERAS)
def test_other_ways_to_keep_a_model(tmp_path, name, kwargs, again):
    model = network(getattr(optimizers, name)(**kwargs))
    for _ in range(3):
        model.train_on_batch(X, Y)
    other = again(model, tmp_path)
    for _ in range(3):
        np.testing.assert_allclose(other.train_on_batch(X, Y), model.train_on_batch(X, Y), rtol=1e-6)


def numbers_in(path):
    with h5py.File(path, 'r') as f:
        return f['optimizer_weights'].attrs.get('optimizer_numbers')


@pytest.mark.parametrize('name, written', [('SGD', False), ('Adam', False), ('Adamax', False), ('RMSprop', True),
                                           ('Adagrad', True), ('Adadelta', True), ('Nadam', True)])
def test_files_add_to_the_layout_of_keras_only_what_it_lacks(tmp_path, name, written):
    model = network(name)
    model.train_on_batch(X, Y)
    model.save(tmp_path / 'm.h5')
    assert (numbers_in(tmp_path / 'm.h5') is not None) == written


def without_numbers(model, path, numbers=None):
    model.train_on_batch(X, Y)
    model.save(path)
    with h5py.File(path, 'a') as f:
        attributes = f['optimizer_weights'].attrs
        del attributes['optimizer_numbers']
        if numbers is not None:
            attributes['optimizer_numbers'] = numbers


@pytest.mark.parametrize('name, kwargs', BEYOND_KERAS)
def test_what_a_file_of_keras_lacks_is_named(tmp_path, name, kwargs):
    without_numbers(network(getattr(optimizers, name)(**kwargs)), tmp_path / 'm.h5')
    missing = 'iterations' if kwargs else 'm_schedule'
    with pytest.warns(UserWarning, match=f"state of the optimizer {name} lacks .'{missing}'.*start anew"):
        load_model(tmp_path / 'm.h5')


@pytest.mark.parametrize('name', ['RMSprop', 'Adagrad', 'Adadelta'])
def test_no_warning_where_nothing_is_lost(tmp_path, name):
    without_numbers(network(name), tmp_path / 'm.h5')
    load_model(tmp_path / 'm.h5')


@pytest.mark.parametrize('numbers', [b'{"iterations": "many"}', b'[1', b'{"iterations": [1]}', b'{"iterations": null}',
                                     b'{"iterations": Infinity}', b'{"iterations": 1' + b'0' * 30 + b'}'])
def test_damaged_numbers(tmp_path, numbers):
    without_numbers(network('rmsprop'), tmp_path / 'm.h5', numbers)
    with pytest.raises(InvalidModelFile, match='optimizer_numbers'):
        load_model(tmp_path / 'm.h5')


# ------------------------------------------------------------ moving averages

def averaging():
    shared = Sequential([L.Dense(4, input_shape=(4,)), L.BatchNormalization(name='inner')])
    x = L.Input((4,))
    model = Model(x, L.Dense(2)(L.BatchNormalization(name='outer')(L.add([shared(x), shared(L.Dense(4)(x))]))))
    model.compile('sgd', 'mse')
    return model


@pytest.mark.parametrize('again', [through_file, through_group])
def test_moving_averages_go_on(tmp_path, again):
    model = averaging()
    model.fit(X, Y, epochs=2, **FIT)
    loaded = again(model, tmp_path)
    losses = [each.fit(X, Y, epochs=2, validation_data=(X, Y), **FIT).history for each in (loaded, model)]
    np.testing.assert_allclose(losses[0]['val_loss'], losses[1]['val_loss'], rtol=1e-6)
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-5, atol=1e-6)


def test_moving_averages_of_a_file_of_keras_start_anew(path):
    model = averaging()
    model.train_on_batch(X, Y)
    model.save(path)
    with h5py.File(path, 'a') as f:
        assert set(f.attrs) == {'keras_version', 'backend', 'model_config', 'training_config', 'debias_steps'}
        del f.attrs['debias_steps']
    assert load_model(path).get_layer('outer').moving_mean.debias_steps == 0


@pytest.mark.parametrize('steps', [b'[1]', b'{"outer": 1}', b'{"outer": [0, 0, -1, -1]}', b'{"outer": [true]}',
                                   b'{"outer": [1e3]}', b'{"other": [1]}', b'{"outer": [1' + b'0' * 400 + b']}'])
def test_damaged_steps(path, steps):
    averaging().save(path)
    with h5py.File(path, 'a') as f:
        f.attrs['debias_steps'] = steps
    with pytest.raises(InvalidModelFile):
        load_model(path)


# ------------------------------------------------------------ callbacks and generators

@pytest.mark.parametrize('callback', [lambda: LearningRateScheduler(lambda epoch: .05 / (epoch + 1)),
                                      lambda: ReduceLROnPlateau('loss', .5, 1, min_delta=1e3)])
def test_checkpoint_under_a_changing_learning_rate(tmp_path, callback):
    whole = network('adam').fit(X, Y, epochs=6, callbacks=[callback()], **FIT)
    path = tmp_path / '{epoch}.h5'
    stopped = network('adam').fit(X, Y, epochs=3, callbacks=[callback(), ModelCheckpoint(str(path))], **FIT)
    loaded = load_model(str(path).format(epoch=3))
    assert K.get_value(loaded.optimizer.lr) == K.get_value(stopped.model.optimizer.lr) < .05
    resumed = loaded.fit(X, Y, epochs=6, initial_epoch=3, callbacks=[callback()], **FIT)
    if isinstance(callback(), LearningRateScheduler):  # the other counts its epochs of patience anew, as in Keras
        same_run(resumed, stopped, whole)


def test_generator_resumed_from_a_checkpoint(path):
    def batches():
        while True:
            yield from ((X[i:i + 8], Y[i:i + 8]) for i in range(0, 24, 8))
    whole = network('nadam').fit_generator(batches(), 3, epochs=4, verbose=0)
    stopped = network('nadam').fit_generator(batches(), 3, epochs=2, verbose=0, callbacks=[ModelCheckpoint(str(path))])
    same_run(load_model(path).fit_generator(batches(), 3, epochs=4, initial_epoch=2, verbose=0), stopped, whole)


# ------------------------------------------------------------ the arguments of compile

def test_an_output_without_a_loss(tmp_path):
    x = L.Input((4,))
    inner = L.Dense(3)(x)
    model = Model(x, [inner, L.Dense(2)(inner)])
    model.compile('sgd', [None, 'mae'])
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'))
    assert loaded.loss == [None, 'mae']
    assert loaded.train_on_batch(X, Y) == model.train_on_batch(X, Y)
    for mine, its in zip(loaded.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(mine, its)


def test_weighted_metrics_and_loss_weights(tmp_path):
    model = network('sgd', metrics=['mae'], weighted_metrics=['mse'], loss_weights=[2.])
    weights = np.linspace(0, 2, 24)
    model.train_on_batch(X, Y, sample_weight=weights)
    loaded = through_file(model, tmp_path)
    assert loaded.metrics_names == model.metrics_names
    np.testing.assert_allclose(loaded.train_on_batch(X, Y, sample_weight=weights),
                               model.train_on_batch(X, Y, sample_weight=weights), rtol=1e-6)


def test_target_tensors_are_named(tmp_path):
    model = network('sgd', target_tensors=K.placeholder((None, 2)))
    with pytest.warns(UserWarning, match='cannot hold the `target_tensors`'):
        model.save(tmp_path / 'm.h5')


# ------------------------------------------------------------ optimizers of a user's own

class Averaged(optimizers.Optimizer):
    """Steps by a mean of gradients, the share of which grows; the mean is in `weights` only if `listed`."""

    def __init__(self, lr=.05, listed=True, **kwargs):
        super().__init__(**kwargs)
        self.listed = listed
        self.lr, self.share = K.variable(lr, name='lr'), K.variable(.5, name='share')

    def get_updates(self, loss, params):
        means = [K.zeros(K.int_shape(p), name='mean') for p in params]
        self.weights = means if self.listed else means[:1]
        self.updates = [K.update(self.share, .9 * self.share)]
        for p, g, mean in zip(params, self.get_gradients(loss, params), means):
            new = self.share * mean + (1. - self.share) * g
            self.updates += [K.update(mean, new), K.update(p, p - self.lr * new)]
        return self.updates

    def get_config(self):
        return {**super().get_config(), 'lr': float(K.get_value(self.lr)), 'listed': self.listed}


def test_own_optimizer(tmp_path):
    whole = network(Averaged()).fit(X, Y, epochs=4, **FIT)
    model = network(Averaged())
    stopped = model.fit(X, Y, epochs=2, **FIT)
    model.save(tmp_path / 'm.h5')
    loaded = load_model(tmp_path / 'm.h5', custom_objects={'Averaged': Averaged})
    same_run(loaded.fit(X, Y, epochs=4, initial_epoch=2, **FIT), stopped, whole)


def test_own_optimizer_that_does_not_list_its_slots(tmp_path):
    model = network(Averaged(listed=False))
    model.train_on_batch(X, Y)
    with pytest.warns(UserWarning, match='cannot hold the variables .*mean.* of the optimizer Averaged'):
        model.save(tmp_path / 'm.h5')


def test_own_optimizer_in_a_file_of_keras(tmp_path):
    without_numbers(network(Averaged()), tmp_path / 'm.h5')
    with pytest.warns(UserWarning, match="the optimizer Averaged lacks .'share'"):
        load_model(tmp_path / 'm.h5', custom_objects={'Averaged': Averaged})


@pytest.mark.parametrize('make', [lambda model: torch.optim.AdamW(model.parameters(), lr=.01),
                                  lambda model: lambda params: torch.optim.AdamW(params, lr=.01)])
def test_torch_optimizer(path, make):
    model = network('sgd')
    model.compile(make(model), 'mse')
    model.train_on_batch(X, Y)
    with pytest.warns(UserWarning, match='torch optimizer AdamW .*Call `compile` again'):
        model.save(path)
    np.testing.assert_array_equal(load_model(path, compile=False).predict(X), model.predict(X))


# ------------------------------------------------------------ what `inspect` says of it

@pytest.mark.parametrize('name, kwargs', [*BEYOND_KERAS, ('RMSprop', {})])
def test_inspect_says_what_starts_anew(path, name, kwargs):
    model = network(getattr(optimizers, name)(**kwargs))
    model.train_on_batch(X, Y)
    model.save(path)
    arrays = f'optimizer state: {len(model.optimizer.weights)} arrays'
    assert list(described(path))[-1] == arrays
    without_numbers(model, path)
    missing = 'm_schedule' if name == 'Nadam' else 'iterations'
    lost = name == 'Nadam' or kwargs
    assert list(described(path))[-1] == arrays + (f"; ['{missing}'] start anew" if lost else '')


def test_inspect_says_that_there_is_no_state(tmp_path):
    network('adam').save(tmp_path / 'm.h5')
    assert list(described(str(tmp_path / 'm.h5')))[-1] == 'optimizer state: none, it starts anew'
