"""Resizing along one axis in a compiled loop; see plain/resize.py.

In memory an axis has so many numbers behind it that go with each of its places: the
channels, or the columns and the channels. Those make up the innermost loop.
"""

import math

import numpy as np

from .. import plain
from ..memory import empty
from ..threads import run
from .compiled import NOTHING, compiled
from .layout import channels_last, far_to_near, images
from .simd import lanes, load, store

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
        taps = index, weight.astype(x.dtype), inner, lanes(x.dtype)
        arrays = y.reshape(outer, -1), seen.reshape(outer, -1)
        run(loop, outer, *arrays, *taps, work=y.size * index.shape[1])
    return y.transpose([order.index(k) for k in range(x.ndim)])


@compiled
def _resample(first, last, y, x, index, weight, inner, step):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        for o in range(len(index)):
            for c in range(inner):
                total = NOTHING
                for k in range(index.shape[1]):
                    total += weight[o, k] * x[n, index[o, k] * inner + c]
                y[n, o * inner + c] = total


@compiled
def _resample_vectors(first, last, y, x, index, weight, inner, step):  # type: ignore[no-untyped-def]
    """The same in vectors of `step` numbers; the last overlaps the one before."""
    taps = index.shape[1]
    for n in range(first, last):
        ys, xs = y[n], x[n]
        for o in range(len(index)):
            for start in range(0, inner, step):
                c = min(start, inner - step)
                total = weight[o, 0] * load(xs, index[o, 0] * inner + c)
                for k in range(1, taps):
                    total = total + weight[o, k] * load(xs, index[o, k] * inner + c)
                store(ys, o * inner + c, total)
