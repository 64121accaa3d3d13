"""The five small matrices of Winograd's convolution, as the sums that they stand for.

Each function takes a line, a sequence of numbers or of vectors, and returns the
transformed line. Applied to the columns of a tile and then to its rows, they transform
it, which transform.py does. winograd.py says where the matrices come from.

    points   products in a line, which name the form:   6   4   3
    outputs  of a line:                                 4   2   2
    inputs                                              6   4   2, and zeros around them
"""

from collections.abc import Sequence
from typing import Any

Line = Sequence[Any]

FORMS = POINTS = (6, 4, 3)
OUTPUTS, INPUTS, TAPS = (4, 2, 2), (6, 4, 2), (3, 3, 3)  # the length of a line in each


def inputs(points: int, d: Line) -> Line:
    """B^T, inputs -> values at the points.

    3:  1  1    4:  1  0 -1  0    6:  4  0 -5  0  1  0
        0  1        0  1  1  0        0 -4 -4  1  1  0
        1  0        0 -1  1  0        0  4 -4 -1  1  0
                    0  1  0 -1        0 -2 -1  2  1  0
                                      0  2 -1 -2  1  0
                                      0  4  0 -5  0  1
    """
    if points == 3:
        return d[0] + d[1], d[1], d[0]
    if points == 4:
        return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]
    even, odd = d[4] - 4 * d[2], d[3] - 4 * d[1]
    even2, odd2 = d[4] - d[2], 2 * (d[3] - d[1])
    return (
        4 * d[0] - 5 * d[2] + d[4],
        even + odd,
        even - odd,
        even2 + odd2,
        even2 - odd2,
        4 * d[1] - 5 * d[3] + d[5],
    )


def outputs(points: int, p: Line) -> Line:
    """A^T, products at the points -> outputs.

    3:  1  1  0    4:  1  1  1  0    6:  1  1  1  1  1  0
        1  0  1        0  1 -1 -1        0  1 -1  2 -2  0
                                         0  1  1  4  4  0
                                         0  1 -1  8 -8  1
    """
    if points == 3:
        return p[0] + p[1], p[0] + p[2]
    near, across = p[1] + p[2], p[1] - p[2]
    if points == 4:
        return p[0] + near, across - p[3]
    far, over = p[3] + p[4], p[3] - p[4]
    return (
        p[0] + near + far,
        across + 2 * over,
        near + 4 * far,
        across + 8 * over + p[5],
    )


def outputs_transposed(points: int, y: Line) -> Line:
    """A, the transpose of ``outputs``: gradients of outputs -> values at the points."""
    if points == 3:
        return y[0] + y[1], y[0], y[1]
    if points == 4:
        return y[0], y[0] + y[1], y[0] - y[1], -1 * y[1]
    even, odd = y[0] + y[2], y[1] + y[3]
    even2, odd2 = y[0] + 4 * y[2], 2 * y[1] + 8 * y[3]
    return y[0], even + odd, even - odd, even2 + odd2, even2 - odd2, y[3]


def filters(points: int, w: Line) -> Line:
    """G, 3 weights -> values at the points.

    3:  0  1  0    4:   1    0    0    6:  1/4    0     0
        0 -1  1        1/2  1/2  1/2      -1/6  -1/6  -1/6
        1 -1  0        1/2 -1/2  1/2      -1/6   1/6  -1/6
                        0    0    1       1/24  1/12   1/6
                                          1/24 -1/12   1/6
                                            0     0     1
    """
    if points == 3:
        return w[1], w[2] - w[1], w[0] - w[1]
    if points == 4:
        even, odd = 1 / 2 * (w[0] + w[2]), 1 / 2 * w[1]
        return w[0], even + odd, even - odd, w[2]
    even, odd = -1 / 6 * (w[0] + w[2]), 1 / 6 * w[1]
    even2, odd2 = 1 / 24 * w[0] + 1 / 6 * w[2], 1 / 12 * w[1]
    return 1 / 4 * w[0], even - odd, even + odd, even2 + odd2, even2 - odd2, w[2]


def filters_transposed(points: int, p: Line) -> Line:
    """G^T, the transpose of ``filters``: sums at the points -> 3 weights' gradients."""
    if points == 3:
        return p[2], p[0] - p[1] - p[2], p[1]
    near, across = p[1] + p[2], p[1] - p[2]
    if points == 4:
        return p[0] + 1 / 2 * near, 1 / 2 * across, 1 / 2 * near + p[3]
    far, over = p[3] + p[4], p[3] - p[4]
    return (
        1 / 4 * p[0] - 1 / 6 * near + 1 / 24 * far,
        1 / 12 * over - 1 / 6 * across,
        1 / 6 * (far - near) + p[5],
    )
