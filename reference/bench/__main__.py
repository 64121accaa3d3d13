"""tinytl beside PyTorch: training steps, both sides taking turns in one run.

A speed is a ratio: on a shared machine both times wander, and their ratio stays.
Medians are printed, and kept as JSON with the machine and the versions.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tinytl_kernels
import torch

import tinytl

from .workloads import WORKLOADS


def measure(key: str, batch: int, rounds: int, steps: int = 4) -> dict[str, Any]:
    """Median seconds of a step on each side, and the median ratio of the rounds.

    Each side has a process of its own, as its users have, and they take turns: while
    one computes, the other waits. The first round warms up and is not counted.
    """
    sides = {side: _start(side, key, batch) for side in ("tinytl", "torch")}
    medians: dict[str, list[float]] = {side: [] for side in sides}
    grown = dict.fromkeys(sides, 0.0)
    for _ in range(rounds + 1):
        for side, worker in sides.items():
            answer = _ask(worker, steps)
            medians[side].append(float(np.median(answer["seconds"])))
            grown[side] = answer["grown_mb"]
    for worker in sides.values():
        worker.communicate()
    ratios = np.divide(medians["tinytl"], medians["torch"])[1:]
    return {
        "workload": key,
        "batch": batch,
        **{f"{side}_s": float(np.median(s[1:])) for side, s in medians.items()},
        "ratio": float(np.median(ratios)),
        "ratio_quartiles": [float(q) for q in np.percentile(ratios, [25, 75])],
        **{f"{side}_peak_mb": mb for side, mb in grown.items()},
    }


def _start(side: str, key: str, batch: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "reference.bench.worker", side, key, str(batch)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _ask(worker: subprocess.Popen[str], steps: int) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0].split(":")[1].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "tinytl": tinytl.__version__,
        "kernels": tinytl_kernels.current(),
    }


def main() -> None:
    """Measure every workload, print the table, and keep the result."""
    parser = argparse.ArgumentParser(
        prog="python -m reference.bench", description=__doc__
    )
    parser.add_argument("--kernels", choices=tinytl_kernels.SETS, default="plain")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each side")
    parser.add_argument("--json", type=Path, help="where to keep the result")
    args = parser.parse_args()
    tinytl.use_kernels(args.kernels)
    os.environ["TINYTL_KERNELS"] = args.kernels  # for the processes that measure memory
    about = machine()
    rows: list[dict[str, Any]] = []
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print("one training step (loss and all gradients), float32, medians over rounds")
    print("ratio = tinytl / PyTorch; memory = growth of a process at its peak")
    for key, workload in WORKLOADS.items():
        row = measure(key, args.batch, args.rounds)
        rows.append(row)
        low, high = row["ratio_quartiles"]
        print(f"{workload.name}, batch {args.batch}")
        for side, name in (("tinytl", "tinytl"), ("torch", "PyTorch")):
            ms, mb = 1e3 * row[f"{side}_s"], row[f"{side}_peak_mb"]
            print(f"    {name:8} {ms:7.1f} ms  {mb:6.0f} MB")
        print(
            f"    ratio    {row['ratio']:7.2f}     (quartiles {low:.2f} to {high:.2f})"
        )
    if args.json:
        args.json.write_text(
            json.dumps({"machine": about, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
