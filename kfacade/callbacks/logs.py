"""The logs of a batch, read from the device only when somebody looks."""
import functools
import time

import torch

from ..utils.scalars import number


class Logs(dict):
    """A dict of what a batch gave, whose values may still be 0-d tensors on a device.

    Whoever reads a value gets a Python number, and it stays one. Reading waits for the device, so `raw` is there for
    those who can go on with a tensor. `waited` counts the seconds that reading took: work of the batch, not of the
    callback that happened to ask first.
    """

    waited = 0.

    def raw(self, key):
        """The value as it is at hand: a number, or a tensor on a device that may be busy."""
        value = dict.__getitem__(self, key)
        if isinstance(value, torch.Tensor) and value.is_cpu:
            value = self[key] = number(value)
        return value

    def raw_items(self):
        """(key, raw value) pairs."""
        return [(key, self.raw(key)) for key in dict.__iter__(self)]

    def __getitem__(self, key):
        value = dict.__getitem__(self, key)
        if isinstance(value, torch.Tensor):
            start = time.perf_counter()
            value = self[key] = number(value)
            self.waited += time.perf_counter() - start
        return value

    def get(self, key, default=None):
        return self[key] if key in self else default

    def _read_all(self):
        for key in dict.__iter__(self):
            self[key]
        return self


def _reading(method):
    @functools.wraps(method)
    def read_all_first(self, *args):
        return method(self._read_all(), *args)
    return read_all_first


# `__iter__` is among them because ``dict(logs)`` and ``**logs`` take the stored values unless a subclass defines it.
for _name in ('__iter__', 'items', 'values', 'copy', 'pop', 'popitem', 'setdefault', '__eq__', '__ne__', '__or__',
              '__ror__', '__repr__'):
    setattr(Logs, _name, _reading(getattr(dict, _name)))
