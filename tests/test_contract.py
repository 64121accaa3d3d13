"""One contract for all operations: every row of the table, every sample, every kernel.

- Value, dtype, shape, first and second derivative (third where the operation is worth
  it) equal PyTorch's in float64, to 1e-10 of the array's largest number.
- The value equals the loops that define the operation.
- Derivatives of every order equal differences of the order before.
- In float32, the error against float64 is at most ten times PyTorch's own.
"""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as T
from checker import check_grads
from operations import ROWS
from sets import SETS, sets_for
from twins import Leaf, Ours, Theirs, compare, convert, distance, leaves, tower

import tinytl
import tinytl.functional as F

CASES = [
    pytest.param(row, sample, kernels, id=f"{row.name}-{i}-{kernels}")
    for row in ROWS
    for i, sample in enumerate(row.samples)
    for kernels in sets_for(row.name)
]


def each(cases=CASES):
    """Run the test with each of these rows, samples and kernel sets."""
    names = "row", "sample", "kernel_set"
    return pytest.mark.parametrize(names, cases, indirect=["kernel_set"])


def test_the_table_holds_every_operation():
    """A function that is added without a row is a function that is not tested."""
    elsewhere = {"getitem"}  # called by the operator
    public = {
        name
        for name in F.__all__
        if callable(getattr(F, name)) and not name.startswith("_")
    }
    assert public - {row.name for row in ROWS} <= elsewhere


@each()
def test_equals_torch(row, sample, kernel_set):
    for theirs, orders in row.references(sample):
        expected = tower(Theirs, theirs, sample.args, sample.kwargs, orders)
        actual = tower(Ours, row.ours, sample.args, sample.kwargs, orders)
        assert compare(actual, expected)


@each([c for c in CASES if c.values[0].loops is not None])
def test_equals_loops(row, sample, kernel_set):
    args = convert(sample.args, lambda leaf: leaf.array)
    kwargs = convert(sample.kwargs, lambda leaf: leaf.array)
    expected = row.loops(*args, **kwargs)
    if expected is None:
        return
    expected = expected if isinstance(expected, tuple) else (expected,)
    actual = tower(Ours, row.ours, sample.args, sample.kwargs, orders=0)
    for (what, a), b in zip(actual, expected, strict=False):
        assert a.shape == np.shape(b), what
        assert distance(a, np.asarray(b)) <= 1e-12, f"{what}:\n{a}\n{b}"


def test_most_samples_have_loops():
    """The test above may pass over a sample, but not over many."""
    defined = [
        row.loops(
            *convert(sample.args, lambda leaf: leaf.array),
            **convert(sample.kwargs, lambda leaf: leaf.array),
        )
        is not None
        for row in ROWS
        for sample in row.samples
        if row.loops
    ]
    assert sum(defined) >= 150
    assert sum(defined) >= 0.7 * len(defined)


@each(
    [
        case
        for case in CASES
        if case.values[2] == SETS[-1]  # the others are held to PyTorch and to it
        and case.values[1].smooth
        and any(leaf.requires_grad for leaf in leaves(list(case.values[1].args)))
    ]
)
def test_equals_differences(row, sample, kernel_set):
    """Of floating arguments by which one can differentiate, with the others fixed."""
    found = leaves([list(sample.args), sample.kwargs])
    inputs = [leaf.array for leaf in found if leaf.requires_grad]

    def function(*tensors):
        given = iter(tensors)

        def pick(leaf):
            return next(given) if leaf.requires_grad else tinytl.Tensor(leaf.array)

        return row.ours(
            *convert(list(sample.args), pick), **convert(sample.kwargs, pick)
        )

    check_grads(function, inputs, order=row.orders)


def single(leaf):
    """A Leaf in float32; integers stay what they are."""
    if leaf.array.dtype != np.float64:
        return leaf
    return Leaf(leaf.array.astype(np.float32), leaf.requires_grad)


def double(leaf):
    """The same numbers in float64."""
    if leaf.array.dtype != np.float32:
        return leaf
    return Leaf(leaf.array.astype(np.float64), leaf.requires_grad)


def assert_single(ours, theirs, args, kwargs, orders, factor=10):
    """float32 stays float32, and is as good as PyTorch's float32.

    Both are held against PyTorch in float64 on the same numbers. Ours may be `factor`
    times as far from it as PyTorch's, plus eight units in the last place.
    """
    given = convert([list(args), kwargs], single)
    exact = tower(Theirs, theirs, *convert(given, double), orders)
    torchs = tower(Theirs, theirs, *given, orders)
    found = tower(Ours, ours, *given, orders)
    for (what, a), (_, b), (_, c) in zip(found, torchs, exact, strict=True):
        assert a.dtype == b.dtype, f"{what} is {a.dtype}, torch's is {b.dtype}"
        allowed = factor * distance(b, c) + 8 * np.finfo(np.float32).eps
        error = distance(a, c)
        assert error <= allowed, f"{what}: error {error:.2e} above {allowed:.2e}"


