"""What is called on CuPy's arrays exists in CuPy, with the keywords that are used.

The stand-in refuses the rest when it is called. Here the source is read instead, so
that lines count which no test runs.
"""

import ast
from pathlib import Path

import cupy
import numpy as np
import pytest
import standin
from standin import NAMES
from tinytl_kernels import kernels_for, namespace

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [
        *ROOT.glob("tinytl/**/*.py"),
        *ROOT.glob("kernels/tinytl_kernels/cuda/*.py"),
        ROOT / "kernels/tinytl_kernels/devices.py",
    ]
)
MODULES = {"cuda"}


def of_cupy(node):
    """Whether an expression is CuPy, or may be: ``xp`` and ``namespace(x)``."""
    if isinstance(node, ast.Name):
        return node.id in ("xp", "cupy")
    return isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "namespace",
        "devices.cupy",
        "cupy",
    )


def faults(text):
    """Names that CuPy lacks, and keywords that its functions do not take."""
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if isinstance(node, ast.Attribute):
            known = {*NAMES["functions"], *NAMES["values"], *MODULES}
            if of_cupy(node.value) and node.attr not in known:
                yield f"{node.lineno}: {node.attr}"
            if (
                ast.unparse(node.value) == "cupy.cuda"
                and node.attr not in NAMES["cuda"]
            ):
                yield f"{node.lineno}: cuda.{node.attr}"
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            known = NAMES["functions"].get(node.func.attr)
            for keyword in node.keywords:
                if of_cupy(node.func.value) and known and keyword.arg not in known:
                    yield f"{node.lineno}: {node.func.attr}({keyword.arg}=)"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_exist(path):
    assert not list(faults(path.read_text()))


def test_names_that_do_not_are_found():
    assert list(faults("xp.errstate()")) == ["1: errstate"]
    assert list(faults("namespace(x).vecdot(x, y)")) == ["1: vecdot"]
    assert list(faults("xp.max(x, initial=0)")) == ["1: max(initial=)"]
    assert list(faults("cupy.cuda.is_there()")) == ["1: cuda.is_there"]
    assert not list(faults("xp.sum(x, axis=1, keepdims=True); np.errstate()"))


def test_the_stand_in_keeps_cupys_rules():
    x = cupy.asarray(np.arange(6.0).reshape(2, 3))
    assert namespace(x) is cupy
    assert type(x.sum()) is type(x[0, 0]) is cupy.ndarray
    assert (2 * x + np.float64(1)).get().tolist() == [[1, 3, 5], [7, 9, 11]]
    host = np.ones(3)
    for mixed in (
        lambda: x + host,
        lambda: host + x,
        lambda: cupy.maximum(x, host),
        lambda: np.maximum(x, host),
        lambda: x[np.array([0])],
        lambda: x.take(np.array([0]), axis=1),
        lambda: x.__setitem__(0, host),
    ):
        with pytest.raises(TypeError, match="Unsupported type"):
            mixed()
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    with pytest.raises(AttributeError, match="no attribute 'errstate'"):
        cupy.errstate()
    with pytest.raises(AttributeError, match="no attribute 'tostring'"):
        x.tostring()
    with pytest.raises(TypeError, match="no argument"):
        x.max(initial=0)
    with pytest.raises(TypeError, match="no argument"):
        cupy.max(x, initial=0)
    assert type(np.exp(x)) is type(np.concatenate([x, x])) is cupy.ndarray


def test_waiting_is_counted():
    x = cupy.asarray([1.0, 2.0])
    before = standin.waits.count
    y = (x * x).sum()
    assert standin.waits.count == before
    for wait in (float, bool, y.item, y.get, y.tolist, cupy.asnumpy):
        wait(y) if wait in (float, bool, cupy.asnumpy) else wait()
    assert standin.waits.count == before + 6


def test_kernels_do_not_wait():
    from tinytl_kernels.shapes import window

    x = cupy.asarray(np.ones((1, 2, 4, 4), np.float32))
    w = cupy.asarray(np.ones((3, 2, 3, 3), np.float32))
    view = window("f", (4, 4), 3, 1, 1)
    before = standin.waits.count
    kernels = kernels_for(x)
    y = kernels.conv(x, w, view, 1)
    kernels.conv_dx(y, w, view, 1), kernels.conv_dw(x, y, view, 1)
    kernels.moments(x), kernels.softmax(x, 1), kernels.max_pool(x, view)
    assert standin.waits.count == before
