"""The loops of convolution as it is defined; direct.py says what they compute."""

from .compiled import as_written
from .product import FEWER, MORE, ROWS, TALL, block, multiply
from .simd import BITS, load, store, zero

PIXEL, SIGHT = 3, 9  # numbers in a pixel of RGB, and in a row of a 3 x 3 window of it


@as_written
def convolve(first, last, scratch, x, packed, bias, y, by, panels):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the outputs of all images."""
    height, count, filters = y.shape[1:]
    channels = x.shape[3]
    one = BITS // 8 // y.itemsize
    narrow = filters < one  # a block writes more, which the next one overwrites
    least = by.rows if panels.wide == len(panels.starts) else ROWS
    flat = y.reshape(-1)
    here = -1
    for row in range(first, last):
        n, i = row // height, row % height
        if n != here:
            pad(x, n, scratch, by)
            here = n
        room = (last - 1 - row) * count * filters  # that later rows will overwrite
        behind = by.runs == 1 and room >= one - filters  # nothing is added later
        own = count >= least and (not narrow or behind)
        step = filters if own else panels.columns
        out = (flat, row * count * filters) if own else (scratch, by.room)
        _row(i, scratch, packed, bias, (*out, step), channels, by, panels)
        if not own:
            for j in range(count):
                for f in range(filters):
                    value = scratch[by.room + j * step + f]
                    flat[(row * count + j) * filters + f] = value


@as_written
def _row(i, padded, packed, bias, to, channels, by, panels):  # type: ignore[no-untyped-def]
    """A row of outputs, all filters; the first run of memory brings the bias.

    A network's first layer sees so few numbers that counting them takes as long as
    using them; what the compiler knows, nobody counts.
    """
    step, count = by.stride[1] * channels, by.out[1]
    down, one = by.dilation[0] * by.padded[1] * channels, BITS // 8 // padded.itemsize
    runs, run, depth = by.runs, by.run, (by.kernel[0], by.run)
    for q in range(len(panels.starts)):
        wide = q < panels.wide
        width, first = (2 * one, q * 2) if wide else (one, q + panels.wide)
        size = by.rows if wide else ROWS if count < TALL else TALL
        for k in range(0, count, size):
            j = max(min(k, count - size), 0)  # the last block may overlap
            start = i * by.stride[0] * by.padded[1] * channels + j * step
            c = (to[0], to[1] + j * to[2] + panels.starts[q], to[2])
            for r in range(runs):
                a = (padded, start + r * by.dilation[1] * channels, step, down, 1)
                tap = (first * one * depth[0] * runs + r * width) * run
                b = (packed, tap, runs * run * width, width)
                given = (bias, panels.starts[q], 0)
                add = c if r else given
                if step == PIXEL and run == SIGHT and size == (ROWS if wide else TALL):
                    a = (padded, start, PIXEL, down, 1)
                    if wide:
                        block(ROWS, 4, (depth[0], SIGHT), a, b, c, given)
                    else:
                        block(TALL, 2, (depth[0], SIGHT), a, b, c, given)
                elif wide and size == FEWER:
                    block(FEWER, 4, depth, a, b, c, add)
                elif wide and size == MORE:
                    block(MORE, 4, depth, a, b, c, add)
                elif wide:
                    block(ROWS, 4, depth, a, b, c, add)
                elif size == TALL:
                    block(TALL, 2, depth, a, b, c, add)
                else:
                    block(ROWS, 2, depth, a, b, c, add)


@as_written
def weight_sums(first, last, scratch, x, gy, total, by, panels):  # type: ignore[no-untyped-def]
    """Parts first..last-1 of the sum; a part has its share of the images."""
    parts, u_size, runs, rows, columns = total.shape
    grads, pixels, filters = gy.reshape(-1), by.out[0] * by.out[1], gy.shape[3]
    for part in range(first, last):
        for n in range(len(x) * part // parts, len(x) * (part + 1) // parts):
            pad(x, n, scratch, by)
            g = (grads, n * pixels * filters, filters)
            end = g[1] + pixels * filters + columns
            if filters < columns and end > len(grads):  # a panel reads behind
                g = (scratch, by.room, columns)
                for p in range(pixels):
                    for f in range(filters):
                        at = (n * pixels + p) * filters + f
                        scratch[by.room + p * columns + f] = grads[at]
            for u in range(u_size):
                for r in range(runs):
                    to = ((part * u_size + u) * runs + r) * rows * columns
                    tap = u * by.dilation[0] * by.padded[1] + r * by.dilation[1]
                    _taps(
                        tap * x.shape[3], scratch, g, total, to, x.shape[3], by, panels
                    )


@as_written
def _taps(start, padded, g, total, to, channels, by, panels):  # type: ignore[no-untyped-def]
    """Gradients of one run of taps, all filters, from one image."""
    sums, columns = total.reshape(-1), total.shape[4]
    down, one = by.stride[0] * by.padded[1] * channels, BITS // 8 // padded.itemsize
    for q in range(len(panels.starts)):
        wide = q < panels.wide
        rows = SIGHT if by.run == SIGHT else ROWS if wide else TALL
        first = (2 * q if wide else q + panels.wide) * one
        b = (g[0], g[1] + panels.starts[q], by.out[1] * g[2], g[2])
        for k in range(0, by.run, rows):
            a = (padded, start + k, 1, down, by.stride[1] * channels)
            c = (sums, to + k * columns + first, columns)
            if rows == SIGHT and wide:
                block(SIGHT, 4, by.out, a, b, c, True)
            elif rows == SIGHT:
                block(SIGHT, 2, by.out, a, b, c, True)
            elif wide:
                block(ROWS, 4, by.out, a, b, c, True)
            else:
                block(TALL, 2, by.out, a, b, c, True)


@as_written
def add_back(first, last, scratch, gy, packed, gx, by):  # type: ignore[no-untyped-def]
    """gx of images first..last-1: rows of gy w^T, each added to its window's pixels."""
    filters, pixels = gy.shape[3], by.out[0] * by.out[1]
    rows = (pixels + TALL - 1) // TALL * TALL
    grads = gy.reshape(-1)
    left, right = by.room, by.room + rows * filters
    for n in range(first, last):
        copy(scratch, left, grads, n * pixels * filters, pixels * filters)
        a, c = (scratch, left, filters, 1), (scratch, right, by.columns)
        multiply(rows, by.columns, filters, by.width, a, (packed, 0), c, False)
        zeros(scratch, 0, by.room)
        for p in range(pixels):
            i, j = p // by.out[1] * by.stride[0], p % by.out[1] * by.stride[1]
            to = (i * by.padded[1] + j) * gx.shape[3]
            _add_window(scratch, right + p * by.columns, to, gx.shape[3], by)
        _cut(scratch, n, gx, by)


