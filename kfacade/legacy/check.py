"""``python -m kfacade check SCRIPT.py``: what a script takes of Keras and TensorFlow, and what of it is not here.

The script is neither run nor imported. Its syntax tree tells which names it takes (imports under all spellings,
aliases, chains of attributes, ``import *``), and which arguments and which names in strings it gives to them. What
cannot be known is taken to be right: some gaps show only when a script runs, but what is reported is one.
"""
import argparse
import ast
import builtins
import difflib
import inspect
import pkgutil
import re
import sys
import tokenize
from collections import defaultdict
from types import ModuleType

import kfacade

from .. import activations, constraints, initializers, losses, metrics, optimizers, registry, regularizers
from ..engine.base_layer import _KWARGS, Layer
from ..engine.network import Network
from . import interfaces
from . import tensorflow as stand_in

_PACKAGES = {'keras': kfacade, 'kfacade': kfacade, 'keras_preprocessing': kfacade.preprocessing,
             'keras_applications': kfacade.applications, 'tensorflow': stand_in.module('tensorflow')}
_ROOMS = {'activation': activations, 'initializer': initializers, 'init': initializers, 'regularizer': regularizers,
          'constraint': constraints, 'optimizer': optimizers, 'loss': losses, 'metrics': metrics}
_ROLE = re.compile('.+_(?=(activation|initializer|regularizer|constraint)$)')  # of what, in the name of an argument
_SPECIAL = 'acc', 'accuracy', 'ce', 'crossentropy'  # strings with a meaning of their own
_KEYWORDS = _KWARGS | {'clipnorm', 'clipvalue', 'input_dim', 'input_length'}  # of layers and optimizers
_OLD_KEYWORDS = {*interfaces._NEW_NAMES, *'nb_row nb_col kernel_dim1 kernel_dim2 kernel_dim3 output_shape mode dropout '
                 'forget_bias_init inputs outputs'.split()}
_MODEL_MAKERS = re.compile(r'(load_model|model_from_\w+|clone_model|multi_gpu_model|applications\.(\w+\.)?[A-Z]\w+)$')
_CONDITION = re.compile(r'((and|or|not|in|is|True|False|int|float|tuple|len|split|startswith|\d+)\b|[()\[\],.:=!<> ])+')
_SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda

# What has other numbers than Keras on TensorFlow, by the last part of its name.
_DIFFERENCES = {name: note for names, note in {
    'Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianNoise GaussianDropout AlphaDropout dropout '
    'random_uniform random_normal random_binomial truncated_normal random_uniform_variable random_normal_variable':
        "draws other random numbers than TensorFlow's; they follow numpy's seed",
    'TimeDistributed': 'over a fixed batch size, BatchNormalization and Dropout in it train in the training phase',
    'multi_gpu_model': 'the moving averages of BatchNormalization follow the last part of a batch',
    'preprocess_input': 'in a graph, uses the numbers of its own mode, not of the mode that was used first',
    'load_model': 'weighted metrics are still there; a Lambda needs custom_objects or safe_mode=False',
    'GPUOptions': 'fractions of memory have no meaning on torch',
    'set_random_seed': "seeds tf.random_*; layers and K.random_* draw seeds from numpy's generator",
}.items() for name in names.split()}


def resolve(path):
    """What a dotted name means here (None: no saying), and the first part of it that is not here (None: all is)."""
    here, *parts = path.split('.')
    thing = _PACKAGES[here]
    for part in parts:
        here = f'{here}.{part}'
        if not isinstance(thing, (ModuleType, type)):
            return None, None  # an attribute of a function or of an object
        try:
            thing = getattr(thing, part)
        except AttributeError:
            inside = [module.name for module in pkgutil.iter_modules(getattr(thing, '__path__', []))]
            return None, None if part in inside or part in _attributes(thing) else here
        except ImportError:
            return None, None  # it is here, and needs a package that is not installed
    return thing, None


def _attributes(cls):
    """Names that instances of a class may have: those of the class, and what its methods mention."""
    values = [value for base in getattr(cls, '__mro__', ()) for value in vars(base).values()]
    return {*dir(cls), *(name for value in values if inspect.isfunction(value) for name in _code(value).co_names)}


def _code(function):
    return getattr(inspect.unwrap(function), '__code__', function.__code__)


def accepted(called):
    """The names of the arguments that a function or class takes; None where it may take others."""
    classes = [base for base in getattr(called, '__mro__', ()) if inspect.isfunction(vars(base).get('__init__'))]
    functions = [vars(base)['__init__'] for base in classes] or [called] * inspect.isfunction(called)
    if not functions:
        return None
    names, kinds = set(), {p.kind for p in inspect.signature(functions[0]).parameters.values()}
    for function in functions:
        names |= {*inspect.signature(function).parameters, *_code(function).co_consts}
        names |= _OLD_KEYWORDS if hasattr(function, '_original_function') else set()
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        return names
    if classes and issubclass(called, (Layer, optimizers.Optimizer)) and not issubclass(called, Network):
        return names | _KEYWORDS
    if called.__module__.startswith('kfacade.applications'):
        return names | {'backend', 'layers', 'models', 'utils'}
    return names if {'unknown', 'unknown_arguments'} & {*_code(functions[0]).co_names} else None  # it refuses others


