"""Files that are written whole or not at all."""
import contextlib
import os
import secrets
import shutil

from ..utils.io_utils import ask_to_proceed_with_overwrite


def may_write(filepath, overwrite):
    """Whether ``filepath`` may be written to; where it exists and ``overwrite`` is False, the terminal is asked."""
    return overwrite or not os.path.isfile(filepath) or ask_to_proceed_with_overwrite(filepath)


@contextlib.contextmanager
def replacing(filepath, suffix):
    """A path to write to, which takes the place of ``filepath`` when the block ends well and vanishes when it does not.

    It lies beside ``filepath`` and ends in ``suffix``.
    """
    target = os.path.realpath(filepath)
    temporary = os.path.join(os.path.dirname(target), f'.{secrets.token_hex(8)}{suffix}')
    try:
        yield temporary
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
