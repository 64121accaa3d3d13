"""Hypergradients: against differences, hand calculation, closed forms and PyTorch.

The measure is the relative maximum norm, never the angle: test_planted_errors shows
what a cosine lets pass.
"""

import inspect
import runpy
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tinytl.functional as F
from tinytl import Tensor, bilevel, grad, nn
from tinytl.bilevel import (
    HypergradientMismatch,
    NotStationaryWarning,
    UncheckedWarning,
    UnsolvedSystemWarning,
    ZeroHypergradientWarning,
    check_hypergradient,
    hvp,
    hypergradient,
    jvp,
)
from tinytl.bilevel import recursion as recursion_file
from tinytl.bilevel.reverse import double_backward
from tinytl.optim import SGD

EXACT = ["unrolled", "reverse", "jvp"]


def leaf(array):
    return Tensor(array, requires_grad=True)


def distance(found, expected):
    """max |found - expected| / max |expected| over all entries of all Tensors."""
    x, y = (np.concatenate([np.ravel(t) for t in z]) for z in (found, expected))
    return abs(x - y).max() / abs(y).max()


def arrays(found):
    return [g.numpy() for g in found.gradients]


class Toy:
    """A tanh network in float64. One parameter is used by the outer loss alone."""

    def __init__(self, functional=F, tensor=Tensor, seed=0):
        rng = np.random.default_rng(seed)
        self.F = functional
        self.x, self.y = (tensor(rng.normal(size=(6, k))) for k in (3, 2))
        shapes = [(4, 3), (4,), (2, 4), (5,)]
        self.start = [rng.normal(size=s) for s in shapes]
        self.velocity = [rng.normal(size=s) for s in shapes]
        self.hyper = [rng.normal(size=s) for s in (6, 4)]

    def residual(self, p):
        hidden = self.F.tanh(self.F.linear(self.x, p[0], p[1]))
        return self.F.linear(hidden, p[2]) - self.y

    def inner(self, p, h, t):
        """Weights of examples, and a term that is not quadratic and depends on t."""
        r = self.residual(p)
        weighted = (self.F.softplus(h[0]) * (r * r).sum(1)).mean()
        return weighted + (1 + t) * (h[1] * self.F.tanh(p[1])).sum()

    def outer(self, p, h):
        r = self.residual(p) - 1
        return (r * r).mean() + (p[3] * p[3]).sum() + 0.1 * (h[1] * h[1]).sum()

    def settings(self, steps, **changes):
        """Arguments with momentum and with a weight decay that can be seen."""
        given = {
            "inner": self.inner,
            "outer": self.outer,
            "parameters": [Tensor(x) for x in self.start],
            "hyper": [leaf(x) for x in self.hyper],
            "steps": steps,
            "lr": 0.1,
            "momentum": 0.9,
            "weight_decay": 0.1,
            "velocity": self.velocity,
        }
        return given | changes


class Images(nn.Module):
    """Convolution, batch normalisation, ReLU, max pooling, classifier; in float64."""

    def __init__(self, seed=0, width=4, dropout=0.0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, generator=rng),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(dropout, generator=np.random.default_rng(seed))
        self.classifier = nn.Linear(width * 16, 3, generator=rng)
        self.double()

    def forward(self, x):
        maps = self.features(x)
        return maps, self.classifier(self.dropout(maps).flatten(1))


def image_problem(net, steps, seed=1, pixels=True):
    """Match weighted maps, then a step of cross-entropy: the shape of L2T-www."""
    rng = np.random.default_rng(seed)
    names = [name for name, _ in net.named_parameters()]
    x = Tensor(rng.normal(size=(5, 3, 8, 8)))
    labels = Tensor(rng.integers(0, 3, 5))
    width = net.classifier.weight.shape[1] // 16
    source = Tensor(rng.normal(size=(5, width, 4, 4)))
    hyper = rng.normal(size=source.shape) if pixels else rng.normal(size=width)

    def forward(p):
        return nn.functional_call(net, dict(zip(names, p, strict=True)), x)

    def inner(p, h, t):
        maps, scores = forward(p)
        if t == steps - 1:
            return F.cross_entropy(scores, labels)
        d = maps - source
        weights = F.softplus(h[0]) if pixels else F.softmax(h[0], 0).reshape(-1, 1, 1)
        matching = (weights * d * d).mean()
        return matching + 0.1 * F.cross_entropy(scores, labels)

    def outer(p, h):
        return F.cross_entropy(forward(p)[1], labels)

    return {
        "inner": inner,
        "outer": outer,
        "parameters": list(net.parameters()),
        "hyper": [leaf(hyper)],
        "steps": steps,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.01,
    }


