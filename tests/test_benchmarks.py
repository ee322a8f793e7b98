"""The benchmark compares two implementations of the same network."""
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import kfacade as keras
from benchmarks import __main__, counts, plain, prediction, side
from benchmarks.workloads import WORKLOADS, resnet50
from kfacade.backend import devices, private_ops, pullbacks
from kfacade.engine import training_loop
from kfacade.layers import core


@pytest.mark.parametrize('name', WORKLOADS)
def test_both_sides_have_the_same_weights_and_learn(name):
    workload = WORKLOADS[name]
    x, y = workload.data(np.random.RandomState(0), 2 * workload.batch_size)
    model = workload.build(keras)
    sizes = sorted(int(np.prod(weight.shape)) for weight in model.get_weights())
    module = plain.MODELS[name][0]()
    assert sum(sizes) - _extra(name) == sum(
        tensor.numel() for key, tensor in module.state_dict().items() if not key.endswith('num_batches_tracked'))
    loss, accuracy = plain.trainer(name, workload, x, y)()
    history = model.fit(x, y, batch_size=workload.batch_size, verbose=0).history
    assert np.isfinite(loss) and np.isfinite(history['loss'][0])
    assert 0 <= accuracy <= 1


@pytest.mark.parametrize('name', ['mlp_512', 'bn_convnet', 'mnist_cnn', 'lstm', 'lstm_default', 'gru', 'own_cell'])
def test_fit_takes_no_more_memory_than_the_plain_loop(name):
    """The same tensors are alive at the peak of the first two steps, with 5 % for small ones."""
    of_plain, ours = counts.peaks(name)
    assert 0 < ours <= 1.05 * of_plain


def test_peak_of_memory():
    def function():
        first = torch.ones(1000)
        second = first + 1
        del first
        return (second * 2).sum()
    kept = torch.ones(5000)
    assert 8000 <= counts.peak(lambda: (function(), function(), kept.add_(1))) < 9000


def _extra(name):
    """torch's LSTM has two biases, one of which is redundant; Keras' has one."""
    return -4 * 128 if name.startswith('lstm') else 0


def test_resnet50_is_that_network():
    model = resnet50(keras)
    assert (len(model.layers), model.count_params()) == (177, 25636712)


@pytest.mark.parametrize('name, millions', [('tiny', .02125), ('mlp_32', 102.7), ('lstm', 2013.), ('gru', 1006.6)])
def test_products_of_a_step(name, millions):
    """Twice the multiplications, three times but for the input's gradient; an embedding's output has one."""
    workload = WORKLOADS[name]
    found = plain.products(name, workload, *workload.data(np.random.RandomState(0), workload.batch_size))
    assert found / 1e6 == pytest.approx(millions, rel=.02)


@pytest.mark.slow
def test_command_prints_ratios(pytestconfig, tmp_path):
    output = subprocess.check_output(
        [sys.executable, '-m', 'benchmarks', '--only', 'tiny', '--only', 'mlp_32', '--only', 'build', '--runs', '1',
         '--markdown', tmp_path / 'table.md'], text=True, cwd=pytestconfig.rootpath)
    rows = [r'\| tiny \| 8 \| [0-9.]+( \| [0-9.]+ \([0-9.]+\)){3} \|', r'\| geometric mean \|( \| [0-9.]+){3} \|  \|']
    for text in (output, (tmp_path / 'table.md').read_text()):
        for row in rows:
            assert re.search(f'^{row}$', text, re.MULTILINE), (row, text)
    assert re.search(r'^kfacade: [0-9.]+$', output, re.MULTILINE)


class _SideHere:
    """Stands for a side's process: runs once, here, on a virtual device."""

    threads, memory, made = 1, 0, []

    def __init__(self, python, name, workload, device):
        assert python == sys.executable and device == 'cuda'
        self.made.append((name, workload))
        self.run = side.runner(name, workload, 'cpu' if name == 'plain' else device)

    def __call__(self):
        start = time.perf_counter()
        self.run()
        return time.perf_counter() - start

    def close(self):
        pass


