r"""The reverse sweep: the gradient of an outer loss through steps of SGD, step by step.

What a step does, with the letters of ``problem.py``::

    v_{t+1}     = mu v_t + grad ell_t(theta_t, phi) + w theta_t
    theta_{t+1} = theta_t - alpha_t v_{t+1}

Derivation. Let a_t = dF/dtheta_t and b_t = dF/dv_t: what a small change of theta_t or
of v_t does to F when everything after it follows. At the end a_T = grad_theta L and
b_T = 0. Assume that a_{t+1}, b_{t+1} are known, and go one step back.

The velocity v_{t+1} acts on F in two ways: through the next step's velocity, which is
what b_{t+1} measures, and through theta_{t+1}, in which it stands *with the factor
-alpha_t*. That is the whole secret of the "-lr" in such codes. Its adjoint is

    q = b_{t+1} - alpha_t a_{t+1}.

All that v_{t+1} was made of now gets its share of q:

    phi        stands in grad ell_t:                 G  <- G + d<grad ell_t, q>/dphi
    theta_t    in grad ell_t, in w theta_t, and
               in theta_{t+1} as itself:             a_t = a_{t+1} + w q + H_t q
    v_t        with the factor mu:                   b_t = mu q

H_t is the Hessian of ell_t at theta_t; H_t q = d<grad ell_t, q>/dtheta, with q held
constant. G starts as the direct gradient of L by phi, and is dF/dphi after t = 0. At
t = 0 neither a_0 nor b_0 is asked for: H_0 q is never computed. A parameter that ell_t
does not use has no share in H_t q, but w and mu still act on it.

Another way to write it, found in published code, carries X = <grad ell_t, q> and
multiplies out a <- a (1 - alpha w) + w b + H_t q, b <- mu b - alpha mu a. It is the
same: a (1 - alpha w) + w b = a + w (b - alpha a).

What an estimator chooses is how it gets H_t q and the mixed term: its `product`.

Source: Maclaurin, Duvenaud & Adams 2015 (arXiv 1502.03492), algorithm 2, which stores
the steps' rounding instead of their states; Franceschi et al. 2017 (arXiv 1703.01785),
section 3.1, "Reverse-HG".
"""

import math
from collections.abc import Callable, Iterator

from ..tensor import Tensor
from .problem import (
    Hypergradient,
    Problem,
    Tensors,
    add_scaled,
    inner_gradient,
    inner_steps,
    outer_gradients,
    result,
    whole,
    zeros,
)

# (problem, theta_t, t, q, whether H q is needed) -> (H q or None, mixed term)
Product = Callable[
    [Problem, Tensors, int, Tensors, bool], tuple[Tensors | None, Tensors]
]
Gradient = Callable[[Problem, Tensors, int], tuple[Tensor, list[Tensor]]]
Kept = list[tuple[int, list, list]]


def sweep(
    problem: Problem,
    product: Product,
    keep: str = "all",
    last: int | None = None,
    gradient: Gradient = inner_gradient,
) -> Hypergradient:
    """The recursion above, with H_t q and the mixed term from `product`.

    Args:
        problem: what is differentiated.
        product: how the two products of a step are computed.
        keep: which theta_t are kept on the way to theta_T. "all" of them, or "sqrt":
            every sqrt(T)-th with its velocity, the others computed again from it on
            the way back, for one more gradient a step.
        last: go back through the last so many steps only (all if None); what phi did
            before is taken to be constant.
        gradient: ell_t and its gradient on the way to theta_T; an estimator may keep
            something of it for its product.

    Raises:
        ValueError: unknown `keep`, or `last` is not positive.
    """
    if keep not in ("all", "sqrt"):
        raise ValueError(f"hypergradient: keep must be 'all' or 'sqrt', got {keep!r}")
    whole("last", last, at_least=1)
    every = 1 if keep == "all" else math.isqrt(max(problem.steps - 1, 0)) + 1
    losses: list[Tensor] = []
    kept, state = _forward(problem, every, losses, gradient)
    count = len(kept)
    first = 0 if last is None else max(problem.steps - last, 0)

    value, a, gradients = outer_gradients(problem, state[0])
    b = zeros(a)
    for t, theta in _backwards(problem, kept, every):
        if t < first:
            break
        q = add_scaled(b, -problem.alpha[t], a)
        b.clear()  # free, while the product is made
        hq, mixed = product(problem, theta, t, q, t > first)
        gradients = add_scaled(gradients, 1.0, mixed)
        if hq is not None:
            a = add_scaled(add_scaled(a, problem.w, q), 1.0, hq)
            b = [problem.mu * x for x in q]
    return result(problem, gradients, value, state, losses, kept_states=count)


def _forward(
    problem: Problem, every: int, losses: list[Tensor], gradient: Gradient
) -> tuple[Kept, tuple[list, list]]:
    """Take the steps; keep the states that the way back starts from."""
    kept: Kept = []
    start = problem.theta, problem.v
    states = inner_steps(problem, *start, losses=losses, gradient=gradient)
    for t, (theta, v) in enumerate(states):
        if t < problem.steps and t % every == 0:
            kept.append((t, theta, v if every > 1 else []))
    return kept, (theta, v)


def _backwards(problem: Problem, kept: Kept, every: int) -> Iterator[tuple[int, list]]:
    """(t, theta_t) from the last step to the first; a kept state is let go when used.

    Arrays are never written to, so a kept reference is a snapshot.
    """
    while kept:
        start, theta, v = kept.pop()
        states = inner_steps(
            problem, theta, v, start, min(start + every, problem.steps) - 1
        )
        again = [theta for theta, _ in states]
        for t in reversed(range(start, start + len(again))):
            yield t, again[t - start]
