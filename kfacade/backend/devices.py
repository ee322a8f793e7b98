"""Devices: those there are, the names that scripts give them, which of them computes, and moving things there.

The accelerators that torch has (CUDA, else MPS or XPU) are '/gpu:0', '/gpu:1'…; the CPU is '/cpu:0'. Weights are made,
and what is recorded is computed, on the *default device*: that of `set_device`, else of the environment variable
``KERAS_DEVICE``, else of ``"device"`` in keras.json, else the first CUDA device, else the CPU. `device_scope` names
another one for what is made in it.

The environment variable ``KERAS_VIRTUAL_DEVICES=4`` puts four logical devices on the CPU in place of the accelerators.
They have memory of their own, as CUDA's have: a tensor of one is not at hand on another, and a recorded op that is
given both raises. To torch, '/gpu:1' is then ``torch.device('cpu', 1)``; the storage of a tensor knows that it lies
there. With ``KERAS_SOFT_PLACEMENT=1``, or TensorFlow's ``allow_soft_placement``, what is asked of an absent device goes
to the one that is there by itself, with one warning.
"""
import functools
import itertools
import operator
import os
import re
import warnings
from types import SimpleNamespace

import torch
from torch import fx

from .. import config
from .state import is_first, mode, on_device
from .trees import leaves, map_leaves

_PART = re.compile(r'/?(?:(?:job|replica|task):[\w*-]+|(?:device:)?(cpu|gpu|cuda|mps|xpu)(?::(\d+|\*))?)')
_CPU = torch.device('cpu')
_virtual = False  # whether there have been virtual devices in this process
_chosen = None  # by `set_device`
soft_placement = False  # as TensorFlow's setting
visible = None  # the numbers of the accelerators that TensorFlow's settings leave; None: all


def count_virtual():
    """How many virtual devices there are. Raises ValueError where ``KERAS_VIRTUAL_DEVICES`` is no number."""
    global _virtual
    count = os.environ.get('KERAS_VIRTUAL_DEVICES') or '0'
    if not count.isdecimal():
        raise ValueError(f'KERAS_VIRTUAL_DEVICES must be a number of devices, such as 4. Found: {count!r}')
    _virtual = _virtual or int(count) > 0
    return int(count)


def available_devices():
    """The devices there are, as a dict from the names '/cpu:0', '/gpu:0'… to the `torch.device` that computes."""
    kind, count = 'cpu', count_virtual()
    if not count and torch.accelerator.is_available():
        kind, count = torch.accelerator.current_accelerator().type, torch.accelerator.device_count()
    numbers = range(count) if visible is None else [i for i in visible if i < count]
    return {'/cpu:0': _CPU, **{f'/gpu:{i}': torch.device(kind, number) for i, number in enumerate(numbers)}}


def list_devices(job='/job:localhost/replica:0/task:0'):
    """The devices there are, with TensorFlow's `name` and `device_type`, as its sessions list them."""
    return [SimpleNamespace(name=f'{job}/device:{name[1:].upper()}', device_type=name[1:4].upper())
            for name in available_devices()]


def _get_available_gpus():
    """TensorFlow's names of the GPUs, under the name by which scripts ask Keras' backend for them."""
    return [device.name for device in list_devices() if device.device_type == 'GPU']


def find_device(name, source=''):
    """The name ('/gpu:1') and the `torch.device` meant by any spelling of a device.

    Spellings are '/gpu:1', 'gpu:1', '/device:GPU:1', 'cuda:1', '/job:localhost/replica:0/task:0/device:GPU:1', and
    without a number for the first one; or a `torch.device`. Raises ValueError, with those there are, for another;
    `source` says there where the name comes from.
    """
    there = available_devices()
    listed = f'There are: {", ".join(there)}.'
    kind, index = _parsed(str(name)) or (None, 0)
    if kind is None:
        raise ValueError(f'{name!r}{source} is no name of a device, such as "/gpu:0", "/device:GPU:0", "cuda:0" or '
                         f'"/cpu:0". {listed}')
    found = f'/{"cpu" if kind == "cpu" else "gpu"}:{index}'
    types = {device.type for key, device in there.items() if key != '/cpu:0'}
    if found in there and (kind in ('cpu', 'gpu') or types & {'cpu', kind}):
        return found, there[found]
    if os.environ.get('KERAS_SOFT_PLACEMENT') != '1' and not soft_placement:
        raise ValueError(f'There is no device {name!r}{source}. {listed} KERAS_SOFT_PLACEMENT=1, or '
                         "tf.ConfigProto(allow_soft_placement=True), takes the default in an absent one's place.")
    default = _by_itself(there)
    if is_first('soft placement'):
        warnings.warn(f'There is no device {name!r}{source}: {default} takes its place, as KERAS_SOFT_PLACEMENT or '
                      f'allow_soft_placement asks for. {listed}', stacklevel=3)
    return default, there[default]


