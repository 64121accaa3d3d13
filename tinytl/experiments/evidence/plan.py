"""Which runs there are: cells x arms x seeds, and the order in which they are made.

A *cell* is a task: images, and how many of each class. An *arm* is a method with its
options. Seed s fixes the subset, the initial values of the target and the order and
augmentation of the batches for all arms of a cell: what chance does to one arm it does
to all, and differences are more certain than accuracies.

Seeds come first in the order: a grid that is cut short has some seeds of every arm, and
not all seeds of some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...transfer import Settings
from ..single import Task


@dataclass(frozen=True)
class Cell:
    """A task of the grid.

    Attributes:
        data: name of the images, a key of ``single.DATA``.
        per_class: training images a class.
        classes: how many there are.
        every: epochs between two measurements. Measuring costs a pass over all test
            images; so often it stays well below the cost of training.
        title: what a table calls it.
    """

    data: str
    per_class: int
    classes: int
    every: int
    title: str

    def iterations(self, epochs: int, batch_size: int) -> int:
        """Steps of a whole run: epochs x ceil(images / batch size)."""
        return epochs * -(-self.per_class * self.classes // batch_size)


@dataclass(frozen=True)
class Arm:
    """A method with its options.

    Attributes:
        method: a key of ``transfer.METHODS``.
        title: what a table calls it.
        cost: of one iteration, in iterations of scratch, roughly; for the time left.
        options: of ``L2T``.
    """

    method: str
    title: str
    cost: float
    options: dict[str, Any] = field(default_factory=dict)


CELLS = {
    "cifar10-10": Cell("cifar10", 10, 10, 5, "CIFAR-10, 10 images a class"),
    "cifar100-5": Cell("cifar100", 5, 100, 20, "CIFAR-100, 5 images a class"),
    "cifar100-10": Cell("cifar100", 10, 100, 20, "CIFAR-100, 10 images a class"),
}
ARMS = {
    "scratch": Arm("scratch", "scratch", 1),
    "ufm": Arm("ufm", "UFM", 5),
    "l2t-ww": Arm("l2t-ww", "L2T-ww", 25),
    "l2t-www-map": Arm("l2t-www", "L2T-www, h from map", 30, {"which": "map"}),
    "l2t-www-pooled": Arm("l2t-www", "L2T-www, h pooled", 30, {"which": "pooled"}),
    "l2t-www-flat": Arm(
        "l2t-www", "scale alone", 30, {"which": "map", "scale": "flat"}
    ),
    "l2t-www-unit": Arm(
        "l2t-www", "shape alone", 30, {"which": "map", "scale": "unit"}
    ),
    "l2t-ww-still": Arm("l2t-ww", "L2T-ww, not learned", 5, {"learn": False}),
}
FURTHER = ("l2t-www-unit", "l2t-ww-still")  # made when asked for
USUAL = tuple(name for name in ARMS if name not in FURTHER)


@dataclass(frozen=True)
class Job:
    """One run of the grid.

    Attributes:
        cell: a key of ``CELLS``.
        arm: a key of ``ARMS``.
        seed: of everything random.
        width: of VGG9.
        epochs: passes over the training images.
        batch_size: images a step.
    """

    cell: str
    arm: str
    seed: int
    width: int = 16
    epochs: int = 200
    batch_size: int = 128

    @property
    def name(self) -> str:
        """cifar10-10-l2t-ww-w16-s03, also of its files."""
        return f"{self.cell}-{self.arm}-w{self.width}-s{self.seed:02d}"

    @property
    def work(self) -> float:
        """How much there is to compute, in iterations of scratch, roughly."""
        cell, arm = CELLS[self.cell], ARMS[self.arm]
        return cell.iterations(self.epochs, self.batch_size) * arm.cost

    def task(self, root: str, source_weights: str) -> Task:
        """What ``single.run`` learns from what."""
        cell = CELLS[self.cell]
        return Task(cell.data, root, cell.per_class, source_weights, "vgg9", self.width)

    def settings(self) -> Settings:
        """How ``single.run`` learns it; with all graphs kept, which is fastest."""
        arm = ARMS[self.arm]
        return Settings(
            arm.method,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            options={**arm.options, "graphs": None},
        )


def jobs(
    cells: Sequence[str] = tuple(CELLS),
    arms: Sequence[str] = USUAL,
    seeds: Sequence[int] = tuple(range(10)),
    **common: Any,
) -> list[Job]:
    """All runs, in order: seed by seed, in each the cells, in each the arms.

    `common` are further arguments of every ``Job``. Raises ValueError for a cell or an
    arm that does not exist.
    """
    for kind, asked, known in (("cell", cells, CELLS), ("arm", arms, ARMS)):
        for name in asked:
            if name not in known:
                raise ValueError(f"{kind} must be in {list(known)}, got {name!r}")
    return [
        Job(cell, arm, seed, **common)
        for seed in seeds
        for cell in cells
        for arm in arms
    ]
