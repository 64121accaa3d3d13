"""Each kernel of the set for GPUs equals its plain twin, under the checker.

Sizes are small and odd: one more or less than a block's, and nothing that a stride
divides. The threads run in three orders, which must not be seen.
"""

import inspect
import itertools

import cupy
import numpy as np
import pytest
import scipy.special
import simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from tinytl_kernels import cuda, kernels_for, plain
from tinytl_kernels.cuda import columns, forms, narrow, product
from tinytl_kernels.line import Line
from tinytl_kernels.plain.step import sgd_step as plain_step
from tinytl_kernels.shapes import window

DTYPES = [np.float32, np.float64]


ORDERS = itertools.cycle(["up", "down", 0])


def numbers(dtype, *shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def on_device(value):
    """A copy on the device, in C order or with gaps, as the last size decides."""
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim and value.shape[-1] % 2:
        wide = np.full((*value.shape[:-1], 2 * value.shape[-1]), 7).astype(value.dtype)
        wide[..., ::2] = value
        return cupy.asarray(wide)[..., ::2]
    return cupy.asarray(value)


def precision(arguments):
    """The dtype that is computed in: that of the first array of floats."""
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    return next(a.dtype for a in arrays if a.dtype.kind == "f")


def same(name, *arguments, kernels=cuda, on_device_instead=()):
    """Both sets give the same for these arguments; the threads' order changes."""
    simulator.State.order = next(ORDERS)
    expected = getattr(plain, name)(*arguments)
    before = [np.copy(a) for a in arguments if isinstance(a, np.ndarray)]
    instead = dict(on_device_instead)
    given = [instead.get(id(a), on_device(a)) for a in arguments]
    actual = getattr(kernels, name)(*given)
    several = isinstance(expected, tuple)
    for a, b in zip(
        actual if several else [actual],
        expected if several else [expected],
        strict=True,
    ):
        assert isinstance(a, cupy.ndarray)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        eps = np.finfo(precision(arguments)).eps if b.dtype.kind == "f" else 0
        scale = max(1, np.abs(np.nan_to_num(b, posinf=0, neginf=0)).max(initial=0))
        np.testing.assert_allclose(a.get(), b, rtol=0, atol=64 * eps * scale)
    arrays = [a for a in given if isinstance(a, cupy.ndarray)]
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a.get(), b, "an argument was written to")


def test_the_set_has_all_kernels_with_the_same_arguments():
    assert kernels_for(cupy.asarray([1.0])) is cuda
    inside = {"crop", "fold", "pad", "unfold"}  # of the plain convolution
    assert set(plain.__all__) - inside <= set(cuda.__all__)
    for name in set(cuda.__all__) & set(plain.__all__):
        ours, theirs = getattr(cuda, name), getattr(plain, name)
        assert list(inspect.signature(ours).parameters) == list(
            inspect.signature(theirs).parameters
        ), name


# -- convolution -----------------------------------------------------------------------


@st.composite
def convolutions(draw, most=5):
    """Shapes of images and weights, a window and groups."""
    groups = draw(st.integers(1, 3))
    u, v = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    s, d = (draw(st.tuples(st.integers(1, 3), st.integers(1, 2))) for _ in "sd")
    p = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    h, w = draw(st.integers(d[0] * (u - 1) + 1, 7)), draw(st.integers(d[1] * 2 + 1, 7))
    view = window("f", (h, w), (u, v), s, p, d)
    n, c, f = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, most)),
    )
    return (n, c * groups, h, w), (f * groups, c, u, v), view, groups


def of_three(name, dtype, images, weights, view):
    x = numbers(dtype, *images, seed=1)
    w = numbers(dtype, *weights, seed=2)
    gy = numbers(dtype, images[0], weights[0], *view.out, seed=3)
    return {"conv": (x, w), "conv_dx": (gy, w), "conv_dw": (x, gy)}[name]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["conv", "conv_dx", "conv_dw"])
