"""The compiler: recorded symbols in, one flat `torch.fx.GraphModule` a learning phase out."""
import functools
import keyword
import linecache
import operator
import re
import threading
import weakref
from collections import Counter, defaultdict
from contextlib import nullcontext
from traceback import walk_tb
from typing import NamedTuple

import numpy as np
import torch
from torch import fx

from ..utils import ranks
from . import shapes
from .devices import Checked, apply_on, count_virtual, create, default_device, device_of, held, move, put, unplaced
from .state import mode
from .symbolic import Face, SubGraph, SymbolicTensor, as_tensor, function_name, is_value, symbols_in
from .trees import leaves, map_leaves
from .variable import HostVariable, MovingAverageUpdate, Variable

_LITERALS = (bool, int, float, complex, str, type(None), type(...), torch.dtype, torch.device, torch.memory_format,
             torch.Size, torch.layout)


class _Phase(SymbolicTensor):
    """The learning phase: a symbol that the compiler replaces by True (training) or False (test)."""

    def __init__(self):
        super().__init__(None, (), {}, (True, True), name='keras_learning_phase:0')
        self._uses_learning_phase = True


PHASE = _Phase()


def choose_phase(phase, in_train, in_test):
    """The value of one of two expressions; where `phase` is the learning phase, the other one is not even compiled."""
    return in_train if phase else in_test


def gradients_of(losses, weights, targets, create_graph):
    """Gradients of the sum of `losses`, each weighted unless its weight is None; targets that have none get zeros."""
    # a weight that is given to `torch.autograd.grad`, even if it is 1, imports for a third of a second
    pairs = [(loss.sum(), None) if weight is None else (loss, as_tensor(weight).to(loss).expand_as(loss))
             for loss, weight in zip(losses, weights) if loss.requires_grad]
    if not pairs:
        return [torch.zeros_like(t) for t in targets]
    losses, weights = zip(*pairs)
    with _without_autocast(losses[0].device.type):  # each op goes back in the type in which it went
        found = torch.autograd.grad(losses, targets, weights, create_graph=create_graph, retain_graph=True,
                                    allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, targets)]


def _without_autocast(device):
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def mark_target(tensor):
    """`tensor` as something that a gradient can be taken for."""
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    return tensor.detach().requires_grad_()


def in_full(fn, *args, **kwargs):
    """Calls `fn` without autocast, on 32-bit floats in place of shorter ones."""
    args = map_leaves(lambda x: x.float() if isinstance(x, torch.Tensor) and x.is_floating_point() else x, args)
    device = next((x.device.type for x in leaves(args) if isinstance(x, torch.Tensor)), 'cpu')
    with _without_autocast(device):
        return fn(*args, **kwargs)


def read_host(variable):
    """The number behind a HostVariable, as a tensor without dimensions."""
    return variable.value


def dependencies(symbol, phase):
    """The symbols that `symbol` is computed from in the given phase (None: in either)."""
    if symbol.fn is choose_phase and phase is not None:
        chooser, in_train, in_test = symbol.args
        if chooser is PHASE:
            return symbols_in(in_train if phase else in_test)
    return symbols_in((symbol.args, symbol.kwargs))


def walk(outputs, inputs=(), phase=None):
    """All symbols that `outputs` need, in an order of computation, stopping at `inputs`. Without recursion."""
    known, order = set(inputs), []
    stack = [(s, False) for s in reversed(outputs)]
    while stack:
        symbol, ready = stack.pop()
        if ready:
            order.append(symbol)
        elif symbol not in known:
            known.add(symbol)
            stack.append((symbol, True))
            stack.extend((s, False) for s in reversed(dependencies(symbol, phase)) if s not in known)
    return order


def _owners(symbol):
    """The modules that hold the weights which a recorded call uses."""
    found = (x.owner if isinstance(x, Variable) else x for x in leaves((symbol.fn, symbol.args, symbol.kwargs)))
    return [x for x in found if isinstance(x, torch.nn.Module)]


_locks, _dealing = weakref.WeakKeyDictionary(), threading.Lock()  # of layers and weight holders


class _Locks(list):
    """Several locks, held as one."""

    def __enter__(self):
        for lock in self:
            lock.acquire()

    def __exit__(self, *_):
        for lock in self:
            lock.release()


