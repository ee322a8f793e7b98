"""Tables and conversions of whole models."""
import numpy as np

from .. import backend as K
from .conv_utils import convert_kernel
from .ranks import tell

_CONVOLUTIONS = {'Conv1D', 'Conv2D', 'Conv3D', 'Conv2DTranspose'}


def count_params(weights):
    """How many numbers the weights hold together, each weight counted once."""
    return int(sum(K.count_params(weight) for weight in set(weights)))


def print_summary(model, line_length=None, positions=None, print_fn=None):
    """Prints a table of the model's layers, with output shapes and numbers of weights, line by line with `print_fn`.

    `line_length` is 65, or 98 where the layers are not one chain, with a column of connections. `positions`: where each
    column ends, in characters, or as fractions of the width.
    """
    print_fn = print_fn or tell
    nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes] if model._is_graph_network else []
    chain = _is_chain(model, nodes)
    columns = ['Layer (type)', 'Output Shape', 'Param #'] + ['Connected to'] * (not chain)
    line_length = line_length or (65 if chain else 98)
    positions = positions or ([.45, .85, 1.] if chain else [.33, .55, .67, 1.])
    if positions[-1] <= 1:
        positions = [int(line_length * p) for p in positions]

    def rule(character):
        print_fn(character * line_length)

    def row(*fields):
        line = ''
        for field, end in zip(fields, positions):
            line = ((line[:-1] + ' ' if line else '') + str(field))[:end].ljust(end)
        print_fn(line)

    rule('_')
    row(*columns)
    rule('=')
    for layer in model.layers:
        shape = getattr(layer, 'output_shape', 'multiple')  # or called on several, or never
        connections = [] if chain else _connections(layer, nodes) or ['']
        row(f'{layer.name} ({type(layer).__name__})', shape, layer.count_params(), *connections[:1])
        for connection in connections[1:]:
            row('', '', '', connection)
        rule('=' if layer is model.layers[-1] else '_')

    model._check_trainable_weights_consistency()
    trainable = count_params(getattr(model, '_collected_trainable_weights', model.trainable_weights))
    frozen = count_params(model.non_trainable_weights)
    for kind, count in (('Total', trainable + frozen), ('Trainable', trainable), ('Non-trainable', frozen)):
        print_fn(f'{kind} params: {count:,}')
    rule('_')


def _is_chain(model, nodes):
    """Whether a list of layers tells all: a Sequential, a subclassed model, or one call of each layer, in a row."""
    if type(model).__name__ == 'Sequential' or not model._is_graph_network:
        return True
    return (all(len(nodes) == 1 for nodes in model._nodes_by_depth.values())
            and all(len(node.inbound_layers) <= 1 for node in nodes)
            and len({id(node.outbound_layer) for node in nodes}) == len(nodes))


def _connections(layer, nodes):
    return [f'{source.name}[{node_index}][{tensor_index}]'
            for node in layer._inbound_nodes if node in nodes
            for source, node_index, tensor_index in zip(node.inbound_layers, node.node_indices, node.tensor_indices)]


def get_source_inputs(tensor, layer=None, node_index=None):
    """The list of input symbols that a symbol is computed from; a tensor that is no Keras tensor comes back as it is.

    `layer` and `node_index` say which call gave it, where this is known.
    """
    if not hasattr(tensor, '_keras_history'):
        return tensor
    if layer is None or node_index:
        layer, node_index, _ = tensor._keras_history
    if not layer._inbound_nodes:
        return [tensor]
    sources, seen, todo = {}, set(), [layer._inbound_nodes[node_index or 0]]
    while todo:
        node = todo.pop()
        if not node.inbound_layers:
            sources.update((id(x), x) for x in node.input_tensors)
        elif id(node) not in seen:
            seen.add(id(node))
            calls = zip(node.inbound_layers, node.node_indices)
            todo += reversed([source._inbound_nodes[index] for source, index in calls])
    return list(sources.values())


def convert_all_kernels_in_model(model):
    """Turns the kernels of all convolutions by 180 degrees: from Theano's convention to TensorFlow's, or back."""
    kernels = [layer.kernel for layer in model.layers if type(layer).__name__ in _CONVOLUTIONS]
    K.batch_set_value([(kernel, convert_kernel(K.get_value(kernel))) for kernel in kernels])


def convert_dense_weights_data_format(dense, previous_feature_map_shape, target_data_format='channels_first'):
    """Reorders the rows of a `Dense` kernel that follows a `Flatten` of images whose layout changes.

    `previous_feature_map_shape` is what `Flatten` is to get in the new layout, `target_data_format`: (channels, rows,
    columns) for 'channels_first', (rows, columns, channels) for 'channels_last'.
    """
    if target_data_format not in ('channels_first', 'channels_last'):
        raise ValueError(f'Unknown target_data_format: {target_data_format!r}. Expected "channels_first" or '
                         '"channels_last".')
    kernel, *bias = dense.get_weights()
    if target_data_format == 'channels_first':
        channels, *image = previous_feature_map_shape
        moved = np.moveaxis(kernel.reshape(*image, channels, -1), 2, 0)
    else:
        *image, channels = previous_feature_map_shape
        moved = np.moveaxis(kernel.reshape(channels, *image, -1), 0, 2)
    dense.set_weights([moved.reshape(kernel.shape), *bias])
