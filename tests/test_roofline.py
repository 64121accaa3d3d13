"""What a trace counts is what is launched, and the times on paper follow from it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reference.bench.networks import VGG9_FLOPS
from reference.gpu import roofline
from reference.gpu.trace import Launch

ROOT = Path(__file__).parents[1]

# In a process of its own, since CuPy's stand-in stays where it was put.
PROGRAM = """
import json
import numpy as np
from reference.gpu import roofline
from reference.gpu.trace import stand_in, tracing
stand_in()
import cupy
import tinytl.functional as F
from tinytl import Tensor

def there(*shape):
    return Tensor(np.zeros(shape, np.float32)).to("cuda")

def traced(function):
    with tracing() as trace:
        function()
    return [[x.name, x.threads, x.bytes, x.operations] for x in trace.launches], [
        trace.waits, trace.sent]

x, w = there(2, 3, 8, 8), there(5, 3, 3, 3)
wide, deep = there(64, 3, 3, 3), there(3, 1, 3, 3)
a, b = there(4, 6), there(6, 5)

def in_place():
    y = a.data + a.data
    y += a.data

found = {
    "views": traced(lambda: a.data.T[1:].reshape(5, 2, 2)[0]),
    "copy": traced(lambda: a.data.T.reshape(-1)),
    "add": traced(lambda: a.data + a.data),
    "broadcast": traced(lambda: a.data + there(6).data),
    "expanded": traced(lambda: a.data + cupy.broadcast_to(there(6).data, (4, 6))),
    "in place": traced(in_place),
    "matmul": traced(lambda: a.data @ b.data),
    "reduction": traced(lambda: a.data.sum(axis=0)),
    "read": traced(lambda: F.sum(a).item()),
    "product": traced(lambda: F.conv2d(x, w)),
    "columns": traced(lambda: F.conv2d(x, wide)),
    "narrow": traced(lambda: F.conv2d(x, deep, groups=3)),
}
vgg = roofline.trace_of(roofline.programs(batch=1)[0])
products = [x for x in vgg.launches if x.name == "cupy.matmul" or "conv" in x.name]
found["VGG9"] = sum(x.operations for x in products)
found["VGG9 waits"] = vgg.waits
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "launches"),
    [
        ("views", []),
        ("copy", [["cupy.reshape", 0, 2 * 96, 24]]),
        ("add", [["cupy.add", 0, 3 * 96, 24]]),  # an array given twice is read twice
        ("broadcast", [["cupy.add", 0, 2 * 96 + 24, 24]]),
        ("expanded", [["cupy.add", 0, 2 * 96 + 24, 24]]),
        ("in place", [["cupy.add", 0, 288, 24], ["cupy.add inplace", 0, 288, 24]]),
        ("matmul", [["cupy.matmul", 0, 4 * (24 + 30 + 20), 2 * 4 * 6 * 5]]),
        ("reduction", [["cupy.sum", 0, 96 + 24, 24]]),
    ],
)
def test_operations_of_cupy(found, name, launches):
    assert found[name][0] == launches


def test_reading_is_counted_and_sending(found):
    assert found["read"][1] == [1, 0]
    assert found["broadcast"][1] == [0, 24]


def test_kernels_with_their_real_blocks(found):
    """Bytes are x, w and y; operations 2 a product: counted here by the definition."""
    outputs = 2 * 5 * 6 * 6
    x, w = 2 * 3 * 8 * 8, 5 * 3 * 3 * 3
    (launch,) = found["product"][0]
    assert launch[0].startswith("conv_")
    assert launch[1:] == [256, 4 * (x + w + outputs), 2 * outputs * 27]
    names = [name for name, *_ in found["columns"][0]]
    assert names[:2] == ["unfold_kernel", "cupy.matmul"]
    columns = 27 * 2 * 6 * 6
    assert found["columns"][0][0][2] == 4 * (x + columns)
    assert found["columns"][0][1][3] == 2 * 64 * columns
    (launch,) = found["narrow"][0]
    outputs = 2 * 3 * 6 * 6
    assert launch[0] == "narrow_conv"
    assert launch[2] == 4 * (x + 27 + outputs)
    assert launch[3] >= 2 * outputs * 9


def test_a_training_step_has_three_times_the_forwards_products(found):
    """But for the first layer's, whose images need no gradient."""
    assert found["VGG9"] == pytest.approx(3 * VGG9_FLOPS, rel=0.02)
    assert found["VGG9"] < 3 * VGG9_FLOPS * 1.001
    assert found["VGG9 waits"] == 0


def test_the_longest_of_the_three_is_the_limit():
    device = roofline.Device("one", 1e9, 1e12, 1e11, start=1e-6)
    memory = Launch("a", 0, 0, 10_000, 0, False)
    arithmetic = Launch("b", 0, 0, 0, 10**8, False)
    double = Launch("c", 0, 0, 0, 10**8, True)
    start = Launch("d", 0, 0, 1, 1, False)
    times = [roofline.seconds([x], device) for x in (memory, arithmetic, double, start)]
    assert times == pytest.approx([1e-5, 1e-4, 1e-3, 1e-6])
    assert roofline.limit([memory, start], device) == "memory"
    assert roofline.limit([memory, arithmetic], device) == "arithmetic"
    assert roofline.limit([start] * 11 + [memory], device) == "start"


def test_the_page_has_a_table_for_each_program(tmp_path):
    text = roofline.PAGE.read_text()
    between = text.split(roofline.BEGIN)[1].split(roofline.END)[0]
    for program in roofline.programs():
        assert f"**{program.name}**" in between
    page = tmp_path / "page.md"
    page.write_text(f"a\n{roofline.BEGIN}\nold\n{roofline.END}\nb\n")
    roofline.replace(page, "new")
    assert page.read_text() == f"a\n{roofline.BEGIN}\n\nnew\n\n{roofline.END}\nb\n"
