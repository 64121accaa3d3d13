"""Convolution as a plain sum, compiled."""

import numpy as np

from ..cpu import direct
from ..cpu.conv import convolve
from ..shapes import Window

Array = np.ndarray


def conv(
    x: Array, w: Array, window: Window, groups: int, b: Array | None = None
) -> Array:
    """Convolution; see plain.conv.

    Shapes. x (N,C,H,W), w (F,C/G,U,V), b (F,) -> (N,F,I,J), channels-last in memory.
    """
    return convolve("conv", (direct,), x, w, window, groups, b)


def conv_dx(gy: Array, w: Array, window: Window, groups: int) -> Array:
    """Gradient towards x; see plain.conv_dx.

    Shapes. gy (N,F,I,J), w (F,C/G,U,V) -> (N,C,H,W), channels-last in memory.
    """
    return convolve("conv_dx", (direct,), gy, w, window, groups)


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """Gradient towards w; see plain.conv_dw.

    Shapes. x (N,C,H,W), gy (N,F,I,J) -> (F,C/G,U,V).
    """
    return convolve("conv_dw", (direct,), x, gy, window, groups)
