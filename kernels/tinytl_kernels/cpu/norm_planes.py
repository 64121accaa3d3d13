"""Sums of norm.py for images in the order (N,C,H,W): a channel's plane at a time.

`by` holds the channels' mean, scale and shift, one kind after the other, `relu` is 1 or
None. Totals are (chunk, sum, channel). All other arrays are flat. The last vector of a
plane begins earlier where it must, and `new` says which of its numbers were not counted
before; None where planes are whole vectors.
"""

from .compiled import as_written, inlined
from .norm_lanes import CHUNKS
from .norm_vectors import everywhere, gated, total, where_positive
from .simd import load, zero

TOGETHER = 4096  # numbers of a plane that are added up in the dtype of x


@as_written
def _values(first, last, step, new, size, relu, by, totals, x):  # type: ignore[no-untyped-def]
    channels = totals.shape[2]
    for chunk in range(first, last):
        for row in _rows(chunk, len(x) // size):
            for begin in range(row * size, row * size + size, TOGETHER):
                end = min(begin + TOGETHER, row * size + size)
                s = zero(x)
                for k in range(begin, end, step):
                    at = min(k, end - step)
                    s = s + _new(load(x, at), at < k, new)
                totals[chunk, 0, row % channels] += total(s)


@as_written
def _moments(first, last, step, new, size, relu, by, totals, x):  # type: ignore[no-untyped-def]
    channels = totals.shape[2]
    for chunk in range(first, last):
        for row in _rows(chunk, len(x) // size):
            channel = row % channels
            start = everywhere(by, channel)
            for begin in range(row * size, row * size + size, TOGETHER):
                end = min(begin + TOGETHER, row * size + size)
                s0, s1 = zero(x), zero(x)
                for k in range(begin, end, step):
                    at = min(k, end - step)
                    c = _new(load(x, at) - start, at < k, new)
                    s0, s1 = s0 + c, s1 + c * c
                totals[chunk, 0, channel] += total(s0)
                totals[chunk, 1, channel] += total(s1)


@as_written
def _sums(first, last, step, new, size, relu, by, totals, x, g):  # type: ignore[no-untyped-def]
    channels = totals.shape[2]
    for chunk in range(first, last):
        for row in _rows(chunk, len(x) // size):
            channel = row % channels
            mean, scale = everywhere(by, channel), everywhere(by, channels + channel)
            shift = everywhere(by, 2 * channels + channel)
            for begin in range(row * size, row * size + size, TOGETHER):
                end = min(begin + TOGETHER, row * size + size)
                s0, s1 = zero(x), zero(x)
                for k in range(begin, end, step):
                    at = min(k, end - step)
                    c = _new(load(x, at) - mean, at < k, new)
                    kept = gated(load(g, at), c, scale, shift, relu)
                    kept = _new(kept, at < k, new)
                    s0, s1 = s0 + kept, s1 + kept * c
                totals[chunk, 0, channel] += total(s0)
                totals[chunk, 1, channel] += total(s1)


@as_written
def _sums2(first, last, step, new, size, relu, by, totals, x, g, h):  # type: ignore[no-untyped-def]
    channels = totals.shape[2]
    for chunk in range(first, last):
        for row in _rows(chunk, len(x) // size):
            channel = row % channels
            mean, scale = everywhere(by, channel), everywhere(by, channels + channel)
            shift = everywhere(by, 2 * channels + channel)
            for begin in range(row * size, row * size + size, TOGETHER):
                end = min(begin + TOGETHER, row * size + size)
                s0, s1, s2, s3, s4 = zero(x), zero(x), zero(x), zero(x), zero(x)
                for k in range(begin, end, step):
                    at = min(k, end - step)
                    c = _new(load(x, at) - mean, at < k, new)
                    kept = gated(load(g, at), c, scale, shift, relu)
                    kept = _new(kept, at < k, new)
                    other = _new(load(h, at), at < k, new)
                    s0, s1 = s0 + kept, s1 + kept * c
                    s2, s3, s4 = s2 + other, s3 + other * c, s4 + other * kept
                for i, s in enumerate((s0, s1, s2, s3, s4)):
                    totals[chunk, i, channel] += total(s)


@inlined
def _rows(chunk, rows):  # type: ignore[no-untyped-def]
    """The chunk's share of so many rows."""
    return range(rows * chunk // CHUNKS, rows * (chunk + 1) // CHUNKS)


@inlined
def _new(v, again, new):  # type: ignore[no-untyped-def]
    """v, or 0 where it was counted before if this vector begins earlier."""
    if new is None:
        return v
    return where_positive(load(new, 0), v) if again else v


LOOPS = {
    "values": _values,
    "moments": _moments,
    "sums": _sums,
    "sums2": _sums2,
}
