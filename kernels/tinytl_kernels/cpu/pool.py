"""Max pooling in compiled loops: values and places in one pass over the image.

Images in another order are brought to channels last first. The innermost loop runs over
the channels of a pixel. The usual windows, 2 x 2 and 3 x 3, are written out as numbers:
the compiler then keeps all of a window's comparisons in registers.
"""

import math

import numpy as np

from ..memory import empty
from ..shapes import Pair, Window
from ..threads import run
from .compiled import NOTHING, compiled
from .layout import by_image, channels_last, images, turn_image

Array = np.ndarray


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Each window's largest value and where it is; see plain.max_pool."""
    n, c = x.shape[:2]
    y, index = (empty((n, *window.out, c), dtype) for dtype in (x.dtype, np.int32))
    flat, turned = by_image(x)
    scratch = (c * math.prod(window.size), x.dtype)
    arrays = y, index, flat, (*window.size, c), turned, _rule(window), _bounds(window)
    run(_max, n, *arrays, work=2 * x.size, scratch=scratch)
    return images(y), images(index)


def gather(x: Array, index: Array) -> Array:
    """y[n,c,i,j] = x[n,c] at pixel index[n,c,i,j]; see plain.gather."""
    return _moved(_gather, x, index, index.shape[2:])


def scatter(g: Array, index: Array, window: Window) -> Array:
    """Transpose of gather; see plain.scatter."""
    return _moved(_scatter, g, index, window.size)


def sum_pool(x: Array, window: Window) -> Array:
    """The sum of each window; see plain.sum_pool."""
    return _summed(_sum, x, window, window.out)


def sum_pool_dx(gy: Array, window: Window) -> Array:
    """Transpose of sum_pool; see plain.sum_pool_dx."""
    return _summed(_sum_dx, gy, window, window.size)


def _summed(kernel, x, window, size):  # type: ignore[no-untyped-def]
    """Images of `size`: what the kernel adds up of x, or where it adds x to."""
    y = empty((len(x), *size, x.shape[1]), x.dtype)
    arrays = y, channels_last(x), _rule(window), _bounds(window)
    run(kernel, len(x), *arrays, work=x.size + y.size)
    return images(y)


def _moved(kernel, x, index, size):  # type: ignore[no-untyped-def]
    """Images of `size`: what the kernel moves from x by the index."""
    n, c = x.shape[:2]
    y = empty((n, *size, c), x.dtype)
    if y.size:
        flat, turned = by_image(x)
        where = channels_last(index).reshape(n, -1, c)
        arrays = y.reshape(n, -1, c), flat, turned, where
        scratch = (flat.shape[1], x.dtype)
        run(kernel, n, *arrays, work=x.size, scratch=scratch)
    return images(y)


def _rule(window: Window) -> tuple[Pair, ...]:
    return window.stride, window.padding, window.dilation


