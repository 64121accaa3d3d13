"""A test that cannot fail proves nothing: plant errors and demand that they are found.

Each row of PLANTED is an operation with a wrong pullback and the order at which the
checker has to notice. The orders before must pass, or something else was found than
what was planted.
"""

import sys

import numpy as np
import pytest
from checker import check_grads
from operations import ROWS
from tinytl_kernels import plain
from twins import Ours, Theirs, compare, tower

import tinytl
import tinytl.functional as F
from tinytl.tensor import Tensor, record

RNG = np.random.default_rng(5)
X = RNG.normal(size=(3, 3))
Z = RNG.normal(size=(3, 3))


def unary(value, pullback):
    """An operation of one input from its value and pullback(x, g)."""
    return lambda x: record(value(x.data), (x, lambda g: pullback(x, g)))


def binary(value, pullback_x, pullback_z):
    """An operation of two inputs; a pullback None is an edge that was forgotten."""

    def operation(x, z):
        edges = [(x, pullback_x), (z, pullback_z)]
        return record(
            value(x.data, z.data),
            *[(a, lambda g, p=p: p(x, z, g)) for a, p in edges if p is not None],
        )

    return operation


def square(x):
    return x * x


def sigmoid(x):
    return 1 / (1 + F.exp(-x))


def frozen(x):
    """The same values with the history cut off: what `.data` in a pullback does."""
    return Tensor(x.data)


def exp_wrong_at_third(x):
    def second(x):
        return record(np.exp(x.data), (x, lambda g: g * F.exp(frozen(x))))

    return record(np.exp(x.data), (x, lambda g: g * second(x)))


def centred(x):
    return x - F.mean(x, 0, keepdim=True)


# operations with the right pullback: the checker must accept them to order 3
RIGHT = {
    "square": (unary(square, lambda x, g: 2 * g * x), [X]),
    "exp": (unary(np.exp, lambda x, g: g * F.exp(x)), [X]),
    "product": (
        binary(lambda x, z: x * z, lambda x, z, g: g * z, lambda x, z, g: g * x),
        [X, Z],
    ),
    "matrices": (
        binary(
            lambda x, z: x @ z,
            lambda x, z, g: F.matmul(g, F.transpose(z, 0, 1)),
            lambda x, z, g: F.matmul(F.transpose(x, 0, 1), g),
        ),
        [X, Z],
    ),
    "column sums": (
        unary(lambda x: x.sum(0), lambda x, g: F.expand(F.unsqueeze(g, 0), (3, 3))),
        [X],
    ),
    "centred": (unary(lambda x: x - x.mean(0), lambda x, g: centred(g)), [X]),
    "linear": (unary(lambda x: 3 * x, lambda x, g: 3 * g), [X]),
    "constant": (lambda x: Tensor(np.ones(3)), [X]),
    "two outputs": (lambda x: (F.exp(x), x * x), [X]),
}

