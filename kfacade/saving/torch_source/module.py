"""The file: a class for each network, what they need, and how it is loaded."""
import ast
import keyword
import os
import textwrap

import torch

from ..atomic import may_write, replacing, suffix_of
from ..export import example_inputs
from ..torch_files import plain_layers, write_tensors
from .class_code import ClassCode
from .pieces import PARTS, TAKEN, TEXTS, WIDTH, Names, identifier, names_read, number, readable, refusal
from .ports import Unportable, ported, source_of

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
    inputs = example_inputs(model, [_example(x._keras_shape) for x in model._feed_inputs], 1, 1, 1.99)
    inputs = [x.to(source.dtype) if x.is_floating_point() else x for x in inputs]
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        try:
            wanted = model.graph(False)(*inputs)
        except Exception:  # what these sizes, which the model leaves open, do not go together with
            return
        try:
            exec(compile(text, f'<{model.name}>', 'exec'), space)
            module = space[main.name]().to(source.dtype).eval()
            module.load_state_dict(tensors)
            got = module(*((x if y.at == -1 else x.movedim(-1, y.at)).cpu() for x, y in zip(inputs, main.inputs)))
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


class Source:
    """The whole file."""

    def __init__(self, model, keep_layout, weights):
        self.model, self.keep_layout, self.weights = model, keep_layout, weights
        self.uses, self.parents, self.classes, self.ported = {}, {}, {}, {}
        self.names, self.ports, self.unported, self.draws = Names(TAKEN), [], [], False
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
        key = network, masks and tuple(masks), gives_mask and (makes or any(masks or ()))
        if key not in self.classes:
            n = sum(other is network for other, *_ in self.classes)  # classes for other masks, of the same layers
            name = ''.join(part[:1].upper() + part[1:] for part in identifier(network.name).split('_'))
            code = ClassCode(self, network, self.names.fresh(f'{name}{n + 1 if n else ""}'), masks, gives_mask, frozen)
            if n and code.kept:
                raise refusal(network, 'it is stateful, and called with and without a mask.')
            code.suffix, self.classes[key] = f'_{n + 1}' if n else '', code
        return self.classes[key]

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
                text = TEXTS['function'].format(name=name, layer=readable(layer.name))
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
                           TEXTS['layer'].format(name=name, layer=readable(layer.name)), layer,
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
        classes = '\n\n\n'.join(code.text() for code in self.classes.values())
        inputs = ', '.join(f'{x} {x.shown()}' if len(main.inputs) > 1 else x.shown() for x in main.inputs)
        tail = TEXTS['tail'].format(
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
            for name in PARTS.keys() & names_read(wanted.pop()) - parts.keys():
                parts[name] = PARTS[name]
                wanted.append(parts[name])
        body = '\n\n\n'.join([*(parts[name] for name in PARTS if name in parts), *texts])
        names = names_read(body)
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
            'Keras), and with the unbiased variance.': any('.BatchNorm' in x for c in self.classes.values()
                                                           for x in c.init),
            f'Regularizers and constraints stayed behind, of {", ".join(regular)}.': regular,
            f'TO BE PORTED before it runs: {", ".join(self.unported)}.': self.unported}
        order = any(x.at > 0 for x in (*main.inputs, *main.outputs))
        text = TEXTS['head'].format(
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
        return '\n'.join('\n'.join(textwrap.wrap(line, WIDTH)) if line[:1].strip() else line
                         for line in text.splitlines()) + '\n'
