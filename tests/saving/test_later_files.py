"""Files that tf.keras, Keras 3 and Keras 2.3 wrote (later_files/, made by the scripts there) give their predictions."""
import pathlib
import tarfile
import warnings

import h5py
import numpy as np
import pytest

from kfacade import backend as K
from kfacade import layers as L
from kfacade.models import Model, Sequential, clone_model, load_model, model_from_config, model_from_json
from kfacade.saving import InvalidModelFile
from kfacade.saving.commands import described

BOTH = ['masked', 'images', 'stack', 'flat']
NAMES = [f'{tag}_{name}' for tag in ('tf', 'k3') for name in BOTH] + ['tf_local1', 'tf_local2', 'tf_local3']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp('later')
    with tarfile.open(pathlib.Path(__file__).parent / 'later_files' / 'files.tar.xz') as archive:
        for member in archive.getmembers():
            if member.isfile():
                (target / pathlib.PurePath(member.name).name).write_bytes(archive.extractfile(member).read())
    return target


def assert_predicts(model, folder, name):
    stored = np.load(folder / f'{name}.npz')
    x, y = ([stored[key] for key in stored.files if key.startswith(kind)] for kind in 'xy')
    predicted = model.predict(x)
    for ours, theirs in zip(predicted if isinstance(predicted, list) else [predicted], y, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def zeroed(model):
    model.set_weights([np.zeros_like(array) for array in model.get_weights()])
    return model


@pytest.mark.parametrize('name', NAMES)
def test_hdf5_and_archives(folder, name):
    for suffix in ('.h5', '.keras'):
        assert_predicts(load_model(folder / (name + suffix), compile=False), folder, name)
        K.clear_session()


@pytest.mark.parametrize('name', NAMES)
def test_json_with_weights(folder, name):
    model = model_from_json((folder / f'{name}.json').read_text())
    for suffix in ('.weights.h5', '.h5', '.keras'):
        zeroed(model).load_weights(folder / (name + suffix))
        assert_predicts(model, folder, name)


@pytest.mark.parametrize('name', NAMES)
def test_saved_again_and_cloned(folder, name, tmp_path):
    """Layers that compute as tf.keras say so in their configurations."""
    model = load_model(folder / f'{name}.h5', compile=False)
    model.save(tmp_path / 'again.h5')
    copy = clone_model(model)
    copy.set_weights(model.get_weights())
    K.clear_session()
    for same in (copy, load_model(tmp_path / 'again.h5', compile=False)):
        assert_predicts(same, folder, name)


def test_what_makes_no_difference_is_not_noted(folder):
    """Keras 2.2.4 reads what is saved again, but where it would compute something else."""
    text = load_model(folder / 'tf_flat.h5', compile=False).to_json()
    assert 'as_tf_keras' not in text and 'batch_input_shape' in text
    for tag, notes in (('tf', 'bscvzf'), ('k3', 'bcvzf')):  # 's' has initial states, and so no mask in Keras 3
        model = load_model(folder / f'{tag}_masked.h5', compile=False)
        assert [layer.name for layer in model.layers if layer.as_tf_keras] == list(notes)


def test_scripts_compute_as_keras_2():
    x = L.Input((2, 1))
    masked = L.Masking()(x)
    for layer in (L.Conv1D(1, 1), L.Flatten(), L.GlobalMaxPooling1D()):
        with pytest.raises(TypeError, match='does not support masking'):
            layer(masked)
    with pytest.raises(ValueError, match='min_ndim=3'):
        L.Flatten()(L.Input((3,)))
    image = L.Input((1, 2, 1))
    doubled = Model(image, L.UpSampling2D((1, 2), interpolation='bilinear')(image))
    np.testing.assert_allclose(doubled.predict(np.array([[[[0.], [1.]]]])).ravel(), [0, .5, 1, 1])
    told = L.UpSampling2D((1, 2), interpolation='bilinear', as_tf_keras=True)
    np.testing.assert_allclose(Model(image, told(image)).predict(np.array([[[[0.], [1.]]]])).ravel(), [0, .25, .75, 1])


def test_training_goes_on(folder):
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Error in loading the saved optimizer state')
        for name in ('tf_stack.h5', 'k3_stack.h5', 'tf_stack.keras', 'k3_stack.keras'):
            model = load_model(folder / name)
            assert type(model.optimizer).__name__ == 'Adam' and model.loss in ('mse', 'mean_squared_error')
            assert model.metrics_names == ['loss', 'mean_absolute_error']
            assert model.layers[0].layers[1].zero_debias is False
            model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))


