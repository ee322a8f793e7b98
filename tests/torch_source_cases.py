"""Architectures that are converted to plain PyTorch, and the four whose source is kept to be read."""

import warnings

import numpy as np
import torch

from kfacade import backend as K
from kfacade.layers import (
    ELU,
    GRU,
    LSTM,
    RNN,
    Activation,
    AlphaDropout,
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    ConvLSTM2D,
    Cropping1D,
    Cropping3D,
    CuDNNGRU,
    CuDNNLSTM,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Embedding,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GRUCell,
    Input,
    Lambda,
    Layer,
    LeakyReLU,
    LocallyConnected2D,
    LSTMCell,
    Masking,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
    Permute,
    PReLU,
    ReLU,
    RepeatVector,
    Reshape,
    SeparableConv2D,
    SimpleRNN,
    SimpleRNNCell,
    Softmax,
    SpatialDropout1D,
    StackedRNNCells,
    ThresholdedReLU,
    TimeDistributed,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding3D,
    add,
    concatenate,
    dot,
    multiply,
)
from kfacade.models import Model, Sequential

CASES = {}


def case(make):
    CASES[make.__name__] = make
    return make


def filled(model):
    """Sets weights that no layer starts with."""
    draw = np.random.RandomState(0).standard_normal
    names = [w.name for layer in model.layers for w in layer.weights]
    model.set_weights(
        [
            draw(w.shape) * 0.4 if 'variance' not in name else np.abs(draw(w.shape)) * 0.3 + 0.2
            for w, name in zip(model.get_weights(), names)
        ]
    )
    return model


@case
def mnist_cnn():
    return Sequential(
        [
            Conv2D(8, 3, activation='relu', input_shape=(12, 12, 1)),
            Conv2D(8, (3, 3), activation='relu'),
            MaxPooling2D(2),
            Dropout(0.25),
            Flatten(),
            Dense(16, activation='relu'),
            Dropout(0.5),
            Dense(10, activation='softmax'),
        ]
    )


@case
def flatten_bn_prelu():
    return Sequential(
        [
            Conv2D(4, 3, input_shape=(6, 6, 3)),
            Flatten(),
            BatchNormalization(),
            PReLU(),
            Dropout(0.2),
            Activation('tanh'),
            Dense(3),
        ]
    )


@case
def flatten_out():
    return Sequential([Conv2D(4, 3, input_shape=(6, 6, 3)), Flatten()])


@case
def flatten_softmax():
    return Sequential([Conv2D(4, 3, input_shape=(6, 6, 3)), Flatten(), Activation('softmax'), Softmax(), Dense(2)])


@case
def flatten_concat():
    a = Input((6, 6, 3))
    b = Input((5,))
    c = Input((8, 2))
    x = Flatten()(Conv2D(4, 3)(a))
    y = Flatten()(Conv1D(3, 2)(c))
    z = concatenate([x, b, y])
    return Model([a, b, c], Dense(3)(Dropout(0.1)(BatchNormalization()(z))))


@case
def flatten_add():
    a = Input((6, 6, 3))
    x = Flatten()(Conv2D(4, 3)(a))
    y = Flatten()(Conv2D(4, 3)(a))
    return Model(a, Dense(3)(add([x, y])))


@case
def flatten_two_readers():
    a = Input((6, 6, 3))
    x = Flatten()(Conv2D(4, 3)(a))
    return Model(a, [Dense(3)(x), Reshape((4, 16))(x)])


@case
def flatten_shared_dense():
    a = Input((6, 6, 3))
    d = Dense(3)
    f = Flatten()
    x = d(f(Conv2D(4, 3)(a)))
    y = d(f(Conv2D(4, 3)(a)))
    return Model(a, add([x, y]))


@case
def gan_generator():
    return Sequential(
        [
            Dense(4 * 4 * 8, input_dim=10),
            LeakyReLU(0.2),
            Reshape((4, 4, 8)),
            UpSampling2D(),
            Conv2D(8, 3, padding='same'),
            BatchNormalization(momentum=0.8),
            Activation('relu'),
            Conv2DTranspose(1, 4, strides=2, padding='same', activation='tanh'),
        ]
    )


@case
def unet():
    i = Input((16, 16, 3))
    a = Conv2D(4, 3, padding='same', activation='relu')(i)
    p = MaxPooling2D()(a)
    b = Conv2D(8, 3, padding='same', activation='relu')(p)
    q = MaxPooling2D()(b)
    c = Conv2D(8, 3, padding='same')(q)
    u = concatenate([UpSampling2D()(c), b])
    d = Conv2D(4, 3, padding='same')(u)
    v = concatenate([Conv2DTranspose(4, 2, strides=2)(d), a], axis=3)
    return Model(i, Conv2D(1, 1, activation='sigmoid')(v))


