"""The network of three convolutional layers with which the lectures begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import functional as F
from ..nn import Conv2d, Linear, MaxPool2d, Module
from ..tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Custom3Layer(Module):
    """Three convolutions, two poolings, one linear layer ("custom_3_layer").

        layer                      output (28 x 28 gray)   parameters
        conv1 3x3, C -> 32, p 1    32 x 28 x 28            9 * 32 * C + 32
        ReLU, max pool 2           32 x 14 x 14
        conv2 3x3, 32 -> 64        64 x 12 x 12            18,496
        ReLU, max pool 2           64 x 6 x 6
        conv3 3x3, 64 -> 64        64 x 4 x 4              36,928
        ReLU
        fc 64 * h * w -> K         K                       (64 * h * w + 1) * K

    Together 65,994 for 28 x 28 gray images and 10 classes, 72,330 for 32 x 32 in
    colour. A filter has 9 * C weights and a bias: nine weights only if C = 1.

    The lectures show conv1 and conv2, each with its pooling, and conv3, and leave out
    the rest. ReLU after each convolution, and one linear layer on the flattened maps as
    the head, are our choice.

    Args:
        num_classes: K.
        in_channels: C, 1 for gray and 3 for colour images.
        image_size: height and width of the images, one number or two, at least 16.
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters, float32 or float64.

    Shapes: (N, C, H, W) -> (N, K), scores before softmax.

    Raises:
        ValueError: the images are too small for three layers, or a size is not
            positive.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int | tuple[int, int] = 32,
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng() if generator is None else generator
        both = (image_size, image_size) if isinstance(image_size, int) else image_size
        rows, columns = (((size // 2) - 2) // 2 - 2 for size in both)
        if rows < 1 or columns < 1:
            raise ValueError(
                f"Custom3Layer: image_size must be at least 16, got {image_size}: "
                "after two poolings conv3 would find no 3 x 3 pixels"
            )
        self.conv1 = Conv2d(in_channels, 32, 3, padding=1, generator=rng, dtype=dtype)
        self.conv2 = Conv2d(32, 64, 3, generator=rng, dtype=dtype)
        self.conv3 = Conv2d(64, 64, 3, generator=rng, dtype=dtype)
        self.pool = MaxPool2d(2)
        self.fc = Linear(64 * rows * columns, num_classes, generator=rng, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = F.relu(self.conv3(x))
        return self.fc(F.flatten(x, 1))
