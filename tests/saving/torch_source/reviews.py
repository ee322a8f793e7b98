"""reviews, a Keras model as plain PyTorch.

    model = load()  # with the weights in reviews.pt, in test phase
    y = model(torch.zeros(2, 20).long())

Input: (batch, 20). Output: (batch, 1).

To train on:

    model = load().train()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.001)
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def hard_sigmoid(x):
    """Keras' hard sigmoid, which is not torch's."""
    return (0.2 * x + 0.5).clamp(0, 1)


def run_masked(rnn, x, mask, state=None):
    """Runs one of torch's recurrent modules over the steps that the mask (batch, time) keeps.

    At the others the states stay as they were, and the output is that of the step before.
    """
    if state is None:
        zeros = x.new_zeros(1, len(x), rnn.hidden_size)
        state = (zeros, zeros) if isinstance(rnn, nn.LSTM) else zeros
    first = state[0] if isinstance(state, tuple) else state
    front = (~mask).long().argsort(dim=1, stable=True)  # the steps that count, before all others
    packed = pack_padded_sequence(x.gather(1, front.unsqueeze(-1).expand_as(x)), mask.sum(1).clamp(min=1).cpu(),
                                  batch_first=True, enforce_sorted=False)
    outputs, last = rnn(packed, state)
    outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
    outputs = torch.cat([first.transpose(0, 1), outputs], 1)
    outputs = outputs.gather(1, mask.long().cumsum(1).unsqueeze(-1).expand(-1, -1, outputs.shape[2]))
    some = mask.any(1)[:, None]  # what runs over no step keeps its state
    if isinstance(state, tuple):
        return outputs, tuple(torch.where(some, new, old) for new, old in zip(last, state))
    return outputs, torch.where(some, last, state)


class KerasRNN(nn.Module):
    """A simple recurrent layer with other activations than torch's; called as torch's are, with batch_first."""

    gates, states = 1, 1

    def __init__(self, inputs, units, activation=torch.tanh, gate=hard_sigmoid, bias=True, window=()):
        super().__init__()
        self.units, self.activation, self.gate = units, activation, gate
        self.weight_ih = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.gates * units, inputs, *window)))
        self.weight_hh = nn.Parameter(nn.init.orthogonal_(torch.empty(self.gates * units, units, *window)))
        self.bias = nn.Parameter(torch.zeros(self.gates * units)) if bias else None

    def of_input(self, x, weight, bias):
        """What inputs, or a sequence of them, bring to gates."""
        return F.linear(x, weight, bias)

    def of_state(self, h, weight, bias=None):
        """What the state brings to gates."""
        return F.linear(h, weight, bias)

    def step(self, x, states):
        """The new states, from what the inputs of a step bring to the gates."""
        return (self.activation(x + self.of_state(states[0], self.weight_hh)),)

    def forward(self, x, state=None, mask=None):
        """(batch, time, inputs) to the outputs and the last state; where the mask (batch, time) is False, all stays."""
        steps, outputs = self.of_input(x, self.weight_ih, self.bias).unbind(1), []
        zeros = torch.zeros_like(steps[0][:, :self.units])
        states = [zeros] * self.states if state is None else [s[0] for s in (
            state if isinstance(state, tuple) else (state,))]
        for t, step in enumerate(steps):
            new = self.step(step, states)
            states = new if mask is None else [torch.where(mask[:, t, None], *pair) for pair in zip(new, states)]
            outputs.append(states[0])
        last = tuple(s.unsqueeze(0) for s in states)
        return torch.stack(outputs, 1), last if len(last) > 1 else last[0]


class KerasLSTM(KerasRNN):
    """LSTM with other gates than torch's, such as Keras' hard sigmoid; they are i, f, g, o."""

    gates, states = 4, 2

    def step(self, x, states):
        i, f, g, o = (x + self.of_state(states[0], self.weight_hh)).chunk(4, 1)
        c = self.gate(f) * states[1] + self.gate(i) * self.activation(g)
        return self.gate(o) * self.activation(c), c


class RecurrentDropout:
    """Adds dropout of inputs and state to a recurrent class: on the same elements at all steps of a sequence.

    `masks` is the number of gates where each has a mask of its own, else 1.
    """

    def __init__(self, *sizes, dropout=0.0, recurrent_dropout=0.0, masks=1, **options):
        super().__init__(*sizes, **options)
        self.dropout, self.recurrent_dropout, self.masks, self.drawn = dropout, recurrent_dropout, masks, None

    def dropped(self, product, x, drop, weight, bias, axis):
        if len(drop) == 1:
            return product(x * drop[0], weight, bias)
        weights, biases = weight.chunk(len(drop)), [None] * len(drop) if bias is None else bias.chunk(len(drop))
        return torch.cat([product(x * mask, *part) for mask, *part in zip(drop, weights, biases)], axis)

    def of_input(self, x, weight, bias):
        drop = F.dropout(x.new_ones(self.masks, len(x), 1, *x.shape[2:]), self.dropout, self.training)
        return self.dropped(super().of_input, x, drop, weight, bias, 2)

    def of_state(self, h, weight, bias=None):
        if self.masks == 1:
            return super().of_state(h, weight, bias)
        gates = len(weight) // self.units  # a GRU's last gate comes by itself
        drop = self.drawn[:gates] if gates > 1 else self.drawn[-1:]
        return self.dropped(super().of_state, h, drop, weight, bias, 1)

    def step(self, x, states):
        h, *rest = states
        if self.drawn is None:
            self.drawn = F.dropout(h.new_ones(self.masks, *h.shape), self.recurrent_dropout, self.training)
        return super().step(x, [h * self.drawn[0] if self.masks == 1 else h, *rest])

    def forward(self, x, state=None, mask=None):
        self.drawn = None
        return super().forward(x, state, mask)


class KerasLSTMWithDropout(RecurrentDropout, KerasLSTM):
    pass


class Reviews(nn.Module):
    """The model "reviews": (batch, 20) to (batch, 1)."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 16)
        self.both_forward = KerasLSTMWithDropout(16, 8, dropout=0.2, masks=4)
        self.both_backward = KerasLSTMWithDropout(16, 8, dropout=0.2, masks=4)
        self.last = nn.LSTM(16, 8, batch_first=True)
        self.last.bias_hh_l0.requires_grad_(False)  # Keras has one bias
        self.positive = nn.Linear(8, 1)

    def forward(self, x):
        mask = x != 0
        x = self.embedding(x.long())  # (batch, 20, 16)
        forward = self.both_forward(x, mask=mask)[0]
        backward = self.both_backward(x.flip(1), mask=mask.flip(1))[0].flip(1)
        x = torch.cat([forward, backward], -1)
        x = run_masked(self.last, x, mask)[0][:, -1]  # (batch, 8)
        return torch.sigmoid(self.positive(x))  # (batch, 1)


def load(path=None):
    """The model in test phase, with its weights: those of the file `path`, or of the one beside this."""
    path = path or Path(__file__).with_name('reviews.pt')
    model = Reviews()
    model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    return model.eval()


if __name__ == '__main__':
    import argparse

    import numpy as np

    parser = argparse.ArgumentParser(description='Predicts on the arrays in .npy files.')
    parser.add_argument('inputs', nargs=1, help='(batch, 20)')
    parser.add_argument('--out', help='where to write the prediction (.npy); printed otherwise')
    options = parser.parse_args()
    arrays = [np.load(path) for path in options.inputs]
    arrays = [x.astype(np.float32) if x.dtype.kind == 'f' else x for x in arrays]
    with torch.inference_mode():
        y = load()(*map(torch.from_numpy, arrays))
    if options.out:
        np.save(options.out, y.numpy())
    else:
        print(y)
