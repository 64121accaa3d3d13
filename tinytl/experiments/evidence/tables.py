"""Numbers as Markdown: accuracies, comparisons, what was learned, how it was run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..statistics import Interval, learning, mean_interval
from .compare import Comparison, bootstrap, compare, detectable, holm
from .dissertation import difference, reported
from .plan import ARMS

Result = dict[str, Any]
Group = dict[str, list[Result]]  # arm -> runs, in the order of their seeds

COMPARED = (
    ("ufm", "scratch"),
    ("l2t-ww", "scratch"),
    ("l2t-ww", "ufm"),
    ("l2t-www-map", "l2t-ww"),
    ("l2t-www-pooled", "l2t-ww"),
    ("l2t-www-flat", "l2t-ww"),
    ("l2t-www-unit", "l2t-ww"),
    ("l2t-www-map", "l2t-www-flat"),
    ("l2t-ww-still", "ufm"),
    ("l2t-ww", "l2t-ww-still"),
)


def grouped(results: Sequence[Result]) -> dict[tuple[str, int], Group]:
    """Runs by cell and width, and then by arm; arms and cells in the plan's order.

    Raises:
        ValueError: runs that cannot be compared: other epochs or batches, or images.
    """
    found: dict[tuple[str, int], Group] = {}
    for result in sorted(
        results, key=lambda r: (list(ARMS).index(r["arm"]), r["seed"])
    ):
        key = result["cell"], result["task"]["width"]
        found.setdefault(key, {}).setdefault(result["arm"], []).append(result)
    for key, group in found.items():
        runs = [run for arm in group.values() for run in arm]
        kinds = {
            (
                r["settings"]["epochs"],
                r["settings"]["batch_size"],
                *r["images"]["names"],
            )
            for r in runs
        }
        if len(kinds) > 1:
            raise ValueError(f"the runs of {key} differ in more than arm and seed")
    return found


def accuracies(cell: str, group: Group) -> str:
    """A row for each arm: ours with intervals, and the dissertation's."""
    head = [
        "arm", "runs", "accuracy, %", "bootstrap, %", "sd", "mean height of the curve",
        "best measured", "dissertation, %",
    ]  # fmt: skip
    rows = []
    for arm, runs in group.items():
        final = [100 * r["final"] for r in runs]
        whole = mean_interval(final)
        theirs = reported(cell, arm)
        rows.append([
            ARMS[arm].title,
            str(len(runs)),
            within(whole),
            "{:.2f} to {:.2f}".format(*bootstrap(final)) if len(runs) > 1 else "–",
            digits(whole.sd),
            within(mean_interval([100 * height(r) for r in runs])),
            digits(float(np.mean([100 * r["best"] for r in runs]))),
            f"{theirs.mean:.2f} ± {theirs.half:.2f}" if theirs else "–",
        ])  # fmt: skip
    return table(head, rows)


def height(result: Result) -> float:
    """Mean accuracy over training, from the first measurement to the last."""
    if len(result["accuracy"]) < 2:
        return float(result["final"])
    return learning(result["epochs"], result["accuracy"]).area


def comparisons(cell: str, group: Group) -> str:
    """A row for each pair of arms that share two seeds or more; Holm over all rows."""
    head = [
        "", "pairs", "difference, points", "paired t, p", "Holm", "Wilcoxon, p", "d_z",
        "Mann-Whitney, p", "r", "would be found", "dissertation, points",
    ]  # fmt: skip
    found = [(a, b, *shared(group, a, b)) for a, b in COMPARED]
    usable = [(a, b, compare(x, y)) for a, b, x, y in found if len(x) > 1]
    corrected = holm([each.t for _, _, each in usable])
    rows = [
        _row(cell, a, b, each, p)
        for (a, b, each), p in zip(usable, corrected, strict=True)
    ]
    return table(head, rows) if rows else "No two runs with one seed yet."


def shared(group: Group, a: str, b: str) -> tuple[list[float], list[float]]:
    """Accuracies in percent of the seeds that both arms have, seed by seed."""
    one, other = (
        {r["seed"]: 100 * r["final"] for r in group.get(x, [])} for x in (a, b)
    )
    both = sorted(set(one) & set(other))
    return [one[s] for s in both], [other[s] for s in both]


def _row(cell: str, a: str, b: str, each: Comparison, p: float) -> list[str]:
    one, other = reported(cell, a), reported(cell, b)
    d = each.difference
    return [
        f"{ARMS[a].title} − {ARMS[b].title}",
        str(d.n),
        within(d, "+"),
        chance(each.t),
        chance(p),
        chance(each.wilcoxon),
        digits(each.dz, "+"),
        chance(each.u),
        digits(each.rank_biserial, "+"),
        digits(detectable(d.n) * d.sd),
        within(difference(one, other), "+") if one and other else "–",
    ]


def learned(group: Group) -> str:
    """What became of the weights, means over pairs and runs: first, middle, last.

    Beside lambda's mean is its standard deviation from pair to pair, mean over runs.
    """
    head = ["arm", "epoch", "lambda", "from pair to pair", "C max omega"]
    head += ["gamma", "unevenness of gamma"]
    rows = []
    for arm, runs in group.items():
        for k, at in enumerate(runs[0]["weights"]):
            if ARMS[arm].method.startswith("l2t"):
                parts = [[r["weights"][k][name] for r in runs] for name in WEIGHTS]
                numbers = [
                    digits(float(np.mean(x)), places=4) if x[0] else "–" for x in parts
                ]
                spread = float(np.mean(np.std(parts[0], axis=1)))
                numbers.insert(1, digits(spread, places=4))
                rows.append([ARMS[arm].title, str(at["epoch"]), *numbers])
    return table(head, rows) if rows else "No run with meta-networks yet."


WEIGHTS = ("lambdas", "peaks", "gammas", "uneven")


def runs_made(groups: dict[tuple[str, int], Group]) -> str:
    """Which runs there are, on which images, by which versions, for how long."""
    head = ["cell", "width", "runs", "epochs", "trained on", "measured on", "CPU hours"]
    rows, versions = [], set()
    for (cell, width), group in groups.items():
        runs = [run for arm in group.values() for run in arm]
        first = runs[0]
        hours = sum(r["seconds"] for r in runs) / 3600
        names = first["images"]["names"]
        count = first["images"]["train"]
        rows.append([
            cell,
            str(width),
            str(len(runs)),
            str(first["settings"]["epochs"]),
            f"{count} of {names[0]}",
            names[1],
            f"{hours:.1f}",
        ])  # fmt: skip
        made = [v for r in runs for v in (*r.get("earlier", []), r["versions"])]
        for v in made:
            versions.add(
                f"tinytl {v['tinytl']} (files {v['package']}), NumPy {v['numpy']}, "
                f"kernels {v['kernels']}"
            )
    listed = "\n".join(f"- {version}" for version in sorted(versions))
    return f"{table(head, rows)}\n\nMade with\n\n{listed}"


# -- wording ---------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def within(interval: Interval, sign: str = "") -> str:
    """A mean with its interval as '24.64 ± 1.85'; the mean alone if there is none."""
    mean = digits(interval.mean, sign)
    return mean if math.isnan(interval.half) else f"{mean} ± {interval.half:.2f}"


def digits(value: float, sign: str = "", places: int = 2) -> str:
    """A number with two places, a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:{sign}.{places}f}".replace("-", "−")


def chance(p: float) -> str:
    """A p-value: three places, and never '0.000'."""
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
