"""Read and unpack tar, tar.gz and zip archives that may be damaged or hostile.

An archive is a list of names with contents, and both are the choice of whoever made it.
So a name has to be relative and stay below the folder; a member has to be a plain file
or folder, and no link or device; sizes are counted while they arrive, since those that
are declared need not be true; permissions are ignored; and nothing is ever executed.
"""

import gzip
import os
import secrets
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

CHUNK = 1 << 20
LONGEST_READ = 1 << 26  # by the tar reader at once; its own headers are far smaller
LONGEST_NAME = 255
LONGEST_PATH = 1024  # bytes; systems take no more than 1,024 to 4,096
MOST_BYTES = 1 << 34
MOST_MEMBERS = 1_000_000

DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    UnicodeError,
)
"""What the standard library raises at archives that are cut short or changed."""


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive, its name checked.

    name    relative, with slashes
    folder  whether it is one
    size    of the content in bytes, as declared
    open    a stream of the content
    """

    name: str
    folder: bool
    size: int
    open: Callable[[], BinaryIO]


def read_members(
    path: str | os.PathLike[str], wanted: Mapping[str, int]
) -> dict[str, bytes]:
    """Contents of some files of an archive, or of a folder with the same names.

    Args:
        path: the archive, tar, tar.gz or zip (its first bytes tell), or the folder.
        wanted: name -> the most bytes that it may have.

    Returns:
        name -> content, of those that are there. An archive is read to its end, where
        the checksum of gzip stands.

    Raises:
        ValueError: it is damaged, cut short or hostile, or a file is too large.
    """
    path = Path(path)
    found = {}
    if path.is_dir():
        for name, most in wanted.items():
            if (path / name).is_file():
                with (path / name).open("rb") as stream:
                    found[name] = _read(stream, name, most)
        return found
    with damage_reported(path):
        for member in walk(path):
            if member.name in wanted and not member.folder:
                with member.open() as stream:
                    found[member.name] = _read(stream, member.name, wanted[member.name])
    return found


def unpack(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    most: int = MOST_BYTES,
) -> Path:
    """Unpack an archive into a new folder: all of it, or nothing.

    Args:
        path: tar, tar.gz or zip.
        folder: doesn't exist yet; it appears when everything is in it.
        most: how many bytes there may be, in all.

    Raises:
        ValueError: the archive is damaged, cut short, hostile or too large.
        FileExistsError: the folder exists.
    """
    path, folder = Path(path), Path(folder)
    if folder.exists():
        raise FileExistsError(f"unpack: {folder} exists already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    partial.mkdir()
    try:
        with damage_reported(path):
            for member in walk(path):
                most -= _write(member, partial / member.name, most)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Whatever the standard library says about a bad archive becomes a ValueError."""
    try:
        yield
    except DAMAGE as error:
        raise ValueError(
            f"{path} is damaged, cut short or no archive ({error}); delete it and get "
            "it again"
        ) from error


def walk(path: Path) -> Iterator[Member]:
    """Files and folders of an archive, in its order, each checked.

    Read a member before going on to the next one.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"PK":
            yield from _walk_zip(file)
        elif magic[:2] == b"\x1f\x8b":
            with gzip.open(file) as stream:
                yield from _walk_tar(cast(BinaryIO, stream))
                while stream.read(CHUNK):  # at the end gzip compares its checksum
                    pass
        else:
            yield from _walk_tar(file)


def _walk_tar(stream: BinaryIO) -> Iterator[Member]:
    limited = _Limited(stream)
    count = 0
    with tarfile.open(fileobj=cast(BinaryIO, limited), mode="r:") as archive:
        while (info := archive.next()) is not None:
            count += 1
            if not (info.isreg() or info.isdir()) or info.issparse():
                raise ValueError(
                    f"the archive's member {info.name[:200]!r} is a link, a device or "
                    "the like, which data have no use for; it is refused"
                )
            name = _checked_name(info.name, info.isdir(), count)

            def content(info: tarfile.TarInfo = info) -> BinaryIO:
                return cast(BinaryIO, archive.extractfile(info))

            yield Member(name, info.isdir(), info.size, content)
            archive.members = []  # type: ignore[attr-defined]  # it would keep them all
    if limited.last != bytes(tarfile.BLOCKSIZE):
        raise EOFError("no end mark")


def _walk_zip(file: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for count, info in enumerate(archive.infolist(), 1):
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(
                    f"the archive's member {info.filename[:200]!r} is a link or a "
                    "device, which data have no use for; it is refused"
                )
            name = _checked_name(info.filename, info.is_dir(), count)

            def content(info: zipfile.ZipInfo = info) -> BinaryIO:
                return cast(BinaryIO, archive.open(info))

            yield Member(name, info.is_dir(), info.file_size, content)


class _Limited:
    """A stream that refuses to read very much at once, and remembers the last block.

    A tar header may say that a gigabyte of further header follows, and the standard
    library would take it into memory; a gzipped one is a megabyte on the disk. And
    where headers become nonsense, it takes that for the end, a block of zeros.
    """

    def __init__(self, stream: BinaryIO):
        self.stream = stream
        self.last = b""

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if size > LONGEST_READ:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self.stream.read(size)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _checked_name(name: str, folder: bool, count: int) -> str:
    """A member's name, without "./" and a slash at the end."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = (
        name.startswith("/")
        or ".." in parts
        or not (parts or folder)
        or any(len(part.encode(errors="replace")) > LONGEST_NAME for part in parts)
        or len(name.encode(errors="replace")) > LONGEST_PATH
        or any(letter in name for letter in "\\:\0")
    )
    if bad:
        raise ValueError(
            f"the archive's member {name[:200]!r} would be outside of the folder, or "
            "has no usable name; it is refused"
        )
    if count > MOST_MEMBERS:
        raise ValueError(f"the archive has more than {MOST_MEMBERS:,} members")
    return "/".join(parts)


def _read(stream: BinaryIO, name: str, most: int) -> bytes:
    content = bytearray()
    while chunk := stream.read(CHUNK):
        content += chunk
        if len(content) > most:
            raise ValueError(f"{name} has more than {most:,} bytes, which is too large")
    return bytes(content)


def _write(member: Member, target: Path, most: int) -> int:
    """Put a member in its place; return its size."""
    size = 0
    try:
        if member.folder:
            target.mkdir(parents=True, exist_ok=True)
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as stream, target.open("xb") as out:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if size > most:
                    raise ValueError("the archive unpacks to more than is allowed")
                out.write(chunk)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise ValueError(f"the archive has {member.name!r} twice") from None
    if size != member.size:
        raise EOFError(f"{member.name} has {size} bytes instead of {member.size}")
    return size
