"""Recurrent layers: `RNN` over any cell, and SimpleRNN, GRU and LSTM."""
import warnings

import numpy as np
import torch

from .. import backend as K
from ..backend import state
from ..backend.dtypes import torch_dtype
from ..backend.face import Shape
from ..backend.symbolic import SymbolicTensor, computes, is_symbolic, live, op, record
from ..backend.variable import Variable
from ..engine.base_layer import InputSpec, Layer
from ..legacy import interfaces
from ..utils.generic_utils import has_arg, to_list
from . import _recurrent_cells
from ._base import BuiltinLayer, LayerGroup
from ._recurrent_cells import Cell, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells, output_size_of, state_sizes

__all__ = ['GRU', 'GRUCell', 'LSTM', 'LSTMCell', 'RNN', 'SimpleRNN', 'SimpleRNNCell', 'StackedRNNCells']


class RNN(LayerGroup, BuiltinLayer):
    """Runs a cell over the time steps of a sequence.

    Input: (batch, time, features). Output: (batch, units), that of the last step; with `return_sequences`, (batch,
    time, units), that of every step; with `return_state`, a list of this and of the last states, each (batch, size).
    A mask (batch, time) says which steps count: at the others the states stay and the output repeats.

    Arguments:
        cell: an object with ``call(inputs, states) -> output, new states`` and `state_size` (an integer, or a tuple of
            them), perhaps `output_size`; or a list of such, which are stacked. Its `call` may take `constants` and
            `training`.
        go_backwards: run from the last step to the first; a sequence comes out in that order.
        stateful: start each batch with the states in which the last one ended; needs a fixed batch size. They go back
            to zero with `reset_states`.
        unroll: as in Keras, masked steps before the first one that counts then give zeros instead of the initial state;
            the speed is the same. Needs a known number of steps.
        zero_output_for_mask: masked steps give zeros, as in tf.keras (default False).

    Called with `initial_state` (a tensor or a list) and `constants` (a tensor or a list, handed to each step), which
    may also follow the input in a list.

    Raises ValueError for a cell that is none, a wrong number of states, `unroll` without a number of steps, and
    `stateful` without a batch size.
    """

    settings = ('return_sequences', 'return_state', 'go_backwards', 'stateful', 'unroll')
    own_settings = {'zero_output_for_mask': False, 'num_constants': None}
    part, passes_masks = 'cell', True
    _feature_axis = -1  # of the states
    zero_output_for_mask = False

    def __init__(self, cell, return_sequences=False, return_state=False, go_backwards=False, stateful=False,
                 unroll=False, **kwargs):
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        _recurrent_cells.check_cell(cell, 'The RNN cell', cell)
        self._num_constants = kwargs.pop('num_constants', None)  # from a configuration
        self.zero_output_for_mask = kwargs.pop('zero_output_for_mask', False)
        super().__init__(locals(), **kwargs)
        self.cell = cell
        self.input_spec = [InputSpec(ndim=3)]
        self.state_spec = self.constants_spec = self._states = None

    def __init_subclass__(cls, **kwargs):
        forward = cls.forward
        super().__init_subclass__(**kwargs)
        cls.forward = forward  # that of RNN knows recorded calls from live ones, whoever defines `call`

    # ------------------------------------------------------------ shapes and weights

    def _all_shapes(self, input_shape):
        """The shapes of the output and of each state."""
        batch, time = input_shape[:2]
        output = (batch, time) if self.return_sequences else (batch,)
        return [(*output, output_size_of(self.cell)), *((batch, size) for size in state_sizes(self.cell))]

    def compute_output_shape(self, input_shape):
        shapes = self._all_shapes(input_shape[0] if isinstance(input_shape, list) else input_shape)
        return shapes if self.return_state else shapes[0]

    def compute_mask(self, inputs, mask):
        mask = mask[0] if isinstance(mask, list) else mask
        mask = mask if self.return_sequences else None
        return [mask, *(None for _ in self.states)] if self.return_state else mask

    def build(self, input_shape):
        input_shape, *more = to_list(input_shape)
        constants_shape = more[-self._num_constants:] if self._num_constants else []
        self.input_spec[0] = InputSpec(shape=(input_shape[0] if self.stateful else None, None, *input_shape[2:]))
        if isinstance(self.cell, Layer):
            self.cell._build_from([(input_shape[0], *input_shape[2:]), *constants_shape])
        expected = self._all_shapes((None, *input_shape[1:]))[1:]
        if self.state_spec is None:
            self.state_spec = [InputSpec(shape=shape) for shape in expected]
        elif [spec.shape[self._feature_axis] for spec in self.state_spec] != state_sizes(self.cell):
            raise ValueError(f'An `initial_state` was passed that is not compatible with `cell.state_size`. Received '
                             f'`state_spec`={self.state_spec}; however `cell.state_size` is {self.cell.state_size} '
                             f'(layer {self.name})')
        if self.stateful:
            self.reset_states()
        self.built = True

    num_constants = property(lambda self: self._num_constants)
    _cells = property(lambda self: getattr(self.cell, 'cells', [self.cell]))
    _uses_phase = property(lambda self: any(getattr(cell, '_uses_phase', True) for cell in self._cells))
    get_weights, set_weights = Layer.get_weights, Layer.set_weights

    @property
    def losses(self):
        return super().losses + self._losses

    @property
    def updates(self):
        return super().updates + (self._updates if self.trainable or self.stateful else [])

    # ------------------------------------------------------------ calling

    def __call__(self, inputs, initial_state=None, constants=None, recorded=False, **kwargs):
        if recorded:
            return super().__call__(inputs, initial_state=initial_state, constants=constants, recorded=True, **kwargs)
        inputs, initial_state, constants = standardize_args(inputs, initial_state, constants, self._num_constants)
        self.describe_states(specs_of(initial_state), specs_of(constants))
        return call_with_states(super().__call__, self, inputs, initial_state, constants, kwargs)

    def describe_states(self, state_spec, constants_spec):
        """Notes what initial states and constants (lists of `InputSpec`, or None) the layer is called with."""
        if state_spec is not None:
            self.state_spec = state_spec
        if constants_spec is not None:
            if not has_arg(self.cell.call, 'constants'):
                raise ValueError(f'RNN cell does not support constants (layer {self.name}).')
            self.constants_spec, self._num_constants = constants_spec, len(constants_spec)

    def call(self, inputs, mask=None, training=None, initial_state=None, constants=None):
        whole = inputs
        if isinstance(inputs, (list, tuple)):  # the states and constants are inputs of the model
            inputs, initial_state, constants = standardize_args(list(inputs), None, None, self._num_constants)
        mask = mask[0] if isinstance(mask, list) else mask
        if self.unroll and K.int_shape(inputs)[1] in (None, 1):
            raise ValueError('Cannot unroll a RNN if the time dimension is undefined or equal to 1. Specify the number '
                             f'of time steps of the input of {self.name}: by `input_shape` or `batch_input_shape` of '
                             'the first layer of a Sequential model (or `input_length` of an Embedding), or by `shape` '
                             'or `batch_shape` of the Input.')
        if mask is not None and (initial_state is not None or self.stateful or not isinstance(self.cell, Cell)):
            self.is_as_tf_keras()  # where tf.keras repeats the last output, Keras 2.2.4 gives the first state
        if mask is not None and not self._repeats_output and state_sizes(self.cell)[0] != output_size_of(self.cell):
            raise ValueError(f'Layer {self.name} cannot take a mask: where a step is masked, the first state stands '
                             f'for the output, but their sizes are {state_sizes(self.cell)[0]} and '
                             f'{output_size_of(self.cell)}.')
        states, plain = self._first_states(inputs, initial_state), self._is_plain(constants, mask)
        if not plain and states is None:
            states = self.get_initial_state(inputs)
        arguments = inputs, states, constants, mask
        if computes(arguments):
            with state.running(None if state.is_running() else self.training):
                results = self._run(*live(arguments), self._phase(training) if plain else training)
        elif plain:
            results = self._record(*arguments, self._phase(training))
        else:
            results = self._run(*arguments, training)
        if not self._gives_states():
            return results
        output, *last = results
        if self.stateful:
            self._keep_states(last, whole)
        return [output, *last] if self.return_state else output

    @property
    def _repeats_output(self):
        """Whether a masked step gives the last output, and zeros before the first, rather than the first state."""
        return self.unroll or self.as_tf_keras or self.zero_output_for_mask

    def forward(self, inputs, *args, recorded=False, **kwargs):
        return self._run(inputs, **kwargs) if recorded else self.call(inputs, *args, **kwargs)

    def _first_states(self, inputs, initial_state):
        """The states to start with; None for the zeros that `_run` makes itself."""
        given = initial_state is not None
        if not given and self.stateful:
            initial_state = self.states
        elif not given and type(self).get_initial_state is not RNN.get_initial_state:
            initial_state = self.get_initial_state(inputs)
        if initial_state is not None and len(initial_state) != len(self.states):
            raise ValueError(f'Layer {self.name} has {len(self.states)} states but was passed {len(initial_state)} '
                             'initial states.')
        if given and self._is_plain():
            for i, (x, wanted) in enumerate(zip(initial_state, self._all_shapes(K.int_shape(inputs))[1:])):
                if not Shape(K.int_shape(x)[1:]).is_compatible_with(wanted[1:]):
                    raise ValueError(f'Initial state {i} of layer {self.name} must have the shape {wanted}. Received '
                                     f'one of the shape {K.int_shape(x)}.')
        return initial_state

    def get_initial_state(self, inputs):
        """The states that a sequence starts with when none are given: zeros, a list of (batch, size)."""
        return _zero_states(inputs, self)

    def _gives_states(self):
        """Whether `_run` returns the last states, too."""
        return self.return_state or self.stateful

    def _record(self, inputs, states, constants, mask, training):
        """The symbol, or list of symbols, of a run of built-in cells, with this layer as a module of the graph."""
        kwargs = {'initial_state': states, 'mask': mask, 'training': training, 'recorded': True}
        nested = self._nested(self._all_shapes(K.int_shape(inputs))[1:])
        functions = [cell._functions(shapes[0]) for cell, shapes in zip(self._cells, nested)]
        if is_symbolic(functions):
            kwargs['functions'] = functions
        return record(self, (inputs,), {name: value for name, value in kwargs.items() if value is not None},
                      rule=self._stand_in)

    def _stand_in(self, inputs, **kwargs):
        """What stands for the results of a run in shape inference."""
        results = [inputs.new_empty(shape) for shape in self._all_shapes(inputs.shape)]
        return results if self._gives_states() else results[0]

    def _is_plain(self, constants=None, mask=None):
        """Whether whole-sequence kernels may run the cell: built-in cells, whose step nobody has overridden.

        Masked steps of stacked cells repeat the first cell's state, as in Keras: that is left to K.rnn.
        """
        return not constants and type(self.cell).call in (StackedRNNCells.call, Cell.call) and all(
            isinstance(cell, Cell) and type(cell).call is Cell.call for cell in self._cells) and (
                mask is None or isinstance(self.cell, Cell))

    def _nested(self, states):
        """The list of the states of each cell, from that of all."""
        return self.cell.split_states(states) if isinstance(self.cell, StackedRNNCells) else [states]

    def _run(self, inputs, initial_state=None, constants=None, mask=None, training=None, functions=None):
        """The output, or a list of it and the last states."""
        states = initial_state or [inputs.new_zeros(shape) for shape in self._all_shapes(inputs.shape)[1:]]
        if self.stateful and not is_symbolic(inputs) and len(states[0]) != len(inputs):
            raise ValueError(f'Layer {self.name} is stateful and keeps states for batches of {len(states[0])} samples. '
                             f'Received a batch of {len(inputs)}.')
        if self._is_plain(constants, mask):
            last, outputs, states = self._run_plain(
                inputs, states, mask, training, functions or [None] * len(self._cells))
        else:
            last, outputs, states = self._run_steps(inputs, states, constants, mask, training)
        if self.zero_output_for_mask and mask is not None:
            outputs, last = _zero_masked(outputs, mask, self.go_backwards), None
        output = outputs if self.return_sequences else outputs[:, -1] if last is None else last
        return [output, *states] if self._gives_states() else output

    def _run_plain(self, inputs, states, mask, training, functions):
        x = inputs.transpose(0, 1)
        keep = None if mask is None else mask.reshape(mask.shape[:2]).t().bool()
        if self.go_backwards:
            x, keep = x.flip(0), None if keep is None else keep.flip(0)
        nested = self._nested(states)
        for i, cell in enumerate(self._cells):
            x, nested[i] = cell.over_sequence(x, nested[i], training, keep, self._gives_states(), functions[i])
        if self._repeats_output and keep is not None:
            x = torch.where(keep.cumsum(0)[:, :, None] > 0, x, 0.)
        # No tensor is to be an output and a state at once. Its gradient is that of one step, not zeros for all others.
        last = None if self._gives_states() or keep is not None else nested[-1][0]
        return last, x.transpose(0, 1), self.cell.join_states(nested) if len(nested) > 1 else nested[0]

    def _run_steps(self, inputs, states, constants, mask, training):
        kwargs = {'training': training} if has_arg(self.cell.call, 'training') else {}
        if constants:
            kwargs['constants'] = constants
        with _recurrent_cells.one_sequence([self.cell, *self._cells]):
            last, outputs, states = K.rnn(lambda x, s: self.cell.call(x, s, **kwargs), inputs, states,
                                          self.go_backwards, mask, unroll=self.unroll,
                                          repeat_output=self._repeats_output,
                                          return_all_outputs=self.return_sequences or self.zero_output_for_mask)
        return None if self.unroll else last, outputs, states  # unrolled, it may be the same symbol as a state

    # ------------------------------------------------------------ kept states

    @property
    def states(self):
        """The Variables that hold the states between batches; None for each where there are none."""
        return [None] * len(state_sizes(self.cell)) if self._states is None else self._states

    @states.setter
    def states(self, states):
        self._states = states

    def reset_states(self, states=None):
        """Sets the kept states to zero, or to an array or list of arrays, each (batch, size).

        Raises AttributeError where the layer is not stateful, ValueError for an unknown batch size and for a wrong
        number or shape of arrays.
        """
        if not self.stateful:
            raise AttributeError('Layer must be stateful.')
        shapes = self._all_shapes(self.input_spec[0].shape)[1:]
        if any(None in shape for shape in shapes):
            raise ValueError('If a RNN is stateful, it needs to know its batch size (and the size of images). Specify '
                             f'that of the input of {self.name}: by `batch_input_shape` of the first layer of a '
                             'Sequential model, or by `batch_shape` of the Input.')
        if self.states[0] is None:
            for shape in shapes:
                state.claim(shape, torch_dtype(), f'Layer {self.name} claims a state')
            self.states = [Variable(np.zeros(shape), name=f'state_{i}', trainable=False, owner=self._params,
                                    key=f'state_{i}') for i, shape in enumerate(shapes)]
            for kept in self.states:  # a state goes along to other devices, but is not learned: not in the state_dict
                self._params.register_buffer(kept.key, kept.param, persistent=False)
        values = to_list(states, allow_tuple=True) if states is not None else [np.zeros(shape) for shape in shapes]
        if len(values) != len(shapes):
            raise ValueError(f'Layer {self.name} expects {len(shapes)} states, but it received {len(values)} state '
                             f'values. Input received: {states}')
        for i, (value, shape) in enumerate(zip(values, shapes)):
            if np.shape(value) != shape:
                raise ValueError(f'State {i} is incompatible with layer {self.name}: expected shape={shape}, found '
                                 f'shape={np.shape(value)}')
        K.batch_set_value(zip(self.states, values))

    def _keep_states(self, last, inputs):
        """Records the update of the kept states; a live call makes it at once."""
        if isinstance(last[0], SymbolicTensor):
            self.add_update([K.update(*pair) for pair in zip(self.states, last)], inputs)
        elif not last[0].is_meta:
            for kept, value in zip(self.states, last):
                kept.assign(value.detach())


