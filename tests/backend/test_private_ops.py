"""Products over the private op beside those of `F.linear`, and everything that has to see torch's own op."""
import io

import pytest
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from kfacade.backend import private_ops
from kfacade.backend.private_ops import linear, multiplier
from kfacade.layers import Conv2D, Dense
from kfacade.models import Sequential

needs_op = pytest.mark.skipif(not private_ops._onednn_linear, reason='this torch lacks the private op')


@pytest.fixture
def calls(monkeypatch):
    """The calls of the private op, which any size and any processor uses."""
    calls, op = [], private_ops._onednn_linear
    monkeypatch.setattr(private_ops, '_MIN_WORK', 0)
    monkeypatch.setattr(private_ops, '_MIN_STEP_WORK', 0)
    monkeypatch.setattr(private_ops, '_MIN_STEP_WEIGHT', 0)
    monkeypatch.setattr(private_ops, '_MIN_SIZE', 1)
    monkeypatch.setattr(private_ops, '_MOST_COLUMNS', (0, 0))
    monkeypatch.setattr(private_ops, 'prefers_onednn', lambda: True)
    monkeypatch.setattr(private_ops, '_onednn_linear', lambda *args: calls.append(args) or op(*args))
    return calls


def _operands(shape=(6, 5), by_column=True, bias=True):
    random = torch.Generator().manual_seed(1)
    x, kernel, b = (torch.rand(s, generator=random) - .5 for s in (shape, (shape[-1], 4), (4,)))
    weight = kernel.t() if by_column else kernel.t().contiguous()
    return [x.requires_grad_(), weight.requires_grad_(), b.requires_grad_() if bias else None]


def _all_gradients(product, operands):
    targets = [t for t in operands if t is not None]
    y = product(*operands)
    first = torch.autograd.grad(y.square().sum(), targets, create_graph=True)
    second = torch.autograd.grad(sum(g.pow(3).sum() for g in first), targets, create_graph=True)
    third = torch.autograd.grad(sum(g.square().sum() for g in second), targets)
    return [y, *first, *second, *third]


@needs_op
@pytest.mark.parametrize('shape', [(6, 5), (2, 3, 5), (1, 5)])
@pytest.mark.parametrize('by_column', [True, False])
@pytest.mark.parametrize('bias', [True, False])
def test_private_op_and_fallback_agree_in_three_derivatives(calls, shape, by_column, bias):
    found, expected = (_all_gradients(f, _operands(shape, by_column, bias)) for f in (linear, F.linear))
    assert len(calls) > 6
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('shape', [(7, 5), (2, 3, 5)])
@pytest.mark.parametrize('private', [pytest.param(True, marks=needs_op), False])
def test_relu_with_the_product(shape, private, monkeypatch):
    monkeypatch.setattr(private_ops, '_MIN_WORK', 0 if private else 1e9)
    monkeypatch.setattr(private_ops, '_MIN_SIZE', 1)
    monkeypatch.setattr(private_ops, 'prefers_onednn', lambda: private)
    x, weight, bias = (t.detach() for t in _operands(shape))
    y = linear(x, weight, bias, relu=True)
    assert (y == 0).any() and (y > 0).any()
    torch.testing.assert_close(y, F.linear(x, weight, bias).relu(), rtol=1e-5, atol=1e-6)


@needs_op
@pytest.mark.parametrize('by_column', [True, False])
def test_gradient_of_the_weight_is_laid_out_as_the_weight(calls, by_column):
    x, weight, bias = _operands(by_column=by_column)
    linear(x, weight, bias).square().sum().backward()
    assert weight.grad.stride() == weight.stride()
    assert len(calls) == 3


@needs_op
def test_operands_of_all_strides_and_expanded_gradients(calls):
    whole, (_, weight, bias) = torch.rand(12, 20), _operands()
    for x in (whole[:, :5], whole[::2, ::4], whole[:5].t(), whole[0, :5].expand(7, 5), whole[0, 0].expand(7, 5)):
        torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias), rtol=1e-5, atol=1e-6)
    x = whole[:, :5].detach().requires_grad_()
    found, expected = (torch.autograd.grad(f(x, weight, bias).sum(), [x, weight, bias]) for f in (linear, F.linear))
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    # Rows or columns side by side in memory: all else is a hundred times slower.
    assert all(1 in t.stride() and 0 not in t.stride() for args in calls for t in args[:2])


