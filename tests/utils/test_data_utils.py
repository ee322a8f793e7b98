"""Downloads (from this disk) and batches made ahead."""
import hashlib
import io
import multiprocessing
import os
import random
import stat
import sys
import tarfile
import threading
import time
import zipfile
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import torch

from kfacade.utils import data_utils
from kfacade.utils.data_utils import GeneratorEnqueuer, OrderedEnqueuer, Sequence, get_file, validate_file

TEXT = b'some data'
MD5, SHA256 = hashlib.md5(TEXT).hexdigest(), hashlib.sha256(TEXT).hexdigest()


# ---------------------------------------------------------------- files

@pytest.fixture
def origin(tmp_path):
    path = tmp_path / 'origin'
    path.write_bytes(TEXT)
    return path.as_uri()


def content(path):
    with open(path, 'rb') as file:
        return file.read()


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / 'cache'
    path.mkdir()
    return str(path)


def test_get_file_downloads_once(origin, cache, capsys):
    path = get_file('name', origin, cache_dir=cache, file_hash=MD5)
    assert path == os.path.join(cache, 'datasets', 'name')
    assert content(path) == TEXT
    assert capsys.readouterr().out.startswith(f'Downloading data from {origin}\n')
    assert get_file('name', origin + '-gone', cache_dir=cache) == path
    assert capsys.readouterr().out == ''
    assert os.listdir(os.path.dirname(path)) == ['name']


def test_get_file_replaces_what_has_another_hash(origin, cache, capsys):
    path = get_file('name', origin, cache_dir=cache, cache_subdir='models')
    with open(path, 'wb') as file:
        file.write(b'damaged')
    assert get_file('name', origin, cache_dir=cache, cache_subdir='models', file_hash=SHA256) == path
    assert content(path) == TEXT
    assert ('A local file was found, but it seems to be incomplete or outdated because the auto file hash does not '
            f'match the original value of {SHA256} so we will re-download the data.\n') in capsys.readouterr().out


def test_get_file_refuses_a_download_with_another_hash(origin, cache):
    folder = os.path.join(cache, 'datasets')
    with pytest.raises(ValueError, match='does not have the expected hash 123'):
        get_file('name', origin, cache_dir=cache, md5_hash='123')
    assert os.listdir(folder) == []
    with open(os.path.join(folder, 'name'), 'wb') as file:
        file.write(b'old')
    with pytest.raises(ValueError, match='does not have the expected hash 123'):
        get_file('name', origin, cache_dir=cache, md5_hash='123')
    assert content(os.path.join(folder, 'name')) == b'old'


def test_get_file_tells_what_failed_and_what_to_do(origin, cache):
    with pytest.raises(Exception, match='^URL fetch failure on file:.*-gone: None -- .*No such file') as error:
        get_file('name', origin + '-gone', cache_dir=cache, file_hash=MD5)
    path = os.path.join(cache, 'datasets', 'name')
    assert str(error.value).endswith(f'; without a network, put the file name (hash: {MD5}) at {path}.')
    assert os.listdir(os.path.dirname(path)) == []


def test_get_file_caches_in_the_folder_of_keras(origin, tmp_path, monkeypatch):
    monkeypatch.setenv('KERAS_HOME', str(tmp_path / 'keras'))
    assert get_file('name', origin) == str(tmp_path / 'keras' / 'datasets' / 'name')


def test_get_file_says_where_it_goes_when_a_cache_cannot_be_written_to(origin, tmp_path):
    (tmp_path / 'file').write_text('')
    name = f'kfacade-test-{os.getpid()}'
    with pytest.warns(UserWarning, match='The cache folder .*file cannot be written to. /tmp/.keras is used instead.'):
        path = get_file(name, origin, cache_dir=str(tmp_path / 'file'))
    assert path == f'/tmp/.keras/datasets/{name}' and content(path) == TEXT
    os.remove(path)


