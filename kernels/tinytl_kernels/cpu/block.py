"""The instructions of a block of a product: sums that stay in registers.

A block is made of tiles, a vector each: neighbours in one row of the product, or half a
vector in each of two rows, which lets a block be half a vector wider.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from .registers import behind, matrix, vector_of
from .simd import FUSED, read, spread, write

Tile = tuple[tuple[int, ...], int]  # its rows, one or two, and its column of vectors


def _tiles(rows: int, halves: int) -> list[Tile]:
    """The vectors of a block, row by row; and where a half is left, one of two rows."""
    vectors, left = divmod(halves, 2)
    tiles: list[Tile] = []
    for i in range(rows):
        tiles += [((i,), j) for j in range(vectors)]
        if left and i % 2:
            tiles.append(((i - 1, i), vectors))
    return tiles


def emitted(rows: int, halves: int) -> Any:
    """How to emit a block of so many rows and halves of a vector; see product.block."""
    tiles = _tiles(rows, halves)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        depth, *matrices, more = args[-5:]
        a, b, c, add = signature.args[-4:]
        depths = cgutils.unpack_tuple(builder, depth)
        left, right, out = (
            matrix(context, builder, kind, value)
            for kind, value in zip((a, b, c), matrices, strict=True)
        )
        sums = _sums(builder, vector_of(context, a), tiles, depths, left, right)
        if isinstance(add, types.BaseTuple):
            _put(builder, tiles, sums, out, matrix(context, builder, add, more))
        else:
            with builder.if_else(more) as (adding, setting):
                with adding:
                    _put(builder, tiles, sums, out, out)
                with setting:
                    _put(builder, tiles, sums, out, None)
        return context.get_dummy_value()

    return emit


def _sums(
    builder: Any,
    vector: Any,
    tiles: list[Tile],
    depths: Any,
    left: Any,
    right: Any,
) -> Any:
    """Emit: the loops over k. Returns where the sums are; LLVM makes them registers."""
    (a, a_row, *a_steps), (b, *b_steps) = left, right
    rows = tiles[-1][0][-1] + 1
    sums = [cgutils.alloca_once(builder, vector) for _ in tiles]
    for total in sums:
        builder.store(ir.Constant(vector, None), total)
    starts = [behind(builder, a, a_row, i) for i in range(rows)]
    with (
        cgutils.for_range(builder, depths[0]) as outer,
        cgutils.for_range(builder, depths[1]) as inner,
    ):
        along, down = (
            builder.add(
                builder.mul(outer.index, steps[0]), builder.mul(inner.index, steps[1])
            )
            for steps in (a_steps, b_steps)
        )
        row = (builder.gep(b, [down]), ir.Constant(ir.IntType(64), 0))
        panel: dict[Any, Any] = {}
        wide: list[Any] = []
        for tile, total in zip(tiles, sums, strict=True):
            lines, j = tile
            if (len(lines), j) not in panel:
                first_row = (0,) * len(lines), j
                panel[len(lines), j] = _get(builder, row, first_row, vector)
            if lines[-1] == len(wide):
                place = builder.gep(starts[len(wide)], [along])
                wide.append(spread(builder, builder.load(place), vector))
            left = _join(builder, [wide[i] for i in lines])
            term = builder.fmul(left, panel[len(lines), j], flags=FUSED)
            builder.store(builder.fadd(builder.load(total), term, flags=FUSED), total)
    return sums


def _put(builder: Any, tiles: list[Tile], sums: Any, out: Any, more: Any) -> None:
    """Emit: the sums to c, with what `more` holds added unless it is None."""
    for tile, total in zip(tiles, sums, strict=True):
        value, (rows, j) = builder.load(total), tile
        if more is not None:
            value = builder.fadd(_get(builder, more, tile, value.type), value)
        count = value.type.count // len(rows)
        for k, i in enumerate(rows):
            part = _pick(builder, value, value, range(k * count, (k + 1) * count))
            write(builder, _at(builder, out, i, j, value.type), part)


def _get(builder: Any, matrix: Any, tile: Tile, vector: Any) -> Any:
    """Emit: what lies at a tile's places, in one vector."""
    rows, j = tile
    kind = ir.VectorType(vector.element, vector.count // len(rows))
    parts = [read(builder, _at(builder, matrix, i, j, vector), kind) for i in rows]
    return _join(builder, parts, vector.count // len(rows))


def _join(builder: Any, parts: list[Any], count: int | None = None) -> Any:
    """Emit: one vector as it is; of two the lower halves, side by side."""
    if len(parts) == 1:
        return parts[0]
    width = parts[0].type.count
    half = count or width // 2
    lower, upper = parts
    return _pick(builder, lower, upper, [*range(half), *range(width, width + half)])


def _pick(builder: Any, x: Any, y: Any, lanes: Any) -> Any:
    """Emit: these lanes of two vectors."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(x, y, mask)


def _at(builder: Any, rows: Any, i: int, j: int, vector: Any) -> Any:
    """Emit: the place of vector j in row i of (place of the first, step of rows)."""
    start, step = rows
    row = behind(builder, start, step, i)
    return builder.gep(row, [ir.Constant(ir.IntType(64), j * vector.count)])