@each()
def test_single_precision(row, sample, kernel_set):
    for theirs, orders in row.references(sample, orders=2):
        assert_single(row.ours, theirs, sample.args, sample.kwargs, orders)


FAR = np.array([-80, -50, -30, -17, -3, -1e-6, -1e-20, 0, 1e-20, 1e-6, 3, 17, 50, 100])


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "tanh", "hardswish"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_values_keep_their_digits(name, dtype, kernel_set):
    """Number by number: an error relative to the largest would hide the tails.

    PyTorch's float64 value is the reference; below 1e-37 float32 has fewer digits.
    """
    x = FAR.astype(dtype)
    expected = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    exact = expected(torch.tensor(x.astype(np.float64))).numpy()
    tolerance = 16 * np.finfo(dtype).eps
    actual = getattr(F, name)(tinytl.Tensor(x)).numpy()
    np.testing.assert_allclose(actual, exact, rtol=tolerance, atol=1e-37)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_tails_of_derivatives(name, dtype, kernel_set):
    """Far to the left, value and derivatives of both are exp(x) to all digits."""
    x = tinytl.Tensor(np.array([-80.0, -50, -40], dtype), requires_grad=True)
    y = getattr(F, name)(x)
    for _ in range(4):
        np.testing.assert_allclose(
            y.numpy(), np.exp(x.numpy()), rtol=64 * np.finfo(dtype).eps
        )
        (y,) = tinytl.grad(F.sum(y), x, create_graph=True)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "tanh", "hardswish", "relu6"])
def test_nothing_overflows(name, kernel_set):
    """No infinity and no NaN at +-100 and +-1000 in float32, to order 3."""
    far = np.array([-1000, -100, 100, 1000], np.float32)
    x = tinytl.Tensor(far, requires_grad=True)
    y = getattr(F, name)(x)
    for _ in range(4):
        assert np.isfinite(y.numpy()).all()
        if not y.requires_grad:
            break
        (y,) = tinytl.grad(F.sum(y), x, create_graph=True, allow_unused=True)
        if y is None:
            break


@pytest.mark.parametrize(
    ("name", "points", "slopes"),
    [
        ("relu", [0.0], [0]),
        ("relu6", [0.0, 6.0], [0, 0]),
        ("abs", [0.0], [0]),
        ("hardsigmoid", [-3.0, 3.0], [0, 0]),
        ("leaky_relu", [0.0], [0.01]),
        ("step", [-1.0, 0.0, 1.0], [0, 0, 0]),
        ("softplus", [20.0, 20.001], [1 / (1 + np.exp(-20.0)), 1]),
    ],
)
def test_conventions_at_kinks(name, points, slopes):
    """The derivative at a kink is a convention; written out here, number by number."""
    x = tinytl.Tensor(np.array(points), requires_grad=True)
    y = getattr(F, name)(x)
    slope = np.zeros(len(points))
    if y.requires_grad:
        slope = tinytl.grad(F.sum(y), x)[0].numpy()
    np.testing.assert_allclose(slope, slopes, rtol=1e-15)


# PyTorch's own, from its documentation: these functions are compiled and do not tell.
DOCUMENTED = {
    "conv2d": "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
    "avg_pool2d": "input, kernel_size, stride=None, padding=0, ceil_mode=False, "
    "count_include_pad=True, divisor_override=None",
    "max_pool2d": "input, kernel_size, stride=None, padding=0, dilation=1, "
    "ceil_mode=False, return_indices=False",
    "linear": "input, weight, bias=None",
    "softplus": "input, beta=1.0, threshold=20.0",
    "pad": "input, pad, mode='constant', value=None",
    "prelu": "input, weight",
}


@pytest.mark.parametrize("name", [row.name for row in ROWS if hasattr(T, row.name)])
def test_arguments_are_torchs(name):
    """Names, order and defaults; not what torch calls deprecated, nor writing in place.

    What stands after something deprecated in torch is keyword-only here: its position
    would be another. A random generator is an argument of ours.
    """
    left_out = {"size_average", "reduce", "_stacklevel", "inplace", "out", "generator"}

    def arguments(parameters):
        return [
            (p.name, () if p.default is p.empty else p.default)
            for p in parameters
            if p.name not in left_out
        ]

    if name in DOCUMENTED:
        theirs = inspect.signature(eval(f"lambda {DOCUMENTED[name]}: 0"))
    else:
        theirs = inspect.signature(getattr(T, name))
    ours = inspect.signature(getattr(F, name))
    expected = arguments(theirs.parameters.values())
    assert arguments(ours.parameters.values()) == expected