@case
def unet_open():
    i = Input((None, None, 3))
    a = Conv2D(4, 3, padding='same', strides=2)(i)
    b = MaxPooling2D(3, 2, padding='same')(a)
    c = AveragePooling2D(3, 2, padding='same')(b)
    return Model(i, GlobalAveragePooling2D()(c))


@case
def textcnn():
    i = Input((20,), dtype='int32')
    e = Embedding(30, 8)(i)
    x = concatenate([GlobalMaxPooling1D()(Conv1D(4, k, activation='relu')(e)) for k in (2, 3, 4)])
    return Model(i, Dense(2, activation='softmax')(Dropout(0.5)(x)))


@case
def imdb_lstm():
    return Sequential(
        [
            Embedding(20, 8, mask_zero=True, input_length=10),
            SpatialDropout1D(0.3),
            LSTM(6, dropout=0.2, recurrent_dropout=0.2, return_sequences=True),
            Bidirectional(LSTM(4)),
            Dense(1, activation='sigmoid'),
        ]
    )


@case
def bi_native_masked():
    return Sequential(
        [
            Embedding(3, 8, mask_zero=True, input_length=10),
            Bidirectional(LSTM(4, recurrent_activation='sigmoid', return_sequences=True)),
            Bidirectional(GRU(4, recurrent_activation='sigmoid', reset_after=True)),
            Dense(1),
        ]
    )


@case
def bi_native():
    return Sequential(
        [
            Bidirectional(LSTM(4, recurrent_activation='sigmoid', return_sequences=True), input_shape=(5, 3)),
            Bidirectional(SimpleRNN(4, return_sequences=True), merge_mode='sum'),
            Bidirectional(GRU(4, recurrent_activation='sigmoid', reset_after=True)),
            Dense(1),
        ]
    )


@case
def seq2seq_masked():
    e = Input((6,), dtype='int32')
    d = Input((5,), dtype='int32')
    emb = Embedding(4, 5, mask_zero=True)
    _, h, c = LSTM(4, return_state=True, recurrent_activation='sigmoid')(emb(e))
    y = LSTM(4, return_sequences=True, recurrent_activation='sigmoid')(emb(d), initial_state=[h, c])
    return Model([e, d], TimeDistributed(Dense(3, activation='softmax'))(y))


@case
def crnn():
    i = Input((12, 8, 1))
    x = Conv2D(4, 3, padding='same')(i)
    x = MaxPooling2D((2, 2))(x)
    x = Permute((2, 1, 3))(x)
    x = Reshape((4, 24))(x)
    x = Bidirectional(GRU(3, return_sequences=True))(x)
    return Model(i, Dense(5, activation='softmax')(x))


@case
def video():
    return Sequential(
        [
            TimeDistributed(Conv2D(4, 3, activation='relu'), input_shape=(3, 8, 8, 2)),
            TimeDistributed(MaxPooling2D(2)),
            TimeDistributed(Flatten()),
            LSTM(5),
            Dense(2),
        ]
    )


@case
def convlstm_stack():
    return Sequential(
        [
            ConvLSTM2D(3, (3, 3), padding='same', return_sequences=True, input_shape=(4, 6, 6, 2)),
            BatchNormalization(),
            ConvLSTM2D(2, 3, padding='same', return_sequences=True, dropout=0.1),
            Conv3D(1, 3, padding='same', activation='sigmoid'),
        ]
    )


@case
def siamese():
    base = Sequential([Conv2D(3, 3, input_shape=(6, 6, 1)), Flatten(), Dense(4, activation='relu')])
    a = Input((6, 6, 1))
    b = Input((6, 6, 1))
    return Model(
        [a, b],
        Lambda(
            lambda t: K.sqrt(K.maximum(K.sum(K.square(t[0] - t[1]), axis=1, keepdims=True), 1e-7)), output_shape=(1,)
        )([base(a), base(b)]),
    )


@case
def siamese2():
    base = Sequential([Conv2D(3, 3, input_shape=(6, 6, 1)), Flatten(), Dense(4, activation='relu')])
    a = Input((6, 6, 1))
    b = Input((6, 6, 1))
    return Model([a, b], Dense(1, activation='sigmoid')(Lambda(lambda t: K.abs(t[0] - t[1]))([base(a), base(b)])))


@case
def se_block():
    i = Input((8, 8, 4))
    x = Conv2D(6, 3, padding='same')(i)
    s = GlobalAveragePooling2D()(x)
    s = Dense(2, activation='relu')(s)
    s = Dense(6, activation='sigmoid')(s)
    s = Reshape((1, 1, 6))(s)
    return Model(i, multiply([x, s]))