# -- differences -----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("method", EXACT)
def test_every_coordinate_of_a_toy(method, steps):
    check = check_hypergradient(
        **Toy().settings(steps), method=method, tolerance=1e-6, eps=1e-4
    )
    assert check.coordinates
    assert len(check.estimates) == 10
    assert check.error < 1e-9


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("method", EXACT)
def test_directions_on_a_convolutional_network(method, steps):
    problem = image_problem(Images(), steps)
    check = check_hypergradient(**problem, method=method, tolerance=1e-5)
    assert not check.coordinates
    assert check.rejected < 5


def test_every_exact_estimator_gives_the_same(kernel_set):
    for problem in (Toy().settings(5), image_problem(Images(), 3)):
        expected = arrays(hypergradient(**problem, method="unrolled"))
        for method, options in [
            ("reverse", {}),
            ("reverse", {"keep": "sqrt"}),
            ("jvp", {}),
            ("jvp", {"keep": "sqrt"}),
        ]:
            found = hypergradient(**problem, method=method, **options)
            assert distance(arrays(found), expected) < 1e-10


def test_finite_differences_of_gradients_come_close():
    for problem in (Toy().settings(5), image_problem(Images(), 3)):
        expected = arrays(hypergradient(**problem))
        found = hypergradient(**problem, method="finite")
        assert distance(arrays(found), expected) < 1e-4


def test_an_error_of_differences_falls_with_the_square_of_eps():
    problem = Toy().settings(2)
    expected = arrays(hypergradient(**problem))
    error = [
        distance(arrays(hypergradient(**problem, method="finite", eps=e)), expected)
        for e in (1e-2, 1e-3)
    ]
    assert error[0] / error[1] == pytest.approx(100, rel=0.05)


def test_approximate_estimators_are_exact_where_they_say_so():
    one = Toy().settings(1)
    expected = arrays(hypergradient(**one))
    assert distance(arrays(hypergradient(**one, method="one_step")), expected) < 1e-14
    assert distance(arrays(hypergradient(**one, method="first_order")), expected) < (
        1e-14
    )
    darts = hypergradient(**one, method="one_step", eps=1e-3)
    assert 0 < distance(arrays(darts), expected) < 1e-5
    linear = Toy().settings(
        3, inner=lambda p, h, t: sum((h[0][k] * p[k]).sum() for k in range(4))
    )
    found = hypergradient(**linear, method="first_order")
    assert distance(arrays(found), arrays(hypergradient(**linear))) < 1e-14
    several = Toy().settings(3)
    with pytest.raises(HypergradientMismatch):
        check_hypergradient(**several, method="first_order", tolerance=0.05)
    with pytest.raises(HypergradientMismatch):
        check_hypergradient(**several, method="one_step", tolerance=0.05)


def test_one_step_is_the_last_step_of_the_recursion():
    problem = Toy().settings(3)
    last = hypergradient(**problem, last=1)
    found = hypergradient(**problem, method="one_step")
    assert distance(arrays(found), arrays(last)) == 0
    assert distance(arrays(hypergradient(**problem, last=7)), arrays(last)) > 0.01


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 10])
def test_a_thinned_path_gives_the_same_bits(steps):
    problem = Toy().settings(steps)
    everything = hypergradient(**problem, keep="all")
    thinned = hypergradient(**problem, keep="sqrt")
    for x, y in zip(arrays(everything), arrays(thinned), strict=True):
        np.testing.assert_array_equal(x, y)
    assert everything.info["kept_states"] == steps
    assert thinned.info["kept_states"] <= np.ceil(np.sqrt(steps))


@pytest.mark.parametrize(
    ("graphs", "evaluations"), [(0, 10), (1, 9), (3, 7), (5, 5), (9, 5), (None, 5)]
)
def test_kept_graphs_save_evaluations_and_change_nothing(graphs, evaluations):
    """5 steps there, and again on the way back those whose graph was not kept.

    Only the first step's share is computed otherwise if its graph was kept.
    """
    problem = image_problem(Images(), 5)
    expected = arrays(hypergradient(**problem, graphs=0))
    inner, asked = problem["inner"], []
    problem["inner"] = lambda p, h, t: (asked.append(t), inner(p, h, t))[1]
    found = arrays(hypergradient(**problem, graphs=graphs))
    assert len(asked) == evaluations
    for x, y in zip(found, expected, strict=True):
        if evaluations > 5:
            np.testing.assert_array_equal(x, y)
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-13 * np.abs(y).max())


def test_rates_may_differ_from_step_to_step():
    problem = Toy().settings(3, lr=[0.1, 0.05, 0.02])
    for method in EXACT:
        check_hypergradient(**problem, method=method, tolerance=1e-7)


