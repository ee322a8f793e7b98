"""`predict` beside a plain loop under `inference_mode`, channels last, on the workloads and three larger networks.

And single samples beside a bare module.
"""
import functools

import numpy as np

from benchmarks.workloads import WORKLOADS, resnet50, vgg, vgg16

SMALL_VGG = (64, 64), (128, 128), (256,)
# Name -> a function of the `keras` module, the shape of an image, samples, batch size.
LARGER = {
    'small_vgg': (functools.partial(vgg, shape=(64, 64, 3), blocks=SMALL_VGG), (64, 64, 3), 128, 32),
    'resnet50': (resnet50, (224, 224, 3), 8, 8),
    'vgg16': (vgg16, (224, 224, 3), 8, 8),
}
NAMES = [*WORKLOADS, *LARGER]
SINGLE, CALLS = ('tiny', 'mlp_32'), 200  # networks that are called on single samples, as servers do, and how often


def data(name):
    """Inputs and the size of a batch."""
    random = np.random.RandomState(0)
    if name in LARGER:
        _, shape, samples, size = LARGER[name]
        return random.randn(samples, *shape).astype('float32'), size
    workload = WORKLOADS[name]
    return workload.data(random, workload.samples)[0], workload.batch_size


def predictor(name, keras):
    """A function that predicts all samples, as a Keras script does."""
    x, size = data(name)
    model = LARGER[name][0](keras) if name in LARGER else WORKLOADS[name].build(keras)
    return lambda: model.predict(x, batch_size=size, verbose=0)


def plain_predictor(name):
    """The same as a good PyTorch user writes it."""
    import torch
    x, size = data(name)
    x, (module, activation) = torch.from_numpy(x), _plain(name)
    if x.dim() == 4:
        x, module = x.permute(0, 3, 1, 2), module.to(memory_format=torch.channels_last)

    def predict():
        with torch.inference_mode():
            parts = []
            for batch in x.split(size):
                y = module(batch)
                parts.append(y if activation is None else activation(y))
            return torch.cat(parts).numpy()
    return predict


def caller(name, method, keras):
    """A function that gives single samples to `predict` or `predict_on_batch`."""
    x, _ = data(name)
    call = getattr(WORKLOADS[name].build(keras), method)
    quiet = {'verbose': 0} if method == 'predict' else {}
    return lambda: [call(x[i:i + 1], **quiet) for i in range(CALLS)]


def plain_caller(name):
    """The same by a bare module."""
    import torch
    x, (module, activation) = data(name)[0], _plain(name)

    def call(sample):
        with torch.inference_mode():
            y = module(torch.from_numpy(sample))
            return (y if activation is None else activation(y)).numpy()
    return lambda: [call(x[i:i + 1]) for i in range(CALLS)]


def _plain(name):
    """The module of a workload, and what makes predictions of its outputs."""
    from torch import nn

    from benchmarks import plain
    module = _PLAIN[name]() if name in _PLAIN else plain.MODELS[name][0]()
    number = name in WORKLOADS and WORKLOADS[name].data(np.random.RandomState(0), 1)[1].shape[1] == 1
    return module.eval(), None if name == 'tiny' else nn.Sigmoid() if number else nn.Softmax(-1)


def _vgg(blocks, *head):
    from torch import nn
    modules, channels = [], 3
    for block in blocks:
        for filters in block:
            modules += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            channels = filters
        modules.append(nn.MaxPool2d(2))
    return nn.Sequential(*modules, *head)


def _small_vgg():
    from torch import nn
    return _vgg(SMALL_VGG, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def _vgg16():
    from torch import nn
    return _vgg([(64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3], nn.Flatten(), nn.Linear(25088, 4096),
                nn.ReLU(inplace=True), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 1000))


def _resnet50():
    from torch import nn

    def convolution(channels, filters, size, **options):
        return nn.Sequential(nn.Conv2d(channels, filters, size, **options), nn.BatchNorm2d(filters, eps=1e-3))

    class Block(nn.Module):
        def __init__(self, channels, filters, shortcut, stride):
            super().__init__()
            self.first = convolution(channels, filters, 1, stride=stride)
            self.second = convolution(filters, filters, 3, padding=1)
            self.third = convolution(filters, 4 * filters, 1)
            self.shortcut = convolution(channels, 4 * filters, 1, stride=stride) if shortcut else nn.Identity()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.third(self.relu(self.second(self.relu(self.first(x)))))
            return self.relu(y.add_(self.shortcut(x)))

    modules, channels = [nn.ZeroPad2d(3), convolution(3, 64, 7, stride=2), nn.ReLU(True), nn.MaxPool2d(3, 2)], 64
    for stage, count in enumerate((3, 4, 6, 3)):
        for i in range(count):
            modules.append(Block(channels, 64 * 2 ** stage, i == 0, 2 if stage and i == 0 else 1))
            channels = 256 * 2 ** stage
    return nn.Sequential(*modules, nn.AvgPool2d(7), nn.Flatten(), nn.Linear(2048, 1000))


_PLAIN = {'small_vgg': _small_vgg, 'resnet50': _resnet50, 'vgg16': _vgg16}
