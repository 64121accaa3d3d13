"""Sums and what is made of them; and expand, which is the transpose of a sum."""

import math
from collections.abc import Sequence

import numpy as np
from tinytl_kernels import kernels_for, namespace

from ..operators import Dims, Operand
from ..tensor import FLOATS, Tensor, record
from .promote import floating, number, tensor, to
from .shape import axes, integers, reshape

LARGE = 1 << 18  # numbers from which a kernel is worth asking for


def sum(
    input: Operand,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: type | None = None,
) -> Tensor:
    """y = sum of x over `dim`; over everything if `dim` is None or ().

    Backward. Every summand gets the gradient of its sum: gx = expand(gy).
    """
    x = tensor("sum", "input", input)
    x = to(x, dtype or (x.dtype if x.dtype in FLOATS else np.int64))
    gone = axes("sum", dim if dim != () else None, x.ndim)
    before = x.shape
    kept = tuple(1 if k in gone else n for k, n in enumerate(before))
    if x.numel() < LARGE:
        value = x.data.sum(axis=gone, keepdims=keepdim)
    else:
        value = kernels_for(x.data).total(x.data, gone)
        value = value if keepdim else value.squeeze(gone)
    return record(value, (x, lambda g: expand(reshape(g, kept), before)))


def expand(input: Operand, sizes: Sequence[int]) -> Tensor:
    """x repeated along dimensions of size 1, and along new leading ones; -1 keeps a
    size.

    Backward. The copies' gradients add up: gx = sum_to(gy).

    Raises:
        ValueError: a size other than 1 would have to change.
    """
    x, wanted = tensor("expand", "input", input), integers("expand", "sizes", sizes)
    lead = len(wanted) - x.ndim
    shape = tuple(
        x.shape[k - lead] if n == -1 and k >= lead else n for k, n in enumerate(wanted)
    )
    fits = lead >= 0 and all(
        a in (1, b) for a, b in zip(x.shape, shape[max(lead, 0) :], strict=True)
    )
    if not fits or any(n < 0 for n in shape):
        raise ValueError(
            f"expand: a Tensor of shape {x.shape} cannot become {wanted}; only "
            "sizes of 1 can be repeated"
        )
    if shape == x.shape:
        return x
    before = x.shape
    value = namespace(x.data).broadcast_to(x.data, shape)
    return record(value, (x, lambda g: sum_to(g, before)))


def sum_to(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum over whatever broadcasting from `shape` repeated: the transpose of expand."""
    if input.shape == shape:
        return input
    lead = input.ndim - len(shape)
    stretched = [
        k + lead for k, n in enumerate(shape) if n == 1 != input.shape[k + lead]
    ]
    return reshape(sum(input, (*range(lead), *stretched)), shape)


def mean(
    input: Operand,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: type | None = None,
) -> Tensor:
    """Mean over `dim`; over everything if `dim` is None or (). NaN of nothing."""
    x = floating("mean", "input", input if dtype is None else to(input, dtype))
    gone = axes("mean", dim if dim != () else None, x.ndim)
    count = math.prod(x.shape[k] for k in gone)
    return sum(x, gone or None, keepdim) / (count or math.nan)


def var(
    input: Operand,
    dim: Dims | bool = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance: sum of (x - mean)^2 over `dim`, divided by n - correction.

    Args:
        input: floats.
        dim: dimensions to reduce; None or () for all. A bool stands for `unbiased`.
        unbiased: correction 1 (an unbiased estimate of the variance) or 0.
        keepdim: keep reduced dimensions with size 1.
        correction: degrees of freedom to take off; decides over `unbiased`.

    With no degree of freedom left the result is 0 / 0 or inf, as in torch.
    """
    if isinstance(dim, bool):
        unbiased, dim = dim, None
    x = floating("var", "input", input)
    gone = axes("var", dim if dim != () else None, x.ndim)
    count = math.prod(x.shape[k] for k in gone)
    taken = int(unbiased) if correction is None else correction
    freedom = count - number("var", "correction", taken)
    away = x - mean(x, gone or None, keepdim=True)
    squares = sum(away * away, gone or None, keepdim)
    with np.errstate(divide="ignore", invalid="ignore"):
        return squares / max(freedom, 0)


def amax(input: Operand, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Largest value over `dim`; over everything if `dim` is ().

    Backward. Values that share the maximum share its gradient equally, as in torch.

    Raises:
        ValueError: there is no value to choose from.
    """
    return _amax_or_amin("amax", input, dim, keepdim)


def amin(input: Operand, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Smallest value over `dim`; like amax in all else."""
    return _amax_or_amin("amin", input, dim, keepdim)


def _amax_or_amin(operation: str, input: Operand, dim: Dims, keepdim: bool) -> Tensor:
    x = tensor(operation, "input", input)
    gone = axes(operation, dim if dim != () else None, x.ndim)
    if any(x.shape[k] == 0 for k in gone):
        raise ValueError(f"{operation}: nothing to choose from in shape {x.shape}")
    xp = namespace(x.data)
    choose = xp.max if operation == "amax" else xp.min
    kept = choose(x.data, axis=gone, keepdims=True)
    ties = x.data == kept
    before, shape = x.shape, kept.shape
    value = kept if keepdim else xp.squeeze(kept, axis=gone)

    def pullback(g: Tensor) -> Tensor:
        count = Tensor(ties.sum(axis=gone, keepdims=True).astype(g.dtype))
        chosen = Tensor(ties.astype(g.dtype))
        return expand(reshape(g, shape) / count, before) * chosen

    return record(value, (x, pullback))
