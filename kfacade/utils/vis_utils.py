"""Pictures of models, drawn by Graphviz."""
import os
import re
import shutil

from ..registry import known

_NEEDED = ('Drawing a model needs the package `pydot` (`pip install kfacade[plot]`) and the program `dot` of Graphviz '
           '(https://graphviz.org, `apt-get install graphviz`), but {} was not found. `model.summary()` and '
           '`model.code` show the model without them.')
_DIRECTIONS = ('TB', 'BT', 'LR', 'RL')


def _check_pydot():
    """The package pydot. Raises ImportError where there is none, OSError where there is no program `dot`."""
    try:
        import pydot
    except ImportError as error:
        raise ImportError(_NEEDED.format('`pydot`')) from error
    if not shutil.which('dot'):
        raise OSError(_NEEDED.format('`dot`'))
    return pydot


def model_to_dot(model, show_shapes=False, show_layer_names=True, rankdir='TB', expand_nested=False):
    """The graph of a model's layers, as a ``pydot.Dot``.

    Arguments:
        show_shapes: whether to show the shapes of what goes into each layer and comes out.
        show_layer_names: whether to show names beside the types.
        rankdir: where the graph runs: 'TB' from top to bottom, 'BT', 'LR' (left to right) or 'RL'.
        expand_nested: whether a model inside is drawn with its own layers, in a frame.

    Raises ImportError or OSError that says what to install, ValueError for another `rankdir`.
    """
    if rankdir not in _DIRECTIONS:
        raise ValueError(f'`rankdir` must be one of {", ".join(_DIRECTIONS)}. Received: {rankdir!r}')
    pydot = _check_pydot()
    dot = pydot.Dot(rankdir=rankdir, concentrate=True)
    dot.set_node_defaults(shape='record')

    def expands(layer):
        return expand_nested and getattr(layer, '_is_graph_network', False)

    def end(layer, index, is_output):
        """The id of the layer that makes output number `index` of a layer, or takes its input."""
        while expands(layer):
            layer, _, index = (layer._output_coordinates if is_output else layer._input_coordinates)[index]
        return str(id(layer))

    def draw(model, graph):
        for layer in model._layers:
            if expands(layer):
                frame = pydot.Cluster(str(id(layer)), label=layer.name)
                draw(layer, frame)
                graph.add_subgraph(frame)
            else:
                graph.add_node(pydot.Node(str(id(layer)), label=_label(layer, show_shapes, show_layer_names)))
        for layer in model._layers:
            for i, node in enumerate(layer._inbound_nodes):
                if model._node_key(layer, i) not in getattr(model, '_network_nodes', ()):
                    continue
                for k, (source, tensor) in enumerate(zip(node.inbound_layers, node.tensor_indices)):
                    graph.add_edge(pydot.Edge(end(source, tensor, True), end(layer, k, False)))

    draw(model, dot)
    return dot


def _label(layer, show_shapes, show_layer_names):
    """What is written into the box of a layer; the inner layer of a wrapper comes in brackets."""
    name, kind = layer.name, type(layer).__name__
    if isinstance(layer, known()['Wrapper']):
        name, kind = f'{name}({layer.layer.name})', f'{kind}({type(layer.layer).__name__})'
    label = re.sub(r'([{}|<>])', r'\\\1', f'{name}: {kind}' if show_layer_names else kind)
    if show_shapes:  # a layer that was called on several shapes, or never, has none
        shapes = [getattr(layer, side, 'multiple') for side in ('input_shape', 'output_shape')]
        label += '\n|{{input:|output:}}|{{{{{}}}|{{{}}}}}'.format(*shapes)
    return label


def plot_model(model, to_file='model.png', show_shapes=False, show_layer_names=True, rankdir='TB',
               expand_nested=False):
    """Draws a model into a file, whose ending says the format (png, svg, pdf, ...; png without one).

    The other arguments, and errors, are those of `model_to_dot`.
    """
    dot = model_to_dot(model, show_shapes, show_layer_names, rankdir, expand_nested)
    dot.write(to_file, format=os.path.splitext(to_file)[1][1:] or 'png')
