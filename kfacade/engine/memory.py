"""What training does to the process' memory: freed blocks stay with the process for the next step."""
import ctypes
import functools
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>
_KEPT = 1 << 30  # bytes of free memory at the end of the heap that are not given back
_IN_HEAP = 64 << 20, 32 << 20  # bytes up to which a block comes from the heap; the second is the most of older glibcs


@functools.cache
def keep_freed_memory():
    """Has glibc keep large blocks that are freed, instead of giving them back and faulting them in again at each step.

    It holds for the whole process, from the first call of `fit`, `evaluate` or `predict` on. Nothing is done where the
    environment sets ``KFACADE_KEEP_MEMORY=0`` or any of glibc's own ``MALLOC_...``, and on other C libraries. Returns
    whether something was.
    """
    if os.environ.get('KFACADE_KEEP_MEMORY') == '0' or any(name.startswith('MALLOC_') for name in os.environ):
        return False
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT) and any(mallopt(_MMAP_THRESHOLD, size) for size in _IN_HEAP))
