"""Arrays one after the other, copied in whole vectors; see plain/join.py.

A row of the result is what lies inside of `axis`, of one array after the other. Side by
side, the channels of images that are channels last are short rows, as many as pixels:
NumPy begins anew at each.
"""

import math
from collections.abc import Sequence

import numpy as np

from .. import plain
from ..memory import STREAMED, empty
from ..threads import run
from .compiled import as_written
from .norm_vectors import put
from .simd import arrive, lanes, load

Array = np.ndarray

SMALL = 1 << 17  # numbers of a result that NumPy has joined before a loop is started


def concatenate(arrays: Sequence[Array], axis: int) -> Array:
    """Arrays one after the other along `axis`: see plain.concatenate."""
    first, count = arrays[0], sum(x.size for x in arrays)
    rows = math.prod(first.shape[:axis])
    if (
        count < SMALL
        or rows == 1
        or not all(_fits(x, first.dtype, rows) for x in arrays)
    ):
        return plain.concatenate(arrays, axis)
    length = sum(x.shape[axis] for x in arrays)
    y = empty((*first.shape[:axis], length, *first.shape[axis + 1 :]), first.dtype)
    past = 2 * y.nbytes > STREAMED or None
    start, flat = 0, y.reshape(-1)
    for x in arrays:
        own = x.size // rows
        shape = count // rows, start, own, lanes(x.dtype)
        run(_copy, rows, flat, x.reshape(-1), shape, past, work=x.size)
        start += own
    return y


def _fits(x: Array, dtype: np.dtype, rows: int) -> bool:
    """Whether x has no gaps, and its rows fill a vector at least."""
    alike = x.dtype == dtype and x.dtype.kind == "f" and x.flags.c_contiguous
    return alike and x.size >= rows * lanes(dtype)


@as_written
def _copy(first, last, y, x, shape, past):  # type: ignore[no-untyped-def]
    """Rows of x; the last vector of a row overlaps the one before."""
    wide, start, own, step = shape
    for row in range(first, last):
        for k in range(0, own, step):
            k = min(k, own - step)
            put(y, row * wide + start + k, load(x, row * own + k), past)
    arrive()
