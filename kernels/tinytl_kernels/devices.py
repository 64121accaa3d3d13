"""Where arrays are, how they get elsewhere, and what is said when they cannot.

An array is NumPy's, in the computer's memory ("cpu"), or CuPy's, in that of a graphics
card ("cuda"). CuPy is imported when the first array is to go there, never before.
"""

import functools
from types import ModuleType
from typing import Any

import numpy as np

Array = Any

INSTALL = "pip install 'tinytl[cuda]'"


def device_type(array: Array) -> str:
    """ "cpu" or "cuda", by the library that the array comes from; imports nothing."""
    kind = type(array)
    on_gpu = kind is not np.ndarray and kind.__module__ == "cupy"
    return "cuda" if on_gpu and kind.__name__ == "ndarray" else "cpu"


def is_array(value: Any) -> bool:
    """Whether `value` is an array (or a NumPy number) of one of the two libraries."""
    return isinstance(value, np.ndarray | np.generic) or device_type(value) == "cuda"


def cuda_is_available() -> bool:
    """Whether CuPy is installed and finds a GPU that it can use."""
    try:
        cupy()
    except (ImportError, RuntimeError):
        return False
    return True


def cupy() -> ModuleType:
    """CuPy, with a GPU behind it.

    Raises:
        ImportError: CuPy is not installed.
        RuntimeError: it is, but no GPU can be used: none there, or no driver.
    """
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            f'"cuda" was asked for, but CuPy is not installed: {INSTALL}. '
            'Everything runs without it on "cpu"'
        ) from error
    if not cupy.cuda.is_available():
        raise RuntimeError(
            '"cuda" was asked for, and CuPy is installed, but no GPU can be used: '
            'there is none, or no driver for it (see nvidia-smi). Use "cpu"'
        )
    _explain_lack_of_memory(cupy)
    return cupy


def move(array: Array, device: str) -> Array:
    """The array on "cpu" or "cuda": itself if it is there, else a copy.

    Raises:
        ImportError: CuPy is not installed.
        RuntimeError: there is no usable GPU.
        MemoryError: the GPU's memory does not suffice; what was asked, what is free.
    """
    if device_type(array) == device:
        return array
    if device == "cpu":
        return cupy().asnumpy(array)
    return cupy().asarray(array)


@functools.cache
def _explain_lack_of_memory(cupy: ModuleType) -> None:
    """Let CuPy's allocator say what was asked and what is free, when it gives up.

    Every array of the process comes from the allocator, so this one place serves all
    operations. It hands every request on to the allocator that was there.
    """
    allocate = cupy.cuda.get_allocator()

    def explained(size: int) -> Any:
        try:
            return allocate(size)
        except MemoryError as error:
            free, total = cupy.cuda.runtime.memGetInfo()
            idle = cupy.get_default_memory_pool().free_bytes()
            raise MemoryError(
                f"cuda:0 lacks memory: {_size(size)} were asked for, {_size(free)} of "
                f"{_size(total)} are free, and {_size(idle)} more kept by CuPy in "
                "pieces that do not fit. Use a smaller batch"
            ) from error

    cupy.cuda.set_allocator(explained)


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"
