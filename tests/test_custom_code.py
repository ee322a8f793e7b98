"""Code of users, as scripts for Keras 2.2.x (and Keras 1) write it: run unchanged, and checked against numpy."""
import functools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import kfacade.backend as K
from kfacade import activations, constraints, initializers, layers, optimizers, regularizers
from kfacade.engine.topology import InputSpec, Layer
from kfacade.initializers import Initializer
from kfacade.layers import RNN, Dense, Input, Lambda, TimeDistributed, Wrapper
from kfacade.models import Model, Sequential, clone_model, load_model
from kfacade.optimizers import Optimizer
from kfacade.regularizers import Regularizer

RATE = 0.1


def data(*shape, seed=0):
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype('float32')


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def check_layer(layer, x, formula, tmp_path, names, trained=None):
    """Runs a custom layer through all that a model does with a layer.

    Its output must be ``formula(weights, *inputs)`` on random weights and again after training, its weights must be
    those `names`, of which the first `trained` (default: all) are trainable, and must be the same ones for
    `get_weights`, files, the optimizer, torch's `parameters` and `state_dict`, and a clone.
    """
    arrays = x if isinstance(x, list) else [x]
    inputs = [Input(a.shape[1:]) for a in arrays]
    output = layer(inputs if isinstance(x, list) else inputs[0])
    model = Model(inputs, output)
    trained = len(names) if trained is None else trained
    assert [w.name for w in layer.weights] == [f'{layer.name}/{n}:0' for n in names]
    assert [w.name for w in layer.trainable_weights] == [w.name for w in layer.weights[:trained]]

    def computes(model):
        got, expected = model.predict(x), formula(model.get_weights(), *arrays)
        assert K.int_shape(output)[1:] == expected.shape[1:]
        assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        return got

    start = [w + 0.1 * data(*w.shape, seed=i) for i, w in enumerate(model.get_weights())]
    model.set_weights(start)
    first = computes(model)
    assert sorted(p.numel() for p in model.parameters()) == sorted(w.size for w in start[:trained])
    stored = [tensor.numpy() for tensor in model.state_dict().values()]
    for value in start:
        assert any(np.array_equal(a, value) or np.array_equal(a, value.T) for a in stored)

    model.compile(optimizers.SGD(RATE), 'mse')
    target = data(*first.shape, seed=9)
    model.train_on_batch(x, target)
    after = model.get_weights()
    for i, (before, now) in enumerate(zip(start, after)):
        if i < trained:
            assert_allclose(now, before - RATE * slope(formula, start, i, arrays, target), rtol=1e-2, atol=2e-4)
    second = computes(model)

    objects = {type(layer).__name__: type(layer)}
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects=objects)
    assert_array_equal(loaded.predict(x), second)

    copy = clone_model(model)
    copy.load_state_dict(model.state_dict())
    assert_array_equal(copy.predict(x), second)
    return model


def slope(formula, weights, i, arrays, target, step=1e-4):
    """The derivative of the mean squared error for the weight `i`, by central differences in float64."""
    weights = [np.asarray(w, 'float64') for w in weights]
    arrays = [np.asarray(a, 'float64') for a in arrays]
    gradient = np.zeros_like(weights[i])
    for index in np.ndindex(*gradient.shape):
        losses = []
        for shift in (step, -step):
            moved = list(weights)
            moved[i] = moved[i].copy()
            moved[i][index] += shift
            losses.append(np.mean((formula(moved, *arrays) - target) ** 2))
        gradient[index] = (losses[0] - losses[1]) / (2 * step)
    return gradient


# ---------------------------------------------------------------- layers

class MyLayer(Layer):  # the one of Keras' documentation

    def __init__(self, output_dim, **kwargs):
        self.output_dim = output_dim
        super(MyLayer, self).__init__(**kwargs)  # noqa: UP008

    def build(self, input_shape):
        self.kernel = self.add_weight(name='kernel', shape=(input_shape[1], self.output_dim), initializer='uniform',
                                      trainable=True)
        super(MyLayer, self).build(input_shape)  # noqa: UP008

    def call(self, x):
        return K.dot(x, self.kernel)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.output_dim)

    def get_config(self):
        config = {'output_dim': self.output_dim}
        base_config = super().get_config()
        return dict(list(base_config.items()) + list(config.items()))


class Antirectifier(Layer):

    def call(self, inputs):
        inputs -= K.mean(inputs, axis=1, keepdims=True)
        inputs = K.l2_normalize(inputs, axis=1)
        return K.concatenate([K.relu(inputs), K.relu(-inputs)], axis=1)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[-1] *= 2
        return tuple(shape)


class Scale(Layer):
    """gamma x + beta, in the style of Keras 1: `K.variable`, `trainable_weights` assigned, `initial_weights`."""

    def __init__(self, weights=None, axis=-1, beta_init='zero', gamma_init='one', **kwargs):
        self.axis = axis
        self.beta_init = initializers.get(beta_init)
        self.gamma_init = initializers.get(gamma_init)
        self.initial_weights = weights
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.input_spec = [InputSpec(shape=input_shape)]
        shape = (int(input_shape[self.axis]),)
        self.gamma = K.variable(self.gamma_init(shape), name=f'{self.name}_gamma')
        self.beta = K.variable(self.beta_init(shape), name=f'{self.name}_beta')
        self.trainable_weights = [self.gamma, self.beta]
        if self.initial_weights is not None:
            self.set_weights(self.initial_weights)
            del self.initial_weights

    def call(self, x, mask=None):
        input_shape = self.input_spec[0].shape
        broadcast_shape = [1] * len(input_shape)
        broadcast_shape[self.axis] = input_shape[self.axis]
        return K.reshape(self.gamma, broadcast_shape) * x + K.reshape(self.beta, broadcast_shape)

    def get_config(self):
        return {**super().get_config(), 'axis': self.axis}


