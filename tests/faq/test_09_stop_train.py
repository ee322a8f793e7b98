"""How can I interrupt training when the validation loss is not decreasing any more? With EarlyStopping."""
import faq_harness as faq
import numpy as np

from kfacade import optimizers
from kfacade.layers import Dense
from kfacade.models import Sequential

EARLY, = faq.blocks('early_stopping')
MENDED = [('validation_split=0.2', 'validation_split=0.2, epochs=20, verbose=0')]  # the page trains for one epoch


def trained(slope):
    """A line through 8 points of slope 1, validated on 2 of slope `slope`."""
    X = np.linspace(.1, 1, 10).reshape(10, 1)
    y = np.concatenate([X[:8], slope * X[8:]])
    model = Sequential([Dense(1, input_shape=(1,), kernel_initializer='zeros')])
    model.compile(optimizers.SGD(.1), 'mse')
    names = {'model': model, 'X': X, 'y': y}
    hist = faq.run(EARLY, names, MENDED)
    return hist.history['val_loss'], names['early_stopping']


def test_training_ends_two_epochs_after_the_best():
    losses, callback = trained(.5)
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-4)
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 20 and callback.stopped_epoch == best + 2


def test_training_goes_on_while_it_decreases():
    losses, callback = trained(1)
    assert len(losses) == 20 and callback.stopped_epoch == 0 and losses == sorted(losses, reverse=True)
    np.testing.assert_allclose(losses[-1], LAST, rtol=1e-4)


LOSSES = [.1137699, .05371206, .02285048, .00803947, .0018824018, .00025250937, .00087558303, .002521202]
LAST = .11150862
