"""Products of large matrices, with the blocks that convolutions are made of.

BLAS has threads of its own, which stay awake after a product and take the cores from
ours, and it may have been built for an older processor than this one.
"""

import math

import numpy as np

from .. import threads
from ..memory import empty
from ..threads import PRODUCTS, get_num_threads, run, workspace
from . import matmul_loops as loops
from .compiled import as_written
from .product import ROWS, TALL, bias_row, block, by_rows, panels, unpack, widened
from .simd import BITS, fetch_run, lanes
from .ufunc import add_to

Array = np.ndarray

SMALL = 1 << 18  # products below which BLAS, on one thread, is faster
VECTOR = 9 << 10  # the same for a single row or column: BLAS wakes its threads sooner
DOT = 10_000  # the longest dot product that BLAS computes on one thread
NEAR = 1 << 18  # bytes of Z that are packed at a time
SHARED = 384  # columns of which each thread has so many that wide panels are fair
STRIP = 64  # rows of tall matrices that are in the first caches at a time


def matmul(x: Array, z: Array) -> Array:
    """Y = X Z over the last two dimensions; see plain.matmul.

    With few rows, Y^T = Z^T X^T. A vector that is met by rows which lie in memory has a
    dot product with each of them.
    """
    if x.ndim > 2 or z.ndim > 2:
        return _stacks(x, z)
    rows, depth = x.shape
    if not _large(x, z):
        return x * z if 1 == depth == len(z) else x @ z
    if rows == 1 and depth <= DOT and z.T.flags.c_contiguous:
        return _dots(z.T, x)[None]
    if z.shape[1] == 1 and depth <= DOT and x.flags.c_contiguous:
        return _dots(x, z.T)[:, None]
    if rows < TALL:
        return np.ascontiguousarray(matmul(z.T, x.T).T)
    return _product(x, z, None)


def affine(x: Array, z: Array, b: Array | None = None) -> Array:
    """Y = X Z, with b added to each row if it is not None; see matmul.

    Blocks of a product begin with b; what BLAS multiplies meets it afterwards.
    """
    if b is None:
        return matmul(x, z)
    if _large(x, z) and len(x) >= TALL and z.shape[1] > 1:
        return _product(x, z, b)
    return matmul(x, z) + b


def _large(x: Array, z: Array) -> bool:
    """Whether a compiled form is faster, or BLAS would wake its threads."""
    (rows, depth), columns = x.shape, z.shape[1]
    floats = x.dtype in (np.float32, np.float64)
    least = VECTOR if 1 in (rows, columns) else SMALL
    enough = max(rows, columns) >= TALL and 0 < rows * depth * columns >= least
    return enough and floats


