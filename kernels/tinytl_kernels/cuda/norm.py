"""Normalisation on a GPU, channel by channel; see plain.norm for the formulas.

Two kinds of kernels. Some compute every place of a result by itself: a block takes a
piece of some planes (n, c). Others sum over a channel: several blocks a channel, whose
threads share its values and add up in pairs; the blocks' sums are added afterwards, in
a fixed order. None does more than a few operations per value: all wait for memory, so
that what counts is how often an array is read or written.

x is (N, C, P): images with their pixels in one row.
"""

import math
from typing import Any

import numpy as np

from .. import namespace
from ..line import Line
from .launch import (
    SIMULATED,
    THREADS,
    Array,
    Int32,
    Kernel,
    block_sum,
    cuda,
    device,
    kernel,
    pixel_grid,
)

PARTS = 2 if SIMULATED else 16  # blocks that share a channel, at most


@device
def _height(x: Any, c: int, mean: Array, scale: Array, shift: Array) -> Any:
    """The line of channel c above x."""
    return (x - mean[c]) * scale[c] + shift[c]


@kernel
def line_kernel(
    x: Array, mean: Array, scale: Array, shift: Array, relu: Int32, y: Array
) -> None:
    """y = (x - mean) * scale + shift, and max(0, y) if `relu` is 1.

    Traffic. One value read, one written. Arithmetic. 3 operations. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    zero = x.dtype.type(0)
    for plane in range(plane0, x.shape[0] * x.shape[1], down):
        n, c = plane // x.shape[1], plane % x.shape[1]
        for p in range(p0, x.shape[2], across):
            value = _height(x[n, c, p], c, mean, scale, shift)
            y[n, c, p] = zero if relu != 0 and value < zero else value


@kernel
def line_mix_kernel(
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    relu: Int32,
    weights: Array,
    gated: Int32,
    y: Array,
) -> None:
    """y = u g' + v + w c; if `gated` is 1, u g + v + w c behind the ReLU.

    Traffic. Two values read, one written. Arithmetic. 8 operations. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    zero = x.dtype.type(0)
    for plane in range(plane0, x.shape[0] * x.shape[1], down):
        n, c = plane // x.shape[1], plane % x.shape[1]
        u, v, w = weights[0, c], weights[1, c], weights[2, c]
        for p in range(p0, x.shape[2], across):
            above = relu == 0 or _height(x[n, c, p], c, mean, scale, shift) > zero
            kept = g[n, c, p] if above or gated != 0 else zero
            value = u * kept + v + w * (x[n, c, p] - mean[c])
            y[n, c, p] = value if above or gated == 0 else zero


@kernel
def line_mix2_kernel(
    h: Array,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    relu: Int32,
    weights: Array,
    y: Array,
) -> None:
    """y = u g' + v + w c + t h.

    Traffic. Three values read, one written. Arithmetic. 10 operations. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    zero = x.dtype.type(0)
    for plane in range(plane0, x.shape[0] * x.shape[1], down):
        n, c = plane // x.shape[1], plane % x.shape[1]
        u, v, w, t = weights[0, c], weights[1, c], weights[2, c], weights[3, c]
        for p in range(p0, x.shape[2], across):
            above = relu == 0 or _height(x[n, c, p], c, mean, scale, shift) > zero
            kept = g[n, c, p] if above else zero
            value = u * kept + v + w * (x[n, c, p] - mean[c])
            y[n, c, p] = value + t * h[n, c, p]


@kernel
def add_per_channel_kernel(x: Array, b: Array, y: Array) -> None:
    """y = x + b of the channel.

    Traffic. One value read, one written. Arithmetic. 1 addition. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for plane in range(plane0, x.shape[0] * x.shape[1], down):
        n, c = plane // x.shape[1], plane % x.shape[1]
        for p in range(p0, x.shape[2], across):
            y[n, c, p] = x[n, c, p] + b[c]