@case
def se_block2():
    i = Input((8, 8, 4))
    x = Conv2D(6, 3, padding='same')(i)
    s = GlobalAveragePooling2D()(x)
    s = Dense(6, activation='sigmoid')(s)
    return Model(i, multiply([x, s]))


@case
def attention():
    i = Input((5, 6))
    x = LSTM(4, return_sequences=True)(i)
    a = Dense(1, activation='tanh')(x)
    a = Flatten()(a)
    a = Activation('softmax')(a)
    a = RepeatVector(4)(a)
    a = Permute((2, 1))(a)
    y = multiply([x, a])
    y = Lambda(lambda x: K.sum(x, axis=1))(y)
    return Model(i, Dense(2)(y))


@case
def dot_attention():
    q = Input((4, 6))
    v = Input((5, 6))
    s = dot([q, v], axes=(2, 2))
    w = Activation('softmax')(s)
    c = dot([w, v], axes=(2, 1))
    return Model([q, v], concatenate([q, c]))


@case
def nested_mask():
    enc = Sequential([Embedding(4, 5, mask_zero=True, input_length=6), LSTM(4, return_sequences=True)], name='enc')
    i = Input((6,), dtype='int32')
    return Model(i, LSTM(3, recurrent_activation='sigmoid')(enc(i)))


@case
def nested_mask_in():
    inner = Sequential([LSTM(4, return_sequences=True, input_shape=(6, 5)), Dropout(0.1), GRU(3)], name='inner')
    i = Input((6,), dtype='int32')
    return Model(i, inner(Embedding(4, 5, mask_zero=True)(i)))


@case
def han():
    s = Input((4,), dtype='int32')
    e = Embedding(5, 3, mask_zero=True)(s)
    enc = Model(s, Bidirectional(GRU(2))(e))
    d = Input((3, 4), dtype='int32')
    return Model(d, GRU(3)(TimeDistributed(enc)(d)))


@case
def transfer():
    base = Sequential([Conv2D(4, 3, input_shape=(8, 8, 3)), BatchNormalization(), MaxPooling2D()], name='base')
    base.trainable = False
    return Sequential([base, Flatten(), Dense(4, activation='relu'), Dense(2)])


@case
def frozen_bn():
    m = Sequential([Conv2D(4, 3, input_shape=(8, 8, 3)), BatchNormalization(name='b'), Flatten(), Dense(2)])
    m.layers[1].trainable = False
    return m


@case
def autoencoder():
    i = Input((20,))
    e = Dense(5, activation='relu', name='enc')(i)
    return Model(i, Dense(20, activation='sigmoid')(e))


@case
def mlp_image_out():
    return Sequential([Flatten(input_shape=(4, 4, 2)), Dense(32), Reshape((4, 4, 2))])


@case
def channels_first():
    return Sequential(
        [
            Conv2D(4, 3, data_format='channels_first', input_shape=(3, 8, 8)),
            BatchNormalization(axis=1),
            MaxPooling2D(2, data_format='channels_first'),
            Flatten(data_format='channels_first'),
            Dense(2),
        ]
    )


@case
def channels_first_flat_last():
    return Sequential([Conv2D(4, 3, data_format='channels_first', input_shape=(3, 8, 8)), Flatten(), Dense(2)])


@case
def mc_dropout():
    i = Input((5,))
    return Model(i, Dense(2)(Dropout(0.0)(Dense(3)(i), training=True)))


@case
def bn_no_training():
    i = Input((5,))
    return Model(i, Dense(2)(BatchNormalization()(Dense(3)(i), training=False)))


@case
def wavenet():
    i = Input((16, 3))
    x = Conv1D(4, 2, padding='causal')(i)
    skips = []
    for d in (1, 2, 4):
        t = Conv1D(4, 2, padding='causal', dilation_rate=d, activation='tanh')(x)
        s = Conv1D(4, 2, padding='causal', dilation_rate=d, activation='sigmoid')(x)
        g = multiply([t, s])
        s = Conv1D(4, 1)(g)
        skips.append(s)
        x = add([x, s])
    return Model(i, Conv1D(1, 1)(Activation('relu')(add(skips))))


@case
def conv1d_lstm():
    return Sequential(
        [
            Conv1D(4, 3, activation='relu', input_shape=(12, 2)),
            MaxPooling1D(2),
            LSTM(3, return_sequences=True),
            Conv1D(2, 2),
            Flatten(),
            Dense(1),
        ]
    )


@case
def softmax_pixels():
    return Sequential([Conv2D(4, 3, padding='same', input_shape=(4, 4, 2)), Softmax(axis=-1), Softmax(axis=1)])


