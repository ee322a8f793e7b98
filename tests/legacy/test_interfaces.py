"""Calls in the words of Keras 1: what they become, and what is said about it, as Keras 2.2.4 did and said."""
import warnings

import numpy as np
import pytest

from kfacade.legacy import interfaces
from kfacade.legacy.interfaces import INTERFACES


def call(name, *args, **kwargs):
    """The arguments that the Keras-2 function gets from a call of interface `name`."""
    class Thing:
        @getattr(interfaces, f'legacy_{name}_support')
        def method(self, *args, **kwargs):
            return args, kwargs
    return Thing().method(*args, **kwargs)


class Generator:
    """A generator that knows its batch size."""

    batch_size = 8


# (interface, positional arguments, keywords) -> (positional, keywords) of the Keras-2 call
CONVERSIONS = [
    ('dense', (), {'output_dim': 3, 'init': 'he_normal', 'bias': False},
     (), {'units': 3, 'kernel_initializer': 'he_normal', 'use_bias': False}),
    ('dense', (3,), {'W_regularizer': 'l1', 'b_regularizer': 'l2', 'W_constraint': 'maxnorm', 'b_constraint': 'nonneg'},
     (3,), {'kernel_regularizer': 'l1', 'bias_regularizer': 'l2', 'kernel_constraint': 'maxnorm',
            'bias_constraint': 'nonneg'}),
    ('dropout', (), {'p': 0.3}, (), {'rate': 0.3}),
    ('spatialdropoutNd', (), {'p': 0.3, 'dim_ordering': 'th'}, (), {'rate': 0.3, 'data_format': 'channels_first'}),
    ('gaussiannoise', (), {'sigma': 0.3}, (), {'stddev': 0.3}),
    ('prelu', (), {'init': 'one'}, (), {'alpha_initializer': 'one'}),
    ('embedding', (4, 2), {'init': 'one', 'W_constraint': 'nonneg'},
     (4, 2), {'embeddings_initializer': 'one', 'embeddings_constraint': 'nonneg'}),
    ('batchnorm', (), {'mode': 0, 'beta_init': 'one', 'axis': 1}, (), {'axis': 1, 'beta_initializer': 'one'}),
    ('pooling1d', (), {'pool_length': 2, 'stride': 3, 'border_mode': 'same'},
     (), {'pool_size': 2, 'strides': 3, 'padding': 'same'}),
    ('pooling2d', ((2, 2),), {'dim_ordering': 'default'}, ((2, 2),), {'data_format': None}),
    ('global_pooling', (), {'dim_ordering': 'tf'}, (), {'data_format': 'channels_last'}),
    ('upsampling1d', (), {'length': 3}, (), {'size': 3}),
    ('input', (), {'input_dtype': 'int32'}, (), {'dtype': 'int32'}),
    ('model_constructor', (), {'input': 'a', 'output': 'b'}, (), {'inputs': 'a', 'outputs': 'b'}),
    ('conv1d', (), {'nb_filter': 4, 'filter_length': 3, 'subsample_length': 2, 'input_dim': 5},
     (), {'input_shape': (None, 5), 'filters': 4, 'kernel_size': 3, 'strides': 2}),
    ('conv1d', (4, 3), {'input_dim': 5, 'input_length': 7}, (4, 3), {'input_shape': (7, 5)}),
    ('conv2d', (5, 3, 4), {}, (5, (3, 4)), {}),
    ('conv2d', (5, 3), {'nb_col': 4}, (5, (3, 4)), {}),
    ('conv2d', (5,), {'nb_row': 3, 'nb_col': 4, 'subsample': (2, 2)}, (5, (3, 4)), {'strides': (2, 2)}),
    ('conv2d', (), {'nb_filter': 5, 'nb_row': 3, 'nb_col': 4}, (), {'kernel_size': (3, 4), 'filters': 5}),
    ('deconv2d', (5, 3, 3, (None, 8, 8, 5)), {'border_mode': 'same'}, (5, (3, 3)), {'padding': 'same'}),
    ('deconv2d', (5, (3, 3)), {'output_shape': (None, 8, 8, 5)}, (5, (3, 3)), {}),
    ('separable_conv2d', (5, 3, 3), {'init': 'one'},
     (5, (3, 3)), {'depthwise_initializer': 'one', 'pointwise_initializer': 'one'}),
    ('conv3d', (5, 2, 3, 4), {}, (5, (2, 3, 4)), {}),
    ('conv3d', (5, 2, 3), {'kernel_dim3': 4}, (5, (2, 3, 4)), {}),
    ('conv3d', (5, 2), {'kernel_dim2': 3, 'kernel_dim3': 4}, (5, (2, 3, 4)), {}),
    ('conv3d', (), {'nb_filter': 5, 'kernel_dim1': 2, 'kernel_dim2': 3, 'kernel_dim3': 4},
     (), {'kernel_size': (2, 3, 4), 'filters': 5}),
    ('convlstm2d', (5, 3, 3), {'forget_bias_init': 'one', 'dropout_W': 0.1},
     (5, (3, 3)), {'unit_forget_bias': True, 'dropout': 0.1}),
    ('recurrent', (), {'output_dim': 3, 'inner_init': 'zero', 'forget_bias_init': 'one', 'consume_less': 'mem'},
     (), {'unit_forget_bias': True, 'units': 3, 'recurrent_initializer': 'zero', 'implementation': 1}),
    ('generator_methods', (Generator,), {'samples_per_epoch': 20, 'max_q_size': 3, 'pickle_safe': True},
     (Generator,), {'steps_per_epoch': 2, 'use_multiprocessing': True, 'max_queue_size': 3}),
    ('generator_methods', (), {'generator': 'g', 'samples_per_epoch': 20},
     (), {'generator': 'g', 'steps_per_epoch': 20}),
]


