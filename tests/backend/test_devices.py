"""Names of devices, those there are, and computing away from the weights."""
import warnings

import numpy as np
import pytest
import torch

import kfacade
from kfacade import backend as K
from kfacade import config, models
from kfacade.backend import devices, graph, state
from kfacade.layers import Dense


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for name in ('KERAS_VIRTUAL_DEVICES', 'KERAS_DEVICE', 'KERAS_SOFT_PLACEMENT'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: False)
    monkeypatch.setitem(config.settings, 'device', None)


@pytest.fixture
def four_devices(monkeypatch):
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '4')


@pytest.fixture
def accelerators(monkeypatch):
    """Makes torch say that it has two accelerators of a kind."""
    def pretend(kind):
        for name, value in (('is_available', True), ('current_accelerator', torch.device(kind)), ('device_count', 2)):
            monkeypatch.setattr(torch.accelerator, name, lambda value=value: value)
    return pretend


def where(tensor):
    """The name of the device on which a tensor, or the value of a Variable, lies."""
    device = devices.device_of(getattr(tensor, 'param', tensor))
    return next(name for name, there in devices.available_devices().items() if there == device)


@pytest.mark.parametrize('name, found', [
    ('/gpu:1', '/gpu:1'), ('gpu:1', '/gpu:1'), ('/GPU:1', '/gpu:1'), ('/device:GPU:2', '/gpu:2'), ('gpu', '/gpu:0'),
    ('cuda:3', '/gpu:3'), ('cuda', '/gpu:0'), (torch.device('cuda', 1), '/gpu:1'), ('cpu', '/cpu:0'),
    ('/cpu:0', '/cpu:0'), ('/device:CPU:0', '/cpu:0'), (torch.device('cpu'), '/cpu:0'),
    ('/job:localhost/replica:0/task:0/device:GPU:1', '/gpu:1'), ('/job:worker/task:3/gpu:0', '/gpu:0'),
    ('/device:GPU:2/job:localhost/task:0', '/gpu:2'), ('/gpu', '/gpu:0'), ('/device:GPU:*', '/gpu:0'),
    ('GPU:3', '/gpu:3'), ('/replica:*/device:CPU:0', '/cpu:0'), ('/CPU', '/cpu:0')])
def test_spellings(name, found, four_devices):
    virtual = torch.device('cpu', int(found[-1]))  # what '/gpu:1' is to torch
    assert devices.find_device(name) == (found, virtual if 'gpu' in found else torch.device('cpu'))


def test_devices_there_are(four_devices):
    assert list(devices.available_devices()) == ['/cpu:0', '/gpu:0', '/gpu:1', '/gpu:2', '/gpu:3']
    assert [x.name for x in K.device_lib.list_local_devices()] == [
        '/device:CPU:0', *(f'/device:GPU:{i}' for i in range(4))]
    full = [f'/job:localhost/replica:0/task:0/device:GPU:{i}' for i in range(4)]
    assert kfacade.backend._get_available_gpus() == full
    assert [(x.name, x.device_type) for x in K.get_session().list_devices()] == [
        ('/job:localhost/replica:0/task:0/device:CPU:0', 'CPU'), *[(name, 'GPU') for name in full]]
    assert K.tf.test.is_gpu_available() is True and K.tf.test.gpu_device_name() == '/device:GPU:0'


def test_accelerators_of_torch(accelerators):
    accelerators('cuda')
    assert devices.find_device('/device:GPU:1') == ('/gpu:1', torch.device('cuda', 1))
    assert devices.find_device('cuda:0') == ('/gpu:0', torch.device('cuda', 0))
    with pytest.raises(ValueError, match="no device 'mps'"):
        devices.find_device('mps')
    accelerators('mps')
    assert devices.find_device('mps') == devices.find_device('/gpu:0') == ('/gpu:0', torch.device('mps', 0))


def test_without_devices(monkeypatch):
    monkeypatch.delenv('KERAS_VIRTUAL_DEVICES', raising=False)
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: False)
    assert list(devices.available_devices()) == ['/cpu:0']
    assert K.tf.test.is_gpu_available() is False and K.tf.test.gpu_device_name() == ''