def _generate_dropout_mask(ones, rate, training=None, count=1):
    """A dropout mask with the shape of `ones`, or a list of `count`: for cells written after Keras' own."""
    masks = [K.in_train_phase(lambda: K.dropout(ones, rate), ones, training=training) for _ in range(count)]
    return masks if count > 1 else masks[0]


@op
def _zero_states(inputs, layer):
    """Zeros for each state of a recurrent layer."""
    return [inputs.new_zeros(shape) for shape in layer._all_shapes(inputs.shape)[1:]]


@op
def _zero_masked(outputs, mask, go_backwards):
    """Outputs (batch, time, ...), zero where the steps are masked."""
    keep = mask.reshape(*mask.shape[:2], *[1] * (outputs.dim() - 2)).bool()
    return torch.where(keep.flip(1) if go_backwards else keep, outputs, 0.)


def standardize_args(inputs, initial_state, constants, num_constants):
    """`inputs`, and lists (or None) of initial states and constants, which may also follow the input in a list."""
    if isinstance(inputs, list):
        assert initial_state is None and constants is None, 'states were given twice: after the input and by keyword'
        if num_constants is not None:
            inputs, constants = inputs[:-num_constants], inputs[-num_constants:]
        inputs, *states = inputs
        initial_state = states or None
    return inputs, *(None if x is None else to_list(x, allow_tuple=True) for x in (initial_state, constants))


