"""Read the files that ``torch.save`` writes, without torch and executing nothing.

There are two formats, and the first bytes tell which. The *zip* format (torch 1.6 and
later) is an archive of uncompressed members, all in one folder::

    data.pkl        a pickle of the object, with references to storages
    data/KEY        the bytes of the storage KEY
    byteorder       "little" or "big"; absent from older files

The *legacy* format is a row of five pickles, and then the storages::

    magic number, protocol version 1001, description of the machine,
    the object, the list of storage keys
    for each key: int64 number of elements, then the elements

A storage is a row of numbers; a Tensor is a view of one, with offset, size and strides.
All three are checked against the storage before the view is made, and the storages
against the length of the file before memory is taken.

Source: torch/serialization.py and torch/_utils.py of PyTorch.
"""

import io
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..tensor import Tensor
from .pickles import Name, check_tree, read_pickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MOST_DIMENSIONS = 32
LARGEST = 1 << 48  # elements, if empty dimensions had one

# torch's storage class -> how its numbers stand in the file, and what they become.
STORAGES = {
    "torch.DoubleStorage": ("<f8", np.float64),
    "torch.FloatStorage": ("<f4", np.float32),
    "torch.HalfStorage": ("<f2", np.float32),
    "torch.BFloat16Storage": ("<u2", np.float32),
    "torch.LongStorage": ("<i8", np.int64),
    "torch.IntStorage": ("<i4", np.int32),
    "torch.ShortStorage": ("<i2", np.int16),
    "torch.CharStorage": ("<i1", np.int8),
    "torch.ByteStorage": ("<u1", np.uint8),
    "torch.BoolStorage": ("<u1", np.bool_),
}


def load_torch(path: str | os.PathLike[str]) -> Any:
    """The object in a file of ``torch.save``, either format, with our Tensors in it.

    The object may consist of Tensors, numbers, texts, None, lists, tuples and dicts
    (an OrderedDict becomes a dict, a Parameter a Tensor, float16 and bfloat16 become
    float32). Tensors that shared memory do so here, and must not be written to.

    Args:
        path: the file, called .pt, .pth, .pth.tar, .bin, .ckpt ... by custom.

    Raises:
        ValueError: it is damaged, cut short, something else, or holds what is no plain
            data; the message names that. Nothing in the file is ever executed.
        FileNotFoundError: there is no such file.
    """
    content = Path(path).read_bytes()
    try:
        zipped = content[:4] == b"PK\x03\x04"
        value = _read_zip(content) if zipped else _read_legacy(content)
        check_tree(value, (Tensor,), len(content))
    except ValueError as error:
        raise ValueError(
            f"load_torch: {path}: {error}. Nothing was loaded. If the file should be "
            "fine, get it again; if it holds more than weights, save its state_dict "
            "alone with torch"
        ) from None
    return value


# -- storages and views ----------------------------------------------------------------


class _Storages:
    """Arrays by key: made when the pickle first names them, filled from the file later.

    Args:
        budget: bytes that the file has for all of them.
    """

    def __init__(self, budget: int):
        self.arrays: dict[str, Array] = {}
        self.kinds: dict[str, tuple[str, int]] = {}
        self.budget = budget

    def named(self, key: Any) -> Array:
        """The array for a persistent id ("storage", class, key, device, elements)."""
        if type(key) is not tuple or len(key) not in (5, 6):
            raise ValueError("damaged pickle: a reference to no storage")
        word, kind, name, _, count = key[:5]
        if type(word) is not str or word != "storage":  # a Tensor compares otherwise
            raise ValueError("damaged pickle: a reference to no storage")
        if not isinstance(kind, Name) or kind.text not in STORAGES:
            raise ValueError("damaged pickle: a storage without a type")
        if type(name) is not str or type(count) is not int or count < 0:
            raise ValueError("damaged pickle: a storage without a name or a size")
        if len(key) == 6 and key[5] is not None:
            raise ValueError("views of storages, as torch 0.3 wrote them, are refused")
        if self.kinds.setdefault(name, (kind.text, count)) != (kind.text, count):
            raise ValueError(f"the storage {name!r} occurs with two types or sizes")
        if name not in self.arrays:
            stored, dtype = STORAGES[kind.text]
            self.budget -= count * np.dtype(stored).itemsize
            if self.budget < 0:
                raise ValueError(
                    f"its storages are longer than the file: {count:,} elements in "
                    f"the storage {name!r}, but the file is cut short"
                )
            self.arrays[name] = np.zeros(count, dtype)
        return self.arrays[name]

    def size(self, name: str) -> int:
        """Bytes that the storage has in the file."""
        kind, count = self.kinds[name]
        return count * np.dtype(STORAGES[kind][0]).itemsize

    def fill(self, name: str, content: bytes) -> None:
        """Set the numbers of a storage."""
        kind, count = self.kinds[name]
        numbers = np.frombuffer(content, STORAGES[kind][0], count)
        if kind == "torch.BFloat16Storage":  # the upper half of a float32
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        if kind == "torch.BoolStorage":
            numbers = numbers != 0
        self.arrays[name][...] = numbers


