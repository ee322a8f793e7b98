"""The references to texts in an HDF5 file, which HDF5 itself only follows.

It keeps texts of variable length in heaps, and an attribute of such holds (length, address, number) of each. Reading it
copies a text for every reference to it, so a small file can fill any memory. What is here finds the references where
they lie: "HDF5 File Format Specification Version 3.0", sections IV.A.1 (object headers) and IV.A.2.m (attributes).
"""
from struct import unpack_from

import numpy as np

_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C
_REFERENCE = np.dtype([('length', '<u4'), ('address', '<u8'), ('number', '<u4')])


def length_of_texts(data, address, name, count):
    """The bytes of the ``count`` texts in an attribute, each as often as it is referred to.

    ``data`` are the bytes of the file, ``address`` is where the header of the object with the attribute lies. Raises
    ValueError where the attribute is not in that header (in a heap, say).
    """
    found = [int(np.frombuffer(data, _REFERENCE, count, at)['length'].sum(dtype=np.int64))
             for own, at in _attributes(data, address) if own == name.encode()]
    if not found:
        raise ValueError(f'its {count} texts of variable length are not where HDF5 puts them by default')
    return max(found)


def _attributes(data, address):
    """(name, offset of the values) of each attribute in an object header."""
    is_new = data[address:address + 4] == b'OHDR'
    if is_new:
        flags = data[address + 5]
        start, width = address + 6 + 16 * bool(flags & 32) + 4 * bool(flags & 16), 1 << (flags & 3)
        blocks = [(start + width, int.from_bytes(data[start:start + width], 'little'))]
        head, form = (6 if flags & 4 else 4), '<BHB'
    else:
        blocks, head, form = [(address + 16, *unpack_from('<I', data, address + 8))], 8, '<HHB'
    for at, size in blocks:  # grows
        end = at + size
        while at + head <= end:
            kind, length, _ = unpack_from(form, data, at)
            at += head
            if kind == _CONTINUATION and len(blocks) < 1000:
                more, size = unpack_from('<QQ', data, at)
                blocks.append((more + 4, size - 8) if is_new else (more, size))  # between signature and checksum
            elif kind == _ATTRIBUTE:
                version, _, *sizes = unpack_from('<BBHHH', data, at)
                start = at + 8 + (version == 3)
                parts = [-(-size // 8) * 8 if version == 1 else size for size in sizes]  # of name, type and space
                yield bytes(data[start:start + sizes[0]]).partition(b'\0')[0], start + sum(parts)
            at += length