@case
def seg_reshape():
    return Sequential([Conv2D(3, 3, padding='same', input_shape=(4, 4, 2)), Reshape((16, 3)), Activation('softmax')])


@case
def custom_activation():
    def swish(x):
        return x * K.sigmoid(x)

    return Sequential(
        [
            Conv2D(3, 3, activation=swish, input_shape=(6, 6, 2)),
            Activation(swish),
            GlobalMaxPooling2D(),
            Dense(2, activation=lambda x: K.relu(x, max_value=6.0)),
        ]
    )


@case
def lambda_slices():
    i = Input((6,))
    a = Lambda(lambda x: x[:, :3])(i)
    b = Lambda(lambda x, n: x[:, n:], arguments={'n': 3})(i)
    return Model(i, concatenate([Dense(2)(a), Dense(2)(b)]))


@case
def two_in_conv():
    a = Input((6, 6, 3))
    b = Input((6, 6, 1))
    x = concatenate([a, b])
    return Model([a, b], [Conv2D(2, 3)(x), GlobalMaxPooling2D()(x)])


@case
def pool1d_same():
    return Sequential(
        [
            Conv1D(3, 4, strides=2, padding='same', input_shape=(11, 2)),
            AveragePooling1D(3, 2, padding='same'),
            MaxPooling1D(2, 1, padding='same'),
            GlobalAveragePooling1D(),
        ]
    )


@case
def pool3d_same_smaller_than_its_window():
    small = AveragePooling3D(3, 1, padding='same', input_shape=(2, 5, 1, 2))
    return Sequential([small, MaxPooling3D(2, padding='same')])


@case
def conv3d_net():
    return Sequential(
        [Conv3D(3, 3, input_shape=(6, 6, 6, 2)), MaxPooling3D(2), BatchNormalization(), Flatten(), Dense(2)]
    )


@case
def stateful_stack():
    return Sequential(
        [LSTM(4, stateful=True, return_sequences=True, batch_input_shape=(3, 4, 2)), GRU(3, stateful=True), Dense(1)]
    )


@case
def same_name_reserved():
    return Sequential(
        [
            Dense(3, name='type', input_shape=(4,)),
            Dense(3, name='forward'),
            Dense(2, name='class'),
            Dense(2, name='1/2 a-b'),
            Dense(2, name='train'),
            Dense(2, name='training'),
            Dense(2, name='ﬁ²'),
            Dense(2, name='F'),
            Dense(2, name='pad_same'),
        ]
    )


@case
def shared_model_before_recurrence():
    base = Sequential([Conv2D(3, 3, input_shape=(6, 6, 1)), MaxPooling2D()])
    frames, image = Input((3, 6, 6, 1)), Input((6, 6, 1))
    x = ConvLSTM2D(2, 2, padding='same')(TimeDistributed(base)(frames))
    return Model([frames, image], concatenate([x, base(image)]))


@case
def stacked_cells_under_a_mask():
    ids, h, c = Input((7,), dtype='int32'), Input((3,)), Input((4,))
    x = Embedding(3, 3, mask_zero=True)(ids)
    cells = [LSTMCell(4, recurrent_activation='sigmoid'), GRUCell(3)]
    y = Bidirectional(RNN(cells, unroll=True, return_sequences=True))(x)
    cells = [SimpleRNNCell(3), SimpleRNNCell(4)]
    return Model([ids, h, c], [y, *RNN(cells, unroll=True, return_state=True)(x, initial_state=[h, c])])


@case
def stacked_cells_of_keras_2_under_a_mask():
    ids, h, c = Input((7,), dtype='int32'), Input((3,)), Input((3,))
    x = Embedding(3, 3, mask_zero=True)(ids)
    y = RNN([LSTMCell(4, recurrent_activation='sigmoid'), GRUCell(4)], return_sequences=True)(x)
    z = RNN([GRUCell(3), SimpleRNNCell(3)], return_state=True, go_backwards=True)(x, initial_state=[h, c])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)
        cells = StackedRNNCells([GRUCell(2), LSTMCell(3)], reverse_state_order=True)
    return Model([ids, h, c], [y, *z, RNN(cells)(x), Bidirectional(RNN([GRUCell(2), GRUCell(2)]))(x)])


@case
def models_called_with_and_without_a_mask():
    x, ids = Input((5, 3)), Input((5,), dtype='int32')
    deep = Sequential([BatchNormalization(input_shape=(5, 3)), GRU(3, return_sequences=True)], name='deep')
    inner = Sequential([Activation('tanh', input_shape=(5, 3)), deep, Dropout(0.3), LSTM(2)], name='inner')
    masked = Embedding(3, 3, mask_zero=True)(ids)
    return Model([x, ids], [inner(masked), inner(x), deep(masked), GlobalAveragePooling1D()(deep(masked)), deep(x)])


