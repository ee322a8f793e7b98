"""The Keras-1 names of arguments, as data: one row for each interface that `legacy.interfaces` makes a decorator of."""
from typing import NamedTuple


class Interface(NamedTuple):
    """How calls written for Keras 1 differ from Keras 2.

    renames: old keyword -> new keyword, in the order in which a warning lists them.
    positional: the arguments that may be given by position; None where that is not checked.
    preprocessor: name of the function in `legacy.interfaces` that does what renaming cannot.
    object_type: ``'class'`` if the warning names the class of the object, ``'method'`` if it names the method.
    """

    renames: dict = {}
    positional: tuple = None
    preprocessor: str = None
    object_type: str = 'class'


# Values that changed along with the keyword, by old keyword.
VALUES = {
    'dim_ordering': {'tf': 'channels_last', 'th': 'channels_first', 'default': None},
    'consume_less': {'cpu': 0, 'mem': 1, 'gpu': 2},
}

# Keras-1 arguments of `fit_generator` and its kin that counted samples where Keras 2 counts batches.
SAMPLE_COUNTS = ('samples_per_epoch', 'val_samples', 'nb_epoch', 'nb_val_samples', 'nb_worker')

_DATA_FORMAT = {'dim_ordering': 'data_format'}
_BIAS = {'b_regularizer': 'bias_regularizer', 'b_constraint': 'bias_constraint', 'bias': 'use_bias'}
_WEIGHTS = {
    'init': 'kernel_initializer',
    'W_regularizer': 'kernel_regularizer',
    'b_regularizer': 'bias_regularizer',
    'W_constraint': 'kernel_constraint',
    'b_constraint': 'bias_constraint',
    'bias': 'use_bias',
}
_IMAGE_CONV = {'nb_filter': 'filters', 'subsample': 'strides', 'border_mode': 'padding', **_DATA_FORMAT}
_FILTERS = ('filters', 'kernel_size')
_POOL = ('pool_size', 'strides', 'padding')

INTERFACES = {
    # core
    'dense': Interface({'output_dim': 'units', **_WEIGHTS}, ('units',)),
    'dropout': Interface({'p': 'rate'}, ('rate', 'noise_shape', 'seed')),
    'spatialdropout1d': Interface({'p': 'rate'}, ('rate',)),
    'spatialdropoutNd': Interface({'p': 'rate', **_DATA_FORMAT}, ('rate',)),
    'lambda': Interface({}, ('function', 'output_shape')),
    'embedding': Interface({
        'init': 'embeddings_initializer',
        'W_regularizer': 'embeddings_regularizer',
        'W_constraint': 'embeddings_constraint',
    }, ('input_dim', 'output_dim'), 'embedding_kwargs_preprocessor'),
    'batchnorm': Interface({'beta_init': 'beta_initializer', 'gamma_init': 'gamma_initializer'}, (),
                           'batchnorm_args_preprocessor'),
    'prelu': Interface({'init': 'alpha_initializer'}, ('alpha_initializer',)),
    'gaussiannoise': Interface({'sigma': 'stddev'}, ('stddev',)),
    'gaussiandropout': Interface({'p': 'rate'}, ('rate',)),

    # convolutions
    'conv1d': Interface({
        'nb_filter': 'filters',
        'filter_length': 'kernel_size',
        'subsample_length': 'strides',
        'border_mode': 'padding',
        **_WEIGHTS,
    }, _FILTERS, 'conv1d_args_preprocessor'),
    'conv2d': Interface({**_IMAGE_CONV, **_WEIGHTS}, _FILTERS, 'conv2d_args_preprocessor'),
    'deconv2d': Interface({**_IMAGE_CONV, **_WEIGHTS}, _FILTERS, 'deconv2d_args_preprocessor'),
    'separable_conv2d': Interface({**_IMAGE_CONV, **_BIAS}, _FILTERS, 'separable_conv2d_args_preprocessor'),
    'conv3d': Interface({**_IMAGE_CONV, **_WEIGHTS}, _FILTERS, 'conv3d_args_preprocessor'),
    'convlstm2d': Interface({
        **_IMAGE_CONV,
        'init': 'kernel_initializer',
        'inner_init': 'recurrent_initializer',
        'W_regularizer': 'kernel_regularizer',
        'U_regularizer': 'recurrent_regularizer',
        'b_regularizer': 'bias_regularizer',
        'inner_activation': 'recurrent_activation',
        'dropout_W': 'dropout',
        'dropout_U': 'recurrent_dropout',
        'bias': 'use_bias',
    }, _FILTERS, 'convlstm2d_args_preprocessor'),

    # images and sequences
    'pooling1d': Interface({'pool_length': 'pool_size', 'stride': 'strides', 'border_mode': 'padding'}, _POOL),
    'pooling2d': Interface({'border_mode': 'padding', **_DATA_FORMAT}, _POOL),
    'pooling3d': Interface({'border_mode': 'padding', **_DATA_FORMAT}, _POOL),
    'global_pooling': Interface(_DATA_FORMAT),
    'upsampling1d': Interface({'length': 'size'}, ('size',)),
    'upsampling2d': Interface(_DATA_FORMAT, ('size',)),
    'upsampling3d': Interface(_DATA_FORMAT, ('size',)),
    'zeropadding2d': Interface(_DATA_FORMAT, ('padding',), 'zeropadding2d_args_preprocessor'),
    'zeropadding3d': Interface(_DATA_FORMAT, ('padding',)),
    'cropping2d': Interface(_DATA_FORMAT, ('cropping',)),
    'cropping3d': Interface(_DATA_FORMAT, ('cropping',)),
    'recurrent': Interface({
        'output_dim': 'units',
        'init': 'kernel_initializer',
        'inner_init': 'recurrent_initializer',
        'inner_activation': 'recurrent_activation',
        'W_regularizer': 'kernel_regularizer',
        'b_regularizer': 'bias_regularizer',
        'U_regularizer': 'recurrent_regularizer',
        'dropout_W': 'dropout',
        'dropout_U': 'recurrent_dropout',
        'consume_less': 'implementation',
    }, ('units',), 'recurrent_args_preprocessor'),

    # models, layers and optimizers as such
    'input': Interface({'input_dtype': 'dtype'}),
    'model_constructor': Interface({'input': 'inputs', 'output': 'outputs'}),
    'generator_methods': Interface({
        'samples_per_epoch': 'steps_per_epoch',
        'val_samples': 'steps',
        'nb_epoch': 'epochs',
        'nb_val_samples': 'validation_steps',
        'nb_worker': 'workers',
        'pickle_safe': 'use_multiprocessing',
        'max_q_size': 'max_queue_size',
    }, ('generator', 'steps_per_epoch', 'epochs'), 'generator_methods_args_preprocessor', 'method'),
    'add_weight': Interface({}, ('name', 'shape'), 'add_weight_args_preprocessing'),
    'get_updates': Interface({}, None, 'get_updates_arg_preprocessing'),
}
