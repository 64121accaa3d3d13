"""Put tables into a page, between comments, so that no number in it is typed.

    <!-- table: accuracies cifar10-10 16 -->
    ...
    <!-- end -->

What stands between is replaced. A name is one of

    accuracies CELL WIDTH     comparisons CELL WIDTH     learned CELL WIDTH     runs
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...persistence import write_atomically
from . import tables
from .plan import CELLS

MARK = re.compile(r"(<!-- table: ([^>]*?) -->\n).*?(<!-- end -->)", re.S)
NAMED: dict[str, Callable[[str, tables.Group], str]] = {
    "accuracies": tables.accuracies,
    "comparisons": tables.comparisons,
    "learned": lambda cell, group: tables.learned(group),
}


def read(folder: Path) -> list[dict[str, Any]]:
    """All results of a folder.

    Raises:
        ValueError: there is none, or one cannot be read.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(json.loads(path.read_bytes()))
        except ValueError:
            raise ValueError(f"{path} is damaged; delete it") from None
    if not found:
        raise ValueError(f"{folder} has no results; tinytl compare makes them")
    return found


def ordered(results: list[dict[str, Any]]) -> dict[tuple[str, int], tables.Group]:
    """Runs by cell and width: the narrow networks first, cells in the plan's order."""
    groups = tables.grouped(results)
    keys = sorted(groups, key=lambda key: (key[1], list(CELLS).index(key[0])))
    return {key: groups[key] for key in keys}


def filled(text: str, groups: dict[tuple[str, int], tables.Group]) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: a table that there is not, or a page without any.
    """

    def made(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_table(match[2], groups)}\n\n{match[3]}"

    new, count = MARK.subn(made, text)
    if not count:
        raise ValueError("the page has no place for a table: <!-- table: ... -->")
    return new


def _table(name: str, groups: dict[tuple[str, int], tables.Group]) -> str:
    words = name.split()
    if words == ["runs"]:
        return tables.runs_made(groups)
    if len(words) != 3 or words[0] not in NAMED or words[1] not in CELLS:
        raise ValueError(f"there is no table {name!r}")
    kind, cell, width = words
    group = groups.get((cell, int(width)))
    return NAMED[kind](cell, group) if group else "No runs yet."


def fill(page: Path, results: Path, figure: Path | None) -> int:
    """Make the tables of a page, and the figure; returns the number of runs.

    Raises:
        ValueError: no results, or a page that does not fit.
        ImportError: SciPy or matplotlib is missing.
    """
    found = read(results)
    groups = ordered(found)
    text = filled(page.read_text(encoding="utf-8"), groups)
    if figure is not None:
        from .curves import draw

        draw(groups, figure)
    write_atomically(page, text.encode())
    return len(found)
