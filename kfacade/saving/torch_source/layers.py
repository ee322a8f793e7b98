"""What stands for each Keras layer in the source of a plain PyTorch module.

A function of the table `LAYERS` is given the code of a class so far, a layer and the `Value`s that it is called on. It
returns the `Value` of the output (or a list of them), and adds to the class the modules that it needs.
"""
import functools
import string

import torch

from ...backend.spatial import same_padding
from ...utils.conv_utils import deconv_length
from ...utils.generic_utils import is_own
from ..torch_files import PASSING
from .pieces import call, number, parameters, refusal, tight
from .recurrent import bidirectional, recurrent

# Functions of a text, and of the axis that Keras has last.
ACTIVATIONS = {
    'linear': '{0}', 'relu': 'F.relu({0})', 'tanh': 'torch.tanh({0})', 'sigmoid': 'torch.sigmoid({0})',
    'softmax': 'torch.softmax({0}, {1})', 'elu': 'F.elu({0})', 'selu': 'F.selu({0})', 'softplus': 'F.softplus({0})',
    'softsign': 'F.softsign({0})', 'exponential': 'torch.exp({0})', 'hard_sigmoid': 'hard_sigmoid({0})'}
PHASED = ('AlphaDropout', 'BatchNormalization', 'Dropout', 'GaussianDropout', 'GaussianNoise', 'SpatialDropout1D',
          'SpatialDropout2D', 'SpatialDropout3D')  # whose call may say the phase


# ---------------------------------------------------------------- Dense, Embedding, normalization

def dense(w, layer, x):
    x, (kernel, bias) = w.at(x), parameters(layer, 'kernel', 'bias')
    kernel = kernel if x.order is None else kernel[:, x.order]
    module = w.module(layer, call('nn.Linear', x.shape[-1], layer.units, bias=layer.use_bias),
                      weight=kernel, bias=bias)
    return w.activated(layer, x.gives(f'{module}({x})', order=None))


def embedding(w, layer, x):
    table, = parameters(layer, 'embeddings')
    module = w.module(layer, call('nn.Embedding', *table.shape), weight=table)
    mask = w.mask(f'{x} != 0', layer) if layer.mask_zero and w.awaited() else None
    return w.at(x).gives(f'{module}({w.at(x)}.long())', image=-1, mask=mask)


def batch_normalization(w, layer, x):
    rank = len(x.shape)
    axis = layer.axis % rank
    if rank > 5:
        raise refusal(layer, f'torch normalizes no tensors of {rank} dimensions.')
    x = w.at(x, 1 if axis == rank - 1 and rank > 2 else -1)
    weight, bias, mean, variance = (
        t if t is None or x.order is None else t[x.order]
        for t in parameters(layer, 'gamma', 'beta', 'moving_mean', 'moving_variance'))
    affine = layer.scale or layer.center
    frozen = w.is_frozen(layer)
    module = w.module(
        layer, call(f'nn.BatchNorm{max(rank - 2, 1)}d', len(mean), eps=number(layer._epsilon),
                    momentum=0.0 if frozen else round(1 - layer.momentum, 7), affine=affine),
        note='frozen: its averages stay, but train mode still normalizes with the batch' if frozen else None,
        weight=(torch.ones_like(mean) if weight is None else weight) if affine else None,
        bias=(torch.zeros_like(mean) if bias is None else bias) if affine else None,
        running_mean=mean, running_var=variance, num_batches_tracked=torch.tensor(0))
    if affine and not frozen:
        for name, there in (('weight', layer.scale), ('bias', layer.center)):
            if not there:
                w.once(f'{module}.{name}.requires_grad_(False)  # Keras has none')
    turn, back = ('', '') if axis in (1, rank - 1) else (f'.movedim({axis}, 1)', f'.movedim(1, {axis})')
    if w.training is False:
        return x.gives(f'F.batch_norm({x}{turn}, {module}.running_mean, {module}.running_var, {module}.weight, '
                       f'{module}.bias, eps={module}.eps){back}')
    if w.training is not None:
        raise refusal(layer, f'it is called with training={w.training}.')
    return x.gives(f'{module}({x}{turn}){back}')


# ---------------------------------------------------------------- convolution and pooling

def _channels(w, layer, x):
    """The value with its channels in the place where torch has them, as the output has them, and its spatial sizes."""
    first = layer.data_format == 'channels_first'
    place, sizes = (-1, x.shape[2:]) if first else (1, x.shape[1:-1])
    x = w.at(x, place).gives(w.at(x, place), image=place if len(sizes) > 1 else -1)
    if w.calls(layer) > 1 or any(size is None for size in sizes):
        sizes = [None] * len(sizes)
    return x, sizes, x.shape[1 if first else -1]


