"""Drawings of L2T: which arm learns faster, and what, where and which it learned.

Matrices and fields use a scale that also gets steadily lighter in a grey print, and
the outline of the digit lies over every field.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..transfer.matching import stretched
from . import l2t
from .figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    figure,
    legend_below,
    styles,
    tidy,
    write,
)
from .runner import Result
from .statistics import mean_interval, paired_difference
from .transfer import learning_numbers

STYLE = styles(list(l2t.ARMS), [BLACK, ORANGE, GREEN, BLUE, PURPLE])
SHORT = {
    "ufm": "UFM",
    "ww": "L2T-ww",
    "www-map": "L2T-www, map",
    "www-pooled": "L2T-www, means",
}
MAP = "cividis"
Runs = Mapping[str, Sequence[Result]]


def draw_curves(points: Sequence[int], runs: Runs, path: Path) -> None:
    """Accuracy by step of all arms, and paired differences to scratch."""
    canvas, axes = figure(4.1, nrows=1, ncols=2, width_ratios=[1.15, 1])
    accuracy = {arm: np.array([r["accuracy"] for r in of]) for arm, of in runs.items()}
    for arm, curves in accuracy.items():
        mean = 100 * curves.mean(axis=0)
        axes[0].plot(points, mean, label=l2t.ARMS[arm], **STYLE[arm])
    axes[0].set_xlabel("training step")
    axes[0].set_ylabel("accuracy on 797 test digits (%)")
    numbers = {arm: learning_numbers(points, of) for arm, of in accuracy.items()}
    rows = [(name, arm) for name in ("area", "final") for arm in SHORT][::-1]
    for y, (name, arm) in enumerate(rows):
        one = paired_difference(numbers[arm][name], numbers["scratch"][name])
        axes[1].errorbar(
            100 * one.mean, y, xerr=100 * one.half, capsize=3,
            color=STYLE[arm]["color"], marker=STYLE[arm]["marker"],
        )  # fmt: skip
    axes[1].axvline(0, color="0.4", lw=0.8)
    axes[1].set_yticks(range(len(rows)), [f"{SHORT[a]}: {n}" for n, a in rows])
    axes[1].set_xlabel("difference to scratch\n(points), 95 % interval")
    for axis in axes:
        tidy(axis)
    legend_below(canvas, axes[0], 2)
    write(canvas, path)


# -- where -----------------------------------------------------------------------------


def draw_lambda(runs: Runs, path: Path) -> None:
    """lambda of the nine pairs as matrices: rows are arms, columns are steps."""
    means = {
        arm: np.mean([r["lambda"] for r in of], axis=0) for arm, of in runs.items()
    }
    steps = len(next(iter(means.values())))
    chosen = sorted({round(k * (steps - 1) / 3) for k in range(4)})
    canvas, axes = figure(
        4.7, nrows=len(means), ncols=len(chosen), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    low = min(m[chosen].min() for m in means.values())
    high = max(m[chosen].max() for m in means.values())
    for row, (arm, mean) in zip(axes, means.items(), strict=True):
        for axis, step in zip(row, chosen, strict=True):
            drawn = _matrix(axis, mean[step].reshape(3, 3), low, high)
        row[0].set_ylabel(f"{SHORT[arm]}\nsource block")
    for axis, step in zip(axes[0], chosen, strict=True):
        axis.set_title(f"step {step + 1}", fontsize=9.5)
    for axis in axes[-1]:
        axis.set_xlabel("target block")
    canvas.colorbar(drawn, ax=axes, shrink=0.6, label="λ, mean of runs and batch")
    write(canvas, path)


def _matrix(axis: Any, values: np.ndarray, low: float, high: float) -> Any:
    """A 3 x 3 matrix with its numbers; returns what a colour bar needs."""
    drawn = axis.imshow(values, cmap=MAP, vmin=low, vmax=high)
    for (i, j), value in np.ndenumerate(values):
        dark = value < (low + high) / 2
        axis.text(
            j, i, f"{value:.2f}", ha="center", va="center", fontsize=8.5,
            color="white" if dark else "black",
        )  # fmt: skip
    axis.set_xticks(range(3), ["1", "2", "3"])
    axis.set_yticks(range(3), ["1", "2", "3"])
    axis.tick_params(length=0)
    return drawn


# -- what ------------------------------------------------------------------------------


def relative_omega(runs: Sequence[Result]) -> list[np.ndarray]:
    """log2(C omega) of each source block: (runs, target blocks, C).

    0 is an equal share, 1 the double, -1 half of it.
    """
    blocks = []
    for m in range(3):
        pairs = [k for k, pair in enumerate(l2t.PAIRS) if pair[0] == m]
        omega = np.array([[run["omega"][k] for k in pairs] for run in runs])
        blocks.append(np.log2(omega * omega.shape[-1]))
    return blocks


def draw_omega(runs: Sequence[Result], path: Path) -> None:
    """Channels sorted by their weight in the first run, and what the others say."""
    canvas, axes = figure(
        4.3, nrows=2, ncols=3, height_ratios=[2.2, 1], sharey="row",
        width_ratios=[1, 1.4, 2],
    )  # fmt: skip
    blocks = relative_omega(runs)
    limit = max(np.abs(block[0]).max() for block in blocks)
    for m, (above, below) in enumerate(axes.T):
        order = np.argsort(-blocks[m][0].mean(axis=0))
        _sorted_bars(above, blocks[m].mean(axis=1)[:, order])
        above.set_title(f"source block {m + 1}\n{len(order)} channels", fontsize=9.5)
        drawn = below.imshow(
            blocks[m][0][:, order], cmap=MAP, vmin=-limit, vmax=limit, aspect="auto",
            extent=(0.5, len(order) + 0.5, 3.5, 0.5),
        )  # fmt: skip
        below.set_yticks([1, 2, 3])
        below.set_xlabel("channels, sorted")
    axes[0, 0].set_ylabel("$\\log_2 C \\omega$")
    axes[1, 0].set_ylabel("target block")
    canvas.colorbar(drawn, ax=axes[1], label="$\\log_2 C \\omega$")
    legend_below(canvas, axes[0, 0], 3)
    write(canvas, path)


def _sorted_bars(axis: Any, values: np.ndarray) -> None:
    """Bars of the first run; points with intervals of the others; values (runs, C)."""
    place = np.arange(1, values.shape[1] + 1)
    axis.bar(place, values[0], color="0.72", width=1, label="first run")
    if len(values) > 1:
        others = [mean_interval(column) for column in values[1:].T]
        half = np.nan_to_num([one.half for one in others])
        axis.errorbar(
            place, [one.mean for one in others], yerr=half, fmt="o", markersize=2,
            color=BLACK, elinewidth=0.7, label="other runs, 95 % interval",
        )  # fmt: skip
    axis.axhline(0, color=BLUE, lw=1, ls="--", label="at the start")
    axis.set_xlim(0.5, len(place) + 0.5)
    tidy(axis)


# -- which -----------------------------------------------------------------------------


def draw_gamma(runs: Runs, images: np.ndarray, path: Path) -> None:
    """gamma over the images: a row for each source block and each input of h.

    Args:
        runs: one run of each of the arms with gamma.
        images: (N, 1, 28, 28), those that the run showed.
        path: of the PNG file.
    """
    rows = [
        (f"{SHORT[arm].split(', ')[1]}, block {m + 1}", _wide(run, m))
        for arm, (run, *_) in runs.items()
        for m in range(3)
    ]
    limit = max(abs(field / field.mean() - 1).max() for _, field in rows)
    canvas, axes = figure(5.6, nrows=len(rows), ncols=len(images))
    for line, (name, fields) in zip(axes, rows, strict=True):
        level = fields.mean()
        for axis, field, image in zip(line, fields / level, images, strict=True):
            drawn = _field(axis, field, image[0], 1 - limit, 1 + limit)
        _name(line[0], f"{name}\nmean γ {level:.2f}")
    canvas.colorbar(drawn, ax=axes, shrink=0.6, label="γ, by its mean over the row")
    write(canvas, path)


def _wide(run: Result, m: int) -> np.ndarray:
    """gamma (images, 14, 14) of source block m for target block 1, as it is used."""
    gamma = np.array(run["gamma"][l2t.PAIRS.index((m, 0))], np.float32)
    return stretched(Tensor(gamma[:, None]), (14, 14)).data[:, 0]


def draw_field(run: Result, images: np.ndarray, path: Path) -> None:
    """-G_w over the images: a row for each source block, with its own scale."""
    canvas, axes = figure(3.7, nrows=3, ncols=len(images))
    for m, line in enumerate(axes):
        fields = -np.array(run["field"][m])
        limit = np.abs(fields).max() or 1.0
        for axis, field, image in zip(line, fields / limit, images, strict=True):
            drawn = _field(axis, field, image[0], -1, 1)
        mantissa, exponent = f"{limit:.1e}".split("e")
        largest = rf"{mantissa} $\cdot\,10^{{{int(exponent)}}}$"
        _name(line[0], f"block {m + 1}\nlargest\n{largest}")
    canvas.colorbar(drawn, ax=axes, shrink=0.8, label="−dF/dw, share of the largest")
    write(canvas, path)


def _name(axis: Any, words: str) -> None:
    """What a row is, at its left."""
    axis.set_ylabel(words, fontsize=8.5, rotation=0, ha="right", va="center")


def _field(axis: Any, field: np.ndarray, image: np.ndarray, low: Any, high: Any) -> Any:
    """A field with the outline of the image over it."""
    from matplotlib.patheffects import withStroke

    size = len(image)
    drawn = axis.imshow(field, cmap=MAP, vmin=low, vmax=high, extent=(0, size, size, 0))
    middle = np.arange(size) + 0.5
    level = (image.min() + image.max()) / 2
    line = axis.contour(middle, middle, image, [level], colors="black", linewidths=0.8)
    line.set_path_effects([withStroke(linewidth=2, foreground="white")])
    axis.set_xticks([])
    axis.set_yticks([])
    return drawn
