"""What do "sample", "batch" and "epoch" mean?"""
import numpy as np

from kfacade import backend as K
from kfacade import optimizers
from kfacade.callbacks import LambdaCallback
from kfacade.layers import Dense
from kfacade.models import Sequential

X = np.arange(10, dtype='float32').reshape(10, 1) / 10
Y = 2 * X + 1


def line(lr=.1):
    model = Sequential([Dense(1, input_shape=(1,), kernel_initializer='zeros')])
    model.compile(optimizers.SGD(lr), 'mse')
    return model


def numbers(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


def test_a_batch_is_one_update_and_an_epoch_is_all_batches():
    model, sizes, epochs = line(), [], []
    hist = model.fit(X, Y, batch_size=4, epochs=3, verbose=0, shuffle=False, validation_data=(X, Y), callbacks=[
        LambdaCallback(on_batch_end=lambda batch, logs: sizes.append(logs['size']),
                       on_epoch_end=lambda epoch, logs: epochs.append((epoch, 'val_loss' in logs)))])
    assert sizes == [4, 4, 2] * 3 and epochs == [(0, True), (1, True), (2, True)]
    assert K.get_value(model.optimizer.iterations) == 9
    # What Keras 2.2.4 gives.
    np.testing.assert_allclose(numbers(model), WEIGHTS, rtol=1e-5)
    np.testing.assert_allclose(hist.history['loss'], LOSS, rtol=1e-5)
    np.testing.assert_allclose(hist.history['val_loss'], VAL_LOSS, rtol=1e-5)


def test_the_samples_of_a_batch_count_alike():
    """One step on two samples goes the mean of the ways of the steps on each."""
    ends = []
    for rows in ([0, 9], [0], [9]):
        model = line()
        model.train_on_batch(X[rows], Y[rows])
        ends.append(numbers(model))
    np.testing.assert_allclose(ends[0], (ends[1] + ends[2]) / 2, rtol=1e-6)
    np.testing.assert_allclose(ends[0], [.252, .38], rtol=1e-6)


def test_larger_batches_in_testing_change_nothing():
    model = line()
    for size in (1, 3, 10):
        np.testing.assert_allclose(model.evaluate(X, Y, batch_size=size, verbose=0), 3.94, rtol=1e-6)


def test_callbacks_change_the_rate_between_epochs():
    model, rates = line(), []
    model.fit(X, Y, batch_size=10, epochs=3, verbose=0, callbacks=[LambdaCallback(
        on_epoch_begin=lambda epoch, logs: K.set_value(model.optimizer.lr, .1 / (epoch + 1)),
        on_epoch_end=lambda epoch, logs: rates.append(float(K.get_value(model.optimizer.lr))))])
    np.testing.assert_allclose(rates, [.1, .05, .1 / 3], rtol=1e-6)
    np.testing.assert_allclose(numbers(model), RATED, rtol=1e-5)


WEIGHTS = [.95557547, 1.5141737]
LOSS = [2.7315378, .44111653, .13454446]
VAL_LOSS = [.59037574, .13686774, .09194497]
RATED = [.33002278, .60613942]
