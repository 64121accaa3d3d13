"""The table of all operations: what to call, what to compare it with, on what.

A row is an Operation: our function, PyTorch's, the loops that define it where there are
any, and samples. A sample is one call. Its arrays are odd on purpose: sizes that
strides do not divide, no two sizes equal, dimensions counted from the end, nothing in
the batch, memory in another order than C, and values exactly at the edges where a
convention decides. Samples at edges are not `smooth`: differences say nothing there,
PyTorch does.

Tests walk over ROWS and do not know the operations.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as T
from twins import Leaf

import tinytl.functional as F
from reference.loops import activations, conv, linear, losses, norm, pool, resize


@dataclass
class Sample:
    """One call.

    `smooth`: no kink within reach of the differences. `native`: how many of PyTorch's
    own derivatives of this call are right.
    """

    args: tuple
    kwargs: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    native: int = 3


@dataclass
class Operation:
    """A row of the table.

    `orders` is how many derivatives are compared. Where PyTorch's own derivatives end
    before (`native` of them are right), `twin` is the same function put together from
    others, whose derivatives go on. `loops` takes arrays in the place of Tensors and
    returns an array or several, or None for a call that it does not define.
    """

    name: str
    ours: Callable
    theirs: Callable
    samples: list[Sample]
    loops: Callable | None = None
    orders: int = 2
    twin: Callable | None = None
    native: int = 3

    def references(self, sample, orders=3):
        """Yield PyTorch's functions and how many derivatives to compare with each."""
        orders = min(orders, self.orders)
        yield self.theirs, min(orders, self.native, sample.native)
        if self.twin is not None:
            yield self.twin, orders


ROWS: list[Operation] = []


def row(name, theirs, samples, loops=None, *, ours=None, **more):
    """Append a row; `samples` draws from a generator that only the name decides."""
    rng = Draw(np.random.default_rng(zlib.crc32(name.encode())))
    drawn = [s if isinstance(s, Sample) else Sample(s) for s in samples(rng)]
    ours = ours or getattr(F, name)
    ROWS.append(Operation(name, ours, theirs, drawn, loops, **more))


class Draw:
    """Random arrays as arguments: `draw(2, 3)` is a Leaf of shape (2, 3)."""

    def __init__(self, rng):
        self.rng = rng

    def __call__(self, *shape, kinks=(), order="C", low=None, high=None, grad=True):
        """Normal numbers, or uniform ones in (low, high), at least 0.05 off any kink.

        order: "C"; "F" for columns first; "-" for negative strides; "/" for every
        second number of a larger array.
        """
        return Leaf(memory(self.array(shape, kinks, low, high), order), grad)

    def array(self, shape, kinks=(), low=None, high=None):
        def fresh(size):
            if low is None:
                return self.rng.standard_normal(size)
            return self.rng.uniform(low, high, size)

        x = fresh(shape)
        for _ in range(100):
            near = np.zeros(shape, bool)
            for kink in kinks:
                near |= np.abs(x - kink) < 0.05
            x = np.where(near, fresh(shape), x)
        return x

    def distinct(self, *shape, order="C"):
        """Numbers of which no two are closer than 0.05: no ties, no near ties."""
        size = int(np.prod(shape))
        x = (self.rng.permutation(size) - size / 2) * 0.1
        return Leaf(memory(x.reshape(shape), order))

    def ties(self, *shape, order="C"):
        """Three different numbers only."""
        return Leaf(memory(self.rng.integers(-1, 2, shape).astype(float), order))

    def classes(self, count, *shape):
        return Leaf(self.rng.integers(0, count, shape), False)

    def distribution(self, *shape):
        x = self.rng.uniform(0.1, 1, shape)
        return Leaf(x / x.sum(1, keepdims=True))


def memory(x, order):
    """The same array in another memory order."""
    if order == "C":
        return np.ascontiguousarray(x)
    if order == "F":
        return np.asfortranarray(x)
    if order == "-":
        back = (slice(None, None, -1),) * x.ndim
        return np.ascontiguousarray(x[back])[back]
    wide = np.full([2 * n for n in x.shape], np.nan)
    every_second = (slice(None, None, 2),) * x.ndim
    wide[every_second] = x
    return wide[every_second]


def values(*numbers):
    """A Leaf with exactly these numbers."""
    return Leaf(np.array(numbers, dtype=float))


