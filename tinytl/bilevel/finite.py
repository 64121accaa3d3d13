r"""Estimator "finite": the recursion with differences of gradients.

No second derivatives: both products of a step are derivatives along q, and those are
limits of differences. With r = eps / |q|,

    H_t q = (grad_theta ell_t(theta + r q) - grad_theta ell_t(theta - r q)) / 2r
    mixed = (grad_phi   ell_t(theta + r q) - grad_phi   ell_t(theta - r q)) / 2r

up to O(eps^2) where ell_t is smooth. With a kink (ReLU, max pooling) between the two
places the difference has a jump in it, divided by 2r: the more units a network has, the
smaller eps must be. Rounding adds about (precision of the gradients) / eps. In float64
1e-7 leaves room for both. In float32 there may be none: 1e-2, as in DARTS, is for
smooth losses, and what it gives for a deep network with ReLU and pooling can be off by
several times its size.

Cost, with c for one gradient of ell: T c there, 2 c a step on the way back. Memory as
in training.

Source: Liu, Simonyan & Yang 2019 (DARTS, arXiv 1806.09055), equation 8.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..tensor import Tensor, grad
from .problem import (
    Hypergradient,
    Problem,
    Tensors,
    add_scaled,
    dot,
    leaves,
    zeros,
    zeros_for_none,
)
from .recursion import Product, sweep


def finite(
    problem: Problem,
    eps: float | None = None,
    keep: str = "all",
    last: int | None = None,
) -> Hypergradient:
    """Approximate hypergradient.

    Args:
        problem: what is differentiated.
        eps: how far theta is moved, in the Euclidean norm; None for 1e-2 in float32
            and 1e-7 in float64.
        keep: as in ``recursion.sweep``.
        last: likewise.
    """
    return sweep(problem, differences(problem, eps), keep, last)


def differences(problem: Problem, eps: float | None = None) -> Product:
    """The product of ``recursion.sweep`` that is made of two gradients.

    Raises:
        ValueError: eps is not positive.
    """
    if eps is None:
        eps = 1e-2 if problem.theta[0].dtype == np.float32 else 1e-7
    if not eps > 0:
        raise ValueError(f"hypergradient: eps must be positive, got {eps!r}")

    def product(
        problem: Problem, theta: Tensors, t: int, q: Tensors, hessian: bool
    ) -> tuple[Tensors | None, Tensors]:
        norm = math.sqrt(dot(q, q))
        if not norm:
            return (zeros(theta) if hessian else None), zeros(problem.phi)
        r = eps / norm
        plus = _gradients(problem, add_scaled(theta, r, q), t, hessian)
        minus = _gradients(problem, add_scaled(theta, -r, q), t, hessian)
        found = [x / (2 * r) for x in add_scaled(plus, -1.0, minus)]
        count = len(theta)
        return (found[:count], found[count:]) if hessian else (None, found)

    return product


def _gradients(
    problem: Problem, theta: Tensors, t: int, both: bool
) -> Sequence[Tensor]:
    """Gradients of ell_t by theta (if `both`) and phi."""
    at = leaves(theta)
    loss = problem.ell(at, t)
    targets = [*at, *problem.phi] if both else problem.phi
    return zeros_for_none(grad(loss, targets, allow_unused=True), targets)
