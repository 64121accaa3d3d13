"""Resizing in NumPy: a weighted sum of a few pixels, along one axis or two."""

import numpy as np

Array = np.ndarray


def resample(x: Array, index: Array, weight: Array, axis: int) -> Array:
    """y at o along `axis` = sum over k of weight[o,k] * x at index[o,k].

    Every resizing, adaptive pooling and reflecting border is such a map along one axis
    after another. index is (O, K) int64, weight (O, K).
    """
    along = [1] * x.ndim
    along[axis] = len(index)
    y = np.zeros((*x.shape[:axis], len(index), *x.shape[axis + 1 :]), x.dtype)
    for k in range(index.shape[1]):
        tap = weight[:, k].reshape(along).astype(x.dtype)
        y += x.take(index[:, k], axis) * tap
    return y


def resample_image(
    x: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]
) -> Array:
    """Both sides of images (N,C,H,W) resampled, each by its own (index, weight)."""
    return resample(resample(x, *rows, 2), *columns, 3)
