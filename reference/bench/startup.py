"""What a new process costs: the import, and the first training step.

Each is measured in new processes, the libraries taking turns. The import's cost is that
of ``import tinytl`` after ``import numpy``. The first step's is everything between the
imports and the end of the step: loading numba, compiling or loading kernels, the step.
A cold cache is an empty folder; a warm one is the same folder afterwards. Python keeps
the bytecode of both libraries, as it does unless it is told not to; an import that is
not counted sees to that.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from .measure import HERE, ROOT, THREADS
from .networks import training
from .sides import SIDES

GOALS = {"import": 0.2, "first step, warm cache": 2.0, "first step, cold cache": 20.0}
IMPORT = """
import time, numpy
start = time.perf_counter()
import {}
print(round(time.perf_counter() - start, 4))
"""
NETWORKS = ("LeNet-5", "VGG9")


def measure(
    threads: int, rounds: int, networks: Sequence[str] = NETWORKS
) -> list[dict[str, Any]]:
    """Seconds of every process, by library."""
    env = {**os.environ, **{f"{n}_NUM_THREADS": str(threads) for n in THREADS}}
    env["PYTHONPATH"] = os.pathsep.join(HERE)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    both = tuple(SIDES)
    _row("import", "import", both, env, 1)
    rows = [_row("import", "import", both, env, rounds)]
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            cached = {**env, "NUMBA_CACHE_DIR": folder}
            for kind, sides, times in (
                ("first step, cold cache", ("tinytl",), 1),
                ("first step, warm cache", both, rounds),
            ):
                rows.append(_row(kind, network, sides, cached, times))
    return rows


def _row(
    kind: str, what: str, sides: tuple[str, ...], env: dict[str, str], rounds: int
) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            seconds[side].append(_in_new_process(side, what, env))
    return {"name": f"{kind}, {what}" if what != kind else kind, "kind": kind} | seconds


def _in_new_process(side: str, what: str, env: dict[str, str]) -> float:
    command = [sys.executable, "-m", "reference.bench.startup", side, what]
    if what == "import":
        command[1:] = ["-c", IMPORT.format(side)]
    options: dict[str, Any] = {"env": env, "cwd": ROOT, "capture_output": True}
    done = subprocess.run(command, check=True, **options)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Be the new process: take one training step, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("network", choices=NETWORKS)
    args = parser.parse_args()
    side = SIDES[args.side](int(os.environ["OMP_NUM_THREADS"]), False)
    step = training(args.network)(side, 128)
    start = time.perf_counter()
    step()
    print(round(time.perf_counter() - start, 4))


if __name__ == "__main__":
    main()
