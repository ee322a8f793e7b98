"""Several threads that train what they share: every step counts, and a step's gradients are its own.

Losses are means of outputs of linear models, so that the order of the steps makes no difference.
"""
import functools
import threading

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, optimizers
from kfacade.engine import Input
from kfacade.models import Model, Sequential

X, Y = np.random.RandomState(0).randn(8, 4), np.zeros((8, 3))


def mean_output(_, outputs):
    return outputs


def linear(optimizer):
    model = Sequential([layers.Dense(3, input_shape=(4,), kernel_initializer='ones')])
    model.compile(optimizer, mean_output)
    return model


def at_once(*jobs):
    """Runs the functions in threads of their own; raises the first error of any."""
    errors = []

    def run(job):
        try:
            job()
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120.)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def repeated(call, times):
    for _ in range(times):
        call()


def train(model, times):
    repeated(lambda: model.train_on_batch(X, Y), times)


def assert_same_weights(model, expected, **tolerance):
    for got, wanted in zip(model.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(got, wanted, **(tolerance or {'rtol': 0.}))


OPTIMIZERS = {'sgd': lambda: optimizers.SGD(.01), 'momentum': lambda: optimizers.SGD(.01, momentum=.9),
              'adam': optimizers.Adam, 'torch': lambda: functools.partial(torch.optim.SGD, lr=.01)}


@pytest.mark.parametrize('name, steps', [
    *((name, 100) for name in OPTIMIZERS), *(pytest.param(name, 2000, marks=pytest.mark.slow) for name in OPTIMIZERS)])
def test_three_threads_give_the_weights_of_one(name, steps):
    model, expected = linear(OPTIMIZERS[name]()), linear(OPTIMIZERS[name]())
    at_once(*[lambda: train(model, steps)] * 3)
    train(expected, 3 * steps)
    assert K.get_value(model.optimizer.iterations) == 3 * steps
    assert_same_weights(model, expected)


class Plain(optimizers.SGD):
    """With updates of its own, so that no fused step takes their place."""

    def get_updates(self, loss, params):
        return [K.update_add(self.iterations, 1), *(
            K.update(p, p - .01 * g) for p, g in zip(params, self.get_gradients(loss, params)))]


def test_updates_of_ones_own_count_each_time():
    """As in A3C on Keras: a `K.function` over the optimizer's updates, called by each actor."""
    model, function_model, expected = linear(Plain()), linear('sgd'), linear(optimizers.SGD(.01))
    updates = Plain().get_updates(K.mean(function_model.output), function_model._collected_trainable_weights)
    function = K.function([function_model.input], [], updates)
    at_once(*[lambda: train(model, 100)] * 3)
    at_once(*[lambda: repeated(lambda: function([X]), 100)] * 3)
    train(expected, 300)
    assert_same_weights(model, expected, rtol=1e-5)
    assert_same_weights(function_model, expected, rtol=1e-5)


def heads(optimizer):
    """Two models, of sums of a trunk that each has trained before with a head of its own, and one of both heads."""
    x, trunk = Input((4,)), layers.Dense(5, kernel_initializer='ones', bias_initializer='ones')
    outputs = [layers.Dense(3, kernel_initializer='ones')(trunk(x)) for _ in range(2)]
    models = [Model(x, outputs[0]), Model(x, outputs[1]), Model(x, layers.add(outputs))]
    for model in models:
        model.compile(optimizer, mean_output)
    return models


def test_models_that_share_layers_train_beside_each_other():
    """The gradients depend on the weights, so autograd would refuse a pass during which another thread changes them."""
    models = heads('sgd')
    at_once(*[functools.partial(train, model, 100) for model in models])
    assert all(np.isfinite(w).all() for w in models[2].get_weights())


def test_what_was_trained_apart_may_be_joined():
    first, second = linear('sgd'), linear('sgd')
    for model in (first, second):
        train(model, 1)
    x = Input((4,))
    joined = Model(x, layers.add([first(x), second(x)]))
    joined.compile('sgd', mean_output)
    at_once(*[functools.partial(train, model, 100) for model in (first, second, joined)])
    expected = linear('sgd')
    train(expected, 201)
    assert_same_weights(first, expected, rtol=1e-5)
    assert_same_weights(second, expected, rtol=1e-5)


def test_predicting_waits_for_nobody():
    model, inside, go_on = linear('sgd'), threading.Event(), threading.Event()
    expected, step = model.predict(X), model.optimizer.make_step

    def slow_step(params):
        inner = step(params)

        def wait_and_step(gradients):
            inside.set()
            assert go_on.wait(60.)
            inner(gradients)
        return wait_and_step
    model.optimizer.make_step = slow_step

    def predict():
        assert inside.wait(60.)
        np.testing.assert_array_equal(model.predict(X), expected)
        go_on.set()
    at_once(lambda: train(model, 1), predict)
    assert (model.predict(X) != expected).any()


def test_gradients_of_others_are_left_alone():
    model = linear('adam')
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.)
    train(model, 2)
    model.fit(X, Y, verbose=0)
    assert all((p.grad == 7.).all() for p in model.parameters())
