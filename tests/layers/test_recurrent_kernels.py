"""The whole-sequence kernels against the loop of recorded steps, in double precision: values and gradients."""
import pytest
import torch

from kfacade.backend import private_ops
from kfacade.layers import _recurrent_kernels as kernels

BATCH, TIME, FEATURES, UNITS = 3, 5, 4, 2


def _problem(kind, bias=True, masks=None):
    random = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()
    width = kind.gates * UNITS
    states = [normal(BATCH, UNITS) for _ in range(kind.states)]
    weights = (normal(width, FEATURES), normal(width) if bias else None, normal(width, UNITS),
               normal(width) if bias and kind is kernels.GRUResetAfter else None)
    if masks:
        masks = (torch.rand(masks, BATCH, UNITS, generator=random) > .3).double() * 2
    return normal(TIME, BATCH, FEATURES), states, weights, masks


def _gradients(path, kind, act, rec, problem, keep=None, create_graph=False):
    x, states, weights, masks = problem
    outputs, last = kernels.run(path, kind, x, states, weights, masks, act, rec, keep)
    targets = [t for t in (x, *states, *weights) if t is not None]
    loss = sum((y * torch.arange(1., 1 + y.numel(), dtype=y.dtype).view_as(y).cos()).sum() for y in (outputs, *last))
    return [outputs, *last], targets, torch.autograd.grad(loss, targets, create_graph=create_graph)


KEEP = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]).bool().t()
SEQUENCES = [(kind, act, rec) for kind in (kernels.Simple, kernels.GRU, kernels.GRUResetAfter, kernels.LSTM)
             for act, rec in ((kernels.activations.tanh, kernels.activations.sigmoid),
                              (kernels.activations.softsign, kernels.activations.hard_sigmoid),
                              (kernels.activations.relu, kernels.activations.tanh),
                              (kernels.activations.hard_sigmoid, kernels.activations.linear))]


@pytest.mark.parametrize('kind, act, rec', SEQUENCES, ids=lambda x: x.__name__)
def test_sequence_path_equals_scan(kind, act, rec):
    """Values and gradients; with and without biases, dropout masks a gate or one for all, and masked steps."""
    for bias in (True, False):
        for masks in {None, 1, kind.gates} - ({1} if kind in (kernels.GRU, kernels.GRUResetAfter) else set()):
            for keep in (None, KEEP):
                problem = _problem(kind, bias, masks)
                wanted, _, wanted_gradients = _gradients('scan', kind, act, rec, problem, keep)
                got, _, gradients = _gradients('sequence', kind, act, rec, problem, keep)
                for a, b in zip([*got, *gradients], [*wanted, *wanted_gradients]):
                    torch.testing.assert_close(a, b)


@pytest.mark.parametrize('kind, act, rec', kernels.FUSED, ids=lambda x: getattr(x, '__name__', 'none'))
def test_fused_path_equals_scan(kind, act, rec):
    for bias in (True, False):
        problem = _problem(kind, bias)
        wanted, _, wanted_gradients = _gradients('scan', kind, act, rec, problem)
        got, _, gradients = _gradients('fused', kind, act, rec, problem)
        for a, b in zip([*got, *gradients], [*wanted, *wanted_gradients]):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('kind, act, rec', kernels.FUSED, ids=lambda x: getattr(x, '__name__', 'none'))
def test_fused_path_under_a_mask_equals_scan(kind, act, rec):
    problem = _problem(kind)
    outputs = [kernels.run(path, kind, *problem[:3], None, act, rec, KEEP)[0] for path in ('scan', 'fused')]
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize('kind, act, rec', SEQUENCES[::4], ids=lambda x: x.__name__)
def test_second_derivatives_of_the_sequence_path(kind, act, rec):
    found = {}
    for path in ('scan', 'sequence'):
        _, targets, first = _gradients(path, kind, act, rec, _problem(kind), create_graph=True)
        found[path] = [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), targets)]
    for a, b in zip(*found.values()):
        torch.testing.assert_close(a, b)


def test_second_derivative_where_one_input_depends_on_another():
    x = torch.randn(TIME, BATCH, UNITS, dtype=torch.float64, requires_grad=True)
    _, _, weights, _ = _problem(kernels.Simple)
    weights = (torch.eye(UNITS, dtype=torch.float64), None, weights[2], None)
    found = []
    for path in ('scan', 'sequence'):
        outputs, _ = kernels.run(path, kernels.Simple, x, [x[0] * 2], weights, None, kernels.activations.tanh, None)
        first, = torch.autograd.grad(outputs.sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize('kind, act, rec', kernels.FUSED, ids=lambda x: getattr(x, '__name__', 'none'))
def test_second_derivatives_of_the_fused_path(kind, act, rec):
    found = {}
    for path in ('scan', 'fused'):
        _, targets, first = _gradients(path, kind, act, rec, _problem(kind), create_graph=True)
        found[path] = [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), targets)]
    for a, b in zip(*found.values()):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('chosen', [0, 1, 2])
