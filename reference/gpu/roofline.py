"""Training steps on paper: bytes and arithmetic by kernel, against two devices.

    python -m reference.gpu.roofline            prints the tables of docs/gpu.md
    python -m reference.gpu.roofline --write    puts them there

Every launch of a program is noted (``trace``). A launch takes at least as long as its
bytes take to cross the memory bus, as its operations take, and as the device needs to
start it; the longest of the three is its limit, and the sum over all launches is the
time to expect of kernels that reach their limits. Real ones take longer.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .trace import ROOT, Launch, Trace, stand_in, tracing

PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- roofline: begin -->", "<!-- roofline: end -->"


@dataclass(frozen=True)
class Device:
    """What a device does at most.

    Attributes:
        name: as printed.
        bandwidth: bytes a second to and from its memory.
        arithmetic: float32 operations a second outside of tensor cores.
        double: the same in float64.
        start: seconds between the starts of two kernels in one stream.
    """

    name: str
    bandwidth: float
    arithmetic: float
    double: float
    start: float = 2e-6


# Sources: NVIDIA A100 Tensor Core GPU data sheet (2021, SXM4 80 GB: 2,039 GB/s, 19.5
# and 9.7 TFLOPS) and NVIDIA H100 Tensor Core GPU data sheet (2023, SXM5 80 GB: 3.35
# TB/s, 67 and 34 TFLOPS). The start of a kernel is an estimate: measured values in the
# literature lie between 2 and 5 microseconds.
DEVICES = (
    Device("A100", 2.039e12, 19.5e12, 9.7e12),
    Device("H100", 3.35e12, 67e12, 34e12),
)


@dataclass(frozen=True)
class Program:
    """Something to trace: `make` builds it, and returns what runs once."""

    name: str
    make: Callable[[], Callable[[], Any]]


def programs(batch: int = 128) -> list[Program]:
    """The training steps that are told: float32, images of 3 x 32 x 32."""
    from tinytl.models import VGG9, resnet32

    def training(network: Callable[[], Any]) -> Callable[[], Callable[[], Any]]:
        return lambda: _training_step(network(), batch)

    return [
        Program(f"VGG9, batch {batch}", training(lambda: VGG9(10))),
        Program(f"ResNet-32, batch {batch}", training(lambda: resnet32(10))),
        Program(f"L2T-www, batch {batch}, T = 2", lambda: _l2t_step(batch)),
    ]


def _batch(size: int) -> tuple[Any, Any]:
    from tinytl import Tensor

    images = Tensor(np.zeros((size, 3, 32, 32), np.float32)).to("cuda")
    return images, Tensor(np.zeros(size, np.int64)).to("cuda")


def _training_step(network: Any, batch: int) -> Callable[[], Any]:
    import tinytl.functional as F
    from tinytl import grad, optim

    sgd = optim.SGD(network.to("cuda").parameters(), 0.1, 0.9, weight_decay=1e-4)
    parameters = list(network.parameters())
    images, labels = _batch(batch)

    def step() -> Any:
        loss = F.cross_entropy(network(images), labels)
        sgd.step(grad(loss, parameters))
        return loss

    step()  # the optimiser has a memory from now on
    return step


def _l2t_step(batch: int) -> Callable[[], Any]:
    from tinytl.models import VGG9, resnet32
    from tinytl.transfer import L2T

    pairs = [(m, n) for m in range(3) for n in range(5)]
    l2t = L2T(resnet32(200), VGG9(10), pairs, which="map", steps=2).to("cuda")
    images, labels = _batch(batch)
    return lambda: l2t.step(images, labels)


def trace_of(program: Program) -> Trace:
    """Launches of one run of a program."""
    stand_in()
    with tracing() as trace:
        run = program.make()
        trace.launches.clear()
        run()
    return trace


def limits(launch: Launch, device: Device) -> dict[str, float]:
    """Seconds that each resource needs for one launch."""
    peak = device.double if launch.double else device.arithmetic
    return {
        "memory": launch.bytes / device.bandwidth,
        "arithmetic": launch.operations / peak,
        "start": device.start,
    }


def seconds(launches: list[Launch], device: Device) -> float:
    """Expected time of launches one after the other."""
    return sum(max(limits(x, device).values()) for x in launches)


def table(program: Program, rows: int = 12) -> list[str]:
    """A Markdown table of the kernels of a program, the slowest first."""
    trace = trace_of(program)
    groups = trace.by_name()
    slowest = sorted(groups, key=lambda name: -seconds(groups[name], DEVICES[0]))
    head = " | ".join(f"{d.name}, ms | limit" for d in DEVICES)
    lines = [
        f"**{program.name}**: {len(trace.launches)} launches, "
        f"{trace.waits} times the host waits.",
        "",
        f"| kernel | launches | MB | MFLOP | {head} |",
        "| --- " + "| ---: " * 3 + "| ---: | --- " * len(DEVICES) + "|",
    ]
    rest = [x for name in slowest[rows:] for x in groups[name]]
    shown = [(f"`{name}`", groups[name]) for name in slowest[:rows]]
    if rest:
        shown.append((f"{len(slowest) - rows} others", rest))
    for name, launches in [*shown, ("**all**", trace.launches)]:
        cells = [name, str(len(launches)), *_amounts(launches)]
        for device in DEVICES:
            cells += [f"{1e3 * seconds(launches, device):.2f}", limit(launches, device)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _amounts(launches: list[Launch]) -> list[str]:
    return [
        f"{sum(x.bytes for x in launches) / 1e6:,.1f}",
        f"{sum(x.operations for x in launches) / 1e6:,.0f}",
    ]


def limit(launches: list[Launch], device: Device) -> str:
    """What most of their time goes to."""
    total = dict.fromkeys(("memory", "arithmetic", "start"), 0.0)
    for launch in launches:
        found = limits(launch, device)
        name = max(found, key=lambda key: found[key])
        total[name] += found[name]
    return max(total, key=lambda key: total[key])


def page(batch: int = 128) -> str:
    """All tables."""
    blocks = ["\n".join(table(program)) for program in programs(batch)]
    return "\n\n".join(blocks)


def main() -> None:
    """Print the tables, or put them into the page."""
    parser = argparse.ArgumentParser(
        prog="python -m reference.gpu.roofline", description=__doc__
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--write", action="store_true", help="change docs/gpu.md")
    args = parser.parse_args()
    os.environ["NUMBA_ENABLE_CUDASIM"] = "0"  # real block sizes; nothing is compiled
    text = page(args.batch)
    if args.write:
        replace(PAGE, text)
    else:
        print(text)


def replace(path: Path, text: str) -> None:
    """Put a text between the two comments of a page."""
    before, rest = path.read_text().split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
