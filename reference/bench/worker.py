"""A process that computes on request: ``python -m reference.bench.worker tinytl ...``.

It loads its library once. For every row it forks a child, so that each row has a
process of its own, whose memory is the row's, without paying for the imports again. The
child reads requests as lines of JSON and answers each with one line:

    {"row": key}        build it, answer with the child's process id
    {"save": folder}    first repetition; write its results there
    {"run": seconds}    repeat for that long, at least once: the seconds of each
    {"peak": true}      growth of the process at its peak since the inputs were made, MB
    {"end": true}       end the child

Before the inputs are made the same row runs with two images, so that compiling and
loading of kernels is in neither the times nor the memory. The allocator is told to keep
its pages once the inputs are there, or what was freed while making them would count.
"""

import argparse
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .rows import find
from .sides import SIDES
from .workloads import Step

STATUS = Path("/proc/self/status")


def memory(field: str) -> float:
    """A field of Linux's process status in MB; 0 on other systems."""
    if not STATUS.exists():
        return 0.0
    lines = [line for line in STATUS.read_text().splitlines() if field in line]
    return int(lines[0].split()[1]) / 1024


def forget_peak() -> float:
    """Give back free memory, and measure the peak from here on; memory now, in MB."""
    gc.collect()
    if STATUS.exists():
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def save(results: list[np.ndarray], folder: Path) -> None:
    """Write each result as it lies in memory, without a copy, and how it lies."""
    orders = []
    for k, array in enumerate(results):
        order = sorted(range(array.ndim), key=lambda d: -array.strides[d])
        np.save(folder / f"{k}.npy", array.transpose(order))
        orders.append(order)
    (folder / "orders.json").write_text(json.dumps(orders))


def repeat(step: Step, seconds: float) -> list[float]:
    """Seconds of each repetition, until `seconds` are over."""
    found: list[float] = []
    begin = time.perf_counter()
    while not found or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return found


def requests() -> Iterator[dict[str, Any]]:
    """Lines of standard input, one at a time."""
    while line := sys.stdin.readline():
        yield json.loads(line)


def answer(value: Any) -> None:
    """A line of standard output."""
    print(json.dumps(value), flush=True)


def serve(side: Any, key: str, kept: bool, damage: float) -> None:
    """Be the child: one row, until told to end."""
    row = find(key)
    row.build(side, min(2, row.batch))()
    forget_peak()
    step = row.build(side, row.batch)
    if kept:
        side.keep_pages()
    before = forget_peak()
    answer(os.getpid())
    for request in requests():
        if "save" in request:
            results = [as_array(side, x) for x in step()]
            results = [x + np.float32(damage) for x in results] if damage else results
            save(results, Path(request["save"]))
            del results
            answer(True)
        elif "run" in request:
            answer(repeat(step, request["run"]))
        elif "peak" in request:
            answer(memory("VmHWM") - before)
        else:  # the answer keeps the next row's request out of this child's buffer
            answer(True)
            return


def as_array(side: Any, x: Any) -> np.ndarray:
    """A result of either library, or a number."""
    return np.asarray(x) if isinstance(x, np.generic) else np.asarray(side.numpy(x))


def main() -> None:
    """Load the library, then fork a child for every row that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=SIDES)
    parser.add_argument("--kept", action="store_true", help="keep pages")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--damage", type=float, default=0, help="added to results")
    args = parser.parse_args()
    SIDES[args.library].load()
    for request in requests():
        child = os.fork()
        if child:
            if os.waitpid(child, 0)[1]:
                break  # it has failed and said why; whoever waits for it hears the end
            continue
        side = SIDES[args.library](args.threads, args.channels_last)
        serve(side, request["row"], args.kept, args.damage)
        break
    os._exit(0)  # at once, without taking the libraries apart


if __name__ == "__main__":
    main()
