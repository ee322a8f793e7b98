"""How can I obtain the output of an intermediate layer? With a model of it, or a backend function."""
import faq_harness as faq
import numpy as np
import pytest

from kfacade.layers import BatchNormalization, Dense
from kfacade.models import Sequential

MODEL, FUNCTION, PHASES = faq.blocks('intermediate_layer')
X = faq.numbers(5, 4)


def original():
    model = Sequential([Dense(3, input_shape=(4,), activation='tanh'), BatchNormalization(),
                        Dense(3, activation='relu', name='my_layer'), Dense(2, name='third'), Dense(1)])
    weights = [.5 * faq.numbers(*w.shape, seed=i) for i, w in enumerate(model.get_weights())]
    weights[5] = np.abs(weights[5]) + .5  # a variance
    model.set_weights(weights)
    return model


def test_a_model_of_it():
    names = {'original': original(), 'data': X}
    with pytest.warns(UserWarning, match='Update your `Model` call to the Keras 2 API'):  # input=, output=
        faq.run(MODEL, names, [('model = ...', 'model = original'), ('predict(data', 'predict(data)')])
    assert names['intermediate_output'].shape == (5, 3)
    # The first of these is a small difference of large numbers.
    np.testing.assert_allclose(names['intermediate_output'][0], MY_LAYER, rtol=1e-5, atol=1e-7)


def test_a_function_of_it():
    names = {'model': original(), 'X': X}
    faq.run(FUNCTION, names)
    np.testing.assert_allclose(names['layer_output'][0], TESTING, rtol=1e-5)
    names['get_3rd_layer_output'] = None
    build, testing, training = faq.paragraphs(PHASES)
    faq.run(build, names)
    faq.run(testing, names)
    np.testing.assert_allclose(names['layer_output'][0], TESTING, rtol=1e-5)
    faq.run(training, names)
    np.testing.assert_allclose(names['layer_output'][0], TRAINING, rtol=1e-4)


MY_LAYER = [.00442809, .60898012, 0]
TESTING = [-.5920769, -.56448555]
TRAINING = [-.80644047, -.71939653]