def _same(size, window, stride):
    """Zeros before and after an axis for 'same' padding; before and at most after where the size is not known.

    None for what depends on the size.
    """
    sizes = [size] if size is not None else range(window * stride, (window + 1) * stride)
    before, after = zip(*(same_padding(n, window, stride) for n in sizes))
    return (before[0], max(after)) if len({*before}) == 1 else None


def _padded(x, layer, sizes, windows):
    """The text of what a convolution is to see, and its own padding."""
    if layer.padding == 'valid':
        return str(x), None
    if layer.padding == 'causal':
        return f'F.pad({x}, ({windows[0] - 1}, 0))', None
    pads = [_same(*axis) for axis in zip(sizes, windows, layer.strides)]
    sized = all(size is not None or stride == 1 for size, stride in zip(sizes, layer.strides))
    if not sized or None in pads:
        return call('pad_same', x, tuple(windows), tuple(layer.strides)), None
    if all(before == after for before, after in pads):
        return str(x), [before for before, _ in pads]
    return f'F.pad({x}, {tuple(side for pad in reversed(pads) for side in pad)})', None


def _cut(x, parts):
    """The value, with such a slice of each spatial axis."""
    return x if {*parts} == {':'} else x.then(f'[:, :, {", ".join(parts)}]')


def _conv(w, layer, x, kernel, bias, suffix='', pointwise=False, depthwise=False):
    x, sizes, channels = _channels(w, layer, x)
    rank, groups = len(sizes), channels if depthwise else 1
    window, strides, dilation = ([1] * rank,) * 3 if pointwise else (
        kernel.shape[2:], layer.strides, layer.dilation_rate)
    if rank > 1 and channels < 16 and set(window) == {1} and max(strides) > 1:
        # Takes what the windows see beforehand: torch's own gradient of it may end the process (oneDNN, channels last).
        x, strides = _cut(x, [f'::{stride}' for stride in strides]), [1] * rank
    text, padding = (str(x), None) if pointwise or set(window) == {1} else _padded(
        x, layer, sizes, [(size - 1) * step + 1 for size, step in zip(window, dilation)])
    module = w.module(
        layer, call(f'nn.Conv{rank}d', kernel.shape[1] * groups, len(kernel), tight(window), stride=strides,
                    padding=padding, dilation=dilation, groups=groups, bias=bias is not None),
        suffix, weight=kernel, bias=bias)
    return x.gives(f'{module}({text})')


def conv(w, layer, x):
    return w.activated(layer, _conv(w, layer, x, *parameters(layer, 'kernel', 'bias')))


def depthwise_conv(w, layer, x):
    return w.activated(layer, _conv(w, layer, x, *parameters(layer, 'depthwise_kernel', 'bias'), depthwise=True))


def separable_conv(w, layer, x):
    depthwise, pointwise, bias = parameters(layer, 'depthwise_kernel', 'pointwise_kernel', 'bias')
    x = _conv(w, layer, x, depthwise, None, '_depthwise', depthwise=True)
    return w.activated(layer, _conv(w, layer, x, pointwise, bias, '_pointwise', pointwise=True))


