"""What operands become before they are combined: Tensors, of one dtype, or an error."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..operators import Operand
from ..tensor import FLOATS, Tensor, as_array, record


def tensor(operation: str, name: str, value: Any) -> Tensor:
    """`value` as a Tensor; arrays and numbers are welcome wherever Tensors are.

    Raises:
        TypeError: it is nothing that a Tensor could hold.
    """
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray | np.generic | float | int | list | tuple):
        raise TypeError(
            f"{operation}: {name} must be a Tensor, an array or a number, got "
            f"{type(value).__name__}"
        )
    return Tensor(value)


def floating(operation: str, name: str, value: Any) -> Tensor:
    """`value` as a Tensor of float32 or float64.

    Raises:
        TypeError: it holds integers or bools.
    """
    x = tensor(operation, name, value)
    if x.dtype not in FLOATS:
        raise TypeError(
            f"{operation}: {name} must be float32 or float64, got {x.dtype}; convert "
            "it with .to(tinytl.float32)"
        )
    return x


def number(operation: str, name: str, value: Any) -> Any:
    """`value` if it is one real number.

    Raises:
        TypeError: it is anything else.
    """
    if isinstance(value, float | int | np.integer | np.floating):
        return value
    raise TypeError(f"{operation}: {name} must be a number, got {value!r}")


def same_dtype(operation: str, **operands: Tensor | None) -> None:
    """Raise TypeError unless all given operands have one floating dtype."""
    dtypes = {name: x.dtype for name, x in operands.items() if x is not None}
    for name, x in operands.items():
        if x is not None:
            floating(operation, name, x)
    if len(set(dtypes.values())) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"{operation}: all must have one dtype, got {listed}")


def to(input: Operand, dtype: Any) -> Tensor:
    """Values in another dtype; the gradient returns in the dtype of `input`.

    Raises:
        TypeError: the dtype is none that a Tensor can hold.
    """
    x = tensor("to", "input", input)
    wanted = np.dtype(dtype)
    if wanted == x.dtype:
        return x
    value = as_array(x.data.astype(wanted))
    if wanted not in FLOATS:
        return Tensor(value)
    before = x.dtype
    return record(value, (x, lambda g: to(g, before)))


def common(operation: str, *operands: Any, floats: bool = False) -> list[Tensor]:
    """Operands as Tensors of one dtype, chosen as torch chooses it.

    Python numbers count less than Tensors without dimensions, and those less than
    Tensors with dimensions; a lower rank changes the dtype only by being of a higher
    kind (bool < integer < float). So ``float32 tensor * 2.5`` stays float32.

    Args:
        operation: name for error messages.
        operands: Tensors, arrays or numbers.
        floats: integers and bools become float32, as in torch.exp.
    """
    known = [x if _is_number(x) else tensor(operation, "operand", x) for x in operands]
    dtype = result_type(known)
    if floats and dtype not in FLOATS:
        dtype = np.dtype(np.float32)
    return [
        to(x, dtype) if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype))
        for x in known
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int)


def result_type(operands: Sequence[Tensor | float]) -> np.dtype:
    """The dtype that torch.result_type gives for these operands."""
    ranks: list[list[np.dtype]] = [[], [], []]
    for x in operands:
        if isinstance(x, Tensor):
            ranks[0 if x.ndim else 1].append(x.dtype)
        else:
            ranks[2].append(as_array(float(x) if isinstance(x, float) else x).dtype)
    found = [functools.reduce(_promote, rank) for rank in ranks if rank]
    return functools.reduce(_outrank, found)


def _promote(a: np.dtype, b: np.dtype) -> np.dtype:
    """Smallest dtype for both; an integer beside a float does not widen the float."""
    if (a.kind == "f") != (b.kind == "f"):
        return a if a.kind == "f" else b
    return np.promote_types(a, b)


def _outrank(higher: np.dtype, lower: np.dtype) -> np.dtype:
    """`higher`, unless `lower` is of a higher kind: bool < integer < float."""
    order = {"b": 0, "i": 1, "u": 1, "f": 2}
    return (
        higher if order[higher.kind] >= order[lower.kind] else _promote(higher, lower)
    )
