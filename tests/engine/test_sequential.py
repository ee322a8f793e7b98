"""Stacks of layers: with and without an input shape, grown, cut and nested."""
import copy

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers
from kfacade.engine import Input
from kfacade.models import Model, Sequential, clone_model, load_model


def dense_stack(**first):
    return Sequential([layers.Dense(4, activation='relu', **first), layers.Dense(2, activation='softmax')])


def test_the_input_layer_is_hidden_from_layers():
    K.clear_session()
    model = dense_stack(input_shape=(3,))
    assert [layer.name for layer in model.layers] == ['dense_1', 'dense_2']
    assert model.input_names == ['dense_1_input'] and model.input_shape == (None, 3) and len(model.weights) == 4


def test_a_deferred_stack_is_built_by_its_first_data():
    model = dense_stack()
    assert not model.built and model.get_weights() == []
    with pytest.raises(ValueError, match='This model has not yet been built'):
        model.summary()
    model.compile('sgd', 'categorical_crossentropy', metrics=['acc'])
    x, y = np.random.RandomState(0).randn(8, 3), np.eye(2)[[0, 1] * 4]
    history = model.fit(x, y, epochs=2, verbose=0)
    assert list(history.history) == ['loss', 'acc'] and model.input_shape == (None, 3)
    config = model.get_config()
    assert config['build_input_shape'] == (None, 3)
    assert Sequential.from_config(config).output_shape == (None, 2)


def test_build_by_shape():
    model = dense_stack()
    model.build((None, 5))
    assert model.layers[0].get_weights()[0].shape == (5, 4)
    with pytest.raises(ValueError, match='cannot be built'):
        dense_stack().build()


def test_add_and_pop_rebuild():
    model = dense_stack(input_shape=(3,))
    x = np.ones((2, 3))
    hidden = np.maximum(x @ model.get_weights()[0], 0)
    model.pop()
    np.testing.assert_allclose(model.predict(x), hidden, rtol=1e-5)
    model.add(layers.Dense(5))
    assert model.output_shape == (None, 5) and len(model.layers) == 2
    model.pop()
    model.pop()
    assert model.layers == [] and model.outputs is None
    with pytest.raises(TypeError, match='There are no layers in the model'):
        model.pop()


@pytest.mark.parametrize('wrong, error, message', [
    (3, TypeError, 'The added layer must be an instance of class Layer. Found: 3'),
    (Sequential(), ValueError, 'Cannot add an empty model to a `Sequential` model')])
def test_what_cannot_be_added(wrong, error, message):
    with pytest.raises(error, match=message):
        Sequential().add(wrong)


def test_a_layer_with_several_outputs_is_refused():
    x = Input((3,))
    twins = Model(x, [layers.Dense(1)(x), layers.Dense(1)(x)])
    with pytest.raises(TypeError, match='single output tensor'):
        Sequential([layers.Dense(3, input_shape=(3,))]).add(twins)


def test_models_may_be_the_first_layer():
    inner = dense_stack(input_shape=(3,))
    model = Sequential([inner, layers.Dense(1)])
    assert model.input_shape == (None, 3) and model.output_shape == (None, 1) and len(model.weights) == 6


def test_a_model_in_first_place_is_fed_what_it_takes():
    x = Input((3,), dtype='int32')
    model = Sequential([Model(x, layers.Embedding(5, 2)(x)), layers.Flatten()])
    assert K.dtype(model.inputs[0]) == 'int32' and model.output_shape == (None, 6)


def test_transfer_by_popping_the_head_keeps_the_weights():
    model = dense_stack(input_shape=(3,))
    kernel = model.get_weights()[0]
    model.pop()
    for layer in model.layers:
        layer.trainable = False
    model.add(layers.Dense(3, activation='softmax'))
    model.compile('adam', 'categorical_crossentropy')
    model.fit(np.ones((4, 3)), np.eye(3)[[0, 1, 2, 0]], verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


def test_predict_classes_and_proba():
    model = dense_stack(input_shape=(3,))
    x = np.random.RandomState(0).randn(5, 3)
    np.testing.assert_array_equal(model.predict_classes(x), model.predict(x).argmax(-1))
    np.testing.assert_array_equal(model.predict_proba(x), model.predict(x))
    single = Sequential([layers.Dense(1, input_shape=(3,))])
    single.set_weights([np.ones((3, 1)), np.zeros(1)])
    assert single.predict_classes(x).shape == (5, 1)
    with pytest.warns(UserWarning, match='invalid probability values'):
        single.predict_proba(x * 10)


def test_torch_modules_in_a_stack_that_is_built_late():
    model = Sequential([torch.nn.Linear(3, 4), layers.Dense(1)])
    assert model.predict(np.zeros((2, 3))).shape == (2, 1) and len(model.weights) == 4


def test_input_layer_first():
    model = Sequential([layers.InputLayer((3,)), layers.Dense(2)])
    assert model.predict(np.zeros((1, 3))).shape == (1, 2) and len(model.layers) == 1


@pytest.mark.parametrize('shape, batch, made', [
    ((3,), None, lambda: [layers.Dense(2)]), ((3,), 4, lambda: [layers.Dense(2)]),
    ((3,), None, lambda: [layers.Embedding(9, 2), layers.Flatten()])])
@pytest.mark.parametrize('again', [
    clone_model, copy.deepcopy, lambda model: Sequential.from_config(model.get_config()),
    lambda model: (model.save('model.h5'), load_model('model.h5', compile=False))[1]])
def test_an_input_layer_that_alone_knows_the_shape_is_kept(shape, batch, made, again, tmp_path, monkeypatch):
    """Keras 2.2.4 leaves it out, so that it can load no file of such a model; a configuration with it, it reads."""
    monkeypatch.chdir(tmp_path)
    model = Sequential([layers.InputLayer(shape, batch, name='first'), *made()])
    found = again(model)
    assert found.input_shape == (batch, *shape) and found.input_names == ['first']
    assert len(found.layers) == len(model.layers)
    found.set_weights(model.get_weights())
    x = np.arange(12).reshape(4, 3) % 9
    np.testing.assert_array_equal(found.predict(x, batch_size=4), model.predict(x, batch_size=4))
    assert found.get_config() == model.get_config()


def test_an_input_layer_that_says_what_the_first_layer_says_is_left_out():
    model = Sequential([layers.InputLayer((3,)), layers.Dense(2, input_shape=(3,))])
    assert [layer['class_name'] for layer in model.get_config()['layers']] == ['Dense']
    assert Sequential([layers.InputLayer((3,))]).get_config()['layers'] == []


@pytest.mark.parametrize('made', [lambda added: Sequential(added),
                                  lambda added: Sequential.from_config(Sequential(added).get_config())])
def test_many_layers_are_made_into_a_model_once(monkeypatch, made):
    counts, init = [], Sequential._init_graph_network
    monkeypatch.setattr(Sequential, '_init_graph_network', lambda self, *given, **more: (
        counts.append(len(self._layers)), init(self, *given, **more))[1])
    model = made([layers.Dense(2, input_shape=(3,)), *(layers.Activation('relu') for _ in range(20))])
    assert set(counts) == {22} and model.output_shape == (None, 2) and len(model.layers) == 21
    model.add(layers.Dense(1))
    assert counts[-1] == 23 and model.predict(np.ones((1, 3))).shape == (1, 1)
