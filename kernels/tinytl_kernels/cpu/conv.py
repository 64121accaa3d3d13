"""Which form of convolution serves which shape: the first one here that fits.

    depthwise   as many groups as channels and filters
    grouped     other groups, where Winograd's form serves them, or a few together
    columns     few outputs in all images: the weights stay where they lie
    winograd    windows of 3 x 3 or 5 x 5 side by side (stride 1), or every second one
                of 3 x 3; float32, channels and filters that fill a vector, where it
                takes fewer products
    narrow      few filters and long rows (stride 1): a register holds pixels; towards
                x, few channels
    direct      everything else; groups one by one

The order is measured, not derived: see docs/kernels.md.
"""

import functools
import math
from types import ModuleType

import numpy as np

from ..shapes import Window
from . import columns, depthwise, direct, grouped, narrow, winograd
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
    forms: tuple[ModuleType, ...],
    a: Array,
    b: Array,
    window: Window,
    groups: int,
    bias: Array | None = None,
) -> Array:
    """The kernel of this name from the first form that fits.

    The `bias` of a conv is added where its sums are made; in a pass of its own where
    channels are few and groups many.
    """
    form = _form(kernel, forms, a.dtype, a.shape, b.shape, window, groups)
    given = () if bias is None else (bias,)
    if groups == 1:
        return getattr(form, kernel)(a, b, window, *given)
    if form is grouped:
        return getattr(form, kernel)(a, b, window, groups, *given)
    if form is depthwise:
        y = getattr(form, kernel)(a, b, window)
    else:
        parts = zip(
            np.split(a, groups, axis=1),
            np.split(b, groups, axis=1 if kernel == "conv_dw" else 0),
            strict=True,
        )
        outputs = [convolve(kernel, forms, *pair, window, 1) for pair in parts]
        y = np.concatenate(outputs, axis=0 if kernel == "conv_dw" else 1)
    return y if bias is None else add_per_channel(y, bias)


@functools.lru_cache(1024)
def _form(
    kernel: str,
    forms: tuple[ModuleType, ...],
    dtype: np.dtype,
    a: tuple[int, ...],
    b: tuple[int, ...],
    window: Window,
    groups: int,
) -> ModuleType:
    """The form for arrays of these shapes, found once: a network has few."""
    forms = forms if a[0] else (direct,)  # which has no plan for no images
    filters = b[1] if kernel == "conv_dw" else b[0]
    channels = b[1] * groups if kernel == "conv_dx" else a[1]
    if groups == channels == filters > 1:
        return depthwise
    sizes = channels // groups, filters // groups
    if kernel == "conv_dx" and window.stride == (1, 1):  # a convolution back
        sizes, window = sizes[::-1], window.turned()
    if groups > 1:
        joined = winograd in forms and grouped.fits(dtype, groups, *sizes, window)
        return grouped if joined else direct
    form = next(form for form in forms if form.fits(dtype, *sizes, window))
    most = columns.FEW if form is winograd else columns.MORE
    count = a[0] * math.prod(window.out)
    return columns if columns.fits(dtype, *sizes, window, count, most) else form
