"""The one contract, on the set for GPUs: value and derivatives equal PyTorch's.

Every row of the table runs on the stand-in for CuPy, to the order of its row. So an
operation that uses a name or keyword that CuPy lacks fails here, and so does one that
lets NumPy's arrays meet the device's.
"""

import cupy
import numpy as np
import pytest
from operations import ROWS
from twins import Leaf, Ours, Theirs, compare, convert, distance, tower

import tinytl

CASES = [
    pytest.param(row, sample, id=f"{row.name}-{i}")
    for row in ROWS
    for i, sample in enumerate(row.samples)
]


class Device(Ours):
    """How to do things with tinytl on a device."""

    @staticmethod
    def tensor(array, requires_grad=False):
        return tinytl.Tensor(cupy.asarray(array), requires_grad=requires_grad)

    @staticmethod
    def array(tensor):
        assert isinstance(tensor.data, cupy.ndarray), type(tensor.data)
        return tensor.data.get()


@pytest.mark.parametrize(("row", "sample"), CASES)
def test_equals_torch(row, sample):
    for theirs, orders in row.references(sample):
        expected = tower(Theirs, theirs, sample.args, sample.kwargs, orders)
        actual = tower(Device, row.ours, sample.args, sample.kwargs, orders)
        assert compare(actual, expected)


def single(leaf):
    """A Leaf in float32; integers stay what they are."""
    if leaf.array.dtype != np.float64:
        return leaf
    return Leaf(leaf.array.astype(np.float32), leaf.requires_grad)


@pytest.mark.parametrize(("row", "sample"), CASES)
def test_single_precision(row, sample):
    """float32 stays float32, and is as good as the plain kernels' are."""
    args, kwargs = convert([list(sample.args), sample.kwargs], single)
    orders = min(row.orders, 2)
    with tinytl.use_kernels("plain"):
        exact = tower(Ours, row.ours, sample.args, sample.kwargs, orders)
        plain = tower(Ours, row.ours, args, kwargs, orders)
    ours = tower(Device, row.ours, args, kwargs, orders)
    for (what, a), (_, b), (_, c) in zip(ours, plain, exact, strict=True):
        assert a.dtype == b.dtype, what
        allowed = 10 * distance(b, c) + 16 * np.finfo(np.float32).eps
        assert distance(a, c) <= allowed, what