@as_written
def _add_window(numbers, at, to, channels, by):  # type: ignore[no-untyped-def]
    """Add numbers from `at` on, in whole vectors, to what the window at `to` sees."""
    width = BITS // 8 // numbers.itemsize
    for u in range(by.kernel[0]):
        for r in range(by.runs):
            tap = u * by.dilation[0] * by.padded[1] + r * by.dilation[1]
            start = to + tap * channels
            for k in range(0, by.run, width):
                total = load(numbers, start + k) + load(numbers, at)
                store(numbers, start + k, total)
                at += width


@as_written
def _cut(padded, n, gx, by):  # type: ignore[no-untyped-def]
    """Image n without the padding around it; pixels that no window saw are zero."""
    height, width, channels = gx.shape[1:]
    out, line = gx.reshape(-1), by.padded[1]
    for h in range(height):
        to, row = (n * height + h) * width * channels, h + by.padding[0]
        if 0 <= row < by.padded[0]:
            here = min(width, line - by.padding[1])
            copy(
                out,
                to,
                padded,
                (row * line + by.padding[1]) * channels,
                here * channels,
            )
            zeros(out, to + here * channels, (width - here) * channels)
        else:
            zeros(out, to, width * channels)


@as_written
def pad(x, n, scratch, by):  # type: ignore[no-untyped-def]
    """Image n, with the zeros that windows see around it; negative padding cuts off."""
    height, width, channels = x.shape[1:]
    pixels, line = x.reshape(-1), by.padded[1]
    left, right = max(by.padding[1], 0), min(by.padding[1] + width, line)
    for row in range(by.padded[0]):
        to, h = row * line * channels, row - by.padding[0]
        if 0 <= h < height:
            at = ((n * height + h) * width + left - by.padding[1]) * channels
            zeros(scratch, to, left * channels)
            copy(scratch, to + left * channels, pixels, at, (right - left) * channels)
            zeros(scratch, to + right * channels, (line - right) * channels)
        else:
            zeros(scratch, to, line * channels)


@as_written
def zeros(out, start, count):  # type: ignore[no-untyped-def]
    """In whole vectors; the last one overlaps the one before."""
    width = BITS // 8 // out.itemsize
    if count < width:
        for k in range(start, start + count):
            out[k] = 0
    else:
        for k in range(0, count, width):
            store(out, start + min(k, count - width), zero(out))


@as_written
def copy(out, start, numbers, at, count):  # type: ignore[no-untyped-def]
    """In whole vectors; the last one overlaps the one before."""
    width = BITS // 8 // out.itemsize
    if count < width:
        for k in range(count):
            out[start + k] = numbers[at + k]
    else:
        for j in range(0, count, width):
            k = min(j, count - width)
            store(out, start + k, load(numbers, at + k))
