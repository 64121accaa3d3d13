"""Loops of norm.py for images in the order (N,C,H,W): a channel's plane at a time.

`by` holds the channels' mean, scale, shift and weights, `relu` is 1 or None. Totals are
(chunk, sum, channel).
"""

import numpy as np

from .compiled import bent, compiled, gated
from .norm_lanes import CHUNKS


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
                total, squares = 0.0, 0.0
                for k in range(x.shape[2]):
                    away = np.float64(x[n, c, k] - by[0, c])
                    total += away
                    squares += away * away
                totals[chunk, 0, c] += total
                totals[chunk, 1, c] += squares


@compiled
def _sums(first, last, by, relu, totals, x, g):  # type: ignore[no-untyped-def]
    for chunk in range(first, last):
        for n in range(len(x) * chunk // CHUNKS, len(x) * (chunk + 1) // CHUNKS):
            for c in range(x.shape[1]):
                mean, scale, shift = by[0, c], by[1, c], by[2, c]
                total, along = 0.0, 0.0
                for k in range(x.shape[2]):
                    kept = gated(g[n, c, k], x[n, c, k], mean, scale, shift, relu)
                    total += kept
                    along += kept * (x[n, c, k] - mean)
                totals[chunk, 0, c] += total
                totals[chunk, 1, c] += along


@compiled
def _sums2(first, last, by, relu, totals, x, g, h):  # type: ignore[no-untyped-def]
    for chunk in range(first, last):
        for n in range(len(x) * chunk // CHUNKS, len(x) * (chunk + 1) // CHUNKS):
            for c in range(x.shape[1]):
                mean, scale, shift = by[0, c], by[1, c], by[2, c]
                s0, s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0, 0.0
                for k in range(x.shape[2]):
                    away, hk = x[n, c, k] - mean, h[n, c, k]
                    kept = gated(g[n, c, k], x[n, c, k], mean, scale, shift, relu)
                    s0 += kept
                    s1 += kept * away
                    s2 += hk
                    s3 += hk * away
                    s4 += hk * kept
                totals[chunk, 0, c] += s0
                totals[chunk, 1, c] += s1
                totals[chunk, 2, c] += s2
                totals[chunk, 3, c] += s3
                totals[chunk, 4, c] += s4


LOOPS = {
    "line": _line,
    "mix": _mix,
    "gated": _gated,
    "mix2": _mix2,
    "moments": _moments,
    "sums": _sums,
    "sums2": _sums2,
}
