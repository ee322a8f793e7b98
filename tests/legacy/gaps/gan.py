from __future__ import print_function

from keras.datasets import mnist, emnist  # missing
from keras.layers import Input, Dense, Reshape, Flatten, Dropout, LeakyReLU
from keras.layers.advanced_activations import PReLU, GELU  # missing
from keras.layers.convolutional import UpSampling2D, Conv2D
from keras.models import Sequential, Model
from keras.optimizers import Adam
from keras.utils.generic_utils import Progbar
from keras_preprocessing.image import load_img
import keras_applications.efficientnet  # missing
import matplotlib.pyplot as plt
from .local import something


class GAN():
    def __init__(self):
        optimizer = Adam(0.0002, 0.5)
        self.discriminator = self.build_discriminator()
        self.discriminator.compile(loss='binary_crossentropy', optimizer=optimizer, metrics=['accuracy'])
        z = Input(shape=(100,))
        self.combined = Model(z, self.discriminator(self.build_generator()(z)))
        self.combined.compile(loss='binary_crossentropy', optimizer=optimizer)
        self.combined.optimizer.lr = 1e-4

    def build_generator(self):
        model = Sequential()
        model.add(Dense(256, input_dim=100))
        model.add(LeakyReLU(alpha=0.2))
        model.add(LeakyReLU(negative_slope=0.2))  # missing
        noise = Input(shape=(100,))
        model.summary()
        return Model(noise, model(noise), nme='generator')

    def build_discriminator(self):
        model = Sequential()
        model.add(Flatten(input_shape=(28, 28, 1)))
        model.add(Dense(1, activation='sigmoid'))
        return model

    def train(self, epochs):
        (x_train, _), (_, _) = mnist.load_data()
        bar = Progbar(epochs, unit_name='epoch')  # missing
        for epoch in range(epochs):
            self.discriminator.train_on_batch(x_train, [1])
