"""Compiled kernels against the plain ones: both orders in memory, both dtypes, NaN."""

import math
import os
import sys

import numpy as np
import pytest
from tinytl_kernels import available, kernels_for, plain, use_kernels
from tinytl_kernels.line import Line
from tinytl_kernels.shapes import window

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
OTHERS = available()[2:]  # cpu; exact has the same kernels here, see sets.py
SHAPES = [(3, 5, 4, 7), (2, 1, 3, 3), (1, 3, 1, 1), (4, 3), (2, 3, 6), (2, 2, 2, 3, 2)]
SHAPES += [(2, 3, 5, 9), (2, 4, 8, 8)]  # planes that are no whole vectors, and that are


def channels_last(x):
    """The same array with the channels of a place beside one another."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


ORDERS = {
    "first": np.ascontiguousarray,
    "last": channels_last,
    "gaps": lambda x: np.repeat(x, 2, axis=0)[::2],
    "turned": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
}


@pytest.fixture(params=OTHERS)
def kernels(request):
    """A kernel set other than the plain one."""
    with use_kernels(request.param):
        return kernels_for(np.ones(1))


@pytest.fixture(params=[np.float32, np.float64], ids=["single", "double"])
def dtype(request):
    """Both dtypes that have gradients."""
    return request.param


def agree(ours, theirs, dtype, size=1.0):
    """Equal to rounding, in value, shape and dtype; NaN in the same places."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    unit = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(ours, theirs, rtol=20 * unit, atol=20 * unit * size)


# -- normalisation ---------------------------------------------------------------------


def drawn(shape, dtype, count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(count)]


def some_line(channels, dtype, relu):
    mean, shift = drawn(channels, dtype, 2, seed=1)
    scale = np.linspace(0.5, 2, channels).astype(dtype)
    return Line(mean, scale, shift, relu)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 0, 3, 3), (0, 3, 2, 2)])
@pytest.mark.parametrize("relu", [True, False])
def test_lines_and_what_their_derivatives_need(
    kernels, dtype, shape, order, relu, monkeypatch
):
    norm = pytest.importorskip("tinytl_kernels.cpu.norm")
    monkeypatch.setattr(norm, "SMALL", 0)
    x, g, h = map(ORDERS[order], drawn(shape, dtype, 3))
    by = some_line(shape[1], dtype, relu)
    weights = drawn((4, shape[1]), dtype, 1, seed=2)[0]
    for name, arguments in {
        "line": (x, by),
        "line_sums": (g, x, by),
        "line_sums2": (h, g, x, by),
        "line_mix": (g, x, by, weights[:3]),
        "line_mix_gated": (g, x, by, weights[:3]),
        "line_mix2": (h, g, x, by, weights),
        "add_per_channel": (x, by.shift),
        "sum_per_channel": (x,),
    }.items():
        ours, theirs = (getattr(k, name)(*arguments) for k in (kernels, plain))
        agree(ours, theirs, dtype, size=10)


@pytest.mark.parametrize("shape", [(3, 5, 4, 7), (2, 4, 8, 8), (2, 3, 5, 9)])
@pytest.mark.parametrize("order", ["first", "last"])
def test_large_results_go_past_the_caches(dtype, shape, order, monkeypatch):
    norm = pytest.importorskip("tinytl_kernels.cpu.norm")
    x, g, h = map(ORDERS[order], drawn(shape, dtype, 3))
    by, weights = some_line(shape[1], dtype, True), drawn((4, shape[1]), dtype, 1)[0]
    expected = norm.line(x, by), norm.line_mix2(h, g, x, by, weights)
    monkeypatch.setattr(norm, "STREAMED", 0)
    found = norm.line(x, by), norm.line_mix2(h, g, x, by, weights)
    assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("order", ["first", "last"])
