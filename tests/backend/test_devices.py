"""Names of devices, those there are, and computing away from the weights."""
import warnings

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import models
from kfacade.backend import devices, graph, state
from kfacade.layers import Dense


@pytest.fixture
def four_devices(monkeypatch):
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '4')


@pytest.mark.parametrize('name, found', [
    ('/gpu:1', '/gpu:1'), ('gpu:1', '/gpu:1'), ('/GPU:1', '/gpu:1'), ('/device:GPU:2', '/gpu:2'), ('gpu', '/gpu:0'),
    ('cuda:3', '/gpu:3'), ('cuda', '/gpu:0'), (torch.device('cuda', 1), '/gpu:1'), ('cpu', '/cpu:0'),
    ('/cpu:0', '/cpu:0'), ('/device:CPU:0', '/cpu:0'), (torch.device('cpu'), '/cpu:0'),
    ('/job:localhost/replica:0/task:0/device:GPU:1', '/gpu:1'), ('/job:worker/task:3/gpu:0', '/gpu:0')])
def test_spellings(name, found, four_devices):
    assert devices.find_device(name) == (found, torch.device('cpu'))


def test_devices_there_are(four_devices):
    assert list(devices.available_devices()) == ['/cpu:0', '/gpu:0', '/gpu:1', '/gpu:2', '/gpu:3']
    assert [x.name for x in K.device_lib.list_local_devices()] == [
        '/device:CPU:0', *(f'/device:GPU:{i}' for i in range(4))]
    assert K.tf.test.is_gpu_available() is True and K.tf.test.gpu_device_name() == '/device:GPU:0'


def test_accelerators_of_torch(monkeypatch):
    for name, value in (('is_available', True), ('current_accelerator', torch.device('cuda')), ('device_count', 2)):
        monkeypatch.setattr(torch.accelerator, name, lambda value=value: value)
    monkeypatch.delenv('KERAS_VIRTUAL_DEVICES', raising=False)
    assert devices.find_device('/device:GPU:1') == ('/gpu:1', torch.device('cuda', 1))
    assert devices.find_device('cuda:0') == ('/gpu:0', torch.device('cuda', 0))
    with pytest.raises(ValueError, match="no device 'mps'"):
        devices.find_device('mps')


def test_without_devices(monkeypatch):
    monkeypatch.delenv('KERAS_VIRTUAL_DEVICES', raising=False)
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: False)
    assert list(devices.available_devices()) == ['/cpu:0']
    assert K.tf.test.is_gpu_available() is False and K.tf.test.gpu_device_name() == ''


def test_absent_devices_are_errors_that_list_those_there_are(four_devices):
    with pytest.raises(ValueError, match=r"There is no device '/gpu:4'. There are: /cpu:0, /gpu:0, .*, /gpu:3\. "
                                         'KERAS_SOFT_PLACEMENT=1'):
        devices.find_device('/gpu:4')
    for name in ('tpu:0', '/gpu:x', '', 'gpu:0:1'):
        with pytest.raises(ValueError, match=r'is no name of a device, .* There are: /cpu:0, '):
            devices.find_device(name)


def test_soft_placement_warns_once(four_devices, monkeypatch):
    monkeypatch.setenv('KERAS_SOFT_PLACEMENT', '1')
    monkeypatch.setattr(devices, '_told', set())
    with pytest.warns(UserWarning, match="no device '/gpu:9': /gpu:0 takes its place"):
        assert devices.find_device('/gpu:9')[0] == '/gpu:0'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert devices.find_device('/gpu:8')[0] == '/gpu:0'


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
    result, = graph.compile_graph([x], [there], differentiable=True)(torch.ones(4, 3))
    assert result.shape == (4, 2) and result.device.type == 'cpu'
    assert seen == [('cpu', 'cpu'), ('meta', 'meta')]
    assert moves == [*[('cpu', 'meta')] * 3, ('meta', 'cpu')]  # what the first call gave, the variable, the constant


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