# -- arithmetic -----------------------------------------------------------------------


def _pairs(draw, kinks=(), **z):
    """Two arrays that broadcast, in all the ways that happen."""
    yield draw(3, 4), draw(3, 4, kinks=kinks, **z)
    yield draw(3, 1, order="F"), draw(1, 4, order="-", kinks=kinks, **z)
    yield draw(), draw(2, 3, kinks=kinks, order="F", **z)
    yield draw(2, 3, 4, order="/"), draw(4, kinks=kinks, **z)
    yield draw(2, 1, 4), draw(3, 1, kinks=kinks, **z)
    yield draw(0, 3), draw(1, 3, kinks=kinks, **z)
    yield draw(2, 3, order="-"), 2.5


def _alpha(draw):
    yield from _pairs(draw)
    yield Sample((draw(3, 1), draw(4)), {"alpha": 2.5})


row("add", torch.add, _alpha)
row("sub", torch.sub, _alpha)
row("mul", torch.mul, _pairs, orders=3)
row("div", torch.div, lambda draw: _pairs(draw, kinks=(0,), low=-2, high=2), orders=3)


def _extremes(draw):
    yield draw.distinct(3, 4), Leaf(draw.distinct(3, 4).array + 0.03)
    yield draw.distinct(3, 1, order="F"), Leaf(draw.distinct(1, 4).array + 0.03)
    yield draw(0, 3), draw(1, 3)
    yield Sample((draw.ties(4, 5), draw.ties(4, 5, order="-")), smooth=False)
    yield Sample((draw.ties(4, 5), draw.ties(5)), smooth=False)


row("maximum", torch.maximum, _extremes)
row("minimum", torch.minimum, _extremes)


def _powers(draw):
    base = {"low": 0.3, "high": 2}
    yield draw(3, 4, **base), draw(3, 4)
    yield draw(3, 1, order="F", **base), draw(4)
    for exponent in (2, 3, 0.5, -1.5, 0, 1, 2.0):
        yield draw(5, order="-", **base), exponent
    yield draw(2, 3, kinks=(0,)), 3
    yield draw(2, 3, kinks=(0,)), -2
    for exponent in (0, 1, 2, 3, 2.0, 2.5, 3.5):
        yield Sample((values(0.0, 1.0, 2.0), exponent), smooth=False)


row("pow", torch.pow, _powers, orders=3)


def _two_sided(draw):
    yield (draw(3, 4),)
    yield (draw(2, 3, 4, order="F"),)
    yield (draw(4, 5, order="-"),)
    yield (draw(4, 5, order="/"),)
    yield (draw(),)
    yield (draw(0, 3),)


def _positive(draw):
    for shape, order in [((3, 4), "C"), ((2, 3), "F"), ((2, 3), "-"), ((0, 3), "C")]:
        yield (draw(*shape, order=order, low=0.2, high=3),)


row("neg", torch.neg, _two_sided)
row("exp", torch.exp, _two_sided, orders=3)
row("log", torch.log, _positive, orders=3)
row("sqrt", torch.sqrt, _positive, orders=3)


def _around(*kinks, edges=(), low=-3.0, high=3.0):
    """Samples off the kinks of a function of one number, then exactly on its edges."""

    def samples(draw):
        for shape, order in [((3, 4), "C"), ((2, 3, 4), "F"), ((4, 5), "-")]:
            yield (draw(*shape, kinks=kinks, order=order, low=low, high=high),)
        yield (draw(4, 5, kinks=kinks, order="/", low=low, high=high),)
        yield (draw(0, 2),)
        yield (draw(kinks=kinks),)
        yield Sample((values(*edges, *kinks),), smooth=False)

    return samples


row("abs", torch.abs, _around(0, edges=(-0.0, 1.0)))


def _clamps(draw):
    at = (-0.5, 1.0)
    yield draw(3, 4, kinks=at), *at
    yield Sample((draw(3, 4, kinks=at, order="F"),), {"min": -0.5})
    yield Sample((draw(3, 4, kinks=at, order="-"),), {"max": 1.0})
    yield draw(0, 4), *at
    yield Sample((values(-1.0, -0.5, 0.0, 1.0, 2.0), *at), smooth=False)
    yield Sample((values(-1.0, 1.0, 3.0), 2.0, 1.0), smooth=False)  # max wins


