"""Time and memory of hypergradients against T: ``python -m reference.bench.bilevel``.

A convolutional network with batch normalisation and max pooling takes T steps on a
weighted matching loss; wanted is the gradient of its cross-entropy by the weights of
the pixels. Times are the processor's, of all threads together, and the least of several
rounds in which the estimators take turns, in units of c, one gradient of the inner loss
(16 in a row, by 16): what else runs on a machine adds to a time and never takes from
it. Memory is the peak of what NumPy allocates (tracemalloc), above what was there
before the call.
"""

import argparse
import json
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tinytl_kernels

import tinytl.functional as F
from tinytl import Tensor, grad, nn
from tinytl.bilevel import hypergradient
from tinytl.bilevel.implicit import NotStationaryWarning, UnsolvedSystemWarning

from .machine import machine

ESTIMATORS: dict[str, dict[str, Any]] = {
    "unrolled": {"method": "unrolled"},
    "reverse": {"method": "reverse"},
    "reverse, graphs=2": {"method": "reverse", "graphs": 2},
    "reverse, all graphs": {"method": "reverse", "graphs": None},
    "reverse, sqrt": {"method": "reverse", "keep": "sqrt"},
    "jvp": {"method": "jvp"},
    "finite": {"method": "finite"},
    "first_order": {"method": "first_order"},
    "one_step": {"method": "one_step"},
    "implicit, 5 terms": {"method": "implicit", "solver": "neumann", "terms": 5},
}
MANY = 16
STEPS = (1, 2, 4, 8, 16)


class Network(nn.Module):
    """Three convolutions; the maps of the second are matched."""

    def __init__(self, width: int, generator: np.random.Generator):
        super().__init__()

        def block(channels: int, filters: int) -> list[nn.Module]:
            conv = nn.Conv2d(channels, filters, 3, padding=1, generator=generator)
            return [conv, nn.BatchNorm2d(filters), nn.ReLU()]

        self.below = nn.Sequential(*block(3, width), *block(width, width))
        self.above = nn.Sequential(
            nn.MaxPool2d(2),
            *block(width, width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 10, generator=generator),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps, and scores of 10 classes."""
        maps = self.below(x)
        return maps, self.above(maps)


def problem(width: int, batch: int, seed: int = 0) -> dict[str, Any]:
    """Arguments of ``hypergradient`` but for the number of steps and the method."""
    rng = np.random.default_rng(seed)
    net = Network(width, rng)
    names = [name for name, _ in net.named_parameters()]
    x = Tensor(rng.standard_normal((batch, 3, 16, 16), dtype=np.float32))
    labels = Tensor(rng.integers(0, 10, batch))
    shape = (batch, width, 16, 16)
    source = Tensor(rng.standard_normal(shape, dtype=np.float32))
    gamma = Tensor(np.ones(shape, np.float32), requires_grad=True)

    def forward(p: list[Tensor]) -> tuple[Tensor, Tensor]:
        return nn.functional_call(net, dict(zip(names, p, strict=True)), x)

    def inner(p: list[Tensor], h: list[Tensor], t: int) -> Tensor:
        maps, scores = forward(p)
        d = maps - source
        return (h[0] * d * d).mean() + 0.1 * F.cross_entropy(scores, labels)

    return {
        "inner": inner,
        "outer": lambda p, h: F.cross_entropy(forward(p)[1], labels),
        "parameters": list(net.parameters()),
        "hyper": [gamma],
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
    }


def one_gradient(given: dict[str, Any]) -> None:
    """What c is."""
    theta = given["parameters"]
    hyper = [x.detach() for x in given["hyper"]]
    grad(given["inner"](theta, hyper, 0), theta)


def many_gradients(given: dict[str, Any]) -> None:
    """As long as the calls that are measured in units of it."""
    for _ in range(MANY):
        one_gradient(given)


def seconds(function: Callable[[], Any]) -> float:
    """Time that the processor spends on one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def peak_mb(function: Callable[[], Any]) -> float:
    """Peak of one call's allocations in MB."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def measure(width: int, batch: int, rounds: int, steps: list[int]) -> dict[str, Any]:
    """Seconds and megabytes of every estimator for every T, and of one gradient."""
    given = problem(width, batch)

    def call(options: dict[str, Any], T: int) -> Callable[[], Any]:
        return lambda: hypergradient(**given, steps=T, **options)

    calls = {
        (name, T): call(options, T)
        for name, options in ESTIMATORS.items()
        for T in steps
    }
    times: dict[Any, list[float]] = {key: [] for key in calls}
    base: list[float] = []
    for _ in range(rounds + 1):  # the first round warms up
        for key, function in calls.items():
            base.append(seconds(lambda: many_gradients(given)) / MANY)
            times[key].append(seconds(function))
    c = min(base)
    rows = [
        {
            "estimator": name,
            "steps": T,
            "seconds": (found := min(times[name, T][1:])),
            "gradients": found / c,
            "peak_mb": peak_mb(function),
        }
        for (name, T), function in calls.items()
    ]
    size = sum(p.data.nbytes for p in given["parameters"]) / 2**20
    gradient = peak_mb(lambda: one_gradient(given))
    return {"c_s": c, "c_peak_mb": gradient, "parameters_mb": size, "rows": rows}


def table(result: dict[str, Any], column: str, form: str) -> list[str]:
    """One line for each estimator, one column for each T."""
    rows = result["rows"]
    steps = sorted({row["steps"] for row in rows})
    lines = [f"{'':20}" + "".join(f"{f'T = {T}':>9}" for T in steps)]
    for name in ESTIMATORS:
        cells = {r["steps"]: r[column] for r in rows if r["estimator"] == name}
        lines.append(f"{name:20}" + "".join(f"{cells[T]:9{form}}" for T in steps))
    return lines


def main() -> None:
    """Measure, print two tables, and keep the result."""
    parser = argparse.ArgumentParser(
        prog="python -m reference.bench.bilevel", description=__doc__
    )
    parser.add_argument("--kernels", choices=tinytl_kernels.SETS, default="plain")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="T")
    parser.add_argument("--json", type=Path, help="where to keep the result")
    args = parser.parse_args()
    tinytl_kernels.use_kernels(args.kernels)
    for kind in (NotStationaryWarning, UnsolvedSystemWarning):
        warnings.simplefilter("ignore", kind)  # its cost is the question
    about = machine()
    result = measure(args.width, args.batch, args.rounds, list(args.steps))
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(
        f"one gradient of the inner loss: c = {1e3 * result['c_s']:.1f} ms, "
        f"{result['c_peak_mb']:.1f} MB; parameters {result['parameters_mb']:.2f} MB"
    )
    print("\ntime in units of c")
    print("\n".join(table(result, "gradients", ".1f")))
    print("\npeak memory in MB")
    print("\n".join(table(result, "peak_mb", ".1f")))
    if args.json:
        args.json.write_text(json.dumps({"machine": about, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
