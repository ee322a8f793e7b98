"""Shapes, sizes and data types of symbols, which also answer as TensorFlow's do.

Variables have these shapes, too; their data type is torch's, for what computes with their live values.
"""
import math

import numpy as np
import torch

from .dtypes import dtype_name, names, torch_dtype


def _arithmetic(name):
    def compute(self, other):
        result = getattr(int, name)(self, other)
        return UNKNOWN if other is UNKNOWN else Dimension(result) if isinstance(result, int) else result
    return compute


class Dimension(int):
    """A known size in a `Shape`: an int."""

    value = property(int)

    for _name in ('add', 'sub', 'mul', 'floordiv', 'mod'):
        for _form in (f'__{_name}__', f'__r{_name}__'):
            locals()[_form] = _arithmetic(_form)
    del _name, _form


class _Unknown:
    """An unknown size in a `Shape`: equal to None, and to nothing known; what is computed with it is unknown, too."""

    value = None

    def __int__(self):
        raise TypeError('This size is unknown while a graph is built. Use `K.shape(x)[i]`.')

    def __bool__(self):
        return False

    def __repr__(self):
        return '?'

    def __eq__(self, other):
        return other is None or other is self or None

    __index__, __hash__ = __int__, object.__hash__
    for _name in ('add', 'sub', 'mul', 'floordiv', 'mod'):
        locals()[f'__{_name}__'] = locals()[f'__r{_name}__'] = lambda self, other: self
    for _name in ('ne', 'lt', 'le', 'gt', 'ge'):
        locals()[f'__{_name}__'] = lambda self, other: None
    del _name


UNKNOWN = _Unknown()


class Shape(tuple):
    """A tuple of sizes with None for what is unknown, which gives each size as a `Dimension` or `UNKNOWN`."""

    def as_list(self):
        """The sizes as ints and None."""
        return [tuple.__getitem__(self, i) for i in range(len(self))]

    def __getitem__(self, index):
        found = tuple.__getitem__(self, index)
        return Shape(found) if isinstance(found, tuple) else UNKNOWN if found is None else Dimension(found)

    def __iter__(self):
        return map(self.__getitem__, range(len(self)))

    ndims = rank = property(len)
    dims = property(list)

    def is_fully_defined(self):
        return None not in self

    def num_elements(self):
        """The number of elements; None where a size is unknown."""
        return math.prod(self.as_list()) if self.is_fully_defined() else None

    def is_compatible_with(self, other):
        """Whether a tensor of one of the shapes may have the other."""
        other = Shape(other).as_list()
        return len(self) == len(other) and all(None in (a, b) or a == b for a, b in zip(self.as_list(), other))

    def concatenate(self, other):
        """The shape with another one, or a size, behind it."""
        return Shape((*self.as_list(), *(Shape(other).as_list() if isinstance(other, (list, tuple)) else [other])))


class DType(str):
    """The data type of a symbol: its name, equal to torch's and numpy's type."""

    name, base_dtype = property(str.__str__), property(lambda self: self)
    as_numpy_dtype = property(lambda self: np.dtype(self.name).type)
    is_floating = is_floating_point = property(lambda self: torch_dtype(self).is_floating_point)
    is_integer = property(lambda self: not (self.is_floating or self.is_bool or torch_dtype(self).is_complex))
    is_bool = property(lambda self: self.name == 'bool')
    size = property(lambda self: torch_dtype(self).itemsize)
    max, min = (property(lambda self, end=end: getattr((torch.finfo if self.is_floating else torch.iinfo)(
        torch_dtype(self)), end)) for end in ('max', 'min'))

    def __eq__(self, other):
        try:
            return other is not None and self.name == dtype_name(other)
        except TypeError:
            return False

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__


DTYPES = {dtype: DType(name) for dtype, name in names.items()}