def _lock_of(module):
    """What to hold while the parts of a graph's module are trained.

    Parts that are first met in one graph share a lock. So a graph has one, or several where parts that were trained
    apart are joined; these in one order for all graphs.
    """
    parts = [part for part in module.modules() if part is not module]
    with _dealing:
        own = next((_locks[part] for part in parts if part in _locks), None) or threading.RLock()
        locks = {_locks.setdefault(part, own) for part in parts} or {own}
    return locks.pop() if len(locks) == 1 else _Locks(sorted(locks, key=id))


class CompiledGraph:
    """A graph ready to run in one learning phase: ``graph(*inputs)`` gives the outputs, then the updates' new values.

    `module` is the `fx.GraphModule`. It refers to the layers and weight holders themselves, so what changes there
    (values, devices) is what the next run sees.
    """

    def __init__(self, module, compiler):
        self.module, self.phase, self.n_outputs = module, compiler.phase, len(compiler.outputs)
        self.updates, self._pending, self.differentiates = compiler.updates, compiler.pending, compiler.differentiates
        self._place, self.anchor, self._constants = compiler.place, compiler.anchor, compiler.constants
        self._settled = torch.device('cpu')
        self.hooks, self.watched, self.normalized, self.attributes = [], [], [], []  # see `engine.inference`
        self.forward = (lambda *inputs: Checked(module).run(*inputs)) if count_virtual() else module.forward

    @property
    def home(self):
        """The device of what no scope places: that of the weights, else the default one."""
        return default_device() if self.anchor is None else device_of(getattr(*self.anchor))

    def brought(self, inputs):
        """Inputs that lie with the weights, where there are any."""
        if self.anchor is None:
            return inputs
        home = self.home
        return [put(x, home) if isinstance(x, torch.Tensor) else x for x in inputs]

    def _settle(self, inputs):
        """Moves the constants to where what no scope places is computed."""
        device = device_of(inputs[self._place]) if self._place is not None else self.home if self.anchor else None
        if device not in (None, self._settled):
            for module, name, value in self._constants:
                setattr(module, name, put(value, device))
            self._settled = device

    def __call__(self, *inputs):
        if self.differentiates and not torch.is_grad_enabled():  # it needs autograd, whoever called
            with torch.inference_mode(False), torch.enable_grad():
                return self.detached(self(*map_leaves(lambda x: x.clone() if isinstance(
                    x, torch.Tensor) and x.is_inference() else x, inputs)))
        if self._constants:
            self._settle(inputs)
        outer, mode.phase = mode.phase, self.phase
        mode.depth += 1
        try:
            return self.forward(*inputs)
        except Exception as error:
            self._locate(error)
            raise
        finally:
            mode.depth -= 1
            mode.phase = outer

    @functools.cached_property
    def lock(self):
        """A context for taking gradients and making updates: one thread at a time for graphs that share a layer.

        Autograd refuses weights that another thread changes between the two passes.
        """
        return _lock_of(self.module)

    def _locate(self, error):
        """Adds to the message of `error` which layer raised it, and the shapes of what that was given."""
        lines = {frame: line for frame, line in walk_tb(error.__traceback__) if frame.f_code is self.forward.__code__}
        for frame, line in lines.items():
            name = linecache.getline(frame.f_code.co_filename, line).partition('=')[0].strip()
            for node in self.module.graph.nodes:
                if node.name == name and isinstance(next(iter(error.args), None), str):
                    given = [frame.f_locals.get(x.name) for x in node.all_input_nodes]
                    shapes = ', '.join(str(tuple(x.shape)) for x in given if isinstance(x, torch.Tensor))
                    what = f'layer {node.meta["path"]}' if node.meta.get('path') else f'`{name}`'
                    error.args = f'{error.args[0]}\n(Raised in {what}, by tensors of shapes {shapes}.)', *error.args[1:]

    def run(self, *inputs):
        """Runs without keeping a graph for autograd, applies the updates, and returns the outputs, detached."""
        if not self.updates and not self.differentiates:
            with torch.set_grad_enabled(False):
                return self.detached(self(*inputs), inputs)
        with self.lock:
            with torch.set_grad_enabled(self.differentiates):
                results = self.detached(self(*inputs), inputs)
            self.apply_updates(results[self.n_outputs:])
            return results[:self.n_outputs]

    @staticmethod
    def detached(results, inputs=()):
        """Results without history that share no memory with a variable or an input, so that nothing changes them."""
        fed = set(map(id, inputs))
        return [r if not isinstance(r, torch.Tensor) else r.detach().clone() if r._is_view() or id(r) in fed else
                r.detach() if r.requires_grad else r for r in results]

    @functools.cached_property
    def made_within(self):
        """The updates that layers make themselves."""
        return [u for u in self.updates if u not in self._pending]

    def apply_updates(self, values):
        """Assigns the new values, all of them computed from the old ones."""
        if self._pending:
            for update, value in zip(self._pending, values):
                update.variable.assign(value)
        if self.updates:
            for update in {u.variable: u for u in self.updates}.values():  # a shared layer's steps count once
                update.applied()


