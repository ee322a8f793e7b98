"""What steps: Keras' optimizers as torch optimizers, fused where torch has a kernel for the arithmetic.

A kernel is made once from lists of parameters and slots (``kernel(params, *slots, **options)``) and gives
``update(gradients, *coefficients)``, which changes both in place. The lists share a device, a dtype and, tensor by
tensor, their strides. What is not contiguous (channels-last kernels, say) is handed over as the row of numbers that it
is in memory: on the CPU the fused kernels take four times as long for strides.

Two identities serve several kernels. Torch's Adam with its bias correction switched off (``_adam``) is

    m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2;   p = p - lr m / (sqrt(v) + epsilon)

which is Keras' Adam, whose correction is a factor of `lr`; and RMSprop, where b1 = 0 and the gradient itself may serve
as `m`. Torch's SGD subtracts ``lr * buffer`` from p; with lr = -1 its buffer is the velocity v = m v - lr g of Keras.
"""
import inspect
import math

import torch

from .backend.graph import compile_graph
from .backend.variable import Update

_FUSED_DEVICES = {'cpu', 'cuda', 'mps', 'xpu'}
_PLAIN = {'weight_decay': 0., 'maximize': False}

NO_GRADIENT = ('An operation has `None` for gradient. Please make sure that all of your ops have a gradient defined '
               '(i.e. are differentiable). Common ops without gradient: K.argmax, K.round, K.eval.')


# ---------------------------------------------------------------- kernels

_MIN_PARALLEL = 2 ** 16  # numbers to update below which waking a second thread costs more than it saves


def sgd(ps, vs, *, nesterov):
    """Velocity and parameter: v = m v - lr g, then p + v, or p + m v - lr g with Nesterov momentum."""
    def fused(gs, lr, momentum):
        # Of a momentum of exactly 0 the kernel would keep no velocity, but Keras stores it.
        momentum = momentum or 5e-324
        torch._fused_sgd_(ps, gs, vs, momentum=momentum, lr=-momentum if nesterov else -1., dampening=1. + lr,
                          nesterov=False, is_first_step=False, **_PLAIN)
        if nesterov:
            torch._fused_sgd_(ps, gs, [], momentum=0., lr=lr, dampening=0., nesterov=False, is_first_step=False,
                              **_PLAIN)

    def update(gs, lr, momentum):
        torch._foreach_mul_(vs, momentum)
        torch._foreach_add_(vs, gs, alpha=-lr)
        torch._foreach_add_(ps, vs, alpha=momentum if nesterov else 1.)
        if nesterov:
            torch._foreach_add_(ps, gs, alpha=-lr)
    # on a CPU the kernel leaves 16-bit parameters as they are, but for the last few numbers
    return update if ps[0].device.type == 'cpu' and ps[0].dtype.itemsize < 4 else fused


def rmsprop(ps, vs, *, epsilon):
    """v = rho v + (1 - rho) g^2, p - lr g / (sqrt(v) + epsilon)."""
    step = _adam(ps)
    return lambda gs, lr, rho: step(gs, gs, vs, lr, 0., rho, epsilon)


def adagrad(ps, vs, *, epsilon):
    """v = v + g^2, p - lr g / (sqrt(v) + epsilon)."""
    steps = [torch.ones((), device=p.device) for p in ps]

    def fused(gs, lr):
        torch._fused_adagrad_(ps, gs, vs, steps, lr=lr, lr_decay=0., eps=epsilon, **_PLAIN)

    def update(gs, lr):
        torch._foreach_addcmul_(vs, gs, gs)
        torch._foreach_addcdiv_(ps, gs, _root(vs, epsilon), -lr)
    return fused if ps[0].device.type == 'cpu' else update


def adadelta(ps, vs, ds, *, rho, epsilon):
    """v = rho v + (1 - rho) g^2, u = g sqrt(d + epsilon) / sqrt(v + epsilon), p - lr u, d = rho d + (1 - rho) u^2."""
    def update(gs, lr):
        torch._foreach_mul_(vs, rho)
        torch._foreach_addcmul_(vs, gs, gs, 1. - rho)
        steps, scales = torch._foreach_add(ds, epsilon), torch._foreach_add(vs, epsilon)
        torch._foreach_div_(steps, scales)
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, gs)
        torch._foreach_add_(ps, steps, alpha=-lr)
        torch._foreach_mul_(ds, rho)
        torch._foreach_addcmul_(ds, steps, steps, 1. - rho)
    return update


def adam(ps, ms, vs, maxima=(), *, epsilon, amsgrad):
    """The module's Adam; with `amsgrad`, the running maximum of v takes its place in the last formula."""
    step = _adam(ps)
    return lambda gs, lr, beta_1, beta_2: step(gs, ms, vs, lr, beta_1, beta_2, epsilon, maxima, amsgrad)


