"""pairs, a Keras model as plain PyTorch.

    model = load()  # with the weights in pairs.pt, in test phase
    y = model(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32))

Input: left (batch, 3, 32, 32), right (batch, 3, 32, 32). Output: (batch, 1), (batch, 1). Images have the
channels first, wherever Keras had them last.

To train on:

    model = load().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for x, y in batches:
        optimizer.zero_grad()
        loss = loss_function(model(*x), y)
        loss.backward()
        optimizer.step()
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


def pad_same(x, windows, strides, value=0.0):
    """Pads (batch, channels, ...) so that windows of these sizes give ceil(size / stride) positions.

    Of an odd number of new elements, one more comes at the end.
    """
    pads = []
    for size, window, stride in zip(x.shape[2:], windows, strides):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads, value=value)


# In Keras:
#     lambda t: K.sqrt(K.sum(K.square(t[0] - t[1]), axis=1, keepdims=True))
def distance(t):
    return torch.sqrt(torch.sum(torch.square(t[0] - t[1]), dim=1, keepdim=True).clamp(min=0))


class Eye(nn.Module):
    """The model "eye": (batch, 3, any, any) to (batch, 4)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=2)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.features = nn.Linear(8, 4)

    def forward(self, x):
        x = self.conv(pad_same(x, (5, 5), (2, 2)))  # (batch, 8, any, any)
        x = F.leaky_relu(x, 0.2)
        x = self.mean(x).flatten(1)  # (batch, 8)
        return self.features(x)  # (batch, 4)


class Pairs(nn.Module):
    """The model "pairs": (batch, 3, 32, 32) and (batch, 3, 32, 32) to (batch, 1) and (batch, 1)."""

    def __init__(self):
        super().__init__()
        self.eye = Eye()
        self.same = nn.Linear(9, 1)

    def forward(self, left, right):
        x = self.eye(left)  # (batch, 4)
        y = self.eye(right)  # (batch, 4)
        z = distance([x, y])  # (batch, 1)
        x = torch.cat([x, y, z], 1)  # (batch, 9)
        x = torch.sigmoid(self.same(x))  # (batch, 1)
        return x, z


def load(path=None):
    """The model in test phase, with its weights: those of the file `path`, or of the one beside this."""
    path = path or Path(__file__).with_name('pairs.pt')
    model = Pairs()
    model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    return model.eval()


if __name__ == '__main__':
    import argparse

    import numpy as np

    parser = argparse.ArgumentParser(description='Predicts on the arrays in .npy files.')
    parser.add_argument('inputs', nargs=2, help='left (batch, 3, 32, 32), right (batch, 3, 32, 32)')
    parser.add_argument('--out', help='where to write the prediction (.npz); printed otherwise')
    options = parser.parse_args()
    arrays = [np.load(path) for path in options.inputs]
    arrays = [x.astype(np.float32) if x.dtype.kind == 'f' else x for x in arrays]
    with torch.inference_mode():
        y = load()(*map(torch.from_numpy, arrays))
    if options.out:
        np.savez(options.out, *(one.numpy() for one in y))
    else:
        print(y)