row("clamp", torch.clamp, _clamps)


def _choices(draw):
    for shapes in [((3, 4),) * 3, ((3, 1), (4,), (2, 1, 1)), ((0, 2), (2,), (1, 2))]:
        a, b, c = shapes
        yield Leaf(draw.rng.random(a) > 0.5, False), draw(*b, order="F"), draw(*c)
    yield Leaf(np.array([True, False]), False), draw(2), 0.0


row("where", torch.where, _choices)


# -- reductions -----------------------------------------------------------------------


def _reductions(array, **also):
    def samples(draw):
        for shape, order in [((3, 4), "C"), ((2, 3, 4), "F"), ((2, 3, 4), "-")]:
            yield (array(draw)(*shape, order=order),)
            yield Sample((array(draw)(*shape, order=order), 1))
            yield Sample((array(draw)(*shape, order=order), -1), {"keepdim": True})
            yield Sample((array(draw)(*shape, order=order), (0, -1)))
            yield Sample(
                (array(draw)(*shape, order=order),), {"dim": (1, 0), "keepdim": True}
            )
        yield (array(draw)(),)
        yield from also.get("more", lambda draw: [])(draw)

    return samples


def _nothing(draw):
    yield (draw(0, 3),)
    yield Sample((draw(0, 3), 1))
    yield Sample((draw(0, 3), 0), {"keepdim": True})


def _ties(draw):
    yield Sample((draw.ties(4, 5),), smooth=False)
    yield Sample((draw.ties(4, 5, order="F"), 0), smooth=False)
    yield Sample((draw.ties(2, 3, 4), (0, 2)), {"keepdim": True}, smooth=False)
    yield Sample((draw(0, 3), 1), smooth=False)


def _means(draw):
    yield Sample((draw(0, 3), 1))


row("sum", torch.sum, _reductions(lambda draw: draw, more=_nothing))
row("mean", torch.mean, _reductions(lambda draw: draw, more=_means))
row("amax", torch.amax, _reductions(lambda draw: draw.distinct, more=_ties))
row("amin", torch.amin, _reductions(lambda draw: draw.distinct, more=_ties))


def _variances(draw):
    yield (draw(3, 4),)
    yield Sample((draw(3, 4, order="F"), 0))
    yield Sample((draw(2, 3, 4, order="-"), (0, -1)), {"correction": 0})
    yield Sample((draw(2, 3, 4), 1), {"correction": 2, "keepdim": True})
    yield Sample((draw(2, 3, order="/"), -1), {"unbiased": False})


row("var", torch.var, _variances, orders=3)


# -- matrices and shapes --------------------------------------------------------------


def _products(draw):
    yield draw(3, 4), draw(4, 5)
    yield draw(3, 4, order="F"), draw(4, 5, order="-")
    yield draw(4), draw(4, 5)
    yield draw(3, 4), draw(4)
    yield draw(4), draw(4)
    yield draw(2, 3, 4), draw(4, 5)
    yield draw(3, 4), draw(2, 4, 5)
    yield draw(2, 1, 3, 4, order="/"), draw(3, 4, 2, order="F")
    yield draw(4), draw(2, 4, 3)
    yield draw(0, 4), draw(4, 5)
    yield draw(3, 0), draw(0, 5)


row(
    "matmul",
    torch.matmul,
    _products,
    orders=3,
    loops=lambda a, b: linear.matmul(a, b) if a.ndim == b.ndim == 2 else None,
)


def _layers(draw):
    yield draw(3, 4), draw(5, 4), draw(5)
    yield draw(3, 4, order="F"), draw(5, 4, order="-")
    yield draw(0, 4), draw(5, 4), draw(5)
    yield draw(4), draw(5, 4), draw(5)
    yield draw(2, 3, 4, order="/"), draw(5, 4), draw(5)


row(
    "linear",
    T.linear,
    _layers,
    orders=3,
    loops=lambda x, *rest: linear.linear(x, *rest) if x.ndim == 2 else None,
)


def _shaped(*argument_lists, shape=(2, 3, 4)):
    def samples(draw):
        for arguments in argument_lists:
            for order in "CF-":
                yield draw(*shape, order=order), *arguments
        for arguments in argument_lists[:1]:
            if -1 not in np.ravel(np.array(arguments, dtype=object)):
                yield draw(*shape, order="/"), *arguments

    return samples


