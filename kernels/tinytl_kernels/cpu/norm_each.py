"""Loops of norm.py that compute every number of a result from those at its place.

A row is a row of lanes, or a plane if `planes` is not None: `size` numbers at least as
long as a vector, `step`. The last vector of a row may overlap the one before. `by`
holds the mean, scale, shift and further weights of each of the `channels`, one kind
after the other. `relu` is 1 or None, and `past` too: each case is compiled by itself,
without a question in the loop. All arrays are flat.
"""

from .compiled import as_written, compiled, inlined
from .norm_vectors import gated, put, unless_negative, weight
from .simd import arrive, load


@as_written
def _line(first, last, shape, planes, past, relu, by, y, x):  # type: ignore[no-untyped-def]
    size, channels, step = shape
    for row in range(first, last):
        own = 0 if planes is None else row % channels
        for k in range(0, size, step):
            k = min(k, size - step)
            mean, scale, shift = _three(by, own, channels, k, planes)
            at = row * size + k
            c = load(x, at) - mean
            value = scale * c + shift
            put(y, at, value if relu is None else unless_negative(value), past)
    arrive()


@as_written
def _mix(first, last, shape, planes, past, relu, by, y, x, g):  # type: ignore[no-untyped-def]
    size, channels, step = shape
    for row in range(first, last):
        own = 0 if planes is None else row % channels
        for k in range(0, size, step):
            k = min(k, size - step)
            mean, scale, shift = _three(by, own, channels, k, planes)
            u, v, w = _three(by, own + 3 * channels, channels, k, planes)
            at = row * size + k
            c = load(x, at) - mean
            kept = gated(load(g, at), c, scale, shift, relu)
            put(y, at, u * kept + (w * c + v), past)
    arrive()


@as_written
def _mix_gated(first, last, shape, planes, past, relu, by, y, x, g):  # type: ignore[no-untyped-def]
    size, channels, step = shape
    for row in range(first, last):
        own = 0 if planes is None else row % channels
        for k in range(0, size, step):
            k = min(k, size - step)
            mean, scale, shift = _three(by, own, channels, k, planes)
            u, v, w = _three(by, own + 3 * channels, channels, k, planes)
            at = row * size + k
            c = load(x, at) - mean
            mixed = u * load(g, at) + (w * c + v)
            put(y, at, gated(mixed, c, scale, shift, relu), past)
    arrive()


@as_written
def _mix2(first, last, shape, planes, past, relu, by, y, x, g, h):  # type: ignore[no-untyped-def]
    size, channels, step = shape
    for row in range(first, last):
        own = 0 if planes is None else row % channels
        for k in range(0, size, step):
            k = min(k, size - step)
            mean, scale, shift = _three(by, own, channels, k, planes)
            u, v, w = _three(by, own + 3 * channels, channels, k, planes)
            t = weight(by, own + 6 * channels, k, planes)
            at = row * size + k
            c = load(x, at) - mean
            kept = gated(load(g, at), c, scale, shift, relu)
            put(y, at, u * kept + (w * c + v) + t * load(h, at), past)
    arrive()


@inlined
def _three(by, first, channels, k, planes):  # type: ignore[no-untyped-def]
    """Weights of a vector of three kinds, one after the other, beginning at `first`."""
    a = weight(by, first, k, planes)
    b = weight(by, first + channels, k, planes)
    return a, b, weight(by, first + 2 * channels, k, planes)


@compiled
def repeat(rows, mean, scale, shift, weights):  # type: ignore[no-untyped-def]
    """The channels' weights, one kind after the other, each as often as rows say."""
    for k in range(rows.shape[1]):
        rows[0, k], rows[1, k], rows[2, k] = mean, scale, shift
        for i in range(len(weights)):
            rows[3 + i, k] = weights[i]


LOOPS = {
    "line": _line,
    "mix": _mix,
    "mix_gated": _mix_gated,
    "mix2": _mix2,
}
