"""Small files of the formats of the data sets, and what is loaded from them: by Keras (make.py) and by kfacade."""
import gzip
import io
import json
import os
import pickle
import tarfile

import numpy as np


def words(rng, count):
    rows = np.empty(count, dtype=object)
    rows[:] = [rng.randint(1, 30, rng.randint(1, 9)).tolist() for _ in range(count)]
    return rows


def write_files(folder):
    """{address's last part: path} of all that is downloaded."""
    rng = np.random.RandomState(0)
    images = [rng.randint(0, 256, (n, 28, 28)).astype('uint8') for n in (5, 3)]
    labels = [rng.randint(0, 10, n).astype('uint8') for n in (5, 3)]
    arrays = {
        'mnist': dict(x_train=images[0], y_train=labels[0], x_test=images[1], y_test=labels[1]),
        'imdb': dict(x_train=words(rng, 9), y_train=np.arange(9) % 2, x_test=words(rng, 7), y_test=np.arange(7) % 2),
        'reuters': dict(x=words(rng, 13), y=np.arange(13)),
        'boston_housing': dict(x=rng.rand(11, 13), y=rng.rand(11)),
    }
    files = {}
    for name, content in arrays.items():
        files[f'{name}.npz'] = stream = io.BytesIO()
        np.savez(stream, **content)
    for name in ('imdb_word_index.json', 'reuters_word_index.json'):
        files[name] = io.BytesIO(json.dumps({'the': 1, name: 2}).encode())
    for part, x, y in zip(('train', 't10k'), images, labels):
        files[f'{part}-images-idx3-ubyte.gz'] = io.BytesIO(gzip.compress(bytes(16) + x.tobytes()))
        files[f'{part}-labels-idx1-ubyte.gz'] = io.BytesIO(gzip.compress(bytes(8) + y.tobytes()))
    parts = [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']
    files['cifar-10-python.tar.gz'] = cifar_archive(rng, 'cifar-10-batches-py', parts, [b'labels'])
    files['cifar-100-python.tar.gz'] = cifar_archive(rng, 'cifar-100-python', ['train', 'test'],
                                                     [b'fine_labels', b'coarse_labels'])
    for name, stream in files.items():
        with open(os.path.join(folder, name), 'wb') as f:
            f.write(stream.getvalue())
    return {name: os.path.join(folder, name) for name in files}


def cifar_archive(rng, folder, names, keys):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz') as archive:
        for name in names:
            batch = {key: rng.randint(0, 20, 4).tolist() for key in keys}
            batch[b'data'] = rng.randint(0, 256, (4, 3072)).astype('uint8')
            content = pickle.dumps(batch, protocol=2)
            member = tarfile.TarInfo(f'{folder}/{name}')
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream


CASES = {
    'mnist': [{}],
    'fashion_mnist': [{}],
    'cifar100': [{}, dict(label_mode='coarse')],
    'boston_housing': [{}, dict(test_split=.5, seed=1), dict(test_split=0)],
    'imdb': [{}, dict(num_words=15, skip_top=6), dict(num_words=20, oov_char=None), dict(maxlen=6, seed=3),
             dict(start_char=None), dict(start_char=None, index_from=0, skip_top=3), dict(index_from=10, oov_char=0)],
    'reuters': [{}, dict(num_words=15, skip_top=6), dict(maxlen=6, seed=3), dict(start_char=None, index_from=0),
                dict(test_split=.5, oov_char=None, num_words=12), dict(maxlen=3, start_char=None, num_words=1)],
}


def run(datasets):
    """{name: [type and values of all four arrays of each case]}."""
    return {name: [[[str(array.dtype), list(array.shape), summary(array)] for part in getattr(datasets, name).load_data(
        **arguments) for array in part] for arguments in cases] for name, cases in CASES.items()}


def summary(array):
    """All the values, or, of many, the sum and a weighted one."""
    if array.size < 200:
        return array.tolist()
    return [int(array.sum()), int((array.ravel() * np.arange(array.size)).sum())]
