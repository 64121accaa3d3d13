"""Experiments: exact claims, statistics against scipy, results that survive a kill."""

import json
import os
import re
import signal as signals
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tinytl import nn
from tinytl.data import ImageSet
from tinytl.experiments import (
    collapse,
    demo,
    figures,
    pretrain,
    runner,
    signal,
    statistics,
    training,
    transfer,
    wording,
)
from tinytl.experiments.runner import Cell, Silent
from tinytl.optim import SGD

ROOT = Path(__file__).parents[1]
TINY = {
    "collapse": {"steps": 3, "batch_size": 8},
    "signal": {"depth": 4, "width": 16, "draws": 2, "images": 32, "steps": 4},
    "transfer": {"steps": 4, "points": [2, 4], "batch_size": 25},
    "l2t": {"steps": 2, "points": [1, 2], "batch_size": 10, "per_class": 2},
}


def no_tick(loss):
    pass


# -- statistics ------------------------------------------------------------------------


@pytest.mark.parametrize("df", [1, 2, 4, 7, 29, 200])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_t_quantile_is_students(df, level):
    wanted = stats.t.ppf((1 + level) / 2, df)
    assert statistics.t_quantile(level, df) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("level", "df"), [(0, 3), (1, 3), (0.95, 0)])
def test_t_quantile_refuses(level, df):
    with pytest.raises(ValueError, match="t_quantile: needs 0 < level < 1 and df >= 1"):
        statistics.t_quantile(level, df)


def test_mean_interval_is_scipys():
    x = np.random.default_rng(0).normal(3, 2, 9)
    ours = statistics.mean_interval(list(x))
    low, high = stats.t.interval(0.95, 8, x.mean(), stats.sem(x))
    assert (ours.low, ours.high) == pytest.approx((low, high))
    assert ours.sd == pytest.approx(np.std(x, ddof=1))


def test_an_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    runs = [statistics.mean_interval(rng.normal(0, 1, 5)) for _ in range(1000)]
    assert np.mean([r.low < 0 < r.high for r in runs]) == pytest.approx(0.95, abs=0.02)


def test_one_value_has_no_interval_and_none_no_mean():
    assert np.isnan(statistics.mean_interval([0.5]).half)
    with pytest.raises(ValueError, match="mean_interval: needs"):
        statistics.mean_interval([])


def test_paired_difference_is_the_paired_t_test():
    rng = np.random.default_rng(2)
    y = rng.normal(0, 5, 8)
    x = y + rng.normal(1, 0.1, 8)
    ours = statistics.paired_difference(x, y)
    wanted = stats.ttest_rel(x, y).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((wanted.low, wanted.high))
    assert ours.half < statistics.mean_interval(x).half / 10
    with pytest.raises(ValueError, match="paired_difference: needs pairs"):
        statistics.paired_difference(x, y[:3])


def test_learning_is_start_area_final():
    points, curve = [5, 10, 40], [0.2, 0.6, 0.8]
    ours = statistics.learning(points, curve)
    assert (ours.start, ours.final) == (0.2, 0.8)
    assert ours.area == pytest.approx(np.trapezoid(curve, points) / 35)
    with pytest.raises(ValueError, match="two points or more"):
        statistics.learning([1], [0.5])


# -- collapse --------------------------------------------------------------------------


def largest_difference(layer):
    """Over all pairs, one after the other."""
    rows = [
        np.append(w.ravel(), b)
        for w, b in zip(layer.weight.data, layer.bias.data, strict=True)
    ]
    return max(np.abs(f - g).max() for f in rows for g in rows)


def test_spread_is_the_largest_difference_between_two_filters():
    layer = nn.Conv2d(3, 7, 3, generator=np.random.default_rng(0))
    assert collapse.spread(layer) == largest_difference(layer) > 0
    layer.weight.data = np.broadcast_to(layer.weight.data[:1], layer.weight.shape)
    assert collapse.spread(layer) == largest_difference(layer)
    nn.init.ones_(layer.bias)
    assert collapse.spread(layer) == largest_difference(layer) == 0


def run_collapse(arm, **changes):
    settings = {**collapse.DEFAULTS, "seed": 3, "arm": arm, "steps": 12, **changes}
    return collapse.compute(settings, no_tick)


def test_equal_filters_stay_equal_to_the_last_bit(kernel_set):
    spread = run_collapse("equal")["spread"]
    assert max(spread[0]) == max(spread[1]) == 0.0
    assert spread[2][0] == 0.0 < spread[2][1]
    assert len(spread[0]) == 13


