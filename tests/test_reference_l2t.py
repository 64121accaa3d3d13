"""The PyTorch reference of L2T-ww and L2T-www, before anything is compared with it.

Sizes and rules of the documents, the identities between the methods, and the
hypergradient by routes that share nothing but the loss.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reference.torch import l2t, matching, networks
from reference.torch.fast import fast_iteration
from reference.torch.l2t import Options, iteration
from tinytl import models

PAIRS = ((0, 0), (1, 0), (1, 1), (2, 1))  # up and down, and one source layer twice
H_INPUTS = (None, "map", "pooled", "pooled-map")
STRONG = Options(weight_decay=0.1, meta_lr=1e-2, meta_weight_decay=1e-2)


class Case(NamedTuple):
    """The first four are the arguments of an iteration."""

    nets: matching.Networks
    state: l2t.State
    x: torch.Tensor
    labels: torch.Tensor


def case(h_input=None, dtype=torch.float64, seed=0, moved=True):
    """Tiny networks, images of 8 x 8; `moved` away from the special initial values."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        source, target = networks.tiny_resnet().to(dtype), networks.tiny_vgg().to(dtype)
        nets = matching.networks(source, target, PAIRS, (3, 8, 8), h_input)
        generator = torch.Generator().manual_seed(seed)
        networks.randomise_statistics(source, generator)
        state = l2t.start(nets)
        if moved:
            networks.randomise_statistics(target, generator)
            phi = {k: p + 0.1 * torch.randn_like(p) for k, p in state.phi.items()}
            v = {k: 0.1 * torch.randn_like(p) for k, p in state.theta.items()}
            state = l2t.start(nets)._replace(phi=phi, momentum=v)
        x = 0.5 * torch.randn(5, 3, 8, 8, dtype=dtype)
        return Case(nets, state, x, torch.randint(3, (5,)))


def train(case, options, steps=3, way=iteration):
    state, report = case.state, None
    for k in range(steps):
        state, report = way(case.nets, state, case.x + 0.1 * k, case.labels, options)
    return state, report


def distance(a, b):
    """Largest difference anywhere, relative to the largest number anywhere."""
    assert a.keys() == b.keys()
    top = max(v.abs().max().item() for v in b.values())
    return max((a[k] - b[k]).abs().max().item() for k in a) / max(top, 1e-300)


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def count(module):
    return sum(p.numel() for p in module.parameters())


# -- sizes and names -------------------------------------------------------------------


def test_parameter_counts():
    source, target = networks.resnet32(200), networks.vgg9(10)
    assert count(source) == 479_272
    assert count(target) == 9_231_114
    assert count(networks.vgg9(100)) == 9_277_284
    nets = matching.networks(source, target)
    assert count(nets.student.branch) == 165_424
    assert count(nets.meta.what) == 27_440
    assert count(nets.meta.where) == 575
    assert count(nets.meta.which) == 0
    features = target.forward_with_features(torch.zeros(2, 3, 32, 32))[1]
    sizes = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]
    assert [(f.shape[1], f.shape[2]) for f in features] == sizes
    features = source.forward_with_features(torch.zeros(1, 3, 32, 32))[1]
    sizes = [(16, 32)] * 5 + [(32, 16)] * 5 + [(64, 8)] * 5
    assert [(f.shape[1], f.shape[2]) for f in features] == sizes


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"h_input": "map"}, 1_295_280),
        ({"h_input": "pooled"}, 246_960),
        ({"h_input": "pooled-map", "pool": 1}, 10_080),
        ({"h_input": "pooled-map", "pool": 8}, 327_600),
        ({"h_input": "pooled-map", "pool": 4}, 85_680),
        ({"h_input": "map", "shared": True}, 60_615),
    ],
)
def test_parameter_counts_of_which(options, total):
    shapes = [(16, (32, 32)), (32, (16, 16)), (64, (8, 8))]
    assert 5 * sum(count(matching.Which(*s, **options)) for s in shapes) == total


