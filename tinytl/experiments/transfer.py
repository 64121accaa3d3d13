r"""Transfer: a few labelled digits, with and without a network pretrained on clothes.

What is computed. theta = (b, h) are the weights of three blocks and of a head. Training
minimises the cross-entropy of 5 or 10 labelled digits a class,

    theta_{n+1} = theta_n - lr_n v_{n+1},    v_{n+1} = 0.9 v_n + grad + wd theta_n,
    lr_n = (lr / 2) (1 + cos(pi n / steps)),

from four starts, the *arms*:

    scratch   b and h random; all trained at lr
    frozen    b pretrained and fixed; h random, trained at lr
    last      as frozen, but the last block is trained too, at lr
    all       b pretrained, trained at lr / 10; h random, trained at lr

*Frozen* takes three separate things (``freeze`` and ``optimizer_for``):

    1. no gradient           requires_grad_(False): also saves the way back through it
    2. no update             not in the optimiser: its weight decay and momentum would
                             move a weight even when its gradient is 0
    3. no new statistics     eval(): batch norm replaces its running mean and variance
                             in training mode, gradient or not

Paired runs. Run r fixes the subset, all random initial values, and the order of the
batches, for all arms: they share the head's values, and scratch's blocks are those that
the others replace. So what chance does to an arm it does to all, and differences to
scratch are more certain than the accuracies themselves.

What was chosen how. Rate, steps, weight decay and the source task were chosen on digits
of the training pool outside the subset, with other seeds; the same for all arms. The
797 test digits were not looked at. A run has no validation set: what is reported is its
last step.

Source of the arms: Yosinski et al. 2014, How transferable are features in deep neural
networks?, arXiv 1411.1792.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import channel_statistics, fashion_mnist, few_shot
from ..nn import Module
from ..optim import SGD, CosineAnnealingLR, Optimizer
from .pretrain import ThreeBlocks, source_weights
from .runner import Cell, Result, Settings, number
from .statistics import learning
from .training import Tick, accuracy, digits_of_size, endless, train_step

ARMS = {
    "scratch": "from scratch",
    "frozen": "frozen features, new head",
    "last": "last block unfrozen",
    "all": "all layers, blocks at lr / 10",
}
PER_CLASS = (5, 10)
DEFAULTS: Settings = {
    "steps": 40,
    "batch_size": 25,
    "lr": 0.03,
    "block_factor": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "points": [5, 10, 20, 30, 40],
}


def cells(seed: int = 0, seeds: int = 8, **changes: Any) -> list[Cell]:
    """One cell for each run of each arm and each number of labels."""
    settings = {**DEFAULTS, **changes}
    return [
        Cell(
            "transfer",
            f"{per_class} {arm} {run}",
            {"arm": arm, "per_class": per_class, "seed": run, **settings},
            settings["steps"],
        )
        for run in range(seed, seed + seeds)
        for per_class in PER_CLASS
        for arm in ARMS
    ]


def compute(settings: Settings, tick: Tick) -> Result:
    """One run. Returns loss (steps), test accuracy at the points, what was loaded."""
    seed, steps = settings["seed"], settings["steps"]
    train, test = target_digits("train"), target_digits("test")
    chosen = few_shot(
        train.labels, settings["per_class"], np.random.default_rng([seed, 10])
    )
    train = train.take(chosen)

    model = ThreeBlocks(10, generator=np.random.default_rng([seed, 11]))
    loaded = load_blocks(model) if settings["arm"] != "scratch" else []
    optimizer = optimizer_for(model, settings)
    schedule = CosineAnnealingLR(optimizer, T_max=steps)

    order = endless(
        len(train), settings["batch_size"], np.random.default_rng([seed, 12])
    )
    losses, accuracies = [], []
    for step in range(1, steps + 1):
        index = next(order)
        loss = train_step(model, optimizer, train.images[index], train.labels[index])
        schedule.step()
        losses.append(number(loss))
        if step in settings["points"]:
            accuracies.append(accuracy(model, test.images, test.labels))
        tick(loss)
    return {"loss": losses, "accuracy": accuracies, "loaded": loaded}


def target_digits(split: str) -> Any:
    """Digits at the source's size, standardised as the source's pixels were.

    The network has learnt what a bright pixel is from clothes: pixels of both are in
    [0, 1] and then get the clothes' mean and standard deviation.
    """
    mean, std = channel_statistics(fashion_mnist("train").images)
    return digits_of_size(split, 28, float(mean[0]) / 255, float(std[0]) / 255)


def load_blocks(model: ThreeBlocks) -> list[str]:
    """Replace the blocks' values by the pretrained ones; the head stays as it is.

    Returns the names that were taken over. The head of the source, for 40 classes, does
    not fit and is left out; anything else that did not fit would be an error.

    Raises ValueError if a block's value is missing.
    """
    state, _ = source_weights()
    blocks = {k: v for k, v in state.items() if k.startswith("block")}
    result = model.load_state_dict(blocks, strict=False)
    if set(result.missing_keys) != {"fc.weight", "fc.bias"} or result.skipped:
        raise ValueError(f"load_blocks: the weights do not fit the network: {result}")
    return result.loaded


def freeze(part: Module) -> None:
    """No gradient and no new statistics; the third thing is ``optimizer_for``'s."""
    part.requires_grad_(False)
    part.eval()


def optimizer_for(model: ThreeBlocks, settings: Settings) -> Optimizer:
    """Freeze what the arm freezes; an optimiser of the rest, and of nothing else.

    Raises ValueError for an unknown arm.
    """
    lr, slow = settings["lr"], settings["lr"] * settings["block_factor"]
    blocks = [model.block1, model.block2, model.block3]
    rates = {  # of block1, block2, block3; None: frozen
        "scratch": [lr, lr, lr],
        "frozen": [None, None, None],
        "last": [None, None, lr],
        "all": [slow, slow, slow],
    }
    if settings["arm"] not in rates:
        raise ValueError(
            f"transfer: arm = {settings['arm']!r}; there are {list(rates)}"
        )
    groups: list[dict[str, Any]] = [{"params": model.fc.parameters(), "lr": lr}]
    for part, rate in zip(blocks, rates[settings["arm"]], strict=True):
        if rate is None:
            freeze(part)
        else:
            groups.append({"params": part.parameters(), "lr": rate})
    return SGD(
        groups,
        lr=lr,
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
    )


def by_arm(
    cells: Sequence[Cell], results: Sequence[Result]
) -> dict[tuple[int, str], np.ndarray]:
    """Test accuracies (runs, points) for each (per_class, arm), runs in seed order."""
    found: dict[tuple[int, str], list[Any]] = {}
    for cell, result in zip(cells, results, strict=True):
        key = cell.settings["per_class"], cell.settings["arm"]
        found.setdefault(key, []).append(result["accuracy"])
    return {key: np.array(runs) for key, runs in found.items()}


def learning_numbers(points: Sequence[int], runs: np.ndarray) -> dict[str, list[float]]:
    """start, area and final of each run; accuracies (runs, points)."""
    every = [learning(points, run) for run in runs]
    return {
        name: [getattr(one, name) for one in every]
        for name in ("start", "area", "final")
    }
