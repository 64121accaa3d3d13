"""Sums, differences and products of two large arrays, a part on each thread.

NumPy computes them on one, but lets go of Python's lock meanwhile.
"""

import numpy as np

from ..threads import get_num_threads, run

Array = np.ndarray


def binary(name: str, x: Array, z: Array) -> Array:
    """NumPy's function of this name; see plain.binary.

    The result lies in memory as the larger of the two does; of two that are as large,
    as the one whose numbers are all there: a repeated one's order means nothing.
    """
    function = getattr(np, name)
    big = max(x, z, key=lambda a: (a.size, -a.strides.count(0)))
    alike = x.dtype == z.dtype and x.ndim == z.ndim > 1 and get_num_threads() > 1
    if not alike or np.broadcast_shapes(x.shape, z.shape) != big.shape:
        return function(x, z)
    y = np.empty_like(big)

    def part(first: int, last: int) -> None:
        left, right = (a[first:last] if len(a) == len(y) else a for a in (x, z))
        function(left, right, out=y[first:last])

    run(part, len(y), work=y.size)
    return y