@needs_op
def test_only_wanted_gradients_are_computed(calls):
    x, weight, bias = _operands()
    linear(x.detach(), weight, bias).sum().backward()
    assert len(calls) == 2
    with torch.no_grad():
        assert linear(x, weight, bias).grad_fn is None
    assert len(calls) == 3


@needs_op
def test_changed_weight_is_noticed_in_backward(calls):
    x, weight, bias = _operands()
    y = linear(x, weight, bias)
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        y.sum().backward()


@needs_op
@pytest.mark.parametrize('by_column', [True, False])
@pytest.mark.parametrize('pack', [True, False])
@torch.no_grad()
def test_multiplier_of_many_matrices_and_its_fallback_agree(calls, monkeypatch, by_column, pack):
    if not pack:
        monkeypatch.setattr(private_ops, '_pack', None)
    x, weight, _ = _operands(by_column=by_column)
    multiply = multiplier(x, weight)
    whole = torch.rand(len(x), 2, len(weight))
    for matrix in (x, 2 * x, x[:4]):
        onto = whole[:len(matrix), 1]  # with something between its rows
        wanted = onto + F.linear(matrix, weight)
        assert multiply(matrix, onto) is onto
        torch.testing.assert_close(onto, wanted, rtol=1e-5, atol=1e-6)
    assert len(calls) == 3
    onto = torch.ones(len(x), len(weight)).double()
    multiplier(x.double(), weight.double())(x.double(), onto)
    torch.testing.assert_close(onto, 1 + F.linear(x.double(), weight.double()))
    assert len(calls) == 3


@needs_op
@pytest.mark.parametrize('family, units, private', [(25, 128, False), (25, 256, True), (26, 128, True)])
def test_products_in_loops_are_by_oneDNN_where_it_is_faster(monkeypatch, family, units, private):
    """Before Zen 5 only for weights that take long to pack."""
    calls, op = [], private_ops._onednn_linear
    monkeypatch.setattr(private_ops, 'amd_family', lambda: family)
    monkeypatch.setattr(private_ops, '_onednn_linear', lambda *args: calls.append(args) or op(*args))
    h = torch.zeros(32, units)
    multiplier(h, torch.zeros(4 * units, units))(h, torch.zeros(32, 4 * units))
    assert len(calls) == private


@needs_op
@pytest.mark.parametrize('family, rows, columns, private', [
    (25, 64, 128, False), (25, 64, 129, True), (26, 64, 64, False), (26, 64, 128, True), (25, 4, 128, True)])
def test_gradients_of_narrow_weights_need_no_transposed_copy(monkeypatch, family, rows, columns, private):
    calls, op = [], private_ops._onednn_linear
    monkeypatch.setattr(private_ops, 'amd_family', lambda: family)
    monkeypatch.setattr(private_ops, 'prefers_onednn', lambda: True)
    monkeypatch.setattr(private_ops, '_MIN_WORK', 0)
    monkeypatch.setattr(private_ops, '_MIN_SIZE', 1)
    monkeypatch.setattr(private_ops, '_onednn_linear', lambda *args: calls.append(args) or op(*args))
    x, y = torch.rand(rows, 600), torch.rand(rows, columns)
    product = private_ops.product_over_rows(x, y)
    torch.testing.assert_close(product, torch.einsum('nk,nm->km', x, y))
    assert len(calls) == private and product.is_contiguous()


def _transformed(x, weight, bias):
    return torch.func.vmap(lambda row: linear(row, weight, bias))(x[:, None])


def _forward_mode(x, weight, bias):
    with torch.autograd.forward_ad.dual_level():
        return linear(torch.autograd.forward_ad.make_dual(x.detach(), torch.ones_like(x)), weight, bias)


