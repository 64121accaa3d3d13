r"""The matching loss: how far a target network's maps are from a source network's.

For a pair (m, n) the target's map T^n(x) goes through a 1x1 convolution r with as many
channels as the source's map S^m(x) has, which is resized to the target's size. With

    D_{b,c,i,j} = (r(T^n(x_b)) - S^m(x_b))^2_{c,i,j}

the loss of the pair is

    L^{m,n} = mean_b lambda_b sum_c omega_{b,c} mean_{i,j} gamma_{b,c,i,j} D_{b,c,i,j}

and L = sum of L^{m,n} over the pairs. The methods are nested configurations of it:

    UFM       omega = 1 / C, lambda = 1, gamma = 1     plain feature matching
    L2T-ww    omega and lambda learned, gamma = 1
    L2T-www   all three learned

Side by side. Pairs with the same target map n differ in the source map alone, and the
sum over m and c is one sum: their source maps, and the weights lambda omega and gamma,
are put side by side as channels (``joined``), and one 1x1 convolution gives all their
r(T^n). That is one loss for each target map in place of one for each pair, the same
numbers, and of what depends on the source alone nothing is left to be done in a step.

Sources: Romero et al. 2014 (matching of features); Jang et al. 2019, eq. 1 to 3, and
its published code, where the source's map is the one that is resized.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tinytl_kernels import Array, kernels_for, namespace

from .. import functional as F
from ..functional.promote import common
from ..nn import Conv2d, Module, ModuleList
from ..recomputed import recomputed
from ..tensor import Tensor, record
from .meta import What, Where, Which, pooled, seen

Pair = tuple[int, int]  # index of a source feature, index of a target feature
NamedPair = tuple[int | str, int | str]  # each by its index, or by its name
SCALES = ("raw", "unit", "flat")


@dataclass(frozen=True)
class Weights:
    """What, where and which of one pair for a batch of N images.

    Attributes:
        omega: (N, C).
        lambda_: (N,).
        gamma: (N, C, 3, 3), or None for 1 everywhere.
    """

    omega: Tensor
    lambda_: Tensor
    gamma: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Those that there are, in order."""
        return [w for w in (self.omega, self.lambda_, self.gamma) if w is not None]


def from_tensors(tensors: Sequence[Tensor], like: Sequence[Weights]) -> list[Weights]:
    """Weights of all pairs from one flat list, undoing ``Weights.tensors``."""
    queue = iter(tensors)
    return [Weights(*(next(queue) for _ in weights.tensors())) for weights in like]


class MetaNetworks(Module):
    """One What, Where and Which for every pair, as far as they are learned.

    Args:
        shapes: (C, H, W) of every pair's source map.
        what: learn omega; else it is 1 / C.
        where: learn lambda; else it is 1.
        which: learn gamma, from this input (see ``Which``); None for gamma = 1.
        generator: randomness of initial values; None for fresh entropy.
        dtype: of the parameters.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int, int]],
        *,
        what: bool = True,
        where: bool = True,
        which: str | None = None,
        generator: np.random.Generator | None = None,
        dtype: type = np.float32,
    ):
        super().__init__()
        self.h_input = which
        self.what = ModuleList()
        self.where = ModuleList()
        self.which = ModuleList()
        for channels, height, width in shapes:
            if what:
                self.what.append(What(channels, dtype=dtype))
            if where:
                self.where.append(Where(channels, generator=generator, dtype=dtype))
            if which is not None:
                size = (height, width)
                self.which.append(Which(channels, size, which, dtype=dtype))

    def forward(self, maps: Sequence[Tensor]) -> list[Weights]:
        """Weights of every pair, from its source map (N, C, H, W).

        What the networks see of a map is computed once for all pairs that share it.
        """
        distinct = {id(s): s for s in maps}
        asked = len(self.what) or len(self.where)
        p = {key: pooled(s) for key, s in distinct.items() if asked}
        u = {key: seen(s, self.h_input) for key, s in distinct.items() if self.h_input}
        found = []
        for k, s in enumerate(maps):
            key, (n, c) = id(s), s.shape[:2]
            omega = self.what[k](p[key]) if len(self.what) else _full((n, c), 1 / c, s)
            lambda_ = self.where[k](p[key]) if len(self.where) else _full((n,), 1.0, s)
            gamma = self.which[k](u[key]) if len(self.which) else None
            found.append(Weights(omega, lambda_, gamma))
        return found


def _full(shape: tuple[int, ...], value: float, like: Tensor) -> Tensor:
    return Tensor(namespace(like.data).full(shape, value, like.dtype))


class Student(Module):
    """The target network and the matching branch: all that theta stands for.

    Args:
        target: network with ``forward_with_features(x) -> (scores, maps)``.
        pairs: which maps are matched.
        channels: (source's C, target's C) for every pair.
        generator: randomness of the branch; None for fresh entropy.
        dtype: of the branch.

    Shapes: images -> (scores, list of r(T^n(x)), one for each pair; or, with `joined`,
    one for each target map, the channels of its pairs side by side; none without
    `match`).
    """

    def __init__(
        self,
        target: Any,
        pairs: Sequence[Pair],
        channels: Sequence[tuple[int, int]],
        *,
        generator: np.random.Generator | None = None,
        dtype: type = np.float32,
    ):
        super().__init__()
        self.target = target
        self.pairs = tuple(pairs)
        self.branch = ModuleList(
            Conv2d(theirs, ours, 1, generator=generator, dtype=dtype)
            for ours, theirs in channels
        )

    def forward(
        self, x: Tensor, joined: bool = False, match: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Scores, and the target's maps as the source would have them."""
        scores, maps = self.target.forward_with_features(x)
        if not match:
            return scores, []
        if joined:
            return scores, [
                side_by_side(maps[n], [self.branch[k] for k in which])
                for n, which in by_target(self.pairs).items()
            ]
        matched = [
            r(maps[n]) for r, (_, n) in zip(self.branch, self.pairs, strict=True)
        ]
        return scores, matched


