"""The device that these tests run on: a CUDA device (marker `gpu`), or what stands for one where their logic is tested.

`python -m pytest -m gpu` runs all of them on the GPU. Without the option, and without a GPU, the same tests run on the
CPU, or on a virtual device, on which an operand that lies elsewhere is an error.
"""
import contextlib

import pytest
import torch

import kfacade
from kfacade.backend import devices

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


@pytest.fixture
def without_waiting(device):
    """A function that gives contexts in which it is an error to wait for the GPU (on the CPU, there is no waiting)."""
    @contextlib.contextmanager
    def context():
        if device.type == 'cuda':
            torch.cuda.set_sync_debug_mode('error')
        try:
            yield
        finally:
            if device.type == 'cuda':
                torch.cuda.set_sync_debug_mode('default')
    return context
