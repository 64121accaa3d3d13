"""L2T: identities between the methods, and the published iteration digit by digit."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from checker import check_grads

import tinytl.functional as F
from reference.torch import l2t as theirs
from reference.torch import matching as twins
from reference.torch import networks as nets
from tinytl import Tensor, grad, nn
from tinytl.bilevel import sgd_settings
from tinytl.forward import pushed
from tinytl.models import VGG9, ResNet, resnet32
from tinytl.optim import SGD
from tinytl.transfer import L2T, matching_loss
from tinytl.transfer.matching import (
    mean_distance,
    mean_product,
    resized,
    spread,
    weighted_distance,
)

PAIRS = ((0, 0), (0, 2), (1, 1), (2, 0), (2, 3), (2, 4))


def ours(seed=0, dtype=np.float64, pairs=PAIRS, **options):
    """A narrow VGG9 that learns from a narrow ResNet, all from one seed."""
    rng = np.random.default_rng(seed)
    source = ResNet(5, widths=(3, 4, 5), blocks=1, generator=rng, dtype=dtype)
    for name, buffer in source.named_buffers():
        if "running" in name:
            buffer.data = rng.uniform(0.5, 1.5, buffer.shape).astype(dtype)
    target = VGG9(3, width=2, generator=rng, dtype=dtype)
    return L2T(source, target, pairs, generator=rng, **options)


def batches(count, n=5, dtype=np.float64):
    rng = np.random.default_rng(7)
    for _ in range(count):
        x = rng.standard_normal((n, 3, 32, 32)).astype(dtype)
        yield Tensor(x), Tensor(rng.integers(0, 3, n))


def twin(l2t, h_input=None):
    """The same networks in PyTorch, with the same values."""
    source = nets.ResNet(5, widths=(3, 4, 5), blocks=1).double()
    target = nets.vgg9(3, width=2).double()
    n = twins.networks(source, target, l2t.pairs, h_input=h_input)
    for module, mine in ((source, l2t.source), (n.student, l2t.student)):
        state = {k: torch.tensor(v.data) for k, v in mine.state_dict().items()}
        module.load_state_dict(state)
    values = [torch.tensor(p.data) for p in l2t.meta.parameters()]
    for p, value in zip(n.meta.parameters(), values, strict=True):
        p.data = value.reshape(p.shape)
    return n


def relative(a, b):
    a, b = np.asarray(a), np.asarray(b)
    # A bias in front of a norm has gradient 0, and rounding alone moves it: a sum of
    # 5 x 32 x 32 terms of about 0.1 is off by 2e-15, in an order that kernels choose.
    return max(np.abs(a - b).max() - 1e-14, 0) / max(np.abs(b).max(), 1e-300)


@pytest.mark.parametrize("which", [None, "map", "pooled", "pooled-map"])
@pytest.mark.parametrize("method", ["reverse", "unrolled"])
def test_three_iterations_equal_the_published_ones(which, method):
    """Every parameter, statistic, momentum, meta-parameter and Adam state, to 1e-9."""
    mine = ours(which=which, method=method, weight_decay=0.1, meta_lr=1e-2)
    n = twin(mine, which)
    state = theirs.start(n)
    options = theirs.Options(weight_decay=0.1, meta_lr=1e-2)
    for x, labels in batches(3):
        report = mine.step(x, labels)
        tx, tl = torch.tensor(x.data), torch.tensor(labels.data)
        state, expected = theirs.iteration(n, state, tx, tl, options)
        found = zip(report.hypergradient, expected.hypergradient.values(), strict=True)
        for g, h in found:
            assert relative(g.data, h.reshape(g.shape)) < 1e-6
        compare(mine, state)
        assert report.outer == pytest.approx(expected.losses["outer"], rel=1e-10)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("reverse", {"graphs": None}),
        ("reverse", {"graphs": 1}),
        ("reverse", {"graphs": 0, "keep": "sqrt"}),
        ("unrolled", {}),
        ("jvp", {}),
        ("finite", {}),
    ],
)
def test_every_estimator_agrees_with_the_published_iteration(method, options):
    """To 1e-6 of the largest number, with all three kinds of weights learned.

    "first_order" leaves out what makes dF/dphi, the way from step to step, and is off
    by more than it says; "one_step" and "implicit" see the last step alone, which does
    not depend on phi, and are refused.
    """
    settings = {"which": "map", "weight_decay": 0.1}
    mine = ours(method=method, method_options=options, **settings)
    rough = ours(method="first_order", **settings)
    n = twin(mine, "map")
    (x, labels) = next(batches(1))
    inputs = torch.tensor(x.data), torch.tensor(labels.data)
    chosen = theirs.Options(weight_decay=0.1)
    _, expected = theirs.iteration(n, theirs.start(n), *inputs, chosen)
    wanted = [h.numpy().ravel() for h in expected.hypergradient.values()]
    wanted = np.concatenate(wanted)
    found, first = (
        np.concatenate([g.data.ravel() for g in l2t.step(x, labels).hypergradient])
        for l2t in (mine, rough)
    )
    assert np.abs(wanted).max() > 0
    assert relative(found, wanted) < 1e-6
    assert relative(first, wanted) > 0.01


def velocity_of(l2t):
    return sgd_settings(l2t.sgd)["velocity"]


def compare(mine, state):
    for name, p in mine.student.named_parameters():
        assert relative(p.data, state.theta[name]) < 1e-9, name
    for name, b in mine.student.named_buffers():
        assert relative(b.data, state.buffers[name]) < 1e-9, name
    velocity = zip(state.momentum.items(), velocity_of(mine), strict=True)
    for (name, v), own in velocity:
        assert relative(own, v) < 1e-9, name
    for k, (p, name) in enumerate(zip(mine.meta.parameters(), state.phi, strict=True)):
        assert relative(p.data.ravel(), state.phi[name].ravel()) < 1e-9, name
        adam = mine.adam.state[k]
        for own, value in (
            (adam["exp_avg"], state.mean[name]),
            (adam["exp_avg_sq"], state.square[name]),
        ):
            assert relative(own.ravel(), value.ravel()) < 1e-9, name


@pytest.mark.parametrize(
    "options",
    [{"virtual": "paper"}, {"bn_virtual": "restore"}, {"bn_virtual": "freeze"}],
)
def test_the_variants_equal_the_references(options):
    mine = ours(**options)
    n = twin(mine)
    renamed = {"bn_virtual": "bn", "virtual": "virtual"}
    settings = theirs.Options(**{renamed[k]: v for k, v in options.items()})
    state = theirs.start(n)
    for x, labels in batches(2):
        mine.step(x, labels)
        tx, tl = torch.tensor(x.data), torch.tensor(labels.data)
        state, _ = theirs.iteration(n, state, tx, tl, settings)
        compare(mine, state)


# -- the methods are nested ------------------------------------------------------------


def trained(steps=3, **options):
    l2t = ours(dtype=np.float32, **options)
    for x, labels in batches(steps, dtype=np.float32):
        l2t.step(x, labels)
    return l2t


def theta(l2t, part=""):
    return {
        name: p.data.tobytes()
        for name, p in l2t.student.named_parameters()
        if name.startswith(part)
    }


def test_ufm_is_l2t_ww_with_constant_weights():
    """f frozen at 0, g with w = 0 and b = 1: bit for bit."""
    ww = ours(dtype=np.float32, meta_lr=0, meta_weight_decay=0)
    ufm = ours(dtype=np.float32, what=False, where=False)
    for where in ww.meta.where:
        where.linear.weight.data = np.zeros_like(where.linear.weight.data)
    for name, p in ufm.student.named_parameters():
        p.data = dict(ww.student.named_parameters())[name].data
    for x, labels in batches(3, dtype=np.float32):
        ww.step(x, labels)
        ufm.step(x, labels)
    assert ufm.adam is None
    assert theta(ww) == theta(ufm)


@pytest.mark.parametrize("which", ["map", "pooled", "pooled-map"])
@pytest.mark.parametrize("scale", ["raw", "unit", "flat"])
def test_l2t_www_with_frozen_gamma_is_l2t_ww(which, scale):
    ww, www = ours(dtype=np.float32), ours(dtype=np.float32, which=which, scale=scale)
    for group in www.adam.param_groups:
        frozen = {id(p) for p in www.meta.which.parameters()}
        group["params"] = [p for p in group["params"] if id(p) not in frozen]
    step = www.adam.step
    www.adam.step = lambda g: step(g[: len(www.adam.param_groups[0]["params"])])
    for x, labels in batches(3, dtype=np.float32):
        ww.step(x, labels)
        www.step(x, labels)
    assert theta(ww) == theta(www)
    learned = [p.data.tobytes() for p in ww.meta.parameters()]
    assert [p.data.tobytes() for p in www.meta.parameters()][: len(learned)] == learned


def test_beta_zero_is_training_from_scratch():
    """Bit for bit a plain loop of cross-entropy and SGD."""
    mine, net = ours(dtype=np.float32, beta=0.0), VGG9(3, width=2)
    net.load_state_dict(mine.student.target.state_dict())
    sgd = SGD(net.parameters(), 0.1, 0.9, weight_decay=1e-4)
    start = theta(mine)
    for x, labels in batches(3, dtype=np.float32):
        mine.step(x, labels)
        sgd.step(grad(F.cross_entropy(net(x), labels), list(net.parameters())))
    plain = {f"target.{k}": p.data.tobytes() for k, p in net.named_parameters()}
    assert theta(mine) == plain
    assert plain != start
    assert mine.adam is None


def test_without_a_meta_rate_theta_does_not_depend_on_the_trial():
    still = {"meta_lr": 0, "meta_weight_decay": 0}
    long, short = (
        ours(dtype=np.float32, steps=4, **still),
        ours(dtype=np.float32, **still),
    )
    for x, labels in batches(2, dtype=np.float32):
        long.step(x, labels)
        short.step(x, labels)
    assert theta(long) == theta(short)


def test_without_learning_the_first_step_is_the_same_and_phi_stays():
    """The control starts from the weights that learning starts from, and keeps them."""
    learning, still = ours(bn_virtual="restore"), ours(learn=False)
    phi = [p.data.tobytes() for p in still.meta.parameters()]
    for k, (x, labels) in enumerate(batches(2)):
        reports = [l2t.step(x, labels) for l2t in (learning, still)]
        assert (theta(learning) == theta(still)) == (k == 0)
        assert reports[1].outer is None
        assert reports[1].hypergradient == ()
    assert [p.data.tobytes() for p in still.meta.parameters()] == phi


def test_the_trial_leaves_no_trace():
    """All is as after the real step; with "restore" the running statistics too."""
    full = ours(dtype=np.float32, bn_virtual="restore", meta_lr=0, meta_weight_decay=0)
    bare = ours(dtype=np.float32, what=False, where=False)
    for name, p in bare.student.named_parameters():
        p.data = dict(full.student.named_parameters())[name].data
    (x, labels) = next(batches(1, dtype=np.float32))
    source, by, weights = full._match(x)
    full._real_step(x, labels, source, by, weights)
    before = [b.data.tobytes() for b in full.student.buffers()]
    state = theta(full)
    velocity = [v.tobytes() for v in velocity_of(full)]
    full._trial(x, labels, source, by)
    assert theta(full) == state
    assert [v.tobytes() for v in velocity_of(full)] == velocity
    assert [b.data.tobytes() for b in full.student.buffers()] == before


@pytest.mark.parametrize("which", [None, "map"])
@pytest.mark.parametrize("scale", ["raw", "unit", "flat"])
def test_side_by_side_is_the_sum_over_the_pairs(which, scale):
    """The joined form of the loss, and its gradients, against pair by pair."""
    l2t = ours(which=which, scale=scale)
    rng = np.random.default_rng(2)
    for p in l2t.meta.parameters():
        p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    (x, _) = next(batches(1))
    source, by, weights = l2t._match(x)
    both = list(l2t.student.parameters()) + list(l2t.meta.parameters())
    one = weighted_distance(l2t.student(x, joined=True)[1], source, by)
    _, maps = l2t.source.forward_with_features(x)
    apart = resized([maps[m].detach() for m, _ in l2t.pairs], l2t.sizes)
    sum_of_pairs = matching_loss(l2t.student(x)[1], apart, weights, scale)
    assert one.item() == pytest.approx(sum_of_pairs.item(), rel=1e-12)
    for g, h in zip(
        grad(one, both, allow_unused=True),
        grad(sum_of_pairs, both, allow_unused=True),
        strict=True,
    ):
        assert (g is None) == (h is None)
        if g is not None:
            assert relative(g.data, h.data) < 1e-10


@pytest.mark.parametrize("weighted", [False, True])
def test_the_distance_has_the_derivatives_of_its_formula(weighted):
    """Value, gradient, and gradient of the gradient's norm, against the composition."""
    rng = np.random.default_rng(4)
    t, s, w = (Tensor(rng.standard_normal((2, 3, 4, 5)), True) for _ in range(3))
    g = Tensor(rng.standard_normal((2, 3)))
    inputs = [t, s, w] if weighted else [t, s]

    def derivatives(m):
        first = grad((m * g).sum(), inputs, create_graph=True)
        second = grad(sum((f**3).sum() for f in first), inputs, create_graph=True)
        third = grad(sum((s**2).sum() for s in second), inputs)
        return [m, *first, *second, *third]

    ours = derivatives(mean_distance(*inputs))
    theirs = derivatives(((w if weighted else 1) * (t - s) * (t - s)).mean((2, 3)))
    for a, b in zip(ours, theirs, strict=True):
        assert relative(a.data, b.data) < 1e-12


