"""Normalisation in compiled loops; what each kernel computes is told in plain/norm.py.

Two orders that x can have in memory:

    lanes    channels last: x is a matrix with a column for each channel. So that also
             a few channels fill whole vectors, some of its rows are put into one, of
             LANES numbers or so, and the channels' weights repeated.
    planes   (N,C,...): the H * W values of a channel are neighbours, with one weight.

All wait for memory. So the loops are written in vectors, which the compiler does not
find where it cannot prove that the result overlaps none of ten rows of weights. And a
result that the caches cannot hold, together with what it is made from, is streamed past
them.

Sums are kept in float64. They are taken in a number of chunks that depends on nothing,
so that they are the same for any number of threads.
"""

import functools
import math

import numpy as np

from .. import plain
from ..line import Line
from ..memory import STREAMED, empty
from ..threads import run, workspace
from . import norm_each, norm_lanes, norm_planes, simd
from .norm_lanes import CHUNKS

Array = np.ndarray

LANES = 256  # numbers in a row, channels last
SUMMED = 64  # the same for sums, which then read one number after another
SMALL = 1 << 14  # numbers that NumPy adds to before a compiled loop has started
PLANE = 32  # values below which a plane is too short a loop


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel: see plain.moments.

    Taken of x - x0, where x0 is the channel's first value: the same variance, without
    the difference of two large numbers where the mean is far from 0. If it is far from
    x0, they are taken again, of x - mean; or of x, where x0 is no finite number.
    """
    start = np.ascontiguousarray(x[0].T[(0,) * (x.ndim - 2)])
    mean, variance, far = _moments_from(start, x)
    if far:
        start = np.where(np.isfinite(mean), mean, x.dtype.type(0))
        mean, variance, _ = _moments_from(start, x)
    return mean, variance


def _moments_from(start: Array, x: Array) -> tuple[Array, Array, bool]:
    """Mean, variance, and whether a mean is far from where it started."""
    sums = _sums("moments", 2, Line(start, start, start, False), x)
    mean, variance = np.empty_like(start), np.empty_like(start)
    count = x.size // x.shape[1]
    far = norm_lanes.mean_and_variance(sums, count, start, mean, variance)
    return mean, variance, far


def line(x: Array, by: Line) -> Array:
    """(x - mean) * scale + shift, with ReLU or not: see plain.line."""
    return _each("line", by, None, x)


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
    return _each("mix_gated", by, weights, x, g)


def line_mix2(h: Array, g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g' + v + w c + t h: see plain.line_mix2."""
    return _each("mix2", by, weights, x, g, h)


def add_per_channel(x: Array, b: Array) -> Array:
    """x + b: see plain.add_per_channel, which does small ones sooner."""
    if x.size < SMALL:
        return plain.add_per_channel(x, b)
    return line(x, Line(np.zeros_like(b), np.ones_like(b), b, False))


def sum_per_channel(x: Array) -> Array:
    """The sum of each channel: see plain.sum_per_channel, sooner if it is short."""
    if x.size < SMALL // 2:
        return plain.sum_per_channel(x)
    zero = np.zeros(x.shape[1], x.dtype)
    return _sums("values", 1, Line(zero, zero, zero, False), x)[0].astype(x.dtype)


def sum_of_all(x: Array) -> float:
    """The sum of a flat array, taken for a matrix whose columns are channels."""
    zero, rest = np.zeros(SUMMED, x.dtype), len(x) % SUMMED
    rows = x[: len(x) - rest].reshape(-1, SUMMED)
    sums = _sums("values", 1, Line(zero, zero, zero, False), rows)
    return float(sums.sum() + x[len(x) - rest :].sum(dtype=np.float64))


# -- both orders -----------------------------------------------------------------------


