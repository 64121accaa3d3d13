"""Numba's simulator with a checker: races, barriers, places out of bounds.

The simulator plays a grid in Python, one block after the other, and gives every thread
of a block a thread of the operating system. Here each gets a greenlet instead: they run
one after the other up to the next barrier, in an order that can be chosen, which is
faster and the same every time. Between barriers, everything that a thread reads and
writes is noted. These are errors:

- a place that is not in the array, negative ones too,
- two threads of a block that touch an element without a barrier in between, if one of
  them writes; two blocks that do, whenever,
- a thread that ended, or is at another barrier, while others wait at one,
- a float64 in a float32 kernel. (Python's own numbers are float64 on a device, but not
  in NumPy: those only the compiler finds.)

Shared memory begins every block as NaN (integers as large negative numbers).

It replaces private parts of numba-cuda's simulator, whose version is therefore pinned.
"""

import importlib
import pkgutil
import random
import sys
from contextlib import contextmanager
from contextvars import copy_context
from types import SimpleNamespace

import greenlet
import numpy as np
import standin
import tinytl_kernels.cuda
from numba import typeof
from numba.cuda.simulator import kernel as numba_kernel
from numba.cuda.simulator import kernelapi
from tinytl_kernels.cuda import launch

RECORDED: dict[str, set[tuple[str, ...]]] = {}


class Race(AssertionError):
    """Two threads touched an element in an order that nothing decides."""


class Precision(AssertionError):
    """A float64 number on its way into an array of float32."""


class Barrier(AssertionError):
    """Some threads of a block wait where others never come."""


class State:
    """What is being played, and how."""

    order: object = "up"  # the threads' order: "up", "down" or a seed
    thread = None  # the one that runs
    notes: dict = {}  # of every element: who wrote it, who read it
    known = None  # the types with which kernels are known to be launched


class Thread:
    """What cuda.threadIdx and the like look at."""

    def __init__(self, block, place, shape):
        self.blockIdx = kernelapi.Dim3(*block)
        self.threadIdx = kernelapi.Dim3(*place)
        self.block, self.place, self.barriers = block, place, 0
        self.thread_id = place[0] + shape[0] * (place[1] + shape[1] * place[2])
        self.line = None

    def syncthreads(self):
        self.barriers += 1
        frame = sys._getframe(2)
        self.line = (frame.f_code.co_filename, frame.f_lineno)
        greenlet.getcurrent().parent.switch()


def run_block(self, block, *args):
    """In the place of BlockManager.run: all threads, from barrier to barrier."""
    places = list(np.ndindex(*self._block_dim))
    if State.order == "down":
        places.reverse()
    elif State.order != "up":
        random.Random(State.order).shuffle(places)
    threads = [Thread(block, place, self._block_dim) for place in places]
    alive = [(t, greenlet.greenlet(lambda: self._f(*args))) for t in threads]
    for _, run in alive:
        run.gr_context = copy_context()  # NumPy's errstate is part of it
    while alive:
        for thread, run in alive:
            State.thread = thread
            try:
                run.switch()
            except Exception as error:
                error.add_note(f"thread {thread.place} of block {thread.block}")
                raise
            finally:
                State.thread = None
        waiting = [(t, run) for t, run in alive if not run.dead]
        if waiting and len(waiting) < len(alive):
            raise Barrier("some threads ended while others wait at a barrier")
        if len({t.line for t, _ in waiting}) > 1:
            raise Barrier(f"threads wait at different barriers: {waiting[0][0].line}")
        alive = waiting


class Memory:
    """An array as a kernel sees it; every element that is touched is checked."""

    def __init__(self, array, shared=False):
        self._array, self._shared = array, shared
        self._start = array.__array_interface__["data"][0]
        self.shape, self.dtype = array.shape, array.dtype
        self.size, self.ndim = array.size, array.ndim

    def __getitem__(self, place):
        self._note(place, False)
        return self._array[place]

    def __setitem__(self, place, value):
        self._note(place, True)
        if self.dtype == np.float32 and isinstance(value, np.float64):
            raise Precision(f"float64 written to a float32 array at {place}")
        self._array[place] = value

    def __len__(self):
        return len(self._array)

    def _note(self, place, writes):
        place = place if isinstance(place, tuple) else (place,)
        if len(place) != self.ndim:
            raise IndexError(f"{len(place)} indices for {self.ndim} dimensions")
        if not all(0 <= k < n for k, n in zip(place, self.shape, strict=True)):
            raise IndexError(f"no place {place} in an array of shape {self.shape}")
        steps = zip(place, self._array.strides, strict=True)
        address = self._start + sum(int(k) * step for k, step in steps)
        note(address, place, writes, self._shared)


