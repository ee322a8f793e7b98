"""Whole-sequence kernels of the recurrent cells.

Everything here is in torch's layout: time first, weights of shape (gates * units, inputs), gates in torch's order
(LSTM i, f, g, o; GRU r, z, n). `scan` runs a cell over a sequence through autograd, one recorded step after another;
`sequence` gives the same results with a backward written by hand, and `fused` calls torch's own kernels.
"""
import warnings
from collections import namedtuple
from itertools import repeat

import torch
import torch.nn.functional as F

from .. import activations
from ..backend.private_ops import all_plain, linear, multiplier, product_over_rows
from ..backend.state import is_exporting

_aten = torch.ops.aten

# Of cuDNN: it copies the weights at each call, which takes little beside the steps.
warnings.filterwarnings('ignore', 'RNN module weights are not part of single contiguous chunk of memory')

Nonlinearity = namedtuple('Nonlinearity', 'compute back bounded')
Nonlinearity.__doc__ = """An activation as the kernels want it: ``compute(x, y)`` writes y, which may be x, and
``back(factor, y, out)`` writes ``factor * dy/dx``, both return it; `bounded`: y cannot grow without limit.
"""
# Tensors: with a number in their place, a multiplication takes twice the time.
_ONE, _MINUS_TWO, _STRETCH = (torch.tensor(value, device='cpu', dtype=torch.float32) for value in (1., -2., 1.2))


def _tanh(x, y):
    """`torch.tanh`, or where that takes twice the time of ``1 - 2 sigmoid(-2 x)``, this, which is right to 2e-7."""
    if x.dtype != torch.float32 or not x.is_cpu:
        return torch.tanh(x, out=y)
    return torch.sub(_ONE, torch.mul(x, _MINUS_TWO, out=y).sigmoid_(), alpha=2, out=y)


def _hard_sigmoid(x, y):
    """0.2 x + 0.5 is torch's x / 6 + 0.5 of a 1.2 times larger x."""
    scale = _STRETCH if x.dtype == torch.float32 and x.is_cpu else 1.2
    return F.hardsigmoid(torch.mul(x, scale, out=y), inplace=True)


def _by_op(op, *settings):
    """`back` by an op of torch's."""
    return lambda factor, y, out: op.grad_input(factor, y, *settings, grad_input=out)


_back_in_bounds = _by_op(_aten.hardtanh_backward, 0, 1)
NONLINEARITIES = {
    activations.tanh: Nonlinearity(_tanh, _by_op(_aten.tanh_backward), True),
    activations.sigmoid: Nonlinearity(lambda x, y: torch.sigmoid(x, out=y), _by_op(_aten.sigmoid_backward), True),
    activations.hard_sigmoid: Nonlinearity(
        _hard_sigmoid, lambda factor, y, out: _back_in_bounds(factor, y, out).mul_(.2), True),
    activations.softsign: Nonlinearity(
        lambda x, y: torch.div(x, x.abs() + 1, out=y),
        lambda factor, y, out: torch.mul(factor, (1 - y.abs()).square_(), out=out), True),
    activations.relu: Nonlinearity(lambda x, y: torch.clamp_min(x, 0, out=y),
                                   _by_op(_aten.threshold_backward, 0), False),
    activations.linear: Nonlinearity(lambda x, y: x if x is y else y.copy_(x),
                                     lambda factor, y, out: out.copy_(factor), False),
}


def project(x, weight, bias=None, masks=None, product=linear, axis=-1):
    """``x @ weight.T + bias`` over the last axis; (…, batch, features) to (…, batch, gates * units).

    `masks`, dropout masks of shape (n, batch, features), multiply x: one for all gates, or each gate has its own.
    Another `product` than that of matrices leaves the gates side by side along `axis`.
    """
    if masks is None or len(masks) == 1:
        return product(x if masks is None else x * masks[0], weight, bias)
    parts = weight.chunk(len(masks)), [None] * len(masks) if bias is None else bias.chunk(len(masks))
    return torch.cat([product(x * mask, *part) for mask, *part in zip(masks, *parts)], axis)


