"""The device that these tests run on: a CUDA device (marker `gpu`), or what stands for one where their logic is tested.

`python -m pytest -m gpu` runs all of them on the GPU. Without the option, and without a GPU, the same tests run on the
CPU, or on a virtual device, on which an operand that lies elsewhere is an error.
"""
import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import kfacade
from kfacade.backend import devices
from kfacade.callbacks.logs import Logs

CUDA = pytest.param('cuda', marks=pytest.mark.gpu)


@pytest.fixture(params=['virtual', CUDA])
def device(request, monkeypatch):
    """The `torch.device` that is the default one, where products are computed in whole float32 numbers."""
    monkeypatch.delenv('KERAS_DEVICE', raising=False)
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '1' if request.param == 'virtual' else '0')
    kfacade.set_device('/gpu:0')
    backends, before = (torch.backends.cudnn, torch.backends.cuda.matmul), []
    for backend in backends:
        before.append(backend.allow_tf32)
        backend.allow_tf32 = False
    yield devices.default_device()
    for backend, allowed in zip(backends, before):
        backend.allow_tf32 = allowed


class NothingRead(TorchDispatchMode):
    """Raises where a number of a tensor is read, or a shape depends on numbers: a GPU would be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().partition('::')[2].partition('.')[0]
        by_mask = name == 'index' and any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])
        if by_mask or name in ('_local_scalar_dense', 'equal', 'masked_select', 'nonzero') or name.startswith('unique'):
            raise RuntimeError(f'{name} waits')
        return func(*args, **kwargs or {})


@pytest.fixture
def without_waiting(device, monkeypatch):
    """A function that gives contexts in which it is an error to wait for the GPU.

    What shows that on the CPU is `NothingRead`; logs, which read what is there already, leave it as they do a GPU's.
    """
    if device.type != 'cuda':
        monkeypatch.setattr(Logs, 'raw', lambda self, key: dict.__getitem__(self, key))

    @contextlib.contextmanager
    def context():
        if device.type != 'cuda':
            with NothingRead():
                yield
            return
        torch.cuda.set_sync_debug_mode('error')
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return context
