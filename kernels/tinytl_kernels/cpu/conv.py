"""Which form of convolution serves which shape: the first one here that fits.

    depthwise   as many groups as channels and filters
    winograd    3 x 3 windows side by side (stride 1), float32, channels and filters in
                whole vectors
    narrow      few filters and long rows (stride 1): a register holds pixels; towards
                x, few channels
    direct      everything else

The order is measured, not derived: see docs/kernels.md.
"""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from ..shapes import Window
from . import depthwise, direct, narrow, winograd
from .norm import add_per_channel

Array = np.ndarray


def conv(
    x: Array, w: Array, window: Window, groups: int, b: Array | None = None
) -> Array:
    """Convolution; see plain.conv.

    Shapes. x (N,C,H,W), w (F,C/G,U,V), b (F,) -> (N,F,I,J), channels-last in memory.
    """
    return convolve("conv", (winograd, narrow, direct), x, w, window, groups, b)


def conv_dx(gy: Array, w: Array, window: Window, groups: int) -> Array:
    """Gradient towards x; see plain.conv_dx.

    Shapes. gy (N,F,I,J), w (F,C/G,U,V) -> (N,C,H,W), channels-last in memory.
    """
    return convolve("conv_dx", (winograd, narrow, direct), gy, w, window, groups)


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """Gradient towards w; see plain.conv_dw.

    Shapes. x (N,C,H,W), gy (N,F,I,J) -> (F,C/G,U,V).
    """
    return convolve("conv_dw", (winograd, narrow, direct), x, gy, window, groups)


def convolve(
    kernel: str,
    forms: Sequence[ModuleType],
    a: Array,
    b: Array,
    window: Window,
    groups: int,
    bias: Array | None = None,
) -> Array:
    """The kernel of this name from the first form that fits, group by group.

    The `bias` of a conv is added where its sums are made; in a pass of its own where
    there are groups.
    """
    if bias is not None and groups > 1:
        return add_per_channel(convolve(kernel, forms, a, b, window, groups), bias)
    filters = b.shape[1] if kernel == "conv_dw" else len(b)
    channels = b.shape[1] * groups if kernel == "conv_dx" else a.shape[1]
    if groups == channels == filters > 1:
        return getattr(depthwise, kernel)(a, b, window)
    sizes, slid = (channels // groups, filters // groups), window
    if kernel == "conv_dx" and window.stride == (1, 1):  # a convolution back
        sizes, slid = sizes[::-1], window.turned()
    form = next(form for form in forms if form.fits(a.dtype, *sizes, slid))
    function = getattr(form, kernel)
    if groups == 1:
        return function(a, b, window, *(() if bias is None else (bias,)))
    parts = zip(
        np.split(a, groups, axis=1),
        np.split(b, groups, axis=1 if kernel == "conv_dw" else 0),
        strict=True,
    )
    outputs = [function(one, other, window) for one, other in parts]
    return np.concatenate(outputs, axis=0 if kernel == "conv_dw" else 1)
