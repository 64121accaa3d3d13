"""Softmax and its logarithm along any axis, with their gradients; see plain/losses.py.

Numbers that are added up lie apart in memory, or side by side. Either way a block of
them is brought to a matrix that stays in the first caches, a sum for each of its
columns: then a vector holds numbers of as many sums, and no sum goes across one. Long
lines of memory are taken as they are (lines.py).

float64, and what is too small for a block to pay, goes to the plain set.
"""

import math

import numpy as np

from .. import plain
from ..memory import empty
from ..threads import run
from . import lines
from .compiled import NOTHING, compiled, uncounted
from .direct_loops import copy
from .elementwise import _exp
from .layout import far_to_near, inverse, turn_image
from .simd import lanes

Array = np.ndarray

BLOCK = 1 << 14  # numbers of a block, unless a single vector of sums needs more
SMALL = 1 << 14  # numbers; fewer are not worth compiling for
STEPS = 8  # elementary ones for each number, in the sense of threads.SMALL


def softmax(x: Array, axis: int) -> Array:
    """y = exp(x) / sum of exp(x) along `axis`: see plain.softmax."""
    if not _fits(x):
        return plain.softmax(x, axis)
    return _along(axis, False, x)


def softmax_dx(g: Array, x: Array, axis: int) -> Array:
    """y * (g - sum of g * y) with y = softmax(x): see plain.softmax_dx."""
    if not _fits(x):
        return plain.softmax_dx(g, x, axis)
    return _along(axis, False, x, g)


def log_softmax(x: Array, axis: int) -> Array:
    """x - log of sum of exp(x) along `axis`: see plain.log_softmax."""
    if not _fits(x):
        return plain.log_softmax(x, axis)
    return _along(axis, True, x)


def log_softmax_dx(g: Array, x: Array, axis: int) -> Array:
    """g - softmax(x) * sum of g along `axis`: see plain.log_softmax_dx."""
    if not _fits(x):
        return plain.log_softmax_dx(g, x, axis)
    return _along(axis, True, x, g)


def _fits(x: Array) -> bool:
    return x.dtype == np.float32 and x.size >= SMALL


def _along(axis: int, log: bool, *arrays: Array) -> Array:
    """Of x, or of x and g: an array in the order of x, or with `axis` innermost."""
    step, order = lanes(np.float32), far_to_near(arrays[0])
    inner = order[order.index(axis) + 1 :]
    if math.prod(arrays[0].shape[k] for k in inner) < step:
        inner, order = (), (*(k for k in order if k != axis), axis)
    seen = [np.ascontiguousarray(a.transpose(order)) for a in arrays]
    count = arrays[0].shape[axis]
    if not inner and count >= lines.LONG:
        y = lines.softmax(log, *(a.reshape(-1, count) for a in seen))
        return y.reshape(seen[0].shape).transpose(inverse(order))
    y = empty(seen[0].shape, np.float32)
    behind = math.prod(y.shape[y.ndim - len(inner) :])
    sums = behind if inner else y.size // count
    wide = min(max(BLOCK // count, step), sums)
    shape = count, behind, sums, wide
    blocks = y.size // (count * sums) * -(-sums // wide)
    scratch = ((2 * count + 3) * wide, np.float32)
    flat = [a.reshape(-1) for a in (y, seen[0], seen[-1])]
    kind = log, len(arrays) == 2
    run(_blocks, blocks, *flat, shape, kind, step, work=STEPS * y.size, scratch=scratch)
    return y.transpose(inverse(order))


@compiled
def _blocks(first, last, scratch, y, x, g, shape, kind, step):  # type: ignore[no-untyped-def]
    count, behind, sums, wide = shape
    across = (sums + wide - 1) // wide
    for block in range(first, last):
        start = block % across * wide
        n = min(wide, sums - start)
        at = block // across * count * sums + start * (count if behind == 1 else 1)
        size = count * n
        a, b = scratch[:size], scratch[size : 2 * size]
        rest = scratch[2 * size : 2 * size + 3 * n]
        _take(a, x, at, n, behind, step)
        _exponentials(a, b, rest, n)
        if kind[1]:
            _divide(b, rest, n)
            _take(a, g, at, n, behind, step)
            _gradient(a, b, rest, n, kind[0])
        elif kind[0]:
            _logarithms(a, rest, n)
        else:
            _divide(b, rest, n)
            a = b
        _give(y, at, a, n, behind, step)


@compiled
def _take(block, x, at, n, behind, step):  # type: ignore[no-untyped-def]
    """Bring n sums' numbers from x[at] on to the columns of a block."""
    if behind == 1:
        turn_image(block, x[at : at + len(block)], n, step)
    else:
        for k in range(0, len(block), n):
            copy(block, k, x, at, n)
            at += behind


@compiled
def _give(y, at, block, n, behind, step):  # type: ignore[no-untyped-def]
    """Put the columns of a block where ``_take`` found them."""
    if behind == 1:
        turn_image(y[at : at + len(block)], block, len(block) // n, step)
    else:
        for k in range(0, len(block), n):
            copy(y, at, block, k, n)
            at += behind


@uncounted
def _exponentials(x, e, rest, n):  # type: ignore[no-untyped-def]
    """e = exp(x - the column's largest); rest: the largest ones, and the sums of e."""
    largest, total = rest[:n], rest[n : 2 * n]
    copy(largest, 0, x, 0, n)
    total[:] = NOTHING
    for at in range(n, len(x), n):
        v = x[at : at + n]
        for k in range(n):
            largest[k] = lines.larger(v[k], largest[k])
    for at in range(0, len(x), n):
        v, w = x[at : at + n], e[at : at + n]
        for k in range(n):
            w[k] = _exp(v[k] - largest[k])
            total[k] += w[k]


@uncounted
def _divide(e, rest, n):  # type: ignore[no-untyped-def]
    """Divide e by its sums: it is the softmax then."""
    total = rest[n : 2 * n]
    for at in range(0, len(e), n):
        w = e[at : at + n]
        for k in range(n):
            w[k] /= total[k]


@uncounted
def _logarithms(x, rest, n):  # type: ignore[no-untyped-def]
    """x - the largest - log of the sum, in its place."""
    largest, total = rest[:n], rest[n : 2 * n]
    for k in range(n):
        total[k] = np.log(total[k])
    for at in range(0, len(x), n):
        v = x[at : at + n]
        for k in range(n):
            v[k] = v[k] - largest[k] - total[k]


@uncounted
def _gradient(g, y, rest, n, log):  # type: ignore[no-untyped-def]
    """The gradient in the place of g; y: the softmax."""
    total = rest[2 * n : 3 * n]
    total[:] = NOTHING
    for at in range(0, len(g), n):
        v, w = g[at : at + n], y[at : at + n]
        for k in range(n):
            total[k] += v[k] if log else v[k] * w[k]
    for at in range(0, len(g), n):
        v, w = g[at : at + n], y[at : at + n]
        for k in range(n):
            v[k] = v[k] - w[k] * total[k] if log else w[k] * (v[k] - total[k])
