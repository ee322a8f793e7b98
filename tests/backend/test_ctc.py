"""CTC against sums over all alignments, and numbers from Keras 2.2.4 (see conftest)."""
import itertools

import numpy as np
import pytest
import torch

from kfacade import backend as K

RNG = np.random.RandomState(0)
P = RNG.rand(3, 6, 4) ** 3
P = (P / P.sum(-1, keepdims=True)).astype('float32')
LENGTHS = np.array([6, 5, 3], 'int32')
LABELS, LABEL_LENGTHS = np.array([[0, 1, 1], [2, 0, 9], [1, -1, 0]], 'float32'), np.array([[3], [2], [1]], 'int32')


def collapsed(path):
    """The label sequence of an alignment: without repetitions, then without blanks (3)."""
    return tuple(label for label, _ in itertools.groupby(path) if label != 3)


def by_brute_force(probabilities):
    """Label sequence -> probability, summed over all alignments."""
    total = {}
    for path in itertools.product(range(4), repeat=len(probabilities)):
        labels = collapsed(path)
        total[labels] = total.get(labels, 0) + np.prod(probabilities[range(len(path)), path])
    return total


def test_batch_cost(check):
    expected = [[-np.log(by_brute_force(p[:n])[tuple(labels[:m].astype(int))])]
                for p, n, labels, (m,) in zip(P, LENGTHS, LABELS, LABEL_LENGTHS)]
    check(K.ctc_batch_cost, [LABELS, P, LENGTHS[:, None], LABEL_LENGTHS], np.float32(expected), rtol=1e-4)
    np.testing.assert_allclose(np.ravel(expected), [4.79226, 4.398234, 9.285022], rtol=1e-4)  # Keras 2.2.4's


def test_batch_cost_gradient_is_that_of_keras(compute):
    gradient, = compute(lambda p, y, n, m: K.ctc_batch_cost(y, p, n, m), P, LABELS, LENGTHS[:, None], LABEL_LENGTHS,
                        gradient=True)
    np.testing.assert_allclose(gradient[0, :2], [[-.8286337, .9999996, .9999996, -2.7683017],
                                                 [-1.3552428, .5179874, .9999994, -.16964866]], rtol=1e-3, atol=1e-4)
    assert not gradient[2, 3:].any()


def decode(**options):
    def call(p, n):
        decoded, scores = K.ctc_decode(p, n, **options)
        return [*decoded, scores]
    return call


def test_greedy_decoding(compute):
    decoded, scores = compute(decode(), P, LENGTHS)
    np.testing.assert_array_equal(decoded, [[1, 0, 1, 0], [2, -1, -1, -1], [2, 0, -1, -1]])
    np.testing.assert_allclose(scores, [[3.895008], [2.4421794], [1.0366199]], rtol=1e-5)  # Keras 2.2.4's


def test_beam_search_finds_the_most_probable_sequences(compute):
    *decoded, scores = compute(decode(greedy=False, top_paths=3, beam_width=200), P, LENGTHS)
    for i, (p, n) in enumerate(zip(P, LENGTHS)):
        best = sorted(by_brute_force(p[:n]).items(), key=lambda item: -item[1])[:3]
        merged = [tuple(label for label, _ in itertools.groupby(labels)) for labels, _ in best]
        assert [tuple(int(label) for label in d[i] if label >= 0) for d in decoded] == merged
        np.testing.assert_allclose(scores[i], np.log([probability for _, probability in best]), rtol=1e-4)


def test_a_label_that_comes_twice_is_merged_by_the_beam_search_alone(compute):
    p = np.full((1, 5, 3), .01, 'float32')
    p[0, range(5), [0, 0, 2, 0, 1]] = .98
    for options, expected, score in (({}, [[0, 0, 1]], .101), ({'greedy': False}, [[0, 1]], -.0807)):  # Keras 2.2.4's
        decoded, scores = compute(decode(**options), p, np.array([5.], 'float32'))
        np.testing.assert_array_equal(decoded, expected)
        np.testing.assert_allclose(scores, [[score]], rtol=1e-3)


def test_beam_search_says_when_it_finds_too_few():
    with pytest.raises(ValueError, match='found 1 sequences, fewer than top_paths=2'):
        K.ctc_decode(torch.tensor(P), torch.tensor(LENGTHS), greedy=False, beam_width=1, top_paths=2)


def test_label_dense_to_sparse():
    sparse = K.ctc_label_dense_to_sparse(torch.tensor(LABELS), torch.tensor(LABEL_LENGTHS[:, 0])).coalesce()
    np.testing.assert_array_equal(sparse.indices().t(), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0]])
    np.testing.assert_array_equal(sparse.values(), [0, 1, 1, 2, 0, 1])
