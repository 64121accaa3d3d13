"""Compiled code is forgotten when the sources that went into it change."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("numba")

from tinytl_kernels.cpu.cache import STAMP, Announcement, forget_stale


@pytest.fixture
def folders(tmp_path):
    sources, cache = tmp_path / "sources", tmp_path / "cache"
    sources.mkdir()
    cache.mkdir()
    (sources / "product.py").write_text("def block(): ...")
    (sources / "loops.py").write_text("from .product import block")
    for name in ("loops.convolve.nbi", "loops.convolve.1.nbc", "loops.pyc"):
        (cache / name).write_text("code")
    return sources, cache


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_code_of_unknown_origin_goes_and_then_stays(folders):
    sources, cache = folders
    assert forget_stale(cache, sources)
    assert names(cache) == ["loops.pyc", STAMP]
    (cache / "loops.convolve.nbi").write_text("new code")
    assert not forget_stale(cache, sources)
    assert "loops.convolve.nbi" in names(cache)


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_any_change_of_any_source_counts(folders, change):
    sources, cache = folders
    forget_stale(cache, sources)
    (cache / "loops.convolve.nbi").write_text("code")
    product = sources / "product.py"
    if change == "edit":
        product.write_text("def block(): return 1")
    elif change == "add":
        (sources / "more.py").write_text("")
    elif change == "remove":
        product.unlink()
    else:
        product.rename(sources / "products.py")
    assert forget_stale(cache, sources)
    assert "loops.convolve.nbi" not in names(cache)


def test_a_missing_folder_is_made(tmp_path):
    assert forget_stale(tmp_path / "not" / "there", tmp_path)
    assert not forget_stale(tmp_path / "not" / "there", tmp_path)


def test_a_folder_that_is_no_folder_is_left_alone(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert not forget_stale(file, tmp_path)
    assert file.read_text() == "mine"


def test_compiling_is_announced_once_and_only_for_our_kernels(capsys):
    def compiling(module):
        function = SimpleNamespace(__module__=module)
        return SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=function)})

    announcement = Announcement()
    announcement.on_start(compiling("somebody.elses"))
    assert capsys.readouterr().err == ""
    for _ in range(2):
        announcement.on_start(compiling("tinytl_kernels.cpu.direct_loops"))
    assert capsys.readouterr().err.count("compiling kernels") == 1


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="no compiler")
def test_a_new_process_compiles_with_a_word_and_then_without(tmp_path):
    code = (
        "import numpy as np; from tinytl import functional as F; "
        "x = np.ones((1, 1, 4, 4), np.float32); F.conv2d(x, x)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("TINYTL_KERNELS", None)
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for _ in range(2)
    ]
    assert "compiling kernels" in said[0]
    assert said[1] == ""
