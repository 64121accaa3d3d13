"""What an epoch has to tell, from what its steps tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..nn import Module
from ..tensor import Tensor
from .l2t import StepReport
from .matching import Weights


@dataclass(frozen=True)
class Epoch:
    """What an epoch has to tell.

    Attributes:
        number: from 0.
        lr: rate.
        loss: mean over the steps, as are the next two.
        cross_entropy: part of the loss.
        outer: the loss that the meta-networks make small; None without them.
        lambdas: mean weight of each pair, in order; empty without pairs.
        accuracy: on the test images, if it was measured after this epoch.
        peaks: C max_c omega_c of each pair, mean over the images: 1 if all channels
            count alike, C if one counts alone.
        gammas: mean of each pair's gamma; empty without them, as the next.
        uneven: standard deviation over gamma's nine places by their mean, mean over
            images and channels: 0 if all places count alike.
        hypergradient: |dF/dphi|, mean over the steps; None without meta-networks.
        decay: |w phi|, w the weight decay of phi, likewise: it is added to dF/dphi,
            which falls with the rate, and in the end Adam moves phi by it alone.
        dead: share of pairs whose lambda is 0 for every image of a batch, mean over the
            steps: such a pair gets no gradient any more, and stays so.
    """

    number: int
    lr: float
    loss: float
    cross_entropy: float
    outer: float | None
    lambdas: list[float]
    accuracy: float | None = None
    peaks: list[float] = field(default_factory=list)
    gammas: list[float] = field(default_factory=list)
    uneven: list[float] = field(default_factory=list)
    hypergradient: float | None = None
    decay: float | None = None
    dead: float | None = None


class Steps:
    """What the steps of an epoch told; numbers stay where they were computed.

    Reading one (``float``) waits for a GPU, so that is done once, by ``epoch``.

    Args:
        meta: the meta-networks.
        weight_decay: of their parameters.
    """

    def __init__(self, meta: Module, weight_decay: float):
        self.meta, self.weight_decay = meta, weight_decay
        self.told: list[dict[str, Any]] = []

    def add(self, report: StepReport) -> None:
        """One more step; of its report nothing large is kept."""
        losses = {name: x.data for name, x in report.losses.items()}
        sizes = meta_sizes(report, self.meta, self.weight_decay)
        self.told.append({**losses, **sizes, **summary(report.weights)})

    def epoch(self, number: int, lr: float, accuracy: float | None) -> Epoch:
        """Means over all steps."""
        means: dict[str, Any] = {
            name: np.mean([_floats(one[name]) for one in self.told], axis=0).tolist()
            for name in self.told[0]
            if name != "matching"
        }
        return Epoch(number, lr, accuracy=accuracy, **{"outer": None, **means})


def _floats(value: Any) -> Any:
    return [float(x) for x in value] if isinstance(value, list) else float(value)


def summary(weights: Sequence[Weights]) -> dict[str, list[Array]]:
    """lambdas, peaks, gammas and uneven of ``Epoch`` for one batch's weights.

    Single values, left where they were computed: ``float`` of one waits for a GPU.
    """
    gammas = [w.gamma.data for w in weights if w.gamma is not None]
    return {
        "lambdas": [w.lambda_.data.mean() for w in weights],
        "peaks": [
            w.omega.data.max(1).mean().astype(np.float64) * w.omega.shape[1]
            for w in weights
        ],
        "gammas": [gamma.mean() for gamma in gammas],
        "uneven": [(gamma.std((2, 3)) / gamma.mean((2, 3))).mean() for gamma in gammas],
    }


def meta_sizes(
    report: StepReport, meta: Module, weight_decay: float
) -> dict[str, Array]:
    """hypergradient, decay and dead of ``Epoch`` for one step, left where they are."""
    if not report.hypergradient:
        return {}
    unused = [(w.lambda_.data == 0).all() for w in report.weights]
    return {
        "hypergradient": _norm(report.hypergradient),
        "decay": weight_decay * _norm(meta.parameters()),
        "dead": sum(unused) / len(unused),
    }


def _norm(tensors: Iterable[Tensor]) -> Array:
    """Euclidean norm of all numbers, in float64."""
    squares = (np.square(x.data.astype(np.float64)).sum() for x in tensors)
    return sum(squares) ** 0.5
