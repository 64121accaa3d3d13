"""Matrix products: matmul and the fully connected layer."""

import math

import numpy as np
from tinytl_kernels import kernels_for

from ..operators import Operand
from ..tensor import Tensor, record
from .promote import same_device, same_dtype, tensor
from .reduce import sum_to
from .shape import reshape, squeeze, transpose, unsqueeze


def matmul(input: Operand, other: Operand) -> Tensor:
    """Y = X Z over the last two dimensions, broadcast over the ones before.

    A vector on the left counts as a row, on the right as a column, and that dimension
    is dropped from the result.

    Shapes. (..., M, K) and (..., K, L) -> (..., M, L).
    Backward. dX = dY Z^T and dZ = X^T dY, summed over broadcast dimensions.

    Raises:
        ValueError: the K differ, the leading dimensions do not broadcast, an input is a
            single number, or they are on two devices.
        TypeError: the dtypes differ.
    """
    x, z = tensor("matmul", "input", input), tensor("matmul", "other", other)
    if x.dtype != z.dtype:
        raise TypeError(
            f"matmul: both must have one dtype, got {x.dtype} and {z.dtype}"
        )
    same_device("matmul", input=x, other=z)
    if x.ndim == z.ndim == 2 and x.shape[1] == z.shape[0]:  # as nearly always
        return _matmul(x, z)
    row, column = x.ndim == 1, z.ndim == 1
    left = unsqueeze(x, 0) if row else x
    right = unsqueeze(z, 1) if column else z
    fits = x.ndim and z.ndim and left.shape[-1] == right.shape[-2]
    try:
        np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"matmul: shapes {x.shape} and {z.shape} do not fit; needed are "
            "(..., M, K) and (..., K, L)"
        )
    y = _matmul(left, right)
    if row:
        y = squeeze(y, -2)
    return squeeze(y, -1) if column else y


def _matmul(x: Tensor, z: Tensor) -> Tensor:
    """Product of matrices or stacks of matrices; one z for all x: one large product."""
    if x.ndim > 2 and z.ndim == 2:
        rows = reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
        return reshape(_matmul(rows, z), (*x.shape[:-1], z.shape[-1]))
    xs, zs = x.shape, z.shape
    return record(
        kernels_for(x.data).matmul(x.data, z.data),
        (
            x,
            lambda g: sum_to(_matmul(g, transpose(z, -1, -2)), xs),
            lambda t: _matmul(t, z),
        ),
        (
            z,
            lambda g: sum_to(_matmul(transpose(x, -1, -2), g), zs),
            lambda t: _matmul(x, t),
        ),
    )


def linear(input: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """Fully connected layer: Y = X W^T + b.

    Args:
        input: (..., K).
        weight: (F, K), one row of weights for each output.
        bias: (F,) or None.

    Raises:
        ValueError: the shapes do not fit.
        TypeError: the dtypes differ or are not floating.
    """
    x, w = tensor("linear", "input", input), tensor("linear", "weight", weight)
    b = None if bias is None else tensor("linear", "bias", bias)
    same_dtype("linear", input=x, weight=w, bias=b)
    if not x.ndim or w.ndim not in (1, 2) or x.shape[-1] != w.shape[-1]:
        raise ValueError(
            f"linear: input {x.shape} and weight {w.shape} do not fit; needed are "
            "(..., K) and (F, K)"
        )
    if b is not None and b.shape not in ((), w.shape[:-1]):
        raise ValueError(f"linear: bias must be of shape {w.shape[:-1]}, got {b.shape}")
    if w.ndim == 1:
        y = matmul(x, w)
        return y if b is None else y + b
    if x.ndim == 2:
        return _linear(x, w, b)
    rows = reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    return reshape(_linear(rows, w, b), (*x.shape[:-1], w.shape[0]))


def _linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """Y = X W^T + b of matrices.   Backward. dX = dY W, dW = dY^T X, db: dY, summed."""
    value = kernels_for(x.data).matmul(x.data, w.data.T)
    edges = [
        (x, lambda g: _matmul(g, w), lambda t: _linear(t, w, None)),
        (w, lambda g: _matmul(transpose(g, 0, 1), x), lambda t: _linear(x, t, None)),
    ]
    if b is None:
        return record(value, *edges)
    value += b.data
    shape = b.shape
    return record(value, *edges, (b, lambda g: sum_to(g, shape)))
