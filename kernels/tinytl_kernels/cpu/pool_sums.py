"""Sums of windows, and the transpose: one loop for both.

A window's sum is one over a rectangle of pixels, and the transpose of that, for each
pixel, one over the rectangle of windows that saw it. Lines are added first, which fills
vectors however few the channels are. Images in another order are brought to channels
last.
"""

import functools

import numpy as np

from .. import plain
from ..memory import empty
from ..shapes import Pair, Window
from ..threads import run
from .compiled import NOTHING, as_written
from .direct_loops import copy
from .layout import channels_last, images
from .simd import BITS, lanes, load, store, zero

Array = np.ndarray
FEW = 4  # lines of a window that are added a vector at a time


def sum_pool(x: Array, window: Window, divisor: int = 1) -> Array:
    """The sum of each window, divided; see plain.sum_pool."""
    if window.dilation != (1, 1):
        return plain.sum_pool(x, window, divisor)
    return _summed(x, _windows(window), window.out, divisor)


def sum_pool_dx(gy: Array, window: Window, divisor: int = 1) -> Array:
    """Transpose of sum_pool: for each pixel the sum over the windows that saw it."""
    if window.dilation != (1, 1):
        return plain.sum_pool_dx(gy, window, divisor)
    return _summed(gy, seers(window), window.size, divisor)


def _summed(x: Array, bounds: tuple[Array, ...], size: Pair, divisor: int) -> Array:
    """Images of `size`, each pixel the sum over a rectangle of x, divided."""
    (n, c), one = x.shape[:2], lanes(x.dtype)
    y = empty((n, *size, c), x.dtype)
    scratch = ((x.shape[3] + size[1]) * c + 4 * one, x.dtype)
    arrays = y, channels_last(x), bounds, x.dtype.type(divisor)
    run(_sums, n, *arrays, work=x.size + y.size, scratch=scratch)
    return images(y)


@functools.lru_cache(maxsize=256)
def _windows(window: Window) -> tuple[Array, ...]:
    """First and end of the rows, and of the columns, that each window sees."""
    bounds = []
    for k in range(2):
        start = np.arange(window.out[k]) * window.stride[k] - window.padding[k]
        ends = start, start + window.kernel[k]
        bounds += [np.clip(end, 0, window.size[k]) for end in ends]
    return tuple(bounds)


@functools.lru_cache(maxsize=256)
def seers(window: Window) -> tuple[Array, ...]:
    """First and end of the windows, down and across, that see each row and column."""
    bounds = []
    for k in range(2):
        place, s = np.arange(window.size[k]) + window.padding[k], window.stride[k]
        ends = -((window.kernel[k] - 1 - place) // s), place // s + 1
        bounds += [np.clip(end, 0, window.out[k]) for end in ends]
    return tuple(bounds)


@as_written
def _sums(first, last, scratch, y, x, bounds, divisor):  # type: ignore[no-untyped-def]
    """Images first..last-1 of y: lines are added first, and then pixels of their sum.

    A vector holds the channels of a pixel and, where they do not fill it, what is
    behind them, which the next pixel overwrites; so the last rows, with none behind
    them, go through scratch. A line that is the same as the one before (a transposed
    sum has them) is copied, in vectors that are full.
    """
    top, bottom = bounds[:2]
    rows, columns, channels = y.shape[1:]
    line, one = x.shape[2] * channels, BITS // 8 // y.itemsize
    row, behind = columns * channels, line + 2 * one
    numbers, out = x.reshape(-1), y.reshape(-1)
    to, end = first * rows * row, last * rows * row
    for n in range(first, last):
        for i in range(rows):
            if i and top[i] == top[i - 1] and bottom[i] == bottom[i - 1]:
                copy(out, to, out, to - row, row)
            else:
                start = n * x.shape[1]
                _add_lines(scratch, numbers, start + top[i], start + bottom[i], line)
                size = columns, channels
                if to + row + one <= end:
                    _add_pixels(out, to, scratch, size, bounds, divisor)
                else:
                    _add_pixels(scratch, behind, scratch, size, bounds, divisor)
                    copy(out, to, scratch, behind, row)
            to += row


@as_written
def _add_pixels(out, to, line, size, bounds, divisor):  # type: ignore[no-untyped-def]
    """A row of sums, each over pixels left..right-1 of a line, divided."""
    (columns, channels), (left, right) = size, bounds[2:]
    for j in range(columns):
        for c in range(0, channels, BITS // 8 // line.itemsize):
            total = zero(line)
            for w in range(left[j], right[j]):
                total = total + load(line, w * channels + c)
            store(out, to + j * channels + c, total / divisor)


@as_written
def _add_lines(total, numbers, first, last, line):  # type: ignore[no-untyped-def]
    """The sum of lines first..last-1, in whole vectors; the last one may overlap.

    Of FEW lines, a vector of each after the other; of more, line by line, as memory is
    read best.
    """
    one = BITS // 8 // numbers.itemsize
    if line < one:
        for k in range(line):
            total[k] = NOTHING
            for h in range(first, last):
                total[k] += numbers[h * line + k]
        return
    done = 0
    if last - first > FEW:
        done = line - line % one
        for k in range(0, done, one):
            store(total, k, load(numbers, first * line + k))
        for h in range(first + 1, last):
            for k in range(0, done, one):
                store(total, k, load(total, k) + load(numbers, h * line + k))
    for j in range(done, line, one):
        k = min(j, line - one)
        part = zero(numbers)
        for h in range(first, last):
            part = part + load(numbers, h * line + k)
        store(total, k, part)
