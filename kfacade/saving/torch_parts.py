"""What torch has no module for: pieces of code that a generated module holds a copy of where it needs them.

Each is copied as it stands, with those that it names; nothing but torch may be used in it. Data have the channels, or
for sequences the features, where torch has them.
"""
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def hard_sigmoid(x):
    """Keras' hard sigmoid, which is not torch's."""
    return (0.2 * x + 0.5).clamp(0, 1)


def clipped_relu(x, slope=0.0, limit=None, threshold=0.0):
    """`x` from `threshold` up to `limit`, and below `slope * (x - threshold)`."""
    y = torch.where(x > threshold, x, 0.0)
    return (y if limit is None else y.clamp(0, limit)) - slope * F.relu(threshold - x)


def pad_same(x, windows, strides, value=0.0):
    """Pads (batch, channels, ...) so that windows of these sizes give ceil(size / stride) positions.

    Of an odd number of new elements, one more comes at the end.
    """
    pads = []
    for size, window, stride in zip(x.shape[2:], windows, strides):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads, value=value)


def upsample_bilinear(x, factors):
    """Enlarges images: output i lies at i / factor between the inputs, and past the last one it stays level."""
    for axis, factor in enumerate(factors, 2):
        after = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, -1, 1)], axis)
        weight = (torch.arange(factor).to(x) / factor).reshape(-1, *[1] * (x.dim() - axis - 1))
        x = torch.lerp(x.unsqueeze(axis + 1), after.unsqueeze(axis + 1), weight).flatten(axis, axis + 1)
    return x


def masked_mean(x, mask):
    """The mean over those time steps of (batch, time, features) that the mask (batch, time) keeps."""
    mask = mask.unsqueeze(-1).to(x.dtype)
    return (x * mask).sum(1) / mask.sum(1)


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


class PReLU(nn.Module):
    """`x` where it is positive, else `weight * x`, with a weight of any shape that broadcasts."""

    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return F.relu(x) - self.weight * F.relu(-x)


class LocallyConnected(nn.Module):
    """A convolution with another kernel at each position; `sizes` are those of the output.

    The weight has the shape (positions, channels * window, filters), the bias (filters, *sizes).
    """

    def __init__(self, channels, filters, kernel_size, stride, sizes, bias=True):
        super().__init__()
        self.kernel_size, self.stride, self.sizes = kernel_size, stride, sizes
        positions, window = torch.Size(sizes).numel(), torch.Size(kernel_size).numel()
        self.weight = nn.Parameter(torch.randn(positions, channels * window, filters) / (channels * window) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(filters, *sizes)) if bias else None

    def forward(self, x):
        rank = len(self.sizes)
        for axis, (size, stride) in enumerate(zip(self.kernel_size, self.stride), 2):
            x = x.unfold(axis, size, stride)
        x = x.permute(*range(2, 2 + rank), 0, 1, *range(2 + rank, 2 + 2 * rank))  # (*sizes, batch, channels, *window)
        y = x.reshape(*self.weight.shape[:1], -1, self.weight.shape[1]) @ self.weight
        y = y.permute(1, 2, 0).unflatten(2, self.sizes)
        return y if self.bias is None else y + self.bias


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


class KerasGRU(KerasRNN):
    """GRU whose reset gate acts before the recurrent product; the gates are r, z, n."""

    gates = 3

    def step(self, x, states):
        h, size = states[0], 2 * self.units
        r, z = self.gate(x[:, :size] + self.of_state(h, self.weight_hh[:size])).chunk(2, 1)
        n = self.activation(x[:, size:] + self.of_state(r * h, self.weight_hh[size:]))
        return (z * h + (1 - z) * n,)


class KerasResetAfterGRU(KerasRNN):
    """GRU whose reset gate acts after the recurrent product, but with other gates than torch's."""

    gates = 3

    def __init__(self, inputs, units, bias=True, **options):
        super().__init__(inputs, units, bias=bias, **options)
        self.bias_hh = nn.Parameter(torch.zeros(3 * units)) if bias else None

    def step(self, x, states):
        size, recurrent = 2 * self.units, self.of_state(states[0], self.weight_hh, self.bias_hh)
        r, z = self.gate(x[:, :size] + recurrent[:, :size]).chunk(2, 1)
        n = self.activation(x[:, size:] + r * recurrent[:, size:])
        return (z * states[0] + (1 - z) * n,)


class KerasConvLSTM2d(KerasLSTM):
    """LSTM over images (batch, time, channels, rows, columns), with convolutions for products."""

    def __init__(self, inputs, units, window, stride=(1, 1), padding='valid', dilation=(1, 1), **options):
        super().__init__(inputs, units, window=window, **options)
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def of_input(self, x, weight, bias):
        images = x.flatten(0, 1)
        if self.padding == 'same':
            reach = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], self.dilation)]
            images = pad_same(images, reach, self.stride)
        return F.conv2d(images, weight, bias, self.stride, 0, self.dilation).unflatten(0, x.shape[:2])

    def of_state(self, h, weight, bias=None):
        return F.conv2d(pad_same(h, weight.shape[2:], (1, 1)), weight, bias)


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


class KerasRNNWithDropout(RecurrentDropout, KerasRNN):
    pass


class KerasLSTMWithDropout(RecurrentDropout, KerasLSTM):
    pass


class KerasGRUWithDropout(RecurrentDropout, KerasGRU):
    pass


class KerasResetAfterGRUWithDropout(RecurrentDropout, KerasResetAfterGRU):
    pass


class KerasConvLSTM2dWithDropout(RecurrentDropout, KerasConvLSTM2d):
    pass
