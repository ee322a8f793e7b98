"""Decorators that let Keras-2 constructors and methods take the arguments of Keras 1, with a warning.

``legacy_<name>_support`` exists for each row of the table `INTERFACES`; one decorator does the work for them all.
Preprocessors do what renaming cannot: they take ``(args, kwargs)``, the object itself being ``args[0]``, and return
both and whether there was something to convert.
"""
import functools
import warnings

import numpy as np


def generate_legacy_interface(allowed_positional_args=None, conversions=None, preprocessor=None,
                              value_conversions=None, object_type='class'):
    """A decorator that converts the arguments of a Keras-1 call and warns with the call as Keras 2 writes it.

    `conversions` are pairs of old and new keyword, `value_conversions` {old keyword: {old value: new value}}. Messages
    name the class of the object, or the method where `object_type` is 'method'. The decorated function raises TypeError
    for more arguments by position than `allowed_positional_args` (None: any number), and for an argument that is given
    under both its names.
    """
    positional, values = allowed_positional_args, value_conversions or {}

    def legacy_support(func):
        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            name = type(args[0]).__name__ if object_type == 'class' else func.__name__
            args, kwargs, converted = preprocessor(args, kwargs) if preprocessor else (args, kwargs, False)
            if positional is not None and len(args) > len(positional) + 1:
                raise TypeError(f'`{name}` can accept only {len(positional)} positional arguments {tuple(positional)}, '
                                f'but you passed the following positional arguments: {list(args[1:])}')
            for old in kwargs.keys() & values.keys():
                kwargs[old] = values[old].get(kwargs[old], kwargs[old])
            for old, new in conversions or ():
                if old in kwargs:
                    if new in kwargs:
                        raise_duplicate_arg_error(old, new)
                    kwargs[new] = kwargs.pop(old)
                    converted = True
            if converted:
                shown = [_shown(value) for value in args[1:]] + [f'{k}={_shown(v)}' for k, v in kwargs.items()]
                warnings.warn(f'Update your `{name}` call to the Keras 2 API: `{name}({", ".join(shown)})`',
                              stacklevel=2)
            return func(*args, **kwargs)
        wrapper._original_function = func
        return wrapper
    return legacy_support


generate_legacy_method_interface = functools.partial(generate_legacy_interface, object_type='method')


def _shown(value):
    if isinstance(value, str):
        return f'"{value}"'
    text = 'array' if isinstance(value, np.ndarray) else str(value)
    return text if len(text) <= 10 else f'{text[:10]}...'


def raise_duplicate_arg_error(old_arg, new_arg):
    """Raises the TypeError for an argument that was given under both its names."""
    raise TypeError(f'For the `{new_arg}` argument, the layer received both the legacy keyword argument `{old_arg}` '
                    f'and the Keras 2 keyword argument `{new_arg}`. Stick to the latter!')


def _warn(message, stacklevel=4):
    warnings.warn(message, stacklevel=stacklevel)  # past the preprocessor and the wrapper, to the call itself


# ---------------------------------------------------------------- preprocessors of layers

def _kernel_size_preprocessor(*sizes):
    """A preprocessor that gathers Keras-1 kernel sizes: integers by position after `filters`, or keywords `sizes`."""
    def args_preprocessor(args, kwargs, converted=False):
        given = args[2:]
        if len(given) > len(sizes):
            raise TypeError(f'Layer can receive at most {len(sizes) + 1} positional arguments.')
        if not all(isinstance(size, int) for size in given):
            return args, kwargs, converted
        if len(given) == 2 and kwargs.keys() & {'padding', 'strides', 'data_format'}:
            raise ValueError('It seems that you are using the Keras 2 and you are passing both `kernel_size` and '
                             '`strides` as integer positional arguments. For safety reasons, this is disallowed. '
                             'Pass `strides` as a keyword argument instead.')
        by_keyword = sizes[len(given):]
        if not all(name in kwargs for name in by_keyword):
            return args, kwargs, converted
        kernel_size = (*given, *(kwargs.pop(name) for name in by_keyword))
        if len(args) > 1:
            args = (*args[:2], kernel_size)
        else:
            kwargs['kernel_size'] = kernel_size
        return args, kwargs, True
    return args_preprocessor


