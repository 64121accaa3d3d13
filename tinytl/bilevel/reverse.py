r"""Estimator "reverse": exact, and flat in memory.

The recursion of ``recursion.py``; each step's gradient is computed again at theta_t,
recorded, and the recorded gradient is differentiated once more (double backward):

    H_t q = d<grad ell_t, q>/dtheta,    mixed = d<grad ell_t, q>/dphi

in one walk, q constant. At t = 0 the mixed term is all that is asked for: a tangent of
theta pushed forward gives it (``forward_mode.mixed``), and no gradient is needed, where
none was kept. The graph of a step is dropped before the next is made: of the
activations, those of one step are in memory however large T is; of the parameters, one
copy a step (see `keep`).

Kept graphs. The gradients of the last `graphs` steps are recorded when they are taken,
and their graphs wait for the way back: one gradient a step is saved, for the memory of
so many recorded steps. One is free: the graph of the last step is used before another
is made. With None all are kept, and the memory is that of "unrolled".

Cost, with c for one gradient of ell: T c there; on the way back about 2 c a step, and c
more where no graph was kept; at t = 0 only the mixed term, about c.
"""

from tinytl_kernels import namespace

from ..graph import used_once
from ..tensor import Tensor
from .forward_mode import mixed
from .problem import (
    Hypergradient,
    Problem,
    Tensors,
    differentiate,
    inner_gradient,
    leaves,
    whole,
)
from .products import pulled_back
from .recursion import sweep

Recorded = tuple[list[Tensor], list[Tensor], Tensor]  # theta_t, grad ell_t, ell_t


def reverse(
    problem: Problem,
    keep: str = "all",
    last: int | None = None,
    graphs: int | None = 1,
) -> Hypergradient:
    """Exact hypergradient.

    Args:
        problem: what is differentiated.
        keep: as in ``recursion.sweep``.
        last: likewise.
        graphs: how many of the last steps keep their graph; None for all.

    Raises:
        ValueError: `graphs` is negative.
    """
    whole("graphs", graphs, at_least=0)
    first = 0 if graphs is None else problem.steps - graphs
    kept: dict[int, Recorded] = {}

    def gradient(
        problem: Problem, theta: Tensors, t: int
    ) -> tuple[Tensor, list[Tensor]]:
        if t < first:
            return inner_gradient(problem, theta, t)
        at, g, loss = recorded(problem, theta, t)
        kept[t] = at, [hollow(x) for x in g], loss
        return loss, [x.detach() for x in g]

    def product(
        problem: Problem, theta: Tensors, t: int, q: Tensors, hessian: bool
    ) -> tuple[Tensors | None, Tensors]:
        if t not in kept and not hessian:
            return None, mixed(problem, theta, t, q)
        step = kept.pop(t, None) or recorded(problem, theta, t)
        return products(problem, step, q, hessian)

    return sweep(problem, product, keep, last, gradient)


def double_backward(
    problem: Problem, theta: Tensors, t: int, q: Tensors, hessian: bool
) -> tuple[Tensors | None, Tensors]:
    """H_t q (None unless `hessian`) and the mixed term, by one walk through a walk."""
    return products(problem, recorded(problem, theta, t), q, hessian)


def recorded(problem: Problem, theta: Tensors, t: int) -> Recorded:
    """The gradient of ell_t at theta_t, to be differentiated again, once."""
    at = leaves(theta)
    with used_once():
        loss = problem.ell(at, t)
        g, _ = differentiate(f"inner at t = {t}", loss, at, create_graph=True)
    return at, g, loss.detach()


def hollow(x: Tensor) -> Tensor:
    """The history of x without its values: one number in the place of all."""
    y = Tensor(namespace(x.data).broadcast_to(x.data.dtype.type(0), x.shape))
    y.node = x.node
    return y


def products(
    problem: Problem, step: Recorded, q: Tensors, hessian: bool
) -> tuple[Tensors | None, Tensors]:
    """H_t q (None unless `hessian`) and the mixed term of a recorded gradient."""
    at, g, _ = step
    targets = [*at, *problem.phi] if hessian else problem.phi
    found = pulled_back(g, q, targets)
    return (found[: len(at)], found[len(at) :]) if hessian else (None, found)
