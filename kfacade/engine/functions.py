"""The train, test and predict functions of a model: `K.function`s with a fast way for the training loop."""
import functools
import operator
import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import torch

from ..backend import session as K
from ..backend import state
from ..backend.devices import count_virtual, device_of, put
from ..backend.graph import PHASE, Ways, compile_graph, has_gradient
from ..backend.private_ops import all_plain
from ..backend.session import Function
from ..backend.symbolic import to_feed
from ..utils import ranks
from .inference import fuse, is_outdated, parts_of, scaled
from .reverse import reverse


class StepFunction(Function):
    """A function that loops may also call as ``step(tensors)``: tensors in, tensors out, and no wait for the device.

    `plain` is an equivalent set of outputs for batches whose sample weights are all one, which needs no weights fed; or
    None where there is none.
    """

    trains = False
    passed = None  # the shapes of samples in the arrays that were fed last, which a model has checked

    def __init__(self, inputs, outputs, updates, name, phase, weights=(), plain=None, ways=None):
        super().__init__(inputs, outputs, updates, name=name)
        fixed = state.fixed_learning_phase()
        self.phase = phase if fixed is None else bool(fixed)
        self._weights, self.plain, self._ways = list(weights), plain, ways or Ways()
        self._tensor_graphs = {}

    def tensor_graph(self, weighted, phase=None):
        """The compiled graph for batches with or without sample weights; `phase` None is the function's own."""
        key = weighted, self.phase if phase is None else phase
        if key not in self._tensor_graphs:
            symbols = [x for x in self.inputs if x is not PHASE]
            outputs = self.outputs
            if not weighted:
                symbols = [x for x in symbols if not any(x is w for w in self._weights)]
                outputs = self.plain
            graph = compile_graph(symbols, outputs, self.updates, key[1], self.trains, self._ways)
            if not (self.trains or graph.phase or graph.differentiates or self._ways.splits or count_virtual()
                    or self._ways.mixed_precision):
                fuse(graph)
            self._tensor_graphs[key] = graph
        return self._tensor_graphs[key]

    def prepare(self, weighted=True, phase=None):
        """Called before each run of steps. Returns what `step` is to be given beside the tensors in this run."""
        graph = self.tensor_graph(weighted, phase)
        if is_outdated(graph):
            self._tensor_graphs.clear()
            graph = self.tensor_graph(weighted, phase)
        return scaled(graph)

    def share(self, n):
        """The rows of a batch of `n` that this rank computes; None for all."""
        return ranks.rows_of(n) if self._ways.splits else None

    def part(self, tensors):
        """The rank's rows of a batch; all of it where there is no saying which they are, or fewer than ranks."""
        if not self._ways.splits:
            return tensors
        sizes = {x.shape[0] if x.ndim else 0 for x in tensors}
        n = min(sizes, default=0)
        rows = self.share(n) if len(sizes) == 1 else None
        return tensors if rows is None else ranks.Part(
            [put(x.narrow_copy(0, rows.start, rows.stop - rows.start), device_of(x)) for x in tensors], rows, n)

    def step(self, tensors, weighted=True, phase=None, prepared=()):
        """The outputs for a list of tensors, as detached tensors; the updates are applied.

        `prepared` is what `prepare` gave for this run of steps.
        """
        graph, precision = self.tensor_graph(weighted, phase), self._ways.mixed_precision
        casting = torch.autocast(graph.home.type, getattr(torch, precision)) if precision else nullcontext()
        if not isinstance(tensors, ranks.Part):
            return self._step(graph, [*tensors, *prepared], casting)
        tensors.synchronizes = self._ways.sync_batchnorm
        with tensors:
            outputs = self._step(graph, tensors, casting)
            averages = [] if tensors.synchronizes else [u.variable.param for u in graph.made_within]
            for variable, mean in zip(averages, ranks.average(averages, averages, tensors.size / tensors.n)):
                variable.copy_(mean)
            return outputs

    def _step(self, graph, tensors, casting):
        with casting:
            return graph.run(*tensors)

    def __call__(self, inputs):
        fed = dict(zip(self.inputs, inputs))
        missing = [x.name for x in self.inputs[len(inputs):] if x is not PHASE]
        if missing:
            raise ValueError(f'The function expects {len(self.inputs)} input(s), but got {len(inputs)}: there is none '
                             f'for {missing}.')
        phase = bool(fed.pop(PHASE)) if PHASE in fed else None
        prepared, home = self.prepare(phase=phase), self.tensor_graph(True, phase).home
        tensors = self.part([to_feed(symbol, value, home) for symbol, value in fed.items()])
        return [K.to_numpy(value) for value in self.step(tensors, True, phase, prepared)]


