"""How can I use stateful RNNs? With a fixed batch size and `stateful=True`; `reset_states` begins anew."""
import faq_harness as faq
import numpy as np

from kfacade import backend as K
from kfacade.layers import LSTM, Dense
from kfacade.models import Sequential

EXAMPLE, = faq.blocks('statful_RNN')
X = np.abs(faq.numbers(32, 21, 16))
X /= X.sum(-1, keepdims=True)  # its rows are targets, too


def states(model):
    return [K.get_value(state) for state in model.layers[0].states]


def test_the_example_of_the_page():
    names = {'X': X, 'np': np, 'Sequential': Sequential, 'LSTM': LSTM, 'Dense': Dense}  # not imported by the page
    data, build, compiling, first, follow_up, reset, reset_layer = faq.paragraphs(EXAMPLE)
    for part in (data, build, compiling):
        faq.run(part, names)
    model = names['model']
    faq.fill(model)
    assert not np.any(states(model))
    losses = [faq.run(first, names)]
    after_first = states(model)
    losses.append(faq.run(follow_up, names))
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-5)  # of Keras 2.2.4 on one thread, where its updates do not race
    np.testing.assert_allclose([state[0, :3] for state in after_first], FIRST, rtol=1e-4)
    np.testing.assert_allclose([state[0, :3] for state in states(model)], SECOND, rtol=1e-4)
    for part in (reset, reset_layer):
        model.predict(X[:, :10], batch_size=32)
        assert all(np.any(state) for state in states(model))
        faq.run(part, names)
        assert not np.any(states(model))


def test_predictions_go_on_from_the_state():
    names = {'X': X, 'np': np, 'Sequential': Sequential, 'LSTM': LSTM, 'Dense': Dense}
    faq.run(faq.paragraphs(EXAMPLE)[1], names)
    model = faq.fill(names['model'], .1)
    whole = Sequential([LSTM(32, input_shape=(20, 16)), Dense(16, activation='softmax')])
    whole.set_weights(model.get_weights())
    model.predict(X[:, :10], batch_size=32)
    np.testing.assert_allclose(model.predict(X[:, 10:20], batch_size=32), whole.predict(X[:, :20]), rtol=1e-5)
    model.reset_states()
    model.predict_classes(X[:, :10], batch_size=32)  # moves the state, too
    np.testing.assert_allclose(model.predict(X[:, 10:20], batch_size=32), whole.predict(X[:, :20]), rtol=1e-5)


LOSSES = [2.8594873, 2.8353508]
FIRST = [[-.17660604, .44435835, -.12440746], [-.61202657, .68243289, -.20893884]]
SECOND = [[-.23388425, .44989383, -.11859394], [-.68881166, .75693381, -.20440225]]
