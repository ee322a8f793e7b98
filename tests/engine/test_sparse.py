"""Sparse inputs: scipy matrices fed to sparse and to dense placeholders."""
import numpy as np
import pytest

from kfacade import backend as K
from kfacade import layers
from kfacade.engine import Input
from kfacade.models import Model, Sequential

scipy_sparse = pytest.importorskip('scipy.sparse')


def matrix(rows=12, columns=6):
    return scipy_sparse.random(rows, columns, density=0.4, format='csr', random_state=0, dtype='float32')


@pytest.mark.parametrize('sparse', [True, False])
def test_scipy_matrices_train_and_predict_as_dense_arrays_do(sparse):
    x, y = matrix(), np.arange(12.).reshape(12, 1)
    inputs = Input((6,), sparse=sparse)
    model = Model(inputs, layers.Dense(1)(layers.Dense(4, activation='tanh')(inputs)))
    model.compile('adam', 'mse')
    twin = Sequential([layers.Dense(4, activation='tanh', input_shape=(6,)), layers.Dense(1)])
    twin.compile('adam', 'mse')
    twin.set_weights(model.get_weights())
    histories = []
    for m, data in ((model, x), (twin, x.toarray())):
        np.random.seed(1)
        histories.append(m.fit(data, y, batch_size=5, epochs=3, validation_split=0.25, verbose=0).history)
    for key in histories[0]:
        np.testing.assert_allclose(histories[0][key], histories[1][key], rtol=1e-5)
    np.testing.assert_allclose(model.predict(x), twin.predict(x.toarray()), rtol=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(twin.evaluate(x.toarray(), y, verbose=0), rel=1e-5)


def test_sparse_placeholders_in_functions():
    x, w = K.placeholder((None, 6), sparse=True), K.variable(np.arange(12.).reshape(6, 2))
    assert K.is_sparse(x) and not K.is_sparse(K.dot(x, w))
    data = matrix()
    dense, product, joined = K.function([x], [K.to_dense(x), K.dot(x, w), K.to_dense(K.concatenate([x, x], 1))])([data])
    np.testing.assert_array_equal(dense, data.toarray())
    np.testing.assert_allclose(product, data.toarray() @ np.arange(12.).reshape(6, 2), rtol=1e-5)
    np.testing.assert_array_equal(joined, np.concatenate([data.toarray()] * 2, 1))
    assert Input((6,), sparse=True)._keras_history[0].get_config()['sparse'] is True
