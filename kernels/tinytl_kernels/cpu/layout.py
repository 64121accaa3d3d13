"""Two orders in memory: images as (N,C,H,W), or channels last as (N,H,W,C).

An array of shape (N,C,H,W) may lie in memory in either order. Channels last is the
better one for most loops here: the innermost loop runs over the channels of one pixel,
which all do the same. NumPy's functions of one array keep the order that they are
given, so images stay channels last once a convolution has made them so.
"""

import numpy as np

Array = np.ndarray


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
