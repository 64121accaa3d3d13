"""VGG9: the small VGG that L2T-ww trains as its target.

Source: K. Simonyan, A. Zisserman, Very Deep Convolutional Networks for Large-Scale
Image Recognition, 2014, arXiv 1409.1556; in this size Y. Jang, H. Lee, S. J. Hwang,
J. Shin, Learning What and Where to Transfer, 2019, arXiv 1905.05901, section 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import functional as F
from ..nn import BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, ReLU, Sequential, init
from ..tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# Convolutions in front of each pooling, as multiples of the first one's width.
STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))


class Stages(Sequential):
    """Layers in a row that return every map in front of a max-pooling.

    Behind every norm stands a ReLU; the two are computed together.

    Shapes: (N, C, H, W) -> a list, one map for each pooling, in order.
    """

    def forward(self, input: Tensor) -> list[Tensor]:
        """The maps; what comes after the last of them is not computed."""
        maps, x = [], input
        for layer in self:
            if isinstance(layer, ReLU):
                continue  # done together with the norm in front of it
            if isinstance(layer, BatchNorm2d):
                x = layer(x, relu=True)
                continue
            if isinstance(layer, MaxPool2d):
                maps.append(x)
                if len(maps) == len(STAGES):
                    break
            x = layer(x)
        return maps


class VGG9(Module):
    """Eight convolutions and one linear layer, with batch normalisation.

        stage   layers (each conv 3x3, p 1, bias; norm; ReLU)   map for 32 x 32
        0       C -> 64                                         64 x 32 x 32
        1       64 -> 128                                       128 x 16 x 16
        2       128 -> 256, 256 -> 256                          256 x 8 x 8
        3       256 -> 512, 512 -> 512                          512 x 4 x 4
        4       512 -> 512, 512 -> 512                          512 x 2 x 2

    After each stage max pooling 2 x 2, then the mean over the pixels that are left
    (one, for 32 x 32) and classifier 512 -> K. 9,231,114 parameters for 10 classes,
    9,277,284 for 100; 152.8 million multiplications for an image of 32 x 32.

    ``features(x)`` is the list of the five maps: each stage's output just before its
    pooling. These are what L2T-ww matches with a source network.

    Convolutions start with He's normal values for fan-out and bias 0, norms with 1 and
    0, the classifier with N(0, 0.01^2) and bias 0, as in the published code. The names
    are its names too, so that its weights load by name (with strict=False: it registers
    a second classifier, second norms and other tensors that it never uses).

    Args:
        num_classes: K.
        in_channels: C.
        width: channels of stage 0; the others are 2, 4, 8 and 8 times as wide. 16 gives
            the network a quarter of the width and about 1/16 of the work.
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters, float32 or float64.

    Shapes: (N, C, H, W) with H, W >= 32 -> (N, K), scores before softmax.

    Raises:
        ValueError: a size is not a positive integer.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 64,
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng() if generator is None else generator
        self.features = Stages()
        channels = in_channels
        for stage in STAGES:
            for multiple in stage:
                wide = multiple * width
                conv = Conv2d(channels, wide, 3, padding=1, generator=rng, dtype=dtype)
                self.features.extend((conv, BatchNorm2d(wide, dtype=dtype), ReLU()))
                channels = wide
            self.features.append(MaxPool2d(2))
        self.classifier = Linear(channels, num_classes, generator=rng, dtype=dtype)
        self.reset_parameters(generator=rng)

    def reset_parameters(self, *, generator: np.random.Generator | None = None) -> None:
        """Draw all weights anew."""
        rng = np.random.default_rng() if generator is None else generator
        for layer in self.features:
            if isinstance(layer, Conv2d):
                init.kaiming_normal_(layer.weight, mode="fan_out", generator=rng)
                init.zeros_(layer.get_parameter("bias"))
            elif isinstance(layer, BatchNorm2d):
                init.ones_(layer.get_parameter("weight"))
                init.zeros_(layer.get_parameter("bias"))
                layer.reset_running_stats()
        init.normal_(self.classifier.weight, 0, 0.01, generator=rng)
        init.zeros_(self.classifier.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.forward_with_features(x)[0]

    @property
    def feature_names(self) -> list[str]:
        """Of the layers that make the maps, in order: "features.2", ..., the ReLUs."""
        pools = (k for k, m in enumerate(self.features) if isinstance(m, MaxPool2d))
        return [f"features.{k - 1}" for k in pools]

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and the map in front of each pooling, in order."""
        maps = self.features(x)
        x = F.adaptive_avg_pool2d(F.max_pool2d(maps[-1], 2), 1)
        return self.classifier(F.flatten(x, 1)), maps