class Attention(Layer):
    """Attention over time as countless scripts have it: positional shape in `add_weight`, its own mask."""

    def __init__(self, step_dim, W_regularizer=None, W_constraint=None, bias=True, **kwargs):
        self.supports_masking = True
        self.init = initializers.get('glorot_uniform')
        self.W_regularizer = regularizers.get(W_regularizer)
        self.W_constraint = constraints.get(W_constraint)
        self.bias = bias
        self.step_dim = step_dim
        self.features_dim = 0
        super().__init__(**kwargs)

    def build(self, input_shape):
        assert len(input_shape) == 3
        self.W = self.add_weight((input_shape[-1],), initializer=self.init, name=f'{self.name}_W',
                                 regularizer=self.W_regularizer, constraint=self.W_constraint)
        self.features_dim = input_shape[-1]
        if self.bias:
            self.b = self.add_weight((input_shape[1],), initializer='zero', name=f'{self.name}_b')
        else:
            self.b = None
        self.built = True

    def compute_mask(self, input, input_mask=None):
        return None

    def call(self, x, mask=None):
        eij = K.reshape(K.dot(K.reshape(x, (-1, self.features_dim)), K.reshape(self.W, (self.features_dim, 1))),
                        (-1, self.step_dim))
        if self.bias:
            eij += self.b
        eij = K.tanh(eij)
        a = K.exp(eij)
        if mask is not None:
            a *= K.cast(mask, K.floatx())
        a /= K.cast(K.sum(a, axis=1, keepdims=True) + K.epsilon(), K.floatx())
        a = K.expand_dims(a)
        return K.sum(x * a, axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.features_dim

    def get_config(self):
        return {**super().get_config(), 'step_dim': self.step_dim, 'bias': self.bias}


class Bilinear(Layer):
    """Two inputs, and weights that come from a sublayer."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = Dense(units, use_bias=False, name='inner')

    def build(self, input_shape):
        assert isinstance(input_shape, list)
        self.dense.build(input_shape[0])
        self.trainable_weights = self.dense.trainable_weights
        self.own = self.add_weight(name='own', shape=(input_shape[1][-1], self.units), initializer='glorot_normal')
        super().build(input_shape)

    def call(self, inputs):
        a, b = inputs
        return self.dense.call(a) * K.dot(b, self.own)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.units)

    def get_config(self):
        return {**super().get_config(), 'units': self.units}


class Clustering(Layer):
    """Student's t similarity to cluster centres (deep embedded clustering)."""

    def __init__(self, n_clusters, alpha=1.0, **kwargs):
        if 'input_shape' not in kwargs and 'input_dim' in kwargs:
            kwargs['input_shape'] = (kwargs.pop('input_dim'),)
        super().__init__(**kwargs)
        self.n_clusters = n_clusters
        self.alpha = alpha
        self.input_spec = InputSpec(ndim=2)

    def build(self, input_shape):
        assert len(input_shape) == 2
        input_dim = input_shape[1]
        self.input_spec = InputSpec(dtype=K.floatx(), shape=(None, input_dim))
        self.clusters = self.add_weight((self.n_clusters, input_dim), initializer='glorot_uniform', name='clusters')
        self.built = True

    def call(self, inputs, **kwargs):
        q = 1.0 / (1.0 + (K.sum(K.square(K.expand_dims(inputs, axis=1) - self.clusters), axis=2) / self.alpha))
        q **= (self.alpha + 1.0) / 2.0
        return K.transpose(K.transpose(q) / K.sum(q, axis=1))

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.n_clusters

    def get_config(self):
        return {**super().get_config(), 'n_clusters': self.n_clusters}


class Capsule(Layer):
    """Dynamic routing, as in Keras' example cifar10_cnn_capsule."""

    def __init__(self, num_capsule, dim_capsule, routings=3, **kwargs):
        super().__init__(**kwargs)
        self.num_capsule = num_capsule
        self.dim_capsule = dim_capsule
        self.routings = routings
        self.activation = activations.get(squash)

    def build(self, input_shape):
        input_dim_capsule = input_shape[-1]
        self.kernel = self.add_weight(name='capsule_kernel',
                                      shape=(1, input_dim_capsule, self.num_capsule * self.dim_capsule),
                                      initializer='glorot_uniform', trainable=True)

    def call(self, inputs):
        hat_inputs = K.conv1d(inputs, self.kernel)
        batch_size = K.shape(inputs)[0]
        input_num_capsule = K.shape(inputs)[1]
        hat_inputs = K.reshape(hat_inputs, (batch_size, input_num_capsule, self.num_capsule, self.dim_capsule))
        hat_inputs = K.permute_dimensions(hat_inputs, (0, 2, 1, 3))
        b = K.zeros_like(hat_inputs[:, :, :, 0])
        for i in range(self.routings):
            c = K.softmax(b, 1)
            o = self.activation(K.batch_dot(c, hat_inputs, [2, 2]))
            if i < self.routings - 1:
                b = K.batch_dot(o, hat_inputs, [2, 3])
        return o

    def compute_output_shape(self, input_shape):
        return (None, self.num_capsule, self.dim_capsule)

    def get_config(self):
        return {**super().get_config(), 'num_capsule': self.num_capsule, 'dim_capsule': self.dim_capsule}


def squash(x, axis=-1):
    s_squared_norm = K.sum(K.square(x), axis, keepdims=True) + K.epsilon()
    return K.sqrt(s_squared_norm) / (0.5 + s_squared_norm) * x


def capsule_formula(weights, x):
    hat = (x @ weights[0][0]).reshape(len(x), x.shape[1], 2, 3).transpose(0, 2, 1, 3)
    b = np.zeros(hat.shape[:3])
    for _ in range(3):
        o = np.einsum('bni,bnid->bnd', softmax(b, 1), hat)
        norm = (o ** 2).sum(-1, keepdims=True) + 1e-7
        o = np.sqrt(norm) / (0.5 + norm) * o
        b = np.einsum('bnd,bnid->bni', o, hat)
    return o


def attention_formula(weights, x, mask=1.):
    a = np.exp(np.tanh(x @ weights[0] + weights[1])) * mask
    return (x * (a / a.sum(1, keepdims=True))[..., None]).sum(1)


def antirectifier_formula(weights, x):
    x = x - x.mean(1, keepdims=True)
    x = x / np.sqrt((x ** 2).sum(1, keepdims=True))
    return np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 1)


def clustering_formula(weights, x):
    q = 1 / (1 + ((x[:, None] - weights[0]) ** 2).sum(2))
    return q / q.sum(1, keepdims=True)


LAYERS = {
    'documented': (lambda: MyLayer(3, name='mine'), [(4, 5)], lambda w, x: x @ w[0], ['kernel']),
    'keras1_scale': (lambda: Scale(axis=1, name='scale'), [(4, 3, 2)], lambda w, x: w[0][:, None] * x + w[1][:, None],
                     ['scale_gamma', 'scale_beta']),
    'attention': (lambda: Attention(4, name='att'), [(2, 4, 3)], attention_formula, ['att_W', 'att_b']),
    'clustering': (lambda: Clustering(3, name='clustering'), [(5, 2)], clustering_formula, ['clusters']),
    'capsule': (lambda: Capsule(2, 3, name='capsule'), [(2, 4, 5)], capsule_formula, ['capsule_kernel']),
    'bilinear': (lambda: Bilinear(3, name='bilinear'), [(4, 2), (4, 5)], lambda w, a, b: (a @ w[0]) * (b @ w[1]),
                 ['kernel', 'own']),
}


@pytest.mark.parametrize('name', LAYERS)
def test_layers(name, tmp_path):
    make, shapes, formula, names = LAYERS[name]
    arrays = [data(*shape, seed=3 + i) for i, shape in enumerate(shapes)]
    check_layer(make(), arrays if len(arrays) > 1 else arrays[0], formula, tmp_path, names)


def test_layer_without_weights(tmp_path):
    model = Sequential([Dense(4, input_shape=(3,)), Antirectifier(), Dense(1)])
    x = data(5, 3)
    inner = Model(model.input, model.layers[1].output)
    assert inner.output_shape == (None, 8)
    w, b = model.get_weights()[:2]
    assert_allclose(inner.predict(x), antirectifier_formula([], x @ w + b), rtol=1e-4, atol=1e-6)


def test_initial_weights_and_regularizer_and_constraint_of_a_custom_layer():
    layer = Scale(weights=[np.full(3, 2., 'float32'), np.full(3, 5., 'float32')])
    model = Sequential([layers.Reshape((3,), input_shape=(3,)), layer])
    assert_allclose(model.predict(np.ones((1, 3))), [[7, 7, 7]])
    x = Input((4, 3))
    attention = Attention(4, W_regularizer=regularizers.l2(0.5), W_constraint=constraints.max_norm(0.25))
    model = Model(x, attention(x))
    model.compile('sgd', 'mse')
    w = np.array([3., 4., 0.], 'float32')
    attention.set_weights([w, np.zeros(4)])
    batch = np.zeros((2, 4, 3), 'float32')
    assert_allclose(model.train_on_batch(batch, np.zeros((2, 3))), 12.5, rtol=1e-5)
    assert_allclose(attention.get_weights()[0], w / 20, rtol=1e-4)


