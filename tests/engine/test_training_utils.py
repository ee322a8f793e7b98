"""Preparation of data and weights. Messages and numbers are those of Keras 2.2.4."""
import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import losses
from kfacade.engine import training_utils as utils
from kfacade.engine.training_utils import standardize_input_data, standardize_weights

ones = np.ones
TOO_MANY = ('Error when checking model {}: the list of Numpy arrays that you are passing to your model is not the size '
            'the model expected. Expected to see {} array(s), but instead got the following list of {} arrays: {}...')
NOT_INTEGER = (
    'You are passing a target array of shape (4, 1) while using as loss `categorical_crossentropy`. '
    '`categorical_crossentropy` expects targets to be binary matrices (1s and 0s) of shape (samples, classes). If your '
    'targets are integer classes, you can convert them to the expected format via:\n```\nfrom keras.utils import '
    'to_categorical\ny_binary = to_categorical(y_int)\n```\n\nAlternatively, you can use the loss function '
    '`sparse_categorical_crossentropy` instead, which does expect integer targets.')
NOT_SAME_SHAPE = ('A target array with shape (4, 2) was passed for an output of shape (None, 3) while using as loss '
                  '`{}`. This loss expects targets to have the same shape as the output.')
ERRORS = [
    (lambda: standardize_input_data([ones(2)], [], exception_prefix='input'),
     'Error when checking model input: expected no data, but got: [array([1., 1.])]'),
    (lambda: standardize_input_data({'a': ones((2, 3))}, ['a', 'b']),
     'No data provided for "b". Need data for each key in: [\'a\', \'b\']'),
    (lambda: standardize_input_data([ones((1, 3)), ones((1, 2))], ['a'], [(None, 3)], exception_prefix='input'),
     TOO_MANY.format('input', 1, 2, '[array([[1., 1., 1.]]), array([[1., 1.]])]')),
    (lambda: standardize_input_data([ones((1, 3))], ['a', 'b'], exception_prefix='target'),
     TOO_MANY.format('target', 2, 1, '[array([[1., 1., 1.]])]')),
    (lambda: standardize_input_data([1., 2.], ['a', 'b', 'c'], exception_prefix='input'),
     'Error when checking model input: you are passing a list as input to your model, but the model expects a list of '
     '3 Numpy arrays instead. The list you passed was: [1.0, 2.0]'),
    (lambda: standardize_input_data('text', ['a'], exception_prefix='input'),
     'Error when checking model input: data should be a Numpy array, or list/dict of Numpy arrays. Found: '
     "['text']..."),
    (lambda: standardize_input_data(ones((2, 3, 1)), ['a'], [(None, 3)], exception_prefix='input'),
     'Error when checking input: expected a to have 2 dimensions, but got array with shape (2, 3, 1)'),
    (lambda: standardize_input_data(ones((2, 4)), ['a'], [(None, 3)], False, 'target'),
     'Error when checking target: expected a to have shape (3,) but got array with shape (4,)'),
    (lambda: standardize_input_data(ones((2, 3)), ['a'], [(5, 3)], exception_prefix='input'),
     'Error when checking input: expected a to have shape (5, 3) but got array with shape (2, 3)'),
    (lambda: standardize_input_data(torch.ones(2, 4), ['a'], [(None, 3)], exception_prefix='input'),
     'Error when checking input: expected a to have shape (None, 3) but got array with shape (2, 4)'),
    (lambda: standardize_input_data([None], ['a'], [(None, 3)], exception_prefix='input'),
     'Error when checking input: expected a to have shape (None, 3) but got None'),
    (lambda: utils.standardize_single_array(K.placeholder((None, 3))),
     'When feeding symbolic tensors to a model, we expect the tensors to have a static batch size. '
     'Got tensor with shape: (None, 3)'),
    (lambda: utils.check_array_length_consistency([ones((2, 3)), ones((3, 3))], [ones((2, 1))]),
     'All input arrays (x) should have the same number of samples. Got array shapes: [(2, 3), (3, 3)]'),
    (lambda: utils.check_array_length_consistency([ones((2, 3))], [ones((2, 1)), ones((3, 1))]),
     'All target arrays (y) should have the same number of samples. Got array shapes: [(2, 1), (3, 1)]'),
    (lambda: utils.check_array_length_consistency([ones((2, 3))], [ones((3, 1))]),
     'Input arrays should have the same number of samples as target arrays. Found 2 input samples and 3 target '
     'samples.'),
    (lambda: utils.check_array_length_consistency([ones((2, 3))], [ones((2, 1))], [ones(2), ones(3)]),
     'All sample_weight arrays should have the same number of samples. Got array shapes: [(2,), (3,)]'),
    (lambda: utils.check_array_length_consistency([ones((2, 3))], [ones((2, 1))], [ones(3)]),
     'Sample_weight arrays should have the same number of samples as target arrays. Got 2 input samples and 3 target '
     'samples.'),
    (lambda: utils.check_loss_and_target_compatibility([ones((4, 1))], [losses.categorical_crossentropy], [(None, 3)]),
     NOT_INTEGER),
    (lambda: utils.check_loss_and_target_compatibility([ones((4, 2))], [losses.mean_squared_error], [(None, 3)]),
     NOT_SAME_SHAPE.format('mean_squared_error')),
    (lambda: utils.check_loss_and_target_compatibility([ones((4, 2))], [losses.binary_crossentropy], [(None, 3)]),
     NOT_SAME_SHAPE.format('binary_crossentropy')),
    (lambda: utils.check_num_samples([ones((4, 2))], batch_size=2, steps=3, steps_name='steps_per_epoch'),
     'If steps_per_epoch is set, the `batch_size` must be None.'),
    (lambda: utils.check_num_samples([], steps_name='validation_steps'),
     'If your data is in the form of symbolic tensors, you should specify the `validation_steps` argument (instead of '
     'the `batch_size` argument, because symbolic tensors are expected to produce batches of input data).'),
    (lambda: utils.standardize_class_weights([ones(2)], ['a', 'b']),
     'Provided `class_weight` was a list of 1 elements, but the model has 2 outputs. You should provide one '
     '`class_weight`array per model output.'),
    (lambda: utils.standardize_sample_weights(ones(2), ['a', 'b']),
     'The model has multiple outputs, so `sample_weight` should be either a list or a dict. Provided `sample_weight` '
     'type not understood: [1. 1.]'),
    (lambda: standardize_weights(ones((2, 1)), sample_weight_mode='x'),
     '"sample_weight_mode should be None or "temporal". Found: x'),
    (lambda: standardize_weights(ones((2, 1)), sample_weight_mode='temporal'),
     'Found a sample_weight array for an input with shape (2, 1). Timestep-wise sample weighting (use of '
     'sample_weight_mode="temporal") is restricted to outputs that are at least 3D, i.e. that have a time dimension.'),
    (lambda: standardize_weights(ones((2, 3, 1)), ones(2), sample_weight_mode='temporal'),
     'Found a sample_weight array with shape (2,). In order to use timestep-wise sample weighting, you should pass a '
     '2D sample_weight array.'),
    (lambda: standardize_weights(ones((2, 3)), ones((2, 3))),
     'Found a sample_weight array with shape (2, 3). In order to use timestep-wise sample weights, you should specify '
     'sample_weight_mode="temporal" in compile(). If you just mean to use sample-wise weights, make sure your '
     'sample_weight array is 1D.'),
    (lambda: standardize_weights(ones((2, 3)), ones(3)),
     'Found a sample_weight array with shape (3,) for an input with shape (2, 3). sample_weight cannot be broadcast.'),
    (lambda: standardize_weights(ones((2, 3, 1)), ones((2, 4)), sample_weight_mode='temporal'),
     'Found a sample_weight array with shape (2, 4) for an input with shape (2, 3, 1). sample_weight cannot be '
     'broadcast.'),
    (lambda: standardize_weights(ones((2, 3, 1)), class_weight={1: 2.}),
     '`class_weight` not supported for 3+ dimensional targets.'),
    (lambda: standardize_weights(np.array([[0], [1], [2], [3]]), class_weight={0: 1., 1: 2.}),
     '`class_weight` must contain all classes in the data. The classes {2, 3} exist in the data but not in '
     '`class_weight`.'),
    (lambda: utils.collect_metrics(('a',), ['o']),
     "Type of `metrics` argument not understood. Expected a list or dictionary, found: ('a',)"),
]


