"""Residual networks for small images.

Source: K. He, X. Zhang, S. Ren, J. Sun, Deep Residual Learning for Image Recognition,
2015, arXiv 1512.03385, section 4.2 and figure 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import functional as F
from ..nn import BatchNorm2d, Conv2d, Linear, Module, Sequential, init
from ..tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class BasicBlock(Module):
    """y = relu(x + f(x)) with f = conv 3x3, norm, ReLU, conv 3x3, norm.

    Where f changes the number of channels or the size, x is brought to the same by a
    1x1 convolution and a norm of its own (the projection, option B of the paper).

    Args:
        in_channels: channels of x.
        out_channels: channels of y.
        stride: of the first convolution; 2 halves the size.
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng() if generator is None else generator
        self.conv1 = Conv2d(
            in_channels,
            out_channels,
            3,
            stride,
            1,
            bias=False,
            generator=rng,
            dtype=dtype,
        )
        self.bn1 = BatchNorm2d(out_channels, dtype=dtype)
        self.conv2 = Conv2d(
            out_channels, out_channels, 3, 1, 1, bias=False, generator=rng, dtype=dtype
        )
        self.bn2 = BatchNorm2d(out_channels, dtype=dtype)
        self.downsample: Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            projection = Conv2d(
                in_channels,
                out_channels,
                1,
                stride,
                bias=False,
                generator=rng,
                dtype=dtype,
            )
            self.downsample = Sequential(
                projection, BatchNorm2d(out_channels, dtype=dtype)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Sum of both ways."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn1(self.conv1(x), relu=True)
        return F.relu(shortcut + self.bn2(self.conv2(y)))


class ResNet(Module):
    """Residual network of three stages, for images of about 32 x 32.

        conv1 3x3, C -> w1, with bias; norm; ReLU      H x W
        block1, blocks2: `blocks` blocks of width w1   H x W
        block3, blocks4: `blocks` blocks of width w2   H/2 x W/2
        block5, blocks6: `blocks` blocks of width w3   H/4 x W/4
        mean over all pixels; fc w3 -> K

    With n blocks a stage it has 6n + 2 layers with weights, projections not counted.
    Convolutions start with He's normal values for fan-out, norms with 1 and 0, fc with
    torch's default. The names are those of the published L2T-ww models, whose weights
    load by name.

    Args:
        num_classes: K.
        in_channels: C.
        widths: (w1, w2, w3).
        blocks: n.
        conv1_bias: the paper has none in front of a norm, where it has no effect; the
            L2T-ww models have one.
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters, float32 or float64.

    Shapes: (N, C, H, W) -> (N, K), scores before softmax.

    Raises:
        ValueError: a size is not a positive integer, or not three widths.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        widths: tuple[int, int, int] = (16, 32, 64),
        blocks: int = 5,
        *,
        conv1_bias: bool = True,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        if len(widths) != 3 or blocks < 1:
            raise ValueError(
                f"ResNet: needs three widths and at least one block, got {widths} and "
                f"{blocks}"
            )
        rng = np.random.default_rng() if generator is None else generator
        w1, w2, w3 = widths

        def block(fan_in: int, fan_out: int, stride: int = 1) -> BasicBlock:
            return BasicBlock(fan_in, fan_out, stride, generator=rng, dtype=dtype)

        def more(width: int) -> Sequential:
            return Sequential(*(block(width, width) for _ in range(blocks - 1)))

        self.conv1 = Conv2d(
            in_channels, w1, 3, padding=1, bias=conv1_bias, generator=rng, dtype=dtype
        )
        self.bn1 = BatchNorm2d(w1, dtype=dtype)
        self.block1, self.blocks2 = block(w1, w1), more(w1)
        self.block3, self.blocks4 = block(w1, w2, 2), more(w2)
        self.block5, self.blocks6 = block(w2, w3, 2), more(w3)
        self.fc = Linear(w3, num_classes, generator=rng, dtype=dtype)
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", generator=rng)
                if module.bias is not None:
                    init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.forward_with_features(x)[0]

    @property
    def feature_names(self) -> list[str]:
        """Of the blocks, in order: of resnet32 "block1", "blocks2.0" to "blocks6.3"."""
        kinds = ((n, m) for n, m in self.named_modules() if isinstance(m, BasicBlock))
        return [name for name, _ in kinds]

    def features(self, x: Tensor) -> list[Tensor]:
        """The maps after every block, in order: 15 in resnet32, from 0 to 14."""
        return self.forward_with_features(x)[1]

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and the maps after every block, in order."""
        x = self.bn1(self.conv1(x), relu=True)
        features = []
        for first, rest in (
            (self.block1, self.blocks2),
            (self.block3, self.blocks4),
            (self.block5, self.blocks6),
        ):
            for block in (first, *rest):
                x = block(x)
                features.append(x)
        x = F.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        return self.fc(x), features


def resnet8(
    num_classes: int = 10,
    in_channels: int = 1,
    widths: tuple[int, int, int] = (8, 16, 32),
    *,
    generator: np.random.Generator | None = None,
    dtype: DTypeLike = np.float32,
) -> ResNet:
    """The smallest: one block a stage, narrow, for gray 28 x 28 images and a CPU.

    19,818 parameters for 10 classes.
    """
    return ResNet(num_classes, in_channels, widths, 1, generator=generator, dtype=dtype)


def resnet32(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    generator: np.random.Generator | None = None,
    dtype: DTypeLike = np.float32,
) -> ResNet:
    """ResNet-32, the source network of L2T-ww: five blocks a stage.

    466,922 parameters for 10 classes, 479,272 for the 200 of Tiny ImageNet. The paper's
    own (no projections, no bias in conv1) has 464,154.
    """
    return ResNet(num_classes, in_channels, generator=generator, dtype=dtype)
