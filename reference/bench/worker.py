"""One side of the comparison, in a process of its own.

Reads a number of steps a line from standard input, runs them, and answers with a line
of
JSON: the seconds of each step, and by how many MB the process has grown at its peak
since its inputs were made.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from .workloads import WORKLOADS, stepper

STATUS = Path("/proc/self/status")


def memory(field: str) -> float:
    """A field of Linux's process status in MB; 0 on other systems."""
    if not STATUS.exists():
        return 0.0
    lines = [line for line in STATUS.read_text().splitlines() if field in line]
    return int(lines[0].split()[1]) / 1024


def main() -> None:
    """Answer until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=["tinytl", "torch"])
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("batch", type=int)
    args = parser.parse_args()
    step = stepper(args.side, WORKLOADS[args.workload], args.batch)
    before = memory("VmRSS")
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        grown = memory("VmHWM") - before
        print(json.dumps({"seconds": seconds, "grown_mb": grown}), flush=True)


if __name__ == "__main__":
    main()
