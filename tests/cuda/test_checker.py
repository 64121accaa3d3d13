"""The tests of the kernels can fail: planted faults are found, each by its name.

First small kernels, each with one fault that real devices answer with wrong numbers,
now and then. Then the kernels themselves with one line changed.
"""

import inspect
import re

import cupy
import numpy as np
import pytest
import simulator
from simulator import Barrier, Precision, Race
from tinytl_kernels import plain
from tinytl_kernels.cuda import (
    columns,
    geometry,
    launch,
    losses,
    narrow,
    norm,
    pool,
    product,
)
from tinytl_kernels.cuda.launch import cuda
from tinytl_kernels.line import Line
from tinytl_kernels.shapes import window


def run(function, *arrays, blocks=2, threads=4):
    """Run a function on a grid; the arrays afterwards."""
    given = [cupy.asarray(a) for a in arrays]
    simulator.run(cuda.jit(function), (blocks,), (threads,), *given)
    return [a.get() for a in given]


X = np.arange(8, dtype=np.float32)


# -- small kernels ---------------------------------------------------------------------


def reversed_in_shared_memory(x, y):
    tile = cuda.shared.array(4, x.dtype)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = x[i]
    cuda.syncthreads()
    y[i] = tile[3 - t]


def without_barrier(x, y):
    tile = cuda.shared.array(4, x.dtype)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = x[i]
    y[i] = tile[3 - t]


def shared_memory_used_again(x, y):
    tile = cuda.shared.array(4, x.dtype)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    for k in range(2):
        tile[t] = x[i] + k
        cuda.syncthreads()
        y[i] = tile[3 - t]


def two_threads_add(x, y):
    y[0] += x[cuda.grid(1)]


def blocks_share(x, y):
    y[cuda.threadIdx.x] = x[cuda.grid(1)]


def barrier_for_some(x, y):
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()
    y[cuda.grid(1)] = x[cuda.grid(1)]


def different_barriers(x, y):
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


def one_too_far(x, y):
    y[cuda.grid(1)] = x[cuda.grid(1) + 1]


def before_the_first(x, y):
    y[cuda.grid(1)] = x[cuda.grid(1) - 1]


def wrong_dimensions(x, y):
    y[cuda.grid(1)] = x[cuda.grid(1), 0]


def float64_inside(x, y):
    y[cuda.grid(1)] = np.float64(0.1) * x[cuda.grid(1)]


def nothing_written(x, y):
    tile = cuda.shared.array(4, x.dtype)
    y[cuda.grid(1)] = tile[cuda.threadIdx.x]


@pytest.mark.parametrize("order", ["up", "down", 3])
def test_what_is_right_passes(monkeypatch, order):
    monkeypatch.setattr(simulator.State, "order", order)
    y = run(reversed_in_shared_memory, X, 0 * X)[1]
    np.testing.assert_array_equal(y, [3, 2, 1, 0, 7, 6, 5, 4])


@pytest.mark.parametrize("order", ["up", "down", 3])
@pytest.mark.parametrize(
    ("function", "error"),
    [
        (without_barrier, Race),
        (shared_memory_used_again, Race),
        (two_threads_add, Race),
        (blocks_share, Race),
        (barrier_for_some, Barrier),
        (different_barriers, Barrier),
        (one_too_far, IndexError),
        (before_the_first, IndexError),
        (wrong_dimensions, IndexError),
        (float64_inside, Precision),
    ],
)
def test_what_is_wrong_is_found(monkeypatch, function, error, order):
    monkeypatch.setattr(simulator.State, "order", order)
    with pytest.raises(error):
        run(function, X, 0 * X)


def test_shared_memory_begins_as_nothing():
    """Also in the second block, where the first one has left its values."""
    assert np.isnan(run(nothing_written, X, 0 * X)[1]).all()


def test_arguments_of_kernels_are_checked():
    gaps = cupy.asarray(np.zeros((4, 4), np.float32))[:, ::2]
    for wrong in (np.zeros(3), 1.5, 2, gaps):
        with pytest.raises(AssertionError):
            simulator.on_host(wrong)


# -- the kernels with one line changed -------------------------------------------------

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((2, 2, 5, 7)).astype(np.float32)
VIEW = window("f", (5, 7), 3, 2, (1, 0))  # rows reach beyond, columns end before
FILTERS = RNG.standard_normal((9, 2, 3, 3)).astype(np.float32)
GY = RNG.standard_normal((2, 9, *VIEW.out)).astype(np.float32)


def there(array):
    return cupy.asarray(np.ascontiguousarray(array))


def check(actual, expected):
    np.testing.assert_allclose(actual.get(), expected, atol=1e-4)


def convolves():
    y = cupy.asarray(0 * GY)
    product.conv(there(IMAGES), there(FILTERS), y, VIEW, 1)
    check(y, plain.conv(IMAGES, FILTERS, VIEW, 1))
    gx = cupy.asarray(0 * IMAGES)
    product.conv_dx(there(GY), there(FILTERS), gx, VIEW, 1)
    check(gx, plain.conv_dx(GY, FILTERS, VIEW, 1))
    gw = product.conv_dw(there(IMAGES), there(GY), VIEW, 1)
    check(gw, plain.conv_dw(IMAGES, GY, VIEW, 1))


def convolves_by_columns():
    check(
        columns.conv(there(IMAGES), there(FILTERS), VIEW, 1),
        plain.conv(IMAGES, FILTERS, VIEW, 1),
    )
    check(
        columns.conv_dx(there(GY), there(FILTERS), VIEW, 1),
        plain.conv_dx(GY, FILTERS, VIEW, 1),
    )


