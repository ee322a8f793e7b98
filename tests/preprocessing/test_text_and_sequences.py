"""Texts and sequences: what the values in `reference` do not show."""
import json

import numpy as np
import pytest

from kfacade.preprocessing.sequence import (
    TimeseriesGenerator,
    make_sampling_table,
    pad_sequences,
    skipgrams,
    timeseries_generator_from_json,
)
from kfacade.preprocessing.text import Tokenizer, hashing_trick, one_hot, text_to_word_sequence, tokenizer_from_json
from kfacade.utils import Sequence

pd = pytest.importorskip('pandas')

TEXTS = ['The cat sat on the mat.', 'The dog sat on the log.', 'Dogs and cats living together.']


@pytest.fixture
def tokenizer():
    tokenizer = Tokenizer(num_words=10, oov_token='<unk>')
    tokenizer.fit_on_texts(TEXTS)
    return tokenizer


def test_words():
    assert text_to_word_sequence('hello! ? world!') == ['hello', 'world']
    assert text_to_word_sequence('hello!stop?world!', split='stop') == ['hello', 'world']
    assert text_to_word_sequence('ali! veli? kırk') == ['ali', 'veli', 'kırk']


def test_one_hot_is_pythons_hash():
    assert one_hot('The cat', 50) == [hash('the') % 49 + 1, hash('cat') % 49 + 1] == hashing_trick('The cat', 50)
    assert set(one_hot(TEXTS[0], 5)) <= {1, 2, 3, 4}


def test_texts_come_back(tokenizer):
    texts = tokenizer.sequences_to_texts(tokenizer.texts_to_sequences(TEXTS))
    assert texts == ['the cat sat on the mat', 'the dog sat on the log', 'dogs <unk> <unk> <unk> <unk>']


def test_texts_may_come_from_anywhere(tokenizer):
    for texts in (iter(TEXTS), pd.Series(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object)):
        other = Tokenizer(num_words=10, oov_token='<unk>')
        other.fit_on_texts(texts)
        assert other.word_counts == tokenizer.word_counts
    np.testing.assert_array_equal(tokenizer.sequences_to_matrix(np.array([[1, 2], [2, 2]]), 'count')[:, :3],
                                  [[0, 1, 1], [0, 0, 2]])


def test_a_tokenizer_goes_on_after_a_round_trip(tokenizer):
    copy = tokenizer_from_json(tokenizer.to_json(indent=1))
    assert copy.get_config() == tokenizer.get_config()
    for each in (tokenizer, copy):
        each.fit_on_texts(['a new cat'])
    assert copy.get_config() == tokenizer.get_config() and copy.word_counts['cat'] == 2
    assert json.loads(tokenizer.to_json())['class_name'] == 'Tokenizer'


def test_files_of_keras_are_read():
    """What Keras' `to_json` wrote after `fit_on_texts(['a b a'])`."""
    config = {'num_words': None, 'filters': '', 'lower': True, 'split': ' ', 'char_level': False, 'oov_token': None,
              'document_count': 1, 'word_counts': '{"a": 2, "b": 1}', 'word_docs': '{"b": 1, "a": 1}',
              'index_docs': '{"2": 1, "1": 1}', 'index_word': '{"1": "a", "2": "b"}', 'word_index': '{"a": 1, "b": 2}'}
    tokenizer = tokenizer_from_json(json.dumps({'class_name': 'Tokenizer', 'config': config}))
    assert tokenizer.texts_to_sequences(['b a c']) == [[2, 1]]
    assert tokenizer.sequences_to_texts([[1, 2]]) == ['a b']


