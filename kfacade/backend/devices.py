"""Devices: the names that scripts give them, those there are, and computing on another than that of the weights.

The accelerators that torch has (CUDA, else MPS or XPU) are '/gpu:0', '/gpu:1'…; the CPU is '/cpu:0'. The environment
variable ``KERAS_VIRTUAL_DEVICES=4`` puts four logical devices on the CPU in their place, for tests. With
``KERAS_SOFT_PLACEMENT=1``, what is asked of an absent device goes to the first there is, with one warning.
"""
import itertools
import os
import re
import warnings

import torch

from .trees import map_leaves

_NAME = re.compile(r'(?:/job:[^/]+)?(?:/replica:\d+)?(?:/task:\d+)?/?(?:device:)?(cpu|gpu|cuda|mps|xpu)(?::(\d+))?')
_told = set()


def available_devices():
    """The devices there are, as a dict from the names '/cpu:0', '/gpu:0'… to the `torch.device` that computes.

    Raises ValueError where ``KERAS_VIRTUAL_DEVICES`` is no number.
    """
    virtual = os.environ.get('KERAS_VIRTUAL_DEVICES') or '0'
    if not virtual.isdecimal():
        raise ValueError(f'KERAS_VIRTUAL_DEVICES must be a number of devices, such as 4. Found: {virtual!r}')
    found = {'/cpu:0': torch.device('cpu')}
    if int(virtual):
        return {**found, **{f'/gpu:{i}': torch.device('cpu') for i in range(int(virtual))}}
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        found.update((f'/gpu:{i}', torch.device(kind, i)) for i in range(torch.accelerator.device_count()))
    return found


def find_device(name):
    """The name ('/gpu:1') and the `torch.device` meant by any spelling of a device.

    Spellings are '/gpu:1', 'gpu:1', '/device:GPU:1', 'cuda:1', '/job:localhost/replica:0/task:0/device:GPU:1', and
    without a number for the first one; or a `torch.device`. Raises ValueError, with those there are, for another.
    """
    there, match = available_devices(), _NAME.fullmatch(str(name).lower())
    listed = f'There are: {", ".join(there)}.'
    if match is None:
        raise ValueError(f'{name!r} is no name of a device, such as "/gpu:0", "/device:GPU:0", "cuda:0" or "/cpu:0". '
                         f'{listed}')
    kind, index = match[1], int(match[2] or 0)
    own = {device.type for device in there.values()}
    found = f'/{"cpu" if kind == "cpu" else "gpu"}:{index}'
    virtual = '/gpu:0' in there and own == {'cpu'}
    if found in there and (kind in ('cpu', 'gpu') or virtual or kind in own):
        return found, there[found]
    if os.environ.get('KERAS_SOFT_PLACEMENT') != '1':
        raise ValueError(f'There is no device {name!r}. {listed} KERAS_SOFT_PLACEMENT=1 takes the first of them in '
                         'place of an absent one.')
    default = '/gpu:0' if '/gpu:0' in there else '/cpu:0'
    if not _told:
        _told.add(found)
        warnings.warn(f'There is no device {name!r}: {default} takes its place, as KERAS_SOFT_PLACEMENT=1 asks for. '
                      f'{listed}', stacklevel=2)
    return default, there[default]


def move(tree, place):
    """The tensors of a tree on a device, or on that of the tensor `place`; differentiable."""
    device = place.device if isinstance(place, torch.Tensor) else place
    return map_leaves(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, tree)


def apply_on(device, module, *args, **kwargs):
    """Calls `module` on a device with copies of its weights, through which gradients flow back to them."""
    held = dict(itertools.chain(module.named_parameters(), module.named_buffers()))
    if all(x.device == device for x in held.values()):
        return module(*args, **kwargs)
    return torch.func.functional_call(module, {name: x.to(device) for name, x in held.items()}, args, kwargs)
