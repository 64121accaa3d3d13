"""Interpolation of images: where each output pixel looks in the input."""

import math

import numpy as np


def nearest(x, size):
    r"""Copy the input pixel that holds the output pixel's left or upper edge.

    y[n, c, i, j] = x[n, c, floor(i*H/I), floor(j*W/J)]
    """
    N, C, H, W = x.shape
    I, J = size  # noqa: E741
    y = np.zeros((N, C, I, J))
    for n in range(N):
        for c in range(C):
            for i in range(I):
                for j in range(J):
                    y[n, c, i, j] = x[n, c, i * H // I, j * W // J]
    return y


def nearest_exact(x, size):
    r"""Copy the input pixel that holds the output pixel's centre.

    y[n, c, i, j] = x[n, c, floor((i + 1/2)*H/I), floor((j + 1/2)*W/J)]
    """
    N, C, H, W = x.shape
    I, J = size  # noqa: E741
    y = np.zeros((N, C, I, J))
    for n in range(N):
        for c in range(C):
            for i in range(I):
                for j in range(J):
                    h = (2 * i + 1) * H // (2 * I)
                    k = (2 * j + 1) * W // (2 * J)
                    y[n, c, i, j] = x[n, c, h, k]
    return y


def source(i, H, I, align_corners, per_output=None):  # noqa: E741
    r"""Return the two input rows that output row i mixes, and the weight of the second.

    The output row lies at the real input coordinate

        t = i * (H - 1) / (I - 1)             corners on corners (0 when I = 1)
        t = max((i + 1/2) * H/I - 1/2, 0)     pixels as areas with their centre halfway

    a = floor(t) is the row before, min(a + 1, H - 1) the row after, and t - a the
    weight of the row after. per_output replaces H/I when a scale factor says so.
    """
    if align_corners:
        t = i * (H - 1) / (I - 1) if I > 1 else 0.0
    else:
        t = max((i + 0.5) * (H / I if per_output is None else per_output) - 0.5, 0.0)
    a = min(math.floor(t), H - 1)
    return a, min(a + 1, H - 1), t - a


def bilinear(x, size, align_corners=False):
    r"""Mix the four input pixels around the output pixel's place.

    With (a, b, q) the rows and the weight of `source` for i, (l, r, t) those for j:

        y[n, c, i, j] = (1-q)(1-t) x[a, l] + (1-q) t x[a, r] + q (1-t) x[b, l]
                      + q t x[b, r]
    """
    N, C, H, W = x.shape
    I, J = size  # noqa: E741
    y = np.zeros((N, C, I, J))
    for i in range(I):
        for j in range(J):
            a, b, q = source(i, H, I, align_corners)
            left, right, t = source(j, W, J, align_corners)
            for n in range(N):
                for c in range(C):
                    above = (1 - t) * x[n, c, a, left] + t * x[n, c, a, right]
                    below = (1 - t) * x[n, c, b, left] + t * x[n, c, b, right]
                    y[n, c, i, j] = (1 - q) * above + q * below
    return y
