"""How can I use Keras with datasets that do not fit in memory? Batch by batch, or with a generator.

What the page calls `samples_per_epoch` has counted batches since Keras 2.
"""
import faq_harness as faq
import numpy as np
import pytest

from kfacade.layers import Dense
from kfacade.models import Sequential

X, Y = faq.numbers(12, 3), faq.numbers(12, 2, seed=1)
TRAIN, TEST, GENERATOR = [code for code in faq.inline('dataset') if '(' in code]


def network():
    model = faq.fill(Sequential([Dense(2, input_shape=(3,))]))
    model.compile('sgd', 'mse', metrics=['mae'])
    return model


def batches(calls):
    while True:
        for start in range(0, 12, 4):
            calls.append(start)
            yield X[start:start + 4], Y[start:start + 4]


def test_batch_by_batch():
    model = network()
    losses = [faq.run(TRAIN, {'model': model, 'X': X[i:i + 4], 'y': Y[i:i + 4]}) for i in (0, 4, 8, 0, 4, 8)]
    np.testing.assert_allclose(losses[-1], LAST_STEP, rtol=1e-5)
    np.testing.assert_allclose(faq.run(TEST, {'model': model, 'X': X, 'y': Y}), TESTED, rtol=1e-5)


def test_a_generator():
    model, calls = network(), []
    hist = faq.run(GENERATOR, {'model': model, 'data_generator': batches(calls), 'samples_per_epoch': 3, 'nb_epoch': 2})
    assert calls[:6] == [0, 4, 8, 0, 4, 8] and hist.epoch == [0, 1]
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), TESTED, rtol=1e-5)


def test_its_arguments_by_their_old_names():
    model = network()
    with pytest.warns(UserWarning, match='Update your `fit_generator` call to the Keras 2 API'), \
            pytest.warns(UserWarning, match='`steps_per_epoch` is the number of batches'):
        model.fit_generator(batches([]), samples_per_epoch=3, nb_epoch=2, verbose=0)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), TESTED, rtol=1e-5)


LAST_STEP = [2.4506383, 1.3543564]
TESTED = [2.7814481, 1.2999314]
