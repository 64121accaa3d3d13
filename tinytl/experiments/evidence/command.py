"""``tinytl compare`` and ``tinytl evidence``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..arguments import number
from . import grid, page, plan
from .plan import ARMS, CELLS, USUAL


def add_to(commands: Any) -> None:
    """Add both to the commands of ``tinytl``."""
    compare = commands.add_parser(
        "compare",
        help="many runs: methods, tasks and seeds",
        description="Run every method on every task with every seed, several runs at "
        "a time, and leave one small file of each. What is finished is not run again, "
        "and what was stopped goes on where it was: give the same command again.",
    )
    add = compare.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS), help="the tasks")
    add("--arms", nargs="+", choices=ARMS, default=list(USUAL), help="the methods")
    add("--seed", type=number(0), default=0, help="the first one")
    add("--seeds", type=number(1), default=10, help="runs of each arm in each cell")
    add("--width", type=number(1), default=16, help="of vgg9; 64 is all of it")
    add("--epochs", type=number(1), default=200)
    add("--batch-size", type=number(1), default=128)
    add("--jobs", type=number(1), default=2, help="runs at a time, a thread each")
    add("--cifar10", default="data", metavar="PATH", help="official files, or folder")
    add("--cifar100", default="data", metavar="PATH", help="official files, or folder")
    add("--source-weights", required=True, metavar="FILE")
    add("--results", type=Path, default=Path("results"), metavar="DIR")
    compare.set_defaults(run=_compare)
    evidence = commands.add_parser(
        "evidence",
        help="tables and curves of these runs",
        description="Make the tables of a page, and a figure, from results that tinytl "
        "compare has left. Tables stand between comments, and are replaced.",
    )
    add = evidence.add_argument
    add("--results", type=Path, default=Path("results"), metavar="DIR")
    add("--page", type=Path, default=Path("docs/evidence.md"), metavar="FILE")
    add("--figure", type=Path, metavar="FILE", help="PNG of the learning curves")
    evidence.set_defaults(run=_evidence)


def _compare(options: argparse.Namespace) -> int:
    jobs = plan.jobs(
        options.cells,
        options.arms,
        range(options.seed, options.seed + options.seeds),
        width=options.width,
        epochs=options.epochs,
        batch_size=options.batch_size,
    )
    root = {"cifar10": options.cifar10, "cifar100": options.cifar100}
    places = options.results, root, options.source_weights
    try:
        grid.run(jobs, *places, processes=options.jobs)
    except KeyboardInterrupt:
        done, begun = grid.left(jobs, options.results)
        print(
            f"\nStopped. {done} of {len(jobs)} runs are finished and {begun} begun, in "
            f"{options.results}; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    print(f"{len(jobs)} results in {options.results}")
    return 0


def _evidence(options: argparse.Namespace) -> int:
    count = page.fill(options.page, options.results, options.figure)
    print(f"{options.page}: the tables of {count} runs")
    return 0
