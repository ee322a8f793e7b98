"""Symbolic tensors: what Keras scripts compute with before there is any data.

A `SymbolicTensor` is a node: a function and its arguments, some of them symbolic themselves. Every backend function is
written once, as a torch expression, under the decorator `op`: given a live tensor it computes, given a symbol it
records itself. ``torch`` functions and the Python operators do the same. `backend.graph` compiles what was recorded.
"""
import functools
import inspect
import itertools
import operator
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch

from . import shapes, state
from .devices import fetched, put, scoped_device
from .dtypes import dtype_name, torch_dtype
from .face import DTYPES, Dimension, DType, Shape
from .shapes import common_shape, stand_in
from .trees import leaves, map_leaves

_ids = itertools.count()
_OF_NUMBERS = {bool: torch.bool, int: torch.int32}  # other numbers are of ``floatx()``


def floordiv(x, y):
    """``x // y``, through which no gradient flows; torch's own refuses to have one."""
    x, y = (value.detach() if isinstance(value, torch.Tensor) else value for value in (x, y))
    return x // y


def _operator(name, reflected=False):
    fn = floordiv if name == 'floordiv' else getattr(operator, name)
    if reflected:
        return lambda self, other: dispatch(fn, (_operand(other, self), self), {})
    return lambda self, *other: dispatch(fn, (self, *[_operand(x, self) for x in other]), {})


def _operand(x, beside):
    """What stands beside the symbol or variable `beside`: a list, tuple or array as a tensor of the same data type.

    Raises TypeError for fractions in a list beside integers.
    """
    if not isinstance(x, (list, tuple)) and (isinstance(x, (TensorFace, torch.Tensor, np.generic))
                                             or not hasattr(x, '__array__')):
        return x
    if _needs_value(x):
        return _packed(x, beside.dtype)
    if isinstance(x, (list, tuple)) and np.asarray(x).dtype.kind == 'f' and not beside.dtype.is_floating_point:
        raise TypeError(f'The numbers {x} are no {dtype_name(beside.dtype)}, as the tensor {beside.name} is. Use '
                        '`K.cast` first.')
    return as_tensor(x, beside.dtype).clone()


def _index(x, index):
    """``x[index]``; slices may have negative steps, as numpy's may and torch's may not."""
    index, axis, parts = index if isinstance(index, tuple) else (index,), 0, []
    implied = x.dim() - sum(i is not None and i is not Ellipsis for i in index)
    for i in index:
        if isinstance(i, slice) and i.step is not None and i.step < 0:
            chosen = range(x.shape[axis])[i]
            x = x[(*[slice(None)] * axis, slice(chosen[-1], chosen[0] + 1, -i.step) if chosen else slice(0, 0))]
            x, i = x if x.is_meta else x.flip(axis), slice(None)  # on meta, `flip` imports for a third of a second
        parts.append(i)
        axis += implied if i is Ellipsis else i is not None
    return x[tuple(parts)]


def _method(name):
    fn = getattr(torch.Tensor, name)

    def method(self, *args, **kwargs):
        return dispatch(fn, (self, *args), kwargs)
    method.__name__ = name
    return method


def _refusal(advice):
    def refuse(self, *args, **kwargs):
        raise TypeError(f'{self!r} has no value while a graph is built. {advice}')
    return refuse


class Graph:
    """Stands where TensorFlow's graph stood: all symbols are of one, which is always the default."""

    def as_default(self):
        return nullcontext(self)


class Operation:
    """What made a tensor: the name and the function of the node, and the `inputs` that are symbols."""

    def __init__(self, tensor):
        self.name, self.outputs, self.graph = tensor.name.rpartition(':')[0], [tensor], tensor.graph
        self.inputs = symbols_in((getattr(tensor, 'args', ()), getattr(tensor, 'kwargs', {})))
        self.type = function_name(tensor.fn) if isinstance(tensor, SymbolicTensor) else 'Variable'


