"""Output sizes of everything that slides a window, and the errors if none fits."""

import functools
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Pair: TypeAlias = tuple[int, int]
IntOrPair: TypeAlias = int | Sequence[int]


class Window(NamedTuple):
    """How a U x V window slides over an H x W image to give I x J outputs.

    Output (i, j) sees the inputs at rows ``i * s - p + u * d`` for u in 0..U-1, and
    likewise for columns; rows outside 0..H-1 are padding.
    """

    size: Pair  # H, W
    kernel: Pair  # U, V
    stride: Pair
    padding: Pair
    dilation: Pair
    out: Pair  # I, J

    @property
    def reach(self) -> Pair:
        """Rows and columns from a window's first input to its last, both included."""
        (u, v), (d, e) = self.kernel, self.dilation
        return d * (u - 1) + 1, e * (v - 1) + 1

    @property
    def extent(self) -> Pair:
        """Rows and columns of the padded image that all windows together need."""
        rows, columns = (
            max(
                n + 2 * p if i else 0,
                (i - 1) * s + d * (k - 1) + 1 if i else 0,
            )
            for n, k, s, p, d, i in zip(
                self.size,
                self.kernel,
                self.stride,
                self.padding,
                self.dilation,
                self.out,
                strict=True,
            )
        )
        return rows, columns

    def turned(self) -> "Window":
        """The window that slides back over the outputs: for gradients, at stride 1.

        gx is a convolution of gy with the kernel turned by 180 degrees. Its padding is
        negative where the forward one was larger than the kernel's reach.
        """
        (u, v), (top, left) = self.reach, self.padding
        padding = (u - 1 - top, v - 1 - left)
        one = (1, 1)
        return Window(self.out, self.kernel, one, padding, self.dilation, self.size)

    def rows(self, u: int) -> slice:
        """Rows of the padded image that the windows' row u falls on."""
        return _steps(u * self.dilation[0], self.stride[0], self.out[0])

    def columns(self, v: int) -> slice:
        """Columns of the padded image that the windows' column v falls on."""
        return _steps(v * self.dilation[1], self.stride[1], self.out[1])


def _steps(start: int, step: int, count: int) -> slice:
    return slice(start, start + step * (count - 1) + 1, step)


def pair(operation: str, name: str, value: IntOrPair, least: int) -> Pair:
    """`value` as (rows, columns), each an integer of at least `least`.

    Raises:
        TypeError: not an integer, nor one or two of them.
        ValueError: too small.
    """
    if type(value) is int and value >= least:  # as nearly always
        return value, value
    if type(value) is tuple and len(value) == 2:
        rows, columns = value
        if type(rows) is type(columns) is int and rows >= least <= columns:
            return value  # or this: no more to look at
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(both) == 1:
        both *= 2
    integers = all(hasattr(n, "__index__") and not isinstance(n, bool) for n in both)
    if len(both) != 2 or not integers:
        raise TypeError(
            f"{operation}: {name} must be an integer or a pair of them, got {value!r}"
        )
    rows, columns = (n.__index__() for n in both)
    if min(rows, columns) < least:
        raise ValueError(f"{operation}: {name} must be at least {least}, got {value!r}")
    return rows, columns


def window(
    operation: str,
    size: Sequence[int],
    kernel: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Window:
    """The Window for these arguments: I = floor((H + 2p - d(U - 1) - 1) / s) + 1.

    With `ceil_mode` the division rounds up, and a last window that would begin in the
    padding on the right is left out, as in torch.

    Raises:
        TypeError: an argument is no integer or pair.
        ValueError: the window is larger than the padded image, or an argument
            is too small.
    """
    u, s = (
        pair(operation, "kernel_size", kernel, 1),
        pair(operation, "stride", stride, 1),
    )
    p, d = (
        pair(operation, "padding", padding, 0),
        pair(operation, "dilation", dilation, 1),
    )
    return _window(operation, (size[0], size[1]), u, s, p, d, bool(ceil_mode))


@functools.lru_cache(maxsize=1024)
def _window(
    operation: str, size: Pair, u: Pair, s: Pair, p: Pair, d: Pair, ceil_mode: bool
) -> Window:
    """``window`` of checked pairs: a network asks for the same few again and again."""
    out = []
    for n, k, step, pad, gap in zip(size, u, s, p, d, strict=True):
        room = n + 2 * pad - gap * (k - 1) - 1
        count = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (count - 1) * step >= n + pad:
            count -= 1
        if count < 1:
            raise ValueError(
                f"{operation}: the kernel does not fit: kernel {u} with dilation {d} "
                f"spans more than the input of size {size} with padding {p}; "
                "use a smaller kernel or more padding"
            )
        out.append(count)
    return Window(size, u, s, p, d, (out[0], out[1]))
