"""Every layer's gradients, by its inputs and by its weights, against finite differences in double precision."""
from collections import namedtuple

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers
from kfacade.layers import *  # noqa: F403
from kfacade.layers._recurrent_cells import Cell
from kfacade.utils.generic_utils import to_list, unpack_singleton

# ruff: noqa: F405


class Case(namedtuple('Case', 'layer args kwargs shapes mask training')):
    """A layer class with its arguments, which may hold cases of inner layers, and what the layer is called on.

    `shapes`: the shape of the input, or a list of them; a tensor of integers is an input itself.
    """

    def make(self):
        return self.layer(*map(made, self.args), **{name: made(value) for name, value in self.kwargs.items()})

    def inputs(self):
        generator = torch.Generator().manual_seed(1)
        return [x if isinstance(x, torch.Tensor) else torch.empty(x, dtype=torch.float64).uniform_(
            -2, 2, generator=generator).requires_grad_() for x in self.shapes]

    def __repr__(self):
        arguments = [*map(str, self.args), *(f'{name}={value}' for name, value in self.kwargs.items()),
                     *(['masked'] if self.mask is not None else []), *(['training'] if self.training else [])]
        return f'{self.layer.__name__}({", ".join(arguments)})'


def made(argument):
    if isinstance(argument, list):
        return [made(x) for x in argument]
    return argument.make() if isinstance(argument, Case) else argument


def case(layer, *args, on=None, mask=None, training=False, **kwargs):
    """A `Case`; without `on`, what the layer is called on, it can only be an inner layer of another one."""
    return Case(layer, args, kwargs, on if isinstance(on, list) else [on], mask, training)


def double(x):
    return 2 * x ** 3


SEQUENCE, IMAGE, CHANNELS_FIRST, VOLUME = (2, 5, 2), (1, 4, 5, 2), (1, 2, 4, 5), (1, 3, 4, 3, 2)
FILM = (1, 3, 3, 4, 1)
TWO, THREE = [(2, 3)] * 2, [(2, 3)] * 3
HOLES = torch.tensor([[True, False, True, True, False], [False, True, True, False, True]])
RIGHT_PADDED = torch.tensor([[True, True, True, True, False], [True, True, False, False, False]])

SIMPLE = [
    case(Dense, 2, on=(3, 4)),
    case(Dense, 2, activation='softmax', use_bias=False, on=(2, 3, 4)),
    case(Activation, 'selu', on=(3, 4)),
    case(Activation, 'hard_sigmoid', on=(3, 4)),
    case(ActivityRegularization, .1, .1, on=(3, 4)),
    case(Masking, on=(2, 3, 2)),
    case(Reshape, (4, -1), on=(2, 2, 6)),
    case(Permute, (2, 1), on=(2, 3, 2)),
    case(Flatten, 'channels_first', on=CHANNELS_FIRST),
    case(RepeatVector, 3, on=(2, 3)),
    case(Lambda, double, on=(3, 4)),
    case(TorchModule, torch.nn.Linear(3, 2, dtype=torch.float64), on=(4, 3)),
    case(Embedding, 4, 3, on=torch.tensor([[0, 2, 0], [3, 2, 1]])),

    case(Dropout, .5, on=(3, 4)),
    case(SpatialDropout1D, .5, on=SEQUENCE),
    case(SpatialDropout2D, .5, on=IMAGE),
    case(SpatialDropout3D, .5, on=VOLUME),
    case(GaussianNoise, .5, on=(3, 4)),
    case(GaussianDropout, .5, on=(3, 4)),
    case(AlphaDropout, .5, on=(3, 4)),

    case(BatchNormalization, on=(4, 3)),
    case(BatchNormalization, on=(4, 3), training=True),
    case(BatchNormalization, axis=1, scale=False, on=(2, 2, 3, 2), training=True),
    case(BatchNormalization, center=False, on=(2, 2, 3, 2), training=True),

    case(LeakyReLU, on=(3, 4)),
    case(PReLU, shared_axes=[1], on=(3, 2, 4)),
    case(ELU, .7, on=(3, 4)),
    case(ThresholdedReLU, .5, on=(3, 4)),
    case(Softmax, 1, on=(2, 3, 4)),
    case(ReLU, on=(3, 4)),
    case(ReLU, 1.5, .2, .5, on=(3, 4)),

    case(Add, on=THREE),
    case(Add, on=[(2, 3), (2, 4, 3)]),
    case(Subtract, on=TWO),
    case(Multiply, on=THREE),
    case(Average, on=THREE),
    case(Maximum, on=THREE),
    case(Minimum, on=THREE),
    case(Concatenate, 1, on=[(2, 3, 2), (2, 1, 2)]),
    case(Dot, 1, on=TWO),
    case(Dot, (2, 1), normalize=True, on=[(2, 4, 3), (2, 3, 2)]),

    case(MaxoutDense, 2, 3, on=(3, 4)),
    case(Highway, activation='tanh', on=(3, 4)),
]

