"""Why is the training loss much higher than the testing loss?

The page says that Dropout and L1/L2 are off in the testing mode. Dropout is; the penalties of L1 and L2 are part of
the loss in `evaluate`, too, in Keras 2.2.4 as here.
"""
import faq_harness as faq
import numpy as np

from kfacade import optimizers, regularizers
from kfacade.callbacks import LambdaCallback
from kfacade.layers import Dense, Dropout
from kfacade.models import Sequential

X, Y = faq.numbers(12, 4), faq.numbers(12, 2, seed=1)


def compiled(*layers, lr=.1):
    model = faq.fill(Sequential(list(layers)))
    model.compile(optimizers.SGD(lr), 'mse')
    return model


def test_penalties_count_in_testing():
    model = compiled(Dense(2, input_shape=(4,), kernel_regularizer=regularizers.l2(.1),
                           bias_regularizer=regularizers.l1(.01)))
    kernel, bias = model.get_weights()
    penalty = .1 * np.sum(kernel ** 2) + .01 * np.sum(np.abs(bias))
    error = np.mean((X @ kernel + bias - Y) ** 2)
    np.testing.assert_allclose([penalty, error], [PENALTY, ERROR], rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), error + penalty, rtol=1e-5)
    np.testing.assert_allclose(model.test_on_batch(X, Y), PENALTY + ERROR, rtol=1e-5)
    np.testing.assert_allclose(model.train_on_batch(X, Y), error + penalty, rtol=1e-5)


def test_dropout_is_off_in_testing():
    plain = compiled(Dense(2, input_shape=(4,)))
    model = compiled(Dropout(.5, input_shape=(4,)), Dense(2))
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert model.evaluate(X, Y, verbose=0) == plain.evaluate(X, Y, verbose=0)
    np.random.seed(0)
    assert abs(model.train_on_batch(X, Y) - plain.train_on_batch(X, Y)) > .01


def test_the_loss_of_an_epoch_is_the_mean_over_its_batches():
    """And a testing loss is that of the model at the end, which is smaller."""
    model, losses = compiled(Dense(2, input_shape=(4,))), []
    hist = model.fit(X, Y, batch_size=3, epochs=1, shuffle=False, verbose=0, validation_data=(X, Y), callbacks=[
        LambdaCallback(on_batch_end=lambda batch, logs: losses.append(float(logs['loss'])))])
    np.testing.assert_allclose(hist.history['loss'], np.mean(losses), rtol=1e-6)
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-5)
    np.testing.assert_allclose(hist.history['val_loss'], VAL_LOSS, rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), VAL_LOSS, rtol=1e-5)


PENALTY, ERROR = .37667948, 3.0124435
LOSSES = [4.3009758, .91105634, 2.1383622, 1.5503079]
VAL_LOSS = .75760529
