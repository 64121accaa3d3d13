"""Settings shared by all tests: how hard Hypothesis tries, and which kernels run."""

import importlib.util
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# ci: the same few examples at every run, so that a red run is a reason to look at the
# change and not at the dice. thorough: many new ones, for a night or before a release.
settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

HAS_NUMBA = importlib.util.find_spec("numba")
KERNEL_SETS = ["plain", "exact", "cpu"] if HAS_NUMBA else ["plain"]


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(params=KERNEL_SETS)
def kernel_set(request):
    """Each kernel set that can run here, in use while the test runs."""
    import tinytl

    with tinytl.use_kernels(request.param):
        yield request.param
