"""`K.set_floatx('float64' | 'float16')` before a model is built: it trains in that type, with the numbers of Keras."""
import pathlib

import floatx_cases
import numpy as np
import pytest

import kfacade as keras
from kfacade import backend as K
from kfacade.layers import BatchNormalization, Conv2D, Dense, Flatten
from kfacade.models import Sequential

AVERAGED = 'w4', 'w5', 'predict', 'evaluate'
FOLDER = pathlib.Path(__file__).parent


@pytest.fixture
def floatx():
    def choose(name):
        K.set_floatx(name)
        K.set_epsilon(1e-4 if name == 'float16' else 1e-7)
    yield choose
    choose('float32')


@pytest.mark.parametrize('kind', ['float64', 'float16'])
@pytest.mark.parametrize('name', floatx_cases.nets(keras))
def test_numbers_and_types_are_those_of_keras(name, kind, floatx, tmp_path):
    floatx(kind)
    found = floatx_cases.results(keras, name, kind, str(tmp_path / 'model.h5'))
    with np.load(FOLDER / 'floatx.npz') as stored:
        expected = {key: stored[key] for key in stored.files if key.startswith(f'{name}/{kind}/')}
    assert found.keys() == expected.keys() and expected
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        # float64: TensorFlow keeps the momentum of BatchNormalization in 32 bits. float16: some units in the last
        # place; but its correction of averages that start from zero, 1 - 0.99 ** t, is 2.5 % off there
        averaged = f'{name}/{kind}' == 'normalized/float16' and key.rpartition('/')[2] in AVERAGED
        atol = .04 if averaged else 1e-9 if kind == 'float64' else 4e-3
        np.testing.assert_allclose(found[key], value, rtol=1e-9 if kind == 'float64' else 2e-3, atol=atol, err_msg=key)


@pytest.mark.parametrize('kind', ['float64', 'float16'])
def test_normalized_images_which_keras_refused(kind, floatx):
    floatx(kind)
    data = np.random.RandomState(0)
    model = Sequential([Conv2D(3, 3, input_shape=(6, 6, 2)), BatchNormalization(), Flatten(), Dense(1)])
    model.compile('adam', 'mse')
    losses = model.fit(data.rand(16, 6, 6, 2), data.rand(16), epochs=15, verbose=0).history['loss']
    assert losses[-1] < losses[0] and model.predict(data.rand(2, 6, 6, 2)).dtype == kind
    assert {w.dtype for w in model.get_weights()} == {np.dtype(kind)}


def test_mixed_precision_is_for_float32(floatx):
    floatx('float64')
    with pytest.raises(ValueError, match='floatx of float32. It is float64'):
        Sequential([Dense(1, input_shape=(2,))]).compile('adam', 'mse', mixed_precision='bfloat16')
