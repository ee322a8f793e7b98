"""A Keras script that trains many models; its last line writes what came out to ``$CASES_OUT/<rank>.npz``.

It is run alone and by torchrun, and only that last line knows of ranks.
"""
import os

import keras
import numpy as np
from keras import backend as K
from keras.callbacks import (
    BackupAndRestore,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
)
from keras.layers import (
    LSTM,
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    Input,
    Lambda,
    Masking,
    TimeDistributed,
    concatenate,
)
from keras.models import Model, Sequential, load_model

import kfacade

out, out_dir = {}, os.environ['CASES_OUT']
unseeded = Sequential([Dense(4, input_shape=(3,))])
unseeded.compile('adam', 'mse')
unseeded.fit(np.random.rand(10, 3), np.random.rand(10, 4), batch_size=4, epochs=2, verbose=0)
out['unseeded/w0'] = unseeded.get_weights()[0]
out['unseeded/set'] = ''.join(set('abcdefgh'))
np.random.seed(1)
data = np.random.RandomState(0)
x, y = data.rand(50, 10), data.randint(0, 3, 50)
onehot = keras.utils.to_categorical(y, 3)


def keep(case, model=None, history=None, **values):
    if model is not None:
        values.update((f'w{i}', w) for i, w in enumerate(model.get_weights()))
    if history is not None:
        values.update(history.history)
    out.update((f'{case}/{name}', np.asarray(value)) for name, value in values.items())


def dense():
    model = Sequential([Dense(8, activation='relu', input_shape=(10,), kernel_regularizer='l2'), Dropout(.3),
                        GaussianNoise(.1), Dense(8, activity_regularizer=keras.regularizers.l1(1e-3)),
                        Dense(3, activation='softmax')])
    model.compile('adam', 'categorical_crossentropy', metrics=['acc', 'top_k_categorical_accuracy'],
                  weighted_metrics=['mae'])
    files = [os.path.join(out_dir, name) for name in ('best.h5', 'log.csv', 'board')]
    ends = []
    history = model.fit(x, onehot, batch_size=16, epochs=4, validation_split=.2, class_weight={0: 1., 1: 2., 2: .5},
                        callbacks=[ModelCheckpoint(files[0], save_best_only=True, verbose=1), CSVLogger(files[1]),
                                   EarlyStopping(patience=2), ReduceLROnPlateau(patience=1, verbose=1, min_delta=1.),
                                   LambdaCallback(on_batch_end=lambda i, logs: ends.append(logs['size'])),
                                   BackupAndRestore(os.path.join(out_dir, 'backup')),
                                   *[TensorBoard(files[2])] * ('CASES_BOARD' in os.environ)])  # a long import
    fetched = keras.utils.get_file('fetched.py', 'file://' + os.path.abspath(__file__))
    assert os.path.getsize(fetched) == os.path.getsize(__file__)
    model.summary()
    restored = load_model(files[0])
    keep('dense', model, history, sizes=ends, prediction=model.predict(x, batch_size=7), best=restored.get_weights()[0],
         evaluation=model.evaluate(x, onehot, batch_size=9, sample_weight=np.arange(50.), verbose=0))


def weighted():
    model = Sequential([Dense(4, input_shape=(10,), activation='tanh'), Dense(1)])
    model.compile(keras.optimizers.SGD(.1, momentum=.9, clipnorm=1.), 'mse', metrics=['mae'])
    weights = data.rand(50) * (data.rand(50) > .3)
    history = model.fit(x, y, batch_size=16, epochs=3, sample_weight=weights, verbose=2,
                        validation_data=(x[:20], y[:20], weights[:20]))
    step = model.train_on_batch(x[:5], y[:5], class_weight={0: 1., 1: 3., 2: 2.})
    few = model.train_on_batch(x[:1], y[:1]), model.test_on_batch(x[:2], y[:2], sample_weight=np.array([1., 0.]))
    keep('weighted', model, history, step=step, few=few, on_batch=model.predict_on_batch(x[:1]),
         by_function=model.train_function([x[:7], y[:7, None], np.ones(7)]))


def masked():
    words = data.randint(0, 6, (30, 5))
    model = Sequential([Embedding(6, 4, mask_zero=True, input_length=5), LSTM(4, return_sequences=True),
                        TimeDistributed(Dense(3, activation='softmax'))])
    model.compile('rmsprop', 'sparse_categorical_crossentropy', metrics=['sparse_categorical_accuracy'],
                  sample_weight_mode='temporal')
    targets = data.randint(0, 3, (30, 5, 1))
    history = model.fit(words, targets, batch_size=8, epochs=3, sample_weight=data.rand(30, 5), verbose=0)
    keep('masked', model, history, evaluation=model.evaluate(words, targets, verbose=0),
         prediction=model.predict(words))


