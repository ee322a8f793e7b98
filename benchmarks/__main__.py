"""Runs the comparisons and prints them as tables; see `python -m benchmarks --help`."""
import argparse
import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import images, prediction
from benchmarks.side import threads_in
from benchmarks.workloads import WORKLOADS

ROOT = pathlib.Path(__file__).resolve().parent.parent
_IMPORT = ('import time; start = time.process_time(); import torch; middle = time.process_time(); import kfacade; '
           'print(middle - start, time.process_time() - middle)')


# What kfacade sets for its process (`engine/memory.py`), as one sets it for any.
KEPT_MEMORY = {'MALLOC_TRIM_THRESHOLD_': str(1 << 30), 'MALLOC_MMAP_THRESHOLD_': str(64 << 20)}
_VERSION = """
try:
    import tf_keras as keras
except ImportError:
    import keras
print(keras.__name__, keras.__version__)
"""
# Means leave out the plain loops that compute something else, and are also given without what is far from the others.
OTHER_ARITHMETIC, APART = {'lstm_default'}, 'mlp_32'
COMPILED = {'tiny'}  # on a GPU, with CUDA graphs, too


class Side:
    """A process that does one run of a workload at each call and gives its time in seconds (see `side.py`).

    `memory`: by how many MB it has grown in its runs, at most. `threads`: how many all sides have.
    """

    threads = 1

    def __init__(self, python, side, name, device='cpu', env=None):
        hidden = {'CUDA_VISIBLE_DEVICES': ''} if device == 'cpu' else {}
        self.process = subprocess.Popen(
            [python, '-m', 'benchmarks.side', side, name, device], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={
                **os.environ, **threads_in(self.threads), **hidden, **(env or {})})

    def __call__(self):
        try:
            self.process.stdin.write('run\n')
            self.process.stdin.flush()
            seconds, self.memory = map(float, self.process.stdout.readline().split())
            return seconds
        except (BrokenPipeError, ValueError):
            raise SystemExit(f'{" ".join(self.process.args)} failed:\n{self.process.communicate()[1]}') from None

    def close(self):
        self.process.communicate()


def alternate(sides, runs):
    """The median CPU seconds of each side over alternating runs, after one run each that is not counted."""
    try:
        for side in sides:
            side()
        times = [[side() for side in sides] for _ in range(runs)]
    finally:
        for side in sides:
            side.close()
    return [statistics.median(column) for column in zip(*times)]


def versions(peers):
    """The name and version of the Keras in each peer's environment."""
    env = {**os.environ, 'KERAS_BACKEND': 'torch'}
    return [subprocess.run([peer, '-c', _VERSION], env=env, check=True, text=True, capture_output=True).stdout.strip()
            for peer in peers]


