"""Names to objects and back (custom objects, configs, stored functions), and small helpers for lists and shapes."""
import codecs
import contextlib
import dataclasses
import difflib
import functools
import inspect
import itertools
import marshal
import re
import types

import numpy as np

from .progbar import Progbar

__all__ = ['CustomObjectScope', 'Progbar', 'check_for_unexpected_keys', 'custom_object_scope',
           'deserialize_keras_object', 'func_dump', 'func_load', 'get_custom_objects', 'has_arg', 'interpret',
           'is_all_none', 'is_own', 'keep_arguments', 'object_list_uid', 'public_objects', 'serialize_keras_object',
           'slice_arrays', 'to_list', 'transpose_shape', 'unpack_singleton']

_GLOBAL_CUSTOM_OBJECTS = {}

# What shares a namespace with losses, initializers, ... but is none: by name, and by the package it comes from.
_LOOK_UPS = ('get', 'serialize', 'deserialize')
_MACHINERY = tuple(f'{__name__.rsplit(".", 2)[0]}.{package}.' for package in ('backend', 'utils'))


# ---------------------------------------------------------------- custom objects

class CustomObjectScope:
    """Context in which configs may name the objects of the given dicts; on exit the global dict is as before."""

    def __init__(self, *args):
        self.custom_objects = args

    def __enter__(self):
        self.backup = _GLOBAL_CUSTOM_OBJECTS.copy()
        for objects in self.custom_objects:
            _GLOBAL_CUSTOM_OBJECTS.update(objects)
        return self

    def __exit__(self, *args, **kwargs):
        _GLOBAL_CUSTOM_OBJECTS.clear()
        _GLOBAL_CUSTOM_OBJECTS.update(self.backup)


custom_object_scope = CustomObjectScope


def get_custom_objects():
    """The global dict of custom objects itself: what is put in there, configs may name."""
    return _GLOBAL_CUSTOM_OBJECTS


def is_own(item):
    """Whether a function, or the class of an object, is this package's own."""
    return (getattr(item, '__module__', None) or '').partition('.')[0] == __name__.partition('.')[0]


# ---------------------------------------------------------------- configs

def public_objects(namespace):
    """What a config may name in a module: of its ``globals()``, the public classes and functions, its helpers left out.

    It is read at each look-up, so that ``keras.losses.mine = mine`` makes a name known, as scripts expect.
    """
    return {name: value for name, value in namespace.items()
            if callable(value) and not name.startswith('_') and name not in _LOOK_UPS
            and not str(getattr(value, '__module__', '')).startswith(_MACHINERY)}


def interpret(identifier, deserialize, kind, instantiate=False):
    """The object that a user means by a name, a config dict or the object itself: the common part of every ``get``.

    A name stands for a function, or with `instantiate` for a class to be called without arguments. Raises ValueError
    for anything else.
    """
    if isinstance(identifier, str) and instantiate:
        identifier = {'class_name': identifier, 'config': {}}
    if isinstance(identifier, (str, dict)):
        return deserialize(identifier)
    if inspect.isclass(identifier):
        raise ValueError(f'The {kind} must be an instance, not the class {identifier.__name__} itself: call it.')
    if callable(identifier):
        return identifier
    raise ValueError(f'Could not interpret {kind} identifier: {identifier}. Expected a name, a config '
                     '({"class_name": ..., "config": {...}}) or a callable.')


def serialize_keras_object(instance):
    """The ``{'class_name', 'config'}`` of an object with ``get_config``, a function's name, None for None."""
    if instance is None:
        return None
    if hasattr(instance, 'get_config'):
        return {'class_name': type(instance).__name__, 'config': instance.get_config()}
    if hasattr(instance, '__name__'):
        return instance.__name__
    raise ValueError(f'Cannot serialize {instance!r}: it has neither a `get_config` method nor a `__name__`.')