@pytest.mark.parametrize(
    ("operation", "maps"),
    [(mean_product, 2), (spread, 1), (mean_distance, 2), (mean_distance, 3)],
)
def test_operations_of_the_matching_close_a_circle(operation, maps):
    """Their derivatives of every order are theirs again, and so are tangents."""
    rng = np.random.default_rng(1)
    arrays = [*rng.normal(size=(maps, 2, 3, 2, 2))]
    arrays += [rng.normal(size=(2, 3))] if operation is spread else []
    check_grads(operation, arrays, order=3)
    inputs = [Tensor(a, True) for a in arrays]
    tangents = [Tensor(rng.normal(size=a.shape)) for a in arrays]
    step = 1e-4
    ahead, behind = (
        operation(
            *(Tensor(a + k * t.data) for a, t in zip(arrays, tangents, strict=True))
        )
        for k in (step, -step)
    )
    (moved,) = pushed([operation(*inputs)], inputs, tangents)
    slope = (ahead.data - behind.data) / (2 * step)
    np.testing.assert_allclose(moved.data, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_distance_in_both_orders_in_memory(dtype, last, channels, weighted):
    """Value and gradients against einsum in float64; a weight of 1 changes no bit."""
    rng = np.random.default_rng(6)
    given = rng.normal(size=(3, 2, 5, 4, channels)).astype(dtype)
    given = given.transpose(0, 1, 4, 2, 3)
    t, s, w = (Tensor(a, True) for a in (given if last else given.copy("C")))
    w = w if weighted else Tensor(np.ones_like(w.data), True)
    g = rng.normal(size=(2, channels)).astype(dtype)

    def derivatives(*maps):
        m = mean_distance(*maps)
        first = grad((m * Tensor(g)).sum(), [t, s], create_graph=True)
        return [m, *first, *grad((first[0] * first[0] * first[1]).sum(), [t, s])]

    found = derivatives(t, s, w)
    if not weighted:
        for a, b in zip(found, derivatives(t, s), strict=True):
            assert a.data.tobytes() == b.data.tobytes()
    weight, away = (a.astype(np.float64) for a in (w.data, t.data - s.data))
    slope = np.einsum("bcij,bcij,bc->bcij", weight, away, g) / 10
    unit = 1e-5 if dtype == np.float32 else 1e-13
    exact = np.einsum("bcij,bcij,bcij->bc", weight, away, away) / 20
    for a, b in zip(found[:3], (exact, slope, -slope), strict=True):
        np.testing.assert_allclose(a.data, b, rtol=unit, atol=unit)


def test_maps_of_different_sizes_have_no_distance():
    t, s = (Tensor(np.ones((2, 3, 4, n))) for n in (4, 1))
    with pytest.raises(ValueError, match="matching: maps differ in shape"):
        mean_distance(t, s)


def test_an_iteration_evaluates_nothing_twice():
    """Source and meta-networks once, the target T + 3 times: real, trial, judgement."""
    l2t = ours(dtype=np.float32, which="map", graphs=None)
    counts = {}

    def counting(name, function):
        def called(*arguments, **named):
            counts[name] = counts.get(name, 0) + 1
            return function(*arguments, **named)

        return called

    for name, part, method in (
        ("source", l2t.source, "forward_with_features"),
        ("target", l2t.student.target, "forward_with_features"),
        ("meta", l2t.meta, "forward"),
    ):
        setattr(part, method, counting(name, getattr(part, method)))
    (x, labels) = next(batches(1, dtype=np.float32))
    l2t.step(x, labels)
    assert counts == {"source": 1, "meta": 1, "target": l2t.steps + 3}


def test_the_source_never_changes():
    l2t = ours(dtype=np.float32)
    before = {k: v.data.tobytes() for k, v in l2t.source.state_dict().items()}
    for x, labels in batches(2, dtype=np.float32):
        l2t.step(x, labels)
    assert {k: v.data.tobytes() for k, v in l2t.source.state_dict().items()} == before
    assert not l2t.source.training


def test_parameter_counts_of_the_documents():
    rng = np.random.default_rng(0)
    pairs = [(m, n) for m in (4, 9, 14) for n in range(5)]

    def count(module):
        return sum(p.numel() for p in module.parameters())

    source, target = resnet32(200, generator=rng), VGG9(10, generator=rng)
    for which, parameters in (
        ("map", 1_295_280),
        ("pooled", 246_960),
        ("pooled-map", 327_600),
    ):
        l2t = L2T(source, target, pairs, which=which, generator=rng)
        assert count(l2t.meta.which) == parameters
    assert count(l2t.meta.what) == 27_440
    assert count(l2t.meta.where) == 575
    assert count(l2t.student.branch) == 165_424


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": ((9, 0),)}, r"no pair \(9, 0\): the source has 3 maps"),
        ({"virtual": "other"}, "virtual must be in"),
        ({"bn_virtual": "other"}, "bn_virtual must be in"),
        ({"which": "other"}, "h_input must be in"),
        ({"resize": "nearest"}, "resize must be in"),
        ({"method": "one_step"}, "method must be in"),
        ({"method": "implicit"}, "method must be in"),
        ({"steps": -1}, "steps must be an integer >= 0, got -1"),
        ({"steps": 1.5}, "steps must be an integer"),
        ({"beta": -0.5}, "beta must be finite and >= 0"),
        ({"beta": np.nan}, "beta must be finite"),
        ({"pairs": (("block9", 0),)}, "ResNet lists no map 'block9', but"),
        ({"pairs": ((0, "classifier"),)}, "VGG9 lists no map 'classifier', but"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        ours(**options)


def test_a_method_has_its_own_options():
    coarse = ours(method="finite", method_options={"eps": 1.0})
    fine = ours(method="finite", method_options={"eps": 1e-7})
    (x, labels) = next(batches(1))
    a, b = (l2t.step(x, labels).hypergradient for l2t in (coarse, fine))
    assert relative(a[-1].data, b[-1].data) > 1e-3
    with pytest.raises(TypeError, match=r"has no options \['eps'\]"):
        ours(method="unrolled", method_options={"eps": 1.0})


def test_pairs_go_by_the_names_of_layers():
    by_name = ours(
        dtype=np.float32,
        pairs=(("block1", "features.2"), ("block5", "features.13"), (1, 4)),
    )
    assert by_name.pairs == ((0, 0), (2, 2), (1, 4))
    by_number = ours(dtype=np.float32, pairs=((0, 0), (2, 2), (1, 4)))
    (x, labels) = next(batches(1, dtype=np.float32))
    for l2t in (by_name, by_number):
        l2t.step(x, labels)
    assert theta(by_name) == theta(by_number)


def test_names_are_of_the_layers_that_make_the_maps():
    """Hooked by name, each layer's output is the map of its place."""
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 32, 32)))
    rng = np.random.default_rng(0)
    for net in (
        ResNet(5, widths=(3, 4, 5), blocks=3, generator=rng, dtype=np.float64),
        VGG9(3, width=2, generator=rng, dtype=np.float64),
    ):
        net.eval()
        maps = net.features(x)
        assert len(net.feature_names) == len(maps)
        for name, expected in zip(net.feature_names, maps, strict=True):
            assert np.array_equal(output_of(net, name, x), expected.data)


