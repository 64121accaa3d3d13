"""Products of matrices."""

import numpy as np

Array = np.ndarray


def matmul(x: Array, z: Array) -> Array:
    """Y = X Z over the last two dimensions, broadcast over the ones before.

    Shapes. (..., M, K) and (..., K, L) -> (..., M, L).
    """
    return x @ z