@pytest.mark.parametrize('call, message', ERRORS, ids=range(len(ERRORS)))
def test_messages(call, message):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value) == message


class DataFrame:
    """What matters of a pandas frame."""

    values = np.arange(6.).reshape(2, 3)


@pytest.mark.parametrize('data, names, expected', [
    (np.arange(3.), ['a'], [[[0.], [1.], [2.]]]),
    ([1, 2.5], ['a'], [[[1.], [2.5]]]),
    ([[1, 2], [3, 4]], ['a', 'b'], [[[1], [2]], [[3], [4]]]),
    ({'b': ones((1, 1)), 'a': np.zeros((1, 2)), 'c': 0}, ['a', 'b'], [[[0., 0.]], [[1.]]]),
    (DataFrame(), ['a'], [DataFrame.values.tolist()]),
    ({'a': DataFrame()}, ['a'], [DataFrame.values.tolist()]),
    (torch.tensor([1., 2.]), ['a'], [[[1.], [2.]]]),
])
def test_input_data(data, names, expected):
    assert [x.tolist() for x in standardize_input_data(data, names)] == expected


def test_input_data_that_is_missing_or_symbolic():
    assert standardize_input_data(None, ['a', 'b']) == [None, None]
    assert standardize_input_data([], []) == standardize_input_data(None, []) == []
    symbol = K.placeholder((4, 3))
    assert standardize_input_data([symbol], ['a'], [(None, 7)]) == [symbol]


