"""Configurations of versions after 2.2.4: read where they mean the same, refused by name where they do not."""
import json

import h5py
import numpy as np
import pytest
import yaml

from kfacade import backend as K
from kfacade import layers as L
from kfacade.models import Model, Sequential, load_model, model_from_config, model_from_json, model_from_yaml
from kfacade.optimizers import SGD
from kfacade.saving import InvalidModelFile
from kfacade.saving.later import origin
from kfacade.utils import custom_object_scope


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


# ------------------------------------------------------------ what the caller registers comes first

class MeanSquaredError:
    """A loss object of a user's own under a name that later versions have: a hundred times as much."""

    __name__ = 'own'

    def __init__(self, factor=100, **kwargs):
        self.factor = factor

    def __call__(self, y_true, y_pred):
        return self.factor * K.mean(K.square(y_pred - y_true), axis=-1)

    def get_config(self):
        return {'factor': self.factor}


class Adam(SGD):
    """An optimizer of a user's own under a known name."""


class Ours(MeanSquaredError):
    """A loss object under a name that nobody has."""


@pytest.mark.parametrize('loss', [MeanSquaredError(50), Ours(50)])
@pytest.mark.parametrize('nest', [lambda loss: loss, lambda loss: {'out': loss}, lambda loss: [loss]])
def test_own_losses(tmp_path, loss, nest):
    model = Sequential([L.Dense(2, input_shape=(3,), name='out')])
    model.compile('sgd', nest(loss))
    x, y = np.ones((2, 3)), np.zeros((2, 2))
    wanted = model.evaluate(x, y, verbose=0)
    model.save(tmp_path / 'm.h5')
    own = {type(loss).__name__: type(loss)}
    with custom_object_scope(own):
        assert load_model(tmp_path / 'm.h5').evaluate(x, y, verbose=0) == pytest.approx(wanted)
    assert load_model(tmp_path / 'm.h5', own).evaluate(x, y, verbose=0) == pytest.approx(wanted)


def test_own_metrics_and_optimizers(tmp_path):
    path = saved_with(tmp_path, metrics=[[as_object('Custom>MeanSquaredError', factor=3)]], loss='own',
                      optimizer_config=as_object('Custom>Adam', lr=.25))
    own = {'MeanSquaredError': MeanSquaredError, 'Adam': Adam, 'own': MeanSquaredError(7)}
    with custom_object_scope(own):
        for model in (load_model(path), load_model(path, own)):
            assert type(model.optimizer) is Adam and K.get_value(model.optimizer.lr) == .25
            assert model.loss.factor == 7 and model.metrics['out0'][0].factor == 3
            loss, metric = model.evaluate(np.ones((2, 3)), np.zeros((2, 2)), verbose=0)
            assert loss == pytest.approx(7 / 3 * metric)


def test_own_layers_on_ours_are_cleaned_of_later_arguments():
    class Conv(L.Conv1D):
        """A subclass that hands on what it does not know."""

        def __init__(self, filters, factor=2, **kwargs):
            super().__init__(filters, **kwargs)
            self.factor = factor

    class LSTM(L.LSTM):
        """One that takes a known name."""
    policy = {'module': 'keras', 'class_name': 'DTypePolicy', 'config': {'name': 'float32'}}
    config = {'filters': 1, 'kernel_size': [2], 'groups': 1, 'dtype': policy, 'factor': 3, 'name': 'it'}
    layer = model_from_config(as_object('Package>Conv', **config), {'Conv': Conv}, '2.13.1')
    assert layer.factor == 3 and layer.kernel_size == (2,)
    with pytest.raises(InvalidModelFile, match='The Conv layer "it" asks for groups=2'):
        model_from_config(as_object('Conv', **{**config, 'groups': 2}), {'Conv': Conv}, '2.13.1')
    with custom_object_scope({'LSTM': LSTM}):
        assert type(model_from_config(as_object('LSTM', units=2, time_major=False))) is LSTM


def test_own_initializers():
    class Zeros:
        """Which fills with what it is told, called as one of ours."""

        def __init__(self, dtype):
            self.dtype = dtype

        def __call__(self, shape, dtype=None):
            return K.ones(shape)
    config = as_object('Dense', units=2, kernel_initializer=as_object('Zeros', dtype='float32'))
    with custom_object_scope({'Zeros': Zeros}):
        assert model_from_config(config, version='2.4.0').kernel_initializer.dtype == 'float32'


# ------------------------------------------------------------ what a version means

@pytest.mark.parametrize('version, wanted', [
    ('1.2.2', 'Keras'), ('2.2.4', 'Keras'), ('2.3.1', 'Keras'), (None, 'Keras'), ('', 'Keras'),
    ('2.1.6-tf', 'tf.keras'), ('2.2.4-tf', 'tf.keras'), ('2.4.0', 'tf.keras'), ('2.15.0', 'tf.keras'),
    ('3.0.0', 'Keras 3'), ('3.15.1', 'Keras 3')])
def test_who_wrote_a_file(version, wanted):
    assert origin(version) == wanted


