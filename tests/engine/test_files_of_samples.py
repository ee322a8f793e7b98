"""Training on samples that lie in files: HDF5 data sets and mapped arrays, also larger than memory."""
import os
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from kfacade.engine.training_loop import _lies_in_a_file
from kfacade.layers import Dense
from kfacade.models import Sequential
from kfacade.utils import HDF5Matrix


def model():
    model = Sequential([Dense(3, activation='tanh', input_shape=(4,)), Dense(2)])
    random = np.random.RandomState(1)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    model.compile('sgd', 'mse', metrics=['mae'])
    np.random.seed(5)
    return model


@pytest.fixture
def path(tmp_path):
    random = np.random.RandomState(0)
    with h5py.File(tmp_path / 'data.h5', 'w') as file:
        file['x'] = random.normal(size=(53, 4)).astype('float32')
        file['y'] = random.normal(size=(53, 2)).astype('float32')
    return str(tmp_path / 'data.h5')


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=6e-6)


@pytest.mark.parametrize('shuffle, loss, error', [
    ('batch', [3.58791, 3.23508, 2.93628], [1.56005, 1.48213, 1.41105]),
    (False, [3.58831, 3.23553, 2.93715], [1.56093, 1.48173, 1.4104])])
def test_matrix(path, shuffle, loss, error):  # the numbers of Keras 2.2.4
    x, y = (HDF5Matrix(path, name, start=3, end=50) for name in 'xy')
    history = model().fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=shuffle).history
    close(history['loss'], loss)
    close(history['mean_absolute_error'], error)


def test_matrix_with_normalizer_and_validation(path):
    x, y = HDF5Matrix(path, 'x', end=40, normalizer=lambda a: a * 2 + 1), HDF5Matrix(path, 'y', end=40)
    held_out = tuple(HDF5Matrix(path, name, start=3, end=50) for name in 'xy')
    history = model().fit(x, y, batch_size=7, epochs=2, verbose=0, shuffle='batch', validation_data=held_out).history
    close(history['loss'], [3.55746, 3.19065])
    close(history['val_loss'], [3.43695, 3.18869])


@pytest.mark.parametrize('options, name, expected', [
    ({'sample_weight': np.arange(47.)}, 'loss', [47.32812, 25.32718]),
    ({'validation_split': .25}, 'val_loss', [3.50681, 3.25716])])
def test_matrix_with_weights_or_split(path, options, name, expected):
    x, y = (HDF5Matrix(path, name, start=3, end=50) for name in 'xy')
    close(model().fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle='batch', **options).history[name], expected)


@pytest.mark.parametrize('shuffle, loss', [('batch', [3.43787, 3.07797]), (False, [3.43828, 3.07902])])
def test_data_set(path, shuffle, loss):
    with h5py.File(path, 'r') as file:
        history = model().fit(file['x'], file['y'], batch_size=8, epochs=2, verbose=0, shuffle=shuffle).history
    close(history['loss'], loss)


def test_samples_of_a_file_in_any_order(path):
    x, y = (HDF5Matrix(path, name) for name in 'xy')
    with pytest.raises(TypeError, match='If using HDF5 input data, pass shuffle="batch"'):
        model().fit(x, y, verbose=0)


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'uint8', '>f4'])
@pytest.mark.parametrize('mode', ['r', 'r+'])
def test_mapped_array(tmp_path, dtype, mode):
    x = (np.random.RandomState(0).normal(size=(53, 4)) * 5 + 20).astype(dtype)
    np.save(tmp_path / 'x.npy', x)
    mapped = np.load(tmp_path / 'x.npy', mmap_mode=mode)
    y = x[:, :2] / 20.
    for shuffle in (True, False, 'batch'):
        expected, actual = (model().fit(samples, y, batch_size=8, epochs=2, verbose=0, shuffle=shuffle,
                                        validation_split=.2).history for samples in (x, mapped))
        for name in expected:
            np.testing.assert_array_equal(actual[name], expected[name])
    np.testing.assert_array_equal(model().predict(mapped), model().predict(x))
    np.testing.assert_array_equal(model().evaluate(mapped[::-1], y[::-1], verbose=0),
                                  model().evaluate(x[::-1], y[::-1], verbose=0))


def test_what_lies_in_a_file(tmp_path):
    np.save(tmp_path / 'x.npy', np.ones((5, 2)))
    mapped = np.load(tmp_path / 'x.npy', mmap_mode='r')
    assert all(map(_lies_in_a_file, (mapped, mapped[1:3], np.asarray(mapped), np.expand_dims(mapped[:, 0], 1))))
    assert not any(map(_lies_in_a_file, (np.ones(3), mapped[[0, 2]], mapped + 1)))


SCRIPT = """
    import os, resource, sys, threading, time
    resource.setrlimit(resource.RLIMIT_DATA, (1500 * 2 ** 20,) * 2)
    import h5py
    import numpy as np
    from kfacade.layers import Dense
    from kfacade.models import Sequential
    from kfacade.utils import HDF5Matrix

    def anonymous():
        with open('/proc/self/status') as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith('RssAnon'))

    def watch():
        while True:
            peak[0] = max(peak[0], anonymous())
            time.sleep(.02)

    kind = sys.argv[1]
    samples, width = 2 ** 14, 2 ** 16
    if kind.startswith('float'):
        x = np.memmap('data', kind, 'w+', shape=(samples, width * 4 // np.dtype(kind).itemsize))
    else:
        with h5py.File('data', 'w') as file:
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple((samples, width))
            h5py.h5d.create(file.id, b'x', h5py.h5t.IEEE_F32LE, space, plan)
        x = HDF5Matrix('data', 'x') if kind == 'matrix' else h5py.File('data', 'r')['x']
    assert os.path.getsize('data') >= 2 ** 32
    y = np.ones((samples, 1), 'float32')
    model = Sequential([Dense(1, input_shape=x.shape[1:])])
    model.compile('sgd', 'mse')
    start = anonymous()
    peak = [start]
    threading.Thread(target=watch, daemon=True).start()
    if kind == 'batches':
        for i in range(0, samples, 64):
            model.train_on_batch(x[i:i + 64], y[i:i + 64])
    else:
        model.fit(x, y, batch_size=64, verbose=0, shuffle=True if kind.startswith('float') else 'batch')
        model.evaluate(x, y, batch_size=64, verbose=0)
        assert model.predict(x, batch_size=64).shape == (samples, 1)
    print(peak[0] - start)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='needs the memory figures of Linux')
@pytest.mark.parametrize('kind', ['matrix', 'dataset', 'float32', 'float64', 'batches'])
def test_memory_stays_flat(tmp_path, request, kind):
    """4 GB in a sparse file, with at most 1.5 GB of memory of one's own."""
    environment = {**os.environ, 'PYTHONPATH': str(request.config.rootpath), 'OMP_NUM_THREADS': '1'}
    grown = subprocess.check_output([sys.executable, '-c', textwrap.dedent(SCRIPT), kind], cwd=tmp_path, text=True,
                                    env=environment)
    assert int(grown) < 200  # MB: some batches of 16 MB
