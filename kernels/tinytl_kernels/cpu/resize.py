"""Resizing in compiled loops, along one axis or both of an image; see plain/resize.py.

In memory an axis has so many numbers behind it that go with each of its places: the
channels, or the columns and the channels. Those make up the innermost loop.

Images have both axes done in one pass. The limit is memory, and so each image is read
once and each output written once, with nothing in between but registers.
"""

import math

import numpy as np

from .. import plain
from ..memory import empty
from ..threads import run
from .compiled import NOTHING, compiled, inlined
from .layout import by_image, channels_last, far_to_near, images, turn_image
from .simd import BITS, lanes, load, store, zero

Array = np.ndarray


def resample(x: Array, index: Array, weight: Array, axis: int) -> Array:
    """y at o along `axis` = sum over k of weight[o,k] * x at index[o,k]."""
    if x.dtype.kind != "f":
        return plain.resample(x, index, weight, axis)
    if x.ndim == 4 and x.shape[1] >= lanes(x.dtype):
        x = images(channels_last(x))
    order = far_to_near(x)
    seen = np.ascontiguousarray(x.transpose(order))
    place = order.index(axis)
    before, behind = seen.shape[:place], seen.shape[place + 1 :]
    y = empty((*before, len(index), *behind), x.dtype)
    outer, inner = math.prod(before), math.prod(behind)
    if y.size:
        loop = _resample if inner < lanes(x.dtype) else _resample_vectors
        taps = index, weight.astype(x.dtype), inner
        arrays = y.reshape(outer, -1), seen.reshape(outer, -1)
        run(loop, outer, *arrays, *taps, work=y.size * index.shape[1])
    return y.transpose([order.index(k) for k in range(x.ndim)])


def resample_image(
    x: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]
) -> Array:
    """Both sides of images (N,C,H,W) resampled, each by its own (index, weight)."""
    n, c, _, width = x.shape
    if x.dtype.kind != "f" or c < lanes(x.dtype):
        return resample(resample(x, *rows, 2), *columns, 3)
    flat, turned = by_image(x)
    y = empty((n, len(rows[0]), len(columns[0]), c), x.dtype)
    if y.size:
        steps = (rows[0] * (width * c), columns[0] * c)
        weights = (rows[1].astype(x.dtype), columns[1].astype(x.dtype))
        arrays = y.reshape(n, -1), flat, turned, c, steps, weights
        scratch = (flat.shape[1] if turned else 0, x.dtype)
        run(_resample_images, n, *arrays, work=x.size + y.size, scratch=scratch)
    return images(y)


@compiled
def _resample(first, last, y, x, index, weight, inner):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        for o in range(len(index)):
            for c in range(inner):
                total = NOTHING
                for k in range(index.shape[1]):
                    total += weight[o, k] * x[n, index[o, k] * inner + c]
                y[n, o * inner + c] = total


@compiled
def _resample_vectors(first, last, y, x, index, weight, inner):  # type: ignore[no-untyped-def]
    """The same in vectors; the last one of an output overlaps the one before."""
    taps, step = index.shape[1], BITS // 8 // y.itemsize
    for n in range(first, last):
        ys, xs = y[n], x[n]
        for o in range(len(index)):
            for start in range(0, inner, step):
                c = min(start, inner - step)
                total = weight[o, 0] * load(xs, index[o, 0] * inner + c)
                for k in range(1, taps):
                    total = total + weight[o, k] * load(xs, index[o, k] * inner + c)
                store(ys, o * inner + c, total)


@compiled
def _resample_images(first, last, scratch, y, x, turned, c, steps, weights):  # type: ignore[no-untyped-def]
    """Images first..last-1. The usual numbers of taps are written out as numbers.

    steps: how far behind an image's first number the taps of its rows and columns are.
    """
    taps = (steps[0].shape[1], steps[1].shape[1])
    ys, xs = y.reshape(-1), x.reshape(-1)
    for n in range(first, last):
        image, at = xs, n * x.shape[1]
        if turned:
            image, at = turn_image(scratch, x[n], c, turned), 0
        to = n * y.shape[1]
        if taps == (1, 1):
            _resample_pixels(ys, to, image, at, c, steps, weights)
        elif taps == (2, 2):
            _resample_squares(ys, to, image, at, c, steps, weights)
        elif taps == (4, 4):
            _resample_one(ys, to, image, at, c, steps, weights, (4, 4))
        else:
            _resample_one(ys, to, image, at, c, steps, weights, taps)


@inlined
def _resample_pixels(y, to, x, at, inner, steps, weights):  # type: ignore[no-untyped-def]
    """``_resample_one`` where each pixel is a single one, times a number.

    So when the gradient of a halved image goes back. What the pixel is made from is
    looked up before its vectors: behind a store, the compiler would do so again.
    """
    (down, right), (row_weight, weight) = steps, weights
    step = BITS // 8 // y.itemsize
    for i in range(len(down)):
        for j in range(len(right)):
            pixel = at + down[i, 0] + right[j, 0]
            factor = row_weight[i, 0] * weight[j, 0]
            for k in range(0, inner, step):
                c = min(k, inner - step)
                store(y, to + c, factor * load(x, pixel + c))
            to += inner


@inlined
def _resample_squares(y, to, x, at, inner, steps, weights):  # type: ignore[no-untyped-def]
    """The same where each pixel is a sum of two by two, as in bilinear resizing."""
    (down, right), (row_weight, weight) = steps, weights
    step = BITS // 8 // y.itemsize
    for i in range(len(down)):
        upper, lower = at + down[i, 0], at + down[i, 1]
        above, below = row_weight[i, 0], row_weight[i, 1]
        for j in range(len(right)):
            a, b = upper + right[j, 0], upper + right[j, 1]
            c, d = lower + right[j, 0], lower + right[j, 1]
            left, other = weight[j, 0], weight[j, 1]
            wa, wb, wc, wd = above * left, above * other, below * left, below * other
            for k in range(0, inner, step):
                k = min(k, inner - step)
                row = wa * load(x, a + k) + wb * load(x, b + k)
                store(y, to + k, row + (wc * load(x, c + k) + wd * load(x, d + k)))
            to += inner


@inlined
def _resample_one(y, to, x, at, inner, steps, weights, taps):  # type: ignore[no-untyped-def]
    """The image from x[at] on, in vectors, to y[to]; a pixel's last vector overlaps."""
    (down, right), (row_weight, weight) = steps, weights
    step = BITS // 8 // y.itemsize
    for i in range(len(down)):
        for j in range(len(right)):
            for k in range((inner + step - 1) // step):
                c = min(k * step, inner - step)
                total = zero(y)
                for v in range(taps[1]):
                    column = at + c + right[j, v]
                    mixed = zero(y)
                    for u in range(taps[0]):
                        mixed = mixed + row_weight[i, u] * load(x, column + down[i, u])
                    total = total + weight[j, v] * mixed
                store(y, to + c, total)
            to += inner