_standardize_args = standardize_args  # as third-party code imports it


def specs_of(tensors):
    """The `InputSpec` of each tensor of a list; None for None."""
    return None if tensors is None else [InputSpec(shape=K.int_shape(x)) for x in tensors]


def call_with_states(call, layer, inputs, initial_state, constants, kwargs):
    """Calls a layer with states and constants: those that Keras layers made become inputs of the call.

    Raises ValueError for a mix of tensors that Keras layers made and others.
    """
    given = {k: v for k, v in (('initial_state', initial_state), ('constants', constants)) if v is not None}
    extra = [x for tensors in given.values() for x in tensors]
    from_layers = [K.is_keras_tensor(x) for x in extra]
    if not any(from_layers):
        return call(inputs, **given, **kwargs)
    if not all(from_layers):
        raise ValueError(f'The initial state or constants of the RNN layer {layer.name} cannot be specified with a mix '
                         'of Keras tensors and non-Keras tensors (a "Keras tensor" is a tensor that was returned by a '
                         'Keras layer, or by `Input`)')
    plain_spec = layer.input_spec
    layer.input_spec = [*plain_spec, *specs_of(extra)]
    try:
        output = call([inputs, *extra], **given, **kwargs)
    finally:
        layer.input_spec = plain_spec
    node = layer.inbound_nodes[-1]  # its inputs say already what the states and constants are
    node.arguments = {k: v for k, v in node.arguments.items() if k not in given}
    return output


