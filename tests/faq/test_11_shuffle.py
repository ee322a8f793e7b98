"""Is the data shuffled during training? Anew each epoch, unless `shuffle=False`; data for validation never."""
import faq_harness as faq
import numpy as np

from kfacade import optimizers
from kfacade.callbacks import Callback
from kfacade.layers import Dense
from kfacade.models import Sequential

X = np.arange(8, dtype='float32').reshape(8, 1)


class Order(Callback):
    """Which rows come, batch by batch: the loss of a batch of one row is that row's square."""

    def on_train_begin(self, logs=None):
        self.epochs, self.validation = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append([])

    def on_batch_end(self, batch, logs=None):
        self.epochs[-1].append(round(float(logs['loss']) ** .5))

    def on_epoch_end(self, epoch, logs=None):
        self.validation.append(self.validation_data[0].ravel().tolist())


def fitted(**kwargs):
    np.random.seed(0)
    model = Sequential([Dense(1, input_shape=(1,), kernel_initializer='ones')])
    model.compile(optimizers.SGD(0.), 'mse')
    order = Order()
    model.fit(X, 0 * X, validation_split=.25, batch_size=1, epochs=3, verbose=0, callbacks=[order], **kwargs)
    return order


def test_each_epoch_has_an_order_of_its_own():
    assert 'shuffle' in faq.inline('shuffle')
    order = fitted()
    assert order.epochs == fitted(shuffle=True).epochs == ORDERS  # numpy's, and so Keras' own after that seed
    assert all(sorted(epoch) == [0, 1, 2, 3, 4, 5] for epoch in order.epochs)


def test_without_it_the_order_is_that_of_the_data():
    assert fitted(shuffle=False).epochs == [[0, 1, 2, 3, 4, 5]] * 3


def test_validation_data_is_not_shuffled():
    assert fitted().validation == [[6, 7]] * 3


ORDERS = [[5, 2, 1, 3, 0, 4], [2, 3, 0, 5, 1, 4], [5, 4, 3, 0, 1, 2]]
