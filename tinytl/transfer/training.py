"""A whole run: method, few-shot subset, schedule, checkpoints, one result.

    scratch    the target alone
    finetune   the target starts from weights of its own kind, and trains as from
    scratch ufm        feature matching with constant weights
    l2t-ww     what and where are learned
    l2t-www    what, where and which are learned

A run is reproduced by its settings: the seed decides the subset, the initial values,
the order of the images and their augmentation, each from a generator of its own, so
that two methods with one seed see the same images in the same order and start from the
same target network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..data import batches, imagenet_scale, random_crop_flip
from ..devices import device as Device
from ..graph import no_grad
from ..nn import Module
from ..persistence import load_checkpoint, save_checkpoint
from ..tensor import Tensor
from .l2t import L2T, StepReport
from .matching import Pair, Weights

METHODS: dict[str, dict[str, Any]] = {
    "scratch": {"beta": 0.0},
    "finetune": {"beta": 0.0},
    "ufm": {"what": False, "where": False},
    "l2t-ww": {},
    "l2t-www": {"which": "map"},
}
COSINE = ("start", "end")
Tick = Callable[["Epoch"], None]


@dataclass(frozen=True)
class Settings:
    """All that a run depends on besides the networks and the images.

    Attributes:
        method: one of ``METHODS``.
        epochs: passes over the training images.
        batch_size: images a step; the last batch of an epoch may be smaller.
        lr: rate at the start; it falls along a half cosine.
        momentum: of theta.
        weight_decay: of theta.
        cosine: epoch e has the rate of "start", lr/2 (1 + cos(pi e / epochs)), as the
            paper ran it; or of "end", that of e + 1, as later versions of PyTorch run
            the published code: its last epoch has rate 0.
        seed: of everything random.
        augment: move by up to 4 pixels and mirror.
        options: more arguments of ``L2T``, taking the place of the method's.
    """

    method: str
    epochs: int = 200
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    cosine: str = "start"
    seed: int = 0
    augment: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be in {list(METHODS)}, got {self.method!r}")
        if self.cosine not in COSINE:
            raise ValueError(f"cosine must be in {COSINE}, got {self.cosine!r}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be positive, got {self.epochs} and "
                f"{self.batch_size}"
            )


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


def generators(seed: int) -> dict[str, np.random.Generator]:
    """Independent sources for "subset", "target", "meta", "order" and "augment"."""
    names = ("subset", "target", "meta", "order", "augment")
    children = np.random.SeedSequence(seed).spawn(len(names))
    return {k: np.random.default_rng(s) for k, s in zip(names, children, strict=True)}


class Run:
    """One run of one method, resumable at every epoch.

    Args:
        settings: what to do.
        source: the source network; not used by scratch and finetune.
        target: the target network, at its initial values.
        pairs: which maps are matched.
        images: training images (N, 3, H, W) uint8.
        labels: (N,) int64.
        random: as ``generators`` makes them; "order", "augment" and "meta" are used.
        device: where it is computed, "cpu" or "cuda"; may be another after a stop.
    """

    def __init__(
        self,
        settings: Settings,
        source: Module,
        target: Module,
        pairs: Sequence[Pair],
        images: np.ndarray,
        labels: np.ndarray,
        random: dict[str, np.random.Generator],
        device: str = "cpu",
    ):
        self.settings = settings
        self.images, self.labels = images, labels
        self.random = {k: random[k] for k in ("order", "augment")}
        self.epochs: list[Epoch] = []
        self.l2t = L2T(
            source,
            target,
            pairs,
            image=images.shape[1:],
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            generator=random["meta"],
            **{**METHODS[settings.method], **settings.options},
        ).to(device)

    def train(
        self,
        test: tuple[np.ndarray, np.ndarray] | None = None,
        every: int = 10,
        checkpoint: Path | None = None,
        tick: Tick | None = None,
    ) -> list[Epoch]:
        """All epochs that remain; returns all that there are.

        Args:
            test: images and labels for the accuracy, which nothing else looks at.
            every: measure and keep a checkpoint after so many epochs, and at the end.
            checkpoint: file to resume from if it exists, and to write; None for none.
            tick: told about each epoch, for a progress bar.
        """
        if checkpoint is not None and checkpoint.exists():
            self.resume(checkpoint)
        while len(self.epochs) < self.settings.epochs:
            number = len(self.epochs) + 1
            pause = number % every == 0 or number == self.settings.epochs
            self.epochs.append(self._epoch(test if pause else None))
            if pause and checkpoint is not None:
                self.save(checkpoint)
            if tick is not None:
                tick(self.epochs[-1])
        return self.epochs

    def rate(self, number: int) -> float:
        """Rate of epoch `number`."""
        turn = number + (self.settings.cosine == "end")
        return (
            self.settings.lr / 2 * (1 + math.cos(math.pi * turn / self.settings.epochs))
        )

    def _epoch(self, test: tuple[np.ndarray, np.ndarray] | None) -> Epoch:
        settings, number = self.settings, len(self.epochs)
        self.l2t.sgd.param_groups[0]["lr"] = self.rate(number)
        self.l2t.student.train()
        place = device_of(self.l2t.student)
        reports, summaries = [], []
        for index in batches(
            len(self.images), settings.batch_size, self.random["order"]
        ):
            chosen = self.images[index]
            if settings.augment:
                chosen = random_crop_flip(chosen, self.random["augment"])
            x = Tensor(imagenet_scale(chosen)).to(place)
            report = self.l2t.step(x, Tensor(self.labels[index]).to(place))
            summaries.append(summary(report.weights))
            reports.append(StepReport(report.losses))  # the rest is large
        outer = [r.outer for r in reports if r.outer is not None]
        return Epoch(
            number,
            self.rate(number),
            _mean(reports, "loss"),
            _mean(reports, "cross_entropy"),
            float(np.mean(outer)) if outer else None,
            accuracy=None if test is None else accuracy(self.l2t.student.target, *test),
            **{
                name: np.mean(
                    [[float(x) for x in one[name]] for one in summaries], axis=0
                ).tolist()
                for name in summaries[0]
            },
        )

    # -- stopping and going on
    # -----------------------------------------------------------

    def save(self, path: Path) -> None:
        """Keep everything that the rest of the run depends on."""
        save_checkpoint(
            path,
            model=self._everything(),
            optimizer=self._optimizers(),
            generator=self.random,
            extra={
                "settings": asdict(self.settings),
                "epochs": [asdict(epoch) for epoch in self.epochs],
            },
        )

    def resume(self, path: Path) -> None:
        """Go on from what ``save`` kept: bit by bit as if it had never stopped.

        Raises:
            ValueError: the file is damaged, or of another run.
        """
        kept = load_checkpoint(path)
        if kept["settings"] != json.loads(json.dumps(asdict(self.settings))):
            raise ValueError(
                f"{path} is of a run with other settings: {kept['settings']}; use "
                "another file, or delete this one"
            )
        extra = load_checkpoint(
            path,
            model=self._everything(),
            optimizer=self._optimizers(),
            generator=self.random,
        )
        self.epochs = [Epoch(**epoch) for epoch in extra["epochs"]]

    def _everything(self) -> Module:
        both = Module()
        both.student, both.meta = self.l2t.student, self.l2t.meta
        return both

    def _optimizers(self) -> dict[str, Any]:
        both = {"theta": self.l2t.sgd, "phi": self.l2t.adam}
        return {name: each for name, each in both.items() if each is not None}


def _mean(reports: Sequence[StepReport], name: str) -> float:
    return float(np.mean([getattr(report, name) for report in reports]))


def device_of(network: Module) -> Device:
    """Where a network is: the device of its first parameter."""
    return next(network.parameters()).device


def accuracy(
    network: Module,
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int = 250,
    prepare: Callable[[np.ndarray], np.ndarray] = imagenet_scale,
) -> float:
    """Share of images whose highest score is that of their label, in [0, 1].

    In eval mode; afterwards every part is in the mode it was in. The images go to where
    the network is, and the count is read once, at the end.

    Args:
        network: images -> scores (N, K).
        images: (N, C, H, W), as `prepare` takes them.
        labels: (N,).
        batch_size: how many at a time.
        prepare: from images to what the network takes; uint8 to ImageNet's scale.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    place = device_of(network)
    right: Array | int = 0
    with no_grad():
        for index in batches(len(images), batch_size):
            scores = network(Tensor(prepare(images[index])).to(place)).data
            expected = Tensor(labels[index]).to(place).data
            right = right + (scores.argmax(axis=1) == expected).sum()
    for module, training in modes:
        module.training = training
    return int(right) / len(images)
