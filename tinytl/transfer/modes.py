"""Looking at a network without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..graph import no_grad
from ..nn import Module


@contextmanager
def evaluating(*networks: Module) -> Iterator[None]:
    """Within the block they are in eval mode, and nothing is recorded.

    Afterwards each of their parts is in the mode it was in: a part that was frozen by
    ``eval()`` in a network that trains stays frozen.
    """
    modes = [(part, part.training) for net in networks for part in net.modules()]
    for net in networks:
        net.eval()
    try:
        with no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training
