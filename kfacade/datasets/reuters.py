"""News in 46 topics, 11,228 texts, as sequences of word numbers."""
import json

import numpy as np

from ..preprocessing.text import renamed_num_words
from ..utils.data_utils import get_file
from ._common import encoded, shuffled, split


def load_data(path='reuters.npz', num_words=None, skip_top=0, maxlen=None, test_split=0.2, seed=113, start_char=1,
              oov_char=2, index_from=3, **kwargs):
    """As `imdb.load_data`; y: int64 (samples,), the topic. `test_split`: share of the samples for tests."""
    num_words = renamed_num_words(kwargs, 'load_data', num_words)
    path = get_file(path, origin='https://s3.amazonaws.com/text-datasets/reuters.npz',
                    file_hash='87aedbeb0cb229e378797a632c1997b6')
    with np.load(path, allow_pickle=True) as f:  # whose hash is right
        xs, labels = f['x'], f['y']
    np.random.seed(seed)
    xs, labels = encoded(*shuffled(xs, labels), num_words, skip_top, maxlen, start_char, oov_char, index_from)
    return split(xs, labels, int(len(xs) * (1 - test_split)))


def get_word_index(path='reuters_word_index.json'):
    """{word: number}, without `index_from`."""
    path = get_file(path, origin='https://s3.amazonaws.com/text-datasets/reuters_word_index.json',
                    file_hash='4d44cc38712099c9e383dc6e5f11a921')
    with open(path) as f:
        return json.load(f)
