"""Every GPU kernel built for real devices, without one.

    .venv/cuda/bin/python -m reference.gpu.compile_check

Numba makes PTX, NVIDIA's linker makes machine code of it for each architecture, and its
report is read: registers, shared memory, spills. No driver and no GPU is needed, but
the compiler's packages are (``make .venv/cuda``). The types are those with which the
tests launched the kernels, ``tests/cuda/signatures.json``.

It fails if a kernel does not build, if registers spill to memory, or if a kernel of
float32 computes in float64: one Python float among its numbers is enough for that.
Theoretical occupancy is the share of a multiprocessor's threads that can be there at
once, by the limits of its registers, shared memory and blocks.
"""

import argparse
import functools
import importlib
import json
import os
import pkgutil
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .trace import Launch

Table = dict[str, list[list[str]]]
Capability = tuple[int, int]  # of a device, as NVIDIA numbers them
SIGNATURES = Path(__file__).parents[2] / "tests" / "cuda" / "signatures.json"
ARCHITECTURES = ((7, 5), (8, 0), (9, 0), (10, 0))


@dataclass(frozen=True)
class Multiprocessor:
    """Limits of one multiprocessor. Source: CUDA C++ Programming Guide 13.0, section
    "Compute Capabilities", table "Technical Specifications per Compute Capability"."""

    threads: int
    blocks: int
    shared: int  # bytes
    reserved: int = 1024  # bytes of shared memory that each block costs besides
    registers: int = 65536


LIMITS = {
    (7, 5): Multiprocessor(1024, 16, 64 << 10, reserved=0),
    (8, 0): Multiprocessor(2048, 32, 164 << 10),
    (9, 0): Multiprocessor(2048, 32, 228 << 10),
    (10, 0): Multiprocessor(2048, 32, 228 << 10),
}

# Arithmetic and conversions; moving a float64 from one place to another is harmless.
ARITHMETIC = r"add|sub|mul|mad|fma|div|rcp|sqrt|rsqrt|cvt|neg|abs|setp|min|max|selp"
FLOAT64 = re.compile(rf"^\s*(?:@!?%p\d+\s+)?(?:{ARITHMETIC})\b[^;]*\.f64", re.M)
SHARED = re.compile(r"\.shared\b[^;\n]*\.b(\d+)\s+\w+\[(\d+)\]")


@dataclass(frozen=True)
class Build:
    """What the compiler said of one kernel, one signature and one architecture."""

    registers: int
    shared: int
    stack: int
    spilled: int
    float64: int


