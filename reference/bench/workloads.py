"""What is timed: one row of the table each, the same lines for both libraries.

A row builds its inputs from fixed seeds and returns a function: one repetition, whose
result is the tuple of everything that was asked for. Nothing may be left out on either
side, so the results of both are compared in full.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = Callable[[], Sequence[Any]]
Build = Callable[[Any, int], Step]  # (side, batch) -> step


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        group: rows with one goal, and one geometric mean.
        name: what is computed.
        build: see above.
        batch: images.
        flops: additions and multiplications by the definition; 0: not counted.
        bytes: every array read or written once in each direction; 0: not counted.
        layouts: whether both are also timed with channels last.
        seconds: of measuring, all sides together.
        least: rounds that are made however long they take.
        allowed: relative error of every result, or the row is refused.
    """

    group: str
    name: str
    build: Build
    batch: int = 128
    flops: float = 0
    bytes: float = 0
    layouts: bool = True
    seconds: float = 3.0
    least: int = 3
    allowed: float = 1e-3

    @property
    def key(self) -> str:
        """What ``--only`` looks for."""
        return f"{self.group}/{self.name}"


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers in float32, by seed; a million of them, over and over."""
    count = min(math.prod(shape), 1_000_003)  # a prime: no two images are equal
    values = np.random.default_rng(seed).standard_normal(count, dtype=np.float32)
    return np.resize(np.float32(scale) * values, shape)


def he(seed: int, *shape: int) -> np.ndarray:
    """He-normal weights of a convolution or a linear layer."""
    return normal(seed, *shape, scale=math.sqrt(2 / math.prod(shape[1:])))


# -- convolution -----------------------------------------------------------------------


@dataclass(frozen=True)
class Conv:
    """A convolution without bias, padded so that stride 1 keeps the size."""

    channels: int
    filters: int
    size: int
    stride: int = 1
    kernel: int = 3
    groups: int = 1

    def __str__(self) -> str:
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return f"{self.channels}-{self.filters} {self.size}x{self.size}{stride}"

    def shapes(self, batch: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of x, w and y."""
        out = (self.size - 1) // self.stride + 1
        x = (batch, self.channels, self.size, self.size)
        w = (self.filters, self.channels // self.groups, self.kernel, self.kernel)
        return x, w, (batch, self.filters, out, out)

    def flops(self, batch: int) -> float:
        """Of one of conv, conv_dx, conv_dw, by the definition."""
        _, w, y = self.shapes(batch)
        return 2.0 * math.prod(y) * math.prod(w[1:])

    def bytes(self, batch: int) -> float:
        """Of forward and backward: x, y; then x, gy, gx."""
        x, _, y = (4 * math.prod(shape) for shape in self.shapes(batch))
        return 3.0 * x + 2 * y

    def build(self, orders: int) -> Build:
        """Derivatives up to first or second order; 0: the value alone."""

        def build(side: Any, batch: int) -> Step:
            shape_x, shape_w, shape_y = self.shapes(batch)
            x = side.tensor(normal(0, *shape_x), orders > 0)
            w = side.filters(he(1, *shape_w), orders > 0)
            gy = side.tensor(normal(2, *shape_y), orders > 1)
            options = {"stride": self.stride, "padding": self.kernel // 2}

            def conv() -> Any:
                return side.F.conv2d(x, w, None, **options, groups=self.groups)

            if orders == 0:
                return lambda: (conv(),)
            if orders == 1:

                def both() -> Sequence[Any]:
                    y = conv()
                    return (y, *side.grad(y, [x, w], gy))

                return both
            a = side.tensor(normal(3, *shape_x))
            b = side.filters(normal(4, *shape_w))
            first = side.grad(conv(), [x, w], gy, create_graph=True)
            asked = {"grad_outputs": [a, b], "retain_graph": True}
            return lambda: side.grad(first, [x, w, gy], **asked)

        return build


# The 3 x 3 convolutions of the two networks, each shape once.
VGG9 = (
    *(Conv(3, 64, 32), Conv(64, 128, 16), Conv(128, 256, 8), Conv(256, 256, 8)),
    *(Conv(256, 512, 4), Conv(512, 512, 4), Conv(512, 512, 2)),
)
RESNET32 = (
    *(Conv(3, 16, 32), Conv(16, 16, 32), Conv(16, 32, 32, 2), Conv(32, 32, 16)),
    *(Conv(32, 64, 16, 2), Conv(64, 64, 8)),
)
OTHER = (  # other weights, groups, strides, and channels that fill no vectors
    ("3x3", Conv(24, 40, 28)),
    ("5x5", Conv(32, 64, 16, kernel=5)),
    ("3x3", Conv(64, 128, 32, 2)),
    ("3x3", Conv(256, 512, 8, 2)),
    ("2 groups", Conv(64, 64, 16, groups=2)),
    ("32 groups", Conv(128, 128, 16, groups=32)),
)
MOBILE = (  # of MobileNetV3-Large, on smaller images
    ("depthwise 3x3", Conv(72, 72, 16, groups=72)),
    ("depthwise 3x3", Conv(200, 200, 8, groups=200)),
    ("depthwise 5x5", Conv(72, 72, 16, 2, kernel=5, groups=72)),
    ("depthwise 5x5", Conv(120, 120, 8, kernel=5, groups=120)),
    ("1x1", Conv(24, 72, 16, kernel=1)),
    ("1x1", Conv(240, 80, 8, kernel=1)),
)


def convolutions() -> list[Row]:
    """Forward, forward + both gradients, and second derivative of every shape."""
    named = [(n, c) for n, cs in (("VGG9", VGG9), ("ResNet-32", RESNET32)) for c in cs]
    orders = (
        ("conv forward", 0, 1),
        ("conv gradients", 1, 3),
        ("conv second derivative", 2, 4),
    )
    return [
        Row(group, f"{name} {c}", c.build(order), flops=times * c.flops(128))
        for group, order, times in orders
        for name, c in named
    ]


def other() -> list[Row]:
    """Convolutions that the networks do not have."""
    return both_gradients("conv other", OTHER)


def mobile() -> list[Row]:
    """Convolutions of MobileNetV3."""
    return both_gradients("mobile", MOBILE)


def linear() -> list[Row]:
    """Linear layers, of VGG9 and of AlexNet: forward + all gradients."""
    sizes = ((512, 512), (9216, 4096))
    return [
        Row("linear", f"{n}-{m}", linear_layer(n, m), flops=6.0 * 128 * n * m)
        for n, m in sizes
    ]


def linear_layer(inputs: int, outputs: int) -> Build:
    """Value and gradients of y = x w^T + b."""

    def build(side: Any, batch: int) -> Step:
        x = side.tensor(normal(0, batch, inputs), True)
        w = side.tensor(he(1, outputs, inputs), True)
        b = side.tensor(normal(2, outputs), True)
        gy = side.tensor(normal(3, batch, outputs))

        def both() -> Sequence[Any]:
            y = side.F.linear(x, w, b)
            return (y, *side.grad(y, [x, w, b], gy))

        return both

    return build


def both_gradients(group: str, named: Sequence[tuple[str, Conv]]) -> list[Row]:
    """Forward + both gradients; a depthwise convolution is a matter of memory."""
    rows = []
    for name, c in named:
        depthwise = c.groups == c.channels
        limit = {"bytes": c.bytes(128)} if depthwise else {"flops": 3 * c.flops(128)}
        rows.append(Row(group, f"{name} {c}", c.build(1), **limit))
    return rows


# -- layers without a product ----------------------------------------------------------


def layer(function: Callable[..., Any], size: int, channels: int, out: int) -> Build:
    """Value and gradients of `function` (side, x, scale, shift), images size x size."""

    def build(side: Any, batch: int) -> Step:
        x = side.tensor(normal(0, batch, channels, size, size, scale=3), True)
        gy = side.tensor(normal(1, batch, channels, out, out))
        scale = side.tensor(1 + normal(2, channels, scale=0.1), True)
        shift = side.tensor(normal(3, channels, scale=0.1), True)
        inputs = [x, scale, shift] if function is norm_relu else [x]

        def both() -> Sequence[Any]:
            y = function(side, x, scale, shift)
            return (y, *side.grad(y, inputs, gy))

        return both

    return build


def norm_relu(side: Any, x: Any, scale: Any, shift: Any) -> Any:
    """Batch normalisation by the batch's statistics, and ReLU."""
    return side.norm_relu(x, None, None, scale, shift, training=True)


def resize(size: int) -> Callable[..., Any]:
    """Bilinear to size x size."""
    options = {"mode": "bilinear", "align_corners": False}
    return lambda side, x, *_: side.F.interpolate(x, (size, size), **options)


def layers() -> list[Row]:
    """Normalisation, pooling, resizing, activations: forward + backward."""
    kinds: list[tuple[str, str, Callable[..., Any], int, int, int]] = [
        ("norm", "batch norm + ReLU", norm_relu, 64, 32, 32),
        ("norm", "batch norm + ReLU", norm_relu, 256, 8, 8),
        ("layer", "max pooling", lambda s, x, *_: s.F.max_pool2d(x, 2), 64, 32, 16),
        ("layer", "max pooling", lambda s, x, *_: s.F.max_pool2d(x, 2), 256, 8, 4),
        ("layer", "bilinear up", resize(32), 16, 16, 32),
        ("layer", "bilinear down", resize(8), 32, 16, 8),
        ("layer", "softplus", lambda s, x, *_: s.F.softplus(x), 64, 32, 32),
        ("layer", "relu6", lambda s, x, *_: s.F.relu6(x), 64, 32, 32),
    ]
    return [
        Row(
            group,
            f"{name} {channels}x{size}x{size}",
            layer(function, size, channels, out),
            bytes=4.0 * 128 * channels * (3 * size**2 + 2 * out**2),
        )
        for group, name, function, channels, size, out in kinds
    ]


# -- the limits ------------------------------------------------------------------------


def limits() -> list[Row]:
    """A large product, by either library's BLAS, and a large copy."""

    def product(side: Any, batch: int) -> Step:
        a, b = (side.tensor(normal(k, batch, batch)) for k in range(2))
        return lambda: (side.F.linear(a, b),)

    def copy(side: Any, batch: int) -> Step:
        source = normal(0, batch, 1 << 16)
        target = np.ones_like(source)

        def step() -> Sequence[Any]:
            side.copy(target, source)
            return ()

        return step

    once = {"layouts": False, "seconds": 4.0, "least": 4}
    return [
        Row("limit", "product", product, 4096, flops=2.0 * 4096**3, **once),
        Row("limit", "copy", copy, 512, bytes=8.0 * 512 * (1 << 16), **once),
    ]
