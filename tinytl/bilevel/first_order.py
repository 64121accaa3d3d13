r"""Estimator "first_order": the recursion without Hessians.

    q = b - alpha a;   G <- G + d<grad ell_t, q>/dphi;   a <- a + w q;   b <- mu q

H_t q is left out: the steps after t are taken to pass a change of theta_t on as it is.
The mixed term needs no Hessian and stays. Exact when every ell_t is linear in theta,
and for T = 1; else an approximation whose error nothing bounds: on a small network we
have seen directions off by 56 degrees. It saves less than one thinks, since the mixed
term is a pass and its tangent.

Cost, with c for one gradient of ell: T c there, and about c a step back.
"""

from .forward_mode import mixed
from .problem import Hypergradient, Problem, Tensors
from .recursion import sweep


def first_order(problem: Problem, keep: str = "all") -> Hypergradient:
    """Approximate hypergradient; `keep` as in ``recursion.sweep``."""
    return sweep(problem, _mixed_only, keep)


def _mixed_only(
    problem: Problem, theta: Tensors, t: int, q: Tensors, hessian: bool
) -> tuple[Tensors | None, Tensors]:
    """The mixed term, and zeros for H_t q."""
    return ([0.0 * x for x in q] if hessian else None), mixed(problem, theta, t, q)
