"""Depthwise convolution: every channel has a filter of its own and sees no other.

There is no sum over channels, so there is no matrix product in it: U * V products an
output, of numbers that lie side by side in channels-last images, where one vector is
some channels of one pixel. The limit is memory. Images are padded one at a time, as in
direct.py. Where the channels are no whole number of vectors, the last vector overlaps
the one before.

Source: Howard et al. 2017, section 3.1.
"""

import numba
import numpy as np

from ..memory import empty
from ..shapes import Window
from ..threads import get_num_threads, run
from .direct import plan
from .direct_loops import pad
from .layout import channels_last, images
from .product import ROWS, channelwise, filled
from .simd import BITS, lanes

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

    Each thread adds up its own images; then the parts are added.

    Shapes. x (N,C,H,W), gy (N,C,I,J) -> (C,1,U,V).
    """
    x_last, gy_last = _vectors(channels_last(x)), _vectors(channels_last(gy))
    parts = max(1, min(get_num_threads(), len(x)))
    channels, one = x_last.shape[3], lanes(x.dtype)
    columns = filled(channels, one)
    gw = np.zeros((parts, *window.kernel, columns), x.dtype)
    by = plan(window, channels, channels, x.dtype)
    run(
        _weight_sums,
        parts,
        x_last,
        gy_last,
        gw,
        by,
        scratch=(by.room, x.dtype),
        work=gy.size * window.kernel[0] * window.kernel[1],
    )
    total = gw.sum(axis=0)
    total[..., channels - one : channels] = total[..., columns - one :].copy()
    return np.ascontiguousarray(total[..., : x.shape[1]].transpose(2, 0, 1)[:, None])


def _slide(x: Array, w: Array, window: Window) -> Array:
    """Every channel of x with its own filter of w (U,V,C)."""
    x_last, taps = _vectors(channels_last(x)), _vectors(w)
    channels = taps.shape[2]
    by = plan(window, channels, channels, x.dtype)
    y = empty((len(x), *window.out, channels), x.dtype)
    run(
        _convolve,
        len(x) * window.out[0],
        x_last,
        taps.reshape(-1),
        y,
        by,
        scratch=(by.room, x.dtype),
        work=y.size * window.kernel[0] * window.kernel[1],
    )
    return images(channels_last(images(y[..., : w.shape[2]])))


def _spaced(gy: Array, window: Window) -> tuple[Array, Window]:
    """Outputs' gradients, with zeros where a window of stride 1 would have had more."""
    out = tuple((n - 1) * s + 1 for n, s in zip(window.out, window.stride, strict=True))
    spaced = images(np.zeros((len(gy), *out, gy.shape[1]), gy.dtype))
    spaced[:, :, :: window.stride[0], :: window.stride[1]] = gy
    steps = (1, 1), window.padding, window.dilation
    return spaced, Window(window.size, window.kernel, *steps, (out[0], out[1]))


def _vectors(x: Array) -> Array:
    """The array, its last axis filled up with zeros to one vector at least."""
    missing = max(lanes(x.dtype) - x.shape[-1], 0)
    wide = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]) if missing else x
    return np.ascontiguousarray(wide)


@numba.njit(nogil=True, cache=True)
def _convolve(first, last, scratch, x, taps, y, by):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the outputs of all images."""
    height, count, channels = y.shape[1:]
    line, one = by.padded[1], BITS // 8 // y.itemsize
    down, right = by.dilation[0] * line * channels, by.dilation[1] * channels
    row_of_taps = by.kernel[1] * channels
    out, step = y.reshape(-1), by.stride[1] * channels
    here = -1
    for row in range(first, last):
        if row // height != here:
            here = row // height
            pad(x, here, scratch, by)
        top = row % height * by.stride[0] * line * channels
        for k in range(0, channels, one):
            c = min(k, channels - one)
            b = (taps, c, row_of_taps, channels)
            whole = count // ROWS * ROWS
            for j in range(0, whole, ROWS):
                a = (scratch, top + j * step + c, step, down, right)
                to = (out, (row * count + j) * channels + c, channels)
                channelwise(ROWS, 1, by.kernel, a, b, to, False)
            for j in range(whole, count):
                a = (scratch, top + j * step + c, step, down, right)
                to = (out, (row * count + j) * channels + c, channels)
                channelwise(1, 1, by.kernel, a, b, to, False)


@numba.njit(nogil=True, cache=True)
def _weight_sums(first, last, scratch, x, gy, gw, by):  # type: ignore[no-untyped-def]
    """Parts first..last-1 of the sum; a part has its share of the images."""
    parts, u_size, v_size, columns = gw.shape
    height, count, channels = gy.shape[1:]
    line, one = by.padded[1], BITS // 8 // gy.itemsize
    down, right = by.stride[0] * line * channels, by.stride[1] * channels
    grads, sums = gy.reshape(-1), gw.reshape(-1)
    step = by.dilation[1] * channels
    for part in range(first, last):
        for n in range(len(x) * part // parts, len(x) * (part + 1) // parts):
            pad(x, n, scratch, by)
            for u in range(u_size):
                start = u * by.dilation[0] * line * channels
                taps = (part * u_size + u) * v_size * columns
                for k in range(0, channels, one):
                    c = min(k, channels - one)
                    b = (
                        grads,
                        n * height * count * channels + c,
                        count * channels,
                        channels,
                    )
                    for v in range(0, v_size, v_size if v_size in (3, 5) else 1):
                        a = (scratch, start + v * step + c, step, down, right)
                        to = (sums, taps + v * columns + k, columns)
                        if v_size == 3:
                            channelwise(3, 1, (height, count), a, b, to, True)
                        elif v_size == 5:
                            channelwise(5, 1, (height, count), a, b, to, True)
                        else:
                            channelwise(1, 1, (height, count), a, b, to, True)
