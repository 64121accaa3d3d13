"""tinytl beside PyTorch in one run: ``python -m reference.bench``.

    --only PATTERN [...]      rows whose name matches (regular expression)
    --quick                   fewer rounds: a look, not a measurement
    --sweep                   time and memory against batch, depth and T instead
    --threads N               of every library
    --out FILE                keep everything as JSON
    --compare A B             two results, row by row
    --commits A B             our side of two commits, taking turns
    --markdown FILE [FILE]    put a result's table into docs/benchmarks.md, and the
                              goals of another machine's

A speed is a ratio: on a shared machine both times wander, and their ratio stays.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tinytl

from . import measure, rows, startup, table
from .machine import ROOT, machine
from .measure import OURS, THEIRS, Variant, WrongResult
from .workloads import Row

PAGE = ROOT / "docs" / "benchmarks.md"
BUSY = 0.1  # cores; when others use more, a time means little
START = Row("start", "import and first step", lambda side, batch: list)
Result = dict[str, Any]


def run(
    wanted: list[Row], variants: list[Variant], threads: int, quick: bool
) -> tuple[list[Result], list[str]]:
    """Measure row after row, printing each; the results, and what was refused."""
    found, refused = [], []
    workers = measure.launch(variants, threads)
    try:
        for row in wanted:
            budget = 0.3 if quick else row.seconds
            try:
                found.append(measure.measure(row, workers, budget))
            except WrongResult as error:
                refused.append(str(error))
                print(f"REFUSED  {error}", flush=True)
                continue
            limit = table.limits(found)
            print(table.line(table.cells(found[-1], limit)), flush=True)
            if found[-1]["others"] > BUSY:
                print(f"    others used {found[-1]['others']:.1f} cores", flush=True)
    finally:
        measure.stop(workers)
    return found, refused


def matching(patterns: list[str], all_rows: list[Row]) -> list[Row]:
    """Rows whose key matches one of the patterns; all without patterns."""
    wanted = [re.compile(pattern) for pattern in patterns]
    return [r for r in all_rows if not wanted or any(p.search(r.key) for p in wanted)]


def chosen(args: argparse.Namespace) -> list[Row]:
    """What the command line asks for; the tiny row only by name."""
    everything = rows.sweeps() if args.sweep else rows.table()
    return matching(args.only, [*everything, *([rows.tiny()] if args.only else [])])


def against_pytorch(args: argparse.Namespace) -> int:
    """The table; 1 if a result was refused."""
    ours = OURS if hasattr(tinytl, "keep_pages") else OURS[:1]
    result: Result = {"machine": machine(), "threads": args.threads, "rows": []}
    begin = time.monotonic()
    print("milliseconds; kept: the allocator keeps pages; last: channels last")
    print("x best, x inst: how often as fast as PyTorch's best, and as installed")
    print("MB: growth at the peak, of the fastest; limit: fraction of it\n")
    print(table.line(list(table.HEAD)))
    variants = [*ours, *THEIRS]
    result["rows"], refused = run(chosen(args), variants, args.threads, args.quick)
    if not args.sweep and matching(args.only, [START]):
        result["startup"] = startup.measure(args.threads, 1 if args.quick else 3)
    result["minutes"] = round((time.monotonic() - begin) / 60, 1)
    summary(result)
    if args.out:
        args.out.write_text(pack(result))
    return 1 if refused else 0


def summary(result: Result) -> None:
    """Goals, start, machine."""
    print("\ngoal, reached, wanted")
    for name, *rest in table.goals(result["rows"]):
        print(f"    {name:50}" + "".join(f"{part:>9}" for part in rest))
    if result.get("startup"):
        print("\nseconds of a new process: tinytl, PyTorch, at most")
        for name, *rest in table.starts(result["startup"]):
            print(f"    {name:50}" + "".join(f"{part:>9}" for part in rest))
    print(f"\n{table.about(result)}\n{result['minutes']} minutes")


def pack(result: Result) -> str:
    """JSON with a line for each row."""
    lines = [f" {json.dumps(key)}: {json.dumps(result[key])}" for key in result]
    for k, key in enumerate(result):
        if isinstance(result[key], list):
            body = ",\n".join("  " + json.dumps(row) for row in result[key])
            lines[k] = f" {json.dumps(key)}: [\n{body}\n ]"
    return "{\n" + ",\n".join(lines) + "\n}\n"


def commits(names: list[str], args: argparse.Namespace) -> int:
    """Our side of two commits; libraries from git, rows of today."""
    with tempfile.TemporaryDirectory() as folder:
        variants = [Variant(n, "tinytl", path=checkout(n, folder)) for n in names]
        workers = measure.launch(variants, args.threads)
        print(f"{'milliseconds':46}" + "".join(f"{n[:12]:>14}" for n in names))
        try:
            for row in chosen(args):
                if row.group == "limit":
                    continue
                budget = 0.3 if args.quick else row.seconds
                found = measure.measure(row, workers, budget)
                times = [1e3 * table.seconds(found, name) for name in names]
                shown = "".join(f"{ms:14.4g}" for ms in times)
                print(f"{row.key:46}{shown}{times[0] / times[1]:8.2f}x", flush=True)
        finally:
            measure.stop(workers)
    return 0


def checkout(commit: str, folder: str) -> tuple[str, ...]:
    """The two packages of a commit in a folder of their own; what to import from."""
    place = Path(folder, commit.replace("/", "-"))
    place.mkdir()
    archive = ["git", "archive", commit, "tinytl", "kernels"]
    packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(place)], input=packed, check=True)
    return str(place), str(place / "kernels")


def compare(paths: list[Path]) -> int:
    """How often as fast the second result is."""
    first, second = (json.loads(path.read_text()) for path in paths)
    print(table.line([f"times as fast: {paths[1].stem}", "tinytl", "torch"]))
    for parts in table.compare(first, second):
        print(table.line(parts))
    return 0


def main() -> int:
    """Measure and print, or do one of the other things."""
    parser = argparse.ArgumentParser(
        prog="python -m reference.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compare", nargs=2, type=Path, metavar="RESULT")
    parser.add_argument("--commits", nargs=2, metavar="COMMIT")
    parser.add_argument("--markdown", nargs="+", type=Path, metavar="RESULT")
    args = parser.parse_args()
    if args.compare:
        return compare(args.compare)
    if args.commits:
        return commits(args.commits, args)
    if args.markdown:
        table.insert(PAGE, *(json.loads(path.read_text()) for path in args.markdown))
        return 0
    return against_pytorch(args)


if __name__ == "__main__":
    sys.exit(main())
