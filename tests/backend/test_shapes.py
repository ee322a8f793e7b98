"""Static shapes where sizes are open: what TensorFlow's inference knew is known, what it left open is None."""
import json
import subprocess
import sys
import time
from pathlib import Path

import chains
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers
from kfacade.backend import shapes
from kfacade.backend.symbolic import record
from kfacade.layers import Activation, BatchNormalization, Conv2D, Dense, Input, Lambda, Layer, MaxPooling2D
from kfacade.models import Model

CHAINS = [json.loads(line) for line in (Path(__file__).parent / 'chains.jsonl').read_text().splitlines()]


def P(*shape):
    return K.placeholder(shape)


def W(*shape):
    return K.variable(np.ones(shape))


def value(symbol, *fed):
    return K.function([x for x, _ in fed], [symbol])([v for _, v in fed])[0]


# ---------------------------------------------------------------- random chains

def test_chains_of_functions_have_the_static_shapes_of_keras_and_no_value_contradicts_them():
    table, equal, count = chains.functions(K), 0, 0
    for chain in CHAINS:
        tensors = [P(*shape) for shape, _, _ in chain['inputs']]
        inputs = tensors[:]
        for function, numbers, options in chain['steps']:
            tensors.append(table[function](*[tensors[i] for i in numbers], **options))
        results = tensors[len(inputs):]
        compiled = K.function(inputs, results)
        for which in (1, 2):
            random = np.random.RandomState(which)
            found = compiled([random.normal(size=given[which]) for given in chain['inputs']])
            for step, symbol, array in zip(chain['steps'], results, found):
                static = K.int_shape(symbol)
                assert len(static) == array.ndim and all(
                    size in (None, real) for size, real in zip(static, array.shape)), (step, static, array.shape)
        equal += sum(K.int_shape(symbol) == tuple(shape) for symbol, shape in zip(results, chain['shapes']))
        count += len(results)
    assert len(CHAINS) >= 200 and equal >= .99 * count, (equal, count)


# ---------------------------------------------------------------- what TensorFlow 1.13 says of single calls

def sized(x):
    return K.shape(x)


OPEN, KNOWN = (None, None, 4), (None, 7, 4)


