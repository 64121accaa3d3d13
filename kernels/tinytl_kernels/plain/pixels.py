"""Sums over the pixels of each image and channel, in NumPy."""

import numpy as np

Array = np.ndarray


def product_sums(x: Array, z: Array) -> Array:
    """The sum over the pixels of x z: (N, C), for images x and z."""
    return np.einsum("nchw,nchw->nc", x, z)


def difference_squares(
    x: Array, z: Array, weight: Array | None = None
) -> tuple[Array, Array]:
    """y = x - z, and the sum over the pixels of weight y^2, (N, C); no weight is 1."""
    y = x - z
    return y, product_sums(y, y if weight is None else y * weight)
