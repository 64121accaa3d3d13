r"""Normalisation with the batch's own mean and variance: derivatives of every order.

Standardise each channel: xs = r c with c = x - m, where m is the channel's mean and v
its variance over all n values of the channel in the batch, and r = (v + eps)^(-1/2).
The output is the line w xs + b, or its ReLU.

First derivative. g' is g where the ReLU lets it pass. Then db = sum(g'),
dw = sum(g' xs), and, as moving x_i moves m and r as well,

    dx = w D(g'),    D(g) = r (g - mean(g) - xs mean(g xs))                          (1)

Second. D is linear in g, and symmetric: <h, D(g)> = <g, D(h)>. So its gradient with
respect to g, when h arrives, is D(h) again. With respect to x, write

    <h, D(g)> = n r A,    A = mean(h g) - mean(h) mean(g) - mean(h xs) mean(g xs).

Here dr/dx = -r^2 xs / n, and the gradient of mean(h xs) is D(h) / n. The product rule
gives

    -r^2 A xs - r (mean(g xs) D(h) + mean(h xs) D(g))                                (2)

Forward. A tangent t of x moves the line by w D(t): D is its own transpose.

So all of it is, in each channel, a few sums and a weighted sum of g', h, c and 1. That
is how it is computed: in one pass for the sums and one for the result. What the
gradients dx, dw and db send to g in turn, and what x, w and b move the line by, is such
a sum, too; those that meet are added before they are computed (``pending.py``). Where a
third derivative may follow, (2) is written with operations on Tensors instead, and so
are all further ones; both are held to one another by tests.
Source: Ioffe & Szegedy 2015; (2) is ours, tested against differences and PyTorch.
"""

import weakref
from collections.abc import Callable

from tinytl_kernels import Array, kernels_for, namespace
from tinytl_kernels.line import Line

from ..graph import is_grad_enabled
from ..pending import Pending
from ..recomputed import recomputed
from ..tensor import Tensor, record
from .basic import keep
from .reduce import expand, mean, sum
from .shape import reshape


def wide(values: Tensor, x: Tensor) -> Tensor:
    """(C,) in a shape that broadcasts against x, (N, C, ...)."""
    return reshape(values, (1, -1, *(1,) * (x.ndim - 2)))


class Batch:
    """A batch, what it was found to have as m and r, and the line w xs + b.

    Args:
        x: (N, C, ...).
        w: (C,).
        b: (C,).
        m: the channels' means, (C,).
        r: 1 / sqrt(variance + eps), (C,).
        eps: as in r.
        relu: whether negative values become 0.
    """

    def __init__(
        self,
        x: Tensor,
        w: Tensor,
        b: Tensor,
        m: Array,
        r: Array,
        eps: float,
        relu: bool,
    ):
        self.x, self.w, self.b, self.eps, self.relu = x, w, b, eps, relu
        self.m, self.r = m, r
        self.line = Line(m, (r * w.data).astype(x.dtype, copy=False), b.data, relu)
        self.kernels = kernels_for(x.data)
        self.last: tuple[Callable[[], Tensor | None], Array] | None = None

    @property
    def over(self) -> tuple[int, ...]:
        """The axes along which a channel's values lie."""
        return (0, *range(2, self.x.ndim))

    @property
    def count(self) -> int:
        """How many values a channel has."""
        return self.x.numel() // max(self.x.shape[1], 1)

    def sums(self, g: Tensor) -> Array:
        """Sums of g' and g' c; found once for the three derivatives that need them."""
        last = self.last
        if last is not None and last[0]() is g:
            return last[1]
        sums = self.kernels.line_sums(g.data, self.x.data, self.line)
        self.last = weakref.ref(g), sums
        return sums

    def none(self) -> Array:
        """Nothing, in every channel."""
        return namespace(self.r).zeros_like(self.r)

    def weights(self, *rows: Array) -> Array:
        """The weights of a sum, in the dtype of x."""
        flat = namespace(self.r).concatenate(rows).astype(self.x.dtype, copy=False)
        return flat.reshape(len(rows), -1)

    def dx_weights(self, scale: Array, sums: Array) -> Array:
        """What scale * D is made of, given its argument's two sums: see (1)."""
        less_g, less_gc = sums / -self.count
        rw = self.r * scale
        return self.weights(rw, rw * less_g, rw * self.r * self.r * less_gc)

    def passed(self, g: Tensor) -> Tensor:
        """g', with its history."""
        if not self.relu:
            return g
        return keep(g, self.kernels.line(self.x.data, self.line) > 0)

    def bare(self) -> "Batch":
        """The same without weight, bias and ReLU: the line is xs, its derivative D."""
        none = self.none()
        one, zero = Tensor(none + 1), Tensor(none)
        return Batch(self.x, one, zero, self.m, self.r, self.eps, False)


