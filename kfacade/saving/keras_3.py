"""Configurations of Keras 3, brought into the form that Keras 2 has: calls, tensors, names of classes and arguments.

What Keras 2 has under the same name but computes otherwise, and what it has not, is refused.
"""
from ..registry import check_version, known
from ..utils.generic_utils import has_arg
from .trust import InvalidModelFile

_RENAMED = {'LeakyReLU': {'negative_slope': 'alpha'}, 'InputLayer': {'batch_shape': 'batch_input_shape'}}

# arguments whose value 'hard_sigmoid' is another function in Keras 3
_ACTIVATIONS = ('activation', 'recurrent_activation')


def as_keras_2(value, own, is_layer=True, is_whole=False):
    """The configuration ``value`` with its objects as ``{'class_name', 'config'}``, without what came with Keras 3.

    ``own`` holds the caller's classes by name; ``is_layer`` says that this is a layer or model, and ``is_whole`` that
    it is all that the file holds.
    """
    if isinstance(value, list):
        return [as_keras_2(item, own, False) for item in value]
    if not isinstance(value, dict) or not {'class_name', 'config'} <= value.keys():
        return {key: as_keras_2(item, own, False) for key, item in value.items()} if isinstance(value, dict) else value
    kind, config = value['class_name'], value['config']
    if kind == 'function' or not isinstance(config, dict):
        return {'class_name': kind, 'config': config}
    if value.get('registered_name') in own:
        kind = value['registered_name']
    config = {_RENAMED.get(kind, {}).get(key, key): item for key, item in config.items()}
    if is_layer:
        _check_origin(value, own)
    for key in _ACTIVATIONS:
        if config.get(key) == 'hard_sigmoid' and 'hard_sigmoid' not in own:
            raise InvalidModelFile(f'The {kind} layer "{config.get("name")}" has {key}=\'hard_sigmoid\', which is '
                                   'another function in Keras 3 than in Keras 2.')
    layers = _layers(config, own, is_whole) if is_layer and 'layers' in config else None
    config = {key: as_keras_2(item, own, key in ('layer', 'cell')) for key, item in config.items()
              if key != 'layers' or layers is None}
    if layers is not None:
        stacks = {entry['name'] for entry in layers if 'layers' in entry['config']
                  and 'input_layers' not in entry['config']}  # Keras 3, too, counts those of others from 1 here
        config['layers'] = layers
        for end in {'input_layers', 'output_layers'} & config.keys():
            config[end] = [_shifted(key, stacks) for key in coordinates(config[end])]
    elif kind == 'Lambda':
        for key in ('function', 'output_shape'):
            code = config[key]['config'] if isinstance(config.get(key), dict) and 'code' in config[key].get(
                'config', ()) else None
            config[f'{key}_type'] = 'lambda' if code else 'raw' if key == 'output_shape' else 'function'
            if code:
                config[key] = [code['code'], code['defaults'], code['closure']]
    return {'class_name': kind, 'config': config}


def _layers(config, own, is_whole):
    """The layers of a model, with their calls in Keras 2's form and without what only makes masks."""
    entries = config['layers']
    masks = _mask_operations(entries, {key[0] for key in coordinates(config.get('output_layers') or [])})
    nested = {entry['config']['name'] for entry in entries if 'layers' in entry['config']}
    return [{**as_keras_2(entry, own), 'name': entry['config']['name'], 'inbound_nodes': [
        _call(entry, node, nested, masks, is_whole, own) for node in entry.get('inbound_nodes', [])]}
        for entry in entries if entry['config']['name'] not in masks[0]]


def _is_operation(entry):
    """Whether an entry among the layers is a function; HDF5 files do not tell its module, but it can't be trained."""
    module, config = entry.get('module'), entry['config']
    if module:
        return module.startswith(('keras.src.ops', 'keras.ops'))
    return not ({'trainable', 'layers', 'batch_shape', 'batch_input_shape'} & config.keys()
                or 'dtype' in config and entry['class_name'] in known())


