"""What is done to every number by itself, on a GPU.

A block takes a piece of the values, a thread one value at a time; the grid goes on in
steps of its own size. Each kernel does all that its formula asks for while the value is
in a register, where one array operation after another would go through memory.
"""

import math
from typing import Any

import numpy as np

from .. import namespace
from .launch import Array, Int32, cuda, device, flat_grid, kernel


@kernel
def ramp_kernel(x: Array, top: Any, topped: Int32, y: Array, on: Array) -> None:
    """y = min(max(x, 0), top), on = 0 < x < top; no top unless `topped` is 1.

    Traffic. One value read, one and a byte written. Arithmetic. 4 comparisons.
    Limit: memory.
    """
    zero = x.dtype.type(0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        value = x[i]
        on[i] = value > zero and (topped == 0 or value < top)
        if value < zero:
            value = zero
        if topped != 0 and value > top:
            value = top
        y[i] = value


@kernel
def bend_kernel(g: Array, x: Array, slope: Any, gx: Array) -> None:
    """gx = g where x > 0, slope * g elsewhere.

    Traffic. Two values read, one written. Arithmetic. 2 operations. Limit: memory.
    """
    zero = x.dtype.type(0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        gx[i] = g[i] if x[i] > zero else slope * g[i]


@kernel
def hardsigmoid_kernel(x: Array, zero: Any, three: Any, sixth: Any, y: Array) -> None:
    """y = min(max(x + 3, 0), 6) / 6.

    Traffic. One value read, one written. Arithmetic. 4 operations. Limit: memory.
    """
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        y[i] = _between(x[i] + three, zero, three + three) * sixth


@kernel
def hardsigmoid_dx_kernel(
    g: Array, x: Array, zero: Any, three: Any, sixth: Any, gx: Array
) -> None:
    """gx = g / 6 where -3 < x < 3, else 0.

    Traffic. Two values read, one written. Arithmetic. 3 operations. Limit: memory.
    """
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        gx[i] = g[i] * sixth if -three < x[i] < three else zero


@kernel
def hardswish_kernel(x: Array, zero: Any, three: Any, sixth: Any, y: Array) -> None:
    """y = x * min(max(x + 3, 0), 6) / 6.

    Traffic. One value read, one written. Arithmetic. 5 operations. Limit: memory.
    """
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        y[i] = x[i] * (_between(x[i] + three, zero, three + three) * sixth)


@kernel
def hardswish_dx_kernel(
    g: Array, x: Array, zero: Any, three: Any, third: Any, half: Any, gx: Array
) -> None:
    """gx = g times 0 for x <= -3, 1 for x >= 3, x / 3 + 1 / 2 between.

    Traffic. Two values read, one written. Arithmetic. 5 operations. Limit: memory.
    """
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        if x[i] >= three:
            gx[i] = g[i]
        else:
            gx[i] = zero if x[i] <= -three else g[i] * (x[i] * third + half)


@device
def _between(x: Any, low: Any, high: Any) -> Any:
    """min(max(x, low), high), and NaN for NaN."""
    if x < low:
        return low
    return high if x > high else x


@kernel
def softplus_kernel(x: Array, beta: Any, threshold: Any, y: Array) -> None:
    """y = (max(b, 0) + log(1 + exp(-|b|))) / beta, b = beta * x; x if b > threshold.

    Traffic. One value read, one written.
    Arithmetic. An exponential, a logarithm, a division and 6 more. Limit: memory.
    """
    zero = x.dtype.type(0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        b = beta * x[i]
        above = b if b > zero else zero
        if b > threshold:
            y[i] = x[i]
        else:
            y[i] = (above + math.log1p(math.exp(-abs(b)))) / beta


@kernel
def softplus_dx_kernel(
    g: Array, x: Array, beta: Any, threshold: Any, gx: Array
) -> None:
    """gx = g * sigmoid(b), b = beta * x; g if b > threshold.

    Traffic. Two values read, one written.
    Arithmetic. An exponential, a division and 6 more. Limit: memory.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        b = beta * x[i]
        gx[i] = g[i] if b > threshold else g[i] * _sigmoid(b, zero, one)


@kernel
def sigmoid_kernel(x: Array, y: Array) -> None:
    """y = 1 / (1 + exp(-x)).

    Traffic. One value read, one written.
    Arithmetic. An exponential, a division and 4 more. Limit: memory.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        y[i] = _sigmoid(x[i], zero, one)


@kernel
def sigmoid_dx_kernel(g: Array, x: Array, gx: Array) -> None:
    """gx = g * e / (1 + e)^2, e = exp(-|x|).

    Traffic. Two values read, one written.
    Arithmetic. An exponential, a division and 5 more. Limit: memory.
    """
    one = x.dtype.type(1)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        e = math.exp(-abs(x[i]))
        gx[i] = g[i] * (e / ((one + e) * (one + e)))


@device
def _sigmoid(x: Any, zero: Any, one: Any) -> Any:
    """With exp(-|x|), which cannot overflow; 0 and 1 come in the dtype of x."""
    e = math.exp(-abs(x))
    return (one if x >= zero else e) / (one + e)


# -- the functions around them ---------------------------------------------------------


def ufunc(name: str, *arrays: Array) -> Array:
    """CuPy's function of this name, of one array or two; see plain.ufunc.

    Traffic. 8 or 12 bytes an output in float32 for one operation: memory is the limit.
    """
    return getattr(namespace(arrays[0]), name)(*arrays)


def add_to(y: Array, z: Array) -> Array:
    """y + z in the memory of y; see plain.add_to."""
    y += z
    return y


def total(x: Array, axes: tuple[int, ...]) -> Array:
    """Sum over `axes`, which stay, with size 1, by CuPy; see plain.total."""
    return x.sum(axis=axes, keepdims=True)


def keep(x: Array, mask: Array) -> Array:
    """x where `mask` holds, 0 elsewhere; the mask broadcasts to x.

    A condition costs a thread nothing: CuPy's own kernel does it.
    """
    return namespace(x).where(mask, x, x.dtype.type(0))


def ramp(x: Array, top: float | None) -> tuple[Array, Array]:
    """min(max(x, 0), top), and where its slope is 1: 0 < x < top. No top for None."""
    on = namespace(x).empty(x.size, bool)
    limit = x.dtype.type(0 if top is None else top)
    y = _each(ramp_kernel, [x], [limit, np.int32(top is not None)], on)
    return y, on.reshape(x.shape)


def bend(g: Array, x: Array, slope: float) -> Array:
    """g where x > 0, slope * g elsewhere: leaky ReLU's gradient; its value if g = x."""
    return _each(bend_kernel, [g, x], [x.dtype.type(slope)])


def hardsigmoid(x: Array) -> Array:
    """min(max(x + 3, 0), 6) / 6."""
    return _each(hardsigmoid_kernel, [x], map(x.dtype.type, (0, 3, 1 / 6)))


def hardsigmoid_dx(g: Array, x: Array) -> Array:
    """g / 6 where -3 < x < 3, else 0."""
    return _each(hardsigmoid_dx_kernel, [g, x], map(x.dtype.type, (0, 3, 1 / 6)))


def hardswish(x: Array) -> Array:
    """x * hardsigmoid(x)."""
    return _each(hardswish_kernel, [x], map(x.dtype.type, (0, 3, 1 / 6)))


def hardswish_dx(g: Array, x: Array) -> Array:
    """g times hardswish's slope: 0 for x <= -3, 1 for x >= 3, x / 3 + 1 / 2 between."""
    return _each(hardswish_dx_kernel, [g, x], map(x.dtype.type, (0, 3, 1 / 3, 0.5)))


def softplus(x: Array, beta: float, threshold: float) -> Array:
    """log(1 + exp(b)) / beta with b = beta * x, and x where b > threshold."""
    return _each(softplus_kernel, [x], map(x.dtype.type, (beta, threshold)))


def softplus_dx(g: Array, x: Array, beta: float, threshold: float) -> Array:
    """g times softplus' slope: sigmoid(b), and 1 where b > threshold."""
    return _each(softplus_dx_kernel, [g, x], map(x.dtype.type, (beta, threshold)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), with exp(-|x|), which cannot overflow."""
    return _each(sigmoid_kernel, [x], [])


def sigmoid_dx(g: Array, x: Array) -> Array:
    """g times sigmoid's slope, e / (1 + e)^2 with e = exp(-|x|)."""
    return _each(sigmoid_dx_kernel, [g, x], [])


def tanh_dx(g: Array, x: Array) -> Array:
    """g times tanh's slope, 4 e / (1 + e)^2 with e = exp(-2 |x|)."""
    return sigmoid_dx(4 * g, 2 * x)


def _each(form: Any, arrays: list[Array], numbers: Any, *more: Array) -> Array:
    """The result of a kernel with a thread per value; of the shape of the arrays."""
    x = arrays[0]
    xp = namespace(x)
    given = [xp.ascontiguousarray(a).reshape(-1) for a in arrays]
    y = xp.empty(x.size, x.dtype)
    form.launch(*flat_grid(x.size), *given, *numbers, y, *more)
    return y.reshape(x.shape)
