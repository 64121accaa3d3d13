"""Two-dimensional convolution, and why three kernels give all its derivatives.

Weigh every output with g and add up:

    T(x, w, g) = sum over n,f,i,j of g[n,f,i,j] * conv(x, w)[n,f,i,j]

T is linear in each of x, w and g. Its partial derivatives are conv (with respect to g),
conv_dx (to x) and conv_dw (to w), each linear in the remaining two. So the gradients of
any one of the three are the other two, and the circle closes: no order of derivative
needs a fourth kernel. And a tangent of x or w goes through each as x or w does.

What moves y, as tangents of x, w and b do, and what gradients of gx, gw and gb send to
gy, are conv(x, w) with another x or w and a number for each channel. A convolution adds
such numbers where it makes its sums, and to another in place; so they are sent pending
(``pending.py``).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from tinytl_kernels import kernels_for
from tinytl_kernels.shapes import IntOrPair, Window, pair, window

from ..graph import is_grad_enabled
from ..operators import Operand
from ..pending import Pending
from ..tensor import Tensor, record
from .pad import pad
from .promote import same_dtype, tensor
from .reduce import expand
from .shape import reshape, squeeze, unsqueeze

Shape = tuple[int, ...]


def conv2d(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: IntOrPair = 1,
    padding: str | IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """y[n,f,i,j] = b[f] + sum over c,u,v of w[f,c,u,v] * x[n, c, i*s-p+u*d, j*s-p+v*d].

    (A cross-correlation, as in all of deep learning: the kernel is not flipped.)

    Args:
        input: (N, C, H, W), or (C, H, W) for one image.
        weight: (F, C / groups, U, V).
        bias: (F,) or None.
        stride: s, steps between windows; one number or (rows, columns), as all below.
        padding: p, zeros on every side; "valid" for none; "same" for as many as keep
            the size (stride 1; an odd one goes to the bottom and right, as in torch).
        dilation: d, steps between the inputs that a window sees.
        groups: filters see their own C / groups channels only; groups = C is depthwise.

    Shapes. (N, F, I, J) with I = floor((H + 2p - d(U - 1) - 1) / s) + 1.
    Backward. gx = conv_dx(gy, w), gw = conv_dw(x, gy), gb = sum of gy over n,i,j.

    Raises:
        ValueError: shapes do not fit one another, or the kernel its padded input.
        TypeError: dtypes differ or are not floating.
    """
    x, w = tensor("conv2d", "input", input), tensor("conv2d", "weight", weight)
    b = None if bias is None else tensor("conv2d", "bias", bias)
    same_dtype("conv2d", input=x, weight=w, bias=b)
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(f"conv2d: groups must be a positive integer, got {groups!r}")
    _check(x.data.shape, w.data.shape, None if b is None else b.data.shape, groups)
    if x.ndim == 3:
        one = conv2d(unsqueeze(x, 0), w, b, stride, padding, dilation, groups)
        return squeeze(one, 0)
    if isinstance(padding, str):
        x, padding = _named_padding(x, w, stride, padding, dilation)
    view = window("conv2d", x.shape[2:], w.shape[2:], stride, padding, dilation)
    return _conv2d(x, w, _Form(view, groups), b)


class _Form(NamedTuple):
    """What the three kernels share beside their two operands."""

    window: Window
    groups: int


def _conv2d(x: Tensor, w: Tensor, form: _Form, b: Tensor | None = None) -> Tensor:
    kernels = kernels_for(x.data)
    value = kernels.conv(x.data, w.data, *form, None if b is None else b.data)
    edges = [
        (x, lambda gy: _conv2d_dx(gy, w, form), lambda t: _moved(t, w, form)),
        (w, lambda gy: _conv2d_dw(x, gy, form), lambda t: _moved(x, t, form)),
    ]
    if b is None:
        return record(value, *edges)
    shape = value.shape
    bias = (b, _conv2d_db, lambda t: _moved_by_b(t, shape))
    return record(value, *edges, bias)


def _conv2d_dx(gy: Tensor, w: Tensor, form: _Form) -> Tensor:
    return record(
        kernels_for(gy.data).conv_dx(gy.data, w.data, form.window, form.groups),
        (gy, lambda gx: _moved(gx, w, form), lambda t: _conv2d_dx(t, w, form)),
        (w, lambda gx: _conv2d_dw(gx, gy, form), lambda t: _conv2d_dx(gy, t, form)),
    )


def _conv2d_dw(x: Tensor, gy: Tensor, form: _Form) -> Tensor:
    return record(
        kernels_for(x.data).conv_dw(x.data, gy.data, form.window, form.groups),
        (x, lambda gw: _conv2d_dx(gy, gw, form), lambda t: _conv2d_dw(t, gy, form)),
        (gy, lambda gw: _moved(x, gw, form), lambda t: _conv2d_dw(x, t, form)),
    )


def _conv2d_db(g: Tensor) -> Tensor:
    value, shape = kernels_for(g.data).sum_per_channel(g.data), g.shape
    return record(value, (g, lambda h: _moved_by_b(h, shape), _conv2d_db))


def _moved(x: Tensor, w: Tensor, form: _Form) -> Tensor | Pending:
    """conv(x, w), which a bias may join."""
    return _conv2d(x, w, form) if is_grad_enabled() else _Convolution(x, w, form)


def _moved_by_b(b: Tensor, shape: tuple[int, ...]) -> Tensor | Pending:
    """b[f] everywhere."""
    by = _Biases(b, shape)
    return by.computed() if is_grad_enabled() else by


class _Convolution(Pending):
    """conv(x, w) + b, and conv of another x and w, where there are some."""

    def __init__(
        self,
        x: Tensor,
        w: Tensor,
        form: _Form,
        b: Tensor | None = None,
        also: "_Convolution | None" = None,
    ):
        self.x, self.w, self.form, self.b, self.also = x, w, form, b, also
        self.shape = (x.shape[0], w.shape[0], *form.window.out)

    def computed(self) -> Tensor:
        b = None if self.b is None else self.b.data
        kernels = kernels_for(self.x.data)
        y = kernels.conv(self.x.data, self.w.data, *self.form, b)
        if self.also is not None:
            y = kernels.add_to(y, self.also.computed().data)
        return Tensor(y)

    def joined(self, other: Pending) -> Pending | None:
        own = self.x, self.w, self.form
        if isinstance(other, _Biases) and self.b is None:
            return _Convolution(*own, other.b, self.also)
        if self.also or not isinstance(other, _Convolution):
            return None
        bare = other.b is other.also is None
        return _Convolution(*own, self.b, other) if bare else None


class _Biases(Pending):
    """b[f] everywhere."""

    def __init__(self, b: Tensor, shape: tuple[int, ...]):
        self.b, self.shape = b, shape

    def computed(self) -> Tensor:
        return expand(reshape(self.b, (1, -1, 1, 1)), self.shape)

    def joined(self, other: Pending) -> Pending | None:
        return other.joined(self) if isinstance(other, _Convolution) else None


@functools.lru_cache(maxsize=1024)
def _check(x: Shape, w: Shape, b: Shape | None, groups: int) -> None:
    """Raise ValueError unless these shapes fit; once for each, a network has few."""
    if len(x) not in (3, 4) or len(w) != 4:
        raise ValueError(
            "conv2d: needs an input (N, C, H, W) or (C, H, W) and a weight "
            f"(F, C, U, V), got {x} and {w}"
        )
    channels, filters = x[-3], w[0]
    if 0 in x[-3:]:
        raise ValueError(f"conv2d: needs an input with pixels in it, got {x}")
    if w[1] * groups != channels or filters % groups or not filters:
        raise ValueError(
            f"conv2d: a weight of shape {w} in {groups} group(s) needs an input "
            f"with {w[1] * groups} channels and a multiple of {groups} filters; "
            f"the input has shape {x}"
        )
    if b is not None and b != (filters,):
        raise ValueError(f"conv2d: bias must be of shape ({filters},), got {b}")


def _named_padding(
    x: Tensor, w: Tensor, stride: IntOrPair, padding: str, dilation: IntOrPair
) -> tuple[Tensor, Sequence[int]]:
    """Input and numeric padding for "valid" and "same"; the odd zero is put in here."""
    if padding == "valid":
        return x, (0, 0)
    if padding != "same":
        raise ValueError(
            f"conv2d: padding must be a number, 'same' or 'valid', got {padding!r}"
        )
    if pair("conv2d", "stride", stride, 1) != (1, 1):
        raise ValueError(f"conv2d: padding='same' needs stride 1, got {stride}")
    gaps = pair("conv2d", "dilation", dilation, 1)
    total = [d * (k - 1) for d, k in zip(gaps, w.shape[2:], strict=True)]
    odd = [n % 2 for n in total]
    if any(odd):
        x = pad(x, (0, odd[1], 0, odd[0]))
    return x, [n // 2 for n in total]
