"""CIFAR-10 and CIFAR-100, from the official binary files.

A record is one or two bytes of labels and 3,072 of pixels: 32 x 32 red, then green,
then blue, each row by row. CIFAR-100's two labels are the coarse one (20 superclasses)
first, and then the fine one (100 classes).

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009),
https://www.cs.toronto.edu/~kriz/cifar.html. The page asks to cite this report and
states no licence.
"""

import os

import numpy as np

from tinytl.data.bundled import ImageSet
from tinytl.data.locate import counted, locate, read_files, split_of, text_lines

PIXELS = 3 * 32 * 32
MOST = 1 << 28  # bytes of one file; the largest official one has 153,700,000
MOST_TEXT = 1 << 16
LICENCE = "none stated; cite Krizhevsky 2009"

CIFAR10_FILES = {
    "train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    "test": ("test_batch.bin",),
}
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def cifar10(
    split: str = "train",
    folder: str | os.PathLike[str] = "data",
    download: bool = False,
) -> ImageSet:
    """CIFAR-10: ten kinds of animals and vehicles.

    Args:
        split: "train" (50,000 images, the five batches in order) or "test" (10,000).
        folder: where cifar-10-binary.tar.gz is, or cifar-10-batches-bin, or the path of
            one of these; the archive is read without unpacking it.
        download: get the archive if it isn't there.

    Returns:
        Images (N, 3, 32, 32) uint8, labels 0 .. 9. Where N isn't the official number,
        `name` says so.

    Raises:
        ValueError: another split, or files that are damaged.
        FileNotFoundError: there are no such files; it says how to get them.
    """
    split_of("cifar10", split, tuple(CIFAR10_FILES))
    path = locate("cifar10", folder, "cifar-10", "cifar-10-batches-bin", download)
    wanted = dict.fromkeys(CIFAR10_FILES[split], MOST)
    files = read_files("cifar10", path, "cifar-10-batches-bin", wanted)
    parts = [_records("cifar10", name, files[name], 1) for name in wanted]
    labels, images = (np.concatenate(column) for column in zip(*parts, strict=True))
    official = 50_000 if split == "train" else 10_000
    name = counted(f"CIFAR-10, {split}", len(labels), official)
    labels = _labels("cifar10", labels[:, 0], len(CIFAR10_CLASSES))
    return ImageSet(images, labels, CIFAR10_CLASSES, name, LICENCE)


def cifar100(
    split: str = "train",
    folder: str | os.PathLike[str] = "data",
    download: bool = False,
    *,
    coarse: bool = False,
) -> ImageSet:
    """CIFAR-100: a hundred kinds of things, in twenty superclasses.

    Args:
        split: "train" (50,000 images) or "test" (10,000).
        folder: where cifar-100-binary.tar.gz is, or cifar-100-binary, or the path of
            one of these; the archive is read without unpacking it.
        download: get the archive if it isn't there.
        coarse: labels and classes are the twenty superclasses.

    Returns:
        Images (N, 3, 32, 32) uint8, labels 0 .. 99 (0 .. 19). Where N isn't the
        official number, `name` says so.

    Raises:
        ValueError: another split, or files that are damaged.
        FileNotFoundError: there are no such files; it says how to get them.
    """
    split_of("cifar100", split, ("train", "test"))
    path = locate("cifar100", folder, "cifar-100", "cifar-100-binary", download)
    kind = "coarse" if coarse else "fine"
    names = f"{kind}_label_names.txt"
    wanted = {f"{split}.bin": MOST, names: MOST_TEXT}
    files = read_files("cifar100", path, "cifar-100-binary", wanted)
    labels, images = _records("cifar100", f"{split}.bin", files[f"{split}.bin"], 2)
    classes = tuple(text_lines("cifar100", names, files[names]))
    if len(classes) != (20 if coarse else 100):
        raise ValueError(f"cifar100: {names} has {len(classes)} classes; get it again")
    official = 50_000 if split == "train" else 10_000
    name = counted(f"CIFAR-100, {kind}, {split}", len(labels), official)
    labels = _labels("cifar100", labels[:, 0 if coarse else 1], len(classes))
    return ImageSet(images, labels, classes, name, LICENCE)


def _records(
    operation: str, name: str, content: bytes, labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, labels) and images (N, 3, 32, 32) of one file."""
    size = labels + PIXELS
    if not content or len(content) % size:
        raise ValueError(
            f"{operation}: {name} has {len(content):,} bytes, which is no multiple of "
            f"{size}: it is cut short or another file; get it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    images = records[:, labels:].reshape(-1, 3, 32, 32).copy()
    return records[:, :labels], images


def _labels(operation: str, labels: np.ndarray, classes: int) -> np.ndarray:
    if labels.max() >= classes:
        raise ValueError(
            f"{operation}: a label is {labels.max()}, and there are {classes} classes: "
            "the file is damaged or another one; get it again"
        )
    return labels.astype(np.int64)
