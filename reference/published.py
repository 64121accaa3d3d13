r"""The authors' own code, run beside tinytl from the same state, in float64.

    git clone https://github.com/alinlab/L2T-ww PATH
    python -m reference.published PATH [--iterations 3] [--images 8]
    python -m reference.published PATH --time [--iterations 3] [--images 128]

Both train VGG9 with ResNet-32's help (15 pairs, T = 2) on the same random images. After
each iteration everything that an iteration changes is compared: the error is
max |tinytl - theirs| / max |theirs|, of the worst array of a kind. With --time they
train in float32, taking turns, and the seconds of an iteration are compared.

Theirs are the optimiser that goes back through its steps (train/meta_optimizers.py),
the target network (models/vgg_cifar.py), the matching branch and the meta-networks
(train_l2t_ww.py). What main() does with them in a loop is said again here, since it
cannot be called. The source network is `reference.torch`'s, with the weights in their
repository: theirs asks for torchvision.

Their code was written for a PyTorch whose zero_grad left zeros. Today's leaves None,
and SGD then passes over a parameter that is not in the loss, where theirs decays and
keeps moving; so zeros it is.
"""

import argparse
import ast
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from reference.torch import networks
from tinytl import Tensor, get_num_threads
from tinytl.bilevel import sgd_settings
from tinytl.models import VGG9, resnet32
from tinytl.persistence import load_torch
from tinytl.transfer import L2T

WEIGHTS = "logs/tinyimagenet-200-resnet32/0/model_best.pth.tar"
SCRIPT = "train_l2t_ww.py"
MODULES = ("train/meta_optimizers.py", "models/vgg_cifar.py")
PAIRS = tuple((m, n) for m in (4, 9, 14) for n in range(5))
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
META_RATE, META_DECAY = 1e-4, 1e-4
BETA, T = 0.5, 2


class Changed(NamedTuple):
    """Arrays that an iteration changes, each kind in an order that both sides keep."""

    hypergradient: list[np.ndarray]
    parameters: list[np.ndarray]
    statistics: list[np.ndarray]
    momenta: list[np.ndarray]
    meta_parameters: list[np.ndarray]
    adam_means: list[np.ndarray]
    adam_squares: list[np.ndarray]


