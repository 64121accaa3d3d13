"""What all compiled loops share: how they are compiled, and ReLU."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",  # a division by 0 is no error
}

# Sums may be taken in another order than written, and a * b + c in one step: that lets
# loops run on whole registers. NaN and infinities come through as they do in NumPy.
compiled: Callable[[Callable[..., Any]], Any] = numba.njit(
    fastmath={"contract", "reassoc"}, **OPTIONS
)
in_order: Callable[[Callable[..., Any]], Any] = numba.njit(
    fastmath={"contract"}, **OPTIONS
)

NOTHING = np.float32(0)  # becomes a float64 where it meets one


@compiled
def gated(g, x, mean, scale, shift, relu):  # type: ignore[no-untyped-def]
    """g where the line through x is above 0, or `relu` is None; else 0."""
    if relu is None:
        return g
    return g if (x - mean) * scale + shift > NOTHING else NOTHING


@compiled
def bent(y, relu):  # type: ignore[no-untyped-def]
    """max(0, y), or y if `relu` is None."""
    if relu is None:
        return y
    return NOTHING if y < NOTHING else y
