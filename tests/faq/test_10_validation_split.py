"""How is the validation split computed? It is the end of the data, taken before anything is shuffled."""
import faq_harness as faq
import numpy as np
import pytest

from kfacade import optimizers
from kfacade.callbacks import Callback
from kfacade.layers import Dense
from kfacade.models import Sequential

X = np.arange(25, dtype='float32').reshape(25, 1)


class Seen(Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.rows = self.validation_data[0].ravel().tolist()


@pytest.mark.parametrize('split, first', [(.1, 22), (.2, 20), (.5, 12), (.01, 24)])
def test_the_last_part_is_for_validation(split, first):
    """`validation_spilt` in the page."""
    assert 'validation_spilt' in faq.inline('validation_spilt')
    model = Sequential([Dense(1, input_shape=(1,), kernel_initializer='ones')])
    model.compile(optimizers.SGD(0.), 'mse')  # it stays as it is
    seen = Seen()
    np.random.seed(0)
    hist = model.fit(X, 0 * X, validation_split=split, epochs=2, verbose=0, shuffle=True, callbacks=[seen])
    assert seen.rows == list(range(first, 25))
    np.testing.assert_allclose(hist.history['val_loss'], [np.mean(X[first:] ** 2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(hist.history['loss'], [np.mean(X[:first] ** 2)] * 2, rtol=1e-6)
