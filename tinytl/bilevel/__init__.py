"""Bilevel optimisation: the gradient of one loss through training on another.

    problem        what is given, in formulas; the letters that all files share
    recursion      the derivation: back through steps of SGD, and why "-lr"
    unrolled, reverse, forward_mode, finite, one_step, first_order, implicit
                   the estimators, one a file
    products       Jacobian and Hessian times a vector
    estimate       hypergradient(): one call for all
    check          check_hypergradient(): hold it against differences
    replay         losses that give the same at every evaluation
    snapshot       everything that training changes, to return to

Nothing here knows of transfer learning: inner and outer loss are yours.
"""

from .check import (
    HypergradientCheck,
    HypergradientMismatch,
    UncheckedWarning,
    check_hypergradient,
)
from .estimate import METHODS, hypergradient, sgd_settings
from .implicit import NotStationaryWarning, UnsolvedSystemWarning
from .problem import Hypergradient, Problem, ZeroHypergradientWarning
from .products import hvp, jvp
from .replay import VirtualStatistics, replay
from .snapshot import Snapshot

__all__ = [
    "METHODS",
    "Hypergradient",
    "HypergradientCheck",
    "HypergradientMismatch",
    "NotStationaryWarning",
    "Problem",
    "Snapshot",
    "UncheckedWarning",
    "UnsolvedSystemWarning",
    "VirtualStatistics",
    "ZeroHypergradientWarning",
    "check_hypergradient",
    "hvp",
    "hypergradient",
    "jvp",
    "replay",
    "sgd_settings",
]
