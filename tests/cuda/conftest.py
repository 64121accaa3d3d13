"""The kernel set for GPUs in Numba's simulator, on a stand-in for CuPy.

Whether Numba simulates is decided when it is imported, so these tests need a process of
their own:    NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/cuda
"""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
collect_ignore_glob = [] if SIMULATED else ["test_*.py"]
SIGNATURES = HERE / "signatures.json"

if SIMULATED:
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
    import simulator
    import standin

    standin.install()
    simulator.install()


def pytest_configure(config):
    if not SIMULATED:
        return
    if config.getoption("--record"):
        if config.getoption("numprocesses", None):
            raise pytest.UsageError("--record needs one process: -n 0")
    else:
        listed = json.loads(SIGNATURES.read_text())
        known = {name: set(map(tuple, types)) for name, types in listed.items()}
        simulator.State.known = defaultdict(set, known)


def pytest_sessionfinish(session, exitstatus):
    """With --record and all tests, note the types with which kernels are launched."""
    if SIMULATED and session.config.getoption("--record"):
        found = {
            name: sorted(map(list, types))
            for name, types in sorted(simulator.RECORDED.items())
        }
        SIGNATURES.write_text(json.dumps(found, indent=1) + "\n")


def pytest_addoption(parser):
    parser.addoption("--record", action="store_true", help="write signatures.json anew")
