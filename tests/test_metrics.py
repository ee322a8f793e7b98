"""Metric functions: values that Keras 2.2.4 gave, ties and rounding included."""
import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import losses, metrics

TARGETS = torch.tensor([[0., 1., 0.], [1., 0., 0.], [0., 0., 1.], [-1., 1., 0.5]])
PREDICTIONS = torch.tensor([[0.2, 0.7, 0.1], [1., 0., 0.], [0.9, 0.4, 0.], [1., -0.3, 2.]])


def test_binary_accuracy_rounds_halves_to_even():
    y_true = torch.tensor([[0., 1., 1.], [1., 0., 0.]])
    y_pred = torch.tensor([[0.5, 1.5, 0.51], [0.6, 0.4, 2.5]])
    np.testing.assert_allclose(metrics.binary_accuracy(y_true, y_pred), [2 / 3, 2 / 3], rtol=1e-6)


def test_categorical_accuracy():
    assert metrics.categorical_accuracy(TARGETS, PREDICTIONS).tolist() == [1, 1, 0, 0]
    ties = torch.tensor([[0.5, 0.5, 0.]])
    assert metrics.categorical_accuracy(torch.tensor([[1., 0., 0.]]), ties).tolist() == [1]  # the first one wins


def test_sparse_categorical_accuracy():
    classes = torch.tensor([[1.], [0.], [2.], [2.]])
    assert metrics.sparse_categorical_accuracy(classes, PREDICTIONS).tolist() == [1, 1, 0, 1]
    per_step = metrics.sparse_categorical_accuracy(classes.reshape(2, 2, 1), PREDICTIONS.reshape(2, 2, 3))
    assert per_step.tolist() == [[1, 1], [0, 1]]


def test_top_k_is_a_scalar_over_the_batch():
    value = metrics.top_k_categorical_accuracy(TARGETS[:3], PREDICTIONS[:3], k=2)
    np.testing.assert_allclose(value, 2 / 3, rtol=1e-6)
    value = metrics.sparse_top_k_categorical_accuracy(torch.tensor([[0.], [2.], [2.]]), PREDICTIONS[:3], k=2)
    # the class 2 of the second sample ties with class 1 for the second place, and that counts
    np.testing.assert_allclose(value, 2 / 3, rtol=1e-6)
    assert metrics.top_k_categorical_accuracy(torch.eye(6), torch.eye(6)).item() == 1.


@pytest.mark.parametrize('name, y_true', [
    ('binary_accuracy', TARGETS), ('categorical_accuracy', TARGETS),
    ('sparse_categorical_accuracy', torch.tensor([[1.], [0.], [2.], [2.]]))])
def test_recorded_equals_live(name, y_true):
    metric = getattr(metrics, name)
    symbols = [K.placeholder((None, y_true.shape[1])), K.placeholder((None, 3))]
    value = metric(*symbols)
    assert K.int_shape(value) == (None,) and K.dtype(value) == 'float32'
    np.testing.assert_array_equal(K.function(symbols, [value])([y_true.numpy(), PREDICTIONS.numpy()])[0],
                                  metric(y_true, PREDICTIONS))


def test_get():
    assert metrics.get('MAE') is losses.mean_absolute_error
    assert metrics.serialize(metrics.binary_accuracy) == 'binary_accuracy'
    for wrong in (None, 3):
        with pytest.raises(ValueError, match='Could not interpret metric function identifier'):
            metrics.get(wrong)
    with pytest.raises(ValueError, match='Unknown metric function:acuracy'):
        metrics.get('acuracy')


def test_a_config_makes_a_custom_metric():
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    metric = metrics.deserialize({'class_name': 'Scaled', 'config': {'factor': 3}}, custom_objects={'Scaled': Scaled})
    assert metric.factor == 3
