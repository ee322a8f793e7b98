"""Random models, each made and trained in several ways whose numbers must agree; see `test_fuzz`.

`Maker(seed)` makes one and the same model, data and way of training at each call for a seed. It writes down what it
does in `log`, which tells what to make by hand where the ways disagree.
"""
import contextlib
import functools
import random

import fuzz_parts as parts
import numpy as np
import torch

from kfacade import backend as K
from kfacade import layers, optimizers, regularizers
from kfacade.backend import control, private_ops, spatial
from kfacade.engine import functions, training
from kfacade.layers import _recurrent_kernels
from kfacade.models import Model, Sequential
from kfacade.utils.generic_utils import to_list

ACTIVATIONS = [None] * 4 + ['relu'] * 3 + ['tanh', 'sigmoid', 'softmax', 'elu', 'selu', 'softplus', 'hard_sigmoid']


class Maker:
    """One random model, by its seed; `recorded` says how optimizers step, `off` how wrong the weights are."""

    def __init__(self, seed, recorded=False, off=0.):
        self.r, self.numbers = random.Random(seed), np.random.RandomState(seed)
        self.recorded, self.off = recorded, off
        self.log, self.made, self.draws, self.apart = [f'seed {seed}'], [], False, True
        self.large = self.chance(.15)  # enough for what pays only then
        self.batch = self.pick(64, 130) if self.large else self.pick(1, 2, 3, 4, 5, 8, 33)
        self.stateful = self.chance(.1)
        self.samples = self.batch * self.pick(1, 2, 3) + (0 if self.stateful else self.r.randrange(self.batch))

    def pick(self, *choices):
        return self.r.choice(choices)

    def chance(self, p):
        return self.r.random() < p

    def call(self, layer, x, what='', **kwargs):
        """Calls a layer, writes that down, and returns the output."""
        y = layer(x, **kwargs)
        if not isinstance(layer, layers.Lambda) and hasattr(layer, 'get_config'):
            what = told(layer.get_config())
        inputs, outputs = ([f'{t.name}{K.int_shape(t)}' for t in to_list(tensors)] for tensors in (x, y))
        self.log.append(f'{layer.name}: {", ".join(inputs)} -> {", ".join(outputs)} {what} {kwargs or ""}')
        self.made.append((layer, x))
        return y

    # ------------------------------------------------------------ layers, by what they take

    def weighty(self, *names):
        """Arguments of a layer with weights of these names."""
        kwargs = {}
        for name in names:
            if self.chance(.12):
                kwargs[f'{name}_regularizer'] = self.pick('l2', 'l1', regularizers.l1_l2(.01, .02))
            if self.chance(.08):
                kwargs[f'{name}_constraint'] = self.pick('max_norm', 'non_neg', 'unit_norm')
        if self.chance(.06):
            kwargs['activity_regularizer'] = 'l2'
        if self.chance(.08):
            kwargs['trainable'] = False
        return kwargs

    def width(self, *choices):
        return self.pick(64, 128, 300) if self.chance(.5 if self.large else .03) else self.pick(*choices)

    def activation(self):
        return parts.swish if self.chance(.04) else self.pick(*ACTIVATIONS)

    def dense(self, x):
        units = self.width(1, 2, 3, 4, 5, 8, 17)
        return self.call(layers.Dense(units, activation=self.activation(), use_bias=self.chance(.8),
                                      **self.weighty('kernel', 'bias')), x)

    def normalized(self, x):
        axis = self.pick(-1, -1, -1, 1, len(K.int_shape(x)) - 1)
        return self.call(layers.BatchNormalization(
            axis=axis, momentum=self.pick(.9, .5), epsilon=self.pick(.001, .1), scale=self.chance(.8),
            zero_debias=self.chance(.8), trainable=self.chance(.85)), x, **self.phase())

    def phase(self):
        """Most often none, or that a layer is always to train or not to."""
        training = self.pick(*[None] * 8, True, False)
        self.apart &= not training
        return {} if training is None else {'training': training}

    def activated(self, x):
        return self.call(layers.Activation(self.activation() or 'linear'), x)

    def bent(self, x):
        return self.call(self.pick(
            lambda: layers.LeakyReLU(self.pick(.1, .3, -.2)), lambda: layers.ELU(self.pick(.5, 1.)), layers.PReLU,
            lambda: layers.ReLU(*self.pick((), (6.,), (1., .1), (None, .2, .1))), layers.ThresholdedReLU,
            lambda: layers.Softmax(self.pick(-1, 1)))(), x)

    def dropped(self, x):
        rate, rank = self.pick(0., 0., .3, .5), len(K.int_shape(x))
        self.draws |= rate > 0
        kinds = [lambda: layers.Dropout(rate, seed=self.r.randrange(99)),
                 lambda: layers.Dropout(rate, (None, *[1] * (rank - 2), None), self.r.randrange(99)),
                 lambda: layers.GaussianDropout(rate), lambda: layers.AlphaDropout(rate, seed=3)]
        if rank in (3, 4, 5):
            kinds += [lambda: getattr(layers, f'SpatialDropout{rank - 2}D')(rate)] * 2
        return self.call(self.pick(*kinds)(), x, **self.pick({}, {}, {'training': False}))

    def own(self, x):
        return self.call(parts.Scaled(self.pick('sample', 'row', 'channels', 'one')), x)

    def product(self, x):
        return self.call(parts.Product(self.pick(1, 3, 6)), x)

    def back(self, x):
        found = [layer for layer, _ in self.made if type(layer) is layers.Dense and layer.units == K.int_shape(x)[-1]]
        return self.call(parts.Back(self.pick(*found)), x) if found else x

    def function(self, x):
        return self.formula('KEEPING' if self.chance(.8) else 'RESHAPING', x)

    def formula(self, table, x):
        number = self.r.randrange(len(getattr(parts, table)))
        self.apart &= (table, number) not in parts.TOGETHER
        return self.call(layers.Lambda(getattr(parts, table)[number]), x, f'{table}[{number}]')

    def penalized(self, x):
        return self.call(layers.ActivityRegularization(self.pick(0., .01), self.pick(0., .02)), x)

    def again(self, x):
        """A layer that was called before, on something of the same shape."""
        found = [layer for layer, before in self.made
                 if not isinstance(before, list) and K.int_shape(before)[1:] == K.int_shape(x)[1:]
                 and not getattr(layer, 'stateful', False) and type(layer) is not layers.Embedding]
        return to_list(self.call(self.pick(*found), x))[0] if found else x

    def inner_model(self, x):
        inputs = layers.Input(K.int_shape(x)[1:])
        outer, self.pool = self.pool, [inputs]
        for _ in range(self.pick(1, 2, 3)):
            self.grow()
        outputs, self.pool = self.pool[-1], outer
        if outputs is inputs:
            return x
        model = Model(inputs, outputs)
        model.trainable = self.chance(.85)
        return self.call(model, x)

    def stacked(self, x):
        units = self.pick(2, 5)
        return self.call(Sequential([layers.Dense(units, activation=self.activation(), input_shape=K.int_shape(x)[1:]),
                                     layers.BatchNormalization(), layers.Activation('relu'), layers.Dense(3)]), x)

    def merged(self, x):
        alike = [y for y in self.pool if K.int_shape(y) == K.int_shape(x)]
        partly = [y for y in self.pool if K.int_shape(y)[:-1] == K.int_shape(x)[:-1]]
        if self.chance(.2) and partly:
            return self.call(layers.Concatenate(), [x, self.pick(*partly)])
        if self.chance(.2) and len(K.int_shape(x)) == 2 and len(alike) > 1:
            return self.call(layers.Dot(-1, normalize=self.chance(.5)), [x, self.pick(*alike)])
        if self.chance(.3):
            return self.formula('OF_TWO', [x, self.pick(*alike)])
        kind = self.pick(layers.Add, layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum,
                         layers.Concatenate, layers.Subtract)
        count = 1 if kind is layers.Subtract else self.pick(1, 2)
        return self.call(kind(), [x, *(self.pick(*alike) for _ in range(count))])

    def reshaped(self, x):
        _, *sizes = K.int_shape(x)
        total = int(np.prod(sizes))
        if self.chance(.3):
            return self.call(layers.Permute(self.r.sample(range(1, len(sizes) + 1), len(sizes))), x)
        target = []
        for _ in range(self.pick(0, 1, 2)):
            target.append(self.pick(*[i for i in (1, 2, 3, 4, 5, 6) if total % i == 0]))
            total //= target[-1]
        return self.call(layers.Reshape([*target, total]), x)

    def repeated(self, x):
        return self.call(layers.RepeatVector(self.pick(1, 2, 4)), x)

    def flat(self, x):
        return self.call(layers.Flatten(self.pick(None, None, 'channels_first')), x)

    # Over one, two or three spatial dimensions.

    def window(self, x, dilated=True):
        rank = len(K.int_shape(x)) - 2
        kwargs = {'padding': self.pick('valid', 'same'), 'strides': self.pick(1, 1, 2)}
        if rank > 1:
            kwargs['data_format'] = self.pick('channels_last', 'channels_last', 'channels_last', 'channels_first')
        if dilated and kwargs['strides'] == 1 and self.chance(.15):
            kwargs['dilation_rate'] = 2
        return rank, self.pick(1, 2, 3, tuple(self.pick(1, 2, 3) for _ in range(rank))), kwargs

    def convolved(self, x):
        rank, size, kwargs = self.window(x)
        if rank == 1 and self.chance(.2):
            kwargs['padding'] = 'causal'
        filters = self.pick(16, 40) if self.large and self.chance(.5) else self.pick(1, 2, 3, 4, 5, 8)
        names = 'kernel', 'bias'
        kind = getattr(layers, f'Conv{rank}D')
        if rank < 3 and self.chance(.2):
            kind, names = getattr(layers, f'SeparableConv{rank}D'), ('depthwise', 'pointwise', 'bias')
            kwargs['depth_multiplier'] = self.pick(1, 2)
        elif rank > 1 and self.chance(.3):
            kind = getattr(layers, f'Conv{rank}DTranspose')
            if kwargs['strides'] == 2 and self.chance(.3):
                kwargs['output_padding'] = self.pick(0, 1)
            if rank == 3:
                kwargs.pop('dilation_rate', None)
        return self.call(kind(filters, size, activation=self.activation(), use_bias=self.chance(.8), **kwargs,
                              **self.weighty(*names)), x)

    def depthwise(self, x):
        rank, size, kwargs = self.window(x, dilated=False)
        return self.call(layers.DepthwiseConv2D(size, depth_multiplier=self.pick(1, 2), activation=self.activation(),
                                                **kwargs), x)

    def local(self, x):
        rank, size, kwargs = self.window(x, dilated=False)
        return self.call(getattr(layers, f'LocallyConnected{rank}D')(
            self.pick(1, 3), size, activation=self.activation(), **{**kwargs, 'padding': 'valid'}), x)

    def pooled(self, x):
        rank, size, kwargs = self.window(x, dilated=False)
        return self.call(getattr(layers, f'{self.pick("Max", "Max", "Average")}Pooling{rank}D')(size, **kwargs), x)

    def pooled_relu(self, x):
        made = self.pick(self.convolved, self.dense, self.normalized)(x)
        return self.pooled(self.call(layers.Activation('relu'), made))

    def pooled_whole(self, x):
        return self.call(getattr(layers, f'Global{self.pick("Max", "Average")}Pooling{len(K.int_shape(x)) - 2}D')(), x)

    def resized(self, x):
        rank = len(K.int_shape(x)) - 2
        return self.call(self.pick(
            lambda: getattr(layers, f'ZeroPadding{rank}D')(self.pick(1, 2)),
            lambda: getattr(layers, f'Cropping{rank}D')(1 if rank == 1 else ((1, 0),) * rank),
            lambda: getattr(layers, f'UpSampling{rank}D')(2),
            lambda: layers.UpSampling2D((1, 3), interpolation='bilinear') if rank == 2 else
            getattr(layers, f'UpSampling{rank}D')(3))(), x)

    def to_few(self, x):
        """A convolution to few of many channels, of many positions."""
        x = self.call(layers.Conv2D(self.pick(36, 64), 1, activation='relu'), x)
        size, padding = self.pick(((3, 3), 'same'), ((3, 3), 'valid'), ((1, 3), 'same'), ((3, 2), 'same'))
        kind = self.pick(layers.Conv2D, layers.Conv2DTranspose)
        return self.call(kind(self.pick(1, 3, 4), size, padding=padding, activation=self.activation()), x)

    # Over time.

    def recurrent_kwargs(self, x):
        rate = self.pick(0., 0., 0., .3)
        self.draws |= rate > 0
        return {'units': self.width(1, 2, 3, 5, 8),
                'activation': self.pick('tanh', 'tanh', 'relu', 'softsign', 'sigmoid', 'elu', None, parts.swish),
                'use_bias': self.chance(.85), 'dropout': self.pick(0., rate), 'recurrent_dropout': self.pick(0., rate),
                'go_backwards': self.chance(.2), 'unroll': self.chance(.1) and K.int_shape(x)[1] > 1,
                'return_sequences': self.chance(.5), **self.weighty('kernel', 'recurrent', 'bias')}

    def recurrent(self, x):
        kwargs = self.recurrent_kwargs(x)
        kind = self.pick('SimpleRNN', 'LSTM', 'GRU')
        if kind != 'SimpleRNN':
            kwargs.update(recurrent_activation=self.pick('hard_sigmoid', 'sigmoid'),
                          implementation=self.pick(1, 2))
        if kind == 'GRU':
            kwargs['reset_after'] = self.chance(.4)
        make = functools.partial(getattr(layers, kind), **kwargs)
        if self.stateful and self.chance(.5):
            return self.call(make(stateful=True), x)
        if self.chance(.2):
            return self.call(layers.Bidirectional(make(), merge_mode=self.pick('concat', 'sum', 'mul', 'ave')), x)
        if self.chance(.3):
            vectors = [y for y in self.pool if len(K.int_shape(y)) == 2]
            extra = {'initial_state': [self.call(layers.Dense(kwargs['units']), self.pick(*vectors))
                                       for _ in range(1 + (kind == 'LSTM'))]} if vectors and not masked(x) else {}
            output, *states = self.call(make(return_state=True), x, **extra)
            self.pool += self.r.sample(states, self.pick(0, 1))
            return output
        return self.call(make(), x)

    def own_recurrent(self, x):
        cells = [parts.OwnCell(self.pick(1, 3, 6), self.pick('sum', 'scaled', 'gated', 'mean', 'ahead'))
                 for _ in range(self.pick(1, 1, 2))]
        if masked(x) and len(cells) > 1:
            cells = cells[:1]
        return self.call(layers.RNN(cells[0] if len(cells) == 1 else cells, return_sequences=self.chance(.5),
                                    go_backwards=self.chance(.3), unroll=self.chance(.2) and K.int_shape(x)[1] > 1), x)

    def stacked_cells(self, x):
        if masked(x):
            return self.recurrent(x)
        cells = [self.pick(layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell)(self.pick(2, 4)) for _ in range(2)]
        return self.call(layers.RNN(cells, return_sequences=self.chance(.5)), x)

    def convolved_in_time(self, x):
        return self.call(layers.ConvLSTM2D(self.pick(1, 3), self.pick(1, 2, 3), padding='same',
                                           return_sequences=self.chance(.5)), x)

    def each_step(self, x):
        inner = [lambda: layers.Dense(self.pick(1, 4), activation=self.activation()), layers.BatchNormalization,
                 lambda: layers.Activation('relu')]
        inner += {3: [], 4: [lambda: layers.LSTM(3), lambda: layers.Conv1D(2, 1, activation='relu'), layers.Flatten],
                  5: [lambda: layers.Conv2D(2, 2, padding='same'), layers.MaxPooling2D, layers.Flatten],
                  6: []}[len(K.int_shape(x))]
        return self.call(layers.TimeDistributed(self.pick(*inner)()), x)

    def masking(self, x):
        return self.call(layers.Masking(self.pick(0., 1.)), x)

    # What may be made of something, more often what is named more often, by its number of dimensions.
    ANY = ('dense dense dense normalized activated bent dropped own product back function function penalized again '
           'again inner_model stacked merged merged merged reshaped').split()
    SPATIAL = ('convolved convolved convolved convolved pooled pooled pooled_relu pooled_relu pooled_whole resized '
               'local flat').split()
    OVER_TIME = ('recurrent recurrent recurrent recurrent recurrent recurrent recurrent recurrent own_recurrent '
                 'own_recurrent stacked_cells each_step masking').split()
    BY_RANK = {
        2: [*ANY, 'repeated'], 3: [*ANY, *SPATIAL, *OVER_TIME],
        4: [*ANY, *SPATIAL, 'depthwise', 'depthwise', 'each_step', 'to_few'],
        5: [*ANY, *'convolved convolved pooled pooled_whole resized flat convolved_in_time each_step'.split()],
        6: [*ANY, 'flat']}

    def grow(self):
        """Adds what one more layer makes of something, most often of what was made last."""
        x = self.pool[-1] if self.chance(.7) else self.pick(*self.pool)
        name = self.pick(*self.BY_RANK[min(len(K.int_shape(x)), 6)])
        try:
            y = getattr(self, name)(x)
        except (ValueError, TypeError, NotImplementedError) as error:  # what does not fit
            self.log.append(f'({name} of {x.name}: {str(error)[:60]})')
            return
        sizes = K.int_shape(y)[1:]
        if y is not x and None not in sizes and 0 < np.prod(sizes) < 5000:
            self.pool.append(y)

    # ------------------------------------------------------------ the model

    def input(self):
        batch = {'batch_size': self.batch} if self.stateful else {}
        sizes = {'vector': [self.pick(1, 2, 4, 7, 64)], 'steps': [self.pick(1, 2, 4, 6, 25), self.pick(1, 3, 6)],
                 'image': [self.pick(2, 5, 8, 12), self.pick(3, 6, 8, 12), self.pick(1, 3, 4)],
                 'volume': [self.pick(2, 4), self.pick(3, 4), self.pick(3, 5), self.pick(1, 2)],
                 'words': [self.pick(1, 3, 6, 9)]}
        kind = self.pick('vector', 'vector', 'steps', 'steps', 'image', 'image', 'volume', 'words')
        shape = tuple(sizes[kind])
        shape_of_batch = {'batch_shape': (self.batch, *shape)} if batch else {'shape': shape}
        x = layers.Input(**shape_of_batch)
        self.log.append(f'{x.name}: {kind} {K.int_shape(x)}')
        array = self.numbers.standard_normal((self.samples, *shape)).astype('float32')
        y = x
        if kind == 'words':
            array = self.numbers.randint(0, 6, array.shape)
            y = self.call(layers.Embedding(6, self.pick(1, 3, 5), mask_zero=self.chance(.5)), x)
        elif kind == 'steps' and self.chance(.3):
            array[self.numbers.random_sample(array.shape[:2]) < .4] = 0.
            y = self.masking(x)
        self.inputs.append(x)
        self.arrays.append(self.laid_out(array))
        return y

    def laid_out(self, array):
        """The same numbers in another type or order in memory."""
        kind = self.pick(*['plain'] * 4, 'double', 'Fortran', 'sliced', 'reversed', 'read-only')
        if array.dtype == 'float32' and (array == array.astype('int8')).all():
            array = array.astype(self.pick('float32', 'int64', 'int8', 'float16'))
        if kind == 'double':
            return array.astype('float64' if array.dtype.kind == 'f' else 'int32')
        if kind == 'Fortran':
            return np.asfortranarray(array)
        if kind == 'sliced':
            return np.repeat(array, 2, axis=-1)[..., ::2]
        if kind == 'reversed':
            return np.ascontiguousarray(array[::-1])[::-1]
        array.flags.writeable = kind != 'read-only'
        return array

    def output(self, x):
        """An output made of `x`, with a loss, targets for it, and weights."""
        loss, activation = self.pick(*parts.LOSSES)
        if len(K.int_shape(x)) > 2 and self.chance(.5) and not masked(x):
            x = self.flat(x)
        size = K.int_shape(x)[-1]
        if self.chance(.6) or size > 40 or size == 1 and activation == 'softmax' or x in self.inputs:
            size = self.pick(2, 3) if activation == 'softmax' else self.pick(1, 2, 5)
            x = self.call(layers.Dense(size), x)
        if activation:
            x = self.call(layers.Activation(activation), x)
        shape = (self.samples, *K.int_shape(x)[1:])
        y = self.numbers.standard_normal(shape)
        if activation in ('sigmoid', 'softplus'):
            y = np.abs(y) if activation == 'softplus' else (y > 0).astype('float64')
        elif activation == 'softmax':
            y = np.eye(size)[self.numbers.randint(0, size, shape[:-1])]
            y = y.argmax(-1)[..., None] if loss == 'sparse_categorical_crossentropy' else y
        elif activation == 'tanh' or loss == 'hinge':
            y = np.sign(y)
        self.outputs.append(x)
        self.losses.append(loss)
        self.targets.append(self.laid_out(y.astype('float32')))
        temporal = len(shape) > 2 and self.chance(.3)
        self.modes.append('temporal' if temporal else None)
        weights = self.numbers.choice([0., .5, 1., 2.], shape[:2] if temporal else shape[:1])
        self.weights.append(weights if temporal or self.chance(.3) else None)

    def model(self):
        """A compiled model with random weights."""
        self.inputs, self.arrays, self.outputs, self.losses, self.targets, self.modes, self.weights = (
            [] for _ in range(7))
        np.random.seed(0)
        self.pool = [self.input() for _ in range(self.pick(1, 1, 1, 2))]
        for _ in range(self.pick(2, 3, 5, 8)):
            self.grow()
        ends = [self.pool[-1], *self.r.sample(self.pool, self.pick(0, 0, 1))]
        for x in dict.fromkeys(ends):
            self.output(x)
        model = Model(self.inputs, self.outputs)
        if self.chance(.1):
            model.add_loss(.1 * K.mean(K.square(self.pick(*self.pool[-2:]))))
        optimizer, kwargs = self.pick(*parts.OPTIMIZERS)
        kwargs = {**kwargs, **({'decay': .1} if self.chance(.2) and optimizer != 'Nadam' else {}), **self.pick(
            {}, {}, {'clipnorm': self.pick(.01, 1.)}, {'clipvalue': .05}, {'clipnorm': .5, 'clipvalue': .1})}
        optimizer = getattr(optimizers, optimizer)
        if self.recorded:  # what is somebody's own goes by its `get_updates`
            optimizer = type(optimizer.__name__, (optimizer,), {'get_updates': optimizer.get_updates})
        metrics = self.pick([], ['mae'], [parts.squares, 'mse'])
        self.loss_weights = loss_weights = self.pick(None, [self.pick(.3, 1., 2.) for _ in self.outputs])
        self.log.append(f'{optimizer.__name__}({kwargs}), {self.losses}, metrics={metrics}, {loss_weights=}, weights: '
                        f' {[w is not None for w in self.weights]} {self.modes}, {self.samples} samples by '
                        f'{self.batch}')
        self.set_weights(model)
        if self.chance(.1) and len(model.layers) > 2:
            self.pick(*model.layers).trainable = False
        model.compile(optimizer(**kwargs), self.losses, metrics=metrics, loss_weights=loss_weights,
                      sample_weight_mode=self.modes)
        return model

    def set_weights(self, model):
        for variable in model.weights:
            shape = K.int_shape(variable)
            array = self.numbers.standard_normal(shape) / max(np.prod(shape[:-1]), 4) ** .5
            if 'variance' in variable.name:
                array = np.abs(array) + .3
            elif 'gamma' in variable.name or 'gain' in variable.name:
                array += 1.
            array *= 1. + self.off * self.numbers.choice([-1., 1.], shape)
            K.set_value(variable, array.astype('float32'))