@case
def strided_1x1_convolutions():
    x = Input((61, 60, 8))
    return Model(x, [Conv2D(16, 1, strides=(2, 3), padding='same')(x), Conv2D(8, 1, strides=2)(Activation('relu')(x))])


@case
def inputs_of_odd_names():
    inputs = [Input((3,), name=name) for name in ('self', 'torch', 'x', 'a b', 'a_b')]
    return Model(inputs, add([Dense(2, name=f'of {x._keras_history[0].name}')(x) for x in inputs]))


@case
def sequential_torch():
    return Sequential(
        [Dense(3, input_shape=(4,)), torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 2))]
    )


@case
def masking_add():
    i = Input((5, 3))
    m = Masking()(i)
    a = LSTM(3, return_sequences=True)(m)
    b = GRU(3, return_sequences=True)(m)
    return Model(i, LSTM(2)(add([a, b])))


@case
def masked_gap():
    return Sequential([Embedding(3, 4, mask_zero=True, input_length=6), GlobalAveragePooling1D(), Dense(2)])


@case
def noises():
    return Sequential(
        [
            GaussianNoise(0.1, input_shape=(4,)),
            Dense(3, activation='selu'),
            AlphaDropout(0.1),
            GaussianDropout(0.1),
            Dense(2),
        ]
    )


@case
def prelu_conv():
    return Sequential(
        [Conv2D(3, 3, input_shape=(6, 6, 2)), PReLU(shared_axes=[1, 2]), Conv2D(3, 3), PReLU(), Flatten(), Dense(2)]
    )


@case
def sep():
    return Sequential(
        [
            SeparableConv2D(
                4, 3, padding='same', strides=2, depth_multiplier=2, input_shape=(7, 7, 3), activation='relu'
            ),
            DepthwiseConv2D(3, padding='same'),
            GlobalAveragePooling2D(),
        ]
    )


@case
def shared_nested_in_nested():
    base = Sequential([Dense(4, input_shape=(3,))], name='base')
    i = Input((3,))
    a = Model(i, Dense(2)(base(i)), name='a')
    j = Input((3,))
    return Model(j, concatenate([a(j), base(j)]))


@case
def gru_states():
    i = Input((4, 3))
    s = Input((5,))
    y, h = GRU(5, return_sequences=True, return_state=True)(i, initial_state=s)
    return Model([i, s], [y, h])


@case
def reuse_encoder():
    i = Input((4,))
    e = Dense(3, name='e')
    d = Dense(4)
    d(e(i))
    enc = Model(i, e(i))
    j = Input((4,))
    return Model(j, concatenate([enc(j), e(j)]))


@case
def permute_image():
    return Sequential([Permute((3, 1, 2), input_shape=(5, 6, 2)), Conv2D(3, 3, data_format='channels_first')])


@case
def time_dense_conv_image():
    return Sequential([Dense(4, input_shape=(5, 5, 3)), Conv2D(2, 3), Dense(3, activation='softmax')])


@case
def td_model_image():
    b = Sequential([Conv2D(2, 3, input_shape=(5, 5, 1)), Flatten(), Dense(3)])
    return Sequential([TimeDistributed(b, input_shape=(4, 5, 5, 1)), LSTM(2)])


@case
def td_conv_out():
    return Sequential([TimeDistributed(Conv2D(2, 3), input_shape=(4, 5, 5, 1)), TimeDistributed(BatchNormalization())])


@case
def vae():
    def sampling(args):
        mean, log_var = args
        return mean + K.exp(0.5 * log_var) * 0.0

    i = Input((6,))
    h = Dense(4, activation='relu')(i)
    m = Dense(2)(h)
    v = Dense(2)(h)
    z = Lambda(sampling, output_shape=(2,))([m, v])
    return Model(i, Dense(6)(z))


@case
def rank_broadcast():
    i = Input((5, 5, 4))
    v = Input((4,))
    return Model([i, v], add([Conv2D(4, 3, padding='same')(i), v]))


@case
def bi_return_state():
    i = Input((4, 3))
    y, h, c, h2, c2 = Bidirectional(LSTM(3, return_state=True, return_sequences=True))(i)
    return Model(i, [y, concatenate([h, h2]), c, c2])


@case
def bi_states_flow():
    i = Input((4, 3))
    y, h, h2 = Bidirectional(GRU(3, return_state=True, recurrent_activation='sigmoid', reset_after=True))(i)
    d = Input((5, 2))
    z = GRU(3, return_sequences=True)(d, initial_state=[h])
    return Model([i, d], [z, y, h2])


