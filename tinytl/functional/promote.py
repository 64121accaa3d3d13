"""What operands become before they are combined: Tensors, of one dtype, or an error."""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from tinytl_kernels import Array, namespace
from tinytl_kernels.devices import device_type, is_array, move

from ..devices import check_together
from ..devices import device as Device
from ..operators import Operand
from ..tensor import FLOATS, Tensor, as_array, record

LARGE = 1e9  # from here on a number may not fit its dtype
NUMBERS = (float, int, np.integer, np.floating)
ON_CPU = {(np.ndarray, dtype) for dtype in FLOATS}


def tensor(operation: str, name: str, value: Any) -> Tensor:
    """`value` as a Tensor; arrays and numbers are welcome wherever Tensors are.

    Raises:
        TypeError: it is nothing that a Tensor could hold.
    """
    if isinstance(value, Tensor):
        return value
    if not is_array(value) and not isinstance(value, float | int | list | tuple):
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
    if isinstance(value, NUMBERS):
        return value
    raise TypeError(f"{operation}: {name} must be a number, got {value!r}")


def same_dtype(operation: str, **operands: Tensor | None) -> None:
    """Hold the operands of a layer to one floating dtype and one device.

    Raises:
        TypeError: dtypes differ or are not floating.
        ValueError: devices differ.
    """
    given = [x.data for x in operands.values() if x is not None]
    kinds = {(type(array), array.dtype) for array in given}
    if len(kinds) == 1 and kinds <= ON_CPU:  # as nearly always
        return
    same_device(operation, **operands)
    dtypes = {name: x.dtype for name, x in operands.items() if x is not None}
    for name, x in operands.items():
        if x is not None:
            floating(operation, name, x)
    if len(set(dtypes.values())) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"{operation}: all must have one dtype, got {listed}")


def same_device(operation: str, **operands: Tensor | None) -> None:
    """Raise ValueError unless all given operands are on one device."""
    given = {name: x.data for name, x in operands.items() if x is not None}
    if any(type(array) is not np.ndarray for array in given.values()):
        check_together(operation, **given)


def to(
    input: Operand, dtype: Any = None, *, device: str | Device | None = None
) -> Tensor:
    """Values in another dtype, on another device, or both.

    Backward. gy in the dtype and on the device of `input`.

    Raises:
        TypeError: the dtype is none that a Tensor can hold.
        ValueError: there is no such device.
        ImportError: CuPy, which "cuda" needs, is not installed.
        RuntimeError: there is no usable GPU.
        MemoryError: its memory does not suffice; what was asked, what is free.
    """
    x = tensor("to", "input", input)
    before = x.dtype
    wanted = before if dtype is None else np.dtype(dtype)
    if wanted == before and device is None:
        return x
    origin = x.device
    place = origin if device is None else Device(device)  # type: ignore[arg-type]
    if wanted == before and place == origin:
        return x
    value = move(as_array(x.data.astype(wanted, copy=False)), place.type)
    if wanted not in FLOATS:
        return Tensor(value)
    return record(
        value,
        (
            x,
            lambda g: to(g, before, device=origin),
            lambda t: to(t, wanted, device=place),
        ),
    )


def common(operation: str, *operands: Any, floats: bool = False) -> list[Tensor]:
    """Operands as Tensors of one dtype, chosen as torch chooses it.

    Python numbers count less than Tensors without dimensions, and those less than
    Tensors with dimensions; a lower rank changes the dtype only by being of a higher
    kind (bool < integer < float). So ``float32 tensor * 2.5`` stays float32.

    All must be on one device; but a number, or a single value in the computer's memory,
    goes where the others are.

    Args:
        operation: name for error messages.
        operands: Tensors, arrays or numbers.
        floats: integers and bools become float32, as in torch.exp.
    """
    alike = _alike(operands)
    if alike:
        return alike
    known = [x if _is_number(x) else tensor(operation, "operand", x) for x in operands]
    dtype = result_type(known)
    if floats and dtype not in FLOATS:
        dtype = np.dtype(np.float32)
    for x in known:
        if isinstance(x, Tensor) and device_type(x.data) == "cuda":
            return _common_on_gpu(operation, known, dtype, namespace(x.data))
    return [
        to(x, dtype) if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype))
        for x in known
    ]


def _alike(operands: Sequence[Any]) -> list[Tensor]:
    """Tensors of one floating dtype on the CPU, and numbers beside them: no more to do.

    Empty if there is anything else. It is there for speed: nearly all calls end here.
    """
    tensors = [x for x in operands if isinstance(x, Tensor)]
    kinds = {(type(x.data), x.data.dtype) for x in tensors}
    if len(kinds) != 1 or not kinds <= ON_CPU:
        return []
    if len(tensors) == len(operands):
        return tensors
    if not all(
        isinstance(x, Tensor) or _is_number(x) and abs(x) < LARGE for x in operands
    ):
        return []
    dtype = tensors[0].dtype
    return [
        x if isinstance(x, Tensor) else Tensor(np.array(x, dtype)) for x in operands
    ]


def _common_on_gpu(
    operation: str, operands: Sequence[Tensor | float], dtype: np.dtype, xp: ModuleType
) -> list[Tensor]:
    """Numbers are made on the GPU, which sends nothing; single values move there."""
    tensors = {f"operand_{k}": x for k, x in enumerate(operands)}
    same_device(
        operation,
        **{k: x for k, x in tensors.items() if isinstance(x, Tensor) and x.ndim},
    )
    return [
        to(x, dtype, device="cuda")
        if isinstance(x, Tensor)
        else Tensor(_constant(xp, _number_text(x), dtype))
        for x in operands
    ]


def _number_text(x: float) -> str:
    return repr(float(x)) if isinstance(x, float) else repr(int(x))


@functools.lru_cache(maxsize=512)
def _constant(xp: ModuleType, text: str, dtype: np.dtype) -> Array:
    """A number on the GPU, made once: nobody writes to arrays, so all can share it.

    It is told by its text, because 0.0 == -0.0, and NaN is not even equal to itself.
    """
    value = int(text) if text.lstrip("-").isdigit() else float(text)
    return xp.full((), value, dtype)


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
