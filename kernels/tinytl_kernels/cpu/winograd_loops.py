"""The loops of Winograd's convolution; winograd.py tells what they do, and why.

Transforms are told in tiles.py, as formulas, and made of instructions in transform.py.

Matrices, one for each of the points^2 points k:

    u[k]  channels x width, transformed filters of a panel    G w G^T
    v[k]  tiles x channels, transformed tiles of x            B^T d B
    p[k]  tiles x width     v[k] u[k], to be transformed to outputs
    g[k]  tiles x width, transformed tiles of gy              A gy A^T
    s[k]  channels x width  v[k]^T g[k], to be transformed to gradients of weights

A group of matrices is written (array, place of the first, step to the next).
"""

import numpy as np

from . import tiles
from .compiled import as_written, inlined
from .product import high, multiply
from .simd import fetch, lanes, load, store, turn, zero
from .transform import transform

LANES = lanes(np.float32)
AHEAD = 2  # channels by which sums are asked for before they are needed
ROOM = max(36, LANES) * LANES  # for a tile of vectors, or for as many as are turned


def apart(size: int) -> int:
    """Step between matrices of `size`: powers of two would share their cache lines."""
    return size + 16


_apart, _high = as_written(apart), as_written(high)

# Of tiles, from their columns and rows to those of the new tile.
_to_inputs = transform(tiles.inputs, "inputs")
_to_outputs = transform(tiles.outputs, "points")
_from_outputs = transform(tiles.outputs_transposed, "outputs")
_to_filters = transform(tiles.filters, "taps")
_from_filters = transform(tiles.filters_transposed, "points")


@as_written
def convolve(first, last, scratch, x, w, order, packed, bias, y, by):  # type: ignore[no-untyped-def]
    """Tiles first..last-1, in blocks; of a deep network, panels of filters instead.

    A deep network's panels are transformed here, `depth` channels at a time, and
    multiplied before they have left the cache.
    """
    area, step = by.points**2, _high(by.width, LANES)
    one = 0 if by.points == 3 else by.points + 1  # where a bias is added
    v = (scratch, 0, _apart(by.rows * by.channels))
    p = (scratch, area * v[2], _apart(by.rows * by.width))
    spare = p[1] + area * p[2]
    u_step = _apart(by.depth * by.width)
    span = (0, by.number) if by.deep else (first, last)
    panels = (first, last) if by.deep else (0, by.panels)
    for start in range(span[0], span[1], by.rows):
        end = min(start + by.rows, span[1])
        rows = (end - start + step - 1) // step * step
        _inputs(start, end, x, v, scratch, spare, by)
        for q in range(panels[0], panels[1]):
            u = (packed, q * area * u_step, u_step)
            for begin in range(0, by.channels, by.depth):
                stop = min(begin + by.depth, by.channels)
                if by.deep:
                    u = (scratch, spare + ROOM, u_step)
                    _panel(q, begin, stop, w, order, u, scratch, spare, by)
                for k in range(area):
                    a = (scratch, v[1] + k * v[2] + begin, by.channels, 1)
                    b = (u[0], u[1] + k * u[2])
                    c = (scratch, p[1] + k * p[2], by.width)
                    add = begin > 0
                    multiply(rows, by.width, stop - begin, by.width, a, b, c, add)
            if len(bias):
                c = (scratch, p[1] + one * p[2], by.width)
                _add(rows, c, bias, q * by.width, by)
            _outputs(start, end, q, p, y, scratch, spare, by)


@as_written
def _add(rows, c, bias, start, by):  # type: ignore[no-untyped-def]
    """Add the biases of a panel to each row of c."""
    out, first, step = c
    for f in range(0, by.width, LANES):
        value = load(bias, min(start + f, by.filters - LANES))
        for at in range(first + f, first + f + rows * step, step):
            store(out, at, load(out, at) + value)


@as_written
def transform_filters(first, last, scratch, w, order, packed, by):  # type: ignore[no-untyped-def]
    """u of panels first..last-1."""
    step = _apart(by.channels * by.width)
    for q in range(first, last):
        u = (packed, q * by.points**2 * step, step)
        _panel(q, 0, by.channels, w, order, u, scratch, 0, by)