def _parsed(name):
    """The kind of device and its number in a name: None and 0 where it names none; None for what is no name."""
    kind, index, end, name = None, 0, 0, name.lower()
    while match := _PART.match(name, end):
        if end and name[end] != '/' or match[1] and kind:
            return None
        kind, end = kind or match[1], match.end()
        index = int(match[2]) if (match[2] or '*') != '*' else index
    return (kind, index) if end == len(name) else None


def _by_itself(there):
    """The device among those there that is taken unless somebody chooses: MPS and XPU have to be chosen.

    Where the process has settled on a CUDA device, as one of several ranks does, that is it.
    """
    current = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    found = [name for name, device in there.items() if name != '/cpu:0' and device.type in ('cuda', 'cpu')]
    return next((name for name in found if there[name] == torch.device('cuda', current)), [*found, '/cpu:0'][0])


def default_device():
    """The `torch.device` for what no scope places. Raises ValueError where an absent one was chosen."""
    if mode.home is not None:
        return mode.home
    for name, source in ((_chosen, ' of set_device'), (os.environ.get('KERAS_DEVICE'), ' of KERAS_DEVICE'),
                         (config.device(), ' of keras.json')):
        if name:
            return find_device(name, source)[1]
    there = available_devices()
    return there[_by_itself(there)]


def set_device(name):
    """Chooses the default device, by any of its names, for what is made from now on; None leaves it open again.

    Models that there are stay where they are: ``model.to(...)`` moves them. Raises ValueError for an absent device.
    """
    global _chosen
    if name is not None:
        find_device(name)
    _chosen = name


def device_scope(name):
    """A context: weights made in it lie on a device, and what is recorded in it is computed there.

    Arguments:
        name: of the device, in any spelling; None for the default one; or a function that is given each operation
            (with `name`, `type`, `inputs`) and returns one of these.
    Inputs and weights that lie elsewhere are moved there, and gradients back, each time. The innermost of several
    scopes counts. Raises ValueError for a device that is not there.
    """
    if callable(name):
        return on_device(lambda tensor, outer=mode.device: _scoped(name(tensor.op), outer))
    return on_device(_scoped(name, mode.device))


def _scoped(name, outer):
    """What a scope of that name within another says: a device, or None for the default one."""
    if name is None:
        return None
    if _parsed(str(name)) == (None, 0):
        return outer  # it names a job, or nothing
    device = find_device(name)[1]
    return None if device == default_device() else device


def scoped_device(tensor):
    """The `torch.device` that the open scope has for a symbol or variable; None for the default one."""
    device = mode.device
    while callable(device):
        device = device(tensor)
    return device


# ---------------------------------------------------------------- where tensors lie

def device_of(tensor):
    """Where a tensor lies, on a virtual device perhaps."""
    return getattr(_storage(tensor), 'kfacade_device', tensor.device) if _virtual else tensor.device


def _storage(tensor):
    """The object whose attribute `kfacade_device` is the virtual device of a tensor."""
    try:
        return tensor.untyped_storage()
    except NotImplementedError:  # of sparse tensors, and of those in torch.func's transformations
        return tensor


def _mark(tensor, device):
    """`tensor`, as one that lies on a device."""
    if device.type == 'cpu' and device.index is not None:
        _storage(tensor).kfacade_device = device
    return tensor


def held(*modules):
    """The parameters and buffers of modules."""
    return itertools.chain(*[kind for module in modules for kind in (module.parameters(), module.buffers())])


def unplaced(*modules):
    """Which module has the first floating weight of these that no scope has placed, and its key; None for none."""
    for module in modules:  # not by torch's generators: it is asked each step
        for weights in (module._parameters, module._buffers):
            for key, weight in weights.items():
                if weight is not None and weight.is_floating_point() and getattr(weight, 'on', None) is None:
                    return module, key
        for part in module._modules.values():
            if part is not None and (found := unplaced(part)):
                return found
    return None


def put(tensor, device, dtype=None):
    """`tensor` on a device, and in a dtype: itself where it is that already. Differentiable."""
    if device_of(tensor) == device:
        return tensor if dtype in (None, tensor.dtype) else _mark(tensor.to(dtype), device)
    virtual = tensor.device.type == device.type == 'cpu'
    # what comes back to the CPU has to be waited for
    return _mark(tensor.to(device, dtype, non_blocking=device.type != 'cpu', copy=virtual), device)


_OVERLAPPED = 2 ** 18  # bytes from which a copy takes longer than it takes to have another stream make it


