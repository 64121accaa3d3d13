"""Sums over the pixels of each image and channel, on a GPU; see plain.pixels.

A block takes a plane (n, c): its threads share the pixels, and add up in pairs. The
grid goes on in steps of its own size. x is (N * C, P): planes with their pixels in one
row.
"""

import math

import numpy as np

from .. import namespace
from .launch import MOST, THREADS, Array, Int32, block_sum, cuda, kernel


@kernel
def product_sums_kernel(x: Array, z: Array, total: Array) -> None:
    """total[plane] = sum over the pixels of x z.

    Traffic. Two values read. Arithmetic. 2 operations. Limit: memory.
    """
    shared = cuda.shared.array(THREADS, x.dtype)
    t = cuda.threadIdx.x
    for plane in range(cuda.blockIdx.x, x.shape[0], cuda.gridDim.x):
        s = x.dtype.type(0)
        for p in range(t, x.shape[1], cuda.blockDim.x):
            s += x[plane, p] * z[plane, p]
        s = block_sum(s, shared)
        if t == 0:
            total[plane] = s


@kernel
def difference_squares_kernel(
    x: Array, z: Array, weight: Array, weighted: Int32, y: Array, total: Array
) -> None:
    """y = x - z, total[plane] = sum over the pixels of y^2; if `weighted`, weight y^2.

    Traffic. Two values read, or three, one written. Arithmetic. 4 operations.
    Limit: memory.
    """
    shared = cuda.shared.array(THREADS, x.dtype)
    t = cuda.threadIdx.x
    for plane in range(cuda.blockIdx.x, x.shape[0], cuda.gridDim.x):
        s = x.dtype.type(0)
        for p in range(t, x.shape[1], cuda.blockDim.x):
            away = x[plane, p] - z[plane, p]
            y[plane, p] = away
            if weighted != 0:
                s += away * (away * weight[plane, p])
            else:
                s += away * away
        s = block_sum(s, shared)
        if t == 0:
            total[plane] = s


def product_sums(x: Array, z: Array) -> Array:
    """The sum over the pixels of x z: (N, C), for images x and z."""
    given = _planes(x), _planes(z)
    total = namespace(x).empty(len(given[0]), x.dtype)
    blocks = (min(len(total), MOST),)
    product_sums_kernel.launch(blocks, (THREADS,), *given, total)
    return total.reshape(x.shape[:2])


def difference_squares(
    x: Array, z: Array, weight: Array | None = None
) -> tuple[Array, Array]:
    """y = x - z, and the sum over the pixels of weight y^2, (N, C); no weight is 1."""
    given = [_planes(a) for a in (x, z, z if weight is None else weight)]
    y, total = (namespace(x).empty(n, x.dtype) for n in (given[0].shape, len(given[0])))
    blocks = (min(len(total), MOST),)
    flag = np.int32(weight is not None)
    difference_squares_kernel.launch(blocks, (THREADS,), *given, flag, y, total)
    return y.reshape(x.shape), total.reshape(x.shape[:2])


def _planes(x: Array) -> Array:
    """Images as (N * C, P), contiguous."""
    rows = math.prod(x.shape[:2]), math.prod(x.shape[2:])
    return namespace(x).ascontiguousarray(x).reshape(rows)
