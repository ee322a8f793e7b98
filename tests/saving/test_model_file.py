"""Whole models in files and as text: saving, loading, training on, and what goes wrong on the way."""
import copy
import os
import pathlib
import pickle
import warnings
from collections import OrderedDict

import h5py
import numpy as np
import pytest
import torch
from goldens_harness import goldens

import kfacade as keras
from kfacade import backend as K
from kfacade import layers as L
from kfacade import saving
from kfacade.models import Model, Sequential, clone_model, load_model, model_from_json, model_from_yaml

RNG = np.random.RandomState(0)
X, Y = RNG.randn(12, 4).astype('float32'), RNG.randn(12, 2).astype('float32')
GOLDENS = goldens()
# one case of each kind of structure; the harness in test_goldens.py runs them all
CASES = ['chunked__input_name_15k', 'chunked__weight_names_2chunks', 'chunked__weight_names_3chunks',
         'multi_io__two_out_loss_dict_weights', 'nested__frozen_sublayer_order',
         'nested__sequential_in_model_in_sequential', 'nested__same_layer_names_inside_and_outside',
         'shared__sequential_twin', 'optimizers__adam_amsgrad', 'wrappers__td_bidir', 'batchnorm__4d_axis1_conv_cf']


def network(optimizer='adam', **arguments):
    model = Sequential([L.Dense(5, activation='tanh', input_shape=(4,)), L.BatchNormalization(), L.Dense(2)])
    model.compile(optimizer, 'mse', **arguments)
    return model


def contents(path):
    """Every attribute, with its type on disk, and every dataset of a file, as a dict by place."""
    found = {}

    def add(name, item):
        for key in item.attrs:
            stored = item.attrs.get_id(key)
            found[name, key] = (str(stored.dtype), stored.shape, np.asarray(item.attrs[key]).tolist())
        if isinstance(item, h5py.Dataset):
            found[name] = (str(item.dtype), item.shape, item[()].tobytes(), item.chunks)
    with h5py.File(path, 'r') as f:
        add('/', f)
        f.visititems(add)
    return found


# ------------------------------------------------------------ Keras' own files

@pytest.mark.parametrize('name', CASES)
def test_keras_file_comes_back_as_it_was(tmp_path, name):
    """Load what Keras saved, predict as it did, and save: every weight, name and attribute is the same."""
    golden = GOLDENS[name]
    theirs, ours = golden.write('h5', tmp_path), str(tmp_path / 'ours.h5')
    K.clear_session()
    model = load_model(theirs)
    inputs = golden.numbered('x')
    predicted = model.predict(inputs if len(inputs) > 1 else inputs[0], batch_size=golden.spec['predict_batch_size'])
    golden.close('predictions', predicted, golden.numbered('pred_after'))
    model.save(ours)
    assert contents(ours) == contents(theirs)
    if golden.read('weights.h5'):
        model.save_weights(ours)
        assert contents(ours) == contents(golden.write('weights.h5', tmp_path))


@pytest.mark.parametrize('name', CASES)
def test_keras_texts_come_back_as_they_were(name):
    for suffix, read, write in (('json', model_from_json, 'to_json'), ('yaml', model_from_yaml, 'to_yaml')):
        K.clear_session()
        text = GOLDENS[name].read(suffix).decode()
        assert getattr(read(text), write)() == text


def test_numbers_that_numpy_put_into_yaml():
    text = GOLDENS['activations_noise__relu_all'].read('yaml').decode()
    assert 'numpy.core.multiarray._reconstruct' in text
    layer = model_from_yaml(text).layers[2]
    np.testing.assert_allclose([layer.max_value, layer.negative_slope, layer.threshold], [1.2, .3, .25], rtol=1e-6)


# ------------------------------------------------------------ saving

