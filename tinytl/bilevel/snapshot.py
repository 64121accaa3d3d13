"""Snapshot: everything that training changes, to return to bit by bit."""

import copy
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
from tinytl_kernels import Array
from tinytl_kernels.devices import move

from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor


class Snapshot:
    """Values of parameters and buffers, an optimiser's memory and rate, randomness.

    It costs next to nothing: tinytl never writes to an array, its updates put new ones
    in their place; so a reference is a snapshot, and no value is copied. Where *you*
    write to one, as ``p.data += 1`` and ``p.data[...] = 0`` do, the snapshot changes,
    too: write ``p.data = p.data + 1``, or take the snapshot with ``copy=True``.

    As a context manager it takes the values back at the end of the block, also after an
    error::

        with Snapshot.take(net, optimizer=sgd, generators=[rng]):
            ...  # try something: nothing of it remains

    Values come back to the device where their Tensor is by then; what an optimiser
    remembers follows its parameter at the next step.

    Not part of it: ``.grad``, which modules are in training mode, and which Tensor an
    attribute refers to (the values of the Tensors that were there are restored), and
    how often a schedule has been stepped (the rate is).
    """

    def __init__(
        self,
        tensors: Iterable[Tensor],
        optimizer: Optimizer | None,
        generators: Iterable[np.random.Generator],
        copy: bool = False,
    ):
        unique = {id(x): x for x in tensors}
        self._copy = copy
        self._values = [(x, self._kept(x.data)) for x in unique.values()]
        self._optimizer = optimizer
        self._memory = None if optimizer is None else optimizer.state_dict()
        self._randomness = [(g, state_of(g)) for g in generators]

    @classmethod
    def take(
        cls,
        *modules: Module | Tensor,
        optimizer: Optimizer | None = None,
        generators: Iterable[np.random.Generator] = (),
        copy: bool = False,
    ) -> "Snapshot":
        """Remember how things are now.

        Args:
            modules: modules with all their parameters, buffers and generators (those of
                Dropout), or single Tensors.
            optimizer: with its parameters, what it remembers of them, and its options,
                the rate among them.
            generators: further sources of randomness.
            copy: copy the values of the Tensors, now and when they are restored.

        Raises:
            TypeError: something else was given.
        """
        tensors: list[Tensor] = []
        for x in modules:
            if not isinstance(x, Module | Tensor):
                raise TypeError(
                    f"Snapshot.take: needs Modules or Tensors, got {type(x).__name__}"
                )
            parts = [x] if isinstance(x, Tensor) else [*x.parameters(), *x.buffers()]
            tensors.extend(parts)
        if optimizer is not None:
            for group in optimizer.param_groups:
                tensors.extend(group["params"])
        inside = [x for x in modules if isinstance(x, Module)]
        return cls(tensors, optimizer, generators_of(*inside, *generators), copy)

    def _kept(self, array: Array) -> Array:
        return array.copy() if self._copy else array

    def arrays(self) -> list[Array]:
        """The remembered values of all Tensors."""
        return [array for _, array in self._values]

    def restore(self) -> None:
        """Put everything back as it was; any number of times."""
        for x, array in self._values:
            x.data = move(self._kept(array), x.device.type)
        if self._optimizer is not None and self._memory is not None:
            _restore_optimizer(self._optimizer, self._memory)
        for generator, state in self._randomness:
            generator.bit_generator.state = state

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()


def _restore_optimizer(optimizer: Optimizer, memory: dict[str, Any]) -> None:
    optimizer.state = {k: dict(state) for k, state in memory["state"].items()}
    for group, saved in zip(
        optimizer.param_groups, memory["param_groups"], strict=True
    ):
        params = group["params"]
        group.clear()
        group.update(saved, params=params)


def generators_of(
    *sources: Module | np.random.Generator,
) -> list[np.random.Generator]:
    """Generators among the sources and among the attributes of the modules, once each.

    Raises:
        TypeError: something else was given.
    """
    found: dict[int, np.random.Generator] = {}
    for source in sources:
        for generator in _generators(source):
            found[id(generator)] = generator
    return list(found.values())


def _generators(source: Any) -> Iterator[np.random.Generator]:
    if isinstance(source, np.random.Generator):
        yield source
    elif isinstance(source, Module):
        for module in source.modules():
            values = vars(module).values()
            yield from (x for x in values if isinstance(x, np.random.Generator))
    else:
        raise TypeError(
            f"needs numpy.random.Generators or Modules, got {type(source).__name__}"
        )


def state_of(generator: np.random.Generator) -> dict[str, Any]:
    """Where a generator stands, as a copy."""
    return copy.deepcopy(dict(generator.bit_generator.state))
