"""Writes what Keras 2.2.4 with keras_preprocessing 1.1.0 gives for the cases: `PYTHON make.py`, beside this file."""
import json
import os
import tempfile

import numpy as np
import preprocessing_cases as cases
from keras import preprocessing

folder = os.path.dirname(os.path.abspath(__file__))
for group in cases.GROUPS:
    with tempfile.TemporaryDirectory() as images:
        values = cases.run(group, preprocessing, cases.write_images(images))
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    exact = {name: value for name, value in values.items() if name not in arrays}
    np.savez_compressed(os.path.join(folder, 'reference', group + '.npz'), **arrays, **{'.json': json.dumps(exact)})