def batch_norm_line(by: Batch) -> Tensor:
    """w xs + b, or its ReLU.   Backward. Equations (1) and (2)."""
    return record(
        by.kernels.line(by.x.data, by.line),
        (by.x, lambda g: _batch_norm_dx(g, by), lambda t: _moved_by_x(t, by)),
        (by.w, lambda g: _batch_norm_dw(g, by), lambda t: _moved_by_w(t, by)),
        (by.b, lambda g: _batch_norm_db(g, by), lambda t: _moved_by_b(t, by)),
    )


class _Mix(Pending):
    """u g' + v + w c + t h in each channel; without g, v + w c + t h behind the ReLU.

    Args:
        by: the batch.
        weights: u, v, w and t, (4, C).
        g: None for "without"; u is then 0.
        h: None if t is 0.
    """

    def __init__(
        self,
        by: Batch,
        weights: Array,
        g: Tensor | None = None,
        h: Tensor | None = None,
    ):
        self.by, self.weights, self.g, self.h = by, weights, g, h
        self.shape = by.x.shape
        self.complete = g is not None and h is not None  # from dw and from dx

    def computed(self) -> Tensor:
        """One pass over what there is."""
        by, x, weights = self.by, self.by.x.data, self.weights
        h = x if self.h is None else self.h.data
        if self.g is None:
            rows = weights[[3, 1, 2]]
            return Tensor(by.kernels.line_mix_gated(h, x, by.line, rows))
        g = self.g.data
        if self.h is None:
            return Tensor(by.kernels.line_mix(g, x, by.line, weights[:3]))
        return Tensor(by.kernels.line_mix2(h, g, x, by.line, weights))

    def joined(self, other: Pending) -> "_Mix | None":
        """The sum, if both are of one batch and one g, and not each has an h."""
        if not (isinstance(other, _Mix) and other.by is self.by and other.g is self.g):
            return None
        if self.h is not None and other.h is not None:
            return None
        h = other.h if self.h is None else self.h
        return _Mix(self.by, self.weights + other.weights, self.g, h)


def _moved_by_x(t: Tensor, by: Batch, sums: Array | None = None) -> Tensor | Pending:
    """w D(t), of which the ReLU keeps its part; `sums` of t and t c, if known."""
    if is_grad_enabled():
        return by.passed(wide(by.w, t) * _batch_norm_dx(t, by.bare()))
    sums = by.bare().sums(t) if sums is None else sums
    u, v, w = by.dx_weights(by.w.data, sums)
    return _Mix(by, by.weights(by.none(), v, w, u), h=t)


def _moved_by_w(t: Tensor, by: Batch) -> Tensor | Pending:
    """t xs, of which the ReLU keeps its part."""
    if is_grad_enabled():
        return by.passed(wide(t, by.x) * batch_norm_line(by.bare()))
    return _Mix(by, by.weights(by.none(), by.none(), t.data * by.r, by.none()))


def _moved_by_b(t: Tensor, by: Batch) -> Tensor | Pending:
    """t, of which the ReLU keeps its part."""
    if is_grad_enabled():
        return by.passed(expand(wide(t, by.x), by.x.shape))
    return _Mix(by, by.weights(by.none(), t.data, by.none(), by.none()))