def _bound(nodes):
    """Name -> what a function, class or module binds to it: dotted names, expressions, None for what is neither.

    What has come with `import *` is under names like 'keras.layers.*'.
    """
    names, stack = defaultdict(list), [*nodes]
    while stack:
        node = stack.pop()
        inside = ast.iter_child_nodes(node)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            room = f'{node.module}.' if isinstance(node, ast.ImportFrom) else ''
            for alias in node.names:
                short = alias.name if room else alias.name.partition('.')[0]
                name = room + (alias.name if alias.asname else short)
                names[name if alias.name == '*' else alias.asname or short].append(
                    None if getattr(node, 'level', 0) else name)
        elif isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            for target in node.targets:
                names[target.id].append(node.value)
            inside = [node.value]
        elif isinstance(node, _SCOPES):
            names[getattr(node, 'name', '')].append(None)
            inside = ()
        elif isinstance(node, ast.arg) or isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names[node.arg if isinstance(node, ast.arg) else node.id].append(None)
        stack += inside
    return names


class Script(ast.NodeVisitor):
    """What a script takes: `names` {name: lines}, and `differing`, `missing` and `covered` {(line, name): why}.

    Covered is what is missing where an except clause, or a condition about versions, names and the backend, sees to it.
    """

    def __init__(self, text, tensorflow='stand-in', tensorflow_keras=False):
        self.names, self.differing, self.missing, self.covered = defaultdict(set), {}, {}, {}
        self.tensorflow, self.tensorflow_keras = tensorflow, tensorflow_keras
        self.guards, self.scopes, self.looking = [], [], set()
        tree = ast.parse(text)
        self.stored = {x.attr for x in ast.walk(tree) if isinstance(x, ast.Attribute) and isinstance(x.ctx, ast.Store)}
        self.has_own_names = re.search('custom_object', text, re.IGNORECASE)  # then a string may mean anything
        self._visit_scope(tree)

    # ------------------------------------------------------------ what expressions mean

    def meaning(self, node):
        """A dotted name as a string, the class of an object, or None for all else."""
        if isinstance(node, ast.Name):
            return self._look_up(node.id)
        if isinstance(node, ast.Attribute):
            base = self.meaning(node.value)
            return f'{base}.{node.attr}' if isinstance(base, str) else None
        if not isinstance(node, ast.Call):
            return None
        called, *given = self.meaning(node.func), *(x.value for x in node.args if isinstance(x, ast.Constant))
        if called in ('importlib.import_module', '__import__') and given:
            return given[0]
        if called == 'getattr' and given and isinstance(self.meaning(node.args[0]), str):
            return f'{self.meaning(node.args[0])}.{given[0]}'
        thing = self._thing(called)
        return thing if isinstance(thing, type) else kfacade.Model if thing and _MODEL_MAKERS.search(called) else None

    def _look_up(self, name):
        for depth, (scope, owner) in reversed([*enumerate(self.scopes)]):
            if name in scope and not (isinstance(owner, ast.ClassDef) and depth < len(self.scopes) - 1):
                values = [x for x in scope[name] if not isinstance(x, ast.Constant)]  # `keras = None`, and such
                if (depth, name) in self.looking:
                    return None
                self.looking.add((depth, name))
                found = [self.meaning(x) if isinstance(x, ast.AST) else x for x in values]
                self.looking.remove((depth, name))
                here = [x for x in found if not self._is_ours(x) or self._thing(x)]
                return None if None in found else next(iter(here or found), None)
        stars = [path for scope, _ in self.scopes for name in scope if name[-2:] == '.*' for path in scope[name]]
        if hasattr(builtins, name) or not all(map(self._is_ours, stars)):
            return name if hasattr(builtins, name) else None
        paths = [path[:-1] + name for path in stars if self._thing(path[:-2])]
        return next((path for path in paths if self._thing(path)), next(iter(paths), None))

    def _is_ours(self, path):
        """Whether a dotted name is of Keras, or of TensorFlow where that is the stand-in."""
        package = path.partition('.')[0] if isinstance(path, str) else None
        return package in _PACKAGES and (package, self.tensorflow) != ('tensorflow', 'real')

    def _own(self, path):
        """The name of Keras that one of tf.keras means here."""
        inner = stand_in._path(path)[0].removeprefix('python.') if path.startswith('tensorflow.') else path
        return inner if self.tensorflow_keras and stand_in._is_keras(inner) else path

    def _thing(self, path):
        return resolve(self._own(path))[0] if self._is_ours(path) else None

    # ------------------------------------------------------------ what is taken

    def take(self, path, node):
        """Notes that a dotted name is taken."""
        if not self._is_ours(path):
            return
        own, last = self._own(path), path.rpartition('.')[2]
        self.names[path].add(node.lineno)
        if own != path or last in _DIFFERENCES:
            self.differing[node.lineno, path] = _DIFFERENCES.get(last, stand_in._KERAS_WARNING)
        gap = resolve(own)[1]
        owner, _, name = (gap or '').rpartition('.')
        if gap and name not in self.stored:
            elsewhere = registry._ELSEWHERE.get(name)
            self._miss(path, node, f'there is no {gap}' + (
                f'; it is a layer of {elsewhere}' if elsewhere else f'; {stand_in._KERAS_ADVICE}'
                if stand_in._is_keras(stand_in._path(gap)[0]) and own.startswith('tensorflow') else
                _likely(name, dir(resolve(owner)[0]))))

    def _miss(self, name, node, why):
        kept = self.covered if self.guards else self.missing
        kept[node.lineno, name] = '; '.join([why, *self.guards[-1:]])

    def visit_Import(self, node):
        room = f'{node.module}.' if isinstance(node, ast.ImportFrom) else ''
        for alias in node.names if not getattr(node, 'level', 0) else ():
            self.take((room + alias.name).removesuffix('.*'), alias)

    visit_ImportFrom = visit_Import

    def visit_Attribute(self, node):
        path, root = self.meaning(node), node
        while isinstance(root, ast.Attribute):
            root = root.value
        start = self.meaning(root)
        if isinstance(node.ctx, ast.Load) and not (self._is_ours(start) and resolve(self._own(start))[1]):
            self.take(path, node)  # unless what it starts with is missing, which has been said where it was imported
        elif isinstance(node.ctx, ast.Store) and ast.unparse(node).endswith('optimizer.lr'):
            self.differing[node.lineno, 'optimizer.lr'] = 'counts from the next step on; in Keras it did nothing'
        if not isinstance(path, str):
            self.visit(node.value)

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load) and not any(node.id in scope for scope, _ in self.scopes):
            self.take(self._look_up(node.id), node)  # has come with `import *`

    def visit_Call(self, node):
        self.generic_visit(node)
        called, name, owner = self.meaning(node.func), ast.unparse(node.func), None
        if isinstance(node.func, ast.Attribute):
            owner, method = self.meaning(node.func.value), node.func.attr
        thing = getattr(owner, method, None) if isinstance(owner, type) else self._thing(called)
        if getattr(owner, '__module__', '').startswith('kfacade.') and (
                issubclass(owner, Layer) or not hasattr(owner, '__getattr__')) and (
                method not in self.stored | _attributes(owner)):
            self._miss(name, node, f'{owner.__name__} has no {method}' + _likely(method, dir(owner)))
        if called == 'getattr' and len(node.args) == 2:
            self.take(self.meaning(node), node)
        if isinstance(thing, ModuleType) and self._is_ours(called):
            self._miss(name, node, f'{called} is a module')
        is_tensorflow = any(thing is x for x in stand_in.NAMES.values())  # which takes other spellings, too
        if (inspect.isfunction(thing) or isinstance(thing, type)) and thing.__module__.startswith('kfacade.'):
            self._check_arguments(node, name, thing, None if is_tensorflow else accepted(thing))

    def _check_arguments(self, node, name, thing, names):
        args = node.args if ast.Starred not in map(type, node.args) else ()
        parameters = inspect.signature(thing.__init__ if isinstance(thing, type) else thing).parameters
        positional = zip([x for x in parameters if x != 'self'], args)
        for argument, value in [*positional, *((k.arg, k.value) for k in node.keywords if k.arg)]:
            if names and argument not in names:
                self._miss(f'{name}({argument}=)', value, f'it has no argument {argument}' + _likely(argument, names))
            room = sys.modules[thing.__module__] if argument == 'identifier' else _ROOMS.get(_ROLE.sub('', argument))
            given = [value] if room and not self.has_own_names else []
            for x in given:
                given += x.values if isinstance(x, ast.Dict) else getattr(x, 'elts', [])
                word = getattr(x, 'value', None)
                if isinstance(word, str) and word not in _SPECIAL and not _is_known(room, word):
                    self._miss(f'{argument}={word!r}', x, f'{room.__name__} has no {word!r}' + _likely(word, dir(room)))

    # ------------------------------------------------------------ where

    def _visit_scope(self, node):
        body = node.body if isinstance(node.body, list) else [node.body]
        for child in ast.iter_child_nodes(node):
            if child not in body:
                self.visit(child)
        self.scopes.append((_bound([*body, *filter(None, [getattr(node, 'args', None)])]), node))
        self._guarded(body)
        self.scopes.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Lambda = _visit_scope

    def _guarded(self, nodes, why=None):
        outer, self.guards = self.guards, [*self.guards, why] if why else self.guards
        for node in nodes if isinstance(nodes, list) else [nodes]:
            self.visit(node)
        self.guards = outer

    def visit_Try(self, node):
        narrow = all(isinstance(x, (ast.Import, ast.ImportFrom, ast.Assign)) for x in node.body)
        caught = [x.lineno for x in node.handlers if re.search(
            'ImportError|ModuleNotFoundError|AttributeError' + '|Exception|^$' * narrow, ast.unparse(x.type or []))]
        self._guarded(node.body, f'caught in line {caught[0]}' if caught else None)
        self._guarded([*node.handlers, *node.orelse, *node.finalbody])

    def visit_If(self, node):
        self.visit(node.test)
        value, why = self._truth(node.test), f'not reached, by the condition in line {node.test.lineno}'
        self._guarded(node.body, why if value is False else None)
        self._guarded(node.orelse, why if value is True else None)

    visit_IfExp = visit_If

    def visit_BoolOp(self, node):
        for i, value in enumerate(node.values):
            earlier, decisive = node.values[:i], isinstance(node.op, ast.Or)
            is_dead = any(self._truth(x) is decisive for x in earlier)
            self._guarded(value, f'not reached, by the condition in line {node.lineno}' if is_dead else None)

    def _truth(self, test):
        """Whether a condition about versions, names and the backend holds; None where there is no saying."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) in map(self._truth, test.values):
            return isinstance(test.op, ast.Or)
        text = ast.unparse(test)
        for node in ast.walk(test):
            known = self._known(node) if isinstance(node, (ast.Call, ast.Attribute)) else None
            text = text if known is None else text.replace(ast.unparse(node), repr(known))
        if not _CONDITION.fullmatch(re.sub("'[^']*'", '', text)):
            return None
        try:
            return bool(eval(text, {'__builtins__': {}, 'int': int, 'float': float, 'tuple': tuple, 'len': len}))
        except Exception:  # whatever may be wrong with the condition
            return None

    def _known(self, node):
        """The value of an expression, None if it is not known."""
        called = isinstance(node, ast.Call)
        path = self.meaning(node.func if called else node)
        if path == 'sys.version_info':
            return tuple(sys.version_info[:3])
        if called and path == 'hasattr' and self._is_ours(self.meaning(node.args[0])):
            return resolve(f'{self.meaning(node.args[0])}.{ast.unparse(node.args[1])[1:-1]}')[1] is None
        if called and self._is_ours(path) and path.endswith('.backend'):
            return 'torch' if self.tensorflow == 'real' else 'tensorflow'
        return self._thing(path) if self._is_ours(path) and path.endswith('.__version__') else None


def _is_known(room, word):
    try:
        return bool(room.get(word))
    except ValueError:
        return False


def _likely(name, names):
    names = [x for x in names if isinstance(x, str)]
    return ''.join(f'; is it {x}?' for x in difflib.get_close_matches(name, names, 1))


def report(path, script):
    """Lines that say what a script takes, with the lines where it does."""
    yield f'{path}: {len(script.names)} names of Keras and TensorFlow, {len(script.missing)} missing'
    gone = {name for _, name in [*script.missing, *script.covered]}
    for name, lines in sorted(script.names.items()):
        if name not in gone:
            yield f'  {name}: here (line {", ".join(map(str, sorted(lines)))})'
    for title, found in (('differs', script.differing), ('covered', script.covered), ('missing', script.missing)):
        for (line, name), why in sorted(found.items()):
            yield f'{path}:{line}: {title}: {name}: {why}'


def main(arguments):
    """Runs ``check``; the exit code: 1 where something is missing, else 0."""
    parser = argparse.ArgumentParser(prog='python -m kfacade check')
    parser.add_argument('script', help='a Python file, which is read and not run')
    parser.add_argument('--tensorflow', choices=['stand-in', 'real'], default='stand-in', help='as when it is run')
    parser.add_argument('--tensorflow-keras', action='store_true', help='as when it is run')
    options = parser.parse_args(arguments)
    try:
        with tokenize.open(options.script) as f:
            script = Script(f.read(), options.tensorflow, options.tensorflow_keras)
    except OSError as error:
        parser.error(str(error))
    except SyntaxError as error:
        print(f'{options.script}:{error.lineno}: missing: Python 3 cannot read this: {error.msg}')
        return 1
    print(*report(options.script, script), sep='\n')
    return int(bool(script.missing))
