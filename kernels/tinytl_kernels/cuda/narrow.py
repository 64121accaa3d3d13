"""Convolution whose groups are narrow: depthwise, where a filter sees one channel.

A product of matrices would have one row. So every thread adds up one output by itself,
in the order of the formula; the few weights of a filter stay in cache.
"""

import math

import numpy as np

from .. import namespace
from ..shapes import Window
from .geometry import Geometry, geometry, seen, start_of, tap_at, window_at
from .launch import THREADS, Array, Int32, block_sum, cuda, kernel, pixel_grid


@kernel
def narrow_conv(x: Array, w: Array, y: Array, each: Int32, g: Geometry) -> None:
    """y[n,f,i,j] = sum over c,u,v of w[f,c,u,v] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    `each` is the number of filters a group, F/G. A block computes a piece of some
    planes (n, f), a thread one output at a time.
    Traffic. x is read F/G times and y written once, if neighbours' reads hit the cache.
    Arithmetic. 2 C/G U V per output. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    filters = w.shape[0]
    for plane in range(plane0, y.shape[0] * filters, down):
        n, f = plane // filters, plane % filters
        first = f // each * w.shape[1]  # channel of the group
        for p in range(p0, g.I * g.J, across):
            i, j = p // g.J, p % g.J
            total = y.dtype.type(0)
            for c in range(w.shape[1]):
                for u in range(g.U):
                    h = i * g.sh - g.ph + u * g.dh
                    if h < 0 or h >= g.H:
                        continue
                    for v in range(g.V):
                        k = j * g.sw - g.pw + v * g.dw
                        if k >= 0 and k < g.W:
                            total += w[f, c, u, v] * x[n, first + c, h, k]
            y[n, f, i, j] = total


@kernel
def narrow_conv_dx(gy: Array, w: Array, gx: Array, each: Int32, g: Geometry) -> None:
    """gx[n,c,h,w]: the g of every window that saw the pixel, by the weight it used.

    A block computes a piece of some planes (n, c), a thread one pixel at a time.
    Traffic. gy is read C/G times and gx written once, as above.
    Arithmetic. 2 F/G U V / s^2 per pixel. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    channels, width = gx.shape[1], w.shape[1]
    for plane in range(plane0, gx.shape[0] * channels, down):
        n, c = plane // channels, plane % channels
        first = c // width * each  # filter of the group
        for pixel in range(p0, g.H * g.W, across):
            total = gx.dtype.type(0)
            for u in range(g.U):
                i = window_at(pixel // g.W + g.ph, u * g.dh, g.sh, g.I)
                if i < 0:
                    continue
                for v in range(g.V):
                    j = window_at(pixel % g.W + g.pw, v * g.dw, g.sw, g.J)
                    if j < 0:
                        continue
                    for f in range(first, first + each):
                        total += w[f, c % width, u, v] * gy[n, f, i, j]
            gx[n, c, pixel // g.W, pixel % g.W] = total


@kernel
def narrow_conv_dw(x: Array, gy: Array, gw: Array, each: Int32, g: Geometry) -> None:
    """gw[f,c,u,v] = sum over n,i,j of gy[n,f,i,j] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    x is (N,G,C/G,H,W), gy (N,F,I*J), gw (F,C/G*U*V).
    A block computes one weight: its threads share the windows, and add up in pairs.
    Traffic. x and gy are read once for each of a filter's weights, from cache if a
    channel of the batch fits there.
    Arithmetic. 2 per value read. Limit: memory, or the few blocks that F C/G U V are.
    """
    shared = cuda.shared.array(THREADS, gw.dtype)
    f, k = cuda.blockIdx.x // gw.shape[1], cuda.blockIdx.x % gw.shape[1]
    tap = tap_at(k, g)
    total = gw.dtype.type(0)
    for p in range(cuda.threadIdx.x, x.shape[0] * gy.shape[2], cuda.blockDim.x):
        window = start_of(p, g)
        value = seen(x, f // each, window, tap, g)
        total += gy[window[0], f, p % gy.shape[2]] * value
    total = block_sum(total, shared)
    if cuda.threadIdx.x == 0:
        gw[f, k] = total


def conv(x: Array, w: Array, y: Array, window: Window, groups: int) -> None:
    """Fill y (N,F,I,J)."""
    blocks, threads = pixel_grid(len(x) * len(w), math.prod(window.out))
    each = np.int32(len(w) // groups)
    narrow_conv.launch(blocks, threads, x, w, y, each, geometry(window))


def conv_dx(gy: Array, w: Array, gx: Array, window: Window, groups: int) -> None:
    """Fill gx (N,C,H,W)."""
    blocks, threads = pixel_grid(len(gx) * gx.shape[1], math.prod(window.size))
    each = np.int32(len(w) // groups)
    narrow_conv_dx.launch(blocks, threads, gy, w, gx, each, geometry(window))


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """gw (F,C/G,U,V)."""
    n, filters, channels = len(x), gy.shape[1], x.shape[1] // groups
    size = channels * math.prod(window.kernel)
    gw = namespace(x).empty((filters, size), x.dtype)
    x = x.reshape(n, groups, channels, *window.size)
    gy = gy.reshape(n, filters, -1)
    each, g = np.int32(filters // groups), geometry(window)
    narrow_conv_dw.launch((gw.size,), (THREADS,), x, gy, gw, each, g)
    return gw.reshape(filters, channels, *window.kernel)
