"""What the report says about omega, lambda, gamma and G_w; from the numbers."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from . import figures_l2t as figures
from . import l2t
from .report import Table
from .runner import Result, Settings
from .statistics import Interval, mean_interval
from .wording import percent


def lambda_changes(runs: Sequence[Result]) -> np.ndarray:
    """lambda at the last step less that at the first: (runs, pairs)."""
    every = np.array([run["lambda"] for run in runs])
    return every[:, -1] - every[:, 0]


def lambda_table(learned: Mapping[str, Sequence[Result]]) -> Table:
    """Start and change of lambda, pair by pair."""
    start = np.array([run["lambda"][0] for run in learned["ww"]])
    changes = {arm: lambda_changes(of) for arm, of in learned.items()}
    rows = []
    for k, (m, n) in enumerate(l2t.PAIRS):
        first = mean_interval(start[:, k])
        cells = [_plain(mean_interval(change[:, k])) for change in changes.values()]
        rows.append(
            [f"{m + 1} → {n + 1}", f"{first.mean:.2f}, SD {first.sd:.2f}", *cells]
        )
    return Table(
        "λ of each pair: its value at the first step (mean and standard deviation over "
        "runs, the same in the three arms), and its change up to the last, with the "
        "95 % interval over runs.",
        ("source → target", "start", *(figures.SHORT[arm] for arm in changes)),
        rows,
    )


def _plain(one: Interval) -> str:
    return f"{one.mean:+.2f} ± {one.half:.2f}".replace("-", "−")


def where_sentence(runs: Sequence[Result]) -> str:
    """How lambda changed."""
    changes = lambda_changes(runs)
    every = [mean_interval(column) for column in changes.T]
    order = sorted(range(len(every)), key=lambda k: every[k].mean)
    names = [f"{m + 1} → {n + 1}" for m, n in l2t.PAIRS]
    up = sum(one.low > 0 for one in every)
    down = sum(one.high < 0 for one in every)
    least, most = order[0], order[-1]
    last = np.array([run["lambda"][-1] for run in runs])
    return (
        f"Where (L2T-ww): of nine pairs λ rises beyond chance in {up} and falls in "
        f"{down}; the extremes are {names[most]} ({_plain(every[most])}) and "
        f"{names[least]} ({_plain(every[least])}). The mean of all nine changes by "
        f"{_plain(mean_interval(changes.mean(axis=1)))}. At the end λ is 0 for the "
        f"whole batch in {(last == 0).sum()} of {last.size} cases (pairs and runs): "
        "such a pair is matched no more, and cannot return."
    )


def what_sentence(runs: Sequence[Result]) -> str:
    """How far omega came from equal shares, and whether runs agree."""
    blocks = figures.relative_omega(runs)
    shares = [2.0**block for block in blocks]
    low, high = min(x.min() for x in shares), max(x.max() for x in shares)
    agreement = [rank_agreement(block.mean(axis=1)) for block in blocks]
    words = ", ".join(f"{r:+.2f}".replace("-", "−") for r in agreement)
    return (
        f"What (L2T-ww): starting from equal shares, channels end between {low:.2g} "
        f"and {high:.2g} times as much, over all runs. Runs agree on the order of "
        f"channels with a rank correlation of {words} in source blocks 1, 2 and 3 "
        "(mean over pairs of runs; 0 would be chance, 1 the same order)."
    )


def rank_agreement(values: np.ndarray) -> float:
    """Mean over all pairs of rows of Spearman's correlation; values (runs, C).

    Correlation of the ranks (Spearman 1904); NaN for one run.
    """
    ranks = values.argsort(axis=1).argsort(axis=1).astype(np.float64)
    if len(ranks) < 2:
        return math.nan
    table = np.atleast_2d(np.corrcoef(ranks))
    return float(table[np.triu_indices(len(table), 1)].mean())


def which_sentence(runs: Sequence[Result], arm: str) -> str:
    """Where gamma came to, over places and over images."""
    gamma = np.array([run["gamma"] for run in runs])  # runs, pairs, images, 3, 3
    within = gamma.std(axis=(-2, -1)).mean()
    between = gamma.mean(axis=(-2, -1)).std(axis=2).mean()
    word = "the map" if arm == "www-map" else "the means"
    return (
        f"Which, h sees {word}: γ, which starts at 1, ends between {gamma.min():.2f} "
        f"and {gamma.max():.2f} in the nine places of an image; its mean is "
        f"{gamma.mean():.2f}, its standard deviation {within:.3f} over the places of "
        f"an image and {between:.3f} over images."
    )


def field_sentence(runs: Sequence[Result], settings: Sequence[Settings]) -> str:
    """The signs of G_w, and its likeness to the image."""
    fields = np.array([run["field"] for run in runs])  # runs, blocks, images, 14, 14
    ink = np.array([_shrunk(l2t.shown_images(of)) for of in settings])
    shares, likeness = [], []
    for m in range(3):
        shares.append(percent(float((fields[:, m] < 0).mean())))
        by_run = [
            np.corrcoef(-field.ravel(), dots.ravel())[0, 1]
            for field, dots in zip(fields[:, m], ink, strict=True)
        ]
        likeness.append(_plain(mean_interval(by_run)))
    return (
        "The field: more weight would lower the task’s loss, to first order, at "
        f"{', '.join(shares)} of the pixels for source blocks 1, 2 and 3 (all runs, "
        "the images shown). The correlation of −G<sub>w</sub> with the brightness of "
        f"the image is {', '.join(likeness)} (95 % interval over runs); negative would "
        "be that matching on the strokes is in the task’s way."
    )


def _shrunk(images: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels: (N, 1, 28, 28) -> (N, 14, 14)."""
    return images.reshape(len(images), 14, 2, 14, 2).mean(axis=(2, 4))