SPATIAL = [
    case(Conv1D, 2, 3, dilation_rate=2, padding='causal', on=SEQUENCE),
    case(Conv1D, 2, 2, strides=2, use_bias=False, on=SEQUENCE),
    case(Conv2D, 2, (2, 3), strides=(2, 1), padding='same', activation='tanh', on=IMAGE),
    case(Conv2D, 2, 2, dilation_rate=2, data_format='channels_first', on=CHANNELS_FIRST),
    case(Conv3D, 1, 2, strides=2, padding='same', on=VOLUME),
    case(Conv2DTranspose, 2, 3, strides=2, padding='same', on=IMAGE),
    case(Conv2DTranspose, 1, (2, 3), output_padding=(0, 1), strides=2, data_format='channels_first', on=(1, 2, 2, 3)),
    case(Conv3DTranspose, 1, 2, strides=(1, 2, 1), on=(1, 2, 2, 2, 2)),
    case(SeparableConv1D, 2, 3, depth_multiplier=2, on=SEQUENCE),
    case(SeparableConv2D, 2, 2, padding='same', dilation_rate=(1, 2), on=IMAGE),
    case(SeparableConv2D, 2, 2, strides=2, data_format='channels_first', on=CHANNELS_FIRST),
    case(DepthwiseConv2D, 2, strides=2, depth_multiplier=2, padding='same', on=IMAGE),
    case(LocallyConnected1D, 2, 3, strides=2, on=SEQUENCE),
    case(LocallyConnected2D, 2, 3, activation='tanh', on=IMAGE),
    case(LocallyConnected2D, 2, (2, 3), data_format='channels_first', on=CHANNELS_FIRST),
    case(Cropping1D, (1, 2), on=SEQUENCE),
    case(Cropping2D, ((1, 0), (2, 1)), on=IMAGE),
    case(Cropping3D, on=(1, 4, 3, 4, 2)),
    case(UpSampling1D, on=SEQUENCE),
    case(UpSampling2D, (2, 3), on=IMAGE),
    case(UpSampling2D, 2, data_format='channels_first', interpolation='bilinear', on=CHANNELS_FIRST),
    case(UpSampling3D, on=(1, 2, 2, 2, 2)),
    case(ZeroPadding1D, on=SEQUENCE),
    case(ZeroPadding2D, ((1, 0), (0, 2)), on=IMAGE),
    case(ZeroPadding3D, on=(1, 2, 2, 2, 2)),
    case(MaxPooling1D, 3, 2, 'same', on=SEQUENCE),
    case(MaxPooling2D, on=IMAGE),
    case(MaxPooling2D, 3, 2, padding='same', data_format='channels_first', on=CHANNELS_FIRST),
    case(MaxPooling3D, 2, 1, on=VOLUME),
    case(AveragePooling1D, 3, 2, 'same', on=SEQUENCE),
    case(AveragePooling2D, (2, 3), 2, padding='same', on=IMAGE),
    case(AveragePooling2D, data_format='channels_first', on=CHANNELS_FIRST),
    case(AveragePooling3D, 2, 1, padding='same', on=VOLUME),
    case(GlobalAveragePooling1D, on=SEQUENCE),
    case(GlobalAveragePooling1D, on=SEQUENCE, mask=HOLES),
    case(GlobalAveragePooling2D, 'channels_first', on=CHANNELS_FIRST),
    case(GlobalAveragePooling3D, on=VOLUME),
    case(GlobalMaxPooling1D, on=SEQUENCE),
    case(GlobalMaxPooling2D, 'channels_first', on=CHANNELS_FIRST),
    case(GlobalMaxPooling3D, on=VOLUME),
    case(TimeDistributed, case(Dense, 2, activation='tanh'), on=SEQUENCE),
    case(TimeDistributed, case(Conv1D, 2, 2), on=(2, 3, 4, 2)),
]

