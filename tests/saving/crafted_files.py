"""Files that attack one place of a reader each, for `fuzz_model_files`.

Texts that many references share; pickles and YAML that ask for memory, time or depth; sizes that only a configuration
or the directory of an archive claims; archives that unpack to more than they say. Each function takes the bytes of a
good file and a random.Random, and gives the bytes of another.
"""
import io
import json
import pickle
import re
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np

from kfacade.saving.text import parse_yaml


def changed_hdf5(change):
    """Damage that opens the file with h5py and has ``change(file, rng)`` at it."""
    def damage(data, rng):
        buffer = io.BytesIO(data)
        with h5py.File(buffer, 'r+') as f:
            change(f, rng)
        return buffer.getvalue()
    return damage


class Call:
    """Pickles as the call of a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def shared_texts(data, rng):
    """An attribute of many texts of variable length, all of which are one; or the same one for many groups."""
    buffer, size = io.BytesIO(data), rng.choice([10, 1000, 10 ** 5, 10 ** 6])
    count, spread = rng.choice([2, 50, 3000]), rng.random() < .4
    with h5py.File(buffer, 'r+') as f:
        groups = [f]
        f.visititems(lambda name, item: groups.append(item) if isinstance(item, h5py.Group) else None)
        group = rng.choice([group for group in groups if len(group.attrs)])
        name = rng.choice(list(group.attrs))
        if spread:
            group = f['model_weights'] if 'model_weights' in f else f
            group.attrs['layer_names'] = [b'g%d' % i for i in range(count)]
            for i in range(count):
                group.require_group(f'g{i}').attrs['weight_names'] = 'x' * (size if i == 0 else 1)
        else:
            group.attrs[name] = ['x' * size, *'y' * (count - 1)]
    data, at = bytearray(buffer.getvalue()), -1

    def is_reference(at, length):
        address, = struct.unpack_from('<Q', data, at + 4)
        return struct.unpack_from('<I', data, at) == (length,) and data[address:address + 4] == b'GCOL'
    while (at := data.find(struct.pack('<I', size), at + 1)) >= 0 and at + 16 <= len(data):
        if is_reference(at, size):
            reference = data[at:at + 16]
            if not spread:
                data[at:at + 16 * count] = reference * count
            else:
                other = at
                while (other := data.find(struct.pack('<I', 1), other + 1)) >= 0 and other + 16 <= len(data):
                    if is_reference(other, 1):
                        data[other:other + 16] = reference
            break
    return bytes(data)


def wide_numbers(data, rng):
    """A data set of a type that torch does not have, or seldom meets."""
    def change(f, rng):
        names = []
        f.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = rng.choice(names)
        old = f[name][()]
        del f[name]
        f.create_dataset(name, data=np.asarray(old).astype(rng.choice(
            ['longdouble', '>f8', 'f2', 'u8', '>u2', 'i1', 'clongdouble', '?'])), chunks=rng.choice([None, True])
            if old.ndim else None)
    return changed_hdf5(change)(data, rng)


def claimed_sizes(data, rng):
    """A configuration whose sizes are multiplied, with stateful layers or without, in single or double precision."""
    tree = parse_yaml(data, 'the seed') if isinstance(data, bytes) else data
    places = []

    def visit(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            if type(node[key]) is int:
                places.append((node, key))
            elif key == 'stateful':
                node[key] = rng.random() < .8
            elif key == 'dtype' and rng.random() < .3:
                node[key] = 'float64'
            elif isinstance(node[key], (dict, list)):
                visit(node[key])
    visit(tree)
    for node, key in rng.choices(places, k=rng.choice([1, 1, 2, 5])):
        node[key] *= rng.choice([10 ** 9, 10 ** 12, 10 ** 30, -1, 3])
    return json.dumps(tree).encode()


def claimed_sizes_of_a_file(data, rng):
    """The same in the configuration of an HDF5 file."""
    def change(f, rng):
        f.attrs['model_config'] = claimed_sizes(json.loads(f.attrs['model_config']), rng)
    return changed_hdf5(change)(data, rng)


def much_json(data, rng):
    """JSON of very many small things, of long texts, numbers or names, or very deep."""
    many = rng.choice([10 ** 4, 10 ** 6, 5 * 10 ** 6])
    inner = rng.choice([
        lambda: '[' + '[],' * many + '1]', lambda: '[' + '{},' * many + '1]', lambda: '[' + '1,' * many + '1]',
        lambda: '"' + '\U0001f600' * (many // 4) + '"', lambda: '1' * many, lambda: '1e' + '9' * many,
        lambda: '{' + ','.join(f'"{i}":1' for i in range(many // 10)) + '}', lambda: '[' * many + ']' * many,
        lambda: '{"a":' * many + '1' + '}' * many, lambda: '"' + '\\ud800' * (many // 8) + '"',
        lambda: '[' + '"x",' * many + '1]'])()
    return rng.choice(['{"class_name":"Model","config":%s}', '%s', '{"config":{"layers":%s},"class_name":"Sequential"}'
                       ]).replace('%s', inner).encode('utf-8', 'surrogatepass')


NUMPY_ARRAY = """{class_name: Model, config: !!python/object/apply:numpy.core.multiarray._reconstruct {
args: [!!python/name:numpy.ndarray '', !!python/tuple [0], !!binary ''], state: !!python/tuple [1, !!python/tuple [%s],
!!python/object/apply:numpy.dtype {args: [%s, 0, 1]}, false, !!binary '%s']}}"""


def much_yaml(data, rng):
    """YAML that takes time, memory or depth: aliases, merges, keys that are tuples, odd numbers and arrays."""
    n, wide, deep = 400_000, rng.randrange(1, 12), rng.choice([2, 5, 17, 60, 1000])
    start, level = rng.choice([
        ('&a0 [1, 1]', '&a%d [' + '*a%d, ' * wide + ']'), ('&a0 {k: 1}', '&a%d {<<: [' + '*a%d, ' * wide + ']}'),
        ('&a0 !!python/tuple [1]', '&a%d !!python/tuple [' + '*a%d, ' * wide + ']'),
        ('&a0 {k: 1}', '&a%d {' + '<<: *a%d, ' * wide + '}'), ('&a0 !!set {k}', '&a%d [' + '*a%d, ' * wide + ']'),
        ('&a0 [1]', '&a%d !!python/tuple [' + '*a%d, ' * wide + ']')])
    levels = '\n- '.join([start, *(level % (i, *[i - 1] * level[4:].count('%d')) for i in range(1, deep))])
    shape = rng.choice(['10000000, 0', '0, 10000000', '10000000, -1, 1', '-1, 0', '1000000000', '2, 2', '1, 1, 1', "''",
                        ', '.join('1' * 70)])
    array = NUMPY_ARRAY % (shape, rng.choice(['f8', 'O', 'V9', 'S0', 'U9', 'i1', "'f4,f4'"]),
                           rng.choice(['', 'AAAAAAAAAAA=', 'AAAA']))
    long = rng.choice([
        '[' * n, '{' * n, '? ' * (n // 2), '- ' * (n // 2), '!' * n, ':' * n, '&' * n, "'" * n, '\t' * n, '#\n' * n,
        '[a, ' * 500, '1:' * (n // 2) + '1', '0x' + 'f' * n, '0b' + '1' * n, '1' * n, '|\n' + ' x\n' * n,
        '[' + '[],' * (n // 3) + ']', '[' + '{},' * (n // 3) + ']', '{' + '? a,' * (n // 4) + '}',
        '[' + '!!str a,' * (n // 8) + ']', '{' + ', '.join(f'k{i}: {i}' for i in range(n // 12)) + '}',
        '"' + '\\x41' * (n // 4) + '"', '!!int "' + '1:' * (n // 2) + '1"', '!!float ' + '1:' * n + '1.5',
        '!!binary ' + 'A' * n, '!!timestamp ' + '1' * n, '{<<: [' + '{a: b},' * (n // 8) + ']}',
        '!!omap [' + 'a: b,' * (n // 6) + ']', '!!pairs [' + 'a: b,' * (n // 6) + ']'])
    return rng.choice([f'- {levels}', f'- {levels}\n- ? *a{deep - 1}\n  : 1', array, f'class_name: {long}', long,
                       f'{{class_name: Model, config: {{layers: {long}}}}}', f'- {levels}\n- {{*a{deep - 1} : 1}}'
                       ]).encode()


def much_pickle(data, rng):
    """A pickle that asks for other things than a state dict holds, or for more than there is."""
    number = rng.choice([b'K\2', b'J\xff\xff\xff\x7f', b'J\xff\xff\xff\xff', b'\x8a\x10' + b'\xff' * 15 + b'\x7f'])
    name = rng.choice([
        b'torch Tensor', b'torch FloatStorage', b'torch DoubleStorage', b'torch ByteStorage', b'torch Size',
        b'torch zeros', b'torch.storage UntypedStorage', b'torch._utils _rebuild_tensor',
        b'torch._utils _rebuild_tensor_v2',
        b'torch._utils _rebuild_parameter', b'torch._utils _rebuild_sparse_tensor', b'collections OrderedDict',
        b'torch._utils _rebuild_meta_tensor_no_storage', b'torch._tensor _rebuild_from_type_v2', b'numpy zeros',
        b'builtins bytearray'])
    called = b'c' + name.replace(b' ', b'\n') + b'\n' + rng.choice([number + b'\x85R', number * 2 + b'\x86R', b')R'])
    small = re.compile(rb'K[\x01-\xff]')
    places = [match.span() for match in small.finditer(data)]
    start, end = rng.choice(places)
    state = b'\x80\2}X\1\0\0\0a%ss.'
    return rng.choice([
        lambda: state % called, lambda: data[:start] + number + data[end:], lambda: data[:start] + number + data[end:],
        lambda: data.replace(name, rng.choice([b'torch Tensor', b'torch Size'])),
        lambda: data[:start] + called + data[end:], lambda: state % (b'r' + b'\xff' * 3 + b'\x7f' + b'K\1'),
        lambda: state % (b'X\xff\xff\xff\x7fabc'), lambda: state % (b'(' + b'K\1' * 10 ** 6 + b't'),
        lambda: state % (b'(' + b']' * rng.choice([10 ** 5, 3 * 10 ** 6]) + b'l'),
        lambda: state % (b'(' * 10 ** 6 + b'N'),
        lambda: state % (b'\x96' + (2 ** 40).to_bytes(8, 'little')), lambda: state % (b'K\1' + b'\x85' * 10 ** 6),
        lambda: data.replace(b'FloatStorage', rng.choice([b'DoubleStorage', b'ComplexDoubleStorage', b'QInt8Storage'])),
        lambda: pickle.dumps({'a': 1.5, 'b': b'x'}, rng.randrange(6)),
        lambda: pickle.dumps({'a': Call(bytearray, rng.choice([9, 2 ** 40]))}, rng.randrange(6)),
        lambda: state % (b'U\1x' + b'q\1' + b'h\1' * 1000), lambda: b'N.' * 5 + data,
    ])()


def tar_of_pickles(data, rng):
    """The form of 2016: a TAR, here with a name that reads as pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name in ('N.' * 5, 'sys_info', 'pickle', 'tensors', 'storages'):
            member = tarfile.TarInfo(name)
            content = rng.choice([b'', data[:1000], struct.pack('<i', 2 ** 31 - 1) + data[:100]])
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def crafted_zip(data, rng):
    """An archive with a crafted member, or with sizes in its directory that are not those of the member."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = [(info.filename, source.read(info)) for info in source.infolist()]
    chosen = rng.choice([i for i, (name, _) in enumerate(members) if Path(name).suffix in ('.json', '.pkl', '.h5')])
    craft = {'.json': much_json, '.pkl': much_pickle, '.h5': rng.choice([shared_texts, wide_numbers])}
    lies, packed = rng.random() < .4, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', packed) as target, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of repeated names
        for i, (name, content) in enumerate(members):
            if i == chosen:
                content = bytes(rng.choice([10 ** 6, 10 ** 8])) if lies else craft[Path(name).suffix](content, rng)
                if rng.random() < .1:
                    target.writestr(name, members[i][1])
            target.writestr(name, content)
        offset = target.infolist()[chosen].header_offset
    made = bytearray(buffer.getvalue())
    if lies:
        entry = made.find(struct.pack('<I', offset), made.find(b'PK\1\2')) - 42
        at = rng.choice([20, 24])  # the size in the archive, the size unpacked
        made[entry + at:entry + at + 4] = struct.pack('<I', rng.choice([0, 1, 2 ** 25, 2 ** 31]))
    return bytes(made)
