"""Convolution as a product of two matrices of which only one exists.

Every output of a convolution is the product of a row of weights with the column of
values that its window sees (see plain.conv). Here the matrix of columns is never put
into memory: a block fetches from the images the piece that it needs.

    y    = conv        rows F/G   columns N*I*J       depth C/G*U*V
    gx   = conv_dx     rows C/G   columns N*H*W       depth F/G*U*V
    gw   = conv_dw     rows F/G   columns C/G*U*V     depth N*I*J

q counts the groups. The three kernels have one body, and differ in what stands at a
place of the left and of the right matrix, and in where a result goes.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from .. import namespace
from ..shapes import Window
from .geometry import Geometry, geometry, pixel_at, returned, seen, start_of, tap_at
from .launch import SIMULATED, TILE, Array, Int32, Kernel, cuda, device

EACH = 2 if SIMULATED else 4  # columns of the result that a thread computes
FILL = 4 if SIMULATED else 432  # blocks that keep a large GPU busy


class Product(NamedTuple):
    """Sizes of the product, and the `span` of the depth that one block adds up."""

    rows: Int32
    columns: Int32
    depth: Int32
    span: Int32
    parts: Int32


class Forms(NamedTuple):
    """What stands where, and where results go: six functions of the device.

    left_at(k): what place k of the depth means in the left matrix, two numbers.
    left(a, q, row, at): the left matrix there.
    column_at(column), depth_at(k): likewise of the right matrix, three numbers each.
    right(b, q, at, depth): the right matrix there.
    put(y, q, part, row, column, value): set a result.

    The divisions that find out which image and pixel a number stands for are in the
    functions with `at`: columns are looked up once, the depth once for a step.
    """

    left_at: Any
    left: Any
    column_at: Any
    depth_at: Any
    right: Any
    put: Any


def product(name: str, forms: Forms, tall: int) -> Kernel:
    """Kernel for y[row, column] = sum over k of left[row, k] * right[k, column].

    A block of TILE x TILE threads computes tall*TILE rows by EACH*TILE columns, a
    thread tall * EACH of them. It goes along the depth in steps of TILE: each thread
    fetches its share of both pieces into shared memory, all wait, and each multiplies.

    Traffic. A value fetched from the left serves EACH*TILE columns, one from the right
    tall*TILE rows: for 4 and 4 and TILE 16, 1/64 + 1/64 values per multiplication.
    Arithmetic. 2 operations per place of the depth, for tall + EACH reads of shared
    memory per tall * EACH of them.
    Limit. Arithmetic and shared memory, where the depth is long.
    """
    height, width, spaced = tall * TILE, EACH * TILE, tall * TILE + 1
    left_at, left, column_at, depth_at, right, put = forms

    def multiply(a: Array, b: Array, y: Array, size: Product, g: Geometry) -> None:
        # one place more a line: else the writes below would all hit one memory bank
        a_tile = cuda.shared.array((TILE, spaced), y.dtype)
        b_tile = cuda.shared.array((TILE, width), y.dtype)
        total = cuda.local.array((tall, EACH), y.dtype)
        at = cuda.local.array((EACH, 3), np.int32)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        row, column = cuda.blockIdx.y * height + ty, cuda.blockIdx.x * width + tx
        q, part = cuda.blockIdx.z // size.parts, cuda.blockIdx.z % size.parts
        zero = y.dtype.type(0)
        for n in range(EACH):
            at[n, 0], at[n, 1], at[n, 2] = column_at(column + n * TILE, g)
            for m in range(tall):
                total[m, n] = zero
        end = min(size.depth, (part + 1) * size.span)
        for k in range(part * size.span, end, TILE):
            of_a, of_b = left_at(k + tx, g), depth_at(k + ty, g)
            for m in range(tall):
                inside = row + m * TILE < size.rows and k + tx < end
                value = left(a, q, row + m * TILE, of_a) if inside else zero
                a_tile[tx, ty + m * TILE] = value
            for n in range(EACH):
                inside = column + n * TILE < size.columns and k + ty < end
                place = at[n, 0], at[n, 1], at[n, 2]
                value = right(b, q, place, of_b, g) if inside else zero
                b_tile[ty, tx + n * TILE] = value
            cuda.syncthreads()
            for s in range(TILE):
                for m in range(tall):
                    for n in range(EACH):
                        value = a_tile[s, ty + m * TILE] * b_tile[s, tx + n * TILE]
                        total[m, n] += value
            cuda.syncthreads()
        for m in range(tall):
            for n in range(EACH):
                r, c = row + m * TILE, column + n * TILE
                if r < size.rows and c < size.columns:
                    put(y, q, part, r, c, total[m, n])

    multiply.__name__, multiply.__doc__ = f"{name}_{tall}", product.__doc__
    return Kernel(multiply)


# -- what stands where: w (G,F/G,C/G,U*V), x (N,G,C/G,H,W), y and gy (N,G,F/G,I*J) -----


@device
def _seen_by(x: Array, q: int, tap: Any, window: Any, g: Geometry) -> Any:
    """The same, transposed."""
    return seen(x, q, window, tap, g)


@device
def _whole(k: int, g: Geometry) -> tuple[int, int]:
    return 0, k


@device
def _weight(w: Array, q: int, f: int, at: Any) -> Any:
    return w[q, f, at[1]]


@device
def _by_filter(k: int, g: Geometry) -> tuple[int, int]:
    return k // (g.U * g.V), k % (g.U * g.V)


@device
def _weight_transposed(w: Array, q: int, c: int, at: Any) -> Any:
    return w[q, at[0], c, at[1]]


@device
def _by_image(k: int, g: Geometry) -> tuple[int, int]:
    return k // (g.I * g.J), k % (g.I * g.J)


@device
def _arrived(gy: Array, q: int, f: int, at: Any) -> Any:
    return gy[at[0], q, f, at[1]]


@device
def _to_planes(y: Array, q: int, part: int, row: int, p: int, value: Any) -> None:
    y[p // y.shape[3], q, row, p % y.shape[3]] = value


@device
def _to_parts(gw: Array, q: int, part: int, f: int, k: int, value: Any) -> None:
    gw[part, q, f, k] = value


CONV = Forms(_whole, _weight, start_of, tap_at, seen, _to_planes)
DX = Forms(_by_filter, _weight_transposed, pixel_at, tap_at, returned, _to_planes)
DW = Forms(_by_image, _arrived, tap_at, start_of, _seen_by, _to_parts)

_conv, _conv_low = product("conv", CONV, 4), product("conv", CONV, 1)
_conv_dx, _conv_dx_low = product("conv_dx", DX, 4), product("conv_dx", DX, 1)
_conv_dw, _conv_dw_low = product("conv_dw", DW, 4), product("conv_dw", DW, 1)


# -- the functions around them ---------------------------------------------------------


def conv(x: Array, w: Array, y: Array, window: Window, groups: int) -> None:
    """Fill y (N,F,I,J) from x (N,C,H,W) and w (F,C/G,U,V)."""
    rows = len(w) // groups
    size = (rows, len(x) * math.prod(window.out), w[0].size)
    x, w = x.reshape(len(x), groups, -1, *window.size), w.reshape(groups, rows, -1)
    y = y.reshape(len(y), groups, rows, -1)
    _multiply((_conv, _conv_low), w, x, y, size, 1, window)


def conv_dx(gy: Array, w: Array, gx: Array, window: Window, groups: int) -> None:
    """Fill gx (N,C,H,W) from gy (N,F,I,J) and w (F,C/G,U,V)."""
    filters, rows = len(w) // groups, w.shape[1]
    size = (rows, len(gx) * math.prod(window.size), filters * w[0, 0].size)
    gy = gy.reshape(len(gy), groups, filters, *window.out)
    w, gx = w.reshape(groups, filters, rows, -1), gx.reshape(len(gx), groups, rows, -1)
    _multiply((_conv_dx, _conv_dx_low), w, gy, gx, size, 1, window)


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """gw (F,C/G,U,V) from x (N,C,H,W) and gy (N,F,I,J).

    The result is small and the depth long: parts of the depth are summed at the same
    time, and their sums are added afterwards, in a fixed order.
    """
    n, channels, filters = len(x), x.shape[1] // groups, gy.shape[1]
    rows, columns = filters // groups, channels * math.prod(window.kernel)
    depth = n * math.prod(window.out)
    count = parts(groups, rows, columns, depth)
    shares = namespace(x).empty((count, groups, rows, columns), x.dtype)
    x = x.reshape(n, groups, channels, *window.size)
    gy = gy.reshape(n, groups, rows, -1)
    size = (rows, columns, depth)
    _multiply((_conv_dw, _conv_dw_low), gy, x, shares, size, count, window)
    return shares.sum(axis=0).reshape(filters, channels, *window.kernel)


def parts(groups: int, rows: int, columns: int, depth: int) -> int:
    """Into how many parts conv_dw should cut its depth, for FILL blocks to work."""
    blocks = groups * -(-rows // (4 * TILE)) * -(-columns // (EACH * TILE))
    return max(1, min(FILL // max(blocks, 1), depth // (4 * TILE)))


def _multiply(
    kernels: tuple[Kernel, Kernel],
    a: Array,
    b: Array,
    y: Array,
    size: tuple[int, int, int],
    parts: int,
    window: Window,
) -> None:
    """Launch the high form, or the low one where it would leave most rows empty."""
    rows, columns, depth = size
    steps = -(-depth // TILE)
    span = -(-steps // parts) * TILE
    tall = 1 if rows <= TILE else 4
    groups = y.shape[1]
    across, down = -(-columns // (EACH * TILE)), -(-rows // (tall * TILE))
    numbers = Product(*(np.int32(n) for n in (rows, columns, depth, span, parts)))
    chosen = kernels[tall == 1]
    blocks = (across, down, groups * parts)
    chosen.launch(blocks, (TILE, TILE), a, b, y, numbers, geometry(window))
