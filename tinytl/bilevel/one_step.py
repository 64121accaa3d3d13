r"""Estimator "one_step": go back through the last step alone.

With T = 1 the recursion is one line, and exact: a = grad_theta L(theta_1), b = 0,

    q = -alpha a,    G = direct + d<grad ell_0(theta_0), q>/dphi.

That is the update of DARTS, and T1-T2 of Luketina et al. With T > 1 the T steps are
taken, and theta_{T-1} is then regarded as constant: cheap, and biased towards what acts
at once. If the last step's loss does not use phi, it is 0.

Cost, with c for one gradient of ell: T c there and about 2 c back, whatever T.

Source: Luketina et al. 2016 (arXiv 1511.06727); Liu, Simonyan & Yang 2019 (DARTS, arXiv
1806.09055), which uses differences, `eps` = 0.01.
"""

from .finite import differences
from .problem import Hypergradient, Problem
from .recursion import sweep
from .reverse import double_backward


def one_step(problem: Problem, eps: float | None = None) -> Hypergradient:
    """Hypergradient of the last step; mixed term by differences if `eps` is given."""
    product = double_backward if eps is None else differences(problem, eps)
    return sweep(problem, product, last=1)
