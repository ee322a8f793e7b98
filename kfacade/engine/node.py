"""Nodes: the calls of layers on symbols, and what a layer tells about them."""
from ..backend import session as K
from ..utils.generic_utils import unpack_singleton


class InputSpec:
    """What a layer expects of an input: `dtype`, `shape`, `ndim`, bounds on the rank, and sizes of single `axes`."""

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None):
        self.dtype, self.shape = dtype, shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim, self.min_ndim, self.axes = max_ndim, min_ndim, axes or {}

    def __repr__(self):
        given = {k: v for k, v in vars(self).items() if v}
        return f'InputSpec({", ".join(f"{k}={v}" for k, v in given.items())})'

    def check(self, x, index, name):
        """Raises ValueError where the tensor `x`, input number `index` of layer `name`, does not fit."""
        shape = K.int_shape(x)
        start = f'Input {index} is incompatible with layer {name}: '
        for wanted, fits, text in ((self.ndim, lambda n: len(shape) == n, 'ndim'),
                                   (self.max_ndim, lambda n: len(shape) <= n, 'max_ndim'),
                                   (self.min_ndim, lambda n: len(shape) >= n, 'min_ndim')):
            if wanted is not None and not fits(wanted):
                raise ValueError(f'{start}expected {text}={wanted}, found ndim={len(shape)} (shape {shape})')
        if self.dtype is not None and K.dtype(x) != self.dtype:
            raise ValueError(f'{start}expected dtype={self.dtype}, found dtype={K.dtype(x)}')
        for axis, value in self.axes.items():
            if value is not None and shape[int(axis)] not in (value, None):
                raise ValueError(f'{start}expected axis {axis} of input shape to have value {value} '
                                 f'but got shape {shape}')
        for wanted, found in zip(self.shape or (), shape):
            if wanted is not None and found is not None and wanted != found:
                raise ValueError(f'{start}expected shape={self.shape}, found shape={shape}')


class Node:
    """One call of a layer: the layers, tensors, masks and shapes on both sides, and the call's arguments.

    Making it links it into the `_outbound_nodes` of the layers it reads from and the `_inbound_nodes` of its own.
    """

    def __init__(self, outbound_layer, inbound_layers, node_indices, tensor_indices, input_tensors, output_tensors,
                 input_masks, output_masks, input_shapes, output_shapes, arguments=None):
        self.outbound_layer = outbound_layer
        self.inbound_layers, self.node_indices, self.tensor_indices = inbound_layers, node_indices, tensor_indices
        self.input_tensors, self.output_tensors = input_tensors, output_tensors
        self.input_masks, self.output_masks = input_masks, output_masks
        self.input_shapes, self.output_shapes = input_shapes, output_shapes
        self.arguments = arguments
        for layer in inbound_layers:
            if layer is not None:
                layer._outbound_nodes.append(self)
        outbound_layer._inbound_nodes.append(self)

    def get_config(self):
        """Names and indices of the two sides."""
        return {'outbound_layer': self.outbound_layer.name if self.outbound_layer else None,
                'inbound_layers': [layer.name if layer else None for layer in self.inbound_layers],
                'node_indices': self.node_indices, 'tensor_indices': self.tensor_indices}


def _at(attribute, what):
    def get(self, node_index):
        nodes = self._inbound_nodes
        if not nodes:
            raise RuntimeError(f'The layer {self.name} has never been called and thus has no defined {what}.')
        if not -len(nodes) <= node_index < len(nodes):
            raise ValueError(f'Asked to get {what} at node {node_index}, but the layer has only {len(nodes)} inbound '
                             'nodes.')
        return unpack_singleton(getattr(nodes[node_index], attribute))
    get.__doc__ = f'The {what}, or list of them, of call number `node_index`.'
    return get


def _only(attribute, what):
    def get(self):
        nodes = self._inbound_nodes
        if len(nodes) > 1:
            raise AttributeError(f'Layer {self.name} has multiple inbound nodes, hence the notion of "layer {what}" is '
                                 f'ill-defined. Use `get_{what.replace(" ", "_")}_at(node_index)` instead.')
        if not nodes:
            raise AttributeError(f'Layer {self.name} is not connected, no input to return.' if what == 'input' else
                                 f'Layer {self.name} has no inbound nodes.')
        return unpack_singleton(getattr(nodes[0], attribute))
    return property(get, doc=f'The {what} of the only call. Raises AttributeError when there was none, or several.')


def _agreed(attribute, what):
    def get(self):
        shapes = {str(getattr(node, attribute)) for node in self._inbound_nodes}
        if not shapes:
            raise AttributeError(f'The layer {self.name} has never been called and thus has no defined {what}.')
        if len(shapes) > 1:
            raise AttributeError(f'The layer "{self.name}" has multiple inbound nodes, with different {what}s. '
                                 f'Hence the notion of "{what}" is ill-defined for the layer. '
                                 f'Use `get_{what.replace(" ", "_")}_at(node_index)` instead.')
        return unpack_singleton(getattr(self._inbound_nodes[0], attribute))
    return property(get, doc=f'The {what}, where all calls agree on it; else raises AttributeError.')


class NodeAccess:
    """The half of a layer that answers what it was called on."""

    # Scripts that cut a model short empty these: `model.layers[-1].outbound_nodes = []`.
    inbound_nodes = property(lambda self: self._inbound_nodes,
                             lambda self, nodes: setattr(self, '_inbound_nodes', nodes))
    outbound_nodes = property(lambda self: self._outbound_nodes,
                              lambda self, nodes: setattr(self, '_outbound_nodes', nodes))

    get_input_at, get_output_at = _at('input_tensors', 'input'), _at('output_tensors', 'output')
    get_input_shape_at = _at('input_shapes', 'input shape')
    get_output_shape_at = _at('output_shapes', 'output shape')
    get_input_mask_at, get_output_mask_at = _at('input_masks', 'input mask'), _at('output_masks', 'output mask')
    input, output = _only('input_tensors', 'input'), _only('output_tensors', 'output')
    input_mask, output_mask = _only('input_masks', 'input mask'), _only('output_masks', 'output mask')
    input_shape, output_shape = _agreed('input_shapes', 'input shape'), _agreed('output_shapes', 'output shape')
