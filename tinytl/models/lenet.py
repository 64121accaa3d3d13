"""LeNet-5: as it was published in 1998, and as it is usually taught.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to
Document Recognition, Proceedings of the IEEE 86 (1998), section II.B and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import functional as F
from ..nn import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Sigmoid,
    Tanh,
    init,
)
from ..tensor import Tensor
from .bitmaps import digit_codes

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# Which of the six maps of S2 each of the sixteen maps of C3 sees (table I of the
# paper): three neighbours, four neighbours, four in two pairs, all.
C3_LINKS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *(
        (0, 1, 2, 3),
        (1, 2, 3, 4),
        (2, 3, 4, 5),
        (0, 3, 4, 5),
        (0, 1, 4, 5),
        (0, 1, 2, 5),
    ),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


def squash(x: Tensor) -> Tensor:
    """1.7159 * tanh(2 x / 3), the paper's sigmoid (appendix A).

    With these constants f(1) = 1 and f(-1) = -1, and the curve bends most there:
    targets of +1 and -1 are within reach, not out on the plateaus at 1.7159.
    """
    return 1.7159 * F.tanh(x * (2 / 3))


def lecun_uniform_(tensor: Tensor, fan: int, generator: np.random.Generator) -> Tensor:
    """U(-2.4 / fan, 2.4 / fan), fan = number of inputs of a unit (appendix A)."""
    return init.uniform_(tensor, -2.4 / fan, 2.4 / fan, generator=generator)


class Subsample(Module):
    """Trainable subsampling: y = weight * (sum of 2 x 2 pixels) + bias, for each map.

    Average pooling has weight 1/4 and bias 0, and nothing to train.

    Shapes: (N, C, H, W) -> (N, C, H/2, W/2); weight and bias (C,).
    """

    def __init__(
        self,
        channels: int,
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng() if generator is None else generator
        self.channels = channels
        self.weight = Parameter(np.zeros(channels, dtype))
        self.bias = Parameter(np.zeros(channels, dtype))
        lecun_uniform_(self.weight, 4, rng)
        lecun_uniform_(self.bias, 4, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Half the size."""
        each = (1, self.channels, 1, 1)
        sums = F.sum_pool2d(x, 2)
        return sums * self.weight.reshape(each) + self.bias.reshape(each)

    def extra_repr(self) -> str:
        """Number of maps."""
        return f"{self.channels}"


