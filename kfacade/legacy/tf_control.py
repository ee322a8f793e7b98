"""Control flow of TensorFlow 1 on symbols: loops, arrays of tensors, calls of numpy, dependencies, gradients."""
import copy
import itertools
import operator
import sys
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch

from .. import backend as K
from ..backend.control import _constant, _elements, _flat, _stacked, _tensors
from ..backend.dtypes import torch_dtype
from ..backend.graph import walk
from ..backend.session import weighted_gradients
from ..backend.shapes import common_shape, pairs_of, stand_in
from ..backend.symbolic import SymbolicTensor, as_tensor, closure, op, record, symbols_in
from ..backend.trees import filled, leaves, map_leaves
from ..backend.variable import Update


def _tensor(x):
    return x if K.is_tensor(x) else _constant(x)


# ---------------------------------------------------------------- arrays and loops


class _Elements(list):
    """The value of a `TensorArray`: a list that counts as one value, not as a tree of them."""

    def with_element(self, index, value):
        items = _Elements([*self, *[None] * (int(index) + 1 - len(self))])
        items[int(index)] = value
        return items

    def read(self, index):
        return self[int(index)]

    def gather(self, indices):
        return torch.stack([self[i] for i in indices.tolist()])

    def stack(self):
        blank = next(torch.zeros_like(x) for x in self if x is not None)
        return torch.stack([blank if x is None else x for x in self])

    def concat(self):
        return torch.cat(self)

    blank = classmethod(lambda cls, size: cls([None] * int(size)))
    unstack = classmethod(lambda cls, value: cls(value.unbind()))


class TensorArray:
    """Tensors of one shape by number. Each method leaves the array as it is: ``array = array.write(i, x)``."""

    def __init__(self, dtype, size=0, dynamic_size=True, clear_after_read=None, element_shape=None, items=None):
        self.items = items if items is not None else record(_Elements.blank, (size,), {}, metas=stand_in(
            (None, *(element_shape or ())), torch_dtype(dtype)))

    @staticmethod
    def _of(fn, args, value):
        return TensorArray(None, items=record(fn, args, {}, metas=stand_in((None, *value), args[-1].dtype)))

    def write(self, index, value):
        value = _tensor(value)
        return self._of(_Elements.with_element, (self.items, index, value), pairs_of(value))

    def unstack(self, value):
        value = _tensor(value)
        return self._of(_Elements.unstack, (value,), pairs_of(value)[1:])

    def _result(self, fn, *args, shape):
        return record(fn, (self.items, *args), {}, metas=stand_in(shape, self.items.dtype))

    def read(self, index):
        return self._result(_Elements.read, index, shape=pairs_of(self.items)[1:])

    def gather(self, indices):
        return self._result(_Elements.gather, _tensor(indices), shape=[None, *pairs_of(self.items)[1:]])

    def stack(self):
        return self._result(_Elements.stack, shape=pairs_of(self.items))

    def concat(self):
        return self._result(_Elements.concat, shape=[None, *pairs_of(self.items)[2:]])

    def size(self):
        return record(len, (self.items,), {}, metas=tuple(meta.shape[0] for meta in self.items.metas))


def while_loop(cond, body, loop_vars, shape_invariants=None, maximum_iterations=None, return_same_structure=False):
    """The values of `loop_vars` after ``body(*loop_vars)`` has taken their place while ``cond(*loop_vars)``.

    Of a single one it is the tensor, unless `return_same_structure`. Both functions are recorded once. Raises
    ValueError where the body changes a size that `shape_invariants` do not leave open.
    """
    given, is_array = leaves(loop_vars), [isinstance(x, TensorArray) for x in leaves(loop_vars)]
    start = [x.items if array else _tensors(x) for x, array in zip(given, is_array)]
    shapes = [None] * len(start) if shape_invariants is None else leaves(shape_invariants)
    examples = [x if shape is None or array else SymbolicTensor(None, (), {}, stand_in(shape, x.dtype))
                for x, shape, array in zip(start, shapes, is_array)]

    def rebuilt(values):
        return filled(loop_vars, [TensorArray(None, items=x) if array else x for x, array in zip(values, is_array)])

    def recorded(fn):
        return closure(lambda *symbols: map_leaves(lambda x: x.items if isinstance(x, TensorArray) else x, fn(
            *rebuilt(symbols))), *examples)
    condition, step = recorded(cond), recorded(body)
    ends = zip(*[map(as_tensor, leaves(step.metas[run]())) for run in (0, 1)])
    metas = zip(*[stand_in(_invariant(pairs_of(before), list(zip(*[x.shape for x in after])), array),
                           (after[0] if array else before).dtype)
                  for before, after, array in zip(examples, ends, is_array)])
    results = rebuilt(record(_loop, (condition, step, start, maximum_iterations), {}, metas=tuple(map(list, metas))))
    return results[0] if len(results) == 1 and not return_same_structure else results