@pytest.mark.parametrize(
    ("twin", "ours"),
    [
        (networks.vgg9(7, 2, width=3), models.VGG9(7, 2, width=3)),
        (networks.resnet32(7), models.resnet32(7)),
        (
            networks.ResNet(3, 1, (2, 3, 4), 2),
            models.ResNet(3, 1, (2, 3, 4), 2),
        ),
    ],
    ids=["VGG9", "ResNet-32", "ResNet"],
)
def test_networks_are_twins_of_ours(twin, ours):
    mine = {k: tuple(v.shape) for k, v in ours.state_dict().items()}
    assert {k: tuple(v.shape) for k, v in twin.state_dict().items()} == mine
    assert [k for k, _ in twin.named_parameters()] == [
        k for k, _ in ours.named_parameters()
    ]


# -- the loss --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("h_input", H_INPUTS)
def test_weights_start_as_documented(h_input, dtype):
    nets, _, x, _ = case(h_input, dtype, moved=False)
    maps = nets.source_maps(x)
    omega, lam, gamma = nets.meta(maps)
    for k, s in enumerate(maps):
        n, c = s.shape[:2]
        assert omega[k].shape == (n, c)
        torch.testing.assert_close(omega[k], torch.full_like(omega[k], 1 / c))
        linear = nets.meta.where[k].linear
        assert lam[k].shape == (n,)
        assert linear.bias.item() == 1
        assert linear.weight.abs().max() <= 1 / math.sqrt(c)
    assert len(gamma) == (0 if h_input is None else len(PAIRS))
    assert all(g.shape[2:] == (3, 3) for g in gamma)
    assert all((g == 1).all() for g in gamma)  # exactly


def rows(n_in, n_out):
    """The bilinear rule written down: which pixels an output pixel reads."""
    matrix = np.zeros((n_out, n_in))
    for i in range(n_out):
        s = max((i + 0.5) * n_in / n_out - 0.5, 0)
        a = math.floor(s)
        matrix[i, a] += 1 - (s - a)
        matrix[i, min(a + 1, n_in - 1)] += s - a
    return matrix


@pytest.mark.parametrize("size", [(3, 2), (3, 4), (3, 32), (32, 2), (8, 16), (5, 7)])
def test_resizing_follows_the_bilinear_rule(size):
    n_in, n_out = size
    x = torch.randn(2, 3, n_in, n_in, dtype=torch.float64)
    m = torch.tensor(rows(n_in, n_out))
    found = matching.resize(x, (n_out, n_out))
    torch.testing.assert_close(found, m @ x @ m.T, rtol=1e-13, atol=1e-13)


def test_resizing_by_hand():
    assert rows(3, 2).tolist() == [[0.75, 0.25, 0], [0, 0.25, 0.75]]
    assert rows(3, 4).tolist() == [
        [1, 0, 0],
        [0.375, 0.625, 0],
        [0, 0.625, 0.375],
        [0, 0, 1],
    ]
    assert np.flatnonzero(rows(32, 2).any(0)).tolist() == [7, 8, 23, 24]