def fetched(tensor, device, dtype=None):
    """A dense tensor of the CPU on a CUDA device. Nobody waits: it is copied from pinned memory.

    A large one is copied by a stream of its own, beside what the device still computes; what the calling stream is told
    next comes after it. The copy's memory is that other stream's, which `record_stream` has wait for the calling one.
    """
    if not tensor.is_pinned():
        tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)
    if tensor.nbytes < _OVERLAPPED:
        return tensor.to(device, dtype, non_blocking=True)
    stream, calling = _copying(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(stream):
        copy = tensor.to(device, dtype, non_blocking=True)
    calling.wait_stream(stream)
    copy.record_stream(calling)
    return copy


@functools.cache
def _copying(device):
    return torch.cuda.Stream(device)


def mover(place):
    """A function that puts tensors where ``model.to(place)`` says, by torch's name of a device or any of scopes'."""
    torchs = _parsed(str(place)) is None or isinstance(place, torch.device) and place.type == 'cpu'
    device = torch.device(place) if torchs else find_device(place)[1]
    return lambda tensor: put(tensor, device)


def _at(place):
    return device_of(place) if isinstance(place, torch.Tensor) else place


def move(tree, place):
    """The tensors of a tree on a device, or on that of the tensor `place`; differentiable."""
    device = _at(place)
    return map_leaves(lambda x: put(x, device) if isinstance(x, torch.Tensor) else x, tree)


def create(place, fn, *args, **kwargs):
    """Calls a function that makes tensors of no others, on a device or on that of the tensor `place`."""
    device = _at(place)
    if device == _CPU:
        return fn(*args, **kwargs)
    with device:
        return map_leaves(lambda x: _mark(x, device) if isinstance(x, torch.Tensor) else x, fn(*args, **kwargs))


class _Applied(torch.nn.Module):
    """A function that uses `modules`, as a module."""

    def __init__(self, fn, modules):
        super().__init__()
        self.used, self.forward = torch.nn.ModuleList(modules), lambda *args, **kwargs: fn(*args, **kwargs)


def apply_on(place, fn, *args, **kwargs):
    """Calls a module, or a function of modules, on a device with copies of their weights.

    Gradients flow back through the copies.
    """
    device, modules = _at(place), [x for x in leaves((fn, args, kwargs)) if isinstance(x, torch.nn.Module)]
    if all(device_of(x) == device for x in held(*modules)):
        return fn(*args, **kwargs)
    applied = _Applied(fn, modules)
    named = itertools.chain(applied.named_parameters(), applied.named_buffers())
    return torch.func.functional_call(applied, {name: put(x, device) for name, x in named}, args, kwargs)


def _plain(tree):
    """A tree with Python's own lists and dicts in place of those that fx makes, which cannot be changed."""
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(x) for x in tree] if isinstance(tree, list) else (
        tuple(map(_plain, tree)) if type(tree) is tuple else tree)


class Checked(fx.Interpreter):
    """Runs a graph on virtual devices: each call needs its operands on one device, where its results then are.

    Raises RuntimeError otherwise, as CUDA's kernels do. Numbers on the CPU (tensors without dimensions) are at hand
    everywhere.
    """

    def fetch_args_kwargs_from_env(self, node):
        args, kwargs = super().fetch_args_kwargs_from_env(node)
        return _plain(args), _plain(kwargs)

    def call_function(self, target, args, kwargs):
        if target in (move, create) or target is operator.getitem and isinstance(args[0], (list, tuple)):
            return super().call_function(target, args, kwargs)
        if target.__name__ in ('gradients_of', 'average'):  # each lies where its target, of the last list, does
            found, targets = super().call_function(target, args, kwargs), [x for x in args if isinstance(x, list)][-1]
            return [put(gradient, device_of(x)) for gradient, x in zip(found, targets)]
        operands = args if target is apply_on else [x for x in leaves(args) if not isinstance(x, torch.device)]
        return self._checked(super().call_function, target, args, kwargs, operands)

    def call_module(self, target, args, kwargs):
        module = self.fetch_attr(target)
        return self._checked(super().call_module, target, args, kwargs, [*args, *held(module)])

    @staticmethod
    def _checked(call, target, args, kwargs, operands):
        places = {_at(x) for x in leaves((operands, kwargs)) if isinstance(x, torch.device) or isinstance(
            x, torch.Tensor) and (x.dim() or device_of(x) != _CPU)}
        if len(places) > 1:
            names = sorted(name for name, device in available_devices().items() if device in places)
            raise RuntimeError(f'Expected all tensors to be on the same device, but found at least two devices, '
                               f'{" and ".join(names)}.')
        return map_leaves(lambda x: _mark(x, *places) if places and isinstance(x, torch.Tensor) else x,
                          call(target, args, kwargs))
