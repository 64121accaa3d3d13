"""The numbers of the dissertation that proposes L2T-www, beside which ours stand.

Accuracy in percent of 30 runs, from its tables 2 (CIFAR-10) and 3 (CIFAR-100). What
its +- means is not said. Read as the half-width of a 95 % interval (Student, 29 degrees
of freedom) it agrees with all 15 significances that the tables print; read as a
standard deviation or a standard error it contradicts 5 or 6 of them. So it is taken for
a 95 % interval here.

Their runs used the official test set, full width, and 30 seeds of which the tables do
not say what they vary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..statistics import Interval, t_quantile

RUNS = 30


@dataclass(frozen=True)
class Reported:
    """A mean in percent with what stands behind its +-."""

    mean: float
    half: float

    @property
    def sd(self) -> float:
        """Standard deviation of the runs, in points, if half is of a 95 % interval."""
        return self.half * math.sqrt(RUNS) / t_quantile(0.95, RUNS - 1)


# scratch, UFM, L2T-ww, L2T-www
ROWS = {
    "cifar10-10": ((20.52, 1.63), (20.69, 1.35), (24.64, 1.85), (26.12, 1.99)),
    "cifar100-5": ((9.77, 0.55), (12.18, 0.49), (14.12, 0.59), (14.22, 0.61)),
    "cifar100-10": ((10.96, 0.59), (18.94, 0.78), (24.37, 0.81), (25.53, 0.46)),
}
METHODS = {
    "scratch": 0,
    "ufm": 1,
    "l2t-ww": 2,
    "l2t-www-map": 3,  # which input h has, the text leaves open
    "l2t-www-pooled": 3,
}


def reported(cell: str, arm: str) -> Reported | None:
    """Their number for an arm of a cell; None if there is none."""
    if cell not in ROWS or arm not in METHODS:
        return None
    return Reported(*ROWS[cell][METHODS[arm]])


def difference(one: Reported, other: Reported) -> Interval:
    """one - other in points, with a 95 % interval for independent runs.

        d +- t sqrt(s^2 / n + s'^2 / n),   n = 30

    t has the degrees of freedom of Welch and Satterthwaite.
    """
    a, b = one.sd**2 / RUNS, other.sd**2 / RUNS
    df = round((a + b) ** 2 / (a**2 + b**2) * (RUNS - 1))
    half = t_quantile(0.95, df) * math.sqrt(a + b)
    return Interval(one.mean - other.mean, half, math.nan, RUNS)


def u_test(one: Reported, other: Reported) -> float:
    """Two-sided p that a Mann-Whitney test of their runs would give, roughly.

    For normal runs P(X > Y) = Phi(d / sqrt(s^2 + s'^2)), and U has about the mean
    n^2 P(X > Y) and, without a difference, the variance n^2 (2 n + 1) / 12.
    """
    d = abs(one.mean - other.mean) / math.hypot(one.sd, other.sd)
    excess = math.erf(d / math.sqrt(2)) / 2  # P(X > Y) - 1/2
    z = RUNS**2 * excess / math.sqrt(RUNS**2 * (2 * RUNS + 1) / 12)
    return math.erfc(z / math.sqrt(2))
