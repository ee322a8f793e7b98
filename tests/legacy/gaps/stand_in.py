"""TensorFlow."""
import tensorflow as tf
from tensorflow.python.client import device_lib
from tensorflow.python.framework import ops
from tensorflow.python.ops import array_ops, math_ops
from tensorflow.examples.tutorials.mnist import input_data  # missing
from keras import backend as K
from keras.backend.tensorflow_backend import set_session

config = tf.ConfigProto(allow_soft_placement=True)
config.gpu_options.allow_growth = True
set_session(tf.Session(config=config))


def focal_loss(y_true, y_pred, gamma=2.):
    p = tf.where(tf.equal(y_true, 1), y_pred, tf.ones_like(y_pred))
    p = tf.clip_by_value(p, 1e-7, 1.) + tf.math.bessel_i0(p)  # missing
    q = K.tf.reduce_mean(p, keep_dims=True) + K.tf.reduce_variance(p)  # missing
    return -tf.reduce_sum(tf.pow(1. - p, gamma) * tf.log(p), reduction_indices=-1) + tf.nn.relu(q)


dataset = tf.data.Dataset.from_tensor_slices([1, 2])  # missing
layer = tf.layers.dense  # missing
w = tf.get_variable('w', (2, 2))  # missing
tf.logging.set_verbosity(tf.logging.ERROR)
print(device_lib.list_local_devices(), array_ops.shape(w), math_ops.cast(w, tf.float32), input_data)
with tf.Session() as sess, tf.device('/cpu:0'):
    sess.run(tf.global_variables_initializer())
