"""Sequences of unequal length, word pairs for embeddings, windows over time series, as keras_preprocessing 1.1.0."""
import json
import random

import numpy as np

from ..utils.data_utils import Sequence
from ..utils.generic_utils import keep_arguments


def pad_sequences(sequences, maxlen=None, dtype='int32', padding='pre', truncating='pre', value=0.):
    """An array (sequences, `maxlen`, ...) of sequences of unequal length.

    Arguments:
        sequences: a list (or array) of lists of numbers, vectors or strings.
        maxlen: length to cut or pad to. None: that of the longest sequence.
        dtype: type of the array; `object`, or a string type that is long enough, where `value` is a string.
        padding, truncating: 'pre' or 'post': the end at which to pad and to cut.
        value: what to pad with.
    Raises ValueError for what is no list of sequences, and where a sequence's elements have another shape.
    """
    if not hasattr(sequences, '__len__'):
        raise ValueError('`sequences` must be iterable.')
    for argument, given in (('Truncating', truncating), ('Padding', padding)):
        if given not in ('pre', 'post'):
            raise ValueError(f'{argument} type "{given}" not understood. Expected "pre" or "post".')
    for sequence in sequences:
        if not hasattr(sequence, '__len__'):
            raise ValueError(f'`sequences` must be a list of iterables. Found non-iterable: {sequence}')
    if isinstance(value, str) and np.dtype(dtype).kind not in 'OU':
        raise ValueError(f"`dtype` {dtype} is not compatible with `value`'s type: {type(value)}\n"
                         'You should set `dtype=object` for variable length strings.')
    maxlen = np.max([len(sequence) for sequence in sequences]) if maxlen is None else maxlen
    # As objects: elements may themselves be of unequal length.
    shape = next((np.asarray(sequence, object).shape[1:] for sequence in sequences if len(sequence)), ())
    x = np.full((len(sequences), maxlen, *shape), value, dtype=dtype)
    for i, sequence in enumerate(sequences):
        if not len(sequence):
            continue
        kept = np.asarray(sequence[-maxlen:] if truncating == 'pre' else sequence[:maxlen], dtype=dtype)
        if kept.shape[1:] != shape:
            raise ValueError(f'Shape of sample {kept.shape[1:]} of sequence at position {i} is different from expected '
                             f'shape {shape}')
        x[i, slice(len(kept)) if padding == 'post' else slice(-len(kept), None)] = kept
    return x


def make_sampling_table(size, sampling_factor=1e-5):
    """The probability to keep a word, for words ranked by frequency: an array (size,), for `skipgrams`.

    It is min(1, sqrt(`sampling_factor` / frequency)), the subsampling of word2vec, with Zipf's law for the frequency:
    1 / (rank * (log(rank) + 0.577) + 1/2 - 1/(12 rank)).
    """
    rank = np.maximum(np.arange(size), 1)
    inverse_frequency = rank * (np.log(rank) + 0.577) + 0.5 - 1. / (12. * rank)
    f = sampling_factor * inverse_frequency
    return np.minimum(1., f / np.sqrt(f))


def skipgrams(sequence, vocabulary_size, window_size=4, negative_samples=1., shuffle=True, categorical=False,
              sampling_table=None, seed=None):
    """Pairs (word, word near it), labelled 1, and (word, random word), labelled 0, for word2vec.

    Arguments:
        sequence: word numbers; 0 is no word and skipped.
        vocabulary_size: highest word number + 1.
        window_size: how far a word may be away.
        negative_samples: random pairs for each pair of neighbours.
        shuffle: whether to shuffle the pairs; `seed` is that of the shuffling. Python's `random` draws all.
        categorical: labels are [1, 0] and [0, 1].
        sampling_table: the probability to keep a word, by its number.
    Returns a list of pairs and a list of labels.
    """
    no, yes = ([1, 0], [0, 1]) if categorical else (0, 1)
    couples = []
    for i, word in enumerate(sequence):
        if not word or sampling_table is not None and sampling_table[word] < random.random():
            continue
        start = max(0, i - window_size)
        couples += [[word, other] for j, other in enumerate(sequence[start:i + window_size + 1], start)
                    if j != i and other]
    labels = [yes] * len(couples)
    if negative_samples > 0:
        words = [word for word, _ in couples]
        random.shuffle(words)
        count = int(len(labels) * negative_samples)
        couples += [[words[i % len(words)], random.randint(1, vocabulary_size - 1)] for i in range(count)]
        labels += [no] * count
    if shuffle:
        seed = random.randint(0, 10**7) if seed is None else seed
        for values in (couples, labels):
            random.seed(seed)
            random.shuffle(values)
    return couples, labels