class Ours:
    """tinytl's L2T-ww."""

    def __init__(self, weights: dict[str, Tensor], rng: np.random.Generator):
        dtype = weights["fc.weight"].dtype.type
        source = resnet32(200, dtype=dtype, generator=rng)
        source.load_state_dict(weights)
        target = VGG9(10, dtype=dtype, generator=rng)
        settings = {"lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY}
        settings |= {"meta_lr": META_RATE, "meta_weight_decay": META_DECAY}
        self.l2t = L2T(
            source, target, PAIRS, beta=BETA, steps=T, generator=rng, **settings
        )

    def step(self, images: np.ndarray, labels: np.ndarray) -> Changed:
        """One iteration."""
        report = self.l2t.step(Tensor(images), Tensor(labels))
        student, adam = self.l2t.student, self.l2t.adam
        assert adam is not None
        kinds = (
            [g.data for g in report.hypergradient],
            [p.data for p in student.parameters()],
            [b.data for name, b in student.named_buffers() if "running" in name],
            list(sgd_settings(self.l2t.sgd)["velocity"]),
            [p.data for p in self.l2t.meta.parameters()],
            [adam.state[k]["exp_avg"] for k in sorted(adam.state)],
            [adam.state[k]["exp_avg_sq"] for k in sorted(adam.state)],
        )
        return Changed(*kinds)


class Theirs:
    """The published code, starting where `ours` stands."""

    def __init__(self, path: Path, weights: dict[str, Tensor], ours: L2T):
        optimisers, nets = (module(path / name) for name in MODULES)
        parts = classes(path / SCRIPT)
        values = {k: torch.tensor(v.data) for k, v in weights.items()}
        kind = values["fc.weight"].dtype
        self.source = networks.ResNet(200).to(kind).eval()
        self.source.load_state_dict(values)
        self.target = nets.vgg9_bn(num_classes=10).to(kind)
        self.branch = parts["FeatureMatching"]("resnet32", "vgg9", PAIRS).to(kind)
        self.what = parts["WeightNetwork"]("resnet32", PAIRS).to(kind)
        where = parts["LossWeightNetwork"]("resnet32", PAIRS, "relu6", 1.0)
        self.where = where.to(kind)
        state = {k: torch.tensor(v.data) for k, v in ours.student.state_dict().items()}
        for name, part in (("target", self.target), ("branch", self.branch)):
            of = {k.split(".", 1)[1]: v for k, v in state.items() if k.startswith(name)}
            found = part.load_state_dict(of, strict=False)
            assert not found.unexpected_keys, found
        self.phi = [*self.what.parameters(), *self.where.parameters()]
        for theirs, mine in zip(self.phi, ours.meta.parameters(), strict=True):
            theirs.data = torch.tensor(mine.data).reshape(theirs.shape)

        class Sgd(optimisers.MetaSGD):  # type: ignore[name-defined, misc]
            def zero_grad(self, set_to_none: bool = False) -> None:
                super().zero_grad(set_to_none=False)

        both = [self.target, self.branch]
        theta = [p for part in both for p in part.parameters()]
        settings = {"lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY}
        self.sgd = Sgd(theta, both, rollback=True, **settings)
        self.adam = torch.optim.Adam(self.phi, META_RATE, weight_decay=META_DECAY)
        # the target has parameters that it never uses; ours are those of the same name
        self.names = [name for name, _ in ours.student.named_parameters()]
        self.statistics = [k for k, _ in ours.student.named_buffers() if "running" in k]

    def matching(self, batch: Any, alone: bool) -> torch.Tensor:
        """beta L, and with CE unless it is asked for alone."""
        images, labels = batch
        scores, ours = self.target.forward_with_features(images)
        with torch.no_grad():
            _, theirs = self.source.forward_with_features(images)
        weights, strengths = self.what(theirs), self.where(theirs)
        betas = [BETA] * len(PAIRS)
        loss = self.branch(theirs, ours, weights, betas, strengths)
        return loss if alone else loss + F.cross_entropy(scores, labels)

    def classifying(self, batch: Any) -> torch.Tensor:
        """CE."""
        scores, _ = self.target.forward_with_features(batch[0])
        return F.cross_entropy(scores, batch[1])

    def step(self, images: np.ndarray, labels: np.ndarray) -> Changed:
        """One iteration, in the order of the published loop."""
        batch = torch.tensor(images), torch.tensor(labels)
        self.sgd.zero_grad()
        self.matching(batch, alone=False).backward()
        self.sgd.step(None)
        for _ in range(T):
            self.sgd.zero_grad()
            self.sgd.step(self.matching, batch, True)
        self.sgd.zero_grad()
        self.sgd.step(self.classifying, batch)
        self.sgd.zero_grad()
        self.adam.zero_grad()
        self.classifying(batch).backward()
        self.sgd.meta_backward()
        self.adam.step()
        return self.changed()

    def changed(self) -> Changed:
        """Everything, under our names and in our order."""
        parts = {"target": self.target, "branch": self.branch}
        theta = {
            f"{n}.{k}": p for n, m in parts.items() for k, p in m.named_parameters()
        }
        buffers = {
            f"{n}.{k}": b for n, m in parts.items() for k, b in m.named_buffers()
        }
        kinds = (
            [p.grad.detach() for p in self.phi if p.grad is not None],
            [theta[k].detach() for k in self.names],
            [buffers[k] for k in self.statistics],
            [self.sgd.state[theta[k]]["momentum_buffer"] for k in self.names],
            [p.detach() for p in self.phi],
            [self.adam.state[p]["exp_avg"] for p in self.phi],
            [self.adam.state[p]["exp_avg_sq"] for p in self.phi],
        )
        return Changed(*([a.numpy().copy() for a in kind] for kind in kinds))


def module(path: Path) -> ModuleType:
    """A file of theirs as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def classes(path: Path) -> dict[str, Any]:
    """The classes and functions of a script, without what it imports and runs."""
    wanted = ast.ClassDef | ast.FunctionDef
    body = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, wanted)
    ]
    found: dict[str, Any] = {"torch": torch, "nn": torch.nn, "F": F}
    exec(compile(ast.Module(body, []), str(path), "exec"), found)
    return found


def difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """max |a - b| / max |b| of the worst array.

    Arrays that are 0 but for rounding (max |b| below 1e-12) say nothing, and are left
    out: a convolution's bias in front of a norm has no effect, so gradient 0.
    """
    found = [
        np.abs(a.ravel() - b.ravel()).max() / np.abs(b).max()
        for a, b in zip(ours, theirs, strict=True)
        if not np.abs(b).max() <= 1e-12  # a NaN says something
    ]
    return float(np.max(found))


def main(arguments: list[str] | None = None) -> None:
    """Print the differences after each iteration, or the seconds that it takes."""
    parser = argparse.ArgumentParser(prog="reference.published")
    parser.add_argument("path", type=Path, help="clone of github.com/alinlab/L2T-ww")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--images", type=int, help="in a batch; 8, with --time 128")
    parser.add_argument("--time", action="store_true", help="in float32, taking turns")
    options = parser.parse_args(arguments)
    needed = (WEIGHTS, SCRIPT, *MODULES)
    missing = [name for name in needed if not (options.path / name).is_file()]
    if missing:
        sys.exit(
            f"reference.published: {options.path} has no {missing[0]}; "
            "clone https://github.com/alinlab/L2T-ww and give its folder"
        )
    rng = np.random.default_rng(0)
    dtype = np.float32 if options.time else np.float64
    weights = weights_of(options.path / WEIGHTS, dtype)
    ours = Ours(weights, rng)
    theirs = Theirs(options.path, weights, ours.l2t)
    count = options.images or (128 if options.time else 8)
    shape = count, 3, 32, 32
    batches = [
        (rng.standard_normal(shape).astype(dtype), rng.integers(0, 10, count))
        for _ in range(options.iterations)
    ]
    (compare_times if options.time else compare_results)(ours, theirs, batches)


def compare_results(ours: Ours, theirs: Theirs, batches: list[Any]) -> None:
    """Differences after each iteration."""
    for k, batch in enumerate(batches, 1):
        pairs = zip(ours.step(*batch), theirs.step(*batch), strict=True)
        print(f"iteration {k}")
        for kind, (a, b) in zip(Changed._fields, pairs, strict=True):
            print(f"  {kind.replace('_', ' '):16} {difference(a, b):.1e}")


def compare_times(ours: Ours, theirs: Theirs, batches: list[Any]) -> None:
    """Medians over the iterations but for a first one; PyTorch gets as many threads."""
    torch.set_num_threads(get_num_threads())
    found: dict[str, list[float]] = {"theirs": [], "tinytl": []}
    for batch in [batches[0], *batches]:
        for name, side in (("theirs", theirs), ("tinytl", ours)):
            start = time.perf_counter()
            side.step(*batch)
            found[name].append(time.perf_counter() - start)
    seconds = {name: float(np.median(each[1:])) for name, each in found.items()}
    for name, value in seconds.items():
        print(f"{name}  {value:.2f} s")
    print(f"{seconds['theirs'] / seconds['tinytl']:.2f} times as fast")


def weights_of(path: Path, dtype: Any) -> dict[str, Tensor]:
    """The source network's, in `dtype`, read without running what is in the file."""
    found = load_torch(path)["state_dict"]
    return {
        name: Tensor(v.data.astype(dtype) if v.data.dtype.kind == "f" else v.data)
        for name, v in found.items()
    }


if __name__ == "__main__":
    main()
