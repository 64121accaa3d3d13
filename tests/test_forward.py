"""Forward mode: a tangent arrives where gradients, tested elsewhere, say that it must.

With outputs y = f(x), a tangent t of x and any weights c, <c, J t> = <J' c, t>. Both
sides are numbers, so their gradients by x must be equal, too; and a tangent that goes
through a recorded gradient must arrive as the product with the Hessian does.
"""

import weakref

import numpy as np
import pytest
from operations import ROWS
from twins import convert, leaves

import tinytl.functional as F
from tinytl.forward import pushed, transposed
from tinytl.tensor import Tensor, grad, record

CASES = [
    pytest.param(row, sample, id=f"{row.name}-{i}")
    for row in ROWS
    for i, sample in enumerate(row.samples)
    if any(leaf.requires_grad for leaf in leaves([list(sample.args), sample.kwargs]))
]


def evaluated(row, sample):
    """Outputs that have a history, and the inputs they were computed from."""
    inputs = []

    def pick(leaf):
        x = Tensor(leaf.array, leaf.requires_grad)
        inputs.extend([x] if leaf.requires_grad else [])
        return x

    y = row.ours(*convert(list(sample.args), pick), **convert(sample.kwargs, pick))
    outputs = y if isinstance(y, (tuple, list)) else [y]
    return [y for y in outputs if y.requires_grad], inputs


def random_like(rng, xs):
    return [Tensor(rng.normal(size=x.shape).astype(x.dtype)) for x in xs]


def product(xs, ys):
    """Sum of all <x, y> where there is an x."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None]
    return sum((F.sum(x * y) for x, y in pairs), Tensor(np.zeros(())))


def close(found, wanted, tolerance=1e-10):
    """Equal but for rounding; None and zeros are the same."""
    for x, y in zip(found, wanted, strict=True):
        x, y = (np.zeros(1) if z is None else z.data for z in (x, y))
        scale = max(np.abs(y).max(initial=0), 1e-6)
        np.testing.assert_allclose(x - y, 0, atol=tolerance * scale)


@pytest.mark.parametrize(("row", "sample"), CASES)
def test_every_operation_carries_tangents(row, sample, kernel_set):
    outputs, inputs = evaluated(row, sample)
    rng = np.random.default_rng(0)
    t, c = random_like(rng, inputs), random_like(rng, outputs)
    moved = pushed(outputs, inputs, t, create_graph=True)
    back = grad(outputs, inputs, c, create_graph=True, allow_unused=True)
    forward, backward = product(moved, c), product(back, t)
    rounded = any(y.dtype == np.float32 for y in outputs)  # `to` rounds tangents, too
    tolerance = 1e-6 if rounded else 1e-10
    close([forward], [backward], tolerance)

    def gradients(value):
        if not value.requires_grad:
            return [None] * len(inputs)
        return grad(value, inputs, allow_unused=True)

    wanted = gradients(backward)
    close(gradients(forward), wanted, tolerance)
    moving = [g for g in back if g is not None]
    through = iter(pushed(moving, inputs, t))
    if sample.smooth:
        close([None if g is None else next(through) for g in back], wanted, tolerance)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_tangent_is_recorded_when_asked_for(create_graph):
    x = Tensor(np.array([1.0, 2.0]), True)
    (moved,) = pushed([x * x], [x], [Tensor(np.ones(2))], create_graph)
    np.testing.assert_array_equal(moved.data, [2.0, 4.0])
    assert moved.requires_grad == create_graph


def test_tangents_of_inputs_that_come_from_one_another_are_added():
    x = Tensor(np.array(3.0), True)
    y = x * x
    (moved,) = pushed([y * x], [x, y], [Tensor(np.array(1.0)), Tensor(np.array(1.0))])
    assert moved.item() == 9 + 3 * (6 + 1)


def test_an_output_may_be_an_input_and_may_stand_still():
    x, z = (Tensor(np.array(n), True) for n in (3.0, 4.0))
    t = Tensor(np.array(5.0))
    same, still, constant = pushed([x, z * 2, Tensor(np.ones(2))], [x], [t])
    assert same.item() == 5
    assert still is None
    assert constant is None


@pytest.mark.parametrize(
    "push", [lambda t: t * 3, lambda t: t, lambda t: F.reshape(t, (2, 1))]
)
def test_a_wrong_push_is_noticed(push):
    """Twice x, with pushes that say otherwise."""
    x = Tensor(np.array([1.0, -2.0]), True)
    y = record(x.data * 2, (x, lambda g: g * 2, push))
    t = Tensor(np.array([0.5, 4.0]))
    with pytest.raises((AssertionError, ValueError)):
        close(pushed([y], [x], [t]), [transposed(lambda g: g * 2, t, (2,))])


def test_a_pullback_that_uses_nothing_moves_nothing():
    t = Tensor(np.ones(2))
    assert transposed(lambda g: Tensor(np.zeros(2)), t, (2,)) is None


def test_tangents_are_let_go_on_the_way():
    """In a long chain no more than a few are alive."""
    alive, most = set(), []

    def link(x):
        def push(t):
            moved = Tensor(t.data * 1)
            alive.add(id(moved.data))
            weakref.finalize(moved, alive.discard, id(moved.data))
            most.append(len(alive))
            return moved

        return record(x.data, (x, lambda g: g, push))

    x = Tensor(np.ones(3), True)
    y = x
    for _ in range(50):
        y = link(y)
    (moved,) = pushed([y], [x], [Tensor(np.ones(3))])
    np.testing.assert_array_equal(moved.data, 1)
    assert len(most) == 50
    assert max(most) <= 3
