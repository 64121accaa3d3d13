"""The one pool of threads, for all compiled kernels.

A kernel is a compiled function that lets go of Python's lock and does a slice of the
work: ``kernel(first, last, ...)``. So ordinary Python threads run it side by side. They
sleep between calls (a pool that spins steals the core from whoever computes next), they
start when they are first needed, a forked child starts its own, and two threads of the
user's may call kernels at the same time. Only the caller stays awake until its workers
have ended, for some 50 microseconds at most, unless they need its core: it has nothing
else to do, all slices take nearly as long, and to be woken takes as long as many a
slice.

How long it takes to wake a thread differs by a factor of ten from machine to machine,
and from hour to hour in a virtual one: 10 to 100 microseconds. So each call looks when
its workers have begun, and work is shared from the size on that pays at present.

Who sleeps is woken on some core. In a virtual machine that is often the core of whoever
wakes it: a core on which nothing ran for a while has been given back to the host, and
is not looked for. Two threads then take turns on one core, beside one that is idle. So
workers are told to keep off the core of the thread that calls, where the operating
system can tell which that is (Linux).

The number of threads is, in this order: what ``set_num_threads`` was told, the
environment variables ``TINYTL_NUM_THREADS`` and ``OMP_NUM_THREADS``, the cores that
this process may use; the last two as they are when first asked for.
"""

import contextlib
import ctypes
import functools
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .memory import aligned

Array = np.ndarray

SMALL = 1 << 17  # elementary steps below which waking a thread costs more than it saves
WAKING = 25e-6  # seconds of waking for which SMALL is the limit
LATEST = 8 * WAKING  # no more is believed
PRODUCTS = 32  # multiply-adds that a matrix product does in the time of one such step

_chosen: int | None = None
_jobs: "queue.SimpleQueue[Callable[[], None]]" = queue.SimpleQueue()
_workers: list[int] = []  # the system's numbers of their threads
_starting = threading.Lock()
_left: tuple[int, int, set[int]] | None = None  # core, threads, cores of the last call
_apart = True  # whether its workers had cores of their own
_watch: Callable[[Array], None] | None = None  # waits awake for a moment
_waking = WAKING  # seconds, of late


