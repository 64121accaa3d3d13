"""Pooling: windows look, pixels are looked at, and nobody waits for anybody."""

import math

import numpy as np

from .. import namespace
from ..shapes import Window
from .geometry import Geometry, geometry, window_at
from .launch import Array, cuda, kernel, pixel_grid


@kernel
def max_pool_kernel(x: Array, y: Array, index: Array, g: Geometry) -> None:
    """y[plane,p] = the largest value of window p = (i, j), index[plane,p] its pixel.

    The first of equal values, the last NaN; the first pixel if nothing is above -inf.
    A block works on a piece of some planes (n, c), a thread on one window at a time.
    Traffic. U*V / s^2 reads of x per pixel, mostly from cache; a value and 4 bytes
    written.
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
            y[plane, p] = best
            index[plane, p] = where


@kernel
def pick(x: Array, index: Array, y: Array) -> None:
    """y[plane,p] = x[plane, index[plane,p]].

    A block works on a piece of some planes, a thread on one place at a time.
    Traffic. 4 bytes and one value read, one written. Arithmetic. None. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for plane in range(plane0, y.shape[0], down):
        for p in range(p0, y.shape[1], across):
            y[plane, p] = x[plane, index[plane, p]]


@kernel
def collect(gy: Array, index: Array, gx: Array, g: Geometry) -> None:
    """gx[plane,pixel] = sum of gy[plane,p] over the windows p whose maximum it was.

    A block works on a piece of some planes (n, c), a thread on one pixel at a time: it
    asks every window that saw the pixel. So each sum is made by one thread, in the
    order of the windows: without atomics, and the same every time.
    Traffic. U*V / s^2 reads of index and gy per pixel, from cache; one value written.
    Arithmetic. As many comparisons. Limit: memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for plane in range(plane0, gx.shape[0], down):
        for pixel in range(p0, g.H * g.W, across):
            total = gx.dtype.type(0)
            for u in range(g.U):
                i = window_at(pixel // g.W + g.ph, u * g.dh, g.sh, g.I)
                if i < 0:
                    continue
                for v in range(g.V):
                    j = window_at(pixel % g.W + g.pw, v * g.dw, g.sw, g.J)
                    p = i * g.J + j
                    if j >= 0 and index[plane, p] == pixel:
                        total += gy[plane, p]
            gx[plane, pixel] = total


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
                i = window_at(pixel // g.W + g.ph, u * g.dh, g.sh, g.I)
                if i < 0:
                    continue
                for v in range(g.V):
                    j = window_at(pixel % g.W + g.pw, v * g.dw, g.sw, g.J)
                    if j >= 0:
                        total += gy[plane, i, j]
            gx[plane, pixel] = total


# -- the functions around them ---------------------------------------------------------


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Each window's largest value, and where it is; see plain.max_pool."""
    xp = namespace(x)
    n, c = x.shape[:2]
    y = xp.empty((n * c, math.prod(window.out)), x.dtype)
    index = xp.empty(y.shape, np.int32)
    planes = xp.ascontiguousarray(x).reshape(n * c, *window.size)
    max_pool_kernel.launch(*pixel_grid(*y.shape), planes, y, index, geometry(window))
    shape = (n, c, *window.out)
    return y.reshape(shape), index.reshape(shape)


def gather(x: Array, index: Array) -> Array:
    """y[n,c,i,j] = x[n,c] at pixel index[n,c,i,j], counted in reading order."""
    xp = namespace(x)
    n, c, i, j = index.shape
    y = xp.empty((n * c, i * j), x.dtype)
    planes = xp.ascontiguousarray(x).reshape(n * c, x.shape[2] * x.shape[3])
    places = xp.ascontiguousarray(index).reshape(y.shape)
    pick.launch(*pixel_grid(*y.shape), planes, places, y)
    return y.reshape(index.shape)


def scatter(g: Array, index: Array, window: Window) -> Array:
    """Transpose of gather: zeros of (N,C,H,W) with g added at its pixels.

    `index` is that of max_pool with this window.
    """
    xp = namespace(g)
    n, c, i, j = g.shape
    gx = xp.empty((n * c, math.prod(window.size)), g.dtype)
    values = xp.ascontiguousarray(g).reshape(n * c, i * j)
    places = xp.ascontiguousarray(index).reshape(n * c, i * j)
    grid = pixel_grid(*gx.shape)
    collect.launch(*grid, values, places, gx, geometry(window))
    return gx.reshape(n, c, *window.size)


def sum_pool(x: Array, window: Window, divisor: int = 1) -> Array:
    """y[n,c,i,j] = sum over u,v of x[n, c, i*s-p+u*d, j*s-p+v*d] / divisor."""
    xp = namespace(x)
    n, c = x.shape[:2]
    y = xp.empty((n * c, math.prod(window.out)), x.dtype)
    planes = xp.ascontiguousarray(x).reshape(n * c, *window.size)
    window_sum.launch(*pixel_grid(*y.shape), planes, y, geometry(window))
    y = y if divisor == 1 else y / divisor
    return y.reshape(n, c, *window.out)


def sum_pool_dx(gy: Array, window: Window, divisor: int = 1) -> Array:
    """Transpose of sum_pool: a pixel gets the g of all windows that saw it, divided."""
    xp = namespace(gy)
    n, c = gy.shape[:2]
    gx = xp.empty((n * c, math.prod(window.size)), gy.dtype)
    seen = gy if divisor == 1 else gy / divisor
    planes = xp.ascontiguousarray(seen).reshape(n * c, *window.out)
    window_sum_dx.launch(*pixel_grid(*gx.shape), planes, gx, geometry(window))
    return gx.reshape(n, c, *window.size)