def test_steps_are_those_of_the_optimiser_bit_by_bit():
    toy = Toy()
    parameters = [nn.Parameter(x.astype(np.float32)) for x in toy.start]
    toy.x, toy.y = toy.x.float(), toy.y.float()
    hyper = [leaf(x.astype(np.float32)) for x in toy.hyper]
    sgd = SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)

    def step(t):
        found = grad(toy.inner(parameters, hyper, t), parameters, allow_unused=True)
        pairs = zip(found, parameters, strict=True)
        sgd.step([Tensor(0 * p.data) if g is None else g for g, p in pairs])

    step(0)
    settings = bilevel.sgd_settings(sgd)
    results = [
        hypergradient(toy.inner, toy.outer, hyper=hyper, steps=2, method=m, **settings)
        for m in ("reverse", "unrolled")
    ]
    step(0)
    step(1)
    for result in results:
        for found, p in zip(result.parameters, parameters, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, p.data)
        for k, found in enumerate(result.velocity):
            np.testing.assert_array_equal(found, sgd.state[k]["momentum_buffer"])
        assert all(g.dtype == np.float32 for g in result.gradients)
        assert len(result.losses) == 2
        assert result.value == toy.outer(parameters, hyper).item()


def test_a_parameter_that_inner_does_not_use_still_moves():
    """Weight decay and momentum act on it, and outer sees that."""
    toy = Toy()
    found = hypergradient(**toy.settings(1))
    v = 0.9 * toy.velocity[3] + 0.1 * toy.start[3]
    np.testing.assert_allclose(found.parameters[3], toy.start[3] - 0.1 * v)


# -- PyTorch ---------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_torch_unrolled_gives_the_same(steps):
    twin = Toy(torch.nn.functional, torch.tensor)
    theta = [torch.tensor(x, requires_grad=True) for x in twin.start]
    v = [torch.tensor(x) for x in twin.velocity]
    hyper = [torch.tensor(x, requires_grad=True) for x in twin.hyper]
    for t in range(steps):
        loss = twin.inner(theta, hyper, t)
        found = torch.autograd.grad(loss, theta, create_graph=True, allow_unused=True)
        g = [0 * p if x is None else x for x, p in zip(found, theta, strict=True)]
        v = [0.9 * a + b + 0.1 * p for a, b, p in zip(v, g, theta, strict=True)]
        theta = [p - 0.1 * a for p, a in zip(theta, v, strict=True)]
    expected = torch.autograd.grad(twin.outer(theta, hyper), hyper)
    for method in EXACT:
        found = hypergradient(**Toy().settings(steps), method=method)
        assert distance(arrays(found), [x.numpy() for x in expected]) < 1e-10


# -- by hand ---------------------------------------------------------------------------


def test_without_steps_only_the_direct_term_is_left():
    toy = Toy()
    for method in EXACT:
        found = hypergradient(**toy.settings(0), method=method)
        np.testing.assert_array_equal(found.gradients[0].data, 0)
        np.testing.assert_allclose(found.gradients[1].data, 0.2 * toy.hyper[1])


@pytest.mark.parametrize("method", [*EXACT, "finite", "one_step", "first_order"])
def test_nothing_is_learned_without_steps_or_rate_and_that_is_said(method):
    toy = Toy()
    outer = lambda p, h: (toy.residual(p) ** 2).mean()  # noqa: E731
    with pytest.warns(ZeroHypergradientWarning, match="no inner steps"):
        found = hypergradient(**toy.settings(0, outer=outer), method=method)
    assert not any(g.any() for g in arrays(found))
    with pytest.warns(ZeroHypergradientWarning, match="lr is 0"):
        found = hypergradient(**toy.settings(2, outer=outer, lr=0.0), method=method)
    assert not any(g.any() for g in arrays(found))


def test_a_detached_hyper_parameter_is_reported():
    toy = Toy()
    inner = lambda p, h, t: toy.inner(p, [x.detach() for x in h], t)  # noqa: E731
    outer = lambda p, h: (toy.residual(p) ** 2).mean()  # noqa: E731
    with pytest.warns(ZeroHypergradientWarning, match="detach"):
        hypergradient(**toy.settings(2, inner=inner, outer=outer))