conv2d_args_preprocessor = _kernel_size_preprocessor('nb_row', 'nb_col')
conv3d_args_preprocessor = _kernel_size_preprocessor('kernel_dim1', 'kernel_dim2', 'kernel_dim3')


def separable_conv2d_args_preprocessor(args, kwargs):
    """`init` becomes the initializer of both kernels; then as for a convolution."""
    converted = 'init' in kwargs
    if converted:
        kwargs['depthwise_initializer'] = kwargs['pointwise_initializer'] = kwargs.pop('init')
    return conv2d_args_preprocessor(args, kwargs, converted)


def deconv2d_args_preprocessor(args, kwargs):
    """`output_shape`, by keyword or in fourth place, is dropped, as it is computed now; then as for a convolution."""
    converted = 'output_shape' in kwargs
    kwargs.pop('output_shape', None)
    if len(args) == 5 and isinstance(args[4], tuple):
        args, converted = args[:4], True
    return conv2d_args_preprocessor(args, kwargs, converted)


def _convert_forget_bias(kwargs):
    converted = kwargs.get('forget_bias_init') == 'one'
    if converted:
        kwargs['unit_forget_bias'] = True
    elif 'forget_bias_init' in kwargs:
        _warn('The `forget_bias_init` argument has been ignored. Use `unit_forget_bias=True` instead to initialize '
              'with ones.', 5)
    kwargs.pop('forget_bias_init', None)
    return converted


def convlstm2d_args_preprocessor(args, kwargs):
    """``forget_bias_init='one'`` becomes ``unit_forget_bias=True``; then as for a convolution."""
    return conv2d_args_preprocessor(args, kwargs, _convert_forget_bias(kwargs))


def conv1d_args_preprocessor(args, kwargs, converted=False):
    """`input_dim` (and `input_length`) become `input_shape`."""
    if 'input_dim' in kwargs:
        kwargs['input_shape'] = kwargs.pop('input_length', None), kwargs.pop('input_dim')
        converted = True
    return args, kwargs, converted


def recurrent_args_preprocessor(args, kwargs):
    """``forget_bias_init='one'`` becomes ``unit_forget_bias=True``; `input_dim` (and `input_length`) `input_shape`."""
    converted = _convert_forget_bias(kwargs)
    if 'input_dim' in kwargs:
        _warn('The `input_dim` and `input_length` arguments in recurrent layers are deprecated. '
              'Use `input_shape` instead.')
    return conv1d_args_preprocessor(args, kwargs, converted)


def embedding_kwargs_preprocessor(args, kwargs):
    """`dropout` is dropped, with a warning that says what to use."""
    if 'dropout' in kwargs:
        del kwargs['dropout']
        _warn('The `dropout` argument is no longer support in `Embedding`. You can apply a '
              '`keras.layers.SpatialDropout1D` layer right after the `Embedding` layer to get the same behavior.')
    return args, kwargs, False


def batchnorm_args_preprocessor(args, kwargs):
    """``mode=0`` is dropped. Raises TypeError for other modes and for positional arguments."""
    if len(args) > 1:
        raise TypeError('The `BatchNormalization` layer does not accept positional arguments. '
                        'Use keyword arguments instead.')
    converted = 'mode' in kwargs
    if kwargs.pop('mode', 0) != 0:
        raise TypeError('The `mode` argument of `BatchNormalization` no longer exists. '
                        '`mode=1` and `mode=2` are no longer supported.')
    return args, kwargs, converted


_PAD_SIDES = ('top_pad', 'bottom_pad', 'left_pad', 'right_pad')


