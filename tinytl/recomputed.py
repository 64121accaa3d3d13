"""Recomputed: a Tensor that may forget its values, and computes them again.

What a recorded walk sends from place to place is held by what it records, for the walk
through the walk. Some of it costs one pass over arrays that are held anyway: then its
values need not wait in memory. Inside ``graph.used_once``, where memory counts, such a
Tensor is told to forget when the walk has passed it on (``graph.walk``).
"""

from collections.abc import Callable
from typing import Any

from tinytl_kernels import Array

from .graph import Forgetful, state
from .tensor import Tensor

_values: Any = vars(Tensor)["data"]  # the slot that Tensors keep them in


def recomputed(x: Tensor, again: Callable[[], Array]) -> Tensor:
    """x, which may forget its values if it was recorded for one walk.

    Args:
        x: result of an operation.
        again: computes its values once more, bit by bit, from what others hold anyway.
    """
    return _Recomputed(x, again) if state.once and x.requires_grad else x


class _Recomputed(Forgetful, Tensor):
    """A Tensor with a way to its values."""

    __slots__ = ("again",)

    def __init__(self, like: Tensor, again: Callable[[], Array]):
        super().__init__(like.data)
        self.node, self.again = like.node, again

    @property
    def data(self) -> Array:
        """The values, computed again if they were forgotten."""
        try:
            return _values.__get__(self)
        except AttributeError:
            self.data = value = self.again()
            return value

    @data.setter
    def data(self, value: Array) -> None:
        _values.__set__(self, value)

    def forget(self) -> None:
        """Let go of the values."""
        _values.__delete__(self)