def test_a_mask_reaches_a_custom_layer():
    tokens = np.array([[1, 2, 0, 0], [3, 1, 2, 0]])
    x = Input((4,))
    embedding, attention = layers.Embedding(5, 3, mask_zero=True), Attention(4)
    model = Model(x, attention(embedding(x)))
    vectors, weights = embedding.get_weights()[0], [data(3), data(4, seed=1)]
    attention.set_weights(weights)
    assert_allclose(model.predict(tokens), attention_formula(weights, vectors[tokens], tokens != 0), rtol=1e-4)


class Pair(Layer):
    """Several inputs and outputs."""

    def call(self, x):
        assert isinstance(x, list)
        a, b = x
        return [a + b, K.mean(a * b, axis=-1, keepdims=True)]

    def compute_output_shape(self, input_shape):
        a, b = input_shape
        return [a, a[:-1] + (1,)]

    def compute_mask(self, inputs, mask=None):
        return [None, None]


def test_several_inputs_and_outputs():
    a, b = Input((3,)), Input((3,))
    outputs = Pair()([a, b])
    assert [K.int_shape(y) for y in outputs] == [(None, 3), (None, 1)]
    x = [data(4, 3), data(4, 3, seed=1)]
    total, product = Model([a, b], outputs).predict(x)
    assert_allclose(total, x[0] + x[1], rtol=1e-6)
    assert_allclose(product, (x[0] * x[1]).mean(1, keepdims=True), rtol=1e-5)


class VariationalLayer(Layer):
    """The loss layer of VAE scripts: `add_loss` in `call`, targets None in `compile`."""

    def vae_loss(self, x, decoded, mean, log_var):
        reconstruction = 3 * K.mean(K.square(x - decoded), axis=-1)
        divergence = -0.5 * K.sum(1 + log_var - K.square(mean) - K.exp(log_var), axis=-1)
        return K.mean(reconstruction + divergence)

    def call(self, inputs):
        x = inputs[0]
        self.add_loss(self.vae_loss(*inputs), inputs=inputs)
        return x


def test_a_layer_that_adds_a_loss():
    x = Input((3,))
    mean, log_var = Dense(2)(x), Dense(2)(x)
    z = Lambda(lambda args: args[0] + K.exp(args[1] / 2) * K.random_normal(K.shape(args[0]), 0., 0.))([mean, log_var])
    decoded = Dense(3)(z)
    model = Model(x, VariationalLayer()([x, decoded, mean, log_var]))
    model.compile(optimizers.SGD(RATE), loss=None)
    batch = data(4, 3)
    w = model.get_weights()
    m, v = batch @ w[0] + w[1], batch @ w[2] + w[3]
    expected = 3 * ((batch - (m @ w[4] + w[5])) ** 2).mean() - 0.5 * (1 + v - m ** 2 - np.exp(v)).sum(1).mean()
    assert_allclose(model.train_on_batch(batch, None), expected, rtol=1e-5)
    history = model.fit(batch, epochs=30, batch_size=4, verbose=0).history['loss']
    assert history[-1] < history[0] < expected


class RunningMean(Layer):
    """A weight that is not trained, but updated by each training step."""

    def build(self, input_shape):
        self.mean = self.add_weight(name='mean', shape=(input_shape[-1],), initializer='zeros', trainable=False)
        self.count = K.variable(0., name='count')
        self.non_trainable_weights.append(self.count)
        self.built = True

    def call(self, inputs, training=None):
        batch_mean = K.mean(inputs, axis=0)
        self.add_update([K.moving_average_update(self.mean, batch_mean, 0.5), K.update_add(self.count, 1.)], inputs)
        return K.in_train_phase(inputs - batch_mean, lambda: inputs - self.mean, training=training)


def test_a_layer_that_updates_its_weights(tmp_path):
    layer = RunningMean(input_shape=(2,))
    model = Sequential([layer])
    model.compile('sgd', 'mse')
    x = data(4, 2)
    assert_allclose(model.train_on_batch(x, np.zeros((4, 2))), ((x - x.mean(0)) ** 2).mean(), rtol=1e-5)
    model.train_on_batch(x + 1, np.zeros((4, 2)))
    mean, count = layer.get_weights()
    assert count == 2
    assert_allclose(model.predict(x), x - mean, rtol=1e-5, atol=1e-6)
    assert [tuple(b.shape) for b in model.state_dict().values() if b.numel() == 2] == [(2,)]
    assert not list(model.parameters())
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects={'RunningMean': RunningMean})
    assert_array_equal(loaded.predict(x), model.predict(x))


