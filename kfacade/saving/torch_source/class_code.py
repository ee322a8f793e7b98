"""The code of the class for one network."""
import ast
import dataclasses
import keyword
import re

import torch

from ...backend.symbolic import Face
from ...utils.generic_utils import has_arg, is_own, to_list
from ..conversions import is_model
from ..torch_files import PASSING
from .graph import Graph, awaits_mask, image_axis
from .layers import ACTIVATIONS, LAYERS, PHASED
from .pieces import POOL, TAKEN, Names, docstring, fitted, identifier, readable, refusal
from .ports import is_plain

_SHORT = 12  # a tensor that lives longer than so many lines is called after its layer

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


class ClassCode:
    """The class for a network.

    `masks` says which inputs come with masks, `gives_mask` whether the mask of the first output is wanted.
    """

    def __init__(self, source, network, name, masks, gives_mask, frozen):
        self.source, self.network, self.name, self.frozen = source, network, name, frozen
        self.graph, self.gives_mask = Graph(network), gives_mask
        self.state, self.init, self.forward, self.kept = {}, [], [], []
        self.modules, self.labels = {}, {}  # (id of a layer, part) -> (attribute, constructor); id -> name
        self.variables = Names(TAKEN)
        self.fresh = self.variables.fresh
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
            results = self.applied(node.outbound_layer, values, node.output_shapes, node.arguments)
            self.settle(i, values, to_list(results))
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

    def applied(self, layer, values, shapes, arguments=None):
        """The `Value`, or list of them, of a call of a layer that gives tensors of these shapes."""
        arguments = {key: value for key, value in (arguments or {}).items() if value is not None}
        training, kind = arguments.pop('training', None), type(layer).__name__
        self.training = None if training is None or isinstance(training, Face) else bool(training)
        self.shapes = shapes
        if self.training is not None and kind not in PHASED and layer._uses_phase:
            arguments['training'] = self.training
        convert = (ClassCode.nested if is_model(layer) else ClassCode.own_code if kind == 'Lambda' or not is_own(
            type(layer)) else LAYERS.get(re.sub('[123]D', 'ND', kind)))
        if arguments or not convert or not getattr(layer, '_is_graph_network', True):
            reason = f'it is called with {", ".join(arguments)}' if arguments else f'{kind} has no counterpart'
            raise refusal(layer, f'{reason}.')
        results = convert(self, layer, *values)
        found = [x.gives(x, shape=tuple(shape), mask=x.mask if layer.supports_masking or is_model(layer) else None)
                 for x, shape in zip(to_list(results), shapes)]
        return found if isinstance(results, list) else found[0]

    def nested(self, network, *values):
        wanted = [x.mask is not None and awaits_mask(Graph(network), y, self.awaited())
                  for x, y in zip(values, network._feed_inputs)]
        inner = self.source.class_for(network, wanted, self.awaited(), self.is_frozen(network))
        module = self.module(network, f'{inner.name}()', inner.suffix, **inner.state)
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

    def own_code(self, layer, *values):
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
                    free = [v.text for v in values if v.text in POOL and v.text not in live]
                    name = min(free, key=POOL.index) if free else next(n for n in POOL if n not in live)
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
        body = [f'class {self.name}(nn.Module):', *docstring(about), '',
                '    def __init__(self):', '        super().__init__()',
                *(fitted(f'        {line}') for line in (*self.init, *(f'self.{name} = None' for name in states))), '',
                fitted(f'    def forward({", ".join(parameters)}):'),
                *(fitted(f'        {line}', note) for line, note in lines)]
        if self.kept:
            body += ['', '    def reset_states(self):',
                     '        """Forgets the states that one batch leaves to the next."""',
                     *(f'        self.{name}' + ' = None' * (name in states) for name in self.kept)]
        return '\n'.join(body)


def _without_unread(text, words):
    """A line that unpacks a tuple, with `_` for the names that do not come again."""
    target, sign, value = text.partition(' = ')
    if ',' not in target:
        return text
    target = re.sub(r'\w+', lambda name: name[0] if words.count(name[0]) > 1 else '_', target)
    return target.replace('(_, _)', '_') + sign + value
