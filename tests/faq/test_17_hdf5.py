"""How can I use HDF5 inputs? With `HDF5Matrix`, or a dataset of h5py."""
import faq_harness as faq
import h5py
import numpy as np
import pytest

from kfacade.layers import Dense
from kfacade.models import Sequential
from kfacade.utils import HDF5Matrix

DATASET, = faq.blocks('hdf5')
X, Y = faq.numbers(70, 3), faq.numbers(70, 2, seed=1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'input').mkdir()
    with h5py.File('input/file.hdf5', 'w') as f:
        f['X_data'], f['y_data'] = X, Y


@pytest.fixture
def model():
    model = faq.fill(Sequential([Dense(2, input_shape=(3,), activation='tanh')]))
    model.compile('sgd', 'mse')
    return model


def test_a_dataset_of_h5py(model):
    names = {'model': model}
    faq.run(DATASET, names, [('model.predict', 'predicted = model.predict')])  # the page lets it go
    np.testing.assert_allclose(names['predicted'], model.predict(X), rtol=1e-6)
    np.testing.assert_allclose(names['predicted'][[0, 69]], ENDS, rtol=1e-5)


def test_hdf5matrix(model):
    matrices = [HDF5Matrix('input/file.hdf5', name, start=5, end=69) for name in ('X_data', 'y_data')]
    assert matrices[0].shape == (64, 3)
    np.testing.assert_allclose(model.predict(matrices[0]), model.predict(X[5:69]), rtol=1e-6)
    hist = model.fit(*matrices, batch_size=16, epochs=2, shuffle='batch', verbose=0)
    assert len(hist.history['loss']) == 2
    np.testing.assert_allclose(model.evaluate(*matrices, verbose=0), model.evaluate(X[5:69], Y[5:69], verbose=0),
                               rtol=1e-6)


def test_fit_in_the_order_of_the_file(model):
    x, y = [HDF5Matrix('input/file.hdf5', name, start=5, end=69) for name in ('X_data', 'y_data')]
    hist = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(hist.history['loss'], LOSS, rtol=1e-5)


ENDS = [[.99809539, .01717455], [.20365787, -.09168351]]
LOSS = [1.1550431, 1.1528226]
