"""Initializers: exact values where Keras has them, else moments, bounds, seeds and fans."""
import math
import pickle

import numpy as np
import pytest

import kfacade.backend as K
from kfacade import initializers
from kfacade.backend import state

SHAPE = (100, 200)


def values(initializer, shape=SHAPE):
    """What a weight of `shape` would start from."""
    with state.running():
        return K.eval(initializer(shape)) if not isinstance(initializer(shape), np.ndarray) else initializer(shape)


@pytest.mark.parametrize('initializer, mean, stddev, bound', [
    (initializers.RandomNormal(1., 0.5, seed=1), 1., 0.5, None),
    (initializers.RandomUniform(-1., 3., seed=1), 1., 4 / math.sqrt(12), 2.),
    (initializers.TruncatedNormal(1., 0.5, seed=1), 1., 0.5 * 0.8796256, 1.),
    (initializers.lecun_uniform(1), 0., math.sqrt(1 / 100), math.sqrt(3 / 100)),
    (initializers.glorot_uniform(1), 0., math.sqrt(2 / 300), math.sqrt(6 / 300)),
    (initializers.he_uniform(1), 0., math.sqrt(2 / 100), math.sqrt(6 / 100)),
    (initializers.lecun_normal(1), 0., math.sqrt(1 / 100), 2 * math.sqrt(1 / 100) / 0.8796256),
    (initializers.glorot_normal(1), 0., math.sqrt(2 / 300), 2 * math.sqrt(2 / 300) / 0.8796256),
    (initializers.he_normal(1), 0., math.sqrt(2 / 100), 2 * math.sqrt(2 / 100) / 0.8796256),
    (initializers.VarianceScaling(3., 'fan_out', 'uniform', 1), 0., math.sqrt(3 / 200), math.sqrt(9 / 200)),
    (initializers.Orthogonal(gain=10., seed=1), 0., 10 / math.sqrt(200), None),
])
def test_moments_and_bounds(initializer, mean, stddev, bound):
    drawn = values(initializer)
    assert drawn.shape == SHAPE and drawn.dtype == 'float32'
    assert abs(drawn.mean() - mean) < 4 * stddev / math.sqrt(drawn.size)
    np.testing.assert_allclose(drawn.std(), stddev, rtol=0.02)
    if bound is not None:
        reach = np.abs(drawn - mean).max()
        assert 0.97 * bound < reach <= bound * (1 + 1e-5)
    np.testing.assert_array_equal(values(initializer), drawn)  # the seed decides
    initializer.seed = 2
    assert not np.allclose(values(initializer), drawn)


def test_unseeded_draws_follow_the_numpy_seed():
    initializer = initializers.glorot_uniform()
    np.random.seed(3)
    first, second = values(initializer), values(initializer)
    assert not np.allclose(first, second)
    np.random.seed(3)
    np.testing.assert_array_equal(values(initializer), first)


@pytest.mark.parametrize('initializer, shape, expected', [
    (initializers.Zeros(), (2, 1), [[0], [0]]),
    (initializers.Ones(), (1, 2), [[1, 1]]),
    (initializers.Constant(2.5), (2,), [2.5, 2.5]),
    (initializers.Constant([1, 2, 3]), (3,), [1, 2, 3]),
    (initializers.Identity(2.), (2, 4), [[2, 0, 2, 0], [0, 2, 0, 2]]),
    (initializers.Identity(), (4, 2), [[1, 0], [0, 1], [1, 0], [0, 1]]),
    (initializers.Orthogonal(seed=3), (3, 2), [[.669717, .725314], [-.710088, .688281], [-.21738, -.013734]]),
    (initializers.Orthogonal(2, seed=3), (2, 2, 3), [[[-1.322396, .292312, -.303329], [1.333864, -.669136, -.259224]],
                                                     [[.215204, .551482, -1.884841], [.652504, 1.778392, .536815]]]),
], ids=lambda x: type(x).__name__)
def test_values_of_keras(initializer, shape, expected):
    drawn = values(initializer, shape)
    assert drawn.dtype == 'float32'
    np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_orthogonal_leaves_the_numpy_generator_where_keras_leaves_it():
    initializers.Orthogonal(seed=3)((2, 2))
    np.testing.assert_allclose(np.random.rand(), 0.8929469543476547)


