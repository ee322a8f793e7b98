"""What a compiled graph of the test phase does in fewer passes over memory than its layers one after the other."""
import math
import operator

import torch
from torch import fx
from torch.nn.modules import module as torch_module

from ..backend.graph import PHASE, invoke, walk
from ..backend.symbolic import SubGraph, SymbolicTensor, leaves
from ..utils.generic_utils import is_own
from .base_layer import Layer

# How many samples, and numbers in what one layer gives for them, are computed together: then the work outweighs the
# calls, and a cache still holds the numbers.
_SAMPLES, _NUMBERS = 256, 3 * 2 ** 19

FORWARD = 'forward', 'forward_pre'  # kinds of hooks
_is_unpatched = operator.methodcaller('isdisjoint', {'forward', '_compiled_call_impl'})


def fuse(graph):
    """Joins layers of a `CompiledGraph` of the test phase.

    A BatchNormalization scales the weights of the layer before it, and a ReLU is computed with what it is of, or it and
    its like in its place. Layers that act in training alone are left out. Others are called as `called_directly` says.
    Layers with hooks or a replaced `forward` are left alone, since these see what goes in and comes out; of later ones
    `is_outdated` tells. The graph then takes what `scaled` gives after its other inputs.
    """
    graph.hooks = global_hooks()
    _join(graph)
    _call_directly(graph)
    graph.module.recompile()
    graph.forward = graph.module.forward
    graph.watched = _watched(graph)


def _are_seen(graph, *layers):
    """Whether `is_watched` is true of layers. From now on `is_outdated` tells where that changes."""
    graph.hooks += hooks_of(layers)
    graph.attributes += [vars(layer).keys() for layer in layers]
    return is_watched(layers)


def _watched(graph):
    return [*map(bool, graph.hooks), *map(_is_unpatched, graph.attributes)]


def _join(graph):
    module, nodes = graph.module, graph.module.graph
    inputs, behind = [node for node in nodes.nodes if node.op == 'placeholder'], {}
    for node in list(nodes.nodes):
        after, source = _layer(module, node), node.args and node.args[0]
        if after is None or not isinstance(source, fx.Node):
            continue
        if getattr(after, 'only_trains', False) and node.kwargs.get('training') is False:
            if not _are_seen(graph, after):
                node.replace_all_uses_with(source)
                nodes.erase_node(node)
            continue
        if len(source.users) > 1:
            continue
        before = behind.get(source) or _layer(module, source)
        scales = getattr(before, 'scaled_weight', None) and 'activation' not in source.kwargs
        normalizes = scales and inputs and source not in behind and _normalizes(after, before, node)
        relu = _is_relu(module, after, node)
        joins = normalizes or relu and scales
        makes_new = getattr(before, 'makes_new', False) and (  # a function of the user's may give what others hold
            getattr(source.kwargs.get('activation'), 'op', 'get_attr') == 'get_attr')
        over = (relu or getattr(after, 'may_write_over', False)) and (scales or makes_new)
        if not (joins or over) or _are_seen(graph, before, after):
            continue
        if not joins:
            node.update_kwarg('over', True)
            continue
        with nodes.inserting_before(node):
            if normalizes:
                graph.normalized.append((node.target, source.target))
                with nodes.inserting_after(inputs[-1]):
                    inputs.append(nodes.placeholder(f'scaled_{source.name}'))
                joined = nodes.call_function(invoke, (inputs[-1], *source.args))
            else:
                joined = nodes.create_node(source.op, source.target, source.args, {**source.kwargs, **node.kwargs})
        behind[joined] = before
        node.replace_all_uses_with(joined, propagate_meta=True)
        nodes.erase_node(node)
        nodes.erase_node(source)