def _autocast(x, weight, bias):
    with torch.autocast('cpu', torch.bfloat16):
        y = linear(x, weight, bias)
    assert y.dtype == torch.bfloat16
    return y


def _traced(x, weight, bias):
    with torch.no_grad():
        traced = torch.jit.trace(linear, (x, weight, bias))
    assert 'aten::linear' in str(traced.graph)
    return traced(x, weight, bias)


def _counted(x, weight, bias):
    with FlopCounterMode(display=False) as counter:
        y = linear(x, weight, bias)
    assert counter.get_total_flops() == 2 * 6 * 5 * 4
    return y


OTHERS = {
    'vmap': _transformed, 'forward mode': _forward_mode, 'autocast': _autocast, 'FlopCounterMode': _counted,
    'jvp': lambda *args: torch.func.jvp(linear, args, args)[0],
    'grad': lambda *args: torch.func.grad(lambda *args: linear(*args).sum())(*args),
    'make_fx': lambda *args: make_fx(lambda *args: linear(*args))(*args)(*args),
    'make_fx, fake': lambda *args: make_fx(lambda *args: linear(*args), tracing_mode='symbolic')(*args)(*args),
    'compile': lambda *args: torch.compile(linear, backend='eager', fullgraph=True)(*args),
    'meta': lambda *args: linear(*(t.to('meta') for t in args)),
    'float64': lambda *args: linear(*(t.double() for t in args)),
    'vector': lambda x, *args: linear(x[0], *args),
}


@needs_op
@pytest.mark.filterwarnings('ignore:.*torch.jit.*:DeprecationWarning')
@pytest.mark.parametrize('name', OTHERS)
def test_torchs_own_op_is_what_others_see(calls, name):
    OTHERS[name](*_operands())
    assert not calls


@needs_op
def test_onednn_switched_off(calls, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'enabled', False)
    linear(*_operands())
    assert not calls


@needs_op
def test_vectorized_jacobian(calls):
    operands = tuple(_operands())
    found, expected = (torch.autograd.functional.jacobian(f, operands, vectorize=True) for f in (linear, F.linear))
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@needs_op
def test_exported_layer_holds_torchs_own_op(calls):
    model = Sequential([Dense(4, input_shape=(5,), activation='relu')])
    x = torch.rand(6, 5)
    model.graph(False)  # torch 2.6 exports no module that changes an attribute of its own
    exported = torch.export.export(model, (x,), strict=False)
    assert 'aten.linear' in str(exported.graph)
    assert not calls
    torch.testing.assert_close(exported.module()(x), model(x), rtol=1e-5, atol=1e-6)
    assert calls


@needs_op
def test_wrong_shapes_are_refused_as_by_torch(calls):
    x, weight, bias = _operands()
    for args in ((x[:, :4], weight, bias), (x, weight, bias[:3])):
        with pytest.raises(RuntimeError):
            linear(*args)


@needs_op
@pytest.mark.parametrize('vendor, family', [('AuthenticAMD', 25), ('GenuineIntel', 0), (None, 0)])
def test_processor_decides(monkeypatch, vendor, family):
    def opened(path):
        if vendor is None:
            raise FileNotFoundError(path)
        return io.StringIO(f'processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: 25\nmodel\t\t: 17\n')
    monkeypatch.setattr(private_ops, 'open', opened, raising=False)
    monkeypatch.setattr(private_ops, 'amd_family', private_ops.amd_family.__wrapped__)
    assert private_ops.amd_family() == family
    assert private_ops.prefers_onednn.__wrapped__() is bool(family)


def test_without_the_private_op_torchs_own_is_used(monkeypatch):
    monkeypatch.setattr(private_ops, '_MIN_WORK', 0)
    monkeypatch.setattr(private_ops, '_onednn_linear', None)
    private_ops.prefers_onednn.cache_clear()
    x, weight, bias = _operands()
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))
    private_ops.prefers_onednn.cache_clear()


