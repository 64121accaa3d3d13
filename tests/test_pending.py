"""Sums made before they are computed: the same numbers, in fewer passes."""

import numpy as np
import pytest
from tinytl_kernels import kernels_for
from tinytl_kernels.shapes import window

import tinytl.functional as F
from tinytl.bilevel.products import hvp, jvp
from tinytl.forward import pushed
from tinytl.functional.conv import _Biases, _Convolution, _Form
from tinytl.pending import arrived, settled
from tinytl.tensor import Tensor, grad


def normal(rng, *shape):
    return Tensor(rng.normal(size=shape), requires_grad=True)


def calls(monkeypatch, *names):
    """How often each kernel of these names is called from now on."""
    kernels = kernels_for(np.zeros(1))
    counts = dict.fromkeys(names, 0)

    def counted(name, kernel):
        def call(*args):
            counts[name] += 1
            return kernel(*args)

        return call

    for name in names:
        monkeypatch.setattr(kernels, name, counted(name, getattr(kernels, name)))
    return counts


@pytest.fixture
def network(rng):
    """A loss of a convolution, batch norm and ReLU, and all it is computed from."""
    x, w, b = normal(rng, 4, 3, 5, 5), normal(rng, 6, 3, 3, 3), normal(rng, 6)
    scale, shift = normal(rng, 6), normal(rng, 6)
    weights = Tensor(rng.normal(size=(4, 6, 5, 5)))

    def loss():
        z = F.conv2d(x * x, w, b, padding=1)
        y = F.batch_norm_relu(z, None, None, scale, shift, training=True)
        return F.sum(y**3 * weights)

    return loss, [x, w, b, scale, shift]


def test_a_walk_that_sums_first_gives_what_a_recorded_one_gives(rng, network):
    loss, inputs = network
    q = [Tensor(rng.normal(size=x.shape)) for x in inputs]
    for product in (
        lambda recorded: hvp(loss(), inputs, q, create_graph=recorded),
        lambda recorded: jvp(loss(), inputs, q, create_graph=recorded),
    ):
        for one, other in zip(product(False), product(True), strict=True):
            largest = max(np.abs(other.data).max(), 1.0)
            np.testing.assert_allclose(one.data, other.data, atol=1e-12 * largest)


def test_sums_save_passes(rng, monkeypatch, network):
    loss, inputs = network
    q = [Tensor(rng.normal(size=x.shape)) for x in inputs]
    first = grad(loss(), inputs, create_graph=True)
    counts = calls(monkeypatch, "line_mix_gated", "line_mix2", "line_mix", "conv")
    grad(first, inputs, q)
    assert counts == {"line_mix_gated": 1, "line_mix2": 1, "line_mix": 1, "conv": 2}


def test_an_input_of_the_sum_may_be_asked_for(rng):
    x, w, b = normal(rng, 2, 3, 4, 4), normal(rng, 5, 3, 3, 3), normal(rng, 5)
    y = F.conv2d(x, w, b)
    gy = normal(rng, *y.shape)
    found = grad(y, [x, w, b], [gy], create_graph=True)
    q = [Tensor(rng.normal(size=g.shape)) for g in found]
    (sent,) = grad(found, [gy], q)
    wanted = F.conv2d(q[0], w) + F.conv2d(x, q[1]) + q[2].reshape(1, 5, 1, 1)
    np.testing.assert_allclose(sent.data, wanted.data, atol=1e-12)
    assert type(sent) is Tensor
    (moved,) = pushed([y], [x, w, b], q)
    np.testing.assert_allclose(moved.data, wanted.data, atol=1e-12)


def test_what_does_not_go_together_is_added_as_ever(rng):
    x, w, b = normal(rng, 2, 3, 4, 4), normal(rng, 5, 3, 3, 3), normal(rng, 5)
    form = _Form(window("conv2d", (4, 4), (3, 3), 1, 0, 1), 1)
    one, bias = _Convolution(x, w, form), _Biases(b, (2, 5, 2, 2))
    plain, wide = settled(one).data, settled(bias).data
    both = arrived(arrived(bias, one), arrived(one, bias))
    np.testing.assert_allclose(both.data, 2 * (plain + wide), atol=1e-12)
    two = arrived(arrived(bias, one), one)
    np.testing.assert_allclose(settled(two).data, 2 * plain + wide, atol=1e-12)
    assert two.joined(one) is None
    np.testing.assert_allclose(arrived(bias, bias).data, 2 * wide)
    np.testing.assert_allclose(arrived(one, settled(one)).data, 2 * plain)
    assert one.joined(bias).joined(bias) is None
