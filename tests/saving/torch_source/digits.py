"""digits, a Keras model as plain PyTorch.

    model = load()  # with the weights in digits.pt, in test phase
    y = model(torch.zeros(2, 1, 12, 12))

Input: (batch, 1, 12, 12). Output: (batch, 10). Images have the channels first, wherever Keras had them last.

To train on:

    model = load().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.nll_loss(model(x).clamp(min=1e-7).log(), y)  # of probabilities
        loss.backward()
        optimizer.step()

In train mode the averages of batch normalization move as torch moves them: by `momentum` (1 - that of Keras),
and with the unbiased variance.
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class Digits(nn.Module):
    """The model "digits": (batch, 1, 12, 12) to (batch, 10)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16, eps=0.001, momentum=0.01)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2)
        self.drop1 = nn.Dropout(0.25)
        self.hidden = nn.Linear(288, 64)
        self.drop2 = nn.Dropout(0.5)
        self.digit = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))  # (batch, 16, 12, 12)
        x = self.bn1(x)
        x = self.pool1(x)  # (batch, 16, 6, 6)
        x = F.relu(self.conv2(F.pad(x, (0, 1, 0, 1))))  # (batch, 32, 3, 3)
        x = self.drop1(x)
        x = x.flatten(1)  # (batch, 288)
        x = F.relu(self.hidden(x))  # (batch, 64)
        x = self.drop2(x)
        return torch.softmax(self.digit(x), -1)  # (batch, 10)


def load(path=None):
    """The model in test phase, with its weights: those of the file `path`, or of the one beside this."""
    path = path or Path(__file__).with_name('digits.pt')
    model = Digits()
    model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    return model.eval()


if __name__ == '__main__':
    import argparse

    import numpy as np

    parser = argparse.ArgumentParser(description='Predicts on the arrays in .npy files.')
    parser.add_argument('inputs', nargs=1, help='(batch, 1, 12, 12)')
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
