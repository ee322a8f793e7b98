"""A model as the source of a plain PyTorch module, with its weights beside it.

The network is walked call by call. For each layer the table in `torch_source_layers` says what stands for it: text for
``__init__``, tensors for the state dict, text for ``forward``. What torch lacks is copied from `torch_parts`.
"""
import ast
import builtins
import dataclasses
import inspect
import keyword
import os
import re
import textwrap

import torch

from ..backend.dtypes import torch_dtype
from ..backend.symbolic import Face
from ..utils.generic_utils import has_arg, is_own
from . import torch_parts
from .atomic import may_write, replacing, suffix_of
from .conversions import is_model
from .torch_files import _leaves, write_tensors
from .torch_ports import Unportable, ported, source_of
from .torch_source_layers import ACTIVATIONS, LAYERS, PASSING, number

_WIDTH = 110
_POOL = ('x', 'y', 'z', 'u', 'v', 'w', *(f'x{i}' for i in range(1, 1000)))
_SHORT = 12  # a tensor that lives longer than so many lines is called after its layer
_PARTS = [name for name, part in vars(torch_parts).items() if getattr(part, '__module__', '') == torch_parts.__name__]
_TAKEN = {*keyword.kwlist, *dir(builtins), *_PARTS, *_POOL, 'F', 'Path', 'backward', 'both', 'forward', 'load', 'main', 'nn', 'np', 'path', 'self',
          'torch'}
_IMPORTS = {
    'Path': 'from pathlib import Path', 'torch': 'import torch', 'F': 'import torch.nn.functional as F', 'load_file': 'from safetensors.torch import load_file',
    'nn': 'from torch import nn', 'pack_padded_sequence': 'from torch.nn.utils.rnn import pack_padded_sequence, '
    'pad_packed_sequence'}
_LOSSES = {
    'mean_squared_error': 'F.mse_loss(model(x), y)', 'mean_absolute_error': 'F.l1_loss(model(x), y)',
    'binary_crossentropy': 'F.binary_cross_entropy(model(x), y)',
    'categorical_crossentropy': '-(y * model(x).clamp(min=1e-7).log()).sum(-1).mean()  # of probabilities',
    'sparse_categorical_crossentropy': 'F.nll_loss(model(x).clamp(min=1e-7).log(), y)  # of probabilities'}
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
    path, model = os.fspath(path), model.saved_as
    if suffix_of(path) != '.py' or not os.path.basename(path)[:-3].isidentifier():
        raise ValueError(f'The module must have a name that Python can import, such as "model.py". Received: {path!r}')
    if not getattr(model, 'inputs', None):
        raise ValueError(f'Model "{model.name}" cannot be converted: it is no graph of layers, or is not built yet.')
    weights = path[:-3] + ('.safetensors' if safetensors else '.pt')
    source = Source(model, keep_layout, os.path.basename(weights))
    text, tensors = source.text(), {key: t.cpu().contiguous() for key, t in source.main.state.items()}
    if not (source.unported or source.draws or source.main.kept_states):
        _check(source, text, tensors)
    if may_write(path, overwrite) and may_write(weights, overwrite):
        with replacing(path) as file, replacing(weights) as beside:
            file.write(text.encode())
            write_tensors(tensors, beside, pickled=not safetensors)


