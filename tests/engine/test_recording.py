"""What Keras' graph building means, one rule a test: custom layers, losses, updates, closures, phases, threads."""
import threading

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, optimizers
from kfacade.engine import Input, Layer
from kfacade.models import Model, Sequential


class Scale(Layer):
    """Multiplies by one weight, and counts how often its `call` runs."""

    calls = 0

    def build(self, input_shape):
        self.factor = self.add_weight(name='factor', shape=(1,), initializer='ones')
        super().build(input_shape)

    def call(self, inputs):
        Scale.calls += 1
        return inputs * self.factor

    def compute_output_shape(self, input_shape):
        return input_shape


def test_a_custom_call_runs_once():
    Scale.calls = 0
    model = Sequential([Scale(input_shape=(3,))])
    model.compile('sgd', 'mse')
    x = np.ones((8, 3), 'float32')
    model.fit(x, 2 * x, epochs=3, batch_size=4, verbose=0)
    model.predict(x)
    assert Scale.calls == 1
    assert model.get_weights()[0][0] > 1


def test_a_lambda_closes_over_another_symbol():
    a, b = Input((2,)), Input((2,))
    y = layers.Lambda(lambda t: t * b + 1)(a)
    model = Model([a, b], y)
    np.testing.assert_array_equal(model.predict([np.array([[1., 2.]]), np.array([[3., 4.]])]), [[4, 9]])


def test_add_loss_in_call_counts_in_the_total_loss():
    class Penalty(Layer):
        def call(self, inputs):
            self.add_loss(0.5 * K.sum(K.square(inputs)), inputs)
            return inputs
    x = Input((2,))
    model = Model(x, Penalty()(x))
    model.compile('sgd', 'mse')
    data = np.array([[1., 2.], [3., 4.]])
    assert len(model.losses) == 1
    np.testing.assert_allclose(model.evaluate(data, data, verbose=0), 15.)


class Constants(Layer):
    """Adds numbers to the loss."""

    def call(self, inputs):
        self.add_loss([1, 1, .5], inputs if self.name == 'bound' else None)
        return inputs * 1


def test_equal_constants_in_add_loss_each_count():
    """As Keras 2.2.4 counts them: those of a nested model's layers once more for each call of it."""
    def losses(model, *added):
        for loss in added:
            model.add_loss(loss)
        model.compile('sgd', ['mse'] * len(model.outputs))
        x = [np.ones((2, 3))] * len(model.inputs)
        y = model.predict(x)
        total = model.evaluate(x, y, verbose=0)
        return float(total if len(model.outputs) == 1 else total[0]), len(model.losses)

    x, z = Input((3,)), Input((3,))
    constant = K.constant(2.)
    assert losses(Model(x, layers.Dense(2)(x)), 1, 1) == (2, 2)
    assert losses(Sequential([layers.Dense(2, input_shape=(3,))]), [1, 1], constant, constant) == (4, 3)
    assert losses(Model(x, Constants()(x))) == losses(Model(x, Constants(name='bound')(x))) == (2.5, 3)
    inner = Model(x, Constants()(x))
    assert losses(Model(z, inner(z))) == (5, 6)


def test_a_model_may_have_no_loss_but_add_loss():
    class Penalty(Layer):
        def call(self, inputs):
            self.add_loss(K.mean(inputs), inputs)
            return inputs
    x = Input((2,))
    model = Model(x, Penalty()(layers.Dense(2, kernel_initializer='ones')(x)))
    model.compile(optimizers.SGD(0.1), None)
    assert model.train_on_batch(np.ones((4, 2)), None) == pytest.approx(2.)
    assert model.train_on_batch(np.ones((4, 2)), None) < 2


def test_attributes_set_in_call_are_symbols_of_the_graph():
    class Remember(Layer):
        def call(self, inputs):
            self.attention = K.softmax(inputs)
            return inputs * self.attention
    x, layer = Input((3,)), Remember()
    model = Model(x, layer(x))
    probe = K.function([model.input], [layer.attention])
    np.testing.assert_allclose(probe([[[0., 0., 0.]]])[0], [[1 / 3] * 3], rtol=1e-6)