@pytest.mark.parametrize('make_path', [str, pathlib.Path])
def test_save_and_load(tmp_path, make_path):
    path = make_path(tmp_path / 'm.h5')
    model = network(metrics=['mae'])
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(path)
    assert os.listdir(tmp_path) == ['m.h5']
    loaded = load_model(path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.metrics_names == ['loss', 'mean_absolute_error']
    assert loaded.optimizer.get_config() == model.optimizer.get_config()


def test_open_groups(tmp_path):
    model = network()
    with h5py.File(tmp_path / 'm.h5', 'w') as f:
        model.save(f.create_group('first'))
        loaded = load_model(f['first'])
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        model.save_weights(f.create_group('second'))
        loaded.load_weights(f['second'])
        assert f.id.valid and sorted(f) == ['first', 'second']


def test_without_optimizer(path):
    model = network()
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(path, include_optimizer=False)
    with h5py.File(path) as f:
        assert sorted(f) == ['model_weights'] and 'training_config' not in f.attrs
    with pytest.warns(UserWarning, match='No training configuration found in save file'):
        loaded = load_model(path)
    assert not loaded.optimizer
    load_model(path, compile=False)


class Boom(Exception):
    """What interrupts a save in these tests."""


@pytest.mark.parametrize('save', ['save', 'save_weights'])
@pytest.mark.parametrize('error', [Boom, KeyboardInterrupt, OSError])
def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch, save, error):
    path = tmp_path / 'm.h5'
    model = network()
    getattr(model, save)(path)
    before = path.read_bytes()

    def fail(group, name, data):
        raise error
    monkeypatch.setattr(h5py.Group, 'create_dataset', fail)
    with pytest.raises(error):
        getattr(model, save)(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['m.h5']


@pytest.mark.parametrize('save', ['save', 'save_weights'])
def test_a_missing_folder_is_named_with_the_file_that_was_asked_for(tmp_path, save):
    with pytest.raises(FileNotFoundError, match='No such file or directory: .*absent/m.h5'):
        getattr(network(), save)(tmp_path / 'absent' / 'm.h5')


def test_saving_keeps_mode_and_link_of_the_old_file(tmp_path):
    (tmp_path / 'real.h5').write_bytes(b'')
    (tmp_path / 'real.h5').chmod(0o640)
    (tmp_path / 'link.h5').symlink_to('real.h5')
    model = network()
    model.save_weights(tmp_path / 'link.h5')
    assert (tmp_path / 'link.h5').is_symlink() and (tmp_path / 'real.h5').stat().st_mode & 0o777 == 0o640
    model.load_weights(tmp_path / 'real.h5')


@pytest.mark.parametrize('save', ['save', 'save_weights'])
def test_overwriting_is_asked_for(tmp_path, monkeypatch, save):
    path = tmp_path / 'm.h5'
    path.write_bytes(b'old')
    model = network()
    monkeypatch.setattr('builtins.input', lambda text: 'n')
    getattr(model, save)(path, overwrite=False)
    assert path.read_bytes() == b'old'
    monkeypatch.setattr('builtins.input', lambda text: 'y')
    getattr(model, save)(path, overwrite=False)
    assert path.read_bytes() != b'old'
    getattr(model, save)(tmp_path / 'new.h5', overwrite=False)


def test_subclassed_model_saves_its_weights_only(tmp_path):
    class Mine(Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(2)

        def call(self, x):
            return self.dense(x)
    first, second = Mine(), Mine()
    first.predict(X), second.predict(X)
    with pytest.raises(NotImplementedError):
        first.save(tmp_path / 'm.h5')
    assert os.listdir(tmp_path) == []
    first.save_weights(tmp_path / 'w.h5')
    second.load_weights(tmp_path / 'w.h5')
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


# ------------------------------------------------------------ training on

@pytest.mark.parametrize('optimizer', ['sgd', 'rmsprop', 'adagrad', 'adadelta', 'adam', 'adamax', 'nadam'])
def test_training_goes_on_where_it_stopped(tmp_path, optimizer):
    model = Sequential([L.Dense(5, activation='tanh', input_shape=(4,)), L.Dense(2)])
    model.compile(optimizer, 'mse', metrics=['mae'])
    for _ in range(3):
        model.train_on_batch(X, Y)
    model.save(tmp_path / 'm.h5')
    loaded = load_model(tmp_path / 'm.h5')
    state = model.optimizer.get_weights()
    assert len(state) == len(loaded.optimizer.get_weights()) > 0
    for got, wanted in zip(loaded.optimizer.get_weights(), state):
        np.testing.assert_array_equal(got, wanted)
    for _ in range(2):
        np.testing.assert_allclose(loaded.train_on_batch(X, Y), model.train_on_batch(X, Y), rtol=1e-6)


def test_optimizer_state_that_does_not_fit(path):
    model = network()
    model.train_on_batch(X, Y)
    model.save(path)
    with h5py.File(path, 'a') as f:
        f['optimizer_weights'].attrs['weight_names'] = f['optimizer_weights'].attrs['weight_names'][:3]
    with pytest.warns(UserWarning, match='Error in loading the saved optimizer state'):
        loaded = load_model(path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.optimizer.get_weights()[0] == 0


def test_torch_loss_is_named_in_a_warning(tmp_path):
    model = network()
    model.compile('sgd', torch.nn.MSELoss())
    with pytest.warns(UserWarning, match='MSELoss.*A Keras file cannot hold that'):
        model.save(tmp_path / 'm.h5')


# ------------------------------------------------------------ custom objects

class Scale(L.Layer):
    """A layer of a user's own: multiplies by one weight."""

    def build(self, input_shape):
        self.scale = self.add_weight('scale', (input_shape[-1],), initializer='ones')
        super().build(input_shape)

    def call(self, inputs):
        return inputs * self.scale


def absolute(y_true, y_pred):
    """A loss, and metric, of a user's own."""
    return K.mean(K.abs(y_true - y_pred), axis=-1)


OWN = {'Scale': Scale, 'absolute': absolute}


def custom_network():
    model = Sequential([L.Dense(2, input_shape=(4,)), Scale()])
    model.compile('sgd', absolute, metrics=[absolute])
    return model


def test_custom_objects(path):
    model = custom_network()
    model.save(path)
    with pytest.raises(ValueError, match='Unknown layer: Scale'):
        load_model(path)
    for loaded in (load_model(path, custom_objects=OWN), _loaded_in_scope(path)):
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match='Unknown loss function:absolute'):
        load_model(path, custom_objects={'Scale': Scale})


def _loaded_in_scope(path):
    with keras.utils.CustomObjectScope(OWN):
        return load_model(path)


def test_code_in_a_file_is_refused_unless_asked_for(path):
    model = Sequential([L.Lambda(lambda x: x * 3, input_shape=(4,), name='threefold')])
    model.save(path)
    with pytest.raises(ValueError, match='threefold'):
        load_model(path, compile=False)
    np.testing.assert_allclose(load_model(path, compile=False, safe_mode=False).predict(X), X * 3, rtol=1e-6)
    with pytest.raises(ValueError, match='threefold'):  # the permission ended with that call
        load_model(path, compile=False)


# ------------------------------------------------------------ files that are no model

def test_weights_alone_are_no_model(tmp_path):
    network().save_weights(tmp_path / 'w.h5')
    with pytest.raises(saving.InvalidModelFile, match='No model found in config.*holds weights.*`load_weights`'):
        load_model(tmp_path / 'w.h5')


@pytest.mark.parametrize('config, message', [
    (b'{', 'is no JSON'), (b'[' * 100000, 'nested too deeply'), (b'3', 'found int'),
    (b'\xff', 'not UTF-8')])
def test_broken_configurations(path, config, message):
    network().save(path)
    with h5py.File(path, 'a') as f:
        f.attrs['model_config'] = config
    with pytest.raises(saving.InvalidModelFile, match=f'model_config.*{message}'):
        load_model(path)


def test_incomplete_training_configuration(path):
    network().save(path)
    with h5py.File(path, 'a') as f:
        f.attrs['training_config'] = b'{"loss": "mse"}'
    with pytest.raises(saving.InvalidModelFile, match="training_config .* does not say .'optimizer_config'"):
        load_model(path)
    load_model(path, compile=False)


BOMB = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 10))