class Ways(NamedTuple):
    """How the functions of a model compute: the last arguments of its ``compile``, and facts of the model.

    `outputs` are those of the model, the ends of its network: in mixed precision, what makes them and what is made of
    them is computed in 32 bits. With `splits`, each of several processes computes them for its own rows of a batch, and
    what is made of them for all, from what is gathered (see `utils.ranks`).
    """

    sync_batchnorm: bool = False
    mixed_precision: str | None = None
    jit_compile: bool = False
    outputs: tuple = ()
    splits: bool = False


def compile_graph(inputs, outputs, updates=(), phase=False, differentiable=False, ways=None):
    """Compiles the computation of `outputs` and of the new values of `updates` from `inputs`.

    Arguments:
        inputs: symbols whose values are fed: placeholders, or any inner symbol.
        outputs: symbols, Variables or constants.
        updates: `Update` objects, applied by `CompiledGraph.apply_updates`.
        phase: True for training, False for test.
        differentiable: whether the caller differentiates the outputs (which may hold gradients themselves).
        ways: the `Ways` in which to compute.
    Raises ValueError naming a placeholder that is needed and not fed.
    """
    compiler = _Compiler(inputs, list(outputs), updates, phase, differentiable, ways)
    module = compiler.compile(tuple(compiler.outputs + [u.new_value for u in compiler.pending]))
    return CompiledGraph(module, compiler)


def _is_tensor(symbol):
    """Whether this is one tensor: no size, and not the several results of a call before they are told apart."""
    return isinstance(symbol.metas[0], torch.Tensor) and tuple(symbol.metas[0].shape) != (0,)


