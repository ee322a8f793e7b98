"""Models as text: the JSON and YAML that Keras writes, and models built from them.

A text may come from anywhere, so reading one gives plain data only: of YAML's tags for Python objects, those that Keras
itself wrote for tuples and numbers are read as such and all others refused, as is what is nested or repeated beyond
reason, with :class:`InvalidModelFile`.
"""
import json
import math
import re
from contextlib import nullcontext

import numpy as np
import yaml

from ..backend.state import WeightClaims, building, mode
from ..registry import deserialize
from .hdf5 import BACKEND, KERAS_VERSION
from .later import as_before, origin
from .own_functions import text_of_this_process
from .trust import InvalidModelFile, reading, refusing

_MOST_WEIGHTS = 7 << 29  # bytes that the weights of a model from text may take
_MOST_HELD = 1 << 28  # bytes that the objects of a JSON text may take
_MOST_WRITTEN, _MOST_REPEATED, _DEEPEST = 500_000, 300_000, 400  # items of a YAML text, without and with aliases
_PYTHON = 'tag:yaml.org,2002:python/'


class ListForModel(InvalidModelFile, TypeError):
    """A list where a model's dictionary belongs: a TypeError too, for Keras raises that."""


def to_json(model, **kwargs):
    """The architecture of ``model`` as JSON; ``kwargs`` go to ``json.dumps``."""
    return json.dumps(stamped(model), **{'default': plain, **kwargs})


def to_yaml(model, **kwargs):
    """The architecture of ``model`` as YAML, laid out as Keras' own; ``kwargs`` go to ``yaml.dump``."""
    return yaml.dump(stamped(model), **{'Dumper': _Dumper, 'default_flow_style': None, **kwargs})


def model_from_config(config, custom_objects=None, version=None):
    """A new, uncompiled model from the dict ``{'class_name': ..., 'config': ...}``.

    ``custom_objects`` is a dict from names in it to the classes and functions they stand for; functions of ``Lambda``
    layers that this process wrote there are found without. ``version`` is that of the Keras that wrote it. Raises
    TypeError for a list, ValueError for classes that nobody knows.
    """
    with text_of_this_process():
        return model_from_stored_config(config, custom_objects, version)


def model_from_stored_config(config, custom_objects=None, version=None):
    """As :func:`model_from_config`, for what a file holds: it finds no functions of this process."""
    if isinstance(config, list):
        raise ListForModel('`model_from_config` expects a dictionary, not a list. Maybe you meant to use '
                           '`Sequential.from_config(config)`?')
    claims = nullcontext() if mode.claims else WeightClaims(_MOST_WEIGHTS, 'a configuration without weights')
    with refusing('The configuration'), claims, building(origin(version, config)):
        return deserialize(as_before(config, custom_objects, version), custom_objects)


def model_from_json(json_string, custom_objects=None):
    """A new, uncompiled model from what ``to_json`` wrote. See :func:`model_from_config`."""
    return _model_from_text(json_string, custom_objects, 'json', parse_json)


def model_from_yaml(yaml_string, custom_objects=None):
    """A new, uncompiled model from what ``to_yaml`` wrote. See :func:`model_from_config`."""
    return _model_from_text(yaml_string, custom_objects, 'yaml', parse_yaml)


def _model_from_text(text, custom_objects, form, parse):
    if not isinstance(text, (str, bytes, bytearray)):
        raise TypeError(f'`model_from_{form}` reads the text that `model.to_{form}()` gave. Received: {text!r}')
    config = parse(text, f'the {form.upper()} text')
    return model_from_config(config, custom_objects, config.get('keras_version'))


def model_config(model):
    """``{'class_name': ..., 'config': ...}`` of ``model``."""
    model = model.saved_as
    return {'class_name': type(model).__name__, 'config': model.get_config()}


