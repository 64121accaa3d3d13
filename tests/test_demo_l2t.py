"""The demonstration of L2T: the field G_w against differences, and paired runs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tinytl import Tensor, grad
from tinytl import functional as F
from tinytl.experiments import figures_l2t, l2t, l2t_learned, l2t_text
from tinytl.nn import functional_call
from tinytl.transfer import Weights, matching_loss

SETTINGS = {**l2t.DEFAULTS, "seed": 5, "steps": 2, "points": [2], "per_class": 2}
SETTINGS |= {"batch_size": 10}


def run(arm, **changes):
    return l2t.compute({**SETTINGS, "arm": arm, **changes}, lambda loss: None)


def trained(arm, **changes):
    """L2T in float64 after one step, and the batch of that step."""
    settings = {**SETTINGS, "arm": arm, "weight_decay": 0.1, **changes}
    found = l2t.prepared(settings)
    for network in (found.source, found.student, found.meta):
        network.double()
    train = l2t.subset(settings)
    batch = train.take(l2t.looked_at(train.labels, 6))
    x, y = Tensor(batch.images.astype(np.float64)), Tensor(batch.labels)
    return found, x, y, found.step(x, y)


EPS = 1e-6
"""Small, since F jumps where max pooling changes its mind on the way."""

# -- the field -------------------------------------------------------------------------


def outer_loss(training, w, x, y):
    """F after T steps with pixel weights w, written out; w a list of arrays."""
    names, theta = zip(*training.student.named_parameters(), strict=True)
    memory = training.sgd.state_dict()["state"]
    v = [memory[k]["momentum_buffer"] for k in range(len(theta))]
    theta = [p.data for p in theta]
    group = training.sgd.param_groups[0]
    source, _ = l2t.maps_and_weights(training, x)

    def forward(values):
        named = dict(zip(names, values, strict=True))
        return functional_call(training.student, named, x)

    for t in range(training.steps + 1):
        values = [Tensor(p, requires_grad=True) for p in theta]
        scores, matched = forward(values)
        if t == training.steps:
            loss = F.cross_entropy(scores, y)
        else:
            away = [
                (Tensor(k) * (u - s) * (u - s)).sum() / (len(y) * k[0, 0].size)
                for k, u, s in zip(w, matched, source, strict=True)
            ]
            loss = training.beta * sum(away[1:], away[0])
        slopes = grad(loss, values, allow_unused=True)
        for k, g in enumerate(slopes):
            slope = 0.0 if g is None else g.data
            v[k] = group["momentum"] * v[k] + slope + group["weight_decay"] * theta[k]
            theta[k] = theta[k] - group["lr"] * v[k]
    return F.cross_entropy(forward([Tensor(p) for p in theta])[0], y).item()


@pytest.mark.parametrize("arm", ["ww", "www-map"])
def test_the_field_is_the_slope_of_the_outer_loss(arm):
    """Central differences, the whole trial written out again, single pixels and all."""
    training, x, y, _ = trained(arm)
    fields = l2t.pixel_field(training, x, y)
    source, weights = l2t.maps_and_weights(training, x)
    w = [
        l2t.pixel_weight(by, s.shape[2:]) for by, s in zip(weights, source, strict=True)
    ]
    rng = np.random.default_rng(0)
    directions = [[rng.normal(size=k.shape) for k in w] for _ in range(2)]
    for pair, place in ((0, (0, 3, 7, 7)), (8, (2, 10, 1, 1))):
        one = [np.zeros(k.shape) for k in w]
        one[pair][place] = 100.0
        directions.append(one)
    for u in directions:
        ends = [
            outer_loss(training, [k + e * d for k, d in zip(w, u, strict=True)], x, y)
            for e in (EPS, -EPS)
        ]
        slope = sum((g.data * d).sum() for g, d in zip(fields, u, strict=True))
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * EPS), rel=1e-5)


def test_the_field_has_the_maps_that_training_has():
    """Resized by area where L2T is told so: cells' means."""
    training, x, _, _ = trained("ww")
    training.resize = "area"
    found, _ = l2t.maps_and_weights(training, x)
    _, maps = training.source.forward_with_features(x)
    shrunk = 0
    for source, (m, _), (h, w) in zip(
        found, training.pairs, training.sizes, strict=True
    ):
        n, c, height, width = maps[m].shape
        if height > h and height % h == width % w == 0:
            cells = maps[m].data.reshape(n, c, h, height // h, w, width // w)
            np.testing.assert_allclose(source.data, cells.mean((3, 5)), atol=1e-12)
            shrunk += 1
    assert shrunk


def test_gradients_of_the_three_weights_are_sums_of_the_field():
    training, x, y, report = trained("www-map", meta_lr=0.0)
    fields = iter(report.fields)
    by_pair = zip(
        l2t.pixel_field(training, x, y), report.weights, training.sizes, strict=True
    )
    for field, by, (h, w) in by_pair:
        basis = Tensor(np.eye(9).reshape(9, 1, 3, 3))
        up = F.interpolate(basis, (h, w), mode="bilinear").data[:, 0]  # 9, H, W
        g, omega, lambda_ = field.data, by.omega.data, by.lambda_.data
        gamma = np.einsum("bck,kij->bcij", by.gamma.data.reshape(*omega.shape, 9), up)
        close = {"rtol": 1e-7, "atol": 1e-12}
        d_omega = np.einsum("b,bcij,bcij->bc", lambda_, gamma, g)
        np.testing.assert_allclose(next(fields).data, d_omega, **close)
        d_lambda = np.einsum("bc,bcij,bcij->b", omega, gamma, g)
        np.testing.assert_allclose(next(fields).data, d_lambda, **close)
        d_gamma = np.einsum("b,bc,kij,bcij->bck", lambda_, omega, up, g)
        np.testing.assert_allclose(
            next(fields).data.reshape(d_gamma.shape), d_gamma, **close
        )


def test_looking_at_the_field_changes_nothing():
    training, x, y, _ = trained("www-pooled")
    modules = (training.student, training.meta, training.source)

    def state():
        return [v.data for m in modules for v in m.state_dict().values()] + [
            v for s in training.sgd.state_dict()["state"].values() for v in s.values()
        ]

    before = state()
    l2t.pixel_field(training, x, y)
    for a, b in zip(before, state(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_in_one_factor_give_the_same_loss():
    training, x, _, _ = trained("www-map")
    source, weights = l2t.maps_and_weights(training, x)
    matched = [s * 0.5 for s in source]
    alone = [
        l2t.alone(Tensor(l2t.pixel_weight(by, s.shape[2:])))
        for by, s in zip(weights, source, strict=True)
    ]
    one, other = (matching_loss(matched, source, w).item() for w in (weights, alone))
    assert one == pytest.approx(other, rel=1e-13)


# -- the runs --------------------------------------------------------------------------


def test_arms_share_subset_order_and_target(monkeypatch):
    seen = []

    def spy(self, images, labels):
        head = self.student.target.fc.weight.data.copy()
        seen.append((head, images.data.copy(), labels.data.copy()))
        raise InterruptedError

    monkeypatch.setattr(l2t.L2T, "step", spy)
    for arm in l2t.ARMS:
        with pytest.raises(InterruptedError):
            run(arm)
    assert len(seen) == 5
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_which_starts_as_what_and_where():
    """gamma = 1, so the first loss and lambda are the same to the last bit."""
    ww, *www = (run(arm) for arm in ("ww", "www-map", "www-pooled"))
    for other in www:
        assert other["loss"][0] == ww["loss"][0]
        assert other["lambda"][0] == ww["lambda"][0]
        assert other["lambda"][1] != ww["lambda"][0]


def test_results_have_what_the_pictures_need():
    result = run("www-map")
    assert np.shape(result["lambda"]) == (2, 9)
    assert [len(w) for w in result["omega"]] == [16] * 3 + [32] * 3 + [64] * 3
    assert np.allclose([sum(w) for w in result["omega"]], 1, atol=1e-4)
    assert np.shape(result["gamma"]) == (9, l2t.SHOWN, 3, 3)
    assert np.shape(result["field"]) == (3, l2t.SHOWN, 14, 14)
    assert np.any(result["field"])
    for arm in ("scratch", "ufm"):
        assert set(run(arm)) == {"loss", "accuracy"}
    assert l2t.shown_images(SETTINGS).shape == (l2t.SHOWN, 1, 28, 28)


def test_before_training_all_weights_are_equal():
    training = l2t.prepared({**SETTINGS, "arm": "www-map"})
    seen = l2t.seen(training, Tensor(l2t.shown_images(SETTINGS)))
    assert np.all(np.array(seen["gamma"], np.float32) == pytest.approx(1, abs=1e-4))
    for block in figures_l2t.relative_omega([seen]):
        np.testing.assert_allclose(block, 0, atol=1e-4)


def test_images_looked_at_are_one_of_each_class_then_the_next():
    labels = np.array([2, 2, 0, 0, 1, 1])
    assert l2t.looked_at(labels, 5).tolist() == [2, 4, 0, 3, 5]


def test_an_unknown_arm_is_refused():
    with pytest.raises(ValueError, match="l2t: arm = 'w'"):
        run("w")


def test_agreement_is_spearmans():
    values = np.random.default_rng(0).normal(size=(4, 12))
    wanted = stats.spearmanr(values, axis=1).statistic[np.triu_indices(4, 1)].mean()
    assert l2t_learned.rank_agreement(values) == pytest.approx(wanted)
    assert np.isnan(l2t_learned.rank_agreement(values[:1]))


def test_a_pair_without_gamma_weighs_all_pixels_alike():
    omega, lambda_ = np.array([[0.25, 0.75]]), np.array([2.0])
    by = Weights(Tensor(omega), Tensor(lambda_))
    weight = l2t.pixel_weight(by, (2, 5))
    np.testing.assert_allclose(
        weight, np.broadcast_to([[[[0.5]], [[1.5]]]], (1, 2, 2, 5))
    )


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    path = Path(__file__).parents[1] / "examples" / "05_what_where_which.py"
    spec = importlib.util.spec_from_file_location("example", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(example, "STEPS", 2)
    example.main()
    assert (tmp_path / "05_what_where_which.png").exists()
    printed = capsys.readouterr().out
    assert "accuracy on 797 digits after 2 steps" in printed
    assert printed.count("->") == 9


def test_dead_pairs_are_counted():
    """lambda of two runs, three steps and nine pairs; two pairs have come to 0."""
    values = np.ones((2, 3, 9))
    values[0, 1:, 4] = values[1, 2, 0] = 0
    sentence = l2t_learned.where_sentence([{"lambda": run} for run in values.tolist()])
    assert "in 2 of 18 cases" in sentence
    assert "The mean of all nine changes by −0.11" in sentence


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.0, "none of 4 ways"),
        (0.1, "4 learn faster than training from scratch by more than chance, 0 sl"),
        (-0.1, "0 learn faster than training from scratch by more than chance, 4 sl"),
    ],
)
def test_the_lesson_follows_from_the_numbers(gain, words):
    rng = np.random.default_rng(0)
    runs = {}
    for k, arm in enumerate(l2t.ARMS):
        noise = 0.01 * rng.normal(size=(6, 2))
        level = 0.5 + gain * (k > 0) + noise - noise.mean(axis=0)
        runs[arm] = [{"accuracy": list(one)} for one in level]
    assert words in l2t_text._answer([1, 2], runs)
