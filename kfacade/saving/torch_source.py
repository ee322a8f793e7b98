"""A model as the source of a plain PyTorch module, with its weights beside it.

The network is walked call by call. For each layer the table in `torch_source_layers` says what stands for it: text for
``__init__``, tensors for the state dict, text for ``forward``. What torch lacks is copied from ``torch_source.txt``.
"""
import ast
import builtins
import dataclasses
import importlib.resources
import keyword
import math
import os
import re
import textwrap
import unicodedata

import torch

from ..backend.dtypes import torch_dtype
from ..backend.symbolic import Face
from ..utils.generic_utils import has_arg, is_own, to_list
from .atomic import may_write, replacing, suffix_of
from .conversions import is_model
from .torch_files import plain_layers, write_tensors
from .torch_ports import Unportable, is_plain, ported, source_of
from .torch_source_layers import ACTIVATIONS, LAYERS, PASSING, PHASED, number, refusal

_WIDTH = 110
_POOL = ('x', 'y', 'z', 'u', 'v', 'w', *(f'x{i}' for i in range(1, 1000)))  # names of tensors, which are used again
_SHORT = 12  # a tensor that lives longer than so many lines is called after its layer
_TEXTS = dict(re.findall(r'^=== (\w+)\n(.*?)\n+(?==== |\Z)', importlib.resources.files(__package__).joinpath(
    'torch_source.txt').read_text(encoding='utf-8'), re.DOTALL | re.MULTILINE))
_PARTS = {name: text for name, text in _TEXTS.items() if re.match(rf'(def|class) {name}\b', text)}
_TAKEN = {*keyword.kwlist, *dir(builtins), *_PARTS, *_POOL, 'F', 'Path', 'backward', 'both', 'forward', 'load', 'nn',
          'self', 'torch'}
_IMPORTS = {'torch': 'import torch', 'F': 'import torch.nn.functional as F',
            'load_file': 'from safetensors.torch import load_file', 'nn': 'from torch import nn',
            'pad_packed_sequence': 'from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence'}
_LOSSES = {
    'mean_squared_error': 'F.mse_loss({model}, y)', 'mean_absolute_error': 'F.l1_loss({model}, y)',
    'binary_crossentropy': 'F.binary_cross_entropy({model}, y)',
    'categorical_crossentropy': '-(y * {model}.clamp(min=1e-7).log()).sum(-1).mean()  # of probabilities',
    'sparse_categorical_crossentropy': 'F.nll_loss({model}.clamp(min=1e-7).log(), y)  # of probabilities'}
_LOSSES |= {'mse': _LOSSES['mean_squared_error'], 'mae': _LOSSES['mean_absolute_error']}


def to_torch_source(model, path, keep_layout=False, overwrite=True, safetensors=False):
    """Writes a model as a readable Python module that needs torch alone, and its weights beside it.

    ``load()`` of that module gives a `torch.nn.Module` with the numbers of the model, in both phases. It takes the
    inputs by position and returns the output, or a tuple of them. Images go in and come out with the channels first, as
    torch has them, wherever the model has them last; its docstring says the shapes.

    # Arguments
        model: a built graph of layers; it stays as it is.
        path: the Python file. The weights lie beside it, under the same name, as ``.pt``.
        keep_layout: whether inputs and outputs keep the axes in Keras' order.
        overwrite: whether existing files are replaced without asking.
        safetensors: whether the weights are written as ``.safetensors`` (needs ``kfacade[safetensors]``, and so does
            the module).

    The source of `Lambda` functions goes over where it is plain Python or uses the commonest backend functions;
    otherwise it is quoted, like that of custom layers, at the place where torch code has to take over.
    Raises ValueError, naming the layer, for what cannot be converted. Nothing is written then.
    """
    path, model = os.fspath(path), getattr(model, 'saved_as', model)
    stem = os.path.basename(path)[:-3]
    if suffix_of(path) != '.py' or not stem.isidentifier() or keyword.iskeyword(stem):
        raise ValueError(f'The module must have a name that Python can import, such as "model.py". Received: {path!r}')
    if not getattr(model, 'inputs', None):
        raise ValueError(f'Model "{model.name}" cannot be converted: it is no graph of layers, or is not built yet.')
    weights = path[:-3] + ('.safetensors' if safetensors else '.pt')
    source = Source(model, keep_layout, os.path.basename(weights))
    text, tensors = source.text(), {key: t.cpu().contiguous() for key, t in source.main.state.items()}
    if not (source.unported or source.draws or source.main.kept):
        _check(source, text, tensors)
    if may_write(path, overwrite) and may_write(weights, overwrite):
        with replacing(path) as file, replacing(weights) as beside:
            file.write(text.encode())
            write_tensors(tensors, beside, pickled=not safetensors)


