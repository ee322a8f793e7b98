"""The network that is converted: its calls of layers, and what can be told of a tensor from what comes after it."""
from ...utils.generic_utils import has_arg
from ..conversions import is_model
from .pieces import refusal


class Graph:
    """The calls of layers in a network, one branch after the other.

    `readers` has for each tensor (by its id) the nodes that read it, `last` the place of the last one in `nodes`.
    """

    def __init__(self, network):
        self.network, done = network, {id(x): None for x in network._feed_inputs}
        stack, self.nodes, self.readers, self.last = [(x, False) for x in reversed(network.outputs)], [], {}, {}
        while stack:
            x, ready = stack.pop()
            if id(x) in done:
                continue
            layer, index, _ = x._keras_history
            node = layer._inbound_nodes[index]
            if not ready:
                if x in node.input_tensors:
                    raise refusal(layer, 'its tensor is not an input of the model.')
                stack += [(x, True), *((y, False) for y in reversed(node.input_tensors))]
                continue
            done.update((id(y), None) for y in node.output_tensors)
            for y in node.input_tensors:
                self.readers.setdefault(id(y), []).append(node)
                self.last[id(y)] = len(self.nodes)
            self.nodes.append(node)
        self.last.update((id(x), len(self.nodes)) for x in network.outputs)

    def after(self, x):
        """(node, layer, its class name) of all that reads a tensor."""
        return [(node, node.outbound_layer, type(node.outbound_layer).__name__) for node in self.readers.get(id(x), ())]


def _inner_input(node, x):
    """The input of a nested model that stands for a tensor it is called on."""
    return next(y for y, given in zip(node.outbound_layer._feed_inputs, node.input_tensors) if given is x)


def image_axis(graph, x):
    """Where the channels of an input lie in images as torch has them; -1: it has none, or Keras has them there."""
    queue, rank = [x], len(x._keras_shape)
    while queue and rank > 3:
        x = queue.pop(0)
        for node, layer, _ in graph.after(x):
            axis = image_axis(Graph(layer), _inner_input(node, x)) if is_model(layer) else _image_axis(layer, rank)
            if axis is not None:
                return axis
            queue += [y for y in node.output_tensors if len(y._keras_shape) == rank]
    return 1 if rank > 3 else -1


def _image_axis(layer, rank):
    """The same as one layer sees it; None where it does not care."""
    kind, inner = type(layer).__name__, getattr(layer, 'layer', None)
    if inner is not None:
        axis = 1 if is_model(inner) else _image_axis(inner, rank - (kind == 'TimeDistributed'))
        return -1 if rank < 5 or axis == -1 else 2
    if kind in ('Permute', 'Embedding', 'BatchNormalization'):
        return 1 if getattr(layer, 'axis', 1) in (-1, rank - 1) else -1
    if hasattr(layer, 'data_format'):
        return -1 if layer.data_format == 'channels_first' else 1 + kind.startswith('ConvLSTM')
    return None


def awaits_mask(graph, x, gives_mask):
    """Whether anything that comes after a tensor does something with its mask."""
    if gives_mask and x is graph.network.outputs[0]:
        return True
    for node, layer, kind in graph.after(x):
        if hasattr(getattr(layer, 'layer', layer), 'return_sequences') or kind == 'GlobalAveragePooling1D' or (
                kind == 'Lambda' and has_arg(layer.function, 'mask')):
            return True
        if kind in ('Embedding', 'Masking') or not (layer.supports_masking or is_model(layer)):
            continue
        later = awaits_mask(graph, node.output_tensors[0], gives_mask)
        if awaits_mask(Graph(layer), _inner_input(node, x), later) if is_model(layer) else later:
            return True
    return False
