"""Arithmetic and elementary functions, element by element, with broadcasting.

Where broadcasting repeated an input, its gradient is the sum over the copies:
``sum_to``. Masks are constants: the derivative of a step is 0 wherever it exists.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from tinytl_kernels import Array, kernels_for, namespace
from tinytl_kernels.devices import device_type

from ..devices import check_together
from ..graph import is_grad_enabled
from ..operators import Operand
from ..tensor import Tensor, record
from .promote import common, number, tensor, to
from .reduce import LARGE, sum_to


def broadcastable(operation: str, *operands: Any, floats: bool = False) -> list[Tensor]:
    """Operands as Tensors of one dtype whose shapes broadcast, or a ValueError."""
    tensors = common(operation, *operands, floats=floats)
    _check_shapes(operation, *(x.shape for x in tensors))
    return tensors


def _check_shapes(operation: str, *shapes: tuple[int, ...]) -> None:
    """Raise ValueError unless the shapes broadcast."""
    if len({*shapes, ()}) < 3:  # equal, beside single numbers: no need to ask
        return
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(map(str, shapes))
        raise ValueError(
            f"{operation}: shapes {listed} do not broadcast; sizes must be equal or 1, "
            "counted from the last dimension"
        ) from None


MULTIPLIED = range(1, 9)  # exponents; larger ones would lose the last digits


def ufunc(name: str, x: Array, *other: Array) -> Array:
    """NumPy's or CuPy's function of this name, of one array or two."""
    if x.size >= LARGE or (other and other[0].size >= LARGE):
        return kernels_for(x).ufunc(name, x, *other)
    return getattr(namespace(x), name)(x, *other)


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """y = input + alpha * other.

    Backward. gy for input, alpha * gy for other.
    """
    x, z = broadcastable("add", input, _scaled("add", other, alpha))
    xs, zs = x.shape, z.shape
    return record(
        ufunc("add", x.data, z.data),
        (x, lambda g: sum_to(g, xs)),
        (z, lambda g: sum_to(g, zs)),
    )


def _scaled(operation: str, other: Operand, alpha: float) -> Operand:
    factor = number(operation, "alpha", alpha)
    return other if factor == 1 else mul(tensor(operation, "other", other), factor)


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """y = input - alpha * other.

    Backward. gy for input, -alpha * gy for other.

    Raises:
        ValueError: shapes do not broadcast.
        TypeError: bools have no difference.
    """
    x, z = broadcastable("sub", input, _scaled("sub", other, alpha))
    if x.dtype == bool:
        raise TypeError("sub: bools have no difference; use != or convert them")
    xs, zs = x.shape, z.shape
    return record(
        ufunc("subtract", x.data, z.data),
        (x, lambda g: sum_to(g, xs)),
        (z, lambda g: sum_to(-g, zs)),
    )


def mul(input: Operand, other: Operand) -> Tensor:
    """y = input * other.

    Backward. gy * other for input, gy * input for other.
    """
    x, z = broadcastable("mul", input, other)
    xs, zs = x.shape, z.shape
    return record(
        ufunc("multiply", x.data, z.data),
        (x, lambda g: sum_to(g * z, xs), lambda t: t * z),
        (z, lambda g: sum_to(g * x, zs), lambda t: x * t),
    )


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """y = input / other; rounding_mode "floor" or "trunc" rounds it, without gradient.

    Backward. gy / other for input, -gy * input / other^2 for other.

    Raises:
        ValueError: shapes do not broadcast, or an unknown rounding_mode.
    """
    if rounding_mode not in (None, "floor", "trunc"):
        raise ValueError(
            "div: rounding_mode must be None, 'floor' or 'trunc', got "
            f"{rounding_mode!r}"
        )
    x, z = broadcastable("div", input, other, floats=rounding_mode is None)
    xp = namespace(x.data)
    xs, zs = x.shape, z.shape
    with np.errstate(divide="ignore", invalid="ignore"):
        if rounding_mode == "floor":
            value = x.data // z.data
        elif rounding_mode == "trunc":
            value = xp.trunc(x.data / z.data).astype(x.dtype)
        else:
            return record(
                ufunc("divide", x.data, z.data),
                (x, lambda g: sum_to(g / z, xs)),
                (z, lambda g: sum_to(-g * ((x / z) / z), zs)),
            )
    return record(
        value, (x, lambda g: sum_to(g * 0, xs)), (z, lambda g: sum_to(g * 0, zs))
    )


def neg(input: Operand) -> Tensor:
    """y = -x.   Backward. gx = -gy.

    Raises:
        TypeError: bools have no sign.
    """
    x = tensor("neg", "input", input)
    if x.dtype == bool:
        raise TypeError("neg: bools have no sign; use != True or convert them")
    return record(ufunc("negative", x.data), (x, lambda g: -g))


def pow(input: Operand, exponent: Operand) -> Tensor:
    """y = x^e, element by element; x or e may be a number.

    Backward. dy/dx = e * x^(e-1), and 0 where e = 0.
              dy/de = x^e * log(x), and 0 where x = 0 and e >= 0 (its limit).

    Raises:
        ValueError: shapes do not broadcast, or integers to a negative power.
    """
    x, e = broadcastable("pow", input, exponent)
    xs, es = x.shape, e.shape
    if x.dtype.kind in "iu" and (e.data < 0).any():
        raise ValueError("pow: integers to a negative power; convert them to floats")

    k = exponent if isinstance(exponent, int | float) else None

    def to_base(g: Tensor) -> Tensor:
        if k is None:
            slope = where(e == 0, 0.0, e * x ** (e - 1))
        else:  # one exponent for all: keep it a number, NumPy squares faster
            slope = x * 0 if k == 0 else k * x ** (k - 1)
        return sum_to(g * slope, xs)

    def to_exponent(g: Tensor) -> Tensor:
        flat = (x.data == 0) & (e.data >= 0)
        return sum_to(where(flat, 0.0, g * (x**e * log(x))), es)

    with np.errstate(all="ignore"):
        if k is not None and k in MULTIPLIED and x.dtype.kind == "f":
            value = _multiplied(x.data, int(k))
        else:
            value = ufunc("power", x.data, e.data).astype(x.dtype, copy=False)
    return record(value, (x, to_base), (e, to_exponent))


def _multiplied(x: Array, k: int) -> Array:
    """x^k as a product. C's function takes ten times as long, for x < 0 even more."""
    if k == 1:
        return x
    half = _multiplied(x, k // 2)
    square = ufunc("multiply", half, half)
    return ufunc("multiply", square, x) if k % 2 else square


def exp(input: Operand) -> Tensor:
    """y = e^x.   Backward. gx = gy * e^x."""
    (x,) = common("exp", input, floats=True)
    with np.errstate(over="ignore"):
        value = ufunc("exp", x.data)
    return record(value, (x, lambda g: g * _again(exp, x, value)))


def _again(function: Callable[[Tensor], Tensor], x: Tensor, value: Array) -> Tensor:
    """function(x), whose value is known: computed only where its history is wanted."""
    return function(x) if is_grad_enabled() else Tensor(value)


def log(input: Operand) -> Tensor:
    """y = log x, natural; -inf at 0 and NaN below.   Backward. gx = gy / x."""
    (x,) = common("log", input, floats=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = ufunc("log", x.data)
    return record(value, (x, lambda g: g / x))


def sqrt(input: Operand) -> Tensor:
    """y = sqrt(x); NaN below 0.   Backward. gx = gy / (2 sqrt(x)), infinite at 0."""
    (x,) = common("sqrt", input, floats=True)
    with np.errstate(invalid="ignore"):
        value = ufunc("sqrt", x.data)
    return record(value, (x, lambda g: g / (2 * _again(sqrt, x, value))))


def abs(input: Operand) -> Tensor:
    """y = |x|.   Backward. gx = gy * sign(x), 0 at exactly 0."""
    x = tensor("abs", "input", input)
    sign = ufunc("sign", x.data)
    return record(ufunc("abs", x.data), (x, lambda g: g * Tensor(sign)))


def where(condition: Operand, input: Operand, other: Operand) -> Tensor:
    """Y = input where `condition` holds, other elsewhere; all three broadcast.

    Backward. gy goes where the value came from, 0 to the other place. (Selected, not
    multiplied by 0: an infinite gradient does not spill over as NaN.)

    Raises:
        TypeError: the condition is not bool.
        ValueError: shapes do not broadcast, or devices differ.
    """
    c = tensor("where", "condition", condition).data
    if c.dtype != bool:
        raise TypeError(f"where: condition must be bool, got {c.dtype}; compare first")
    x, z = common("where", input, other)
    if device_type(c) == "cuda":  # two numbers go where the condition is
        x, z = (v if v.ndim else to(v, device="cuda") for v in (x, z))
    check_together("where", condition=c, input=x.data, other=z.data)
    _check_shapes("where", c.shape, x.shape, z.shape)
    xs, zs = x.shape, z.shape
    return record(
        namespace(c).where(c, x.data, z.data),
        (x, lambda g: sum_to(keep(g, c), xs)),
        (z, lambda g: sum_to(keep(g, ~c), zs)),
    )


def keep(input: Tensor, mask: Array) -> Tensor:
    """y = x where `mask` holds, 0 elsewhere.   Backward. The same selection of gy.

    What most pullbacks with a mask are made of. The mask broadcasts to the input.
    """
    value = kernels_for(input.data).keep(input.data, mask)
    return record(value, (input, lambda g: keep(g, mask)))


def clamp(
    input: Operand, min: Operand | None = None, max: Operand | None = None
) -> Tensor:
    """y = min(max(x, min), max): values limited to [min, max]; max wins if min > max.

    Backward. gy where min <= x <= max (inclusive, as in torch: unlike relu6, which has
    gradient 0 at its ends), to the bound that took effect elsewhere.

    Raises:
        ValueError: neither bound is given.
    """
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    given = [input] + [b for b in (min, max) if b is not None]
    x, *bounds = broadcastable("clamp", *given)
    low = bounds[0] if min is not None else None
    high = bounds[-1] if max is not None else None
    xp = namespace(x.data)
    value, inside = x.data, xp.ones(x.shape, bool)
    edges: list[tuple[Tensor, Any]] = []
    if low is not None:
        value, inside = xp.maximum(value, low.data), inside & (x.data >= low.data)
        below = x.data < low.data
        if high is not None:
            below = below & (low.data < high.data)
        edges.append((low, _clamp(below, low.shape)))
    if high is not None:
        value, inside = xp.minimum(value, high.data), inside & (x.data <= high.data)
        above = x.data > high.data
        if low is not None:
            above = above | (low.data > high.data)
        edges.append((high, _clamp(above, high.shape)))
    return record(value, (x, _clamp(inside, x.shape)), *edges)


def _clamp(mask: Any, shape: tuple[int, ...]) -> Any:
    """Pullback that keeps the gradient where `mask` holds."""

    def pullback(g: Tensor) -> Tensor:
        return sum_to(keep(g, mask), shape)

    return pullback


def maximum(input: Operand, other: Operand) -> Tensor:
    """y = max(input, other), NaN if either is.

    Backward. gy to the larger one, half to each where they are equal, as in torch.
    """
    x, z = broadcastable("maximum", input, other)
    value = namespace(x.data).maximum(x.data, z.data)
    return _maximum_or_minimum(value, x, z, x.data < z.data, z.data < x.data)


def minimum(input: Operand, other: Operand) -> Tensor:
    """y = min(input, other), NaN if either is; gradients as for maximum."""
    x, z = broadcastable("minimum", input, other)
    value = namespace(x.data).minimum(x.data, z.data)
    return _maximum_or_minimum(value, x, z, x.data > z.data, z.data > x.data)


def _maximum_or_minimum(
    value: Any, x: Tensor, z: Tensor, lost_x: Any, lost_z: Any
) -> Tensor:
    xs, zs, tie = x.shape, z.shape, x.data == z.data

    def share(g: Tensor, lost: Any) -> Tensor:
        return keep(g, ~(lost | tie)) + keep(g / 2, tie)

    return record(
        value,
        (x, lambda g: sum_to(share(g, lost_x), xs)),
        (z, lambda g: sum_to(share(g, lost_z), zs)),
    )
