"""Words to write instructions with: rows of vectors, matrices, registers, conditions.

Each function here writes instructions for the compiler, where it is called, in the
place of computing something. Registers begin as places in memory; LLVM finds out that
nobody needs their address.
"""

import functools
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .simd import BITS, FUSED, address, read, write


class Row:
    """Emit: the pixels of a row, or the taps of a filter; (array, start, step)."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any):
        self.builder = builder
        self.first, self.step = matrix(context, builder, kind, value)
        self.vector = vector_of(context, kind)

    def at(self, index: Any) -> Any:
        """Where pixel `index` lies."""
        return self.builder.gep(self.first, [self.builder.mul(index, self.step)])

    def read(self, place: Any, further: Any = None) -> Any:
        """The pixel at `place`, or so many numbers further on."""
        if further is not None:
            place = self.builder.gep(place, [further])
        return read(self.builder, place, self.vector)

    def put(self, place: Any, register: Any, add: Any) -> None:
        """What the register holds to `place`; added to what is there, if so asked."""
        value = self.builder.load(register)
        if add:
            more = self.builder.fadd(self.read(place), value)
            value = self.builder.select(add, more, value)
        write(self.builder, place, value)


def matrix(context: Any, builder: Any, kind: Any, value: Any) -> tuple[Any, ...]:
    """Emit: (array, start, steps...), as the place it begins at, and the steps."""
    array, start, *steps = cgutils.unpack_tuple(builder, value)
    return address(context, builder, kind[0], array, start), *steps


def vector_of(context: Any, kind: Any) -> Any:
    """The vector of the numbers of (array, ...), as instructions take it."""
    scalar = context.get_value_type(kind[0].dtype)
    return ir.VectorType(scalar, BITS // kind[0].dtype.bitwidth)


def behind(builder: Any, start: Any, step: Any, n: int) -> Any:
    """Emit: the place that lies n steps behind `start`."""
    return builder.gep(start, [builder.mul(step, constant(n))])


def constant(n: int) -> Any:
    """A whole number, as instructions take it."""
    return ir.Constant(ir.IntType(64), n)


def below(builder: Any, index: Any, end: Any) -> Any:
    """Emit: what follows, where 0 <= index < end."""
    return builder.if_then(builder.icmp_unsigned("<", index, end))


def equal(builder: Any, numbers: Any, wanted: tuple[int, ...]) -> Any:
    """Emit: what follows, where the numbers are those wanted."""
    same = [
        builder.icmp_signed("==", n, constant(m))
        for n, m in zip(numbers, wanted, strict=True)
    ]
    return builder.if_then(functools.reduce(builder.and_, same))


def registers(builder: Any, vector: Any, count: int) -> Any:
    """Emit: places that hold zeros; LLVM makes them registers."""
    places = [cgutils.alloca_once(builder, vector) for _ in range(count)]
    for place in places:
        builder.store(ir.Constant(vector, None), place)
    return places


def move_on(builder: Any, places: Any, by: int) -> None:
    """Emit: each register takes what the one `by` further on held, the last ones 0."""
    for to, at in zip(places, [*places[by:], *[None] * by], strict=True):
        nothing = ir.Constant(to.type.pointee, None)
        builder.store(nothing if at is None else builder.load(at), to)


def affine(builder: Any, start: Any, index: Any, step: int, more: int) -> Any:
    """Emit: start + index * step + more."""
    place = builder.add(start, builder.mul(index, constant(step)))
    return builder.add(place, constant(more))


def add_to(builder: Any, place: Any, value: Any) -> None:
    """Emit: place += value."""
    builder.store(builder.fadd(builder.load(place), value, flags=FUSED), place)


def add_product(builder: Any, place: Any, a: Any, b: Any) -> None:
    """Emit: place += a * b, in one instruction."""
    add_to(builder, place, builder.fmul(a, b, flags=FUSED))