def _check_origin(entry, own):
    """Raises InvalidModelFile for an operation, and for a class that is not the one that its name means here."""
    kind, module, name = entry['class_name'], entry.get('module') or 'keras', entry['config'].get('name')
    if kind in own:
        return
    if _is_operation(entry):
        raise InvalidModelFile(f'The operation {kind} "{name}" is no layer of Keras 2.')
    check_version(entry, own)
    if not module.startswith('keras') and kind in known():
        raise InvalidModelFile(f'The layer "{name}" is a {kind} of {module}, not of Keras.')


def _call(entry, node, nested, masks, is_whole, own):
    """A call as Keras 2 writes it: the tensors, each ``[layer, node, tensor, keyword arguments]``.

    Where a layer of the whole model is called without a mask, Keras 3 may have none where Keras 2 has one.
    """
    name, (only_masks, known_masks) = entry['config']['name'], masks
    (first, *more), given = node['args'], {key: item for key, item in node['kwargs'].items() if item is not None}
    given.pop('training', None)  # Keras 3 runs with that of `fit` or `predict`, whatever was recorded
    mask, states = given.pop('mask', None), given.pop('initial_state', None)
    if mask is not None and not {key[0] for key in _tensors(mask)} <= known_masks:
        raise InvalidModelFile(f'The layer "{name}" is called with a mask of its own, which Keras 2 has no form for.')
    cls = {**known(), **own}.get({'Functional': 'Model'}.get(entry['class_name'], entry['class_name']))
    takes_mask = 'mask' in node['kwargs'] and cls is not None and has_arg(cls.call, 'mask')
    if mask is None and (states is not None or is_whole and only_masks and takes_mask):
        given['mask'] = None
    sources = _tensors([first, states])
    if any(item is not None for item in more) or _tensors(given):
        raise InvalidModelFile(f'The layer "{name}" is called with arguments that Keras 2 has no form for: '
                               f'{sorted(given) or "tensors by position"}.')
    return [[*_shifted(key, nested), given] for key in sources]


def _tensors(value):
    """The ``[layer, node, tensor]`` of every Keras tensor in an argument."""
    if isinstance(value, dict):
        if value.get('class_name') == '__keras_tensor__':
            return [value['config']['keras_history']]
        value = list(value.values())
    return [key for item in value for key in _tensors(item)] if isinstance(value, (list, tuple)) else []


def coordinates(ends):
    """A list of ``[layer, node, tensor]`` from one of them, or from lists or dicts of them."""
    if isinstance(ends, dict):
        ends = list(ends.values())
    return [ends] if ends and isinstance(ends[0], str) else [key for end in ends for key in coordinates(end)]


def _shifted(key, nested):
    """Keras 2 counts the calls of a model from 1, for one comes with its making."""
    name, node, tensor = key
    return [name, node + (name in nested), tensor]


def _mask_operations(entries, ends):
    """The names of the operations that only make masks, and of those whose masks Keras 2 makes by itself.

    ``ends`` are the names of the layers that give the model's outputs.
    """
    sources = [(_tensors(node['args'])[0], entry['config'].get('mask_value', 0)) for entry in entries
               for node in entry.get('inbound_nodes', [])
               if entry['class_name'] == 'Masking' or entry['config'].get('mask_zero')]
    operations = {entry['config']['name']: entry for entry in entries if _is_operation(entry)}
    only, count = operations.keys() - ends, -1
    while len(only) != count:  # what something else computes with makes no mask alone
        count = len(only)
        only -= {key[0] for entry in entries if entry['config']['name'] not in only
                 for node in entry.get('inbound_nodes', [])
                 for key in _tensors([node['args'], {**node['kwargs'], 'mask': None}])}
    calls = {kind: {name: [node['args'] for node in operations[name]['inbound_nodes']] for name in only
                    if operations[name]['class_name'] == kind} for kind in ('NotEqual', 'Any')}
    ours = {name for name, found in calls['NotEqual'].items()
            if all((*_tensors(args), args[1]) in sources for args in found)}
    return only, ours | {name for name, found in calls['Any'].items()
                         if {key[0] for key in _tensors(found)} <= ours}