def _batch_norm_dx(g: Tensor, by: Batch) -> Tensor:
    """Equation (1)."""
    weights = by.dx_weights(by.w.data, by.sums(g))
    second = _Second(g, by)

    def value() -> Array:
        return by.kernels.line_mix(g.data, by.x.data, by.line, weights)

    dx = record(
        value(),
        (g, lambda h: second.dg(h), lambda t: _batch_norm_dx(t, by)),
        (by.x, lambda h: second.dx(h)),
        (by.w, lambda h: second.dw(h)),
    )
    return recomputed(dx, value)


def _batch_norm_dw(g: Tensor, by: Batch) -> Tensor:
    """sum(g' xs)."""
    sums = by.sums(g)

    def to_x(h: Tensor) -> Tensor | Pending:
        if is_grad_enabled():
            return wide(h, by.x) * _batch_norm_dx(by.passed(g), by.bare())
        return _Mix(by, by.weights(*by.dx_weights(h.data, sums), by.none()), g)

    value = (by.r * sums[1]).astype(g.dtype, copy=False)
    return record(value, (g, lambda h: _moved_by_w(h, by)), (by.x, to_x))


def _batch_norm_db(g: Tensor, by: Batch) -> Tensor:
    """sum(g')."""
    value = by.sums(g)[0].astype(g.dtype, copy=False)
    return record(value, (g, lambda h: _moved_by_b(h, by)))


class _Second:
    """The gradients of <h, w D(g')> by g, x and w: kernels, or Tensor operations."""

    def __init__(self, g: Tensor, by: Batch):
        self.g, self.by = g, by
        self.last: tuple[Callable[[], Tensor | None], Array] | None = None

    def sums(self, h: Tensor) -> Array:
        """Sums of g', g' c, h, h c and h g'; found once for the three."""
        last = self.last
        if last is not None and last[0]() is h:
            return last[1]
        by = self.by
        sums = by.kernels.line_sums2(h.data, self.g.data, by.x.data, by.line)
        self.last = weakref.ref(h), sums
        return sums

    def dg(self, h: Tensor) -> Tensor | Pending:
        """What a tangent h of x moves y by: w D is symmetric, and so is the ReLU."""
        return _moved_by_x(h, self.by, None if is_grad_enabled() else self.sums(h)[2:4])

    def dw(self, h: Tensor) -> Tensor:
        """<h, D(g')> = n r A."""
        by = self.by
        if is_grad_enabled():
            return sum(h * _batch_norm_dx(by.passed(self.g), by.bare()), by.over)
        a, *_ = self.means(h)
        return Tensor((by.count * by.r * a).astype(h.dtype, copy=False))

    def dx(self, h: Tensor) -> Tensor | Pending:
        """Equation (2), times w."""
        by = self.by
        if is_grad_enabled():
            return wide(by.w, h) * _batch_norm_dxx(h, by.passed(self.g), by.bare())
        a, mean_g, along_g, mean_h, along_h = self.means(h)
        wrr = by.w.data * by.r * by.r
        weights = by.weights(
            -wrr * along_h,
            wrr * (along_g * mean_h + along_h * mean_g),
            -wrr * by.r * (a - 2 * along_g * along_h),
            -wrr * along_g,
        )
        return _Mix(by, weights, self.g, h)

    def means(self, h: Tensor) -> tuple[Array, ...]:
        """A, and the means of g', g' xs, h and h xs."""
        mean_g, c_g, mean_h, c_h, both = self.sums(h) / self.by.count
        along_g, along_h = self.by.r * c_g, self.by.r * c_h
        return (
            both - mean_h * mean_g - along_h * along_g,
            mean_g,
            along_g,
            mean_h,
            along_h,
        )


def _batch_norm_dxx(h: Tensor, g: Tensor, by: Batch) -> Tensor:
    """Equation (2) in operations on Tensors, for what is differentiated once more."""
    x, over = by.x, by.over
    xs = batch_norm_line(by)
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
    turned = along_g * _batch_norm_dx(h, by) + along_h * _batch_norm_dx(g, by)
    return -(r * r * a) * xs - r * turned