def _check(source, text, tensors):
    """Raises ValueError where the module does not compute what the model computes."""
    model, main, space = source.model, source.main, {'__name__': '', '__file__': source.weights}
    exec(compile(text, f'<{model.name}>', 'exec'), space)
    module = space[main.name]().to(source.dtype).eval()
    module.load_state_dict(tensors)
    graph = model.graph(False)
    inputs = [(torch.rand([size or (64 if axis else 2) for axis, size in enumerate(x._keras_shape)]) * 2).to(
        source.dtype if x.dtype.is_floating_point else torch_dtype(x.dtype)) for x in model._feed_inputs]
    device, _ = model._place()
    with torch.no_grad():
        wanted = graph(*(x.to(device) for x in inputs))[:len(main.outputs)]
        got = module(*(x if y.at == -1 else x.movedim(-1, y.at) for x, y in zip(inputs, main.inputs)))
    for y, one, other in zip(main.outputs, [got] if len(wanted) == 1 else got, wanted):
        one, other = one if y.at == -1 else one.movedim(y.at, -1), other.cpu()
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(f'Model "{model.name}" cannot be converted: what the module computes differs from it by '
                             f'{(one - other).abs().max().item():.2g}.')


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

    def axis(self, axis):
        """Where one of Keras' axes, counted from 0, lies."""
        if self.at == -1 or axis < self.at:
            return axis
        return self.at if axis == len(self.shape) - 1 else axis + 1

    def shown(self):
        """The shape as a comment has it."""
        sizes = ['batch' if not i and size is None else 'any' if size is None else size
                 for i, size in enumerate(self.shape)]
        if self.at != -1:
            sizes.insert(self.at, sizes.pop())
        return f'({", ".join(map(str, sizes))}{"," * (len(sizes) == 1)})'


def _operand(text):
    """An expression as the start of another one."""
    plain = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)
    return text if isinstance(ast.parse(text, mode='eval').body, plain) else f'({text})'


def identifier(name, taken=()):
    """A name that Python takes, and that is not taken."""
    name = re.sub(r'\W+', '_', name).strip('_')[:60] or 'layer'
    name = f'_{name}' if name[0].isdigit() else name
    while name in taken:
        name += '_'
    return name


def calls_of(network):
    """The calls of layers in a network, one branch after the other.

    Returns the nodes, and for each tensor (by its id) those that read it, and the index of the last one.
    """
    ends, done = {id(x) for x in network._feed_inputs}, {}
    stack = [(x, False) for x in reversed(network.outputs)]
    while stack:
        x, ready = stack.pop()
        if id(x) in ends:
            continue
        layer, index, _ = x._keras_history
        node = layer._inbound_nodes[index]
        if ready:
            done[node] = None
        elif node not in done:
            inputs = [] if any(x is y for y in node.input_tensors) else node.input_tensors
            stack += [(x, True), *((y, False) for y in reversed(inputs))]
    readers, last = {}, {}
    for i, node in enumerate(done):
        for x in node.input_tensors:
            readers.setdefault(id(x), []).append(node)
            last[id(x)] = i
    return list(done), readers, {**last, **{id(x): len(done) for x in network.outputs}}


def image_axis(calls, network, x):
    """Where the channels of an input lie in images as torch has them (-1: it has none, or Keras has them there)."""
    nodes, readers, _ = calls(network)
    queue, rank = [x], len(x._keras_shape)
    while queue and rank > 3:
        tensor = queue.pop(0)
        for node in readers.get(id(tensor), ()):
            layer = node.outbound_layer
            if is_model(layer):
                return image_axis(calls, layer, layer._feed_inputs[[t is tensor for t in node.input_tensors].index(True)])
            opinion = _image_axis(layer, rank)
            if opinion is not None:
                return opinion
            queue += [y for y in node.output_tensors if len(y._keras_shape) == rank]
    return 1 if rank > 3 else -1


def _image_axis(layer, rank):
    """The same as one layer sees it; None where it does not care."""
    kind = type(layer).__name__
    if kind in ('TimeDistributed', 'Bidirectional'):
        inner = layer.layer
        if kind == 'Bidirectional' or is_model(inner):
            return 2
        inner = _image_axis(inner, rank - 1)
        return -1 if rank < 5 or inner == -1 else 2
    if kind == 'Permute':
        return -1
    if kind == 'BatchNormalization':
        return 1 if layer.axis in (-1, rank - 1) else -1
    if hasattr(layer, 'data_format'):
        return -1 if layer.data_format == 'channels_first' else 1 + kind.startswith('ConvLSTM')
    return None


