"""What `fit` copies: of each batch what it gathers, once, and of all the data nothing."""
import tracemalloc

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from kfacade.engine import training_loop
from kfacade.layers import Dense, Embedding, Flatten
from kfacade.models import Sequential

SAMPLES, BATCH, FEATURES = 96, 32, 50


def _read_only(x):
    x.flags.writeable = False
    return x


ARRAYS = {
    'float32': lambda x: x.astype('float32'),
    'every second': lambda x: np.repeat(x.astype('float32'), 2, 1)[:, ::2],
    'transposed': lambda x: np.asfortranarray(x.astype('float32')),
    'backwards': lambda x: x.astype('float32')[::-1, ::-1],
    'read only': lambda x: _read_only(x.astype('float32')),
    'other bytes': lambda x: x.astype('>f4'),
    'float64': lambda x: x,
    'float16': lambda x: x.astype('float16'),
    'uint8': lambda x: (x * 9).astype('uint8'),
    'int64': lambda x: (x * 9).astype('int64'),
    'bool': lambda x: x > .5,
}
ROUNDED = ('float64',)  # once, for all epochs


def _model():
    model = Sequential([Dense(1, input_shape=(FEATURES,))])
    model.compile('sgd', 'mse')
    return model


def _copies(function):
    """(op, shape of its first operand) of all that torch copies in a call."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, acc_events=True) as found:
        function()
    return [(event.name, tuple(event.input_shapes[0])) for event in found.events()
            if event.name in ('aten::index_select', 'aten::copy_', 'aten::clone')]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('name', ARRAYS)
def test_each_batch_is_gathered_once_and_converted_once(name, shuffle):
    x = ARRAYS[name](np.random.RandomState(0).rand(SAMPLES, FEATURES))
    y, model = np.zeros((SAMPLES, 1), 'float32'), _model()
    model.fit(x, y, batch_size=BATCH, verbose=0)
    whole, batches = {}, {}
    for op, shape in _copies(lambda: model.fit(x, y, batch_size=BATCH, epochs=2, shuffle=shuffle, verbose=0)):
        counts = whole if shape == (SAMPLES, FEATURES) and op != 'aten::index_select' else batches
        if shape[-1:] == (FEATURES,):
            counts[op] = counts.get(op, 0) + 1
    steps = 2 * SAMPLES // BATCH
    gathered = shuffle and name not in ('backwards', 'read only', 'other bytes')  # those by numpy
    converted = x.dtype != np.float32 and name not in ('float64', 'other bytes')
    converted |= name == 'every second' and not shuffle  # for the product, which takes rows that lie side by side
    assert whole == ({'aten::copy_': 1} if name in ROUNDED else {})
    assert batches.get('aten::index_select', 0) == steps * gathered
    assert batches.get('aten::copy_', 0) == steps * converted


@pytest.mark.parametrize('name', set(ARRAYS) - set(ROUNDED))
def test_data_is_held_where_it_lies(name, monkeypatch):
    x = ARRAYS[name](np.random.RandomState(0).rand(SAMPLES, FEATURES))
    made, model = [], _model()
    init = training_loop.Feed.__init__
    monkeypatch.setattr(training_loop.Feed, '__init__', lambda self, *args, **kwargs: init(self, *args, **kwargs) or (
        made.append(self)))
    model.fit(x, np.zeros((SAMPLES, 1), 'float32'), batch_size=BATCH, verbose=0)
    source = made[0].sources[0]
    held = source.numpy() if isinstance(source, torch.Tensor) else source
    assert np.shares_memory(held, x)


@pytest.mark.parametrize('name', ARRAYS)
@pytest.mark.parametrize('shuffle', [True, False, 'batch'])
def test_all_arrays_train_and_predict_alike(name, shuffle):
    x = ARRAYS[name](np.random.RandomState(0).rand(SAMPLES, FEATURES))
    weights = [np.full((FEATURES, 1), .1), np.zeros(1)]
    found = []
    for data in (x, np.ascontiguousarray(x.astype('float32'))):
        np.random.seed(0)
        model = _model()
        model.set_weights(weights)
        history = model.fit(data, np.arange(SAMPLES)[:, None] / SAMPLES, BATCH, 2, 0, shuffle=shuffle).history
        found.append([*history['loss'], *model.get_weights(), model.predict(data)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_numbers_of_words_are_read_batch_by_batch():
    model = Sequential([Embedding(9, 2, input_length=FEATURES), Flatten(), Dense(1)])
    model.compile('sgd', 'mse')
    x = np.random.RandomState(0).randint(9, size=(SAMPLES, FEATURES))
    found = _copies(lambda: model.fit(x, np.zeros((SAMPLES, 1)), batch_size=BATCH, verbose=0))
    assert ('aten::copy_', (SAMPLES, FEATURES)) not in found


CALLS = {
    'fit': lambda model, x, y: model.fit(x, y, BATCH, 2, 0, validation_split=.25, sample_weight=np.ones(len(x))),
    'fit on whole batches': lambda model, x, y: model.fit(x, y, BATCH, 2, 0, validation_data=(x, y), shuffle='batch'),
    'evaluate': lambda model, x, y: model.evaluate(x, y, BATCH, 0),
    'predict': lambda model, x, y: model.predict(x, BATCH)}


@pytest.mark.parametrize('call', CALLS)
@pytest.mark.parametrize('name', ARRAYS)
def test_numpy_copies_nothing_whole(name, call):
    """It counts what it takes of memory; the numbers of the samples and their weights are a part of that."""
    x = ARRAYS[name](np.random.RandomState(0).rand(100 * BATCH, FEATURES))
    y, model = np.zeros((len(x), 1), 'float32'), _model()
    CALLS[call](model, x[:BATCH * 4], y[:BATCH * 4])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        CALLS[call](model, x, y)
        assert tracemalloc.get_traced_memory()[1] - before < .8 * x.nbytes
    finally:
        tracemalloc.stop()
