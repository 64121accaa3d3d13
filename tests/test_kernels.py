"""Kernel sets: which one serves, and that each equals the plain one.

Run with JIT as users have it, and once more with NUMBA_DISABLE_JIT=1, where the
compiled loops are Python and their coverage can be seen.
"""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
import tinytl_kernels
from hypothesis import given
from hypothesis import strategies as st
from tinytl_kernels import available, current, kernels_for, plain, use_kernels
from tinytl_kernels.shapes import pair, window

OTHERS = [name for name in available() if name != "plain"]


def functions(module):
    """What a set offers: its own functions and those it took from the plain set."""
    return {
        name: f
        for name, f in vars(module).items()
        if inspect.isfunction(f) and not name.startswith("_")
    }


@pytest.mark.parametrize("name", OTHERS)
def test_a_set_offers_what_operations_call_with_the_same_arguments(name):
    with use_kernels(name):
        module = kernels_for(np.ones(1))
    for kernel in module.__all__:
        ours = inspect.signature(functions(module)[kernel])
        assert ours == inspect.signature(functions(plain)[kernel])


def test_choosing_holds_until_the_next_choice_or_the_end_of_the_block():
    before = current()
    with use_kernels("plain"):
        assert current() == "plain"
        assert kernels_for(np.ones(1)) is plain
        with use_kernels(None):
            assert current() == (os.environ.get("TINYTL_KERNELS") or available()[-1])
        assert current() == "plain"
    assert current() == before


def test_exact_differs_from_cpu_in_its_convolutions_alone():
    """Which lets tests of other operations leave it out (sets.py)."""
    cpu = pytest.importorskip("tinytl_kernels.cpu")
    from tinytl_kernels import exact

    differ = {k for k in cpu.__all__ if getattr(exact, k) is not getattr(cpu, k)}
    assert differ == {"conv", "conv_dx", "conv_dw"}


def test_the_environment_chooses_where_nothing_else_did():
    code = "import tinytl_kernels; print(tinytl_kernels.current())"
    env = {**os.environ, "TINYTL_KERNELS": "plain"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "plain"


def test_unknown_sets_and_foreign_arrays_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="no kernel set is called 'fast'"):
        use_kernels("fast")
    with pytest.raises(TypeError, match="NumPy arrays, got list"):
        kernels_for([1.0])
    monkeypatch.setattr(tinytl_kernels, "available", lambda: ("plain",))
    with pytest.raises(ValueError, match="'cpu' needs numba: pip install"):
        use_kernels("cpu")


def test_sizes_are_integers_or_pairs_of_at_least_so_much():
    assert pair("f", "stride", 2, 1) == pair("f", "stride", (2,), 1) == (2, 2)
    assert pair("f", "stride", np.int64(3), 1) == (3, 3)
    for wrong in (1.5, "ab", (1, 2, 3), None, True):
        with pytest.raises(TypeError, match="f: stride must be an integer or a pair"):
            pair("f", "stride", wrong, 1)
    with pytest.raises(ValueError, match="f: stride must be at least 1, got 0"):
        pair("f", "stride", 0, 1)


def test_a_kernel_larger_than_its_padded_input_is_refused():
    with pytest.raises(
        ValueError, match=r"kernel \(5, 5\) with dilation \(1, 1\) spans"
    ):
        window("conv2d", (4, 9), 5)
    assert window("conv2d", (4, 9), 5, padding=1).out == (2, 7)


@st.composite
def pools(draw):
    """An image with ties, NaN and infinities, and a window that fits it."""
    u, v = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    d, s = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    p = draw(st.integers(0, min(u, v) // 2))
    h, w = draw(st.integers(d * u + 1, 9)), draw(st.integers(d * v + 1, 9))
    view = window("f", (h, w), (u, v), s, p, d, draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(-2, 3, (2, 2, h, w)).astype(draw(st.sampled_from(["f4", "f8"])))
    x[rng.random(x.shape) < 0.05] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0]))
    return x, view


@pytest.mark.parametrize("name", OTHERS)
@given(case=pools())
def test_max_pooling_and_its_scatter_equal_the_plain_ones(name, case):
    x, view = case
    with use_kernels(name):
        kernels = kernels_for(x)
    for order in ((0, 1, 2, 3), (0, 2, 3, 1)):
        back = np.argsort(order)
        seen = np.ascontiguousarray(x.transpose(order)).transpose(back)
        (y, index), (best, place) = (k.max_pool(seen, view) for k in (kernels, plain))
        assert np.array_equal(y, best, equal_nan=True)
        assert np.array_equal(index, place)
        assert y.dtype == x.dtype
        assert index.dtype == place.dtype == np.int32
        g = np.random.default_rng(0).standard_normal(index.shape).astype(x.dtype)
        ours, theirs = (k.scatter(g, index, view) for k in (kernels, plain))
        assert ours.dtype == theirs.dtype == x.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
        gathered = (k.gather(seen, index) for k in (kernels, plain))
        assert np.array_equal(*gathered, equal_nan=True)


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeping_by_bits_is_selecting(name, dtype):
    """Also of infinities, NaN and -0, of views in any order, of single numbers."""
    x = np.array([[np.inf, -np.inf, np.nan, -0.0, 1.5]] * 2, dtype)
    with use_kernels(name):
        keep = kernels_for(x).keep
    masks = ([[1, 0, 1, 0, 1]], [[0], [1]], True, False)
    for mask in (np.array(m, bool) for m in masks):
        for values in (x, x[::-1, ::2].T.copy().T, np.asfortranarray(x)):
            m = (
                mask
                if mask.ndim == 0 or mask.shape[1] == 1
                else mask[:, : values.shape[1]]
            )
            kept = keep(values, m)
            assert kept.dtype == dtype
            assert np.array_equal(kept, np.where(m, values, dtype(0)), equal_nan=True)
    assert keep(np.asarray(dtype(3)), np.asarray(False)) == 0
