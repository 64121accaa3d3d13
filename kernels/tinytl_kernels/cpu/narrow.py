"""Convolution with few filters, as it is defined: registers hold pixels, not filters.

The first convolution of a network may have no more than 6 filters, and its gradient
towards RGB images has 3. They would leave most of a register empty that holds one
number of each. So here the registers lie along a row of the image, and the taps of a
row of the window, of all filters, are the rows of a product:

    p[(v,f), j] = sum over (u,c) of w[f,c,u,v] * x[i + u, c, j]
    y[f, j]     = sum over v of p[(v,f), j + v]

Moving x by v would take two lines of the cache for each vector of it; here the sums
are moved, which are fewer. Images are copied to a scratch array that holds, line by
line, the rows of all their channels: the sum over u and c is then one loop.
"""

from typing import NamedTuple

import numpy as np

from ..memory import empty
from ..shapes import Pair, Window
from ..threads import PRODUCTS, get_num_threads, run
from . import direct
from .compiled import as_written
from .direct_loops import copy, pad, zeros
from .layout import channels_last, images, is_channels_last
from .norm_vectors import everywhere
from .product import bias_row, block, filled
from .simd import BITS, lanes, load, store, turn

Array = np.ndarray


LOW, MIDDLE, HIGH = (4, 5, 6) if BITS == 256 else (8, 9, 10)  # rows of sums in a block
GRADIENTS = (4, 6, 8)  # filters whose gradients are a block
MOST = 8  # filters


class Plan(NamedTuple):
    """Sizes for the loop; pairs are of rows and columns."""

    kernel: Pair
    padding: Pair
    height: int  # rows of a padded image
    line: int  # columns of the image, two vectors at least
    pitch: int  # of a line of sums, with zeros on both sides
    block: int  # rows in a block
    rows: int  # of sums, filled up to whole blocks


def fits(dtype: np.dtype, channels: int, filters: int, window: Window) -> bool:
    """Whether the filters fill no register, and a row of outputs does.

    And no row of sums moves further than the zeros beside it.
    """
    one = lanes(dtype)
    beside = min(window.padding) >= 0 and window.padding[1] <= window.kernel[1]
    steps = beside and window.stride == window.dilation == (1, 1)
    long = min(window.out[1], window.size[1]) >= one
    return steps and filters < one and filters <= MOST and long


def conv(x: Array, w: Array, window: Window, b: Array | None = None) -> Array:
    """y[n,f,i,j] = b[f] + sum over c,u,v of w[f,c,u,v] * x[n, c, i-p+u, j-p+v].

    Shapes. x (N,C,H,W), w (F,C,U,V), b (F,) -> (N,F,I,J), channels-last in memory.
    """
    return _convolve(x, w, window, b)


def conv_dx(gy: Array, w: Array, window: Window) -> Array:
    """gx[n,c,h,w]: gy convolved with w turned by 180 degrees, channels for filters.

    Shapes. gy (N,F,I,J), w (F,C,U,V) -> (N,C,H,W), channels-last in memory.
    """
    turned = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    return _convolve(gy, turned, window.turned())


