"""Losses: what training makes small."""

import math

import numpy as np
from tinytl_kernels import Array, kernels_for, namespace
from tinytl_kernels.devices import device_type

from ..operators import Operand
from ..tensor import Tensor, record
from .activations import log_softmax, softmax
from .basic import broadcastable, keep
from .promote import floating, number, same_device, same_dtype, tensor
from .reduce import expand, mean, sum
from .shape import reshape, unsqueeze

REDUCTIONS = ("none", "mean", "sum")


def mse_loss(
    input: Operand,
    target: Operand,
    *,
    reduction: str = "mean",
    weight: Operand | None = None,
) -> Tensor:
    """Mean of (input - target)^2.

    Args:
        input: any shape.
        target: a shape that broadcasts with it.
        reduction: "mean", "sum", or "none" for every square.
        weight: factor for every square; the mean then divides by the sum of weights.

    Raises:
        ValueError: unknown reduction or shapes that do not broadcast.
    """
    _check_reduction("mse_loss", reduction)
    x, y = broadcastable("mse_loss", input, target)
    away = x - y
    squares = away * away
    if weight is None:
        return _reduced(squares, reduction)
    w = floating("mse_loss", "weight", weight)
    if w.shape != squares.shape:
        raise ValueError(
            f"mse_loss: weight must be of shape {squares.shape}, got {w.shape}"
        )
    total = _reduced(squares * w, "none" if reduction == "none" else "sum")
    return total / sum(w) if reduction == "mean" else total


def nll_loss(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-weight[t] * input[t] for each example's class t; input holds log-probabilities.

    Args:
        input: (N, C), (N, C, d1, ...) or (C,).
        target: classes 0..C-1, integers: (N,), (N, d1, ...) or one number.
        weight: (C,) or None for 1.
        ignore_index: examples of this class count as if they were not there.
        reduction: "mean" (divided by the sum of weights that took part), "sum", "none".

    Raises:
        ValueError: shapes do not fit, a class out of range, unknown reduction.
        TypeError: the target does not hold integers.
    """
    _check_reduction("nll_loss", reduction)
    x, classes = _scores("nll_loss", input)
    w = _class_weights("nll_loss", weight, x, classes)
    chosen, counted = _chosen("nll_loss", x, target, ignore_index)
    factor = _factor(x, chosen, counted, w)
    each = _counting(-sum(keep(x, chosen), classes), factor)
    return _weighted(each, factor, reduction)


def cross_entropy(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum over classes of q_c * weight_c * log softmax(input)_c.

    q is 1 at the target class, or the target itself if it holds probabilities. With
    smoothing e it becomes (1 - e) q + e / C. Computed by log_softmax, which neither
    overflows nor takes the logarithm of 0.

    Args:
        input: scores (N, C), (N, C, d1, ...) or (C,), not normalised.
        target: classes 0..C-1, integers, (N,), (N, d1, ...) or one number; or
            probabilities, floats in the shape of the input.
        weight: (C,) or None for 1.
        ignore_index: examples of this class count as if they were not there.
        reduction: "mean", "sum" or "none". The mean divides by the weights of the
            target classes that took part; with probabilities by the number of examples.
        label_smoothing: e in [0, 1].

    Backward. (softmax(input) - q) / N for the plain mean.

    On a GPU the classes are not looked at, since that would wait for them: one that
    does not exist makes the loss NaN there.

    Raises:
        ValueError: shapes do not fit, a class out of range, unknown reduction, or
            operands on two devices.
        TypeError: the target holds neither integers nor floats of the input's dtype.
    """
    _check_reduction("cross_entropy", reduction)
    if not 0 <= number("cross_entropy", "label_smoothing", label_smoothing) <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}"
        )
    x, classes = _scores("cross_entropy", input)
    w = _class_weights("cross_entropy", weight, x, classes)
    t = tensor("cross_entropy", "target", target)
    e = label_smoothing
    if t.dtype.kind == "f":
        same_dtype("cross_entropy", input=x, target=t)
        if t.shape != x.shape:
            raise ValueError(
                f"cross_entropy: target probabilities must be of shape {x.shape}, got "
                f"{t.shape}; for classes pass integers"
            )
        q = t * (1 - e) + e / x.shape[classes]
        each = -sum(q * _weighted_logs(x, w), classes)
        total = _reduced(each, "none" if reduction == "none" else "sum")
        examples = x.numel() // max(x.shape[classes], 1)
        return total / examples if reduction == "mean" else total
    chosen, counted = _chosen("cross_entropy", x, t, ignore_index)
    factor = _factor(x, chosen, counted, w)
    each = _counting(_surprise(x, chosen), factor)
    if e:
        spread = -sum(_weighted_logs(x, w), classes) / x.shape[classes]
        each = (1 - e) * each + e * _counting(spread, counted)
    return _weighted(each, factor, reduction)