def test_absent_devices_are_errors_that_list_those_there_are(four_devices):
    with pytest.raises(ValueError, match=r"There is no device '/gpu:4'. There are: /cpu:0, /gpu:0, .*, /gpu:3\. "
                                         'KERAS_SOFT_PLACEMENT=1'):
        devices.find_device('/gpu:4')
    for name in ('tpu:0', '/gpu:x', '', 'gpu:0:1', '/gpu:0/cpu:0', 'gpu:0gpu:0', '/job:worker', '/device:XLA_GPU:0', 0):
        with pytest.raises(ValueError, match=r'is no name of a device, .* There are: /cpu:0, '):
            devices.find_device(name)


def test_soft_placement_warns_once(four_devices, monkeypatch):
    monkeypatch.setenv('KERAS_SOFT_PLACEMENT', '1')
    with pytest.warns(UserWarning, match="no device '/gpu:9': /gpu:0 takes its place"):
        assert devices.find_device('/gpu:9')[0] == '/gpu:0'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert devices.find_device('/gpu:8')[0] == '/gpu:0'


def test_soft_placement_as_in_tensorflow(four_devices):
    K.tf.ConfigProto(allow_soft_placement=True)
    with pytest.warns(UserWarning, match="no device '/gpu:9': /gpu:0 takes its place"), kfacade.device_scope('/gpu:9'):
        assert where(K.variable(1.)) == '/gpu:0'
    K.tf.ConfigProto(allow_soft_placement=False)
    with pytest.raises(ValueError, match="no device '/gpu:9'"):
        kfacade.device_scope('/gpu:9')


def test_settings_of_tensorflow_choose_among_the_devices(four_devices):
    K.tf.ConfigProto(device_count={'GPU': 2})
    assert list(devices.available_devices()) == ['/cpu:0', '/gpu:0', '/gpu:1']
    K.tf.GPUOptions(visible_device_list='3,1')
    assert devices.find_device('/gpu:0')[1] == torch.device('cpu', 3)
    K.tf.ConfigProto(device_count={'CPU': 1, 'GPU': 0})
    assert where(K.variable(1.)) == '/cpu:0'


# ---------------------------------------------------------------- which one computes

@pytest.mark.parametrize('kind, default', [('cuda', torch.device('cuda', 0)), ('mps', torch.device('cpu')),
                                           ('xpu', torch.device('cpu'))])
def test_cuda_is_taken_where_there_is_one(accelerators, kind, default):
    accelerators(kind)
    assert devices.default_device() == default


def test_who_chooses(four_devices, monkeypatch):
    assert devices.default_device() == torch.device('cpu', 0)
    monkeypatch.setitem(config.settings, 'device', 'cpu')
    assert where(K.variable(1.)) == '/cpu:0'
    monkeypatch.setenv('KERAS_DEVICE', 'cuda:2')
    assert where(K.variable(1.)) == '/gpu:2'
    kfacade.set_device('/gpu:3')
    assert where(K.variable(1.)) == '/gpu:3'
    kfacade.set_device(None)
    assert where(K.variable(1.)) == '/gpu:2'


def test_absent_choices_are_errors(monkeypatch):
    with pytest.raises(ValueError, match="no device 'cuda:0'. There are: /cpu:0. KERAS_SOFT_PLACEMENT"):
        kfacade.set_device('cuda:0')
    assert where(K.variable(1.)) == '/cpu:0'
    monkeypatch.setitem(config.settings, 'device', 'cuda:0')
    with pytest.raises(ValueError, match="no device 'cuda:0' of keras.json. There are: /cpu:0"):
        K.variable(1.)
    monkeypatch.setenv('KERAS_DEVICE', 'mps')
    with pytest.raises(ValueError, match="no device 'mps' of KERAS_DEVICE. There are: /cpu:0"):
        Dense(2)(K.placeholder((None, 3)))
    monkeypatch.setenv('KERAS_SOFT_PLACEMENT', '1')
    with pytest.warns(UserWarning, match="no device 'mps' of KERAS_DEVICE: /cpu:0 takes its place"):
        assert where(K.variable(1.)) == '/cpu:0'


# ---------------------------------------------------------------- scopes