def plain(value):
    """``value``, which JSON has no form for, as something that it has: for ``json.dumps(default=plain)``.

    Numbers and arrays of numpy become Python's, functions and classes their names, and objects with a ``get_config``
    what ``deserialize`` takes. Raises TypeError for anything else.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if hasattr(value, 'get_config') and not isinstance(value, type):
        return {'class_name': type(value).__name__, 'config': value.get_config()}
    if callable(value) and hasattr(value, '__name__'):
        return value.__name__
    raise TypeError(f'Not JSON Serializable: {value}')


def parse_json(text, where):
    """The dict that ``text`` holds. Raises InvalidModelFile, which names ``where``, for anything else."""
    if isinstance(text, (str, bytes)):  # dicts, lists and items take about this much memory
        held = len(text) + sum(size * text.count(sign if isinstance(text, str) else sign.encode())
                               for sign, size in (('{', 240), ('[', 64), (',', 40)))
        if held > _MOST_HELD:
            raise InvalidModelFile(f'{where} is too long for a model: it would take {held} bytes of memory.')
    with reading(where, 'is no JSON', ValueError):
        found = json.loads(text)
    return _as_dict(found, where)


def parse_yaml(text, where):
    """As :func:`parse_json`, for YAML."""
    with reading(where):
        _check_yaml(text)
        found = yaml.load(text, Loader=_Loader)
    return _as_dict(found, where)


def _check_yaml(text):
    """Raises ValueError for YAML of too many items, counting those that aliases repeat, or nested too deeply."""
    sizes, nested, written = {}, [], 0
    most = min(_MOST_WRITTEN, 1000 + len(text) // 4)  # no model's items are shorter on the average
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            nested.append([event.anchor, 1])
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f'the alias {event.anchor} is unknown or repeats itself')
            anchor, size = None, sizes[event.anchor]
        elif isinstance(event, (yaml.ScalarEvent, yaml.CollectionEndEvent)):
            anchor, size = nested.pop() if isinstance(event, yaml.CollectionEndEvent) else (event.anchor, 1)
        else:
            continue
        written += 1
        sizes[anchor] = size
        if nested:
            nested[-1][1] += size
        if len(nested) > _DEEPEST or written > most or size > written + _MOST_REPEATED:
            raise ValueError('it is nested too deeply, or repeats itself or others into too many items, for a model')


def _as_dict(found, where):
    if isinstance(found, list):
        return model_from_config(found)  # raises what Keras raises for a list
    if not isinstance(found, dict):
        raise InvalidModelFile(f'Expected a dictionary in {where}, found {type(found).__name__}.')
    return found


def stamped(model):
    """The configuration of a model with its class, and the version and backend that Keras would name."""
    return {**model_config(model), 'keras_version': KERAS_VERSION, 'backend': BACKEND}


class _Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """Plain YAML, plus what Keras' own files hold: tuples, and numbers that numpy pickled (read as data)."""

    def number(self, node):
        if ':' in node.value or len(node.value) > 400:  # to base 60, or longer than any float
            raise ValueError(f'{node.value[:40]} is no number that Keras writes')
        return (self.construct_yaml_int if node.tag.endswith('int') else self.construct_yaml_float)(node)

    def tuple(self, node):
        return tuple(self.construct_sequence(node, deep=True))

    def dtype(self, node):
        name = self.construct_mapping(node, deep=True)['args'][0]
        if not re.fullmatch('[biuf][1248]', name):
            raise ValueError(f'{name} is no type of plain numbers')
        return np.dtype(name)

    def array(self, node):
        _, shape, dtype, _, data = self.construct_mapping(node, deep=True)['state']
        if math.prod(map(abs, shape[:-1])) > max(len(data), 1):
            raise ValueError(f'an array of shape {shape} has more rows than its {len(data)} bytes')
        return np.frombuffer(data, dtype).reshape(shape).tolist()

    def scalar(self, node):
        dtype, data = self.construct_sequence(node, deep=True)
        return np.frombuffer(data, dtype).item()


for _tag, _constructor in (('tuple', _Loader.tuple),
                           ('name:numpy.ndarray', yaml.SafeLoader.construct_yaml_null),
                           ('object/apply:numpy.dtype', _Loader.dtype),
                           ('object/apply:numpy.core.multiarray._reconstruct', _Loader.array),
                           ('object/apply:numpy.core.multiarray.scalar', _Loader.scalar)):
    _Loader.add_constructor(_PYTHON + _tag, _constructor)
for _tag in ('int', 'float'):
    _Loader.add_constructor(f'tag:yaml.org,2002:{_tag}', _Loader.number)


class _Dumper(yaml.SafeDumper):
    """Plain YAML, plus tuples and what :func:`plain` knows."""


_Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_sequence(_PYTHON + 'tuple', value))
_Dumper.add_multi_representer(tuple, _Dumper.yaml_representers[tuple])
_Dumper.add_multi_representer(str, yaml.SafeDumper.represent_str)
_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)
_Dumper.add_multi_representer(object, lambda dumper, value: dumper.represent_data(plain(value)))
