"""Convolution as it is defined, each product once.

Images are channels-last here, x[n, h, w, c], and padded with zeros one at a time, into
an array that stays in the cache. Then what a window sees in one of its rows is one run
of V * C numbers, and so is what the next window sees, s * C further on. That is a
matrix, with rows that overlap in memory:

    y[j, f] = sum over u, (v,c) of padded[i*s + u*d, j*s*C + (v,c)] * w[(u,v,c), f]

    gw[(u,v,c), f] = sum over i, j of padded[i*s + u*d, j*s*C + (v,c)] * gy[(i,j), f]

No column is copied, as the plain set does; the products read the image itself. (With
gaps between the columns of a window, d > 1, the runs are C long, and there are V.)

For gx, windows side by side (stride 1) are a convolution of gy with the filters turned
by 180 degrees. Otherwise gy is multiplied with w^T, and each row of the result added to
the pixels that its window saw.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..memory import empty
from ..shapes import Pair, Window
from ..threads import PRODUCTS, get_num_threads, run
from . import direct_loops as loops
from .layout import channels_last, images
from .matmul import affine, column_products
from .pool_sums import sum_pool, sum_pool_dx
from .product import (
    FEWER,
    MORE,
    ROWS,
    TALL,
    bias_row,
    filled,
    pack,
    pack_panels,
    panel,
    panels,
    unpack,
)
from .simd import lanes

Array = np.ndarray


def fits(dtype: np.dtype, channels: int, filters: int, window: Window) -> bool:
    """Whether this form can compute the convolution: always."""
    return True


class Plan(NamedTuple):
    """Sizes that all loops share; pairs are of rows and columns."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    out: Pair
    padded: Pair  # rows and columns of a padded image
    room: int  # numbers in it, and in what a block of products may read behind it
    runs: int  # of memory that a row of a window sees
    run: int  # numbers in each
    filters: int
    columns: int  # filters, filled up to whole panels
    width: int  # of a panel
    wide: bool  # panels are two vectors wide
    rows: int  # pixels in a block of such a panel


@functools.lru_cache(maxsize=256)
def plan(window: Window, channels: int, filters: int, dtype: np.dtype) -> Plan:
    """Sizes for a window that slides over images with so many channels."""
    rows, columns = (
        (n - 1) * s + r
        for n, s, r in zip(window.out, window.stride, window.reach, strict=True)
    )
    behind = TALL * (window.stride[1] * channels + 2)
    runs = 1 if window.dilation[1] == 1 else window.kernel[1]
    width = panel(filters, dtype)
    return Plan(
        window.kernel,
        window.stride,
        window.padding,
        window.dilation,
        window.out,
        (rows, columns),
        rows * columns * channels + behind,
        runs,
        window.kernel[1] * channels // runs,
        filters,
        filled(filters, width),
        width,
        width > lanes(dtype),
        _rows(window.out[1]),
    )


def _rows(count: int) -> int:
    """Pixels in a block: few of the `count` in a row shall be computed twice."""
    sizes = [n for n in (MORE, FEWER) if n <= count]
    return min([ROWS, *sizes], key=lambda n: filled(count, n))


def conv(x: Array, w: Array, window: Window, b: Array | None = None) -> Array:
    """y[n,f,i,j] = b[f] + sum over c,u,v of w[f,c,u,v] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    Shapes. x (N,C,H,W), w (F,C,U,V), b (F,) -> (N,F,I,J), channels-last in memory.
    """
    if window.kernel == (1, 1):
        return _mix(_seen(x, window), w[:, :, 0, 0].T, b)
    return _slide(x, w.transpose(2, 3, 1, 0), window, b)


def conv_dx(gy: Array, w: Array, window: Window) -> Array:
    """gx[n,c,h,w]: what each input value contributes to sum gy * conv(x, w).

    Shapes. gy (N,F,I,J), w (F,C,U,V) -> (N,C,H,W), channels-last in memory.
    """
    if window.kernel == (1, 1):
        gx = _mix(gy, w[:, :, 0, 0])
        return gx if _each_pixel(window) else sum_pool_dx(gx, window)
    channels, v, one = w.shape[1], window.kernel[1], lanes(gy.dtype)
    useless = v * filled(channels, one) > filled(v * channels, one)
    if window.stride != (1, 1) or useless:  # few channels would fill no vector
        return _conv_dx_back(gy, w, window)
    return _slide(gy, w.transpose(2, 3, 0, 1)[::-1, ::-1], window.turned())


