r"""Estimator "jvp": the recursion with forward-mode products; exact.

Along the direction q, the gradients of ell_t move by

    d/ds grad_theta ell_t(theta + s q) = H_t q
    d/ds grad_phi   ell_t(theta + s q) = mixed term,     since d<grad_theta ell, q>/dphi
                                                         = <grad_theta (dell/dphi), q>:

the order of differentiation does not matter. Both are Jacobian-vector products of
theta -> (grad_theta ell, grad_phi ell), "forward over reverse", where "reverse" walks
backwards twice. In an engine with forward mode this is the cheaper way. Ours makes a
JVP of two walks (``products.py``), so that it is the dearer one, third derivatives of
every operation included, and serves to test the other.

When ell is linear in phi, ell_t = sum_k phi_k d_k(theta), then grad_phi ell = d: the
terms themselves, and mixed = J_d(theta_t) q. Then both ways come to the same walks, and
"reverse" has the forward-mode product without further work.
"""

from ..tensor import Tensor
from .problem import Hypergradient, Problem, Tensors, differentiate, leaves
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
    at = leaves(theta)
    loss = problem.ell(at, t)
    name = f"inner at t = {t}"
    g, terms = differentiate(name, loss, at, problem.phi, create_graph=True)
    outputs: list[Tensor] = [*g, *terms] if hessian else terms
    found = jvp(outputs, at, q)
    return (found[: len(at)], found[len(at) :]) if hessian else (None, found)