@case
def bi_masked_modes():
    i = Input((6,), dtype='int32')
    e = Embedding(4, 5, mask_zero=True)(i)
    a = Bidirectional(LSTM(3, return_sequences=True, recurrent_activation='sigmoid'), merge_mode='sum')(e)
    b = Bidirectional(GRU(3), merge_mode='ave')(a)
    c = Bidirectional(SimpleRNN(3), merge_mode='mul')(e)
    return Model(i, [b, c])


@case
def unroll_mask_state():
    i = Input((6,), dtype='int32')
    s = Input((3,))
    e = Embedding(3, 5, mask_zero=True)(i)
    y = SimpleRNN(3, unroll=True, return_sequences=True)(e, initial_state=s)
    return Model([i, s], y)


@case
def lstm_masked_states():
    i = Input((6,), dtype='int32')
    e = Embedding(3, 5, mask_zero=True)(i)
    y, h, c = LSTM(3, return_state=True, recurrent_activation='sigmoid')(e)
    y2, h2, c2 = LSTM(3, return_state=True)(e)
    return Model(i, [y, h, c, h2, c2])


@case
def convlstm_states():
    i = Input((3, 5, 5, 2))
    y, h, c = ConvLSTM2D(2, 3, padding='same', return_sequences=True, return_state=True)(i)
    z = ConvLSTM2D(2, 3, padding='same', go_backwards=True)([y, h, c])
    return Model(i, [z, h])


@case
def bi_convlstm():
    return Sequential(
        [
            Bidirectional(ConvLSTM2D(2, 3, padding='same', return_sequences=True), input_shape=(3, 5, 5, 2)),
            TimeDistributed(MaxPooling2D(2)),
            TimeDistributed(Flatten()),
            GRU(3),
        ]
    )


@case
def cudnn():
    return Sequential(
        [
            CuDNNLSTM(3, return_sequences=True, input_shape=(5, 2)),
            Bidirectional(CuDNNGRU(3, return_sequences=True)),
            CuDNNGRU(2),
        ]
    )


@case
def bn_axes():
    i = Input((4, 5))
    j = Input((4, 5, 6))
    return Model(
        [i, j],
        [
            BatchNormalization()(i),
            BatchNormalization(axis=1)(i),
            BatchNormalization(axis=1)(j),
            BatchNormalization(axis=2)(j),
            BatchNormalization(scale=False, center=False)(j),
        ],
    )


@case
def same_even():
    return Sequential(
        [
            Conv2D(2, 2, padding='same', input_shape=(5, 6, 2)),
            Conv2D(2, 4, strides=3, padding='same'),
            Conv2DTranspose(2, 5, strides=2, padding='same'),
            MaxPooling2D(4, 1, padding='same'),
            AveragePooling2D(4, 3, padding='same'),
        ]
    )


@case
def open_same():
    return Sequential(
        [
            Conv2D(2, 2, padding='same', input_shape=(None, None, 2)),
            Conv2D(2, 4, strides=3, padding='same'),
            Conv2DTranspose(2, 5, strides=2, padding='same'),
            MaxPooling2D(4, 1, padding='same'),
            AveragePooling2D(4, 3, padding='same'),
            MaxPooling2D(2, 2, padding='same'),
        ]
    )


@case
def open_time():
    return Sequential(
        [
            Conv1D(3, 3, padding='same', strides=2, input_shape=(None, 2)),
            AveragePooling1D(3, padding='same'),
            LSTM(2, return_sequences=True),
            TimeDistributed(Dense(2)),
        ]
    )


@case
def dots():
    a = Input((4,))
    b = Input((4,))
    c = Input((3, 4))
    return Model(
        [a, b, c],
        [
            dot([a, b], 1, normalize=True),
            dot([c, a], (2, 1)),
            dot([a, c], (1, 2)),
            dot([c, c], 1),
            dot([c, c], (1, 1), normalize=True),
        ],
    )


@case
def td_various():
    return Sequential(
        [
            TimeDistributed(Dense(4, activation='softmax'), input_shape=(3, 5)),
            TimeDistributed(Dropout(0.2)),
            TimeDistributed(BatchNormalization()),
            TimeDistributed(Activation('tanh')),
            TimeDistributed(Reshape((2, 2))),
            TimeDistributed(LSTM(3)),
        ]
    )


@case
def td_embed():
    return Sequential(
        [
            TimeDistributed(Embedding(3, 4, mask_zero=True), batch_input_shape=(None, 3, 4)),
            TimeDistributed(LSTM(2)),
            LSTM(2),
        ]
    )


