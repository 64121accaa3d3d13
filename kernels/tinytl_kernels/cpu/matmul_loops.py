"""The loops of a product of large matrices, Y = X Z, in parts that stay in the caches.

A block of Y is a few rows of X times a panel of Z, in registers (product.py). Each few
rows meet all of Z, and a large Z would come from memory each time. So a part of it,
DEPTH rows of some panels, is packed, stays in the second cache, and meets all rows of X
before the next part comes. Where X lies column by column, a few rows of it are packed
as well, and stay in the first cache.

Rows or columns that are no whole number of blocks have a last block that overlaps the
one before. With Z in several parts, it would add to sums that already have the part. So
such a block is made aside, and only what is new in it becomes Y's.

Source: Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication".
"""

from .compiled import as_written, inlined
from .product import ROWS, TALL, block, pack_part
from .simd import BITS, fetch_run, load, store

DEPTH = 256  # rows of Z in a part
WIDEST = 3  # vectors in a row of a block, at most
ASKS = TALL > 8  # whether a block asks for the memory of the next one


@as_written
def multiply(first, last, scratch, x, z, bias, y, by, rule):  # type: ignore[no-untyped-def]
    """Blocks of rows first..last-1, all columns; or panels first..last-1, all rows."""
    (right, turned, shape), (tall, deep, together) = z, rule
    begin, end = (0, len(by.starts)) if tall else (first, last)
    top, bottom = (first, last) if tall else (0, (len(y) + TALL - 1) // TALL)
    aside = BITS // 8 // y.itemsize * WIDEST * TALL
    packed = aside + TALL * deep
    for q in range(begin, end, together):
        some = (q, min(q + together, end))
        for k in range(0, shape[0], deep):
            terms = (k, min(k + deep, shape[0]))
            pack_part(scratch, packed, right, turned, shape, some, terms, by)
            for r in range(top, bottom):
                i = min(r * TALL, len(y) - TALL)
                a = _block_of_rows(scratch, aside, x, i, terms)
                place = (i, r * TALL - i, packed)
                _multiply_block(x, a, scratch, bias, y, place, by, some, terms, shape)


@inlined
def _block_of_rows(scratch, aside, x, i, terms):  # type: ignore[no-untyped-def]
    """TALL rows of x from i on: numbers, place, step of the rows and of the terms."""
    numbers, row, step = x
    if step == 1:
        return numbers, i * row + terms[0], row, step
    for k in range(terms[1] - terms[0]):
        at, to = i + (terms[0] + k) * step, aside + k * TALL
        for s in range(0, TALL, BITS // 8 // numbers.itemsize):
            store(scratch, to + s, load(numbers, at + s))
    return scratch, aside, 1, TALL


@inlined
def _multiply_block(x, a, scratch, bias, y, place, by, some, terms, shape):  # type: ignore[no-untyped-def]
    """A block of rows with some panels, the sum over some terms.

    All rows of a block are read at once, a number of each. With sixteen of them that
    looks like no order to the processor, so each panel asks for a share of the block
    that comes next; eight it foresees, and asking only takes time.
    """
    (left, start, row, step), (i, above, packed), columns = a, place, y.shape[1]
    flat, one, depth = y.reshape(-1), BITS // 8 // y.itemsize, terms[1] - terms[0]
    share = (TALL + some[1] - some[0] - 1) // (some[1] - some[0])
    for q in range(*some):
        j, width = by.starts[q], by.widths[q]
        if ASKS and x[2] == 1:
            ahead = i + TALL + (q - some[0]) * share
            for s in range(ahead, min(ahead + share, i + 2 * TALL)):
                fetch_run(x[0], s * x[1] + terms[0], depth)
        if ASKS:
            fetch_run(flat, (i + TALL) * columns + TALL * by.places[q], TALL * width)
        before = by.starts[q - 1] + by.widths[q - 1] - j if q else 0
        new = (above, before, min(width, columns - j))
        overlaps = above + before > 0 and depth < shape[0]
        apart = overlaps or columns < one
        if apart and terms[0]:
            _copy(y, i, j, scratch, width, new, False)
        for s in range(0, TALL, ROWS if q < by.wide else TALL):
            rows = (left, start + s * row, row, 0, step)
            b = (scratch, packed, 0, width)
            to = (flat, (i + s) * columns + j, columns)
            c = (scratch, s * width, width) if apart else to
            given = (bias, j, 0)
            begin = c if terms[0] else given
            if width == one:
                block(TALL, 2, (1, depth), rows, b, c, begin)
            elif q >= by.wide:
                block(TALL, 3, (1, depth), rows, b, c, begin)
            elif width == 2 * one:
                block(ROWS, 4, (1, depth), rows, b, c, begin)
            elif width == 3 * one:
                block(ROWS, 6, (1, depth), rows, b, c, begin)
            else:
                block(ROWS, 5, (1, depth), rows, b, c, begin)
        if apart:
            _copy(y, i, j, scratch, width, new, True)
        packed += depth * width


@as_written
def _copy(y, i, j, aside, width, new, back):  # type: ignore[no-untyped-def]
    """What is new in a block that overlaps others: aside, or back to y."""
    above, before, end = new
    for s in range(above, TALL):
        for k in range(before, end):
            if back:
                y[i + s, j + k] = aside[s * width + k]
            else:
                aside[s * width + k] = y[i + s, j + k]
