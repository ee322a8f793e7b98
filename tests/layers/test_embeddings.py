"""Embedding of integers."""
import numpy as np
import pytest
import torch
from layers_harness import check_layer, data

from kfacade import backend as K
from kfacade.layers import Embedding, Input
from kfacade.models import Model, Sequential


@pytest.mark.parametrize('dtype', ['int32', 'int64', 'float32'])
def test_embedding_looks_rows_up(dtype):
    x, table = np.array([[0, 3, 2], [1, 1, 3]]).astype(dtype), data(4, 5)
    check_layer(Embedding(4, 5), x, table[x.astype(int)], [table])
    check_layer(Embedding(4, 5, input_length=3), x, table[x.astype(int)], [table])


def test_gradients_add_up_over_repeated_integers():
    layer, symbol, table = Embedding(3, 2), Input((4,), dtype='int32'), data(3, 2)
    loss = K.sum(layer(symbol))
    layer.set_weights([table])
    gradient, = K.function([symbol], K.gradients(loss, [layer.embeddings]))([np.array([[0, 2, 2, 0]])])
    np.testing.assert_array_equal(gradient, [[2, 2], [0, 0], [2, 2]])


def test_mask_of_zeros():
    layer, symbol = Embedding(4, 5, mask_zero=True), Input((3,))
    mask = K.function([symbol], [layer(symbol)._keras_history[0].output_mask])([np.array([[0, 3, 0]])])[0]
    np.testing.assert_array_equal(mask, [[False, True, False]])
    assert Embedding(4, 5)(symbol)._keras_history[0].output_mask is None


def test_shapes():
    assert Embedding(4, 5).batch_input_shape == (None, None)
    assert Embedding(4, 5, input_length=3).batch_input_shape == (None, 3)
    assert Sequential([Embedding(4, 5, input_length=3)]).output_shape == (None, 3, 5)
    assert K.int_shape(Embedding(4, 5, input_length=3)(Input((None,)))) == (None, 3, 5)
    assert K.int_shape(Embedding(4, 5, input_length=(3, None))(Input((3, 2)))) == (None, 3, 2, 5)
    with pytest.raises(ValueError, match=r'"input_length" is 3, but received input has shape \(None, 4\)'):
        Embedding(4, 5, input_length=3)(Input((4,)))
    with pytest.raises(ValueError, match='"input_length" is 3, but received input has shape'):
        Embedding(4, 5, input_length=3)(Input((3, 3)))


def test_an_integer_out_of_range_names_the_layer():
    model = Sequential([Embedding(4, 5, name='words')])
    with pytest.raises(IndexError, match='Layer words has vectors for the integers 0 to 3, but .* from 1 to 4'):
        model.predict(np.array([[1, 4]]))


def test_integer_dtype_is_that_of_the_inputs():
    """tf.keras writes such configurations."""
    layer, symbol = Embedding(4, 5, dtype='int32'), Input((2,), dtype='int32')
    y = layer(symbol)
    assert layer.embeddings.dtype == y.dtype == torch.float32
    assert Model(symbol, y).predict(np.zeros((1, 2), 'int32')).dtype == np.float32


def test_the_shape_that_keras_writes_for_several_lengths():
    config = {**Embedding(4, 5, name='e').get_config(), 'input_length': [3, None], 'batch_input_shape': [2, [3, None]]}
    assert Sequential([Embedding.from_config(config)]).output_shape == (2, 3, None, 5)
    with pytest.raises(ValueError, match='must be a tuple of sizes'):
        Embedding(4, 5, batch_input_shape=(2, [3, [4]]))
