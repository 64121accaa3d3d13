"""All rows of the table, in its order, and the goals of their groups."""

from . import l2t, networks, workloads
from .workloads import Row

# How often as fast as PyTorch at its best we want to be; a group of convolutions is
# judged by its geometric mean, any other group row by row.
GOALS = {
    "conv forward": 1.7,
    "conv gradients": 1.5,
    "conv second derivative": 2.0,
    "norm": 2.0,
    "layer": 1.5,
    "training step": 1.3,
    "mobile": 1.2,
    "single image": 1.0,
    "L2T-ww, official": 4.0,
    "L2T-ww, best": 3.0,
}
AS_INSTALLED = {"L2T-ww, official": 5.0}  # goal against PyTorch as it is installed
MEMORY = {"L2T-ww, official": 2.0, "L2T-ww, best": 2.0}  # PyTorch's peak by ours
BY_MEAN = ("conv forward", "conv gradients", "conv second derivative")


def table() -> list[Row]:
    """What ``make bench`` measures."""
    rows = [*workloads.limits(), *workloads.convolutions(), *workloads.layers()]
    rows += [
        *workloads.mobile(),
        *workloads.other(),
        *workloads.linear(),
        *networks.rows(),
        *l2t.rows(),
    ]
    return rows


def sweeps() -> list[Row]:
    """What the figures of time and memory against batch, depth and T show."""
    return [*networks.sweep(), *l2t.sweep()]


def tiny() -> Row:
    """A row that takes no time, to try the harness with."""
    conv = workloads.Conv(2, 3, 6)
    return Row("tiny", "conv", conv.build(1), batch=2, flops=3 * conv.flops(2))


def find(key: str) -> Row:
    """The row of that key."""
    return {row.key: row for row in (*table(), *sweeps(), tiny())}[key]