def test_gan_recipe_freezes_the_discriminator_where_it_was_compiled_frozen():
    noise, image = Input((4,)), Input((6,))
    generator = Model(noise, layers.Dense(6)(layers.BatchNormalization()(layers.Dense(5)(noise))))
    hidden = layers.BatchNormalization()(layers.Dense(5)(image))
    discriminator = Model(image, layers.Dense(1, activation='sigmoid')(hidden))
    discriminator.compile('adam', 'binary_crossentropy')
    discriminator.trainable = False
    gan = Model(noise, discriminator(generator(noise)))
    gan.compile('adam', 'binary_crossentropy')
    rng = np.random.RandomState(0)
    z, real, ones = rng.randn(8, 4), rng.randn(8, 6), np.ones((8, 1))
    before = discriminator.get_weights(), generator.get_weights()
    gan.train_on_batch(z, ones)
    for old, new in zip(before[0], discriminator.get_weights()):
        np.testing.assert_array_equal(old, new)
    changed = [not np.array_equal(a, b) for a, b in zip(before[1], generator.get_weights())]
    assert all(changed)
    with pytest.warns(UserWarning, match='Discrepancy between trainable weights'):
        discriminator.train_on_batch(real, ones)
    changed = [not np.array_equal(a, b) for a, b in zip(before[0], discriminator.get_weights())]
    assert changed == [True] * 4 + [False] * 2 + [True] * 2  # its train function was made while it was frozen


def test_a_train_function_keeps_the_updates_that_it_was_made_with():
    model = Sequential([layers.BatchNormalization(input_shape=(3,)), layers.Dense(1)])
    model.compile('sgd', 'mse')
    x, y = np.random.RandomState(0).randn(8, 3), np.ones((8, 1))
    model.train_on_batch(x, y)
    model.trainable = False
    before = model.layers[0].get_weights()
    with pytest.warns(UserWarning, match='Discrepancy'):
        model.train_on_batch(x + 1, y)
    after = model.layers[0].get_weights()
    assert all(not np.array_equal(a, b) for a, b in zip(before, after))


def test_batch_normalization_updates_are_listed_by_inputs_and_apply_in_a_function():
    a, b = Input((3,)), Input((3,))
    layer = layers.BatchNormalization()
    first, second = layer(a), layer(b)
    assert len(layer.updates) == 4
    assert len(layer.get_updates_for([a])) == len(layer.get_updates_for([b])) == 2
    assert len(Model(a, first).updates) == 2 and len(Model([a, b], [first, second]).updates) == 4
    f = K.function([a, K.learning_phase()], [first], updates=layer.get_updates_for([a]))
    data = np.array([[1., 2., 3.], [3., 2., 1.]])
    f([data, 1])
    np.testing.assert_allclose(layer.get_weights()[2], [2, 2, 2], rtol=1e-6)
    layer.trainable = False
    assert layer.updates == []


@pytest.mark.parametrize('fused', [True, False])
def test_fused_and_separate_moving_averages_agree(fused):
    np.random.seed(1)
    x = Input((4, 4, 3))
    layer = layers.BatchNormalization(momentum=0.9)
    y = layer(x)
    updates = layer.updates if fused else [K.update(u.variable, u.new_value) for u in layer.updates]
    f = K.function([x, K.learning_phase()], [y], updates=updates)
    data = np.random.RandomState(0).randn(6, 4, 4, 3).astype('float32') * 3 + 1
    f([data, 1])
    n = 6 * 16
    np.testing.assert_allclose(layer.get_weights()[2], data.mean((0, 1, 2)), rtol=1e-4)
    expected = data.var((0, 1, 2), dtype='float64') * n / (n - 1) * n / (n - 1.001)
    np.testing.assert_allclose(layer.get_weights()[3], expected, rtol=1e-4)


def test_predict_in_eight_threads_during_fit_is_always_in_test_phase():
    model = Sequential([layers.Dense(8, input_shape=(4,)), layers.Dropout(0.5), layers.BatchNormalization(),
                        layers.Dense(1)])
    model.compile(optimizers.SGD(0.), 'mse')
    rng = np.random.RandomState(0)
    x, y = rng.randn(64, 4), rng.randn(64, 1)
    frozen = Model(model.input, model.layers[1].output)  # no weights change: any dropout would show
    expected = frozen.predict(x)
    failures = []

    def predict():
        for _ in range(20):
            if not np.array_equal(frozen.predict(x), expected):
                failures.append(1)
    threads = [threading.Thread(target=predict) for _ in range(8)]
    for thread in threads:
        thread.start()
    model.fit(x, y, epochs=10, batch_size=8, verbose=0)
    for thread in threads:
        thread.join()
    assert not failures