class _Compiler:
    def __init__(self, inputs, outputs, updates, phase, differentiable, ways=None, inner=False):
        self.inner = inner  # whether another graph uses the results
        self.ways, self.inputs, self.outputs, self.updates, self.phase = (
            ways or Ways(), list(inputs), outputs, list(updates), bool(phase))
        wanted = symbols_in(self.outputs)
        self.order = walk(wanted, [*self.inputs, PHASE], self.phase)
        self.full = set(self.ways.outputs if self.ways.mixed_precision else ())
        self.fused = self._fusible_updates() if self.phase and not self.ways.jit_compile else {}
        self.pending = [u for u in self.updates
                        if not (isinstance(u, MovingAverageUpdate) and u.output in self.fused)]
        self.order = walk(wanted + symbols_in([u.new_value for u in self.pending]), [*self.inputs, PHASE], self.phase)
        self.fed = set(self.inputs)
        self.place = next((i for i, x in enumerate(self.inputs) if is_value(x) and not isinstance(x, HostVariable)),
                          None)  # the input that shows where what no scope places is computed, and then the weights
        self.anchor = unplaced(*[x for symbol in self.order for x in _owners(symbol)])
        self.graph, self.constants, self.registered_objects = fx.Graph(), [], []
        self.module = fx.GraphModule({}, fx.Graph())
        self.nodes, self.registered, self.names = {}, {}, Counter()
        gradient_nodes = [x for x in self.order if x.fn is gradients_of]
        self.differentiates, self.differentiable = bool(gradient_nodes), differentiable or bool(gradient_nodes)
        self.targets = {t for x in gradient_nodes for t in x.args[2]}
        sources = [x.args[0] for x in gradient_nodes] + [self.outputs] * differentiable
        self.differentiated = {x for source in sources for x in walk(symbols_in(source), phase=self.phase)
                               if x.fn is gradients_of} if gradient_nodes else set()

    def _fusible_updates(self):
        """Layer calls that can make their own moving-average updates: both are wanted, and it is the only call."""
        wanted = defaultdict(list)
        for update in self.updates:
            if isinstance(update, MovingAverageUpdate) and update.output is not None:
                wanted[update.output].append(update)
        calls = Counter(s.fn for s in self.order if isinstance(s.fn, torch.nn.Module))
        present = set(self.order)
        touched = Counter(u.variable for u in self.updates)
        return {output: {'update': True} for output, updates in wanted.items()
                if output in present and output._on is None and len(updates) == 2 and calls[output.fn] == 1
                and all(touched[u.variable] == 1 and u.variable.on is None for u in updates)}

    def compile(self, results):
        """The `fx.GraphModule` that gives a tree of results."""
        for i, x in enumerate(self.inputs):
            name = self._unique(x.name.split(':')[0] if getattr(x, 'fn', None) is None else f'input_{i + 1}')
            self._set(x, self.graph.create_node('placeholder', name, name=name))
            self.nodes[x, 'raw'] = self.nodes[x]
        if self.ways.splits:
            self._emit_rows()
        self._emit_all(self.order)
        self.graph.output(map_leaves(self._result, results))
        self.module.graph = self.graph
        return self.module

    def _emit_all(self, symbols):
        for symbol in symbols:
            if symbol not in self.nodes:
                self.device = symbol._on
                self._emit(symbol)
        self.device = None

    def _emit_rows(self):
        """What ranks compute for their rows of a batch; then what of that others need, gathered, takes its place.

        Gradients for symbols belong to it, as they are of the rows, and so do the averages of BatchNormalization. Sizes
        are found anew.
        """
        roots = [*self.ways.outputs, *[u.new_value for u in self.pending if getattr(u, 'output', None) is not None],
                 *[x for x in self.order if x._by_rows or x.fn is gradients_of and symbols_in(x.args[2])]]
        rows = {*self.inputs, *walk(symbols_in(roots), [*self.inputs, PHASE], self.phase)}
        for x in self.order:
            if x.fn is operator.getitem and symbols_in(x.args[0]) and x.args[0] in rows and not _is_tensor(x.args[0]):
                rows.add(x)
        own = [x for x in self.order if x in rows]
        self._emit_all(own)
        sizes = [x for x in own if isinstance(x.metas[0], int)]
        needed = {d for x in self.order if x not in rows or x in sizes for d in dependencies(x, self.phase)}
        needed.update(symbols_in(self.outputs), [u.new_value for u in self.pending])
        cut = [x for x in (*self.inputs, *own) if x in needed and _is_tensor(x)]
        batch = {shapes.pairs_of(x)[0] for x in self.inputs if len(x.shape)}
        kinds = ['mean' if not len(x.shape) or x.shape[0].value is not None else
                 'rows' if shapes.pairs_of(x)[0] in batch else 'open' for x in cut]
        gathered = self._call(ranks.gather, (kinds, *map(self._leaf, cut)), {}, 'gathered')
        for i, x in enumerate(cut):
            whole = self._call(operator.getitem, (gathered, i), {}, 'whole')
            self.nodes[x] = whole if self._on(x) is None else self._call(move, (whole, self._on(x)), {}, 'moved')
        for x in sizes:
            del self.nodes[x]

    def _result(self, x):
        value = self.nodes[x] if x in self.nodes and not self.inner else self._leaf(x)  # it stays where it is computed
        own = isinstance(value, fx.Node) and value.op == 'get_attr' or isinstance(x, Variable)
        return self._call(torch.clone, (value,), {}, 'value') if own and is_value(x) else value

    def _emit(self, symbol):
        fn, args, kwargs = symbol.fn, symbol.args, symbol.kwargs
        if fn is None:
            why = ('among the inputs' if symbol._name else
                   'known outside of the loop, or other function, whose argument it is')
            raise ValueError(f'You must feed a value for the placeholder {symbol.name} of shape '
                             f'{tuple(symbol._keras_shape)}: it is needed to compute what was asked for, and it is not '
                             f'{why}.')
        if fn is choose_phase and args[0] is PHASE:
            self._set(symbol, self._argument(args[1] if self.phase else args[2]))
            return
        if fn is gradients_of:
            targets = [self._raw(t) if isinstance(t, Variable) else self.nodes[t] for t in args[2]]
            raw = self._call(fn, (*self._argument(args[:2]), targets, symbol in self.differentiated), {}, 'gradients')
            if self.ways.splits and not symbols_in(args[2]):
                raw = self._call(ranks.average, (raw, targets), {}, 'mean')
            found = [self._call(operator.getitem, (raw, i), {}, 'gradient') for i in range(len(targets))]
            self.nodes[symbol] = [self._at_hand(self._to_keras(t, g), self._on(t)) for t, g in zip(args[2], found)]
            return
        if fn is operator.getitem and isinstance(args[0], SymbolicTensor) and isinstance(self.nodes[args[0]], list):
            self._set(symbol, self.nodes[args[0]][args[1]])
            return
        if hasattr(fn, 'simplified'):
            fn, args, kwargs = fn.simplified(*args, **kwargs) or (fn, args, kwargs)
        given, name = leaves((args, kwargs)), function_name(symbol.fn)
        if getattr(fn, 'is_constant', False) and not symbols_in(given):
            self._set(symbol, self._leaf(fn(*args, **kwargs)))
            return
        args, kwargs = self._argument((args, {**kwargs, **self.fused.get(symbol, {})}))
        modules = [x for x in (fn, *given) if isinstance(x, torch.nn.Module)]
        if any(self.device is not None or getattr(x, 'on', None) is not None for x in held(*modules)):
            node = self._call(apply_on, (self._here(), self._object(fn), *args), kwargs, name)
        elif symbol in self.full:
            node = self._call(in_full, (self._object(fn), *args), kwargs, name)
        elif isinstance(fn, torch.nn.Module):
            name = self._register_module(fn)
            node = self.graph.create_node('call_module', name, args, kwargs, name=self._safe(name))
        elif is_value(symbol) and (name in _CREATORS or not (modules or any(map(is_value, given)))):
            node = self._call(create, (self._here(), self._object(fn), *args), kwargs, name)
        else:
            node = self._call(fn, args, kwargs, name)
        self._set(symbol, node)
        self.nodes[symbol].meta.update(path=symbol._path, dtype=symbol.dtype)

    def _set(self, symbol, node):
        if symbol in self.targets:
            node = self._call(mark_target, (node,), {}, 'target')
        self.nodes[symbol] = node

    def _call(self, fn, args, kwargs, name):
        if not hasattr(fn, '__name__') or fn.__name__ == '<lambda>' or '<locals>' in getattr(fn, '__qualname__', ''):
            fn, args = invoke, (self._object(fn, name), *args)
        return self.graph.create_node('call_function', fn, args, kwargs, name=self._safe(name))

    # ------------------------------------------------------------ arguments

    def _argument(self, tree):
        return map_leaves(self._leaf, tree)

    def _leaf(self, x):
        if x is PHASE:
            return self.phase
        if isinstance(x, SymbolicTensor):
            return self._at_hand(self.nodes[x], self._on(x))
        if isinstance(x, SubGraph):
            return self._sub_graph(x)
        if isinstance(x, Variable):
            node = self._once((x, 'keras'), lambda: self._to_keras(x, self._raw(x)))
            return self._at_hand(node, self._on(x))
        if isinstance(x, HostVariable):
            return self._once(x, lambda: self._call(read_host, (self._object(x, x.name),), {}, x.name))
        if isinstance(x, np.generic):
            return x.item()
        if isinstance(x, _LITERALS):
            return x
        return self._moved(self._object(x)) if isinstance(x, torch.nn.Parameter) else self._object(x)

    def _on(self, x):
        """The device of the scope that what a symbol or variable gives lies on; None for where the inputs are."""
        if x in self.fed:
            return None
        if isinstance(x, SymbolicTensor):
            return x._on
        return x.on if self.device is None else None  # a model that was moved has other weights than it was built with

    def _at_hand(self, node, on):
        """What lies on the device `on`, where it is needed now."""
        return node if on == self.device or not isinstance(node, fx.Node) else self._moved(node)

    def _moved(self, node):
        place = self._here()
        return self._once((node, place), lambda: self._call(move, (node, place), {}, 'moved'))

    def _here(self):
        """The device on which the present call computes, or a node of a tensor that lies there."""
        if self.device is not None:
            return self.device
        if self.place is not None:
            return self.nodes[self.inputs[self.place], 'raw']
        if self.anchor is None:
            return torch.device('cpu')
        owner, key = self.anchor
        return self._once('home', lambda: self.graph.create_node(
            'get_attr', f'{self._register_module(owner)}.{key}', (), {}))

    def _sub_graph(self, x):
        """A node for the forward function of a sub-graph, which is compiled for the same phase."""
        inner = _Compiler([*x.captured, *x.inputs], x.outputs, (), self.phase, self.differentiable, inner=True)
        name = self._register_module(inner.compile(x.outputs), x.__name__)
        self.differentiates |= inner.differentiates
        self.constants += inner.constants
        return self.graph.create_node('get_attr', f'{name}.forward', (), {})

    def _once(self, key, make):
        if key not in self.nodes:
            self.nodes[key] = make()
        return self.nodes[key]

    def _to_keras(self, variable, node):
        if isinstance(variable, Variable) and variable.layout and variable not in self.inputs:
            return self._call(variable.layout.to_keras, (node,), {}, variable.name)
        return node

    def _raw(self, variable):
        def make():
            owner = self._register_module(variable.owner, variable.name.rpartition('/')[0] + '_weights')
            node = self.graph.create_node('get_attr', f'{owner}.{variable.key}', (), {}, name=self._safe(variable.name))
            return self._call(mark_target, (node,), {}, 'target') if variable in self.targets else node
        return self._once((variable, 'raw'), make)

    # ------------------------------------------------------------ what the root module holds

    def _register_module(self, module, name=None):
        if id(module) not in self.registered:
            self.registered[id(module)] = self._unique(name or function_name(module))
            self.module.add_module(self.registered[id(module)], module)
        return self.registered[id(module)]

    def _object(self, x, name=None):
        """A node for an object that fx cannot write down: a tensor, where it is needed, a callable, a generator."""
        is_constant = isinstance(x, torch.Tensor) and not isinstance(x, torch.nn.Parameter)
        key = ('object', id(x), self.device if is_constant else None)
        if key not in self.nodes:
            self.registered_objects.append(x)  # or another object could get its id
            name = name or function_name(x)
            name = self._unique(f'{name}_constant' if isinstance(x, torch.Tensor) else name)
            if isinstance(x, torch.nn.Module):
                name = self._register_module(x, name)
            elif is_constant:
                if self.device is None:
                    self.constants.append((self.module, name, x))
                self.module.register_buffer(name, put(x, self.device or x.device), persistent=False)
            else:
                setattr(self.module, name, x)
            self.nodes[key] = self.graph.create_node('get_attr', name, (), {})
        return self.nodes[key]

    @staticmethod
    def _safe(name):
        name = re.sub(r'\W+', '_', name.split(':')[0]).strip('_')
        is_free = name[:1].isalpha() and not keyword.iskeyword(name) and name != 'self'  # of the method that fx writes
        return name if is_free else f'x_{name}'

    def _unique(self, name):
        name = self._safe(name)
        while hasattr(self.module, name) or self.names[name]:
            self.names[name] += 1
            name = f'{name}_{self.names[name]}'
        self.names[name] += 1
        return name


