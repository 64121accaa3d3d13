"""Two orders in memory: images as (N,C,H,W), or channels last as (N,H,W,C).

An array of shape (N,C,H,W) may lie in memory in either order. Channels last is the
better one for most loops here: the innermost loop runs over the channels of one pixel,
which all do the same. NumPy's functions of one array keep the order that they are
given, so images stay channels last once a convolution has made them so.
"""

import functools
import math

import numpy as np

from ..memory import empty
from ..threads import run
from .compiled import compiled
from .simd import lanes, turn

Array = np.ndarray


def is_channels_last(x: Array) -> bool:
    """Whether the channels of a pixel are neighbours in memory, with no gaps anywhere.

    Also true of images for which the two orders are the same: of one channel, or of one
    pixel.
    """
    return x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous


def channels_last(x: Array) -> Array:
    """(N,C,H,W) in any order -> (N,H,W,C), contiguous: a view where possible."""
    near = x.transpose(0, 2, 3, 1)
    if near.flags.c_contiguous:  # as nearly always
        return near
    n, c, h, w = x.shape
    flat, turned = by_image(x)
    if not turned:
        return flat.reshape(n, h, w, c)
    y = empty((n, h, w, c), x.dtype)
    run(_turn, n, y.reshape(n, -1), flat, c, turned, work=x.size)
    return y


def by_image(x: Array) -> tuple[Array, int]:
    """Each image as it lies in memory, (N, H*W*C), and whether it must be turned.

    An image that is not channels last is turned by `turn_image`, by so many numbers at
    a time. 0: it is channels last.
    """
    n, size = len(x), math.prod(x.shape[1:])
    if x.flags.c_contiguous and not is_channels_last(x) and x.dtype.kind == "f":
        return x.reshape(n, size), lanes(x.dtype)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(n, size), 0


def images(y: Array) -> Array:
    """(N,H,W,C) -> (N,C,H,W): the same memory, seen as images."""
    return y.transpose(0, 3, 1, 2)


def far_to_near(x: Array) -> tuple[int, ...]:
    """The axes of x from far to near in memory; as they are, where x has gaps."""
    near = tuple(range(x.ndim))
    last = (0, *range(2, x.ndim), 1)
    if x.ndim > 2 and not x.flags.c_contiguous and x.transpose(last).flags.c_contiguous:
        return last
    return near


@functools.cache
def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order that brings axes back which were brought into `order`."""
    return tuple(map(order.index, range(len(order))))


@compiled
def _turn(first, last, y, x, channels, step):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        turn_image(y[n], x[n], channels, step)


@compiled
def turn_image(y, x, rows, step):  # type: ignore[no-untyped-def]
    """Turn the flat matrix x of so many rows, `step` squared numbers at a time.

    The last squares overlap those before. A matrix smaller than a square is turned
    number by number. Returns as much of y as was needed.
    """
    columns = len(x) // rows
    if rows < step or columns < step:
        for column in range(columns):
            for row in range(rows):
                y[column * rows + row] = x[row * columns + column]
        return y[: len(x)]
    for row in range(0, rows, step):
        r = min(row, rows - step)
        for column in range(0, columns, step):
            c = min(column, columns - step)
            turn(y, c * rows + r, rows, x, r * columns + c, columns)
    return y[: len(x)]
