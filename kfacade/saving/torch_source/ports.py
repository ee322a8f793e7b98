"""Functions of a script as torch code: their source, with backend functions replaced by those of torch."""
import ast
import builtins
import inspect
import types

import numpy as np
import torch

from ... import backend as K
from ...utils.generic_utils import is_own

# Backend functions and torch's, where the name is another one; and what torch has to be told where Keras' default is
# another one.
_TORCH = dict(pair.partition('=')[::2] for pair in '''abs all any cos exp log mean ones_like pow prod round sigmoid
    sign sin softmax square squeeze stack std sum tanh tile var zeros_like reshape max=torch.amax min=torch.amin
    relu=F.relu elu=F.elu softplus=F.softplus hard_sigmoid=hard_sigmoid concatenate=torch.cat equal=torch.eq
    expand_dims=torch.unsqueeze batch_flatten=torch.flatten permute_dimensions=torch.permute argmax=torch.argmax
    l2_normalize=F.normalize dot=torch.matmul clip=torch.clamp maximum=torch.clamp minimum=torch.clamp less=torch.lt
    random_normal=torch.normal not_equal=torch.ne greater=torch.gt repeat_elements=torch.repeat_interleave'''.split())
_ALWAYS = {**dict.fromkeys(('softmax', 'concatenate', 'expand_dims', 'argmax'), {'dim': -1}),
           **dict.fromkeys(('var', 'std'), {'correction': 0}), 'batch_flatten': {'start_dim': 1},
           'l2_normalize': {'eps': 1e-6}, 'random_normal': {'mean': 0.0, 'std': 1.0}}
_ARGUMENTS = {'axis': 'dim', 'keepdims': 'keepdim', 'pattern': 'dims', 'min_value': 'min', 'max_value': 'max',
              'a': 'exponent', 'y': 'other', 'stddev': 'std', 'rep': 'repeats', 'n': 'dims', 'alpha': 'slope',
              'max_value of relu': 'limit',
              'y of maximum': 'min', 'y of minimum': 'max'}
_ATTRIBUTES = {'shape': 'shape', 'int_shape': 'shape', 'ndim': 'ndim'}
_ELEMENTWISE = (ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)


class Unportable(Exception):
    """What of a function is no torch code."""


def source_of(thing):
    """The source of a function, a class or of the class of an object; None where Python has none."""
    try:
        if isinstance(thing, types.LambdaType) and thing.__name__ == '<lambda>':
            return inspect.cleandoc(' ' + ast.get_source_segment(*_found(thing)))
        thing = thing if isinstance(thing, (type, types.FunctionType)) else type(thing)
        return inspect.cleandoc('\n' + inspect.getsource(thing))
    except (OSError, TypeError, SyntaxError, Unportable):
        return None


def _found(function):
    """The text of the file that a function is from, and its syntax tree."""
    code = function.__code__
    text = ''.join(inspect.findsource(code)[0])
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Lambda, ast.FunctionDef))
             and node.lineno - len(getattr(node, 'decorator_list', ())) <= code.co_firstlineno <= node.lineno
             and getattr(node, 'name', '<lambda>') == code.co_name]
    if len(found) > 1 and hasattr(code, 'co_positions'):  # several on one line; the innermost comes last
        places = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
        found = [node for node in found if (node.lineno, node.col_offset) <= min(places)
                 and max(places) <= (node.end_lineno, node.end_col_offset)][-1:]
    if len(found) != 1:
        raise Unportable('a function whose source is not known')
    return text, found[0]


