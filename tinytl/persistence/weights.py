"""Named Tensors in safetensors files, written so that they are complete or absent.

A file is written under another name beside its place, flushed to the disk, and renamed.
So whoever reads it, and whenever the program or the machine stops, there is the old
file or the new one. What a killed program leaves behind is at most a hidden file that
ends with ".tmp".
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tinytl_kernels import Array
from tinytl_kernels.devices import device_type, move

from ..tensor import Tensor

FORMAT, DIGEST, CHECKPOINT = "tinytl.format", "tinytl.sha256", "tinytl.checkpoint"
OURS = (FORMAT, DIGEST, CHECKPOINT)  # names in the metadata that are not the user's


def save(
    state: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named Tensors to a safetensors file.

    Args:
        state: name -> Tensor or array, as from ``state_dict``.
        path: the file; an existing one is replaced at once, or not at all.
        metadata: text to keep with them, such as where they come from.

    Raises:
        TypeError: a name or metadata is not text, or a value not an array of floats,
            integers or bools.
        ValueError: metadata use a name that is reserved.
        FileNotFoundError: the folder does not exist.
        ImportError: safetensors is not installed.
    """
    text = dict(metadata or {})
    for key, value in text.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save: metadata must be text, got {key!r}: {value!r}")
        if key in OURS:
            raise ValueError(f"save: the name {key!r} is reserved in metadata")
    write(state, path, text)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read all Tensors of a safetensors file, ours or another's; float16 as float32.

    Raises:
        ValueError: it is damaged, cut short, or something else.
        FileNotFoundError: there is no such file.
        ImportError: safetensors is not installed.
    """
    arrays, _ = read(path)
    return {name: Tensor(array) for name, array in arrays.items()}


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the metadata given to ``save``. Raises what ``load`` raises."""
    _, text = read(path)
    return {key: value for key, value in text.items() if key not in OURS}


# -- files -----------------------------------------------------------------------------


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Put a file in its place, complete, or leave what is there.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: make the folder {target.parent} first")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the new name is on the disk too; not on Windows
        folder = os.open(target.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(
    state: Mapping[str, Any], path: str | os.PathLike[str], text: dict[str, str]
) -> None:
    """Write arrays and metadata, with a checksum of both."""
    library = safetensors()
    arrays = {name: _array(name, value) for name, value in state.items()}
    text = {**text, FORMAT: "1"}
    text[DIGEST] = digest(arrays, text)
    write_atomically(path, _ordered(library.save(arrays, text)))


def _ordered(content: bytes) -> bytes:
    """The same file with its metadata in order of name: the library's order is random.

    So equal contents are equal bytes. The header is padded with spaces, as the format
    has it, to a multiple of 8.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _array(name: str, value: Any) -> Array:
    """A value of a state as an array that can be written: in rows, native bytes."""
    if not isinstance(name, str):
        raise TypeError(f"save: names must be text, got {name!r}")
    array = value.data if isinstance(value, Tensor) else value
    if device_type(array) == "cuda":
        array = move(array, "cpu")  # a file does not know where its arrays were
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise TypeError(
            f"save: {name!r} must be a Tensor or an array of floats, integers or "
            f"bools, got {getattr(array, 'dtype', type(array).__name__)}"
        )
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and metadata of a file, checked; in one reading, so of one version."""
    library = safetensors()
    content = Path(path).read_bytes()
    try:
        arrays = library.load(content)
        size = int.from_bytes(content[:8], "little")
        text = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    except Exception as error:  # whatever the library makes of a file that is none
        raise ValueError(
            f"{path} is no safetensors file, or cut short or damaged ({error!r}). "
            "Nothing was loaded; copy or make it again"
        ) from None
    signed = (FORMAT in text, DIGEST in text)
    if any(signed) and not (all(signed) and text[DIGEST] == digest(arrays, text)):
        raise ValueError(
            f"{path} is damaged: its contents do not match its checksum. Nothing was "
            "loaded; copy or make it again"
        )
    return {name: _usable(path, name, a) for name, a in arrays.items()}, text


def _usable(path: str | os.PathLike[str], name: str, array: Array) -> Array:
    """An array of the file as one that a Tensor can hold, with memory of its own."""
    if array.dtype == bool:
        return array.view(np.uint8) != 0
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {name!r} holds {array.dtype}; convert it to floats")
    return np.array(array)


def digest(arrays: Mapping[str, Array], text: Mapping[str, str] | None = None) -> str:
    """SHA-256 of names, shapes, dtypes, values and text, but for this number itself."""
    told = sorted((k, v) for k, v in (text or {}).items() if k != DIGEST)
    total = hashlib.sha256(json.dumps(told).encode())
    for name in sorted(arrays):
        array = arrays[name]
        shape = [name, array.dtype.name, list(array.shape)]
        total.update(json.dumps(shape).encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def safetensors() -> ModuleType:
    """The library, loaded when it is used; raises ImportError where there is none."""
    try:
        import safetensors.numpy as library
    except ImportError as error:
        raise ImportError(
            "reading and writing weights needs safetensors: pip install 'tinytl[io]'"
        ) from error
    return library
