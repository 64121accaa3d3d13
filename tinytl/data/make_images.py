"""Make the bundled images again, byte for byte.

    python -m tinytl.data.make_images --fashion-mnist DIR --out DIR

DIR after --fashion-mnist holds the four official IDX files; the digits come from
scikit-learn, which only this script needs. Equal inputs give equal bytes wherever
zlib compresses equally; the arrays inside are equal everywhere.
"""

import argparse
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinytl.data.bundled import fashion_mnist

PER_CLASS = {"train": 500, "test": 100}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can state


def first_of_each(labels: np.ndarray, per_class: int) -> np.ndarray:
    """The first `per_class` indices of every class, ascending; labels (N,).

    Returns int64 of shape (classes * per_class,). Raises ValueError if a class has
    fewer.
    """
    heads = [np.flatnonzero(labels == k)[:per_class] for k in np.unique(labels)]
    if any(len(head) < per_class for head in heads):
        raise ValueError(f"first_of_each: a class has fewer than {per_class} examples")
    return np.sort(np.concatenate(heads)).astype(np.int64)


def fashion_arrays(
    folder: Path, per_class: Mapping[str, int] = PER_CLASS
) -> dict[str, np.ndarray]:
    """{split}_images (N, 28, 28) and {split}_labels (N,), uint8, of both splits."""
    arrays = {}
    for split, count in per_class.items():
        whole = fashion_mnist(split, folder)
        part = whole.take(first_of_each(whole.labels, count))
        arrays[f"{split}_images"] = part.images[:, 0]
        arrays[f"{split}_labels"] = part.labels.astype(np.uint8)
    return arrays


def digits_arrays() -> dict[str, np.ndarray]:
    """Images (1797, 8, 8) in 0 .. 16 and labels (1797,), uint8, in their order."""
    from sklearn.datasets import load_digits  # type: ignore

    bunch = load_digits()
    return {
        "images": bunch.images.astype(np.uint8),
        "labels": bunch.target.astype(np.uint8),
    }


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz file as numpy.savez_compressed makes it, less the time of day."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            info.create_system = 3  # as on Unix, wherever this runs
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.getvalue(), compresslevel=9)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both files, each complete or not at all; print what README.md lists."""
    parser = argparse.ArgumentParser(description="Make the bundled images again.")
    parser.add_argument("--fashion-mnist", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    contents = {
        "fashion-mnist.npz": pack(fashion_arrays(options.fashion_mnist)),
        "digits.npz": pack(digits_arrays()),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        partial = options.out / f"{name}.partial"
        partial.write_bytes(content)
        os.replace(partial, options.out / name)
        digest = hashlib.sha256(content).hexdigest()
        print(f"| {name} | {len(content):,} | `{digest}` |")


if __name__ == "__main__":
    main()