def test_scopes(four_devices):
    scope = kfacade.device_scope
    with scope('/gpu:2'):
        outer, recorded = K.variable([1.]), K.placeholder((None, 2)) + 1.
        with scope('/cpu:0'):
            inner = K.variable([1.])
        with scope(''), scope('/job:worker/task:1'):
            same = K.variable([1.])
        with scope(None):
            none = K.variable([1.])
    with pytest.raises(KeyError), scope('/gpu:3'):
        raise KeyError
    assert list(map(where, (outer, inner, same, none, K.variable([1.])))) == [
        '/gpu:2', '/cpu:0', '/gpu:2', '/gpu:0', '/gpu:0']
    assert recorded._on == torch.device('cpu', 2)
    with K.tf.device('/device:GPU:1'), K.tf.device_scope('/gpu:3'):
        assert where(K.variable(1.)) == '/gpu:3'
        with K.tf.device(None):
            assert where(K.variable(1.)) == '/gpu:0'
    with K.tf.device(device_name_or_function=lambda op: '/gpu:2'):
        assert where(K.variable(1.)) == '/gpu:2'


def test_a_function_places_operations_one_by_one(four_devices):
    seen = []

    def place(op):
        seen.append((op.type, op.name))
        return {'Variable': '/cpu:0', 'add': '/gpu:3', 'sub': ''}.get(op.type)
    with kfacade.device_scope(lambda op: '/gpu:1' if op.type == 'sub' else ''), kfacade.device_scope(place):
        weight = K.variable([1., 2.], name='w')
        total = weight + 1.
        product = total * 2.
        rest = total - 1.
    assert where(weight) == '/cpu:0' and total._on == torch.device('cpu', 3) and product._on is None
    assert seen[0] == ('Variable', 'w') and [kind for kind, _ in seen] == ['Variable', 'add', 'mul', 'sub']
    assert rest._on == torch.device('cpu', 1)
    np.testing.assert_array_equal(K.eval(product), [4, 6])


def test_number_of_virtual_devices_must_be_one(monkeypatch):
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', 'four')
    with pytest.raises(ValueError, match="must be a number of devices, such as 4. Found: 'four'"):
        devices.available_devices()


def test_what_is_recorded_on_a_device_takes_weights_and_inputs_there(monkeypatch):
    """The device here is torch's 'meta': ops refuse operands that were not moved there. What comes back is made up."""
    moves, seen = [], []

    def move(x, place):
        device = place.device if isinstance(place, torch.Tensor) else place
        moves.append((x.device.type, device.type))
        return x.to(device) if device.type == 'meta' else torch.zeros(x.shape)

    def run(layer, x, real=Dense.forward):
        seen.append((x.device.type, *{p.device.type for p in layer.parameters()}))
        return real(layer, x)
    monkeypatch.setattr(graph, 'move', move)
    monkeypatch.setattr(Dense, 'forward', run)
    dense, x = Dense(2), K.placeholder((None, 3))
    here = dense(x)
    with state.on_device(torch.device('meta')):
        there = dense(here[:, :1] * K.variable(np.ones((1, 3)))) + K.constant(np.ones(2))
    result, other = graph.compile_graph([x], [there + 0., there], differentiable=True)(torch.ones(4, 3))
    assert result.shape == (4, 2) and result.device.type == 'cpu' and other.is_meta
    assert seen == [('cpu', 'cpu'), ('meta', 'meta')]
    assert moves == [('cpu', 'meta'), ('meta', 'meta'), ('meta', 'cpu')]  # the variable was made there


def test_an_operand_that_was_not_moved_is_an_error(monkeypatch):
    monkeypatch.setattr(graph, 'move', lambda x, place: x)
    x = K.placeholder((None, 3))
    with state.on_device(torch.device('meta')):
        y = Dense(2)(x)
    with pytest.raises(RuntimeError, match='device'):
        graph.compile_graph([x], [y])(torch.ones(4, 3))


def test_gradients_come_back_to_the_weights():
    model = models.Sequential([Dense(2, input_shape=(3,))])
    layer = model.layers[0]
    devices.apply_on(torch.device('cpu'), layer, torch.ones(4, 3)).sum().backward()
    for p in layer.parameters():
        assert p.grad is not None
    moved = devices.apply_on(torch.device('meta'), layer, torch.ones(4, 3, device='meta'))
    assert moved.is_meta and moved.requires_grad and {p.device.type for p in layer.parameters()} == {'cpu'}


