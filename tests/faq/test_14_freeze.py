"""How can I "freeze" layers? With `trainable`, before `compile`."""
import faq_harness as faq
import numpy as np
import pytest

from kfacade.layers import Dense, Input
from kfacade.models import Model, Sequential

ARGUMENT, EXAMPLE = faq.blocks('freeze')
NAMES = {'Dense': Dense, 'Input': Input, 'Model': Model}  # not imported by the page


def test_by_an_argument():
    names = dict(NAMES)
    faq.run(ARGUMENT, names)
    layer = names['frozen_layer']
    model = Sequential([layer, Dense(1)])
    model.build((None, 4))
    before = model.get_weights()
    model.compile('sgd', 'mse')
    model.train_on_batch(np.ones((4, 4)), np.ones((4, 1)))
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights())]
    assert sorted(moved) == [False, False, True, True]  # the weights of the second layer
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 2


def test_by_the_attribute():
    names = {**NAMES, 'data': faq.numbers(16, 32), 'labels': faq.numbers(16, 32, seed=1)}
    *building, training = faq.paragraphs(EXAMPLE)
    for part in building:
        faq.run(part, names)
    layer = names['layer']
    layer.set_weights([.1 * faq.numbers(32, 32, seed=2), .1 * faq.numbers(32, seed=3)])
    before = layer.get_weights()
    frozen, trainable = training.splitlines()
    with pytest.warns(UserWarning, match='Discrepancy between trainable weights and collected trainable'):
        hist = faq.run(frozen, names)
    np.testing.assert_allclose(hist.history['loss'], LOSS, rtol=1e-5)
    for a, b in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(a, b)
    hist = faq.run(trainable, names)
    np.testing.assert_allclose(hist.history['loss'], LOSS, rtol=1e-5)
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(kernel[0, :4], KERNEL, rtol=1e-4)
    np.testing.assert_allclose(bias[:4], BIAS, rtol=1e-4)
    # The frozen model has the same layer.
    np.testing.assert_array_equal(names['frozen_model'].predict(names['data']),
                                  names['trainable_model'].predict(names['data']))


LOSS = [1.3481846]
KERNEL = [-.0385136, -.00878886, -.21045756, .16086486]
BIAS = [.17570066, .04681319, .0064875046, -.18322887]