@pytest.mark.parametrize('text, message', [
    ('!!python/object/apply:os.getcwd []', 'os.getcwd'), ("!!python/name:os.getcwd ''", 'os.getcwd'),
    ('{', 'cannot be read'), ('text', 'Expected a dictionary'), ('[' * 5000, 'nest'),
    ('a: &a [*a]', 'repeats itself'), (BOMB, 'repeats itself')])
def test_hostile_yaml(text, message):
    with pytest.raises(saving.InvalidModelFile, match=message):
        model_from_yaml(text)


def test_a_list_is_no_configuration():
    for read, text in ((model_from_json, '[]'), (model_from_yaml, '[]'), (keras.models.model_from_config, [])):
        with pytest.raises(TypeError, match='expects a dictionary, not a list'):
            read(text)


# ------------------------------------------------------------ text, copies, clones

def test_text_takes_the_arguments_of_its_writer():
    model = network()
    assert '\n    "class_name": "Sequential"' in model.to_json(indent=4)
    assert 'class_name: Sequential\n' in model.to_yaml(default_flow_style=False)
    assert '"keras_version": "2.2.4", "backend": "tensorflow"}' in model.to_json()


def pickled(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize('duplicate', [copy.deepcopy, pickled])
def test_copies_are_whole_and_separate(duplicate):
    model = custom_network()
    for _ in range(2):
        model.train_on_batch(X, Y)
    other = duplicate(model)
    expected = model.predict(X)
    np.testing.assert_array_equal(other.predict(X), expected)
    assert other.train_on_batch(X, Y) == model.train_on_batch(X, Y)
    other.train_on_batch(X, Y)
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])


