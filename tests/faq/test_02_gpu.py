"""How can I run Keras on GPU? It is taken where there is one; a script for Theano's backend says what it said.

Virtual devices stand for the GPUs. The page's second way, a file of Theano's, is not read.
"""
import importlib
import os
import subprocess
import sys
import textwrap

import faq_harness as faq
import pytest
import torch

from kfacade import backend as K
from kfacade.backend.devices import device_of

COMMAND, IN_SCRIPT = faq.blocks('GPU')
SCRIPT = """
import keras
import numpy as np
from keras import backend as K
from kfacade.backend.devices import available_devices, device_of

model = keras.models.Sequential([keras.layers.Dense(2, input_shape=(3,))])
names = {device: name for name, device in available_devices().items()}
print(*{names[device_of(w.param)] for w in model.weights}, model.predict(np.zeros((1, 3))).dtype, K.floatx())
"""


@pytest.fixture
def run(tmp_path, request):
    """What a command prints that runs the script, whose first lines are `head`, on a machine with two GPUs."""
    def run(command, head=''):
        (tmp_path / 'my_keras_script.py').write_text(head + SCRIPT)
        environment = {name: value for name, value in os.environ.items() if name != 'KERAS_DEVICE'}
        environment.update(KERAS_VIRTUAL_DEVICES='2', PYTHONPATH=str(request.config.rootpath))
        process = subprocess.run(command.replace('python ', f'{sys.executable} -W error -m kfacade '), shell=True,
                                 cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return process.stdout.splitlines()
    return run


def test_theano_flags_in_the_command(run):
    assert run(COMMAND.replace('gpu', 'gpu1').replace('float32', 'float64')) == ['/gpu:1 float64 float64']


def test_theano_config_in_the_script(run):
    """The last line is of the script of a user; without the page's lines the first GPU is taken as well."""
    head = textwrap.dedent(IN_SCRIPT).replace("'gpu'", "'cpu'") + 'print(theano.config.device, theano.config.floatX)\n'
    assert run('python my_keras_script.py', head) == ['cpu float32', '/cpu:0 float32 float32']


@pytest.fixture
def theano(monkeypatch):
    """The module that the launcher gives, on a machine with two GPUs."""
    monkeypatch.delenv('KERAS_DEVICE', raising=False)
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '2')
    before = K.floatx()
    yield importlib.import_module('theano')
    K.set_floatx(before)
    sys.modules.pop('theano', None)


def test_a_gpu_is_used_where_there_is_one(theano, monkeypatch):
    assert theano.config.device == 'gpu0' and device_of(K.variable(1.).param) == torch.device('cpu', 0)
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '0')
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: False)
    assert theano.config.device == 'cpu' and device_of(K.variable(1.).param) == torch.device('cpu')


def test_devices_and_float_types_of_theano(theano):
    faq.run(textwrap.dedent(IN_SCRIPT), {})
    assert (theano.config.device, theano.config.floatX) == ('gpu0', 'float32')
    for name, found in (('gpu1', 'gpu1'), ('cuda0', 'gpu0'), ('cuda', 'gpu0'), ('cpu', 'cpu')):
        theano.config.device, theano.config.floatX = name, 'float64'
        assert (theano.config.device, K.floatx()) == (found, 'float64')
    theano._read_flags('device=gpu1, floatX=float16')
    assert (theano.config.device, K.floatx()) == ('gpu1', 'float16')
    with pytest.warns(UserWarning, match=r"only device and floatX have a meaning on torch: \['mode'\] have none"):
        theano._read_flags('mode=FAST_RUN,device=cpu')
    assert theano.config.device == 'cpu'


def test_nothing_else_of_theano_is_there(theano):
    with pytest.raises(ModuleNotFoundError, match='theano.tensor'):
        importlib.import_module('theano.tensor')
    with pytest.raises(AttributeError, match='There is no theano.function: kfacade'):
        getattr(theano, 'function')  # noqa: B009
    with pytest.raises(AttributeError, match="no attribute 'mode'"):
        theano.config.mode = 'FAST_RUN'
    with pytest.raises(ValueError, match='Unknown floatx type: float8'):
        theano.config.floatX = 'float8'
    with pytest.raises(ValueError, match="There is no device 'gpu:7'. There are: /cpu:0, /gpu:0, /gpu:1"):
        theano.config.device = 'gpu7'
