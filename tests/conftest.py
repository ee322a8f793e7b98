"""What holds for every test."""
import os

import pytest
import torch

from kfacade import backend as K
from kfacade.backend import devices

if torch.cuda.is_available():
    os.environ.setdefault('KERAS_DEVICE', 'cpu')  # tests with the marker gpu choose another

torch.set_num_threads(1)  # the tensors of tests are small: more threads only wait for each other


def pytest_runtest_setup(item):
    if item.get_closest_marker('gpu') and not torch.cuda.is_available():
        pytest.skip('needs a CUDA device')


@pytest.fixture(autouse=True)
def fresh_session():
    """Names counted from 1 and no fixed learning phase, whatever ran before."""
    K.clear_session()


@pytest.fixture(autouse=True)
def devices_as_they_are(monkeypatch):
    """No device, and no setting of TensorFlow for them, that an earlier test chose."""
    for name, value in (('_chosen', None), ('soft_placement', False), ('visible', None)):
        monkeypatch.setattr(devices, name, value)
