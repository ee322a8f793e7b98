"""Custom layers as scripts for Keras 2.2.x and Keras 1 write them, unchanged, against numpy."""
import numpy as np
import pytest
import torch
from custom_harness import RATE, check_layer, data, softmax
from numpy.testing import assert_allclose, assert_array_equal

import kfacade.backend as K
from kfacade import activations, constraints, initializers, layers, optimizers, regularizers
from kfacade.engine.topology import InputSpec, Layer
from kfacade.layers import Dense, Input, Lambda
from kfacade.models import Model, Sequential, load_model


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
