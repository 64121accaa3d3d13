"""Elementwise functions in one pass, on all threads; see plain/elementwise.py.

Every loop goes block by block. Where y is too large for the caches, a block is computed
in an array that a thread keeps, and streamed from there; else in y itself.

exp and log are written out for float32, since a call into C's library for each number
keeps a loop from working on whole registers. float64 goes to the plain set.
"""

import functools
import math
from typing import Any

import numpy as np

from .. import plain
from ..memory import STREAMED, empty
from ..threads import run
from . import simd
from .compiled import NOTHING, formula, in_order, inlined, uncounted
from .layout import far_to_near, inverse
from .simd import arrive, load, stream

Array = np.ndarray

f32 = np.float32
FEW = 1 << 13  # numbers for which a NumPy call or two are over before a loop has begun
BLOCK = 1 << 8  # numbers in whole vectors: more, and a thread stores when it could load
HALF, ONE, TWO, THREE, FOUR, SIX, FORTY = map(f32, (0.5, 1, 2, 3, 4, 6, 40))
LOG2_E = f32(math.log2(math.e))
LN2, LN2_REST = f32(0.693359375), f32(math.log(2) - 0.693359375)  # LN2 has 9 bits
ROUND = f32(3 << 22)  # adding it rounds to a whole number; subtracting it shows which
SMALLEST, LARGEST = f32(-104), f32(104)  # e^-104 is 0 in float32, e^104 infinite
E2, E3, E4, E5, E6, E7 = (f32(1 / math.factorial(k)) for k in range(2, 8))
L3, L5, L7, L9, L11, L13, L15 = (f32(1 / k) for k in range(3, 17, 2))


def keep(x: Array, mask: Array) -> Array:
    """x where `mask` holds, 0 elsewhere: see plain.keep.

    As there, by a product of its bits: the compiler would turn a choice into loads of x
    that wait for the mask.
    """
    if mask.shape != x.shape or mask.dtype != bool or x.size < FEW:
        return plain.keep(x, mask)
    bits = f"u{x.itemsize}"
    return _each(_keep, mask.view(np.uint8), x.view(bits)).view(x.dtype)


def ramp(x: Array, top: float | None) -> tuple[Array, Array]:
    """min(max(x, 0), top), and where its slope is 1: see plain.ramp."""
    if x.size < FEW:
        return plain.ramp(x, top)
    order = far_to_near(x)
    seen = x.transpose(order)
    y, on = empty(seen.shape, x.dtype), empty(seen.shape, np.bool_)
    bound = None if top is None else x.dtype.type(top)
    _run(_ramp, y, on, seen, values=(bound,))
    back = inverse(order)
    return y.transpose(back), on.transpose(back)


def bend(g: Array, x: Array, slope: float) -> Array:
    """g where x > 0, slope * g elsewhere: see plain.bend."""
    return _each(_bend, x, g, values=(x.dtype.type(slope),))


def hardsigmoid(x: Array) -> Array:
    """min(max(x + 3, 0), 6) / 6: see plain.hardsigmoid."""
    return _each(_hardsigmoid, x, values=(x.dtype.type(1 / 6),))


def hardsigmoid_dx(g: Array, x: Array) -> Array:
    """g / 6 where -3 < x < 3, else 0: see plain.hardsigmoid_dx."""
    return _each(_hardsigmoid_dx, x, g, values=(x.dtype.type(1 / 6),))


def hardswish(x: Array) -> Array:
    """x * hardsigmoid(x): see plain.hardswish."""
    return _each(_hardswish, x, values=(x.dtype.type(1 / 6),))


def hardswish_dx(g: Array, x: Array) -> Array:
    """g times hardswish's slope: see plain.hardswish_dx."""
    return _each(_hardswish_dx, x, g, values=(x.dtype.type(1 / 3),))


def exp(x: Array) -> Array:
    """e^x in float32, to 1e-7 of itself: see plain.ufunc."""
    return _each(_any_exp, x)


def softplus(x: Array, beta: float, threshold: float) -> Array:
    """log(1 + exp(beta * x)) / beta: see plain.softplus."""
    if x.dtype != np.float32:
        return plain.softplus(x, beta, threshold)
    return _each(_softplus, x, values=(f32(beta), f32(1 / beta), f32(threshold)))


