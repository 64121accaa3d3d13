"""Pooling: windows look, pixels are looked at, and nobody waits for anybody."""

import math

import numpy as np

from .. import namespace
from ..shapes import Pair, Window
from .launch import ACROSS, Array, Geometry, cuda, geometry, kernel, pixel_grid


@kernel
def largest(x: Array, index: Array, g: Geometry) -> None:
    """index[plane,p] = where in x[plane] the largest value of window p = (i, j) is.

    The first of equal values, the last NaN; the first pixel if nothing is above -inf.
    A block works on a piece of some planes (n, c), a thread on one window at a time.
    Traffic. U*V / s^2 reads of x per pixel, mostly from cache; 8 bytes written.
    Arithmetic. 2 U*V comparisons. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for plane in range(plane0, x.shape[0], down):
        for p in range(p0, g.I * g.J, across):
            i, j = p // g.J, p % g.J
            best = x.dtype.type(-np.inf)
            where = -1
            for u in range(g.U):
                h = i * g.sh - g.ph + u * g.dh
                if h < 0 or h >= g.H:
                    continue
                for v in range(g.V):
                    w = j * g.sw - g.pw + v * g.dw
                    if w < 0 or w >= g.W:
                        continue
                    value = x[plane, h, w]
                    if where < 0 or value > best or value != value:
                        best = value
                        where = h * g.W + w
            index[plane, p] = where


@kernel
def pick(x: Array, index: Array, y: Array) -> None:
    """y[plane,p] = x[plane, index[plane,p]].

    A block works on a piece of some planes, a thread on one place at a time.
    Traffic. 8 bytes and one value read, one written. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for plane in range(plane0, y.shape[0], down):
        for p in range(p0, y.shape[1], across):
            y[plane, p] = x[plane, index[plane, p]]


@kernel
def collect(g: Array, index: Array, gx: Array) -> None:
    """gx[plane,pixel] = sum of g[plane,p] over the p with index[plane,p] = pixel.

    A block, which is one warp, has a plane, and each thread of it every ACROSS-th pixel
    of the plane. The index is fetched in pieces into shared memory; every thread looks
    at every entry, and takes those that point to a pixel of its own. So each sum is
    made by one thread, in the order of p: without atomics, and the same every time.
    Traffic. 8 bytes and one value read per place, one written per pixel.
    Arithmetic. One comparison per thread and place. Limit: memory, up to some ten
    places a pixel.
    """
    pixels_of = cuda.shared.array(ACROSS, np.int64)
    values = cuda.shared.array(ACROSS, g.dtype)
    t = cuda.threadIdx.x
    for plane in range(cuda.blockIdx.x, gx.shape[0], cuda.gridDim.x):
        for pixel in range(t, gx.shape[1], ACROSS):
            gx[plane, pixel] = gx.dtype.type(0)
        for first in range(0, g.shape[1], ACROSS):
            if first + t < g.shape[1]:
                pixels_of[t] = index[plane, first + t]
                values[t] = g[plane, first + t]
            cuda.syncthreads()
            for k in range(min(ACROSS, g.shape[1] - first)):
                if pixels_of[k] % ACROSS == t:
                    gx[plane, pixels_of[k]] += values[k]
            cuda.syncthreads()


