"""Images made into other images: crops, flips, and other sizes. Arrays throughout.

The training images of L2T-ww go through ``random_crop_flip`` and ``imagenet_scale``,
the others through ``imagenet_scale`` alone; larger ones are brought to 32 x 32 by
``resize`` before.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike

from tinytl.data.transforms import standardise
from tinytl.functional import interpolate
from tinytl.tensor import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of red, green and blue in ImageNet's training images, on a scale of 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)

PRECISION = 22  # bits after the point of Pillow's weights
BLOCK = 1 << 22  # pixels at once


def imagenet_scale(images: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """uint8 images (N, 3, H, W), standardised by IMAGENET_MEAN and IMAGENET_STD.

        y[n, c, h, w] = (images[n, c, h, w] / 255 - mean[c]) / std[c]

    Raises:
        ValueError: the shape is another.
        TypeError: the images aren't uint8, so that nobody knows their scale.
    """
    images = _uint8("imagenet_scale", images)
    mean, std = 255 * np.array(IMAGENET_MEAN), 255 * np.array(IMAGENET_STD)
    return standardise(images, mean, std, dtype)


def random_crop_flip(
    images: np.ndarray,
    generator: np.random.Generator,
    padding: int = 4,
    flip: float = 0.5,
) -> np.ndarray:
    """Move each image by up to `padding` pixels, and mirror some left to right.

        y[n, c, i, j] = x[n, c, i + a[n], j + b[n]]      (0 where that is outside)

    with a and b uniform in -padding .. padding; then, with probability `flip`,
    y[n, c, i, W - 1 - j] takes the place of y[n, c, i, j]. It is torchvision's Pad,
    RandomCrop and RandomHorizontalFlip. Do it before standardising, as they do: what
    comes in at the border is black, which isn't 0 afterwards.

    Args:
        images: (N, C, H, W), any dtype.
        generator: source of randomness.
        padding: by how much an image may move, at most.
        flip: probability of the mirror image.

    Returns:
        A new array of the same shape and dtype.

    Raises:
        ValueError: the shape isn't (N, C, H, W), `padding` is negative, or `flip` isn't
            in [0, 1].
        TypeError: `generator` isn't a Generator.
    """
    images = np.asarray(images)
    if images.ndim != 4 or padding < 0 or not 0 <= flip <= 1:
        raise ValueError(
            f"random_crop_flip: images of shape {images.shape}, padding {padding} and "
            f"flip {flip}; it needs (N, C, H, W), at least 0, and between 0 and 1"
        )
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"random_crop_flip: generator is a {type(generator).__name__}; it needs a "
            "numpy.random.Generator, as numpy.random.default_rng(seed)"
        )
    n, _, height, width = images.shape
    rows, columns = generator.integers(0, 2 * padding + 1, (2, n))
    mirrored = generator.random(n) < flip
    sides = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(images, sides)
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (height, width), axis=(2, 3)
    )
    crops = windows[np.arange(n), :, rows, columns]  # (N, C, H, W), a copy
    crops[mirrored] = crops[mirrored, :, :, ::-1]
    return crops


def resize(images: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """uint8 images in another size, bit by bit as Pillow's BILINEAR makes them.

    When shrinking, the filter is as wide as two pixels of the result, so that every
    pixel counts ("antialiased"): from 96 to 32 its weights are [1, 2, 3, 2, 1] / 9,
    from 64 to 32 [1, 3, 3, 1] / 8, brought to sum 1 at the borders. What torch calls
    "bilinear" without ``antialias`` leaves pixels out, and networks notice.

    The weights are those of ``functional.interpolate(antialias=True)``, in Pillow's
    whole numbers: w becomes floor(2^22 w + 1/2). First the width is changed and rounded
    to uint8, then the height. (So does Pillow, but from version 13 on it takes the
    height first where that shrinks more; the rounding is another then.)

    Args:
        images: (N, C, H, W) uint8.
        size: new height and width, one number or two.

    Returns:
        (N, C, height, width) uint8.

    Raises:
        ValueError: the shape is another, or a size isn't positive.
        TypeError: the images aren't uint8.
    """
    images = _uint8("resize", images)
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    if height < 1 or width < 1 or 0 in images.shape[2:]:
        raise ValueError(
            f"resize: size {size} of images of shape {images.shape}; all sizes need to "
            "be 1 or more"
        )
    n, channels, *before = images.shape
    if (height, width) == tuple(before):
        return images.copy()
    y = np.empty((n, channels, height, width), np.uint8)
    across, down = _weights(before[1], int(width)), _weights(before[0], int(height))
    step = max(1, BLOCK // (channels * max(before[0], height) * max(before[1], width)))
    for k in range(0, n, step):
        x = images[k : k + step].astype(np.float64)
        if width != before[1]:
            x = _rounded(x @ across.T)
        if height != before[0]:
            x = _rounded(down @ x)
        y[k : k + step] = x
    return y


@lru_cache(maxsize=16)
def _weights(n: int, m: int) -> np.ndarray:
    """Matrix (m, n) of the filter: what interpolate makes of each unit vector."""
    units = Tensor(np.eye(n)[None, :, None, :])  # n channels of 1 x n pixels
    resized = interpolate(units, size=(1, m), mode="bilinear", antialias=True)
    return np.floor(resized.data[0, :, 0].T * 2**PRECISION + 0.5)


def _rounded(sums: np.ndarray) -> np.ndarray:
    """To whole numbers, half upwards. All sums are below 2^53, so floats are exact."""
    return np.clip(np.floor((sums + 2 ** (PRECISION - 1)) / 2**PRECISION), 0, 255)


def _uint8(operation: str, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"{operation}: images have shape {images.shape}; they need (N, C, H, W)"
        )
    if images.dtype != np.uint8:
        raise TypeError(f"{operation}: images are {images.dtype}; they need uint8")
    return images
