"""Kernel sets: arrays in, arrays out, no Tensor and no gradient.

A *kernel set* is a module that offers the functions of ``plain`` under the same
names, with the same arguments and the same results. An operation asks
``kernels_for(array)`` and calls what it gets; it never learns which set ran.

    plain   NumPy alone, written to be read; what the others must equal
    cpu     compiled loops; whatever it lacks it takes from plain
    exact   cpu, with every convolution summed as it is defined
    cuda    numba-cuda and cuBLAS, on CuPy arrays

CuPy arrays are served by ``cuda``. Which set serves NumPy arrays is decided at the
first call, in this order: the set chosen with ``use_kernels``, the environment variable
``TINYTL_KERNELS``, ``cpu`` when numba is installed, else ``plain``.
"""

import functools
import importlib
import importlib.util
import os
import sys
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

Array = Any  # a NumPy array, or an array of a library with NumPy's functions

SETS = ("plain", "exact", "cpu")

_chosen: str | None = None


def namespace(array: Array) -> ModuleType:
    """Module whose functions work on `array`: NumPy, or CuPy for its arrays."""
    if type(array) is np.ndarray or isinstance(array, np.generic | np.ndarray):
        return np
    if type(array).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"]  # which whoever made the array has imported
    raise TypeError(
        f"tinytl computes with CuPy and NumPy arrays, got {type(array).__name__}"
    )


@functools.cache
def available() -> tuple[str, ...]:
    """Names of the kernel sets that this Python can load, without loading them."""
    return SETS if importlib.util.find_spec("numba") else SETS[:1]


def current() -> str:
    """Name of the kernel set that serves NumPy arrays."""
    return _chosen or _from_outside()


@functools.cache
def _from_outside() -> str:
    """What the environment or the machine says, asked once: each call would ask."""
    return _checked(os.environ.get("TINYTL_KERNELS") or available()[-1])


def kernels_for(array: Array) -> ModuleType:
    """Kernel set for `array`: the only place where a device or a set is chosen."""
    return _load(current() if namespace(array) is np else "cuda")


@functools.cache
def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


class use_kernels:
    """Choose the kernel set: ``use_kernels("plain")``.

    As a statement it holds until the next call; in a ``with`` block until the end of
    the block. ``use_kernels(None)`` returns to the automatic choice.

    Raises:
        ValueError: the name is none of ``available()``.
    """

    def __init__(self, name: str | None):
        global _chosen
        self.previous = _chosen
        _chosen = None if name is None else _checked(name)

    def __enter__(self) -> "use_kernels":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _chosen
        _chosen = self.previous


def _checked(name: str) -> str:
    if name not in SETS:
        raise ValueError(f"no kernel set is called {name!r}; there are {SETS}")
    if name not in available():
        raise ValueError(
            f"the kernel set {name!r} needs numba: pip install 'tinytl[fast]'"
        )
    return name
