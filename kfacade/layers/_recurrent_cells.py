"""The cells of recurrent layers: one step of SimpleRNN, GRU and LSTM, and stacks of cells."""
import warnings
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from .. import backend as K
from .. import initializers
from ..backend.session import is_tensor
from ..backend.symbolic import as_tensor, closure, computes, leaves, op, placeholder
from ..backend.variable import Layout
from ..engine.base_layer import Layer
from ..utils import ranks
from ..utils.generic_utils import has_arg, is_own, to_list
from . import _recurrent_kernels as kernels
from ._base import BuiltinLayer, LayerGroup, argument_names, live_activation

_drawn = ContextVar('drawn', default=None)  # the dropout masks that hold for all steps of the running sequence


@contextmanager
def one_sequence(cells):
    """Around the steps of a sequence. Afterwards nothing is left that cells stored in themselves at the first step.

    Cells written for Keras keep their dropout masks so; those of the next sequence are to be others. What is no tensor
    stays: with symbols the steps are only recorded here.
    """
    before, outer = [(vars(cell), dict(vars(cell))) for cell in cells], _drawn.set({})
    try:
        yield
    finally:
        _drawn.reset(outer)
        for now, then in before:
            for name, value in list(now.items()):
                if value is not then.get(name) and any(map(is_tensor, leaves(value))):
                    del now[name]
                    now.update({name: then[name]} if name in then else {})


class _GateSlice:
    """Part of a weight that belongs to one gate, as cells written after Keras' read it (``kernel_i``), or set it."""

    def __init__(self, weight, gate):
        self.weight, self.gate = weight, gate

    def __get__(self, cell, owner=None):
        weight = None if cell is None else getattr(cell, self.weight)
        if weight is None:
            return None
        size = weight.shape[-1] // len(cell.gate_names)
        return weight[..., self.gate * size:(self.gate + 1) * size]


def _by_rows(kernel):
    """The transposed matrix, laid out as torch's recurrent kernels want it."""
    return kernel.t().contiguous()


class Cell(BuiltinLayer):
    """Base of the built-in cells: weights, dropout masks, one step (`call`), and a whole sequence (`over_sequence`)."""

    kind = kernels.Simple  # the arithmetic, a class of `_recurrent_kernels`
    gate_names, bias_names = '', ('bias',)  # the gates in Keras' order
    recurrent_activation, implementation = None, 1
    _channel_axis = -1

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for gate, name in enumerate(cls.__dict__.get('gate_names', '')):
            for weight in ('kernel', 'recurrent_kernel', *cls.bias_names):
                setattr(cls, f'{weight}_{name}', _GateSlice(weight, gate))

    def __init__(self, settings, kwargs):
        super().__init__(settings, **kwargs)
        size = settings[self.settings[0]]
        self.check_integers(self.settings[0], size, 1)
        self.dropout = min(1., max(0., self.dropout))
        self.recurrent_dropout = min(1., max(0., self.recurrent_dropout))
        self.state_size = self.output_size = size

    def build(self, input_shape):
        channels, width = input_shape[self._channel_axis], self.kind.gates * self.output_size
        window = getattr(self, 'kernel_size', ())
        if channels is None:
            raise ValueError(f'The {"channel" if window else "last"} dimension of the inputs should be defined. Found '
                             f'`None`. (Layer {self.name}, input shape {tuple(input_shape)})')
        self.kernel = self.add_setting_weight('kernel', (*window, channels, width))
        self.recurrent_kernel = self.add_setting_weight('recurrent_kernel', (*window, self.output_size, width))
        self.add_bias((width,))
        self.built = True

    def _weights(self):
        """Input weight, its bias, recurrent weight, its bias: live, in torch's layout."""
        params = self._params
        return params.kernel, params.bias, params.recurrent_kernel, None

    def _drop(self, like, name, training):
        """Dropout masks (gates or 1, batch, features); None where nothing is dropped."""
        rate = getattr(self, name)
        if not 0 < rate < 1:
            return None
        drawn = {} if _drawn.get() is None else _drawn.get()
        if (self, name) not in drawn:
            ones = [K.ones_like(like)] * (self.kind.gates if self.implementation == 1 else 1)
            drawn[self, name] = K.in_train_phase(lambda: K.dropout(K.stack(ones), rate), None, training)
        return drawn[self, name]

    _uses_phase = property(lambda self: 0 < self.dropout < 1 or 0 < self.recurrent_dropout < 1)

    def _functions(self, shape=None):
        """What to run for the two activations; with the `shape` of a state, recorded ones for those of the user's."""
        return [None if f is None else closure(f, placeholder(shape)) if shape and not is_own(f) else
                live_activation(f) or torch.clone for f in (self.activation, self.recurrent_activation)]

    def call(self, inputs, states, training=None):
        """One step: the output and the list of new states, from `inputs` (batch, features) and the list of states."""
        training, states = self._phase(training), list(states)
        dropped = self._drop(inputs, 'dropout', training), self._drop(states[0], 'recurrent_dropout', training)
        functions = self._functions(None if computes((inputs, states)) else K.int_shape(states[0]))
        states = _step(self, inputs, states, dropped, functions)
        return states[0], states

    def over_sequence(self, x, states, training, keep=None, last_states=False, functions=None):
        """All steps at once: the outputs (time, batch, units) and the list of last states.

        Arguments:
            x: (time, batch, features). states: those before the first step. training: whether dropout acts.
            keep: (time, batch) bool, False where a step leaves the states alone and repeats the output.
            last_states: whether the last states matter to the caller. functions: recorded activations.
        """
        if ranks.run_apart and x.is_cpu and torch.compiler.is_dynamo_compiling():  # which takes minutes, and is slower
            return ranks.run_apart(self.over_sequence, x, states, training, keep, last_states, functions)
        weights, activations = self._weights(), (self.activation, self.recurrent_activation)
        dropped = self._drop(x[0], 'dropout', training)
        if dropped is not None and len(dropped) == 1:
            x = x * dropped[0]
        elif dropped is not None:
            x, weights = self.project(x, dropped), (None, None, *weights[2:])
        masks = self._drop(states[0], 'recurrent_dropout', training)
        path = 'scan' if kernels.open_ended(x) else kernels.choose_path(
            self.kind, *activations, masks, weights[0] is None, keep is not None, last_states,
            kernels.beats_torch(self.kind, x, states, weights))
        functions = functions or self._functions() if path == 'scan' else activations
        return kernels.run(path, self.kind, x, states, weights, masks, *functions, keep)

    def project(self, x, masks=None):
        """The input projections of a live step (batch, features), or of a sequence, under dropout masks."""
        return kernels.project(x, *self._weights()[:2], masks)