def processor():
    """The processor's name, as the system gives it."""
    try:
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def training(names, peers, runs, device='cpu'):
    """The lines of a table in Markdown: time per step and its ratio to plain PyTorch; prints them as they are found."""
    import torch

    from benchmarks import counts, plain
    torch.set_num_threads(1)
    on_cpu = device == 'cpu' and Side.threads == 1
    more = {} if device == 'cpu' else {'kfacade=arrays': names, 'kfacade=compiled': COMPILED}
    heads = ['workload', 'batch', 'plain', *(['plain, `MALLOC_*`'] if on_cpu else []), 'kfacade', *versions(peers),
             *(['products alone'] if on_cpu else []), *(['kfacade, arrays', 'kfacade, `jit_compile`'] if more else [])]
    what = _clock('a step') if device == 'cpu' else f'Wall ms a step on {torch.cuda.get_device_name()}'
    lines = [f'{what} (medians of {runs} alternating runs), and the ratio to the plain PyTorch loop:', '',
             f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    print('\n' + '\n'.join(lines), flush=True)
    ratios, memory, tensors, speed = {}, [], [], plain.product_speed() if on_cpu else None
    for name in names:
        workload = WORKLOADS[name]
        sides = [Side(sys.executable, 'plain', name, device),
                 *([Side(sys.executable, 'plain', name, device, KEPT_MEMORY)] if on_cpu else []),
                 Side(sys.executable, 'kfacade', name, device), *(Side(peer, 'peer', name, device) for peer in peers),
                 *(Side(sys.executable, way, name, device) for way in more if name in more[way])]
        steps = -(-workload.samples // workload.batch_size)
        times = [seconds / steps for seconds in alternate(sides, runs)]
        memory.append(f'{name} {sides[0].memory:.0f} and {sides[1 + on_cpu].memory:.0f}')
        if on_cpu:
            of_plain, ours = counts.peaks(name)
            tensors.append(f'{name} {of_plain / 2 ** 20:.2f} and {ours / 2 ** 20:.2f} ({ours / of_plain:.2f})')
            times.append(plain.products(name, workload, *workload.data(np.random.RandomState(0), 512)) / speed)
        ratios[name] = [t / times[0] for t in times]
        cells = [f'{1000 * t:.3f} ({ratio:.2f})' for t, ratio in zip(times[1:], ratios[name][1:])]
        cells += [''] * (len(heads) - 3 - len(cells))
        lines.append(f'| {name} | {workload.batch_size} | {1000 * times[0]:.3f} | {" | ".join(cells)} |')
        print(lines[-1], flush=True)
    same = [name for name in names if name not in OTHER_ARITHMETIC]
    for title, chosen in (('geometric mean', same),
                          (f'without {APART}', [name for name in same if name != APART] if APART in same else [])):
        if len(chosen) > 1:
            columns = zip(*(ratios[name] for name in chosen))
            means = [f'{statistics.geometric_mean(column):.2f}' for column in columns]
            if on_cpu:
                means[-1] = ''  # there is next to nothing to multiply in the smallest
            means += [''] * (len(heads) - 2 - len(means))
            lines.append(f'| {title} | | {" | ".join(means)} |')
            print(lines[-1], flush=True)
    if on_cpu:
        lines += ['', f'"products alone" is what the matrix products and convolutions of a step would take at the '
                      f'{speed / 1e9:.0f} GFLOP/s that a product of large matrices reaches here.']
        print('\n'.join(lines[-2:]))
    if on_cpu:
        print(f'\nMB of tensors at the peak of two steps, plain and kfacade: {", ".join(tensors)}')
    print(f'\nMB by which the plain process and that of kfacade have grown, at most: {", ".join(memory)}')
    return lines


def _clock(what):
    """What is measured on a CPU, in words."""
    return f'CPU ms {what}, one thread' if Side.threads == 1 else f'Wall ms {what}, {Side.threads} threads'


def predicting(names, peers, runs):
    """The lines of a table in Markdown: time to predict, and its ratio to a plain loop under `inference_mode`.

    Then those of another one, of calls on single samples.
    """
    lines = [f'{_clock("to predict")} (medians of {runs} alternating runs), and the ratio to a plain loop under '
             '`inference_mode`, channels last:', '',
             f'| {" | ".join(["network", "samples", "batch", "plain", "kfacade", *versions(peers)])} |',
             '|---' * (5 + len(peers)) + '|']
    print('\n' + '\n'.join(lines), flush=True)
    for name in names:
        x, size = prediction.data(name)
        sides = [Side(python, side, f'predict={name}') for python, side in (
            (sys.executable, 'plain'), (sys.executable, 'kfacade'), *((peer, 'peer') for peer in peers))]
        plain, *others = alternate(sides, runs)
        cells = [f'{1000 * t:.1f} ({t / plain:.2f})' for t in others]
        lines.append(f'| {name} | {len(x)} | {size} | {1000 * plain:.1f} | {" | ".join(cells)} |')
        print(lines[-1], flush=True)
    heads = ['network', 'bare module', 'predict', 'predict_on_batch', *(f'predict of {x}' for x in versions(peers))]
    lines += ['', f'{_clock("a call on a single sample")}, and the ratio to the bare module:', '',
              f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    print('\n'.join(lines[-5:]), flush=True)
    for name in prediction.SINGLE:
        sides = [Side(sys.executable, 'plain', f'single=={name}'),
                 *(Side(sys.executable, 'kfacade', f'single={method}={name}') for method in heads[2:4]),
                 *(Side(peer, 'peer', f'single=predict={name}') for peer in peers)]
        plain, *others = [1000 * t / prediction.CALLS for t in alternate(sides, runs)]
        lines.append(f'| {name} | {plain:.3f} | {" | ".join(f"{t:.3f} ({t / plain:.2f})" for t in others)} |')
        print(lines[-1], flush=True)
    return lines


def write(path, lines):
    """Writes the lines to a file, under what they were measured with."""
    import torch
    command = ' '.join(['python -m benchmarks', *('PYTHON' if os.path.isfile(a) else a for a in sys.argv[1:])])
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([
        f'`{command}`, {datetime.date.today()}: {processor()}, Python {platform.python_version()}, torch '
        f'{torch.__version__}. ' + lines[0], *lines[1:]]) + '\n')
    print(f'\nWritten to {path}')


def import_time(runs):
    """Prints what importing kfacade adds to importing torch."""
    command = [sys.executable, '-c', _IMPORT]
    outputs = [subprocess.check_output(command, cwd=ROOT, text=True).split() for _ in range(runs)]
    torch, kfacade = (statistics.median(map(float, column)) for column in zip(*outputs))
    print(f'\nImport, CPU s: torch {torch:.2f}, kfacade adds {kfacade:.2f}')


def build_time(peers, runs):
    """Prints how long building a graph of the size of ResNet50 takes."""
    print('\nBuilding the 175 layers of ResNet50, CPU s:')
    print(f'kfacade: {alternate([Side(sys.executable, "kfacade", "build")], runs)[0]:.2f}', flush=True)
    for peer in peers:
        print(f'{peer}: {alternate([Side(peer, "peer", "build")], runs)[0]:.2f}', flush=True)


def load_time(runs):
    """Prints how long loading weights of VGG16's size takes, and its ratio to h5py reading the arrays."""
    with tempfile.TemporaryDirectory() as folder:
        name = f'load={folder}/weights.h5'
        ours = Side(sys.executable, 'kfacade', name)
        ours()  # which writes the file first
        plain, kfacade = alternate([Side(sys.executable, 'plain', name), ours], runs)
    print(f'\nLoading 528 MB of weights, CPU s: h5py reads them in {plain:.3f}, kfacade loads them in {kfacade:.3f}, '
          f'{kfacade / plain:.2f}x')


def image_time(peers, runs):
    """Prints how long decoding and transforming a photograph takes, here and in the keras_preprocessing of peers."""
    count = 64
    with tempfile.TemporaryDirectory() as folder:
        images.write_photographs(folder, count, 256)
        name = f'images={folder}'
        sides = [Side(sys.executable, 'kfacade', name), *(Side(peer, 'peer', name) for peer in peers)]
        ours, *others = alternate(sides, runs)
    print('\nDecoding a JPEG file to 224x224 pixels, with all usual transforms, CPU ms an image')
    print(f'kfacade: {1000 * ours / count:.2f}')
    for peer, other in zip(peers, others):
        print(f'keras_preprocessing of {peer}: {1000 * other / count:.2f}, kfacade takes {ours / other:.2f}x')


def generator_speed(runs):
    """Prints the steps per second of training on image files, and their ratio to training on the same in memory."""
    import torch

    import kfacade
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images.write_photographs(folder, 320, 96)
        memory, files = images.steps_per_second(kfacade, folder, 2, runs)
    ratio = statistics.median(file / array for file, array in zip(files, memory))
    print(f'\nSteps a second, wall time, on two idle cores: {statistics.median(memory):.1f} with fit on arrays, '
          f'{statistics.median(files):.1f} with fit_generator on image files, workers=2: {ratio:.2f}x')


def main():
    names = [*WORKLOADS, 'predict', 'import', 'build', 'load', 'images', 'generator']
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=(
        'kfacade beside the plain PyTorch loop: same data, batch size and steps; one thread, CPU time.'))
    parser.add_argument('--only', action='append', choices=names, metavar='NAME', help=(
        f'one of {", ".join(names)}; repeatable'))
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'], help=(
        'where to train; on cuda, wall time, nothing but training, and more columns: with arrays on the CPU, and with '
        'jit_compile'))
    parser.add_argument('--markdown', default='build/benchmarks.md', metavar='FILE', help=(
        'where the table of the workloads goes, with date, versions and processor (default: build/benchmarks.md)'))
    parser.add_argument('--runs', type=int, default=7, help='counted runs of each side (default: 7)')
    parser.add_argument('--peer', action='append', default=[], metavar='PYTHON', help=(
        'an interpreter with tf_keras or Keras 3 (on torch) in which the same Keras source is run, too (for images: '
        'with keras_preprocessing); repeatable'))
    parser.add_argument('--threads', type=int, default=1, metavar='N', help=(
        'how many each side has; with more than one, wall time (default: 1)'))
    parser.add_argument('--check', action='store_true', help=(
        'count the work of a step (ops, copies, allocations, Python calls) instead of timing it, and fail where it is '
        'more than the bounds in benchmarks/bounds.json'))
    parser.add_argument('--write-bounds', action='store_true', help='make the counts of now those bounds')
    options = parser.parse_args()
    Side.threads = options.threads
    if options.check or options.write_bounds:
        from benchmarks import counts
        if options.write_bounds:
            counts.write()
        lines = counts.exceeded([name for name in counts.CHECKED if name in (options.only or names)])
        raise SystemExit('\n'.join(lines) or print('No step costs more than its bounds.'))
    chosen = options.only or (names if options.device == 'cpu' else list(WORKLOADS))
    workloads = [name for name in WORKLOADS if name in chosen]
    if workloads:
        lines = training(workloads, options.peer, options.runs, options.device)
        write(options.markdown, lines)
    if 'predict' in chosen:
        path = pathlib.Path(options.markdown)
        write(path.with_stem(f'{path.stem}-predict'), predicting(prediction.NAMES, options.peer, options.runs))
    if 'import' in chosen:
        import_time(options.runs)
    if 'build' in chosen:
        build_time(options.peer, options.runs)
    if 'load' in chosen:
        load_time(options.runs)
    if 'images' in chosen:
        image_time(options.peer, options.runs)
    if 'generator' in chosen:
        generator_speed(options.runs)


if __name__ == '__main__':
    main()
