"""Groups of channels by Winograd's convolution, few channels with zeros between them.

A group has its own channels and filters. Winograd's loops read and write them where
they lie, among those of the other groups. Groups too small to fill a vector are joined:
two groups are one convolution whose filters are zero where they would see the other
group's channels,

    w0  0
     0 w1

The vectors would have been computed in full anyway. Of the gradient towards these
weights, the blocks on the diagonal are wanted. An infinity or a NaN in one group
reaches those joined with it (0 times infinity), as it does its neighbours in a tile.
"""

import functools

import numpy as np

from ..shapes import Window
from . import winograd

Array = np.ndarray


def fits(
    dtype: np.dtype, groups: int, channels: int, filters: int, window: Window
) -> bool:
    """Whether groups of so many channels and filters each are computed here."""
    k = joined(groups, channels, filters)
    return winograd.fits(dtype, k * channels, k * filters, window)


@functools.cache
def joined(groups: int, channels: int, filters: int) -> int:
    """How many neighbouring groups fill a vector; all, if these do not."""
    few = min(channels, filters)
    sizes = (k for k in range(1, groups) if groups % k == 0)
    return next((k for k in sizes if k * few >= winograd.LANES), groups)


def conv(
    x: Array, w: Array, window: Window, groups: int, b: Array | None = None
) -> Array:
    """Convolution; see plain.conv.

    Shapes. x (N,C,H,W), w (F,C/G,U,U), b (F,) -> (N,F,I,J), channels-last in memory.
    """
    k = joined(groups, w.shape[1], len(w) // groups)
    return winograd.conv(x, with_zeros(w, groups, k), window, b, groups // k)


def conv_dx(gy: Array, w: Array, window: Window, groups: int) -> Array:
    """Gradient towards x; see plain.conv_dx.

    Shapes. gy (N,F,I,J), w (F,C/G,U,U) -> (N,C,H,W), channels-last in memory.
    """
    k = joined(groups, w.shape[1], len(w) // groups)
    return winograd.conv_dx(gy, with_zeros(w, groups, k), window, groups // k)


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """Gradient towards w; see plain.conv_dw.

    Shapes. x (N,C,H,W), gy (N,F,I,J) -> (F,C/G,U,U).
    """
    channels, filters = x.shape[1] // groups, gy.shape[1] // groups
    k = joined(groups, channels, filters)
    gw = winograd.conv_dw(x, gy, window, groups // k)
    shape = groups * filters, channels, *window.kernel
    return blocks(gw, groups, k).reshape(shape)


def with_zeros(w: Array, groups: int, k: int) -> Array:
    """(F, C/G, U, U) -> (F, k*C/G, U, U): k groups at a time on a diagonal."""
    if k == 1:
        return w
    wide = np.zeros((len(w), k * w.shape[1], *w.shape[2:]), w.dtype)
    blocks(wide, groups, k)[...] = w.reshape(groups // k, k, -1, *w.shape[1:])
    return wide


def blocks(w: Array, groups: int, k: int) -> Array:
    """(F, k*C/G, U, U) -> (G/k, k, F/G, C/G, U, U): a view of the diagonals."""
    g, f, c = groups // k, len(w) // groups, w.shape[1] // k
    every = w.reshape(g, k, f, k, c, *w.shape[2:])
    return np.einsum("gifickl->gifckl", every)