def test_many_pixels_are_summed_as_well_as_few(kernels, dtype, order, monkeypatch):
    """Also where rows do not come out even, and where threads share the work."""
    monkeypatch.setattr("tinytl_kernels.threads.SMALL", 0)
    shape = (7, 16, 73, 59) if COMPILED else (3, 16, 53, 53)
    x, g, h = map(ORDERS[order], drawn(shape, dtype, 3))
    by = some_line(16, dtype, True)
    for ours, theirs in (
        (kernels.sum_per_channel(x), plain.sum_per_channel(x)),
        (kernels.line_sums(g, x, by), plain.line_sums(g, x, by)),
        (kernels.line_sums2(h, g, x, by), plain.line_sums2(h, g, x, by)),
    ):
        agree(ours, theirs, dtype, size=np.sqrt(x.size / 16))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_moments_far_from_zero(kernels, dtype, shape, order):
    x = ORDERS[order](drawn(shape, dtype, 1)[0] + dtype(1000))
    exact = plain.moments(x.astype(np.float64))
    for ours, theirs in zip(kernels.moments(x), exact, strict=True):
        assert ours.dtype == dtype
        unit = 1e-6 if dtype == np.float32 else 1e-11
        np.testing.assert_allclose(ours, theirs, rtol=unit, atol=unit)


@pytest.mark.parametrize("order", ["first", "last"])
def test_moments_where_the_first_value_is_far_from_the_others(kernels, dtype, order):
    """No worse than without: the squares that cancel are not taken of it."""
    x = drawn((5, 16, 23, 19), dtype, 1)[0]
    x[0, :15, 0, 0] = 10.0 ** np.arange(-4, 11)  # the last channel stays as it is
    x = ORDERS[order](x)
    (mean, variance), unit = kernels.moments(x), np.finfo(dtype).eps
    centre, spread = plain.moments(x.astype(np.longdouble))
    assert (abs(mean - centre) <= 2 * unit * np.sqrt(spread)).all()
    assert (abs(variance - spread) <= 40 * unit * spread).all()


def test_a_constant_channel_has_no_variance(kernels, dtype):
    assert (kernels.moments(np.full((4, 2, 3, 3), 0.1, dtype))[1] == 0).all()


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("order", ["first", "last"])
def test_what_is_not_finite_comes_through(kernels, dtype, order, monkeypatch):
    norm = pytest.importorskip("tinytl_kernels.cpu.norm")
    monkeypatch.setattr(norm, "SMALL", 0)
    x, g = drawn((2, 4, 6, 6), dtype, 2)
    x[0, 0, 0, 0], x[1, 1, 2, 2], x[0, 2, 3, 3] = np.nan, np.inf, -np.inf
    g[1, 3, 1, 1] = np.inf
    x, g = ORDERS[order](x), ORDERS[order](g)
    weights = np.ones((3, 4), dtype)
    for relu in (True, False):
        by = some_line(4, dtype, relu)
        agree(kernels.line(x, by), plain.line(x, by), dtype)
        mixed = (k.line_mix(g, x, by, weights) for k in (kernels, plain))
        agree(*mixed, dtype, 10)
        sums = (k.line_sums(g, x, by) for k in (kernels, plain))
        agree(*sums, dtype, 10)
    agree(kernels.sum_per_channel(x), plain.sum_per_channel(x), dtype, 10)
    mean, variance = kernels.moments(x)
    assert np.array_equal(mean[:3], [np.nan, np.inf, -np.inf], equal_nan=True)
    assert np.isnan(variance[:3]).all()
    assert np.isfinite(variance[3])


def test_no_images_give_no_images(kernels):
    by = some_line(3, np.float32, True)
    assert kernels.line(np.ones((0, 3, 2, 2), np.float32), by).shape == (0, 3, 2, 2)


# -- elementwise -----------------------------------------------------------------------

