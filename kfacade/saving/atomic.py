"""Files: what they are by name and beginning, and writing them whole or not at all."""
import contextlib
import errno
import io
import os
import secrets
import shutil

import h5py

from ..utils.io_utils import ask_to_proceed_with_overwrite


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
    """A new file that keeps its write errors until :meth:`check`: HDF5, told of them, crashes the interpreter."""

    error = None

    def __init__(self, path):
        super().__init__(path, 'w+b')

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
    """A path to write to, which takes the place of ``filepath`` when the block ends well and vanishes when it does not.

    It lies beside ``filepath`` (or what that links to). Raises PermissionError for a file that is write-protected, for
    renaming would not ask.
    """
    target = os.path.realpath(filepath)
    for number, wrong in ((errno.EACCES, os.path.exists(target) and not os.access(target, os.W_OK)),
                          (errno.EISDIR, os.path.isdir(target)),
                          (errno.ENOENT, not os.path.isdir(os.path.dirname(target)))):
        if wrong:
            raise OSError(number, os.strerror(number), os.fspath(filepath))  # Python makes it the class of the number
    temporary = os.path.join(os.path.dirname(target), f'.{secrets.token_hex(8)}.tmp')
    try:
        yield temporary
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
