"""Merging several tensors into one."""
import functools

import numpy as np
import pytest
import torch
from layers_harness import check_layer, data

from kfacade import backend as K
from kfacade import layers
from kfacade.layers import Add, Average, Concatenate, Dot, Input, Masking, Maximum, Minimum, Multiply, Subtract
from kfacade.layers.merge import _Merge
from kfacade.models import Model

OPERATIONS = [(Add, np.add), (Multiply, np.multiply), (Maximum, np.maximum), (Minimum, np.minimum)]


@pytest.mark.parametrize('layer,operation', OPERATIONS)
@pytest.mark.parametrize('shapes', [[(4, 3)] * 2, [(4, 3)] * 3, [(4, 5, 3), (4, 1, 3)], [(4, 3), (4, 5, 3), (4, 1, 1)]])
def test_elementwise_merges(layer, operation, shapes):
    xs = [data(*shape, seed=i) for i, shape in enumerate(shapes)]
    rank = max(map(len, shapes))
    full = [x.reshape(len(x), *(1,) * (rank - x.ndim), *x.shape[1:]) for x in xs]
    check_layer(layer(), xs, functools.reduce(operation, full))


def test_subtract_and_average():
    a, b, c = (data(4, 3, seed=i) for i in range(3))
    check_layer(Subtract(), [a, b], a - b)
    check_layer(Average(), [a, b, c], (a + b + c) / 3)


@pytest.mark.parametrize('axis', [-1, 1, 2])
def test_concatenate(axis):
    a, b = data(2, 3, 4), data(2, 3, 4, seed=1)
    check_layer(Concatenate(axis), [a, b, a], np.concatenate([a, b, a], axis))


@pytest.mark.parametrize('axes,shapes,subscripts', [
    (1, [(4, 3), (4, 3)], 'bi,bi->b'),
    (-1, [(4, 3), (4, 3)], 'bi,bi->b'),
    (1, [(4, 3, 5), (4, 3, 2)], 'bij,bik->bjk'),
    (2, [(4, 5, 3), (4, 2, 3)], 'bij,bkj->bik'),
    ((2, 1), [(4, 5, 3), (4, 3, 2)], 'bij,bjk->bik'),
    ((1, 2), [(4, 3, 5), (4, 2, 3)], 'bij,bki->bjk'),
    ((2, 1), [(4, 5, 3), (4, 3)], 'bij,bj->bi'),
])
def test_dot(axes, shapes, subscripts):
    a, b = (data(*shape, seed=i) for i, shape in enumerate(shapes))
    expected = np.einsum(subscripts, a, b)
    expected = expected[:, None] if expected.ndim == 1 else expected
    check_layer(Dot(axes), [a, b], expected)


def test_cosine():
    a, b = data(4, 3), data(4, 3, seed=1)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    check_layer(Dot(1, normalize=True), [a, b], cosine[:, None])


def test_functions_are_the_layers():
    a, b = Input((3,), name='a'), Input((3,), name='b')
    xs = [data(4, 3), data(4, 3, seed=1)]
    for name in ('add', 'subtract', 'multiply', 'average', 'maximum', 'minimum', 'concatenate'):
        y = getattr(layers, name)([a, b], name=name)
        layer = y._keras_history[0]
        assert layer.name == name and type(layer).__name__ == name.capitalize()
        assert Model([a, b], y).predict(xs).shape == (4, 6 if name == 'concatenate' else 3)
    assert layers.dot([a, b], 1, normalize=True)._keras_history[0].normalize


def test_unknown_and_batch_sizes():
    assert K.int_shape(layers.add([Input((None, 3)), Input((5, 3))])) == (None, None, 3)
    assert K.int_shape(layers.concatenate([Input((None, 3)), Input((None, 4))])) == (None, None, 7)
    assert K.int_shape(layers.concatenate([Input((None, 3)), Input((None, 3))], axis=1)) == (None, None, 3)
    assert Add().compute_output_shape([(8, 3), (None, 3)]) == (8, 3)


def test_subtract_looks_at_its_inputs_at_each_call():
    layer, x = Subtract(), Input((3,))
    layer([x, x])
    for inputs in ([x] * 3, [x], [torch.ones(2, 3)] * 3):
        with pytest.raises(ValueError, match='exactly 2 inputs. Layer subtract_1 got '):
            layer(inputs)