class PartialConv2d(Conv2d):
    """Convolution in which each output map sees some of the input maps only.

    A full convolution whose weight is multiplied by a mask of 0 and 1. The factor 0
    makes the gradient of an absent weight exactly 0 too, and absent weights start at 0:
    they stay there under every optimiser.

    Args:
        links: for each output map, the input maps it sees.
        in_channels: number of input maps.
        kernel_size: size of the window.
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters.

    Raises:
        ValueError: a link leads to no input map, or an output map has none.
    """

    def __init__(
        self,
        links: Sequence[Sequence[int]],
        in_channels: int,
        kernel_size: int,
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        mask = np.zeros((len(links), in_channels, 1, 1), dtype)
        for row, maps in zip(mask, links, strict=True):
            if not maps or not all(0 <= c < in_channels for c in maps):
                raise ValueError(
                    f"PartialConv2d: links must name maps in 0..{in_channels - 1}, at "
                    f"least one for each output map; got {tuple(maps)}"
                )
            row[list(maps)] = 1
        super().__init__(
            in_channels, len(links), kernel_size, generator=generator, dtype=dtype
        )
        self.register_buffer("mask", Tensor(mask), persistent=False)
        self.weight.data = self.weight.data * mask

    mask: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F, I, J)."""
        return self._convolve(input, self.weight * self.mask)

    def weights_used(self) -> int:
        """Number of weights that are not masked."""
        places = self.kernel_size[0] * self.kernel_size[1]
        return int(self.mask.data.sum()) * places


class RadialBasis(Module):
    """Squared distance to a fixed code for each class: y_k = sum_j (x_j - code_kj)^2.

    y_k is the negative logarithm of a Gaussian around the code, up to a constant: small
    means that x looks like class k. (Equation 7 of the paper.)

    Shapes: (N, J) -> (N, K); codes (K, J), a buffer.
    """

    codes: Tensor

    def __init__(self, codes: np.ndarray):
        super().__init__()
        self.register_buffer("codes", Tensor(codes))

    def forward(self, x: Tensor) -> Tensor:
        """Distances."""
        difference = F.unsqueeze(x, 1) - self.codes
        return (difference * difference).sum(-1)


class LeNet5Original(Module):
    """LeNet-5 as published, with all that later versions left out.

        layer                          output         parameters   connections
        C1  conv 5x5                   6 x 28 x 28    156          122,304
        S2  trainable subsampling      6 x 14 x 14    12           5,880
        C3  conv 5x5, partial          16 x 10 x 10   1,516        151,600
        S4  trainable subsampling      16 x 5 x 5     32           2,000
        C5  conv 5x5                   120 x 1 x 1    48,120       48,120
        F6  linear                     84             10,164       10,164
        out distance to fixed codes    10             (840 fixed)  840

    60,000 trained parameters, 340,908 connections. ``squash`` follows every layer up to
    F6. C5 is a convolution; it is fully connected only because its input is 5 x 5.

    The output layer compares F6 with a 7 x 12 picture of each digit in +1 and -1. Those
    of the paper are printed as a figure; ours are drawn anew, see ``bitmaps``.

    Args:
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters, float32 or float64.

    Shapes: (N, 1, 32, 32) -> (N, 10). The values are *minus* the paper's distances, so
    that the largest is the answer and softmax and cross-entropy mean what they mean for
    other networks: cross_entropy of them is the paper's equation 9 without its constant
    j. The paper scales pixels so that paper is -0.1 and ink 1.175.

    Raises:
        ValueError: the images are not 1 x 32 x 32.
    """

    def __init__(
        self,
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng() if generator is None else generator
        self.c1 = Conv2d(1, 6, 5, generator=rng, dtype=dtype)
        self.s2 = Subsample(6, generator=rng, dtype=dtype)
        self.c3 = PartialConv2d(C3_LINKS, 6, 5, generator=rng, dtype=dtype)
        self.s4 = Subsample(16, generator=rng, dtype=dtype)
        self.c5 = Conv2d(16, 120, 5, generator=rng, dtype=dtype)
        self.f6 = Linear(120, 84, generator=rng, dtype=dtype)
        self.output = RadialBasis(digit_codes(dtype))
        self.reset_parameters(generator=rng)

    def reset_parameters(self, *, generator: np.random.Generator | None = None) -> None:
        """Draw C1, C3, C5 and F6 anew, by ``lecun_uniform_``."""
        rng = np.random.default_rng() if generator is None else generator
        for layer in (self.c1, self.c5, self.f6):
            fan, _ = init.fans(layer.weight)
            for parameter in layer.parameters():
                lecun_uniform_(parameter, fan, rng)
        # In C3 the number of inputs differs from map to map: draw in [-1, 1] and scale.
        mask = self.c3.mask.data
        bounds = 2.4 / (25 * mask.sum(1, keepdims=True))
        scales = (bounds * mask, bounds.ravel())
        for parameter, scale in zip(self.c3.parameters(), scales, strict=True):
            init.uniform_(parameter, -1, 1, generator=rng)
            parameter.data = parameter.data * scale

    def forward(self, x: Tensor) -> Tensor:
        """Minus the distances to the codes."""
        if x.ndim != 4 or x.shape[1:] != (1, 32, 32):
            raise ValueError(
                "LeNet5Original: input must have the shape (N, 1, 32, 32), got "
                f"{x.shape}"
            )
        for layer in (self.c1, self.s2, self.c3, self.s4, self.c5):
            x = squash(layer(x))
        return -self.output(squash(self.f6(F.flatten(x, 1))))


ACTIVATIONS: dict[str, type[Module]] = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid}
POOLINGS: dict[str, Callable[[int], Module]] = {"avg": AvgPool2d, "max": MaxPool2d}


class LeNet5(Module):
    """LeNet-5 as it is usually taught: full C3, plain pooling, linear output.

        layer                     output (32 x 32)   parameters
        conv1 5x5, C -> 6         6 x 28 x 28        150 * C + 6
        activation, pool 2        6 x 14 x 14
        conv2 5x5, 6 -> 16        16 x 10 x 10       2,416
        activation, pool 2        16 x 5 x 5
        fc1 400 -> 120            120                48,120
        fc2 120 -> 84             84                 10,164
        fc3 84 -> K               K                  85 * K

    61,706 for gray images and 10 classes, 64,811 for colour and 43 (traffic signs).

    Args:
        num_classes: K.
        in_channels: C, 1 for gray and 3 for colour images.
        image_size: height and width of the images.
        padding: of conv1; 2 makes 28 x 28 images do what 32 x 32 do.
        activation: "relu", "tanh" or "sigmoid".
        pooling: "avg" or "max".
        dropout: probability to drop a value after fc1 and fc2; where a text says
            "keep 0.7" this is 0.3.
        generator: randomness of the initial values and of dropout; None for fresh
            entropy.
        dtype: of the parameters, float32 or float64.

    Shapes: (N, C, image_size, image_size) -> (N, K), scores before softmax.

    Raises:
        ValueError: a word is unknown or the images are too small.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 32,
        *,
        padding: int = 0,
        activation: str = "relu",
        pooling: str = "avg",
        dropout: float = 0.0,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng() if generator is None else generator
        if activation not in ACTIVATIONS or pooling not in POOLINGS:
            raise ValueError(
                f"LeNet5: activation must be one of {list(ACTIVATIONS)} and pooling "
                f"one of {list(POOLINGS)}, got {activation!r} and {pooling!r}"
            )
        size = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        if size < 1:
            raise ValueError(
                f"LeNet5: images of size {image_size} are too small with padding "
                f"{padding}; needed are 16 pixels"
            )
        self.act = ACTIVATIONS[activation]()
        self.pool = POOLINGS[pooling](2)
        self.conv1 = Conv2d(
            in_channels, 6, 5, padding=padding, generator=rng, dtype=dtype
        )
        self.conv2 = Conv2d(6, 16, 5, generator=rng, dtype=dtype)
        self.fc1 = Linear(16 * size * size, 120, generator=rng, dtype=dtype)
        self.fc2 = Linear(120, 84, generator=rng, dtype=dtype)
        self.fc3 = Linear(84, num_classes, generator=rng, dtype=dtype)
        self.dropout = Dropout(dropout, generator=rng)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = self.pool(self.act(self.conv1(x)))
        x = self.pool(self.act(self.conv2(x)))
        x = self.dropout(self.act(self.fc1(F.flatten(x, 1))))
        x = self.dropout(self.act(self.fc2(x)))
        return self.fc3(x)


def count_parameters(model: Module) -> int:
    """Numbers that a model can train: its parameters, less those behind a mask."""
    count = sum(parameter.numel() for parameter in model.parameters())
    for module in model.modules():
        if isinstance(module, PartialConv2d):
            count -= module.weight.numel() - module.weights_used()
    return count
