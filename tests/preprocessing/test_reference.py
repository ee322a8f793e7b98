"""The numbers of the real Keras: `reference` holds what it gave for each of the cases."""
import json
import pathlib
import warnings

import numpy as np
import pytest

from kfacade import preprocessing

pytest.importorskip('PIL')
cases = pytest.importorskip('preprocessing_cases')

REFERENCE = pathlib.Path(__file__).parent / 'reference'


@pytest.mark.parametrize('group', cases.GROUPS)
def test_values_are_those_of_keras(group, tmp_path):
    with np.load(REFERENCE / f'{group}.npz') as arrays, warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Found 2 invalid image filename')
        values = cases.run(group, preprocessing, cases.write_images(str(tmp_path)))
        exact = json.loads(str(arrays['.json']))
        assert [name for name in values if not isinstance(values[name], np.ndarray)] == list(exact)
        assert {name for name, value in values.items() if isinstance(value, np.ndarray)} == {*arrays} - {'.json'}
        for name, value in values.items():
            if name in exact:
                assert json.loads(json.dumps(value)) == exact[name], name
            else:
                assert (value.dtype, value.shape) == (arrays[name].dtype, arrays[name].shape), name
                np.testing.assert_allclose(value, arrays[name], atol=1e-5 * max(np.ptp(arrays[name]), 1), err_msg=name)