class ClassCode:
    """The class for a network.

    `masks` says which inputs come with masks, `gives_mask` whether the mask of the first output is wanted.
    """

    def __init__(self, source, network, name, masks=None, gives_mask=False, frozen=False):
        self.source, self.network, self.name, self.frozen = source, network, name, frozen
        self.nodes, self.readers, self.last = source.calls(network)
        self.gives_mask, self.state, self.init, self.forward, self.kept_states = gives_mask, {}, [], [], []
        self.modules, self.labels = {}, {}  # (id of a layer, part) -> (attribute, constructor); id -> name
        self.taken, self.attributes = set(_TAKEN), {*dir(torch.nn.Module), *keyword.kwlist, 'reset_states'}
        inputs = network._feed_inputs
        names = ['x'] if len(inputs) == 1 else [self.fresh(x._keras_history[0].name) for x in inputs]
        axes = [image_axis(source.calls, network, x) for x in inputs]
        masks = [mask and self.fresh(f'{name}_mask' if len(inputs) > 1 else 'mask')
                 for mask, name in zip(masks or [None] * len(inputs), names)]
        self.inputs = [Value(name, x._keras_shape, -1 if source.keep_layout else axis, axis, None, mask)
                       for x, name, axis, mask in zip(inputs, names, axes, masks)]
        self.values = {id(x): value for x, value in zip(inputs, self.inputs)}
        for i, self.node in enumerate(self.nodes):
            values = [self.values[id(x)] for x in self.node.input_tensors]
            results = self.applied(self.node.outbound_layer, values, self.node.output_shapes,
                                   arguments=self.node.arguments)
            self.settle(i, values, results if isinstance(results, list) else [results])
        results = [self.values[id(x)] for x in network.outputs]
        self.outputs = [self.at(x, -1 if source.keep_layout else x.image) for x in results]
        self.gives_mask = gives_mask and results[0].mask is not None

    # ------------------------------------------------------------ what the functions of the table ask for

    def at(self, x, place=-1):
        """The value with Keras' last axis at a place."""
        if x.at == place:
            return x
        turn = f'transpose({abs(x.at % 3)}, {place % 3})' if len(x.shape) == 3 else f'movedim({x.at}, {place})'
        return x.gives(f'{_operand(x.text)}.{turn}', at=place)

    def bound(self, x, name=None):
        """The value as a variable."""
        if x.text.isidentifier():
            return x
        name = self.fresh(name or f'{self.node.outbound_layer.name}_in')
        self.line(f'{name} = {x}')
        return x.gives(name)

    def fresh(self, name):
        """A new name of a variable."""
        name = identifier(name, self.taken)
        self.taken.add(name)
        return name

    def line(self, text, comment=None):
        self.forward.append((text, comment))

    def once(self, text):
        """A line of ``__init__``."""
        if text not in self.init:
            self.init.append(text)

    def kept(self, name):
        """Where a state is kept between calls."""
        if name not in self.kept_states:
            self.kept_states.append(name)
        return f'self.{name}'

    def mask(self, text, layer):
        """A variable for a mask."""
        name = self.fresh('mask' if 'mask' not in self.taken else f'{layer.name}_mask')
        self.line(f'{name} = {text}')
        return name

    def awaited(self):
        """Whether anything wants the mask of the call in hand."""
        return awaits_mask(self.source.calls, self.network, self.node.output_tensors[0], self.gives_mask)

    def calls(self, layer):
        return sum(node.outbound_layer is layer or getattr(node.outbound_layer, 'layer', None) is layer
                   for node in self.nodes)

    def is_frozen(self, layer):
        return self.frozen or not layer.trainable

    def name_of(self, layer):
        return identifier(self.labels.get(id(layer), layer.name))

    def module(self, layer, text, suffix='', note=None, name=None, owner=None, **tensors):
        """The attribute that holds a module, which `text` makes and `tensors` fill; the same for each call."""
        key, tensors = (id(layer), suffix), {k: t.detach() for k, t in tensors.items() if t is not None}
        if key not in self.modules:
            if self.source.owners.setdefault(key, self) is not self:
                raise ValueError(f'Layer "{layer.name}" cannot be converted: several models in this one use it.')
            attribute = identifier((name or self.name_of(layer)) + suffix, self.attributes)
            self.attributes.add(attribute)
            learned = [t for k, t in tensors.items() if 'running' not in k and 'num_batches' not in k]
            hold = '.requires_grad_(False)' if not (owner or layer).trainable and learned else ''
            self.init += [f'# {note}'] if note else []
            self.init.append(f'self.{attribute} = {text}{hold}')
            self.modules[key] = attribute, text
            self.state.update({f'{attribute}.{k}': t for k, t in tensors.items()})
        attribute, made = self.modules[key]
        if made != text:
            raise ValueError(f'Layer "{layer.name}" cannot be converted: its calls need different modules, {made} and '
                             f'{text}.')
        return f'self.{attribute}'

    def activated(self, layer, x):
        """The value under the activation of a layer."""
        function = layer.activation
        if is_own(function) and getattr(function, '__name__', None) in ACTIVATIONS:
            return x.gives(ACTIVATIONS[function.__name__].format(x, x.at))
        name, elementwise = self.source.port(function, layer)
        x = x if elementwise else self.at(x)
        return x.gives(f'{name}({x})')

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
        """Whether all that comes after a `Flatten` can do with the features in another order than Keras'."""
        if x is None:
            if self.source.keep_layout or type(self.node.outbound_layer).__name__ != 'Flatten':
                return False
            x = self.node.output_tensors[0]
        return not any(x is y for y in self.network.outputs) and all(
            self._may_reorder(node) for node in self.readers[id(x)])

    def _may_reorder(self, node):
        layer, kind = node.outbound_layer, type(node.outbound_layer).__name__
        if not is_own(type(layer)) or getattr(layer, 'noise_shape', None) or self.calls(layer) > 1:
            return False
        return kind == 'Dense' or (kind in PASSING and is_own(getattr(layer, 'activation', layer)) or kind in (
            'BatchNormalization', 'Concatenate', 'PReLU', 'Softmax')) and self.may_reorder(node.output_tensors[0])

    # ------------------------------------------------------------ the walk

    def applied(self, layer, values, shapes, label=None, arguments=None):
        """The `Value`, or list of them, of a call of a layer that gives tensors of these shapes."""
        arguments = {key: value for key, value in (arguments or {}).items() if value is not None}
        self.training, self.shapes = arguments.pop('training', None), shapes
        if isinstance(self.training, Face):
            self.training = None
        if arguments:
            raise ValueError(f'Layer "{layer.name}" cannot be converted: it is called with {", ".join(arguments)}.')
        if label is not None:
            self.labels.setdefault(id(layer), label.name)
        if is_model(layer):
            results = self.nested(layer, values)
        elif not is_own(type(layer)):
            results = self.foreign(layer, values)
        elif type(layer).__name__ == 'Lambda':
            results = self.called(layer, values)
        elif type(layer).__name__ in LAYERS:
            results = LAYERS[type(layer).__name__](self, layer, *values)
        else:
            raise ValueError(f'Layer "{layer.name}" cannot be converted: a {type(layer).__name__} has no counterpart.')
        found = [x.gives(x, shape=tuple(shape), mask=x.mask if layer.supports_masking or is_model(layer) else None)
                 for x, shape in zip(results if isinstance(results, list) else [results], shapes)]
        return found if isinstance(results, list) else found[0]

    def nested(self, network, values):
        wanted = [x.mask is not None and awaits_mask(self.source.calls, network, y, self.awaited())
                  for x, y in zip(values, network._feed_inputs)]
        inner = self.source.class_for(network, wanted, self.awaited(), self.frozen or not network.trainable)
        given = [str(self.at(x, y.at)) for x, y in zip(values, inner.inputs)]
        module = self.module(network, f'{inner.name}()', **inner.state)
        if inner.kept_states:
            self.kept(f'{module[5:]}.reset_states()')
        text = f'{module}({", ".join(given + [x.mask for x, there in zip(values, wanted) if there])})'
        outputs = [x.gives(x, mask=None) for x in inner.outputs]
        if len(outputs) == 1 and not inner.gives_mask:
            return outputs[0].gives(text)
        names = [self.fresh(f'{module[5:]}_{i}' if i else f'{module[5:]}_out') for i in range(len(outputs))]
        mask = [self.fresh(f'{module[5:]}_mask')] if inner.gives_mask else []
        self.line(f'{", ".join(names + mask)} = {text}')
        found = [x.gives(name) for x, name in zip(outputs, names)]
        found[0].mask = ''.join(mask) or None
        return found if len(found) > 1 else found[0]

    def called(self, layer, values):
        """A `Lambda`."""
        name, elementwise = self.source.port(layer.function, layer)
        alike = elementwise and len({len(x.shape) for x in values}) == 1
        values = [self.at(x, max(y.at for y in values) if alike else -1) for x in values]
        given = str(values[0]) if len(values) == 1 else f'[{", ".join(map(str, values))}]'
        options = [f'{key}={value!r}' for key, value in layer.arguments.items()]
        if has_arg(layer.function, 'mask'):
            options.append(f'mask={values[0].mask}')
        if callable(layer.mask):
            raise ValueError(f'Layer "{layer.name}" cannot be converted: it has a function for its mask.')
        text = f'{name}({", ".join([given, *options])})'
        like = values[0] if len(self.shapes[0]) == len(values[0].shape) else values[0].gives(text, image=-1)
        if len(self.shapes) == 1:
            return like.gives(text)
        names = [self.fresh(f'{self.name_of(layer)}_{i}') for i in range(len(self.shapes))]
        self.line(f'{", ".join(names)} = {text}')
        return [like.gives(x) for x in names]

    def foreign(self, layer, values):
        """A layer of the script's own: a module that holds its weights, whose `forward` is yet to be written."""
        kind = self.source.stub(layer)
        names = [w.key for w in layer.weights]
        shapes = ', '.join(f'{name}={tuple(w.value.shape)}' for name, w in zip(names, layer.weights))
        config = {k: v for k, v in layer.get_config().items() if k not in ('name', 'trainable', 'batch_input_shape', 'dtype')}
        module = self.module(layer, f'{kind}({shapes})', note=f'{config}' if config else None,
                             **{name: w.value for name, w in zip(names, layer.weights)})
        values = [self.at(x) for x in values]
        text = str(values[0]) if len(values) == 1 else f'[{", ".join(map(str, values))}]'
        if len(self.shapes) == 1:
            return values[0].gives(f'{module}({text})', image=-1)
        outs = [self.fresh(f'{self.name_of(layer)}_{i}') for i in range(len(self.shapes))]
        self.line(f'{", ".join(outs)} = {module}({text})')
        return [values[0].gives(x, image=-1) for x in outs]

    def settle(self, i, values, results):
        """Gives names to the results of call number `i`, with as few as there are tensors at a time."""
        read = [(x, value) for x, value in zip(self.node.output_tensors, results) if self.last.get(id(x), -1) >= 0]
        live = {v.text for key, v in self.values.items() if self.last.get(key, -1) > i}
        fresh = []
        for x, value in read:
            if not re.fullmatch(r'\w+(\[0\])?', value.text):  # the last states of a recurrent layer have names already
                free = [v.text for v in values if v.text in _POOL and v.text not in live]
                if _SHORT < self.last[id(x)] - i and self.last[id(x)] < len(self.nodes):
                    name = self.fresh(self.node.outbound_layer.name)
                else:
                    name = min(free, key=_POOL.index) if free else next(n for n in _POOL if n not in live)
                live.add(name)
                fresh.append((name, value))
                value = value.gives(name)
            self.values[id(x)] = value
        if fresh:
            names, found = zip(*fresh)
            shown = ' and '.join(x.shown() for x in found)
            self.line(f'{", ".join(names)} = {", ".join(map(str, found))}',
                      shown if not values or shown != values[0].shown() else None)
        for key in [key for key in self.values if self.last.get(key, -1) <= i]:
            del self.values[key]

    # ------------------------------------------------------------ text

    def text(self):
        results = [*map(str, self.outputs), *([self.outputs[0].mask] if self.gives_mask else [])]
        lines, end = list(self.forward), f'return {", ".join(results)}'
        if len(results) == 1 and lines and lines[-1][0].startswith(f'{results[0]} = '):
            text, comment = lines.pop()
            lines.append((f'return {text.partition(" = ")[2]}', comment))
        else:
            lines.append((end, None))
        ins, outs = (' and '.join(x.shown() for x in values) for values in (self.inputs, self.outputs))
        parameters = ['self', *map(str, self.inputs), *(x.mask for x in self.inputs if x.mask)]
        own = [name for name in self.kept_states if not name.endswith(')')]
        init = ['super().__init__()', *self.init, *(f'self.{name} = None' for name in own)]
        body = [f'class {self.name}(nn.Module):', *_docstring(f'{ins} to {outs}.', 4), '',
                '    def __init__(self):', *(_fitted(f'        {line}') for line in init), '',
                f'    def forward({", ".join(parameters)}):', *(_fitted(f'        {line}', note) for line, note in lines)]
        if self.kept_states:
            body += ['', '    def reset_states(self):', '        """Forgets the states that one batch leaves to the next."""',
                     *(f'        self.{name}' + ('' if name.endswith(')') else ' = None') for name in self.kept_states)]
        return '\n'.join(body)


