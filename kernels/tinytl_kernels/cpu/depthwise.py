"""Depthwise convolution: every channel has a filter of its own and sees no other.

There is no sum over channels, so there is no matrix product in it: U * V products an
output, of numbers that lie side by side in channels-last images, where one vector is
some channels of one pixel. The limit is memory: what a row of outputs sees stays in the
first cache until the next row comes, and nothing is copied, as slide.py needs no zeros
around an image. A row is read a few channels at a time, pixel after pixel, which looks
like no order to the processor; so each vector asks for its share of the rows that come
next. Where the channels are no whole number of vectors, the last vector overlaps the
one before.

Usual filters slide as a whole (FORMS). All others, and those with gaps between their
columns, are a sum of filters with one tap.

Source: Howard et al. 2017, section 3.1.
"""

import numpy as np

from ..memory import empty
from ..shapes import Pair, Window
from ..threads import get_num_threads, run
from .compiled import as_written, inlined
from .layout import channels_last, images
from .product import filled, widened
from .simd import BITS, fetch_run, lanes
from .slide import FORMS, slide, slide_back, slide_sums

Array = np.ndarray


def conv(x: Array, w: Array, window: Window) -> Array:
    """y[n,c,i,j] = sum over u,v of w[c,0,u,v] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    Shapes. x (N,C,H,W), w (C,1,U,V) -> (N,C,I,J), channels-last in memory.
    """
    return _slide(_convolve, x, w, window, window.out)


def conv_dx(gy: Array, w: Array, window: Window) -> Array:
    """gx[n,c,h,w]: every output that saw the pixel, times the weight it used.

    Shapes. gy (N,C,I,J), w (C,1,U,V) -> (N,C,H,W), channels-last in memory.
    """
    return _slide(_convolve_back, gy, w, window, window.size)


def conv_dw(x: Array, gy: Array, window: Window) -> Array:
    """gw[c,0,u,v] = sum over n,i,j of gy[n,c,i,j] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    Each thread adds up its own images; then the parts are added.

    Shapes. x (N,C,H,W), gy (N,C,I,J) -> (C,1,U,V).
    """
    x_last, gy_last = _vectors(channels_last(x)), _vectors(channels_last(gy))
    parts = max(1, min(get_num_threads(), len(x)))
    channels, one = x_last.shape[3], lanes(x.dtype)
    columns = filled(channels, one)
    gw = np.zeros((parts, *window.kernel, columns), x.dtype)
    work = gy.size * window.kernel[0] * window.kernel[1]
    run(_weight_sums, parts, x_last, gy_last, gw, *_rule(window), work=work)
    total = gw.sum(axis=0)
    total[..., channels - one : channels] = total[..., columns - one :].copy()
    return np.ascontiguousarray(total[..., : x.shape[1]].transpose(2, 0, 1)[:, None])


def _slide(kernel, x, w, window, size):  # type: ignore[no-untyped-def]
    """Images of `size`, what the kernel makes of x, each channel with its filter."""
    x_last, taps = _vectors(channels_last(x)), _vectors(w[:, 0].transpose(1, 2, 0))
    y = empty((len(x), *size, taps.shape[2]), x.dtype)
    work = max(x.size, y.size) * window.kernel[0] * window.kernel[1]
    run(kernel, len(x) * size[0], x_last, taps, y, *_rule(window), work=work)
    return images(channels_last(images(y[..., : len(w)])))


def _rule(window: Window) -> tuple[tuple[Pair, ...], bool]:
    """Stride, padding and dilation; and whether ``slide`` has the filter as a whole."""
    (height, size), gap = window.kernel, window.dilation[1]
    whole = (size, window.stride[1]) in FORMS and height <= size and gap == 1
    return (window.stride, window.padding, window.dilation), whole


def _vectors(x: Array) -> Array:
    """The array, its last axis filled up with zeros to one vector at least."""
    return np.ascontiguousarray(widened(x))


@as_written
def _convolve(first, last, x, taps, y, rule, whole):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the outputs of all images."""
    (down, stride), (_, left), _ = rule
    width, channels = x.shape[2:]
    size, count = taps.shape[1], y.shape[2]
    pixels, filters, out = x.reshape(-1), taps.reshape(-1), y.reshape(-1)
    one, more = BITS // 8 // y.itemsize, (size - 1) // stride
    columns = (count + more, -left, width, -more, count)
    for row in range(first, last):
        rows, start, tap = _seen(row, x.shape, y.shape[1], taps.shape, rule)
        ahead, each = start + rows[0] * rows[1], down * width
        for k in range(0, channels, one):
            c = min(k, channels - one)
            fetch_run(pixels, ahead + k * each, one * each)
            a = (pixels, start + c, channels)
            b = (filters, tap + c, channels)
            to = (out, row * count * channels + c, channels)
            if whole:
                slide(size, stride, rows, a, b, to, columns, False)
            else:
                _by_column(False, rows, a, b, to, (width, count), size, rule)


@as_written
def _convolve_back(first, last, gy, taps, gx, rule, whole):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the gradients towards all images."""
    (_, stride), (_, left), _ = rule
    width, channels = gy.shape[2:]
    size, count = taps.shape[1], gx.shape[2]
    grads, filters, out = gy.reshape(-1), taps.reshape(-1), gx.reshape(-1)
    one = BITS // 8 // gx.itemsize
    steps = (count + left + stride - 1) // stride
    columns = (steps, 0, width, -left, count)
    for row in range(first, last):
        rows, start, tap = _seen_by(row, gy.shape, gx.shape[1], taps.shape, rule)
        ahead = start + width * channels
        for k in range(0, channels, one):
            c = min(k, channels - one)
            fetch_run(grads, ahead + k * width, one * width)
            a = (grads, start + c, channels)
            b = (filters, tap + c, channels)
            to = (out, row * count * channels + c, channels)
            if whole:
                slide_back(size, stride, rows, a, b, to, columns, False)
            else:
                _by_column(True, rows, a, b, to, (width, count), size, rule)


