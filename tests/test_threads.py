"""The pool of threads, the arrays that it keeps, and where arrays lie."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tinytl_kernels.threads as pool
from tinytl_kernels import kernels_for
from tinytl_kernels.memory import LINE, SMALL, aligned, empty
from tinytl_kernels.threads import get_num_threads, run, set_num_threads, workspace


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(pool, "_chosen", None)
    monkeypatch.setattr(pool, "_waking", pool.WAKING)
    pool._from_outside.cache_clear()
    yield
    pool._from_outside.cache_clear()


def note(first, last, seen):
    seen.append((first, last, threading.get_ident()))


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_slices_cover_everything_once(count, threads):
    set_num_threads(threads)
    seen = []
    run(note, count, seen)
    places = sorted(k for first, last, _ in seen for k in range(first, last))
    assert places == list(range(count))
    assert len(seen) == max(1, min(threads, count))


def test_work_is_shared_and_small_work_is_not():
    set_num_threads(2)
    met = threading.Barrier(2, timeout=20)
    run(lambda first, last: met.wait(), 2)  # would never meet on one thread
    seen = []
    run(note, 2, seen, work=10)
    assert [thread for *_, thread in seen] == [threading.get_ident()]


def test_work_is_shared_from_the_size_on_that_pays(monkeypatch):
    """Which is in proportion to the time that threads took to wake up, of late."""
    set_num_threads(2)

    def slices(work):
        seen = []
        run(note, 2, seen, work=work)
        return len(seen)

    monkeypatch.setattr(pool, "_learn", lambda late: None)
    assert [slices(pool.SMALL - 1), slices(pool.SMALL)] == [1, 2]
    monkeypatch.setattr(pool, "_waking", 3 * pool.WAKING)
    assert [slices(3 * pool.SMALL - 1), slices(3 * pool.SMALL)] == [1, 2]


@pytest.mark.parametrize(
    ("late", "believed"),
    [(0, pool.WAKING), (2 * pool.WAKING, 2 * pool.WAKING), (1, pool.LATEST)],
)
def test_how_late_workers_begin_is_learned(late, believed, monkeypatch):
    """By a clock that stands still but for `late` seconds, as a worker begins."""
    set_num_threads(2)
    run(note, 2, [])  # the worker is there
    main = threading.get_ident()
    clock = lambda: 0 if threading.get_ident() == main else late  # noqa: E731
    monkeypatch.setattr(pool.time, "perf_counter", clock)
    before = pool._waking
    for _ in range(60):
        run(note, 2, [])
    off = (pool._waking - believed) / ((before - believed) or 1)
    assert off == pytest.approx((15 / 16) ** 60 if before != believed else 0)


def test_the_first_error_comes_back_and_the_pool_lives_on():
    set_num_threads(3)

    def fail(first, last):
        if first:
            raise ValueError("no such slice")

    for _ in range(3):
        with pytest.raises(ValueError, match="no such slice"):
            run(fail, 3)
    run(note, 3, [])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_an_interrupt_waits_for_the_workers():
    """They write to arrays that whoever catches it may use for something else."""
    set_num_threads(3)
    ended = []

    def slow(first, last):
        if first:
            time.sleep(0.3)
            ended.append(first)

    run(note, 3, [])
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.05)  # an impatient user
        with pytest.raises(KeyboardInterrupt):
            run(slow, 3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sorted(ended) == [1, 2]


def test_two_threads_of_the_user_do_not_mix():
    set_num_threads(3)
    wrong = []

    def use(value):
        for _ in range(200):
            out = np.zeros(12)

            def fill(first, last, scratch, out=out):
                scratch[: last - first] = value
                time.sleep(0)
                out[first:last] = scratch[: last - first]

            run(fill, 12, scratch=(12, float))
            if not (out == value).all():
                wrong.append(value)

    users = [threading.Thread(target=use, args=(k,)) for k in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_a_forked_child_has_a_pool_of_its_own():
    set_num_threads(2)
    run(note, 2, [])
    child = os.fork()
    if child == 0:
        seen = []
        run(note, 2, seen)
        os._exit(0 if len(seen) == 2 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_waiting_threads_use_no_time():
    set_num_threads(2)
    run(note, 2, [])
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1


@pytest.mark.skipif(pool._core() < 0, reason="cores have no numbers here")
def test_workers_keep_off_the_callers_core(monkeypatch):
    """Also when it moves or may run elsewhere; if it has one core, so have they."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("a single core")
    set_num_threads(2)
    watched = []
    monkeypatch.setattr(pool, "_watch", watched.append)
    for core in (*allowed, *allowed):
        monkeypatch.setattr(pool, "_core", lambda core=core: core)
        run(note, 2, [])
        assert where_workers_may_run() == {frozenset(allowed - {core})}
    assert len(watched) == 2 * len(allowed)
    try:
        os.sched_setaffinity(0, {core})
        run(note, 2, [])
        assert where_workers_may_run() == {frozenset({core})}
        assert len(watched) == 2 * len(allowed)
    finally:
        os.sched_setaffinity(0, allowed)
    run(note, 2, [])
    assert where_workers_may_run() == {frozenset(allowed - {core})}


