"""A whole run: method, few-shot subset, schedule, checkpoints, one result.

    scratch    the target alone
    finetune   likewise, from weights of its own kind
    ufm        feature matching with constant weights
    l2t-ww     what and where are learned
    l2t-www    what, where and which are learned

A run is reproduced by its settings: the seed decides the subset, the initial values,
the order of the images and their augmentation, each from a generator of its own, so
that two methods with one seed see the same images in the same order and start from the
same target network.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..bilevel import Snapshot
from ..data import batches, imagenet_scale, random_crop_flip
from ..devices import device as Device
from ..nn import Module
from ..persistence import load_checkpoint, save_checkpoint
from ..persistence.weights import digest
from ..tensor import Tensor
from .curves import Epoch, Steps
from .l2t import L2T
from .matching import NamedPair
from .modes import evaluating
from .settings import METHODS, Settings

Tick = Callable[[Epoch], None]


class Run:
    """One run of one method, resumable at every epoch.

    Args:
        settings: what to do.
        source: the source network; not used by scratch and finetune.
        target: the target network, at its initial values. Each epoch begins with all
            of it in training mode.
        pairs: which maps are matched, as in ``L2T``.
        images: training images (N, 3, H, W) uint8.
        labels: (N,) int64.
        random: as ``generators`` makes them; "order", "augment" and "meta" are used.
        device: where it is computed, "cpu" or "cuda"; may be another after a stop.
        versions: what computes; kept in checkpoints, to tell who made which part.

    Attributes:
        configuration: all arguments of ``L2T`` with their values, those by default,
            too; of JSON's types.
        given: digests of the images, the labels, the pairs and, where it is used, the
            source network: what a checkpoint must agree with, besides the settings.
        versions: those that the run was made with, in order.
    """

    def __init__(
        self,
        settings: Settings,
        source: Module,
        target: Module,
        pairs: Sequence[NamedPair],
        images: np.ndarray,
        labels: np.ndarray,
        random: dict[str, np.random.Generator],
        device: str = "cpu",
        versions: Mapping[str, Any] | None = None,
    ):
        self.settings = settings
        self.versions = [dict(versions or {})]
        self.images, self.labels = images, labels
        self.random = {k: random[k] for k in ("order", "augment")}
        self.epochs: list[Epoch] = []
        options: dict[str, Any] = {
            "image": images.shape[1:],
            "lr": settings.lr,
            "momentum": settings.momentum,
            "weight_decay": settings.weight_decay,
            **METHODS[settings.method],
            **settings.options,
        }
        self.configuration = _configuration(pairs, options)
        self.l2t = L2T(source, target, pairs, generator=random["meta"], **options)
        self.given = _digests(images, labels, self.l2t)
        self.l2t.to(device)

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
                A run that has epochs already goes on from where it is.
            tick: told about each epoch, for a progress bar.

        After Ctrl-C, or an error, the run is where its last whole epoch ended; a call
        of this method goes on from there. Ctrl-C keeps a checkpoint of it, too.
        """
        if checkpoint is not None and checkpoint.exists() and not self.epochs:
            self.resume(checkpoint)
        try:
            while len(self.epochs) < self.settings.epochs:
                number = len(self.epochs) + 1
                pause = number % every == 0 or number == self.settings.epochs
                self.epochs.append(self._whole_epoch(test if pause else None))
                if pause and checkpoint is not None:
                    self.save(checkpoint)
                if tick is not None:
                    tick(self.epochs[-1])
        except KeyboardInterrupt:
            if checkpoint is not None and self.epochs:
                self.save(checkpoint)
            raise
        return self.epochs

    def rate(self, number: int) -> float:
        """Rate of epoch `number`."""
        turn = number + (self.settings.cosine == "end")
        return (
            self.settings.lr / 2 * (1 + math.cos(math.pi * turn / self.settings.epochs))
        )

    def _whole_epoch(self, test: tuple[np.ndarray, np.ndarray] | None) -> Epoch:
        """An epoch, or none of it: what stops it leaves things as they were."""
        everything = [
            Snapshot.take(self._everything(), generators=self.random.values()),
            *(Snapshot.take(optimizer=each) for each in self._optimizers().values()),
        ]
        try:
            return self._epoch(test)
        except BaseException:
            for part in everything:
                part.restore()
            raise

    def _epoch(self, test: tuple[np.ndarray, np.ndarray] | None) -> Epoch:
        settings, number = self.settings, len(self.epochs)
        self.l2t.sgd.param_groups[0]["lr"] = self.rate(number)
        self.l2t.student.train()
        place = device_of(self.l2t.student)
        adam = self.l2t.adam
        decay = adam.param_groups[0]["weight_decay"] if adam else 0.0
        steps = Steps(self.l2t.meta, decay)
        for index in batches(
            len(self.images), settings.batch_size, self.random["order"]
        ):
            chosen = self.images[index]
            if settings.augment:
                chosen = random_crop_flip(chosen, self.random["augment"])
            x = Tensor(imagenet_scale(chosen)).to(place)
            steps.add(self.l2t.step(x, Tensor(self.labels[index]).to(place)))
        right = None if test is None else accuracy(self.l2t.student.target, *test)
        return steps.epoch(number, self.rate(number), right)

    # -- stopping and going on ---------------------------------------------------------

    def save(self, path: Path) -> None:
        """Keep everything that the rest of the run depends on."""
        save_checkpoint(
            path,
            model=self._everything(),
            optimizer=self._optimizers(),
            generator=self.random,
            extra={
                "settings": asdict(self.settings),
                "given": self.given,
                "versions": self.versions,
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
        given = kept.get("given", {})
        others = [k for k, digest in self.given.items() if given.get(k) != digest]
        if others:
            raise ValueError(
                f"{path} is of a run with other {', '.join(others)}; use another file, "
                "or delete this one"
            )
        extra = load_checkpoint(
            path,
            model=self._everything(),
            optimizer=self._optimizers(),
            generator=self.random,
        )
        self.epochs = [Epoch(**epoch) for epoch in extra["epochs"]]
        now = self.versions[-1]
        self.versions = [one for one in extra["versions"] if one != now] + [now]

    def _everything(self) -> Module:
        both = Module()
        both.student, both.meta = self.l2t.student, self.l2t.meta
        return both

    def _optimizers(self) -> dict[str, Any]:
        both = {"theta": self.l2t.sgd, "phi": self.l2t.adam}
        return {name: each for name, each in both.items() if each is not None}


def _configuration(pairs: Sequence[Any], options: dict[str, Any]) -> dict[str, Any]:
    """All arguments of L2T but the networks and the generator, as JSON has them."""
    bound = inspect.signature(L2T).bind(None, None, list(pairs), **options)
    bound.apply_defaults()
    left_out = ("source", "target", "generator")
    values = {k: v for k, v in bound.arguments.items() if k not in left_out}
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _digests(images: np.ndarray, labels: np.ndarray, l2t: L2T) -> dict[str, str]:
    single = {"images": images, "labels": labels, "pairs": np.array(l2t.pairs)}
    parts = {name: {name: array} for name, array in single.items()}
    if l2t.pairs:
        state = l2t.source.state_dict()
        parts["source network"] = {k: value.numpy() for k, value in state.items()}
    return {name: digest(arrays) for name, arrays in parts.items()}


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
    place = device_of(network)
    right: Array | int = 0
    with evaluating(network):
        for index in batches(len(images), batch_size):
            scores = network(Tensor(prepare(images[index])).to(place)).data
            expected = Tensor(labels[index]).to(place).data
            right = right + (scores.argmax(axis=1) == expected).sum()
    return int(right) / len(images)
