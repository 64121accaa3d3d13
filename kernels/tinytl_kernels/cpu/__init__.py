"""The kernel set for CPUs: compiled loops where they win, the plain set elsewhere.

Importing it loads numba. The first call of a kernel compiles it, a few seconds the
first time on a machine; the result is kept on disk beside the source.
"""

from pathlib import Path

from numba.core import event

from ..threads import wait_awake
from . import direct_loops
from .awake import watch
from .cache import Announcement, forget_stale
from .conv import conv, conv_dw, conv_dx
from .elementwise import (
    bend,
    hardsigmoid,
    hardsigmoid_dx,
    hardswish,
    hardswish_dx,
    keep,
    ramp,
    sigmoid,
    sigmoid_dx,
    softplus,
    softplus_dx,
    tanh_dx,
)
from .join import concatenate
from .losses import log_softmax, log_softmax_dx, softmax, softmax_dx
from .matmul import matmul
from .norm import (
    add_per_channel,
    line,
    line_mix,
    line_mix2,
    line_mix_gated,
    line_sums,
    line_sums2,
    moments,
    sum_per_channel,
)
from .pixels import difference_squares, product_sums
from .pool import gather, max_pool, scatter
from .pool_sums import sum_pool, sum_pool_dx
from .resize import resample, resample_image
from .simd import COMPILED
from .step import sgd_step
from .ufunc import add_to, total, ufunc

__all__ = [
    "add_per_channel",
    "add_to",
    "bend",
    "concatenate",
    "conv",
    "conv_dw",
    "conv_dx",
    "difference_squares",
    "gather",
    "hardsigmoid",
    "hardsigmoid_dx",
    "hardswish",
    "hardswish_dx",
    "keep",
    "line",
    "line_mix",
    "line_mix2",
    "line_mix_gated",
    "line_sums",
    "line_sums2",
    "log_softmax",
    "log_softmax_dx",
    "matmul",
    "max_pool",
    "moments",
    "product_sums",
    "ramp",
    "resample",
    "resample_image",
    "scatter",
    "sgd_step",
    "sigmoid",
    "sigmoid_dx",
    "softmax",
    "softmax_dx",
    "softplus",
    "softplus_dx",
    "sum_per_channel",
    "sum_pool",
    "sum_pool_dx",
    "tanh_dx",
    "total",
    "ufunc",
]

if COMPILED:
    event.register("numba:compile", Announcement())
    forget_stale(Path(str(direct_loops.convolve.stats.cache_path)))
    wait_awake(watch)
