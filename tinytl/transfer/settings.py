"""What a run is: its method, its schedule, its seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

METHODS: dict[str, dict[str, Any]] = {
    "scratch": {"beta": 0.0},
    "finetune": {"beta": 0.0},
    "ufm": {"what": False, "where": False},
    "l2t-ww": {},
    "l2t-www": {"which": "map"},
}
COSINE = ("start", "end")


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


def generators(seed: int) -> dict[str, np.random.Generator]:
    """Independent sources for "subset", "target", "meta", "order" and "augment"."""
    names = ("subset", "target", "meta", "order", "augment")
    children = np.random.SeedSequence(seed).spawn(len(names))
    return {k: np.random.default_rng(s) for k, s in zip(names, children, strict=True)}
