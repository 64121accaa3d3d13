"""Selection on a GPU, where a condition costs a thread nothing."""

from .. import namespace
from .launch import Array


def keep(x: Array, mask: Array) -> Array:
    """x where `mask` holds, 0 elsewhere; the mask broadcasts to x."""
    return namespace(x).where(mask, x, x.dtype.type(0))
