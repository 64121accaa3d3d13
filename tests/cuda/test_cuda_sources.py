"""What is written about kernels: signatures for the compile check, and docstrings."""

import json

import pytest
import simulator
from conftest import SIGNATURES
from tinytl_kernels.cuda.launch import KERNELS

LISTED = json.loads(SIGNATURES.read_text())
simulator.modules()  # all kernels are there now


def test_the_list_of_signatures_has_every_kernel_and_nothing_else():
    assert set(LISTED) == set(KERNELS)
    for name, signatures in LISTED.items():
        for dtype in ("float32", "float64"):
            assert any(dtype in str(types) for types in signatures), (name, dtype)


def test_no_signature_mixes_precisions():
    for name, signatures in LISTED.items():
        for types in map(str, signatures):
            assert ("float32" in types) != ("float64" in types), name


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_says_what_it_costs(name):
    """What a block computes stands there or at the head of the file."""
    text = KERNELS[name].function.__doc__
    for word in ("Traffic.", "Arithmetic.", "Limit"):
        assert word in text
    assert "block" in text + KERNELS[name].function.__globals__["__doc__"]
