"""Colour photographs: 50,000 images of 32x32 pixels, and 10,000 for tests, in 100 classes of 20 kinds."""
from ..utils.data_utils import get_file
from .cifar import load_files


def load_data(label_mode='fine'):
    """As `cifar10.load_data`. `label_mode`: 'fine' for the 100 classes, 'coarse' for the 20 kinds."""
    if label_mode not in ('fine', 'coarse'):
        raise ValueError('`label_mode` must be one of `"fine"`, `"coarse"`.')
    folder = get_file('cifar-100-python', origin='https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz', untar=True)
    return tuple(load_files(folder, [name], f'{label_mode}_labels') for name in ('train', 'test'))
