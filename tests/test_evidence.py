"""The evidence: a grid that survives, statistics by other means, tables that add up."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinytl import cli, persistence
from tinytl.experiments.evidence import grid, one, plan
from tinytl.experiments.evidence.plan import ARMS, CELLS, Job
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
    assert flat.options == {"which": "map", "scale": "flat"}


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
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [sys.executable, "-m", "tinytl.cli", *command(files, tmp_path, 40)]
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)
    begun = Path(tmp_path, "unfinished", "cifar10-10-scratch-w2-s00.json.checkpoint")
    for _ in range(600):
        if begun.exists():
            break
        time.sleep(0.05)
    process.send_signal(how)
    told = process.communicate()[1].decode()
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
