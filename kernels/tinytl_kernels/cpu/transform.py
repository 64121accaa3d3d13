"""Tiles of vectors transformed in registers, by the formulas of tiles.py.

The formulas are applied when the loop around them is compiled, to values that stand for
vectors: each sum or product that they compute becomes an instruction. So a tile is read
once and written once, without a loop, and what is between is up to the compiler.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from .registers import behind, equal, matrix, vector_of
from .simd import FUSED, compiled_as, load, read, spread, store, write
from .tiles import FORMS, Form, Line

Along = Callable[[Form, Line], Line]


def transform(along: Along, line: str) -> Any:
    """The function for kernels that applies `along` to the columns and rows of a tile.

    Args:
        along: a function of tiles.py.
        line: what it is given, by the name that its length has in a Form.
    """

    @intrinsic
    def emitted(typing: Any, form: Any, tile: Any, out: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            old = matrix(context, builder, tile, args[1])
            new = matrix(context, builder, out, args[2])
            for number, one in enumerate(FORMS):
                with equal(builder, args[:1], (number,)):
                    size, vector = getattr(one, line), vector_of(context, tile)
                    columns = _read(builder, old, size, vector)
                    _write(builder, new, _transformed(along, one, columns))
            return context.get_dummy_value()

        return types.void(types.intp, tile, out), emit

    @compiled_as(emitted)
    def function(form: int, tile: tuple[Any, ...], out: tuple[Any, ...]) -> None:
        """Transform a tile.

        Args:
            form: its number in FORMS.
            tile: flat array, place of the first vector, steps to the right and down.
            out: flat array, place of the first vector, steps down and to the right.
        """
        (a, i, right, down), (b, j, next_row, next_one) = tile, out
        side = range(getattr(FORMS[form], line))
        columns = ([load(a, i + k * right + r * down) for r in side] for k in side)
        for r, row in enumerate(_transformed(along, FORMS[form], columns)):
            for k, value in enumerate(row):
                store(b, j + r * next_row + k * next_one, value)

    return function


def _transformed(along: Along, form: Form, columns: Iterable[Line]) -> Iterator[Line]:
    """Rows of the new tile, from columns of the old one: computed when asked for."""
    between = [along(form, column) for column in columns]
    return (along(form, row) for row in zip(*between, strict=True))


def _read(builder: Any, tile: Any, size: int, vector: Any) -> Iterator[Line]:
    """Emit: the columns of a tile, each when asked for: no tile fits into registers."""
    start, right, down = tile
    for k in range(size):
        top = behind(builder, start, right, k)
        places = [behind(builder, top, down, r) for r in range(size)]
        yield [Value(builder, read(builder, place, vector)) for place in places]


def _write(builder: Any, tile: Any, rows: Iterable[Line]) -> None:
    """Emit: put the rows to a tile."""
    start, next_row, next_one = tile
    for r, row in enumerate(rows):
        first = behind(builder, start, next_row, r)
        for k, value in enumerate(row):
            write(builder, behind(builder, first, next_one, k), value.vector)


class Value:
    """A vector of the program that is being compiled; computing with it emits code."""

    def __init__(self, builder: Any, vector: Any):
        self.builder, self.vector = builder, vector

    def __add__(self, other: "Value") -> "Value":
        return self._emit("fadd", self.vector, other.vector)

    def __sub__(self, other: "Value") -> "Value":
        return self._emit("fsub", self.vector, other.vector)

    def __rmul__(self, number: float) -> "Value":
        kind = self.vector.type
        factor = spread(self.builder, kind.element(float(number)), kind)
        return self._emit("fmul", factor, self.vector)

    def _emit(self, instruction: str, *vectors: Any) -> "Value":
        made = getattr(self.builder, instruction)(*vectors, flags=FUSED)
        return Value(self.builder, made)
