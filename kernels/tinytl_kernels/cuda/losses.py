"""Softmax, its logarithm and their gradients on a GPU: cross-entropy needs them too."""

import math
from typing import Any

import numpy as np

from .. import namespace
from .launch import ACROSS, MOST, Array, Int32, block_sum, cuda, device, kernel


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


@device
def largest_and_sum(x: Array, b: Int32, a: Int32, shared: Array) -> Any:
    """The largest value of a row, and the sum of exp(x - largest)."""
    t = cuda.threadIdx.x
    largest = x.dtype.type(-np.inf)
    for k in range(t, x.shape[1], ACROSS):
        value = x[b, k, a]
        if value > largest or value != value:
            largest = value
    largest = block_max(largest, shared)
    total = x.dtype.type(0)
    for k in range(t, x.shape[1], ACROSS):
        total += math.exp(x[b, k, a] - largest)
    return largest, block_sum(total, shared)


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
        largest, total = largest_and_sum(x, b, a, shared)
        for k in range(t, x.shape[1], ACROSS):
            if log != 0:
                y[b, k, a] = x[b, k, a] - largest - math.log(total)
            else:
                y[b, k, a] = math.exp(x[b, k, a] - largest) / total


@kernel
def softmax_dx_kernel(x: Array, g: Array, gx: Array, log: Int32) -> None:
    """gx = y * (g - sum of g * y), y = softmax(x); if `log`, gx = g - y * sum of g.

    A block has a row, as in softmax_kernel.
    Traffic. Each value of x is read 4 times and of g twice, from cache after the first;
    one written.
    Arithmetic. 3 exponentials and some 8 operations. Limit: memory.
    """
    shared = cuda.shared.array(ACROSS, x.dtype)
    t = cuda.threadIdx.x
    for row in range(cuda.blockIdx.x, x.shape[0] * x.shape[2], cuda.gridDim.x):
        b, a = row // x.shape[2], row % x.shape[2]
        largest, total = largest_and_sum(x, b, a, shared)
        weighted = x.dtype.type(0)
        for k in range(t, x.shape[1], ACROSS):
            if log != 0:
                weighted += g[b, k, a]
            else:
                weighted += g[b, k, a] * math.exp(x[b, k, a] - largest) / total
        weighted = block_sum(weighted, shared)
        for k in range(t, x.shape[1], ACROSS):
            y = math.exp(x[b, k, a] - largest) / total
            if log != 0:
                gx[b, k, a] = g[b, k, a] - y * weighted
            else:
                gx[b, k, a] = y * (g[b, k, a] - weighted)


def softmax(x: Array, axis: int) -> Array:
    """y = exp(x) / sum of exp(x) along `axis`, computed with x - max(x)."""
    return _rows(softmax_kernel, axis, False, x)


def softmax_dx(g: Array, x: Array, axis: int) -> Array:
    """y * (g - sum of g * y along `axis`), with y = softmax(x)."""
    return _rows(softmax_dx_kernel, axis, False, x, g)


def log_softmax(x: Array, axis: int) -> Array:
    """y = x - log of sum of exp(x) along `axis`, computed with x - max(x)."""
    return _rows(softmax_kernel, axis, True, x)


def log_softmax_dx(g: Array, x: Array, axis: int) -> Array:
    """g - softmax(x) * sum of g along `axis`."""
    return _rows(softmax_dx_kernel, axis, True, x, g)


def _rows(form: Any, axis: int, log: bool, *arrays: Array) -> Array:
    x = arrays[0]
    xp, shape = namespace(x), x.shape
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    rows = before, shape[axis], after
    given = [xp.ascontiguousarray(a).reshape(rows) for a in arrays]
    y = xp.empty(rows, x.dtype)
    blocks = min(before * after, MOST) if y.size else 0
    form.launch((blocks,), (ACROSS,), *given, y, np.int32(log))
    return y.reshape(shape)
