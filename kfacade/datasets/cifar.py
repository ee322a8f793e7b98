"""What CIFAR10 and CIFAR100 have in common."""
import os
import pickle

import numpy as np

from .. import backend as K

_NEEDED = {('numpy', '_reconstruct'), ('numpy', 'ndarray'), ('numpy', 'dtype'), ('numpy', '_frombuffer'),
           ('_codecs', 'encode')}


class _ArraysOnly(pickle.Unpickler):
    """Reads containers, texts, numbers and arrays, and runs no code from the file."""

    def find_class(self, module, name):
        if (module.partition('.')[0], name) not in _NEEDED:
            raise pickle.UnpicklingError(f'The file asks for {module}.{name}, which no CIFAR file does.')
        return super().find_class(module, name)


def load_batch(fpath, label_key='labels'):
    """(images, labels) of one file: uint8 (samples, 3, 32, 32), and a list of integers."""
    with open(fpath, 'rb') as f:
        batch = {key.decode() if isinstance(key, bytes) else key: value
                 for key, value in _ArraysOnly(f, encoding='bytes').load().items()}
    return batch['data'].reshape(-1, 3, 32, 32), batch[label_key]


def load_files(folder, names, label_key='labels'):
    """Images of all the files, as `image_data_format` says, and labels (samples, 1)."""
    images, labels = zip(*(load_batch(os.path.join(folder, name), label_key) for name in names))
    images, labels = np.concatenate(images), np.concatenate(labels)[:, None]
    return (images.transpose(0, 2, 3, 1) if K.image_data_format() == 'channels_last' else images), labels
