"""Names that Keras 2.2.4 does not have, imported one by one."""
import keras
import numpy as np
from keras.layers import (
    Conv2D,
    Dense,
    LayerNormalization,  # missing
    MultiHeadAttention,  # missing
)
from keras.models import Model, Sequential, load_model
from keras.optimizers import SGD, AdamW  # missing
import keras.experimental  # missing
from keras.layers.experimental import preprocessing  # missing
from keras.mixed_precision import set_global_policy as policy  # missing

policy('float16')
model = Sequential([Dense(3, input_shape=(4,)), LayerNormalization(), preprocessing.Rescaling(1 / 255)])
model.compile(SGD(lr=.1), 'mse')
model.fit(np.zeros((2, 4)), np.zeros((2, 3)), epochs=1)