def side_by_side(x: Tensor, convolutions: Sequence[Any]) -> Tensor:
    """What 1x1 convolutions of one map give, their channels side by side: as one."""
    weight = F.cat([r.weight for r in convolutions])
    return F.conv2d(x, weight, F.cat([r.bias for r in convolutions]))


def by_target(pairs: Sequence[Pair]) -> dict[int, list[int]]:
    """The places of all pairs with one target map, in order: n -> [k, ...]."""
    found: dict[int, list[int]] = {}
    for k, (_, n) in enumerate(pairs):
        found.setdefault(n, []).append(k)
    return found


def resized(
    maps: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    mode: str = "bilinear",
) -> list[Tensor]:
    """Source maps in their targets' sizes.

    Args:
        maps: S^m(x), one for each pair.
        sizes: (H, W) of the target's maps.
        mode: "bilinear", corners not aligned, as published: from 16 x 16 to 2 x 2 it
            looks at 16 of the 256 pixels; or "area", the mean over the target's cell,
            which looks at all.
    """
    return [
        s if s.shape[2:] == size else F.interpolate(s, size, mode=mode)
        for s, size in zip(maps, sizes, strict=True)
    ]


@dataclass(frozen=True)
class Factors:
    """What stands before D in the loss of a pair, or of several side by side.

    Attributes:
        channels: lambda omega, (N, C).
        pixels: gamma over the map, (N, C, H, W), or None for 1 everywhere.
    """

    channels: Tensor
    pixels: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Those that there are, in order."""
        return [w for w in (self.channels, self.pixels) if w is not None]


def factors(
    weights: Sequence[Weights], sizes: Sequence[tuple[int, ...]], scale: str = "raw"
) -> list[Factors]:
    """Factors of every pair, whose maps have these sizes.

    Args:
        weights: of every pair.
        sizes: (H, W) of every pair.
        scale: what is done with gamma, which is confounded with lambda: "raw" nothing;
            "unit" divides it by its mean over the pixels, so that it can only shift
            weight; "flat" replaces it by that mean, so that it can only scale.

    Raises:
        ValueError: an unknown scale.
    """
    if scale not in SCALES:
        raise ValueError(f"factors: scale must be in {SCALES}, got {scale!r}")
    return [
        Factors(
            F.unsqueeze(by.lambda_, 1) * by.omega,
            None if by.gamma is None else stretched(by.gamma, size, scale),
        )
        for by, size in zip(weights, sizes, strict=True)
    ]


def joined(
    pairs: Sequence[Pair], source: Sequence[Tensor], each: Sequence[Factors]
) -> tuple[list[Tensor], list[Factors]]:
    """Source maps and factors of every target map: those of its pairs side by side.

    Raises:
        ValueError: some pairs of a target map have pixels, and some have not.
    """
    maps, found = [], []
    for which in by_target(pairs).values():
        maps.append(channels_last(F.cat([source[k] for k in which], 1)))
        pixels = [each[k].pixels for k in which]
        there = [x for x in pixels if x is not None]
        if there and len(there) < len(pixels):
            raise ValueError("joined: all pairs of a target map have pixels, or none")
        channels = F.cat([each[k].channels for k in which], 1)
        wide = channels_last(F.cat(there, 1)) if there else None
        found.append(Factors(channels, wide))
    return maps, found


def channels_last(x: Tensor) -> Tensor:
    """The same x, in memory as convolutions leave their maps: (N, H, W, C).

    What is computed from two arrays in one order is one pass over both. Where x lies so
    already, nothing is done.
    """
    array = namespace(x.data).ascontiguousarray(x.data.transpose(0, 2, 3, 1))
    return record(array.transpose(0, 3, 1, 2), (x, lambda g: g))


def matching_loss(
    matched: Sequence[Tensor],
    source: Sequence[Tensor],
    weights: Sequence[Weights],
    scale: str = "raw",
) -> Tensor:
    """L of the module's docstring, pair by pair.

    Args:
        matched: r(T^n(x)) of every pair.
        source: S^m(x) of every pair, in the same size.
        weights: of every pair.
        scale: as in ``factors``.

    Raises:
        ValueError: an unknown scale.
    """
    sizes = [s.shape[2:] for s in source]
    return weighted_distance(matched, source, factors(weights, sizes, scale))


def weighted_distance(
    matched: Sequence[Tensor], source: Sequence[Tensor], by: Sequence[Factors]
) -> Tensor:
    """L from maps (N, C, H, W) and factors, those of a pair or of several joined."""
    triples = zip(matched, source, by, strict=True)
    return F.sum(F.stack([_weighted_distance(*triple) for triple in triples]))


def _weighted_distance(t: Tensor, s: Tensor, by: Factors) -> Tensor:
    each = mean_distance(t, s, by.pixels)
    return F.mean(F.sum(by.channels * each, 1))


def mean_distance(t: Tensor, s: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""m_{b,c} = mean_{i,j} weight (t - s)^2; weight is 1 if there is none.

    These maps are the largest things in a step, and each operation on them is a pass
    over memory. The derivatives need x = t - s, so it is written while its square is
    added up, and the gradient by x is one product.

    Shapes: t, s and weight (N, C, H, W) -> (N, C).

    Backward. dm/dx = 2 weight x / (H W), dm/dweight = x^2 / (H W).

    Raises:
        ValueError: the shapes differ.
    """
    maps = [x for x in (t, s, weight) if x is not None]
    if len({x.shape for x in maps}) > 1:
        raise ValueError(f"matching: maps differ in shape: {[x.shape for x in maps]}")
    t, s, *weights = common("matching", *maps)
    arrays = [w.data for w in weights]
    difference, squares = kernels_for(t.data).difference_squares(
        t.data, s.data, *arrays
    )
    x = record(
        difference,
        (t, lambda g: g, lambda moved: moved),
        (s, lambda g: -g, lambda moved: -moved),
    )

    def weighted() -> Tensor:
        return x * weights[0] if weights else x

    by_x = (
        x,
        lambda g: spread(weighted(), 2.0 * g),
        lambda moved: 2.0 * mean_product(moved, weighted()),
    )
    by_weight = [(w, lambda g: spread(x * x, g)) for w in weights]
    return record(squares / _pixels(x), by_x, *by_weight)