def _bounds(window: Window) -> tuple[Array, ...]:
    """First and end of the window's rows and columns that are no padding, by output."""
    bounds = []
    for k in range(2):
        s, p, d = window.stride[k], window.padding[k], window.dilation[k]
        start = np.arange(window.out[k]) * s - p
        first = np.maximum(-(start // d), 0)
        end = np.minimum(-((start - window.size[k]) // d), window.kernel[k])
        bounds += [first, end]
    return tuple(bounds)


@compiled
def _max(first, last, scratch, y, index, x, size, turned, rule, bounds):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        if turned:
            image = turn_image(scratch, x[n], size[2], turned).reshape(size)
            _max_image(y[n], index[n], image, rule, bounds)
        else:
            _max_image(y[n], index[n], x[n].reshape(size), rule, bounds)


@compiled
def _max_image(y, index, x, rule, bounds):  # type: ignore[no-untyped-def]
    u_first, u_end, v_first, v_end = bounds
    u_size, v_size = u_end.max(), v_end.max()
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            rows, columns = (u_first[i], u_end[i]), (v_first[j], v_end[j])
            whole = rows == (0, u_size) and columns == (0, v_size)
            if whole and u_size == 2 and v_size == 2:
                _max_whole(i, j, y, index, x, rule, 2)
            elif whole and u_size == 3 and v_size == 3:
                _max_whole(i, j, y, index, x, rule, 3)
            else:
                _max_part(i, j, y, index, x, rule, rows, columns)


@compiled
def _max_whole(i, j, y, index, x, rule, size):  # type: ignore[no-untyped-def]
    stride, padding, dilation = rule
    top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
    start = np.int32(top * x.shape[1] + left)
    down, right = np.int32(dilation[0] * x.shape[1]), np.int32(dilation[1])
    for c in range(x.shape[2]):
        best, where = x[top, left, c], start
        for u in range(size):
            for v in range(size):
                value = x[top + u * dilation[0], left + v * dilation[1], c]
                better = (value > best) | (value != value)
                best = value if better else best
                where = np.int32(start + u * down + v * right) if better else where
        y[i, j, c] = best
        index[i, j, c] = where


@compiled
def _max_part(i, j, y, index, x, rule, rows, columns):  # type: ignore[no-untyped-def]
    stride, padding, dilation = rule
    best, where = y[i, j], index[i, j]
    for u in range(rows[0], rows[1]):
        h = i * stride[0] - padding[0] + u * dilation[0]
        for v in range(columns[0], columns[1]):
            w = j * stride[1] - padding[1] + v * dilation[1]
            pixel, place = x[h, w], np.int32(h * x.shape[1] + w)
            if u == rows[0] and v == columns[0]:
                best[:] = pixel
                where[:] = place
                continue
            for c in range(len(pixel)):
                better = (pixel[c] > best[c]) | (pixel[c] != pixel[c])
                best[c] = pixel[c] if better else best[c]
                where[c] = place if better else where[c]


@compiled
def _gather(first, last, scratch, y, x, turned, index):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        if turned:
            _gather_image(y[n], turn_image(scratch, x[n], y.shape[2], turned), index[n])
        else:
            _gather_image(y[n], x[n], index[n])


@compiled
def _gather_image(y, x, index):  # type: ignore[no-untyped-def]
    channels = index.shape[1]
    for k in range(len(index)):
        for c in range(channels):
            y[k, c] = x[index[k, c] * channels + c]


@compiled
def _scatter(first, last, scratch, y, g, turned, index):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        if turned:
            _scatter_image(
                y[n], turn_image(scratch, g[n], y.shape[2], turned), index[n]
            )
        else:
            _scatter_image(y[n], g[n], index[n])


@compiled
def _scatter_image(y, g, index):  # type: ignore[no-untyped-def]
    channels = index.shape[1]
    y[:] = NOTHING
    for k in range(len(index)):
        for c in range(channels):
            y[index[k, c], c] += g[k * channels + c]


@compiled
def _sum(first, last, y, x, rule, bounds):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        y[n] = NOTHING
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                _sum_window(i, j, y[n, i, j], x[n], rule, bounds)


@compiled
def _sum_window(i, j, total, x, rule, bounds):  # type: ignore[no-untyped-def]
    u_first, u_end, v_first, v_end = bounds
    stride, padding, dilation = rule
    for u in range(u_first[i], u_end[i]):
        for v in range(v_first[j], v_end[j]):
            h = i * stride[0] - padding[0] + u * dilation[0]
            pixel = x[h, j * stride[1] - padding[1] + v * dilation[1]]
            for c in range(len(total)):
                total[c] += pixel[c]


@compiled
def _sum_dx(first, last, y, g, rule, bounds):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        y[n] = NOTHING
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                _add_to_window(i, j, y[n], g[n, i, j], rule, bounds)


@compiled
def _add_to_window(i, j, y, g, rule, bounds):  # type: ignore[no-untyped-def]
    u_first, u_end, v_first, v_end = bounds
    stride, padding, dilation = rule
    for u in range(u_first[i], u_end[i]):
        for v in range(v_first[j], v_end[j]):
            h = i * stride[0] - padding[0] + u * dilation[0]
            pixel = y[h, j * stride[1] - padding[1] + v * dilation[1]]
            for c in range(len(g)):
                pixel[c] += g[c]
