r"""L2T: a small network imitates a larger one, and learns what, where and which.

What is computed. The source is the network that was pretrained on clothes. The target
has half as many filters in every block, so no weight can be copied; it learns digits
from a few labelled images, and is told to imitate the source's maps. For each pair of a
source block m and a target block n (nine pairs)

    L^{m,n} = mean_b lambda_b sum_c omega_{b,c} mean_{i,j} gamma_{b,c,i,j} D_{b,c,i,j}

is the distance of their maps, see ``tinytl.transfer.matching``. The *arms*:

    scratch      cross-entropy alone
    ufm          omega = 1 / C, lambda = 1, gamma = 1
    ww           omega and lambda learned, by the hypergradient of ``tinytl.bilevel``
    www-map      gamma too; its network h sees the channel's own map
    www-pooled   the same, but h sees the means of all channels

The field G_w. With all weights of a pixel multiplied into one,

    w_{b,c,i,j} = lambda_b omega_{b,c} gamma_{b,c,i,j},      G_w = dF / dw,

G_w says for every pixel what a little more weight would do to F, the cross-entropy at
the end of a trial. A step changes the meta-networks only by what they can express of
it: the gradients of omega, lambda and gamma are sums of G_w (``pixel_field``).

Paired runs. Run r fixes the subset, the order of the batches and the target's initial
values for all arms; the last three also share the initial values of what they add.

Running statistics. In the published code a trial moves the running mean and variance
of batch normalisation once more. Early in training, when they are still on their way
from 0 and 1, that alone makes a network more accurate. Here every arm moves them once a
step (bn_virtual="restore").

What was chosen how. Rate, steps and beta were chosen on digits of the training pool
outside the subset, with other seeds; the same for all arms. The rate of the
meta-networks is a hundred times the published one, because a run has tens of steps and
not hundreds, and Adam moves a parameter by about its rate in each.

Sources: Romero et al. 2014; Jang et al. 2019, arXiv 1905.05901.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..bilevel import VirtualStatistics, hypergradient, sgd_settings
from ..data import ImageSet, few_shot
from ..graph import no_grad
from ..nn import functional_call
from ..optim import CosineAnnealingLR
from ..tensor import Tensor
from ..transfer import L2T, METHODS, StepReport, Weights, matching_loss
from ..transfer.matching import stretched
from .pretrain import ThreeBlocks, source_weights
from .runner import Cell, Result, Settings, number
from .training import Tick, accuracy, endless
from .transfer import target_digits

ARMS = {
    "scratch": "from scratch",
    "ufm": "plain matching (UFM)",
    "ww": "what, where (L2T-ww)",
    "www-map": "L2T-www, h sees the map",
    "www-pooled": "L2T-www, h sees the means",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "scratch": METHODS["scratch"],
    "ufm": METHODS["ufm"],
    "ww": METHODS["l2t-ww"],
    "www-map": {"which": "map"},
    "www-pooled": {"which": "pooled"},
}
PAIRS = tuple((m, n) for m in range(3) for n in range(3))
WIDTHS = (8, 16, 32)
SHOWN = 4
"""How many images the pictures show, one of each of the first classes."""
DEFAULTS: Settings = {
    "per_class": 5,
    "steps": 30,
    "batch_size": 25,
    "lr": 0.03,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "beta": 0.5,
    "trial": 2,
    "meta_lr": 0.01,
    "points": [5, 10, 15, 20, 30],
}


def cells(seed: int = 0, seeds: int = 8, **changes: Any) -> list[Cell]:
    """One cell for each run of each arm."""
    settings = {**DEFAULTS, **changes}
    return [
        Cell(
            "l2t",
            f"{arm} {run}",
            {"arm": arm, "seed": run, **settings},
            settings["steps"],
        )
        for run in range(seed, seed + seeds)
        for arm in ARMS
    ]


def compute(settings: Settings, tick: Tick) -> Result:
    """One run.

    Returns loss and outer loss (steps), test accuracy at the points, and, where there
    are meta-networks, what ``seen`` says, lambda (steps, pairs) as means over the
    batch, and the field at half time (source blocks, images, 14, 14).
    """
    seed, steps = settings["seed"], settings["steps"]
    train, test = subset(settings), target_digits("test")
    l2t = prepared(settings)
    schedule = CosineAnnealingLR(l2t.sgd, T_max=steps)
    order = endless(
        len(train), settings["batch_size"], np.random.default_rng([seed, 22])
    )
    every = looked_at(train.labels, settings["batch_size"])
    batch = Tensor(train.images[every]), Tensor(train.labels[every])
    reports, accuracies, found = [], [], {}
    for step in range(1, steps + 1):
        index = next(order)
        reports.append(
            l2t.step(Tensor(train.images[index]), Tensor(train.labels[index]))
        )
        schedule.step()
        if step in settings["points"]:
            accuracies.append(accuracy(l2t.student.target, test.images, test.labels))
        if step == steps // 2 and l2t.adam is not None:
            found["field"] = shown_field(l2t, *batch)
        tick(reports[-1].loss)
    if l2t.adam is not None:
        found |= seen(l2t, batch[0]) | {"lambda": lambdas(reports)}
    return {
        "loss": [number(report.loss) for report in reports],
        "accuracy": accuracies,
        **found,
    }


def subset(settings: Settings) -> ImageSet:
    """The labelled digits of a run."""
    pool = target_digits("train")
    rng = np.random.default_rng([settings["seed"], 20])
    return pool.take(few_shot(pool.labels, settings["per_class"], rng))


def prepared(settings: Settings) -> L2T:
    """The frozen source, the target and the meta-networks of an arm.

    Raises ValueError for an unknown arm.
    """
    if settings["arm"] not in OPTIONS:
        raise ValueError(f"l2t: arm = {settings['arm']!r}; there are {list(OPTIONS)}")
    state, _ = source_weights()
    classes = len(state["fc.bias"].data)
    source = ThreeBlocks(classes, generator=np.random.default_rng(0))
    source.load_state_dict(state)
    source.requires_grad_(False)
    seed = settings["seed"]
    target = ThreeBlocks(10, WIDTHS, generator=np.random.default_rng([seed, 21]))
    options = {"beta": settings["beta"], **OPTIONS[settings["arm"]]}
    return L2T(
        source,
        target,
        PAIRS,
        image=(1, 28, 28),
        steps=settings["trial"],
        lr=settings["lr"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
        meta_lr=settings["meta_lr"],
        bn_virtual="restore",
        generator=np.random.default_rng([seed, 23]),
        **options,
    )


def by_arm(cells: Sequence[Cell], results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of each arm, runs in seed order."""
    found: dict[str, list[Result]] = {}
    for cell, result in zip(cells, results, strict=True):
        found.setdefault(cell.settings["arm"], []).append(result)
    return found