def ported(function, name, port):
    """The function as source under another name; whether it treats every element by itself, and whether it draws.

    ``port(function)`` gives the name of another function that it calls. Raises Unportable.
    """
    if not isinstance(function, types.FunctionType):
        raise Unportable(f'{function!r}')
    if is_own(function) and getattr(K, function.__name__, None) is function:
        scope, tree = {'K': K}, ast.parse(f'lambda x: K.{function.__name__}(x)', mode='eval').body
    else:
        try:
            seen, tree = inspect.getclosurevars(function), _found(function)[1]
        except (OSError, SyntaxError) as error:
            raise Unportable('a function whose source is not known') from error
        scope = {**seen.globals, **seen.nonlocals}
    writer = _Writer(scope, {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)} | {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}, port)
    body = [ast.Return(tree.body)] if isinstance(tree, ast.Lambda) else tree.body
    body = [writer.visit(statement) for statement in body]
    arguments = tree.args
    arguments.defaults = [_literal(value) for value in function.__defaults__ or ()]
    arguments.kwonlyargs += [ast.arg(key) for key in writer.constants]
    arguments.kw_defaults += [_literal(value) for value in writer.constants.values()]
    elementwise = len(body) == 1 and isinstance(body[0], ast.Return) and all(
        isinstance(node, _ELEMENTWISE) or isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, int) for node in ast.walk(body[0].value))
    made = ast.FunctionDef(name, arguments, body, [], type_params=[])
    return ast.unparse(ast.fix_missing_locations(made)), elementwise, writer.draws


def is_plain(value):
    """Whether Python can read what it prints of a value."""
    return value is None or isinstance(value, (bool, int, float, str)) or isinstance(value, (list, tuple)) and all(
        map(is_plain, value))


def _literal(value):
    value = value.item() if isinstance(value, np.generic) else tuple(value) if isinstance(value, list) else value
    if not is_plain(value):
        raise Unportable(f'the value {value!r}')
    return ast.parse(repr(value), mode='eval').body


class _Writer(ast.NodeTransformer):
    """Replaces what torch has under other names; `constants` are the numbers and texts from outside that are read."""

    def __init__(self, scope, own, port):
        self.scope, self.own, self.port = {**vars(builtins), **scope}, own, port
        self.constants, self.draws = {}, False

    def value(self, node):
        """What an expression of names from outside stands for; None where it is made inside."""
        if isinstance(node, ast.Attribute):
            return getattr(self.value(node.value), node.attr, None)
        return None if not isinstance(node, ast.Name) or node.id in self.own else self.scope.get(node.id)

    def visit_Call(self, node):
        function = self.value(node.func)
        name = getattr(function, '__name__', None)
        if name is None or getattr(K, name, None) is not function:
            return self.generic_visit(node)
        if name in ('epsilon', 'floatx', 'image_data_format'):
            return _literal(function())
        if name in _ATTRIBUTES:
            return ast.Attribute(self.visit(node.args[0]), _ATTRIBUTES[name], ast.Load())
        if name == 'sqrt':  # which takes nothing below zero
            return ast.parse(f'torch.sqrt({ast.unparse(self.visit(node.args[0]))}.clamp(min=0))', mode='eval').body
        if name not in _TORCH or name == 'l2_normalize' and len(node.args) + len(node.keywords) < 2:
            raise Unportable(f'K.{name}')
        given = inspect.signature(function).bind(*node.args, **{k.arg: k.value for k in node.keywords}).arguments
        first, *rest = [(_ARGUMENTS.get(f'{key} of {name}', _ARGUMENTS.get(key, key)), self.visit(value))
                        for key, value in given.items()]
        if name == 'random_normal':
            self.draws, first, rest = True, None, [('size', first[1]), *rest]
        rest = {**{key: _literal(value) for key, value in _ALWAYS.get(name, {}).items()}, **dict(rest)}
        torch_name = 'clipped_relu' if name == 'relu' and rest else _TORCH[name] or f'torch.{name}'
        return ast.Call(ast.parse(torch_name, mode='eval').body, [first[1]] if first else [],
                        [ast.keyword(*pair) for pair in rest.items()])

    def visit_Name(self, node):
        value = self.value(node)
        if node.id in self.own or value is getattr(builtins, node.id, self) or value is torch and node.id == 'torch':
            return node
        if isinstance(value, types.FunctionType) and not is_own(value):
            return ast.Name(self.port(value), ast.Load())
        if value is None:
            raise Unportable(f'the name {node.id}')
        _literal(value)
        self.constants[node.id] = value
        return node

    def visit_Attribute(self, node):
        value = self.value(node)
        if value is None and node.attr not in ('shape', 'dtype', 'ndim'):
            raise Unportable(ast.unparse(node))
        if isinstance(value, (bool, int, float, str)):
            return _literal(value)
        return self.generic_visit(node)

    def visit_Import(self, node):
        raise Unportable(ast.unparse(node))

    visit_ImportFrom = visit_Global = visit_Nonlocal = visit_Import