def build(
    function: Any,
    signature: tuple[Any, ...],
    cc: Capability,
    registers: int | None = None,
) -> Build:
    """Compile and link, for at most so many registers; raises what those two raise."""
    import numba.cuda.dispatcher as dispatcher
    from cuda.core import Linker, LinkerOptions, ObjectCode
    from numba import cuda

    # Numba asks "the current device" what it is when a kernel calls a device function
    # that was not inlined. There is none: answer in its place.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
    ptx, _ = cuda.compile_ptx(function, signature, cc=cc)
    options = LinkerOptions(
        arch=f"sm_{cc[0]}{cc[1]}",
        ptxas_options=["-v"],
        max_register_count=registers,
    )
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    linker.link("cubin")
    log = linker.get_info_log()

    def said(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found[1]) if found else 0

    return Build(
        registers=said(r"Used (\d+) registers"),
        shared=sum(int(size) * int(bits) // 8 for bits, size in SHARED.findall(ptx)),
        stack=said(r"(\d+) bytes stack frame"),
        spilled=said(r"(\d+) bytes spill stores") + said(r"(\d+) bytes spill loads"),
        float64=len(FLOAT64.findall(ptx)),
    )


def occupancy(found: Build, threads: int, cc: Capability) -> float:
    """Share of a multiprocessor's threads that blocks of `threads` can fill.

    Registers are given to warps of 32 threads, in pieces of 256; a warp belongs to one
    of the four quarters of a multiprocessor.
    """
    limits = LIMITS[cc]
    warps = -(-threads // 32)
    of_a_warp = -(-max(found.registers, 1) * 32 // 256) * 256
    by_registers = limits.registers // 4 // of_a_warp * 4 // warps
    a_block = found.shared + limits.reserved
    by_shared = limits.shared // a_block if a_block else limits.blocks
    by_threads = limits.threads // (32 * warps)
    blocks = min(limits.blocks, by_registers, by_shared, by_threads)
    return blocks * warps * 32 / limits.threads


def faults(texts: list[str], found: Build) -> list[str]:
    """What is wrong with a build: nothing, or words for the table."""
    wrong = []
    if found.spilled:
        wrong.append(f"SPILLS {found.spilled} bytes")
    doubles = any("float64" in text for text in texts)
    if found.float64 and not doubles:
        wrong.append(f"FLOAT64 {found.float64} instructions")
    return wrong


@functools.cache
def kernels() -> tuple[dict[str, Any], dict[str, Any]]:
    """All kernels of the set by name, and the words that their types are written in."""
    import tinytl_kernels.cuda as package
    from numba import types
    from tinytl_kernels.cuda.launch import KERNELS

    words = dict(vars(types))
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        found = {k: v for k, v in vars(module).items() if hasattr(v, "_fields")}
        words.update(found)  # the tuples that are arguments of kernels
    return KERNELS, words


def row(
    name: str, texts: list[str], threads: int | None, architectures: list[Capability]
) -> tuple[str, int, list[str]]:
    """One line of the table: a kernel with the types of one launch.

    Args:
        name: of the kernel.
        texts: the types of its arguments.
        threads: of a block, where it is known.
        architectures: to build for; float64 is built for the last but one alone.

    Returns:
        The line, how many builds were made, and what is wrong with them.
    """
    known, words = kernels()
    double = "float64" in " ".join(texts)
    signature = tuple(eval(text, dict(words)) for text in texts)
    cells, wrong, memory, builds = "", [], "     ?     ?", 0
    for cc in architectures:
        arch, cell = f"sm_{cc[0]}{cc[1]}", ""
        if not double or cc == architectures[-2:][0]:
            builds += 1
            try:
                found = build(known[name].function, signature, cc)
            except Exception as error:  # the compiler's, of many kinds
                words_ = " ".join(str(error).split())[:300]
                wrong.append(f"{name} {arch}: {type(error).__name__}: {words_}")
                cell = "FAILED"
            else:
                wrong += [f"{name} {arch}: {fault}" for fault in faults(texts, found)]
                share = occupancy(found, threads or 256, cc)
                cell = f"{found.registers} {share:4.0%}"
                memory = f"{found.shared:7}{found.stack:6}"
        cells += f"{cell:>12}"
    size = threads or "256?"
    return f"{name:24}{dtypes(texts):16}{size:>7}{memory}{cells}", builds, wrong


def check(
    table: Table,
    known: set[str],
    threads: dict[str, int],
    architectures: list[Capability],
) -> int:
    """Build all, a core each; print the table; return how many builds are bad.

    Args:
        table: name of a kernel -> the types of each of its launches.
        known: names of the kernels.
        threads: of a block, by kernel.
        architectures: as for ``row``.
    """
    wrong = [f"{name}: never launched in the tests" for name in known - set(table)]
    wrong += [f"{name}: no such kernel" for name in set(table) - known]
    wrong.sort()
    heads = "".join(f"{f'sm_{major}{minor}':>12}" for major, minor in architectures)
    print("registers and occupancy by architecture; bytes of shared and local memory")
    print(f"{'kernel':24}{'arrays':16}{'threads':>7}{'shared':>7}{'local':>6}{heads}")
    builds = 0
    with ProcessPoolExecutor() as pool:
        asked = [
            pool.submit(row, name, texts, threads.get(name), architectures)
            for name in sorted(set(table) & known)
            for texts in table[name]
        ]
        for line, count, faulty in (answer.result() for answer in asked):
            print(line, flush=True)
            builds += count
            wrong += faulty
    print("\n".join(wrong))
    print(f"{builds} builds, {len(wrong)} faults")
    return len(wrong)


def blocks() -> dict[str, int]:
    """Threads of a block of each kernel, as launched for networks of real sizes."""
    from .roofline import programs, trace_of

    found: dict[str, int] = {}
    for program in programs(batch=2):
        found.update({x.name: x.threads for x in trace_of(program).launches})
    found.update({x.name: x.threads for x in _others()})
    return {name: size for name, size in found.items() if size}


def _others() -> list[Launch]:
    """Launches of the kernels that those networks do not use."""
    import numpy as np
    from tinytl_kernels import kernels_for

    import tinytl.functional as F
    from tinytl import Tensor, grad

    from .trace import tracing

    with tracing() as trace:
        x = Tensor(np.zeros((2, 64, 16, 16), np.float32)).to("cuda")
        w = Tensor(np.zeros((64, 1, 3, 3), np.float32)).to("cuda")
        x.requires_grad = w.requires_grad = True
        y = F.avg_pool2d(F.conv2d(x, w, padding=1, groups=64), 2)
        y = F.leaky_relu(F.hardswish(F.hardsigmoid(y)))
        grad(F.sum(y), [x, w])
        kernels = kernels_for(x.data)
        kernels.softmax(x.data, 1)
        kernels.softmax_dx(x.data, x.data, 1)
        kernels.sgd_step(w.data, w.data, w.data, 0.1, 0.9, 0.0, 1e-4, False)
    return trace.launches


def dtypes(texts: list[str]) -> str:
    """The dtypes of the arrays of a signature, each once."""
    found = re.findall(r"Array\((\w+)", " ".join(texts))
    return " ".join(dict.fromkeys(found))


def self_test(cc: Capability) -> list[str]:
    """Plant what the check is there for; return what it did not find."""
    import math

    from numba import cuda, types

    def right(x: Any, y: Any) -> None:
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            y[i] = math.exp(x[i])

    def constant(x: Any, y: Any) -> None:
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            y[i] = 0.1 * x[i]  # a Python float is float64

    def many(x: Any, y: Any) -> None:
        a, b, c, d = x[0], x[1], x[2], x[3]
        e, f, g, h = x[4], x[5], x[6], x[7]
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            t = x[i]
            a, b, c, d = a * t + b, b * t + c, c * t + d, d * t + e
            e, f, g, h = e * t + f, f * t + g, g * t + h, h * t + a
        y[cuda.grid(1)] = a + b + c + d + e + f + g + h

    def unknown(x: Any, y: Any) -> None:
        y[0] = len({v: v for v in x})  # no dictionaries on a GPU

    array = types.float32[::1]
    missed = []
    if faults(["float32"], build(right, (array, array), cc)):
        missed.append("a right kernel was called wrong")
    if not faults(["float32"], build(constant, (array, array), cc)):
        missed.append("a float64 constant was not found")
    if not faults(["float32"], build(many, (array, array), cc, registers=16)):
        missed.append("a spill was not found")
    try:
        build(unknown, (array, array), cc)
        missed.append("a kernel that cannot be compiled was built")
    except Exception:  # the compiler's, of many kinds: as wanted
        pass
    return missed


def main() -> None:
    """Build everything; exit status 1 if anything is bad, 2 without the compiler."""
    parser = argparse.ArgumentParser(
        prog="python -m reference.gpu.compile_check", description=__doc__
    )
    parser.add_argument("--signatures", type=Path, default=SIGNATURES)
    parser.add_argument("--arch", nargs="+", help="such as 80 90; all unless given")
    parser.add_argument("--only", default="", help="kernels whose names contain this")
    args = parser.parse_args()
    os.environ["NUMBA_ENABLE_CUDASIM"] = "0"  # before Numba is imported
    try:
        import numba.cuda.dispatcher  # noqa: F401
    except ImportError as error:
        print(f"the compiler is not here ({error}): make .venv/cuda")
        sys.exit(2)
    start = time.perf_counter()
    missed = self_test((9, 0))
    print(
        "\n".join(missed)
        or "planted and found: a float64 constant, a spill, a dictionary"
    )
    wanted = [
        cc for cc in ARCHITECTURES if not args.arch or f"{cc[0]}{cc[1]}" in args.arch
    ]
    table = json.loads(args.signatures.read_text())
    known = {name for name in kernels()[0] if args.only in name}
    chosen = {k: v for k, v in table.items() if args.only in k}
    bad = check(chosen, known, blocks(), wanted) + len(missed)
    print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
