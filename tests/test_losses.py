"""Loss functions: values and gradients that Keras 2.2.4 gave for targets and predictions at and beyond every edge."""
import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import losses, objectives
from kfacade.utils.generic_utils import custom_object_scope

TARGETS = np.array([[0., 1., 0.], [1., 0., 0.], [0., 0., 1.], [-1., 1., 0.5]], 'float32')
PREDICTIONS = np.array([[0.2, 0.7, 0.1], [1., 0., 0.], [0.9, 0.4, 0.], [1., -0.3, 2.]], 'float32')
CLASSES = np.array([[1.], [0.], [2.], [0.]], 'float32')

# name: (values, gradients with respect to the predictions)
KERAS = {
    'mean_squared_error': (
        [0.046667, 0., 0.656667, 2.646667],
        [[.13333, -.2, .06667], [0, 0, 0], [.6, .26667, -.66667], [1.33333, -.86667, 1.]]),
    'mean_absolute_error': (
        [0.2, 0., 0.766667, 1.6],
        [[.33333, -.33333, .33333], [0, 0, 0], [.33333, .33333, -.33333], [.33333, -.33333, .33333]]),
    'mean_absolute_percentage_error': (
        [100000008., 0., 433333344., 210.000015],
        [[333333312., -33.33333, 333333312.], [0, 0, 0], [333333312., 333333312., -33.33333],
         [33.33333, -33.33333, 66.66666]]),
    'mean_squared_logarithmic_error': (
        [0.022913, 0., 0.335214, 0.480453],
        [[.10129, -.06373, .05776], [0, 0, 0], [.22521, .16022, 0], [.23105, 0, .15403]]),
    'squared_hinge': (
        [0.696667, 0.666667, 1., 1.896667],
        [[0, -.2, 0], [0, 0, 0], [0, 0, -.66667], [1.33333, -.86667, 0]]),
    'hinge': (
        [0.766667, 0.666667, 1., 1.1],
        [[0, -.33333, 0], [-.33333, 0, 0], [0, 0, -.33333], [.33333, -.33333, -.16667]]),
    'categorical_hinge': (
        [0.5, 0., 1.9, 3.3],
        [[1, -1, 0], [0, 0, 0], [1, 0, -1], [3, -1, -.5]]),
    'logcosh': (
        [0.023067, 0., 0.290522, 0.95298],
        [[.06579, -.0971, .03322], [0, 0, 0], [.23877, .12665, -.25386], [.32134, -.28724, .30172]]),
    'categorical_crossentropy': (
        [0.356675, 0., 16.118095, 15.274896],
        [[1, -.42857, 1], [0, 0, 0], [0, 0, 0], [.81481, -.18519, -.43519]]),
    'sparse_categorical_crossentropy': (
        [0.356675, 0., 16.380461, 0.693147],
        [[1, -.42857, 1], [0, 0, 0], [.76923, .76923, 0], [0, 0, 0]]),
    'binary_crossentropy': (
        [0.228393, 0., 6.310502, 18.658018],
        [[.41667, -.47619, .37037], [0, 0, 0], [3.33333, .55556, 0], [0, 0, 0]]),
    'kullback_leibler_divergence': (
        [0.356672, 0., 16.118092, 15.77152],
        [[0, -1.42857, 0], [-1, 0, 0], [0, 0, 0], [0, 0, 0]]),
    'poisson': (
        [0.452225, 0.333333, 5.806032, np.nan],
        [[.33333, -.14286, .33333], [0, .33333, .33333], [.33333, .33333, -3333333.25], [.66667, 1.44444, .25]]),
    'cosine_proximity': (
        [-0.952579, -1., 0., 0.088648],
        [[.35281, -.126, .1764], [0, 0, 0], [0, 0, -1.01535], [.27808, -.29027, -.18258]]),
}


def targets_of(name):
    return CLASSES if name.startswith('sparse') else TARGETS