def told(config):
    """What of a configuration is not the usual."""
    return {k: told(v) if isinstance(v, dict) else v for k, v in config.items()
            if v and 'initializer' not in k and k not in ('name', 'trainable', 'dtype')} | (
                {} if config.get('trainable', True) else {'trainable': False})


def masked(x):
    layer, node, tensor = x._keras_history
    return layer.inbound_nodes[node].output_masks[tensor] is not None


# ---------------------------------------------------------------- the plain ways

def transposed(x, weight, output_size, bias=None, strides=1, padding='valid', dilation=1, data_format='channels_last'):
    """`spatial.conv_transpose_nd` as its docstring has it: the gradient of a convolution."""
    if x.is_meta:
        return TRANSPOSED(x, weight, output_size, bias, strides, padding, dilation, data_format)
    first, channels = data_format == 'channels_first', weight.shape[1]
    shape = (x.shape[0], channels, *output_size) if first else (x.shape[0], *output_size, channels)
    with torch.enable_grad():
        image = x.new_zeros(shape).requires_grad_()
        y = spatial.conv_nd(image, weight, None, strides, padding, dilation, data_format)
        found, = torch.autograd.grad(y, image, x, create_graph=True)
    return found if bias is None else found + (bias.view(-1, *[1] * (x.dim() - 2)) if first else bias)


TRANSPOSED = spatial.conv_transpose_nd


@contextlib.contextmanager
def plainly(monkeypatch):
    """Without what computes faster: layer by layer, step by step, by autograd and by public ops alone."""
    with monkeypatch.context() as patch:
        patch.setattr(functions, 'reverse', lambda graph, variables: None)
        patch.setattr(functions, 'fuse', lambda graph: None)
        patch.setattr(training, 'most_at_once', lambda model: 0)
        patch.setattr(private_ops, '_can_tell', False)
        private_ops.prefers_onednn.cache_clear()
        patch.setattr(_recurrent_kernels, 'choose_path', lambda *args, **kwargs: 'scan')
        patch.setattr(control, '_ahead', lambda graph, inputs: [])
        patch.setattr(spatial, 'conv_transpose_nd', transposed)
        yield
    private_ops.prefers_onednn.cache_clear()
