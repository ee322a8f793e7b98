"""tf.keras, which is kfacade only where that is asked for."""
import tensorflow as tf
from tensorflow import keras  # missing
from tensorflow.keras.layers import Dense  # missing
from tensorflow.keras import backend as K  # missing

model = keras.models.Sequential([Dense(2)])
x = tf.keras.layers.Input((3,))  # missing
