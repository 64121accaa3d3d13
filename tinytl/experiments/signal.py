r"""Signal: what each initialisation does to a signal on its way through 30 layers.

What is computed. A network of L fully connected layers of n units, with ReLU between
them and a head of K classes:

    z_1 = W_1 x,    z_{l+1} = W_{l+1} relu(z_l),    s = W_{L+1} relu(z_L).

For a batch of clothes and the cross-entropy of s, before any training,

    signal_l   = sqrt(mean over images and units of z_l^2)
    gradient_l = sqrt(mean over images and units of (dloss / dz_l)^2).

Both are standard deviations over the random weights, whose mean is 0.

The prediction. With weights of variance V_l, and ReLU cutting off half of the second
moment of what is symmetric around 0 (see ``nn.init``),

    signal_1^2     = M V_1 mean(x^2)             M pixels
    signal_{l+1}^2 = n V_{l+1} signal_l^2 / 2
    gradient_L^2   = K V_{L+1} mean((dloss / ds)^2) / 2
    gradient_l^2   = n V_{l+1} gradient_{l+1}^2 / 2.

n V / 2 is 1 for He, 1/2 for Xavier: after 30 layers a factor 2^-15 = 3e-5 in the
standard deviation. Only the batch's mean(x^2) and mean((dloss / ds)^2) are measured;
the rest is these lines.

Then the same networks are trained, all at the same rate; and He's from several seeds,
of which the one that is best on *validation* images is picked, and tested.

Source: He et al. 2015, arXiv 1502.01852, section 2.2 and figure 3; Glorot & Bengio
2010, sections 4.2 and 5.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..nn import Linear, Module, ModuleList, init
from ..optim import SGD
from ..tensor import Tensor, grad
from .runner import Cell, Result, Settings, number
from .training import Tick, accuracy, endless, fashion, train_step

RULES = {
    "he": "He",
    "xavier": "Xavier",
    "small": "N(0, 0.01²)",
    "large": "1.5 × He",
}
CLASSES, PIXELS = 10, 784
DEFAULTS: Settings = {
    "depth": 30,
    "width": 128,
    "draws": 5,
    "images": 256,
    "steps": 300,
    "batch_size": 64,
    "lr": 0.005,
    "momentum": 0.9,
    "validation": 1000,
}
HE_SEEDS = 8


class Deep(Module):
    """`depth` linear layers of `width` units without biases, ReLU, and a head.

    Shapes: (N, 1, 28, 28) -> (N, 10), scores before softmax.
    """

    def __init__(self, rule: str, depth: int, width: int, rng: np.random.Generator):
        super().__init__()
        sizes = [PIXELS, *[width] * depth]
        self.layers = ModuleList(
            Linear(a, b, bias=False, generator=rng)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.head = Linear(width, CLASSES, bias=False, generator=rng)
        for layer in (*self.layers, self.head):
            initialise_(layer.weight, rule, rng)

    def signals(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and z_1 .. z_L."""
        x, signals = x.flatten(1), []
        for layer in self.layers:
            z = layer(x)
            signals.append(z)
            x = F.relu(z)
        return self.head(x), signals

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.signals(x)[0]


def initialise_(weight: Tensor, rule: str, rng: np.random.Generator) -> None:
    """Draw a weight by one of the RULES. Raises ValueError for another."""
    if rule == "he":
        init.kaiming_normal_(weight, nonlinearity="relu", generator=rng)
    elif rule == "xavier":
        init.xavier_normal_(weight, generator=rng)
    elif rule == "small":
        init.normal_(weight, 0.0, 0.01, rng)
    elif rule == "large":
        init.normal_(weight, 0.0, 1.5 * math.sqrt(2 / weight.shape[1]), rng)
    else:
        raise ValueError(f"signal: rule = {rule!r}; there are {list(RULES)}")


VARIANCES: dict[str, Callable[[int, int], float]] = {
    "he": lambda m, n: 2 / m,
    "xavier": lambda m, n: 2 / (m + n),
    "small": lambda m, n: 0.01**2,
    "large": lambda m, n: 1.5**2 * 2 / m,
}
"""V of a weight with fan-in m and fan-out n, as it stands in the papers."""


def cells(seed: int = 0, seeds: int = HE_SEEDS, **changes: Any) -> list[Cell]:
    """Signals: one cell a rule. Training: `seeds` cells of He, one of each other."""
    settings = {**DEFAULTS, **changes}
    every = [
        Cell(
            "signal",
            f"depth {rule}",
            {"kind": "depth", "rule": rule, "seed": seed, **settings},
            settings["draws"],
        )
        for rule in RULES
    ]
    runs = [("he", seed + k) for k in range(seeds)]
    runs += [(rule, seed) for rule in RULES if rule != "he"]
    return every + [
        Cell(
            "signal",
            f"train {rule} {run}",
            {"kind": "train", "rule": rule, "seed": run, "data_seed": seed, **settings},
            settings["steps"],
        )
        for rule, run in runs
    ]