@pytest.mark.parametrize("form", [product, columns, narrow])
@settings(max_examples=10)
@given(case=convolutions())
def test_convolution_in_each_form(form, name, dtype, case):
    images, weights, view, groups = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "_form", lambda *sizes: form)
        patch.setattr(columns, "BLOCK", 100)
        operands = of_three(name, dtype, images, weights, view)
        same(name, *operands, view, groups)


@pytest.mark.parametrize("name", ["conv", "conv_dx", "conv_dw"])
@pytest.mark.parametrize(("groups", "dtype"), [(1, np.float64), (2, np.float32)])
def test_products_larger_than_a_block(name, groups, dtype):
    """More rows, columns and depth than a tile has, in the high form and the low."""
    view = window("f", (5, 6), 3, 1, 1)
    for f, c in [(4, 9), (9, 4)]:
        sizes = (1, c * groups, 5, 6), (f * groups, c, 3, 3)
        operands = of_three(name, dtype, *sizes, view)
        assert forms._form(f, c, groups) is product
        same(name, *operands, view, groups)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", [0, 2])
def test_a_convolution_adds_a_bias(images, dtype):
    view = window("f", (5, 6), 3, 1, 1)
    x, w = of_three("conv", dtype, (images, 4, 5, 6), (6, 2, 3, 3), view)
    same("conv", x, w, view, 2, numbers(dtype, 6, seed=4))


def test_forms_are_chosen_by_size():
    assert forms._form(64, 64, 1) is columns
    assert forms._form(16, 64, 1) is forms._form(3, 16, 1) is product
    assert forms._form(1, 1, 64) is forms._form(64, 1, 2) is narrow
    assert product.parts(1, 3, 9, 1000) == product.FILL // 2
    assert product.parts(1, 512, 4608, 1000) == 1


@pytest.mark.parametrize("form", [product, columns, narrow])
@pytest.mark.parametrize("name", ["conv", "conv_dx", "conv_dw"])
def test_no_images(monkeypatch, name, form):
    monkeypatch.setattr(forms, "_form", lambda *sizes: form)
    view = window("f", (4, 5), 3, 1, 1)
    operands = of_three(name, np.float32, (0, 4, 4, 5), (2, 2, 3, 3), view)
    same(name, *operands, view, 2)


# -- pooling ---------------------------------------------------------------------------


@st.composite
def pools(draw):
    """An image with ties, NaN and infinities, and a window that fits it."""
    u, v = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    d, s = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    p = draw(st.integers(0, min(u, v) // 2))
    h, w = draw(st.integers(d * u + 1, 9)), draw(st.integers(d * v + 1, 9))
    view = window("f", (h, w), (u, v), s, p, d, draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(-2, 3, (2, 2, h, w)).astype(draw(st.sampled_from(DTYPES)))
    x[rng.random(x.shape) < 0.05] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0]))
    return x, view


@given(case=pools())
def test_max_pooling(case):
    x, view = case
    same("max_pool", x, view)
    index = plain.max_pool(x, view)[1]
    same("gather", np.nan_to_num(x, posinf=9, neginf=-9), index)
    same("scatter", numbers(x.dtype, *index.shape), index, view)


@given(case=pools())
def test_sum_pooling(case):
    x, view = case
    x = numbers(x.dtype, *x.shape)
    same("sum_pool", x, view)
    g = numbers(x.dtype, *x.shape[:2], *view.out)
    same("sum_pool_dx", g, view)
    same("sum_pool", x, view, 3)
    same("sum_pool_dx", g, view, 3)


def test_pooling_of_no_images():
    view = window("f", (4, 5), 2, 2)
    x = np.zeros((0, 3, 4, 5), np.float32)
    for name in ("max_pool", "sum_pool"):
        same(name, x, view)
    index = plain.max_pool(x, view)[1]
    same("gather", x, index)
    same("scatter", x[:, :, :2, :2], index, view)