EDGES = [
    0.0,
    -0.0,
    -3,
    3,
    1e-30,
    -1e-30,
    6,
    20,
    20.01,
    88,
    89,
    -87,
    -88,
    -100,
    -103.5,
    -110,
]
EDGES += [np.nan, np.inf, -np.inf]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("order", ORDERS)
def test_elementwise_functions(kernels, dtype, order, monkeypatch):
    """The tails too: e^-103.5 is the smallest float32 but one."""
    x, g = drawn((3, 5, 4, 7), dtype, 2)
    x *= 5
    elementwise = pytest.importorskip("tinytl_kernels.cpu.elementwise")
    monkeypatch.setattr(elementwise, "FEW", 0)
    x.reshape(-1)[: len(EDGES)] = EDGES
    x, g = ORDERS[order](x), ORDERS[order](g)
    for name, arguments in {
        "softplus": (x, 1.0, 20.0),
        "softplus_dx": (g, x, 2.5, 10.0),
        "bend": (g, x, 0.01),
        "hardsigmoid": (x,),
        "hardsigmoid_dx": (g, x),
        "hardswish": (x,),
        "hardswish_dx": (g, x),
        "sigmoid": (x,),
        "sigmoid_dx": (g, x),
        "tanh_dx": (g, x),
    }.items():
        ours, theirs = (getattr(k, name)(*arguments) for k in (kernels, plain))
        assert ours.dtype == theirs.dtype == dtype
        unit = 2e-6 if dtype == np.float32 else 1e-14
        np.testing.assert_allclose(ours, theirs, rtol=unit, atol=2e-44)
    for top in (None, 6.0):
        for ours, theirs in zip(kernels.ramp(x, top), plain.ramp(x, top), strict=True):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs, equal_nan=ours.dtype != bool)
    mask = ORDERS["first"](g > 0)
    assert np.array_equal(kernels.keep(x, mask), plain.keep(x, mask), equal_nan=True)


def test_large_elementwise_results_go_past_the_caches(dtype, monkeypatch):
    elementwise = pytest.importorskip("tinytl_kernels.cpu.elementwise")
    monkeypatch.setattr(elementwise, "STREAMED", 0)
    monkeypatch.setattr(elementwise, "FEW", 0)
    x, g = drawn((3, 5, 7, 11), dtype, 2)  # four blocks and a half
    agree(elementwise.keep(g, x > 0), plain.keep(g, x > 0), dtype)
    agree(elementwise.softplus(x, 2.0, 20.0), plain.softplus(x, 2.0, 20.0), dtype)
    agree(elementwise.sigmoid_dx(g, x), plain.sigmoid_dx(g, x), dtype)
    for ours, theirs in zip(elementwise.ramp(x, 1.0), plain.ramp(x, 1.0), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3)])
def test_elementwise_functions_of_any_shape(kernels, dtype, shape):
    x = np.asarray(drawn(shape, dtype, 1)[0], dtype)
    agree(kernels.softplus(x, 1.0, 20.0), plain.softplus(x, 1.0, 20.0), dtype)
    agree(kernels.ramp(x, 6.0)[0], plain.ramp(x, 6.0)[0], dtype)


@pytest.mark.parametrize("order", ORDERS)
def test_functions_of_numpy_a_part_on_each_thread(kernels, dtype, order):
    """And they warn, or do not, as whoever asked wants it."""
    x, z = (ORDERS[order](a) for a in drawn((5, 18, 3, 4), dtype, 2))
    number = np.asarray(3, dtype)
    given = {"exp": [x], "sign": [x], "divide": [x, z], "power": [np.abs(x), number]}
    given.update(add=[x[:, :, :1, :1], z], subtract=[number, z], multiply=[x[:1], z])
    for name, arrays in given.items():
        ours, theirs = kernels.ufunc(name, *arrays), getattr(np, name)(*arrays)
        assert ours.dtype == dtype
        assert np.array_equal(ours, theirs)
    with np.errstate(divide="ignore"):
        assert np.isinf(kernels.ufunc("divide", x, 0 * z)).all()
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        kernels.ufunc("divide", x, 0 * z)