def _invariant(before, after, is_array):
    """The sizes that a loop variable has, however often the body has run."""
    if is_array:
        return [None, *after[1:]]
    if len(before) != len(after) or any(a != b and a[0] == a[1] and b[0] == b[1] for a, b in zip(before, after)):
        shapes = [tuple(a if a == b else None for a, b in pairs) for pairs in (before, after)]
        raise ValueError(f'The body of a while loop changes the shape of a variable from {shapes[0]} to {shapes[1]}. '
                         'Name the sizes that may change in `shape_invariants`.')
    return [a if a == b else None for a, b in zip(before, after)]


def _loop(condition, step, values, limit):
    count = 0
    while count != limit and condition(*values):
        values, count = leaves(step(*values)), count + 1
    return list(values)


def cond(pred, true_fn=None, false_fn=None, strict=False, fn1=None, fn2=None):
    """What one of two functions gives; of a list of one tensor, unless `strict`, the tensor."""
    found = K.switch(pred, true_fn or fn1, false_fn or fn2)
    return found[0] if isinstance(found, (list, tuple)) and len(found) == 1 and not strict else found


def map_fn(fn, elems, dtype=None):
    found = K.map_fn(fn, elems)
    return found if dtype is None else filled(found, map(K.cast, leaves(found), leaves(dtype)))


def scan(fn, elems, initializer=None, reverse=False):
    """The results of ``fn(result before, element)``, stacked; the first one before is `initializer`, or an element."""
    elems = _tensors(elems)
    element, start = map_leaves(lambda x: x[0], elems), None if initializer is None else _tensors(initializer)
    return _scan(_flat(fn, element if start is None else start, element), elems, start, -1 if reverse else 1)


@op
def _scan(fn, elems, start, direction):
    results = list(itertools.accumulate(_elements(elems, on_meta=1)[::direction], lambda value, element: fn(
        *leaves((value, element))), initial=start))[start is not None:]
    count = len(leaves(elems)[0])
    return map_leaves(lambda x: x.expand(count, *x.shape[1:]), _stacked(results[::direction]))


# ---------------------------------------------------------------- calls of numpy

class _Unshaped(SymbolicTensor):
    """What a function of numpy gives. Its shape is what `set_shape` tells, else it is found by a call on ones."""

    def __init__(self, whole, i, dtype):
        super().__init__(operator.getitem, (whole, i), {}, stand_in((), torch_dtype(dtype)))
        del self.metas, self.shape, self._keras_shape

    def __getattr__(self, name):
        if name not in ('metas', 'shape', '_keras_shape'):
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')
        function, inputs, types = self.args[0].args
        try:
            runs = [_call_numpy(function, [np.ones([n if size is None else size for size in K.int_shape(x)], K.dtype(
                x)) for x in inputs], types)[self.args[1]].shape for n in (2, 3)]
        except Exception as error:
            raise ValueError(f'The shape of what tf.py_func gives is unknown: a call of {function} on ones fails with '
                             f'{error!r}. Tell the shape with `set_shape` first.') from error
        self.set_shape([a if a == b else None for a, b in zip(*runs)])
        return vars(self)[name]

    def set_shape(self, shape):
        self.metas = stand_in(shape, self.dtype)
        self.shape = common_shape(self.metas)
        self._keras_shape = tuple(self.shape.as_list())


