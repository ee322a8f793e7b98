"""Texts to sequences of word numbers and back, as keras_preprocessing 1.1.0 does it."""
import hashlib
import json
import warnings
from collections import Counter, OrderedDict, defaultdict

import numpy as np

from ..utils.generic_utils import keep_arguments

_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_MATRIX_MODES = {  # what word i weighs in a sequence, from its count there, the sequence's length, and all texts
    'binary': lambda tokenizer, i, count, length: 1,
    'count': lambda tokenizer, i, count, length: count,
    'freq': lambda tokenizer, i, count, length: count / length,
    'tfidf': lambda tokenizer, i, count, length: (1 + np.log(count)) * np.log(
        1 + tokenizer.document_count / (1 + tokenizer.index_docs.get(i, 0))),
}


def text_to_word_sequence(text, filters=_FILTERS, lower=True, split=' '):
    """The words of a text: a list of strings, with every character of `filters` read as a separator `split`."""
    text = text.lower() if lower else text
    return [word for word in text.translate(str.maketrans(dict.fromkeys(filters, split))).split(split) if word]


def one_hot(text, n, filters=_FILTERS, lower=True, split=' '):
    """A list of integers in [1, n), one for each word, by Python's `hash`: other numbers in each process.

    Two words may get the same number. `hashing_trick` with 'md5' gives the same ones everywhere.
    """
    return hashing_trick(text, n, hash, filters, lower, split)


def hashing_trick(text, n, hash_function=None, filters=_FILTERS, lower=True, split=' '):
    """A list of integers in [1, n), one for each word, by `hash_function` modulo n - 1.

    `hash_function`: None for Python's `hash`, 'md5', or any function of a string that returns an integer.
    """
    if hash_function == 'md5':
        def hash_function(word):
            return int(hashlib.md5(word.encode()).hexdigest(), 16)
    hash_function = hash_function or hash
    return [hash_function(word) % (n - 1) + 1 for word in text_to_word_sequence(text, filters, lower, split)]


def renamed_num_words(kwargs, function, num_words):
    """`num_words`, or the `nb_words` of Keras 1 from `kwargs`. Raises TypeError for whatever else is there."""
    if 'nb_words' in kwargs:
        warnings.warn(f'The `nb_words` argument in `{function}` has been renamed `num_words`.', stacklevel=3)
        num_words = kwargs.pop('nb_words')
    if kwargs:
        raise TypeError(f'Unrecognized keyword arguments: {kwargs}')
    return num_words