def softplus_dx(g: Array, x: Array, beta: float, threshold: float) -> Array:
    """g times softplus' slope: see plain.softplus_dx."""
    if x.dtype != np.float32:
        return plain.softplus_dx(g, x, beta, threshold)
    return _each(_softplus_dx, x, g, values=(f32(beta), f32(threshold)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)): see plain.sigmoid."""
    return plain.sigmoid(x) if x.dtype != np.float32 else _each(_sigmoid, x)


def sigmoid_dx(g: Array, x: Array) -> Array:
    """g times sigmoid's slope: see plain.sigmoid_dx."""
    if x.dtype != np.float32:
        return plain.sigmoid_dx(g, x)
    return _each(_sigmoid_dx, x, g)


def tanh(x: Array) -> Array:
    """tanh(x) in float32, to 2e-7 of itself: see plain.ufunc."""
    return _each(_tanh, x)


def tanh_dx(g: Array, x: Array) -> Array:
    """g times tanh's slope: see plain.tanh_dx."""
    return plain.tanh_dx(g, x) if x.dtype != np.float32 else _each(_tanh_dx, x, g)


def _each(value: Any, *arrays: Array, values: tuple[Any, ...] = ()) -> Array:
    """value(x[k], *values), or value(x[k], g[k], *values), for every k.

    An array in the first one's order, of the last one's dtype.
    """
    order = far_to_near(arrays[0])
    seen = [a.transpose(order) for a in arrays]
    y = empty(seen[0].shape, arrays[-1].dtype)
    _run(_loop(value, len(arrays)), y, *seen, values=values)
    return y.transpose(inverse(order))