class _Product:
    """`project` inside a loop, but for the bias, and its two gradients. ``product[i:j]`` is that of some gates."""

    def __init__(self, weight, masks, bias=None):
        self.weight, self.gates, self.bias = weight, weight.view(-1, weight.shape[1], weight.shape[1]), bias
        self.masks = None if masks is None else masks.expand(len(self.gates), -1, -1)

    def __getitem__(self, gates):
        return _Product(self.gates[gates].flatten(0, 1), None if self.masks is None else self.masks[gates])

    def adder(self, h):
        """A function of states like `h`, and of a matrix (batch, gates * units) that it adds their product to."""
        if self.masks is None:
            return multiplier(h, self.weight)
        return lambda h, onto: onto.add_(
            torch.bmm(h * self.masks, self.gates.transpose(1, 2)).transpose(0, 1).flatten(1))

    def back_adder(self, dz):
        """A function of gradients like `dz` (batch, gates * units), and of what it adds that of the states to."""
        if self.masks is None:
            return multiplier(dz, self.weight.t())
        return lambda dz, onto: onto.add_(
            (torch.bmm(dz.unflatten(1, self.gates.shape[:2]).transpose(0, 1), self.gates) * self.masks).sum(0))

    def weight_gradient(self, dz, h):
        """The gradient of the weight, from `dz` (time, batch, gates, units) and `h` (time, batch, units)."""
        if self.masks is None:
            return product_over_rows(h.flatten(0, 1), dz.flatten(2).flatten(0, 1).contiguous()).t()
        dropped = (h[:, None] * self.masks).transpose(0, 1).flatten(1, 2)
        return (dz.permute(2, 3, 0, 1).flatten(2) @ dropped).flatten(0, 1)


# Each kind of cell is a class: `step` gives the new states from `a`, the input projections. For 'sequence', `forward`
# turns z, those of all steps (time, batch, gates, units), into gates, and gives the histories of the states, which are
# (time + 1, batch, units) and start with the first one, and what else `backward` wants. That takes the gradients of the
# histories, to be written over (LSTM: of that of h, of c after each step, or None, and of the last c), and gives those
# of z, weight, bias and first states.

class Simple:
    """h = act(a + U h)."""

    gates, states = 1, 1

    @staticmethod
    def step(a, states, weight, bias, masks, act, rec):
        return (act(a + project(states[0], weight, None, masks)),)

    @staticmethod
    def forward(z, states, product, act, rec):
        hs, add = _history(z, *states), product.adder(*states)
        for z_t, (h, h_t) in zip(z.flatten(2).unbind(), _pairs(hs)):
            act.compute(add(h, z_t), h_t)
        return (hs,), ()

    @staticmethod
    def backward(grads, z, histories, extra, product, act, rec):
        (hs,), (dhs,), dz = histories, grads, torch.empty_like(z)
        act.back(z.new_ones(()).expand_as(z), hs[1:].unsqueeze(2), dz)
        add_back = product.back_adder(dz[0, :, 0])
        for dz_t, (dh, dh_t) in zip(*_reversed(dz.flatten(2)), _pairs(dhs, -1)):
            add_back(dz_t.mul_(dh), dh_t)
        return dz, product.weight_gradient(dz, hs[:-1]), None, (dhs[0],)


class LSTM:
    """i, f, o = rec(a + U h); g = act(a + U h); c = f c + i g; h = o act(c)  (Hochreiter & Schmidhuber 1997)."""

    gates, states = 4, 2

    @staticmethod
    def step(a, states, weight, bias, masks, act, rec, product=project, axis=1):
        i, f, g, o = (a + product(states[0], weight, None, masks)).chunk(4, axis)
        c = rec(f) * states[1] + rec(i) * act(g)
        return rec(o) * act(c), c

    @staticmethod
    def forward(z, states, product, act, rec):
        (hs, cs), add = (_history(z, state) for state in states), product.adder(states[0])
        act_cs = torch.empty_like(cs[1:])
        for z_t, open_t, i, f, g, o, act_c, (h, h_t), (c, c_t) in zip(*map(torch.unbind, (
                z.flatten(2), z[:, :, :2], *z.unbind(2), act_cs)), _pairs(hs), _pairs(cs)):
            add(h, z_t)
            rec.compute(open_t, open_t)
            torch.mul(i, act.compute(g, g), out=c_t).addcmul_(f, c)
            torch.mul(rec.compute(o, o), act.compute(c_t, act_c), out=h_t)
        return (hs, cs), (act_cs,)

    @staticmethod
    def backward(grads, z, histories, extra, product, act, rec):
        (dhs, dcs, dc), (hs, cs), (act_cs,), (i, f, g, o) = grads, histories, extra, z.unbind(2)
        dz, through_c = torch.empty_like(z), torch.empty_like(act_cs)
        # What a gradient of c (i, f, g) or of h (o) is multiplied by on its way to a gate: the loop turns it into dz.
        for back, factor, y, dgate in zip([rec.back, rec.back, act.back, rec.back], [g, cs[:-1], i, act_cs],
                                          [i, f, g, o], dz.unbind(2)):
            back(factor, y, dgate)
        act.back(o, act_cs, through_c)
        for_all, add_back = dc.unsqueeze(1), product.back_adder(dz[0].flatten(1))
        for dz_t, to_c, to_o, f_t, c_t, dc_t, (dh, dh_t) in zip(
                *_reversed(dz.flatten(2), dz[:, :, :3], dz[:, :, 3], f, through_c),
                repeat(None) if dcs is None else reversed(dcs.unbind()), _pairs(dhs, -1)):
            dc.addcmul_(dh, c_t)
            if dc_t is not None:
                dc.add_(dc_t)
            to_c.mul_(for_all)
            to_o.mul_(dh)
            dc.mul_(f_t)
            add_back(dz_t, dh_t)
        return dz, product.weight_gradient(dz, hs[:-1]), None, (dhs[0], dc)