class Tokenizer:
    """Numbers the words of texts by how often they occur, from 1 up; 0 stands for no word.

    Arguments:
        num_words: texts and sequences keep the ``num_words - 1`` most frequent words only. None: all.
        filters, lower, split: as for `text_to_word_sequence`. A text that is a list is a list of words already.
        char_level: every character is a word.
        oov_token: the word, number 1, that stands for words not known or not frequent enough. None: these are left out.
        document_count: number of texts seen so far.
    """

    def __init__(self, num_words=None, filters=_FILTERS, lower=True, split=' ', char_level=False, oov_token=None,
                 document_count=0, **kwargs):
        num_words = renamed_num_words(kwargs, 'Tokenizer', num_words)
        keep_arguments(self, locals())
        self.word_counts = OrderedDict()
        self.word_docs, self.index_docs = defaultdict(int), defaultdict(int)
        self.index_word, self.word_index = {}, {}

    def _words(self, text):
        if isinstance(text, list):
            return [word.lower() for word in text] if self.lower else text
        if self.char_level:
            return text.lower() if self.lower else text
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts):
        """Counts the words of an iterable of texts (strings, or lists of words), and numbers all words anew."""
        for text in texts:
            self.document_count += 1
            for word, count in Counter(self._words(text)).items():
                self.word_counts[word] = self.word_counts.get(word, 0) + count
                self.word_docs[word] += 1
        words = sorted(self.word_counts, key=self.word_counts.get, reverse=True)
        words = words if self.oov_token is None else [self.oov_token, *words]
        self.word_index = {word: i for i, word in enumerate(words, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        self.index_docs.update((self.word_index[word], count) for word, count in self.word_docs.items())

    def fit_on_sequences(self, sequences):
        """Counts in how many of the sequences of word numbers each number occurs, for `sequences_to_matrix`."""
        self.document_count += len(sequences)
        for sequence in sequences:
            for i in set(sequence):
                self.index_docs[i] += 1

    def _kept(self, items, index_of):
        """The numbers of `items`: those of the out-of-vocabulary token, or none, for what is not known or too rare."""
        oov = self.word_index.get(self.oov_token)
        for item in items:
            i = index_of(item)
            if i is not None and not (self.num_words and i >= self.num_words):
                yield i
            elif oov is not None:
                yield oov

    def texts_to_sequences(self, texts):
        """A list with a list of word numbers for each text."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts):
        """Gives the list of word numbers of one text after the other."""
        for text in texts:
            yield list(self._kept(self._words(text), self.word_index.get))

    def sequences_to_texts(self, sequences):
        """A list with a string for each sequence of word numbers."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences):
        """Gives the text, words joined by spaces, of one sequence of word numbers after the other."""
        for sequence in sequences:
            numbers = self._kept(sequence, lambda i: i if i in self.index_word else None)
            yield ' '.join(self.index_word[i] for i in numbers)

    def texts_to_matrix(self, texts, mode='binary'):
        """`sequences_to_matrix` of the texts' sequences."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences, mode='binary'):
        """An array (sequences, words), float64: what each word weighs in each sequence of word numbers.

        `mode`: 'binary', 'count', 'freq' (share of the sequence), or 'tfidf', which is (1 + log count) * log(1 + N / (1
        + n)) where n of the N texts that were seen have the word. Raises ValueError for another mode, and where neither
        `num_words` nor a text seen before says how many words there are.
        """
        if mode not in _MATRIX_MODES:
            raise ValueError(f'Unknown vectorization mode: {mode!r}. Expected one of {list(_MATRIX_MODES)}.')
        if not self.num_words and not self.word_index:
            raise ValueError('Specify a dimension (`num_words` argument), or fit on some text data first.')
        if mode == 'tfidf' and not self.document_count:
            raise ValueError('Fit the Tokenizer on some data before using tfidf mode.')
        num_words = self.num_words or len(self.word_index) + 1
        x = np.zeros((len(sequences), num_words))
        for row, sequence in zip(x, sequences):
            for i, count in Counter(sequence).items():
                if i < num_words:
                    row[i] = _MATRIX_MODES[mode](self, i, count, len(sequence))
        return x

    def get_config(self):
        """The arguments, and the counts and numbers of the words, each a JSON text."""
        names = 'num_words', 'filters', 'lower', 'split', 'char_level', 'oov_token', 'document_count'
        return {**{name: getattr(self, name) for name in names},
                **{name: json.dumps(getattr(self, name)) for name in _COUNTS}}

    def to_json(self, **kwargs):
        """The tokenizer as a JSON text, for `tokenizer_from_json`. `kwargs` go to `json.dumps`."""
        return json.dumps({'class_name': type(self).__name__, 'config': self.get_config()}, **kwargs)


_COUNTS = 'word_counts', 'word_docs', 'index_docs', 'index_word', 'word_index'


def tokenizer_from_json(json_string):
    """The `Tokenizer` that `Tokenizer.to_json` wrote, here or in Keras."""
    config = json.loads(json_string)['config']
    counts = {name: json.loads(config.pop(name)) for name in _COUNTS}
    tokenizer = Tokenizer(**config)
    for name, values in counts.items():
        if name.startswith('index'):  # JSON has no integer keys
            values = {int(i): value for i, value in values.items()}
        kind = type(getattr(tokenizer, name))
        setattr(tokenizer, name, defaultdict(int, values) if kind is defaultdict else kind(values))
    return tokenizer
