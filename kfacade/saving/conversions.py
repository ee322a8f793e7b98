"""Weights of old files, made to fit today's layers.

Arrays come in the order of ``layer.weights`` of the layer that wrote them. What may differ: Keras 1 kept the gates of
its recurrent layers apart and some kernels in another order; Theano convolves where everybody else correlates; cuDNN's
recurrent layers keep their matrices transposed and two biases. Every rule is about one plain layer; what wrappers and
nested models hold is dealt out to the layers inside and put back in place.
"""
import re

import numpy as np

from ..utils.conv_utils import convert_kernel
from .trust import InvalidModelFile

# Keras-1 gate order -> ours, as indices into [W, U, b] of each gate. LSTM: i, c, f, o -> i, f, c, o. GRU: z, r, h.
_OLD_GATES = {'LSTM': (0, 6, 3, 9), 'ConvLSTM2D': (0, 6, 3, 9), 'GRU': (0, 3, 6)}

# (class, data_format) -> how a Keras-1 kernel is transposed
_OLD_KERNELS = {
    ('Conv2D', 'channels_first'): (2, 3, 1, 0),
    ('Conv2DTranspose', 'channels_last'): (0, 1, 3, 2),
    ('Conv2DTranspose', 'channels_first'): (2, 3, 0, 1),
    ('Conv3D', 'channels_first'): (2, 3, 4, 1, 0),
}

# how many leading weights of a convolution are kernels
_CONV_KERNELS = {'Conv1D': 1, 'Conv2D': 1, 'Conv3D': 1, 'Conv2DTranspose': 1, 'ConvLSTM2D': 2}


def preprocess_weights_for_loading(layer, weights, original_keras_version=None, original_backend=None, reshape=False):
    """The arrays ``weights``, as a file of another version or backend holds them, in the form that ``layer`` takes.

    ``weights`` are numpy arrays, or what numpy takes as such, in the file's order. Of versions only ``'1'`` matters, of
    backends ``'theano'``, whose kernels are flipped; ``reshape`` gives a convolution's kernel the layer's shape
    wherever the sizes agree. Returns a list of arrays, views of those given where possible; their number and shapes are
    the caller's to check. Raises ValueError for a reshape between different sizes, and for recurrent weights that
    cannot be converted.
    """
    weights = list(weights)
    if original_keras_version == '1' and len(weights) != len(layer.weights):
        weights = _merge_gates(layer, weights)
    inner = inner_layers(layer)
    if not inner:
        return _convert_plain(layer, weights, original_keras_version, original_backend, reshape)
    slots = {id(variable): i for i, variable in enumerate(layer.weights)}
    if len(weights) != len(slots):
        return weights  # nothing to pair the arrays with: the caller reports the count
    for sublayer in inner:
        mine = [slots[id(variable)] for variable in sublayer.weights]
        converted = preprocess_weights_for_loading(sublayer, [weights[i] for i in mine], original_keras_version,
                                                   original_backend)
        for i, array in zip(mine, converted):
            weights[i] = array
    return weights


def is_model(layer):
    """Whether a layer is a network of layers."""
    return hasattr(layer, '_is_graph_network')


def inner_layers(layer):
    """The layers whose weights make up those of a wrapper or a nested model; ``[]`` for a plain layer."""
    if is_model(layer):
        return layer.layers
    return layer._inner_layers() if type(layer).__name__ in ('Bidirectional', 'TimeDistributed') else []


def _leaves(layer):
    inner = inner_layers(layer)
    return [leaf for sublayer in inner for leaf in _leaves(sublayer)] if inner else [layer]


