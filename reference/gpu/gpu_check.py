"""On a machine with a GPU: is it right there, and how fast?    make gpu-check

    1. the contract: every operation and its derivatives against PyTorch's
    2. a small network trained on the GPU and on the CPU, from one seed
    3. a demonstration: clothes learned on the GPU, by a network of three layers
    4. layers and training steps timed beside PyTorch on the same GPU, if it can use it

One JSON file has all of it. Exit status: 0 right, 1 wrong, 2 not possible here.
"""

import argparse
import ctypes
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONTRACT = "tests/cuda/test_cuda_contract.py"
BUDGET = {"contract": 240.0, "bench": 120.0}  # seconds


def missing_machine() -> list[str]:
    """What of the machine itself is missing; asks nothing but Python's own library."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError as error:
        return [f"no NVIDIA driver: its library cannot be loaded ({error})"]
    count = ctypes.c_int(0)
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return ["an NVIDIA driver, but no GPU that it can use (see nvidia-smi)"]
    return []


def missing_packages() -> list[str]:
    """What has to be installed, and how."""
    lacking = []
    needs = {"cupy": "cuda", "numba.cuda": "cuda", "torch": "test", "pytest": "test"}
    for name, extra in needs.items():
        try:
            importlib.import_module(name)
        except ImportError as error:
            lacking.append(f"{error}: pip install 'tinytl[{extra}]'")
    return lacking


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import cupy
    import numpy as np

    import tinytl

    runtime = cupy.cuda.runtime
    device = runtime.getDeviceProperties(0)
    return {
        "gpu": device["name"].decode(),
        "multiprocessors": device["multiProcessorCount"],
        "memory": device["totalGlobalMem"],
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
        "cpu": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cupy": cupy.__version__,
        "numba_cuda": importlib.import_module("numba_cuda").__version__,
        "tinytl": tinytl.__version__,
    }


# -- 1 ---------------------------------------------------------------------------------


def contract(options: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run the tests of the contract, with CuPy itself in the place of its stand-in."""
    command = [sys.executable, "-m", "pytest", "--noconftest", "-o", "addopts=-q"]
    folders = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    path = os.pathsep.join([folders, os.environ.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            [*command, CONTRACT, "-p", "no:cacheprovider", "--maxfail=30", *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=BUDGET["contract"],
        )
    except subprocess.TimeoutExpired:
        return {"ok": False, "said": [f"not done after {BUDGET['contract']:.0f} s"]}
    lines = done.stdout.splitlines()
    faults = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    said = faults + lines[-1:] + done.stderr.splitlines()[-5:]
    return {"ok": done.returncode == 0, "said": said}


# -- 2 and 3 ---------------------------------------------------------------------------


def network(seed: int) -> Any:
    """Three convolutions with batch norm, for images of 28 x 28."""
    import numpy as np

    from tinytl import nn

    rng = np.random.default_rng(seed)

    def block(channels: int, filters: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, filters, 3, padding=1, generator=rng)
        return [conv, nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(
        *(*block(1, 16), *block(16, 32), *block(32, 32)),
        *(nn.Flatten(), nn.Dropout(0.2, generator=rng)),
        nn.Linear(32 * 3 * 3, 10, generator=rng),
    )


def train(device: str, steps: int, batch: int = 64) -> tuple[Any, list[float], float]:
    """Train on the bundled clothes; model, losses, seconds."""
    import numpy as np

    import tinytl
    import tinytl.functional as F
    from tinytl import Tensor, optim
    from tinytl.experiments.training import fashion

    images = fashion("train")
    model = network(0).to(device)
    parameters = list(model.parameters())
    sgd = optim.SGD(parameters, 0.05, 0.9, weight_decay=1e-4)
    draw = np.random.default_rng(1)
    start = time.perf_counter()
    losses = []
    for _ in range(steps):
        index = draw.integers(0, len(images.labels), batch)
        x = Tensor(images.images[index]).to(device)
        labels = Tensor(images.labels[index]).to(device)
        loss = F.cross_entropy(model(x), labels)
        sgd.step(tinytl.grad(loss, parameters))
        losses.append(loss)  # read below: nothing in a step waits
    values = [loss.item() for loss in losses]
    return model, values, time.perf_counter() - start


def same_run(steps: int = 5) -> dict[str, Any]:
    """The same seed on both devices: losses and parameters to float32's accuracy."""
    import numpy as np

    (a, here, _), (b, there, _) = (train(d, steps) for d in ("cpu", "cuda"))
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    worst = max(float(np.abs(x.numpy() - y.cpu().numpy()).max()) for x, y in pairs)
    losses = max(abs(x - y) for x, y in zip(here, there, strict=True))
    return {"ok": worst < 1e-3 and losses < 1e-3, "loss": losses, "state": worst}


def demonstration(steps: int = 600) -> dict[str, Any]:
    """A network trained on the GPU: the share of test images that it gets right."""
    import numpy as np

    import tinytl
    from tinytl import Tensor
    from tinytl.experiments.training import fashion

    model, losses, seconds = train("cuda", steps)
    test = fashion("test")
    with tinytl.no_grad():
        scores = model.eval()(Tensor(test.images).to("cuda"))
    right = float(np.mean(scores.argmax(1).cpu().numpy() == test.labels))
    return {
        "ok": right > 0.7,
        "accuracy": right,
        "loss": [losses[0], losses[-1]],
        "steps_per_second": steps / seconds,
    }


# -- 4 ---------------------------------------------------------------------------------


class OnDevice:
    """Makes a side of ``reference.bench`` put its tensors on the GPU."""

    def __init__(self, side: Any, wait: Callable[[], None]):
        self.side, self.wait = side, wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self.side, name)

    def tensor(self, array: Any, requires_grad: bool = False) -> Any:
        """A leaf on the GPU that holds a copy of the array."""
        x = self.side.tensor(array).to("cuda")
        return x.requires_grad_(requires_grad)


def sides() -> dict[str, OnDevice]:
    """tinytl, and PyTorch if it can use the GPU."""
    import torch

    import tinytl

    from ..bench import sides as bench

    found = {"tinytl": OnDevice(bench.Ours(1, False), tinytl.cuda.synchronize)}
    if torch.cuda.is_available():
        theirs = bench.Theirs(1, False)
        found["torch"] = OnDevice(theirs, torch.cuda.synchronize)
        torch.backends.cuda.matmul.allow_tf32 = False  # float32, as ours
        torch.backends.cudnn.allow_tf32 = False
    return found


def rows() -> list[Any]:
    """Convolutions, norms and layers of the table of ``make bench``."""
    from ..bench import workloads

    return [*workloads.convolutions(), *workloads.layers()]


def training_step(side: OnDevice, name: str, batch: int) -> Callable[[], Any]:
    """Loss, gradients and a step of SGD of a whole network."""
    from ..bench import networks

    net = networks.module(name, side).to("cuda")
    x, labels = networks.batch_of(side, batch)
    parameters = list(net.parameters())
    update = side.optimiser(parameters, **networks.SGD)

    def step() -> Any:
        loss = side.F.cross_entropy(net(x), labels)
        update(side.grad(loss, parameters))
        return loss

    return step


def median_ms(step: Callable[[], Any], wait: Callable[[], None], budget: float) -> Any:
    """Median milliseconds of a step, the GPU waited for; at least 3 times."""
    import numpy as np

    for _ in range(2):
        step()
    wait()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or (len(times) < 50 and time.perf_counter() - start < budget):
        before = time.perf_counter()
        step()
        wait()
        times.append(1e3 * (time.perf_counter() - before))
    return float(np.median(times))


def bench(batch: int = 128, limit: float = BUDGET["bench"]) -> dict[str, Any]:
    """Milliseconds of every row on every side; stops when its time is used up."""
    start, found = time.perf_counter(), []
    both = sides()
    works: list[tuple[str, Callable[[OnDevice], Callable[[], Any]]]] = [
        (f"training step/{name}", lambda s, n=name: training_step(s, n, batch))
        for name in ("VGG9", "ResNet-32")
    ]
    works += [(row.key, lambda s, r=row: r.build(s, batch)) for row in rows()]
    for key, build in works:
        if time.perf_counter() - start > limit:
            break
        line: dict[str, Any] = {"row": key, "batch": batch}
        for name, side in both.items():
            try:
                line[name] = median_ms(build(side), side.wait, limit / len(works) / 4)
            except Exception as error:  # one row that fails is told, the rest goes on
                line[name] = f"{type(error).__name__}: {error}"
        found.append(line)
        print("    ", "  ".join(f"{k} {v}" for k, v in line.items()), flush=True)
    failed = [x for x in found if isinstance(x["tinytl"], str)]
    return {"ok": not failed, "rows": found, "left_out": len(works) - len(found)}


def registers() -> dict[str, Any]:
    """Registers of every kernel that was loaded: what the compile check foretells."""
    from tinytl_kernels.cuda.launch import KERNELS

    return {
        name: {str(k): v for k, v in kernel.compiled.get_regs_per_thread().items()}
        for name, kernel in KERNELS.items()
        if kernel.compiled.overloads
    }


STAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "contract": contract,
    "same run on both devices": same_run,
    "demonstration": demonstration,
    "bench": bench,
}


def main() -> None:
    """Run everything and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m reference.gpu.gpu_check", description=__doc__
    )
    parser.add_argument("--machine", action="store_true", help="only look for a GPU")
    parser.add_argument("--json", type=Path, default=Path("gpu-check.json"))
    args = parser.parse_args()
    lacking = missing_machine()
    if not lacking and not args.machine:
        lacking = missing_packages()
    if lacking:
        print("gpu-check cannot run here:\n  " + "\n  ".join(lacking))
        print("What can be checked without a GPU is part of: make test")
        sys.exit(2)
    if args.machine:
        return
    result: dict[str, Any] = {"machine": machine(), "stages": {}}
    print(json.dumps(result["machine"], indent=1))
    for name, stage in STAGES.items():
        start = time.perf_counter()
        try:
            said = stage()
        except Exception as error:  # the next stage may still tell something
            said = {"ok": False, "said": [f"{type(error).__name__}: {error}"]}
        said["seconds"] = round(time.perf_counter() - start, 1)
        result["stages"][name] = said
        print(f"{'ok   ' if said['ok'] else 'WRONG'} {name}, {said['seconds']} s")
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    result["registers"] = registers()
    args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"all of it: {args.json}")
    sys.exit(0 if all(s["ok"] for s in result["stages"].values()) else 1)


if __name__ == "__main__":
    main()
