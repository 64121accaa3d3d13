"""functional_call: a module as a function of its parameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..tensor import Tensor
from .module import Module

Slot = tuple[dict[str, Any], str]  # attributes of a module, and one name among them


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs), with the given Tensors as its parameters and buffers.

    A network's parameters are attributes; a derivative needs them to be arguments. The
    given Tensors may have a history, such as theta - lr * gradient, and the output is
    then recorded as computed from them. Afterwards, also after an error, the module has
    its own parameters back. A buffer that forward replaces (running statistics) is
    replaced in the given Tensor if one was given, else in the module's own.

    Args:
        module: what is called. Not by two threads at a time.
        parameter_and_buffer_dicts: name -> Tensor, names as in ``state_dict``; or
            several such dicts. What is not named keeps its own value.
        args: arguments of forward: a tuple, or the only one.
        kwargs: arguments by name.
        tie_weights: a parameter that stands in several places is replaced in all.
        strict: every parameter and buffer must be named.

    Raises:
        ValueError: a name that the module does not have (where torch.func goes on
            without a word), a shape that is not the parameter's, two values for one
            tied parameter, or with `strict` a name that is missing.
        TypeError: a value is no Tensor.
    """
    given = parameter_and_buffer_dicts
    parts = [given] if isinstance(given, Mapping) else list(given)
    tensors = {name: value for part in parts for name, value in part.items()}
    slots = _slots(module)
    for name, value in tensors.items():
        _check(module, slots, name, value)
    missing = sorted(set(slots) - set(tensors))
    if strict and missing:
        raise ValueError(
            f"functional_call: {type(module).__name__} also has {missing}; strict=True "
            "needs them all"
        )
    places = _tied(slots, tensors) if tie_weights else {}
    places |= {_key(slots[name]): (slots[name], x) for name, x in tensors.items()}
    inputs = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(places.values()):
        return module(*inputs, **(kwargs or {}))


def _slots(module: Module) -> dict[str, Slot]:
    """Where each parameter and buffer stands; a shared one under all its names."""
    found = {}
    for path, part in module.named_modules():
        for name in (*part._own_parameters(), *part._own_buffers()):
            found[f"{path}.{name}" if path else name] = (vars(part), name)
    return found


def _key(slot: Slot) -> tuple[int, str]:
    return id(slot[0]), slot[1]


def _check(module: Module, slots: dict[str, Slot], name: str, value: Any) -> None:
    if name not in slots:
        close = difflib.get_close_matches(name, slots, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; it has {list(slots)}"
        raise ValueError(
            f"functional_call: {type(module).__name__} has no parameter or buffer "
            f"{name!r}{hint}"
        )
    if not isinstance(value, Tensor):
        raise TypeError(
            f"functional_call: {name!r} must be a Tensor, got {type(value).__name__}"
        )
    attributes, key = slots[name]
    if value.shape != attributes[key].shape:
        raise ValueError(
            f"functional_call: {name!r} has shape {attributes[key].shape}, got "
            f"{value.shape}"
        )


def _tied(slots: dict[str, Slot], tensors: dict[str, Tensor]) -> dict[Any, Any]:
    """For each replaced value, all slots that hold the same one."""
    new: dict[int, tuple[str, Tensor]] = {}
    for name, value in tensors.items():
        attributes, key = slots[name]
        first, known = new.setdefault(id(attributes[key]), (name, value))
        if known is not value:
            raise ValueError(
                f"functional_call: {first!r} and {name!r} are one parameter, but got "
                "two values; give one of them, or pass tie_weights=False"
            )
    return {
        _key(slot): (slot, new[id(slot[0][slot[1]])][1])
        for slot in slots.values()
        if id(slot[0][slot[1]]) in new
    }


@contextmanager
def _replaced(places: Any) -> Iterator[None]:
    before = [(slot, slot[0][slot[1]]) for slot, _ in places]
    try:
        for (attributes, key), value in places:
            attributes[key] = value
        yield
    finally:
        for (attributes, key), value in before:
            attributes[key] = value
