"""multi_gpu_model on virtual devices: Keras' graph and numbers, files and copies that are the template's."""
import copy
import pathlib
import pickle

import numpy as np
import pytest
import torch

from kfacade import models
from kfacade import utils as keras_utils
from kfacade.backend.devices import device_of
from kfacade.layers import (
    GRU,
    LSTM,
    Add,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    Input,
    Masking,
    MaxPooling2D,
)
from kfacade.utils import multi_gpu_model, training_utils

# of Keras 2.2.4 (its devices pretended): a model that was made for 4 GPUs, and what it computes
FOLDER = pathlib.Path(__file__).parent / 'multi_gpu'


@pytest.fixture(autouse=True)
def four_devices(monkeypatch):
    monkeypatch.delenv('KERAS_DEVICE', raising=False)
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '4')


@pytest.fixture(scope='module')
def keras():
    with np.load(FOLDER / 'values.npz') as stored:
        return dict(stored)


@pytest.fixture
def template(keras):
    model = models.Sequential([Dense(3, activation='tanh', input_shape=(4,)), BatchNormalization(), Dense(2)])
    model.set_weights([keras[f'w{i}'] for i in range(8)])
    return model


def cleared(model):
    model.set_weights([w * 0 for w in model.get_weights()])
    return model


def test_graph_and_numbers_are_keras_s(template, keras):
    model = multi_gpu_model(template, gpus=4)
    assert [type(layer).__name__ for layer in model.layers] == [
        'InputLayer', *['Lambda'] * 4, 'Sequential', 'Concatenate']
    assert model.layers[-2] is template and model.output_names == [template.output_names[0]]
    np.testing.assert_allclose(model.predict(keras['x']), keras['pr'], rtol=1e-5, atol=1e-6)
    model.compile('sgd', 'mse')
    history = model.fit(keras['x'], keras['y'], epochs=2, batch_size=10, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history['loss'], keras['loss'], rtol=1e-6)
    for i in (0, 1, 2, 3, 6, 7):  # the others are the moving averages
        np.testing.assert_allclose(template.get_weights()[i], keras[f'v{i}'], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('count, sizes', [(10, [2, 2, 2, 4]), (8, [2, 2, 2, 2]), (3, [0, 0, 0, 3])])
def test_split_of_the_batch(count, sizes):
    model = multi_gpu_model(models.Sequential([Dense(1, input_shape=(1,))]), 4)
    parts = models.Model(model.inputs, [layer.output for layer in model.layers if 'lambda' in layer.name])
    graph = parts.graph(False)
    data = torch.arange(float(count))[:, None]
    found = graph(data)
    assert [len(part) for part in found[:4]] == sizes
    assert torch.equal(torch.cat(found[:4]), data)


def many(kind):
    if kind == 'ends':
        a, b, shared = Input((2,)), Input((3,)), Dense(2)
        both = Concatenate()([a, b])
        return models.Model([a, b], [Dense(1)(both), Add()([shared(Dense(2)(both)), shared(a)])])
    return models.Sequential({
        'convolution': [Conv2D(3, 3, input_shape=(8, 8, 2), kernel_regularizer='l2'), MaxPooling2D(), Flatten()],
        'lstm': [LSTM(3, input_shape=(5, 2))],
        'masked': [Masking(input_shape=(5, 2)), Bidirectional(GRU(3, return_sequences=True)), GRU(2)],
        'embedding': [Embedding(5, 3, input_length=4), Flatten()]}[kind] + [Dense(2)])


@pytest.mark.parametrize('count', [10, 2])
@pytest.mark.parametrize('kind', ['convolution', 'lstm', 'masked', 'embedding', 'ends'])
def test_equals_the_plain_model(kind, count):
    template = many(kind)
    plain = models.clone_model(template)
    plain.set_weights(template.get_weights())
    model, random = multi_gpu_model(template, [0, 1, 3]), np.random.RandomState(0)
    data, targets = ([(random.rand(count, *x._keras_shape[1:]) * 4).astype('float32') for x in ends]
                     for ends in (model.inputs, model.outputs))
    for one in (model, plain):
        one.compile('adam', 'mse')
    for a, b in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_array_equal(a, b)
    for _ in range(3):
        np.testing.assert_allclose(model.train_on_batch(data, targets), plain.train_on_batch(data, targets), rtol=1e-5)
    for a, b in zip(template.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)
    found, wanted = (one.predict(data) for one in (model, plain))
    for a, b in zip(*(x if isinstance(x, list) else [x] for x in (found, wanted))):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_moving_averages_follow_the_last_part(template, keras):
    """Also where the parts before it are empty."""
    plain = models.clone_model(template)
    plain.set_weights(template.get_weights())
    model = multi_gpu_model(template, 4)
    for one, count in ((model, 10), (plain, 4)):
        one.compile('sgd', 'mse')
        one.train_on_batch(keras['x'][-count:], keras['y'][-count:])
    for i in (4, 5):
        np.testing.assert_allclose(template.get_weights()[i], plain.get_weights()[i], rtol=1e-5)
    model.train_on_batch(keras['x'][:2], keras['y'][:2])
    assert all(np.isfinite(w).all() for w in template.get_weights())


def test_a_stateful_model_says_that_its_batch_is_split():
    model = multi_gpu_model(models.Sequential([LSTM(3, stateful=True, batch_input_shape=(8, 5, 2))]), 4)
    with pytest.raises(ValueError, match='keeps states for batches of 8 samples. Received a batch of 2'):
        model.predict(np.zeros((8, 5, 2)), batch_size=8)


def test_outputs_of_one_layer_get_numbers():
    a, dense = Input((2,)), Dense(2, name='u')
    assert multi_gpu_model(models.Model(a, [dense(a), dense(Dense(2)(a))]), [0, 2]).output_names == ['u_1', 'u_2']


@pytest.mark.parametrize('gpus, message', [
    (1, r'call `multi_gpu_model` with `gpus >= 2`. Received: `gpus=1`$'),
    (True, r'`gpus >= 2`. Received: `gpus=1`$'), ([0], r'`len\(gpus\) >= 2`. Received: `gpus=\[0\]`$'),
    (5, r"`gpus=5`, we expect the following devices to be available: \['/cpu:0', '/gpu:0', .*'/gpu:4'\]. However this "
        r"machine only has: \['/cpu:0', '/gpu:0', '/gpu:1', '/gpu:2', '/gpu:3'\]. Try reducing `gpus`.$"),
    ([0, 7], r"\['/cpu:0', '/gpu:0', '/gpu:7'\]")])
def test_numbers_of_devices_that_do_not_fit(gpus, message):
    with pytest.raises(ValueError, match=message):
        multi_gpu_model(models.Sequential([Dense(1, input_shape=(1,))]), gpus)


def test_all_devices_by_default(template, monkeypatch):
    assert len(multi_gpu_model(template).layers) == 7
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '1')
    with pytest.raises(ValueError, match='Received: `gpus=1`'):
        multi_gpu_model(template)


