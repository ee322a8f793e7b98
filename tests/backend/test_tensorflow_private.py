"""Private functions of Keras' TensorFlow backend, against what Keras 2.2.4 gives on a CPU."""
import numpy as np
import pytest

from kfacade import backend as K


def test_channels_go_last_as_keras_contrib_asks():
    x = np.arange(24.).reshape(1, 2, 3, 4)
    last, name = K._preprocess_conv2d_input(K.variable(x), 'channels_first')
    assert name == 'NHWC'
    np.testing.assert_array_equal(K.eval(last), x.transpose(0, 2, 3, 1))
    same, _ = K._preprocess_conv2d_input(K.placeholder((None, 2, 3, 4)), 'channels_last')
    assert K.int_shape(same) == (None, 2, 3, 4)
    assert K._preprocess_conv1d_input(K.variable(x[0]), 'channels_first')[1] == 'NWC'
    volume, name = K._preprocess_conv3d_input(K.variable(x[..., None]), 'channels_first')
    assert name == 'NDHWC' and K.int_shape(volume) == (1, 3, 4, 1, 2)


def test_padding_and_tensors():
    assert [K._preprocess_padding(p) for p in ('same', 'valid')] == ['SAME', 'VALID']
    with pytest.raises(ValueError, match='Invalid padding'):
        K._preprocess_padding('causal')
    assert K.dtype(K._to_tensor(.5, 'float32')) == 'float32' and K.eval(K._to_tensor(2, 'float32')) == 2