def _dropped_state(h, masks):
    """A GRU's state and dropout masks: one mask (Keras' `implementation` 2) also drops what is mixed with n."""
    return (h * masks[0], None) if masks is not None and len(masks) == 1 else (h, masks)


class GRU:
    """r, z = rec(a + U h); n = act(a + U (r h)); h = z h + (1 - z) n  (Cho et al. 2014, arXiv:1406.1078v3)."""

    gates, states = 3, 1

    @staticmethod
    def step(a, states, weight, bias, masks, act, rec):
        h, masks = _dropped_state(*states, masks)
        units, (first, last) = h.shape[1], (None, None) if masks is None else (masks[:2], masks[2:])
        r, z = map(rec, (a[:, :2 * units] + project(h, weight[:2 * units], None, first)).chunk(2, 1))
        n = act(a[:, 2 * units:] + project(r * h, weight[2 * units:], None, last))
        return (z * h + (1 - z) * n,)

    @staticmethod
    def forward(z, states, product, act, rec):
        hs, add_open, add = _history(z, *states), product[:2].adder(*states), product[2:].adder(*states)
        rhs = torch.empty_like(hs[1:])
        for open_t, r, u, n, rh, (h, h_t) in zip(*map(torch.unbind, (
                z[:, :, :2].flatten(2), *z.unbind(2), rhs)), _pairs(hs)):
            add_open(h, open_t)
            rec.compute(open_t, open_t)
            add(torch.mul(r, h, out=rh), n)
            torch.lerp(act.compute(n, n), h, u, out=h_t)
        return (hs,), (rhs,)

    @staticmethod
    def backward(grads, z, histories, extra, product, act, rec):
        product, candidate = product[:2], product[2:]
        (hs,), (rhs,), (r, u, n), (dhs,) = histories, extra, z.unbind(2), grads
        before, dz = hs[:-1], torch.empty_like(z)
        rec.back(before, r, dz[:, :, 0])
        rec.back(before - n, u, dz[:, :, 1])
        act.back(1 - u, n, dz[:, :, 2])
        drh, add_back, add_candidate = torch.empty_like(dhs[0]), *(
            part.back_adder(gates.flatten(1)) for part, gates in ((product, dz[0, :, :2]), (candidate, dz[0, :, 2])))
        for open_t, dr, dun, dn, r_t, u_t, for_all, (dh, dh_t) in zip(*_reversed(
                dz[:, :, :2].flatten(2), dz[:, :, 0], dz[:, :, 1:], dz[:, :, 2], r, u, dhs[1:].unsqueeze(2)),
                _pairs(dhs, -1)):
            dun.mul_(for_all)
            add_candidate(dn, drh.zero_())
            dr.mul_(drh)
            add_back(open_t, dh_t.addcmul_(dh, u_t).addcmul_(drh, r_t))
        dweight = torch.cat([product.weight_gradient(dz[:, :, :2], before),
                             candidate.weight_gradient(dz[:, :, 2:], rhs)])
        return dz, dweight, None, (dhs[0],)


