"""Vectors: a few neighbouring numbers that one instruction adds or multiplies.

The compiler turns simple loops into such instructions by itself, but not where it would
have to prove that arrays do not overlap. There a kernel says it:

    v = load(x, i)                    # x[i : i + lanes] of a flat array
    store(y, i, 4.0 * v - load(x, j))

With NUMBA_DISABLE_JIT=1 the same lines run in Python, on small NumPy arrays.
"""

import functools
import operator
import platform
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

from ..memory import LINE
from .compiled import inlined

Array = np.ndarray

FEATURES = binding.get_host_cpu_features()
BITS = 512 if FEATURES.get("avx512f") else 256 if FEATURES.get("avx2") else 128
COMPILED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
FUSED = ("contract",)  # a product and a sum may become one instruction, rounded once


@functools.cache
def lanes(dtype: Any) -> int:
    """How many numbers of this dtype a vector holds."""
    return BITS // 8 // np.dtype(dtype).itemsize


def compiled_as(emit: Any) -> Callable[[Any], Any]:
    """Have kernels use the instructions of `emit` in the place of a Python function."""

    def choose(function: Any) -> Any:
        emit.__doc__ = function.__doc__
        return emit if COMPILED else function

    return choose


class Vector(types.Type):
    """Numba's type of a vector of float32 or float64."""

    def __init__(self, dtype: types.Type):
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector):
        scalar = manager.lookup(vector.dtype).get_value_type()
        count = BITS // vector.dtype.bitwidth  # type: ignore[attr-defined]
        super().__init__(manager, vector, ir.VectorType(scalar, count))


def address(context: Any, builder: Any, kind: Any, array: Any, i: Any) -> Any:
    """Emit: where array[i] lies in memory.

    Raises:
        TypeError: the array is not flat, or has gaps between its numbers.
    """
    if kind.layout != "C" or kind.ndim != 1:
        raise TypeError(f"vectors lie in flat arrays without gaps, not in {kind}")
    return builder.gep(context.make_array(kind)(context, builder, array).data, [i])


def read(builder: Any, place: Any, vector: Any) -> Any:
    """Emit: the vector that begins at `place`."""
    return builder.load(builder.bitcast(place, vector.as_pointer()), align=4)


def write(builder: Any, place: Any, value: Any) -> None:
    """Emit: put the vector `value` to `place`."""
    builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=4)


