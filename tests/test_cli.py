"""The command: what it prints, what it returns, and how it is stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tinytl_kernels.threads as pool

import tinytl
from tinytl import cli
from tinytl.experiments import demo

ROOT = Path(__file__).parents[1]


def heeding():
    """Undo, in a new process, what shells do to jobs in the background: no Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def call(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-m", "tinytl.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        **options,
    )


def test_info_says_what_computes(capsys):
    assert cli.main(["info"]) == 0
    lines = dict(
        re.split(r"\s+", line, maxsplit=1)
        for line in capsys.readouterr().out.splitlines()
    )
    assert lines["tinytl"] == tinytl.__version__
    assert lines["NumPy"] == np.__version__
    assert lines["cores"] == str(len(os.sched_getaffinity(0)))
    assert "available: plain" in lines["kernels"]
    assert {"Python", "BLAS", "threads", "numba", "matplotlib", "tqdm"} <= set(lines)


def test_info_imports_nothing_heavy():
    code = (
        "import sys; from tinytl import cli; cli.main(['info']);"
        "heavy = {'numba', 'matplotlib', 'torch', 'tqdm'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("threads", ["3", None])
def test_threads_are_told_with_and_without_threadpoolctl(monkeypatch, threads):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    asked_anew = pool._from_outside.__wrapped__  # nothing is kept for other tests
    monkeypatch.setattr(pool, "_from_outside", asked_anew)
    for name in cli.THREADS:
        monkeypatch.delenv(name, raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    ours, told = cli.information()["threads"].split("; ")
    assert ours == f"{tinytl.get_num_threads()} for kernels"
    assert told == "3 (OMP_NUM_THREADS)" if threads else told.startswith("not set")


def test_what_is_missing_is_called_not_installed():
    assert cli._installed("no-such-distribution") == "not installed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["demonstrate"], "invalid choice"),
        (["demo", "--seeds", "1"], "'1' is no integer of 2 or more"),
        (["demo", "--seed", "x"], "'x' is no integer of 0 or more"),
        (["demo", "--only", "everything"], "invalid choice"),
    ],
)
def test_nonsense_is_refused_with_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"tinytl {tinytl.__version__}\n"


def test_an_error_is_one_line_and_status_2(tmp_path, capsys):
    occupied = tmp_path / "file"
    occupied.write_text("")
    assert cli.main(["demo", "--out", str(occupied), "--only", "collapse"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tinytl: error: ")
    assert error.count("\n") == 1


def test_demo_runs_what_it_is_told(tmp_path, monkeypatch, capsys):
    tiny = {"collapse": {"steps": 2, "batch_size": 8}}
    real, real_plan = demo.run, demo.planned
    monkeypatch.setattr(
        demo, "run", lambda *a, **options: real(*a, **options, changes=tiny)
    )
    monkeypatch.setattr(
        demo, "planned", lambda seed, seeds, only, changes: real_plan(
            seed, seeds, only, changes or tiny
        ),
    )  # fmt: skip
    arguments = ["demo", "--out", str(tmp_path), "--seed", "3", "--only", "collapse"]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    assert str(tmp_path / "report.html") in captured.out
    assert "collapse" in captured.err  # the bar
    assert len(list(tmp_path.glob("cells/collapse-*.json"))) == 5
    assert cli.main([*arguments, "--fresh"]) == 0


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_keeps_results_and_says_how_to_go_on(tmp_path):
    folder = tmp_path / "demo"
    process = call("demo", "--out", folder, "--only", "collapse", preexec_fn=heeding)
    end = time.monotonic() + 60
    while not list(folder.glob("cells/collapse-*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    kept = len(list(folder.glob("cells/collapse-*.json")))
    assert f"{kept} of 5 results are kept in {folder}" in error
    assert f"tinytl demo --out {folder} --seed 0 --seeds 8 --only collapse" in error
    assert "Traceback" not in error


def test_transfer_runs_one_method_as_it_is_told(tmp_path, monkeypatch, capsys):
    asked = {}

    def run(task, settings, out, every, device):
        asked.update(task=task, settings=settings, out=out, every=every, device=device)
        if settings.seed == 13:
            raise KeyboardInterrupt
        return {"accuracy": 0.5, "images": {"names": ["train", "the test images"]}}

    monkeypatch.setattr("tinytl.experiments.single.run", run)
    command = [
        "transfer",
        "--method",
        "l2t-www",
        "--source",
        "resnet32",
        "--source-weights",
        "W",
        "--target",
        "vgg9",
        "--data",
        "cifar10",
        "--root",
        "D",
        "--per-class",
        "10",
        "--seed",
        "3",
        "--h-input",
        "pooled",
        "--steps",
        "1",
    ]
    assert cli.main(command) == 0
    assert "accuracy 50.00 % on the test images" in capsys.readouterr().out
    assert asked["task"].per_class == 10
    assert asked["task"].source_weights == "W"
    assert asked["settings"].method == "l2t-www"
    assert asked["settings"].options == {"which": "pooled", "steps": 1}
    assert str(asked["out"]) == "l2t-www-cifar10-10-3.json"
    assert asked["device"] == "cpu"
    assert cli.main([*command, "--device", "cuda"]) == 0
    assert asked["device"] == "cuda"
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, "--seed", "13"]) == 130
    assert "nothing is kept" in capsys.readouterr().err
    (tmp_path / "l2t-www-cifar10-10-13.json.checkpoint").touch()
    assert cli.main([*command, "--seed", "13"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--method", "ufm", "--scale", "flat"], "--scale is for --method l2t-www"),
        (["--method", "l2t-ww", "--h-input", "map"], "--h-input is for --method"),
        (["--method", "ufm", "--steps", "3"], "for --method l2t-ww or l2t-www"),
        (["--method", "scratch", "--beta", "1"], "--beta is for --method ufm or"),
        (
            ["--method", "ufm", "--target", "resnet32", "--width", "16"],
            "--width is for --target vgg9",
        ),
    ],
)
def test_what_a_method_does_not_have_is_refused(given, message, capsys):
    assert cli.main(["transfer", "--data", "cifar10", *given]) == 2
    assert message in capsys.readouterr().err


def test_transfer_without_a_gpu_says_so_before_it_reads_anything(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "cupy", None)
    command = ["transfer", "--method", "scratch", "--data", "cifar10"]
    command += ["--root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--device", "cuda"]) == 2
    assert "CuPy is not installed" in capsys.readouterr().err
    assert cli.main(command) == 2
    assert "nowhere" in capsys.readouterr().err
