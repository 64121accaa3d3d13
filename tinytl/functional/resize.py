"""Resizing as what it is: a linear map along one axis after another.

Output o along an axis is a weighted sum of a few inputs, its *taps*:

    y[o] = sum over k of weight[o, k] * x[index[o, k]]

Nearest neighbour has one tap, linear two, cubic four, an average over cells as many as
the cell has pixels. The gradient is the transposed map, which is again a list of taps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from tinytl_kernels import Array, kernels_for

from ..operators import Operand
from ..tensor import Tensor, record
from .promote import floating, number
from .shape import integers

LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}
KEPT = 64  # maps of each kind that are not made anew
MODES = ("nearest", "nearest-exact", *LINEAR, "area")


@dataclass(frozen=True, eq=False)
class Taps:
    """A linear map along an axis of `size`: index and weight, both (outputs, taps)."""

    index: Array
    weight: Array
    size: int

    @cached_property
    def transposed(self) -> "Taps":
        """The map backwards: for every input, the outputs that used it."""
        outputs, taps = self.index.shape
        used = self.weight.ravel() != 0
        inputs = self.index.ravel()[used]
        order = np.argsort(inputs, kind="stable")
        count = np.bincount(inputs, minlength=self.size)
        rank = np.arange(len(order)) - (np.cumsum(count) - count)[inputs[order]]
        index = np.zeros((self.size, max(int(count.max(initial=0)), 1)), np.int64)
        weight = np.zeros(index.shape)
        index[inputs[order], rank] = np.repeat(np.arange(outputs), taps)[used][order]
        weight[inputs[order], rank] = self.weight.ravel()[used][order]
        return Taps(index, weight, outputs)


def resample(x: Tensor, taps: Taps, axis: int) -> Tensor:
    """x mapped by `taps` along `axis`.   Backward. The transposed taps."""
    value = kernels_for(x.data).resample(x.data, taps.index, taps.weight, axis)
    return record(value, (x, lambda g: resample(g, taps.transposed, axis)))


def resample_image(x: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Both sides of images in one pass.   Backward. Both lists of taps transposed."""
    taps = (rows.index, rows.weight), (columns.index, columns.weight)
    value = kernels_for(x.data).resample_image(x.data, *taps)

    def pullback(g: Tensor) -> Tensor:
        return resample_image(g, rows.transposed, columns.transposed)

    return record(value, (x, pullback))