@pytest.mark.parametrize("order", ORDERS)
def test_an_array_is_added_in_place(kernels, dtype, order):
    x, z = (ORDERS[order](a) for a in drawn((5, 18, 3, 4), dtype, 2))
    wanted = x + z
    y = kernels.add_to(x, z)
    assert y is x
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("order", ORDERS)
def test_sums_a_part_on_each_thread(kernels, dtype, order):
    for shape in ((5, 18, 3, 4), (2, 18, 9, 5), (2, 3, 11, 7), (3, 0, 2, 2)):
        x = ORDERS[order](drawn(shape, dtype, 1)[0])
        for axes in ((), (0,), (1,), (0, 1, 2, 3), (2, 3), (0, 2, 3), (0, 1), (3,)):
            agree(kernels.total(x, axes), plain.total(x, axes), dtype, size=10)
    whole = np.arange(60).reshape(3, 20)
    assert kernels.total(whole, (0, 1)).tolist() == [[1770]]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 20_000, 70_001])
def test_a_sum_of_all_keeps_its_digits(kernels, dtype, count):
    """Taken in float64, rounded once; of gaps in memory and of infinities, too."""
    x = drawn((2 * count,), dtype, 1)[0] + 100
    for part in (x, x[:count], x[::2]):
        got = kernels.total(part, (0,))
        assert got.shape == (1,)
        assert got.dtype == dtype
        exact = math.fsum(part.tolist())
        assert abs(got[0] - exact) <= 2 * np.finfo(dtype).eps * abs(exact)
    if count:
        x[-1] = np.inf
        assert kernels.total(x, (0,)) == np.inf
        x[0] = -np.inf
        with np.errstate(invalid="ignore"):
            assert np.isnan(kernels.total(x, (0,)))


@pytest.mark.parametrize("shape", [(3, 64), (2, 70, 31), (1, 5000), (2, 3, 40, 40)])
def test_a_sum_of_each_line_keeps_its_digits(kernels, dtype, shape):
    (x,) = drawn(shape, dtype, 1)
    x += 100
    axes = tuple(range(1, x.ndim))
    got = kernels.total(x, axes)
    assert got.shape == (len(x), *(1,) * len(axes))
    assert got.dtype == dtype
    for line, total in zip(x.reshape(len(x), -1), got.ravel(), strict=True):
        exact = math.fsum(line.tolist())
        assert abs(total - exact) <= 20 * np.finfo(dtype).eps * abs(exact)
    x[-1, ..., -1] = -np.inf
    assert kernels.total(x, axes).ravel()[-1] == -np.inf


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_exponentials_of_any_size(kernels):
    """To some units in the last place, down to the smallest number and to infinity."""
    x = np.linspace(-110, 95, 30_000, dtype=np.float32).reshape(-1, 3)
    got, exact = kernels.ufunc("exp", x), np.exp(x.astype(np.float64))
    assert got.dtype == np.float32
    finite = exact < np.finfo(np.float32).max
    unit = np.spacing(exact[finite].astype(np.float32)).astype(np.float64)
    assert (np.abs(got[finite] - exact[finite]) <= 2 * unit).all()
    assert np.isposinf(got[~finite]).all()
    odd = np.resize(np.float32([np.nan, np.inf, -np.inf, 0, -0.0]), (5000, 2))
    wanted = np.resize(np.float32([np.nan, np.inf, 0, 1, 1]), (5000, 2))
    np.testing.assert_array_equal(kernels.ufunc("exp", odd), wanted)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_tanh_of_any_size(kernels):
    """To some units in the last place, also near 0, where it is x."""
    sizes = np.geomspace(1e-45, 120, 15_000).astype(np.float32)
    x = np.concatenate([sizes, -sizes]).reshape(-1, 3)
    got, exact = kernels.ufunc("tanh", x), np.tanh(x.astype(np.float64))
    assert got.dtype == np.float32
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(got - exact) <= 4 * unit).all()
    odd = np.resize(np.float32([np.nan, np.inf, -np.inf, 0, -0.0]), (5000, 2))
    wanted = np.resize(np.float32([np.nan, 1, -1, 0, 0]), (5000, 2))
    np.testing.assert_array_equal(kernels.ufunc("tanh", odd), wanted)


