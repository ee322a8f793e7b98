"""Prices of 506 houses around Boston, and 13 numbers on each."""
import numpy as np

from ..utils.data_utils import get_file
from ._common import shuffled, split


def load_data(path='boston_housing.npz', test_split=0.2, seed=113):
    """x: float64 (samples, 13). y: float64 (samples,), in 1,000 dollars.

    `test_split`: share of the samples for tests, after shuffling with numpy's seed `seed`. `path`: as for mnist.
    """
    if not 0 <= test_split < 1:
        raise ValueError(f'`test_split` must be at least 0 and below 1. Received: {test_split}')
    path = get_file(path, origin='https://s3.amazonaws.com/keras-datasets/boston_housing.npz',
                    file_hash='f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5')
    with np.load(path) as f:
        x, y = f['x'], f['y']
    np.random.seed(seed)
    return split(*shuffled(x, y), int(len(x) * (1 - test_split)))
