"""Containers: modules made of a list of modules."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from .module import Module


class _Numbered(Module):
    """Parts in a row, addressed by index; their names are "0", "1", ... unless told."""

    def _parts(self) -> dict[str, Module]:
        return {k: v for k, v in vars(self).items() if isinstance(v, Module)}

    def _name(self, index: int) -> str:
        names = list(self._parts())
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(
                f"{type(self).__name__}: an index must be an integer or a slice, got "
                f"{index!r}"
            )
        if not -len(names) <= index < len(names):
            raise IndexError(
                f"{type(self).__name__}: index {index} is out of range, it has "
                f"{len(names)} parts"
            )
        return names[index]

    def __len__(self) -> int:
        return len(self._parts())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._parts().values())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            part = type(self)()
            for name, module in list(self._parts().items())[index]:
                part._add(name, module)
            return part
        return self._parts()[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self._add(self._name(index), module)

    def _add(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: part {name!r} must be a Module, got "
                f"{type(module).__name__}"
            )
        if hasattr(type(self), name) or "." in name or not name:
            raise ValueError(
                f"{type(self).__name__}: {name!r} is no name for a part: it must not "
                "be empty, contain a dot, or be the name of a method"
            )
        setattr(self, name, module)

    def append(self, module: Module) -> Self:
        """Add a part at the end; return the container."""
        self._add(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several parts at the end; return the container."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_Numbered):
    """Parts called one after the other, each with the output of the one before.

    Args:
        *args: modules, or one dict (name -> module) that gives them names.

    Raises:
        TypeError: a part is not a Module.
    """

    def __init__(self, *args: Any):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self._add(name, module)
        else:
            self.extend(args)

    def forward(self, input: Any) -> Any:
        """Output of the last part."""
        for module in self:
            input = module(input)
        return input


class ModuleList(_Numbered):
    """Parts in a row, to be called as the owner likes.

    Args:
        modules: the parts, or None for none.

    Raises:
        TypeError: a part is not a Module.
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self.extend(modules or ())
