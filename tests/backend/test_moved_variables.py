"""Variables that a layer keeps without having made them its weights go where the model goes."""
import numpy as np
import torch

from kfacade import backend as K
from kfacade.layers import Dense, Layer
from kfacade.models import Sequential


class Counting(Layer):
    """Keeps variables as an attribute and in a list, none of them listed as a weight."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.total = K.variable(1.5)
        self.parts = [K.variable(np.ones(3)), K.variable(2, dtype='int32')]

    def call(self, x):
        return x * self.total + self.parts[0]


class Seen(Layer):
    """A stateful metric: the sum of all predictions."""

    def __init__(self, **kwargs):
        super().__init__(name='seen', **kwargs)
        self.stateful, self.sum = True, K.variable(0)

    def reset_states(self):
        K.set_value(self.sum, 0)

    def __call__(self, y_true, y_pred):
        total = self.sum + K.sum(y_pred)
        self.add_update(K.update(self.sum, total), inputs=[y_true, y_pred])
        return total


def test_conversion_reaches_the_variables_that_are_no_weights():
    layer = Counting(input_shape=(3,))
    model = Sequential([layer]).double()
    assert [v.dtype for v in (layer.total, *layer.parts)] == [torch.float64, torch.float64, torch.int32]
    np.testing.assert_array_equal(model.predict(np.ones((1, 3))), [[2.5] * 3])
    assert not model.state_dict() and not list(model.parameters()) and not model.weights


def test_a_move_reaches_them_too():
    layer = Counting(input_shape=(3,))
    Sequential([layer]).to('meta')
    assert {v.param.device.type for v in (layer.total, *layer.parts)} == {'meta'}


def test_a_layer_does_not_move_the_weights_of_another():
    owner, borrower = Dense(2, input_shape=(3,)), Counting(input_shape=(3,))
    Sequential([owner])
    borrower.borrowed = owner.kernel
    borrower.double()
    assert owner.kernel.dtype == torch.float32 and borrower.total.dtype == torch.float64


def test_stateful_metrics_follow_the_model():
    metric, model = Seen(), Sequential([Dense(1, kernel_initializer='ones', input_shape=(3,))])
    model.compile('sgd', 'mse', metrics=[metric])
    model.double()
    assert metric.sum.dtype == torch.float64
    loss, seen = model.evaluate(np.ones((4, 3)), np.ones((4, 1)), batch_size=2, verbose=0)
    assert seen == 12.
    model.to('meta')
    assert metric.sum.param.is_meta