def test_a_dead_gate_gets_no_gradient():
    """lambda = relu6(b), dead at b < 0 and saturated at b > 6."""
    theta = [Tensor(np.array([1.0, 2.0, 3.0]))]
    gate = leaf(np.array([-1.0, 1.0, 7.0]))
    found = hypergradient(
        lambda p, h, t: (F.relu6(h[0]) * p[0] * p[0]).sum(),
        lambda p, h: p[0].sum(),
        theta,
        [gate],
        steps=2,
        lr=0.01,
    )
    dead = found.gradients[0].data
    assert dead[0] == 0
    assert dead[1] != 0
    assert dead[2] == 0


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_quadratic_with_momentum_by_hand(method, steps):
    """ell = k/2 (theta - phi)^2, L = theta.

    With p = alpha (k + w) and s = alpha k, differentiating the steps by hand gives
    dtheta_1 = s, dtheta_2 = s (2 + mu - p),
    dtheta_3 = s (3 + 2 mu + mu^2 - 3 p - 2 mu p + p^2).
    """
    k, alpha, mu, w = 1.5, 0.2, 0.9, 0.1
    p, s = alpha * (k + w), alpha * k
    expected = {
        1: s,
        2: s * (2 + mu - p),
        3: s * (3 + 2 * mu + mu**2 - 3 * p - 2 * mu * p + p**2),
    }
    found = hypergradient(
        lambda p, h, t: 0.5 * k * (p[0] - h[0]) ** 2,
        lambda p, h: p[0],
        [Tensor(np.array(0.3))],
        [leaf(np.array(2.0))],
        steps=steps,
        lr=alpha,
        momentum=mu,
        weight_decay=w,
        velocity=[np.array(-0.7)],
        method=method,
    )
    assert found.gradients[0].item() == pytest.approx(expected[steps], rel=1e-14)
    assert found.gradients[0].shape == ()


def test_softmax_weights_trade_channels_against_each_other():
    """omega = softmax(b): adding a constant to b changes nothing."""
    problem = image_problem(Images(), 3, pixels=False)
    found = hypergradient(**problem).gradients[0].data
    assert abs(found).max() > 1e-6
    assert abs(found.sum()) < 1e-12 * abs(found).max() + 1e-17


def test_hyper_may_have_been_computed():
    """Their gradient, carried on by the chain rule, is that of what they came from."""
    problem = image_problem(Images(), 3)
    phi = leaf(np.random.default_rng(3).normal(size=(4, 4)))
    spread = Tensor(np.random.default_rng(4).normal(size=(5, 4, 4, 4)))

    def weights(phi):
        return F.tanh(phi) * spread

    recorded = weights(phi)
    found = hypergradient(**problem | {"hyper": [recorded]})
    (carried,) = grad(recorded, phi, found.gradients[0])
    inner = lambda p, h, t: problem["inner"](p, [weights(h[0])], t)  # noqa: E731
    direct = hypergradient(**problem | {"hyper": [phi], "inner": inner})
    assert distance([carried.data], arrays(direct)) < 1e-12


# -- products --------------------------------------------------------------------------


def test_jvp_is_the_jacobian_times_a_vector():
    rng = np.random.default_rng(0)
    a, b = leaf(rng.normal(size=(3, 2))), leaf(rng.normal(size=(2,)))
    u, v = Tensor(rng.normal(size=(3, 2))), Tensor(rng.normal(size=(2,)))
    outputs = [F.matmul(F.tanh(a), b), a * 2, Tensor(np.ones(4)), F.exp(b)]
    first, double, none, exponential = jvp(outputs, [a, b], [u, v])
    t = np.tanh(a.data)
    np.testing.assert_allclose(
        first.data, ((1 - t**2) * u.data) @ b.data + t @ v.data, rtol=1e-13
    )
    np.testing.assert_allclose(double.data, 2 * u.data)
    np.testing.assert_array_equal(none.data, np.zeros(4))
    np.testing.assert_allclose(exponential.data, np.exp(b.data) * v.data)
    assert not first.requires_grad


def test_jvp_can_be_differentiated():
    x, q = leaf(np.array([0.3, -2.0])), Tensor(np.array([1.0, 3.0]))
    (moved,) = jvp(F.exp(x), x, q, create_graph=True)
    (second,) = grad(moved.sum(), x)
    np.testing.assert_allclose(second.data, np.exp(x.data) * q.data)


def test_a_product_with_the_hessian_is_symmetric():
    """u'Hv = v'Hu, and the same by differences of gradients."""
    net = Images()
    problem = image_problem(net, 2)
    rng = np.random.default_rng(2)
    theta = [leaf(p.data) for p in net.parameters()]
    u, v = ([Tensor(rng.normal(size=p.shape)) for p in theta] for _ in range(2))
    loss = problem["inner"](theta, problem["hyper"], 0)

    def product(x, y):
        return sum((p.data * q.data).sum() for p, q in zip(x, y, strict=True))

    hv, hu = hvp(loss, theta, v), hvp(loss, theta, u)
    assert product(u, hv) == pytest.approx(product(v, hu), rel=1e-11)
    forward = jvp(grad(loss, theta, create_graph=True), theta, v)
    assert distance([x.data for x in forward], [x.data for x in hv]) < 1e-11


