"""What holds for every test."""
import pytest
import torch

from kfacade import backend as K

torch.set_num_threads(1)  # the tensors of tests are small: more threads only wait for each other


def pytest_runtest_setup(item):
    if item.get_closest_marker('gpu') and not torch.cuda.is_available():
        pytest.skip('needs a CUDA device')


@pytest.fixture(autouse=True)
def fresh_session():
    """Names counted from 1 and no fixed learning phase, whatever ran before."""
    K.clear_session()
