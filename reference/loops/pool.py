"""Pooling: one number for each window of the image, channel by channel."""

import math

import numpy as np


def windows(H, U, s, p, d=1, ceil_mode=False):
    r"""Return the first row of each window, counted from the image's first row.

    Window i starts at i*s - p and its last row is d*(U - 1) further down. Rows from
    -p to H - 1 + p exist; those outside the image are padding. Without ceil_mode a
    window must lie wholly on existing rows. With it, one more window is allowed when
    the one before leaves rows uncovered below its last row, but only if it starts on
    the image or on the padding above it: a window of padding below (or of nothing)
    would have no value.
    """
    starts: list[int] = []
    while True:
        start = len(starts) * s - p
        last = start + d * (U - 1)
        if ceil_mode:
            exists = (last - s) < H - 1 + p and start < H
        else:
            exists = last <= H - 1 + p
        if not exists:
            return starts
        starts.append(start)


def max_pool2d(x, kernel, s=None, p=(0, 0), d=(1, 1), ceil_mode=False):
    r"""Return the largest value of each window, and where it was.

    x: (N, C, H, W)    y and index: (N, C, I, J)

        y[n, c, i, j] = max over u, v of x[n, c, i*s - p + u*d, j*s - p + v*d]

    Padding never wins: it is left out, as if it were minus infinity. Among equal
    values the first wins, reading the window row by row. A NaN wins over everything
    that came before it, so that it cannot go unnoticed. index[n, c, i, j] is
    h*W + k, the winner's place in its own image.
    """
    s = kernel if s is None else s
    N, C, H, W = x.shape
    rows = windows(H, kernel[0], s[0], p[0], d[0], ceil_mode)
    columns = windows(W, kernel[1], s[1], p[1], d[1], ceil_mode)
    y = np.zeros((N, C, len(rows), len(columns)))
    index = np.zeros(y.shape, dtype=np.int64)
    for n in range(N):
        for c in range(C):
            for i, top in enumerate(rows):
                for j, left in enumerate(columns):
                    best, where = -math.inf, None
                    for u in range(kernel[0]):
                        for v in range(kernel[1]):
                            h, k = top + u * d[0], left + v * d[1]
                            if not (0 <= h < H and 0 <= k < W):
                                continue
                            value = x[n, c, h, k]
                            if where is None or value > best or math.isnan(value):
                                best, where = value, h * W + k
                    y[n, c, i, j], index[n, c, i, j] = best, where
    return y, index


def sum_pool2d(x, kernel, s=None, p=(0, 0), ceil_mode=False):
    r"""Return the sum of each window; padding adds nothing.

    y[n, c, i, j] = sum over u, v of x[n, c, i*s - p + u, j*s - p + v]
    """
    return avg_pool2d(x, kernel, s, p, ceil_mode, divisor_override=1)


def avg_pool2d(
    x,
    kernel,
    s=None,
    p=(0, 0),
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    r"""Return the mean of each window: its sum over a number of cells.

    The number is divisor_override if that is given. Otherwise it counts the cells of
    the window that exist: image and padding with count_include_pad, image alone
    without. Cells that ceil_mode lets hang over the padding below do not exist.
    """
    s = kernel if s is None else s
    N, C, H, W = x.shape
    rows = windows(H, kernel[0], s[0], p[0], 1, ceil_mode)
    columns = windows(W, kernel[1], s[1], p[1], 1, ceil_mode)
    y = np.zeros((N, C, len(rows), len(columns)))
    for n in range(N):
        for c in range(C):
            for i, top in enumerate(rows):
                for j, left in enumerate(columns):
                    total, image, padded = 0.0, 0, 0
                    for h in range(top, top + kernel[0]):
                        for k in range(left, left + kernel[1]):
                            if h < H + p[0] and k < W + p[1]:
                                padded += 1
                            if 0 <= h < H and 0 <= k < W:
                                image += 1
                                total += x[n, c, h, k]
                    cells = padded if count_include_pad else image
                    y[n, c, i, j] = total / (divisor_override or cells)
    return y


def adaptive_avg_pool2d(x, size):
    r"""Return the mean of windows that are laid so that I x J of them cover x.

    Window i takes the rows that its share of the image, from i*H/I to (i + 1)*H/I,
    touches at all: row h lies between h and h + 1. Windows overlap where I does not
    divide H, and repeat rows where I is larger than H.
    """
    N, C, H, W = x.shape
    I, J = size  # noqa: E741
    y = np.zeros((N, C, I, J))
    for n in range(N):
        for c in range(C):
            for i in range(I):
                for j in range(J):
                    total, count = 0.0, 0
                    for h in range(H):
                        for k in range(W):
                            # h + 1 > i*H/I and h < (i + 1)*H/I, in whole numbers
                            row = (h + 1) * I > i * H and h * I < (i + 1) * H
                            column = (k + 1) * J > j * W and k * J < (j + 1) * W
                            if row and column:
                                total += x[n, c, h, k]
                                count += 1
                    y[n, c, i, j] = total / count
    return y
