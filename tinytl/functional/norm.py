r"""Batch normalisation, with its derivatives of every order.

Standardise each channel: xs = r (x - m), with m its mean and v its variance over all
n values of the channel in the batch, and r = (v + eps)^(-1/2).

First derivative. Moving x_i moves m and r as well:

    dx(g; x) = r (g - mean(g) - xs mean(g xs))                                       (1)

Second. (1) is linear in g, and symmetric: <h, dx(g; x)> = <g, dx(h; x)>. So its
gradient with respect to g, when h arrives, is dx(h; x) again. With respect to x, write

    <h, dx(g; x)> = n r A,    A = mean(h g) - mean(h) mean(g) - mean(h xs) mean(g xs).

Here dr/dx = -r^2 xs / n, and the gradient of mean(h xs) is dx(h; x) / n. The product
rule gives

    -r^2 A xs - r (mean(g xs) dx(h; x) + mean(h xs) dx(g; x))                        (2)

(2) is written with operations on Tensors, so the third and all further ones follow.
Source: Ioffe & Szegedy 2015; (2) is ours, tested against differences and PyTorch.
"""

import math
from dataclasses import dataclass

import numpy as np
from tinytl_kernels import Array, kernels_for

from ..operators import Operand
from ..tensor import Tensor, record
from .promote import floating, number, same_dtype
from .reduce import mean, sum
from .shape import reshape


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
    x = floating("batch_norm", "input", input)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: needs an input (N, C, ...), got shape {x.shape}")
    w = None if weight is None else floating("batch_norm", "weight", weight)
    b = None if bias is None else floating("batch_norm", "bias", bias)
    stats = {"running_mean": running_mean, "running_var": running_var}
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
    if training:
        y, m, v = _standardised(x, eps)
        count = x.numel() // x.shape[1]
        _update(running_mean, m, momentum)
        _update(running_var, v * (count / (count - 1)), momentum)
        return _batch_norm_affine(y, w, b)
    if running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm: running_mean and running_var are needed unless training=True"
        )
    scale = 1 / (running_var + eps) ** 0.5
    scale = scale if w is None else scale * w
    shift = -running_mean * scale
    return _batch_norm_affine(x, scale, shift if b is None else shift + b)


def _update(running: Tensor | None, value: Array, momentum: float) -> None:
    if running is not None:
        mixed = (1 - momentum) * running.data + momentum * value
        running.data = mixed.astype(running.dtype)


def _batch_norm_affine(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """x * scale + shift, channel by channel, in one pass over memory."""
    wide = (1, -1, *(1,) * (x.ndim - 2))
    over = (0, *range(2, x.ndim))
    value, edges = x.data, []
    if scale is None:
        edges.append((x, lambda g: g))
    else:
        value = value * scale.data.reshape(wide)
        edges.append((x, lambda g: g * reshape(scale, wide)))
        edges.append((scale, lambda g: sum(g * x, over)))
    if shift is not None:
        value = value + shift.data.reshape(wide)
        edges.append((shift, lambda g: sum(g, over)))
    return record(value, *edges)


@dataclass(frozen=True)
class _Moments:
    """Mean and 1 / sqrt(variance + eps) of a batch: numbers that x has settled."""

    mean: Array
    rstd: Array
    eps: float


def _standardised(x: Tensor, eps: float) -> tuple[Tensor, Array, Array]:
    count = math.prod(x.shape[2:]) * x.shape[0]
    if count < 2 or not x.shape[1]:
        raise ValueError(
            f"batch_norm: training needs more than one value a channel, got shape "
            f"{x.shape}; use a larger batch, or eval mode"
        )
    m, v = kernels_for(x.data).moments(x.data)
    moments = _Moments(m, (1 / np.sqrt(v + eps)).astype(x.dtype), eps)
    return _batch_norm(x, moments), m, v


def _batch_norm(x: Tensor, by: _Moments) -> Tensor:
    value = kernels_for(x.data).standardise(x.data, by.mean, by.rstd)
    return record(value, (x, lambda g: _batch_norm_dx(g, x, by)))


def _batch_norm_dx(g: Tensor, x: Tensor, by: _Moments) -> Tensor:
    """Equation (1); its own gradients are (1) again and equation (2)."""
    value = kernels_for(x.data).standardise_dx(g.data, x.data, by.mean, by.rstd)
    return record(
        value,
        (g, lambda h: _batch_norm_dx(h, x, by)),
        (x, lambda h: _batch_norm_dxx(h, g, x, by)),
    )


def _batch_norm_dxx(h: Tensor, g: Tensor, x: Tensor, by: _Moments) -> Tensor:
    over = (0, *range(2, x.ndim))
    xs = _batch_norm(x, by)
    away = x - mean(x, over, keepdim=True)
    r = (mean(away * away, over, keepdim=True) + by.eps) ** -0.5
    along_g, along_h = (
        mean(g * xs, over, keepdim=True),
        mean(h * xs, over, keepdim=True),
    )
    a = (
        mean(h * g, over, keepdim=True)
        - mean(h, over, keepdim=True) * mean(g, over, keepdim=True)
        - along_h * along_g
    )
    turned = along_g * _batch_norm_dx(h, x, by) + along_h * _batch_norm_dx(g, x, by)
    return -(r * r * a) * xs - r * turned