def places_by_name(layer, names):
    """For each weight of a nested model or wrapper the place of its array in a file that calls its arrays ``names``.

    The file's order is not ours where other layers were frozen when it was saved: a model's trainable weights come
    first. Returns None where the names are not those of the layers and their weights, but for the suffixes that make
    names unique in a session.
    """
    owner = {id(weight): leaf for leaf in _leaves(layer) for weight in leaf.weights}
    stems = [name.removesuffix(':0') for name in names]
    leaves = {leaf.name for leaf in owner.values()}
    if any(id(weight) not in owner for weight in layer.weights):
        return None  # a layer of the caller's, with weights of its own
    own = [str(weight.name).removesuffix(':0') for weight in layer.weights]
    parts = [f'{owner[id(weight)].name}/{name.rpartition("/")[2]}' for weight, name in zip(layer.weights, own)]
    number = {id(weight): i for leaf in owner.values() for i, weight in enumerate(leaf.weights)}
    numbers = [f'{owner[id(weight)].name}/weight_{number[id(weight)]}' for weight in layer.weights]  # see keras_archive
    short = []  # of names with more scopes than the layer's, or with a suffix at it
    for *scopes, part in (name.split('/') for name in stems):
        plain = re.sub(r'_\d+$', '', ''.join(scopes[:1]))
        short.append(f'{next((scope for scope in reversed(scopes) if scope in leaves), plain)}/{part}')
    for found, wanted in ((stems, own), (stems, parts), (stems, numbers), (short, parts)):
        places = {name: place for place, name in enumerate(found)}
        if len(places) == len(found) and places.keys() == set(wanted):
            return [places[name] for name in wanted]
    return None


def _merge_gates(layer, arrays):
    """Joins the 9 or 12 arrays that Keras 1 kept for each GRU or LSTM in ``layer``, at any depth, to our three."""
    owner = {id(variable): leaf for leaf in _leaves(layer) for variable in leaf.weights}
    merged, rest = [], list(arrays)
    variables = [owner[id(variable)] for variable in layer.weights]
    while variables:
        leaf = variables[0]
        gates = _OLD_GATES.get(type(leaf).__name__)
        size = 3 if gates else 1
        count = size * len(gates) if gates else 1
        if len(rest) < count:
            return arrays
        part, rest, variables = rest[:count], rest[count:], variables[size:]
        merged += [_join(leaf, [part[gate + i] for gate in gates], tuple(weight.shape))
                   for i, weight in enumerate(leaf.weights)] if gates else part
    return arrays if rest else merged


