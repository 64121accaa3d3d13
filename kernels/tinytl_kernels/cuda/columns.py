"""Convolution by a matrix of columns and cuBLAS, as the plain set does it.

The columns are put into memory by one kernel and read by the library's product, which
comes closer to the device's arithmetic than a kernel of a page can. The transpose is
taken by gathering: each pixel fetches what it contributed to, so that no two threads
write to one place, nothing depends on who comes first, and equal runs give equal bits.
"""

import math
from collections.abc import Iterator

from .. import namespace
from ..shapes import Window
from .geometry import Geometry, geometry, seen, start_of, tap_at, window_at
from .launch import Array, cuda, kernel, pixel_grid

BLOCK = 1 << 26  # values of the matrix of columns that exist at a time: 256 MB


@kernel
def unfold_kernel(x: Array, columns: Array, g: Geometry) -> None:
    """columns[c,u,v, n,i,j] = x[n, c, i*s-p+u*d, j*s-p+v*d].

    A block writes a piece of some rows (c, u, v), a thread one place of it at a time.
    Traffic. One value written per place; x is read U*V / s^2 times, mostly from cache.
    Arithmetic. Integers alone. Limit: writing to memory.
    """
    p0, k0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for k in range(k0, columns.shape[0], down):
        tap = tap_at(k, g)
        for p in range(p0, columns.shape[1], across):
            columns[k, p] = seen(x, 0, start_of(p, g), tap, g)


@kernel
def fold_kernel(columns: Array, gx: Array, g: Geometry) -> None:
    """gx[n,c,h,w] = sum of columns[c,u,v, n,i,j] over the windows that saw the pixel.

    A block works on a piece of some planes (n, c), a thread on one pixel at a time: for
    each (u, v) there is one window, or none, that saw the pixel there.
    Traffic. U*V / s^2 values read per pixel, one written.
    Arithmetic. As many additions. Limit: reading from memory.
    """
    p0, plane0 = cuda.grid(2)
    across, down = cuda.gridsize(2)
    channels = gx.shape[1]
    for plane in range(plane0, gx.shape[0] * channels, down):
        n, c = plane // channels, plane % channels
        for pixel in range(p0, g.H * g.W, across):
            h, w = pixel // g.W, pixel % g.W
            total = gx.dtype.type(0)
            for u in range(g.U):
                i = window_at(h + g.ph, u * g.dh, g.sh, g.I)
                if i < 0:
                    continue
                for v in range(g.V):
                    j = window_at(w + g.pw, v * g.dw, g.sw, g.J)
                    if j >= 0:
                        k = (c * g.U + u) * g.V + v
                        total += columns[k, (n * g.I + i) * g.J + j]
            gx[n, c, h, w] = total


def unfold(x: Array, window: Window, groups: int) -> Array:
    """Columns of what each window sees: (N,C,H,W) -> (G, C/G*U*V, N*I*J)."""
    n, channels = x.shape[:2]
    rows, places = channels * math.prod(window.kernel), n * math.prod(window.out)
    columns = namespace(x).empty((rows, places), x.dtype)
    blocks, threads = pixel_grid(*columns.shape)
    whole = x.reshape(n, 1, channels, *window.size)  # one group
    unfold_kernel.launch(blocks, threads, whole, columns, geometry(window))
    return columns.reshape(groups, -1, places)


def fold(columns: Array, channels: int, window: Window) -> Array:
    """Transpose of unfold: add every column's values to the pixels they came from."""
    n = columns.shape[-1] // math.prod(window.out)
    gx = namespace(columns).empty((n, channels, *window.size), columns.dtype)
    flat = columns.reshape(-1, columns.shape[-1])
    blocks, threads = pixel_grid(n * channels, math.prod(window.size))
    fold_kernel.launch(blocks, threads, flat, gx, geometry(window))
    return gx


def conv(x: Array, w: Array, window: Window, groups: int) -> Array:
    """y = rows of weights times columns; see plain.conv."""
    n, filters = len(x), len(w)
    rows = w.reshape(groups, filters // groups, -1)  # G, F/G, C/G*U*V
    y = namespace(x).empty((n, filters, *window.out), x.dtype)
    for images in _blocks(n, x.shape[1], window):
        product = rows @ unfold(x[images], window, groups)  # G, F/G, n*I*J
        y[images] = product.reshape(filters, -1, *window.out).transpose(1, 0, 2, 3)
    return y


def conv_dx(gy: Array, w: Array, window: Window, groups: int) -> Array:
    """gx = transposed weights times gy, folded; see plain.conv_dx."""
    n, filters = len(gy), len(w)
    channels = w.shape[1] * groups
    rows = w.reshape(groups, filters // groups, -1).transpose(0, 2, 1)
    gx = namespace(gy).empty((n, channels, *window.size), gy.dtype)
    for images in _blocks(n, channels, window):
        gx[images] = fold(rows @ _by_group(gy[images], groups), channels, window)
    return gx


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """gw = gy times transposed columns, added up; see plain.conv_dw."""
    n, channels, filters = len(x), x.shape[1], gy.shape[1]
    size = channels // groups * math.prod(window.kernel)
    gw = namespace(x).zeros((groups, filters // groups, size), x.dtype)
    for images in _blocks(n, channels, window):
        columns = unfold(x[images], window, groups)
        gw += _by_group(gy[images], groups) @ columns.transpose(0, 2, 1)
    return gw.reshape(filters, channels // groups, *window.kernel)


def _by_group(gy: Array, groups: int) -> Array:
    """(N,F,I,J) -> (G, F/G, N*I*J)."""
    n, filters, i, j = gy.shape
    return gy.transpose(1, 0, 2, 3).reshape(groups, filters // groups, n * i * j)


def _blocks(n: int, channels: int, window: Window) -> Iterator[slice]:
    one = channels * math.prod(window.kernel) * math.prod(window.out)
    step = max(1, BLOCK // max(1, one))
    return (slice(k, k + step) for k in range(0, n, step))
