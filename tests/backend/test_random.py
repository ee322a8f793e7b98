"""Random tensors: their distributions, their streams, and what numpy's seed does to them."""
import copy
import math
import pickle

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.backend import state
from kfacade.backend.random import SeedStream, keep_mask

SHAPE = (400, 500)
OPS = {'uniform': K.random_uniform, 'normal': K.random_normal, 'truncated': K.truncated_normal,
       'binomial': K.random_binomial}


def drawn(make, eager):
    """A sample as an array, by a live call or through a symbol."""
    if not eager:
        return K.eval(make())
    with state.running():
        return make().numpy()


@pytest.mark.parametrize('eager', [True, False])
@pytest.mark.parametrize('make, mean, std, low, high', [
    (lambda: K.random_uniform(SHAPE), .5, math.sqrt(1 / 12), 0, 1),
    (lambda: K.random_uniform(SHAPE, -3., 5.), 1, 8 * math.sqrt(1 / 12), -3, 5),
    (lambda: K.random_normal(SHAPE), 0, 1, -7, 7),
    (lambda: K.random_normal(SHAPE, 2., .5), 2, .5, -1.5, 5.5),
    (lambda: K.truncated_normal(SHAPE), 0, .8796, -2, 2),
    (lambda: K.truncated_normal(SHAPE, 1., 3.), 1, 3 * .8796, -5, 7),
    (lambda: K.random_binomial(SHAPE, .3), .3, math.sqrt(.21), 0, 1)])
def test_distributions(make, mean, std, low, high, eager):
    sample = drawn(make, eager)
    assert sample.shape == SHAPE and sample.dtype == np.float32
    assert abs(sample.mean() - mean) < .01 * std + .002 and abs(sample.std() / std - 1) < .01
    assert low <= sample.min() < low + std * 3 and high - std * 3 < sample.max() <= high


def test_truncated_normal_is_the_normal_distribution_between_its_cuts():
    sample = drawn(lambda: K.truncated_normal(SHAPE), eager=True)
    within = [math.erf(k / math.sqrt(2)) / math.erf(math.sqrt(2)) for k in (.5, 1, 1.5)]
    np.testing.assert_allclose([(abs(sample) < k).mean() for k in (.5, 1, 1.5)], within, atol=.005)


@pytest.mark.parametrize('dtype', ['float16', 'float64', 'int32'])
def test_data_types(dtype):
    sample = drawn(lambda: K.random_uniform(SHAPE, 0, 5, dtype=dtype), eager=False)
    assert sample.dtype == dtype
    if dtype == 'int32':
        assert set(np.unique(sample)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize('op', OPS.values(), ids=OPS)
class TestStreams:
    def test_a_recorded_op_draws_anew_at_each_run(self, op):
        f = K.function([], [op((50,), .5)])
        assert (f([])[0] != f([])[0]).any()

    def test_a_numpy_seed_makes_all_runs_repeat(self, op):
        def runs():
            np.random.seed(11)
            f = K.function([], [op((50,), .5), op((50,), .5)])
            return f([]) + f([])
        first = runs()
        assert (first[0] != first[1]).any()
        np.testing.assert_array_equal(runs(), first)

    def test_a_given_seed_decides_alone_and_leaves_numpys_generator(self, op):
        before = np.random.get_state()[2]
        f, g = (K.function([], [op((50,), .5, seed=3)]) for _ in range(2))
        for _ in range(2):
            np.testing.assert_array_equal(f([])[0], g([])[0])
        assert np.random.get_state()[2] == before

    def test_live_calls_draw_numpy_seeds(self, op):
        def calls():
            np.random.seed(11)
            return [drawn(lambda: op((50,), .5), eager=True) for _ in range(2)]
        first = calls()
        assert (first[0] != first[1]).any()
        np.testing.assert_array_equal(calls(), first)

    def test_a_shape_of_the_run(self, op):
        x = K.placeholder((None, 3))
        sample = op((K.shape(x)[0], 2), .5)
        assert K.int_shape(sample) == (None, 2)
        assert K.function([x], [sample])([np.zeros((6, 3))])[0].shape == (6, 2)
        assert K.function([x], [op(K.shape(x), .5)])([np.zeros((6, 3))])[0].shape == (6, 3)


@pytest.mark.parametrize('make', [K.random_uniform_variable, K.random_normal_variable])
def test_random_variables_hold_one_sample(make):
    np.random.seed(4)
    v = make((300, 200), -1., 2., name='sample')
    assert v.name.startswith('sample') and K.int_shape(v) == (300, 200)
    np.testing.assert_array_equal(K.get_value(v), K.get_value(v))
    mean, std = (.5, 3 / math.sqrt(12)) if make is K.random_uniform_variable else (-1., 2.)
    assert abs(K.get_value(v).mean() - mean) < .03 and abs(K.get_value(v).std() - std) < .03
    np.random.seed(4)
    np.testing.assert_array_equal(K.get_value(make((300, 200), -1., 2.)), K.get_value(v))
    np.testing.assert_array_equal(K.get_value(make((3,), 0., 1., seed=1)), K.get_value(make((3,), 0., 1., seed=1)))


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
def test_copies_of_a_stream_go_on_where_it_stands(copied):
    stream = SeedStream(8)
    first = torch.rand(5, generator=stream.generator())
    twin = copied(stream)
    second = torch.rand(5, generator=stream.generator())
    assert not torch.equal(first, second)
    assert torch.equal(second, torch.rand(5, generator=twin.generator()))
    assert torch.equal(first, torch.rand(5, generator=SeedStream(8).generator()))


def test_a_copy_where_a_device_of_the_original_is_not(monkeypatch):
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: False)
    stream, copied = SeedStream(8), SeedStream(1)
    torch.rand(5, generator=stream.generator())
    seed, states = stream.__getstate__()
    copied.__setstate__((seed, {**states, 'cuda:3': states['cpu']}))
    assert torch.equal(torch.rand(5, generator=copied.generator()), torch.rand(5, generator=stream.generator()))



@pytest.mark.parametrize('keep', [.1, .5, .999, 1.])
@pytest.mark.parametrize('shape', [(301, 999), (7,), ()])
def test_keep_mask(keep, shape):
    mask = keep_mask(shape, keep, SeedStream(1), torch.zeros(1, dtype=torch.float64))
    assert mask.shape == shape and mask.dtype == torch.float64
    assert ((mask == 0) | (mask == 1 / keep)).all()
    if len(shape) == 2:
        assert abs(mask.mean() - 1) < .01 / keep
