"""What the compile check concludes; the check itself plants faults when it runs."""

import json

import pytest

from reference.gpu import compile_check
from reference.gpu.compile_check import Build, faults, occupancy


@pytest.mark.parametrize(
    ("registers", "shared", "threads", "cc", "share"),
    [
        (32, 0, 256, (8, 0), 1.0),  # as NVIDIA's occupancy calculator has them
        (64, 0, 256, (8, 0), 0.5),
        (33, 0, 256, (8, 0), 0.75),  # in pieces of 8 registers a thread
        (128, 0, 256, (9, 0), 0.25),
        (255, 0, 256, (8, 0), 0.125),
        (64, 0, 256, (7, 5), 1.0),
        (16, 0, 32, (8, 0), 0.5),  # 32 blocks of one warp
        (16, 0, 32, (7, 5), 0.5),
        (16, 48 << 10, 256, (8, 0), 0.375),  # 3 blocks of 49 KB in 164
        (16, 48 << 10, 256, (9, 0), 0.5),
        (16, 48 << 10, 256, (7, 5), 0.25),
        (16, 0, 1024, (7, 5), 1.0),
    ],
)
def test_occupancy(registers, shared, threads, cc, share):
    found = Build(registers, shared, 0, 0, 0)
    assert occupancy(found, threads, cc) == pytest.approx(share)


@pytest.mark.parametrize(
    ("line", "leaks"),
    [
        ("    mul.f64     %fd3, %fd1, %fd2;", True),
        ("    @%p1 fma.rn.f64 %fd3, %fd1, %fd2, %fd4;", True),
        ("    cvt.f64.f32 %fd1, %f1;", True),
        ("    setp.gt.f64 %p1, %fd1, %fd2;", True),
        ("    ld.global.f64 %fd1, [%rd1];", False),
        ("    mov.f64 %fd1, %fd2;", False),
        ("    mul.f32 %f3, %f1, %f2;", False),
    ],
)
def test_arithmetic_in_float64_is_seen(line, leaks):
    assert bool(compile_check.FLOAT64.search(line)) == leaks


def test_faults_are_named():
    array = "Array({}, 1, 'C')".format
    spilled, doubled = Build(1, 0, 0, 8, 0), Build(1, 0, 0, 0, 3)
    assert faults([array("float32")], Build(255, 1, 64, 0, 0)) == []
    assert "SPILLS 8" in faults([array("float32")], spilled)[0]
    assert "FLOAT64 3" in faults([array("float32"), "int64"], doubled)[0]
    assert faults([array("float64")], doubled) == []


def test_every_kernel_has_signatures_in_float32():
    """The check would build nothing of a kernel that the tests did not launch."""
    table = json.loads(compile_check.SIGNATURES.read_text())
    for name, launches in table.items():
        assert any("float32" in " ".join(texts) for texts in launches), name
    assert len(table) >= 20