def test_the_hessian_of_logistic_regression():
    """H = X' D X / N with D = diag(s (1 - s))."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(7, 3)), rng.integers(0, 2, 7)
    theta = leaf(rng.normal(size=3))
    margin = F.matmul(Tensor(x), theta)
    scores = F.stack([margin * 0, margin], 1)
    loss = F.cross_entropy(scores, Tensor(labels))
    columns = [hvp(loss, theta, Tensor(e))[0].data for e in np.eye(3)]
    s = 1 / (1 + np.exp(-x @ theta.data))
    expected = x.T @ np.diag(s * (1 - s)) @ x / 7
    np.testing.assert_allclose(np.stack(columns), expected, rtol=1e-12)


def test_a_product_with_nothing_to_differentiate_is_zero():
    x, y = leaf(np.ones(2)), leaf(np.ones(3))
    linear, unused = hvp(x.sum(), [x, y], [Tensor(np.ones(2)), Tensor(np.ones(3))])
    np.testing.assert_array_equal(linear.data, np.zeros(2))
    np.testing.assert_array_equal(unused.data, np.zeros(3))


# -- implicit --------------------------------------------------------------------------


class Ridge:
    """1/2 mean (X theta - y)^2 + 1/2 exp(phi) |theta|^2, and its validation loss."""

    def __init__(self, phi=-1.0):
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(20, 4)), rng.normal(size=20)
        self.xv, self.yv = rng.normal(size=(15, 4)), rng.normal(size=15)
        self.phi, self.strength = leaf(np.array(phi)), np.exp(phi)
        self.hessian = self.x.T @ self.x / 20 + self.strength * np.eye(4)
        self.solution = np.linalg.solve(self.hessian, self.x.T @ self.y / 20)
        slope = self.xv.T @ (self.xv @ self.solution - self.yv) / 15
        inverse = np.linalg.inv(self.hessian)
        self.expected = -self.strength * slope @ inverse @ self.solution

    def fit(self, theta, x, y):
        r = F.matmul(Tensor(x), theta) - Tensor(y)
        return 0.5 * (r * r).mean()

    def inner(self, p, h, t):
        return self.fit(p[0], self.x, self.y) + 0.5 * F.exp(h[0]) * (p[0] ** 2).sum()

    def outer(self, p, h):
        return self.fit(p[0], self.xv, self.yv)

    def call(self, steps=0, lr=0.3, theta=None, **changes):
        start = self.solution if theta is None else theta
        return hypergradient(
            self.inner,
            self.outer,
            [Tensor(start)],
            [self.phi],
            steps=steps,
            lr=lr,
            **changes,
        )


def test_ridge_regression_has_a_closed_form():
    ridge = Ridge()
    cg = ridge.call(method="implicit")
    assert cg.gradients[0].item() == pytest.approx(ridge.expected, rel=1e-9)
    assert cg.info["products"] <= 5
    assert cg.info["outer_error"] < 1e-14
    series = ridge.call(method="implicit", solver="neumann", terms=500)
    assert series.gradients[0].item() == pytest.approx(ridge.expected, rel=1e-9)
    assert cg.value == ridge.outer([Tensor(ridge.solution)], []).item()
    far = ridge.call(
        method="implicit", theta=np.ones(4), steps=300, lr=0.3, momentum=0.5
    )
    assert far.gradients[0].item() == pytest.approx(ridge.expected, rel=1e-9)


def test_weight_decay_is_part_of_what_is_stationary():
    """exp(phi) |theta|^2 / 2 or the optimiser's own weight decay: the same."""
    ridge = Ridge()
    plain = lambda p, h, t: (  # noqa: E731
        ridge.fit(p[0], ridge.x, ridge.y) + h[0] * p[0].sum()
    )
    start, phi = [Tensor(ridge.solution)], [leaf(np.array(0.0))]
    kwargs = {"steps": 0, "lr": 0.3, "weight_decay": float(ridge.strength)}
    found = hypergradient(plain, ridge.outer, start, phi, method="implicit", **kwargs)
    long = hypergradient(plain, ridge.outer, start, phi, **kwargs | {"steps": 300})
    assert distance(arrays(found), arrays(long)) < 1e-9


@pytest.mark.parametrize("terms", [1, 2, 5, 20])
def test_terms_of_neumann_are_steps_from_the_solution(terms):
    ridge = Ridge()
    series = ridge.call(method="implicit", solver="neumann", terms=terms, unsolved=1)
    steps = ridge.call(steps=terms)
    assert distance(arrays(steps), arrays(series)) < 1e-12
    if terms == 1:
        one = ridge.call(steps=1, method="one_step")
        assert distance(arrays(one), arrays(series)) < 1e-12