@pytest.mark.parametrize('layer,shapes,message', [
    (Add(), (3,), 'should be called on a list of inputs'),
    (Add(), [(3,)], 'should be called on a list of inputs'),
    (Add(), [(3,), (4,)], r'Operands could not be broadcast together with shapes \(3,\) \(4,\)'),
    (Subtract(), [(3,), (3,), (3,)], 'exactly 2 inputs'),
    (Concatenate(), (3,), 'at least 2 inputs'),
    (Concatenate(), [(3, 4), (5, 4)], 'requires inputs with matching shapes except for the concat axis. '
                                      r'Got inputs shapes: \[\(None, 3, 4\), \(None, 5, 4\)\]'),
    (Dot(1), [(3,), (4,)], r'Dimension incompatibility 3 != 4. Layer shapes: \(None, 3\), \(None, 4\)'),
    (Dot(1), [(3,), (3,), (3,)], 'list of 2 inputs'),
    (Dot((1, 2), name='d'), [(3,), (2, 3, 4)], 'Layer d cannot be applied to inputs of the shapes'),
])
def test_wrong_inputs(layer, shapes, message):
    with pytest.raises(ValueError, match=message):
        layer([Input(shape) for shape in shapes] if isinstance(shapes, list) else Input(shapes))


@pytest.mark.parametrize('axes,error', [('1', TypeError), ((1, 2, 3), ValueError), ((1, 'a'), ValueError)])
def test_wrong_axes(axes, error):
    with pytest.raises(error, match='Invalid (type|format) for `axes`'):
        Dot(axes)


def test_a_list_of_one_is_too_short():
    with pytest.raises(ValueError, match='on a list of at least 2 inputs. Got 1 inputs.'):
        Add().build([(None, 3)])


def test_batches_of_different_sizes_do_not_merge():
    with pytest.raises(ValueError, match='Can not merge tensors with different batch sizes'):
        layers.add([Input(batch_shape=(2, 3)), Input(batch_shape=(4, 3))])


# ---------------------------------------------------------------- masks

def masked_pair(shape=(4, 3)):
    """Two inputs, their masked symbols, data, and the two masks."""
    x = [data(2, *shape), data(2, *shape, seed=1)]
    x[0][0, 1], x[1][0, 2], x[1][1, 0] = 0, 0, 0
    inputs = [Input(shape), Input(shape)]
    return inputs, [Masking()(i) for i in inputs], x, [a.any(-1) for a in x]


def mask_of(inputs, output, x):
    return K.function(inputs, [output._keras_history[0].output_mask])(x)[0]


def test_masks_of_elementwise_merges_are_anded():
    inputs, masked, x, masks = masked_pair()
    np.testing.assert_array_equal(mask_of(inputs, layers.add(masked), x), masks[0] & masks[1])
    np.testing.assert_array_equal(mask_of(inputs, layers.average([masked[0], inputs[1]]), x), masks[0])
    assert layers.add(inputs)._keras_history[0].output_mask is None


def test_masks_of_concatenations():
    inputs, masked, x, masks = masked_pair()
    for axis, expected in ((-1, masks[0] & masks[1]), (1, np.concatenate(masks, 1))):
        np.testing.assert_array_equal(mask_of(inputs, layers.concatenate(masked, axis=axis), x), expected)
    np.testing.assert_array_equal(mask_of(inputs, layers.concatenate([inputs[0], masked[1]]), x), masks[1])
    np.testing.assert_array_equal(mask_of(inputs, layers.concatenate([masked[0], inputs[1]], axis=1), x),
                                  np.concatenate([masks[0], np.ones_like(masks[1])], 1))
    assert layers.concatenate(inputs)._keras_history[0].output_mask is None
    assert layers.dot(masked, 2)._keras_history[0].output_mask is None


def test_wrong_masks():
    x = Input((3,))
    for layer in (Add(), Concatenate()):
        with pytest.raises(ValueError, match='`mask` should be a list'):
            layer.compute_mask([x, x], x)
        with pytest.raises(ValueError, match='`inputs` should be a list'):
            layer.compute_mask(x, [x])
        with pytest.raises(ValueError, match='should have the same length'):
            layer.compute_mask([x, x], [x])


def test_a_merge_of_ones_own():
    """The usual WGAN-GP script derives from Keras' private base class."""
    class RandomWeightedAverage(_Merge):
        def _merge_function(self, inputs):
            weights = K.random_uniform((4, 1))
            return weights * inputs[0] + (1 - weights) * inputs[1]

    a, b = Input((50,)), Input((50,))
    y = Model([a, b], RandomWeightedAverage()([a, b])).predict([np.ones((4, 50)), np.zeros((4, 50))])
    assert (y == y[:, :1]).all() and len(np.unique(y)) == 4 and (0 < y).all() and (y < 1).all()
