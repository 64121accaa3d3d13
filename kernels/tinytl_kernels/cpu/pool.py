"""Max pooling in compiled loops: values and places in one pass over the image.

Images in another order are brought to channels last first. The innermost loop runs over
the channels of a pixel. The usual windows, 2 x 2 and 3 x 3, are written out as numbers:
the compiler then keeps all of a window's comparisons in registers.
"""

import numpy as np

from ..memory import empty
from ..shapes import Window
from ..threads import run
from .compiled import NOTHING, compiled
from .layout import channels_last, images

Array = np.ndarray


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Each window's largest value and where it is; see plain.max_pool."""
    shape = (len(x), *window.out, x.shape[1])
    y, index = empty(shape, x.dtype), empty(shape, np.int32)
    rule = (window.stride, window.padding, window.dilation)
    bounds = (*_bounds(window, 0), *_bounds(window, 1))
    run(_max, len(x), y, index, channels_last(x), rule, bounds, work=2 * x.size)
    return images(y), images(index)


def gather(x: Array, index: Array) -> Array:
    """y[n,c,i,j] = x[n,c] at pixel index[n,c,i,j]; see plain.gather."""
    return _moved(_gather, x, index, index.shape[2:])


def scatter(g: Array, index: Array, window: Window) -> Array:
    """Transpose of gather; see plain.scatter."""
    return _moved(_scatter, g, index, window.size)


def _moved(kernel, x, index, size):  # type: ignore[no-untyped-def]
    """Images of `size`: what the kernel moves from x by the index."""
    n, c = x.shape[:2]
    y = empty((n, *size, c), x.dtype)
    if y.size:
        seen = (y, channels_last(x), channels_last(index))
        run(kernel, n, *(a.reshape(n, -1, c) for a in seen), work=x.size)
    return images(y)


def _bounds(window: Window, k: int) -> tuple[Array, Array]:
    """First and end of the window's places that are no padding, for each output."""
    s, p, d = window.stride[k], window.padding[k], window.dilation[k]
    start = np.arange(window.out[k]) * s - p
    first = np.maximum(-(start // d), 0)
    end = np.minimum(-((start - window.size[k]) // d), window.kernel[k])
    return first, end


@compiled
def _max(first, last, y, index, x, rule, bounds):  # type: ignore[no-untyped-def]
    u_first, u_end, v_first, v_end = bounds
    u_size, v_size = u_end.max(), v_end.max()
    for n in range(first, last):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                rows, columns = (u_first[i], u_end[i]), (v_first[j], v_end[j])
                whole = rows == (0, u_size) and columns == (0, v_size)
                if whole and u_size == 2 and v_size == 2:
                    _max_whole(n, i, j, y, index, x, rule, 2)
                elif whole and u_size == 3 and v_size == 3:
                    _max_whole(n, i, j, y, index, x, rule, 3)
                else:
                    _max_part(n, i, j, y, index, x, rule, rows, columns)


@compiled
def _max_whole(n, i, j, y, index, x, rule, size):  # type: ignore[no-untyped-def]
    stride, padding, dilation = rule
    top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
    start = np.int32(top * x.shape[2] + left)
    down, right = np.int32(dilation[0] * x.shape[2]), np.int32(dilation[1])
    for c in range(x.shape[3]):
        best, where = x[n, top, left, c], start
        for u in range(size):
            for v in range(size):
                value = x[n, top + u * dilation[0], left + v * dilation[1], c]
                better = (value > best) | (value != value)
                best = value if better else best
                where = np.int32(start + u * down + v * right) if better else where
        y[n, i, j, c] = best
        index[n, i, j, c] = where


@compiled
def _max_part(n, i, j, y, index, x, rule, rows, columns):  # type: ignore[no-untyped-def]
    stride, padding, dilation = rule
    best, where = y[n, i, j], index[n, i, j]
    for u in range(rows[0], rows[1]):
        h = i * stride[0] - padding[0] + u * dilation[0]
        for v in range(columns[0], columns[1]):
            w = j * stride[1] - padding[1] + v * dilation[1]
            pixel, place = x[n, h, w], np.int32(h * x.shape[2] + w)
            if u == rows[0] and v == columns[0]:
                best[:] = pixel
                where[:] = place
                continue
            for c in range(len(pixel)):
                better = (pixel[c] > best[c]) | (pixel[c] != pixel[c])
                best[c] = pixel[c] if better else best[c]
                where[c] = place if better else where[c]


@compiled
def _gather(first, last, y, x, index):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        for k in range(index.shape[1]):
            for c in range(index.shape[2]):
                y[n, k, c] = x[n, index[n, k, c], c]


@compiled
def _scatter(first, last, y, g, index):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        y[n] = NOTHING
        for k in range(index.shape[1]):
            for c in range(index.shape[2]):
                y[n, index[n, k, c], c] += g[n, k, c]
