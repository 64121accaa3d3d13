"""Depthwise convolution: filters that slide as a whole, and tap by tap."""

import itertools

import numpy as np
import pytest

pytest.importorskip("numba")

from tinytl_kernels import kernels_for, plain, use_kernels
from tinytl_kernels.cpu import depthwise
from tinytl_kernels.cpu.slide import FORMS
from tinytl_kernels.shapes import window

# kernel, stride, padding, dilation, image
CASES = {
    "3 x 3": ((3, 3), 1, 1, 1, (6, 7)),
    "3 x 3, stride 2": ((3, 3), 2, 1, 1, (6, 7)),
    "5 x 5": ((5, 5), 1, 2, 1, (7, 6)),
    "5 x 5, stride 2": ((5, 5), 2, 2, 1, (8, 9)),
    "5 x 5, larger than the image": ((5, 5), 2, 2, 1, (2, 3)),
    "no padding": ((3, 3), 1, 0, 1, (5, 4)),
    "pixels that no window sees": ((3, 3), 2, 0, 1, (6, 6)),
    "padding beyond the kernel": ((3, 3), 1, 4, 1, (3, 2)),
    "rows that see nothing": ((3, 3), 1, (30, 1), 1, (3, 2)),
    "tap by tap: rows that see nothing": ((2, 4), (1, 2), (9, 2), (2, 1), (3, 6)),
    "one pixel": ((1, 1), 1, 0, 1, (3, 4)),
    "tap by tap: a column": ((3, 1), 1, (1, 0), 1, (5, 4)),
    "fewer rows than columns": ((2, 5), (3, 1), (1, 2), 1, (7, 6)),
    "gaps between rows": ((3, 3), (2, 1), (2, 1), (2, 1), (9, 5)),
    "tap by tap: gaps": ((3, 3), 2, 2, 2, (7, 8)),
    "tap by tap: stride 3": ((3, 3), 3, 1, 1, (7, 8)),
    "tap by tap: more rows than columns": ((5, 3), 1, 1, 1, (6, 5)),
    "tap by tap: even": ((2, 4), (1, 2), 2, 1, (5, 6)),
}


def problem(case, channels, dtype):
    kernel, stride, padding, dilation, size = CASES[case]
    view = window("conv2d", size, kernel, stride, padding, dilation)
    rng = np.random.default_rng(0)
    shapes = (2, channels, *size), (channels, 1, *kernel), (2, channels, *view.out)
    return *(rng.standard_normal(shape).astype(dtype) for shape in shapes), view


def three(kernels, x, w, gy, view):
    groups = len(w)
    return (
        kernels.conv(x, w, view, groups),
        kernels.conv_dx(gy, w, view, groups),
        kernels.conv_dw(x, gy, view, groups),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [2, 16, 19])
@pytest.mark.parametrize("case", CASES)
def test_every_filter_equals_the_plain_set(case, channels, dtype, monkeypatch):
    """With three threads, so that slices begin within an image."""
    monkeypatch.setattr("tinytl_kernels.threads._chosen", 3)
    monkeypatch.setattr("tinytl_kernels.threads.SMALL", 0)
    x, w, gy, view = problem(case, channels, dtype)
    wanted = three(plain, *(a.astype(float) for a in (x, w, gy)), view)
    with use_kernels("cpu"):
        got = three(kernels_for(x), x, w, gy, view)
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=1e-12 if dtype == "float64" else 2e-5
        )


def test_the_cases_take_every_form():
    """Each number of taps and stride that is compiled, and the way without one."""
    forms = {
        (view.kernel[1], view.stride[1]) if depthwise._rule(view)[1] else None
        for view in (problem(case, 1, "f4")[3] for case in CASES)
    }
    assert forms == {*FORMS, None}


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_stays_with_the_windows_that_see_it(value):
    x, w, _, view = problem("3 x 3", 16, "float32")
    x[0, 3, 2, 2] = value
    with use_kernels("cpu"):
        y = kernels_for(x).conv(x, w, view, 16)
    seen = itertools.product([0], [3], [1, 2, 3], [1, 2, 3])
    assert {tuple(map(int, k)) for k in np.argwhere(~np.isfinite(y))} == set(seen)
