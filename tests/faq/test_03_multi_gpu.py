"""How can I run a Keras model on multiple GPUs? Data parallelism by `multi_gpu_model`, device parallelism by scopes.

Eight virtual devices stand for the page's GPUs; the values are those of Keras 2.2.4 on one device.
"""
import faq_harness as faq
import numpy as np
import pytest
import torch

import kfacade
from kfacade import backend as K
from kfacade.backend.devices import available_devices, device_of
from kfacade.layers import Dense
from kfacade.models import Model, Sequential, clone_model

DATA, DEVICES = faq.blocks('multi-GPU')
MENDED = [('shared_lstm(tweet_a)', 'shared_lstm(input_a)'), ('shared_lstm(tweet_b)', 'shared_lstm(input_b)')]


@pytest.fixture(autouse=True)
def eight_devices(monkeypatch):
    monkeypatch.delenv('KERAS_DEVICE', raising=False)
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '8')


def test_data_parallelism(capsys):
    """The page leaves the model and its data to the reader. RMSprop has made much of rounding by the last epoch."""
    model = faq.fill(Sequential([Dense(5, activation='tanh', input_shape=(4,)), Dense(3, activation='softmax')]))
    x = faq.numbers(640, 4, seed=1)
    names = {'model': model, 'x': x, 'y': np.eye(3, dtype='float32')[np.argmax(x[:, :3], 1)]}
    np.random.seed(0)
    history = faq.run(DATA, names)
    assert 'Epoch 20/20' in capsys.readouterr().out
    np.testing.assert_allclose([history.history['loss'][i] for i in (0, -1)], [1.6267102718, 1.3794778109], rtol=2e-5)
    plain = faq.fill(clone_model(model))
    plain.compile(loss='categorical_crossentropy', optimizer='rmsprop')
    np.random.seed(0)
    plain.fit(x, names['y'], epochs=20, batch_size=256, verbose=0)
    for found, wanted in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    sizes = []
    model.layers[0].register_forward_hook(
        lambda layer, inputs, output: sizes.append((len(output), device_of(*inputs))))
    names['parallel_model'].predict(x[:256], batch_size=256)
    assert sizes == [(32, torch.device('cpu', i)) for i in range(8)]


def test_device_parallelism():
    names = {'keras': kfacade, 'tf': K.tf}
    faq.run(DEVICES, names, MENDED)
    where = {device: name for name, device in available_devices().items()}
    assert [where[device_of(w.param)] for w in names['shared_lstm'].weights] == ['/gpu:0'] * 3
    model = faq.fill(Model([names['input_a'], names['input_b']], names['merged_vector']), .03)
    data = [faq.numbers(2, 140, 256, seed=i) for i in (1, 2)]
    found, seen = model.predict(data), []
    assert found.shape == (2, 128)
    np.testing.assert_allclose(found[0, :3], [-.03249384, -.18228063, .03967133], rtol=1e-4)
    np.testing.assert_allclose(found[0, 64:67], [-.13518925, -.0824296, .16424547], rtol=1e-4)
    names['shared_lstm'].register_forward_hook(lambda layer, inputs, output: seen.append(where[device_of(*inputs)]))
    assert where[device_of(model(*map(torch.from_numpy, data)))] == '/cpu:0' and seen == ['/gpu:0', '/gpu:1']
    model.compile('sgd', 'mse')
    losses = [model.train_on_batch(data, faq.numbers(2, 128, seed=3)) for _ in range(2)]
    np.testing.assert_allclose(losses, [1.0539646, 1.0510855], rtol=1e-5)
    kernel, recurrent, bias = model.get_weights()
    np.testing.assert_allclose(recurrent[0, :3], [.04872932, -.01835162, -.01584466], rtol=1e-4)
    np.testing.assert_allclose(bias[:3], [-.01250957, -.00169353, -.06408953], rtol=1e-4)
