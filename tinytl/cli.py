"""The ``tinytl`` command.

tinytl demo       four experiments with figures and a report
tinytl transfer   one run of a transfer method on official images
tinytl compare    many runs: methods, tasks and seeds
tinytl evidence   tables and curves of these runs
tinytl info       what is installed, and what computes
"""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tinytl_kernels

from . import __version__, get_num_threads, keep_pages
from .experiments.arguments import number
from .experiments.evidence import command as evidence
from .experiments.runner import cores
from .experiments.single import DATA, TARGETS, Task
from .transfer import METHODS, Settings
from .transfer.l2t import VIRTUAL
from .transfer.matching import SCALES
from .transfer.meta import H_INPUTS
from .transfer.settings import COSINE

EXPERIMENTS = ("collapse", "signal", "transfer", "l2t")
LEARNED = ("l2t-ww", "l2t-www")
OPTIONS = {  # of L2T, with the methods that have them
    "beta": ("ufm", *LEARNED),
    "steps": LEARNED,
    "virtual": LEARNED,
    "meta_lr": LEARNED,
    "h_input": ("l2t-www",),
    "scale": ("l2t-www",),
}
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 2 for an error, 130 for Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        print(f"tinytl: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tinytl",
        description="Convolutional networks and transfer learning from the formula up.",
    )
    parser.add_argument("--version", action="version", version=f"tinytl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="four experiments with figures and a report",
        description="Compute four experiments on real images and write report.html. "
        "Finished results are kept, so a run that was stopped goes on where it was.",
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")
    demo.add_argument("--seed", type=number(0), default=0, help="the first seed")
    demo.add_argument(
        "--seeds", type=number(2), default=8, help="runs of each arm (default: 8)"
    )
    demo.add_argument("--fresh", action="store_true", help="compute everything anew")
    demo.add_argument(
        "--only", choices=EXPERIMENTS, action="append", default=[], help="repeatable"
    )
    demo.set_defaults(run=_demo)
    _add_transfer(commands)
    evidence.add_to(commands)
    info = commands.add_parser("info", help="what is installed, and what computes")
    info.set_defaults(run=_info)
    return parser


def _add_transfer(commands: Any) -> None:
    transfer = commands.add_parser(
        "transfer",
        help="one run of a transfer method on official images",
        description="Train a target network with help from a pretrained source. A run "
        "that was stopped goes on where it was; a finished one is not run again.",
    )
    add = transfer.add_argument
    add("--method", choices=METHODS, required=True)
    add("--data", choices=DATA, required=True)
    add("--root", default="data", metavar="DIR", help="folder of the official files")
    add("--per-class", type=number(0), default=0, help="images a class (0: all)")
    add("--source", choices=["resnet32"], default="resnet32")
    add("--source-weights", metavar="FILE", help="safetensors or original torch file")
    add("--target", choices=TARGETS, default="vgg9")
    add("--width", type=number(1), help="of vgg9 (default: 64); 16 is a quarter")
    add("--seed", type=number(0), default=0)
    add("--epochs", type=number(1), default=200)
    add("--batch-size", type=number(1), default=128)
    add("--lr", type=float, default=0.1)
    add("--cosine", choices=COSINE, default="start", help="end: the last rate is 0")
    add("--beta", type=float, help="weight of the matching loss (default: 0.5)")
    add("--steps", type=number(1), help="steps of the trial (default: 2)")
    add("--virtual", choices=VIRTUAL, help="steps of the trial (default: official)")
    add("--meta-lr", type=float, help="rate of the meta-networks (default: 1e-4)")
    add("--h-input", choices=H_INPUTS, help="what l2t-www looks at (default: map)")
    add("--scale", choices=SCALES, help="of gamma in l2t-www (default: raw)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="cuda is a GPU")
    add("--every", type=number(1), default=10, help="epochs between checkpoints")
    add(
        "--out", type=Path, metavar="FILE", help="the result (default: by its settings)"
    )
    transfer.set_defaults(run=_transfer)


def _transfer(options: argparse.Namespace) -> int:
    from .experiments import single

    chosen = _chosen(options)
    if options.target != "vgg9" and options.width is not None:
        raise ValueError("--width is for --target vgg9")
    task = Task(
        options.data,
        options.root,
        options.per_class,
        options.source_weights,
        options.target,
        options.width or Task.width,
    )
    settings = Settings(
        options.method,
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        cosine=options.cosine,
        seed=options.seed,
        options=chosen,
    )
    name = f"{options.method}-{options.data}-{options.per_class}-{options.seed}.json"
    out = options.out or Path(name)
    keep_pages()  # this process is ours alone
    try:
        result = single.run(task, settings, out, options.every, device=options.device)
    except KeyboardInterrupt:
        kept = single.checkpoint_of(out)
        what = (
            f"{kept} has all epochs that were finished; the same command goes on there."
            if kept.exists()
            else "No epoch was finished, so nothing is kept."
        )
        print(f"\nStopped. {what}", file=sys.stderr)
        return 130
    print(
        f"accuracy {100 * result['accuracy']:.2f} % on {result['images']['names'][1]}"
    )
    print(f"The result: {out}")
    return 0


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """Options of L2T that were given; the method must have them."""
    chosen = {name: getattr(options, name) for name in OPTIONS}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    for name in chosen:
        if options.method not in OPTIONS[name]:
            flag, methods = name.replace("_", "-"), " or ".join(OPTIONS[name])
            raise ValueError(f"--{flag} is for --method {methods}")
    if "h_input" in chosen:
        chosen["which"] = chosen.pop("h_input")
    return chosen


def _demo(options: argparse.Namespace) -> int:
    from .experiments import demo

    only = [name for name in EXPERIMENTS if name in options.only]
    plan = demo.planned(options.seed, options.seeds, only, {})
    try:
        report = demo.run(
            options.out,
            demo.Bars(),
            seed=options.seed,
            seeds=options.seeds,
            fresh=options.fresh,
            only=only,
        )
    except KeyboardInterrupt:
        done, every = demo.kept(options.out, plan)
        print(
            f"\nStopped. {done} of {every} results are kept in {options.out}; to go "
            f"on:\n    {demo.command(options.out, options.seed, options.seeds, only)}",
            file=sys.stderr,
        )
        return 130
    print(f"The report: {report}")
    return 0


def _info(options: argparse.Namespace) -> int:
    for name, value in information().items():
        print(f"{name:<12} {value}")
    return 0


def information() -> dict[str, str]:
    """What is installed and what computes, without importing anything heavy."""
    packages = {
        name: _installed(name)
        for name in (
            "numba", "threadpoolctl", "safetensors", "matplotlib", "tqdm", "torch",
        )
    }  # fmt: skip
    return {
        "tinytl": __version__,
        "Python": f"{platform.python_version()} ({platform.machine()})",
        "NumPy": np.__version__,
        **packages,
        "kernels": f"{tinytl_kernels.current()} "
        f"(available: {', '.join(tinytl_kernels.available())})",
        "BLAS": _blas(),
        "threads": f"{get_num_threads()} for kernels; {_threads()}",
        "cores": str(cores()),
    }


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _blas() -> str:
    build = getattr(np.__config__, "CONFIG", {}).get("Build Dependencies", {})
    blas = build.get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _threads() -> str:
    """Threads of the matrix products, as far as it can be told."""
    if importlib.util.find_spec("threadpoolctl"):
        threadpoolctl = importlib.import_module("threadpoolctl")
        pools = threadpoolctl.threadpool_info()
        counts = {str(p["num_threads"]) for p in pools if p["user_api"] == "blas"}
        if counts:
            return f"{', '.join(sorted(counts))} in BLAS"
    for name in THREADS:
        if os.environ.get(name):
            return f"{os.environ[name]} ({name})"
    return f"not set: BLAS takes all {cores()} cores"


if __name__ == "__main__":
    raise SystemExit(main())