def test_keras_1_style_layer_that_assigns_its_weights():
    class Old(Layer):
        def __init__(self, output_dim, **kwargs):
            self.output_dim = output_dim
            super().__init__(**kwargs)

        def build(self, input_shape):
            self.W = K.variable(np.ones((input_shape[1], self.output_dim)), name=f'{self.name}_W')
            self.trainable_weights = [self.W]

        def call(self, x, mask=None):
            return K.dot(x, self.W)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], self.output_dim)
    model = Sequential([Old(2, input_shape=(3,))])
    model.compile(optimizers.SGD(0.1), 'mse')
    np.testing.assert_allclose(model.predict(np.ones((1, 3))), [[3, 3]])
    model.train_on_batch(np.ones((1, 3)), np.zeros((1, 2)))
    np.testing.assert_allclose(model.get_weights()[0], np.full((3, 2), 0.7), rtol=1e-6)
    assert len(list(model.parameters())) == 1 and len(model.state_dict()) == 1


def test_sublayers_may_be_assigned_before_super_init():
    class Block(Layer):
        def __init__(self, **kwargs):
            self.inner = layers.Dense(2)
            super().__init__(**kwargs)

        def call(self, inputs):
            return self.inner(inputs)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], 2)
    x = Input((3,))
    model = Model(x, Block()(x))
    assert model.predict(np.zeros((1, 3))).shape == (1, 2)
    assert model.layers[1].weights == []  # Keras does not track them, torch does
    assert len(list(model.parameters())) == 2


def test_a_builtin_call_on_a_symbol_inside_a_custom_layer():
    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)
    x = Input((3,))
    model = Model(x, Doubled(1, kernel_initializer='ones')(x))
    np.testing.assert_array_equal(model.predict(np.array([[1., 2., 3.]])), [[12]])
    model.compile(optimizers.SGD(0.), 'mse')
    np.testing.assert_allclose(model.train_on_batch(np.array([[1., 2., 3.]]), np.zeros((1, 1))), 144.)


def test_one_tensor_may_come_in_a_list():
    x = Input((2, 3))
    model = Model(x, layers.Dense(1, kernel_initializer='ones')([layers.Flatten()([x])]))
    np.testing.assert_array_equal(model.predict(np.arange(12.).reshape(2, 2, 3)), [[15], [51]])


def test_a_custom_optimizer_is_recorded_and_trains():
    from kfacade.legacy import interfaces

    class Halving(optimizers.Optimizer):
        def __init__(self, lr=0.1, **kwargs):
            super().__init__(**kwargs)
            with K.name_scope(type(self).__name__):
                self.iterations = K.variable(0, dtype='int64', name='iterations')
                self.lr = K.variable(lr, name='lr')

        @interfaces.legacy_get_updates_support
        def get_updates(self, loss, params):
            grads = self.get_gradients(loss, params)
            self.updates = [K.update_add(self.iterations, 1)]
            lr = self.lr / (1. + K.cast(self.iterations, K.floatx()))
            for p, g in zip(params, grads):
                new_p = p - lr * g
                if getattr(p, 'constraint', None) is not None:
                    new_p = p.constraint(new_p)
                self.updates.append(K.update(p, new_p))
            return self.updates
    model = Sequential([layers.Dense(1, use_bias=False, kernel_initializer='ones', input_shape=(1,))])
    model.compile(Halving(0.25), 'mse')
    x, y = np.array([[1.]]), np.array([[0.]])
    assert model.train_on_batch(x, y) == pytest.approx(1.)        # gradient 2, rate 1/4: 1 - 1/2
    assert model.train_on_batch(x, y) == pytest.approx(0.25)      # gradient 1, rate 1/8: 1/2 - 1/8
    np.testing.assert_allclose(model.get_weights()[0], [[0.375]])
    assert K.get_value(model.optimizer.iterations) == 2


def test_third_party_code_builds_a_function_from_the_compiled_parts():
    model = Sequential([layers.Dense(1, kernel_initializer='ones', input_shape=(2,)), layers.Dropout(0.5)])
    model.compile('sgd', 'mse', metrics=['mae'])
    grads = model.optimizer.get_gradients(model.total_loss, model.trainable_weights)
    f = K.function(model.inputs + model._feed_targets + model._feed_sample_weights + [K.learning_phase()],
                   [model.total_loss, *model.metrics_tensors, *grads])
    x, y = np.array([[1., 2.]]), np.array([[1.]])
    loss, mae, gk, gb = f([x, y, np.ones(1), 0])
    assert (loss, mae) == (4, 2)
    np.testing.assert_array_equal(gk, [[4], [8]])
    np.testing.assert_array_equal(gb, [4])