class Resize(Layer):
    """Spatial code with `K.int_shape` and a data format, as image layers of the web have it."""

    def call(self, x):
        _, rows, columns, channels = K.int_shape(x)
        x = K.permute_dimensions(x, [0, 3, 1, 2])
        x = K.reshape(x, (-1, channels, rows // 2, 2, columns // 2, 2))
        x = K.max(x, axis=[3, 5])
        return K.permute_dimensions(x, [0, 2, 3, 1])

    def compute_output_shape(self, s):
        return (s[0], s[1] // 2, s[2] // 2, s[3])


def test_image_layer_between_built_in_ones():
    model = Sequential([layers.Conv2D(2, 3, padding='same', input_shape=(4, 6, 1)), Resize(), layers.Flatten(),
                        Dense(1)])
    reference = Sequential([layers.Conv2D(2, 3, padding='same', input_shape=(4, 6, 1)), layers.MaxPooling2D(),
                            layers.Flatten(), Dense(1)])
    reference.set_weights(model.get_weights())
    x = data(3, 4, 6, 1)
    assert_allclose(model.predict(x), reference.predict(x), rtol=1e-5)


def test_subclass_of_a_built_in_layer(tmp_path):
    class MaskedDense(Dense):
        def build(self, input_shape):
            super().build(input_shape)
            self.keep = K.constant(np.eye(input_shape[-1], self.units))

        def call(self, inputs):
            output = K.dot(inputs, self.kernel * self.keep)
            return self.activation(K.bias_add(output, self.bias))

    check_layer(MaskedDense(3, activation='tanh', name='masked'), data(5, 3),
                lambda w, x: np.tanh(x @ (w[0] * np.eye(3)) + w[1]), tmp_path, ['kernel', 'bias'])


# ---------------------------------------------------------------- recurrent cells

class MinimalRNNCell(Layer):  # the one of Keras' documentation

    def __init__(self, units, **kwargs):
        self.units = units
        self.state_size = units
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer='uniform', name='kernel')
        self.recurrent_kernel = self.add_weight(shape=(self.units, self.units), initializer='uniform',
                                                name='recurrent_kernel')
        self.built = True

    def call(self, inputs, states):
        prev_output = states[0]
        h = K.dot(inputs, self.kernel)
        output = h + K.dot(prev_output, self.recurrent_kernel)
        return output, [output]

    def get_config(self):
        return {**super().get_config(), 'units': self.units}


class ConstantsCell(MinimalRNNCell):
    """A cell that also sees constants: their sum with the input is what goes in."""

    def build(self, input_shape):
        if isinstance(input_shape, list):
            input_shape = input_shape[0]
        super().build(input_shape)

    def call(self, inputs, states, constants):
        return super().call(inputs + constants[0], states)


def recurrence(weights, x, h=None):
    h = np.zeros((len(x), weights[1].shape[0])) if h is None else h
    steps = []
    for t in range(x.shape[1]):
        h = x[:, t] @ weights[0] + h @ weights[1]
        steps.append(h)
    return np.stack(steps, 1)


def check_cells(model, x, formula, tmp_path, **objects):
    model.set_weights([0.5 * data(*w.shape, seed=i) for i, w in enumerate(model.get_weights())])
    arrays = x if isinstance(x, list) else [x]
    assert_allclose(model.predict(x), formula(model.get_weights(), *arrays), rtol=1e-4, atol=1e-5)
    model.compile('adam', 'mse')
    model.train_on_batch(x, np.zeros_like(model.predict(x)))
    assert_allclose(model.predict(x), formula(model.get_weights(), *arrays), rtol=1e-4, atol=1e-5)
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects=objects)
    assert_array_equal(loaded.predict(x), model.predict(x))
    assert len(list(model.parameters())) == len(model.get_weights())


def test_documented_cell(tmp_path):
    model = Sequential([RNN(MinimalRNNCell(4), input_shape=(3, 2))])
    assert model.count_params() == 24
    check_cells(model, data(5, 3, 2), lambda w, x: recurrence(w, x)[:, -1], tmp_path, MinimalRNNCell=MinimalRNNCell)


def test_stacked_cells(tmp_path):
    model = Sequential([RNN([MinimalRNNCell(4), MinimalRNNCell(3)], return_sequences=True, input_shape=(3, 2))])
    check_cells(model, data(5, 3, 2), lambda w, x: recurrence(w[2:], recurrence(w[:2], x)), tmp_path,
                MinimalRNNCell=MinimalRNNCell)


def test_cell_with_constants_and_initial_state(tmp_path):
    x, h, c = Input((3, 2)), Input((4,)), Input((2,))
    model = Model([x, h, c], RNN(ConstantsCell(4), unroll=False)(x, initial_state=h, constants=c))
    check_cells(model, [data(5, 3, 2), data(5, 4, seed=1), data(5, 2, seed=2)],
                lambda w, x, h, c: recurrence(w, x + c[:, None], h)[:, -1], tmp_path, ConstantsCell=ConstantsCell)


def test_bidirectional_cell(tmp_path):
    model = Sequential([layers.Bidirectional(RNN(MinimalRNNCell(4)), merge_mode='concat', input_shape=(3, 2))])
    check_cells(model, data(5, 3, 2), lambda w, x: np.concatenate(
        [recurrence(w[:2], x)[:, -1], recurrence(w[2:], x[:, ::-1])[:, -1]], 1), tmp_path,
        MinimalRNNCell=MinimalRNNCell)


def test_masked_steps_keep_the_state_of_a_custom_cell():
    model = Sequential([layers.Masking(input_shape=(4, 2)), RNN(MinimalRNNCell(3))])
    x = data(3, 4, 2)
    x[0, 2:] = x[1, 1] = 0
    expected = [recurrence(model.get_weights(), row[None, (row != 0).any(1)])[0, -1] for row in x]
    assert_allclose(model.predict(x), expected, rtol=1e-4, atol=1e-6)


def test_stateful_custom_cell():
    model = Sequential([RNN(MinimalRNNCell(3), stateful=True, batch_input_shape=(2, 2, 2))])
    x = data(2, 4, 2)
    whole = recurrence(model.get_weights(), x)
    assert_allclose(model.predict(x[:, :2]), whole[:, 1], rtol=1e-4, atol=1e-6)
    assert_allclose(model.predict(x[:, 2:]), whole[:, 3], rtol=1e-4, atol=1e-6)
    model.reset_states()
    assert_allclose(model.predict(x[:, :2]), whole[:, 1], rtol=1e-4, atol=1e-6)


def test_subclass_of_a_built_in_cell(tmp_path):
    class Peephole(layers.LSTMCell):
        """Only what stays of an LSTM: its weights; the step is another one."""

        def call(self, inputs, states, training=None):
            h, c = states[:2]
            z = K.bias_add(K.dot(inputs, self.kernel) + K.dot(h, self.recurrent_kernel), self.bias)
            i, f = K.sigmoid(z[:, :self.units]), K.sigmoid(z[:, self.units:2 * self.units])
            c = f * c + i * K.tanh(z[:, 2 * self.units:3 * self.units])
            h = K.sigmoid(z[:, 3 * self.units:]) * K.tanh(c)
            return h, [h, c]

    def formula(weights, x):
        h = c = np.zeros((len(x), 3))
        for t in range(x.shape[1]):
            i, f, g, o = np.split(x[:, t] @ weights[0] + h @ weights[1] + weights[2], 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        return h

    check_cells(Sequential([RNN(Peephole(3), input_shape=(4, 2))]), data(5, 4, 2), formula, tmp_path,
                Peephole=Peephole)


# ---------------------------------------------------------------- wrappers

class WeightScale(Wrapper):
    """Weight normalisation: the wrapped layer computes with ``g * kernel / norm``."""

    def build(self, input_shape=None):
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        self.g = self.layer.add_weight(name='g', shape=(K.int_shape(self.layer.kernel)[-1],), initializer='ones')
        self.kernel = self.layer.kernel
        super().build()

    def call(self, inputs):
        norm = K.sqrt(K.sum(K.square(self.kernel), axis=0, keepdims=True))
        return self.layer.activation(K.bias_add(K.dot(inputs, self.g * self.kernel / norm), self.layer.bias))

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)


def test_wrapper_that_adds_a_weight(tmp_path):
    check_layer(WeightScale(Dense(3, activation='tanh', name='d'), name='wrap'), data(4, 2),
                lambda w, x: np.tanh(x @ (w[2] * w[0] / np.sqrt((w[0] ** 2).sum(0))) + w[1]), tmp_path,
                ['kernel', 'bias', 'g'])


class Residual(Wrapper):
    """Calls the wrapped layer, twice, on symbols."""

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        super().build(input_shape)

    def call(self, inputs):
        return inputs + self.layer.call(self.layer.call(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize('wrap', [lambda layer: layer, TimeDistributed], ids=['alone', 'in_time'])
def test_wrapper_that_calls_its_layer(wrap, tmp_path):
    layer = Residual(Dense(2, activation='tanh'))
    model = Sequential([wrap(layer) if wrap is not TimeDistributed else wrap(layer, input_shape=(3, 2))]
                       if wrap is TimeDistributed else [layers.Reshape((3, 2), input_shape=(3, 2)), layer])
    x = data(4, 3, 2)
    model.compile('sgd', 'mse')
    model.train_on_batch(x, x)
    w, b = model.get_weights()
    assert_allclose(model.predict(x), x + np.tanh(np.tanh(x @ w + b) @ w + b), rtol=1e-4, atol=1e-6)
    model.save(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects={'Residual': Residual})
    assert_array_equal(loaded.predict(x), model.predict(x))


class ConcreteDropout(Wrapper):
    """Learns its dropout rate (Gal et al. 2017): weight, losses and noise of a wrapper."""

    def __init__(self, layer, weight_regularizer=1e-2, dropout_regularizer=1e-1, **kwargs):
        assert 'kernel_regularizer' not in kwargs
        super().__init__(layer, **kwargs)
        self.weight_regularizer = K.cast_to_floatx(weight_regularizer)
        self.dropout_regularizer = K.cast_to_floatx(dropout_regularizer)
        self.supports_masking = True
        self.p_logit = None
        self.p = None

    def build(self, input_shape=None):
        self.input_spec = InputSpec(shape=input_shape)
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        super().build()
        self.p_logit = self.layer.add_weight(name='p_logit', shape=(1,), initializer=initializers.Constant(-1.),
                                             trainable=True)
        self.p = K.sigmoid(self.p_logit[0])
        input_dim = np.prod(input_shape[1:])
        weight = self.layer.kernel
        kernel_regularizer = self.weight_regularizer * K.sum(K.square(weight)) / (1. - self.p)
        dropout_regularizer = self.p * K.log(self.p)
        dropout_regularizer += (1. - self.p) * K.log(1. - self.p)
        dropout_regularizer *= self.dropout_regularizer * input_dim
        self.layer.add_loss(K.sum(kernel_regularizer + dropout_regularizer))

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def concrete_dropout(self, x):
        eps = K.cast_to_floatx(K.epsilon())
        unif_noise = K.random_uniform(shape=K.shape(x))
        drop_prob = (K.log(self.p + eps) - K.log(1. - self.p + eps) + K.log(unif_noise + eps)
                     - K.log(1. - unif_noise + eps))
        drop_prob = K.sigmoid(drop_prob / 0.1)
        x *= 1. - drop_prob
        x /= 1. - self.p
        return x

    def call(self, inputs, training=None):
        def relaxed_dropped_inputs():
            return self.layer.call(self.concrete_dropout(inputs))
        return K.in_train_phase(relaxed_dropped_inputs, self.layer.call(inputs), training=training)


def test_concrete_dropout():
    layer = ConcreteDropout(Dense(2), input_shape=(3,))
    model = Sequential([layer])
    model.compile('adam', 'mse')
    x = data(2000, 3)
    kernel, bias, logit = model.get_weights()
    assert_allclose(model.predict(x), x @ kernel + bias, rtol=1e-4, atol=1e-6)
    p = sigmoid(logit[0])
    penalty = 1e-2 * (kernel ** 2).sum() / (1 - p) + 0.3 * (p * np.log(p) + (1 - p) * np.log(1 - p))
    assert_allclose(model.evaluate(x, model.predict(x), verbose=0), penalty, rtol=1e-4)
    noisy = K.function([model.input, K.learning_phase()], [model.output])([x, 1])[0]
    assert 0.05 < np.abs(noisy - x @ kernel).mean() and abs((noisy - x @ kernel).mean()) < 0.05
    model.train_on_batch(x, x[:, :2])
    assert model.get_weights()[2] != logit


# ---------------------------------------------------------------- losses and metrics

def focal_loss(gamma=2., alpha=.25):
    def focal_loss_fixed(y_true, y_pred):
        y_pred = K.clip(y_pred, K.epsilon(), 1. - K.epsilon())
        pt_1 = K.switch(K.equal(y_true, 1), y_pred, K.ones_like(y_pred))
        pt_0 = K.switch(K.equal(y_true, 0), y_pred, K.zeros_like(y_pred))
        return -K.sum(alpha * K.pow(1. - pt_1, gamma) * K.log(pt_1)) - K.sum(
            (1 - alpha) * K.pow(pt_0, gamma) * K.log(1. - pt_0))
    return focal_loss_fixed


def dice_coef(y_true, y_pred, smooth=1):
    y_true_f = K.flatten(y_true)
    y_pred_f = K.flatten(y_pred)
    intersection = K.sum(y_true_f * y_pred_f)
    return (2. * intersection + smooth) / (K.sum(y_true_f) + K.sum(y_pred_f) + smooth)


def dice_coef_loss(y_true, y_pred):
    return 1 - dice_coef(y_true, y_pred)


def weighted_crossentropy(weights):
    weights = K.variable(weights)

    def weighted_loss(y_true, y_pred):
        y_pred /= K.sum(y_pred, axis=-1, keepdims=True)
        y_pred = K.clip(y_pred, K.epsilon(), 1 - K.epsilon())
        return -K.sum(y_true * K.log(y_pred) * weights, -1)
    return weighted_loss


def contrastive_loss(y_true, y_pred):
    margin = 1
    return K.mean(y_true * K.square(y_pred) + (1 - y_true) * K.square(K.maximum(margin - y_pred, 0)))


def f1(y_true, y_pred):
    true_positives = K.sum(K.round(K.clip(y_true * y_pred, 0, 1)))
    precision = true_positives / (K.sum(K.round(K.clip(y_pred, 0, 1))) + K.epsilon())
    recall = true_positives / (K.sum(K.round(K.clip(y_true, 0, 1))) + K.epsilon())
    return 2 * precision * recall / (precision + recall + K.epsilon())


def numpy_focal(t, p):
    return -np.sum(.25 * t * (1 - p) ** 2 * np.log(p) + .75 * (1 - t) * p ** 2 * np.log(1 - p))


def numpy_dice(t, p):
    return (2 * (t * p).sum() + 1) / (t.sum() + p.sum() + 1)


def numpy_f1(t, p):
    p = np.round(p)
    return 2 * (t * p).sum() / (p.sum() + t.sum())


FUNCTIONS = {
    'closure': (focal_loss(), numpy_focal),
    'of_another_metric': (dice_coef_loss, lambda t, p: 1 - numpy_dice(t, p)),
    'with_a_variable': (weighted_crossentropy(np.array([1., 2., 3.])),
                        lambda t, p: -(t * np.log(p / p.sum(1, keepdims=True)) * [1, 2, 3]).sum(1).mean()),
    'scalar': (contrastive_loss, lambda t, p: np.mean(t * p ** 2 + (1 - t) * np.maximum(1 - p, 0) ** 2)),
    'lambda': (lambda y_true, y_pred: K.mean(K.abs(y_true - y_pred) ** 3., axis=-1),
               lambda t, p: np.mean(np.abs(t - p) ** 3)),
    'elementwise': (lambda y_true, y_pred: K.square(y_true - y_pred), lambda t, p: np.mean((t - p) ** 2)),
}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_losses_and_metrics_of_functions(name):
    function, formula = FUNCTIONS[name]
    model = Sequential([Dense(3, activation='sigmoid', input_shape=(4,))])
    model.compile('sgd', function, metrics=[function, dice_coef, f1])
    assert model.metrics_names == ['loss', function.__name__, 'dice_coef', 'f1']
    x, target = data(8, 4), np.eye(3, dtype='float32')[np.arange(8) % 3]
    p = model.predict(x).astype('float64')
    values = model.train_on_batch(x, target)
    expected = formula(target, p)
    assert_allclose(values, [expected, expected, numpy_dice(target, p), numpy_f1(target, p)], rtol=1e-4, atol=1e-6)
    assert model.evaluate(x, target, verbose=0)[0] < values[0]


def test_a_partial_with_a_name_as_metric():
    metric = functools.partial(dice_coef, smooth=0)
    metric.__name__ = 'dice_0'
    model = Sequential([Dense(3, activation='sigmoid', input_shape=(4,))])
    model.compile('sgd', dice_coef_loss, metrics=[metric])
    x, target = data(8, 4), np.eye(3, dtype='float32')[np.arange(8) % 3]
    p = model.predict(x)
    assert model.metrics_names == ['loss', 'dice_0']
    assert_allclose(model.test_on_batch(x, target)[1], 2 * (target * p).sum() / (target.sum() + p.sum()), rtol=1e-5)


def test_a_loss_that_closes_over_symbols_of_the_model():
    x = Input((3,))
    hidden = Dense(2)(x)
    model = Model(x, Dense(3)(hidden))

    def loss(y_true, y_pred):
        return K.mean(K.square(y_true - y_pred), axis=-1) + 0.1 * K.sum(K.square(hidden), axis=-1)

    model.compile('sgd', loss)
    batch = data(5, 3)
    w = model.get_weights()
    h = batch @ w[0] + w[1]
    expected = ((batch - h @ w[2] - w[3]) ** 2).mean() + 0.1 * (h ** 2).sum(1).mean()
    assert_allclose(model.train_on_batch(batch, batch), expected, rtol=1e-5)
    gradient = 2 / 15 * (h @ w[2] + w[3] - batch)
    assert_allclose(model.get_weights()[3], w[3] - 0.01 * gradient.sum(0), rtol=1e-4, atol=1e-7)
    delta = gradient @ w[2].T + 0.2 * h / 5
    assert_allclose(model.get_weights()[0], w[0] - 0.01 * batch.T @ delta, rtol=1e-4, atol=1e-7)


def test_a_gradient_penalty_as_loss():
    """As WGAN-GP has it: the norm of a gradient inside of the loss, so training differentiates twice."""
    x = Input((3,))
    score = Dense(1, use_bias=False)(Dense(4, activation='tanh', use_bias=False)(x))
    model = Model(x, score)

    def penalty(y_true, y_pred, averaged_samples):
        gradients = K.gradients(y_pred, averaged_samples)[0]
        norm = K.sqrt(K.sum(K.square(gradients), axis=np.arange(1, len(gradients.shape))))
        return K.mean(K.square(1 - norm))

    loss = functools.partial(penalty, averaged_samples=x)
    loss.__name__ = 'gradient_penalty'
    model.compile(optimizers.SGD(RATE), loss)
    batch = data(6, 3)

    def value(w):
        slopes = (1 - np.tanh(batch @ w[0]) ** 2) * w[1][:, 0] @ w[0].T
        return np.mean((1 - np.sqrt((slopes ** 2).sum(1))) ** 2)

    before = [w.astype('float64') for w in model.get_weights()]
    assert_allclose(model.train_on_batch(batch, np.zeros((6, 1))), value(before), rtol=1e-5)
    after, moved = model.get_weights(), before[1].copy()
    for i in range(4):
        up, down = before[1].copy(), before[1].copy()
        up[i] += 1e-5
        down[i] -= 1e-5
        moved[i] -= RATE * (value([before[0], up]) - value([before[0], down])) / 2e-5
    assert_allclose(after[1], moved, rtol=1e-4, atol=1e-6)


def test_custom_losses_and_metrics_are_found_when_a_model_is_loaded(tmp_path):
    model = Sequential([Dense(3, activation='sigmoid', input_shape=(4,))])
    model.compile('adam', dice_coef_loss, metrics=[dice_coef])
    x, target = data(8, 4), np.eye(3, dtype='float32')[np.arange(8) % 3]
    model.train_on_batch(x, target)
    model.save(str(tmp_path / 'model.h5'))
    with pytest.raises(ValueError, match='dice_coef_loss'):
        load_model(str(tmp_path / 'model.h5'))
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects={'dice_coef_loss': dice_coef_loss,
                                                                    'dice_coef': dice_coef})
    assert_allclose(loaded.train_on_batch(x, target), model.train_on_batch(x, target), rtol=1e-6)
    for a, b in zip(loaded.get_weights(), model.get_weights()):
        assert_array_equal(a, b)


class BinaryTruePositives(Layer):
    """The stateful metric of Keras 2.2's own tests."""

    def __init__(self, name='true_positives', **kwargs):
        super().__init__(name=name, **kwargs)
        self.stateful = True
        self.true_positives = K.variable(value=0, dtype='int32')

    def reset_states(self):
        K.set_value(self.true_positives, 0)

    def __call__(self, y_true, y_pred):
        y_true = K.cast(y_true, 'int32')
        y_pred = K.cast(K.round(y_pred), 'int32')
        correct_preds = K.cast(K.equal(y_pred, y_true), 'int32')
        true_pos = K.cast(K.sum(correct_preds * y_true), 'int32')
        current_true_pos = self.true_positives * 1
        self.add_update(K.update_add(self.true_positives, true_pos), inputs=[y_true, y_pred])
        return current_true_pos + true_pos


def test_stateful_metric():
    model = Sequential([Dense(2, activation='sigmoid', input_shape=(4,))])
    metric = BinaryTruePositives()
    model.compile('sgd', 'binary_crossentropy', metrics=['acc', metric])
    assert model.metrics_names == ['loss', 'acc', 'true_positives']
    assert model.stateful_metric_names == ['true_positives']
    x, target = data(20, 4), np.random.RandomState(1).randint(0, 2, (20, 2))
    count = int(((model.predict(x) > 0.5) * target).sum())
    assert model.evaluate(x, target, batch_size=6, verbose=0)[2] == count
    assert model.evaluate(x, target, batch_size=20, verbose=0)[2] == count
    history = model.fit(x, target, batch_size=5, epochs=2, verbose=0, validation_data=(x, target)).history
    assert history['val_true_positives'][-1] == int(((model.predict(x) > 0.5) * target).sum())
    assert history['true_positives'][-1] <= target.sum()

    def generator():
        while True:
            yield x, target

    assert model.evaluate_generator(generator(), steps=2)[2] == 2 * history['val_true_positives'][-1]
    assert len(model.get_weights()) == 2


# ---------------------------------------------------------------- constraints, initializers, regularizers

class WeightClip(constraints.Constraint):

    def __init__(self, c=2):
        self.c = c

    def __call__(self, p):
        return K.clip(p, -self.c, self.c)

    def get_config(self):
        return {'name': self.__class__.__name__, 'c': self.c}

    @classmethod
    def from_config(cls, config):
        return cls(config['c'])


def row_norm(w):
    return w / K.sqrt(K.sum(K.square(w), axis=1, keepdims=True))


class Sines(Initializer):

    def __init__(self, factor=1.):
        self.factor = factor

    def __call__(self, shape, dtype=None):
        return self.factor * np.sin(np.arange(np.prod(shape))).reshape(shape)

    def get_config(self):
        return {'factor': self.factor}


def halves(shape, dtype=None):
    return K.ones(shape, dtype=dtype) / 2


def keras1_init(shape, name=None):
    return K.variable(np.full(shape, 0.25), name=name)


class Orthogonality(Regularizer):

    def __init__(self, strength=0.):
        self.strength = K.cast_to_floatx(strength)

    def __call__(self, w):
        product = K.dot(K.transpose(w), w)
        return self.strength * K.sum(K.square(product - K.eye(K.int_shape(w)[-1])))

    def get_config(self):
        return {'strength': float(self.strength)}


def l1_of_rows(w):
    return 0.5 * K.sum(K.sqrt(K.sum(K.square(w), axis=1)))


@pytest.mark.parametrize('constraint, formula', [
    (WeightClip(0.2), lambda w: np.clip(w, -0.2, 0.2)),
    (row_norm, lambda w: w / np.sqrt((w ** 2).sum(1, keepdims=True))),
    (lambda w: K.maximum(w, 0.1), lambda w: np.maximum(w, 0.1))])
@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_constraints(constraint, formula, optimizer):
    models = [Sequential([Dense(3, input_shape=(4,), kernel_constraint=c)]) for c in (constraint, None)]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile(optimizer, 'mse')
        model.train_on_batch(data(5, 4), data(5, 3, seed=1))
    constrained, free = (model.get_weights()[0] for model in models)
    assert_allclose(constrained, formula(free), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('initializer, formula', [
    (Sines(2.), lambda shape: 2 * np.sin(np.arange(np.prod(shape))).reshape(shape)),
    (halves, lambda shape: np.full(shape, 0.5)),
    (keras1_init, lambda shape: np.full(shape, 0.25)),
    (lambda shape, dtype=None: np.eye(*shape), lambda shape: np.eye(*shape))])
def test_initializers(initializer, formula):
    model = Sequential([Dense(3, input_shape=(4,), kernel_initializer=initializer)])
    assert_allclose(model.get_weights()[0], formula((4, 3)), rtol=1e-6)
    layer = layers.LSTM(2, recurrent_initializer=initializer, input_shape=(3, 1))
    Sequential([layer])
    assert_allclose(layer.get_weights()[1], formula((2, 8)), rtol=1e-6)


@pytest.mark.parametrize('regularizer, formula', [
    (Orthogonality(0.5), lambda w: 0.5 * ((w.T @ w - np.eye(w.shape[1])) ** 2).sum()),
    (l1_of_rows, lambda w: 0.5 * np.sqrt((w ** 2).sum(1)).sum()),
    (lambda w: 0.1 * K.sum(w ** 4), lambda w: 0.1 * (w ** 4).sum())])
def test_regularizers(regularizer, formula):
    x = data(5, 4)
    model = Sequential([Dense(3, input_shape=(4,), kernel_regularizer=regularizer)])
    model.compile(optimizers.SGD(RATE), 'mse')
    w, b = model.get_weights()

    def loss(weights, x):
        return ((x @ weights[0] + weights[1]) ** 2).mean() + formula(weights[0])

    assert_allclose(model.train_on_batch(x, np.zeros((5, 3))), loss([w, b], x), rtol=1e-5)
    gradient = slope(lambda weights, x: np.sqrt(loss(weights, x)), [w, b], 0, [x], 0.)
    assert_allclose(model.get_weights()[0], w - RATE * gradient, rtol=1e-3, atol=1e-4)
    assert_allclose(model.test_on_batch(x, np.zeros((5, 3))), loss(model.get_weights(), x), rtol=1e-5)


def test_activity_regularizer():
    model = Sequential([Dense(3, input_shape=(4,), activity_regularizer=lambda y: 0.3 * K.sum(K.abs(y)))])
    model.compile('sgd', 'mse')
    x = data(5, 4)
    y = model.predict(x)
    assert_allclose(model.test_on_batch(x, y), 0.3 * np.abs(y).sum(), rtol=1e-5)


def test_custom_parts_are_saved_and_loaded(tmp_path):
    model = Sequential([Dense(3, input_shape=(4,), kernel_constraint=WeightClip(0.2), kernel_initializer=Sines(),
                              kernel_regularizer=Orthogonality(0.1), bias_regularizer=regularizers.l2(0.1),
                              activation=squash)])
    model.compile('sgd', 'mse')
    model.train_on_batch(data(5, 4), data(5, 3, seed=1))
    model.save(str(tmp_path / 'model.h5'))
    objects = {f.__name__: f for f in (WeightClip, Sines, Orthogonality, squash)}
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects=objects)
    assert loaded.get_config() == model.get_config()
    assert loaded.train_on_batch(data(5, 4), data(5, 3, seed=1)) == model.train_on_batch(data(5, 4), data(5, 3, seed=1))
    assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


# ---------------------------------------------------------------- optimizers

class AdamW(Optimizer):
    """Decoupled weight decay, in the words of Keras' own Adam."""

    def __init__(self, lr=0.001, beta_1=0.9, beta_2=0.999, weight_decay=1e-1, epsilon=1e-8, decay=0., **kwargs):
        super().__init__(**kwargs)
        with K.name_scope(self.__class__.__name__):
            self.iterations = K.variable(0, dtype='int64', name='iterations')
            self.lr = K.variable(lr, name='lr')
            self.beta_1 = K.variable(beta_1, name='beta_1')
            self.beta_2 = K.variable(beta_2, name='beta_2')
            self.decay = K.variable(decay, name='decay')
            self.wd = K.variable(weight_decay, name='weight_decay')
        self.epsilon = epsilon
        self.initial_decay = decay

    def get_updates(self, loss, params):
        grads = self.get_gradients(loss, params)
        self.updates = [K.update_add(self.iterations, 1)]
        wd = self.wd
        lr = self.lr
        if self.initial_decay > 0:
            lr *= (1. / (1. + self.decay * K.cast(self.iterations, K.dtype(self.decay))))
        t = K.cast(self.iterations, K.floatx()) + 1
        lr_t = lr * (K.sqrt(1. - K.pow(self.beta_2, t)) / (1. - K.pow(self.beta_1, t)))
        ms = [K.zeros(K.int_shape(p), dtype=K.dtype(p)) for p in params]
        vs = [K.zeros(K.int_shape(p), dtype=K.dtype(p)) for p in params]
        self.weights = [self.iterations] + ms + vs
        for p, g, m, v in zip(params, grads, ms, vs):
            m_t = (self.beta_1 * m) + (1. - self.beta_1) * g
            v_t = (self.beta_2 * v) + (1. - self.beta_2) * K.square(g)
            p_t = p - lr_t * m_t / (K.sqrt(v_t) + self.epsilon) - lr * wd * p
            self.updates.append(K.update(m, m_t))
            self.updates.append(K.update(v, v_t))
            new_p = p_t
            if getattr(p, 'constraint', None) is not None:
                new_p = p.constraint(new_p)
            self.updates.append(K.update(p, new_p))
        return self.updates

    def get_config(self):
        config = {name: float(K.get_value(getattr(self, name))) for name in ('lr', 'beta_1', 'beta_2', 'decay')}
        return {**super().get_config(), **config, 'weight_decay': float(K.get_value(self.wd)), 'epsilon': self.epsilon}


def adamw(p, gradient, steps, lr=0.01, wd=0.1, decay=0.5):
    p = p.astype('float64')
    m = v = 0.
    for t in range(steps):
        g = gradient(p)
        rate = lr / (1 + decay * t)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g ** 2
        scale = rate * np.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1))
        p = p - scale * m / (np.sqrt(v) + 1e-8) - rate * wd * p
    return p