# -- what the pictures show ------------------------------------------------------------


def looked_at(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` images, or all: one of each class, then another of each."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        here = labels == label
        turn[here] = np.arange(here.sum())
    return np.lexsort((labels, turn))[:count]


def shown_images(settings: Settings) -> np.ndarray:
    """The images (SHOWN, 1, 28, 28) that the pictures of a run show."""
    train = subset(settings)
    return train.images[looked_at(train.labels, settings["batch_size"])[:SHOWN]]


def lambdas(reports: Sequence[StepReport]) -> list[list[float]]:
    """lambda by step and pair, means over the batch."""
    return [[float(w.lambda_.data.mean()) for w in r.weights] for r in reports]


def seen(l2t: L2T, images: Tensor) -> dict[str, Any]:
    """What the meta-networks say about images.

    Returns omega (pairs, C), means over the images; and, if it is learned, gamma
    (pairs, images, 3, 3) of the images shown: means over the channels, weighted by
    omega.
    """
    _, weights = maps_and_weights(l2t, images)
    found = {"omega": [rounded(w.omega.data.mean(axis=0)) for w in weights]}
    if weights[0].gamma is not None:
        found["gamma"] = [
            rounded(np.einsum("bc,bcij->bij", w.omega.data, w.gamma.data)[:SHOWN])
            for w in weights
            if w.gamma is not None
        ]
    return found


def maps_and_weights(l2t: L2T, images: Tensor) -> tuple[list[Tensor], list[Weights]]:
    """The source's map of every pair in its target's size, and the pair's weights."""
    with no_grad():
        maps, source = l2t.source_maps(images)
        return source, l2t.meta(maps)


def pixel_field(l2t: L2T, images: Tensor, labels: Tensor) -> list[Tensor]:
    """G_w = dF/dw at every pixel, where the training now stands; nothing is changed.

    With w in the place of its three factors, the matching loss of a pair is

        mean_b sum_c mean_{i,j} w_{b,c,i,j} D_{b,c,i,j}

    so the same trial and the same hypergradient as in training answer. By the chain
    rule dF/dgamma = lambda omega G_w, dF/domega = lambda sum_{i,j} gamma G_w, and
    dF/dlambda = sum_{c,i,j} omega gamma G_w.

    Args:
        l2t: with virtual="official" and scale="raw".
        images: (N, C, H, W).
        labels: (N,).

    Returns:
        (N, C_m, H_n, W_n) for every pair: nats per unit of w.
    """
    source, weights = maps_and_weights(l2t, images)
    hyper = [
        Tensor(pixel_weight(by, s.shape[2:]), requires_grad=True)
        for by, s in zip(weights, source, strict=True)
    ]

    def run(theta: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        named = dict(zip(l2t.names, theta, strict=True))
        return functional_call(l2t.student, named, images)

    def inner(theta: list[Tensor], w: list[Tensor], t: int) -> Tensor:
        scores, matched = run(theta)
        if t == l2t.steps:
            return F.cross_entropy(scores, labels)
        return l2t.beta * matching_loss(matched, source, [alone(x) for x in w])

    def outer(theta: list[Tensor], w: list[Tensor]) -> Tensor:
        return F.cross_entropy(run(theta)[0], labels)

    with VirtualStatistics(l2t.student, bn_virtual="restore") as virtual:
        found = hypergradient(
            virtual(inner),
            virtual(outer),
            hyper=hyper,
            steps=l2t.steps + 1,
            method=l2t.method,
            **sgd_settings(l2t.sgd),
            **l2t.method_options,
        )
    return list(found.gradients)


def pixel_weight(by: Weights, size: tuple[int, ...]) -> np.ndarray:
    """w = lambda omega gamma of a pair: (N, C, H, W)."""
    n, c = by.omega.shape
    gamma = Tensor(np.ones((n, c, 3, 3), by.omega.dtype))
    wide = stretched(gamma if by.gamma is None else by.gamma, size).data
    return (by.lambda_.data[:, None] * by.omega.data)[..., None, None] * wide


def alone(w: Tensor) -> Weights:
    """Weights of a pair whose product is w: omega and lambda are 1."""
    n, c = w.shape[:2]
    return Weights(Tensor(np.ones((n, c), w.dtype)), Tensor(np.ones(n, w.dtype)), w)


def shown_field(l2t: L2T, images: Tensor, labels: Tensor) -> list[Any]:
    """G_w of the images shown, added up over channels, for target block 1."""
    fields = pixel_field(l2t, images, labels)
    return [
        rounded(field.data.sum(axis=1)[:SHOWN])
        for field, (_, n) in zip(fields, l2t.pairs, strict=True)
        if n == 0
    ]


def rounded(values: np.ndarray) -> Any:
    """Five significant digits, as nested lists for JSON."""
    flat = [float(f"{x:.5g}") for x in np.asarray(values, np.float64).ravel()]
    return np.reshape(flat, values.shape).tolist()
