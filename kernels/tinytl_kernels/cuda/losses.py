"""Softmax and its logarithm on a GPU, which is also what cross-entropy needs."""

import math
from typing import Any

import numpy as np

from .. import namespace
from .launch import ACROSS, Array, Int32, block_sum, cuda, device, kernel

MOST_ROWS = 1 << 16


@device
def block_max(value: Any, shared: Array) -> Any:
    """The largest `value` of a block's threads, for all to know; NaN if one has it."""
    t = cuda.threadIdx.x
    shared[t] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if t < half:
            other = shared[t + half]
            if other > shared[t] or other != other:
                shared[t] = other
        cuda.syncthreads()
        half //= 2
    largest = shared[0]
    cuda.syncthreads()  # all have read before anyone writes again
    return largest


@kernel
def softmax_kernel(x: Array, y: Array, log: Int32) -> None:
    """y[b,:,a] = exp(x) / sum of exp(x) over the middle axis; its logarithm if `log`.

    A block, which is one warp, has a row (b, a): it finds the largest value, adds up
    exp(x - largest), which cannot overflow, and divides.
    Traffic. Each value is read 3 times, from cache after the first, and written once.
    Arithmetic. 2 exponentials and some 5 operations. Limit: memory.
    """
    shared = cuda.shared.array(ACROSS, x.dtype)
    t = cuda.threadIdx.x
    for row in range(cuda.blockIdx.x, x.shape[0] * x.shape[2], cuda.gridDim.x):
        b, a = row // x.shape[2], row % x.shape[2]
        largest = x.dtype.type(-np.inf)
        for k in range(t, x.shape[1], ACROSS):
            value = x[b, k, a]
            if value > largest or value != value:
                largest = value
        largest = block_max(largest, shared)
        total = x.dtype.type(0)
        for k in range(t, x.shape[1], ACROSS):
            total += math.exp(x[b, k, a] - largest)
        total = block_sum(total, shared)
        for k in range(t, x.shape[1], ACROSS):
            if log != 0:
                y[b, k, a] = x[b, k, a] - largest - math.log(total)
            else:
                y[b, k, a] = math.exp(x[b, k, a] - largest) / total


def softmax(x: Array, axis: int) -> Array:
    """y = exp(x) / sum of exp(x) along `axis`, computed with x - max(x)."""
    return _rows(x, axis, False)


def log_softmax(x: Array, axis: int) -> Array:
    """y = x - log of sum of exp(x) along `axis`, computed with x - max(x)."""
    return _rows(x, axis, True)


def _rows(x: Array, axis: int, log: bool) -> Array:
    xp = namespace(x)
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    given = xp.ascontiguousarray(x).reshape(before, x.shape[axis], after)
    y = xp.empty(given.shape, x.dtype)
    blocks = min(before * after, MOST_ROWS) if y.size else 0
    softmax_kernel.launch((blocks,), (ACROSS,), given, y, np.int32(log))
    return y.reshape(x.shape)
