"""Models as picklable dicts: what ``pickle``, ``copy.deepcopy`` and processes exchange.

Such a dict is made and read by the same program, so it may hold classes and functions themselves, by reference.
"""
import json
import sys
import types

from .model_file import code_allowed
from .text import model_config, model_from_config, plain
from .training_state import compile_from, set_optimizer_weights, training_config

_PACKAGE = __name__.split('.')[0]


def model_state(model, importable=True):
    """``model`` as a dict of text and arrays: architecture, weights, compile arguments and optimizer state.

    With it go the user's own classes and functions that the texts name, so that nobody has to be asked for them; those
    that ``pickle`` cannot find again (local ones, lambdas) only if not ``importable``.
    """
    layers = model.layers
    state = {
        'model_config': json.dumps(model_config(model), default=plain),
        'weights': [[variable.numpy() for variable in layer.weights] for layer in layers],
        'debias_steps': [[variable.debias_steps for variable in layer.weights] for layer in layers],
        'custom_objects': _own_objects(model, importable),
    }
    if model.optimizer:
        state['training_config'] = training_config(model)
        state['optimizer_weights'] = [variable.numpy() for variable in getattr(model.optimizer, 'weights', ())]
    return state


def unpickle_model(state):
    """A new model from what :func:`model_state` gave."""
    custom_objects = state['custom_objects']
    with code_allowed():  # a pickle runs code anyway
        model = model_from_config(json.loads(state['model_config']), custom_objects)
    for layer, arrays, steps in zip(model.layers, state['weights'], state['debias_steps']):
        for variable, array, count in zip(layer.weights, arrays, steps):
            variable.assign(array)
            variable.debias_steps = count
    if state.get('training_config'):
        compile_from(model, state['training_config'], 'the pickled model', custom_objects)
        if state['optimizer_weights']:
            set_optimizer_weights(model, state['optimizer_weights'])
    return model


pickle_model = model_state


def restore(model, state):
    """Makes the empty ``model`` the one that ``state`` describes (what ``__setstate__`` has to do)."""
    rebuilt = unpickle_model(state)
    vars(model).update(vars(rebuilt))
    for node in model._inbound_nodes:
        node.outbound_layer = model


def copy_model(model):
    """A deep copy of ``model``: nothing is shared but the user's own classes and functions."""
    return unpickle_model(model_state(model, importable=False))


def _own_objects(model, importable):
    """Name -> class or function, for all that ``model`` uses and that are not this package's."""
    used = [type(model.optimizer), *_flat([getattr(model, 'loss', None), getattr(model, 'metrics', None)])]
    for module in model.modules():
        used += [type(module), *vars(module).values()]
    found = {}
    for item in used:
        if hasattr(item, 'get_config') and not isinstance(item, type):
            item = type(item)
        home = getattr(item, '__module__', None)
        if isinstance(item, (type, types.FunctionType)) and home and home.split('.')[0] not in (_PACKAGE, 'torch'):
            if not importable or _lookup(home, item.__qualname__) is item:
                found[item.__name__] = item
    return found


def _flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, (list, tuple)) else [value]


def _lookup(module, qualified_name):
    found = sys.modules.get(module)
    for part in qualified_name.split('.'):
        found = getattr(found, part, None)
    return found
