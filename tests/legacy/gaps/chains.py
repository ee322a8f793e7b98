"""Chains of attributes, by all spellings of modules."""
import keras as k
import keras.backend as K
import keras.layers as KL
from keras import activations, layers, losses as L
from keras.utils import np_utils


class Attention(KL.Layer):
    def build(self, input_shape):
        self.w = self.add_weight(name='w', shape=(input_shape[-1], 1), initializer='uniform')
        super(Attention, self).build(input_shape)

    def call(self, x):
        e = K.tanh(K.dot(x, self.w))
        a = K.softmax(e, axis=1)
        weights = K.einsum('ijk,ij->ik', x, a)  # missing
        return K.sum(x * a, axis=1) + 0 * K.clip_by_norm(  # missing
            weights, 1.)


def swish(x):
    return x * activations.sigmoid(x) + activations.gelu(x)  # missing


x = k.Input(shape=(3, 4))
y = KL.Dense(3)(k.layers.LayerNorm()(x))  # missing
y = layers.Dense(2)(y) if k.backend.image_data_format() == 'channels_last' else layers.Identity()(y)  # missing
labels = np_utils.to_categorical([0, 1], 2)
loss = L.Huber()  # missing
other = L.mean_squared_error
