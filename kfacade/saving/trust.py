"""Reading HDF5 files that may be hostile: only plain data that the file really holds comes out of here.

HDF5 can point out of itself (links, external storage, virtual datasets) and can claim more than it has (shapes, chunk
sizes, repeated objects). Keras never writes any of that, so a :class:`Reader` refuses all of it with
:class:`InvalidModelFile`, naming the place.
"""
import itertools
import math
import mmap
import os
import struct
import zlib
from contextlib import contextmanager
from contextvars import ContextVar

import h5py
import numpy as np

from .object_header import length_of_texts
from .stored import StoredArray

_DEFLATE, _SHUFFLE, _CHECKSUM, _LZF = 1, 2, 3, 32000  # the filters of h5py; any other would be a plug-in to load
_BEST_COMPRESSION = 1032  # deflate, the strongest of them, cannot shrink data further than this

# what h5py raises about a damaged file
_DAMAGE = (KeyError, OSError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError, zlib.error,
           struct.error)


bytecode_allowed = ContextVar('bytecode_allowed', default=False)


@contextmanager
def allowing(permission):
    """Inside, the ContextVar `permission` is True."""
    token = permission.set(True)
    try:
        yield
    finally:
        permission.reset(token)


def unsafe_deserialization():
    """Inside, `Lambda.from_config` runs the bytecode that a configuration holds. Only for files that you trust."""
    return allowing(bytecode_allowed)


class InvalidModelFile(ValueError):
    """A model file that is broken, holds something other than a model, or reaches for what it must not."""


@contextmanager
def _translating(errors, what, words):
    """Turns ``errors`` of code that reads ``what`` into InvalidModelFile, with the words that a function of them gives.

    The words are only asked for in case of an error: that takes time.
    """
    try:
        yield
    except InvalidModelFile:
        raise
    except RecursionError:
        raise InvalidModelFile(f'{what} is nested too deeply to be a model.') from None
    except errors as error:
        raise InvalidModelFile(words(error)) from error


def reading(what, complaint='cannot be read', errors=Exception):
    """Turns ``errors`` of code that reads ``what`` into InvalidModelFile."""
    return _translating(errors, what, lambda error: f'{what} {complaint}: {error}')


def refusing(what):
    """Turns whatever a configuration out of a file makes other code raise into InvalidModelFile."""
    return _translating(Exception, what, lambda error: str(error) if isinstance(error, ValueError) else
                        f'{what} cannot be made into a model: {type(error).__name__}: {error}')


