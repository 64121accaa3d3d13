"""Borders: zeros (or any constant), reflected, replicated or circular."""

from collections.abc import Sequence

import numpy as np
from tinytl_kernels import namespace

from ..operators import Operand
from ..tensor import Tensor, record
from .promote import number, tensor
from .resize import Taps, resample
from .shape import integers

MODES = ("constant", "reflect", "replicate", "circular")


def pad(
    input: Operand,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    """Values around the input; negative numbers cut off instead.

    Args:
        input: any shape.
        pad: (left, right) of the last dimension, then of the one before, and so on.
        mode: "constant"; "reflect" (without repeating the edge), "replicate" (the
            edge), "circular" (the other side), the last three of 1 to 3 spatial
            dimensions.
        value: the constant, 0 unless given.

    Backward of the constant mode: cut off what was put on, which is padding by -pad.
    The other modes copy pixels; the copies' gradients go back to the pixel.

    Raises:
        ValueError: unknown mode, an odd count of numbers, more than the input's
            dimensions, or a border that needs more pixels than there are.
    """
    x = tensor("pad", "input", input)
    numbers = integers("pad", "pad", pad)
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {MODES}, got {mode!r}")
    if len(numbers) % 2 or len(numbers) > 2 * x.ndim:
        raise ValueError(
            f"pad: needs two numbers for each of at most {x.ndim} dimensions, got {pad}"
        )
    widths = [(0, 0)] * x.ndim
    for k in range(len(numbers) // 2):
        widths[x.ndim - 1 - k] = (numbers[2 * k], numbers[2 * k + 1])
    if any(
        n < sum(-min(m, 0) for m in ends)
        for n, ends in zip(x.shape, widths, strict=True)
    ):
        raise ValueError(f"pad: {pad} cuts off more than there is in shape {x.shape}")
    if mode == "constant":
        return _pad(x, widths, 0.0 if value is None else number("pad", "value", value))
    if value is not None and value != 0:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    _check_border(x, numbers, mode)
    for k, around in enumerate(widths):
        if around != (0, 0):
            x = resample(x, _border(mode, x.shape[k], around), k)
    return x


def _pad(x: Tensor, widths: list[tuple[int, int]], value: float) -> Tensor:
    xp = namespace(x.data)
    shape = [n + sum(around) for n, around in zip(x.shape, widths, strict=True)]
    y = xp.full_like(x.data, value, shape=shape)  # in the order of x in memory
    into, out_of = [], []
    for n, (before, after) in zip(x.shape, widths, strict=True):
        into.append(
            slice(max(before, 0), max(before, 0) + n + min(before, 0) + min(after, 0))
        )
        out_of.append(slice(max(-before, 0), n - max(-after, 0)))
    y[tuple(into)] = x.data[tuple(out_of)]
    back = [(-before, -after) for before, after in widths]
    return record(y, (x, lambda g: _pad(g, back, 0.0)))


def _check_border(x: Tensor, numbers: tuple[int, ...], mode: str) -> None:
    spatial = len(numbers) // 2
    if not 1 <= spatial <= 3 or x.ndim not in (spatial + 1, spatial + 2):
        raise ValueError(
            f"pad: mode {mode!r} pads the last {spatial} dimension(s) of an input with "
            f"{spatial + 1} or {spatial + 2}, got shape {x.shape}"
        )
    for k in range(spatial):
        n, around = x.shape[x.ndim - 1 - k], numbers[2 * k : 2 * k + 2]
        left = n + sum(min(m, 0) for m in around)  # what negative numbers leave
        most = {"reflect": n - 1, "replicate": max(around), "circular": n}[mode]
        if not n or max(around) > most or (mode == "circular" and left < 1):
            raise ValueError(
                f"pad: mode {mode!r} finds no {max(around)} pixels to copy in a "
                f"dimension of size {n}"
            )


def _border(mode: str, n: int, around: tuple[int, int]) -> Taps:
    """Which pixel each place of the padded axis copies."""
    place = np.arange(-around[0], n + around[1])
    if mode == "replicate":
        pixel = place.clip(0, n - 1)
    elif mode == "circular":  # the ring is what a negative number left over
        first, end = max(-around[0], 0), n - max(-around[1], 0)
        pixel = first + (place - first) % (end - first)
    else:
        pixel = np.abs(place)
        pixel = np.where(pixel > n - 1, 2 * (n - 1) - pixel, pixel)
    return Taps(pixel[:, None], np.ones((len(pixel), 1)), n)