def masked_bidirectional(version):
    config = [as_object('Masking', mask_value=0., batch_input_shape=[None, 3, 1]),
              as_object('Bidirectional', layer=as_object('SimpleRNN', units=1, activation='linear', use_bias=False,
                                                         return_sequences=True))]
    text = {**as_object('Sequential', name='s', layers=config), 'keras_version': version, 'backend': 'tensorflow'}
    return [model_from_json(json.dumps(text)), model_from_yaml(yaml.safe_dump(text))]


@pytest.mark.parametrize('version, last', [
    ('2.2.4', [2, 0]), ('2.3.1', [2, 0]), ('2.2.4-tf', [0, 0]), ('2.4.0', [0, 0])])
def test_masked_steps_of_bidirectional(version, last):
    for model in masked_bidirectional(version):
        model.set_weights([np.ones((1, 1))] * 4)
        assert model.predict(np.array([[[1.], [1.], [0.]]])).tolist() == [[[1, 2], [2, 1], last]]


def test_masks_of_keras_3_are_those_that_it_names():
    """It hands no mask on to a layer that is called with states; a mask made otherwise than ours is refused."""
    def tensor(name):
        return {'class_name': '__keras_tensor__', 'config': {'keras_history': [name, 0, 0]}}

    def entry(kind, name, *args, kwargs=None, **config):
        return {**as_object(kind, name=name, **config), 'name': name,
                'inbound_nodes': [{'args': args, 'kwargs': kwargs or {}}] if args else []}
    rnn = {'units': 1, 'activation': 'linear', 'use_bias': False, 'return_sequences': True, 'trainable': True}
    layers = [entry('InputLayer', 'x', batch_shape=[None, 2, 1]), entry('InputLayer', 'h', batch_shape=[None, 1]),
              entry('Masking', 'm', tensor('x'), mask_value=0., trainable=True),
              entry('SimpleRNN', 'r', tensor('m'), kwargs={'initial_state': tensor('h')}, **rnn)]
    ends = {'input_layers': [['x', 0, 0], ['h', 0, 0]], 'output_layers': [['r', 0, 0]]}
    config = {**as_object('Functional', name='f', layers=layers, **ends), 'registered_name': 'Functional'}
    model = model_from_config(config)
    model.set_weights([[[1.]], [[2.]]])
    x = [np.array([[[1.], [0.]]]), np.zeros((1, 1))]
    assert model.predict(x).tolist() == [[[1], [2]]]
    again = model_from_json(model.to_json())
    again.set_weights([[[1.]], [[2.]]])
    assert again.predict(x).tolist() == [[[1], [2]]]
    layers[3:] = [entry('Maximum', 'r', [tensor('m'), tensor('x')], trainable=True)]
    with pytest.raises(ValueError, match='The Maximum layer "r" compares masked tensors, of which Keras 3'):
        model_from_config(config)


# ------------------------------------------------------------ dtypes, Lambdas, archives of tf.keras

def test_layers_that_compute_in_another_dtype():
    config = as_object('Dense', name='d', units=2, batch_input_shape=[None, 3], dtype='float64')
    with pytest.raises(InvalidModelFile, match='The Dense layer "d" asks for the dtype policy \'float64\'.*set_floatx'):
        model_from_config(config, version='2.9.0')
    stack = as_object('Sequential', name='s', layers=[
        as_object('InputLayer', batch_input_shape=[None, 3], dtype='float64', name='i'),
        as_object('Dense', name='d', units=2, dtype='float32')])
    assert model_from_config(stack, version='2.9.0').predict(np.ones((1, 3))).dtype == 'float32'
    K.set_floatx('float64')
    try:
        model = model_from_config(as_object('Sequential', name='s', layers=[config]), version='2.9.0')
        assert model.predict(np.ones((1, 3))).dtype == 'float64'
    finally:
        K.set_floatx('float32')


def test_lambdas_of_tf_keras():
    config = as_object('Lambda', name='lam', function=['4wEAAAA=\n', None, None], function_type='lambda',
                       module='__main__', output_shape=None, output_shape_type='raw', output_shape_module=None,
                       arguments={}, dtype='float32', batch_input_shape=[None, 2])
    stack = as_object('Sequential', name='s', layers=[config])
    model = model_from_config(stack, {'lam': lambda x: x * 2}, '2.4.0')
    assert model.predict(np.ones((1, 2))).tolist() == [[2, 2]]
    with pytest.raises(InvalidModelFile, match='"lam" is stored as Python bytecode'):
        model_from_config(stack, version='2.4.0')


@pytest.mark.parametrize('padding, data_format, message', [
    ('same', 'channels_last', 'only "valid" is supported'), ('valid', 'channels_first', 'has its channels first')])
def test_locally_connected_layers_that_keras_2_has_not(padding, data_format, message):
    config = as_object('LocallyConnected1D', name='l', filters=1, kernel_size=[2], implementation=2, padding=padding,
                       data_format=data_format)
    with pytest.raises(InvalidModelFile, match=message):
        model_from_config(config, version='2.4.0')
