"""Data sets, from small files of their formats that a server on this machine gives."""
import hashlib
import http.server
import json
import os
import pathlib
import pickle
import threading

import datasets_cases as cases
import numpy as np
import pytest

from kfacade import backend as K
from kfacade import datasets
from kfacade.datasets import boston_housing, cifar, cifar10, cifar100, fashion_mnist, imdb, mnist, reuters
from kfacade.utils import data_utils

MODULES = boston_housing, cifar10, cifar100, fashion_mnist, imdb, mnist, reuters

# As keras.datasets of 2.2.4 has them: name in the cache, address, hash.
AMAZON, FASHION = 'https://s3.amazonaws.com', 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com'
FILES = {
    ('boston_housing.npz', f'{AMAZON}/keras-datasets/boston_housing.npz',
     'f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5'),
    ('cifar-10-batches-py', 'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz', None),
    ('cifar-100-python', 'https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz', None),
    ('imdb.npz', f'{AMAZON}/text-datasets/imdb.npz', '599dadb1135973df5b59232a0e9a887c'),
    ('imdb_word_index.json', f'{AMAZON}/text-datasets/imdb_word_index.json', 'bfafd718b763782e994055a2d397834f'),
    ('mnist.npz', f'{AMAZON}/img-datasets/mnist.npz', '8a61469f7ea1b51cbae51d4f78837e45'),
    ('reuters.npz', f'{AMAZON}/text-datasets/reuters.npz', '87aedbeb0cb229e378797a632c1997b6'),
    ('reuters_word_index.json', f'{AMAZON}/text-datasets/reuters_word_index.json', '4d44cc38712099c9e383dc6e5f11a921'),
    *((f'{name}-ubyte.gz', f'{FASHION}/{name}-ubyte.gz', None) for name in (
        'train-labels-idx1', 'train-images-idx3', 't10k-labels-idx1', 't10k-images-idx3')),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('KERAS_HOME', str(tmp_path / 'keras'))
    return tmp_path / 'keras'


@pytest.fixture
def asked(tmp_path, home, monkeypatch):
    """Lets the modules download the small files, whose hashes are others, and gives what they asked for."""
    origin = tmp_path / 'origin'
    origin.mkdir()
    files = cases.write_files(str(origin))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(origin))

        def log_message(self, *_):
            pass

    requests = []

    def get_file(fname, origin, file_hash=None, **arguments):
        requests.append((fname, origin, file_hash))
        name = origin.rpartition('/')[2]
        if file_hash:
            make = hashlib.md5 if len(file_hash) == 32 else hashlib.sha256
            file_hash = make(pathlib.Path(files[name]).read_bytes()).hexdigest()
        return data_utils.get_file(fname, f'http://127.0.0.1:{server.server_port}/{name}', file_hash=file_hash,
                                   **arguments)

    for module in MODULES:
        monkeypatch.setattr(module, 'get_file', get_file)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield requests
        server.shutdown()
        thread.join()


def test_values_are_those_of_keras(asked):
    reference = json.loads((pathlib.Path(__file__).parent / 'reference.json').read_text())
    assert json.loads(json.dumps(cases.run(datasets))) == reference


def test_cifar10(asked, home):
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert (x_train.shape, y_train.shape) == ((20, 32, 32, 3), (20, 1))
    assert (x_test.shape, y_test.shape) == ((4, 32, 32, 3), (4, 1))
    assert (x_train.dtype, y_train.dtype, y_test.dtype) == (np.uint8, np.uint8, np.int64)
    images, labels = cifar.load_batch(home / 'datasets' / 'cifar-10-batches-py' / 'data_batch_2')
    np.testing.assert_array_equal(x_train[4:8].transpose(0, 3, 1, 2), images)
    assert y_train[4:8, 0].tolist() == labels
    K.set_image_data_format('channels_first')
    try:
        np.testing.assert_array_equal(cifar10.load_data()[0][0][4:8], images)
    finally:
        K.set_image_data_format('channels_last')


def test_names_addresses_and_hashes_are_those_of_keras(asked):
    for module in MODULES:
        module.load_data()
    assert imdb.get_word_index() == {'the': 1, 'imdb_word_index.json': 2}
    assert reuters.get_word_index() == {'the': 1, 'reuters_word_index.json': 2}
    assert set(asked) == FILES


def test_files_are_downloaded_once(asked, home, capsys):
    mnist.load_data()
    fashion_mnist.load_data()
    assert capsys.readouterr().out.count('Downloading data from') == 5
    assert (home / 'datasets' / 'mnist.npz').exists()
    assert len(os.listdir(home / 'datasets' / 'fashion-mnist')) == 4
    mnist.load_data()
    assert 'Downloading' not in capsys.readouterr().out


@pytest.mark.parametrize('module, name', [(imdb, 'imdb.npz'), (reuters, 'reuters.npz'), (mnist, 'mnist.npz')])
def test_a_file_with_another_hash_is_not_read(module, name, tmp_path, home, monkeypatch):
    (home / 'datasets').mkdir(parents=True)
    attack = np.array([Attack()], dtype=object)
    np.savez(home / 'datasets' / name, x=attack, y=attack, x_train=attack, y_train=attack, x_test=attack, y_test=attack)
    monkeypatch.setattr(data_utils, 'urlretrieve', no_network)
    with pytest.raises(Exception, match='URL fetch failure'):
        module.load_data()
    Attack.count = 0
    np.load(home / 'datasets' / name, allow_pickle=True)['x']
    assert Attack.count == 1  # so it was one


def test_a_batch_that_runs_code_is_not_read(tmp_path):
    (tmp_path / 'batch').write_bytes(pickle.dumps({b'data': Attack(), b'labels': []}))
    Attack.count = 0
    with pytest.raises(pickle.UnpicklingError, match='which no CIFAR file does'):
        cifar.load_batch(tmp_path / 'batch')
    assert Attack.count == 0


class Attack:
    count = 0

    def __reduce__(self):
        return attacked, ()


def attacked():
    Attack.count += 1


def no_network(*_):
    raise OSError('[Errno -2] Name or service not known')


@pytest.mark.parametrize('module', MODULES)
def test_without_a_network_one_sentence_says_what_to_do(module, home, monkeypatch):
    monkeypatch.setattr(data_utils, 'urlretrieve', no_network)
    with pytest.raises(Exception, match='URL fetch failure') as error:
        module.load_data()
    address, file_hash, name = next((a, h, n) for n, a, h in FILES if f' {a}: ' in str(error.value))
    name += '.tar.gz' if name.startswith('cifar') else ''
    place = home / 'datasets' / ('fashion-mnist' if module is fashion_mnist else '') / name
    known = f' (hash: {file_hash})' if file_hash else ''
    assert str(error.value) == (f'URL fetch failure on {address}: None -- [Errno -2] Name or service not known; '
                                f'without a network, put the file {name}{known} at {place}.')


def test_old_and_unknown_arguments(asked):
    with pytest.warns(UserWarning, match='`nb_words` argument in `load_data` has been renamed `num_words`'):
        old = imdb.load_data(nb_words=9)
    assert str(old) == str(imdb.load_data(num_words=9))
    with pytest.raises(TypeError, match='words'):
        reuters.load_data(words=9)


@pytest.mark.parametrize('call, message', [
    (lambda: imdb.load_data(maxlen=1), 'no sequence was kept. Increase maxlen'),
    (lambda: cifar100.load_data('medium'), '`label_mode` must be one of'),
    (lambda: boston_housing.load_data(test_split=1), '`test_split`')])
def test_bad_arguments(asked, call, message):
    with pytest.raises(ValueError, match=message):
        call()