@needs_op
def test_small_products_and_other_processors_take_torchs_op(monkeypatch):
    calls = []
    monkeypatch.setattr(private_ops, '_onednn_linear', lambda x, w, b, *_: calls.append(1) or F.linear(x, w, b))
    monkeypatch.setattr(private_ops, 'prefers_onednn', lambda: True)
    for rows, k, n, private in ((8, 16, 16, 0), (4, 1024, 1024, 0), (32, 784, 512, 1), (512, 512, 10, 1)):
        calls.clear()
        linear(torch.zeros(rows, k), torch.zeros(n, k))
        assert len(calls) == private, (rows, k, n)
    calls.clear()
    monkeypatch.setattr(private_ops, 'prefers_onednn', lambda: False)
    linear(torch.zeros(32, 784), torch.zeros(512, 784))
    assert not calls


# ---------------------------------------------------------------- convolutions

CONVOLUTIONS = {
    'image': ((2, 3, 5, 6), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    'strides and padding': ((2, 3, 7, 6), (4, 3, 3, 3), (2, 1), (1, 1), (1, 1), 1),
    'dilation': ((2, 3, 7, 6), (4, 3, 2, 2), (1, 1), (0, 1), (2, 1), 1),
    'depthwise': ((2, 4, 5, 6), (8, 1, 3, 3), (1, 1), (1, 1), (1, 1), 4),
    'volume': ((2, 2, 4, 5, 3), (3, 2, 2, 2, 2), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
}


def _convolution_operands(name, channels_last=True):
    shape, kernel, *settings = CONVOLUTIONS[name]
    random = torch.Generator().manual_seed(2)
    operands = [torch.rand(s, generator=random) - .5 for s in (shape, kernel, kernel[:1])]
    if channels_last:
        order = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
        operands[:2] = [t.contiguous(memory_format=order) for t in operands[:2]]
    return [t.requires_grad_() for t in operands], settings


@pytest.fixture
def functions(monkeypatch):
    """The convolutions, of any size, whose bias has a gradient of its own."""
    applied, apply = [], private_ops._Convolution.apply
    monkeypatch.setattr(private_ops, '_MIN_WORK', 0)
    monkeypatch.setattr(private_ops._Convolution, 'apply', lambda *args: applied.append(args) or apply(*args))
    return applied


@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize('channels_last', [True, False])
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_convolution_agrees_with_torch_in_three_derivatives(functions, name, channels_last, relu):
    operands, settings = _convolution_operands(name, channels_last)

    def torchs(x, weight, bias):
        y = (F.conv2d if x.dim() == 4 else F.conv3d)(x, weight, bias, *settings)
        return y.relu() if relu else y
    found = _all_gradients(lambda *args: private_ops.convolution(*args, *settings, relu), operands)
    expected = _all_gradients(torchs, operands)
    assert len(functions) == 1
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * b.abs().max().item())


def test_only_wanted_gradients_of_a_convolution(functions):
    (x, weight, bias), settings = _convolution_operands('image')
    for targets in ([weight], [bias], [weight, bias]):
        operands = [t if any(t is target for target in targets) else t.detach() for t in (x, weight, bias)]
        found, expected = (torch.autograd.grad(f(*operands, *settings).square().sum(), targets)
                           for f in (private_ops.convolution, F.conv2d))
        for a, b in zip(found, expected):
            torch.testing.assert_close(a, b)
    assert len(functions) == 3


def test_strided_1x1_convolution_of_few_channels(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(4, 8, 61, 60).to(memory_format=torch.channels_last).requires_grad_()
    weight, strides, convolve = torch.randn(16, 8, 1, 1, requires_grad=True), [], F.conv2d
    monkeypatch.setattr(F, 'conv2d', lambda *args: strides.append([*args[3]]) or convolve(*args))
    y = private_ops.convolution(x, weight, None, (2, 3), (0, 0), (1, 1), 1)
    assert strides == [[1, 1]]  # in torch 2.13 the gradients of other strides may end the process
    dy = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, weight), dy)
    operands = [t.detach().double().requires_grad_() for t in (x, weight)]
    wanted = convolve(*operands, stride=(2, 3))
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)
    for one, other in zip(found, torch.autograd.grad(wanted, operands, dy.double())):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings('ignore:.*torch.jit.*:DeprecationWarning')
