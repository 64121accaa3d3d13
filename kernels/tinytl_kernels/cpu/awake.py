"""Waiting awake, for a moment and without Python's lock, until other threads are done.

A thread that sleeps is awake again some microseconds after it is woken, and maybe on
another core, where nothing that it computed is in the caches.
"""

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .compiled import as_written
from .simd import address, compiled_as

ROUNDS = 2000  # some 50 us, and half as long again on some processors
AFTER = 40  # rounds in which a thread that has said so lets go of Python's lock


@intrinsic
def _look(typing: Any, x: Any, i: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(builder.module.declare_intrinsic(name, (), kind), [])
        place = address(context, builder, x, *args)
        return builder.load_atomic(place, "acquire", x.dtype.bitwidth // 8)

    return x.dtype(x, i), emit


@compiled_as(_look)
def look(x: np.ndarray, i: int) -> int:
    """x[i] as another thread has left it, after the pause that a processor asks for."""
    return x[i]


@as_written
def watch(done):  # type: ignore[no-untyped-def]
    """Return when no number of `done` is 0 any more, or when too long has passed."""
    left = ROUNDS
    for k in range(len(done)):
        while left and not look(done, k):
            left -= 1
    if left:
        for _ in range(AFTER):
            look(done, 0)