class Reader:
    """A view of one HDF5 group that gives names, texts and arrays, each checked before it is read.

    The arrays read through one Reader and its :meth:`child` readers may not sum to more than the ``file_size`` (packed
    ones not to much more when unpacked), and the texts neither, so a small file that names the same dataset again and
    again is refused. An attribute is read once.
    """

    def __init__(self, group, parent=None):
        self.group = group
        self.file_size = parent.file_size if parent else group.file.id.get_filesize()
        # one count of bytes, and one store of attributes, for all readers of a file
        self._unread = parent._unread if parent else {
            'arrays': self.file_size, 'texts': self.file_size, 'unpacked': 64 * self.file_size + 2 ** 28}
        self._attributes = parent._attributes if parent else {}

    def where(self, name=None):
        """Words for messages that say where in the file something is."""
        place = self.group.name if name is None else f'{self.group.name.rstrip("/")}/{name}'
        return f'"{shortened(place)}" of {self.group.file.filename!r}'

    def __contains__(self, name):
        """Whether the group holds the object ``name`` (refused links count: they are reported when followed)."""
        return self._follow(name) is not None

    def child(self, name):
        """A Reader of the group ``name``, which may be a path. Raises InvalidModelFile if there is none."""
        return Reader(self._find(name, h5py.Group), self)

    def array(self, name, later=False):
        """The dataset ``name`` as a numpy array, or, with ``later``, a `StoredArray` where it is big.

        Raises InvalidModelFile where it is not plain numbers in this file.
        """
        dataset = self._find(name, h5py.Dataset)
        with self._reading(name):
            self._check(dataset, self.where(name))
            if later and StoredArray.suits(dataset):
                return StoredArray(dataset)
            return dataset[()] if dataset.shape else np.asarray(dataset[()])

    def has_attribute(self, name):
        """Whether the group has the attribute ``name``."""
        with self._reading(f'@{name}'):
            return name in self.group.attrs

    def text(self, name):
        """The text attribute ``name``, or None. HDF5 holds it as ``str`` or ``bytes``, depending on who wrote it."""
        found = self._attribute(name)
        if found is not None and len(found) != 1:
            raise InvalidModelFile(f'Expected one text in the attribute {name} of {self.where()}, found {len(found)}.')
        return found and found[0]

    def names(self, name):
        """The list of names in the attribute ``name``, which may be split into ``name0``, ``name1``, ...

        An absent attribute and an empty one (which HDF5 holds as an array of no numbers) both give ``[]``.
        """
        names = self._attribute(name)
        if names is None:
            chunks = (f'{name}{i}' for i in itertools.count())
            names = [item for chunk in itertools.takewhile(self.has_attribute, chunks)
                     for item in self._attribute(chunk)]
        if len(set(names)) < len(names) or any('\0' in item for item in names):
            raise InvalidModelFile(f'The attribute {name} of {self.where()} holds a broken or repeated name.')
        return names[:]

    def _attribute(self, name):
        """The texts in the attribute ``name`` (None if absent), unless it claims more than the file has."""
        with self._reading(f'@{name}'):
            key = h5py.h5o.get_info(self.group.id).addr, name
            if key not in self._attributes:
                self._attributes[key] = self._read_attribute(name, key[0]) if self.has_attribute(name) else None
            return self._attributes[key]

    def _read_attribute(self, name, address):
        stored = self.group.attrs.get_id(name)
        space, kind = stored.get_space(), stored.get_type()
        count, what = space.get_simple_extent_npoints(), f'the attribute {name} of {self.where()}'
        if space.get_simple_extent_type() == h5py.h5s.NULL:
            raise InvalidModelFile(f'Expected text in {what}, which holds nothing.')
        if not count:
            return []
        if kind.committed() or not isinstance(kind, h5py.h5t.TypeStringID):
            raise InvalidModelFile(f'Expected text in {what}, found {stored.dtype}.')
        size = stored.get_storage_size()
        if kind.is_variable_str() and count > 1:
            size = max(size, length_of_texts(self._bytes(), address, name, count))
        if size > self.file_size:
            raise InvalidModelFile(f'{what} claims {size} bytes, more than its file holds.')
        value = self.group.attrs[name]
        texts = [self._decode(item, name) for item in (
            value.ravel().tolist() if isinstance(value, np.ndarray) else [value])]
        self._count('texts', sum(map(len, texts)), what)
        return texts

    def _bytes(self):
        """The bytes of the file."""
        file = self.group.file
        file.flush()
        if file.driver != 'sec2':
            return file.id.get_file_image()
        with open(file.filename, 'rb') as f:
            return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)

    def _count(self, kind, size, where):
        self._unread[kind] -= size
        if self._unread[kind] < 0:
            raise InvalidModelFile(f'Reading {where} would read more than belongs in a file of {self.file_size} bytes.')

    def _decode(self, value, name):
        if isinstance(value, str):
            value = value.encode('utf-8', 'surrogateescape')
        if not isinstance(value, bytes):
            raise InvalidModelFile(f'Expected text in the attribute {name} of {self.where()}, '
                                   f'found {type(value).__name__}.')
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InvalidModelFile(f'The attribute {name} of {self.where()} is not UTF-8 text.') from None

    def _find(self, name, kind):
        found = self._follow(name)
        if found is None:
            raise InvalidModelFile(f'The file names {self.where(name)}, but holds no such object.')
        if not isinstance(found, kind):
            raise InvalidModelFile(f'Expected a {kind.__name__.lower()} at {self.where(name)}, found '
                                   f'{type(found).__name__}.')
        return found

    def _follow(self, name):
        """The object at the path ``name``, reached through hard links only; None if there is none."""
        found = self.group
        with self._reading(name):
            for part in (part for part in name.split('/') if part not in ('', '.')):
                if not isinstance(found, h5py.Group) or '\0' in part or not found.id.links.exists(part.encode()):
                    return None
                if found.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
                    kind = found.get(part, getclass=True, getlink=True).__name__
                    raise InvalidModelFile(f'{self.where(name)} is a link to another place ({kind}), which a model '
                                           'file may not hold.')
                found = found[part]
        return found

    def _check(self, dataset, where):
        """Refuses a dataset that is no plain array of numbers, lies elsewhere, or claims more than its file holds."""
        if dataset.external or dataset.is_virtual:
            raise InvalidModelFile(f'The data of {where} lie in other files, which a model file may not ask for.')
        is_own = dataset.id.get_type().committed() or dataset.dtype.metadata
        is_plain = dataset.dtype.kind in 'fiub' and dataset.dtype.itemsize <= 8  # torch has no longer ones
        if not is_plain or dataset.shape is None or is_own:
            raise InvalidModelFile(f'Expected numbers at {where}, found {"user-defined " if is_own else ""}'
                                   f'{dataset.dtype} of shape {dataset.shape}.')
        stored, filters = dataset.id.get_storage_size(), _filters(dataset, where)
        chunk = math.prod(dataset.chunks or [0]) * dataset.dtype.itemsize
        claimed = max(dataset.size * dataset.dtype.itemsize, chunk)
        if claimed > stored * (_BEST_COMPRESSION if filters else 1):
            raise InvalidModelFile(f'{where} claims {claimed} bytes (shape {dataset.shape}), the file holds {stored}.')
        self._count('arrays', stored, where)
        self._count('unpacked', claimed, where)
        if dataset.chunks:
            _check_chunks(dataset, chunk, _DEFLATE in filters, where)

    def _reading(self, name):
        """As `reading`, for what is called ``name``."""
        return _translating(_DAMAGE, name, lambda error: f'{self.where(name)} cannot be read: {error}')