def py_func(func, inp, Tout):
    """What a function of arrays gives, of the data type `Tout` or, if that is a list, a list; without a gradient."""
    types = list(Tout) if isinstance(Tout, (list, tuple)) else [Tout]
    whole = SymbolicTensor(_call_numpy, (func, [_tensor(x) for x in inp], types), {}, stand_in((), torch.float32))
    results = [_Unshaped(whole, i, dtype) for i, dtype in enumerate(types)]
    return results if isinstance(Tout, (list, tuple)) else results[0]


def _call_numpy(function, inputs, types):
    results = function(*[K.eval(x) if isinstance(x, torch.Tensor) else x for x in inputs])
    results = results if isinstance(results, (list, tuple)) else [results]
    return [torch.as_tensor(np.asarray(x), dtype=torch_dtype(dtype)) for x, dtype in zip(results, types)]


_call_numpy.gradients_reach = lambda *args: ()


# ---------------------------------------------------------------- what happens when a value is computed

_dependencies = ContextVar('dependencies', default=())


@contextmanager
def control_dependencies(control_inputs):
    """Inside, what functions of TensorFlow give is only computed once `control_inputs` (of `Print`, `Assert`) are.

    Raises TypeError for updates, which only a function makes that is given them.
    """
    if any(isinstance(x, Update) for x in control_inputs or ()):
        raise TypeError('An update cannot be a control dependency here. Give it to `K.function(..., updates=)`, to '
                        '`Session.run` or to `Layer.add_update`.')
    token = _dependencies.set((*_dependencies.get(), *[x for x in control_inputs if x is not None])
                              if control_inputs else ())
    try:
        yield
    finally:
        _dependencies.reset(token)


def dependent(x):
    """`x`, computed after what the open scopes of `control_dependencies` demand."""
    depends = isinstance(x, SymbolicTensor) and _dependencies.get()
    return record(_after, (x, *depends), {}, metas=x.metas) if depends else x


def _after(x, *dependencies):
    return x


def print_values(input_, data, message='', first_n=-1, summarize=3):
    """`input_`; when it is computed, the message and the first elements of each tensor of `data` are printed.

    `first_n`: as many times only.
    """
    times = iter(range(first_n)) if first_n and first_n > 0 else itertools.repeat(None)
    return _print(input_, data, message or '', times, summarize or 3)


@op(shape=lambda input_, *rest: input_.shape)
def _print(input_, data, message, times, summarize):
    if next(times, times) is not times:
        print(message + ''.join(f'[{_shown(x, summarize)}]' for x in data), file=sys.stderr)
    return input_


def _shown(x, count):
    values = as_tensor(x).reshape(-1).tolist()
    return ' '.join(f'{v:.9g}' for v in values[:count]) + '...' * (len(values) > count)


@op(shape=lambda condition, *rest: condition.shape)
def check(condition, data, summarize=3):
    """`condition`; a ValueError with the values of `data` where it does not hold when it is computed."""
    if not as_tensor(condition).all():
        raise ValueError(f'assertion failed: {" ".join(f"[{_shown(x, summarize or 3)}]" for x in data)}')
    return condition


# ---------------------------------------------------------------- gradients

def gradients(ys, xs, grad_ys=None, stop_gradients=None):
    """Gradients of the sum of `ys`, weighted by `grad_ys`, with the tensors of `stop_gradients` held constant."""
    ys, xs, seeds = (list(x) if isinstance(x, (list, tuple)) else [x] for x in (ys, xs, grad_ys))
    made = {x: K.stop_gradient(x) for x in symbols_in(stop_gradients) if x.fn is not None}
    held = dict(made)
    for symbol in walk(symbols_in(ys), list(held)):
        if not made.keys().isdisjoint(symbols_in((symbol.args, symbol.kwargs))):
            made[symbol] = copy.copy(symbol)
            made[symbol].args, made[symbol].kwargs = map_leaves(
                lambda x: made.get(x, x) if isinstance(x, SymbolicTensor) else x, (symbol.args, symbol.kwargs))
    return weighted_gradients([made.get(y, y) for y in ys], seeds if grad_ys is not None else [None] * len(ys), [
        held.get(x, x) for x in xs])