row("reshape", torch.reshape, _shaped(((6, 4),), ((4, -1),), ((-1,),), ((2, 1, 12),)))
row("flatten", torch.flatten, _shaped((), (1,), (0, 1), (-2, -1)))
row("transpose", torch.transpose, _shaped((0, 1), (-1, 0), (1, 1)))
row("permute", torch.permute, _shaped(((2, 0, 1),), ((0, -1, 1),)))
row("squeeze", torch.squeeze, _shaped((), (0,), (-1,), ((0, 2),), shape=(1, 3, 1)))
row("unsqueeze", torch.unsqueeze, _shaped((0,), (-1,), (2,)))
row(
    "expand",
    lambda x, size: x.expand(size),
    _shaped(((2, 3, 4),), ((5, -1, 3, 4),), ((1, 3, -1),), shape=(1, 3, 1)),
)


def _joined(draw):
    yield [draw(2, 3), draw(2, 3, order="F")], 0
    yield [draw(2, 3, order="-")] * 3, -1
    yield ([draw(2, 3)],)


def _unequal(draw):
    yield from _joined(draw)
    yield [draw(2, 3), draw(2, 1), draw(2, 0)], 1
    yield [draw(2, 3), draw(4, 3, order="/")], -2


row("cat", torch.cat, _unequal)
row("stack", torch.stack, _joined)


def _indices(draw):
    some = Leaf(np.array([2, 0, 2]), False)  # one row twice: its gradients add up
    mask = Leaf(np.array([True, False, True]), False)
    for index in (
        1,
        -1,
        slice(1, None),
        (slice(None), slice(None, None, 2)),
        (..., 0),
        (None, slice(0, 2), 1),
        some,
        (slice(None), some),
        (some, some, 1),
        mask,
    ):
        yield draw(3, 4, 5, order="F"), index


row(
    "getitem",
    lambda x, index: x[index],
    _indices,
    ours=lambda x, index: x[index],
)


def _gathers(draw):
    yield draw(3, 4), 1, draw.classes(4, 3, 2)
    yield draw(3, 4, order="F"), 0, draw.classes(3, 5, 4)
    yield draw(3, 4, order="-"), -1, draw.classes(4, 2, 6)
    yield draw(4), 0, draw.classes(4, 7)


row("gather", torch.gather, _gathers)


def _paddings(draw):
    yield draw(2, 3, 4, order="F"), (1, 2)
    yield Sample((draw(2, 3, 4), (1, 0, 2, 1)), {"value": 1.5})
    yield Sample((draw(2, 3, 4), (-1, 2, 1, -1)))
    for mode in ("reflect", "replicate", "circular"):
        yield Sample((draw(2, 3, 4, order="-"), (2, 1)), {"mode": mode})
        yield Sample((draw(1, 2, 3, 4, order="F"), (1, 2, 2, 0)), {"mode": mode})
        yield Sample((draw(0, 2, 3, 4), (1, 2, 2, 0)), {"mode": mode})


row("pad", T.pad, _paddings)


def _dtypes(draw):
    yield draw(3, 4, order="F"), np.dtype(np.float64)
    yield Sample((draw(3, 4), np.dtype(np.float32)), smooth=False)
    yield Sample((draw(3, 4), np.dtype(np.int64)), smooth=False)


row("to", lambda x, dtype: x.to(dtype), _dtypes)


# -- activations ----------------------------------------------------------------------


def _scalar(name):
    """Loops of a function of one number."""
    function = getattr(activations, name)
    return lambda x, *args, **kwargs: activations.elementwise(
        function, x, *args, *kwargs.values()
    )


FAR = (-1000.0, -100.0, 100.0, 1000.0)

row("relu", T.relu, _around(0, edges=(-0.0, *FAR)), _scalar("relu"))
row("relu6", T.relu6, _around(0, 6, edges=FAR, low=-4, high=9), _scalar("relu6"))
row("sigmoid", torch.sigmoid, _around(edges=(0, *FAR)), _scalar("sigmoid"), orders=3)
row("tanh", torch.tanh, _around(edges=(0, *FAR)), _scalar("tanh"), orders=3)
row(
    "hardsigmoid",
    T.hardsigmoid,
    _around(-3, 3, edges=FAR, low=-6, high=6),
    _scalar("hardsigmoid"),
    twin=lambda x: T.relu6(x + 3) / 6,
    native=0,  # PyTorch's 1/6 is a float32 in the first derivative; there is no second
)
row(
    "hardswish",
    T.hardswish,
    _around(-3, 3, edges=FAR, low=-6, high=6),
    _scalar("hardswish"),
)
row(
    "step",
    lambda x: (x > 0).to(x.dtype),
    _around(0, edges=(-0.0, *FAR)),
    _scalar("step"),
)


