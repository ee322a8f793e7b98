"""What somebody changes between two batches of a run, and on layers that were joined, counts from the next batch on."""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, optimizers
from kfacade.callbacks import LambdaCallback
from kfacade.models import Model, Sequential

X = np.random.RandomState(0).randn(12, 6, 6, 2).astype('float32')
Y = np.eye(3, dtype='float32')[np.arange(12) % 3]


def _model():
    np.random.seed(0)
    model = Sequential([layers.Conv2D(4, 3, input_shape=(6, 6, 2)), layers.BatchNormalization(),
                        layers.Activation('relu'), layers.Dropout(.5), layers.Flatten(),
                        layers.Dense(3, activation='softmax')])
    model.layers[3].rate = 0.
    model.compile(optimizers.SGD(.1, momentum=.9), 'categorical_crossentropy')
    return model


def _other_memory(model):
    for p in model.parameters():
        p.data = p.data * .5


def _other_parameter(model):
    params = model.layers[-1]._params
    params.kernel = torch.nn.Parameter(params.kernel.detach() * .5)


CHANGES = {
    'other memory': _other_memory,
    'another parameter': _other_parameter,
    'another order in memory': lambda model: model.to(memory_format=torch.contiguous_format),
    'to and fro': lambda model: model.double().float(),
    'loaded by assignment': lambda model: model.load_state_dict(
        {key: value * .5 for key, value in model.state_dict().items()}, assign=True),
    'a hook of a weight': lambda model: model.layers[-1].kernel.param.register_hook(lambda gradient: gradient * .1),
}


def _weights_after(change, train):
    model = _model()
    train(model, lambda batch, logs=None: change(model) if batch == 1 else None)
    return model.get_weights()


def _by_batch(model, changed):
    for i in range(4):
        model.train_on_batch(X[3 * i:3 * i + 3], Y[3 * i:3 * i + 3])
        changed(i)


@pytest.mark.parametrize('name', CHANGES)
@pytest.mark.parametrize('train', [
    lambda model, changed: model.fit(X, Y, 3, shuffle=False, verbose=0, callbacks=[LambdaCallback(
        on_batch_end=changed)]),
    lambda model, changed: model.fit_generator(((X[i:i + 3], Y[i:i + 3]) for i in range(0, 12, 3)), 4, verbose=0,
                                               workers=0, callbacks=[LambdaCallback(on_batch_end=changed)]),
], ids=['fit', 'fit_generator'])
def test_what_a_callback_changes_amid_an_epoch_is_trained(name, train):
    found, expected = (_weights_after(CHANGES[name], how) for how in (train, _by_batch))
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('index', range(6))
def test_a_replaced_forward_of_any_layer_is_what_predicts(index):
    model = _model()
    before, layer = model.predict(X), model.layers[index]
    model.predict(X, batch_size=4)
    forward = layer.forward
    layer.forward = lambda *args, **kwargs: forward(*args, **kwargs) * 0
    replaced = [model.predict(X), model.predict(X, batch_size=4), model.predict_on_batch(X)]
    del layer.forward
    for y in replaced:
        assert (y == 0).all() if index == 5 else np.abs(y - before).max() > 1e-4
        np.testing.assert_allclose(y, replaced[0], rtol=1e-5)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-5)


@pytest.mark.parametrize('how', ['hook', 'forward'])
def test_who_looks_at_a_layer_of_a_model_inside_sees_each_batch(how):
    dense, seen, inputs = layers.Dense(3, input_shape=(4,)), [], layers.Input((4,))
    model, x = Model(inputs, layers.Dense(2)(Sequential([dense])(inputs))), np.zeros((20, 4))
    model.predict(x, batch_size=4)
    assert model.predict_function.most_at_once >= 8
    forward = dense.forward
    if how == 'hook':
        dense.register_forward_hook(lambda *arguments: seen.append(len(arguments[2])))
    else:
        dense.forward = lambda x, **kwargs: seen.append(len(x)) or forward(x, **kwargs)
    model.predict(x, batch_size=4)
    assert seen == [4] * 5


def test_a_learning_rate_that_was_replaced_changes_nothing_anymore():
    models = [_model(), _model()]
    for model in models:
        model.train_on_batch(X, Y)
    models[0].optimizer.lr = K.variable(5.)
    for model in models:
        model.double().float()
        model.train_on_batch(X, Y)
    for a, b in zip(*(model.get_weights() for model in models)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('compiled', [False, True])
def test_weights_that_torch_alone_was_told_to_freeze_are_named(compiled):
    model = Sequential([layers.Dense(4, input_dim=3, name='first'), layers.Dense(1)])
    if compiled:
        model.compile('sgd', 'mse')
        model.train_on_batch(np.zeros((2, 3)), np.zeros((2, 1)))
    model.layers[0].requires_grad_(False)
    if not compiled:
        model.compile('sgd', 'mse')
    with pytest.raises(ValueError, match=r"\['first/kernel:0', 'first/bias:0'\] .* `requires_grad` is off"):
        model.fit(np.zeros((2, 3)), np.zeros((2, 1)), verbose=0)
    model.layers[0].requires_grad_(True)
    assert model.evaluate(np.zeros((2, 3)), np.ones((2, 1)), verbose=0) > 0
    model.fit(np.zeros((2, 3)), np.ones((2, 1)), verbose=0)
    assert model.layers[0].bias.param.any()
