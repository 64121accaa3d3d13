"""Convolution of small images with many weights: these stay where they lie in memory.

Deep in a network an image has few pixels, and a layer has millions of weights. With
one image, each weight meets no more numbers than there are pixels; to bring the weights
into another order takes longer than to use them. So here it is the image that is
brought into columns, one for each window, as the plain set does:

    c[k, p] = x[n, c, i*s - p + u*d, j*s - p + v*d]    for k = (c,u,v) and p = (n,i,j)

Three products of matrices remain, and w (F,K) is a matrix as it lies in memory:

    y = w c,    gw = gy c^T,    gc = w^T gy,

where each row of gc (K,P) is added to the pixels that it came from. Weights are read,
or written, once, in the order in which they lie. Each thread has some of the filters,
or, towards x, some of the channels.
"""

import functools
import math

import numpy as np

from ..memory import empty
from ..plain.conv import crop, pad
from ..shapes import Window
from ..threads import PRODUCTS, run
from .compiled import as_written
from .layout import channels_last, images
from .product import ROWS, TALL, block, filled
from .simd import BITS, fetch_run, lanes

Array = np.ndarray

FEW = 32  # outputs of all images; of more, Winograd's form is the faster one,
MORE = 128  # and of so many, the direct one
DEPTH = 256  # weights of a filter that meet all columns before the next ones do
RUN = 256  # weights whose gradients are computed for all filters before the next ones'
SLAB = 32  # filters that are in the first cache at a time
AHEAD = 64  # numbers between what is used and what is asked for


def fits(
    dtype: np.dtype, channels: int, filters: int, window: Window, count: int, most: int
) -> bool:
    """Whether all images have `most` outputs or fewer, and blocks are filled."""
    least, taps = min(channels, filters), math.prod(window.kernel)
    wide = least >= TALL and least * taps >= 2 * lanes(dtype)
    return 0 < count <= most and wide and taps > 1