class GRUResetAfter:
    """r, z = rec(a + m), n = act(a + r m), where m = U h + b; h = z h + (1 - z) n  (arXiv:1406.1078v1, cuDNN)."""

    gates, states = 3, 1

    @staticmethod
    def step(a, states, weight, bias, masks, act, rec):
        h, masks = _dropped_state(*states, masks)
        m = project(h, weight, None, masks)
        m_r, m_z, m_n = (m if bias is None else m + bias).chunk(3, 1)
        a_r, a_z, a_n = a.chunk(3, 1)
        z, n = rec(a_z + m_z), act(a_n + rec(a_r + m_r) * m_n)
        return (z * h + (1 - z) * n,)

    @staticmethod
    def forward(z, states, product, act, rec):
        hs, add_open, add, bias = (
            _history(z, *states), product[:2].adder(*states), product[2:].adder(*states), product.bias)
        m_ns = torch.zeros_like(hs[1:])
        if bias is not None:
            z[:, :, :2].add_(bias.view(3, -1)[:2])
            m_ns.add_(bias.view(3, -1)[2])
        for open_t, r, u, n, m_n, (h, h_t) in zip(*map(torch.unbind, (
                z[:, :, :2].flatten(2), *z.unbind(2), m_ns)), _pairs(hs)):
            add_open(h, open_t)
            rec.compute(open_t, open_t)
            n.addcmul_(r, add(h, m_n))
            torch.lerp(act.compute(n, n), h, u, out=h_t)
        return (hs,), (m_ns,)

    @staticmethod
    def backward(grads, z, histories, extra, product, act, rec):
        (hs,), (m_n,), (r, u, n), (dhs,) = histories, extra, z.unbind(2), grads
        dm, before = torch.empty_like(z), hs[:-1]
        to_n = act.back(1 - u, n, torch.empty_like(m_n))
        rec.back(to_n * m_n, r, dm[:, :, 0])
        rec.back(before - n, u, dm[:, :, 1])
        torch.mul(to_n, r, out=dm[:, :, 2])
        add_back = product.back_adder(dm[0].flatten(1))
        for dm_t, gates, u_t, for_all, (dh, dh_t) in zip(
                *_reversed(dm.flatten(2), dm, u, dhs[1:].unsqueeze(2)), _pairs(dhs, -1)):
            gates.mul_(for_all)
            add_back(dm_t, dh_t.addcmul_(dh, u_t))
        dweight, dbias = product.weight_gradient(dm, before), dm.sum((0, 1)).flatten()
        torch.mul(to_n, dhs[1:], out=dm[:, :, 2])  # all else is the same for z
        return dm, dweight, dbias, (dhs[0],)


def _history(z, state):
    """Where the states of all steps go, the first one set."""
    history = z.new_empty(len(z) + 1, *state.shape)
    history[0] = state
    return history


def _history_gradient(history, douts, dlast):
    """The gradient of a history, to be written over, from those of the states after each step and of the last one."""
    dhistory = torch.zeros_like(history) if douts is None else torch.cat([torch.zeros_like(douts[:1]), douts])
    if dlast is not None:
        dhistory[-1] += dlast
    return dhistory


def _pairs(history, order=1):
    """The state before and that after each step; with `order` -1 after and before, from the last step to the first."""
    steps = history.unbind()[::order]
    return zip(steps, steps[1:])


def _reversed(*sequences):
    """The steps of each, from the last to the first."""
    return [reversed(sequence.unbind()) for sequence in sequences]


def scan(kind, x, states, weights, masks, act, rec, keep=None):
    """Runs a cell over `x` (time, batch, features) one step after another; autograd sees every step.

    `weights`: (input weight, input bias, recurrent weight, recurrent bias), None where there is none. `masks`: dropout
    masks of the recurrent product, (gates, batch, units), or None. `act`, `rec`: any functions of a tensor. `keep`:
    (time, batch) bool, False where a step leaves the states alone. Returns the states after each step, each
    (time, batch, units). A `kind` may have states of more dimensions, with an x of projections that suit it.
    """
    w_ih, b_ih, w_hh, b_hh = weights
    rows = [x if w_ih is None else project(x, w_ih, b_ih)] + ([] if keep is None else [keep])

    def advance(states, row):
        a, *flags = row
        new = kind.step(a, states, w_hh, b_hh, masks, act, rec)
        for flag in flags:
            new = [torch.where(flag.view(-1, *[1] * (s.dim() - 1)), s, old) for s, old in zip(new, states)]
        return list(new)

    if open_ended(x):
        return _exported_loop(advance, states, rows)
    steps = []
    for row in zip(*[r.unbind() for r in rows]):
        states = advance(states, row)
        steps.append(states)
    return tuple(torch.stack(s) for s in zip(*steps))