@kernel
def sum_kernel(x: Array, total: Array) -> None:
    """total[part,0,c] = the part's share of the sum of channel c.

    Traffic. One value read. Arithmetic. 1 addition. Limit: memory.
    """
    shared = cuda.shared.array(THREADS, x.dtype)
    c, part = cuda.blockIdx.x, cuda.blockIdx.y
    first = part * cuda.blockDim.x + cuda.threadIdx.x
    step = cuda.gridDim.y * cuda.blockDim.x
    s = x.dtype.type(0)
    for i in range(first, x.shape[0] * x.shape[2], step):
        s += x[i // x.shape[2], c, i % x.shape[2]]
    s = block_sum(s, shared)
    if cuda.threadIdx.x == 0:
        total[part, 0, c] = s


@kernel
def squares_kernel(x: Array, mean: Array, total: Array) -> None:
    """total[part,0,c] = the part's share of the sum of (x - mean)^2 of channel c.

    Traffic. One value read. Arithmetic. 3 operations. Limit: memory.
    """
    shared = cuda.shared.array(THREADS, x.dtype)
    c, part = cuda.blockIdx.x, cuda.blockIdx.y
    first = part * cuda.blockDim.x + cuda.threadIdx.x
    step = cuda.gridDim.y * cuda.blockDim.x
    s = x.dtype.type(0)
    for i in range(first, x.shape[0] * x.shape[2], step):
        away = x[i // x.shape[2], c, i % x.shape[2]] - mean[c]
        s += away * away
    s = block_sum(s, shared)
    if cuda.threadIdx.x == 0:
        total[part, 0, c] = s


@kernel
def line_sums_kernel(
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    relu: Int32,
    total: Array,
) -> None:
    """total[part,:,c] = the part's share of the sums of g' and g' c of channel c.

    Traffic. Two values read. Arithmetic. 7 operations. Limit: memory.
    """
    shared = cuda.shared.array(THREADS, x.dtype)
    c, part = cuda.blockIdx.x, cuda.blockIdx.y
    first = part * cuda.blockDim.x + cuda.threadIdx.x
    step = cuda.gridDim.y * cuda.blockDim.x
    zero = x.dtype.type(0)
    of_g, of_gc = zero, zero
    for i in range(first, x.shape[0] * x.shape[2], step):
        n, p = i // x.shape[2], i % x.shape[2]
        if relu == 0 or _height(x[n, c, p], c, mean, scale, shift) > zero:
            of_g += g[n, c, p]
            of_gc += g[n, c, p] * (x[n, c, p] - mean[c])
    of_g, of_gc = block_sum(of_g, shared), block_sum(of_gc, shared)
    if cuda.threadIdx.x == 0:
        total[part, 0, c], total[part, 1, c] = of_g, of_gc


@kernel
def line_sums2_kernel(
    h: Array,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    relu: Int32,
    total: Array,
) -> None:
    """total[part,:,c] = shares of the sums of g', g' c, h, h c and h g' of channel c.

    Traffic. Three values read. Arithmetic. 12 operations. Limit: memory.
    """
    shared = cuda.shared.array(THREADS, x.dtype)
    c, part = cuda.blockIdx.x, cuda.blockIdx.y
    first = part * cuda.blockDim.x + cuda.threadIdx.x
    step = cuda.gridDim.y * cuda.blockDim.x
    zero = x.dtype.type(0)
    of_g, of_gc, of_h, of_hc, of_hg = zero, zero, zero, zero, zero
    for i in range(first, x.shape[0] * x.shape[2], step):
        n, p = i // x.shape[2], i % x.shape[2]
        away = x[n, c, p] - mean[c]
        of_h += h[n, c, p]
        of_hc += h[n, c, p] * away
        if relu == 0 or _height(x[n, c, p], c, mean, scale, shift) > zero:
            of_g += g[n, c, p]
            of_gc += g[n, c, p] * away
            of_hg += h[n, c, p] * g[n, c, p]
    of_g, of_gc = block_sum(of_g, shared), block_sum(of_gc, shared)
    of_h, of_hc = block_sum(of_h, shared), block_sum(of_hc, shared)
    of_hg = block_sum(of_hg, shared)
    if cuda.threadIdx.x == 0:
        total[part, 0, c], total[part, 1, c] = of_g, of_gc
        total[part, 2, c], total[part, 3, c] = of_h, of_hc
        total[part, 4, c] = of_hg


# -- the functions around them ---------------------------------------------------------


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance (divided by the count) of each channel, over all but axis 1.

    In two passes: one for the mean, one for the squares of what is left.
    """
    count = x.dtype.type(x.size // max(x.shape[1], 1))
    mean = _sums(sum_kernel, 1, [x])[0] / count
    return mean, _sums(squares_kernel, 1, [x], mean)[0] / count


def line(x: Array, by: Line) -> Array:
    """y = (x - mean) * scale + shift, and max(0, y) if the line has a ReLU."""
    return _each(line_kernel, [x], *_numbers(by))


def line_sums(g: Array, x: Array, by: Line) -> Array:
    """The sums of g' and of g' c over each channel, in float64: (2, C).

    A block adds up in the dtype of x, in pairs; float64 holds the sums of the blocks.
    """
    return _sums(line_sums_kernel, 2, [g, x], *_numbers(by), dtype=np.float64)


def line_sums2(h: Array, g: Array, x: Array, by: Line) -> Array:
    """The sums of g', g' c, h, h c and h g' over each channel, likewise: (5, C)."""
    return _sums(line_sums2_kernel, 5, [h, g, x], *_numbers(by), dtype=np.float64)


def line_mix(g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g' + v + w c, where u, v and w are the rows of `weights`, (3, C)."""
    return _each(line_mix_kernel, [g, x], *_numbers(by), weights, np.int32(0))


def line_mix_gated(g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g + v + w c, of which the line's ReLU then keeps its part."""
    return _each(line_mix_kernel, [g, x], *_numbers(by), weights, np.int32(1))


def line_mix2(h: Array, g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g' + v + w c + t h, where u, v, w and t are the rows of `weights`, (4, C)."""
    return _each(line_mix2_kernel, [h, g, x], *_numbers(by), weights)


def add_per_channel(x: Array, b: Array) -> Array:
    """x + b, where b has a number for each channel."""
    return _each(add_per_channel_kernel, [x], b)


def sum_per_channel(x: Array) -> Array:
    """The sum of each channel, over all but axis 1."""
    return _sums(sum_kernel, 1, [x])[0]


def _numbers(by: Line) -> tuple[Any, ...]:
    return by.mean, by.scale, by.shift, np.int32(by.relu)


def _each(form: Kernel, images: list[Array], *numbers: Any) -> Array:
    """The result of a kernel with a thread per place; of the shape of the images."""
    given = [_rows(x) for x in images]
    y = namespace(given[0]).empty(given[0].shape, given[0].dtype)
    blocks, threads = pixel_grid(y.shape[0] * y.shape[1], y.shape[2])
    form.launch(blocks, threads, *given, *map(_whole, numbers), y)
    return y.reshape(images[0].shape)


def _sums(
    form: Kernel, count: int, images: list[Array], *numbers: Any, dtype: Any = None
) -> Array:
    """(count, C): what a kernel sums over each channel, in parts, added afterwards."""
    given = [_rows(x) for x in images]
    n, channels, pixels = given[0].shape
    parts = max(1, min(PARTS, n * pixels // (4 * THREADS)))
    total = namespace(given[0]).empty((parts, count, channels), given[0].dtype)
    form.launch((channels, parts), (THREADS,), *given, *map(_whole, numbers), total)
    return total.sum(axis=0, dtype=dtype)


def _rows(x: Array) -> Array:
    """Images as (N, C, P), contiguous."""
    return _whole(x).reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _whole(x: Any) -> Any:
    """A contiguous array; numbers as they are."""
    return x if isinstance(x, np.generic) else namespace(x).ascontiguousarray(x)