def _check(source, text, tensors):
    """Raises ValueError where the module does not compute what the model computes."""
    model, main, space = source.model, source.main, {'__name__': '', '__file__': source.weights}
    inputs = [torch.linspace(0, 1.99, math.prod(shape)).reshape(shape).to(
        source.dtype if x.dtype.is_floating_point else torch_dtype(x.dtype))
        for x, shape in ((x, _example(x._keras_shape)) for x in model._feed_inputs)]
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        try:
            wanted = model.graph(False)(*(x.to(model._place()[0]) for x in inputs))
        except Exception:  # what these sizes, which the model leaves open, do not go together with
            return
        try:
            exec(compile(text, f'<{model.name}>', 'exec'), space)
            module = space[main.name]().to(source.dtype).eval()
            module.load_state_dict(tensors)
            got = module(*(x if y.at == -1 else x.movedim(-1, y.at) for x, y in zip(inputs, main.inputs)))
        except Exception as error:
            raise ValueError(f'Model "{model.name}" cannot be converted: {error}') from error
    for y, one, other in zip(main.outputs, got if isinstance(got, tuple) else [got], wanted):
        one, other = one if y.at == -1 else one.movedim(y.at, -1), other.cpu()
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(f'Model "{model.name}" cannot be converted: what the module computes differs from it by '
                             f'{(one - other).abs().max().item():.2g}.')


def _example(shape):
    """Sizes for a shape."""
    return tuple(size or (64 if axis else 2) for axis, size in enumerate(shape))


# ---------------------------------------------------------------- the graph

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


# ---------------------------------------------------------------- the code of one class

