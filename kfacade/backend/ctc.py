"""Connectionist temporal classification (Graves et al. 2006). The last category is the blank."""
import itertools
import math
from collections import defaultdict

import torch
import torch.nn.functional as F

from ..config import epsilon
from .shapes import empty
from .symbolic import as_tensor, op

__all__ = ['ctc_batch_cost', 'ctc_decode', 'ctc_label_dense_to_sparse']


@op(shape=lambda y_true, y_pred, input_length, label_length: (y_pred.shape[0], 1),
    dtype=lambda y_true, y_pred, input_length, label_length: y_pred.dtype)
def ctc_batch_cost(y_true, y_pred, input_length, label_length):
    """CTC loss of each sample.

    Arguments:
        y_true: (samples, longest label), integers; what lies past a label's length is not read.
        y_pred: (samples, time, categories), the output of a softmax.
        input_length: (samples, 1), time steps of each sample.
        label_length: (samples, 1), length of each label.
    Returns (samples, 1); infinity where the label does not fit into the time steps.
    """
    y_pred = as_tensor(y_pred)
    log_probabilities = torch.log_softmax(torch.log(y_pred.transpose(0, 1) + epsilon()), -1)
    lengths = [as_tensor(length).reshape(-1).long() for length in (input_length, label_length)]
    losses = F.ctc_loss(log_probabilities, as_tensor(y_true).long(), *lengths, blank=y_pred.shape[-1] - 1,
                        reduction='none')
    return losses.unsqueeze(1)


@op(shape=lambda labels, label_lengths: labels.shape)
def ctc_label_dense_to_sparse(labels, label_lengths):
    """Labels (samples, longest label) as a sparse tensor of the first ``label_lengths[i]`` of each sample i."""
    labels, label_lengths = as_tensor(labels), as_tensor(label_lengths)
    held = torch.arange(labels.shape[1], device=labels.device) < label_lengths.reshape(-1, 1)
    return torch.sparse_coo_tensor(held.nonzero().t(), labels[held], labels.shape, check_invariants=False)


def ctc_decode(y_pred, input_length, greedy=True, beam_width=100, top_paths=1):
    """The most probable label sequences for the output of a softmax.

    Arguments:
        y_pred: (samples, time, categories).
        input_length: (samples,), time steps of each sample.
        greedy: whether to take the best category at each step; otherwise a prefix beam search over `beam_width`
            prefixes gives the `top_paths` best sequences, in which labels that follow themselves are written once, as
            TensorFlow 1 did (two that a blank parts as well; the probability is that of the sequence with both).
    Returns a list of `top_paths` (one, if greedy) int64 tensors (samples, longest sequence), filled up with -1, and the
        log probabilities (samples, top_paths): the negative one of the best path if greedy.
    """
    *decoded, scores = _decode(y_pred, input_length, 1 if greedy else top_paths, None if greedy else beam_width)
    return list(decoded), scores


@op
def _decode(y_pred, input_length, paths, beam_width):
    y_pred = as_tensor(y_pred)
    if y_pred.is_meta:  # the longest sequence is not known before: like the batch size, a size that varies
        unknown = empty((y_pred.shape[0], None), torch.int64)
        return [unknown] * paths + [y_pred.new_empty(y_pred.shape[0], paths)]
    samples = torch.log(y_pred + epsilon())
    lengths = as_tensor(input_length).reshape(-1).long().tolist()
    search = _best_path if beam_width is None else _beam_search
    found = [search(sample[:length], paths, beam_width) for sample, length in zip(samples, lengths)]
    decoded = []
    for sequences in zip(*[[labels for labels, _ in best] for best in found]):
        longest = max(map(len, sequences))
        decoded.append(torch.tensor([labels + (-1,) * (longest - len(labels)) for labels in sequences],
                                    dtype=torch.int64, device=y_pred.device).reshape(len(sequences), longest))
    return decoded + [torch.tensor([[score for _, score in best] for best in found]).to(y_pred)]


def _best_path(scores, paths, beam_width):
    """[(labels, negative log probability)] of the best category at each step of (time, categories)."""
    best, categories = scores.max(-1)
    blank = scores.shape[-1] - 1
    labels = tuple(c for c in torch.unique_consecutive(categories).tolist() if c != blank)
    return [(labels, 0. - best.sum().item())]


def _add(a, b):
    """The logarithm of the sum of two numbers given by their logarithms."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _beam_search(scores, paths, beam_width):
    """[(labels, log probability)] of the best `paths` sequences for (time, categories), best first.

    Prefix beam search: a prefix carries the probabilities of the alignments that end in a blank and of those that end
    in its last label (Hannun et al. 2014, algorithm 1).
    """
    beam = {(): (0., -math.inf)}
    for *labels, blank in torch.log_softmax(scores.double(), -1).tolist():
        grown = defaultdict(lambda: (-math.inf, -math.inf))
        for prefix, (with_blank, with_label) in beam.items():
            both = _add(with_blank, with_label)
            in_blank, in_label = grown[prefix]
            stays = with_label + labels[prefix[-1]] if prefix else -math.inf
            grown[prefix] = _add(in_blank, both + blank), _add(in_label, stays)
            for label, score in enumerate(labels):
                # the same label again makes a longer prefix only across a blank
                source = with_blank if prefix and label == prefix[-1] else both
                longer = (*prefix, label)
                in_blank, in_label = grown[longer]
                grown[longer] = in_blank, _add(in_label, source + score)
        best = sorted(grown.items(), key=lambda item: _add(*item[1]), reverse=True)
        beam = dict(best[:beam_width])
    best = [(tuple(label for label, _ in itertools.groupby(prefix)), _add(*ends)) for prefix, ends in beam.items()]
    if len(best) < paths:
        raise ValueError(f'The beam search found {len(best)} sequences, fewer than top_paths={paths}.')
    return best[:paths]
