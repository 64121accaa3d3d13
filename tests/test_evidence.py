"""The evidence: a grid that survives, statistics by other means, tables that add up."""

import json
import math
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from test_cli import call, heeding

from tinytl import cli, persistence
from tinytl.experiments.evidence import grid, one, page, plan, tables
from tinytl.experiments.evidence.compare import (
    bootstrap,
    compare,
    detectable,
    holm,
    mann_whitney,
    power,
)
from tinytl.experiments.evidence.dissertation import (
    Reported,
    difference,
    reported,
    u_test,
)
from tinytl.experiments.evidence.plan import ARMS, CELLS, Job
from tinytl.experiments.statistics import mean_interval
from tinytl.models import resnet32

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Something in the layout of CIFAR-10, and source weights."""
    place = tmp_path_factory.mktemp("official")
    folder = place / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    for name in names:
        records = rng.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(20) % 10
        (folder / name).write_bytes(records.tobytes())
    weights = place / "source.safetensors"
    source = resnet32(4, generator=np.random.default_rng(0))
    persistence.save(source.state_dict(), weights)
    return {"cifar10": str(place)}, str(weights)


def small(arms, **more):
    common = {"width": 2, "epochs": 1, "batch_size": 50, **more}
    return plan.jobs(["cifar10-10"], arms, [0], **common)


# -- which runs ------------------------------------------------------------------------


def test_seeds_come_first_so_that_a_short_grid_is_paired():
    jobs = plan.jobs(["cifar10-10", "cifar100-5"], ["scratch", "ufm"], range(3))
    assert [(j.seed, j.cell, j.arm) for j in jobs[:5]] == [
        (0, "cifar10-10", "scratch"),
        (0, "cifar10-10", "ufm"),
        (0, "cifar100-5", "scratch"),
        (0, "cifar100-5", "ufm"),
        (1, "cifar10-10", "scratch"),
    ]
    assert len({j.name for j in jobs}) == len(jobs) == 12


def test_iterations_of_the_dissertations_schedule():
    found = {name: cell.iterations(200, 128) for name, cell in CELLS.items()}
    assert found == {"cifar10-10": 200, "cifar100-5": 800, "cifar100-10": 1600}


def test_arms_are_settings_of_one_code_path():
    for arm in ARMS:
        job = Job("cifar10-10", arm, 3, width=2)
        assert job.settings().seed == 3
        assert job.settings().epochs == 200
    flat = Job("cifar10-10", "l2t-www-flat", 0).settings()
    assert flat.options == {"which": "map", "scale": "flat", "graphs": None}


@pytest.mark.parametrize("wrong", [(["mnist"], ["ufm"]), (["cifar10-10"], ["magic"])])
def test_what_does_not_exist_is_refused(wrong):
    with pytest.raises(ValueError, match="must be in"):
        plan.jobs(*wrong)


# -- running them ----------------------------------------------------------------------


def test_a_grid_leaves_one_small_file_a_run(files, tmp_path):
    jobs = small(["scratch", "ufm", "l2t-www-map"])
    results = grid.run(jobs, tmp_path, *files, progress=False)
    assert [r["arm"] for r in results] == ["scratch", "ufm", "l2t-www-map"]
    for job, result in zip(jobs, results, strict=True):
        path = tmp_path / f"{job.name}.json"
        assert path.stat().st_size < 4096
        assert str(files[0]["cifar10"]) not in path.read_text()
        assert result["final"] == result["accuracy"][-1]
        assert result["epochs"] == [1]
        assert result["images"]["train"] == 100
        assert {"numpy", "kernels", "tinytl"} <= set(result["versions"])
    assert len(results[2]["weights"][0]["gammas"]) == 15
    assert results[1]["weights"][0]["gammas"] == []
    assert results[1]["weights"][0]["peaks"] == pytest.approx([1] * 15)
    assert not list((tmp_path / "unfinished").iterdir())


def test_finished_runs_are_read_and_others_are_not_mistaken_for_them(files, tmp_path):
    jobs = small(["scratch"])
    (first,) = grid.run(jobs, tmp_path, *files, progress=False)
    path = tmp_path / f"{jobs[0].name}.json"
    before = path.stat().st_mtime_ns
    assert grid.run(jobs, tmp_path, *files, progress=False) == [first]
    assert path.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="a run with other settings"):
        grid.run(small(["scratch"], epochs=2), tmp_path, *files, progress=False)
    other = json.loads(path.read_text())
    other["task"]["per_class"] += 1
    path.write_text(json.dumps(other))
    with pytest.raises(ValueError, match="a run with other settings"):
        grid.run(jobs, tmp_path, *files, progress=False)
    path.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        grid.run(jobs, tmp_path, *files, progress=False)


def test_an_error_says_which_run(files, tmp_path):
    root = {"cifar10": str(tmp_path / "nowhere")}
    with pytest.raises(RuntimeError, match=r"scratch-w2-s00: FileNotFoundError.*Get "):
        grid.run(small(["scratch"]), tmp_path, root, files[1], progress=False)


def test_a_process_that_dies_is_noticed(files, tmp_path, monkeypatch):
    code = "import sys; sys.stdin.readline(); sys.exit(3)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    dying = [sys.executable, "-c", code]
    monkeypatch.setattr(grid, "_start", lambda: subprocess.Popen(dying, **pipes))
    with pytest.raises(RuntimeError, match="ended before it had finished"):
        grid.run(small(["scratch"]), tmp_path, *files, progress=False)


def test_the_command_shows_a_bar_and_what_came_out(files, tmp_path, capsys):
    arguments = command(files, tmp_path, 5)
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert "1 results in" in shown.out
    assert "cifar10-10-scratch-w2-s00: " in shown.err
    assert "left" in shown.err


def command(files, folder, epochs):
    text = "compare --cells cifar10-10 --arms scratch --seeds 1 --width 2 --jobs 1"
    text += f" --epochs {epochs} --batch-size 10 --results {folder}"
    text += f" --cifar10 {files[0]['cifar10']} --source-weights {files[1]}"
    return text.split()


def without_time(path):
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_grid_goes_on_bit_by_bit(files, tmp_path, how):
    process = call(*command(files, tmp_path, 40), preexec_fn=heeding)
    begun = Path(tmp_path, "unfinished", "cifar10-10-scratch-w2-s00.json.checkpoint")
    for _ in range(600):
        if begun.exists():
            break
        time.sleep(0.05)
    process.send_signal(how)
    told = process.communicate()[1]
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "0 of 1 runs are finished and 1 begun" in told
    assert not list(tmp_path.glob("*.json"))
    assert cli.main(command(files, tmp_path, 40)) == 0
    assert cli.main(command(files, tmp_path / "whole", 40)) == 0
    (resumed,) = tmp_path.glob("*.json")
    assert without_time(resumed) == without_time(tmp_path / "whole" / resumed.name)


def test_numbers_are_kept_with_five_digits():
    assert one.rounded([1.23456789, None, [1e-9 / 3]]) == [1.2346, None, [3.3333e-10]]


# -- statistics ------------------------------------------------------------------------


def test_a_paired_comparison_by_hand():
    """d = 1, 2, 3, 4: mean 2.5, sd sqrt(5/3), t = 2.5 / (sd / 2) = 3.873, p = 0.0305;
    all signs equal: Wilcoxon's p is 2 / 2^4; 13 of 16 pairs have x > y, 1.5 tie."""
    x, y = [11, 13, 15, 17], [10, 11, 12, 13]
    found = compare(x, y)
    assert found.difference.mean == 2.5
    assert found.dz == pytest.approx(2.5 / (5 / 3) ** 0.5)
    assert found.t == pytest.approx(0.030466, abs=1e-6)
    assert found.wilcoxon == pytest.approx(2 / 16)
    wins = sum((a > b) + (a == b) / 2 for a in x for b in y)
    assert found.rank_biserial == pytest.approx(2 * wins / 16 - 1)