@case
def nested_multi():
    a = Input((3,))
    b = Input((4,))
    inner = Model([a, b], [Dense(2)(a), Dense(3)(concatenate([a, b]))], name='inner')
    i = Input((3,))
    j = Input((4,))
    p, q = inner([i, j])
    r, s = inner([i, j])
    return Model([i, j], [add([p, r]), concatenate([q, s])])


@case
def frozen_all():
    m = Sequential([Dense(3, input_shape=(4,)), BatchNormalization(), Dense(2)])
    m.trainable = False
    return m


@case
def frozen_lstm():
    m = Sequential(
        [LSTM(3, recurrent_activation='sigmoid', return_sequences=True, input_shape=(4, 2)), Bidirectional(GRU(2))]
    )
    m.layers[0].trainable = False
    return m


@case
def closures():
    k = 3
    w = [1, 2.0]

    def scale(x):
        return x * w[1] + k

    def outer(x, f=2):
        return scale(x) * f

    i = Input((4,))
    return Model(i, Lambda(outer, arguments={'f': 4})(Lambda(lambda x: x**k)(i)))


@case
def lambda_k():
    i = Input((4, 3))
    xs = [
        Lambda(f)(i)
        for f in (
            lambda x: K.mean(x, axis=1),
            lambda x: K.max(x, 1),
            lambda x: K.l2_normalize(x, -1),
            lambda x: K.expand_dims(x),
            lambda x: K.softmax(x),
            lambda x: K.permute_dimensions(x, (0, 2, 1)),
            lambda x: K.reshape(x, (-1, 12)),
            lambda x: K.concatenate([x, x]),
            lambda x: K.clip(x, 0.0, 1.0),
            lambda x: x[:, -1],
            lambda x: K.std(x, axis=1, keepdims=True),
            lambda x: K.batch_flatten(x),
            lambda x: K.repeat_elements(x, 2, 1),
            lambda x: K.hard_sigmoid(x),
            lambda x: K.relu(x, alpha=0.1),
            lambda x: K.sum(x, axis=[1, 2]),
            lambda x: x / K.int_shape(x)[1],
            lambda x: K.maximum(x, 0.0),
        )
    ]
    return Model(i, xs)


@case
def residual_long():
    i = Input((8, 8, 3))
    x = s = Conv2D(4, 3, padding='same')(i)
    for _ in range(8):
        x = Activation('relu')(BatchNormalization()(Conv2D(4, 3, padding='same')(x)))
    return Model(i, add([x, s]))


@case
def rnn_acts():
    return Sequential(
        [
            LSTM(3, activation='relu', recurrent_activation='tanh', return_sequences=True, input_shape=(4, 2)),
            GRU(3, activation='softsign', recurrent_activation='linear', return_sequences=True),
            SimpleRNN(2, activation='softmax'),
        ]
    )


@case
def rnn_cells():
    return Sequential(
        [
            RNN(
                [LSTMCell(3, recurrent_activation='sigmoid'), GRUCell(2, dropout=0.1)],
                return_sequences=True,
                input_shape=(4, 2),
            ),
            RNN(SimpleRNNCell(2)),
        ]
    )


@case
def masked_concat():
    i = Input((4,), dtype='int32')
    j = Input((4, 3))
    e = Embedding(3, 2, mask_zero=True)(i)
    return Model([i, j], LSTM(2)(concatenate([e, j])))


@case
def masked_flow_merge():
    i = Input((4,), dtype='int32')
    j = Input((4,), dtype='int32')
    E = Embedding(3, 2, mask_zero=True)
    return Model(
        [i, j],
        [LSTM(2)(multiply([E(i), E(j)])), GRU(2)(concatenate([E(i), E(j)])), GlobalAveragePooling1D()(Dense(3)(E(i)))],
    )


@case
def shared_conv_sizes():
    c = Conv2D(2, 3, strides=2, padding='same')
    a = Input((7, 7, 1))
    b = Input((8, 8, 1))
    return Model([a, b], [c(a), c(b)])


@case
def input_image_as_output():
    i = Input((4, 4, 2))
    return Model(i, [i, Conv2D(2, 3)(i)])


@case
def locally():
    return Sequential(
        [LocallyConnected2D(3, (3, 2), strides=(2, 1), input_shape=(7, 5, 2), activation='relu'), Flatten(), Dense(2)]
    )


@case
def relus():
    return Sequential(
        [
            Dense(4, input_shape=(3,)),
            ReLU(6.0),
            ReLU(negative_slope=0.1),
            ReLU(threshold=0.2, max_value=1.0, negative_slope=0.3),
            ThresholdedReLU(0.1),
            ELU(0.5),
            LeakyReLU(),
        ]
    )


