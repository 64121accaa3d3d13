"""What the report says about each experiment: sentences that follow from its numbers.

A sentence that depends on the outcome is chosen by the outcome. Where the numbers turn
out differently, the report says so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import collapse, figures, pretrain, signal, transfer
from .report import Picture, Section, Table, escape
from .runner import Cell, Result
from .statistics import Interval, mean_interval, paired_difference


def percent(share: float, digits: int = 1) -> str:
    """0.123 as '12.3 %'."""
    return f"{100 * share:.{digits}f} %"


def points(interval: Interval) -> str:
    """A difference of shares as '+1.9 ± 1.6'."""
    return f"{100 * interval.mean:+.1f} ± {100 * interval.half:.1f}".replace("-", "−")


def with_interval(interval: Interval) -> str:
    """A share as '87.3 ± 0.7 %'."""
    return f"{100 * interval.mean:.1f} ± {100 * interval.half:.1f} %"


def small(value: float) -> str:
    """A spread: '0' only if it is exactly 0."""
    return "0 exactly" if value == 0 else f"{value:.2g}"


# -- collapse --------------------------------------------------------------------------


def collapse_section(
    cells: Sequence[Cell], results: Sequence[Result], folder: Path, seconds: float
) -> Section:
    """Equal filters."""
    by_arm = {cell.settings["arm"]: r for cell, r in zip(cells, results, strict=True)}
    path = folder / "collapse.png"
    figures.draw_collapse(by_arm, path)
    steps = cells[0].settings["steps"]
    free, tied = by_arm["equal"], by_arm["equal-all"]
    below = max(max(free["spread"][k]) for k in (0, 1))
    everywhere = max(max(layer) for layer in tied["spread"])
    rows = [
        (
            collapse.ARMS[arm],
            *(small(max(result["spread"][k])) for k in range(3)),
            percent(result["accuracy"]),
        )
        for arm, result in by_arm.items()
    ]
    return Section(
        "collapse",
        "Collapse: equal filters stay equal",
        lesson="<p>Filters that start equal get equal gradients, so training can never "
        "tell them apart: 64 filters do the work of one. Initial weights must be "
        "random.</p>"
        "<p>Lectures put it as “all kernels converge to the same values”. That holds "
        "for every layer but the last one: if the head on top is random, the last "
        "convolution’s filters part at the first step, and only a head that is "
        "symmetric too keeps them equal.</p>",
        parts=[
            Picture(
                path,
                "Spread between filters by training step for three layers and five "
                "initialisations; below, the filters of the first layer before and "
                "after training.",
                "Above: the largest difference between any two filters of a layer, "
                "biases included, by training step. The axis is logarithmic down to "
                "0.001 and linear from there to 0, so that 0 can be seen; the two arms "
                "with equal filters lie on each other in conv1 and conv2. Below: the "
                "32 filters of conv1 before and after training (each column has its "
                "own colour scale, white is 0), and the accuracy on 797 test digits.",
            ),
            Table(
                f"Largest spread between filters over {steps} steps, and accuracy.",
                ("initial values", *collapse.LAYERS, "accuracy"),
                rows,
            ),
        ],
        shows=[
            f"With equal filters and a random head the spread of conv1 and conv2 is "
            f"{small(below)} at every step, and {small(max(free['spread'][2]))} in "
            f"conv3. With a symmetric head it is {small(everywhere)} in all three.",
            f"The accuracy follows: {percent(tied['accuracy'])} when no layer gets "
            f"free, {percent(free['accuracy'])} when conv3 does, "
            f"{percent(by_arm['he']['accuracy'])} with He’s random values.",
            f"Small random values, N(0, 0.01²), are not equal, but after {steps} steps "
            f"the accuracy is {percent(by_arm['small']['accuracy'])}: their signal is "
            "too weak, which is the next experiment.",
        ],
        limits=[
            "One run of each. That spreads are 0 is a theorem, shown at work; the "
            "accuracies would differ with another seed.",
            f"The arms with equal filters have a lower rate "
            f"({cells[0].settings['lr_equal']} instead of {cells[0].settings['lr']}): "
            "their equal terms add up, and at the others’ rate their units die.",
            "“Exactly” needs weights rounded to float32 after steps computed in "
            "float64. In float32 throughout, rounding makes differences of about 1e-8.",
        ],
        seconds=seconds,
        settings=cells[0].settings,
    )


# -- signal ----------------------------------------------------------------------------


def signal_section(
    cells: Sequence[Cell], results: Sequence[Result], folder: Path, seconds: float
) -> Section:
    """Deep networks, and picking a seed on validation images."""
    groups = signal.grouped(cells, results)
    depth = {rule: runs[0] for rule, runs in groups["depth"].items()}
    he, settings = groups["train"]["he"], cells[0].settings
    paths = [folder / f"signal_{name}.png" for name in ("depth", "training", "seeds")]
    figures.draw_depth(depth, paths[0])
    figures.draw_training(groups["train"], paths[1])
    figures.draw_seeds(he, paths[2])
    best, tests = he[signal.pick_best(he)], [run["test"] for run in he]
    mean = mean_interval(tests)
    return Section(
        "signal",
        "Signal: why He multiplies by 2",
        lesson="<p>Every layer multiplies the variance of the signal by "
        "<i>n</i> Var(<i>w</i>) / 2, where the 2 is what ReLU cuts off. Over "
        f"{settings['depth']} layers a factor of 1/2 becomes "
        f"{2.0 ** -settings['depth']:.0e}. He’s rule, Var(<i>w</i>) = 2 / <i>n</i>, "
        "makes the factor 1, and only then does the network learn.</p>",
        parts=[
            Picture(
                paths[0],
                "Standard deviations of activations and gradients by layer for four "
                "initialisations, with the predicted straight lines.",
                f"Before training: standard deviation of the values before ReLU "
                f"(above) and of the loss’s gradient with respect to them (below), by "
                f"layer. Points: root mean square over {settings['draws']} draws of "
                "the weights; bands: smallest and largest. Dashed: the formula. "
                "Logarithmic axes, without unit.",
            ),
            _depth_table(depth),
            Picture(
                paths[1],
                "Training loss by step for four initialisations.",
                f"Training the same networks by SGD with rate {settings['lr']}. Means "
                "over 10 steps. Xavier and N(0, 0.01²) stay at ln 10 = 2.303, which is "
                "guessing among ten classes.",
            ),
            Picture(
                paths[2],
                "Validation and test accuracy of He’s networks from several seeds.",
                f"He’s network from {len(he)} seeds. The star was picked by its "
                "accuracy on validation images; its test accuracy would be reported.",
            ),
            _seeds_table(he, best, mean),
        ],
        shows=[
            _depth_sentence(depth),
            f"Of {len(he)} seeds the one with the best validation accuracy "
            f"({percent(best['validation'])}) has {percent(best['test'])} on test "
            f"images; the mean of all is {with_interval(mean)} (95 % interval), the "
            f"standard deviation {100 * mean.sd:.1f} points. Trying several "
            f"initialisations was worth {100 * (best['test'] - mean.mean):+.1f} points "
            "here.",
        ],
        limits=[
            "The prediction is for the mean over random weights, layers of equal width "
            "and no training. One network of finite width strays from it, more with "
            "every layer: that is the band.",
            "One rate for all rules, and "
            f"{settings['steps']} steps. With skip connections or batch normalisation, "
            "depth is less of a problem (He et al. 2015 used neither here).",
            "The validation accuracy of the picked seed is too high on average, "
            "because it was picked for it; that is why test images are needed.",
        ],
        seconds=seconds,
        settings=settings,
    )


def _depth_table(depth: Mapping[str, Result]) -> Table:
    def pair(result: Result, name: str, layer: int) -> list[str]:
        measured = signal.root_mean_square(np.array(result[name])[:, layer])
        return [f"{measured:.1e}", f"{result[f'{name}_predicted'][layer]:.1e}"]

    rows = [
        [
            signal.RULES[rule],
            *pair(result, "signal", -1),
            *pair(result, "gradient", 0),
        ]
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
        f"point within a factor of {worst:.1f}, over many powers of ten."
    )


def _seeds_table(he: Sequence[Result], best: Result, mean: Interval) -> Table:
    tests = [run["test"] for run in he]
    return Table(
        f"He’s network, {len(he)} seeds: accuracy on 1,000 test images.",
        ("which", "test accuracy"),
        [
            ("picked on validation", percent(best["test"])),
            ("mean of all, 95 % interval", with_interval(mean)),
            ("lowest and highest", f"{percent(min(tests))}, {percent(max(tests))}"),
        ],
    )


# -- transfer --------------------------------------------------------------------------


def transfer_section(
    cells: Sequence[Cell], results: Sequence[Result], folder: Path, seconds: float
) -> Section:
    """Few labelled digits."""
    settings = cells[0].settings
    steps, runs = settings["points"], transfer.by_arm(cells, results)
    paths = [folder / "transfer_curves.png", folder / "transfer_differences.png"]
    figures.draw_curves(steps, runs, paths[0])
    figures.draw_differences(steps, runs, paths[1])
    count = len(next(iter(runs.values())))
    _, source = pretrain.source_weights()
    return Section(
        "transfer",
        "Transfer: a few labelled digits",
        lesson=f"<p>{_lesson(steps, runs)}</p>",
        parts=[
            "The source network was pretrained on clothes (Fashion-MNIST, each image "
            "turned by a multiple of 90°: 40 classes; accuracy "
            f"{escape(source['accuracy'])}). The target is handwritten digits, with 5 "
            "or 10 labelled images of each. <i>Frozen</i> means three things at once: "
            "no gradient, no update by the optimiser (weight decay and momentum would "
            "move weights without a gradient), and batch normalisation in evaluation "
            "mode (its running statistics would move in training mode).",
            Picture(
                paths[0],
                "Test accuracy by training step for four arms, with 5 and 10 labels a "
                "class.",
                f"Accuracy on the 797 test digits by training step: mean of {count} "
                "runs and its 95 % interval (Student). Points are measured, lines "
                "connect them.",
            ),
            _accuracy_table(steps, runs),
            Picture(
                paths[1],
                "Paired differences of each transfer arm to training from scratch, "
                "with intervals.",
                "Differences to training from scratch on the same images, with the "
                "same head and the same order of batches. Where the bar crosses 0, "
                "these runs do not tell which is better. Note the different scales.",
            ),
            _difference_table(steps, runs),
        ],
        shows=_verdicts(steps, runs),
        limits=[
            "The intervals are for one comparison each, "
            f"{3 * (len(runs) - len(runs) // 4)} of them; with so many, one that just "
            "misses 0 is weak evidence.",
            "Rate, number of steps, weight decay and the source task were chosen on "
            "digits of the training pool outside the subsets, with other seeds, the "
            "same for all arms. No arm was tuned by itself.",
            "One source and one target, both small and gray. More steps give scratch "
            "more time; more labels make transfer matter less.",
            "The interval is about runs: other subsets of this pool and other initial "
            "values, tested on the same 797 digits.",
        ],
        seconds=seconds,
        settings={k: v for k, v in settings.items() if k not in ("arm", "per_class")},
    )


Runs = Mapping[tuple[int, str], np.ndarray]


def difference(
    steps: Sequence[int], runs: Runs, key: tuple[int, str], name: str
) -> Interval:
    """Paired difference of an arm to scratch in start, area or final."""
    numbers = transfer.learning_numbers(steps, runs[key])
    scratch = transfer.learning_numbers(steps, runs[key[0], "scratch"])
    return paired_difference(numbers[name], scratch[name])


def _transfer_keys(runs: Runs) -> list[tuple[int, str]]:
    return [key for key in runs if key[1] != "scratch"]


def _lesson(steps: Sequence[int], runs: Runs) -> str:
    keys = _transfer_keys(runs)
    area = [k for k in keys if difference(steps, runs, k, "area").low > 0]
    better = [k for k in keys if difference(steps, runs, k, "final").low > 0]
    worse = [k for k in keys if difference(steps, runs, k, "final").high < 0]

    def count(some: Sequence[Any]) -> str:
        return f"{len(some)} of {len(keys)}" if some else "none"

    return (
        f"What a network learnt from clothes lets it learn digits <b>faster</b>: over "
        f"the first {steps[-1]} steps, {count(area)} of the transfer arms and label "
        "counts are above training from scratch by more than chance. It does not "
        f"always end up <b>higher</b>: at the last step {count(better)} are better by "
        f"more than chance and {count(worse)} worse. "
        "A jump start is not a higher ceiling."
    )


def _accuracy_table(steps: Sequence[int], runs: Runs) -> Table:
    rows = []
    for (per_class, arm), values in runs.items():
        numbers = transfer.learning_numbers(steps, values)
        rows.append(
            (
                f"{transfer.ARMS[arm]}, {per_class} a class",
                *(
                    with_interval(mean_interval(numbers[name]))
                    for name in ("start", "area", "final")
                ),
            )
        )
    return Table(
        f"Test accuracy, mean and 95 % interval: at step {steps[0]} (start), mean of "
        f"the curve (area), at step {steps[-1]} (final).",
        ("arm", "start", "area", "final"),
        rows,
    )


def _difference_table(steps: Sequence[int], runs: Runs) -> Table:
    return Table(
        "Paired difference to scratch in points of accuracy, with 95 % interval "
        "m ± t s / √n of the n differences.",
        ("arm", "start", "area", "final"),
        [
            (
                f"{transfer.ARMS[arm]}, {per_class} a class",
                *(
                    points(difference(steps, runs, (per_class, arm), name))
                    for name in ("start", "area", "final")
                ),
            )
            for per_class, arm in _transfer_keys(runs)
        ],
    )


def _verdicts(steps: Sequence[int], runs: Runs) -> list[str]:
    """One sentence for each arm and number of labels."""
    sentences = []
    for per_class, arm in _transfer_keys(runs):
        final = difference(steps, runs, (per_class, arm), "final")
        area = difference(steps, runs, (per_class, arm), "area")
        if final.low > 0:
            end = "ends higher than scratch"
        elif final.high < 0:
            end = "ends lower than scratch"
        else:
            end = "ends where scratch does, as far as these runs can tell"
        way = "learns faster" if area.low > 0 else "does not learn clearly faster"
        sentences.append(
            f"{per_class} labels a class, {transfer.ARMS[arm]}: {way} "
            f"({points(area)} points on average over the curve) and {end} "
            f"({points(final)} points)."
        )
    return sentences
