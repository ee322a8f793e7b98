"""Models as picklable dicts: what ``pickle``, ``copy.deepcopy`` and processes exchange.

Such a dict is made and read by the same program, so it holds classes and functions themselves, not names to ask for.
"""
import copy
import json
import sys
import types
import warnings

from ..registry import known
from ..utils.generic_utils import func_dump, func_load
from .text import model_config, model_from_config, plain
from .training_state import COMPILED, numbers_of, set_optimizer_weights, ways_of
from .trust import unsafe_deserialization

_PACKAGE = __name__.split('.')[0]


def pickle_model(model, by_value=True):
    """``model`` as a dict: architecture, weights, compile arguments, optimizer state, and the user's own objects in it.

    With ``by_value``, functions that ``pickle`` cannot find again (local ones, lambdas) go with their bytecode, and
    such classes are left out: unpickle those models in a ``CustomObjectScope``.
    """
    objects = _own_objects(model)
    if by_value:
        objects = {name: _portable(item) for name, item in objects.items()
                   if not isinstance(item, type) or _is_known(item)}
    return {
        'model_config': json.dumps(model_config(model), default=plain),
        'weights': [[(weight.numpy(), weight.debias_steps) for weight in layer.weights]
                    for layer in model.saved_as.layers],
        'custom_objects': objects,
        'training': _training(model, _portable if by_value else lambda item: item) if model.optimizer else None,
    }


def _training(model, portable):
    optimizer = model.optimizer
    try:
        config = optimizer.get_config()
    except NotImplementedError as error:
        warnings.warn(f'{error} A copy of the model does not have it: call `compile` on the copy.', stacklevel=5)
        return None
    arguments = {name: _mapped(portable, getattr(model, name)) for name in COMPILED}
    return {'optimizer': (type(optimizer), config, optimizer.get_weights(), numbers_of(optimizer)),
            'arguments': {**arguments, **ways_of(model), 'loss': arguments['loss'] or None}}


def unpickle_model(state):
    """A new model from what :func:`pickle_model` gave."""
    with unsafe_deserialization():  # a pickle runs code anyway
        model = model_from_config(json.loads(state['model_config']), state['custom_objects'])
    for layer, weights in zip(model.layers, state['weights']):
        for variable, (array, steps) in zip(layer.weights, weights):
            variable.assign(array)
            variable.debias_steps = steps
    if state['training']:
        optimizer, config, arrays, numbers = state['training']['optimizer']
        model.compile(optimizer.from_config(config), **state['training']['arguments'])
        if arrays:
            set_optimizer_weights(model, arrays, numbers)
    return model


def restore(model, state):
    """Makes the empty ``model`` the one that ``state`` describes (what ``__setstate__`` has to do)."""
    vars(model).update(vars(unpickle_model(state)))
    for node in model._inbound_nodes:
        node.outbound_layer = model


def copy_model(model):
    """A deep copy of ``model``: nothing is shared but the user's own classes and functions."""
    state = pickle_model(model, by_value=False)
    return unpickle_model({**state, 'training': copy.deepcopy(state['training'])})


def _own_objects(model):
    """Name -> class or function, for all that the config of ``model`` names and that are not this package's.

    The function of a ``Lambda`` layer is under the layer's name. Names that two different objects share are left out.
    """
    found, used = {}, []
    for module in model.modules():
        if isinstance(module, known()['Lambda']):
            found[module.name] = module.function
        else:
            used += [type(module), *vars(module).values()]
    for item in used:
        if hasattr(item, 'get_config') and not isinstance(item, type):
            item = type(item)
        home = getattr(item, '__module__', None)
        if isinstance(item, (type, types.FunctionType)) and home and home.split('.')[0] not in (_PACKAGE, 'torch'):
            found[item.__name__] = item if found.get(item.__name__, item) is item else None
    return {name: item for name, item in found.items() if item is not None}


def _mapped(function, value):
    """``value`` with ``function`` applied to the leaves of its lists and dicts."""
    if isinstance(value, dict):
        return {key: _mapped(function, item) for key, item in value.items()}
    return [_mapped(function, item) for item in value] if isinstance(value, (list, tuple)) else function(value)


def _is_known(item):
    """Whether ``pickle`` can find the class or function ``item`` again by its name."""
    found = sys.modules.get(item.__module__)
    for part in item.__qualname__.split('.'):
        found = getattr(found, part, None)
    return found is item


def _portable(item):
    return _ByValue(item) if isinstance(item, types.FunctionType) and not _is_known(item) else item


class _ByValue:
    """Pickles as the bytecode of a function, and unpickles as that function, with the globals of its module."""

    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return _function, (func_dump(self.function), self.function.__module__, self.function.__kwdefaults__)


def _function(dumped, module, keyword_defaults):
    __import__(module)
    function = func_load(dumped, globs=vars(sys.modules[module]))
    function.__kwdefaults__ = keyword_defaults
    return function