class SGDAccumulate(Optimizer):
    """Steps once in `accum_iters` batches, by `K.switch`."""

    def __init__(self, lr=0.01, momentum=0., nesterov=False, accum_iters=1, **kwargs):
        super().__init__(**kwargs)
        with K.name_scope(self.__class__.__name__):
            self.iterations = K.variable(0, dtype='int64', name='iterations')
            self.lr = K.variable(lr, name='lr')
            self.momentum = K.variable(momentum, name='momentum')
            self.accum_iters = K.variable(accum_iters, name='accum_iters')
        self.nesterov = nesterov

    def get_updates(self, loss, params):
        grads = self.get_gradients(loss, params)
        self.updates = [K.update_add(self.iterations, 1)]
        accum_switch = K.equal(K.cast(self.iterations + 1, K.floatx()) % self.accum_iters, 0)
        accum_switch = K.cast(accum_switch, dtype='float32')
        shapes = [K.int_shape(p) for p in params]
        moments = [K.zeros(shape) for shape in shapes]
        temp_grads = [K.zeros(shape) for shape in shapes]
        self.weights = [self.iterations] + moments
        for p, cg, m, tg in zip(params, grads, moments, temp_grads):
            g = cg + tg
            v = self.momentum * m - (self.lr * g / self.accum_iters)
            self.updates.append(K.update(m, (1 - accum_switch) * m + accum_switch * v))
            self.updates.append(K.update(tg, (1 - accum_switch) * g))
            new_p = p + v
            self.updates.append(K.update(p, K.switch(accum_switch, new_p, p)))
        return self.updates