def output_of(net, name, x):
    """What the layer of this name gives, layers being called one after the other."""
    if isinstance(net, VGG9):
        for k, layer in enumerate(net.features.children()):
            x = layer(x)
            if name == f"features.{k}":
                return x.data
    x = net.bn1(net.conv1(x), relu=True)
    for k, block in net.named_modules():
        if k.startswith("block") and k.count(".") == ("blocks" in k):
            x = block(x)
            if k == name:
                return x.data
    raise AssertionError(name)


def test_area_looks_at_every_pixel_where_bilinear_looks_at_few():
    s = np.random.default_rng(0).standard_normal((2, 3, 16, 16))
    (area,) = resized([Tensor(s)], [(2, 2)], "area")
    assert np.allclose(area.data, s.reshape(2, 3, 2, 8, 2, 8).mean((3, 5)))
    (few,) = resized([Tensor(s)], [(2, 2)])
    middle = s.reshape(2, 3, 2, 8, 2, 8)[:, :, :, 3:5, :, 3:5]
    assert np.allclose(few.data, middle.mean((3, 5)))
    (x, labels) = next(batches(1))
    one, other = ours(resize="area"), ours()
    for l2t in (one, other):
        l2t.step(x, labels)
    assert theta(one) != theta(other)


@pytest.mark.parametrize("method", ["reverse", "unrolled", "jvp"])
def test_frozen_and_unused_parameters_stay(method):
    """As if they were no parameters: the others move as without them."""
    l2t = ours(method=method)
    target = l2t.student.target
    first = [name for name, _ in target.named_parameters()][:2]
    for name in first:
        target.get_parameter(name).requires_grad_(False)
    target.spare = nn.Linear(3, 3, dtype=np.float64)
    rng = np.random.default_rng(0)
    again = L2T(l2t.source, target, PAIRS, generator=rng, method=method)
    before = {k: p.data.copy() for k, p in again.student.named_parameters()}
    (report,) = (again.step(x, labels) for x, labels in batches(1))
    moved = {
        k.removeprefix("target.")
        for k, p in again.student.named_parameters()
        if not np.array_equal(p.data, before[k])
    }
    names = {k.removeprefix("target.") for k in before}
    assert names - moved == {*first, "spare.weight", "spare.bias"}
    assert any(g.data.any() for g in report.hypergradient)


