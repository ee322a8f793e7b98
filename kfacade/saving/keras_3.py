"""Configurations of Keras 3, brought into the form that Keras 2 has: calls, tensors, names of classes and arguments.

What Keras 2 has under the same name but computes otherwise, and what it has not, is refused.
"""
from ..registry import known
from .trust import InvalidModelFile

_RENAMED = {'LeakyReLU': {'negative_slope': 'alpha'}, 'InputLayer': {'batch_shape': 'batch_input_shape'}}

# arguments whose value 'hard_sigmoid' is another function in Keras 3
_ACTIVATIONS = ('activation', 'recurrent_activation')


def as_keras_2(value, own, is_layer=True):
    """The configuration ``value`` with its objects as ``{'class_name', 'config'}``, without what came with Keras 3.

    ``own`` holds the caller's classes by name; ``is_layer`` says that this is a layer or model.
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
    layers = _layers(config.pop('layers'), own) if is_layer and 'layers' in config else None
    config = {key: as_keras_2(item, own, key in ('layer', 'cell')) for key, item in config.items()}
    if layers is not None:
        nested = _names_of_models(layers)
        config['layers'] = layers
        for end in {'input_layers', 'output_layers'} & config.keys():
            config[end] = [_shifted(key, nested) for key in coordinates(config[end])]
    elif kind == 'Lambda':
        for key in ('function', 'output_shape'):
            code = config[key]['config'] if isinstance(config.get(key), dict) and 'code' in config[key].get(
                'config', ()) else None
            config[f'{key}_type'] = 'lambda' if code else 'raw' if key == 'output_shape' else 'function'
            if code:
                config[key] = [code['code'], code['defaults'], code['closure']]
    return {'class_name': kind, 'config': config}


def _layers(entries, own):
    """The layers of a model, with their calls in Keras 2's form and without what only makes masks."""
    masks, nested = _mask_operations(entries), _names_of_models(entries)
    return [{**as_keras_2(entry, own), 'name': entry['config']['name'], 'inbound_nodes': [
        _call(entry['config']['name'], node, nested, masks) for node in entry.get('inbound_nodes', [])]}
        for entry in entries if entry['config']['name'] not in masks]


def _is_operation(entry):
    """Whether an entry among the layers is a function; HDF5 files do not tell its module, but it can't be trained."""
    module, config = entry.get('module'), entry['config']
    if module:
        return module.startswith(('keras.src.ops', 'keras.ops'))
    return not {'trainable', 'layers', 'batch_shape', 'batch_input_shape'} & config.keys()


def _check_origin(entry, own):
    """Raises InvalidModelFile for an operation, and for a class that is not the one that its name means here."""
    kind, module, name = entry['class_name'], entry.get('module') or 'keras', entry['config'].get('name')
    if kind in own:
        return
    if _is_operation(entry):
        raise InvalidModelFile(f'The operation {kind} "{name}" is no layer of Keras 2.')
    if not module.startswith('keras') and kind in known():
        raise InvalidModelFile(f'The layer "{name}" is a {kind} of {module}, not of Keras.')


def _names_of_models(entries):
    return {entry['config']['name'] for entry in entries if 'layers' in entry['config']}


def _call(name, node, nested, masks):
    """A call as Keras 2 writes it: the tensors, each ``[layer, node, tensor, keyword arguments]``."""
    (first, *more), given = node['args'], {key: item for key, item in node['kwargs'].items() if item is not None}
    given.pop('training', None)  # Keras 3 runs with that of `fit` or `predict`, whatever was recorded
    mask = given.pop('mask', None)
    if mask is not None and not {key[0] for key in _tensors(mask)} <= masks:
        raise InvalidModelFile(f'The layer "{name}" is called with a mask of its own, which Keras 2 has no form for.')
    states = given.pop('initial_state', None)
    if states is not None and mask is None:
        given['mask'] = None  # Keras 3 hands the mask of the sequence on where there is one tensor only
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
    return [ends] if isinstance(ends[0], str) else [key for end in ends for key in coordinates(end)]


def _shifted(key, nested):
    """Keras 2 counts the calls of a model from 1, for one comes with its making."""
    name, node, tensor = key
    return [name, node + (name in nested), tensor]


def _mask_operations(entries):
    """The names of the operations that only make the masks that Keras 2 makes by itself."""
    sources = [(_tensors(node['args'])[0], entry['config'].get('mask_value', 0)) for entry in entries
               for node in entry.get('inbound_nodes', [])
               if entry['class_name'] == 'Masking' or entry['config'].get('mask_zero')]
    operations = [entry for entry in entries if _is_operation(entry)]
    found = {entry['config']['name'] for entry in operations if entry['class_name'] == 'NotEqual'
             and all((*_tensors(node['args']), node['args'][1]) in sources for node in entry['inbound_nodes'])}
    for _ in operations:  # those that stand on others come later, but not always
        found |= {entry['config']['name'] for entry in operations if all(
            _tensors(node['args']) and {key[0] for key in _tensors(node['args'])} <= found
            for node in entry['inbound_nodes'])}
    return found