@kernel
def window_sum(x: Array, y: Array, g: Geometry) -> None:
    """y[plane,p] = sum over u,v of x[plane, i*s-p+u*d, j*s-p+v*d], padding being 0.

    A block works on a piece of some planes (n, c), a thread on one window at a time.
    Traffic. U*V / s^2 reads of x per pixel, mostly from cache; one value written.
    Arithmetic. U*V additions. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for plane in range(plane0, x.shape[0], down):
        for p in range(p0, g.I * g.J, across):
            total = x.dtype.type(0)
            for u in range(g.U):
                h = p // g.J * g.sh - g.ph + u * g.dh
                if h < 0 or h >= g.H:
                    continue
                for v in range(g.V):
                    w = p % g.J * g.sw - g.pw + v * g.dw
                    if w >= 0 and w < g.W:
                        total += x[plane, h, w]
            y[plane, p] = total


@kernel
def window_sum_dx(gy: Array, gx: Array, g: Geometry) -> None:
    """gx[plane,pixel] = sum of gy[plane,i,j] over the windows (i, j) that saw it.

    A block works on a piece of some planes (n, c), a thread on one pixel at a time.
    Traffic. U*V / s^2 reads of gy per pixel, mostly from cache; one value written.
    Arithmetic. As many additions. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for plane in range(plane0, gx.shape[0], down):
        for pixel in range(p0, g.H * g.W, across):
            total = gx.dtype.type(0)
            for u in range(g.U):
                top = pixel // g.W + g.ph - u * g.dh
                if top < 0 or top % g.sh != 0 or top // g.sh >= g.I:
                    continue
                for v in range(g.V):
                    left = pixel % g.W + g.pw - v * g.dw
                    if left >= 0 and left % g.sw == 0 and left // g.sw < g.J:
                        total += gy[plane, top // g.sh, left // g.sw]
            gx[plane, pixel] = total


# -- the functions around them ---------------------------------------------------------


def max_pool_index(x: Array, window: Window) -> Array:
    """Where each window's largest value is; see plain.max_pool_index."""
    xp = namespace(x)
    n, c = x.shape[:2]
    index = xp.empty((n * c, math.prod(window.out)), np.int64)
    planes = xp.ascontiguousarray(x).reshape(n * c, *window.size)
    largest.launch(*pixel_grid(*index.shape), planes, index, geometry(window))
    return index.reshape(n, c, *window.out)


def gather(x: Array, index: Array) -> Array:
    """y[n,c,i,j] = x[n,c] at pixel index[n,c,i,j], counted in reading order."""
    xp = namespace(x)
    n, c, i, j = index.shape
    y = xp.empty((n * c, i * j), x.dtype)
    planes = xp.ascontiguousarray(x).reshape(n * c, x.shape[2] * x.shape[3])
    places = xp.ascontiguousarray(index).reshape(y.shape)
    pick.launch(*pixel_grid(*y.shape), planes, places, y)
    return y.reshape(index.shape)


def scatter(g: Array, index: Array, size: Pair) -> Array:
    """Transpose of gather: zeros of (N,C,H,W) with g added at its pixels."""
    xp = namespace(g)
    n, c, i, j = g.shape
    gx = xp.empty((n * c, size[0] * size[1]), g.dtype)
    values = xp.ascontiguousarray(g).reshape(n * c, i * j)
    places = xp.ascontiguousarray(index).reshape(n * c, i * j)
    collect.launch((n * c,), (ACROSS,), values, places, gx)
    return gx.reshape(n, c, *size)


def sum_pool(x: Array, window: Window) -> Array:
    """y[n,c,i,j] = sum over u,v of x[n, c, i*s-p+u*d, j*s-p+v*d]."""
    xp = namespace(x)
    n, c = x.shape[:2]
    y = xp.empty((n * c, math.prod(window.out)), x.dtype)
    planes = xp.ascontiguousarray(x).reshape(n * c, *window.size)
    window_sum.launch(*pixel_grid(*y.shape), planes, y, geometry(window))
    return y.reshape(n, c, *window.out)


def sum_pool_dx(gy: Array, window: Window) -> Array:
    """Transpose of sum_pool: every pixel gets the g of all windows that saw it."""
    xp = namespace(gy)
    n, c = gy.shape[:2]
    gx = xp.empty((n * c, math.prod(window.size)), gy.dtype)
    planes = xp.ascontiguousarray(gy).reshape(n * c, *window.out)
    window_sum_dx.launch(*pixel_grid(*gx.shape), planes, gx, geometry(window))
    return gx.reshape(n, c, *window.size)
