"""Operations on Tensors, with torch's names, arguments and meaning.

One family a file. An operation is one function: formula, shapes, backward and source in
the docstring; then the value; then ``record``. Wherever a Tensor is taken, an array or
a number will do. Arguments that torch has deprecated are left out, and what stood
behind them is keyword-only, so that a position never means something else.
"""

from .activations import (
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    prelu,
    relu,
    relu6,
    sigmoid,
    softmax,
    softplus,
    step,
    tanh,
)
from .basic import (
    abs,
    add,
    clamp,
    div,
    exp,
    log,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    sqrt,
    sub,
    where,
)
from .conv import conv2d
from .dropout import dropout
from .linear import linear, matmul
from .losses import cross_entropy, mse_loss, nll_loss
from .norm import batch_norm, batch_norm_relu
from .pad import pad
from .pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d, sum_pool2d
from .promote import to
from .reduce import amax, amin, expand, mean, sum, var
from .resize import interpolate
from .shape import (
    cat,
    flatten,
    gather,
    getitem,
    permute,
    reshape,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)

__all__ = [
    "abs",
    "adaptive_avg_pool2d",
    "add",
    "amax",
    "amin",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "cat",
    "clamp",
    "conv2d",
    "cross_entropy",
    "div",
    "dropout",
    "exp",
    "expand",
    "flatten",
    "gather",
    "getitem",
    "hardsigmoid",
    "hardswish",
    "interpolate",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "mse_loss",
    "mul",
    "neg",
    "nll_loss",
    "pad",
    "permute",
    "pow",
    "prelu",
    "relu",
    "relu6",
    "reshape",
    "sigmoid",
    "softmax",
    "softplus",
    "sqrt",
    "squeeze",
    "stack",
    "step",
    "sub",
    "sum",
    "sum_pool2d",
    "tanh",
    "to",
    "transpose",
    "unsqueeze",
    "var",
    "where",
]
