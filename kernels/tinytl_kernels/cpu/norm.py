"""Normalisation in compiled loops; what each kernel computes is told in plain/norm.py.

The two orders that x can have in memory need two forms of every loop:

    lanes    channels last: x is a matrix with a column for each channel. So that also
             a few channels fill the processor's registers, some of its rows are put
             into one, of about LANES numbers, and the channels' weights repeated.
    planes   (N,C,...): the H * W values of a channel are neighbours, with one weight.

Sums are kept in float64. They are taken in a number of chunks that depends on nothing,
so that they are the same for any number of threads.
"""

from typing import Any

import numpy as np

from .. import plain
from ..line import Line
from ..memory import empty
from ..threads import run
from . import norm_lanes, norm_planes
from .norm_lanes import CHUNKS

Array = np.ndarray

LANES = 512  # numbers in a row, channels last
SMALL = 1 << 14  # numbers that NumPy adds to before a compiled loop has started
PLANE = 32  # values below which a plane is too short a loop


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel: see plain.moments.

    Taken of x - x0, where x0 is the channel's first value: the same variance, without
    the difference of two large numbers where the mean is far from 0.
    """
    start = x[0].reshape(x.shape[1], -1)[:, 0]
    start = np.where(np.isfinite(start), start, x.dtype.type(0))
    total, squares = _sums("moments", 2, Line(start, start, start, False), x)
    count = x.size // x.shape[1]
    mean = total / count
    variance = np.maximum(squares / count - mean * mean, 0)
    return (mean + start).astype(x.dtype), variance.astype(x.dtype)


def line(x: Array, by: Line) -> Array:
    """(x - mean) * scale + shift, with ReLU or not: see plain.line."""
    return _each("line", by, (), x)


def line_sums(g: Array, x: Array, by: Line) -> Array:
    """Sums over each channel: see plain.line_sums."""
    return _sums("sums", 2, by, x, g)


def line_sums2(h: Array, g: Array, x: Array, by: Line) -> Array:
    """Sums over each channel: see plain.line_sums2."""
    return _sums("sums2", 5, by, x, g, h)


def line_mix(g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g' + v + w c: see plain.line_mix."""
    return _each("mix", by, weights, x, g)


def line_mix_gated(g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g + v + w c behind the ReLU: see plain.line_mix_gated."""
    return _each("gated", by, weights, x, g)


def line_mix2(h: Array, g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g' + v + w c + t h: see plain.line_mix2."""
    return _each("mix2", by, weights, x, g, h)


def add_per_channel(x: Array, b: Array) -> Array:
    """x + b: see plain.add_per_channel, which does small ones sooner."""
    if x.size < SMALL:
        return plain.add_per_channel(x, b)
    return line(x, Line(np.zeros_like(b), np.ones_like(b), b, False))


def sum_per_channel(x: Array) -> Array:
    """The sum of each channel: see plain.sum_per_channel."""
    zero = np.zeros(x.shape[1], x.dtype)
    return _sums("moments", 2, Line(zero, zero, zero, False), x)[0].astype(x.dtype)


# -- both orders -----------------------------------------------------------------------


def _each(loop: str, by: Line, weights: Any, *arrays: Array) -> Array:
    """An array like the first, each value computed from those at its place."""
    x = arrays[0]
    rows = np.array([by.mean, by.scale, by.shift, *weights], x.dtype)
    if not x.size:
        return np.empty_like(x)
    if _in_lanes(x):
        y = empty((len(x), *x.shape[2:], x.shape[1]), x.dtype)
        lanes = _lanes(rows, x)
        seen = [a.reshape(-1, lanes.shape[1]) for a in (y, *map(_last, arrays))]
        run(
            norm_lanes.LOOPS[loop],
            len(seen[0]),
            lanes,
            by.relu or None,
            *seen,
            work=x.size,
        )
        return y.transpose(0, y.ndim - 1, *range(1, y.ndim - 1))
    y = empty(x.shape, x.dtype)
    seen = [np.ascontiguousarray(a).reshape(*x.shape[:2], -1) for a in (y, *arrays)]
    planes = len(x) * x.shape[1]
    run(norm_planes.LOOPS[loop], planes, rows, by.relu or None, *seen, work=x.size)
    return y


def _sums(loop: str, count: int, by: Line, *arrays: Array) -> Array:
    """`count` sums for each channel, in float64: (count, C)."""
    x = arrays[0]
    rows = np.array([by.mean, by.scale, by.shift], x.dtype)
    in_lanes = _in_lanes(x)
    if in_lanes:
        rows = _lanes(rows, x)
        seen = [_last(a).reshape(-1, rows.shape[1]) for a in arrays]
    else:
        seen = [np.ascontiguousarray(a).reshape(*x.shape[:2], -1) for a in arrays]
    totals = empty((CHUNKS, count, rows.shape[1]), np.float64)
    totals[:] = 0
    form = norm_lanes.LOOPS[loop] if in_lanes else norm_planes.LOOPS[loop]
    run(form, CHUNKS, rows, by.relu or None, totals, *seen, work=x.size)
    return totals.reshape(CHUNKS, count, -1, x.shape[1]).sum(axis=(0, 2))


def _in_lanes(x: Array) -> bool:
    short = x.size < PLANE * x.shape[0] * x.shape[1]
    return short or _turned(x).flags.c_contiguous


def _last(x: Array) -> Array:
    return np.ascontiguousarray(_turned(x))


def _turned(x: Array) -> Array:
    return x.transpose(0, *range(2, x.ndim), 1)


def _lanes(rows: Array, x: Array) -> Array:
    """The channels' weights, repeated as often as pixels go into one row of lanes."""
    channels = rows.shape[1]
    pixels = x.size // channels
    repeats = max(LANES // channels, 1)
    while pixels % repeats:
        repeats -= 1
    lanes = empty((len(rows), repeats * channels), rows.dtype)
    lanes.reshape(len(rows), repeats, channels)[:] = rows[:, None]
    return lanes
