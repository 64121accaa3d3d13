"""Loops of norm.py for images in the order (N,C,H,W): a channel's plane at a time.

`by` holds the channels' mean, scale, shift and weights, `relu` is 1 or None. Totals are
(chunk, sum, channel).
"""

from .compiled import NOTHING, bent, compiled, gated
from .norm_lanes import CHUNKS

TOGETHER = 1024  # numbers that are added up in the dtype of x before they go to float64


@compiled
def _line(first, last, by, relu, y, x):  # type: ignore[no-untyped-def]
    for plane in range(first, last):
        n, c = divmod(plane, x.shape[1])
        mean, scale, shift = by[0, c], by[1, c], by[2, c]
        for k in range(x.shape[2]):
            y[n, c, k] = bent((x[n, c, k] - mean) * scale + shift, relu)


@compiled
def _mix(first, last, by, relu, y, x, g):  # type: ignore[no-untyped-def]
    for plane in range(first, last):
        n, c = divmod(plane, x.shape[1])
        mean, scale, shift = by[0, c], by[1, c], by[2, c]
        u, v, w = by[3, c], by[4, c], by[5, c]
        for k in range(x.shape[2]):
            kept = gated(g[n, c, k], x[n, c, k], mean, scale, shift, relu)
            y[n, c, k] = u * kept + v + w * (x[n, c, k] - mean)


@compiled
def _gated(first, last, by, relu, y, x, g):  # type: ignore[no-untyped-def]
    for plane in range(first, last):
        n, c = divmod(plane, x.shape[1])
        mean, scale, shift = by[0, c], by[1, c], by[2, c]
        u, v, w = by[3, c], by[4, c], by[5, c]
        for k in range(x.shape[2]):
            mixed = u * g[n, c, k] + v + w * (x[n, c, k] - mean)
            y[n, c, k] = gated(mixed, x[n, c, k], mean, scale, shift, relu)


@compiled
def _mix2(first, last, by, relu, y, x, g, h):  # type: ignore[no-untyped-def]
    for plane in range(first, last):
        n, c = divmod(plane, x.shape[1])
        mean, scale, shift = by[0, c], by[1, c], by[2, c]
        u, v, w, t = by[3, c], by[4, c], by[5, c], by[6, c]
        for k in range(x.shape[2]):
            kept = gated(g[n, c, k], x[n, c, k], mean, scale, shift, relu)
            mixed = u * kept + v + w * (x[n, c, k] - mean)
            y[n, c, k] = mixed + t * h[n, c, k]


@compiled
def _moments(first, last, by, relu, totals, x):  # type: ignore[no-untyped-def]
    for chunk in range(first, last):
        for n in range(len(x) * chunk // CHUNKS, len(x) * (chunk + 1) // CHUNKS):
            for c in range(x.shape[1]):
                for k in range(0, x.shape[2], TOGETHER):
                    part = _moments_part(x[n, c, k : k + TOGETHER], by[0, c])
                    _add(totals[chunk], c, part)


@compiled
def _moments_part(x, start):  # type: ignore[no-untyped-def]
    total, squares = NOTHING, NOTHING
    for k in range(len(x)):
        away = x[k] - start
        total += away
        squares += away * away
    return total, squares


@compiled
def _sums(first, last, by, relu, totals, x, g):  # type: ignore[no-untyped-def]
    for chunk in range(first, last):
        for n in range(len(x) * chunk // CHUNKS, len(x) * (chunk + 1) // CHUNKS):
            for c in range(x.shape[1]):
                for k in range(0, x.shape[2], TOGETHER):
                    xs, gs = x[n, c, k : k + TOGETHER], g[n, c, k : k + TOGETHER]
                    _add(totals[chunk], c, _sums_part(by[:, c], relu, xs, gs))


@compiled
def _sums_part(by, relu, x, g):  # type: ignore[no-untyped-def]
    mean, scale, shift = by[0], by[1], by[2]
    total, along = NOTHING, NOTHING
    for k in range(len(x)):
        kept = gated(g[k], x[k], mean, scale, shift, relu)
        total += kept
        along += kept * (x[k] - mean)
    return total, along


@compiled
def _sums2(first, last, by, relu, totals, x, g, h):  # type: ignore[no-untyped-def]
    for chunk in range(first, last):
        for n in range(len(x) * chunk // CHUNKS, len(x) * (chunk + 1) // CHUNKS):
            for c in range(x.shape[1]):
                for k in range(0, x.shape[2], TOGETHER):
                    xs, gs = x[n, c, k : k + TOGETHER], g[n, c, k : k + TOGETHER]
                    hs = h[n, c, k : k + TOGETHER]
                    _add(totals[chunk], c, _sums2_part(by[:, c], relu, xs, gs, hs))


@compiled
def _sums2_part(by, relu, x, g, h):  # type: ignore[no-untyped-def]
    mean, scale, shift = by[0], by[1], by[2]
    s0, s1, s2, s3, s4 = NOTHING, NOTHING, NOTHING, NOTHING, NOTHING
    for k in range(len(x)):
        away = x[k] - mean
        kept = gated(g[k], x[k], mean, scale, shift, relu)
        s0 += kept
        s1 += kept * away
        s2 += h[k]
        s3 += h[k] * away
        s4 += h[k] * kept
    return s0, s1, s2, s3, s4


@compiled
def _add(totals, c, part):  # type: ignore[no-untyped-def]
    for k in range(len(part)):
        totals[k, c] += part[k]


LOOPS = {
    "line": _line,
    "mix": _mix,
    "gated": _gated,
    "mix2": _mix2,
    "moments": _moments,
    "sums": _sums,
    "sums2": _sums2,
}