class Total(keras.layers.Layer):
    """A stateful metric: how many predictions were above 0.5 so far."""

    def __init__(self):
        super().__init__(name='total')
        self.stateful, self.sum = True, K.variable(0, dtype='int32')

    def reset_states(self):
        K.set_value(self.sum, 0)

    def __call__(self, y_true, y_pred):
        above = K.sum(K.cast(y_pred > .5, 'int32'))
        self.add_update(K.update_add(self.sum, above), inputs=[y_true, y_pred])
        return self.sum + above


def of_the_batch(y_true, y_pred):  # each sample counts relative to all others
    return K.mean(K.square(y_pred - y_true), axis=-1) / (1. + K.std(y_pred)) + K.square(K.mean(y_pred))


def several():
    a, b = Input((10,)), Input((4, 2))
    joined = keras.layers.concatenate([Dense(4, activation='relu')(a), LSTM(3)(Masking()(b))])
    first, second = Dense(1, activation='sigmoid', name='first')(joined), Dense(2, name='second')(joined)
    model = Model([a, b], [first, second])
    model.compile('adagrad', {'first': 'binary_crossentropy', 'second': of_the_batch},
                  metrics={'first': [Total(), 'acc'], 'second': lambda t, p: K.max(p)}, loss_weights=[.3, 2.])
    sequences = data.rand(50, 4, 2) * (data.rand(50, 4, 1) > .3)
    history = model.fit([x, sequences], [y > 0, data.rand(50, 2)], batch_size=12, epochs=2, verbose=0)
    predictions = model.predict([x, sequences], batch_size=50)
    keep('several', model, history, first=predictions[0], second=predictions[1])


def normalized(sync):
    images, inputs = data.rand(22, 6, 6, 2), Input((6, 6, 2))
    once = Sequential([Conv2D(3, 3, input_shape=(6, 6, 2)), BatchNormalization(), Activation('relu'), Flatten(),
                       BatchNormalization(axis=1, momentum=.9, scale=False), Dense(3, activation='softmax')])
    twice = Model(inputs, keras.layers.average([once(inputs), once(Lambda(lambda z: 1. - z)(inputs))]))
    for name, model in (('once', once), ('twice', twice)):
        model.compile('sgd', 'categorical_crossentropy', metrics=['acc'], sync_batchnorm=sync)
        history = model.fit(images, onehot[:22], batch_size=8, epochs=2, verbose=0)
        case = f'{name}_{"synchronized" if sync else "apart"}'
        keep(case, model, history, prediction=model.predict(images))


def statistics():
    model = Sequential([BatchNormalization(input_shape=(10,))])
    model.compile('sgd', 'mse')
    loss = model.train_on_batch(x[:11], x[:11])
    keep('statistics', x=x[:11], loss=loss, mean=model.get_weights()[2], variance=model.get_weights()[3])


def generated():
    def batches():
        while True:
            order = np.random.permutation(40)
            for i in range(0, 40, 13):
                yield x[order[i:i + 13]], onehot[order[i:i + 13]], np.linspace(0., 1., len(order[i:i + 13]))

    class Batches(keras.utils.Sequence):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return x[i * 15:i * 15 + 15], onehot[i * 15:i * 15 + 15]

    model = Sequential([Dense(8, activation='relu', input_shape=(10,)), Dense(3, activation='softmax')])
    model.compile('adamax', 'categorical_crossentropy', metrics=['acc'])
    first = model.fit_generator(batches(), steps_per_epoch=4, epochs=2, validation_data=Batches(), verbose=0)
    second = model.fit_generator(Batches(), epochs=2, workers=2, verbose=0, class_weight={0: 1., 1: 2., 2: 3.},
                                 validation_data=(x[:17], onehot[:17]))
    keep('generator', model, first)
    keep('sequence', model, second, evaluation=model.evaluate_generator(Batches()),
         prediction=model.predict_generator(Batches()))


class Plain(keras.optimizers.Optimizer):
    """An optimizer as scripts write them."""

    def __init__(self, lr=.1):
        super().__init__()
        self.lr = K.variable(lr)

    def get_updates(self, loss, params):
        self.updates = [K.update(p, p - self.lr * g) for p, g in zip(params, self.get_gradients(loss, params))]
        return self.updates


def custom():
    model = Sequential([Dense(6, activation='tanh', input_shape=(10,)), Dropout(.2), Dense(1)])
    model.compile(Plain(), 'mse')
    keep('custom', model, model.fit(x, y, batch_size=11, epochs=2, verbose=0))