def deserialize_keras_object(identifier, module_objects=None, custom_objects=None, printable_module_name='object'):
    """The object of a config, or the function of a name; the inverse of `serialize_keras_object`.

    Names are looked up in `custom_objects`, the global custom objects and `module_objects`, in this order. A class is
    made with its ``from_config`` (which gets `custom_objects`, or runs in their scope); what has none is called with
    the config as keywords. Raises ValueError for an unknown name (the message calls it a `printable_module_name`) or an
    improper config.
    """
    custom_objects, module_objects = custom_objects or {}, module_objects or {}
    if isinstance(identifier, str):
        return _look_up(identifier, custom_objects, module_objects, f'{printable_module_name}:')
    if not isinstance(identifier, dict):
        raise ValueError(f'Could not interpret serialized {printable_module_name}: {identifier}')
    if not isinstance(identifier.get('class_name'), str) or 'config' not in identifier:
        raise ValueError(f'Improper config format: {identifier}')
    config = identifier['config']
    cls = _look_up(identifier['class_name'], custom_objects, module_objects, f'{printable_module_name}: ')
    from_config = getattr(cls, 'from_config', None)
    if from_config and has_arg(from_config, 'custom_objects'):
        return from_config(config, custom_objects={**_GLOBAL_CUSTOM_OBJECTS, **custom_objects})
    with CustomObjectScope(custom_objects):
        return from_config(config) if from_config else cls(**config)


def _look_up(name, custom_objects, module_objects, kind):
    for objects in (custom_objects, _GLOBAL_CUSTOM_OBJECTS, module_objects):
        if objects.get(name) is not None:
            return objects[name]
    close = difflib.get_close_matches(name, {**_GLOBAL_CUSTOM_OBJECTS, **module_objects}, n=1)
    hint = f'Did you mean {close[0]!r}?' if close else 'If it is your own, pass it in `custom_objects`.'
    raise ValueError(f'Unknown {kind}{name}. {hint}')


# ---------------------------------------------------------------- stored functions

def func_dump(func):
    """A function as ``(code, defaults, closure)``, its bytecode marshalled and written in base64."""
    code = codecs.encode(marshal.dumps(func.__code__), 'base64').decode('ascii')
    closure = tuple(cell.cell_contents for cell in func.__closure__) if func.__closure__ else None
    return code, func.__defaults__, closure


def func_load(code, defaults=None, closure=None, globs=None):
    """The function that `func_dump` stored. **It is code, and will do whatever its author wanted**: trust it first.

    `code` is the marshalled bytecode, or all that `func_dump` gave; `closure` holds values or cells; `globs` are the
    globals that it will see (default: those of this module). Raises ValueError for bytecode that this version of Python
    cannot read.
    """
    if isinstance(code, (tuple, list)):
        code, defaults, closure = code
    if closure is not None:
        closure = tuple(c if isinstance(c, types.CellType) else types.CellType(c) for c in closure)
    code = _unmarshal(code)
    return types.FunctionType(code, globals() if globs is None else globs, name=code.co_name,
                              argdefs=None if defaults is None else tuple(defaults), closure=closure)


def _unmarshal(text):
    # Keras before 2.1.2 wrote raw bytes as text; what is not base64 of bytecode is tried as that.
    for to_bytes in (lambda: codecs.decode(text.encode('ascii'), 'base64'),
                     lambda: text.encode('raw_unicode_escape')):
        with contextlib.suppress(ValueError, EOFError, TypeError):
            code = marshal.loads(to_bytes())
            if isinstance(code, types.CodeType):
                return code
    raise ValueError('The stored function cannot be read: its bytecode was written by another version of Python. '
                     'Define the function again, and pass it in `custom_objects`.')


def has_arg(fn, name, accept_all=False):
    """Whether `fn` can be called with the keyword `name`; with `accept_all`, ``**kwargs`` counts too."""
    try:
        parameters = inspect.signature(fn).parameters
    except ValueError:  # a builtin that does not tell
        return False
    if name in parameters:
        return parameters[name].kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return accept_all and any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def to_snake_case(name):
    """The stem of automatic names: ``Conv2D`` gives ``conv2d``, ``MaxPooling2D`` gives ``max_pooling2d``."""
    snake = re.sub(r'([a-z])([A-Z])', r'\1_\2', re.sub(r'(.)([A-Z][a-z0-9]+)', r'\1_\2', name)).lower()
    return f'private{snake}' if snake.startswith('_') else snake


# ---------------------------------------------------------------- lists and shapes

