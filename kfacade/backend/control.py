"""Choices and loops. Their functions are recorded, once, as graphs of their own; on live tensors they simply run."""
import functools
import operator

import torch

from . import math
from .dtypes import torch_dtype
from .math import named
from .nn import elu, relu
from .session import int_shape, is_tensor
from .shapes import either, unknown
from .spatial import bias_add
from .state import is_exporting
from .symbolic import as_tensor, closure, computes, live, op, record
from .trees import filled, leaves, map_leaves

__all__ = ['foldl', 'foldr', 'map_fn', 'rnn', 'switch']

_constant = op(as_tensor)


def _tensors(tree):
    return map_leaves(lambda x: x if is_tensor(x) else _constant(x), tree)


def switch(condition, then_expression, else_expression):
    """`then_expression` where `condition` holds, `else_expression` elsewhere.

    Arguments:
        condition: a bool, or a tensor; one of lower rank decides on whole parts of the expressions.
        then_expression, else_expression: tensors of one shape, or functions without arguments that return such. Of
            functions, a condition without dimensions runs only the one that it chooses; it chooses also among tensors
            of different shapes.
    Raises ValueError for a condition of higher rank than the expressions.
    """
    choices = then_expression, else_expression
    if not getattr(condition, 'shape', ()) and len({int_shape(x) for x in choices if is_tensor(x)} - {None}) > 1:
        if computes((condition, *choices)):
            return live(_pick(as_tensor(condition), *choices))
        return record(_pick, (condition, *choices), {}, metas=either(*(x.metas for x in _tensors(choices))))
    if getattr(condition, 'shape', ()) or not any(map(callable, choices)):
        return _where(condition, *(choice() if callable(choice) else choice for choice in choices))
    then, otherwise = (choice if callable(choice) else lambda choice=choice: choice for choice in choices)
    if computes((condition, *choices)):
        return live(_choose(as_tensor(condition), then, otherwise))
    then, otherwise = closure(then), closure(otherwise)
    metas = either(*([result() for result in branch.metas] for branch in (then, otherwise)))
    return record(_choose, (condition, then, otherwise), {}, metas=metas)


def _choose(condition, then, otherwise):
    return then() if condition else otherwise()


def _pick(condition, then_value, else_value):
    picked, other = (then_value, else_value) if condition else (else_value, then_value)
    return picked + other.flatten()[:0].sum(dtype=picked.dtype)  # adds nothing, but gives `other` a gradient of zeros


@op
def _where(condition, then_value, else_value):
    condition, then_value, else_value = map(as_tensor, (condition, then_value, else_value))
    missing = then_value.dim() - condition.dim()
    if missing < 0:
        raise ValueError('Rank of `condition` should be less than or equal to rank of `then_expression` and '
                         f'`else_expression`. ndim(condition)={condition.dim()}, '
                         f'ndim(then_expression)={then_value.dim()}')
    return torch.where(condition.bool().reshape(condition.shape + (1,) * missing), then_value, else_value)


# ---------------------------------------------------------------- loops

def _flat(fn, *examples):
    """`fn`, which takes trees of tensors like the `examples`, as a function of their leaves for an op to call.

    It is recorded, unless the examples are live.
    """
    if computes(examples):
        return lambda *tensors: live(fn(*filled(examples, tensors)))
    return closure(fn, *examples)


def _elements(elems, on_meta):
    """The elements of a tensor, or of several together, along the first axis; on meta the first, `on_meta` times."""
    flat = leaves(elems)
    if flat[0].is_meta:
        return [map_leaves(lambda x: x[0], elems)] * on_meta
    return [filled(elems, rows) for rows in zip(*(x.unbind() for x in flat))]


def _stacked(trees):
    if isinstance(trees[0], (list, tuple)):
        return type(trees[0])(_stacked(parts) for parts in zip(*trees))
    return torch.stack([as_tensor(x) for x in trees])


