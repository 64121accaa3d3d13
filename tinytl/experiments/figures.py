"""Drawings of the results: one function a figure, results in, a PNG file out.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart;
every line also has its own marker and dashes, so that a grey print can be read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import collapse, signal, transfer
from .runner import Result
from .statistics import mean_interval, paired_difference

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
WIDTH, DPI = 6.4, 150
Style = dict[str, Any]


def styles(names: Sequence[str], colours: Sequence[str]) -> dict[str, Style]:
    """Colour, marker and dashes for each name."""
    markers, dashes = "osD^v", ["-", (0, (5, 2)), "-.", (0, (1, 1)), (0, (7, 1))]
    return {
        name: {"color": c, "marker": m, "linestyle": d, "markersize": 4}
        for name, c, m, d in zip(names, colours, markers, dashes, strict=False)
    }


COLLAPSE = styles(list(collapse.ARMS), [VERMILLION, BLACK, BLUE, GREEN, ORANGE])
SIGNAL = styles(list(signal.RULES), [BLUE, GREEN, ORANGE, VERMILLION])
TRANSFER = styles(list(transfer.ARMS), [BLACK, ORANGE, GREEN, BLUE])


def figure(height: float, **grid: Any) -> tuple[Any, Any]:
    """An empty figure `height` inches high, and its axes.

    Raises ImportError if matplotlib is not installed; the message says how to.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "drawing needs matplotlib: pip install 'tinytl[demo]'"
        ) from error
    with rc_context({"font.size": 9.5}):
        canvas = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        axes = canvas.subplots(**grid) if grid else None
    return canvas, axes


def write(canvas: Any, path: Path) -> None:
    """Save as PNG; nothing in the file tells the time or the library's version."""
    canvas.savefig(path, metadata={"Software": None})