@pytest.mark.parametrize('name', KERAS)
def test_values_and_gradients_of_keras(name):
    predictions = torch.tensor(PREDICTIONS, requires_grad=True)
    values = getattr(losses, name)(torch.tensor(targets_of(name)), predictions)
    expected, gradients = KERAS[name]
    np.testing.assert_allclose(values.detach(), expected, rtol=1e-5, atol=2e-6)
    values.sum().backward()
    np.testing.assert_allclose(predictions.grad, gradients, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', KERAS)
def test_recorded_equals_live(name):
    """Symbols with an unknown batch, given to `K.function`, and Variables both give what live tensors give."""
    targets = targets_of(name)
    y_true, y_pred = K.placeholder((None, targets.shape[1])), K.placeholder((None, 3))
    loss = getattr(losses, name)(y_true, y_pred)
    assert K.int_shape(loss) == (None,)
    live = getattr(losses, name)(torch.tensor(targets), torch.tensor(PREDICTIONS)).numpy()
    np.testing.assert_array_equal(K.function([y_true, y_pred], [loss])([targets, PREDICTIONS])[0], live)
    recorded = getattr(losses, name)(K.variable(targets), K.variable(PREDICTIONS))
    np.testing.assert_array_equal(K.eval(recorded), live)


@pytest.mark.parametrize('name', KERAS)
def test_only_the_last_axis_is_reduced(name):
    targets = targets_of(name)
    flat = getattr(losses, name)(torch.tensor(targets), torch.tensor(PREDICTIONS))
    deep = getattr(losses, name)(torch.tensor(targets.reshape(2, 2, -1)), torch.tensor(PREDICTIONS.reshape(2, 2, 3)))
    np.testing.assert_allclose(deep.reshape(-1), flat, rtol=1e-6)


@pytest.mark.parametrize('name', KERAS)
def test_arrays_and_numbers(name):
    """An array may stand beside a tensor, live or recorded, and so may a number, of any numeric type."""
    targets, loss = targets_of(name), getattr(losses, name)
    live = loss(torch.tensor(targets), torch.tensor(PREDICTIONS))
    np.testing.assert_array_equal(loss(targets.astype(float), torch.tensor(PREDICTIONS)), live)
    np.testing.assert_array_equal(K.eval(loss(targets, K.variable(PREDICTIONS))), live)
    np.testing.assert_array_equal(K.eval(loss(targets, PREDICTIONS)), live)
    if name == 'mean_squared_error':
        np.testing.assert_allclose(K.eval(loss(0, K.variable(PREDICTIONS))), (PREDICTIONS ** 2).mean(1), rtol=1e-6)


def test_epsilon_is_read_at_each_call():
    K.set_epsilon(0.5)
    try:
        value = losses.mean_absolute_percentage_error(torch.zeros(1, 1), torch.ones(1, 1))
    finally:
        K.set_epsilon(1e-7)
    assert value.item() == 200.


@pytest.mark.parametrize('alias, name', [
    ('mse', 'mean_squared_error'), ('MSE', 'mean_squared_error'), ('mae', 'mean_absolute_error'),
    ('MAPE', 'mean_absolute_percentage_error'), ('msle', 'mean_squared_logarithmic_error'),
    ('kld', 'kullback_leibler_divergence'), ('KLD', 'kullback_leibler_divergence'), ('cosine', 'cosine_proximity')])
def test_aliases_serialize_to_the_full_name(alias, name):
    assert losses.serialize(losses.get(alias)) == name
    assert losses.get(name) is getattr(objectives, name)


def test_get():
    def mine(y_true, y_pred):
        return y_pred
    assert losses.get(None) is None
    assert losses.get(mine) is mine
    assert losses.deserialize('mine', custom_objects={'mine': mine}) is mine
    with custom_object_scope({'mine': mine}):
        assert losses.get('mine') is mine
    with pytest.raises(ValueError, match='Unknown loss function:mine'):
        losses.get('mine')
    with pytest.raises(ValueError, match="Unknown loss function:mean_square_error. Did you mean 'mean_squared_error'"):
        losses.get('mean_square_error')
    with pytest.raises(ValueError, match='Could not interpret loss function identifier: 3'):
        losses.get(3)


def test_a_function_put_into_the_module_is_known(monkeypatch):
    monkeypatch.setattr(losses, 'mine', lambda y_true, y_pred: y_pred, raising=False)
    assert losses.get('mine') is losses.mine


@pytest.mark.parametrize('name', ['K', 'op', 'as_tensor', 'torch', 'get', 'deserialize_keras_object', '__name__',
                                  '_of_tensors'])
def test_what_the_module_imports_is_no_loss(name):
    for identifier in (name, {'class_name': name, 'config': {}}):
        with pytest.raises(ValueError, match='Unknown loss function'):
            losses.get(identifier)