@pytest.mark.parametrize('call, error, message', [
    (lambda: Tokenizer().texts_to_matrix(['a']), ValueError, r'Specify a dimension \(`num_words` argument\), or fit'),
    (lambda: Tokenizer(9).sequences_to_matrix([[1]], 'tfidf'), ValueError, 'Fit the Tokenizer on some data before'),
    (lambda: Tokenizer(9).sequences_to_matrix([[1]], 'tf'), ValueError, "Unknown vectorization mode: 'tf'"),
    (lambda: Tokenizer(words=9), TypeError, 'words'),
    (lambda: pad_sequences(iter([[1]])), ValueError, '`sequences` must be iterable'),
    (lambda: pad_sequences([[1], 2]), ValueError, 'must be a list of iterables. Found non-iterable: 2'),
    (lambda: pad_sequences([[1]], padding='left'), ValueError, 'Padding type "left" not understood'),
    (lambda: pad_sequences([[1]], truncating='left'), ValueError, 'Truncating type "left" not understood'),
    (lambda: pad_sequences([['a']], value='-'), ValueError, 'You should set `dtype=object` for variable'),
    (lambda: pad_sequences([[[1, 2]], [[1, 2, 3]]]), ValueError, r'\(3,\) of sequence at position 1 is different from'),
    (lambda: TimeseriesGenerator([1], [1, 2], 1), ValueError, 'Data length is 1 while target length is 2'),
    (lambda: TimeseriesGenerator(range(50), range(50), 50), ValueError, '`start_index.length=50 > end_index=49` is'),
    (lambda: TimeseriesGenerator([1j] * 3, [0] * 3, 1).to_json(), TypeError, 'Data not JSON Serializable: .*complex'),
])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_keras_1_argument():
    with pytest.warns(UserWarning, match='The `nb_words` argument in `Tokenizer` has been renamed `num_words`'):
        assert Tokenizer(nb_words=3).num_words == 3


def test_padding_of_ragged_and_object_inputs():
    ragged = [np.array([1, 2]), (3,), [4, 5, 6]]
    expected = [[0, 1, 2], [0, 0, 3], [4, 5, 6]]
    for sequences in (ragged, np.array(ragged, dtype=object), pd.Series(ragged)):
        np.testing.assert_array_equal(pad_sequences(sequences), expected)
    out = pad_sequences([[[1], [1, 2]], [[3], [4, 5], []]], dtype=object, value=None)
    assert out.tolist() == [[None, [1], [1, 2]], [[3], [4, 5], []]]


def test_skipgrams_draw_as_python_is_seeded():
    couples, labels = skipgrams(np.arange(5), vocabulary_size=5, window_size=1, categorical=True)
    assert len(couples) == len(labels) == 12 and sorted(labels) == [[0, 1]] * 6 + [[1, 0]] * 6
    assert all(abs(a - b) == 1 for (a, b), label in zip(couples, labels) if label == [0, 1])
    np.testing.assert_allclose(make_sampling_table(3), [0.00315225, 0.00315225, 0.00547597], rtol=1e-5)


def test_no_step_of_a_series_is_missed():
    x = np.arange(23)[:, None]
    for length in range(1, 23):
        series = TimeseriesGenerator(x, x, length=length, batch_size=4)
        assert isinstance(series, Sequence)
        np.testing.assert_array_equal(np.concatenate([y for _, y in series]), np.arange(length, 23)[:, None])
    series = TimeseriesGenerator(x, x, length=3, stride=5, batch_size=6, shuffle=True)
    assert (len(series), len(series[0][1])) == (1, 6)
    cube, target = np.random.rand(50, 2, 3, 4), np.random.rand(50, 2, 1)
    series = TimeseriesGenerator(cube, target, 10, sampling_rate=2, start_index=10, end_index=30, batch_size=2)
    np.testing.assert_array_equal(series[0][0], [cube[10:19:2], cube[11:20:2]])
    np.testing.assert_array_equal(series[5][1], [target[30]])


def test_series_round_trip():
    series = TimeseriesGenerator(np.arange(50)[:, None], list(range(50)), 10, 2, start_index=3, batch_size=2)
    copy = timeseries_generator_from_json(series.to_json())
    assert copy.get_config() == series.get_config() and len(copy) == len(series)
    for (x, y), (x2, y2) in zip(series, copy):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
