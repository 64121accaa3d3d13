r"""One training step of UFM, L2T-ww and L2T-www.

theta are the parameters of the target network and of the matching branch, phi those of
the meta-networks, and L the matching loss of ``matching.py``. On a batch (x, y):

    1. real step      theta <- SGD on CE(theta) + beta L(theta, phi)
    2. trial          from there, T steps on beta L(theta, phi) alone, then one on CE
    3. judgement      F(phi) = CE at the end of the trial, on the same batch
    4. learning       phi <- Adam on dF/dphi; theta is where it was after 1

So phi learns which imitation prepares the target best for its own task. The trial's
steps carry on with the real momentum and weight decay.

What is evaluated once. The weights omega, lambda, gamma depend on phi and on the source
network alone, not on theta: they are the same in all passes of a step. So the source
and the meta-networks run once a step, gamma is stretched once, and what belongs to one
target map is put side by side once (``matching.joined``). The gradient of F by the
factors that stand in the loss is asked for, and one ordinary backward makes dF/dphi of
it. Undoing the trial costs nothing: arrays are never written to, and the trial works
with Tensors of its own.

Batch statistics. Every pass normalises with the statistics of its batch, and moves the
running ones. In the published code a step's net effect on them is two updates, the real
pass's and the first trial pass's ("official"); "restore" and "freeze" keep the first
alone, see ``bilevel.VirtualStatistics``.

Source: Jang, Lee, Hwang & Shin 2019, algorithm 1, and its published code, which has
beta, momentum and weight decay in the trial where the algorithm has none
(virtual="paper" follows the algorithm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import functional as F
from ..bilevel import (
    METHODS,
    Hypergradient,
    VirtualStatistics,
    hypergradient,
    replay,
    sgd_settings,
)
from ..bilevel.estimate import find_estimator
from ..bilevel.replay import POLICIES
from ..bilevel.snapshot import generators_of
from ..graph import no_grad
from ..nn import functional_call
from ..optim import SGD, Adam
from ..tensor import Tensor, grad
from .matching import (
    SCALES,
    Factors,
    MetaNetworks,
    NamedPair,
    Pair,
    Student,
    Weights,
    factors,
    joined,
    resized,
    weighted_distance,
)
from .modes import evaluating

VIRTUAL = ("official", "paper")
RESIZE = ("bilinear", "area")
BLIND = ("one_step", "implicit")  # to trial steps before the last, which has no L


@dataclass(frozen=True)
class StepReport:
    """What one step has to tell.

    The losses stay where they were computed: a step does not wait for a GPU to read
    them, but the properties that give them as numbers do.

    Attributes:
        losses: by the names of the properties, without history.
        weights: omega, lambda and gamma of every pair, without history.
        hypergradient: dF/dphi, in the order of ``meta.parameters()``.
        fields: dF/d(weights), in the order of ``Weights.tensors`` over the pairs.
    """

    losses: dict[str, Tensor]
    weights: list[Weights] = field(default_factory=list)
    hypergradient: tuple[Tensor, ...] = ()
    fields: tuple[Tensor, ...] = ()

    @property
    def loss(self) -> float:
        """CE + beta L of the real step."""
        return float(self.losses["loss"].item())

    @property
    def cross_entropy(self) -> float:
        """CE of the real step."""
        return float(self.losses["cross_entropy"].item())

    @property
    def matching(self) -> float:
        """L of the real step, without beta; 0 without pairs."""
        found = self.losses.get("matching")
        return 0.0 if found is None else float(found.item())

    @property
    def outer(self) -> float | None:
        """F, or None without meta-networks."""
        found = self.losses.get("outer")
        return None if found is None else float(found.item())


class L2T:
    """Trains a target network with help from a frozen source network.

    Args:
        source: pretrained network with ``forward_with_features(x) -> (scores, maps)``.
            It is put in eval mode and never changes.
        target: network to train, likewise.
        pairs: (source map, target map), as indices from 0 or by the names that the
            networks list as ``feature_names``; none for training from scratch. A target
            parameter that does not require a gradient is left as it is.
        what: learn omega.
        where: learn lambda.
        which: learn gamma from "map", "pooled" or "pooled-map"; None: gamma = 1.
        image: (C, H, W) of the images, to find the sizes of the maps.
        scale: "raw", "unit" or "flat", see ``matching.factors``.
        resize: how source maps get their target's size, see ``matching.resized``.
        beta: weight of the matching loss; 0 trains from scratch.
        steps: T.
        virtual: "official" or "paper", see above.
        bn_virtual: "official", "restore" or "freeze", see above.
        method: how hypergradients are computed, see ``bilevel.hypergradient``; not by
            "one_step" and "implicit", which see nothing of a trial's matching steps.
        method_options: of the method, such as {"eps": 1e-3} for "finite".
        graphs: how many of the trial's last steps keep their graph, for "reverse": None
            for all, the fastest; 1 takes the least memory, and 2 hardly more.
        lr: rate of theta; set ``sgd.param_groups[0]["lr"]``, or use a schedule.
        momentum: of theta.
        weight_decay: of theta.
        meta_lr: rate of phi.
        meta_weight_decay: of phi, added to its gradient.
        learn: False leaves phi at its initial values and makes no trial: a control.
        generator: randomness of initial values; None for fresh entropy.

    Attributes:
        student: target and branch.
        meta: the meta-networks.
        names: of the parameters that are trained, as the student has them.
        sgd: optimiser of these.
        adam: optimiser of the meta-networks, None if nothing is learned.

    Raises:
        ValueError: a pair or an option that does not exist.
    """

    def __init__(
        self,
        source: Any,
        target: Any,
        pairs: Sequence[NamedPair],
        *,
        what: bool = True,
        where: bool = True,
        which: str | None = None,
        image: tuple[int, int, int] = (3, 32, 32),
        scale: str = "raw",
        resize: str = "bilinear",
        beta: float = 0.5,
        steps: int = 2,
        virtual: str = "official",
        bn_virtual: str = "official",
        method: str = "reverse",
        method_options: Mapping[str, Any] | None = None,
        graphs: int | None = 2,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        meta_lr: float = 1e-4,
        meta_weight_decay: float = 1e-4,
        learn: bool = True,
        generator: np.random.Generator | None = None,
    ):
        self.source = source.eval()
        self.pairs = indices(pairs, source, target) if beta else ()
        self.scale, self.resize, self.beta, self.steps = scale, resize, beta, steps
        self.virtual, self.bn_virtual, self.method = virtual, bn_virtual, method
        usual = {"graphs": graphs} if method == "reverse" else {}
        self.method_options = {**usual, **(method_options or {})}
        theirs, ours = _shapes(source, target, image)
        _check(self, len(theirs), len(ours))
        self.sizes = [ours[n][1:] for _, n in self.pairs]
        random: dict[str, Any] = {"generator": generator, "dtype": _dtype(target)}
        seen = [theirs[m] for m, _ in self.pairs]
        self.meta = MetaNetworks(seen, what=what, where=where, which=which, **random)
        channels = [(theirs[m][0], ours[n][0]) for m, n in self.pairs]
        self.student = Student(target, self.pairs, channels, **random)
        self.names, theta = _trained(self.student)
        phi = [*self.meta.parameters()] * learn
        self.sgd = SGD(theta, lr, momentum, weight_decay=weight_decay)
        self.adam = Adam(phi, meta_lr, weight_decay=meta_weight_decay) if phi else None

    def to(self, device: str) -> L2T:
        """Move all three networks to "cpu" or "cuda"; raises what Module.to raises."""
        for network in (self.source, self.student, self.meta):
            network.to(device)
        return self

    def step(self, images: Tensor, labels: Tensor) -> StepReport:
        """One step on a batch, as above."""
        source, by, weights = self._match(images)
        fixed = [Weights(*(w.detach() for w in one.tensors())) for one in weights]
        report = self._real_step(images, labels, source, by, fixed)
        if self.adam is None:
            return report
        found = self._trial(images, labels, source, by)
        phi = list(self.meta.parameters())
        tensors = [w for one in weights for w in one.tensors()]
        inside = [w for one in by for w in one.tensors()]
        gradients = grad(inside, [*tensors, *phi], found.gradients)
        fields, g_phi = gradients[: len(tensors)], gradients[len(tensors) :]
        self.adam.step(g_phi)
        losses = report.losses | {"outer": found.outer}
        return replace(report, losses=losses, hypergradient=g_phi, fields=fields)

    def source_maps(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Of every pair: the source's map, and the same in its target's size."""
        with no_grad():
            _, theirs = self.source.forward_with_features(images)
            maps = [theirs[m] for m, _ in self.pairs]
            return maps, resized(maps, self.sizes, self.resize)

    def _match(
        self, images: Tensor
    ) -> tuple[list[Tensor], list[Factors], list[Weights]]:
        """Source maps and factors of every target map, and weights of every pair."""
        if not self.pairs:
            return [], [], []
        maps, source = self.source_maps(images)
        weights = [learnable(by) for by in self.meta(maps)]
        each = factors(weights, self.sizes, self.scale)
        return *joined(self.pairs, source, each), weights

    def _real_step(
        self,
        images: Tensor,
        labels: Tensor,
        source: list[Tensor],
        by: list[Factors],
        weights: list[Weights],
    ) -> StepReport:
        scores, matched = self.student(images, joined=True)
        own = F.cross_entropy(scores, labels)
        losses = {"loss": own, "cross_entropy": own}
        if self.pairs:
            fixed = [Factors(*(w.detach() for w in one.tensors())) for one in by]
            matching = weighted_distance(matched, source, fixed)
            losses |= {"loss": own + self.beta * matching, "matching": matching}
        theta = self.sgd.param_groups[0]["params"]
        self.sgd.step(grad(losses["loss"], theta, allow_unused=True))
        return StepReport({k: x.detach() for k, x in losses.items()}, weights)

    def _trial(
        self, images: Tensor, labels: Tensor, source: list[Tensor], by: list[Factors]
    ) -> Hypergradient:
        """dF/d(factors) and F; the student is left as it was, statistics apart."""
        by_paper = self.virtual == "paper"
        factor = 1.0 if by_paper else self.beta

        def run(theta: list[Tensor], match: bool) -> tuple[Tensor, list[Tensor]]:
            named = dict(zip(self.names, theta, strict=True))
            options = {"joined": True, "match": match}
            return functional_call(self.student, named, images, options)

        def outer(theta: list[Tensor], phi: list[Tensor]) -> Tensor:
            return F.cross_entropy(run(theta, match=False)[0], labels)

        def inner(theta: list[Tensor], phi: list[Tensor], t: int) -> Tensor:
            if t == self.steps:
                return outer(theta, phi)
            _, matched = run(theta, match=True)
            queue = iter(phi)
            now = [Factors(*(next(queue) for _ in one.tensors())) for one in by]
            return factor * weighted_distance(matched, source, now)

        step = sgd_settings(self.sgd)
        if by_paper:
            step |= {"momentum": 0.0, "weight_decay": 0.0, "velocity": None}
        with VirtualStatistics(self.student, bn_virtual=self.bn_virtual) as virtual:
            below, above = virtual(inner), virtual(outer)
            if generators_of(self.student):  # dropout: the same masks at every pass
                below, above = (replay(x, self.student) for x in (below, above))
            return hypergradient(
                below,
                above,
                hyper=[Tensor(w.data, True) for one in by for w in one.tensors()],
                steps=self.steps + 1,
                method=self.method,
                **step,
                **self.method_options,
            )