def compute(settings: Settings, tick: Tick) -> Result:
    """Signals and gradients by depth, or one training run."""
    if settings["kind"] == "depth":
        return compute_depth(settings, tick)
    return compute_training(settings, tick)


def compute_depth(settings: Settings, tick: Tick) -> Result:
    """Measured and predicted, for each of several draws of the weights.

    Returns signal, gradient (draws lists of depth numbers), and signal_predicted and
    gradient_predicted (depth numbers, from the mean of the measured constants).
    """
    rng = np.random.default_rng([settings["seed"], 2])
    clothes = fashion("train")
    index = rng.permutation(len(clothes))[: settings["images"]]
    images, labels = Tensor(clothes.images[index]), clothes.labels[index]
    signal, gradient, top = [], [], []
    for _ in range(settings["draws"]):
        model = Deep(settings["rule"], settings["depth"], settings["width"], rng)
        scores, signals = model.signals(images)
        loss = F.cross_entropy(scores, labels)
        gradients = grad(loss, [*signals, scores])
        signal.append([rms(z) for z in signals])
        gradient.append([rms(g) for g in gradients[:-1]])
        top.append(rms(gradients[-1]))
        tick(float(loss.item()))
    forward, backward = predicted(settings, rms(images), root_mean_square(top))
    return {
        "signal": signal,
        "gradient": gradient,
        "signal_predicted": forward,
        "gradient_predicted": backward,
    }


def predicted(
    settings: Settings, pixels: float, top: float
) -> tuple[list[float], list[float]]:
    """signal_l and gradient_l, l = 1 .. depth, from the formulas above.

    Args:
        settings: rule, depth L, width n.
        pixels: sqrt(mean(x^2)).
        top: sqrt(mean((dloss / ds)^2)).
    """
    variance, n = VARIANCES[settings["rule"]], settings["width"]
    inside = math.sqrt(n * variance(n, n) / 2)
    first = pixels * math.sqrt(PIXELS * variance(PIXELS, n))
    last = top * math.sqrt(CLASSES * variance(n, CLASSES) / 2)
    powers = [inside**k for k in range(settings["depth"])]
    return [first * p for p in powers], [last * p for p in reversed(powers)]


def rms(x: Tensor) -> float:
    """Root of the mean of the squares, in float64, where they do not underflow."""
    return root_mean_square(x.data)


def root_mean_square(values: Any) -> float:
    """Root of the mean of the squares of any numbers."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))


def compute_training(settings: Settings, tick: Tick) -> Result:
    """Train one network. Returns loss (steps; None: not finite), accuracies.

    The split into training and validation images is the same for all runs.
    """
    clothes, test = fashion("train"), fashion("test")
    split = np.random.default_rng([settings["data_seed"], 3]).permutation(len(clothes))
    held = settings["validation"]
    validation, train = clothes.take(split[:held]), clothes.take(split[held:])
    rng = np.random.default_rng([settings["seed"], 4])
    model = Deep(settings["rule"], settings["depth"], settings["width"], rng)
    optimizer = SGD(
        model.parameters(), lr=settings["lr"], momentum=settings["momentum"]
    )
    order, losses = endless(len(train), settings["batch_size"], rng), []
    for _ in range(settings["steps"]):
        index = next(order)
        with np.errstate(over="ignore", invalid="ignore"):  # what "large" is to show
            loss = train_step(
                model, optimizer, train.images[index], train.labels[index]
            )
        losses.append(number(loss))
        tick(loss)
        if losses[-1] is None:
            break
    for _ in range(settings["steps"] - len(losses)):
        tick(loss)  # steps that need not be made any more
    with np.errstate(over="ignore", invalid="ignore"):
        return {
            "loss": losses,
            "validation": accuracy(model, validation.images, validation.labels),
            "test": accuracy(model, test.images, test.labels),
        }


def pick_best(results: list[Result]) -> int:
    """Index of the run with the highest accuracy on validation images, the first of
    equals."""
    return int(np.argmax([result["validation"] for result in results]))


def grouped(
    cells: Sequence[Cell], results: Sequence[Result]
) -> dict[str, dict[str, list[Result]]]:
    """Results as kind ("depth" or "train") -> rule -> runs in seed order."""
    found: dict[str, dict[str, list[Result]]] = {"depth": {}, "train": {}}
    for cell, result in zip(cells, results, strict=True):
        rules = found[cell.settings["kind"]]
        rules.setdefault(cell.settings["rule"], []).append(result)
    return found
