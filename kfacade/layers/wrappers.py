"""Layers around other layers: one applied at every time step, one run in both directions of time."""
import copy

from .. import backend as K
from ..backend import state
from ..backend.symbolic import op
from ..engine.base_layer import InputSpec, Layer
from ..engine.network import Network
from ..utils.generic_utils import CustomObjectScope, has_arg, is_own, object_list_uid, to_list
from . import recurrent
from ._base import LayerGroup
from .core import Lambda

__all__ = ['Bidirectional', 'TimeDistributed', 'Wrapper']


class Wrapper(LayerGroup):
    """Base of layers that use another one, `layer`: its weights, losses and updates count as the wrapper's own."""

    part = 'layer'

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, Layer):
            raise TypeError(f'`layer` of {type(self).__name__} must be a layer. Received: {layer!r}')
        self.layer = layer
        self._input_map = {}  # uid of inputs of the wrapper -> what the wrapped layer was called on
        super().__init__(**kwargs)

    def __getstate__(self):
        return {**super().__getstate__(), '_input_map': {}}

    def build(self, input_shape=None):
        self.built = True

    activity_regularizer = property(lambda self: getattr(self.layer, 'activity_regularizer', None))

    @property
    def trainable(self):
        return self.layer.trainable

    @trainable.setter
    def trainable(self, value):
        if 'layer' in self._modules:  # not yet while the module is being made
            self.layer.trainable = value

    def get_updates_for(self, inputs=None):
        inner = inputs if inputs is None else self._input_map.get(object_list_uid(inputs), inputs)
        return self.layer.get_updates_for(inner) + Layer.get_updates_for(self, inputs)

    def get_losses_for(self, inputs=None):
        return (self.layer.get_losses_for(None) if inputs is None else []) + Layer.get_losses_for(self, inputs)


def _split_shape(y, like, time=None):
    return *(like.shape[:2] if time in (None, like.shape[1]) else (None, time)), *y.shape[1:]


@op(shape=_split_shape)
def _split_time(y, like, time=None):
    """(batch * time, ...) to (batch, time, ...), with the batch and time of `like`, or the `time` told of."""
    return y.unflatten(0, like.shape[:2] if time in (None, like.shape[1]) else (-1, time))


def _treats_samples_alone(layer):
    """Whether `layer` can take the time steps of all samples as one larger batch, whatever the batch size is."""
    if isinstance(layer, Network):
        return all(map(_treats_samples_alone, layer.layers))
    if isinstance(layer, Wrapper):
        return _treats_samples_alone(layer.layer)
    return is_own(layer) and not (isinstance(layer, Lambda) or layer.stateful)


