"""replay and VirtualStatistics: losses that give the same at every evaluation.

Estimators evaluate a step's loss again: to differentiate it, to replay a thinned path,
to check themselves. What has moved meanwhile, random numbers and running statistics,
must be as it was at the first evaluation. A new dropout mask gives a hypergradient that
looks plausible and is wrong.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..nn import Module
from ..tensor import Tensor
from .snapshot import generators_of, state_of

Loss = Callable[..., Tensor]
POLICIES = ("official", "freeze", "restore")


def replay(function: Loss, *sources: np.random.Generator | Module) -> Loss:
    """The same loss, with the random numbers of a step drawn once.

    The first evaluation at t draws; each later one at t draws the same again, and then
    puts the generators where they were. So in the end they have moved as if each step
    had been evaluated once. Use a new one for every hypergradient, or the masks never
    change.

    Args:
        function: inner(parameters, hyper, t) or outer(parameters, hyper).
        sources: the generators it uses, or modules that hold them (Dropout).

    Raises:
        TypeError: a source is neither.
        ValueError: there is no generator in the sources.
    """
    generators = generators_of(*sources)
    if not generators:
        raise ValueError(
            "replay: found no numpy.random.Generator; a Dropout without one draws "
            "unrepeatable masks: pass Dropout(generator=...)"
        )
    first: dict[Any, list[dict[str, Any]]] = {}

    def put(states: list[dict[str, Any]]) -> None:
        for generator, state in zip(generators, states, strict=True):
            generator.bit_generator.state = state

    def same_again(parameters: list[Tensor], hyper: list[Tensor], *t: int) -> Tensor:
        now = [state_of(generator) for generator in generators]
        if t not in first:
            first[t] = now
            return function(parameters, hyper, *t)
        put(first[t])
        try:
            return function(parameters, hyper, *t)
        finally:
            put(now)

    return same_again


class VirtualStatistics:
    """What virtual steps do to running statistics: one named policy, every estimator.

    A forward pass in training mode moves the running mean and variance of batch
    normalisation. Virtual steps, the outer loss and recomputations are such passes, but
    the parameters are rolled back after them. And the statistics? ::

        with VirtualStatistics(net, bn_virtual="official") as virtual:
            found = hypergradient(virtual(inner), virtual(outer), ...)

    bn_virtual   during the block                       after it
    "official"   each step moves them on                as after the pass at t = 0
    "restore"    each step moves them on                as before the block
    "freeze"     every pass puts them back              as before the block

    "official" is what the published L2T-ww code arrives at: with the real step's,
    an iteration moves the statistics twice, because the recomputation at t = 0 is never
    undone. Gradients are the same under all three as long as passes use the statistics
    of the batch. If `outer` runs in evaluation mode, it sees statistics that have moved
    on, except under "freeze"; no gradient flows through them in any case.

    A step that is evaluated again starts from the statistics of its first evaluation
    and leaves no trace.

    Args:
        modules: their buffers are looked after.
        bn_virtual: the policy.

    Raises:
        ValueError: unknown policy, or a loss is evaluated outside of the block.
    """

    def __init__(self, *modules: Module, bn_virtual: str = "official"):
        if bn_virtual not in POLICIES:
            raise ValueError(
                f"VirtualStatistics: bn_virtual must be one of {POLICIES}, got "
                f"{bn_virtual!r}"
            )
        self.bn_virtual = bn_virtual
        self._buffers = [x for module in modules for x in module.buffers()]
        self._before: list[Array] | None = None
        self._after_first: list[Array] | None = None
        self._starts: dict[Any, list[Array]] = {}

    def __call__(self, function: Loss) -> Loss:
        """The same loss, its effect on the statistics governed by the policy."""

        def governed(parameters: list[Tensor], hyper: list[Tensor], *t: int) -> Tensor:
            if self._before is None:
                raise ValueError(
                    "VirtualStatistics: evaluate losses inside its with block"
                )
            now = self._values()
            again = t in self._starts
            self._put(self._starts.setdefault(t, now))
            try:
                return function(parameters, hyper, *t)
            finally:
                if t == (0,) and not again:
                    self._after_first = self._values()
                if again or self.bn_virtual == "freeze":
                    self._put(now)

        return governed

    def _values(self) -> list[Array]:
        return [x.data for x in self._buffers]

    def _put(self, values: list[Array]) -> None:
        for x, array in zip(self._buffers, values, strict=True):
            x.data = array

    def __enter__(self) -> "VirtualStatistics":
        self._before = self._values()
        self._after_first, self._starts = None, {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        before = self._before if self._before is not None else self._values()
        official = self.bn_virtual == "official" and self._after_first is not None
        moved = official and kind is None
        self._put(self._after_first if moved else before)  # type: ignore[arg-type]
        self._before = None