ALL_STEPS = {'return_sequences': True, 'return_state': True}
DROPOUT = {'dropout': .3, 'recurrent_dropout': .4}
# The arithmetic of torch's kernels, that of the kernels over whole sequences, and what runs step by step.
RECURRENT = [
    case(SimpleRNN, 2, on=SEQUENCE),
    case(SimpleRNN, 2, activation='sigmoid', **ALL_STEPS, on=SEQUENCE),
    case(SimpleRNN, 2, activation='elu', use_bias=False, on=SEQUENCE, mask=HOLES),
    case(GRU, 2, on=SEQUENCE),
    case(GRU, 2, recurrent_activation='sigmoid', reset_after=True, **ALL_STEPS, on=SEQUENCE),
    case(GRU, 2, reset_after=True, **ALL_STEPS, on=SEQUENCE, mask=HOLES),
    case(GRU, 2, go_backwards=True, **ALL_STEPS, on=SEQUENCE, mask=RIGHT_PADDED),
    case(GRU, 2, activation='softsign', **ALL_STEPS, on=SEQUENCE),
    case(GRU, 2, **DROPOUT, on=SEQUENCE, training=True),
    case(LSTM, 2, **ALL_STEPS, on=SEQUENCE),
    case(LSTM, 2, recurrent_activation='sigmoid', **ALL_STEPS, on=SEQUENCE),
    case(LSTM, 2, recurrent_activation='sigmoid', on=SEQUENCE, mask=RIGHT_PADDED),
    case(LSTM, 2, use_bias=False, on=[SEQUENCE, (2, 2), (2, 2)]),
    case(LSTM, 2, **ALL_STEPS, unroll=True, on=SEQUENCE, mask=HOLES),
    case(LSTM, 2, implementation=2, **DROPOUT, on=SEQUENCE, training=True),
    case(CuDNNGRU, 2, on=SEQUENCE),
    case(CuDNNLSTM, 2, **ALL_STEPS, on=SEQUENCE),
    case(RNN, [case(GRUCell, 2), case(LSTMCell, 2)], **ALL_STEPS, on=SEQUENCE),
    case(RNN, [case(SimpleRNNCell, 2), case(SimpleRNNCell, 2)], on=SEQUENCE, mask=HOLES),
    case(Bidirectional, case(GRU, 2, return_sequences=True), on=SEQUENCE),
    case(Bidirectional, case(SimpleRNN, 1), 'mul', on=SEQUENCE, mask=HOLES),
    case(ConvLSTM2D, 1, 2, on=FILM),
    case(ConvLSTM2D, 1, 2, padding='same', return_sequences=True, data_format='channels_first', on=(1, 2, 1, 2, 3)),
    case(ConvRNN2D, case(ConvLSTM2DCell, 1, 2, strides=2), on=FILM),
]

# One step: the input, and the states.
CELLS = [
    case(SimpleRNNCell, 2, on=[(2, 3), (2, 2)]),
    case(GRUCell, 2, on=[(2, 3), (2, 2)]),
    case(GRUCell, 2, reset_after=True, on=[(2, 3), (2, 2)]),
    case(LSTMCell, 2, on=[(2, 3), (2, 2), (2, 2)]),
    case(ConvLSTM2DCell, 1, 2, padding='same', on=[(1, 2, 3, 1)] * 3),
    case(StackedRNNCells, [case(LSTMCell, 2), case(GRUCell, 1)], on=[(2, 3), (2, 2), (2, 2), (2, 1)]),
]

