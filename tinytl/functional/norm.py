"""Batch normalisation, alone or with ReLU: arguments, and the running statistics.

With the running statistics it is a line through each channel. With the batch's own it
is more: norm_batch.py.
"""

import math
from typing import Any

from tinytl_kernels import Array, kernels_for, namespace

from ..operators import Operand
from ..tensor import Tensor, record
from .norm_batch import Batch, batch_norm_line, wide
from .promote import number, same_dtype, tensor
from .reduce import expand, sum

NAMES = ("running_mean", "running_var", "weight", "bias")
Given = tuple[Tensor | None, Tensor | None, Operand | None, Operand | None]


def batch_norm(
    input: Operand,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - m) / sqrt(v + eps) * weight + bias, channel by channel.

    Args:
        input: (N, C, ...).
        running_mean: (C,), or None when training. In training it is replaced by
            (1 - momentum) * running_mean + momentum * m.
        running_var: likewise, with the unbiased variance v * n / (n - 1). Both are
            constants to gradients.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        training: m and v are the batch's (v divided by n); else the running ones.
        momentum: see running_mean.
        eps: keeps a constant channel finite.

    Raises:
        ValueError: shapes do not fit; one value a channel in training; no statistics
            outside of it; eps is not positive.
        TypeError: dtypes differ or are not floating.
    """
    given = running_mean, running_var, weight, bias
    return _normalised("batch_norm", input, given, training, momentum, eps, False)


def batch_norm_relu(
    input: Operand,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = relu(batch_norm(x)), in as many passes over memory as batch_norm alone.

    Arguments and errors as for batch_norm.
    Backward. batch_norm's, of the gradient where y > 0. Which that is is found again
    from x, so no map of bools and no standardised x is kept.
    """
    given = running_mean, running_var, weight, bias
    return _normalised("batch_norm_relu", input, given, training, momentum, eps, True)


def _normalised(
    operation: str,
    input: Operand,
    given: Given,
    training: bool,
    momentum: float,
    eps: float,
    relu: bool,
) -> Tensor:
    x = tensor(operation, "input", input)
    mean, var, w, b = _checked(operation, x, given, training, momentum, eps)
    if training:
        m, v = _moments(operation, x, mean, var, momentum)
    else:
        m, v = mean.data, var.data
    xp = namespace(v)
    r = xp.reciprocal(xp.sqrt(v + eps)).astype(x.dtype, copy=False)
    w = Tensor(xp.ones_like(r)) if w is None else w
    b = Tensor(xp.zeros_like(r)) if b is None else b
    by = Batch(x, w, b, m, r, eps, relu)
    return batch_norm_line(by) if training else _fixed(by)


def _moments(
    operation: str, x: Tensor, mean: Any, var: Any, momentum: float
) -> tuple[Array, Array]:
    """The batch's mean and variance, which the running ones then follow."""
    count = math.prod(x.shape[2:]) * x.shape[0]
    if count < 2 or not x.shape[1]:
        raise ValueError(
            f"{operation}: training needs more than one value a channel, got shape "
            f"{x.shape}; use a larger batch, or eval mode"
        )
    m, v = kernels_for(x.data).moments(x.data)
    _update(mean, m, momentum)
    _update(var, v * (count / (count - 1)), momentum)
    return m, v


def _checked(
    operation: str,
    x: Tensor,
    given: Given,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Any, ...]:
    """The same four as Tensors that fit x, or None."""
    mean, var, weight, bias = given
    w = None if weight is None else tensor(operation, "weight", weight)
    b = None if bias is None else tensor(operation, "bias", bias)
    shape, checked = x.data.shape, (mean, var, w, b)
    if len(shape) < 2:
        raise ValueError(f"{operation}: needs an input (N, C, ...), got shape {shape}")
    for name, p in zip(NAMES, checked, strict=True):
        if not (p is None or isinstance(p, Tensor)):
            raise TypeError(f"{operation}: {name} must be a Tensor or None, got {p!r}")
        if p is not None and p.data.shape != shape[1:2]:
            raise ValueError(
                f"{operation}: {name} must be of shape ({shape[1]},) for an input of "
                f"shape {shape}, got {p.shape}"
            )
    same_dtype(operation, input=x, running_mean=mean, running_var=var, weight=w, bias=b)
    number(operation, "momentum", momentum)
    if number(operation, "eps", eps) < 0 or (training and eps == 0):
        raise ValueError(f"{operation}: eps must be positive, got {eps}")
    if not training and (mean is None or var is None):
        raise ValueError(
            f"{operation}: running_mean and running_var are needed unless training=True"
        )
    return checked


def _update(running: Tensor | None, value: Array, momentum: float) -> None:
    if running is not None:
        mixed = (1 - momentum) * running.data + momentum * value
        running.data = mixed.astype(running.dtype, copy=False)


# -- with the running statistics: a line that does not depend on x ---------------------


def _fixed(by: Batch) -> Tensor:
    """w xs + b, or its ReLU, with xs = r (x - m) for an m and r that are given."""
    return record(
        by.kernels.line(by.x.data, by.line),
        (by.x, lambda g: _fixed_dx(g, by.w, by)),
        (by.w, lambda g: _fixed_dw(g, by)),
        (by.b, lambda g: _fixed_db(g, by)),
    )


def _fixed_dx(g: Tensor, w: Tensor, by: Batch) -> Tensor:
    """w r g', in one pass over memory."""
    weights = by.weights(w.data * by.r, by.none(), by.none())
    return record(
        by.kernels.line_mix(g.data, by.x.data, by.line, weights),
        (g, lambda h: _fixed_dx(h, w, by)),
        (w, lambda h: Tensor(by.r) * sum(h * by.passed(g), by.over)),
    )


def _fixed_dw(g: Tensor, by: Batch) -> Tensor:
    """sum(g' xs)."""
    m, r = wide(Tensor(by.m), by.x), wide(Tensor(by.r), by.x)
    return record(
        (by.r * by.sums(g)[1]).astype(g.dtype, copy=False),
        (g, lambda h: by.passed(wide(h, by.x) * ((by.x - m) * r))),
        (by.x, lambda h: _fixed_dx(g, h, by)),
    )


def _fixed_db(g: Tensor, by: Batch) -> Tensor:
    """sum(g')."""
    return record(
        by.sums(g)[0].astype(g.dtype, copy=False),
        (g, lambda h: by.passed(expand(wide(h, by.x), by.x.shape))),
    )
