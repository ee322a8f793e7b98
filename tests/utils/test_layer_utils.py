"""Summaries, character for character as Keras 2.2.4 prints them (each line ends at the bar), and conversions."""
import numpy as np
import pytest

import kfacade.backend as K
from kfacade.layers import LSTM, BatchNormalization, Concatenate, Conv2D, Dense, Flatten, Input
from kfacade.models import Model, Sequential
from kfacade.utils import convert_all_kernels_in_model, get_source_inputs
from kfacade.utils.layer_utils import convert_dense_weights_data_format, count_params


@pytest.fixture(autouse=True)
def fresh_names():
    K.clear_session()


def summary(model, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    return '\n' + ''.join(line + '|\n' for line in lines)


SEQ = '''
_________________________________________________________________|
Layer (type)                 Output Shape              Param #   |
=================================================================|
dense_1 (Dense)              (None, 4)                 16        |
_________________________________________________________________|
batch_normalization_1 (Batch (None, 4)                 16        |
_________________________________________________________________|
dense_2 (Dense)              (None, 2)                 10        |
=================================================================|
Total params: 42|
Trainable params: 34|
Non-trainable params: 8|
_________________________________________________________________|
'''

TOGGLED = '''
________________________________________|
Layer (type)        Output Shap Param # |
========================================|
dense_1 (Dense)     (None, 4)   16      |
________________________________________|
batch_normalization (None, 4)   16      |
________________________________________|
dense_2 (Dense)     (None, 2)   10      |
========================================|
Total params: 58|
Trainable params: 34|
Non-trainable params: 24|
________________________________________|
'''

FUNCTIONAL = '''
__________________________________________________________________________________________________|
Layer (type)                    Output Shape         Param #     Connected to                     |
==================================================================================================|
input_1 (InputLayer)            (None, 4)            0                                            |
__________________________________________________________________________________________________|
other (InputLayer)              (None, 4)            0                                            |
__________________________________________________________________________________________________|
shared (Dense)                  (None, 3)            15          input_1[0][0]                    |
                                                                 other[0][0]                      |
__________________________________________________________________________________________________|
concatenate_1 (Concatenate)     (None, 6)            0           shared[0][0]                     |
                                                                 shared[1][0]                     |
__________________________________________________________________________________________________|
a_layer_with_a_very_long_name ( (None, 1000)         7000        concatenate_1[0][0]              |
==================================================================================================|
Total params: 7,015|
Trainable params: 7,015|
Non-trainable params: 0|
__________________________________________________________________________________________________|
'''

MULTIPLE = '''
__________________________________________________________________________________________________|
Layer (type)                    Output Shape         Param #     Connected to                     |
==================================================================================================|
input_1 (InputLayer)            (None, None, 4)      0                                            |
__________________________________________________________________________________________________|
input_2 (InputLayer)            (None, 7, 4)         0                                            |
__________________________________________________________________________________________________|
lstm_1 (LSTM)                   multiple             96          input_1[0][0]                    |
                                                                 input_2[0][0]                    |
==================================================================================================|
Total params: 96|
Trainable params: 96|
Non-trainable params: 0|
__________________________________________________________________________________________________|
'''

CHAIN = '''
_________________________________________________________________|
Layer (type)                 Output Shape              Param #   |
=================================================================|
input_1 (InputLayer)         (None, 8, 8, 3)           0         |
_________________________________________________________________|
conv2d_1 (Conv2D)            (None, 6, 6, 2)           56        |
_________________________________________________________________|
flatten_1 (Flatten)          (None, 72)                0         |
=================================================================|
Total params: 56|
Trainable params: 56|
Non-trainable params: 0|
_________________________________________________________________|
'''


def sequence():
    return Sequential([Dense(4, input_shape=(3,)), BatchNormalization(), Dense(2)])


def two_inputs():
    a, b, shared = Input((4,)), Input((4,), name='other'), Dense(3, name='shared')
    return Model([a, b], Dense(1000, name='a_layer_with_a_very_long_name')(Concatenate()([shared(a), shared(b)])))


def test_summary_of_a_sequence():
    assert summary(sequence()) == SEQ


def test_summary_counts_frozen_weights():
    model = sequence()
    model.layers[0].trainable = False
    assert summary(model).splitlines()[-4:-1] == ['Total params: 42|', 'Trainable params: 18|',
                                                  'Non-trainable params: 24|']


def test_summary_in_other_columns_after_freezing_without_compiling():
    model = sequence()
    model.compile('sgd', 'mse')
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match='^Discrepancy between trainable weights and collected trainable weights'):
        assert summary(model, line_length=40, positions=[.5, .8, 1.]) == TOGGLED