def test_torchs_own_convolution_is_what_others_see(functions):
    (x, weight, bias), settings = _convolution_operands('image')

    def convolve(x):
        return private_ops.convolution(x, weight, bias, *settings)
    wanted = F.conv2d(x, weight, bias, *settings)
    torch.testing.assert_close(torch.func.vmap(convolve)(x[:, None])[:, 0], wanted)
    torch.testing.assert_close(torch.compile(convolve, backend='eager', fullgraph=True)(x), wanted)
    torch.testing.assert_close(make_fx(convolve)(x)(x), wanted)
    torch.func.grad(lambda x: convolve(x).sum())(x)
    with torch.no_grad():
        convolve(x)
    private_ops.convolution(x.double(), weight.double(), bias.double(), *settings)
    private_ops.convolution(x, weight, None, *settings)
    assert not functions


needs_convolution = pytest.mark.skipif(not private_ops._onednn_convolution, reason='this torch lacks the private op')


@pytest.fixture
def convolutions(monkeypatch):
    """The calls of the private op for convolutions, at any size."""
    calls, op = [], private_ops._onednn_convolution
    monkeypatch.setattr(private_ops, '_MIN_WORK', 0)
    monkeypatch.setattr(private_ops, '_MIN_CACHED', 0)
    monkeypatch.setattr(private_ops, '_onednn_convolution', lambda *args: calls.append(args) or op(*args))
    return calls


def _images(channels=6, size=9):
    return torch.randn(3, size, size, channels, generator=torch.Generator().manual_seed(1)).permute(0, 3, 1, 2)


@needs_convolution
@pytest.mark.parametrize('kernel, strides, padding, dilation, groups', [
    (1, 1, 0, 1, 1), (1, 2, 0, 1, 1), (3, 1, 1, 1, 1), (3, 2, 0, 1, 1), (3, 1, 2, 2, 1), (3, 1, 1, 1, 6)])
