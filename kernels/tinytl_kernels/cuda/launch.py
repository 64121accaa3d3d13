"""How kernels for GPUs are declared, and in which shape they are launched.

A *kernel* is a function that every thread of a grid runs. A grid consists of blocks,
a block of threads, and only the threads of one block can wait for one another and share
memory. Each kernel here is compiled when it is first launched, for the types it gets.

Kernels take arrays that are contiguous in C order; the functions around them see to it.
Numbers that stay the same are passed as np.int32 or in the arrays' own dtype: a Python
float is float64 on the device, where one such number makes a whole formula slow.
"""

import importlib
from collections.abc import Callable
from typing import Any

from ..devices import INSTALL

Array = Any  # a CuPy array
Int32 = Any  # np.int32

try:  # here alone
    cuda: Any = importlib.import_module("numba.cuda")
    config: Any = importlib.import_module("numba.cuda.core.config")
except ImportError as error:
    raise ImportError(f"kernels for a GPU need numba-cuda: {INSTALL}") from error

# Numba would wait for the device before it takes an array from CuPy. But both put their
# work on the same stream, where everything happens in the order it was asked for.
config.CUDA_ARRAY_INTERFACE_SYNC = 0

# Numba's simulator plays a grid in Python, thread by thread: it gets small blocks, and
# few of them, which have the same edges and take the same loops as large ones.
SIMULATED = bool(config.ENABLE_CUDASIM)
TILE = 4 if SIMULATED else 16  # side of a square block of threads
THREADS = 8 if SIMULATED else 256  # in a block that adds up; a power of 2
ACROSS, DOWN = (4, 2) if SIMULATED else (32, 8)  # a block over pixels and planes
MOST = 1 << 16  # blocks in a grid of rows, which then goes on in steps of its own size
MOST_ACROSS, MOST_DOWN = (2, 2) if SIMULATED else (1024, 32768)  # such blocks in a grid


class Kernel:
    """A function for the device, and what checks need to know of it.

    Attributes:
        function: the Python function that every thread runs.
        name: its name.
        compiled: Numba's dispatcher, which compiles it for the types that come.
    """

    def __init__(self, function: Callable[..., None]):
        self.function = function
        self.name = function.__name__
        self.compiled = cuda.jit(function)
        KERNELS[self.name] = self

    def launch(
        self, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any
    ) -> None:
        """Run it on a grid of `blocks`, each of `threads`; on none, do nothing."""
        if 0 not in blocks:
            self.compiled[blocks, threads](*arguments)


KERNELS: dict[str, Kernel] = {}


def kernel(function: Callable[..., None]) -> Kernel:
    """Make a function a Kernel: ``@kernel``."""
    return Kernel(function)


def device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function one that kernels can call; its code is put in their place."""
    return cuda.jit(function, device=True, inline="always")


def flat_grid(size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and threads for one thread per value."""
    return (min(-(-size // THREADS), MOST_ACROSS),), (THREADS,)


def pixel_grid(planes: int, pixels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and threads for one thread per pixel of each plane.

    Neighbouring threads take neighbouring pixels, so that a warp reads and writes one
    piece of memory. Larger grids than the limits go on in steps of the grid's size.
    """
    across = min(-(-pixels // ACROSS), MOST_ACROSS)
    down = min(-(-planes // DOWN), MOST_DOWN)
    return (across, down), (ACROSS, DOWN)


@device
def block_sum(value: Any, shared: Array) -> Any:
    """Sum of `value` over the THREADS threads of a block, for all of them to know.

    Halves add their partners' values until one is left: log2(THREADS) steps, in an
    order that does not change. `shared` holds one number a thread.
    """
    t = cuda.threadIdx.x
    shared[t] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    total = shared[0]
    cuda.syncthreads()  # all have read before anyone writes again
    return total