def test_under_a_symmetric_head_no_layer_gets_free(kernel_set):
    result = run_collapse("equal-all", batch_size=7)
    assert max(max(layer) for layer in result["spread"]) == 0.0
    before, after = (np.array(result[f"conv1_{w}"]) for w in ("before", "after"))
    assert (before == before[0]).all()
    assert (after == after[0]).all()
    assert not np.array_equal(before, after)  # they learn, all the same


@pytest.mark.parametrize("arm", ["he", "xavier", "small"])
def test_random_filters_differ(arm):
    assert min(min(layer) for layer in run_collapse(arm, steps=2)["spread"]) > 0


def test_a_symmetric_head_has_the_same_weights_for_every_unit():
    head = nn.Linear(6 * 4, 3, generator=np.random.default_rng(0))
    collapse.make_symmetric_(head, units=6)
    weight = head.weight.data.reshape(3, 6, 4)
    assert (weight == weight[:, :1]).all()
    assert len(np.unique(weight)) == 12


def test_unknown_arms_and_rules_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="arm = 'hee'"):
        collapse.initial_network("hee", 16, rng)
    with pytest.raises(ValueError, match="rule = 'hee'"):
        signal.Deep("hee", 2, 4, rng)
    with pytest.raises(ValueError, match="arm = 'some'"):
        run_transfer("some")


# -- signal ----------------------------------------------------------------------------


@pytest.mark.parametrize("rule", signal.RULES)
def test_variances_are_those_that_the_rules_draw_with(rule):
    rng = np.random.default_rng(0)
    weight = nn.Linear(300, 500, generator=rng).weight
    signal.initialise_(weight, rule, rng)
    assert weight.data.var() == pytest.approx(
        signal.VARIANCES[rule](300, 500), rel=0.03
    )


@pytest.mark.parametrize("rule", signal.RULES)
def test_the_formula_predicts_signal_and_gradient(rule):
    """Wide layers, few of them, several draws: theory and practice within 10 %."""
    settings = {**signal.DEFAULTS, "seed": 0, "rule": rule, "kind": "depth"}
    settings |= {"depth": 5, "width": 400, "draws": 4}
    result = signal.compute(settings, no_tick)
    for name in ("signal", "gradient"):
        measured = np.sqrt((np.array(result[name]) ** 2).mean(axis=0))
        predicted = np.array(result[f"{name}_predicted"])
        np.testing.assert_allclose(measured, predicted, rtol=0.15)


def test_predicted_factors_by_hand():
    settings = {"rule": "xavier", "depth": 30, "width": 64}
    forward, backward = signal.predicted(settings, pixels=1.0, top=1.0)
    assert forward[-1] / forward[0] == pytest.approx(2**-14.5)
    assert backward[0] / backward[-1] == pytest.approx(2**-14.5)
    assert forward[0] == pytest.approx((784 * 2 / (784 + 64)) ** 0.5)
    assert backward[-1] == pytest.approx((10 * 2 / 74 / 2) ** 0.5)


def test_a_diverging_run_is_told_and_not_hidden():
    settings = {**signal.DEFAULTS, "seed": 0, "data_seed": 0, "kind": "train"}
    result = signal.compute({**settings, "rule": "large", "steps": 9}, no_tick)
    assert result["loss"][-1] is None
    assert len(result["loss"]) < 9


def test_the_best_on_validation_is_picked_whatever_the_test_says():
    runs = [{"validation": v, "test": t} for v, t in ((0.5, 0.9), (0.7, 0.1), (0.7, 1))]
    assert signal.pick_best(runs) == 1


# -- transfer --------------------------------------------------------------------------


def run_transfer(arm, **changes):
    settings = {**transfer.DEFAULTS, **TINY["transfer"], "per_class": 5, "seed": 0}
    return transfer.compute({**settings, "arm": arm, **changes}, no_tick)


def prepared(arm):
    model = pretrain.ThreeBlocks(10, generator=np.random.default_rng(0))
    transfer.load_blocks(model)
    settings = {**transfer.DEFAULTS, "arm": arm, "weight_decay": 0.1}
    return model, transfer.optimizer_for(model, settings)