@pytest.mark.parametrize('name', ['rmsprop', 'adagrad', 'adadelta', 'nadam'])
def test_states_of_keras_2_3(folder, name):
    """These begin with the step count, of which Keras 2.2.4 knows nothing. Nothing starts anew."""
    stored = np.load(folder / f'trained_{name}.npz')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = load_model(folder / f'trained_{name}.h5')
    assert model.optimizer.iterations.numpy() == 2
    if name == 'nadam':  # which counts its steps otherwise in Keras 2.3: the first and the second momentum
        u = [.9 * (1 - .5 * .96 ** (t * .004)) for t in (1, 2, 3)]
        assert any(np.isclose(model.optimizer.m_schedule.numpy(), u[i] * u[i + 1]) for i in range(2))
        return
    for _ in range(2):
        model.train_on_batch(stored['x'], stored['y'])
    np.testing.assert_allclose(model.predict(stored['x']), stored['p'], rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------ nested models with frozen layers

def nested(frozen, names='anb'):
    inner = Sequential([L.Dense(3, input_shape=(3,), name=names[0]), L.BatchNormalization(name=names[1]),
                        L.Dense(3, name=names[2])], name='inner')
    for index in frozen:
        inner.layers[index].trainable = False
    return Sequential([inner, L.Dense(2, name='top')])


@pytest.mark.parametrize('frozen', [(), (0,), (1,), (2,), (0, 1, 2)])
def test_nested_weights_go_by_name(folder, frozen, tmp_path):
    """Keras 2.2.4 saved this with layer 'a' frozen, the weights of 'b' and 'n' first."""
    stored = np.load(folder / 'frozen.npz')
    for by_name in (False, True):
        model = nested(frozen)  # the second model of these names: weights are called a_1/kernel:0
        report = model.load_weights(folder / 'frozen.h5', by_name=by_name)
        assert report is None or (report.loaded, report.by_position) == (['inner', 'top'], [])
        np.testing.assert_allclose(model.predict(stored['x']), stored['y'], rtol=1e-5)
    model.save_weights(tmp_path / 'w.h5')
    other = nested((1,))
    other.load_weights(tmp_path / 'w.h5')
    np.testing.assert_allclose(other.predict(stored['x']), stored['y'], rtol=1e-5)


def test_names_of_other_layers_leave_the_order(folder):
    model = nested((0,), names='xyz')
    report = model.load_weights(folder / 'frozen.h5', by_name=True)
    assert report.by_position == ['inner'] and 'with weights in order, not by their names: "inner"' in str(report)
    stored = np.load(folder / 'frozen.npz')
    np.testing.assert_allclose(model.predict(stored['x']), stored['y'], rtol=1e-5)


def test_an_archive_of_another_frozen_layer(folder):
    """The nested model of these files was saved with its first layer frozen."""
    model = load_model(folder / 'k3_stack.h5', compile=False)
    for layer, trainable in zip(model.layers[0].layers, (True, False, True)):
        layer.trainable = trainable
    for suffix in ('.keras', '.weights.h5', '.h5'):
        report = zeroed(model).load_weights(folder / f'k3_stack{suffix}', by_name=True)
        assert report.by_position == []
        assert_predicts(model, folder, 'k3_stack')


# ------------------------------------------------------------ what is refused, and how

def test_paths_of_another_model(folder):
    model = Sequential([L.Conv2D(1, 1, input_shape=(3, 3, 1))])
    with pytest.raises(ValueError, match='the weights of 1 layers, by class and number: "dense". .*counterparts of 0'):
        model.load_weights(folder / 'k3_images.weights.h5')


def test_no_weights_at_all(tmp_path):
    with h5py.File(tmp_path / 'w.h5', 'w') as f:
        f.create_group('nothing')
    with pytest.raises(InvalidModelFile, match='neither an attribute layer_names nor a group'):
        Sequential([L.Dense(1, input_shape=(1,))]).load_weights(tmp_path / 'w.h5')


@pytest.mark.parametrize('kind, version', [
    ('Merge', 'Keras 1'), ('SReLU', 'Keras 1'), ('MultiHeadAttention', 'tf.keras or Keras 3'),
    ('TFOpLambda', 'tf.keras or Keras 3'), ('RMSNormalization', 'tf.keras or Keras 3')])
def test_layers_of_other_versions(kind, version):
    config = {'class_name': 'Sequential', 'config': [{'class_name': kind, 'config': {'name': 'it'}}]}
    with pytest.raises(ValueError, match=rf'Unknown layer: {kind} \("it"\)\. It is a layer of {version}, which'):
        model_from_config(config)


def test_a_layer_of_ones_own_may_have_such_a_name():
    class LayerNormalization(L.Layer):
        """A user's own."""
    config = {'class_name': 'LayerNormalization', 'config': {'name': 'it'}}
    assert type(model_from_config(config, {'LayerNormalization': LayerNormalization})) is LayerNormalization


def test_inspect_reads_files_of_keras_3(folder):
    for suffix in ('.h5', '.keras', '.json'):
        lines = [line for line in described(str(folder / f'k3_images{suffix}')) if 'REFUSED' in line]
        assert not lines
    refused = [line for line in described(str(folder / 'k3_masked.h5')) if 'REFUSED' in line]
    assert all('not_equal' in line or 'any' in line for line in refused)
