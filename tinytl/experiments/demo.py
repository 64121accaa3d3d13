"""All experiments, one after the other, and the report: what ``tinytl demo`` runs."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import (
    collapse,
    collapse_text,
    figures,
    l2t,
    l2t_text,
    signal,
    signal_text,
    transfer,
    transfer_text,
)
from .report import Section, write_report
from .runner import Cell, Progress, Result, bar_class, forget, run_cells, seconds_taken

CELLS: dict[str, Callable[..., list[Cell]]] = {
    "collapse": collapse.cells,
    "signal": signal.cells,
    "transfer": transfer.cells,
    "l2t": l2t.cells,
}
SECTIONS: dict[str, Callable[..., Section]] = {
    "collapse": collapse_text.section,
    "signal": signal_text.section,
    "transfer": transfer_text.section,
    "l2t": l2t_text.section,
}
SEEDS = 8


def planned(
    seed: int, seeds: int, only: Sequence[str], changes: Mapping[str, dict[str, Any]]
) -> dict[str, list[Cell]]:
    """Cells of each experiment.

    Args:
        seed: the first seed.
        seeds: how many runs of each arm, from there on.
        only: names of experiments; all if it is empty.
        changes: for an experiment, settings other than its defaults.
    """
    return {
        name: cells(seed, seeds, **changes.get(name, {}))
        for name, cells in CELLS.items()
        if not only or name in only
    }


def run(
    folder: Path,
    progress: Progress,
    *,
    seed: int = 0,
    seeds: int = SEEDS,
    fresh: bool = False,
    only: Sequence[str] = (),
    changes: Mapping[str, dict[str, Any]] | None = None,
) -> Path:
    """Compute what is missing, draw, write; returns the path of the report.

    The folder gets cells/ with a JSON file for each result, the figures as PNG files,
    and report.html.

    Raises:
        ImportError: matplotlib or safetensors are missing; the message says what to
            install.
        RuntimeError: a cell could not be computed.
    """
    figures.figure(1)  # rather now than after a minute of computing
    plan = planned(seed, seeds, only, changes or {})
    store = folder / "cells"
    if fresh:
        forget((cell for cells in plan.values() for cell in cells), store)
    results = {name: run_cells(cells, store, progress) for name, cells in plan.items()}
    sections = make_sections(plan, results, folder)
    report = folder / "report.html"
    write_report(sections, command(folder, seed, seeds, only), report)
    return report


def make_sections(
    plan: Mapping[str, list[Cell]], results: Mapping[str, list[Result]], folder: Path
) -> list[Section]:
    """Draw the figures, and put the results into words."""
    seconds = seconds_taken(folder / "cells")
    return [
        SECTIONS[name](cells, results[name], folder, total(cells, seconds))
        for name, cells in plan.items()
    ]


def total(cells: Iterable[Cell], seconds: Mapping[str, float]) -> float:
    """Seconds that these cells took, as far as known."""
    return sum(seconds.get(cell.key(), 0.0) for cell in cells)


def kept(folder: Path, plan: Mapping[str, list[Cell]]) -> tuple[int, int]:
    """How many cells have a result, and how many there are."""
    names = [cell.file_name() for cells in plan.values() for cell in cells]
    return sum((folder / "cells" / name).exists() for name in names), len(names)


def command(folder: Path, seed: int, seeds: int, only: Sequence[str]) -> str:
    """The command that does this again."""
    words = ["tinytl", "demo", "--out", shlex.quote(str(folder)), "--seed", str(seed)]
    words += ["--seeds", str(seeds)]
    for name in only:
        words += ["--only", name]
    if kernels := os.environ.get("TINYTL_KERNELS"):
        words.insert(0, f"TINYTL_KERNELS={kernels}")
    return " ".join(words)


class Bars:
    """Progress as one bar for each experiment: steps, the last loss, time left.

    Raises ImportError if tqdm is not installed; the message says how to.
    """

    def __init__(self) -> None:
        self._tqdm = bar_class()
        self._bar: Any = None

    def begin(self, stage: str, steps: int, kept: int) -> None:
        """Open a bar."""
        if kept:
            print(f"{stage}: {kept} results kept from before", file=sys.stderr)
        interval = 0.2 if sys.stderr.isatty() else 5.0
        self._bar = self._tqdm(
            total=steps, desc=f"{stage:<8}", unit="step", mininterval=interval,
            dynamic_ncols=True, file=sys.stderr,
        )  # fmt: skip

    def tick(self, cell: str, loss: float) -> None:
        """One step."""
        self._bar.set_postfix_str(f"{cell}, loss {loss:.2f}", refresh=False)
        self._bar.update()

    def end(self) -> None:
        """Close the bar."""
        self._bar.close()
