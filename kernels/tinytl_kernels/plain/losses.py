"""Softmax, its logarithm and their gradients in NumPy: cross-entropy needs them too."""

import numpy as np

Array = np.ndarray


def softmax(x: Array, axis: int) -> Array:
    """y = exp(x) / sum of exp(x) along `axis`, computed with x - max(x)."""
    e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    e /= e.sum(axis=axis, keepdims=True)
    return e


def log_softmax(x: Array, axis: int) -> Array:
    """y = x - log of sum of exp(x) along `axis`, computed with x - max(x)."""
    low = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore"):  # log 0, where there is nothing to add up
        return low - np.log(np.exp(low).sum(axis=axis, keepdims=True))


def softmax_dx(g: Array, x: Array, axis: int) -> Array:
    """y * (g - sum of g * y along `axis`), with y = softmax(x)."""
    y = softmax(x, axis)
    mean = (g * y).sum(axis=axis, keepdims=True)
    return y * (g - mean)


def log_softmax_dx(g: Array, x: Array, axis: int) -> Array:
    """g - softmax(x) * sum of g along `axis`."""
    total = g.sum(axis=axis, keepdims=True)
    return g - softmax(x, axis) * total