def _each(loop: str, by: Line, weights: Array | None, *arrays: Array) -> Array:
    """An array like the first, each value computed from those at its place."""
    x = arrays[0]
    if not x.size:
        return np.empty_like(x)
    in_lanes, step, channels = _in_lanes(x), simd.lanes(x.dtype), x.shape[1]
    flat = [_flat(a, in_lanes) for a in arrays]
    y = empty(_turned(x).shape if in_lanes else x.shape, x.dtype)
    flat.insert(0, y.reshape(-1))
    unit = 1 if channels >= step else step
    repeats = _repeats(channels, x.size, LANES, unit) if in_lanes else 1
    lanes = repeats * channels
    size = lanes if in_lanes else math.prod(x.shape[2:])
    past = len(flat) * x.nbytes > STREAMED or None
    form, planes = norm_each.LOOPS[loop], None if in_lanes else 1
    own = (size, lanes, step), planes, past, by.relu or None
    rows = _rows(by, weights, repeats, x.dtype)
    run(form, x.size // size, *own, rows, *flat, work=x.size)
    rest = x.size % size
    if rest:
        more = [np.resize(a[-rest:], size) for a in flat]
        run(form, 1, *own, rows, *more)
        flat[0][-rest:] = more[0][:rest]
    return y.transpose(_order(y.ndim, back=True)) if in_lanes else y


def _sums(loop: str, count: int, by: Line, *arrays: Array) -> Array:
    """`count` sums for each channel, in float64: (count, C)."""
    x = arrays[0]
    if not x.size:
        return np.zeros((count, x.shape[1]))
    in_lanes, step = _in_lanes(x), simd.lanes(x.dtype)
    flat = [_flat(a, in_lanes) for a in arrays]
    unit = norm_lanes.UNROLLED * step
    repeats = _repeats(x.shape[1], x.size, SUMMED, unit) if in_lanes else 1
    rows = _rows(by, None, repeats, x.dtype)
    size = repeats * x.shape[1]
    totals = np.zeros((CHUNKS, count, size))
    last = by.relu or None, rows, totals
    if in_lanes:
        form, scratch = norm_lanes.LOOPS[loop], (count * size, x.dtype)
        run(form, CHUNKS, step, *last, *flat, work=x.size, scratch=scratch)
        rest = x.size % size
        if rest:  # what fills the row up adds nothing: x is its mean, g and h are 0
            more = [rows[:size].copy(), *np.zeros((len(flat) - 1, size), x.dtype)]
            for row, a in zip(more, flat, strict=True):
                row[:rest] = a[-rest:]
            run(form, CHUNKS, step, *last, *more, work=0, scratch=scratch)
    else:
        plane = math.prod(x.shape[2:])
        new = (np.arange(step) >= step - plane % step).astype(x.dtype)
        masked = new if plane % step else None
        form = norm_planes.LOOPS[loop]
        run(form, CHUNKS, step, masked, plane, *last, *flat, work=x.size)
    sums = np.zeros((count, x.shape[1]))
    norm_lanes.add_up(totals, sums)
    return sums


def _in_lanes(x: Array) -> bool:
    short = x.size < PLANE * x.shape[0] * x.shape[1] or not x.size
    return short or not x.flags.c_contiguous and _turned(x).flags.c_contiguous


def _flat(x: Array, in_lanes: bool) -> Array:
    return np.ascontiguousarray(_turned(x) if in_lanes else x).reshape(-1)


def _turned(x: Array) -> Array:
    return x.transpose(_order(x.ndim))


@functools.cache
def _order(ndim: int, back: bool = False) -> tuple[int, ...]:
    """The axes that bring channels to the end, or back."""
    return (0, ndim - 1, *range(1, ndim - 1)) if back else (0, *range(2, ndim), 1)


@functools.lru_cache(1024)
def _repeats(channels: int, count: int, about: int, unit: int) -> int:
    """How often the channels' weights fill a row of lanes, `about` so many numbers.

    A row is a multiple of `unit`, and if possible fits into the `count` numbers a whole
    number of times.
    """
    one = math.lcm(channels, unit)
    most = times = max(about // one, 1)
    while times and count % (times * one):
        times -= 1
    return (times or most) * one // channels


def _rows(by: Line, weights: Array | None, repeats: int, dtype: np.dtype) -> Array:
    """The weights of all lanes, a row of each kind, at the start of a cache line.

    In memory that this thread keeps until its next call: loading a vector from two
    lines takes twice as long, and these are loaded as often as x.
    """
    more = np.empty((0, 0), dtype) if weights is None else weights
    shape = 3 + len(more), repeats, len(by.mean)
    size = math.prod(shape)
    rows = workspace("line", size, dtype)[:size]
    norm_each.repeat(rows.reshape(shape), by.mean, by.scale, by.shift, more)
    return rows