def _leaky(draw):
    yield from _around(0, edges=FAR)(draw)
    yield draw(3, 4, kinks=(0,), order="F"), 0.1
    yield Sample((draw(3, 4, kinks=(0,)),), {"negative_slope": 0.3})


row("leaky_relu", T.leaky_relu, _leaky, _scalar("leaky_relu"))


def _preluish(draw):
    yield draw(2, 3, kinks=(0,)), draw(3)
    yield draw(2, 3, 4, 5, kinks=(0,), order="F"), draw(3, order="-")
    yield draw(2, 3, 4, kinks=(0,), order="-"), draw(1)
    yield draw(3, 2, 4, kinks=(0,)), draw(2)
    yield draw(0, 3), draw(3)
    # At 0, PyTorch's first derivative is the left one, its second the right one's.
    yield Sample((draw.ties(2, 3, 4), draw(3)), smooth=False, native=1)


row("prelu", T.prelu, _preluish, activations.prelu)


def _softpluses(draw):
    yield from _around(edges=(0, 19.999, 20.001, *FAR))(draw)
    yield Sample((draw(3, 4, order="F"), 2.0))
    yield Sample((draw(3, 4), 0.5), {"threshold": 30})
    yield Sample((values(-2.0, 0.99, 1.01, 2.0), 3.0, 3.0), smooth=False)
    # On the threshold, PyTorch's first derivative is the left one's, its second not.
    yield Sample((values(0.99, 1.0, 1.01), 3.0, 3.0), smooth=False, native=1)


row(
    "softplus",
    T.softplus,
    _softpluses,
    lambda x, beta=1.0, threshold=20.0: activations.elementwise(
        activations.softplus, x, beta, threshold
    ),
    orders=3,
)


def _distributions(draw):
    yield draw(3, 4), 1
    yield draw(2, 3, 4, order="F"), 0
    yield draw(2, 3, 4, order="-"), -1
    yield draw(2, 3, 4, order="/"), -2
    yield draw(0, 4), 1
    yield Sample((values(-1000.0, 0.0, 0.0, 500.0), 0), smooth=False)


row("softmax", T.softmax, _distributions, activations.softmax, orders=3)
row("log_softmax", T.log_softmax, _distributions, activations.log_softmax, orders=3)


# -- losses ---------------------------------------------------------------------------

REDUCTIONS = ("mean", "sum", "none")


def _squares(draw):
    for reduction in REDUCTIONS:
        yield Sample((draw(3, 4, order="F"), draw(3, 4)), {"reduction": reduction})
    yield draw(2, 3, 4), draw(2, 3, 4, order="-")
    yield Sample((draw(0, 4), draw(0, 4)), {"reduction": "sum"})


row("mse_loss", T.mse_loss, _squares, losses.mse_loss, orders=3)


def _negative_logs(draw):
    for reduction in REDUCTIONS:
        weight = draw(4, low=0.5, high=2, grad=False)
        also = {"reduction": reduction}
        yield Sample((draw(5, 4), draw.classes(4, 5)), also)
        yield Sample((draw(5, 4, order="F"), draw.classes(4, 5), weight), also)
        yield Sample((draw(5, 4), draw.classes(4, 5)), {"ignore_index": 2, **also})
        yield Sample((draw(2, 4, 3, 2, order="-"), draw.classes(4, 2, 3, 2)), also)
        if reduction != "mean":
            yield Sample((draw(0, 4), draw.classes(4, 0)), also)


def flat(loops):
    """Loops that are written for (N, C) and no more."""
    return lambda x, *args, **kwargs: loops(x, *args, **kwargs) if x.ndim == 2 else None


row("nll_loss", T.nll_loss, _negative_logs, flat(losses.nll_loss))