def learnable(by: Weights) -> Weights:
    """The same weights, those that are constant as Tensors with a gradient, too."""
    return Weights(
        *(w if w.requires_grad else Tensor(w.data, True) for w in by.tensors())
    )


def indices(pairs: Sequence[NamedPair], source: Any, target: Any) -> tuple[Pair, ...]:
    """The pairs as indices of the networks' lists of maps.

    Raises:
        ValueError: a network lists no such name; the message says which it has.
    """

    def index(network: Any, given: int | str) -> int:
        if not isinstance(given, str):
            return given
        names = list(getattr(network, "feature_names", []))
        if given not in names:
            kind = type(network).__name__
            raise ValueError(f"L2T: {kind} lists no map {given!r}, but {names}")
        return names.index(given)

    return tuple((index(source, m), index(target, n)) for m, n in pairs)


def _dtype(network: Any) -> Any:
    return next(network.parameters()).dtype.type


def _trained(student: Student) -> tuple[list[str], list[Tensor]]:
    """Names and Tensors of theta: what does not require a gradient is left alone."""
    named = [(k, p) for k, p in student.named_parameters() if p.requires_grad]
    return [name for name, _ in named], [p for _, p in named]


def _check(l2t: L2T, theirs: int, ours: int) -> None:
    options = {
        "virtual": VIRTUAL,
        "bn_virtual": POLICIES,
        "scale": SCALES,
        "resize": RESIZE,
        "method": [name for name in METHODS if name not in BLIND],
    }
    for name, known in options.items():
        if getattr(l2t, name) not in known:
            raise ValueError(
                f"L2T: {name} must be in {known}, got {getattr(l2t, name)!r}"
            )
    if not isinstance(l2t.steps, int) or l2t.steps < 0:
        raise ValueError(f"L2T: steps must be an integer >= 0, got {l2t.steps!r}")
    if not (math.isfinite(l2t.beta) and l2t.beta >= 0):
        raise ValueError(f"L2T: beta must be finite and >= 0, got {l2t.beta!r}")
    find_estimator(l2t.method, l2t.method_options)
    for m, n in l2t.pairs:
        if not (0 <= m < theirs and 0 <= n < ours):
            raise ValueError(
                f"L2T: there is no pair ({m}, {n}): the source has {theirs} maps and "
                f"the target {ours}"
            )


def _shapes(source: Any, target: Any, image: tuple[int, int, int]) -> list[Any]:
    """(C, H, W) of every map of both networks; nothing in them changes."""
    found = []
    blank = Tensor(np.zeros((1, *image), _dtype(target)))
    with evaluating(source, target):
        for network in (source, target):
            place = next(network.parameters()).device
            _, maps = network.forward_with_features(blank.to(place))
            found.append([s.shape[1:] for s in maps])
    return found
