"""Layers of Keras 1 that Keras 2 kept for old models, and its base classes for recurrent layers of one's own."""
import warnings

import torch
import torch.nn.functional as F

from .. import backend as K
from .. import initializers
from ..engine.base_layer import InputSpec, opaque
from ..layers._base import BuiltinLayer, spatial_settings
from ..layers.convolutional import AtrousConvolution1D, AtrousConvolution2D
from ..layers.convolutional_recurrent import image_shapes
from ..layers.recurrent import RNN, call_with_states, standardize_args

__all__ = ['AtrousConvolution1D', 'AtrousConvolution2D', 'ConvRecurrent2D', 'Highway', 'MaxoutDense', 'Recurrent']


class _OldDense(BuiltinLayer):
    """Base of layers over (batch, features) that take the arguments of a Keras-1 `Dense`.

    Arguments: `init`, initializer of the kernels; `weights`, arrays to start from; regularizers and constraints of the
    kernel (`W_...`), the bias (`b_...`) and the output (`activity_regularizer`); `bias`, whether there is one;
    `input_dim`, for the first layer of a model.
    """

    def __init__(self, arguments):
        warnings.warn(f'The `{type(self).__name__}` layer is deprecated and will be removed after 06/2017.',
                      stacklevel=3)
        if arguments['input_dim']:
            arguments['kwargs']['input_shape'] = (arguments['input_dim'],)
        super().__init__(weights=arguments['weights'], **arguments['kwargs'])
        self.configure(arguments)
        self.init = initializers.get(self.init)
        self.input_spec = InputSpec(ndim=2)

    def build(self, input_shape):
        self.input_spec = InputSpec(shape=(None, input_shape[1]))
        self.built = True

    def add_part(self, name, shape, initializer):
        """A weight, with the regularizer and constraint of its name; None for a bias where the layer has none."""
        if name in ('b', 'b_carry') and not self.bias:
            self._params.register_parameter(name, None)
            return None
        parts = {part: getattr(self, f'{name}_{part}', None) for part in ('regularizer', 'constraint')}
        return self.add_weight(name=name, shape=shape, initializer=initializer, **parts)

    def get_config(self):
        return {**super().get_config(), 'init': initializers.serialize(self.init)}


class MaxoutDense(_OldDense):
    """The largest of `nb_feature` affine maps: (batch, features) to (batch, `output_dim`) (Goodfellow et al. 2013)."""

    settings = ('output_dim', 'init', 'nb_feature', 'W_regularizer', 'b_regularizer', 'activity_regularizer',
                'W_constraint', 'b_constraint', 'bias', 'input_dim')
    weight_layouts = {'W': None, 'b': None}

    def __init__(self, output_dim, nb_feature=4, init='glorot_uniform', weights=None, W_regularizer=None,
                 b_regularizer=None, activity_regularizer=None, W_constraint=None, b_constraint=None, bias=True,
                 input_dim=None, **kwargs):
        super().__init__(locals())

    def build(self, input_shape):
        self.W = self.add_part('W', (self.nb_feature, input_shape[1], self.output_dim), self.init)
        self.b = self.add_part('b', (self.nb_feature, self.output_dim), 'zeros')
        super().build(input_shape)

    @opaque
    def call(self, x):
        params = self._params
        maps = torch.tensordot(x, params.W, ([1], [1]))  # (batch, nb_feature, output_dim)
        return (maps if params.b is None else maps + params.b).amax(1)

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.output_dim


class Highway(_OldDense):
    """``t * activation(x W + b) + (1 - t) * x``, ``t = sigmoid(x W_carry + b_carry)`` (Srivastava et al. 2015)."""

    settings = ('init', 'activation', 'W_regularizer', 'b_regularizer', 'activity_regularizer', 'W_constraint',
                'b_constraint', 'bias', 'input_dim')
    weight_layouts = {'W': None, 'W_carry': None, 'b': None, 'b_carry': None}

    def __init__(self, init='glorot_uniform', activation=None, weights=None, W_regularizer=None, b_regularizer=None,
                 activity_regularizer=None, W_constraint=None, b_constraint=None, bias=True, input_dim=None, **kwargs):
        if kwargs.pop('transform_bias', None) is not None:
            warnings.warn('`transform_bias` argument is deprecated and has been removed.', stacklevel=2)
        super().__init__(locals())

    def build(self, input_shape):
        size = input_shape[1]
        self.W = self.add_part('W', (size, size), self.init)
        self.W_carry = self.add_part('W_carry', (size, size), self.init)
        self.b = self.add_part('b', (size,), 'zeros')
        self.b_carry = self.add_part('b_carry', (size,), 'ones')
        super().build(input_shape)

    @opaque
    def call(self, x, activation=None):
        params = self._params
        gate = torch.sigmoid(F.linear(x, params.W_carry.t(), params.b_carry))
        return self.activated(F.linear(x, params.W.t(), params.b), activation) * gate + (1. - gate) * x