class CellLayer(RNN):
    """Base of the layers over a cell of their own, which has most of their settings."""

    cell_class = None
    flags = RNN.settings

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if 'cell_class' not in cls.__dict__:
            return
        names = cls.cell_class.settings
        for name in names:
            setattr(cls, name, property(lambda self, name=name: getattr(self.cell, name)))
        last = names.index('bias_regularizer') + 1
        cls.settings = (*cls.flags, *names[:last], 'activity_regularizer', *names[last:])

    def __init__(self, settings, kwargs):
        if settings.get('implementation') == 0:
            warnings.warn('`implementation=0` has been deprecated, and now defaults to `implementation=1`. Please '
                          'update your layer call.', stacklevel=4)
        flags = {name: settings[name] if name in settings else kwargs.pop(name, False) for name in self.flags}
        super().__init__(self.cell_class(**{name: settings[name] for name in self.cell_class.settings}), **flags,
                         **kwargs)
        self.configure(activity_regularizer=settings['activity_regularizer'])

    def call(self, inputs, mask=None, training=None, initial_state=None):
        return super().call(inputs, mask=mask, training=training, initial_state=initial_state)

    get_config = BuiltinLayer.get_config  # without the cell

    @classmethod
    def from_config(cls, config):
        return cls(**{k: 1 if (k, v) == ('implementation', 0) else v for k, v in config.items()})


