"""Rows that are iterations of L2T: VGG9 learns from ResNet-32 over all 15 pairs.

The same iteration from the same values on the same random images: by tinytl's
``L2T.step``; in PyTorch as published ("official"); and in PyTorch with nothing computed
twice ("best": unrolled, source features and meta-networks shared).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .networks import BY_CHANCE, assign, batch_of, fill
from .workloads import Build, Row, Step, normal

PAIRS = tuple((m, n) for m in (4, 9, 14) for n in range(5))
# Small steps: with 0.01 the few values that pass a ReLU by chance (see BY_CHANCE) make
# PyTorch's own memory orders differ by 20 % in some hypergradients, here by 0.02 %.
RATE = 1e-4
LONG: dict[str, Any] = {"seconds": 40.0, "least": 1, "allowed": BY_CHANCE}
BATCHES = 128, 100
LAST = ("official", 100)  # the one row with channels last: two more variants of each


def iteration(form: str, width: int = 64, T: int = 2) -> Build:
    """One iteration after the other; the first one's results are compared."""

    def build(side: Any, batch: int) -> Step:
        x, labels = batch_of(side, batch)
        if side.library.__name__ == "tinytl":
            return _ours(x, labels, width, T)
        return _theirs(side, form, x, labels, width, T)

    return build


def start(source: Any, student: Any, meta: Any) -> None:
    """The same values everywhere; lambda starts near 1, omega near 1/C."""
    fill(source, gain=0.5)
    fill(student)
    for k, (name, p) in enumerate(meta.named_parameters()):
        value = normal(k, *tuple(p.shape), scale=0.01) + name.endswith("bias")
        assign(p, value.astype(np.float32))


def _ours(x: Any, labels: Any, width: int, T: int) -> Step:
    from tinytl.models import VGG9, resnet32
    from tinytl.transfer import L2T

    l2t = L2T(resnet32(200), VGG9(10, width=width), PAIRS, steps=T, lr=RATE)
    start(l2t.source, l2t.student, l2t.meta)

    def step() -> Sequence[Any]:
        report = l2t.step(x, labels)
        return (np.float32(report.outer), *report.hypergradient)

    return step


def _theirs(side: Any, form: str, x: Any, labels: Any, width: int, T: int) -> Step:
    from reference.torch import fast, l2t, matching, networks

    source, target = networks.resnet32(200), networks.vgg9(10, width=width)
    nets = matching.networks(source, target, PAIRS)
    start(nets.source, nets.student, nets.meta)
    for net in (nets.source, nets.student, nets.meta):
        net.to(memory_format=side.order)
    iterate = {"official": l2t.iteration, "best": fast.fast_iteration}[form]
    options = l2t.Options(T=T, lr=RATE)
    state = l2t.start(nets)

    def step() -> Sequence[Any]:
        nonlocal state
        state, report = iterate(nets, state, x, labels, options)
        return (np.float32(report.losses["outer"]), *report.hypergradient.values())

    return step


def rows() -> list[Row]:
    """Both of PyTorch's forms, at the usual batch and at ten images a class."""
    return [
        Row(
            f"L2T-ww, {form}",
            f"batch {n}",
            iteration(form),
            batch=n,
            layouts=(form, n) == LAST,
            **LONG,
        )
        for form in ("official", "best")
        for n in BATCHES
    ]


def sweep() -> list[Row]:
    """Time and memory against T; a quarter of the width, 32 images."""
    options: dict[str, Any] = {"batch": 32, "seconds": 12.0, "allowed": BY_CHANCE}
    return [
        Row("sweep T", str(T), iteration("best", width=16, T=T), **options)
        for T in (1, 2, 4, 8)
    ]
