"""What all compiled loops share: how they are compiled."""

from collections.abc import Callable
from typing import Any

import numba
import numba.extending
import numpy as np

OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "no_cfunc_wrapper": True,  # to be called from C: a tenth of the compiler's time
    "error_model": "numpy",  # a division by 0 is no error
}
# Numba counts who holds an array, also while a loop hands it from one function to the
# next. The count is an atomic one: all stores before it must have arrived. A loop that
# counts for each block of numbers cannot write the next one meanwhile, and was up to
# four times as slow. The caller holds the arrays, so nobody needs to count; but then
# no function may return an array that it has not been given.
UNCOUNTED: dict[str, Any] = {**OPTIONS, "_nrt": False}

# Sums may be taken in another order than written, and a * b + c in one step: that lets
# loops run on whole registers. NaN and infinities come through as they do in NumPy.
compiled: Callable[[Callable[..., Any]], Any] = numba.njit(
    fastmath={"contract", "reassoc"}, **OPTIONS
)
in_order: Callable[[Callable[..., Any]], Any] = numba.njit(
    fastmath={"contract"}, **UNCOUNTED
)
# As written: what may be reordered or joined is said number by number, with vectors.
as_written: Callable[[Callable[..., Any]], Any] = numba.njit(**UNCOUNTED)
# Sums may be reordered, and nobody counts.
uncounted: Callable[[Callable[..., Any]], Any] = numba.njit(
    fastmath={"contract", "reassoc"}, **UNCOUNTED
)
inlined: Callable[[Callable[..., Any]], Any] = numba.njit(forceinline=True, **UNCOUNTED)

# What a loop does to each number, where the loop is made for it: see elementwise.py. It
# stays a function of Python, by whose name the cache knows its loop again.
formula: Callable[[Callable[..., Any]], Any] = numba.extending.register_jitable(
    fastmath={"contract", "reassoc"}, **{**UNCOUNTED, "cache": False}
)

NOTHING = np.float32(0)  # becomes a float64 where it meets one
