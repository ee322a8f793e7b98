"""Writes the files of later_files/files.tar.xz, with inputs x0.. and predictions y0.. of each.

    KERAS_BACKEND=tensorflow python make.py FOLDER        TensorFlow, Keras 3 and tf_keras (were 3.15.1 and 2.21.0)
    python make_keras_2.py FOLDER                         Keras 2.2.4, and again Keras 2.3.1
    tar cJf files.tar.xz -C FOLDER .
"""
import pathlib
import sys

import keras
import numpy as np
import tf_keras

FOLDER = pathlib.Path(sys.argv[1])


def masked(k):
    """Where masks go: zeros of Bidirectional, repeated outputs, and layers at which they end."""
    L = k.layers
    x, h = L.Input((5, 2), name='x'), L.Input((3,), name='h')
    m = L.Masking(name='m')(x)
    b = L.Bidirectional(L.LSTM(2, return_sequences=True), name='b')(m)
    s = L.SimpleRNN(3, return_sequences=True, name='s')(m, initial_state=h)
    c = L.RNN([L.GRUCell(2), L.SimpleRNNCell(3)], return_sequences=True, name='c')(m)
    f = L.Flatten(name='f')(L.Concatenate(name='j')([b, s, c]))
    g = L.GlobalMaxPooling1D(name='g')(L.Conv1D(2, 2, name='v')(m))
    return k.Model([x, h], [f, g, L.SimpleRNN(2, name='t')(L.ZeroPadding1D(name='z')(m))])


def images(k):
    L = k.layers
    x = L.Input((2, 3, 2), name='x')
    u = L.UpSampling2D((2, 3), interpolation='bilinear', name='u')(x)
    d = L.Dense(2, kernel_regularizer='l2', name='d')(L.Flatten(name='f')(u))
    return k.Model(x, L.Flatten(name='g')(L.LeakyReLU(name='r')(d)))


def stack(k):
    L = k.layers
    inner = k.Sequential([L.Input((3,)), L.Dense(4, name='p', trainable=False), L.BatchNormalization(name='q'),
                          L.Dense(3, name='r')], name='inner')
    m = k.Sequential([L.Input((3,), name='i'), inner, L.Dense(2, name='s')], name='stack')
    m.compile('adam', 'mse', metrics=['mae'])
    m.fit(np.random.rand(4, 3), np.random.rand(4, 2), verbose=0)
    return m


def flat(k):
    L = k.layers
    return k.Sequential([L.Input((6,)), L.Embedding(5, 3, mask_zero=True), L.Dropout(.3), L.LSTM(3), L.Dense(2)])


def local(k, implementation):
    L = k.layers
    x = L.Input((4, 3, 2), name='x')
    a = L.LocallyConnected2D(2, 2, implementation=implementation, name='a')(x)
    b = L.LocallyConnected1D(2, 2, implementation=implementation, name='b')(L.Reshape((4, 6), name='c')(x))
    return k.Model(x, [a, b])


def inputs(symbol):
    if tuple(symbol.shape) == (None, 6):
        return np.array([[1, 2, 0, 0, 3, 0], [0, 4, 1, 2, 0, 0], [0] * 6])
    x = np.random.uniform(.1, 1, (3, *symbol.shape[1:])).astype('float32')
    if tuple(symbol.shape) == (None, 5, 2):
        x *= np.array([[0, 1, 0, 1, 0], [1, 1, 1, 0, 0], [0] * 5])[:, :, None]
    return x


def write(k, tag, name, model):
    model.set_weights([np.random.uniform(.1, .9, w.shape) for w in model.get_weights()])
    x = [inputs(symbol) for symbol in model.inputs]
    y = model.predict(x if len(x) > 1 else x[0], verbose=0)
    path = str(FOLDER / f'{tag}_{name}')
    np.savez_compressed(f'{path}.npz', **{f'x{i}': a for i, a in enumerate(x)},
                        **{f'y{i}': a for i, a in enumerate(y if isinstance(y, list) else [y])})
    pathlib.Path(f'{path}.json').write_text(model.to_json())
    for suffix in ('.keras', '.h5'):  # Keras 3 forgets its optimizer in the other order
        model.save(path + suffix)
    model.save_weights(f'{path}.weights.h5')


if __name__ == '__main__':
    for k, tag in ((tf_keras, 'tf'), (keras, 'k3')):
        k.utils.set_random_seed(3)
        for make in (masked, images, stack, flat):
            k.backend.clear_session()
            write(k, tag, make.__name__, make(k))
    for i in (1, 2, 3):
        tf_keras.backend.clear_session()
        write(tf_keras, 'tf', f'local{i}', local(tf_keras, i))
