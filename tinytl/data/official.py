"""Where the official files are, and how to tell that they arrived.

The MD5 checksums are those that the authors or well-known loaders publish. They guard
against damage on the way, not against malice: two files with one MD5 can be made. Where
a SHA-256 is known, it is compared too. (Those of L2T-ww's source network are of the
file itself; its authors publish none.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OfficialFile:
    """One file to download.

    name    how it is called, there and here
    url     where it is
    md5     as published, in hexadecimal
    size    in bytes; None if it isn't known
    sha256  None if it isn't known
    """

    name: str
    url: str
    md5: str
    size: int | None = None
    sha256: str | None = None


def _at(base: str, name: str, *rest: object) -> OfficialFile:
    return OfficialFile(name, base + name, *rest)  # type: ignore[arg-type]


TORONTO = "https://www.cs.toronto.edu/~kriz/"
STANFORD = "http://ai.stanford.edu/~acoates/stl10/"
CS231N = "http://cs231n.stanford.edu/"
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
L2T = "https://raw.githubusercontent.com/alinlab/L2T-ww/"
L2T_COMMIT = "f4dde04e8d5d5725dc3bff2f59cb0d0c26d0bcbe"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
IMAGES, LABELS = "-images-idx3-ubyte.gz", "-labels-idx1-ubyte.gz"

OFFICIAL: dict[str, tuple[OfficialFile, ...]] = {
    "cifar-10": (
        _at(
            TORONTO,
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    "cifar-100": (
        _at(
            TORONTO,
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            168_513_733,
        ),
    ),
    "stl-10": (
        _at(
            STANFORD,
            "stl10_binary.tar.gz",
            "91f7769df0f17e558f3565bffb0c7dfb",
            2_640_397_119,
        ),
    ),
    "tiny-imagenet": (
        _at(
            CS231N,
            "tiny-imagenet-200.zip",
            "90528d7ca1a48142e341f4ef8d21d0de",
            248_100_043,
        ),
    ),
    "l2t-source": (
        _at(
            f"{L2T}{L2T_COMMIT}/logs/tinyimagenet-200-resnet32/0/",
            "model_best.pth.tar",
            "9dc186cb532ddf841112b518b271c3ba",
            1_961_387,
            "049f81f8bea8504e90818d6c614f15c485ac2d891348330b433110e161f66d68",
        ),
    ),
    "mnist": (
        _at(MNIST, f"train{IMAGES}", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        _at(MNIST, f"train{LABELS}", "d53e105ee54ea40749a09fcbcd1e9432"),
        _at(MNIST, f"t10k{IMAGES}", "9fb629c4189551a2d022fa330f9573f3"),
        _at(MNIST, f"t10k{LABELS}", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "fashion-mnist": (
        _at(FASHION, f"train{IMAGES}", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        _at(FASHION, f"train{LABELS}", "25c81989df183df01b3e8a0aad5dffbe"),
        _at(FASHION, f"t10k{IMAGES}", "bef4ecab320f06d8554ea6380940ec79"),
        _at(FASHION, f"t10k{LABELS}", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
}
"""Name of a data set, or of the source network of L2T-ww -> its files."""


def how_to_get(dataset: str, folder: str | os.PathLike[str]) -> str:
    """What to do if the files of a data set are not in `folder`, as a sentence."""
    files = OFFICIAL[dataset]
    sizes = [file.size for file in files]
    known = sum(size for size in sizes if size)
    total = f" ({known:,} bytes)" if None not in sizes else ""
    where = ", ".join(file.url for file in files)
    return (
        f"Get {where}{total} with\n    python -m tinytl.data {dataset} {Path(folder)}\n"
        "or pass download=True"
    )