@case
def acts():
    return Sequential(
        [
            Dense(4, activation=a, **({'input_shape': (3,)} if n == 0 else {}))
            for n, a in enumerate(
                [
                    'relu',
                    'tanh',
                    'sigmoid',
                    'hard_sigmoid',
                    'softplus',
                    'softsign',
                    'elu',
                    'selu',
                    'exponential',
                    'linear',
                    'softmax',
                ]
            )
        ]
    )


@case
def up_bilinear():
    return Sequential([Conv2D(2, 3, input_shape=(5, 5, 2)), UpSampling2D((2, 3), interpolation='bilinear')])


@case
def crop3d():
    return Sequential(
        [
            Cropping3D(((1, 0), (0, 1), (1, 1)), input_shape=(4, 4, 5, 2)),
            UpSampling3D(2),
            ZeroPadding3D(1),
            AveragePooling3D(2, padding='same'),
            GlobalAveragePooling3D(),
        ]
    )


@case
def crop_pad_1d():
    return Sequential(
        [Conv1D(3, 2, input_shape=(9, 2)), ZeroPadding1D((1, 2)), Cropping1D((2, 1)), UpSampling1D(2), Dense(2)]
    )


# ---------------------------------------------------------------- kept for reading


def digits():
    """A convolutional network with what most have."""
    model = Sequential(
        [
            Conv2D(16, 3, activation='relu', padding='same', input_shape=(12, 12, 1), name='conv1'),
            BatchNormalization(name='bn1'),
            MaxPooling2D(name='pool1'),
            Conv2D(32, 3, strides=2, padding='same', activation='relu', name='conv2'),
            Dropout(0.25, name='drop1'),
            Flatten(name='flatten'),
            Dense(64, activation='relu', name='hidden'),
            Dropout(0.5, name='drop2'),
            Dense(10, activation='softmax', name='digit'),
        ],
        name='digits',
    )
    model.compile('adam', 'sparse_categorical_crossentropy')
    return model


def reviews():
    """Words with a mask, Keras' LSTM both ways, and an LSTM that is torch's own."""
    words = Input((20,), dtype='int32', name='words')
    x = Embedding(1000, 16, mask_zero=True, name='embedding')(words)
    x = Bidirectional(LSTM(8, return_sequences=True, dropout=0.2), name='both')(x)
    x = LSTM(8, recurrent_activation='sigmoid', name='last')(x)
    model = Model(words, Dense(1, activation='sigmoid', name='positive')(x), name='reviews')
    model.compile('rmsprop', 'binary_crossentropy')
    return model


def pairs():
    """A network for single images, used twice; the distance of a script's own; two outputs."""
    eye = Sequential(
        [
            Conv2D(8, 5, padding='same', strides=2, input_shape=(None, None, 3), name='conv'),
            LeakyReLU(0.2, name='leaky'),
            GlobalAveragePooling2D(name='mean'),
            Dense(4, name='features'),
        ],
        name='eye',
    )
    left, right = Input((32, 32, 3), name='left'), Input((32, 32, 3), name='right')
    a, b = eye(left), eye(right)
    distance = Lambda(lambda t: K.sqrt(K.sum(K.square(t[0] - t[1]), axis=1, keepdims=True)), name='distance')([a, b])
    same = Dense(1, activation='sigmoid', name='same')(concatenate([a, b, distance], name='all'))
    return Model([left, right], [same, distance], name='pairs')


def residual():
    """Branches that meet again, a frozen layer, and layers that wait to be ported."""
    image = Input((16, 16, 3), name='image')
    x = Conv2D(8, 3, padding='same', name='stem')(image)
    y = BatchNormalization(name='bn', trainable=False)(Activation('relu', name='relu1')(x))
    y = Conv2D(8, 3, padding='same', name='inner')(y)
    x = add([x, y], name='sum')
    x = Lambda(lambda x: K.resize_images(x, 2, 2, 'channels_last'), name='larger')(x)
    x = Pool(3, name='pool')(Conv2D(2, 1, name='last')(x))
    return Model(image, x, name='residual')


class Pool(Layer):
    """Maximum over rows and columns, plus what is learned for each channel."""

    def __init__(self, power, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def build(self, input_shape):
        self.offset = self.add_weight(name='offset', shape=(input_shape[-1],), initializer='zeros')
        super().build(input_shape)

    def call(self, x):
        return K.max(x, axis=[1, 2]) ** self.power + self.offset

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1]

    def get_config(self):
        return {**super().get_config(), 'power': self.power}


SNAPSHOTS = {make.__name__: make for make in (digits, reviews, pairs, residual)}