class SimpleRNN(CellLayer):
    """Fully connected RNN, whose output goes back in: ``h = activation(x kernel + h recurrent_kernel + bias)``.

    Shapes, masks, states and the arguments from `return_sequences` on are those of `RNN`.

    Arguments:
        units: size of the output. activation: name, function or None (default ``'tanh'``). use_bias: whether to add
            one. dropout, recurrent_dropout: the rates at which features of the input, and of the state, are dropped in
            training; what is dropped is drawn once a sequence. A rate of 1 or more drops nothing, as in Keras 2.2.4.
        activity_regularizer: function of the output. The initializers, regularizers and constraints are those of the
            kernel (features, units), the recurrent kernel (units, units) and the bias (units).
    """

    cell_class = SimpleRNNCell

    @interfaces.legacy_recurrent_support
    def __init__(self, units, activation='tanh', use_bias=True, kernel_initializer='glorot_uniform',
                 recurrent_initializer='orthogonal', bias_initializer='zeros', kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0., recurrent_dropout=0.,
                 return_sequences=False, return_state=False, go_backwards=False, stateful=False, unroll=False,
                 **kwargs):
        if kwargs.pop('implementation', None) is not None:
            warnings.warn('The `implementation` argument in `SimpleRNN` has been deprecated. Please remove it from '
                          'your layer call.', stacklevel=3)
        super().__init__(locals(), kwargs)