@op(shape=lambda cell, inputs, states, dropped, functions: [tuple(s.shape) for s in states])
def _step(cell, inputs, states, dropped, functions):
    """The new states of a built-in cell after one step, under dropout masks of the input and of the first state."""
    projected = cell.project(inputs, dropped[0])
    return list(cell.kind.step(projected, states, *cell._weights()[2:], dropped[1], *functions))


def state_sizes(cell):
    """The sizes of a cell's states, as a list."""
    return to_list(cell.state_size, allow_tuple=True)


def output_size_of(cell):
    size = getattr(cell, 'output_size', None)
    return state_sizes(cell)[0] if size is None else size


class SimpleRNNCell(Cell):
    """The cell of `SimpleRNN`: one step of ``h = activation(x kernel + h recurrent_kernel + bias)``."""

    weight_layouts = {'kernel': Layout(torch.t, _by_rows),
                      'recurrent_kernel': Layout(torch.t, _by_rows), 'bias': None}

    def __init__(self, units, activation='tanh', use_bias=True, kernel_initializer='glorot_uniform',
                 recurrent_initializer='orthogonal', bias_initializer='zeros', kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, dropout=0., recurrent_dropout=0., **kwargs):
        super().__init__(locals(), kwargs)

    settings = argument_names(__init__)


def swapped(x, dim=-1):
    """Three gates with the first two in each other's place: from Keras' z, r, h to torch's r, z, n, and back."""
    z, r, h = x.chunk(3, dim)
    return torch.cat([r, z, h], dim)


def _gru_kernel(weight):
    return swapped(weight.t())


def _gru_weight(kernel):
    return swapped(kernel.t(), 0)


class GRUCell(Cell):
    """The cell of `GRU`: one step; see there."""

    weight_layouts = {'kernel': Layout(_gru_kernel, _gru_weight), 'recurrent_kernel': Layout(_gru_kernel, _gru_weight),
                      'bias': Layout(swapped, swapped)}
    bias_names = ('input_bias', 'recurrent_bias')
    gate_names = 'zrh'
    kind = property(lambda self: kernels.GRUResetAfter if self.reset_after else kernels.GRU)
    input_bias = property(lambda self: self.bias[0] if self.use_bias and self.reset_after else self.bias)
    recurrent_bias = property(lambda self: self.bias[1] if self.use_bias and self.reset_after else None)

    def __init__(self, units, activation='tanh', recurrent_activation='hard_sigmoid', use_bias=True,
                 kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0., recurrent_dropout=0., implementation=1,
                 reset_after=False, **kwargs):
        super().__init__(locals(), kwargs)

    settings = argument_names(__init__)

    def add_bias(self, shape):
        super().add_bias((2, *shape) if self.reset_after else shape)

    def _weights(self):
        kernel, bias, recurrent_kernel, _ = super()._weights()
        input_bias, recurrent_bias = bias if self.reset_after and bias is not None else (bias, None)
        return kernel, input_bias, recurrent_kernel, recurrent_bias