def test_validate_file(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(TEXT)
    for file_hash, algorithm, valid in ((MD5, 'auto', True), (MD5, 'md5', True), (SHA256, 'auto', True),
                                        (SHA256, 'sha256', True), (SHA256, 'md5', False), (MD5[::-1], 'auto', False)):
        assert validate_file(path, file_hash, algorithm) is valid


def archive_of(path, kind, *names):
    """An archive whose members all hold the same text."""
    if kind == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name in names:
                archive.writestr(name, TEXT)
    else:
        with tarfile.open(path, 'w:gz') as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(TEXT)
                archive.addfile(member, io.BytesIO(TEXT))
    return path.as_uri()


@pytest.mark.parametrize('kind', ['tar', 'zip'])
def test_extract(tmp_path, cache, kind):
    origin = archive_of(tmp_path / 'archive', kind, 'folder/a')
    path = get_file('name', origin, cache_dir=cache, extract=True)
    folder = os.path.dirname(path)
    assert sorted(os.listdir(folder)) == ['folder', 'name']
    assert content(os.path.join(folder, 'folder', 'a')) == TEXT


@pytest.mark.parametrize('kind, archive_format', [('tar', 'zip'), ('zip', 'tar'), ('tar', None), ('tar', [])])
def test_only_formats_asked_for_are_extracted(tmp_path, cache, kind, archive_format):
    origin = archive_of(tmp_path / 'archive', kind, 'a')
    path = get_file('name', origin, cache_dir=cache, extract=True, archive_format=archive_format)
    assert os.listdir(os.path.dirname(path)) == ['name']


def test_untar(tmp_path, cache):
    origin = archive_of(tmp_path / 'archive', 'tar', 'data/a')
    path = get_file('data', origin, cache_dir=cache, untar=True)
    assert path == os.path.join(cache, 'datasets', 'data') and os.listdir(path) == ['a']
    assert os.path.exists(path + '.tar.gz')


@pytest.mark.parametrize('kind', ['tar', 'zip'])
@pytest.mark.parametrize('name', ['../../outside', '/tmp/kfacade-outside'])
def test_an_archive_cannot_write_outside(tmp_path, cache, kind, name):
    origin = archive_of(tmp_path / 'archive', kind, 'inside', name)
    with pytest.raises(ValueError, match='would be written outside'):
        get_file('name', origin, cache_dir=cache, extract=True)
    assert os.listdir(os.path.join(cache, 'datasets')) == ['name']
    assert sorted(os.listdir(tmp_path)) == ['archive', 'cache']


@pytest.mark.parametrize('kind', ['tar', 'zip'])
@pytest.mark.parametrize('name', [
    '..', 'a/../../outside', '/outside', '//outside', '..\\outside', 'a\\..\\..\\outside', 'C:\\outside', 'C:outside',
    'c:/outside', '\\outside', '\\\\host\\share\\outside', '//?/C:/outside', '\\\\.\\pipe\\outside',
    'a/b/c/../../../../x', './../outside', 'a/..'])
def test_no_path_of_an_archive_leaves_the_folder_on_any_system(tmp_path, cache, kind, name):
    origin = archive_of(tmp_path / 'archive', kind, 'inside', name)
    with pytest.raises(ValueError, match='was not unpacked: its member or link .* would be written outside'):
        get_file('name', origin, cache_dir=cache, extract=True)
    assert os.listdir(os.path.join(cache, 'datasets')) == ['name'] and sorted(os.listdir(tmp_path)) == [
        'archive', 'cache']


def tar_of(path, *members):
    """A tar file of (name, type, target of a link, contents)."""
    with tarfile.open(path, 'w:gz') as archive:
        for name, kind, target, text in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size, member.devmajor, member.devminor = kind, target, len(text), 1, 3
            archive.addfile(member, io.BytesIO(text))
    return path.as_uri()


LINKS = [('l', tarfile.SYMTYPE, '/etc', b''), ('l', tarfile.SYMTYPE, '../..', b''), ('a/l', tarfile.SYMTYPE, '..', b''),
         ('l', tarfile.LNKTYPE, '/etc/passwd', b''), ('l', tarfile.LNKTYPE, '../../outside', b''),
         ('l', tarfile.SYMTYPE, 'a/../..', b''), ('l', tarfile.SYMTYPE, 'C:\\', b''),
         ('l', tarfile.SYMTYPE, '..\\..', b'')]


@pytest.mark.parametrize('link', LINKS)
def test_no_link_of_an_archive_leads_out(tmp_path, cache, link):
    (tmp_path / 'outside').write_bytes(b'old')
    origin = tar_of(tmp_path / 'archive', ('a/f', tarfile.REGTYPE, '', TEXT), link, ('l', tarfile.REGTYPE, '', TEXT),
                    ('l/outside', tarfile.REGTYPE, '', TEXT))
    with pytest.raises(ValueError, match='was not unpacked'):
        get_file('name', origin, cache_dir=cache, extract=True)
    assert os.listdir(os.path.join(cache, 'datasets')) == ['name']
    assert (tmp_path / 'outside').read_bytes() == b'old'


@pytest.mark.parametrize('deep', [2, 25])
def test_no_chain_of_links_leads_out(tmp_path, cache, deep):
    """CVE-2025-4517: where paths get too long to be resolved, tarfile's own filter takes them for short ones."""
    step, members, where = 'd' * 200, [], ''
    for i in range(deep):
        members += [(f'{where}{step}', tarfile.DIRTYPE, '', b''), (f'{where}{i}', tarfile.SYMTYPE, step, b'')]
        where += f'{i}/'
    members += [(f'{where}up', tarfile.SYMTYPE, '../' * deep, b''),
                ('escape', tarfile.SYMTYPE, f'{where}up/../..', b''), ('escape/outside', tarfile.REGTYPE, '', TEXT)]
    with pytest.raises(ValueError, match='was not unpacked'):
        get_file('name', tar_of(tmp_path / 'archive', *members), cache_dir=cache, extract=True)
    assert os.listdir(os.path.join(cache, 'datasets')) == ['name'] and sorted(os.listdir(tmp_path)) == [
        'archive', 'cache']


@pytest.mark.parametrize('kind', [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_no_device_comes_out_of_an_archive(tmp_path, cache, kind):
    origin = tar_of(tmp_path / 'archive', ('a', tarfile.REGTYPE, '', TEXT), ('node', kind, '', b''))
    with pytest.raises(ValueError, match="'node' is neither a file nor a folder"):
        get_file('name', origin, cache_dir=cache, extract=True)
    assert os.listdir(os.path.join(cache, 'datasets')) == ['name']


def test_links_that_lead_down_are_unpacked(tmp_path, cache):
    origin = tar_of(tmp_path / 'archive', ('a/f', tarfile.REGTYPE, '', TEXT), ('b', tarfile.SYMTYPE, 'a', b''),
                    ('b/g', tarfile.REGTYPE, '', TEXT), ('h', tarfile.LNKTYPE, 'a/f', b''))
    folder = os.path.dirname(get_file('name', origin, cache_dir=cache, extract=True))
    assert sorted(os.listdir(folder)) == ['a', 'b', 'h', 'name'] and sorted(os.listdir(f'{folder}/a')) == ['f', 'g']
    assert content(f'{folder}/b/f') == content(f'{folder}/h') == TEXT


def test_a_link_in_a_zip_is_a_file(tmp_path, cache):
    with zipfile.ZipFile(tmp_path / 'archive', 'w') as archive:
        link = zipfile.ZipInfo('link')
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, '/etc')
    path = get_file('name', (tmp_path / 'archive').as_uri(), cache_dir=cache, extract=True)
    assert content(os.path.join(os.path.dirname(path), 'link')) == b'/etc' and not os.path.islink(
        os.path.join(os.path.dirname(path), 'link'))


def test_an_archive_that_is_refused_leaves_nothing_of_untar(tmp_path, cache):
    origin = tar_of(tmp_path / 'archive', ('data/f', tarfile.REGTYPE, '', TEXT), *LINKS[:1])
    with pytest.raises(ValueError, match='was not unpacked'):
        get_file('data', origin, cache_dir=cache, untar=True)
    assert os.listdir(os.path.join(cache, 'datasets')) == ['data.tar.gz']


# ---------------------------------------------------------------- batches

class Numbers(Sequence):
    """Batches (i, epoch), slower for lower i."""

    def __init__(self, n=5, wait=0.):
        self.n, self.wait, self.epoch = n, wait, 0

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        time.sleep(self.wait * (self.n - index))
        return index, self.epoch

    def on_epoch_end(self):
        self.epoch += 1


def take(enqueuer, n, **options):
    """The first n batches."""
    enqueuer.start(**options)
    batches = enqueuer.get()
    try:
        return [next(batches) for _ in range(n)]
    finally:
        enqueuer.stop()
        assert not enqueuer.is_running()
        assert enqueuer.uid not in data_utils._SHARED_SEQUENCES


def test_sequence():
    assert list(Numbers()) == [(i, 0) for i in range(5)]
    for call in (len, lambda x: x[0]):
        with pytest.raises(NotImplementedError, match='Sequence must define'):
            call(Sequence())


@pytest.mark.parametrize('processes, workers', [(False, 1), (False, 4), (True, 2)])
def test_batches_come_in_order(processes, workers):
    enqueuer = OrderedEnqueuer(Numbers(wait=.002), use_multiprocessing=processes)
    assert take(enqueuer, 12, workers=workers, max_queue_size=3) == [
        (i % 5, i // 5) for i in range(12)]


def test_batches_are_shuffled_anew_each_epoch():
    random.seed(1)
    first, second, order = list(range(5)), [], list(range(5))
    random.shuffle(order)
    first = list(order)
    random.shuffle(order)
    second = list(order)
    random.seed(1)
    assert take(OrderedEnqueuer(Numbers(), shuffle=True), 10) == [(i, 0) for i in first] + [(i, 1) for i in second]


def test_none_is_left_out():
    class Gaps(Numbers):
        def __getitem__(self, index):
            return None if index % 2 else index
    assert take(OrderedEnqueuer(Gaps(6)), 4) == [0, 2, 4, 0]
    assert take(GeneratorEnqueuer(iter([1, None, 2])), 2) == [1, 2]


@pytest.mark.parametrize('processes', [False, True])
def test_errors_reach_who_waits(processes):
    class Broken(Numbers):
        def __getitem__(self, index):
            raise IndexError('no such batch')
    with pytest.raises(IndexError, match='no such batch'):
        take(OrderedEnqueuer(Broken(), processes), 1)


class HalfPickled(Exception):
    """Can be sent to another process, but not be made again there."""

    def __init__(self, first, second):
        super().__init__(first)


def end_process():
    os._exit(1)


def leave():
    sys.exit(3)


def fail():
    raise HalfPickled(1, 2)


@pytest.mark.parametrize('act, processes, error', [
    (leave, False, SystemExit), (leave, True, SystemExit), (fail, False, HalfPickled), (fail, True, BrokenProcessPool),
    (end_process, True, BrokenProcessPool)])
def test_nobody_waits_for_workers_that_are_gone(act, processes, error):
    class Broken(Numbers):
        def __getitem__(self, index):
            return index if index < 2 else act()
    with pytest.raises(error):
        take(OrderedEnqueuer(Broken(), processes), 3)


class Products(Numbers):
    """Each batch takes large products, of torch or numpy, in as many threads as they like."""

    def __init__(self, product):
        super().__init__(8)
        self.product = product

    def __getitem__(self, index):
        return float(self.product(index))


@pytest.mark.parametrize('product', [
    lambda i: (torch.ones(300, 300) @ torch.full((300, 300), i / 300.)).mean(),
    lambda i: (np.ones((300, 300)) @ np.full((300, 300), i / 300.)).mean()])
def test_processes_may_compute_what_this_one_computed(product):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        product(1)
        np.testing.assert_allclose(take(OrderedEnqueuer(Products(product), True), 12, workers=2),
                                   [i % 8 for i in range(12)], rtol=1e-5)
    finally:
        torch.set_num_threads(threads)


def test_processes_end_in_the_middle_of_a_batch():
    enqueuer = OrderedEnqueuer(Numbers(2, wait=30.), use_multiprocessing=True)
    enqueuer.start()
    time.sleep(.2)
    enqueuer.stop()
    deadline = time.time() + 10.
    while multiprocessing.active_children() and time.time() < deadline:
        time.sleep(.02)
    assert multiprocessing.active_children() == []


def test_errors_between_epochs_reach_who_waits():
    class Broken(Numbers):
        def on_epoch_end(self):
            raise OSError('no more data')
    with pytest.raises(OSError, match='no more data'):
        take(OrderedEnqueuer(Broken()), 6)


def test_stop_in_the_middle():
    enqueuer = OrderedEnqueuer(Numbers(100))
    assert take(enqueuer, 2, workers=3, max_queue_size=2) == [(0, 0), (1, 0)]
    assert take(enqueuer, 3) == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize('processes', [False, True])
def test_generator(processes):
    enqueuer = GeneratorEnqueuer((i * i for i in range(1000)), processes)
    assert take(enqueuer, 5) == [0, 1, 4, 9, 16]


def test_a_generator_that_ends():
    enqueuer = GeneratorEnqueuer(iter(range(3)))
    enqueuer.start(max_queue_size=10)
    assert list(enqueuer.get()) == [0, 1, 2]
    enqueuer.stop()


def test_workers_that_are_ahead_go_on_when_most_are_taken():
    made = []
    enqueuer = GeneratorEnqueuer(made.append(i) or i for i in range(1000))
    enqueuer.start(max_queue_size=8)
    batches, counts = enqueuer.get(), []
    for i in range(6):
        while not all(result.done() for result in enqueuer._pending):
            time.sleep(.001)
        assert next(batches) == i
        counts.append(enqueuer._asked)
    enqueuer.stop()
    assert counts == [8, 8, 8, 8, 8, 14]


def test_batches_of_other_workers_come_after_the_end():
    lock, left = threading.Lock(), [3, 2, 1]

    class Slow:
        """The first batch takes longest, so that the end comes while others are under way."""

        def __next__(self):
            with lock:
                if not left:
                    raise StopIteration
                n = left.pop()
            time.sleep(.05)
            return n
    enqueuer = GeneratorEnqueuer(Slow())
    enqueuer.start(workers=4, max_queue_size=8)
    assert sorted(enqueuer.get()) == [1, 2, 3]
    enqueuer.stop()


def test_a_generator_that_many_threads_cannot_share():
    def slow():
        while True:
            time.sleep(.05)
            yield 1
    with pytest.raises(RuntimeError, match='^Your generator is NOT thread-safe'):
        take(GeneratorEnqueuer(slow()), 5, workers=4)


def test_processes_are_seeded_apart():
    def draws():
        while True:
            yield float(np.random.rand())
    seeded = GeneratorEnqueuer(draws(), use_multiprocessing=True, random_seed=3)
    assert len(set(take(seeded, 6, workers=2))) == 6


def test_wait_time_is_gone():
    with pytest.warns(DeprecationWarning, match='^`wait_time` is not used anymore.$'):
        GeneratorEnqueuer(iter([]), wait_time=.1)