class Regression:
    """A linear model without bias, its data, and what its gradient is in numpy."""

    def __init__(self, optimizer):
        self.model = Sequential([Dense(2, input_shape=(3,), use_bias=False)])
        self.model.compile(optimizer, 'mse')
        self.x, self.y = data(8, 3), data(8, 2, seed=1)
        self.start = self.model.get_weights()[0]

    def gradient(self, p):
        return 2 / 16 * self.x.T @ (self.x @ p - self.y)

    def train(self, steps):
        for _ in range(steps):
            self.model.train_on_batch(self.x, self.y)
        return self.model.get_weights()[0]


def test_optimizer_with_slots(tmp_path):
    problem = Regression(AdamW(lr=0.01, decay=0.5))
    assert_allclose(problem.train(4), adamw(problem.start, problem.gradient, 4), rtol=1e-4)
    assert [w.shape for w in problem.model.optimizer.get_weights()] == [(), (3, 2), (3, 2)]
    problem.model.save(str(tmp_path / 'model.h5'))
    problem.model = load_model(str(tmp_path / 'model.h5'), custom_objects={'AdamW': AdamW})
    assert K.get_value(problem.model.optimizer.iterations) == 4
    assert_allclose(problem.train(3), adamw(problem.start, problem.gradient, 7), rtol=1e-4)


