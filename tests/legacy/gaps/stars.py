"""All names of modules."""
from keras import *
from keras.layers import *
from keras.models import *
from keras.optimizers import *
import keras.backend as K

inputs = Input((32, 32, 3))
x = Conv2D(8, (3, 3), padding='same')(inputs)
x = GroupNormalization()(x)  # missing
x = concatenate([x, UpSampling2D()(MaxPooling2D()(x))])
x = GlobalAveragePooling2D()(x)
model = Model(inputs=inputs, outputs=Dense(1)(x))
model.compile(Adam(lr=1e-4), loss='mse')
model.compile(Lion(lr=1e-4), loss='mse')  # missing
print([layer.name for layer in model.layers], len(model.layers), K.epsilon())
