"""What stands for recurrent layers."""
import torch

from ...utils.generic_utils import is_own, to_list, unpack_singleton
from .pieces import call, number, parameters, refusal, tight

_RECURRENT = {  # kind of cell: torch's own, with its activations; ours; gates
    'SimpleRNNCell': ('RNN', [('tanh', None), ('relu', None)], 'KerasRNN', 1),
    'GRUCell': (None, [], 'KerasGRU', 3),
    'GRUCell after': ('GRU', [('tanh', 'sigmoid')], 'KerasResetAfterGRU', 3),
    'LSTMCell': ('LSTM', [('tanh', 'sigmoid')], 'KerasLSTM', 4),
    'ConvLSTM2DCell': (None, [], 'KerasConvLSTM2d', 4)}


def recurrent(w, layer, x, *states, name=None, keeps=True):
    """The output, and the states where there is a `return_state`."""
    name, cells = name or w.name_of(layer), layer._cells
    place = 2 if type(layer).__name__ == 'ConvLSTM2D' and layer.data_format == 'channels_last' else -1
    step = 1 if place == 2 else -1  # the place of the channels in the images of one step
    groups = layer._nested(list(states)) if states else [[]] * len(cells)
    x, mask, shape = w.at(x, place), x.mask, x.shape
    if layer.go_backwards:
        x, mask = x.then('.flip(1)'), mask and f'{mask}.flip(1)'
    first, last = None, []
    for i, (cell, given) in enumerate(zip(cells, groups)):
        label = name if len(cells) == 1 else f'{name}_{i}'
        text, native, tensors, held = _described(w, layer, cell)
        module, parts = w.module(cell, text, name=label, owner=layer, **tensors), 'hc' if 'LSTM' in text else 'h'
        if held:
            w.once(f'{module}.bias_hh_l0.requires_grad_(False)  # Keras has one bias')
        given = [s.text[:-3] if s.text.endswith('[0]') else f'{w.at(s, step)}.unsqueeze(0)' for s in given]
        state = [f'({", ".join(given)})'] if len(given) > 1 else given
        if layer.stateful and not states:
            state = [w.keeps(f'{label}_state')]
        text = call('run_masked', module, x, mask, *state) if native and mask else call(module, x, *state, mask=mask)
        if layer.return_state or layer.stateful:
            out, *own = (w.fresh(f'{label}_{part}') for part in ('out', *parts))
            w.line(f'{out}, {own[0] if len(own) == 1 else "(" + ", ".join(own) + ")"} = {text}')
            last.append([f'{s}[0]' for s in own])
            if layer.stateful:
                new = ', '.join(f'{s}.detach()' for s in own)
                new = f'({new})' if len(own) > 1 else new
                if not keeps:
                    w.line('if self.training:  # as Keras keeps the states of both ways')
                w.line(f'{"" if keeps else "    "}{w.keeps(f"{label}_state")} = {new}')
        else:
            out = f'{text}[0]'
        x = x.gives(out, shape=(*shape[:2], cell.output_size))
        if i == 0 and mask and len(cells) > 1 and not (layer._repeats_output or layer.cell.reverse_state_order):
            first = x = w.bound(x, f'{label}_out')
    if first is not None:  # as Keras, which gives the first state where the mask leaves out a step
        x = x.gives(f'torch.where({mask}.unsqueeze(-1), {x}, {first})')
    if mask and layer.zero_output_for_mask:
        x = x.gives(f'{x} * {mask}.unsqueeze(-1)')
    elif mask and layer._repeats_output and (states or layer.stateful):
        x = x.gives(f'{x} * ({mask}.cumsum(1) > 0).unsqueeze(-1)')
    x = x.gives(x, at=place, image=place) if layer.return_sequences else x.then('[:, -1]', at=step, image=step,
                                                                                mask=None)
    if not layer.return_state:
        return x
    last = layer.cell.join_states(last) if len(cells) > 1 else last[0]
    return [x, *(x.gives(s, at=step, image=step, mask=None) for s in last)]


