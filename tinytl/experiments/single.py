"""One run of a transfer method on official images: what ``tinytl transfer`` does.

Everything that the run depends on is in its settings. The result is one JSON file with
them, the versions and the curves; beside it lies a checkpoint, from which a run that
was stopped goes on bit by bit as if it had not been.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import ImageSet, cifar10, cifar100, few_shot, resize, stl10
from ..models import VGG9, ResNet, load_source, resnet32
from ..nn import Module
from ..persistence import write_atomically
from ..persistence.weights import safetensors
from ..tensor import Tensor
from ..transfer import Epoch, Run, Settings, generators
from ..transfer.training import Tick
from .runner import bar_class, cores, number, versions

DATA: dict[str, Callable[..., ImageSet]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "stl10": stl10,
}
TARGETS = ("vgg9", "resnet32")
STAGES = (4, 9, 14)  # the last blocks of ResNet-32's three stages
PAIRS = {
    "vgg9": tuple((m, n) for m in STAGES for n in range(5)),
    "resnet32": tuple((m, n) for m in STAGES for n in STAGES),
}
SIZE = 32


@dataclass(frozen=True)
class Task:
    """What is learned from what.

    Attributes:
        data: name of the images, one of ``DATA``.
        root: folder with their official files.
        per_class: training images a class; 0 for all.
        source_weights: file of the source network; not needed by scratch.
        target: "vgg9", or "resnet32", which "finetune" needs.
        width: of VGG9: 64, or 16 for a quarter of it.
    """

    data: str
    root: str
    per_class: int
    source_weights: str | None
    target: str = "vgg9"
    width: int = 64


def run(
    task: Task,
    settings: Settings,
    out: Path,
    every: int = 10,
    progress: bool = True,
    tick: Tick | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train, write the result to `out`, and return it; read it if it is there already.

    Args:
        task: what is learned from what.
        settings: how.
        out: file of the result.
        every: epochs between measuring the accuracy and keeping a checkpoint.
        progress: show a bar.
        tick: told about each epoch, too.
        device: where it is computed, "cpu" or "cuda"; not part of what a run is, so
            that a stopped one can go on elsewhere.

    Raises:
        ImportError, RuntimeError: there is no such device, or nothing to write a
            checkpoint with; it says what is missing.
        ValueError: parts that do not fit, or `out` holds another run's result.
        FileNotFoundError: images, weights or the folder of `out` are missing; it says
            how to get them.
    """
    document: dict[str, Any] = {"task": asdict(task), "settings": asdict(settings)}
    if out.exists():
        return _finished(out, document)
    _check_place(out)  # before anything is read
    Tensor(0.0).to(device)
    random = generators(settings.seed)
    train, test = (_images(task, split) for split in ("train", "test"))
    if task.per_class:
        train = train.take(few_shot(train.labels, task.per_class, random["subset"]))
    source, target = _networks(task, settings, len(train.classes), random["target"])
    elsewhere = {} if device == "cpu" else {"device": device}
    now = {**versions(), "cores": cores()} | elsewhere
    parts = source, target, PAIRS[task.target], train.images, train.labels
    one = Run(settings, *parts, random, device, now)
    checkpoint = checkpoint_of(out)
    with _Bar(settings.epochs, progress) as bar:
        if checkpoint.exists():
            one.resume(checkpoint)
            bar.start(len(one.epochs))

        def told(epoch: Epoch) -> None:
            bar.tick(epoch)
            if tick is not None:
                tick(epoch)

        one.train((test.images, test.labels), every, checkpoint, told)
    document |= _told(one, train, test)
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_atomically(out, text.encode())
    checkpoint.unlink(missing_ok=True)
    return document


def _told(one: Run, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """What a finished run has to tell."""
    return {
        "configuration": one.configuration,
        "versions": one.versions[-1],
        "earlier": one.versions[:-1],
        "images": {
            "train": len(train),
            "test": len(test),
            "names": _names(train, test),
        },
        "accuracy": one.epochs[-1].accuracy,
        "epochs": [_plain(asdict(epoch)) for epoch in one.epochs],
    }


def checkpoint_of(out: Path) -> Path:
    """Where a run keeps what it needs to go on, until `out` is written."""
    return out.with_name(out.name + ".checkpoint")


def _check_place(out: Path) -> None:
    """Say at the start what would stop the run at its first checkpoint."""
    if not out.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {out.parent} for the result {out.name}; make it, or "
            "choose another --out"
        )
    safetensors()


def _plain(value: Any) -> Any:
    """The same for JSON, which has no infinity and no NaN: None for those."""
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_plain(x) for x in value]
    return number(value) if isinstance(value, float) else value


def _finished(out: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    try:
        document = json.loads(out.read_bytes())
    except ValueError:
        raise ValueError(f"{out} is no result of a run; choose another --out") from None
    plain = json.loads(json.dumps(wanted))
    if {key: document.get(key) for key in plain} != plain:
        raise ValueError(f"{out} holds the result of another run; choose another --out")
    return document


def _images(task: Task, split: str) -> ImageSet:
    images = DATA[task.data](split, task.root)
    if images.images.shape[-1] == SIZE:
        return images
    smaller = resize(images.images, SIZE)
    return ImageSet(smaller, images.labels, images.classes, images.name, images.licence)


def _names(*sets: ImageSet) -> list[str]:
    return [images.name for images in sets]


def _networks(
    task: Task, settings: Settings, classes: int, random: np.random.Generator
) -> tuple[Module, Module]:
    """The source, and the target at its initial values."""
    if task.target == "resnet32":
        target: Module = resnet32(classes, generator=random)
    else:
        target = VGG9(classes, width=task.width, generator=random)
    if settings.method == "scratch":
        return ResNet(1, widths=(1, 1, 1), blocks=5), target
    if task.source_weights is None:
        raise ValueError(
            f"{settings.method} needs --source-weights FILE; to get the published "
            "ones: python -m tinytl.data l2t-source FOLDER"
        )
    source, _ = load_source(task.source_weights)
    if settings.method == "finetune":
        if task.target != "resnet32":
            raise ValueError(
                "finetune starts from the source's own weights, so the target is the "
                "same network: --target resnet32"
            )
        state = source.state_dict()
        target.load_state_dict(
            {k: v for k, v in state.items() if not k.startswith("fc.")}, strict=False
        )
    return source, target


class _Bar:
    """A progress bar over the epochs: loss, accuracy, lambda, time left."""

    def __init__(self, epochs: int, wanted: bool):
        self._bar: Any = None
        self._accuracy = ""
        if wanted:
            self._bar = bar_class()(total=epochs, unit="epoch", file=sys.stderr)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(self, done: int) -> None:
        """So many epochs were done before."""
        if self._bar is not None:
            self._bar.update(done)

    def tick(self, epoch: Epoch) -> None:
        """One more epoch."""
        if self._bar is None:
            return
        if epoch.accuracy is not None:
            self._accuracy = f", accuracy {100 * epoch.accuracy:.1f} %"
        text = f"loss {epoch.loss:.3f}{self._accuracy}"
        if epoch.lambdas:
            low, high = min(epoch.lambdas), max(epoch.lambdas)
            text += f", lambda {low:.2f} to {high:.2f}"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()
