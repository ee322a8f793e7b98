"""The workloads as Keras source: the same functions run on kfacade and on every peer.

Each takes the `keras` module to use and gives a compiled model. Only numpy is imported, so that an interpreter without
torch can run them, too.
"""
import collections

import numpy as np

# `data(random, samples)` gives inputs and targets as a Keras script feeds them; one run is one pass over the samples.
Workload = collections.namedtuple('Workload', 'build data samples batch_size')


def _dense_data(features):
    def data(random, samples):
        x = random.randn(samples, features).astype('float32')
        return x, x[:, :1] - x[:, 1:2]
    return data


def _class_data(*shape):
    def data(random, samples):
        # Centred: units that die under positive inputs leave moments that decay to denormal numbers, which are slow.
        x = random.randn(samples, *shape).astype('float32')
        return x, np.eye(10, dtype='float32')[random.randint(10, size=samples)]
    return data


def _word_data(random, samples):
    return random.randint(20000, size=(samples, 80)), random.randint(2, size=(samples, 1)).astype('float32')


def _sequence_data(features):
    def make(random, samples):
        x = random.randn(samples, 80, features).astype('float32')
        return x, random.randint(2, size=(samples, 1)).astype('float32')
    return make


def tiny(keras):
    """16-16-16-1: nearly all of its time is overhead."""
    Dense = keras.layers.Dense
    model = keras.models.Sequential([
        Dense(16, activation='relu', input_shape=(16,)), Dense(16, activation='relu'), Dense(1)])
    model.compile(loss='mean_squared_error', optimizer='adam')
    return model


def mlp(keras):
    """The network of Keras' mnist_mlp.py."""
    Dense, Dropout = keras.layers.Dense, keras.layers.Dropout
    model = keras.models.Sequential([
        Dense(512, activation='relu', input_shape=(784,)), Dropout(0.2), Dense(512, activation='relu'), Dropout(0.2),
        Dense(10, activation='softmax')])
    model.compile(loss='categorical_crossentropy', optimizer='rmsprop', metrics=['accuracy'])
    return model


def mnist_cnn(keras):
    """The network of Keras' mnist_cnn.py."""
    layers = keras.layers
    model = keras.models.Sequential([
        layers.Conv2D(32, (3, 3), activation='relu', input_shape=(28, 28, 1)),
        layers.Conv2D(64, (3, 3), activation='relu'), layers.MaxPooling2D((2, 2)), layers.Dropout(0.25),
        layers.Flatten(), layers.Dense(128, activation='relu'), layers.Dropout(0.5),
        layers.Dense(10, activation='softmax')])
    model.compile(loss='categorical_crossentropy', optimizer='adadelta', metrics=['accuracy'])
    return model