def test_the_loss_is_its_formula():
    """Every sum and mean as a loop, for maps that grow, shrink and stay."""
    rng = np.random.default_rng(0)
    shapes = [((2, 3, 4), 2), ((2, 2, 3), 4), ((2, 4, 3), 3)]  # (N, C, size), target's
    source = [rng.normal(size=(n, c, s, s)) for (n, c, s), _ in shapes]
    target = [rng.normal(size=(n, c, t, t)) for (n, c, _), t in shapes]
    omega = [rng.uniform(size=(n, c)) for (n, c, _), _ in shapes]
    lam = [rng.uniform(size=n) for (n, _, _), _ in shapes]
    gamma = [rng.uniform(size=(n, c, 3, 3)) for (n, c, _), _ in shapes]
    total = without = plain = 0.0
    for k, ((N, C, S), W) in enumerate(shapes):
        for b in range(N):
            for c in range(C):
                s = rows(S, W) @ source[k][b, c] @ rows(S, W).T
                g = rows(3, W) @ gamma[k][b, c] @ rows(3, W).T
                for i in range(W):
                    for j in range(W):
                        d = (target[k][b, c, i, j] - s[i, j]) ** 2 / (W * W)
                        weight = lam[k][b] * omega[k][b, c] / N
                        total += 0.5 * weight * g[i, j] * d
                        without += 0.5 * weight * d
                        plain += 0.5 * d / (N * C)
    to = [[torch.tensor(a) for a in part] for part in (source, target)]
    weights = [[torch.tensor(a) for a in part] for part in (omega, lam, gamma)]
    www = matching.matching_loss(*to, matching.Weights(*weights), 0.5)
    ww = matching.matching_loss(*to, matching.Weights(*weights[:2], []), 0.5)
    ufm = matching.unweighted_loss(*to, 0.5)
    found = [www.item(), ww.item(), ufm.item()]
    assert found == pytest.approx([total, without, plain], rel=1e-13)


def test_scales_of_gamma():
    gamma = torch.rand(2, 3, 3, 3, dtype=torch.float64)
    raw, unit, flat = (
        matching.stretch(gamma, (4, 8), s) for s in ("raw", "unit", "flat")
    )
    torch.testing.assert_close(unit.mean((2, 3)), torch.ones(2, 3, dtype=unit.dtype))
    torch.testing.assert_close(unit * flat, raw)
    assert (flat == flat[:, :, :1, :1]).all()


# -- identities between the methods ----------------------------------------------------


def test_unweighted_matching_is_l2t_ww_with_constant_weights():
    """f at 0, g with w = 0 and e = 1: the same theta as SGD on CE + the plain loss."""
    c = case(moved=False)
    for g in c.nets.meta.where:
        torch.nn.init.zeros_(g.linear.weight)
    options = replace(STRONG, frozen=("what", "where"))
    c = c._replace(state=l2t.start(c.nets))
    state, _ = train(c, options)
    theta, v, buffers = c.state.theta, c.state.momentum, c.state.buffers
    for k in range(3):
        x = c.x + 0.1 * k
        p = l2t.leaves(theta)
        scores, matched, _ = l2t.forward(c.nets, p, buffers, x, True)
        loss = F.cross_entropy(scores, c.labels)
        loss = loss + matching.unweighted_loss(c.nets.source_maps(x), matched, 0.5)
        g = torch.autograd.grad(loss, list(p.values()))
        theta, v = l2t.sgd(theta, v, dict(zip(p, g, strict=True)), options)
    assert same_bits(state.phi, c.state.phi)
    assert distance(state.theta, theta) < 1e-13
    assert distance(state.momentum, v) < 1e-12


@pytest.mark.parametrize("way", [iteration, fast_iteration])
@pytest.mark.parametrize("h_input", H_INPUTS[1:])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_l2t_www_with_frozen_gamma_is_l2t_ww(h_input, dtype, way):
    """Bit for bit: gamma is exactly 1, and so is a bilinear mean of nine ones here."""
    www, ww = (case(h, dtype, moved=False) for h in (h_input, None))
    theta, phi = ww.state.theta, {**www.state.phi, **ww.state.phi}
    www = www._replace(state=www.state._replace(theta=theta, phi=phi))
    a, _ = train(ww, STRONG, way=way)
    b, _ = train(www, replace(STRONG, frozen=("which",)), way=way)
    assert same_bits(a.theta, b.theta)
    assert same_bits(a.buffers, b.buffers)
    assert same_bits(a.phi, {k: b.phi[k] for k in a.phi})


