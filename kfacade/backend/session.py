"""Functions of the graph and the session: placeholders, variables, values, updates, gradients, `K.function`."""
import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from .. import config
from . import state
from .devices import list_devices
from .dtypes import dtype_name, on_host, torch_dtype
from .graph import PHASE, choose_phase, compile_graph, gradients_of, has_gradient
from .math import named
from .shapes import either, new_size
from .symbolic import Face, SymbolicTensor, TensorFace, as_tensor, is_symbolic, op, record, to_feed
from .symbolic import placeholder as _placeholder
from .trees import leaves, map_leaves
from .variable import MovingAverageUpdate, Update, Variable

__all__ = ['Function', 'batch_get_value', 'batch_set_value', 'clear_session', 'constant', 'count_params', 'dtype',
           'eval', 'eye', 'function', 'get_session', 'get_value', 'get_variable_shape', 'gradients', 'in_test_phase',
           'in_train_phase', 'int_shape', 'is_keras_tensor', 'is_placeholder', 'is_sparse', 'is_tensor',
           'learning_phase', 'manual_variable_initialization', 'moving_average_update', 'ndim', 'ones', 'placeholder',
           'set_learning_phase', 'set_session', 'set_value', 'shape', 'to_dense', 'update', 'update_add', 'update_sub',
           'variable', 'zeros']


# ---------------------------------------------------------------- making tensors

def placeholder(shape=None, ndim=None, dtype=None, sparse=False, name=None):
    """A symbol whose value is fed. `shape` may hold None; `ndim` stands for as many unknown dimensions.

    A `sparse` one takes scipy.sparse matrices and sparse tensors. Raises ValueError without `shape` and `ndim`.
    """
    if shape is None:
        if ndim is None:
            raise ValueError('Specify either a `shape` or an `ndim` value for a placeholder.')
        shape = (None,) * ndim
    return _placeholder(tuple(shape), dtype, name or f'Placeholder_{state.get_uid("Placeholder")}', sparse)


def variable(value, dtype=None, name=None, constraint=None):
    """A Variable with the given initial value (a number, array, tensor or symbol) and dtype (default ``floatx()``)."""
    initial = evaluate(value) if is_symbolic(value) else value
    return Variable(initial, dtype or (None if is_tensor(value) else torch_dtype()), name, constraint)


@named
@op
def constant(value, dtype=None, shape=None, name=None):
    """A tensor that holds `value`; in a given `shape`, whose last elements repeat the last value.

    Raises ValueError where the shape has fewer elements than `value`.
    """
    tensor = as_tensor(value, dtype or torch_dtype())
    if shape is None:
        return tensor
    flat, count = tensor.reshape(-1), math.prod(shape)
    if flat.numel() > max(count, 1):  # a number fits any shape
        raise ValueError(f'Too many elements provided. Needed at most {count} for the shape {tuple(shape)}, but '
                         f'received {flat.numel()}')
    last = flat[-1:] if flat.numel() else flat.new_zeros(1)
    return torch.cat([flat[:count], last.expand(max(count - flat.numel(), 0))]).reshape(tuple(shape))


constant.body.is_constant = True  # it is made when a graph is compiled


def _filled(make, shape, dtype, name):
    if is_symbolic(shape):
        return record(make, (shape,), {'dtype': torch_dtype(dtype)})
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)
    state.claim(sizes, torch_dtype(dtype), 'A tensor')
    value = make(sizes, dtype=torch_dtype(dtype))
    return value if state.is_running() else Variable(value, name=name)


def _eye(size, dtype):
    return torch.eye(*size, dtype=dtype) if isinstance(size, tuple) else torch.eye(size, dtype=dtype)


def zeros(shape, dtype=None, name=None):
    """A Variable of zeros (a plain tensor inside a running forward; a symbol where `shape` holds symbols)."""
    return _filled(torch.zeros, shape, dtype, name)


def ones(shape, dtype=None, name=None):
    """A Variable of ones (a plain tensor inside a running forward; a symbol where `shape` holds symbols)."""
    return _filled(torch.ones, shape, dtype, name)


def eye(size, dtype=None, name=None):
    """A Variable that holds the identity matrix of `size` rows."""
    return _filled(_eye, size, dtype, name)