def _filters(dataset, where):
    """The numbers of the filters that pack ``dataset``."""
    made = dataset.id.get_create_plist()
    found = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    if len(set(found)) < len(found) or not {*found} <= {_DEFLATE, _SHUFFLE, _CHECKSUM, _LZF}:
        raise InvalidModelFile(f'{where} is packed with the HDF5 filters {found}, of which a model file may have '
                               'deflate, LZF, shuffle and Fletcher32, each once.')
    return found


def _check_chunks(dataset, size, deflated, where):
    """Refuses chunks that are not in the file, and such as unpack to more than ``size``, which HDF5 would let them."""
    claimed = math.prod(-(-size // step) for size, step in zip(dataset.shape, dataset.chunks))
    if dataset.id.get_num_chunks() != claimed:
        raise InvalidModelFile(f'{where} claims {claimed} chunks, the file holds {dataset.id.get_num_chunks()}.')
    for place in dataset.iter_chunks() if deflated else ():
        mask, packed = dataset.id.read_direct_chunk(tuple(part.start for part in place))
        unpacked = zlib.decompressobj()
        if not mask and unpacked.decompress(packed, size + 4) and unpacked.unconsumed_tail:
            raise InvalidModelFile(f'A chunk of {where} unpacks to more than its {size} bytes.')


@contextmanager
def opened(filepath):
    """A :class:`Reader` of the HDF5 file at ``filepath``, or of an open ``h5py.Group`` (which stays open).

    Raises FileNotFoundError (and other OSErrors of the file system) as ``open`` does, InvalidModelFile for what is no
    HDF5 file.
    """
    if isinstance(filepath, h5py.Group):
        yield Reader(filepath)
        return
    path = os.fspath(filepath)
    # `open` gives the system's own error where the file is missing or closed to us
    with open(path, 'rb'), reading(repr(path), 'is not a readable HDF5 file', OSError):
        file = h5py.File(path, 'r')
    with file:
        yield Reader(file)


def shortened(text, limit=200):
    return text if len(text) <= limit else f'{text[:limit // 2]}...{text[-limit // 2:]}'