@pytest.mark.parametrize("way", [iteration, fast_iteration])
def test_beta_zero_is_training_from_scratch(way):
    """Bit for bit torch.optim.SGD on the target alone."""
    c = case(moved=False)
    state, _ = train(c, replace(STRONG, beta=0.0), way=way)
    target = c.nets.student.target
    sgd = torch.optim.SGD(target.parameters(), 0.1, 0.9, weight_decay=0.1)
    for k in range(3):
        sgd.zero_grad()
        F.cross_entropy(target(c.x + 0.1 * k), c.labels).backward()
        sgd.step()
    found = {f"target.{k}": p.detach() for k, p in target.named_parameters()}
    assert same_bits(found, {k: state.theta[k] for k in found})


@pytest.mark.parametrize("way", [iteration, fast_iteration])
def test_without_a_meta_rate_theta_does_not_depend_on_T(way):
    c = case()
    states = [train(c, replace(STRONG, meta_lr=0.0, T=T), way=way)[0] for T in range(4)]
    for state in states:
        assert same_bits(state.phi, c.state.phi)
        assert same_bits(state.theta, states[0].theta)
        assert same_bits(state.momentum, states[0].momentum)


# -- the hypergradient -----------------------------------------------------------------


@pytest.mark.parametrize("virtual", ["official", "paper"])
@pytest.mark.parametrize("T", [1, 2, 4])
@pytest.mark.parametrize("h_input", [None, "map"])
def test_three_routes_to_the_hypergradient(h_input, T, virtual):
    """Sweep, unrolling by autograd, and differences that know no gradient of phi."""
    c = case(h_input)
    options = replace(STRONG, T=T, virtual=virtual)
    G = l2t.hypergradient(*c, options)
    assert distance(G, l2t.unrolled(*c, options)) < 1e-10
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        along = {
            k: torch.randn(p.shape, generator=random, dtype=p.dtype)
            for k, p in c.state.phi.items()
        }
        expected = sum((G[k] * along[k]).sum().item() for k in G)
        size = math.sqrt(sum((g**2).sum().item() for g in G.values()))
        # a step short enough that no ReLU and no maximum changes sides
        found = l2t.difference(*c, options, along, 1e-7)
        assert abs(found - expected) < 1e-5 * size


@pytest.mark.parametrize("name", ["what.0.linear.bias", "where.3.linear.weight"])
def test_differences_coordinate_by_coordinate(name):
    c = case()
    G = l2t.hypergradient(*c, STRONG)[name].flatten()
    for k in range(G.numel()):
        along = l2t.zeros(c.state.phi)
        along[name].view(-1)[k] = 1.0
        found = l2t.difference(*c, STRONG, along)
        assert abs(found - G[k].item()) < 1e-6 * G.abs().max().item()


def mutant(case, options, change):
    """G with something wrong in the sweep alone."""
    _, match, classify = l2t.objectives(*case[:1], *case[2:], options)
    snapshots, _ = l2t.virtual_steps(match, case.state, options)
    after, _ = l2t.final_step(classify, snapshots[-1], case.state.phi, options)
    a, _ = l2t.outer_gradient(classify, after)
    steps = [match] * options.T + [classify]
    steps, snapshots, options = change(steps, snapshots, options)
    return l2t.reverse_sweep(steps, snapshots, a, case.state.phi, options)[0]