@named
def map_fn(fn, elems, name=None, dtype=None):
    """The results of `fn` on the elements of `elems` along the first axis, stacked.

    `fn` gets an element; a tuple (or list) of elements where `elems` is a tuple (or list) of tensors. `dtype` names the
    data type to give the results; None leaves it.
    """
    elems = _tensors(elems)
    return _map(_flat(fn, map_leaves(lambda x: x[0], elems)), elems, dtype)


@op
def _map(fn, elems, dtype):
    stacked = _stacked([fn(*leaves(element)) for element in _elements(elems, on_meta=1)])
    count = leaves(elems)[0].shape[0]
    return map_leaves(lambda x: x.to(dtype and torch_dtype(dtype)).expand(count, *x.shape[1:]), stacked)


def _fold(fn, elems, initializer, direction):
    elems = _tensors(elems)
    element = map_leaves(lambda x: x[0], elems)
    start = None if initializer is None else _tensors(initializer)
    return _folded(_flat(fn, element if start is None else start, element), elems, start, direction)


@op
def _folded(fn, elems, start, direction):
    elements = _elements(elems, on_meta=2)[::direction]
    if start is not None:
        elements.insert(0, start)
    return functools.reduce(lambda value, element: fn(*leaves((value, element))), elements)


@named
def foldl(fn, elems, initializer=None, name=None):
    """``fn(fn(fn(initializer, elems[0]), elems[1]), ...)``; without an initializer the first element is it."""
    return _fold(fn, elems, initializer, 1)


@named
def foldr(fn, elems, initializer=None, name=None):
    """As `foldl`, from the last element to the first."""
    return _fold(fn, elems, initializer, -1)


def rnn(step_function, inputs, initial_states, go_backwards=False, mask=None, constants=None, unroll=False,
        input_length=None, repeat_output=None, return_all_outputs=True):
    """Runs a step function over time.

    Arguments:
        step_function: ``f(input, states) -> (output, new_states)``, on the input of a time step (samples, ...) and the
            list of states, followed by the constants. As in Keras it is called on symbols twice, the first time outside
            of the loop, so that what it makes then and keeps (dropout masks) is the same for all steps; with `unroll`
            once for each step.
        inputs: (samples, time, ...).
        initial_states: list of tensors (samples, ...).
        go_backwards: begin with the last time step; the outputs come in the order of computation.
        mask: (samples, time), or with further axes of size 1. Where it is false, the states stay as they were and the
            output is the first state; with `repeat_output` (default: with `unroll`) it is the previous output, zeros at
            the first step.
        constants: list of tensors for each step.
        input_length: time steps to run; None for all.
        return_all_outputs: False for memory for the last output alone, which is then all of the outputs, (samples, 1,
            ...).
    Returns the last output (samples, ...), the outputs (samples, time, ...) and the list of the last states.
    Raises ValueError for inputs without a time axis, for masking without states, and for `unroll` over an unknown time.
    """
    shape = int_shape(inputs)
    if len(shape) < 3:
        raise ValueError(f'Input should be at least 3D. Got shape {shape}.')
    if unroll and not shape[1]:
        raise ValueError('Unrolling requires a fixed number of timesteps.')
    if mask is not None and not (unroll or repeat_output) and not initial_states:
        raise ValueError('No initial states provided! When using masking in an RNN, you should provide initial states '
                         '(and your step function should return as its first state at time `t` the output at time '
                         '`t-1`).')
    inputs, states, constants = _tensors((inputs, list(initial_states), list(constants or ())))
    repeat_output = unroll if repeat_output is None else repeat_output
    run, examples, ahead = _rnn, (inputs[:, 0], states + constants), []
    if computes((inputs, states, constants, mask)):
        step = _flat(step_function, *examples)
    elif unroll:
        run, step = _over_time, lambda x, *states: step_function(x, list(states))
    else:
        step_function(*examples)
        step = closure(step_function, *examples)
        ahead = _ahead(step.args[0], inputs)
    last, outputs, *states = run(step, [inputs, *ahead], states, go_backwards, mask, constants, repeat_output,
                                 input_length, return_all_outputs)
    return last, outputs, states


