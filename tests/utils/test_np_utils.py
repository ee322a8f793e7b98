"""One-hot coding and normalisation."""
import numpy as np
import pytest

from kfacade.utils.np_utils import normalize, to_categorical


@pytest.mark.parametrize('shape, expected', [
    ((1,), (1, 5)), ((3,), (3, 5)), ((4, 3), (4, 3, 5)), ((5, 4, 3), (5, 4, 3, 5)), ((3, 1), (3, 5)),
    ((3, 2, 1), (3, 2, 5)), ((1, 1), (1, 5)), ((), (5,))])
def test_to_categorical_shapes(shape, expected):
    classes = np.random.RandomState(0).randint(0, 5, size=shape)
    one_hot = to_categorical(classes, 5)
    assert one_hot.shape == expected and one_hot.dtype == 'float32'
    np.testing.assert_array_equal(one_hot.argmax(-1).ravel(), np.ravel(classes))
    np.testing.assert_array_equal(one_hot.sum(-1), np.ones(expected[:-1]))


def test_to_categorical_counts_the_classes():
    np.testing.assert_array_equal(to_categorical([0, 2.]), [[1, 0, 0], [0, 0, 1]])
    assert to_categorical([1], dtype='int32').dtype == 'int32'
    with pytest.raises(IndexError):
        to_categorical([3], num_classes=3)


def test_normalize():
    x = np.array([[3., 4.], [0., 0.]])
    np.testing.assert_allclose(normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(normalize(x, axis=0), [[1, 1], [0, 0]])
    np.testing.assert_allclose(normalize(x, order=1), [[3 / 7, 4 / 7], [0, 0]])
    np.testing.assert_allclose(normalize(np.array([3., 4.])), [[0.6, 0.8]])
    np.testing.assert_allclose(normalize([3., 4.], axis=0, order=1), [[3 / 7, 4 / 7]])