def _fitted(line, comment=None):
    """A line with its comment, on several lines where it is long."""
    indent = ' ' * (len(line) - len(line.lstrip()))
    whole = line if comment is None else f'{line}  # {comment}'
    if len(whole) <= _WIDTH:
        return whole
    lines = [] if comment is None else [f'{indent}# {comment}']
    while len(line) > _WIDTH and ', ' in line[:_WIDTH].lstrip():
        cut = line.rindex(', ', 0, _WIDTH) + 1
        lines.append(line[:cut])
        line = f'{indent}    {line[cut + 1:]}'
    return '\n'.join([*lines, line])


def _docstring(text, indent):
    lines = textwrap.wrap(f'"""{text}"""', _WIDTH, initial_indent=' ' * indent, subsequent_indent=' ' * indent)
    if len(lines) > 1:
        lines[-1:] = [lines[-1].removesuffix('"""'), ' ' * indent + '"""']
    return lines


def awaits_mask(calls, network, x, gives_mask):
    """Whether anything that comes after the tensor of a network does something with its mask."""
    _, readers, _ = calls(network)
    if gives_mask and x is network.outputs[0]:
        return True
    for node in readers.get(id(x), ()):
        layer, kind, after = node.outbound_layer, type(node.outbound_layer).__name__, node.output_tensors[0]
        inner = getattr(layer, 'layer', layer)
        if is_model(layer):
            given = layer._feed_inputs[[y is x for y in node.input_tensors].index(True)]
            found = awaits_mask(calls, layer, given, awaits_mask(calls, network, after, gives_mask))
        elif hasattr(inner, 'return_sequences') or kind == 'GlobalAveragePooling1D':
            found = True
        elif kind == 'Lambda':
            found = has_arg(layer.function, 'mask')
        else:
            found = kind not in ('Embedding', 'Masking') and layer.supports_masking and awaits_mask(
                calls, network, after, gives_mask)
        if found:
            return True
    return False