def snapshot(model):
    return {name: value.data.copy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("arm", "fixed"),
    [
        ("frozen", ("block1", "block2", "block3")),
        ("last", ("block1", "block2")),
        ("all", ()),
    ],
)
def test_frozen_means_that_not_a_bit_changes(arm, fixed):
    """Weights, biases and running statistics, in spite of weight decay and momentum."""
    model, optimizer = prepared(arm)
    before, rng = snapshot(model), np.random.default_rng(0)
    images = rng.normal(size=(8, 1, 28, 28)).astype(np.float32)
    for _ in range(3):
        training.train_step(model, optimizer, images, np.arange(8))
    training.accuracy(model, images, np.arange(8))
    training.train_step(model, optimizer, images, np.arange(8))
    for name, value in snapshot(model).items():
        same = np.array_equal(value, before[name])
        assert same == (name.split(".")[0] in fixed), name


def test_frozen_parts_get_no_gradient_and_are_not_in_the_optimiser():
    model, optimizer = prepared("frozen")
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert moved == {id(p) for p in model.fc.parameters()}
    assert not any(p.requires_grad for p in model.block2.parameters())
    assert not any(part.training for part in model.block3.modules())


def test_rates_differ_by_the_factor():
    _, optimizer = prepared("all")
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.03, 0.003, 0.003, 0.003])


def test_arms_share_head_subset_and_order(monkeypatch):
    """What the first batch is and what the head starts with, arm by arm."""
    seen = []

    def spy(model, optimizer, images, labels):
        seen.append((model.fc.weight.data.copy(), images.copy(), labels.copy()))
        return 0.0

    monkeypatch.setattr(transfer, "train_step", spy)
    monkeypatch.setattr(transfer, "accuracy", lambda *_: 0.0)
    for arm in transfer.ARMS:
        run_transfer(arm, steps=1)
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_blocks_are_loaded_and_the_head_is_not():
    names = run_transfer("frozen", steps=2, points=[2])["loaded"]
    assert names
    assert all(name.startswith("block") for name in names)
    state, metadata = pretrain.source_weights()
    assert set(state) - set(names) == {"fc.weight", "fc.bias"}
    assert metadata["command"].startswith("python -m tinytl.experiments.pretrain")


def test_the_shipped_network_names_clothes():
    state, metadata = pretrain.source_weights()
    model = pretrain.ThreeBlocks(40, generator=np.random.default_rng(0))
    model.load_state_dict(state)
    test = training.fashion("test").take(np.arange(0, 1000, 5))
    score = training.accuracy(model, test.images, test.labels * 4)
    assert score == pytest.approx(float(metadata["accuracy"].split()[0]), abs=0.06)


def test_turned_images_by_hand():
    images = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    result, labels = pretrain.turned(images, np.array([3, 5]), np.array([0, 1]))
    assert result[0].tolist() == images[0].tolist()
    assert result[1, 0].tolist() == [[5, 7], [4, 6]]  # a quarter against the clock
    assert labels.tolist() == [12, 21]


def test_pretraining_twice_gives_the_same_bytes(tmp_path, capsys):
    for name in ("a", "b"):
        arguments = ["--out", str(tmp_path / name), "--epochs", "2"]
        assert pretrain.main([*arguments, "--steps-per-epoch", "2"]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "epoch 2/2" in capsys.readouterr().out


# -- training --------------------------------------------------------------------------


def test_accuracy_counts_and_leaves_modes_alone():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Identity())
    model[1].eval()
    images = np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2)
    model.append(nn.Linear(4, 4, bias=False))
    nn.init.eye_(model[3].weight)
    assert training.accuracy(model, images, np.array([0, 1, 2, 0]), 3) == 0.75
    assert [part.training for part in model] == [True, False, True, True]


def test_endless_visits_all_in_every_epoch():
    order = training.endless(10, 5, np.random.default_rng(0))
    for _ in range(3):
        epoch = np.concatenate([next(order), next(order)])
        assert sorted(epoch) == list(range(10))
    with pytest.raises(ValueError, match="no batch of 11"):
        next(training.endless(10, 11, np.random.default_rng(0)))


