"""Results as text: lines as they come, the table of the docs, two results compared."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from . import startup
from .rows import AS_INSTALLED, BY_MEAN, GOALS, MEMORY

Result = dict[str, Any]
Cells = list[str]
OURS, THEIRS = ("tinytl", "tinytl kept", "tinytl kept last"), "torch"
HEAD = (
    *("", "tinytl", "kept", "k+last", "torch", "last", "kept", "k+last"),
    *("x best", "x inst", "MB", "torch MB", "limit", "torch", "error"),
)
COLUMNS = (*OURS, "torch", "torch last", "torch kept", "torch kept last")


def seconds(row: Result, variant: str) -> float:
    """Median of the rounds, NaN if it did not take part."""
    found = row["variants"].get(variant)
    return float(np.median(found["rounds_s"])) if found else float("nan")


def fastest(row: Result, library: str) -> str:
    """The library's fastest variant."""
    names = [name for name in row["variants"] if name.startswith(library)]
    return min(names, key=lambda name: seconds(row, name)) if names else ""


def ratio(row: Result, against: str = "") -> float:
    """How often as fast our best is as PyTorch's, or as its variant `against`."""
    theirs = against or fastest(row, THEIRS)
    return seconds(row, theirs) / seconds(row, fastest(row, "tinytl"))


def quartiles(row: Result) -> tuple[float, float]:
    """Of the rounds' own ratios, our best against PyTorch's."""
    names = fastest(row, THEIRS), fastest(row, "tinytl")
    theirs, ours = (row["variants"][name]["rounds_s"] for name in names)
    low, high = np.percentile(np.divide(theirs, ours), [25, 75])
    return float(low), float(high)


def limits(rows: Iterable[Result]) -> dict[str, float]:
    """Measured operations and bytes a second: the best that any variant reached."""
    found = {}
    for row in rows:
        if row["group"] == "limit":
            unit = "flops" if row["flops"] else "bytes"
            best = min(seconds(row, name) for name in row["variants"])
            found[unit] = max(found.get(unit, 0.0), row[unit] / best)
    return found


def fraction(row: Result, library: str, limit: dict[str, float]) -> float:
    """What the library's best reaches of the limit that the row is held to."""
    for unit, best in limit.items():
        if row[unit]:
            return row[unit] / seconds(row, fastest(row, library)) / best
    return float("nan")


def peak(row: Result, library: str) -> float:
    """Growth of memory at the peak, in MB, of the library's fastest variant."""
    name = fastest(row, library)
    return float(row["variants"][name]["peak_mb"]) if name else float("nan")


def cells(row: Result, limit: dict[str, float]) -> Cells:
    """One line of the table; memory is that of the fastest variant of each."""
    found = row["variants"]
    memory = [peak(row, library) for library in ("tinytl", THEIRS)]
    ours = [found[name]["error"] for name in found if name in OURS]
    return [
        f"{row['group']}: {row['name']}",
        *(_ms(seconds(row, name)) for name in COLUMNS),
        _number(ratio(row), ".2f"),
        _number(ratio(row, THEIRS), ".2f"),
        *(_number(mb, ".0f") for mb in memory),
        *(_number(fraction(row, lib, limit), ".0%") for lib in ("tinytl", THEIRS)),
        f"{max(ours, default=0.0):.0e}",
    ]


def _ms(value: float) -> str:
    return _number(1e3 * value, ".4g" if 1e3 * value < 1e4 else ".0f")


