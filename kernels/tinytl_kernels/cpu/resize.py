"""Resizing along one axis in a compiled loop; see plain/resize.py.

In memory an axis has so many numbers behind it that go with each of its places: the
channels, or the columns and the channels. Those make up the innermost loop.
"""

import math

import numpy as np

from ..memory import empty
from ..threads import run
from .compiled import NOTHING, compiled
from .layout import far_to_near

Array = np.ndarray


def resample(x: Array, index: Array, weight: Array, axis: int) -> Array:
    """y at o along `axis` = sum over k of weight[o,k] * x at index[o,k]."""
    order = far_to_near(x)
    seen = np.ascontiguousarray(x.transpose(order))
    place = order.index(axis)
    before, behind = seen.shape[:place], seen.shape[place + 1 :]
    y = empty((*before, len(index), *behind), x.dtype)
    outer, inner = math.prod(before), math.prod(behind)
    if y.size:
        flat = y.reshape(outer, -1, inner), seen.reshape(outer, -1, inner)
        work = y.size * index.shape[1]
        run(_resample, outer, *flat, index, weight.astype(x.dtype), work=work)
    return y.transpose(np.argsort(order))


@compiled
def _resample(first, last, y, x, index, weight):  # type: ignore[no-untyped-def]
    taps, inner = index.shape[1], x.shape[2]
    for n in range(first, last):
        for o in range(len(index)):
            if inner == 1:
                total = NOTHING
                for k in range(taps):
                    total += weight[o, k] * x[n, index[o, k], 0]
                y[n, o, 0] = total
                continue
            ys, a = y[n, o], x[n, index[o, 0]]
            if taps == 1:
                for c in range(inner):
                    ys[c] = weight[o, 0] * a[c]
                continue
            b = x[n, index[o, 1]]
            for c in range(inner):
                ys[c] = weight[o, 0] * a[c] + weight[o, 1] * b[c]
            for k in range(2, taps):
                b = x[n, index[o, k]]
                for c in range(inner):
                    ys[c] += weight[o, k] * b[c]
