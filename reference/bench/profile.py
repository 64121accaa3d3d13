"""Where our time goes, kernel by kernel: ``python -m reference.bench.profile PATTERN``.

Every function of the kernel set is wrapped with a clock; a kernel's time is its own,
without the kernels that it calls. What is left is the graph, NumPy's elementwise work
and the optimiser. The pattern chooses rows as ``--only`` does. With ``--write`` the
shares go into docs/benchmarks.md, side by side.
"""

import argparse
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import tinytl_kernels

import tinytl

from . import rows
from .__main__ import PAGE, matching
from .sides import Ours
from .table import grid, replace
from .workloads import Row

OUTSIDE = "outside the kernels"
LISTED = 0.02  # of a row's time


class Clock:
    """Seconds and calls of every kernel."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.inside = [0.0]  # of each open call: time of the kernels it has called

    def around(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """The kernel, timed."""

        def timed(*args: Any, **options: Any) -> Any:
            self.inside.append(0.0)
            start = time.perf_counter()
            try:
                return kernel(*args, **options)
            finally:
                spent = time.perf_counter() - start
                self.seconds[name] += spent - self.inside.pop()
                self.calls[name] += 1
                self.inside[-1] += spent

        return timed


@contextlib.contextmanager
def clocked(kernels: ModuleType) -> Iterator[Clock]:
    """Time every kernel of a set while the block runs."""
    clock = Clock()
    exported = getattr(kernels, "__all__", None) or [
        name for name, thing in vars(kernels).items() if callable(thing)
    ]
    known = {n: vars(kernels)[n] for n in exported if not n.startswith("_")}
    known = {n: f for n, f in known.items() if not isinstance(f, type)}
    for name, kernel in known.items():
        setattr(kernels, name, clock.around(name, kernel))
    try:
        yield clock
    finally:
        for name, kernel in known.items():
            setattr(kernels, name, kernel)


def profile(row: Row, threads: int, least: float = 2.0) -> tuple[float, int, Clock]:
    """Seconds in all, repetitions, and the clock of the kernels."""
    step = row.build(Ours(threads, False), row.batch)
    step()
    repetitions = 0
    with clocked(tinytl_kernels.kernels_for(np.zeros(1, np.float32))) as clock:
        start = time.perf_counter()
        while not repetitions or time.perf_counter() - start < least:
            step()
            repetitions += 1
        return time.perf_counter() - start, repetitions, clock


Profile = tuple[Row, float, int, Clock]  # seconds in all, repetitions


def table(row: Row, seconds: float, repetitions: int, clock: Clock) -> list[str]:
    """Share, milliseconds and calls of a repetition, the largest first."""
    lines = [f"{row.key}: {1e3 * seconds / repetitions:.2f} ms"]
    lines.append(f"    {'kernel':28}{'share':>8}{'ms':>11}{'calls':>8}")
    rest = seconds - sum(clock.seconds.values())
    for name, spent in sorted(clock.seconds.items(), key=lambda pair: -pair[1]):
        lines.append(_line(name, spent, seconds, repetitions, clock.calls[name]))
    lines.append(_line(OUTSIDE, rest, seconds, repetitions, 0))
    return lines


def _line(name: str, spent: float, total: float, repetitions: int, calls: int) -> str:
    ms = 1e3 * spent / repetitions
    often = f"{calls / repetitions:8.0f}" if calls else ""
    return f"    {name:28}{spent / total:8.1%}{ms:11.3f}{often}"


def side_by_side(found: list[Profile]) -> str:
    """Shares of several rows' time as a Markdown table, the largest first.

    Listed is what takes at least LISTED of one of the rows.
    """
    shares: dict[str, list[float]] = {}
    for k, (_, seconds, _, clock) in enumerate(found):
        outside = seconds - sum(clock.seconds.values())
        for name, spent in {**clock.seconds, OUTSIDE: outside}.items():
            shares.setdefault(name, [0.0] * len(found))[k] = spent / seconds
    listed = {name: each for name, each in shares.items() if max(each) >= LISTED}
    heads = [f"{row.group}: {row.name}" for row, *_ in found]
    body = [
        [name, *(f"{share:.0%}".replace("%", " %") for share in each)]
        for name, each in sorted(listed.items(), key=lambda pair: -sum(pair[1]))
    ]
    each = [f"{1e3 * seconds / times:.1f}" for _, seconds, times, _ in found]
    return grid(["", *heads], [*body, ["all, milliseconds", *each]])


def main() -> None:
    """Profile every row that matches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pattern")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    args = parser.parse_args()
    tinytl.keep_pages()
    found: list[Profile] = []
    for row in matching([args.pattern], [*rows.table(), *rows.sweeps(), rows.tiny()]):
        found.append((row, *profile(row, args.threads, args.seconds)))
        print("\n".join(table(*found[-1])))
    if args.write:
        replace(PAGE, "profile", side_by_side(found))


if __name__ == "__main__":
    main()
