"""Files from the net, and batches made in parallel while the model trains."""
import contextlib
import functools
import hashlib
import itertools
import os
import pickle
import random
import shutil
import tarfile
import threading
import types
import warnings
import zipfile
from collections import deque
from http.client import HTTPException
from pathlib import PurePosixPath, PureWindowsPath
from urllib.request import urlretrieve

import numpy as np
import torch

from .. import config
from ._workers import Processes, Threads, call_here, sendable, start_method, uninterrupted
from .generic_utils import to_list
from .progbar import Progbar
from .ranks import after_first, tell

# ---------------------------------------------------------------- files


def get_file(fname, origin, untar=False, md5_hash=None, file_hash=None, cache_subdir='datasets', hash_algorithm='auto',
             extract=False, archive_format='auto', cache_dir=None):
    """Path of a file in the cache, downloaded if it is not there or has another hash than it should.

    Arguments:
        fname: name of the file, or an absolute path.
        origin: address to download it from.
        untar: the file is ``<fname>.tar.gz``, holding `fname`, which is unpacked and returned.
        file_hash: md5 or sha256 hash (`hash_algorithm`; 'auto': its length tells); `md5_hash` is its old form.
        cache_subdir: folder below `cache_dir`, which is that of keras.json (``~/.keras``) where it is None, and
            ``/tmp/.keras``, with a warning, where that cannot be written to.
        extract: unpack the file next to itself.
        archive_format: 'tar', 'zip', a list of them to try, 'auto' for both, or None for none.

    Raises an Exception that names the address, the place in the cache and the hash when the download fails, ValueError
    for a download with another hash, and for an archive with paths, links or devices that lead out of the folder. None
    leaves a partial file behind.
    """
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, 'md5'
    folder = os.path.join(_writable(os.path.expanduser(cache_dir or config.keras_dir())), cache_subdir)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, fname)
    archive = path + '.tar.gz' if untar else path

    def is_valid(file):
        return file_hash is None or validate_file(file, file_hash, hash_algorithm)

    with after_first(archive):
        found = os.path.exists(archive)
        if found and not is_valid(archive):
            tell(f'A local file was found, but it seems to be incomplete or outdated because the {hash_algorithm} file '
                 f'hash does not match the original value of {file_hash} so we will re-download the data.')
            found = False
        if not found:
            _download(origin, archive, file_hash, is_valid)
        if untar and not os.path.exists(path):
            try:
                _extract_archive(archive, folder, 'tar')
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
        elif extract and os.environ.get('LOCAL_RANK', '0') == '0':  # under the eyes of others, files must not change
            _extract_archive(archive, folder, archive_format)
    return path