def adamax(ps, ms, us, *, epsilon):
    """m = b1 m + (1 - b1) g, u = max(b2 u, |g|), p - lr m / (u + epsilon)."""
    def update(gs, lr, beta_1, beta_2):
        torch._foreach_lerp_(ms, gs, 1. - beta_1)
        torch._foreach_mul_(us, beta_2)
        torch._foreach_maximum_(us, torch._foreach_abs(gs))
        torch._foreach_addcdiv_(ps, ms, torch._foreach_add(us, epsilon), -lr)
    return update


def nadam(ps, ms, vs, *, epsilon):
    """The module's m and v, then p - (lr_g g + lr_m m) / (sqrt(v / c) + epsilon); c corrects the bias of v."""
    step = _adam(ps)

    def update(gs, _, lr_g, lr_m, beta_1, beta_2, correction):
        root = math.sqrt(correction)
        step(gs, ms, vs, lr_m * root, beta_1, beta_2, epsilon * root)
        torch._foreach_addcdiv_(ps, gs, _root(vs, epsilon * root), -lr_g * root)
    return update


def _adam(ps):
    """The fused Adam of the module's docstring: after infinitely many steps 1 - beta^t is 1."""
    steps = [torch.full((), math.inf, device=ps[0].device)] * len(ps)

    def step(gs, ms, vs, lr, beta_1, beta_2, epsilon, maxima=(), amsgrad=False):
        torch._fused_adam_(ps, gs, ms, vs, maxima, steps, lr=lr, beta1=beta_1, beta2=beta_2, eps=epsilon,
                           amsgrad=amsgrad, **_PLAIN)
    return step


def _root(vs, epsilon):
    roots = torch._foreach_sqrt(vs)
    torch._foreach_add_(roots, epsilon)
    return roots


def _by_rule(rule, ps, slots, options):
    """The update that any device can do: an optimizer's rule on each parameter in turn."""
    def update(gs, *coefficients):
        for p, g, *own in zip(ps, gs, *slots):
            for tensor, new in zip((p, *own), rule(p, g, own, *coefficients, **options)):
                tensor.copy_(new)
    return update


# ---------------------------------------------------------------- the step

