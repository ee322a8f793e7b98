"""Configurations of versions after 2.2.4: read where they mean the same, refused by name where they do not."""
import json

import h5py
import numpy as np
import pytest

from kfacade import layers as L
from kfacade.models import Model, Sequential, load_model, model_from_config, model_from_json
from kfacade.saving import InvalidModelFile


def later(config):
    """A functional model's config as tf.keras writes it."""
    text = config.replace('"class_name": "Model"', '"class_name": "Functional"')
    text = text.replace('"sparse": false', '"sparse": false, "ragged": false')
    text = text.replace('"filters": 2', '"filters": 2, "groups": 1')
    text = text.replace('"momentum": 0.99', '"momentum": 0.99, "axis": [3]').replace('"axis": -1, ', '')
    return text.replace('"class_name": "Zeros", "config": {}', '"class_name": "Zeros", "config": {"dtype": "float32"}')


def convolutional():
    x = L.Input((4, 4, 1), name='x')
    return Model(x, L.BatchNormalization(name='b')(L.Conv2D(2, 2, name='c')(x)), name='net')


def test_later_configs_build_the_same_model():
    model = convolutional()
    text = later(model.to_json())
    assert all(word in text for word in ('Functional', 'ragged', 'groups', '[3]'))
    rebuilt = model_from_json(text)
    assert rebuilt.to_json().replace('"axis": 3', '"axis": -1') == model.to_json()


@pytest.mark.parametrize('key, neutral, other, class_name', [
    ('groups', 1, 2, 'Conv2D'), ('time_major', False, True, 'LSTM'), ('keepdims', False, True, 'GlobalMaxPooling2D'),
    ('ragged', False, True, 'InputLayer')])
def test_arguments_that_make_a_difference_are_refused(key, neutral, other, class_name):
    required = {'Conv2D': {'filters': 2, 'kernel_size': 2}, 'LSTM': {'units': 2}, 'InputLayer': {'input_shape': (2,)}}
    config = {'name': 'it', **required.get(class_name, {})}
    layer = model_from_config({'class_name': class_name, 'config': {**config, key: neutral}})
    assert type(layer).__name__ == class_name
    with pytest.raises(InvalidModelFile, match=f'The {class_name} layer "it" asks for {key}={other}.* not supported'):
        model_from_config({'class_name': class_name, 'config': {**config, key: other}})


def test_own_classes_keep_their_arguments():
    class Grouped(L.Dense):
        """A layer of a user's own, which has groups."""

        def __init__(self, units, groups, **kwargs):
            super().__init__(units, **kwargs)
            self.groups = groups
    config = {'class_name': 'Grouped', 'config': {'units': 2, 'groups': 1}}
    assert model_from_config(config, custom_objects={'Grouped': Grouped}).groups == 1


def test_policies_are_their_dtype():
    policy = {'class_name': 'Policy', 'config': {'name': 'float32'}}
    config = {'class_name': 'Dense', 'config': {'units': 2, 'input_shape': (3,), 'dtype': policy}}
    assert model_from_config(config).dtype == 'float32'


@pytest.mark.parametrize('config, warns', [
    ({'learning_rate': .5, 'name': 'Adam', 'jit_compile': True, 'clipnorm': None}, False),
    ({'learning_rate': .5, 'use_ema': True}, True)])
def test_optimizers(tmp_path, config, warns):
    path = str(tmp_path / 'm.h5')
    model = Sequential([L.Dense(2, input_shape=(3,))])
    model.compile('adam', 'mse')
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))
    model.save(path)
    with h5py.File(path, 'a') as f:
        training = json.loads(f.attrs['training_config'])
        training['optimizer_config'] = {'class_name': 'Custom>Adam', 'config': {'beta_1': .8, **config}}
        f.attrs['training_config'] = json.dumps({**training, 'weighted_metrics': ['mae']}).encode()
    if warns:
        with pytest.warns(UserWarning, match="Adam was saved with {'use_ema': True}"):
            loaded = load_model(path)
    else:
        loaded = load_model(path)
    settings = loaded.optimizer.get_config()
    assert (settings['lr'], round(settings['beta_1'], 6)) == (.5, .8) and 'clipnorm' not in settings
    assert loaded.metrics_names == ['loss', 'weighted_mean_absolute_error']
    for got, wanted in zip(loaded.optimizer.get_weights(), model.optimizer.get_weights()):
        np.testing.assert_array_equal(got, wanted)
