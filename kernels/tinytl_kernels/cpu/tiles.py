"""The five small matrices of Winograd's convolution, as the sums that they stand for.

Each function takes a line, a sequence of numbers or of vectors, and returns the
transformed line. Applied to the columns of a tile and then to its rows, they transform
it, which transform.py does. winograd.py says where the matrices come from.

A form has so many points at which products are made, outputs, inputs and taps, each in
a line; the form with 3 points has zeros around its inputs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

Line = Sequence[Any]


class Form(NamedTuple):
    """The lengths of a form's lines."""

    points: int
    outputs: int
    inputs: int
    taps: int
    step: int  # inputs from one tile to the next


FORMS = (
    Form(6, 4, 6, 3, 4),
    Form(4, 2, 4, 3, 2),
    Form(3, 2, 2, 3, 2),
    Form(6, 2, 6, 5, 2),
    Form(5, 2, 5, 3, 4),  # stride 2
    Form(5, 4, 3, 3, 2),  # its gradient
)


def inputs(form: Form, d: Line) -> Line:
    """B^T, inputs -> values at the points.

    3:  1  1    4:  1  0 -1  0    6:  4  0 -5  0  1  0
        0  1        0  1  1  0        0 -4 -4  1  1  0
        1  0        0 -1  1  0        0  4 -4 -1  1  0
                    0  1  0 -1        0 -2 -1  2  1  0
                                      0  2 -1 -2  1  0
                                      0  4  0 -5  0  1
    5:  1  0 -1  0  0    its gradient:   0 -1  1
        0  0  1  0  0                    0  1  0
        0  0 -1  0  1                    1 -1  0
        0  1  0  0  0                    1  0  0
        0  0  0  1  0                    0  1  0
    """
    if form.points == 3:
        return d[0] + d[1], d[1], d[0]
    if form.inputs == 5:
        return d[0] - d[2], d[2], d[4] - d[2], d[1], d[3]
    if form.inputs == 3:
        return d[2] - d[1], d[1], d[0] - d[1], d[0], d[1]
    if form.points == 4:
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


def outputs(form: Form, p: Line) -> Line:
    """A^T, products at the points -> outputs.

    3:  1  1  0    4:  1  1  1  0    6:  1  1  1  1  1  0
        1  0  1        0  1 -1 -1        0  1 -1  2 -2  0
                                         0  1  1  4  4  0
                                         0  1 -1  8 -8  1
    6, for 2 outputs:  1  1  1  1  1  0
                       0  1 -1  2 -2  1
    5:  1  1  0  1  0    its gradient:   0  0  0  1  0
        0  1  1  0  1                    0  1  1  0  0
                                         0  0  0  0  1
                                         1  1  0  0  0
    """
    if form.points == 5 and form.outputs == 2:
        return p[0] + p[1] + p[3], p[1] + p[2] + p[4]
    if form.points == 5:
        return p[3], p[1] + p[2], p[4], p[0] + p[1]
    if form.points == 3:
        return p[0] + p[1], p[0] + p[2]
    near, across = p[1] + p[2], p[1] - p[2]
    if form.points == 4:
        return p[0] + near, across - p[3]
    far, over = p[3] + p[4], p[3] - p[4]
    if form.outputs == 2:
        return p[0] + near + far, across + 2 * over + p[5]
    return (
        p[0] + near + far,
        across + 2 * over,
        near + 4 * far,
        across + 8 * over + p[5],
    )


def outputs_transposed(form: Form, y: Line) -> Line:
    """A, the transpose of ``outputs``: gradients of outputs -> values at the points."""
    if form.points == 5 and form.outputs == 2:
        return y[0], y[0] + y[1], y[1], y[0], y[1]
    if form.points == 5:
        return y[3], y[1] + y[3], y[1], y[0], y[2]
    if form.points == 3:
        return y[0] + y[1], y[0], y[1]
    if form.points == 4:
        return y[0], y[0] + y[1], y[0] - y[1], -1 * y[1]
    if form.outputs == 2:
        more = 2 * y[1]
        return y[0], y[0] + y[1], y[0] - y[1], y[0] + more, y[0] - more, y[1]
    even, odd = y[0] + y[2], y[1] + y[3]
    even2, odd2 = y[0] + 4 * y[2], 2 * y[1] + 8 * y[3]
    return y[0], even + odd, even - odd, even2 + odd2, even2 - odd2, y[3]


def filters(form: Form, w: Line) -> Line:
    """G, weights -> values at the points.

    3:  0  1  0    4:   1    0    0    6:  1/4    0     0
        0 -1  1        1/2  1/2  1/2      -1/6  -1/6  -1/6
        1 -1  0        1/2 -1/2  1/2      -1/6   1/6  -1/6
                        0    0    1       1/24  1/12   1/6
                                          1/24 -1/12   1/6
                                            0     0     1
    6, for 5 weights:   1/4    0     0     0     0
                       -1/6  -1/6  -1/6  -1/6  -1/6
                       -1/6   1/6  -1/6   1/6  -1/6
                       1/24  1/12   1/6   1/3   2/3
                       1/24 -1/12   1/6  -1/3   2/3
                         0     0     0     0     1
    5:  1  0  0
        1  0  1
        0  0  1
        0  1  0
        0  1  0
    """
    if form.points == 5:
        return w[0], w[0] + w[2], w[2], w[1], w[1]
    if form.points == 3:
        return w[1], w[2] - w[1], w[0] - w[1]
    if form.points == 4:
        even, odd = 1 / 2 * (w[0] + w[2]), 1 / 2 * w[1]
        return w[0], even + odd, even - odd, w[2]
    even, odd = w[0] + w[2], 1 / 6 * w[1]
    even2, odd2 = 1 / 24 * w[0] + 1 / 6 * w[2], 1 / 12 * w[1]
    if form.taps == 5:
        even, odd = even + w[4], odd + 1 / 6 * w[3]
        even2, odd2 = even2 + 2 / 3 * w[4], odd2 + 1 / 3 * w[3]
    even = -1 / 6 * even
    last = even - odd, even + odd, even2 + odd2, even2 - odd2, w[form.taps - 1]
    return 1 / 4 * w[0], *last


def filters_transposed(form: Form, p: Line) -> Line:
    """G^T, the transpose of ``filters``: sums at the points -> gradients of weights."""
    if form.points == 5:
        return p[0] + p[1], p[3] + p[4], p[1] + p[2]
    if form.points == 3:
        return p[2], p[0] - p[1] - p[2], p[1]
    near, across = p[1] + p[2], p[1] - p[2]
    if form.points == 4:
        return p[0] + 1 / 2 * near, 1 / 2 * across, 1 / 2 * near + p[3]
    far, over = p[3] + p[4], p[3] - p[4]
    even = 1 / 4 * p[0] - 1 / 6 * near + 1 / 24 * far
    odd, even2 = 1 / 12 * over - 1 / 6 * across, 1 / 6 * (far - near)
    if form.taps == 3:
        return even, odd, even2 + p[5]
    odd2 = 1 / 3 * over - 1 / 6 * across
    return even, odd, even2, odd2, 2 / 3 * far - 1 / 6 * near + p[5]
