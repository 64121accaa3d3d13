"""Windows and pixels in the numbers that kernels use.

Kernels count windows and pixels in one row, so that neighbouring threads have
neighbours. The functions here find the place that such a number stands for.
"""

from typing import Any, NamedTuple

import numpy as np

from ..shapes import Window
from .launch import Array, Int32, device


class Geometry(NamedTuple):
    """A Window in the numbers that kernels use: sizes, strides, padding, dilation."""

    H: Int32
    W: Int32
    U: Int32
    V: Int32
    I: Int32  # noqa: E741
    J: Int32
    sh: Int32
    sw: Int32
    ph: Int32
    pw: Int32
    dh: Int32
    dw: Int32


def geometry(window: Window) -> Geometry:
    """The numbers of a window."""
    pairs = (
        window.size,
        window.kernel,
        window.out,
        window.stride,
        window.padding,
        window.dilation,
    )
    return Geometry(*(np.int32(n) for pair in pairs for n in pair))


@device
def window_at(place: int, tap: int, stride: int, count: int) -> int:
    """Which of `count` windows sees a `place` of the padded image at a `tap`, or -1.

    It began `tap` before the place; windows begin at multiples of the stride.
    """
    start = place - tap
    if start < 0 or start % stride != 0 or start // stride >= count:
        return -1
    return start // stride


@device
def start_of(p: int, g: Geometry) -> tuple[int, int, int]:
    """Window p = (n, i, j): its image, and the row and column where it begins."""
    n, i, j = p // (g.I * g.J), p // g.J % g.I, p % g.J
    return n, i * g.sh - g.ph, j * g.sw - g.pw


@device
def tap_at(k: int, g: Geometry) -> tuple[int, int, int]:
    """Place k = (c, u, v) of a window: its channel, and how far in the pixel is."""
    c, u, v = k // (g.U * g.V), k // g.V % g.U, k % g.V
    return c, u * g.dh, v * g.dw


@device
def pixel_at(p: int, g: Geometry) -> tuple[int, int, int]:
    """Pixel p = (n, h, w): its image, and its place in the padded image."""
    n, h, w = p // (g.H * g.W), p // g.W % g.H, p % g.W
    return n, h + g.ph, w + g.pw


@device
def seen(x: Array, q: int, window: Any, tap: Any, g: Geometry) -> Any:
    """What the window sees at the tap; padding is 0."""
    h, w = window[1] + tap[1], window[2] + tap[2]
    if h < 0 or h >= g.H or w < 0 or w >= g.W:
        return x.dtype.type(0)
    return x[window[0], q, tap[0], h, w]


@device
def returned(gy: Array, q: int, pixel: Any, tap: Any, g: Geometry) -> Any:
    """The gradient of the window that saw the pixel at the tap, or 0."""
    i = window_at(pixel[1], tap[1], g.sh, g.I)
    j = window_at(pixel[2], tap[2], g.sw, g.J)
    if i < 0 or j < 0:
        return gy.dtype.type(0)
    return gy[pixel[0], q, tap[0], i, j]
