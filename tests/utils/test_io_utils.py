"""HDF5Matrix, the overwrite prompt and the dict face on HDF5 groups."""
import builtins

import h5py
import numpy as np
import pytest

from kfacade.utils.io_utils import H5Dict, HDF5Matrix, ask_to_proceed_with_overwrite, h5dict

DATA = np.arange(24, dtype='float32').reshape(8, 3)


@pytest.fixture
def data_file(tmp_path):
    path = str(tmp_path / 'data.h5')
    with h5py.File(path, 'w') as f:
        f['x'] = DATA
    yield path
    if HDF5Matrix.refs.get(path):
        HDF5Matrix.refs.pop(path).close()


@pytest.mark.parametrize('key', [0, 3, np.int64(2), slice(None), slice(1, 3), slice(2, None), [0, 2], np.array([1, 3])])
def test_matrix_counts_from_start(data_file, key):
    part = HDF5Matrix(data_file, 'x', start=2, end=6)
    np.testing.assert_array_equal(part[key], DATA[2:6][key])
    assert (part.shape, part.ndim, part.size, len(part), part.dtype) == ((4, 3), 2, 12, 4, np.float32)


@pytest.mark.parametrize('key', [4, slice(0, 5), [0, 4], np.array([1, 6])])
def test_matrix_ends_at_end(data_file, key):
    with pytest.raises(IndexError, match='outside the 4 samples'):
        HDF5Matrix(data_file, 'x', start=2, end=6)[key]


def test_matrix_normalizes_what_it_reads(data_file):
    matrix = HDF5Matrix(data_file, 'x', normalizer=lambda rows: (rows[..., :2] / 2).astype('float64'))
    assert (matrix.shape, matrix.dtype, matrix.ndim, matrix.size) == ((8, 2), np.float64, 2, 16)
    np.testing.assert_array_equal(matrix[1:3], DATA[1:3, :2] / 2)


def test_matrices_share_one_open_file_and_open_it_again(data_file):
    first, second = HDF5Matrix(data_file, 'x'), HDF5Matrix(data_file, 'x', start=4)
    assert first.data.file == second.data.file == HDF5Matrix.refs[data_file]
    HDF5Matrix.refs[data_file].close()
    np.testing.assert_array_equal(HDF5Matrix(data_file, 'x')[7], DATA[7])


@pytest.mark.parametrize('answers, proceed', [(['y'], True), ([' N '], False), (['maybe', '', 'y'], True)])
def test_overwriting_is_asked_for(monkeypatch, capsys, answers, proceed):
    questions, given = [], iter(answers)
    monkeypatch.setattr(builtins, 'input', lambda text: questions.append(text) or next(given))
    assert ask_to_proceed_with_overwrite('model.h5') is proceed
    assert questions == ['[WARNING] model.h5 already exists - overwrite? [y/n]',
                         *['Enter "y" (overwrite) or "n" (cancel).'] * (len(answers) - 1)]
    assert capsys.readouterr().out == ('[TIP] Next time specify overwrite=True!\n' if proceed else '')


def test_overwriting_is_an_error_where_nobody_answers(monkeypatch):
    def nobody(text):
        raise EOFError
    monkeypatch.setattr(builtins, 'input', nobody)
    with pytest.raises(FileExistsError, match='model.h5 already exists'):
        ask_to_proceed_with_overwrite('model.h5')


@pytest.mark.parametrize('kind', ['file', 'dict'])
def test_h5dict_keeps_arrays_names_texts_and_groups(tmp_path, kind):
    store = {} if kind == 'dict' else str(tmp_path / 'store.h5')
    f = h5dict(store, mode='w')
    f['array'] = DATA
    f['number'] = np.int64(3)
    f['text'] = b'words'
    f['names'] = [b'one', b'three']
    f['group']['inner'] = DATA[0]
    f.close()

    f = H5Dict(store, mode='r')
    np.testing.assert_array_equal(f['array'], DATA)
    assert f['number'] == 3 and f['text'] == b'words' and f['names'] == [b'one', b'three']
    np.testing.assert_array_equal(f['group'][b'inner'], DATA[0])
    assert 'text' in f and 'array' in f and 'absent' not in f
    assert f.get('absent', 5) == 5 and f.get('text') == b'words'
    with pytest.raises(ValueError, match='Cannot set item in read only mode'):
        f['more'] = DATA
    with pytest.raises(ValueError, match='Cannot create group in read only mode'):
        f['absent']
    f.close()


def test_h5dict_gives_text_as_text(tmp_path):
    given = {'text': 'words', 'greek': 'λόγος', 'empty': '', 'bytes': b'words', 'fixed': np.bytes_('words'), 'pi': 3.1,
             'names': ['a', 'bc'], 'none': [], 'yes': True}
    back = {**given, 'names': [b'a', b'bc']}  # as Keras has them
    f = H5Dict(str(tmp_path / 'text.h5'), mode='w')
    for name, value in given.items():
        f[name] = value
    f.data.attrs['text array'] = np.array(['a', 'b'], dtype=h5py.string_dtype())
    f.close()
    f = H5Dict(str(tmp_path / 'text.h5'), mode='r')
    for name, value in back.items():
        if name not in ('none', 'fixed'):
            assert f[name] == value and isinstance(f[name], type(value) if name != 'yes' else np.bool_), name
    assert np.asarray(f['none']).shape == (0,) and f['fixed'] == np.bytes_('words')
    assert isinstance(f['text array'], np.ndarray) and f['text array'].tolist() == ['a', 'b']
    f.close()


def test_h5dict_splits_long_lists_of_names(tmp_path):
    names = [b'n%03d' % i + b'x' * 2000 for i in range(41)]
    f = H5Dict(str(tmp_path / 'long.h5'), mode='w')
    f['names'] = names
    assert sorted(f.data.attrs) == ['names0', 'names1'] and f['names'] == names
    with pytest.raises(RuntimeError, match='larger than 64512 bytes'):
        f['longest'] = [b'x' * 64513]
    f['array'] = DATA
    with pytest.raises(KeyError, match='Group with name "array" exists'):
        f['array'] = DATA
    f.close()


def test_h5dict_takes_nothing_else():
    with pytest.raises(TypeError, match='Required Group, str or dict'):
        H5Dict(3)
