"""What the report says about collapse; sentences follow from the numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from . import collapse, figures
from .report import Picture, Section, Table
from .runner import Cell, Result
from .wording import common, percent, short

LESSON = """
<p>Filters that start equal get equal gradients, so training can never tell them apart:
64 filters do the work of one. Initial weights must be random.</p>
<p>Lectures put it as “all kernels converge to the same values”. That holds for every
layer but the last one: if the head on top is random, the last convolution’s filters
part at the first step, and only a head that is symmetric too keeps them equal.</p>"""
ALT = (
    "Spread between filters by training step for three layers and five "
    "initialisations; below, the filters of the first layer before and after training."
)
CAPTION = (
    "Above: the largest difference between any two filters of a layer, biases "
    "included, by training step. The axis is logarithmic down to 0.001 and linear from "
    "there to 0, so that 0 can be seen; the two arms with equal filters lie on each "
    "other in conv1 and conv2. Below: the 32 filters of conv1 before and after "
    "training (each column has its own colour scale, white is 0), and the accuracy on "
    "797 test digits."
)


def section(
    cells: Sequence[Cell], results: Sequence[Result], folder: Path, seconds: float
) -> Section:
    """Draw, and put into words."""
    by_arm = {c.settings["arm"]: r for c, r in zip(cells, results, strict=True)}
    settings = cells[0].settings
    path = folder / "collapse.png"
    figures.draw_collapse(by_arm, path)
    return Section(
        "collapse",
        "Collapse: equal filters stay equal",
        LESSON,
        parts=[Picture(path, ALT, CAPTION), _table(by_arm, settings["steps"])],
        shows=_shows(by_arm, settings["steps"]),
        limits=[
            "One run of each. That spreads are 0 is a theorem, seen at work; the "
            "accuracies would differ with another seed, and the rates were set by "
            "looking at such runs: they illustrate, and estimate nothing.",
            f"The arms with equal filters have a lower rate ({settings['lr_equal']} "
            f"instead of {settings['lr']}): their equal terms add up, and at the "
            "others’ rate their units die.",
            "For an exact 0, steps are computed in float64 and the weights rounded to "
            "float32. In float32 throughout, rounding makes differences of 1e-8 to "
            "1e-7.",
        ],
        seconds=seconds,
        settings=common(settings, "arm"),
    )


def _table(by_arm: Mapping[str, Result], steps: int) -> Table:
    return Table(
        f"Largest spread between filters over {steps} steps (0 means exactly 0), and "
        "accuracy on the test digits.",
        ("initial values", *collapse.LAYERS, "accuracy"),
        [
            (
                collapse.ARMS[arm],
                *(short(max(layer)) for layer in result["spread"]),
                percent(result["accuracy"]),
            )
            for arm, result in by_arm.items()
        ],
    )


def _shows(by_arm: Mapping[str, Result], steps: int) -> list[str]:
    free, tied = by_arm["equal"], by_arm["equal-all"]
    first_two = max(max(layer) for layer in free["spread"][:2])
    every = max(max(layer) for layer in tied["spread"])
    score = {arm: percent(result["accuracy"]) for arm, result in by_arm.items()}
    return [
        f"With equal filters and a random head the spread of conv1 and conv2 is "
        f"{short(first_two)} at every step, that of conv3 grows to "
        f"{short(max(free['spread'][2]))}. With a symmetric head the largest spread of "
        f"all three is {short(every)}.",
        f"The accuracy follows: {score['equal-all']} when no layer gets free, "
        f"{score['equal']} when conv3 does, {score['he']} with He’s random values.",
        f"Small random values, N(0, 0.01²), differ from each other, and after {steps} "
        f"steps the accuracy is {score['small']}: how large they are matters too, "
        "which is the next experiment.",
    ]
