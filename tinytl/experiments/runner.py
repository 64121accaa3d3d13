"""Many cells: compute each once, keep its result, resume, show progress.

A *cell* is the smallest piece of work whose result is kept: one method, one seed, one
setting. Its key is a hash of all that the result depends on: the settings, the
versions, and the package's own files. A result with that key on disk is *the* result,
so it is read and not computed; everything else is computed.

A file is written under another name first and then renamed, which the operating system
does at once or not at all. So stopping the program at any moment, by Ctrl-C, by kill or
by the power switch, loses the cells in progress and nothing else.
"""

import contextlib
import hashlib
import json
import os
import platform
import queue
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tinytl_kernels

from ..persistence import write_atomically

Settings = dict[str, Any]
Result = dict[str, Any]
PACKAGES = (Path(__file__).parents[1], Path(tinytl_kernels.__file__).parent)


class Progress(Protocol):
    """What is told how far the work is: a progress bar, or ``Silent``."""

    def begin(self, stage: str, steps: int, kept: int) -> None:
        """A stage of so many steps starts; so many cells were kept from before."""

    def tick(self, cell: str, loss: float) -> None:
        """One step of this cell was made."""

    def end(self) -> None:
        """The stage is over, or was stopped."""


class Silent:
    """Progress that nobody sees."""

    def begin(self, stage: str, steps: int, kept: int) -> None:
        """Nothing."""

    def tick(self, cell: str, loss: float) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Cell:
    """One piece of work.

    Attributes:
        experiment: "collapse", "signal" or "transfer".
        name: what it is called on the screen and in its file's name.
        settings: everything its result depends on, of JSON's types.
        steps: how often ``compute`` will tick.
    """

    experiment: str
    name: str
    settings: Settings
    steps: int

    def identity(self) -> dict[str, Any]:
        """All that the result depends on."""
        return {
            "experiment": self.experiment,
            "settings": self.settings,
            "versions": dict(versions()),
        }

    def key(self) -> str:
        """Hash of the identity: 16 hexadecimal digits of its SHA-256."""
        text = json.dumps(self.identity(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def file_name(self) -> str:
        """transfer-10-frozen-0-0123456789abcdef.json."""
        name = "".join(c if c.isalnum() else "-" for c in self.name.lower())
        return f"{self.experiment}-{name}-{self.key()}.json"


# -- computing -------------------------------------------------------------------------


def run_cells(cells: Iterable[Cell], folder: Path, progress: Progress) -> list[Result]:
    """Results of all cells, in order; computed, or read if they are in `folder`.

    Also computed results are read back from their file, so that it makes no difference
    to what follows when they were computed. How long each took is kept apart, in
    seconds.json, because the same cell should give the same bytes.

    Raises:
        RuntimeError: a cell could not be computed; the message says which, and why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = list(cells)
    missing = [cell for cell in every if stored(cell, folder) is None]
    if missing:
        kept = len(every) - len(missing)
        steps = sum(cell.steps for cell in missing)
        progress.begin(missing[0].experiment, steps, kept)
        try:
            _compute(missing, folder, progress)
        finally:
            progress.end()
    results = [stored(cell, folder) for cell in every]
    return [result for result in results if result is not None]


def _compute(cells: list[Cell], folder: Path, progress: Progress) -> None:
    """Hand the cells to workers; keep each result when it comes."""
    waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    for cell in cells:
        waiting.put(cell)
    arrived: queue.SimpleQueue[tuple[Cell, dict[str, Any]]] = queue.SimpleQueue()
    from . import worker  # it imports the experiments, which import this file

    pairs = []
    try:
        for _ in range(min(cores(), len(cells))):
            process = worker.start(_environment())
            arguments = (process, waiting, arrived)
            pairs.append((process, threading.Thread(target=_converse, args=arguments)))
            pairs[-1][1].start()
        remaining = len(cells)
        while remaining:
            try:
                cell, message = arrived.get(timeout=0.5)  # so that Ctrl-C is heard
            except queue.Empty:
                continue
            if "loss" in message:
                progress.tick(cell.name, message["loss"])
            elif "error" in message:
                raise RuntimeError(
                    f"{cell.experiment}, {cell.name}: {message['error']}"
                )
            else:
                keep(cell, message["result"], message["seconds"], folder)
                remaining -= 1
    finally:
        for process, thread in pairs:
            process.kill()
            thread.join()  # it sees the end of the pipe
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()


def _converse(process: Any, waiting: Any, arrived: Any) -> None:
    """Give one worker a cell after the other, and pass on what it says."""
    while True:
        try:
            cell = waiting.get_nowait()
        except queue.Empty:
            break
        began = time.perf_counter()
        request = {"experiment": cell.experiment, "settings": cell.settings}
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                message["seconds"] = time.perf_counter() - began
                arrived.put((cell, message))
                if "loss" not in message:
                    break
            else:
                raise EOFError
        except (OSError, EOFError, ValueError):
            arrived.put((cell, {"error": "its process ended before it had finished"}))
            break
    with contextlib.suppress(OSError):  # of what could not be said any more
        process.stdin.close()


def _environment() -> dict[str, str]:
    """What a worker needs to find the same code and to use the same kernels."""
    paths = [path for path in sys.path if path]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TINYTL_KERNELS": tinytl_kernels.current(),
    }


# -- keeping ---------------------------------------------------------------------------


def keep(cell: Cell, result: Result, seconds: float, folder: Path) -> None:
    """Write a result, complete or not at all, and remember how long it took."""
    text = json.dumps({**cell.identity(), "result": result}, indent=1, allow_nan=False)
    write_atomically(folder / cell.file_name(), text.encode())
    known = seconds_taken(folder)
    known[cell.key()] = round(seconds, 3)
    write_atomically(folder / "seconds.json", json.dumps(known, indent=1).encode())


def stored(cell: Cell, folder: Path) -> Result | None:
    """The result that is kept for this cell, or None if there is none to be used."""
    try:
        content = json.loads((folder / cell.file_name()).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or "result" not in content:
        return None
    identity = {key: value for key, value in content.items() if key != "result"}
    return content["result"] if identity == cell.identity() else None


def forget(cells: Iterable[Cell], folder: Path) -> int:
    """Delete what is kept for these cells; returns how many there were."""
    found = [p for p in (folder / cell.file_name() for cell in cells) if p.exists()]
    for path in found:
        path.unlink()
    return len(found)


def seconds_taken(folder: Path) -> dict[str, float]:
    """Seconds by key of a cell; empty if nothing is known."""
    try:
        content = json.loads((folder / "seconds.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def number(value: float) -> float | None:
    """`value` for JSON, which has no infinity and no NaN: None for those."""
    return float(value) if np.isfinite(value) else None


# -- what a result depends on ----------------------------------------------------------


@cache
def _package_digest() -> str:
    """12 hexadecimal digits over the names and contents of our files."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted(package.rglob("*")):
            if path.suffix in (".py", ".npz", ".safetensors"):
                digest.update(str(path.relative_to(package)).encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def versions() -> Mapping[str, str]:
    """Of everything that can change a result; "package" is a hash of our own files."""
    from .. import __version__

    return {
        "tinytl": __version__,
        "package": _package_digest(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernels": tinytl_kernels.current(),
    }


def bar_class() -> Any:
    """tqdm's progress bar, loaded when one is shown.

    Raises:
        ImportError: tqdm is not installed; the message says how to.
    """
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "progress bars need tqdm: pip install 'tinytl[demo]'"
        ) from error
    return tqdm


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