def open_ended(x):
    """Whether the number of steps of `x` (time, batch, ...) is to stay unknown in a model that is being exported."""
    return isinstance(x.shape[0], torch.SymInt) and is_exporting()


def _exported_loop(advance, states, rows):
    """The loop of `scan` as an operator, for `open_ended` sequences."""
    from torch._higher_order_ops import scan as loop  # no public name yet

    def step(states, row):
        new = advance(states, row)
        return new, [s.clone() for s in new]  # no tensor may be returned twice
    return tuple(loop(step, list(states), rows)[1])


class _Sequence(torch.autograd.Function):
    """`scan` with a backward of its own over the whole sequence; to differentiate it again, `scan` takes its place."""

    @staticmethod
    def forward(kind, act, rec, masks, x, w_ih, b_ih, w_hh, b_hh, *states):
        nonlinearities = NONLINEARITIES[act], NONLINEARITIES.get(rec)
        z = x.flatten(0, 1).clone() if w_ih is None else linear(x.flatten(0, 1), w_ih, b_ih)
        z = z.view(*x.shape[:2], kind.gates, z.shape[-1] // kind.gates)  # no -1: a part of a batch may be empty
        histories, extra = kind.forward(z, states, _Product(w_hh, masks, b_hh), *nonlinearities)
        return (*(h[1:] for h in histories), *(h[-1] for h in histories), *histories, z, *extra)

    @staticmethod
    def setup_context(ctx, inputs, output):
        kind, ctx.act, ctx.rec = inputs[:3]
        ctx.kind = kind
        kept = output[2 * kind.states:]
        ctx.mark_non_differentiable(*kept)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[3:], *kept)

    @staticmethod
    def backward(ctx, *grads):
        kind, saved = ctx.kind, ctx.saved_tensors
        masks, x, w_ih, b_ih, w_hh, b_hh = saved[:6]
        histories, z, *extra = saved[6 + kind.states:6 + 2 * kind.states], *saved[6 + 2 * kind.states:]
        if torch.is_grad_enabled():
            return None, None, None, None, *_differentiable(ctx, masks, saved[1:6 + kind.states], grads)
        douts, dlast = grads[:kind.states], grads[kind.states:]
        grads = [_history_gradient(histories[0], douts[0], dlast[0])]
        for history, dhistory, dstate in zip(histories[1:], douts[1:], dlast[1:]):
            grads += [dhistory, torch.zeros_like(history[0]) if dstate is None else dstate.clone()]
        dz, dw_hh, db_hh, dstates = kind.backward(
            grads, z, histories, extra, _Product(w_hh, masks), NONLINEARITIES[ctx.act], NONLINEARITIES.get(ctx.rec))
        dz, need = dz.flatten(2), ctx.needs_input_grad[4:]
        if w_ih is None:
            dx, dw_ih, db_ih = dz, None, None
        else:
            dz, x = dz.flatten(0, 1), x.flatten(0, 1)
            dx = linear(dz, w_ih.t()).view(*z.shape[:2], w_ih.shape[1]) if need[0] else None
            dw_ih = product_over_rows(x, dz).t() if need[1] else None
            db_ih = dz.sum(0) if need[2] else None
        return None, None, None, None, dx, dw_ih, db_ih, dw_hh, db_hh if need[4] else None, *dstates