_STUB = """def {name}(x):
    raise NotImplementedError('port the function of "{layer}" to torch')"""
_LAYER = """class {name}(nn.Module):
    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():  # as Keras has them
            setattr(self, name, nn.Parameter(torch.zeros(shape)))

    def forward(self, x):
        raise NotImplementedError('port the layer "{layer}" to torch')"""


_LOAD = """def load(path=None):
    \"\"\"The model in test phase, with the weights of a file (that beside this one).\"\"\"
    path = path or Path(__file__).with_name({weights!r})
    model = {name}(){kind}
    model.load_state_dict({read})
    return model.eval()"""
_MAIN = """if __name__ == '__main__':
    import argparse

    import numpy as np

    parser = argparse.ArgumentParser(description='Predicts on the arrays in .npy files.')
    parser.add_argument('inputs', nargs={count}, help={help!r})
    parser.add_argument('--out', help='where to write the prediction ({suffix}); printed otherwise')
    options = parser.parse_args()
    arrays = [np.load(path) for path in options.inputs]
    arrays = [x.astype(np.float32) if x.dtype.kind == 'f' else x for x in arrays]
    with torch.inference_mode():
        y = load()(*map(torch.from_numpy, arrays))
    if options.out:
        np.{save}
    else:
        print(y)"""


