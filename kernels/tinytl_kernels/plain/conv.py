"""Convolution in NumPy, as a product of matrices.

Convolution needs three kernels for derivatives of every order. Weigh each output with g
and add up: T(x, w, g) = sum g * conv(x, w) is linear in each of the three. Its partial
derivatives are conv (towards g), conv_dx (towards x) and conv_dw (towards w), and the
gradients of any one of them are the other two.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..shapes import Window
from .norm import add_per_channel

Array = np.ndarray

BLOCK = 1 << 20  # values of the matrix of columns worked on at a time: in cache
SMALL = 1 << 19  # multiplications below which BLAS is faster on one thread


def conv(
    x: Array, w: Array, window: Window, groups: int, b: Array | None = None
) -> Array:
    """y[n,f,i,j] = b[f] + sum over c,u,v of w[f,c,u,v] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    Every output is the product of a row of weights with a column of the C*U*V values
    that its window sees. So the images are unfolded into a matrix of such columns, a
    few images at a time, and BLAS multiplies.

    Shapes. x (N,C,H,W), w (F,C/G,U,V), b (F,) or None -> (N,F,I,J).
    """
    n, filters = len(x), len(w)
    rows = w.reshape(groups, filters // groups, -1)  # G, F/G, C/G*U*V
    y = np.empty((n, filters, *window.out), x.dtype)
    small = w.size * window.out[0] * window.out[1] <= SMALL
    for images in _blocks(n, x.shape[1], window):
        block = y[images].reshape(-1, groups, filters // groups, math.prod(window.out))
        columns = unfold(x[images], window, groups)  # G, C/G*U*V, n*I*J
        if small:
            block[...] = rows @ _per_image(columns, len(block))
        else:
            block[...] = _per_image(rows @ columns, len(block))
    return y if b is None else add_per_channel(y, b)


def conv_dx(gy: Array, w: Array, window: Window, groups: int) -> Array:
    """gx[n,c,h,w]: what each input value contributes to sum gy * conv(x, w).

    The transpose of conv: multiply with the transposed weights, and fold the columns
    back by adding up what landed on the same pixel.

    Shapes. gy (N,F,I,J), w (F,C/G,U,V) -> (N,C,H,W).
    """
    n, filters = len(gy), len(w)
    channels = w.shape[1] * groups
    rows = w.reshape(groups, filters // groups, -1).transpose(0, 2, 1)
    gx = np.empty((n, channels, *window.size), gy.dtype)
    for images in _blocks(n, channels, window):
        gx[images] = fold(rows @ _by_group(gy[images], groups), channels, window)
    return gx


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """gw[f,c,u,v]: what each weight contributes to sum gy * conv(x, w).

    Shapes. x (N,C,H,W), gy (N,F,I,J) -> (F,C/G,U,V).
    """
    n, channels, filters = len(x), x.shape[1], gy.shape[1]
    size = channels // groups * window.kernel[0] * window.kernel[1]
    gw = np.zeros((groups, filters // groups, size), x.dtype)
    small = gw.size * window.out[0] * window.out[1] <= SMALL
    for images in _blocks(n, channels, window):
        columns = unfold(x[images], window, groups)
        g = _by_group(gy[images], groups)
        if small:
            count = len(gy[images])
            columns = _per_image(columns, count).transpose(0, 1, 3, 2)
            gw += (_per_image(g, count) @ columns).sum(axis=0)
        else:
            gw += g @ columns.transpose(0, 2, 1)
    return gw.reshape(filters, channels // groups, *window.kernel)


def unfold(x: Array, window: Window, groups: int) -> Array:
    """Columns of what each window sees: (N,C,H,W) -> (G, C/G*U*V, N*I*J)."""
    n, channels = x.shape[:2]
    i, j = window.out
    u, v = window.kernel
    seen = sliding_window_view(pad(x, window), window.reach, axis=(2, 3))
    seen = seen[:, :, :: window.stride[0], :: window.stride[1]]  # a view: no copy yet
    seen = seen[:, :, :i, :j, :: window.dilation[0], :: window.dilation[1]]
    columns = seen.transpose(1, 4, 5, 0, 2, 3)  # C, U, V, N, I, J
    return columns.reshape(groups, channels // groups * u * v, n * i * j)


def fold(columns: Array, channels: int, window: Window) -> Array:
    """Transpose of unfold: add every column's values to the pixels they came from."""
    u_size, v_size = window.kernel
    i, j = window.out
    n = columns.shape[2] // (i * j)
    columns = columns.reshape(channels, u_size, v_size, n, i, j)
    total = np.zeros((channels, n, *window.extent), columns.dtype)
    for u in range(u_size):
        for v in range(v_size):
            total[:, :, window.rows(u), window.columns(v)] += columns[:, u, v]
    return crop(total.transpose(1, 0, 2, 3), window)


def pad(x: Array, window: Window, value: float = 0) -> Array:
    """Images with the window's padding around them, filled with `value`."""
    (h, w), (top, left) = window.size, window.padding
    if (h, w) == window.extent:
        return x
    padded = np.full((*x.shape[:2], *window.extent), value, x.dtype)
    padded[:, :, top : top + h, left : left + w] = x
    return padded


def crop(padded: Array, window: Window) -> Array:
    """Transpose of pad: the images without the padding around them."""
    (h, w), (top, left) = window.size, window.padding
    return padded[:, :, top : top + h, left : left + w]


def _per_image(columns: Array, n: int) -> Array:
    """(G, K, N*I*J) -> (N, G, K, I*J), a view: one matrix for each image."""
    groups, k, _ = columns.shape
    return columns.reshape(groups, k, n, -1).transpose(2, 0, 1, 3)


def _by_group(gy: Array, groups: int) -> Array:
    """(N,F,I,J) -> (G, F/G, N*I*J)."""
    n, filters, i, j = gy.shape
    return gy.transpose(1, 0, 2, 3).reshape(groups, filters // groups, n * i * j)


def _blocks(n: int, channels: int, window: Window) -> Iterator[slice]:
    u, v = window.kernel
    i, j = window.out
    step = max(1, BLOCK // max(1, channels * u * v * i * j))
    return (slice(k, k + step) for k in range(0, n, step))