def _run(loop: Any, y: Array, *arrays: Array, values: tuple[Any, ...]) -> None:
    """Call the loop for every block of y and of the other arrays."""
    past = y.nbytes + sum(a.nbytes for a in arrays) > STREAMED or None
    flat = (a.reshape(-1) for a in (y, *arrays))
    last = past, simd.lanes(y.dtype), *flat, *values
    blocks = -(-y.size // BLOCK)
    run(loop, blocks, *last, work=2 * y.size, scratch=(BLOCK, y.dtype))


# -- loops -----------------------------------------------------------------------------
# Counting from 0, the compiler sees that no index is negative.


@functools.cache
def _loop(value: Any, arrays: int) -> Any:
    """The loop for a formula of one array's numbers, or of two arrays'."""

    @uncounted
    def of_one(first, last, block, past, step, y, x, *values):  # type: ignore[no-untyped-def]
        for at in range(first * BLOCK, min(last * BLOCK, len(y)), BLOCK):
            v = x[at : at + BLOCK]
            to = y[at : at + BLOCK] if past is None else block
            for k in range(len(v)):
                to[k] = value(v[k], *values)
            send(y, at, block, len(v), step, past)
        arrive()

    @uncounted
    def of_two(first, last, block, past, step, y, x, g, *values):  # type: ignore[no-untyped-def]
        for at in range(first * BLOCK, min(last * BLOCK, len(y)), BLOCK):
            v, by = x[at : at + BLOCK], g[at : at + BLOCK]
            to = y[at : at + BLOCK] if past is None else block
            for k in range(len(v)):
                to[k] = value(v[k], by[k], *values)
            send(y, at, block, len(v), step, past)
        arrive()

    return of_one if arrays == 1 else of_two


@uncounted
def _ramp(first, last, block, past, step, y, on, x, top):  # type: ignore[no-untyped-def]
    for at in range(first * BLOCK, min(last * BLOCK, len(y)), BLOCK):
        w, v = on[at : at + BLOCK], x[at : at + BLOCK]
        to = y[at : at + BLOCK] if past is None else block
        for k in range(len(v)):
            value = NOTHING if v[k] < NOTHING else v[k]
            if top is None:
                to[k] = value
                w[k] = v[k] > NOTHING
            else:
                to[k] = top if value > top else value
                w[k] = (v[k] > NOTHING) & (v[k] < top)
        send(y, at, block, len(v), step, past)
    arrive()


# -- formulas --------------------------------------------------------------------------


@formula
def _keep(mask, x):  # type: ignore[no-untyped-def]
    return x * mask


@formula
def _bend(x, g, slope):  # type: ignore[no-untyped-def]
    return g if x > NOTHING else slope * g


@formula
def _hardsigmoid(x, sixth):  # type: ignore[no-untyped-def]
    return _between(x + THREE) * sixth


@formula
def _hardsigmoid_dx(x, g, sixth):  # type: ignore[no-untyped-def]
    value = g * sixth
    return value if (x > -THREE) & (x < THREE) else NOTHING


@formula
def _hardswish(x, sixth):  # type: ignore[no-untyped-def]
    return x * (_between(x + THREE) * sixth)


@formula
def _hardswish_dx(x, g, third):  # type: ignore[no-untyped-def]
    inner = g * (x * third + HALF)
    inner = NOTHING if x <= -THREE else inner
    return g if x >= THREE else inner


@inlined
def _between(x):  # type: ignore[no-untyped-def]
    """min(max(x, 0), 6)."""
    x = NOTHING if x < NOTHING else x
    return SIX if x > SIX else x


@formula
def _any_exp(x):  # type: ignore[no-untyped-def]
    return _exp(LARGEST if x > LARGEST else x)


@formula
def _softplus(x, beta, unit, threshold):  # type: ignore[no-untyped-def]
    b = beta * x
    smooth = max(b, NOTHING) + _log_of_one_plus(_exp(-abs(b)))
    return x if b > threshold else smooth * unit


@formula
def _softplus_dx(x, g, beta, threshold):  # type: ignore[no-untyped-def]
    b = beta * x
    e = _exp(-abs(b))
    slope = (ONE if b >= NOTHING else e) / (ONE + e)
    return g * (ONE if b > threshold else slope)


@formula
def _sigmoid(x):  # type: ignore[no-untyped-def]
    e = _exp(-abs(x))
    return (ONE if x >= NOTHING else e) / (ONE + e)


@formula
def _sigmoid_dx(x, g):  # type: ignore[no-untyped-def]
    e = _exp(-abs(x))
    return g * (e / ((ONE + e) * (ONE + e)))


@formula
def _tanh(x):  # type: ignore[no-untyped-def]
    """-m / (2 + m) with m = e^(-2 |x|) - 1, and the sign of x."""
    m = _exp_less_one(-TWO * abs(x))
    return (-m if x >= NOTHING else m) / (TWO + m)


@formula
def _tanh_dx(x, g):  # type: ignore[no-untyped-def]
    e = _exp(-TWO * abs(x))
    return g * (FOUR * e / ((ONE + e) * (ONE + e)))


@inlined
def send(y, at, block, count, step, past):  # type: ignore[no-untyped-def]
    """Stream the first so many numbers of a block to y, unless `past` is None."""
    if past is None:
        return
    whole = count - count % step
    for k in range(0, whole, step):
        stream(y, at + k, load(block, k))
    for k in range(whole, count):
        y[at + k] = block[k]


@in_order
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x for x <= 104, to 1e-7 of itself: e^x = 2^n e^r with |r| <= log(2) / 2.

    e^r is its Taylor series to r^7. 2^n is made by writing n into a float's exponent,
    in two halves, since 2^-149, the smallest float32, is below the range of one; and
    2^128, which times a number below 1 may be a float32, above it.
    """
    n, rest = _parts(SMALLEST if x < SMALLEST else x)
    half = np.int32(n >> 1)
    return (ONE + rest) * _power(half) * _power(n - half)


@in_order
def _exp_less_one(x):  # type: ignore[no-untyped-def]
    """e^x - 1 for x <= 0, to 2e-7 of itself: (2^n - 1) + 2^n (e^r - 1).

    Near 0, n is 0 and nothing is lost. Below -40 it is -1 in float32.
    """
    n, rest = _parts(-FORTY if x < -FORTY else x)
    power = _power(n)
    return (power - ONE) + power * rest


@in_order
def _parts(x):  # type: ignore[no-untyped-def]
    """n and e^r - 1, where e^x = 2^n e^r."""
    whole = x * LOG2_E + ROUND - ROUND
    r = x - whole * LN2 - whole * LN2_REST
    rest = r * (ONE + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * E7))))))
    return np.int32(whole), rest


@in_order
def _power(n):  # type: ignore[no-untyped-def]
    """2^n as a float32: n is written into its exponent."""
    return np.int32((n + 127) << 23).view(np.float32)


@uncounted
def _log_of_one_plus(e):  # type: ignore[no-untyped-def]
    """log(1 + e) for 0 <= e <= 1, to 3e-7 of itself.

    With s = e / (2 + e), 1 + e = (1 + s) / (1 - s), and so log(1 + e) is
    2 (s + s^3 / 3 + s^5 / 5 + ...), where s <= 1/3. For a tiny e this is e itself.
    """
    s = e / (TWO + e)
    z = s * s
    series = L3 + z * (L5 + z * (L7 + z * (L9 + z * (L11 + z * (L13 + z * L15)))))
    return TWO * s * (ONE + z * series)
