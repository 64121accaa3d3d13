"""Depthwise convolution: every channel has a filter of its own and sees no other.

There is no sum over channels, so there is no matrix product in it: U * V products an
output, of numbers that lie side by side in channels-last images, where one vector is
some channels of one pixel. The limit is memory.

Source: Howard et al. 2017, section 3.1.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from ..memory import empty
from ..shapes import Pair, Window
from ..threads import get_num_threads, run
from .layout import channels_last, images
from .simd import lanes, load, store, zero

Array = np.ndarray


def conv(x: Array, w: Array, window: Window) -> Array:
    """y[n,c,i,j] = sum over u,v of w[c,0,u,v] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    Shapes. x (N,C,H,W), w (C,1,U,V) -> (N,C,I,J), channels-last in memory.
    """
    return _slide(x, w[:, 0].transpose(1, 2, 0), window)


def conv_dx(gy: Array, w: Array, window: Window) -> Array:
    """gx[n,c,h,w]: every output that saw the pixel, times the weight it used.

    With a stride, zeros are put between the outputs' gradients; the rest is stride 1.

    Shapes. gy (N,C,I,J), w (C,1,U,V) -> (N,C,H,W), channels-last in memory.
    """
    turned = w[:, 0].transpose(1, 2, 0)[::-1, ::-1]
    if window.stride != (1, 1):
        gy, window = _spaced(gy, window)
    return _slide(gy, turned, window.turned())


def conv_dw(x: Array, gy: Array, window: Window) -> Array:
    """gw[c,0,u,v] = sum over n,i,j of gy[n,c,i,j] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    Each thread adds up its own rows; then the parts are added.

    Shapes. x (N,C,H,W), gy (N,C,I,J) -> (C,1,U,V).
    """
    x_last, gy_last = _vectors(channels_last(x)), _vectors(channels_last(gy))
    parts = get_num_threads()
    channels, one = x_last.shape[3], lanes(x.dtype)
    vectors = -(-channels // one)
    gw = np.zeros((parts, *window.kernel, vectors * one), x.dtype)
    _run(_weight_sums, parts, (x_last, gy_last, gw), window)
    total = gw.sum(axis=0)
    before = (vectors - 1) * one  # the last vector is that of the last channels
    total[..., channels - one : channels] = total[..., before:].copy()
    return np.ascontiguousarray(total[..., : x.shape[1]].transpose(2, 0, 1)[:, None])


def _slide(x: Array, w: Array, window: Window) -> Array:
    """Every channel of x with its own filter of w (U,V,C)."""
    x_last, taps = _vectors(channels_last(x)), _vectors(w)
    y = empty((len(x), *window.out, taps.shape[2]), x.dtype)
    _run(_convolve, len(x) * window.out[0], (x_last, taps, y), window)
    return images(channels_last(images(y[..., : w.shape[2]])))


def _spaced(gy: Array, window: Window) -> tuple[Array, Window]:
    """Outputs' gradients, with zeros where a window of stride 1 would have had more."""
    out = tuple((n - 1) * s + 1 for n, s in zip(window.out, window.stride, strict=True))
    spaced = images(np.zeros((len(gy), *out, gy.shape[1]), gy.dtype))
    spaced[:, :, :: window.stride[0], :: window.stride[1]] = gy
    steps = (1, 1), window.padding, window.dilation
    return spaced, Window(window.size, window.kernel, *steps, (out[0], out[1]))


def _vectors(x: Array) -> Array:
    """The array, its last axis filled up with zeros to one vector at least.

    More than one need not be whole: the last then overlaps the one before.
    """
    missing = max(lanes(x.dtype) - x.shape[-1], 0)
    wide = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]) if missing else x
    return np.ascontiguousarray(wide)


class Plan(NamedTuple):
    """What the loops need to know of a window, and the length of a vector."""

    stride: Pair
    padding: Pair
    dilation: Pair
    lanes: int


def _run(kernel: Any, count: int, arrays: tuple[Array, ...], window: Window) -> None:
    by = Plan(window.stride, window.padding, window.dilation, lanes(arrays[0].dtype))
    work = max(a.size for a in arrays) * math.prod(window.kernel)
    run(kernel, count, *arrays, by, work=work)


@numba.njit(nogil=True)
def _inside(start, step, taps, size):  # type: ignore[no-untyped-def]
    """First and last + 1 of the taps at start, start + step ... within 0..size-1."""
    first = max(0, -(start // step))
    return first, max(first, min(taps, (size - 1 - start) // step + 1))


@numba.njit(nogil=True, cache=True)
def _convolve(first, last, x, w, y, by):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the outputs of all images."""
    (s, t), (p, q), (d, e), lanes = by
    height, width, channels = x.shape[1:]
    u_size, v_size, _ = w.shape
    taps = w.reshape(-1)
    for row in range(first, last):
        n, i = row // y.shape[1], row % y.shape[1]
        pixels, out = x[n].reshape(-1), y[n, i].reshape(-1)
        rows = _inside(i * s - p, d, u_size, height)
        for j in range(y.shape[2]):
            columns = _inside(j * t - q, e, v_size, width)
            for k in range(0, channels, lanes):
                c = min(k, channels - lanes)
                total = zero(pixels)
                for u in range(rows[0], rows[1]):
                    line = (i * s - p + u * d) * width
                    for v in range(columns[0], columns[1]):
                        at = line + j * t - q + v * e
                        tap = load(taps, (u * v_size + v) * channels + c)
                        total = total + tap * load(pixels, at * channels + c)
                store(out, j * channels + c, total)


@numba.njit(nogil=True, cache=True)
def _weight_sums(first, last, x, gy, gw, by):  # type: ignore[no-untyped-def]
    """Parts first..last-1 of the sum; a part has its share of the outputs' rows."""
    (s, t), (p, q), (d, e), lanes = by
    height, width, channels = x.shape[1:]
    parts, u_size, v_size, columns = gw.shape
    rows, count = gy.shape[0] * gy.shape[1], gy.shape[2]
    for part in range(first, last):
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            n, i = row // gy.shape[1], row % gy.shape[1]
            grads = gy[n, i].reshape(-1)
            inside = _inside(i * s - p, d, u_size, height)
            for u in range(inside[0], inside[1]):
                pixels = x[n, i * s - p + u * d].reshape(-1)
                sums = gw[part, u].reshape(-1)
                for v in range(v_size):
                    left = v * e - q
                    seen = _inside(left, t, count, width)
                    for k in range(0, channels, lanes):
                        c = min(k, channels - lanes)
                        total = load(sums, v * columns + k)
                        for j in range(seen[0], seen[1]):
                            g = load(grads, j * channels + c)
                            at = (left + j * t) * channels + c
                            total = total + g * load(pixels, at)
                        store(sums, v * columns + k, total)