def test_a_step_goes_down():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = SGD(model.parameters(), lr=0.5)
    x = np.random.default_rng(0).normal(size=(6, 1, 2, 2)).astype(np.float32)
    y = np.array([0, 1, 0, 1, 0, 1])
    losses = [training.train_step(model, optimizer, x, y) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_are_enlarged_and_standardised(split):
    images = training.digits_of_size(split, 28)
    assert isinstance(images, ImageSet)
    assert images.images.shape[1:] == (1, 28, 28)
    assert images.images.dtype == np.float32
    assert abs(images.images.mean()) < 0.1


# -- runner ----------------------------------------------------------------------------


def tiny_cells(name="transfer", seed=0, seeds=1):
    return demo.CELLS[name](seed, seeds, **TINY[name])


class Recorder(Silent):
    """Progress that remembers."""

    def __init__(self):
        self.begun, self.ticks, self.ended = [], 0, 0

    def begin(self, stage, steps, kept):
        self.begun.append((stage, steps, kept))

    def tick(self, cell, loss):
        self.ticks += 1

    def end(self):
        self.ended += 1


def test_cells_are_computed_once(tmp_path):
    cells, progress = tiny_cells()[:2], Recorder()
    first = runner.run_cells(cells, tmp_path, progress)
    assert progress.begun == [("transfer", 8, 0)]
    assert progress.ticks == 8
    written = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("transfer*")}
    assert written.keys() == {cell.file_name() for cell in cells}
    assert runner.run_cells(cells, tmp_path, progress) == first
    assert progress.ended == 1
    assert written == {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("transfer*")}
    assert set(runner.seconds_taken(tmp_path)) == {cell.key() for cell in cells}


def test_a_damaged_or_foreign_result_is_computed_again(tmp_path):
    (cell,) = tiny_cells()[:1]
    (result,) = runner.run_cells([cell], tmp_path, Silent())
    path = tmp_path / cell.file_name()
    content = path.read_bytes()
    for damaged in (
        b"",
        content[:-9],
        b"[]",
        content.replace(b'"seed": 0', b'"seed": 1'),
    ):
        path.write_bytes(damaged)
        assert runner.stored(cell, tmp_path) is None
    assert runner.run_cells([cell], tmp_path, Silent()) == [result]
    assert path.read_bytes() == content  # the same seed gives the same bytes


def test_keys_tell_settings_apart_and_versions(monkeypatch):
    cells = [cell for name in demo.CELLS for cell in tiny_cells(name, seeds=2)]
    keys = {cell.key() for cell in cells}
    assert len(keys) == len(cells)
    monkeypatch.setattr(runner, "versions", lambda: {"tinytl": "another"})
    assert not keys & {cell.key() for cell in cells}


def test_an_error_in_a_cell_is_reported_and_the_others_are_kept(tmp_path):
    good, *_ = tiny_cells()
    bad = Cell("transfer", "bad", {**good.settings, "arm": "nonsense"}, 4)
    with pytest.raises(RuntimeError, match="transfer, bad: ValueError: transfer: arm"):
        runner.run_cells([bad], tmp_path, Silent())
    assert runner.run_cells([good], tmp_path, Silent())