# -- softmax ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "shape",
    [
        *[(3, 70), (40, 43), (19, 10), (2, 3, 1), (3, 19, 5, 7), (2, 5, 3, 2), (1, 1)],
        *[(3, 64), (2, 95), (2, 2, 161)],  # long lines, with and without a rest
    ],
)
def test_softmax_along_any_axis(dtype, order, shape, monkeypatch):
    """Where the numbers of a sum are neighbours, and where other sums are between."""
    losses = pytest.importorskip("tinytl_kernels.cpu.losses")
    monkeypatch.setattr(losses, "SMALL", 0)
    monkeypatch.setattr(losses, "BLOCK", 100)  # several blocks, and a narrow last one
    x, g = (ORDERS[order](a) for a in drawn(shape, dtype, 2))
    for axis in range(x.ndim):
        for name, arguments in {
            "softmax": (5 * x, axis),
            "softmax_dx": (g, 5 * x, axis),
            "log_softmax": (5 * x, axis),
            "log_softmax_dx": (g, 5 * x, axis),
        }.items():
            ours, theirs = (getattr(k, name)(*arguments) for k in (losses, plain))
            agree(ours, theirs, dtype, size=5)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("across", [1, 0])
@pytest.mark.parametrize("count", [20, 70])
def test_softmax_of_numbers_that_are_not_finite(
    count, kernels, dtype, across, monkeypatch
):
    """As NumPy has it; also a sum of nothing, and one that e^x would overflow."""
    losses = pytest.importorskip("tinytl_kernels.cpu.losses")
    monkeypatch.setattr(losses, "SMALL", 0)
    x = np.zeros((count, count), dtype)
    x[1:7, 3] = np.nan, np.inf, -np.inf, 1000, -1000, -104
    x[11:14, -1] = np.nan, np.inf, 1000
    x[8] = -np.inf
    x[9] = 1000
    x = x.T if across else x
    for name in ("softmax", "log_softmax"):
        ours, theirs = (getattr(k, name)(x, 1) for k in (kernels, plain))
        agree(ours, theirs, dtype)


# -- pooling ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels", [3, 19])
@pytest.mark.parametrize(
    "options", [(2,), (3, 2, 1), (2, 3), (3, 1, 1, 2), (2, 2, 0, 1, True)]
)
def test_pooling(kernels, dtype, order, channels, options):
    """Windows side by side, overlapping, apart, dilated, and over the edge."""
    x = ORDERS[order](drawn((2, channels, 9, 7), dtype, 1)[0])
    view = window("pool", (9, 7), options[0], *(options[1:] or (2,)))
    g = ORDERS[order](drawn((2, channels, *view.out), dtype, 1)[0])
    for ours, theirs in zip(
        kernels.max_pool(x, view), plain.max_pool(x, view), strict=True
    ):
        assert np.array_equal(ours, theirs)
    where = kernels.max_pool(x, view)[1]
    assert np.array_equal(kernels.gather(x, where), plain.gather(x, where))
    agree(kernels.scatter(g, where, view), plain.scatter(g, where, view), dtype)
    for over in (1, 5):
        agree(kernels.sum_pool(x, view, over), plain.sum_pool(x, view) / over, dtype)
        wanted = plain.sum_pool_dx(g, view) / over
        agree(kernels.sum_pool_dx(g, view, over), wanted, dtype)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("options", [(3, 2, 1), (2, 2), (2, 3)])
def test_a_large_scatter_goes_past_the_caches(dtype, order, options, monkeypatch):
    """Windows that overlap, side by side, and apart."""
    pool = pytest.importorskip("tinytl_kernels.cpu.pool")
    monkeypatch.setattr(pool, "STREAMED", 0)
    view = window("pool", (9, 7), *options)
    x, g = drawn((3, 19, 9, 7), dtype, 1)[0], drawn((3, 19, *view.out), dtype, 1)[0]
    where = plain.max_pool(x, view)[1]
    expected = plain.scatter(g, where, view)
    agree(pool.scatter(ORDERS[order](g), where, view), expected, dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(4, 2), (2, 30)])
