"""With which kernel sets an operation is tested."""

import importlib.util

HAS_NUMBA = importlib.util.find_spec("numba")
SETS = ["plain", "exact", "cpu"] if HAS_NUMBA else ["plain"]


def sets_for(operation):
    """All that differ for it: exact is cpu but for convolutions (test_kernels.py)."""
    return [name for name in SETS if name != "exact" or "conv" in operation]
