"""What the built-in layers share: settings given by name, the configuration made from them, and live activations."""
import inspect
import math
from types import SimpleNamespace

import numpy as np
import torch

from .. import activations, constraints, initializers, registry, regularizers
from ..backend import is_tensor, learning_phase, normalize_data_format
from ..backend.pullbacks import softmax
from ..backend.random import SeedStream
from ..backend.symbolic import SymbolicNode, SymbolicTensor, closure
from ..backend.variable import Variable
from ..engine.base_layer import InputSpec, Layer, opaque
from ..utils import conv_utils
from ..utils.generic_utils import check_number, is_own, serialize_keras_object, to_list, transpose_shape

_KINDS = {'activation': activations, 'initializer': initializers, 'regularizer': regularizers,
          'constraint': constraints}

# The least that integers of these names may be (Keras runs layers without units or repetitions), what that is called,
# and the names of numbers.
_LEAST = {**dict.fromkeys(('filters', 'kernel_size', 'strides', 'dilation_rate', 'pool_size', 'size',
                           'depth_multiplier', 'nb_feature'), 1),
          **dict.fromkeys(('units', 'n', 'output_dim'), 0), 'target_shape': -1, 'axis': -math.inf}
_INTEGERS = {1: 'a positive integer', 0: 'a non-negative integer', -1: 'a non-negative integer (one may be -1)',
             -math.inf: 'an integer'}
_NUMBERS = {'rate', 'stddev', 'dropout', 'recurrent_dropout', 'momentum', 'epsilon', 'mask_value', 'alpha', 'theta',
            'max_value', 'negative_slope', 'threshold'}

# What else the ``locals()`` of a constructor hold.
_NO_SETTINGS = ('self', 'kwargs', '__class__')


# What a layer runs for the commonest activations; any other function is run as it is.
_LIVE = {activations.linear: None, activations.relu: torch.relu, activations.tanh: torch.tanh,
         activations.sigmoid: torch.sigmoid, activations.softmax: softmax}


def live_activation(function):
    """What to call on a live tensor for the activation `function`; None for the identity."""
    try:
        return _LIVE[function]
    except (KeyError, TypeError):
        return getattr(function, 'body', function)


