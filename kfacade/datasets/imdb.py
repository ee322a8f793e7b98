"""Film reviews, 25,000 and 25,000 for tests, as sequences of word numbers, labelled as favourable or not."""
import json

import numpy as np

from ..preprocessing.text import renamed_num_words
from ..utils.data_utils import get_file
from ._common import encoded, shuffled, split


def load_data(path='imdb.npz', num_words=None, skip_top=0, maxlen=None, seed=113, start_char=1, oov_char=2,
              index_from=3, **kwargs):
    """x: lists of word numbers, in an array. y: int64 (samples,), 0 or 1. Words are numbered by frequency.

    Arguments:
        path: name of the file in the cache.
        num_words, skip_top: words from this number on, and those below, become `oov_char` (None: are left out).
        maxlen: sequences as long as this, or longer, are left out.
        seed: numpy's, for shuffling.
        start_char: the number that each sequence begins with; None for none.
        index_from: what is added to the words' numbers.
    """
    num_words = renamed_num_words(kwargs, 'load_data', num_words)
    path = get_file(path, origin='https://s3.amazonaws.com/text-datasets/imdb.npz',
                    file_hash='599dadb1135973df5b59232a0e9a887c')
    with np.load(path, allow_pickle=True) as f:  # whose hash is right
        parts = [(f['x_train'], f['y_train']), (f['x_test'], f['y_test'])]
    np.random.seed(seed)
    parts = [shuffled(*part) for part in parts]
    xs, labels = (np.concatenate(both) for both in zip(*parts))
    xs, labels = encoded(xs, labels, num_words, skip_top, maxlen, start_char, oov_char, index_from)
    return split(xs, labels, len(parts[0][0]))


def get_word_index(path='imdb_word_index.json'):
    """{word: number}, without `index_from`."""
    path = get_file(path, origin='https://s3.amazonaws.com/text-datasets/imdb_word_index.json',
                    file_hash='bfafd718b763782e994055a2d397834f')
    with open(path) as f:
        return json.load(f)
