"""Two orders in memory: images as (N,C,H,W), or channels last as (N,H,W,C).

An array of shape (N,C,H,W) may lie in memory in either order. Channels last is the
better one for most loops here: the innermost loop runs over the channels of one pixel,
which all do the same. NumPy's functions of one array keep the order that they are
given, so images stay channels last once a convolution has made them so.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray

LINE = 64  # bytes


def is_channels_last(x: Array) -> bool:
    """Whether the channels of a pixel are neighbours in memory, with no gaps anywhere.

    Also true of images for which the two orders are the same: of one channel, or of one
    pixel.
    """
    return x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous


def channels_last(x: Array) -> Array:
    """(N,C,H,W) in any order -> (N,H,W,C), contiguous: a view where possible."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def images(y: Array) -> Array:
    """(N,H,W,C) -> (N,C,H,W): the same memory, seen as images."""
    return y.transpose(0, 3, 1, 2)


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """np.empty, but beginning at the start of a cache line.

    The processor's widest registers hold a whole line of 64 bytes. Loading one from an
    array that begins elsewhere touches two lines, and takes loops half as long again.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)