@pytest.mark.parametrize('shape, expression, expected', [
    (OPEN, lambda x: x + W(1, 7, 4), (None, 7, 4)),
    (OPEN, lambda x: W(2, 7, 4) * x, (2, 7, 4)),
    (OPEN, lambda x: x + W(1, 1, 1), OPEN),
    ((None, None), lambda x: x + P(None, 1), (None, None)),
    ((None, None), lambda x: x > W(3, 4), (3, 4)),
    ((None, None), lambda x: K.dot(x, W(3, 4)), (None, 4)),
    ((None, None, None), lambda x: K.dot(x, K.placeholder(ndim=3)), (None,) * 4),
    ((None,), lambda x: torch.matmul(x, W(4, 3)), (3,)),
    ((None, None), lambda x: K.bias_add(x, W(7)), (None, 7)),
    ((None, None), lambda x: K.bias_add(x, W(1)), (None, 1)),
    ((None, None, None, None), lambda x: K.batch_normalization(x, W(5), W(5), W(5), W(5)), (None, None, None, 5)),
    ((None, None, None, None), lambda x: K.normalize_batch_in_training(x, W(5), W(5), [0, 1, 2])[0],
     (None, None, None, 5)),
    ((None, None, None), lambda x: K.normalize_batch_in_training(x, W(5), W(5), [0, 1])[1], (None,)),
    ((None, None), lambda x: K.categorical_crossentropy(P(4, 7), x), (4,)),
    ((None, None), lambda x: K.binary_crossentropy(P(4, 7), x), (4, 7)),
    ((None,) * 4, lambda x: K.conv2d(x, W(3, 3, 2, 5)), (None, None, None, 5)),
    ((None,) * 3, lambda x: K.conv1d(x, W(3, 2, 5), padding='causal'), (None, None, 5)),
    ((None,) * 5, lambda x: K.conv3d(x, W(3, 3, 3, 2, 5)), (None, None, None, None, 5)),
    ((None,) * 4, lambda x: K.depthwise_conv2d(x, W(3, 3, 2, 3)), (None, None, None, 6)),
    ((None,) * 4, lambda x: K.separable_conv2d(x, W(3, 3, 2, 1), W(1, 1, 2, 5)), (None, None, None, 5)),
    ((None,) * 4, lambda x: K.conv2d_transpose(x, W(3, 3, 2, 5), (sized(x)[0], 28, 28, 2), (2, 2), 'same'),
     (None, 28, 28, 2)),
    ((None, None, None, 5), lambda x: K.conv2d_transpose(x, W(3, 3, 2, 5), (sized(x)[0], sized(x)[1] * 2, 28, 2),
                                                         (2, 2), 'same'), (None, None, 28, 2)),
    ((None, None, 3), lambda x: K.local_conv1d(x, W(5, 6, 4), (2,), (1,)), (None, 5, 4)),
    ((None, None, 2), lambda x: K.concatenate([x, P(None, 7, 3)], -1), (None, 7, 5)),
    ((None, None, 2), lambda x: K.concatenate([x, P(None, 7, None)], 0), (None, 7, 2)),
    (OPEN, lambda x: K.stack([x, P(2, 7, None)]), (2, 2, 7, 4)),
    ((None, 6, None), lambda x: K.batch_dot(x, P(None, 7, 3), axes=[2, 1]), (None, 6, 3)),
    ((None, None), lambda x: K.batch_dot(x, P(4, 7), axes=1), (4, 1)),
    (OPEN, lambda x: K.batch_dot(x, x, axes=[1, 2]), (None, 4, None)),
    (OPEN, lambda x: x[:, :10], OPEN), (OPEN, lambda x: x[:, 0:1], OPEN), (OPEN, lambda x: x[:, 2000:], OPEN),
    (OPEN, lambda x: x[:, -3:], OPEN), (OPEN, lambda x: x[:, 1000], (None, 4)), (OPEN, lambda x: x[:, ::-1], OPEN),
    (KNOWN, lambda x: x[:, :sized(x)[1]], OPEN), (KNOWN, lambda x: x[:, :sized(P(None, 4))[0]], OPEN),
    (KNOWN, lambda x: x[:, sized(x)[1] - 1], (None, 4)), (KNOWN, lambda x: x[:, :sized(P(3, 4))[1]], (None, 4, 4)),
    (OPEN, lambda x: K.slice(x, [0, 0, 0], [-1, 3, -1]), (None, 3, 4)),
    (OPEN, lambda x: K.slice(x, [0, 0, 0], [-1, -1, 2]), (None, None, 2)),
    (KNOWN, lambda x: K.reshape(x, (sized(x)[0], -1)), (None, None)),
    (KNOWN, lambda x: K.reshape(x, (sized(x)[0], sized(x)[1], 4)), OPEN),
    (KNOWN, lambda x: K.reshape(x, sized(x)), KNOWN),
    (KNOWN, lambda x: K.reshape(x, K.concatenate([sized(x)[:2], [4]], 0)), KNOWN),
    ((None, 3), lambda x: K.reshape(x, (sized(x)[0], -1, 32, 3)), (None, None, 32, 3)),
    ((None, None), lambda x: K.reshape(x, (sized(x)[0], 4, 10)), (None, 4, 10)),
    (OPEN, lambda x: K.reshape(x, (sized(x)[0], sized(x)[1] // 7, 28)), (None, None, 28)),
    ((None, 12), lambda x: K.reshape(x, (-1, 3, 4)), (None, 3, 4)),
    (KNOWN, K.batch_flatten, (None, None)), ((2, 3, 4), K.batch_flatten, (2, 12)),
    (OPEN, lambda x: K.zeros((K.minimum(sized(x)[1], 10), 3)), (None, 3)),
    (OPEN, lambda x: K.zeros((K.cast(K.cast(sized(x)[1], 'float32') * .5, 'int32'), 2)), (None, 2)),
    (OPEN, lambda x: K.zeros((sized(x)[1] % 2, 3)), (None, 3)),
    (KNOWN, lambda x: K.random_normal((sized(x)[0], sized(x)[1], 3)), (None, None, 3)),
    (KNOWN, lambda x: K.random_normal(sized(x)), KNOWN),
    (OPEN, lambda x: K.tile(P(3, 4), K.stack([sized(x)[0], 1])), (None, 4)),
    (OPEN, lambda x: K.one_hot(K.argmax(x), sized(x)[1]), (None, None, None)),
    ((None, 3), lambda x: K.in_train_phase(x, P(2, None)), (None, None)),
    ((None, 3), lambda x: K.switch(K.sum(x) > 0, lambda: x, lambda: P(2, None)), (None, None)),
    ((None, 1, 3), lambda x: K.switch(K.sum(x) > 0, lambda: x, lambda: P(None, None, 4))[:, :, :1], (None, None, None)),
    (KNOWN, lambda x: K.rnn(lambda i, s: (i + s[0], [i]), x, [x[:, 0]])[1], OPEN),
    ((None, 1, 3), lambda x: K.switch(K.sum(x) > 0, lambda: x, lambda: P(None, None, 4))[:, :, :1], (None, None, None)),
    (KNOWN, lambda x: K.rnn(lambda i, s: (i + s[0], [i]), x, [x[:, 0]], unroll=True)[1], KNOWN),
    ((3, 4), lambda x: K.map_fn(lambda row: row * 2, x), (3, 4)),
    ((None, None, 5), lambda x: K.ctc_decode(x, P(None))[0][0], (None, None)),
    (KNOWN, lambda x: x[x > 0], (None,)), (KNOWN, lambda x: x[P(None) > 0], KNOWN),
    (KNOWN, torch.unique, (None,)),
    (KNOWN, torch.nonzero, (None, 3)), (KNOWN, lambda x: torch.masked_select(x, x > 0), (None,)),
])
def test_static_shapes(shape, expression, expected):
    assert K.int_shape(expression(P(*shape))) == expected


@pytest.mark.parametrize('factor', [7, 9, 11, 14, 28, 100])
def test_any_factor_divides_an_open_size(factor):
    x = P(None, 3)
    y = K.reshape(x, (K.shape(x)[0] // factor, factor, 3))
    z = K.reshape(x, (-1, factor, 3))
    assert y.shape == z.shape == (None, factor, 3)
    assert value(y, (x, np.ones((2 * factor, 3)))).shape == (2, factor, 3)


def test_code_that_reads_the_static_shape_is_not_told_a_guess():
    class Scaled(Layer):
        def call(self, x):
            y = x + K.variable(np.ones((1, 7, 4)))
            return y * (K.int_shape(y)[0] or 2)
    i = Input((None, 4))
    np.testing.assert_array_equal(Model(i, Scaled()(i)).predict(np.ones((3, 7, 4))), np.full((3, 7, 4), 4.))


def test_an_unknown_size_keeps_its_identity():
    x, y = P(None, None, 4), P(None, None, 4)
    assert shapes.pairs_of(x[:, 1:]) == shapes.pairs_of(x[:, :-1]) != shapes.pairs_of(x)
    assert shapes.pairs_of(K.relu(x)) == shapes.pairs_of(x)
    assert len({pair for t in (x, y, x + y) for pair in shapes.pairs_of(t)[:2]}) == 6
    assert shapes.pairs_of(x + K.zeros((1, 7, 1)))[0] == shapes.pairs_of(x)[0]


@pytest.mark.parametrize('expression', [
    lambda: K.dot(P(None, 4), W(3, 5)), lambda: K.conv2d(P(None, 8, 8, 4), W(3, 3, 2, 5)), lambda: P(None, 4) + W(3),
    lambda: K.concatenate([P(None, 4, 3), P(None, 5, 2)]), lambda: K.reshape(P(2, 3), (4, 2)),
    lambda: K.conv2d_transpose(P(None, 8, 8, 4), W(3, 3, 2, 5), (1, 8, 8, 2)), lambda: K.squeeze(P(None, 3), 1),
    lambda: K.bias_add(P(None, 4), W(1)), lambda: P(None, 2)[:, 5]])
def test_what_no_sizes_suit_is_refused(expression):
    with pytest.raises(ValueError, match='cannot be applied to'):
        expression()


# ---------------------------------------------------------------- callbacks

@pytest.mark.parametrize('function, expected', [
    (lambda row: row * K.cast(K.arange(K.shape(row)[0]), 'float32'), [[0, 2, 6], [0, 5, 12]]),
    (lambda row: row + 0 * K.random_uniform(K.shape(row)), [[1, 2, 3], [4, 5, 6]]),
    (lambda row: K.tile(row, K.stack([K.shape(row)[0]]))[:2], [[1, 2], [4, 5]]),
    (lambda row: K.reshape(row, (K.shape(row)[0], 1))[:, 0], [[1, 2, 3], [4, 5, 6]])])
def test_callbacks_may_compute_with_sizes(function, expected):
    x = P(None, 3)
    np.testing.assert_array_equal(value(K.map_fn(function, x), (x, [[1, 2, 3], [4, 5, 6]])), expected)


def test_a_step_may_compute_with_sizes():
    def step(inputs, states):
        count = K.shape(inputs)[0]
        rows = K.expand_dims(K.cast(K.arange(count), 'float32'))
        new = inputs * K.tile(K.constant([[1., 10.]]), K.stack([count, 1])) + rows + states[0]
        return new, [new]
    x = P(None, None, 2)
    last, outputs, _ = K.rnn(step, x, [K.zeros_like(x[:, 0])])
    assert last.shape == (None, 2) and outputs.shape == (None, None, 2)
    np.testing.assert_array_equal(value(last, (x, np.ones((2, 3, 2)))), [[3, 30], [6, 33]])


def test_sizes_that_data_decide_in_a_callback():
    x = P(None, 3)
    y = K.map_fn(lambda row: K.sum(row[row > 1]), x)
    assert y.shape == (None,)
    np.testing.assert_array_equal(value(y, (x, [[1, 2, 3], [0, 1, 4]])), [5, 4])


class Own(Exception):
    pass


@pytest.mark.parametrize('error', [Own('mine'), NotImplementedError(), ValueError('bad'), RuntimeError(), KeyError('k'),
                                   AssertionError()])
def test_an_exception_of_a_clients_own_stays_as_it_is(error):
    def function(row):
        raise error
    with pytest.raises(type(error)) as caught:
        K.map_fn(function, P(None, 3))
    assert caught.value is error


def test_nothing_real_changes_while_shapes_are_found():
    count, given, module = torch.zeros(3), torch.zeros(3), torch.nn.BatchNorm1d(3).train()

    def function(x, given):
        count[0] = 5
        count.add_(1)
        given.add_(1)
        return torch.dropout(module(x), .5, True) + count + torch.rand(3) + given
    before = torch.get_rng_state()
    assert record(function, (P(None, 3), given), {}).shape == (None, 3)
    assert torch.equal(before, torch.get_rng_state()) and module.num_batches_tracked == 0
    assert not torch.cat([count, given, module.running_mean]).any()


# ---------------------------------------------------------------- cost

LARGE = """
import re
import numpy as np
from kfacade import backend as K
from kfacade.layers import Input, Lambda

def peak():  # of this program, in kB: ru_maxrss would count what the process that started it had
    with open('/proc/self/status') as f:
        return int(re.search('VmHWM:[^0-9]*([0-9]+) kB', f.read())[1])

def encoded(x):
    shape = K.shape(x)
    steps = K.expand_dims(K.tile(K.expand_dims(K.cast(K.arange(shape[1]), 'float32'), 0), [shape[0], 1]))
    return x + K.sin(K.dot(steps, K.variable(np.ones((1, 512)))))

x = Input((None, 512))
s = K.shape(x)
K.ones((1, s[0])) + 1.
before = peak()
shapes = [K.int_shape(t) for t in (
    Lambda(encoded)(x), K.cumsum(K.ones((s[0], s[1], s[1])), 1), K.eye(s[1] * 1000), K.tile(K.arange(9), [s[0] * s[1]]),
    K.repeat_elements(K.ones((s[0], 1000, 1000)), 9, 1), K.one_hot(K.argmax(x), 10 ** 6),
    K.random_normal((s[0], s[1], 512)))]
print(shapes, (peak() - before) // 1024)
"""


def test_nothing_large_is_made_to_find_a_shape():
    output = subprocess.run([sys.executable, '-W', 'error', '-c', LARGE], text=True, capture_output=True)
    assert not output.stderr
    found, megabytes = output.stdout.rsplit(' ', 1)
    assert found == str([(None, None, 512), (None,) * 3, (None, None), (None,), (None, 9000, 1000),
                         (None, None, 10 ** 6), (None, None, 512)])
    assert int(megabytes) < 100  # of which most is code


def resnet_50():
    def convolution(x, filters, size, strides=1):
        x = Conv2D(filters, size, strides=strides, padding='same', kernel_initializer='zeros')(x)
        return BatchNormalization()(x)
    image = Input((224, 224, 3))
    x = layers.MaxPooling2D(3, 2)(Activation('relu')(convolution(image, 64, 7, 2)))
    for filters, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            strides = 2 if block == 0 and filters > 64 else 1
            y = Activation('relu')(convolution(x, filters, 1, strides))
            y = convolution(Activation('relu')(convolution(y, filters, 3)), 4 * filters, 1)
            x = Activation('relu')(layers.add([y, x if block else convolution(x, 4 * filters, 1, strides)]))
    return Model(image, Dense(1000, kernel_initializer='zeros')(layers.GlobalAveragePooling2D()(x)))


def many_lambdas():
    x = i = Input((None, 16))
    for n in range(200):
        def scaled(t, n=n):
            t = K.reshape(t * W(16) + n, (K.shape(t)[0], K.shape(t)[1], 16))
            return K.concatenate([t[..., :8], K.relu(t[..., 8:])]) / K.cast(K.shape(t)[1], 'float32')
        x = Lambda(scaled)(x)
    return Model(i, x)


@pytest.mark.parametrize('build, seconds', [(resnet_50, 2), (many_lambdas, 3)])
def test_recording_is_fast(build, seconds):
    start = time.process_time()
    build()
    assert time.process_time() - start < seconds


def test_sizes_that_rounding_makes_alike_are_told_apart():
    images = Input((None, None, 3))
    for x in (K.pool2d(images, (32, 32), (32, 32)), MaxPooling2D(32)(images)):
        pairs = shapes.pairs_of(x)
        assert pairs[1] != pairs[2]
        assert K.int_shape(x + K.placeholder((2, 4, 5, 3))) == (2, 4, 5, 3)