def variational():
    inputs = Input((10,))
    mean, spread = Dense(2)(inputs), Dense(2)(inputs)

    def sample(parts):
        return parts[0] + K.exp(parts[1]) * K.random_normal(K.shape(parts[0]))
    decoded = Dense(10)(Lambda(sample)([mean, spread]))
    model = Model(inputs, decoded)
    model.add_loss(K.mean(10. * K.mean(K.square(inputs - decoded), axis=-1)
                          - .5 * K.sum(1. + spread - K.square(mean) - K.exp(spread), axis=-1)))
    model.compile('adam')
    keep('variational', model, model.fit(x, None, batch_size=12, epochs=2, verbose=0))


def penalized():
    inputs = Input((10,))
    output = Dense(1)(Dense(5, activation='tanh')(inputs))
    model = Model(inputs, output)

    def loss(y_true, y_pred):
        slopes = K.gradients(y_pred, inputs)[0]
        return K.mean(K.square(y_pred - y_true)) + K.mean(K.square(1. - K.sqrt(K.sum(K.square(slopes), axis=1))))
    model.compile('adam', loss)
    keep('penalized', model, model.fit(x, y, batch_size=12, epochs=2, verbose=0))


def adversarial():
    generator = Sequential([Dense(6, activation='relu', input_shape=(3,)), Dense(10)])
    critic = Sequential([Dense(6, activation='relu', input_shape=(10,)), Dense(1, activation='sigmoid')])
    critic.compile('adam', 'binary_crossentropy', metrics=['accuracy'])
    critic.trainable = False
    noise = Input((3,))
    both = Model(noise, critic(generator(noise)))
    both.compile('adam', 'binary_crossentropy')
    losses = []
    for _ in range(3):
        fake = generator.predict(np.random.normal(size=(6, 3)))
        losses.append(critic.train_on_batch(np.concatenate([x[:7], fake]), np.r_[np.ones(7), np.zeros(6)]))
        losses.append([both.train_on_batch(np.random.normal(size=(9, 3)), np.ones(9)), 0.])
    keep('adversarial', both, losses=losses)


def stateful():
    model = Sequential([LSTM(3, batch_input_shape=(5, 2, 5), stateful=True), Dense(1)])
    model.compile('sgd', 'mse')
    keep('stateful', model, model.fit(x.reshape(50, 2, 5), y, batch_size=5, epochs=2, shuffle=False, verbose=0))


def stepped():
    model = Sequential([Dense(3, input_shape=(10,))])
    model.compile('sgd', 'mse')
    keep('stepped', model, model.fit(x, onehot, epochs=2, steps_per_epoch=3, verbose=0),
         evaluation=model.evaluate(x, onehot, steps=2, verbose=0), prediction=model.predict(x, steps=1))
    model.fit(x, onehot, epochs=2, batch_size=11, shuffle='batch', verbose=0)
    keep('shuffled', model)


def placed():
    """On two devices of each rank, where there are virtual ones."""
    inputs, others, shared = Input((2, 5)), Input((10,)), LSTM(4)
    there = kfacade.device_scope('/gpu:1' if 'KERAS_VIRTUAL_DEVICES' in os.environ else None)
    left = shared(inputs)
    with there:
        middle = Dense(3, name='middle')(concatenate([left, shared(Lambda(lambda x: x * 2)(inputs)), others]))
    model = Model([inputs, others], [middle, Dense(1)(Dropout(.2)(middle))])
    data, targets = [x.reshape(50, 2, 5), x], [onehot, y]
    model.compile(keras.optimizers.SGD(.1, momentum=.9), 'mse', metrics=['mae'])
    keep('placed', model, model.fit(data, targets, batch_size=11, epochs=2, verbose=0, validation_split=.2),
         prediction=model.predict(data)[0], evaluation=model.evaluate(data, targets, verbose=0))
    model.compile(Plain(), 'mse')
    keep('own_placed', model, step=model.train_on_batch([x[:7].reshape(7, 2, 5), x[:7]], [onehot[:7], y[:7]]))


for case in (dense, weighted, masked, several, generated, custom, variational, penalized, adversarial, stateful,
             stepped, placed, statistics):
    case()
def mixed():
    model = Sequential([Dense(8, activation='relu', input_shape=(10,)), Dense(3, activation='softmax')])
    model.compile('adam', 'categorical_crossentropy', mixed_precision='float16')
    keep('mixed', model, model.fit(x, onehot, batch_size=12, epochs=2, verbose=0))


mixed()
normalized(sync=True)
normalized(sync=False)
np.savez(os.path.join(out_dir, os.environ.get('RANK', 'alone')), **out)