class TensorFace:
    """What symbols and variables have in common: `_keras_shape`, `name`, `dtype`, and that operations on them record.

    They take part in ``torch`` functions, the Python operators and the common tensor methods. Equality and hash are
    identity. As TensorFlow's tensors, they have no ``__len__``, ``__array__``, ``__float__`` and the like at all:
    libraries ask for these to tell what they were given.
    """

    __array_ufunc__ = None  # numpy leaves its operators to ours
    __iter__ = _refusal('Take slices (`x[:, i]`), or use `K.map_fn`.')
    __array_struct__ = property(_refusal('Use `K.get_value`, `K.eval` or `K.function`.'))  # numpy asks for it first

    graph = Graph()
    op = property(Operation)

    ndim = property(lambda self: len(self.shape))

    def dim(self):
        return len(self.shape)

    def get_shape(self):
        """The shape of the tensor itself, which may not be the one that a layer declares (`K.int_shape`)."""
        return self.shape

    def __getitem__(self, index):
        turns = any(isinstance(i, slice) and i.step is not None and not isinstance(i.step, TensorFace) and i.step < 0
                    for i in (index if isinstance(index, tuple) else (index,)))
        return dispatch(_index if turns else operator.getitem, (self, index), {})

    def __repr__(self):
        return f'<{type(self).__name__} {self.name} shape={tuple(self._keras_shape)} dtype={dtype_name(self.dtype)}>'

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})

    for _name in ('add', 'sub', 'mul', 'truediv', 'floordiv', 'mod', 'pow', 'matmul', 'and_', 'or_', 'xor'):
        locals()[f'__{_name.strip("_")}__'] = _operator(_name)
        locals()[f'__r{_name.strip("_")}__'] = _operator(_name, reflected=True)
    for _name in ('lt', 'le', 'gt', 'ge', 'neg', 'abs', 'invert'):
        locals()[f'__{_name}__'] = _operator(_name)
    for _name in ('abs bool chunk clamp contiguous detach exp expand flatten float int log long masked_fill matmul '
                  'mean norm permute pow relu repeat reshape sigmoid size softmax split sqrt square squeeze std sum t '
                  'tanh to transpose type_as unsqueeze var view').split():
        locals()[_name] = _method(_name)
    del _name


class Face(TensorFace):
    """Base of the variables (`backend.variable`): their `value` is a live tensor, which counts in a running forward."""

    metas = property(lambda self: stand_in(self.shape.as_list(), self.dtype))


class SymbolicTensor(TensorFace):
    """A tensor without data: the node ``fn(*args, **kwargs)`` of a recorded graph, or a placeholder (``fn`` None).

    `metas` are the two values that shape inference carried here: meta tensors, ints for what derives from ``K.shape``,
    or functions (see `closure`). `number` says in which order symbols were made.
    """

    __bool__ = _refusal('For an `if` or an `and` on tensors use `K.switch`, or compute with them.')
    _sparse = False
    _keeps_dtype = False  # whether what is fed keeps its own dtype
    _exact = False  # whether it holds integers to look up, which ``model.half()`` must not round
    _by_rows = False  # whether each sample has its own row, which depends on no other sample

    def __init__(self, fn, args, kwargs, metas, name=None):
        self.fn, self.args, self.kwargs, self.metas, self.number = fn, args, kwargs, metas, next(_ids)
        self.shape = common_shape(metas)
        is_number = not isinstance(metas[0], torch.Tensor)
        self.dtype = DTYPES[_OF_NUMBERS.get(type(metas[0])) or torch_dtype() if is_number else metas[0].dtype]
        self._keras_shape = tuple(self.shape.as_list())
        self._uses_learning_phase = any(s._uses_learning_phase for s in symbols_in((args, kwargs)))
        self._scope, self._path = state.mode.scope, state.mode.path
        self._name = name
        self._on = None if fn is None else scoped_device(self)

    @property
    def name(self):
        if self._name is None:
            own = f'{function_name(self.fn)}_{self.number}'
            self._name = f'{self._scope}/{own}:0' if self._scope else f'{own}:0'
        return self._name

    def set_shape(self, shape):
        """Tells sizes that inference left open. Raises ValueError where known ones are others."""
        shape = Shape(shape).as_list()
        if not self.shape.is_compatible_with(shape):
            raise ValueError(f'The shape {tuple(shape)} does not fit {self.name} of shape '
                             f'{tuple(self.shape.as_list())}.')
        self.metas = stand_in([old if new is None else new for old, new in zip(shapes.pairs_of(self), shape)],
                              self.dtype)
        self.shape = common_shape(self.metas)
        self._keras_shape = tuple(self.shape.as_list())


def dispatch(func, args, kwargs):
    """What `op` does, for a function that is torch's own: compute in a running forward, else record."""
    return func(*live(args), **live(kwargs)) if state.mode.depth else record(func, args, kwargs)