def _described(w, layer, cell):
    """The text that makes a module for a cell, whether it is torch's own, its tensors, whether to hold a bias at 0."""
    kind = next((c.__name__ for c in type(cell).__mro__ if c.__name__ in _RECURRENT), None)
    if kind is None or not is_own(type(cell)):
        raise refusal(layer, f'its cell, {type(cell).__name__}, has no counterpart.')
    own, natives, ours, gates = _RECURRENT[f'{kind} after' if kind == 'GRUCell' and cell.reset_after else kind]
    parameters(cell, 'kernel')
    kernel, bias, weight, second = cell._weights()
    names = tuple(None if f is None else f.__name__ for f in (cell.activation, cell.recurrent_activation))
    drops = 0 < cell.dropout < 1 or 0 < cell.recurrent_dropout < 1
    inputs, units, biased = kernel.shape[1], cell.output_size, bias is not None
    if names in natives and not drops:
        if getattr(cell, 'bias_parts', (0,))[0] == 5:  # cuDNN's LSTM has two biases
            bias, second = cell._params.bias.view(2, -1)
        held = biased and second is None
        return call(f'nn.{own}', inputs, units, nonlinearity="'relu'" if names[0] == 'relu' else None, bias=biased,
                    batch_first=True), True, {
            'weight_ih_l0': kernel, 'weight_hh_l0': weight, 'bias_ih_l0': bias,
            'bias_hh_l0': torch.zeros_like(bias) if held else second}, held and not w.is_frozen(layer)
    options = {'activation': w.function(layer, cell.activation, 'tanh'),
               'gate': w.function(layer, cell.recurrent_activation, 'hard_sigmoid'), 'bias': biased}
    if drops:
        ours += 'WithDropout'
        rates = {name: getattr(cell, name) for name in ('dropout', 'recurrent_dropout')}
        options |= {name: number(rate) for name, rate in rates.items() if 0 < rate < 1}
        options['masks'] = gates if cell.implementation == 1 and gates > 1 else None
    if kind.startswith('Conv'):
        options |= {'stride': cell.strides if tight(cell.strides) == 1 else str(tuple(cell.strides)),
                    'padding': "'same'" if cell.padding == 'same' else None, 'dilation': cell.dilation_rate
                    if tight(cell.dilation_rate) == 1 else str(tuple(cell.dilation_rate))}
        units = f'{units}, {tuple(cell.kernel_size)}'
    return call(ours, inputs, units, **options), False, {
        'weight_ih': kernel, 'weight_hh': weight, 'bias': bias, 'bias_hh': second}, False


def bidirectional(w, layer, x, *states):
    name, half, mode = w.name_of(layer), len(states) // 2, layer.merge_mode
    if not states and mode == 'concat' and x.mask is None:
        both = _both_ways(w, layer, x)
        if both is not None:
            return both
    x = w.bound(x)
    (forward, *ahead), (backward, *behind) = (
        to_list(recurrent(w, way, x, *given, name=f'{name}_{side}', keeps=False)) for way, side, given in (
            (layer.forward_layer, 'forward', states[:half]), (layer.backward_layer, 'backward', states[half:])))
    if layer.return_sequences:
        backward = backward.then('.flip(1)')
    if mode:
        for side, result in (('forward', forward), ('backward', backward)):
            w.line(f'{side} = {result}')
        text = {'concat': f'torch.cat([forward, backward], {forward.at})', 'sum': 'forward + backward',
                'mul': 'forward * backward', 'ave': '(forward + backward) / 2'}[mode]
    mask = x.mask if layer.return_sequences else None
    outputs = [forward.gives(text, mask=mask)] if mode else [y.gives(y, mask=mask) for y in (forward, backward)]
    return unpack_singleton([*outputs, *ahead, *behind])


def _both_ways(w, layer, x):
    """The output where one module of torch goes both ways; else None."""
    ways = layer.forward_layer, layer.backward_layer
    if layer.return_state or ways[0].go_backwards or any(way.stateful or len(way._cells) > 1 for way in ways):
        return None
    tensors, x = {}, w.at(x)
    for way, suffix in zip(ways, ('', '_reverse')):
        text, native, found, held = _described(w, way, way.cell)
        if not native:
            return None
        tensors |= {f'{key}{suffix}': tensor for key, tensor in found.items()}
    module = w.module(layer, f'{text[:-1]}, bidirectional=True)', **tensors)
    for suffix in ('', '_reverse') if held else ():
        w.once(f'{module}.bias_hh_l0{suffix}.requires_grad_(False)  # Keras has one bias')
    if layer.return_sequences:
        return x.gives(f'{module}({x})[0]')
    w.line(f'both, _ = {module}({x})')
    units = ways[0].cell.output_size
    return x.gives(f'torch.cat([both[:, -1, :{units}], both[:, 0, {units}:]], -1)', mask=None)