def identity_of(x):
    """`x` itself, as a node of its own."""
    return x


# ---------------------------------------------------------------- asking about tensors

def is_tensor(x):
    """Whether `x` is a symbol, a Variable or a torch tensor."""
    return isinstance(x, (SymbolicTensor, Face, torch.Tensor))


def is_keras_tensor(x):
    """Whether a Keras layer made the symbol `x`. Raises ValueError when `x` is no tensor at all."""
    if not is_tensor(x):
        raise ValueError(f'Unexpectedly found an instance of type `{type(x)}`. Expected a symbolic tensor instance.')
    return hasattr(x, '_keras_history')


def is_placeholder(x):
    """Whether `x` is a symbol whose value must be fed."""
    return isinstance(x, SymbolicTensor) and x.fn is None


def int_shape(x):
    """The shape as a tuple with None for what is unknown; None where `x` has no shape."""
    shape = getattr(x, '_keras_shape', None)
    if shape is None:
        shape = getattr(x, 'shape', None)
    return None if shape is None else tuple(shape)


class _ShapeTensor(SymbolicTensor):
    """What ``K.shape`` gives: an element of it is a plain int at run time, so that it can size other tensors."""

    def __getitem__(self, index):
        x = self.args[0]
        if isinstance(index, int):
            known = None not in x.shape or x.shape[index].value is None  # TensorFlow knows one where it knows all
            sizes = tuple(meta.shape[index] for meta in x.metas) if known else new_size()
            return record(_size, (x, index), {}, metas=sizes)
        if isinstance(index, slice):
            axes = list(range(len(x.shape)))[index]
            return record(_sizes, (x, axes), {}, metas=tuple(_sizes(meta, axes) for meta in x.metas))
        return super().__getitem__(index)


def _size(x, axis):
    return x.size(axis)


def _sizes(x, axes):
    sizes = torch.tensor([x.size(i) for i in axes], dtype=torch.int32)
    return sizes if x.is_meta else sizes.to(x.device)  # where shapes are found, the values count


_size.differentiable = _sizes.differentiable = False


def shape(x):
    """The shape at run time: an int32 tensor whose elements may size other tensors (``K.shape(x)[0]``)."""
    if isinstance(x, SymbolicTensor):
        axes = list(range(len(x.shape)))
        return _ShapeTensor(_sizes, (x, axes), {}, tuple(_sizes(meta, axes) for meta in x.metas))
    return torch.tensor(tuple((x if isinstance(x, Face) else as_tensor(x)).shape), dtype=torch.int32)


def ndim(x):
    """Number of dimensions that the tensor has, whatever shape a layer declares for it."""
    return len(x.shape)


def dtype(x):
    """Name of the data type, such as ``'float32'``."""
    return dtype_name(x.dtype)


def is_sparse(tensor):
    """Whether a tensor, or a placeholder, is sparse."""
    return tensor._sparse if isinstance(tensor, SymbolicTensor) else isinstance(
        tensor, torch.Tensor) and tensor.is_sparse


@op
def to_dense(tensor):
    """`tensor`, dense."""
    return tensor.to_dense() if tensor.is_sparse else tensor


def count_params(x):
    """Number of elements of a Variable or of a tensor whose shape is known."""
    return int(np.prod(int_shape(x), dtype=np.int64))


get_variable_shape = int_shape


# ---------------------------------------------------------------- values

def evaluate(x, phase=False):
    """The live value of a symbol that is not fed, or of a Variable; of an update, which it applies, the new one."""
    if isinstance(x, (SymbolicTensor, Update)):
        return Function([], [x]).graph(phase).run()[0]
    return as_tensor(x).detach()


def to_numpy(value):
    """An array (or numpy scalar) of a live result."""
    if isinstance(value, torch.Tensor):
        array = on_host(value).numpy()
        return array[()] if array.ndim == 0 else array
    return np.asarray(value, {int: 'int32', float: config.floatx()}.get(type(value)))


def eval(x):
    """The value of a tensor as an array."""
    return x.numpy() if isinstance(x, Face) else to_numpy(evaluate(x))


