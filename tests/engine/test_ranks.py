"""Training by several real processes: the same numbers as by one, files and messages once, no rank left hanging."""
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent / 'ranks'
TORCHRUN = '-m torch.distributed.run --rdzv-backend c10d --rdzv-endpoint localhost:0 --nproc-per-node'.split()
SAME = ('dense weighted masked several generator sequence custom variational penalized adversarial stateful stepped '
        'shuffled placed own_placed once_synchronized twice_synchronized').split()


def start(script, folder, processes, *launcher):
    root = str(FOLDER.parent.parent.parent)
    environment = {**os.environ, 'CASES_OUT': str(folder), 'OMP_NUM_THREADS': '1', 'KERAS_HOME': str(folder / 'home'),
                   'PYTHONPATH': os.pathsep.join([root, os.environ.get('PYTHONPATH', '')])}
    if processes > 1:
        environment.update({'KERAS_VIRTUAL_DEVICES': '2'} if processes == 2 else {'CASES_BOARD': '1'})
    torchrun = [*TORCHRUN, str(processes)] if processes > 1 else []
    return subprocess.Popen([sys.executable, *torchrun, *launcher, str(FOLDER / script)], env=environment, cwd=folder,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    try:
        return *process.communicate(timeout=600), process.returncode
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """By number of processes: the folder, what each rank kept, and what was printed."""
    folders = {n: tmp_path_factory.mktemp(f'ranks_{n}') for n in (1, 2, 3)}
    processes = {n: start('cases.py', folder, n, '-m', 'kfacade') for n, folder in folders.items()}
    ends, found = {n: finish(process) for n, process in processes.items()}, {}
    for n, (output, errors, code) in ends.items():
        assert code == 0, errors
        kept = [dict(np.load(path)) for path in sorted(folders[n].glob('*.npz'))]
        assert len(kept) == n
        found[n] = folders[n], kept, output
    return found


def of(case, kept):
    return {name: value for name, value in kept.items() if name.partition('/')[0] == case}


@pytest.mark.parametrize('n', [2, 3])
@pytest.mark.parametrize('case', SAME)
def test_several_processes_give_the_numbers_of_one(runs, case, n):
    alone = of(case, runs[1][1][0])
    assert len(alone) >= 2
    for kept in runs[n][1]:
        for name, value in alone.items():
            np.testing.assert_allclose(kept[name], value, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('n', [2, 3])
def test_all_ranks_have_the_same_numbers_to_the_bit(runs, n):
    first, *others = runs[n][1]
    assert {'unseeded', 'once_apart', 'twice_apart', 'mixed'} <= {name.partition('/')[0] for name in first}
    for kept in others:
        for name, value in first.items():
            np.testing.assert_array_equal(kept[name], value, err_msg=name)


@pytest.mark.parametrize('n', [1, 2, 3])
def test_batch_normalization_takes_the_statistics_of_each_rank(runs, n):
    """... unless it is told to synchronize; its averages follow the mean of them, by the samples of each."""
    x, *found = (runs[n][1][0][f'statistics/{name}'] for name in ('x', 'loss', 'mean', 'variance'))
    parts = [x[11 * rank // n:11 * (rank + 1) // n] for rank in range(n)]
    loss = np.mean((np.concatenate([(p - p.mean(0)) / np.sqrt(p.var(0) + 1e-3) for p in parts]) - x) ** 2)
    variance = sum(p.var(0) * len(p) / (len(p) - 1.001) * len(p) for p in parts) / 11
    for value, wanted in zip(found, (loss, x.mean(0), variance)):
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_files_and_messages_are_those_of_one_process(runs):
    (_, _, alone), (folder, _, output) = runs[1], runs[3]
    for text in ('Epoch', 'Downloading', 'Total params', 'Train on', 'saving model', 'ReduceLROnPlateau', '40/40'):
        assert output.count(text) == alone.count(text) > 0, text
    assert len((folder / 'log.csv').read_text().splitlines()) == 5
    assert len(list((folder / 'board').iterdir())) == 1
    with h5py.File(folder / 'best.h5') as file:
        assert 'optimizer_weights' in file
    assert not list(folder.glob('.kfacade*'))


def test_what_happens_on_one_rank_alone_hangs_nobody(tmp_path):
    _, errors, code = finish(start('failing.py', tmp_path, 2, '-m', 'kfacade'))
    assert code and 'the disk of rank 1' in errors
    assert (tmp_path / 'alone.h5').exists()


def test_models_in_distributed_data_parallel(tmp_path):
    _, errors, code = finish(start('plain_loop.py', tmp_path, 2))
    assert code == 0, errors