def test_optimizer_that_accumulates():
    problem = Regression(SGDAccumulate(lr=0.5, accum_iters=3))
    assert_array_equal(problem.train(2), problem.start)
    expected = problem.start - 0.5 * problem.gradient(problem.start)
    assert_allclose(problem.train(1), expected, rtol=1e-5)
    assert_allclose(problem.train(3), expected - 0.5 * problem.gradient(expected), rtol=1e-5)


def test_learning_rate_multipliers():
    class Multiplied(optimizers.SGD):
        """Changes what its base recorded: another rate for the layers that a dict names."""

        def __init__(self, lr=0.01, multipliers=None, **kwargs):
            super().__init__(lr=lr, **kwargs)
            self.multipliers = multipliers or {}

        def get_updates(self, loss, params):
            grads = self.get_gradients(loss, params)
            self.updates = [K.update_add(self.iterations, 1)]
            self.weights = [self.iterations]
            for p, g in zip(params, grads):
                factor = next((f for name, f in self.multipliers.items() if name in p.name), 1.)
                self.updates.append(K.update(p, p - self.lr * factor * g))
            return self.updates

    models = []
    for optimizer in (optimizers.SGD(RATE), Multiplied(RATE, multipliers={'slow': 0.1})):
        model = Sequential([Dense(3, input_shape=(4,), name='slow'), Dense(2, name='fast')])
        model.set_weights(models[0][1] if models else model.get_weights())
        before = model.get_weights()
        model.compile(optimizer, 'mse')
        model.train_on_batch(data(5, 4), data(5, 2, seed=1))
        models.append((model, before))
    (plain, before), (multiplied, _) = models
    for i, (start, a, b) in enumerate(zip(before, plain.get_weights(), multiplied.get_weights())):
        assert_allclose(b - start, (a - start) * (0.1 if i < 2 else 1.), rtol=1e-4, atol=1e-7)