# ---------------------------------------------------------------- trees of arguments

def symbols_in(tree):
    """The symbolic tensors in a tree, in order."""
    return [x for x in leaves(tree) if isinstance(x, SymbolicTensor)]


def is_symbolic(tree):
    """Whether a tree holds a symbolic tensor."""
    return any(isinstance(x, SymbolicTensor) for x in leaves(tree))


def _live_leaf(x):
    if not isinstance(x, TensorFace):
        return x
    if isinstance(x, Face):
        return x.value
    raise TypeError(f'The symbolic tensor {x.name} was used inside a running forward, where there is no value for it. '
                    'Pass it in as an argument or an input.')


def _needs_value(x):
    kind = type(x)
    if kind is tuple or kind is list:
        return any(map(_needs_value, x))
    if kind is dict:
        return any(map(_needs_value, x.values()))
    return isinstance(x, TensorFace)


def live(tree):
    """`tree` with Variables replaced by their live tensors."""
    return map_leaves(_live_leaf, tree) if _needs_value(tree) else tree


def as_tensor(x, dtype=None):
    """A live tensor of `x`: a tensor, a Variable, an array or a number (64-bit floats and numbers become ``floatx()``).

    A scipy.sparse matrix gives a sparse tensor.
    """
    if dtype is None and type(x) is np.ndarray and x.dtype == np.float32 and x.flags.carray:
        return torch.from_numpy(x)  # as below, but at once
    if isinstance(x, Face):
        x = x.value
    if isinstance(x, torch.Tensor):
        return x if dtype is None else x.to(torch_dtype(dtype))
    if isinstance(x, (list, tuple)) and any(isinstance(leaf, torch.Tensor) for leaf in leaves(x)):
        return torch.stack([as_tensor(part, dtype) for part in x])
    if hasattr(x, 'tocoo'):
        matrix = x.tocoo()
        values = as_tensor(matrix.data, dtype)
        index = np.stack([matrix.row, matrix.col])
        return torch.sparse_coo_tensor(index, values, matrix.shape, check_invariants=True).coalesce()
    array = np.asarray(x)
    if is_odd(array):
        array = array.astype(np.dtype(dtype_name(dtype)))
    if dtype is None and array.dtype == np.float64:
        dtype = torch_dtype()
    elif dtype is None and array.dtype == np.int64 and not isinstance(x, np.ndarray):
        dtype = torch.int32
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder('='))
    elif any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        array = array.copy()
    return torch.as_tensor(array) if dtype is None else torch.as_tensor(array, dtype=torch_dtype(dtype))


# ---------------------------------------------------------------- shapes


