"""Work counted instead of time: what a step costs in ops, copies, allocations and Python calls, against stored bounds.

The count of a step is the difference between a long and a short run over the number of steps between them, so that what
happens once does not count. The bounds are the counts when they were last written (`python -m benchmarks
--write-bounds`), the larger ones of those with and without the products that only some processors are given.
"""
import contextlib
import itertools
import json
import pathlib
import sys
import tempfile
import unittest.mock

import numpy as np
import torch

import kfacade
from benchmarks import plain
from benchmarks.workloads import WORKLOADS
from kfacade.backend import private_ops

BOUNDS = pathlib.Path(__file__).with_name('bounds.json')
CHECKED = 'tiny', 'mlp_32', 'mnist_cnn', 'bn_convnet', 'lstm', 'gru'
BATCH, SHORT, LONG = 16, 1, 3  # samples in a step, and steps of the two runs
KINDS = 'ops', 'copies', 'allocations', 'kilobytes allocated', 'Python calls'
_COPIES = {'aten::copy_', 'aten::clone'}


def _calls(function):
    """How many Python functions a call of `function` calls."""
    count = 0

    def see(frame, event, _):
        nonlocal count
        count += event == 'call'
    outer = sys.getprofile()
    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(outer)
    return count


def _work(function):
    """The `KINDS` of work in a call of `function`. Allocations are ops that leave more memory taken than before."""
    function()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True,
                                acc_events=True) as found:
        function()
    names = [event.name for event in found.events()]
    allocated = [size for event in found.events() if (size := event.self_cpu_memory_usage) > 0]
    return np.array([sum('::' in name and not name.startswith('autograd') for name in names),
                     sum(name in _COPIES for name in names), len(allocated), sum(allocated) / 1024, _calls(function)])


def peak(function):
    """The most bytes that tensors take at once in a call, beyond what they took before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True,
                                acc_events=True) as found:
        function()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, 'trace.json')
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    changes = [(event['ts'], event['args']['Bytes']) for event in events if event.get('name') == '[memory]']
    changes.sort(key=lambda change: change[0])
    return max(itertools.accumulate(size for _, size in changes))


def peaks(name):
    """`peak` of the first two steps of the plain loop and of `fit`: with the optimizer's tensors, without the model."""
    workload = WORKLOADS[name]
    x, y = workload.data(np.random.RandomState(0), 2 * workload.batch_size)
    train, model = plain.trainer(name, workload, x, y), workload.build(kfacade)
    return peak(train), peak(lambda: model.fit(x, y, workload.batch_size, verbose=0))


def _per_step(run, workload):
    """The counts of a step of ``run(x, y)``, which cuts its data into batches."""
    data = workload.data(np.random.RandomState(0), LONG * BATCH)
    short, long = (_work(lambda n=n: run(*(array[:n * BATCH] for array in data))) for n in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def _per_call(run, workload, samples):
    data = workload.data(np.random.RandomState(0), samples)
    return _work(lambda: run(*data))


def measured(name):
    """Task -> kind of work -> its count: for a step of training and evaluating, and for calls on a few samples."""
    workload = WORKLOADS[name]
    model = workload.build(kfacade)
    found = {
        'fit': _per_step(lambda x, y: model.fit(x, y, BATCH, shuffle=False, verbose=0), workload),
        'evaluate': _per_step(lambda x, y: model.evaluate(x, y, BATCH, verbose=0), workload),
        'train_on_batch': _per_call(model.train_on_batch, workload, BATCH),
        'predict': _per_call(lambda x, y: model.predict(x, 8), workload, 40),
        'predict of one sample': _per_call(lambda x, y: model.predict(x), workload, 1),
        'predict_on_batch of one sample': _per_call(lambda x, y: model.predict_on_batch(x), workload, 1)}
    return {task: dict(zip(KINDS, np.ceil(counts).astype(int).tolist())) for task, counts in found.items()}


def building():
    """Python calls a layer to build and compile a chain, and to build it from a config that lists its layers backwards.

    Of a long one over a short one: 1 while they are linear.
    """
    def build(n):
        x = first = kfacade.layers.Input((4,))
        for _ in range(n):
            x = kfacade.layers.Dense(4)(x)
        model = kfacade.models.Model(first, x)
        model.compile('sgd', 'mse')
        config = model.get_config()
        config['layers'].reverse()
        kfacade.models.Model.from_config(config)
    build(3)
    return (_calls(lambda: build(200)) / 200) / (_calls(lambda: build(50)) / 50)


@contextlib.contextmanager
def _products(private):
    with unittest.mock.patch.multiple(
            private_ops, prefers_onednn=lambda: private, amd_family=lambda: 26 if private else 0):
        yield


def write():
    """Measures all workloads and stores the counts as the bounds from now on."""
    bounds = {}
    for name in CHECKED:
        for private in (False, True):
            with _products(private and bool(private_ops._onednn_linear)):
                for task, counts in measured(name).items():
                    kept = bounds.setdefault(name, {}).setdefault(task, counts)
                    kept.update({kind: max(count, kept[kind]) for kind, count in counts.items()})
    versions = {'torch': torch.__version__.split('+')[0], 'python': list(sys.version_info[:2])}
    BOUNDS.write_text(json.dumps({'versions': versions, 'bounds': bounds}, indent=1) + '\n')


def exceeded(names=CHECKED):
    """A line for each count above its bound by more than 2 %, or 25 % with other versions of torch and Python."""
    stored = json.loads(BOUNDS.read_text())
    same = stored['versions'] == {'torch': torch.__version__.split('+')[0], 'python': list(sys.version_info[:2])}
    lines = []
    for name in names:
        for task, counts in measured(name).items():
            for kind, count in counts.items():
                bound = stored['bounds'][name][task][kind]
                if count > bound * (1.02 if same else 1.25):
                    lines.append(f'{name}, {task}: {count} {kind}, at most {bound} are allowed')
    if (ratio := building()) > 1.1:
        lines.append(f'Building: {ratio:.2f} times the calls a layer in a chain four times as long')
    return lines
