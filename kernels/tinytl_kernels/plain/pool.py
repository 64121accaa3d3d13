"""Pooling in NumPy: one step for each place in the window, over all windows at once."""

import numpy as np

from ..shapes import Window
from .conv import crop, pad

Array = np.ndarray


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Each window's largest value, and where it is: h * W + w of the pixel, int32.

    The first of equal values wins, in reading order; padding never wins; a NaN does,
    and the last NaN, as in torch.

    Shapes. x (N,C,H,W) -> (N,C,I,J), twice.
    """
    padded = pad(x, window, -np.inf)
    (u_size, v_size), (d, e) = window.kernel, window.dilation
    best = np.full((*x.shape[:2], *window.out), -np.inf, x.dtype)
    place = np.empty(best.shape, np.min_scalar_type(u_size * v_size))
    place[...] = _first_place(window)  # stays, where no value is above -inf
    for k in range(u_size * v_size):
        u, v = divmod(k, v_size)
        value = np.ascontiguousarray(padded[:, :, window.rows(u), window.columns(v)])
        better = value > best
        better |= value != value
        np.maximum(best, value, out=best)
        np.maximum(place, better * place.dtype.type(k), out=place)  # k only grows
    rows, columns = (
        np.arange(i) * s - p
        for i, s, p in zip(window.out, window.stride, window.padding, strict=True)
    )
    start = rows[:, None] * window.size[1] + columns  # pixel of each window's place 0
    steps = (np.arange(u_size) * d)[:, None] * window.size[1] + np.arange(v_size) * e
    return best, (start + steps.ravel()[place]).astype(np.int32)


def _first_place(window: Window) -> Array:
    """The first place in each window, u * V + v, that is not padding: (I, J)."""
    u, v = (
        np.maximum(-((np.arange(i) * s - p) // d), 0)
        for i, s, p, d in zip(
            window.out, window.stride, window.padding, window.dilation, strict=True
        )
    )
    return u[:, None] * window.kernel[1] + v


def gather(x: Array, index: Array) -> Array:
    """y[n,c,i,j] = x[n,c] at pixel index[n,c,i,j], counted in reading order."""
    n, c, h, w = x.shape
    i, j = index.shape[2:]
    flat = np.take_along_axis(
        x.reshape(n, c, h * w), index.reshape(n, c, i * j), axis=2
    )
    return flat.reshape(index.shape)


def scatter(g: Array, index: Array, window: Window) -> Array:
    """Transpose of gather: zeros of (N,C,H,W) with g added at its pixels."""
    n, c = g.shape[:2]
    h, w = window.size
    first = np.arange(n * c).reshape(n, c, 1, 1) * (h * w)
    total = np.bincount((first + index).ravel(), g.ravel(), minlength=n * c * h * w)
    return total.astype(g.dtype).reshape(n, c, h, w)


def sum_pool(x: Array, window: Window, divisor: int = 1) -> Array:
    """y[n,c,i,j] = sum over u,v of x[n, c, i*s-p+u*d, j*s-p+v*d] / divisor."""
    padded = pad(x, window)
    y = np.zeros((*x.shape[:2], *window.out), x.dtype)
    for u in range(window.kernel[0]):
        for v in range(window.kernel[1]):
            y += padded[:, :, window.rows(u), window.columns(v)]
    return y if divisor == 1 else y / divisor


def sum_pool_dx(gy: Array, window: Window, divisor: int = 1) -> Array:
    """Transpose of sum_pool: a pixel gets the g of all windows that saw it, divided."""
    total = np.zeros((*gy.shape[:2], *window.extent), gy.dtype)
    gy = gy if divisor == 1 else gy / divisor
    for u in range(window.kernel[0]):
        for v in range(window.kernel[1]):
            total[:, :, window.rows(u), window.columns(v)] += gy
    return crop(total, window)