@pytest.mark.parametrize('name, args, kwargs, new_args, new_kwargs', CONVERSIONS)
def test_conversions(name, args, kwargs, new_args, new_kwargs):
    with pytest.warns(UserWarning, match='Update your `(Thing|method)` call to the Keras 2 API: '):
        got_args, got_kwargs = call(name, *args, **kwargs)
    assert (tuple(got_args), got_kwargs) == (new_args, new_kwargs)
    assert list(got_kwargs) == list(new_kwargs)  # in the order of the warning


@pytest.mark.parametrize('name', INTERFACES)
def test_every_renamed_argument(name):
    """Each old name becomes the new one; together with the new one it is refused; new names pass in silence."""
    for old, new in INTERFACES[name]['conversions']:
        if old == 'samples_per_epoch' or (name, old) == ('separable_conv2d', 'init'):
            continue
        with pytest.warns(UserWarning):
            assert call(name, **{old: 'v'}) == ((), {new: 'v'})
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with pytest.raises(TypeError, match=f'received both the legacy keyword argument `{old}` and the Keras 2 '
                                                f'keyword argument `{new}`. Stick to the latter!'):
                call(name, **{old: 1, new: 2})
        assert call(name, **{new: 'v'}) == ((), {new: 'v'})


@pytest.mark.parametrize('name', [n for n, row in INTERFACES.items() if row['allowed_positional_args']])
def test_positional_arguments_are_counted(name):
    row = INTERFACES[name]
    positional = row['allowed_positional_args']
    allowed = tuple(f'v{i}' for i in range(len(positional)))
    assert call(name, *allowed) == (allowed, {})
    owner = 'method' if row['object_type'] == 'method' else 'Thing'
    with pytest.raises(TypeError) as error:
        call(name, *allowed, 'x')
    assert str(error.value) == (
        f'`{owner}` can accept only {len(allowed)} positional arguments {positional}, but you passed the following '
        f'positional arguments: {[*allowed, "x"]}')


def test_the_warning_shows_the_new_call():
    with pytest.warns(UserWarning) as caught:
        call('dense', 'relu', output_dim=np.zeros(100), init='he_normal', activation=('a long value', 3), bias=True)
    assert str(caught[0].message) == (
        'Update your `Thing` call to the Keras 2 API: `Thing("relu", activation=(\'a long v..., units=array, '
        'kernel_initializer="he_normal", use_bias=True)`')
    with pytest.warns(UserWarning) as caught:
        call('generator_methods', 3, max_q_size=2.5)
    assert str(caught[0].message) == 'Update your `method` call to the Keras 2 API: `method(3, max_queue_size=2.5)`'