def note(address, place, writes, shared):
    """Remember the access, or raise Race if it meets another."""
    me = State.thread
    mine = (me.block, me.place, me.barriers)
    writer, readers = State.notes.get(address, (None, {}))

    def meets(other):
        if other is None or other[:2] == mine[:2]:
            return False
        if other[0] != mine[0]:
            return not shared
        return other[2] == mine[2]

    if meets(writer):
        what = "overwrites" if writes else "reads"
        raise Race(f"{me.place} {what} what {writer[1]} wrote at {place}, no barrier")
    if not writes:
        readers[mine[:2]] = mine
        State.notes[address] = (writer, readers)
        return
    for other in readers.values():
        if meets(other):
            raise Race(
                f"{me.place} writes what {other[1]} reads at {place}, no barrier"
            )
    State.notes[address] = (mine, {})


def shared_array(self, shape, dtype, alignment=None):
    """Memory of the block for the line that asks; filled with what nobody wants."""
    frame = sys._getframe(1)
    key = (State.thread.block, frame.f_code.co_filename, frame.f_lineno)
    if key not in self._allocations:
        array = np.empty(shape, dtype)
        array.fill(np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).min)
        self._allocations[key] = Memory(array, shared=True)
    return self._allocations[key]


def local_array(self, shape, dtype, alignment=None):
    """Memory of one thread; NaN until written."""
    array = np.empty(shape, dtype)
    array.fill(np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).min)
    return array


def modules():
    """All modules of the kernel set."""
    package = tinytl_kernels.cuda
    names = [info.name for info in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


@contextmanager
def played(function, module):
    """For the kernel's run, `cuda` means the simulator's module, wherever it stands."""
    places = [function.__globals__, *map(vars, modules())]
    before = [space.get("cuda") for space in places]
    for space in places:
        space["cuda"] = module
    try:
        yield
    finally:
        for space, kept in zip(places, before, strict=True):
            space["cuda"] = kept


def on_host(argument):
    """An argument of a kernel as the checker wants it."""
    if not isinstance(argument, standin.ndarray):
        assert not isinstance(argument, np.ndarray), "an array that is on the host"
        bare = isinstance(argument, float | int) and not isinstance(
            argument, np.generic
        )
        assert not bare, "a number without a dtype"
        return argument
    array = argument._array
    assert array.flags.c_contiguous, "kernels take contiguous arrays"
    return Memory(array)


def type_name(argument):
    if isinstance(argument, standin.ndarray):
        kind = str(typeof(argument._array.dtype.type(0))).replace("bool", "boolean")
        return f"Array({kind}, {argument.ndim}, 'C')"
    if isinstance(argument, tuple):
        return f"NamedUniTuple(int32, {len(argument)}, {type(argument).__name__})"
    return str(typeof(argument))


def play(self, blocks, threads, *arguments):
    """In the place of Kernel.launch: note the types, run under the checker."""
    assert np.prod(threads) <= 1024, threads
    types = tuple(map(type_name, arguments))
    RECORDED.setdefault(self.name, set()).add(types)
    assert State.known is None or types in State.known[self.name], (
        f"signatures.json lacks {self.name}{types}: run pytest -n0 tests/cuda --record"
    )
    if 0 not in blocks:
        run(self.compiled, blocks, threads, *arguments)


def run(compiled, blocks, threads, *arguments):
    """Run a jitted function on a grid of threads, under the checker."""
    State.notes = {}
    with np.errstate(all="ignore"):  # a GPU does not warn
        compiled[blocks, threads](*map(on_host, arguments))


def call_device(self, *args):
    """In the place of FakeCUDAKernel.__call__, for device functions: just call."""
    return self.fn(*args) if self._device else host_call(self, *args)


host_call = numba_kernel.FakeCUDAKernel.__call__


def install():
    """Play all launches of the kernel set from now on, on the stand-in's arrays."""
    assert launch.SIMULATED, "set NUMBA_ENABLE_CUDASIM=1 before Python starts"
    numba_kernel.BlockManager.run = run_block
    numba_kernel.FakeCUDAKernel.__call__ = call_device
    numba_kernel.swapped_cuda_module = played
    kernelapi.threading = SimpleNamespace(current_thread=lambda: State.thread)
    kernelapi.FakeCUDAShared.array = shared_array
    kernelapi.FakeCUDALocal.array = local_array
    launch.Kernel.launch = play