# what was planted: (operation, inputs, order at which it shows)
PLANTED = {
    "missing factor": (unary(square, lambda x, g: g * x), [X], 1),
    "factor off by a millionth": (
        unary(square, lambda x, g: 2.000002 * g * x),
        [X],
        1,
    ),
    "wrong sign": (
        binary(lambda x, z: x - z, lambda x, z, g: g, lambda x, z, g: g),
        [X, Z],
        1,
    ),
    "missing term": (
        unary(
            lambda x: x / (1 + np.exp(-x)),
            lambda x, g: g * sigmoid(x),  # and x * sigmoid'(x)?
        ),
        [X],
        1,
    ),
    "forgotten input": (
        binary(lambda x, z: x * z, lambda x, z, g: g * z, None),
        [X, Z],
        1,
    ),
    "inputs exchanged": (
        binary(lambda x, z: x * z, lambda x, z, g: g * x, lambda x, z, g: g * z),
        [X, Z],
        1,
    ),
    "transposed": (
        binary(
            lambda x, z: x @ z,
            lambda x, z, g: F.matmul(g, z),
            lambda x, z, g: F.matmul(F.transpose(x, 0, 1), g),
        ),
        [X, Z],
        1,
    ),
    "wrong axis": (
        unary(lambda x: x.sum(0), lambda x, g: F.expand(F.unsqueeze(g, 1), (3, 3))),
        [X],
        1,
    ),
    "mean without its 1/N": (
        unary(lambda x: x.mean(0), lambda x, g: F.expand(F.unsqueeze(g, 0), (3, 3))),
        [X],
        1,
    ),
    "mean taken for a constant": (
        unary(lambda x: x - x.mean(0), lambda x, g: g),
        [X],
        1,
    ),
    "shifted by one": (
        unary(lambda x: np.roll(x, 1, 0), lambda x, g: g),
        [X],
        1,
    ),
    "wrong shape": (
        binary(
            lambda x, z: x + z, lambda x, z, g: F.sum(g, 0), lambda x, z, g: F.sum(g, 0)
        ),
        [X, Z[0]],
        1,
    ),
    "second order detached": (
        unary(np.exp, lambda x, g: g * F.exp(frozen(x))),
        [X],
        2,
    ),
    "second order halved": (
        unary(lambda x: x**3, lambda x, g: 3 * g * x * frozen(x)),
        [X],
        2,
    ),
    "incoming gradient detached": (
        unary(lambda x: 3 * x, lambda x, g: 3 * frozen(g)),
        [X],
        2,
    ),
    "cross term detached": (
        binary(
            lambda x, z: x * z,
            lambda x, z, g: g * frozen(z),
            lambda x, z, g: g * x,
        ),
        [X, Z],
        2,
    ),
    "third order detached": (exp_wrong_at_third, [X], 3),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_pass(name):
    operation, inputs = RIGHT[name]
    check_grads(operation, inputs, order=3)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_errors_are_found(name):
    operation, inputs, order = PLANTED[name]
    if order > 1:
        check_grads(operation, inputs, order - 1)
    # the engine itself may refuse a gradient of the wrong shape before the checker does
    with pytest.raises((AssertionError, ValueError)) as caught:
        check_grads(operation, inputs, order)
    if caught.type is AssertionError:
        assert f"order {order}" in str(caught.value)
    else:
        assert name == "wrong shape"


def test_differences_cannot_find_a_wrong_formula():
    """The right gradient of a wrong value passes: hence twins and loops as well."""

    def softplus_without_its_beta(x):
        return F.log(1 + F.exp(2 * x))  # and / 2

    check_grads(softplus_without_its_beta, [X], order=2)
    right = F.softplus(tinytl.Tensor(X), beta=2).numpy()
    assert abs(softplus_without_its_beta(tinytl.Tensor(X)).numpy() - right).max() > 0.1


# -- the real thing, damaged -----------------------------------------------------------

DAMAGE = {
    "scaled by 1.000001": lambda y: y * (1 + 1e-6),
    "rolled by one": lambda y: np.roll(y, 1, -1),
    "one number lost": lambda y: y * (np.arange(y.size) > 0).reshape(y.shape),
    "transposed": lambda y: y[..., ::-1, :] if y.ndim > 1 else y[::-1],
}

# kernel: (row of the table that has to notice, order at which it is first called)
KERNELS = {
    "conv": ("conv2d", 0),
    "conv_dx": ("conv2d", 1),
    "conv_dw": ("conv2d", 1),
    "max_pool": ("max_pool2d", 0),
    "gather": ("max_pool2d", 2),
    "scatter": ("max_pool2d", 1),
    "sum_pool": ("sum_pool2d", 0),
    "sum_pool_dx": ("sum_pool2d", 1),
    "resample": ("interpolate", 0),
    "moments": ("batch_norm", 0),
    "line": ("batch_norm_relu", 0),
    "line_sums": ("batch_norm_relu", 1),
    "line_mix": ("batch_norm_relu", 1),
    "line_sums2": ("batch_norm_relu", 2),
    "line_mix2": ("batch_norm_relu", 2),
    "line_mix_gated": ("batch_norm_relu", 2),
}


def contract_holds(name, orders):
    """Whether the comparison of the contract accepts every sample of a row."""
    (row,) = (row for row in ROWS if row.name == name)
    try:
        for sample in row.samples:
            for theirs, most in row.references(sample, orders):
                expected = tower(Theirs, theirs, sample.args, sample.kwargs, most)
                compare(
                    tower(Ours, row.ours, sample.args, sample.kwargs, most), expected
                )
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kernel", KERNELS)
def test_damaged_kernels_break_the_contract(kernel, damage, monkeypatch):
    name, order = KERNELS[kernel]
    whole = getattr(plain, kernel)

    def damaged(*args):
        result = whole(*args)
        if isinstance(result, tuple):
            return tuple(map(DAMAGE[damage], result))
        return DAMAGE[damage](result)

    with tinytl.use_kernels("plain"):
        assert contract_holds(name, orders=2)
        monkeypatch.setattr(plain, kernel, damaged)
        assert not contract_holds(name, orders=order)
        if order:
            assert contract_holds(name, orders=order - 1)


@pytest.mark.parametrize("function", ["_conv2d_dx", "_conv2d_dw"])
def test_a_gradient_without_history_breaks_the_contract(function, monkeypatch):
    """The first derivative stays right: only the second can tell."""
    module = sys.modules["tinytl.functional.conv"]
    whole = getattr(module, function)
    monkeypatch.setattr(module, function, lambda *args: frozen(whole(*args)))
    assert contract_holds("conv2d", orders=1)
    assert not contract_holds("conv2d", orders=2)


def test_ties_decide_who_wins(monkeypatch):
    """A max pooling that prefers the last of equal values is another operation."""

    def last(x, window):
        back = x[:, :, ::-1, ::-1]
        y, index = whole(np.ascontiguousarray(back), window)
        index = x.shape[2] * x.shape[3] - 1 - index
        return y[:, :, ::-1, ::-1], index[:, :, ::-1, ::-1]

    whole = plain.max_pool
    x = tinytl.Tensor(np.zeros((1, 1, 4, 4)), requires_grad=True)
    with tinytl.use_kernels("plain"):
        first = tinytl.grad(F.sum(F.max_pool2d(x, 2)), x)[0].numpy()
        monkeypatch.setattr(plain, "max_pool", last)
        assert (tinytl.grad(F.sum(F.max_pool2d(x, 2)), x)[0].numpy() != first).any()
        assert not contract_holds("max_pool2d", orders=1)
