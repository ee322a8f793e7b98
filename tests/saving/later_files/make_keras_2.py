"""Writes what make.py says, by the Keras that runs it."""
import pathlib
import sys

import keras
import numpy as np
from keras.layers import BatchNormalization, Dense
from keras.models import Sequential

FOLDER = pathlib.Path(sys.argv[1])
VERSION = keras.__version__


def frozen():
    """A nested model of which one layer is frozen, so that the weights of the others come first in the file."""
    inner = Sequential([Dense(3, input_shape=(3,), name='a'), BatchNormalization(name='n'), Dense(3, name='b')],
                       name='inner')
    inner.layers[0].trainable = False
    model = Sequential([inner, Dense(2, name='top')])
    model.set_weights([np.random.rand(*array.shape) for array in model.get_weights()])
    x = np.random.rand(2, 3)
    model.save_weights(str(FOLDER / 'frozen.h5'))
    np.savez_compressed(str(FOLDER / 'frozen.npz'), x=x, y=model.predict(x))


def trained(name):
    """A model in training: two steps, the file, and what it predicts after two more."""
    model = Sequential([Dense(3, input_shape=(3,), activation='tanh'), Dense(3)])
    model.compile(name, 'mse')
    x, y = np.random.rand(8, 3), np.random.rand(8, 3)
    for _ in range(2):
        model.train_on_batch(x, y)
    model.save(str(FOLDER / f'trained_{name}.h5'))
    for _ in range(2):
        model.train_on_batch(x, y)
    np.savez_compressed(str(FOLDER / f'trained_{name}.npz'), x=x, y=y, p=model.predict(x))


if __name__ == '__main__':
    np.random.seed(3)
    if VERSION.startswith('2.3'):
        for optimizer in ('rmsprop', 'adagrad', 'adadelta', 'nadam'):
            trained(optimizer)
    else:
        frozen()