def _eval(self, feed_dict=None, session=None):
    """The value as an array, with arrays fed for the placeholders in a dict; `session` is there for TensorFlow code."""
    fed = feed_dict or {}
    return Function(list(fed), [self])(list(fed.values()))[0]


SymbolicTensor.eval = _eval
get_value = eval


def batch_get_value(ops):
    """The values of several tensors, as arrays."""
    return [eval(x) for x in ops]


def set_value(x, value):
    """Sets a Variable from an array, in Keras' layout. Raises ValueError for another shape."""
    if not isinstance(x, Face):
        raise TypeError(f'Only a variable can be set; got {x!r}.')
    x.assign(value if isinstance(value, torch.Tensor) else np.asarray(value))


def batch_set_value(tuples):
    """Sets several Variables, from (variable, array) pairs."""
    for x, value in tuples:
        set_value(x, value)


# ---------------------------------------------------------------- updates

def update(x, new_x):
    """A pending assignment ``x = new_x``, made by a function that is given it."""
    return Update(x, new_x)


def update_add(x, increment):
    """A pending ``x = x + increment``."""
    return Update(x, x + increment)


def update_sub(x, decrement):
    """A pending ``x = x - decrement``."""
    return Update(x, x - decrement)


def moving_average_update(x, value, momentum):
    """A pending move of `x` towards `value`: an exponential average corrected for its start from zero."""
    return MovingAverageUpdate(x, value, momentum)


# ---------------------------------------------------------------- learning phase

def learning_phase():
    """The learning phase: a symbol, or 0 or 1 where it is fixed; a bool inside a running forward."""
    fixed = state.fixed_learning_phase()
    if fixed is not None:
        return fixed
    return bool(state.mode.phase) if state.is_running() else PHASE


set_learning_phase = state.set_learning_phase


def in_train_phase(x, alt, training=None):
    """`x` in training and `alt` otherwise; either may be a function without arguments.

    `training`: True or False to decide here and now, None for the learning phase.
    """
    if training is None:
        training = learning_phase()
    if not isinstance(training, SymbolicTensor):
        chosen = x if training else alt
        return chosen() if callable(chosen) else chosen
    x, alt = (branch() if callable(branch) else branch for branch in (x, alt))
    both = isinstance(x, TensorFace) and isinstance(alt, TensorFace)
    return record(choose_phase, (training, x, alt), {}, metas=either(x.metas, alt.metas) if both else None)


def in_test_phase(x, alt, training=None):
    """`x` in test and `alt` in training; see `in_train_phase`."""
    return in_train_phase(alt, x, training=training)


# ---------------------------------------------------------------- gradients and functions

def gradients(loss, variables):
    """Symbols for the gradients of the sum of `loss` with respect to `variables` (Variables or symbols).

    A variable that `loss` does not depend on gives None, as in Keras.
    """
    losses = list(loss) if isinstance(loss, (list, tuple)) else [loss]
    return weighted_gradients(losses, [None] * len(losses), variables)


def weighted_gradients(losses, weights, variables):
    """`gradients` of the sum of several losses, each times its weight, of the same shape or None."""
    variables = list(variables) if isinstance(variables, (list, tuple)) else [variables]
    found = [t if there else None for t, there in zip(variables, has_gradient(losses, variables))]
    targets = [t for t in found if t is not None]
    symbols = iter(record(gradients_of, (losses, weights, targets, False), {}, metas=tuple(
        zip(*[t.metas for t in targets]))) if targets else ())
    return [None if t is None else next(symbols) for t in found]


