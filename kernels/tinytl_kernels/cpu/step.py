"""A step of gradient descent in one pass, on all threads; see plain/step.py.

Each number goes through the operations of the plain step in their order, rounded after
each, so that both sets take the same step bit by bit.
"""

import numpy as np

from .. import plain
from ..memory import empty
from ..threads import run
from .compiled import as_written

Array = np.ndarray

SMALL = 1 << 12  # numbers below which NumPy's four passes are faster than a call


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
    """New parameter p and velocity v from the gradient g: see plain.sgd_step."""
    given = (p, g) if v is None else (p, g, v)
    alike = all(a.dtype == p.dtype and a.flags.c_contiguous for a in given)
    if p.size < SMALL or not alike or p.dtype not in (np.float32, np.float64):
        options = (lr, momentum, dampening, weight_decay, nesterov)
        return plain.sgd_step(p, g, v, *options)
    new = empty(p.shape, p.dtype)
    w = empty(p.shape, p.dtype) if momentum else None
    rates = np.array([lr, momentum, 1 - dampening, weight_decay], p.dtype)
    flat = [a.reshape(-1) for a in (new, new if w is None else w, p, g, given[-1])]
    how = (w is not None, v is None, nesterov)
    run(_step, p.size, *flat, rates, how, work=2 * p.size)
    return new, w


@as_written
def _step(first, last, new, w, p, g, v, rates, how):  # type: ignore[no-untyped-def]
    """Numbers first..last-1; w is for momentum alone, v for all steps but the first."""
    lr, momentum, fresh, weight_decay = rates
    moving, start, nesterov = how
    new, w = new[first:last], w[first:last]
    p, g, v = p[first:last], g[first:last], v[first:last]
    for k in range(len(p)):
        d = g[k] + weight_decay * p[k] if weight_decay else g[k]
        if moving:
            speed = d if start else momentum * v[k] + fresh * d
            w[k] = speed
            d = d + momentum * speed if nesterov else speed
        new[k] = p[k] - lr * d
