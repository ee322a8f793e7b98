"""Runs the comparisons and prints them as tables; see `python -m benchmarks --help`."""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from benchmarks import images
from benchmarks.side import ONE_THREAD
from benchmarks.workloads import WORKLOADS

ROOT = pathlib.Path(__file__).resolve().parent.parent
_IMPORT = ('import time; start = time.process_time(); import torch; middle = time.process_time(); import kfacade; '
           'print(middle - start, time.process_time() - middle)')


class Side:
    """A process that does one run of a workload at each call and gives its CPU time in seconds."""

    def __init__(self, python, side, name):
        self.process = subprocess.Popen(
            [python, '-m', 'benchmarks.side', side, name], cwd=ROOT, env={**os.environ, **ONE_THREAD}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __call__(self):
        try:
            self.process.stdin.write('run\n')
            self.process.stdin.flush()
            return float(self.process.stdout.readline())
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


def training(names, peers, runs):
    """Prints CPU time per step, and its ratio to plain PyTorch, a line for each workload."""
    heads = ['kfacade', *(pathlib.Path(peer).parent.parent.name or peer for peer in peers)]
    print(f'\nTraining, CPU ms a step, one thread (medians of {runs} alternating runs) and ratio to plain PyTorch')
    print(f'{"workload":12}{"batch":>6}{"plain":>10}' + ''.join(f'{head[:16]:>18}' for head in heads))
    for name in names:
        workload = WORKLOADS[name]
        sides = [Side(sys.executable, 'plain', name), Side(sys.executable, 'kfacade', name)]
        plain, *others = alternate(sides + [Side(peer, 'peer', name) for peer in peers], runs)
        steps = -(-workload.samples // workload.batch_size)
        print(f'{name:12}{workload.batch_size:6}{1000 * plain / steps:10.3f}' + ''.join(
            f'{1000 * other / steps:11.3f} {other / plain:5.2f}x' for other in others), flush=True)


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
    names = [*WORKLOADS, 'import', 'build', 'load', 'images', 'generator']
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=(
        'kfacade beside the plain PyTorch loop: same data, batch size and steps, one thread, CPU time.'))
    parser.add_argument('--only', action='append', choices=names, metavar='NAME', help=(
        f'one of {", ".join(names)}; repeatable'))
    parser.add_argument('--runs', type=int, default=7, help='counted runs of each side (default: 7)')
    parser.add_argument('--peer', action='append', default=[], metavar='PYTHON', help=(
        'an interpreter with tf_keras or Keras 3 (on torch) in which the same Keras source is run, too (for images: '
        'with keras_preprocessing); repeatable'))
    options = parser.parse_args()
    chosen = options.only or names
    workloads = [name for name in WORKLOADS if name in chosen]
    if workloads:
        training(workloads, options.peer, options.runs)
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