def spread(builder: Any, scalar: Any, vector: Any) -> Any:
    """Emit: the vector with `scalar` in every lane."""
    nothing, integer = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    first = builder.insert_element(nothing, scalar, ir.Constant(integer, 0))
    zeros = ir.Constant(ir.VectorType(integer, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, nothing, zeros)


@intrinsic
def _load(typing: Any, x: Any, i: Any) -> Any:
    kind = Vector(x.dtype)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = address(context, builder, x, *args)
        return read(builder, place, context.get_value_type(kind))

    return kind(x, types.intp), emit


@intrinsic
def _store(typing: Any, x: Any, i: Any, v: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write(builder, address(context, builder, x, *args[:2]), args[2])
        return context.get_dummy_value()

    return types.void(x, types.intp, v), emit


@intrinsic
def _stream(typing: Any, x: Any, i: Any, v: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = address(context, builder, x, *args[:2])
        integer = ir.IntType(64)
        behind = builder.and_(
            builder.ptrtoint(place, integer), ir.Constant(integer, BITS // 8 - 1)
        )
        begins = builder.icmp_unsigned("==", behind, ir.Constant(integer, 0))
        with builder.if_else(begins) as (past, through):
            with past:
                to = builder.bitcast(place, args[2].type.as_pointer())
                hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                written = builder.store(args[2], to, align=BITS // 8)
                written.set_metadata("nontemporal", hint)
            with through:
                write(builder, place, args[2])
        return context.get_dummy_value()

    return types.void(x, types.intp, v), emit


@intrinsic
def _fetch(typing: Any, x: Any, i: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        place = builder.bitcast(address(context, builder, x, *args), byte)
        how = [ir.Constant(number, n) for n in (0, 3, 1)]  # to read, to stay, data
        builder.call(hint, [place, *how])
        return context.get_dummy_value()

    return types.void(x, types.intp), emit


@intrinsic
def _arrive(typing: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse.sfence"
            builder.call(builder.module.declare_intrinsic(name, (), kind), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def _turn(typing: Any, y: Any, i: Any, y_step: Any, x: Any, j: Any, x_step: Any) -> Any:
    kind = Vector(x.dtype)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, y_row, begin, x_row = args[1], args[2], args[4], args[5]
        vector = context.get_value_type(kind)
        rows = []
        for _ in range(vector.count):
            place = address(context, builder, x, args[3], begin)
            rows.append(read(builder, place, vector))
            begin = builder.add(begin, x_row)
        for row in _turned(builder, rows):
            write(builder, address(context, builder, y, args[0], to), row)
            to = builder.add(to, y_row)
        return context.get_dummy_value()

    count = types.intp
    return types.void(y, count, count, x, count, count), emit


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Emit: a square of vectors turned, in squares of 2, 4, 8, ... lanes."""
    count, step = len(rows), 1
    while step < count:
        for k in [k for k in range(count) if not k & step]:
            lanes = range(count)
            upper = [n if not n & step else n - step + count for n in lanes]
            lower = [n + step if not n & step else n + count for n in lanes]
            masks = (
                ir.Constant(ir.VectorType(ir.IntType(32), count), mask)
                for mask in (upper, lower)
            )
            pair = rows[k], rows[k + step]
            rows[k], rows[k + step] = (
                builder.shuffle_vector(*pair, mask) for mask in masks
            )
        step *= 2
    return rows


@intrinsic
def _zero(typing: Any, x: Any) -> Any:
    kind = Vector(x.dtype)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(kind), None)

    return kind(x), emit


@intrinsic
def _spread(typing: Any, s: Any, v: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0], args[1].type)

    return v(v.dtype, v), emit


@compiled_as(_load)
def load(x: Array, i: int) -> Array:
    """The vector that begins at x[i]."""
    return x[i : i + lanes(x.dtype)].copy()


@compiled_as(_store)
def store(x: Array, i: int, v: Array) -> None:
    """Put the vector v to x[i] and the places after it."""
    x[i : i + lanes(x.dtype)] = v


@compiled_as(_stream)
def stream(x: Array, i: int, v: Array) -> None:
    """``store``, past the caches: for results that are too large to stay there.

    An ordinary store first reads the line that it writes to, and makes room for it by
    writing another one to memory. A whole line can go to memory at once. That needs
    vectors that begin at a multiple of their own length, as in arrays of memory.empty;
    others are stored as always. A narrower vector should be followed by the next one,
    or the line goes to memory in parts. memory.STREAMED says from which size it pays,
    although the result is then read from memory.

    Such stores are ordered by nothing but ``arrive``: a slice ends with it.
    """
    x[i : i + lanes(x.dtype)] = v


@compiled_as(_fetch)
def fetch(x: Array, i: int) -> None:
    """Begin to bring the line of x[i] to the first cache; nothing happens outside of x.

    For arrays that are read in an order that the processor does not foresee.
    """


@inlined
def fetch_run(x, start, count):  # type: ignore[no-untyped-def]
    """``fetch`` all lines of x[start : start + count]."""
    for i in range(start, start + count, LINE // x.itemsize):
        fetch(x, i)


@compiled_as(_arrive)
def arrive() -> None:
    """Wait until all that this thread has streamed can be seen by the others.

    Other stores of x86 arrive in their order, so handing over a lock need not wait for
    these; elsewhere it must, and nothing is to be done.
    """


@compiled_as(_turn)
def turn(y: Array, i: int, y_step: int, x: Array, j: int, x_step: int) -> None:
    """y[i + a * y_step + b] = x[j + b * x_step + a] for all a, b < lanes."""
    for a in range(lanes(x.dtype)):
        for b in range(lanes(x.dtype)):
            y[i + a * y_step + b] = x[j + b * x_step + a]


@compiled_as(_zero)
def zero(x: Array) -> Array:
    """A vector of zeros of x's dtype."""
    return np.zeros(lanes(x.dtype), x.dtype)


def _operator(function: Callable[..., Any], instruction: str) -> None:
    """Let kernels apply `function` to vectors, or a vector and a number."""

    @intrinsic
    def both(typing: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args, flags=FUSED)

        return a(a, b), emit

    @overload(function)
    def choose(a, b):  # type: ignore[no-untyped-def]
        if isinstance(a, Vector) and isinstance(b, Vector):
            return lambda a, b: both(a, b)
        if isinstance(a, types.Float) and isinstance(b, Vector):
            return lambda a, b: both(_spread(a, b), b)
        if isinstance(a, Vector) and isinstance(b, types.Float):
            return lambda a, b: both(a, _spread(b, a))
        return None


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _instruction)
