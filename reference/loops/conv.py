"""Convolution (cross-correlation, as every library of the field calls it)."""

import numpy as np


def conv2d(x, w, b=None, s=(1, 1), p=(0, 0), d=(1, 1), groups=1):
    r"""Weigh what the kernel covers and add up.

    x: (N, C, H, W)    w: (F, C/G, U, V)    b: (F,)    y: (N, F, I, J)

        y[n, f, i, j] = b[f] + sum over c, u, v of
                        w[f, c, u, v] * x[n, c0 + c, i*s - p + u*d, j*s - p + v*d]

    where a pixel outside the image is 0, and c0 is the first channel of the group
    of filter f: the F filters and the C channels are cut into G blocks each, and the
    filters of a block see the channels of that block alone. I counts the positions
    at which the spread-out kernel lies wholly inside the padded image.

    p = "valid" is no padding; p = "same" is d*(U - 1) rows in all, the half of them
    (rounded down) above and the rest below, so that I = H when s = 1.
    """
    N, C, H, W = x.shape
    F, C_per_group, U, V = w.shape
    (top, bottom), (left, right) = _padding(p, (U, V), d)
    I = _positions(-top, H + bottom, s[0], d[0] * (U - 1))  # noqa: E741
    J = _positions(-left, W + right, s[1], d[1] * (V - 1))
    y = np.zeros((N, F, I, J))
    for n in range(N):
        for f in range(F):
            group = f // (F // groups)
            c0 = group * C_per_group
            for i in range(I):
                for j in range(J):
                    total = 0.0 if b is None else float(b[f])
                    for c in range(C_per_group):
                        for u in range(U):
                            for v in range(V):
                                h = i * s[0] - top + u * d[0]
                                k = j * s[1] - left + v * d[1]
                                if 0 <= h < H and 0 <= k < W:
                                    total += w[f, c, u, v] * x[n, c0 + c, h, k]
                    y[n, f, i, j] = total
    return y


def connections(C, F, size, kernel, s=(1, 1), p=(0, 0), d=(1, 1), groups=1):
    r"""Count the wires of a convolution on an image of the given size.

    Returns (M, N), the two numbers that the initialisations of He and Glorot ask
    for: M is the largest number of inputs that feed one output unit, N the largest
    number of outputs that one input unit feeds. Largest, because units at the border
    have fewer wires than units in the middle.
    """
    (H, W), (U, V) = size, kernel
    (top, bottom), (left, right) = _padding(p, kernel, d)
    into_output: dict[tuple, int] = {}
    out_of_input: dict[tuple, int] = {}
    for f in range(F):
        c0 = (f // (F // groups)) * (C // groups)
        for i in range(_positions(-top, H + bottom, s[0], d[0] * (U - 1))):
            for j in range(_positions(-left, W + right, s[1], d[1] * (V - 1))):
                for c in range(C // groups):
                    for u in range(U):
                        for v in range(V):
                            h = i * s[0] - top + u * d[0]
                            k = j * s[1] - left + v * d[1]
                            if 0 <= h < H and 0 <= k < W:
                                a, b = (f, i, j), (c0 + c, h, k)
                                into_output[a] = into_output.get(a, 0) + 1
                                out_of_input[b] = out_of_input.get(b, 0) + 1
    return max(into_output.values()), max(out_of_input.values())


def _padding(p, kernel, d):
    """Rows before and after, columns before and after."""
    if p == "valid":
        return (0, 0), (0, 0)
    if p == "same":
        total = [d[0] * (kernel[0] - 1), d[1] * (kernel[1] - 1)]
        return tuple((t // 2, t - t // 2) for t in total)
    return (p[0], p[0]), (p[1], p[1])


def _positions(first, end, step, reach):
    """How many starts first, first + step, ... keep start + reach below end."""
    count = 0
    while first + count * step + reach < end:
        count += 1
    return count
