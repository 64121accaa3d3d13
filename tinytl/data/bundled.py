"""The images that come with the package: a source and a target for transfer.

Nothing is read before a function is called, and nothing is ever downloaded.
Where the files come from, and how to make them again, is in images/README.md.
"""

import os
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from tinytl.data.download import fetch
from tinytl.data.idx import read_idx
from tinytl.data.official import how_to_get

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DIGIT_CLASSES = tuple("0123456789")
DIGITS_TRAIN = 1000
"""How many of the 1,797 digits are the training pool; the rest are the test set."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images.

    images   (N, C, H, W)
    labels   (N,) int64: label k means classes[k]
    classes  the name of each class
    name     what the images are, as one would cite them in a table
    licence  the licence of the images

    Raises ValueError if the shapes don't fit or a label names no class.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    licence: str

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"ImageSet: images {self.images.shape} and labels "
                f"{self.labels.shape} need shapes (N, C, H, W) and (N,)"
            )
        low, high = self.labels.min(initial=0), self.labels.max(initial=0)
        if low < 0 or high >= len(self.classes):
            raise ValueError(
                f"ImageSet: labels from {low} to {high}; "
                f"{len(self.classes)} classes need 0 to {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.labels)

    def take(self, index: np.ndarray) -> "ImageSet":
        """The images at `index`, an array from `few_shot`, `batches` or `split`."""
        return replace(self, images=self.images[index], labels=self.labels[index])


def fashion_mnist(
    split: str = "train",
    folder: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> ImageSet:
    """Fashion-MNIST: ten kinds of clothing, light on black. The source task.

    Without a folder, the bundled subset: the first 500 images of each class of the
    official training set ("train", N = 5,000) and the first 100 of each class of
    the official test set ("test", N = 1,000), in official order. With the folder of
    the official IDX files, .gz or unpacked, the complete 60,000 and 10,000: a result
    says which of the two it comes from, and `name` does. With `download`, the files are
    got if the folder lacks them.

    Returns images (N, 1, 28, 28) uint8 in 0 .. 255, labels in 0 .. 9.
    Source: H. Xiao, K. Rasul, R. Vollgraf (2017), arXiv:1708.07747; MIT licence.
    Raises ValueError for another split or damaged files, FileNotFoundError if the
    folder lacks them.
    """
    _check_split("fashion_mnist", split)
    if folder is None:
        arrays = _load("fashion-mnist.npz")
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        name = f"Fashion-MNIST, bundled subset, {split}"
    else:
        images, labels = read_official("fashion-mnist", folder, split, download)
        name = f"Fashion-MNIST, {split}"
    return _image_set(images, labels, FASHION_CLASSES, name, "MIT")


def digits(split: str = "train") -> ImageSet:
    """Handwritten digits of 8 x 8 pixels, light on black. The target task.

    The complete test set of "Optical recognition of handwritten digits", 1,797
    images, in its order: the first 1,000 ("train") are the pool that few-shot
    subsets are drawn from, the other 797 ("test") are for testing. A pixel counts
    the inked points among the 4 x 4 of a 32 x 32 scan, hence 0 .. 16.

    The 13 writers of these images are others than the 30 of that collection's
    training set, which isn't bundled. The file doesn't say who wrote what, so
    "train" and "test" here may share writers.

    Returns images (N, 1, 8, 8) uint8 in 0 .. 16, labels in 0 .. 9.
    Source: E. Alpaydin, C. Kaynak (1998), UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49; CC BY 4.0.
    Raises ValueError for another split.
    """
    _check_split("digits", split)
    arrays = _load("digits.npz")
    part = slice(DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    name = f"UCI handwritten digits, {split}"
    images, labels = arrays["images"][part], arrays["labels"][part]
    return _image_set(images, labels, DIGIT_CLASSES, name, "CC BY 4.0")


def _check_split(operation: str, split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"{operation}: split = {split!r}; it needs 'train' or 'test'")


def _load(name: str) -> dict[str, np.ndarray]:
    """Every array of a bundled file; nothing in it is executed."""
    with (
        files("tinytl.data").joinpath("images", name).open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return dict(arrays)


def read_official(
    dataset: str, folder: str | os.PathLike[str], split: str, download: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W) and labels (N,), both uint8, from two IDX files.

    Raises ValueError for damaged files, FileNotFoundError if the folder lacks them.
    """
    operation, folder = dataset.replace("-", "_"), Path(folder)
    stem = "train" if split == "train" else "t10k"
    names = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"
    if download and None in [_find(folder, name) for name in names]:
        fetch(dataset, folder)
    arrays = []
    for name in names:
        path = _find(folder, name)
        if path is None:
            raise FileNotFoundError(
                f"{operation}: {folder} has neither {name}.gz nor {name}. "
                + how_to_get(dataset, folder)
            )
        arrays.append(read_idx(path))
    images, labels = arrays
    fits = images.ndim == 3 and labels.shape == images.shape[:1]
    if not fits or images.dtype != np.uint8 or labels.dtype != np.uint8:
        raise ValueError(
            f"{operation}: {folder} holds {split} images {images.shape} "
            f"{images.dtype} and labels {labels.shape} {labels.dtype}; "
            "they need (N, H, W) and (N,), both uint8"
        )
    return images, labels


def _find(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    return None


def _image_set(
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    name: str,
    licence: str,
) -> ImageSet:
    """(N, H, W) becomes (N, 1, H, W); labels become int64."""
    return ImageSet(images[:, None], labels.astype(np.int64), classes, name, licence)
