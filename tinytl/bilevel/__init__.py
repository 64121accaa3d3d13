"""Bilevel optimisation: the gradient of one loss through training on another.

    problem      what is given, in formulas; the letters that all files share
    recursion    the derivation: back through steps of SGD, and why "-lr"
    unrolled, reverse
                 the estimators, one a file
    products     Jacobian and Hessian times a vector
    estimate     hypergradient(): one call for all

Nothing here knows of transfer learning: inner and outer loss are yours.
"""

from .estimate import METHODS, hypergradient
from .problem import Hypergradient, Problem, ZeroHypergradientWarning
from .products import hvp, jvp

__all__ = [
    "METHODS",
    "Hypergradient",
    "Problem",
    "ZeroHypergradientWarning",
    "hvp",
    "hypergradient",
    "jvp",
]