class Step(torch.optim.Optimizer):
    """Updates `params` (Variables) as a built-in Keras optimizer does; call it once a batch, with their gradients.

    Without an argument it takes those in ``param.grad``. Raises ValueError where a parameter has no gradient, before
    anything changes. Clipping changes gradients in place.
    It is a torch optimizer with one param group per device and dtype: torch's schedulers find the learning rate in
    `param_groups`, and `state` holds the tensors that the Keras optimizer's `weights` show. Calling it leaves out the
    hooks and the profiler's mark that ``step()`` comes with.
    """

    # torch's own imports torch's compiler before it starts, for a second or more
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)

    def __init__(self, optimizer, params, slots):
        self._params, self._slots, self._optimizer = params, slots, optimizer
        self._rates = [getattr(optimizer, name) for name in optimizer.rates]
        self._decay = optimizer.decay if getattr(optimizer, 'initial_decay', 0) > 0 else None
        self._iterations, self._coefficients = optimizer.iterations, optimizer.coefficients
        self._carried = [getattr(optimizer, name) for name in optimizer.carried]
        self._options = {name: getattr(optimizer, name) for name in optimizer.options}
        self._clipnorm, self._clipvalue = optimizer.clipping()
        self._constrain = constrainer(params)
        self._no_grad = torch.no_grad()
        self._buckets, self._signature = [], None
        super().__init__([{'params': []}], {'lr': optimizer.lr.host})
        self._opt_called = True  # or torch's schedulers, which look for calls of ``step()``, would warn
        self.refresh()

    def refresh(self):
        """Looks up the tensors behind the Variables again. Returns whether any are others than before.

        Call it before a run of steps: parameters may have been replaced or moved.
        """
        tensors = [p.param for p in self._params]
        signature = [(id(t), t.data_ptr(), t.device, t.dtype, t.stride()) for t in tensors]
        if signature == self._signature:
            return False
        alike = {}
        for i, tensor in enumerate(tensors):
            alike.setdefault((tensor.device, tensor.dtype), []).append(i)
        self._groups, self._buckets, self._signature = list(alike.values()), None, signature
        common = {**self.param_groups[0], 'lr': self._rates[0].host}
        self.param_groups[:] = [{**common, 'params': [tensors[i] for i in group]} for group in self._groups] or [common]
        self._rates[0].owner = self
        return True

    def _lay_out(self):
        """Puts the slots where their parameters are, and makes the functions that update both.

        That is done in the first step, and with new memory, not before the first backward pass: glibc gives what that
        pass frees back to the system, and takes it anew at each step, unless something lies above it on the heap.
        """
        self.state.clear()
        self._buckets = [self._bucket(group, [self._params[i].param for i in group]) for group in self._groups]

    def _bucket(self, group, ps):
        """The parameters, their strides, and the function that updates them."""
        slots = {name: [_follow(kind[i], p) for i, p in zip(group, ps)] for name, kind in self._slots.items()}
        for i, p in enumerate(ps):
            self.state[p] = {name: tensors[i] for name, tensors in slots.items()}
        strides = [p.stride() for p in ps]
        dense = all([t.stride() for t in tensors] == strides for tensors in slots.values())
        if dense and ps[0].device.type in _FUSED_DEVICES and ps[0].dtype.is_floating_point:
            rows = _in_rows(ps)
            update = self._optimizer.kernel(rows(ps), *map(rows, slots.values()), **self._options)
            return ps, strides, lambda gs, *coefficients: update(rows(gs), *coefficients)
        return ps, strides, _by_rule(self._optimizer.rule, ps, list(slots.values()), self._options)

    def load_state_dict(self, state_dict):
        raise NotImplementedError('The state of this optimizer is the `weights` of the Keras optimizer: use its '
                                  '`get_weights` and `set_weights`.')

    def step(self, closure=None):
        """``step()`` of torch's optimizers: calls `closure`, if there is one, for the loss, then updates."""
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        self()
        return loss

    def __call__(self, gradients=None):
        rates, done = [rate.host for rate in self._rates], self._iterations.host
        if self._decay is not None:
            rates[0] *= 1. / (1. + self._decay.host * done)
        coefficients = self._coefficients(done + 1, *rates)
        with self._no_grad:
            if self._buckets is None:
                self._lay_out()
                self._is_small = sum(p.param.numel() for p in self._params) < _MIN_PARALLEL
            threads = torch.get_num_threads() if self._is_small else 1
            if threads > 1:  # torch's fused steps would wake all threads for the smallest tensor
                torch.set_num_threads(1)
            try:
                for gs, (_, _, update) in zip(self._by_bucket(gradients), self._buckets):
                    update(gs, *coefficients)
            finally:
                if threads > 1:
                    torch.set_num_threads(threads)
            if self._constrain:
                self._constrain()
        for variable, value in zip(self._carried, coefficients):
            variable.host = value
        self._iterations.host = done + 1

    def _by_bucket(self, gradients):
        """The gradients of each bucket, clipped. Raises ValueError where one is missing."""
        if gradients is None:
            gradients = [p.param.grad for p in self._params]
        try:
            gradients = [_aligned([gradients[i] for i in group], ps, strides)
                         for group, (ps, strides, _) in zip(self._groups, self._buckets)]
        except AttributeError:
            raise ValueError(NO_GRADIENT) from None
        if self._clipnorm:
            gradients = self._clipped_to_norm(gradients)
        if self._clipvalue:
            gradients = [torch._foreach_clamp_min(gs, -self._clipvalue) for gs in gradients]
            for gs in gradients:
                torch._foreach_clamp_max_(gs, self._clipvalue)
        return gradients

    def _clipped_to_norm(self, gradients):
        """All gradients times c / n where their common norm n is c or more, without waiting for n.

        Not in place: what is added up has one tensor for its gradients, and what is joined has parts of one.
        """
        norms = [norm for gs in gradients for norm in torch._foreach_norm(gs)]
        if not norms:
            return gradients
        norm = torch.linalg.vector_norm(torch.stack([n.to(norms[0]) for n in norms]))
        scale = torch.where(norm >= self._clipnorm, self._clipnorm / norm, 1.)
        return [torch._foreach_mul(gs, scale.to(gs[0])) for gs in gradients]


def _in_rows(ps):
    """A function that gives lists of tensors with the strides of ``ps`` as contiguous ones, which are views."""
    strided = [not p.is_contiguous() for p in ps]
    if not any(strided):
        return lambda tensors: tensors
    return lambda tensors: [t.as_strided((t.numel(),), (1,)) if odd else t for t, odd in zip(tensors, strided)]


def _follow(slot, tensor):
    """The slot's tensor, laid anew with the device, dtype and strides of its parameter."""
    setattr(slot.owner, slot.key, torch.empty_like(tensor, requires_grad=False).copy_(slot.param))
    return slot.param


def _aligned(gs, ps, strides):
    """The gradients with their parameters' strides. Raises AttributeError where one is None."""
    if [g.stride() for g in gs] == strides:
        return gs
    return [g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for g, p in zip(gs, ps)]


def constrainer(params):
    """A function that applies the constraints of those Variables which have one; None where none has."""
    updates = [Update(p, p.constraint(p)) for p in params if getattr(p, 'constraint', None) is not None]
    return compile_graph((), (), updates, phase=True).run if updates else None