def test_metrics_tensors_appended_after_compile_are_reported():
    model = Sequential([layers.Dense(1, kernel_initializer='ones', input_shape=(2,))])
    model.compile(optimizers.SGD(0.), 'mse')
    model.metrics_names.append('largest')
    model.metrics_tensors.append(K.max(model.output))
    x = np.array([[1., 2.], [3., 4.]])
    assert model.train_on_batch(x, np.zeros((2, 1)))[1] == 7
    history = model.fit(x, np.zeros((2, 1)), verbose=0)
    assert history.history['largest'] == [7]


def test_a_replaced_train_function_is_what_fit_calls():
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile('sgd', 'mse')
    fed = []

    def train_function(inputs):
        fed.append([np.shape(a) for a in inputs])
        return [np.float32(5.)]
    model._make_train_function()
    model.train_function = train_function
    history = model.fit(np.zeros((4, 2)), np.zeros((4, 1)), batch_size=2, verbose=0)
    assert fed == [[(2, 2), (2, 1), (2,)]] * 2 and history.history == {'loss': [5.]}


def test_gradients_in_a_predict_graph():
    x = Input((2,))
    y = layers.Lambda(lambda t: K.gradients(K.sum(K.square(t)), [t])[0])(x)
    np.testing.assert_array_equal(Model(x, y).predict(np.array([[1., -3.]])), [[2, -6]])


def test_layers_inside_a_plain_torch_module():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4, activation='relu')
            self.head = torch.nn.Linear(4, 1)

        def forward(self, x):
            return self.head(self.dense(x))
    net = Net()
    x = torch.randn(5, 3)
    net(x).sum().backward()
    assert {name for name, _ in net.named_parameters()} == {
        'dense._params.kernel', 'dense._params.bias', 'head.weight', 'head.bias'}
    assert all(p.grad is not None for p in net.parameters())
    kernel, bias = net.dense.get_weights()
    np.testing.assert_allclose(net.dense(x).detach(), np.maximum(x.numpy() @ kernel + bias, 0), rtol=1e-5, atol=1e-6)


def test_a_plain_torch_module_as_a_layer():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    model = Sequential([layers.Dense(3, input_shape=(2,)), module, layers.Dense(1)])
    assert model.output_shape == (None, 1) and model.layers[1].output_shape == (None, 4)
    assert len(model.layers[1].trainable_weights) == 4 and module[1].num_batches_tracked == 0
    model.compile('adam', 'mse')
    before = module[0].weight.detach().clone()
    x = np.random.RandomState(0).randn(16, 2)
    model.fit(x, x[:, :1], epochs=2, batch_size=8, verbose=0)
    assert not torch.equal(before, module[0].weight) and module[1].num_batches_tracked == 4
    np.testing.assert_array_equal(model.predict(x), model.predict(x))
    with pytest.raises(NotImplementedError, match='wraps the torch module Sequential'):
        model.to_json()


def test_layers_inside_a_callback():
    dense = layers.Dense(2, kernel_initializer='ones')
    dense(Input((3,)))
    x = Input((4, 3))
    y = layers.Lambda(lambda t: K.map_fn(lambda row: dense(row), t))(x)
    assert y.shape == (None, 4, 2)
    np.testing.assert_array_equal(Model(x, y).predict(np.ones((5, 4, 3))), np.full((5, 4, 2), 3.))


def test_the_fed_learning_phase_is_that_of_the_step():
    model = Sequential([layers.Dropout(0.5, input_shape=(51,)), layers.Dense(1, kernel_initializer='ones')])
    model.compile(optimizers.SGD(0.), 'mse')
    model._make_train_function()
    model._make_test_function()
    ins = [np.ones((2, 51)), np.full((2, 1), 51.), np.ones(2)]  # an odd sum, which doubled inputs cannot have
    assert model.train_function([*ins, 0.])[0] == 0 == model.test_function([*ins, 0.])[0]
    assert model.train_function([*ins, 1.])[0] > 0 and model.test_function([*ins, 1.])[0] > 0


def test_a_call_that_returns_no_tensor_is_named():
    with pytest.raises(TypeError, match='The call of layer three must return tensors; it returned 3'):
        layers.Lambda(lambda x: 3, name='three')(Input((2,)))
