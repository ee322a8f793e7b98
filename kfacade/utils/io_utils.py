"""Data in HDF5 files: arrays too large for memory, and a dict face on groups."""
import itertools
import pickle
from collections import defaultdict

import h5py
import numpy as np

HDF5_OBJECT_HEADER_LIMIT = 64512


def save_attributes_to_hdf5_group(group, name, data):
    """Writes a list of names (bytes) as the attribute ``name``: an array of fixed-length strings.

    Where that is more than HDF5's header takes, it is split in equal pieces ``name0``, ``name1``, ... Raises
    RuntimeError for a single name that is too long by itself.
    """
    too_long = [item for item in data if len(item) > HDF5_OBJECT_HEADER_LIMIT]
    if too_long:
        raise RuntimeError('The following attributes cannot be saved to HDF5 file because they are larger than '
                           f'{HDF5_OBJECT_HEADER_LIMIT} bytes: {", ".join(str(item) for item in too_long)}')
    pieces, count = [np.asarray(data)], 1
    while any(piece.nbytes > HDF5_OBJECT_HEADER_LIMIT for piece in pieces):
        count += 1
        pieces = np.array_split(np.asarray(data), count)
    for i, piece in enumerate(pieces):
        group.attrs[name if count == 1 else f'{name}{i}'] = piece


class HDF5Matrix:
    """A dataset of an HDF5 file, to be used where a Numpy array of samples is expected.

    Batches are read as they are asked for. Train on it with ``shuffle='batch'`` or ``shuffle=False``.

    # Arguments
        datapath: path of the HDF5 file; matrices on the same path share one open file.
        dataset: name of the dataset.
        start: first sample of the part to use.
        end: one past the last sample of that part; None for the end of the dataset.
        normalizer: function called on each array that is read.
    """

    refs = defaultdict(int)

    def __init__(self, datapath, dataset, start=0, end=None, normalizer=None):
        if not self.refs.get(datapath):  # a file that was closed is false
            self.refs[datapath] = h5py.File(datapath, 'r')
        self.data = self.refs[datapath][dataset]
        self.start = start
        self.end = self.data.shape[0] if end is None else end
        self.normalizer = normalizer
        first = self._normalized(self.data[0:1])
        self._base_shape, self._base_dtype = first.shape[1:], first.dtype

    def __len__(self):
        return self.end - self.start

    def __getitem__(self, key):
        """Samples by number, slice, list or array of numbers, counted from ``start``. IndexError past the end."""
        if isinstance(key, slice):
            start, stop = key.start or 0, len(self) if key.stop is None else key.stop
            last, index = stop - 1, slice(start + self.start, stop + self.start)
        elif isinstance(key, (int, np.integer)):
            last, index = key, key + self.start
        else:
            last, index = max(key), [int(i) + self.start for i in key]
        if last >= len(self):
            raise IndexError(f'{key} lies outside the {len(self)} samples of this HDF5Matrix.')
        return self._normalized(self.data[index])

    def _normalized(self, data):
        return data if self.normalizer is None else self.normalizer(data)

    shape = property(lambda self: (len(self), *self._base_shape), doc='Of the part in use, with normalised samples.')
    dtype = property(lambda self: self._base_dtype, doc='Dtype of normalised samples.')
    ndim = property(lambda self: self.data.ndim, doc='Rank of the dataset.')
    size = property(lambda self: np.prod(self.shape), doc='Number of elements of the part in use.')


def ask_to_proceed_with_overwrite(filepath):
    """Asks on the terminal whether to overwrite the file at ``filepath``; True for yes.

    Raises FileExistsError where nobody can answer.
    """
    question = f'[WARNING] {filepath} already exists - overwrite? [y/n]'
    try:
        while (answer := input(question).strip().lower()) not in ('y', 'n'):
            question = 'Enter "y" (overwrite) or "n" (cancel).'
    except (EOFError, OSError, RuntimeError, ValueError):  # no input, a closed one, none at all
        raise FileExistsError(f'{filepath} already exists, and there is no terminal to ask whether to overwrite it. '
                              'Use overwrite=True.') from None
    if answer == 'y':
        print('[TIP] Next time specify overwrite=True!')
    return answer == 'y'