# -- along an axis ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_resampling(dtype, axis):
    x = numbers(dtype, 2, 3, 5, 4)
    for outputs, taps in [(7, 2), (1, 4), (9, 1)]:
        index = np.random.default_rng(1).integers(0, x.shape[axis], (outputs, taps))
        weight = numbers(np.float64, outputs, taps)
        expected = plain.resample(x, index, weight, axis)
        for _ in range(2):  # the second time the taps are there
            actual = cuda.resample(cupy.asarray(x), index, weight, axis)
            assert actual.dtype == dtype
            np.testing.assert_allclose(actual.get(), expected, rtol=0, atol=1e-5)


def test_resampling_of_both_sides():
    x = numbers(np.float32, 2, 3, 5, 4)
    rows, columns = (
        (np.arange(2 * o).reshape(o, 2) % n, numbers(np.float64, o, 2))
        for n, o in ((5, 3), (4, 7))
    )
    same("resample_image", x, rows, columns)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(3, 5), (2, 3, 7), (9, 1), (1, 10), (0, 4), (2, 4, 3)]
)
def test_softmax(dtype, shape):
    x = 50 * numbers(dtype, *shape)
    x.ravel()[1:2] = np.inf if shape == (9, 1) else -np.inf
    x.ravel()[-1:] = np.nan if shape == (2, 3, 7) else 1
    for axis in range(1, len(shape)):
        for name in ("softmax", "log_softmax"):
            with np.errstate(invalid="ignore"):
                expected = getattr(scipy.special, name)(x.astype(np.float64), axis)
                actual = getattr(cuda, name)(on_device(x), axis)
            assert actual.dtype == dtype
            eps = 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(actual.get(), expected, rtol=eps, atol=50 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 7), (9, 1), (1, 10), (0, 4)])
def test_softmax_gradients(dtype, shape):
    x, g = 3 * numbers(dtype, *shape), numbers(dtype, *shape)
    for axis in range(1, len(shape)):
        for name in ("softmax_dx", "log_softmax_dx"):
            actual = getattr(cuda, name)(on_device(g), on_device(x), axis)
            assert actual.dtype == dtype
            expected = getattr(plain, name)(g, x, axis)
            eps = 32 * np.finfo(dtype).eps
            np.testing.assert_allclose(actual.get(), expected, rtol=eps, atol=eps)


# -- channel by channel ----------------------------------------------------------------

