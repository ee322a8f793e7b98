"""A stateful LSTM: what it has seen in earlier batches, it still knows in this one.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.stateful_lstm [SHARE]`; SHARE, 1 by
default, shortens it. Long series of random numbers are cut into short pieces; the target at each step is the mean of
the last ten numbers, most of which lie in earlier pieces. A stateful network can learn it, a stateless one cannot.
"""
import sys

import numpy as np
from keras.layers import LSTM, Dense, TimeDistributed
from keras.models import Sequential

SHARE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.
SERIES, STEPS, PIECE, MEMORY = 16, int(1000 * SHARE) // 4 * 4, 4, 10
EPOCHS = max(1, int(15 * SHARE))

np.random.seed(7)
numbers = np.random.uniform(-1, 1, (SERIES, STEPS))
sums = np.cumsum(np.pad(numbers, ((0, 0), (MEMORY, 0)), 'constant'), axis=1)
means = (sums[:, MEMORY:] - sums[:, :-MEMORY]) / MEMORY


def pieces(series):
    """Cut so that sample i of each batch goes on where sample i of the batch before ended."""
    return series.reshape(SERIES, -1, PIECE, 1).swapaxes(0, 1).reshape(-1, PIECE, 1)


x, y = pieces(numbers), pieces(means)
split = int(.8 * (STEPS // PIECE)) * SERIES

errors = {}
for stateful in (False, True):
    model = Sequential([
        LSTM(24, return_sequences=True, stateful=stateful, batch_input_shape=(SERIES, PIECE, 1)),
        TimeDistributed(Dense(1)),
    ])
    model.compile(loss='mse', optimizer='adam')
    for epoch in range(EPOCHS):
        model.fit(x[:split], y[:split], batch_size=SERIES, epochs=epoch + 1, initial_epoch=epoch, verbose=2,
                  shuffle=False)
        model.reset_states()
    model.predict(x[:split], batch_size=SERIES)  # so that the test goes on from the end of the training series
    errors[stateful] = model.evaluate(x[split:], y[split:], batch_size=SERIES, verbose=0)

print('Variance of the targets: ', round(float(y[split:].var()), 5))
print('Mean squared error, stateless:', round(float(errors[False]), 5))
print('Mean squared error, stateful: ', round(float(errors[True]), 5))