class H5Dict:
    """A dict face on an HDF5 group: arrays are its datasets, texts and lists of names its attributes.

    A plain dict takes the place of the group where nothing is to touch the disk (pickled arrays, nested dicts marked
    ``_is_group``).

    # Arguments
        path: path of an HDF5 file, an open ``h5py.Group``, or a dict.
        mode: as ``h5py.File`` takes it; ``'w'`` empties a dict, ``'r'`` forbids writing.
    """

    def __init__(self, path, mode='a'):
        self._is_file = isinstance(path, str)
        if self._is_file:
            path = h5py.File(path, mode)
        elif isinstance(path, dict):
            if mode == 'w':
                path.clear()
            path['_is_group'] = True
        elif not isinstance(path, h5py.Group):
            raise TypeError(f'Required Group, str or dict. Received: {type(path)}.')
        self.data = path
        self.read_only = mode == 'r'

    def __setitem__(self, attr, val):
        if self.read_only:
            raise ValueError('Cannot set item in read only mode.')
        attr = _text(attr)
        if isinstance(self.data, dict):
            is_array = isinstance(val, (np.ndarray, np.generic))
            self.data[attr] = pickle.dumps(val) if is_array else val
            if is_array:
                self.data[f'_{attr}_pickled'] = True
        elif attr in self.data:
            raise KeyError(f'Cannot set attribute. Group with name "{attr}" exists.')
        elif isinstance(val, (np.ndarray, np.generic)):
            self.data.create_dataset(attr, data=val)
        elif isinstance(val, list):
            save_attributes_to_hdf5_group(self.data, attr, [v.encode() if isinstance(v, str) else v for v in val])
        else:
            self.data.attrs[attr] = val

    def __getitem__(self, attr):
        attr = _text(attr)
        if isinstance(self.data, dict):
            found = self.data.get(attr)
            if isinstance(found, dict) and found.get('_is_group'):
                return H5Dict(found)
            if attr in self.data:
                return pickle.loads(found) if f'_{attr}_pickled' in self.data else found
        elif attr in self.data.attrs or f'{attr}0' in self.data.attrs:
            return self._attribute(attr)
        elif attr in self.data:
            found = self.data[attr]
            return np.asarray(found) if isinstance(found, h5py.Dataset) else H5Dict(found)
        if self.read_only:
            raise ValueError('Cannot create group in read only mode.')
        return H5Dict(self.data.setdefault(attr, {}) if isinstance(self.data, dict) else self.data.create_group(attr))

    def _attribute(self, name):
        """An attribute as it was given: text as ``str``, bytes and lists of names as ``bytes``."""
        value = self.data.attrs.get(name)
        if value is None:  # in pieces
            pieces = itertools.takewhile(self.data.attrs.__contains__, (f'{name}{i}' for i in itertools.count()))
            value = np.concatenate([self.data.attrs[piece] for piece in pieces])
        if isinstance(value, str):  # as h5py reads both: bytes were written as ASCII
            is_text = h5py.check_string_dtype(self.data.attrs.get_id(name).dtype).encoding == 'utf-8'
            return value if is_text else value.encode('utf-8', 'surrogateescape')
        return value.tolist() if isinstance(value, (np.bytes_, np.ndarray)) and value.dtype.kind == 'S' else value

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        """An iterator over the names of groups and datasets (or the keys of the dict)."""
        return iter(self.data)

    iter = __iter__

    def __getattr__(self, attr):
        if attr == 'data':
            raise AttributeError(attr)
        return getattr(self.data, attr)

    def close(self):
        """Writes all to the disk, and closes the file if this object opened it."""
        if isinstance(self.data, h5py.Group):
            self.data.file.flush()
            if self._is_file:
                self.data.close()

    def update(self, *args):
        """Updates the dict. Raises NotImplementedError for a group of a file."""
        if not isinstance(self.data, dict):
            raise NotImplementedError('Only an H5Dict over a dict can be updated.')
        self.data.update(*args)

    def __contains__(self, key):
        return key in self.data or isinstance(self.data, h5py.Group) and key in self.data.attrs

    def get(self, key, default=None):
        """The item ``key``, or ``default``."""
        return self[key] if key in self else default


h5dict = H5Dict


def _text(name):
    return name.decode() if isinstance(name, bytes) else name