def _by_rule(fn, shape_rule, dtype_rule):
    """What stands for running `fn` where a rule gives its shape, or list of shapes."""
    @functools.wraps(fn)
    def result(*args, **kwargs):
        shape = shape_rule(*args, **kwargs)
        tensors = [x for x in leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        dtype = dtype_rule(*args, **kwargs) if dtype_rule else tensors[0].dtype if tensors else torch_dtype()
        if isinstance(shape, list) and not all(isinstance(size, int) for size in shape):
            return [shapes.empty(s, dtype) for s in shape]
        return shapes.empty(shape, dtype)
    return result


def _infer(fn, args, kwargs, rule=None):
    """The values of ``fn(*args, **kwargs)`` in the two runs. Raises ValueError with the shapes at hand."""
    try:
        return shapes.infer(rule or fn, args, kwargs)
    except shapes.Misfit as misfit:
        given = ', '.join(f'{s.name} {tuple(s.shape.as_list())}' for s in symbols_in((args, kwargs)))
        raise ValueError(f'`{function_name(fn)}` cannot be applied to {given or "these arguments"}: '
                         f'{misfit}') from misfit.__cause__


# ---------------------------------------------------------------- recording

def function_name(fn):
    """A short name for a recorded function or module."""
    if fn is None:
        return 'placeholder'
    name = getattr(fn, 'name', None) if isinstance(fn, torch.nn.Module) else getattr(fn, '__name__', None)
    return name or type(fn).__name__


_PLAIN = {DType: torch_dtype, Dimension: int, Shape: Shape.as_list}


def _constant_leaf(x):
    """Arrays become tensors when they are recorded, so that later changes of the array change nothing."""
    if isinstance(x, np.ndarray) and x.dtype != object:
        return as_tensor(x.copy())
    return x.item() if isinstance(x, np.generic) else _PLAIN[type(x)](x) if type(x) in _PLAIN else x


def record(fn, args, kwargs, metas=None, rule=None):
    """Records the call ``fn(*args, **kwargs)`` and returns its symbol, or a list or tuple of symbols.

    `metas`: the values of the two meta runs, where the caller knows them; otherwise they are worked out, from `rule` if
    that can stand for `fn`. A bound method of a module is recorded as its function with the module as first argument.
    """
    if inspect.ismethod(fn) and isinstance(fn.__self__, torch.nn.Module):
        fn, args = fn.__func__, (fn.__self__, *args)
    args, kwargs = map_leaves(_constant_leaf, tuple(args)), map_leaves(_constant_leaf, dict(kwargs))
    return wrap(SymbolicNode(fn, args, kwargs), metas or _infer(fn, args, kwargs, rule))


class SymbolicNode(NamedTuple):
    """A recorded call whose results have not been wrapped yet."""

    fn: object
    args: tuple
    kwargs: dict


def wrap(node, metas):
    """Symbols for the results of a recorded call: one, or one per element of a list or tuple."""
    if isinstance(metas[0], (list, tuple)) and not isinstance(metas[0], torch.Size):
        whole = SymbolicTensor(*node, (torch.empty(0, device='meta'),) * 2)
        parts = [None if m[0] is None else SymbolicTensor(operator.getitem, (whole, i), {}, m)
                 for i, m in enumerate(zip(*metas))]
        return tuple(parts) if isinstance(metas[0], tuple) else parts
    return SymbolicTensor(*node, metas)


def placeholder(shape, dtype=None, name=None, sparse=False):
    """A symbol without a recorded call: its value is fed. `shape` may hold None."""
    symbol = SymbolicTensor(None, (), {}, stand_in(shape, torch_dtype(dtype)),
                            name=f'{state.unique_scope(name)}:0' if name else None)
    symbol._sparse = sparse
    return symbol


def is_odd(array):
    """Whether an array holds objects, text, times or long doubles, for which torch has no type."""
    return array.dtype.kind in 'OSUMm' or array.dtype.char in 'gG'


def fed_tensor(symbol, value, dtype=None):
    """The live tensor of an array that is fed for a placeholder; in its data type where torch has not the array's.

    Raises TypeError or ValueError, with the name of the placeholder, where it holds what is no number.
    """
    if value is None:
        raise ValueError(f'You must feed a value for the placeholder {symbol.name}. Got: None')
    try:
        array = value if hasattr(value, 'tocoo') else np.asarray(value)
        return as_tensor(array, dtype or (symbol.dtype if is_odd(array) else None))
    except (TypeError, ValueError) as error:
        raise type(error)(f'What is fed for {symbol.name} must be numbers that make {dtype_name(symbol.dtype)}: '
                          f'{error}') from None


_FLOAT, _CPU = DTYPES[torch.float32], torch.device('cpu')


def to_feed(symbol, value, device=None, float_dtype=None):
    """The live tensor to feed for a placeholder: of its dtype, and sparse only where the placeholder is.

    `float_dtype` takes the place of a floating dtype: that of a model that was converted (``model.double()``).
    """
    float_dtype = None if symbol._exact else float_dtype
    if type(value) is np.ndarray and value.dtype == np.float32 and symbol.dtype is _FLOAT and float_dtype is None and (
            device == _CPU and value.flags.carray):
        return torch.from_numpy(value)  # as below, but at once
    if not isinstance(value, torch.Tensor):
        fine = float_dtype is not None and getattr(value, 'dtype', None) == np.float64 and not symbol._keeps_dtype
        value = fed_tensor(symbol, value, float_dtype if fine else None)
    if value.is_sparse and not symbol._sparse:
        value = value.to_dense()
    dtype = value.dtype if symbol._keeps_dtype else torch_dtype(symbol.dtype)
    if float_dtype is not None and dtype.is_floating_point:
        dtype = float_dtype
    if device is not None and device.type == 'cuda' and value.device.type == 'cpu' and not value.is_sparse:
        return fetched(value, device, dtype)
    return put(value, device or value.device, dtype)


def computes(arguments):
    """Whether a call with these arguments computes at once, rather than being recorded."""
    if state.mode.depth:
        return True
    found = leaves(arguments)
    return not any(isinstance(x, TensorFace) for x in found) and any(isinstance(x, torch.Tensor) for x in found)


def op(fn=None, *, shape=None, dtype=None):
    """Decorator of a backend function, written once as a torch expression.

    Called with a symbol anywhere in its arguments, or outside a running forward with a Variable or with no tensor at
    all, the function is recorded as one node; otherwise it runs. `shape` is a rule, ``shape(*args, **kwargs) -> tuple``
    (or list of tuples), called with tensors of known sizes in place of running the function on the meta device, and
    `dtype` likewise gives the torch dtype (default: that of the first tensor). Where a graph is compiled, the attribute
    ``fn.simplified(*args, **kwargs)``, if there is one, may give (function, args, kwargs) to run in its place.
    """
    if fn is None:
        return functools.partial(op, shape=shape, dtype=dtype)
    by_rule = _by_rule(fn, shape, dtype) if shape else None

    def call(*args, **kwargs):
        if state.mode.depth:
            if _needs_value(args) or _needs_value(kwargs):
                args, kwargs = live(args), live(kwargs)
            return fn(*args, **kwargs)
        if not computes((args, kwargs)):
            return record(fn, args, kwargs, rule=by_rule)
        with state.running(state.mode.phase):
            return fn(*args, **kwargs)

    wrapper = functools.wraps(fn)(call)
    wrapper.body = fn
    return wrapper


def is_value(x):
    """Whether `x` is a tensor, or will be one when the graph runs."""
    return isinstance(x, (Face, torch.Tensor)) or isinstance(x, SymbolicTensor) and isinstance(x.metas[0], torch.Tensor)


def rank(x):
    """The number of axes of a symbol or variable that will be a tensor when the graph runs; None of anything else."""
    return len(x.shape) if isinstance(x, TensorFace) and is_value(x) else None


# ---------------------------------------------------------------- functions of the user's

class SubGraph:
    """A function as a graph of its own: `outputs`, a tree of symbols, in terms of `captured` and then `inputs`.

    `captured` are the Variables, and the symbols made outside, that the function closes over; `symbols` those made
    inside, in the order of computation.
    """

    def __init__(self, fn, examples):
        first, self.__name__ = next(_ids), function_name(fn)
        given = map_leaves(like, examples)
        self.inputs, result = leaves(given), fn(*given)
        if any(x is None for x in leaves(result)):
            raise TypeError(f'`{self.__name__}` must return tensors; it returned {result!r}.')
        self.outputs = map_leaves(lambda x: x if isinstance(x, TensorFace) else as_tensor(x), result)
        known, self.captured, self.symbols, stack = set(self.inputs), [], [], leaves(self.outputs)
        while stack:
            x = stack.pop()
            if not isinstance(x, TensorFace) or x in known:
                continue
            known.add(x)
            if isinstance(x, Face) or x.number < first:
                self.captured.append(x)
            else:
                self.symbols.append(x)
                stack += leaves((x.args, x.kwargs))
        self.symbols.sort(key=operator.attrgetter('number'))

    def results(self, run):
        """What stands for the outputs in meta run number `run`."""
        return map_leaves(lambda x: x.metas[run] if isinstance(x, TensorFace) else x, self.outputs)


def like(x):
    """A placeholder for what is like the symbol, Variable or tensor `x`."""
    symbol = SymbolicTensor(None, (), {}, stand_in(shapes.pairs_of(x) or (), x.dtype))
    symbol._keras_shape = getattr(x, '_keras_shape', symbol._keras_shape)
    return symbol


def bind(function, *captured):
    """The function of a compiled sub-graph with the values of what it closes over."""
    return functools.partial(function, *captured)


bind.gradients_reach = lambda graph, *captured: graph.outputs


def closure(fn, *examples):
    """A symbol for a user's function, called once, here, on trees of placeholders that are like the `examples`.

    As an argument of a recorded call it is, when that runs, a function that computes what was recorded, from the leaves
    of such trees.
    """
    graph = SubGraph(fn, examples)
    return record(bind, (graph, *graph.captured), {}, metas=tuple(
        functools.partial(lambda run, *_: graph.results(run), run) for run in (0, 1)))


@op
def _packed(values, dtype):
    """One tensor of a list or tuple that holds tensors."""
    return as_tensor(values, dtype)