def test_gradients_come_back_through_functions_of_a_module():
    dense = models.Sequential([Dense(2, input_shape=(3,))]).layers[0]
    moved = devices.apply_on(torch.device('meta'), lambda layer, x: layer.kernel.value.sum() + x, dense,
                             torch.ones(1, device='meta'))
    assert moved.is_meta and moved.requires_grad


# ---------------------------------------------------------------- virtual devices

def test_a_virtual_device_has_its_own_memory(four_devices):
    device, other = torch.device('cpu', 1), torch.device('cpu', 2)
    x = devices.put(torch.arange(4.), device)
    assert devices.device_of(x) == devices.device_of(x[1:].view(3)) == devices.device_of(x.detach()) == device
    assert devices.put(x, device) is x and devices.device_of(devices.put(x, device, torch.float64)) == device
    y, host = devices.put(x, other), devices.put(x, torch.device('cpu'))
    assert len({t.data_ptr() for t in (x, y, host)}) == 3
    assert devices.device_of(y) == other and devices.device_of(host) == torch.device('cpu')


def _erase(compiled, number):
    """Takes one transfer out of a compiled graph."""
    graph = compiled.module.graph
    moved = [node for node in graph.nodes if node.target is devices.move][number]
    moved.replace_all_uses_with(moved.args[0])
    graph.erase_node(moved)
    compiled.module.recompile()


@pytest.mark.parametrize('number, found', [
    (0, '/gpu:0 and /gpu:1'), (1, '/gpu:1 and /gpu:2'), (2, '/gpu:0 and /gpu:2')])
def test_without_a_transfer_the_op_raises(four_devices, number, found):
    x = K.placeholder((None, 3))
    with kfacade.device_scope('/gpu:1'):
        y = Dense(2)(x)
    with kfacade.device_scope('/gpu:2'):
        y = y * K.variable([1., 2.])
    compiled = graph.compile_graph([x], [y + K.variable([3., 4.])])
    fed = devices.put(torch.ones(4, 3), torch.device('cpu', 0))
    assert compiled(fed)[0].shape == (4, 2) and sum(
        node.target is devices.move for node in compiled.module.graph.nodes) == 4  # one of them for the variable
    transfers = [node for node in compiled.module.graph.nodes if node.target is devices.move]
    _erase(compiled, [i for i, node in enumerate(transfers) if node.args[0].op != 'get_attr'][number])
    with pytest.raises(RuntimeError, match=f'Expected all tensors to be on the same device, but found .*{found}'):
        compiled(fed)


def test_what_is_at_home_takes_only_what_lies_there(four_devices):
    x = K.placeholder((None, 2))
    compiled = graph.compile_graph([x], [x * K.variable([1., 2.])])
    with pytest.raises(RuntimeError, match='at least two devices, /cpu:0 and /gpu:0'):
        compiled(torch.ones(1, 2))


def test_constants_and_what_is_made_of_nothing_lie_with_the_inputs(four_devices):
    x = K.placeholder((2,))
    made = [K.constant([1., 2.]), K.constant(2.), np.array([3., 4.]), K.random_uniform((2,), 1., 1.0001),
            K.arange(2, dtype='float32'), K.tf.zeros((2,)), K.random_normal((K.shape(x)[0],), 1., 0.),
            K.cast(K.shape(x), 'float32'), K.random_normal(K.shape(x), 1., 0.), K.tf.fill(K.shape(x), 7.),
            K.cast(K.arange(K.cast(K.sum(x), 'int32')), 'float32'), K.tf.py_func(lambda a: a * 8, [x], 'float32')]
    with kfacade.device_scope('/gpu:2'):
        made_there = [x + K.constant([1., 2.]), x + K.random_uniform((2,), 1., 1.0001), x + np.array([3., 4.])]
    compiled = graph.compile_graph([x], [x * part for part in made] + made_there)
    wanted = [[1, 2], [2, 2], [3, 4], [1, 1], [0, 1], [0, 0], [1, 1], [2, 2], [1, 1], [7, 7],
              [0, 1], [8, 8], [2, 3], [2, 2], [4, 5]]
    for device in (1, 3):
        found = compiled(devices.put(torch.ones(2), torch.device('cpu', device)))
        np.testing.assert_allclose(torch.stack(found), wanted, rtol=1e-3)
        assert list(map(where, found)) == [f'/gpu:{device}'] * len(made) + ['/gpu:2'] * 3


