"""The same workloads as a good PyTorch user writes them: no framework, one loop.

The fastest form of each optimizer (measured: `foreach` is not, on a CPU), gradients set to None, channels_last, batches
gathered by index from tensors (on the device, where that is another), logits in the loss, and nothing that waits for a
number in each step.
"""
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode


class _LastStep(nn.Module):
    """A recurrent layer's output at the last step, behind an optional embedding."""

    def __init__(self, layer, embedding=None):
        super().__init__()
        self.embedding, self.layer, self.head = embedding, layer, nn.Linear(128, 1)

    def forward(self, x):
        if self.embedding is not None:
            x = self.embedding(x)
        return self.head(self.layer(x)[0][:, -1])


def _mlp():
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(512, 10))


def _tiny():
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))


def _blocks(momentum=0.1):
    modules, channels = [], 3
    for filters in (32, 64):
        for _ in range(2):
            modules += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters, momentum=momentum),
                        nn.ReLU()]
            channels = filters
        modules.append(nn.MaxPool2d(2))
    return nn.Sequential(*modules)


def _bn_convnet():
    return nn.Sequential(_blocks(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class _FrozenBase(nn.Module):
    """The head alone learns. As in Keras, a frozen batch normalization uses the batch and moves no average."""

    def __init__(self):
        super().__init__()
        self.base = _blocks(momentum=0.)
        self.head = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                  nn.Linear(64, 10))

    def forward(self, x):
        with torch.no_grad():
            x = self.base(x)
        return self.head(x)


def _mnist_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))


def _lstm():
    return _LastStep(nn.LSTM(128, 128, batch_first=True), nn.Embedding(20000, 128))


class _OwnCell(nn.Module):
    """A recurrent step of one's own, in a loop over time."""

    def __init__(self):
        super().__init__()
        self.w, self.u = (nn.Parameter(torch.randn(32, 32) / 6) for _ in range(2))
        self.b, self.head = nn.Parameter(torch.zeros(1, 32)), nn.Linear(32, 1)

    def forward(self, x):
        h = x.new_zeros(len(x), 32)
        for step in x.unbind(1):
            a = step @ self.w + self.b
            n = torch.tanh(a * torch.sigmoid(a + h @ self.u))
            h = torch.maximum(n, torch.relu(torch.square(n) - torch.abs(h)))
        return self.head(h)


def _adam(parameters):
    return torch.optim.Adam(parameters, lr=0.001, eps=1e-7, fused=True)


# Without a fused form these go one tensor after the other on a CPU: foreach's passes over all weights miss the cache.

def _rmsprop(parameters):
    return torch.optim.RMSprop(parameters, lr=0.001, alpha=0.9, eps=1e-7, foreach=parameters[0].is_cuda)


def _adadelta(parameters):
    return torch.optim.Adadelta(parameters, lr=1.0, rho=0.95, eps=1e-7, foreach=parameters[0].is_cuda)


MODELS = {
    'tiny': (_tiny, _adam),
    'mlp_32': (_mlp, _rmsprop),
    'mlp_512': (_mlp, _rmsprop),
    'mnist_cnn': (_mnist_cnn, _adadelta),
    'bn_convnet': (_bn_convnet, _adam),
    'frozen_base': (_FrozenBase, _adam),
    'lstm': (_lstm, _adam),
    'lstm_default': (_lstm, _adam),
    'gru': (lambda: _LastStep(nn.GRU(64, 128, batch_first=True)), _adam),
    'own_cell': (_OwnCell, _adam),
}

# What is learned: the loss of logits and targets, and how many of a batch are right.
_CLASSES = (F.cross_entropy, lambda logits, target: logits.argmax(1) == target)
_YES_OR_NO = (F.binary_cross_entropy_with_logits, lambda logits, target: (logits > 0) == (target > 0.5))
_NUMBER = (F.mse_loss, None)


def trainer(name, workload, x, y, device='cpu'):
    """A function that trains this workload for one pass over the data and gives mean loss and accuracy."""
    build, make_optimizer = MODELS[name]
    model = build().to(device)
    x, y = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    if y.shape[1] > 1:
        y, (loss_of, right) = y.argmax(1), _CLASSES
    else:
        loss_of, right = _NUMBER if name == 'tiny' else _YES_OR_NO
    if x.dim() == 4:
        model = model.to(memory_format=torch.channels_last)
        x = x.permute(0, 3, 1, 2)  # NHWC seen as NCHW: already channels_last
    optimizer = make_optimizer(list(model.parameters()))
    size = workload.batch_size

    def train():
        model.train()
        total_loss, total_right = torch.zeros((), device=device), torch.zeros((), dtype=torch.long, device=device)
        for index in torch.randperm(len(x), device=device).split(size):
            target = y[index]
            optimizer.zero_grad(set_to_none=True)
            output = model(x[index])
            loss = loss_of(output, target)
            loss.backward()
            optimizer.step()
            total_loss += loss.detach() * len(index)
            if right:
                total_right += right(output, target).sum()
        return total_loss.item() / len(x), total_right.item() / len(x)

    return train


def products(name, workload, x, y):
    """The floating-point operations in the matrix products and convolutions of one step, its backward pass included."""
    few = workload._replace(samples=workload.batch_size)
    train = trainer(name, few, x[:few.samples], y[:few.samples])
    before = torch.backends.mkldnn.set_flags(False)  # what oneDNN does with a whole sequence is one op, and not counted
    try:
        with FlopCounterMode(display=False) as counter:
            train()
    finally:
        torch.backends.mkldnn.set_flags(before[0])
    return counter.get_total_flops()


def product_speed(n=1024):
    """Floating-point operations a second in the faster of torch's and oneDNN's products of large matrices."""
    from kfacade.backend.private_ops import linear
    x, w = torch.randn(n, n), torch.randn(n, n)
    found = []
    for product in (linear, F.linear):
        for _ in range(9):
            start = time.process_time()
            product(x, w)
            found.append(2 * n ** 3 / (time.process_time() - start))
    return max(found)