@pytest.mark.parametrize('name, kwargs, left, message', [
    ('embedding', {'dropout': 0.2}, {}, 'The `dropout` argument is no longer support in `Embedding`'),
    ('recurrent', {'forget_bias_init': 'zero'}, {}, 'The `forget_bias_init` argument has been ignored'),
    ('convlstm2d', {'forget_bias_init': 'zero'}, {}, 'The `forget_bias_init` argument has been ignored'),
    ('recurrent', {'input_dim': 3}, {'input_shape': (None, 3)}, 'The `input_dim` and `input_length` arguments'),
    ('zeropadding2d', {'padding': {'top_pad': 1, 'right_pad': 2}}, {'padding': ((1, 0), (0, 2))},
     'The `padding` argument'),
    ('generator_methods', {'nb_val_samples': 9}, {'validation_steps': 9}, 'The semantics of the Keras 2 argument'),
])
def test_warnings_of_their_own_point_at_the_call(name, kwargs, left, message):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert call(name, **kwargs) == ((), left)
    found = [w for w in caught if str(w.message).startswith(message)]
    assert len(found) == 1 and found[0].filename == __file__


def test_zeropadding_dict_by_position():
    with pytest.warns(UserWarning, match='no longer accepts dict types'):
        assert call('zeropadding2d', {'left_pad': 3}) == ((((0, 0), (3, 0)),), {})
    assert call('zeropadding2d', {'left': 3}) == (({'left': 3},), {})


@pytest.mark.parametrize('name, args, kwargs, error, message', [
    ('conv2d', (5, 3, 3), {'padding': 'same'}, ValueError, 'passing both `kernel_size` and `strides` as integer'),
    ('conv3d', (5, 3, 3), {'strides': 2}, ValueError, 'passing both `kernel_size` and `strides` as integer'),
    ('conv2d', (5, 3, 3, 3), {}, TypeError, 'Layer can receive at most 3 positional arguments.'),
    ('conv3d', (5, 3, 3, 3, 3), {}, TypeError, 'Layer can receive at most 4 positional arguments.'),
    ('conv2d', (4, 3, (2, 2)), {}, TypeError, '`Thing` can accept only 2 positional arguments'),
    ('batchnorm', (0.001,), {}, TypeError, 'The `BatchNormalization` layer does not accept positional arguments'),
    ('batchnorm', (), {'mode': 1}, TypeError, 'The `mode` argument of `BatchNormalization` no longer exists'),
    ('get_updates', (1, 2, 3, 4), {}, TypeError, 'received more arguments than expected'),
])
def test_errors(name, args, kwargs, error, message):
    with pytest.raises(error, match=message):
        call(name, *args, **kwargs)


def test_calls_of_keras_2_pass_in_silence():
    assert call('conv2d', 5, (3, 3), strides=2) == ((5, (3, 3)), {'strides': 2})
    assert call('conv2d', 5, 3) == ((5, 3), {})
    assert call('conv3d', 5, 3, padding='same') == ((5, 3), {'padding': 'same'})
    assert call('generator_methods', 'g', 4, 2) == (('g', 4, 2), {})
    assert call('recurrent', 5, input_shape=(3, 2)) == ((5,), {'input_shape': (3, 2)})


def test_order_of_add_weight():
    assert call('add_weight', (2, 3), 'kernel', trainable=False) == (
        (), {'trainable': False, 'shape': (2, 3), 'name': 'kernel'})
    assert call('add_weight', [2, 3], initializer='zero') == ((), {'initializer': 'zero', 'shape': [2, 3]})
    assert call('add_weight', 'kernel', (2, 3)) == (('kernel', (2, 3)), {})


def test_order_of_get_updates():
    assert call('get_updates', 'params', {}, 'loss') == ((), {'params': 'params', 'loss': 'loss'})
    assert call('get_updates', ['p'], {}, loss='loss') == ((), {'params': ['p'], 'loss': 'loss'})
    assert call('get_updates', 'loss', ['p']) == (('loss', ['p']), {})


def test_the_decorated_function_keeps_its_face():
    def function(self, units):
        """Its own words."""
    wrapped = interfaces.legacy_dense_support(function)
    assert wrapped._original_function is wrapped.__wrapped__ is function
    assert (wrapped.__name__, wrapped.__doc__) == ('function', 'Its own words.')


def test_an_interface_of_ones_own():
    class Thing:
        @interfaces.generate_legacy_interface(['size'], [('n', 'size')], value_conversions={'n': {'two': 2}})
        def __init__(self, size):
            self.size = size
    with pytest.warns(UserWarning, match=r'`Thing\(size=2\)`'):
        assert Thing(n='two').size == 2
