"""How can I record the training and validation loss and accuracy at each epoch? `fit` returns them."""
import faq_harness as faq
import numpy as np

from kfacade.layers import Dense
from kfacade.models import Sequential

HISTORY, = faq.blocks('history')


def test_fit_returns_the_history(capsys):
    X, y = faq.numbers(20, 3), np.eye(2)[np.arange(20) % 2]
    model = faq.fill(Sequential([Dense(2, input_shape=(3,), activation='softmax')]))
    model.compile('sgd', 'categorical_crossentropy', metrics=['accuracy'])
    names = {'model': model, 'X': X, 'y': y}
    faq.run(HISTORY, names, [('validation_split=0.2', 'validation_split=0.2, epochs=2, verbose=0')])
    history = names['hist'].history
    assert str(history) in capsys.readouterr().out
    assert history.keys() == HISTORIES.keys() and names['hist'].epoch == [0, 1]
    for key, values in HISTORIES.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-5)


HISTORIES = {'val_loss': [.97842866, .97834909], 'val_acc': [.25, .25], 'loss': [1.0943943, 1.0918169],
             'acc': [.4375, .4375]}  # of Keras 2.2.4
