"""Writes what Keras 2.2.4 loads from the small files, to reference.json: `PYTHON make.py`, beside this file."""
import functools
import json
import os
import tarfile
import tempfile

import datasets_cases as cases
import numpy as np
from keras import datasets

with tempfile.TemporaryDirectory() as folder:
    paths = cases.write_files(folder)
    for archive in ('cifar-10-python.tar.gz', 'cifar-100-python.tar.gz'):
        tarfile.open(paths[archive]).extractall(folder)

    def get_file(fname, origin, **kwargs):
        return os.path.join(folder, fname)

    np.load = functools.partial(np.load, allow_pickle=True)  # which was the default in numpy's time of 2.2.4
    for name in cases.CASES:
        getattr(datasets, name).get_file = get_file
    values = cases.run(datasets)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference.json'), 'w') as f:
    json.dump(values, f)
