"""What is done to every number by itself, in NumPy."""

import numpy as np

Array = np.ndarray


def ufunc(name: str, *arrays: Array) -> Array:
    """NumPy's function of this name, as "multiply" or "exp", of one array or two.

    Asked for large arrays alone: small ones are faster without asking.
    """
    return getattr(np, name)(*arrays)


def add_to(y: Array, z: Array) -> Array:
    """y + z in the memory of y, which nobody has seen yet. Shapes and dtypes equal."""
    y += z
    return y


def total(x: Array, axes: tuple[int, ...]) -> Array:
    """Sum over `axes`, which stay, with size 1."""
    return x.sum(axis=axes, keepdims=True)


def keep(x: Array, mask: Array) -> Array:
    """x where `mask` holds, 0 elsewhere; the mask broadcasts to x.

    The bits, read as an integer, times 1 or 0. Multiplying the number itself would make
    NaN of an infinity that is not kept, and np.where is ten times slower, because no
    processor can guess what a random mask will say next.
    """
    return (x.view(f"u{x.itemsize}") * mask).view(x.dtype)


def ramp(x: Array, top: float | None) -> tuple[Array, Array]:
    """min(max(x, 0), top), and where its slope is 1: 0 < x < top. No top for None."""
    if top is None:
        return np.maximum(x, 0), x > 0
    return np.clip(x, 0, top), (x > 0) & (x < top)


def bend(g: Array, x: Array, slope: float) -> Array:
    """g where x > 0, slope * g elsewhere: leaky ReLU's gradient; its value if g = x."""
    return np.where(x > 0, g, slope * g)


def hardsigmoid(x: Array) -> Array:
    """min(max(x + 3, 0), 6) / 6."""
    return np.clip(x + 3, 0, 6) * (1 / 6)


def hardsigmoid_dx(g: Array, x: Array) -> Array:
    """g / 6 where -3 < x < 3, else 0."""
    return keep(g * (1 / 6), (x > -3) & (x < 3))


def hardswish(x: Array) -> Array:
    """x * hardsigmoid(x)."""
    return x * hardsigmoid(x)


def hardswish_dx(g: Array, x: Array) -> Array:
    """g times hardswish's slope: 0 for x <= -3, 1 for x >= 3, x / 3 + 1 / 2 between."""
    inner = g * (x * (1 / 3) + 0.5)
    return np.where(x >= 3, g, keep(inner, ~(x <= -3)))


def softplus(x: Array, beta: float, threshold: float) -> Array:
    """log(1 + exp(b)) / beta with b = beta * x, and x where b > threshold.

    As (max(b, 0) + log(1 + exp(-|b|))) / beta: exp(b) overflows, exp(-|b|) does not.
    """
    b = x * beta
    smooth = (np.maximum(b, 0) + np.log1p(np.exp(-np.abs(b)))) / beta
    return np.where(b > threshold, x, smooth)


def softplus_dx(g: Array, x: Array, beta: float, threshold: float) -> Array:
    """g times softplus' slope: sigmoid(b), and 1 where b > threshold."""
    b = x * beta
    return np.where(b > threshold, g, g * sigmoid(b))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), with exp(-|x|), which cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_dx(g: Array, x: Array) -> Array:
    """g times sigmoid's slope, e / (1 + e)^2 with e = exp(-|x|)."""
    e = np.exp(-np.abs(x))
    return g * (e / np.square(1 + e))


def tanh_dx(g: Array, x: Array) -> Array:
    """g times tanh's slope, 4 e / (1 + e)^2 with e = exp(-2 |x|)."""
    return sigmoid_dx(4 * g, 2 * x)
