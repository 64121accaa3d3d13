"""Products of matrices on a GPU, by cuBLAS."""

from .launch import Array


def matmul(x: Array, z: Array) -> Array:
    """Y = X Z over the last two dimensions, broadcast over the ones before."""
    return x @ z