class Recurrent(BuiltinLayer):
    """Base class for recurrent layers written for Keras before 2.1.

    A subclass sets `units`, `self.states` (a list of as many None as it has states) and its weights in `build`, and
    defines ``step(inputs, states) -> output, new states`` for one time step; `states` there has the constants of
    `get_constants` at its end. Shapes, masks, states and arguments otherwise as in `layers.RNN`; `implementation` is
    for the subclass to read.
    """

    settings = (*RNN.settings, 'implementation')

    def __init__(self, return_sequences=False, return_state=False, go_backwards=False, stateful=False, unroll=False,
                 implementation=0, **kwargs):
        super().__init__(**kwargs)
        self.configure(locals())
        self.supports_masking = True
        self.input_spec = [InputSpec(ndim=3)]
        self.state_spec = None
        self.dropout = self.recurrent_dropout = 0

    def _all_shapes(self, input_shape):
        """The shapes of the output and of each state."""
        batch, time = input_shape[:2]
        output = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        return [output, *((batch, self.units) for _ in self.states)]

    compute_output_shape, compute_mask = RNN.compute_output_shape, RNN.compute_mask
    get_initial_state, _keep_states, reset_states = RNN.get_initial_state, RNN._keep_states, RNN.reset_states

    def step(self, inputs, states):
        raise NotImplementedError(f'{type(self).__name__} has to define `step(self, inputs, states)`.')

    def get_constants(self, inputs, training=None):
        """Tensors that every step gets after the states."""
        return []

    def preprocess_input(self, inputs, training=None):
        """What the steps get of the whole input (batch, time, features)."""
        return inputs

    def __call__(self, inputs, initial_state=None, **kwargs):
        inputs, initial_state, _ = standardize_args(inputs, initial_state, None, None)
        return call_with_states(super().__call__, self, inputs, initial_state, None, kwargs)

    def call(self, inputs, mask=None, training=None, initial_state=None):
        whole = inputs
        if isinstance(inputs, (list, tuple)):
            inputs, *initial_state = inputs
        elif initial_state is None:
            initial_state = self.states if self.stateful else self.get_initial_state(inputs)
        if len(initial_state) != len(self.states):
            raise ValueError(f'Layer {self.name} has {len(self.states)} states but was passed {len(initial_state)} '
                             'initial states.')
        last_output, outputs, states = K.rnn(
            self.step, self.preprocess_input(inputs, training=training), initial_state, self.go_backwards,
            mask[0] if isinstance(mask, list) else mask, self.get_constants(inputs, training=training), self.unroll,
            K.int_shape(inputs)[1])
        if self.stateful:
            self._keep_states(states, whole)
        output = outputs if self.return_sequences else last_output
        return [output, *states] if self.return_state else output


class ConvRecurrent2D(Recurrent):
    """Base class for recurrent layers over images, (batch, time, rows, columns, channels) or channels first.

    Arguments as of `Conv2D` and `Recurrent`; a subclass defines `step` on images.
    """

    settings = (*Recurrent.settings, 'filters', 'kernel_size', 'strides', 'padding', 'data_format', 'dilation_rate')

    def __init__(self, filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, dilation_rate=(1, 1),
                 return_sequences=False, go_backwards=False, stateful=False, **kwargs):
        super().__init__(return_sequences=return_sequences, go_backwards=go_backwards, stateful=stateful, **kwargs)
        self.configure(filters=filters, **spatial_settings(2, locals()))
        self.input_spec = [InputSpec(ndim=5)]

    def _all_shapes(self, input_shape):
        return image_shapes(self, self, input_shape, [self.filters] * 2)