FACTOR = 3.


@pytest.mark.parametrize('duplicate', [copy.deepcopy, pickled])
def test_copies_of_lambdas_and_local_functions(duplicate):
    """Two functions of one name stay two, and they still see the globals and locals that they were written among."""
    offset = .5
    x = L.Input((4,))
    tripled = L.Lambda(lambda t: K.relu(t) * FACTOR)(x)
    model = Model(x, [L.Lambda(lambda t: t + offset)(tripled), L.Dense(2)(x)])
    model.compile('sgd', [lambda y, p: K.mean(K.abs(y - p)), lambda y, p: K.mean(K.square(y - p))])
    expected = model.evaluate(X, [X, Y], verbose=0)
    other = duplicate(model)
    for got, wanted in zip(other.predict(X), model.predict(X)):
        np.testing.assert_array_equal(got, wanted)
    assert other.evaluate(X, [X, Y], verbose=0) == expected
    np.testing.assert_allclose(other.predict(X)[0], np.maximum(X, 0) * 3 + .5, rtol=1e-6)


@pytest.mark.parametrize('duplicate', [copy.deepcopy, pickled])
def test_copies_of_losses_in_a_dict_of_its_own_class(duplicate):
    x = L.Input((4,))
    model = Model(x, [L.Dense(2, name='a')(x), L.Dense(2, name='b')(x)])
    model.compile('sgd', OrderedDict([('b', lambda y, p: K.mean(K.abs(y - p))), ('a', 'mse')]))
    other = duplicate(model)
    assert other.loss['a'] == 'mse' and other.loss['b'].__name__ == '<lambda>'
    assert other.evaluate(X, [Y, Y], verbose=0) == model.evaluate(X, [Y, Y], verbose=0)


def test_deepcopy_of_local_classes():
    class Local(Scale):
        """Nobody could find this one by name."""
    model = Sequential([Local(input_shape=(4,))])
    assert type(copy.deepcopy(model).layers[0]) is Local


def test_clone_model():
    x, side = L.Input((4,), name='x'), L.Input((2,), name='side')
    shared = L.Dense(2, name='shared')
    y = L.add([shared(L.Dense(4, name='first')(x)), shared(x), side])
    model = Model([x, side], [Scale(name='scale')(y), y], name='net')
    clone = clone_model(model)
    assert clone.name == 'net' and [layer.name for layer in clone.layers] == [layer.name for layer in model.layers]
    assert not set(map(id, clone.layers)) & set(map(id, model.layers))
    assert len(clone.weights) == len(model.weights) and len(clone.get_layer('shared').inbound_nodes) == 2
    clone.set_weights(model.get_weights())
    for got, wanted in zip(clone.predict([X, Y]), model.predict([X, Y])):
        np.testing.assert_array_equal(got, wanted)


def test_clone_model_on_tensors():
    x = L.Input((4,))
    model = Sequential([L.Dense(3, input_shape=(4,)), L.Dense(2)])
    clone = clone_model(model, x)
    assert isinstance(clone, Sequential) and clone.inputs == [x] and clone.output_shape == (None, 2)
    functional = clone_model(Model(x, L.Dense(2)(x)), L.Input((4,), name='other'))
    assert functional.input_names == ['other']
    with pytest.raises(ValueError, match='at most one tensor'):
        clone_model(model, [x, x])
    with pytest.raises(ValueError, match='other than an `InputLayer`'):
        clone_model(model, L.Dense(4)(x))
    with pytest.raises(ValueError, match='Expected `model` argument to be a `Model` instance'):
        clone_model(L.Dense(2))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        clone_model(Sequential([L.Dense(3), L.Dense(2)]))


def test_weights_that_are_loaded_need_no_initial_values(tmp_path):
    class Counted(keras.initializers.Initializer):
        calls = 0

        def __call__(self, shape, dtype=None):
            Counted.calls += 1
            return np.ones(shape)
    Sequential([L.Dense(3, kernel_initializer=Counted(), input_shape=(2,))]).save(tmp_path / 'm.h5')
    again = load_model(tmp_path / 'm.h5', custom_objects={'Counted': Counted}, compile=False)
    np.testing.assert_array_equal(again.get_weights()[0], np.ones((2, 3)))
    assert Counted.calls == 1