def conv_transpose(w, layer, x):
    kernel, bias = parameters(layer, 'kernel', 'bias')
    x, sizes, channels = _channels(w, layer, x)
    padding, missing, cut = [], [], []
    added = layer.output_padding or [None] * len(sizes)
    for window, stride, dilation, extra in zip(layer.kernel_size, layer.strides, layer.dilation_rate, added):
        surplus = 9 * stride + (window - 1) * dilation + 1 - deconv_length(10, stride, window, layer.padding, extra,
                                                                           dilation)
        padding.append(max(surplus, 0) // 2)
        missing.append(max(-surplus, 0))
        cut.append(':-1' if surplus > 0 and surplus % 2 else ':')
    module = w.module(
        layer, call(f'nn.ConvTranspose{len(sizes)}d', channels, layer.filters, tight(layer.kernel_size),
                    stride=layer.strides, padding=padding, output_padding=missing, dilation=layer.dilation_rate,
                    bias=layer.use_bias), weight=kernel, bias=bias)
    return w.activated(layer, _cut(x.gives(f'{module}({x})'), cut))


def locally_connected(w, layer, x):
    first, (kernel, bias) = layer.data_format == 'channels_first', parameters(layer, 'kernel', 'bias')
    x, _, channels = _channels(w, layer, x)
    rank, sizes = len(layer.kernel_size), layer._spatial(layer.compute_output_shape(x.shape))
    if not first:  # there an element of a window comes before its channel
        kernel = kernel.unflatten(1, (*layer.kernel_size, channels)).movedim(1 + rank, 1).flatten(1, 1 + rank)
    if bias is not None:
        bias = bias.reshape(layer.filters, *sizes) if first else bias.movedim(-1, 0)
    module = w.module(
        layer, call('LocallyConnected', channels, layer.filters, tuple(layer.kernel_size), tuple(layer.strides),
                    tuple(sizes), bias=layer.use_bias), weight=kernel, bias=bias)
    return w.activated(layer, x.gives(f'{module}({x})'))


def pooling(w, layer, x):
    kind = 'Max' if layer.mode == 'max' else 'Avg'
    x, sizes, _ = _channels(w, layer, x)
    options, cut = {}, None
    if layer.padding == 'same':
        pads = [_same(*axis) for axis in zip(sizes, layer.pool_size, layer.strides)]
        # torch's AvgPool3d wants data that are no smaller than a window.
        short = kind == 'Avg' and len(sizes) == 3 and any(size and size < n for size, n in zip(sizes, layer.pool_size))
        if None not in pads and not short:
            odd = [before != after for before, after in pads]
            late = [stride == 1 and uneven for stride, uneven in zip(layer.strides, odd)]  # one window too many, before
            padding = [before + more for (before, _), more in zip(pads, late)]
            options = {'padding': padding, 'ceil_mode': any(x and not y for x, y in zip(odd, late)),
                       'count_include_pad': not any(padding) or kind == 'Max'}
            cut = ['1:' if more else ':' for more in late]
    if tuple(layer.strides) != tuple(layer.pool_size):
        options['stride'] = tight(layer.strides) if tight(layer.strides) != 1 else '1'  # which is not the default here
    module = w.module(layer, call(f'nn.{kind}Pool{len(sizes)}d', tight(layer.pool_size), **options))
    if layer.padding == 'same' and cut is None:
        return x.gives(call('pool_same', module, x, tuple(layer.pool_size), tuple(layer.strides)))
    return _cut(x.gives(f'{module}({x})'), cut or ':')


def global_pooling(w, layer, x):
    name = type(layer).__name__
    if x.mask is not None and name == 'GlobalAveragePooling1D':
        x = w.at(x) if layer.data_format == 'channels_last' else w.at(x).then('.transpose(1, 2)')
        return x.gives(call('masked_mean', x, x.mask), mask=None)
    x, sizes, _ = _channels(w, layer, x)
    module = w.module(layer, f'nn.Adaptive{"Max" if "Max" in name else "Avg"}Pool{len(sizes)}d(1)')
    return x.gives(f'{module}({x}).flatten(1)', at=-1, image=-1, mask=None)


def zero_padding(w, layer, x):
    x, sizes, _ = _channels(w, layer, x)
    return x.gives(f'F.pad({x}, {tuple(side for pair in reversed(layer.padding) for side in pair)})')


def cropping(w, layer, x):
    x, sizes, _ = _channels(w, layer, x)
    return _cut(x, [f'{start or ""}:{-end or ""}' for start, end in layer.cropping])


def upsampling(w, layer, x):
    x, sizes, _ = _channels(w, layer, x)
    if layer.interpolation == 'bilinear' and not layer.as_tf_keras:
        return x.gives(call('upsample_bilinear', x, tuple(layer.size)))
    mode = None if layer.interpolation == 'nearest' else "'bilinear'"
    module = w.module(layer, call('nn.Upsample', scale_factor=tight(layer.size), mode=mode))
    return x.gives(f'{module}({x})')


# ---------------------------------------------------------------- activations, noise

def softmax(w, layer, x):
    rank = len(x.shape)
    return x.gives(f'torch.softmax({x}, {x.axis(layer.axis % rank if rank > 2 else 1)})')


def relu(w, layer, x):
    options = {'slope': layer.negative_slope, 'threshold': layer.threshold}
    options = {name: number(value) for name, value in options.items() if value}
    if options or layer.max_value is not None:
        limit = None if layer.max_value is None else number(layer.max_value)
        return x.gives(call('clipped_relu', x, limit=limit, **options) if options else f'{x}.clamp(0, {limit})')
    return x.gives(f'F.relu({x})')


def prelu(w, layer, x):
    weight, = parameters(layer, 'alpha')
    at = x.at
    if len(x.shape) == 2:
        weight = weight if x.order is None else weight[x.order]
    elif at != -1:
        weight = weight.movedim(-1, at - 1)
    if weight.numel() == len(weight) and (at == 1 or len(x.shape) == 2):
        return x.gives(f'{w.module(layer, call("nn.PReLU", weight.numel()), weight=weight.flatten())}({x})')
    return x.gives(f'{w.module(layer, call("PReLU", *weight.shape), weight=weight)}({x})')


def dropout(w, layer, x):
    rate, kind = number(layer.rate if 0 < layer.rate < 1 else 0.), type(layer).__name__
    if kind == 'Dropout' and layer.noise_shape is not None:
        x = w.at(x)
        sizes = [f'{x}.shape[{i}]' if size is None else int(size) for i, size in enumerate(layer.noise_shape)]
        ones = call(f'{x}.new_ones', *sizes)
        return x.gives(f'{x} * F.dropout({ones}, {rate}, {w.training or "self.training"})')
    if kind == 'AlphaDropout' and layer.noise_shape is not None:
        raise refusal(layer, 'torch has no AlphaDropout with a noise_shape.')
    if kind.startswith('Spatial'):
        x = w.at(x, 1 if layer.data_format == 'channels_last' else -1)
        kind = f'Dropout{len(x.shape) - 2}d' if len(x.shape) > 2 else 'Dropout'
    if w.training is not None:
        name = {'AlphaDropout': 'F.alpha_dropout', 'Dropout': 'F.dropout'}.get(kind, f'F.{kind.lower()}')
        return x.gives(call(name, x, rate, training=True)) if w.training else x
    return x.gives(f'{w.module(layer, f"nn.{kind}({rate})")}({x})')


def noise(w, layer, x):
    if type(layer).__name__ == 'GaussianNoise':
        text = f'{x} + {number(layer.stddev)} * torch.randn_like({x})'
    elif 0 < layer.rate < 1:
        text = f'{x} * (1 + {number((layer.rate / (1 - layer.rate)) ** .5)} * torch.randn_like({x}))'
    else:
        return x
    return x.gives(f'{text} if self.training else {x}' if w.training is None else text if w.training else str(x))


def masking(w, layer, x):
    x = w.bound(w.at(x))
    mask = w.mask(f'({x} != {number(layer.mask_value)}).any(-1)', layer)
    return x.gives(f'{x} * {mask}.unsqueeze(-1)', mask=mask)


# ---------------------------------------------------------------- shapes

def flatten(w, layer, x):
    if len(x.shape) < 3:
        return x
    first = layer.data_format == 'channels_first'
    if None not in x.shape[1:] and w.may_reorder():
        places = torch.arange(torch.Size(x.shape[1:]).numel())
        if first:  # Keras counts the elements with the channels last
            places = places.view(*x.shape[2:], x.shape[1]).movedim(-1, 0)
        places = places.reshape(x.shape[1:])
        places = (places if x.at == -1 else places.movedim(-1, x.at - 1)).flatten()
        kept = bool((places == torch.arange(len(places))).all())
        return x.gives(f'{x}.flatten(1)', at=-1, image=-1, order=None if kept else places)
    x = w.at(x)
    turn = '.movedim(1, -1)' if first else ''
    return x.gives(f'{x}{turn}.flatten(1)', image=-1)


def reshape(w, layer, x):
    target = layer.target_shape if None in w.shapes[0][1:] else w.shapes[0][1:]
    batch = f'len({x})' if -1 in target else -1
    return w.at(x).gives(call(f'{w.at(x)}.reshape', batch, *target), image=1 if len(target) in (3, 4) else -1)


def permute(w, layer, x):
    return w.at(x).gives(call(f'{w.at(x)}.permute', 0, *layer.dims), image=-1)


def repeat_vector(w, layer, x):
    return x.gives(f'{x}.unsqueeze(1).expand(-1, {layer.n}, -1)')


# ---------------------------------------------------------------- merging

_OPERATORS = {'Add': ' + ', 'Average': ' + ', 'Subtract': ' - ', 'Multiply': ' * '}


def _together(w, values):
    """The values with their axes in one order, and of one rank."""
    rank = max(len(x.shape) for x in values)
    if any(len(x.shape) < rank for x in values):
        values = [w.at(x) for x in values]
        return [x.gives(f'{x}' + '.unsqueeze(1)' * (rank - len(x.shape)),
                        shape=(x.shape[0], *[1] * (rank - len(x.shape)), *x.shape[1:])) for x in values]
    at = max(x.at for x in values)
    return [w.at(x, at) for x in values]


def _all_masks(w, layer, values):
    masks = list(dict.fromkeys(x.mask for x in values if x.mask is not None))
    return w.mask(' & '.join(masks), layer) if len(masks) > 1 and w.awaited() else (masks or [None])[0]


def merge(w, layer, *values):
    mask, values = _all_masks(w, layer, values), _together(w, values)
    kind, texts = type(layer).__name__, [str(x) for x in values]
    if kind in _OPERATORS:
        text = _OPERATORS[kind].join(texts)
        text = f'({text}) / {len(texts)}' if kind == 'Average' else text
    else:
        text = functools.reduce(lambda one, other: f'torch.{kind.lower()}({one}, {other})', texts)
    return values[0].gives(text, mask=mask, image=max(x.image for x in values))


def concatenate(w, layer, *values):
    mask = None
    axis = layer.axis % len(values[0].shape)
    if any(x.mask for x in values) and w.awaited():
        masks = [f'{x.mask}.unsqueeze(-1)' if x.mask else f'torch.ones_like({w.at(x)}[..., :1], dtype=torch.bool)'
                 for x in values]
        if axis == len(values[0].shape) - 1 and all(x.mask for x in values):
            mask = _all_masks(w, layer, values)
        else:
            mask = w.mask(f'torch.cat([{", ".join(masks)}], {axis}).all(-1)', layer)
    values, order = _together(w, values), None
    if any(x.order is not None for x in values):
        starts = [sum(x.shape[-1] for x in values[:i]) for i in range(len(values))]
        order = torch.cat([start + (torch.arange(x.shape[-1]) if x.order is None else x.order)
                           for start, x in zip(starts, values)])
    return values[0].gives(f'torch.cat([{", ".join(map(str, values))}], {values[0].axis(axis)})', mask=mask,
                           order=order, image=max(x.image for x in values))


def dot(w, layer, x, y):
    x, y = w.at(x), w.at(y)
    ranks = len(x.shape), len(y.shape)
    axes = layer._axes(*ranks)
    if layer.normalize:
        x, y = (v.gives(f'F.normalize({v}, dim={axis}, eps=1e-6)') for v, axis in zip((x, y), axes))
    if ranks == (2, 2) and axes == [1, 1]:
        return x.gives(f'({x} * {y}).sum(1, keepdim=True)', mask=None)
    axes = [axis if axis == rank - 1 else max(rank - 2, 1) for axis, rank in zip(axes, ranks)]  # as Keras counts them
    if max(ranks) > 3 and ranks[0] != ranks[1]:
        raise refusal(layer, f'products along the axes {axes} of tensors of {ranks} dimensions have no short form.')
    common = string.ascii_lowercase[:max(max(ranks) - 2, 1)]
    left, right = (list(common[:max(rank - 2, 1)] + own)[:rank] for rank, own in zip(ranks, ('ij', 'kl')))
    left[axes[0]] = right[axes[1]] = 'z'
    result = [*common, *(c for c in left + right if c not in {*common, 'z'})]
    equation = f"'{''.join(left)},{''.join(right)}->{''.join(result)}'"
    return x.gives(call('torch.einsum', equation, x, y), image=-1, mask=None)


# ---------------------------------------------------------------- layers in layers

def time_distributed(w, layer, x):
    inner, kind = layer.layer, type(layer.layer).__name__
    w.labels.setdefault(id(inner), layer.name)
    if is_own(type(inner)) and (kind in PASSING or kind == 'Dense') and getattr(inner, 'noise_shape', None) is None:
        return w.applied(inner, [x], [x.shape])
    x = w.bound(x if x.at == 2 else w.at(x))
    place = 1 if x.at == 2 else -1
    mask = x.mask and not x.shape[0] and hasattr(inner, 'return_sequences') and f'{x.mask}.flatten(0, 1)' or None
    y = w.applied(inner, [x.gives(f'{x}.flatten(0, 1)', shape=(None, *x.shape[2:]), at=place, image=place, mask=mask)],
                  [(None, *w.shapes[0][2:])])
    if isinstance(y, list):
        raise refusal(layer, 'what it distributes has several outputs.')
    y = w.at(y, 1 if y.image == 1 else -1)
    place = 2 if y.at == 1 else -1
    mask = x.mask
    if mask and y.mask is None and len(x.shape) > 3 and w.awaited():
        mask = w.mask(f'{mask}.flatten(2).any(-1)', layer)
    elif y.mask is not None and y.mask != f'{x.mask}.flatten(0, 1)' and w.awaited():
        mask = w.mask(f'{y.mask}.unflatten(0, {x}.shape[:2])', layer)
    return y.then(f'.unflatten(0, {x}.shape[:2])', at=place, image=place, mask=mask)


def highway(w, layer, x):
    matrix, carry, bias, carry_bias = parameters(layer, 'W', 'W_carry', 'b', 'b_carry')
    text = call('nn.Linear', *matrix.shape, bias=layer.bias)
    x = w.bound(x)
    one = w.module(layer, text, weight=matrix.t(), bias=bias)
    gate = w.module(layer, text, '_carry', weight=carry.t(), bias=carry_bias)
    gate = w.bound(x.gives(f'torch.sigmoid({gate}({x}))'), f'{w.name_of(layer)}_gate')
    return x.gives(f'{w.activated(layer, x.gives(f"{one}({x})"))} * {gate} + (1 - {gate}) * {x}')


def maxout(w, layer, x):
    matrix, bias = parameters(layer, 'W', 'b')  # (maps, inputs, outputs), (maps, outputs)
    maps, inputs, outputs = matrix.shape
    module = w.module(layer, call('nn.Linear', inputs, maps * outputs, bias=layer.bias),
                      weight=matrix.transpose(1, 2).flatten(0, 1), bias=None if bias is None else bias.flatten())
    return x.gives(f'{module}({x}).unflatten(1, ({maps}, {outputs})).amax(1)')


def torch_module(w, layer, *values):
    """A module of torch's own, or a `Sequential` of such, whose texts say how they are made."""
    def text(module):
        return f'nn.Sequential({", ".join(map(text, module))})' if isinstance(
            module, torch.nn.Sequential) else f'nn.{module!r}'
    made, tensors = text(layer.module), layer.module.state_dict()
    try:
        eval(made, {'nn': torch.nn}).load_state_dict(tensors)
    except Exception as error:
        raise refusal(layer, f'how its {type(layer.module).__name__} is made cannot be told from it.') from error
    return w.at(values[0]).gives(call(w.module(layer, made, **tensors), *map(w.at, values)))


# By the names of classes, with N for their number of dimensions.
LAYERS = {
    'Dense': dense, 'Embedding': embedding, 'BatchNormalization': batch_normalization,
    'Activation': lambda w, layer, x: w.activated(layer, x), 'ActivityRegularization': lambda w, layer, x: x,
    'Softmax': softmax, 'ReLU': relu, 'PReLU': prelu,
    'LeakyReLU': lambda w, layer, x: x.gives(f'F.leaky_relu({x}, {number(layer.alpha)})'),
    'ELU': lambda w, layer, x: x.gives(f'F.elu({x}, {number(layer.alpha)})'),
    'ThresholdedReLU': lambda w, layer, x: x.gives(f'F.threshold({x}, {number(layer.theta)}, 0.0)'),
    'ConvND': conv, 'DepthwiseConvND': depthwise_conv, 'SeparableConvND': separable_conv,
    'ConvNDTranspose': conv_transpose, 'LocallyConnectedND': locally_connected, 'ZeroPaddingND': zero_padding,
    'CroppingND': cropping, 'UpSamplingND': upsampling, 'MaxPoolingND': pooling, 'AveragePoolingND': pooling,
    'GlobalMaxPoolingND': global_pooling, 'GlobalAveragePoolingND': global_pooling, 'Dropout': dropout,
    'AlphaDropout': dropout, 'SpatialDropoutND': dropout, 'GaussianDropout': noise, 'GaussianNoise': noise,
    'Masking': masking, 'Flatten': flatten, 'Reshape': reshape, 'Permute': permute, 'RepeatVector': repeat_vector,
    **dict.fromkeys(('Add', 'Average', 'Maximum', 'Minimum', 'Multiply', 'Subtract'), merge),
    'Concatenate': concatenate, 'Dot': dot,
    **dict.fromkeys(('RNN', 'SimpleRNN', 'GRU', 'LSTM', 'CuDNNGRU', 'CuDNNLSTM', 'ConvLSTMND'), recurrent),
    'Bidirectional': bidirectional, 'TimeDistributed': time_distributed, 'Highway': highway, 'MaxoutDense': maxout,
    'TorchModule': torch_module}
