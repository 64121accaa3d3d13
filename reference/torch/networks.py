"""Twins of tinytl's networks in plain PyTorch: same numbers, same names, same order.

Weights travel between the two by name, so a test gives both the same and compares.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Convolutions in front of each max-pool, as multiples of the first one's filters.
VGG9_STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))


class VGG(nn.Module):
    """Groups of 3x3 convolution, norm and ReLU; a max-pool after each group.

    Its features are the maps just before every max-pool. Convolutions start with He's
    normal values for fan-out and bias 0, the classifier with N(0, 0.01^2) and bias 0.

    Args:
        num_classes: K.
        in_channels: C.
        stages: filters of every convolution, group by group.

    Shapes: (N, C, H, W) -> (N, K), scores; H and W at least 2 ** len(stages).
    """

    def __init__(
        self, num_classes: int, in_channels: int, stages: tuple[tuple[int, ...], ...]
    ):
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for stage in stages:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1)]
                layers += [nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers += [nn.MaxPool2d(2, 2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)
        _he(self)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and the maps just before every max-pool."""
        features = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                features.append(x)
            x = layer(x)
        return self.classifier(x.mean((2, 3))), features


def vgg9(num_classes: int = 10, in_channels: int = 3, width: int = 64) -> VGG:
    """VGG9, the target network of L2T-ww; `width` filters in the first convolution.

    9,231,114 parameters for 10 classes, 9,277,284 for 100.
    """
    stages = tuple(tuple(width * multiple for multiple in s) for s in VGG9_STAGES)
    return VGG(num_classes, in_channels, stages)


def tiny_vgg(num_classes: int = 3, in_channels: int = 3) -> VGG:
    """Two groups, three convolutions: for images of 8 x 8 and exact comparisons."""
    return VGG(num_classes, in_channels, ((4,), (5, 6)))


class BasicBlock(nn.Module):
    """y = relu(shortcut(x) + f(x)), f = conv, norm, ReLU, conv, norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Sum of both ways."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Residual network of three stages for small images; conv1 has a bias.

    Its features are the maps after every block: 0 to n-1 of width w1, and so on.

    Shapes: (N, C, H, W) -> (N, K), scores.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        widths: tuple[int, int, int] = (16, 32, 64),
        blocks: int = 5,
    ):
        super().__init__()
        w1, w2, w3 = widths

        def more(width: int) -> nn.Sequential:
            return nn.Sequential(*(BasicBlock(width, width) for _ in range(blocks - 1)))

        self.conv1 = nn.Conv2d(in_channels, w1, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(w1)
        self.block1, self.blocks2 = BasicBlock(w1, w1), more(w1)
        self.block3, self.blocks4 = BasicBlock(w1, w2, 2), more(w2)
        self.block5, self.blocks6 = BasicBlock(w2, w3, 2), more(w3)
        self.fc = nn.Linear(w3, num_classes)
        _he(self)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and the maps after every block, in order."""
        x = F.relu(self.bn1(self.conv1(x)))
        features = []
        for stage in (
            (self.block1, *self.blocks2),
            (self.block3, *self.blocks4),
            (self.block5, *self.blocks6),
        ):
            for block in stage:
                x = block(x)
                features.append(x)
        return self.fc(x.mean((2, 3))), features


def resnet32(num_classes: int = 10, in_channels: int = 3) -> ResNet:
    """ResNet-32, the source network of L2T-ww: 479,272 parameters for 200 classes."""
    return ResNet(num_classes, in_channels)


def tiny_resnet(num_classes: int = 4, in_channels: int = 3) -> ResNet:
    """One block a stage, widths 3, 4 and 5: for images of 8 x 8."""
    return ResNet(num_classes, in_channels, (3, 4, 5), 1)


def _he(network: nn.Module) -> None:
    """He's normal values for fan-out in all convolutions, and bias 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def randomise_statistics(network: nn.Module, generator: torch.Generator) -> None:
    """Running statistics and affine parameters of all norms as after some training.

    Fresh ones (0, 1, 1, 0) would hide a norm that mixes them up.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.7, 1.3),
                (module.bias.data, -0.2, 0.2),
            ):
                values.uniform_(low, high, generator=generator)
