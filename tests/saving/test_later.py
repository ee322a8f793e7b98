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
    ('ragged', False, True, 'InputLayer'), ('data_format', 'channels_last', 'channels_first', 'ZeroPadding1D')])
def test_arguments_that_make_a_difference_are_refused(key, neutral, other, class_name):
    required = {'Conv2D': {'filters': 2, 'kernel_size': 2}, 'LSTM': {'units': 2}, 'InputLayer': {'input_shape': (2,)}}
    config = {'name': 'it', **required.get(class_name, {})}
    layer = model_from_config({'class_name': class_name, 'config': {**config, key: neutral}})
    assert type(layer).__name__ == class_name
    with pytest.raises(InvalidModelFile, match=f'The {class_name} layer "it" asks for {key}={other!r}.* not supported'):
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
    policy['config']['name'] = 'mixed_float16'
    with pytest.raises(InvalidModelFile, match="The Dense layer .* asks for the dtype policy 'mixed_float16'"):
        model_from_config(config)


@pytest.mark.parametrize('name', ['l1', 'l2'])
def test_regularizers_of_one_norm(name):
    penalty = {'class_name': name.upper(), 'config': {name: .25}}
    config = {'class_name': 'Dense', 'config': {'units': 2, 'kernel_regularizer': penalty}}
    found = model_from_config(config).kernel_regularizer
    assert found.get_config() == {'l1': 0., 'l2': 0., name: .25}


@pytest.mark.parametrize('config, warns', [
    ({'learning_rate': .5, 'name': 'Adam', 'jit_compile': True, 'clipnorm': None}, False),
    ({'learning_rate': .5, 'use_ema': True}, True)])
def test_optimizers(path, config, warns):
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


# ------------------------------------------------------------ losses and metrics saved as objects

def saved_with(tmp_path, outputs=1, **training):
    """The path of a model file whose training configuration is altered."""
    path, x = str(tmp_path / 'm.h5'), L.Input((3,))
    model = Model(x, [L.Dense(2, name=f'out{i}')(x) for i in range(outputs)])
    model.compile('sgd', 'mse')
    model.save(path)
    with h5py.File(path, 'a') as f:
        f.attrs['training_config'] = json.dumps({**json.loads(f.attrs['training_config']), **training}).encode()
    return path


def as_object(kind, **config):
    return {'class_name': kind, 'config': config}


@pytest.mark.parametrize('saved, name', [
    (as_object('MeanSquaredError', reduction='auto', name='mean_squared_error'), 'mean_squared_error'),
    (as_object('Custom>BinaryCrossentropy', reduction='sum_over_batch_size', from_logits=False, label_smoothing=0,
               axis=-1, fn='binary_crossentropy'), 'binary_crossentropy'),
    (as_object('KLDivergence'), 'kullback_leibler_divergence'), (as_object('LogCosh'), 'logcosh')])
def test_loss_objects(tmp_path, saved, name):
    assert load_model(saved_with(tmp_path, loss=saved)).loss == name
    assert load_model(saved_with(tmp_path, loss={'out0': saved})).loss == {'out0': name}


@pytest.mark.parametrize('saved', [
    as_object('MeanSquaredError', reduction='sum'), as_object('BinaryCrossentropy', from_logits=True),
    as_object('Hinge'), as_object('Huber', delta=1.), as_object('CategoricalCrossentropy', label_smoothing=.1)])
def test_losses_that_keras_2_has_not(tmp_path, saved):
    path = saved_with(tmp_path, loss=saved)
    with pytest.raises(InvalidModelFile, match=f"asks for the loss .*{saved['class_name']}.*compile=False"):
        load_model(path)
    assert load_model(path, compile=False).optimizer is None


def test_metric_objects(tmp_path):
    wrapped = as_object('MeanMetricWrapper', name='accuracy', dtype='float32', fn='binary_accuracy')
    path = saved_with(tmp_path, metrics=[[wrapped, as_object('MeanAbsoluteError', name='mae')]])
    assert load_model(path).metrics_names == ['loss', 'acc', 'mean_absolute_error']


def test_metrics_of_each_output(tmp_path):
    path = saved_with(tmp_path, outputs=2, metrics=[[], [as_object('TopKCategoricalAccuracy', k=5)]])
    assert load_model(path).metrics_names == ['loss', 'out0_loss', 'out1_loss', 'out1_top_k_categorical_accuracy']


def test_metrics_that_keras_2_has_not_are_left_out(tmp_path):
    path = saved_with(tmp_path, metrics=[as_object('AUC', num_thresholds=200), 'mae'])
    with pytest.warns(UserWarning, match="The metric .*'AUC'.* was left out"):
        assert load_model(path).metrics_names == ['loss', 'mean_absolute_error']


def test_learning_rate_schedule(tmp_path):
    schedule = as_object('ExponentialDecay', initial_learning_rate=.1)
    path = saved_with(tmp_path, optimizer_config=as_object('Adam', learning_rate=schedule))
    with pytest.raises(InvalidModelFile, match='Adam was saved with the learning rate schedule .*ExponentialDecay'):
        load_model(path)
