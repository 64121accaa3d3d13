"""Sums over the pixels of each image and channel; see plain/pixels.py.

They wait for memory, so an array that is needed and summed is written in the same pass.
An image belongs to one thread, so the number of threads does not show in the sums.

Where images are channels last, a vector holds neighbouring channels: some pixels are
added up in their own dtype, and these sums in float64. Other images go to NumPy, a part
on each thread.
"""

import numpy as np

from .. import plain
from ..memory import SMALL, STREAMED, empty
from ..threads import run
from .compiled import as_written, inlined
from .layout import images, is_channels_last
from .norm_vectors import put
from .simd import arrive, lanes, load, store, zero
from .ufunc import ufunc

Array = np.ndarray

TOGETHER = 32  # pixels that are added up in the dtype of x


def product_sums(x: Array, z: Array) -> Array:
    """The sum over the pixels of x z: see plain.product_sums."""
    if _fits(x, z):
        return _summed(None, x, z)
    total = np.empty(x.shape[:2], x.dtype)

    def part(first: int, last: int) -> None:
        total[first:last] = plain.product_sums(x[first:last], z[first:last])

    run(part, len(x), work=x.size)
    return total


def difference_squares(x: Array, z: Array) -> tuple[Array, Array]:
    """y = x - z, and the sum of y^2: see plain.difference_squares."""
    if _fits(x, z):
        n, c, h, w = x.shape
        y = empty((n, h, w, c), x.dtype)
        return images(y), _summed(y, x, z)
    y = ufunc("subtract", x, z)
    return y, product_sums(y, y)


def _fits(x: Array, z: Array) -> bool:
    """Whether both are channels last, and their pixels are whole vectors."""
    alike = x.dtype == z.dtype and x.dtype.kind == "f" and x.shape == z.shape
    whole = alike and x.ndim == 4 and x.shape[1] % lanes(x.dtype) == 0
    return whole and is_channels_last(x) and is_channels_last(z)


def _summed(y: Array | None, x: Array, z: Array) -> Array:
    """The sums of x z; if there is y (N,H,W,C), those of its squares: it gets x - z."""
    n, c, h, w = x.shape
    total = np.zeros((n, c))
    flat = (a.transpose(0, 2, 3, 1).reshape(-1) for a in (x, z))
    past = (y is not None and 3 * y.nbytes > STREAMED) or None
    to = None if y is None else y.reshape(-1)
    shape = h * w, c, lanes(x.dtype)
    scratch = max(c, SMALL // x.itemsize), x.dtype  # so it begins with a cache line
    run(_sums, n, shape, past, to, *flat, total, work=x.size, scratch=scratch)
    return total.astype(x.dtype)


@as_written
def _sums(first, last, part, shape, past, y, x, z, total):  # type: ignore[no-untyped-def]
    pixels, channels, step = shape
    for n in range(first, last):
        for start in range(0, pixels, TOGETHER):
            for k in range(0, channels, step):
                store(part, k, zero(x))
            for pixel in range(start, min(start + TOGETHER, pixels)):
                at = (n * pixels + pixel) * channels
                for k in range(0, channels, step):
                    u, v = load(x, at + k), load(z, at + k)
                    if y is not None:
                        u = v = u - v
                        put(y, at + k, u, past)
                    store(part, k, load(part, k) + u * v)
            _add(total[n], part)
    arrive()


@inlined
def _add(total, part):  # type: ignore[no-untyped-def]
    for k in range(len(total)):
        total[k] += part[k]
