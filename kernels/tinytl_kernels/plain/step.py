"""A step of gradient descent in NumPy."""

import numpy as np

Array = np.ndarray


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
    """New parameter p and velocity v from the gradient g, all of one shape.

        g <- g + weight_decay * p
        v <- g in the first step (v is None), momentum * v + (1 - dampening) * g after
        p <- p - lr * v, or p - lr * (g + momentum * v) with nesterov

    Without momentum v is g, and None is returned for it.
    """
    if weight_decay:
        g = g + weight_decay * p
    if not momentum:
        return p - lr * g, None
    v = g if v is None else momentum * v + (1 - dampening) * g
    return p - lr * (g + momentum * v if nesterov else v), v
