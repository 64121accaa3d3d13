"""STL-10, from the official binary files.

Four things are unlike CIFAR-10. Images are 96 x 96 and stand *column by column* in each
channel. Labels are 1 .. 10, here 0 .. 9. The order of the classes is another: label 1
is a bird there and a car here. And there are ten official folds, lists of 1,000 of the
5,000 training images, for training with few labels.

Source: A. Coates, H. Lee, A. Y. Ng, An Analysis of Single-Layer Networks in
Unsupervised Feature Learning, AISTATS 2011, https://cs.stanford.edu/~acoates/stl10. The
images come from ImageNet, whose terms allow non-commercial research and education.
"""

import os

import numpy as np

from tinytl.data.bundled import ImageSet
from tinytl.data.locate import counted, locate, read_files, split_of, text_lines

SIZE = 96
PIXELS = 3 * SIZE * SIZE
MOST = 1 << 28  # bytes of one file; test_X.bin has 221,184,000
MOST_TEXT = 1 << 20
FOLDS = 10
OFFICIAL_SIZE = {"train": 5000, "test": 8000}
LICENCE = "none stated; images from ImageNet, for non-commercial research"


def stl10(
    split: str = "train",
    folder: str | os.PathLike[str] = "data",
    download: bool = False,
    *,
    fold: int | None = None,
) -> ImageSet:
    """STL-10: ten kinds of animals and vehicles, few and large.

    Args:
        split: "train" (5,000 images) or "test" (8,000). The 100,000 images without
            labels aren't read.
        folder: where stl10_binary.tar.gz is, or stl10_binary, or the path of one of
            these. The archive is read to its end, all 2.6 GB of it; unpacked it goes
            faster, see ``tinytl.data.unpack``.
        download: get the archive if it isn't there (2.6 GB).
        fold: 0 .. 9 for one of the official lists of training images.

    Returns:
        Images (N, 3, 96, 96) uint8, labels 0 .. 9. Where N isn't the official number,
        `name` says so.

    Raises:
        ValueError: another split or fold, or files that are damaged.
        FileNotFoundError: there are no such files; it says how to get them.
    """
    split_of("stl10", split, tuple(OFFICIAL_SIZE))
    if fold is not None and (split != "train" or fold not in range(FOLDS)):
        raise ValueError(
            f"stl10: fold = {fold!r} of split {split!r}; there are folds 0 to "
            f"{FOLDS - 1} of 'train'"
        )
    path = locate("stl10", folder, "stl-10", "stl10_binary", download)
    pixels, labels, names, folds = (
        f"{split}_X.bin",
        f"{split}_y.bin",
        "class_names.txt",
        "fold_indices.txt",
    )
    wanted = {pixels: MOST, labels: MOST_TEXT, names: MOST_TEXT}
    if fold is not None:
        wanted[folds] = MOST_TEXT
    files = read_files("stl10", path, "stl10_binary", wanted)
    classes = tuple(text_lines("stl10", names, files[names]))
    found = ImageSet(
        _images(pixels, files[pixels]),
        _labels(labels, files[labels], len(files[pixels]) // PIXELS, len(classes)),
        classes,
        f"STL-10, {split}",
        LICENCE,
    )
    name = counted(found.name, len(found), OFFICIAL_SIZE[split])
    if fold is not None:
        found = found.take(_fold(folds, files[folds], fold, len(found)))
        name += f", fold {fold}"
    return ImageSet(found.images, found.labels, classes, name, LICENCE)


def _images(name: str, content: bytes) -> np.ndarray:
    if not content or len(content) % PIXELS:
        raise ValueError(
            f"stl10: {name} has {len(content):,} bytes, which is no multiple of "
            f"{PIXELS:,}: it is cut short or another file; get it again"
        )
    columns = np.frombuffer(content, np.uint8).reshape(-1, 3, SIZE, SIZE)
    return columns.swapaxes(2, 3).copy()


def _labels(name: str, content: bytes, images: int, classes: int) -> np.ndarray:
    labels = np.frombuffer(content, np.uint8).astype(np.int64) - 1
    wrong = len(labels) != images or labels.min() < 0 or labels.max() >= classes
    if wrong:
        raise ValueError(
            f"stl10: {name} has {len(labels)} labels for {images} images, and they "
            f"need to be from 1 to {classes}; get it again"
        )
    return labels


def _fold(name: str, content: bytes, fold: int, images: int) -> np.ndarray:
    """Indices of a fold: one line of the file, in decimal; they exceed a byte."""
    lines = text_lines("stl10", name, content)
    try:
        index = np.array([int(number) for number in lines[fold].split()], np.int64)
    except (ValueError, IndexError, OverflowError):
        index = np.array([-1])
    if index.size == 0 or index.min() < 0 or index.max() >= images:
        raise ValueError(
            f"stl10: line {fold + 1} of {name} isn't a list of indices below {images}"
        )
    return index