class _Own(threading.local):
    """The arrays that one thread keeps."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, np.dtype], Array] = {}


_own = _Own()


def set_num_threads(n: int) -> None:
    """Compute with `n` threads from now on, in the whole process.

    Raises:
        TypeError: not an integer.
        ValueError: less than 1.
    """
    global _chosen
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"set_num_threads needs an integer, got {n!r}")
    if n < 1:
        raise ValueError(f"set_num_threads needs at least 1 thread, got {n}")
    _chosen = n


def get_num_threads() -> int:
    """Number of threads that kernels use."""
    return _chosen or _from_outside()


@functools.cache
def _from_outside() -> int:
    """What the environment or the machine says, asked once: each call would ask."""
    for name in ("TINYTL_NUM_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(name, "")
        if given.isdecimal() and int(given) > 0:
            return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wait_awake(watch: Callable[[Array], None]) -> None:
    """Have callers wait with `watch` for their workers, before they go to sleep.

    Args:
        watch: given an array of integers, which become 1 one by one, it lets go of
            Python's lock and returns when all are, or after a moment.
    """
    global _watch
    _watch = watch


def run(
    kernel: Callable[..., Any],
    count: int,
    *args: Any,
    work: int | None = None,
    scratch: tuple[int, Any] | None = None,
) -> None:
    """Call ``kernel(first, last, *args)`` on slices that together cover range(count).

    One slice for each thread, the first on the calling one; or one for all, where that
    is sooner done. So that a run can be repeated bit for bit, a kernel must compute the
    same however its work is cut.

    Args:
        kernel: a compiled function that releases Python's lock.
        count: how many independent pieces of work there are.
        args: passed on.
        work: elementary steps in all; small work stays on the calling thread.
        scratch: (elements, dtype) of an array that each thread keeps for itself; then
            the call is ``kernel(first, last, scratch, *args)``.

    Raises:
        Exception: the first one that a kernel raised, or Ctrl-C, once all have ended.
    """
    small = work is not None and work < SMALL * (_waking / WAKING)
    threads = 1 if small else min(get_num_threads(), count)
    if threads < 2:
        kernel(0, count, *_scratch(scratch), *args)
        return

    def part(k: int) -> None:
        first, last = count * k // threads, count * (k + 1) // threads
        kernel(first, last, *_scratch(scratch), *args)

    _share(part, threads)


def _share(part: Callable[[int], None], threads: int) -> None:
    """Call ``part(k)`` on as many threads, part(0) on this one."""
    errors: list[BaseException] = []
    done: queue.SimpleQueue[None] = queue.SimpleQueue()
    ended = np.zeros(threads - 1, np.int64)
    begun: list[float] = []

    def job(k: int) -> Callable[[], None]:
        def work_and_tell() -> None:
            begun.append(time.perf_counter())
            try:
                part(k)
            except BaseException as error:
                errors.append(error)
            ended[k - 1] = 1
            done.put(None)

        return work_and_tell

    _start(threads - 1)
    apart = _keep_off(_core(), threads)
    called = time.perf_counter()
    for k in range(1, threads):
        _jobs.put(job(k))
    try:
        part(0)
        if apart and _watch:
            _watch(ended)
        for _ in range(1, threads):
            done.get()
    except BaseException as error:  # of part(0), or Ctrl-C: workers still write
        errors.append(error)
        while not ended.all():
            with contextlib.suppress(KeyboardInterrupt):
                done.get()
    _learn(max(begun) - called)
    if errors:
        raise errors[0]


def _learn(late: float) -> None:
    """Remember how late workers begin: a mean in which the last sixteen count most."""
    global _waking
    _waking += (min(max(late, WAKING), LATEST) - _waking) / 16


def workspace(name: str, size: int, dtype: Any) -> Array:
    """A flat array that the calling thread keeps under `name`, and may use again.

    It begins at the start of a cache line. A fresh array of some megabytes costs as
    much to page in as to fill. What it holds is lost at the next call with the same
    name.
    """
    key = name, np.dtype(dtype)
    kept = _own.kept.get(key)
    if kept is None or len(kept) < size:
        kept = _own.kept[key] = aligned((size,), dtype)
    return kept


def _scratch(wanted: tuple[int, Any] | None) -> tuple[Array, ...]:
    return () if wanted is None else (workspace("scratch", *wanted),)


def _start(wanted: int) -> None:
    """Have at least `wanted` workers; they end with the process."""
    global _left
    if len(_workers) < wanted:
        with _starting:
            for _ in range(len(_workers), wanted):
                worker = threading.Thread(target=_work, daemon=True, name="tinytl")
                worker.start()
                _workers.append(worker.native_id or 0)
            _left = None


def _work() -> None:
    jobs = _jobs
    while True:
        jobs.get()()


def _find_core() -> Callable[[], int]:
    """The function that says on which core the calling thread runs; -1: unknown.

    It keeps Python's lock, as letting go of that would take longer than the answer.
    """
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError, AttributeError):  # another C library
            core: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
            return core
    return lambda: -1


_core = _find_core()


def _keep_off(core: int, threads: int) -> bool:
    """Let workers run where the caller may, but not on its core, if others suffice.

    They are asleep, so that it costs a system call, and others only if the caller has
    moved since the last time, or may run elsewhere.

    Returns:
        Whether others suffice.
    """
    global _left, _apart
    if core < 0:
        return _apart
    allowed = os.sched_getaffinity(0)
    if (core, threads, allowed) == _left:
        return _apart
    others = allowed - {core}
    _left, _apart = (core, threads, allowed), len(others) >= threads - 1
    with contextlib.suppress(OSError):
        for worker in _workers:
            os.sched_setaffinity(worker, others if _apart else allowed)
    return _apart


def _forget() -> None:
    """After a fork the child has the names of the workers, but not the threads."""
    global _workers, _jobs, _starting, _left
    _workers, _jobs, _starting = [], queue.SimpleQueue(), threading.Lock()
    _left = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
