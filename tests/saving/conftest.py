"""What the tests of files share."""
import pytest


@pytest.fixture
def path(tmp_path):
    """The path of an HDF5 file that is not there yet."""
    return tmp_path / 'm.h5'
