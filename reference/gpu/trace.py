"""What a program would have a GPU do: every launch, with its real shapes and types.

The program runs on the stand-in for CuPy that the tests use, so its operations on whole
arrays are computed by NumPy, and noted. The kernels are not computed: they are noted
with the grid that a real device would get, and what they fill stays zero. So the values
are meaningless, and the work is the real one: which kernels, how often, on how much.

Bytes are those of every array that a launch reads or writes, each once: what has to
cross the memory bus if caches do the rest. Operations are multiplications and additions
for products, and one per value for all else.
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Launch:
    """One kernel on one grid.

    Attributes:
        name: of the kernel, or "cupy.add" for an operation of CuPy's.
        threads: of a block; 0 for CuPy's own.
        blocks: of the grid; 0 for CuPy's own.
        bytes: read and written.
        operations: of floating numbers.
        double: whether an array of float64 takes part.
    """

    name: str
    threads: int
    blocks: int
    bytes: int
    operations: int
    double: bool


@dataclass
class Trace:
    """What was noted: launches, and how often the host waited or sent arrays."""

    launches: list[Launch] = field(default_factory=list)
    waits: int = 0
    sent: int = 0  # bytes from host to device

    def by_name(self) -> dict[str, list[Launch]]:
        """Launches of every kernel."""
        found: dict[str, list[Launch]] = {}
        for launch in self.launches:
            found.setdefault(launch.name, []).append(launch)
        return found


def stand_in() -> Any:
    """The tests' stand-in for CuPy, put in its place."""
    folder = str(ROOT / "tests" / "cuda")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import standin

    standin.install()
    return standin


@contextmanager
def tracing() -> Iterator[Trace]:
    """Note what is launched inside the block, and compute no kernel.

    Arrays come to the stand-in by ``.to("cuda")`` or ``cupy.asarray``, as usual.
    """
    standin = stand_in()
    from tinytl_kernels.cuda.launch import Kernel

    trace = Trace()
    before = standin.waits.count
    saved: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def launch(
        kernel: Any, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any
    ) -> None:
        if 0 in blocks:
            return
        arrays = [a._array for a in arguments if hasattr(a, "_array")]
        trace.launches.append(
            Launch(
                kernel.name,
                math.prod(threads),
                math.prod(blocks),
                sum(map(_bytes, arrays)),
                operations(kernel.name, arrays, arguments),
                any(a.dtype == np.float64 for a in arrays),
            )
        )

    put(Kernel, "launch", launch)
    put(standin, "function", _noted(standin, trace, standin.function, "cupy."))
    put(standin, "method", _noted_method(standin, trace, standin.method))
    for name in list(vars(standin.ndarray)):
        if name.strip("_") in OPERATORS or name.strip("_")[1:] in OPERATORS:
            put(
                standin.ndarray,
                name,
                _noted_operator(standin, trace, name),
            )
    try:
        with np.errstate(all="ignore"):
            yield trace
    finally:
        trace.waits = standin.waits.count - before
        for owner, name, value in reversed(saved):
            setattr(owner, name, value)


OPERATORS = {
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
    *("and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge", "neg", "abs", "invert"),
}


def operations(name: str, arrays: list[np.ndarray], arguments: tuple[Any, ...]) -> int:
    """Operations of one launch: 2 a multiplication for products, 1 a value else."""
    for tuple_ in arguments:
        if type(tuple_).__name__ == "Product":
            groups = arrays[-1].shape[1]
            return (
                2 * groups * int(tuple_.rows) * int(tuple_.columns) * int(tuple_.depth)
            )
    if name.startswith("narrow"):
        images, weights = arrays[:2]
        taps = math.prod(arrays[1].shape[1:])
        return 2 * max(a.size for a in (images, arrays[-1])) * taps
    return max(a.size for a in arrays)


def _bytes(array: np.ndarray) -> int:
    """Bytes behind an array; what broadcasting repeats counts once."""
    held = (n for n, s in zip(array.shape, array.strides, strict=True) if s)
    return math.prod(held) * array.itemsize


def _note(trace: Trace, standin: Any, name: str, given: Any, result: Any) -> None:
    """One operation of CuPy's; views cost nothing."""
    inputs = [a._array for a in _arrays(standin, given)]
    outputs = [a._array for a in _arrays(standin, result)]
    outputs = [
        b
        for b in outputs
        if not any(np.may_share_memory(a, b) for a in inputs) or "inplace" in name
    ]
    if not outputs or not sum(b.size for b in outputs):
        return
    count = max(a.size for a in (*inputs, *outputs))
    if name == "cupy.matmul":
        count = 2 * outputs[0].size * inputs[0].shape[-1]
    trace.launches.append(
        Launch(
            name,
            0,
            0,
            sum(map(_bytes, inputs)) + sum(map(_bytes, outputs)),
            count,
            any(a.dtype == np.float64 for a in (*inputs, *outputs)),
        )
    )


def _arrays(standin: Any, value: Any) -> list[Any]:
    if isinstance(value, standin.ndarray):
        return [value]
    if isinstance(value, list | tuple):
        return [a for v in value for a in _arrays(standin, v)]
    if isinstance(value, dict):
        return _arrays(standin, list(value.values()))
    return []


SILENT = {"cupy.empty", "cupy.empty_like", "cupy.ogrid", "cupy.asnumpy"}


def _noted(
    standin: Any, trace: Trace, function: Callable[[str], Any], prefix: str
) -> Callable[[str], Any]:
    def noted(name: str) -> Any:
        call = function("zeros" if name == "empty" else name)

        def run(*args: Any, **kwargs: Any) -> Any:
            sent = [a for a in args if isinstance(a, np.ndarray)]
            if sent:
                trace.sent += sum(map(_bytes, sent))
            result = call(*args, **kwargs)
            if prefix + name not in SILENT and not sent:
                _note(trace, standin, prefix + name, [args, kwargs], result)
            return result

        return run

    return noted


def _noted_method(
    standin: Any, trace: Trace, method: Callable[..., Any]
) -> Callable[..., Any]:
    def noted(array: np.ndarray, name: str) -> Any:
        call = method(array, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            given = [standin.ndarray(array), args, kwargs]
            _note(trace, standin, f"cupy.{name}", given, result)
            return result

        return run

    return noted


def _noted_operator(standin: Any, trace: Trace, special: str) -> Any:
    operator, name = getattr(standin.ndarray, special), special.strip("_")
    inplace = name[0] == "i" and name[1:] in OPERATORS
    plain = name if name in OPERATORS else name[1:]
    label = f"cupy.{plain}" + " inplace" * inplace

    def run(self: Any, *other: Any) -> Any:
        result = operator(self, *other)
        if result is not NotImplemented:
            given = [other[0], self] if other and name[0] == "r" else [self, other]
            _note(trace, standin, label, given, result)
        return result

    return run
