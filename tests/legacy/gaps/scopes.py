"""Names that mean other things elsewhere."""
import importlib

import keras
from keras import layers, models
from keras.applications import VGG16, resnet50
from keras.layers import Dense, merge

losses = keras.losses
D, C = keras.layers.Dense, keras.layers.Conv2D
BN = keras.layers.BatchNorm  # missing


def build(layers, models=None):
    return layers.Whatever(models.Anything)  # parameters


def freeze(model):
    from keras import regularizers as R
    for layer in model.layers:
        layer.kernel_regularizer = R.l1_l3(.1)  # missing
    model.some_method()
    return [x for x in model.layers if isinstance(x, layers.Dense)], R.l2(.1)


class Net(models.Model):
    layers = None

    def call(self, x):
        return layers.SpectralDense(3)(self.layers.Thing(x))  # missing


keras.layers.Mine = Net
x = keras.layers.Mine()
keras_utils = importlib.import_module('keras.utils')
keras_utils.plot_graph()  # missing
vgg = VGG16(weights=None, include_top=False, classifier=None)  # missing
vgg.freeze_all()  # missing
vgg.layers[0].anything()
base = models.load_model('x.h5')
base.export('y')  # missing
base.summary()
both = merge([base.output, vgg.output], mode='concat')  # missing
f = lambda K: K.anything  # noqa: E731
print(getattr(keras, 'ops'), getattr(keras, 'ops', None), losses.hinge, resnet50.ResNet50V2)  # missing
custom = keras.layers.Dense(3, kernel_initializer=lambda shape: keras.initializers.nonsense)  # missing