def test_summary_with_connections():
    assert summary(two_inputs()) == FUNCTIONAL
    assert summary(two_inputs(), line_length=70, positions=[20, 40, 50, 70]).splitlines()[8:10] == [
        'shared (Dense)      (None, 3)           15        input_2[0][0]       |',
        '                                                  other[0][0]         |']


def test_summary_of_a_layer_with_several_output_shapes():
    a, b, lstm = Input((None, 4)), Input((7, 4)), LSTM(3, return_sequences=True, return_state=True)
    assert summary(Model([a, b], [lstm(a)[0], lstm(b)[0]])) == MULTIPLE


def test_summary_of_a_chain():
    x = Input((8, 8, 3))
    assert summary(Model(x, Flatten()(Conv2D(2, 3)(x)))) == CHAIN


def test_summary_is_printed(capsys):
    sequence().summary()
    assert capsys.readouterr().out == SEQ[1:].replace('|', '')


def test_count_params_counts_a_weight_once():
    kernel, bias = Dense(4, input_shape=(3,)), Dense(2)
    model = Sequential([kernel, bias])
    assert count_params(model.weights + model.weights[:1]) == 3 * 4 + 4 + 4 * 2 + 2


def test_source_inputs():
    model = two_inputs()
    a, b = model.inputs
    joined = model.layers[-1].input
    assert get_source_inputs(model.outputs[0]) == [a, b]
    assert get_source_inputs(joined) == [a, b]
    assert get_source_inputs(model.get_layer('shared').get_output_at(1)) == [b]
    assert get_source_inputs(joined, model.get_layer('shared'), 0) == [a]
    assert get_source_inputs(a) == [a]
    plain = K.placeholder((None, 3))
    assert get_source_inputs(plain) is plain


def test_convert_all_kernels():
    model = Sequential([Conv2D(2, (2, 3), input_shape=(5, 5, 1)), Flatten(), Dense(1)])
    kernel, bias, *dense = [np.arange(w.size, dtype='float32').reshape(w.shape) for w in model.get_weights()]
    model.set_weights([kernel, bias, *dense])
    convert_all_kernels_in_model(model)
    converted = model.get_weights()
    np.testing.assert_array_equal(converted[0], kernel[::-1, ::-1])
    for after, before in zip(converted[1:], [bias, *dense]):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize('use_bias', [True, False])
def test_convert_dense_weights(use_bias):
    """A dense layer after a flattened image gives the same result on the image in the other layout."""
    image = np.random.RandomState(0).rand(2, 3, 4).astype('float32')  # rows, columns, channels
    dense = Dense(5, use_bias=use_bias, input_shape=(24,))
    model = Sequential([dense])
    expected = model.predict(image.reshape(1, -1))
    weights = dense.get_weights()
    convert_dense_weights_data_format(dense, (4, 2, 3), 'channels_first')
    np.testing.assert_allclose(model.predict(image.transpose(2, 0, 1).reshape(1, -1)), expected, rtol=1e-5)
    convert_dense_weights_data_format(dense, (2, 3, 4), 'channels_last')
    for after, before in zip(dense.get_weights(), weights):
        np.testing.assert_array_equal(after, before)
    with pytest.raises(ValueError, match='Unknown target_data_format'):
        convert_dense_weights_data_format(dense, (2, 3, 4), 'first')