def _differentiable(ctx, masks, inputs, grads):
    """The gradients of `inputs` as expressions of them. Works on aliases, since one input may depend on another."""
    x, w_ih, b_ih, w_hh, b_hh, *states = aliases = [None if t is None else t.view_as(t) for t in inputs]
    outputs = scan(ctx.kind, x, states, (w_ih, b_ih, w_hh, b_hh), masks, ctx.act, ctx.rec)
    outputs += tuple(s[-1] for s in outputs)
    wanted = [t for t, need in zip(aliases, ctx.needs_input_grad[4:]) if need]
    grads = [torch.zeros_like(s) if g is None else g for g, s in zip(grads, outputs)]
    found = iter(torch.autograd.grad(outputs, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in ctx.needs_input_grad[4:]]


# torch's own kernels, by what they compute.
FUSED = {(LSTM, activations.tanh, activations.sigmoid): torch.lstm,
         (GRUResetAfter, activations.tanh, activations.sigmoid): torch.gru,
         (Simple, activations.tanh, None): torch.rnn_tanh,
         (Simple, activations.relu, None): torch.rnn_relu}


def fused(kind, x, states, weights, act, rec):
    """`scan` by torch's own kernel (cuDNN's on a GPU): the outputs (time, batch, units), and the last states."""
    w_ih, b_ih, w_hh, b_hh = weights
    params = [w_ih, w_hh]
    if b_ih is not None:
        params += [b_ih, torch.zeros_like(b_ih) if b_hh is None else b_hh]
    first = [s[None].contiguous() for s in states]
    # `train` is asked of cuDNN wherever there is a backward; there is no dropout for it to decide on.
    outputs, *last = FUSED[kind, act, rec](x, first if len(first) > 1 else first[0], params, len(params) > 2, 1, 0.,
                                           torch.is_grad_enabled(), False, False)
    return outputs, [s[0] for s in last]


def beats_torch(kind, x, states, weights):
    """Whether 'sequence' is faster than 'fused': on a CPU, torch has a kernel of a whole sequence for LSTM alone."""
    return kind is not LSTM and all_plain(x, *states, *weights) and (
        states[0].numel() >= 2 ** 13 or torch.is_grad_enabled() and (kind is GRUResetAfter or len(x) >= 20))


def choose_path(kind, act, rec, masks=None, projected=False, masked=False, last_states=False, ours=False):
    """The fastest path that computes the same as `scan`.

    Arguments:
        masks: dropout masks of the recurrent product. projected: whether x holds the input projections already.
        masked: whether there are steps that leave the states alone. last_states: whether these are wanted.
        ours: whether `beats_torch`.
    """
    nonlinearities = [NONLINEARITIES.get(f) for f in (act, rec) if f is not None]
    # The states of steps that do not count could overflow, and 0 times infinity is no gradient.
    if None in nonlinearities or masked and not all(f.bounded for f in nonlinearities):
        return 'scan'
    if masks is not None and len(masks) == 1 and kind in (GRU, GRUResetAfter):
        return 'scan'
    if (kind, act, rec) in FUSED and masks is None and not projected and not (
            masked and last_states and kind is LSTM or ours):
        return 'fused'
    return 'scan' if torch.compiler.is_compiling() else 'sequence'  # tracers want no writing into buffers


def _steps(x, places):
    """What `x` (time, batch, features) holds, for each sample, at the steps `places` (steps, batch)."""
    return x.gather(0, places[:, :, None].expand(-1, -1, x.shape[2]))


def run(path, kind, x, states, weights, masks, act, rec, keep=None):
    """Runs a cell over a sequence by one of the paths 'fused', 'sequence' and 'scan'; arguments as of `scan`.

    Returns the outputs (time, batch, units), which repeat where `keep` is False, and the list of last states (LSTM on
    the path 'fused' under `keep`: without c).
    """
    device = x.device.type
    # 'sequence' adds products to what is not of their type; oneDNN has no LSTM in float16, nor everywhere in bfloat16.
    in_full = path == 'sequence' or path == 'fused' and device == 'cpu'
    if in_full and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            x, *states = [t.to(weights[2].dtype) for t in (x, *states)]
            return run(path, kind, x, states, weights, masks, act, rec, keep)
    if path == 'scan':
        sequences = scan(kind, x, states, weights, masks, act, rec, keep)
        return sequences[0], [s[-1] for s in sequences]
    if keep is not None:
        # A step that leaves the states alone might as well not be there: with the other steps moved to the front, what
        # comes after step t is what comes after as many steps as were kept up to t.
        steps = torch.arange(keep.shape[0], device=keep.device)[:, None]
        x = _steps(x, torch.where(keep, steps, steps + keep.shape[0]).argsort(0))
    if path == 'fused':
        outputs, last = fused(kind, x, states, weights, act, rec)
        sequences = [outputs]
    else:
        found = _Sequence.apply(kind, act, rec, masks, x, *weights, *states)
        sequences, last = found[:kind.states], list(found[kind.states:2 * kind.states])
    if keep is None:
        return sequences[0], last
    sequences = [_steps(torch.cat([first[None], s]), keep.cumsum(0)) for first, s in zip(states, sequences)]
    return sequences[0], [s[-1] for s in sequences]