def interpolate(
    input: Operand,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The images in another size.

    Args:
        input: (N, C, ...) with 1 to 3 spatial dimensions.
        size: the new spatial size; or
        scale_factor: its ratio to the old one; the size is rounded down.
        mode: "nearest" (torch's: the pixel at floor(o * n / m)), "nearest-exact" (the
            one under the output's centre), "linear", "bilinear", "trilinear",
            "bicubic", "area" (the mean over the output's cell).
        align_corners: the outer pixels' centres coincide (True), or the images' edges
            do (False, the default): x = max((o + 1/2) * n / m - 1/2, 0) for bilinear.
        recompute_scale_factor: compute n / m from the sizes also if a factor was given.
        antialias: when shrinking with bilinear or bicubic, widen the filter by n / m,
            so that every input pixel counts.

    Backward. The transposed map. Linear: its second derivative is 0.

    Raises:
        ValueError: an unknown mode, one that does not fit the dimensions, neither or
            both of size and scale_factor, an empty result.
    """
    x = floating("interpolate", "input", input)
    spatial = x.ndim - 2
    _check_mode(x, mode, align_corners, antialias)
    sizes, ratios = _sizes(x, size, scale_factor, recompute_scale_factor)
    maps: list[tuple[Taps, int]] = []
    for k, (m, ratio) in enumerate(zip(sizes, ratios, strict=True)):
        n = x.shape[k + 2]
        if mode == "nearest" and spatial == 2 and m in (n, 2 * n):
            ratio = None  # as torch: a factor that gives these sizes counts as 1 or 2
        if m == n and (antialias or mode in ("linear", "bilinear", "trilinear")):
            continue  # as torch: a factor that does not change the size is dropped
        if mode == "area":
            taps = cell_taps(n, m)
        elif mode.startswith("nearest"):
            taps = _nearest_taps(n, m, ratio, 0.5 if mode == "nearest-exact" else 0.0)
        elif antialias:
            taps = _antialias_taps(n, m, ratio, mode == "bicubic", bool(align_corners))
        else:
            taps = _smooth_taps(n, m, ratio, mode == "bicubic", bool(align_corners))
        maps.append((taps, k + 2))
    if x.ndim == 4 and len(maps) == 2:
        return resample_image(x, maps[0][0], maps[1][0])
    for taps, axis in maps:
        x = resample(x, taps, axis)
    return x


def _check_mode(
    x: Tensor, mode: str, align_corners: bool | None, antialias: bool
) -> None:
    spatial = x.ndim - 2
    if mode not in MODES:
        raise ValueError(f"interpolate: mode must be one of {MODES}, got {mode!r}")
    if not 1 <= spatial <= 3 or LINEAR.get(mode, spatial) != spatial:
        raise ValueError(f"interpolate: mode {mode!r} does not fit shape {x.shape}")
    if 0 in x.shape[1:]:
        raise ValueError(f"interpolate: nothing to resize in shape {x.shape}")
    if align_corners is not None and mode not in LINEAR:
        raise ValueError(f"interpolate: align_corners has no meaning for mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError("interpolate: antialias is for bilinear and bicubic alone")


def _sizes(
    x: Tensor,
    size: int | Sequence[int] | None,
    scale: float | Sequence[float] | None,
    recompute: bool | None,
) -> tuple[list[int], list[float | None]]:
    """New sizes, and for each the ratio n / m that a scale factor fixes, or None."""
    spatial = x.ndim - 2
    if (size is None) == (scale is None):
        raise ValueError("interpolate: give either size or scale_factor")
    given = size if size is not None else scale
    many = list(given) if isinstance(given, Sequence) else [given] * spatial
    if len(many) != spatial:
        raise ValueError(
            f"interpolate: {given} must be one number, or one for each of the "
            f"{spatial} spatial dimensions of shape {x.shape}"
        )
    for value in many:
        number("interpolate", "size" if scale is None else "scale_factor", value)
    ratios: list[float | None] = [None] * spatial
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor needs scale_factor")
        sizes = list(integers("interpolate", "size", many))
    else:
        factors = [float(f) for f in many]  # type: ignore[arg-type]
        sizes = [math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True)]
        if not recompute and min(factors) > 0:
            ratios = [1 / f for f in factors]
    if min(sizes) < 1:
        raise ValueError(f"interpolate: {given} gives an empty image from {x.shape}")
    return sizes, ratios


@lru_cache(KEPT)
def _nearest_taps(n: int, m: int, ratio: float | None, shift: float) -> Taps:
    """The pixel at floor((o + shift) * n / m), in whole numbers without a factor.

    With a factor torch multiplies in float32, which can differ at exact hits.
    """
    outputs = np.arange(m)
    if ratio is None:
        pixel = (2 * outputs + int(2 * shift)) * n // (2 * m)
    else:
        pixel = np.floor((outputs + shift) * ratio).astype(np.int64)
    return Taps(pixel.clip(0, n - 1)[:, None], np.ones((m, 1)), n)


@lru_cache(KEPT)
def _smooth_taps(n: int, m: int, ratio: float | None, cubic: bool, align: bool) -> Taps:
    """Linear: weights 1 - t and t on the two neighbours; cubic: on four."""
    if align:
        place = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        place = (np.arange(m) + 0.5) * (n / m if ratio is None else ratio) - 0.5
    if not cubic:
        place = place.clip(0, n - 1)
    first = np.floor(place).astype(np.int64)
    offsets = np.arange(-1, 3) if cubic else np.arange(2)
    index = first[:, None] + offsets
    away = np.abs(place[:, None] - index)
    weight = _cubic(away, -0.75) if cubic else _hat(away)
    return Taps(index.clip(0, n - 1), weight, n)


@lru_cache(KEPT)
def _antialias_taps(
    n: int, m: int, ratio: float | None, cubic: bool, align: bool
) -> Taps:
    """The same filters stretched over n / m pixels, weights brought to sum 1."""
    if align:
        scale = (n - 1) / (m - 1) if m > 1 else 0.0
    else:
        scale = n / m if ratio is None else ratio
    stretch = max(scale, 1.0)
    support = (2 if cubic else 1) * stretch
    centre = (np.arange(m) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), n)
    index = first[:, None] + np.arange(max(int((last - first).max()), 1))
    filter: Callable[[Array], Array] = _cubic_half if cubic else _hat
    weight = filter(np.abs(index - centre[:, None] + 0.5) / stretch)
    weight = np.where(index < last[:, None], weight, 0.0)
    return Taps(index.clip(0, n - 1), weight / weight.sum(axis=1, keepdims=True), n)


def _hat(away: Array) -> Array:
    return np.maximum(1 - away, 0)


def _cubic_half(away: Array) -> Array:
    return _cubic(away, -0.5)


def _cubic(away: Array, a: float) -> Array:
    """Keys' convolution kernel with slope a at 1 (Keys 1981, eq. 8 generalised)."""
    near = ((a + 2) * away - (a + 3)) * away * away + 1
    far = ((away - 5) * away + 8) * away * a - 4 * a
    return np.where(away <= 1, near, np.where(away < 2, far, 0.0))


@lru_cache(KEPT)
def cell_taps(n: int, m: int) -> Taps:
    """Mean over cell o: the pixels floor(o n / m) .. ceil((o + 1) n / m) - 1."""
    cells = np.arange(m)
    first, end = cells * n // m, -((cells + 1) * n // -m)
    count = (end - first)[:, None]
    offsets = np.arange(int(count.max(initial=1)))
    inside = offsets < count
    index = np.where(inside, first[:, None] + offsets, first[:, None])
    return Taps(index, inside / np.maximum(count, 1), n)
