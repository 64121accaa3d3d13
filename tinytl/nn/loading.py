"""Loading a state by name: everything is checked before anything changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tinytl_kernels import Array
from tinytl_kernels.devices import is_array

from ..tensor import Tensor, copied

Shape = tuple[int, ...]


@dataclass
class LoadResult:
    """What ``load_state_dict`` did, name by name.

    Attributes:
        loaded: values that were taken over.
        missing_keys: values of the module that the state does not have.
        unexpected_keys: values of the state that the module does not have.
        skipped: values of both, but of different shapes: name -> (shape in the state,
            shape in the module).
    """

    loaded: list[str] = field(default_factory=list)
    missing_keys: list[str] = field(default_factory=list)
    unexpected_keys: list[str] = field(default_factory=list)
    skipped: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all names and shapes matched."""
        return not (self.missing_keys or self.unexpected_keys or self.skipped)


def prepare_load(
    kind: str, own: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool
) -> tuple[LoadResult, Callable[[], None]]:
    """Compare names and shapes; return the report, and the change, which cannot fail.

    Args:
        kind: what is loaded into, for messages.
        own: name -> Tensor whose data are to be replaced.
        state: name -> Tensor or array.
        strict: demand that names and shapes agree.

    Raises:
        ValueError: `strict`, and they do not.
        TypeError: a value is not numeric.
    """
    values = {name: _values(name, value) for name, value in state.items()}
    result = LoadResult(
        missing_keys=[name for name in own if name not in values],
        unexpected_keys=[name for name in values if name not in own],
    )
    changes: list[tuple[Tensor, Array]] = []
    for name, tensor in own.items():
        if name not in values:
            continue
        if values[name].shape == tensor.shape:
            result.loaded.append(name)
            changes.append((tensor, copied(values[name], tensor)))
        else:
            result.skipped[name] = (values[name].shape, tensor.shape)
    if strict and not result.complete:
        raise ValueError(_mismatches(kind, result))

    def commit() -> None:
        for tensor, array in changes:
            tensor.data = array

    return result, commit


def _values(name: str, value: Any) -> Array:
    """The array of a state's entry, in the dtype it came in."""
    array = value.data if isinstance(value, Tensor) else value
    array = array if is_array(array) else np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"load_state_dict: {name!r} must be a Tensor or an array of numbers, got "
            f"{type(value).__name__}"
        )
    return array


def _mismatches(kind: str, result: LoadResult) -> str:
    """Error message that names every key that does not match."""
    lines = [f"load_state_dict: the state does not fit {kind}; nothing was loaded."]
    if result.missing_keys:
        lines.append(f"Missing in the state: {', '.join(result.missing_keys)}.")
    if result.unexpected_keys:
        lines.append(f"Unknown to the module: {', '.join(result.unexpected_keys)}.")
    for name, (got, needed) in result.skipped.items():
        lines.append(f"{name} has shape {got} in the state, {needed} in the module.")
    lines.append("Pass strict=False to load what fits and get a list of the rest.")
    return "\n".join(lines)
