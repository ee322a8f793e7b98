"""The networks against what Keras 2.2.4 made of the same descriptions; `applications_harness.py` says how."""
import json
import warnings

import applications_harness as recipe
import numpy as np
import pytest

import kfacade as keras
from kfacade import backend as K

FACTS = json.loads((recipe.HERE / 'facts.json').read_text())
OUTPUTS = np.load(recipe.HERE / 'outputs.npz')


@pytest.fixture
def data_format():
    yield K.set_image_data_format
    K.set_image_data_format('channels_last')


def make(name, **kwargs):
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'The output shape of `ResNet50')
        return getattr(keras.applications, name)(weights=None, **kwargs)


@pytest.mark.parametrize('case', FACTS)
def test_configuration_and_weights_are_those_of_keras(case, data_format):
    name, *top, layout = case.split()
    data_format(layout)
    assert recipe.facts(make(name, include_top=top == ['top'])) == FACTS[case]


@pytest.mark.parametrize('name', recipe.SMALLEST)
def test_features_are_those_of_keras(name):
    size = recipe.SMALLEST[name]
    model = recipe.fill(make(name, include_top=False, input_shape=(size, size, 3)))
    expected = OUTPUTS[name]
    np.testing.assert_allclose(model.predict(recipe.images(size)), expected, rtol=1e-4, atol=1e-4 * expected.max())


@pytest.mark.parametrize('name', recipe.WITH_TOP)
def test_predictions_are_those_of_keras(name):
    model = recipe.fill(make(name))
    np.testing.assert_allclose(model.predict(recipe.images(recipe.WITH_TOP[name])), OUTPUTS[name + ' top'], rtol=1e-4,
                               atol=1e-4 * OUTPUTS[name + ' top'].max())
