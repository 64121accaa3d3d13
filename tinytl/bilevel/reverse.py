r"""Estimator "reverse": exact, and flat in memory.

The recursion of ``recursion.py``; each step's gradient is computed again at theta_t,
recorded, and the recorded gradient is differentiated once more (double backward):

    H_t q = d<grad ell_t, q>/dtheta,    mixed = d<grad ell_t, q>/dphi

in one walk, q constant. The graph of a step is dropped before the next is made: of the
activations, those of one step are in memory however large T is; of the parameters, one
copy a step (see `keep`).

Cost, with c for one gradient of ell: T c there, and c + about 2 c a step on the way
back; at t = 0 only the mixed term.
"""

from .problem import Hypergradient, Problem, Tensors, differentiate, leaves
from .products import pulled_back
from .recursion import sweep


def reverse(
    problem: Problem, keep: str = "all", last: int | None = None
) -> Hypergradient:
    """Exact hypergradient; `keep` and `last` as in ``recursion.sweep``."""
    return sweep(problem, double_backward, keep, last)


def double_backward(
    problem: Problem, theta: Tensors, t: int, q: Tensors, hessian: bool
) -> tuple[Tensors | None, Tensors]:
    """H_t q (None unless `hessian`) and the mixed term, by one walk through a walk."""
    at = leaves(theta)
    loss = problem.ell(at, t)
    g, _ = differentiate(f"inner at t = {t}", loss, at, create_graph=True)
    targets = [*at, *problem.phi] if hessian else problem.phi
    found = pulled_back(g, q, targets)
    return (found[: len(at)], found[len(at) :]) if hessian else (None, found)
