"""Shuffled and split data, and sequences of word numbers with some of the words."""
import numpy as np

from ..preprocessing.sequence import _remove_long_seq


def shuffled(x, y):
    """Both arrays in one new order, from numpy's global state."""
    order = np.arange(len(x))
    np.random.shuffle(order)
    return x[order], y[order]


def split(x, y, n):
    """The first `n` samples, and the others, as arrays; lists of unequal length in arrays of objects."""
    def array(rows):
        return np.array(rows, dtype=object if len({np.shape(row) for row in rows}) > 1 else None)
    return (array(x[:n]), array(y[:n])), (array(x[n:]), array(y[n:]))


def encoded(xs, labels, num_words, skip_top, maxlen, start_char, oov_char, index_from):
    """Lists of words and their labels, changed as `imdb.load_data` says."""
    start = [] if start_char is None else [start_char]
    xs = [start + [word + index_from for word in x] for x in xs]
    if maxlen:
        xs, labels = _remove_long_seq(maxlen, xs, labels)
        if not xs:
            raise ValueError(f'After filtering for sequences shorter than maxlen={maxlen}, no sequence was kept. '
                             'Increase maxlen.')
    num_words = num_words or max(max(x) for x in xs)
    other = [] if oov_char is None else [oov_char]
    return [[kept for word in x for kept in ([word] if skip_top <= word < num_words else other)] for x in xs], labels