def _scores(operation: str, input: Operand) -> tuple[Tensor, int]:
    """Input as floats, and the axis of its classes."""
    x = floating(operation, "input", input)
    if not x.ndim or not x.shape[_classes(x)]:
        raise ValueError(
            f"{operation}: needs an input (N, C), (N, C, d1, ...) or (C,) with "
            f"classes, got shape {x.shape}"
        )
    return x, _classes(x)


def _class_weights(
    operation: str, weight: Operand | None, x: Tensor, classes: int
) -> Tensor | None:
    count = x.shape[classes]
    if weight is None:
        return None
    w = floating(operation, "weight", weight)
    same_dtype(operation, input=x, weight=w)
    if w.shape != (count,):
        raise ValueError(
            f"{operation}: weight must be of shape ({count},), got {w.shape}"
        )
    return w


def _weighted_logs(x: Tensor, w: Tensor | None) -> Tensor:
    """Log-probabilities, times the weights of their classes."""
    logp = log_softmax(x, _classes(x))
    return logp if w is None else logp * reshape(w, _beside(x))


def _surprise(x: Tensor, chosen: Array) -> Tensor:
    """y = -log softmax(x) at the class that `chosen` marks in each example.

    Shapes. x (N, C, ...), `chosen` bools of the same shape -> (N, ...).
    Backward. gx = gy (softmax(x) - chosen), where a class is chosen.
    """
    kernels, classes = kernels_for(x.data), _classes(x)
    logp = kernels.log_softmax(x.data, classes)
    value = -kernels.keep(logp, chosen).sum(axis=classes)

    def pullback(g: Tensor) -> Tensor:
        mark = Tensor(chosen.astype(x.dtype))
        return unsqueeze(g, classes) * (softmax(x, classes) - mark)

    return record(value, (x, pullback))


def _chosen(
    operation: str, x: Tensor, target: Operand, ignore_index: int
) -> tuple[Array, Tensor | None]:
    """A mask over x of each example's class, and 1 or, where it is ignored, 0.

    None in the place of these numbers, if all are 1.
    A mask, since what comes back then needs no addition at an index, which on a GPU has
    no fixed order. There the labels are not looked at, which would be to wait for them:
    an example whose class does not exist counts NaN.
    """
    classes = _classes(x)
    t, count = _labels(operation, x, target, ignore_index), x.shape[classes]
    xp, on_gpu = namespace(t), device_type(t) == "cuda"
    line = reshape(Tensor(xp.arange(count)), _beside(x)).data
    usual = not on_gpu and t.size and not 0 <= ignore_index < count
    if usual and t.min() >= 0 and t.max() < count:
        return xp.expand_dims(t, classes) == line, None
    kept = t != ignore_index
    missing = kept & ((t < 0) | (t >= count))
    if not on_gpu and missing.any():
        raise ValueError(
            f"{operation}: class {t[missing][0]} does not exist; the input of "
            f"shape {x.shape} has classes 0..{count - 1}"
        )
    chosen = xp.expand_dims(xp.where(kept, t, -1), classes) == line
    counted = xp.where(missing, math.nan, kept).astype(x.dtype)
    return chosen, Tensor(counted)


def _labels(operation: str, x: Tensor, target: Operand, ignore_index: int) -> Array:
    """The target's array, if it can hold a class for each example of x."""
    t, classes = tensor(operation, "target", target), _classes(x)
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"{operation}: target must hold classes as integers, got {t.dtype}"
        )
    needed = (*x.shape[:classes], *x.shape[classes + 1 :])
    if t.shape != needed:
        raise ValueError(
            f"{operation}: target must be of shape {needed} for an input of shape "
            f"{x.shape}, got {t.shape}"
        )
    if not isinstance(ignore_index, int | np.integer):
        raise TypeError(
            f"{operation}: ignore_index must be an integer, got {ignore_index!r}"
        )
    same_device(operation, input=x, target=t)
    return t.data


def _factor(
    x: Tensor, chosen: Array, counted: Tensor | None, w: Tensor | None
) -> Tensor | None:
    """What each example counts; None: all of them 1."""
    if w is None:
        return counted
    classes = _classes(x)
    wide = expand(reshape(w, _beside(x)), x.shape)
    factor = sum(keep(wide, chosen), classes)
    return factor if counted is None else factor * counted


def _classes(x: Tensor) -> int:
    """The axis of the classes."""
    return min(x.ndim - 1, 1)


def _beside(x: Tensor) -> list[int]:
    """Shape of one number for each class, to stand beside x."""
    return [-1 if k == _classes(x) else 1 for k in range(x.ndim)]


def _counting(each: Tensor, factor: Tensor | None) -> Tensor:
    """Each times what it counts."""
    return each if factor is None else each * factor


def _weighted(each: Tensor, factor: Tensor | None, reduction: str) -> Tensor:
    """The mean divides by the sum of what each counts."""
    if factor is None or reduction != "mean":
        return _reduced(each, reduction)
    return sum(each) / sum(factor)


def _reduced(each: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return each
    return mean(each) if reduction == "mean" else sum(each)


def _check_reduction(operation: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{operation}: reduction must be one of {REDUCTIONS}, got {reduction!r}"
        )
