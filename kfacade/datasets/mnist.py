"""Handwritten digits: 60,000 images of 28x28 bytes, and 10,000 for tests, in 10 classes."""
import numpy as np

from ..utils.data_utils import get_file


def load_data(path='mnist.npz'):
    """x: uint8 (samples, 28, 28). y: uint8 (samples,). `path`: name of the file in the cache."""
    path = get_file(path, origin='https://s3.amazonaws.com/img-datasets/mnist.npz',
                    file_hash='8a61469f7ea1b51cbae51d4f78837e45')
    with np.load(path) as f:
        return (f['x_train'], f['y_train']), (f['x_test'], f['y_test'])
