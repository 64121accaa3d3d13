"""The kernel set for GPUs: numba-cuda kernels and cuBLAS, on CuPy arrays.

Nothing here imports CuPy: arrays that come from it bring it along (``namespace``). Sums
are made in a fixed order, without atomics, so that equal runs give equal bits.
"""

from .forms import conv, conv_dw, conv_dx
from .pool import gather, max_pool_index, scatter, sum_pool, sum_pool_dx

__all__ = [
    "conv",
    "conv_dw",
    "conv_dx",
    "gather",
    "max_pool_index",
    "scatter",
    "sum_pool",
    "sum_pool_dx",
]
