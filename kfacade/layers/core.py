"""Dense, Dropout, Lambda, and the layers that change shapes."""
import base64
import math
import re
import types

import numpy as np
import torch

from .. import backend as K
from .. import regularizers
from ..backend import pullbacks, state
from ..backend.math import as_ints
from ..backend.private_ops import linear
from ..backend.random import keep_mask
from ..backend.symbolic import SymbolicTensor
from ..backend.variable import Layout
from ..engine.base_layer import InputSpec, Layer, opaque
from ..legacy import interfaces
from ..saving import own_functions
from ..saving.trust import bytecode_allowed, unsafe_deserialization
from ..utils.generic_utils import deserialize_keras_object, func_dump, func_load, get_custom_objects, has_arg
from ._base import BuiltinLayer, NoiseLayer

__all__ = ['Activation', 'ActivityRegularization', 'Dense', 'Dropout', 'Flatten', 'Lambda', 'Masking', 'Permute',
           'RepeatVector', 'Reshape', 'SpatialDropout1D', 'SpatialDropout2D', 'SpatialDropout3D',
           'deserialize_keras_object', 'func_dump', 'func_load', 'unsafe_deserialization']


class Dense(BuiltinLayer):
    """``activation(inputs · kernel + bias)`` over the last axis: shape (..., input_dim) to (..., `units`).

    The kernel has the shape (input_dim, units) in Keras. Torch stores it with the shape of ``nn.Linear``'s weight, but
    column by column, which is Keras' order in memory: files and `get_weights` need not turn it.
    """

    passes_masks = makes_new = True
    scaled_weight, weight_layouts = 'kernel', {'kernel': Layout(torch.t, torch.t), 'bias': None}

    @interfaces.legacy_dense_support
    def __init__(self, units, activation=None, use_bias=True, kernel_initializer='glorot_uniform',
                 bias_initializer='zeros', kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        if 'input_shape' not in kwargs and 'input_dim' in kwargs:
            kwargs['input_shape'] = (kwargs.pop('input_dim'),)
        super().__init__(locals(), **kwargs)
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape):
        input_dim = input_shape[-1]
        if input_dim is None:
            raise ValueError(f'Layer {self.name}: the last dimension of the inputs to `Dense` should be defined. Found '
                             f'`None` in the shape {tuple(input_shape)}.')
        self.kernel = self.add_setting_weight('kernel', (input_dim, self.units))
        self.add_bias((self.units,))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_dim})
        self.built = True

    @opaque
    def call(self, inputs, activation=None):
        params, activate = self._params, activation or self._activate
        try:  # without torch's look-up of attributes, which takes half as long as a small product
            kernel, bias = params._parameters['kernel'], params._parameters['bias']
        except (AttributeError, KeyError):  # what stands for them is no parameter, but is made of some
            kernel, bias = params.kernel, params.bias
        relu = activate is torch.relu and not torch.is_grad_enabled()
        y = linear(inputs, kernel, bias, relu)
        return y if relu or activate is None else activate(y)

    def with_pullback(self, wanted, inputs):
        params = self._params
        return pullbacks.dense(wanted, inputs, params.kernel, params.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


class Activation(BuiltinLayer):
    """Applies `activation`, a name or a function."""

    passes_masks = only_activates = True

    def __init__(self, activation, **kwargs):
        super().__init__(locals(), **kwargs)

    @opaque
    def call(self, inputs, activation=None, over=False):
        activate = activation or self._activate
        return self.activated(inputs, pullbacks.ACTIVATIONS[activate][0] if over else activate)


class ActivityRegularization(BuiltinLayer):
    """Passes its input on, and adds ``l1 * sum(|x|) + l2 * sum(x²)`` of it to the loss."""

    passes_masks = True

    def __init__(self, l1=0., l2=0., **kwargs):
        super().__init__(locals(), **kwargs)
        self.activity_regularizer = regularizers.L1L2(l1=l1, l2=l2)


class Masking(BuiltinLayer):
    """Masks, and sets to zero, the time steps of which every feature equals `mask_value`."""

    passes_masks = True

    def __init__(self, mask_value=0., **kwargs):
        super().__init__(locals(), **kwargs)

    @opaque
    def call(self, inputs):
        return inputs * (inputs != self.mask_value).any(-1, keepdim=True)

    def compute_mask(self, inputs, mask=None):
        return K.any(K.not_equal(inputs, self.mask_value), axis=-1)


# ---------------------------------------------------------------- dropout

def _sizes(x):
    """The sizes of a tensor, or the symbols for those of a symbol."""
    return x.shape if isinstance(x, torch.Tensor) else [K.shape(x)[axis] for axis in range(K.ndim(x))]


class Dropout(NoiseLayer):
    """In training, sets a fraction `rate` of the elements to zero and divides the others by ``1 - rate``.

    Arguments: `rate`, clipped to [0, 1]; 0 and 1 do nothing. `noise_shape`, the shape of the mask, where dimensions of
    size 1 are dropped as a whole and None stands for the input's size. `seed`; without one, numpy's generator seeds it.
    """

    @interfaces.legacy_dropout_support
    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(locals(), **kwargs)
        self.rate = min(1., max(0., rate))

    def _get_noise_shape(self, inputs):
        """The shape of the mask, None for the input's own. Subclasses that people write call it, or have another."""
        if self.noise_shape is None:
            return None
        return tuple(actual if size is None else size for size, actual in zip(self.noise_shape, _sizes(inputs)))

    def _disturbed(self, inputs):
        return inputs * self._mask(inputs)

    def _mask(self, inputs):
        shape = self._get_noise_shape(inputs)
        shape = inputs.shape if shape is None else as_ints(shape)
        return keep_mask(shape, 1. - self.rate, self._stream, inputs)

    def with_pullback(self, wanted, inputs, training=None):
        return pullbacks.times(wanted, inputs, self._mask(inputs) if training and self._uses_phase else 1.)


class SpatialDropout1D(Dropout):
    """Dropout of whole channels of (batch, steps, channels)."""

    _rank = 3

    @interfaces.legacy_spatialdropout1d_support
    def __init__(self, rate, **kwargs):
        super().__init__(rate, **kwargs)
        self.data_format, self.input_spec = 'channels_last', InputSpec(ndim=self._rank)

    def _get_noise_shape(self, inputs):
        sizes = _sizes(inputs)
        kept = 0, 1 if self.data_format == 'channels_first' else len(sizes) - 1
        return tuple(size if axis in kept else 1 for axis, size in enumerate(sizes))


class SpatialDropout2D(SpatialDropout1D):
    """Dropout of whole channels of images: (batch, rows, columns, channels), or channels first."""

    _rank = 4

    @interfaces.legacy_spatialdropoutNd_support
    def __init__(self, rate, data_format=None, **kwargs):
        super().__init__(rate, **kwargs)
        self.data_format = K.normalize_data_format(data_format)


class SpatialDropout3D(SpatialDropout2D):
    """Dropout of whole channels of volumes: (batch, depth, rows, columns, channels), or channels first."""

    _rank = 5


# ---------------------------------------------------------------- shapes

class Reshape(BuiltinLayer):
    """Reshapes each sample to `target_shape`, in which one dimension may be -1: whatever is left."""

    gradients_are_new = False

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        self.configure(locals(), target_shape=tuple(target_shape) if np.iterable(target_shape) else (target_shape,))
        if self.target_shape.count(-1) > 1:
            raise ValueError(f'`target_shape` of layer {self.name}: Can only specify one unknown dimension. Received: '
                             f'{self.target_shape}')

    @opaque
    def call(self, inputs):
        return inputs.reshape(inputs.shape[0], *self.target_shape)

    def with_pullback(self, wanted, inputs):
        return pullbacks.reshaped(wanted, inputs, self.forward(inputs))

    def compute_output_shape(self, input_shape):
        batch, *sizes = input_shape
        if None in sizes:
            return (batch, *(None if d == -1 else d for d in self.target_shape))
        total, known = math.prod(sizes), math.prod(d for d in self.target_shape if d != -1)
        if (total != known) if -1 not in self.target_shape else (not known or total % known):
            raise ValueError(f'Layer {self.name}: total size of new array must be unchanged. Cannot reshape '
                             f'{tuple(sizes)} to {self.target_shape}.')
        return (batch, *(total // known if d == -1 else d for d in self.target_shape))


class Permute(BuiltinLayer):
    """Reorders the axes of each sample: output axis i is input axis ``dims[i - 1]``, counted from 1."""

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.configure(locals(), dims=tuple(dims) if np.iterable(dims) else (dims,))
        if set(self.dims) != set(range(1, len(self.dims) + 1)):
            raise ValueError(f'`dims` of layer {self.name} must have each of the integers from 1 to their number once. '
                             f'Received: {dims!r}')
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    @opaque
    def call(self, inputs):
        return inputs.permute(0, *self.dims)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *(input_shape[d] for d in self.dims))


class Flatten(BuiltinLayer):
    """Flattens each sample to a vector, in channels-last order whatever `data_format` the input has.

    Raises ValueError while the graph is built where a dimension of the samples is unknown. With `as_tf_keras` it may
    be, and samples may be vectors or single numbers.
    """

    gradients_are_new = False

    def __init__(self, data_format=None, **kwargs):
        super().__init__({**locals(), 'data_format': K.normalize_data_format(data_format)}, **kwargs)
        self.input_spec = InputSpec(min_ndim=3)

    @opaque
    def call(self, inputs):
        if self.data_format == 'channels_first' and inputs.dim() > 2:
            inputs = inputs.movedim(1, -1)
        return inputs.flatten(1) if inputs.dim() > 1 else inputs.unsqueeze(1)

    def with_pullback(self, wanted, inputs):
        if self.data_format == 'channels_first':
            inputs = pullbacks.as_leaf(inputs)
            return pullbacks.by_autograd([inputs], [], self.forward, inputs)
        return pullbacks.reshaped(wanted, inputs, self.forward(inputs))

    def assert_input_compatibility(self, inputs):
        if not (K.is_tensor(inputs) and K.ndim(inputs) in (1, 2) and self.is_as_tf_keras()):
            super().assert_input_compatibility(inputs)

    def compute_output_shape(self, input_shape):
        if None in input_shape[1:] and self.is_as_tf_keras():
            return (input_shape[0], None)
        if None in input_shape[1:]:
            raise ValueError('The shape of the input to "Flatten" is not fully defined (got '
                             f'{tuple(input_shape[1:])}). Make sure to pass a complete "input_shape" or '
                             f'"batch_input_shape" argument to the first layer in your model. (Layer {self.name})')
        return (input_shape[0], math.prod(input_shape[1:]))


class RepeatVector(BuiltinLayer):
    """Repeats each vector `n` times: (batch, features) to (batch, n, features)."""

    def __init__(self, n, **kwargs):
        super().__init__(locals(), **kwargs)
        self.input_spec = InputSpec(ndim=2)

    @opaque
    def call(self, inputs):
        return inputs.unsqueeze(1).expand(-1, self.n, -1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.n, input_shape[1])


# ---------------------------------------------------------------- Lambda

class Lambda(Layer):
    """A function as a layer: called on symbols once per call of the layer, and recorded.

    Arguments:
        function: of the input (and of `mask`, if it has such an argument).
        output_shape: what Keras is told of the output's shape: a tuple without the batch, or a function of the input
            shape. Worked out when absent.
        mask: the output mask, or a function of (inputs, mask); without it the layer supports no masking.
        arguments: dict of further keyword arguments of the function.
    """

    @interfaces.legacy_lambda_support
    def __init__(self, function, output_shape=None, mask=None, arguments=None, **kwargs):
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f'`function` of layer {self.name} must be a function. Received: {function!r}')
        self.function, self.mask, self.arguments = function, mask, arguments or {}
        self.supports_masking = mask is not None
        if isinstance(output_shape, (tuple, list)):
            output_shape = tuple(output_shape)
        elif output_shape is not None and not callable(output_shape):
            raise TypeError('In Lambda, `output_shape` must be a list, a tuple, or a function. '
                            f'Layer {self.name} got {output_shape!r}.')
        self._output_shape = output_shape

    def call(self, inputs, mask=None):
        arguments = {**self.arguments, 'mask': mask} if has_arg(self.function, 'mask') else self.arguments
        return self.function(inputs, **arguments)

    def compute_mask(self, inputs, mask=None):
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def _set_shapes(self, outputs, inputs):
        told = any(isinstance(x, SymbolicTensor) and x._keras_shape != tuple(x.shape.as_list()) for x in inputs)
        if told or self._output_shape is not None:  # otherwise the recorded call has said it all
            super()._set_shapes(outputs, inputs)

    def compute_output_shape(self, input_shape):
        several = isinstance(input_shape, list)
        if self._output_shape is None:
            with state.recording():
                xs = [K.placeholder(shape=s) for s in input_shape] if several else K.placeholder(shape=input_shape)
                y = self.call(xs)
            return [K.int_shape(part) for part in y] if isinstance(y, list) else K.int_shape(y)
        if isinstance(self._output_shape, tuple):
            return (input_shape[0][0] if several else input_shape[0], *self._output_shape)
        shape = self._output_shape(input_shape)
        if not isinstance(shape, (list, tuple)):
            raise ValueError('`output_shape` function must return a tuple or a list of tuples. That of layer '
                             f'{self.name} returned {shape!r}.')
        return tuple(shape) if isinstance(shape[0], (int, type(None))) else shape

    def get_config(self):
        function, function_type = _dump(self.function)
        shape, shape_type = _dump(self._output_shape) if callable(self._output_shape) else (self._output_shape, 'raw')
        return {**super().get_config(), 'function': function, 'function_type': function_type, 'output_shape': shape,
                'output_shape_type': shape_type, 'arguments': self.arguments}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A new layer of this configuration.

        Raises ValueError where the function is stored as bytecode, unless `custom_objects` holds it under the layer's
        or the function's name, this process made the configuration (see `saving.own_functions`), or the call is inside
        ``unsafe_deserialization()``.
        """
        config = dict(config)
        given = {**get_custom_objects(), **(custom_objects or {})}
        name, shape_type = config.get('name'), config.pop('output_shape_type', 'raw')
        arguments, stored = config.get('arguments') or {}, config['function']
        config['function'] = _load(stored, config.pop('function_type'), given, name)
        if config['function'] is None and arguments.keys() == {'i', 'parts'} and _name_in_bytecode(
                stored) == 'get_slice':
            config['function'] = get_slice  # of a model that Keras' `multi_gpu_model` made
        if config['function'] is None:
            raise ValueError(_REFUSAL.format(name=name))
        if shape_type != 'raw':
            config['output_shape'] = _load(config['output_shape'], shape_type, given)
        arrays = {key: np.array(value['value']) for key, value in arguments.items()
                  if isinstance(value, dict) and value.get('type') == 'ndarray'}
        config['arguments'] = {**arguments, **arrays}
        return cls(**config)


def get_slice(data, i, parts):
    """Part number `i` of a batch in `parts` parts of the same size, the last of which takes the rest, too."""
    step = K.shape(data)[0] // parts
    return data[step * i:] if i == parts - 1 else data[step * i:step * (i + 1)]


_REFUSAL = ('The function of the Lambda layer "{name}" is stored as Python bytecode, which could do anything when it '
            'is run, so it was not loaded. Either pass the function itself, in `custom_objects`, under the name of the '
            'layer (custom_objects={{"{name}": function}}) or under its own name; or, if you trust where the file '
            'comes from, pass safe_mode=False.')


def _backend_function(name):
    """The backend function of a name, among those that compute; else None."""
    function = getattr(K, name, None)
    room = getattr(function, '__module__', None) or ''
    return function if room in {f'{K.__name__}.{r}' for r in ('control', 'math', 'nn', 'random', 'spatial')} else None


def _dump(function):
    """What a file holds of a function: its name where it is the backend's or no Python function, else its bytecode."""
    name = getattr(function, '__name__', type(function).__name__)
    if isinstance(function, types.FunctionType) and _backend_function(name) is not function:
        return own_functions.dumped(function), 'lambda'
    return own_functions.named(name, function), 'function'


def _load(stored, kind, given, layer_name=None):
    """The function that a configuration describes; None where that is bytecode which may not be run."""
    if kind not in ('function', 'lambda'):
        raise TypeError(f'Unknown function type: {kind}. Expected "function" or "lambda".')
    by_name = kind == 'function'
    for name in (layer_name, str(stored) if by_name else _name_in_bytecode(stored)):
        if callable(given.get(name)):
            return given[name]
    own = own_functions.found(stored)
    if own is not None:
        return own
    if by_name:
        return _backend_function(str(stored)) or deserialize_keras_object(
            stored, custom_objects=given, printable_module_name='function in Lambda layer')
    return func_load(stored, globs={**globals(), **given}) if bytecode_allowed.get() else None


def _name_in_bytecode(stored):
    """The name of a marshalled function, found without unmarshalling anything; None where it does not stand out.

    In the bytes the name is a short string, followed by the number of the first line (from Python 3.11 on with the
    qualified name in between) and the table of lines. The outermost function comes last.
    """
    try:
        raw = base64.b64decode(stored[0] if isinstance(stored, (list, tuple)) else stored)[-2 ** 16:]
    except (ValueError, TypeError, IndexError):
        return None
    found = None
    for match in re.finditer(rb'[zZ\xfa\xda](.)', raw, re.DOTALL):
        end = match.end() + match[1][0]
        name, rest = raw[match.end():end], raw[end:end + 300]
        if re.fullmatch(rb'[A-Za-z_]\w*', name) and re.match(rb'(r....|[zZ\xfa\xda].[^\0]*?)?....[s\xf3r]', rest,
                                                             re.DOTALL):
            found = name.decode()
    return found
