r"""How sure is a difference: tests, effect sizes, and what could have been seen.

Two arms whose runs share their seeds are compared run by run. d_i = x_i - y_i:

    mean of d, its 95 % interval          how large it is (Student)
    paired t test                         whether it is there, d roughly normal
    Wilcoxon's signed-rank test           likewise, d symmetric
    d_z = mean(d) / sd(d)                 how large beside the run-to-run noise

and, as the dissertation did it, as if they did not share anything:

    Mann-Whitney U                        U = how many pairs (i, j) have x_i > y_j
    r = 2 U / (n m) - 1                   rank-biserial: 1 if all x are above all y

Many tests find something by chance. *Holm*: sort the m p-values; the k-th smallest is
multiplied by m - k + 1, and none may be below the one before. Among all tests together
a false finding then has at most the level's probability, whatever their dependence.

Tests and quantiles are SciPy's, which is loaded when it is used.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..statistics import Interval, paired_difference

EXACT = 20  # runs up to which U's distribution is counted out


@dataclass(frozen=True)
class Comparison:
    """What two arms' runs say about their difference.

    Attributes:
        difference: of the means, with its interval and the sd of the differences.
        t: p of the paired t test.
        wilcoxon: p of the signed-rank test.
        dz: mean(d) / sd(d); NaN if all d are equal, up to rounding.
        u: p of the Mann-Whitney test.
        rank_biserial: 2 U / (n m) - 1.
    """

    difference: Interval
    t: float
    wilcoxon: float
    dz: float
    u: float
    rank_biserial: float


def compare(x: Sequence[float], y: Sequence[float]) -> Comparison:
    """Compare runs x with runs y; x_i and y_i share their seed.

    Raises:
        ValueError: the numbers of runs differ, or there are fewer than two.
        ImportError: SciPy is not installed.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    difference = paired_difference(a.tolist(), b.tolist())
    if len(a) < 2:
        raise ValueError("compare: needs two runs or more of each arm")
    stats = scipy_stats()
    d = a - b
    vary = d.std() > 1e-9 * abs(d).max()
    u, p_u = mann_whitney(a, b)
    return Comparison(
        difference,
        t=float(stats.ttest_rel(a, b).pvalue) if vary else float(not d.any()),
        wilcoxon=float(stats.wilcoxon(d).pvalue) if d.any() else 1.0,
        dz=difference.mean / difference.sd if vary else math.nan,
        u=p_u,
        rank_biserial=2 * u / (len(a) * len(b)) - 1,
    )


def mann_whitney(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """U of x and its two-sided p; exact without ties and up to 20 runs each."""
    both = np.concatenate([x, y])
    exact = len(np.unique(both)) == len(both) and max(len(x), len(y)) <= EXACT
    method = "exact" if exact else "asymptotic"
    found = scipy_stats().mannwhitneyu(x, y, method=method)
    return float(found.statistic), float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values after Holm's correction, in the order given; NaN stays and counts.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    order = sorted(range(len(p)), key=lambda k: (math.isnan(p[k]), p[k]))
    corrected, least = [math.nan] * len(p), 0.0
    for k, place in enumerate(order):
        if not math.isnan(p[place]):
            least = max(least, min(1.0, (len(p) - k) * p[place]))
            corrected[place] = least
    return corrected


def bootstrap(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Interval for the mean by drawing the runs again (BCa, 9,999 times, one seed).

    NaN for a single run.
    """
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return math.nan, math.nan
    if not x.std():
        return float(x[0]), float(x[0])
    found = scipy_stats().bootstrap(
        (x,), np.mean, confidence_level=level, rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def power(effect: float, n: int, level: float = 0.05) -> float:
    """How often a paired t test of n runs finds an effect d_z of this size.

    P(|T| > t),   T noncentral t with n - 1 degrees of freedom and d_z sqrt(n)
    """
    stats = scipy_stats()
    bound = stats.t.ppf(1 - level / 2, n - 1)
    shift = effect * math.sqrt(n)
    return float(
        stats.nct.sf(bound, n - 1, shift) + stats.nct.cdf(-bound, n - 1, shift)
    )


def detectable(n: int, wanted: float = 0.8, level: float = 0.05) -> float:
    """The effect d_z that n paired runs find with this power; times sd(d) in points.

    Raises:
        ValueError: fewer than two runs.
    """
    if n < 2:
        raise ValueError(f"detectable: needs two runs or more, got {n}")
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if power(middle, n, level) < wanted else (low, middle)
        )
    return (low + high) / 2


def scipy_stats() -> Any:
    """scipy.stats, loaded when it is used.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        return importlib.import_module("scipy.stats")
    except ImportError as error:
        raise ImportError(
            "statistical tests need SciPy: pip install 'tinytl[evidence]'"
        ) from error