def _convolve(x: Array, w: Array, window: Window, b: Array | None = None) -> Array:
    """``conv``, of images in either order."""
    filters, channels, u, v = w.shape
    one, sums = lanes(x.dtype), v * filters
    line = max(x.shape[3], 2 * one)
    size = min((LOW, MIDDLE, HIGH), key=lambda n: filled(sums, n))
    by = Plan(
        window.kernel,
        window.padding,
        window.out[0] + u - 1,
        line,
        filled(line + 2 * v, one),
        size,
        filled(sums, size),
    )
    taps = np.zeros((u * channels, by.rows), w.dtype)
    taps[:, :sums] = w.transpose(2, 1, 3, 0).reshape(-1, sums)
    y = empty((len(x), *window.out, filters), x.dtype)
    last = is_channels_last(x)
    room = by.height * channels * line + by.rows * by.pitch
    run(
        _rows,
        len(x) * window.out[0],
        x.transpose(0, 2, 3, 1) if last else np.ascontiguousarray(x),
        last,
        taps.reshape(-1),
        bias_row(b, filters, x.dtype),
        y,
        by,
        scratch=(room + one * (max(line, window.out[1]) + one), x.dtype),
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
    if filters not in GRADIENTS:
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
                        block(4, 2, by.out, a, b, c, True)
                    elif filters == 6:
                        block(6, 2, by.out, a, b, c, True)
                    else:
                        block(8, 2, by.out, a, b, c, True)


@as_written
def _rows(first, last, scratch, x, turned, taps, bias, y, by):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the outputs of all images.

    A pixel is written as a whole vector, which the next pixel overwrites; so the last
    row, which has no next one, goes through scratch.
    """
    height, count, filters = y.shape[1:]
    channels, one = x.shape[3] if turned else x.shape[1], BITS // 8 // y.itemsize
    sums = by.height * channels * by.line
    moved = sums + by.rows * by.pitch
    zeros(scratch, sums, by.rows * by.pitch)
    pixels, here = y.reshape(-1), -1
    for row in range(first, last):
        n, i = row // height, row % height
        if n != here:
            _lines(x, turned, n, scratch, by)
            here = n
        _sum_rows(i, channels, scratch, sums, taps, by)
        for f in range(filters):
            for k in range(0, count, one):
                j = min(k, count - one)
                at = sums + f * by.pitch + by.kernel[1] - by.padding[1] + j
                total = load(scratch, at) + everywhere(bias, f)
                for v in range(1, by.kernel[1]):
                    total = total + load(scratch, at + v * (filters * by.pitch + 1))
                store(scratch, moved + f * count + j, total)
        to = (pixels, row * count * filters) if row < last - 1 else (scratch, sums)
        for k in range(0, count, one):
            j = min(k, count - one)
            turn(to[0], to[1] + j * filters, filters, scratch, moved + j, count)
    copy(pixels, (last - 1) * count * filters, scratch, sums, count * filters)


@as_written
def _sum_rows(i, channels, scratch, sums, taps, by):  # type: ignore[no-untyped-def]
    """p of row i of the outputs."""
    one, depth = BITS // 8 // scratch.itemsize, (1, by.kernel[0] * channels)
    for k in range(0, by.line, 2 * one):
        j = min(k, by.line - 2 * one)
        b = (scratch, i * channels * by.line + j, 0, by.line)
        for r in range(0, by.rows, by.block):
            a = (taps, r, 1, 0, by.rows)
            c = (scratch, sums + r * by.pitch + by.kernel[1] + j, by.pitch)
            if by.block == LOW:
                block(LOW, 4, depth, a, b, c, False)
            elif by.block == MIDDLE:
                block(MIDDLE, 4, depth, a, b, c, False)
            else:
                block(HIGH, 4, depth, a, b, c, False)


@as_written
def _lines(x, turned, n, scratch, by):  # type: ignore[no-untyped-def]
    """Image n as (rows, channels, columns), with rows of zeros around it."""
    if turned:
        height, width, channels = x.shape[1:]
    else:
        channels, height, width = x.shape[1:]
    pixels, size = x.reshape(-1), channels * by.line
    for row in range(by.height):
        h, to = row - by.padding[0], row * size
        if h < 0 or h >= height:
            zeros(scratch, to, size)
        elif turned:
            at = (n * height + h) * width * channels
            _turn_row(pixels, at, channels, width, scratch, to, by.line)
        else:
            for c in range(channels):
                at = ((n * channels + c) * height + h) * width
                copy(scratch, to + c * by.line, pixels, at, width)
                zeros(scratch, to + c * by.line + width, by.line - width)


@as_written
def _turn_row(x, at, channels, width, out, to, line):  # type: ignore[no-untyped-def]
    """A row of an image that lies channels last, in squares if there is one."""
    one = BITS // 8 // x.itemsize
    if line > width:
        zeros(out, to, channels * line)
    if channels < one:
        for c in range(channels):
            for j in range(width):
                out[to + c * line + j] = x[at + j * channels + c]
    else:
        for q in range(0, width, one):
            j = min(q, width - one)
            for k in range(0, channels, one):
                c = min(k, channels - one)
                turn(out, to + c * line + j, line, x, at + j * channels + c, channels)
