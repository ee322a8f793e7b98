"""Constraints: values that Keras 2.2.4 gave, on live weights, on Variables and in training's torch layout."""
import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import constraints

W = np.array([[3., -0.1, 0.], [-4., 0.2, 0.]], 'float32')

KERAS = [
    (constraints.MaxNorm(2), [[1.2, -0.1, 0], [-1.6, 0.2, 0]]),
    (constraints.MaxNorm(2, axis=1), [[1.99889, -0.06663, 0], [-1.997505, 0.099875, 0]]),
    (constraints.NonNeg(), [[3, 0, 0], [0, 0.2, 0]]),
    (constraints.UnitNorm(), [[0.6, -0.447213, 0], [-0.8, 0.894427, 0]]),
    (constraints.UnitNorm(axis=[0, 1]), [[0.599401, -0.01998, 0], [-0.799201, 0.03996, 0]]),
    (constraints.MinMaxNorm(0.5, 1., rate=0.7), [[1.32, -0.186525, 0], [-1.76, 0.373049, 0]]),
    (constraints.Constraint(), W),
]


@pytest.mark.parametrize('constraint, expected', KERAS, ids=lambda x: type(x).__name__)
def test_values_of_keras(constraint, expected):
    w = torch.tensor(W)
    np.testing.assert_allclose(constraint(w), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(w, W)  # a new weight is made, the old one stays
    np.testing.assert_allclose(K.eval(constraint(K.variable(W))), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('constraint, config', [
    (constraints.max_norm(), {'max_value': 2, 'axis': 0}),
    (constraints.non_neg(), {}),
    (constraints.unit_norm(), {'axis': 0}),
    (constraints.min_max_norm(), {'min_value': 0.0, 'max_value': 1.0, 'rate': 1.0, 'axis': 0}),
])
def test_config_round_trip(constraint, config):
    serialized = constraints.serialize(constraint)
    assert serialized == {'class_name': type(constraint).__name__, 'config': config}
    assert list(serialized['config']) == list(config)
    assert constraints.serialize(constraints.deserialize(serialized)) == serialized


@pytest.mark.parametrize('name', ['maxnorm', 'nonneg', 'unitnorm', 'max_norm', 'non_neg', 'unit_norm', 'min_max_norm',
                                  'MaxNorm'])
def test_names(name):
    assert isinstance(constraints.get(name), getattr(constraints, name))


def test_get():
    assert constraints.get(None) is None
    assert constraints.get(abs) is abs
    with pytest.raises(ValueError, match='Unknown constraint: nope'):
        constraints.get('nope')
    with pytest.raises(ValueError, match='Could not interpret constraint identifier: 3'):
        constraints.get(3)
    with pytest.raises(ValueError, match='Improper config format'):
        constraints.get({'class_name': 'MaxNorm'})
