"""Layers, formulas, losses and optimizers as people write them, of which `fuzzing` makes models."""
import torch

from kfacade import backend as K
from kfacade import layers, losses, regularizers


def swish(x):
    return x * K.sigmoid(x)


class Scaled(layers.Layer):
    """``x * gain + shift``, weights of the shape of a sample, of its channels or of nothing, with a loss of its own."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind, self.supports_masking = kind, True

    def build(self, shape):
        sizes = {'sample': shape[1:], 'row': (1, *shape[1:]), 'channels': shape[-1:], 'one': (1,)}[self.kind]
        self.gain = self.add_weight(name='gain', shape=sizes, initializer='ones', regularizer=regularizers.l2(.01))
        self.shift = self.add_weight(name='shift', shape=sizes, initializer='zeros')
        self.more = self.add_weight(name='more', shape=sizes, initializer='zeros')
        super().build(shape)

    def call(self, x):
        self.add_loss(.1 * K.mean(K.square(self.shift + self.more)))
        return x * self.gain + (self.shift - self.more)


class Product(layers.Layer):
    """A product with a matrix, as scripts write Dense."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(name='kernel', shape=(shape[-1], self.units), initializer='glorot_uniform')
        self.bias = self.add_weight(name='bias', shape=(self.units,), initializer='zeros')
        super().build(shape)

    def call(self, x):
        return K.tanh(K.bias_add(K.dot(x, self.kernel), self.bias))

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units)


class Back(layers.Layer):
    """What another layer's kernel takes back: ``x · kernelᵀ``."""

    def __init__(self, source, **kwargs):
        super().__init__(**kwargs)
        self.source = [source]  # its weights are not this layer's

    def call(self, x):
        return K.dot(x, K.transpose(self.source[0].kernel))

    def compute_output_shape(self, shape):
        return (*shape[:-1], K.int_shape(self.source[0].kernel)[0])