def test_relocation_takes_a_clone(template, keras):
    model = multi_gpu_model(template, 2, cpu_merge=False, cpu_relocation=True)
    assert model.template is not template
    assert {device_of(w.param) for w in model.weights} == {torch.device('cpu')}
    assert {device_of(w.param) for w in template.weights} == {torch.device('cpu', 0)}
    model.set_weights(template.get_weights())
    np.testing.assert_allclose(model.predict(keras['x']), keras['pr'], rtol=1e-5, atol=1e-6)


def test_files_are_the_template_s(template, keras, tmp_path):
    model = multi_gpu_model(template, 4)
    model.compile('adam', 'mse')
    model.train_on_batch(keras['x'], keras['y'])
    wanted = template.predict(keras['x'])
    model.save(tmp_path / 'model.h5')
    loaded = models.load_model(tmp_path / 'model.h5')
    assert type(loaded) is models.Sequential
    np.testing.assert_array_equal(loaded.predict(keras['x']), wanted)
    for a, b in zip(loaded.optimizer.get_weights(), model.optimizer.get_weights()):
        np.testing.assert_array_equal(a, b)
    for name in ('weights.h5', 'weights.pt'):
        for source, target in ((model, template), (template, model)):
            weights = template.get_weights()
            source.save_weights(tmp_path / name)
            cleared(template)
            target.load_weights(tmp_path / name)
            for a, b in zip(template.get_weights(), weights):
                np.testing.assert_array_equal(a, b)
    assert model.to_json() == template.to_json()


def test_copies_are_of_the_template(template, keras):
    model = multi_gpu_model(template, 4)
    model.compile('sgd', 'mse')
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(clone) is models.Sequential and clone.loss == 'mse'
        np.testing.assert_allclose(clone.predict(keras['x']), keras['pr'], rtol=1e-5, atol=1e-6)


def test_state_dict_and_summary_are_the_template_s(template):
    model, lines, wanted = multi_gpu_model(template, 4), [], []
    state = model.state_dict()
    assert list(state) == list(template.state_dict())
    model.load_state_dict({key: value + 1 for key, value in state.items()})
    model.summary(print_fn=lines.append)
    template.summary(print_fn=wanted.append)
    assert lines == wanted
    assert len(list(model.parameters())) == 6
    model.get_weights = lambda: 'replaced'  # as scripts do
    assert model.get_weights() == 'replaced' and type(model).summary.__name__ == 'summary'


def test_files_of_keras(template, keras):
    """Its graph is loaded without running the code that the file holds; its weights go into plain models, too."""
    loaded = models.load_model(FOLDER / 'parallel.h5')
    np.testing.assert_allclose(loaded.predict(keras['x']), keras['pr'], rtol=1e-5, atol=1e-6)
    for model in (template, multi_gpu_model(template, 2)):
        cleared(template)
        model.load_weights(FOLDER / 'parallel.h5')
        np.testing.assert_allclose(template.predict(keras['x']), keras['pr'], rtol=1e-5, atol=1e-6)


def test_older_path():
    assert training_utils.multi_gpu_model is multi_gpu_model and 'multi_gpu_model' in keras_utils.__all__
