"""Custom losses, metrics, constraints, initializers and regularizers as scripts for Keras 2.2.x write them."""
import functools

import numpy as np
import pytest
from custom_harness import RATE, data, slope
from numpy.testing import assert_allclose, assert_array_equal

import kfacade.backend as K
from kfacade import constraints, layers, optimizers, regularizers
from kfacade.engine.topology import Layer
from kfacade.initializers import Initializer
from kfacade.layers import Dense, Input
from kfacade.models import Model, Sequential, load_model
from kfacade.regularizers import Regularizer

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


def cubed(x):
    return x ** 3


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
                              activation=cubed)])
    model.compile('sgd', 'mse')
    model.train_on_batch(data(5, 4), data(5, 3, seed=1))
    model.save(str(tmp_path / 'model.h5'))
    objects = {f.__name__: f for f in (WeightClip, Sines, Orthogonality, cubed)}
    loaded = load_model(str(tmp_path / 'model.h5'), custom_objects=objects)
    assert loaded.get_config() == model.get_config()
    assert loaded.train_on_batch(data(5, 4), data(5, 3, seed=1)) == model.train_on_batch(data(5, 4), data(5, 3, seed=1))
    assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
