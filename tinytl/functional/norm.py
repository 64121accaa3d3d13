"""Batch normalisation, alone or with ReLU: arguments, and the running statistics.

With the running statistics it is a line through each channel. With the batch's own it
is more: norm_batch.py.
"""

import math

from tinytl_kernels import Array, kernels_for, namespace
from tinytl_kernels.line import Line

from ..operators import Operand
from ..tensor import Tensor, record
from .basic import keep
from .norm_batch import batch_norm_line, wide
from .promote import floating, number, same_dtype
from .reduce import sum


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
        running_var: likewise, with the unbiased variance v * n / (n - 1).
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
    return _normalised(input, stats, weight, bias, training, momentum, eps, False)


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
    return _normalised(input, stats, weight, bias, training, momentum, eps, True)


def _normalised(
    input: Operand,
    stats: dict[str, Tensor | None],
    weight: Operand | None,
    bias: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
    relu: bool,
) -> Tensor:
    x, w, b = _checked(input, stats, weight, bias, training, momentum, eps)
    if not training:
        return _with_running(x, stats, w, b, eps, relu)
    count = math.prod(x.shape[2:]) * x.shape[0]
    if count < 2 or not x.shape[1]:
        raise ValueError(
            f"batch_norm: training needs more than one value a channel, got shape "
            f"{x.shape}; use a larger batch, or eval mode"
        )
    m, v = kernels_for(x.data).moments(x.data)
    _update(stats["running_mean"], m, momentum)
    _update(stats["running_var"], v * (count / (count - 1)), momentum)
    xp = namespace(v)
    r = (1 / xp.sqrt(v + eps)).astype(x.dtype, copy=False)
    w = Tensor(xp.ones_like(r)) if w is None else w
    b = Tensor(xp.zeros_like(r)) if b is None else b
    return batch_norm_line(x, w, b, m, r, eps, relu)


def _checked(
    input: Operand,
    stats: dict[str, Tensor | None],
    weight: Operand | None,
    bias: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Input, weight and bias as Tensors that fit one another."""
    x = floating("batch_norm", "input", input)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: needs an input (N, C, ...), got shape {x.shape}")
    w = None if weight is None else floating("batch_norm", "weight", weight)
    b = None if bias is None else floating("batch_norm", "bias", bias)
    for name, p in stats.items():
        if not isinstance(p, Tensor | None):
            raise TypeError(f"batch_norm: {name} must be a Tensor or None, got {p!r}")
    number("batch_norm", "momentum", momentum)
    if number("batch_norm", "eps", eps) < 0 or (training and eps == 0):
        raise ValueError(f"batch_norm: eps must be positive, got {eps}")
    same_dtype("batch_norm", input=x, weight=w, bias=b, **stats)
    for name, p in {**stats, "weight": w, "bias": b}.items():
        if p is not None and p.shape != (x.shape[1],):
            raise ValueError(
                f"batch_norm: {name} must be of shape ({x.shape[1]},) for an input of "
                f"shape {x.shape}, got {p.shape}"
            )
    if not training and None in stats.values():
        raise ValueError(
            "batch_norm: running_mean and running_var are needed unless training=True"
        )
    return x, w, b


def _update(running: Tensor | None, value: Array, momentum: float) -> None:
    if running is not None:
        mixed = (1 - momentum) * running.data + momentum * value
        running.data = mixed.astype(running.dtype, copy=False)


# -- with the running statistics: a line that does not depend on x ---------------------


def _with_running(
    x: Tensor,
    stats: dict[str, Tensor | None],
    w: Tensor | None,
    b: Tensor | None,
    eps: float,
    relu: bool,
) -> Tensor:
    m, v = stats["running_mean"], stats["running_var"]
    assert m is not None
    assert v is not None
    scale = 1 / (v + eps) ** 0.5
    scale = scale if w is None else scale * w
    shift = -m * scale
    return _batch_norm_affine(x, scale, shift if b is None else shift + b, relu)


def _batch_norm_affine(x: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
    """x * scale + shift, channel by channel, or its ReLU, in one pass over memory."""
    over = (0, *range(2, x.ndim))
    by = Line(namespace(x.data).zeros_like(scale.data), scale.data, shift.data, relu)
    value = kernels_for(x.data).line(x.data, by)

    def passed(g: Tensor) -> Tensor:
        return keep(g, kernels_for(x.data).line(x.data, by) > 0) if relu else g

    return record(
        value,
        (x, lambda g: passed(g) * wide(scale, x)),
        (scale, lambda g: sum(passed(g) * x, over)),
        (shift, lambda g: sum(passed(g), over)),
    )