class TrainFunction(StepFunction):
    """One training step: forward, backward, the optimizer's own fast step, updates.

    `optimizer_step` is given the gradients of `variables`, and does what the optimizer's symbolic `get_updates` says.
    They are this step's own: ``param.grad``, where other threads and loops of the user's add theirs, is left alone. For
    all other parameters autograd records nothing, so that below the first of `variables` no activation is kept.
    """

    trains = True

    def __init__(self, inputs, outputs, updates, optimizer_step, variables, *more):
        super().__init__(inputs, outputs, updates, 'train_function', True, *more)
        self.variables, self._optimizer_step = list(variables), optimizer_step
        self._scaler, self._params, self._reversed = None, (), {}
        self.prepare()

    def prepare(self, weighted=True, phase=None):
        """Looks the parameters up anew, since modules may have replaced them. Raises ValueError for frozen ones."""
        before, self._params, self._frozen = self._params, [v.param for v in self.variables], {}
        if any(map(operator.is_not, before, self._params)):
            self._reversed = {}
        self._are_plain = all_plain(*self._params) and all(
            p.requires_grad and not p._backward_hooks for p in self._params)
        without = [] if self._are_plain else [
            v.name for v, p in zip(self.variables, self._params) if not p.requires_grad]
        if without:
            raise ValueError(f'The weights {without} are to be trained, but their `requires_grad` is off. Switch it '
                             'on, or freeze their layers by `trainable = False` and compile the model again.')
        getattr(self._optimizer_step, 'refresh', bool)()
        self._seen = self._looked_at()
        return []

    def _looked_at(self):
        """What tells soonest that parameters, their memory or their hooks are others, as callbacks may change them."""
        return [(id(v.owner._parameters.get(v.key)), p.data_ptr(), bool(p._backward_hooks))
                for v, p in zip(self.variables, self._params)]

    def tensor_graph(self, weighted, phase=None):
        made, graph = len(self._tensor_graphs), super().tensor_graph(weighted, phase)
        if self._ways.jit_compile and len(self._tensor_graphs) > made:
            _compile(graph)
        return graph

    def _step(self, graph, tensors, casting):
        with graph.lock:
            if self._seen != self._looked_at():
                self.prepare()
            found = self._are_plain and self._reverse(graph)
            if found and found.serves(tensors):
                results, gradients = found(*tensors)
                self._optimizer_step(self._filled(gradients) if type(None) in map(type, gradients) else gradients)
            else:
                results, gradients = self._computed(graph, tensors, casting)
                if self._params:
                    self._update(gradients)
            results = graph.detached(results)
            graph.apply_updates(results[graph.n_outputs:])
        return results[:graph.n_outputs]

    def _reverse(self, graph):
        """What computes as a graph does, and the gradients; None where autograd is to."""
        if graph not in self._reversed:
            ways = self._ways
            plain = not (ways.jit_compile or ways.mixed_precision or ways.splits)
            self._reversed[graph] = reverse(graph, self.variables) if plain else None
        return self._reversed[graph]

    def _computed(self, graph, tensors, casting):
        """The results of a graph, and the gradients, which 16-bit floats get of a scaled loss."""
        try:
            results = self._forward(graph, tensors, casting)
            loss = results[0]
            if self._params and self._ways.mixed_precision == 'float16':
                self._scaler = self._scaler or torch.amp.GradScaler(loss.device.type)
                loss = self._scaler.scale(loss)
            return results, self._gradients(loss) if self._params else []
        except Exception as error:
            if not hasattr(graph, 'uncompiled'):
                raise
            graph.forward = graph.uncompiled
            del graph.uncompiled
            found = self._computed(graph, tensors, casting)  # or this raises what is wrong with the inputs
            warnings.warn('The training goes on without `jit_compile`: torch.compile failed with '
                          f'{type(error).__name__}: {str(error).strip()}', stacklevel=2)
            return found

    def _forward(self, graph, tensors, casting):
        frozen = self._freeze(graph)
        try:
            with torch.enable_grad(), casting:
                return graph(*tensors)
        finally:
            for p in frozen:
                p.requires_grad = True

    def _freeze(self, graph):
        """A list of what is not trained, without its `requires_grad` now; empty if the graph takes gradients itself."""
        if graph not in self._frozen:
            trained, parts = set(map(id, self._params)), [] if graph.differentiates else parts_of(graph.module)
            self._frozen[graph] = [p for part in parts for p in part._parameters.values()
                                   if p is not None and id(p) not in trained]
        frozen = [p for p in self._frozen[graph] if p.requires_grad]
        for p in frozen:
            p.requires_grad = False
        return frozen

    def _update(self, gradients):
        """Has the optimizer step; where 16-bit floats are scaled, and do overflow, by no step and a smaller scale."""
        if self._ways.mixed_precision != 'float16' or any(g is None for g in gradients):  # which it says
            return self._optimizer_step(gradients)
        held = [p.detach() for p in self._params]
        for p, gradient in zip(held, gradients):
            p.grad = gradient
        self._scaler.step(SimpleNamespace(param_groups=[{'params': held}],
                                          step=lambda: self._optimizer_step([p.grad for p in held])))
        self._scaler.update()

    def _gradients(self, loss):
        found = torch.autograd.grad(loss, self._params, allow_unused=True) if loss.requires_grad else (
            [None] * len(self._params))
        return ranks.average(self._filled(found), self._params)

    def _filled(self, gradients):
        """The gradients, with zeros for parameters that stand in the branch which this step did not take."""
        return [torch.zeros_like(p) if g is None and self._reached[i] else g
                for i, (g, p) in enumerate(zip(gradients, self._params))]

    @functools.cached_property
    def _reached(self):
        return has_gradient(self.outputs[0], self.variables)


def _compile(graph):
    """Has torch compile what a graph runs, when it first does; `uncompiled` is how it runs where that fails.

    On a CUDA device it is recorded as CUDA graphs, too, one of each pass. They write each step's results to the same
    memory, so that those which are read later are copied.
    """
    graph.uncompiled = graph.forward
    ranks.run_apart = torch.compiler.disable(lambda fn, *args, **kwargs: fn(*args, **kwargs))
    compiled = functools.cache(lambda mode: torch.compile(graph.module, mode=mode))

    def forward(*inputs):
        for update in graph.updates:
            update.prepare()
        try:
            if graph.home.type != 'cuda':
                return compiled(None)(*inputs)
            torch.compiler.cudagraph_mark_step_begin()
            results = compiled('reduce-overhead')(*inputs)
            return [r.clone() if isinstance(r, torch.Tensor) and i < graph.n_outputs else r
                    for i, r in enumerate(results)]
        finally:
            for update in graph.updates:
                update.held = None
    graph.forward = forward
