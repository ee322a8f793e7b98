"""Small models, trained in a float type other than float32; run by the real Keras 2.2.4, this file writes floatx.npz.

There, new values are computed from the old ones before any is assigned, as in the goldens.
"""
import numpy as np

OPTIMIZERS = 'sgd', 'rmsprop', 'adagrad', 'adadelta', 'adam', 'adamax', 'nadam'


def nets(keras):
    L, sequential = keras.layers, keras.models.Sequential
    # name: layers, shape of a sample (None: words), loss
    return {
        'dense': (lambda: sequential([L.Dense(4, activation='relu', input_shape=(5,), kernel_regularizer='l2'),
                                      L.Dense(3, activation='softmax')]), (5,), 'categorical_crossentropy'),
        'binary': (lambda: sequential([L.Dense(4, activation='tanh', input_shape=(5,)),
                                       L.Dense(3, activation='sigmoid')]), (5,), 'binary_crossentropy'),
        'normalized': (lambda: sequential([L.Dense(4, input_shape=(5,)), L.BatchNormalization(), L.Dense(3)]), (5,),
                       'mse'),
        'recurrent': (lambda: sequential([L.Masking(input_shape=(4, 3)), L.LSTM(3, return_sequences=True), L.GRU(3),
                                          L.Dense(3)]), (4, 3), 'mae'),
        'both_ways': (lambda: sequential([L.Bidirectional(L.GRU(2, reset_after=True, return_sequences=True),
                                                          input_shape=(4, 3)), L.LSTM(3, implementation=2)]), (4, 3),
                      'mse'),
        'words': (lambda: sequential([L.Embedding(6, 3, input_length=4, mask_zero=True), L.SimpleRNN(3),
                                      L.Dense(3, activation='softmax')]), None, 'categorical_crossentropy'),
        'images': (lambda: sequential([L.Conv2D(3, 2, input_shape=(6, 6, 2), activation='relu'),
                                       L.SeparableConv2D(3, 2), L.MaxPooling2D(), L.Flatten(), L.Dense(3)]), (6, 6, 2),
                   'mse'),
    }


def results(keras, name, floatx, path):
    """What training one of the `nets` gives, as arrays by ``<name>/<float type>/<optimizer>/<what>``."""
    build, shape, loss = nets(keras)[name]
    rng, found = np.random.RandomState(len(name)), {}
    x = rng.randint(0, 6, (12, 4)) if shape is None else rng.uniform(-1, 1, (12, *shape))
    y = np.eye(3)[rng.randint(0, 3, 12)]
    if name == 'recurrent':
        x[:5, 2:] = 0
    weights = None
    for optimizer in OPTIMIZERS if name == 'dense' else ['adam']:
        keras.backend.clear_session()
        model = build()
        weights = weights or [rng.uniform(.5, 1, w.shape) if (w == 1).all() else rng.uniform(-.5, .5, w.shape)
                              for w in model.get_weights()]
        model.set_weights(weights)
        model.compile(optimizer, loss, metrics=['mae'])
        history = model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0,
                            sample_weight=np.linspace(.5, 1, 12)).history
        kept = dict(history, predict=model.predict(x), evaluate=model.evaluate(x, y, verbose=0))
        kept.update((f'w{i}', w) for i, w in enumerate(model.get_weights()))
        kept.update((f'o{i}', w) for i, w in enumerate(model.optimizer.get_weights()))
        model.save(path)
        kept['on_batch'] = keras.models.load_model(path).train_on_batch(x, y)
        found.update(('/'.join([name, floatx, optimizer, key]), np.asarray(value)) for key, value in kept.items())
    return found


def _without_races(keras):
    import tensorflow as tf
    backend, K = keras.backend.tensorflow_backend, keras.backend
    plain = backend.Function.__init__

    def init(self, inputs, outputs, updates=None, **kwargs):
        pairs = [u for u in updates or [] if isinstance(u, tuple)]
        values = [tf.identity(value) for _, value in pairs]
        with tf.control_dependencies(values + list(outputs)):
            later = [tf.identity(value) for value in values]
        plain(self, inputs, outputs, updates=[u for u in updates or [] if not isinstance(u, tuple)]
              + [(variable, value) for (variable, _), value in zip(pairs, later)], **kwargs)
    backend.Function.__init__ = init
    for module in (K, backend):
        module.update = lambda x, new: (x, new)
        module.update_add = lambda x, new: (x, x + new)
        module.update_sub = lambda x, new: (x, x - new)


if __name__ == '__main__':
    import os
    import sys
    import tempfile

    import keras
    _without_races(keras)
    everything = {}
    for kind in ('float64', 'float16'):
        keras.backend.set_floatx(kind)
        keras.backend.set_epsilon(1e-7 if kind == 'float64' else 1e-4)
        for each in nets(keras):
            if not sys.argv[1:] or each in sys.argv[1:]:
                print(kind, each)
                everything.update(results(keras, each, kind, os.path.join(tempfile.mkdtemp(), 'm.h5')))
    np.savez_compressed(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'floatx'), **everything)