def _call_directly(graph):
    module, nodes = graph.module, graph.module.graph
    methods = {}  # of layers that are called more than once: the fx of torch 2.6 asks for the same object
    for node in list(nodes.nodes):
        layer = _layer(module, node)
        method, kwargs = called_directly(layer, node.kwargs, training=False)
        if method is layer or _are_seen(graph, layer):
            continue
        with nodes.inserting_before(node):
            method = methods.setdefault(layer, method)
            direct = nodes.create_node('call_function', method, node.args, kwargs, node.name)
        node.replace_all_uses_with(direct, propagate_meta=True)
        nodes.erase_node(node)


def called_directly(called, kwargs, training):
    """What a graph may call in the place of a layer, and with which keywords, unless somebody would see the difference.

    To call a module takes as long as a small product. Other functions and modules come back as they are.
    """
    if type(called).__call__ is not Layer.__call__:
        return called, kwargs
    return called.forward, {**({'training': training} if called._takes_training else {}), **kwargs}


def scaled(graph):
    """Functions that compute what the normalized layers of a graph do, with the weights of now."""
    return [getattr(graph.module, norm).after(getattr(graph.module, layer)) for norm, layer in graph.normalized]


def is_outdated(graph):
    """Whether hooks or replaced functions have come to layers that `fuse` dealt with, or gone from them."""
    return graph.watched != _watched(graph)


def are_patched(attributes):
    """Whether a layer has a `forward` of its own, from somebody or from torch's ``compile()`` of a module.

    `attributes`: for each layer, the names of what it has itself.
    """
    return not all(map(_is_unpatched, attributes))


def most_at_once(model):
    """How many samples of small batches `predict` may compute together; 0 where something could see that it does.

    That is all but built-in layers without hooks, which treat each sample by itself.
    """
    largest = 1
    if not all(isinstance(x, SymbolicTensor) for x in model.outputs):  # a weight may be one
        return 0
    for x in walk(model.outputs, [PHASE]):
        layer, phase = x.fn, x.kwargs.get('training')
        apart = layer is None or is_own(layer) and getattr(layer, 'by_sample', False) and (
            phase is PHASE or not isinstance(phase, SymbolicTensor) and not phase) and not any(
                isinstance(value, SubGraph) for value in leaves(x.kwargs))
        shape = x._keras_shape
        if not apart or not shape or shape[0] is not None or None in shape[1:]:
            return 0
        largest = max(largest, math.prod(shape[1:]))
    return min(_SAMPLES, _NUMBERS // largest)


def is_watched(modules):
    """Whether a hook, or a `forward` of somebody's, sees what goes through one of these modules."""
    return any(global_hooks() + hooks_of(modules)) or are_patched([vars(module).keys() for module in modules])


def parts_of(module):
    """A module and those in it, of which shared ones come again. Torch's generator takes much longer."""
    parts = [module]
    for part in parts:
        parts += filter(None, part._modules.values())
    return parts


def global_hooks(kinds=FORWARD):
    """The dicts of hooks that all modules have."""
    return [getattr(torch_module, f'_global_{kind}_hooks') for kind in kinds]


def hooks_of(modules, kinds=FORWARD):
    """The dicts of hooks that these modules have."""
    return [getattr(module, f'_{kind}_hooks') for module in modules for kind in kinds]


def _layer(module, node):
    """The layer that a node calls, if it is one of this package's own, or None."""
    layer = getattr(module, node.target) if node.op == 'call_module' else None
    return layer if is_own(layer) else None


def _normalizes(layer, before, node):
    """Whether this is a BatchNormalization, in test, of the channels that come out of the layer before it."""
    return hasattr(layer, 'after') and not node.kwargs.get('training') and (
        layer.axis - getattr(before, '_channel_axis', -1)) % layer.input_spec.ndim == 0


def _is_relu(module, layer, node):
    """Whether this is an Activation by ReLU."""
    function = getattr(layer, 'only_activates', False) and node.kwargs.get('activation')
    return bool(function) and function.op == 'get_attr' and getattr(module, function.target) is torch.relu
