"""From the pixels of a file to the numbers that a network reads."""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, in the units of the images.

        mean[c] = sum_nhw images[n, c, h, w] / M              with M = N H W
        std[c]  = sqrt(sum_nhw (images[n, c, h, w] - mean[c])^2 / M)

    images: (N, C, H, W), integers or floats, M > 0.
    Returns (mean, std), each (C,) float64. M divides, not M - 1: these describe the
    images given, so that `standardise` gives them mean 0 and variance 1.

    Raises ValueError if the shape is another or M = 0, TypeError if images aren't
    numbers.
    """
    images = _check_images("channel_statistics", images)
    if images.size == 0:
        raise ValueError(
            f"channel_statistics: images have shape {images.shape}; "
            "statistics need at least one value"
        )
    mean, std = np.empty((2, images.shape[1]))
    for c in range(images.shape[1]):  # one at a time: smaller float64 copies
        channel = images[:, c].astype(np.float64)
        mean[c], std[c] = channel.mean(), channel.std()
    return mean, std


def standardise(
    images: np.ndarray,
    mean: ArrayLike,
    std: ArrayLike,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Shift and scale each channel.

        y[n, c, h, w] = (images[n, c, h, w] - mean[c]) / std[c]

    images: (N, C, H, W), integers or floats; mean, std: (C,), or one number for all
    channels, in the units of the images. Constants that are stated for pixels in
    [0, 1] (ImageNet's 0.485, 0.456, 0.406) are multiplied by 255 for uint8 pixels.

    Take mean and std from the training images and use them for the test images too.

    Returns a new (N, C, H, W) array of `dtype`, in C order; computed in `dtype`.
    Raises ValueError if shapes don't fit, or mean isn't finite, or std isn't finite
    and positive, all as `dtype`; TypeError if images aren't numbers, or `dtype` isn't
    a float type.
    """
    images = _check_images("standardise", images)
    dtype = np.dtype(dtype)
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(f"standardise: dtype is {dtype}; it needs a float type")
    mean = _per_channel("mean", mean, images.shape[1], dtype)
    std = _per_channel("std", std, images.shape[1], dtype)
    if not (std > 0).all():
        raise ValueError(
            f"standardise: std is {std.ravel()}; it needs to be positive "
            "(0 belongs to a channel with one value throughout)"
        )
    result = images.astype(dtype, order="C")
    result -= mean
    result /= std
    return result


def _check_images(operation: str, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"{operation}: images have shape {images.shape}; they need (N, C, H, W)"
        )
    if images.dtype.kind not in "uif":
        raise TypeError(
            f"{operation}: images are {images.dtype}; they need integers or floats"
        )
    return images


def _per_channel(
    name: str, value: ArrayLike, channels: int, dtype: np.dtype
) -> np.ndarray:
    """`value` as `dtype`, of shape (C, 1, 1) or (1, 1, 1)."""
    with np.errstate(over="ignore"):  # becomes infinite, which is reported below
        array = np.asarray(value, dtype=np.float64).astype(dtype)
    if array.shape not in ((), (1,), (channels,)):
        raise ValueError(
            f"standardise: {name} has shape {array.shape}; "
            f"images of {channels} channels need () or ({channels},)"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"standardise: {name} is {array}; it needs finite numbers")
    return array.reshape(-1, 1, 1)
