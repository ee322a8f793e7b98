"""Data sets and data loaders of torch, as sources of batches for `fit` and its kin."""
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from ..utils.data_utils import Sequence


def is_torch_data(data):
    """Whether this is a data set or a data loader of torch."""
    return isinstance(data, (DataLoader, Dataset))


def check_alone(data, **arguments):
    """Raises ValueError for arguments that cannot go with a data set, or (`batch_size`) with a loader."""
    wrong = [name for name, value in arguments.items()
             if value is not None and (name != 'batch_size' or isinstance(data, DataLoader))]
    if wrong:
        raise ValueError(f'With a {type(data).__name__} there can be no {", ".join(f"`{name}`" for name in wrong)}: '
                         'its batches are (x, y) or (x, y, sample_weight) as they are.')


def as_batches(data, batch_size=None, shuffle=False, n_inputs=None):
    """The `TorchBatches` of a data set or loader; anything else as it is.

    A data set is cut into batches of `batch_size` (32), with `shuffle` in the order that arrays would be read in; a
    loader has its own.
    """
    if isinstance(data, Dataset):
        sampler = _Shuffled(len(data)) if shuffle and not isinstance(data, IterableDataset) else None
        data = DataLoader(data, batch_size or 32, sampler=sampler)
    return TorchBatches(data, n_inputs) if isinstance(data, DataLoader) else data


class TorchBatches(Sequence):
    """The batches of a data loader, in its order, read by the thread that trains: a loader has its own workers.

    A batch ``[x, y]`` or ``[x, y, sample_weight]`` becomes a tuple, one of a single part that part. With `n_inputs`
    above 1 so many tensors are the inputs. `index`: what the next epoch is shuffled from, where this is done here.
    """

    def __init__(self, loader, n_inputs=None):
        self.loader, self.n_inputs = loader, n_inputs
        self.index = loader.sampler.index if isinstance(loader.sampler, _Shuffled) else None

    def __len__(self):
        try:
            return len(self.loader)
        except TypeError as error:
            raise ValueError('This DataLoader does not know how many batches it has. Say how many steps to do '
                             '(`steps_per_epoch`, `validation_steps`, `steps`).') from error

    def __getitem__(self, index):
        return next(iter(self))  # all that is asked of it: a first batch, to see its shape

    def __iter__(self):
        batch = None
        for batch in self.loader:
            parts = [list(p) if isinstance(p, tuple) else p for p in batch] if isinstance(batch, (list, tuple)) else [
                batch]
            if len(parts) == self.n_inputs and all(isinstance(p, torch.Tensor) for p in parts):
                parts = [parts]
            yield tuple(parts) if len(parts) > 1 else parts[0]
        if batch is None:
            raise ValueError('The DataLoader has no batches.')


class _Shuffled(Sampler):
    """The indices below `n`, shuffled anew for each epoch as Keras shuffles those of arrays."""

    def __init__(self, n):
        self.index = np.arange(n)

    def __len__(self):
        return len(self.index)

    def __iter__(self):
        np.random.shuffle(self.index)
        return iter(self.index.tolist())
