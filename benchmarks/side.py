"""One side of a comparison, in a process of its own: `python -m benchmarks.side SIDE WORKLOAD [DEVICE]`.

SIDE is plain, kfacade, or peer (tf_keras or keras, as the interpreter has it). On another device than the CPU, the
plain loop and kfacade are given data that lies there; kfacade=arrays is given arrays, whose batches go there one by
one, and kfacade=compiled trains with `jit_compile`. Each line on stdin asks for one run (one pass of training); the
answer is its CPU time in seconds (with more threads than one, the wall time; on another device than the CPU, that until
it has finished), and by how many MB the process has grown, at most, since before the first run. `build` in WORKLOAD's
place builds a ResNet50-sized graph; `load=PATH` loads weights of VGG16's size from PATH, where kfacade first writes
them, or, if SIDE is plain, reads the arrays with h5py alone. `images=FOLDER` decodes and transforms the photographs
there, a peer with keras_preprocessing. `predict=WORKLOAD` predicts, and `single=METHOD=WORKLOAD` calls a method on
single samples (see `prediction.py`).
"""
import importlib
import os
import resource
import sys
import time

import numpy as np

from benchmarks.workloads import WORKLOADS, resnet50, vgg16


def threads_in(count):
    """The environment in which torch and TensorFlow start with so many threads."""
    return dict.fromkeys(['OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS',
                          'TF_NUM_INTEROP_THREADS'], str(count))


def _keras(side):
    if side == 'kfacade':
        import kfacade
        return kfacade
    os.environ.setdefault('KERAS_BACKEND', 'torch')  # under Keras 3
    try:
        import tf_keras
        return tf_keras
    except ImportError:
        import keras
        return keras


def _loader(side, path):
    if side == 'plain':
        import h5py

        def read():
            arrays = []
            with h5py.File(path) as f:
                f.visititems(lambda _, item: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None)
        return read
    model = vgg16(_keras(side))
    model.save_weights(path)
    return lambda: model.load_weights(path)


def runner(side, name, device='cpu'):
    """A function that does one run."""
    side, _, way = side.partition('=')
    if name.startswith('load='):
        return _loader(side, name.removeprefix('load='))
    if name.startswith('images='):
        from benchmarks import images
        package = 'kfacade.preprocessing.image' if side == 'kfacade' else 'keras_preprocessing.image'
        return images.reader(importlib.import_module(package), name[len('images='):])
    if name.startswith('predict='):
        from benchmarks import prediction
        name = name.removeprefix('predict=')
        return prediction.plain_predictor(name) if side == 'plain' else prediction.predictor(name, _keras(side))
    if name.startswith('single='):
        from benchmarks import prediction
        _, method, name = name.split('=')
        return prediction.plain_caller(name) if side == 'plain' else prediction.caller(name, method, _keras(side))
    if name == 'build':
        keras = _keras(side)
        return lambda: resnet50(keras)
    workload = WORKLOADS[name]
    x, y = workload.data(np.random.RandomState(0), workload.samples)
    if side == 'plain':
        from benchmarks import plain
        return plain.trainer(name, workload, x, y, device)
    model = workload.build(_keras(side))
    if way == 'compiled':
        model.compile(model.optimizer, model.loss, model.metrics, jit_compile=True)
    if device != 'cpu' and side == 'kfacade' and way != 'arrays':
        import torch

        from kfacade.backend import devices
        x, y = (devices.put(torch.from_numpy(array), devices.default_device()) for array in (x, y))
    return lambda: model.fit(x, y, batch_size=workload.batch_size, epochs=1, shuffle=True, verbose=0)


def _peak():
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == 'darwin' else 10))


def main(side, name, device='cpu'):
    answers, sys.stdout = sys.stdout, sys.stderr
    threads = int(os.environ.setdefault('OMP_NUM_THREADS', '1'))
    run = runner(side, name, device)
    torch = sys.modules.get('torch')
    clock = time.process_time if device == 'cpu' and threads == 1 else time.perf_counter
    if torch:
        torch.set_num_threads(threads)
    memory = _peak()
    for _ in sys.stdin:
        start = clock()
        run()
        if torch and device != 'cpu':
            torch.cuda.synchronize()
        print(clock() - start, _peak() - memory, file=answers, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
