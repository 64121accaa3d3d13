"""Small matrix products in registers: what every convolution here is made of.

    C[i, j] (+)= sum over k of A[i, k] * B[k, j]

for a block of C that fits into the processor's registers: ROWS x 2 vectors, or TALL x 1
where there are few columns. Either may be half a vector wider, with two rows in one
vector: then 24 columns cost no more than they must, where a vector has 16. With 16
registers ROWS x 3 vectors fill them, and products of large matrices are made of these.

While k runs, the row of B is loaded once, and each of A's numbers is spread over a
vector and multiplied with it. That is two fused instructions a cycle, all that a core
can do; nothing is written before the sum is complete.

A may lie in memory in any way (i and k have their own steps). B is *packed*: panels of
as many columns as the block is wide, one row of the panel after the other, filled up
with zeros. Then B streams through the first cache, and one panel serves all rows of A.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..memory import empty
from .block import emitted
from .compiled import as_written
from .simd import (
    BITS,
    compiled_as,
    lanes,
    load,
    store,
    turn,
)

Array = np.ndarray

ROWS, TALL = (4, 8) if BITS == 256 else (8, 16)  # 16 registers hold less than 32
WIDE = 3 if BITS == 256 else 2  # vectors in a row, where wider blocks are welcome
FEWER, MORE = (3, 5) if BITS == 256 else (7, 10)  # for lines that ROWS do not divide


@intrinsic(prefer_literal=True)
def _product(
    typing: Any,
    rows: Any,
    halves: Any,
    depth: Any,
    a: Any,
    b: Any,
    c: Any,
    add: Any,
) -> Any:
    emit = emitted(rows.literal_value, halves.literal_value)
    return types.void(rows, halves, depth, a, b, c, add), emit


@compiled_as(_product)
def block(
    rows: int,
    halves: int,
    depth: tuple[int, int],
    a: tuple[Array, int, int, int, int],
    b: tuple[Array, int, int, int],
    c: tuple[Array, int, int],
    add: bool | tuple[Array, int, int],
) -> None:
    """c[i, j] = sum over k of a[i, k] * b[k, j], with `add` added.

    k runs through two loops, so that a's numbers may lie in several runs of memory.
    The sum begins with 0 and meets `add` at its end: a long sum made of several blocks
    then rounds as often as its longest part and its parts together.

    Args:
        rows, halves: the block's size, its width in halves of a vector; numbers written
            in the call. Where a half is left over, two rows, of an even number, share a
            vector.
        depth: how often the outer and the inner loop over k runs.
        a: flat array, place of a[0, 0], step from i to i + 1, steps of the two loops.
        b: flat array, place of b[0, 0], steps of the two loops.
        c: flat array, place of c[0, 0], step from i to i + 1.
        add: whether to add what c holds; or what else to add, in the form of c. (A
            bias is the same in each row: its step is 0.)
    """
    (left, a0, a_row, *a_steps), (right, b0, *b_steps), (out, c0, c_row) = a, b, c
    i, j = np.arange(rows)[:, None], np.arange(halves * lanes(left.dtype) // 2)
    outer, inner = (np.ravel(k) for k in np.indices(depth))
    numbers = left[a0 + a_row * i + a_steps[0] * outer + a_steps[1] * inner]
    panels = right[b0 + (b_steps[0] * outer + b_steps[1] * inner)[:, None] + j]
    place = c0 + c_row * i + j
    more, start, step = add if isinstance(add, tuple) else c
    with np.errstate(all="ignore"):  # rows that nobody will read may hold anything
        out[place] = numbers @ panels + (more[start + step * i + j] if add else 0)


def panel(columns: int, dtype: Any) -> int:
    """Width of the panels that B is packed in: two vectors, or one where that does."""
    one = lanes(dtype)
    return one if columns <= one else 2 * one


def high(width: int, one: int) -> int:
    """Rows of a block whose panels have so many columns, a vector having `one`."""
    return ROWS if width > one else TALL


def filled(n: int, step: int) -> int:
    """n, rounded up to a multiple of `step`."""
    return -(-n // step) * step


def bias_row(b: Array | None, filters: int, dtype: Any) -> Array:
    """What to add to each row of a product; with zeros where its panels reach behind.

    All zeros where there is no bias: adding them costs nothing beside a product.
    """
    row = np.zeros(filters + 2 * lanes(dtype), dtype)
    if b is not None:
        row[:filters] = b
    return row


@as_written
def multiply(rows, columns, depth, width, a, b, c, add):  # type: ignore[no-untyped-def]
    """C (+)= A B, block by block; A is (flat array, start, row step, k step).

    `rows` is a multiple of TALL and `columns` of `width`, the panels' width; b is the
    flat array of packed panels, and where they begin.
    """
    left, a0, a_row, a_step = a
    right, b0 = b
    out, c0, c_row = c
    wide = width > BITS // 8 // left.itemsize
    for j in range(0, columns, width):
        down = (right, b0 + j * depth, 0, width)
        for i in range(0, rows, ROWS if wide else TALL):
            along = (left, a0 + i * a_row, a_row, 0, a_step)
            place = (out, c0 + i * c_row + j, c_row)
            if wide:
                block(ROWS, 4, (1, depth), along, down, place, add)
            else:
                block(TALL, 2, (1, depth), along, down, place, add)


class Panels(NamedTuple):
    """How a matrix is packed whose last panels may be narrower or wider."""

    starts: Array  # first column of each panel
    widths: Array  # in columns: two vectors or one, and half a vector more in the last
    places: Array  # first column of each panel, where they lie side by side
    columns: int  # of all panels together
    wide: int  # so many have at least two vectors: the first ones


@functools.lru_cache(maxsize=256)
def panels(columns: int, dtype: Any, wider: bool = False) -> Panels:
    """Panels of two vectors as far as they go, and what is best for the rest.

    If `wider` ones are welcome, the last may be half a vector wider than the others;
    or, with 16 registers, all but one or two have three vectors: two additions begin
    in a cycle and take four, so that no more than 4 x 2 sums wait for one another.

    The last one ends with the matrix, and begins further to the left if it must: these
    columns are computed twice, and nothing is written beside the matrix. Only a matrix
    narrower than a vector is filled up with zeros.
    """
    one = lanes(dtype)
    half = one // 2
    wide, rest = divmod(columns, 2 * one)
    widths = [2 * one] * wide
    if wider and WIDE == 3 and columns >= 3 * one:
        vectors = -(-columns // one)
        two = (0, 2, 1)[vectors % 3]  # panels of two vectors, so that others have three
        widths = [3 * one] * ((vectors - 2 * two) // 3) + [2 * one] * two
    elif wider and 0 < rest <= half and columns >= 2 * one + half:
        widths[-1] += half
    elif wider and rest == one + half:
        widths.append(rest)
    elif wide and rest > one:
        widths.append(2 * one)
    elif rest:
        widths += [one] * (1 + (rest > one))
    ends = np.cumsum(widths, dtype=np.intp)
    starts = np.maximum(np.minimum(ends, columns) - widths, 0)
    wide = sum(width >= 2 * one for width in widths)
    return Panels(starts, np.array(widths), ends - widths, sum(widths), wide)


def pack_panels(matrix: Array, by: Panels) -> Array:
    """(K, F) in these panels, one after the other; flat."""
    matrix = widened(matrix)
    numbers, turned = by_rows(matrix)
    packed = empty((len(matrix) * by.columns,), matrix.dtype)
    all_panels, all_rows = (0, len(by.starts)), (0, len(matrix))
    pack_part(packed, 0, numbers, turned, matrix.shape, all_panels, all_rows, by)
    return packed


def widened(x: Array) -> Array:
    """The array, its last axis filled up with zeros to one vector at least."""
    *others, last = x.shape
    if last >= lanes(x.dtype):
        return x
    wide = np.zeros((*others, lanes(x.dtype)), x.dtype)
    wide[..., :last] = x
    return wide


def by_rows(matrix: Array) -> tuple[Array, bool]:
    """The numbers as they lie in memory, flat, and whether that is column by column."""
    turned = matrix.T.flags.c_contiguous
    numbers = matrix.T if turned else np.ascontiguousarray(matrix)
    return numbers.reshape(-1), turned


@as_written
def pack_part(packed, to, numbers, turned, shape, panels, rows, by):  # type: ignore[no-untyped-def]
    """Some panels of some rows of a matrix, one panel after the other, from `to` on.

    Args:
        packed, to: flat array, and where the panels begin in it.
        numbers, turned: what ``by_rows`` returns of the matrix.
        shape: of the matrix.
        panels, rows: the first one and the end.
        by: all its panels.
    """
    one, (high, columns) = BITS // 8 // numbers.itemsize, shape
    depth = rows[1] - rows[0]
    if not turned:  # row after row, as they lie in memory
        for k in range(depth):
            for q in range(*panels):
                width, at = by.widths[q], (rows[0] + k) * columns + by.starts[q]
                out = to + (by.places[q] - by.places[panels[0]]) * depth + k * width
                for right in range(0, width, one):
                    vector = min(right, width - one)
                    store(packed, out + vector, load(numbers, at + vector))
        return
    for q in range(*panels):
        width = by.widths[q]
        for right in range(0, width, one):  # vectors of a wider panel overlap
            vector = min(right, width - one)
            out, at = to + vector, (by.starts[q] + vector) * high + rows[0]
            if depth < one:
                for k in range(depth):
                    for j in range(one):
                        packed[out + k * width + j] = numbers[at + j * high + k]
            else:
                for first in range(0, depth, one):
                    k = min(first, depth - one)
                    turn(packed, out + k * width, width, numbers, at + k, high)
        to += depth * width


def unpack(columns: Array, by: Panels, number: int) -> Array:
    """The matrix of so many columns whose panels lie side by side, (..., columns)."""
    matrix = np.empty((*columns.shape[:-1], number), columns.dtype)
    for start, width, place in zip(by.starts, by.widths, by.places, strict=True):
        width = min(width, number)
        matrix[..., start : start + width] = columns[..., place : place + width]
    return matrix


def pack(matrix: Array, width: int) -> Array:
    """(K, F) in panels of `width` columns, filled up with zeros; flat."""
    depth, filters = matrix.shape
    whole = filters // width
    packed = np.zeros((-(-filters // width), depth, width), matrix.dtype)
    parts = matrix[:, : whole * width].reshape(depth, whole, width)
    packed[:whole] = parts.transpose(1, 0, 2)
    if whole < len(packed):
        packed[whole, :, : filters - whole * width] = matrix[:, whole * width :]
    return packed.reshape(-1)
