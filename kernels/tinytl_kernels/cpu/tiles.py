"""The five small matrices of Winograd's convolution, as the sums that they stand for.

Each function takes a line of vectors, those at a[i], a[i + step], a[i + 2 step] ...,
and puts the transformed line to b[j], b[j + jump], ... Applied to the columns of a tile
and then to its rows, they transform it. winograd.py says where they come from.

    points   products in a line, which name the form:   6   4   3
    outputs  of a line:                                 4   2   2
    inputs                                              6   4   2, and zeros around them
"""

import numpy as np

from .compiled import inlined
from .simd import load, store

# The three forms: sizes of a line before and after the functions below.
POINTS, OUTPUTS, INPUTS, TAPS = (6, 4, 3), (4, 2, 2), (6, 4, 2), (3, 3, 3)
ONE, TWO, FOUR, FIVE, EIGHT = (np.float32(n) for n in (1, 2, 4, 5, 8))
HALF, QUARTER, SIXTH, TWELFTH, TWENTYFOURTH = (
    np.float32(1 / n) for n in (2, 4, 6, 12, 24)
)


@inlined
def inputs(points, a, i, step, b, j, jump):  # type: ignore[no-untyped-def]
    """B^T, inputs -> values at the points.

    3:  1  1    4:  1  0 -1  0    6:  4  0 -5  0  1  0
        0  1        0  1  1  0        0 -4 -4  1  1  0
        1  0        0 -1  1  0        0  4 -4 -1  1  0
                    0  1  0 -1        0 -2 -1  2  1  0
                                      0  2 -1 -2  1  0
                                      0  4  0 -5  0  1
    """
    d0, d1 = load(a, i), load(a, i + step)
    if points == 3:
        store(b, j, d0 + d1)
        store(b, j + jump, d1)
        store(b, j + 2 * jump, d0)
        return
    d2, d3 = load(a, i + 2 * step), load(a, i + 3 * step)
    if points == 4:
        store(b, j, d0 - d2)
        store(b, j + jump, d1 + d2)
        store(b, j + 2 * jump, d2 - d1)
        store(b, j + 3 * jump, d1 - d3)
    else:
        d4, d5 = load(a, i + 4 * step), load(a, i + 5 * step)
        store(b, j, FOUR * d0 - FIVE * d2 + d4)
        even, odd = d4 - FOUR * d2, d3 - FOUR * d1
        store(b, j + jump, even + odd)
        store(b, j + 2 * jump, even - odd)
        even, odd = d4 - d2, TWO * (d3 - d1)
        store(b, j + 3 * jump, even + odd)
        store(b, j + 4 * jump, even - odd)
        store(b, j + 5 * jump, FOUR * d1 - FIVE * d3 + d5)


@inlined
def outputs(points, a, i, step, b, j, jump):  # type: ignore[no-untyped-def]
    """A^T, products at the points -> outputs.

    3:  1  1  0    4:  1  1  1  0    6:  1  1  1  1  1  0
        1  0  1        0  1 -1 -1        0  1 -1  2 -2  0
                                         0  1  1  4  4  0
                                         0  1 -1  8 -8  1
    """
    p0, p1, p2 = load(a, i), load(a, i + step), load(a, i + 2 * step)
    if points == 3:
        store(b, j, p0 + p1)
        store(b, j + jump, p0 + p2)
        return
    p3 = load(a, i + 3 * step)
    near, across = p1 + p2, p1 - p2
    if points == 4:
        store(b, j, p0 + near)
        store(b, j + jump, across - p3)
    else:
        p4, p5 = load(a, i + 4 * step), load(a, i + 5 * step)
        far, over = p3 + p4, p3 - p4
        store(b, j, p0 + near + far)
        store(b, j + jump, across + TWO * over)
        store(b, j + 2 * jump, near + FOUR * far)
        store(b, j + 3 * jump, across + EIGHT * over + p5)


@inlined
def outputs_transposed(points, a, i, step, b, j, jump):  # type: ignore[no-untyped-def]
    """A, the transpose of ``outputs``: gradients of outputs -> values at the points."""
    y0, y1 = load(a, i), load(a, i + step)
    if points == 3:
        store(b, j, y0 + y1)
        store(b, j + jump, y0)
        store(b, j + 2 * jump, y1)
    elif points == 4:
        store(b, j, y0)
        store(b, j + jump, y0 + y1)
        store(b, j + 2 * jump, y0 - y1)
        store(b, j + 3 * jump, -ONE * y1)
    else:
        y2, y3 = load(a, i + 2 * step), load(a, i + 3 * step)
        store(b, j, y0)
        even, odd = y0 + y2, y1 + y3
        store(b, j + jump, even + odd)
        store(b, j + 2 * jump, even - odd)
        even, odd = y0 + FOUR * y2, TWO * y1 + EIGHT * y3
        store(b, j + 3 * jump, even + odd)
        store(b, j + 4 * jump, even - odd)
        store(b, j + 5 * jump, y3)


@inlined
def filters(points, a, i, step, b, j, jump):  # type: ignore[no-untyped-def]
    """G, 3 weights -> values at the points.

    3:  0  1  0    4:   1    0    0    6:  1/4    0     0
        0 -1  1        1/2  1/2  1/2      -1/6  -1/6  -1/6
        1 -1  0        1/2 -1/2  1/2      -1/6   1/6  -1/6
                        0    0    1       1/24  1/12   1/6
                                          1/24 -1/12   1/6
                                            0     0     1
    """
    w0, w1, w2 = load(a, i), load(a, i + step), load(a, i + 2 * step)
    if points == 3:
        store(b, j, w1)
        store(b, j + jump, w2 - w1)
        store(b, j + 2 * jump, w0 - w1)
    elif points == 4:
        even, odd = HALF * (w0 + w2), HALF * w1
        store(b, j, w0)
        store(b, j + jump, even + odd)
        store(b, j + 2 * jump, even - odd)
        store(b, j + 3 * jump, w2)
    else:
        store(b, j, QUARTER * w0)
        even, odd = -SIXTH * (w0 + w2), SIXTH * w1
        store(b, j + jump, even - odd)
        store(b, j + 2 * jump, even + odd)
        even, odd = TWENTYFOURTH * w0 + SIXTH * w2, TWELFTH * w1
        store(b, j + 3 * jump, even + odd)
        store(b, j + 4 * jump, even - odd)
        store(b, j + 5 * jump, w2)


@inlined
def filters_transposed(points, a, i, step, b, j, jump):  # type: ignore[no-untyped-def]
    """G^T, the transpose of ``filters``: sums at the points -> 3 weights' gradients."""
    p0, p1, p2 = load(a, i), load(a, i + step), load(a, i + 2 * step)
    if points == 3:
        store(b, j, p2)
        store(b, j + jump, p0 - p1 - p2)
        store(b, j + 2 * jump, p1)
        return
    p3 = load(a, i + 3 * step)
    near, across = p1 + p2, p1 - p2
    if points == 4:
        store(b, j, p0 + HALF * near)
        store(b, j + jump, HALF * across)
        store(b, j + 2 * jump, HALF * near + p3)
    else:
        p4, p5 = load(a, i + 4 * step), load(a, i + 5 * step)
        far, over = p3 + p4, p3 - p4
        store(b, j, QUARTER * p0 - SIXTH * near + TWENTYFOURTH * far)
        store(b, j + jump, TWELFTH * over - SIXTH * across)
        store(b, j + 2 * jump, SIXTH * (far - near) + p5)