class LSTMCell(Cell):
    """The cell of `LSTM`: one step; see there. Its states are h and c."""

    weight_layouts = SimpleRNNCell.weight_layouts
    kind = kernels.LSTM
    gate_names = 'ifco'
    bias_parts = (1, 1, 2)  # how many gates' biases lie before that of the forget gate, are its own, lie behind

    def __init__(self, units, activation='tanh', recurrent_activation='hard_sigmoid', use_bias=True,
                 kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.,
                 recurrent_dropout=0., implementation=1, **kwargs):
        super().__init__(locals(), kwargs)
        self.state_size = (units, units)

    settings = argument_names(__init__)

    def add_setting_weight(self, name, shape, *wanted, **more):
        if name == 'bias' and self.unit_forget_bias:
            more['initializer'] = self._forget_gate_open
        return super().add_setting_weight(name, shape, *wanted, **more)

    def _forget_gate_open(self, shape, dtype=None):
        parts = (self.bias_initializer, initializers.Ones(), self.bias_initializer)
        size = shape[0] // sum(self.bias_parts)
        return torch.cat([as_tensor(initializers.first_value(initializer, (count * size,)))
                          for initializer, count in zip(parts, self.bias_parts)])


class StackedRNNCells(LayerGroup):
    """Several cells as one: each gets the output of the one before it. `cells` is the list of them.

    The states are those of the first cell, then those of the second, and so on (the other way round for
    ``reverse_state_order=True``).
    Raises ValueError for a cell without a `call` method or a `state_size`.
    """

    part = 'cells'

    def __init__(self, cells, **kwargs):
        if not cells:
            raise ValueError(f'`cells` must hold at least one cell. Received: {cells!r}')
        for cell in cells:
            check_cell(cell, 'All cells', cells)
        self.cells = cells
        self.reverse_state_order = kwargs.pop('reverse_state_order', False)
        if self.reverse_state_order:
            warnings.warn('`reverse_state_order=True` in `StackedRNNCells` will soon be deprecated. Please update the '
                          'code to work with the natural order of states if you reply on the RNN states, eg '
                          '`RNN(return_state=True)`.', stacklevel=2)
        super().__init__(**kwargs)
        self._layers = torch.nn.ModuleList(self._inner_layers())

    def _in_state_order(self, cells):
        return cells[::-1] if self.reverse_state_order else cells

    @property
    def state_size(self):
        return tuple(size for cell in self._in_state_order(self.cells) for size in state_sizes(cell))

    output_size = property(lambda self: output_size_of(self.cells[-1]))

    def split_states(self, states):
        """A list with the list of states of each cell."""
        states = iter(states)
        return self._in_state_order([[next(states) for _ in state_sizes(cell)]
                                     for cell in self._in_state_order(self.cells)])

    def join_states(self, nested):
        """The inverse of `split_states`."""
        return [s for states in self._in_state_order(nested) for s in states]

    def call(self, inputs, states, constants=None, **kwargs):
        """One step of all cells, the first one first: the last one's output, and the list of new states."""
        new_states = []
        for cell, own in zip(self.cells, self.split_states(states)):
            extra = {'constants': constants} if has_arg(cell.call, 'constants') else {}
            inputs, own = cell.call(inputs, own, **extra, **kwargs)
            new_states.append(own)
        return inputs, self.join_states(new_states)

    def build(self, input_shape):
        input_shape, *constants_shape = to_list(input_shape)
        for cell in self.cells:
            if isinstance(cell, Layer):
                cell.build([input_shape, *constants_shape] if has_arg(cell.call, 'constants') else input_shape)
                cell.built = True
            input_shape = (input_shape[0], output_size_of(cell))
        self.built = True


def check_cell(cell, subject, given):
    if not hasattr(cell, 'call'):
        raise ValueError(f'{subject} must have a `call` method. Received: {given}')
    if not hasattr(cell, 'state_size'):
        raise ValueError(f'{subject} must have a `state_size` attribute (an integer, or a tuple with one integer for '
                         f'each state). Received: {given}')
