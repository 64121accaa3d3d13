"""What the report says about transfer; sentences follow from the numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from . import figures, pretrain, transfer
from .report import Picture, Section, Table, escape
from .runner import Cell, Result
from .statistics import Interval, mean_interval, paired_difference
from .wording import common, points, with_interval

Runs = Mapping[tuple[int, str], np.ndarray]
NUMBERS = ("start", "area", "final")


def section(
    cells: Sequence[Cell], results: Sequence[Result], folder: Path, seconds: float
) -> Section:
    """Draw, and put into words."""
    settings = cells[0].settings
    steps, runs = settings["points"], transfer.by_arm(cells, results)
    curves, differences = _pictures(steps, runs, folder)
    return Section(
        "transfer",
        "Transfer: a few labelled digits",
        f"<p>{_lesson(steps, runs)}</p>",
        parts=[
            _setting(),
            curves,
            _accuracy_table(steps, runs),
            differences,
            _difference_table(steps, runs),
        ],
        shows=[_verdict(steps, runs, key) for key in _keys(runs)],
        limits=[
            f"There are {3 * len(_keys(runs))} intervals. Each by itself misses the "
            "truth in 1 of 20 cases, so one that just misses 0 is weak evidence.",
            "At the first points, training from scratch also suffers from running "
            "statistics of batch normalisation that are still on their way from 0 and "
            "1 (after 5 steps with momentum 0.1, 41 % of it).",
            "Rate, number of steps, weight decay and the source task were chosen on "
            "digits of the training pool outside the subsets, with other seeds, the "
            "same for all arms. No arm was tuned by itself.",
            "One source and one target, both small and gray. More steps give scratch "
            "more time; more labels make transfer matter less.",
            "Chance means other subsets of this pool, other initial values and another "
            "order; the 797 test digits are the same in all runs.",
        ],
        seconds=seconds,
        settings=common(settings, "arm", "per_class"),
    )


def difference(
    steps: Sequence[int], runs: Runs, key: tuple[int, str], name: str
) -> Interval:
    """Paired difference of an arm to scratch in start, area or final."""
    numbers = transfer.learning_numbers(steps, runs[key])
    scratch = transfer.learning_numbers(steps, runs[key[0], "scratch"])
    return paired_difference(numbers[name], scratch[name])


def _keys(runs: Runs) -> list[tuple[int, str]]:
    return [key for key in runs if key[1] != "scratch"]


def _lesson(steps: Sequence[int], runs: Runs) -> str:
    keys = _keys(runs)

    def count(name: str, sign: int) -> str:
        every = [difference(steps, runs, key, name) for key in keys]
        clear = sum(abs(d.mean) > d.half and d.mean * sign > 0 for d in every)
        return f"{clear} of {len(keys)}"

    return (
        f"Over the first {steps[-1]} steps, {count('area', 1)} ways to reuse what a "
        "network learnt from clothes learn digits <b>faster</b> than training from "
        f"scratch, by more than chance, and {count('area', -1)} slower. At the last "
        f"step {count('final', 1)} end up <b>higher</b> by more than chance, "
        f"{count('final', -1)} lower. A jump start is not a higher ceiling."
    )


def _setting() -> str:
    _, source = pretrain.source_weights()
    return (
        "The source network was pretrained on clothes (Fashion-MNIST, each image "
        "turned by a multiple of 90°: 40 classes; accuracy "
        f"{escape(source['accuracy'])}). The target is handwritten digits, with 5 or "
        "10 labelled images of each. <i>Frozen</i> means three things at once: no "
        "gradient; no update by the optimiser, whose weight decay and momentum would "
        "move weights without a gradient; and batch normalisation in evaluation mode, "
        "since its running statistics would move in training mode."
    )


def _pictures(
    steps: Sequence[int], runs: Runs, folder: Path
) -> tuple[Picture, Picture]:
    paths = [folder / "transfer_curves.png", folder / "transfer_differences.png"]
    figures.draw_curves(steps, runs, paths[0])
    figures.draw_differences(steps, runs, paths[1])
    count = len(next(iter(runs.values())))
    return (
        Picture(
            paths[0],
            "Test accuracy by training step for four arms and two numbers of labels.",
            f"Accuracy on the 797 test digits by training step: mean of {count} runs "
            "and its 95 % interval (Student). Points are measured, lines connect them.",
        ),
        Picture(
            paths[1],
            "Paired differences of each transfer arm to training from scratch.",
            "Differences to training from scratch on the same images, with the same "
            "head and the same order of batches. Where a bar crosses 0, these runs do "
            "not tell which is better. The three scales differ.",
        ),
    )


def _accuracy_table(steps: Sequence[int], runs: Runs) -> Table:
    rows = []
    for (per_class, arm), values in runs.items():
        numbers = transfer.learning_numbers(steps, values)
        cells = [with_interval(mean_interval(numbers[name])) for name in NUMBERS]
        rows.append([f"{transfer.ARMS[arm]}, {per_class} a class", *cells])
    return Table(
        f"Test accuracy, mean and 95 % interval: at step {steps[0]} (start), mean of "
        f"the curve (area), at step {steps[-1]} (final).",
        ("arm", *NUMBERS),
        rows,
    )


def _difference_table(steps: Sequence[int], runs: Runs) -> Table:
    rows = []
    for key in _keys(runs):
        cells = [points(difference(steps, runs, key, name)) for name in NUMBERS]
        rows.append([f"{transfer.ARMS[key[1]]}, {key[0]} a class", *cells])
    return Table(
        "Paired difference to scratch in points of accuracy, with its 95 % interval: "
        "m ± t s / √n of the n differences.",
        ("arm", *NUMBERS),
        rows,
    )


def _verdict(steps: Sequence[int], runs: Runs, key: tuple[int, str]) -> str:
    """One sentence for an arm and a number of labels."""
    area = difference(steps, runs, key, "area")
    final = difference(steps, runs, key, "final")
    if area.low > 0:
        way = "learns faster"
    elif area.high < 0:
        way = "learns more slowly"
    else:
        way = "may learn as fast as scratch"
    if final.low > 0:
        end = "ends higher"
    elif final.high < 0:
        end = "ends lower"
    else:
        end = "ends where scratch does, as far as these runs can tell"
    return (
        f"{key[0]} labels a class, {transfer.ARMS[key[1]]}: {way} ({points(area)} "
        f"points on average over the curve) and {end} ({points(final)} points)."
    )
