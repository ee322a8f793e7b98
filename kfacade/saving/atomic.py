"""Files: what they are by name and beginning, and writing them whole or not at all."""
import contextlib
import errno
import glob
import io
import os
import secrets
import shutil
import tempfile

import h5py

from ..utils import ranks
from ..utils.io_utils import ask_to_proceed_with_overwrite

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def suffix_of(filepath):
    """The suffix of a path, in lower case and with its dot."""
    return os.path.splitext(filepath)[1].lower()


def is_zip(filepath):
    """Whether a file begins as a ZIP does. Raises what ``open`` does where it is missing or closed to us."""
    with open(filepath, 'rb') as f:
        return f.read(4) == b'PK\3\4'


def may_write(filepath, overwrite):
    """Whether a path, or a group of an open file, may be written to; without ``overwrite`` the terminal is asked."""
    return (overwrite or isinstance(filepath, h5py.Group) or not os.path.isfile(filepath)
            or ask_to_proceed_with_overwrite(filepath))


class PatientFile(io.FileIO):
    """A new file that keeps its write errors until :meth:`check`: HDF5, told of them, crashes the interpreter.

    Torch makes other errors of them.
    """

    error = None

    def __init__(self, path):
        super().__init__(path, 'x+b')

    def write(self, data):
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest):]
        except OSError as error:
            self.error = self.error or error
        return len(data)

    def truncate(self, size=None):
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error

    def check(self):
        """Raises the first error, if there was one."""
        if self.error:
            raise self.error


@contextlib.contextmanager
def replacing(filepath):
    """A new open file that takes the place of ``filepath`` when the block ends well, and vanishes when it does not.

    It lies beside ``filepath`` (or what that links to). What has other names, or is a pipe or a device, keeps its
    nature: it is written into, when all is ready. Raises OSError for a disk that gets full, and PermissionError for a
    file that is write-protected, for renaming would not ask. Of several ranks, the first one writes; the file is there
    when the block ends for the others.
    """
    writing = _temporary(tempfile.gettempdir()) if ranks.rank else _replacing(filepath)
    with ranks.after_first(os.path.abspath(filepath)), writing as file:
        yield file


@contextlib.contextmanager
def _replacing(filepath):
    target, exists = os.path.realpath(filepath), os.path.exists(filepath)
    for number, wrong in ((errno.EACCES, exists and not os.access(filepath, os.W_OK)),
                          (errno.EISDIR, os.path.isdir(target)),
                          (errno.ENOENT, not exists and not os.path.isdir(os.path.dirname(target)))):
        if wrong:
            raise OSError(number, os.strerror(number), os.fspath(filepath))  # Python makes it the class of the number
    is_file = not exists or os.path.isfile(filepath)
    with _temporary(os.path.dirname(target) if is_file else tempfile.gettempdir()) as file:
        yield file
        file.check()
        if exists and not (is_file and os.stat(filepath).st_nlink == 1):
            _write_into(filepath, file, is_file)
        else:
            if exists:
                shutil.copymode(target, file.name)
            if not fcntl:
                file.close()  # Windows does not rename open files
            os.replace(file.name, target)


@contextlib.contextmanager
def _temporary(folder):
    """A new `PatientFile` in ``folder``, which is removed on exit; those that killed processes left there, before.

    A file is locked as long as a process writes it.
    """
    for left in glob.glob(os.path.join(glob.escape(folder), '.kfacade-*.tmp')) if fcntl else ():
        with contextlib.suppress(OSError), open(os.open(left, os.O_RDONLY | os.O_NONBLOCK), 'rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.remove(left)
    with _locked_file(folder) as file:
        try:
            yield file
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(file.name)


def _locked_file(folder):
    file = PatientFile(os.path.join(folder, f'.kfacade-{secrets.token_hex(8)}.tmp'))
    if fcntl:
        with contextlib.suppress(OSError):  # of file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
    if os.path.exists(file.name):
        return file
    file.close()  # another process found it before it was locked
    return _locked_file(folder)


def _write_into(filepath, file, is_file):
    """Copies the open ``file`` into what is called ``filepath``, if there is room for all of it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with open(os.open(filepath, os.O_WRONLY), 'wb') as target:
        if is_file and hasattr(os, 'posix_fallocate'):
            before = os.fstat(target.fileno()).st_size
            try:
                os.posix_fallocate(target.fileno(), 0, size)
            except OSError:
                target.truncate(before)
                raise
        shutil.copyfileobj(file, target)
        if is_file:
            target.truncate()