class BuiltinLayer(Layer):
    """A layer described by `settings`: the names of its arguments, in the order in which Keras writes them to files.

    A layer that names none has all arguments of its constructor, in their order there. A setting whose name ends in
    activation, initializer, regularizer or constraint may be given as a name, an object or a configuration, and is
    written to files as a configuration. `own_settings` are arguments that Keras does not have or write, with their
    defaults: only other values go to files.
    """

    settings, own_settings = (), {}
    scaled_weight = None  # the name of the one that scales the output's channels, which are its first axis in torch
    weight_layouts = {}  # the names of the weights that `call` reads, and the layout of each (None: Keras')
    passes_masks = False
    by_sample = True  # whether no sample of a batch, in test, makes a difference to another one
    makes_new = False  # whether the output is always memory that nobody else holds

    def __init__(self, arguments=None, /, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = self.passes_masks
        self.configure(arguments)

    def compute_output_shape(self, input_shape):
        return input_shape

    def configure(self, arguments=None, /, **more):
        """Sets the settings found among `arguments` (a constructor's ``locals()``) and `more`, which may replace them.

        What stands for an activation, initializer, regularizer or constraint becomes the object. Raises ValueError,
        naming the argument, for a value that cannot be.
        """
        if arguments and not self.settings:
            self.settings = tuple(name for name in arguments if name not in _NO_SETTINGS)
        names = {*self.settings, *self.own_settings}
        found = {name: value for name, value in (arguments or {}).items() if name in names}
        for name, value in {**found, **more}.items():
            setattr(self, name, self._checked(name, value))

    def _checked(self, name, value):
        if name in _LEAST:
            self.check_integers(name, value, _LEAST[name])
        if name in _NUMBERS:
            check_number(name, value, f'layer {self.name}')
        kind = _KINDS.get(name.rpartition('_')[2])
        try:
            return kind.get(value) if kind else value
        except ValueError as error:
            raise ValueError(f'`{name}` of layer {self.name}: {error}') from None

    def check_integers(self, name, value, least):
        """Raises ValueError unless the argument `name` is an integer from `least` on, or a tuple of such."""
        if not all(isinstance(x, int) and x >= least for x in np.ravel(value).tolist()):
            each = ' for each dimension' if isinstance(value, tuple) else ''
            raise ValueError(f'`{name}` of layer {self.name} must be {_INTEGERS[least]}{each}. Received: {value!r}')

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        # Calls that were recorded with none stay so; those with one keep it as their argument.
        if name == 'activation' and (not self._inbound_nodes or self._activate is not None):
            self.__dict__['_activate'] = live_activation(value)

    def activated(self, x, activation=None):
        """The live tensor `x` under the `activation` that was recorded, or else this layer's."""
        activate = activation or self._activate
        return x if activate is None else activate(x)

    def _phase(self, training):
        """Whether to train: as a call says, or else the learning phase where that makes a difference."""
        return self._uses_phase and learning_phase() if training is None else training

    def _record_activation(self, kwargs, metas):
        """Adds the activation to the arguments of a recorded call: a user's own is recorded on what has the `metas`."""
        if is_own(self.activation):
            activate = live_activation(self.activation)
            return {**kwargs, 'activation': activate} if activate else kwargs, metas
        activation = closure(self.activation, SymbolicTensor(None, (), {}, metas))
        return {**kwargs, 'activation': activation}, tuple(result() for result in activation.metas)

    def get_config(self):
        config = super().get_config()
        for name in self.settings:
            kind = _KINDS.get(name.rpartition('_')[2])
            value = getattr(self, name)
            config[name] = kind.serialize(value) if kind else value
        own = {name: getattr(self, name) for name in self.own_settings}
        return {**config, **{name: value for name, value in own.items() if value != self.own_settings[name]}}

    def _opaque_node(self, call, inputs, kwargs):
        replaced = {name: weight for name in self.weight_layouts if not self._owns(weight := getattr(self, name, None))}
        if not replaced:
            return super()._opaque_node(call, inputs, kwargs)
        return SymbolicNode(call_with_weights, (self, call.body, replaced, inputs), kwargs)

    def _owns(self, weight):
        """Whether an attribute is as `build` left it; scripts put other tensors there (tied weights, DropConnect)."""
        return not is_tensor(weight) or isinstance(weight, Variable) and weight.owner is self._params

    def add_weight(self, *args, **kwargs):
        """As `Layer.add_weight`; the weights that `call` reads get their layout, also in a subclass' own `build`."""
        name = kwargs.get('name') or next((x for x in args if isinstance(x, str)), None)
        kwargs.setdefault('layout', self.weight_layouts.get(name))
        return super().add_weight(*args, **kwargs)

    def add_setting_weight(self, name, shape, wanted=True, **more):
        """A weight made as the settings ``<name>_initializer``, ``_regularizer`` and ``_constraint`` say.

        The settings of a ``depthwise_kernel`` are called ``depthwise_initializer`` and so on. `more` are arguments of
        `add_weight`, and go before. One that is not `wanted` is None, and so is the stored parameter.
        """
        if not wanted:
            return self._params.register_parameter(name, None)
        stem = name.removesuffix('_kernel')
        told = {part: getattr(self, f'{stem}_{part}', None) for part in ('initializer', 'regularizer', 'constraint')}
        return self.add_weight(name=name, shape=shape, **{**told, **more})

    def add_bias(self, shape):
        """Makes ``self.bias``, which is None where ``use_bias`` is False."""
        self.bias = self.add_setting_weight('bias', shape, self.use_bias)


class LayerGroup(Layer):
    """Base of layers whose weights, losses and updates are those of other layers.

    `part` is the name under which the constructor takes them, and a configuration has theirs: one, or a list.
    """

    part = None

    def _inner_layers(self):
        return [x for x in to_list(getattr(self, self.part), allow_tuple=True) if isinstance(x, Layer)]

    def _of_inner(self, name, *arguments):
        """The lists that an attribute (or, with arguments, a method) of the inner layers gives, as one."""
        found = [getattr(layer, name) for layer in self._inner_layers()]
        return [item for items in found for item in (items(*arguments) if arguments else items)]

    trainable_weights = property(lambda self: self._of_inner('trainable_weights') if self.trainable else [])

    @property
    def non_trainable_weights(self):
        return ([] if self.trainable else self._of_inner('trainable_weights')) + self._of_inner('non_trainable_weights')

    def get_weights(self):
        return [array for layer in self._inner_layers() for array in layer.get_weights()]

    def set_weights(self, weights):
        *layers, last = self._inner_layers()
        for layer in layers:
            count = len(layer.weights)
            layer.set_weights(weights[:count])
            weights = weights[count:]
        last.set_weights(weights)

    losses = property(lambda self: self._of_inner('losses'))
    updates = property(lambda self: self._of_inner('updates'))

    def get_losses_for(self, inputs=None):
        return self._of_inner('get_losses_for', inputs) + super().get_losses_for(inputs)

    def get_updates_for(self, inputs=None):
        return self._of_inner('get_updates_for', inputs) + super().get_updates_for(inputs)

    def get_config(self):
        inner = getattr(self, self.part)
        return {**super().get_config(), self.part: [serialize_keras_object(x) for x in inner]
                if isinstance(inner, (list, tuple)) else serialize_keras_object(inner)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        inner = config.pop(cls.part)
        made = [registry.deserialize(x, custom_objects) for x in to_list(inner)]
        return cls(made if isinstance(inner, list) else made[0], **config)


class SpatialLayer(BuiltinLayer):
    """A layer over `rank` spatial dimensions: (batch, spatial..., channels), or (batch, channels, spatial...).

    `_output_sizes` says what becomes of the spatial sizes, `_output_channels` of the number of channels.
    """

    window = 'kernel_size'  # the setting that holds the sizes of the windows which the layer moves over its input

    def __init__(self, rank, data_format, **kwargs):
        super().__init__(**kwargs)
        self.rank, self.data_format = rank, normalize_data_format(data_format)
        self.input_spec = InputSpec(ndim=rank + 2)

    _channel_axis = property(lambda self: 1 if self.data_format == 'channels_first' else -1)

    def _spatial(self, shape):
        """The spatial sizes in a shape."""
        return shape[2:] if self.data_format == 'channels_first' else shape[1:-1]

    def _output_channels(self, channels):
        return channels

    def _output_sizes(self, sizes):
        ones = (1,) * self.rank
        windows = zip(sizes, getattr(self, self.window), self.strides, getattr(self, 'dilation_rate', ones))
        return [conv_utils.conv_output_length(size, window, self.padding, stride, dilation)
                for size, window, stride, dilation in windows]

    def compute_output_shape(self, input_shape):
        """Raises ValueError where a dimension of the output would not be positive."""
        channels = self._output_channels(input_shape[self._channel_axis])
        shape = (input_shape[0], *self._output_sizes(self._spatial(input_shape)), channels)
        axes = tuple(range(1, self.rank + 1))
        return checked_sizes(self, transpose_shape(shape, self.data_format, axes), input_shape)


def spatial_settings(rank, arguments):
    """Those of a constructor's ``locals()`` that say how windows move over `rank` dimensions, as Keras stores them.

    Raises ValueError for sizes, a padding or a data format that cannot be.
    """
    padding = conv_utils.normalize_padding(arguments['padding'])
    if padding == 'causal' and (rank != 1 or 'dilation_rate' not in arguments):
        raise ValueError('The `padding` argument must be "valid" or "same"; causal padding is for `Conv1D` and '
                         '`SeparableConv1D`.')
    sizes = {name: conv_utils.normalize_tuple(arguments[name], rank, name)
             for name in ('pool_size', 'kernel_size', 'strides', 'dilation_rate') if name in arguments}
    return {**sizes, 'padding': padding, 'data_format': normalize_data_format(arguments['data_format'])}


def argument_names(constructor):
    """The names of a constructor's arguments, without `self` and ``**kwargs``."""
    return tuple(inspect.signature(constructor).parameters)[1:-1]


def handed_on(arguments):
    """A constructor's ``locals()`` as the keyword arguments of another one."""
    return {name: value for name, value in arguments.items() if name not in _NO_SETTINGS} | arguments['kwargs']


def call_with_weights(layer, body, weights, inputs, **kwargs):
    """Runs the body of a built-in layer's `call` with tensors (in Keras' layout) in the place of its own weights."""
    layouts = layer.weight_layouts
    return body(with_params(layer, {name: layouts[name].from_keras(weight) if layouts[name] else weight
                                    for name, weight in weights.items()}), inputs, **kwargs)


def with_params(layer, params):
    """What computes as a built-in layer does, with tensors (in torch's layout) in the place of some of its own."""
    own = {name: getattr(layer._params, name, None) for name in layer.weight_layouts}
    other = object.__new__(type(layer))
    other.__dict__.update(layer.__dict__, _modules={**layer._modules, '_params': SimpleNamespace(**{**own, **params})})
    return other


class NoiseLayer(BuiltinLayer):
    """A layer that gives ``_disturbed(inputs)`` in training, with random numbers of `self._stream`.

    They start from ``self.seed``, or from numpy's generator where that is None. With a `rate`, outside (0, 1) nothing
    happens.
    """

    passes_masks = only_trains = True
    seed = rate = None

    _uses_phase = property(lambda self: self.rate is None or 0. < self.rate < 1.)

    @opaque
    def call(self, inputs, training=None):
        return self._disturbed(inputs) if training and self._uses_phase else inputs

    def build(self, input_shape):
        noise_shape = getattr(self, 'noise_shape', None) or ()
        if not np.iterable(noise_shape) or len(noise_shape) > len(input_shape) or any(
                isinstance(size, int) and size not in (1, actual) and actual is not None
                for size, actual in zip(noise_shape[::-1], input_shape[::-1])):
            raise ValueError(f'`noise_shape` of layer {self.name} is {noise_shape}, which does not broadcast to its '
                             f'input of shape {tuple(input_shape)}.')
        if self._uses_phase:
            self._stream = SeedStream(self.seed)
        self.built = True


def size_along(layer, axis, shape):
    """``shape[axis]``. Raises ValueError where the shape of an input of `layer` has no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f'Layer {layer.name} works along axis {axis}, which an input of shape {tuple(shape)} lacks.')
    return shape[axis]


def checked_sizes(layer, shape, input_shape):
    """`shape`, the output shape of `layer`. Raises ValueError where a dimension of it would be too small."""
    least = getattr(layer, 'smallest_output', 1)
    if any(d is not None and d < least for d in shape[1:]):
        raise ValueError(f'Layer {layer.name} cannot be applied to an input of shape {tuple(input_shape)}: its output '
                         f'would have the shape {tuple(shape)}. Negative dimension size: the input is too small.')
    return tuple(shape)