def test_data_is_not_copied():
    x = ones((5, 2))
    assert standardize_input_data([x], ['a'], [(None, 2)])[0] is x


@pytest.mark.parametrize('y, class_weight, expected', [
    (np.array([[0], [2], [1], [2]]), {0: 1., 1: 2., 2: .5}, [1., .5, 2., .5]),
    (np.eye(3)[[0, 2, 1]], {0: 1., 1: 2., 2: .5}, [1., .5, 2.]),
    (np.array([[0.], [1.]], 'float32'), {0: 1, 1: 7}, [1., 7.]),
    (torch.tensor([[1], [0]]), {0: 3., 1: 4.}, [4., 3.]),
    (np.array([[0], [1]]), [1, 2], [1., 1.]),
])
def test_class_weight(y, class_weight, expected):
    weights = standardize_weights(y, class_weight=class_weight)
    assert weights.tolist() == expected
    assert weights.dtype == 'float32'


def test_sample_weight():
    with pytest.warns(UserWarning, match='^Found both `sample_weight` and `class_weight`: `class_weight` argument '
                                         'will be ignored.$'):
        assert standardize_weights(ones((2, 1)), np.array([3., 4.]), {1: 9.}).tolist() == [3., 4.]
    assert standardize_weights(ones((2, 1)), [3., 4.]).tolist() == [3., 4.]


def test_unit_weights():
    plain, temporal = standardize_weights(ones((2, 3))), standardize_weights(ones((2, 3, 1)), None, None, 'temporal')
    assert plain.tolist() == [1., 1.] and temporal.tolist() == [[1.] * 3] * 2
    for weights in (plain, temporal, plain[1:], standardize_weights(ones((1, 1)))):
        assert utils.are_unit_weights(weights)
    for weights in (ones(2), np.broadcast_to(2., 3), None, torch.ones(2), [1.]):
        assert not utils.are_unit_weights(weights)


@pytest.mark.parametrize('weights, names, expected', [
    (None, ['a', 'b'], [None, None]),
    ({}, ['a'], [None]),
    ({'b': 1}, ['a', 'b'], [None, 1]),
    ({'a': 1}, ['a'], [1]),
    ({0: 1., 1: 2.}, ['a'], [{0: 1., 1: 2.}]),
    ([5], ['a'], [5]),
    ([5, 6], ['a', 'b'], [5, 6]),
])
def test_weights_per_output(weights, names, expected):
    assert utils.standardize_class_weights(weights, names) == expected