def test_a_worker_that_dies_is_reported(tmp_path, monkeypatch):
    from tinytl.experiments import worker

    monkeypatch.setattr(
        worker,
        "start",
        lambda environment: subprocess.Popen(
            [sys.executable, "-c", ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ),
    )
    with pytest.raises(RuntimeError, match="its process ended"):
        runner.run_cells(tiny_cells()[:1], tmp_path, Silent())


def test_forget_deletes_what_is_named(tmp_path):
    cells = tiny_cells()[:2]
    runner.run_cells(cells, tmp_path, Silent())
    assert runner.forget(cells[:1], tmp_path) == 1
    assert [runner.stored(cell, tmp_path) is None for cell in cells] == [True, False]


def test_numbers_that_json_lacks_become_none():
    assert [runner.number(v) for v in (1, np.inf, np.nan)] == [1.0, None, None]


# -- the whole, and stopping it --------------------------------------------------------

SCRIPT = """
import sys, time
from pathlib import Path
from tinytl.experiments import demo, runner
class Slow(runner.Silent):
    def begin(self, stage, steps, kept):
        print("begin", stage, flush=True)
keep, kept = runner.keep, []
def keep_some(cell, *arguments):
    keep(cell, *arguments)
    kept.append(cell)
    if len(kept) == int(sys.argv[2]):
        time.sleep(60)
runner.keep = keep_some
changes = {changes}
demo.run(Path(sys.argv[1]), Slow(), seeds=2, only=["collapse"], changes=changes)
"""


def start_demo(folder, steps, cells=0):
    """A demo as a process of its own; it keeps so many cells and then waits."""
    changes = {"collapse": {**TINY["collapse"], "steps": steps}}
    code = SCRIPT.replace("{changes}", repr(changes))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(cells)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def finished(folder):
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("cells/collapse-*.json")}


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(signals, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_demo_goes_on_where_it_was(tmp_path):
    process = start_demo(tmp_path / "killed", steps=30, cells=4)
    wait_for(lambda: len(finished(tmp_path / "killed")) >= 2, process)
    process.send_signal(signals.SIGKILL)
    process.communicate()
    survivors = finished(tmp_path / "killed")
    assert 2 <= len(survivors) < 5
    for name in ("killed", "whole"):
        process = start_demo(tmp_path / name, steps=30)
        output, _ = process.communicate()
        assert process.returncode == 0, output
    after = finished(tmp_path / "killed")
    assert survivors.items() <= after.items()  # not written again
    assert len(after) == 5
    for name in after:
        one, two = (tmp_path / k / "cells" / name for k in ("killed", "whole"))
        assert one.read_bytes() == two.read_bytes()
    assert len(list(tmp_path.rglob(".*.tmp"))) <= 1  # if killed while it wrote
    assert not list((tmp_path / "whole").rglob("*.tmp"))
    one, two = (
        (tmp_path / k / "collapse.png").read_bytes() for k in ("killed", "whole")
    )
    assert one == two


class Links(HTMLParser):
    """Every reference, image and text of a page; and that tags are closed."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self):
        super().__init__()
        self.references, self.images, self.open, self.text = [], 0, [], ""
        self.identities = []

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.references += [facts[k] for k in ("src", "href") if k in facts]
        self.identities += [facts["id"]] if "id" in facts else []
        if tag == "img":
            self.images += 1
            assert facts["alt"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    report = demo.run(folder, Silent(), seeds=2, changes=TINY)
    return folder, report.read_text()


def test_the_report_is_whole_and_needs_nothing_else(whole):
    folder, text = whole
    page = Links()
    page.feed(text)
    assert page.open == []
    drawn = sorted(p.name for p in folder.glob("*.png"))
    assert len(drawn) == page.images == 11
    inside = [r for r in page.references if r.startswith("data:image/png;base64,")]
    anchors = [r[1:] for r in page.references if r.startswith("#")]
    assert len(inside) + len(anchors) == len(page.references)  # and nothing external
    assert set(anchors) <= set(page.identities)
    assert not re.search(r"https?://|@import|url\(|<script", text)
    for word in ("What this shows", "What it does not show", "How to run it again"):
        assert word in page.text
    assert "--seed 0 --seeds 2" in page.text
    assert "nan" not in page.text.lower().split()


def test_the_report_is_written_the_same_way_twice(whole, tmp_path):
    """All but the seconds."""
    folder, text = whole
    again = demo.run(folder, Silent(), seeds=2, changes=TINY).read_text()
    assert again == text


def test_fresh_computes_again(whole):
    folder, _ = whole
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in
              folder.glob("cells/collapse-*")}  # fmt: skip
    demo.run(folder, Silent(), seeds=2, only=["collapse"], fresh=True, changes=TINY)
    for name, (written, content) in before.items():
        path = folder / "cells" / name
        assert path.stat().st_mtime_ns > written
        assert path.read_bytes() == content


def test_figures_are_of_the_size_that_fits_a_page(whole):
    folder, _ = whole
    for path in folder.glob("*.png"):
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(content[16:20], "big") == 960
        assert len(content) < 250_000


def test_mosaic_puts_filters_side_by_side():
    filters = np.arange(4 * 9.0).reshape(4, 3, 3)
    whole = figures.mosaic(filters, 2)
    assert whole.shape == (7, 7)
    assert np.isnan(whole[3]).all()
    assert whole[4:, :3].tolist() == filters[2].tolist()


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'tinytl\[demo\]'"):
        figures.figure(1)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"pip install 'tinytl\[demo\]'"):
        demo.Bars()


def test_numbers_in_words():
    one = statistics.Interval(0.123, 0.0456, 0.1, 5)
    assert wording.percent(0.5) == "50.0 %"
    assert wording.with_interval(one) == "12.3 ± 4.6 %"
    assert wording.points(statistics.Interval(-0.01, 0.02, 0, 3)) == "−1.0 ± 2.0"
    assert wording.power(0.00031) == "3.1 · 10<sup>−4</sup>"
    assert wording.power(12.0) == "1.2 · 10<sup>1</sup>"
    assert (wording.short(0.0), wording.short(3e-8)) == ("0", "3e-08")


def test_a_result_is_json_that_others_can_read(whole):
    folder, _ = whole
    for path in folder.glob("cells/*.json"):
        content = json.loads(
            path.read_text(), parse_constant=lambda name: pytest.fail(name)
        )
        if path.name != "seconds.json":
            assert {"experiment", "settings", "versions", "result"} == set(content)
