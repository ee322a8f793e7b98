"""Choices and loops: their functions run on live tensors, also those that close over symbols."""
import torch

from .dtypes import torch_dtype
from .math import named
from .session import int_shape
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


def _elements(elems):
    """The elements of a tensor, or of a list or tuple of tensors together, along their first axis."""
    return [map_leaves(lambda x, i=i: x[i], elems) for i in range(leaves(elems)[0].shape[0])]


def _on_meta(elems):
    return leaves(elems)[0].is_meta


@named
@op(callbacks=True)
def map_fn(fn, elems, name=None, dtype=None):
    """The results of `fn` on the elements of `elems` along the first axis, stacked.

    Arguments:
        fn: function of an element; of a tuple (or list) of elements where `elems` is a tuple (or list) of tensors.
        dtype: data type to give the results, by name; None leaves it.
    """
    elems = map_leaves(as_tensor, elems)
    if _on_meta(elems):
        count = leaves(elems)[0].shape[0]
        stacked = map_leaves(lambda x: as_tensor(x).expand(count, *as_tensor(x).shape),
                             live(fn(map_leaves(lambda x: x[0], elems))))
    else:
        stacked = _stack_trees([live(fn(element)) for element in _elements(elems)])
    return stacked if dtype is None else map_leaves(lambda x: x.to(torch_dtype(dtype)), stacked)


def _stack_trees(trees):
    if isinstance(trees[0], (list, tuple)):
        return type(trees[0])(_stack_trees(parts) for parts in zip(*trees))
    return torch.stack([as_tensor(x) for x in trees])


def _fold(fn, elems, initializer, backwards):
    elems = map_leaves(as_tensor, elems)
    if _on_meta(elems):
        first = map_leaves(lambda x: x[0], elems)
        return live(fn(first if initializer is None else initializer, first))
    elements = _elements(elems)
    if backwards:
        elements.reverse()
    value = elements.pop(0) if initializer is None else initializer
    for element in elements:
        value = live(fn(value, element))
    return value


@named
@op(callbacks=True)
def foldl(fn, elems, initializer=None, name=None):
    """``fn(fn(fn(initializer, elems[0]), elems[1]), ...)``; without an initializer the first element is it."""
    return _fold(fn, elems, initializer, backwards=False)


@named
@op(callbacks=True)
def foldr(fn, elems, initializer=None, name=None):
    """As `foldl`, from the last element to the first."""
    return _fold(fn, elems, initializer, backwards=True)


def rnn(step_function, inputs, initial_states, go_backwards=False, mask=None, constants=None, unroll=False,
        input_length=None):
    """Runs a step function over time.

    Arguments:
        step_function: ``f(input, states) -> (output, new_states)``, called at each time step on live tensors: the input
            (samples, ...) and the list of states, followed by the constants.
        inputs: (samples, time, ...).
        initial_states: list of tensors (samples, ...).
        go_backwards: whether to begin with the last time step; the outputs come in the order of computation.
        mask: (samples, time), or with further axes of size 1. Where it is false, the states stay as they were and the
            output is the first state; with `unroll` it is the previous output, zeros at the first step.
        constants: list of tensors for each step.
        input_length: number of time steps to run; None for all.
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
