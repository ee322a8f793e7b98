"""Custom optimizers and training loops as scripts for Keras 2.2.x write them, unchanged, against numpy."""
import numpy as np
from custom_harness import RATE, data, softmax
from numpy.testing import assert_allclose, assert_array_equal

import kfacade.backend as K
from kfacade import optimizers
from kfacade.layers import Dense
from kfacade.models import Sequential, load_model
from kfacade.optimizers import Optimizer


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
