"""Intervals and differences over repeated runs.

A run's accuracy depends on chance: on the subset drawn, the initial values, the order
of the batches. So every number is repeated over seeds, and stated with an interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.95
Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Interval:
    """A mean of n values, with the half-width of its confidence interval.

    sd is the standard deviation of the values, with n - 1; half is NaN for n = 1.
    """

    mean: float
    half: float
    sd: float
    n: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half


def mean_interval(values: Numbers, level: float = LEVEL) -> Interval:
    """Student's interval for the mean of independent, roughly normal values.

        m +- t s / sqrt(n),     s^2 = sum (x_i - m)^2 / (n - 1)

    where t is the quantile of Student's distribution with n - 1 degrees of freedom
    that leaves (1 - level) / 2 on either side.

    Args:
        values: (n,) numbers, n >= 1.
        level: how often such intervals hold the true mean, 0.95 for 95 %.

    Raises:
        ValueError: no values.

    Source: Student 1908, The Probable Error of a Mean, Biometrika 6.
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"mean_interval: needs (n,) values, n > 0, got {x.shape}")
    n, mean = len(x), float(x.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    sd = float(x.std(ddof=1))
    return Interval(mean, t_quantile(level, n - 1) * sd / math.sqrt(n), sd, n)


def paired_difference(
    values: Sequence[float], baseline: Sequence[float], level: float = LEVEL
) -> Interval:
    """Interval for the mean of x_i - y_i, where run i of both shared its chance.

    If x_i and y_i come from the same subset and the same initial values, what these do
    to both of them cancels:  Var[x - y] = Var[x] + Var[y] - 2 Cov[x, y].

    Raises:
        ValueError: the numbers of values differ.
    """
    x, y = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    if x.shape != y.shape:
        raise ValueError(
            f"paired_difference: needs pairs, got {x.shape} and {y.shape} values"
        )
    return mean_interval(x - y, level)


@cache
def t_quantile(level: float, df: int) -> float:
    """The t with P(-t < T < t) = level, T of Student's distribution with df degrees.

    With T = sqrt(df) tan(a) the density becomes cos(a)^(df - 1), so

        P(|T| < sqrt(df) tan(a)) = I(a) / I(pi/2),   I(a) = integral_0^a cos^(df-1)

    computed by Gauss-Legendre quadrature; a by bisection. t_quantile(0.95, 4) = 2.776.

    Raises:
        ValueError: level is not in (0, 1), or df < 1.
    """
    if not 0 < level < 1 or df < 1:
        raise ValueError(
            f"t_quantile: needs 0 < level < 1 and df >= 1, got {level} and {df}"
        )
    nodes, weights = np.polynomial.legendre.leggauss(100)

    def mass(a: float) -> float:
        return a / 2 * float(weights @ np.cos(a / 2 * (nodes + 1)) ** (df - 1))

    low, high = 0.0, math.pi / 2
    wanted = level * mass(high)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < wanted else (low, middle)
    return math.sqrt(df) * math.tan((low + high) / 2)


@dataclass(frozen=True)
class Learning:
    """A learning curve in three numbers: the three ways in which transfer can help.

    start    accuracy at the first point of the curve (a jump start)
    area     mean height of the curve over the steps (a steeper slope)
    final    accuracy at its last point (a higher asymptote)

    Source: Torrey & Shavlik 2009, Transfer Learning, figure 2.
    """

    start: float
    area: float
    final: float


def learning(steps: Sequence[int], accuracy: Sequence[float]) -> Learning:
    """Summary of the accuracies measured after `steps`, which rise.

        area = integral of accuracy over steps / (last step - first step)

    by trapezoids. Raises ValueError unless there are two points or more, one accuracy
    a step.
    """
    s, a = np.asarray(steps, np.float64), np.asarray(accuracy, np.float64)
    if s.shape != a.shape or len(s) < 2:
        raise ValueError(
            f"learning: needs two points or more, got {s.shape} steps and {a.shape} "
            "accuracies"
        )
    area = float(((a[1:] + a[:-1]) / 2 * np.diff(s)).sum() / (s[-1] - s[0]))
    return Learning(float(a[0]), area, float(a[-1]))