def test_gradients_that_a_script_patches():
    """As recipes for gradient centralisation or accumulation do it, on the instance."""
    optimizer = optimizers.SGD(RATE)
    original = optimizer.get_gradients

    def centralized(loss, params):
        return [g - K.mean(g, axis=0, keepdims=True) for g in original(loss, params)]

    optimizer.get_gradients = centralized
    problem = Regression(optimizer)
    g = problem.gradient(problem.start)
    assert_allclose(problem.train(1), problem.start - RATE * (g - g.mean(0)), rtol=1e-5, atol=1e-6)


def test_lookahead_over_the_train_function():
    """Recipes that wrap the train function: Keras' attributes of a model are there to be read and replaced."""
    problem = Regression(optimizers.SGD(RATE))
    model = problem.model
    model._make_train_function()
    slow = [K.variable(K.get_value(w)) for w in model.trainable_weights]
    to_slow = K.function([], [], [K.update(q, q + 0.5 * (p - q)) for p, q in zip(model.trainable_weights, slow)])
    to_fast = K.function([], [], [K.update(p, q) for p, q in zip(model.trainable_weights, slow)])
    step, calls = model.train_function, []

    def train_function(inputs):
        result = step(inputs)
        calls.append(result)
        if len(calls) % 2 == 0:
            to_slow([])
            to_fast([])
        return result

    model.train_function = train_function
    fast = problem.start - RATE * problem.gradient(problem.start)
    fast = fast - RATE * problem.gradient(fast)
    assert_allclose(problem.train(2), (problem.start + fast) / 2, rtol=1e-5, atol=1e-7)
    assert len(calls) == 2


def test_training_with_a_function_of_ones_own():
    """As reinforcement learning scripts do it: `get_updates` and `K.function`, with no `compile`."""
    model = Sequential([Dense(2, activation='softmax', input_shape=(3,), use_bias=False)])
    action, advantage = K.placeholder((None, 2)), K.placeholder((None,))
    probability = K.sum(model.output * action, axis=1)
    loss = -K.mean(K.log(probability + 1e-10) * K.stop_gradient(advantage))
    updates = optimizers.Adam(lr=0.01).get_updates(params=model.trainable_weights, loss=loss)
    train = K.function([model.input, action, advantage], [loss], updates=updates)
    x, a, r = data(6, 3), np.eye(2)[np.arange(6) % 2], data(6, seed=2)
    w = model.get_weights()[0]
    p = softmax(x @ w)
    assert_allclose(train([x, a, r])[0], -np.mean(np.log((p * a).sum(1)) * r), rtol=1e-5)
    gradient = x.T @ ((p - a) * r[:, None]) / 6
    assert_allclose(model.get_weights()[0], w - 0.01 * gradient / (np.abs(gradient) + 1e-7 / np.sqrt(1e-3)),
                    rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- torch's side of custom layers

def test_custom_weights_are_torch_parameters_everywhere():
    layer = MyLayer(2)
    model = Sequential([Dense(3, input_shape=(4,)), layer])
    (name, parameter), = [(n, p) for n, p in model.named_parameters() if tuple(p.shape) == (3, 2)]
    with torch.no_grad():
        parameter.fill_(0.5)
    assert_array_equal(layer.get_weights()[0], np.full((3, 2), 0.5))
    state = model.state_dict()
    state[name] = torch.zeros(3, 2)
    model.load_state_dict(state)
    assert_array_equal(K.get_value(layer.kernel), np.zeros((3, 2)))
    K.set_value(layer.kernel, np.ones((3, 2)))
    assert_array_equal(parameter.detach(), np.ones((3, 2)))
    model.double()
    assert K.get_value(layer.kernel).dtype == np.float64
