"""residual, a Keras model as plain PyTorch.

    model = load()  # with the weights in residual.pt, in test phase
    y = model(torch.zeros(2, 3, 16, 16))

Input: (batch, 3, 16, 16). Output: (batch, 2). Images have the channels first, wherever Keras had them last.

To train on:

    model = load().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for x, y in batches:
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()

In train mode the averages of batch normalization move as torch moves them: by `momentum` (1 - that of Keras),
and with the unbiased variance.

TO BE PORTED before it runs: larger, pool.
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


# TO BE PORTED to torch, (batch, 16, 16, 8) to (batch, 32, 32, 8): K.resize_images has to become torch code. In Keras:
#     lambda x: K.resize_images(x, 2, 2, 'channels_last')
def larger(x):
    raise NotImplementedError('port the function of "larger" to torch')


# TO BE PORTED to torch: `forward`, (batch, 32, 32, 2) to (batch, 2). In Keras:
#     class Pool(Layer):
#         """Maximum over rows and columns, plus what is learned for each channel."""
#
#         def __init__(self, power, **kwargs):
#             super().__init__(**kwargs)
#             self.power = power
#
#         def build(self, input_shape):
#             self.offset = self.add_weight(name='offset', shape=(input_shape[-1],), initializer='zeros')
#             super().build(input_shape)
#
#         def call(self, x):
#             return K.max(x, axis=[1, 2]) ** self.power + self.offset
#
#         def compute_output_shape(self, input_shape):
#             return input_shape[0], input_shape[-1]
#
#         def get_config(self):
#             return {**super().get_config(), 'power': self.power}
class Pool(nn.Module):
    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():  # as Keras has them
            setattr(self, name, nn.Parameter(torch.zeros(shape)))

    def forward(self, x):
        raise NotImplementedError('port the layer "pool" to torch')


class Residual(nn.Module):
    """The model "residual": (batch, 3, 16, 16) to (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        # frozen: its averages stay, but train mode still normalizes with the batch
        self.bn = nn.BatchNorm2d(8, eps=0.001, momentum=0.0).requires_grad_(False)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 2, 1)
        # power=3
        self.pool = Pool(offset=(2,))

    def forward(self, x):
        x = self.stem(x)  # (batch, 8, 16, 16)
        y = F.relu(x)
        y = self.bn(y)
        y = self.inner(y)
        x = x + y
        x = larger(x.movedim(1, -1))  # (batch, 32, 32, 8)
        x = self.last(x.movedim(-1, 1))  # (batch, 2, 32, 32)
        return self.pool(x.movedim(1, -1))  # (batch, 2)


def load(path=None):
    """The model in test phase, with its weights: those of the file `path`, or of the one beside this."""
    path = path or Path(__file__).with_name('residual.pt')
    model = Residual()
    model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    return model.eval()


if __name__ == '__main__':
    import argparse

    import numpy as np

    parser = argparse.ArgumentParser(description='Predicts on the arrays in .npy files.')
    parser.add_argument('inputs', nargs=1, help='(batch, 3, 16, 16)')
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