def tidy(axis: Any) -> None:
    """A light grid, and no frame on the upper and right side."""
    axis.grid(True, color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def legend_below(canvas: Any, axis: Any, columns: int) -> None:
    """One legend for all axes, under them."""
    canvas.legend(
        *axis.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=3.2,
    )


# -- collapse --------------------------------------------------------------------------


def draw_collapse(results: Mapping[str, Result], path: Path) -> None:
    """Spread by step for each layer, and conv1's filters before and after."""
    canvas, _ = figure(5.7)
    above, below = canvas.subfigures(2, 1, height_ratios=[1.8, 1])
    axes = above.subplots(1, 3, sharey=True)
    for k, (axis, layer) in enumerate(zip(axes, collapse.LAYERS, strict=True)):
        for arm, result in results.items():
            spread = result["spread"][k]
            every = max(len(spread) // 5, 1)
            width = 3.5 if arm == "equal" else 1.5  # seen under another line, too
            axis.plot(
                spread, label=collapse.ARMS[arm], lw=width, markevery=every,
                **COLLAPSE[arm],
            )  # fmt: skip
        axis.set_yscale("symlog", linthresh=1e-3, linscale=0.6)
        axis.set_ylim(-3e-4, 10)
        axis.set_title(layer, fontsize=10)
        axis.set_xlabel("training step")
        tidy(axis)
    axes[0].set_yticks([0, 1e-3, 1e-2, 1e-1, 1, 10], ["0", *_powers(-3, 1)])
    axes[0].set_ylabel("spread between filters")
    legend_below(above, axes[0], 2)
    _draw_filters(below, results)
    write(canvas, path)


def _powers(low: int, high: int) -> list[str]:
    return [f"$10^{{{k}}}$" for k in range(low, high + 1)]


def _draw_filters(canvas: Any, results: Mapping[str, Result]) -> None:
    """Two rows, before and after; one column an arm; 8 x 4 filters in each."""
    canvas.suptitle("the 32 filters of conv1, before and after training", fontsize=9.5)
    axes = canvas.subplots(2, len(results), squeeze=False)
    for column, (arm, result) in enumerate(results.items()):
        both = [np.array(result[f"conv1_{when}"]) for when in ("before", "after")]
        limit = max(np.abs(filters).max() for filters in both)
        for row, filters in enumerate(both):
            axis = axes[row, column]
            axis.imshow(mosaic(filters, 8), cmap="PuOr", vmin=-limit, vmax=limit)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        head = collapse.ARMS[arm].replace("filters, ", "filters,\n")
        axes[0, column].set_title(head, fontsize=8)
        axes[1, column].set_xlabel(
            f"accuracy {100 * result['accuracy']:.0f} %", fontsize=8.5
        )
    for row, word in enumerate(("before", "after")):
        axes[row, 0].set_ylabel(word, fontsize=8.5)


def mosaic(filters: np.ndarray, columns: int) -> np.ndarray:
    """Filters (F, U, V) side by side with a gap of NaN; F a multiple of `columns`."""
    count, u, v = filters.shape
    padded = np.full((count, u + 1, v + 1), np.nan)
    padded[:, :u, :v] = filters
    rows = padded.reshape(count // columns, columns, u + 1, v + 1)
    whole = rows.transpose(0, 2, 1, 3)
    return whole.reshape(-1, columns * (v + 1))[:-1, :-1]


# -- signal ----------------------------------------------------------------------------


def draw_depth(results: Mapping[str, Result], path: Path) -> None:
    """Signal and gradient by layer, measured and predicted."""
    canvas, axes = figure(6.6, nrows=2, ncols=1, sharex=True)
    titles = {
        "signal": "standard deviation of $z_l$",
        "gradient": "standard deviation of d loss / d $z_l$",
    }
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for rule, result in results.items():
            runs = np.array(result[name])
            layers = np.arange(1, runs.shape[1] + 1)
            middle = np.sqrt((runs**2).mean(axis=0))
            style = {**SIGNAL[rule], "linestyle": ""}
            axis.fill_between(
                layers, runs.min(0), runs.max(0), color=style["color"], alpha=0.25, lw=0
            )
            axis.plot(layers, middle, label=signal.RULES[rule], **style)
            axis.plot(layers, result[f"{name}_predicted"], "--", color="0.25", lw=1)
        axis.plot([], [], "--", color="0.25", lw=1, label="predicted by the formula")
        axis.set_yscale("log")
        axis.set_ylabel(title)
        tidy(axis)
    axes[1].set_xlabel("layer $l$ (input at the left, loss at the right)")
    legend_below(canvas, axes[0], 3)
    write(canvas, path)


def draw_training(results: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Loss by step of every run, as means over 10 steps."""
    canvas, axis = figure(3.6, nrows=1, ncols=1)
    for rule, runs in results.items():
        for k, run in enumerate(runs):
            losses = [np.nan if loss is None else loss for loss in run["loss"]]
            smooth = running_mean(losses, 10)
            every = max(len(smooth) // 6, 1)
            axis.plot(
                np.arange(len(smooth)) + len(losses) - len(smooth) + 1,
                smooth,
                label=_training_label(rule, runs) if k == 0 else None,
                markevery=(every // 2 if rule == "small" else 0, every),
                lw=1 if len(runs) > 1 else 1.8,
                **SIGNAL[rule],
            )
    axis.axhline(np.log(10), color="0.5", lw=0.8, label="ln 10: guessing")
    axis.set_ylim(0, 3)
    axis.set_xlabel("training step")
    axis.set_ylabel("cross-entropy (nats)")
    tidy(axis)
    legend_below(canvas, axis, 2)
    write(canvas, path)


def _training_label(rule: str, runs: Sequence[Result]) -> str:
    finite = sum(loss is not None for loss in runs[0]["loss"])
    if finite < len(runs[0]["loss"]):
        return f"{signal.RULES[rule]}: infinite after step {finite}"
    count = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
    return f"{signal.RULES[rule]} ({count})"


def running_mean(values: Sequence[float], width: int) -> np.ndarray:
    """Means of `width` neighbours; as many as fit, or the values if they are fewer."""
    if len(values) < width:
        return np.asarray(values, np.float64)
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def draw_seeds(runs: Sequence[Result], path: Path) -> None:
    """Validation and test accuracy of each seed, and which one is picked."""
    canvas, axis = figure(3.8, nrows=1, ncols=1)
    validation = [100 * run["validation"] for run in runs]
    test = [100 * run["test"] for run in runs]
    best, mean = signal.pick_best(list(runs)), mean_interval(test)
    if len(runs) > 1:
        axis.axhspan(
            mean.low, mean.high, color=SKY, alpha=0.3, lw=0,
            label=f"95 % interval of the mean ({len(runs)} seeds)",
        )  # fmt: skip
    axis.axhline(mean.mean, color=BLUE, lw=1.2, label="mean of all seeds")
    axis.plot(validation, test, "o", color=BLACK, label="one seed")
    axis.plot(
        validation[best], test[best], "*", color=VERMILLION, markersize=15,
        markeredgecolor="white", label="best on validation: picked",
    )  # fmt: skip
    axis.set_xlabel("accuracy on validation images (%)")
    axis.set_ylabel("accuracy on test images (%)")
    tidy(axis)
    legend_below(canvas, axis, 2)
    write(canvas, path)


# -- transfer --------------------------------------------------------------------------


def draw_curves(
    points: Sequence[int], runs: Mapping[tuple[int, str], np.ndarray], path: Path
) -> None:
    """Test accuracy by step, one panel for each number of labels."""
    sizes = sorted({per_class for per_class, _ in runs})
    canvas, axes = figure(3.9, nrows=1, ncols=len(sizes), sharey=True, squeeze=False)
    for axis, per_class in zip(axes[0], sizes, strict=True):
        for arm, name in transfer.ARMS.items():
            every = [mean_interval(100 * c) for c in runs[per_class, arm].T]
            style = TRANSFER[arm]
            axis.plot(points, [one.mean for one in every], label=name, **style)
            axis.fill_between(
                points,
                [one.low for one in every],
                [one.high for one in every],
                color=style["color"],
                alpha=0.15,
                lw=0,
            )
        axis.set_title(f"{per_class} labelled digits a class", fontsize=10)
        axis.set_xlabel("training step")
        tidy(axis)
    axes[0, 0].set_ylabel("accuracy on 797 test digits (%)")
    legend_below(canvas, axes[0, 0], 2)
    write(canvas, path)


def draw_differences(
    points: Sequence[int], runs: Mapping[tuple[int, str], np.ndarray], path: Path
) -> None:
    """Paired differences to scratch with their intervals: start, area, final."""
    sizes = sorted({per_class for per_class, _ in runs})
    arms = [arm for arm in transfer.ARMS if arm != "scratch"]
    rows = [(per_class, arm) for per_class in sizes for arm in arms][::-1]
    canvas, axes = figure(3.6, nrows=1, ncols=3, sharey=True)
    titles = (f"start: step {points[0]}", "area: mean of curve", "final: last step")
    for axis, name, title in zip(axes, ("start", "area", "final"), titles, strict=True):
        for y, (per_class, arm) in enumerate(rows):
            numbers = transfer.learning_numbers(points, runs[per_class, arm])
            scratch = transfer.learning_numbers(points, runs[per_class, "scratch"])
            one = paired_difference(numbers[name], scratch[name])
            axis.errorbar(
                100 * one.mean, y, xerr=100 * one.half, capsize=3,
                color=TRANSFER[arm]["color"], marker=TRANSFER[arm]["marker"],
            )  # fmt: skip
        axis.axvline(0, color="0.4", lw=0.8)
        axis.set_title(title, fontsize=9.5)
        tidy(axis)
    words = {"frozen": "frozen", "last": "last block", "all": "all layers"}
    axes[0].set_yticks(range(len(rows)), [f"{words[a]}, {k}/class" for k, a in rows])
    axes[1].set_xlabel("difference to scratch (points of accuracy), 95 % interval")
    write(canvas, path)
