"""The Keras-1 names of arguments, as data: one row for each interface that `legacy.interfaces` makes a decorator of."""
from typing import NamedTuple

# What an old keyword is called now, unless a row says otherwise.
_NEW_NAMES = {
    # sizes and rates
    'output_dim': 'units', 'nb_filter': 'filters', 'filter_length': 'kernel_size', 'subsample': 'strides',
    'subsample_length': 'strides', 'border_mode': 'padding', 'dim_ordering': 'data_format', 'pool_length': 'pool_size',
    'stride': 'strides', 'length': 'size', 'p': 'rate', 'sigma': 'stddev',
    # weights
    'init': 'kernel_initializer', 'inner_init': 'recurrent_initializer', 'beta_init': 'beta_initializer',
    'gamma_init': 'gamma_initializer', 'W_regularizer': 'kernel_regularizer', 'U_regularizer': 'recurrent_regularizer',
    'b_regularizer': 'bias_regularizer', 'W_constraint': 'kernel_constraint', 'b_constraint': 'bias_constraint',
    'bias': 'use_bias',
    # recurrent layers
    'inner_activation': 'recurrent_activation', 'dropout_W': 'dropout', 'dropout_U': 'recurrent_dropout',
    'consume_less': 'implementation',
    # models
    'input_dtype': 'dtype', 'input': 'inputs', 'output': 'outputs', 'samples_per_epoch': 'steps_per_epoch',
    'val_samples': 'steps', 'nb_epoch': 'epochs', 'nb_val_samples': 'validation_steps', 'nb_worker': 'workers',
    'pickle_safe': 'use_multiprocessing', 'max_q_size': 'max_queue_size',
}

# Values that changed along with the keyword, by old keyword.
VALUES = {
    'dim_ordering': {'tf': 'channels_last', 'th': 'channels_first', 'default': None},
    'consume_less': {'cpu': 0, 'mem': 1, 'gpu': 2},
}

# Keras-1 arguments of `fit_generator` and its kin that counted samples where Keras 2 counts batches.
SAMPLE_COUNTS = ('samples_per_epoch', 'val_samples', 'nb_epoch', 'nb_val_samples', 'nb_worker')


class Interface(NamedTuple):
    """How calls written for Keras 1 differ from Keras 2.

    renames: old keyword -> new keyword, in the order in which a warning lists them.
    positional: the arguments that may be given by position; None where that is not checked.
    preprocessor: name of the function in `legacy.interfaces` that does what renaming cannot.
    object_type: ``'class'`` if the warning names the class of the object, ``'method'`` if it names the method.
    """

    renames: dict
    positional: tuple = None
    preprocessor: str = None
    object_type: str = 'class'


def _row(old, positional=None, preprocessor=None, object_type='class', **renamed):
    """A row: old keywords and positional arguments as words in a string; `renamed`: new names of its own."""
    names = {**_NEW_NAMES, **renamed}
    return Interface({name: names[name] for name in old.split()},
                     None if positional is None else tuple(positional.split()), preprocessor, object_type)


_WEIGHTS = 'init W_regularizer b_regularizer W_constraint b_constraint bias'
_IMAGE_CONV = 'nb_filter subsample border_mode dim_ordering'

INTERFACES = {
    # core
    'dense': _row(f'output_dim {_WEIGHTS}', 'units'),
    'dropout': _row('p', 'rate noise_shape seed'),
    'spatialdropout1d': _row('p', 'rate'),
    'spatialdropoutNd': _row('p dim_ordering', 'rate'),
    'lambda': _row('', 'function output_shape'),
    'embedding': _row('init W_regularizer W_constraint', 'input_dim output_dim', 'embedding_kwargs_preprocessor',
                      init='embeddings_initializer', W_regularizer='embeddings_regularizer',
                      W_constraint='embeddings_constraint'),
    'batchnorm': _row('beta_init gamma_init', '', 'batchnorm_args_preprocessor'),
    'prelu': _row('init', 'alpha_initializer', init='alpha_initializer'),
    'gaussiannoise': _row('sigma', 'stddev'),
    'gaussiandropout': _row('p', 'rate'),

    # convolutions
    'conv1d': _row(f'nb_filter filter_length subsample_length border_mode {_WEIGHTS}', 'filters kernel_size',
                   'conv1d_args_preprocessor'),
    'conv2d': _row(f'{_IMAGE_CONV} {_WEIGHTS}', 'filters kernel_size', 'conv2d_args_preprocessor'),
    'deconv2d': _row(f'{_IMAGE_CONV} {_WEIGHTS}', 'filters kernel_size', 'deconv2d_args_preprocessor'),
    'separable_conv2d': _row(f'{_IMAGE_CONV} b_regularizer b_constraint bias', 'filters kernel_size',
                             'separable_conv2d_args_preprocessor'),
    'conv3d': _row(f'{_IMAGE_CONV} {_WEIGHTS}', 'filters kernel_size', 'conv3d_args_preprocessor'),
    'convlstm2d': _row(f'{_IMAGE_CONV} init inner_init W_regularizer U_regularizer b_regularizer inner_activation '
                       'dropout_W dropout_U bias', 'filters kernel_size', 'convlstm2d_args_preprocessor'),

    # images and sequences
    'pooling1d': _row('pool_length stride border_mode', 'pool_size strides padding'),
    'pooling2d': _row('border_mode dim_ordering', 'pool_size strides padding'),
    'pooling3d': _row('border_mode dim_ordering', 'pool_size strides padding'),
    'global_pooling': _row('dim_ordering'),
    'upsampling1d': _row('length', 'size'),
    'upsampling2d': _row('dim_ordering', 'size'),
    'upsampling3d': _row('dim_ordering', 'size'),
    'zeropadding2d': _row('dim_ordering', 'padding', 'zeropadding2d_args_preprocessor'),
    'zeropadding3d': _row('dim_ordering', 'padding'),
    'cropping2d': _row('dim_ordering', 'cropping'),
    'cropping3d': _row('dim_ordering', 'cropping'),
    'recurrent': _row('output_dim init inner_init inner_activation W_regularizer b_regularizer U_regularizer dropout_W '
                      'dropout_U consume_less', 'units', 'recurrent_args_preprocessor'),

    # models, layers and optimizers as such
    'input': _row('input_dtype'),
    'model_constructor': _row('input output'),
    'generator_methods': _row('samples_per_epoch val_samples nb_epoch nb_val_samples nb_worker pickle_safe max_q_size',
                              'generator steps_per_epoch epochs', 'generator_methods_args_preprocessor', 'method'),
    'add_weight': _row('', 'name shape', 'add_weight_args_preprocessing'),
    'get_updates': _row('', None, 'get_updates_arg_preprocessing'),
}
