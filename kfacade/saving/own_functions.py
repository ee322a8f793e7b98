"""Functions in the configurations that this process made: found again, and nothing that is stored is run for it.

A configuration in memory holds the function itself. In text (`to_json`, `to_yaml`) it is found by its bytecode,
defaults and closure, where these are data. What comes out of a file finds none, whoever wrote the file.
"""
import hashlib
import json
from contextvars import ContextVar

import numpy as np

from ..utils.generic_utils import func_dump
from .trust import allowing

_made = {}  # digest of a function's text -> the function: the last one, of those that text cannot tell apart
_in_text = ContextVar('functions_found_in_text', default=False)


class _Kept:
    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):  # elsewhere it is what a file holds
        plain = type(self).__mro__[2]
        return plain, (plain(self),)


class KeptDump(_Kept, tuple):
    """What `func_dump` gives of a Python function, with the `function` itself."""


class KeptName(_Kept, str):
    """The name of a callable, with the `function` itself."""


def dumped(function):
    """`func_dump` of a Python function, from which :func:`found` gives that very function."""
    kept = KeptDump(func_dump(function))
    kept.function = function
    key = None if function.__kwdefaults__ else _digest(kept)
    if key:
        _made[key] = function
    return kept


def named(name, function):
    """The `name` of a callable, from which :func:`found` gives that very callable."""
    kept = KeptName(name)
    kept.function = function
    return kept


def found(stored):
    """The function that this process stored so; None where it did not, or where it is not to be looked for."""
    if isinstance(stored, _Kept):
        return stored.function
    return _made.get(_digest(stored)) if _in_text.get() else None


def text_of_this_process():
    """Inside, what is read from text finds the functions of this process."""
    return allowing(_in_text)


def _digest(stored):
    """What identifies a stored function in text; None where it holds more than data, as a closure may."""
    try:
        text = json.dumps(stored, default=_data, sort_keys=True)
    except (TypeError, ValueError):
        return None
    return hashlib.sha256(text.encode()).digest()


def _data(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(type(value))