@as_written
def weight_sums(first, last, scratch, x, gy, total, parts, gw, by):  # type: ignore[no-untyped-def]
    """s of parts first..last-1 of the tiles; of a deep network, gw of panels."""
    area, s_step = by.points**2, _apart(by.channels * by.width)
    v = (scratch, 0, _apart(by.rows * by.channels))
    g = (scratch, area * v[2], _apart(by.rows * by.width))
    spare = g[1] + area * g[2]
    panels = (first, last) if by.deep else (0, by.panels)
    for part in range(0 if by.deep else first, 1 if by.deep else last):
        begin, stop = by.number * part // parts, by.number * (part + 1) // parts
        for start in range(begin, stop, by.rows):
            end = min(start + by.rows, stop)
            _inputs(start, end, x, v, scratch, spare, by)
            for q in range(panels[0], panels[1]):
                s = (total, (part * by.panels + q) * area * s_step, s_step)
                if by.deep:
                    s = (scratch, spare + ROOM, s_step)
                _gradients(start, end, q, gy, g, scratch, spare, by)
                for k in range(area):
                    a = (scratch, v[1] + k * v[2], 1, by.channels)
                    b = (scratch, g[1] + k * g[2])
                    c = (s[0], s[1] + k * s[2], by.width)
                    add = start > begin
                    multiply(by.channels, by.width, end - start, by.width, a, b, c, add)
                if by.deep:
                    _weights(q, s, 0, 1, gw, scratch, spare, by)


@as_written
def transform_sums(first, last, scratch, total, parts, gw, by):  # type: ignore[no-untyped-def]
    """gw of panels first..last-1, from the parts' sums."""
    step = _apart(by.channels * by.width)
    size = by.points**2 * step
    for q in range(first, last):
        s = (total, q * size, step)
        _weights(q, s, by.panels * size, parts, gw, scratch, 0, by)


# -- from images and filters to matrices, and back -------------------------------------


@as_written
def _panel(q, begin, stop, w, order, u, scratch, spare, by):  # type: ignore[no-untyped-def]
    """G w G^T of the filters of panel q, channels begin..stop-1, lanes of them at once.

    The taps of each are neighbours in memory, in either order: lanes of filters are
    turned to lanes of taps, 16 numbers of each at a time, if so many are there.
    """
    start, f_step, c_step, tap_step = order
    side, count = by.points, by.taps**2
    behind = count - 1 if tap_step < 0 else 0  # of the first tap
    down = by.taps * tap_step * LANES
    taps = (scratch, spare + behind * LANES, tap_step * LANES, down)
    whole = by.seen // LANES * LANES
    for f in range(0, by.width, LANES):
        row = start + min(q * by.width + f, by.filters - LANES) * f_step - behind
        for c in range(begin, stop):
            at = row + (c if c < whole else c - by.channels + by.seen) * c_step
            last = at + (LANES - 1) * f_step + max(count, LANES)
            if whole <= c < whole + by.channels - by.seen:  # seen before
                for k in range(count):
                    store(scratch, spare + k * LANES, zero(scratch))
            else:
                new, old = (scratch, spare, LANES, 1), (w, at, 1, f_step)
                _turn(count, new, old, last <= len(w))
            to = (u[0], u[1] + (c - begin) * by.width + f, side * u[2], u[2])
            _to_filters(by.form, taps, to)


@as_written
def _inputs(start, end, x, v, scratch, spare, by):  # type: ignore[no-untyped-def]
    """B^T d B of tiles start..end-1."""
    side, pixels = by.points, x.reshape(-1)
    for t in range(start, end):
        n, top, left = _corner(t, by.step, by)
        top, left = top - by.top, left - by.left
        for c in range(0, by.channels, LANES):
            window = (n, top, left, by.reach)
            place = by.before[0] + min(c, by.seen - LANES)
            tile = _tile(pixels, x.shape, window, place, c == 0, scratch, spare)
            to = (v[0], v[1] + (t - start) * by.channels + c, side * v[2], v[2])
            _to_inputs(by.form, tile, to)


@as_written
def _gradients(start, end, q, gy, g, scratch, spare, by):  # type: ignore[no-untyped-def]
    """A gy A^T of tiles start..end-1, for the filters of panel q."""
    side, pixels, begin = by.points, gy.reshape(-1), q * by.width
    for t in range(start, end):
        n, top, left = _corner(t, by.m, by)
        for f in range(begin, min(begin + by.width, by.filters), LANES):
            window = (n, top, left, by.m)
            place = by.before[1] + min(f, by.filters - LANES)
            tile = _tile(pixels, gy.shape, window, place, f == begin, scratch, spare)
            at = g[1] + (t - start) * by.width + f - begin
            to = (g[0], at, side * g[2], g[2])
            _from_outputs(by.form, tile, to)