def test_more_steps_converge_geometrically_to_the_implicit_gradient():
    ridge = Ridge()
    error = [
        abs(ridge.call(steps=t).gradients[0].item() - ridge.expected)
        for t in (40, 41, 42)
    ]
    rate = 1 - 0.3 * np.linalg.eigvalsh(ridge.hessian)[0]
    assert error[1] / error[0] == pytest.approx(rate, rel=1e-3)
    assert error[2] / error[1] == pytest.approx(rate, rel=1e-3)


def test_an_unsolved_or_unsolvable_inner_problem_is_reported():
    ridge = Ridge()
    with pytest.warns(NotStationaryWarning, match="would change the outer loss"):
        ridge.call(method="implicit", theta=np.ones(4))
    with pytest.raises(ValueError, match="series diverges"):
        ridge.call(method="implicit", solver="neumann", lr=3.0, terms=20)
    with pytest.raises(ValueError, match="needs lr > 0"):
        ridge.call(method="implicit", solver="neumann", lr=0.0)
    with pytest.raises(ValueError, match="'cg' or 'neumann'"):
        ridge.call(method="implicit", solver="lu")
    saddle = {
        "inner": lambda p, h, t: (h[0] * p[0] * p[0]).sum(),
        "outer": lambda p, h: (p[0] - 1).sum(),
        "parameters": [Tensor(np.zeros(2))],
        "hyper": [leaf(np.array([1.0, -1.0]))],
        "steps": 0,
        "lr": 0.1,
        "method": "implicit",
    }
    with pytest.raises(ValueError, match="not positive definite"):
        hypergradient(**saddle)
    with pytest.warns(ZeroHypergradientWarning):  # theta* = 0 for every phi
        hypergradient(**saddle, damping=3.0)


@pytest.mark.parametrize("solver", ["cg", "neumann"])
def test_an_unsolved_system_is_reported_as_what_it_is(solver):
    """theta* is exact, and the Hessian's condition too large for so few products."""
    curvature = np.geomspace(1e-3, 1, 50)
    problem = {
        "inner": lambda p, h, t: (0.5 * curvature * p[0] * p[0] - h[0] * p[0]).sum(),
        "outer": lambda p, h: ((p[0] - 1) ** 2).sum(),
        "parameters": [Tensor(2 / curvature)],
        "hyper": [leaf(np.full(50, 2.0))],
        "steps": 0,
        "lr": 1.0,
        "method": "implicit",
        "solver": solver,
    }
    with pytest.warns(UnsolvedSystemWarning, match="after 5 products") as caught:
        found = hypergradient(**problem, terms=5)
    assert len(caught) == 1
    assert found.info["residual"] > 0.1
    if solver == "cg":
        found = hypergradient(**problem)
        expected = 2 * (2 / curvature - 1) / curvature
        assert distance(arrays(found), [expected]) < 1e-8


def test_without_steps_implicit_does_not_blame_their_absence():
    problem = {
        "inner": lambda p, h, t: (p[0] * p[0]).sum() + 0 * h[0].sum(),
        "outer": lambda p, h: (p[0] - 1).sum(),
        "parameters": [Tensor(np.zeros(2))],
        "hyper": [leaf(np.ones(2))],
        "steps": 0,
        "lr": 0.1,
    }
    with pytest.warns(ZeroHypergradientWarning, match="computes with the hyper"):
        hypergradient(**problem, method="implicit")
    with pytest.warns(ZeroHypergradientWarning, match="there are no inner steps"):
        hypergradient(**problem)


# -- the tests are tested --------------------------------------------------------------

PLANTED = {  # a line of the recursion, and what a mistake would make of it
    "weight decay omitted": ("add_scaled(a, problem.w, q)", "a"),
    "momentum omitted": ("problem.mu * x", "0.0 * x"),
    "wrong sign of q": ("-problem.alpha[t], a", "problem.alpha[t], a"),
    "Hessian omitted": ("(a, problem.w, q), 1.0, hq", "(a, problem.w, q), 0.0, hq"),
    "first step skipped": ("1.0, mixed)", "0.0 if not t else 1.0, mixed)"),
    "direct term omitted": (
        "state[0])\n",
        "state[0])\n    gradients = zeros(gradients)\n",
    ),
    "last step skipped": (
        "if t < first",
        "if t == problem.steps - 1: continue\n        if t < first",
    ),
    "stale snapshot: the end": (
        "product(problem, theta,",
        "product(problem, state[0],",
    ),
    "stale snapshot: the start": (
        "product(problem, theta,",
        "product(problem, problem.theta,",
    ),
}


def planted(before, after):
    """The recursion as it is in its file, with one change."""
    source = inspect.getsource(recursion_file.sweep)
    assert source.count(before) == 1
    space = dict(vars(recursion_file))
    exec(source.replace(before, after), space)
    return lambda problem: space["sweep"](problem, double_backward)


