"""Pictures of clothes: 60,000 images of 28x28 bytes, and 10,000 for tests, in 10 classes."""
import gzip
import os

import numpy as np

from ..utils.data_utils import get_file


def load_data():
    """x: uint8 (samples, 28, 28). y: uint8 (samples,)."""
    def read(name, offset):
        path = get_file(name, origin=f'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}',
                        cache_subdir=os.path.join('datasets', 'fashion-mnist'))
        with gzip.open(path) as f:
            return np.frombuffer(f.read(), np.uint8, offset=offset)

    def part(name):
        labels = read(f'{name}-labels-idx1-ubyte.gz', 8)
        return read(f'{name}-images-idx3-ubyte.gz', 16).reshape(len(labels), 28, 28), labels
    return part('train'), part('t10k')
