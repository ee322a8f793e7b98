"""A script that fails on one rank in the middle of the training, after rank 0 alone has written a file."""
import os

import keras
import numpy as np
from keras.layers import Dense
from keras.models import Sequential

model = Sequential([Dense(1, input_shape=(2,))])
model.compile('sgd', 'mse')
model.fit(np.ones((8, 2)), np.ones(8), epochs=1, verbose=0)
if os.environ['RANK'] == '0':
    model.save_weights('alone.h5')


def fail(epoch, logs):
    if epoch == 1 and os.environ['RANK'] == '1':
        raise OSError('the disk of rank 1')


model.fit(np.ones((8, 2)), np.ones(8), epochs=10 ** 9, verbose=0,
          callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=fail)])
