"""Learning curves: mean accuracy by epoch with its 95 % interval, a panel a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    figure,
    legend_below,
    styles,
    tidy,
    write,
)
from ..statistics import mean_interval
from .plan import ARMS, CELLS
from .tables import Group

COLOURS = (BLACK, ORANGE, GREEN, BLUE, SKY, VERMILLION, PURPLE, "0.5")
LINES = styles(list(ARMS)[:5], COLOURS) | {
    name: {"color": c, "marker": m, "linestyle": (0, (3, 1, 1, 1)), "markersize": 4}
    for name, c, m in zip(list(ARMS)[5:], COLOURS[5:], "xPD", strict=True)
}
MARKS = 8  # markers on a curve
ENOUGH = 4  # runs for a band


def draw(groups: dict[tuple[str, int], Group], path: Path) -> None:
    """One panel for each cell and width; bands are 95 % intervals (Student).

    Two or three runs have no band: it would be wider than the panel.

    Raises:
        ImportError: matplotlib is not installed.
    """
    rows = -(-len(groups) // 2)
    canvas, axes = figure(
        2.9 * rows + 0.6, nrows=rows, ncols=min(len(groups), 2), squeeze=False
    )
    panels = axes.ravel()
    for axis, ((cell, width), group) in zip(panels, groups.items(), strict=False):
        for arm, runs in group.items():
            _curve(axis, arm, runs)
        axis.set_title(f"{CELLS[cell].title}, width {width}", fontsize=9.5)
        axis.set_xlabel("epoch")
        axis.set_ylabel("accuracy, %")
        tidy(axis)
    for axis in panels[len(groups) :]:
        axis.set_visible(False)
    fullest = max(range(len(groups)), key=lambda k: len(list(groups.values())[k]))
    legend_below(canvas, panels[fullest], 3)
    write(canvas, path)


def _curve(axis: Any, arm: str, runs: list[dict[str, Any]]) -> None:
    epochs = runs[0]["epochs"]
    columns = zip(*(r["accuracy"] for r in runs), strict=True)
    found = [mean_interval([100 * x for x in column]) for column in columns]
    mean = np.array([x.mean for x in found])
    every = max(len(epochs) // MARKS, 1)
    label = f"{ARMS[arm].title}"
    axis.plot(epochs, mean, label=label, markevery=every, linewidth=1.3, **LINES[arm])
    if len(runs) >= ENOUGH:
        half = np.array([x.half for x in found])
        colour = LINES[arm]["color"]
        axis.fill_between(
            epochs, mean - half, mean + half, color=colour, alpha=0.12, lw=0
        )