SHAPES = [(3, 4), (2, 3, 5), (5, 1, 3, 7), (9, 2, 2, 3), (1, 3, 1, 1)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_lines(shape, relu, dtype):
    h, g, x = (numbers(dtype, *shape, seed=k) for k in range(3))
    x.ravel()[-1] = 30
    rows = numbers(dtype, 7, shape[1], seed=4)
    by = Line(*rows[:3], relu)
    device = Line(*map(cupy.asarray, rows[:3]), relu)
    for name, *arguments in [
        ("line", x, by),
        ("line_sums", g, x, by),
        ("line_sums2", h, g, x, by),
        ("line_mix", g, x, by, rows[3:6]),
        ("line_mix_gated", g, x, by, rows[3:6]),
        ("line_mix2", h, g, x, by, rows[3:]),
    ]:
        same(name, *arguments, on_device_instead={id(by): device})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_channels(shape, dtype):
    x = numbers(dtype, *shape) + 3
    same("moments", x)
    same("sum_per_channel", x)
    same("add_per_channel", x, numbers(dtype, shape[1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(2, 3, 5, 7), (3, 1, 2, 2), (1, 9, 1, 1), (0, 2, 3, 3)]
)
def test_sums_over_pixels(shape, dtype):
    x, z, weight = (numbers(dtype, *shape, seed=k) for k in range(3))
    same("product_sums", x, z)
    same("difference_squares", x, z)
    same("difference_squares", x, z, weight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_is_added_in_place(dtype):
    x, z = (numbers(dtype, 2, 3, 5, seed=k) for k in range(2))
    there = on_device(x)
    assert cuda.add_to(there, on_device(z)) is there
    np.testing.assert_array_equal(there.get(), x + z)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_one_after_the_other(dtype):
    arrays = [numbers(dtype, 2, n, 3) for n in (4, 0, 5)]
    joined = cuda.concatenate([on_device(x) for x in arrays], 1)
    assert joined.dtype == dtype
    np.testing.assert_array_equal(joined.get(), plain.concatenate(arrays, 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_selection(dtype):
    x = np.array([[np.inf, -np.inf, np.nan, -0.0, 1.5]] * 2, dtype)
    for mask in ([[1, 0, 1, 0, 1]], [[0], [1]], True, False):
        mask = np.array(mask, bool)
        kept = cuda.keep(on_device(x), cupy.asarray(mask)).get()
        assert kept.dtype == dtype
        np.testing.assert_array_equal(kept, np.where(mask, x, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (7,), (3, 4, 5)])
@pytest.mark.parametrize(
    "options",
    [(0.1, 0, 0, 0, False), (0.1, 0.9, 0.2, 0.01, False), (0.1, 0.9, 0, 0.01, True)],
)
def test_a_step_of_descent(options, shape, dtype):
    """Two steps: the first makes the velocity, the second uses it."""
    p, g = (np.asarray(numbers(dtype, *shape, seed=k)) for k in range(2))
    expected, v = plain_step(p, g, None, *options)
    actual, w = cuda.sgd_step(on_device(p), on_device(g), None, *options)
    for _ in range(2):
        assert (w is None) == (v is None) == (options[1] == 0)
        assert actual.shape == shape
        assert actual.dtype == dtype
        for a, b in ((actual, expected), (w, v)):
            if b is not None:
                np.testing.assert_allclose(a.get(), b, rtol=1e-5, atol=1e-6)
        expected, v = plain_step(expected, g, v, *options)
        actual, w = cuda.sgd_step(actual, on_device(g), w, *options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_matrices(dtype):
    for a, b in [((3, 4), (4, 5)), ((4,), (2, 4, 3)), ((2, 1, 3, 4), (3, 4, 2))]:
        x, z = numbers(dtype, *a), numbers(dtype, *b, seed=1)
        actual = cuda.matmul(on_device(x), on_device(z))
        np.testing.assert_allclose(actual.get(), x @ z, rtol=1e-5, atol=1e-5)


# -- number by number ------------------------------------------------------------------

FAR = [-1000, -88, -17, -3, -1e-6, -0.0, 0, 1e-6, 3, 6, 17, 21, 88, 1000]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations(dtype):
    x = np.array([[*FAR, np.inf], [*FAR, -np.inf], [*FAR, np.nan]], dtype)
    g = numbers(dtype, *x.shape)
    for top in (None, 6.0):
        for ours, theirs in zip(
            cuda.ramp(on_device(x), top), plain.ramp(x, top), strict=True
        ):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours.get(), theirs)
    for name, arguments in {
        "bend": (g, x, 0.01),
        "hardsigmoid": (x,),
        "hardsigmoid_dx": (g, x),
        "hardswish": (x,),
        "hardswish_dx": (g, x),
        "sigmoid": (x,),
        "sigmoid_dx": (g, x),
        "tanh_dx": (g, x),
        "softplus": (x, 1.0, 20.0),
        "softplus_dx": (g, x, 1.0, 20.0),
        "softplus ": (x, 0.3, 2.0),
        "softplus_dx ": (g, x, 0.3, 2.0),
    }.items():
        name = name.strip()
        given = [on_device(a) for a in arguments]
        actual = getattr(cuda, name)(*given)
        assert actual.dtype == dtype
        expected = getattr(plain, name)(*arguments)
        eps = 8 * np.finfo(dtype).eps  # of each number, not of the largest
        np.testing.assert_allclose(actual.get(), expected, rtol=eps, atol=1e-37)