class GRU(CellLayer):
    """Gated recurrent unit (Cho et al. 2014): shapes, masks and states as of `RNN`, other arguments as of `SimpleRNN`.

    Keras' default applies the reset gate before the recurrent product (arXiv:1406.1078v3), ``reset_after=True`` after
    it (arXiv:1406.1078v1), which with ``recurrent_activation='sigmoid'`` is cuDNN's and torch's GRU, and runs by their
    kernel.

    Arguments:
        recurrent_activation: that of the gates (default ``'hard_sigmoid'``).
        implementation: 1: each gate has dropout masks of its own; 2: one mask for all gates. The speed is the same.
        reset_after: see above; the bias then has the shape (2, 3 * units).

    The gates are in the order z, r, h along the last axis of the weights.
    """

    cell_class = GRUCell

    @interfaces.legacy_recurrent_support
    def __init__(self, units, activation='tanh', recurrent_activation='hard_sigmoid', use_bias=True,
                 kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.,
                 recurrent_dropout=0., implementation=1, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, unroll=False, reset_after=False, **kwargs):
        super().__init__(locals(), kwargs)


class LSTM(CellLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997): shapes, masks and states (h and c) as of `RNN`.

    With ``recurrent_activation='sigmoid'`` it is torch's LSTM, and runs by its kernel. Further arguments as of
    `SimpleRNN`.

    Arguments:
        recurrent_activation: that of the gates (default ``'hard_sigmoid'``).
        unit_forget_bias: start with a bias of 1 for the forget gate (Jozefowicz et al. 2015).
        implementation: 1: each gate has dropout masks of its own; 2: one mask for all gates. The speed is the same.

    The gates are in the order i, f, c, o along the last axis of the weights.
    """

    cell_class = LSTMCell

    @interfaces.legacy_recurrent_support
    def __init__(self, units, activation='tanh', recurrent_activation='hard_sigmoid', use_bias=True,
                 kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0., recurrent_dropout=0., implementation=1, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, unroll=False, **kwargs):
        super().__init__(locals(), kwargs)
