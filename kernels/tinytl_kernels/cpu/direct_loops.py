"""The loops of convolution as it is defined; direct.py says what they compute."""

import numba

from .product import ROWS, TALL, block, multiply


@numba.njit(nogil=True, cache=True)
def convolve(first, last, scratch, x, packed, y, by):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the outputs of all images."""
    height, count, filters = y.shape[1:]
    channels, line = x.shape[3], by.padded[1]
    size = ROWS if by.wide or count < TALL else TALL
    own = by.columns == filters and count >= size  # y itself has room for whole blocks
    flat = y.reshape(-1)
    here = -1
    for row in range(first, last):
        n, i = row // height, row % height
        if n != here:
            _pad(x, n, scratch, by)
            here = n
        out = (flat, row * count * filters) if own else (scratch, by.room)
        for k in range(0, count, size):
            j = max(
                min(k, count - size), 0
            )  # the last block may overlap the one before
            start = (i * by.stride[0] * line + j * by.stride[1]) * channels
            to = (out[0], out[1] + j * by.columns)
            _windows(size, start, scratch, packed, to, channels, by)
        if not own:
            for j in range(count):
                at = by.room + j * by.columns
                for f in range(filters):
                    flat[(row * count + j) * filters + f] = scratch[at + f]


@numba.njit(nogil=True)
def _windows(size, start, padded, packed, to, channels, by):  # type: ignore[no-untyped-def]
    """`size` outputs of a row, all filters; the first window begins at `start`."""
    one = by.stride[1] * channels
    down = by.dilation[0] * by.padded[1] * channels
    depth = (by.kernel[0], by.run)
    for q in range(0, by.columns, by.width):
        c = (to[0], to[1] + q, by.columns)
        for r in range(by.runs):
            a = (padded, start + r * by.dilation[1] * channels, one, down, 1)
            tap = (q * depth[0] * by.runs + r * by.width) * by.run
            b = (packed, tap, by.runs * by.run * by.width, by.width)
            if by.wide:
                block(ROWS, 2, depth, a, b, c, r > 0)
            elif size == TALL:
                block(TALL, 1, depth, a, b, c, r > 0)
            else:
                block(ROWS, 1, depth, a, b, c, r > 0)


@numba.njit(nogil=True, cache=True)
def weight_sums(first, last, scratch, x, gy, total, by):  # type: ignore[no-untyped-def]
    """Parts first..last-1 of the sum; a part has its share of the images."""
    parts, u_size, runs, rows, columns = total.shape
    grads, pixels, filters = gy.reshape(-1), by.out[0] * by.out[1], gy.shape[3]
    for part in range(first, last):
        for n in range(len(x) * part // parts, len(x) * (part + 1) // parts):
            _pad(x, n, scratch, by)
            g = (grads, n * pixels * filters, filters)
            if g[1] + pixels * filters + columns > len(grads):  # a panel reads behind
                g = (scratch, by.room, columns)
                for p in range(pixels):
                    for f in range(filters):
                        at = (n * pixels + p) * filters + f
                        scratch[by.room + p * columns + f] = grads[at]
            for u in range(u_size):
                for r in range(runs):
                    to = ((part * u_size + u) * runs + r) * rows * columns
                    tap = u * by.dilation[0] * by.padded[1] + r * by.dilation[1]
                    _taps(tap * x.shape[3], scratch, g, total, to, x.shape[3], by)


@numba.njit(nogil=True)
def _taps(start, padded, g, total, to, channels, by):  # type: ignore[no-untyped-def]
    """Gradients of one run of taps, all filters, from one image."""
    sums = total.reshape(-1)
    down = by.stride[0] * by.padded[1] * channels
    for k in range(0, by.run, ROWS if by.wide else TALL):
        a = (padded, start + k, 1, down, by.stride[1] * channels)
        for q in range(0, by.columns, by.width):
            b = (g[0], g[1] + q, by.out[1] * g[2], g[2])
            c = (sums, to + k * by.columns + q, by.columns)
            if by.wide:
                block(ROWS, 2, by.out, a, b, c, True)
            else:
                block(TALL, 1, by.out, a, b, c, True)


@numba.njit(nogil=True, cache=True)
def add_back(first, last, scratch, gy, packed, gx, by):  # type: ignore[no-untyped-def]
    """gx of images first..last-1: rows of gy w^T, each added to its window's pixels."""
    filters, pixels = gy.shape[3], by.out[0] * by.out[1]
    rows = (pixels + TALL - 1) // TALL * TALL
    grads, out = gy.reshape(-1), gx.reshape(-1)
    image = gx.shape[1] * gx.shape[2] * gx.shape[3]
    for n in range(first, last):
        _copy(scratch, 0, grads, n * pixels * filters, pixels * filters)
        a, c = (scratch, 0, filters, 1), (scratch, rows * filters, by.columns)
        multiply(rows, by.columns, filters, by.width, a, (packed, 0), c, False)
        _zeros(out, n * image, image)
        for p in range(pixels):
            at = rows * filters + p * by.columns
            _add_window(scratch, at, gx, n, p // by.out[1], p % by.out[1], by)


@numba.njit(nogil=True)
def _add_window(columns, at, gx, n, i, j, by):  # type: ignore[no-untyped-def]
    """Add the numbers from columns[at] on to the pixels that window (i, j) sees."""
    height, width, channels = gx.shape[1:]
    out = gx.reshape(-1)
    for u in range(by.kernel[0]):
        h = i * by.stride[0] - by.padding[0] + u * by.dilation[0]
        for v in range(by.kernel[1]):
            w = j * by.stride[1] - by.padding[1] + v * by.dilation[1]
            if 0 <= h < height and 0 <= w < width:
                to = ((n * height + h) * width + w) * channels
                for c in range(channels):
                    out[to + c] += columns[at + c]
            at += channels


@numba.njit(nogil=True)
def _pad(x, n, scratch, by):  # type: ignore[no-untyped-def]
    """Image n, with the zeros that windows see around it; negative padding cuts off."""
    height, width, channels = x.shape[1:]
    pixels, line = x.reshape(-1), by.padded[1]
    left, right = max(by.padding[1], 0), min(by.padding[1] + width, line)
    for row in range(by.padded[0]):
        to, h = row * line * channels, row - by.padding[0]
        if 0 <= h < height:
            at = ((n * height + h) * width + left - by.padding[1]) * channels
            _zeros(scratch, to, left * channels)
            _copy(scratch, to + left * channels, pixels, at, (right - left) * channels)
            _zeros(scratch, to + right * channels, (line - right) * channels)
        else:
            _zeros(scratch, to, line * channels)


@numba.njit(nogil=True)
def _zeros(out, start, count):  # type: ignore[no-untyped-def]
    for k in range(start, start + count):
        out[k] = 0


@numba.njit(nogil=True)
def _copy(out, start, numbers, at, count):  # type: ignore[no-untyped-def]
    for k in range(count):
        out[start + k] = numbers[at + k]
