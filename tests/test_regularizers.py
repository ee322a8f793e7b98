"""Regularizers: penalties against their formula, gradients, configs with the rounding of ``floatx()``."""
import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import regularizers

W = np.array([[1., -2.], [0., 3.]], 'float32')


@pytest.mark.parametrize('regularizer, penalty, gradient', [
    (regularizers.l1(0.1), 0.6, [[.1, -.1], [0, .1]]),
    (regularizers.l2(0.1), 1.4, [[.2, -.4], [0, .6]]),
    (regularizers.l1_l2(0.1, 0.01), 0.74, [[.12, -.14], [0, .16]]),
    (regularizers.get('l1_l2'), 0.2, [[.03, -.05], [0, .07]]),
    (regularizers.get('l2'), 0.14, [[.02, -.04], [0, .06]]),
])
def test_penalty_and_gradient(regularizer, penalty, gradient):
    w = torch.tensor(W, requires_grad=True)
    value = regularizer(w)
    value.backward()
    np.testing.assert_allclose(value.item(), penalty, rtol=1e-6)
    np.testing.assert_allclose(w.grad, gradient, rtol=1e-6, atol=1e-8)
    variable = K.variable(W)
    recorded = regularizer(variable)
    np.testing.assert_allclose(K.eval(recorded), penalty, rtol=1e-6)
    K.set_value(variable, 0 * W)  # a recorded penalty follows its variable
    assert K.eval(recorded) == 0


def test_nothing_to_penalise_is_zero():
    assert regularizers.L1L2()(torch.tensor(W)) == 0.
    assert regularizers.Regularizer()(torch.tensor(W)) == 0.


def test_config_is_rounded_to_floatx():
    config = {'class_name': 'L1L2', 'config': {'l1': 0.009999999776482582, 'l2': 0.0}}
    assert regularizers.serialize(regularizers.l1(0.01)) == config
    assert list(config['config']) == list(regularizers.L1L2().get_config())
    assert regularizers.serialize(regularizers.deserialize(config)) == config


def test_get():
    assert regularizers.get(None) is None
    assert regularizers.get(abs) is abs
    with pytest.raises(ValueError, match='Unknown regularizer: l3'):
        regularizers.get('l3')
    with pytest.raises(ValueError, match='Could not interpret regularizer identifier: 3'):
        regularizers.get(3)