def _entropies(draw):
    for reduction in REDUCTIONS:
        weight = draw(4, low=0.5, high=2, grad=False)
        also = {"reduction": reduction}
        yield Sample((draw(5, 4, order="F"), draw.classes(4, 5)), also)
        for smoothing in (0.0, 0.3):
            also = {"reduction": reduction, "label_smoothing": smoothing}
            with_classes = (draw(5, 4), draw.classes(4, 5), weight)
            yield Sample(with_classes, {"ignore_index": 1, **also})
            yield Sample((draw(5, 4), draw.distribution(5, 4), weight), also)
            yield Sample((draw(2, 4, 3, 2), draw.classes(4, 2, 3, 2)), also)
            if reduction != "mean":
                yield Sample((draw(0, 4), draw.classes(4, 0)), also)
    yield Sample((Leaf(np.array([[1e4, 0.0, -1e4]])), Leaf(np.array([1]), False)))


row("cross_entropy", T.cross_entropy, _entropies, flat(losses.cross_entropy), orders=3)


# -- convolution, pooling, resizing, normalisation ------------------------------------


def _convolutions(draw):
    yield draw(2, 3, 5, 6), draw(4, 3, 2, 3), draw(4)
    yield draw(2, 3, 7, 6, order="F"), draw(4, 3, 3, 2, order="-"), draw(4), 2, 1
    yield Sample(
        (draw(1, 4, 6, 7, order="-"), draw(6, 2, 2, 3), draw(6)),
        {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2},
    )
    yield Sample(
        (draw(2, 3, 5, 6, order="/"), draw(6, 1, 3, 3)),
        {"padding": 1, "groups": 3, "stride": (1, 2)},
    )
    yield Sample((draw(2, 2, 5, 6), draw(3, 2, 2, 3)), {"padding": "same"})
    yield Sample(
        (draw(2, 2, 6, 6), draw(3, 2, 2, 3)), {"padding": "same", "dilation": (1, 2)}
    )
    yield Sample(
        (draw(2, 2, 5, 6), draw(3, 2, 2, 3), None, (2, 1)), {"padding": "valid"}
    )
    yield draw(2, 5, 4, 3, order="F"), draw(4, 5, 1, 1, order="F"), draw(4)
    yield draw(2, 5, 4, 3), draw(4, 5, 1, 1), None, 2, 1
    yield draw(0, 3, 5, 6), draw(4, 3, 3, 3), draw(4), 1, 1
    yield draw(3, 5, 6), draw(4, 3, 2, 2), draw(4)  # one image, no batch
    yield draw(1, 1, 3, 3), draw(1, 1, 3, 3), draw(1)