def zeropadding2d_args_preprocessor(args, kwargs):
    """A dict of the padding of each side becomes ``((top, bottom), (left, right))``."""
    padding = args[1] if len(args) > 1 else kwargs.get('padding')
    if len(args) > 2 or not isinstance(padding, dict) or not padding.keys() <= set(_PAD_SIDES):
        return args, kwargs, False
    top, bottom, left, right = (padding.get(side, 0) for side in _PAD_SIDES)
    padding = (top, bottom), (left, right)
    _warn('The `padding` argument in the Keras 2 API no longer accepts dict types. You can now input argument as: '
          '`padding=((top_pad, bottom_pad), (left_pad, right_pad))`.')
    if len(args) > 1:
        return (args[0], padding), kwargs, False
    return args, {**kwargs, 'padding': padding}, False


# ---------------------------------------------------------------- preprocessors of methods

# What counted samples in Keras 1 where Keras 2 counts batches, and what came along with it.
_SAMPLE_COUNTS = ('samples_per_epoch', 'val_samples', 'nb_epoch', 'nb_val_samples', 'nb_worker')


def generator_methods_args_preprocessor(args, kwargs):
    """`samples_per_epoch` becomes `steps_per_epoch`: divided by the batch size where the generator tells it."""
    converted = len(args) < 3 and 'samples_per_epoch' in kwargs
    if converted:
        samples = kwargs.pop('samples_per_epoch')
        generator = args[1] if len(args) > 1 else kwargs['generator']
        kwargs['steps_per_epoch'] = samples // generator.batch_size if hasattr(generator, 'batch_size') else samples
    if not kwargs.keys().isdisjoint(_SAMPLE_COUNTS):
        _warn('The semantics of the Keras 2 argument `steps_per_epoch` is not the same as the Keras 1 argument '
              '`samples_per_epoch`. `steps_per_epoch` is the number of batches to draw from the generator at each '
              'epoch. Basically steps_per_epoch = samples_per_epoch/batch_size. Similarly '
              '`nb_val_samples`->`validation_steps` and `val_samples`->`steps` arguments have changed. '
              'Update your method calls accordingly.')
    return args, kwargs, converted


def add_weight_args_preprocessing(args, kwargs):
    """The old order ``add_weight(shape, name)`` becomes keywords."""
    layer, *given = args
    if given and isinstance(given[0], (tuple, list)):
        kwargs['shape'] = given.pop(0)
        if given and isinstance(given[0], str):
            kwargs['name'] = given.pop(0)
    return (layer, *given), kwargs, False


def get_updates_arg_preprocessing(args, kwargs):
    """The old order ``get_updates(params, constraints, loss)`` becomes keywords; constraints belong to weights now."""
    given = args[1:]
    if len(given) > 3:
        raise TypeError('`get_update` call received more arguments than expected.')
    if len(given) == 3:
        kwargs['params'], _, kwargs['loss'] = given
        args = args[:1]
    elif len(given) == 2 and isinstance(given[0], (list, tuple)):
        kwargs['params'] = given[0]
        args = args[:1]
    return args, kwargs, False


# ---------------------------------------------------------------- one decorator for each row of the table

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
_NEW_VALUES = {  # of those whose values changed, too
    'dim_ordering': {'tf': 'channels_last', 'th': 'channels_first', 'default': None},
    'consume_less': {'cpu': 0, 'mem': 1, 'gpu': 2},
}


def _row(old, positional=None, preprocessor=None, object_type='class', **renamed):
    """Arguments of `generate_legacy_interface`, with old keywords and positional arguments as words in a string.

    A warning lists the keywords in this order. `renamed`: the new names that are not those of `_NEW_NAMES`.
    """
    names, old = {**_NEW_NAMES, **renamed}, old.split()
    return {'allowed_positional_args': None if positional is None else tuple(positional.split()),
            'conversions': [(name, names[name]) for name in old], 'preprocessor': preprocessor,
            'value_conversions': {name: _NEW_VALUES[name] for name in old if name in _NEW_VALUES},
            'object_type': object_type}


