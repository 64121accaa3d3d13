"""What is to run on a machine with a GPU runs, as far as it can without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from plain_gpu import plain_gpu

from reference.gpu import gpu_check

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gpu():
    with plain_gpu() as found:
        yield found


@pytest.mark.skipif(not gpu_check.missing_machine(), reason="there is a GPU")
@pytest.mark.parametrize("options", [[], ["--machine"]])
def test_without_a_gpu_it_says_what_is_missing(options):
    done = subprocess.run(
        [sys.executable, "-m", "reference.gpu.gpu_check", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "cannot run here" in done.stdout
    assert "NVIDIA driver" in done.stdout


def test_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert any("pip install 'tinytl[cuda]'" in x for x in gpu_check.missing_packages())


def test_the_contract_runs_and_its_failures_are_told(monkeypatch):
    """In the simulator here."""
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "cuda"))
    found = gpu_check.contract(("-p", "simulated", "-k", "max_pool2d-0"))
    assert found["ok"], found
    assert "2 passed" in found["said"][0]
    found = gpu_check.contract(("-p", "no_such_plugin"))
    assert not found["ok"]
    assert any("no_such_plugin" in line for line in found["said"])


def test_both_devices_train_alike(gpu):
    found = gpu_check.same_run(steps=2)
    assert found["ok"]
    assert found["loss"] < 1e-6


def test_a_wrong_device_is_found(gpu, monkeypatch):
    """One that leaves out the root of a variance."""
    monkeypatch.setattr(gpu.cupy, "sqrt", lambda v: v, raising=False)
    assert not gpu_check.same_run(steps=2)["ok"]


def test_the_demonstration_trains(gpu):
    found = gpu_check.demonstration(steps=3)
    assert 0 <= found["accuracy"] <= 1
    assert found["steps_per_second"] > 0


def test_rows_are_timed_and_one_that_fails_stops_nothing(gpu, monkeypatch):
    rows = [row for row in gpu_check.rows() if "conv" not in row.key][:2]
    monkeypatch.setattr(gpu_check, "rows", lambda: rows)
    step = gpu_check.training_step

    def fails_for_vgg(side, name, batch):
        if name == "VGG9":
            raise MemoryError("full")
        return step(side, name, batch)

    monkeypatch.setattr(gpu_check, "training_step", fails_for_vgg)
    monkeypatch.setattr(gpu_check, "median_ms", lambda step, wait, budget: step() and 1)
    found = gpu_check.bench(batch=1)
    assert [line["tinytl"] for line in found["rows"]] == ["MemoryError: full", 1, 1, 1]
    assert not found["ok"]
    assert found["left_out"] == 0


def test_everything_ends_in_one_file(gpu, monkeypatch, tmp_path):
    def broken():
        raise RuntimeError("the device fell off")

    monkeypatch.setattr(gpu_check, "missing_machine", list)
    monkeypatch.setattr(gpu_check, "missing_packages", list)
    monkeypatch.setattr(gpu_check, "machine", lambda: {"gpu": "none"})
    monkeypatch.setattr(gpu_check, "registers", dict)
    stages = {"good": lambda: {"ok": True}, "bad": broken}
    for chosen, status in ((stages, 1), ({"good": stages["good"]}, 0)):
        monkeypatch.setattr(gpu_check, "STAGES", chosen)
        path = tmp_path / "found.json"
        monkeypatch.setattr(sys, "argv", ["gpu_check", "--json", str(path)])
        with pytest.raises(SystemExit) as stopped:
            gpu_check.main()
        assert stopped.value.code == status
        found = json.loads(path.read_text())
        assert {k: s["ok"] for k, s in found["stages"].items()} == {
            k: k == "good" for k in chosen
        }
