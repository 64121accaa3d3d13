"""Max pooling in compiled loops: maxima with their places in one pass.

Images in another order are brought to channels last first. The innermost loop runs over
the channels of a pixel. The usual windows, 2 x 2 and 3 x 3, are written out as numbers:
the compiler then keeps all of a window's comparisons in registers. Two or three lines
of an image are read at once, which looks like no order to the processor: so the maxima
ask for later lines beforehand.
"""

import functools
import math

import numpy as np

from ..memory import STREAMED, empty
from ..shapes import Pair, Window
from ..threads import run
from .compiled import NOTHING, compiled, inlined, uncounted
from .elementwise import send
from .layout import by_image, channels_last, images, turn_image
from .pool_sums import seers
from .simd import BITS, arrive, fetch_run, lanes

Array = np.ndarray
AHEAD = 1 << 14  # bytes, from what is compared to what is asked for


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
    n, c, *size = index.shape
    y = empty((n, *size, c), x.dtype)
    flat, turned = by_image(x)
    where = channels_last(index).reshape(n, math.prod(size), c)
    scratch = (flat.shape[1], x.dtype)
    arrays = y.reshape(where.shape), flat, turned, where
    run(_gather, n, *arrays, work=x.size, scratch=scratch)
    return images(y)


def scatter(g: Array, index: Array, window: Window) -> Array:
    """Transpose of gather, for the places that max_pool found; see plain.scatter."""
    n, c = g.shape[:2]
    y = empty((n, *window.size, c), g.dtype)
    flat, turned = by_image(g)
    pixels, windows = math.prod(window.size), math.prod(window.out)
    where = channels_last(index).reshape(n, windows, c)
    bounds = seers(window) if _apart(window) and c >= lanes(g.dtype) else None
    past = y.nbytes + g.nbytes + index.nbytes > STREAMED or None
    arrays = y.reshape(n, pixels, c), flat, turned, where, bounds, past
    scratch = ((windows + pixels) * c, g.dtype)
    run(_scatter, n, *arrays, work=y.size, scratch=scratch)
    return images(y)


def _apart(window: Window) -> bool:
    """Whether no two windows see the same pixel, nor any a pixel between its own."""
    steps = zip(window.kernel, window.stride, strict=True)
    return window.dilation == (1, 1) and all(size <= step for size, step in steps)


def _rule(window: Window) -> tuple[Pair, ...]:
    return window.kernel, window.stride, window.padding, window.dilation


@functools.lru_cache(maxsize=256)
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


@uncounted
def _max_image(y, index, x, rule, bounds):  # type: ignore[no-untyped-def]
    """Each window asks for its share of what lies AHEAD, be it the next image."""
    u_first, u_end, v_first, v_end = bounds
    u_size, v_size = rule[0]
    numbers = x.reshape(-1)
    share, ahead = x.size // (y.shape[0] * y.shape[1]), AHEAD // x.itemsize
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            fetch_run(numbers, ahead, share)
            ahead += share
            rows, columns = (u_first[i], u_end[i]), (v_first[j], v_end[j])
            whole = rows == (0, u_size) and columns == (0, v_size)
            if whole and u_size == 2 and v_size == 2:
                _max_whole(i, j, y, index, x, rule, 2)
            elif whole and u_size == 3 and v_size == 3:
                _max_whole(i, j, y, index, x, rule, 3)
            else:
                _max_part(i, j, y, index, x, rule, rows, columns)


@inlined
def _max_whole(i, j, y, index, x, rule, size):  # type: ignore[no-untyped-def]
    _, stride, padding, dilation = rule
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


@uncounted
def _max_part(i, j, y, index, x, rule, rows, columns):  # type: ignore[no-untyped-def]
    _, stride, padding, dilation = rule
    best, where = y[i, j], index[i, j]
    for u in range(rows[0], rows[1]):
        h = i * stride[0] - padding[0] + u * dilation[0]
        for v in range(columns[0], columns[1]):
            w = j * stride[1] - padding[1] + v * dilation[1]
            pixel, place = x[h, w], np.int32(h * x.shape[1] + w)
            fresh = u == rows[0] and v == columns[0]
            for c in range(len(pixel)):
                better = fresh | (pixel[c] > best[c]) | (pixel[c] != pixel[c])
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
def _scatter(first, last, scratch, y, g, turned, index, bounds, past):  # type: ignore[no-untyped-def]
    """An image too large to stay in the caches is put together in scratch."""
    size, step = y.shape[1] * y.shape[2], BITS // 8 // y.itemsize
    out = y.reshape(-1)
    image, rest = scratch[:size], scratch[size:]
    for n in range(first, last):
        given = turn_image(rest, g[n], y.shape[2], turned) if turned else g[n]
        if bounds is not None:
            _choose(out, n * size, image, given, index[n], bounds, past)
        else:
            to = y[n] if past is None else image.reshape(y.shape[1:])
            _scatter_image(to, given, index[n])
            send(out, n * size, image, size, step, past)
    arrive()


@compiled
def _scatter_image(y, g, index):  # type: ignore[no-untyped-def]
    channels = index.shape[1]
    y[:] = NOTHING
    for k in range(len(index)):
        for c in range(channels):
            y[index[k, c], c] += g[k * channels + c]


@uncounted
def _choose(y, start, scratch, g, index, bounds, past):  # type: ignore[no-untyped-def]
    """An image, from `start` on, where one window at most sees a pixel.

    The pixel gets g if the window has chosen it. So y is written once, line by line,
    and what is compared fills whole vectors.
    """
    top, bottom, left, right = bounds
    rows, columns, channels = len(top), len(left), index.shape[1]
    across = right[columns - 1]  # windows in a row
    line, step = columns * channels, BITS // 8 // y.itemsize
    for h in range(rows):
        to = y[start : start + line] if past is None else scratch[:line]
        for w in range(columns):
            pixel, place = to[w * channels : (w + 1) * channels], h * columns + w
            if top[h] == bottom[h] or left[w] == right[w]:  # between windows
                pixel[:] = NOTHING
                continue
            k = top[h] * across + left[w]
            given, where = g[k * channels : (k + 1) * channels], index[k]
            for c in range(channels):
                pixel[c] = given[c] if where[c] == place else NOTHING
        send(y, start, scratch, line, step, past)
        start += line
