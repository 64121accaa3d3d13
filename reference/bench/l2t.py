"""An iteration of L2T, ways beside each other: ``python -m reference.bench.l2t``.

VGG9 learns from ResNet-32 over all 15 pairs, on random images of 32 x 32 in float32.
Every way has a process of its own and they take turns, so that a busy machine is busy
for all of them. The first iteration of each warms up and is not counted.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .__main__ import _ask, machine
from .worker import STATUS, memory

SIDES = {
    "official": "PyTorch, as published",
    "fast": "PyTorch, nothing computed twice",
    "tinytl": "tinytl, reverse",
    "unrolled": "tinytl, unrolled",
}


def stepper(
    side: str, batch: int, T: int, h_input: str | None, width: int
) -> Callable[[], Any]:
    """One iteration after the other, call by call; the same start on all sides."""
    import torch

    from reference.torch import fast, l2t, matching, networks

    torch.manual_seed(0)
    source, target = networks.resnet32(200), networks.vgg9(10, width=width)
    nets = matching.networks(source, target, h_input=h_input)
    x, labels = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
    options = l2t.Options(T=T, lr=0.01)  # small: on noise, 0.1 soon leaves the numbers
    if side in ("tinytl", "unrolled"):
        return _ours(side, nets, x.numpy(), labels.numpy(), T, h_input)
    iterate = {"official": l2t.iteration, "fast": fast.fast_iteration}[side]
    state = l2t.start(nets)

    def step() -> dict[str, float]:
        nonlocal state
        state, report = iterate(nets, state, x, labels, options)
        return report.losses

    return step


def _ours(
    side: str, nets: Any, x: Any, labels: Any, T: int, h_input: str | None
) -> Callable[[], Any]:
    """The same iteration by tinytl, from the same values."""
    from tinytl import Tensor
    from tinytl.models import VGG9, resnet32
    from tinytl.transfer import L2T

    width = nets.student.target.state_dict()["features.0.weight"].shape[0]
    method = "reverse" if side == "tinytl" else "unrolled"
    options = {"which": h_input, "steps": T, "lr": 0.01, "method": method}
    ours = L2T(resnet32(200), VGG9(10, width=width), nets.pairs, **options)
    ours.source.load_state_dict(nets.source.state_dict())
    ours.student.load_state_dict(nets.student.state_dict())
    pairs = zip(ours.meta.parameters(), nets.meta.parameters(), strict=True)
    for parameter, value in pairs:
        parameter.data = value.detach().numpy().reshape(parameter.shape)
    images, classes = Tensor(x), Tensor(labels)
    return lambda: {"outer": ours.step(images, classes).outer}


def work(args: argparse.Namespace) -> None:
    """Be one side: read numbers of iterations, answer with seconds and megabytes."""
    step = stepper(args.side, args.batch, args.T, args.which, args.width)
    before = memory("VmRSS")
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    for line in sys.stdin:
        seconds, losses = [], {}
        for _ in range(int(line)):
            start = time.perf_counter()
            losses = step()
            seconds.append(time.perf_counter() - start)
        grown = memory("VmHWM") - before
        answer = {"seconds": seconds, "grown_mb": grown, "outer": losses["outer"]}
        print(json.dumps(answer), flush=True)


def measure(sides: list[str], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Median seconds, growth at the peak in MB, and the last outer loss, of each."""
    command = [sys.executable, "-m", "reference.bench.l2t"]
    command += ["--batch", str(args.batch), "--T", str(args.T)]
    command += ["--width", str(args.width)]
    command += ["--which", args.which] if args.which else []
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = {
        side: subprocess.Popen([*command, "--side", side], text=True, **pipes)
        for side in sides
    }
    answers: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(args.rounds + 1):
        for side, worker in workers.items():
            answers[side].append(_ask(worker, 1))
    for worker in workers.values():
        worker.communicate()
    return {
        side: {
            "seconds": float(np.median([a["seconds"][0] for a in found[1:]])),
            "all_seconds": [a["seconds"][0] for a in found[1:]],
            "peak_mb": found[-1]["grown_mb"],
            "outer": found[-1]["outer"],
        }
        for side, found in answers.items()
    }


def main() -> None:
    """Measure, print the table, and keep the result."""
    parser = argparse.ArgumentParser(
        prog="python -m reference.bench.l2t", description=__doc__
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--T", type=int, default=2, help="virtual steps")
    parser.add_argument("--width", type=int, default=64, help="VGG9's first filters")
    parser.add_argument("--which", choices=["map", "pooled", "pooled-map"])
    parser.add_argument("--rounds", type=int, default=5, help="iterations of each side")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--json", type=Path, help="where to keep the result")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        work(args)
        return
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    method = f"L2T-www ({args.which})" if args.which else "L2T-ww"
    print(f"one iteration of {method}, batch {args.batch}, T = {args.T}, float32")
    print("medians; x = how often as fast as the first, median over the turns")
    rows = measure(args.sides, args)
    first = rows[args.sides[0]]["all_seconds"]
    for side, row in rows.items():
        row["speed"] = float(np.median(np.divide(first, row["all_seconds"])))
        print(
            f"    {SIDES[side]:32} {row['seconds']:7.2f} s  {row['peak_mb']:6.0f} MB"
            f"   {row['speed']:5.2f}x   outer loss {row['outer']:.5f}"
        )
    if args.json:
        result = {"machine": about, "options": vars(args), "rows": rows}
        args.json.write_text(json.dumps(result, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
