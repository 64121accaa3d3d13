"""Settings shared by all tests: how hard Hypothesis tries, and which kernels run."""

import os
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from sets import SETS

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
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)


@pytest.fixture(autouse=True)
def the_same_chance(monkeypatch):
    """What a test leaves to chance is the same at every run, too.

    Layers made without a generator draw from fresh entropy, PyTorch's from a state that
    the tests before have left. Here each test's first draw, its second, ... is always
    the same one; not when examples are searched for at length.
    """
    if PROFILE != "ci":
        return
    root, make = np.random.default_rng(0), np.random.default_rng

    def default_rng(*seed):
        return make(*seed) if seed else root.spawn(1)[0]

    monkeypatch.setattr(np.random, "default_rng", default_rng)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(params=SETS)
def kernel_set(request):
    """Each kernel set that can run here, in use while the test runs."""
    import tinytl

    with tinytl.use_kernels(request.param):
        yield request.param
