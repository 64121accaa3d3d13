"""What is written in and about kernels: numbers, signatures, docstrings."""

import ast
import inspect
import json
import sys

import pytest
import simulator
from conftest import SIGNATURES
from tinytl_kernels.cuda import launch
from tinytl_kernels.cuda.launch import KERNELS

LISTED = json.loads(SIGNATURES.read_text())
simulator.modules()  # all kernels are there now


def test_the_list_of_signatures_has_every_kernel_and_nothing_else(request):
    if request.config.getoption("--record"):
        pytest.skip("the list is being written")
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


def decimal_numbers(module):
    """Decimal numbers in functions that run on the device."""
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(function, ast.FunctionDef):
            marks = {ast.unparse(mark) for mark in function.decorator_list}
            if marks & {"kernel", "device"} or function.name == "multiply":
                for node in ast.walk(function):
                    if isinstance(node, ast.Constant) and isinstance(node.value, float):
                        yield f"{function.name}: {node.value}"


@pytest.mark.parametrize("module", simulator.modules(), ids=lambda m: m.__name__)
def test_no_number_makes_a_formula_float64(module):
    """A decimal number of Python's is float64 on the device, and all it touches."""
    assert not list(decimal_numbers(module))


def test_without_numba_cuda_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba.cuda.core.config", None)
    space = {"__name__": launch.__name__, "__package__": launch.__package__}
    with pytest.raises(ImportError, match=r"need numba-cuda: pip install 'tinytl"):
        exec(inspect.getsource(launch), space)