def conv(x: Array, w: Array, window: Window, b: Array | None = None) -> Array:
    """y[n,f,i,j] = b[f] + sum over c,u,v of w[f,c,u,v] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    Shapes. x (N,C,H,W), w (F,C,U,V), b (F,) -> (N,F,I,J), channels-last in memory.
    """
    filters, pixels = len(w), len(x) * math.prod(window.out)
    wide = filled(pixels, lanes(x.dtype))
    columns = np.zeros((w[0].size, wide), x.dtype)
    gather(x, window, columns, (wide, 1))
    sums = empty((filters, wide), x.dtype)
    weights = np.ascontiguousarray(w).reshape(filters, -1)
    work = w.size * wide // PRODUCTS
    run(_values, -(-filters // TALL), weights, columns, sums, work=work)
    y = np.ascontiguousarray(sums[:, :pixels].T)
    if b is not None:
        y += b
    return images(y.reshape(len(x), *window.out, filters))


def conv_dw(x: Array, gy: Array, window: Window) -> Array:
    """gw[f,c,u,v]: what each weight contributes to sum gy * conv(x, w).

    Shapes. x (N,C,H,W), gy (N,F,I,J) -> (F,C,U,V).
    """
    grads = channels_last(gy).reshape(-1, gy.shape[1])
    (pixels, filters), channels = grads.shape, x.shape[1]
    rows = empty((pixels, channels * math.prod(window.kernel)), x.dtype)
    gather(x, window, rows, (1, rows.shape[1]))
    gw = empty((filters, channels, *window.kernel), x.dtype)
    work = gw.size * pixels // PRODUCTS
    run(_weight_sums, -(-filters // ROWS), grads, rows, gw, work=work)
    return gw


def conv_dx(gy: Array, w: Array, window: Window) -> Array:
    """gx[n,c,h,w]: what each input value contributes to sum gy * conv(x, w).

    Shapes. gy (N,F,I,J), w (F,C,U,V) -> (N,C,H,W), channels-last in memory.
    """
    grads = channels_last(gy).reshape(-1, gy.shape[1])
    (pixels, filters), channels = grads.shape, w.shape[1]
    if pixels % ROWS:
        zeros = np.zeros((-pixels % ROWS, filters), gy.dtype)
        grads = np.concatenate([grads, zeros])
    padded = np.zeros((len(gy), channels, *window.extent), gy.dtype)
    weights = np.ascontiguousarray(w).reshape(filters, -1)
    run(
        _add_back,
        channels,
        grads,
        weights,
        padded.reshape(len(gy), channels, -1),
        places(window),
        scratch=(len(grads) * (weights.shape[1] + 4 * lanes(gy.dtype)), gy.dtype),
        work=w.size * len(grads) // PRODUCTS,
    )
    return images(channels_last(crop(padded, window)))


@functools.lru_cache(maxsize=256)
def places(window: Window) -> Array:
    """Where each tap of each window lies in one padded channel: (U*V, I*J)."""
    steps = zip(window.kernel, window.out, window.stride, window.dilation, strict=True)
    down, along = (
        np.add.outer(d * np.arange(u), s * np.arange(i)) for u, i, s, d in steps
    )
    table = (window.extent[1] * down)[:, None, :, None] + along[:, None, :]
    return np.ascontiguousarray(table).reshape(math.prod(window.kernel), -1)


def gather(x: Array, window: Window, out: Array, steps: tuple[int, int]) -> None:
    """plain.conv's unfold to `out`, with steps from tap to tap and window to window.

    Shapes. x (N,C,H,W); out holds C*U*V times N*I*J numbers.
    """
    channels = np.ascontiguousarray(pad(x, window)).reshape(*x.shape[:2], -1)
    table = places(window)
    work = len(x) * x.shape[1] * table.size
    run(_gather, x.shape[1], channels, table, out.reshape(-1), steps, work=work)


@as_written
def _gather(first, last, x, places, out, steps):  # type: ignore[no-untyped-def]
    """Columns of channels first..last-1."""
    taps, windows = places.shape
    for n in range(len(x)):
        for c in range(first, last):
            for tap in range(taps):
                to = (c * taps + tap) * steps[0] + n * windows * steps[1]
                for p in range(windows):
                    out[to + p * steps[1]] = x[n, c, places[tap, p]]


@as_written
def _values(first, last, w, columns, y):  # type: ignore[no-untyped-def]
    """y = w c, of the filters of blocks first..last-1; the last one may overlap."""
    (filters, size), wide = w.shape, columns.shape[1]
    one = BITS // 8 // y.itemsize
    weights, right, out = w.reshape(-1), columns.reshape(-1), y.reshape(-1)
    for r in range(first, last):
        f = min(r * TALL, filters - TALL)
        for k in range(0, size, DEPTH):
            depth, next_k = (1, min(DEPTH, size - k)), k + DEPTH
            for s in range(f, f + TALL):
                fetch_run(weights, s * size + next_k, min(DEPTH, size - next_k))
            for p in range(0, wide, 2 * one):
                b = (right, k * wide + p, 0, wide)
                if p + one == wide:
                    a = (weights, f * size + k, size, 0, 1)
                    c = (out, f * wide + p, wide)
                    block(TALL, 2, depth, a, b, c, k > 0)
                    continue
                for s in range(f, f + TALL, ROWS):
                    a = (weights, s * size + k, size, 0, 1)
                    c = (out, s * wide + p, wide)
                    block(ROWS, 4, depth, a, b, c, k > 0)


@as_written
def _weight_sums(first, last, gy, rows, gw):  # type: ignore[no-untyped-def]
    """gw = gy c^T, of the filters of blocks first..last-1; the last one may overlap."""
    (pixels, filters), size = gy.shape, rows.shape[1]
    wide = 2 * (BITS // 8 // gw.itemsize)
    grads, right, out = gy.reshape(-1), rows.reshape(-1), gw.reshape(-1)
    for begin in range(0, size, RUN):
        for r in range(first, last):
            f = min(r * ROWS, filters - ROWS)
            a = (grads, f, 1, 0, filters)
            for place in range(begin, min(begin + RUN, size), wide):
                k = min(place, size - wide)
                b, c = (right, k, 0, size), (out, f * size + k, size)
                block(ROWS, 4, (1, pixels), a, b, c, False)


@as_written
def _add_back(first, last, scratch, gy, w, gx, places):  # type: ignore[no-untyped-def]
    """gc = w^T gy, of channels first..last-1, and its sums; gx holds zeros before.

    Blocks go beyond these channels where they must, but not beyond the weights: there
    the last block overlaps the one before, so it has to be made in one piece.
    """
    (taps, windows), (rows, filters), size = places.shape, gy.shape, w.shape[1]
    grads, weights, wide = gy.reshape(-1), w.reshape(-1), 2 * (BITS // 8 // w.itemsize)
    begin, end = first * taps, last * taps
    pitch, start = end - begin + 2 * wide, wide - begin
    whole = begin + (end - begin + wide - 1) // wide * wide
    whole -= wide if whole > size else 0
    for f in range(0, filters, SLAB):
        depth = (1, min(SLAB, filters - f))
        for k in range(begin, whole, wide):
            for s in range(f, f + depth[1]):
                fetch_run(weights, s * size + k + AHEAD, 1)
            b = (weights, f * size + k, 0, size)
            for p in range(0, rows, ROWS):
                a = (grads, p * filters + f, filters, 0, 1)
                c = (scratch, p * pitch + start + k, pitch)
                block(ROWS, 4, depth, a, b, c, f > 0)
    if whole < end:
        k = size - wide
        for p in range(0, rows, ROWS):
            a = (grads, p * filters, filters, 0, 1)
            c = (scratch, p * pitch + start + k, pitch)
            block(ROWS, 4, (1, filters), a, (weights, k, 0, size), c, False)
    for p in range(len(gx) * windows):
        n, window = p // windows, p % windows
        at = p * pitch + wide
        for c in range(first, last):
            for tap in range(taps):
                gx[n, c, places[tap, window]] += scratch[at]
                at += 1