def test_the_t_test_of_two_pairs_has_a_closed_form():
    """One degree of freedom is Cauchy's distribution: p = 1 - 2 atan(t) / pi."""
    found = compare([3.0, 1.0], [1.0, 0.0])
    t = 1.5 / (0.5**0.5 / 2**0.5)
    assert found.t == pytest.approx(1 - 2 * np.arctan(t) / np.pi)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 6), (6, 6), (2, 5)])
def test_mann_whitney_equals_counting_all_orders(n, m):
    rng = np.random.default_rng(n + m)
    x, y = rng.standard_normal(n) + 0.5, rng.standard_normal(m)
    both, u = np.concatenate([x, y]), (x[:, None] > y).sum()
    orders = [np.isin(np.arange(n + m), c) for c in combinations(range(n + m), n)]
    every = [(both[o][:, None] > both[~o]).sum() for o in orders]
    away = abs(u - n * m / 2)
    p = np.mean([abs(v - n * m / 2) >= away for v in every])
    assert mann_whitney(x, y) == (u, pytest.approx(p))


def test_mann_whitney_with_ties_takes_the_middle_ranks():
    x, y = np.array([1.0, 2, 2, 3]), np.array([2.0, 2, 4, 5])
    ranks = np.array([1, 3.5, 3.5, 6, 3.5, 3.5, 7, 8])  # of 1 2 2 3 2 2 4 5
    u = ranks[:4].sum() - 4 * 5 / 2
    variance = 16 / 12 * (9 - (4**3 - 4) / (8 * 7))
    z = (abs(u - 8) - 0.5) / variance**0.5
    assert mann_whitney(x, y) == (u, pytest.approx(math.erfc(z / 2**0.5)))


