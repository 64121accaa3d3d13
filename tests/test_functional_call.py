"""functional_call beside torch.func's."""

import numpy as np
import pytest
import torch

import tinytl.functional as F
from tinytl import Tensor, grad, nn
from tinytl.nn import functional_call

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3)).astype(np.float32)


def network(library):
    return library.Sequential(
        library.Linear(3, 4), library.BatchNorm1d(4), library.Linear(4, 2)
    )


def twins():
    """The same network in both libraries, and other values for its parameters."""
    net, twin = network(nn), network(torch.nn)
    state = {
        k: RNG.random(v.shape).astype(v.dtype) for k, v in net.state_dict().items()
    }
    net.load_state_dict(state)
    twin.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    other = {
        k: RNG.normal(size=p.shape).astype(np.float32)
        for k, p in net.named_parameters()
    }
    return net, twin, other


def test_values_and_gradients_are_those_of_torch():
    net, twin, other = twins()
    names = list(other)
    ours = {k: Tensor(v, requires_grad=True) for k, v in other.items()}
    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in other.items()}
    y = functional_call(net, ours, Tensor(X))
    z = torch.func.functional_call(twin, theirs, torch.tensor(X))
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-5, atol=1e-6)
    found = grad((y * y).sum(), [ours[k] for k in names])
    expected = torch.autograd.grad((z * z).sum(), [theirs[k] for k in names])
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g.data, e.numpy(), rtol=1e-3, atol=1e-4)
    for (_, a), b in zip(net.named_buffers(), twin.buffers(), strict=True):
        np.testing.assert_allclose(a.data, b.numpy(), rtol=1e-5)  # its own have moved


def test_a_given_buffer_is_moved_in_the_place_of_the_own_one():
    net, twin, _ = twins()
    mean = Tensor(np.zeros(4, np.float32))
    theirs = torch.zeros(4)
    own = net[1].running_mean.data
    functional_call(net, {"1.running_mean": mean}, (Tensor(X),))
    torch.func.functional_call(twin, {"1.running_mean": theirs}, (torch.tensor(X),))
    assert mean.data.any()
    np.testing.assert_allclose(mean.data, theirs.numpy(), rtol=1e-5)
    assert net[1].running_mean.data is own


def test_everything_is_put_back_in_its_order():
    net, _, other = twins()
    names, own = list(net.state_dict()), list(net.parameters())
    tensors = {k: Tensor(v) for k, v in other.items()}
    functional_call(net, tensors, Tensor(X))
    with pytest.raises(ValueError, match="linear"):
        functional_call(net, tensors, Tensor(X[:, :2]))
    assert list(net.state_dict()) == names
    assert all(p is q for p, q in zip(net.parameters(), own, strict=True))


def test_several_dicts_and_arguments_by_name():
    net, _, other = twins()
    tensors = {k: Tensor(v) for k, v in other.items()}
    halves = [dict(list(tensors.items())[:2]), dict(list(tensors.items())[2:])]
    one = functional_call(net, tensors, Tensor(X))
    two = functional_call(net, halves, kwargs={"input": Tensor(X)})
    np.testing.assert_array_equal(one.data, two.data)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2, bias=False)
        self.b = nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(F.tanh(self.a(x)))


def test_a_tied_parameter_is_replaced_in_all_its_places():
    net, x = Tied(), Tensor(X[:, :2])
    w = Tensor(np.eye(2, dtype=np.float32))
    own = net.a.weight.data
    for name in ("a.weight", "b.weight"):
        tied = functional_call(net, {name: w}, x)
        np.testing.assert_allclose(tied.data, np.tanh(X[:, :2]))
    free = functional_call(net, {"a.weight": w}, x, tie_weights=False)
    np.testing.assert_allclose(free.data, np.tanh(X[:, :2]) @ own.T, rtol=1e-5)
    assert net.a.weight is net.b.weight
    with pytest.raises(ValueError, match="are one parameter"):
        functional_call(net, {"a.weight": w, "b.weight": w * 2}, x)


def test_bad_input_is_refused_by_name():
    net, _, other = twins()
    tensors = {k: Tensor(v) for k, v in other.items()}
    for wrong, error, text in [
        ({"0.weigth": tensors["0.weight"]}, ValueError, "did you mean '0.weight'"),
        ({"zzz": tensors["0.weight"]}, ValueError, "it has"),
        ({"0.weight": tensors["0.bias"]}, ValueError, r"has shape \(4, 3\)"),
        ({"0.weight": other["0.weight"]}, TypeError, "must be a Tensor"),
    ]:
        with pytest.raises(error, match=text) as caught:
            functional_call(net, wrong, Tensor(X))
        assert str(caught.value).startswith("functional_call: ")
    with pytest.raises(ValueError, match="running_mean"):
        functional_call(net, tensors, Tensor(X), strict=True)
    functional_call(net, net.state_dict(), Tensor(X), strict=True)
