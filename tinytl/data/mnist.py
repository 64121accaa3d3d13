"""MNIST, from the official IDX files.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist.
"""

import os

import numpy as np

from tinytl.data.bundled import DIGIT_CLASSES, ImageSet, read_official
from tinytl.data.locate import counted, split_of

LICENCE = "CC BY-SA 3.0, according to Keras"


def mnist(
    split: str = "train",
    folder: str | os.PathLike[str] = "data",
    download: bool = False,
) -> ImageSet:
    """MNIST: handwritten digits, light on black.

    Args:
        split: "train" (60,000 images) or "test" (10,000).
        folder: where the four files are, .gz or unpacked. Fashion-MNIST's files have
            the same names: give it another folder.
        download: get them if they aren't there.

    Returns:
        Images (N, 1, 28, 28) uint8, labels 0 .. 9.

    Raises:
        ValueError: another split, or files that are damaged.
        FileNotFoundError: there are no such files; it says how to get them.
    """
    split_of("mnist", split, ("train", "test"))
    images, labels = read_official("mnist", folder, split, download)
    official = 60_000 if split == "train" else 10_000
    name = counted(f"MNIST, {split}", len(labels), official)
    labels = labels.astype(np.int64)
    return ImageSet(images[:, None], labels, DIGIT_CLASSES, name, LICENCE)
