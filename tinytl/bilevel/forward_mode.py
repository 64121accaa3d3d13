r"""Estimator "jvp": the recursion with forward-mode products; exact.

Along the direction q, the gradients of ell_t move by

    d/ds grad_theta ell_t(theta + s q) = H_t q
    d/ds grad_phi   ell_t(theta + s q) = mixed term,     since d<grad_theta ell, q>/dphi
                                                         = <grad_theta (dell/dphi), q>:

the order of differentiation does not matter. Both are Jacobian-vector products of
theta -> (grad_theta ell, grad_phi ell): a gradient is recorded, and a tangent pushed
through it ("forward over reverse"), where "reverse" walks backwards twice. H_t q takes
as many products either way, and "reverse" may keep the graphs of its gradients.

The mixed term alone is another matter. When ell is linear in phi, ell_t = sum_k phi_k
d_k(theta), then grad_phi ell = d, the terms themselves, and mixed = J_d(theta_t) q: one
pass forward and its tangent, where a gradient by theta never appears. "reverse" takes
it this way at t = 0.
"""

from ..tensor import grad
from .problem import (
    Hypergradient,
    Problem,
    Tensors,
    differentiate,
    leaves,
    zeros,
    zeros_for_none,
)
from .products import jvp
from .recursion import sweep


def forward_mode(
    problem: Problem, keep: str = "all", last: int | None = None
) -> Hypergradient:
    """Exact hypergradient; `keep` and `last` as in ``recursion.sweep``."""
    return sweep(problem, forward_over_reverse, keep, last)


def forward_over_reverse(
    problem: Problem, theta: Tensors, t: int, q: Tensors, hessian: bool
) -> tuple[Tensors | None, Tensors]:
    """H_t q (None unless `hessian`) and the mixed term, as motions along q."""
    if not hessian:
        return None, mixed(problem, theta, t, q)
    at = leaves(theta)
    loss = problem.ell(at, t)
    name = f"inner at t = {t}"
    g, terms = differentiate(name, loss, at, problem.phi, create_graph=True)
    found = jvp([*g, *terms], at, q)
    return found[: len(at)], found[len(at) :]


def mixed(problem: Problem, theta: Tensors, t: int, q: Tensors) -> Tensors:
    """The mixed term, as the motion of grad_phi ell_t along q."""
    at = leaves(theta)
    loss = problem.ell(at, t)
    if not loss.requires_grad:
        return zeros(problem.phi)
    terms = grad(loss, problem.phi, create_graph=True, allow_unused=True)
    return jvp(zeros_for_none(terms, problem.phi), at, q)
