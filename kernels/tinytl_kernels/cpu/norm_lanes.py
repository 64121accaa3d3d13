"""Sums of norm.py for images that are channels last: rows of lanes.

`by` holds the lanes' mean, scale and shift, one kind after the other, `relu` is 1 or
None. Totals are (chunk, sum, lane). All other arrays are flat. A thread adds up some
rows in the dtype of x, in `part`, before they go to float64. In values, moments and
sums, where nothing but memory should limit, UNROLLED vectors of a row stay in registers
meanwhile, and so their sums do not wait for one another either.
"""

from .compiled import as_written, inlined
from .norm_vectors import gated
from .simd import load, store, zero

CHUNKS = 32  # partial sums of a channel
TOGETHER = 1 << 14  # numbers of some rows that are added up in the dtype of x
UNROLLED = 4
FAR = 16  # times the variance: of 17 parts of the squares, 16 cancel


@as_written
def _values(first, last, part, step, relu, by, totals, x):  # type: ignore[no-untyped-def]
    size = totals.shape[2]
    for chunk in range(first, last):
        rows = _rows(chunk, len(x) // size, size)
        for row in rows:
            end = min(row + rows.step, rows.stop)
            for k in range(0, size, UNROLLED * step):
                a0, a1, a2, a3 = zero(x), zero(x), zero(x), zero(x)
                for r in range(row, end):
                    at = r * size + k
                    a0, a1 = a0 + load(x, at), a1 + load(x, at + step)
                    at += 2 * step
                    a2, a3 = a2 + load(x, at), a3 + load(x, at + step)
                _keep(part, k, step, a0, a1, a2, a3)
            _add(totals, chunk, part)


@as_written
def _moments(first, last, part, step, relu, by, totals, x):  # type: ignore[no-untyped-def]
    size = totals.shape[2]
    for chunk in range(first, last):
        rows = _rows(chunk, len(x) // size, size)
        for row in rows:
            end = min(row + rows.step, rows.stop)
            for k in range(0, size, UNROLLED * step):
                a0, a1, a2, a3 = zero(x), zero(x), zero(x), zero(x)
                b0, b1, b2, b3 = zero(x), zero(x), zero(x), zero(x)
                for r in range(row, end):
                    at = r * size
                    a0, b0 = _moment(a0, b0, x, at, by, k)
                    a1, b1 = _moment(a1, b1, x, at, by, k + step)
                    a2, b2 = _moment(a2, b2, x, at, by, k + 2 * step)
                    a3, b3 = _moment(a3, b3, x, at, by, k + 3 * step)
                _keep(part, k, step, a0, a1, a2, a3)
                _keep(part, size + k, step, b0, b1, b2, b3)
            _add(totals, chunk, part)


@inlined
def _moment(a, b, x, at, by, k):  # type: ignore[no-untyped-def]
    c = load(x, at + k) - load(by, k)
    return a + c, b + c * c


@as_written
def _sums(first, last, part, step, relu, by, totals, x, g):  # type: ignore[no-untyped-def]
    size = totals.shape[2]
    for chunk in range(first, last):
        rows = _rows(chunk, len(x) // size, size)
        for row in rows:
            end = min(row + rows.step, rows.stop)
            for k in range(0, size, UNROLLED * step):
                a0, a1, a2, a3 = zero(x), zero(x), zero(x), zero(x)
                b0, b1, b2, b3 = zero(x), zero(x), zero(x), zero(x)
                for r in range(row, end):
                    at = r * size
                    a0, b0 = _sum(a0, b0, x, g, at, by, size, k, relu)
                    a1, b1 = _sum(a1, b1, x, g, at, by, size, k + step, relu)
                    a2, b2 = _sum(a2, b2, x, g, at, by, size, k + 2 * step, relu)
                    a3, b3 = _sum(a3, b3, x, g, at, by, size, k + 3 * step, relu)
                _keep(part, k, step, a0, a1, a2, a3)
                _keep(part, size + k, step, b0, b1, b2, b3)
            _add(totals, chunk, part)


@inlined
def _sum(a, b, x, g, at, by, size, k, relu):  # type: ignore[no-untyped-def]
    c = load(x, at + k) - load(by, k)
    scale, shift = load(by, size + k), load(by, 2 * size + k)
    kept = gated(load(g, at + k), c, scale, shift, relu)
    return a + kept, b + kept * c


@as_written
def _sums2(first, last, part, step, relu, by, totals, x, g, h):  # type: ignore[no-untyped-def]
    size = totals.shape[2]
    for chunk in range(first, last):
        rows = _rows(chunk, len(x) // size, size)
        for row in rows:
            end = min(row + rows.step, rows.stop)
            for k in range(0, size, step):
                s0, s1, s2, s3, s4 = zero(x), zero(x), zero(x), zero(x), zero(x)
                mean, scale = load(by, k), load(by, size + k)
                shift = load(by, 2 * size + k)
                for r in range(row, end):
                    c = load(x, r * size + k) - mean
                    kept = gated(load(g, r * size + k), c, scale, shift, relu)
                    other = load(h, r * size + k)
                    s0, s1 = s0 + kept, s1 + kept * c
                    s2, s3, s4 = s2 + other, s3 + other * c, s4 + other * kept
                for i, s in enumerate((s0, s1, s2, s3, s4)):
                    store(part, i * size + k, s)
            _add(totals, chunk, part)


@as_written
def add_up(totals, sums):  # type: ignore[no-untyped-def]
    """Totals of all chunks, and of all lanes of a channel: (sum, channel)."""
    count, channels = sums.shape
    for chunk in range(CHUNKS):
        for i in range(count):
            for k in range(0, totals.shape[2], channels):
                more = totals[chunk, i, k : k + channels]
                for c in range(channels):
                    sums[i, c] += more[c]


@as_written
def mean_and_variance(sums, count, start, mean, variance):  # type: ignore[no-untyped-def]
    """From the sums of x - start and of its square; NaN stays what it is.

    Returns whether a start was so far from the mean that digits have cancelled, or a
    mean is NaN.
    """
    far = False
    for c in range(len(start)):
        away = sums[0, c] / count
        spread = sums[1, c] / count - away * away
        mean[c], variance[c] = away + start[c], 0 if spread < 0 else spread
        far = far or not away * away <= FAR * spread
    return far


@inlined
def _rows(chunk, rows, size):  # type: ignore[no-untyped-def]
    """The chunk's share of so many rows, as far apart as many are added up together."""
    together = max(TOGETHER // size, 1)
    return range(rows * chunk // CHUNKS, rows * (chunk + 1) // CHUNKS, together)


@inlined
def _keep(part, k, step, s0, s1, s2, s3):  # type: ignore[no-untyped-def]
    for i, s in enumerate((s0, s1, s2, s3)):
        store(part, k + i * step, s)


@inlined
def _add(totals, chunk, part):  # type: ignore[no-untyped-def]
    """Add what was summed to the chunk's totals."""
    size = totals.shape[2]
    for i in range(totals.shape[1]):
        to, more = totals[chunk, i], part[i * size : (i + 1) * size]
        for k in range(size):
            to[k] += more[k]


LOOPS = {
    "values": _values,
    "moments": _moments,
    "sums": _sums,
    "sums2": _sums2,
}