class OwnCell(layers.Layer):
    """A cell as people write it; `kind` says what it computes of the input alone."""

    def __init__(self, units, kind, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.kind = kind

    def build(self, shape):
        self.kernel = self.add_weight(name='kernel', shape=(shape[-1], self.units), initializer='uniform')
        self.recurrent = self.add_weight(name='recurrent', shape=(self.units, self.units), initializer='uniform')
        self.bias = self.add_weight(name='bias', shape=(self.units,), initializer='zeros')
        self.row = self.add_weight(name='row', shape=(1, shape[-1]), initializer='ones')
        self.built = True

    def call(self, x, states):
        h = states[0]
        if self.kind == 'scaled':
            x = K.tanh(x * self.row) - .5 * K.square(x)
        a = K.bias_add(K.dot(x, self.kernel), self.bias) if self.kind != 'sum' else K.dot(x, self.kernel) + self.bias
        if self.kind == 'gated':
            gate = K.hard_sigmoid(2. * a + K.dot(h, self.recurrent))
            h = gate * h + (1. - gate) * K.tanh(a / 2.)
        elif self.kind == 'mean':
            h = K.tanh(a - K.mean(a, axis=-1, keepdims=True) + K.dot(h, self.recurrent))
        elif self.kind == 'ahead':
            return K.sigmoid(a), [h + 1.]
        else:
            h = K.tanh(a + K.dot(h, self.recurrent))
        return h, [h]


# What Lambda layers do; those of the second list keep the shape, and its last one joins samples.
RESHAPING = [
    lambda x: K.concatenate([x, -x], axis=-1), lambda x: x[..., :1], lambda x: K.max(x, axis=-1, keepdims=True),
    lambda x: K.mean(x, axis=-1, keepdims=True), lambda x: K.sum(x, axis=1, keepdims=True), lambda x: x[..., None]]
KEEPING = [
    lambda x: K.exp(-K.square(x)), K.abs, lambda x: x - K.mean(x, axis=-1, keepdims=True),
    lambda x: 2. / (1. + K.exp(x)), lambda x: K.mean(x=x, axis=1, keepdims=True) * x, lambda x: K.clip(x, -.5, .5),
    lambda x: K.sqrt(K.abs(x) + 1.), lambda x: K.reverse(x, 1), lambda x: K.stop_gradient(x) + x,
    lambda x: K.in_train_phase(x * 2., x), lambda x: K.l2_normalize(x, axis=-1), lambda x: x * x / (1. + K.square(x)),
    lambda x: -x, lambda x: .5 * K.pow(x, 2), lambda x: K.relu(x, alpha=.1, max_value=1.), lambda x: K.softmax(x),
    lambda x: K.cumsum(x, axis=1), lambda x: K.switch(K.greater(x, 0.), x, .3 * x), lambda x: 1. - x,
    lambda x: torch.sigmoid(x) * 3 - 1, lambda x: (x - .5) * (x + .5), lambda x: x, lambda x: .3 * x ** 2,
    lambda x: x * K.cast(x > 0, K.floatx()), lambda x: 2 * x - K.zeros_like(x),
    lambda x: x + K.gradients(K.sum(K.square(x)), [x])[0], lambda x: x + K.mean(x)]
OF_TWO = [
    lambda ab: ab[0] * ab[1], lambda ab: ab[0] - ab[1], lambda ab: ab[0] / (1. + K.square(ab[1])),
    lambda ab: ab[0] + ab[1], lambda ab: K.maximum(*ab), lambda ab: ab[0] + K.exp(-K.abs(ab[1])),
    lambda ab: K.switch(K.greater(ab[0], 0.), ab[0] * ab[1], K.zeros_like(ab[1]))]
TOGETHER = {('KEEPING', len(KEEPING) - 1)}


def squares(y_true, y_pred):
    return K.mean(K.square(y_pred - y_true), axis=-1)


def average(y_true, y_pred):
    return K.mean(.1 * y_pred - .2 * y_true, axis=-1)


def ratio(y_true, y_pred):
    return K.sum(K.abs(y_true - y_pred) / (1. + K.square(y_pred)), axis=-1) + losses.mean_squared_error(
        y_true=y_true, y_pred=K.mean(y_pred, axis=-1, keepdims=True))


def by_name(y_true, y_pred):
    return K.mean(x=K.square(x=y_pred), axis=-1) + K.mean(K.binary_crossentropy(
        target=K.sigmoid(y_true), output=K.clip(y_pred, .1, .9)), axis=-1) + K.categorical_crossentropy(
        K.abs(y_pred), output=K.exp(y_true - y_pred))


def broadcast(y_true, y_pred):
    return losses.mean_squared_error(y_true, K.mean(y_pred, axis=-1, keepdims=True)) - losses.mean_squared_error(
        y_pred, .1 * K.sum(y_pred, axis=-1, keepdims=True))


def of_all(y_true, y_pred):
    return K.mean(K.exp(-K.square(y_true - y_pred)))


# Losses, and the activation that makes predictions for them.
LOSSES = [('mse', None)] * 4 + [
    ('mae', None), ('categorical_crossentropy', 'softmax'), ('binary_crossentropy', 'sigmoid'), ('hinge', None),
    ('sparse_categorical_crossentropy', 'softmax'), ('kullback_leibler_divergence', 'softmax'),
    ('poisson', 'softplus'), ('cosine_proximity', None), ('logcosh', None), ('squared_hinge', 'tanh'),
    ('mean_squared_logarithmic_error', 'softplus'), (squares, None), (average, None), (ratio, None), (of_all, None),
    (by_name, None), (broadcast, None)]
OPTIMIZERS = [
    ('SGD', {'lr': .1}), ('SGD', {'lr': .05, 'momentum': .9}), ('SGD', {'lr': .05, 'momentum': .8, 'nesterov': True}),
    ('RMSprop', {'lr': .02, 'epsilon': .01}), ('Adagrad', {'lr': .05, 'epsilon': .01}),
    ('Adadelta', {'epsilon': .01}), ('Adam', {'lr': .02, 'epsilon': .01}),
    ('Adam', {'lr': .02, 'epsilon': .01, 'amsgrad': True}), ('Adamax', {'lr': .02, 'epsilon': .01}),
    ('Nadam', {'lr': .02, 'epsilon': .01})]
