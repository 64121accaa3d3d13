"""Both libraries take turns: the noise of the machine hits all alike.

A *variant* is a library with an allocator and a memory order. Each has a worker of its
own; only one computes at a time, and the next begins when the last one's threads have
gone to sleep. The results of all are compared in full with PyTorch's before a time is
believed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .workloads import Row

ROOT = Path(__file__).parents[2]
HERE = str(ROOT), str(ROOT / "kernels")  # this checkout, whatever is installed
STAT = Path("/proc/stat")
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
TURN = 0.06  # seconds that a variant computes before the next one's turn
MOST = 15  # rounds
SMALL = 1e-3  # results this much smaller than the largest may be all rounding


@dataclass(frozen=True)
class Variant:
    """A library, told to keep its pages or not, in one memory order or the other."""

    name: str
    library: str
    kept: bool = False
    channels_last: bool = False
    path: tuple[str, ...] = ()  # folders to import from first
    damage: float = 0.0


OURS = (
    Variant("tinytl", "tinytl"),
    Variant("tinytl kept", "tinytl", kept=True),
    Variant("tinytl kept last", "tinytl", kept=True, channels_last=True),
)
THEIRS = (
    Variant("torch", "torch"),
    Variant("torch last", "torch", channels_last=True),
    Variant("torch kept", "torch", kept=True),
    Variant("torch kept last", "torch", kept=True, channels_last=True),
)


class WrongResult(Exception):
    """A variant computed something else, so its time means nothing."""


@dataclass
class Worker:
    """A running worker process, and its child."""

    variant: Variant
    process: subprocess.Popen[str]
    child: int = 0
    late: list[float] = field(default_factory=list)

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for the answer."""
        self.tell(**request)
        return self.answer()

    def tell(self, **request: Any) -> None:
        """Send a request; its answer must be read before the next one."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.variant.name} has ended")
        return json.loads(line)

    def settle(self, patience: float = 0.5) -> None:
        """Wait until no thread of the child spins; note how long that took."""
        start = time.perf_counter()
        while time.perf_counter() - start < patience:
            before = cpu_seconds(self.child)
            time.sleep(0.003)
            if cpu_seconds(self.child) - before < 1e-4:
                break
        self.late.append(time.perf_counter() - start)


def cpu_seconds(process: int) -> float:
    """Processor time of all threads of another process (Linux)."""
    return time.clock_gettime((~process << 3) | 2)  # 2: CPUCLOCK_SCHED


def others_seconds(workers: list[Worker]) -> float:
    """Processor time since the start of the machine that was not ours (Linux)."""
    user, nice, system = map(int, STAT.read_text().split()[1:4])
    every = (user + nice + system) / os.sysconf("SC_CLK_TCK")
    return every - time.process_time() - sum(cpu_seconds(w.child) for w in workers)


def launch(variants: list[Variant], threads: int) -> list[Worker]:
    """Start a worker for every variant."""
    return [Worker(v, _start(v, threads)) for v in variants]


def _start(variant: Variant, threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "reference.bench.worker", variant.library]
    command += ["--kept"] * variant.kept
    command += ["--channels-last"] * variant.channels_last
    command += ["--threads", str(threads), "--damage", str(variant.damage)]
    env = {**os.environ, **{f"{n}_NUM_THREADS": str(threads) for n in THREADS}}
    env["PYTHONPATH"] = os.pathsep.join((*variant.path, *HERE))
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=env, cwd=tempfile.gettempdir(), **pipes)


def stop(workers: list[Worker]) -> None:
    """End them; a worker ends when its input does."""
    for worker in workers:
        worker.process.communicate()


def measure(row: Row, workers: list[Worker], budget: float) -> dict[str, Any]:
    """Medians of every round, peak memory and error, of every variant.

    Args:
        row: what is timed.
        workers: of all variants.
        budget: seconds for the row; at least ``row.least`` rounds are made.

    Raises:
        WrongResult: a variant's results differ from PyTorch's.
    """
    if not row.layouts:
        workers = [w for w in workers if not w.variant.channels_last]
    for worker in workers:
        worker.tell(row=row.key)
    for worker in workers:
        worker.child, worker.late = worker.answer(), []
    try:
        errors = check(row, workers)
        before = others_seconds(workers), time.monotonic()
        rounds = take_turns(workers, budget, row.least)
        others = others_seconds(workers) - before[0]
        others /= time.monotonic() - before[1]
        peaks = [worker.ask(peak=True) for worker in workers]
    finally:
        for worker in workers:
            worker.ask(end=True)
    return {
        "group": row.group,
        "name": row.name,
        "batch": row.batch,
        "flops": row.flops,
        "bytes": row.bytes,
        "others": round(others, 2),
        "variants": {
            worker.variant.name: {
                "rounds_s": [float(f"{r[k]:.4g}") for r in rounds],
                "peak_mb": round(peaks[k], 1),
                "error": float(f"{errors[k]:.2g}"),
                "settle_s": float(f"{np.median(worker.late):.2g}"),
            }
            for k, worker in enumerate(workers)
        },
    }


def take_turns(workers: list[Worker], budget: float, least: int) -> list[list[float]]:
    """One median for each worker in each round.

    The first round warms up, unless time allows no more than the least.
    """
    rounds: list[list[float]] = []
    start = time.perf_counter()
    wanted = least
    while len(rounds) < wanted:
        rounds.append([])
        for worker in workers:
            seconds = worker.ask(run=TURN)
            rounds[-1].append(float(np.median(seconds)))
            worker.settle()
        each = (time.perf_counter() - start) / len(rounds)
        wanted = int(np.clip(budget / each, least, MOST))
    return rounds[1:] if len(rounds) > least else rounds


def check(row: Row, workers: list[Worker]) -> list[float]:
    """Largest relative error of each variant's results against PyTorch's.

    PyTorch as it is installed, or the first variant where PyTorch does not take part.
    """
    found: list[list[np.ndarray]] = []
    with tempfile.TemporaryDirectory() as folder:
        for k, worker in enumerate(workers):
            place = Path(folder, str(k))
            place.mkdir()
            worker.ask(save=str(place))
            worker.settle()
            orders = json.loads((place / "orders.json").read_text())
            found.append([_load(place / f"{i}.npy", o) for i, o in enumerate(orders)])
        names = [worker.variant.name for worker in workers]
        true = names.index("torch") if "torch" in names else 0
        errors = [error(results, found[true]) for results in found]
    wrong = [k for k, value in enumerate(errors) if not value <= row.allowed]
    if wrong:
        pairs = zip(names, errors, strict=True)
        shown = ", ".join(f"{name} {value:.1e}" for name, value in pairs)
        raise WrongResult(
            f"{row.key}: {names[wrong[0]]} differs from {names[true]}; errors: {shown}"
        )
    return errors


def _load(path: Path, order: list[int]) -> np.ndarray:
    array = np.load(path, mmap_mode="r")
    return array.transpose(np.argsort(order)) if order else array


def error(results: list[np.ndarray], true: list[np.ndarray]) -> float:
    """Largest of |result - true| / |true| (Euclidean) over all results.

    What is a thousand times smaller than the largest result, such as the gradient of a
    bias in front of a norm, is compared with a thousandth of that one's size instead.
    """
    if [x.shape for x in results] != [x.shape for x in true]:
        return float("inf")
    sizes = [float(np.linalg.norm(x)) for x in true]
    floor = SMALL * max(sizes, default=0.0)
    pairs = zip(results, true, sizes, strict=True)
    errors = [float(np.linalg.norm(x - y)) / max(n, floor, 1e-30) for x, y, n in pairs]
    return max(errors, default=0.0) if not np.isnan(errors).any() else float("nan")
