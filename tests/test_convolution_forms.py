"""The forms of compiled convolution against the plain one, and Winograd's matrices."""

import os
import sys
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("numba")

from tinytl_kernels import kernels_for, plain, use_kernels
from tinytl_kernels.cpu import direct, tiles, winograd
from tinytl_kernels.cpu.layout import is_channels_last
from tinytl_kernels.shapes import window

# images, channels, filters, (H, W), kernel, stride, padding, dilation, groups
SHAPES = {
    "one channel": (2, 1, 6, (9, 8), (5, 5), 1, 2, 1, 1),
    "odd everything": (2, 3, 5, (7, 6), (3, 2), 1, 1, 1, 1),
    "stride": (2, 5, 7, (9, 10), (3, 3), 2, 1, 1, 1),
    "uneven steps": (3, 17, 18, (11, 10), (3, 2), (2, 1), (2, 0), (1, 2), 1),
    "padding beyond the kernel": (1, 2, 3, (4, 5), (2, 2), 1, 3, 1, 1),
    "one pixel a window": (2, 20, 33, (3, 3), (1, 1), 1, 0, 1, 1),
    "one pixel a window, one panel and a half": (2, 17, 40, (5, 5), (1, 1), 1, 0, 1, 1),
    "one pixel a window, blocks": (2, 17, 40, (31, 32), (1, 1), 1, 0, 1, 1),
    "one pixel a window, few filters": (2, 33, 5, (31, 32), (1, 1), 1, 0, 1, 1),
    "one pixel a window, whole vectors": (3, 32, 40, (9, 11), (1, 1), 1, 0, 1, 1),
    "one pixel a window, steps": (2, 17, 20, (7, 6), (1, 1), 2, 0, 1, 1),
    "one pixel a window, a border": (2, 32, 24, (4, 5), (1, 1), (2, 1), (0, 3), 1, 1),
    "one pixel a window, a gap of none": (1, 16, 20, (5, 4), (1, 1), 3, 1, 2, 1),
    "many filters": (1, 5, 72, (6, 17), (3, 3), 1, 1, 1, 1),
    "less than two registers": (1, 5, 24, (6, 17), (3, 3), 2, 1, 1, 1),
    "one output": (3, 4, 6, (3, 3), (3, 3), 1, 0, 1, 1),
    "groups": (2, 4, 6, (5, 6), (3, 3), 1, 1, 1, 2),
    "depthwise": (2, 5, 5, (6, 7), (3, 3), 1, 1, 1, 5),
    "depthwise with stride": (2, 18, 18, (9, 8), (5, 5), 2, 2, 1, 18),
    "depthwise with gaps": (1, 3, 3, (9, 9), (3, 3), (1, 2), 2, 2, 3),
    "two filters a channel": (2, 4, 8, (5, 5), (3, 3), 1, 1, 1, 4),
    "few filters": (3, 3, 6, (19, 40), (5, 4), 1, 2, 1, 1),
    "few filters, one register": (2, 1, 3, (4, 18), (3, 3), 1, 0, 1, 1),
    "few filters, padding beyond the kernel": (2, 2, 4, (3, 17), (2, 3), 1, 4, 1, 1),
    "few filters, many channels": (2, 9, 8, (6, 33), (3, 5), 1, (0, 2), 1, 1),
    "few filters, padding of a kernel": (1, 2, 3, (3, 17), (2, 5), 1, (9, 5), 1, 1),
    "few filters, much padding": (2, 3, 5, (3, 33), (3, 3), 1, (1, 20), 1, 1),
    "few filters, wide kernel": (1, 2, 3, (2, 16), (1, 33), 1, (0, 32), 1, 1),
    "first layer": (2, 3, 16, (6, 20), (3, 3), 1, 1, 1, 1),
    "first layer, many filters": (2, 3, 40, (5, 33), (3, 3), 1, 1, 1, 1),
    "first layer, odd filters": (1, 3, 17, (4, 17), (3, 3), 1, 0, 1, 1),
    "first layer, gaps": (1, 3, 16, (8, 40), (3, 3), 1, 2, 2, 1),
    "few channels, five taps": (2, 2, 20, (7, 19), (5, 5), 1, 2, 1, 1),
    "few channels, wide padding": (2, 4, 9, (3, 18), (3, 2), 1, 3, 1, 1),
    "rows of seven": (2, 5, 32, (7, 7), (3, 3), 1, 1, 1, 1),
    "rows of ten, two kinds of panels": (1, 3, 40, (19, 20), (3, 3), 2, 1, 1, 1),
    "columns": (1, 24, 40, (4, 4), (3, 3), 1, 1, 1, 1),
    "columns, blocks that overlap": (2, 19, 21, (3, 3), (3, 3), 1, 1, 1, 1),
    "columns, one pixel": (1, 33, 17, (1, 1), (3, 3), 1, 1, 1, 1),
    "columns, sums in parts": (1, 70, 34, (2, 3), (3, 3), 1, 1, 1, 1),
    "columns, steps and gaps": (3, 16, 17, (9, 8), (3, 2), 2, (2, 1), (2, 1), 1),
    "columns, groups": (2, 48, 34, (3, 3), (2, 2), 1, 0, 1, 2),
    "winograd, 4 x 4": (2, 16, 32, (9, 8), (3, 3), 1, 1, 1, 1),
    "winograd, 2 x 2": (3, 16, 16, (2, 6), (3, 3), 1, 1, 1, 1),
    "winograd, whole image": (9, 16, 32, (2, 2), (3, 3), 1, 1, 1, 1),
    "winograd, more tiles than filters": (5, 16, 32, (17, 18), (3, 3), 1, 1, 1, 1),
    "winograd, 2 x 2, more tiles": (9, 16, 16, (2, 6), (3, 3), 1, 1, 1, 1),
    "winograd, more images than filters": (40, 16, 16, (2, 2), (3, 3), 1, 1, 1, 1),
    "winograd, no padding": (1, 32, 16, (7, 10), (3, 3), 1, 0, 1, 1),
    "winograd, wide padding": (3, 16, 48, (5, 3), (3, 3), 1, 2, 1, 1),
    "winograd, vectors that overlap": (3, 24, 40, (9, 6), (3, 3), 1, 1, 1, 1),
    "winograd, deep, vectors that overlap": (4, 19, 18, (3, 3), (3, 3), 1, 1, 1, 1),
    "winograd, five taps": (2, 16, 32, (7, 6), (5, 5), 1, 2, 1, 1),
    "winograd, five taps, deep": (2, 17, 24, (5, 7), (5, 5), 1, (1, 3), 1, 1),
    "winograd, five taps, groups": (3, 16, 32, (5, 5), (5, 5), 1, (4, 1), 1, 4),
    "winograd, stride": (3, 16, 32, (8, 8), (3, 3), 2, 1, 1, 1),
    "winograd, stride, odd": (2, 19, 17, (7, 9), (3, 3), 2, 1, 1, 1),
    "winograd, stride, even outputs of odd": (6, 32, 16, (6, 5), (3, 3), 2, 1, 1, 1),
    "winograd, stride, groups": (2, 32, 64, (5, 8), (3, 3), 2, 1, 1, 8),
    "winograd, groups": (3, 32, 80, (5, 6), (3, 3), 1, 1, 1, 2),
    "winograd, groups that overlap": (2, 57, 84, (6, 7), (3, 3), 1, 1, 1, 3),
    "winograd, few channels a group": (2, 32, 64, (6, 6), (3, 3), 1, 1, 1, 8),
}
BY_HAND = {
    name: SHAPES[name]
    for name in (
        "odd everything",
        "few filters, one register",
        "columns, blocks that overlap",
        "winograd, 2 x 2",
        "winograd, deep, vectors that overlap",
    )
}
COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"