class TimeDistributed(Wrapper):
    """Applies `layer` to every time step: (batch, time, ...) to (batch, time, ...), whatever it makes of (batch, ...).

    All time steps go through the layer at once, as a batch of batch * time. Where the batch size is fixed and the layer
    is stateful or a script's own, which may rely on that size, it is called step by step instead, without a mask.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 3:
            raise ValueError(f'Layer {self.name}: `TimeDistributed` needs inputs of at least 3 dimensions (batch, '
                             f'time, ...). Received the shape {tuple(input_shape)}.')
        self.input_spec = InputSpec(shape=input_shape)
        if not self.layer.built:
            self.layer._build_from([(input_shape[0], *input_shape[2:])])
        self.built = True

    def compute_output_shape(self, input_shape):
        batch, time, *sizes = input_shape
        inner = self.layer.compute_output_shape((batch, *sizes))
        return (inner[0], time, *inner[1:])

    def call(self, inputs, training=None, mask=None):
        kwargs = {'training': training} if has_arg(self.layer.call, 'training') else {}
        live = state.is_running()
        fixed_batch = K.int_shape(inputs)[0] is not None and not live
        if fixed_batch and not _treats_samples_alone(self.layer):
            _, output, _ = K.rnn(lambda x, states: (self.layer.call(x, **kwargs), states), inputs, [])
        else:
            if mask is not None and not fixed_batch and has_arg(self.layer.call, 'mask'):
                kwargs['mask'] = mask.flatten(0, 1)
            merged = inputs.flatten(0, 1)
            if not live:
                self._input_map[object_list_uid(inputs)] = merged
            output = _split_time(self.layer.call(merged, **kwargs), inputs, None if live else K.int_shape(inputs)[1])
        if fixed_batch and self.activity_regularizer is not None:
            self.add_loss(self.activity_regularizer(output), inputs)  # besides that of `__call__`, as in Keras 2.2.4
        return output

    def compute_mask(self, inputs, mask=None):
        if K.int_shape(inputs)[0] is not None:
            return mask
        merged = self._input_map[object_list_uid(inputs)]
        inner = self.layer.compute_mask(merged, None if mask is None else mask.flatten(0, 1))
        if inner is not None:
            return _split_time(inner, inputs, K.int_shape(inputs)[1])
        for _ in range(2, 0 if mask is None else K.ndim(mask)):
            mask = K.any(mask, axis=-1)
        return mask


_MERGES = {'sum': lambda forward, backward: [forward + backward], 'mul': lambda forward, backward: [forward * backward],
           'ave': lambda forward, backward: [(forward + backward) / 2],
           'concat': lambda forward, backward: [K.concatenate([forward, backward])],
           None: lambda forward, backward: [forward, backward]}


class Bidirectional(Wrapper):
    """Runs a recurrent layer and a copy of it that goes through time the other way, and merges their outputs.

    Arguments:
        layer: an `RNN`, such as ``LSTM(32)``.
        merge_mode: ``'concat'`` (along the last axis), ``'sum'``, ``'mul'``, ``'ave'`` (the mean), or None for a list
            of the two outputs.
        weights: arrays to start from, those of the forward layer first.

    Output: shape and masks of the layer's, with the features doubled for 'concat'; with `return_state` the states of
    both follow, the forward ones first. `initial_state` is a list in that order. As in Keras 2.2.4, a model does not
    count it as stateful: only training carries states from batch to batch, and ``reset_states`` is to be called on it.
    With `as_tf_keras`, masked steps of a sequence give zeros.
    Raises ValueError for another `merge_mode` and for an odd number of initial states.
    """

    def __init__(self, layer, merge_mode='concat', weights=None, **kwargs):
        if merge_mode not in _MERGES:
            raise ValueError('Invalid merge mode. Merge mode should be one of {"sum", "mul", "ave", "concat", None}. '
                             f'Received: {merge_mode!r}')
        if not isinstance(layer, Layer) or 'go_backwards' not in layer.get_config():
            raise TypeError('`layer` of Bidirectional must be a recurrent layer, with an argument `go_backwards`. '
                            f'Received: {layer!r}')
        self._num_constants = kwargs.pop('num_constants', None)  # from a configuration
        self.forward_layer, self.backward_layer = copy.copy(layer), _turned_round(layer)
        self.forward_layer.name = f'forward_{layer.name}'
        self.backward_layer.name = f'backward_{layer.name}'
        self.merge_mode = merge_mode
        if weights:
            self.forward_layer._initial_weights, self.backward_layer._initial_weights = _halves(weights)
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        super().__init__(layer, **kwargs)
        # The layer that was given only tells the configuration; a submodule, it would bring the forward weights twice.
        del self.layer
        self.__dict__['layer'] = layer
        self.supports_masking = True
        self.input_spec = layer.input_spec

    def _inner_layers(self):
        return [self._modules[name] for name in ('forward_layer', 'backward_layer') if name in self._modules]

    @property
    def trainable(self):
        return self.__dict__.get('_trainable', True)

    @trainable.setter
    def trainable(self, value):
        self.__dict__['_trainable'] = value
        for layer in self._inner_layers():
            layer.trainable = value

    def build(self, input_shape):
        for layer in self._inner_layers():
            with K.name_scope(layer.name):
                layer._build_from(to_list(input_shape))
        self.built = True

    def compute_output_shape(self, input_shape):
        shapes = self.forward_layer.compute_output_shape(input_shape)
        output, *states = shapes if self.return_state else [shapes]
        if self.merge_mode == 'concat':
            output = (*output[:-1], output[-1] * 2)
        outputs = [output] * (1 if self.merge_mode else 2) + states * 2
        return outputs if len(outputs) > 1 else output

    def compute_mask(self, inputs, mask):
        mask = mask[0] if isinstance(mask, list) else mask
        masks = [mask if self.return_sequences else None] * (1 if self.merge_mode else 2)
        if self.return_state:
            masks += [None] * (2 * len(self.forward_layer.states))
        return masks if len(masks) > 1 else masks[0]

    def __call__(self, inputs, initial_state=None, constants=None, **kwargs):
        inputs, initial_state, constants = recurrent.standardize_args(inputs, initial_state, constants,
                                                                      self._num_constants)
        if initial_state is not None and len(initial_state) % 2:
            raise ValueError('When passing `initial_state` to a Bidirectional RNN, the state should be a list '
                             'containing the states of the underlying RNNs, forward and backward. Found: '
                             f'{initial_state} (layer {self.name})')
        if constants is not None:
            self._num_constants = len(constants)
        for layer, states in zip(self._inner_layers(), _halves(initial_state)):
            if initial_state is not None or constants is not None:
                layer.describe_states(recurrent.specs_of(states), recurrent.specs_of(constants))
        return recurrent.call_with_states(super().__call__, self, inputs, initial_state, constants, kwargs)

    def call(self, inputs, mask=None, training=None, initial_state=None, constants=None):
        if isinstance(inputs, (list, tuple)):
            inputs, initial_state, constants = recurrent.standardize_args(list(inputs), None, None, self._num_constants)
        if mask is not None and (self.return_sequences or initial_state is not None) and self.is_as_tf_keras():
            for layer in self._inner_layers():
                layer.as_tf_keras = True
                layer.zero_output_for_mask = layer.zero_output_for_mask or self.return_sequences
        results = []
        for layer, states in zip(self._inner_layers(), _halves(initial_state)):
            given = {'training': training, 'mask': mask, 'constants': constants, 'initial_state': states}
            results.append(layer.call(inputs, **{k: v for k, v in given.items() if has_arg(layer.call, k)}))
        (forward, *states), (backward, *more) = results if self.return_state else ([r] for r in results)
        backward = K.reverse(backward, 1) if self.return_sequences else backward
        outputs = _MERGES[self.merge_mode](forward, backward) + states + more
        return outputs if len(outputs) > 1 else outputs[0]

    def reset_states(self):
        """Sets the states that both layers keep to zero."""
        for layer in self._inner_layers():
            layer.reset_states()

    get_losses_for, get_updates_for = LayerGroup.get_losses_for, LayerGroup.get_updates_for
    constraints = property(lambda self: {}, doc='Empty since Keras 2: a constraint belongs to its weight.')

    def get_config(self):
        config = {**super().get_config(), 'merge_mode': self.merge_mode}
        if self._num_constants is not None:
            config['num_constants'] = self._num_constants
        return config


def _halves(items):
    return (None, None) if items is None else (items[:len(items) // 2], items[len(items) // 2:])


def _turned_round(layer):
    """A new layer with the configuration of a recurrent one, but the other direction of time."""
    config = layer.get_config()
    config['go_backwards'] = not config['go_backwards']
    cells = getattr(getattr(layer, 'cell', None), 'cells', [getattr(layer, 'cell', None)])
    with CustomObjectScope({type(cell).__name__: type(cell) for cell in cells}):
        return type(layer).from_config(config)
