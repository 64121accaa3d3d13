"""What the readers of official files share: finding them, and saying what is wrong."""

import os
from collections.abc import Mapping
from pathlib import Path

from tinytl.data.archive import read_members
from tinytl.data.download import fetch
from tinytl.data.official import OFFICIAL, how_to_get


def split_of(operation: str, split: str, splits: tuple[str, ...]) -> None:
    """Demand that `split` is one of `splits`."""
    if split not in splits:
        known = " or ".join(map(repr, splits))
        raise ValueError(f"{operation}: split = {split!r}; it needs {known}")


def locate(
    operation: str,
    folder: str | os.PathLike[str],
    dataset: str,
    unpacked: str,
    download: bool,
) -> Path:
    """The archive of a data set, or the folder that it unpacks to.

    Args:
        operation: who asks, for messages.
        folder: the archive, the unpacked folder, or where one of them is.
        dataset: a key of ``OFFICIAL``.
        unpacked: the name of the folder that the archive unpacks to.
        download: get the archive if neither is there.

    Raises:
        FileNotFoundError: neither is there; the message says how to get it.
    """
    folder = Path(folder)
    archive = OFFICIAL[dataset][0].name
    for path in (folder / unpacked, folder / archive):
        if path.exists():
            return path
    if folder.is_file() or folder.name == unpacked:
        return folder
    if download:
        return fetch(dataset, folder)[0]
    raise FileNotFoundError(
        f"{operation}: {folder} has neither {archive} nor {unpacked}. "
        + how_to_get(dataset, folder)
    )


def read_files(
    operation: str, path: Path, unpacked: str, wanted: Mapping[str, int]
) -> dict[str, bytes]:
    """Files of a data set, name -> content, from what ``locate`` found.

    Args:
        operation: who asks, for messages.
        path: the archive or the unpacked folder.
        unpacked: the folder in the archive.
        wanted: name -> the most bytes that it may have.

    Raises:
        ValueError: a file is missing, or the archive is damaged.
        FileNotFoundError: there is nothing at `path`.
    """
    if not path.exists():
        raise FileNotFoundError(f"{operation}: there is no {path}")
    prefix = "" if path.is_dir() else f"{unpacked}/"
    names = {prefix + name: most for name, most in wanted.items()}
    try:
        found = read_members(path, names)
    except ValueError as error:
        raise ValueError(f"{operation}: {error}") from error
    for name in names:
        if name not in found:
            raise ValueError(
                f"{operation}: {path} lacks {name}: it is cut short or another file; "
                "get it again"
            )
    return {name.removeprefix(prefix): content for name, content in found.items()}


def text_lines(operation: str, name: str, content: bytes) -> list[str]:
    """The lines of a text file that aren't empty."""
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{operation}: {name} is no text; get it again") from None
    return [line.strip() for line in lines if line.strip()]


def counted(name: str, found: int, official: int) -> str:
    """A set's name, which tells if it isn't complete."""
    return name if found == official else f"{name}, {found:,} of {official:,} images"
