"""Products of large matrices, with the blocks that convolutions are made of.

BLAS has threads of its own, which stay awake after a product and take the cores from
ours, and it may have been built for an older processor than this one.
"""

import numpy as np

from ..memory import empty
from ..threads import PRODUCTS, run
from .compiled import as_written
from .product import ROWS, block, pack, panel
from .simd import BITS

Array = np.ndarray

SMALL = 1 << 18  # products below which BLAS, on one thread, is faster


def matmul(x: Array, z: Array) -> Array:
    """Y = X Z over the last two dimensions; see plain.matmul."""
    ours = x.ndim == z.ndim == 2 and x.dtype in (np.float32, np.float64)
    rows, depth = x.shape[-2:]
    columns = z.shape[-1]
    if not ours or rows < ROWS or not depth or rows * depth * columns < SMALL:
        return x @ z
    by_columns = x.T.flags.c_contiguous
    numbers = np.ascontiguousarray(x.T if by_columns else x).reshape(-1)
    steps = (1, rows) if by_columns else (depth, 1)
    width = panel(columns, x.dtype)
    y = empty((rows, columns), x.dtype)
    run(
        _multiply,
        -(-rows // ROWS),
        (numbers, *steps),
        (pack(z, width, overlap=True), depth, width),
        y,
        scratch=(ROWS * width, x.dtype),
        work=rows * depth * columns // PRODUCTS,
    )
    return y


@as_written
def _multiply(first, last, scratch, x, z, y):  # type: ignore[no-untyped-def]
    """Blocks of rows first..last-1; the last block may overlap the one before."""
    numbers, row, step = x
    packed, depth, width = z
    rows, columns = y.shape
    flat = y.reshape(-1)
    for k in range(first, last):
        i = min(k * ROWS, rows - ROWS)
        a = (numbers, i * row, row, 0, step)
        for q in range(0, columns, width):
            b = (packed, q * depth, 0, width)
            c = (flat, i * columns + min(q, columns - width), columns)
            if width > columns:
                c = (scratch, 0, width)
            if width > BITS // 8 // y.itemsize:
                block(ROWS, 2, (1, depth), a, b, c, False)
            else:
                block(ROWS, 1, (1, depth), a, b, c, False)
        if width > columns:
            for r in range(ROWS):
                for j in range(columns):
                    y[i + r, j] = scratch[r * width + j]
