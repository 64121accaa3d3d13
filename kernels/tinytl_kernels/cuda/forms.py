"""Convolution: which of three forms computes it.

    narrow    groups with few filters or channels: a thread per output
    product   a tiled product of matrices of which the columns never reach memory
    columns   the columns in memory, and cuBLAS

Columns are written and read, 8 bytes each in float32, and save the product's distance
from the device's peak. With F filters a column costs 2 F operations. Take 40 % of the
peak for the product and 85 % for cuBLAS, on a device that does 13 operations in the
time of a byte (an A100): 2 F (1/0.40 - 1/0.85) / 13 > 8 from F = 40 on. The two
percentages are estimates; the rule is to be measured where there is a device.
"""

from types import ModuleType

from .. import namespace
from ..shapes import Window
from . import columns, narrow, product
from .launch import Array
from .norm import add_per_channel

NARROW = 3  # filters or channels a group, up to which a matrix would be mostly empty
WIDE = 40  # filters a group (channels for conv_dx) from which the columns pay


def conv(
    x: Array, w: Array, window: Window, groups: int, b: Array | None = None
) -> Array:
    """y = conv(x, w) + b; see plain.conv."""
    if b is not None:
        return add_per_channel(conv(x, w, window, groups), b)
    xp = namespace(x)
    x, w = xp.ascontiguousarray(x), xp.ascontiguousarray(w)
    form = _form(len(w) // groups, w.shape[1], groups)
    if form is columns:
        return columns.conv(x, w, window, groups)
    y = xp.empty((len(x), len(w), *window.out), x.dtype)
    if y.size:
        form.conv(x, w, y, window, groups)
    return y


def conv_dx(gy: Array, w: Array, window: Window, groups: int) -> Array:
    """gx, what each input value contributes; see plain.conv_dx."""
    xp = namespace(gy)
    gy, w = xp.ascontiguousarray(gy), xp.ascontiguousarray(w)
    form = _form(w.shape[1], len(w) // groups, groups)
    if form is columns:
        return columns.conv_dx(gy, w, window, groups)
    gx = xp.empty((len(gy), w.shape[1] * groups, *window.size), gy.dtype)
    if gx.size:
        form.conv_dx(gy, w, gx, window, groups)
    return gx


def conv_dw(x: Array, gy: Array, window: Window, groups: int) -> Array:
    """gw, what each weight contributes; see plain.conv_dw."""
    xp = namespace(x)
    x, gy = xp.ascontiguousarray(x), xp.ascontiguousarray(gy)
    rows, width = gy.shape[1] // groups, x.shape[1] // groups
    if not gy.size:
        return xp.zeros((gy.shape[1], width, *window.kernel), x.dtype)
    return _form(rows, width, groups).conv_dw(x, gy, window, groups)


def _form(rows: int, width: int, groups: int) -> ModuleType:
    """The form for this many rows of the result, and channels to add up, a group."""
    if groups > 1 and min(rows, width) <= NARROW:
        return narrow
    return columns if rows >= WIDE else product