def test_lengths_of_absent_arrays():
    utils.check_array_length_consistency([ones((2, 3))], [ones((2, 1))], [ones(2)])
    utils.check_array_length_consistency([ones((2, 3))], [], [])
    with pytest.raises(ValueError, match='Found 2 input samples and 0 target samples'):
        utils.check_array_length_consistency([ones((2, 3))], [None])


def test_custom_losses_take_any_target():
    utils.check_loss_and_target_compatibility(
        [ones((4, 1)), None, ones((2, 3))], [lambda y, p: p, losses.mean_squared_error, losses.mean_squared_error],
        [(None, 3), (None, 3), (None, None)])


def test_num_samples():
    assert utils.check_num_samples([ones((4, 2))], batch_size=2) == 4
    assert utils.check_num_samples([K.placeholder((3, 2))], steps=2) is None
    assert utils.check_num_samples([1.]) is None


def test_collect_metrics():
    given = ['acc']
    assert utils.collect_metrics(None, ['a', 'b']) == [[], []]
    assert utils.collect_metrics(given, ['a', 'b']) == [['acc'], ['acc']]
    assert utils.collect_metrics(given, ['a'])[0] is not given
    assert utils.collect_metrics({'a': 'acc', 'c': ['x', 'y']}, ['a', 'b', 'c']) == [['acc'], [], ['x', 'y']]


def test_batches():
    assert utils.make_batches(7, 3) == [(0, 3), (3, 6), (6, 7)]
    assert utils.make_batches(6, 3) == [(0, 3), (3, 6)]
    np.random.seed(3)
    assert utils.batch_shuffle(np.arange(11), 3).tolist() == [3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10]
    assert utils.batch_shuffle(np.arange(2), 3).tolist() == [0, 1]
    batches = utils.iter_sequence_infinite([1, 2])
    assert [next(batches) for _ in range(5)] == [1, 2, 1, 2, 1]


Y, P = np.arange(24).reshape(2, 3, 4) / 10, np.arange(24)[::-1].reshape(2, 3, 4) / 7
MASK = np.array([[True, True, False], [True, False, False]])
WEIGHTS = np.array([2., 0.])
TEMPORAL = np.array([[1, 0, 3.], [0, 0, .5]])


def evaluate(objective, *arrays):
    symbols = [None if a is None else K.placeholder((None, *a.shape[1:]), dtype='bool' if a.dtype == bool else None)
               for a in arrays]
    given = [(s, a) for s, a in zip(symbols, arrays) if s is not None]
    return K.function([s for s, _ in given], [objective(*symbols)])([a for _, a in given])[0]


@pytest.mark.parametrize('weights, mask, expected', [
    (None, None, 3.0690135955810547),
    (None, MASK, 4.186156749725342),
    (WEIGHTS, None, 9.010680198669434),
    (WEIGHTS, MASK, 16.646259307861328),
    (TEMPORAL, None, 4.537602424621582),
    (TEMPORAL, MASK, 5.738979816436768),
])
def test_weighted_masked_objective(weights, mask, expected):
    objective = utils.weighted_masked_objective(losses.mean_squared_error)
    assert evaluate(objective, Y, P, weights, mask) == pytest.approx(expected, rel=1e-6)


def test_objective_of_a_scalar_loss():
    objective = utils.weighted_masked_objective(lambda y, p: K.mean(K.abs(y - p)))
    assert evaluate(objective, Y, P, WEIGHTS) == pytest.approx(2.9976189136505127, rel=1e-6)


@pytest.mark.parametrize('mask', [None, MASK])
def test_no_weights_are_unit_weights(mask):
    objective = utils.weighted_masked_objective(losses.mean_squared_error)
    assert evaluate(objective, Y, P, None, mask) == pytest.approx(evaluate(objective, Y, P, ones(2), mask), rel=1e-6)


def test_no_objective_of_no_loss():
    assert utils.weighted_masked_objective(None) is None
