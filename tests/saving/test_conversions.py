"""Weights of Keras 1, of Theano and of cuDNN, made to fit: each rule against arrays taken apart by hand."""
import numpy as np
import pytest

from kfacade import layers as L
from kfacade.models import Model, Sequential
from kfacade.saving import InvalidModelFile, preprocess_weights_for_loading

RNG = np.random.RandomState(3)


def built(layer, shape):
    """`layer`, built on inputs of `shape`, with random weights."""
    Sequential([L.InputLayer(shape), layer])
    for weight in layer.weights:
        weight.assign(RNG.randn(*weight.shape).astype('float32'))
    return layer


def check(layer, arrays, version='1', backend=None, **options):
    """Asserts that `arrays` convert to just the weights that `layer` has."""
    converted = preprocess_weights_for_loading(layer, arrays, version, backend, **options)
    assert len(converted) == len(layer.weights)
    for got, wanted in zip(converted, layer.weights):
        np.testing.assert_array_equal(got, wanted.numpy())


def old_gates(weights, order):
    """[kernel, recurrent kernel, bias] as Keras 1 kept them: W, U, b of each gate, gates in `order` of ours."""
    blocks = [np.split(w, len(order), axis=-1) for w in weights]
    return [block[gate] for gate in order for block in blocks]


LSTM_ORDER, GRU_ORDER = (0, 2, 1, 3), (0, 1, 2)  # i, c, f, o and z, r, h


@pytest.mark.parametrize('layer, shape, order', [
    (L.LSTM(4), (5, 3), LSTM_ORDER), (L.GRU(4), (5, 3), GRU_ORDER)])
def test_gates_of_keras1(layer, shape, order):
    check(built(layer, shape), old_gates(layer.get_weights(), order))
    check(layer, layer.get_weights())  # Keras 1 could write them joined, too


@pytest.mark.parametrize('data_format', ['channels_first', 'channels_last'])
@pytest.mark.parametrize('turned', [False, True])
def test_convolutional_gates_of_keras1_have_either_order(data_format, turned):
    """(filters, channels, rows, columns) or (rows, columns, channels, filters): the shapes say which."""
    shape = (3, 2, 6, 6) if data_format == 'channels_first' else (3, 6, 6, 2)
    layer = built(L.ConvLSTM2D(4, 3, data_format=data_format), shape)
    arrays = old_gates(layer.get_weights(), LSTM_ORDER)
    check(layer, [array.transpose(3, 2, 0, 1) if turned and array.ndim == 4 else array for array in arrays])


def test_gates_of_keras1_inside_wrappers_and_models():
    wrapper = built(L.Bidirectional(L.LSTM(4)), (5, 3))
    weights = wrapper.get_weights()
    check(wrapper, old_gates(weights[:3], LSTM_ORDER) + old_gates(weights[3:], LSTM_ORDER))

    inner = Sequential([L.Dense(3, input_shape=(5, 3)), L.GRU(2, return_sequences=True), L.BatchNormalization(),
                        L.LSTM(4)])
    built(L.TimeDistributed(inner), (2, 5, 3))
    dense, gru, lstm = inner.layers[0], inner.layers[1], inner.layers[3]
    normalization = inner.layers[2].get_weights()
    check(inner, [*dense.get_weights(), *old_gates(gru.get_weights(), GRU_ORDER), *normalization[:2],
                  *old_gates(lstm.get_weights(), LSTM_ORDER), *normalization[2:]])


@pytest.mark.parametrize('layer, shape, to_old', [
    (L.Conv1D(4, 3), (7, 2), lambda k: k[:, None]),
    (L.Conv1D(4, 3), (7, 2), lambda k: k[:, None].transpose(3, 2, 0, 1)),  # Keras 1.1
    (L.Conv2D(4, (3, 2)), (7, 7, 2), lambda k: k),
    (L.Conv2D(4, (3, 2), data_format='channels_first'), (2, 7, 7), lambda k: k.transpose(3, 2, 0, 1)),
    (L.Conv3D(4, (3, 2, 1), data_format='channels_first'), (2, 5, 5, 5), lambda k: k.transpose(4, 3, 0, 1, 2)),
    (L.Conv2DTranspose(4, (3, 2)), (7, 7, 2), lambda k: k.transpose(0, 1, 3, 2)),
    (L.Conv2DTranspose(4, (3, 2), data_format='channels_first'), (2, 7, 7), lambda k: k.transpose(2, 3, 0, 1)),
], ids=lambda x: getattr(x, 'name', None))
def test_kernels_of_keras1(layer, shape, to_old):
    kernel, *rest = built(layer, shape).get_weights()
    check(layer, [to_old(kernel), *rest])
    wrapper = built(L.TimeDistributed(type(layer).from_config(layer.get_config())), (3, *shape))
    kernel, *rest = wrapper.get_weights()
    check(wrapper, [to_old(kernel), *rest])


def test_kernel_that_keras1_cannot_have_written():
    layer = built(L.Conv1D(4, 3), (7, 2))
    with pytest.raises(InvalidModelFile, match=r'shape \(5, 5, 5, 5\) .*\(4 filters of length 3\)'):
        preprocess_weights_for_loading(layer, [np.zeros((5, 5, 5, 5)), np.zeros(4)], '1')


