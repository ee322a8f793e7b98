"""Training graphs that compute their gradients themselves, call by call, where every call in them can.

Autograd keeps a record of each op and has an engine go back through it, which takes longer than the computing in a
small network. Here the way back is written down when a graph is compiled. A call comes with its pullback (see
`backend.pullbacks`): by the method or attribute ``with_pullback`` of its layer or function, or else by autograd, for
this one call. Gradients for inputs that a rule gives lie in memory that nobody else holds, those of autograd may not;
where it is the other way, `gradients_are_new` of a layer says so.
"""
import collections
import copy
import inspect
import operator
from typing import NamedTuple

import torch
from torch import fx

from .. import backend, losses
from ..backend import pullbacks
from ..backend.devices import count_virtual
from ..backend.graph import invoke
from ..backend.private_ops import all_plain, autograd_is_watched
from ..backend.pullbacks import ACTIVATIONS, ARITHMETIC, full
from ..utils.generic_utils import is_own
from .inference import FORWARD, are_patched, called_directly, global_hooks, hooks_of

_HOOKS = *FORWARD, 'backward', 'backward_pre'
_STORED = torch.Tensor, torch.nn.Module
_SHARING = {pullbacks.by_autograd, *ARITHMETIC.values()}  # whose gradients may share memory
_NONE = collections.defaultdict(lambda: None)
_ROOMS = {backend.math.__name__, backend.nn.__name__, backend.spatial.__name__, losses.__name__}


def reverse(graph, variables):
    """A `Reversed` for the first result of a `CompiledGraph` and these variables; None where autograd is to go back."""
    if graph.differentiates or count_virtual() or any(
            v.owner._parameters.get(v.key) is not v.param for v in variables):
        return None
    reverser = _Reverser(graph.module, variables)
    try:
        module = reverser.reversed()
    except _NotReversible:
        return None
    return Reversed(graph, module, reverser.hooks, reverser.attributes)


class Reversed:
    """A training graph that is called as that is, and gives its results and a list of the variables' gradients."""

    def __init__(self, graph, module, hooks, attributes):
        self._graph, self._hooks, self._attributes = copy.copy(graph), hooks, attributes
        self._graph.module, self._graph.forward = module, module.forward

    def serves(self, tensors):
        """Whether nothing is here that wants to see what autograd does, or needs it."""
        return (all_plain() and not any(self._hooks) and not are_patched(self._attributes) and not autograd_is_watched()
                and not any(x.requires_grad or not x.is_cpu for x in tensors))

    def __call__(self, *tensors):
        with torch.no_grad():
            return self._graph(*tensors)


class _NotReversible(Exception):
    """Of some call only autograd knows how to go back, or nothing would be gained."""


class _Call(NamedTuple):
    """A call of the new graph, by the nodes of its result and pullback.

    `targets`: (index of a gradient, what it is for). `makes_new`: whether these are memory that nobody else holds.
    `writes_over`: whether it may write over the gradient that it gets.
    """

    result: fx.Node
    pullback: fx.Node
    targets: list
    makes_new: bool
    writes_over: bool


