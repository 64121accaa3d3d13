"""Figures of results: ``python -m reference.bench.figures RESULT.json [SWEEP.json]``.

bench-ratio.svg   how often as fast as PyTorch's best, row by row, and the goals
bench-sweep.svg   time and peak memory against batch, depth and T
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # before pyplot; no screen is needed

from matplotlib import pyplot as plt

from . import table
from .machine import ROOT
from .rows import GOALS

FIGURES = ROOT / "docs" / "figures"
COLOURS = {"tinytl": "tab:blue", "torch": "tab:orange"}
NAMES = {"tinytl": "tinytl", "torch": "PyTorch"}
SWEEPS = {
    "LeNet-5": "LeNet-5, training step\nbatch",
    "VGG9": "VGG9, training step\nbatch",
    "depth": "plain network, training step\nconvolutions",
    "T": "L2T-ww iteration, 1/4 width\nvirtual steps T",
}
BY_IMAGE = ("LeNet-5", "VGG9")  # against the batch
Result = dict[str, Any]


def ratios(rows: list[Result], path: Path) -> None:
    """Bars on a logarithmic scale; a dash where the group's goal is."""
    shown = [row for row in rows if row["group"] in GOALS]
    figure, axes = plt.subplots(figsize=(8, 0.21 * len(shown) + 1))
    for k, row in enumerate(shown):
        low, high = table.quartiles(row)
        goal = GOALS[row["group"]]
        reached = table.ratio(row)
        colour = "tab:blue" if reached >= goal else "tab:gray"
        axes.barh(k, reached, color=colour, height=0.7)
        axes.plot([low, high], [k, k], color="black", linewidth=1)
        axes.plot([goal, goal], [k - 0.45, k + 0.45], color="tab:red", linewidth=1.5)
    labels = [f"{row['group']}: {row['name']}" for row in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=7)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xscale("log")
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if t >= _least(shown)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as fast as PyTorch at its best", fontsize=8)
    note = "red: goal (convolutions: of the group's mean); black: quartiles"
    axes.set_title(note, fontsize=8)
    _save(figure, path)


def _least(rows: list[Result]) -> float:
    return min([1.0, *(table.quartiles(row)[0] for row in rows)]) / 2


def sweep(rows: list[Result], path: Path) -> None:
    """Above the time, below the peak memory, of the fastest variant of each."""
    kinds = [k for k in SWEEPS if any(r["group"] == f"sweep {k}" for r in rows)]
    size = (3.1 * len(kinds), 5.5)
    figure, grid = plt.subplots(2, len(kinds), figsize=size, squeeze=False)
    for column, kind in enumerate(kinds):
        found = [row for row in rows if row["group"] == f"sweep {kind}"]
        top, bottom = grid[:, column]
        for library in COLOURS:
            _curves(top, bottom, found, library, per_image=kind in BY_IMAGE)
        for axes in (top, bottom):
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(_two_and_five)
            axes.tick_params(which="both", labelsize=8)
            axes.grid(alpha=0.3, which="both")
        title, below = SWEEPS[kind].split("\n")
        top.set_title(title, fontsize=9)
        bottom.set_xlabel(below)
        per_image = " an image" if kind in BY_IMAGE else ""
        top.set_ylabel(f"ms{per_image}")
        bottom.set_ylabel("peak memory, MB")
    grid[0, 0].legend()
    _save(figure, path)


def _curves(
    top: Any, bottom: Any, rows: list[Result], library: str, per_image: bool
) -> None:
    numbers = [int(row["name"]) for row in rows]
    best = [table.fastest(row, library) for row in rows]
    pairs = list(zip(rows, best, strict=True))
    ms = [1e3 * table.seconds(row, name) for row, name in pairs]
    if per_image:
        ms = [t / n for t, n in zip(ms, numbers, strict=True)]
    mb = [row["variants"][name]["peak_mb"] for row, name in pairs]
    style = {"color": COLOURS[library], "marker": "o", "label": NAMES[library]}
    top.plot(numbers, ms, **style)
    bottom.plot(numbers, mb, **style)


def _two_and_five(value: float, _: int) -> str:
    """Labels between the powers of ten."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    mpl.rcParams["svg.hashsalt"] = path.stem  # equal results, equal files
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def main() -> None:
    """Draw whatever the results hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--folder", type=Path, default=FIGURES)
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    args = parser.parse_args()
    rows = [row for p in args.results for row in json.loads(p.read_text())["rows"]]
    if any(row["group"] in GOALS for row in rows):
        ratios(rows, args.folder / f"bench-ratio.{args.format}")
    if any(row["group"].startswith("sweep") for row in rows):
        sweep(rows, args.folder / f"bench-sweep.{args.format}")


if __name__ == "__main__":
    main()
