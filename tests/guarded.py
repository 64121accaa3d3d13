"""Convolutions whose arrays end, or begin, where a page begins that may not be touched.

A kernel that reads or writes beside its arrays often goes unnoticed: what lies there is
another array. Here that ends the process, and what is read of a fresh array before it
was written is not a number. So this runs in a process of its own (see test_guarded.py):

    python tests/guarded.py end
"""

import ctypes
import importlib
import math
import mmap
import pkgutil
import sys
import types

import numpy as np
import tinytl_kernels.cpu
import tinytl_kernels.memory
from test_convolution_forms import SHAPES, problem, three
from test_depthwise import CASES
from tinytl_kernels import plain, threads

DEPTHWISE = {
    f"depthwise, {name}, {c}": (2, c, c, size, kernel, stride, padding, dilation, c)
    for name, (kernel, stride, padding, dilation, size) in CASES.items()
    for c in (2, 16, 19)
}
NOBODY = 0  # PROT_NONE of mmap(2)
mprotect = ctypes.CDLL(None, use_errno=True).mprotect
mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """Makes arrays between two pages that may not be touched."""

    def __init__(self, side):
        self.side = side

    def empty(self, shape, dtype=float):
        """np.empty, filled with NaN, directly at one of the pages."""
        shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        room = max(1, -(-size // mmap.PAGESIZE)) * mmap.PAGESIZE
        memory = mmap.mmap(-1, room + 2 * mmap.PAGESIZE)
        first = np.frombuffer(memory, np.uint8).ctypes.data
        for page in (first, first + mmap.PAGESIZE + room):
            assert mprotect(page, mmap.PAGESIZE, NOBODY) == 0
        away = room - size if self.side == "end" else 0
        x = np.ndarray(shape, dtype, memory, mmap.PAGESIZE + away)
        x[...] = np.nan if x.dtype.kind == "f" else -1
        return x

    def zeros(self, shape, dtype=float):
        x = self.empty(shape, dtype)
        x[...] = 0
        return x

    def ascontiguousarray(self, x):
        return self.copy(x) if not x.flags.c_contiguous else x

    def copy(self, x):
        y = self.empty(x.shape, x.dtype)
        y[...] = x
        return y

    def install(self):
        """Let the kernels' modules make their arrays here."""
        numpy = types.ModuleType("numpy")
        numpy.__getattr__ = lambda name: getattr(np, name)
        for name in ("empty", "zeros", "ascontiguousarray"):
            setattr(numpy, name, getattr(self, name))
        for found in pkgutil.iter_modules(tinytl_kernels.cpu.__path__):
            module = importlib.import_module(f"tinytl_kernels.cpu.{found.name}")
            if found.name not in ("cache", "compiled"):
                for name, mine in (("np", numpy), ("empty", self.empty)):
                    if hasattr(module, name):
                        setattr(module, name, mine)
        threads.aligned = self.empty


def main():
    guarded = Guarded(sys.argv[1])
    from tinytl_kernels import cpu

    guarded.install()
    threads.set_num_threads(3)
    threads.SMALL = 0
    for name, shape in (SHAPES | DEPTHWISE).items():
        print(name, flush=True)  # the last one is the culprit
        threads._own.kept.clear()
        *arrays, view, groups = problem(shape, "float32")
        wanted = three(plain, *arrays, view, groups)
        got = three(cpu, *map(guarded.copy, arrays), view, groups)
        for ours, theirs in zip(got, wanted, strict=True):
            assert abs(ours - theirs).max() <= 1e-4 * abs(theirs).max()


if __name__ == "__main__":
    main()
