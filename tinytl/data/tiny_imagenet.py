"""Tiny ImageNet, from the official zip archive of JPEG files or its folder.

Reading JPEG needs Pillow. Three things to know: ``wnids.txt`` is not sorted, while
everybody's labels (and those of the published source network) count the sorted names;
the validation images all lie in one folder, and their classes stand in a text file; and
some of the images are gray.

Source: Stanford's course CS231n, https://tiny-imagenet.herokuapp.com. The images come
from ImageNet, whose terms allow non-commercial research and education.
"""

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tinytl.data.archive import damage_reported, walk
from tinytl.data.augment import resize
from tinytl.data.bundled import ImageSet
from tinytl.data.locate import counted, locate, split_of, text_lines

UNPACKED = "tiny-imagenet-200"
SIZE = 64
MOST_TEXT = 1 << 24
MOST_JPEG = 1 << 20
OFFICIAL_SIZE = {"train": 100_000, "val": 10_000}
ANNOTATIONS = "val/val_annotations.txt"
LICENCE = "none stated; images from ImageNet, for non-commercial research"


def tiny_imagenet(
    split: str = "train",
    folder: str | os.PathLike[str] = "data",
    download: bool = False,
    *,
    size: int = SIZE,
) -> ImageSet:
    """Tiny ImageNet: 200 classes of ImageNet, at 64 x 64.

    Args:
        split: "train" (500 images of each class, class by class) or "val" (50 of each,
            in the order of their numbers). The labels of "test" aren't published.
        folder: where tiny-imagenet-200.zip is, or tiny-imagenet-200, or the path of one
            of these.
        download: get the archive if it isn't there.
        size: shrink the images to this height and width while reading, by ``resize``;
            32 is what the published source network was trained with.

    Returns:
        Images (N, 3, size, size) uint8; label k is the k-th class in the sorted order
        of their WordNet identifiers, and classes[k] its words. Where N isn't the
        official number, `name` says so.

    Raises:
        ValueError: another split, or files that are damaged.
        FileNotFoundError: there are no such files; it says how to get them.
        ImportError: Pillow isn't installed.
    """
    split_of("tiny_imagenet", split, tuple(OFFICIAL_SIZE))
    path = locate("tiny_imagenet", folder, "tiny-imagenet", UNPACKED, download)
    if not path.exists():
        raise FileNotFoundError(f"tiny_imagenet: there is no {path}")
    texts: dict[str, list[str]] = {}
    pictures: dict[str, np.ndarray] = {}
    with damage_reported(path):
        for name, content in _files(path, split):
            if name.endswith(".txt"):
                texts[name] = text_lines("tiny_imagenet", name, content)
            else:
                pictures[name] = resize(_decode(name, content), size)
    wnids = sorted(_text(texts, "wnids.txt"))
    words = dict(_pairs("words.txt", _text(texts, "words.txt")))
    owners = _train(pictures) if split == "train" else _val(texts)
    absent = [name for name in owners if name not in pictures]
    foreign = sorted(set(owners.values()) - set(wnids))
    if absent or foreign or not owners:
        raise ValueError(
            f"tiny_imagenet: {path} lacks {(absent or foreign or ['images'])[0]}: it "
            "is cut short or another file; get it again"
        )
    images = np.empty((len(owners), 3, size, size), np.uint8)
    for k, name in enumerate(owners):
        images[k] = pictures.pop(name)[0]
    return ImageSet(
        images,
        np.array([wnids.index(wnid) for wnid in owners.values()], np.int64),
        tuple(words.get(wnid, wnid) for wnid in wnids),
        counted(f"Tiny ImageNet, {split}", len(owners), OFFICIAL_SIZE[split]),
        LICENCE,
    )


def _files(path: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """Names, less the folder of all, and contents of the files that a split needs."""
    texts = ["wnids.txt", "words.txt", *([ANNOTATIONS] if split == "val" else [])]
    if path.is_dir():
        pictures = sorted(path.glob(f"{split}/**/*.JPEG"))
        for file in [path / name for name in texts if (path / name).exists()]:
            yield file.relative_to(path).as_posix(), file.read_bytes()
        for file in pictures:
            yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    for member in walk(path):
        name = member.name.removeprefix(f"{UNPACKED}/")
        picture = name.startswith(f"{split}/") and name.endswith(".JPEG")
        if not member.folder and (picture or name in texts):
            most = MOST_JPEG if picture else MOST_TEXT
            with member.open() as stream:
                content = stream.read(most + 1)
            if len(content) > most:
                raise ValueError(f"tiny_imagenet: {name} is too large")
            yield name, content


def _decode(name: str, content: bytes) -> np.ndarray:
    """A JPEG file as an array (1, 3, 64, 64); a gray one has three equal channels."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "tiny_imagenet reads JPEG files and needs Pillow: pip install pillow"
        ) from error
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
            if picture.size != (SIZE, SIZE):
                raise ValueError(f"it is {picture.size} and not {SIZE} x {SIZE}")
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"tiny_imagenet: {name} is damaged ({error}); get the archive again"
        ) from error
    return pixels.transpose(2, 0, 1)[None]


def _text(texts: dict[str, list[str]], name: str) -> list[str]:
    if name not in texts:
        raise ValueError(
            f"tiny_imagenet: {name} is missing: the archive is cut short or another "
            "file; get it again"
        )
    return texts[name]


def _pairs(name: str, lines: list[str]) -> list[tuple[str, str]]:
    """The first two columns of a text file, which tabs separate."""
    rows = [line.split("\t") for line in lines]
    if any(len(row) < 2 for row in rows):
        raise ValueError(
            f"tiny_imagenet: {name} has a line without a tab; get it again"
        )
    return [(row[0], row[1]) for row in rows]


def _train(pictures: Iterable[str]) -> dict[str, str]:
    """train/WNID/images/WNID_NUMBER.JPEG -> WNID; by WNID, then by number."""
    names = [name for name in pictures if name.count("/") == 3]
    return {name: name.split("/")[1] for name in sorted(names, key=_order)}


def _val(texts: dict[str, list[str]]) -> dict[str, str]:
    """val/images/val_NUMBER.JPEG -> WNID, from the annotations; by number."""
    pairs = _pairs(ANNOTATIONS, _text(texts, ANNOTATIONS))
    owners = {f"val/images/{name}": wnid for name, wnid in pairs}
    return {name: owners[name] for name in sorted(owners, key=_order)}


def _order(name: str) -> tuple[str, int]:
    """Folder, then number: n01443537_2 comes before n01443537_10."""
    folder, _, file = name.rpartition("/")
    number = file.removesuffix(".JPEG").rpartition("_")[2]
    return folder, int(number) if number.isdecimal() else -1
