"""Writes the archives beside this file, with inputs x0.. and predictions y0.. of each. Needs Keras 3 (was 3.15.1).

    KERAS_BACKEND=torch python make.py
"""
import pathlib
import zipfile

import keras
import numpy as np
from keras import Input, Model, Sequential
from keras import layers as L

FOLDER = pathlib.Path(__file__).parent


def dense():
    model = Sequential([Input((4,)), L.Dense(5, activation='tanh'), L.BatchNormalization(), L.Dropout(.3),
                        L.LeakyReLU(negative_slope=.1), L.Dense(2)])
    model.compile(keras.optimizers.Adam(0.002), keras.losses.MeanSquaredError(),
                  metrics=['mae', keras.metrics.MeanSquaredError()])
    model.fit(np.random.randn(16, 4), np.random.randn(16, 2), verbose=0)
    return model


def images():
    image = Input((8, 8, 2), name='image')
    x = L.Conv2D(3, 3, padding='same', activation='relu')(image)
    x = L.SeparableConv2D(4, 3)(L.MaxPooling2D(padding='same')(x))
    y = L.GlobalAveragePooling2D()(x)
    return Model(image, L.concatenate([L.Add()([y, L.Dense(4)(L.Flatten()(x))]), y]))


def sequences():
    numbers = Input((6,), dtype='int32')
    x = L.Bidirectional(L.LSTM(2, return_sequences=True))(L.Embedding(7, 3)(numbers))
    x = L.TimeDistributed(L.Dense(3))(x)
    _, state = L.GRU(3, return_state=True)(x)
    return Model(numbers, [L.GRU(3, reset_after=False)(x, initial_state=state),
                           L.RNN([L.LSTMCell(2), L.SimpleRNNCell(3)])(x)])


def masked():
    numbers, vectors = Input((6,), dtype='int32'), Input((5, 2))
    x = L.TimeDistributed(L.Dense(3))(L.Dropout(.2)(L.Embedding(7, 3, mask_zero=True)(numbers)))
    y = L.LSTM(2)(L.Masking(.5)(vectors))
    return Model([numbers, vectors], L.concatenate([L.GRU(2)(x), L.Bidirectional(L.LSTM(2))(x), y]))


def nested():
    inner = Sequential([Input((3,)), L.Dense(4, trainable=False), L.BatchNormalization(), L.Dense(3)], name='inner')
    a, b = Input((3,)), Input((3,))
    return Model([a, b], L.Subtract()([inner(a), L.Dense(3)(inner(b))]))


def frames():
    image = Input((3, 5, 5, 2))
    x = L.ConvLSTM2D(2, 3, padding='same', recurrent_activation='sigmoid', kernel_regularizer='l2')(image)
    x = L.ZeroPadding1D(1)(L.Reshape((5, 10))(x))
    return Model(image, L.Dense(2, kernel_regularizer='l1')(x))


def inputs(symbol):
    if symbol.dtype == 'int32':
        return np.random.randint(0, 7, (3, 6))
    if symbol.shape == (None, 5, 2):  # to be masked where all is 0.5
        return np.random.randint(0, 2, (3, 5, 2)).astype('float32') / 2
    return np.random.randn(3, *symbol.shape[1:]).astype('float32')


if __name__ == '__main__':
    keras.utils.set_random_seed(3)
    for make in (dense, images, sequences, masked, nested, frames):
        model, path = make(), FOLDER / f'{make.__name__}.keras'
        for weight in model.weights:
            weight.assign(np.random.uniform(.1, .9, weight.shape))
        x = [inputs(symbol) for symbol in model.inputs]
        y = model.predict(x if len(x) > 1 else x[0], verbose=0)
        y = y if isinstance(y, list) else [y]
        np.savez_compressed(FOLDER / f'{make.__name__}.npz', **{f'x{i}': array for i, array in enumerate(x)},
                            **{f'y{i}': array for i, array in enumerate(y)})
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