def _rebuild_tensor(*arguments: Any) -> Tensor:
    """A view of a storage, from (storage, offset, size, strides, ...), all checked."""
    if len(arguments) < 4 or not isinstance(arguments[0], np.ndarray):
        raise ValueError("damaged pickle: a tensor without a storage")
    storage, offset, size, strides = arguments[:4]
    for numbers in (size, strides, (offset,)):
        plain = type(numbers) is tuple and all(type(k) is int for k in numbers)
        if not plain or min(numbers, default=0) < 0:
            raise ValueError("damaged pickle: a tensor whose size is no numbers")
    wide = math.prod(max(extent, 1) for extent in size)
    if len(size) != len(strides) or len(size) > MOST_DIMENSIONS or wide > LARGEST:
        raise ValueError(f"a tensor of size {size[:8]} with strides {strides[:8]}")
    count = math.prod(size)
    steps = zip(size, strides, strict=True)
    last = offset + sum((extent - 1) * stride for extent, stride in steps)
    if max(count, offset) > storage.size or (count and last >= storage.size):
        raise ValueError(
            f"a tensor of size {size}, strides {strides} and offset {offset} does not "
            f"fit its storage of {storage.size} elements (one that was expand()ed "
            "must be saved as a copy)"
        )
    if not count:
        return Tensor(np.zeros(size, storage.dtype))
    view = np.lib.stride_tricks.as_strided(
        storage[offset:],
        size,
        [stride * storage.itemsize for stride in strides],
        writeable=False,
    )
    return Tensor(view)


def _rebuild_parameter(*arguments: Any) -> Tensor:
    """The Tensor in a Parameter (data, requires_grad, hooks)."""
    if not arguments or type(arguments[0]) is not Tensor:
        raise ValueError("damaged pickle: a parameter without a tensor")
    return arguments[0]


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise ValueError("damaged pickle: an OrderedDict with arguments")
    return {}


CALLS = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}


def _read_object(content: bytes, start: int, storages: _Storages) -> tuple[Any, int]:
    names = frozenset(STORAGES)
    return read_pickle(content, start, CALLS, names, storages.named)


# -- the two formats -------------------------------------------------------------------


def _read_legacy(content: bytes) -> Any:
    if content[:1] != b"\x80":
        raise ValueError(
            f"it is no torch file: it begins with {content[:8].hex(' ') or 'nothing'}"
        )
    magic, place = read_pickle(content)
    if magic != MAGIC:
        raise ValueError("it is a pickle, but not one that torch wrote")
    version, place = read_pickle(content, place)
    system, place = read_pickle(content, place)
    if version != PROTOCOL or type(system) is not dict:
        raise ValueError(f"it is not of torch's protocol {PROTOCOL}")
    if system.get("little_endian") is not True:
        raise ValueError("its numbers have the most significant byte first")

    storages = _Storages(len(content) - place)
    value, place = _read_object(content, place, storages)
    keys, place = read_pickle(content, place)
    texts = type(keys) is list and all(type(key) is str for key in keys)
    if not texts or sorted(keys) != sorted(storages.arrays):
        raise ValueError("its list of storages is not that of its tensors")
    for key in keys:
        size = storages.size(key)
        count = content[place : place + 8]
        place += 8 + size
        if len(count) < 8 or place > len(content):
            raise ValueError(f"it is cut short in the storage {key!r}")
        if struct.unpack("<q", count)[0] != storages.kinds[key][1]:
            raise ValueError(f"the storage {key!r} has not the size that its name says")
        storages.fill(key, content[place - size : place])
    if place != len(content):
        raise ValueError(f"it goes on for {len(content) - place} bytes after its end")
    return value


def _read_zip(content: bytes) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read_archive(archive, len(content))
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        ArithmeticError,
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        RuntimeError,
    ) as error:
        raise ValueError(f"damaged or foreign zip archive ({error})") from None


def _read_archive(archive: zipfile.ZipFile, length: int) -> Any:
    members = {info.filename: info for info in archive.infolist()}
    sizes = [info.file_size for info in members.values()]
    if len(members) < len(archive.infolist()) or sum(sizes) > length:
        raise ValueError("its members overlap")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("its members are compressed, which torch's are not")
    pickles = [name for name in members if name.endswith("/data.pkl")]
    folder = pickles[0].removesuffix("data.pkl") if pickles else ""
    if len(pickles) != 1 or f"{folder}constants.pkl" in members:
        raise ValueError(
            "it is a zip archive, but not one of torch.save (a TorchScript program, "
            "perhaps)"
        )
    order = f"{folder}byteorder"
    if order in members and archive.read(order) != b"little":
        raise ValueError("its numbers have the most significant byte first")

    storages = _Storages(length)
    description = archive.read(pickles[0])
    value, end = _read_object(description, 0, storages)
    if end != len(description):
        raise ValueError("damaged pickle: it goes on after its end")
    for key in storages.arrays:
        name = f"{folder}data/{key}"
        if name not in members or members[name].file_size != storages.size(key):
            raise ValueError(
                f"the storage {key!r} should have {storages.size(key)} bytes, and has "
                f"{members[name].file_size if name in members else 'none'}"
            )
        storages.fill(key, archive.read(name))
    return value