def invoke(fn, /, *args, **kwargs):
    """Calls a function that the graph holds as an object."""
    return fn(*args, **kwargs)


# Recorded functions that take tensors for sizes and bounds alone: these do not say where the result is to lie.
_CREATORS = {'arange', 'eye', 'fill', 'random_binomial', 'random_normal', 'random_uniform', 'truncated_normal',
             '_call_numpy'}

# Recorded functions through which no gradient flows, as in TensorFlow.
_GRADIENT_ENDS = {'argmax', 'argmin', 'round', 'stop_gradient', 'detach', 'equal', 'not_equal', 'greater', 'less',
                  'greater_equal', 'less_equal', 'in_top_k', 'one_hot', 'lt', 'le', 'gt', 'ge', 'shape', 'size',
                  'zeros_like', 'ones_like', 'floordiv'}


def has_gradient(loss, targets):
    """For each target, whether a change of it can change `loss`, or one of several, by the recorded functions."""
    reached, variables = set(), set()
    stack = leaves(loss)
    while stack:
        x = stack.pop()
        if isinstance(x, Face):
            variables.add(x)
        if isinstance(x, torch.nn.Module):
            variables.update(getattr(x, 'weights', ()))
        if not isinstance(x, SymbolicTensor) or x in reached or not x.dtype.is_floating_point:
            continue
        reached.add(x)
        if function_name(x.fn) in _GRADIENT_ENDS:
            continue
        reach = getattr(x.fn, 'gradients_reach', lambda *args, **kwargs: (args, kwargs))  # what a function may tell
        stack.extend((x.fn, *leaves(reach(*x.args, **x.kwargs))))
    return [t in (reached if isinstance(t, SymbolicTensor) else variables) for t in targets]