def _remove_long_seq(maxlen, seq, label):
    """The sequences shorter than `maxlen`, and their labels: two lists."""
    kept = [(x, y) for x, y in zip(seq, label) if len(x) < maxlen]
    return [x for x, _ in kept], [y for _, y in kept]


class TimeseriesGenerator(Sequence):
    """Batches of windows over a series: inputs (batch, `length` / `sampling_rate`, ...), targets (batch, ...).

    Arguments:
        data: array or list of steps. targets: what belongs to each step; the target of a window is that of the step
            after it.
        length: steps that a window spans. sampling_rate: it holds each n-th of them.
        stride: steps from one window to the next.
        start_index, end_index: the first and last step to use (None: the last there is).
        shuffle: windows are drawn at random, by numpy, instead of in order. reverse: the last step of a window comes
            first.
        batch_size: windows in a batch; the last may have fewer.
    Raises ValueError where data and targets are not equally long, or shorter than a window.
    """

    def __init__(self, data, targets, length, sampling_rate=1, stride=1, start_index=0, end_index=None, shuffle=False,
                 reverse=False, batch_size=128):
        if len(data) != len(targets):
            raise ValueError(f'Data and targets have to be of same length. Data length is {len(data)} while target '
                             f'length is {len(targets)}')
        start_index, end_index = start_index + length, len(data) - 1 if end_index is None else end_index
        keep_arguments(self, locals())
        if start_index > end_index:
            raise ValueError(f'`start_index+length={start_index} > end_index={end_index}` is disallowed, as no part of '
                             'the sequence would be left to be used as current step.')

    def __len__(self):
        step = self.batch_size * self.stride
        return (self.end_index - self.start_index + step) // step

    def __getitem__(self, index):
        if self.shuffle:
            rows = np.random.randint(self.start_index, self.end_index + 1, size=self.batch_size)
        else:
            step = self.batch_size * self.stride
            start = self.start_index + step * index
            rows = np.arange(start, min(start + step, self.end_index + 1), self.stride)
        samples = np.array([self.data[row - self.length:row:self.sampling_rate] for row in rows])
        targets = np.array([self.targets[row] for row in rows])
        return (samples[:, ::-1, ...] if self.reverse else samples), targets

    def get_config(self):
        """The arguments; `data` and `targets` as JSON texts, and `length` added to `start_index`."""
        names = 'length sampling_rate stride start_index end_index shuffle reverse batch_size'.split()
        try:
            data, targets = (json.dumps(values.tolist() if hasattr(values, 'tolist') else values)
                             for values in (self.data, self.targets))
        except TypeError as error:
            raise TypeError(f'Data not JSON Serializable: {error}') from error
        return {'data': data, 'targets': targets, **{name: getattr(self, name) for name in names}}

    def to_json(self, **kwargs):
        """The generator as a JSON text, for `timeseries_generator_from_json`. `kwargs` go to `json.dumps`."""
        return json.dumps({'class_name': type(self).__name__, 'config': self.get_config()}, **kwargs)


def timeseries_generator_from_json(json_string):
    """The `TimeseriesGenerator` that `to_json` wrote, with the same batches (Keras' own lost the first `length`)."""
    config = json.loads(json_string)['config']
    config.update(data=json.loads(config['data']), targets=json.loads(config['targets']),
                  start_index=config['start_index'] - config['length'])
    return TimeseriesGenerator(**config)