MUTANTS = {
    "no weight decay": lambda s, t, o: (s, t, replace(o, weight_decay=0.0)),
    "no momentum": lambda s, t, o: (s, t, replace(o, momentum=0.0)),
    "no last step": lambda s, t, o: (s[:-1], t[:-1], o),
    "no first step": lambda s, t, o: (s[1:], t[1:], o),
    "steps in disorder": lambda s, t, o: (s, [t[1], t[0], *t[2:]], o),
    "rate": lambda s, t, o: (s, t, replace(o, lr=o.lr * 1.001)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_in_the_sweep_are_noticed(name):
    """By a distance a thousand times what the routes above may differ by."""
    c = case()
    right = l2t.unrolled(*c, STRONG)
    assert distance(mutant(c, STRONG, lambda *all: all), right) < 1e-10
    assert distance(mutant(c, STRONG, MUTANTS[name]), right) > 1e-4


@pytest.mark.parametrize("way", [iteration, fast_iteration])
@pytest.mark.parametrize("change", [{"T": 0}, {"lr": 0.0}])
def test_hypergradient_that_is_exactly_zero(way, change):
    """Nothing depends on phi without matching steps, or without a rate."""
    _, report = train(case("map"), replace(STRONG, **change), 1, way)
    assert all((g == 0).all() for g in report.hypergradient.values())


@pytest.mark.parametrize("way", [iteration, fast_iteration])
def test_hypergradient_of_softmax_and_of_dead_pairs(way):
    """softmax ignores a common shift; relu6 is flat below 0 and above 6."""
    c = case()
    c.state.phi["where.0.linear.bias"].fill_(-50.0)
    c.state.phi["where.2.linear.bias"].fill_(50.0)
    _, report = train(c, STRONG, 1, way)
    G = report.hypergradient
    for k in range(len(PAIRS)):
        b, w = G[f"what.{k}.linear.bias"], G[f"where.{k}.linear.weight"]
        assert b.sum().abs() <= 1e-12 * b.abs().max()
        assert (w == 0).all() == (k in (0, 2))
    assert (G["what.0.linear.weight"] == 0).all()  # lambda = 0: no matter what
    assert (G["what.2.linear.weight"] != 0).any()


# -- the iteration ---------------------------------------------------------------------


@pytest.mark.parametrize("h_input", H_INPUTS)
@pytest.mark.parametrize(
    "change",
    [
        *({"T": T} for T in range(4)),
        {"bn": "restore"},
        {"bn": "freeze"},
        {"virtual": "paper"},
        {"scale": "unit"},
        {"scale": "flat"},
        {"frozen": ("where", "which")},
    ],
    ids=str,
)
def test_the_fast_form_computes_the_same(h_input, change):
    c = case(h_input)
    options = replace(STRONG, **change)
    a, one = train(c, options)
    b, two = train(c, options, way=fast_iteration)
    assert a.steps == b.steps == 3
    for mine, other in zip(a[:-1], b[:-1], strict=True):
        assert distance(mine, other) < 1e-9
    assert one.losses == pytest.approx(two.losses, rel=1e-9)
    if options.T:
        assert distance(one.hypergradient, two.hypergradient) < 1e-9
    for mine, other in zip(one.weights.tensors(), two.weights.tensors(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", [iteration, fast_iteration])
def test_the_rollback_is_exact(way):
    """theta and v are bit for bit what the real step left; inputs are untouched."""
    c = case("map")
    before = [{k: v.clone() for k, v in part.items()} for part in c.state[:-1]]
    state, _ = way(*c, STRONG)
    both, _, _ = l2t.objectives(c.nets, c.x, c.labels, STRONG)
    real, _, deposited = l2t.real_step(both, c.state, STRONG)
    assert same_bits(state.theta, real.theta)
    assert same_bits(state.momentum, real.momentum)
    assert any((g != 0).any() for g in deposited.values())
    assert all(same_bits(a, b) for a, b in zip(before, c.state[:-1], strict=True))
    assert all(not v.requires_grad for part in state[:-1] for v in part.values())


@pytest.mark.parametrize("T", [0, 1, 2, 3])
@pytest.mark.parametrize("way", [iteration, fast_iteration])
def test_passes_of_an_iteration(way, T):
    """As published 2T + 4 of the target (8 for T = 2), 2T + 1 of the source."""
    c = case()
    passes = {"target": 0, "source": 0}

    def counter(name):
        def hook(*_):
            passes[name] += 1

        return hook

    c.nets.student.target.features[0].register_forward_hook(counter("target"))
    c.nets.source.conv1.register_forward_hook(counter("source"))
    way(*c, replace(STRONG, T=T))
    published = way is iteration
    assert passes["target"] == (2 * T + 4 if published else T + 3)
    assert passes["source"] == (2 * T + 1 if published else 1)


@pytest.mark.parametrize("way", [iteration, fast_iteration])
def test_running_statistics_by_policy(way):
    """Two updates as published, the second with the real step's result; or just one."""
    c = case()
    left = {
        bn: train(c, replace(STRONG, bn=bn), 1, way)[0]
        for bn in ("official", "restore", "freeze")
    }
    counts = {
        bn: {int(b) for k, b in state.buffers.items() if "num_batches" in k}
        for bn, state in left.items()
    }
    assert counts == {"official": {2}, "restore": {1}, "freeze": {1}}
    _, _, once = l2t.forward(c.nets, c.state.theta, c.state.buffers, c.x, False)
    theta = left["official"].theta
    _, _, twice = l2t.forward(c.nets, theta, once, c.x, False)
    assert same_bits(left["restore"].buffers, once)
    assert same_bits(left["freeze"].buffers, once)
    assert distance(left["official"].buffers, twice) < 1e-15
    for bn in ("restore", "freeze"):
        assert same_bits(left[bn].phi, left["official"].phi)


def test_parameters_out_of_the_loss_decay_and_keep_moving():
    """The classifier in a matching step: g = 0, but w and mu still act."""
    c = case()
    _, match, _ = l2t.objectives(c.nets, c.x, c.labels, STRONG)
    (_, after), _ = l2t.virtual_steps(match, c.state, replace(STRONG, T=1))
    p, v = (
        part["target.classifier.weight"] for part in (c.state.theta, c.state.momentum)
    )
    moved = 0.9 * v + 0.1 * p
    torch.testing.assert_close(after.momentum["target.classifier.weight"], moved)
    torch.testing.assert_close(after.theta["target.classifier.weight"], p - 0.1 * moved)


def test_meta_steps_are_adams():
    """Three in a row, and nothing for what is frozen."""
    c = case("pooled")
    options = replace(STRONG, frozen=("where",))
    leaves = l2t.leaves(c.state.phi)
    adam = torch.optim.Adam(
        [p for k, p in leaves.items() if not k.startswith("where")],
        options.meta_lr,
        weight_decay=options.meta_weight_decay,
    )
    state = c.state
    for k in range(3):
        G = {k2: torch.sin(p + k).detach() for k2, p in leaves.items()}
        state = l2t.meta_step(state, G, options)
        for name, p in leaves.items():
            p.grad = G[name]
        adam.step()
    assert distance(state.phi, {k: p.detach() for k, p in leaves.items()}) < 1e-15
    for name, p in leaves.items():
        if not name.startswith("where"):
            torch.testing.assert_close(state.mean[name], adam.state[p]["exp_avg"])
            torch.testing.assert_close(state.square[name], adam.state[p]["exp_avg_sq"])


@pytest.mark.parametrize("way", [iteration, fast_iteration])
def test_float32_stays_float32(way):
    state, report = train(case("map", torch.float32), Options(), way=way)
    for part in (*state[:-1], report.hypergradient):
        for name, v in part.items():
            assert v.dtype == torch.float32 or "num_batches" in name
            assert v.isfinite().all()


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_two_readings_of_the_schedule():
    """What today's torch does with a scheduler stepped before each epoch, and then."""
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 200)
    for epoch in range(200):
        schedule.step()
        found = l2t.learning_rate(epoch, reading="torch-1.1")
        assert found == pytest.approx(schedule.get_last_lr()[0], rel=1e-9, abs=1e-15)
    assert l2t.learning_rate(0, reading="torch-1.1") == pytest.approx(0.0999938, 1e-6)
    assert l2t.learning_rate(199, reading="torch-1.1") == 0
    assert l2t.learning_rate(0) == 0.1
    assert l2t.learning_rate(199) == pytest.approx(6.17e-6, rel=1e-3)
