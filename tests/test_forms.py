"""The contract of test_contract.py where its small arrays do not come.

The compiled set leaves small arrays to NumPy, and some of its forms want many channels
or long rows. Here it computes everything itself, with two threads, on the table's
samples and on wider ones, each of which must reach the forms that it is there for.
"""

import importlib

import numpy as np
import pytest
from operations import ROWS
from test_contract import assert_single, single
from twins import Leaf, Ours, Theirs, compare, convert, tower

pytest.importorskip("numba")

from tinytl_kernels import threads, use_kernels

import tinytl.functional as F

LIMITS = {
    "tinytl_kernels.cpu": """elementwise.FEW ufunc.FEW ufunc.TOGETHER join.SMALL
        losses.SMALL matmul.SMALL matmul.VECTOR norm.SMALL step.SMALL""",
    "tinytl.functional": "basic.LARGE reduce.LARGE",
}
WINOGRAD = 40  # how often PyTorch's error in float32 ours may be there; 10 elsewhere


def drawn(*shape, order="C"):
    x = np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape)
    if order == "last":
        return Leaf(np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    return Leaf(x)


def conv(x, w, **kwargs):
    return "conv2d", (drawn(*x), drawn(*w), drawn(w[0])), kwargs


def reached(form):
    """The names of a form's three kernels."""
    return " ".join(f"{form}.{kernel}" for kernel in ("conv", "conv_dx", "conv_dw"))


# form, images, filters, and more arguments
CONVOLUTIONS = {
    "winograd": ("winograd", (2, 16, 9, 8), (32, 16, 3, 3), {"padding": 1}),
    "winograd, five taps": (
        *("winograd", (2, 16, 7, 6), (32, 16, 5, 5)),
        {"padding": 2},
    ),
    "winograd, stride": (
        *("winograd", (3, 16, 8, 8), (32, 16, 3, 3)),
        {"stride": 2, "padding": 1},
    ),
    "winograd, groups": (
        *("grouped", (2, 32, 6, 6), (64, 16, 3, 3)),
        {"padding": 1, "groups": 2},
    ),
    "depthwise": (
        *("depthwise", (2, 18, 9, 8), (18, 1, 3, 3)),
        {"stride": 2, "padding": 1, "groups": 18},
    ),
    "few pixels": ("columns", (2, 19, 3, 4), (21, 19, 3, 3), {"padding": 1}),
    "few filters": ("narrow", (2, 3, 6, 33), (3, 3, 3, 3), {"padding": 1}),
    "many filters": ("direct", (2, 5, 6, 17), (72, 5, 3, 3), {"padding": 1}),
}
# the call, and what it must reach
WIDE = {
    **{
        name: (conv(x, w, **more), reached(form))
        for name, (form, x, w, more) in CONVOLUTIONS.items()
    },
    "one pixel a window": (
        conv((3, 32, 9, 11), (40, 32, 1, 1)),
        "matmul._product direct.column_products",
    ),
    "product": (("matmul", (drawn(40, 300), drawn(300, 33)), {}), "matmul._product"),
    "dot products": (
        ("linear", (drawn(1, 400), drawn(120, 400), drawn(120)), {}),
        "matmul._dots",
    ),
    "stacks": (
        ("matmul", (drawn(3, 40, 70), drawn(3, 70, 33)), {}),
        "matmul._stacks matmul._product",
    ),
    "softmax of long lines": (("softmax", (drawn(5, 130), 1), {}), "lines.softmax"),
    "sums of long lines": (("sum", (drawn(7, 130), 1), {}), "lines.sums"),
    "sum of everything": (("sum", (drawn(7, 131),), {}), "ufunc.sum_of_all"),
    "joined": (("cat", ((drawn(3, 40), drawn(3, 17)), 1), {}), "join._copy"),
    "exponentials": (("exp", (drawn(9, 37),), {}), "ufunc.exp"),
    "hyperbolic tangents": (("tanh", (drawn(9, 37),), {}), "ufunc.tanh"),
    "a number for each image and channel": (
        ("mul", (drawn(3, 19, 5, 7, order="last"), drawn(3, 19, 1, 1)), {}),
        "ufunc._with_one_each",
    ),
}


@pytest.fixture
def compiled(monkeypatch):
    """The compiled set, which leaves nothing to NumPy."""
    for package, names in LIMITS.items():
        for name in names.split():
            module, limit = name.split(".")
            module = importlib.import_module(f"{package}.{module}")
            assert getattr(module, limit) > 1
            monkeypatch.setattr(module, limit, 1)
    monkeypatch.setattr(threads, "SMALL", 0)
    monkeypatch.setattr(threads, "_chosen", 2)
    with use_kernels("cpu"):
        yield


def hold(ours, theirs, args, kwargs, orders, factor=10):
    """Both precisions, as in test_contract.py."""
    expected = tower(Theirs, theirs, args, kwargs, orders)
    assert compare(tower(Ours, ours, args, kwargs, orders), expected)
    assert_single(ours, theirs, args, kwargs, orders, factor)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_small_arrays_in_compiled_loops(row, compiled):
    for sample in row.samples:
        for theirs, orders in row.references(sample, orders=2):
            hold(row.ours, theirs, sample.args, sample.kwargs, orders)


@pytest.mark.parametrize("name", WIDE)
def test_wide_arrays_reach_their_forms(name, compiled, monkeypatch):
    (function, args, kwargs), forms = WIDE[name]
    seen = set()

    def watch(form):
        module, kernel = form.split(".")
        module = importlib.import_module(f"tinytl_kernels.cpu.{module}")
        whole = getattr(module, kernel)

        def watched(*args, **kwargs):
            seen.add(form)
            return whole(*args, **kwargs)

        monkeypatch.setattr(module, kernel, watched)

    for form in forms.split():
        watch(form)
    row = next(row for row in ROWS if row.name == function)
    factor = WINOGRAD if "winograd" in name else 10
    hold(getattr(F, function), row.theirs, args, kwargs, 2, factor)
    assert seen == set(forms.split())


def bits(function, args, kwargs):
    """Of the value and of two orders of derivatives, in both precisions."""
    given = [list(args), kwargs]
    return [
        (what, array.dtype, array.tobytes())
        for args, kwargs in (given, convert(given, single))
        for what, array in tower(Ours, function, args, kwargs, 2)
    ]


CALLS = {
    **{
        f"{row.name} {k}": (row.ours, sample.args, sample.kwargs)
        for row in ROWS
        for k, sample in enumerate(row.samples)
    },
    **{
        name: (getattr(F, function), *given)
        for name, ((function, *given), _) in WIDE.items()
    },
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_bits_however_work_is_cut(name, compiled, monkeypatch):
    """For threads share it or not as their machine has it at the time."""
    monkeypatch.setattr(threads, "_chosen", 3)
    monkeypatch.setattr(threads, "SMALL", 1)
    monkeypatch.setattr(threads, "_learn", lambda late: None)
    found = []
    for waking in (0.0, 1e9):  # seconds: always shared, and never
        monkeypatch.setattr(threads, "_waking", waking)
        found.append(bits(*CALLS[name]))
    assert found[0] == found[1]


def test_every_form_of_convolution_is_reached_by_some_sample():
    forms = {form for form, *_ in CONVOLUTIONS.values()}
    others = {"depthwise", "narrow", "columns", "direct"}
    assert forms == {"winograd", "grouped", *others}
