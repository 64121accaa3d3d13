"""A step of gradient descent on a GPU, in one pass over memory."""

from typing import Any

import numpy as np

from .. import namespace
from .launch import Array, Int32, cuda, flat_grid, kernel


@kernel
def sgd_kernel(
    p: Array,
    g: Array,
    v: Array,
    lr: Any,
    momentum: Any,
    kept: Any,
    decay: Any,
    first: Int32,
    nesterov: Int32,
    new_p: Array,
    new_v: Array,
) -> None:
    """v <- momentum * v + kept * g', p <- p - lr * v, where g' = g + decay * p.

    In the `first` step v is g'; with `nesterov` p <- p - lr * (g' + momentum * v).
    A block takes a piece of the values, a thread one value at a time.
    Traffic. Three values read, two written; one array operation after another would
    read eight and write five.
    Arithmetic. 6 operations. Limit: memory.
    """
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        of_g = g[i] + decay * p[i]
        of_v = of_g if first != 0 else momentum * v[i] + kept * of_g
        new_v[i] = of_v
        new_p[i] = p[i] - lr * (of_g + momentum * of_v if nesterov != 0 else of_v)


def sgd_step(
    p: Array,
    g: Array,
    v: Array | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> tuple[Array, Array | None]:
    """New parameter p and velocity v from the gradient g; see plain.sgd_step."""
    xp = namespace(p)
    new_p, new_v = xp.empty(p.shape, p.dtype), xp.empty(p.shape, p.dtype)
    given = (xp.ascontiguousarray(a).reshape(-1) for a in (p, g, g if v is None else v))
    numbers = map(p.dtype.type, (lr, momentum, 1 - dampening, weight_decay))
    flags = np.int32(v is None), np.int32(nesterov)
    results = new_p.reshape(-1), new_v.reshape(-1)
    sgd_kernel.launch(*flat_grid(p.size), *given, *numbers, *flags, *results)
    return new_p, new_v if momentum else None
