"""Compiled products of matrices against NumPy's, in every order of memory."""

import sys

import numpy as np
import pytest

pytest.importorskip("numba")

from tinytl_kernels import kernels_for, threads, use_kernels
from tinytl_kernels.cpu.matmul_loops import DEPTH
from tinytl_kernels.cpu.product import ROWS

SIZES = [
    *[(128, 400, 120), (ROWS, 300, 17), (ROWS + 1, 70, 500), (33, 129, 65)],
    *[(10, 128, 512), (1, 500, 600), (600, 500, 1), (1, 400, 120), (120, 400, 1)],
    *[(1, 11_000, 20), (20, 11_000, 1), (120, 1, 400)],
    *[(33, 70, columns) for columns in (9, 12, 20, 24, 33, 40, 56, 72)],  # panels' ends
    *[(ROWS * 4 + 1, 2 * DEPTH + 1, columns) for columns in (3, 9, 33, 72)],  # in parts
    *[(DEPTH, DEPTH, DEPTH), (40, 2 * DEPTH, 1001), (1001, DEPTH + 1, 40)],
]


@pytest.fixture
def matmul(monkeypatch):
    """The compiled form, for small products too."""
    with use_kernels("cpu"):
        module = sys.modules["tinytl_kernels.cpu.matmul"]
        monkeypatch.setattr(module, "SMALL", 0)
        yield module.matmul


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ["rows", "columns", "neither"])
def test_products_equal_numpy(size, dtype, order, matmul):
    m, k, columns = size
    rng = np.random.default_rng(0)
    x = rng.standard_normal((m, k)).astype(dtype)
    z = rng.standard_normal((k, columns)).astype(dtype)
    wanted = x.astype(float) @ z.astype(float)
    if order == "columns":
        x, z = np.asfortranarray(x), np.asfortranarray(z)
    if order == "neither":
        x, z = np.repeat(x, 2, axis=1)[:, ::2], np.repeat(z, 2, axis=0)[::2]
    got = matmul(x, z)
    assert got.dtype == dtype
    tolerance = 1e-13 if dtype == "float64" else 1e-6
    assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max() * k**0.5


@pytest.mark.parametrize("size", [(33, 2 * DEPTH + 1, 105), (105, 2 * DEPTH + 1, 33)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_neighbours_do_not_show(size, dtype, matmul, monkeypatch):
    m, k, columns = size
    rng = np.random.default_rng(0)
    x = rng.standard_normal((m, k)).astype(dtype)
    z = rng.standard_normal((k, columns)).astype(dtype)
    monkeypatch.setattr(threads, "SMALL", 0)
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "_chosen", count)
        found.append(matmul(x, z))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    x[0, 3], z[3, 0], z[4, -1] = np.inf, np.nan, -np.inf  # each belongs to its line
    got = matmul(x, z)
    assert np.isfinite(got[1:, 1:-1]).all()
    assert np.isnan(got[:, 0]).all()
    assert np.isinf(got[0, 1:-1]).all()
    assert np.isinf(got[1:, -1]).all()


@pytest.mark.parametrize("size", [(1, 400, 120), (120, 400, 1), (10, 128, 512)])
@pytest.mark.parametrize("order", ["rows", "columns"])
def test_blas_is_given_nothing_that_wakes_its_threads(size, order):
    class Watched(np.ndarray):
        """An array whose products raise."""

        def __matmul__(self, other):
            raise AssertionError("a product of BLAS")

    m, k, columns = size
    x, z = np.ones((m, k), "f4", order="C"), np.ones((k, columns), "f4")
    if order == "columns":
        x, z = np.asfortranarray(x), np.asfortranarray(z)
    with use_kernels("cpu"):
        module = sys.modules["tinytl_kernels.cpu.matmul"]
        got = module.matmul(x.view(Watched), z.view(Watched))
    np.testing.assert_array_equal(got, np.full((m, columns), k))


def test_a_long_sum_rounds_no_worse_than_that_of_blas():
    """In parts, which are then added: not one number after another."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 20_000)).astype("f4")
    z = rng.standard_normal((20_000, 24)).astype("f4")
    true = x.astype(float) @ z.astype(float)
    with use_kernels("cpu"):
        ours = kernels_for(x).matmul(x, z)
    error, blas = (np.sqrt(np.square(y - true).mean()) for y in (ours, x @ z))
    assert 0 < error <= 2 * blas


STACKS = [
    ((3, 40, 70), (3, 70, 33)),
    ((2, 1, 40, 70), (3, 70, 33)),  # each stack repeats for the other
    ((40, 70), (3, 70, 33)),
    ((3, 5, 7), (3, 7, 4)),
    ((1, 4, 5, 7), (3, 1, 7, 4)),
    ((3, 5, 1), (3, 1, 4)),
    ((0, 5, 7), (0, 7, 4)),
    ((3, 5, 0), (3, 0, 4)),
]


@pytest.mark.parametrize("least", [0, 1 << 40])
@pytest.mark.parametrize(("left", "right"), STACKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stacks_of_matrices(left, right, dtype, least, matmul, monkeypatch):
    """Large ones one by one, small ones shared by threads."""
    module = sys.modules["tinytl_kernels.cpu.matmul"]
    monkeypatch.setattr(module, "SMALL", least)
    monkeypatch.setattr(threads, "SMALL", 0)
    monkeypatch.setattr(threads, "_chosen", 2)
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal(shape).astype(dtype) for shape in (left, right))
    wanted = x.astype(float) @ z.astype(float)
    for turn in (False, True):
        if turn:
            x, z = (np.swapaxes(np.swapaxes(a, -1, -2).copy(), -1, -2) for a in (x, z))
        got = matmul(x, z)
        assert got.dtype == dtype
        tolerance = 1e-12 if dtype == "float64" else 3e-5
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        *[((3, 4), (4, 5)), ((0, 4), (4, 5)), ((9, 0), (0, 5))],
        *[((3, 1), (1, 5)), ((2, 3, 1), (1, 5)), ((0, 1), (1, 5))],  # each times each
    ],
)
def test_what_is_small_is_left_to_numpy(left, right, matmul):
    x, z = np.arange(1.0, 1 + np.prod(left)).reshape(left), np.ones(right) / 7
    np.testing.assert_array_equal(matmul(x, z), x @ z)


def test_no_product_where_only_one_side_has_depth_one(matmul):
    with pytest.raises(ValueError, match="matmul"):
        matmul(np.ones((5, 1)), np.ones((5, 4)))
