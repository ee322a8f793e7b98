"""What cannot be is refused, by name: arguments when a layer is made, inputs when the graph is built.

What Keras 2.2.4 clips or takes is taken here too.
"""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.layers import *  # noqa: F403
from kfacade.models import Model, Sequential

# ruff: noqa: F405

FORMAT = r'`data_format` argument must be one of "channels_first", "channels_last"\. Received: '
PADDING = r'`padding` argument must be one of "valid", "same" .*\. Received: '
NO_CAUSAL = r'`padding` argument must be "valid" or "same"; causal padding is for `Conv1D`'


def positive(name, given):
    return rf'`{name}` of layer \w+ must be a positive integer( for each dimension)?\. Received: {given}'


def not_negative(name, given):
    return rf'`{name}` of layer \w+ must be a non-negative integer.*\. Received: {given}'


def number(name, given):
    return rf'`{name}` of layer \w+ must be a number\. Received: {given}'


def ints(name, count, given):
    return rf'`{name}` argument must be a tuple of {count} integers\. Received: {given}'


@pytest.mark.parametrize('make, message', [
    # how many there are
    (lambda: Dense(-1), not_negative('units', '-1')),
    (lambda: Dense(2.5), not_negative('units', r'2\.5')),
    (lambda: Dense('4'), not_negative('units', "'4'")),
    (lambda: Dense(None), not_negative('units', 'None')),
    (lambda: Conv1D(-1, 3), positive('filters', '-1')),
    (lambda: Conv2DTranspose('a', 3), positive('filters', "'a'")),
    (lambda: SeparableConv1D(0, 3), positive('filters', '0')),
    (lambda: LocallyConnected1D(-2, 3), positive('filters', '-2')),
    (lambda: ConvLSTM2D(-2, 3), positive('filters', '-2')),
    (lambda: SimpleRNN(0), positive('units', '0')),
    (lambda: GRU(2.5), '`units` of layer gru_cell'),
    (lambda: LSTM(-2), '`units` of layer lstm_cell'),
    (lambda: CuDNNGRU('a'), "`units` of layer .*'a'"),
    (lambda: SeparableConv2D(2, 3, depth_multiplier=0), positive('depth_multiplier', '0')),
    (lambda: DepthwiseConv2D(3, depth_multiplier=-1), positive('depth_multiplier', '-1')),
    (lambda: RepeatVector(-1), not_negative('n', '-1')),
    (lambda: RepeatVector('a'), not_negative('n', "'a'")),
    (lambda: Embedding(0, 3), positive('input_dim', '0')),
    (lambda: Embedding(3, -1), not_negative('output_dim', '-1')),

    # one for each dimension
    (lambda: Conv2D(2, -3), positive('kernel_size', r'\(-3, -3\)')),
    (lambda: Conv2D(2, (3, 3, 3)), ints('kernel_size', 2, r'\(3, 3, 3\)')),
    (lambda: Conv2D(2, (2.5, 2)), ints('kernel_size', 2, r'\(2.5, 2\) including element 2.5')),
    (lambda: Conv3D(2, '333'), ints('kernel_size', 3, '333 including element 3')),
    (lambda: Conv1D(2, None), ints('kernel_size', 1, 'None')),
    (lambda: Conv2D(2, 3, strides=(1, 0)), positive('strides', r'\(1, 0\)')),
    (lambda: Conv2D(2, 3, strides=(1, 2, 3)), ints('strides', 2, r'\(1, 2, 3\)')),
    (lambda: Conv2D(2, 3, dilation_rate=0), positive('dilation_rate', r'\(0, 0\)')),
    (lambda: ConvLSTM2D(2, (1, 2, 3)), ints('kernel_size', 2, r'\(1, 2, 3\)')),
    (lambda: ConvLSTM2D(2, 3, strides=0), positive('strides', r'\(0, 0\)')),
    (lambda: LocallyConnected2D(2, 3, strides=0), positive('strides', r'\(0, 0\)')),
    (lambda: MaxPooling1D((2, 2)), ints('pool_size', 1, r'\(2, 2\)')),
    (lambda: AveragePooling3D(0), positive('pool_size', r'\(0, 0, 0\)')),
    (lambda: MaxPooling2D(2, strides=-1), positive('strides', r'\(-1, -1\)')),
    (lambda: UpSampling1D('a'), ints('size', 1, 'a')),
    (lambda: UpSampling2D(0), positive('size', r'\(0, 0\)')),
    (lambda: UpSampling2D(2.5), ints('size', 2, r'2\.5')),
    (lambda: UpSampling3D((1, 2)), ints('size', 3, r'\(1, 2\)')),
    (lambda: ZeroPadding1D((1, 2, 3)), ints('padding', 2, r'\(1, 2, 3\)')),
    (lambda: ZeroPadding2D(-1), not_negative('padding', r'\(\(-1, -1\), \(-1, -1\)\)')),
    (lambda: ZeroPadding2D((1, 2, 3)), r'`padding` should have two elements\. Found: \(1, 2, 3\)'),
    (lambda: ZeroPadding3D(1.5), r'`padding` should be either an int, a tuple of 3 ints .*Found: 1\.5'),
    (lambda: Cropping1D(-1), not_negative('cropping', r'\(\(-1, -1\),\)')),
    (lambda: Cropping2D(((1, 2, 3), 1)), ints('1st entry of cropping', 2, r'\(1, 2, 3\)')),
    (lambda: Cropping3D((1, 2)), r'`cropping` should have 3 elements\. Found: \(1, 2\)'),
    (lambda: Reshape((2, 'a')), r"`target_shape` of layer \w+ must be a non-negative integer \(one may be -1\)"),
    (lambda: Reshape((2, -2)), r'`target_shape` of layer .*Received: \(2, -2\)'),
    (lambda: Reshape((-1, -1)), r'`target_shape` of layer .*only specify one unknown dimension\. Received: \(-1, -1\)'),
    (lambda: Permute((1, 3)), r'`dims` of layer \w+ must have each of the integers from 1 .*Received: \(1, 3\)'),
    (lambda: Permute((1, 1)), r'`dims` of layer .*Received: \(1, 1\)'),
    (lambda: Conv2DTranspose(2, 3, strides=2, output_padding=2), r'Stride \(2, 2\) must be greater than output pad'),
    (lambda: Conv2DTranspose(2, 3, output_padding=(1, 2, 3)), ints('output_padding', 2, r'\(1, 2, 3\)')),
    (lambda: Conv3DTranspose(2, 3, output_padding=-1), not_negative('output_padding', r'\(-1, -1, -1\)')),

    # one of a few
    (lambda: Conv2D(2, 3, padding='full'), PADDING + 'full'),
    (lambda: MaxPooling1D(padding=1), PADDING + '1'),
    (lambda: ConvLSTM2D(2, 3, padding=None), PADDING + 'None'),
    (lambda: LocallyConnected1D(2, 3, padding='same'), r'border mode for LocallyConnected1D \(only "valid" .*: same'),
    (lambda: Conv2D(2, 3, padding='causal'), NO_CAUSAL),
    (lambda: ConvLSTM2D(2, 3, padding='causal'), NO_CAUSAL),
    (lambda: MaxPooling1D(padding='causal'), NO_CAUSAL),
    (lambda: Conv1D(2, 3, padding='causal', data_format='channels_first'),
     '`data_format` must be "channels_last" .*Received: channels_first'),
    (lambda: Conv2D(2, 3, data_format='NHWC'), FORMAT + 'NHWC'),
    (lambda: MaxPooling2D(data_format=1), FORMAT + '1'),
    (lambda: GlobalMaxPooling3D('last'), FORMAT + 'last'),
    (lambda: SpatialDropout2D(.5, data_format='last'), FORMAT + 'last'),
    (lambda: Flatten('first'), FORMAT + 'first'),
    (lambda: ConvLSTM2D(2, 3, data_format='last'), FORMAT + 'last'),
    (lambda: LocallyConnected1D(2, 3, data_format='last'), FORMAT + 'last'),
    (lambda: UpSampling2D(interpolation='cubic'), 'interpolation should be one of "nearest" or "bilinear".*: cubic'),
    (lambda: Bidirectional(LSTM(2), 'stack'), r'Merge mode should be one of \{"sum", .*\}\. Received: \'stack\''),
    (lambda: Dense(2, activation='nonsense'), '`activation` of layer dense_.*: Unknown activation function:nonsense'),
    (lambda: LSTM(2, recurrent_activation='tahn'), "`recurrent_activation` of layer .*tahn. Did you mean 'tanh'"),
    (lambda: Activation(5), '`activation` of layer .*: 5. Expected a name, a config .* or a callable'),
    (lambda: Conv2D(2, 3, kernel_initializer='nonsense'), '`kernel_initializer` of layer .*initializer: nonsense'),
    (lambda: Dense(2, bias_regularizer='l3'), '`bias_regularizer` of layer .*Unknown regularizer: l3'),
    (lambda: PReLU(alpha_constraint=5), '`alpha_constraint` of layer .*5. Expected a name'),

    # numbers
    (lambda: Dropout('a'), number('rate', "'a'")),
    (lambda: Dropout(None), number('rate', 'None')),
    (lambda: AlphaDropout('a'), number('rate', "'a'")),
    (lambda: GaussianNoise([1]), number('stddev', r'\[1\]')),
    (lambda: LSTM(2, recurrent_dropout='a'), number('recurrent_dropout', "'a'")),
    (lambda: BatchNormalization(momentum='a'), number('momentum', "'a'")),
    (lambda: BatchNormalization(epsilon=None), number('epsilon', 'None')),
    (lambda: Masking('a'), number('mask_value', "'a'")),
    (lambda: LeakyReLU(None), number('alpha', 'None')),
    (lambda: ThresholdedReLU('a'), number('theta', "'a'")),
    (lambda: ReLU('a'), number('max_value', "'a'")),
    (lambda: ReLU(max_value=-1), 'max_value of ReLU layer cannot be negative value: -1'),
    (lambda: ReLU(negative_slope=-1), 'negative_slope of ReLU layer cannot be negative value: -1'),
    (lambda: BatchNormalization(axis=1.5), r'`axis` of layer \w+ must be an integer\. Received: 1\.5'),
    (lambda: Concatenate('a'), r"`axis` of layer \w+ must be an integer\. Received: 'a'"),

    # cells
    (lambda: RNN([]), r'`cells` must hold at least one cell\. Received: \[\]'),
    (lambda: RNN(3), 'must have a `call` method. Received: 3'),
    (lambda: StackedRNNCells([Dense(3)]), 'must have a `state_size` attribute'),
])
def test_arguments_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize('make, message', [
    (lambda: Dense(2, nonsense=1), "Keyword argument not understood: 'nonsense'"),
    (lambda: Dot('a'), "Invalid type for `axes` - should be a list or an int. Got 'a'"),
    (lambda: Lambda(3), r'`function` of layer lambda_\d+ must be a function\. Received: 3'),
    (lambda: TimeDistributed(3), '`layer` of TimeDistributed must be a layer. Received: 3'),
    (lambda: Bidirectional(Dense(2)), '`layer` of Bidirectional must be a recurrent layer.*Received: <Dense'),
    (lambda: Bidirectional(3), '`layer` of Bidirectional must be a recurrent layer.*Received: 3'),
    (lambda: ConvRNN2D([ConvLSTM2DCell(2, 3)]), 'not possible at the moment to stack convolutional cells'),
    (lambda: ConvRNN2D(ConvLSTM2DCell(2, 3), unroll=True), "Unrolling isn't possible with convolutional RNNs"),
])
def test_arguments_of_the_wrong_type(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize('make, shape', [
    (lambda: Conv1D(2, 3, strides=2, dilation_rate=2), (9, 2)),
    (lambda: Conv2DTranspose(2, 3, strides=(1, 2), dilation_rate=(2, 1)), (9, 9, 2)),
    (lambda: SeparableConv1D(2, 3, strides=2, dilation_rate=2), (9, 2)),
    (lambda: ConvLSTM2D(2, 3, strides=2, dilation_rate=2), (3, 9, 9, 2)),
])
def test_strides_with_a_dilation_are_refused_when_called(make, shape):
    layer = make()
    layer.from_config(layer.get_config())
    with pytest.raises(ValueError, match=r'strides > 1 not supported .* dilation_rate > 1\. Received:'):
        layer(Input(shape))


@pytest.mark.filterwarnings('ignore:The `MaxoutDense` layer')
@pytest.mark.parametrize('arguments, message', [((-1,), not_negative('output_dim', '-1')),
                                                ((2, 0), positive('nb_feature', '0'))])
def test_maxout_of_nothing(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaxoutDense(*arguments)


# ---------------------------------------------------------------- what Keras clips or takes

@pytest.mark.parametrize('layer, name, value', [
    (Dropout(1.5), 'rate', 1.), (Dropout(-1), 'rate', 0.), (SpatialDropout1D(7), 'rate', 1.),
    (GaussianDropout(1.5), 'rate', 1.5), (AlphaDropout(-1), 'rate', -1),
    (LSTM(2, dropout=1.5), 'dropout', 1.), (GRU(2, recurrent_dropout=-2), 'recurrent_dropout', 0.),
    (UpSampling1D(2.7), 'size', (2,)), (UpSampling2D((2., 2.)), 'size', (2, 2)),
    (Conv2D(2, 3, strides=(2., 1)), 'strides', (2, 1)), (MaxPooling1D(np.int64(2)), 'pool_size', (2,)),
    (LeakyReLU(-.5), 'alpha', -.5), (ReLU(threshold=-1), 'threshold', -1.), (Dense(np.int32(3)), 'units', 3),
    (BatchNormalization(momentum=2), 'momentum', 2), (Dense(3, use_bias=2), 'use_bias', 2),
    (LSTM(2, implementation=3), 'implementation', 3), (Softmax(axis=5), 'axis', 5),
])
def test_what_is_clipped_or_taken(layer, name, value):
    assert getattr(layer, name) == value


def test_dropout_of_more_than_everything_drops_nothing():
    x = np.ones((3, 4), 'f')
    symbol = Input((4,))
    np.testing.assert_array_equal(K.function([symbol, K.learning_phase()], [Dropout(1.5)(symbol)])([x, 1])[0], x)


@pytest.mark.parametrize('layer, shape', [(Dense(0), (0,)), (RepeatVector(0), (0, 4)), (Embedding(4, 0), (4, 0))])
def test_layers_without_outputs(layer, shape):
    symbol = Input((4,))
    assert Model(symbol, layer(symbol)).predict(np.zeros((3, 4))).shape == (3, *shape)


# ---------------------------------------------------------------- when the graph is built

@pytest.mark.parametrize('layer, shape', [
    (Conv1D(2, 6, name='short'), (5, 1)),
    (Conv1D(2, 3, dilation_rate=3, name='short'), (5, 1)),
    (Conv2D(2, (2, 6), name='short'), (5, 5, 1)),
    (Conv2D(2, 6, data_format='channels_first', name='short'), (6, 5, 6)),
    (Conv3D(2, 6, name='short'), (5, 6, 6, 1)),
    (SeparableConv2D(2, 6, name='short'), (5, 5, 1)),
    (DepthwiseConv2D(6, name='short'), (5, 5, 1)),
    (LocallyConnected1D(2, 6, name='short'), (5, 1)),
    (LocallyConnected2D(2, 6, name='short'), (5, 5, 1)),
    (MaxPooling1D(6, name='short'), (5, 1)),
    (AveragePooling2D((1, 6), name='short'), (5, 5, 1)),
    (AveragePooling3D(6, name='short'), (5, 5, 5, 1)),
    (Cropping1D(3, name='short'), (5, 1)),
    (Cropping2D(3, name='short'), (5, 5, 1)),
    (Cropping3D(3, name='short'), (5, 5, 5, 1)),
    (ConvLSTM2D(2, 6, name='short'), (2, 5, 5, 1)),
    (TimeDistributed(Conv2D(2, 6, name='short')), (2, 5, 5, 1)),
    (BatchNormalization(axis=5, name='short'), (5, 1)),
    (PReLU(shared_axes=[3], name='short'), (5, 1)),
    (Reshape((2, 2), name='short'), (5,)),
    (Flatten(name='short'), (None, 5)),
    (Dropout(.5, noise_shape=(1, 2, 3), name='short'), (3,)),
    (Dropout(.5, noise_shape=(None, 2), name='short'), (3,)),
    (Dropout(.5, noise_shape=3, name='short'), (3,)),
    (AlphaDropout(.5, noise_shape=(None, 2), name='short'), (3,)),
    (Embedding(4, 3, input_length=6, name='short'), (5,)),
    (LSTM(2, unroll=True, name='short'), (None, 3)),
    (Dense(2, name='short'), (None,)),
    (Conv2D(2, 3, name='short'), (5, 5)),
    (TimeDistributed(Dense(2), name='short'), (5,)),
    (Add(name='short'), [(3,), (4,)]),
    (Add(name='short'), (3,)),
    (Concatenate(name='short'), [(3, 4), (5, 4)]),
    (Concatenate(5, name='short'), [(3,), (3,)]),
    (Softmax(3, name='short'), (3, 4)),
    (Dot(1, name='short'), [(3,), (4,)]),
    (Dot(5, name='short'), [(3,), (3,)]),
])
def test_inputs_that_cannot_be(layer, shape):
    inputs = [Input(s) for s in shape] if isinstance(shape, list) else Input(shape)
    with pytest.raises(ValueError, match=r'\bshort\b'):
        layer(inputs)


@pytest.mark.parametrize('layer', [
    Conv1D(2, 2), Cropping1D(), Flatten(), GlobalMaxPooling1D(), LocallyConnected1D(2, 2), MaxPooling1D(),
    Permute((2, 1)), Reshape((12,)), SeparableConv1D(2, 2), UpSampling1D(), ZeroPadding1D()])
def test_masks_that_a_layer_has_no_use_for(layer):
    with pytest.raises(TypeError, match=f'Layer {layer.name} does not support masking, but was passed an input_mask'):
        layer(Masking()(Input((4, 3))))


def test_masks_where_kernels_have_none():
    with pytest.raises(ValueError, match=r'Masking is not supported for CuDNN RNNs \(layer fast\)'):
        CuDNNLSTM(2, name='fast')(Masking()(Input((4, 3))))


# ---------------------------------------------------------------- states

@pytest.mark.parametrize('layer, states, message', [
    (LSTM(2, name='memory'), [(2,)], r'not compatible with `cell\.state_size`.*memory'),
    (LSTM(2, name='memory'), [(2,), (3,)], r'not compatible with `cell\.state_size`.*memory'),
    (GRU(2, name='memory'), [(2,), (2,)], r'not compatible with `cell\.state_size`.*memory'),
    (LSTM(2, name='memory'), [(2,), (2, 2)], r'Initial state 1 of layer memory must have the shape \(None, 2\)\. '
                                             r'Received one of the shape \(None, 2, 2\)'),
    (Bidirectional(GRU(2, name='memory')), [(2,), (3,)], r'not compatible with .*backward_memory'),
    (Bidirectional(GRU(2), name='memory'), [(2,)], 'states of the underlying RNNs, forward and backward.*memory'),
])
def test_initial_states_of_the_wrong_shape(layer, states, message):
    with pytest.raises(ValueError, match=message):
        layer(Input((4, 3)), initial_state=[Input(s) for s in states])


def test_initial_states_of_the_wrong_shape_in_a_later_call():
    layer = LSTM(2, name='memory')
    layer(Input((4, 3)))
    with pytest.raises(ValueError, match=r'Initial state 0 of layer memory must have the shape \(None, 2\)'):
        layer(Input((4, 3)), initial_state=[Input((3,)), Input((3,))])
    with pytest.raises(ValueError, match='Layer memory has 2 states but was passed 1 initial states'):
        layer(Input((4, 3)), initial_state=[Input((2,))])


def test_initial_states_that_are_images_of_the_wrong_size():
    with pytest.raises(ValueError, match=r'Initial state 1 of layer film must have the shape \(None, 4, 4, 2\)'):
        ConvLSTM2D(2, 2, name='film')(Input((3, 5, 5, 1)), initial_state=[Input((4, 4, 2)), Input((4, 5, 2))])


def test_reset_states():
    layer = LSTM(2, stateful=True, name='memory')
    layer(Input(batch_shape=(3, 4, 5)))
    with pytest.raises(ValueError, match='Layer memory expects 2 states, but it received 1'):
        layer.reset_states([np.zeros((3, 2))])
    with pytest.raises(ValueError, match=r'layer memory: expected shape=\(3, 2\), found shape=\(3, 3\)'):
        layer.reset_states([np.zeros((3, 3)), np.zeros((3, 2))])
    with pytest.raises(ValueError, match='needs to know its batch size.* of the input of other'):
        LSTM(2, stateful=True, name='other')(Input((4, 5)))


# ---------------------------------------------------------------- batches of a stateful model

@pytest.fixture
def stateful():
    model = Sequential([LSTM(2, stateful=True, batch_input_shape=(2, 4, 3), name='memory'), Dense(1)])
    model.compile('sgd', 'mse')
    return model


@pytest.mark.parametrize('run', [
    lambda model, x, y: model.fit(x, y, batch_size=2, verbose=0),
    lambda model, x, y: model.evaluate(x, y, batch_size=2, verbose=0),
    lambda model, x, y: model.predict(x, batch_size=2)])
def test_samples_that_do_not_fill_the_batches(stateful, run):
    with pytest.raises(ValueError, match='divided by the batch size. Found: 5 samples. .*memory'):
        run(stateful, np.ones((5, 4, 3)), np.ones((5, 1)))


@pytest.mark.parametrize('run', [
    lambda model, x, y: model.train_on_batch(x, y),
    lambda model, x, y: model.test_on_batch(x, y),
    lambda model, x, y: model.predict_on_batch(x),
    lambda model, x, y: model.fit(x, y, batch_size=5, verbose=0)])
def test_batches_of_another_size(stateful, run):
    with pytest.raises(ValueError, match='Layer memory is stateful .* batches of 2 samples. Received a batch of 5'):
        run(stateful, np.ones((5, 4, 3)), np.ones((5, 1)))


def test_batches_of_another_size_on_symbols_and_tensors(stateful):
    layer = stateful.layers[0]
    for x in (Input(batch_shape=(5, 4, 3)), torch.ones(5, 4, 3)):
        with pytest.raises(ValueError, match=r'layer memory: expected shape=\(2, None, 3\), found shape=\(5, 4, 3\)'):
            layer(x)


@pytest.mark.parametrize('call, argument, came', [
    (lambda: Input((-1,)), 'shape', r'\(-1,\)'), (lambda: Input('a'), 'shape', "'a'"), (lambda: Input(5), 'shape', '5'),
    (lambda: Input((2.5,)), 'shape', r'\(2.5,\)'), (lambda: Input(batch_shape=('x', 3)), 'batch_shape', r"\('x', 3\)"),
    (lambda: Dense(3, input_shape=5), 'input_shape', '5'), (lambda: Dense(3, input_shape='a'), 'input_shape', "'a'"),
    (lambda: Dense(3, batch_input_shape=(2, -3)), 'batch_input_shape', r'\(2, -3\)'),
    (lambda: Dense(3, input_shape=(4,), batch_size=-1), r'\(batch_size, \*input_shape\)', r'\(-1, 4\)')])
def test_shapes_are_tuples_of_sizes(call, argument, came):
    with pytest.raises(ValueError, match=f'^`{argument}` must be a tuple of sizes: integers from 0 up.* Got: {came}$'):
        call()
