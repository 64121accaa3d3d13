"""Run the grid: several processes of one thread each, every finished run kept.

A run that is finished has its small file, and is not made again; one that was stopped
has a checkpoint, and goes on from there, bit by bit as if it had not been. So the same
command, given again after Ctrl-C, kill or a power cut, completes the grid.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tinytl_kernels

from ..runner import bar_class
from ..worker import ONE_THREAD
from .one import unfinished
from .plan import Job

Message = tuple[Job, dict[str, Any]]
TASK = ("data", "per_class", "target", "width")  # what a job fixes of its task
FORMAT = "{percentage:5.1f} % |{bar}| {elapsed} gone, {remaining} left{postfix}"


def run(
    jobs: Sequence[Job],
    folder: Path,
    root: dict[str, str],
    source_weights: str,
    processes: int = 2,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Results of all jobs, in order; computed, or read if they are in `folder`.

    Args:
        jobs: the runs, as ``plan.jobs`` orders them.
        folder: of the results.
        root: folder or file of the official images, by name of the data set.
        source_weights: file of the source network.
        processes: how many runs at a time.
        progress: show a bar.

    Raises:
        RuntimeError: a run could not be made; the others are kept.
        ValueError: `folder` has a result with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if stored(job, folder) is None]
    requests = {
        job: {
            "job": asdict(job),
            "folder": str(folder),
            "root": root[job.task("", "").data],
            "source_weights": source_weights,
        }
        for job in missing
    }
    with Bar(missing, len(jobs), progress) as bar:
        _compute(requests, min(processes, len(missing)), bar)
    return [result for result in (stored(job, folder) for job in jobs) if result]


def _compute(requests: dict[Job, dict[str, Any]], processes: int, bar: Bar) -> None:
    """Hand the jobs to as many processes as are wanted; listen to what they say."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in requests:
        waiting.put(job)
    heard: queue.SimpleQueue[Message] = queue.SimpleQueue()
    running: set[subprocess.Popen[str]] = set()
    stop, lock = threading.Event(), threading.Lock()

    def serve() -> None:
        while True:
            with lock:  # nothing starts after stop
                if stop.is_set() or waiting.empty():
                    return
                job, process = waiting.get(), _start()
                running.add(process)
            _converse(process, job, requests[job], heard)
            running.discard(process)

    threads = [threading.Thread(target=serve) for _ in range(processes)]
    for thread in threads:
        thread.start()
    try:
        remaining = len(requests)
        while remaining:
            try:
                job, message = heard.get(timeout=0.5)  # so that Ctrl-C is heard
            except queue.Empty:
                continue
            if "error" in message:
                raise RuntimeError(f"{job.name}: {message['error']}")
            remaining -= "done" in message
            bar.tell(job, message)
    finally:
        with lock:
            stop.set()
            for process in list(running):
                process.kill()
        for thread in threads:
            thread.join()


def _start() -> subprocess.Popen[str]:
    paths = [path for path in sys.path if path]
    environment = {
        **os.environ,
        **ONE_THREAD,
        "TINYTL_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "TINYTL_KERNELS": tinytl_kernels.current(),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tinytl.experiments.evidence.one"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )


def _converse(
    process: subprocess.Popen[str],
    job: Job,
    request: dict[str, Any],
    heard: queue.SimpleQueue[Message],
) -> None:
    """Ask for one run, and pass on what is said until it is made."""
    last: dict[str, Any] = {}
    try:
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                last = json.loads(line)
                heard.put((job, last))
    except (OSError, ValueError):
        pass  # it was killed: told below
    if not {"done", "error"} & set(last):
        heard.put((job, {"error": "its process ended before it had finished"}))


def stored(job: Job, folder: Path) -> dict[str, Any] | None:
    """The result of this job, or None if there is none yet.

    Raises:
        ValueError: the file is of a run with other settings, or damaged.
    """
    path = folder / f"{job.name}.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path} is damaged; delete it") from None
    wanted = json.loads(json.dumps(asdict(job.settings())))
    task = {k: v for k, v in asdict(job.task("", "")).items() if k in TASK}
    found = {k: result.get("task", {}).get(k) for k in TASK}
    if (result.get("settings"), found) != (wanted, task):
        raise ValueError(
            f"{path} is of a run with other settings; use another folder for results"
        )
    return result


def left(jobs: Sequence[Job], folder: Path) -> tuple[int, int]:
    """How many runs are finished, and how many were begun."""
    done = sum((folder / f"{job.name}.json").exists() for job in jobs)
    paths = [unfinished(folder, job) for job in jobs]
    return done, sum(p.with_name(p.name + ".checkpoint").exists() for p in paths)


class Bar:
    """How far the grid is, by work and not by number of runs, with the time left."""

    def __init__(self, missing: Sequence[Job], every: int, wanted: bool):
        self._bar: Any = None
        self._finished, self._every = every - len(missing), every
        self._epochs: dict[Job, int] = {}
        self._accuracy: dict[Job, float] = {}
        if wanted and missing:
            total = sum(job.work for job in missing)
            self._bar = bar_class()(total=total, bar_format=FORMAT, file=sys.stderr)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, job: Job, message: dict[str, Any]) -> None:
        """An epoch of a job is over, or all of it."""
        if self._bar is None:
            return
        if "done" in message:
            self._finished += 1
            accuracy = 100 * self._accuracy.get(job, 0)
            self._bar.write(f"{job.name}: {accuracy:.2f} %", file=sys.stderr)
            return
        if message["accuracy"] is not None:
            self._accuracy[job] = message["accuracy"]
        epoch = message["epoch"] + 1
        self._bar.set_postfix_str(
            f"{self._finished} of {self._every} runs; {job.name}: epoch {epoch}, "
            f"loss {message['loss']:.3f}",
            refresh=False,
        )
        more = epoch - self._epochs.get(job, 0)  # of a resumed run many at once
        self._epochs[job] = epoch
        self._bar.update(job.work / job.epochs * more)