@as_written
def _weight_sums(first, last, x, gy, gw, rule, whole):  # type: ignore[no-untyped-def]
    """Parts first..last-1 of the sum; a part has its share of the images."""
    (down, stride), (_, left), _ = rule
    width, channels = x.shape[2:]
    height, count = gy.shape[1:3]
    size, parts = gw.shape[2], len(gw)
    pixels, grads, sums = x.reshape(-1), gy.reshape(-1), gw.reshape(-1)
    one, more = BITS // 8 // gy.itemsize, (size - 1) // stride
    columns = (count + more, -left, width, count)
    for part in range(first, last):
        begin = len(x) * part // parts * height
        end = len(x) * (part + 1) // parts * height
        for row in range(begin, end):
            rows, start, tap = _seen(row, x.shape, height, gw.shape[1:], rule)
            tap += part * gw[0].size
            ahead, each = start + rows[0] * rows[1], down * width
            later = (row + 1) * count * channels
            for k in range(0, channels, one):
                c = min(k, channels - one)
                fetch_run(pixels, ahead + k * each, one * each)
                fetch_run(grads, later + k * count, one * count)
                a = (pixels, start + c, channels)
                g = (grads, row * count * channels + c, channels)
                to = (sums, tap + k, gw.shape[3])
                if whole:
                    slide_sums(size, stride, rows, a, g, to, columns)
                else:
                    _sums_by_column(rows, a, g, to, (width, count), size, rule)


@inlined
def _seen(row, images, count, filters, rule):  # type: ignore[no-untyped-def]
    """Image rows that a row of outputs sees: (how many, steps), place, first tap.

    The rows of all images are counted on; each image has `count` of outputs.
    """
    (stride, _), (top, _), (gap, _) = rule
    _, height, width, channels = images
    h, line = row % count * stride - top, filters[1] * filters[2]
    u = max(-(h // gap), 0)
    end = min(-((h - height) // gap), filters[0])
    start = (row // count * height + h + u * gap) * width * channels
    seen = max(end - u, 0)
    tap = u * line if seen else 0  # taps are read even where no row is seen
    return (seen, gap * width * channels, line), start, tap


@inlined
def _seen_by(row, outputs, count, filters, rule):  # type: ignore[no-untyped-def]
    """Rows of outputs that saw a row of the image; as _seen."""
    (stride, _), (top, _), (gap, _) = rule
    _, height, width, channels = outputs
    seen, tap, place, next_tap, next_place = 0, 0, 0, 0, 0
    for u in range(filters[0]):
        h = row % count + top - u * gap
        if h % stride == 0 and 0 <= h // stride < height:
            if seen == 0:
                tap, place = u, h // stride
            elif seen == 1:
                next_tap, next_place = u - tap, h // stride - place
            seen += 1
    line, taps = width * channels, filters[1] * filters[2]
    start = (row // count * height + place) * line
    return (seen, next_place * line, next_tap * taps), start, tap * taps


@inlined
def _columns(v, width, count, stride, left, gap):  # type: ignore[no-untyped-def]
    """Of the outputs of a row that see a pixel with tap v: number, first, its pixel."""
    away = v * gap - left
    first = max(-(away // stride), 0)
    number = max(min(-((away - width) // stride), count) - first, 0)
    return number, first, first * stride + away


@as_written
def _by_column(back, rows, a, b, c, widths, size, rule):  # type: ignore[no-untyped-def]
    """``slide`` or ``slide_back``, tap by tap, with any stride and gaps."""
    x, start, one = a
    w, tap, _ = b
    y, to, _ = c
    (_, stride), (_, left), (_, gap) = rule
    steps = (widths[1], 0, 0, 0, widths[1])
    slide(1, 1, (0, 0, 0), a, b, c, steps, False)
    width, count = (widths[1], widths[0]) if back else widths
    for v in range(size):
        number, near, far = _columns(v, width, count, stride, left, gap)
        steps = (number, 0, number, 0, number)
        for u in range(rows[0]):
            line = start + u * rows[1]
            weight = (w, tap + u * rows[2] + v * one, one)
            if back:
                p = (x, line + near * one, one)
                q = (y, to + far * one, stride * one)
            else:
                p = (x, line + far * one, stride * one)
                q = (y, to + near * one, one)
            slide(1, 1, (1, 0, 0), p, weight, q, steps, True)


@as_written
def _sums_by_column(rows, a, g, b, widths, size, rule):  # type: ignore[no-untyped-def]
    """``slide_sums``, tap by tap, with any stride and gaps."""
    x, start, one = a
    grads, grad, _ = g
    sums, tap, step = b
    (_, stride), (_, left), (_, gap) = rule
    for v in range(size):
        number, near, far = _columns(v, *widths, stride, left, gap)
        steps = (number, 0, number, number)
        for u in range(rows[0]):
            pixels = (x, start + u * rows[1] + far * one, stride * one)
            seers = (grads, grad + near * one, one)
            to = (sums, tap + u * rows[2] + v * step, step)
            slide_sums(1, 1, (1, 0, 0), pixels, seers, to, steps)
