"""Results with their pullbacks: values and gradients are those of the same call under autograd."""
import pytest
import torch

from kfacade import backend as K
from kfacade import losses
from kfacade.backend import pullbacks

torch.manual_seed(0)
PROBABILITIES = torch.tensor([[.2, .3, .5], [0., 1., 0.], [1e-9, .5, .7]])  # of which some are clipped
TARGETS = torch.tensor([[0., 1., 0.], [.2, .3, .5], [1., 0., 0.]])

LOSSES = {
    'mean_squared_error': losses.mean_squared_error.body, 'categorical_crossentropy': K.categorical_crossentropy.body,
    'binary_crossentropy': K.binary_crossentropy.body}


def compare(pair, function, *inputs):
    """Checks a result and its pullback, for a gradient of its own for each element and for one for all."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    y, expected = pair[0], function(*inputs)
    torch.testing.assert_close(y, expected.detach(), rtol=1e-6, atol=1e-7)
    for dy in (torch.randn(y.shape), .7, torch.tensor(.7)):
        wanted = torch.autograd.grad(expected, inputs, pullbacks.full(dy, expected), retain_graph=True)
        for gradient, value in zip(pair[1](dy), wanted, strict=True):
            torch.testing.assert_close(pullbacks.full(gradient, value), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', LOSSES)
def test_losses(name):
    rule = LOSSES[name].with_pullback
    compare(rule((True, True), TARGETS, PROBABILITIES), LOSSES[name], TARGETS, PROBABILITIES)
    assert rule((False, True), TARGETS, PROBABILITIES)[1](1.)[0] is None


@pytest.mark.parametrize('name', ['mean_squared_error', 'categorical_crossentropy'])
@pytest.mark.parametrize('narrow', [0, 1])
def test_losses_of_what_is_broadcast(name, narrow):
    pair = [x[:, 1:2] if i == narrow else x for i, x in enumerate((TARGETS, PROBABILITIES))]
    compare(LOSSES[name].with_pullback((True, True), *pair), LOSSES[name], *pair)


def test_a_mask_is_broadcast():
    x, mask = torch.randn(2, 3, 4), torch.tensor([[[2., 0., 2., 0.]], [[2., 2., 0., 0.]]])
    y, pullback = pullbacks.times((True,), x, mask)
    torch.testing.assert_close(pullback(.5)[0], .5 * mask.expand(2, 3, 4), rtol=0, atol=0)
    compare((y, pullback), lambda x: x * mask, x)


def test_crossentropy_along_another_axis():
    rule, function = K.categorical_crossentropy.body.with_pullback, K.categorical_crossentropy.body
    compare(rule((True, True), TARGETS, PROBABILITIES, axis=0), lambda *x: function(*x, axis=0), TARGETS, PROBABILITIES)


@pytest.mark.parametrize('axis', [None, -1, 0, [0, 2], []])
def test_mean(axis):
    x = torch.randn(2, 3, 4)
    compare(pullbacks.mean((True,), x, axis), lambda x: K.mean.body(x, axis), x)


@pytest.mark.parametrize('over', [False, True])
@pytest.mark.parametrize('function', pullbacks.ACTIVATIONS)
def test_activations(function, over):
    x = torch.randn(3, 4)
    compare(pullbacks.activation((True,), x.clone(), function, over), function, x)


@pytest.mark.parametrize('shape', [(3, 4), (2, 3, 4)])
def test_dense(shape):
    x, weight, bias = torch.randn(shape), torch.randn(4, 5).t(), torch.randn(5)
    compare(pullbacks.dense((True,) * 3, x, weight, bias), torch.nn.functional.linear, x, weight, bias)


@pytest.mark.parametrize('training', [False, True])
def test_batch_norm(training):
    x, gamma, beta = torch.randn(6, 4), torch.rand(4), torch.randn(4)
    settings = torch.randn(4), torch.rand(4), training, 0., 1e-3, True
    y, pullback = pullbacks.batch_norm((True,) * 3, x, gamma, beta, *settings)
    compare((y, lambda dy: pullback(pullbacks.full(dy, y))), lambda *x: torch.batch_norm(*x, *settings), x, gamma, beta)


def test_by_autograd():
    def call(pair, factor, power):
        return pair[0] * factor + pair[1] ** power
    a, b, factor = torch.randn(3), torch.randn(3), torch.randn(3, requires_grad=True)
    b = pullbacks.as_leaf(b)
    y, pullback = pullbacks.by_autograd([b], [factor], call, [a, b], factor, power=2)
    torch.testing.assert_close(y, (a * factor + b * b).detach())
    assert not y.requires_grad
    for gradient, value in zip(pullback(2.), (4 * b.detach(), 2 * a), strict=True):
        torch.testing.assert_close(gradient, value)


def test_by_autograd_of_what_has_no_gradient():
    y, pullback = pullbacks.by_autograd([x := pullbacks.as_leaf(torch.randn(3))], [], torch.argmax, x)
    assert y.dtype == torch.int64 and pullback(1.) == [None]
