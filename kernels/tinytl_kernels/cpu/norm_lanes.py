"""Loops of norm.py for images that are channels last: matrices of lanes.

`by` holds the lanes' mean, scale, shift and weights, `relu` is 1 or None: each case is
compiled by itself, without a question in the loop. Totals are (chunk, sum, lane).
"""

import numpy as np

from .compiled import NOTHING, bent, compiled, gated

CHUNKS = 32  # partial sums of a channel
TOGETHER = 8  # rows that are added up in the dtype of x before they go to float64


@compiled
def _line(first, last, by, relu, y, x):  # type: ignore[no-untyped-def]
    mean, scale, shift = by[0], by[1], by[2]
    for row in range(first, last):
        for k in range(len(mean)):
            y[row, k] = bent((x[row, k] - mean[k]) * scale[k] + shift[k], relu)


@compiled
def _mix(first, last, by, relu, y, x, g):  # type: ignore[no-untyped-def]
    mean, scale, shift, u, v, w = by[0], by[1], by[2], by[3], by[4], by[5]
    for row in range(first, last):
        for k in range(len(mean)):
            kept = gated(g[row, k], x[row, k], mean[k], scale[k], shift[k], relu)
            y[row, k] = u[k] * kept + v[k] + w[k] * (x[row, k] - mean[k])


@compiled
def _gated(first, last, by, relu, y, x, g):  # type: ignore[no-untyped-def]
    mean, scale, shift, u, v, w = by[0], by[1], by[2], by[3], by[4], by[5]
    for row in range(first, last):
        for k in range(len(mean)):
            mixed = u[k] * g[row, k] + v[k] + w[k] * (x[row, k] - mean[k])
            y[row, k] = gated(mixed, x[row, k], mean[k], scale[k], shift[k], relu)


@compiled
def _mix2(first, last, by, relu, y, x, g, h):  # type: ignore[no-untyped-def]
    mean, scale, shift = by[0], by[1], by[2]
    u, v, w, t = by[3], by[4], by[5], by[6]
    for row in range(first, last):
        for k in range(len(mean)):
            kept = gated(g[row, k], x[row, k], mean[k], scale[k], shift[k], relu)
            mixed = u[k] * kept + v[k] + w[k] * (x[row, k] - mean[k])
            y[row, k] = mixed + t[k] * h[row, k]


@compiled
def _moments(first, last, by, relu, totals, x):  # type: ignore[no-untyped-def]
    for chunk in range(first, last):
        row, end = len(x) * chunk // CHUNKS, len(x) * (chunk + 1) // CHUNKS
        while row + TOGETHER <= end:
            _moments_rows(row, TOGETHER, by[0], totals[chunk], x)
            row += TOGETHER
        while row < end:
            _moments_rows(row, 1, by[0], totals[chunk], x)
            row += 1


@compiled
def _moments_rows(row, count, start, totals, x):  # type: ignore[no-untyped-def]
    sums, squares = totals[0], totals[1]
    for k in range(len(start)):
        total, square = NOTHING, NOTHING
        for r in range(row, row + count):
            away = x[r, k] - start[k]
            total += away
            square += away * away
        sums[k] += total
        squares[k] += square


@compiled
def _sums(first, last, by, relu, totals, x, g):  # type: ignore[no-untyped-def]
    for chunk in range(first, last):
        row, end = len(x) * chunk // CHUNKS, len(x) * (chunk + 1) // CHUNKS
        while row + TOGETHER <= end:
            _sums_rows(row, TOGETHER, by, relu, totals[chunk], x, g)
            row += TOGETHER
        while row < end:
            _sums_rows(row, 1, by, relu, totals[chunk], x, g)
            row += 1


@compiled
def _sums_rows(row, count, by, relu, totals, x, g):  # type: ignore[no-untyped-def]
    mean, scale, shift = by[0], by[1], by[2]
    sums, along = totals[0], totals[1]
    for k in range(len(mean)):
        total, moment = NOTHING, NOTHING
        for r in range(row, row + count):
            kept = gated(g[r, k], x[r, k], mean[k], scale[k], shift[k], relu)
            total += kept
            moment += kept * (x[r, k] - mean[k])
        sums[k] += total
        along[k] += moment


@compiled
def _sums2(first, last, by, relu, totals, x, g, h):  # type: ignore[no-untyped-def]
    mean, scale, shift = by[0], by[1], by[2]
    part = np.zeros((5, len(mean)), x.dtype)
    for chunk in range(first, last):
        end = len(x) * (chunk + 1) // CHUNKS
        for row in range(len(x) * chunk // CHUNKS, end):
            for k in range(len(mean)):
                away = x[row, k] - mean[k]
                kept = gated(g[row, k], x[row, k], mean[k], scale[k], shift[k], relu)
                part[0, k] += kept
                part[1, k] += kept * away
                part[2, k] += h[row, k]
                part[3, k] += h[row, k] * away
                part[4, k] += h[row, k] * kept
            if row % TOGETHER == 0 or row == end - 1:
                totals[chunk] += part
                part[:] = 0


LOOPS = {
    "line": _line,
    "mix": _mix,
    "gated": _gated,
    "mix2": _mix2,
    "moments": _moments,
    "sums": _sums,
    "sums2": _sums2,
}
