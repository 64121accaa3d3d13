"""No convolution touches a byte beside its arrays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

SCRIPT = Path(__file__).with_name("guarded.py")


@pytest.mark.skipif(sys.platform != "linux", reason="pages are closed by Linux's mmap")
@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="NumPy looks")
@pytest.mark.parametrize("side", ["end", "start"])
def test_nothing_beside_an_array_is_touched(side):
    """A process that does is ended by the system; the last line names the shape."""
    command = [sys.executable, "-X", "faulthandler", str(SCRIPT), side]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout[-200:] + ended.stderr[-2000:]