def _quoted(source):
    return [f'#     {line}'.rstrip() for line in source.splitlines()] if source else []


def _example(x):
    """The shape of an example of an input, with one sample."""
    sizes = [64 if size is None and i else size or 1 for i, size in enumerate(x.shape)]
    if x.at != -1:
        sizes.insert(x.at, sizes.pop())
    return tuple(sizes)


class Source:
    """The whole file."""

    def __init__(self, model, keep_layout, weights):
        self.model, self.keep_layout, self.weights = model, keep_layout, weights
        self.owners, self._calls, self._classes = {}, {}, {}
        self.classes, self.taken, self.ports, self.unported, self.draws = [], set(_TAKEN), [], [], False
        self._ported = {}
        floating = {p.dtype for p in model.parameters() if p.is_floating_point()}
        self.dtype = floating.pop() if len(floating) == 1 else torch.float32
        self.main = self.class_for(model, None, False, False)

    def calls(self, network):
        if id(network) not in self._calls:
            self._calls[id(network)] = calls_of(network)
        return self._calls[id(network)]

    def class_for(self, network, masks, gives_mask, frozen):
        key = masks and tuple(masks), gives_mask
        if id(network) not in self._classes:
            if not network._is_graph_network:
                raise ValueError(f'Layer "{network.name}" cannot be converted: what the model does is in its own code.')
            name = self.fresh(''.join(part[:1].upper() + part[1:] for part in identifier(network.name).split('_')))
            code = ClassCode(self, network, name, masks, gives_mask, frozen)
            self.classes.append(code)
            self._classes[id(network)] = code, key
        code, made = self._classes[id(network)]
        if made != key:
            raise ValueError(f'Layer "{network.name}" cannot be converted: it is called with and without a mask.')
        return code

    def fresh(self, name):
        name = identifier(name, self.taken)
        self.taken.add(name)
        return name

    def port(self, function, layer):
        """The name of a function of the script's, and whether it treats every element by itself."""
        if id(function) in self._ported:
            return self._ported[id(function)]
        name = getattr(function, '__name__', '<lambda>')
        name = self.fresh(layer.name if name == '<lambda>' else name)
        original = source_of(function)
        try:
            text, elementwise, draws = ported(function, name, lambda other: self.port(other, layer)[0])
            self.draws |= draws
            same = original and ast.unparse(ast.parse(original)).partition('(')[2] == text.partition('(')[2]
            head = ['# In Keras:'] if original and not same else []
        except Unportable as problem:
            if original is None:
                raise ValueError(f'Layer "{layer.name}" cannot be converted: its function has no source in '
                                 f'Python.') from problem
            self.unported.append(layer.name)
            head = [f'# TO BE PORTED to torch, for {problem} has to become torch code. In Keras:']
            text, elementwise = _STUB.format(name=name, layer=layer.name), False
        self.ports.append('\n'.join([*head, *_quoted(original if head else None), text]))
        self._ported[id(function)] = name, elementwise
        return self._ported[id(function)]

    def stub(self, layer):
        """The name of the class that stands for a layer class of the script's own."""
        kind = type(layer)
        if id(kind) not in self._ported:
            original = source_of(kind)
            if original is None:
                raise ValueError(f'Layer "{layer.name}" cannot be converted: its class {kind.__name__} has no source '
                                 'in Python.')
            self.unported.append(layer.name)
            name = self.fresh(kind.__name__)
            text = '\n'.join(['# TO BE PORTED to torch: `forward`. In Keras:', *_quoted(original),
                              _LAYER.format(name=name, layer=layer.name)])
            self.ports.append(text)
            self._ported[id(kind)] = name
        return self._ported[id(kind)]

    def text(self):
        ports = '\n\n\n'.join(self.ports)
        classes = '\n\n\n'.join(code.text() for code in self.classes)
        body = '\n\n\n'.join(x for x in (ports, classes, self._load(), self._main()) if x)
        wanted, parts = [body], {}
        while wanted:
            words = set(re.findall(r'\w+', wanted.pop()))
            for name in words & set(_PARTS) - set(parts):
                parts[name] = inspect.getsource(getattr(torch_parts, name)).strip()
                wanted.append(parts[name])
        body = '\n\n\n'.join([*(parts[name] for name in _PARTS if name in parts), body])
        words = set(re.findall(r'[\w.]+', body))
        needed = [line for name, line in _IMPORTS.items() if any(re.match(rf'{name}\b', word) for word in words)]
        standard = [line for line in needed if 'pathlib' in line]
        imports = '\n'.join(standard) + '\n\n' + '\n'.join(line for line in needed if line not in standard)
        return f'{self._docstring()}\n{imports}\n\n\n{body}\n'

    def _docstring(self):
        main, model = self.main, self.model
        ins = ', '.join(x.shown() for x in main.inputs)
        outs = ', '.join(x.shown() for x in main.outputs)
        zeros = ', '.join(f'torch.zeros{_example(x)}' + ('' if y.dtype.is_floating_point else '.long()')
                          for x, y in zip(main.inputs, model._feed_inputs))
        several = len(main.inputs) > 1
        text = [f'{model.name}, a Keras model as plain PyTorch.', '',
                f'    model = load()  # with the weights in {self.weights}, in test phase',
                f'    y = model({zeros})', '']
        text += textwrap.wrap(f'Input: {ins}. Output: {outs}.' + (
            ' Images have the channels first, wherever Keras had them last.'
            if any(x.at > 0 for x in (*main.inputs, *main.outputs)) else ''), _WIDTH)
        loss = _LOSSES.get(getattr(model, 'loss', None) if isinstance(getattr(model, 'loss', None), str) else None,
                           'loss_function(model(x), y)')
        optimizer = type(getattr(model, 'optimizer', None)).__name__.replace('Nadam', 'NAdam')
        rate = f"lr={number(float(getattr(model.optimizer.lr, 'host', model.optimizer.lr)))}" if hasattr(torch.optim, optimizer) and hasattr(
            model.optimizer, 'lr') else 'lr=1e-3'
        optimizer = optimizer if hasattr(torch.optim, optimizer) and optimizer != 'Optimizer' else 'Adam'
        text += ['', 'To train on:', '',
                 f'    model = load().train()',
                 f'    optimizer = torch.optim.{optimizer}(model.parameters(), {rate})',
                 '    for x, y in batches:', '        optimizer.zero_grad()',
                 f'        loss = {loss.replace("model(x)", "model(*x)") if several else loss}',
                 '        loss.backward()', '        optimizer.step()']
        body = '\n'.join(line for code in self.classes for line in code.init)
        if 'BatchNorm' in body:
            text += ['', *textwrap.wrap('In train mode the averages of batch normalization move as torch moves them: by '
                                        '`momentum` (1 - that of Keras), and with the unbiased variance.', _WIDTH)]
        kept = [layer.name for layer in _leaves(model) if any(
            getattr(layer, name, None) is not None for name in dir(layer) if name.endswith(('_regularizer', '_constraint')))]
        if kept:
            text += ['', *textwrap.wrap('Regularizers and constraints stayed behind, of ' + ', '.join(kept) + '.', _WIDTH)]
        if self.unported:
            text += ['', *textwrap.wrap('TO BE PORTED before it runs: ' + ', '.join(self.unported) + '.', _WIDTH)]
        return '"""' + '\n'.join(text) + '\n"""'

    def _load(self):
        kind = {torch.float64: '.double()', torch.float16: '.half()'}.get(self.dtype, '')
        read = ('load_file(path)' if self.weights.endswith('.safetensors') else
                "torch.load(path, map_location='cpu', weights_only=True)")
        return _LOAD.format(name=self.main.name, kind=kind, read=read, weights=self.weights)

    def _main(self):
        several = len(self.main.outputs) > 1
        return _MAIN.format(
            count=len(self.main.inputs), help=', '.join(x.shown() for x in self.main.inputs),
            save='savez(options.out, *(one.numpy() for one in y))' if several else 'save(options.out, y.numpy())',
            suffix='.npz' if several else '.npy')
