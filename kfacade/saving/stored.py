"""Big arrays of HDF5 files, read when they are used, and straight to where they belong."""
import numpy as np
import torch

_BIG = 1 << 20  # bytes from which a second copy of an array is worth avoiding
_FLOATS = {torch.float16, torch.float32, torch.float64}  # those that numpy has too


class StoredArray:
    """An array in a file that was checked but not read: its shape is known, numpy takes it as the array it stands for.

    Only for numbers that lie in the file as they are, neither compressed nor in chunks, so that nothing about them can
    turn out to be wrong when they are read.
    """

    def __init__(self, dataset):
        self._dataset = dataset
        self.shape, self.ndim, self.size = dataset.shape, dataset.ndim, dataset.size

    @staticmethod
    def suits(dataset):
        """Whether the checked ``h5py.Dataset`` is plain, and big enough to be worth it."""
        return dataset.nbytes > _BIG and dataset.id.get_create_plist().get_layout() == 1  # H5D_CONTIGUOUS

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._dataset[()], dtype)

    def copy_to(self, variable):
        """Sets a ``Variable`` of this shape."""
        target = variable.value.detach()
        shared = target.untyped_storage().data_ptr() == variable.param.untyped_storage().data_ptr()
        if shared and target.is_contiguous() and target.is_cpu and target.dtype in _FLOATS:
            self._dataset.read_direct(target.numpy())
        else:
            variable.assign(np.asarray(self))