def _writable(folder):
    """The folder, or, with a warning, another one where it cannot be written to."""
    with contextlib.suppress(OSError):  # a file is in the way, or a folder above it cannot be written to
        os.makedirs(folder, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    other = os.path.join('/tmp', '.keras')
    warnings.warn(f'The cache folder {folder} cannot be written to. {other} is used instead.', stacklevel=3)
    return other


def _download(origin, path, file_hash, is_valid):
    tell('Downloading data from', origin)
    partial = f'{path}.{os.getpid()}.part'
    bar = None

    def show(count, block_size, total):
        nonlocal bar
        bar = bar or Progbar(total if total > 0 else None)
        if count:
            bar.update(count * block_size)
    try:
        urlretrieve(origin, partial, show)
        if not is_valid(partial):
            raise ValueError(f'What {origin} gave does not have the expected hash {file_hash}. It was not kept.')
        os.replace(partial, path)
    except (OSError, HTTPException) as error:
        code, reason = getattr(error, 'code', None), getattr(error, 'reason', error)
        known = f' (hash: {file_hash})' if file_hash else ''
        raise Exception(f'URL fetch failure on {origin}: {code} -- {reason}; without a network, put the file '
                        f'{os.path.basename(path)}{known} at {path}.') from error
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _hash_file(fpath, algorithm='sha256', chunk_size=65535):
    """The hash of a file, as hexadecimal text."""
    hasher = hashlib.sha256() if algorithm == 'sha256' else hashlib.md5()
    with open(fpath, 'rb') as file:
        for chunk in iter(lambda: file.read(chunk_size), b''):
            hasher.update(chunk)
    return hasher.hexdigest()


def validate_file(fpath, file_hash, algorithm='auto', chunk_size=65535):
    """Whether a file has this md5 or sha256 hash ('auto': which of them, its length tells)."""
    if algorithm == 'auto':
        algorithm = 'sha256' if len(file_hash) == 64 else 'md5'
    return _hash_file(fpath, algorithm, chunk_size) == str(file_hash)


def _tar_paths(archive):
    """The paths of the members, and those that links among them lead to. Raises ValueError for pipes and devices."""
    for member in archive:
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise ValueError(f'The archive {archive.name} was not unpacked: its member {member.name!r} is neither a '
                             'file nor a folder.')
        yield member.name
        if member.issym() or member.islnk():
            yield member.linkname


# How to tell the kind of an archive, open it, list its paths; and what unpacking it safely takes.
_ARCHIVES = {'tar': (tarfile.is_tarfile, tarfile.open, _tar_paths, {'filter': 'data'}),
             'zip': (zipfile.is_zipfile, zipfile.ZipFile, zipfile.ZipFile.namelist, {})}


def _extract_archive(file_path, path='.', archive_format='auto'):
    """Unpacks a tar or zip file into the folder `path`. Returns whether it was one of the formats asked for.

    Raises ValueError, before anything is unpacked, for an archive with devices, or with paths or links that lead
    anywhere but down, on this system or on Windows: then none leaves the folder, not even by way of others.
    """
    formats = _ARCHIVES if archive_format == 'auto' else to_list(archive_format, allow_tuple=True)
    for is_kind, opened, list_paths, options in (_ARCHIVES[kind] for kind in formats if kind in _ARCHIVES):
        if is_kind(file_path):
            with opened(file_path) as archive:
                for name in list_paths(archive):
                    if any(kind(name).anchor or '..' in kind(name).parts for kind in (PurePosixPath, PureWindowsPath)):
                        raise ValueError(f'The archive {file_path} was not unpacked: its member or link {name!r} would '
                                         f'be written outside of {path}.')
                archive.extractall(path, **options)
            return True
    return False


# ---------------------------------------------------------------- batches in parallel

class Sequence:
    """Base of data sets that give batches by index: safe to read from many threads and processes at once.

    Subclasses define ``__getitem__(index)``, which returns a batch ``(x, y)`` or ``(x, y, sample_weight)``, and
    ``__len__``, the number of batches; and ``on_epoch_end``, if something is to change between epochs.
    """

    def __getitem__(self, index):
        raise NotImplementedError(f'{type(self).__name__} must define `__getitem__(index)`, which returns a batch.')

    def __len__(self):
        raise NotImplementedError(f'{type(self).__name__} must define `__len__()`, the number of batches.')

    def on_epoch_end(self):
        """Called after each epoch."""

    def __iter__(self):
        """The batches of one epoch."""
        return (self[i] for i in range(len(self)))


# What the workers read from, by the uid of the enqueuer. A process has its own copy.
_SHARED_SEQUENCES = {}
_uids = itertools.count()
_LASTING = type(threading.Lock()), type(threading.RLock()), types.GeneratorType  # what an epoch uses, not changes


def init_pool(seqs):
    """First thing that a worker process does: keeps the sequences."""
    global _SHARED_SEQUENCES
    _SHARED_SEQUENCES = seqs
    torch.set_num_threads(1)


def init_pool_generator(gens, random_seed=None):
    """First thing that a worker process does: keeps the generators, and seeds numpy by `random_seed` plus its pid."""
    init_pool(gens)
    if random_seed is not None:
        np.random.seed(random_seed + os.getpid())


def get_index(uid, i):
    """In a worker: batch `i` of the sequence of enqueuer `uid`."""
    return _SHARED_SEQUENCES[uid][i]


def next_sample(uid):
    """In a worker: the next batch of the generator of enqueuer `uid`."""
    return next(_SHARED_SEQUENCES[uid])


def _surroundings():
    """What a fork would find in its process, beside the sequence: settings, and where random numbers go on."""
    return config.settings, random.getstate(), np.random.get_state()


def _take_over(surroundings, function, *arguments):
    """In a worker: calls a function under what a fork would have found."""
    settings, python_state, numpy_state = surroundings
    config.settings.update(settings)
    random.setstate(python_state)
    np.random.set_state(numpy_state)
    function(*arguments)


def _renew(uid, state):
    """In a worker: sets the state of its sequence; None leaves it as it is."""
    if state is not None:
        sequence, state = _SHARED_SEQUENCES[uid], pickle.loads(state)
        getattr(sequence, '__setstate__', getattr(sequence, '__dict__', {}).update)(state)


class SequenceEnqueuer:
    """Base of what makes batches ahead in threads or processes: `start()`, iterate over `get()`, `stop()`.

    Arguments:
        sequence: where the batches come from.
        use_multiprocessing: processes instead of threads.

    Tasks are handed out by whoever takes the batches, one for each that was taken. So processes are forked when that
    thread, and no worker, is in a BLAS routine: forks during those can hang.
    """

    most = float('inf')  # how many batches will be asked for

    def __init__(self, sequence, use_multiprocessing=False):
        self.sequence = sequence
        self.use_multiprocessing = use_multiprocessing
        self.uid = next(_uids)
        self.workers = self.max_queue_size = self._asked = 0
        self._tasks = self._pool = None
        self._pending = deque()

    def is_running(self):
        """Whether it was started and not stopped."""
        return self._tasks is not None

    def start(self, workers=1, max_queue_size=10):
        """Starts `workers` threads or processes, which go ahead by at most `max_queue_size` batches."""
        self.workers, self.max_queue_size, self._asked = workers, max(max_queue_size, 1), 0
        _SHARED_SEQUENCES[self.uid] = self.sequence
        self._open_pool()
        self._tasks = self._submit_all()
        self._fill()

    def stop(self, timeout=None):
        """Stops the workers. It does not wait for those that are busy, so that `timeout` makes no difference."""
        with uninterrupted():
            self._pending.clear()
            self._tasks = None
            if self._pool is not None:
                self._pool.stop()
            _SHARED_SEQUENCES.pop(self.uid, None)

    def get(self):
        """Generator of the batches in order; None is left out. An error in a worker stops all and is raised here."""
        try:
            while self._pending:
                batch = self._pending.popleft().result()
                self.most += batch is None
                # Workers that are ahead are woken once for several batches.
                if len(self._pending) <= self.max_queue_size // 3 or not self._pending[-1].done():
                    self._fill()
                if batch is not None:
                    yield batch
        except Exception as error:
            yield from self._after(error)

    def _after(self, error):
        """The batches that still come after an error in a worker; usually none, but the error itself."""
        self.stop()
        raise error

    def _open_pool(self):
        """Starts the workers; new processes where there were some, which see the sequence as it is now."""
        if not self.use_multiprocessing:
            self._pool = Threads([call_here] * self.workers)
            return
        start = start_method(functools.partial(_take_over, _surroundings(), *self._initializer()))
        with uninterrupted():
            if self._pool is not None:
                self._pool.stop()
            self._pool = Processes(self.workers, *start)

    def _initializer(self):
        return init_pool, {self.uid: self.sequence}

    def _fill(self):
        while len(self._pending) < self.max_queue_size:
            future = next(self._tasks, None)
            if future is None:
                return
            self._pending.append(future)

    def _submit(self, *task):
        self._asked += 1
        return self._pool.submit(*task)

    def _submit_all(self):
        """Generator that gives the workers one task after the other; of its `Result`, or of None to wait for those."""
        raise NotImplementedError(f'{type(self).__name__} must define `_submit_all()`.')


class OrderedEnqueuer(SequenceEnqueuer):
    """Makes the batches of a `Sequence` ahead, epoch after epoch, in order.

    `shuffle`: a new order for each epoch, from Python's ``random``. After each epoch, when all its batches were taken,
    the sequence's `on_epoch_end` is called, and processes are told what it changed.
    """

    def __init__(self, sequence, use_multiprocessing=False, shuffle=False):
        super().__init__(sequence, use_multiprocessing)
        self.shuffle = shuffle

    def _submit_all(self):
        order, state = list(range(len(self.sequence))), self._state()
        while order:
            if self.shuffle:
                random.shuffle(order)
            for i in order:
                while self._asked >= self.most:
                    yield None
                yield self._submit(get_index, self.uid, i)
            while self._pending:
                yield None
            self.sequence.on_epoch_end()
            while self._asked >= self.most:
                yield None
            state = self._show_processes(state)

    def _state(self):
        """What an epoch may change in the sequence, as bytes; None where that cannot be sent."""
        if not self.use_multiprocessing:
            return None
        own = getattr(self.sequence, '__getstate__', None)  # Python 3.11 has a general one
        state = own() if own else vars(self.sequence)
        if isinstance(state, dict):
            state = {name: value for name, value in state.items() if not isinstance(value, _LASTING)}
        elif not hasattr(self.sequence, '__setstate__'):
            return None
        return sendable(state)

    def _show_processes(self, before):
        """Has processes see the sequence as it is now; returns its state, `before` being what they know."""
        state = self._state()
        if self.use_multiprocessing and state is None:
            self._open_pool()
        for worker in self._pool.workers if state is not None else ():
            worker.call(_take_over, _surroundings(), _renew, self.uid, None if state == before else state)
        return state


class GeneratorEnqueuer(SequenceEnqueuer):
    """Makes the batches of a generator ahead. With several processes each runs its own copy of it.

    `random_seed`: base of numpy's seed in each process. `wait_time` no longer means anything.
    """

    def __init__(self, sequence, use_multiprocessing=False, wait_time=None, random_seed=None):
        super().__init__(sequence, use_multiprocessing)
        self.random_seed = random_seed
        if wait_time is not None:
            warnings.warn('`wait_time` is not used anymore.', DeprecationWarning, stacklevel=2)

    def _initializer(self):
        return init_pool_generator, {self.uid: self.sequence}, self.random_seed

    def _submit_all(self):
        while True:
            yield self._submit(next_sample, self.uid) if self._asked < self.most else None

    def _after(self, error):
        if isinstance(error, StopIteration):
            return self._last_batches()
        if 'generator already executing' in str(error):
            self.stop()
            raise RuntimeError('Your generator is NOT thread-safe. Keras requires a thread-safe generator when '
                               '`use_multiprocessing=False, workers > 1`. For more information see issue #1638.'
                               ) from error
        return super()._after(error)

    def _last_batches(self):
        """What other workers still made while one of them met the end."""
        while self._pending:
            future = self._pending.popleft()
            if future.exception() is None and future.result() is not None:
                yield future.result()
