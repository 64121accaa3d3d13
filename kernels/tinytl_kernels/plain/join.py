"""Arrays one after the other, in NumPy."""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def concatenate(arrays: Sequence[Array], axis: int) -> Array:
    """Arrays one after the other along `axis`; other sizes are equal."""
    return np.concatenate(arrays, axis)