class Function:
    """A callable from a list of input values to a list of output arrays; see `function`."""

    def __init__(self, inputs, outputs, updates=None, name=None, **session_kwargs):
        if session_kwargs:
            raise ValueError(f'Invalid argument "{next(iter(session_kwargs))}" passed to K.function: the torch backend '
                             'has no session to pass it to.')
        updates = [] if updates is None else updates
        for what, given in (('`inputs` to', inputs), ('`outputs` of', outputs), ('`updates` in', updates)):
            if not isinstance(given, (list, tuple)):
                raise TypeError(f'{what} a backend function should be a list or tuple.')
        self.inputs, self.name = list(inputs), name
        self.outputs = [x.new_value if isinstance(x, Update) else x for x in outputs]
        self.updates = [u if isinstance(u, Update) else Update(*u) for u in updates]
        self.updates += [u for u in outputs if isinstance(u, Update) and u not in self.updates]
        self._graphs = {}

    def graph(self, phase, count=None):
        """The compiled graph of a learning phase, with the first `count` inputs fed (default: all)."""
        if (phase, count) not in self._graphs:
            fed = [x for x in self.inputs[:count] if x is not PHASE]
            self._graphs[phase, count] = compile_graph(fed, self.outputs, self.updates, phase)
        return self._graphs[phase, count]

    def __call__(self, inputs):
        if not isinstance(inputs, (list, tuple)):
            raise TypeError(f'`inputs` should be a list or tuple. Found: {inputs!r}')
        phase, fed = bool(state.fixed_learning_phase()), []
        for symbol, value in zip(self.inputs, inputs):  # as Keras: more are ignored, and fewer are enough for some
            if symbol is PHASE:
                phase = bool(value)
            elif isinstance(symbol, SymbolicTensor):
                fed.append((symbol, value))
        graph = self.graph(phase, len(inputs) if len(inputs) < len(self.inputs) else None)
        return [to_numpy(value) for value in graph.run(*[to_feed(*pair, graph.home) for pair in fed])]


def function(inputs, outputs, updates=None, **kwargs):
    """Compiles the computation of `outputs` from `inputs` to a callable on lists of arrays.

    Arguments:
        inputs: list of placeholders, or of any symbols whose value shall be fed; may hold ``K.learning_phase()``.
        outputs: list of tensors; an update among them is applied and gives the new value.
        updates: list of updates (or of ``(variable, new value)`` pairs) that each call applies.
    """
    return Function(inputs, outputs, updates=updates, **kwargs)


# ---------------------------------------------------------------- sessions

class Session(AbstractContextManager):
    """What TensorFlow's session was for scripts: it runs symbols. Variables do not live in it; all have their values.

    `target`, `graph` and `config` are accepted since scripts pass them: there is one process, one graph, and a
    configuration has taken effect when it was made.
    """

    graph = SymbolicTensor.graph

    def __init__(self, target='', graph=None, config=None):
        self._functions = {}

    def run(self, fetches, feed_dict=None):
        """The values of a tree of symbols, variables and updates, which are made, as arrays.

        Arguments:
            fetches: what to run; None, as initializers and operations without a value are, gives None.
            feed_dict: arrays by the placeholder (or any symbol) that they are fed for. The learning phase is that of
                testing unless it is fed.
        """
        fed, wanted = dict(feed_dict or {}), [x for x in leaves(fetches) if x is not None]
        odd = [x for x in wanted if not (is_tensor(x) or isinstance(x, (Update, int)))]
        odd += [x for x in fed if not isinstance(x, SymbolicTensor)]
        if odd:
            raise TypeError(f'A session runs symbols, variables and updates, and is fed for symbols. Got: {odd[0]!r}')
        key = tuple(map(id, wanted)), tuple(map(id, fed))
        if key not in self._functions:  # holds what the ids are of
            self._functions[key] = Function(list(fed), wanted)
        values = iter(self._functions[key](list(fed.values())))
        return map_leaves(lambda x: None if x is None else next(values), fetches)

    def as_default(self):
        return nullcontext(self)

    list_devices = staticmethod(list_devices)

    def close(self):
        """Forgets how to run what has been run."""
        self._functions.clear()

    def __exit__(self, *_):
        self.close()


_sessions = [Session()]


def get_session():
    """The session that was set, else one that is always there."""
    return _sessions[-1]


def set_session(session):
    """Makes `session` the one that `get_session` gives. No other has values of its own for variables."""
    _sessions[:] = [session]


def clear_session():
    """Forgets names, scopes, a fixed learning phase and the session, as destroying the TensorFlow graph did."""
    state.clear_session()
    set_session(Session())


def manual_variable_initialization(value):
    """Raises ValueError for True: on torch a Variable holds its initial value from the start."""
    if value:
        raise ValueError('Variables of the torch backend are initialized when they are made; this cannot be put off.')
