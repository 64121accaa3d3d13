"""Read IDX files: the format of MNIST, Fashion-MNIST and their descendants.

    bytes 0, 1        zero
    byte  2           dtype code, a key of DTYPES
    byte  3           D, the number of dimensions
    4 D bytes         the D extents, unsigned 32-bit, most significant byte first
    the rest          the values in C order, most significant byte first

Source: http://yann.lecun.com/exdb/mnist, "The IDX file format".
"""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

DTYPES: dict[int, np.dtype] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
"""IDX dtype code -> the dtype of the stored values (big-endian)."""

GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # no deflate stream grows by more (zlib, "Maximum Expansion")
CHUNK = 1 << 20
MAX_DIMENSIONS = 32  # of a NumPy array, before NumPy 2


def read_idx(path: str | os.PathLike[str], limit: int = 1 << 30) -> np.ndarray:
    """The array in an IDX file, gzipped or plain: its first bytes tell, not its name.

    Returns a new array of the file's shape, in this machine's byte order: uint8,
    int8, int16, int32, float32 or float64.

    The header is believed only where the file is long enough to hold what it
    promises, and never beyond `limit` bytes of values (1 GiB), so a damaged or
    hostile file cannot fill the memory.

    Raises ValueError if the file is not IDX, is cut short, goes on too long, is
    damaged gzip, or holds more than `limit` bytes; OSError if it can't be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            return _read(file, path, path.stat().st_size, limit)
        try:
            with gzip.open(file) as stream:
                most = DEFLATE_RATIO * path.stat().st_size
                return _read(cast(BinaryIO, stream), path, most, limit)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"read_idx: {path} is damaged gzip: {error}") from error


def _read(stream: BinaryIO, path: Path, most: int, limit: int) -> np.ndarray:
    """The array in `stream`, whose length in bytes is `most` or less."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise ValueError(
            f"read_idx: {path} is not an IDX file: it begins with "
            f"{magic.hex(' ') or 'nothing'}, which should be 00 00, a dtype code "
            f"({', '.join(f'{code:02x}' for code in DTYPES)}), a number of dimensions"
        )
    dtype, dimensions = DTYPES[magic[2]], magic[3]
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError(
            f"read_idx: {path} declares {dimensions} dimensions; "
            f"it needs 1 to {MAX_DIMENSIONS}"
        )
    extents = stream.read(4 * dimensions)
    if len(extents) < 4 * dimensions:
        raise ValueError(f"read_idx: {path} is cut short inside its header")
    shape = tuple(int(extent) for extent in np.frombuffer(extents, ">u4"))

    # Python integers: no overflow. An extent of 0 must not hide the others' size.
    if math.prod(max(extent, 1) for extent in shape) * dtype.itemsize > limit:
        raise ValueError(
            f"read_idx: {path} declares shape {shape} of {dtype.name}, "
            f"which is over the limit of {limit} bytes"
        )
    size = math.prod(shape) * dtype.itemsize
    values = _take(stream, size) if size <= most else bytearray()
    if len(values) < size:
        raise ValueError(
            f"read_idx: {path} is cut short: shape {shape} of {dtype.name} needs "
            f"{size} bytes of values, and the file ends before"
        )
    if stream.read(1):  # gzip compares its checksum here, at the end
        raise ValueError(
            f"read_idx: {path} goes on after the {size} bytes of values that "
            f"shape {shape} of {dtype.name} needs"
        )
    array = np.frombuffer(values, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _take(stream: BinaryIO, size: int) -> bytearray:
    """The next `size` bytes, or fewer at the end; memory grows as they arrive."""
    values = bytearray()
    while len(values) < size:
        chunk = stream.read(min(CHUNK, size - len(values)))
        if not chunk:
            break
        values += chunk
    return values
