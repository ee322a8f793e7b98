"""How can I save a Keras model? All of it, its architecture, or its weights."""
import json

import faq_harness as faq
import numpy as np
import pytest

from kfacade import optimizers
from kfacade.layers import Dense
from kfacade.models import Sequential

WHOLE, ARCHITECTURE, REBUILT, SAVE_WEIGHTS, LOAD_WEIGHTS, BY_NAME, EXAMPLE = faq.blocks('save_model')
X, Y = faq.numbers(8, 3), faq.numbers(8, 3, seed=1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def two_layers():
    model = Sequential()
    model.add(Dense(2, input_dim=3, name='dense_1', activation='tanh'))
    model.add(Dense(3, name='dense_2'))
    return faq.fill(model)


def trained():
    model = two_layers()
    model.compile(optimizers.SGD(.1, momentum=.9), 'mse', metrics=['mae'])
    for _ in range(3):
        model.train_on_batch(X, Y)
    return model


def test_the_whole_model():
    names = {'model': trained()}
    unbroken = trained()
    before = unbroken.predict(X)
    faq.run(WHOLE, names)
    model = names['model']
    assert model is not unbroken
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.loss == 'mse' and model.metrics_names == ['loss', 'mean_absolute_error']
    steps = [model.train_on_batch(X, Y) for _ in range(2)]  # its velocity is not lost
    np.testing.assert_array_equal(steps, [unbroken.train_on_batch(X, Y) for _ in range(2)])
    np.testing.assert_allclose(steps, STEPS, rtol=1e-5)  # of Keras 2.2.4


def test_the_architecture():
    model = two_layers()
    names = {'model': model}
    faq.run(ARCHITECTURE, names)
    assert json.loads(names['json_string'])['keras_version'] == '2.2.4'
    assert [layer['config']['name'] for layer in json.loads(names['json_string'])['config']['layers']] == [
        'dense_1', 'dense_2']
    assert 'class_name: Sequential\n' in names['yaml_string']
    parts = faq.paragraphs(REBUILT)
    from_json = faq.run(parts[0] + '\nmodel', names)
    # The page does not import this function.
    from_yaml = faq.run(parts[1] + '\nmodel', names, [
        ('model = model_from_yaml', 'from keras.models import model_from_yaml\nmodel = model_from_yaml')])
    for again in (from_json, from_yaml):
        assert again is not model and again.get_config() == model.get_config()
        assert not np.array_equal(again.get_weights()[0], model.get_weights()[0])
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        np.testing.assert_allclose(again.predict(X)[0], FIRST, rtol=1e-5)


@pytest.mark.parametrize('load', [LOAD_WEIGHTS, BY_NAME])
def test_the_weights(load):
    faq.run(SAVE_WEIGHTS, {'model': two_layers()})
    model = Sequential.from_config(two_layers().get_config())
    faq.run(load, {'model': model})
    np.testing.assert_allclose(model.predict(X)[0], FIRST, rtol=1e-5)


def test_weights_by_name_into_another_architecture():
    first = two_layers()
    first.save_weights('first.h5')
    names = {'Sequential': Sequential, 'Dense': Dense, 'fname': 'first.h5'}
    *_, build, load = faq.paragraphs(EXAMPLE)
    faq.run(build.partition('# new model')[2], names)
    before = names['model'].get_weights()
    faq.run(load, names)
    after = names['model'].get_weights()
    for got, wanted in zip(after, first.get_weights()[:2] + before[2:]):
        np.testing.assert_array_equal(got, wanted)
    assert [w.shape for w in after] == [(3, 2), (2,), (2, 10), (10,)]


STEPS = [[1.3698268, 1.0097623], [1.2561634, .96248090]]
FIRST = [.70041764, .17477436, -1.0250433]
