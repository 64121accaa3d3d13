"""Stores past the caches (cpu/simd.py) put the same numbers to the same places."""

import numpy as np
import pytest

pytest.importorskip("numba")

import numba
from tinytl_kernels.cpu.compiled import UNCOUNTED
from tinytl_kernels.cpu.simd import arrive, lanes, load, stream
from tinytl_kernels.memory import empty
from tinytl_kernels.threads import run


@numba.njit(**{**UNCOUNTED, "cache": False})  # a kept one would outlive its stores
def _copy(first, last, y, x, start, one):  # type: ignore[no-untyped-def]
    for k in range(first, last):
        stream(y, start + k * one, load(x, k * one))
    arrive()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [0, 1, 3])
def test_streamed_numbers_arrive(dtype, start):
    """Where vectors begin at a line and where not; the next ones are left alone."""
    one, count = lanes(dtype), 1 << 12
    x = np.random.default_rng(0).standard_normal(count * one).astype(dtype)
    y = empty((len(x) + start + 5,), dtype)
    y[:] = -1
    run(_copy, count, y, x, start, one)
    assert np.array_equal(y[start : start + len(x)], x)
    assert set(y[:start]) | set(y[start + len(x) :]) == {-1}