def where_workers_may_run():
    workers = [t for t in threading.enumerate() if t.name == "tinytl"]
    return {frozenset(os.sched_getaffinity(t.native_id)) for t in workers}


def test_a_caller_waits_awake_for_a_moment_only():
    """For its workers' end, with what the compiled kernels wait with."""
    awake = pytest.importorskip("tinytl_kernels.cpu.awake")
    set_num_threads(2)
    run(note, 2, [])
    before = time.thread_time()
    run(lambda first, last: time.sleep(0.3 * first), 2)
    assert time.thread_time() - before < 0.1
    awake.watch(np.ones(3, np.int64))
    before = time.perf_counter()
    awake.watch(np.array([1, 0, 1]))
    assert time.perf_counter() - before < 0.1


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2", None])
def test_a_number_of_threads_is_a_positive_integer(wrong):
    with pytest.raises((TypeError, ValueError), match="set_num_threads"):
        set_num_threads(wrong)


def test_the_environment_says_how_many(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("TINYTL_NUM_THREADS", raising=False)
    assert get_num_threads() == 3
    pool._from_outside.cache_clear()
    monkeypatch.setenv("TINYTL_NUM_THREADS", "5")
    assert get_num_threads() == 5
    pool._from_outside.cache_clear()
    monkeypatch.setenv("TINYTL_NUM_THREADS", "many")
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert get_num_threads() >= 1
    set_num_threads(2)
    assert get_num_threads() == 2


def test_a_workspace_is_kept_and_grows():
    small = workspace("test", 10, np.float32)
    assert workspace("test", 5, np.float32) is small
    assert workspace("test", 11, np.float32) is not small
    assert workspace("test", 5, np.float64).dtype == np.float64
    assert workspace("test", 11, np.float32).ctypes.data % LINE == 0


@pytest.mark.parametrize("make", [empty, aligned])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (70, 640), (7, 64, 133)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_empty_arrays_begin_with_a_cache_line(make, shape, dtype):
    arrays = [make(shape, dtype) for _ in range(5)]
    for array in arrays:
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        small = make is empty and array.nbytes < SMALL
        assert array.ctypes.data % LINE == 0 or small


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_are_kept_where_the_system_can():
    """In a process of its own, for it changes the allocator for good."""
    code = "import tinytl_kernels.memory as m; print(m.keep_pages())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_repeated_operand_does_not_decide_the_order_in_memory(threads):
    """A channel's number, repeated over channels-last images, on either side."""
    images = np.ones((2, 5, 6, 3), np.float32).transpose(0, 3, 1, 2)
    repeated = np.broadcast_to(np.ones((1, 3, 1, 1), np.float32), images.shape)
    set_num_threads(threads)
    for x, z in ((images, repeated), (repeated, images)):
        y = kernels_for(x).ufunc("add", x, z)
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
