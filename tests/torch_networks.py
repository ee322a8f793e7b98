"""VGG and DenseNet in plain torch, with the parameter names and the arithmetic of torchvision's."""
import torch
from torch import nn


class VGG(nn.Module):
    def __init__(self, *depths):
        super().__init__()
        layers, channels = [], 3
        for filters, depth in zip((64, 128, 256, 512, 512), depths):
            for _ in range(depth):
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096),
                                        nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class DenseNet(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.features, channels = nn.Sequential(), 64
        self.features.add_module('conv0', nn.Conv2d(3, 64, 7, 2, 3, bias=False))
        self.features.add_module('norm0', nn.BatchNorm2d(64))
        self.features.add_module('relu0', nn.ReLU())
        self.features.add_module('pool0', nn.MaxPool2d(3, 2, 1))
        for i, count in enumerate(blocks, 1):
            block = DenseBlock()
            for j in range(1, count + 1):
                block.add_module(f'denselayer{j}', DenseLayer(channels))
                channels += 32
            self.features.add_module(f'denseblock{i}', block)
            if i < len(blocks):
                transition = nn.Sequential()
                transition.add_module('norm', nn.BatchNorm2d(channels))
                transition.add_module('relu', nn.ReLU())
                transition.add_module('conv', nn.Conv2d(channels, channels // 2, 1, bias=False))
                transition.add_module('pool', nn.AvgPool2d(2, 2))
                self.features.add_module(f'transition{i}', transition)
                channels //= 2
        self.features.add_module('norm5', nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, 1000)

    def forward(self, x):
        return self.classifier(torch.relu(self.features(x)).mean((2, 3)))


class DenseBlock(nn.ModuleDict):
    def forward(self, x):
        for layer in self.values():
            x = torch.cat([x, layer(x)], 1)
        return x


class DenseLayer(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x):
        return self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))


def randomized(module):
    """`module` in test phase, with random weights and statistics that keep values of one size."""
    generator = torch.Generator().manual_seed(0)
    for name, value in module.state_dict().items():
        if name.endswith('num_batches_tracked'):
            continue
        draw = torch.randn(value.shape, generator=generator)
        if value.dim() > 1:
            draw *= (2 / value[0].numel()) ** .5
        elif name.endswith('running_var'):
            draw = draw.abs() + .5
        else:
            draw = draw / 10 + (value.eq(1).all() if value.numel() else 0)
        value.copy_(draw)
    return module.eval()