@pytest.mark.parametrize('relu', [True, False])
@pytest.mark.parametrize('bias', [True, False])
def test_convolution_and_fallback_agree(convolutions, kernel, strides, padding, dilation, groups, relu, bias):
    random = torch.Generator().manual_seed(2)
    weight = torch.randn(12, 6 // groups, kernel, kernel, generator=random).to(memory_format=torch.channels_last)
    b = torch.randn(12, generator=random) if bias else None
    options = (strides,) * 2, (padding,) * 2, (dilation,) * 2, groups
    with torch.no_grad():
        found = private_ops.convolution(_images(), weight, b, *options, relu)
        expected = F.conv2d(_images(), weight, b, *options)
    assert len(convolutions) == (relu or kernel == 1)
    torch.testing.assert_close(found, expected.relu() if relu else expected, rtol=1e-5, atol=1e-5)
    assert found.stride() == expected.stride()


@needs_convolution
@pytest.mark.parametrize('case', ['gradients', 'float64', 'contiguous', 'autocast', 'vmap', 'meta', 'no mkldnn',
                                  'counted'])
def test_torchs_own_convolution_is_what_others_see_without_gradients(convolutions, case, monkeypatch):
    x, weight = _images(), torch.randn(4, 6, 1, 1)

    def run(x=x, weight=weight):
        return private_ops.convolution(x, weight, None, (1, 1), (0, 0), (1, 1), 1, True)
    if case == 'gradients':
        assert run(weight=weight.requires_grad_()).requires_grad
        return
    with torch.no_grad():
        if case == 'float64':
            run(x.double(), weight.double())
        if case == 'contiguous':
            run(x.contiguous())
        if case == 'autocast':
            with torch.autocast('cpu', torch.bfloat16):
                assert run().dtype == torch.bfloat16
        if case == 'vmap':
            torch.func.vmap(lambda y: run(y))(x[:, None])
        if case == 'meta':
            run(x.to('meta'), weight.to('meta'))
        if case == 'no mkldnn':
            monkeypatch.setattr(torch.backends.mkldnn, 'enabled', False)
            run()
        if case == 'counted':
            with FlopCounterMode(display=False) as counter:
                run()
            assert counter.get_total_flops() == 2 * 3 * 81 * 6 * 4
    assert not convolutions


def test_convolution_without_the_private_op(monkeypatch):
    monkeypatch.setattr(private_ops, '_onednn_convolution', None)
    monkeypatch.setattr(private_ops, '_MIN_WORK', 0)
    weight = torch.randn(4, 6, 1, 1)
    with torch.no_grad():
        found = private_ops.convolution(_images(), weight, None, (1, 1), (0, 0), (1, 1), 1, True)
        assert torch.equal(found, F.conv2d(_images(), weight).relu())


@needs_convolution
def test_exported_convolution_is_torchs_own(convolutions):
    model = Sequential([Conv2D(4, 1, input_shape=(9, 9, 6), activation='relu')])
    x = torch.rand(2, 9, 9, 6)
    model.graph(False)  # as above
    with torch.no_grad():
        exported = torch.export.export(model, (x,), strict=False)
        assert 'aten.conv2d' in str(exported.graph) and not convolutions
        torch.testing.assert_close(exported.module()(x), model(x), rtol=1e-5, atol=1e-6)
        assert convolutions


@pytest.mark.parametrize('private', [False, True])
def test_gradients_are_those_of_autograd_grad(private, monkeypatch):
    if not private:
        monkeypatch.setattr(private_ops, '_run_backward', None)
    assert private is (private_ops._run_backward is not None)
    x, weight, unused = (torch.randn(3, 3, requires_grad=True) for _ in range(3))
    dy, y = torch.randn(3, 3), torch.tanh(x @ weight)
    dx, dweight, none = private_ops.gradients(y, [x, weight, unused], dy)
    slope = dy * (1 - y.detach() ** 2)
    torch.testing.assert_close(dx, slope @ weight.detach().t())
    torch.testing.assert_close(dweight, x.detach().t() @ slope)
    assert none is None and x.grad is None


@pytest.mark.parametrize('filters, window, padding, few', [
    (1, (3, 3), (1, 1), True), (2, (5, 2), (0, 1), True), (3, (1, 3), (0, 2), True),
    (1, (1, 1), (0, 0), False), (4, (3, 3), (1, 1), False), (1, (3, 3), (3, 1), False)])
@pytest.mark.parametrize('relu', [False, True])
def test_convolutions_to_few_channels(filters, window, padding, few, relu, monkeypatch):
    x = torch.randn(32, 32, 20, 24).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, bias = torch.randn(filters, 32, *window, requires_grad=True), torch.randn(filters, requires_grad=True)
    assert private_ops._goes_to_few(x, weight, ((1, 1), padding, (1, 1), 1)) == few
    dy, found = torch.randn_like(F.conv2d(x, weight, bias, 1, padding)), []
    for ours in (True, False):
        if not ours:
            monkeypatch.setattr(private_ops, '_goes_to_few', lambda *_: False)
        y = private_ops.convolution(x, weight, bias, (1, 1), padding, (1, 1), 1, relu)
        gradients = torch.autograd.grad(y, (x, weight, bias), dy, create_graph=True)
        twice = torch.autograd.grad(sum(g.square().sum() for g in gradients), (x, weight))
        with torch.no_grad():
            plain = private_ops.convolution(x, weight, bias, (1, 1), padding, (1, 1), 1, relu)
        found.append((y, plain, *gradients, *twice))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.detach().abs().max()))
    assert not few or found[0][3].stride() == weight.stride()


def test_what_does_not_convolve_to_few_channels():
    x, weight = torch.randn(32, 20, 24, 32).permute(0, 3, 1, 2), torch.randn(1, 32, 3, 3)
    settings = (1, 1), (1, 1), (1, 1), 1
    assert private_ops._goes_to_few(x, weight, settings)
    for others in ((x.contiguous(), weight, settings), (x[:1, :, :5], weight, settings),
                   (x.double(), weight.double(), settings), (x, weight, ((2, 2), *settings[1:])),
                   (x, weight, (*settings[:2], (2, 2), 1)), (x.unsqueeze(2), weight.unsqueeze(2), settings)):
        assert not private_ops._goes_to_few(*others)