def test_constants_follow_to_another_kind_of_device():
    x = K.placeholder((None, 2))
    f = graph.compile_graph([x], [K.map_fn(lambda row: row * np.array([1., 2.]), x) + K.constant([1., 2.])])
    for device in ('cpu', 'meta', 'cpu'):
        assert f(torch.ones(1, 2, device=device))[0].device.type == device


def test_a_constant_that_is_asked_for_is_a_copy():
    f = K.function([], [K.constant([1., 2.])])
    f([])[0][:] = 0
    np.testing.assert_array_equal(f([])[0], [1, 2])


# ---------------------------------------------------------------- copies to CUDA devices, on what stands for streams

@pytest.fixture
def streams(monkeypatch):
    """A list of what is done, on which stream; copies stay on the CPU, and no memory is pinned."""
    done, current = [], ['calling']

    class Stream:
        def __init__(self, name='copying'):
            self.name = name

        def __enter__(self):
            current.append(self.name)

        def __exit__(self, *_):
            current.pop()

        def wait_stream(self, other):
            done.append(f'{self.name} waits for {other.name}')
    empty, to = torch.empty, torch.Tensor.to

    def pinned(*args, pin_memory=False, **kwargs):
        tensor = empty(*args, **kwargs)
        if pin_memory:
            done.append('pinned')
            tensor.pinned = True
        return tensor

    def copied(tensor, *args, non_blocking=False, **kwargs):
        if not (args and isinstance(args[0], torch.device) and args[0].type == 'cuda'):
            return to(tensor, *args, non_blocking=non_blocking, **kwargs)
        done.append(f'{current[-1]} copies')
        assert non_blocking and tensor.is_pinned() and tensor.is_contiguous()  # or it would wait
        return to(tensor, args[1] or tensor.dtype)
    monkeypatch.setattr(torch, 'empty', pinned)
    monkeypatch.setattr(torch.Tensor, 'to', copied)
    monkeypatch.setattr(torch.Tensor, 'is_pinned', lambda self: hasattr(self, 'pinned'))
    monkeypatch.setattr(torch.Tensor, 'record_stream', lambda self, stream: done.append(f'kept for {stream.name}'))
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: Stream('calling'))
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: stream)
    monkeypatch.setattr(devices, '_copying', lambda device: Stream())
    return done


OVERLAPPED = ['copying copies', 'calling waits for copying', 'kept for calling']


def test_large_tensors_are_copied_beside_the_computation(streams):
    tensor = torch.arange(2 ** 16).reshape(2, -1)[:, ::2]
    found = devices.fetched(tensor, torch.device('cuda', 0), torch.float32)
    assert streams == ['pinned', *OVERLAPPED]
    assert found.dtype == torch.float32 and torch.equal(found, tensor.float())


def test_small_ones_are_copied_in_turn(streams):
    tensor = torch.ones(3)
    assert torch.equal(devices.fetched(tensor, torch.device('cuda', 0)), tensor)
    assert streams == ['pinned', 'calling copies']


def test_what_is_pinned_is_not_pinned_again(streams):
    devices.fetched(torch.empty(2 ** 16, pin_memory=True), torch.device('cuda', 0))
    assert streams == ['pinned', *OVERLAPPED]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'uint8'])
def test_batches_for_a_gpu_are_pinned_once_and_copied_without_waiting(dtype, shuffle, streams, monkeypatch):
    x, y = (np.random.RandomState(0).rand(12, 5) * 9).astype(dtype), np.ones((12, 1), 'float32')

    def history():
        np.random.seed(0)
        model = models.Sequential([Dense(1, input_shape=(5,), kernel_initializer='ones')])
        model.compile('sgd', 'mse')
        return model.fit(x, y, 4, 2, 0, shuffle=shuffle).history['loss']
    expected = history()
    assert 'pinned' not in streams
    del streams[:]
    monkeypatch.setattr(models.Model, '_place', lambda self, anchor=None: (torch.device('cuda', 0), None))
    assert history() == expected
    assert streams == ['pinned', 'calling copies'] * 2 * 6