@pytest.mark.parametrize('layer, shape', [
    (L.Conv1D(4, 3), (7, 2)), (L.Conv2D(4, (3, 2)), (7, 7, 2)), (L.Conv3D(2, (3, 2, 2)), (5, 5, 5, 2)),
    (L.Conv2DTranspose(4, (3, 2)), (7, 7, 2))], ids=lambda x: getattr(x, 'name', None))
def test_kernels_of_theano_are_flipped(layer, shape):
    kernel, bias = built(layer, shape).get_weights()
    flipped = np.flip(kernel, axis=tuple(range(kernel.ndim - 2)))
    check(layer, [flipped, bias], '2.2.4', 'theano')
    for backend in ('tensorflow', 'cntk', 'torch', None):
        check(layer, [kernel, bias], '2.2.4', backend)
    model = Sequential([layer])
    check(model, [flipped, bias], '2.2.4', 'theano')


def test_separable_and_dense_kernels_of_theano_are_not_flipped():
    for layer, shape in ((L.Dense(3), (4,)), (L.SeparableConv2D(3, 2), (5, 5, 2))):
        check(built(layer, shape), layer.get_weights(), '2.2.4', 'theano')


def test_th_ordered_kernel_without_a_version_hint():
    layer = built(L.Conv2D(4, (3, 2)), (7, 7, 5))
    kernel, bias = layer.get_weights()
    check(layer, [kernel.transpose(2, 3, 1, 0), bias], '2.2.4')


def test_reshape_of_a_kernel():
    layer = built(L.Conv2D(4, (1, 3)), (7, 7, 5))
    kernel, bias = layer.get_weights()
    check(layer, [kernel.reshape(3, 1, 5, 4), bias], '2.2.4', reshape=True)
    with pytest.raises(ValueError, match=r"equal size to apply a reshape.*shape \(1, 3, 5, 4\) and size 60"):
        preprocess_weights_for_loading(layer, [np.zeros((2, 2)), bias], '2.2.4', reshape=True)


def to_cudnn(kernel, recurrent, bias, gates):
    """The arrays of a cuDNN layer, from the definition: transposed matrices in the memory of untransposed ones."""
    blocks = [block.T.ravel().reshape(block.shape) for block in np.split(kernel, gates, axis=1)]
    return [np.hstack(blocks), np.hstack([block.T for block in np.split(recurrent, gates, axis=1)]), bias]


def test_cudnn_lstm():
    layer = built(L.LSTM(4), (5, 3))
    kernel, recurrent, bias = layer.get_weights()
    part = RNG.randint(-3, 3, bias.shape).astype('float32')
    layer.set_weights([kernel, recurrent, part + 2])
    halves = np.concatenate([part, np.full_like(part, 2)])
    check(layer, to_cudnn(kernel, recurrent, halves, 4), '2.2.4')
    wrapper = built(L.Bidirectional(L.LSTM(4)), (5, 3))
    wrapper.set_weights(layer.get_weights() * 2)
    check(wrapper, to_cudnn(kernel, recurrent, halves, 4) * 2, '2.2.4')


def test_cudnn_gru():
    layer = built(L.GRU(4, reset_after=True), (5, 3))
    kernel, recurrent, bias = layer.get_weights()
    check(layer, to_cudnn(kernel, recurrent, bias.ravel(), 3), '2.2.4')


def test_recurrent_layers_that_do_not_convert():
    plain, after = built(L.GRU(4), (5, 3)), built(L.GRU(4, reset_after=True), (5, 3))
    with pytest.raises(ValueError, match=r'GRU\(reset_after=True\) is not compatible with GRU\(reset_after=False\)'):
        preprocess_weights_for_loading(plain, after.get_weights(), '2.2.4')
    cudnn = to_cudnn(*plain.get_weights()[:2], np.zeros(24), 3)
    with pytest.raises(ValueError, match=r'CuDNNGRU is not compatible with GRU\(reset_after=False\)'):
        preprocess_weights_for_loading(plain, cudnn, '2.2.4')
    with pytest.raises(ValueError, match=r'Invalid bias shape: \(7,\)'):
        preprocess_weights_for_loading(plain, [*plain.get_weights()[:2], np.zeros(7)], '2.2.4')
    unbiased = built(L.LSTM(4, use_bias=False), (5, 3))
    check(unbiased, unbiased.get_weights(), '2.2.4')


def test_nested_models_keep_their_order_however_deep():
    """Trainable weights come first in each nesting; convolutions inside still get their own arrays."""
    inner = Sequential([L.Conv2D(3, 2, input_shape=(6, 6, 2)), L.BatchNormalization()])
    frozen = L.Conv2D(2, (2, 1), trainable=False)
    x = L.Input((6, 6, 2))
    middle = Model(x, L.BatchNormalization()(frozen(inner(x))))
    outer = built(Sequential([middle]), (6, 6, 2))
    weights = outer.get_weights()
    check(outer, weights, '2.2.4', 'tensorflow')
    flipped = [w[::-1, ::-1] if w.ndim == 4 else w for w in weights]
    check(outer, flipped, '2.2.4', 'theano')


def test_wrong_number_of_weights_is_left_to_the_caller():
    model = built(Sequential([L.Dense(2)]), (3,))
    assert len(preprocess_weights_for_loading(model, [np.zeros(3)], '2.2.4')) == 1
    assert len(preprocess_weights_for_loading(built(L.LSTM(2), (4, 3)), [np.zeros(3)] * 5, '1')) == 5
    assert preprocess_weights_for_loading(model, [], '1') == []