def test_a_slice_of_sums_writes_nothing_else(channels, size, dtype, monkeypatch):
    """Pixels are written as whole vectors, but nothing behind the last one."""
    pool = sys.modules["tinytl_kernels.cpu.pool_sums"]
    x = drawn((3, channels, *size), dtype, 1)[0]
    view = window("pool", size, 2, 1)
    wanted = plain.sum_pool(x, view)

    def only_one(kernel, count, *args, work, scratch):
        kernel(1, 2, np.zeros(*scratch), *args)

    monkeypatch.setattr(pool, "run", only_one)
    monkeypatch.setattr(pool, "empty", lambda shape, dtype: np.full(shape, 7, dtype))
    y = pool.sum_pool(x, view)
    agree(y[1], wanted[1], dtype)
    assert (y[::2] == 7).all()


# -- resizing --------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("taps", [1, 2, 3])
@pytest.mark.parametrize("channels", [3, 19])
def test_resampling(kernels, dtype, order, axis, taps, channels):
    x = ORDERS[order](drawn((2, channels, 5, 5), dtype, 1)[0])
    index = np.random.default_rng(0).integers(0, 5, (7, taps))
    weight = np.random.default_rng(1).standard_normal((7, taps))
    ours, theirs = (k.resample(x, index, weight, axis) for k in (kernels, plain))
    agree(ours, theirs, dtype)
    assert kernels.resample(x[:0], index, weight, axis).size == 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("taps", [(1, 1), (2, 2), (4, 4), (3, 3), (2, 1)])
@pytest.mark.parametrize("channels", [3, 16, 19])
def test_resampling_of_both_sides_at_once(kernels, dtype, order, taps, channels):
    x = ORDERS[order](drawn((2, channels, 5, 7), dtype, 1)[0])
    sides = []
    for n, o, k in zip((5, 7), (9, 4), taps, strict=True):
        index = np.random.default_rng(n).integers(0, n, (o, k))
        sides.append((index, np.random.default_rng(k).standard_normal((o, k))))
    ours, theirs = (k.resample_image(x, *sides) for k in (kernels, plain))
    agree(ours, theirs, dtype, size=k**2)
    assert kernels.resample_image(x[:0], *sides).shape == (0, channels, 9, 4)


# -- order in memory -------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        (2, 3, 5, 7),
        (2, 20, 5, 7),
        (3, 16, 4, 4),
        (1, 37, 9, 5),
        (2, 1, 3, 3),
        (0, 2, 3, 3),
    ],
)
def test_images_are_turned_whatever_their_size(dtype, shape):
    """In whole squares, in squares that overlap, and smaller than a square."""
    layout = pytest.importorskip("tinytl_kernels.cpu.layout")
    x = drawn(shape, dtype, 1)[0]
    y = layout.channels_last(x)
    assert y.flags.c_contiguous
    assert np.array_equal(y, x.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((70, 8, 11, 13), (70, 8, 11, 13)),
        ((70, 8, 11, 13), (70, 8, 1, 1)),
        ((1, 8, 1, 1), (70, 8, 11, 13)),
        ((70, 8, 1, 13), (1, 8, 11, 1)),
        ((70, 8, 11, 13), (13,)),
        ((70, 8, 11, 13), ()),
    ],
)
def test_large_arrays_are_shared_by_threads(name, left, right, monkeypatch):
    monkeypatch.setattr("tinytl_kernels.threads._chosen", 3)
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal(left), rng.standard_normal(right)
    with use_kernels("cpu"):
        got = kernels_for(x).ufunc(name, x, z)
    np.testing.assert_array_equal(got, getattr(np, name)(x, z))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
