"""Noise in training, none in test."""
import numpy as np
import pytest
from layers_harness import check_layer, data, train_phase

from kfacade.layers import AlphaDropout, GaussianDropout, GaussianNoise


@pytest.mark.parametrize('layer', [GaussianNoise(.5), GaussianDropout(.3), AlphaDropout(.3)])
def test_test_phase_is_quiet(layer):
    check_layer(layer, data(4, 5), data(4, 5))


def test_gaussian_noise_is_added():
    x = data(300, 400)
    noise = train_phase(GaussianNoise(.5), x) - x
    assert abs(noise.mean()) < .01 and abs(noise.std() - .5) < .01
    assert abs((noise ** 4).mean() / .5 ** 4 - 3) < .1  # a normal distribution's kurtosis


def test_gaussian_dropout_multiplies():
    noise = train_phase(GaussianDropout(.3), np.full((300, 400), 2, 'f')) / 2
    assert abs(noise.mean() - 1) < .01 and abs(noise.std() - (.3 / .7) ** .5) < .01


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.RandomState(0).normal(size=(500, 600)).astype('f')
    y = train_phase(AlphaDropout(.2, seed=1), x)
    assert abs(y.mean()) < .01 and abs(y.std() - 1) < .02
    values, counts = np.unique(y, return_counts=True)
    floor = 1.6732632423543772 * -1.0507009873554805
    scale = (.8 * (1 + .2 * floor ** 2)) ** -.5
    np.testing.assert_allclose(values[counts.argmax()], scale * floor * .8, rtol=1e-5)
    assert abs(counts.max() / y.size - .2) < .01
    kept = y != values[counts.argmax()]
    np.testing.assert_allclose(y[kept], scale * (x[kept] - floor * .2), rtol=1e-4, atol=1e-5)


def test_alpha_dropout_of_whole_rows():
    y = train_phase(AlphaDropout(.5, noise_shape=(50, 1)), np.ones((50, 20), 'f'))
    assert (y == y[:, :1]).all() and len(np.unique(y)) == 2
    assert AlphaDropout(.5, noise_shape=(50, 1), seed=2).get_config()['seed'] == 2


@pytest.mark.parametrize('layer', [GaussianDropout(0.), GaussianDropout(1.), AlphaDropout(0.), GaussianNoise(0.)])
def test_rates_that_do_nothing(layer):
    np.testing.assert_array_equal(train_phase(layer, data(4, 5)), data(4, 5))


def test_numpy_seeds_the_noise():
    results = []
    for _ in range(2):
        np.random.seed(3)
        results.append(train_phase(GaussianNoise(1.), data(4, 5)))
    np.testing.assert_array_equal(*results)
