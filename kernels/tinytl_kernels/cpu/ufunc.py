"""NumPy's functions of single numbers, of large arrays, a part on each thread.

NumPy computes them on one, but lets go of Python's lock meanwhile. Only a number for
each image and channel, beside images that are channels last, has a loop here: NumPy's
begins anew at every pixel, which takes as long as the pixel.
"""

import math

import numpy as np

from ..memory import STREAMED, empty
from ..shapes import window
from ..threads import get_num_threads, run
from . import lines
from .compiled import as_written
from .elementwise import FEW, exp, tanh
from .layout import far_to_near, images, is_channels_last
from .norm import sum_of_all, sum_per_channel
from .norm_vectors import put
from .pool_sums import sum_pool
from .simd import arrive, lanes, load

Array = np.ndarray

TOGETHER = 1 << 15  # numbers that NumPy adds up at a time


def ufunc(name: str, *arrays: Array) -> Array:
    """NumPy's function of this name, of one array or two; see plain.ufunc.

    The result lies in memory as the larger of the two does; of two that are as large,
    as the one whose numbers are all there: a repeated one's order means nothing.
    """
    function = getattr(np, name)
    big, *others = sorted(arrays, key=_rank, reverse=True)
    alike = all(a.dtype == big.dtype and a.ndim in (0, big.ndim) for a in others)
    wide = np.broadcast_shapes(*(a.shape for a in arrays)) == big.shape
    if not (alike and wide and big.ndim > 1 and big.dtype.kind == "f"):
        return function(*arrays)
    ours = name in ("add", "multiply") or (name == "subtract" and big is arrays[0])
    if ours and _one_each(big, others[0]):
        return _with_one_each(name, big, others[0])
    if name in ("exp", "tanh") and big.dtype == np.float32 and big.size >= FEW:
        return exp(big) if name == "exp" else tanh(big)
    if get_num_threads() == 1:
        return function(*arrays)
    y, warned = np.empty_like(big), np.geterr()

    def part(first: int, last: int) -> None:
        own = [a[first:last] if a.shape[:1] == y.shape[:1] else a for a in arrays]
        with np.errstate(**warned):  # the caller's: a thread has its own
            function(*own, out=y[first:last])

    run(part, len(y), work=y.size)
    return y


def add_to(y: Array, z: Array) -> Array:
    """y + z in the memory of y; see plain.add_to."""

    def part(first: int, last: int) -> None:
        np.add(y[first:last], z[first:last], out=y[first:last])

    run(part, len(y), work=y.size)
    return y


def total(x: Array, axes: tuple[int, ...]) -> Array:
    """Sum over `axes`, which stay, with size 1; see plain.total.

    Sums of everything, of channels and of images have loops of their own. Else the
    first axis is added up last, so the number of threads does not show in the sum.
    """
    inner, near = tuple(k for k in axes if k), x.transpose(far_to_near(x))
    floats = x.dtype in (np.float32, np.float64)
    if len(axes) == x.ndim and floats and near.flags.c_contiguous:
        return np.full((1,) * x.ndim, sum_of_all(near.reshape(-1)), x.dtype)
    if axes == (0, 2, 3) and floats and x.ndim == 4:
        return sum_per_channel(x).reshape(1, -1, 1, 1)
    if axes == (2, 3) and floats and x.size and is_channels_last(x):
        return sum_pool(x, window("sum", x.shape[2:], x.shape[2:]))
    if not inner or x.dtype.kind != "f":
        return x.sum(axis=axes, keepdims=True)
    shape = [1 if k in inner else n for k, n in enumerate(x.shape)]
    count = math.prod(x.shape[k] for k in inner)
    behind = inner == tuple(range(x.ndim - len(inner), x.ndim))
    if behind and floats and x.flags.c_contiguous and count >= lines.LONG:
        y = lines.sums(x.reshape(-1, count)).reshape(shape)
    else:
        y = np.empty(shape, x.dtype)
        some = max(1, TOGETHER // max(count, 1))

        def part(first: int, last: int) -> None:
            for k in range(first * some, min(last * some, len(y)), some):
                own = slice(k, k + some)
                np.sum(x[own], axis=inner, keepdims=True, out=y[own])

        run(part, -(-len(y) // some), work=x.size)
    return y.sum(axis=0, keepdims=True) if 0 in axes else y


def _rank(x: Array) -> tuple[int, int]:
    return x.size, -x.strides.count(0)


def _one_each(x: Array, z: Array) -> bool:
    """Whether z has a number for each image and channel of x, which is channels last.

    And a pixel fills a vector, and has others beside it.
    """
    wide = x.dtype.kind == "f" and x.ndim == 4 and x.shape[1] >= lanes(x.dtype)
    fits = wide and z.shape == (*x.shape[:2], 1, 1) != x.shape
    return fits and is_channels_last(x)


def _with_one_each(name: str, x: Array, z: Array) -> Array:
    """x + z, x - z or x * z, where z is (N,C,1,1)."""
    n, c, h, w = x.shape
    y = empty((n, h, w, c), x.dtype)
    signed = np.negative(z) if name == "subtract" else np.ascontiguousarray(z)
    past = y.nbytes + x.nbytes > STREAMED or None
    product = 1 if name == "multiply" else None
    flat = (a.reshape(-1) for a in (y, x.transpose(0, 2, 3, 1), signed))
    shape = h * w, c, lanes(x.dtype)
    run(_each_pixel, n, shape, past, product, *flat, work=x.size)
    return images(y)


@as_written
def _each_pixel(first, last, shape, past, product, y, x, z):  # type: ignore[no-untyped-def]
    """Images first..last-1, in vectors; a pixel's last one overlaps the one before."""
    pixels, channels, step = shape
    for n in range(first, last):
        for pixel in range(n * pixels, (n + 1) * pixels):
            for k in range(0, channels, step):
                k = min(k, channels - step)
                at = pixel * channels + k
                u, v = load(x, at), load(z, n * channels + k)
                put(y, at, u + v if product is None else u * v, past)
    arrive()