@dataclasses.dataclass
class Value:
    """A tensor of the code, which `text` computes. `shape` is the one that Keras has.

    `at` is where Keras' last axis lies (-1: in its place), and `image` where it lies in the images that torch's modules
    take. `order` says for flattened images which feature of Keras' lies where (None: each in its place); `mask` is the
    name of the mask.
    """

    text: str
    shape: tuple
    at: int = -1
    image: int = -1
    order: torch.Tensor = None
    mask: str = None

    def __str__(self):
        return self.text

    def gives(self, text, **changes):
        """What is computed from it."""
        return dataclasses.replace(self, text=str(text), **changes)

    def then(self, suffix, **changes):
        """What a method or an index makes of it."""
        single = isinstance(ast.parse(self.text, mode='eval').body, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
        return self.gives(f'{self}{suffix}' if single else f'({self}){suffix}', **changes)

    def axis(self, axis):
        """Where one of Keras' axes, counted from 0, lies."""
        if self.at == -1 or axis < self.at:
            return axis
        return self.at if axis == len(self.shape) - 1 else axis + 1

    def sizes(self):
        """The shape that it has."""
        rest = list(self.shape)
        if self.at != -1:
            rest.insert(self.at, rest.pop())
        return rest

    def shown(self):
        first, *rest = self.sizes()
        return f'({", ".join(map(str, [first or "batch", *("any" if n is None else n for n in rest)]))})'


def identifier(name, taken=()):
    """A name that Python takes, and that is not taken."""
    name = re.sub(r'\W+', '_', unicodedata.normalize('NFKC', name)).strip('_')[:60] or 'layer'
    name = f'_{name}' if name[0].isdigit() else name
    name = name if name.isidentifier() else re.sub(r'\W', '_', name, flags=re.ASCII)
    while name in taken:
        name += '_'
    return name


def readable(name):
    """A name as texts and comments have it: names come out of files, and must not become code."""
    return re.sub(r'[^\w .:/-]+', '_', name)


class Names(set):
    """The names that are taken."""

    def fresh(self, name):
        """A new name like this one."""
        self.add(name := identifier(name, self))
        return name


class ClassCode:
    """The class for a network.

    `masks` says which inputs come with masks, `gives_mask` whether the mask of the first output is wanted.
    """

    def __init__(self, source, network, name, masks, gives_mask, frozen):
        self.source, self.network, self.name, self.frozen = source, network, name, frozen
        self.graph, self.gives_mask = Graph(network), gives_mask
        self.state, self.init, self.forward, self.kept = {}, [], [], []
        self.modules, self.labels = {}, {}  # (id of a layer, part) -> (attribute, constructor); id -> name
        self.variables = Names(_TAKEN)
        self.attributes = Names({*dir(torch.nn.Module()), *keyword.kwlist, 'reset_states'})
        inputs = network._feed_inputs
        self.inputs = [Value('x' if len(inputs) == 1 else self.fresh(x._keras_history[0].name), x._keras_shape,
                             image=image_axis(self.graph, x)) for x in inputs]
        for x, mask in zip(self.inputs, masks or [False] * len(inputs)):
            x.at = -1 if source.keep_layout else x.image
            x.mask = self.fresh(f'{x}_mask' if len(inputs) > 1 else 'mask') if mask else None
        self.values = {id(x): value for x, value in zip(inputs, self.inputs)}
        for i, node in enumerate(self.graph.nodes):
            self.node, values = node, [self.values[id(x)] for x in node.input_tensors]
            self.settle(i, values, to_list(self.applied(node.outbound_layer, values, node.output_shapes,
                                                        arguments=node.arguments)))
        results = [self.values[id(x)] for x in network.outputs]
        self.outputs = [self.at(x, -1 if source.keep_layout else x.image) for x in results]
        self.gives_mask = gives_mask and results[0].mask is not None

    # ------------------------------------------------------------ what the functions of the table ask for

    def at(self, x, place=-1):
        """The value with Keras' last axis at a place."""
        if x.at == place:
            return x
        return x.then('.transpose(1, 2)' if len(x.shape) == 3 else f'.movedim({x.at}, {place})', at=place)

    def bound(self, x, name=None):
        """The value as a variable."""
        if x.text.isidentifier():
            return x
        return x.gives(*self.unpacked(x, name or f'{self.node.outbound_layer.name}_in'))

    def unpacked(self, text, *names):
        """New variables, with names like these, for what `text` gives."""
        names = [self.fresh(name) for name in names]
        self.line(f'{", ".join(names)} = {text}')
        return names

    def fresh(self, name):
        return self.variables.fresh(name)

    def line(self, text, comment=None):
        self.forward.append((text, comment))

    def once(self, text):
        """A line of ``__init__``."""
        if text not in self.init:
            self.init.append(text)

    def keeps(self, name):
        """Where a state is kept between calls."""
        if name not in self.kept:
            self.kept.append(name)
        return f'self.{name}'

    def mask(self, text, layer):
        """A variable for a mask."""
        return self.unpacked(text, 'mask' if 'mask' not in self.variables else f'{layer.name}_mask')[0]

    def awaited(self):
        """Whether anything wants the mask of the call in hand."""
        return awaits_mask(self.graph, self.node.output_tensors[0], self.gives_mask)

    def calls(self, layer):
        return sum(layer in (node.outbound_layer, getattr(node.outbound_layer, 'layer', None))
                   for node in self.graph.nodes)

    def is_frozen(self, layer):
        return self.frozen or not layer.trainable

    def name_of(self, layer):
        return identifier(self.labels.get(id(layer), layer.name))

    def module(self, layer, text, suffix='', note=None, name=None, owner=None, **tensors):
        """The attribute that holds a module, which `text` makes and `tensors` fill; the same for each call."""
        key, tensors = (id(layer), suffix), {k: t.detach() for k, t in tensors.items() if t is not None}
        if key not in self.modules:
            attribute = self.attributes.fresh((name or self.name_of(layer)) + suffix)
            hold = '' if (owner or layer).trainable or not tensors else '.requires_grad_(False)'
            self.init += [f'# {" ".join(note.split())}'] if note else []
            self.init.append(f'self.{attribute} = {text}{hold}')
            self.modules[key] = attribute, text
            self.source.uses.setdefault(key, []).append((self, attribute, text, tensors))
            self.state.update({f'{attribute}.{k}': t for k, t in tensors.items()})
        attribute, made = self.modules[key]
        if made != text:
            raise refusal(layer, f'its calls need different modules, {made} and {text}.')
        return f'self.{attribute}'

    def activated(self, layer, x):
        """The value under the activation of a layer."""
        function = layer.activation
        if is_own(function) and getattr(function, '__name__', None) in ACTIVATIONS:
            return x.gives(ACTIVATIONS[function.__name__].format(x, x.at))
        name, elementwise = self.source.port(function, layer)
        return x.gives(f'{name}({x})') if elementwise else self.at(x).gives(f'{name}({self.at(x)})')

    def function(self, layer, function, default):
        """The text for an activation as an argument; None for the default."""
        name = getattr(function, '__name__', None)
        if function is None or is_own(function) and name == default:
            return None
        if is_own(function) and name in ACTIVATIONS:
            special = {'linear': 'nn.Identity()', 'softmax': 'nn.Softmax(1)'}
            return special.get(name, ACTIVATIONS[name].partition('(')[0])
        return self.source.port(function, layer)[0]

    def may_reorder(self, x=None):
        """Whether all that comes after the `Flatten` in hand can do with the features in another order than Keras'."""
        if x is None and (self.source.keep_layout or type(self.node.outbound_layer).__name__ != 'Flatten'):
            return False
        x = self.node.output_tensors[0] if x is None else x
        return not any(x is y for y in self.network.outputs) and all(
            is_own(type(layer)) and not getattr(layer, 'noise_shape', None) and self.calls(layer) == 1 and (
                kind == 'Dense' or (kind in PASSING and is_own(getattr(layer, 'activation', layer)) or kind in (
                    'BatchNormalization', 'Concatenate', 'PReLU', 'Softmax')) and self.may_reorder(
                        node.output_tensors[0])) for node, layer, kind in self.graph.after(x))

    # ------------------------------------------------------------ the walk

    def applied(self, layer, values, shapes, label=None, arguments=None):
        """The `Value`, or list of them, of a call of a layer that gives tensors of these shapes."""
        arguments = {key: value for key, value in (arguments or {}).items() if value is not None}
        training, kind = arguments.pop('training', None), type(layer).__name__
        self.training = None if training is None or isinstance(training, Face) else bool(training)
        self.shapes = shapes
        if label is not None:
            self.labels.setdefault(id(layer), label.name)
        if self.training is not None and kind not in PHASED and layer._uses_phase:
            arguments['training'] = self.training
        if arguments or not getattr(layer, '_is_graph_network', True) or is_own(type(layer)) and not (
                is_model(layer) or kind in LAYERS or kind == 'Lambda'):
            reason = f'it is called with {", ".join(arguments)}' if arguments else f'{kind} has no counterpart'
            raise refusal(layer, f'{reason}.')
        if is_model(layer):
            results = self.nested(layer, values)
        elif is_own(type(layer)) and kind != 'Lambda':
            results = LAYERS[kind](self, layer, *values)
        else:
            results = self.own_code(layer, values)
        found = [x.gives(x, shape=tuple(shape), mask=x.mask if layer.supports_masking or is_model(layer) else None)
                 for x, shape in zip(to_list(results), shapes)]
        return found if isinstance(results, list) else found[0]

    def nested(self, network, values):
        wanted = [x.mask is not None and awaits_mask(Graph(network), y, self.awaited())
                  for x, y in zip(values, network._feed_inputs)]
        inner = self.source.class_for(network, wanted, self.awaited(), self.is_frozen(network))
        module = self.module(network, f'{inner.name}()', **inner.state)
        self.source.parents.setdefault(inner, (self, module[5:]))
        if inner.kept:
            self.keeps(f'{module[5:]}.reset_states()')
        given = [self.at(x, y.at) for x, y in zip(values, inner.inputs)]
        text = f'{module}({", ".join([*map(str, given), *(x.mask for x, there in zip(values, wanted) if there)])})'
        if len(inner.outputs) == 1 and not inner.gives_mask:
            return inner.outputs[0].gives(text, mask=None)
        names = [module[5:] + ('_out' if len(inner.outputs) == 1 else f'_{i}') for i in range(len(inner.outputs))]
        names = self.unpacked(text, *names, *([f'{module[5:]}_mask'] if inner.gives_mask else []))
        results = [x.gives(name, mask=None) for x, name in zip(inner.outputs, names)]
        results[0].mask = names[-1] if inner.gives_mask else None
        return results

    def own_code(self, layer, values):
        """A `Lambda`, or a layer of the script's own: a module with its weights, whose `forward` is to be written."""
        options, alike = [], False
        shown = ' to '.join(' and '.join(Value('', shape).shown() for shape in shapes)
                            for shapes in ([x.shape for x in values], self.shapes))
        if type(layer).__name__ == 'Lambda':
            if callable(layer.mask):
                raise refusal(layer, 'it has a function for its mask.')
            name, elementwise = self.source.port(layer.function, layer, shown)
            alike = elementwise and len({len(x.shape) for x in values}) == 1
            odd = [key for key, value in layer.arguments.items() if not (is_plain(value) and key.isidentifier())]
            if odd:
                raise refusal(layer, f'its argument {odd[0]} is no plain value.')
            options = [f'{key}={value!r}' for key, value in layer.arguments.items()]
            options += [f'mask={values[0].mask}'] if has_arg(layer.function, 'mask') else []
        else:
            shapes = ', '.join(f'{w.key}={tuple(w.value.shape)}' for w in layer.weights)
            config = {**layer.get_config(), **dict.fromkeys(('name', 'trainable', 'batch_input_shape', 'dtype'))}
            config = ', '.join(f'{key}={value!r}' for key, value in config.items() if value is not None)
            name = self.module(layer, f'{self.source.stub(layer, shown)}({shapes})', note=config or None,
                               **{w.key: w.value for w in layer.weights})
        values = [self.at(x, max(y.at for y in values) if alike else -1) for x in values]
        given = str(values[0]) if len(values) == 1 else f'[{", ".join(map(str, values))}]'
        text = f'{name}({", ".join([given, *options])})'
        like = values[0] if len(self.shapes[0]) == len(values[0].shape) else values[0].gives(text, image=-1)
        if len(self.shapes) == 1:
            return like.gives(text)
        return [like.gives(x) for x in self.unpacked(text, *(f'{self.name_of(layer)}_{i}'
                                                             for i in range(len(self.shapes))))]

    def settle(self, i, values, results):
        """Gives names to the results of call number `i`, with as few as there are tensors at a time."""
        last, fresh = self.graph.last, []
        live = {v.text for key, v in self.values.items() if last.get(key, -1) > i}
        for x, value in zip(self.node.output_tensors, results):
            if id(x) in last:  # somebody reads it
                if not re.fullmatch(r'\w+(\[0\])?', value.text):  # the last states of a recurrent layer have names
                    free = [v.text for v in values if v.text in _POOL and v.text not in live]
                    name = min(free, key=_POOL.index) if free else next(n for n in _POOL if n not in live)
                    if _SHORT < last[id(x)] - i and last[id(x)] < len(self.graph.nodes):
                        name = self.fresh(self.node.outbound_layer.name)
                    live.add(name)
                    fresh.append((name, value))
                    value = value.gives(name)
                self.values[id(x)] = value
        if fresh:
            names, texts, shapes = zip(*((name, str(x), x.shown()) for name, x in fresh))
            shown = ' and '.join(shapes)
            self.line(f'{", ".join(names)} = {", ".join(texts)}', shown if shown != values[0].shown() else None)
        self.values = {key: value for key, value in self.values.items() if last.get(key, -1) > i}

    # ------------------------------------------------------------ text

    def text(self):
        results = ', '.join([*map(str, self.outputs), *([self.outputs[0].mask] if self.gives_mask else [])])
        words = re.findall(r'\w+', ' '.join([*(text for text, _ in self.forward), results]))
        lines = [(_without_unread(text, words), note) for text, note in self.forward]
        if lines and lines[-1][0].startswith(f'{results} = '):
            text, comment = lines.pop()
            lines.append((f'return {text.partition(" = ")[2]}', comment))
        else:
            lines.append((f'return {results}', None))
        ins, outs = (' and '.join(x.shown() for x in values) for values in (self.inputs, self.outputs))
        parameters = ['self', *map(str, self.inputs), *(x.mask for x in self.inputs if x.mask)]
        states = [name for name in self.kept if not name.endswith(')')]
        about = f'The model "{readable(self.network.name)}": {ins} to {outs}.'
        body = [f'class {self.name}(nn.Module):', *_docstring(about), '',
                '    def __init__(self):', '        super().__init__()',
                *(_fitted(f'        {line}') for line in (*self.init, *(f'self.{name} = None' for name in states))), '',
                _fitted(f'    def forward({", ".join(parameters)}):'),
                *(_fitted(f'        {line}', note) for line, note in lines)]
        if self.kept:
            body += ['', '    def reset_states(self):',
                     '        """Forgets the states that one batch leaves to the next."""',
                     *(f'        self.{name}' + ' = None' * (name in states) for name in self.kept)]
        return '\n'.join(body)


def _names(text):
    """The names that code reads."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def _without_unread(text, words):
    """A line that unpacks a tuple, with `_` for the names that do not come again."""
    target, sign, value = text.partition(' = ')
    if ',' not in target:
        return text
    target = re.sub(r'\w+', lambda name: name[0] if words.count(name[0]) > 1 else '_', target)
    return target.replace('(_, _)', '_') + sign + value


def _fitted(line, comment=None):
    """A line with its comment, on several lines where it is long."""
    indent = ' ' * (len(line) - len(line.lstrip()))
    whole = line if comment is None else f'{line}  # {comment}'
    if len(whole) <= _WIDTH:
        return whole
    pieces, start, depth = [], 0, 0
    for place, character in enumerate(line):
        depth += (character in '([') - (character in ')]')
        if depth and line.startswith(', ', place):  # where Python lets a line end
            pieces.append(line[start:place + 1])
            start = place + 2
    rows, inner = [] if comment is None else [f'{indent}# {comment}'], ' ' * (8 if 'def ' in line else 4)
    for i, piece in enumerate([*pieces, line[start:]]):
        if i and len(rows[-1]) + len(piece) < _WIDTH:
            rows[-1] += f' {piece}'
        else:
            rows.append(f'{indent}{inner}{piece}' if i else piece)
    return '\n'.join(rows)


def _docstring(text):
    lines = textwrap.wrap(f'"""{text}"""', _WIDTH, initial_indent=' ' * 4, subsequent_indent=' ' * 4)
    return lines if len(lines) == 1 else [*lines[:-1], lines[-1].removesuffix('"""'), '    """']


# ---------------------------------------------------------------- the file

class Source:
    """The whole file."""

    def __init__(self, model, keep_layout, weights):
        self.model, self.keep_layout, self.weights = model, keep_layout, weights
        self.uses, self.parents, self.classes, self.ported = {}, {}, {}, {}
        self.names, self.ports, self.unported, self.draws = Names(_TAKEN), [], [], False
        floating = {p.dtype for p in model.parameters() if p.is_floating_point()}
        self.dtype = floating.pop() if len(floating) == 1 else torch.float32
        self.main = self.class_for(model, None, False, not model.trainable)
        self.main.init += [] if model.trainable else ['self.requires_grad_(False)']
        for (first, attribute, text, tensors), *others in self.uses.values():
            for code, other, own_text, own in others:  # a layer that several models in this one use
                if text != own_text or any(not torch.equal(tensors[key], own[key]) for key in tensors):
                    raise ValueError(f'Layer "{attribute}" cannot be converted: several models in this one use it, in '
                                     'different ways.')
                target = f'self.{self._path(code)}{other}'
                self.main.init.append(f'{target} = self.{self._path(first)}{attribute}  # one layer')

    def _path(self, code):
        """How the main class reaches the module of another one."""
        parent, attribute = self.parents.get(code, (None, None))
        return '' if parent is None else f'{self._path(parent)}{attribute}.'

    def class_for(self, network, masks, gives_mask, frozen):
        makes = any(getattr(x, 'mask_zero', type(x).__name__ == 'Masking') for x in network.modules())
        key = masks and tuple(masks), gives_mask and (makes or any(masks or ()))
        if id(network) not in self.classes:
            name = ''.join(part[:1].upper() + part[1:] for part in identifier(network.name).split('_'))
            name = self.names.fresh(name)
            self.classes[id(network)] = ClassCode(self, network, name, masks, gives_mask, frozen), key
        code, made = self.classes[id(network)]
        if made != key:
            raise refusal(network, 'it is called with and without a mask.')
        return code

    def port(self, function, layer, shown='for every element'):
        """The name of a function of the script's, and whether it treats every element by itself."""
        if id(function) not in self.ported:
            name, original = getattr(function, '__name__', '<lambda>'), source_of(function)
            name = self.names.fresh(layer.name if name == '<lambda>' else name)
            try:
                text, elementwise, draws = ported(function, name, lambda other: self.port(other, layer)[0])
                self.draws |= draws
                same = not original or ast.unparse(ast.parse(original)).partition('(')[2] == text.partition('(')[2]
                self._add_port(None if same else 'In Keras', original, text)
            except Unportable as problem:
                text = _TEXTS['function'].format(name=name, layer=readable(layer.name))
                elementwise = False
                self._add_port(f'TO BE PORTED to torch, {shown}: {problem} has to become torch code. In Keras',
                               original, text, layer, 'its function')
            self.ported[id(function)] = name, elementwise
        return self.ported[id(function)]

    def stub(self, layer, shown):
        """The name of the class that stands for a layer class of the script's own."""
        kind = type(layer)
        if id(kind) not in self.ported:
            self.ported[id(kind)] = name = self.names.fresh(kind.__name__)
            self._add_port(f'TO BE PORTED to torch: `forward`, {shown}. In Keras', source_of(kind),
                           _TEXTS['layer'].format(name=name, layer=readable(layer.name)), layer,
                           f'its class {kind.__name__}')
        return self.ported[id(kind)]

    def _add_port(self, head, original, text, layer=None, what=None):
        """Adds code, below the source that it stands for; that of a `layer` is yet to be written."""
        if layer is not None:
            if original is None:
                raise refusal(layer, f'{what} has no source in Python.')
            self.unported.append(readable(layer.name))
        quoted = [' '.join(['#', *head.split()]) + ':'] + [
            f'#     {line}'.rstrip() for line in original.splitlines()] if head else []
        self.ports.append('\n'.join([*quoted, text]))

    def text(self):
        main, several = self.main, len(self.main.outputs) > 1
        classes = '\n\n\n'.join(code.text() for code, _ in self.classes.values())
        inputs = ', '.join(f'{x} {x.shown()}' if len(main.inputs) > 1 else x.shown() for x in main.inputs)
        tail = _TEXTS['tail'].format(
            weights=self.weights, main=main.name, count=len(main.inputs),
            help=inputs if len(inputs) < 60 else 'one for each input', z='z' if several else 'y',
            kind={torch.float64: '.double()', torch.float16: '.half()'}.get(self.dtype, ''),
            read='load_file(path)' if self.weights.endswith('.safetensors') else
            "torch.load(path, map_location='cpu', weights_only=True)",
            dtype=str(self.dtype)[6:],
            save='z(options.out, *(one.numpy() for one in y))' if several else '(options.out, y.numpy())')
        texts = [*self.ports, classes, tail]
        wanted, parts = [*texts], {}
        while wanted:
            for name in _PARTS.keys() & _names(wanted.pop()) - parts.keys():
                parts[name] = _PARTS[name]
                wanted.append(parts[name])
        body = '\n\n\n'.join([*(parts[name] for name in _PARTS if name in parts), *texts])
        names = _names(body)
        imports = '\n'.join(sorted((line for name, line in _IMPORTS.items() if name in names),
                                   key=lambda line: line.startswith('from')))
        return f'"""{self._head(inputs)}"""\nfrom pathlib import Path\n\n{imports}\n\n\n{body}\n'

    def _head(self, inputs):
        model, main = self.model, self.main
        loss, rate = getattr(model, 'loss', None), getattr(model.optimizer, 'lr', 0.001)
        optimizer = type(model.optimizer).__name__.replace('Nadam', 'NAdam')
        regular = [readable(layer.name) for layer in plain_layers(model) if any(
            name.endswith(('_regularizer', '_constraint')) and getattr(layer, name, None) for name in dir(layer))]
        notes = {
            'In train mode the averages of batch normalization move as torch moves them: by `momentum` (1 - that of '
            'Keras), and with the unbiased variance.': any('.BatchNorm' in x for c, _ in self.classes.values()
                                                           for x in c.init),
            f'Regularizers and constraints stayed behind, of {", ".join(regular)}.': regular,
            f'TO BE PORTED before it runs: {", ".join(self.unported)}.': self.unported}
        order = any(x.at > 0 for x in (*main.inputs, *main.outputs))
        text = _TEXTS['head'].format(
            name=readable(model.name), weights=self.weights, inputs=inputs,
            outputs=', '.join(x.shown() for x in main.outputs),
            order=' Images have the channels first, wherever Keras had them last.' if order else '',
            example=', '.join(f'torch.zeros{_example(x.sizes())}{"" if y.dtype.is_floating_point else ".long()"}'
                              for x, y in zip(main.inputs, model._feed_inputs)),
            optimizer=optimizer if optimizer != 'Optimizer' and hasattr(torch.optim, optimizer) else 'Adam',
            rate=number(float(getattr(rate, 'host', rate))),
            loss=_LOSSES.get(loss if isinstance(loss, str) else '', 'loss_function({model}, y)').format(
                model='model(*x)' if len(main.inputs) > 1 else 'model(x)'),
            notes=''.join(f'\n{note}\n' for note, there in notes.items() if there))
        return '\n'.join('\n'.join(textwrap.wrap(line, _WIDTH)) if line[:1].strip() else line
                         for line in text.splitlines()) + '\n'