@pytest.mark.parametrize("channels", [15, 16, 37])
@pytest.mark.parametrize("streamed", [0, 1 << 40])
def test_a_number_for_each_image_and_channel(
    name, channels, streamed, dtype, monkeypatch
):
    ufunc = pytest.importorskip("tinytl_kernels.cpu.ufunc")
    monkeypatch.setattr("tinytl_kernels.threads._chosen", 2)
    monkeypatch.setattr(ufunc, "STREAMED", streamed)
    x = ORDERS["last"](drawn((3, channels, 5, 7), dtype, 1)[0])
    wide = drawn((3, 2 * channels, 1, 1), dtype, 1)[0]
    numbers = wide[:, :channels], wide[:, ::-2], wide[:, channels - 1 :: -1]
    repeated = np.broadcast_to(wide[1:2, :channels], numbers[0].shape)
    for z in (*numbers, repeated, np.ascontiguousarray(wide[:, ::2])):
        for left, right in ((x, z), (z, x)):
            y = ufunc.ufunc(name, left, right)
            np.testing.assert_array_equal(y, getattr(np, name)(left, right))
            assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    y = ufunc.ufunc(name, x[:1], numbers[1][:1])  # a flat view that has gaps
    np.testing.assert_array_equal(y, getattr(np, name)(x[:1], numbers[1][:1]))


# -- sums over the pixels --------------------------------------------------------------

