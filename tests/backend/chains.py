"""Random chains of backend functions on placeholders with open sizes, and what the real Keras says of their shapes.

A chain is {'inputs': [[open shape, real shape, another real shape], ...], 'steps': [[function, numbers of the tensors
that it gets, options], ...], 'shapes': [static shape after each step]}; tensors are numbered, inputs first.
`chains.jsonl` holds one a line. It was made with Keras 2.2.4 on TensorFlow 1.13, by
``python chains.py COUNT SEED > chains.jsonl``.
"""
import json
import random
import sys
import zlib

import numpy as np


def weight(K, shape):
    """A variable of numbers that depend on the shape alone."""
    return K.variable(np.random.RandomState(zlib.crc32(repr(shape).encode())).uniform(-1, 1, size=shape))


def functions(K):
    """The functions that chains are made of, by name: each gets tensors and the options of the step."""
    def size(x, parts):
        """A shape of ints, and of [axis, divisor, factor] for ``K.shape(x)[axis] // divisor * factor``."""
        return tuple([K.shape(x)[part[0]] // part[1] * part[2] if isinstance(part, list) else part for part in parts])

    def positions(x):
        steps = K.cast(K.arange(K.shape(x)[1]), 'float32')
        return K.tile(K.expand_dims(K.expand_dims(steps, 0), -1), K.stack([K.shape(x)[0], 1, 1]))

    def step(x, states):
        new = K.tanh(x) + states[0]
        return new * 2, [new]

    return {
        'unary': lambda x, name: getattr(K, name)(x),
        'reduce': lambda x, name, axis, keepdims: getattr(K, name)(x, axis=axis, keepdims=keepdims),
        'along': lambda x, name, axis: getattr(K, name)(x, axis),
        'binary': lambda x, y, name: getattr(K, name)(x, y),
        'compare': lambda x, y, name: K.cast(getattr(K, name)(x, y), 'float32'),
        'plus': lambda x, shape: x + weight(K, shape),
        'times': lambda x, shape: weight(K, shape) * x,
        'dot': lambda x, shape: K.dot(x, weight(K, shape)),
        'batch_dot': lambda x, y, axes: K.batch_dot(x, y, axes=axes),
        'bias_add': lambda x, shape: K.bias_add(x, weight(K, shape)),
        'item': lambda x, axis, index: x[(slice(None),) * axis + (index,)],
        'cut': lambda x, axis, start, stop, step: x[(slice(None),) * axis + (slice(start, stop, step),)],
        'cut_last': lambda x, start, stop: x[..., start:stop],
        'cut_by_size': lambda x, minus: x[:, :K.shape(x)[1] - minus],
        'last': lambda x: x[:, K.shape(x)[1] - 1],
        'slice': lambda x, start, size: K.slice(x, start, size),
        'shift': lambda x: K.concatenate([K.zeros_like(x[:, :1]), x[:, :-1]], axis=1),
        'differences': lambda x: x[:, 1:] - x[:, :-1],
        'reshape': lambda x, shape: K.reshape(x, size(x, shape)),
        'permute': lambda x, pattern: K.permute_dimensions(x, pattern),
        'concatenate': lambda *tensors, axis: K.concatenate(list(tensors), axis),
        'stack': lambda *tensors, axis: K.stack(list(tensors), axis),
        'repeat_elements': lambda x, n, axis: K.repeat_elements(x, n, axis),
        'tile': lambda x, n: K.tile(x, n),
        'one_hot': lambda x, n: K.one_hot(K.argmax(x), n),
        'gather': lambda x, shape: K.gather(weight(K, shape), K.argmax(x)),
        'repeat': lambda x, n: K.repeat(x, n),
        'positions': lambda x: x + positions(x),
        'only_positions': lambda x: positions(x),
        'count': lambda x, axis: x / K.cast(K.shape(x)[axis], 'float32'),
        'at_most': lambda x, n: K.cast(K.arange(K.minimum(K.shape(x)[1], n)), 'float32'),
        'branch': lambda x, y: K.switch(K.greater(K.sum(x), 0), lambda: x * 2., lambda: y),
        'where': lambda x: K.switch(K.greater(x, 0), x, x * .1),
        'temporal_padding': lambda x, padding: K.temporal_padding(x, tuple(padding)),
        'conv1d': lambda x, shape, strides, padding: K.conv1d(x, weight(K, shape), strides, padding),
        'conv2d': lambda x, shape, padding: K.conv2d(K.expand_dims(x, 2), weight(K, shape), padding=padding),
        'depthwise': lambda x, shape: K.depthwise_conv2d(K.expand_dims(x, 2), weight(K, shape), padding='same'),
        'separable': lambda x, shape, filters: K.separable_conv2d(
            K.expand_dims(x, 1), weight(K, shape), weight(K, [1, 1, shape[2] * shape[3], filters]), padding='same'),
        'transposed': lambda x, shape: K.conv2d_transpose(
            K.expand_dims(x, 2), weight(K, shape), (K.shape(x)[0], K.shape(x)[1] * 2, 2, shape[2]), (2, 2), 'same'),
        'pool': lambda x, size, strides, padding, mode: K.pool2d(
            K.expand_dims(x, 2), (size, 1), (strides, 1), padding, 'channels_last', mode),
        'resize': lambda x, n: K.resize_images(K.expand_dims(x, 2), n, 1, 'channels_last'),
        'pad': lambda x: K.spatial_2d_padding(K.expand_dims(x, 3), ((1, 0), (0, 2))),
        'normalize': lambda x, shape: K.batch_normalization(x, *[weight(K, shape)] * 4),
        'normalize_batch': lambda x, shape: K.normalize_batch_in_training(
            x, weight(K, shape), weight(K, shape), list(range(len(K.int_shape(x)) - 1)))[0],
        'crossentropy': lambda x, shape: K.categorical_crossentropy(K.softmax(weight(K, shape)), K.softmax(x)),
        'rnn': lambda x, backwards, which: K.rnn(step, x, [x[:, 0] * 0.], go_backwards=backwards)[which],
        'map_fn': lambda x: K.map_fn(lambda part: part * 2 + K.sum(part), x),
        'foldl': lambda x: K.foldl(lambda total, part: total + part, x),
    }


class Composer:
    """Draws the next step for a tensor from its two real shapes."""

    def __init__(self, draw):
        self.draw, self.pick, self.number = draw, draw.choice, draw.randint

    def step(self, shapes):
        """(function, options) for a tensor of real `shapes`, a pair; None where the rank does not suit the function."""
        self.shapes, real = shapes, list(shapes[0])
        rank = len(real)
        name = self.pick([name[1:] for name in dir(self) if name.startswith('_') and name[1] != '_'])
        least, options = getattr(self, f'_{name}')(real, rank, self.number(0, rank - 1))
        return (name, options) if rank >= least else None

    def _unary(self, real, rank, axis):
        return 1, {'name': self.pick('exp tanh square abs sigmoid relu sign zeros_like softplus batch_flatten flatten '
                                     'softmax transpose'.split())}

    def _reduce(self, real, rank, axis):
        return 1, {'name': self.pick('mean sum max min var std prod logsumexp any'.split()[:8]),
                   'axis': self.pick([axis, axis, -1, None]), 'keepdims': self.pick([True, False])}

    def _along(self, real, rank, axis):
        return 2, {'name': self.pick('cumsum cumprod l2_normalize reverse softmax expand_dims squeeze'.split()),
                   'axis': max(axis, 1)}

    def _binary(self, real, rank, axis):
        return 1, {'name': self.pick(['maximum', 'minimum'])}

    def _compare(self, real, rank, axis):
        return 1, {'name': self.pick('greater less_equal equal'.split())}

    def _plus(self, real, rank, axis):
        return 2, {'shape': self.pick([real[-1:], [1, *real[1:]], real[1:], [1] * (rank - 1) + real[-1:], [1],
                                       [1] * rank, real, [3, 1, *real[1:]]])}

    _times = _plus

    def _dot(self, real, rank, axis):
        return 2, {'shape': [real[-1], self.number(1, 5)]}

    def _batch_dot(self, real, rank, axis):
        return 2, {'axes': self.pick([None, 1, 2, [1, 1], [2, 1], [1, 2], [2, 2]])}

    def _bias_add(self, real, rank, axis):
        return 2, {'shape': real[-1:]}

    def _item(self, real, rank, axis):
        return 2, {'axis': axis, 'index': self.pick([0, -1, real[axis] - 1])}

    def _cut(self, real, rank, axis):
        ends = [None, None, 0, 1, -1, -2, real[axis] - 1, real[axis], real[axis] + 2]
        return 2, {'axis': axis, 'start': self.pick(ends), 'stop': self.pick(ends),
                   'step': self.pick([None, 1, 2, -1, 3])}

    def _cut_last(self, real, rank, axis):
        return 1, {'start': self.pick([None, 0, 1]), 'stop': self.pick([None, 1, real[-1], -1])}

    def _cut_by_size(self, real, rank, axis):
        return 2, {'minus': self.number(0, 2)}

    def _last(self, real, rank, axis):
        return 2, {}

    def _slice(self, real, rank, axis):
        start = [0] + [self.pick([0, 0, n - 1]) for n in real[1:]]
        return 2, {'start': start, 'size': [-1] + [self.pick([-1, 1, n - s]) for n, s in zip(real[1:], start[1:])]}

    def _shift(self, real, rank, axis):
        return 2, {}

    _differences = _where = _map_fn = _foldl = _branch = _shift

    def _reshape(self, real, rank, axis):
        rest = int(np.prod(real[1:]))
        part = self.pick([n for n in range(1, rest + 1) if rest % n == 0])
        whole = lambda axis: [axis, 1, 1]  # noqa: E731
        shapes = [[-1, part], [whole(0), part, rest // part], [whole(0), -1], [whole(0), -1, part], [-1], [-1, rest],
                  [real[0], -1]]
        if rank > 2:
            divisor = self.pick([n for n in range(1, real[1] + 1) if real[1] % n == 0])
            shapes += [[-1, *real[2:]], [whole(0), whole(1), -1], [whole(0), whole(1), *real[2:]],
                       [whole(0), [1, divisor, 1], divisor, *real[2:]], [whole(0), -1, divisor, *real[2:]],
                       [whole(0), [1, divisor, 1], divisor * real[2], *real[3:]], [-1, *real[1:]],
                       [real[0], -1, real[2]]]
        return 2, {'shape': self.pick(shapes)}

    def _permute(self, real, rank, axis):
        return 2, {'pattern': self.draw.sample(range(rank), rank)}

    def _concatenate(self, real, rank, axis):
        return 2, {'axis': self.pick([axis, -1])}

    def _stack(self, real, rank, axis):
        return 1, {'axis': axis}

    def _repeat_elements(self, real, rank, axis):
        return 2, {'n': self.number(1, 3), 'axis': max(axis, 1)}

    def _tile(self, real, rank, axis):
        return 1, {'n': [self.pick([1, 1, 2]) for _ in real]}

    def _one_hot(self, real, rank, axis):
        return 2, {'n': self.number(1, 5)}

    def _gather(self, real, rank, axis):
        return 2, {'shape': [max(shape[-1] for shape in self.shapes), self.number(1, 4)]}

    def _repeat(self, real, rank, axis):
        return (2 if rank == 2 else 9), {'n': self.number(1, 4)}

    def _positions(self, real, rank, axis):
        return (3 if rank == 3 else 9), {}

    _only_positions = _positions

    def _count(self, real, rank, axis):
        return 1, {'axis': axis}

    def _at_most(self, real, rank, axis):
        return 2, {'n': self.number(1, 9)}

    def _temporal_padding(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'padding': [self.number(0, 2), self.number(0, 2)]}

    def _conv1d(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'shape': [self.number(1, 3), real[-1], self.number(1, 4)],
                                         'strides': self.number(1, 2),
                                         'padding': self.pick(['valid', 'same', 'causal'])}

    def _conv2d(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'shape': [self.number(1, 3), 1, real[-1], self.number(1, 4)],
                                         'padding': self.pick(['valid', 'same'])}

    def _depthwise(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'shape': [2, 2, real[-1], self.number(1, 3)]}

    def _separable(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'shape': [2, 2, real[-1], self.number(1, 3)], 'filters': self.number(1, 3)}

    def _transposed(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'shape': [3, 3, self.number(1, 3), real[-1]]}

    def _pool(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'size': self.number(1, 3), 'strides': self.number(1, 2),
                                         'padding': self.pick(['valid', 'same']), 'mode': self.pick(['max', 'avg'])}

    def _resize(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'n': self.number(1, 3)}

    def _pad(self, real, rank, axis):
        return (3 if rank == 3 else 9), {}

    def _normalize(self, real, rank, axis):
        return 2, {'shape': real[-1:]}

    _normalize_batch = _normalize

    def _crossentropy(self, real, rank, axis):
        return 2, {'shape': self.pick([[1, *real[1:]], real])}

    def _rnn(self, real, rank, axis):
        return (3 if rank == 3 else 9), {'backwards': self.pick([True, False]), 'which': self.pick([0, 1])}


TWO = {'binary', 'compare', 'batch_dot', 'concatenate', 'stack', 'branch'}


def compose(K, seed):
    """A chain of 2 to 7 steps that are possible on both real shapes of each input, or None."""
    table, draw = functions(K), random.Random(seed)
    composer, inputs, steps, static = Composer(draw), [], [], []
    samples = draw.sample(range(2, 6), 2)
    for _ in range(draw.choice([1, 1, 2])):
        real = [draw.choice([1, 4, 6, 7, 9, 12])] * draw.choice([0, 1, 1, 1]) + [draw.randint(1, 5)]
        opened = [draw.random() < (.6 if axis + 1 < len(real) else .15) for axis in range(len(real))]
        other = [n + draw.choice([0, 1, 2, 3]) if is_open else n for n, is_open in zip(real, opened)]
        inputs.append([[None] + [None if is_open else n for n, is_open in zip(real, opened)],
                       [samples[0], *real], [samples[1], *other]])
    tensors = [K.placeholder(shape=shape) for shape, _, _ in inputs]
    known = [[K.constant(np.ones(shape), shape=shape) for shape in shapes] for _, *shapes in inputs]
    wanted = draw.randint(2, 7)
    for _ in range(60):
        if len(steps) == wanted:
            break
        i = len(tensors) - 1 if draw.random() < .65 else draw.randrange(len(tensors))
        shapes = [K.int_shape(t) for t in known[i]]
        found = composer.step(shapes) if shapes[0] else None
        if found is None:
            continue
        name, options = found
        numbers = [i, draw.randrange(len(tensors))] if name in TWO else [i]
        numbers = numbers[::draw.choice([1, -1])]
        try:
            symbol = table[name](*[tensors[n] for n in numbers], **options)
            both = [table[name](*[known[n][which] for n in numbers], **options) for which in (0, 1)]
            shapes = [K.int_shape(t) if None not in K.int_shape(t) else K.eval(t).shape for t in both]
            if min(map(len, shapes)) > 5 or any(0 in s or np.prod(s) > 4000 for s in shapes):
                continue
            both = [K.constant(np.ones(s), shape=s) for s in shapes]
            shape = K.int_shape(symbol)
        except Exception:  # not possible on these shapes
            continue
        tensors.append(symbol)
        known.append(both)
        steps.append([name, numbers, options])
        static.append(shape)
    if len(steps) < 2:
        return None
    run = K.function(tensors[:len(inputs)], tensors[len(inputs):])
    try:
        for which in (1, 2):
            run([np.random.RandomState(which).normal(size=shapes[which]) for shapes in inputs])
    except Exception:  # sizes that clash only in data
        return None
    return {'inputs': inputs, 'steps': steps, 'shapes': static}


if __name__ == '__main__':
    from keras import backend

    made = seed = 0
    while made < int(sys.argv[1]):
        backend.clear_session()
        chain = compose(backend, int(sys.argv[2]) * 10 ** 6 + seed)
        seed, made = seed + 1, made + (chain is not None)
        if chain:
            print(json.dumps(chain, default=int))