class _Reverser:
    def __init__(self, module, variables):
        self.old, self.params = module, [id(v.param) for v in variables]
        self.places = {key: i for i, key in enumerate(self.params)}  # of shared layers, some may be there twice
        self.hooks = global_hooks(_HOOKS)
        self.attributes = []  # the names of those that each layer has
        self.graph, self.module = fx.Graph(), fx.GraphModule({}, fx.Graph())
        self.module.__dict__.update({kind: vars(module)[kind] for kind in ('_modules', '_buffers', '_parameters')})
        self.env, self.new = {}, set()  # new nodes by old ones; old ones whose results nobody else holds or needs
        self.put_off = {}  # functions that come after old nodes and not before them
        self.calls, self.ruled = [], 0

    def reversed(self):
        *nodes, end = self.old.graph.nodes
        self.path = self._path(nodes, end.args[0][0])
        for node in nodes:
            if node in self.path and node.op != 'get_attr':
                self._with_pullback(node)
                continue
            if node.op == 'get_attr' and '.' not in node.target and not isinstance(held := self._held(node), _STORED):
                setattr(self.module, node.target, held)
            self.env[node] = self.graph.node_copy(node, self.env.__getitem__)
        if 2 * self.ruled < max(len(self.calls), 1):
            raise _NotReversible
        self.graph.output((fx.map_arg(end.args[0], self.env.__getitem__), self._gradients(end.args[0][0])))
        self.module.graph = self.graph
        return self.module

    def _path(self, nodes, loss):
        """The nodes through which the variables make a difference to the loss."""
        moved, reaching = set(), {loss}
        for node in nodes:
            if getattr(node.target, 'differentiable', True) and getattr(
                    node.meta.get('dtype'), 'is_floating_point', True) and (
                    self._parameters(node) or not moved.isdisjoint(node.all_input_nodes)):
                moved.add(node)
        for node in reversed(nodes):
            if node in reaching:
                reaching.update(node.all_input_nodes)
        return moved & reaching if loss in moved else set()

    def _held(self, node):
        """The layer that a node calls, or what attribute it is; None for other nodes."""
        return operator.attrgetter(node.target)(self.old) if node.op in ('get_attr', 'call_module') else None

    def _parameters(self, node):
        """Of the variables' parameters, those that a node holds."""
        held = self._held(node)
        found = held.parameters() if isinstance(held, torch.nn.Module) else [held]
        return [p for p in found if id(p) in self.places]

    # ------------------------------------------------------------ forward

    def _with_pullback(self, node):
        """Emits a call with its pullback."""
        called, args, kwargs = self._held(node) or node.target, node.args, dict(node.kwargs)
        self._check(node, called)
        function = kwargs.pop('activation', None)
        activates = function is not None and self._held(function) in ACTIVATIONS
        if activates and self._is_put_off(node, function):
            if getattr(called, 'only_activates', False):
                self.env[node] = self.env[args[0]]
                return
            function, activates = self._object(pullbacks.unchanged, node), False
        if activates and getattr(called, 'only_activates', False):
            self._emit_activation(node, args[0], function, over=args[0] in self.new and len(args[0].users) == 1)
            return
        rule = self._rule(called, args, kwargs) if function is None or activates else None
        if not self.path.isdisjoint(x for x in kwargs.values() if isinstance(x, fx.Node)):
            rule = None  # they give gradients for what comes by position
        if rule is None:
            self._emit_by_autograd(node, called, kwargs if function is None else {**kwargs, 'activation': function})
            if node in self.put_off:
                self._emit_activation(node, self.env[node], self.put_off[node], over=False)
            return
        weights = [getattr(called._params, name, None) for name in getattr(called, 'weight_layouts', ())]
        sources = [*args, *weights]
        wanted = [x in self.path if isinstance(x, fx.Node) else id(x) in self.places for x in sources]
        targets = [(i, x) for i, (x, flag) in enumerate(zip(sources, wanted)) if flag]
        result = self._emit(node, rule, (tuple(wanted), *args), kwargs, targets)
        if activates:
            self._emit_activation(node, result, function, over=True)
        elif getattr(called, 'makes_new', False):
            self.new.add(node)

    def _emit_activation(self, node, x, function, over):
        kwargs = {'activation': function, 'over': over}
        self._emit(node, pullbacks.activation, ((True,), x), kwargs, [(0, x)])

    def _is_put_off(self, node, function):
        """Whether this ReLU comes after the pooling that alone uses it: of the maxima, which are fewer, it is the same.

        So is the gradient: the maximum of a window of which something is positive is the same element before and after.
        """
        following = next(iter(node.users)) if len(node.users) == 1 else None
        layer = following is not None and following in self.path and self._held(following)
        if self._held(function) is not torch.relu or not getattr(layer, 'takes_maxima', False) or not is_own(layer):
            return False
        self.put_off[following] = function
        return True

    def _emit_by_autograd(self, node, called, kwargs):
        parameters = self._parameters(node)
        leaves = {x: self._call(pullbacks.as_leaf, self.env[x]) for x in node.all_input_nodes if x in self.path}
        called, kwargs = called_directly(called, kwargs, training=True)
        args, kwargs = fx.map_arg((node.args, kwargs), lambda x: leaves.get(x, x))
        given = [*leaves.values()], self._object(parameters, node), self._object(called, node), *args
        self._emit(node, pullbacks.by_autograd, given, kwargs, list(enumerate([*leaves, *parameters])))

    def _emit(self, node, rule, args, kwargs, targets):
        """Emits one `rule`, whose result may stand for that of `node`; returns that."""
        self.ruled += rule is not pullbacks.by_autograd
        args, kwargs = fx.map_arg(((self._object(rule, node), *args), kwargs), lambda x: self.env.get(x, x))
        pair = self.graph.create_node('call_function', invoke, args, kwargs, name=node.name)
        pair.meta.update(node.meta)
        self.env[node] = result = self._call(operator.getitem, pair, 0)
        makes_new = getattr(self._held(node), 'gradients_are_new', rule not in _SHARING)
        self.calls.append(_Call(result, self._call(operator.getitem, pair, 1), targets, makes_new,
                                rule is pullbacks.activation))
        return result

    def _check(self, node, called):
        """Raises `_NotReversible` for what may use weights that nobody sees, or gives several tensors."""
        if any(user.target is operator.getitem for user in node.users):
            raise _NotReversible
        for x in node.all_input_nodes:
            held = self._held(x)
            if x.op == 'get_attr' and not isinstance(held, torch.Tensor) and not (
                    x is node.kwargs.get('activation') and (is_own(held) or held in ACTIVATIONS)):
                raise _NotReversible
        if isinstance(called, torch.nn.Module):
            parts = list(called.modules())
            self.hooks += hooks_of(parts, _HOOKS)
            self.attributes.append(vars(called).keys())
            known = all(map(is_own, parts))
        else:
            name = getattr(called, '__name__', '_')
            known = called in ARITHMETIC or getattr(called, '__module__', '') in _ROOMS or (
                getattr(torch, name, None) is called and not name.endswith('_'))
        if not known:
            raise _NotReversible

    @staticmethod
    def _rule(called, args, kwargs):
        """What gives a result and its pullback, if there is such a thing for these arguments."""
        rule = ARITHMETIC.get(called) or getattr(called, 'with_pullback', None)
        if rule is None or isinstance(called, torch.nn.Module) and not issubclass(*(
                next(c for c in type(called).__mro__ if name in c.__dict__) for name in ('with_pullback', 'call'))):
            return None
        try:
            inspect.signature(rule).bind((), *args, **kwargs)
        except TypeError:
            return None
        return rule

    def _object(self, x, node):
        """A node for an object that the new module holds."""
        name = f'_{len(self.graph.nodes)}_{node.name}'
        self.module.__dict__[name] = x
        return self.graph.create_node('get_attr', name, (), {})

    def _call(self, function, *args):
        return self.graph.create_node('call_function', function, args, {})

    # ------------------------------------------------------------ back

    def _gradients(self, loss):
        """The nodes of the gradients for the variables' parameters, None where there is none."""
        found, own = {self.env[loss]: 1.}, set()  # of `found`, those whose memory nobody else holds
        for call in reversed(self.calls):
            if call.result not in found:
                continue
            over = (True,) if call.writes_over and call.result in own else ()
            gradients = self._call(_pulled, call.pullback, found.pop(call.result), *over)
            for i, target in call.targets:
                gradient = self._call(operator.getitem, gradients, i)
                if isinstance(target, fx.Node) and target.op == 'get_attr':
                    gradient, target = self._call(full, gradient, self.env[target]), self._held(target)
                target = self.env.get(target, target) if isinstance(target, fx.Node) else self.places[id(target)]
                if target in found:
                    gradient = self._call(_sum, found[target], gradient)
                elif call.makes_new:
                    own.add(target)
                if not call.makes_new:
                    own.discard(target)
                found[target] = gradient
        return [found.get(self.places[key]) for key in self.params]


def _pulled(pullback, gradient, *over):
    return _NONE if gradient is None else pullback(gradient, *over)


def _sum(a, b):
    return a if b is None else b if a is None else a + b
