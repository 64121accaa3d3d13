"""Conv2d, the convolutional layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tinytl_kernels.shapes import IntOrPair, Pair, pair

from .. import functional as F
from ..tensor import Tensor
from .linear import default_init, positive
from .module import Module, Parameter

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Conv2d(Module):
    """Two-dimensional convolution (as all networks have it: cross-correlation).

        y[n, f, i, j] = b[f] + sum over c, u, v of
                        w[f, c, u, v] * x[n, c, i*s + u*d - p, j*s + v*d - p]

    Shapes: (N, C, H, W) -> (N, F, I, J) with I = floor((H + 2p - d(U-1) - 1) / s) + 1;
    weight (F, C / groups, U, V), bias (F,). Each filter has C U V weights, not U V.

    Args:
        in_channels: C.
        out_channels: F.
        kernel_size: (U, V), or one number for both; so for the next three.
        stride: s.
        padding: p; or "valid" for none, or "same" for I = H with stride 1.
        dilation: d.
        groups: each group of C / groups channels feeds F / groups filters.
        bias: whether to add b.
        padding_mode: what stands outside of the image: "zeros", its mirror image
            ("reflect"), its border ("replicate") or its other side ("circular").
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters, float32 or float64.

    Raises:
        TypeError: a size is no integer, nor two of them.
        ValueError: a size is not positive, channels are not divisible by groups, or a
            word is unknown.

    Source: LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        positive(
            self, in_channels=in_channels, out_channels=out_channels, groups=groups
        )
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: in_channels {in_channels} and out_channels {out_channels} "
                f"must be divisible by groups {groups}"
            )
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(
                f"Conv2d: padding_mode must be one of {modes}, got {padding_mode!r}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self.padding = self._padding(padding)
        self.groups = groups
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(np.zeros(shape, dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None
        self.reset_parameters(generator=generator)

    def _padding(self, padding: IntOrPair | str) -> Pair | str:
        if not isinstance(padding, str):
            return pair("Conv2d", "padding", padding, 0)
        if padding not in ("valid", "same"):
            raise ValueError(
                "Conv2d: padding must be an integer, two, 'valid' or 'same', got "
                f"{padding!r}"
            )
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(
                "Conv2d: padding='same' needs stride 1: with a stride the output "
                "cannot have the input's size"
            )
        return padding

    def _sides(self) -> tuple[int, int, int, int]:
        """Padding as (left, right, top, bottom); an odd total has more at the end."""
        rows, columns = (0, 0)
        if self.padding == "same":
            rows, columns = (
                d * (k - 1)
                for d, k in zip(self.dilation, self.kernel_size, strict=True)
            )
        elif isinstance(self.padding, tuple):
            rows, columns = (2 * p for p in self.padding)
        top, left = rows // 2, columns // 2
        return left, columns - left, top, rows - top

    def reset_parameters(self, *, generator: np.random.Generator | None = None) -> None:
        """Draw new values, see ``default_init``."""
        default_init(self.weight, self.bias, generator)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F, I, J)."""
        return self._convolve(input, self.weight)

    def _convolve(self, input: Tensor, weight: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._sides(), mode=self.padding_mode)
            padding = 0, 0
        return F.conv2d(
            input, weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        """Sizes, and what is not as usual."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text
