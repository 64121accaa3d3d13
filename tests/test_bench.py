"""The benchmark measures what it says, and refuses what is not the same work."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinytl
from reference.bench import __main__ as bench
from reference.bench import (
    l2t,
    measure,
    networks,
    profile,
    rows,
    startup,
    table,
    workloads,
)
from reference.bench.sides import Ours, Theirs
from tinytl.models import VGG9, resnet32

ROOT = Path(__file__).parents[1]


def made_up(group="norm", name="a", tinytl=0.5, torch=1.0, **more):
    """A row as it is kept; seconds of two variants of each library."""

    def variant(seconds):
        rounds = [seconds, 1.1 * seconds, 0.9 * seconds]
        return {"rounds_s": rounds, "peak_mb": 3.0, "error": 1e-7, "settle_s": 0.0}

    found = {"tinytl": tinytl, "torch": torch, "torch kept": 0.8 * torch}
    variants = {key: variant(seconds) for key, seconds in found.items()}
    numbers = {"batch": 8, "flops": 0.0, "bytes": 0.0, "others": 0.0, **more}
    return {"group": group, "name": name, **numbers, "variants": variants}


def made_up_result(*found):
    limit = made_up("limit", "product", 0.5, 1.0, flops=1e9)
    about = bench.machine()
    return {"machine": about, "threads": 1, "rows": [limit, *found], "minutes": 1}


# -- measuring -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workers():
    """Ours, PyTorch in both orders, and ours again with wrong results."""
    ours = measure.Variant("tinytl", "tinytl")
    wrong = measure.Variant("tinytl wrong", "tinytl", damage=0.1)
    started = measure.launch([ours, *measure.THEIRS[:2], wrong], 1)
    yield started
    measure.stop(started)


def test_a_row_is_measured_on_both_sides(workers):
    row = measure.measure(rows.tiny(), workers[:3], 0.05)
    assert list(row["variants"]) == ["tinytl", "torch", "torch last"]
    for found in row["variants"].values():
        assert len(found["rounds_s"]) >= rows.tiny().least
        assert all(0 < seconds < 5 for seconds in found["rounds_s"])
        assert found["error"] < 1e-5
        assert found["peak_mb"] >= 0


def test_a_waiting_worker_uses_no_processor(workers):
    row = rows.find("limit/copy")
    for worker in workers[:2]:
        worker.child = worker.ask(row=row.key)
        worker.ask(run=0.01)
        worker.settle()
        before = measure.cpu_seconds(worker.child)
        time.sleep(0.1)
        assert measure.cpu_seconds(worker.child) - before < 1e-3
        worker.ask(end=True)


def test_a_wrong_answer_is_refused_and_the_next_row_is_measured(workers):
    with pytest.raises(measure.WrongResult, match="tinytl wrong differs from torch"):
        measure.measure(rows.tiny(), workers, 0.05)
    assert measure.measure(rows.tiny(), workers[:3], 0.05)


def test_a_row_that_fails_ends_the_run_instead_of_hanging_it(capfd):
    workers = measure.launch([measure.Variant("tinytl", "tinytl")], 1)
    with pytest.raises(RuntimeError, match="worker of tinytl has ended"):
        workers[0].ask(row="no such row")
    measure.stop(workers)
    assert "KeyError: 'no such row'" in capfd.readouterr().err


def test_whoever_does_less_is_wrong():
    true = [np.ones((2, 3)), np.arange(4.0)]
    assert measure.error(true, true) == 0
    assert measure.error(true[:1], true) == np.inf
    assert measure.error([true[0], np.zeros(4)], true) == pytest.approx(1)
    assert measure.error([true[0].T, true[1]], true) == np.inf
    assert np.isnan(measure.error([true[0], np.full(4, np.nan)], true))


def test_rounding_in_what_should_be_zero_is_no_error():
    true = [np.full(100, 3.0), np.zeros(5)]
    assert measure.error([true[0], np.full(5, 1e-9)], true) < 1e-6
    assert measure.error([true[0], np.full(5, 1e-2)], true) > 1e-3


def test_the_command_prints_a_row_and_keeps_it(tmp_path):
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "reference.bench", "--quick", "--only", "^tiny"]
    command += ["--threads", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tiny: conv" in done.stdout
    result = json.loads(out.read_text())
    assert result["threads"] == 1
    assert {"cpu", "caches", "numpy", "torch", "commit"} <= set(result["machine"])
    assert [row["group"] for row in result["rows"]] == ["tiny"]


# -- workloads -------------------------------------------------------------------------


def test_keys_are_distinct_and_every_goal_has_rows():
    everything = [*rows.table(), *rows.sweeps(), rows.tiny()]
    keys = [row.key for row in everything]
    assert len(set(keys)) == len(keys)
    without = {"limit", "conv other", "linear"}
    assert {row.group for row in rows.table()} == {*rows.GOALS, *without}


@pytest.mark.parametrize(
    ("build", "listed"),
    [(VGG9, workloads.VGG9), (resnet32, workloads.RESNET32)],
    ids=["VGG9", "ResNet-32"],
)
def test_the_convolutions_are_those_of_the_networks(build, listed, monkeypatch):
    seen = []
    conv2d = tinytl.functional.conv2d

    def spy(input, weight, bias=None, stride=1, *rest, **options):
        step = stride[0] if isinstance(stride, tuple) else stride
        if weight.shape[2] == 3:
            channels, size = input.shape[1:3]
            seen.append(workloads.Conv(channels, weight.shape[0], size, step))
        return conv2d(input, weight, bias, stride, *rest, **options)

    monkeypatch.setattr(tinytl.functional, "conv2d", spy)
    with tinytl.no_grad():
        build(10).eval()(tinytl.Tensor(np.zeros((1, 3, 32, 32), np.float32)))
    assert set(seen) == set(listed)


@pytest.mark.parametrize(
    "row",
    [
        *workloads.mobile(),
        *workloads.layers(),
        *workloads.convolutions()[13:15],
        *workloads.convolutions()[-1:],
        *networks.rows()[-5:],
    ],
    ids=lambda row: row.key,
)
def test_both_libraries_do_the_same_work(row):
    results = []
    for side in (Ours(1, False), Theirs(1, False), Theirs(1, True)):
        found = row.build(side, min(row.batch, 2))()
        results.append([np.asarray(side.numpy(x)) for x in found])
    assert all(measure.error(found, results[1]) < row.allowed for found in results)


@pytest.mark.parametrize("form", ["official", "best"])
def test_every_form_of_an_iteration_has_the_same_hypergradient(form):
    results = []
    for side in (Ours(1, False), Theirs(1, False)):
        found = l2t.iteration(form, width=2, T=1)(side, 2)()
        results.append([np.asarray(x) for x in found[:1]])
        results[-1] += [np.asarray(side.numpy(x)) for x in found[1:]]
    assert len(results[0]) == 1 + 15 * 4  # F, and a weight and a bias of 30 networks
    assert measure.error(*results) < 1e-3


def test_an_import_is_timed_in_a_new_process():
    (row,) = startup.measure(1, 1, networks=())
    assert 0 < row["tinytl"][0] < row["torch"][0]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_convolution_row_asks_for_everything(order):
    conv = workloads.Conv(2, 3, 4)
    found = conv.build(order)(Ours(1, False), 2)()
    x, w, y = conv.shapes(2)
    wanted = {0: [y], 1: [y, x, w], 2: [x, w, y]}[order]
    assert [tensor.shape for tensor in found] == wanted


# -- results ---------------------------------------------------------------------------


def test_ratios_are_best_against_best():
    row = made_up(tinytl=0.5, torch=1.0)
    assert table.fastest(row, "torch") == "torch kept"
    assert table.ratio(row) == pytest.approx(1.6)
    assert table.ratio(row, "torch") == pytest.approx(2)
    assert table.quartiles(row) == pytest.approx((1.6, 1.6))


def test_a_group_is_judged_by_its_geometric_mean_or_row_by_row():
    convs = [
        made_up("conv forward", "a", 0.2, 1.0),  # 4
        made_up("conv forward", "b", 0.8, 1.0),  # 1
        made_up("norm", "c", 0.2, 1.0),
        made_up("norm", "d", 0.8, 1.0),
        made_up("L2T-ww, official", "e", 0.18, 1.0),  # 4.44, and 5.56 as installed
    ]
    verdicts = {name: rest for name, *rest in table.goals(convs)}
    assert verdicts["conv forward, geometric mean of 2"] == ["2.00", "1.7", "met"]
    assert verdicts["norm: c"] == ["4.00", "2", "met"]
    assert verdicts["norm: d"] == ["1.00", "2", "missed"]
    assert verdicts["L2T-ww, official: e"] == ["4.44", "4", "met"]
    assert verdicts["L2T-ww, official: e, as installed"] == ["5.56", "5", "met"]


def test_the_fraction_of_the_limit():
    limit = table.limits([made_up("limit", "product", 0.5, 2.0, flops=1e9)])
    assert limit == {"flops": pytest.approx(2e9)}
    row = made_up(tinytl=1.0, torch=2.5, flops=1e9)
    assert table.fraction(row, "tinytl", limit) == pytest.approx(0.5)
    assert table.fraction(row, "torch", limit) == pytest.approx(0.25)


def test_two_results_are_compared(tmp_path, capsys):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    old, new = made_up(tinytl=0.5), made_up(tinytl=0.25, torch=1.25)
    paths[0].write_text(bench.pack(made_up_result(old)))
    paths[1].write_text(bench.pack(made_up_result(new, made_up("norm", "new"))))
    assert bench.compare(paths) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["norm:", "a", "2.00", "0.80"] in lines
    assert not any("new" in line for line in lines)


def test_the_table_of_the_page_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    begin, end = "<!-- table: begin -->", "<!-- table: end -->"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter \\1\n")
    result = made_up_result(made_up(), made_up("sweep T", "1"))
    result["startup"] = [{"name": "import", "kind": "import", "tinytl": [0.1, 0.3]}]
    table.insert(page, result)
    table.insert(page, result)
    text = page.read_text()
    assert text.startswith(f"before\n{begin}\n")
    assert text.endswith(f"{end}\nafter \\1\n")
    assert "old" not in text
    assert text.count("norm: a") == 2  # its goal and its line
    assert "| import | 0.20 |  | 0.2 | met |" in text
    assert "sweep" not in text
    other = "<!-- elsewhere: begin -->", "<!-- elsewhere: end -->"
    page.write_text(f"{text}{other[0]}\n{other[1]}\n")
    table.insert(page, result, made_up_result(made_up(name="b")))
    assert page.read_text().startswith(text + other[0])
    assert page.read_text().count("norm: b") == 1  # its goal, without its line
    page.write_text("no comments")
    with pytest.raises(ValueError, match="lacks"):
        table.insert(page, result)


def test_figures_are_drawn(tmp_path):
    from reference.bench import figures

    figures.ratios([made_up(), made_up("mobile", "b", 1.0)], tmp_path / "ratio.svg")
    sweep = [made_up(f"sweep {k}", n) for k in figures.SWEEPS for n in ("1", "2")]
    figures.sweep(sweep, tmp_path / "sweep.svg")
    assert all((tmp_path / n).stat().st_size > 5000 for n in ("ratio.svg", "sweep.svg"))


def test_a_commit_is_imported_from_its_own_folder(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    path = bench.checkout("HEAD", str(tmp_path))
    assert Path(path[0], "tinytl", "__init__.py").exists()
    assert Path(path[1], "tinytl_kernels", "__init__.py").exists()


def test_the_profile_accounts_for_every_second():
    seconds, repetitions, clock = profile.profile(rows.tiny(), 1, least=0.05)
    assert repetitions > 0
    assert 0 < sum(clock.seconds.values()) < seconds
    assert clock.calls["conv"] == repetitions
    lines = profile.table(rows.tiny(), seconds, repetitions, clock)
    shares = [float(line.split("%")[0].split()[-1]) for line in lines[2:]]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_profiles_stand_side_by_side():
    """Shares of each row's time; small ones are counted, and not listed."""
    clocks = []
    for fast, rare in ((0.5, 0.001), (0.25, 0.002)):
        clock = profile.Clock()
        clock.seconds |= {"conv": fast, "rare": rare}
        clocks.append(clock)
    lines = profile.side_by_side(
        [(rows.tiny(), 1.0, 10, clocks[0]), (rows.tiny(), 0.5, 1, clocks[1])]
    ).splitlines()
    assert lines[0] == "|  | tiny: conv | tiny: conv |"
    assert lines[2:] == [
        "| conv | 50 % | 50 % |",
        "| outside the kernels | 50 % | 50 % |",
        "| all, milliseconds | 100.0 | 500.0 |",
    ]


def test_a_kernel_that_calls_another_is_not_counted_twice():
    clock = profile.Clock()
    inner = clock.around("inner", lambda: sum(range(200_000)))
    outer = clock.around("outer", inner)
    outer()
    assert clock.calls == {"inner": 1, "outer": 1}
    assert clock.seconds["outer"] < clock.seconds["inner"] / 2
