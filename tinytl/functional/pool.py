"""Pooling: the largest, the sum or the mean of what each window sees.

Max pooling finds the maxima and their places. Its gradient scatters to those places;
the gradient of a scatter gathers; that of a gather scatters again. So derivatives of
every order need two kernels more. Sum pooling is linear, with its transpose; means
divide.
"""

import functools
from collections.abc import Sequence

import numpy as np
from tinytl_kernels import Array, kernels_for
from tinytl_kernels.shapes import IntOrPair, Window, window

from ..operators import Operand
from ..tensor import Tensor, record
from .promote import floating
from .resize import cell_taps, resample
from .shape import squeeze, unsqueeze


def max_pool2d(
    input: Operand,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """y[n,c,i,j] = max over u,v of x[n, c, i*s-p+u*d, j*s-p+v*d]; padding never wins.

    Args:
        input: (N, C, H, W), or (C, H, W) for one image.
        kernel_size: U, V; one number or (rows, columns), as all below.
        stride: s, `kernel_size` unless given.
        padding: p, at most half the kernel.
        dilation: d.
        ceil_mode: let a last window reach over the edge.
        return_indices: also return where the maxima are, h * W + w, int64.

    Backward. gy goes to the place of the maximum; the first one, where several are
    equal.

    Raises:
        ValueError: a window does not fit, or is padding alone.
        TypeError: not floats, or a size is no integer.
    """
    x = _images("max_pool2d", input)
    view = _pool("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    batch = x if x.ndim == 4 else unsqueeze(x, 0)
    value, where = kernels_for(batch.data).max_pool(batch.data, view)
    y = record(
        value,
        (
            batch,
            lambda g: _max_pool2d_dx(g, where, view),
            lambda t: _max_pool2d_dxx(t, where, view),
        ),
    )
    index = Tensor(where.astype(np.int64)) if return_indices else y
    if x.ndim == 3:
        y, index = squeeze(y, 0), squeeze(index, 0)
    return (y, index) if return_indices else y


def _max_pool2d_dx(g: Tensor, where: Array, view: Window) -> Tensor:
    value = kernels_for(g.data).scatter(g.data, where, view)
    return record(value, (g, lambda gg: _max_pool2d_dxx(gg, where, view)))


def _max_pool2d_dxx(x: Tensor, where: Array, view: Window) -> Tensor:
    value = kernels_for(x.data).gather(x.data, where)
    return record(value, (x, lambda g: _max_pool2d_dx(g, where, view)))


def sum_pool2d(
    input: Operand,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """y[n,c,i,j] = sum over u,v of x[n, c, i*s-p+u, j*s-p+v]: avg_pool2d undivided.

    Arguments and errors as for avg_pool2d.
    Backward. Every pixel gets the gradients of all windows that saw it.
    """
    x = _images("sum_pool2d", input)
    view = _pool("sum_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    return _summed(x, view)


def _summed(x: Tensor, view: Window, divisor: int = 1) -> Tensor:
    if x.ndim == 3:
        return squeeze(_sum_pool2d(unsqueeze(x, 0), view, divisor), 0)
    return _sum_pool2d(x, view, divisor)


def _sum_pool2d(x: Tensor, view: Window, divisor: int) -> Tensor:
    value = kernels_for(x.data).sum_pool(x.data, view, divisor)
    return record(value, (x, lambda g: _sum_pool2d_dx(g, view, divisor)))


def _sum_pool2d_dx(g: Tensor, view: Window, divisor: int) -> Tensor:
    value = kernels_for(g.data).sum_pool_dx(g.data, view, divisor)
    return record(value, (g, lambda gg: _sum_pool2d(gg, view, divisor)))


def avg_pool2d(
    input: Operand,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of what each window sees: sum_pool2d divided by a count.

    Args:
        input: (N, C, H, W), or (C, H, W) for one image.
        kernel_size: U, V; one number or (rows, columns), as all below.
        stride: s, `kernel_size` unless given.
        padding: p, zeros, at most half the kernel.
        ceil_mode: let a last window reach over the edge.
        count_include_pad: the count is U * V (less what reaches beyond the padding), or
            only the pixels that are not padding.
        divisor_override: divide by this instead.

    Raises:
        ValueError: a window does not fit, or the divisor is 0.
        TypeError: not floats, or a size is no integer.
    """
    x = _images("avg_pool2d", input)
    view = _pool("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None:
        if not isinstance(divisor_override, int) or divisor_override == 0:
            raise ValueError(
                "avg_pool2d: divisor_override must be an integer other than 0, got "
                f"{divisor_override!r}"
            )
        return _summed(x, view, divisor_override)
    counts = _counts(view, count_include_pad)
    if isinstance(counts, int):
        return _summed(x, view, counts)
    each = Tensor(counts.astype(x.dtype)).to(x.device).data
    return _avg_pool2d_over(_summed(x, view), each)


def _avg_pool2d_over(x: Tensor, counts: Array) -> Tensor:
    """x / counts, which are constants."""
    return record(x.data / counts, (x, lambda g: _avg_pool2d_over(g, counts)))


@functools.lru_cache(maxsize=256)
def _counts(view: Window, with_padding: bool) -> Array | int:
    """How many pixels each window covers, (I, J); one number if all cover as many."""
    rows, columns = (_covered(view, k, with_padding) for k in (0, 1))
    counts = rows[:, None] * columns
    return int(counts[0, 0]) if (counts == counts[0, 0]).all() else counts


def _covered(view: Window, k: int, with_padding: bool) -> Array:
    """How many rows (k = 0) or columns (k = 1) each window covers."""
    first = np.arange(view.out[k]) * view.stride[k] - view.padding[k]
    end = np.minimum(first + view.kernel[k], view.size[k] + view.padding[k])
    if not with_padding:
        first, end = np.maximum(first, 0), np.minimum(end, view.size[k])
    return end - first


def adaptive_avg_pool2d(
    input: Operand, output_size: int | Sequence[int | None]
) -> Tensor:
    """Mean over I x J cells of nearly equal size that cover the image.

    Args:
        input: (N, C, H, W), or (C, H, W) for one image.
        output_size: I, J, or one number for both; None keeps the input's size.

    Cell i has the rows floor(i H / I) .. ceil((i + 1) H / I) - 1; cells may overlap by
    one.

    Raises:
        ValueError: the sizes are no pair of non-negative integers.
    """
    x = _images("adaptive_avg_pool2d", input)
    both = output_size if isinstance(output_size, Sequence) else [output_size] * 2
    sizes = [x.shape[k - 2] if m is None else m for k, m in enumerate(both)]
    if len(sizes) != 2 or any(not isinstance(m, int) or m < 0 for m in sizes):
        raise ValueError(
            f"adaptive_avg_pool2d: output_size must be one or two sizes, got {both}"
        )
    cells = list(zip(x.shape[-2:], sizes, strict=True))
    if all(m and n % m == 0 for n, m in cells):  # they lie side by side
        return avg_pool2d(x, [n // m for n, m in cells])
    for k, m in enumerate(sizes):
        axis = x.ndim - 2 + k
        x = resample(x, cell_taps(x.shape[axis], m), axis)
    return x


def _images(operation: str, input: Operand) -> Tensor:
    x = floating(operation, "input", input)
    if x.ndim not in (3, 4) or 0 in x.shape[-3:]:
        raise ValueError(
            f"{operation}: needs an input (N, C, H, W) or (C, H, W) with pixels in it, "
            f"got shape {x.shape}"
        )
    return x


def _pool(
    operation: str,
    x: Tensor,
    kernel: IntOrPair,
    stride: IntOrPair | None,
    padding: IntOrPair,
    dilation: IntOrPair,
    ceil_mode: bool,
) -> Window:
    step = kernel if stride is None or stride == () or stride == [] else stride
    view = window(operation, x.shape[-2:], kernel, step, padding, dilation, ceil_mode)
    _check_windows(operation, view)
    return view


@functools.lru_cache(maxsize=256)
def _check_windows(operation: str, view: Window) -> None:
    """Raise ValueError if a window sees no pixel; once for each kind of window."""
    if any(2 * p > r for p, r in zip(view.padding, view.reach, strict=True)):
        raise ValueError(
            f"{operation}: padding {view.padding} is more than half the kernel "
            f"{view.kernel}: some windows would see nothing else"
        )
    if not all(_sees_pixels(view, k) for k in (0, 1)):
        raise ValueError(
            f"{operation}: with dilation {view.dilation} and padding {view.padding} a "
            f"window sees padding alone in an image of size {view.size}"
        )


def _sees_pixels(view: Window, k: int) -> bool:
    """Whether every window has a row (k = 0) or column (k = 1) that is no padding."""
    first = np.arange(view.out[k]) * view.stride[k] - view.padding[k]
    seen = first[:, None] + np.arange(view.kernel[k]) * view.dilation[k]
    return bool(((seen >= 0) & (seen < view.size[k])).any(axis=1).all())