def test_dtype_is_respected():
    with state.running():
        for name in ('zeros', 'uniform', 'glorot_normal', 'orthogonal', 'identity'):
            assert K.dtype(K.variable(initializers.get(name)((2, 2), dtype='float64'), dtype='float64')) == 'float64'


@pytest.mark.parametrize('shape, fans', [
    ((5, 7), (5, 7)), ((3, 5, 7), (15, 21)), ((2, 3, 5, 7), (30, 42)), ((2, 2, 2, 5, 7), (40, 56)), ((9,), (3, 3)),
    ((), (1, 1))])
def test_fans(shape, fans):
    assert initializers._compute_fans(shape) == fans


def test_fans_of_channels_first_kernels():
    assert initializers._compute_fans((7, 5, 2, 3), 'channels_first') == (30, 42)
    with pytest.raises(ValueError, match='Invalid data_format: th'):
        initializers._compute_fans((7, 5, 2, 3), 'th')


@pytest.mark.parametrize('name, config', [
    ('zeros', {}), ('one', {}), ('constant', {'value': 0}),
    ('normal', {'mean': 0.0, 'stddev': 0.05, 'seed': None}),
    ('uniform', {'minval': -0.05, 'maxval': 0.05, 'seed': None}),
    ('truncated_normal', {'mean': 0.0, 'stddev': 0.05, 'seed': None}),
    ('orthogonal', {'gain': 1.0, 'seed': None}), ('identity', {'gain': 1.0}),
    ('VarianceScaling', {'scale': 1.0, 'mode': 'fan_in', 'distribution': 'normal', 'seed': None}),
    ('glorot_uniform', {'scale': 1.0, 'mode': 'fan_avg', 'distribution': 'uniform', 'seed': None}),
    ('he_normal', {'scale': 2.0, 'mode': 'fan_in', 'distribution': 'normal', 'seed': None}),
])
def test_config_round_trip(name, config):
    serialized = initializers.serialize(initializers.get(name))
    assert serialized['config'] == config and list(serialized['config']) == list(config)
    assert initializers.serialize(initializers.deserialize(serialized)) == serialized


def test_names_and_dtypes_of_tf_keras_files():
    for name, config in [('GlorotUniform', {'seed': 4, 'dtype': 'float32'}), ('HeNormal', {'seed': 4})]:
        assert initializers.deserialize({'class_name': name, 'config': config}).seed == 4
    zeros = {'class_name': 'Zeros', 'config': {'dtype': 'float32'}}
    assert isinstance(initializers.deserialize(zeros), initializers.Zeros)
    assert zeros['config'] == {'dtype': 'float32'}
    scaling = initializers.VarianceScaling(distribution='truncated_normal')
    assert scaling.get_config()['distribution'] == 'normal'


def test_functions_that_make_initializers_pickle():
    assert pickle.loads(pickle.dumps(initializers.he_normal)) is initializers.he_normal


def test_errors():
    for identifier, message in [('nope', 'Unknown initializer: nope'),
                                ('glorot_unform', "Did you mean 'glorot_uniform'"),
                                (None, 'Could not interpret initializer identifier: None'),
                                ({'class_name': 'np', 'config': {}}, 'Unknown initializer: np')]:
        with pytest.raises(ValueError, match=message):
            initializers.get(identifier)
    for arguments, message in [((0,), '`scale` must be a positive float. Got: 0'), ((1., 'fan'), 'Invalid `mode`'),
                               ((1., 'fan_in', 'cauchy'), 'Invalid `distribution`')]:
        with pytest.raises(ValueError, match=message):
            initializers.VarianceScaling(*arguments)
    with pytest.raises(ValueError, match='only be used for 2D'):
        initializers.Identity()((2, 2, 2))
    with pytest.raises(ValueError, match='multiple of short side'):
        initializers.Identity()((2, 3))
    with pytest.raises(NotImplementedError, match='Initializer has to define'):
        initializers.Initializer()((2,))
