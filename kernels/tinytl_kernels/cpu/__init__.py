"""The kernel set for CPUs: compiled loops where they win, the plain set elsewhere.

Importing it loads numba. The first call of a kernel compiles it, a few seconds the
first time on a machine; the result is kept on disk beside the source.
"""

from ..plain import (
    conv,
    conv_dw,
    conv_dx,
    gather,
    keep,
    moments,
    resample,
    standardise,
    standardise_dx,
    sum_pool,
    sum_pool_dx,
)
from .pool import max_pool_index, scatter

__all__ = [
    "conv",
    "conv_dw",
    "conv_dx",
    "gather",
    "keep",
    "max_pool_index",
    "moments",
    "resample",
    "scatter",
    "standardise",
    "standardise_dx",
    "sum_pool",
    "sum_pool_dx",
]
