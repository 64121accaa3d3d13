"""Pending: what a walk carries, not computed before all is known that it is added to.

Gradients that reach a place on several ways are added up there, and so are tangents.
Each of them is a pass over memory that writes as much as a map of features, each sum
one that reads two of them. Where *one* operation sends them, the sum is often no more
work than a part: a channel's u h + v + w c and its u' h + v' + w' c are together
(u + u') h + (v + v') + (w + w') c, one pass in the place of three.

So an operation may send a Pending: what it would compute. The walks add with
``arrived``, which asks whether two go together, and have values computed where a
place's sum is complete. A Pending has no history; where a walk is recorded, operations
on Tensors stand in its place, and their results differ by rounding.
"""

from typing import Any


class Pending:
    """What is sent where a sum may be made; subclasses say what that is.

    Attributes:
        shape: of the values.
        complete: whether nothing that may join it is still to come, as far as it knows;
            then it is computed at once, and does not hold what it is computed from.
    """

    shape: tuple[int, ...]
    complete = False

    def computed(self) -> Any:
        """The Tensor."""
        raise NotImplementedError

    def joined(self, other: "Pending") -> "Pending | None":
        """The sum of both, pending, or None if they do not go together."""
        raise NotImplementedError


def settled(x: Any) -> Any:
    """The Tensor, computed if it is pending."""
    return x.computed() if isinstance(x, Pending) else x


def arrived(before: Any, x: Any) -> Any:
    """before + x, each a Tensor or pending; x itself if nothing was there (None)."""
    total = x if before is None else None
    if isinstance(before, Pending) and isinstance(x, Pending):
        total = before.joined(x)
    if total is None:
        total = settled(before) + settled(x)
    return settled(total) if isinstance(total, Pending) and total.complete else total