def _join(leaf, blocks, shape):
    """The arrays of all gates as one of ``shape``."""
    if blocks[0].ndim == 4:  # (filters, channels, rows, columns), or as ours: the shapes tell, then the format
        shape = (*shape[:-1], shape[-1] // len(blocks))
        turned = [np.transpose(block, (2, 3, 1, 0)) for block in blocks]
        if turned[0].shape == shape and (leaf.data_format == 'channels_first' or blocks[0].shape != shape):
            blocks = turned
    return np.concatenate(blocks, axis=-1)


def _convert_plain(layer, weights, version, backend, reshape):
    kind = type(layer).__name__
    if not weights:
        return weights
    if version == '1':
        axes = _OLD_KERNELS.get((kind, getattr(layer, 'data_format', None)))
        if axes and weights[0].ndim == len(axes):
            weights[0] = np.transpose(weights[0], axes)
        elif kind == 'Conv1D' and weights[0].ndim == 4:
            weights[0] = _old_conv1d_kernel(layer, weights[0])
    for i in range(min(_CONV_KERNELS.get(kind, 0), len(weights))):
        if backend == 'theano':
            weights[i] = convert_kernel(np.asarray(weights[i]))
        weights[i] = _fit_kernel(layer, weights[i], tuple(layer.weights[i].shape), reshape and i == 0)
    if kind in ('LocallyConnected1D', 'LocallyConnected2D') and np.ndim(weights[0]) != 3:
        weights[0] = _local_kernel(layer, np.asarray(weights[0]))
    if kind in ('LSTM', 'CuDNNLSTM', 'GRU', 'CuDNNGRU') and len(weights) == 3:
        return _convert_recurrent(layer, weights)
    return weights


def _old_conv1d_kernel(layer, kernel):
    """A Keras-1 kernel (length, 1, channels, filters), or 1.1's (filters, channels, length, 1), without its 1."""
    length, kernel = layer.kernel_size[0], np.asarray(kernel)
    if kernel.shape[:2] != (length, 1) or kernel.shape[3] != layer.filters:
        if kernel.shape[0] != layer.filters or kernel.shape[2:] != (length, 1):
            raise InvalidModelFile(f'A kernel of shape {kernel.shape} is none that Keras 1 wrote for layer '
                                   f'"{layer.name}" ({layer.filters} filters of length {length}).')
        kernel = np.transpose(kernel, (2, 3, 1, 0))
    return kernel[:, 0]


def _local_kernel(layer, kernel):
    """The (positions, inputs of a position, filters) of a kernel that tf.keras stored by another `implementation`.

    2: dense, from all inputs to all outputs, (rows, columns, channels, rows, columns, filters). 3: the weights that
    there are, in a row, ordered by their output and then by their input.
    """
    positions, size, filters = layer.kernel_shape
    first, sizes, rank = layer.data_format == 'channels_first', layer.input_sizes, layer.rank
    numbers = np.arange(np.prod(sizes)).reshape(sizes)
    axes = tuple(range(1, rank + 1)) if first else tuple(range(rank))
    windows = np.lib.stride_tricks.sliding_window_view(numbers, layer.kernel_size, axes)
    windows = np.moveaxis(windows, 0 if first else rank, rank if first else -1)
    windows = windows[tuple(slice(None, None, stride) for stride in layer.strides)]
    inputs = windows.reshape(positions, size, 1)
    outputs = np.arange(positions * filters)
    outputs = outputs.reshape(filters, positions).T if first else outputs.reshape(positions, filters)
    inputs, outputs = np.broadcast_arrays(inputs, outputs[:, None])
    if kernel.ndim == 1 and kernel.size == inputs.size:
        found = np.empty(inputs.size, kernel.dtype)
        found[np.lexsort((inputs.ravel(), outputs.ravel()))] = kernel
        return found.reshape(inputs.shape)
    if kernel.size == numbers.size * positions * filters:
        return kernel.reshape(numbers.size, -1)[inputs, outputs]
    return kernel


def _fit_kernel(layer, kernel, shape, reshape):
    if kernel.shape == shape:
        return kernel
    if reshape:
        if kernel.size != np.prod(shape):
            raise ValueError(f'Weights must be of equal size to apply a reshape operation. Layer {layer.name}\'s '
                             f'weights have shape {shape} and size {np.prod(shape)}. The weights for loading have '
                             f'shape {kernel.shape} and size {kernel.size}. ')
        return np.reshape(kernel, shape)
    # Keras also takes (channels, filters, columns, rows), whoever wrote it
    turned = np.transpose(kernel, (3, 2, 0, 1)) if kernel.ndim == 4 else kernel
    return turned if turned.shape == shape else kernel


def _convert_recurrent(layer, weights):
    """[kernel, recurrent kernel, bias] between the plain and the cuDNN form; the bias' shape tells the form.

    cuDNN keeps each gate's matrices transposed (the input one without changing its claimed shape) and separate biases
    for the input and the recurrent product.
    """
    kernel, recurrent, bias = weights
    if kernel.ndim != 2 or recurrent.ndim != 2:
        return weights  # no recurrent layer's arrays: the caller reports the shapes
    kind = type(layer).__name__
    lstm = kind.endswith('LSTM')
    gates = 4 if lstm else 3
    width = gates * recurrent.shape[0]
    forms = {(width,): 'LSTM', (2 * width,): 'CuDNNLSTM'} if lstm else {
        (width,): 'GRU(reset_after=False)', (2, width): 'GRU(reset_after=True)', (2 * width,): 'CuDNNGRU'}
    if bias.shape not in forms:
        raise ValueError(f'Invalid bias shape: {bias.shape}')
    source, target = forms[bias.shape], f'GRU(reset_after={bool(layer.reset_after)})' if kind == 'GRU' else kind
    if source == target:
        return weights
    if 'GRU(reset_after=False)' in (source, target):
        raise ValueError(f'{source} is not compatible with {target}')

    kernel, recurrent, bias = map(np.asarray, weights)
    from_cudnn = source.startswith('CuDNN')
    if lstm:
        bias = bias[:width] + bias[width:] if from_cudnn else np.tile(0.5 * bias, 2)
    else:
        bias = bias.reshape((2, -1) if from_cudnn else -1)
    order = 'F' if from_cudnn else 'C'
    return [_by_gate(kernel, gates, lambda block: block.T.reshape(block.shape, order=order)),
            _by_gate(recurrent, gates, np.transpose), bias]


def _by_gate(matrix, gates, function):
    return np.concatenate([function(block) for block in np.split(matrix, gates, axis=1)], axis=1)