@as_written
def _outputs(start, end, q, p, y, scratch, spare, by):  # type: ignore[no-untyped-def]
    """A^T p A of tiles start..end-1, to their pixels of y."""
    m, side = by.m, by.points
    height, width, filters = y.shape[1:]
    pixels = y.reshape(-1)
    for t in range(start, end):
        n, top, left = _corner(t, by.m, by)
        rows, columns = min(m, height - top), min(m, width - left)
        corner = ((n * height + top) * width + left) * filters + by.before[1]
        for f in range(q * by.width, min((q + 1) * by.width, by.filters), LANES):
            at = p[1] + (t - start) * by.width + f % by.width
            tile = (p[0], at, p[2], side * p[2])
            to = corner + min(f, by.filters - LANES)
            whole = rows == columns == m
            if whole:
                out = (pixels, to, width * filters, filters)
            else:
                out = (scratch, spare, m * LANES, LANES)
            _to_outputs(by.form, tile, out)
            if not whole:
                for k in range(rows * columns):
                    i, j = k // columns, k % columns
                    value = load(scratch, spare + (i * m + j) * LANES)
                    store(pixels, to + (i * width + j) * filters, value)


@as_written
def _weights(q, s, part_step, parts, gw, scratch, spare, by):  # type: ignore[no-untyped-def]
    """G^T s G of panel q, summed over the parts, to its filters of gw.

    Lanes of taps are turned to taps of filters, 16 numbers of each if so many fit: what
    is behind 9 is where the next channel's taps will be written.
    """
    side, count = by.points, by.taps**2
    sums = (scratch, spare, LANES, side * LANES)
    taps = (scratch, spare, by.taps * LANES, LANES)
    whole, step = by.seen // LANES * LANES, by.seen * count
    for f in range(0, min(by.width, by.filters - q * by.width), LANES):
        first = min(q * by.width + f, by.filters - LANES) * step
        for c in range(by.seen):
            row = c if c < whole else c + by.channels - by.seen
            for k in range(side * side):
                at = s[1] + k * s[2] + row * by.width + f
                total = load(s[0], at)
                fetch(s[0], at + AHEAD * by.width)
                for part in range(1, parts):
                    other = at + part * part_step
                    total = total + load(s[0], other)
                    fetch(s[0], other + AHEAD * by.width)
                store(scratch, spare + k * LANES, total)
            _from_filters(by.form, sums, taps)
            new, old = (gw, first + c * count, 1, step), (scratch, spare, LANES, 1)
            _turn(count, new, old, c * count + max(count, LANES) <= step)


@as_written
def _turn(count, new, old, room):  # type: ignore[no-untyped-def]
    """Taps of filters to lanes of taps, or back: (array, start, steps of tap and lane).

    With room for it, 16 taps at a time; the last overlap, or end in what is not used.
    """
    (y, i, y_tap, y_lane), (x, j, x_tap, x_lane) = new, old
    if room:
        for first in range(0, count, LANES):
            k = max(min(first, count - LANES), 0)
            to, at = i + k * y_tap, j + k * x_tap
            turn(y, to, max(y_tap, y_lane), x, at, max(x_tap, x_lane))
    else:
        for k in range(count):
            for lane in range(LANES):
                y[i + k * y_tap + lane * y_lane] = x[j + k * x_tap + lane * x_lane]


@as_written
def _corner(t, step, by):  # type: ignore[no-untyped-def]
    """Image, row and column of tile t's first pixel, tiles being `step` apart."""
    row = t // by.across
    return row // by.down, row % by.down * step, t % by.across * step


@inlined
def _tile(pixels, shape, window, c, first, scratch, spare):  # type: ignore[no-untyped-def]
    """A vector of channels of side x side pixels: array, place, steps right and down.

    A tile that reaches over the edge of the image is copied, with zeros outside, which
    are written for the first of its vectors.
    """
    height, width, channels = shape[1:]
    n, top, left, side = window
    corner = ((n * height + top) * width + left) * channels + c
    if top >= 0 and left >= 0 and top + side <= height and left + side <= width:
        return pixels, corner, channels, width * channels
    if first:
        for k in range(side * side):
            store(scratch, spare + k * LANES, zero(scratch))
    for h in range(max(0, -top), min(side, height - top)):
        for w in range(max(0, -left), min(side, width - left)):
            place = spare + (h * side + w) * LANES
            store(scratch, place, load(pixels, corner + (h * width + w) * channels))
    return scratch, spare, LANES, side * LANES