def check_number(name, value, owner):
    """Raises ValueError where the argument `name` of `owner` can be no number; anything that may hold one passes."""
    if value is None or isinstance(value, (str, list, tuple, dict)):
        raise ValueError(f'`{name}` of {owner} must be a number. Received: {value!r}')


@dataclasses.dataclass(eq=False)
class Configured:
    """Base of dataclasses whose fields make their configuration; :func:`check_number` for what is declared a float."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type is float:
                check_number(field.name, getattr(self, field.name), type(self).__name__)

    def get_config(self):
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def keep_arguments(instance, arguments, *but):
    """Sets the arguments of a constructor, its `locals()`, as attributes of the same names; `but` those."""
    vars(instance).update({k: v for k, v in arguments.items() if k not in ('self', '__class__', 'kwargs', *but)})


def to_list(x, allow_tuple=False):
    """`x` if it is a list, else a list of `x`; a tuple counts as one thing unless `allow_tuple`."""
    if isinstance(x, list):
        return x
    return list(x) if allow_tuple and isinstance(x, tuple) else [x]


def unique_name(name, is_taken):
    """`name`, or else the first of ``name_1``, ``name_2``, ... that is not taken."""
    names = itertools.chain([name], (f'{name}_{i}' for i in itertools.count(1)))
    return next(name for name in names if not is_taken(name))


def unpack_singleton(x):
    """The one element of a list or tuple of one, else the list or tuple."""
    return x[0] if len(x) == 1 else x


def object_list_uid(object_list):
    """A string that identifies an object or a list of objects by their ids."""
    return ', '.join(str(id(x)) for x in to_list(object_list))


def is_all_none(iterable_or_element):
    """Whether an element, or every element of a list or tuple, is None."""
    return all(x is None for x in to_list(iterable_or_element, allow_tuple=True))


def slice_arrays(arrays, start=None, stop=None):
    """``x[start:stop]``, or ``x[start]`` if `start` lists indices, of an array or of each in a list (None is kept)."""
    if arrays is None:
        return [None]
    index = start if hasattr(start, '__len__') else slice(start, stop)
    if isinstance(index, np.ndarray):
        index = index.tolist()  # HDF5 data sets take lists only
    if isinstance(arrays, list):
        return [None if x is None else x[index] for x in arrays]
    return arrays[index]


def transpose_shape(shape, target_format, spatial_axes):
    """A channels-last shape (tuple or list) in the layout `target_format`.

    For 'channels_first' the last dimension moves in front of those at the positions `spatial_axes`: (16, 8, 8, 3) with
    axes (1, 2) becomes (16, 3, 8, 8). Raises ValueError for another `target_format`.
    """
    if target_format == 'channels_last':
        return shape
    if target_format != 'channels_first':
        raise ValueError('The `data_format` argument must be one of "channels_first", "channels_last". '
                         f'Received: {target_format}')
    return type(shape)([*shape[:spatial_axes[0]], shape[-1], *(shape[axis] for axis in spatial_axes)])


def unknown_arguments(given, function, *further):
    """The names among `given` that are no parameters of `function`, nor `further`, each with the one that may be meant.

    They come as text, empty where all are known.
    """
    known = [*further, *inspect.signature(function).parameters]

    def hint(name):
        initials = ''.join(word[:1] for word in name.split('_'))  # learning_rate: lr
        close = [initials] if initials in known else difflib.get_close_matches(name, known, n=1)
        return f'{name!r} (did you mean {close[0]!r}?)' if close else repr(name)
    return ', '.join(hint(name) for name in given if name not in known)


def names_unknown_arguments(function):
    """Has calls with unknown keywords raise a TypeError that names them all, and the ones that may be meant."""
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        if kwargs and not known >= kwargs.keys():
            raise TypeError(f'`{function.__name__}` has no argument {unknown_arguments(kwargs, function)}.')
        return function(*args, **kwargs)
    known = set(inspect.signature(function).parameters)
    return wrapper


def check_for_unexpected_keys(name, input_dict, expected_values):
    """Raises ValueError if the dict given for the argument `name` has keys beyond `expected_values`."""
    for key in input_dict:
        if key not in expected_values:
            raise ValueError(f'Unknown entry in {name} dictionary: "{key}". '
                             f'Only expected the following keys: {list(expected_values)}')