def cosine(found, expected):
    x, y = (np.concatenate([np.ravel(t) for t in z]) for z in (found, expected))
    return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


@pytest.mark.parametrize("mistake", PLANTED)
def test_planted_errors_are_found(mistake):
    problem = Toy().settings(5)
    wrong = planted(*PLANTED[mistake])
    with pytest.raises(HypergradientMismatch, match="relative error"):
        check_hypergradient(**problem, method=wrong, tolerance=1e-6)
    right = planted("q = add_scaled", "q = add_scaled")
    check_hypergradient(**problem, method=right, tolerance=1e-6)


def test_a_cosine_would_let_errors_pass():
    problem = Toy().settings(5)
    expected = arrays(hypergradient(**problem))
    found = {
        name: arrays(hypergradient(**problem, method=planted(*change)))
        for name, change in PLANTED.items()
    }
    angles = {name: cosine(x, expected) for name, x in found.items()}
    print({name: round(float(c), 6) for name, c in angles.items()})
    assert angles["weight decay omitted"] > 0.999
    assert distance(found["weight decay omitted"], expected) > 1e-3
    assert min(distance(x, expected) for x in found.values()) > 1e-3


# -- dropout ---------------------------------------------------------------------------


def test_dropout_is_replayed():
    net = Images(dropout=0.4)
    for method in (*EXACT, "finite"):
        problem = image_problem(net, 3)
        net.dropout.generator = np.random.default_rng(7)
        inner = bilevel.replay(problem["inner"], net)
        outer = bilevel.replay(problem["outer"], net)
        check = check_hypergradient(
            **problem | {"inner": inner, "outer": outer}, method=method, tolerance=1e-5
        )
        found = hypergradient(
            **problem | {"inner": inner, "outer": outer}, method=method
        )
        if method == "unrolled":
            expected, differences = arrays(found), check.differences
        assert distance(arrays(found), expected) < (
            1e-4 if method == "finite" else 1e-10
        )
        np.testing.assert_array_equal(check.differences, differences)


def test_a_new_mask_at_recomputation_is_found():
    net = Images(dropout=0.4)
    problem = image_problem(net, 3)
    inner = bilevel.replay(problem["inner"], net)
    outer = bilevel.replay(problem["outer"], net)

    def new_masks(given):
        product = lambda p, *args: double_backward(  # noqa: E731
            replace(p, inner=problem["inner"]), *args
        )
        return recursion_file.sweep(given, product)

    with pytest.raises(HypergradientMismatch):
        check_hypergradient(
            **problem | {"inner": inner, "outer": outer}, method=new_masks
        )
    with pytest.raises(ValueError, match="Wrap losses that draw random numbers"):
        check_hypergradient(**problem)


# -- memory ----------------------------------------------------------------------------