def test_gradient_of_only_some_outputs_and_inputs(chosen):
    """Of the outputs, of the last h, or of the last c."""
    kind, tanh, sigmoid = kernels.LSTM, kernels.activations.tanh, kernels.activations.sigmoid
    found = []
    for path in ('scan', 'sequence', 'fused'):
        x, states, weights, _ = _problem(kind)
        frozen = (weights[0].detach(), weights[1].detach(), weights[2], None)
        outputs, last = kernels.run(path, kind, x.detach(), states, frozen, None, tanh, sigmoid)
        found.append(torch.autograd.grad([outputs, *last][chosen].sin().sum(), [weights[2], *states]))
    for other in found[1:]:
        for a, b in zip(found[0], other):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('masks', [None, 4])
def test_sequence_path_under_autocast_computes_in_the_precision_of_the_weights(masks):
    x, states, weights, masks = _problem(kernels.LSTM, masks=masks)
    coarse = x.detach().bfloat16().requires_grad_()
    act, rec = kernels.activations.tanh, kernels.activations.hard_sigmoid
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outputs, last = kernels.run('sequence', kernels.LSTM, coarse, states, weights, masks, act, rec)
    wanted, _ = kernels.run('sequence', kernels.LSTM, coarse.double(), states, weights, masks, act, rec)
    torch.testing.assert_close(outputs, wanted, rtol=0, atol=0)
    outputs.sum().backward()
    assert coarse.grad.dtype == torch.bfloat16 and weights[2].grad.dtype == torch.float64


def test_unbounded_states_of_steps_that_do_not_count_stay_out_of_the_gradient():
    """A relu that doubles its state at each step overflows in 200 steps; only 3 of them count."""
    relu = kernels.activations.relu
    assert kernels.choose_path(kernels.Simple, relu, None, masked=True) == 'scan'
    weight = torch.full((1, 1), 2.).requires_grad_()
    x, keep = torch.ones(200, 1, 1), torch.arange(200)[:, None] < 3
    weights = torch.ones(1, 1), None, weight, None
    outputs, _ = kernels.run('scan', kernels.Simple, x, [torch.zeros(1, 1)], weights, None, relu, None, keep)
    assert outputs[-1].item() == 7.
    outputs[-1].sum().backward()
    assert weight.grad.item() == 5.


def test_tanh_of_the_kernels():
    """In float32 within two units in the last place of 1, exactly odd limits and zero; in float64 torch's own."""
    x = torch.cat([torch.linspace(-20, 20, 20001), torch.tensor([0., 1e-6, -1e30, 1e30, torch.inf])])

    def tanh(x):
        y = x.clone()
        return kernels.NONLINEARITIES[kernels.activations.tanh].compute(y, y)
    torch.testing.assert_close(tanh(x).double(), x.double().tanh(), rtol=0, atol=2.4e-7)
    assert tanh(torch.tensor([0., -1e30, 1e30])).tolist() == [0., -1., 1.]
    assert torch.equal(tanh(x.double()), x.double().tanh())


@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_activations_of_the_kernels_in_all_precisions_and_places(device, dtype):
    """Between steps of others, in place or not, and the gradients that autograd finds."""
    for activation, (compute, back, _) in kernels.NONLINEARITIES.items():
        x = torch.linspace(-3.1, 3, 24, dtype=dtype, device=device).view(4, 6)[:, ::2].requires_grad_()
        y, same = torch.empty(4, 2, 3, dtype=dtype, device=device)[:, 0], x.detach().clone()
        assert compute(x.detach(), y) is y and compute(same, same) is same
        wanted = activation(x)
        gradient, = torch.autograd.grad(wanted.sum(), x)
        found = torch.empty_like(y)
        assert back(torch.full_like(y, 2.), y, found) is found
        tolerance = {'rtol': .02, 'atol': .02} if dtype == torch.bfloat16 else {}
        for a, b in ((y, wanted), (same, wanted), (found, 2 * gradient)):
            torch.testing.assert_close(a, b.detach(), **tolerance)


@pytest.mark.parametrize('kind, act, rec', SEQUENCES[::4] + SEQUENCES[1::4], ids=lambda x: x.__name__)
def test_float32_over_fast_products_equals_scan_in_float64(kind, act, rec, monkeypatch):
    """With products as large as those that oneDNN computes, where this processor has them so."""
    monkeypatch.setattr('kfacade.backend.private_ops._MIN_STEP_WORK', 0)
    monkeypatch.setattr('kfacade.backend.private_ops._MIN_STEP_WEIGHT', 0)
    monkeypatch.setattr('kfacade.backend.private_ops._MIN_SIZE', 1)
    monkeypatch.setattr('kfacade.backend.private_ops.prefers_onednn', lambda: bool(private_ops._onednn_linear))
    for masks in (None, kind.gates):
        problem = _problem(kind, True, masks)
        x, states, weights, dropped = problem
        single = [None if t is None else t.detach().float().requires_grad_() for t in (x, *states, *weights)]
        coarse = (single[0], single[1:1 + len(states)], tuple(single[1 + len(states):]),
                  None if dropped is None else dropped.float())
        wanted, _, wanted_gradients = _gradients('scan', kind, act, rec, problem)
        got, _, gradients = _gradients('sequence', kind, act, rec, coarse)
        for a, b in zip([*got, *gradients], [*wanted, *wanted_gradients]):
            torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=5e-6)