def _stacks(x: Array, z: Array) -> Array:
    """Products of matrix by matrix: the largest one by one, others shared by threads.

    Those are left to BLAS, some rows at a time, so that it wakes no threads of its own.
    """
    if x.shape[-1] == 1 == z.shape[-2]:
        return x * z
    if 0 in x.shape or 0 in z.shape:
        return x @ z
    before, rows = np.broadcast_shapes(x.shape[:-2], z.shape[:-2]), x.shape[-2]
    x, z = (np.broadcast_to(a, (*before, *a.shape[-2:])) for a in (x, z))
    y = empty((*before, rows, z.shape[-1]), x.dtype)
    one, row = (0,) * len(before), math.prod(z.shape[-2:])
    if _large(x[one], z[one]) and rows * row >= PRODUCTS * threads.SMALL:
        for k in np.ndindex(before):
            y[k] = matmul(x[k], z[k])
        return y

    def share(first: int, last: int) -> None:
        left, right, out = x[first:last], z[first:last], y[first:last]
        few = max(1, SMALL // row)
        for r in range(0, rows, few):
            some = (..., slice(r, r + few), slice(None))
            np.matmul(left[some], right, out=out[some])

    run(share, len(y), work=y.size * x.shape[-1] // PRODUCTS)
    return y


def _product(x: Array, z: Array, b: Array | None) -> Array:
    """X Z, with b added to each row; each thread has some rows, or some columns."""
    (rows, depth), columns, one = x.shape, z.shape[1], lanes(x.dtype)
    left, by_columns = by_rows(x)
    right, turned = by_rows(widened(z))
    tall = rows > columns
    by = panels(columns, x.dtype, wider=tall or columns >= SHARED)
    deep = min(depth, loops.DEPTH)
    together = max(1, NEAR // (int(by.widths[0]) * x.itemsize * deep))
    room = loops.WIDEST * TALL * one + (TALL + loops.WIDEST * together * one) * deep
    y = empty((rows, columns), x.dtype)
    run(
        loops.multiply,
        -(-rows // TALL) if tall else len(by.starts),
        (left, *((1, rows) if by_columns else (depth, 1))),
        (right, turned, (depth, max(columns, one))),
        bias_row(b, columns, x.dtype),
        y,
        by,
        (tall, deep, together),
        scratch=(room, x.dtype),
        work=rows * depth * columns // PRODUCTS,
    )
    return y


def _dots(lines: Array, vector: Array) -> Array:
    """Dot products of a vector (1, K) with lines (N, K) -> (N,), by BLAS."""
    y = empty((len(lines),), lines.dtype)

    def share(first: int, last: int) -> None:
        np.vecdot(lines[first:last], vector, out=y[first:last])

    run(share, len(lines), work=lines.size // 4)
    return y


def column_products(x: Array, z: Array) -> Array:
    """X^T Z of two tall matrices: each column of one times each of the other, summed.

    Neither is packed or turned. Each thread adds up its own rows, a strip of them at a
    time, and then the parts are added.

    Args:
        x: (K, M), with M a multiple of TALL.
        z: (K, N), with columns for one vector at least.
    """
    (rows, depth), columns = x.shape, z.shape[1]
    by = panels(columns, x.dtype, wider=True)
    parts = max(1, min(get_num_threads(), rows // STRIP))
    if not rows:
        return np.zeros((depth, columns), x.dtype)
    shape = parts, depth, by.columns
    kept = workspace("column products", math.prod(shape), x.dtype)
    total = kept[: math.prod(shape)].reshape(shape)
    work = rows * depth * columns // PRODUCTS
    run(_add_strips, parts, x, z, total, by, work=work)
    for part in total[1:]:
        add_to(total[0], part)
    return unpack(total[0], by, columns)


@as_written
def _add_strips(first, last, x, z, total, by):  # type: ignore[no-untyped-def]
    """Parts first..last-1 of the sum; a part has its share of the rows.

    The rows are read in no order either, so each block asks for a share of the strip
    that comes next.
    """
    left, right, sums = x.reshape(-1), z.reshape(-1), total.reshape(-1)
    (rows, depth), width = x.shape, z.shape[1]
    parts, _, columns = total.shape
    one = BITS // 8 // total.itemsize
    blocks = by.wide * depth // ROWS + (len(by.starts) - by.wide) * depth // TALL
    shares = STRIP * depth // blocks, STRIP * width // blocks
    for part in range(first, last):
        begin, end = rows * part // parts, rows * (part + 1) // parts
        for row in range(begin, end, STRIP):
            count, add = min(STRIP, end - row), row > begin
            next_x, next_z = (row + STRIP) * depth, (row + STRIP) * width
            for q in range(len(by.starts)):
                wide, size = q < by.wide, by.widths[q]
                b = (right, row * width + by.starts[q], 0, width)
                for k in range(0, depth, ROWS if wide else TALL):
                    fetch_run(left, next_x, shares[0])
                    fetch_run(right, next_z, shares[1])
                    next_x, next_z = next_x + shares[0], next_z + shares[1]
                    a = (left, row * depth + k, 1, 0, depth)
                    c = (sums, (part * depth + k) * columns + by.places[q], columns)
                    if size == one:
                        block(TALL, 2, (1, count), a, b, c, add)
                    elif not wide:
                        block(TALL, 3, (1, count), a, b, c, add)
                    elif size == 2 * one:
                        block(ROWS, 4, (1, count), a, b, c, add)
                    elif size == 3 * one:
                        block(ROWS, 6, (1, count), a, b, c, add)
                    else:
                        block(ROWS, 5, (1, count), a, b, c, add)