EXEMPT = {
    Layer: 'the base of all layers: hands on its input',
    InputLayer: 'stands for a tensor and computes nothing',
    Wrapper: 'a base class without a call of its own; TimeDistributed and Bidirectional are checked',
    Recurrent: 'a base class: its step is that of the subclass',
    ConvRecurrent2D: 'a base class: its step is that of the subclass',
    **dict.fromkeys((layers._Cropping, layers._UpSampling, layers._ZeroPadding),
                    'a base class; the layers in one, two and three dimensions are checked'),
}


class Step(torch.nn.Module):
    """One step of a cell, as a module."""

    def __init__(self, cell, inputs):
        super().__init__()
        self.cell = cell
        cell.build((None, *inputs[0].shape[1:]))

    def forward(self, inputs):
        x, *states = inputs
        return self.cell.call(x, states, training=False)[1]


@pytest.fixture(autouse=True)
def double_precision():
    before = K.floatx()
    K.set_floatx('float64')
    yield
    K.set_floatx(before)


def function_of(example):
    """The layer of a case as a function of its inputs and its weights, and these: what torch's checks take."""
    inputs, layer = example.inputs(), example.make()
    if issubclass(example.layer, (Cell, StackedRNNCells)):
        layer = Step(layer, inputs)
    kwargs = {'training': True} if example.training else {}
    if example.mask is not None:
        kwargs['mask'] = example.mask

    layer(unpack_singleton(inputs), **kwargs)  # builds
    generator = torch.Generator().manual_seed(3)
    for tensor in (*layer.parameters(), *layer.buffers()):  # the biases too; averages of squares are positive
        tensor.data.uniform_(-1 if tensor.requires_grad else .5, 1, generator=generator)
    weights = dict(layer.named_parameters())

    def function(*tensors):
        np.random.seed(2)  # decides on the dropout masks
        given, of_weights = list(tensors[:len(inputs)]), tensors[len(inputs):]
        output = torch.func.functional_call(layer, dict(zip(weights, of_weights)), (unpack_singleton(given),), kwargs)
        return tuple(output) if isinstance(output, list) else output

    return function, (*inputs, *weights.values())


@pytest.mark.filterwarnings('ignore:The .* layer is deprecated')
@pytest.mark.parametrize('example', [*SIMPLE, *SPATIAL, *RECURRENT, *CELLS], ids=repr)
def test_gradients(example):
    assert torch.autograd.gradcheck(*function_of(example))


@pytest.mark.parametrize('example', [*RECURRENT, *CELLS], ids=repr)
def test_gradients_of_gradients(example):
    assert torch.autograd.gradgradcheck(*function_of(example))


@pytest.mark.parametrize('example', RECURRENT, ids=repr)
def test_gradients_of_gradients_in_single_precision(example):
    function, tensors = function_of(example)

    def second_gradients(dtype):
        given = [t.detach().to(dtype).requires_grad_() for t in tensors]
        loss = sum((y ** 2).sum() for y in to_list(function(*given), allow_tuple=True))
        first = torch.autograd.grad(loss, given, create_graph=True)
        return torch.autograd.grad(sum((g ** 2).sum() for g in first), given)

    for single, double_ in zip(second_gradients(torch.float32), second_gradients(torch.float64)):
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double_, rtol=1e-3, atol=1e-4)


def test_every_layer_is_checked_or_exempt():
    known = {x for x in vars(layers).values() if isinstance(x, type) and issubclass(x, Layer)}
    checked = {example.layer for example in (*SIMPLE, *SPATIAL, *RECURRENT, *CELLS)}
    assert not checked & EXEMPT.keys()
    assert {x.__name__ for x in known - checked} == {x.__name__ for x in EXEMPT}
