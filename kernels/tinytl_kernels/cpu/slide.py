"""A filter slides along one row of pixels: what depthwise convolution is made of.

    y[o] = sum over u,v of w[u, v] * x[u, o*s - p + v]          ``slide``
    y[o*s - p + v] += sum over u of w[u, v] * x[u, o]           ``slide_back``
    w[u, v] += sum over o of g[o] * x[u, o*s - p + v]           ``slide_sums``

A pixel here is one vector: some of its channels. A pixel is loaded once and given to
all outputs that see it. Those are few, and their sums are registers, which move on by
one with each step, as a window does. So the pixels that lie outside the image need no
zeros: there is nothing to load there, and outputs outside are not stored.
"""

import itertools
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .registers import (
    Row,
    add_product,
    add_to,
    affine,
    below,
    constant,
    equal,
    move_on,
    registers,
)
from .simd import compiled_as, lanes

Array = np.ndarray
Pairs = list[list[tuple[int, int]]]

FORMS = ((3, 1), (3, 2), (5, 1), (5, 2), (1, 1))  # (taps, stride) of what is compiled


def _pairs(taps: int, stride: int, back: bool) -> tuple[int, Pairs]:
    """How many sums are open at a time, and, for each pixel of a step, (sum, tap).

    A step reads `stride` pixels and completes one output; or, back, the other way
    round. The first sums are the next ones to be complete.
    """
    if back:
        return taps, [[(v, v) for v in range(taps)]]
    last = (taps - 1) // stride
    return last + 1, [
        [(last - v // stride, v) for v in range(r, taps, stride)] for r in range(stride)
    ]


def _slide(back: bool) -> Any:
    """``slide`` and ``slide_back`` as instructions."""

    @intrinsic
    def slide(
        typing: Any,
        taps: Any,
        stride: Any,
        rows: Any,
        x: Any,
        w: Any,
        y: Any,
        columns: Any,
        add: Any,
    ) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            operands = [
                Row(context, builder, kind, value)
                for kind, value in zip((x, w, y), args[3:6], strict=True)
            ]
            down, along = (cgutils.unpack_tuple(builder, args[k]) for k in (2, 6))
            for form in FORMS:
                with equal(builder, args[:2], form):
                    _form(builder, form, back, operands, down, along, args[7])
            return context.get_dummy_value()

        return types.void(taps, stride, rows, x, w, y, columns, add), emit

    return slide


def _form(
    builder: Any,
    form: tuple[int, int],
    back: bool,
    operands: list[Row],
    rows: Any,
    columns: Any,
    add: Any,
) -> None:
    """Emit: ``slide`` for one number of taps and one stride."""
    (size, stride), (count, x_down, w_down) = form, rows
    pixels, filters, outputs = operands
    reads, writes = (1, stride) if back else (stride, 1)
    number, pairs = _pairs(size, stride, back)
    steps, j0, j_end, o0, o_end = columns
    lines = _lines(builder, filters, size, count, w_down)
    sums = registers(builder, pixels.vector, number)
    with cgutils.for_range(builder, steps) as loop:
        for r in range(reads):
            j = affine(builder, j0, loop.index, reads, r)
            with below(builder, j, j_end):
                parts = registers(builder, pixels.vector, len(pairs[r]))
                place = pixels.at(j)
                for u in range(size):
                    with below(builder, constant(u), count):
                        value = pixels.read(place, builder.mul(x_down, constant(u)))
                        for part, (_, v) in zip(parts, pairs[r], strict=True):
                            add_product(builder, part, value, lines[u][v])
                for part, (q, _) in zip(parts, pairs[r], strict=True):
                    add_to(builder, sums[q], builder.load(part))
        for b in range(writes):
            o = affine(builder, o0, loop.index, writes, b)
            with below(builder, o, o_end):
                outputs.put(outputs.at(o), sums[b], size == 1 and add)
        move_on(builder, sums, writes)


def _lines(builder: Any, filters: Row, size: int, count: Any, down: Any) -> Any:
    """Emit: the filter in registers; lines from `count` on are not there to be read."""
    lines = []
    for u in range(size):
        there = builder.icmp_signed("<", constant(u), count)
        line = builder.select(there, builder.mul(down, constant(u)), constant(0))
        lines.append([filters.read(filters.at(constant(v)), line) for v in range(size)])
    return lines


@intrinsic
def _slide_sums(
    typing: Any,
    taps: Any,
    stride: Any,
    rows: Any,
    x: Any,
    g: Any,
    w: Any,
    columns: Any,
) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = [
            Row(context, builder, kind, value)
            for kind, value in zip((x, g, w), args[3:6], strict=True)
        ]
        down, along = (cgutils.unpack_tuple(builder, args[k]) for k in (2, 6))
        for form in FORMS:
            with equal(builder, args[:2], form):
                _sums_form(builder, form, operands, down, along)
        return context.get_dummy_value()

    return types.void(taps, stride, rows, x, g, w, columns), emit


def _sums_form(
    builder: Any,
    form: tuple[int, int],
    operands: list[Row],
    rows: Any,
    columns: Any,
) -> None:
    """Emit: ``slide_sums`` for one number of taps and one stride."""
    (size, stride), (count, x_down, w_down) = form, rows
    pixels, grads, sums = operands
    number, pairs = _pairs(size, stride, False)
    steps, j0, j_end, o_end = columns
    seen = registers(builder, pixels.vector, number)
    totals = [registers(builder, pixels.vector, size) for _ in range(size)]
    with cgutils.for_range(builder, steps) as loop:
        move_on(builder, seen, 1)
        with below(builder, loop.index, o_end):
            builder.store(grads.read(grads.at(loop.index)), seen[-1])
        for r in range(stride):
            j = affine(builder, j0, loop.index, stride, r)
            with below(builder, j, j_end):
                place = pixels.at(j)
                for u in range(size):
                    with below(builder, constant(u), count):
                        value = pixels.read(place, builder.mul(x_down, constant(u)))
                        for q, v in pairs[r]:
                            grad = builder.load(seen[q])
                            add_product(builder, totals[u][v], value, grad)
    for u in range(size):
        with below(builder, constant(u), count):
            for v in range(size):
                place = sums.at(constant(v))
                place = builder.gep(place, [builder.mul(w_down, constant(u))])
                sums.put(place, totals[u][v], ir.Constant(ir.IntType(1), 1))


@compiled_as(_slide(back=False))
def slide(
    taps: int,
    stride: int,
    rows: tuple[int, int, int],
    x: tuple[Array, int, int],
    w: tuple[Array, int, int],
    y: tuple[Array, int, int],
    columns: tuple[int, int, int, int, int],
    add: bool,
) -> None:
    """A row of outputs: y[o] = sum over u,v of w[u, v] * x[u, o*s - p + v].

    Args:
        taps, stride: one of FORMS.
        rows: how many rows u there are, up to `taps`; steps to the next in x and in w.
        x, w, y: flat array, place of pixel (or tap) 0, step from one to the next.
        columns: how many steps to make; the pixel that the first one reads, and how
            many pixels there are; the output that it completes, and how many there are.
        add: add to what y holds; with one tap only.
    """
    _in_numpy(taps, stride, rows, x, w, y, columns, add, back=False)


@compiled_as(_slide(back=True))
def slide_back(
    taps: int,
    stride: int,
    rows: tuple[int, int, int],
    x: tuple[Array, int, int],
    w: tuple[Array, int, int],
    y: tuple[Array, int, int],
    columns: tuple[int, int, int, int, int],
    add: bool,
) -> None:
    """The transpose of ``slide``: y[o*s - p + v] = sum over u,o of w[u, v] * x[u, o].

    A step reads one pixel of x and completes `stride` outputs.
    """
    _in_numpy(taps, stride, rows, x, w, y, columns, add, back=True)


def _in_numpy(
    taps: int,
    stride: int,
    rows: tuple[int, int, int],
    x: tuple[Array, int, int],
    w: tuple[Array, int, int],
    y: tuple[Array, int, int],
    columns: tuple[int, int, int, int, int],
    add: bool,
    back: bool,
) -> None:
    number, pairs = _pairs(taps, stride, back)
    reads, writes = (1, stride) if back else (stride, 1)
    steps, j0, j_end, o0, o_end = columns
    k = np.arange(lanes(x[0].dtype))
    sums = np.zeros((number + writes, len(k)), x[0].dtype)
    for m in range(steps):
        for r in range(reads):
            j = j0 + m * reads + r
            for u in range(rows[0] if 0 <= j < j_end else 0):
                pixel = x[0][x[1] + j * x[2] + u * rows[1] + k]
                for q, v in pairs[r]:
                    sums[q] += pixel * w[0][w[1] + v * w[2] + u * rows[2] + k]
        for b in range(writes):
            o = o0 + m * writes + b
            if 0 <= o < o_end:
                place = y[1] + o * y[2] + k
                y[0][place] = sums[b] + (y[0][place] if add else 0)
        sums[:number] = sums[writes:].copy()
        sums[number:] = 0


@compiled_as(_slide_sums)
def slide_sums(
    taps: int,
    stride: int,
    rows: tuple[int, int, int],
    x: tuple[Array, int, int],
    g: tuple[Array, int, int],
    w: tuple[Array, int, int],
    columns: tuple[int, int, int, int],
) -> None:
    """Gradients of filters: w[u, v] += sum over o of g[o] * x[u, o*s - p + v].

    Args:
        taps, stride: one of FORMS.
        rows: how many rows u there are, up to `taps`; steps to the next in x and in w.
        x, g, w: flat array, place of pixel (or tap) 0, step from one to the next.
        columns: how many steps to make; the pixel that the first one reads, and how
            many pixels there are; how many outputs.
    """
    number, pairs = _pairs(taps, stride, False)
    steps, j0, j_end, o_end = columns
    k = np.arange(lanes(x[0].dtype))
    for m, u in itertools.product(range(steps), range(rows[0])):
        for r in range(stride):
            j = j0 + m * stride + r
            for q, v in pairs[r] if 0 <= j < j_end else []:
                o = m - (number - 1 - q)
                if 0 <= o < o_end:
                    pixel = x[0][x[1] + j * x[2] + u * rows[1] + k]
                    place = w[1] + v * w[2] + u * rows[2] + k
                    w[0][place] += pixel * g[0][g[1] + o * g[2] + k]