def _blocks(keras, size):
    """Colour images, and four convolutions of them with batch normalization."""
    layers = keras.layers
    image = x = layers.Input((size, size, 3))
    for filters in (32, 64):
        for _ in range(2):
            x = layers.Conv2D(filters, (3, 3), padding='same')(x)
            x = layers.Activation('relu')(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D((2, 2))(x)
    return image, x


def bn_convnet(keras):
    """Four convolutions with batch normalization on small colour images."""
    image, x = _blocks(keras, 32)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.models.Model(image, keras.layers.Dense(10, activation='softmax')(x))
    model.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
    return model


def frozen_base(keras):
    """A new top on a frozen base of convolutions and batch normalization."""
    layers = keras.layers
    image, x = _blocks(keras, 64)
    base = keras.models.Model(image, x)
    for layer in base.layers:
        layer.trainable = False
    x = layers.Conv2D(64, (3, 3), padding='same', activation='relu')(base.output)
    model = keras.models.Model(image, layers.Dense(10, activation='softmax')(layers.GlobalAveragePooling2D()(x)))
    model.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
    return model


def _one_lstm(keras, gates):
    layers = keras.layers
    words = layers.Input((80,))
    x = layers.LSTM(128, recurrent_activation=gates)(layers.Embedding(20000, 128)(words))
    model = keras.models.Model(words, layers.Dense(1, activation='sigmoid')(x))
    model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
    return model


def lstm(keras):
    """The network of Keras' imdb_lstm.py without its dropout, with sigmoid gates."""
    return _one_lstm(keras, 'sigmoid')


def lstm_default(keras):
    """The same with the gates that are Keras 2's default, which no fused kernel has."""
    return _one_lstm(keras, 'hard_sigmoid')


def gru(keras):
    """One GRU in the variant that cuDNN and torch have."""
    layers = keras.layers
    steps = layers.Input((80, 64))
    x = layers.GRU(128, recurrent_activation='sigmoid', reset_after=True)(steps)
    model = keras.models.Model(steps, layers.Dense(1, activation='sigmoid')(x))
    model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
    return model


def own_cell(keras):
    """`RNN` over a cell of one's own, of eight backend functions."""
    layers, ops = keras.layers, keras.backend if hasattr(keras.backend, 'dot') else keras.ops

    class Cell(layers.Layer):
        state_size = output_size = 32

        def build(self, input_shape):
            self.w = self.add_weight(name='w', shape=(32, 32), initializer='glorot_uniform')
            self.u = self.add_weight(name='u', shape=(32, 32), initializer='orthogonal')
            self.b = self.add_weight(name='b', shape=(1, 32), initializer='zeros')

        def call(self, inputs, states):
            a, h = ops.dot(inputs, self.w) + self.b, states[0]
            n = ops.tanh(a * ops.sigmoid(a + ops.dot(h, self.u)))
            h = ops.maximum(n, ops.relu(ops.square(n) - ops.abs(h)))
            return h, [h]

    steps = layers.Input((80, 32))
    model = keras.models.Model(steps, layers.Dense(1, activation='sigmoid')(layers.RNN(Cell())(steps)))
    model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
    return model


def vgg(keras, shape, blocks, hidden=(), classes=10):
    """3x3 convolutions in blocks of the given numbers of filters, with a pooling after each; not compiled."""
    layers = keras.layers
    model = keras.models.Sequential([layers.InputLayer(shape)])
    for block in blocks:
        for filters in block:
            model.add(layers.Conv2D(filters, 3, padding='same', activation='relu'))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten() if hidden else layers.GlobalAveragePooling2D())
    for units in hidden:
        model.add(layers.Dense(units, activation='relu'))
    model.add(layers.Dense(classes, activation='softmax'))
    return model


def vgg16(keras):
    """The network of VGG16, of 138 million weights, not compiled."""
    return vgg(keras, (224, 224, 3), [(64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3], (4096, 4096), 1000)


def resnet50(keras):
    """The functional graph of ResNet50 (175 layers, an input and a padding), not compiled."""
    layers = keras.layers

    def convolution(x, filters, size, relu=True, **options):
        x = layers.BatchNormalization()(layers.Conv2D(filters, size, **options)(x))
        return layers.Activation('relu')(x) if relu else x

    def block(x, filters, shortcut=None, strides=1):
        y = convolution(x, filters, 1, strides=strides)
        y = convolution(y, filters, 3, padding='same')
        y = convolution(y, 4 * filters, 1, relu=False)
        if shortcut:
            x = convolution(x, 4 * filters, 1, relu=False, strides=strides)
        return layers.Activation('relu')(layers.add([y, x]))

    image = layers.Input((224, 224, 3))
    x = convolution(layers.ZeroPadding2D((3, 3))(image), 64, 7, strides=2)
    x = layers.MaxPooling2D((3, 3), strides=2)(x)
    for stage, count in enumerate((3, 4, 6, 3)):
        for i in range(count):
            x = block(x, 64 * 2 ** stage, shortcut=i == 0, strides=2 if stage and i == 0 else 1)
    x = layers.Flatten()(layers.AveragePooling2D((7, 7))(x))
    return keras.models.Model(image, layers.Dense(1000, activation='softmax')(x))


WORKLOADS = {
    'tiny': Workload(tiny, _dense_data(16), 8000, 8),
    'mlp_32': Workload(mlp, _class_data(784), 6400, 32),
    'mlp_512': Workload(mlp, _class_data(784), 10240, 512),
    'mnist_cnn': Workload(mnist_cnn, _class_data(28, 28, 1), 1280, 128),
    'bn_convnet': Workload(bn_convnet, _class_data(32, 32, 3), 960, 32),
    'frozen_base': Workload(frozen_base, _class_data(64, 64, 3), 320, 32),
    'lstm': Workload(lstm, _word_data, 640, 32),
    'lstm_default': Workload(lstm_default, _word_data, 640, 32),
    'gru': Workload(gru, _sequence_data(64), 960, 32),
    'own_cell': Workload(own_cell, _sequence_data(32), 320, 16),
}