def peak(steps, **options):
    """Bytes at the peak of a hypergradient; wide maps, few parameters."""
    problem = image_problem(Images(width=24), steps)
    hypergradient(**problem, **options)  # kernels are compiled, and keep workspaces
    tracemalloc.start()
    try:
        hypergradient(**problem, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_reverse_does_not_grow_with_the_steps():
    flat = [peak(t) for t in (2, 4, 8)]
    growing = [peak(t, method="unrolled") for t in (2, 4, 16)]
    assert max(flat) < 1.25 * min(flat)
    assert growing[2] > 2.5 * growing[0]
    assert growing[2] > 3 * flat[2]


def test_no_graph_outlives_the_call():
    problem = Toy().settings(2)
    for method in EXACT:
        found = hypergradient(**problem, method=method)
        assert not any(g.requires_grad for g in found.gradients)
        assert all(x.grad is None for x in problem["hyper"])


# -- bad input -------------------------------------------------------------------------

BAD = [
    ({"steps": -1}, ValueError, "steps must be a whole number"),
    ({"steps": 1.5}, ValueError, "steps must be a whole number"),
    ({"lr": [0.1]}, ValueError, "one for each step"),
    ({"lr": -0.1}, ValueError, "lr must be a number"),
    ({"momentum": -1}, ValueError, "momentum must be"),
    ({"weight_decay": "x"}, ValueError, "weight_decay must be"),
    ({"velocity": [None]}, ValueError, "velocities for 4 parameters"),
    ({"velocity": [np.ones(7)] * 4}, ValueError, r"velocity 0 has shape \(7,\)"),
    ({"method": "adjoint"}, ValueError, "method must be one of"),
    ({"eps": 1.0}, TypeError, "has no options"),
    ({"method": "finite", "eps": 0.0}, ValueError, "eps must be positive"),
    ({"keep": "some"}, ValueError, "'all' or 'sqrt'"),
    ({"last": 0}, ValueError, "at least 1"),
    ({"last": 1.5}, ValueError, "last must be a whole number"),
    ({"graphs": -1}, ValueError, "graphs must be at least 0"),
    ({"graphs": 1.5}, ValueError, "graphs must be a whole number"),
    ({"method": "implicit", "terms": 0}, ValueError, "terms must be at least 1"),
    ({"lr": None}, TypeError, "lr must be a number or one for each step, got None"),
    ({"hyper": []}, ValueError, "hyper is empty"),
    ({"hyper": Tensor([1.0])}, TypeError, "list of Tensors"),
    ({"hyper": [Tensor([1.0])]}, ValueError, "requires_grad=False"),
    ({"parameters": [np.ones(3)]}, TypeError, "Tensor of floats, got ndarray"),
    ({"parameters": [Tensor([1])]}, TypeError, "got int64"),
    ({"inner": lambda p, h, t: p[0]}, ValueError, "inner at t = 0 must return"),
    ({"outer": lambda p, h: 1.0}, ValueError, "outer must return"),
    ({"inner": lambda p, h, t: h[0].sum()}, ValueError, "inner at t = 0 does not"),
    ({"outer": lambda p, h: h[0].sum()}, ValueError, "outer does not depend"),
    ({"inner": lambda p, h, t: Tensor(1.0)}, ValueError, "functional_call"),
]


@pytest.mark.parametrize(("changes", "error", "text"), BAD)
def test_bad_input_is_refused_by_name(changes, error, text):
    with pytest.raises(error, match=text) as caught:
        hypergradient(**Toy().settings(2) | changes)
    assert str(caught.value).startswith("hypergradient: ")


def test_a_check_needs_precision_and_smoothness():
    toy = Toy()
    with pytest.raises(TypeError, match="float64"):
        check_hypergradient(
            **toy.settings(1, parameters=[Tensor(x).float() for x in toy.start])
        )
    kink = {
        "inner": lambda p, h, t: (p[0] * F.relu(h[0])).sum(),
        "outer": lambda p, h: (p[0] * p[0]).sum(),
        "parameters": [Tensor(np.ones(1))],
        "hyper": [leaf(np.array([1e-8]))],
        "steps": 1,
        "lr": 0.1,
    }
    with pytest.raises(ValueError, match="disagree in every direction"):
        check_hypergradient(**kink, eps=1e-6 / 3)
    both = {  # of two coordinates one is at a kink: an error there would not be seen
        **kink,
        "inner": lambda p, h, t: (p[0] * (F.relu(h[0]) + h[0])).sum(),
        "hyper": [leaf(np.array([1e-6, 1.0]))],
        "parameters": [Tensor(np.ones(2))],
    }
    with pytest.warns(UncheckedWarning, match="1 of 2 hyper-parameters were not"):
        assert check_hypergradient(**both).rejected == 1
    nothing = kink | {"outer": lambda p, h: (p[0] * np.nan).sum()}
    with pytest.raises(ValueError, match="outer loss is nan"):
        check_hypergradient(**nothing)
    with pytest.raises(ValueError, match="one tangent"):
        jvp(leaf(np.ones(2)) * 2, leaf(np.ones(2)), Tensor(np.ones(3)))
    with pytest.raises(ValueError, match="one vector"):
        hvp(leaf(np.ones(1)) * 2, leaf(np.ones(1)), [])


def test_a_check_puts_the_hyper_parameters_back():
    problem = Toy().settings(2)
    before = [x.data for x in problem["hyper"]]
    check_hypergradient(**problem)
    assert all(x.data is y for x, y in zip(problem["hyper"], before, strict=True))


# -- what is shown ---------------------------------------------------------------------


def test_the_example_prints_closed_forms_that_agree(capsys):
    path = Path(__file__).parents[1] / "examples" / "04_hypergradient.py"
    runpy.run_path(str(path), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[0]: line.split()[-1] for line in lines if len(line) > 9}
    assert lines[1].split()[-1] == shown["unrolled"]
    assert shown["reverse"] == shown["jvp"] == shown["unrolled"]
    closed, cg = (next(x for x in lines if s in x) for s in ("closed", "implicit, cg"))
    assert closed.split()[2] == cg.split()[2]


def test_the_benchmark_measures_every_estimator():
    from reference.bench import bilevel as bench

    with pytest.warns((NotStationaryWarning, UnsolvedSystemWarning)):
        result = bench.measure(width=2, batch=2, rounds=1, steps=[1])
    assert len(result["rows"]) == len(bench.ESTIMATORS)
    assert all(row["peak_mb"] > 0 for row in result["rows"])
    assert len(bench.table(result, "gradients", ".1f")) == 1 + len(bench.ESTIMATORS)
