"""Batch normalisation, alone or with ReLU: arguments, and the running statistics.

With the running statistics it is a line through each channel. With the batch's own it
is more: norm_batch.py.
"""

import math

from tinytl_kernels import Array, kernels_for, namespace

from ..operators import Operand
from ..tensor import Tensor, record
from .norm_batch import Batch, batch_norm_line, wide
from .promote import floating, number, same_dtype
from .reduce import expand, sum


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
    stats = {"running_mean": running_mean, "running_var": running_var}
    rest = training, momentum, eps
    return _normalised("batch_norm", input, stats, weight, bias, *rest, False)


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
    stats = {"running_mean": running_mean, "running_var": running_var}
    rest = training, momentum, eps
    return _normalised("batch_norm_relu", input, stats, weight, bias, *rest, True)


def _normalised(
    operation: str,
    input: Operand,
    stats: dict[str, Tensor | None],
    weight: Operand | None,
    bias: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
    relu: bool,
) -> Tensor:
    x, w, b = _checked(operation, input, stats, weight, bias, training, momentum, eps)
    if training:
        m, v = _moments(operation, x, stats, momentum)
    else:
        m, v = (p.data for p in stats.values() if p is not None)
    xp = namespace(v)
    r = (1 / xp.sqrt(v + eps)).astype(x.dtype, copy=False)
    w = Tensor(xp.ones_like(r)) if w is None else w
    b = Tensor(xp.zeros_like(r)) if b is None else b
    by = Batch(x, w, b, m, r, eps, relu)
    return batch_norm_line(by) if training else _fixed(by)


def _moments(
    operation: str, x: Tensor, stats: dict[str, Tensor | None], momentum: float
) -> tuple[Array, Array]:
    """The batch's mean and variance, which the running ones then follow."""
    count = math.prod(x.shape[2:]) * x.shape[0]
    if count < 2 or not x.shape[1]:
        raise ValueError(
            f"{operation}: training needs more than one value a channel, got shape "
            f"{x.shape}; use a larger batch, or eval mode"
        )
    m, v = kernels_for(x.data).moments(x.data)
    _update(stats["running_mean"], m, momentum)
    _update(stats["running_var"], v * (count / (count - 1)), momentum)
    return m, v


def _checked(
    operation: str,
    input: Operand,
    stats: dict[str, Tensor | None],
    weight: Operand | None,
    bias: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Input, weight and bias as Tensors that fit one another."""
    x = floating(operation, "input", input)
    if x.ndim < 2:
        raise ValueError(
            f"{operation}: needs an input (N, C, ...), got shape {x.shape}"
        )
    w = None if weight is None else floating(operation, "weight", weight)
    b = None if bias is None else floating(operation, "bias", bias)
    given = {**stats, "weight": w, "bias": b}
    for name, p in given.items():
        if p is not None and not isinstance(p, Tensor):
            raise TypeError(f"{operation}: {name} must be a Tensor or None, got {p!r}")
    number(operation, "momentum", momentum)
    if number(operation, "eps", eps) < 0 or (training and eps == 0):
        raise ValueError(f"{operation}: eps must be positive, got {eps}")
    same_dtype(operation, input=x, **given)
    one_each = x.shape[1:2]
    for name, p in given.items():
        if p is not None and p.data.shape != one_each:
            raise ValueError(
                f"{operation}: {name} must be of shape ({x.shape[1]},) for an input of "
                f"shape {x.shape}, got {p.shape}"
            )
    running_mean, running_var = stats.values()
    if not training and (running_mean is None or running_var is None):
        raise ValueError(
            f"{operation}: running_mean and running_var are needed unless training=True"
        )
    return x, w, b


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
