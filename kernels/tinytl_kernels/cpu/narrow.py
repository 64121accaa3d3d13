"""Convolution with few filters, as it is defined: registers hold pixels, not filters.

The first convolution of a network may have no more than 6 filters, and would leave
most of a register empty that holds one number of each filter. So here the registers lie
along a row of the image, and the filters are the rows of the product:

    y[f, j] = sum over (u,c), v of w[f, (u,c), v] * padded[i + u, c, j + v]

An image is padded into a scratch array that holds, line by line, the rows of all its
channels: the sum over u and c is then one loop with one step. The product goes to a
tile, and from there to y, channels last as with all other forms.
"""

from typing import NamedTuple

import numpy as np

from ..memory import empty
from ..shapes import Pair, Window
from ..threads import PRODUCTS, get_num_threads, run
from . import direct
from .compiled import as_written
from .direct_loops import copy, pad, zeros
from .layout import channels_last, images
from .product import block, filled
from .simd import BITS, lanes

Array = np.ndarray


ROWS = (4, 6, 8)  # filters in a block


class Plan(NamedTuple):
    """Sizes for the loop; pairs are of rows and columns."""

    kernel: Pair
    padding: Pair
    padded: Pair
    room: int  # numbers in a padded image, and in what is read behind it
    rows: int  # filters, filled up to what a block has
    filters: int


def fits(dtype: np.dtype, channels: int, filters: int, window: Window) -> bool:
    """Whether the filters fill half a register at most, and a row of outputs one."""
    one = lanes(dtype)
    steps = window.stride == window.dilation == (1, 1)
    return steps and filters <= min(one // 2, ROWS[-1]) and window.out[1] >= one


def conv(x: Array, w: Array, window: Window) -> Array:
    """y[n,f,i,j] = sum over c,u,v of w[f,c,u,v] * x[n, c, i-p+u, j-p+v].

    Shapes. x (N,C,H,W), w (F,C,U,V) -> (N,F,I,J), channels-last in memory.
    """
    filters, channels, u, v = w.shape
    one = lanes(x.dtype)
    rows = next(n for n in ROWS if n >= filters)
    height, width = window.out[0] + u - 1, window.out[1] + v - 1
    room = height * channels * width + 2 * one + v
    by = Plan(window.kernel, window.padding, (height, width), room, rows, filters)
    taps = np.zeros((rows, u, channels, v), w.dtype)
    taps[:filters] = w.transpose(0, 2, 1, 3)
    y = empty((len(x), *window.out, filters), x.dtype)
    run(
        _convolve,
        len(x) * window.out[0],
        np.ascontiguousarray(x),
        taps.reshape(-1),
        y,
        by,
        scratch=(room + 2 * rows * one, x.dtype),
        work=y.size * u * v * channels // PRODUCTS,
    )
    return images(y)


def conv_dw(x: Array, gy: Array, window: Window) -> Array:
    """gw[f,c,u,v]: what each weight contributes to sum gy * conv(x, w).

    Here a register holds one row of taps, of all channels: gw is a product of gy with
    an image that lies channels last.

    Shapes. x (N,C,H,W), gy (N,F,I,J) -> (F,C,U,V).
    """
    (u, v), channels, filters = window.kernel, x.shape[1], gy.shape[1]
    if filters not in ROWS:
        return direct.conv_dw(x, gy, window)
    by = direct.plan(window, channels, filters, x.dtype)
    parts = max(1, min(get_num_threads(), len(x)))
    total = np.zeros((parts, u, filters, filled(by.run, lanes(x.dtype))), x.dtype)
    run(
        _weight_sums,
        parts,
        channels_last(x),
        channels_last(gy),
        total,
        by,
        scratch=(by.room + lanes(x.dtype), x.dtype),
        work=gy.size * u * v * channels // PRODUCTS,
    )
    taps = total.sum(axis=0)[:, :, : by.run].reshape(u, filters, v, channels)
    return np.ascontiguousarray(taps.transpose(1, 3, 0, 2))


@as_written
def _weight_sums(first, last, scratch, x, gy, total, by):  # type: ignore[no-untyped-def]
    """Parts first..last-1 of the sum; a part has its share of the images."""
    parts, u_size, filters, wide = total.shape
    grads, sums, channels = gy.reshape(-1), total.reshape(-1), x.shape[3]
    down, step = by.padded[1] * channels, by.out[1] * filters
    for part in range(first, last):
        for n in range(len(x) * part // parts, len(x) * (part + 1) // parts):
            pad(x, n, scratch, by)
            a = (grads, n * by.out[0] * step, 1, step, filters)
            for u in range(u_size):
                to = (part * u_size + u) * filters * wide
                for q in range(0, wide, BITS // 8 // x.itemsize):
                    b = (scratch, u * down + q, down, channels)
                    c = (sums, to + q, wide)
                    if filters == 4:
                        block(4, 1, by.out, a, b, c, True)
                    elif filters == 6:
                        block(6, 1, by.out, a, b, c, True)
                    else:
                        block(8, 1, by.out, a, b, c, True)


@as_written
def _convolve(first, last, scratch, x, taps, y, by):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the outputs of all images."""
    height, count, filters = y.shape[1:]
    channels, line = x.shape[1], by.padded[1]
    one = BITS // 8 // y.itemsize
    depth = (by.kernel[0] * channels, by.kernel[1])
    tile = scratch[by.room : by.room + by.rows * 2 * one].reshape(by.rows, 2 * one)
    here = -1
    for row in range(first, last):
        n, i = row // height, row % height
        if n != here:
            _pad(x, n, scratch, by)
            here = n
        for k in range(0, count, 2 * one):
            j = max(min(k, count - 2 * one), 0)  # may overlap the block before
            a = (taps, 0, depth[0] * depth[1], depth[1], 1)
            b = (scratch, i * channels * line + j, line, 1)
            c = (scratch, by.room, 2 * one)
            if by.rows == 4:
                block(4, 2, depth, a, b, c, False)
            elif by.rows == 6:
                block(6, 2, depth, a, b, c, False)
            else:
                block(8, 2, depth, a, b, c, False)
            out = y[n, i, j : j + 2 * one]
            for p in range(len(out)):
                for f in range(filters):
                    out[p, f] = tile[f, p]


@as_written
def _pad(x, n, scratch, by):  # type: ignore[no-untyped-def]
    """Image n as (rows, channels, columns), with zeros around it."""
    channels, height, width = x.shape[1:]
    pixels, line, left = x.reshape(-1), by.padded[1], by.padding[1]
    for row in range(by.padded[0]):
        h = row - by.padding[0]
        for c in range(channels):
            to = (row * channels + c) * line
            if 0 <= h < height:
                at = ((n * channels + c) * height + h) * width
                zeros(scratch, to, left)
                copy(scratch, to + left, pixels, at, width)
                zeros(scratch, to + left + width, line - left - width)
            else:
                zeros(scratch, to, line)
