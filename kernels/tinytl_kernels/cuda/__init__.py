"""The kernel set for GPUs: numba-cuda kernels and cuBLAS, on CuPy arrays.

Nothing here imports CuPy: arrays that come from it bring it along (``namespace``). Sums
are made in a fixed order, without atomics, so that equal runs give equal bits.
"""

from .elementwise import (
    add_to,
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
    total,
    ufunc,
)
from .forms import conv, conv_dw, conv_dx
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
from .pool import gather, max_pool, scatter, sum_pool, sum_pool_dx
from .resize import resample, resample_image
from .step import sgd_step

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
