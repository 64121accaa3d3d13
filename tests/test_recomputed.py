"""What a walk forgets is computed again, bit by bit, and once."""

import numpy as np
from test_pending import calls

import tinytl.functional as F
from tinytl.graph import used_once
from tinytl.recomputed import recomputed
from tinytl.tensor import Tensor, grad, record


def test_a_tensor_forgets_and_computes_again_once():
    x, count = Tensor([1.0, 2.0], requires_grad=True), [0]

    def double():
        count[0] += 1
        return 2 * x.data

    def twice():
        return recomputed(record(double(), (x, lambda g: 2 * g)), double)

    assert type(twice()) is Tensor  # of an ordinary graph
    with used_once():
        y = twice()
    count[0] = 0
    assert y.data[1] == 4
    assert count == [0]
    y.forget()
    assert y.shape == (2,)
    assert y.data[1] == 4
    assert count == [1]
    (g,) = grad(F.sum(y), [x])
    np.testing.assert_array_equal(g.data, [2, 2])


def test_the_walk_through_a_walk_finds_the_same_gradients(rng, monkeypatch):
    inputs = [
        Tensor(rng.normal(size=shape).astype(np.float32), requires_grad=True)
        for shape in ((4, 3, 6, 6), (5, 3, 3, 3), (5,), (5,), (5,))
    ]
    q = [Tensor(rng.normal(size=x.shape).astype(np.float32)) for x in inputs]
    counts = calls(monkeypatch, "line_mix")

    def product():
        x, w, b, scale, shift = inputs
        z = F.conv2d(x * x, w, b)
        y = F.batch_norm_relu(z, None, None, scale, shift, training=True)
        first = grad(F.sum(y**3), inputs, create_graph=True)
        return grad(first, inputs, q)

    wanted = product()
    kept = counts["line_mix"]
    with used_once():
        found = product()
    assert counts["line_mix"] == 2 * kept + 1
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