def test_equal_and_constant_runs_do_not_divide_by_zero():
    same = compare([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (same.t, same.wilcoxon, same.rank_biserial) == (1.0, 1.0, 0.0)
    assert math.isnan(same.dz)
    shifted = compare([2.0, 3.0], [1.0, 2.0])
    assert shifted.t == 0
    assert bootstrap([5.0, 5.0]) == (5.0, 5.0)
    assert all(map(math.isnan, bootstrap([5.0])))
    with pytest.raises(ValueError, match="two runs or more"):
        compare([1.0], [2.0])


def test_holm_by_hand():
    """Sorted 0.005 0.01 0.03 0.04 times 4 3 2 1: 0.02, 0.03, 0.06, 0.04 -> 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    nothing = holm([0.02, math.nan])
    assert nothing[0] == pytest.approx(0.04)
    assert math.isnan(nothing[1])
    assert holm([]) == []


@pytest.mark.parametrize(("dz", "n", "known"), [(1.0, 10, 0.803), (0.5, 34, 0.808)])
def test_power_equals_published_tables(dz, n, known):
    """Of the paired t test, as in Cohen 1988 and G*Power's manual."""
    assert power(dz, n) == pytest.approx(known, abs=1e-3)
    assert power(0.0, n) == pytest.approx(0.05)
    assert power(detectable(n), n) == pytest.approx(0.8)


def test_power_is_how_often_simulated_tests_find_it():
    rng = np.random.default_rng(0)
    d = rng.standard_normal((20_000, 6)) + 1.2
    t = d.mean(1) / (d.std(1, ddof=1) / 6**0.5)
    assert power(1.2, 6) == pytest.approx((abs(t) > 2.5706).mean(), abs=0.01)


def test_a_bootstrap_of_many_normal_values_is_students_interval():
    x = np.random.default_rng(1).normal(50, 2, 200)
    low, high = bootstrap(x)
    whole = mean_interval(x)
    assert low == pytest.approx(whole.low, abs=0.05)
    assert high == pytest.approx(whole.high, abs=0.05)
    assert bootstrap(x) == (low, high)


def test_without_scipy_the_message_says_how(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ImportError, match=r"pip install 'tinytl\[evidence\]'"):
        compare([1.0, 2.0], [1.0, 3.0])


PRINTED = [  # L2T-ww, L2T-www, and the p that the dissertation prints
    ((43.16, 1.16), (45.18, 0.98), 0.005),
    ((52.91, 1.08), (54.76, 0.75), 0.006),
    ((63.86, 0.79), (64.91, 0.62), 0.041),
    ((24.37, 0.81), (25.53, 0.46), 0.008),
    ((41.08, 1.63), (43.38, 1.04), 0.044),
    ((50.49, 1.02), (52.53, 0.80), 0.004),
]


@pytest.mark.parametrize(("ww", "www", "p"), PRINTED)
def test_read_as_a_95_percent_interval_the_dissertation_agrees_with_itself(ww, www, p):
    found = u_test(Reported(*ww), Reported(*www))
    assert p / 2.3 < found < 2.3 * p


def test_the_dissertations_differences():
    one, other = Reported(25.53, 0.46), Reported(24.37, 0.81)
    assert one.sd == pytest.approx(0.46 * 30**0.5 / 2.0452, rel=1e-4)
    d = difference(one, other)
    assert d.mean == pytest.approx(1.16)
    assert d.half == pytest.approx((0.46**2 + 0.81**2) ** 0.5, rel=0.03)
    assert reported("cifar10-10", "l2t-www-flat") is None
    assert reported("cifar100-5", "ufm").mean == 12.18


# -- the page --------------------------------------------------------------------------


def made(arm, seed, final, cell="cifar10-10", width=16, **more):
    job = Job(cell, arm, seed, width)
    www = "www" in arm
    epochs = [
        {
            "number": k,
            "accuracy": a,
            "loss": 9.0,
            "cross_entropy": 2.0,
            "outer": None,
            "lambdas": [1.0, 1.5, 2.0] * 5,
            "peaks": [1.0] * 15,
            "gammas": [1.25] * 15 if www else [],
            "uneven": [0.5] * 15 if www else [],
        }
        for k, a in enumerate([final / 2, None, final])
    ]
    document = {
        "task": {"root": "/a/b", "source_weights": "/c/w.safetensors", "width": width},
        "settings": json.loads(json.dumps(vars(job.settings()))) | more,
        "versions": {"tinytl": "1", "package": "0", "numpy": "2", "kernels": "plain"},
        "earlier": [],
        "images": {"train": 100, "test": 50, "names": ["some, train", "some, test"]},
        "epochs": epochs,
    }
    return {**one.thinned(job, document), "seconds": 36.0}


def runs_of(arms=("scratch", "ufm", "l2t-ww", "l2t-www-map"), seeds=4, **more):
    return [
        made(
            arm,
            seed,
            0.2 + 0.02 * k + 0.001 * ((3 * seed + k * k * (seed + 1)) % 7),
            **more,
        )
        for seed in range(seeds)
        for k, arm in enumerate(arms)
    ]


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines]


def test_a_row_has_our_numbers_and_theirs():
    (group,) = page.ordered(runs_of()).values()
    rows = rows_of(tables.accuracies("cifar10-10", group))
    assert [row[0] for row in rows[2:]] == [ARMS[a].title for a in group]
    finals = [100 * r["final"] for r in group["l2t-ww"]]
    sd = np.std(finals, ddof=1)
    half = 3.18245 * sd / 2  # t with 3 degrees of freedom, n = 4
    row = next(row for row in rows if row[0] == "L2T-ww")
    assert row[1] == "4"
    assert row[2] == f"{np.mean(finals):.2f} ± {half:.2f}"
    assert row[4] == f"{sd:.2f}"
    assert float(row[5].split()[0]) == pytest.approx(0.75 * np.mean(finals), abs=0.006)
    assert row[7] == "24.64 ± 1.85"


def test_comparisons_take_shared_seeds_alone():
    results = [r for r in runs_of() if (r["arm"], r["seed"]) != ("ufm", 2)]
    (group,) = page.ordered(results).values()
    x, y = tables.shared(group, "ufm", "scratch")
    assert len(x) == len(y) == 3
    rows = rows_of(tables.comparisons("cifar10-10", group))[2:]
    assert [row[1] for row in rows] == ["3", "4", "3", "4"]
    assert rows[0][0] == "UFM − scratch"
    p = [compare(*tables.shared(group, a, b)).t for a, b in tables.COMPARED[:4]]
    assert [row[4] for row in rows] == [tables.chance(x) for x in holm(p)]
    assert rows[3][10] == tables.within(
        difference(reported("cifar10-10", "l2t-www-map"), Reported(24.64, 1.85)), "+"
    )


def test_what_was_learned_is_told_for_methods_that_learn():
    (group,) = page.ordered(runs_of()).values()
    rows = rows_of(tables.learned(group))[2:]
    assert [row[:2] for row in rows] == [
        [arm, epoch] for arm in ("L2T-ww", "L2T-www, h from map") for epoch in "13"
    ]
    assert rows[0][2:] == ["1.5000", "0.4082", "1.0000", "–", "–"]
    assert rows[-1][2:] == ["1.5000", "0.4082", "1.0000", "1.2500", "0.5000"]


def test_a_page_is_filled_and_filled_again(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for k, result in enumerate([*runs_of(), *runs_of(seeds=1, width=64)]):
        (folder / f"{k}.json").write_text(json.dumps(result))
    document, figure = tmp_path / "page.md", tmp_path / "curves.png"
    words = (ROOT / "docs" / "evidence.md").read_text()
    document.write_text(words)
    arguments = ["evidence", "--results", folder, "--page", document]
    assert cli.main([*map(str, arguments), "--figure", str(figure)]) == 0
    first = document.read_text()
    assert "24.64 ± 1.85" in first
    assert "No runs yet." in first  # of CIFAR-100
    assert "No two runs with one seed yet." in first  # at full width
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert cli.main([*map(str, arguments)]) == 0
    assert document.read_text() == first
    assert page.MARK.sub("", first) == page.MARK.sub("", words)


def test_pages_and_results_that_do_not_fit_are_refused(tmp_path):
    groups = page.ordered(runs_of())
    with pytest.raises(ValueError, match="no place for a table"):
        page.filled("no tables here", groups)
    with pytest.raises(ValueError, match="no table 'magic cifar10-10 16'"):
        page.filled("<!-- table: magic cifar10-10 16 -->\n<!-- end -->", groups)
    with pytest.raises(ValueError, match="has no results"):
        page.read(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        page.read(tmp_path)
    with pytest.raises(ValueError, match="differ in more than arm and seed"):
        page.ordered([*runs_of(), made("ufm", 9, 0.2, epochs=3)])


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0305, "0.030"), (math.nan, "–")]
)
def test_chances_are_never_nothing(p, text):
    assert tables.chance(p) == text
