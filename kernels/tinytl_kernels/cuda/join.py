"""Arrays one after the other on a GPU, by CuPy."""

from collections.abc import Sequence

from .. import namespace
from .launch import Array


def concatenate(arrays: Sequence[Array], axis: int) -> Array:
    """Arrays one after the other along `axis`; see plain.concatenate.

    Traffic. One value read, one written: memory is the limit.
    """
    return namespace(arrays[0]).concatenate(arrays, axis)
