"""Lines: numbers that lie side by side, with one sum or one softmax for all of them.

A vector holds neighbours of a line here. As many partial results run along beside each
other, and come together at its end.
"""

import math

import numpy as np

from ..memory import empty
from ..threads import run
from .compiled import NOTHING, inlined, uncounted
from .elementwise import _exp

Array = np.ndarray

WIDE = 32  # partial results
LONG = 2 * WIDE  # numbers in a line that is worth it
STRIP = 1 << 10  # numbers that are added up in their own dtype
STEPS = 4  # elementary ones for each number of a softmax, in the sense of threads.SMALL


def sums(x: Array) -> Array:
    """The sum of each line: (L, K) without gaps -> (L,)."""
    y = empty((len(x),), x.dtype)
    run(_sums, len(x), y, x.reshape(-1), x.shape[1], work=x.size)
    return y


def softmax(log: bool, *arrays: Array) -> Array:
    """Softmax of each line of x (L, K), or its logarithm; of x and g, the gradient."""
    x = arrays[0]
    y, flat = empty(x.shape, x.dtype), (a.reshape(-1) for a in (x, arrays[-1]))
    count, kind = x.shape[1], (log, len(arrays) == 2)
    scratch = (WIDE + count, x.dtype)
    last = y.reshape(-1), *flat, count, kind
    run(_softmax, len(x), *last, work=STEPS * x.size, scratch=scratch)
    return y


@uncounted
def _sums(first, last, y, x, count):  # type: ignore[no-untyped-def]
    for n in range(first, last):
        total = 0.0
        for at in range(n * count, (n + 1) * count, STRIP):
            part, v = NOTHING, x[at : min(at + STRIP, (n + 1) * count)]
            for k in range(len(v)):
                part += v[k]
            total += part
        y[n] = total


@uncounted
def _softmax(first, last, scratch, y, x, g, count, kind):  # type: ignore[no-untyped-def]
    best, e = scratch[:WIDE], scratch[WIDE : WIDE + count]
    for n in range(first, last):
        start, end = n * count, (n + 1) * count
        v, w, to = x[start:end], g[start:end], y[start:end]
        largest = _largest(v, best)
        total = _exponentials(v, e, largest)
        if kind[1]:
            _gradient(w, e, total, to, kind[0])
        elif kind[0]:
            _move(v, largest, math.log(total), to)
        else:
            _divide(e, total, to)


@inlined
def larger(x, best):  # type: ignore[no-untyped-def]
    """x if it is above the best so far, or NaN."""
    return x if (x > best) | (x != x) else best


@uncounted
def _largest(x, best):  # type: ignore[no-untyped-def]
    """The largest number, or NaN if there is one."""
    whole = len(x) // WIDE * WIDE
    for k in range(WIDE):
        best[k] = x[k]
    for at in range(WIDE, whole, WIDE):
        v = x[at : at + WIDE]
        for k in range(WIDE):
            best[k] = larger(v[k], best[k])
    largest = best[0]
    for k in range(1, WIDE):
        largest = larger(best[k], largest)
    for k in range(whole, len(x)):
        largest = larger(x[k], largest)
    return largest


@uncounted
def _exponentials(x, e, largest):  # type: ignore[no-untyped-def]
    """e = exp(x - the largest), and its sum."""
    total = NOTHING
    for k in range(len(x)):
        e[k] = _exp(x[k] - largest)
        total += e[k]
    return total


@uncounted
def _divide(e, total, y):  # type: ignore[no-untyped-def]
    for k in range(len(e)):
        y[k] = e[k] / total


@uncounted
def _move(x, largest, log, y):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        y[k] = x[k] - largest - np.float32(log)


@uncounted
def _gradient(g, e, total, y, log):  # type: ignore[no-untyped-def]
    """y: what g comes to; e: exponentials, of which softmax is made."""
    mean = NOTHING
    if log:
        for k in range(len(g)):
            mean += g[k]
        mean /= total
        for k in range(len(g)):
            y[k] = g[k] - e[k] * mean
    else:
        for k in range(len(g)):
            mean += g[k] * e[k]
        mean /= total
        for k in range(len(g)):
            y[k] = e[k] / total * (g[k] - mean)