def problem(shape, dtype, seed=0):
    n, c, f, size, kernel, stride, padding, dilation, groups = shape
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, c, *size)).astype(dtype)
    w = rng.standard_normal((f, c // groups, *kernel)).astype(dtype)
    view = window("conv2d", size, kernel, stride, padding, dilation)
    gy = rng.standard_normal((n, f, *view.out)).astype(dtype)
    return x, w, gy, view, groups


def three(kernels, x, w, gy, view, groups):
    return (
        kernels.conv(x, w, view, groups),
        kernels.conv_dx(gy, w, view, groups),
        kernels.conv_dw(x, gy, view, groups),
    )


def largest(x):
    return np.abs(x).max()


def tolerance_of(dtype, name, shape):
    """A plain sum rounds at each product, to either side; Winograd's is coarser."""
    if dtype == "float64":
        return 1e-12
    _, channels, _, _, kernel, *_, groups = shape
    products = channels // groups * np.prod(kernel)
    return 1e-6 * max(1, products / 288) ** 0.5 if name == "exact" else 3e-5


def assert_close(got, wanted, tolerance):
    """Each array within `tolerance` times the largest number of what is wanted."""
    for ours, theirs in zip(got, wanted, strict=True):
        assert largest(ours - theirs) <= tolerance * largest(theirs)


@pytest.mark.parametrize("name", ["exact", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES if COMPILED else BY_HAND)
def test_every_shape_equals_the_plain_set(shape, dtype, name):
    case = problem(SHAPES[shape], dtype)
    wanted = three(plain, *(a.astype(float) for a in case[:3]), *case[3:])
    with use_kernels(name):
        got = three(kernels_for(case[0]), *case)
    tolerance = tolerance_of(dtype, name, SHAPES[shape])
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.dtype == dtype
        assert ours.shape == theirs.shape
    assert_close(got, wanted, tolerance)


@pytest.mark.parametrize("name", ["exact", "cpu"])
@pytest.mark.parametrize("shape", SHAPES if COMPILED else BY_HAND)
def test_no_images_have_no_outputs_and_gradients_of_0(shape, name):
    case = problem((0, *SHAPES[shape][1:]), np.float32)
    with use_kernels(name):
        y, gx, gw = three(kernels_for(case[0]), *case)
    assert y.shape == case[2].shape
    assert gx.shape == case[0].shape
    assert gw.shape == case[1].shape
    assert not gw.any()


@pytest.mark.parametrize("name", ["exact", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES if COMPILED else BY_HAND)
def test_every_shape_adds_a_bias(shape, dtype, name):
    """Of any size, and one that is not finite to its own filter alone."""
    x, w, _, view, groups = problem(SHAPES[shape], dtype)
    b = np.linspace(-1, 2, len(w)).astype(dtype)
    with use_kernels(name):
        kernels = kernels_for(x)
    tolerance = tolerance_of(dtype, name, SHAPES[shape])
    for size in (1, 1000):
        wanted = plain.conv(*(a.astype(float) for a in (x, w)), view, groups)
        wanted += size * b.astype(float)[:, None, None]
        ours = kernels.conv(x, w, view, groups, b * x.dtype.type(size))
        assert ours.dtype == dtype
        assert largest(ours - wanted) <= tolerance * largest(wanted)
    for value in (np.inf, -np.inf, np.nan):
        b[-1] = value
        ours = kernels.conv(x, w, view, groups, b)
        np.testing.assert_array_equal(ours[:, -1], np.full_like(ours[:, -1], value))
        assert np.isfinite(ours[:, :-1]).all()


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_infinity_stays_in_the_windows_that_see_it(value):
    """Few filters, gaps: a block writes beside its pixels, and adds to it later."""
    x, w = np.ones((2, 16, 12, 13), "f4"), np.ones((15, 16, 3, 3), "f4")
    x[1, 0, 4, 4] = value
    view = window("conv2d", (12, 13), (3, 3), 1, 2, 2)
    with use_kernels("cpu"):
        ours = kernels_for(x).conv(x, w, view, 1)
    np.testing.assert_array_equal(ours, plain.conv(x, w, view, 1))


@pytest.mark.parametrize("name", ["exact", "cpu"])
def test_any_order_in_memory_gives_the_same_bits(name):
    x, w, gy, view, groups = problem(SHAPES["winograd, 2 x 2"], "float32")

    def reordered(a):
        wide = np.repeat(a, 2, axis=0).transpose(0, 2, 3, 1).copy()
        return wide.transpose(0, 3, 1, 2)[::2]

    with use_kernels(name):
        kernels = kernels_for(x)
        wanted = three(kernels, x, w, gy, view, groups)
        got = three(kernels, *map(reordered, (x, w, gy)), view, groups)
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(is_channels_last(y) for y in wanted[:2])


NARROW = {
    "one filter": (2, 1, 1, (8, 8), (3, 3), 1, 1, 1, 1),
    "short rows": (3, 5, 3, (9, 9), (2, 2), 1, 0, 1, 1),
    "one row": (1, 2, 7, (1, 40), (1, 3), 1, 0, 1, 1),
    "one pixel": (1, 3, 1, (16, 2), (1, 1), 1, 0, 1, 1),
    "one pixel, whole vectors": (3, 32, 40, (9, 11), (1, 1), 1, 0, 1, 1),
    "depthwise": (1, 3, 3, (5, 5), (3, 3), 1, 1, 1, 3),
    "columns": (1, 16, 16, (3, 5), (3, 3), 1, 1, 1, 1),
    "winograd": (3, 16, 16, (3, 5), (3, 3), 1, 1, 1, 1),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", NARROW)
def test_nothing_is_written_behind_an_output(shape, threads, monkeypatch):
    """Blocks may write beyond a row, where another row follows; not at the end."""
    monkeypatch.setattr("tinytl_kernels.threads._chosen", threads)
    monkeypatch.setattr("tinytl_kernels.threads.SMALL", 0)
    behind = []

    def guarded(shape, dtype):
        size = int(np.prod(shape))
        memory = np.full(size + 64, 7, dtype)
        behind.append(memory[size:])
        return memory[:size].reshape(shape)

    with use_kernels("cpu"):
        kernels = kernels_for(np.ones(1))
    for module in list(sys.modules.values()):
        ours = getattr(module, "__name__", "").startswith("tinytl_kernels.cpu")
        if ours and hasattr(module, "empty"):
            monkeypatch.setattr(module, "empty", guarded)
    case = problem(NARROW[shape], "float32")
    wanted = three(plain, *case)
    assert_close(three(kernels, *case), wanted, 1e-4)
    assert behind
    assert all((guard == 7).all() for guard in behind)


@pytest.mark.skipif(not COMPILED, reason="thousands of products, one by one")
@pytest.mark.parametrize("taps", [3, 5])
def test_float32_errors_are_a_stated_multiple_of_a_plain_sum(taps):
    """exact: within 4 times NumPy's own error; Winograd: within 40 times."""
    shape = (8, 64, 64, (8, 8), (taps, taps), 1, taps // 2, 1, 1)
    x, w, gy, view, groups = problem(shape, "f4")
    true = three(plain, *(a.astype(float) for a in (x, w, gy)), view, groups)
    errors = {}
    for name in ("plain", "exact", "cpu"):
        with use_kernels(name):
            got = three(kernels_for(x), x, w, gy, view, groups)
        errors[name] = [
            np.sqrt(np.square(a - b).mean()) for a, b in zip(got, true, strict=True)
        ]
    for own, exact, fast in zip(*errors.values(), strict=True):
        assert 0 < exact <= 4 * own
        assert exact < fast <= 40 * own  # that it differs shows that Winograd ran


@pytest.mark.skipif(not COMPILED, reason="as slow as it is large")
@pytest.mark.parametrize(
    ("images", "channels", "filters"),
    [(1, 16, 16), (1, 16, 96), (3, winograd.DEPTH + 16, 96), (25, 48, 96)],
)
def test_few_filters_and_many_take_different_ways_to_the_same_values(
    images, channels, filters
):
    """More filters than tiles: threads share the filters instead of the tiles.

    With so many channels that they are taken in parts, and with tiles that end within a
    block and within a product's rows.
    """
    x, w, gy, view, groups = problem(
        (images, channels, filters, (8, 8), (3, 3), 1, 1, 1, 1), "float32"
    )
    sizes = images, channels, filters, view.out, view.padding
    by = winograd.plan(winograd.Layer(*sizes, 3))
    assert by.deep == (filters > by.number)
    wanted = three(plain, *(a.astype(float) for a in (x, w, gy)), view, groups)
    with use_kernels("cpu"):
        got = three(kernels_for(x), x, w, gy, view, groups)
    assert_close(got, wanted, 3e-5)


LARGE = {
    "winograd, each thread its tiles": (20, 16, 16, (16, 16), (3, 3), 1, 1, 1, 1),
    "winograd, each thread its filters": (2, 64, 96, (8, 8), (3, 3), 1, 1, 1, 1),
    "winograd, filters that overlap": (2, 60, 91, (8, 8), (3, 3), 1, 1, 1, 1),
    "winograd, groups": (20, 32, 32, (16, 16), (3, 3), 1, 1, 1, 8),
    "one pixel a window": (16, 32, 32, (16, 16), (1, 1), 1, 0, 1, 1),
    "winograd, stride": (20, 16, 32, (16, 16), (3, 3), 2, 1, 1, 1),
    "direct": (8, 16, 32, (16, 16), (3, 3), 2, 0, 1, 1),
    "few filters": (8, 8, 3, (32, 32), (3, 3), 1, 1, 1, 1),
    "columns": (1, 256, 200, (4, 4), (3, 3), 1, 1, 1, 1),
    "columns, blocks that overlap": (1, 257, 203, (4, 4), (3, 3), 1, 1, 1, 1),
    "depthwise": (8, 32, 32, (16, 16), (3, 3), 1, 1, 1, 32),
}


@pytest.mark.skipif(not COMPILED, reason="as slow as it is large")
@pytest.mark.parametrize("shape", LARGE)
def test_threads_add_up_to_what_one_computes(shape, monkeypatch):
    """Shapes of which each of three threads, or of two, has a share of its own."""
    case = problem(LARGE[shape], "float32")
    wanted = three(plain, *(a.astype(float) for a in case[:3]), *case[3:])
    for threads in (1, 3):
        monkeypatch.setattr("tinytl_kernels.threads._chosen", threads)
        with use_kernels("cpu"):
            got = three(kernels_for(case[0]), *case)
        assert_close(got, wanted, 3e-5)


# -- where Winograd's matrices come from -----------------------------------------------

POINTS = {4: (0, 1, -1), 6: (0, 1, -1, 2, -2)}
INTERPOLATED = [form for form in tiles.FORMS if form.points in POINTS]


def toom_cook(form):
    """(A^T, G, B^T) for outputs of a filter, from the points and infinity.

    Evaluation of a polynomial with `n` coefficients is a matrix of powers. Its value at
    infinity is the last coefficient. Interpolation is the inverse of the evaluation of
    a polynomial with as many coefficients as there are points.
    """

    def powers(n):
        rows = [[Fraction(p) ** k for k in range(n)] for p in POINTS[form.points]]
        return np.array([*rows, [Fraction(k == n - 1) for k in range(n)]], dtype=object)

    assert form.points == form.inputs == form.outputs + form.taps - 1
    return powers(form.outputs).T, powers(form.taps), inverse(powers(form.points)).T


def inverse(a):
    """Gauss and Jordan, in fractions."""
    n = len(a)
    a = np.concatenate([a, np.vectorize(Fraction)(np.eye(n, dtype=int))], axis=1)
    for k in range(n):
        row = k + next(i for i, value in enumerate(a[k:, k]) if value)
        a[[k, row]] = a[[row, k]]
        a[k] = a[k] / a[k, k]
        for i in range(n):
            if i != k:
                a[i] = a[i] - a[k] * a[i, k]
    return a[:, n:]


def matrix_of(function, form, inputs):
    """The matrix that a function of tiles.py applies, column by column."""
    return np.array([function(form, column) for column in np.eye(inputs)]).T


@pytest.mark.parametrize("form", INTERPOLATED)
def test_the_transforms_come_from_interpolation_at_their_points(form):
    """Up to the scale of each point, which two of the matrices may share freely."""
    a_t, g, b_t = (np.array(x, dtype=float) for x in toom_cook(form))
    ours_a = matrix_of(tiles.outputs, form, form.points)
    ours_g = matrix_of(tiles.filters, form, form.taps)
    ours_b = matrix_of(tiles.inputs, form, form.inputs)
    for point in range(form.points):
        ours = np.einsum("i,j,k->ijk", ours_a[:, point], ours_g[point], ours_b[point])
        theirs = np.einsum("i,j,k->ijk", a_t[:, point], g[point], b_t[point])
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_three_products_make_a_line_of_two_pixels():
    """sum_k A[k,i] G[k,u] B[k,j] is 1 where output i sees input j through weight u."""
    (form,) = (form for form in tiles.FORMS if form.points == 3)
    a_t = matrix_of(tiles.outputs, form, 3)
    g, b_t = matrix_of(tiles.filters, form, 3), matrix_of(tiles.inputs, form, 2)
    i, u, j = np.indices((2, 3, 2))
    np.testing.assert_array_equal(
        np.einsum("ik,ku,kj->iuj", a_t, g, b_t), j == i + u - 1
    )


@pytest.mark.parametrize("form", [form for form in tiles.FORMS if form.points == 5])
def test_five_products_make_a_line_of_every_second_window(form):
    """Output i sees input j through weight u where j = 2 i + u, without padding.

    Towards x, whose padding is 1, pixel i gets of window j what weight u saw: i + 1.
    """
    a_t = matrix_of(tiles.outputs, form, 5)
    g = matrix_of(tiles.filters, form, 3)
    b_t = matrix_of(tiles.inputs, form, form.inputs)
    i, u, j = np.indices((form.outputs, 3, form.inputs))
    sees = j == 2 * i + u if form.outputs == 2 else 2 * j + u == i + 1
    np.testing.assert_array_equal(np.einsum("ik,ku,kj->iuj", a_t, g, b_t), sees)


@pytest.mark.parametrize("form", tiles.FORMS)
def test_gradients_are_transformed_by_the_transposed_matrices(form):
    forward = matrix_of(tiles.outputs, form, form.points)
    back = matrix_of(tiles.outputs_transposed, form, form.outputs)
    np.testing.assert_allclose(back, forward.T, atol=1e-7)
    forward = matrix_of(tiles.filters, form, form.taps)
    back = matrix_of(tiles.filters_transposed, form, form.points)
    np.testing.assert_allclose(back, forward.T, atol=1e-7)


def test_a_product_is_counted_once_for_each_point():
    """36 products for 16 outputs, where the definition has 144."""
    for taps, stride, size, padding, points, m in (
        (3, 1, (32, 32), (1, 1), 6, 4),
        (3, 1, (4, 4), (1, 1), 6, 4),
        (3, 1, (2, 2), (2, 2), 4, 2),
        (3, 1, (2, 6), (1, 1), 4, 2),
        (3, 1, (2, 2), (1, 1), 3, 2),
        (5, 1, (2, 2), (1, 1), 6, 2),
        (3, 2, (2, 2), (1, 1), 5, 2),
        (3, 1 / 2, (2, 2), (0, 0), 5, 4),
    ):
        by = winograd.plan(winograd.Layer(1, 16, 16, size, padding, taps, stride))
        assert (by.points, by.m, by.taps) == (points, m, taps)


def test_winograd_serves_what_takes_fewer_products():
    """36 of whole vectors for 2 x 2 outputs, where the definition has 25 for each."""
    fits, single = winograd.fits, np.dtype("f4")
    one, whole = window("conv2d", (12, 12), (5, 5)), max(winograd.LANES, winograd.TALL)
    assert fits(single, whole, whole, one)
    back = one.turned()  # 12 x 12 outputs, of 8 x 8 inputs
    assert fits(single, whole, whole, back)
    assert not fits(single, whole + 1, whole, back)
    assert fits(single, whole + 1, whole + 1, window("conv2d", (9, 9), (3, 3), 1, 1))
    for stride, padding, fitting in ((2, 1, True), (2, 0, False), (3, 1, False)):
        some = window("conv2d", (8, 8), (3, 3), stride, padding)
        assert fits(single, whole, whole, some) == fitting


def test_direct_takes_every_shape():
    view = window("conv2d", (5, 5), (3, 3))
    assert direct.fits(np.dtype("f4"), 3, 5, view)
    assert not winograd.fits(np.dtype("f4"), 3, 16, view)
    assert not winograd.fits(np.dtype("f8"), 16, 16, view)


@pytest.mark.skipif(not COMPILED, reason="nothing to share")
@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_threads_give_the_same_bits(threads, monkeypatch):
    monkeypatch.setattr("tinytl_kernels.threads._chosen", threads)
    for shape in ("winograd, 4 x 4", "stride", "depthwise", "one pixel a window"):
        x, w, gy, view, groups = problem(SHAPES[shape], "float32")
        with use_kernels("cpu"):
            kernels = kernels_for(x)
        many = (np.concatenate([a] * 40) for a in (x, gy))
        x, gy = many
        first, second = (three(kernels, x, w, gy, view, groups) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("filters", [1, 3, 7])
def test_a_slice_of_narrow_rows_writes_nothing_else(filters, monkeypatch):
    """Pixels are written as whole vectors, but nothing behind the last one."""
    narrow = sys.modules["tinytl_kernels.cpu.narrow"]
    x, w, _, view, _ = problem((2, 2, filters, (4, 17), (3, 2), 1, 1, 1, 1), "float32")
    wanted = plain.conv(x, w, view, 1).transpose(0, 2, 3, 1).reshape(-1, 18, filters)
    first, last = 1, 3

    def only_these(kernel, count, *args, work, scratch):
        kernel(first, last, np.zeros(*scratch), *args)

    monkeypatch.setattr(narrow, "run", only_these)
    monkeypatch.setattr(narrow, "empty", lambda shape, dtype: np.full(shape, 7, dtype))
    rows = narrow.conv(x, w, view).transpose(0, 2, 3, 1).reshape(-1, 18, filters)
    np.testing.assert_allclose(rows[first:last], wanted[first:last], atol=1e-5)
    assert (np.delete(rows, range(first, last), axis=0) == 7).all()
