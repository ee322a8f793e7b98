"""Choices and loops: their functions run on live tensors, also those that close over symbols."""
import functools

import torch

from .dtypes import torch_dtype
from .math import named
from .session import int_shape
from .state import is_exporting
from .symbolic import as_tensor, leaves, live, map_leaves, op

__all__ = ['foldl', 'foldr', 'map_fn', 'rnn', 'switch']


@op(callbacks=True)
def switch(condition, then_expression, else_expression):
    """`then_expression` where `condition` holds, `else_expression` elsewhere.

    Arguments:
        condition: a bool, or a tensor; one of lower rank decides on whole parts of the expressions.
        then_expression, else_expression: tensors of one shape, or functions without arguments that return such. A
            condition without dimensions calls only the one that it chooses.
    Raises ValueError for a condition of higher rank than the expressions.
    """
    choices = then_expression, else_expression
    condition = as_tensor(condition)
    single = condition.dim() == 0 and (callable(then_expression) or callable(else_expression))
    if single and not condition.is_meta:
        chosen = choices[0] if condition else choices[1]
        return live(chosen()) if callable(chosen) else chosen
    then_value, else_value = [live(choice()) if callable(choice) else choice for choice in choices]
    if single:  # while shapes are worked out there is no telling; both have been called, and either has the shape
        return then_value
    then_value, else_value = as_tensor(then_value), as_tensor(else_value)
    missing = then_value.dim() - condition.dim()
    if missing < 0:
        raise ValueError('Rank of `condition` should be less than or equal to rank of `then_expression` and '
                         f'`else_expression`. ndim(condition)={condition.dim()}, '
                         f'ndim(then_expression)={then_value.dim()}')
    return torch.where(condition.bool().reshape(condition.shape + (1,) * missing), then_value, else_value)


def _elements(elems, on_meta):
    """The elements of a tensor, or of several together, along the first axis; on meta the first, `on_meta` times."""
    first = leaves(elems)[0]
    places = [0] * on_meta if first.is_meta else range(first.shape[0])
    return [map_leaves(lambda x, i=i: x[i], elems) for i in places]


def _stacked(trees):
    if isinstance(trees[0], (list, tuple)):
        return type(trees[0])(_stacked(parts) for parts in zip(*trees))
    return torch.stack([as_tensor(x) for x in trees])


@named
@op(callbacks=True)
def map_fn(fn, elems, name=None, dtype=None):
    """The results of `fn` on the elements of `elems` along the first axis, stacked.

    `fn` gets an element; a tuple (or list) of elements where `elems` is a tuple (or list) of tensors. `dtype` names the
    data type to give the results; None leaves it.
    """
    elems = map_leaves(as_tensor, elems)
    stacked = _stacked([live(fn(element)) for element in _elements(elems, on_meta=1)])
    count = leaves(elems)[0].shape[0]
    return map_leaves(lambda x: x.to(dtype and torch_dtype(dtype)).expand(count, *x.shape[1:]), stacked)


def _fold(fn, elems, initializer, direction):
    elements = _elements(map_leaves(as_tensor, elems), on_meta=2)[::direction]
    if initializer is not None:
        elements.insert(0, initializer)
    return functools.reduce(lambda value, element: live(fn(value, element)), elements)


@named
@op(callbacks=True)
def foldl(fn, elems, initializer=None, name=None):
    """``fn(fn(fn(initializer, elems[0]), elems[1]), ...)``; without an initializer the first element is it."""
    return _fold(fn, elems, initializer, 1)


@named
@op(callbacks=True)
def foldr(fn, elems, initializer=None, name=None):
    """As `foldl`, from the last element to the first."""
    return _fold(fn, elems, initializer, -1)


def rnn(step_function, inputs, initial_states, go_backwards=False, mask=None, constants=None, unroll=False,
        input_length=None):
    """Runs a step function over time.

    Arguments:
        step_function: ``f(input, states) -> (output, new_states)``, called at each time step on the input (samples,
            ...) and the list of states, followed by the constants.
        inputs: (samples, time, ...).
        initial_states: list of tensors (samples, ...).
        go_backwards: begin with the last time step; the outputs come in the order of computation.
        mask: (samples, time), or with further axes of size 1. Where it is false, the states stay as they were and the
            output is the first state; with `unroll` it is the previous output, zeros at the first step.
        constants: list of tensors for each step.
        input_length: time steps to run; None for all.
    Returns the last output (samples, ...), the outputs (samples, time, ...) and the list of the last states.
    Raises ValueError for inputs without a time axis, for masking without states, and for `unroll` over an unknown time.
    """
    shape = int_shape(inputs)
    if len(shape) < 3:
        raise ValueError(f'Input should be at least 3D. Got shape {shape}.')
    if unroll and not shape[1]:
        raise ValueError('Unrolling requires a fixed number of timesteps.')
    if mask is not None and not unroll and not initial_states:
        raise ValueError('No initial states provided! When using masking in an RNN, you should provide initial states '
                         '(and your step function should return as its first state at time `t` the output at time '
                         '`t-1`).')
    last_output, outputs, *states = _rnn(step_function, inputs, list(initial_states), go_backwards, mask,
                                         list(constants or ()), unroll, input_length)
    return last_output, outputs, states


@op(callbacks=True)
def _rnn(step_function, inputs, states, go_backwards, mask, constants, unroll, input_length):
    if isinstance(inputs.shape[1], torch.SymInt) and is_exporting():
        raise ValueError('a step function, or a cell of your own, runs a known number of time steps only.')
    order = range(inputs.shape[1])[::-1 if go_backwards else 1][:input_length]
    if inputs.is_meta:  # all steps have the shapes of the first
        output, states = live(step_function(inputs[:, 0], states + constants))
        return output, output.unsqueeze(1).expand(-1, len(order), *output.shape[1:]), *states
    steps, outputs = inputs.unbind(1), []
    flags = None if mask is None else mask.bool().unbind(1)
    for t in order:
        output, new_states = live(step_function(steps[t], states + constants))
        if flags is not None:
            masked = states[0] if not unroll else outputs[-1] if outputs else torch.zeros_like(output)
            output = _where_unmasked(flags[t], output, masked)
            new_states = [_where_unmasked(flags[t], new, old) for new, old in zip(new_states, states)]
        outputs.append(output)
        states = list(new_states)
    return output, torch.stack(outputs, 1), *states


def _where_unmasked(flag, new, old):
    return torch.where(flag.reshape(flag.shape[:1] + (1,) * (new.dim() - 1)), new, old)
