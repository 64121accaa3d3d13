"""Max pooling in compiled loops: one pass over the image, no temporary arrays."""

import numba
import numpy as np

from ..shapes import Pair, Window

Array = np.ndarray


def max_pool_index(x: Array, window: Window) -> Array:
    """Where each window's largest value is; see plain.max_pool_index."""
    index = np.empty((*x.shape[:2], *window.out), np.int64)
    _max_index(
        x,
        index,
        window.kernel,
        window.stride,
        window.padding,
        window.dilation,
    )
    return index


def scatter(g: Array, index: Array, size: Pair) -> Array:
    """Transpose of gather; see plain.scatter."""
    gx = np.zeros((*g.shape[:2], *size), g.dtype)
    _scatter(g, index, gx.reshape(*g.shape[:2], size[0] * size[1]))
    return gx


@numba.njit(cache=True)
def _max_index(x, index, kernel, stride, padding, dilation):  # type: ignore[no-untyped-def]
    images, channels, height, width = x.shape
    for n in range(images):
        for c in range(channels):
            for i in range(index.shape[2]):
                for j in range(index.shape[3]):
                    h0 = i * stride[0] - padding[0]
                    w0 = j * stride[1] - padding[1]
                    while h0 < 0:
                        h0 += dilation[0]
                    while w0 < 0:
                        w0 += dilation[1]
                    h_end = i * stride[0] - padding[0] + kernel[0] * dilation[0]
                    w_end = j * stride[1] - padding[1] + kernel[1] * dilation[1]
                    best = -np.inf
                    where = min(h0, height - 1) * width + min(w0, width - 1)
                    for h in range(h0, min(h_end, height), dilation[0]):
                        for w in range(w0, min(w_end, width), dilation[1]):
                            value = x[n, c, h, w]
                            if value > best or value != value:
                                best = value
                                where = h * width + w
                    index[n, c, i, j] = where


@numba.njit(cache=True)
def _scatter(g, index, gx):  # type: ignore[no-untyped-def]
    for n in range(g.shape[0]):
        for c in range(g.shape[1]):
            for i in range(g.shape[2]):
                for j in range(g.shape[3]):
                    gx[n, c, index[n, c, i, j]] += g[n, c, i, j]
