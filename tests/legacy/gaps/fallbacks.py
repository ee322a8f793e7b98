"""What an exception or a condition keeps the script from."""
import sys

import keras
from keras import backend as K
try:
    from keras.layers import Merge  # covered
except ImportError:
    from keras.layers import add as Merge
try:
    from keras.layers.normalization import LayerNormalization  # covered
except:
    LayerNormalization = None
try:
    import tensorflow.contrib.eager as tfe  # covered
except (ImportError, AttributeError) as error:
    tfe = None

if K.backend() == 'theano':
    import theano.tensor as T
    shuffle = K.pattern_broadcast  # covered
elif K.backend() == 'cntk':
    shuffle = K.cntk_only  # covered
else:
    shuffle = K.tf_only  # missing

if hasattr(K, 'moveaxis'):
    move = K.moveaxis  # covered
else:
    move = K.permute_dimensions

dot = K.batch_dot if not hasattr(keras.layers, 'Einsum') else keras.layers.Einsum  # covered
if keras.__version__.startswith('1.'):
    from keras.layers import TimeDistributedDense  # covered
if int(keras.__version__.split('.')[0]) >= 2 and sys.version_info >= (3, 0):
    from keras.layers import Attention  # missing
else:
    from keras.layers import MaskedLayer  # covered
if len(sys.argv) > 1:
    from keras.layers import Normalization  # missing
flag = hasattr(K, 'floatz') and K.floatz()  # covered
if len(sys.argv) > 1 and hasattr(K, 'arcsin'):
    flag = K.arcsin(flag)  # covered
if K.backend() == 'tensorflow' or K.not_reached():  # covered
    flag = K.arccos(flag)  # missing


def run(model):
    try:
        model.fit(K.not_there)  # missing
    except Exception as error:
        print(error)
    try:
        K.set_image_dim_ordering('th')
    except AttributeError:
        K.set_the_data_format('channels_first')  # missing