def test_table_of_a_gpu(monkeypatch):
    """What is its own: data on the device or not, and one more column for the smallest workload."""
    monkeypatch.setenv('KERAS_VIRTUAL_DEVICES', '1')
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'a GPU')
    monkeypatch.setattr(torch, 'compile', lambda module, mode: module)
    monkeypatch.setattr(__main__, 'Side', _SideHere)
    for name in ('tiny', 'mlp_32'):
        monkeypatch.setitem(WORKLOADS, name, WORKLOADS[name]._replace(samples=WORKLOADS[name].batch_size * 2))
    fed, take = set(), training_loop.Feed.take

    def taken(self, i=0):
        x = self.sources[0]
        fed.add((x.shape[1], devices.device_of(x).index, self.function._ways.jit_compile))
        return take(self, i)
    monkeypatch.setattr(training_loop.Feed, 'take', taken)
    lines = __main__.training(['tiny', 'mlp_32'], [], 1, 'cuda')
    assert lines[0].startswith('Wall ms a step on a GPU')
    assert lines[2] == '| workload | batch | plain | kfacade | kfacade, arrays | kfacade, `jit_compile` |'
    number = r'[0-9.]+'
    ratio = rf'{number} \({number}\)'
    for row, line in zip([rf'tiny \| 8 \| {number} \| {ratio} \| {ratio} \| {ratio}',
                          rf'mlp_32 \| 32 \| {number} \| {ratio} \| {ratio} \| ',
                          rf'geometric mean \| \| {number} \| {number} \| {number} \| '], lines[4:7]):
        assert re.fullmatch(rf'\| {row} \|', line), (row, line)
    assert fed == {(16, 0, False), (16, None, False), (16, 0, True), (784, 0, False), (784, None, False)}


def test_unknown_name_lists_the_workloads(pytestconfig):
    process = subprocess.run([sys.executable, '-m', 'benchmarks', '--only', 'nothing'], text=True, capture_output=True,
                             cwd=pytestconfig.rootpath)
    assert process.returncode == 2
    assert all(name in process.stderr for name in WORKLOADS)


@pytest.mark.skipif(not private_ops._saved_tensors_hooks, reason='with this torch autograd goes back, which is more')
def test_no_step_costs_more_than_its_bounds(pytestconfig):
    """`python -m benchmarks --write-bounds` makes the counts of now the bounds, after a change that is worth them."""
    process = subprocess.run([sys.executable, '-m', 'benchmarks', '--check'], text=True, capture_output=True,
                             cwd=pytestconfig.rootpath)
    assert process.returncode == 0, process.stderr


def test_a_copy_too_many_is_noticed(monkeypatch):
    assert not [line for line in counts.exceeded(['tiny']) if ' copies' in line]
    for module in (core, pullbacks):
        monkeypatch.setattr(module, 'linear', lambda x, *weights: torch.nn.functional.linear(x.clone(), *weights[:2]))
    lines = [line for line in counts.exceeded(['tiny']) if ' copies' in line]
    assert len(lines) == 6  # for each of the tasks
    assert re.fullmatch(r'tiny, fit: \d+ copies, at most \d+ are allowed', lines[0])


@pytest.mark.parametrize('name', prediction.LARGER)
def test_larger_networks_to_predict_with_have_the_same_weights(name):
    sizes = sum(tensor.numel() for key, tensor in prediction._PLAIN[name]().state_dict().items()
                if not key.endswith('num_batches_tracked'))
    assert prediction.LARGER[name][0](keras).count_params() == sizes


def test_both_sides_predict_as_many_samples():
    for name in ('tiny', 'small_vgg'):
        assert prediction.predictor(name, keras)().shape == prediction.plain_predictor(name)().shape
    for name, size in (('tiny', 1), ('mlp_32', 10)):
        for found in (prediction.plain_caller(name)(), prediction.caller(name, 'predict', keras)(),
                      prediction.caller(name, 'predict_on_batch', keras)()):
            assert np.shape(found) == (prediction.CALLS, 1, size)


def test_outputs_of_the_bare_modules_are_probabilities():
    for name in ('mlp_32', 'lstm', 'small_vgg'):
        y = prediction.plain_predictor(name)()
        assert y.min() >= 0 and y.max() <= 1
        assert y.shape[1] == 1 or np.allclose(y.sum(1), 1, atol=1e-5)


def test_sides_have_as_many_threads_as_asked_for(pytestconfig):
    code = ('import torch, sys; from benchmarks import side; '
            'side.runner = lambda *_: lambda: print("threads:", torch.get_num_threads()); side.main("plain", "tiny")')
    for count in (1, 2):
        process = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, input='run\n',
                                 cwd=pytestconfig.rootpath, env={**os.environ, **side.threads_in(count)})
        assert f'threads: {count}' in process.stderr
        assert len(process.stdout.split()) == 2
