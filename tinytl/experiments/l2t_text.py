"""What the report says about L2T; sentences follow from the numbers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from . import figures_l2t as figures
from . import l2t, l2t_learned
from .report import Picture, Section, Table
from .runner import Cell, Result, Settings, seconds_taken
from .statistics import Interval, mean_interval, paired_difference
from .transfer import learning_numbers
from .wording import common, points, with_interval

Runs = Mapping[str, Sequence[Result]]
NUMBERS = ("start", "area", "final")
WITH_GAMMA = ("www-map", "www-pooled")
LEARNED = ("ww", *WITH_GAMMA)
LIMITS = [
    "One source, of clothes, and one target, of digits, both small and gray. What is "
    "seen here says nothing about large networks and photographs.",
    "Rates, steps and beta were chosen on digits of the training pool outside the "
    "subsets, with other seeds, the same for all arms. The meta-networks’ rate is a "
    "hundred times the published one, for these runs have tens of steps and not "
    "hundreds; with the published rate no weight would move visibly.",
    "γ is not normalised, so L2T-www can also change how strong the matching is as a "
    "whole, which λ does too. Whether <i>where in the image</i> matters takes a run "
    'with γ replaced by its mean (<code>scale="flat"</code>); none is here.',
    "λ starts at random values near 1, and ReLU6 has no gradient below 0. A matrix at "
    "one step is mostly its start: only its change is learned.",
    "Large weights are not large use. ω, λ and γ say what the meta-networks asked "
    "for; whether the target gained by it is what the accuracies say.",
    "Every arm moves the running statistics of batch normalisation once a step. The "
    "published code moves them a second time in the trial, which early in training "
    "looks like faster learning and is none.",
    "G<sub>w</sub> is a slope at one moment, for the loss of the same training images "
    "after three steps of trial. It is no map of what a person would look at.",
]

ALTS = [
    "Test accuracy by training step for five arms, and their paired differences "
    "to training from scratch.",
    "Matrices of lambda by source and target block at four moments of training, "
    "for three arms.",
    "Sorted weights of the channels of three source blocks, as bars and by pair.",
    "Weights of pixels laid over digits, for three source blocks and two inputs "
    "of the meta-network.",
    "Derivative of the task's loss with respect to the weight of each pixel, laid "
    "over digits, for three source blocks.",
]


def section(
    cells: Sequence[Cell], results: Sequence[Result], folder: Path, seconds: float
) -> Section:
    """Draw, and put into words."""
    settings, runs = cells[0].settings, l2t.by_arm(cells, results)
    steps = settings["points"]
    learned = {arm: runs[arm] for arm in LEARNED}
    curves, where, what, which, field = _pictures(settings, runs, folder)
    return Section(
        "l2t",
        "Learning what, where and which to transfer",
        _lesson(steps, runs),
        parts=[
            _setting(),
            curves,
            _accuracy_table(steps, runs, run_seconds(cells, folder)),
            _difference_table(steps, runs),
            where,
            l2t_learned.lambda_table(learned),
            what,
            which,
            field,
        ],
        shows=[
            *(_verdict(steps, runs, arm) for arm in figures.SHORT),
            l2t_learned.where_sentence(runs["ww"]),
            l2t_learned.what_sentence(runs["ww"]),
            *(l2t_learned.which_sentence(runs[arm], arm) for arm in WITH_GAMMA),
            l2t_learned.field_sentence(
                runs["www-map"],
                [c.settings for c in cells if c.settings["arm"] == "www-map"],
            ),
        ],
        limits=[
            f"There are {len(runs['ww'])} runs of each arm and "
            f"{2 * len(figures.SHORT) + 3} differences with intervals above. Each by "
            "itself misses the truth in 1 of 20 cases.",
            *LIMITS,
        ],
        seconds=seconds,
        settings=common(settings, "arm"),
    )


# -- which arm is better ---------------------------------------------------------------


def difference(
    steps: Sequence[int], runs: Runs, arm: str, other: str, name: str
) -> Interval:
    """Paired difference of two arms in start, area or final."""

    def numbers(of: Sequence[Result]) -> list[float]:
        return learning_numbers(steps, np.array([run["accuracy"] for run in of]))[name]

    return paired_difference(numbers(runs[arm]), numbers(runs[other]))


def _lesson(steps: Sequence[int], runs: Runs) -> str:
    which = [difference(steps, runs, arm, "ww", "final") for arm in WITH_GAMMA]
    return (
        "<p>A small network can be told to imitate a larger one, and small "
        "meta-networks can learn what to imitate: which channels (<b>what</b>, ω), "
        "which pairs of layers (<b>where</b>, λ), which pixels (<b>which</b>, γ). They "
        "learn from one question: after three steps of training on trial, would a "
        "little more of this weight have made the task’s loss smaller?</p>"
        f"<p>Did it help here? {_answer(steps, runs)} Against L2T-ww, L2T-www makes "
        f"{points(which[0])} points at the end (h sees the map) and "
        f"{points(which[1])} (h sees the means).</p>"
    )


def _answer(steps: Sequence[int], runs: Runs) -> str:
    """How many arms differ from scratch by more than chance."""
    arms, counts = list(figures.SHORT), []
    for name in ("area", "final"):
        every = [difference(steps, runs, arm, "scratch", name) for arm in arms]
        counts.append(sum(one.low > 0 for one in every))
        counts.append(sum(one.high < 0 for one in every))
    if not any(counts):
        return (
            f"Not so that {len(next(iter(runs.values())))} runs could tell: none of "
            f"{len(arms)} ways of matching differs from training from scratch by more "
            "than chance, neither in the mean of its curve nor at its end."
        )
    faster, slower, more, less = counts
    return (
        f"Of {len(arms)} ways of matching {faster} learn faster than training from "
        f"scratch by more than chance, {slower} slower; after {steps[-1]} steps {more} "
        f"are more accurate, {less} less."
    )


def _setting() -> str:
    wide, narrow = (16, 32, 64), l2t.WIDTHS
    return (
        "The source is the network pretrained on clothes, from the section before. "
        f"The target has {', '.join(map(str, narrow))} filters in its three blocks "
        f"where the source has {', '.join(map(str, wide))}, so no weight can be "
        "copied: it can only be told to make maps like the source’s. Each of the nine "
        "pairs of a source and a target block has a distance, and its weight is the "
        "product λ ω γ. Plain matching (UFM) has constant weights."
    )


def run_seconds(cells: Sequence[Cell], folder: Path) -> dict[str, float]:
    """Seconds a run of each arm, mean; NaN where not known."""
    known, found = seconds_taken(folder / "cells"), {}
    for arm in l2t.ARMS:
        keys = [cell.key() for cell in cells if cell.settings["arm"] == arm]
        every = [known[key] for key in keys if key in known]
        found[arm] = float(np.mean(every)) if every else math.nan
    return found


def _accuracy_table(
    steps: Sequence[int], runs: Runs, seconds: Mapping[str, float]
) -> Table:
    rows = []
    for arm, of in runs.items():
        numbers = learning_numbers(steps, np.array([run["accuracy"] for run in of]))
        cells = [with_interval(mean_interval(numbers[name])) for name in NUMBERS]
        rows.append([l2t.ARMS[arm], *cells, f"{seconds[arm]:.1f} s"])
    return Table(
        f"Test accuracy, mean and 95 % interval: at step {steps[0]} (start), mean of "
        f"the curve (area), at step {steps[-1]} (final); and how long a run took here, "
        "on one core.",
        ("arm", *NUMBERS, "a run"),
        rows,
    )


def _difference_table(steps: Sequence[int], runs: Runs) -> Table:
    compared = [(arm, "scratch") for arm in figures.SHORT]
    compared += [("ww", "ufm"), *((arm, "ww") for arm in WITH_GAMMA)]
    rows = [
        [
            f"{figures.SHORT[arm]} − {figures.SHORT.get(other, other)}",
            *(points(difference(steps, runs, arm, other, name)) for name in NUMBERS),
        ]
        for arm, other in compared
    ]
    return Table(
        "Paired differences in points of accuracy, with their 95 % intervals: the same "
        "images, order of batches and initial values in both.",
        ("difference", *NUMBERS),
        rows,
    )


def _verdict(steps: Sequence[int], runs: Runs, arm: str) -> str:
    area = difference(steps, runs, arm, "scratch", "area")
    final = difference(steps, runs, arm, "scratch", "final")
    name = l2t.ARMS[arm]
    speed, end = _side(area, "faster", "slower"), _side(final, "higher", "lower")
    return (
        f"{name[0].upper()}{name[1:]}, against scratch: {speed} in the mean of the "
        f"curve ({points(area)} points), {end} at the end ({points(final)})."
    )


def _side(one: Interval, better: str, worse: str) -> str:
    if one.low > 0:
        return better
    return worse if one.high < 0 else f"neither {better} nor {worse} beyond chance"


def _pictures(settings: Settings, runs: Runs, folder: Path) -> list[Picture]:
    names = ("curves", "where", "what", "which", "field")
    paths = [folder / f"l2t_{name}.png" for name in names]
    images = l2t.shown_images(settings)
    learned = {arm: runs[arm] for arm in LEARNED}
    figures.draw_curves(settings["points"], runs, paths[0])
    figures.draw_lambda(learned, paths[1])
    figures.draw_omega(runs["ww"], paths[2])
    figures.draw_gamma({arm: runs[arm] for arm in WITH_GAMMA}, images, paths[3])
    figures.draw_field(runs["www-map"][0], images, paths[4])
    captions = _captions(len(runs["ww"]), settings["steps"] // 2)
    return [Picture(*three) for three in zip(paths, ALTS, captions, strict=True)]


def _captions(count: int, half: int) -> list[str]:
    return [
        f"Left: accuracy on the 797 test digits, mean of {count} runs; for intervals "
        "see the table. Right: paired differences to training from scratch, in the "
        "mean of the curve (area) and at the last step (final). Where a bar crosses 0, "
        "these runs do not tell which is better.",
        "Where: λ of the nine pairs over training, a row for each way of learning it. "
        "Rows of a matrix are source blocks, columns target blocks. The pattern at the "
        "left is chance, since λ starts at random values; what is learned is how "
        "matrices change to the right.",
        "What: binary logarithm of each channel’s share times the number of channels, "
        "in L2T-ww at the end: 0 is an equal share, 1 the double, −1 half of it. Bars: "
        "the first run, its channels sorted (mean over target blocks; below, by target "
        "block). Points: the same channels in the other runs, mean and 95 % interval. "
        "Sorting makes a slope of anything; only if the points follow the bars have "
        "runs found the same channels. (Where a few channels take much, the others, "
        "and so the mean logarithm, lie below 0.)",
        f"Which: γ for target block 1 on {l2t.SHOWN} training digits of the first run "
        "at the end: 3 × 3 values, stretched to 14 × 14 as in training; mean of the "
        "channels by their ω. Each row is divided by its mean, given at its left, so "
        "that only the pattern is seen. The line is the digit’s outline. Above, h sees "
        "the channel’s map; below, the means of the channels, so that it cannot tell "
        "where in the image anything is.",
        f"The field G<sub>w</sub> after {half} steps of L2T-www (first run, h sees the "
        "map), with the sign turned: where it is light, a little more weight on this "
        "pixel would lower the task’s loss after the trial; where it is dark, raise "
        "it. Added up over the source’s channels, for target block 1 (14 × 14 pixels). "
        "Each row has its own scale, given at its left in nats per unit of weight.",
    ]
