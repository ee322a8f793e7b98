"""Fine-tuning a frozen base: what is below the first layer that learns costs no gradient, no memory and no average."""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.layers import (
    LSTM,
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Embedding,
    GlobalAveragePooling2D,
    Input,
    Lambda,
    TimeDistributed,
)
from kfacade.models import Model, Sequential

random = np.random.RandomState(0)
IMAGES, LABELS = random.rand(8, 6, 6, 3).astype('float32'), random.rand(8, 2).astype('float32')


def base_of_images():
    image = Input((6, 6, 3))
    x = BatchNormalization()(Conv2D(4, 3, padding='same')(image))
    return Model(image, Conv2D(5, 3, activation='relu')(Activation('relu')(x)))


def head():
    return Sequential([Conv2D(4, 2, activation='tanh', input_shape=(4, 4, 5)), GlobalAveragePooling2D(), Dense(2)])


def compiled(model, trainable):
    for layer in model.layers:
        layer.trainable = layer in trainable
    model.compile('sgd', 'mse')
    return model


def saved_in(step):
    """Shapes of all that autograd keeps for the backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(tuple(x.shape)) or x, lambda x: x):
        step()
    return kept


@pytest.mark.parametrize('nested', [False, True])
def test_autograd_keeps_what_it_keeps_for_the_head_alone(nested):
    base, top = base_of_images(), head()
    top.compile('sgd', 'mse')
    for layer in base.layers:
        layer.trainable = False
    model = Model(base.input, top(base.output)) if nested else Sequential([*base.layers[1:], *top.layers])
    model.compile('sgd', 'mse')
    features = random.rand(8, 4, 4, 5).astype('float32')
    alone = saved_in(lambda: top.train_on_batch(features, LABELS))
    whole = saved_in(lambda: model.train_on_batch(IMAGES, LABELS))
    assert len(alone) > 3 and sorted(whole) == sorted(alone)


def test_outputs_below_the_first_trained_layer_have_no_history():
    base, top = base_of_images(), head()
    model = compiled(Sequential([*base.layers[1:], *top.layers]), top.layers)
    histories = {}
    for layer in model.layers:
        layer.register_forward_hook(lambda layer, _, output: histories.update({layer.name: output.requires_grad}))
    model.train_on_batch(IMAGES, LABELS)
    assert histories == {layer.name: layer in top.layers for layer in model.layers}
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_frozen_batch_normalization_uses_the_batch_and_moves_no_average():
    """As in Keras 2.2.4, where only the updates of a frozen layer are left out."""
    base, top = base_of_images(), head()
    model = compiled(Sequential([*base.layers[1:], *top.layers]), top.layers)
    normalization = model.layers[1]
    normalization.set_weights([[2.] * 4, [.5] * 4, [3.] * 4, [4.] * 4])  # averages far from those of the batch
    before, outputs = model.get_weights(), []
    normalization.register_forward_hook(lambda layer, given, output: outputs.append((given[0], output)))
    model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0)
    frozen = len(model.get_weights()) - 4
    for old, new in zip(before[:frozen], model.get_weights()):
        np.testing.assert_array_equal(new, old)
    assert all(np.abs(new - old).max() > 0 for old, new in zip(before[frozen:], model.get_weights()[frozen:]))
    x, y = outputs[0]
    variance, mean = torch.var_mean(x, (0, 1, 2), correction=0)
    torch.testing.assert_close(y, 2 * (x - mean) / torch.sqrt(variance + 1e-3) + .5, rtol=1e-4, atol=1e-4)


def test_a_frozen_recurrent_base_keeps_nothing():
    base = [Embedding(10, 4, input_length=5), LSTM(6, return_sequences=True), TimeDistributed(Dense(3))]
    top = Dense(2)
    model = compiled(Sequential([*base, LSTM(3, trainable=False), top]), [top])
    top_alone = Sequential([Dense(2, input_shape=(3,))])
    top_alone.compile('sgd', 'mse')
    alone = saved_in(lambda: top_alone.train_on_batch(random.rand(8, 3), LABELS))
    assert sorted(saved_in(lambda: model.train_on_batch(random.randint(10, size=(8, 5)), LABELS))) == sorted(alone)


def test_a_frozen_layer_above_hands_the_gradient_down():
    image = Input((4,))
    below, above = Dense(3), Dense(2)
    model = Model(image, above(below(image)))
    compiled(model, [below])
    x, y = random.rand(8, 4).astype('float32'), random.rand(8, 2).astype('float32')
    (kernel, _), (w, b) = below.get_weights(), above.get_weights()
    error = 2 * (x @ kernel @ w + b - y) / y.size
    model.train_on_batch(x, y)
    np.testing.assert_allclose(below.get_weights()[0], kernel - .01 * x.T @ error @ w.T, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(above.get_weights()[0], w)


@pytest.mark.filterwarnings('ignore:Discrepancy between trainable weights')
def test_models_that_share_a_layer_train_and_freeze_it_in_turn():
    shared, generator = Dense(2, input_shape=(3,)), Dense(3)
    x, y = random.rand(8, 3), random.rand(8, 2)
    critic = Sequential([shared])
    critic.compile('sgd', 'mse')
    critic.trainable = False
    noise = Input((3,))
    both = Model(noise, critic(generator(noise)))
    both.compile('sgd', 'mse')
    for _ in range(2):
        for model, learns in ((both, generator), (critic, shared)):
            before = {layer: layer.get_weights()[0] for layer in (shared, generator)}
            model.train_on_batch(x, y)
            for layer, old in before.items():
                assert np.any(layer.get_weights()[0] != old) == (layer is learns)


def test_a_loss_may_hold_gradients_at_frozen_layers():
    image = Input((3,))
    frozen, top = Dense(4, activation='tanh'), Dense(1)
    model = Model(image, top(frozen(image)))
    slope = Lambda(lambda tensors: K.gradients(tensors[0], tensors[1])[0])([model.output, image])
    model.add_loss(K.mean(K.square(slope)))
    compiled(model, [top])
    (kernel, _), (w, _) = frozen.get_weights(), top.get_weights()
    x = random.rand(8, 3)
    gradient = ((1 - np.tanh(x @ kernel) ** 2) * w[:, 0]) @ kernel.T
    value = np.mean((np.tanh(x @ kernel) @ w - 1) ** 2) + np.mean(gradient ** 2)
    assert model.train_on_batch(x, np.ones((8, 1))) == pytest.approx(value, rel=1e-5)
    np.testing.assert_array_equal(frozen.get_weights()[0], kernel)


def test_a_step_that_fails_leaves_parameters_as_they_were():
    layer, top = Dense(3, input_shape=(2,)), Dense(1)
    model = compiled(Sequential([layer, top]), [top])
    def fail(*_):
        raise RuntimeError('in the middle')
    handle = top.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match='in the middle'):
        model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))
    assert all(parameter.requires_grad for parameter in model.parameters())
    handle.remove()
    layer.requires_grad_(False)  # what the user has switched off stays off
    model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]
