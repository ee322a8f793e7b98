"""Colour photographs: 50,000 images of 32x32 pixels, and 10,000 for tests, in 10 classes."""
from ..utils.data_utils import get_file
from .cifar import load_files


def load_data():
    """x: uint8 (samples, 32, 32, 3), or (samples, 3, 32, 32), as `image_data_format` says. y: (samples, 1)."""
    folder = get_file('cifar-10-batches-py', origin='https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
                      untar=True)
    x, y = load_files(folder, [f'data_batch_{i}' for i in range(1, 6)])
    return (x, y.astype('uint8')), load_files(folder, ['test_batch'])