def _number(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def line(parts: Cells) -> str:
    """Cells in columns."""
    return f"{parts[0]:46}" + "".join(f"{part:>9}" for part in parts[1:])


def goals(rows: list[Result]) -> list[Cells]:
    """Every goal: what it is about, what was reached, what is wanted."""
    found = []
    for group, goal in GOALS.items():
        members = [row for row in rows if row["group"] == group]
        if not members:
            continue
        ratios = [ratio(row) for row in members]
        if group in BY_MEAN:
            mean = float(np.exp(np.mean(np.log(ratios))))
            found.append(_goal(f"{group}, geometric mean of {len(ratios)}", mean, goal))
            continue
        for row, reached in zip(members, ratios, strict=True):
            name = f"{group}: {row['name']}"
            found.append(_goal(name, reached, goal))
            if group in AS_INSTALLED:
                installed = ratio(row, THEIRS)
                wanted = AS_INSTALLED[group]
                found.append(_goal(f"{name}, as installed", installed, wanted))
            if group in MEMORY:
                less = peak(row, THEIRS) / peak(row, "tinytl")
                found.append(_goal(f"{name}, peak memory", less, MEMORY[group]))
    return found


def _goal(name: str, reached: float, wanted: float) -> Cells:
    verdict = "met" if reached >= wanted else "missed"
    return [name, f"{reached:.2f}", f"{wanted:g}", verdict]


def starts(rows: list[Result]) -> list[Cells]:
    """Seconds that a new process costs; less is better."""
    found = []
    for row in rows:
        ours = float(np.median(row["tinytl"]))
        theirs = f"{np.median(row['torch']):.2f}" if "torch" in row else ""
        goal = startup.GOALS[row["kind"]]
        verdict = "met" if ours <= goal else "missed"
        found.append([row["name"], f"{ours:.2f}", theirs, f"{goal:g}", verdict])
    return found


def about(result: Result) -> str:
    """The machine, the versions and the limits in a sentence or two."""
    where, limit = result["machine"], limits(result["rows"])
    asked = ", ".join(f"{k}={v}" for k, v in where["environment"].items())
    text = (
        f"{where['cpu']}, {where['cores']} cores, {result['threads']} threads; Python "
        f"{where['python']}, NumPy {where['numpy']}, PyTorch {where['torch']}, kernels "
        f"{where['kernels']}, commit {where['commit']}."
    )
    if limit:
        text += f" Limits: {limit.get('flops', 0) / 1e9:.0f} GFLOP/s in a product, "
        text += f"{limit.get('bytes', 0) / 1e9:.0f} GB/s in a copy."
    return text + (f" Environment: {asked}." if asked else "")


def markdown(result: Result) -> str:
    """The tables of the docs."""
    rows = [row for row in result["rows"] if not row["group"].startswith("sweep")]
    limit = limits(rows)
    shown = [cells(row, limit) for row in rows if row["group"] != "limit"]
    return f"{short(result)}\n\n{grid(['milliseconds', *HEAD[1:]], shown)}"


def short(result: Result) -> str:
    """The machine and the goals, without the rows."""
    head = ["goal", "reached", "wanted", ""]
    parts = [about(result), grid(head, goals(result["rows"]))]
    if result.get("startup"):
        names = ["seconds of a new process", "tinytl", "PyTorch", "at most", ""]
        parts.append(grid(names, starts(result["startup"])))
    return "\n\n".join(parts)


def grid(head: Iterable[str], body: list[Cells]) -> str:
    """A table in Markdown; all but the first column are numbers."""
    first = [list(head)]
    rule = [["---", *["---:"] * (len(first[0]) - 1)]]
    return "\n".join("| " + " | ".join(row) + " |" for row in (first + rule + body))


def insert(page: Path, result: Result, elsewhere: Result | None = None) -> None:
    """Put a result's tables into a page; raises what ``replace`` raises.

    Args:
        page: the file.
        result: what all tables are made from.
        elsewhere: another machine's result, of which only the goals are shown.
    """
    replace(page, "table", markdown(result))
    if elsewhere is not None:
        replace(page, "elsewhere", short(elsewhere))


def replace(page: Path, name: str, text: str) -> None:
    """Replace what stands between a page's two comments of that name.

    Raises:
        ValueError: the page does not have both comments.
    """
    begin, end = (f"<!-- {name}: {where} -->" for where in ("begin", "end"))
    old = page.read_text()
    if not 0 <= old.find(begin) < old.find(end):
        raise ValueError(f"{page} lacks {begin} or {end}")
    between = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.S)
    page.write_text(between.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", old))


def compare(first: Result, second: Result) -> list[Cells]:
    """Row by row, how often as fast the second result is: ours, and PyTorch's.

    PyTorch did not change, so its column tells how far the machine did.
    """
    known = {(row["group"], row["name"]): row for row in first["rows"]}
    found = []
    for row in second["rows"]:
        old = known.get((row["group"], row["name"]))
        if old is None:
            continue
        speeds = [
            seconds(old, fastest(old, library)) / seconds(row, fastest(row, library))
            for library in ("tinytl", THEIRS)
        ]
        name = f"{row['group']}: {row['name']}"
        found.append([name, *(_number(speed, ".2f") for speed in speeds)])
    return found