def _conv_loops(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    if x.ndim == 3:
        return conv.conv2d(
            x[None], w, b, pair(stride), pair(padding), pair(dilation), groups
        )[0]
    return conv.conv2d(x, w, b, pair(stride), pair(padding), pair(dilation), groups)


def pair(value):
    """A number for both directions, or two, or a word: as the loops want it."""
    return (value, value) if isinstance(value, int) else value


row("conv2d", T.conv2d, _convolutions, _conv_loops, orders=3)


def _pools(array, dilated=False, **also):
    def samples(draw):
        x = array(draw)
        yield Sample((x(2, 3, 6, 7), 2))
        yield Sample((x(2, 2, 7, 6, order="F"), (3, 2), (2, 3)), {"padding": 1})
        yield Sample((x(1, 2, 6, 7, order="-"), 3, 2), {"ceil_mode": True})
        yield Sample(
            (x(1, 2, 5, 8, order="/"), (2, 3), 3), {"padding": 1, "ceil_mode": True}
        )
        yield Sample((x(1, 2, 2, 4), (3, 6), 2, (0, 1)), {"ceil_mode": True})
        yield Sample((x(2, 3, 5, 5), 3, 1))
        yield Sample((x(3, 5, 6), 2))
        yield Sample((x(0, 3, 6, 7), 2))
        if dilated:
            yield Sample((x(1, 2, 8, 7), (2, 3), 2, 1), {"dilation": (3, 2)})
            yield Sample(
                (x(1, 2, 8, 7, order="F"), 2, 3, 1), {"dilation": 2, "ceil_mode": True}
            )
        yield from also.get("more", lambda draw: [])(draw)

    return samples


def _tied(draw):
    for order in "CF-":
        yield Sample((draw.ties(2, 3, 6, 7, order=order), 3, 2), smooth=False)
        yield Sample((draw.ties(2, 3, 6, 7, order=order), 3, 1, 1), smooth=False)
    yield Sample((Leaf(np.zeros((1, 2, 6, 6))), 3, 2, 1), smooth=False)
    yield Sample((Leaf(np.full((1, 1, 4, 4), -np.inf)), 2), smooth=False)
    yield Sample((draw.ties(2, 3, 6, 7), 2), {"return_indices": True}, smooth=False)
    yield Sample(
        (draw.ties(3, 6, 7), 3, 2, 1),
        {"return_indices": True, "ceil_mode": True},
        smooth=False,
    )


def batched(loops):
    """Let loops over (N, C, H, W) take one image (C, H, W) as well."""

    def function(x, *args, **kwargs):
        if x.ndim == 4:
            return loops(x, *args, **kwargs)
        y = loops(x[None], *args, **kwargs)
        return tuple(a[0] for a in y) if isinstance(y, tuple) else y[0]

    return function


def _max_loops(
    x,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
):
    numbers = map(pair, (kernel_size, stride, padding, dilation))
    y, index = pool.max_pool2d(x, *numbers, ceil_mode)
    return (y, index) if return_indices else y


def _avg_loops(x, kernel_size, stride=None, padding=0, *args, **kwargs):
    return pool.avg_pool2d(
        x, pair(kernel_size), pair(stride), pair(padding), *args, **kwargs
    )


def _sum_loops(x, kernel_size, stride=None, padding=0, ceil_mode=False):
    return pool.sum_pool2d(x, pair(kernel_size), pair(stride), pair(padding), ceil_mode)


row(
    "max_pool2d",
    T.max_pool2d,
    _pools(lambda draw: draw.distinct, dilated=True, more=_tied),
    batched(_max_loops),
    orders=3,
)


def _divisors(draw):
    yield Sample(
        (draw(2, 2, 6, 7), 3, 2, 1), {"count_include_pad": False, "ceil_mode": True}
    )
    yield Sample((draw(2, 2, 6, 7, order="F"), 3, 2, 1), {"divisor_override": 5})


row(
    "avg_pool2d",
    T.avg_pool2d,
    _pools(lambda draw: draw, more=_divisors),
    batched(_avg_loops),
    orders=3,
)
row(
    "sum_pool2d",
    lambda *args, **kwargs: T.avg_pool2d(*args, divisor_override=1, **kwargs),
    _pools(lambda draw: draw),
    batched(_sum_loops),
    orders=3,
)


def _adaptive(draw):
    for size in (1, (2, 3), (5, 7), (7, 9), (None, 2)):
        yield draw(2, 3, 5, 7, order="F"), size
    yield draw(3, 5, 7, order="-"), (2, 2)
    yield draw(0, 3, 5, 7), (2, 2)


def _adaptive_loops(x, size):
    size = [n or x.shape[2 + k] for k, n in enumerate(pair(size))]
    return pool.adaptive_avg_pool2d(x, size)


row(
    "adaptive_avg_pool2d",
    T.adaptive_avg_pool2d,
    _adaptive,
    batched(_adaptive_loops),
    orders=3,
)


def _sizes(draw):
    line, image, volume = (2, 3, 7), (2, 3, 5, 4), (1, 2, 3, 4, 5)
    for mode, shape in [
        ("nearest", line),
        ("nearest", image),
        ("nearest", volume),
        ("nearest-exact", image),
        ("linear", line),
        ("bilinear", image),
        ("bicubic", image),
        ("trilinear", volume),
        ("area", image),
    ]:
        space = len(shape) - 2
        larger = tuple(n + 3 - k for k, n in enumerate(shape[2:]))
        smaller = tuple(n - 2 + k for k, n in enumerate(shape[2:]))[:space]
        for size, order in [(larger, "F"), (smaller, "-"), (1, "C")]:
            yield Sample((draw(*shape, order=order), size), {"mode": mode})
        if mode == "area":
            continue
        yield Sample(
            (draw(*shape, order="/"),),
            {"scale_factor": 1.7, "mode": mode},
        )
        yield Sample(
            (draw(*shape),),
            {"scale_factor": 0.6, "mode": mode, "recompute_scale_factor": True},
        )
        if mode in ("linear", "bilinear", "bicubic", "trilinear"):
            for size in (larger, smaller, 1):
                also = {"mode": mode, "align_corners": True}
                yield Sample((draw(*shape), size), also)
        if mode in ("bilinear", "bicubic"):
            for size in (larger, smaller):
                also = {"mode": mode, "antialias": True}
                yield Sample((draw(*shape), size), also)
                yield Sample((draw(*shape), size), {"align_corners": True, **also})
        # Some factors that leave a size or double it count as 1 or 2 in PyTorch; in
        # other modes only its gradient takes them so, and is not that of its value.
        for factor in [(1.1501,) * space, (2.1503, *(1.1501,) * (space - 1))]:
            also = {"mode": mode, "scale_factor": factor}
            yield Sample((draw(*shape),), also, native=0)
            if mode in ("bilinear", "bicubic"):
                yield Sample((draw(*shape),), {"antialias": True, **also}, native=0)
    yield Sample((draw(0, 3, 5, 4), (7, 2)), {"mode": "bilinear"})


def _resize_loops(
    x, size=None, mode="nearest", align_corners=False, antialias=False, **kwargs
):
    if kwargs or antialias or x.ndim != 4:
        return None
    size = pair(size)
    if mode == "bilinear":
        return resize.bilinear(x, size, bool(align_corners))
    known = {
        "nearest": resize.nearest,
        "nearest-exact": resize.nearest_exact,
        "area": pool.adaptive_avg_pool2d,
    }
    return known[mode](x, size) if mode in known else None


row("interpolate", T.interpolate, _sizes, _resize_loops, orders=2)


def _batches(draw):
    def statistics(C):
        return draw(C, grad=False), draw(C, low=0.5, high=2, grad=False)

    for shape, order in [((5, 3), "C"), ((2, 3, 4), "-"), ((3, 2, 3, 4), "F")]:
        C = shape[1]
        for training in (True, False):
            x, mean, var = draw(*shape, order=order), *statistics(C)
            yield Sample((x, mean, var, draw(C), draw(C), training, 0.3, 1e-3))
            yield Sample((x, mean, var), {"training": training})
        yield Sample((draw(*shape), None, None, draw(C), draw(C)), {"training": True})
        # without a weight, PyTorch's second derivative by the bias fails
        yield Sample((draw(*shape), *statistics(C), None, draw(C), True), native=1)
    constant = Leaf(np.full((3, 2, 2, 2), 1.5))  # no variance: eps alone divides
    yield Sample((constant, *statistics(2), draw(2), draw(2), True, 0.1, 0.1))
    yield Sample((draw(0, 3, 2, 2), *statistics(3), draw(3), draw(3)))


def _norm_loops(x, *args, **kwargs):
    return norm.batch_norm(x, *args, **kwargs)[0]


def _norm_twin(x, mean, var, weight=None, bias=None, training=False, *rest, **kwargs):
    """Batch norm by its formula; the running statistics by PyTorch's."""
    T.batch_norm(x.detach(), mean, var, weight, bias, training, *rest, **kwargs)
    eps = rest[1] if len(rest) > 1 else 1e-5
    shape = (1, -1, *[1] * (x.ndim - 2))
    if training:
        rest_of_x = [d for d in range(x.ndim) if d != 1]
        mean = x.mean(rest_of_x)
        var = x.var(rest_of_x, unbiased=False)
    y = (x - mean.reshape(shape)) / torch.sqrt(var.reshape(shape) + eps)
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


# PyTorch's third derivative takes the mean and variance of the batch for constants.
row(
    "batch_norm",
    T.batch_norm,
    _batches,
    _norm_loops,
    orders=3,
    twin=_norm_twin,
    native=2,
)


def _norm_relu_torch(*args, **kwargs):
    return T.relu(T.batch_norm(*args, **kwargs))


def _norm_relu_loops(*args, **kwargs):
    return np.maximum(_norm_loops(*args, **kwargs), 0)


def _norm_relu_twin(*args, **kwargs):
    return T.relu(_norm_twin(*args, **kwargs))


row(
    "batch_norm_relu",
    _norm_relu_torch,
    _batches,
    _norm_relu_loops,
    orders=3,
    twin=_norm_relu_twin,
    native=2,
)


def _kept(draw):
    yield Sample((draw(3, 4, order="F"), 0.5, False))
    yield Sample((draw(3, 4), 0.0))
    yield Sample((draw(3, 4), 1.0))
    yield Sample((draw(0, 4), 0.0))


row("dropout", T.dropout, _kept)
