"""Saving to a path: what is there stays whole, and what it is: a pipe, a device, a file of several names."""
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from kfacade import layers
from kfacade.models import Sequential, load_model

SUFFIXES = ['.h5', '.pt', '.safetensors']


def model():
    return Sequential([layers.Dense(2, input_shape=(3,), name='d')])


def saved_equals(path, made):
    again = model()
    again.load_weights(str(path))
    return all(map(np.array_equal, again.get_weights(), made.get_weights()))


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_pipe_is_written_into(tmp_path, suffix):
    made, pipe, got = model(), tmp_path / f'pipe{suffix}', []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    made.save_weights(str(pipe))
    reader.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode) and os.listdir(tmp_path) == [pipe.name]
    (tmp_path / f'copy{suffix}').write_bytes(got[0])
    assert saved_equals(tmp_path / f'copy{suffix}', made)


@pytest.mark.parametrize('link', [False, True])
def test_a_device_stays_one(tmp_path, link):
    node = path = tmp_path / 'node.h5'
    try:
        os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as the null device
        with open(node, 'wb'):
            pass
    except OSError as error:
        pytest.skip(f'no device can be made here: {error}')
    if link:
        path = tmp_path / 'link.h5'
        path.symlink_to(node)
    model().save(str(path))
    model().save_weights(str(path), overwrite=False)  # there is nothing to lose
    assert stat.S_ISCHR(node.stat().st_mode) and path.is_symlink() == link
    assert sorted(os.listdir(tmp_path)) == sorted({node.name, path.name})


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('size', [0, 10 ** 6])
def test_all_names_of_a_file_show_what_was_saved(tmp_path, suffix, size):
    made, path, other = model(), tmp_path / f'a{suffix}', tmp_path / f'b{suffix}'
    other.write_bytes(bytes(size))
    os.link(other, path)
    made.save_weights(str(path))
    assert path.samefile(other) and path.stat().st_nlink == 2 and path.stat().st_size < 10 ** 5
    assert saved_equals(other, made) and sorted(os.listdir(tmp_path)) == [path.name, other.name]


def test_links_lead_to_the_file_that_is_replaced(tmp_path):
    made, path = model(), tmp_path / 'link.h5'
    path.symlink_to('new.h5')
    for _ in range(2):  # to a file that is not there, and to one that is
        made.save(str(path))
        assert path.is_symlink() and sorted(os.listdir(tmp_path)) == ['link.h5', 'new.h5']
    assert all(map(np.array_equal, load_model(path, compile=False).get_weights(), made.get_weights()))


def test_a_full_disk_leaves_a_file_of_two_names_whole(tmp_path):
    """There is no room for what is written into it, though there was for the temporary file."""
    path, error = tmp_path / 'a.h5', OSError(28, 'No space left on device')
    path.write_bytes(b'old')
    os.link(path, tmp_path / 'b.h5')

    def full(number, start, size):
        os.ftruncate(number, size // 2)  # as far as there was room
        raise error
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError) as raised:
        patch.setattr(os, 'posix_fallocate', full)
        model().save(str(path))
    assert raised.value is error and path.read_bytes() == b'old' and sorted(os.listdir(tmp_path)) == ['a.h5', 'b.h5']


def test_a_temporary_file_in_use_is_left_alone(tmp_path):
    made = model()

    class Slow(type(made.layers[0])):
        """Saves another file while it is saved."""

        @property
        def weights(self):
            if not inner:
                inner.append(True)
                made.save_weights(str(tmp_path / 'other.h5'))
                inner.append(len(list(tmp_path.glob('.kfacade-*.tmp'))))
            return super().weights
    inner = []
    slow = Sequential([Slow(2, input_shape=(3,))])
    inner.clear()
    slow.save_weights(str(tmp_path / 'a.h5'))
    assert inner == [True, 1] and sorted(os.listdir(tmp_path)) == ['a.h5', 'other.h5']


def _kill(count, seed, timeout):
    script = Path(__file__).with_name('kill_saves.py')
    done = subprocess.run([sys.executable, str(script), '--count', str(count), '--seed', str(seed)],
                          capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, 'PYTHONPATH': str(script.parents[2])})
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_killed_saves_leave_nothing_behind_the_next():
    _kill(10, 3, 200)


@pytest.mark.slow
def test_many_killed_saves():
    _kill(100, 4, 600)
