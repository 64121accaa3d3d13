r"""Estimator "implicit": the hypergradient at a solved inner problem.

At a stationary point theta*(phi) of the inner loss, of ell + w/2 |theta|^2 to be exact,

    grad ell(theta*, phi) + w theta* = 0      for every phi.

Differentiate by phi: (H + w) dtheta*/dphi + d grad ell/dphi = 0. So no path that led to
theta* matters, and with a = grad_theta L

    x = (H + w)^{-1} a,     dF/dphi = direct - d<grad ell, x>/dphi.

x comes from products with H alone:

    "cg"       conjugate gradients: the fewest products. H + w must be positive
               definite, which at a minimum of a convex loss it is; for a network add
               `damping` to it, and know that this changes the answer
    "neumann"  x = alpha sum_{j<K} (I - alpha (H + w))^j a, alpha the rate: converges if
               0 < alpha (H + w) < 2. Its K terms are what K plain steps of SGD from
               theta* give, gone through backwards: each step is one term

With steps > 0, they are taken first, from the parameters given. `inner` is then asked
at t = steps.

Cost: one recorded gradient and a walk through it for each product; nothing grows with
the length of the path to theta*. Away from a stationary point the result is not a
gradient of anything. How far away that is, in units of the outer loss, is

    <x, grad ell + w theta> / (1 - residual):

what F would lose if the inner problem were solved, to first order. The residual is the
share |a - (H + w) x| / |a| that so many products leave unsolved; it makes x look too
small, or, of 1 and more (CG makes another norm small), tells that x means nothing yet.

Source: Pedregosa 2016 (arXiv 1602.02355) for CG; Lorraine, Vicol & Duvenaud 2020 (arXiv
1911.02590) for Neumann.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np

from ..tensor import Tensor
from .problem import (
    Hypergradient,
    Problem,
    Tensors,
    add_scaled,
    differentiate,
    dot,
    inner_steps,
    leaves,
    outer_gradients,
    result,
    whole,
    zeros,
)
from .products import pulled_back

Linear = Callable[[Tensors], Tensors]
Solution = tuple[Tensors, int, float]  # x, products used, |a - A x| / |a|


class NotStationaryWarning(UserWarning):
    """The inner problem is not solved where its implicit gradient was asked for."""


class UnsolvedSystemWarning(UserWarning):
    """So few products have not solved (H + w) x = a."""


def implicit(
    problem: Problem,
    solver: str = "cg",
    terms: int = 100,
    damping: float = 0.0,
    tol: float = 1e-10,
    stationary: float = 0.01,
    unsolved: float = 0.1,
) -> Hypergradient:
    """Hypergradient of a solved inner problem.

    Args:
        problem: what is differentiated.
        solver: "cg" or "neumann".
        terms: products with H: at most so many for cg, exactly for neumann.
        damping: added to H.
        tol: cg stops when the residual is smaller than this share of |a|.
        stationary: warn if solving the inner problem would still change the outer loss
            by more than this share.
        unsolved: warn if the residual is larger.

    Returns:
        In `info`: "products" with H, "residual" (relative), "outer_error" (above;
        infinite where x means nothing).

    Warns:
        NotStationaryWarning: see `stationary`.
        UnsolvedSystemWarning: see `unsolved`.

    Raises:
        ValueError: unknown solver, no terms, H + damping is not positive definite (cg),
            or the series diverges (neumann).
    """
    if solver not in ("cg", "neumann"):
        raise ValueError(
            f"hypergradient: solver must be 'cg' or 'neumann', got {solver!r}"
        )
    whole("terms", terms, at_least=1)
    losses: list[Tensor] = []
    for state in inner_steps(problem, problem.theta, problem.v, losses=losses):
        theta, _ = state
    value, a, direct = outer_gradients(problem, theta)
    at = leaves(theta)
    loss = problem.ell(at, problem.steps)
    name = f"inner at t = {problem.steps}"
    g, _ = differentiate(name, loss, at, create_graph=True)

    def shifted_hessian(y: Tensors) -> Tensors:
        return add_scaled(pulled_back(g, y, at), problem.w + damping, y)

    if solver == "cg":
        x, products, residual = conjugate_gradients(shifted_hessian, a, terms, tol)
    else:
        x, products, residual = neumann(shifted_hessian, a, terms, problem.rate)
    gradients = add_scaled(direct, -1.0, pulled_back(g, x, problem.phi))
    slope = add_scaled([y.detach() for y in g], problem.w, theta)
    error = abs(dot(x, slope)) / (1 - residual) if residual < 1 else math.inf
    if residual > unsolved:
        _warn_of_residual(residual, products)
    if residual < 1:
        _warn_if_not_stationary(error, stationary, value.item())
    info = {"products": products, "residual": residual, "outer_error": error}
    return result(problem, gradients, value, state, losses, **info)


def conjugate_gradients(A: Linear, a: Tensors, terms: int, tol: float) -> Solution:
    """x with A x = a, A symmetric and positive definite.

    Raises:
        ValueError: a direction p with p'Ap <= 0 was met.
    """
    x, r = zeros(a), list(a)
    p, rr = r, dot(r, r)
    start, products = math.sqrt(rr), 0
    while products < terms and math.sqrt(rr) > tol * start:
        ap = A(p)
        curvature = dot(p, ap)
        if not curvature > 0:
            raise ValueError(
                "hypergradient: the Hessian of inner is not positive definite: "
                f"p'Hp = {curvature:.3g} for a direction with p'p = {dot(p, p):.3g}. "
                "Pass a larger damping, or solve the inner problem first"
            )
        length = rr / curvature
        x, r = add_scaled(x, length, p), add_scaled(r, -length, ap)
        before, rr = rr, dot(r, r)
        p = add_scaled(r, rr / before, p)
        products += 1
    return x, products, math.sqrt(rr) / (start or 1.0)


def neumann(A: Linear, a: Tensors, terms: int, alpha: float) -> Solution:
    """x = alpha sum_{j<terms} (I - alpha A)^j a; what is left is r = a - A x.

    Raises:
        ValueError: alpha is 0, or the terms grow instead of fading.
    """
    if not alpha > 0:
        raise ValueError("hypergradient: 'neumann' needs lr > 0")
    x, r = zeros(a), list(a)
    start = math.sqrt(dot(r, r))
    for _ in range(terms):
        x, r = add_scaled(x, alpha, r), add_scaled(r, -alpha, A(r))
    left = math.sqrt(dot(r, r))
    if not left <= start * (1 + 1e-6):
        raise ValueError(
            f"hypergradient: the Neumann series diverges ({left:.3g} is left of "
            f"{start:.3g} after {terms} terms): lr * (largest curvature) must be below "
            "2, and no curvature negative. Pass a smaller lr or a larger damping"
        )
    return x, terms, left / (start or 1.0)


def _warn_of_residual(residual: float, products: int) -> None:
    warnings.warn(
        f"hypergradient: after {products} products with the Hessian, {residual:.2g} of "
        "the outer gradient is unsolved: pass more terms, or a damping",
        UnsolvedSystemWarning,
        stacklevel=4,
    )


def _warn_if_not_stationary(error: float, stationary: float, value: float) -> None:
    if error > stationary * max(abs(value), float(np.finfo(np.float32).eps)):
        warnings.warn(
            f"hypergradient: solving the inner problem would change the outer loss "
            f"{value:.4g} by about {error:.2g}; the implicit gradient holds at a "
            "stationary point: take more inner steps, or use another method",
            NotStationaryWarning,
            stacklevel=4,
        )