PIXELS = [(3, 32, 5, 7), (1, 16, 40, 37), (2, 48, 1, 1), (4, 5, 6, 3), (0, 16, 2, 2)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", PIXELS)
def test_sums_over_pixels(kernels, dtype, shape, order):
    """Against sums in float64, one number at a time."""
    x, z, weight = map(ORDERS[order], drawn(shape, dtype, 3))
    difference, squares = kernels.difference_squares(x, z)
    again, weighted = kernels.difference_squares(x, z, weight)
    assert np.array_equal(difference, x - z)
    assert np.array_equal(again, x - z)
    exact = np.zeros((3, *shape[:2]))
    for n, c, i, j in np.ndindex(shape):
        square = float(difference[n, c, i, j]) ** 2
        product = float(x[n, c, i, j]) * float(z[n, c, i, j])
        exact[:, n, c] += product, square, float(weight[n, c, i, j]) * square
    mixed = kernels.product_sums(x, np.ascontiguousarray(z))
    products = kernels.product_sums(x, z), mixed
    found = (*products, squares, weighted)
    for ours, theirs in zip(found, exact[[0, 0, 1, 2]].astype(dtype), strict=True):
        agree(ours, theirs, dtype, size=np.sqrt(x.size + 1) / 10)


@pytest.mark.parametrize("channels", [16, 5])
@pytest.mark.parametrize("order", ["first", "last"])
def test_sums_over_pixels_do_not_depend_on_threads_or_caches(
    dtype, order, channels, monkeypatch
):
    """The squares' sum is the product's, bit for bit; so is the sum of one image."""
    pixels = pytest.importorskip("tinytl_kernels.cpu.pixels")
    monkeypatch.setattr("tinytl_kernels.threads.SMALL", 0)
    shape = (7, channels, 61, 67) if COMPILED else (3, channels, 53, 53)
    x, z = map(ORDERS[order], drawn(shape, dtype, 2))
    found = []
    for threads, streamed in ((1, 1 << 40), (3, 0)):
        monkeypatch.setattr("tinytl_kernels.threads._chosen", threads)
        monkeypatch.setattr(pixels, "STREAMED", streamed)
        difference, squares = pixels.difference_squares(x, z)
        assert difference.strides == x.strides
        again = pixels.product_sums(difference, difference)
        once = pixels.difference_squares(x, z, ORDERS[order](np.ones_like(x)))[1]
        found.append([difference, squares, once, pixels.product_sums(x, z)])
        assert np.array_equal(squares, once)
        assert np.array_equal(squares, again)
    assert all(map(np.array_equal, *found))
    assert np.array_equal(pixels.product_sums(x[2:3], z[2:3]), found[0][3][2:3])


@pytest.mark.parametrize("order", ["first", "last"])
def test_sums_over_many_pixels_keep_their_digits(order):
    """In float32, no worse than NumPy's sum of each map by itself."""
    pixels = pytest.importorskip("tinytl_kernels.cpu.pixels")
    x = ORDERS[order](drawn((2, 16, 128, 128), np.float32, 1)[0] + np.float32(3))
    exact = np.square(x.astype(np.float64)).sum((2, 3))
    ours, theirs = pixels.product_sums(x, x), np.einsum("nchw,nchw->nc", x, x)
    error, allowed = (np.abs(a / exact - 1).max() for a in (ours, theirs))
    assert error <= max(allowed, 2e-7)
    if order == "last":
        assert error < 2e-7


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("order", ["first", "last"])
def test_sums_over_pixels_of_what_is_not_finite(kernels, dtype, order):
    x, z = drawn((2, 16, 3, 3), dtype, 2)
    x[0, 0, 0, 0], x[0, 1, 1, 1], z[1, 2, 2, 2] = np.nan, np.inf, -np.inf
    x, z = map(ORDERS[order], (x, z))
    agree(kernels.product_sums(x, z), plain.product_sums(x, z), dtype, 10)
    for ours, theirs in zip(
        kernels.difference_squares(x, z), plain.difference_squares(x, z), strict=True
    ):
        agree(ours, theirs, dtype, 10)


# -- joining ---------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [0, 1 << 40])
@pytest.mark.parametrize("axis", [0, 1, 3])
@pytest.mark.parametrize("widths", [(16, 32, 64), (37, 8, 19), (2, 40), (0, 16), (21,)])
def test_arrays_one_after_the_other(dtype, widths, axis, streamed, monkeypatch):
    """Number by number, also where rows are no whole vectors, or shorter than one."""
    join = pytest.importorskip("tinytl_kernels.cpu.join")
    monkeypatch.setattr(join, "SMALL", 0)
    monkeypatch.setattr(join, "STREAMED", streamed)
    monkeypatch.setattr("tinytl_kernels.threads.SMALL", 0)
    monkeypatch.setattr("tinytl_kernels.threads._chosen", 3)
    shapes = [(*(6, 5, 2)[:axis], n, *(6, 5, 2)[axis:]) for n in widths]
    arrays = [drawn(shape, dtype, 1, seed=i)[0] for i, shape in enumerate(shapes)]
    for given in (arrays, [ORDERS["turned"](x) for x in arrays]):
        y = join.concatenate(given, axis)
        assert y.dtype == dtype
        parts = np.split(y, np.cumsum(widths)[:-1], axis)
        for part, x in zip(parts, given, strict=True):
            assert np.array_equal(part, x)


def test_arrays_of_different_dtypes_become_the_wider_one(kernels, monkeypatch):
    join = pytest.importorskip("tinytl_kernels.cpu.join")
    monkeypatch.setattr(join, "SMALL", 0)
    x, z = np.ones((3, 16), np.float32), np.ones((3, 16))
    assert kernels.concatenate([x, z], 1).dtype == np.float64
    assert kernels.concatenate([x > 0, x > 1], 1).dtype == bool


def test_large_images_are_joined_in_their_order_in_memory(monkeypatch):
    """As F.cat finds them: channels last stays so, and gradients are their parts."""
    tinytl = pytest.importorskip("tinytl")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 33, 31, c)).transpose(0, 3, 1, 2) for c in (16, 40)]
    tensors = [tinytl.Tensor(a, requires_grad=True) for a in arrays]
    y = tinytl.functional.cat(tensors, 1)
    assert np.array_equal(y.data, np.concatenate(arrays, 1))
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    g = rng.normal(size=y.shape)
    for part, own in zip(
        tinytl.grad([y], tensors, [tinytl.Tensor(g)]),
        (g[:, :16], g[:, 16:]),
        strict=True,
    ):
        assert np.array_equal(part.data, own)
