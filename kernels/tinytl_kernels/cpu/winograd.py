r"""3 x 3 and 5 x 5 convolution with a quarter to two thirds of the multiplications.

Where the saving comes from
---------------------------
Two outputs of a filter (w0 w1 w2) along a line need 6 products: y0 = d0 w0 + d1 w1 +
d2 w2 and y1 = d1 w0 + d2 w1 + d3 w2. Multiplying two polynomials shows that 4 are
enough. The coefficients of y0 + y1 t times w0 + w1 t + w2 t^2, a polynomial of degree
3, are determined by its values at 4 points; and the value of a product at a point is
the product of the values, one multiplication. So: evaluate both factors at the points
0, 1, -1 and infinity (where the value is the leading coefficient), multiply point by
point, and find the polynomial through the results (Toom 1963; Cook 1966).

Call the evaluation of y A, that of w G, and the interpolation B: the coefficients are
B [(G w) * (A y)], with * element by element. A convolution is this product transposed
(Winograd 1980). Weigh the coefficients with d and ask what stands beside y:

    <d, B [(G w) * (A y)]> = <A^T [(G w) * (B^T d)], y>

    line:    A^T [(G w) * (B^T d)]             4 products for 2 outputs, instead of 6
    image:   A^T [(G w G^T) * (B^T d B)] A     16 for 2 x 2 outputs, instead of 36;

with the points 0, 1, -1, 2, -2 and infinity 36 for 4 x 4 outputs, instead of 144. The
degree is that of both factors together, so the same six points serve two outputs of a
filter of 5: 36 products for 2 x 2 outputs, instead of 100. The transforms are sums and
small factors; the matrices stand in tiles.py, and a test derives them from the points
again.

Whole images
------------
Deep in a network an image is 2 x 2 pixels, with zeros around it, and 16 products are
still too many. Along a line, y0 = d0 w1 + d1 w2 and y1 = d0 w0 + d1 w1 need 3 of the 4
products (Karatsuba's trick, 1962, transposed as above):

    y0 = (d0 + d1) w1 + d1 (w2 - w1)
    y1 = (d0 + d1) w1 + d0 (w0 - w1)

so 9 for an image, instead of 16. No zeros are read, and no large factors arise.

Every second window
-------------------
At stride 2, y0 = d0 w0 + d1 w1 + d2 w2 and y1 = d2 w0 + d3 w1 + d4 w2. Only d2 is seen
by both, with two weights, and the same trick takes 3 products for the even pixels:

    y0 = (d0 - d2) w0 + d2 (w0 + w2) + d1 w1
    y1 = (d4 - d2) w2 + d2 (w0 + w2) + d3 w1

That is 5 for 2 outputs, instead of 6, and 25 for 2 x 2, instead of 36. Towards x, two
windows and a third at the edge give four pixels, with the same 5 products of weights:

    x0 = g0 w1,   x1 = (g0 - g1) w2 + g1 (w0 + w2),
    x2 = g1 w1,   x3 = (g2 - g1) w0 + g1 (w0 + w2)

A bias
------
y is the sum of the products at the points, weighted with the rows of A^T. The column of
the point 1, whose powers are all 1, holds nothing but ones; so does the first column of
the form with 3 points, and the second of that for stride 2. What is added to the
product at that point in both directions is added to every output: the bias costs one of
the sums.

What it costs
-------------
The points 2 and -2 bring powers up to 8 and 1/24, and differences of large numbers that
almost cancel. In float32, the forms with them round about ten to thirty times as
coarsely as a plain sum, the others about twice; docs/kernels.md has the measured
errors. An infinity or a NaN in the input spreads over its tile. The kernel set "exact"
does without.

Derivatives
-----------
Everything is linear in each factor, so the gradients are transposes of the same steps,
with the same savings. gx is a convolution of gy with the filters turned round. For gw,

    <gy, A^T [(G w G^T) * V] A> = <G^T [V * (A gy A^T)] G, w>,     V = B^T d B

where the sum over all tiles is taken between the brackets: one transform at the end.

The matrix products
-------------------
For each of the 36 points (or 25, 16 or 9), (G w G^T) is a matrix F x C, V is one of
tiles x C, and the sum over channels is their product: 36 products of matrices, in which
all of the time should go. A block of tiles is transformed, multiplied with one *panel*
of filters after the other, and transformed back, while it stays in the cache.

Sources: Lavin & Gray 2016, for the matrices and the form for images.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from ..memory import empty
from ..shapes import Pair, Window
from ..threads import PRODUCTS, get_num_threads, run, workspace
from . import winograd_loops as loops
from .layout import channels_last, images
from .product import ROWS, TALL, filled, high, panel
from .simd import lanes
from .tiles import FORMS

Array = np.ndarray

LANES = lanes(np.float32)
NONE = np.empty(0, np.float32)  # no bias
CACHE = 3 << 16  # numbers in a block of transformed tiles, as far as rows allow
DEPTH = 256  # channels of a panel whose filters the cache holds until they are used


def fits(dtype: np.dtype, channels: int, filters: int, window: Window) -> bool:
    """Whether this form can compute the convolution, and with fewer products.

    The definition needs them at each output, or, in a gradient, at each input, in rows
    that fill the registers.
    """
    taps = window.kernel[0]
    if not (
        dtype == np.float32
        and window.kernel in ((3, 3), (5, 5))
        and window.dilation == (1, 1)
        and all(0 <= p < taps for p in window.padding)
        and (window.stride == (1, 1) or _strided(window))
        and min(channels, filters) >= LANES
    ):
        return False
    step = max(LANES, TALL)
    products, _ = best(window.out, window.padding, taps, window.stride[0])
    plain = min(h * max(w, ROWS) for h, w in (window.size, window.out)) * taps**2
    return products * filled(channels, step) < plain * channels


def _strided(window: Window) -> bool:
    """Whether this is the one strided window that has a form."""
    rule = window.kernel, window.stride, window.padding
    return rule == ((3, 3), (2, 2), (1, 1))


def best(out: Pair, padding: Pair, taps: int, stride: float = 1) -> tuple[int, int]:
    """The fewest products of an image with outputs of size `out`, and their form."""
    return min(
        (math.prod(-(-n // form.outputs) for n in out) * form.points**2, number)
        for number, form in enumerate(FORMS)
        if form.taps == taps
        and form.step == stride * form.outputs
        and (form.points > 3 or (out == (2, 2) and padding == (1, 1)))
    )


class Plan(NamedTuple):
    """Sizes that all loops share. `deep` networks have more filters than tiles."""

    form: int  # number of the form in tiles.py, with
    points: int  # products in a line of a tile
    m: int  # outputs
    reach: int  # inputs
    taps: int  # weights
    step: int  # inputs from one tile to the next
    down: int  # tiles in a column of tiles
    across: int
    number: int  # of tiles in all images
    rows: int  # tiles in a block
    seen: int  # channels
    channels: int  # filled up to whole vectors: the last one overlaps
    depth: int  # so many are transformed at a time, where filters are
    filters: int
    width: int  # filters in a panel
    panels: int
    top: int  # padding
    left: int
    deep: bool
    before: Pair = (0, 0)  # channels of x and of y that belong to other groups


class Layer(NamedTuple):
    """What a plan is made for; the gradient towards x at stride 2 has stride 1/2."""

    images: int
    channels: int  # of a group, as its filters
    filters: int
    out: Pair
    padding: Pair
    taps: int
    stride: float = 1


def plan(layer: Layer) -> Plan:
    """Tiles, blocks and panels for a layer."""
    return _plan(layer, get_num_threads())


@functools.lru_cache(maxsize=256)
def _plan(layer: Layer, threads: int) -> Plan:
    """``plan`` for so many threads, made once for each shape.

    Blocks as large as the cache, but at least 64 tiles, or the filters are read too
    often.
    """
    count, seen, filters, out, padding, taps, stride = layer
    _, number = best(out, padding, taps, stride)
    form = FORMS[number]
    if form.points == 3:
        padding = (0, 0)
    down, across = (-(-n // form.outputs) for n in out)
    tiles = count * down * across
    deep = filters > tiles
    channels = filled(seen, max(LANES, TALL))
    width = panel(filters, np.float32)
    step = high(width, LANES)
    if deep:
        rows = filled(tiles, step)
    else:
        fit = CACHE // (form.points**2 * (channels + width))
        share = filled(math.ceil(tiles / threads), step)
        rows = min(max(64, fit // step * step), 256, share)
    panels = math.ceil(filters / width)
    depth = min(channels, DEPTH) if deep else channels
    sizes = (seen, channels, depth, filters, width, panels)
    return Plan(number, *form, down, across, tiles, rows, *sizes, *padding, deep)


def conv(
    x: Array, w: Array, window: Window, b: Array | None = None, groups: int = 1
) -> Array:
    """y[n,f,i,j] = b[f] + sum over c,u,v of w[f,c,u,v] * x[n, c, i-p+u, j-p+v].

    Shapes. x (N,C,H,W), w (F,C/G,U,U), b (F,), all float32 -> (N,F,I,J), channels-last.
    """
    filters, channels, taps, _ = w.shape
    sizes = len(x), channels, filters // groups, window.out, window.padding
    order = (0, taps**2 * channels, taps**2, 1)
    by = plan(Layer(*sizes, taps, window.stride[0]))
    return _convolve(x, w, order, window.out, by, groups, b)


def conv_dx(gy: Array, w: Array, window: Window, groups: int = 1) -> Array:
    """gx[n,c,h,w]: gy convolved with w turned by 180 degrees, channels for filters.

    At stride 2 the weights are not turned: the form has them where they are.

    Shapes. gy (N,F,I,J), w (F,C/G,U,U), both float32 -> (N,C,H,W), channels-last.
    """
    filters, channels, taps, _ = w.shape
    if window.stride != (1, 1):
        sizes = len(gy), filters // groups, channels, window.size, (0, 0)
        by = plan(Layer(*sizes, taps, 1 / window.stride[0]))
        order = (0, taps**2, taps**2 * channels, 1)
        return _convolve(gy, w, order, window.size, by, groups)
    back = window.turned()
    sizes = len(gy), filters // groups, channels, back.out, back.padding
    by = plan(Layer(*sizes, taps))
    order = (taps**2 - 1, taps**2, taps**2 * channels, -1)
    return _convolve(gy, w, order, window.size, by, groups)


def _parts(by: Plan, groups: int) -> list[Plan]:
    """The plan of each group."""
    before = ((g * by.seen, g * by.filters) for g in range(1, groups))
    return [by, *(by._replace(before=place) for place in before)]


def _convolve(
    x: Array,
    w: Array,
    order: tuple[int, int, int, int],
    out: Pair,
    by: Plan,
    groups: int,
    b: Array | None = None,
) -> Array:
    """Convolution with w read in this order: start, steps of filter, channel, tap."""
    y = empty((len(x), *out, groups * by.filters), np.float32)
    pixels, bias = channels_last(x), NONE if b is None else b
    weights, biases = (np.ascontiguousarray(a).reshape(groups, -1) for a in (w, bias))
    for g, part in enumerate(_parts(by, groups)):
        _convolve_group(pixels, weights[g], order, biases[g], y, part)
    return images(y)


def _convolve_group(
    x: Array,
    w: Array,
    order: tuple[int, int, int, int],
    bias: Array,
    y: Array,
    by: Plan,
) -> None:
    """The filters of one group, to their place in y."""
    area = by.points**2
    filters = area * loops.apart(by.depth * by.width)
    packed = workspace("filters", 0 if by.deep else by.panels * filters, np.float32)
    if not by.deep:
        run(
            loops.transform_filters,
            by.panels,
            w,
            order,
            packed,
            by,
            scratch=(loops.ROOM, np.float32),
            work=len(w) * area // 8,
        )
    block = area * loops.apart(by.rows * by.channels)
    products = area * loops.apart(by.rows * by.width)
    room = block + products + loops.ROOM + (filters if by.deep else 0)
    run(
        loops.convolve,
        by.panels if by.deep else by.number,
        x,
        w,
        order,
        packed,
        bias,
        y,
        by,
        scratch=(room, np.float32),
        work=_work(by, area),
    )


def _work(by: Plan, area: int) -> int:
    """Elementary steps: the transforms, and the products at each of `area` points.

    A number takes half a step to be transformed. Products count half as well: threads
    wait for one another's images, and where networks are `deep` all transform the same.
    """
    transformed = by.number + (by.filters if by.deep else 0)
    products = by.number * by.filters // PRODUCTS
    return (transformed + products) * area * by.channels // 2


def conv_dw(x: Array, gy: Array, window: Window, groups: int = 1) -> Array:
    """gw[f,c,u,v] = sum over n,i,j of gy[n,f,i,j] * x[n, c, i-p+u, j-p+v].

    Shapes. x (N,C,H,W), gy (N,F,I,J), both float32 -> (F,C/G,U,U).
    """
    filters, channels = gy.shape[1], x.shape[1] // groups
    sizes = len(x), channels, filters // groups, window.out, window.padding
    by = plan(Layer(*sizes, window.kernel[0], window.stride[0]))
    if not by.deep:
        by = by._replace(rows=min(128, by.number))
    gw = np.empty((filters, channels, *window.kernel), np.float32)
    pixels, grads = channels_last(x), channels_last(gy)
    for own, part in zip(gw.reshape(groups, -1), _parts(by, groups), strict=True):
        _weight_sums(pixels, grads, own, part)
    return gw


def _weight_sums(x: Array, gy: Array, gw: Array, by: Plan) -> None:
    """The gradients of one group's weights.

    Each thread sums over its own tiles, or, if `deep`, over all of them for its own
    filters.
    """
    area = by.points**2
    sums = area * loops.apart(by.channels * by.width)
    parts = 1 if by.deep else max(1, min(get_num_threads(), by.number // by.rows))
    total = workspace("sums", 0 if by.deep else parts * by.panels * sums, np.float32)
    block = area * loops.apart(by.rows * by.channels)
    panel_size = area * loops.apart(by.rows * by.width)
    run(
        loops.weight_sums,
        by.panels if by.deep else parts,
        x,
        gy,
        total,
        parts,
        gw,
        by,
        scratch=(
            block + panel_size + loops.ROOM + (sums if by.deep else 0),
            np.float32,
        ),
        work=_work(by, area),
    )
    if not by.deep:
        run(
            loops.transform_sums,
            by.panels,
            total,
            parts,
            gw,
            by,
            scratch=(loops.ROOM, np.float32),
            work=gw.size * area // 8,
        )