def mean_product(x: Tensor, z: Tensor) -> Tensor:
    r"""m_{b,c} = mean_{i,j} x z.

    Weighed with g and added up, sum over b,c of g m is linear in x, z and g, as a
    convolution is: the gradients of this and of ``spread`` are these two again.

    Shapes: both (N, C, H, W) -> (N, C).
    """
    return record(
        kernels_for(x.data).product_sums(x.data, z.data) / _pixels(x),
        (x, lambda g: spread(z, g), lambda t: mean_product(t, z)),
        (z, lambda g: spread(x, g), lambda t: mean_product(x, t)),
    )


def spread(x: Tensor, g: Tensor) -> Tensor:
    """x g / (H W), for x (N, C, H, W) and g (N, C)."""
    each = (g.data / _pixels(x))[:, :, None, None]

    def value() -> Array:
        return kernels_for(x.data).ufunc("multiply", x.data, each)

    y = record(
        value(),
        (x, lambda h: spread(h, g), lambda t: spread(t, g)),
        (g, lambda h: mean_product(h, x), lambda t: spread(x, t)),
    )
    return recomputed(y, value)


def _pixels(x: Tensor) -> Any:
    """H W, in the dtype of x."""
    return x.dtype.type(math.prod(x.shape[2:]))


def stretched(gamma: Tensor, size: tuple[int, ...], scale: str = "raw") -> Tensor:
    """gamma (N, C, 3, 3) over a map of `size`, scaled as in ``factors``."""
    wide = F.interpolate(channels_last(gamma), size, mode="bilinear")
    if scale == "raw":
        return wide
    level = F.mean(wide, (2, 3), keepdim=True)
    return wide / level if scale == "unit" else F.expand(level, wide.shape)