def _ahead(graph, inputs):
    """What the sub-graph of a step computes of its input alone, computed of the inputs of all steps at once.

    Symbols (samples, time, ...), of each of whose steps the sub-graph then takes what it needs after its own arguments.
    """
    whole, used, captured = {graph.inputs[0]: inputs}, set(leaves(graph.outputs)), set(graph.captured)
    for x in graph.symbols:
        operands = leaves((x.args, x.kwargs))
        if _is_the_same_at_once(x, operands, whole, captured):
            args, kwargs = map_leaves(lambda y: whole.get(y, y), (x.args, x.kwargs))
            whole[x] = record(operator.add, args[:2], {}) if x.fn is bias_add.body else record(x.fn, args, kwargs)
        else:
            used.update(filter(is_tensor, operands))
    found = [x for x in whole if x in used and x is not graph.inputs[0]]
    graph.inputs += found
    return [whole[x] for x in found]


# Recorded functions that compute every row of a matrix, or every element, by itself.
_BY_ROW = {math.dot.body, bias_add.body}
_BY_ELEMENT = {operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, *(fn.body for fn in (
    math.abs, math.clip, math.cos, math.exp, math.hard_sigmoid, math.log, math.maximum, math.minimum, math.pow,
    math.sigmoid, math.sign, math.sin, math.softplus, math.softsign, math.sqrt, math.square, math.tanh, elu, relu))}


def _is_the_same_at_once(x, operands, whole, captured):
    """Whether what a step computes of what is in `whole`, or known outside, may be computed of all steps at once."""
    tensors, rank = list(filter(is_tensor, operands)), len(x.shape)
    known = [y for y in tensors if y not in whole]
    if len(known) == len(tensors) or not captured.issuperset(known):
        return False
    if x.fn in _BY_ROW:
        return rank == 2 and len(x.args) > 1 and x.args[0] in whole and x.args[1] not in whole
    return x.fn in _BY_ELEMENT and all(
        len(y.shape) < 2 or y.shape[0].value == 1 and len(y.shape) == rank for y in known) and all(
        len(y.shape) == rank for y in tensors if y in whole)


@op
def _rnn(step, inputs, states, go_backwards, mask, constants, repeat_output, input_length, return_all_outputs):
    if isinstance(inputs[0].shape[1], torch.SymInt) and is_exporting():
        raise ValueError('a step function, or a cell of your own, runs a known number of time steps only.')
    if not inputs[0].is_meta:
        return _over_time(step, inputs, states, go_backwards, mask, constants, repeat_output, input_length,
                          return_all_outputs)
    output, states = step(inputs[0][:, 0], *states, *constants)  # all steps have the shapes of the first
    time = unknown() if return_all_outputs else 1
    return output, output.unsqueeze(1).expand(-1, time, *output.shape[1:]), *states


def _over_time(step, inputs, states, go_backwards, mask, constants, repeat_output, input_length, return_all_outputs):
    steps, outputs = list(zip(*(torch.unbind(x, 1) for x in inputs))), []
    flags = None if mask is None else torch.unbind(mask.bool(), 1)
    for t in range(len(steps))[::-1 if go_backwards else 1][:input_length]:
        x, *ahead = steps[t]
        output, new_states = step(x, *states, *constants, *ahead)
        if flags is not None:
            masked = states[0] if not repeat_output else outputs[-1] if outputs else torch.zeros_like(output)
            output = _where_unmasked(flags[t], output, masked)
            new_states = [_where_unmasked(flags[t], new, old) for new, old in zip(new_states, states)]
        if not return_all_outputs:
            outputs.clear()
        outputs.append(output)
        states = list(new_states)
    return output, torch.stack(outputs, 1), *states


@op
def _where_unmasked(flag, new, old):
    return torch.where(flag.reshape(flag.shape[:1] + (1,) * (new.dim() - 1)), new, old)