def test_looking_at_the_maps_changes_no_mode():
    """A part that its owner put in eval mode stays there."""
    rng = np.random.default_rng(0)
    source = ResNet(5, widths=(3, 4, 5), blocks=1, generator=rng)
    target = VGG9(3, width=2, generator=rng)
    target.features[1].eval()
    modes = [m.training for m in target.modules()]
    L2T(source, target, PAIRS)
    assert [m.training for m in target.modules()] == modes
    assert modes.count(False) == 1


def test_dropout_in_the_target_draws_its_masks_once_a_pass():
    """Recomputation sees the masks of the first evaluation: reverse = unrolled."""

    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            rng = np.random.default_rng(1)
            self.net = VGG9(3, width=2, generator=rng, dtype=np.float64)
            self.dropout = nn.Dropout(0.3, generator=np.random.default_rng(2))

        def forward_with_features(self, x):
            scores, maps = self.net.forward_with_features(x)
            return scores, [self.dropout(m) for m in maps]

    found = []
    for method in ("reverse", "unrolled"):
        rng = np.random.default_rng(0)
        source = ResNet(5, widths=(3, 4, 5), blocks=1, generator=rng, dtype=np.float64)
        l2t = L2T(source, Dropping(), PAIRS, generator=rng, method=method)
        report = l2t.step(*next(batches(1)))
        found.append(np.concatenate([g.data.ravel() for g in report.hypergradient]))
    assert np.abs(found[0]).max() > 0
    assert relative(*found) < 1e-9


def test_the_example_on_the_page_runs():
    page = Path(__file__).parents[1] / "docs" / "bilevel.md"
    (code,) = re.findall(r"```python\n(l2t = .*?)```", page.read_text(), re.S)
    rng = np.random.default_rng(0)
    images = Tensor(rng.standard_normal((2, 3, 32, 32)).astype(np.float32))
    names = {
        "L2T": L2T,
        "source": resnet32(4, generator=rng),
        "target": VGG9(3, width=2, generator=rng),
        "images": images,
        "labels": Tensor(np.array([0, 2])),
    }
    exec(code, names)
    assert names["l2t"].pairs == ((14, 4), (9, 2))
    assert np.isfinite(names["report"].loss)