_WEIGHTS = 'init W_regularizer b_regularizer W_constraint b_constraint bias'
_IMAGE_CONV = 'nb_filter subsample border_mode dim_ordering'

INTERFACES = {
    # core
    'dense': _row(f'output_dim {_WEIGHTS}', 'units'),
    'dropout': _row('p', 'rate noise_shape seed'),
    'spatialdropout1d': _row('p', 'rate'),
    'spatialdropoutNd': _row('p dim_ordering', 'rate'),
    'lambda': _row('', 'function output_shape'),
    'embedding': _row('init W_regularizer W_constraint', 'input_dim output_dim', embedding_kwargs_preprocessor,
                      init='embeddings_initializer', W_regularizer='embeddings_regularizer',
                      W_constraint='embeddings_constraint'),
    'batchnorm': _row('beta_init gamma_init', '', batchnorm_args_preprocessor),
    'prelu': _row('init', 'alpha_initializer', init='alpha_initializer'),
    'gaussiannoise': _row('sigma', 'stddev'),
    'gaussiandropout': _row('p', 'rate'),

    # convolutions
    'conv1d': _row(f'nb_filter filter_length subsample_length border_mode {_WEIGHTS}', 'filters kernel_size',
                   conv1d_args_preprocessor),
    'conv2d': _row(f'{_IMAGE_CONV} {_WEIGHTS}', 'filters kernel_size', conv2d_args_preprocessor),
    'deconv2d': _row(f'{_IMAGE_CONV} {_WEIGHTS}', 'filters kernel_size', deconv2d_args_preprocessor),
    'separable_conv2d': _row(f'{_IMAGE_CONV} b_regularizer b_constraint bias', 'filters kernel_size',
                             separable_conv2d_args_preprocessor),
    'conv3d': _row(f'{_IMAGE_CONV} {_WEIGHTS}', 'filters kernel_size', conv3d_args_preprocessor),
    'convlstm2d': _row(f'{_IMAGE_CONV} init inner_init W_regularizer U_regularizer b_regularizer inner_activation '
                       'dropout_W dropout_U bias', 'filters kernel_size', convlstm2d_args_preprocessor),

    # images and sequences
    'pooling1d': _row('pool_length stride border_mode', 'pool_size strides padding'),
    **dict.fromkeys(('pooling2d', 'pooling3d'), _row('border_mode dim_ordering', 'pool_size strides padding')),
    'global_pooling': _row('dim_ordering'),
    'upsampling1d': _row('length', 'size'),
    **dict.fromkeys(('upsampling2d', 'upsampling3d'), _row('dim_ordering', 'size')),
    'zeropadding2d': _row('dim_ordering', 'padding', zeropadding2d_args_preprocessor),
    'zeropadding3d': _row('dim_ordering', 'padding'),
    **dict.fromkeys(('cropping2d', 'cropping3d'), _row('dim_ordering', 'cropping')),
    'recurrent': _row('output_dim init inner_init inner_activation W_regularizer b_regularizer U_regularizer dropout_W '
                      'dropout_U consume_less', 'units', recurrent_args_preprocessor),

    # models, layers and optimizers as such
    'input': _row('input_dtype'),
    'model_constructor': _row('input output'),
    'generator_methods': _row('samples_per_epoch val_samples nb_epoch nb_val_samples nb_worker pickle_safe max_q_size',
                              'generator steps_per_epoch epochs', generator_methods_args_preprocessor, 'method'),
    'add_weight': _row('', 'name shape', add_weight_args_preprocessing),
    'get_updates': _row('', None, get_updates_arg_preprocessing),
}

for _name, _arguments in INTERFACES.items():
    globals()[f'legacy_{_name}_support'] = generate_legacy_interface(**_arguments)
