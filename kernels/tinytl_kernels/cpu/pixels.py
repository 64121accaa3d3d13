"""Sums over the pixels of each image and channel; see plain/pixels.py.

They wait for memory, so an array that is needed and summed is written in the same pass.
An image belongs to one thread, so the number of threads does not show in the sums.

Where images are channels last, a vector holds neighbouring channels: some pixels are
added up in their own dtype, and these sums in float64. Other images go to NumPy, a part
on each thread.
"""

import numpy as np

from .. import plain
from ..memory import STREAMED, empty
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
        return _summed(None, x, z, None)
    total = np.empty(x.shape[:2], x.dtype)

    def part(first: int, last: int) -> None:
        total[first:last] = plain.product_sums(x[first:last], z[first:last])

    run(part, len(x), work=x.size)
    return total


def difference_squares(
    x: Array, z: Array, weight: Array | None = None
) -> tuple[Array, Array]:
    """y = x - z, and the sum of weight y^2: see plain.difference_squares."""
    if _fits(x, z, z if weight is None else weight):
        n, c, h, w = x.shape
        y = empty((n, h, w, c), x.dtype)
        return images(y), _summed(y, x, z, weight)
    y = ufunc("subtract", x, z)
    return y, product_sums(y, y if weight is None else ufunc("multiply", y, weight))


def _fits(x: Array, *others: Array) -> bool:
    """Whether all are alike and channels last, and their pixels are whole vectors."""
    whole = x.dtype.kind == "f" and x.ndim == 4 and x.shape[1] % lanes(x.dtype) == 0
    alike = all(a.dtype == x.dtype and a.shape == x.shape for a in others)
    return whole and alike and all(map(is_channels_last, (x, *others)))


def _summed(y: Array | None, x: Array, z: Array, weight: Array | None) -> Array:
    """Sums of x z; where there is y (N,H,W,C), of weight y^2: y becomes x - z."""
    n, c, h, w = x.shape
    total = np.zeros((n, c))
    flat = (None if a is None else a.transpose(0, 2, 3, 1) for a in (x, z, weight))
    arrays = (None if a is None else a.reshape(-1) for a in (y, *flat))
    past = (y is not None and 3 * y.nbytes > STREAMED) or None
    shape = h * w, c, lanes(x.dtype)
    run(_sums, n, shape, past, *arrays, total, work=x.size, scratch=(c, x.dtype))
    return total.astype(x.dtype)


@as_written
def _sums(first, last, part, shape, past, y, x, z, weight, total):  # type: ignore[no-untyped-def]
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
                    if weight is not None:
                        v = load(weight, at + k) * v
                    store(part, k, load(part, k) + u * v)
            _add(total[n], part)
    arrive()


@inlined
def _add(total, part):  # type: ignore[no-untyped-def]
    for k in range(len(total)):
        total[k] += part[k]