def _each_pixel(window: Window) -> bool:
    """Whether every pixel of the image is a window, and nothing else is."""
    return window.kernel == window.stride == (1, 1) and window.padding == (0, 0)


def _seen(x: Array, window: Window) -> Array:
    """The pixels that windows of one pixel see: their sums, as it were."""
    return x if _each_pixel(window) else sum_pool(x, window)


def _mix(x: Array, w: Array, b: Array | None = None) -> Array:
    """Each pixel's channels times w (C,F): one product of matrices for all pixels."""
    pixels = channels_last(x)
    y = affine(pixels.reshape(-1, x.shape[1]), w, b)
    return images(y.reshape(*pixels.shape[:3], w.shape[1]))


def _mix_sums(x: Array, gy: Array) -> Array:
    """Gradients of the weights of ``_mix``: each channel times each filter's gy."""
    gw = column_products(*(channels_last(a).reshape(-1, a.shape[1]) for a in (x, gy)))
    turned = channels_last(gw[None, :, :, None])  # 1, F, 1, C
    return turned.transpose(1, 3, 0, 2)


def _slide(x: Array, w: Array, window: Window, b: Array | None = None) -> Array:
    """Convolution of x with w (U,V,C,F)."""
    u, v, channels, filters = w.shape
    by, sheets = plan(window, channels, filters, x.dtype), panels(filters, x.dtype)
    y = empty((len(x), *window.out, filters), x.dtype)
    run(
        loops.convolve,
        len(x) * window.out[0],
        channels_last(x),
        pack_panels(w.reshape(u * v * channels, filters), sheets),
        bias_row(b, filters, x.dtype),
        y,
        by,
        sheets,
        scratch=(by.room + filled(window.out[1], TALL) * by.columns, x.dtype),
        work=y.size * u * v * channels // PRODUCTS,
    )
    return images(y)


def _conv_dx_back(gy: Array, w: Array, window: Window) -> Array:
    """Gradient towards x by multiplying with w^T and adding back."""
    filters, channels, u, v = w.shape
    runs = 1 if window.dilation[1] == 1 else v
    rows = w.transpose(0, 2, 3, 1).reshape(filters, u * runs, v * channels // runs)
    taps = np.zeros((*rows.shape[:2], filled(rows.shape[2], lanes(gy.dtype))), gy.dtype)
    taps[:, :, : rows.shape[2]] = rows  # and zeros, so that whole vectors are added
    taps = taps.reshape(filters, -1)
    by = plan(window, channels, taps.shape[1], gy.dtype)
    gx = empty((len(gy), *window.size, channels), gy.dtype)
    pixels = filled(window.out[0] * window.out[1], TALL)
    run(
        loops.add_back,
        len(gy),
        channels_last(gy),
        pack(taps, by.width),
        gx,
        by,
        scratch=(by.room + pixels * (filters + by.columns), gy.dtype),
        work=gy.size * taps.shape[1] // PRODUCTS,
    )
    return images(gx)


def conv_dw(x: Array, gy: Array, window: Window) -> Array:
    """gw[f,c,u,v]: what each weight contributes to sum gy * conv(x, w).

    Each thread adds up its own images; then the parts are added.

    Shapes. x (N,C,H,W), gy (N,F,I,J) -> (F,C,U,V).
    """
    (u, v), channels, filters = window.kernel, x.shape[1], gy.shape[1]
    whole = channels % TALL == 0 and filters >= lanes(x.dtype)
    if window.kernel == (1, 1) and whole:
        return _mix_sums(_seen(x, window), gy)
    by, sheets = plan(window, channels, filters, x.dtype), panels(filters, x.dtype)
    parts = max(1, min(get_num_threads(), len(x)))
    total = np.zeros((parts, u, by.runs, filled(by.run, TALL), sheets.columns), x.dtype)
    run(
        loops.weight_sums,
        parts,
        channels_last(x),
        channels_last(gy),
        total,
        by,
        sheets,
        scratch=(by.room + by.out[0] * by.out[1] * by.columns, x.dtype),
        work=gy.size * u * v * channels // PRODUCTS,
    )
    gw = unpack(total.sum(axis=0), sheets, filters)
    taps = gw[:, :, : by.run].reshape(u, v, channels, filters)
    return np.ascontiguousarray(taps.transpose(3, 2, 0, 1))
