"""What the report says about signals; sentences follow from the numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import figures, signal
from .report import Picture, Section, Table
from .runner import Cell, Result
from .statistics import Interval, mean_interval
from .wording import common, percent, power, with_interval

Runs = Sequence[Result]


def section(
    cells: Sequence[Cell], results: Runs, folder: Path, seconds: float
) -> Section:
    """Draw, and put into words."""
    groups, settings = signal.grouped(cells, results), cells[0].settings
    depth = {rule: runs[0] for rule, runs in groups["depth"].items()}
    he = groups["train"]["he"]
    mean = mean_interval([run["test"] for run in he])
    pictures = _pictures(settings, depth, groups["train"], folder)
    return Section(
        "signal",
        "Signal: why He multiplies by 2",
        _lesson(settings["depth"]),
        parts=[
            pictures[0],
            _depth_table(depth),
            pictures[1],
            pictures[2],
            _seeds_table(he, mean),
        ],
        shows=[
            _depth_sentence(depth),
            _training_sentence(groups["train"]),
            _seeds_sentence(he, mean),
        ],
        limits=[
            "The prediction is for the mean over random weights, layers of equal width "
            "and no training. One network of finite width strays from it, more with "
            "every layer: that is the band.",
            f"One rate for all rules, and {settings['steps']} steps. Skip connections "
            "and batch normalisation make depth less of a problem; none are here.",
            "The validation accuracy of the picked seed is too high on average, "
            "because it was picked for it. That is why test images are needed.",
        ],
        seconds=seconds,
        settings=common(settings, "kind", "rule"),
    )


def _lesson(depth: int) -> str:
    return (
        "<p>Every layer multiplies the variance of the signal by <i>n</i> "
        "Var(<i>w</i>) / 2, where the 2 is what ReLU cuts off. Over "
        f"{depth} layers a factor of 1/2 becomes {power(2.0**-depth)}. He’s rule, "
        "Var(<i>w</i>) = 2 / <i>n</i>, makes the factor 1, so that a deep network has "
        "a signal to learn from.</p>"
    )


def _pictures(
    settings: Mapping[str, Any],
    depth: Mapping[str, Result],
    training: Mapping[str, Runs],
    folder: Path,
) -> list[Picture]:
    paths = [folder / f"signal_{name}.png" for name in ("depth", "training", "seeds")]
    figures.draw_depth(depth, paths[0])
    figures.draw_training(training, paths[1])
    figures.draw_seeds(training["he"], paths[2])
    captions = [
        "Before training: standard deviation of the values before ReLU (above) and of "
        "the loss’s gradient with respect to them (below), by layer. Points: root mean "
        f"square over {settings['draws']} draws of the weights; bands: smallest and "
        "largest. Dashed: the formula. Logarithmic axes, without unit.",
        f"Training the same networks by SGD with rate {settings['lr']} and momentum "
        f"{settings['momentum']}. Means over 10 steps. At ln 10 = 2.303 a network "
        "guesses among ten classes.",
        f"He’s network from {len(training['he'])} seeds. The star was picked by its "
        "accuracy on validation images; its test accuracy is what would be reported.",
    ]
    alts = [
        "Standard deviations of activations and gradients by layer for four "
        "initialisations, with the predicted straight lines.",
        "Training loss by step for four initialisations.",
        "Validation and test accuracy of He’s networks from several seeds.",
    ]
    return [Picture(*three) for three in zip(paths, alts, captions, strict=True)]


def _depth_table(depth: Mapping[str, Result]) -> Table:
    def pair(result: Result, name: str, layer: int) -> list[str]:
        measured = signal.root_mean_square(np.array(result[name])[:, layer])
        return [power(measured), power(result[f"{name}_predicted"][layer])]

    rows = [
        [signal.RULES[rule], *pair(result, "signal", -1), *pair(result, "gradient", 0)]
        for rule, result in depth.items()
    ]
    return Table(
        "Standard deviation of the signal in the last layer and of the gradient in the "
        "first one, measured and predicted.",
        ("rule", "signal", "predicted", "gradient", "predicted"),
        rows,
    )


def _depth_sentence(depth: Mapping[str, Result]) -> str:
    worst = 1.0
    for result in depth.values():
        for name in ("signal", "gradient"):
            measured = np.sqrt((np.array(result[name]) ** 2).mean(axis=0))
            ratio = measured / np.array(result[f"{name}_predicted"])
            worst = max(worst, float(ratio.max()), float(1 / ratio.min()))
    return (
        "The formula, which knows nothing of the network but its sizes, predicts every "
        f"point of the first figure within a factor of {worst:.2g}."
    )


def _training_sentence(training: Mapping[str, Runs]) -> str:
    ends = []
    for rule, runs in training.items():
        last = [run["loss"][-1] for run in runs]
        if None in last:
            ends.append(f"{signal.RULES[rule]} not finite")
        else:
            ends.append(f"{signal.RULES[rule]} {np.mean(last):.2f}")
    return f"Loss at the last step (mean over seeds): {', '.join(ends)}."


def _seeds_sentence(he: Runs, mean: Interval) -> str:
    best = he[signal.pick_best(list(he))]
    gain = 100 * (best["test"] - mean.mean)
    return (
        f"Of {len(he)} seeds the one with the best validation accuracy "
        f"({percent(best['validation'])}) has {percent(best['test'])} on test images; "
        f"the mean of all is {with_interval(mean)} (95 % interval), their standard "
        f"deviation {100 * mean.sd:.1f} points. Trying several initialisations was "
        f"worth {gain:+.1f} points here."
    )


def _seeds_table(he: Runs, mean: Interval) -> Table:
    tests = [run["test"] for run in he]
    return Table(
        f"He’s network, {len(he)} seeds: accuracy on 1,000 test images.",
        ("which", "test accuracy"),
        [
            ("picked on validation", percent(tests[signal.pick_best(list(he))])),
            ("mean of all, 95 % interval", with_interval(mean)),
            ("lowest and highest", f"{percent(min(tests))}, {percent(max(tests))}"),
        ],
    )
