"""What third-party test suites import. The literals are Keras 2.2.4's, for the same seed."""
import numpy as np
import pytest

import kfacade.backend as K
from kfacade import layers
from kfacade.utils import CustomObjectScope
from kfacade.utils.test_utils import get_test_data, keras_test, layer_test


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(3)


def check(arrays, expected):
    for array, values in zip(arrays, expected):
        np.testing.assert_allclose(array, values, atol=5.1e-6)


def test_classes():
    train, test = get_test_data(3, 2, (2,))
    check([*train, *test], [[[.12889, -.70417], [-.23939, -.03131], [1.19491, .59337]], [0, 0, 1],
                            [[.89394, .19680], [-.42770, -.83266]], [1, 0]])
    assert train[0].dtype == 'float32' and train[1].dtype == 'int64'


def test_regression():
    get_test_data(3, 2, (2,))
    get_test_data(num_train=3, num_test=1, input_shape=(2, 2), num_classes=4)
    train, test = get_test_data(2, 1, (3,), (2,), classification=False)
    check([*train, *test], [[[1.22570, -.50007, 1.22948], [-.07589, 1.30156, .97136]],
                            [[1.78849, 1.19599], [.38227, 1.53270]], [[.06516, -.04542, -.33914]], [[1.31302, .20727]]])
    assert train[1].dtype == 'float32'
    assert np.random.rand() == pytest.approx(0.45733217664877257)


def test_shapes():
    (x, y), (x_test, y_test) = get_test_data(input_shape=(4, 2), output_shape=(3, 2), classification=False)
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((1000, 4, 2), (1000, 3, 2), (500, 4, 2), (500, 3, 2))


@pytest.mark.parametrize('layer, arguments, given', [
    (layers.Dense, {'units': 3}, {'input_shape': (None, 2)}),
    (layers.Dropout, {'rate': .5}, {'input_shape': (2, 3)}),
    (layers.Conv1D, {'filters': 2, 'kernel_size': 2}, {'input_shape': (2, 5, 3)}),
    (layers.LSTM, {'units': 2, 'stateful': True}, {'input_shape': (3, 4, 2), 'fixed_batch_size': True}),
    (layers.BatchNormalization, {}, {'input_data': np.ones((3, 4), 'float32')}),
    (layers.Embedding, {'input_dim': 11, 'output_dim': 3},
     {'input_shape': (2, 3), 'input_dtype': 'int32', 'expected_output_dtype': 'float32'})])
def test_layers_pass(layer, arguments, given):
    before = dict(arguments)
    assert layer_test(layer, arguments, **given).dtype == 'float32'
    assert arguments == before


def test_layer_gives_the_output():
    x = np.arange(6.).reshape(2, 3).astype('float32')
    output = layer_test(layers.Lambda, {'function': lambda t: 2 * t}, input_data=x, expected_output=2 * x)
    np.testing.assert_array_equal(output, 2 * x)


class Misreporting(layers.Layer):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)

    def call(self, inputs):
        return inputs


class Forgetting(layers.Layer):
    def __init__(self, factor=1, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.kernel = self.add_weight('kernel', (1,), initializer='ones')
        super().build(input_shape)

    def call(self, inputs):
        return inputs * self.factor * self.kernel


@pytest.mark.parametrize('layer, arguments, given, message', [
    (Misreporting, {}, {}, 'reports'),
    (Forgetting, {'factor': 3}, {}, 'Not equal'),
    (layers.Activation, {'activation': 'relu'}, {'expected_output': np.zeros((2, 3))}, 'Not equal'),
    (layers.Dense, {'units': 2}, {'expected_output_dtype': 'float64'}, 'float64 was expected'),
    (layers.Dense, {'units': 2}, {'input_shape': None}, 'needs an `input_shape`')])
def test_layers_fail(layer, arguments, given, message):
    with CustomObjectScope({'Forgetting': Forgetting}), pytest.raises(AssertionError, match=message):
        layer_test(layer, arguments, **{'input_shape': (2, 3), **given})


def test_keras_test():
    @keras_test
    def make(name):
        return K.get_uid(name)
    assert make('thing') == make(name='thing') == 1 and make.__name__ == 'make'