def convolves_by_channel():
    w, gy = FILTERS[:4, :1], GY[:, :4]
    y, gx = cupy.asarray(0 * gy), cupy.asarray(0 * IMAGES)
    narrow.conv(there(IMAGES), there(w), y, VIEW, 2)
    check(y, plain.conv(IMAGES, w, VIEW, 2))
    narrow.conv_dx(there(gy), there(w), gx, VIEW, 2)
    check(gx, plain.conv_dx(gy, w, VIEW, 2))
    gw = narrow.conv_dw(there(IMAGES), there(gy), VIEW, 2)
    check(gw, plain.conv_dw(IMAGES, gy, VIEW, 2))


def pools():
    ties = np.round(IMAGES)
    y, index = pool.max_pool(there(ties), VIEW)
    check(y, plain.max_pool(ties, VIEW)[0])
    check(index, plain.max_pool(ties, VIEW)[1])
    g = GY[:, :2]
    check(
        pool.scatter(there(g), index, VIEW),
        plain.scatter(g, index.get(), VIEW),
    )
    check(pool.sum_pool(there(IMAGES), VIEW), plain.sum_pool(IMAGES, VIEW))
    check(pool.sum_pool_dx(there(g), VIEW), plain.sum_pool_dx(g, VIEW))


def sums():
    mean, var = norm.moments(there(IMAGES))
    check(mean, plain.moments(IMAGES)[0])
    check(var, plain.moments(IMAGES)[1])
    rows = np.float32([[0.1, 0.2], [1, -1], [0.3, -0.3]])
    check(
        norm.line_sums(there(IMAGES), there(IMAGES), Line(*map(there, rows), True)),
        plain.line_sums(IMAGES, IMAGES, Line(*rows, True)),
    )


def sums_and_pools():
    sums()
    pools()


def all_of_them():
    pools()
    convolves_by_columns()


def normalises():
    x = 200 * IMAGES.reshape(4, -1)
    e = np.exp(x - x.max(1, keepdims=True))
    check(losses.softmax(there(x), 1), e / e.sum(1, keepdims=True))


USES = {
    product: convolves,
    columns: convolves_by_columns,
    narrow: convolves_by_channel,
    pool: pools,
    norm: sums,
    losses: normalises,
    launch: sums_and_pools,
    geometry: all_of_them,
}


def mutants():
    """(module, text, number of its occurrence, what stands there instead)."""
    for module in (product, losses, launch):
        count = inspect.getsource(module).count("cuda.syncthreads()")
        yield from ((module, "cuda.syncthreads()", k, "pass") for k in range(count))
    for module, old, new in [
        (product, "k + tx < end", "k + tx <= end"),
        (product, "row + m * TILE < size.rows", "row + m * TILE <= size.rows"),
        (product, "k + ty < end", "k + ty <= end"),
        (product, "c < size.columns", "c <= size.columns"),
        (geometry, "h >= g.H", "h > g.H"),
        (geometry, "h < 0", "h < -1"),
        (geometry, "u * g.dh", "(u + 1) * g.dh"),
        (columns, "i < 0", "i < -1"),
        (columns, "j >= 0", "True"),
        (narrow, "h >= g.H", "h > g.H"),
        (narrow, "f // each", "f"),
        (narrow, "c // width * each", "c"),
        (narrow, "cuda.threadIdx.x == 0", "True"),
        (pool, "value > best", "value >= best"),
        (pool, "h < 0", "h < -1"),
        (pool, "index[plane, p] == pixel", "True"),
        (pool, "g.ph, u * g.dh", "g.pw, u * g.dh"),
        (pool, "j >= 0 and", "j >= -1 and"),
        (norm, "cuda.threadIdx.x == 0", "True"),
        (norm, "away * away", "away"),
        (losses, "other > shared[t]", "other < shared[t]"),
        (losses, "total += math.exp", "total = math.exp"),
        (geometry, "start % stride != 0", "False"),
        (geometry, "start // stride >= count", "start // stride > count"),
        (launch, "half > 0", "half > 1"),
        (launch, "t < half", "t <= half"),
    ]:
        yield module, old, 0, new


@pytest.mark.parametrize(
    ("module", "old", "which", "new"),
    [
        pytest.param(*m, id=f"{m[0].__name__.split('.')[-1]}: {m[1]} {m[2]}: {m[3]}")
        for m in mutants()
    ],
)
def test_a_changed_line_is_found(monkeypatch, module, old, which, new):
    source = inspect.getsource(module)
    at = [m.start() for m in re.finditer(re.escape(old), source)][which]
    changed = source[:at] + new + source[at + len(old) :]
    monkeypatch.setattr(launch, "KERNELS", {})
    if module in (geometry, launch):  # one function of the device, where it is used
        first = source.rindex("@device", 0, at)
        name = re.search(r"def (\w+)", source[first:]).group(1)
        text = changed[first:].split("\n\n\n")[0]
        for user in (columns, norm, pool):
            if name in vars(user):
                monkeypatch.setattr(user, name, None)
                for needed in ("device", "Any", "Array", "Geometry"):
                    known = getattr(geometry, needed)
                    monkeypatch.setattr(user, needed, known, raising=False)
                exec(text, vars(user))
    else:
        space = {"__name__": module.__name__, "__package__": module.__package__}
        exec(compile(changed, "<changed>", "exec"), space)
        for name, thing in space.items():
            if not name.startswith("__") and name in vars(module):
                monkeypatch.setattr(module, name, thing)
    with pytest.raises((AssertionError, IndexError, OverflowError)):
        USES[module]()


def test_unchanged_they_pass():
    for use in USES.values():
        use()
