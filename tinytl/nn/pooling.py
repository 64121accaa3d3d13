"""Layers that change the size of images: pooling and Upsample.

Formulas, shapes and derivatives: ``tinytl.functional``.
"""

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module

Pair = int | tuple[int, int]


class MaxPool2d(Module):
    """Largest value of each window; of equal ones the first has the gradient.

    Shapes: (N, C, H, W) -> (N, C, I, J), I = floor((H + 2p - d(U-1) - 1) / s) + 1.

    Args:
        kernel_size: size of the window, one number or two; so for the next three.
        stride: distance of the windows; None for kernel_size.
        padding: rows added on all sides; they never win.
        dilation: distance of the values inside a window.
        return_indices: return also where the values stand, as h * W + w.
        ceil_mode: round I and J up, where the last window begins inside the image.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """(N, C, H, W) -> (N, C, I, J), or two of them with ``return_indices``."""
        return F.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """Mean of each window.

    Shapes: (N, C, H, W) -> (N, C, I, J), I = floor((H + 2p - U) / s) + 1.

    Args:
        kernel_size: size of the window, one number or two; so for the next two.
        stride: distance of the windows; None for kernel_size.
        padding: zeros added on all sides.
        ceil_mode: round I and J up.
        count_include_pad: divide by the whole window where it covers padding.
        divisor_override: divide by this number instead.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, I, J)."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}"
        )


class SumPool2d(Module):
    """Sum of each window. torch has none; arguments as in ``AvgPool2d``."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, I, J)."""
        return F.sum_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode
        )

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}"
        )


class AdaptiveAvgPool2d(Module):
    """Mean over windows that are chosen so that the output has the wanted size.

    Args:
        output_size: (I, J), or one number for both; None keeps the input's size.
    """

    def __init__(self, output_size: int | None | tuple[int | None, int | None]):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, I, J)."""
        size = (None, None) if self.output_size is None else self.output_size
        return F.adaptive_avg_pool2d(input, size)

    def extra_repr(self) -> str:
        """Size."""
        return f"output_size={self.output_size}"


class Upsample(Module):
    """Resize images, smaller or larger: ``functional.interpolate`` as a layer.

    Args:
        size: (I, J), or one number for both; or else
        scale_factor: output size divided by input size, one number or two.
        mode: "nearest", "bilinear", or another that ``interpolate`` knows.
        align_corners: whether corner pixels keep their places.
        recompute_scale_factor: see ``interpolate``.
    """

    def __init__(
        self,
        size: Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__()
        self.size = size
        if isinstance(scale_factor, tuple):
            scale_factor = float(scale_factor[0]), float(scale_factor[1])
        elif scale_factor is not None:
            scale_factor = float(scale_factor)
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, I, J)."""
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Size and mode."""
        if self.size is not None:
            return f"size={self.size}, mode={self.mode!r}"
        return f"scale_factor={self.scale_factor}, mode={self.mode!r}"
