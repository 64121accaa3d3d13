"""Resizing on a GPU: a weighted sum of a few pixels, along one axis or two."""

import functools
import math
from types import ModuleType

import numpy as np

from .. import namespace
from .launch import Array, cuda, kernel, pixel_grid


@kernel
def resample_kernel(x: Array, index: Array, weight: Array, y: Array) -> None:
    """y[b,o,a] = sum over k of weight[o,k] * x[b, index[o,k], a].

    A block works on a piece of some planes b, a thread on one place (o, a) at a time.
    Traffic. K values read per place, mostly from cache, one written; the taps are few.
    Arithmetic. 2 K operations. Limit: memory.
    """
    p0, b0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for b in range(b0, y.shape[0], down):
        for p in range(p0, y.shape[1] * y.shape[2], across):
            o, a = p // y.shape[2], p % y.shape[2]
            total = y.dtype.type(0)
            for k in range(index.shape[1]):
                total += weight[o, k] * x[b, index[o, k], a]
            y[b, o, a] = total


def resample(x: Array, index: Array, weight: Array, axis: int) -> Array:
    """y at o along `axis` = sum over k of weight[o,k] * x at index[o,k].

    index (O, K) and weight (O, K) are NumPy arrays: sizes decide them, on the host.
    They are copied to the device once, and found there when the same sizes come again.
    """
    xp = namespace(x)
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    sizes = math.prod(before), math.prod(after)
    y = xp.empty((sizes[0], len(index), sizes[1]), x.dtype)
    planes = xp.ascontiguousarray(x).reshape(sizes[0], x.shape[axis], sizes[1])
    taps = _there(xp, index), _there(xp, weight.astype(x.dtype, copy=False))
    blocks, threads = pixel_grid(sizes[0], len(index) * sizes[1])
    resample_kernel.launch(blocks, threads, planes, *taps, y)
    return y.reshape(*before, len(index), *after)


def resample_image(
    x: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]
) -> Array:
    """Both sides of images (N,C,H,W) resampled, each by its own (index, weight)."""
    return resample(resample(x, *rows, 2), *columns, 3)


def _there(xp: ModuleType, array: np.ndarray) -> Array:
    return _copied(xp, array.tobytes(), array.dtype.str, array.shape)


@functools.lru_cache(maxsize=256)
def _copied(
    xp: ModuleType, content: bytes, dtype: str, shape: tuple[int, ...]
) -> Array:
    return xp.asarray(np.frombuffer(content, dtype).reshape(shape))
